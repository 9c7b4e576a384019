//! The status that the request template of a mock asks for.
//!
//! API Gateway reads it leniently: keys without quotes, texts in single quotes, commas too many. What it takes and what not
//! was recorded case by case; the tests name the cases.

use serde_json::Value;

/// The status, if the text holds one.
#[must_use]
pub fn status(text: &str) -> Option<u16> {
    let text = text.trim();
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        return match value.get("statusCode")? {
            Value::Number(number) => u16::try_from(number.as_u64()?).ok(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
    }
    let mut rest = text.strip_prefix('{')?.strip_suffix('}')?;
    let mut status = None;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        if rest.is_empty() {
            return status;
        }
        let (key, after) = key(rest)?;
        let (value, after) = value(after.trim_start())?;
        if key == "statusCode" {
            status = value.trim_matches(['"', '\'']).parse().ok();
        }
        rest = after;
    }
}

/// A key up to its colon: in quotes, or anything that opens no object.
fn key(text: &str) -> Option<(&str, &str)> {
    for quote in ['"', '\''] {
        if let Some(quoted) = text.strip_prefix(quote) {
            let (key, after) = quoted.split_once(quote)?;
            return Some((key, after.trim_start().strip_prefix(':')?));
        }
    }
    if text.starts_with('{') {
        return None;
    }
    let (key, after) = text.split_once(':')?;
    Some((key.trim(), after))
}

/// A value: in quotes, in brackets, or up to the next comma.
fn value(text: &str) -> Option<(&str, &str)> {
    for (open, close) in [('"', '"'), ('\'', '\''), ('[', ']'), ('{', '}')] {
        if text.starts_with(open) {
            let end = text[1..].find(close)? + 2;
            let after = text[end..].trim_start();
            return (after.is_empty() || after.starts_with([',', '}']))
                .then_some((&text[..end], after));
        }
    }
    let end = text.find(',').unwrap_or(text.len());
    Some((text[..end].trim(), &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::status;

    #[test]
    fn recorded_cases() {
        for text in [
            "{ statusCode: 200 }",
            "{statusCode: 200,super{ f}oo: [ba r]}",
            "{statusCode: 200, \"value\": 'goog'}",
            "{statusCode: 200, foo}: [ba r]}",
            "{statusCode: 200, foo'}: [ba r]}",
            "{statusCode: 200, }foo: ''}",
            "{'statusCode': 200, '': ''}",
            "{\"statusCode\": 200 , }",
            "{\"statusCode\": 200 ,, }",
            "{\"statusCode\": 200 , null: null }",
            "{\"statusCode\": 200, \"more\": {\"statusCode\": 500}}",
            "{statusCode: 200, more: {statusCode: 500}}",
        ] {
            assert_eq!(status(text), Some(200), "{text}");
        }
        for text in [
            "{\"statusCode': 200 }",
            "{'statusCode\": 200 }",
            "{'statusCode: 200 }",
            "statusCode: 200",
            "{statusCode: 200, {foo: [ba r]}",
            "",
            "{}",
            "[]",
            "{\"statusCode\": null}",
            "{\"statusCode\": 99999}",
            "{statusCode}",
        ] {
            assert_eq!(status(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_is_no_harm(text in "\\{?[statusCode'\":,{}\\[\\] \\PC]{0,60}\\}?") {
            let _ = status(&text);
        }
    }
}
