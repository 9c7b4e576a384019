//! Patterns for lines of fields between spaces: `[ip, user, ..., status = 4* && status != 404, bytes > 1000]`.
//!
//! A field of a line is a word, a text in double quotes, or a text in square brackets.

use super::{
    invalid,
    value::{Comparison, Operator, number},
};
use crate::{
    Error,
    limits::{PATTERN_DEPTH_MAX, PATTERN_REGEXES_MAX},
};

/// The fields of a line, in order; `…` stands for any number of fields, once.
#[derive(Debug)]
pub(crate) struct Fields {
    before: Vec<Condition>,
    /// Those after the ellipsis, if there is one.
    after: Option<Vec<Condition>>,
}

/// What one field has to satisfy.
#[derive(Debug)]
enum Condition {
    Anything,
    Compare(Comparison),
    All(Vec<Condition>),
    Any(Vec<Condition>),
}

impl Condition {
    fn holds(&self, field: &str) -> bool {
        match self {
            Self::Anything => true,
            Self::Compare(comparison) => comparison.holds(field, number(field)),
            Self::All(conditions) => conditions.iter().all(|condition| condition.holds(field)),
            Self::Any(conditions) => conditions.iter().any(|condition| condition.holds(field)),
        }
    }
}

impl Fields {
    pub(super) fn matches(&self, message: &str) -> bool {
        let fields = split(message);
        let all = |conditions: &[Condition], fields: &[&str]| {
            conditions.iter().zip(fields).all(|(condition, field)| condition.holds(field))
        };
        let Some(after) = &self.after else {
            return fields.len() == self.before.len() && all(&self.before, &fields);
        };
        fields.len() >= self.before.len() + after.len()
            && all(&self.before, &fields)
            && all(after, &fields[fields.len() - after.len()..])
    }
}

/// Cuts a line into its fields.
fn split(line: &str) -> Vec<&str> {
    let mut fields = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let closed = |open: char, close: char| {
            let inside = rest.strip_prefix(open)?;
            inside.find(close).map(|at| (&inside[..at], &inside[at + close.len_utf8()..]))
        };
        let (field, after) = closed('"', '"')
            .or_else(|| closed('[', ']'))
            .unwrap_or_else(|| rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())));
        fields.push(field);
        rest = after.trim_start();
    }
    fields
}

/// Reads fields in brackets.
pub(super) fn parse(text: &str) -> Result<Fields, Error> {
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let mut parser = Parser { rest: inside.ok_or_else(invalid)?, regexes: 0 };
    let mut fields = Fields { before: Vec::new(), after: None };
    loop {
        parser.skip_space();
        if parser.eat("...") {
            if fields.after.replace(Vec::new()).is_some() {
                return Err(invalid());
            }
        } else {
            let condition = parser.any(0)?;
            fields.after.as_mut().unwrap_or(&mut fields.before).push(condition);
        }
        parser.skip_space();
        if parser.rest.is_empty() {
            break;
        }
        if !parser.eat(",") {
            return Err(invalid());
        }
    }
    if parser.regexes > PATTERN_REGEXES_MAX {
        return Err(invalid());
    }
    Ok(fields)
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

    fn any(&mut self, depth: usize) -> Result<Condition, Error> {
        let mut conditions = vec![self.all(depth)?];
        while self.eat("||") {
            conditions.push(self.all(depth)?);
        }
        Ok(Condition::Any(conditions))
    }

    fn all(&mut self, depth: usize) -> Result<Condition, Error> {
        let mut conditions = vec![self.one(depth)?];
        while self.eat("&&") {
            conditions.push(self.one(depth)?);
        }
        Ok(Condition::All(conditions))
    }

    fn one(&mut self, depth: usize) -> Result<Condition, Error> {
        if self.eat("(") {
            if depth == PATTERN_DEPTH_MAX {
                return Err(invalid());
            }
            let condition = self.any(depth + 1)?;
            return if self.eat(")") { Ok(condition) } else { Err(invalid()) };
        }
        self.skip_space();
        let named = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        let end = self.rest.find(|c| !named(c)).unwrap_or(self.rest.len());
        if end == 0 {
            return Err(invalid());
        }
        self.rest = self.rest[end..].trim_start();
        let Some((operator, rest)) = Operator::read(self.rest) else {
            return Ok(Condition::Anything);
        };
        let ends = |c: char| c.is_whitespace() || matches!(c, ',' | ')' | '(' | '&' | '|' | '"');
        let (comparison, rest) = Comparison::read(operator, rest, ends)?;
        self.regexes += usize::from(comparison.is_regex());
        self.rest = rest;
        Ok(Condition::Compare(comparison))
    }
}
