//! Patterns for JSON: `{ ($.user.id = 1) && ($.tags[0] = "a*" || $.error IS TRUE) }`.

use serde_json::Value;

use super::{
    invalid,
    value::{Comparison, Operator, quoted},
};
use crate::{
    Error,
    limits::{PATTERN_DEPTH_MAX, PATTERN_REGEXES_MAX},
};

/// What an object has to satisfy.
#[derive(Debug)]
pub(crate) struct Condition(Node);

#[derive(Debug)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Compare(Selector, Comparison),
    Is(Selector, Kind),
    NotExists(Selector),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Null,
    True,
    False,
}

/// The way to a value from the root.
#[derive(Debug)]
struct Selector(Vec<Step>);

#[derive(Debug)]
enum Step {
    Member(String),
    Item(usize),
    /// `*` and `[*]`: every member or item.
    Every,
}

impl Condition {
    /// Whether a message is JSON (an object, or an array) that satisfies this.
    pub(super) fn matches_message(&self, message: &str) -> bool {
        let message = message.trim();
        if !message.starts_with(['{', '[']) {
            return false;
        }
        serde_json::from_str(message).is_ok_and(|value| self.0.holds(&value))
    }
}

impl Node {
    fn holds(&self, root: &Value) -> bool {
        match self {
            Self::All(conditions) => conditions.iter().all(|condition| condition.holds(root)),
            Self::Any(conditions) => conditions.iter().any(|condition| condition.holds(root)),
            Self::Compare(selector, comparison) => {
                selector.any(root, &mut |value| compare(comparison, value))
            }
            Self::Is(selector, kind) => selector.any(root, &mut |value| match kind {
                Kind::Null => value.is_null(),
                Kind::True => *value == Value::Bool(true),
                Kind::False => *value == Value::Bool(false),
            }),
            Self::NotExists(selector) => !selector.any(root, &mut |_| true),
        }
    }
}

fn compare(comparison: &Comparison, value: &Value) -> bool {
    match value {
        Value::String(text) => comparison.holds(text, None),
        Value::Number(number) => comparison.holds(&number.to_string(), number.as_f64()),
        Value::Bool(_) | Value::Null => comparison.holds(&value.to_string(), None),
        Value::Array(_) | Value::Object(_) => false,
    }
}

impl Selector {
    /// Whether `f` holds for any of the values that are selected.
    fn any(&self, root: &Value, f: &mut dyn FnMut(&Value) -> bool) -> bool {
        walk(&self.0, root, f)
    }
}

fn walk(steps: &[Step], value: &Value, f: &mut dyn FnMut(&Value) -> bool) -> bool {
    let Some((step, rest)) = steps.split_first() else { return f(value) };
    match (step, value) {
        (Step::Member(name), Value::Object(members)) => {
            members.get(name).is_some_and(|value| walk(rest, value, f))
        }
        (Step::Item(index), Value::Array(items)) => {
            items.get(*index).is_some_and(|value| walk(rest, value, f))
        }
        (Step::Every, Value::Array(items)) => items.iter().any(|value| walk(rest, value, f)),
        (Step::Every, Value::Object(members)) => members.values().any(|value| walk(rest, value, f)),
        _ => false,
    }
}

/// Reads a condition in braces.
pub(super) fn parse(text: &str) -> Result<Condition, Error> {
    let inside = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
    let mut parser = Parser { rest: inside.ok_or_else(invalid)?, regexes: 0 };
    let condition = parser.any(0)?;
    parser.skip_space();
    if !parser.rest.is_empty() || parser.regexes > PATTERN_REGEXES_MAX {
        return Err(invalid());
    }
    Ok(Condition(condition))
}

struct Parser<'a> {
    rest: &'a str,
    regexes: usize,
}

