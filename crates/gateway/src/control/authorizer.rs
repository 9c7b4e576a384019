//! The family of authorizers, and what routes say of them.

use gatemill_api::apigatewayv2::{
    Authorizer, CreateAuthorizerRequest, CreateAuthorizerResponse, DeleteAuthorizerRequest,
    GetAuthorizerRequest, GetAuthorizerResponse, GetAuthorizersRequest, GetAuthorizersResponse,
    JWTConfiguration, UpdateAuthorizerRequest, UpdateAuthorizerResponse,
};
use gatemill_store::Reader;
use gatemill_wire::Cx;

use crate::{
    Gateway,
    authorizer::issuers,
    control::{
        edition::{Edition, Kind},
        gaps, length,
        page::page,
        says, unbuilt, websocket,
    },
    error::{Error, Result},
    expression::Source,
    functions::FunctionTarget,
    limits::{
        AUDIENCES_MAX, AUTHORIZER_TTL_SECONDS_MAX, AUTHORIZERS_PER_API_MAX, IDENTITY_SOURCES_MAX,
        SCOPES_PER_ROUTE_MAX,
    },
    proxy::authorize::is_identity_source,
    record::{
        AUTHORIZERS, ApiKey, Authorization, AuthorizationKind, AuthorizerKind, AuthorizerRecord,
        IdRecord, PayloadFormat, ROUTE_AUTHORIZERS, RequestAuthorizer, RouteRecord, Version,
    },
};

/// The members of an authorizer in an answer; the answers of four operations have the same.
macro_rules! members {
    ($answer:ident, $record:expr) => {{
        let record: &AuthorizerRecord = $record;
        let (request, jwt) = match &record.how {
            AuthorizerKind::Request(request) => (Some(request), None),
            AuthorizerKind::Jwt { issuer, audience } => {
                let (audience, issuer) = (Some(audience.clone()), Some(issuer.clone()));
                (None, Some(JWTConfiguration { audience, issuer }))
            }
        };
        $answer {
            authorizer_credentials_arn: None,
            authorizer_id: Some(record.id.clone()),
            authorizer_payload_format_version: request
                .map(|request| format_text(request.payload_format).to_owned()),
            authorizer_result_ttl_in_seconds: request.map(|request| request.ttl_seconds),
            authorizer_type: Some(if request.is_some() { REQUEST } else { JWT }.to_owned()),
            authorizer_uri: request.map(|request| request.uri.clone()),
            enable_simple_responses: request.map(|request| request.simple),
            identity_source: Some(record.identity_source.clone()),
            identity_validation_expression: None,
            jwt_configuration: jwt,
            name: record.name.clone().into(),
        }
    }};
}

const REQUEST: &str = "REQUEST";
const JWT: &str = "JWT";

/// `CreateAuthorizer`.
pub(crate) async fn create(
    gateway: &Gateway,
    cx: &Cx,
    req: CreateAuthorizerRequest,
) -> Result<CreateAuthorizerResponse> {
    let is_websocket = gateway.is_websocket(cx, &req.api_id)?;
    let api_id = req.api_id.clone();
    let authorizer = accept(cx, req, is_websocket)?;
    check_issuer(gateway, &authorizer, None).await?;
    let answer = members!(CreateAuthorizerResponse, &authorizer);
    gateway.edit(cx, &api_id, move |edition| insert(edition, &authorizer)).await?;
    Ok(answer)
}

