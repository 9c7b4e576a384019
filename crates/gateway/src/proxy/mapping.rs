//! Mapping: changes a request before it is sent on, and an answer before the client gets it.
//!
//! Every value is taken of what was there before any change. A source that gives nothing changes nothing.

use std::sync::OnceLock;

use bytes::Bytes;
use gatemill_wire::percent;
use http::{HeaderMap, HeaderName, HeaderValue, Response, Uri, header, request::Parts};
use http_body_util::BodyExt as _;

use super::{ProxyBody, Refusal, Refused, values::Values};
use crate::mapping::{Change, RequestMapping, ResponseMapping, To, status};

/// A request's head after its mapping, and the path that the integration is asked for, if the mapping has one.
pub(super) struct Mapped {
    pub(super) head: Parts,
    pub(super) path: Option<String>,
}

/// Changes a request. `head` is what of it goes on.
pub(super) fn request(
    values: &Values<'_>,
    mut head: Parts,
    mapping: &RequestMapping,
) -> Result<Mapped, Refused> {
    change_headers(values, &mapping.headers, &mut head.headers);
    if !mapping.query.is_empty() {
        let query = changed_query(values, &mapping.query, head.uri.query().unwrap_or(""));
        let uri = match query.as_str() {
            "" => head.uri.path().to_owned(),
            query => format!("{}?{query}", head.uri.path()),
        };
        let mut parts = head.uri.clone().into_parts();
        let path = uri.parse().map_err(|error| {
            Refusal::Internal.because(format!("the mapped query is none: {error}"))
        })?;
        parts.path_and_query = Some(path);
        head.uri = Uri::from_parts(parts).map_err(|error| {
            Refusal::Internal.because(format!("the mapped query is none: {error}"))
        })?;
    }
    let path = mapping.path.as_ref().and_then(|path| values.text(path)).map(|path| {
        let path = percent::encode(percent::decode(&path).as_bytes(), b"/$&+,;=:@!'()*");
        if path.starts_with('/') { path } else { format!("/{path}") }
    });
    Ok(Mapped { head, path })
}

/// Changes an answer.
pub(super) async fn response(
    values: Values<'_>,
    mapping: &ResponseMapping,
    response: Response<ProxyBody>,
) -> Result<Response<ProxyBody>, Refused> {
    let (mut head, mut body) = response.into_parts();
    let whole = if mapping.reads_body {
        let read = body.collect().await.map_err(|error| {
            Refusal::Internal.because(format!("the answer cannot be read: {error}"))
        })?;
        let bytes = read.to_bytes();
        body = ProxyBody::whole(bytes.clone());
        head.headers.remove(header::CONTENT_LENGTH);
        bytes
    } else {
        Bytes::new()
    };
    let before = head.headers.clone();
    let values = Values { headers: &before, body: Some(&whole), json: OnceLock::new(), ..values };
    change_headers(&values, &mapping.headers, &mut head.headers);
    if let Some(text) = mapping.status.as_ref().and_then(|expression| values.text(expression)) {
        head.status =
            status(&text).ok_or_else(|| Refusal::Internal.because("the mapped status is none"))?;
    }
    Ok(Response::from_parts(head, body))
}

fn change_headers(values: &Values<'_>, changes: &[Change<HeaderName>], headers: &mut HeaderMap) {
    for Change { name, to } in changes {
        let value = |expression| HeaderValue::from_str(&values.text(expression)?).ok();
        match to {
            To::Removed => _ = headers.remove(name),
            To::Appended(expression) => {
                if let Some(value) = value(expression) {
                    headers.append(name, value);
                }
            }
            To::Overwritten(expression) => {
                if let Some(value) = value(expression) {
                    headers.insert(name, value);
                }
            }
        }
    }
}

fn changed_query(values: &Values<'_>, changes: &[Change<String>], query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            (percent::decode_form(pair.split('=').next().unwrap_or_default()), pair.to_owned())
        })
        .collect();
    let written = |name: &str, value: &str| {
        format!(
            "{}={}",
            percent::encode(name.as_bytes(), b""),
            percent::encode(value.as_bytes(), b"")
        )
    };
    for Change { name, to } in changes {
        let value = match to {
            To::Removed => {
                pairs.retain(|(key, _)| key != name);
                continue;
            }
            To::Appended(expression) | To::Overwritten(expression) => values.text(expression),
        };
        let Some(value) = value else { continue };
        if matches!(to, To::Overwritten(_)) {
            pairs.retain(|(key, _)| key != name);
        }
        pairs.push((name.clone(), written(name, &value)));
    }
    let pairs: Vec<String> = pairs.into_iter().map(|(_, pair)| pair).collect();
    pairs.join("&")
}
