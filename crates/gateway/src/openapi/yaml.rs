//! YAML, as far as definitions are written in it: read into the values of JSON, and written from them.
//!
//! Aliases are copied where they stand, so that a short text could stand for a huge value; therefore nodes, bytes and
//! depth are counted with what aliases add, and bounded. Scalars are read by the core schema of YAML 1.2, but digits
//! after a leading zero stay text, since they are the ids of accounts. Other tags than those of the core schema are
//! refused: they ask somebody to compute something.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};
use serde_json::{Map, Value};

use crate::limits::{DEFINITION_BYTES_MAX, DEFINITION_DEPTH_MAX, DEFINITION_NODES_MAX};

/// The longest key that may stand before its colon on one line, by the specification of YAML.
const SIMPLE_KEY_MAX: usize = 1_000;

/// Reads a text with one document.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read(text: &str) -> Result<Value, String> {
    let mut reader = Reader::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| error.to_string())?;
        reader.take(event).map_err(|problem| format!("{problem} at line {}", span.start.line()))?;
    }
    reader.root.ok_or_else(|| "the document is empty".to_owned())
}

/// What a value takes, with everything in it.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    nodes: usize,
    bytes: usize,
    height: usize,
}

/// A collection under way.
struct Open {
    anchor: usize,
    before: Size,
    height: usize,
    content: Content,
}

enum Content {
    List(Vec<Value>),
    /// With the key whose value is awaited, and what `<<` adds.
    Map(Map<String, Value>, Option<String>, Vec<Value>),
}

#[derive(Default)]
struct Reader {
    open: Vec<Open>,
    anchors: HashMap<usize, (Value, Size)>,
    /// Of all that was read, and all copies.
    total: Size,
    root: Option<Value>,
}

impl Reader {
    fn take(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let size = Size { nodes: 1, bytes: text.len(), height: 0 };
                self.count(size)?;
                let value = scalar(text.into_owned(), style, tag.as_deref())?;
                self.put(value, anchor, size)
            }
            Event::Alias(anchor) => {
                let found = self.anchors.get(&anchor).map(|(_, size)| *size);
                let size = found.ok_or("an alias stands inside of what it names")?;
                self.count(size)?;
                let value = self.anchors.get(&anchor).map(|(value, _)| value.clone());
                self.put(value.unwrap_or_default(), 0, size)
            }
            Event::SequenceStart(anchor, tag) => {
                self.begin(anchor, tag.as_deref(), Content::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                let content = Content::Map(Map::new(), None, Vec::new());
                self.begin(anchor, tag.as_deref(), content)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::DocumentStart(_) if self.root.is_some() => {
                Err("there is more than one document".to_owned())
            }
            Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::StreamStart
            | Event::StreamEnd
            | Event::Nothing => Ok(()),
        }
    }

    fn count(&mut self, size: Size) -> Result<(), String> {
        self.total.nodes += size.nodes;
        self.total.bytes += size.bytes;
        if self.open.len() + size.height > DEFINITION_DEPTH_MAX {
            return Err(format!("the document is deeper than {DEFINITION_DEPTH_MAX} levels"));
        }
        // What anchors keep counts as well, hence a multiple.
        if self.total.nodes > DEFINITION_NODES_MAX || self.total.bytes > 4 * DEFINITION_BYTES_MAX {
            return Err("the document is too large with what its aliases add".to_owned());
        }
        Ok(())
    }

