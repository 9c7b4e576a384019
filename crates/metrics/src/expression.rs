//! Metric math: expressions over lines of values.
//!
//! Built are numbers, ids, `+ - * /`, signs and parentheses, and the functions `ABS`, `AVG`, `FILL`, `MAX`, `MIN`, `PERIOD`, `RATE`
//! and `SUM`. Functions that AWS has besides are refused by their names.
//!
//! A function of one line is a number (`SUM(m1)`, over all its values); of a list of lines (`SUM([m1, m2])`) it is a line. Two
//! lines meet where both have a value; what has no value (a division by zero) is left out.

use std::collections::{BTreeMap, BTreeSet};

use crate::{error::Error, gaps, limits::EXPRESSION_DEPTH_MAX, read::Span, statistic::shown};

/// Values of periods, by their begins.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    pub(crate) span: Span,
    pub(crate) values: BTreeMap<i64, f64>,
}

/// An expression, read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expression {
    Number(f64),
    Id(String),
    List(Vec<Expression>),
    Call(Function, Vec<Expression>),
    Operation(Box<Expression>, Operator, Box<Expression>),
    /// How `FILL` fills with what was before.
    Repeat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Plus,
    Minus,
    Times,
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Abs,
    Avg,
    Fill,
    Max,
    Min,
    Period,
    Rate,
    Sum,
}

/// The functions that AWS has besides.
const NOT_BUILT: [&str; 28] = [
    "ANOMALY_DETECTION_BAND",
    "CEIL",
    "DATAPOINT_COUNT",
    "DB_PERF_INSIGHTS",
    "DIFF",
    "DIFF_TIME",
    "EPOCH",
    "DAY",
    "DATE",
    "FIRST",
    "FLOOR",
    "HOUR",
    "IF",
    "INSIGHT_RULE_METRIC",
    "LAMBDA",
    "LAST",
    "LOG",
    "LOG10",
    "METRICS",
    "METRIC_COUNT",
    "MINUTE",
    "MONTH",
    "REMOVE_EMPTY",
    "RUNNING_SUM",
    "SEARCH",
    "SERVICE_QUOTA",
    "SLICE",
    "SORT",
];

impl Expression {
    /// Reads an expression; `id` is its own, for messages.
    pub(crate) fn read(text: &str, id: &str) -> Result<Self, Error> {
        let mut parser = Parser { rest: text, id };
        let expression = parser.sum(0)?;
        parser.space();
        if parser.rest.is_empty() { Ok(expression) } else { Err(parser.wrong("Invalid syntax")) }
    }
}

struct Parser<'a> {
    rest: &'a str,
    id: &'a str,
}

impl<'a> Parser<'a> {
    fn wrong(&self, why: &str) -> Error {
        wrong(self.id, why)
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, symbol: char) -> bool {
        self.space();
        let rest = self.rest.strip_prefix(symbol);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn sum(&mut self, depth: usize) -> Result<Expression, Error> {
        if depth > EXPRESSION_DEPTH_MAX {
            return Err(self.wrong("The expression is nested too deep"));
        }
        let mut left = self.product(depth)?;
        loop {
            let operator = if self.eat('+') {
                Operator::Plus
            } else if self.eat('-') {
                Operator::Minus
            } else {
                return Ok(left);
            };
            left = Expression::Operation(Box::new(left), operator, Box::new(self.product(depth)?));
        }
    }

    fn product(&mut self, depth: usize) -> Result<Expression, Error> {
        let mut left = self.signed(depth)?;
        loop {
            let operator = if self.eat('*') {
                Operator::Times
            } else if self.eat('/') {
                Operator::Over
            } else {
                return Ok(left);
            };
            left = Expression::Operation(Box::new(left), operator, Box::new(self.signed(depth)?));
        }
    }

    fn signed(&mut self, depth: usize) -> Result<Expression, Error> {
        if depth > EXPRESSION_DEPTH_MAX {
            return Err(self.wrong("The expression is nested too deep"));
        }
        if self.eat('-') {
            let (zero, inner) = (Expression::Number(0.0), self.signed(depth + 1)?);
            return Ok(Expression::Operation(Box::new(zero), Operator::Minus, Box::new(inner)));
        }
        self.atom(depth)
    }

    fn atom(&mut self, depth: usize) -> Result<Expression, Error> {
        if self.eat('(') {
            let inner = self.sum(depth + 1)?;
            return if self.eat(')') { Ok(inner) } else { Err(self.wrong("Invalid syntax")) };
        }
        if self.eat('[') {
            return Ok(Expression::List(self.items(']', depth)?));
        }
        let word = self.word();
        if word.is_empty() {
            return Err(self.wrong("Invalid syntax"));
        }
        if word.starts_with(|first: char| first.is_ascii_digit()) {
            let number = word.parse::<f64>().ok().filter(|number| number.is_finite());
            return number.map(Expression::Number).ok_or_else(|| self.wrong("Invalid syntax"));
        }
        if self.eat('(') {
            return self.call(word, depth);
        }
        match word {
            "REPEAT" => Ok(Expression::Repeat),
            "LINEAR" => Err(Error::NotBuiltNamed {
                gap: &gaps::EXPRESSION,
                what: "LINEAR in FILL".to_owned(),
            }),
            word if word.starts_with(|first: char| first.is_ascii_lowercase()) => {
                Ok(Expression::Id(word.to_owned()))
            }
            _ => Err(self.wrong("Invalid syntax")),
        }
    }

    fn call(&mut self, name: &str, depth: usize) -> Result<Expression, Error> {
        let (function, least, most) = match name {
            "ABS" => (Function::Abs, 1, 1),
            "AVG" => (Function::Avg, 1, 1),
            "FILL" => (Function::Fill, 2, 2),
            "MAX" => (Function::Max, 1, 1),
            "MIN" => (Function::Min, 1, 1),
            "PERIOD" => (Function::Period, 1, 1),
            "RATE" => (Function::Rate, 1, 1),
            "SUM" => (Function::Sum, 1, 1),
            name if NOT_BUILT.contains(&name) => {
                return Err(Error::NotBuiltNamed {
                    gap: &gaps::EXPRESSION,
                    what: format!("The function {name} of metric math"),
                });
            }
            name => {
                let why = format!("The function {} is not supported", shown(name));
                return Err(self.wrong(&why));
            }
        };
        let items = self.items(')', depth)?;
        if (least..=most).contains(&items.len()) {
            Ok(Expression::Call(function, items))
        } else {
            Err(self.wrong(&format!("Wrong number of arguments of {name}")))
        }
    }

    fn items(&mut self, end: char, depth: usize) -> Result<Vec<Expression>, Error> {
        let mut items = Vec::new();
        if self.eat(end) {
            return Ok(items);
        }
        loop {
            items.push(self.sum(depth + 1)?);
            if self.eat(end) {
                return Ok(items);
            }
            if !self.eat(',') {
                return Err(self.wrong("Invalid syntax"));
            }
        }
    }

    fn word(&mut self) -> &'a str {
        self.space();
        let end = self
            .rest
            .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_' && letter != '.');
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }
}

