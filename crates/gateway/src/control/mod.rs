//! The control plane: one file per family of operations, and the table that binds them.
//!
//! Most operations are of `apigatewayv2`; those of `apigateway` that are built are in `rest`.
//!
//! A handler changes records in one store transaction and returns; the proxy path sees the change from the commit on.
//! What HTTP APIs have in AWS and this version does not enforce is refused with a 501 that names the member, never
//! stored.

pub(crate) mod api;
pub(crate) mod api_mapping;
pub(crate) mod authorizer;
pub(crate) mod cors;
pub(crate) mod deployment;
pub(crate) mod domain;
pub(crate) mod edition;
pub(crate) mod endpoint;
pub(crate) mod gaps;
pub(crate) mod integration;
mod lead;
pub(crate) mod openapi;
mod page;
pub(crate) mod rest;
pub(crate) mod route;
pub(crate) mod routes;
pub(crate) mod routing_rule;
mod service;
pub(crate) mod stage;
pub(crate) mod tag;
mod truststore;
pub(crate) mod vpc_link;
pub(crate) mod websocket;

use std::{collections::BTreeMap, sync::Arc};

use gatemill_store::{Read, Write};
use gatemill_wire::{Cx, Gap};

use crate::{
    Gateway,
    control::edition::{Edition, Stamp},
    error::{Error, Result},
    record::{ApiKey, ApiRecord},
    usage_plans::record::Place,
};

impl Gateway {
    /// Changes an API that is there, in one transaction.
    async fn edit<T: Send + 'static>(
        &self,
        cx: &Cx,
        api_id: &str,
        change: impl Fn(&mut Edition<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let stamp = Stamp { now: cx.now, deployment: cx.id(6) };
        self.write(ApiKey::new(cx, api_id), move |tx, at| {
            let mut edition = Edition::open(tx, at, &stamp)?;
            let value = change(&mut edition)?;
            edition.close()?;
            Ok(value)
        })
        .await
    }

    /// Writes below an API, and tells the proxy path once that is durable.
    async fn write<T: Send + 'static>(
        &self,
        at: ApiKey,
        change: impl Fn(&mut Write, &ApiKey) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let live = Arc::clone(&self.live);
        self.store
            .write(move |tx| {
                let value = change(tx, &at)?;
                let (live, id) = (Arc::clone(&live), at.id.clone());
                tx.on_commit(move || live.changed(&id));
                Ok(value)
            })
            .await
    }

    /// Writes keys or plans of a place, and tells the proxy path once that is durable.
    async fn change_plans<T: Send + 'static>(
        &self,
        place: &Place,
        change: impl Fn(&mut Write, &Place) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (plans, place) = (Arc::clone(&self.usage_plans), place.clone());
        self.store
            .write(move |tx| {
                let value = change(tx, &place)?;
                plans.note_change(tx, &place);
                Ok(value)
            })
            .await
    }

    /// Whether an API, which has to be there, is one for WebSockets. An API never changes its protocol.
    fn is_websocket(&self, cx: &Cx, api_id: &str) -> Result<bool> {
        self.read(cx, api_id, |_, _, api| Ok(api.settings.websocket.is_some()))
    }

    /// Reads below an API that is there.
    fn read<T>(
        &self,
        cx: &Cx,
        api_id: &str,
        look: impl FnOnce(&Read, &ApiKey, ApiRecord) -> Result<T>,
    ) -> Result<T> {
        let at = ApiKey::new(cx, api_id);
        self.store.read(|tx| {
            let api = edition::api(tx, &at)?;
            look(tx, &at, api)
        })
    }
}

/// Refuses a member that is not built, if the caller asked for it.
fn unbuilt(gap: &'static Gap, asked: bool) -> Result<()> {
    if asked { Err(Error::NotBuilt(gap)) } else { Ok(()) }
}

/// Whether a text was given and says something.
fn says(text: Option<&str>) -> bool {
    text.is_some_and(|text| !text.is_empty())
}

/// Whether a map was given and holds something.
fn holds<K, V>(map: Option<&BTreeMap<K, V>>) -> bool {
    map.is_some_and(|map| !map.is_empty())
}

/// Checks the length of a text, in characters.
fn length(member: &str, text: &str, min: usize, max: usize) -> Result<()> {
    let length = text.chars().count();
    if (min..=max).contains(&length) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "The length of {member} must be between {min} and {max} characters."
    )))
}
