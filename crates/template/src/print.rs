//! Values as text: as Java prints them, and as JSON.

use crate::{
    Failed,
    limits::VALUE_DEPTH_MAX,
    value::{Heap, ListKind, MapKind, Value},
};

impl Heap {
    /// A value as a template prints it. Blocks of `#define` are the evaluation's to print.
    pub(crate) fn print(&mut self, value: &Value) -> Result<String, Failed> {
        let mut text = String::new();
        if let Value::Map(map) = value
            && matches!(self.map(*map).kind, MapKind::Silent | MapKind::Overrides)
        {
            return Ok(text);
        }
        if *value != Value::Nothing {
            self.print_to(&mut text, value, 0)?;
        }
        Ok(text)
    }

    fn print_to(&mut self, to: &mut String, value: &Value, depth: usize) -> Result<(), Failed> {
        if depth > VALUE_DEPTH_MAX {
            return Err(Failed::TooDeep);
        }
        match value {
            Value::Nothing => self.write(to, "null"),
            Value::Bool(bool) => self.write(to, if *bool { "true" } else { "false" }),
            Value::Int(number) => self.write(to, &number.to_string()),
            Value::Float(number) => self.write(to, &float_text(*number)),
            Value::Text(text) => self.write(to, text),
            Value::List(list) => match self.list(*list).kind {
                ListKind::Json => self.json_to(to, value, depth),
                ListKind::Java => self.print_list(to, *list, depth),
            },
            Value::Map(map) => self.print_map(to, *map, depth),
            Value::Loop(_) | Value::Block(_) | Value::Input | Value::Util => self.spend(1),
        }
    }

    fn write(&mut self, to: &mut String, text: &str) -> Result<(), Failed> {
        self.spend_text(text.len())?;
        to.push_str(text);
        Ok(())
    }

    fn print_list(&mut self, to: &mut String, list: usize, depth: usize) -> Result<(), Failed> {
        self.write(to, "[")?;
        for at in 0..self.list(list).items.len() {
            if at > 0 {
                self.write(to, ", ")?;
            }
            let item = self.list(list).items[at].clone();
            self.print_to(to, &item, depth + 1)?;
        }
        self.write(to, "]")
    }

    fn print_map(&mut self, to: &mut String, map: usize, depth: usize) -> Result<(), Failed> {
        let is_entry = self.map(map).kind == MapKind::Entry;
        if is_entry {
            let entries = &self.map(map).entries;
            let (key, value) = (entries.get("key").cloned(), entries.get("value").cloned());
            self.print_to(to, &key.unwrap_or(Value::Nothing), depth + 1)?;
            self.write(to, "=")?;
            return self.print_to(to, &value.unwrap_or(Value::Nothing), depth + 1);
        }
        self.write(to, "{")?;
        for at in 0..self.map(map).entries.len() {
            if at > 0 {
                self.write(to, ", ")?;
            }
            let Some((key, value)) = self.map(map).entries.get_index(at) else { break };
            let (key, value) = (key.clone(), value.clone());
            self.write(to, &key)?;
            self.write(to, "=")?;
            self.print_to(to, &value, depth + 1)?;
        }
        self.write(to, "}")
    }

    fn json_to(&mut self, to: &mut String, value: &Value, depth: usize) -> Result<(), Failed> {
        if depth > VALUE_DEPTH_MAX {
            return Err(Failed::TooDeep);
        }
        match value {
            Value::List(list) => {
                self.write(to, "[")?;
                for at in 0..self.list(*list).items.len() {
                    if at > 0 {
                        self.write(to, ",")?;
                    }
                    let item = self.list(*list).items[at].clone();
                    self.json_to(to, &item, depth + 1)?;
                }
                self.write(to, "]")
            }
            Value::Map(map) => {
                self.write(to, "{")?;
                for at in 0..self.map(*map).entries.len() {
                    if at > 0 {
                        self.write(to, ",")?;
                    }
                    let Some((key, value)) = self.map(*map).entries.get_index(at) else { break };
                    let (key, value) = (key.clone(), value.clone());
                    self.write(to, &serde_json::Value::from(&*key).to_string())?;
                    self.write(to, ":")?;
                    self.json_to(to, &value, depth + 1)?;
                }
                self.write(to, "}")
            }
            Value::Text(text) => self.write(to, &serde_json::Value::from(&**text).to_string()),
            Value::Float(number) => self.write(to, &serde_json::Value::from(*number).to_string()),
            Value::Nothing | Value::Bool(_) | Value::Int(_) => self.print_to(to, value, depth),
            Value::Loop(_) | Value::Block(_) | Value::Input | Value::Util => self.write(to, "null"),
        }
    }
}

/// A number as Java's `Double` prints it.
fn float_text(number: f64) -> String {
    let size = number.abs();
    if !number.is_finite() {
        return if number.is_nan() {
            "NaN"
        } else if number > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        }
        .to_owned();
    }
    if size == 0.0 || (1e-3..1e7).contains(&size) {
        return format!("{number:?}");
    }
    let text = format!("{number:E}");
    match text.split_once('E') {
        Some((mantissa, exponent)) if !mantissa.contains('.') => format!("{mantissa}.0E{exponent}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::float_text;

    #[test]
    fn floats_print_as_in_java() {
        for (number, text) in [
            (1.0, "1.0"),
            (3.149, "3.149"),
            (0.0, "0.0"),
            (-2.5, "-2.5"),
            (1e7, "1.0E7"),
            (1.5e-4, "1.5E-4"),
            (123_456_789.5, "1.234567895E8"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(float_text(number), text);
        }
    }
}
