//! JSONPath as Jayway reads it, which is what API Gateway uses: `$.a.b`, `$.detail-type`, `$['a','b']`, `$.list[-1]`,
//! `$.list[1:3]`, `$..name`, `$.list[?(@.price < 10 && @.name =~ /x.*/i)]`, and `.length()` and its like at the end.
//!
//! A path that can lead to one value only gives it, or nothing; one with `*`, `..`, slices, several names or filters gives
//! the list of all that it leads to. No path panics, and none visits more than
//! [`PATH_VISITS_MAX`] values.

mod filter;
mod read;
#[cfg(test)]
mod tests;

use serde_json::Value;

use crate::limits::PATH_VISITS_MAX;
use filter::Filter;

/// A path that was read.
#[derive(Debug, Clone)]
pub struct JsonPath {
    steps: Vec<Step>,
    function: Option<Function>,
}

#[derive(Debug, Clone)]
enum Step {
    /// One name, or several.
    Names(Vec<String>),
    Indices(Vec<i64>),
    Slice(Option<i64>, Option<i64>, Option<i64>),
    All,
    /// `..`: the value and everything below it.
    Below,
    Filter(Box<Filter>),
}

/// What is asked of the value at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Length,
    Keys,
    Min,
    Max,
    Sum,
    Average,
}

/// How many values may still be visited.
struct Budget(usize);

impl Budget {
    fn visit(&mut self) -> bool {
        let left = self.0 > 0;
        self.0 = self.0.saturating_sub(1);
        left
    }
}

impl JsonPath {
    /// Reads a path; `None` when it is none. One that does not begin with `$` is taken below it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        read::path(text)
    }

    /// What the path leads to.
    #[must_use]
    pub fn find(&self, root: &Value) -> Option<Value> {
        self.find_counted(root).0
    }

    /// What the path leads to, and how many values were visited on the way.
    pub(crate) fn find_counted(&self, root: &Value) -> (Option<Value>, usize) {
        let mut budget = Budget(PATH_VISITS_MAX);
        let found = self.found(root, root, &mut budget);
        (found, PATH_VISITS_MAX - budget.0)
    }

    fn is_definite(&self) -> bool {
        self.steps.iter().all(|step| match step {
            Step::Names(names) => names.len() == 1,
            Step::Indices(indices) => indices.len() == 1,
            Step::Slice(..) | Step::All | Step::Below | Step::Filter(_) => false,
        })
    }

    fn found(&self, root: &Value, from: &Value, budget: &mut Budget) -> Option<Value> {
        let mut here = vec![from];
        for step in &self.steps {
            let mut next = Vec::new();
            for value in here {
                take(step, root, value, &mut next, budget);
            }
            here = next;
        }
        let found = match self.is_definite() {
            true => here.into_iter().next().cloned(),
            false => Some(Value::Array(here.into_iter().cloned().collect())),
        };
        match self.function {
            Some(function) => apply(function, &found?),
            None => found,
        }
    }
}

/// Takes one step from a value.
fn take<'v>(
    step: &Step,
    root: &Value,
    value: &'v Value,
    next: &mut Vec<&'v Value>,
    budget: &mut Budget,
) {
    if !budget.visit() {
        return;
    }
    match (step, value) {
        (Step::Names(names), Value::Object(members)) => {
            next.extend(names.iter().filter_map(|name| members.get(name)));
        }
        (Step::Indices(indices), Value::Array(items)) => {
            let places =
                indices.iter().filter_map(|index| crate::reference::place(items.len(), *index));
            next.extend(places.map(|at| &items[at]));
        }
        (Step::Slice(from, to, by), Value::Array(items)) => {
            let (from, to) = (
                bound(items.len(), from.unwrap_or(0)),
                to.map_or(items.len(), |to| bound(items.len(), to)),
            );
            let by = usize::try_from(by.unwrap_or(1)).unwrap_or(1).max(1);
            next.extend(items.get(from..to).into_iter().flatten().step_by(by));
        }
        (Step::All, Value::Array(items)) => {
            next.extend(items.iter().take_while(|_| budget.visit()))
        }
        (Step::All, Value::Object(members)) => {
            next.extend(members.values().take_while(|_| budget.visit()));
        }
        (Step::Below, value) => below(value, next, budget),
        (Step::Filter(filter), Value::Array(items)) => {
            next.extend(
                items.iter().filter(|item| budget.visit() && filter.holds(root, item, budget)),
            );
        }
        (Step::Filter(filter), Value::Object(_)) if filter.holds(root, value, budget) => {
            next.push(value);
        }
        _ => {}
    }
}

/// A value and all below it. A JSON reader bounds the depth.
fn below<'v>(value: &'v Value, next: &mut Vec<&'v Value>, budget: &mut Budget) {
    if !budget.visit() {
        return;
    }
    next.push(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| below(item, next, budget)),
        Value::Object(members) => members.values().for_each(|member| below(member, next, budget)),
        _ => {}
    }
}

/// The bound of a slice, within a list.
fn bound(length: usize, bound: i64) -> usize {
    let distance = usize::try_from(bound.unsigned_abs()).unwrap_or(usize::MAX);
    if bound < 0 { length.saturating_sub(distance) } else { distance.min(length) }
}

fn apply(function: Function, value: &Value) -> Option<Value> {
    let numbers = || -> Vec<f64> {
        value.as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
    };
    let some = |number: f64| number.is_finite().then(|| Value::from(number));
    match function {
        Function::Length => match value {
            Value::Array(items) => Some(items.len().into()),
            Value::Object(members) => Some(members.len().into()),
            Value::String(text) => Some(text.encode_utf16().count().into()),
            _ => None,
        },
        Function::Keys => {
            Some(value.as_object()?.keys().map(|key| Value::from(key.as_str())).collect())
        }
        Function::Min => some(numbers().into_iter().fold(f64::INFINITY, f64::min)),
        Function::Max => some(numbers().into_iter().fold(f64::NEG_INFINITY, f64::max)),
        Function::Sum => some(numbers().into_iter().sum()),
        #[expect(clippy::cast_precision_loss, reason = "a list has fewer items than that")]
        Function::Average => some(numbers().iter().sum::<f64>() / numbers().len() as f64),
    }
}
