//! The path of a request: parse → route → authorize → throttle → request → integrate → response → record.
//!
//! Each word is a function in a file of that name. The path reads one immutable snapshot; it holds no lock and no
//! transaction while a function or a server works. It never fails: whatever goes wrong becomes AWS's answer.

pub(crate) mod authorize;
pub mod body;
pub(crate) mod cors;
pub(crate) mod event;
mod headers;
pub(crate) mod identity;
mod integrate;
mod mapping;
mod parse;
pub mod record;
mod request;
mod response;
mod route;
pub(crate) mod throttle;
pub mod upstream;
mod values;

use std::{borrow::Cow, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use bytes::Bytes;
use gatemill_meter::{Stages, Subject};
use gatemill_wire::{
    Timestamp,
    payload::headers::{TRACE, new_trace_id},
};
use http::{Request, Response, request::Parts};
use http_body::Body;
use serde::Serialize;
use tokio::time::Instant;

use self::{identity::Identity, parse::Form, route::Routed};
use crate::{Gateway, snapshot::StageSnapshot, usage::Counters};

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
    /// The certificate of the client, where the domain asks for one.
    pub client_cert: Option<Arc<ClientCert>>,
}

/// A client's certificate, as events and logs show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientCert {
    /// As PEM.
    #[serde(rename = "clientCertPem")]
    pub pem: String,
    /// The distinguished name of its owner.
    #[serde(rename = "subjectDN")]
    pub subject: String,
    /// The distinguished name of who issued it.
    #[serde(rename = "issuerDN")]
    pub issuer: String,
    /// Its number, in hexadecimal with colons.
    #[serde(rename = "serialNumber")]
    pub serial: String,
    /// From when and until when it holds.
    pub validity: Validity,
    /// The fingerprint of the trust store that proved it.
    #[serde(skip)]
    pub trust: Arc<str>,
}

/// From when and until when a certificate holds, such as `May 28 12:30:02 2019 GMT`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Validity {
    /// The first moment.
    pub not_before: String,
    /// The last moment.
    pub not_after: String,
}

/// One request under way.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    /// The id of 16 characters that the answer's `apigw-requestid` has.
    pub(crate) id: String,
    /// The trace header: the client's, or a new one.
    pub(crate) trace_id: String,
    pub(crate) target: Target,
    pub(crate) arrival: Arrival,
    pub(crate) head: Parts,
    pub(crate) started: Instant,
}

/// What became known of a request on its way, for the answer's headers and the record.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) stage: Option<Arc<StageSnapshot>>,
    pub(crate) route: Option<String>,
    /// The path with its stage and what else stands before it.
    pub(crate) path: Option<String>,
    pub(crate) identity: Identity,
    /// Whether the answer is the gateway's own to a preflight.
    pub(crate) preflight: bool,
    pub(crate) authorizer_error: Option<String>,
    pub(crate) integration: Option<SeenIntegration>,
    /// The text and the kind of an answer of the gateway itself.
    pub(crate) message: Option<&'static str>,
    pub(crate) response_type: Option<&'static str>,
    pub(crate) status: Option<u16>,
    pub(crate) bytes: Option<u64>,
    pub(crate) latency_ms: Option<u64>,
    /// Those of the route, where its stage asked for them.
    pub(crate) counters: Option<Arc<Counters>>,
    /// As what the route is measured, where its stage asked for that.
    pub(crate) subject: Option<Arc<Subject>>,
    /// The stages that it has passed.
    pub(crate) stages: Stages,
}

/// How an integration did.
#[derive(Debug, Default)]
pub(crate) struct SeenIntegration {
    pub(crate) status: Option<u16>,
    pub(crate) latency_ms: u64,
    pub(crate) error: Option<String>,
    pub(crate) request_id: Option<String>,
}

/// Why a request got no answer of its integration: the answer instead, and the reason for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) with: Refusal,
    pub(crate) why: Cow<'static, str>,
    /// The answer's `www-authenticate`.
    pub(crate) challenge: Option<Cow<'static, str>>,
}

