//! Headers on their way through: which end here, which are added, and the two forms that events have.

use std::borrow::Cow;

use gatemill_wire::payload::{
    Origin,
    headers::{EventHeaders, TRACE, remove_hop_by_hop, scheme},
    host::authority,
};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::Exchange;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Headers of a request that its next server does not get as they are, beside those between two neighbours.
static ENDS_HERE: [HeaderName; 8] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-proto"),
];

/// Names that events of format 1.0 capitalise; all others are lower case there.
const CAPITALISED: [&str; 8] = [
    "Authorization",
    "Content-Length",
    "Host",
    "User-Agent",
    "X-Amzn-Trace-Id",
    "X-Forwarded-For",
    "X-Forwarded-Port",
    "X-Forwarded-Proto",
];

/// What a function sees of the request's headers.
pub(crate) fn for_event(exchange: &Exchange, body_bytes: Option<usize>) -> EventHeaders<'_> {
    let origin = Origin {
        authority: authority(&exchange.head).unwrap_or_default(),
        source_ip: &exchange.arrival.source_ip,
        trace_id: &exchange.trace_id,
        tls: exchange.arrival.tls,
        body_bytes,
    };
    gatemill_wire::payload::headers::for_event(&exchange.head.headers, &origin)
}

/// The name of a header as events of format 1.0 have it.
pub(crate) fn capitalised(name: &str) -> &str {
    CAPITALISED.into_iter().find(|known| known.eq_ignore_ascii_case(name)).unwrap_or(name)
}

/// The headers of the request to an HTTP server: those of the client without what ends here, `X-Forwarded-*` turned
/// into `Forwarded`, and `Via` with one gateway more.
pub(crate) fn for_upstream(exchange: &Exchange) -> HeaderMap {
    let given = &exchange.head.headers;
    let mut headers = HeaderMap::with_capacity(given.len() + 3);
    for (name, value) in given {
        if !ENDS_HERE.contains(name) {
            headers.append(name, value.clone());
        }
    }
    remove_hop_by_hop(&mut headers);
    if let Ok(value) = HeaderValue::try_from(forwarded(exchange)) {
        headers.insert(header::FORWARDED, value);
    }
    if let Ok(value) = HeaderValue::from_str(&exchange.trace_id) {
        headers.insert(HeaderName::from_static(TRACE), value);
    }
    headers.append(header::VIA, HeaderValue::from_static(VIA));
    headers
}

/// The way that the request has come: what it says of it itself, and from whom we have it.
fn forwarded(exchange: &Exchange) -> String {
    let mut way = String::with_capacity(64);
    for value in exchange.head.headers.get_all(header::FORWARDED) {
        way.push_str(&String::from_utf8_lossy(value.as_bytes()));
        way.push_str(", ");
    }
    for value in exchange.head.headers.get_all(&X_FORWARDED_FOR) {
        for address in String::from_utf8_lossy(value.as_bytes()).split(',') {
            way.push_str("for=");
            way.push_str(&node(address.trim()));
            way.push_str(", ");
        }
    }
    way.push_str("by=_gatemill;for=");
    way.push_str(&node(&exchange.arrival.source_ip));
    way.push_str(";host=");
    way.push_str(&quoted(authority(&exchange.head).unwrap_or_default()));
    way.push_str(";proto=");
    way.push_str(scheme(exchange.arrival.tls));
    way
}

const VIA: &str = "HTTP/1.1 AmazonAPIGateway";

/// How many gateways the request has passed.
pub(crate) fn hops(headers: &HeaderMap) -> usize {
    let values = headers.get_all(header::VIA).iter();
    values
        .map(|value| String::from_utf8_lossy(value.as_bytes()).matches("AmazonAPIGateway").count())
        .sum()
}

/// An address in a `Forwarded` header: with quotes where it has colons.
fn node(address: &str) -> Cow<'_, str> {
    if address.contains(':') && !address.starts_with(['[', '"']) {
        format!("\"[{address}]\"").into()
    } else {
        quoted(address)
    }
}

/// A value in a `Forwarded` header, with quotes where it needs them.
fn quoted(value: &str) -> Cow<'_, str> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if value.bytes().all(token) {
        return value.into();
    }
    format!("\"{}\"", value.replace(['"', '\\'], "")).into()
}