/// What a request for an authorizer asks for, if it can be had; whether its issuer can be reached is not asked here.
pub(crate) fn accept(
    cx: &Cx,
    req: CreateAuthorizerRequest,
    is_websocket: bool,
) -> Result<AuthorizerRecord> {
    unbuilt(&gaps::AUTHORIZER_CREDENTIALS, says(req.authorizer_credentials_arn.as_deref()))?;
    unbuilt(&gaps::IDENTITY_VALIDATION, says(req.identity_validation_expression.as_deref()))?;
    let others = OfOthers {
        uri: req.authorizer_uri.as_deref(),
        format: req.authorizer_payload_format_version.as_deref(),
        ttl: req.authorizer_result_ttl_in_seconds,
        simple: req.enable_simple_responses,
        jwt: req.jwt_configuration.is_some(),
    };
    others.refuse(&req.authorizer_type)?;
    let how = match req.authorizer_type.as_str() {
        REQUEST => AuthorizerKind::Request(RequestAuthorizer {
            uri: req.authorizer_uri.unwrap_or_default(),
            payload_format: payload(req.authorizer_payload_format_version.as_deref().or(is_websocket.then_some("1.0")).ok_or_else(
                || {
                    Error::invalid(
                        "AuthorizerPayloadFormatVersion is a required parameter for REQUEST authorizer",
                    )
                },
            )?)?,
            simple: req.enable_simple_responses.unwrap_or(false),
            ttl_seconds: req.authorizer_result_ttl_in_seconds.unwrap_or(0),
        }),
        _ => {
            let jwt = req.jwt_configuration.ok_or_else(|| {
                Error::invalid("JwtConfiguration is a required parameter for JWT authorizer")
            })?;
            AuthorizerKind::Jwt {
                issuer: jwt.issuer.unwrap_or_default(),
                audience: jwt.audience.unwrap_or_default(),
            }
        }
    };
    let authorizer = AuthorizerRecord {
        id: cx.id(6),
        name: req.name,
        identity_source: req.identity_source,
        how,
    };
    check(&authorizer)?;
    websocket::authorizer::check(is_websocket, &authorizer)?;
    Ok(authorizer)
}

/// The members that only one type of authorizers has.
struct OfOthers<'a> {
    uri: Option<&'a str>,
    format: Option<&'a str>,
    ttl: Option<i32>,
    simple: Option<bool>,
    jwt: bool,
}

impl OfOthers<'_> {
    /// Refuses what authorizers of this type would not look at.
    fn refuse(&self, kind: &str) -> Result<()> {
        let given = [
            ("AuthorizerUri", REQUEST, says(self.uri)),
            ("AuthorizerPayloadFormatVersion", REQUEST, says(self.format)),
            ("AuthorizerResultTtlInSeconds", REQUEST, self.ttl.is_some_and(|ttl| ttl != 0)),
            ("EnableSimpleResponses", REQUEST, self.simple == Some(true)),
            ("JwtConfiguration", JWT, self.jwt),
        ];
        match given.into_iter().find(|(_, of, given)| *given && *of != kind) {
            Some((name, ..)) => {
                Err(Error::invalid(format!("{name} is not supported for {kind} authorizers")))
            }
            None => Ok(()),
        }
    }
}

/// `GetAuthorizer`.
pub(crate) async fn get(
    gateway: &Gateway,
    cx: &Cx,
    req: GetAuthorizerRequest,
) -> Result<GetAuthorizerResponse> {
    let authorizer = gateway.read(cx, &req.api_id, |tx, at, _| find(tx, at, &req.authorizer_id))?;
    Ok(members!(GetAuthorizerResponse, &authorizer))
}

/// `GetAuthorizers`.
pub(crate) async fn list(
    gateway: &Gateway,
    cx: &Cx,
    req: GetAuthorizersRequest,
) -> Result<GetAuthorizersResponse> {
    let (authorizers, next_token) = gateway.read(cx, &req.api_id, |tx, at, _| {
        page(&AUTHORIZERS, tx, &at.key(), req.max_results.as_deref(), req.next_token.as_deref())
    })?;
    let items = authorizers.iter().map(|record| members!(Authorizer, record)).collect();
    Ok(GetAuthorizersResponse { items: Some(items), next_token })
}

/// `UpdateAuthorizer`.
pub(crate) async fn update(
    gateway: &Gateway,
    cx: &Cx,
    req: UpdateAuthorizerRequest,
) -> Result<UpdateAuthorizerResponse> {
    unbuilt(&gaps::AUTHORIZER_CREDENTIALS, says(req.authorizer_credentials_arn.as_deref()))?;
    unbuilt(&gaps::IDENTITY_VALIDATION, says(req.identity_validation_expression.as_deref()))?;
    let before = gateway.read(cx, &req.api_id, |tx, at, _| find(tx, at, &req.authorizer_id))?;
    // An issuer is asked before the transaction, which must not wait; what else holds is checked in it.
    check_issuer(gateway, &applied(&before, &req)?, Some(&before)).await?;
    let api_id = req.api_id.clone();
    let authorizer = gateway
        .edit(cx, &api_id, move |edition| {
            let before = find(edition.tx, edition.at, &req.authorizer_id)?;
            let authorizer = applied(&before, &req)?;
            let is_websocket = edition.api.settings.websocket.is_some();
            websocket::authorizer::check(is_websocket, &authorizer)?;
            if authorizer != before {
                insert(edition, &authorizer)?;
            }
            Ok(authorizer)
        })
        .await?;
    Ok(members!(UpdateAuthorizerResponse, &authorizer))
}

