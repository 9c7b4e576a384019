//! Metric math, worked out: what an expression is worth.
//!
//! A function of one line is a number (`SUM(m1)`, over all its values) or a line (`RATE(m1)`); of a list of lines it is a line
//! (`SUM([m1, m2])`, at each time) or a list (`RATE(METRICS())`, of each). Two lines meet where both have a value; what has no
//! value (a division by zero) is left out. An expression of several lines is answered with all of them.

use std::collections::{BTreeMap, BTreeSet};

use gatemill_wire::Timestamp;

use crate::{
    error::Error,
    expression::{Expression, Function, Operator, wrong},
    limits::EXPRESSION_DEPTH_MAX,
    read::Span,
    statistic::shown,
};

/// Values of periods, by their begins.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    pub(crate) span: Span,
    /// What it is called in a list of lines.
    pub(crate) label: String,
    pub(crate) values: BTreeMap<i64, f64>,
}

/// What an expression is worth.
#[derive(Debug, Clone)]
enum Worth {
    Number(f64),
    Line(Line),
    Lines(Vec<Line>),
}

/// What expressions are made of.
#[derive(Debug, Default)]
pub(crate) struct Given<'a> {
    /// The lines of metrics, by id.
    pub(crate) metrics: BTreeMap<String, Line>,
    pub(crate) expressions: Option<&'a BTreeMap<String, Expression>>,
    /// What each `SEARCH` found, by the place of its arguments.
    pub(crate) searched: Vec<(&'a [Expression], Vec<Line>)>,
}

/// Works out expressions, each once.
pub(crate) struct Evaluation<'a> {
    given: Given<'a>,
    known: BTreeMap<String, Worth>,
    /// Those that are being worked out: an expression cannot be made of itself.
    open: BTreeSet<String>,
}

impl<'a> Evaluation<'a> {
    pub(crate) fn new(given: Given<'a>) -> Self {
        Self { given, known: BTreeMap::new(), open: BTreeSet::new() }
    }

    /// The lines of an id: one of a metric, any number of an expression.
    pub(crate) fn lines(&mut self, id: &str) -> Result<Vec<Line>, Error> {
        match self.of(id)? {
            Worth::Line(line) => Ok(vec![line]),
            Worth::Lines(lines) => Ok(lines),
            Worth::Number(_) => Err(wrong(id, "The expression must return a time series")),
        }
    }

    fn of(&mut self, id: &str) -> Result<Worth, Error> {
        if let Some(line) = self.given.metrics.get(id) {
            return Ok(Worth::Line(line.clone()));
        }
        if let Some(worth) = self.known.get(id) {
            return Ok(worth.clone());
        }
        let Some(expression) = self.given.expressions.and_then(|all| all.get(id)) else {
            return Err(wrong(id, "Unknown id"));
        };
        if self.open.len() >= EXPRESSION_DEPTH_MAX || !self.open.insert(id.to_owned()) {
            return Err(wrong(id, "The expression refers to itself, or is nested too deep"));
        }
        let worth = self.worth(expression, id)?;
        self.open.remove(id);
        self.known.insert(id.to_owned(), worth.clone());
        Ok(worth)
    }

