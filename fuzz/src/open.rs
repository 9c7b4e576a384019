//! Parsers that their crates offer to everybody.

use std::collections::HashMap;

use gatemill_iam::{Document, pattern};
use gatemill_wire::{arn::Arn, function_ref::FunctionRef, pagination, percent, sigv4::Claim, time::Timestamp};

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
