//! The values of an evaluation. Lists and maps live in a heap and are shared, as objects of Java are; the heap ends with
//! the evaluation, so that a map which contains itself costs nothing for good.

use std::{collections::BTreeSet, sync::Arc};

use indexmap::IndexMap;

use crate::{
    Failed,
    limits::{BYTES_PER_STEP, STEPS_MAX, VALUE_DEPTH_MAX},
};

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// What is not there: Java's null.
    Nothing,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Arc<str>),
    /// The number of a list in the heap.
    List(usize),
    /// The number of a map in the heap.
    Map(usize),
    /// `$foreach` of a loop: the how manieth of those that run.
    Loop(usize),
    /// A block of `#define`.
    Block(usize),
    /// `$input`.
    Input,
    /// `$util`.
    Util,
}

/// How a list prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListKind {
    /// As Java's: `[a, b]`.
    Java,
    /// As JSON: it came out of JSON.
    Json,
}

/// What a map is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MapKind {
    /// As Java's: `{a=b}`.
    Plain,
    /// Of `$context`: as a whole it prints nothing.
    Silent,
    /// Of overrides: silent, and nothing in it is set twice.
    Overrides,
    /// An entry of a map: `a=b`.
    Entry,
}

#[derive(Debug)]
pub(crate) struct List {
    pub(crate) kind: ListKind,
    pub(crate) items: Vec<Value>,
}

#[derive(Debug)]
pub(crate) struct Map {
    pub(crate) kind: MapKind,
    pub(crate) entries: IndexMap<Arc<str>, Value>,
}

/// Everything that an evaluation made, and what it may still spend.
#[derive(Debug)]
pub(crate) struct Heap {
    lists: Vec<List>,
    maps: Vec<Map>,
    overridden: BTreeSet<(usize, Arc<str>)>,
    steps_left: u64,
}

impl Heap {
    pub(crate) fn new() -> Self {
        Self {
            lists: Vec::new(),
            maps: Vec::new(),
            overridden: BTreeSet::new(),
            steps_left: STEPS_MAX,
        }
    }

    /// Spends steps.
    pub(crate) fn spend(&mut self, steps: usize) -> Result<(), Failed> {
        let steps = u64::try_from(steps).unwrap_or(u64::MAX);
        self.steps_left = self.steps_left.checked_sub(steps).ok_or(Failed::TooLong)?;
        Ok(())
    }

    /// Spends what handling a text takes.
    pub(crate) fn spend_text(&mut self, bytes: usize) -> Result<(), Failed> {
        self.spend(1 + bytes / BYTES_PER_STEP)
    }

    pub(crate) fn text(&mut self, text: impl Into<Arc<str>>) -> Result<Value, Failed> {
        let text = text.into();
        self.spend_text(text.len())?;
        Ok(Value::Text(text))
    }

    pub(crate) fn new_list(&mut self, kind: ListKind, items: Vec<Value>) -> Result<Value, Failed> {
        self.spend(1 + items.len())?;
        self.lists.push(List { kind, items });
        Ok(Value::List(self.lists.len() - 1))
    }

    pub(crate) fn new_map(
        &mut self,
        kind: MapKind,
        entries: impl IntoIterator<Item = (Arc<str>, Value)>,
    ) -> Result<usize, Failed> {
        let entries: IndexMap<_, _> = entries.into_iter().collect();
        self.spend(1 + entries.len())?;
        self.maps.push(Map { kind, entries });
        Ok(self.maps.len() - 1)
    }

    pub(crate) fn list(&self, list: usize) -> &List {
        &self.lists[list]
    }

    pub(crate) fn list_mut(&mut self, list: usize) -> &mut Vec<Value> {
        &mut self.lists[list].items
    }

    pub(crate) fn map(&self, map: usize) -> &Map {
        &self.maps[map]
    }

    pub(crate) fn map_mut(&mut self, map: usize) -> &mut IndexMap<Arc<str>, Value> {
        &mut self.maps[map].entries
    }

    /// Sets a member of a map; gives what it was.
    pub(crate) fn put(&mut self, map: usize, key: Arc<str>, value: Value) -> Result<Value, Failed> {
        self.spend_text(key.len())?;
        if self.maps[map].kind == MapKind::Overrides && !self.overridden.insert((map, key.clone()))
        {
            return Err(Failed::OverriddenTwice(key.to_string()));
        }
        Ok(self.maps[map].entries.insert(key, value).unwrap_or(Value::Nothing))
    }

    /// A value of JSON.
    pub(crate) fn json(&mut self, json: &serde_json::Value) -> Result<Value, Failed> {
        self.json_within(json, MapKind::Plain, 0)
    }

    /// A value of JSON whose maps are of a kind.
    pub(crate) fn json_within(
        &mut self,
        json: &serde_json::Value,
        kind: MapKind,
        depth: usize,
    ) -> Result<Value, Failed> {
        use serde_json::Value as Json;
        if depth > VALUE_DEPTH_MAX {
            return Err(Failed::TooDeep);
        }
        self.spend(1)?;
        match json {
            Json::Null => Ok(Value::Nothing),
            Json::Bool(bool) => Ok(Value::Bool(*bool)),
            Json::Number(number) => Ok(match number.as_i64() {
                Some(int) => Value::Int(int),
                None => Value::Float(number.as_f64().unwrap_or_default()),
            }),
            Json::String(text) => self.text(text.as_str()),
            Json::Array(items) => {
                let mut made = Vec::with_capacity(items.len());
                for item in items {
                    made.push(self.json_within(item, kind, depth + 1)?);
                }
                self.new_list(ListKind::Json, made)
            }
            Json::Object(members) => {
                let mut made = Vec::with_capacity(members.len());
                for (name, member) in members {
                    self.spend_text(name.len())?;
                    made.push((
                        Arc::from(name.as_str()),
                        self.json_within(member, kind, depth + 1)?,
                    ));
                }
                Ok(Value::Map(self.new_map(kind, made)?))
            }
        }
    }
}
