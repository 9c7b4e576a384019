//! The path of a request: parse → route → authorize → throttle → request → integrate → response → record.
//!
//! Each word is a function in a file of that name. The path reads one immutable snapshot; it holds no lock and no
//! transaction while a function or a server works. It never fails: whatever goes wrong becomes AWS's answer.

mod authorize;
pub mod body;
pub(crate) mod cors;
pub(crate) mod event;
mod headers;
mod integrate;
mod parse;
pub mod record;
mod request;
mod response;
mod route;
pub(crate) mod throttle;
pub mod upstream;

use std::{borrow::Cow, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use bytes::Bytes;
use gatemill_wire::{
    Timestamp,
    payload::headers::{TRACE, new_trace_id},
};
use http::{Request, Response, request::Parts};
use http_body::Body;

use crate::{Gateway, snapshot::StageSnapshot};

pub use body::ProxyBody;
pub use parse::Target;

/// What the server knows of a request before it is read.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The client's address, without a port.
    pub source_ip: String,
    /// When it arrived.
    pub now: Timestamp,
    /// `HTTP/1.1` or `HTTP/2.0`, as events show it.
    pub protocol: &'static str,
    /// Whether it came encrypted.
    pub tls: bool,
}

/// One request under way.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// The id of 16 characters that the answer's `apigw-requestid` has.
    pub(crate) id: String,
    /// The trace header: the client's, or a new one.
    pub(crate) trace_id: String,
    pub(crate) target: Target,
    pub(crate) arrival: Arrival,
    pub(crate) head: Parts,
}

/// What became known of a request on its way, for the answer's headers and the record.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) stage: Option<Arc<StageSnapshot>>,
    pub(crate) route: Option<String>,
}

/// Why a request got no answer of its integration: the answer instead, and the reason for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) with: Refusal,
    pub(crate) why: Cow<'static, str>,
}

/// The answers of the gateway itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    BadRequest,
    NotFound,
    RequestTimeout,
    EntityTooLarge,
    UriTooLong,
    HeadersTooLarge,
    TooManyRequests,
    Internal,
    Unavailable,
}

impl Refusal {
    /// With the reason, for the log.
    pub(crate) fn because(self, why: impl Into<Cow<'static, str>>) -> Refused {
        Refused { with: self, why: why.into() }
    }
}

impl Gateway {
    /// Answers a request to the data plane; `target` is what [`Gateway::claims`] said of it.
    pub async fn proxy<B>(
        &self,
        target: Target,
        request: Request<B>,
        arrival: Arrival,
    ) -> Response<ProxyBody>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        let exchange = Exchange::new(self, target, head, arrival);
        let mut seen = Seen::default();
        let passed = pass(self, &exchange, body, &mut seen).await;
        let refused = passed.as_ref().err().cloned();
        let response = response::finish(&exchange, &seen, passed);
        record::record(self, &exchange, &seen, response.status(), refused.as_ref());
        response
    }
}

/// The path.
async fn pass<B>(
    gateway: &Gateway,
    exchange: &Exchange,
    body: B,
    seen: &mut Seen,
) -> Result<Response<ProxyBody>, Refused>
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let place = parse::parse(gateway, exchange).await?;
    seen.stage = Some(Arc::clone(&place.stage));
    if let Some(answer) = cors::preflight(&place.stage, &exchange.head) {
        return Ok(answer);
    }
    let routed = route::route(&place, exchange)?;
    seen.route = Some(routed.route.key.clone());
    authorize::authorize(gateway, &place, &routed)?;
    throttle::throttle(&routed, exchange.arrival.now)?;
    let outgoing = request::request(exchange, &place, &routed, body).await?;
    let reply = integrate::integrate(gateway, exchange, &routed, outgoing).await?;
    response::response(reply)
}

impl Exchange {
    fn new(gateway: &Gateway, target: Target, head: Parts, arrival: Arrival) -> Self {
        // Eleven bytes in base64: 15 characters and the `=` that AWS's ids end with.
        let mut id = [0; 11];
        gateway.entropy.fill(&mut id);
        let trace_id = match head.headers.get(TRACE).and_then(|value| value.to_str().ok()) {
            Some(given) => given.to_owned(),
            None => new_trace_id(&*gateway.entropy, arrival.now),
        };
        Self { id: URL_SAFE.encode(id), trace_id, target, arrival, head }
    }
}