/// `DeleteAuthorizer`; refused while routes ask it.
pub(crate) async fn delete(gateway: &Gateway, cx: &Cx, req: DeleteAuthorizerRequest) -> Result<()> {
    gateway
        .edit(cx, &req.api_id.clone(), move |edition| {
            let authorizer = find(edition.tx, edition.at, &req.authorizer_id)?;
            let key = edition.at.of(&authorizer.id);
            let users = ROUTE_AUTHORIZERS.scan(edition.tx, &key, None, NAMED_USERS_MAX)?;
            if !users.is_empty() {
                let routes = users.into_iter().map(|(_, route)| route.id).collect();
                return Err(Error::AuthorizerInUse { id: authorizer.id, routes });
            }
            AUTHORIZERS.delete(edition.tx, &key)?;
            edition.note(Kind::Authorizer, &authorizer.id, &Version::Removed)
        })
        .await
}

/// Routes that the refusal to delete an authorizer names.
const NAMED_USERS_MAX: usize = 20;

/// Adds an authorizer, or stores it anew.
pub(crate) fn insert(edition: &mut Edition<'_>, authorizer: &AuthorizerRecord) -> Result<()> {
    let key = edition.at.of(&authorizer.id);
    let others = AUTHORIZERS.scan(edition.tx, &edition.at.key(), None, AUTHORIZERS_PER_API_MAX)?;
    let is_new = !others.iter().any(|(_, other)| other.id == authorizer.id);
    if is_new && others.len() >= AUTHORIZERS_PER_API_MAX {
        return Err(Error::TooMany("Authorizers"));
    }
    if others.iter().any(|(_, other)| other.id != authorizer.id && other.name == authorizer.name) {
        return Err(Error::invalid("Authorizer name must be unique. Authorizer already exists."));
    }
    AUTHORIZERS.put(edition.tx, &key, authorizer)?;
    edition.note(Kind::Authorizer, &authorizer.id, &Version::Authorizer(authorizer.clone()))
}

pub(crate) fn find(from: &impl Reader, at: &ApiKey, id: &str) -> Result<AuthorizerRecord> {
    AUTHORIZERS.get(from, &at.of(id))?.ok_or_else(|| Error::NoSuchAuthorizer(id.to_owned()))
}

fn applied(before: &AuthorizerRecord, req: &UpdateAuthorizerRequest) -> Result<AuthorizerRecord> {
    let mut authorizer = before.clone();
    if let Some(name) = &req.name {
        authorizer.name.clone_from(name);
    }
    if let Some(sources) = &req.identity_source {
        authorizer.identity_source.clone_from(sources);
    }
    let others = OfOthers {
        uri: req.authorizer_uri.as_deref(),
        format: req.authorizer_payload_format_version.as_deref(),
        ttl: req.authorizer_result_ttl_in_seconds,
        simple: req.enable_simple_responses,
        jwt: req.jwt_configuration.is_some(),
    };
    match &mut authorizer.how {
        AuthorizerKind::Request(request) => {
            check_type(req.authorizer_type.as_deref(), REQUEST)?;
            others.refuse(REQUEST)?;
            if let Some(uri) = &req.authorizer_uri {
                request.uri.clone_from(uri);
            }
            if let Some(format) = &req.authorizer_payload_format_version {
                request.payload_format = payload(format)?;
            }
            request.simple = req.enable_simple_responses.unwrap_or(request.simple);
            request.ttl_seconds =
                req.authorizer_result_ttl_in_seconds.unwrap_or(request.ttl_seconds);
        }
        AuthorizerKind::Jwt { issuer, audience } => {
            check_type(req.authorizer_type.as_deref(), JWT)?;
            others.refuse(JWT)?;
            if let Some(jwt) = &req.jwt_configuration {
                if let Some(given) = &jwt.issuer {
                    issuer.clone_from(given);
                }
                if let Some(given) = &jwt.audience {
                    audience.clone_from(given);
                }
            }
        }
    }
    check(&authorizer)?;
    Ok(authorizer)
}

