//! `SEARCH` of metric math: which metrics a question means that names none.
//!
//! `{AWS/Lambda,FunctionName} MetricName="Errors" NOT staging`: in braces the namespace and the very dimensions, then terms, all
//! of which have to hold where no `OR` stands between them. A term in quotes is a name as a whole; any other is found among the
//! words that names are made of. With `Name=` before it, it is looked for there alone.

use gatemill_store::{Key, Reader};

use crate::{
    error::Error,
    limits::{EXPRESSION_DEPTH_MAX, SEARCH_FOUND_MAX, SERIES_PAGE},
    record::{SERIES, named_by},
};

/// A search, read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Search {
    /// The namespace, and the names of the dimensions in their order.
    schema: Option<(String, Vec<String>)>,
    term: Term,
}

#[derive(Debug, Clone, PartialEq)]
enum Term {
    All(Vec<Term>),
    Any(Vec<Term>),
    Not(Box<Term>),
    Text { of: Option<String>, text: String, is_whole: bool },
}

/// A metric that was found: its series, its name, and what it is called in a list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    pub(crate) series: Key,
    pub(crate) metric: String,
    pub(crate) label: String,
}

impl Search {
    /// Reads a search; `None` when it is none.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut parser = Parser { rest: text.trim() };
        let schema = match parser.rest.strip_prefix('{') {
            None => None,
            Some(inner) => {
                let (inner, rest) = inner.split_once('}')?;
                parser.rest = rest;
                let mut names =
                    inner.split(',').map(|name| name.trim().trim_matches('"').to_owned());
                let namespace = names.next().filter(|name| !name.is_empty())?;
                let mut dimensions: Vec<String> = names.collect();
                dimensions.sort_unstable();
                Some((namespace, dimensions))
            }
        };
        let term = parser.any(0)?;
        parser.rest.trim().is_empty().then_some(Self { schema, term })
    }

    /// The metrics that are meant, in the order of their names; no more than CloudWatch shows.
    pub(crate) fn find(&self, from: &impl Reader, at: &Key) -> Result<Vec<Found>, Error> {
        let prefix = match &self.schema {
            Some((namespace, _)) => at.clone().and(namespace),
            None => at.clone(),
        };
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = SERIES.scan(from, &prefix, after.as_ref(), SERIES_PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(found) };
            after = Some(last.clone());
            for (key, record) in &page {
                let (namespace, dimensions) = named_by(key);
                let named: Vec<&str> = dimensions.iter().map(|(name, _)| name.as_str()).collect();
                if self.schema.as_ref().is_some_and(|(_, names)| *names != named) {
                    continue;
                }
                for metric in &record.metrics {
                    if !self.term.holds(&namespace, &metric.name, &dimensions) {
                        continue;
                    }
                    if found.len() >= SEARCH_FOUND_MAX {
                        return Ok(found);
                    }
                    let words = dimensions.iter().map(|(_, value)| value.as_str());
                    let words: Vec<&str> = words.chain([metric.name.as_str()]).collect();
                    let (metric, label) = (metric.name.clone(), words.join(" "));
                    found.push(Found { series: key.clone(), metric, label });
                }
            }
        }
    }
}

impl Term {
    fn holds(&self, namespace: &str, metric: &str, dimensions: &[(String, String)]) -> bool {
        match self {
            Self::All(terms) => terms.iter().all(|term| term.holds(namespace, metric, dimensions)),
            Self::Any(terms) => terms.iter().any(|term| term.holds(namespace, metric, dimensions)),
            Self::Not(term) => !term.holds(namespace, metric, dimensions),
            Self::Text { of, text, is_whole } => {
                let fits =
                    |name: &str| if *is_whole { name == text } else { has_words(name, text) };
                match of.as_deref() {
                    Some("Namespace") => fits(namespace),
                    Some("MetricName") => fits(metric),
                    Some(of) => dimensions.iter().any(|(name, value)| name == of && fits(value)),
                    None => {
                        let named =
                            dimensions.iter().any(|(name, value)| fits(name) || fits(value));
                        named || fits(namespace) || fits(metric)
                    }
                }
            }
        }
    }
}

/// Whether the words of a text are among those of a name, one after the other.
fn has_words(name: &str, text: &str) -> bool {
    let (name, text) = (words(name), words(text));
    !text.is_empty() && name.windows(text.len()).any(|part| part == text)
}

