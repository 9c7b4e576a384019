//! Selection expressions: which route a message takes, which integration response an answer, which template either.
//!
//! `$request.body.action`, `${request.body.service}/${request.body.action}`, or a text of its own (`\$default`). They
//! are read once, when an API is compiled, and evaluated in one pass: what a variable holds is not looked at again.

use std::fmt::Write as _;

use serde_json::Value;

use crate::limits::{PATTERN_STEPS_MAX, SELECTION_BYTES_MAX};

/// A selection expression, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selection(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// The name without the dollar, such as `request.body.action`.
    Variable(String),
}

/// Where variables come from.
const ROOTS: [&str; 5] =
    ["request.", "context.", "stageVariables.", "integration.response.", "route.request."];

impl Selection {
    /// Reads an expression; `None` when it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > SELECTION_BYTES_MAX {
            return None;
        }
        if text == DEFAULT {
            return Some(Self(vec![Piece::Text(text.to_owned())]));
        }
        let (mut pieces, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['$', '\\']) {
            let (before, found) = rest.split_at(at);
            plain.push_str(before);
            if let Some(after) = found.strip_prefix("\\$") {
                plain.push('$');
                rest = after;
                continue;
            }
            if let Some(after) = found.strip_prefix('\\') {
                plain.push('\\');
                rest = after;
                continue;
            }
            let (name, after) = variable(&found[1..])?;
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Variable(name.to_owned()));
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Some(Self(pieces))
    }

    /// The expression's value; `lookup` says what a variable holds, or nothing.
    pub(crate) fn evaluate(&self, lookup: impl Fn(&str) -> String) -> String {
        let mut value = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => value.push_str(text),
                Piece::Variable(name) => value.push_str(&lookup(name)),
            }
        }
        value
    }
}

/// The name that begins here, and what follows it.
fn variable(text: &str) -> Option<(&str, &str)> {
    let (name, after) = match text.strip_prefix('{') {
        Some(inner) => inner.split_once('}')?,
        None => {
            let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-[]".contains(&byte);
            text.split_at(text.bytes().position(|byte| !legal(byte)).unwrap_or(text.len()))
        }
    };
    let known = |root: &str| {
        name.strip_prefix(root).is_some_and(|rest| !rest.is_empty() && !rest.starts_with('.'))
    };
    ROOTS.into_iter().any(known).then_some((name, after))
}

/// What a path such as `a.b[0].c` leads to; the whole value for an empty one.
pub(crate) fn at_path<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    let mut value = value;
    for step in path.split(['.', '[']).filter(|step| !step.is_empty()) {
        value = match step.strip_suffix(']') {
            Some(index) => value.get(index.parse::<usize>().ok()?)?,
            None => value.get(step)?,
        };
    }
    Some(value)
}

/// A value as text: strings as they are, lists as `[a, b]`, and nothing for what is not there.
pub(crate) fn text_of(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => {
            let mut text = String::from("[");
            for (nth, item) in items.iter().enumerate() {
                let _ = write!(text, "{}{}", if nth > 0 { ", " } else { "" }, text_of(Some(item)));
            }
            text + "]"
        }
        Some(other) => other.to_string(),
    }
}

const DEFAULT: &str = "$default";

/// The key of an integration response: `$default`, a text, or a pattern between slashes.
#[derive(Debug, Clone)]
pub(crate) enum KeyPattern {
    Default,
    Text(String),
    Pattern(Box<fancy_regex::Regex>),
}

impl KeyPattern {
    /// Reads a key; `None` when its pattern is none.
    pub(crate) fn parse(key: &str) -> Option<Self> {
        if key.len() > SELECTION_BYTES_MAX {
            return None;
        }
        let pattern = key.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
        match pattern {
            _ if key == DEFAULT => Some(Self::Default),
            None => Some(Self::Text(key.to_owned())),
            Some(pattern) => {
                // The whole text has to match, as in Java.
                let whole = format!("^(?:{pattern})$");
                let regex = fancy_regex::RegexBuilder::new(&whole)
                    .backtrack_limit(PATTERN_STEPS_MAX)
                    .build();
                Some(Self::Pattern(Box::new(regex.ok()?)))
            }
        }
    }

    /// Whether a value is meant. A pattern that takes too long means nothing.
    pub(crate) fn fits(&self, value: &str) -> bool {
        match self {
            Self::Default => false,
            Self::Text(text) => text == value,
            Self::Pattern(regex) => regex.is_match(value).unwrap_or(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn select(expression: &str, body: &Value) -> Option<String> {
        let selection = Selection::parse(expression)?;
        Some(selection.evaluate(|name| {
            let path = name.strip_prefix("request.body").unwrap_or("none");
            text_of(at_path(body, path))
        }))
    }

    #[test]
    fn expressions_select() {
        let body = json!({"action": "join", "service": "chat", "n": 7, "list": ["a", "b"], "deep": {"x": [{"y": true}]}});
        for (expression, selected) in [
            ("$request.body.action", "join"),
            ("${request.body.service}/${request.body.action}", "chat/join"),
            ("$request.body.service/$request.body.action", "chat/join"),
            ("$request.body.service.none", ""),
            ("$request.body.none", ""),
            ("$request.body.n", "7"),
            ("$request.body.list", "[a, b]"),
            ("$request.body.list[1]", "b"),
            ("$request.body.deep.x[0].y", "true"),
            ("\\$default", "$default"),
            ("$default", "$default"),
            ("fixed", "fixed"),
            ("a\\b", "a\\b"),
            ("x-${request.body.action}-\\$", "x-join-$"),
        ] {
            assert_eq!(select(expression, &body).as_deref(), Some(selected), "{expression}");
        }
        for expression in
            ["", "$", "${", "${}", "$x", "$request", "$request.", "${request.body.a", "$body.a"]
        {
            assert_eq!(Selection::parse(expression), None, "{expression:?}");
        }
    }

    #[test]
    fn what_a_variable_holds_is_no_expression() {
        let body = json!({"action": "${request.body.other}", "other": "x"});
        assert_eq!(select("$request.body.action", &body).unwrap(), "${request.body.other}");
    }

    #[test]
    fn keys_of_responses() {
        let fits =
            |key: &str, value: &str| KeyPattern::parse(key).is_some_and(|key| key.fits(value));
        assert!(fits("200", "200") && !fits("200", "2000"));
        assert!(
            fits("/2\\d\\d/", "204") && !fits("/2\\d\\d/", "2044") && !fits("/2\\d\\d/", "500")
        );
        assert!(!fits("$default", "200") && KeyPattern::parse("/(/").is_none());
        assert!(!fits("/(a+)+$/", &("a".repeat(60) + "b")), "bounded");
    }

    proptest! {
        #[test]
        fn hostile_expressions_do_no_harm(text in "\\PC{0,40}", body in "\\PC{0,20}") {
            if let Some(selection) = Selection::parse(&text) {
                let _ = selection.evaluate(|_| body.clone());
            }
            let _ = KeyPattern::parse(&text).map(|key| key.fits(&body));
            let _ = at_path(&json!({"a": [1]}), &text);
        }
    }
}
