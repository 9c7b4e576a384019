//! From text to pattern.

use crate::{
    Node, Rule,
    condition::{Block, Bound, Condition, TextCondition},
    event::{Value, elements, unquoted},
    limits::{NUMERIC_MAX, PATTERN_CHARS_MAX, PATTERN_DEPTH_MAX},
    wildcard::Wildcard,
};

/// Why a text is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    /// It is no JSON object.
    #[error("a pattern is a JSON object")]
    NotAnObject,
    /// It is longer than allowed.
    #[error("the pattern is longer than {PATTERN_CHARS_MAX} characters")]
    TooLong,
    /// Its objects nest deeper than allowed.
    #[error("the pattern is deeper than {PATTERN_DEPTH_MAX} objects")]
    TooDeep,
    /// An object in it, or it itself, names no field.
    #[error("an object of the pattern is empty")]
    EmptyObject,
    /// A field has something else than an object or an array.
    #[error("a field has neither an object nor an array of conditions")]
    NotAnArray,
    /// A field has an array without conditions.
    #[error("a field has no condition")]
    NoCondition,
    /// Something in an array of conditions is none.
    #[error("a condition is not known, or not well formed")]
    BadCondition,
}

/// The members of an object, in their order; of those with one name the last one.
fn members(text: &str) -> Option<Vec<(String, &str)>> {
    struct Members<'a>(Vec<(String, &'a str)>);

    impl<'de: 'a, 'a> serde::Deserialize<'de> for Members<'a> {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Vec<(String, &'de str)>;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(
                    self,
                    mut map: A,
                ) -> Result<Self::Value, A::Error> {
                    let mut all: Self::Value = Vec::new();
                    while let Some((name, value)) =
                        map.next_entry::<String, &'de serde_json::value::RawValue>()?
                    {
                        all.retain(|(known, _)| *known != name);
                        all.push((name, value.get()));
                    }
                    Ok(all)
                }
            }
            from.deserialize_map(Visitor).map(Members)
        }
    }

    serde_json::from_str::<Members<'_>>(text).ok().map(|members| members.0)
}

pub(crate) fn pattern(text: &str) -> Result<Node, BadPattern> {
    if text.chars().count() > PATTERN_CHARS_MAX {
        return Err(BadPattern::TooLong);
    }
    node(text, 1)
}

fn node(text: &str, depth: usize) -> Result<Node, BadPattern> {
    if depth > PATTERN_DEPTH_MAX {
        return Err(BadPattern::TooDeep);
    }
    let members = members(text).ok_or(BadPattern::NotAnObject)?;
    if members.is_empty() {
        return Err(BadPattern::EmptyObject);
    }
    let mut compiled = Node::default();
    for (name, value) in members {
        match Value::of(value) {
            Value::Array(list) if name == "$or" => {
                compiled.alternatives.push(alternatives(list, depth)?);
            }
            Value::Array(list) => {
                let conditions: Option<Vec<Condition>> =
                    elements(list).into_iter().map(condition).collect();
                let conditions = conditions.ok_or(BadPattern::BadCondition)?;
                if conditions.is_empty() {
                    return Err(BadPattern::NoCondition);
                }
                compiled.fields.push((name, Rule::AnyOf(conditions)));
            }
            Value::Object(object) => {
                compiled.fields.push((name, Rule::Object(node(object, depth + 1)?)));
            }
            _ => return Err(BadPattern::NotAnArray),
        }
    }
    Ok(compiled)
}

/// `$or` takes two patterns or more.
fn alternatives(list: &str, depth: usize) -> Result<Vec<Node>, BadPattern> {
    let elements = elements(list);
    if elements.len() < 2 {
        return Err(BadPattern::BadCondition);
    }
    let compile = |element| match element {
        Value::Object(object) => node(object, depth + 1),
        _ => Err(BadPattern::BadCondition),
    };
    elements.into_iter().map(compile).collect()
}

fn condition(value: Value<'_>) -> Option<Condition> {
    match value {
        Value::Null => Some(Condition::Null),
        Value::Bool(flag) => Some(Condition::Bool(flag)),
        Value::Number(text) => Some(Condition::Number(text.to_owned())),
        Value::String(text) => Some(Condition::Text(TextCondition::Equal(string(text)?))),
        Value::Object(object) => {
            let [(name, operand)] = members(object)?.try_into().ok()?;
            operator(&name, Value::of(operand))
        }
        Value::Array(_) | Value::Absent => None,
    }
}

