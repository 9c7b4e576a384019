//! Integrations of WebSocket APIs: functions and HTTP servers, as proxies or with templates, and mocks.

use std::collections::BTreeMap;

use gatemill_api::apigatewayv2::{
    CreateIntegrationRequest, CreateIntegrationResult, UpdateIntegrationRequest,
    UpdateIntegrationResult,
};
use gatemill_wire::Cx;

use crate::{
    Gateway,
    control::{
        gaps, holds, integration, length, says, unbuilt,
        websocket::{check_templates, content_handling, merge},
    },
    error::{Error, Result},
    limits::{TIMEOUT_MS_MIN, WEBSOCKET_TIMEOUT_MS_MAX},
    record::{
        IntegrationKind, IntegrationRecord, Passthrough, PayloadFormat, WebSocketIntegration,
    },
    uri::UriTemplate,
    websocket::{mapping::Mapping, select::Selection},
};

/// The members of an integration in an answer.
macro_rules! members {
    ($answer:ident, $record:expr, $own:expr) => {{
        let record: &$crate::record::IntegrationRecord = $record;
        let own: &$crate::record::WebSocketIntegration = $own;
        $answer {
            api_gateway_managed: None,
            connection_id: None,
            connection_type: Some("INTERNET".to_owned()),
            content_handling_strategy: own
                .content_handling
                .map($crate::control::websocket::content_handling_text),
            credentials_arn: None,
            description: record.description.clone(),
            integration_id: Some(record.id.clone()),
            integration_method: record.method.clone(),
            integration_response_selection_expression: Some(
                $crate::control::websocket::integration::response_selection(record.kind).to_owned(),
            ),
            integration_subtype: None,
            integration_type: Some($crate::control::integration::kind_text(record.kind).to_owned()),
            integration_uri: Some(record.uri.clone()).filter(|uri| !uri.is_empty()),
            passthrough_behavior: Some(
                $crate::control::websocket::integration::passthrough_text(own.passthrough)
                    .to_owned(),
            ),
            payload_format_version: Some("1.0".to_owned()),
            request_parameters: Some(own.request_parameters.clone())
                .filter(|parameters| !parameters.is_empty()),
            request_templates: Some(own.request_templates.clone())
                .filter(|templates| !templates.is_empty()),
            response_parameters: None,
            template_selection_expression: own.template_selection.clone(),
            timeout_in_millis: Some(record.timeout_ms),
            tls_config: None,
        }
    }};
}
pub(crate) use members;

/// Refuses what create and update have in common and is not built.
macro_rules! refuse_unbuilt {
    ($req:expr) => {{
        let req = $req;
        unbuilt(&gaps::WS_CONNECTION_ID, says(req.connection_id.as_deref()))?;
        unbuilt(
            &gaps::WS_CONNECTION_TYPE,
            req.connection_type.as_deref().is_some_and(|kind| kind != "INTERNET"),
        )?;
        unbuilt(&gaps::WS_CREDENTIALS, says(req.credentials_arn.as_deref()))?;
        unbuilt(&gaps::WS_SUBTYPE, says(req.integration_subtype.as_deref()))?;
        unbuilt(&gaps::WS_RESPONSE_PARAMETERS, holds(req.response_parameters.as_ref()))?;
        unbuilt(&gaps::WS_TLS, req.tls_config.is_some())?;
        length("description", req.description.as_deref().unwrap_or_default(), 0, 1024)?;
        if req.payload_format_version.as_deref().is_some_and(|version| version != "1.0") {
            return Err(Error::invalid(
                "PayloadFormatVersion 1.0 is the only supported value for protocolType WEBSOCKET",
            ));
        }
    }};
}

/// `CreateIntegration`.
pub(crate) async fn create(
    gateway: &Gateway,
    cx: &Cx,
    req: CreateIntegrationRequest,
) -> Result<CreateIntegrationResult> {
    refuse_unbuilt!(&req);
    let kind = kind(&req.integration_type)?;
    let own = WebSocketIntegration {
        request_parameters: req.request_parameters.unwrap_or_default(),
        request_templates: req.request_templates.unwrap_or_default(),
        template_selection: req.template_selection_expression.filter(|text| !text.is_empty()),
        passthrough: passthrough(req.passthrough_behavior.as_deref())?.unwrap_or_default(),
        responses: Vec::new(),
        content_handling: content_handling(req.content_handling_strategy.as_deref())?,
    };
    let record = IntegrationRecord {
        id: cx.id(7),
        kind,
        uri: req.integration_uri.unwrap_or_default(),
        method: req.integration_method.filter(|text| !text.is_empty()).or_else(|| match kind {
            IntegrationKind::AwsProxy | IntegrationKind::Aws => Some("POST".to_owned()),
            IntegrationKind::HttpProxy | IntegrationKind::Http | IntegrationKind::Mock => None,
        }),
        payload_format: PayloadFormat::V1,
        timeout_ms: req.timeout_in_millis.unwrap_or(WEBSOCKET_TIMEOUT_MS_MAX),
        description: req.description.filter(|text| !text.is_empty()),
        managed: false,
        websocket: Some(own.clone()),
        request_parameters: BTreeMap::new(),
        response_parameters: BTreeMap::new(),
        vpc_link: None,
        service: None,
        tls: None,
    };
    check(&record, &own)?;
    let answer = members!(CreateIntegrationResult, &record, &own);
    gateway.edit(cx, &req.api_id, move |edition| integration::insert(edition, &record)).await?;
    Ok(answer)
}

