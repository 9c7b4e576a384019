//! The conditions of `[?(…)]`.

use std::cmp::Ordering;

use serde_json::Value;

use super::{Budget, JsonPath};

#[derive(Debug, Clone)]
pub(super) enum Filter {
    Any(Vec<Filter>),
    All(Vec<Filter>),
    Not(Box<Filter>),
    Exists(Operand),
    Compare(Operand, Comparison, Operand),
    Matches(Operand, Box<fancy_regex::Regex>),
    /// Whether it is empty has to be this.
    Empty(Operand, bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
    Size,
}

#[derive(Debug, Clone)]
pub(super) enum Operand {
    Path { is_root: bool, path: JsonPath },
    Value(Value),
}

impl Operand {
    fn value(&self, root: &Value, item: &Value, budget: &mut Budget) -> Option<Value> {
        match self {
            Self::Value(value) => Some(value.clone()),
            Self::Path { is_root, path } => {
                path.found(root, if *is_root { root } else { item }, budget)
            }
        }
    }
}

impl Filter {
    /// Whether an item is meant.
    pub(super) fn holds(&self, root: &Value, item: &Value, budget: &mut Budget) -> bool {
        let mut value = |operand: &Operand| operand.value(root, item, budget);
        match self {
            Self::Exists(operand) => match (operand, value(operand)) {
                (Operand::Path { path, .. }, Some(Value::Array(found))) if !path.is_definite() => {
                    !found.is_empty()
                }
                (_, found) => found.is_some(),
            },
            Self::Compare(left, comparison, right) => {
                let (left, right) = (value(left), value(right));
                compare(left.as_ref(), *comparison, right.as_ref())
            }
            Self::Matches(operand, regex) => match value(operand) {
                Some(Value::String(text)) => regex.is_match(&text).unwrap_or(false),
                _ => false,
            },
            Self::Empty(operand, wanted) => match value(operand) {
                Some(Value::Array(items)) => items.is_empty() == *wanted,
                Some(Value::String(text)) => text.is_empty() == *wanted,
                _ => false,
            },
            Self::Any(filters) => filters.iter().any(|filter| filter.holds(root, item, budget)),
            Self::All(filters) => filters.iter().all(|filter| filter.holds(root, item, budget)),
            Self::Not(filter) => !filter.holds(root, item, budget),
        }
    }
}

fn compare(left: Option<&Value>, comparison: Comparison, right: Option<&Value>) -> bool {
    let order = || match (left?, right?) {
        (Value::Number(left), Value::Number(right)) => left.as_f64()?.partial_cmp(&right.as_f64()?),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => None,
    };
    let equal = || match (left, right) {
        (Some(Value::Number(_)), Some(Value::Number(_))) => order() == Some(Ordering::Equal),
        (left, right) => left == right,
    };
    let is_in = || {
        right
            .and_then(Value::as_array)
            .is_some_and(|items| left.is_some_and(|left| items.contains(left)))
    };
    match comparison {
        Comparison::Equal => equal(),
        Comparison::Unequal => !equal(),
        Comparison::Less => order() == Some(Ordering::Less),
        Comparison::LessOrEqual => order().is_some_and(Ordering::is_le),
        Comparison::Greater => order() == Some(Ordering::Greater),
        Comparison::GreaterOrEqual => order().is_some_and(Ordering::is_ge),
        Comparison::In => is_in(),
        Comparison::NotIn => !is_in(),
        Comparison::Size => {
            let length = match left {
                Some(Value::Array(items)) => Some(items.len()),
                Some(Value::String(text)) => Some(text.chars().count()),
                _ => None,
            };
            length.is_some_and(|length| right.and_then(Value::as_u64) == u64::try_from(length).ok())
        }
    }
}
