//! The JSON form of a policy.
//!
//! Source: the grammar of IAM policies in AWS's documentation. Single values may stand where lists may.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

use crate::limits::DOCUMENT_BYTES_MAX;

/// A policy.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Document {
    /// The version of the language, `2012-10-17`.
    #[serde(default)]
    pub version: Option<String>,
    /// The policy's id.
    #[serde(default)]
    pub id: Option<String>,
    /// What it says.
    #[serde(deserialize_with = "one_or_many")]
    pub statement: Vec<Statement>,
}

/// Why a text is no policy.
#[derive(Debug, thiserror::Error)]
pub enum BadDocument {
    /// Longer than [`DOCUMENT_BYTES_MAX`].
    #[error("the policy is too long")]
    TooLong,
    /// Not JSON, or not of the form.
    #[error("the policy is malformed")]
    Malformed(#[source] serde_json::Error),
}

impl Document {
    /// Reads a policy.
    ///
    /// # Errors
    /// [`BadDocument`] for a text that is too long, no JSON, or of another form.
    pub fn parse(text: &str) -> Result<Self, BadDocument> {
        if text.len() > DOCUMENT_BYTES_MAX {
            return Err(BadDocument::TooLong);
        }
        serde_json::from_str(text).map_err(BadDocument::Malformed)
    }
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Statement {
    /// Its id.
    #[serde(default)]
    pub sid: Option<String>,
    /// What it does.
    pub effect: Effect,
    /// Whom it is about; absent in policies of identities.
    #[serde(default)]
    pub principal: Option<Principals>,
    /// Whom it is not about.
    #[serde(default)]
    pub not_principal: Option<Principals>,
    /// Actions, with wildcards.
    #[serde(default, deserialize_with = "some_texts")]
    pub action: Option<Vec<String>>,
    /// All actions but these.
    #[serde(default, deserialize_with = "some_texts")]
    pub not_action: Option<Vec<String>>,
    /// Resources, with wildcards.
    #[serde(default, deserialize_with = "some_texts")]
    pub resource: Option<Vec<String>>,
    /// All resources but these.
    #[serde(default, deserialize_with = "some_texts")]
    pub not_resource: Option<Vec<String>>,
    /// Operator → condition key → values.
    #[serde(default)]
    pub condition: BTreeMap<String, BTreeMap<String, Values>>,
}

/// What a statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Effect {
    /// Lets through.
    Allow,
    /// Refuses, whatever else allows.
    Deny,
}

/// Whom a statement is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principals {
    /// Everyone: `"*"`.
    Everyone,
    /// By kind (`AWS`, `Service`, `Federated`, `CanonicalUser`).
    Named(BTreeMap<String, Vec<String>>),
}

/// The values of a condition key, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Values(pub Vec<String>);

impl<'de> Deserialize<'de> for Principals {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) if text == "*" => Ok(Self::Everyone),
            Value::Object(object) => {
                let named = object.into_iter().map(|(kind, value)| Ok((kind, texts(value)?)));
                let named: Result<_, &str> = named.collect();
                named.map(Self::Named).map_err(D::Error::custom)
            }
            _ => Err(D::Error::custom("a principal is \"*\" or an object")),
        }
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        texts(Value::deserialize(deserializer)?).map(Self).map_err(D::Error::custom)
    }
}

fn some_texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    texts(Value::deserialize(deserializer)?).map(Some).map_err(D::Error::custom)
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Statement>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Array(items) => items
            .into_iter()
            .map(|item| serde_json::from_value(item).map_err(D::Error::custom))
            .collect(),
        value => serde_json::from_value(value).map(|one| vec![one]).map_err(D::Error::custom),
    }
}

/// One scalar or a list of scalars; booleans and numbers count as their text, as AWS takes them.
fn texts(value: Value) -> Result<Vec<String>, &'static str> {
    let text = |value: Value| match value {
        Value::String(text) => Ok(text),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            Err("a value is a text or a list of texts")
        }
    };
    match value {
        Value::Array(items) => items.into_iter().map(text).collect(),
        value => text(value).map(|one| vec![one]),
    }
}
