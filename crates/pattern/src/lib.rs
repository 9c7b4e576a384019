//! Event patterns: EventBridge's language of filters, compiled once and matched against many events.
//!
//! A pattern is a JSON object whose leaves are arrays of conditions: `{"detail": {"state": ["running", {"prefix": "st"}]}}`.
//! Every field that it names has to match, and a field matches when one of its conditions does. Lambda's event source
//! mappings filter records with it.
//!
//! Numbers are compared as they are written where a pattern names them plainly (300 is not 300.0), as AWS does, and by
//! value in `numeric` conditions. So events are not turned into values first: a [`Fields`] is an object whose members
//! are still text, and only what a pattern names is ever looked at.
//!
//! ```
//! use gatemill_pattern::{Fields, Pattern};
//!
//! let pattern = Pattern::parse(r#"{"body": {"temperature": [{"numeric": [">", 20, "<=", 30]}]}}"#)?;
//! let event = Fields::parse(r#"{"body": {"temperature": 21.5}}"#).expect("it is an object");
//! assert!(pattern.matches(&event));
//! # Ok::<_, gatemill_pattern::BadPattern>(())
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | `compile` | from text to pattern |
//! | `condition` | the conditions of leaves |
//! | `event` | events as they are matched |
//! | `wildcard` | `*` in strings |
//!
//! What it does not do: it knows no kind of event, transforms nothing, and gives no reason why something did not match.

mod compile;
mod condition;
mod event;
pub mod limits;
#[cfg(test)]
mod tests;
mod wildcard;

pub use compile::BadPattern;
pub use event::Fields;

use condition::Condition;
use event::Value;

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern(Node);

/// What a pattern wants of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// An object with fields of its own.
    Object,
    /// A plain value.
    Value,
}

/// What has to hold of an object: all fields, and of each `$or` one alternative.
#[derive(Debug, Clone, Default, PartialEq)]
struct Node {
    fields: Vec<(String, Rule)>,
    alternatives: Vec<Vec<Node>>,
}

/// What has to hold of a field.
#[derive(Debug, Clone, PartialEq)]
enum Rule {
    Object(Node),
    AnyOf(Vec<Condition>),
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// When the text is no pattern; [`BadPattern`] says why, for a log: AWS answers one text for all.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        compile::pattern(text).map(Self)
    }

    /// Whether an event matches.
    pub fn matches(&self, event: &Fields<'_>) -> bool {
        self.0.matches(event)
    }

    /// What the pattern wants of the event's field of this name, on its own or in some alternative; `None` when it does
    /// not name it.
    pub fn wants(&self, field: &str) -> Option<Wants> {
        self.0.wants(field)
    }
}

impl Node {
    fn matches(&self, event: &Fields<'_>) -> bool {
        self.fields.iter().all(|(name, rule)| rule.matches(event.get(name)))
            && self.alternatives.iter().all(|any| any.iter().any(|node| node.matches(event)))
    }

    /// Whether it holds of an object that is not there; only conditions on absence can.
    fn matches_absence(&self) -> bool {
        self.fields.iter().all(|(_, rule)| rule.matches(Value::Absent))
            && self.alternatives.iter().all(|any| any.iter().any(Self::matches_absence))
    }

    fn wants(&self, field: &str) -> Option<Wants> {
        let own = self.fields.iter().find(|(name, _)| name == field).map(|(_, rule)| match rule {
            Rule::Object(_) => Wants::Object,
            Rule::AnyOf(_) => Wants::Value,
        });
        own.or_else(|| self.alternatives.iter().flatten().find_map(|node| node.wants(field)))
    }
}

impl Rule {
    fn matches(&self, value: Value<'_>) -> bool {
        match self {
            Self::Object(node) => node_matches(node, value),
            Self::AnyOf(conditions) => conditions.iter().any(|one| any_leaf(one, value)),
        }
    }
}

fn node_matches(node: &Node, value: Value<'_>) -> bool {
    match value {
        Value::Object(text) => Fields::parse(text).is_some_and(|fields| node.matches(&fields)),
        // One element has to match as a whole: conditions do not mix elements.
        Value::Array(text) => {
            let elements = event::elements(text);
            !elements.is_empty() && elements.into_iter().any(|element| node_matches(node, element))
        }
        Value::Absent | Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {
            node.matches_absence()
        }
    }
}

/// Whether a condition holds of a value, or of one element where the value is an array.
fn any_leaf(condition: &Condition, value: Value<'_>) -> bool {
    match (condition, value) {
        (Condition::Exists(wanted), value) => *wanted == has_leaf(value),
        (condition, Value::Array(text)) => {
            event::elements(text).into_iter().any(|element| any_leaf(condition, element))
        }
        (condition, value) => condition.matches(value),
    }
}

/// `exists` looks at leaves alone: an object is none, and an empty array has none.
fn has_leaf(value: Value<'_>) -> bool {
    match value {
        Value::Absent | Value::Object(_) => false,
        Value::Array(text) => event::elements(text).into_iter().any(has_leaf),
        Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => true,
    }
}
