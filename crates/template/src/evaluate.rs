//! From tree to text.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde_json::Value as Json;

use crate::{
    Input, Overrides, Rendered, Scope, Template,
    limits::{DEPTH_MAX, LOOP_TURNS_MAX, OUTPUT_BYTES_MAX},
    tree::{Block, Expression, Node, Operator, Reference},
    value::{Heap, ListKind, MapKind, Value},
};

/// Why a template renders nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// It takes more than [`STEPS_MAX`](crate::limits::STEPS_MAX).
    #[error("the mapping template takes too long")]
    TooLong,
    /// It goes deeper than [`DEPTH_MAX`], or prints a value that does.
    #[error("the mapping template goes too deep")]
    TooDeep,
    /// It makes more than [`OUTPUT_BYTES_MAX`].
    #[error("the mapping template makes too much")]
    TooLarge,
    /// It sets this member of an override twice.
    #[error("the mapping template overrides {0} twice")]
    OverriddenTwice(String),
}

pub(crate) type Result<T> = std::result::Result<T, Failed>;

/// Whether the next node is rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Go,
    Break,
    Stop,
}

/// One evaluation.
pub(crate) struct Run<'t> {
    template: &'t Template,
    pub(crate) input: &'t Input<'t>,
    json: OnceCell<Option<Json>>,
    pub(crate) heap: Heap,
    pub(crate) names: HashMap<Arc<str>, Value>,
    out: String,
    depth: usize,
    /// The loops that run: the turn and their number.
    pub(crate) loops: Vec<(usize, usize)>,
}

pub(crate) fn render<'t>(template: &'t Template, scope: &'t Scope<'_>) -> Result<Rendered> {
    if let Some(text) = template.as_literal() {
        return Ok(Rendered { text: text.to_owned(), overrides: scope.overrides.clone() });
    }
    let mut run = Run {
        template,
        input: &scope.input,
        json: OnceCell::new(),
        heap: Heap::new(),
        names: HashMap::new(),
        out: String::new(),
        depth: 0,
        loops: Vec::new(),
    };
    let places = run.bind(scope)?;
    run.block(&template.body)?;
    let overrides = run.overrides(&places)?;
    Ok(Rendered { text: run.out, overrides })
}

/// The maps of overrides.
struct Places {
    header: usize,
    path: usize,
    querystring: usize,
    response: usize,
    response_header: usize,
}

impl<'t> Run<'t> {
    fn bind(&mut self, scope: &Scope<'_>) -> Result<Places> {
        let mut context = Vec::new();
        for (name, value) in &scope.context {
            let value = self.heap.json_within(value, MapKind::Silent, 0)?;
            context.push((Arc::from(name.as_str()), value));
        }
        let given = &scope.overrides;
        let header = self.override_map(&given.request_header)?;
        let path = self.override_map(&given.request_path)?;
        let querystring = self.override_map(&given.request_querystring)?;
        let response_header = self.override_map(&given.response_header)?;
        let request = [("header", header), ("path", path), ("querystring", querystring)];
        let request = request.map(|(name, map)| (Arc::from(name), Value::Map(map)));
        let request = self.heap.new_map(MapKind::Silent, request)?;
        let mut response = vec![(Arc::from("header"), Value::Map(response_header))];
        if let Some(status) = given.response_status {
            response.push((Arc::from("status"), Value::Int(i64::from(status))));
        }
        let response = self.heap.new_map(MapKind::Overrides, response)?;
        context.push((Arc::from("requestOverride"), Value::Map(request)));
        context.push((Arc::from("responseOverride"), Value::Map(response)));
        let context = self.heap.new_map(MapKind::Silent, context)?;
        let mut variables = Vec::new();
        for (name, value) in scope.stage_variables.into_iter().flatten() {
            variables.push((Arc::from(name.as_str()), self.heap.text(value.as_str())?));
        }
        let variables = self.heap.new_map(MapKind::Plain, variables)?;
        self.names.extend([
            (Arc::from("input"), Value::Input),
            (Arc::from("util"), Value::Util),
            (Arc::from("context"), Value::Map(context)),
            (Arc::from("stageVariables"), Value::Map(variables)),
        ]);
        Ok(Places { header, path, querystring, response, response_header })
    }

    fn override_map(&mut self, given: &BTreeMap<String, Vec<String>>) -> Result<usize> {
        let mut entries = Vec::new();
        for (name, values) in given {
            let value = match values.as_slice() {
                [one] => self.heap.text(one.as_str())?,
                several => {
                    let several = several.iter().map(|text| Value::Text(text.as_str().into()));
                    self.heap.new_list(ListKind::Java, several.collect())?
                }
            };
            entries.push((Arc::from(name.as_str()), value));
        }
        self.heap.new_map(MapKind::Overrides, entries)
    }

