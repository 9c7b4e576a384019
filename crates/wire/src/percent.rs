//! Percent-encoding, as URLs and signatures use it.

use std::borrow::Cow;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~')
}

/// Encodes everything but unreserved characters and those in `keep`.
pub fn encode(text: &[u8], keep: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for &byte in text {
        if is_unreserved(byte) || keep.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    out
}

/// Decodes `%XX`; a `%` without two hexadecimal digits stays as it is.
pub fn decode_bytes(text: &str) -> Cow<'_, [u8]> {
    if !text.contains('%') {
        return Cow::Borrowed(text.as_bytes());
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], hex_at(bytes, at + 1), hex_at(bytes, at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(high << 4 | low);
                at += 3;
            }
            (byte, _, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    Cow::Owned(out)
}

/// Decodes `%XX` to text; bytes that are not UTF-8 become the replacement character.
pub fn decode(text: &str) -> Cow<'_, str> {
    match decode_bytes(text) {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// Decodes a form or query component, where `+` is a space.
pub fn decode_form(text: &str) -> String {
    decode(&text.replace('+', " ")).into_owned()
}

/// The pairs of a query string, decoded, in their order.
pub fn query_pairs(query: &str) -> impl Iterator<Item = (String, String)> + '_ {
    query.split('&').filter(|part| !part.is_empty()).map(|part| {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        (decode_form(key), decode_form(value))
    })
}

/// The segments of a path without empty ones and with `.` and `..` resolved, still encoded.
///
/// Signatures cover this form, so routing has to read it too: else a signed path could be rewritten into one that
/// means something else.
pub fn path_segments(path: &str) -> Vec<&str> {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    segments
}

fn hex_at(bytes: &[u8], at: usize) -> Option<u8> {
    let digit = char::from(*bytes.get(at)?).to_digit(16)?;
    u8::try_from(digit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_leaves_stray_percents() {
        assert_eq!(encode("a b/ü~".as_bytes(), b"/"), "a%20b/%C3%BC~");
        assert_eq!(decode("arn%3Aaws%3alambda"), "arn:aws:lambda");
        assert_eq!(decode("100%"), "100%");
        assert_eq!(decode("%zz%4"), "%zz%4");
        assert_eq!(decode_form("a+b%2B"), "a b+");
        let pairs: Vec<_> = query_pairs("a=1&b&&c=%20").collect();
        assert_eq!(
            pairs,
            [("a".into(), "1".into()), ("b".into(), String::new()), ("c".into(), " ".into())]
        );
    }
}
