//! `x-amazon-apigateway-integration` and `x-amazon-apigateway-authorizer`: read into requests as clients send them, and
//! written from records.

use std::collections::BTreeMap;

use gatemill_api::apigatewayv2::{
    CreateAuthorizerRequest, CreateIntegrationRequest, JWTConfiguration, TlsConfigInput,
};
use serde_json::{Map, Value, json};

use super::import::{Notes, members, scalar};
use crate::{
    control::integration::{format_text, kind_text},
    record::{AuthorizerKind, AuthorizerRecord, IntegrationKind, IntegrationRecord},
};

pub(super) const AUTHORIZER: &str = "x-amazon-apigateway-authorizer";
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// Reads an integration. `None` where its type is one that HTTP APIs do not have, about which there is a warning.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read_integration(
    place: &str,
    value: &Value,
    notes: &mut Notes,
) -> Result<Option<CreateIntegrationRequest>, String> {
    if !value.is_object() {
        return Err("it is not of type `object`".to_owned());
    }
    let text = |name: &str| value.get(name).and_then(scalar);
    let kind = text("type").ok_or("attribute type is missing")?.to_ascii_uppercase();
    if matches!(kind.as_str(), "AWS" | "HTTP" | "MOCK") {
        notes.warn(format!(
            "The integration type {kind} is not supported for HTTP APIs: {place} has no integration"
        ));
        return Ok(None);
    }
    for name in [
        "cacheKeyParameters",
        "cacheNamespace",
        "contentHandling",
        "passthroughBehavior",
        "requestTemplates",
        "responses",
    ] {
        if value.get(name).is_some() {
            notes.info(format!("{place}: {name} is not supported for HTTP APIs and is ignored"));
        }
    }
    let timeout = match value.get("timeoutInMillis") {
        None => None,
        Some(given) => {
            let number = scalar(given).and_then(|text| text.parse().ok());
            Some(number.ok_or("timeoutInMillis is not of type `integer`")?)
        }
    };
    for name in ["requestParameters", "responseParameters", "tlsConfig"] {
        if value.get(name).is_some_and(|given| !given.is_object() && !given.is_null()) {
            return Err(format!("{name} is not of type `object`"));
        }
    }
    Ok(Some(CreateIntegrationRequest {
        connection_id: text("connectionId"),
        connection_type: text("connectionType").map(|kind| kind.to_ascii_uppercase()),
        credentials_arn: text("credentials"),
        description: text("description"),
        integration_method: text("httpMethod").map(|method| method.to_ascii_uppercase()),
        integration_subtype: text("integrationSubtype"),
        integration_type: kind,
        integration_uri: text("uri"),
        payload_format_version: Some(payload_format(value.get("payloadFormatVersion"))),
        request_parameters: parameters(value.get("requestParameters")),
        response_parameters: of_answers(value.get("responseParameters")),
        timeout_in_millis: timeout,
        tls_config: value
            .get("tlsConfig")
            .map(|tls| tls.get("serverNameToVerify").and_then(scalar))
            .map(|server_name_to_verify| TlsConfigInput { server_name_to_verify }),
        ..CreateIntegrationRequest::default()
    }))
}

/// In YAML the version is easily a number.
fn payload_format(value: Option<&Value>) -> String {
    match value {
        Some(Value::Number(number)) => {
            number.as_f64().map_or_else(|| number.to_string(), |number| format!("{number:.1}"))
        }
        Some(value) => scalar(value).unwrap_or_default(),
        None => "1.0".to_owned(),
    }
}

fn parameters(value: Option<&Value>) -> Option<BTreeMap<String, String>> {
    let given = value?.as_object()?;
    let text = |value: &Value| scalar(value).unwrap_or_else(|| value.to_string());
    Some(given.iter().map(|(key, value)| (key.clone(), text(value))).collect())
}

fn of_answers(value: Option<&Value>) -> Option<BTreeMap<String, BTreeMap<String, String>>> {
    let mappings = members(value)
        .map(|(status, mapping)| (status.clone(), parameters(Some(mapping)).unwrap_or_default()));
    value.map(|_| mappings.collect())
}