    fn overrides(&mut self, places: &Places) -> Result<Overrides> {
        let status = match self.heap.map(places.response).entries.get("status") {
            Some(Value::Int(status @ 100..=599)) => u16::try_from(*status).ok(),
            _ => None,
        };
        Ok(Overrides {
            request_header: self.overridden(places.header)?,
            request_path: self.overridden(places.path)?,
            request_querystring: self.overridden(places.querystring)?,
            response_header: self.overridden(places.response_header)?,
            response_status: status,
        })
    }

    fn overridden(&mut self, map: usize) -> Result<BTreeMap<String, Vec<String>>> {
        let entries: Vec<_> = self.heap.map(map).entries.clone().into_iter().collect();
        let mut made = BTreeMap::new();
        for (name, value) in entries {
            let values = match value {
                Value::List(list) => self.heap.list(list).items.clone(),
                value => vec![value],
            };
            let texts = values.iter().map(|value| self.print(value)).collect::<Result<_>>()?;
            made.insert(name.to_string(), texts);
        }
        Ok(made)
    }

    /// The body as JSON, if it is.
    pub(crate) fn json(&mut self) -> Result<Option<&Json>> {
        if self.json.get().is_none() {
            self.heap.spend_text(self.input.body.len())?;
        }
        let body = if self.input.body.is_empty() { "{}" } else { self.input.body };
        Ok(self.json.get_or_init(|| serde_json::from_str(body).ok()).as_ref())
    }

    /// Does something one level deeper.
    fn deeper<T>(&mut self, act: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth >= DEPTH_MAX {
            return Err(Failed::TooDeep);
        }
        self.depth += 1;
        let done = act(self);
        self.depth -= 1;
        done
    }

    fn write(&mut self, text: &str) -> Result<()> {
        self.heap.spend_text(text.len())?;
        if self.out.len() + text.len() > OUTPUT_BYTES_MAX {
            return Err(Failed::TooLarge);
        }
        self.out.push_str(text);
        Ok(())
    }

    /// What rendering a block gives, apart from the rest.
    fn captured(&mut self, block: &'t Block) -> Result<String> {
        let before = std::mem::take(&mut self.out);
        let rendered = self.block(block);
        let made = std::mem::replace(&mut self.out, before);
        rendered.map(|_| made)
    }

    /// A value as text.
    pub(crate) fn print(&mut self, value: &Value) -> Result<String> {
        match value {
            Value::Block(block) => {
                let block = &self.template.defined[*block];
                self.captured(block)
            }
            value => self.heap.print(value),
        }
    }

    fn block(&mut self, block: &'t Block) -> Result<Flow> {
        self.deeper(|run| {
            for node in block {
                let flow = run.node(node)?;
                if flow != Flow::Go {
                    return Ok(flow);
                }
            }
            Ok(Flow::Go)
        })
    }

    fn node(&mut self, node: &'t Node) -> Result<Flow> {
        self.heap.spend(1)?;
        match node {
            Node::Text(text) => self.write(text)?,
            Node::Reference(reference) => self.print_reference(reference)?,
            Node::Escaped(reference) => {
                if self.reference(reference)?.is_none() {
                    self.write("\\")?;
                }
                self.write(&reference.written)?;
            }
            Node::Set { target, value } => {
                let value = self.expression(value)?;
                self.assign(target, value)?;
            }
            Node::If { arms, otherwise } => return self.choose(arms, otherwise),
            Node::Foreach { name, list, body } => return self.each(name, list, body),
            Node::Define { name, block } => {
                self.names.insert(Arc::clone(name), Value::Block(*block));
            }
            Node::Call { name, arguments } => return self.call(name, arguments),
            Node::Break => return Ok(Flow::Break),
            Node::Stop => return Ok(Flow::Stop),
        }
        Ok(Flow::Go)
    }

    fn print_reference(&mut self, reference: &'t Reference) -> Result<()> {
        match self.reference(reference)? {
            Some(value) => {
                let text = self.print(&value)?;
                self.write(&text)
            }
            None if reference.is_quiet => Ok(()),
            None => self.write(&reference.written),
        }
    }

    fn choose(&mut self, arms: &'t [(Expression, Block)], otherwise: &'t Block) -> Result<Flow> {
        for (condition, body) in arms {
            let value = self.expression(condition)?;
            if is_true(&value) {
                return self.block(body);
            }
        }
        self.block(otherwise)
    }

