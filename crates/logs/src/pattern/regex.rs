//! Regular expressions in filter patterns: AWS's small alphabet, and bounds on what a hostile one can cost.

use fancy_regex::RegexBuilder;

use super::invalid;
use crate::{
    Error,
    limits::{REGEX_BACKTRACKS_MAX, REGEX_BYTES_MAX},
};

/// The characters that AWS allows beside letters and digits: parentheses are not among them.
const SYMBOLS: &str = " _#=@/;,-'\":^$?[]{}|\\*+.<>&%!~`";

/// A compiled expression.
#[derive(Debug)]
pub(super) struct Regex(fancy_regex::Regex);

impl Regex {
    /// Compiles what stood between the `%`s.
    pub(super) fn new(text: &str) -> Result<Self, Error> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || SYMBOLS.contains(c);
        if text.is_empty() || !text.chars().all(allowed) {
            return Err(invalid());
        }
        RegexBuilder::new(text)
            .backtrack_limit(REGEX_BACKTRACKS_MAX)
            .delegate_size_limit(REGEX_BYTES_MAX)
            .delegate_dfa_size_limit(REGEX_BYTES_MAX)
            .build()
            .map(Self)
            .map_err(|_| invalid())
    }

    /// Whether it matches anywhere; an expression that backtracks beyond its limit does not match.
    pub(super) fn matches(&self, text: &str) -> bool {
        self.0.is_match(text).unwrap_or(false)
    }
}

/// Splits the text after an opening `%` at the closing one; `\%` stands for itself.
pub(super) fn split(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '%' if !escaped => return Some((&text[..at], &text[at + 1..])),
            _ => escaped = c == '\\' && !escaped,
        }
    }
    None
}
