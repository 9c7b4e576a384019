//! The methods of Java's strings, lists, maps and numbers that templates use. A method that is not here gives nothing.

use std::sync::Arc;

use crate::{
    Failed,
    evaluate::{Result, Run},
    limits::OUTPUT_BYTES_MAX,
    pattern,
    reference::place,
    value::{MapKind, Value},
};

fn int(number: usize) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

impl Run<'_> {
    /// Calls a method of a value.
    pub(crate) fn method(&mut self, on: &Value, name: &str, arguments: &[Value]) -> Result<Value> {
        match (name, arguments) {
            ("toString", []) if *on != Value::Nothing => {
                let text = self.print(on)?;
                return self.heap.text(text);
            }
            ("equals", [other]) => {
                // Java's, which knows no text that is a number.
                let same = std::mem::discriminant(on) == std::mem::discriminant(other);
                return Ok(Value::Bool(same && self.equal(on, other)?));
            }
            _ => {}
        }
        match on {
            Value::Text(text) => self.text_method(text, name, arguments),
            Value::List(list) => self.list_method(*list, name, arguments),
            Value::Map(map) => self.map_method(*map, name, arguments),
            Value::Int(_) | Value::Float(_) | Value::Bool(_) => {
                self.number_method(on, name, arguments)
            }
            // So a parameter that is missing can be asked for its length.
            Value::Nothing => Ok(match name {
                "length" => Value::Int(0),
                "isEmpty" => Value::Bool(true),
                _ => Value::Nothing,
            }),
            Value::Loop(_) | Value::Block(_) | Value::Input | Value::Util => Ok(Value::Nothing),
        }
    }

    fn texts(&mut self, values: &[Value]) -> Result<Vec<String>> {
        values.iter().map(|value| self.print(value)).collect()
    }

    fn text_method(&mut self, text: &Arc<str>, name: &str, arguments: &[Value]) -> Result<Value> {
        self.heap.spend_text(text.len())?;
        let numbers: Vec<Option<usize>> = arguments
            .iter()
            .map(|value| match value {
                Value::Int(number) => usize::try_from(*number).ok(),
                _ => None,
            })
            .collect();
        match (name, numbers.as_slice()) {
            ("length", []) => return Ok(int(text.encode_utf16().count())),
            ("isEmpty", []) => return Ok(Value::Bool(text.is_empty())),
            ("isBlank", []) => return Ok(Value::Bool(text.trim().is_empty())),
            ("toUpperCase", []) => return self.heap.text(text.to_uppercase()),
            ("toLowerCase", []) => return self.heap.text(text.to_lowercase()),
            ("trim" | "strip", []) => return self.heap.text(text.trim()),
            ("substring", [Some(from)]) => return self.substring(text, *from, None),
            ("substring", [Some(from), Some(to)]) => return self.substring(text, *from, Some(*to)),
            ("charAt", [Some(at)]) => return self.substring(text, *at, Some(at + 1)),
            _ => {}
        }
        let given = self.texts(arguments)?;
        let given: Vec<&str> = given.iter().map(String::as_str).collect();
        match (name, given.as_slice()) {
            ("concat", [other]) => self.heap.text(format!("{text}{other}")),
            ("startsWith", [other]) => Ok(Value::Bool(text.starts_with(other))),
            ("endsWith", [other]) => Ok(Value::Bool(text.ends_with(other))),
            ("contains", [other]) => Ok(Value::Bool(text.contains(other))),
            ("equalsIgnoreCase", [other]) => {
                Ok(Value::Bool(text.to_lowercase() == other.to_lowercase()))
            }
            ("compareTo", [other]) => Ok(Value::Int(text.as_ref().cmp(other) as i64)),
            ("indexOf", [other]) => Ok(unit_at(text, text.find(other))),
            ("lastIndexOf", [other]) => Ok(unit_at(text, text.rfind(other))),
            ("replace", [from, to]) => {
                let count =
                    if from.is_empty() { text.len() + 1 } else { text.matches(from).count() };
                self.room(text.len() + count.saturating_mul(to.len()))?;
                self.heap.text(text.replace(from, to))
            }
            ("replaceAll" | "replaceFirst" | "matches" | "split", [regex, more @ ..]) => {
                self.pattern_method(text, name, regex, more, numbers.last().copied().flatten())
            }
            _ => Ok(Value::Nothing),
        }
    }

    /// Spends what a text of so many bytes takes, before it is made.
    fn room(&mut self, bytes: usize) -> Result<()> {
        if bytes > OUTPUT_BYTES_MAX {
            return Err(Failed::TooLarge);
        }
        self.heap.spend_text(bytes)
    }

    fn pattern_method(
        &mut self,
        text: &str,
        name: &str,
        regex: &str,
        more: &[&str],
        limit: Option<usize>,
    ) -> Result<Value> {
        // Compiling one costs, and so does searching.
        self.heap.spend(100 + regex.len() + text.len() / 4)?;
        let compiled =
            if name == "matches" { pattern::whole(regex) } else { pattern::compile(regex) };
        let Some(compiled) = compiled else { return Ok(Value::Nothing) };
        match (name, more) {
            ("matches", []) => Ok(Value::Bool(compiled.is_match(text).unwrap_or(false))),
            ("split", [] | [_]) => {
                let limit = if more.is_empty() { 0 } else { limit.unwrap_or(0) };
                let Some(parts) = pattern::split(&compiled, text, limit) else {
                    return Err(Failed::TooLong);
                };
                let mut items = Vec::with_capacity(parts.len());
                for part in parts {
                    items.push(self.heap.text(part)?);
                }
                self.java_list(items)
            }
            ("replaceAll" | "replaceFirst", [with]) => {
                let all = name == "replaceAll";
                let made = pattern::replace(&compiled, text, with, all, OUTPUT_BYTES_MAX);
                self.heap.text(made.ok_or(Failed::TooLong)?)
            }
            _ => Ok(Value::Nothing),
        }
    }

    /// A part of a text, in UTF-16 units as Java counts; nothing where Java would throw.
    fn substring(&mut self, text: &str, from: usize, to: Option<usize>) -> Result<Value> {
        let units: Vec<u16> = text.encode_utf16().collect();
        match units.get(from..to.unwrap_or(units.len())) {
            Some(part) => self.heap.text(String::from_utf16_lossy(part)),
            None => Ok(Value::Nothing),
        }
    }

    fn list_method(&mut self, list: usize, name: &str, arguments: &[Value]) -> Result<Value> {
        let length = self.heap.list(list).items.len();
        match (name, arguments) {
            ("size" | "length", []) => Ok(int(length)),
            ("isEmpty", []) => Ok(Value::Bool(length == 0)),
            ("get", [Value::Int(index)]) => Ok(match place(length, *index) {
                Some(at) => self.heap.list(list).items[at].clone(),
                None => Value::Nothing,
            }),
            ("set", [Value::Int(index), value]) => Ok(match place(length, *index) {
                Some(at) => std::mem::replace(&mut self.heap.list_mut(list)[at], value.clone()),
                None => Value::Nothing,
            }),
            ("add", [value]) => {
                self.heap.list_mut(list).push(value.clone());
                Ok(Value::Bool(true))
            }
            ("add", [Value::Int(index), value]) => {
                self.heap.spend(length)?;
                if let Some(at) = place(length + 1, *index) {
                    self.heap.list_mut(list).insert(at, value.clone());
                }
                Ok(Value::Nothing)
            }
            ("addAll", [Value::List(other)]) => {
                let more = self.heap.list(*other).items.clone();
                self.heap.spend(more.len())?;
                self.heap.list_mut(list).extend(more);
                Ok(Value::Bool(true))
            }
            ("remove", [Value::Int(index)]) => {
                self.heap.spend(length)?;
                Ok(match place(length, *index) {
                    Some(at) => self.heap.list_mut(list).remove(at),
                    None => Value::Nothing,
                })
            }
            ("remove" | "contains" | "indexOf", [value]) => {
                let found = self.position(list, value)?;
                Ok(match (name, found) {
                    ("contains", found) => Value::Bool(found.is_some()),
                    ("indexOf", found) => found.map_or(Value::Int(-1), int),
                    (_, Some(at)) => {
                        self.heap.list_mut(list).remove(at);
                        Value::Bool(true)
                    }
                    (_, None) => Value::Bool(false),
                })
            }
            ("clear", []) => {
                self.heap.list_mut(list).clear();
                Ok(Value::Nothing)
            }
            _ => Ok(Value::Nothing),
        }
    }

    fn position(&mut self, list: usize, value: &Value) -> Result<Option<usize>> {
        for at in 0..self.heap.list(list).items.len() {
            self.heap.spend(1)?;
            let item = self.heap.list(list).items[at].clone();
            if self.equal(&item, value)? {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    fn map_method(&mut self, map: usize, name: &str, arguments: &[Value]) -> Result<Value> {
        let entries = &self.heap.map(map).entries;
        match (name, arguments) {
            ("size", []) => return Ok(int(entries.len())),
            ("isEmpty", []) => return Ok(Value::Bool(entries.is_empty())),
            ("keySet" | "entrySet" | "values", []) => return self.map_view(map, name),
            ("getKey" | "getValue", []) if self.heap.map(map).kind == MapKind::Entry => {
                let member = if name == "getKey" { "key" } else { "value" };
                return Ok(entries.get(member).cloned().unwrap_or(Value::Nothing));
            }
            ("clear", []) => {
                self.heap.map_mut(map).clear();
                return Ok(Value::Nothing);
            }
            ("putAll", [Value::Map(other)]) => {
                let more: Vec<_> = self.heap.map(*other).entries.clone().into_iter().collect();
                for (key, value) in more {
                    self.heap.put(map, key, value)?;
                }
                return Ok(Value::Nothing);
            }
            ("containsValue", [value]) => {
                let values: Vec<_> = entries.values().cloned().collect();
                for held in values {
                    self.heap.spend(1)?;
                    if self.equal(&held, value)? {
                        return Ok(Value::Bool(true));
                    }
                }
                return Ok(Value::Bool(false));
            }
            _ => {}
        }
        let Some((key, more)) = arguments.split_first() else { return Ok(Value::Nothing) };
        let key: Arc<str> = self.print(key)?.into();
        let held = self.heap.map(map).entries.get(&key).cloned();
        match (name, more) {
            ("get", []) => Ok(held.unwrap_or(Value::Nothing)),
            ("getOrDefault", [other]) => Ok(held.unwrap_or_else(|| other.clone())),
            ("containsKey", []) => Ok(Value::Bool(held.is_some())),
            ("put", [value]) => self.heap.put(map, key, value.clone()),
            ("putIfAbsent", [_]) if held.is_some() => Ok(held.unwrap_or(Value::Nothing)),
            ("putIfAbsent", [value]) => self.heap.put(map, key, value.clone()),
            ("remove", []) => {
                self.heap.spend(self.heap.map(map).entries.len())?;
                self.heap.map_mut(map).shift_remove(&key);
                Ok(held.unwrap_or(Value::Nothing))
            }
            _ => Ok(Value::Nothing),
        }
    }

    /// The keys, values or entries of a map, as a list.
    fn map_view(&mut self, map: usize, name: &str) -> Result<Value> {
        let entries: Vec<_> = self.heap.map(map).entries.clone().into_iter().collect();
        let mut items = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            self.heap.spend(1)?;
            items.push(match name {
                "keySet" => Value::Text(key),
                "values" => value,
                _ => {
                    let members =
                        [(Arc::from("key"), Value::Text(key)), (Arc::from("value"), value)];
                    Value::Map(self.heap.new_map(MapKind::Entry, members)?)
                }
            });
        }
        self.java_list(items)
    }

    /// Methods of numbers and of truth values; the static ones too, which templates reach through any number.
    fn number_method(&mut self, on: &Value, name: &str, arguments: &[Value]) -> Result<Value> {
        let texts = self.texts(arguments)?;
        let text = texts.first().map(|text| text.trim()).unwrap_or_default();
        Ok(match (on, name, arguments) {
            (_, "parseInt" | "parseLong" | "valueOf", [_]) if matches!(on, Value::Int(_)) => {
                text.parse().map_or(Value::Nothing, Value::Int)
            }
            (_, "parseDouble" | "parseFloat" | "valueOf", [_]) if matches!(on, Value::Float(_)) => {
                text.parse().map_or(Value::Nothing, Value::Float)
            }
            (Value::Bool(_), "parseBoolean" | "valueOf", [_]) => {
                Value::Bool(text.eq_ignore_ascii_case("true"))
            }
            (Value::Bool(_), "booleanValue", []) => on.clone(),
            (Value::Int(_), "intValue" | "longValue", []) => on.clone(),
            (Value::Float(_), "doubleValue" | "floatValue", []) => on.clone(),
            (Value::Float(number), "intValue" | "longValue", []) => whole(*number),
            #[expect(clippy::cast_precision_loss, reason = "as Java does")]
            (Value::Int(number), "doubleValue" | "floatValue", []) => Value::Float(*number as f64),
            _ => Value::Nothing,
        })
    }
}

/// The number without its fraction.
#[expect(clippy::cast_possible_truncation, reason = "it saturates, as Java's does")]
fn whole(number: f64) -> Value {
    Value::Int(number as i64)
}

/// The place of a byte in UTF-16 units, and -1 for none.
fn unit_at(text: &str, byte: Option<usize>) -> Value {
    byte.map_or(Value::Int(-1), |byte| int(text[..byte].encode_utf16().count()))
}
