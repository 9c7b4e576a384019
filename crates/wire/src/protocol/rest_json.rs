//! rest-json: members bound to path, query, headers and a JSON body.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, request::Parts};
use serde_json::{Map, Number, Value, json};

use super::{Bound, Labels, parse_object, respond};
use crate::{
    ApiError, EpochSeconds, Kind, Location, Member, OperationInfo, Shape, Timestamp,
    TimestampFormat,
    error::{Fault, common},
    percent,
};

const JSON: &str = "application/json";

pub(super) fn decode(
    operation: &OperationInfo,
    parts: &Parts,
    labels: &Labels,
    body: &Bytes,
) -> Result<Bound, ApiError> {
    let Some(shape) = operation.input else { return Ok(Bound::default()) };
    let members = shape.members();
    let payload = members.iter().find(|member| member.location == Location::Payload);
    let mut bound = Bound::default();
    match payload {
        Some(Member { shape: Shape { kind: Kind::Blob { .. }, .. }, .. }) => {
            bound.payload = Some(body.clone());
        }
        Some(member) => {
            let value = Value::Object(parse_object(operation.service, body)?);
            bound.members.insert(member.wire.to_owned(), value);
        }
        None if members.iter().any(|member| member.location == Location::Body) => {
            bound.members = parse_object(operation.service, body)?;
        }
        None => {}
    }
    let query: Vec<(String, String)> =
        percent::query_pairs(parts.uri.query().unwrap_or("")).collect();
    for member in members {
        if !matches!(member.location, Location::Body | Location::Payload) {
            // What a body says under this name is not the member.
            bound.members.remove(member.wire);
        }
        if let Some(value) = outside_body(member, labels, &query, &parts.headers)? {
            bound.members.insert(member.wire.to_owned(), value);
        }
    }
    Ok(bound)
}

/// A member that travels in path, query or headers.
fn outside_body(
    member: &Member,
    labels: &Labels,
    query: &[(String, String)],
    headers: &HeaderMap,
) -> Result<Option<Value>, ApiError> {
    match member.location {
        Location::Uri => {
            let label = labels.iter().find(|(name, _)| *name == member.wire);
            label.map(|(_, text)| scalar(member.shape, &percent::decode(text))).transpose()
        }
        Location::Query => from_query(member, query),
        Location::Header => {
            let value = headers.get(member.wire).and_then(|value| value.to_str().ok());
            value.map(|text| scalar(member.shape, text)).transpose()
        }
        Location::Headers => Ok(Some(prefixed_headers(member.wire, headers))),
        Location::Body | Location::Payload | Location::Status => Ok(None),
    }
}

fn from_query(member: &Member, query: &[(String, String)]) -> Result<Option<Value>, ApiError> {
    let mut values = query.iter().filter(|(key, _)| key == member.wire).map(|(_, value)| value);
    match &member.shape.kind {
        Kind::List { member: entry, .. } => {
            let items: Vec<Value> =
                values.map(|text| scalar(entry, text)).collect::<Result<_, _>>()?;
            Ok((!items.is_empty()).then_some(Value::Array(items)))
        }
        Kind::Map { .. } => {
            let object: Map<String, Value> =
                query.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
            Ok(Some(Value::Object(object)))
        }
        _ => values.next().map(|text| scalar(member.shape, text)).transpose(),
    }
}

fn prefixed_headers(prefix: &str, headers: &HeaderMap) -> Value {
    let prefix = prefix.to_ascii_lowercase();
    let entries = headers.iter().filter_map(|(name, value)| {
        let key = name.as_str().strip_prefix(&prefix)?;
        Some((key.to_owned(), json!(value.to_str().ok()?)))
    });
    Value::Object(entries.collect())
}