/// Reads the authorizer of a security scheme.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read_authorizer(
    name: &str,
    scheme: &Value,
) -> Result<CreateAuthorizerRequest, String> {
    let authorizer = scheme.get(AUTHORIZER).ok_or("it has none")?;
    let text = |name: &str| authorizer.get(name).and_then(scalar);
    let kind = text("type").ok_or("attribute type is missing")?.to_ascii_lowercase();
    let sources = authorizer.get("identitySource").map_or(Some(""), Value::as_str);
    let sources = sources.ok_or("identitySource is not of type `string`")?;
    let sources = sources.split(',').map(str::trim).filter(|source| !source.is_empty());
    let mut request = CreateAuthorizerRequest {
        name: name.to_owned(),
        authorizer_type: kind.to_ascii_uppercase(),
        identity_source: sources.map(str::to_owned).collect(),
        ..CreateAuthorizerRequest::default()
    };
    match kind.as_str() {
        "jwt" => {
            let given = authorizer.get("jwtConfiguration");
            let issuer = given.and_then(|given| given.get("issuer")).and_then(scalar);
            let discovery = scheme.get("openIdConnectUrl").and_then(scalar);
            let issuer = issuer.or_else(|| Some(discovery?.strip_suffix(DISCOVERY)?.to_owned()));
            let audience = given.and_then(|given| given.get("audience"));
            let audience = match audience {
                Some(Value::Array(all)) => all.iter().filter_map(scalar).collect(),
                one => one.and_then(scalar).into_iter().collect(),
            };
            request.jwt_configuration = Some(JWTConfiguration { audience: Some(audience), issuer });
            if request.identity_source.is_empty() {
                request.identity_source = vec!["$request.header.Authorization".to_owned()];
            }
        }
        "request" => {
            request.authorizer_uri = text("authorizerUri");
            request.authorizer_credentials_arn = text("authorizerCredentials");
            request.identity_validation_expression = text("identityValidationExpression");
            let format = authorizer.get("authorizerPayloadFormatVersion");
            request.authorizer_payload_format_version =
                format.map(|format| payload_format(Some(format)));
            if let Some(simple) = authorizer.get("enableSimpleResponses") {
                let simple = simple.as_bool();
                let simple = simple.ok_or("enableSimpleResponses is not of type `boolean`")?;
                request.enable_simple_responses = Some(simple);
            }
            let ttl = authorizer.get("authorizerResultTtlInSeconds");
            if let Some(ttl) = ttl {
                let seconds = scalar(ttl).and_then(|text| text.parse().ok());
                let seconds =
                    seconds.ok_or("authorizerResultTtlInSeconds is not of type `integer`")?;
                request.authorizer_result_ttl_in_seconds = Some(seconds);
            }
        }
        kind => return Err(format!("authorizers of type {kind} are not supported for HTTP APIs")),
    }
    Ok(request)
}

/// Writes an integration.
pub(super) fn write_integration(record: &IntegrationRecord) -> Value {
    let mut written = Map::new();
    let mut put = |name: &str, value: Value| _ = written.insert(name.to_owned(), value);
    put("payloadFormatVersion", format_text(record.payload_format).into());
    put("type", kind_text(record.kind).to_ascii_lowercase().into());
    match &record.service {
        Some(service) => {
            put("integrationSubtype", service.subtype.as_str().into());
            put("credentials", service.credentials.as_str().into());
        }
        None => put("uri", record.uri.as_str().into()),
    }
    if let (Some(method), None) = (&record.method, &record.service) {
        put("httpMethod", method.as_str().into());
    }
    match &record.vpc_link {
        Some(link) => {
            put("connectionType", "VPC_LINK".into());
            put("connectionId", link.as_str().into());
        }
        None => put("connectionType", "INTERNET".into()),
    }
    if let Some(tls) = &record.tls {
        let name = tls.server_name.iter();
        let name = name.map(|name| ("serverNameToVerify".to_owned(), Value::from(name.as_str())));
        put("tlsConfig", Value::Object(name.collect()));
    }
    put("timeoutInMillis", record.timeout_ms.into());
    if let Some(description) = &record.description {
        put("description", description.as_str().into());
    }
    if !record.request_parameters.is_empty() {
        put("requestParameters", json!(record.request_parameters));
    }
    if !record.response_parameters.is_empty() {
        put("responseParameters", json!(record.response_parameters));
    }
    debug_assert!(matches!(record.kind, IntegrationKind::AwsProxy | IntegrationKind::HttpProxy));
    Value::Object(written)
}

/// Writes the security scheme of an authorizer.
pub(super) fn write_authorizer(record: &AuthorizerRecord, with_extensions: bool) -> Value {
    let mut authorizer = Map::new();
    if !record.identity_source.is_empty() {
        authorizer.insert("identitySource".to_owned(), record.identity_source.join(",").into());
    }
    let mut scheme = match &record.how {
        AuthorizerKind::Jwt { issuer, audience } => {
            let configuration = json!({"audience": audience, "issuer": issuer});
            authorizer.insert("jwtConfiguration".to_owned(), configuration);
            authorizer.insert("type".to_owned(), "jwt".into());
            json!({"type": "oauth2", "flows": {}})
        }
        AuthorizerKind::Request(request) => {
            for (name, value) in [
                ("authorizerUri", json!(request.uri)),
                ("authorizerPayloadFormatVersion", json!(format_text(request.payload_format))),
                ("authorizerResultTtlInSeconds", json!(request.ttl_seconds)),
                ("enableSimpleResponses", json!(request.simple)),
                ("type", json!("request")),
            ] {
                authorizer.insert(name.to_owned(), value);
            }
            let headers = record.identity_source.iter();
            let header =
                headers.filter_map(|source| source.strip_prefix("$request.header.")).next();
            json!({"type": "apiKey", "name": header.unwrap_or("Unused"), "in": "header"})
        }
    };
    if let Some(scheme) = scheme.as_object_mut().filter(|_| with_extensions) {
        scheme.insert(AUTHORIZER.to_owned(), Value::Object(authorizer));
    }
    scheme
}
