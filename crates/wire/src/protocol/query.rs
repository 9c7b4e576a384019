//! The query protocol: a form in, XML out.
//!
//! Nested members are written `Tags.member.1.Key`; the reader follows the shape, so a stray key is ignored as AWS
//! does.

use std::{collections::BTreeMap, ops::Bound};

use bytes::Bytes;
use http::{Response, request::Parts};
use quick_xml::escape::escape;
use serde_json::{Map, Number, Value};

use super::respond;
use crate::{
    ApiError, EpochSeconds, Kind, OperationInfo, RequestId, Shape, Timestamp, TimestampFormat,
    error::Fault, error::common, limits::JSON_DEPTH_MAX, percent,
};

type Form = BTreeMap<String, String>;

pub(super) fn decode(
    operation: &OperationInfo,
    parts: &Parts,
    body: &Bytes,
) -> Result<super::Bound, ApiError> {
    let Some(shape) = operation.input else { return Ok(super::Bound::default()) };
    let members = match read(shape, &form(parts, body), "", 0)? {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    };
    Ok(super::Bound { members, ..super::Bound::default() })
}

/// The parameters of a request: of the form in its body, and of its query string.
pub(crate) fn form(parts: &Parts, body: &Bytes) -> Form {
    let text = String::from_utf8_lossy(body);
    let query = parts.uri.query().unwrap_or("");
    percent::query_pairs(query).chain(percent::query_pairs(&text)).collect()
}

fn read(shape: &Shape, form: &Form, prefix: &str, depth: usize) -> Result<Option<Value>, ApiError> {
    // What no key names is not there. Without this check a shape that contains itself would be walked for ever wider.
    if depth > JSON_DEPTH_MAX || !names(form, prefix) {
        return Ok(None);
    }
    match &shape.kind {
        Kind::Structure { members } => {
            let mut object = Map::new();
            for member in *members {
                let path = join(prefix, member.wire);
                if let Some(value) = read(member.shape, form, &path, depth + 1)? {
                    object.insert(member.wire.to_owned(), value);
                }
            }
            let absent = object.is_empty() && depth > 0;
            Ok((!absent).then_some(Value::Object(object)))
        }
        Kind::List { member, .. } => {
            let mut items = Vec::new();
            while let Some(item) =
                read(member, form, &format!("{prefix}.member.{}", items.len() + 1), depth + 1)?
            {
                items.push(item);
            }
            Ok((!items.is_empty()).then_some(Value::Array(items)))
        }
        _ => form.get(prefix).map(|text| scalar(shape, text)).transpose(),
    }
}

/// Whether a key is `prefix` or lies below it.
fn names(form: &Form, prefix: &str) -> bool {
    let mut below = form.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
    prefix.is_empty() || below.next().is_some_and(|(key, _)| key.starts_with(prefix))
}

fn scalar(shape: &Shape, text: &str) -> Result<Value, ApiError> {
    // The text is the caller's and of any length; it is not said back.
    let wrong = || ApiError::new(&common::SERIALIZATION, "A parameter is not a valid value");
    match shape.kind {
        Kind::Integer { .. } => text.parse::<i64>().map(Value::from).map_err(|_| wrong()),
        Kind::Double { .. } => {
            let number = text.parse().ok().and_then(Number::from_f64);
            number.map(Value::Number).ok_or_else(wrong)
        }
        // The form writes a time as text, whatever the other protocols of the service do.
        Kind::Timestamp { format: TimestampFormat::EpochSeconds } => {
            let at = Timestamp::parse_iso8601(text).ok_or_else(wrong)?;
            serde_json::to_value(EpochSeconds(at)).map_err(|_| wrong())
        }
        Kind::Boolean => text.parse::<bool>().map(Value::from).map_err(|_| wrong()),
        _ => Ok(Value::from(text)),
    }
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

pub(super) fn encode(
    operation: &OperationInfo,
    namespace: &str,
    request_id: RequestId,
    value: &Value,
) -> Response<Bytes> {
    let name = operation.name;
    let mut xml = format!("<{name}Response xmlns=\"{namespace}\">");
    if !value.is_null() {
        write_element(&format!("{name}Result"), operation.output, value, &mut xml);
    }
    xml.push_str(&format!(
        "<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{name}Response>"
    ));
    respond(200, "text/xml", xml)
}

fn write_element(name: &str, shape: Option<&Shape>, value: &Value, xml: &mut String) {
    let kind = shape.map(|shape| &shape.kind);
    xml.push_str(&format!("<{name}>"));
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                if let Some(Kind::Map { value: shape, .. }) = kind {
                    let key = escape(name.as_str());
                    xml.push_str(&format!("<entry><key>{key}</key>"));
                    write_element("value", Some(*shape), value, xml);
                    xml.push_str("</entry>");
                    continue;
                }
                let members = shape.map_or(&[][..], Shape::members);
                let member = members.iter().find(|member| member.wire == name);
                write_element(name, member.map(|member| member.shape), value, xml);
            }
        }
        Value::Array(items) => {
            let shape = match kind {
                Some(Kind::List { member, .. }) => Some(*member),
                _ => None,
            };
            for item in items {
                write_element("member", shape, item, xml);
            }
        }
        Value::Number(seconds) if matches!(kind, Some(Kind::Timestamp { .. })) => {
            xml.push_str(&written_time(seconds));
        }
        Value::String(text) => xml.push_str(&escape(text.as_str())),
        Value::Null => {}
        value => xml.push_str(&value.to_string()),
    }
    xml.push_str(&format!("</{name}>"));
}

/// A time as text; its milliseconds only where it has some.
fn written_time(seconds: &Number) -> String {
    let at: EpochSeconds =
        serde_json::from_value(Value::Number(seconds.clone())).unwrap_or_default();
    if at.0.millis() % 1000 == 0 { at.0.iso8601() } else { at.0.iso8601_millis() }
}

pub(super) fn encode_error(
    namespace: &str,
    request_id: RequestId,
    error: &ApiError,
) -> Response<Bytes> {
    let fault = match error.fault() {
        Fault::User => "Sender",
        Fault::Service => "Receiver",
    };
    let (code, message) = (query_code(error.shape.code), escape(error.message.as_ref()));
    let xml = format!(
        "<ErrorResponse xmlns=\"{namespace}\"><Error><Type>{fault}</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    );
    respond(error.shape.status, "text/xml", xml)
}

/// The query protocol has names of its own for the errors of authentication.
pub(super) fn query_code(code: &'static str) -> &'static str {
    match code {
        "MissingAuthenticationTokenException" => "MissingAuthenticationToken",
        "IncompleteSignatureException" => "IncompleteSignature",
        "InvalidSignatureException" => "SignatureDoesNotMatch",
        "UnrecognizedClientException" => "InvalidClientTokenId",
        "ExpiredTokenException" => "ExpiredToken",
        "AccessDeniedException" => "AccessDenied",
        "ValidationException" => "ValidationError",
        "UnknownOperationException" => "InvalidAction",
        code => code,
    }
}
