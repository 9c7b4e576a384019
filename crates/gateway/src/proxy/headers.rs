//! Headers on their way through: which end here, which are added, and the two forms that events have.

use gatemill_wire::payload::{
    Origin,
    headers::{EventHeaders, TRACE, remove_hop_by_hop, scheme},
    host::authority,
};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::Exchange;

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
    let mut headers = exchange.head.headers.clone();
    let mut forwarded = Vec::new();
    for value in headers.get_all(header::FORWARDED) {
        forwarded.push(String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    for value in headers.get_all("x-forwarded-for") {
        let chain = String::from_utf8_lossy(value.as_bytes()).into_owned();
        forwarded.extend(chain.split(',').map(|address| format!("for={}", node(address.trim()))));
    }
    let host = authority(&exchange.head).unwrap_or_default();
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
