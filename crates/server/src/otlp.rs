//! The export of traces by OTLP over HTTP: each request that ended as one span, its stages as spans below it.
//!
//! Spans come from the data plane into a bounded queue that is never waited for; what it has no room for is dropped and counted.
//! A worker sends what is there, many at a time, as the JSON form of OTLP, and tries again where the receiver asks for that. A
//! receiver that is away costs spans and nothing else.
//!
//! Metrics and logs are not exported: the first are at `/_gatemill/metrics`, the second on stderr.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use gatemill_meter::{Span, SpanKind, SpanSink};
use gatemill_wire::Entropy;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use serde_json::{Value, json};
use tokio::{
    sync::{Mutex, Notify, mpsc},
    time::{sleep, timeout},
};

use crate::{
    error::Error,
    limits::{
        OTLP_BATCH_SPANS_MAX, OTLP_QUEUE_SPANS_MAX, OTLP_RETRY_FIRST, OTLP_TRIES_MAX, OTLP_WAIT_MAX,
    },
};

/// Where traces are received below an endpoint.
const TRACES: &str = "/v1/traces";
const KIND_INTERNAL: u8 = 1;
const KIND_SERVER: u8 = 2;
const STATUS_ERROR: u8 = 2;

/// Takes spans, and sends them to the configured receiver.
pub(crate) struct Exporter {
    to: Uri,
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    entropy: Arc<dyn Entropy>,
    region: String,
    spans: mpsc::Sender<Span>,
    /// Held by the worker for its life, so that one that is started again goes on.
    waiting: Mutex<mpsc::Receiver<Span>>,
    /// Spans that are neither sent nor given up.
    under_way: AtomicU64,
    /// Told when there are fewer of them.
    settled: Notify,
    sent: AtomicU64,
    dropped: AtomicU64,
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").field("to", &self.to).finish_non_exhaustive()
    }
}

impl SpanSink for Exporter {
    fn take(&self, span: Span) {
        // Counted first, so that the worker never counts down what is not there.
        self.under_way.fetch_add(1, Ordering::Relaxed);
        if self.spans.try_send(span).is_err() {
            self.under_way.fetch_sub(1, Ordering::Relaxed);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Exporter {
    /// An exporter to a receiver: to its `/v1/traces`, unless the endpoint has a path of its own.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(crate) fn new(
        endpoint: &Uri,
        region: &str,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Arc<Self>, Error> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(OTLP_WAIT_MAX));
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::aws_lc_rs::default_provider())
            .map_err(|error| Error::Otlp { reason: error.to_string() })?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .build(connector);
        let (spans, waiting) = mpsc::channel(OTLP_QUEUE_SPANS_MAX);
        Ok(Arc::new(Self {
            to: receiver(endpoint),
            http,
            entropy,
            region: region.to_owned(),
            spans,
            waiting: Mutex::new(waiting),
            under_way: AtomicU64::new(0),
            settled: Notify::new(),
            sent: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }))
    }

    /// Spans that a receiver has taken, and such as were given up.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.dropped.load(Ordering::Relaxed))
    }

    /// Sends what comes, for ever. A worker: it may be killed and started again.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut waiting = self.waiting.lock().await;
        let mut batch = Vec::new();
        while waiting.recv_many(&mut batch, OTLP_BATCH_SPANS_MAX).await > 0 {
            self.send(&batch).await;
            self.under_way.fetch_sub(batch.len() as u64, Ordering::Relaxed);
            self.settled.notify_waiters();
            batch.clear();
        }
    }

    /// Returns when everything was sent, or has had its time; nothing new comes any more.
    pub(crate) async fn flush(&self) {
        let empty = async {
            loop {
                // Asked for before the look, so that what is settled in between is heard of.
                let settled = self.settled.notified();
                if self.under_way.load(Ordering::Relaxed) == 0 {
                    return;
                }
                settled.await;
            }
        };
        let _ = timeout(OTLP_WAIT_MAX, empty).await;
    }

    async fn send(&self, spans: &[Span]) {
        let body = Bytes::from(self.document(spans).to_string());
        let count = spans.len() as u64;
        let mut pause = OTLP_RETRY_FIRST;
        for attempt in 1..=OTLP_TRIES_MAX {
            match self.post(body.clone()).await {
                Ok(()) => {
                    self.sent.fetch_add(count, Ordering::Relaxed);
                    return;
                }
                Err(Unsent { again: true, .. }) if attempt < OTLP_TRIES_MAX => {
                    sleep(pause).await;
                    pause *= 2;
                }
                Err(Unsent { why, .. }) => {
                    self.dropped.fetch_add(count, Ordering::Relaxed);
                    tracing::warn!(spans = count, why, "spans could not be exported");
                    return;
                }
            }
        }
    }

    async fn post(&self, body: Bytes) -> Result<(), Unsent> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.to.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body));
        let request = request.map_err(|error| Unsent { why: error.to_string(), again: false })?;
        let answered = timeout(OTLP_WAIT_MAX, self.http.request(request)).await;
        let answered = answered.map_err(|_| Unsent { why: "no answer".to_owned(), again: true })?;
        let answer = answered.map_err(|error| Unsent { why: error.to_string(), again: true })?;
        let again = matches!(
            answer.status(),
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        );
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(Unsent { why: format!("the receiver answered {status}"), again }),
        }
    }

    /// The document of some spans.
    fn document(&self, spans: &[Span]) -> Value {
        let spans: Vec<Value> = spans.iter().flat_map(|span| self.written(span)).collect();
        json!({ "resourceSpans": [{
            "resource": { "attributes": [
                attribute("service.name", "gatemill"),
                attribute("service.version", env!("CARGO_PKG_VERSION")),
                attribute("cloud.region", &self.region),
            ] },
            "scopeSpans": [{ "scope": { "name": "gatemill" }, "spans": spans }],
        }] })
    }

    /// A span and one below it for each stage.
    fn written(&self, span: &Span) -> Vec<Value> {
        let id = self.id();
        let trace = match span.trace.trace {
            0 => self.entropy.uuid().as_u128(),
            trace => trace,
        };
        let trace = format!("{trace:032x}");
        let begun = u64::try_from(span.started_ms).unwrap_or(0).saturating_mul(1_000_000);
        let at = |us: u64| begun.saturating_add(us.saturating_mul(1_000)).to_string();
        let attributes: Vec<Value> =
            span.attributes.iter().map(|(name, value)| attribute(name, value)).collect();
        let mut whole = json!({
            "traceId": trace,
            "spanId": id,
            "name": span.name,
            "kind": match span.kind { SpanKind::Server => KIND_SERVER, SpanKind::Internal => KIND_INTERNAL },
            "startTimeUnixNano": at(0),
            "endTimeUnixNano": at(span.took_us),
            "attributes": attributes,
            "status": if span.failed { json!({ "code": STATUS_ERROR }) } else { json!({}) },
        });
        if span.trace.parent != 0 {
            whole["parentSpanId"] = format!("{:016x}", span.trace.parent).into();
        }
        let stages = span.stages.intervals().map(|(stage, begin, end)| {
            json!({
                "traceId": trace,
                "spanId": self.id(),
                "parentSpanId": id,
                "name": format!("{}.{stage}", span.name),
                "kind": KIND_INTERNAL,
                "startTimeUnixNano": at(begin),
                "endTimeUnixNano": at(end),
            })
        });
        std::iter::once(whole.clone()).chain(stages).collect()
    }

    /// The id of a span: eight random bytes.
    fn id(&self) -> String {
        let mut bytes = [0; 8];
        self.entropy.fill(&mut bytes);
        format!("{:016x}", u64::from_be_bytes(bytes).max(1))
    }
}