/// A text as a JSON value of its shape.
fn scalar(shape: &Shape, text: &str) -> Result<Value, ApiError> {
    let wrong = |kind: &str| {
        ApiError::new(
            &common::SERIALIZATION,
            format!("STRING_VALUE can not be converted to {kind}"),
        )
    };
    match shape.kind {
        Kind::Integer { long, .. } => {
            let kind = if long { "a Long" } else { "an Integer" };
            let number: i64 = text.parse().map_err(|_| wrong(kind))?;
            if !long && i32::try_from(number).is_err() {
                return Err(wrong(kind));
            }
            Ok(Value::from(number))
        }
        Kind::Double { .. } => {
            let number = text.parse().ok().and_then(Number::from_f64);
            number.map(Value::Number).ok_or_else(|| wrong("a Double"))
        }
        Kind::Boolean => match text {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err(wrong("a Boolean")),
        },
        // Outside of bodies a time is text, whatever it is within; clients that follow the body's format write seconds.
        Kind::Timestamp { format: TimestampFormat::EpochSeconds } => {
            let seconds = text.parse().ok().and_then(Number::from_f64).map(Value::Number);
            let time = || Timestamp::parse_iso8601(text);
            let time = || serde_json::to_value(EpochSeconds(time()?)).ok();
            seconds.or_else(time).ok_or_else(|| wrong("a Timestamp"))
        }
        _ => Ok(Value::from(text)),
    }
}

pub(super) fn encode(
    operation: &OperationInfo,
    value: Value,
    payload: Option<Bytes>,
) -> Response<Bytes> {
    let mut object = match value {
        Value::Object(object) => object,
        _ => Map::new(),
    };
    let members = operation.output.map_or(&[][..], Shape::members);
    let mut status = operation.status;
    let mut headers = HeaderMap::new();
    let mut body_member = None;
    for member in members {
        match member.location {
            Location::Status => {
                let code = object.remove(member.wire).and_then(|code| code.as_u64());
                status = code.and_then(|code| u16::try_from(code).ok()).unwrap_or(status);
            }
            Location::Header => {
                if let Some(value) = object.remove(member.wire) {
                    insert_header(&mut headers, member.wire, &value);
                }
            }
            Location::Payload => body_member = Some(member.wire),
            Location::Body | Location::Uri | Location::Query | Location::Headers => {}
        }
    }
    let mut response = match (payload, body_member) {
        (Some(payload), _) => respond(status, JSON, payload),
        (None, Some(member)) => match object.remove(member) {
            Some(value) => respond(status, JSON, value.to_string()),
            None => respond(status, JSON, Bytes::new()),
        },
        (None, None) if members.is_empty() || status == 204 => respond(status, JSON, Bytes::new()),
        (None, None) => respond(status, JSON, Value::Object(object).to_string()),
    };
    if status == 204 {
        response.headers_mut().remove("content-type");
    }
    response.headers_mut().extend(headers);
    response
}

fn insert_header(headers: &mut HeaderMap, name: &'static str, value: &Value) {
    let text = match value {
        Value::Null => return,
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    let name = HeaderName::from_bytes(name.as_bytes());
    if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&text)) {
        headers.insert(name, value);
    }
}

pub(super) fn encode_error(error: &ApiError) -> Response<Bytes> {
    let mut body = Map::new();
    if error.shape.typed {
        let kind = match error.fault() {
            Fault::User => "User",
            Fault::Service => "Service",
        };
        body.insert("Type".to_owned(), json!(kind));
    }
    body.extend(error.members().map(|(name, value)| (name.clone(), value.clone())));
    if let Some(member) = error.shape.message_member {
        body.insert(member.to_owned(), json!(error.message));
    }
    let mut response = respond(error.shape.status, JSON, Value::Object(body).to_string());
    let code = HeaderValue::from_static(error.shape.code);
    response.headers_mut().insert("x-amzn-errortype", code);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_outside_of_bodies_are_texts_or_seconds() {
        let format = TimestampFormat::EpochSeconds;
        let when = Shape { name: "When", kind: Kind::Timestamp { format }, sensitive: false };
        for text in ["2026-01-01T00:00:00Z", "1767225600"] {
            assert_eq!(scalar(&when, text).unwrap().as_f64(), Some(1_767_225_600.0), "{text}");
        }
        for wrong in ["yesterday", "", "NaN"] {
            assert!(scalar(&when, wrong).is_err(), "{wrong}");
        }
    }
}