fn wrong(id: &str, why: &str) -> Error {
    Error::Validation(format!("Error in expression '{}': {why}", shown(id)))
}

/// What an expression is worth.
#[derive(Debug, Clone)]
enum Worth {
    Number(f64),
    Line(Line),
    Lines(Vec<Line>),
}

/// Works out expressions, each once.
pub(crate) struct Evaluation<'a> {
    known: BTreeMap<String, Line>,
    expressions: &'a BTreeMap<String, Expression>,
    /// Those that are being worked out: an expression cannot be made of itself.
    open: BTreeSet<String>,
}

impl<'a> Evaluation<'a> {
    /// With the lines of metrics.
    pub(crate) fn new(
        known: BTreeMap<String, Line>,
        expressions: &'a BTreeMap<String, Expression>,
    ) -> Self {
        Self { known, expressions, open: BTreeSet::new() }
    }

    /// The line of an id.
    pub(crate) fn line(&mut self, id: &str) -> Result<Line, Error> {
        if let Some(line) = self.known.get(id) {
            return Ok(line.clone());
        }
        let Some(expression) = self.expressions.get(id) else {
            return Err(wrong(id, "Unknown id"));
        };
        if self.open.len() >= EXPRESSION_DEPTH_MAX || !self.open.insert(id.to_owned()) {
            return Err(wrong(id, "The expression refers to itself, or is nested too deep"));
        }
        let worth = self.worth(expression, id)?;
        self.open.remove(id);
        match worth {
            Worth::Line(line) => {
                self.known.insert(id.to_owned(), line.clone());
                Ok(line)
            }
            Worth::Number(_) => Err(wrong(id, "The expression must return a time series")),
            Worth::Lines(_) => Err(Error::NotBuiltNamed {
                gap: &gaps::EXPRESSION,
                what: "An expression of several lines".to_owned(),
            }),
        }
    }

    fn worth(&mut self, expression: &Expression, id: &str) -> Result<Worth, Error> {
        match expression {
            Expression::Number(number) => Ok(Worth::Number(*number)),
            Expression::Id(other) => {
                if !self.known.contains_key(other) && !self.expressions.contains_key(other) {
                    let why = format!("Unknown id '{}'", shown(other));
                    return Err(wrong(id, &why));
                }
                self.line(other).map(Worth::Line)
            }
            Expression::List(items) => {
                let mut lines = Vec::new();
                for item in items {
                    match self.worth(item, id)? {
                        Worth::Line(line) => lines.push(line),
                        _ => return Err(wrong(id, "A list holds time series")),
                    }
                }
                Ok(Worth::Lines(lines))
            }
            Expression::Operation(left, operator, right) => {
                let (left, right) = (self.worth(left, id)?, self.worth(right, id)?);
                combined(left, *operator, right)
                    .ok_or_else(|| wrong(id, "Unsupported operand type"))
            }
            Expression::Call(function, items) => self.called(*function, items, id),
            Expression::Repeat => Err(wrong(id, "Invalid syntax")),
        }
    }

