//! What functions answer to a batch: which records failed, and the state of a window.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{limits::WINDOW_STATE_BYTES_MAX, source::Record};

/// Which records of a batch failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failures {
    /// None.
    None,
    /// Those at these places, in order.
    Some(Vec<usize>),
    /// All: the answer is not what it should be.
    All,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default, rename = "batchItemFailures")]
    failures: Option<Vec<Failure>>,
}

#[derive(Deserialize)]
struct Failure {
    #[serde(rename = "itemIdentifier")]
    id: String,
}

/// Reads the answer of a function that reports failures of items. `null`, an empty text, list or object and a list
/// without entries are success; an answer of any other form fails the whole batch, as does an identifier that is empty
/// or of no record.
pub(crate) fn failures(answer: &[u8], records: &[Record]) -> Failures {
    let text = std::str::from_utf8(answer).map(str::trim);
    let Ok(text) = text else { return Failures::All };
    if matches!(text, "" | "null" | "\"\"") {
        return Failures::None;
    }
    if text.starts_with('[') {
        let list: Result<Vec<&RawValue>, _> = serde_json::from_str(text);
        return match list {
            Ok(list) if list.is_empty() => Failures::None,
            _ => Failures::All,
        };
    }
    if !text.starts_with('{') {
        return Failures::All;
    }
    let Ok(answer) = serde_json::from_str::<Answer>(text) else { return Failures::All };
    let failed: HashSet<String> =
        answer.failures.unwrap_or_default().into_iter().map(|failure| failure.id).collect();
    if failed.is_empty() {
        return Failures::None;
    }
    let places = records.iter().enumerate().filter(|(_, record)| failed.contains(&record.id));
    let places: Vec<usize> = places.map(|(place, _)| place).collect();
    let known: HashSet<&str> = places.iter().map(|&place| records[place].id.as_str()).collect();
    if known.len() == failed.len() { Failures::Some(places) } else { Failures::All }
}

/// The state of a window that a function answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Its JSON text.
    Fits(String),
    /// The same, and longer than allowed: the window ends early.
    TooLarge(String),
    /// There is none, which fails the batch.
    Missing,
}

/// Reads the state from an answer.
pub(crate) fn state(answer: &[u8]) -> State {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        state: Option<&'a RawValue>,
    }
    let answer: Result<Answer<'_>, _> = serde_json::from_slice(answer);
    match answer.ok().and_then(|answer| answer.state) {
        None => State::Missing,
        Some(state) if state.get().len() > WINDOW_STATE_BYTES_MAX => {
            State::TooLarge(state.get().to_owned())
        }
        Some(state) => State::Fits(state.get().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(answer: &str) -> Failures {
        let records = ["a", "b", "c"].map(|id| Record { id: id.into(), ..Record::default() });
        failures(answer.as_bytes(), &records)
    }

    #[test]
    fn forms_of_success() {
        for answer in [
            "",
            "null",
            "\"\"",
            "[]",
            "{}",
            r#"{"batchItemFailures":[]}"#,
            r#"{"batchItemFailures":null}"#,
            r#"{"other":1}"#,
        ] {
            assert_eq!(check(answer), Failures::None, "{answer}");
        }
    }

    #[test]
    fn forms_of_failure() {
        for answer in [
            "{",
            "1",
            "true",
            "\"done\"",
            "[1]",
            r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#,
            r#"{"batchItemFailures":[{"ItemIdentifier":"a"}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":"d"}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":"a"},{"itemIdentifier":"d"}]}"#,
            r#"{"batchItemFailures":["a"]}"#,
            r#"{"batchItemFailures":"a"}"#,
        ] {
            assert_eq!(check(answer), Failures::All, "{answer}");
        }
        let some = r#"{"batchItemFailures":[{"itemIdentifier":"c"},{"itemIdentifier":"a"}]}"#;
        assert_eq!(check(some), Failures::Some(vec![0, 2]));
    }

    #[test]
    fn states() {
        assert_eq!(state(br#"{"state":{"n":1}}"#), State::Fits(r#"{"n":1}"#.into()));
        assert_eq!(state(b"{}"), State::Missing);
        assert_eq!(state(b"null"), State::Missing);
        let large = format!(r#"{{"state":"{}"}}"#, "x".repeat(WINDOW_STATE_BYTES_MAX));
        assert!(matches!(state(large.as_bytes()), State::TooLarge(_)));
    }
}
