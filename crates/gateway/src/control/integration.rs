//! The family of integrations: functions and actions of services (`AWS_PROXY`), and HTTP servers (`HTTP_PROXY`).

use std::collections::BTreeMap;

use gatemill_api::apigatewayv2::{
    CreateIntegrationRequest, CreateIntegrationResult, DeleteIntegrationRequest,
    GetIntegrationRequest, GetIntegrationResult, GetIntegrationsRequest, GetIntegrationsResponse,
    Integration, TlsConfig, TlsConfigInput, UpdateIntegrationRequest, UpdateIntegrationResult,
};
use gatemill_store::Reader;
use gatemill_wire::Cx;
use rustls::pki_types::ServerName;

use crate::{
    Gateway,
    control::{
        edition::{Edition, Kind},
        gaps, holds, length,
        page::page,
        says, service, unbuilt, vpc_link, websocket,
    },
    error::{Error, Result},
    functions::FunctionTarget,
    limits::{INTEGRATIONS_PER_API_MAX, TIMEOUT_MS_MAX, TIMEOUT_MS_MIN},
    mapping::{RequestMapping, ResponseMapping, Wrong},
    record::{
        ApiKey, INTEGRATIONS, IntegrationKind, IntegrationRecord, IntegrationTls, PayloadFormat,
        ROUTE_TARGETS, Version,
    },
    uri::UriTemplate,
};

/// The members of an integration in an answer; the answers of four operations have the same.
macro_rules! members {
    ($answer:ident, $record:expr) => {{
        let record: &IntegrationRecord = $record;
        $answer {
            api_gateway_managed: record.managed.then_some(true),
            connection_id: record.vpc_link.clone(),
            connection_type: Some(connection_text(record).to_owned()),
            content_handling_strategy: None,
            credentials_arn: record.service.as_ref().map(|own| own.credentials.clone()),
            description: record.description.clone(),
            integration_id: Some(record.id.clone()),
            integration_method: record.method.clone(),
            integration_response_selection_expression: None,
            integration_subtype: record.service.as_ref().map(|own| own.subtype.clone()),
            integration_type: Some(kind_text(record.kind).to_owned()),
            integration_uri: Some(record.uri.clone()).filter(|_| record.service.is_none()),
            passthrough_behavior: None,
            payload_format_version: Some(format_text(record.payload_format).to_owned()),
            request_parameters: given(&record.request_parameters),
            request_templates: None,
            response_parameters: given(&record.response_parameters),
            template_selection_expression: None,
            timeout_in_millis: Some(record.timeout_ms),
            tls_config: record
                .tls
                .as_ref()
                .map(|tls| TlsConfig { server_name_to_verify: tls.server_name.clone() }),
        }
    }};
}

/// Refuses what create and update have in common and is not built.
macro_rules! refuse_unbuilt {
    ($req:expr) => {{
        let req = $req;
        unbuilt(&gaps::HTTP_CONTENT_HANDLING, says(req.content_handling_strategy.as_deref()))?;
        // Tools send the default, which says nothing for HTTP APIs.
        unbuilt(
            &gaps::HTTP_PASSTHROUGH,
            req.passthrough_behavior.as_deref().is_some_and(|kind| kind != "WHEN_NO_MATCH"),
        )?;
        unbuilt(&gaps::HTTP_TEMPLATES, holds(req.request_templates.as_ref()))?;
        unbuilt(
            &gaps::HTTP_TEMPLATE_SELECTION,
            says(req.template_selection_expression.as_deref()),
        )?;
        length("description", req.description.as_deref().unwrap_or_default(), 0, 1024)?;
    }};
}

