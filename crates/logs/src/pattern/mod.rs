//! Filter patterns: which events a search finds.
//!
//! | pattern | matches |
//! |---|---|
//! | nothing | every event |
//! | `ERROR "exit code" -retry`, `?a ?b`, `%4\d\d%` | text with these terms (`terms`) |
//! | `{ $.level = "ERROR" && $.ms > 100 }` | JSON objects (`json`) |
//! | `[ip, user, …, status = 4*, bytes > 1000]` | lines of fields between spaces (`fields`) |
//!
//! The syntax is that of the CloudWatch Logs User Guide, "Filter pattern syntax". All matching is case-sensitive.

mod fields;
mod json;
mod regex;
mod terms;
mod value;

use crate::Error;

/// A filter pattern, ready to match.
#[derive(Debug)]
pub(crate) enum Pattern {
    Terms(terms::Terms),
    Json(json::Condition),
    Fields(fields::Fields),
}

impl Pattern {
    /// Reads a pattern.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if text.starts_with('{') {
            return json::parse(text).map(Self::Json);
        }
        if text.starts_with('[') {
            return fields::parse(text).map(Self::Fields);
        }
        terms::parse(text).map(Self::Terms)
    }

    /// Whether an event's message matches.
    pub(crate) fn matches(&self, message: &str) -> bool {
        match self {
            Self::Terms(terms) => terms.matches(message),
            Self::Json(condition) => condition.matches_message(message),
            Self::Fields(fields) => fields.matches(message),
        }
    }
}

/// The answer to a pattern that cannot be read.
fn invalid() -> Error {
    Error::invalid("Invalid filter pattern")
}

#[cfg(test)]
mod tests;
