//! What is measured of APIs: the metrics of the namespace `AWS/ApiGateway`, and a span for each request of an HTTP API,
//! and each handshake and message of a WebSocket API.
//!
//! A request is written down under its stage, which counts for its API as well; where the stage asked for detailed metrics,
//! under its route, which counts for both.

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
    time::Duration,
};

use gatemill_meter::{
    Meters, Metric, Span, SpanKind, SpanSink, Stages, Subject, TraceContext, Unit,
};
use gatemill_wire::Timestamp;
use tokio::time::Instant;

use crate::{
    Gateway,
    proxy::{Exchange, Seen},
    record::ApiKey,
    snapshot::StageSnapshot,
    websocket::snapshot::Route,
};

const NAMESPACE: &str = "AWS/ApiGateway";

const fn count(name: &'static str) -> Metric {
    Metric { name, unit: Unit::Count }
}

const fn milliseconds(name: &'static str) -> Metric {
    Metric { name, unit: Unit::Milliseconds }
}

static COUNT: Metric = count("Count");
static CLIENT_ERRORS: Metric = count("4xx");
static SERVER_ERRORS: Metric = count("5xx");
static LATENCY: Metric = milliseconds("Latency");
static INTEGRATION_LATENCY: Metric = milliseconds("IntegrationLatency");
static DATA_PROCESSED: Metric = Metric { name: "DataProcessed", unit: Unit::Bytes };
pub(crate) static CONNECTS: Metric = count("ConnectCount");
pub(crate) static MESSAGES: Metric = count("MessageCount");
pub(crate) static CLIENT_ERROR: Metric = count("ClientError");
pub(crate) static EXECUTION_ERROR: Metric = count("ExecutionError");
pub(crate) static INTEGRATION_ERROR: Metric = count("IntegrationError");

/// Who is told of requests. Until the server says so, nobody is.
#[derive(Default)]
pub(crate) struct Measure {
    meters: OnceLock<Arc<Meters>>,
    spans: OnceLock<Arc<dyn SpanSink>>,
}

impl std::fmt::Debug for Measure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Measure")
    }
}

/// As what a stage is measured.
pub(crate) fn of_stage(at: &ApiKey, stage: &str) -> Arc<Subject> {
    subject(at, vec![("ApiId", at.id.clone()), ("Stage", stage.to_owned())], &[1, 2])
}

/// As what a route of an HTTP API is measured, by its key: `GET /pets`, or `$default`.
pub(crate) fn of_route(at: &ApiKey, stage: &str, key: &str) -> Arc<Subject> {
    let (method, resource) = key.split_once(' ').unwrap_or(("ANY", key));
    of_method(at, stage, method, resource)
}

/// As what a route of a WebSocket API is measured, by its key and its id.
pub(crate) fn of_websocket_route(at: &ApiKey, stage: &str, key: &str, id: &str) -> Arc<Subject> {
    of_method(at, stage, id, key)
}

fn of_method(at: &ApiKey, stage: &str, method: &str, resource: &str) -> Arc<Subject> {
    let dimensions = vec![
        ("ApiId", at.id.clone()),
        ("Stage", stage.to_owned()),
        ("Resource", resource.to_owned()),
        ("Method", method.to_owned()),
    ];
    subject(at, dimensions, &[1, 2, 4])
}