    fn each(&mut self, name: &Arc<str>, list: &'t Expression, body: &'t Block) -> Result<Flow> {
        let items: Vec<Value> = match self.expression(list)? {
            Value::List(list) => self.heap.list(list).items.clone(),
            Value::Map(map) => self.heap.map(map).entries.values().cloned().collect(),
            _ => Vec::new(),
        };
        self.heap.spend(items.len())?;
        let counter: Arc<str> = "velocityCount".into();
        let loop_name: Arc<str> = "foreach".into();
        let kept = [name, &counter, &loop_name]
            .map(|name| (Arc::clone(name), self.names.get(name).cloned()));
        let number = self.loops.len();
        self.loops.push((0, items.len()));
        let mut flow = Flow::Go;
        for (turn, item) in items.into_iter().enumerate().take(LOOP_TURNS_MAX) {
            self.loops[number].0 = turn;
            let count = i64::try_from(turn + 1).unwrap_or(i64::MAX);
            self.names.insert(Arc::clone(name), item);
            self.names.insert(Arc::clone(&counter), Value::Int(count));
            self.names.insert(Arc::clone(&loop_name), Value::Loop(number));
            flow = self.block(body)?;
            if flow != Flow::Go {
                break;
            }
        }
        self.loops.truncate(number);
        kept.into_iter().for_each(|(name, value)| self.restore(name, value));
        // `#break` ends this loop alone.
        Ok(if flow == Flow::Stop { Flow::Stop } else { Flow::Go })
    }

    fn restore(&mut self, name: Arc<str>, value: Option<Value>) {
        match value {
            Some(value) => self.names.insert(name, value),
            None => self.names.remove(&name),
        };
    }

    fn call(&mut self, name: &str, arguments: &'t [Expression]) -> Result<Flow> {
        let template = self.template;
        let Some(found) = template.macros.get(name) else { return Ok(Flow::Go) };
        let mut kept = Vec::new();
        for (at, parameter) in found.parameters.iter().enumerate() {
            let value = match arguments.get(at) {
                Some(argument) => Some(self.expression(argument)?),
                None => None,
            };
            kept.push((Arc::clone(parameter), value));
        }
        for (parameter, value) in &mut kept {
            let before = self.names.get(parameter).cloned();
            let given = std::mem::replace(value, before);
            self.restore(Arc::clone(parameter), given);
        }
        let flow = self.block(&found.body)?;
        kept.into_iter().for_each(|(name, value)| self.restore(name, value));
        Ok(if flow == Flow::Stop { Flow::Stop } else { Flow::Go })
    }

    /// The value of an expression.
    pub(crate) fn expression(&mut self, expression: &'t Expression) -> Result<Value> {
        self.deeper(|run| {
            run.heap.spend(1)?;
            match expression {
                Expression::Nothing => Ok(Value::Nothing),
                Expression::Bool(bool) => Ok(Value::Bool(*bool)),
                Expression::Int(number) => Ok(Value::Int(*number)),
                Expression::Float(number) => Ok(Value::Float(*number)),
                Expression::Text(text) => Ok(Value::Text(Arc::clone(text))),
                Expression::Interpolated(block) => {
                    let text = run.captured(block)?;
                    run.heap.text(text)
                }
                Expression::Reference(reference) => {
                    Ok(run.reference(reference)?.unwrap_or(Value::Nothing))
                }
                Expression::List(items) => run.list(items),
                Expression::Range(first, last) => run.range(first, last),
                Expression::Map(entries) => run.map(entries),
                Expression::Not(inner) => Ok(Value::Bool(!is_true(&run.expression(inner)?))),
                Expression::Negative(inner) => Ok(match run.expression(inner)? {
                    Value::Int(number) => Value::Int(number.wrapping_neg()),
                    Value::Float(number) => Value::Float(-number),
                    _ => Value::Nothing,
                }),
                Expression::Binary(operator, left, right) => run.binary(*operator, left, right),
            }
        })
    }

    pub(crate) fn all(&mut self, expressions: &'t [Expression]) -> Result<Vec<Value>> {
        expressions.iter().map(|expression| self.expression(expression)).collect()
    }

    fn list(&mut self, items: &'t [Expression]) -> Result<Value> {
        let items = self.all(items)?;
        self.heap.new_list(ListKind::Java, items)
    }

