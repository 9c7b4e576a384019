//! Metric math, read: expressions over lines of values.
//!
//! Built are numbers, ids, lists, the operators of CloudWatch (`^ * / + -`, comparisons, `AND` and `OR`), parentheses, and the
//! functions of [`Function`]. Functions that AWS has besides are refused by their names. What an expression is worth is found by
//! `evaluation`.

use crate::{error::Error, gaps, limits::EXPRESSION_DEPTH_MAX, statistic::shown};

/// An expression, read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expression {
    Number(f64),
    Id(String),
    /// In quotes.
    Text(String),
    /// A word of a function's own, such as `REPEAT`.
    Word(String),
    List(Vec<Expression>),
    Call(Function, Vec<Expression>),
    Operation(Box<Expression>, Operator, Box<Expression>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Plus,
    Minus,
    Times,
    Over,
    Power,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    And,
    Or,
}

macro_rules! functions {
    ($($function:ident $name:literal $least:literal $most:literal,)*) => {
        /// A function.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Function {
            $($function,)*
        }

        impl Function {
            /// The function of a name, and how many arguments it takes.
            fn named(name: &str) -> Option<(Self, std::ops::RangeInclusive<usize>)> {
                match name {
                    $($name => Some((Self::$function, $least..=$most)),)*
                    _ => None,
                }
            }
        }
    };
}

functions! {
    Abs "ABS" 1 1,
    Avg "AVG" 1 1,
    Ceil "CEIL" 1 1,
    DatapointCount "DATAPOINT_COUNT" 1 1,
    Date "DATE" 1 1,
    Day "DAY" 1 1,
    Diff "DIFF" 1 1,
    DiffTime "DIFF_TIME" 1 1,
    Epoch "EPOCH" 1 1,
    Fill "FILL" 2 2,
    First "FIRST" 1 1,
    Floor "FLOOR" 1 1,
    Hour "HOUR" 1 1,
    If "IF" 2 3,
    Last "LAST" 1 1,
    Log "LOG" 1 1,
    Log10 "LOG10" 1 1,
    Max "MAX" 1 1,
    MetricCount "METRIC_COUNT" 1 1,
    Metrics "METRICS" 0 1,
    Min "MIN" 1 1,
    Minute "MINUTE" 1 1,
    Month "MONTH" 1 1,
    Period "PERIOD" 1 1,
    Rate "RATE" 1 1,
    RemoveEmpty "REMOVE_EMPTY" 1 1,
    RunningSum "RUNNING_SUM" 1 1,
    Search "SEARCH" 2 3,
    Slice "SLICE" 2 3,
    Sort "SORT" 2 3,
    Stddev "STDDEV" 1 1,
    Sum "SUM" 1 1,
    TimeSeries "TIME_SERIES" 1 1,
    Year "YEAR" 1 1,
}

/// The functions that AWS has besides.
const NOT_BUILT: [&str; 5] = [
    "ANOMALY_DETECTION_BAND",
    "DB_PERF_INSIGHTS",
    "INSIGHT_RULE_METRIC",
    "LAMBDA",
    "SERVICE_QUOTA",
];

/// The infix operators, those that bind loosest first. Of two that begin alike the longer stands first.
const LEVELS: [&[(&str, Operator)]; 5] = [
    &[("OR", Operator::Or), ("||", Operator::Or)],
    &[("AND", Operator::And), ("&&", Operator::And)],
    &[
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
        ("<=", Operator::LessOrEqual),
        (">=", Operator::GreaterOrEqual),
        ("<", Operator::Less),
        (">", Operator::Greater),
    ],
    &[("+", Operator::Plus), ("-", Operator::Minus)],
    &[("*", Operator::Times), ("/", Operator::Over)],
];

impl Expression {
    /// Reads an expression; `id` is its own, for messages.
    pub(crate) fn read(text: &str, id: &str) -> Result<Self, Error> {
        let mut parser = Parser { rest: text, id };
        let expression = parser.infix(0, 0)?;
        parser.space();
        if parser.rest.is_empty() { Ok(expression) } else { Err(parser.wrong("Invalid syntax")) }
    }

    /// The arguments of every `SEARCH` in it.
    pub(crate) fn searches<'e>(&'e self, found: &mut Vec<&'e [Expression]>) {
        match self {
            Self::Call(Function::Search, items) => found.push(items),
            Self::Call(_, items) | Self::List(items) => {
                items.iter().for_each(|item| item.searches(found));
            }
            Self::Operation(left, _, right) => {
                left.searches(found);
                right.searches(found);
            }
            Self::Number(_) | Self::Id(_) | Self::Text(_) | Self::Word(_) => {}
        }
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