    fn begin(&mut self, anchor: usize, tag: Option<&Tag>, content: Content) -> Result<(), String> {
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
            return Err(unknown(tag));
        }
        let before = self.total;
        self.count(Size { nodes: 1, bytes: 0, height: 1 })?;
        self.open.push(Open { anchor, before, height: 0, content });
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let size = Size {
            nodes: self.total.nodes - open.before.nodes,
            bytes: self.total.bytes - open.before.bytes,
            height: open.height + 1,
        };
        let value = match open.content {
            Content::List(items) => Value::Array(items),
            Content::Map(map, _, merged) => Value::Object(merge(map, merged)?),
        };
        self.put(value, open.anchor, size)
    }

    /// Puts a value, which is counted already, where it belongs.
    fn put(&mut self, value: Value, anchor: usize, size: Size) -> Result<(), String> {
        if anchor != 0 {
            self.count(Size { height: 0, ..size })?;
            self.anchors.insert(anchor, (value.clone(), size));
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(value);
            return Ok(());
        };
        open.height = open.height.max(size.height);
        match &mut open.content {
            Content::List(items) => items.push(value),
            Content::Map(map, awaited, merged) => match awaited.take() {
                None => *awaited = Some(key(value)?),
                Some(key) if key == "<<" => merged.push(value),
                Some(key) if map.contains_key(&key) => {
                    return Err(format!("the key {key} stands twice in one mapping"));
                }
                Some(key) => _ = map.insert(key, value),
            },
        }
        Ok(())
    }
}

/// A key is text, whatever it looks like: statuses are written as numbers.
fn key(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Number(_) | Value::Bool(_) | Value::Null => Ok(value.to_string()),
        Value::Array(_) | Value::Object(_) => Err("a key is a collection".to_owned()),
    }
}

/// What `<<` adds: the members that are not there.
fn merge(mut map: Map<String, Value>, merged: Vec<Value>) -> Result<Map<String, Value>, String> {
    let flat = merged.into_iter().flat_map(|value| match value {
        Value::Array(items) => items,
        other => vec![other],
    });
    for value in flat {
        let Value::Object(members) = value else {
            return Err("what is merged is no mapping".to_owned());
        };
        for (key, value) in members {
            map.entry(key).or_insert(value);
        }
    }
    Ok(map)
}

fn scalar(text: String, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() => Err(unknown(tag)),
        Some(tag) if tag.suffix == "str" => Ok(Value::String(text)),
        Some(_) | None if style == ScalarStyle::Plain => Ok(plain(text)),
        Some(_) | None => Ok(Value::String(text)),
    }
}

fn unknown(tag: &Tag) -> String {
    format!("the tag {}{} is not known", tag.handle, tag.suffix)
}

fn plain(text: String) -> Value {
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.trim_start_matches(['-', '+']);
    let signs = text.len() - digits.len();
    let leading_zero = digits.len() > 1
        && digits.starts_with('0')
        && digits.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
    let numeric =
        |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'-' | b'+');
    let begins = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if signs > 1 || leading_zero || !begins || !digits.bytes().all(numeric) {
        return Value::String(text);
    }
    if let Ok(number) = text.parse::<i64>() {
        return number.into();
    }
    let number = text.parse::<f64>().ok().and_then(serde_json::Number::from_f64);
    number.map_or(Value::String(text), Value::Number)
}

/// Writes a value, in blocks.
pub(crate) fn write(value: &Value) -> String {
    let mut text = "---\n".to_owned();
    match value {
        Value::Object(map) if !map.is_empty() => write_map(&mut text, map, 0),
        Value::Array(items) if !items.is_empty() => write_list(&mut text, items, 0),
        scalar => {
            text.push_str(&inline(scalar));
            text.push('\n');
        }
    }
    text
}

fn write_map(text: &mut String, map: &Map<String, Value>, depth: usize) {
    for (at, (key, value)) in map.iter().enumerate() {
        // The first member of an item stands on the line of its dash.
        if at > 0 || !text.ends_with("- ") {
            indent(text, depth);
        }
        let written = write_key(key);
        if written.len() > SIMPLE_KEY_MAX {
            text.push_str("? ");
            text.push_str(&written);
            text.push('\n');
            indent(text, depth);
        } else {
            text.push_str(&written);
        }
        text.push(':');
        match value {
            Value::Object(map) if !map.is_empty() => {
                text.push('\n');
                write_map(text, map, depth + 1);
            }
            Value::Array(items) if !items.is_empty() => {
                text.push('\n');
                write_list(text, items, depth);
            }
            scalar => {
                text.push(' ');
                text.push_str(&inline(scalar));
                text.push('\n');
            }
        }
    }
}

