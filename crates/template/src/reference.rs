//! References: what they lead to, and what `#set` does with them; `$input`, `$util` and `$foreach`.

use std::sync::Arc;

use crate::{
    encode,
    evaluate::{Result, Run},
    path::JsonPath,
    tree::{Reference, Step},
    value::{ListKind, MapKind, Value},
};

impl<'t> Run<'t> {
    /// What a reference leads to; `None` when nobody set its name.
    pub(crate) fn reference(&mut self, reference: &'t Reference) -> Result<Option<Value>> {
        let Some(value) = self.names.get(&reference.name) else { return Ok(None) };
        let mut value = value.clone();
        for step in &reference.steps {
            value = self.step(&value, step)?;
        }
        Ok(Some(value))
    }

    fn step(&mut self, value: &Value, step: &'t Step) -> Result<Value> {
        self.heap.spend(1)?;
        match step {
            Step::Member(name) => self.member(value, name),
            Step::Index(index) => {
                let index = self.expression(index)?;
                self.index(value, &index)
            }
            Step::Method(name, arguments) => {
                let arguments = self.all(arguments)?;
                match value {
                    Value::Input => self.input_method(name, &arguments),
                    Value::Util => self.util_method(name, &arguments),
                    value => self.method(value, name, &arguments),
                }
            }
        }
    }

    fn member(&mut self, value: &Value, name: &str) -> Result<Value> {
        match value {
            Value::Map(map) => {
                Ok(self.heap.map(*map).entries.get(name).cloned().unwrap_or(Value::Nothing))
            }
            Value::Loop(number) => Ok(self.loop_member(*number, name)),
            Value::Input if name == "body" => {
                let body = if self.input.body.is_empty() { "{}" } else { self.input.body };
                self.heap.text(body)
            }
            _ => Ok(Value::Nothing),
        }
    }

    fn loop_member(&self, number: usize, name: &str) -> Value {
        let Some(&(turn, turns)) = self.loops.get(number) else { return Value::Nothing };
        let int = |number: usize| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
        match name {
            "index" => int(turn),
            "count" => int(turn + 1),
            "hasNext" => Value::Bool(turn + 1 < turns),
            "first" => Value::Bool(turn == 0),
            "last" => Value::Bool(turn + 1 == turns),
            "parent" if number > 0 => Value::Loop(number - 1),
            _ => Value::Nothing,
        }
    }

    fn index(&mut self, value: &Value, index: &Value) -> Result<Value> {
        match (value, index) {
            (Value::List(list), Value::Int(index)) => {
                let items = &self.heap.list(*list).items;
                Ok(place(items.len(), *index).map_or(Value::Nothing, |at| items[at].clone()))
            }
            (Value::Map(_), index) => {
                let name = self.print(index)?;
                self.member(value, &name)
            }
            _ => Ok(Value::Nothing),
        }
    }