/// `UpdateIntegration`. A request parameter or template that is set to nothing is removed.
pub(crate) async fn update(
    gateway: &Gateway,
    cx: &Cx,
    req: UpdateIntegrationRequest,
) -> Result<UpdateIntegrationResult> {
    refuse_unbuilt!(&req);
    let kind = req.integration_type.as_deref().map(kind).transpose()?;
    let passthrough = passthrough(req.passthrough_behavior.as_deref())?;
    let handling = req.content_handling_strategy.as_deref();
    let handling = handling.map(|text| content_handling(Some(text))).transpose()?;
    let (record, own) = gateway
        .edit(cx, &req.api_id.clone(), move |edition| {
            let before = integration::find(edition.tx, edition.at, &req.integration_id)?;
            let mut record = before.clone();
            let mut own = record.websocket.take().unwrap_or_default();
            record.kind = kind.unwrap_or(before.kind);
            record.timeout_ms = req.timeout_in_millis.unwrap_or(before.timeout_ms);
            if let Some(uri) = &req.integration_uri {
                record.uri.clone_from(uri);
            }
            if let Some(method) = &req.integration_method {
                record.method = Some(method.clone()).filter(|text| !text.is_empty());
            }
            if let Some(text) = &req.description {
                record.description = Some(text.clone()).filter(|text| !text.is_empty());
            }
            own.passthrough = passthrough.unwrap_or(own.passthrough);
            own.content_handling = handling.unwrap_or(own.content_handling);
            merge(&mut own.request_parameters, req.request_parameters.as_ref());
            merge(&mut own.request_templates, req.request_templates.as_ref());
            if let Some(text) = &req.template_selection_expression {
                own.template_selection = Some(text.clone()).filter(|text| !text.is_empty());
            }
            check(&record, &own)?;
            record.websocket = Some(own.clone());
            if record != before {
                integration::insert(edition, &record)?;
            }
            Ok((record, own))
        })
        .await?;
    Ok(members!(UpdateIntegrationResult, &record, &own))
}

/// By what the integration response is chosen.
pub(crate) fn response_selection(kind: IntegrationKind) -> &'static str {
    match kind {
        IntegrationKind::Aws => "${integration.response.body.errorMessage}",
        IntegrationKind::AwsProxy
        | IntegrationKind::HttpProxy
        | IntegrationKind::Http
        | IntegrationKind::Mock => "${integration.response.statuscode}",
    }
}

/// As it is on the wire.
pub(crate) fn passthrough_text(passthrough: Passthrough) -> &'static str {
    match passthrough {
        Passthrough::WhenNoMatch => "WHEN_NO_MATCH",
        Passthrough::WhenNoTemplates => "WHEN_NO_TEMPLATES",
        Passthrough::Never => "NEVER",
    }
}

fn passthrough(text: Option<&str>) -> Result<Option<Passthrough>> {
    match text {
        None | Some("") => Ok(None),
        Some("WHEN_NO_MATCH") => Ok(Some(Passthrough::WhenNoMatch)),
        Some("WHEN_NO_TEMPLATES") => Ok(Some(Passthrough::WhenNoTemplates)),
        Some("NEVER") => Ok(Some(Passthrough::Never)),
        Some(_) => Err(Error::invalid("Invalid PassthroughBehavior specified")),
    }
}

fn kind(text: &str) -> Result<IntegrationKind> {
    match text {
        "AWS_PROXY" => Ok(IntegrationKind::AwsProxy),
        "AWS" => Ok(IntegrationKind::Aws),
        "HTTP_PROXY" => Ok(IntegrationKind::HttpProxy),
        "HTTP" => Ok(IntegrationKind::Http),
        "MOCK" => Ok(IntegrationKind::Mock),
        _ => Err(Error::invalid("Invalid integration type specified")),
    }
}

fn check(record: &IntegrationRecord, own: &WebSocketIntegration) -> Result<()> {
    if !(TIMEOUT_MS_MIN..=WEBSOCKET_TIMEOUT_MS_MAX).contains(&record.timeout_ms) {
        return Err(Error::invalid(format!(
            "Timeout should be between {TIMEOUT_MS_MIN} ms and {WEBSOCKET_TIMEOUT_MS_MAX} ms"
        )));
    }
    match record.kind {
        IntegrationKind::AwsProxy | IntegrationKind::Aws => {
            integration::check_function(&record.uri)?;
        }
        IntegrationKind::Http | IntegrationKind::HttpProxy => check_http(record)?,
        IntegrationKind::Mock => {}
    }
    for (to, from) in &own.request_parameters {
        if Mapping::parse(to, from).is_none() {
            return Err(Error::invalid(format!("Invalid mapping expression specified: {from}")));
        }
    }
    if own.template_selection.as_deref().is_some_and(|text| Selection::parse(text).is_none()) {
        return Err(Error::invalid("Invalid TemplateSelectionExpression specified"));
    }
    let proxy = matches!(record.kind, IntegrationKind::AwsProxy | IntegrationKind::HttpProxy);
    if proxy && !own.request_templates.is_empty() {
        return Err(Error::invalid("Request templates are not supported for proxy integrations"));
    }
    check_templates(&own.request_templates)
}

fn check_http(record: &IntegrationRecord) -> Result<()> {
    let Some(method) = record.method.as_deref() else {
        return Err(Error::invalid("HttpMethod must be specified for HTTP integrations"));
    };
    if method == "ANY" || crate::trie::verb(method).is_none() {
        return Err(Error::invalid(format!("Invalid HTTP method identifier specified {method}")));
    }
    match UriTemplate::parse(&record.uri) {
        Some(_) => Ok(()),
        None => Err(Error::invalid("Invalid HTTP endpoint specified for URI")),
    }
}
