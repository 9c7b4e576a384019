//! `$util`: text for JavaScript, for URLs and in base 64.

use std::fmt::Write as _;

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// Text for a literal of JavaScript. A `'` is escaped, too, which JSON does not know.
pub(crate) fn escape_java_script(text: &str) -> String {
    let mut made = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '"' => made.push_str("\\\""),
            '\'' => made.push_str("\\'"),
            '\\' => made.push_str("\\\\"),
            '\n' => made.push_str("\\n"),
            '\r' => made.push_str("\\r"),
            '\t' => made.push_str("\\t"),
            '\u{8}' => made.push_str("\\b"),
            '\u{c}' => made.push_str("\\f"),
            ' '..='~' => made.push(c),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(made, "\\u{unit:04X}");
                }
            }
        }
    }
    made
}

/// As forms are sent: a blank is a `+`.
pub(crate) fn url_encode(text: &str) -> String {
    let mut made = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' => {
                made.push(char::from(byte));
            }
            b' ' => made.push('+'),
            byte => {
                let _ = write!(made, "%{byte:02X}");
            }
        }
    }
    made
}

/// The other way round; what is no escape stays.
pub(crate) fn url_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut made = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
        let escaped = match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => u8::try_from(high * 16 + low).ok(),
            _ => None,
        };
        made.push(match (escaped, byte) {
            (Some(byte), _) => byte,
            (None, b'+') => b' ',
            (None, byte) => byte,
        });
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&made).into_owned()
}

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(crate) fn base64_encode(text: &str) -> String {
    LENIENT.encode(text)
}

/// `None` when it is no base 64.
pub(crate) fn base64_decode(text: &str) -> Option<String> {
    let text: String = text.split_ascii_whitespace().collect();
    LENIENT.decode(text).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        assert_eq!(
            escape_java_script("a\"b'c\\d\n\u{1}ü😀/"),
            "a\\\"b\\'c\\\\d\\n\\u0001\\u00FC\\uD83D\\uDE00/"
        );
    }

    #[test]
    fn urls() {
        assert_eq!(url_encode("{\"some\": \"value\"}"), "%7B%22some%22%3A+%22value%22%7D");
        assert_eq!(url_encode("ü~"), "%C3%BC%7E");
        assert_eq!(url_decode("a+b%20%C3%BC%zz%"), "a b ü%zz%");
    }

    #[test]
    fn base64() {
        assert_eq!(base64_encode("hello?>"), "aGVsbG8/Pg==");
        assert_eq!(base64_decode("aGVsbG8/\nPg").as_deref(), Some("hello?>"));
        assert_eq!(base64_decode("*"), None);
    }
}
