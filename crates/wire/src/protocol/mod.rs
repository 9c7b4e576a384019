//! The three protocols: a request becomes the operation's bound members, an output or error becomes a response.
//!
//! All three meet in one form, [`Bound`]: a JSON object keyed by wire names, and the raw payload where the operation has
//! one. Members that travel in path, query or headers can therefore never be shadowed by a key of the body.

mod json;
mod query;
mod rest_json;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, request::Parts};
use serde_json::{Map, Value};

use crate::{
    ApiError, Body, OperationInfo, Protocol, RequestId, Service, Streamed, event_stream,
    operation::Output,
};

/// The members of a request, whatever carried them.
#[derive(Debug, Default)]
pub struct Bound {
    /// Members by wire name.
    pub members: Map<String, Value>,
    /// The raw body, for operations whose payload is a blob.
    pub payload: Option<Bytes>,
}

/// Path labels that matched, by label name, still percent-encoded.
pub type Labels = Vec<(&'static str, String)>;

/// Binds a request to the members of its operation's input.
pub fn decode(
    operation: &OperationInfo,
    parts: &Parts,
    labels: &Labels,
    body: &Bytes,
) -> Result<Bound, ApiError> {
    match operation.service.protocol {
        Protocol::RestJson => rest_json::decode(operation, parts, labels, body),
        Protocol::Json { .. } => json::decode(operation, body),
        Protocol::Query { .. } => query::decode(operation, parts, body),
    }
}

/// Encodes a success.
pub fn encode<O: Output>(
    operation: &OperationInfo,
    request_id: RequestId,
    mut output: O,
) -> Result<Response<Bytes>, ApiError> {
    let payload = output.take_payload();
    let value = serde_json::to_value(&output)
        .map_err(|error| ApiError::internal(&crate::error::common::INTERNAL_FAILURE, error))?;
    let mut response = match operation.service.protocol {
        Protocol::RestJson => rest_json::encode(operation, value, payload),
        Protocol::Json { version, .. } => json::encode(version, &value),
        Protocol::Query { namespace } => query::encode(operation, namespace, request_id, &value),
    };
    stamp(&mut response, request_id);
    Ok(response)
}

/// Encodes a success whose events follow.
pub fn encode_streamed<O: Output>(
    operation: &OperationInfo,
    request_id: RequestId,
    output: Streamed<O>,
) -> Result<Response<Body>, ApiError> {
    let mut response = encode(operation, request_id, output.head)?;
    let Some(events) = output.events else { return Ok(response.map(Body::Whole)) };
    let content_type = HeaderValue::from_static(event_stream::CONTENT_TYPE);
    response.headers_mut().insert("content-type", content_type);
    Ok(response.map(|_| Body::Pieces(events)))
}

/// Encodes an error.
pub fn encode_error(service: &Service, request_id: RequestId, error: &ApiError) -> Response<Bytes> {
    let mut response = match service.protocol {
        Protocol::RestJson => rest_json::encode_error(error),
        Protocol::Json { version, .. } => json::encode_error(version, error),
        Protocol::Query { namespace } => query::encode_error(namespace, request_id, error),
    };
    for (name, value) in error.headers() {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(*name, value);
        }
    }
    stamp(&mut response, request_id);
    response
}

fn stamp(response: &mut Response<Bytes>, request_id: RequestId) {
    let id = HeaderValue::from_str(&request_id.to_string()).expect("a UUID is ASCII");
    response.headers_mut().insert("x-amzn-requestid", id);
}

fn respond(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert("content-type", HeaderValue::from_static(content_type));
    response
}

/// Reads a JSON object; an absent body counts as an empty one.
fn parse_object(service: &Service, body: &Bytes) -> Result<Map<String, Value>, ApiError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(ApiError::new(
            service.malformed,
            "Could not parse request body into json: the body must be a JSON object.",
        )),
        Err(error) => Err(ApiError::new(
            service.malformed,
            format!(
                "Could not parse request body into json: Unexpected input at line: {}, column: {}",
                error.line(),
                error.column()
            ),
        )),
    }
}

#[cfg(test)]
mod tests;
