//! Response: from the integration's answer, or a refusal, to what the client gets.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};
use tokio::time::Instant;

use super::{
    Exchange, ProxyBody, Refusal, Refused, Seen, cors, headers::remove_hop_by_hop, integrate::Reply,
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
        Reply::Function(answer, format) => {
            let read = match format {
                PayloadFormat::V1 => from_v1(&answer.payload),
                PayloadFormat::V2 => from_v2(&answer.payload),
            };
            read.map_err(|why| Refusal::Internal.because(why))
        }
    }
}

/// Adds what every answer has, and turns a refusal into one.
pub(super) fn finish(
    exchange: &Exchange,
    seen: &Seen,
    passed: Result<Response<ProxyBody>, Refused>,
) -> Response<ProxyBody> {
    let mut response = passed.unwrap_or_else(|refused| refusal(refused.with));
    if let Some(stage) = &seen.stage {
        cors::decorate(stage, &exchange.head, response.headers_mut());
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

fn refusal(refusal: Refusal) -> Response<ProxyBody> {
    let (status, message) = match refusal {
        Refusal::BadRequest => (StatusCode::BAD_REQUEST, "Bad Request"),
        Refusal::NotFound => (StatusCode::NOT_FOUND, "Not Found"),
        Refusal::RequestTimeout => (StatusCode::REQUEST_TIMEOUT, "Request Timeout"),
        Refusal::EntityTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large"),
        Refusal::UriTooLong => (StatusCode::URI_TOO_LONG, "URI Too Long"),
        Refusal::HeadersTooLarge => {
            (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "Request Header Fields Too Large")
        }
        Refusal::TooManyRequests => (StatusCode::TOO_MANY_REQUESTS, "Too Many Requests"),
        Refusal::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
        Refusal::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
    };
    let mut response = Response::new(ProxyBody::whole(format!("{{\"message\":\"{message}\"}}")));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// A server's answer, its body streamed through.
fn from_http(
    response: Response<Incoming>,
    deadline: Instant,
) -> Result<Response<ProxyBody>, Refused> {
    let (mut head, body) = response.into_parts();
    let length = head.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if length
        .and_then(|text| text.parse().ok())
        .is_some_and(|length: u64| length > BODY_BYTES_MAX as u64)
    {
        return Err(Refusal::Internal.because("the integration's answer is larger than 10 MB"));
    }
    remove_hop_by_hop(&mut head.headers);
    let mut response = Response::new(ProxyBody::streamed(body, deadline));
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    Ok(response)
}

/// An answer in format 2.0 that says what it is; what it has beside these members is ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnswerV2<'a> {
    #[serde(borrow)]
    status_code: Option<&'a RawValue>,
    headers: Option<Map<String, Value>>,
    cookies: Option<Vec<String>>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    is_base64_encoded: Option<bool>,
}

/// Whether an answer says what it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Structured {
    status_code: Option<serde::de::IgnoredAny>,
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

type Read = Result<Response<ProxyBody>, &'static str>;

/// Format 2.0: an object with a status says what it is; any other JSON is the body of a 200.
fn from_v2(payload: &Bytes) -> Read {
    let text = std::str::from_utf8(payload).map_err(|_| "the function's answer is no text")?.trim();
    let object = text.starts_with('{');
    let structured = object
        && serde_json::from_str::<Structured>(text)
            .is_ok_and(|answer| answer.status_code.is_some());
    if !structured {
        return inferred(text);
    }
    let answer: AnswerV2<'_> =
        serde_json::from_str(text).map_err(|_| "the function's answer is malformed")?;
    let status = status(answer.status_code)?;
    let body = match answer.body.map(RawValue::get) {
        None => String::new(),
        // A body that is no string is JSON of its own.
        Some(json) if !json.starts_with('"') => json.to_owned(),
        Some(json) => serde_json::from_str(json).map_err(|_| "the function's body is no text")?,
    };
    let body = decoded(body, answer.is_base64_encoded)?;
    let mut headers = HeaderMap::new();
    for (name, value) in answer.headers.iter().flatten() {
        add(&mut headers, name, value)?;
    }
    for cookie in answer.cookies.iter().flatten() {
        let cookie =
            HeaderValue::from_bytes(cookie.as_bytes()).map_err(|_| "a cookie is no header")?;
        put(&mut headers, header::SET_COOKIE, cookie)?;
    }
    Ok(assembled(status, headers, body))
}

fn inferred(text: &str) -> Read {
    let body = if text.starts_with('"') {
        serde_json::from_str(text).map_err(|_| "the function's answer is no JSON")?
    } else {
        serde_json::from_str::<serde::de::IgnoredAny>(text)
            .map_err(|_| "the function's answer is no JSON")?;
        text.to_owned()
    };
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, JSON)]);
    Ok(assembled(StatusCode::OK, headers, Bytes::from(body)))
}

/// Format 1.0: the members of a proxy answer and no others.
fn from_v1(payload: &Bytes) -> Read {
    let answer: AnswerV1<'_> =
        serde_json::from_slice(payload).map_err(|_| "malformed Lambda proxy response")?;
    let status = match answer.status_code {
        Some(_) => status(answer.status_code)?,
        None => StatusCode::OK,
    };
    let body = decoded(answer.body.unwrap_or_default(), answer.is_base64_encoded)?;
    let mut headers = HeaderMap::new();
    for (name, values) in answer.multi_value_headers.iter().flatten() {
        let values = values.as_array().ok_or("multiValueHeaders hold no list")?;
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

/// A status: a number, or the text of one.
fn status(json: Option<&RawValue>) -> Result<StatusCode, &'static str> {
    let text = json.map_or("", |json| json.get().trim_matches('"'));
    let number: u16 = text.parse().map_err(|_| "statusCode is no number")?;
    // Below lie the informational ones, after which a client waits for another answer.
    if !(200..600).contains(&number) {
        return Err("statusCode is none that a response can have");
    }
    StatusCode::from_u16(number).map_err(|_| "statusCode is no status")
}

fn decoded(body: String, base64: Option<bool>) -> Result<Bytes, &'static str> {
    if base64 != Some(true) {
        return Ok(Bytes::from(body));
    }
    STANDARD.decode(body).map(Bytes::from).map_err(|_| "the body is no base64")
}

/// Adds a header that a function named; numbers and truth values are written out.
fn add(headers: &mut HeaderMap, name: &str, value: &Value) -> Result<(), &'static str> {
    let text = match value {
        Value::Null => return Ok(()),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(_) | Value::Object(_) => return Err("a header's value is no text"),
    };
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "a header's name is illegal")?;
    let value =
        HeaderValue::from_bytes(text.as_bytes()).map_err(|_| "a header's value is illegal")?;
    put(headers, name, value)
}

/// Adds a header; a map of headers has a limit, and a function may name as many as it likes.
fn put(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) -> Result<(), &'static str> {
    headers.try_append(name, value).map(drop).map_err(|_| "too many headers")
}