fn operator(name: &str, operand: Value<'_>) -> Option<Condition> {
    match (name, operand) {
        ("exists", Value::Bool(wanted)) => Some(Condition::Exists(wanted)),
        ("numeric", Value::Array(list)) => bounds(&elements(list)).map(Condition::Numeric),
        ("cidr", Value::String(text)) => Block::parse(&string(text)?).map(Condition::Cidr),
        ("anything-but", operand) => anything_but(operand).map(Condition::AnythingBut),
        (name, operand) => text_operator(name, operand).map(Condition::Text),
    }
}

/// Operators on strings; all but `prefix` and `suffix` of another case take a string alone.
fn text_operator(name: &str, operand: Value<'_>) -> Option<TextCondition> {
    match (name, operand) {
        ("prefix", Value::String(text)) => Some(TextCondition::Prefix(string(text)?)),
        ("suffix", Value::String(text)) => Some(TextCondition::Suffix(string(text)?)),
        ("equals-ignore-case", Value::String(text)) => {
            Some(TextCondition::EqualIgnoringCase(string(text)?.to_lowercase()))
        }
        ("wildcard", Value::String(text)) => {
            Wildcard::parse(&string(text)?).map(TextCondition::Wildcard)
        }
        ("prefix", Value::Object(object)) => {
            ignoring_case(object).map(TextCondition::PrefixIgnoringCase)
        }
        ("suffix", Value::Object(object)) => {
            ignoring_case(object).map(TextCondition::SuffixIgnoringCase)
        }
        (_, _) => None,
    }
}

/// The text of `{"equals-ignore-case": "text"}`, in lower case.
fn ignoring_case(object: &str) -> Option<String> {
    let [(name, operand)] = members(object)?.try_into().ok()?;
    match (name.as_str(), Value::of(operand)) {
        ("equals-ignore-case", Value::String(text)) => Some(string(text)?.to_lowercase()),
        (_, _) => None,
    }
}

/// A string or a number, a list of strings or one of numbers, or one operator on strings with a string or a list.
fn anything_but(operand: Value<'_>) -> Option<Vec<Condition>> {
    let list = match operand {
        Value::String(_) | Value::Number(_) => vec![operand],
        Value::Array(list) => elements(list),
        Value::Object(object) => {
            let [(name, operand)] = members(object)?.try_into().ok()?;
            let operands = match Value::of(operand) {
                Value::Array(list) => elements(list),
                one => vec![one],
            };
            let all: Option<Vec<Condition>> = operands
                .into_iter()
                .map(|operand| text_operator(&name, operand).map(Condition::Text))
                .collect();
            return all.filter(|all| !all.is_empty());
        }
        Value::Null | Value::Bool(_) | Value::Absent => return None,
    };
    let strings = list.iter().all(|one| matches!(one, Value::String(_)));
    let numbers = list.iter().all(|one| matches!(one, Value::Number(_)));
    if list.is_empty() || !(strings || numbers) {
        return None;
    }
    list.into_iter().map(condition).collect()
}

/// `["=", n]`, one bound, or a lower and then an upper one with room between.
fn bounds(list: &[Value<'_>]) -> Option<Vec<Bound>> {
    let all: Option<Vec<Bound>> = match list {
        [_, _] | [_, _, _, _] => list.chunks(2).map(bound).collect(),
        _ => None,
    };
    let all = all?;
    match all.as_slice() {
        [_] => Some(all),
        [
            Bound::Greater(low) | Bound::GreaterOrEqual(low),
            Bound::Less(high) | Bound::LessOrEqual(high),
        ] if low < high => Some(all),
        _ => None,
    }
}

fn bound(pair: &[Value<'_>]) -> Option<Bound> {
    let [Value::String(operator), Value::Number(number)] = pair else { return None };
    let number: f64 = number.parse().ok()?;
    if number.abs() > NUMERIC_MAX {
        return None;
    }
    match string(operator)?.as_str() {
        "=" => Some(Bound::Equal(number)),
        "<" => Some(Bound::Less(number)),
        "<=" => Some(Bound::LessOrEqual(number)),
        ">" => Some(Bound::Greater(number)),
        ">=" => Some(Bound::GreaterOrEqual(number)),
        _ => None,
    }
}

fn string(text: &str) -> Option<String> {
    unquoted(text).map(std::borrow::Cow::into_owned)
}
