//! A mapping template that makes what a model's schema describes: a start for whoever writes one by hand.

use std::fmt::Write as _;

use serde_json::Value;

use crate::limits::SAMPLE_DEPTH_MAX;

/// The template.
pub(crate) fn template(schema: &Value) -> String {
    let mut text = String::from("#set($inputRoot = $input.path('$'))\n");
    write_value(&mut text, schema, "$inputRoot", 0);
    text
}

fn write_value(text: &mut String, schema: &Value, from: &str, depth: usize) {
    let indent = "  ".repeat(depth);
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    match kind {
        _ if depth > SAMPLE_DEPTH_MAX => text.push_str("null"),
        "object" | "" => {
            text.push_str("{\n");
            let properties = schema.get("properties").and_then(Value::as_object);
            let count = properties.map_or(0, serde_json::Map::len);
            for (nth, (name, member)) in properties.into_iter().flatten().enumerate() {
                let _ = write!(text, "{indent}  {} : ", Value::from(name.as_str()));
                write_value(text, member, &format!("{from}.{name}"), depth + 1);
                text.push_str(if nth + 1 < count { ",\n" } else { "\n" });
            }
            let _ = write!(text, "{indent}}}");
        }
        "array" => {
            let _ = write!(
                text,
                "[\n##Point this loop at the list in the input\n\
                 #foreach($elem in {from})\n{indent}  "
            );
            let items = schema.get("items").cloned().unwrap_or_default();
            write_value(text, &items, "$elem", depth + 1);
            let _ = write!(text, "#if($foreach.hasNext),#end\n#end\n{indent}]");
        }
        "integer" => text.push_str("42"),
        "number" => text.push_str("3.149"),
        "boolean" => text.push_str("true"),
        "null" => text.push_str("null"),
        _ => text.push_str("\"foo\""),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_template_of_a_schema() {
        let schema = json!({"type": "object", "properties": {"a": {"type": "string"}, "n": {"type": "integer"}}});
        assert_eq!(
            template(&schema),
            "#set($inputRoot = $input.path('$'))\n{\n  \"a\" : \"foo\",\n  \"n\" : 42\n}"
        );
        let list = template(&json!({"type": "array", "items": {"type": "boolean"}}));
        assert!(list.contains("#foreach($elem in $inputRoot)") && list.contains("true"));
    }
}
