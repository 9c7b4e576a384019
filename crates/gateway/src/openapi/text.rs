//! The text of a definition: JSON where it begins like an object, YAML otherwise.

use serde_json::Value;

use super::yaml;
use crate::limits::DEFINITION_BYTES_MAX;

/// Reads a text.
///
/// # Errors
/// What is wrong with it, for its author.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    if text.len() > DEFINITION_BYTES_MAX {
        return Err(format!("The definition is larger than {DEFINITION_BYTES_MAX} bytes"));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_start().starts_with('{') {
        // A flow mapping of YAML begins so, too.
        return serde_json::from_str(text)
            .or_else(|json| yaml::read(text).map_err(|_| json.to_string()));
    }
    yaml::read(text)
}