impl Refused {
    /// With what the client has to bring.
    pub(crate) fn challenging(mut self, challenge: impl Into<Cow<'static, str>>) -> Self {
        self.challenge = Some(challenge.into());
        self
    }
}

/// The answers of the gateway itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    BadRequest,
    Unauthorized,
    Forbidden,
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
        Refused { with: self, why: why.into(), challenge: None }
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
        let mut seen = Seen { stages: self.records.measure.stages(), ..Seen::default() };
        let passed = pass(self, &exchange, body, &mut seen).await;
        let refused = passed.as_ref().err().cloned();
        let mut response = response::finish(&exchange, &seen, passed);
        record::record(&self.records, exchange, seen, refused.as_ref(), &mut response);
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
    let mut body = body::RequestBody::new(body);
    let place = parse::parse(gateway, exchange).await?;
    seen.end("parse", exchange);
    seen.stage = Some(Arc::clone(&place.stage));
    seen.path = Some(place.full_path.clone());
    let routed = route::route(&place, exchange);
    let preflight = cors::preflight(&place.stage, exchange);
    seen.preflight = preflight.is_some() && !routed.as_ref().is_ok_and(Routed::is_guarded);
    if let Some(answer) = preflight.filter(|_| seen.preflight) {
        return Ok(answer);
    }
    let routed = routed?;
    seen.end("route", exchange);
    seen.route = Some(routed.route.key.clone());
    seen.counters.clone_from(&routed.route.counters);
    seen.subject.clone_from(&routed.route.subject);
    authorize::authorize(gateway, exchange, &place, &routed, &mut body, seen).await?;
    if let Some(answer) = cors::preflight(&place.stage, exchange) {
        seen.preflight = true;
        return Ok(answer);
    }
    authorize::may_integrate(gateway, &place, &routed)?;
    seen.end("authorize", exchange);
    throttle::throttle(&place, &routed, exchange.arrival.now)?;
    seen.end("throttle", exchange);
    let outgoing = request::request(exchange, &place, &routed, &mut body, seen).await?;
    seen.end("request", exchange);
    let reply = integrate::integrate(gateway, exchange, &routed, outgoing, seen).await;
    seen.end("integrate", exchange);
    let response = response::response(reply?)?;
    let response = response::mapped(exchange, &place, &routed, seen, response).await;
    seen.end("response", exchange);
    response
}

impl Seen {
    /// The request has come to the end of a stage.
    fn end(&mut self, stage: &'static str, exchange: &Exchange) {
        let elapsed = || u64::try_from(exchange.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.stages.end(stage, elapsed);
    }
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
        let started = Instant::now();
        Self { id: URL_SAFE.encode(id), trace_id, target, arrival, head, started }
    }

    /// The host without its port; for the path form the name that the host form would have had.
    pub(crate) fn domain_name(&self) -> Cow<'_, str> {
        match &self.target.form {
            Form::Host { domain_name } | Form::Domain { domain_name, .. } => {
                Cow::Borrowed(domain_name)
            }
            Form::Path { .. } => {
                Cow::Owned(format!("{}.execute-api.localhost", self.target.api_id))
            }
        }
    }

    /// The first label of the host.
    pub(crate) fn domain_prefix(&self) -> &str {
        match &self.target.form {
            Form::Domain { domain_name, .. } => domain_name.split('.').next().unwrap_or_default(),
            Form::Host { .. } | Form::Path { .. } => &self.target.api_id,
        }
    }

    /// Whether events of format 1.0 show all names of headers in lower case.
    pub(crate) fn lower_case(&self) -> bool {
        matches!(self.target.form, Form::Domain { lower_case: true, .. })
    }

    /// What a domain's mapping matched; `None` for an API's own endpoint.
    pub(crate) fn base_path(&self) -> Option<&str> {
        match &self.target.form {
            Form::Domain { base_path, .. } => Some(base_path),
            Form::Host { .. } | Form::Path { .. } => None,
        }
    }
}
