//! What a field is compared with: a number, a text with wildcards, or a regular expression.

use super::{
    invalid,
    regex::{self, Regex},
};
use crate::Error;

/// How a field is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Operator {
    /// Reads an operator at the start of a text.
    pub(super) fn read(text: &str) -> Option<(Self, &str)> {
        const ALL: [(&str, Operator); 6] = [
            ("!=", Operator::NotEqual),
            ("<=", Operator::LessOrEqual),
            (">=", Operator::GreaterOrEqual),
            ("=", Operator::Equal),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ];
        ALL.iter().find_map(|(sign, operator)| Some((*operator, text.strip_prefix(sign)?)))
    }

    fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}

/// A comparison with a constant.
#[derive(Debug)]
pub(super) struct Comparison {
    operator: Operator,
    operand: Operand,
}

#[derive(Debug)]
enum Operand {
    Number(f64),
    Text(Wildcards),
    Regex(Regex),
}

impl Comparison {
    /// Reads the constant after an operator. A bare word ends where `ends` says.
    pub(super) fn read(
        operator: Operator,
        text: &str,
        ends: impl Fn(char) -> bool,
    ) -> Result<(Self, &str), Error> {
        let text = text.trim_start();
        let (operand, rest) = if let Some(inside) = text.strip_prefix('"') {
            let (phrase, rest) = quoted(inside).ok_or_else(invalid)?;
            (Operand::Text(Wildcards::new(&phrase)), rest)
        } else if let Some(inside) = text.strip_prefix('%') {
            let (regex, rest) = regex::split(inside).ok_or_else(invalid)?;
            (Operand::Regex(Regex::new(regex)?), rest)
        } else {
            let end = text.find(ends).unwrap_or(text.len());
            let (word, rest) = text.split_at(end);
            if word.is_empty() {
                return Err(invalid());
            }
            (
                number(word).map_or_else(|| Operand::Text(Wildcards::new(word)), Operand::Number),
                rest,
            )
        };
        let ordered = !matches!(operator, Operator::Equal | Operator::NotEqual);
        if ordered && !matches!(operand, Operand::Number(_)) {
            return Err(invalid());
        }
        Ok((Self { operator, operand }, rest))
    }

    /// Whether the constant is a regular expression.
    pub(super) fn is_regex(&self) -> bool {
        matches!(self.operand, Operand::Regex(_))
    }

    /// Compares a field: its text, and its number where it is one.
    pub(super) fn holds(&self, text: &str, number: Option<f64>) -> bool {
        let equal = match &self.operand {
            Operand::Number(right) => {
                return match number {
                    Some(left) => self.operator.holds(left, *right),
                    None => self.operator == Operator::NotEqual,
                };
            }
            Operand::Text(wildcards) => wildcards.matches(text),
            Operand::Regex(regex) => regex.matches(text),
        };
        equal == (self.operator == Operator::Equal)
    }
}

/// A number as patterns write it: decimal, with a sign and an exponent at most.
pub(super) fn number(text: &str) -> Option<f64> {
    let plain = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | 'e' | 'E');
    text.chars().all(plain).then(|| text.parse().ok()).flatten()
}

/// A text in which `*` stands for any characters.
#[derive(Debug)]
struct Wildcards(Vec<String>);

impl Wildcards {
    fn new(text: &str) -> Self {
        Self(text.split('*').map(str::to_owned).collect())
    }

    fn matches(&self, text: &str) -> bool {
        let [first, middle @ .., last] = self.0.as_slice() else {
            return self.0.first().is_some_and(|only| only == text);
        };
        let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
        for part in middle {
            let Some(at) = rest.find(part.as_str()) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last.as_str())
    }
}

/// Splits the text after an opening quote at the closing one; `\"` and `\\` stand for themselves.
pub(super) fn quoted(text: &str) -> Option<(String, &str)> {
    let mut inside = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((inside, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                escaped @ ('"' | '\\') => inside.push(escaped),
                other => inside.extend(['\\', other]),
            },
            c => inside.push(c),
        }
    }
    None
}
