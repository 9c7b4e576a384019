//! A function's answer in payload format 2.0: an object with a status says what it is; any other JSON is the body of a
//! 200.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What a function answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers, as the function named them.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Why an answer is none that HTTP can carry, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// An answer that says what it is; what it has beside these members is ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Structured<'a> {
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
struct HasStatus {
    status_code: Option<serde::de::IgnoredAny>,
}

/// The head of a streamed HTTP answer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Prelude<'a> {
    #[serde(borrow)]
    status_code: Option<&'a RawValue>,
    headers: Option<Map<String, Value>>,
    multi_value_headers: Option<Map<String, Value>>,
    cookies: Option<Vec<String>>,
}

impl Answer {
    /// Reads an answer. One that says what it is and names no content type gets `default_type`.
    ///
    /// # Errors
    /// When it is no JSON, or its members are none that HTTP can carry.
    pub fn read(payload: &[u8], default_type: HeaderValue) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(payload);
        let text = text.map_err(|_| Malformed("the function's answer is no text"))?.trim();
        if !text.starts_with('{') {
            return inferred(text);
        }
        let answer = match serde_json::from_str::<Structured<'_>>(text) {
            Ok(answer) if answer.status_code.is_some() => answer,
            Ok(_) => return inferred(text),
            // What has a status and is malformed otherwise is no other JSON, either.
            Err(_) if has_status(text) => {
                return Err(Malformed("the function's answer is malformed"));
            }
            Err(_) => return inferred(text),
        };
        let body = match answer.body.map(RawValue::get) {
            None => String::new(),
            // A body that is no string is JSON of its own.
            Some(json) if !json.starts_with('"') => json.to_owned(),
            Some(json) => serde_json::from_str(json)
                .map_err(|_| Malformed("the function's body is no text"))?,
        };
        let mut headers = HeaderMap::new();
        for (name, value) in answer.headers.iter().flatten() {
            add(&mut headers, name, value)?;
        }
        add_cookies(&mut headers, answer.cookies)?;
        headers.entry(header::CONTENT_TYPE).or_insert(default_type);
        let status = status(answer.status_code)?;
        Ok(Self { status, headers, body: decoded(body, answer.is_base64_encoded)? })
    }

    /// Reads the JSON that a streamed HTTP answer begins with; the body is empty.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_prelude(json: &[u8], default_type: HeaderValue) -> Result<Self, Malformed> {
        let prelude: Prelude<'_> = serde_json::from_slice(json)
            .map_err(|_| Malformed("the head of the streamed answer is malformed"))?;
        let mut headers = HeaderMap::new();
        for (name, values) in prelude.multi_value_headers.iter().flatten() {
            let values = values.as_array().ok_or(Malformed("multiValueHeaders hold no list"))?;
            for value in values {
                add(&mut headers, name, value)?;
            }
        }
        for (name, value) in prelude.headers.iter().flatten() {
            add(&mut headers, name, value)?;
        }
        add_cookies(&mut headers, prelude.cookies)?;
        headers.entry(header::CONTENT_TYPE).or_insert(default_type);
        let status = match prelude.status_code {
            Some(_) => status(prelude.status_code)?,
            None => StatusCode::OK,
        };
        Ok(Self { status, headers, body: Bytes::new() })
    }
}

fn has_status(text: &str) -> bool {
    serde_json::from_str::<HasStatus>(text).is_ok_and(|answer| answer.status_code.is_some())
}

fn inferred(text: &str) -> Result<Answer, Malformed> {
    const NO_JSON: Malformed = Malformed("the function's answer is no JSON");
    let body = if text.starts_with('"') {
        serde_json::from_str(text).map_err(|_| NO_JSON)?
    } else {
        serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|_| NO_JSON)?;
        text.to_owned()
    };
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, JSON)]);
    Ok(Answer { status: StatusCode::OK, headers, body: Bytes::from(body) })
}

/// A status: a number, or the text of one.
///
/// # Errors
/// When it is none that a response can have.
pub fn status(json: Option<&RawValue>) -> Result<StatusCode, Malformed> {
    let text = json.map_or("", |json| json.get().trim_matches('"'));
    let number: u16 = text.parse().map_err(|_| Malformed("statusCode is no number"))?;
    // Below lie the informational ones, after which a client waits for another answer.
    if !(200..600).contains(&number) {
        return Err(Malformed("statusCode is none that a response can have"));
    }
    StatusCode::from_u16(number).map_err(|_| Malformed("statusCode is no status"))
}

