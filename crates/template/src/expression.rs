//! References and expressions, read.

use std::sync::Arc;

use crate::{
    parse::{Parser, Result},
    tree::{Expression, Operator, Reference, Step},
};

/// Operators from the loosest to the tightest; those of one row bind alike.
const LEVELS: [&[(&str, Operator)]; 6] = [
    &[("||", Operator::Or), ("or", Operator::Or)],
    &[("&&", Operator::And), ("and", Operator::And)],
    &[
        ("==", Operator::Equal),
        ("!=", Operator::Unequal),
        ("eq", Operator::Equal),
        ("ne", Operator::Unequal),
    ],
    &[
        ("<=", Operator::LessOrEqual),
        ("<", Operator::Less),
        (">=", Operator::GreaterOrEqual),
        (">", Operator::Greater),
        ("lt", Operator::Less),
        ("le", Operator::LessOrEqual),
        ("gt", Operator::Greater),
        ("ge", Operator::GreaterOrEqual),
    ],
    &[("+", Operator::Plus), ("-", Operator::Minus)],
    &[("*", Operator::Times), ("/", Operator::Divide), ("%", Operator::Remainder)],
];

impl<'t> Parser<'t> {
    /// A reference, if what comes next is one; else nothing is taken.
    pub(crate) fn reference(&mut self) -> Result<Option<Reference>> {
        let start = self.at;
        if !self.take("$") {
            return Ok(None);
        }
        let is_quiet = self.take("!");
        let is_braced = self.take("{");
        let Some(name) = self.word() else {
            self.at = start;
            return Ok(None);
        };
        let steps = self.steps()?;
        if is_braced && !self.take("}") {
            self.at = start;
            return Ok(None);
        }
        let written = Arc::from(&self.text[start..self.at]);
        Ok(Some(Reference { written, is_quiet, name: name.into(), steps }))
    }

