//! Models: JSON schemas of draft 4, compiled once and asked of many messages.
//!
//! A schema may refer to a part of itself (`#/definitions/x`) and to another model of its API
//! (`https://apigateway.amazonaws.com/restapis/{api}/models/{name}`), whatever the API in the address. `format` is a note
//! for people, and `default`, `example` and their like are not looked at, as in API Gateway. What a message is refused for
//! is for the log; clients learn only that it was.

mod check;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use crate::limits::{PATTERN_STEPS_MAX, SCHEMA_DEPTH_MAX, SCHEMA_NODES_MAX};

/// A schema that messages can be checked by.
#[derive(Debug)]
pub(crate) struct Schema {
    nodes: Vec<Node>,
}

/// One schema of the schemas that a schema is made of; it names others by their number.
#[derive(Debug, Default)]
struct Node {
    /// All that is asked, beside what follows.
    rules: Vec<Rule>,
}

#[derive(Debug)]
enum Rule {
    Types(Vec<String>),
    Enum(Vec<Value>),
    Minimum {
        bound: f64,
        exclusive: bool,
    },
    Maximum {
        bound: f64,
        exclusive: bool,
    },
    MultipleOf(f64),
    Length {
        min: u64,
        max: u64,
    },
    Items {
        min: u64,
        max: u64,
    },
    Properties {
        min: u64,
        max: u64,
    },
    Pattern(Box<fancy_regex::Regex>),
    Unique,
    Required(Vec<String>),
    Members(Box<Members>),
    /// The schemas of the first items, and the one of all others; `None` where there may be none.
    Each {
        first: Vec<usize>,
        rest: Option<usize>,
    },
    Dependencies(Vec<(String, Dependency)>),
    AllOf(Vec<usize>),
    AnyOf(Vec<usize>),
    OneOf(Vec<usize>),
    Not(usize),
}

#[derive(Debug)]
struct Members {
    named: HashMap<String, usize>,
    patterns: Vec<(fancy_regex::Regex, usize)>,
    /// The schema of all others; `None` where there may be none.
    others: Option<usize>,
}

#[derive(Debug)]
enum Dependency {
    Members(Vec<String>),
    Schema(usize),
}

/// Anything fits it.
const ANYTHING: usize = 0;

/// Where models refer to each other by.
const MODELS: &str = "/models/";

/// The schemas of an API's models by name, as text.
pub(crate) type Models<'m> = BTreeMap<&'m str, &'m str>;

impl Schema {
    /// Compiles a schema; the reason when it is none.
    pub(crate) fn compile(text: &str, models: &Models<'_>) -> Result<Self, String> {
        let root: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let mut documents: BTreeMap<&str, Value> = BTreeMap::new();
        for (name, text) in models {
            if let Ok(document) = serde_json::from_str(text) {
                documents.insert(name, document);
            }
        }
        let mut compiler = Compiler {
            root: &root,
            documents: &documents,
            nodes: vec![Node::default()],
            known: HashMap::new(),
            depth: 0,
        };
        let first = compiler.node(&Place { document: None, value: &root })?;
        let mut nodes = compiler.nodes;
        // The whole is what is asked first.
        nodes.push(Node { rules: vec![Rule::AllOf(vec![first])] });
        Ok(Self { nodes })
    }

    /// Whether a value fits; the first reason when not.
    pub(crate) fn check(&self, value: &Value) -> Result<(), String> {
        check::check(&self.nodes, self.nodes.len() - 1, value)
    }
}

/// A schema in the document that it stands in.
#[derive(Clone, Copy)]
struct Place<'d> {
    /// The model's name; none for the schema itself.
    document: Option<&'d str>,
    value: &'d Value,
}

struct Compiler<'d> {
    root: &'d Value,
    documents: &'d BTreeMap<&'d str, Value>,
    nodes: Vec<Node>,
    /// By the address of the schema, which stands still while this runs; so schemas may contain themselves.
    known: HashMap<*const Value, usize>,
    depth: usize,
}