/// A body, decoded if it is base64.
///
/// # Errors
/// When it should be base64 and is not.
pub fn decoded(body: String, base64: Option<bool>) -> Result<Bytes, Malformed> {
    if base64 != Some(true) {
        return Ok(Bytes::from(body));
    }
    STANDARD.decode(body).map(Bytes::from).map_err(|_| Malformed("the body is no base64"))
}

fn add_cookies(headers: &mut HeaderMap, cookies: Option<Vec<String>>) -> Result<(), Malformed> {
    for cookie in cookies.into_iter().flatten() {
        let cookie =
            HeaderValue::try_from(cookie).map_err(|_| Malformed("a cookie is no header"))?;
        put(headers, header::SET_COOKIE, cookie)?;
    }
    Ok(())
}

/// Adds a header that a function named; numbers and truth values are written out.
///
/// # Errors
/// When the header is none that HTTP can carry.
pub fn add(headers: &mut HeaderMap, name: &str, value: &Value) -> Result<(), Malformed> {
    let text = match value {
        Value::Null => return Ok(()),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(_) | Value::Object(_) => {
            return Err(Malformed("a header's value is no text"));
        }
    };
    let name = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| Malformed("a header's name is illegal"))?;
    let value = HeaderValue::from_bytes(text.as_bytes())
        .map_err(|_| Malformed("a header's value is illegal"))?;
    put(headers, name, value)
}

/// Adds a header; a map of headers has a limit, and a function may name as many as it likes.
fn put(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) -> Result<(), Malformed> {
    headers.try_append(name, value).map(drop).map_err(|_| Malformed("too many headers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(payload: &str) -> Result<(u16, String, String), Malformed> {
        let answer = Answer::read(payload.as_bytes(), HeaderValue::from_static("d/t"))?;
        let content_type = answer.headers[header::CONTENT_TYPE].to_str().unwrap().to_owned();
        let body = String::from_utf8(answer.body.to_vec()).unwrap();
        Ok((answer.status.as_u16(), content_type, body))
    }

    fn is(payload: &str, status: u16, content_type: &str, body: &str) {
        assert_eq!(
            read(payload),
            Ok((status, content_type.to_owned(), body.to_owned())),
            "{payload}"
        );
    }

    #[test]
    fn answers() {
        is("\"hello\"", 200, "application/json", "hello");
        is("[1, 2]", 200, "application/json", "[1, 2]");
        is("null", 200, "application/json", "null");
        is(r#"{"a":1}"#, 200, "application/json", r#"{"a":1}"#);
        is(r#"{"statusCode":404,"body":"no"}"#, 404, "d/t", "no");
        is(r#"{"statusCode":"201","body":{"a": 1}}"#, 201, "d/t", r#"{"a": 1}"#);
        is(
            r#"{"statusCode":200,"headers":{"Content-Type":"a/b"},"body":"eA==","isBase64Encoded":true}"#,
            200,
            "a/b",
            "x",
        );
        for bad in
            ["", "x", r#"{"statusCode":99}"#, r#"{"statusCode":200,"headers":{"a b":"c"}}"#, "{"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn heads_of_streams() {
        let json = br#"{"statusCode":201,"headers":{"a":"b","n":1},"multiValueHeaders":{"m":["1","2"]},"cookies":["x=1","y=2"]}"#;
        let answer = Answer::read_prelude(json, HeaderValue::from_static("d/t")).unwrap();
        assert_eq!((answer.status.as_u16(), answer.headers.len()), (201, 7));
        assert_eq!(answer.headers.get_all(header::SET_COOKIE).iter().count(), 2);
        let empty = Answer::read_prelude(b"{}", HeaderValue::from_static("d/t")).unwrap();
        assert_eq!(
            (empty.status.as_u16(), &empty.headers[header::CONTENT_TYPE]),
            (200, &HeaderValue::from_static("d/t"))
        );
        assert!(Answer::read_prelude(b"x", HeaderValue::from_static("d/t")).is_err());
    }
}
