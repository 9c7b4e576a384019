//! What a route asks of what comes in: parameters of a handshake, and the model of a message.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::{happening::Happening, select::Selection};
use crate::{
    record::{ModelRecord, RouteRecord},
    schema::{Models, Schema},
};

/// What a route asks, compiled.
#[derive(Debug, Default)]
pub(crate) struct Validation {
    /// Parameters that a handshake needs, such as `route.request.header.name`, in their order.
    required: Vec<String>,
    /// Chooses among the models; the one of `$default` without.
    selection: Option<Selection>,
    /// By what chooses it. Without a schema where the model is gone or cannot be compiled.
    models: BTreeMap<String, Option<Arc<Schema>>>,
}

/// Why a message is not passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Invalid {
    /// Its body does not fit.
    Body(String),
    /// The model cannot be asked.
    Model(String),
}

/// The schemas that the routes of a stage name, each compiled once.
pub(crate) fn schemas(
    routes: &[&RouteRecord],
    models: &[&ModelRecord],
) -> BTreeMap<String, Option<Arc<Schema>>> {
    let texts: Models<'_> =
        models.iter().map(|model| (model.name.as_str(), model.schema.as_str())).collect();
    let named = routes.iter().filter_map(|route| route.websocket.as_ref());
    let mut schemas = BTreeMap::new();
    for name in named.flat_map(|own| own.request_models.values()) {
        if !schemas.contains_key(name) {
            let schema =
                texts.get(name.as_str()).and_then(|text| Schema::compile(text, &texts).ok());
            schemas.insert(name.clone(), schema.map(Arc::new));
        }
    }
    schemas
}

impl Validation {
    pub(crate) fn new(
        record: &RouteRecord,
        schemas: &BTreeMap<String, Option<Arc<Schema>>>,
    ) -> Self {
        let Some(own) = &record.websocket else { return Self::default() };
        let required = own.request_parameters.iter().filter(|(_, required)| **required);
        let schema = |name: &String| schemas.get(name).cloned().flatten();
        Self {
            required: required.map(|(name, _)| name.clone()).collect(),
            selection: own.model_selection.as_deref().and_then(Selection::parse),
            models: own
                .request_models
                .iter()
                .map(|(key, name)| (key.clone(), schema(name)))
                .collect(),
        }
    }

    /// The names of the parameters that a handshake lacks.
    pub(crate) fn missing(&self, happening: &Happening<'_>) -> Vec<&str> {
        let missing = self.required.iter().filter(|name| happening.lookup(name).is_empty());
        missing.map(|name| name.rsplit_once('.').map_or(name.as_str(), |(_, name)| name)).collect()
    }

    /// Checks a message by the model that it is meant for. One that no model is for does not fit.
    pub(crate) fn check(&self, happening: &Happening<'_>) -> Result<(), Invalid> {
        if self.models.is_empty() {
            return Ok(());
        }
        let key = self.selection.as_ref().map(|it| it.evaluate(|name| happening.lookup(name)));
        let chosen = key.and_then(|key| self.models.get(&key));
        let chosen = chosen.or_else(|| self.models.get("$default"));
        let Some(schema) = chosen else {
            return Err(Invalid::Body("no model is for this message".to_owned()));
        };
        let Some(schema) = schema else {
            return Err(Invalid::Model("the model is gone, or its schema is none".to_owned()));
        };
        let empty = Value::Object(serde_json::Map::new());
        let value = match happening.json() {
            Some(value) => value,
            None if happening.body().is_empty() => &empty,
            None => return Err(Invalid::Body("the message is no JSON".to_owned())),
        };
        schema.check(value).map_err(Invalid::Body)
    }
}
