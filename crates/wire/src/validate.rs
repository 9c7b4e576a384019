//! Constraint violations in AWS's words: all of a request's violations, counted, in one message.
//!
//! Source of the grammar: recorded answers of AWS Lambda, such as `1 validation error detected: Value 'x?' at
//! 'qualifier' failed to satisfy constraint: Member must satisfy regular expression pattern: …`. The value is the
//! bound request as one JSON object whose keys are the model's member names.

use std::sync::OnceLock;

use fancy_regex::Regex;
use patterns::PatternCache;
use serde_json::{Number, Value};

use crate::{
    Kind, Location, Member, Shape,
    limits::{JSON_DEPTH_MAX, SHOWN_DEPTH_MAX},
};

/// The message that lists every violation, or `None` when there is none.
pub fn violations(shape: &Shape, value: &Value) -> Option<String> {
    let mut found = Vec::new();
    visit(shape, value, "", &mut found, 0);
    if found.is_empty() {
        return None;
    }
    let plural = if found.len() == 1 { "error" } else { "errors" };
    Some(format!("{} validation {plural} detected: {}", found.len(), found.join("; ")))
}

/// The first member whose JSON type is not its shape's, in the words of AWS's deserializer.
pub fn mismatch(shape: &Shape, value: &Value) -> Option<String> {
    mismatch_at(shape, value, 0)
}

fn mismatch_at(shape: &Shape, value: &Value, depth: usize) -> Option<String> {
    if depth > JSON_DEPTH_MAX {
        return None;
    }
    let expected = match (&shape.kind, value) {
        (_, Value::Null) | (Kind::Document, _) => return None,
        (Kind::Structure { members }, Value::Object(object)) => {
            return members
                .iter()
                .find_map(|member| mismatch_at(member.shape, object.get(member.wire)?, depth + 1));
        }
        (Kind::List { member, .. }, Value::Array(items)) => {
            return items.iter().find_map(|item| mismatch_at(member, item, depth + 1));
        }
        (Kind::Map { value: inner, .. }, Value::Object(object)) => {
            return object.values().find_map(|value| mismatch_at(inner, value, depth + 1));
        }
        (Kind::String { .. } | Kind::Blob { .. }, Value::String(_))
        | (Kind::Double { .. }, Value::Number(_))
        | (Kind::Boolean, Value::Bool(_))
        | (Kind::Timestamp { .. }, Value::Number(_) | Value::String(_)) => return None,
        (Kind::Integer { long, .. }, Value::Number(number)) => {
            let fits = number.as_i64().is_some_and(|n| *long || i32::try_from(n).is_ok());
            if fits || breaks_own_bound(&shape.kind, number) {
                return None;
            }
            if *long { "a Long" } else { "an Integer" }
        }
        (_, Value::Array(_)) => return Some("Start of list found where not expected".to_owned()),
        (_, Value::Object(_)) => {
            return Some("Start of structure or map found where not expected.".to_owned());
        }
        (Kind::Structure { .. }, _) => return Some("Expected null".to_owned()),
        (Kind::List { .. }, _) => return Some("Expected list or null".to_owned()),
        (Kind::Map { .. }, _) => return Some("Expected map or null".to_owned()),
        (Kind::String { .. }, _) => "a String",
        (Kind::Blob { .. }, _) => "a Blob",
        (Kind::Integer { long, .. }, _) => {
            if *long {
                "a Long"
            } else {
                "an Integer"
            }
        }
        (Kind::Double { .. }, _) => "a Double",
        (Kind::Boolean, _) => "a Boolean",
        (Kind::Timestamp { .. }, _) => "a Timestamp",
    };
    Some(format!("{} can not be converted to {expected}", token(value)))
}

/// AWS answers a number beyond 32 bits with the violated bound where the shape has one.
fn breaks_own_bound(kind: &Kind, number: &Number) -> bool {
    let Kind::Integer { min, max, .. } = kind else { return false };
    let Some(number) = number.as_i64() else { return false };
    max.is_some_and(|max| number > max) || min.is_some_and(|min| number < min)
}

fn token(value: &Value) -> &'static str {
    match value {
        Value::Null => "NULL_VALUE",
        Value::Bool(true) => "TRUE_VALUE",
        Value::Bool(false) => "FALSE_VALUE",
        Value::Number(_) => "NUMBER_VALUE",
        Value::String(_) => "STRING_VALUE",
        Value::Array(_) => "START_ARRAY",
        Value::Object(_) => "START_OBJECT",
    }
}