fn check_type(asked: Option<&str>, is: &str) -> Result<()> {
    if asked.is_some_and(|asked| asked != is) {
        return Err(Error::invalid("AuthorizerType cannot be updated"));
    }
    Ok(())
}

/// What holds for an authorizer as a whole.
pub(crate) fn check(authorizer: &AuthorizerRecord) -> Result<()> {
    length("name", &authorizer.name, 1, 128)?;
    let sources = &authorizer.identity_source;
    if sources.len() > IDENTITY_SOURCES_MAX {
        return Err(Error::TooMany("Identity Sources"));
    }
    for text in sources {
        let source = Source::parse(text)
            .filter(|source| text.starts_with('$') && is_identity_source(source));
        if source.is_none() && !websocket::authorizer::is_identity_source(text) {
            return Err(Error::invalid(format!("Invalid identity source specified {text}")));
        }
    }
    match &authorizer.how {
        AuthorizerKind::Request(request) => check_request(request, sources),
        AuthorizerKind::Jwt { issuer, audience } => {
            let header_or_query = |text: &String| {
                text.starts_with("$request.header.") || text.starts_with("$request.querystring.")
            };
            if sources.len() != 1 || !sources.iter().all(header_or_query) {
                return Err(Error::invalid(
                    "JWT authorizers need exactly one identity source, a header or a query string parameter",
                ));
            }
            if issuer.is_empty() {
                return Err(Error::invalid("Issuer is a required parameter for JWT authorizer"));
            }
            match audience.len() {
                0 => Err(Error::invalid("Audience is a required parameter for JWT authorizer")),
                1..=AUDIENCES_MAX => Ok(()),
                _ => Err(Error::TooMany("Audiences")),
            }
        }
    }
}

fn check_request(request: &RequestAuthorizer, sources: &[String]) -> Result<()> {
    let variable = request.uri.contains("${stageVariables.") && request.uri.starts_with("arn:");
    if !variable && FunctionTarget::from_integration_uri(&request.uri).is_none() {
        return Err(Error::invalid("Invalid Authorizer URI: a Lambda function is expected"));
    }
    if request.simple && request.payload_format != PayloadFormat::V2 {
        return Err(Error::invalid(
            "EnableSimpleResponses is not supported for authorizer payload format version 1.0",
        ));
    }
    if !(0..=AUTHORIZER_TTL_SECONDS_MAX).contains(&request.ttl_seconds) {
        return Err(Error::invalid(format!(
            "Authorizer result TTL must be between 0 and {AUTHORIZER_TTL_SECONDS_MAX} seconds"
        )));
    }
    if request.ttl_seconds > 0 && sources.is_empty() {
        return Err(Error::invalid(
            "At least one identity source is required when caching is enabled",
        ));
    }
    Ok(())
}

/// An issuer has to have keys, as in AWS; one that was there before is not asked again.
pub(crate) async fn check_issuer(
    gateway: &Gateway,
    authorizer: &AuthorizerRecord,
    before: Option<&AuthorizerRecord>,
) -> Result<()> {
    let AuthorizerKind::Jwt { issuer, .. } = &authorizer.how else { return Ok(()) };
    if let Some(AuthorizerKind::Jwt { issuer: known, .. }) = before.map(|before| &before.how)
        && known == issuer
    {
        return Ok(());
    }
    match issuers::fetch(&gateway.upstream, issuer).await {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::invalid(format!(
            "Caught exception when connecting to {}/.well-known/openid-configuration for issuer {issuer}. Please try \
             again later. Error: Invalid issuer: {issuer}. {error}",
            issuer.trim_end_matches('/')
        ))),
    }
}