/// The words that a name is made of: `HTTPCode-Count2` is `http`, `code`, `count`, `2`.
fn words(name: &str) -> Vec<String> {
    let letters: Vec<char> = name.chars().collect();
    let mut words: Vec<String> = Vec::new();
    for (at, letter) in letters.iter().enumerate() {
        if !letter.is_alphanumeric() {
            continue;
        }
        let before = at.checked_sub(1).and_then(|before| letters.get(before));
        let begins = before.is_none_or(|before| {
            let next_is_small = letters.get(at + 1).is_some_and(|next| next.is_lowercase());
            !before.is_alphanumeric()
                || before.is_numeric() != letter.is_numeric()
                || (letter.is_uppercase() && (before.is_lowercase() || next_is_small))
        });
        let lower = letter.to_lowercase();
        match words.last_mut().filter(|_| !begins) {
            Some(word) => word.extend(lower),
            None => words.push(lower.collect()),
        }
    }
    words
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    /// Terms with `OR` between them.
    fn any(&mut self, depth: usize) -> Option<Term> {
        let mut terms = vec![self.all(depth)?];
        while self.word("OR") {
            terms.push(self.all(depth)?);
        }
        if terms.len() == 1 { terms.pop() } else { Some(Term::Any(terms)) }
    }

    /// Terms with `AND` or nothing between them; all metrics where there is none.
    fn all(&mut self, depth: usize) -> Option<Term> {
        let mut terms = Vec::new();
        loop {
            let rest = self.rest.trim_start();
            if rest.is_empty() || rest.starts_with(')') || starts_with_word(rest, "OR") {
                return Some(Term::All(terms));
            }
            self.word("AND");
            terms.push(self.one(None, depth)?);
        }
    }

    fn one(&mut self, of: Option<&str>, depth: usize) -> Option<Term> {
        if depth > EXPRESSION_DEPTH_MAX {
            return None;
        }
        if self.word("NOT") {
            return Some(Term::Not(Box::new(self.one(of, depth + 1)?)));
        }
        self.rest = self.rest.trim_start();
        if let Some(inner) = self.rest.strip_prefix('(') {
            self.rest = inner;
            let mut term = self.any(depth + 1)?;
            self.rest = self.rest.trim_start().strip_prefix(')')?;
            if let Some(of) = of {
                term.look_in(of);
            }
            return Some(term);
        }
        let (text, is_whole) = match self.rest.strip_prefix('"') {
            Some(inner) => {
                let (text, rest) = inner.split_once('"')?;
                self.rest = rest;
                (text, true)
            }
            None => {
                let end = self.rest.find([' ', '(', ')', '=', '"', '\t', '\n']);
                let (text, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
                self.rest = rest;
                (text, false)
            }
        };
        if text.is_empty() {
            return None;
        }
        if let Some(rest) = self.rest.trim_start().strip_prefix('=').filter(|_| of.is_none()) {
            self.rest = rest;
            // As CloudWatch has it, the three forms of a name's end mean the same.
            let name = text.strip_prefix(':').unwrap_or(text).to_owned();
            return self.one(Some(&name), depth + 1);
        }
        Some(Term::Text { of: of.map(str::to_owned), text: text.to_owned(), is_whole })
    }

    fn word(&mut self, word: &str) -> bool {
        let rest = self.rest.trim_start();
        let is_there = starts_with_word(rest, word);
        if is_there {
            self.rest = &rest[word.len()..];
        }
        is_there
    }
}

fn starts_with_word(text: &str, word: &str) -> bool {
    let rest = text.strip_prefix(word);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '(', '"', '\t', '\n']))
}

impl Term {
    /// Has the terms of a bracket look in one place: `MetricName=(Errors OR Throttles)`.
    fn look_in(&mut self, place: &str) {
        match self {
            Self::All(terms) | Self::Any(terms) => {
                terms.iter_mut().for_each(|term| term.look_in(place));
            }
            Self::Not(term) => term.look_in(place),
            Self::Text { of, .. } => *of = of.take().or_else(|| Some(place.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn finds(search: &str) -> bool {
        let search = Search::read(search).unwrap_or_else(|| panic!("{search}"));
        let dimensions = [("FunctionName".to_owned(), "chat-staging".to_owned())];
        search.term.holds("AWS/Lambda", "AsyncEventsDropped", &dimensions)
    }

    #[test]
    fn terms_hold_or_do_not() {
        for (search, holds) in [
            ("", true),
            ("{AWS/Lambda,FunctionName}", true),
            ("dropped", true),
            ("async events", true),
            ("AsyncEventsDropped", true),
            ("EventsDropped", true),
            ("droppe", false),
            ("\"dropped\"", false),
            ("\"AsyncEventsDropped\"", true),
            ("MetricName=\"AsyncEventsDropped\"", true),
            ("MetricName=dropped FunctionName=chat", true),
            ("MetricName=chat", false),
            ("MetricName=(Errors OR Dropped)", true),
            ("NOT staging", false),
            ("Namespace=\"AWS/Lambda\" AND NOT FunctionName=production", true),
            ("errors OR (dropped AND NOT chat)", false),
            ("errors OR dropped", true),
        ] {
            assert_eq!(finds(search), holds, "{search}");
        }
        for wrong in ["{", "{}", "(a", "a)", "\"a", "MetricName=", "NOT", &"(".repeat(2_000)] {
            assert_eq!(Search::read(wrong), None, "{wrong:.20}");
        }
    }

    #[test]
    fn names_are_made_of_words() {
        assert_eq!(words("HTTPCode-Count2xx"), ["http", "code", "count", "2", "xx"]);
        assert_eq!(words("4xx"), ["4", "xx"]);
        assert_eq!(words("--"), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn any_search_is_survived(text in "[{}a-cA-C=\"() ORNTAD]{0,40}|.{0,40}") {
            if let Some(search) = Search::read(&text) {
                search.term.holds("n", "m", &[]);
            }
        }
    }
}
