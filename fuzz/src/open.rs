//! Parsers that their crates offer to everybody.

use std::collections::HashMap;

use gatemill_iam::{Document, pattern};
use gatemill_wire::{
    arn::Arn,
    event_stream::{Decoder, Malformed, Message},
    function_ref::FunctionRef,
    pagination, percent,
    sigv4::Claim,
    time::Timestamp,
};

/// Text there and back again.
pub(crate) fn percent(data: &[u8]) {
    assert_eq!(percent::decode_bytes(&percent::encode(data, b"")).as_ref(), data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = (percent::decode(text), percent::decode_form(text), percent::path_segments(text));
    let pairs: HashMap<_, _> = percent::query_pairs(text).collect();
    assert!(pairs.len() <= text.len() + 1);
}

/// Names of functions, ARNs, tokens of pages, and times.
pub(crate) fn references(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = (Timestamp::parse_amz_date(text), Timestamp::parse_http_date(text), Timestamp::parse_iso8601(text));
    let (name, qualifier) = text.split_once('\n').map_or((text, None), |(name, rest)| (name, Some(rest)));
    let _ = FunctionRef::parse(name, qualifier);
    let _ = pagination::key(text);
    if let Ok(arn) = text.parse::<Arn>() {
        assert_eq!(arn.to_string().parse::<Arn>().ok(), Some(arn));
    }
}

/// Policies.
pub(crate) fn policy(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = Document::parse(text);
    if let Some((wanted, text)) = text.split_once('\n') {
        let _ = (pattern::matches(wanted, text), pattern::matches_arn(wanted, text));
    }
}

/// A request line, headers, and behind an empty line a body: no claim in it is true.
pub(crate) fn sigv4(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let mut request = http::Request::builder().uri(lines.next().unwrap_or_default());
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        request = request.header(name, value);
    }
    let Ok(request) = request.body(()) else { return };
    let (parts, ()) = request.into_parts();
    let Ok(claim) = Claim::read(&parts) else { return };
    let _ = claim.check_time(claim.signed_at);
    assert!(claim.verify(&parts, body.as_bytes(), "nobody knows it").is_err());
}

/// Messages of an event stream: the bytes as they are, and as headers and payload of a message whose lengths and checksums
/// are right. What is read does not depend on the pieces that the bytes come in.
pub(crate) fn event_stream(data: &[u8]) {
    let (cut, data) = data.split_first().map_or((0, data), |(cut, data)| (usize::from(*cut), data));
    let framed = framed(data, cut);
    for bytes in [data, &framed] {
        let (first, second) = bytes.split_at(cut.min(bytes.len()));
        assert_eq!(messages(&[bytes]), messages(&[first, second]));
    }
}

const MESSAGE_BYTES_MAX: usize = 1 << 20;

fn messages(pieces: &[&[u8]]) -> (Vec<Message>, Option<Malformed>) {
    let mut decoder = Decoder::new(MESSAGE_BYTES_MAX);
    let mut read = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next_message() {
                Ok(Some(message)) => read.push(message),
                Ok(None) => break,
                Err(malformed) => return (read, Some(malformed)),
            }
        }
    }
    (read, None)
}

/// A message with `data` in it, of which this many bytes are headers.
fn framed(data: &[u8], headers: usize) -> Vec<u8> {
    let number = |value: usize| u32::try_from(value).expect("inputs are short").to_be_bytes();
    let mut message = Vec::new();
    message.extend(number(data.len() + 16));
    message.extend(number(headers.min(data.len())));
    message.extend(crc32fast::hash(&message).to_be_bytes());
    message.extend(data);
    message.extend(crc32fast::hash(&message).to_be_bytes());
    message
}