impl Parser<'_> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, token: &str) -> bool {
        self.skip_space();
        let after = self.rest.strip_prefix(token);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    /// Eats a word in any case that is not the start of a longer one.
    fn eat_word(&mut self, word: &str) -> bool {
        self.skip_space();
        let Some(start) = self.rest.get(..word.len()) else { return false };
        let after = &self.rest[word.len()..];
        let whole = !after.starts_with(|c: char| c.is_alphanumeric());
        if start.eq_ignore_ascii_case(word) && whole {
            self.rest = after;
            return true;
        }
        false
    }

    fn any(&mut self, depth: usize) -> Result<Node, Error> {
        let mut conditions = vec![self.all(depth)?];
        while self.eat("||") {
            conditions.push(self.all(depth)?);
        }
        Ok(Node::Any(conditions))
    }

    fn all(&mut self, depth: usize) -> Result<Node, Error> {
        let mut conditions = vec![self.one(depth)?];
        while self.eat("&&") {
            conditions.push(self.one(depth)?);
        }
        Ok(Node::All(conditions))
    }

    fn one(&mut self, depth: usize) -> Result<Node, Error> {
        if self.eat("(") {
            if depth == PATTERN_DEPTH_MAX {
                return Err(invalid());
            }
            let condition = self.any(depth + 1)?;
            return if self.eat(")") { Ok(condition) } else { Err(invalid()) };
        }
        let selector = self.selector()?;
        if self.eat_word("IS") {
            return self.kind().map(|kind| Node::Is(selector, kind));
        }
        if self.eat_word("NOT") {
            let exists = self.eat_word("EXISTS");
            return exists.then_some(Node::NotExists(selector)).ok_or_else(invalid);
        }
        self.skip_space();
        let (operator, rest) = Operator::read(self.rest).ok_or_else(invalid)?;
        let ends = |c: char| c.is_whitespace() || matches!(c, ')' | '&' | '|' | '(' | '"' | '=');
        let (comparison, rest) = Comparison::read(operator, rest, ends)?;
        self.regexes += usize::from(comparison.is_regex());
        self.rest = rest;
        Ok(Node::Compare(selector, comparison))
    }

    fn kind(&mut self) -> Result<Kind, Error> {
        let kinds = [("NULL", Kind::Null), ("TRUE", Kind::True), ("FALSE", Kind::False)];
        let found = kinds.into_iter().find(|(word, _)| self.eat_word(word));
        found.map(|(_, kind)| kind).ok_or_else(invalid)
    }

    fn selector(&mut self) -> Result<Selector, Error> {
        if !self.eat("$") {
            return Err(invalid());
        }
        let mut steps = Vec::new();
        loop {
            if let Some(rest) = self.rest.strip_prefix('.') {
                // `$.['a.b']` is a way to write `$['a.b']`.
                self.rest = rest;
                if !rest.starts_with('[') {
                    steps.push(self.member()?);
                }
            } else if let Some(rest) = self.rest.strip_prefix('[') {
                self.rest = rest;
                steps.push(self.bracket()?);
            } else {
                break;
            }
        }
        if steps.is_empty() { Err(invalid()) } else { Ok(Selector(steps)) }
    }

    fn member(&mut self) -> Result<Step, Error> {
        if let Some(rest) = self.rest.strip_prefix('*') {
            self.rest = rest;
            return Ok(Step::Every);
        }
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '@' | '$' | ':' | '/');
        let end = self.rest.find(|c| !plain(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        if name.is_empty() { Err(invalid()) } else { Ok(Step::Member(name.to_owned())) }
    }

    /// What stands in brackets: a number, `*`, or a quoted name.
    fn bracket(&mut self) -> Result<Step, Error> {
        self.skip_space();
        let step = if self.eat("*") {
            Step::Every
        } else if let Some(inside) = self.rest.strip_prefix('\'') {
            let (name, rest) = inside.split_once('\'').ok_or_else(invalid)?;
            self.rest = rest;
            Step::Member(name.to_owned())
        } else if let Some(inside) = self.rest.strip_prefix('"') {
            let (name, rest) = quoted(inside).ok_or_else(invalid)?;
            self.rest = rest;
            Step::Member(name)
        } else {
            let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
            let (digits, rest) = self.rest.split_at(end);
            self.rest = rest;
            Step::Item(digits.parse().map_err(|_| invalid())?)
        };
        if self.eat("]") { Ok(step) } else { Err(invalid()) }
    }
}
