//! Authorize: whether the API answers at all, who asks, whether they may, and whether the route may use its
//! integration. A preflight comes as far as the last of these, which is not about who asks.
//!
//! What is missing or wrong in a token or an identity source is a 401, what is known and not allowed a 403, and an
//! authorizer that does not work a 500, as in AWS. Without `lambda:InvokeFunction` for API Gateway on behalf of this
//! route, the client gets a 500, too.

use std::sync::Arc;

use bytes::Bytes;
use gatemill_wire::RequestId;
use http_body::Body;

use super::{
    Exchange, Refusal, Refused, Seen, body::RequestBody, event, identity::Identity, parse::Place,
    route::Routed, values::Values,
};
use crate::{
    Gateway,
    authorizer::{
        Asked, AuthorizerSnapshot, How,
        answers::{NoVerdict, Verdict},
        jwt::{Flaw, Rules, Token},
    },
    expression::Source,
    functions::Call,
    limits::AUTHORIZER_TIMEOUT,
    snapshot::{Access, To},
};

/// Checks who asks, and whether they may. Signatures cover the body, so it is read here for those.
pub(super) async fn authorize<B>(
    gateway: &Gateway,
    exchange: &Exchange,
    place: &Place,
    routed: &Routed<'_>,
    body: &mut RequestBody<B>,
    seen: &mut Seen,
) -> Result<(), Refused>
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if place.stage.disabled && exchange.base_path().is_none() {
        return Err(Refusal::NotFound.because("the API's own endpoint is disabled"));
    }
    let identity = match &routed.route.access {
        Access::Open => Identity::Unasked,
        Access::Iam => {
            let body = body.read(&exchange.head.headers).await?;
            signer(gateway, exchange, place, &body)?
        }
        Access::By { authorizer, scopes } => {
            let values = Values::of_request(exchange, place, routed, seen, None);
            // Boxed: a request is moved with the room for all that it may wait for, and most routes ask nobody.
            let found = Box::pin(ask(gateway, &values, authorizer, scopes)).await;
            if let Err(refused) = &found {
                seen.authorizer_error = Some(refused.why.clone().into_owned());
            }
            found?
        }
        Access::Broken => return Err(Refusal::Internal.because("the route's authorizer is gone")),
    };
    seen.identity = identity;
    Ok(())
}

/// The ARN of what the request is for, by which policies decide.
pub(super) fn request_arn(exchange: &Exchange, place: &Place) -> String {
    let stage = &place.stage;
    format!(
        "arn:aws:execute-api:{}:{}:{}/{}/{}{}",
        stage.region,
        stage.account,
        stage.api_id,
        stage.name,
        exchange.head.method,
        place.path(exchange)
    )
}

/// AWS_IAM: every failure is a 403.
fn signer(
    gateway: &Gateway,
    exchange: &Exchange,
    place: &Place,
    body: &Bytes,
) -> Result<Identity, Refused> {
    let callers = gateway.callers.get();
    let callers = callers.ok_or_else(|| Refusal::Forbidden.because("no access keys are known"))?;
    let caller = callers
        .signer(exchange.arrival.now, &exchange.head, body)
        .map_err(|why| Refusal::Forbidden.because(why))?;
    let own = caller.account == place.stage.account;
    if own && callers.may(&caller, "execute-api:Invoke", &request_arn(exchange, place)) {
        return Ok(Identity::Iam(caller));
    }
    Err(Refusal::Forbidden.because("the signer may not invoke the API"))
}

async fn ask(
    gateway: &Gateway,
    values: &Values<'_>,
    authorizer: &AuthorizerSnapshot,
    scopes: &[String],
) -> Result<Identity, Refused> {
    match &authorizer.how {
        How::Jwt(rules) => {
            let token = authorizer.sources.iter().find_map(|source| values.value(source));
            by_token(gateway, values, token.as_deref(), rules, scopes).await
        }
        How::Function(asked) => by_function(gateway, values, authorizer, asked).await,
        How::Broken => Err(Refusal::Internal.because("the authorizer's URI names no function")),
    }
}

async fn by_token(
    gateway: &Gateway,
    values: &Values<'_>,
    text: Option<&str>,
    rules: &Rules,
    scopes: &[String],
) -> Result<Identity, Refused> {
    let Some(text) = text else {
        return Err(Refusal::Unauthorized.because("there is no token").challenging("Bearer"));
    };
    let refused = |flaw: Flaw| {
        let challenge = format!(
            "Bearer scope=\"{}\" error=\"invalid_token\" error_description=\"{flaw}\"",
            scopes.join(" ")
        );
        Refusal::Unauthorized.because(flaw.to_string()).challenging(challenge)
    };
    let token = match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        Some(_) | None => text,
    };
    let now = values.exchange.arrival.now;
    let token = Token::read(token).map_err(refused)?;
    let key = gateway.issuers.key(&gateway.upstream, &rules.issuer, &token.key_id, now).await;
    let claims = token.verify(&*key.map_err(refused)?, rules, now).map_err(refused)?;
    if scopes.is_empty() {
        return Ok(Identity::Jwt(claims, None));
    }
    if !scopes.iter().any(|scope| claims.scopes.contains(scope)) {
        let challenge = format!(
            "Bearer scope=\"{}\" error=\"insufficient_scope\" error_description=\"the token does not have a valid scope\"",
            scopes.join(" ")
        );
        return Err(Refusal::Forbidden
            .because("the token has none of the scopes")
            .challenging(challenge));
    }
    let granted = claims.scopes.clone();
    Ok(Identity::Jwt(claims, Some(granted)))
}

