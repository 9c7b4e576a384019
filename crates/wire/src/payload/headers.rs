//! Headers on their way to a function: which end here, and which are added.

use std::{borrow::Cow, collections::BTreeMap};

use http::{HeaderMap, HeaderName, header};

use super::host::split_port;
use crate::{Entropy, Timestamp, sigv4::hex};

/// The trace header.
pub const TRACE: &str = "x-amzn-trace-id";

/// Headers that are between two neighbours and end here, beside those that `Connection` names.
static HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The headers of an event, by lower-case name in their order; those of one name as they came.
pub type EventHeaders<'e> = BTreeMap<&'e str, Vec<Cow<'e, str>>>;

/// Where a request came from and to.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'e> {
    /// The host that it named, with a port if it named one.
    pub authority: &'e str,
    /// The client's address, without a port.
    pub source_ip: &'e str,
    /// The trace header: the client's, or a new one.
    pub trace_id: &'e str,
    /// Whether it came encrypted.
    pub tls: bool,
    /// The length that its body has; `None` to say none.
    pub body_bytes: Option<usize>,
}

/// A new trace id: `Root=1-<seconds>-<96 random bits>`, both in hexadecimal.
pub fn new_trace_id(entropy: &dyn Entropy, now: Timestamp) -> String {
    let mut random = [0; 12];
    entropy.fill(&mut random);
    format!("Root=1-{:08x}-{}", now.seconds(), hex(&random))
}

/// What a function sees of a request's headers.
pub fn for_event<'e>(headers: &'e HeaderMap, origin: &Origin<'e>) -> EventHeaders<'e> {
    let connection: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(|name| name.trim().to_ascii_lowercase()))
        .collect();
    let mut event = EventHeaders::new();
    for (name, value) in headers {
        let ends_here =
            HOP_BY_HOP.contains(name) || [header::EXPECT, header::CONTENT_LENGTH].contains(name);
        let name = name.as_str();
        if !ends_here && !connection.iter().any(|named| named == name) {
            event.entry(name).or_default().push(String::from_utf8_lossy(value.as_bytes()));
        }
    }
    event.insert("host", vec![Cow::Borrowed(origin.authority)]);
    if let Some(bytes) = origin.body_bytes {
        event.insert("content-length", vec![Cow::Owned(bytes.to_string())]);
    }
    event.insert(TRACE, vec![Cow::Borrowed(origin.trace_id)]);
    event.insert("x-forwarded-for", vec![Cow::Owned(forwarded_for(headers, origin.source_ip))]);
    let port = split_port(origin.authority).1.unwrap_or(if origin.tls { "443" } else { "80" });
    event.insert("x-forwarded-port", vec![Cow::Borrowed(port)]);
    event.insert("x-forwarded-proto", vec![Cow::Borrowed(scheme(origin.tls))]);
    event
}

/// The client's chain of addresses with its own added.
fn forwarded_for(headers: &HeaderMap, source_ip: &str) -> String {
    let mut chain = String::new();
    for value in headers.get_all("x-forwarded-for") {
        chain.push_str(&String::from_utf8_lossy(value.as_bytes()));
        chain.push_str(", ");
    }
    chain + source_ip
}

/// `https` or `http`.
pub fn scheme(tls: bool) -> &'static str {
    if tls { "https" } else { "http" }
}

/// Removes the headers that end here.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
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
    // Most messages have none of them, and to look at each name once is less than to look nine names up.
    let here: Vec<HeaderName> =
        headers.keys().filter(|name| HOP_BY_HOP.contains(name)).cloned().collect();
    for name in here {
        headers.remove(name);
    }
}
