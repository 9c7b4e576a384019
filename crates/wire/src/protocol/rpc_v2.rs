//! Smithy RPC v2 in CBOR: the operation in the path, everything else in the body.
//!
//! The services that speak it spoke the query protocol once; clients learn the code that an error had there from a header.

use bytes::Bytes;
use http::{HeaderValue, Response, request::Parts};
use serde_json::{Map, Value, json};

use super::{Bound, respond};
use crate::{ApiError, OperationInfo, cbor, error::Fault};

const CONTENT_TYPE: &str = "application/cbor";

/// The operation that a path names: `/service/<prefix>/operation/<name>`.
pub(crate) fn operation<'a>(parts: &'a Parts, service: &str) -> Option<&'a str> {
    let rest = parts.uri.path().strip_prefix("/service/")?.strip_prefix(service)?;
    rest.strip_prefix("/operation/")
}

pub(super) fn decode(operation: &OperationInfo, body: &Bytes) -> Result<Bound, ApiError> {
    let malformed = |why: &str| {
        let text = format!("Could not parse request body into CBOR: {why}.");
        ApiError::new(operation.service.malformed, text)
    };
    if body.is_empty() {
        return Ok(Bound::default());
    }
    match cbor::read(body) {
        Ok(Value::Object(members)) => Ok(Bound { members, ..Bound::default() }),
        Ok(_) => Err(malformed("the body must be a map")),
        Err(why) => Err(malformed(&why.to_string())),
    }
}

pub(super) fn encode(operation: &OperationInfo, value: &Value) -> Response<Bytes> {
    let mut body = Vec::new();
    // An operation without output answers an empty body.
    if !value.is_null() {
        cbor::write(operation.output, value, &mut body);
    }
    marked(respond(operation.status, CONTENT_TYPE, body))
}

pub(super) fn encode_error(error: &ApiError) -> Response<Bytes> {
    let mut members = Map::new();
    members.insert("__type".to_owned(), json!(error.shape.code));
    members
        .insert(error.shape.message_member.unwrap_or("message").to_owned(), json!(error.message));
    members.extend(error.members().map(|(name, value)| (name.clone(), value.clone())));
    let mut body = Vec::new();
    cbor::write(None, &Value::Object(members), &mut body);
    marked(respond(error.shape.status, CONTENT_TYPE, body))
}

/// Says by which code the query protocol knows an error, for clients that knew the service by that.
pub(super) fn name_as_query(response: &mut Response<Bytes>, error: &ApiError) {
    let fault = match error.fault() {
        Fault::User => "Sender",
        Fault::Service => "Receiver",
    };
    let named = format!("{};{fault}", super::query::query_code(error.shape.code));
    if let Ok(value) = HeaderValue::from_str(&named) {
        response.headers_mut().insert("x-amzn-query-error", value);
    }
}

fn marked(mut response: Response<Bytes>) -> Response<Bytes> {
    response.headers_mut().insert("smithy-protocol", HeaderValue::from_static("rpc-v2-cbor"));
    response
}