    fn worth(&mut self, expression: &'a Expression, id: &str) -> Result<Worth, Error> {
        match expression {
            Expression::Number(number) => Ok(Worth::Number(*number)),
            Expression::Id(other) => {
                let all = self.given.expressions;
                let is_known = self.given.metrics.contains_key(other)
                    || all.is_some_and(|all| all.contains_key(other));
                if !is_known {
                    return Err(wrong(id, &format!("Unknown id '{}'", shown(other))));
                }
                self.of(other)
            }
            Expression::List(items) => {
                let mut lines = Vec::new();
                for item in items {
                    match self.worth(item, id)? {
                        Worth::Line(line) => lines.push(line),
                        Worth::Lines(more) => lines.extend(more),
                        Worth::Number(_) => return Err(wrong(id, "A list holds time series")),
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
            Expression::Text(_) | Expression::Word(_) => Err(wrong(id, "Invalid syntax")),
        }
    }

    fn called(
        &mut self,
        function: Function,
        items: &'a [Expression],
        id: &str,
    ) -> Result<Worth, Error> {
        let unsupported = || wrong(id, "Unsupported argument type");
        match function {
            Function::Metrics => return self.metrics(items.first()).ok_or_else(unsupported),
            Function::Search => {
                let found = self.given.searched.iter().find(|(of, _)| std::ptr::eq(*of, items));
                let lines = found.map(|(_, lines)| lines.clone());
                return lines.map(Worth::Lines).ok_or_else(unsupported);
            }
            Function::If => return self.chosen(items, id),
            _ => {}
        }
        let of = self.worth(items.first().ok_or_else(unsupported)?, id)?;
        let more: Vec<&Expression> = items.iter().skip(1).collect();
        match (function, of) {
            (Function::TimeSeries, Worth::Number(number)) => {
                let span = self.given.metrics.values().next().ok_or_else(unsupported)?.span;
                let values = span.begins().map(|at| (at, number)).collect();
                Ok(Worth::Line(Line { span, label: String::new(), values }))
            }
            (Function::Fill, Worth::Line(line)) => Ok(Worth::Line(self.filled(&line, &more, id)?)),
            (Function::Fill, Worth::Lines(lines)) => {
                let filled = lines.iter().map(|line| self.filled(line, &more, id));
                Ok(Worth::Lines(filled.collect::<Result<_, _>>()?))
            }
            (Function::Slice | Function::Sort, Worth::Lines(lines)) => {
                let part = match function {
                    Function::Slice => sliced(lines, &more),
                    _ => sorted(lines, &more),
                };
                part.map(Worth::Lines).ok_or_else(unsupported)
            }
            (function, Worth::Line(line)) => of_line(function, line).ok_or_else(unsupported),
            (function, Worth::Lines(lines)) => of_lines(function, lines).ok_or_else(unsupported),
            (function, Worth::Number(number)) => {
                let of = plain(function).ok_or_else(unsupported)?;
                Ok(Worth::Number(of(number)))
            }
        }
    }

    /// The metrics of the question, or those whose id has a text in it.
    fn metrics(&self, containing: Option<&Expression>) -> Option<Worth> {
        let part = match containing {
            None => "",
            Some(Expression::Text(text)) => text,
            Some(_) => return None,
        };
        let metrics = self.given.metrics.iter().filter(|(id, _)| id.contains(part));
        Some(Worth::Lines(metrics.map(|(_, line)| line.clone()).collect()))
    }

    /// `IF`: of each time of the condition one of two values, or of a number one of two.
    fn chosen(&mut self, items: &'a [Expression], id: &str) -> Result<Worth, Error> {
        let unsupported = || wrong(id, "Unsupported argument type");
        let [condition, is, rest @ ..] = items else { return Err(unsupported()) };
        let (condition, is) = (self.worth(condition, id)?, self.worth(is, id)?);
        let is_not = rest.first().map(|is_not| self.worth(is_not, id)).transpose()?;
        let condition = match condition {
            Worth::Line(line) => line,
            Worth::Number(number) if number != 0.0 => return Ok(is),
            Worth::Number(_) => return is_not.ok_or_else(unsupported),
            Worth::Lines(_) => return Err(unsupported()),
        };
        let at = |worth: &Worth, at: i64| match worth {
            Worth::Number(number) => Ok(Some(*number)),
            Worth::Line(line) => Ok(line.values.get(&at).copied()),
            Worth::Lines(_) => Err(unsupported()),
        };
        let mut values = BTreeMap::new();
        for (time, holds) in &condition.values {
            let value = if *holds == 0.0 {
                is_not.as_ref().map(|is_not| at(is_not, *time)).transpose()?.flatten()
            } else {
                at(&is, *time)?
            };
            values.extend(value.map(|value| (*time, value)));
        }
        Ok(Worth::Line(Line { values, ..condition }))
    }

    /// Gives every period a value: a number, that of another line, the last before, or what lies between its neighbours.
    fn filled(&mut self, line: &Line, with: &[&'a Expression], id: &str) -> Result<Line, Error> {
        let unsupported = || wrong(id, "Unsupported argument type");
        let other = match *with.first().ok_or_else(unsupported)? {
            Expression::Word(word) if word == "REPEAT" => {
                let mut last = None;
                return Ok(fill(line, |at| {
                    last = line.values.get(&at).copied().or(last);
                    last
                }));
            }
            Expression::Word(word) if word == "LINEAR" => {
                return Ok(fill(line, |at| between(line, at)));
            }
            other => self.worth(other, id)?,
        };
        match other {
            Worth::Number(number) => Ok(fill(line, |_| Some(number))),
            Worth::Line(other) => Ok(fill(line, |at| other.values.get(&at).copied())),
            Worth::Lines(_) => Err(unsupported()),
        }
    }
}

fn fill(line: &Line, mut with: impl FnMut(i64) -> Option<f64>) -> Line {
    let values = line.span.begins().filter_map(|at| {
        let instead = with(at);
        Some((at, line.values.get(&at).copied().or(instead)?))
    });
    Line { values: values.collect(), ..line.clone() }
}

/// The value on the way from the one before to the one after.
#[allow(clippy::cast_precision_loss, reason = "times are far below 2^53 seconds")]
fn between(line: &Line, at: i64) -> Option<f64> {
    let (before, from) = line.values.range(..at).next_back()?;
    let (after, to) = line.values.range(at..).next()?;
    Some(from + (to - from) * ((at - before) as f64 / (after - before) as f64))
}

/// What a function makes of one line.
fn of_line(function: Function, line: Line) -> Option<Worth> {
    let values: Vec<f64> = line.values.values().copied().collect();
    if let Some(reduce) = reduction(function) {
        return Some(Worth::Number(reduce(&values).unwrap_or(0.0)));
    }
    #[allow(clippy::cast_precision_loss, reason = "a period is far below 2^53 seconds")]
    match function {
        Function::Period => Some(Worth::Number(line.span.period as f64)),
        Function::MetricCount => Some(Worth::Number(1.0)),
        _ => each(function, line).map(Worth::Line),
    }
}

/// What a function makes of a list of lines.
fn of_lines(function: Function, lines: Vec<Line>) -> Option<Worth> {
    if let Some(reduce) = reduction(function) {
        return Some(match across(reduce, &lines) {
            Some(line) => Worth::Line(line),
            None => Worth::Lines(Vec::new()),
        });
    }
    #[allow(clippy::cast_precision_loss, reason = "there are far fewer than 2^53 lines")]
    Some(match function {
        Function::MetricCount => Worth::Number(lines.len() as f64),
        Function::First => Worth::Line(lines.into_iter().next()?),
        Function::Last => Worth::Line(lines.into_iter().next_back()?),
        Function::RemoveEmpty => {
            Worth::Lines(lines.into_iter().filter(|line| !line.values.is_empty()).collect())
        }
        _ => {
            Worth::Lines(lines.into_iter().map(|line| each(function, line)).collect::<Option<_>>()?)
        }
    })
}

/// Many values become one; none where there is nothing to say.
type Reduction = fn(&[f64]) -> Option<f64>;

/// What a function makes of many values.
fn reduction(function: Function) -> Option<Reduction> {
    #[allow(clippy::cast_precision_loss, reason = "there are far fewer than 2^53")]
    fn average(values: &[f64]) -> Option<f64> {
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    }
    let reduce: Reduction = match function {
        Function::Sum => |values| (!values.is_empty()).then(|| values.iter().sum()),
        Function::Avg => average,
        Function::Min => |values| values.iter().copied().reduce(f64::min),
        Function::Max => |values| values.iter().copied().reduce(f64::max),
        Function::Stddev => |values| {
            let mean = average(values)?;
            let squares: Vec<f64> = values.iter().map(|value| (value - mean).powi(2)).collect();
            average(&squares).map(f64::sqrt)
        },
        #[allow(clippy::cast_precision_loss, reason = "there are far fewer than 2^53")]
        Function::DatapointCount => |values| Some(values.len() as f64),
        _ => return None,
    };
    Some(reduce)
}

/// What a function makes of a number.
fn plain(function: Function) -> Option<fn(f64) -> f64> {
    let of: fn(f64) -> f64 = match function {
        Function::Abs => f64::abs,
        Function::Ceil => f64::ceil,
        Function::Floor => f64::floor,
        Function::Log => f64::ln,
        Function::Log10 => f64::log10,
        _ => return None,
    };
    Some(of)
}

/// A line of a line: of its values, of their distances, or of their times.
fn each(function: Function, line: Line) -> Option<Line> {
    if let Some(of) = plain(function) {
        return Some(mapped(line, |_, value| of(value)));
    }
    #[allow(clippy::cast_precision_loss, reason = "times are far below 2^53 seconds")]
    Some(match function {
        Function::Rate => steps(line, |by, seconds| by / seconds),
        Function::Diff => steps(line, |by, _| by),
        Function::DiffTime => steps(line, |_, seconds| seconds),
        Function::RunningSum => {
            let mut sum = 0.0;
            mapped(line, |_, value| {
                sum += value;
                sum
            })
        }
        Function::Epoch => mapped(line, |at, _| at as f64),
        // 1970 began on a Thursday; the week begins with Monday, which is 1.
        Function::Day => {
            mapped(line, |at, _| ((at.div_euclid(86_400) + 3).rem_euclid(7) + 1) as f64)
        }
        Function::Minute => mapped(line, |at, _| of_calendar(at, 14..16)),
        Function::Hour => mapped(line, |at, _| of_calendar(at, 11..13)),
        Function::Date => mapped(line, |at, _| of_calendar(at, 8..10)),
        Function::Month => mapped(line, |at, _| of_calendar(at, 5..7)),
        Function::Year => mapped(line, |at, _| of_calendar(at, 0..4)),
        _ => return None,
    })
}

/// A part of a time as it is written: `2026-11-28T23:30:00`.
fn of_calendar(at: i64, part: std::ops::Range<usize>) -> f64 {
    let text = Timestamp(at.saturating_mul(1_000)).iso8601_millis();
    text.get(part).and_then(|digits| digits.parse().ok()).unwrap_or(f64::NAN)
}

/// From one value to the next: how much, and how many seconds.
fn steps(line: Line, of: impl Fn(f64, f64) -> f64) -> Line {
    let pairs = line.values.iter().zip(line.values.iter().skip(1));
    #[allow(clippy::cast_precision_loss, reason = "times are far below 2^53 seconds")]
    let steps = pairs.map(|((before, from), (at, to))| (*at, of(to - from, (at - before) as f64)));
    Line { values: steps.collect(), ..line }
}

/// One line of several: of each time, what the lines that have a value there come to.
fn across(reduce: fn(&[f64]) -> Option<f64>, lines: &[Line]) -> Option<Line> {
    let first = lines.first()?;
    let times: BTreeSet<i64> = lines.iter().flat_map(|line| line.values.keys().copied()).collect();
    let values = times.into_iter().filter_map(|at| {
        let values: Vec<f64> =
            lines.iter().filter_map(|line| line.values.get(&at).copied()).collect();
        Some((at, reduce(&values)?))
    });
    Some(Line { span: first.span, label: String::new(), values: values.collect() })
}

fn mapped(line: Line, mut of: impl FnMut(i64, f64) -> f64) -> Line {
    let values = line.values.into_iter().map(|(at, value)| (at, of(at, value)));
    let values = values.filter(|(_, value)| value.is_finite()).collect();
    Line { span: line.span, label: line.label, values }
}

/// Some lines of a list: `SLICE(list, from, before)`.
fn sliced(lines: Vec<Line>, of: &[&Expression]) -> Option<Vec<Line>> {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    let number = |expression: &Expression| match expression {
        Expression::Number(number) => Some(*number as usize),
        _ => None,
    };
    let from = number(of.first()?)?;
    let before = match of.get(1) {
        Some(before) => number(before)?,
        None => usize::MAX,
    };
    Some(lines.into_iter().take(before).skip(from).collect())
}

/// A list in order: `SORT(list, SUM, DESC)`.
fn sorted(lines: Vec<Line>, by: &[&Expression]) -> Option<Vec<Line>> {
    let word = |expression: &&Expression| match expression {
        Expression::Word(word) => Some(word.clone()),
        _ => None,
    };
    let reduce = reduction(match word(by.first()?)?.as_str() {
        "AVG" => Function::Avg,
        "MAX" => Function::Max,
        "MIN" => Function::Min,
        "SUM" => Function::Sum,
        _ => return None,
    })?;
    let newest_first = match by.get(1).map(word) {
        None => false,
        Some(order) => match order?.as_str() {
            "ASC" => false,
            "DESC" => true,
            _ => return None,
        },
    };
    let size = |line: &Line| {
        let values: Vec<f64> = line.values.values().copied().collect();
        reduce(&values).unwrap_or(f64::NEG_INFINITY)
    };
    let mut lines = lines;
    lines.sort_by(|a, b| size(a).total_cmp(&size(b)));
    if newest_first {
        lines.reverse();
    }
    Some(lines)
}

fn combined(left: Worth, operator: Operator, right: Worth) -> Option<Worth> {
    let apply = |left: f64, right: f64| operate(left, operator, right);
    Some(match (left, right) {
        (Worth::Number(left), Worth::Number(right)) => {
            Worth::Number(Some(apply(left, right)).filter(|number| number.is_finite())?)
        }
        (Worth::Line(line), Worth::Number(right)) => {
            Worth::Line(mapped(line, |_, it| apply(it, right)))
        }
        (Worth::Number(left), Worth::Line(line)) => {
            Worth::Line(mapped(line, |_, it| apply(left, it)))
        }
        (Worth::Line(left), Worth::Line(right)) => {
            let both = left.values.iter().filter_map(|(at, value)| {
                let value = apply(*value, *right.values.get(at)?);
                value.is_finite().then_some((*at, value))
            });
            let values = both.collect();
            Worth::Line(Line { values, ..left })
        }
        (Worth::Lines(_), Worth::Lines(_)) => return None,
        (Worth::Lines(lines), right) => all(lines, |line| combined(line, operator, right.clone()))?,
        (left, Worth::Lines(lines)) => all(lines, |line| {
            let label = match &line {
                Worth::Line(line) => line.label.clone(),
                _ => String::new(),
            };
            match combined(left.clone(), operator, line)? {
                Worth::Line(line) => Some(Worth::Line(Line { label, ..line })),
                other => Some(other),
            }
        })?,
    })
}

/// The same of every line of a list.
fn all(lines: Vec<Line>, of: impl Fn(Worth) -> Option<Worth>) -> Option<Worth> {
    let made = lines.into_iter().map(|line| match of(Worth::Line(line))? {
        Worth::Line(line) => Some(line),
        Worth::Number(_) | Worth::Lines(_) => None,
    });
    made.collect::<Option<_>>().map(Worth::Lines)
}

#[allow(clippy::float_cmp, reason = "the question is whether they are the same")]
fn operate(left: f64, operator: Operator, right: f64) -> f64 {
    let yes = |holds: bool| f64::from(u8::from(holds));
    match operator {
        Operator::Plus => left + right,
        Operator::Minus => left - right,
        Operator::Times => left * right,
        Operator::Over => left / right,
        Operator::Power => left.powf(right),
        Operator::Equal => yes(left == right),
        Operator::NotEqual => yes(left != right),
        Operator::Less => yes(left < right),
        Operator::LessOrEqual => yes(left <= right),
        Operator::Greater => yes(left > right),
        Operator::GreaterOrEqual => yes(left >= right),
        Operator::And => yes(left != 0.0 && right != 0.0),
        Operator::Or => yes(left != 0.0 || right != 0.0),
    }
}

#[cfg(test)]
#[path = "evaluation_tests.rs"]
mod tests;
