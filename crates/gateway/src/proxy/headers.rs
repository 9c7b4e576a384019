//! Headers on their way through: which end here, which are added, and the two forms that events have.

use std::{borrow::Cow, collections::BTreeMap};

use gatemill_wire::{Entropy, Timestamp};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{Exchange, parse};
use crate::control::endpoint::split_port;

/// The trace header.
pub(crate) const TRACE: &str = "x-amzn-trace-id";

/// Headers that are between two neighbours and end here, beside those that `Connection` names.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
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

/// A new trace id: `Root=1-<seconds>-<96 random bits>`, both in hexadecimal.
pub(crate) fn new_trace_id(entropy: &dyn Entropy, now: Timestamp) -> String {
    let mut random = [0; 12];
    entropy.fill(&mut random);
    let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("Root=1-{:08x}-{random}", now.seconds())
}

/// Removes the headers that end here.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// The headers of an event, by lower-case name in their order; those of one name as they came.
pub(crate) type EventHeaders<'e> = BTreeMap<&'e str, Vec<Cow<'e, str>>>;

/// What a function sees of the request's headers.
pub(crate) fn for_event(exchange: &Exchange, body_bytes: usize) -> EventHeaders<'_> {
    let headers = &exchange.head.headers;
    let connection: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(|name| name.trim().to_ascii_lowercase()))
        .collect();
    let mut event = EventHeaders::new();
    for (name, value) in headers {
        let name = name.as_str();
        let ends_here = HOP_BY_HOP.contains(&name) || name == "expect";
        if !ends_here && !connection.iter().any(|named| named == name) {
            event.entry(name).or_default().push(String::from_utf8_lossy(value.as_bytes()));
        }
    }
    let arrival = &exchange.arrival;
    let authority = parse::authority(&exchange.head).unwrap_or_default();
    event.insert("host", vec![Cow::Borrowed(authority)]);
    event.insert("content-length", vec![Cow::Owned(body_bytes.to_string())]);
    event.insert(TRACE, vec![Cow::Borrowed(&exchange.trace_id)]);
    event.insert("x-forwarded-for", vec![Cow::Owned(forwarded_for(exchange))]);
    let port = split_port(authority).1.unwrap_or(if arrival.tls { "443" } else { "80" });
    event.insert("x-forwarded-port", vec![Cow::Borrowed(port)]);
    event.insert("x-forwarded-proto", vec![Cow::Borrowed(scheme(arrival.tls))]);
    event
}

/// The name of a header as events of format 1.0 have it.
pub(crate) fn capitalised(name: &str) -> &str {
    CAPITALISED.into_iter().find(|known| known.eq_ignore_ascii_case(name)).unwrap_or(name)
}

/// The client's chain of addresses with its own added.
fn forwarded_for(exchange: &Exchange) -> String {
    let mut chain = String::new();
    for value in exchange.head.headers.get_all("x-forwarded-for") {
        chain.push_str(&String::from_utf8_lossy(value.as_bytes()));
        chain.push_str(", ");
    }
    chain + &exchange.arrival.source_ip
}

fn scheme(tls: bool) -> &'static str {
    if tls { "https" } else { "http" }
}

/// The headers of the request to an HTTP server: those of the client without what ends here, `X-Forwarded-*` turned
/// into `Forwarded`, and `Via` with one gateway more.
pub(crate) fn for_upstream(exchange: &Exchange) -> HeaderMap {
    let mut headers = exchange.head.headers.clone();
    let mut forwarded = Vec::new();
    for value in headers.get_all(header::FORWARDED) {
        forwarded.push(String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    for value in headers.get_all("x-forwarded-for") {
        let chain = String::from_utf8_lossy(value.as_bytes()).into_owned();
        forwarded.extend(chain.split(',').map(|address| format!("for={}", node(address.trim()))));
    }
    let host = parse::authority(&exchange.head).unwrap_or_default();
    forwarded.push(format!(
        "by=_gatemill;for={};host={};proto={}",
        node(&exchange.arrival.source_ip),
        quoted(host),
        scheme(exchange.arrival.tls)
    ));
    remove_hop_by_hop(&mut headers);
    for name in [header::HOST, header::CONTENT_LENGTH, header::EXPECT, header::FORWARDED] {
        headers.remove(name);
    }
    for name in ["x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto"] {
        headers.remove(name);
    }
    let mut put = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    put(header::FORWARDED, &forwarded.join(", "));
    put(HeaderName::from_static(TRACE), &exchange.trace_id);
    headers.append(header::VIA, HeaderValue::from_static(VIA));
    headers
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
fn node(address: &str) -> String {
    if address.contains(':') && !address.starts_with(['[', '"']) {
        format!("\"[{address}]\"")
    } else {
        quoted(address)
    }
}

/// A value in a `Forwarded` header, with quotes where it needs them.
fn quoted(value: &str) -> String {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if value.bytes().all(token) {
        return value.to_owned();
    }
    format!("\"{}\"", value.replace(['"', '\\'], ""))
}