    fn steps(&mut self) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        loop {
            let before = self.at;
            if self.take(".") {
                let Some(name) = self.word() else {
                    // A full stop.
                    self.at = before;
                    return Ok(steps);
                };
                steps.push(match self.take("(") {
                    true => Step::Method(name.into(), self.list(")")?),
                    false => Step::Member(name.into()),
                });
            } else if self.take("[") {
                let index = self.expression().and_then(|index| {
                    self.need("]", "an index without ]")?;
                    Ok(index)
                });
                let Ok(index) = index else {
                    // Text that happens to stand behind a reference.
                    self.at = before;
                    return Ok(steps);
                };
                steps.push(Step::Index(index));
            } else {
                return Ok(steps);
            }
        }
    }

    /// Expressions with commas between them, up to what closes them.
    fn list(&mut self, close: &str) -> Result<Vec<Expression>> {
        let mut items = Vec::new();
        self.skip_space();
        while !self.take(close) {
            if !items.is_empty() {
                self.need(",", "a list without , or its end")?;
            }
            items.push(self.expression()?);
            self.skip_space();
        }
        Ok(items)
    }

    /// An expression.
    pub(crate) fn expression(&mut self) -> Result<Expression> {
        self.deeper(|parser| parser.binary(0))
    }

    fn binary(&mut self, level: usize) -> Result<Expression> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        let mut count = 0;
        while let Some(operator) = self.operator(operators) {
            // A chain makes a tree as deep as it is long.
            count += 1;
            if self.depth + count > crate::limits::NESTING_MAX {
                return Err(crate::BadTemplate::TooDeep);
            }
            let right = self.binary(level + 1)?;
            left = Expression::Binary(operator, Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn operator(&mut self, operators: &[(&str, Operator)]) -> Option<Operator> {
        let before = self.at;
        self.skip_space();
        for (text, operator) in operators {
            if !self.rest().starts_with(text) {
                continue;
            }
            let after = self.text.as_bytes().get(self.at + text.len());
            let is_word = text.as_bytes()[0].is_ascii_alphabetic();
            if is_word && after.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
                continue;
            }
            self.at += text.len();
            return Some(*operator);
        }
        self.at = before;
        None
    }

    fn unary(&mut self) -> Result<Expression> {
        self.skip_space();
        if self.take("!") {
            return Ok(Expression::Not(Box::new(self.deeper(Self::unary)?)));
        }
        if self.rest().starts_with("not") && !is_in_word(self.rest().as_bytes().get(3)) {
            self.at += 3;
            return Ok(Expression::Not(Box::new(self.deeper(Self::unary)?)));
        }
        if self.peek() == Some(b'-') {
            self.at += 1;
            return Ok(match self.deeper(Self::unary)? {
                Expression::Int(number) => Expression::Int(number.wrapping_neg()),
                Expression::Float(number) => Expression::Float(-number),
                other => Expression::Negative(Box::new(other)),
            });
        }
        self.primary()
    }

    fn primary(&mut self) -> Result<Expression> {
        match self.peek() {
            Some(b'$') => match self.reference()? {
                Some(reference) => Ok(Expression::Reference(reference)),
                None => Err(self.wrong("a $ without a name")),
            },
            Some(b'(') => {
                self.at += 1;
                let inner = self.expression()?;
                self.need(")", "an expression without )")?;
                Ok(inner)
            }
            Some(b'[') => self.list_or_range(),
            Some(b'{') => self.map(),
            Some(quote @ (b'"' | b'\'')) => self.quoted(quote),
            Some(byte) if byte.is_ascii_digit() => self.number(),
            _ => match self.word() {
                Some("true") => Ok(Expression::Bool(true)),
                Some("false") => Ok(Expression::Bool(false)),
                Some("null") => Ok(Expression::Nothing),
                _ => Err(self.wrong("no expression")),
            },
        }
    }

    fn list_or_range(&mut self) -> Result<Expression> {
        self.at += 1;
        self.skip_space();
        if self.take("]") {
            return Ok(Expression::List(Vec::new()));
        }
        let first = self.expression()?;
        self.skip_space();
        if self.take("..") {
            let last = self.expression()?;
            self.need("]", "a range without ]")?;
            return Ok(Expression::Range(Box::new(first), Box::new(last)));
        }
        let mut items = vec![first];
        if !self.take("]") {
            self.need(",", "a list without , or its end")?;
            items.extend(self.list("]")?);
        }
        Ok(Expression::List(items))
    }

    fn map(&mut self) -> Result<Expression> {
        self.at += 1;
        let mut entries = Vec::new();
        self.skip_space();
        while !self.take("}") {
            if !entries.is_empty() {
                self.need(",", "a map without , or its end")?;
            }
            let key = self.expression()?;
            self.need(":", "a map's key without :")?;
            entries.push((key, self.expression()?));
            self.skip_space();
        }
        Ok(Expression::Map(entries))
    }

    /// A text; its quote stands in it doubled. A backslash is a backslash.
    fn quoted(&mut self, quote: u8) -> Result<Expression> {
        self.at += 1;
        let mut text = String::new();
        let quote = char::from(quote);
        loop {
            let rest = self.rest();
            let Some(end) = rest.find(quote) else { return Err(self.wrong("a text without end")) };
            text.push_str(&rest[..end]);
            self.at += end + 1;
            if self.peek() != Some(quote as u8) {
                break;
            }
            text.push(quote);
            self.at += 1;
        }
        if quote == '\'' || !text.contains(['$', '#']) {
            return Ok(Expression::Text(text.into()));
        }
        Ok(Expression::Interpolated(self.interpolated(&text)?))
    }

    fn number(&mut self) -> Result<Expression> {
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let rest = self.rest();
        let mut length = digits(rest);
        let mut is_float = false;
        // Two dots are a range.
        if rest[length..].starts_with('.') {
            let fraction = digits(&rest[length + 1..]);
            is_float = fraction > 0;
            length += if is_float { fraction + 1 } else { 0 };
        }
        if rest[length..].starts_with(['e', 'E']) {
            let sign = usize::from(rest[length + 1..].starts_with(['-', '+']));
            let exponent = digits(&rest[length + 1 + sign..]);
            if exponent > 0 {
                is_float = true;
                length += 1 + sign + exponent;
            }
        }
        self.at += length;
        let text = &rest[..length];
        let float = || text.parse().map(Expression::Float).map_err(|_| self.wrong("no number"));
        if is_float {
            return float();
        }
        text.parse().map(Expression::Int).or_else(|_| float())
    }
}

fn is_in_word(byte: Option<&u8>) -> bool {
    byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}
