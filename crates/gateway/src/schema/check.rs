//! Whether a value fits a schema.

use serde_json::Value;

use super::{Dependency, Members, Node, Rule};
use crate::limits::{SCHEMA_DEPTH_MAX, SCHEMA_STEPS_MAX};

type Fits = Result<(), String>;

pub(super) fn check(nodes: &[Node], node: usize, value: &Value) -> Fits {
    Checker { nodes, steps: SCHEMA_STEPS_MAX, depth: 0 }.node(node, value)
}

struct Checker<'s> {
    nodes: &'s [Node],
    steps: usize,
    depth: usize,
}

impl Checker<'_> {
    fn node(&mut self, node: usize, value: &Value) -> Fits {
        if self.depth >= SCHEMA_DEPTH_MAX || self.steps == 0 {
            return Err("the check takes too long".to_owned());
        }
        self.steps -= 1;
        self.depth += 1;
        let nodes = self.nodes;
        let checked = nodes[node].rules.iter().try_for_each(|rule| self.rule(rule, value));
        self.depth -= 1;
        checked
    }

    fn rule(&mut self, rule: &Rule, value: &Value) -> Fits {
        match rule {
            Rule::Required(_)
            | Rule::Members(_)
            | Rule::Dependencies(_)
            | Rule::Properties { .. } => match value {
                Value::Object(members) => self.object(rule, members, value),
                _ => Ok(()),
            },
            Rule::Each { .. } | Rule::Items { .. } | Rule::Unique => match value {
                Value::Array(items) => self.array(rule, items),
                _ => Ok(()),
            },
            Rule::AllOf(nodes) => nodes.iter().try_for_each(|node| self.node(*node, value)),
            Rule::AnyOf(nodes) => {
                let fits = nodes.iter().any(|node| self.node(*node, value).is_ok());
                need(fits, || "value matches none of anyOf".to_owned())
            }
            Rule::OneOf(nodes) => {
                let count = nodes.iter().filter(|node| self.node(**node, value).is_ok()).count();
                need(count == 1, || format!("value matches {count} of oneOf"))
            }
            Rule::Not(node) => need(self.node(*node, value).is_err(), || {
                "value matches what it must not".to_owned()
            }),
            rule => scalar(rule, value),
        }
    }

    fn object(
        &mut self,
        rule: &Rule,
        members: &serde_json::Map<String, Value>,
        value: &Value,
    ) -> Fits {
        let has_all = |names: &[String]| {
            let missing: Vec<_> =
                names.iter().filter(|name| !members.contains_key(*name)).collect();
            need(missing.is_empty(), || {
                format!("object has missing required properties ({missing:?})")
            })
        };
        match rule {
            Rule::Required(names) => has_all(names),
            Rule::Properties { min, max } => size("properties", members.len(), *min, *max),
            Rule::Members(rule) => self.members(rule, members),
            Rule::Dependencies(dependencies) => {
                let given = dependencies.iter().filter(|(name, _)| members.contains_key(name));
                for (_, dependency) in given {
                    match dependency {
                        Dependency::Members(names) => has_all(names)?,
                        Dependency::Schema(node) => self.node(*node, value)?,
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn members(&mut self, rule: &Members, members: &serde_json::Map<String, Value>) -> Fits {
        for (name, value) in members {
            let named = rule.named.get(name).copied();
            let mut is_known = named.is_some();
            if let Some(node) = named {
                self.node(node, value)?;
            }
            for (pattern, node) in &rule.patterns {
                if pattern.is_match(name).unwrap_or(false) {
                    is_known = true;
                    self.node(*node, value)?;
                }
            }
            match rule.others {
                _ if is_known => {}
                Some(node) => self.node(node, value)?,
                None => {
                    return Err(format!("object has a property that is not allowed ({name:?})"));
                }
            }
        }
        Ok(())
    }

    fn array(&mut self, rule: &Rule, items: &[Value]) -> Fits {
        match rule {
            Rule::Items { min, max } => size("items", items.len(), *min, *max),
            Rule::Unique => {
                for (at, item) in items.iter().enumerate() {
                    self.steps = self.steps.saturating_sub(at);
                    need(self.steps > 0, || "the check takes too long".to_owned())?;
                    need(!items[..at].contains(item), || "array has items twice".to_owned())?;
                }
                Ok(())
            }
            Rule::Each { first, rest } => {
                for (at, item) in items.iter().enumerate() {
                    let node = first.get(at).copied().or(*rest);
                    let node = node.ok_or_else(|| "array has too many items".to_owned())?;
                    self.node(node, item)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn need(holds: bool, why: impl FnOnce() -> String) -> Fits {
    if holds { Ok(()) } else { Err(why()) }
}

fn size(what: &str, found: usize, min: u64, max: u64) -> Fits {
    let found = u64::try_from(found).unwrap_or(u64::MAX);
    need((min..=max).contains(&found), || format!("{found} {what} are too few or too many"))
}

/// What is asked of a value alone.
fn scalar(rule: &Rule, value: &Value) -> Fits {
    let number = value.as_f64();
    match (rule, value) {
        (Rule::Types(kinds), value) => need(kinds.iter().any(|kind| is_of(kind, value)), || {
            format!("instance type does not match any allowed primitive type ({kinds:?})")
        }),
        (Rule::Enum(values), value) => need(values.iter().any(|known| equal(known, value)), || {
            "value is not in enum".to_owned()
        }),
        (Rule::Minimum { bound, exclusive }, _) => {
            let fits = number.is_none_or(|it| if *exclusive { it > *bound } else { it >= *bound });
            need(fits, || format!("value is below {bound}"))
        }
        (Rule::Maximum { bound, exclusive }, _) => {
            let fits = number.is_none_or(|it| if *exclusive { it < *bound } else { it <= *bound });
            need(fits, || format!("value is above {bound}"))
        }
        (Rule::MultipleOf(step), _) => {
            // Decimal fractions are none in binary.
            let fits = number.is_none_or(|it| ((it / step) - (it / step).round()).abs() < 1e-9);
            need(fits, || format!("value is no multiple of {step}"))
        }
        (Rule::Length { min, max }, Value::String(text)) => {
            size("characters", text.chars().count(), *min, *max)
        }
        (Rule::Pattern(pattern), Value::String(text)) => {
            let fits = pattern.is_match(text).unwrap_or(false);
            need(fits, || format!("text does not match {}", pattern.as_str()))
        }
        _ => Ok(()),
    }
}

fn is_of(kind: &str, value: &Value) -> bool {
    match value {
        Value::Null => kind == "null",
        Value::Bool(_) => kind == "boolean",
        Value::Number(number) => kind == "number" || kind == "integer" && !number.is_f64(),
        Value::String(_) => kind == "string",
        Value::Array(_) => kind == "array",
        Value::Object(_) => kind == "object",
    }
}

/// Whether two values are equal, numbers by value.
fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            left == right || left.as_f64() == right.as_f64()
        }
        (left, right) => left == right,
    }
}