fn subject(
    at: &ApiKey,
    dimensions: Vec<(&'static str, String)>,
    levels: &'static [usize],
) -> Arc<Subject> {
    let (account, region) = (at.account.clone(), at.region.clone());
    Arc::new(Subject { account, region, namespace: NAMESPACE, dimensions, levels })
}

fn yes(it: bool) -> f64 {
    if it { 1.0 } else { 0.0 }
}

#[allow(clippy::cast_precision_loss, reason = "exact up to 2^53")]
fn number(it: u64) -> f64 {
    it as f64
}

/// A handshake or a message of a WebSocket API on its way, where somebody wants to know of it.
#[derive(Debug, Default)]
pub(crate) struct Passing(Option<Box<Passed>>);

#[derive(Debug)]
struct Passed {
    begun: Instant,
    at: Timestamp,
    stages: Stages,
    attributes: Vec<(&'static str, Cow<'static, str>)>,
}

impl Passing {
    /// It has come to the end of a stage.
    pub(crate) fn end(&mut self, stage: &'static str) {
        if let Some(passed) = &mut self.0 {
            let Passed { begun, stages, .. } = &mut **passed;
            stages.end(stage, || micros(begun.elapsed()));
        }
    }

    /// What became known of it; `value` is asked for only if somebody wants to know.
    pub(crate) fn note<T: Into<Cow<'static, str>>>(
        &mut self,
        name: &'static str,
        value: impl FnOnce() -> T,
    ) {
        if let Some(passed) = &mut self.0 {
            passed.attributes.push((name, value().into()));
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Gateway {
    /// Says what measures requests; until then they are not measured. Only the first counts: it is set while the server is put
    /// together.
    pub fn set_meters(&self, meters: Arc<Meters>) {
        let _ = self.records.measure.meters.set(meters);
    }

    /// Says who takes the spans of requests; until then there are none. Only the first counts.
    pub fn set_spans(&self, spans: Arc<dyn SpanSink>) {
        let _ = self.records.measure.spans.set(spans);
    }
}

impl Measure {
    /// The stages of a request, kept where spans are exported.
    pub(crate) fn stages(&self) -> Stages {
        self.spans.get().map(|_| Stages::kept()).unwrap_or_default()
    }

    /// A request of an HTTP API was answered.
    pub(crate) fn answered(&self, exchange: &Exchange, stage: &StageSnapshot, seen: &Seen) {
        let Some(meters) = self.meters.get() else { return };
        let subject = seen.subject.as_ref().unwrap_or(&stage.subject);
        let status = seen.status.unwrap_or_default();
        let integration = seen.integration.as_ref().map(|integration| integration.latency_ms);
        let values = [
            (&COUNT, 1.0),
            (&CLIENT_ERRORS, yes((400..500).contains(&status))),
            (&SERVER_ERRORS, yes((500..600).contains(&status))),
            (&LATENCY, number(seen.latency_ms.unwrap_or_default())),
            (&DATA_PROCESSED, number(seen.bytes.unwrap_or_default())),
            (&INTEGRATION_LATENCY, number(integration.unwrap_or_default())),
        ];
        // Where no integration was asked, its latency is not zero but none.
        let measured = values.len() - usize::from(integration.is_none());
        meters.record(subject, exchange.arrival.now.millis(), &values[..measured]);
    }

    /// Something happened on a WebSocket API; under its route where that is measured by itself.
    pub(crate) fn websocket(
        &self,
        stage: &StageSnapshot,
        route: Option<&Route>,
        at: Timestamp,
        values: &[(&'static Metric, f64)],
    ) {
        let Some(meters) = self.meters.get() else { return };
        let of_route = route.and_then(|route| route.subject.as_ref());
        meters.record(of_route.unwrap_or(&stage.subject), at.millis(), values);
    }

    /// An integration of a WebSocket API was asked; `failed` is the status of one that gave no answer.
    pub(crate) fn asked(
        &self,
        stage: &StageSnapshot,
        route: &Route,
        at: Timestamp,
        (status, failed): (Option<u16>, Option<u16>),
        latency: Duration,
    ) {
        // 502 is what an integration's own failure becomes; the others never reached it, or not in time.
        let by_integration = status.is_some_and(|status| status >= 400) || failed == Some(502);
        let values = [
            (&INTEGRATION_ERROR, yes(by_integration)),
            (&EXECUTION_ERROR, yes(failed.is_some_and(|status| status != 502))),
            (&INTEGRATION_LATENCY, latency.as_secs_f64() * 1_000.0),
        ];
        self.websocket(stage, Some(route), at, &values);
    }

    /// Something begins on a WebSocket API.
    pub(crate) fn passing(&self, at: Timestamp) -> Passing {
        Passing(self.spans.get().map(|_| {
            let (stages, attributes) = (Stages::kept(), Vec::new());
            Box::new(Passed { begun: Instant::now(), at, stages, attributes })
        }))
    }

    /// The span of something that ended on a WebSocket API.
    pub(crate) fn passed(&self, name: &'static str, passing: Passing, trace: &str, failed: bool) {
        let (Some(spans), Some(passed)) = (self.spans.get(), passing.0) else { return };
        let Passed { begun, at, stages, attributes } = *passed;
        spans.take(Span {
            name,
            kind: SpanKind::Server,
            trace: TraceContext::read(trace),
            started_ms: at.millis(),
            took_us: micros(begun.elapsed()),
            stages,
            failed,
            attributes,
        });
    }

    /// The span of a request that was answered.
    pub(crate) fn span(&self, exchange: &Exchange, seen: &mut Seen) {
        let Some(spans) = self.spans.get() else { return };
        let status = seen.status.unwrap_or_default();
        let mut attributes = vec![
            ("http.request.method", exchange.head.method.to_string().into()),
            ("http.response.status_code", status.to_string().into()),
            ("aws.api_gateway.api_id", exchange.target.api_id.clone().into()),
            ("aws.request_id", exchange.id.clone().into()),
        ];
        if let Some(route) = &seen.route {
            attributes.push(("http.route", route.clone().into()));
        }
        if let Some(stage) = &seen.stage {
            attributes.push(("aws.api_gateway.stage", stage.name.clone().into()));
        }
        spans.take(Span {
            name: "proxy",
            kind: SpanKind::Server,
            trace: TraceContext::read(&exchange.trace_id),
            started_ms: exchange.arrival.now.millis(),
            took_us: micros(exchange.started.elapsed()),
            stages: std::mem::take(&mut seen.stages),
            failed: status >= 500,
            attributes,
        });
    }
}
