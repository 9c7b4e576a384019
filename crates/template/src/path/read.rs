//! From text to path.

use super::{
    Function, JsonPath, Step,
    filter::{Comparison, Filter, Operand},
};
use crate::{limits::PATH_BYTES_MAX, pattern};

/// How deep filters may stand inside each other.
const NESTING_MAX: usize = 16;

pub(super) fn path(text: &str) -> Option<JsonPath> {
    let text = text.trim();
    if text.is_empty() || text.len() > PATH_BYTES_MAX {
        return None;
    }
    let below_root;
    let text = match text.starts_with('$') {
        true => text,
        false => {
            below_root =
                if text.starts_with('[') { format!("${text}") } else { format!("$.{text}") };
            &below_root
        }
    };
    let mut reader = Reader { text, at: 1, depth: 0 };
    let path = reader.steps(false)?;
    (reader.at == text.len()).then_some(path)
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn take(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        self.at += if found { text.len() } else { 0 };
        found
    }

    fn skip(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    /// Takes a text behind white space.
    fn next(&mut self, text: &str) -> bool {
        self.skip();
        self.take(text)
    }

    /// The steps behind `$` or `@`. Within a filter a name ends where an operator begins.
    fn steps(&mut self, in_filter: bool) -> Option<JsonPath> {
        let (mut steps, mut function) = (Vec::new(), None);
        while function.is_none() {
            if self.take("..") {
                steps.push(Step::Below);
                if self.rest().starts_with('[') {
                    continue;
                }
                steps.push(self.name(in_filter, &mut function)?);
            } else if self.take(".") {
                if let Some(step) = self.named(in_filter, &mut function)? {
                    steps.push(step);
                }
            } else if self.take("[") {
                steps.push(self.bracket()?);
            } else {
                break;
            }
        }
        Some(JsonPath { steps, function })
    }

    fn name(&mut self, in_filter: bool, function: &mut Option<Function>) -> Option<Step> {
        self.named(in_filter, function)?
    }

    /// A name, `*`, or a function, which is no step.
    fn named(&mut self, in_filter: bool, function: &mut Option<Function>) -> Option<Option<Step>> {
        if self.take("*") {
            return Some(Some(Step::All));
        }
        let ends = |c: char| ".[(".contains(c) || in_filter && " \t\n)]=!<>&|,".contains(c);
        let rest = self.rest();
        let name = &rest[..rest.find(ends).unwrap_or(rest.len())];
        if name.is_empty() {
            return None;
        }
        self.at += name.len();
        if self.take("(") {
            self.next(")").then_some(())?;
            *function = Some(match name {
                "length" | "size" => Function::Length,
                "keys" => Function::Keys,
                "min" => Function::Min,
                "max" => Function::Max,
                "sum" => Function::Sum,
                "avg" => Function::Average,
                _ => return None,
            });
            return Some(None);
        }
        Some(Some(Step::Names(vec![name.to_owned()])))
    }

    fn bracket(&mut self) -> Option<Step> {
        self.skip();
        if self.take("*") {
            return self.next("]").then_some(Step::All);
        }
        if self.take("?") {
            self.next("(").then_some(())?;
            let filter = self.either()?;
            let closed = self.next(")") && self.next("]");
            return closed.then(|| Step::Filter(Box::new(filter)));
        }
        if self.rest().starts_with(['\'', '"']) {
            let mut names = Vec::new();
            loop {
                self.skip();
                names.push(self.quoted()?);
                if !self.next(",") {
                    return self.next("]").then_some(Step::Names(names));
                }
            }
        }
        self.numbers()
    }

    /// `1`, `1,2`, or `1:2`.
    fn numbers(&mut self) -> Option<Step> {
        let end = self.rest().find(']')?;
        let text = &self.rest()[..end];
        self.at += end + 1;
        let bound = |text: &str| match text.trim() {
            "" => Some(None),
            text => text.parse().ok().map(Some),
        };
        if text.contains(':') {
            let bounds = text.split(':').map(bound).collect::<Option<Vec<Option<i64>>>>()?;
            return match bounds.as_slice() {
                [from, to] => Some(Step::Slice(*from, *to, None)),
                [from, to, by] => Some(Step::Slice(*from, *to, *by)),
                _ => None,
            };
        }
        let indices =
            text.split(',').map(|text| text.trim().parse().ok()).collect::<Option<_>>()?;
        Some(Step::Indices(indices))
    }

    /// A text in quotes; a backslash takes the character behind it as it is.
    fn quoted(&mut self) -> Option<String> {
        let mut rest = self.rest().chars();
        let quote = rest.next().filter(|c| "'\"".contains(*c))?;
        let mut made = String::new();
        loop {
            match rest.next()? {
                '\\' => made.push(rest.next()?),
                c if c == quote => break,
                c => made.push(c),
            }
        }
        self.at = self.text.len() - rest.as_str().len();
        Some(made)
    }

    fn either(&mut self) -> Option<Filter> {
        if self.depth >= NESTING_MAX {
            return None;
        }
        self.depth += 1;
        let mut filters = vec![self.both()?];
        while self.next("||") {
            filters.push(self.both()?);
        }
        self.depth -= 1;
        Some(Filter::Any(filters))
    }

    fn both(&mut self) -> Option<Filter> {
        let mut filters = vec![self.one()?];
        while self.next("&&") {
            filters.push(self.one()?);
        }
        Some(Filter::All(filters))
    }

    fn one(&mut self) -> Option<Filter> {
        self.skip();
        if self.rest().starts_with('!') && !self.rest().starts_with("!=") {
            self.at += 1;
            if self.depth >= NESTING_MAX {
                return None;
            }
            self.depth += 1;
            let inner = self.one()?;
            self.depth -= 1;
            return Some(Filter::Not(Box::new(inner)));
        }
        if self.take("(") {
            let inner = self.either()?;
            return self.next(")").then_some(inner);
        }
        let left = self.operand()?;
        self.skip();
        const COMPARISONS: [(&str, Comparison); 9] = [
            ("==", Comparison::Equal),
            ("!=", Comparison::Unequal),
            ("<=", Comparison::LessOrEqual),
            ("<", Comparison::Less),
            (">=", Comparison::GreaterOrEqual),
            (">", Comparison::Greater),
            ("in ", Comparison::In),
            ("nin ", Comparison::NotIn),
            ("size ", Comparison::Size),
        ];
        if self.take("=~") {
            self.skip();
            return Some(Filter::Matches(left, Box::new(self.pattern()?)));
        }
        if self.take("empty ") {
            let is_empty = self.next("true");
            return (is_empty || self.take("false")).then_some(Filter::Empty(left, is_empty));
        }
        match COMPARISONS.into_iter().find(|(text, _)| self.take(text)) {
            Some((_, comparison)) => {
                self.skip();
                let right = self.operand()?;
                Some(Filter::Compare(left, comparison, right))
            }
            None => Some(Filter::Exists(left)),
        }
    }

    /// `/pattern/i`.
    fn pattern(&mut self) -> Option<fancy_regex::Regex> {
        let rest = self.rest().strip_prefix('/')?;
        let mut end = 0;
        loop {
            end += rest[end..].find('/')?;
            let before = rest[..end].bytes().rev().take_while(|byte| *byte == b'\\').count();
            if before % 2 == 0 {
                break;
            }
            end += 1;
        }
        let text = rest[..end].replace("\\/", "/");
        self.at += end + 2;
        let flags = if self.take("i") { "(?i)" } else { "" };
        pattern::whole(&format!("{flags}{text}"))
    }

    fn operand(&mut self) -> Option<Operand> {
        let rest = self.rest();
        if let Some(root @ ('$' | '@')) = rest.chars().next() {
            self.at += 1;
            let path = self.steps(true)?;
            return Some(Operand::Path { is_root: root == '$', path });
        }
        if rest.starts_with(['\'', '"']) {
            return Some(Operand::Value(self.quoted()?.into()));
        }
        if rest.starts_with('[') {
            return self.list();
        }
        // A number or a word of JSON.
        let legal = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        let word = &rest[..rest.find(|c| !legal(c)).unwrap_or(rest.len())];
        let value = serde_json::from_str(word).ok()?;
        self.at += word.len();
        Some(Operand::Value(value))
    }

    fn list(&mut self) -> Option<Operand> {
        self.at += 1;
        let mut items = Vec::new();
        while !self.next("]") {
            if !items.is_empty() {
                self.next(",").then_some(())?;
            }
            self.skip();
            if self.depth >= NESTING_MAX {
                return None;
            }
            self.depth += 1;
            let Operand::Value(value) = self.operand()? else { return None };
            self.depth -= 1;
            items.push(value);
        }
        Some(Operand::Value(items.into()))
    }
}