/// `CreateIntegration`.
pub(crate) async fn create(
    gateway: &Gateway,
    cx: &Cx,
    req: CreateIntegrationRequest,
) -> Result<CreateIntegrationResult> {
    if gateway.is_websocket(cx, &req.api_id)? {
        return websocket::integration::create(gateway, cx, req).await;
    }
    let integration = accept(gateway, cx, req.clone())?;
    let answer = members!(CreateIntegrationResult, &integration);
    gateway.edit(cx, &req.api_id, move |edition| insert(edition, &integration)).await?;
    Ok(answer)
}

/// What a request for an integration of an HTTP API asks for, if it can be had.
pub(crate) fn accept(
    gateway: &Gateway,
    cx: &Cx,
    req: CreateIntegrationRequest,
) -> Result<IntegrationRecord> {
    refuse_unbuilt!(&req);
    let kind = kind(&req.integration_type)?;
    let service =
        service::given(None, req.integration_subtype.as_deref(), req.credentials_arn.as_deref())?;
    let payload_format = req.payload_format_version.as_deref().ok_or_else(|| {
        Error::invalid("PayloadFormatVersion is a required parameter for integration")
    })?;
    let integration = IntegrationRecord {
        id: cx.id(7),
        kind,
        uri: req.integration_uri.unwrap_or_default(),
        method: req.integration_method.or_else(|| match kind {
            IntegrationKind::AwsProxy => service.is_none().then(|| "POST".to_owned()),
            IntegrationKind::HttpProxy
            | IntegrationKind::Aws
            | IntegrationKind::Http
            | IntegrationKind::Mock => None,
        }),
        payload_format: payload(payload_format)?,
        timeout_ms: req.timeout_in_millis.unwrap_or(TIMEOUT_MS_MAX),
        description: req.description.filter(|text| !text.is_empty()),
        managed: false,
        websocket: None,
        request_parameters: req.request_parameters.unwrap_or_default(),
        response_parameters: req.response_parameters.unwrap_or_default(),
        vpc_link: connection(None, req.connection_type.as_deref(), req.connection_id.as_deref())?,
        service,
        tls: req.tls_config.map(tls),
    };
    check(&integration)?;
    service::check(&integration, cx.account(), gateway.configured())?;
    Ok(integration)
}

/// `GetIntegration`.
pub(crate) async fn get(
    gateway: &Gateway,
    cx: &Cx,
    req: GetIntegrationRequest,
) -> Result<GetIntegrationResult> {
    let integration =
        gateway.read(cx, &req.api_id, |tx, at, _| find(tx, at, &req.integration_id))?;
    Ok(match &integration.websocket {
        Some(own) => websocket::integration::members!(GetIntegrationResult, &integration, own),
        None => members!(GetIntegrationResult, &integration),
    })
}

/// `GetIntegrations`.
pub(crate) async fn list(
    gateway: &Gateway,
    cx: &Cx,
    req: GetIntegrationsRequest,
) -> Result<GetIntegrationsResponse> {
    let (integrations, next_token) = gateway.read(cx, &req.api_id, |tx, at, _| {
        page(&INTEGRATIONS, tx, &at.key(), req.max_results.as_deref(), req.next_token.as_deref())
    })?;
    let items = integrations.iter().map(|record| match &record.websocket {
        Some(own) => websocket::integration::members!(Integration, record, own),
        None => members!(Integration, record),
    });
    let items = items.collect();
    Ok(GetIntegrationsResponse { items: Some(items), next_token })
}

