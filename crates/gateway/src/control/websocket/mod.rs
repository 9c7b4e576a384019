//! What WebSocket APIs have of their own in the control plane.
//!
//! Operations on APIs, routes and integrations come through the same handlers as those of HTTP APIs, which hand on to
//! these once they know the protocol. Route responses and integration responses are kept inside their route and
//! integration, so that a deployment shows them with it.

pub(crate) mod api;
pub(crate) mod authorizer;
pub(crate) mod integration;
pub(crate) mod integration_response;
pub(crate) mod model;
mod response;
pub(crate) mod route;
pub(crate) mod route_response;

use std::collections::BTreeMap;

use crate::{
    Gateway,
    error::{Error, Result},
    limits::TEMPLATE_BYTES_MAX,
    record::{ApiRecord, ContentHandling},
};
use gatemill_template::Template;
use gatemill_wire::{Cx, pagination};

/// Refuses what only WebSocket APIs have.
fn need_websocket(api: &ApiRecord, what: &str) -> Result<()> {
    if api.settings.websocket.is_some() {
        return Ok(());
    }
    Err(Error::invalid(format!("{what} is not supported on protocolType HTTP")))
}

impl Gateway {
    /// Refuses what only WebSocket APIs have, of an API that has to be there.
    fn need_websocket(&self, cx: &Cx, api_id: &str, what: &str) -> Result<()> {
        self.read(cx, api_id, |_, _, api| need_websocket(&api, what))
    }
}

/// Checks mapping templates, each of which has to be one.
fn check_templates(templates: &BTreeMap<String, String>) -> Result<()> {
    let bytes: usize = templates.iter().map(|(key, text)| key.len() + text.len()).sum();
    if bytes > TEMPLATE_BYTES_MAX {
        return Err(Error::invalid("Mapping templates are limited to 300 KB"));
    }
    for (key, text) in templates {
        Template::parse(text)
            .map_err(|error| Error::invalid(format!("Invalid mapping template {key}: {error}")))?;
    }
    Ok(())
}

/// Sets members of a map, and removes those that are set to nothing.
fn merge(map: &mut BTreeMap<String, String>, given: Option<&BTreeMap<String, String>>) {
    for (key, text) in given.into_iter().flatten() {
        if text.is_empty() {
            map.remove(key);
        } else {
            map.insert(key.clone(), text.clone());
        }
    }
}

/// Reads what happens to bodies; nothing where it says nothing.
fn content_handling(text: Option<&str>) -> Result<Option<ContentHandling>> {
    match text {
        None | Some("") => Ok(None),
        Some("CONVERT_TO_BINARY") => Ok(Some(ContentHandling::ToBinary)),
        Some("CONVERT_TO_TEXT") => Ok(Some(ContentHandling::ToText)),
        Some(_) => Err(Error::invalid("Invalid ContentHandlingStrategy specified")),
    }
}

/// As it is on the wire.
pub(crate) fn content_handling_text(handling: ContentHandling) -> String {
    match handling {
        ContentHandling::ToBinary => "CONVERT_TO_BINARY".to_owned(),
        ContentHandling::ToText => "CONVERT_TO_TEXT".to_owned(),
    }
}

/// A page of a list that is part of a record.
fn page_of<R: Clone>(
    all: &[R],
    id: impl Fn(&R) -> &str,
    max_results: Option<&str>,
    next_token: Option<&str>,
) -> Result<(Vec<R>, Option<String>)> {
    let limit = super::page::limit(max_results)?;
    let after = next_token
        .map(|token| {
            let name = pagination::key(token).and_then(|bytes| String::from_utf8(bytes).ok());
            name.ok_or_else(|| Error::invalid("Invalid value for nextToken"))
        })
        .transpose()?;
    let mut rest: Vec<&R> = all.iter().collect();
    rest.sort_by(|a, b| id(a).cmp(id(b)));
    rest.retain(|item| after.as_deref().is_none_or(|after| id(item) > after));
    let found = rest.into_iter().take(limit + 1).cloned().collect();
    Ok(pagination::page(found, limit, |item| id(item).as_bytes().to_vec()))
}