    /// `#set`. What leads nowhere, and what is no map or list, is left as it is.
    pub(crate) fn assign(&mut self, target: &'t Reference, value: Value) -> Result<()> {
        let Some((last, way)) = target.steps.split_last() else {
            self.heap.spend_text(target.name.len())?;
            self.names.insert(Arc::clone(&target.name), value);
            return Ok(());
        };
        let Some(mut holder) = self.names.get(&target.name).cloned() else { return Ok(()) };
        for step in way {
            holder = self.step(&holder, step)?;
        }
        let index = match last {
            Step::Member(name) => Value::Text(Arc::clone(name)),
            Step::Index(index) => self.expression(index)?,
            Step::Method(..) => return Ok(()),
        };
        match (holder, index) {
            (Value::Map(map), index) => {
                let key = self.print(&index)?;
                self.heap.put(map, key.into(), value)?;
            }
            (Value::List(list), Value::Int(index)) => {
                let items = self.heap.list_mut(list);
                if let Some(at) = place(items.len(), index) {
                    items[at] = value;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn input_method(&mut self, name: &str, arguments: &[Value]) -> Result<Value> {
        match (name, arguments) {
            ("path", [path]) => match self.found(path)? {
                Some(found) => self.heap.json(&found),
                None => Ok(Value::Nothing),
            },
            ("json", [path]) => match self.found(path)? {
                Some(found) => self.heap.text(found.to_string()),
                None => self.heap.text("\"\""),
            },
            ("params", []) => {
                let input = self.input;
                let groups = [
                    ("path", &input.path),
                    ("querystring", &input.querystring),
                    ("header", &input.header),
                ];
                let mut made = Vec::new();
                for (name, parameters) in groups {
                    let mut entries = Vec::new();
                    for (name, value) in parameters {
                        entries.push((Arc::from(name.as_str()), self.heap.text(value.as_str())?));
                    }
                    let map = self.heap.new_map(MapKind::Plain, entries)?;
                    made.push((Arc::from(name), Value::Map(map)));
                }
                Ok(Value::Map(self.heap.new_map(MapKind::Plain, made)?))
            }
            ("params", [name]) => {
                let name = self.print(name)?;
                match self.parameter(&name) {
                    Some(value) => self.heap.text(value),
                    None => Ok(Value::Nothing),
                }
            }
            ("getBody", []) => self.member(&Value::Input, "body"),
            _ => Ok(Value::Nothing),
        }
    }

    /// A parameter of the path, the query or the headers; a header in any case, if none is written so.
    fn parameter(&self, name: &str) -> Option<&'t str> {
        let input = self.input;
        let exact = |(given, _): &&(String, String)| given == name;
        let groups = [&input.path, &input.querystring, &input.header];
        let found = groups.into_iter().find_map(|group| group.iter().rev().find(exact));
        let found = found.or_else(|| {
            input.header.iter().rev().find(|(given, _)| given.eq_ignore_ascii_case(name))
        });
        found.map(|(_, value)| value.as_str())
    }

    /// What a path leads to in the body; nothing as well where the body is no JSON, or the path is none.
    fn found(&mut self, path: &Value) -> Result<Option<serde_json::Value>> {
        let path = self.print(path)?;
        self.heap.spend_text(path.len())?;
        let Some(path) = JsonPath::parse(&path) else { return Ok(None) };
        let Some(json) = self.json()? else { return Ok(None) };
        let (found, visits) = path.find_counted(json);
        self.heap.spend(visits)?;
        Ok(found)
    }

    fn util_method(&mut self, name: &str, arguments: &[Value]) -> Result<Value> {
        let [value] = arguments else { return Ok(Value::Nothing) };
        if name == "escapeJavaScript" && *value == Value::Nothing {
            return self.heap.text("null");
        }
        let text = self.print(value)?;
        self.heap.spend_text(text.len() * 4)?;
        match name {
            "escapeJavaScript" => self.heap.text(encode::escape_java_script(&text)),
            "urlEncode" => self.heap.text(encode::url_encode(&text)),
            "urlDecode" => self.heap.text(encode::url_decode(&text)),
            "base64Encode" => self.heap.text(encode::base64_encode(&text)),
            "base64Decode" => match encode::base64_decode(&text) {
                Some(text) => self.heap.text(text),
                None => Ok(Value::Nothing),
            },
            "parseJson" => match serde_json::from_str(&text) {
                Ok(json) => self.heap.json(&json),
                Err(_) => Ok(Value::Nothing),
            },
            _ => Ok(Value::Nothing),
        }
    }

    pub(crate) fn java_list(&mut self, items: Vec<Value>) -> Result<Value> {
        self.heap.new_list(ListKind::Java, items)
    }
}

/// The place of an index in a list; from the end where it is negative.
pub(crate) fn place(length: usize, index: i64) -> Option<usize> {
    let distance = usize::try_from(index.unsigned_abs()).ok()?;
    let at = if index < 0 { length.checked_sub(distance)? } else { distance };
    (at < length).then_some(at)
}