impl<'d> Compiler<'d> {
    fn node(&mut self, place: &Place<'d>) -> Result<usize, String> {
        let place = self.resolve(*place)?;
        let address: *const Value = place.value;
        if let Some(known) = self.known.get(&address) {
            return Ok(*known);
        }
        let Value::Object(schema) = place.value else {
            return Err("a schema is an object".to_owned());
        };
        if self.nodes.len() >= SCHEMA_NODES_MAX || self.depth >= SCHEMA_DEPTH_MAX {
            return Err("the schema is too large".to_owned());
        }
        let number = self.nodes.len();
        self.nodes.push(Node::default());
        self.known.insert(address, number);
        self.depth += 1;
        let rules = self.rules(schema, place.document)?;
        self.depth -= 1;
        self.nodes[number].rules = rules;
        Ok(number)
    }

    /// Follows `$ref`, beside which nothing counts.
    fn resolve(&self, mut place: Place<'d>) -> Result<Place<'d>, String> {
        for _ in 0..REFERENCES_MAX {
            let Some(reference) = place.value.get("$ref").and_then(Value::as_str) else {
                return Ok(place);
            };
            let none = || format!("{reference} leads nowhere");
            let (address, pointer) = reference.split_once('#').unwrap_or((reference, ""));
            if !address.is_empty() {
                let (_, name) = address.rsplit_once(MODELS).ok_or_else(none)?;
                let (name, document) = self.documents.get_key_value(name).ok_or_else(none)?;
                place = Place { document: Some(name), value: document };
            } else {
                place.value = match place.document {
                    Some(name) => self.documents.get(name).ok_or_else(none)?,
                    None => self.root,
                };
            }
            place.value = place.value.pointer(pointer).ok_or_else(none)?;
        }
        Err("references lead in a circle".to_owned())
    }

    fn rules(
        &mut self,
        schema: &'d Map<String, Value>,
        document: Option<&'d str>,
    ) -> Result<Vec<Rule>, String> {
        let mut rules = Vec::new();
        scalars(schema, &mut rules)?;
        let of = |value| Place { document, value };
        if let Some(rule) = self.members(schema, document)? {
            rules.push(rule);
        }
        let rest = match schema.get("additionalItems") {
            Some(Value::Bool(false)) => None,
            Some(other @ Value::Object(_)) => Some(self.node(&of(other))?),
            _ => Some(ANYTHING),
        };
        match schema.get("items") {
            None => {}
            Some(Value::Array(first)) => {
                let first =
                    first.iter().map(|item| self.node(&of(item))).collect::<Result<_, _>>()?;
                rules.push(Rule::Each { first, rest });
            }
            Some(every) => {
                rules.push(Rule::Each { first: Vec::new(), rest: Some(self.node(&of(every))?) });
            }
        }
        if let Some(dependencies) = object(schema, "dependencies")? {
            let mut made = Vec::new();
            for (name, dependency) in dependencies {
                made.push((
                    name.clone(),
                    match dependency {
                        Value::Array(_) => Dependency::Members(texts(dependency, "dependencies")?),
                        other => Dependency::Schema(self.node(&of(other))?),
                    },
                ));
            }
            rules.push(Rule::Dependencies(made));
        }
        for (name, rule) in [
            ("allOf", Rule::AllOf as fn(Vec<usize>) -> Rule),
            ("anyOf", Rule::AnyOf),
            ("oneOf", Rule::OneOf),
        ] {
            let Some(schemas) = schema.get(name) else { continue };
            let schemas = schemas.as_array().filter(|schemas| !schemas.is_empty());
            let schemas = schemas.ok_or_else(|| format!("{name} is no list of schemas"))?;
            rules.push(rule(
                schemas.iter().map(|schema| self.node(&of(schema))).collect::<Result<_, _>>()?,
            ));
        }
        if let Some(schema) = schema.get("not") {
            rules.push(Rule::Not(self.node(&of(schema))?));
        }
        Ok(rules)
    }

    fn members(
        &mut self,
        schema: &'d Map<String, Value>,
        document: Option<&'d str>,
    ) -> Result<Option<Rule>, String> {
        let (mut named, mut patterns) = (HashMap::new(), Vec::new());
        for (name, value) in object(schema, "properties")?.into_iter().flatten() {
            named.insert(name.clone(), self.node(&Place { document, value })?);
        }
        for (pattern, value) in object(schema, "patternProperties")?.into_iter().flatten() {
            patterns.push((regex(pattern)?, self.node(&Place { document, value })?));
        }
        let others = match schema.get("additionalProperties") {
            None | Some(Value::Bool(true)) => Some(ANYTHING),
            Some(Value::Bool(false)) => None,
            Some(value) => Some(self.node(&Place { document, value })?),
        };
        let says_nothing = named.is_empty() && patterns.is_empty() && others == Some(ANYTHING);
        Ok((!says_nothing).then(|| Rule::Members(Box::new(Members { named, patterns, others }))))
    }
}

/// References that may lead to each other.
const REFERENCES_MAX: usize = 64;

/// The types that draft 4 knows.
const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];

