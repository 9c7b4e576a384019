//! Response: from the integration's answer, or a refusal, to what the client gets.

use bytes::Bytes;
use gatemill_wire::payload::{
    Answer, Malformed,
    answer::{add, decoded, status},
    headers::remove_hop_by_hop,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};
use tokio::time::Instant;

use super::{
    Exchange, ProxyBody, Refusal, Refused, Seen, cors, integrate::Reply, mapping, parse::Place,
    route::Routed, upstream::UpstreamBody, values::Values,
};
use crate::{limits::BODY_BYTES_MAX, record::PayloadFormat};

const REQUEST_ID: HeaderName = HeaderName::from_static("apigw-requestid");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// What AWS says of a structured answer that names no type.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain;charset=UTF-8");

/// Makes the answer of what the integration said.
pub(super) fn response(reply: Reply) -> Result<Response<ProxyBody>, Refused> {
    match reply {
        Reply::Http(response, deadline) => from_http(response, deadline),
        Reply::Service(answer) => Ok(from_service(answer)),
        Reply::Function(answer, format) => {
            let read = match format {
                PayloadFormat::V1 => from_v1(&answer.payload),
                PayloadFormat::V2 => from_v2(&answer.payload),
            };
            read.map_err(|Malformed(why)| Refusal::Internal.because(why))
        }
    }
}

/// Changes the answer as the integration wants it for its status.
pub(super) async fn mapped(
    exchange: &Exchange,
    place: &Place,
    routed: &Routed<'_>,
    seen: &Seen,
    response: Response<ProxyBody>,
) -> Result<Response<ProxyBody>, Refused> {
    let mappings = routed.route.integration.as_deref().map(|integration| &integration.responses);
    let status = response.status().as_u16();
    match mappings.and_then(|mappings| mappings.get(&status)) {
        None => Ok(response),
        Some(mapping) => {
            let values = Values::of_request(exchange, place, routed, seen, None);
            Box::pin(mapping::response(values, mapping, response)).await
        }
    }
}

/// Adds what every answer has, and turns a refusal into one.
pub(super) fn finish(
    exchange: &Exchange,
    seen: &Seen,
    passed: Result<Response<ProxyBody>, Refused>,
) -> Response<ProxyBody> {
    let mut response = passed.unwrap_or_else(|refused| refusal(&refused));
    if let Some(stage) = seen.stage.as_ref().filter(|_| !seen.preflight) {
        cors::decorate(stage, exchange, response.headers_mut());
    }
    let id = HeaderValue::from_str(&exchange.id).expect("base64 is legal in a header");
    response.headers_mut().insert(REQUEST_ID, id);
    let status = response.status();
    if status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
        *response.body_mut() = ProxyBody::empty();
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    response
}

impl Refusal {
    /// The status and the text.
    pub(super) fn says(self) -> (StatusCode, &'static str) {
        match self {
            Self::BadRequest => (StatusCode::BAD_REQUEST, "Bad Request"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "Unauthorized"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "Forbidden"),
            Self::NotFound => (StatusCode::NOT_FOUND, "Not Found"),
            Self::RequestTimeout => (StatusCode::REQUEST_TIMEOUT, "Request Timeout"),
            Self::EntityTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large"),
            Self::UriTooLong => (StatusCode::URI_TOO_LONG, "URI Too Long"),
            Self::HeadersTooLarge => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "Request Header Fields Too Large")
            }
            Self::TooManyRequests => (StatusCode::TOO_MANY_REQUESTS, "Too Many Requests"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
        }
    }
}

impl Refusal {
    /// `$context.error.responseType`, in the words of REST APIs.
    pub(super) fn response_type(self) -> &'static str {
        match self {
            Self::BadRequest | Self::UriTooLong | Self::HeadersTooLarge => "BAD_REQUEST_BODY",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Forbidden => "ACCESS_DENIED",
            Self::NotFound => "RESOURCE_NOT_FOUND",
            Self::RequestTimeout => "DEFAULT_4XX",
            Self::EntityTooLarge => "REQUEST_TOO_LARGE",
            Self::TooManyRequests => "THROTTLED",
            Self::Internal => "INTEGRATION_FAILURE",
            Self::Unavailable => "INTEGRATION_TIMEOUT",
        }
    }
}