async fn by_function(
    gateway: &Gateway,
    values: &Values<'_>,
    authorizer: &AuthorizerSnapshot,
    asked: &Asked,
) -> Result<Identity, Refused> {
    let given: Option<Vec<String>> =
        authorizer.sources.iter().map(|source| values.value(source)).collect();
    let given =
        given.ok_or_else(|| Refusal::Unauthorized.because("an identity source is missing"))?;
    let arn = request_arn(values.exchange, values.place);
    let call = || invoke(gateway, values, asked, &given, &arn);
    let now = values.exchange.arrival.now;
    let verdict = if asked.ttl.is_zero() || given.is_empty() {
        call().await
    } else {
        asked.answers.get(&given, now, asked.ttl, call).await
    };
    let verdict = verdict.map_err(|none| match none {
        NoVerdict::Unauthorized => Refusal::Unauthorized.because("the authorizer said so"),
        NoVerdict::Failed(why) => Refusal::Internal.because(why),
    })?;
    if verdict.allows(&arn, &values.exchange.arrival.source_ip, now) {
        return Ok(Identity::Function(verdict));
    }
    Err(Refusal::Forbidden.because(format!("the authorizer {} refuses", authorizer.id())))
}

/// Asks the function.
async fn invoke(
    gateway: &Gateway,
    values: &Values<'_>,
    asked: &Asked,
    given: &[String],
    arn: &str,
) -> Result<Arc<Verdict>, NoVerdict> {
    let failed = |why: String| NoVerdict::Failed(format!("the authorizer failed: {why}"));
    let Values { exchange, place, routed, .. } = values;
    if !gateway.functions.allows(&asked.function, &asked.source_arn, &place.stage.account) {
        return Err(failed(format!("its policy does not let {} invoke it", asked.source_arn)));
    }
    let given = (!given.is_empty()).then_some(given);
    let payload = event::decision(exchange, place, routed, asked.format, arn, given)
        .map_err(|error| failed(error.to_string()))?;
    let request_id = RequestId(gateway.entropy.uuid());
    let call =
        Call { function: &asked.function, payload, request_id, trace_id: &exchange.trace_id };
    let answer =
        match tokio::time::timeout(AUTHORIZER_TIMEOUT, gateway.functions.invoke(call)).await {
            Err(_) => return Err(failed("it took too long".to_owned())),
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Ok(Ok(answer)) => answer,
        };
    if answer.failed {
        let error: Option<serde_json::Value> = serde_json::from_slice(&answer.payload).ok();
        let said = error.as_ref().and_then(|error| error.get("errorMessage")?.as_str());
        return Err(match said {
            Some("Unauthorized") => NoVerdict::Unauthorized,
            _ => failed("it ended in an error".to_owned()),
        });
    }
    Verdict::read(&answer.payload, asked.simple).map(Arc::new).map_err(NoVerdict::Failed)
}

/// Checks whether the route may use its integration.
pub(super) fn may_integrate(
    gateway: &Gateway,
    place: &Place,
    routed: &Routed<'_>,
) -> Result<(), Refused> {
    let integration = routed.route.integration.as_deref();
    let integration =
        integration.ok_or_else(|| Refusal::Internal.because("the route has no integration"))?;
    match &integration.to {
        To::Http(_) | To::Service(_) => Ok(()),
        To::Nowhere => {
            Err(Refusal::Internal.because("the integration's URI is none in this stage"))
        }
        To::Function { function, .. } => {
            let source_arn = &routed.route.source_arn;
            if gateway.functions.allows(function, source_arn, &place.stage.account) {
                return Ok(());
            }
            Err(Refusal::Internal.because(format!(
                "the policy of {} does not let apigateway.amazonaws.com invoke it for {source_arn}",
                function.arn()
            )))
        }
    }
}

/// Whether a source may say who asks.
pub(crate) fn is_identity_source(source: &Source) -> bool {
    match source {
        Source::RequestHeader(_)
        | Source::RequestQuery(_)
        | Source::Context(_)
        | Source::StageVariable(_) => true,
        Source::RequestPath
        | Source::RequestPathParameter(_)
        | Source::RequestBody(_)
        | Source::ResponseHeader(_)
        | Source::ResponseBody(_) => false,
    }
}