    fn eat(&mut self, symbol: &str) -> bool {
        self.space();
        let Some(rest) = self.rest.strip_prefix(symbol) else { return false };
        // A word ends where no letter of a word follows.
        let is_word = symbol.ends_with(|last: char| last.is_ascii_alphabetic());
        if is_word && rest.starts_with(is_of_word) {
            return false;
        }
        self.rest = rest;
        true
    }

    fn infix(&mut self, level: usize, depth: usize) -> Result<Expression, Error> {
        if depth > EXPRESSION_DEPTH_MAX {
            return Err(self.wrong("The expression is nested too deep"));
        }
        let Some(operators) = LEVELS.get(level) else { return self.signed(depth) };
        let mut left = self.infix(level + 1, depth)?;
        while let Some((_, operator)) = operators.iter().find(|(symbol, _)| self.eat(symbol)) {
            let right = self.infix(level + 1, depth)?;
            left = Expression::Operation(Box::new(left), *operator, Box::new(right));
        }
        Ok(left)
    }

    fn signed(&mut self, depth: usize) -> Result<Expression, Error> {
        if depth > EXPRESSION_DEPTH_MAX {
            return Err(self.wrong("The expression is nested too deep"));
        }
        if self.eat("-") {
            let (zero, inner) = (Expression::Number(0.0), self.signed(depth + 1)?);
            return Ok(Expression::Operation(Box::new(zero), Operator::Minus, Box::new(inner)));
        }
        let base = self.atom(depth)?;
        if !self.eat("^") {
            return Ok(base);
        }
        let exponent = self.signed(depth + 1)?;
        Ok(Expression::Operation(Box::new(base), Operator::Power, Box::new(exponent)))
    }

    fn atom(&mut self, depth: usize) -> Result<Expression, Error> {
        if self.eat("(") {
            let inner = self.infix(0, depth + 1)?;
            return if self.eat(")") { Ok(inner) } else { Err(self.wrong("Invalid syntax")) };
        }
        if self.eat("[") {
            return Ok(Expression::List(self.items("]", depth)?));
        }
        for quote in ['\'', '"'] {
            if let Some(text) = self.rest.strip_prefix(quote) {
                let (text, rest) =
                    text.split_once(quote).ok_or_else(|| self.wrong("Invalid syntax"))?;
                self.rest = rest;
                return Ok(Expression::Text(text.to_owned()));
            }
        }
        let word = self.word();
        if word.is_empty() {
            return Err(self.wrong("Invalid syntax"));
        }
        if word.starts_with(|first: char| first.is_ascii_digit()) {
            let number = word.parse::<f64>().ok().filter(|number| number.is_finite());
            return number.map(Expression::Number).ok_or_else(|| self.wrong("Invalid syntax"));
        }
        if self.eat("(") {
            return self.call(word, depth);
        }
        match word {
            "REPEAT" | "LINEAR" | "AVG" | "MAX" | "MIN" | "SUM" | "ASC" | "DESC" => {
                Ok(Expression::Word(word.to_owned()))
            }
            word if word.starts_with(|first: char| first.is_ascii_lowercase()) => {
                Ok(Expression::Id(word.to_owned()))
            }
            _ => Err(self.wrong("Invalid syntax")),
        }
    }

    fn call(&mut self, name: &str, depth: usize) -> Result<Expression, Error> {
        if NOT_BUILT.contains(&name) {
            return Err(Error::NotBuiltNamed {
                gap: &gaps::EXPRESSION,
                what: format!("The function {name} of metric math"),
            });
        }
        let Some((function, takes)) = Function::named(name) else {
            let why = format!("The function {} is not supported", shown(name));
            return Err(self.wrong(&why));
        };
        let items = self.items(")", depth)?;
        if takes.contains(&items.len()) {
            Ok(Expression::Call(function, items))
        } else {
            Err(self.wrong(&format!("Wrong number of arguments of {name}")))
        }
    }

    fn items(&mut self, end: &str, depth: usize) -> Result<Vec<Expression>, Error> {
        let mut items = Vec::new();
        if self.eat(end) {
            return Ok(items);
        }
        loop {
            items.push(self.infix(0, depth + 1)?);
            if self.eat(end) {
                return Ok(items);
            }
            if !self.eat(",") {
                return Err(self.wrong("Invalid syntax"));
            }
        }
    }

    fn word(&mut self) -> &'a str {
        self.space();
        let end = self.rest.find(|letter: char| !is_of_word(letter));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }
}

fn is_of_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_' || letter == '.'
}

/// An error of the expression of an id.
pub(crate) fn wrong(id: &str, why: &str) -> Error {
    Error::Validation(format!("Error in expression '{}': {why}", shown(id)))
}
