//! What an integration is asked: the body that a request template makes, and the request to an HTTP server.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use gatemill_template::{Overrides, Template, mock};
use gatemill_wire::{payload::headers::TRACE, percent};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, header};
use http_body_util::Full;

use super::{
    happening::Happening,
    integrate::{Failed, failed},
    mapping::Place,
    snapshot::{Integration, To},
    template::Chosen,
};
use crate::record::ContentHandling;

/// What goes to an integration, and what its template overrides beside it.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    pub(super) body: Bytes,
    pub(super) overrides: Overrides,
    /// Whether a template made the body.
    pub(super) is_made: bool,
}

/// What the integration is sent.
pub(super) fn outgoing(
    integration: &Integration,
    happening: &Happening<'_>,
) -> Result<Outgoing, Failed> {
    let lookup = |name: &str| happening.lookup(name);
    match integration.templates.choose(integration.passthrough, lookup) {
        Chosen::Refused => Err(failed(415, "no request template is for this message")),
        Chosen::Template(template) => {
            let (body, overrides) =
                render(template, happening, happening.body(), Overrides::default())?;
            Ok(Outgoing { body, overrides, is_made: true })
        }
        Chosen::AsItIs => {
            let body = Bytes::copy_from_slice(happening.body().as_bytes());
            let body = converted(integration.content_handling, body)?;
            Ok(Outgoing { body, ..Outgoing::default() })
        }
    }
}

/// What a template makes of a body.
pub(super) fn render(
    template: &Template,
    happening: &Happening<'_>,
    body: &str,
    overrides: Overrides,
) -> Result<(Bytes, Overrides), Failed> {
    let rendered = template.render(&happening.scope(body, overrides));
    let rendered = rendered.map_err(|error| failed(500, error.to_string()))?;
    Ok((rendered.text.into(), rendered.overrides))
}

/// A body on its way through.
pub(super) fn converted(handling: Option<ContentHandling>, body: Bytes) -> Result<Bytes, Failed> {
    match handling {
        None => Ok(body),
        // A frame carries text alone: what is none travels in the coding that the client knows to undo.
        Some(ContentHandling::ToText) if std::str::from_utf8(&body).is_err() => {
            Ok(STANDARD.encode(&body).into())
        }
        Some(ContentHandling::ToText) => Ok(body),
        Some(ContentHandling::ToBinary) => {
            let decoded = STANDARD.decode(body.trim_ascii());
            decoded.map(Bytes::from).map_err(|_| failed(500, "a body is no base64"))
        }
    }
}

/// The status that a mock's template asks for; without a template all is well.
pub(super) fn mocked(outgoing: &Outgoing) -> Result<u16, Failed> {
    if !outgoing.is_made {
        return Ok(200);
    }
    let text = std::str::from_utf8(&outgoing.body).unwrap_or_default();
    mock::status(text).ok_or_else(|| failed(500, "the mock's template gives no statusCode"))
}

/// What an integration is told beside the body: by its mappings, and by what its template overrides.
#[derive(Debug, Default)]
pub(super) struct Parameters<'a> {
    pub(super) headers: HeaderMap,
    query: Vec<(&'a str, String)>,
    path: Vec<(&'a str, String)>,
}

/// Works out the parameters of a request.
pub(super) fn parameters<'a>(
    integration: &'a Integration,
    happening: &Happening<'_>,
    overrides: &'a Overrides,
) -> Result<Parameters<'a>, Failed> {
    let Parameters { mut headers, mut query, mut path } = Parameters::default();
    let is_http = matches!(integration.to, To::Http { .. });
    for mapping in &integration.mappings {
        let Some(value) = mapping.value(|name| happening.lookup(name)) else { continue };
        match mapping.place {
            Place::Query => query.push((mapping.name.as_str(), encoded(&value))),
            Place::Path => path.push((mapping.name.as_str(), encoded(&value))),
            Place::Header => set_header(&mut headers, is_http, &mapping.name, &[value])?,
        }
    }
    for (name, values) in &overrides.request_header {
        set_header(&mut headers, is_http, name, values)?;
    }
    for (name, values) in &overrides.request_querystring {
        query.retain(|(given, _)| given != name);
        query.extend(values.iter().map(|value| (name.as_str(), encoded(value))));
    }
    for (name, values) in &overrides.request_path {
        path.retain(|(given, _)| given != name);
        path.push((name, encoded(&values.join(","))));
    }
    Ok(Parameters { headers, query, path })
}

/// The request to an HTTP server.
pub(super) fn http_request(
    integration: &Integration,
    happening: &Happening<'_>,
    outgoing: &Outgoing,
) -> Result<Request<Full<Bytes>>, Failed> {
    let To::Http { uri, method, .. } = &integration.to else {
        return Err(failed(500, "the integration is of another kind"));
    };
    let Parameters { mut headers, query, path } =
        parameters(integration, happening, &outgoing.overrides)?;
    let kind = headers.entry(header::CONTENT_TYPE);
    kind.or_insert(HeaderValue::from_static("application/json"));
    if let Ok(trace) = HeaderValue::from_str(happening.trace_id) {
        headers.insert(TRACE, trace);
    }
    let parameter =
        |name: &str| path.iter().find(|(given, _)| *given == name).map(|(_, value)| value.as_str());
    let mut uri = uri.render(parameter);
    for (name, value) in query {
        uri.push(if uri.contains('?') { '&' } else { '?' });
        uri.extend([encoded(name).as_str(), "=", &value]);
    }
    let uri: Uri = uri.parse().map_err(|_| failed(500, "the integration's URI is none"))?;
    let mut request = Request::new(Full::new(outgoing.body.clone()));
    *request.method_mut() = method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}

fn encoded(text: &str) -> String {
    percent::encode(text.as_bytes(), b"")
}

/// Headers that are the gateway's alone, as in AWS.
const OWN: [&str; 5] =
    ["content-length", "transfer-encoding", "host", "x-amzn-trace-id", "x-amzn-apigateway-api-id"];

/// Headers that are the gateway's as well where it calls a service of AWS, as in AWS.
const OWN_OF_SERVICES: [&str; 5] =
    ["authorization", "connection", "expect", "proxy-authenticate", "te"];

fn set_header(
    headers: &mut HeaderMap,
    is_http: bool,
    name: &str,
    values: &[String],
) -> Result<(), Failed> {
    let services = OWN_OF_SERVICES.iter().filter(|_| !is_http);
    if OWN.iter().chain(services).any(|own| own.eq_ignore_ascii_case(name)) {
        return Err(failed(500, format!("{name} header already present")));
    }
    let value = HeaderValue::from_str(&values.join(","));
    if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), value) {
        headers.insert(name, value);
    }
    Ok(())
}
