//! Events as they are matched: objects whose members stay text until something asks for them.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Deserialize;
use serde_json::value::RawValue;

/// The members of a JSON object. Of members with one name the last one counts.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Fields<'a>(#[serde(borrow)] BTreeMap<Key<'a>, &'a RawValue>);

/// A member's name, borrowed where it has no escapes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl std::borrow::Borrow<str> for Key<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'a> Fields<'a> {
    /// Reads an object; `None` for any other text.
    pub fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The same with this member, in place of one of that name.
    #[must_use]
    pub fn with(mut self, name: &'a str, value: &'a RawValue) -> Self {
        self.0.insert(Key(Cow::Borrowed(name)), value);
        self
    }

    /// Adds the members of another object; those that are there already stay.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        for (name, value) in other.0 {
            self.0.entry(name).or_insert(value);
        }
        self
    }

    /// The text of a member.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).map(|value| value.get())
    }

    pub(crate) fn get(&self, name: &str) -> Value<'a> {
        self.text(name).map_or(Value::Absent, Value::of)
    }
}

/// A JSON value, as far as it can be told without reading on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    Absent,
    Null,
    Bool(bool),
    /// As it is written.
    Number(&'a str),
    /// With its quotes and escapes.
    String(&'a str),
    Array(&'a str),
    Object(&'a str),
}

impl<'a> Value<'a> {
    /// Looks at valid JSON.
    pub(crate) fn of(text: &'a str) -> Self {
        match text.as_bytes().first() {
            None => Self::Absent,
            Some(b'{') => Self::Object(text),
            Some(b'[') => Self::Array(text),
            Some(b'"') => Self::String(text),
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(b'n') => Self::Null,
            Some(_) => Self::Number(text),
        }
    }
}

/// The elements of an array.
pub(crate) fn elements(text: &str) -> Vec<Value<'_>> {
    let raw: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
    raw.into_iter().map(|element| Value::of(element.get())).collect()
}

/// A string without its quotes and escapes.
pub(crate) fn unquoted(text: &str) -> Option<Cow<'_, str>> {
    let Key(text) = serde_json::from_str(text).ok()?;
    Some(text)
}
