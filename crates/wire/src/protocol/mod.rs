//! The protocols: a request becomes the operation's bound members, an output or error becomes a response.
//!
//! They all meet in one form, [`Bound`]: a JSON object keyed by wire names, and the raw payload where the operation has
//! one. Members that travel in path, query or headers can therefore never be shadowed by a key of the body.

mod json;
mod query;
mod rest_json;
pub(crate) mod rpc_v2;

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
    /// How the request was written, which is how it is answered.
    pub encoding: Encoding,
}

/// How one request is written. For most services that is their protocol; some are spoken to in several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Encoding {
    /// As the service's protocol has it, or as its newest where it has several.
    #[default]
    Own,
    /// JSON, to a service that has several.
    Json,
    /// Query, to a service that has several.
    Query,
}

impl Encoding {
    /// How a request to a service is written.
    pub fn of(service: &Service, parts: &Parts) -> Self {
        let Protocol::RpcV2 { target_prefix, .. } = service.protocol else { return Self::Own };
        if rpc_v2::operation(parts, target_prefix).is_some() {
            Self::Own
        } else if parts.headers.contains_key("x-amz-target") {
            Self::Json
        } else {
            Self::Query
        }
    }
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
    let encoding = Encoding::of(operation.service, parts);
    let bound = match (operation.service.protocol, encoding) {
        (Protocol::RestJson, _) => rest_json::decode(operation, parts, labels, body),
        (Protocol::Json { .. }, _) | (Protocol::RpcV2 { .. }, Encoding::Json) => {
            json::decode(operation, body)
        }
        (Protocol::Query { .. }, _) | (Protocol::RpcV2 { .. }, Encoding::Query) => {
            query::decode(operation, parts, body)
        }
        (Protocol::RpcV2 { .. }, Encoding::Own) => rpc_v2::decode(operation, body),
    }?;
    Ok(Bound { encoding, ..bound })
}

/// Encodes a success.
pub fn encode<O: Output>(
    operation: &OperationInfo,
    encoding: Encoding,
    request_id: RequestId,
    mut output: O,
) -> Result<Response<Bytes>, ApiError> {
    let payload = output.take_payload();
    let value = serde_json::to_value(&output)
        .map_err(|error| ApiError::internal(&crate::error::common::INTERNAL_FAILURE, error))?;
    let mut response = match (operation.service.protocol, encoding) {
        (Protocol::RestJson, _) => rest_json::encode(operation, value, payload),
        (Protocol::Json { version, .. }, _) | (Protocol::RpcV2 { version, .. }, Encoding::Json) => {
            json::encode(version, &value)
        }
        (Protocol::Query { namespace }, _)
        | (Protocol::RpcV2 { namespace, .. }, Encoding::Query) => {
            query::encode(operation, namespace, request_id, &value)
        }
        (Protocol::RpcV2 { .. }, Encoding::Own) => rpc_v2::encode(operation, &value),
    };
    stamp(&mut response, request_id);
    Ok(response)
}

/// Encodes a success whose events follow.
pub fn encode_streamed<O: Output>(
    operation: &OperationInfo,
    encoding: Encoding,
    request_id: RequestId,
    output: Streamed<O>,
) -> Result<Response<Body>, ApiError> {
    let mut response = encode(operation, encoding, request_id, output.head)?;
    let Some(events) = output.events else { return Ok(response.map(Body::Whole)) };
    let content_type = HeaderValue::from_static(event_stream::CONTENT_TYPE);
    response.headers_mut().insert("content-type", content_type);
    Ok(response.map(|_| Body::Pieces(events)))
}

/// Encodes an error.
pub fn encode_error(
    service: &Service,
    encoding: Encoding,
    request_id: RequestId,
    error: &ApiError,
) -> Response<Bytes> {
    let mut response = match (service.protocol, encoding) {
        (Protocol::RestJson, _) => rest_json::encode_error(error),
        (Protocol::Json { version, .. }, _) | (Protocol::RpcV2 { version, .. }, Encoding::Json) => {
            json::encode_error(version, error)
        }
        (Protocol::Query { namespace }, _)
        | (Protocol::RpcV2 { namespace, .. }, Encoding::Query) => {
            query::encode_error(namespace, request_id, error)
        }
        (Protocol::RpcV2 { .. }, Encoding::Own) => rpc_v2::encode_error(error),
    };
    if matches!(service.protocol, Protocol::RpcV2 { .. }) && encoding != Encoding::Query {
        rpc_v2::name_as_query(&mut response, error);
    }
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