fn visit(shape: &Shape, value: &Value, path: &str, found: &mut Vec<String>, depth: usize) {
    if depth > JSON_DEPTH_MAX {
        return;
    }
    match (&shape.kind, value) {
        (Kind::Structure { members }, Value::Object(object)) => {
            for member in *members {
                // Raw bytes travel beside the members; their size is the operation's own affair.
                if is_raw_payload(member) {
                    continue;
                }
                let path = child(path, &lower_camel(member.name));
                match object.get(member.wire) {
                    None | Some(Value::Null) if member.required => {
                        found.push(format!(
                            "Value null at '{path}' failed to satisfy constraint: Member must not be null"
                        ));
                    }
                    None | Some(Value::Null) => {}
                    Some(value) => visit(member.shape, value, &path, found, depth + 1),
                }
            }
        }
        (Kind::List { member, .. }, Value::Array(items)) => {
            push_own(shape, value, path, found);
            visit_entries(member, items.iter(), path, (shape, value), "Member", found, depth);
        }
        (Kind::Map { key, value: inner, .. }, Value::Object(object)) => {
            push_own(shape, value, path, found);
            let keys: Vec<Value> = object.keys().map(|key| Value::String(key.clone())).collect();
            let whole = (shape, value);
            visit_entries(key, keys.iter(), path, whole, "Map keys", found, depth);
            visit_entries(inner, object.values(), path, whole, "Map value", found, depth);
        }
        _ => push_own(shape, value, path, found),
    }
}

fn is_raw_payload(member: &Member) -> bool {
    member.location == Location::Payload && matches!(member.shape.kind, Kind::Blob { .. })
}

/// Entries that are structures are visited one by one; for the others AWS lists all that an entry has to satisfy.
fn visit_entries<'a>(
    shape: &Shape,
    entries: impl Iterator<Item = &'a Value>,
    path: &str,
    (whole_shape, whole): (&Shape, &Value),
    subject: &str,
    found: &mut Vec<String>,
    depth: usize,
) {
    for (at, entry) in entries.enumerate() {
        match shape.kind {
            Kind::Structure { .. } | Kind::List { .. } | Kind::Map { .. } => {
                visit(shape, entry, &format!("{path}.{}.member", at + 1), found, depth + 1);
            }
            _ if entry.is_null() || !broken_rules(shape, entry).is_empty() => {
                let mut rules = rules(shape);
                rules.push("Member must not be null".to_owned());
                let rule = format!("{subject} must satisfy constraint: [{}]", rules.join(", "));
                found.push(violation(whole_shape, whole, path, &rule));
                return;
            }
            _ => {}
        }
    }
}

fn push_own(shape: &Shape, value: &Value, path: &str, found: &mut Vec<String>) {
    for rule in broken_rules(shape, value) {
        found.push(violation(shape, value, path, &rule));
    }
}

fn violation(shape: &Shape, value: &Value, path: &str, rule: &str) -> String {
    let shown = match value {
        _ if hides(shape, 0) => "Value".to_owned(),
        Value::Null => "Value null".to_owned(),
        value => format!("Value '{}'", show(value)),
    };
    format!("{shown} at '{path}' failed to satisfy constraint: {rule}")
}

/// Whether a value of this shape, printed whole, would show something sensitive.
fn hides(shape: &Shape, depth: usize) -> bool {
    let inner = |shape: &Shape| hides(shape, depth + 1);
    shape.sensitive
        || depth > SHOWN_DEPTH_MAX
        || match &shape.kind {
            Kind::Structure { members } => members.iter().any(|member| inner(member.shape)),
            Kind::List { member, .. } => inner(member),
            Kind::Map { key, value, .. } => inner(key) || inner(value),
            Kind::String { .. }
            | Kind::Integer { .. }
            | Kind::Double { .. }
            | Kind::Boolean
            | Kind::Blob { .. }
            | Kind::Timestamp { .. }
            | Kind::Document => false,
        }
}

/// Everything a value of this shape has to satisfy, in AWS's order.
fn rules(shape: &Shape) -> Vec<String> {
    let mut rules = Vec::new();
    let mut push = |name: &str, relation: &str, limit: Option<String>| {
        if let Some(limit) = limit {
            rules.push(format!("Member must have {name} {relation} than or equal to {limit}"));
        }
    };
    match &shape.kind {
        Kind::String { min, max, .. }
        | Kind::List { min, max, .. }
        | Kind::Map { min, max, .. }
        | Kind::Blob { min, max } => {
            push("length", "less", max.map(|n| n.to_string()));
            push("length", "greater", min.map(|n| n.to_string()));
        }
        Kind::Integer { min, max, .. } => {
            push("value", "less", max.map(|n| n.to_string()));
            push("value", "greater", min.map(|n| n.to_string()));
        }
        Kind::Double { min, max } => {
            push("value", "less", max.map(|n| format!("{n:?}")));
            push("value", "greater", min.map(|n| format!("{n:?}")));
        }
        Kind::Structure { .. } | Kind::Boolean | Kind::Timestamp { .. } | Kind::Document => {}
    }
    if let Kind::String { pattern, values, .. } = &shape.kind {
        if let Some(pattern) = pattern {
            rules.push(format!("Member must satisfy regular expression pattern: {pattern}"));
        }
        if !values.is_empty() {
            rules.push(format!("Member must satisfy enum value set: [{}]", values.join(", ")));
        }
    }
    rules
}