/// What a route says of its authorization, given what it said before.
pub(crate) fn authorization(
    before: &Authorization,
    kind: Option<&str>,
    authorizer: Option<&str>,
    scopes: Option<&[String]>,
) -> Result<Authorization> {
    let kind = match kind {
        None | Some("") => before.kind,
        Some("NONE") => AuthorizationKind::None,
        Some("AWS_IAM") => AuthorizationKind::Iam,
        Some("CUSTOM") => AuthorizationKind::Custom,
        Some("JWT") => AuthorizationKind::Jwt,
        Some(other) => {
            return Err(Error::invalid(format!("Invalid authorizationType specified {other}")));
        }
    };
    // Those of tokens say nothing to an authorizer of another type.
    let kept = if kind == before.kind { before.scopes.as_slice() } else { &[] };
    let scopes = scopes.unwrap_or(kept).to_vec();
    let authorizer = authorizer.map(str::to_owned).or_else(|| before.authorizer.clone());
    let authorizer = authorizer.filter(|id| !id.is_empty());
    match kind {
        // What AWS's console sends along when a route is opened says nothing any more.
        AuthorizationKind::None | AuthorizationKind::Iam => {
            Ok(Authorization { kind, ..Authorization::default() })
        }
        AuthorizationKind::Custom | AuthorizationKind::Jwt => {
            if authorizer.is_none() {
                return Err(no_authorizer(kind));
            }
            if kind == AuthorizationKind::Custom && !scopes.is_empty() {
                return Err(Error::invalid(
                    "AuthorizationScopes are supported for AuthorizationType JWT only",
                ));
            }
            if scopes.len() > SCOPES_PER_ROUTE_MAX {
                return Err(Error::TooMany("Authorization Scopes"));
            }
            for scope in &scopes {
                // Each becomes part of a header.
                if scope.is_empty()
                    || !scope.bytes().all(|byte| (0x21..0x7f).contains(&byte) && byte != b'"')
                {
                    return Err(Error::invalid("Invalid authorizationScopes specified"));
                }
            }
            Ok(Authorization { kind, authorizer, scopes })
        }
    }
}

/// That a route names no authorizer of its kind, whichever of the reasons it is. The text for `JWT` is AWS's.
fn no_authorizer(kind: AuthorizationKind) -> Error {
    let of_kind = if kind == AuthorizationKind::Jwt { "JWT authorizer" } else { "authorizer" };
    Error::invalid(format!(
        "Invalid authorizer ID specified. Setting the authorization type to {} requires a valid {of_kind}.",
        kind_text(kind)
    ))
}

/// The value of `authorizationType`.
pub(crate) fn kind_text(kind: AuthorizationKind) -> &'static str {
    match kind {
        AuthorizationKind::None => "NONE",
        AuthorizationKind::Iam => "AWS_IAM",
        AuthorizationKind::Custom => "CUSTOM",
        AuthorizationKind::Jwt => "JWT",
    }
}

/// Notes which authorizer a route asks; it has to be there and of the route's kind.
pub(crate) fn link(edition: &mut Edition<'_>, route: &RouteRecord) -> Result<()> {
    let Some(id) = &route.authorization.authorizer else { return Ok(()) };
    let authorizer = AUTHORIZERS.get(edition.tx, &edition.at.of(id))?;
    let fits = matches!(
        (authorizer.map(|authorizer| authorizer.how), route.authorization.kind),
        (Some(AuthorizerKind::Request(_)), AuthorizationKind::Custom)
            | (Some(AuthorizerKind::Jwt { .. }), AuthorizationKind::Jwt)
    );
    if !fits {
        return Err(no_authorizer(route.authorization.kind));
    }
    let key = edition.at.of(id).and(&route.id);
    Ok(ROUTE_AUTHORIZERS.put(edition.tx, &key, &IdRecord { id: route.id.clone() })?)
}

/// Undoes [`link`].
pub(crate) fn unlink(edition: &mut Edition<'_>, route: &RouteRecord) -> Result<()> {
    if let Some(id) = &route.authorization.authorizer {
        ROUTE_AUTHORIZERS.delete(edition.tx, &edition.at.of(id).and(&route.id))?;
    }
    Ok(())
}

fn payload(text: &str) -> Result<PayloadFormat> {
    match text {
        "1.0" => Ok(PayloadFormat::V1),
        "2.0" => Ok(PayloadFormat::V2),
        _ => Err(Error::invalid("AuthorizerPayloadFormatVersion must be one of [1.0, 2.0]")),
    }
}

fn format_text(format: PayloadFormat) -> &'static str {
    match format {
        PayloadFormat::V1 => "1.0",
        PayloadFormat::V2 => "2.0",
    }
}
