//! What `cargo xtask fuzz` feeds with bytes: templates, with the body that they are rendered for.
//!
//! The function panics when something is wrong. In an ordinary build it is not there.

use crate::{Input, Scope, Template, limits::OUTPUT_BYTES_MAX, mock, path::JsonPath};

/// A body in the first line, a template in the others: rendering ends, and makes no more than it may.
pub fn template(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (body, template) = text.split_once('\n').unwrap_or(("{}", text));
    if let Some(path) = JsonPath::parse(body) {
        let _ = path.find(&serde_json::json!({"a": [1, {"b": "c"}]}));
    }
    let _ = mock::status(template);
    let Ok(template) = Template::parse(template) else { return };
    let scope = Scope { input: Input { body, ..Input::default() }, ..Scope::default() };
    if let Ok(rendered) = template.render(&scope) {
        assert!(rendered.text.len() <= OUTPUT_BYTES_MAX);
    }
}