/// The rules that this value breaks.
fn broken_rules(shape: &Shape, value: &Value) -> Vec<String> {
    let length_ok = |length: usize, min: &Option<u64>, max: &Option<u64>| {
        let length = length as u64;
        (max.is_none_or(|max| length <= max), min.is_none_or(|min| length >= min))
    };
    let mut held = match (&shape.kind, value) {
        (Kind::String { min, max, .. }, Value::String(text)) => {
            bounds(length_ok(text.chars().count(), min, max), max.is_some(), min.is_some())
        }
        (Kind::List { min, max, .. }, Value::Array(items)) => {
            bounds(length_ok(items.len(), min, max), max.is_some(), min.is_some())
        }
        (Kind::Map { min, max, .. }, Value::Object(object)) => {
            bounds(length_ok(object.len(), min, max), max.is_some(), min.is_some())
        }
        (Kind::Blob { min, max }, Value::String(base64)) => {
            bounds(length_ok(decoded_len(base64), min, max), max.is_some(), min.is_some())
        }
        (Kind::Integer { min, max, .. }, Value::Number(number)) => {
            let number = number.as_i64().unwrap_or(i64::MAX);
            let held = (max.is_none_or(|max| number <= max), min.is_none_or(|min| number >= min));
            bounds(held, max.is_some(), min.is_some())
        }
        (Kind::Double { min, max }, Value::Number(number)) => {
            let number = number.as_f64().unwrap_or(f64::MAX);
            let held = (max.is_none_or(|max| number <= max), min.is_none_or(|min| number >= min));
            bounds(held, max.is_some(), min.is_some())
        }
        _ => return Vec::new(),
    };
    if let (Kind::String { pattern, values, .. }, Value::String(text)) = (&shape.kind, value) {
        held.extend(pattern.map(|pattern| matches_whole(pattern, text)));
        if !values.is_empty() {
            held.push(values.contains(&text.as_str()));
        }
    }
    rules(shape).into_iter().zip(held).filter(|(_, held)| !held).map(|(rule, _)| rule).collect()
}

fn bounds((below_max, above_min): (bool, bool), has_max: bool, has_min: bool) -> Vec<bool> {
    let mut held = Vec::with_capacity(4);
    held.extend(has_max.then_some(below_max));
    held.extend(has_min.then_some(above_min));
    held
}

fn decoded_len(base64: &str) -> usize {
    base64.trim_end_matches('=').len() * 3 / 4
}

fn child(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// `FunctionName` → `functionName`, `KMSKeyArn` → `kMSKeyArn`, as AWS prints them.
fn lower_camel(name: &str) -> String {
    let mut chars = name.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

/// Values as Java prints them: `[a, b]`, `{k=v}`.
fn show(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", "))
        }
        Value::Object(object) => {
            let pairs = object.iter().map(|(key, value)| format!("{key}={}", show(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
        value => value.to_string(),
    }
}

/// Whether the whole text matches a pattern of a service model.
///
/// A pattern that our engine cannot compile, or that backtracks beyond its limit, matches: the model's pattern is a
/// courtesy to the caller and never the only guard.
pub fn matches_whole(pattern: &'static str, text: &str) -> bool {
    let regex = pattern_cache().get(pattern);
    regex.is_none_or(|regex| regex.is_match(text).unwrap_or(true))
}

fn pattern_cache() -> &'static PatternCache {
    static CACHE: OnceLock<PatternCache> = OnceLock::new();
    CACHE.get_or_init(PatternCache::default)
}

/// Compiled patterns; the set is bounded by the service models.
mod patterns {
    use std::{
        collections::HashMap,
        sync::{Arc, RwLock},
    };

    use super::Regex;

    #[derive(Debug, Default)]
    pub(super) struct PatternCache(RwLock<HashMap<&'static str, Option<Arc<Regex>>>>);

    impl PatternCache {
        pub(super) fn get(&self, pattern: &'static str) -> Option<Arc<Regex>> {
            if let Some(known) = self.0.read().ok().and_then(|map| map.get(pattern).cloned()) {
                return known;
            }
            let compiled = Regex::new(&format!("^(?:{pattern})$")).ok().map(Arc::new);
            if let Ok(mut map) = self.0.write() {
                map.insert(pattern, compiled.clone());
            }
            compiled
        }
    }
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
