//! Patterns for text: terms that must occur, that must not, and of which one must.

use super::{
    invalid,
    regex::{self, Regex},
    value::quoted,
};
use crate::{Error, limits::PATTERN_REGEXES_MAX};

/// Terms of a pattern by what they ask for.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    required: Vec<Term>,
    excluded: Vec<Term>,
    /// `?term`: one of these must occur. AWS ignores them beside terms of the other kinds.
    optional: Vec<Term>,
}

#[derive(Debug)]
enum Term {
    Text(String),
    Regex(Regex),
}

impl Term {
    fn occurs(&self, message: &str) -> bool {
        match self {
            Self::Text(text) => message.contains(text.as_str()),
            Self::Regex(regex) => regex.matches(message),
        }
    }
}

impl Terms {
    pub(super) fn matches(&self, message: &str) -> bool {
        if self.required.is_empty() && self.excluded.is_empty() {
            return self.optional.is_empty()
                || self.optional.iter().any(|term| term.occurs(message));
        }
        self.required.iter().all(|term| term.occurs(message))
            && !self.excluded.iter().any(|term| term.occurs(message))
    }
}

/// Reads terms between spaces.
pub(super) fn parse(text: &str) -> Result<Terms, Error> {
    let mut terms = Terms::default();
    let mut regexes = 0;
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (kind, body) = match first {
            '-' => (&mut terms.excluded, &rest[1..]),
            '?' => (&mut terms.optional, &rest[1..]),
            _ => (&mut terms.required, rest),
        };
        let (term, after) = term(body)?;
        regexes += usize::from(matches!(term, Term::Regex(_)));
        kind.push(term);
        rest = after.trim_start();
    }
    if regexes > PATTERN_REGEXES_MAX {
        return Err(invalid());
    }
    Ok(terms)
}

fn term(text: &str) -> Result<(Term, &str), Error> {
    if let Some(inside) = text.strip_prefix('"') {
        let (phrase, after) = quoted(inside).ok_or_else(invalid)?;
        return Ok((Term::Text(phrase), after));
    }
    if let Some(inside) = text.strip_prefix('%') {
        let (regex, after) = regex::split(inside).ok_or_else(invalid)?;
        return Ok((Term::Regex(Regex::new(regex)?), after));
    }
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let (word, after) = text.split_at(end);
    if word.is_empty() {
        return Err(invalid());
    }
    // Everything but letters, digits and underscores has to be quoted.
    if !word.chars().all(|c| c.is_alphanumeric() || c == '_') {
        return Err(Error::invalid(format!("Invalid character(s) in term '{word}'")));
    }
    Ok((Term::Text(word.to_owned()), after))
}