fn write_list(text: &mut String, items: &[Value], depth: usize) {
    for item in items {
        indent(text, depth);
        match item {
            Value::Object(map) if !map.is_empty() => {
                text.push_str("- ");
                write_map(text, map, depth + 1);
            }
            Value::Array(items) if !items.is_empty() => {
                text.push_str("-\n");
                write_list(text, items, depth + 1);
            }
            scalar => {
                text.push_str("- ");
                text.push_str(&inline(scalar));
                text.push('\n');
            }
        }
    }
}

fn indent(text: &mut String, depth: usize) {
    text.extend(std::iter::repeat_n("  ", depth));
}

fn write_key(key: &str) -> String {
    /// What older readers take for something else than text.
    const WORDS: [&str; 10] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan"];
    let plain = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_-".contains(&byte))
        && !WORDS.contains(&key.to_ascii_lowercase().as_str());
    if plain { key.to_owned() } else { quoted(key) }
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

/// In double quotes. JSON's escapes are YAML's, but YAML takes more characters for ends of lines or for none.
fn quoted(text: &str) -> String {
    let mut written = String::with_capacity(text.len() + 2);
    for c in Value::from(text).to_string().chars() {
        match c {
            '\u{7f}'..='\u{9f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                written.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => written.push(c),
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_read() {
        let text = "openapi: 3.0.1\na: &x {b: 1, 'c': \"2\"}\nlist:\n- *x\n- <<: *x\n  b: 3\n200: ~\n\
                    account: 012345678901\nfloat: 1.5\nfolded: >-\n  one\n  two\nyes: yes\nversion: !!str 1.0\n";
        let expected = json!({
            "openapi": "3.0.1", "a": {"b": 1, "c": "2"}, "list": [{"b": 1, "c": "2"}, {"b": 3, "c": "2"}],
            "200": null, "account": "012345678901", "float": 1.5, "folded": "one two", "yes": "yes", "version": "1.0",
        });
        assert_eq!(read(text).unwrap(), expected);
    }

    #[test]
    fn what_is_refused() {
        for (text, problem) in [
            ("", "empty"),
            ("a: 1\n---\nb: 2", "more than one"),
            ("a: 1\na: 2", "twice"),
            ("? [a]\n: 1", "collection"),
            ("a: !Sub x", "!Sub is not known"),
            ("a: &x [*x]", "inside"),
            ("a: [", ""),
            ("<<: 1", "no mapping"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn bombs_do_not_go_off() {
        let mut laughs = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
        for level in 1..20 {
            let before = format!("*a{}, ", level - 1).repeat(10);
            laughs.push_str(&format!("a{level}: &a{level} [{before}]\n"));
        }
        assert!(read(&laughs).unwrap_err().contains("aliases"));
        let long = format!("a: &a {}\nb: [{}]", "x".repeat(1 << 20), "*a, ".repeat(100));
        assert!(read(&long).unwrap_err().contains("aliases"));
        let deep = |levels| read(&format!("{}{}", "[".repeat(levels), "]".repeat(levels)));
        assert!(deep(100).unwrap_err().contains("deeper"));
        assert!(deep(1 << 16).is_err());
        let mut chain = "a0: &a0 [x]\n".to_owned();
        for level in 1..200 {
            chain.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
        }
        assert!(read(&chain).unwrap_err().contains("deeper"));
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[-0-9.eE+]{1,6}|true|null|~|<<|# x|- x|a: b".prop_map(Value::from),
        ];
        let key = prop_oneof![any::<String>(), "[a-z/{}$]{1,8}|true|1|.*: x"];
        leaf.prop_recursive(4, 40, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec(
                    (key.clone().prop_filter("merges", |key| key != "<<"), inner),
                    0..5
                )
                .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(value in any_value()) {
            let text = write(&value);
            prop_assert_eq!(read(&text).map_err(|error| format!("{error}: {text}")), Ok(value));
        }

        #[test]
        fn hostile_texts_do_no_harm(text in "[-?:,\\[\\]{}#&*!|>'\"%@`a \n\t0]{0,60}") {
            let _ = read(&text);
        }
    }

    #[test]
    fn long_keys_are_read_again() {
        let value = json!({"a": {("/{x}".repeat(400)): {"b": 1}, "c": [1]}});
        assert_eq!(read(&write(&value)).unwrap(), value);
    }
}