/// `UpdateIntegration`.
pub(crate) async fn update(
    gateway: &Gateway,
    cx: &Cx,
    req: UpdateIntegrationRequest,
) -> Result<UpdateIntegrationResult> {
    if gateway.is_websocket(cx, &req.api_id)? {
        return websocket::integration::update(gateway, cx, req).await;
    }
    refuse_unbuilt!(&req);
    let kind = req.integration_type.as_deref().map(kind).transpose()?;
    let payload = req.payload_format_version.as_deref().map(payload).transpose()?;
    let api_id = req.api_id.clone();
    let account = cx.account().to_owned();
    let services = gateway.services.get().cloned();
    let integration = gateway
        .edit(cx, &api_id, move |edition| {
            let stored = find(edition.tx, edition.at, &req.integration_id)?;
            let before = stored.clone();
            let mut integration = before.clone();
            integration.kind = kind.unwrap_or(before.kind);
            integration.payload_format = payload.unwrap_or(before.payload_format);
            integration.timeout_ms = req.timeout_in_millis.unwrap_or(before.timeout_ms);
            if let Some(uri) = &req.integration_uri {
                integration.uri.clone_from(uri);
            }
            if let Some(method) = &req.integration_method {
                integration.method = Some(method.clone());
            }
            if let Some(text) = &req.description {
                integration.description = Some(text.clone()).filter(|text| !text.is_empty());
            }
            integration.vpc_link = connection(
                before.vpc_link,
                req.connection_type.as_deref(),
                req.connection_id.as_deref(),
            )?;
            integration.service = service::given(
                before.service,
                req.integration_subtype.as_deref(),
                req.credentials_arn.as_deref(),
            )?;
            match &req.tls_config {
                Some(given) => integration.tls = Some(tls(given.clone())),
                // What was there was of the link that it had.
                None if integration.vpc_link.is_none() => integration.tls = None,
                None => {}
            }
            merge_parameters(
                &mut integration,
                req.request_parameters.as_ref(),
                req.response_parameters.as_ref(),
            );
            check(&integration)?;
            let configured = services.as_deref().map(gatemill_aws::Client::services);
            service::check(&integration, &account, configured)?;
            if integration != stored {
                insert(edition, &integration)?;
            }
            Ok(integration)
        })
        .await?;
    Ok(members!(UpdateIntegrationResult, &integration))
}

/// `DeleteIntegration`; refused while routes point at it.
pub(crate) async fn delete(
    gateway: &Gateway,
    cx: &Cx,
    req: DeleteIntegrationRequest,
) -> Result<()> {
    gateway
        .edit(cx, &req.api_id.clone(), move |edition| {
            let integration = find(edition.tx, edition.at, &req.integration_id)?;
            if integration.managed {
                return Err(Error::invalid(
                    "An integration managed by API Gateway cannot be deleted.",
                ));
            }
            let key = edition.at.of(&integration.id);
            let users = ROUTE_TARGETS.scan(edition.tx, &key, None, NAMED_USERS_MAX)?;
            if !users.is_empty() {
                let ids = users.into_iter().map(|(_, route)| route.id).collect();
                return Err(Error::IntegrationInUse(ids));
            }
            INTEGRATIONS.delete(edition.tx, &key)?;
            edition.api.integrations = edition.api.integrations.saturating_sub(1);
            edition.note(Kind::Integration, &integration.id, &Version::Removed)
        })
        .await
}

/// Routes that the refusal to delete an integration names.
const NAMED_USERS_MAX: usize = 20;

/// The integration of quick create: a function where the target names one, an HTTP server otherwise.
pub(crate) fn quick(id: String, target: &str) -> Result<IntegrationRecord> {
    let (kind, method, payload_format) = if target.starts_with("arn:") {
        (IntegrationKind::AwsProxy, "POST", PayloadFormat::V2)
    } else {
        (IntegrationKind::HttpProxy, "ANY", PayloadFormat::V1)
    };
    let integration = IntegrationRecord {
        id,
        kind,
        uri: target.to_owned(),
        method: Some(method.to_owned()),
        payload_format,
        timeout_ms: TIMEOUT_MS_MAX,
        description: None,
        managed: true,
        websocket: None,
        request_parameters: BTreeMap::new(),
        response_parameters: BTreeMap::new(),
        vpc_link: None,
        service: None,
        tls: None,
    };
    check(&integration)?;
    Ok(integration)
}

