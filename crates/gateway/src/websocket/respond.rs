//! What becomes of an integration's answer: the integration response, its template and its parameters.

use gatemill_template::Overrides;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{
    happening::{Answered, Happening},
    integrate::{Failed, Reply, failed},
    request::{converted, render},
    select::KeyPattern,
    snapshot::{Integration, Response},
    template::Chosen,
};
use crate::record::{ContentHandling, Passthrough};

/// Chooses the integration response by `by`, and makes the reply by it. With none at all, the answer goes on as it is.
/// `overrides` are those of the request template.
pub(super) fn respond(
    integration: &Integration,
    happening: &Happening<'_>,
    answered: &Answered<'_>,
    by: &str,
    overrides: Overrides,
) -> Result<Reply, Failed> {
    let responses = &integration.responses;
    let chosen = responses.iter().find(|response| response.key.fits(by));
    let chosen =
        chosen.or_else(|| responses.iter().find(|it| matches!(it.key, KeyPattern::Default)));
    if chosen.is_none() && !responses.is_empty() {
        return Err(failed(500, "no integration response is for what the integration answered"));
    }
    let mut headers = HeaderMap::new();
    if let Some(kind) = answered.headers.get(header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_TYPE, kind.clone());
    }
    let mut reply = Reply { status: answered.status, headers, body: answered.body.clone() };
    let mut overrides = overrides;
    if let Some(response) = chosen {
        overrides = apply(response, happening, answered, overrides, &mut reply)?;
    }
    for (name, values) in &overrides.response_header {
        insert(&mut reply.headers, name, &values.join(","));
    }
    reply.status = overrides.response_status.unwrap_or(reply.status);
    Ok(reply)
}

fn apply(
    response: &Response,
    happening: &Happening<'_>,
    answered: &Answered<'_>,
    overrides: Overrides,
    reply: &mut Reply,
) -> Result<Overrides, Failed> {
    let lookup = |name: &str| answered.lookup(name).unwrap_or_else(|| happening.lookup(name));
    for mapping in &response.mappings {
        if let Some(value) = mapping.value(lookup) {
            insert(&mut reply.headers, &mapping.name, &value);
        }
    }
    match response.templates.choose(Passthrough::WhenNoMatch, lookup) {
        Chosen::Template(template) => {
            let body = match response.content_handling {
                Some(ContentHandling::ToText) => {
                    converted(response.content_handling, answered.body.clone())?
                }
                Some(ContentHandling::ToBinary) | None => answered.body.clone(),
            };
            let body = String::from_utf8_lossy(&body);
            let (body, overrides) = render(template, happening, &body, overrides)?;
            reply.body = body;
            Ok(overrides)
        }
        Chosen::AsItIs | Chosen::Refused => {
            reply.body = converted(response.content_handling, answered.body.clone())?;
            Ok(overrides)
        }
    }
}

fn insert(headers: &mut HeaderMap, name: &str, value: &str) {
    let name = HeaderName::from_bytes(name.as_bytes());
    if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
        headers.insert(name, value);
    }
}