    fn called(
        &mut self,
        function: Function,
        items: &[Expression],
        id: &str,
    ) -> Result<Worth, Error> {
        let unsupported = || wrong(id, "Unsupported argument type");
        let first = items.first().ok_or_else(unsupported)?;
        let of = self.worth(first, id)?;
        Ok(match (function, of) {
            (Function::Sum | Function::Avg | Function::Min | Function::Max, Worth::Line(line)) => {
                let values: Vec<f64> = line.values.values().copied().collect();
                Worth::Number(reduced(function, &values).unwrap_or(0.0))
            }
            (
                Function::Sum | Function::Avg | Function::Min | Function::Max,
                Worth::Lines(lines),
            ) => Worth::Line(across(function, &lines).ok_or_else(unsupported)?),
            (Function::Abs, Worth::Number(number)) => Worth::Number(number.abs()),
            (Function::Abs, Worth::Line(line)) => Worth::Line(mapped(line, f64::abs)),
            (Function::Period, Worth::Line(line)) =>
            {
                #[allow(clippy::cast_precision_loss, reason = "a period is far below 2^53 seconds")]
                Worth::Number(line.span.period as f64)
            }
            (Function::Rate, Worth::Line(line)) => Worth::Line(rate(&line)),
            (Function::Fill, Worth::Line(line)) => {
                let with = match items.get(1) {
                    Some(Expression::Repeat) => None,
                    Some(with) => match self.worth(with, id)? {
                        Worth::Number(number) => Some(number),
                        _ => return Err(unsupported()),
                    },
                    None => return Err(unsupported()),
                };
                Worth::Line(filled(&line, with))
            }
            _ => return Err(unsupported()),
        })
    }
}

fn reduced(function: Function, values: &[f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let sum = || values.iter().sum::<f64>();
    Some(match function {
        #[allow(clippy::cast_precision_loss, reason = "there are far fewer than 2^53")]
        Function::Avg => sum() / values.len() as f64,
        Function::Min => values.iter().copied().fold(f64::INFINITY, f64::min),
        Function::Max => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        _ => sum(),
    })
}

/// One line of several: of each period, what the lines that have a value there come to.
fn across(function: Function, lines: &[Line]) -> Option<Line> {
    let span = lines.first()?.span;
    let times: BTreeSet<i64> = lines.iter().flat_map(|line| line.values.keys().copied()).collect();
    let values = times.into_iter().filter_map(|at| {
        let values: Vec<f64> =
            lines.iter().filter_map(|line| line.values.get(&at).copied()).collect();
        Some((at, reduced(function, &values)?))
    });
    Some(Line { span, values: values.collect() })
}

fn mapped(line: Line, of: impl Fn(f64) -> f64) -> Line {
    let values = line.values.into_iter().map(|(at, value)| (at, of(value)));
    Line { span: line.span, values: values.filter(|(_, value)| value.is_finite()).collect() }
}

fn combined(left: Worth, operator: Operator, right: Worth) -> Option<Worth> {
    let apply = |left: f64, right: f64| match operator {
        Operator::Plus => left + right,
        Operator::Minus => left - right,
        Operator::Times => left * right,
        Operator::Over => left / right,
    };
    Some(match (left, right) {
        (Worth::Number(left), Worth::Number(right)) => {
            Worth::Number(Some(apply(left, right)).filter(|number| number.is_finite())?)
        }
        (Worth::Line(line), Worth::Number(right)) => {
            Worth::Line(mapped(line, |it| apply(it, right)))
        }
        (Worth::Number(left), Worth::Line(line)) => Worth::Line(mapped(line, |it| apply(left, it))),
        (Worth::Line(left), Worth::Line(right)) => {
            let both = left.values.iter().filter_map(|(at, value)| {
                let value = apply(*value, *right.values.get(at)?);
                value.is_finite().then_some((*at, value))
            });
            Worth::Line(Line { span: left.span, values: both.collect() })
        }
        _ => return None,
    })
}

/// How fast values change, a second.
fn rate(line: &Line) -> Line {
    let pairs = line.values.iter().zip(line.values.iter().skip(1));
    #[allow(clippy::cast_precision_loss, reason = "times are far below 2^53 seconds")]
    let rates = pairs.map(|((before, from), (at, to))| (*at, (to - from) / (at - before) as f64));
    Line { span: line.span, values: rates.collect() }
}

/// Gives every period a value: this one, or the last before.
fn filled(line: &Line, with: Option<f64>) -> Line {
    let mut last = None;
    let values = line.span.begins().filter_map(|at| {
        last = line.values.get(&at).copied().or(with).or(last);
        Some((at, last?))
    });
    let values = values.collect();
    Line { span: line.span, values }
}

#[cfg(test)]
#[path = "expression_tests.rs"]
mod tests;