    fn range(&mut self, first: &'t Expression, last: &'t Expression) -> Result<Value> {
        let (first, last) = (self.expression(first)?, self.expression(last)?);
        let (Value::Int(first), Value::Int(last)) = (first, last) else {
            return Ok(Value::Nothing);
        };
        let count = usize::try_from(first.abs_diff(last)).unwrap_or(usize::MAX);
        self.heap.spend(count)?;
        let items: Vec<Value> = match first <= last {
            true => (first..=last).map(Value::Int).collect(),
            false => (last..=first).rev().map(Value::Int).collect(),
        };
        self.heap.new_list(ListKind::Java, items)
    }

    fn map(&mut self, entries: &'t [(Expression, Expression)]) -> Result<Value> {
        let mut made = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let key = self.expression(key)?;
            let key = self.print(&key)?;
            made.push((key.into(), self.expression(value)?));
        }
        Ok(Value::Map(self.heap.new_map(MapKind::Plain, made)?))
    }

    fn binary(
        &mut self,
        operator: Operator,
        left: &'t Expression,
        right: &'t Expression,
    ) -> Result<Value> {
        let left = self.expression(left)?;
        match operator {
            Operator::Or if is_true(&left) => return Ok(Value::Bool(true)),
            Operator::And if !is_true(&left) => return Ok(Value::Bool(false)),
            _ => {}
        }
        let right = self.expression(right)?;
        match operator {
            Operator::Or | Operator::And => Ok(Value::Bool(is_true(&right))),
            Operator::Equal => Ok(Value::Bool(self.equal(&left, &right)?)),
            Operator::Unequal => Ok(Value::Bool(!self.equal(&left, &right)?)),
            Operator::Less
            | Operator::LessOrEqual
            | Operator::Greater
            | Operator::GreaterOrEqual => Ok(Value::Bool(compare(operator, &left, &right))),
            Operator::Plus if is_text(&left) || is_text(&right) => {
                let text = self.print(&left)? + &self.print(&right)?;
                self.heap.text(text)
            }
            _ => Ok(calculate(operator, &left, &right)),
        }
    }

    /// Whether two values are equal: numbers by value, nothing to the empty text, and what is of different kinds as it is
    /// printed.
    pub(crate) fn equal(&mut self, left: &Value, right: &Value) -> Result<bool> {
        if let (Some(left), Some(right)) = (number(left), number(right)) {
            return Ok((left - right).abs() == 0.0 || left == right);
        }
        match (left, right) {
            (Value::Text(left), Value::Text(right)) => Ok(left == right),
            (Value::Nothing, Value::Text(text)) | (Value::Text(text), Value::Nothing) => {
                Ok(text.is_empty())
            }
            (Value::Nothing, other) | (other, Value::Nothing) => Ok(*other == Value::Nothing),
            (left, right) if left == right => Ok(true),
            (left, right) => Ok(self.print(left)? == self.print(right)?),
        }
    }
}

/// Whether a condition holds: everything but false and nothing does, as in Velocity 1.
fn is_true(value: &Value) -> bool {
    !matches!(value, Value::Nothing | Value::Bool(false))
}

fn is_text(value: &Value) -> bool {
    matches!(value, Value::Text(_))
}

#[expect(clippy::cast_precision_loss, reason = "only compared; equal numbers stay equal")]
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        _ => None,
    }
}

fn compare(operator: Operator, left: &Value, right: &Value) -> bool {
    let (Some(left), Some(right)) = (number(left), number(right)) else { return false };
    match operator {
        Operator::Less => left < right,
        Operator::LessOrEqual => left <= right,
        Operator::Greater => left > right,
        Operator::GreaterOrEqual => left >= right,
        _ => false,
    }
}

/// Numbers; nothing where one is missing, or the divisor is zero.
fn calculate(operator: Operator, left: &Value, right: &Value) -> Value {
    if let (Value::Int(left), Value::Int(right)) = (left, right) {
        let made = match operator {
            Operator::Plus => left.checked_add(*right),
            Operator::Minus => left.checked_sub(*right),
            Operator::Times => left.checked_mul(*right),
            Operator::Divide | Operator::Remainder if *right == 0 => return Value::Nothing,
            Operator::Divide => left.checked_div(*right),
            Operator::Remainder => left.checked_rem(*right),
            _ => None,
        };
        if let Some(number) = made {
            return Value::Int(number);
        }
    }
    let (Some(left), Some(right)) = (number(left), number(right)) else { return Value::Nothing };
    match operator {
        Operator::Plus => Value::Float(left + right),
        Operator::Minus => Value::Float(left - right),
        Operator::Times => Value::Float(left * right),
        Operator::Divide if right != 0.0 => Value::Float(left / right),
        Operator::Remainder if right != 0.0 => Value::Float(left % right),
        _ => Value::Nothing,
    }
}
