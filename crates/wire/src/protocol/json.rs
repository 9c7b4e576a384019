//! AWS JSON 1.0 and 1.1: the operation in `X-Amz-Target`, everything else in the body.

use bytes::Bytes;
use http::Response;
use serde_json::{Map, Value, json};

use super::{Bound, parse_object, respond};
use crate::{ApiError, OperationInfo};

pub(super) fn decode(operation: &OperationInfo, body: &Bytes) -> Result<Bound, ApiError> {
    let members = parse_object(operation.service, body)?;
    Ok(Bound { members, ..Bound::default() })
}

pub(super) fn encode(version: &str, value: &Value) -> Response<Bytes> {
    // An operation without output answers an empty body.
    let body = if value.is_null() { String::new() } else { value.to_string() };
    respond(200, content_type(version), body)
}

pub(super) fn encode_error(version: &str, error: &ApiError) -> Response<Bytes> {
    let mut body = Map::new();
    body.insert("__type".to_owned(), json!(error.shape.code));
    body.insert(error.shape.message_member.unwrap_or("message").to_owned(), json!(error.message));
    body.extend(error.members().map(|(name, value)| (name.clone(), value.clone())));
    respond(error.shape.status, content_type(version), Value::Object(body).to_string())
}

fn content_type(version: &str) -> &'static str {
    if version == "1.0" { "application/x-amz-json-1.0" } else { "application/x-amz-json-1.1" }
}