/// What a schema asks without naming other schemas.
fn scalars(schema: &Map<String, Value>, rules: &mut Vec<Rule>) -> Result<(), String> {
    if let Some(kinds) = schema.get("type") {
        let kinds = match kinds {
            Value::String(kind) => vec![kind.clone()],
            kinds => texts(kinds, "type")?,
        };
        if let Some(unknown) = kinds.iter().find(|kind| !TYPES.contains(&kind.as_str())) {
            return Err(format!("there is no type {unknown}"));
        }
        rules.push(Rule::Types(kinds));
    }
    if let Some(values) = schema.get("enum") {
        rules.push(Rule::Enum(values.as_array().ok_or("enum is no list")?.clone()));
    }
    let flag = |name: &str| schema.get(name).and_then(Value::as_bool).unwrap_or(false);
    if let Some(bound) = number(schema, "minimum")? {
        rules.push(Rule::Minimum { bound, exclusive: flag("exclusiveMinimum") });
    }
    if let Some(bound) = number(schema, "maximum")? {
        rules.push(Rule::Maximum { bound, exclusive: flag("exclusiveMaximum") });
    }
    if let Some(step) = number(schema, "multipleOf")? {
        if step <= 0.0 {
            return Err("multipleOf is not positive".to_owned());
        }
        rules.push(Rule::MultipleOf(step));
    }
    if let Some((min, max)) = sizes(schema, "minLength", "maxLength")? {
        rules.push(Rule::Length { min, max });
    }
    if let Some((min, max)) = sizes(schema, "minItems", "maxItems")? {
        rules.push(Rule::Items { min, max });
    }
    if let Some((min, max)) = sizes(schema, "minProperties", "maxProperties")? {
        rules.push(Rule::Properties { min, max });
    }
    if let Some(pattern) = schema.get("pattern") {
        let pattern = pattern.as_str().ok_or("pattern is no text")?;
        rules.push(Rule::Pattern(Box::new(regex(pattern)?)));
    }
    if flag("uniqueItems") {
        rules.push(Rule::Unique);
    }
    // A truth value is draft 3's, and stands in schemas of old.
    match schema.get("required") {
        None | Some(Value::Bool(_)) => {}
        Some(names) => rules.push(Rule::Required(texts(names, "required")?)),
    }
    Ok(())
}

fn object<'s>(
    schema: &'s Map<String, Value>,
    name: &str,
) -> Result<Option<&'s Map<String, Value>>, String> {
    match schema.get(name) {
        None => Ok(None),
        Some(Value::Object(members)) => Ok(Some(members)),
        Some(_) => Err(format!("{name} is no object")),
    }
}

fn texts(value: &Value, name: &str) -> Result<Vec<String>, String> {
    let texts = value.as_array().and_then(|items| {
        items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
    });
    texts.ok_or_else(|| format!("{name} is no list of texts"))
}

fn number(schema: &Map<String, Value>, name: &str) -> Result<Option<f64>, String> {
    let found = schema.get(name);
    found.map(|value| value.as_f64().ok_or_else(|| format!("{name} is no number"))).transpose()
}

fn sizes(schema: &Map<String, Value>, min: &str, max: &str) -> Result<Option<(u64, u64)>, String> {
    let size = |name: &str| {
        let found = schema.get(name);
        found.map(|value| value.as_u64().ok_or_else(|| format!("{name} is no size"))).transpose()
    };
    let (least, most) = (size(min)?, size(max)?);
    Ok((least.is_some() || most.is_some()).then(|| (least.unwrap_or(0), most.unwrap_or(u64::MAX))))
}

fn regex(pattern: &str) -> Result<fancy_regex::Regex, String> {
    let mut builder = fancy_regex::RegexBuilder::new(pattern);
    let built =
        builder.backtrack_limit(PATTERN_STEPS_MAX).delegate_size_limit(PATTERN_MEMORY_MAX).build();
    built.map_err(|_| format!("{pattern} is no pattern"))
}

/// Bytes of memory that a compiled pattern may take.
const PATTERN_MEMORY_MAX: usize = 256 * 1024;