/// Adds an integration, or stores it anew.
pub(crate) fn insert(edition: &mut Edition<'_>, integration: &IntegrationRecord) -> Result<()> {
    let key = edition.at.of(&integration.id);
    if !INTEGRATIONS.contains(edition.tx, &key)? {
        if edition.api.integrations >= INTEGRATIONS_PER_API_MAX {
            return Err(Error::TooMany("Integrations"));
        }
        edition.api.integrations += 1;
    }
    vpc_link::link(edition, integration.vpc_link.as_deref())?;
    INTEGRATIONS.put(edition.tx, &key, integration)?;
    edition.note(Kind::Integration, &integration.id, &Version::Integration(integration.clone()))
}

/// The integration of this id, which has to be there.
pub(crate) fn find(from: &impl Reader, at: &ApiKey, id: &str) -> Result<IntegrationRecord> {
    INTEGRATIONS.get(from, &at.of(id))?.ok_or_else(|| Error::NoSuchIntegration(id.to_owned()))
}

/// What holds for an integration as a whole.
fn check(integration: &IntegrationRecord) -> Result<()> {
    if !(TIMEOUT_MS_MIN..=TIMEOUT_MS_MAX).contains(&integration.timeout_ms) {
        return Err(Error::invalid(format!(
            "Timeout should be between {TIMEOUT_MS_MIN} ms and {TIMEOUT_MS_MAX} ms"
        )));
    }
    check_tls(integration)?;
    let wrong = |wrong: Wrong| Error::invalid(wrong.to_string());
    ResponseMapping::read_all(&integration.response_parameters).map_err(wrong)?;
    if integration.service.is_some() {
        // Its parameters are those of its action, which `service::check` knows.
        return Ok(());
    }
    RequestMapping::read(&integration.request_parameters).map_err(wrong)?;
    match integration.kind {
        IntegrationKind::AwsProxy if integration.vpc_link.is_some() => {
            Err(Error::invalid("Lambda functions are not reached through a VPC link"))
        }
        IntegrationKind::AwsProxy => check_function(&integration.uri),
        IntegrationKind::HttpProxy => check_http(integration),
        // Only WebSocket APIs have them, and check them themselves.
        IntegrationKind::Aws | IntegrationKind::Http | IntegrationKind::Mock => Ok(()),
    }
}

fn tls(given: TlsConfigInput) -> IntegrationTls {
    IntegrationTls { server_name: given.server_name_to_verify.filter(|name| !name.is_empty()) }
}

fn check_tls(integration: &IntegrationRecord) -> Result<()> {
    let Some(tls) = &integration.tls else { return Ok(()) };
    if integration.vpc_link.is_none() {
        return Err(Error::invalid("TlsConfig is supported for connectionType VPC_LINK only"));
    }
    let name = tls.server_name.as_deref();
    if name.is_some_and(|name| ServerName::try_from(name).is_err() || name.len() > 512) {
        return Err(Error::invalid("Invalid serverNameToVerify specified"));
    }
    Ok(())
}

/// The VPC link that an integration goes through, given the one before.
fn connection(
    before: Option<String>,
    kind: Option<&str>,
    id: Option<&str>,
) -> Result<Option<String>> {
    let id = id.filter(|id| !id.is_empty()).map(str::to_owned);
    match kind {
        Some("VPC_LINK") => id.or(before).map(Some).ok_or_else(|| {
            Error::invalid("ConnectionId must be set to a VPC link for connectionType VPC_LINK")
        }),
        Some(_) if id.is_some() => {
            Err(Error::invalid("ConnectionId is supported for connectionType VPC_LINK only"))
        }
        Some(_) => Ok(None),
        None if id.is_some() && before.is_none() => {
            Err(Error::invalid("ConnectionId is supported for connectionType VPC_LINK only"))
        }
        None => Ok(id.or(before)),
    }
}