fn refusal(refused: &Refused) -> Response<ProxyBody> {
    let (status, message) = refused.with.says();
    let mut response = Response::new(ProxyBody::whole(format!("{{\"message\":\"{message}\"}}")));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    let challenge = refused.challenge.as_deref().and_then(|text| HeaderValue::from_str(text).ok());
    if let Some(challenge) = challenge {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

/// A server's answer, its body passed on as it comes.
fn from_http(
    response: Response<UpstreamBody>,
    deadline: Instant,
) -> Result<Response<ProxyBody>, Refused> {
    let (mut head, body) = response.into_parts();
    if head.status.is_informational() {
        return Err(Refusal::Unavailable.because("the integration wants to speak another protocol"));
    }
    // Chunks say themselves where they end; another length would put our client's next answer out of step.
    if head.headers.contains_key(header::TRANSFER_ENCODING) {
        head.headers.remove(header::CONTENT_LENGTH);
    }
    let length = head.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if length
        .and_then(|text| text.parse().ok())
        .is_some_and(|length: u64| length > BODY_BYTES_MAX as u64)
    {
        return Err(Refusal::Internal.because("the integration's answer is larger than 10 MB"));
    }
    remove_hop_by_hop(&mut head.headers);
    let mut response = Response::new(ProxyBody::upstream(body, deadline));
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    Ok(response)
}

/// A service's answer: its status, its body, and what the body is. Its other headers are about the service.
fn from_service(answer: gatemill_aws::Answer) -> Response<ProxyBody> {
    let kind = answer.headers.get(header::CONTENT_TYPE).cloned();
    let mut response = Response::new(ProxyBody::whole(answer.body));
    *response.status_mut() = answer.status;
    response.headers_mut().insert(header::CONTENT_TYPE, kind.unwrap_or(JSON));
    response
}

/// An answer in format 1.0; any other member makes it malformed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AnswerV1<'a> {
    #[serde(borrow)]
    status_code: Option<&'a RawValue>,
    headers: Option<Map<String, Value>>,
    multi_value_headers: Option<Map<String, Value>>,
    body: Option<String>,
    is_base64_encoded: Option<bool>,
}

/// Format 2.0: an object with a status says what it is; any other JSON is the body of a 200.
fn from_v2(payload: &Bytes) -> Result<Response<ProxyBody>, Malformed> {
    let answer = Answer::read(payload, TEXT)?;
    Ok(assembled(answer.status, answer.headers, answer.body))
}

/// Format 1.0: the members of a proxy answer and no others.
fn from_v1(payload: &Bytes) -> Result<Response<ProxyBody>, Malformed> {
    let answer: AnswerV1<'_> = serde_json::from_slice(payload)
        .map_err(|_| Malformed("malformed Lambda proxy response"))?;
    let status = match answer.status_code {
        Some(_) => status(answer.status_code)?,
        None => StatusCode::OK,
    };
    let body = decoded(answer.body.unwrap_or_default(), answer.is_base64_encoded)?;
    let mut headers = HeaderMap::new();
    for (name, values) in answer.multi_value_headers.iter().flatten() {
        let values = values.as_array().ok_or(Malformed("multiValueHeaders hold no list"))?;
        for value in values {
            add(&mut headers, name, value)?;
        }
    }
    for (name, value) in answer.headers.iter().flatten() {
        add(&mut headers, name, value)?;
    }
    Ok(assembled(status, headers, body))
}

fn assembled(status: StatusCode, mut headers: HeaderMap, body: Bytes) -> Response<ProxyBody> {
    remove_hop_by_hop(&mut headers);
    headers.remove(header::CONTENT_LENGTH);
    headers.entry(header::CONTENT_TYPE).or_insert(TEXT);
    let mut response = Response::new(ProxyBody::whole(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