/// Why spans were not taken, and whether trying again may help.
struct Unsent {
    why: String,
    again: bool,
}

fn attribute(name: &str, value: &str) -> Value {
    json!({ "key": name, "value": { "stringValue": value } })
}

fn receiver(endpoint: &Uri) -> Uri {
    if endpoint.path() != "/" {
        return endpoint.clone();
    }
    let mut parts = endpoint.clone().into_parts();
    parts.path_and_query = Some(http::uri::PathAndQuery::from_static(TRACES));
    Uri::from_parts(parts).unwrap_or_else(|_| endpoint.clone())
}

#[cfg(test)]
mod tests {
    use gatemill_meter::{Stages, TraceContext};

    use super::*;
    use crate::clock::SystemEntropy;

    fn exporter() -> Arc<Exporter> {
        let endpoint = "http://127.0.0.1:1".parse().unwrap();
        Exporter::new(&endpoint, "us-east-1", Arc::new(SystemEntropy)).unwrap()
    }

    fn span() -> Span {
        let mut stages = Stages::kept();
        stages.end("route", || 10);
        stages.end("integrate", || 30);
        Span {
            name: "proxy",
            kind: SpanKind::Server,
            trace: TraceContext::read(
                "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8",
            ),
            started_ms: 1_000,
            took_us: 40,
            stages,
            failed: true,
            attributes: vec![("http.route", "GET /".into())],
        }
    }

    #[test]
    fn a_span_and_its_stages() {
        let all = exporter().written(&span());
        assert_eq!(all.len(), 3);
        assert_eq!(all[0]["traceId"], "5759e988bd862e3fe1be46a994272793");
        assert_eq!(all[0]["parentSpanId"], "53995c3f42cd8ad8");
        assert_eq!(
            (&all[0]["startTimeUnixNano"], &all[0]["endTimeUnixNano"]),
            (&json!("1000000000"), &json!("1000040000"))
        );
        assert_eq!(all[0]["status"]["code"], 2);
        assert_eq!(
            (&all[2]["name"], &all[2]["startTimeUnixNano"]),
            (&json!("proxy.integrate"), &json!("1000010000"))
        );
        assert_eq!(all[2]["parentSpanId"], all[0]["spanId"]);
        assert_eq!(all[1]["traceId"], all[0]["traceId"]);
    }

    #[test]
    fn the_queue_is_bounded_and_what_it_has_no_room_for_is_counted() {
        let exporter = exporter();
        for _ in 0..OTLP_QUEUE_SPANS_MAX + 3 {
            exporter.take(span());
        }
        assert_eq!(exporter.counts(), (0, 3));
    }

    #[test]
    fn traces_go_to_their_path_unless_the_endpoint_has_one() {
        for (endpoint, to) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("https://collector.example/", "https://collector.example/v1/traces"),
            ("http://127.0.0.1:4318/own?key=1", "http://127.0.0.1:4318/own?key=1"),
        ] {
            assert_eq!(receiver(&endpoint.parse().unwrap()).to_string(), to);
        }
    }
}