/// Merges parameters as AWS does: an empty value removes one, an empty map those of a status.
fn merge_parameters(
    integration: &mut IntegrationRecord,
    request: Option<&Parameters>,
    response: Option<&BTreeMap<String, Parameters>>,
) {
    merge(&mut integration.request_parameters, request);
    for (status, given) in response.into_iter().flatten() {
        let of_status = integration.response_parameters.entry(status.clone()).or_default();
        if given.is_empty() {
            of_status.clear();
        }
        merge(of_status, Some(given));
    }
    integration.response_parameters.retain(|_, parameters| !parameters.is_empty());
}

type Parameters = BTreeMap<String, String>;

fn merge(parameters: &mut Parameters, given: Option<&Parameters>) {
    for (key, value) in given.into_iter().flatten() {
        if value.is_empty() {
            parameters.remove(key);
        } else {
            parameters.insert(key.clone(), value.clone());
        }
    }
}

/// A map in an answer: left out when it is empty.
fn given<V: Clone>(map: &BTreeMap<String, V>) -> Option<BTreeMap<String, V>> {
    (!map.is_empty()).then(|| map.clone())
}

fn connection_text(integration: &IntegrationRecord) -> &'static str {
    if integration.vpc_link.is_some() { "VPC_LINK" } else { "INTERNET" }
}

/// A function that stage variables name is known only where the stage is.
pub(crate) fn check_function(uri: &str) -> Result<()> {
    let variable = uri.contains("${stageVariables.") && uri.starts_with("arn:");
    if variable || FunctionTarget::from_integration_uri(uri).is_some() {
        return Ok(());
    }
    Err(Error::invalid("Invalid Integration URI specified: a Lambda function ARN is expected"))
}

fn check_http(integration: &IntegrationRecord) -> Result<()> {
    if integration.payload_format != PayloadFormat::V1 {
        return Err(Error::invalid(
            "PayloadFormatVersion 1.0 is the only supported value for HTTP_PROXY integrations",
        ));
    }
    let Some(method) = integration.method.as_deref() else {
        return Err(Error::invalid("HttpMethod must be specified for HTTP_PROXY integrations"));
    };
    if method != "ANY" && crate::trie::verb(method).is_none() {
        return Err(Error::invalid(format!("Invalid HTTP method identifier specified {method}")));
    }
    if integration.vpc_link.is_some() && integration.uri.starts_with("arn:") {
        return Err(Error::NotBuilt(&gaps::LISTENER_URI));
    }
    if UriTemplate::parse(&integration.uri).is_none() {
        return Err(Error::invalid("Invalid HTTP endpoint specified for URI"));
    }
    Ok(())
}

fn kind(text: &str) -> Result<IntegrationKind> {
    match text {
        "AWS_PROXY" => Ok(IntegrationKind::AwsProxy),
        "HTTP_PROXY" => Ok(IntegrationKind::HttpProxy),
        _ => Err(Error::invalid(
            "Currently, an API with a protocol type of HTTP may only be associated with proxy integrations \
             (AWS_PROXY, HTTP_PROXY)",
        )),
    }
}

fn payload(text: &str) -> Result<PayloadFormat> {
    match text {
        "1.0" => Ok(PayloadFormat::V1),
        "2.0" => Ok(PayloadFormat::V2),
        _ => Err(Error::invalid("PayloadFormatVersion must be one of [1.0, 2.0]")),
    }
}

/// A kind as it is on the wire.
pub(crate) fn kind_text(kind: IntegrationKind) -> &'static str {
    match kind {
        IntegrationKind::Aws => "AWS",
        IntegrationKind::Http => "HTTP",
        IntegrationKind::Mock => "MOCK",
        IntegrationKind::AwsProxy => "AWS_PROXY",
        IntegrationKind::HttpProxy => "HTTP_PROXY",
    }
}

/// A format as it is on the wire.
pub(crate) fn format_text(format: PayloadFormat) -> &'static str {
    match format {
        PayloadFormat::V1 => "1.0",
        PayloadFormat::V2 => "2.0",
    }
}
