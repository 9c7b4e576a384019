//! Record: the counters, one structured log line and the line of the access log, for every request.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use http::{Response, StatusCode};

use super::{Exchange, ProxyBody, Refused, Seen, values::context};
use crate::{access_log::Queue, measure::Measure};

/// What the data plane has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests answered.
    pub requests: u64,
    /// Among them, answers of 400 to 499.
    pub client_errors: u64,
    /// Among them, answers of 500 to 599.
    pub server_errors: u64,
    /// Messages over WebSockets, from clients and to them.
    pub messages: u64,
}

/// Counts as they go.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    requests: AtomicU64,
    client_errors: AtomicU64,
    server_errors: AtomicU64,
    messages: AtomicU64,
}

impl Tally {
    /// Counts a message over a WebSocket.
    pub(crate) fn message(&self) {
        self.messages.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts of now.
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            requests: self.requests.load(Ordering::Relaxed),
            client_errors: self.client_errors.load(Ordering::Relaxed),
            server_errors: self.server_errors.load(Ordering::Relaxed),
            messages: self.messages.load(Ordering::Relaxed),
        }
    }
}

/// Counts a request by the status of its answer.
pub(crate) fn count_status(tally: &Tally, status: StatusCode) {
    tally.requests.fetch_add(1, Ordering::Relaxed);
    if status.is_client_error() {
        tally.client_errors.fetch_add(1, Ordering::Relaxed);
    } else if status.is_server_error() {
        tally.server_errors.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a request leaves behind: counts and lines.
#[derive(Debug)]
pub(crate) struct Records {
    pub(crate) tally: Tally,
    pub(crate) log: Arc<Queue>,
    pub(crate) measure: Measure,
}

/// Records the request when its answer has been given: at once when its length is known, else when its body has ended.
pub(super) fn record(
    records: &Arc<Records>,
    exchange: Exchange,
    mut seen: Seen,
    refused: Option<&Refused>,
    response: &mut Response<ProxyBody>,
) {
    seen.status = Some(response.status().as_u16());
    if let Some(refused) = refused {
        let (_, message) = refused.with.says();
        seen.message = Some(message);
        seen.response_type = Some(refused.with.response_type());
    }
    count_status(&records.tally, response.status());
    trace(&exchange, &seen, response.status(), refused);
    match response.body().length() {
        Some(bytes) => settle(records, &exchange, seen, bytes),
        None => {
            let records = Arc::clone(records);
            response.body_mut().watch(move |bytes| settle(&records, &exchange, seen, bytes));
        }
    }
}

/// Counts what is known at the end, and writes the line of the access log.
fn settle(records: &Records, exchange: &Exchange, mut seen: Seen, bytes: u64) {
    records.measure.span(exchange, &mut seen);
    let Some(stage) = seen.stage.clone() else { return };
    let latency = u64::try_from(exchange.started.elapsed().as_millis()).unwrap_or(u64::MAX);
    seen.bytes = Some(bytes);
    seen.latency_ms = Some(latency);
    let status = seen.status.unwrap_or_default();
    let integration = seen.integration.as_ref().map_or(0, |integration| integration.latency_ms);
    stage.counters.request(status, bytes, latency, integration);
    if let Some(counters) = &seen.counters {
        counters.request(status, bytes, latency, integration);
    }
    records.measure.answered(exchange, &stage, &seen);
    if let Some(log) = &stage.log {
        let value = |name: &str| context(exchange, &seen, name).map(Cow::into_owned);
        records.log.put(log, exchange.arrival.now, log.line(value));
    }
}

/// The program's own line. The path is the customer's and stays out; the reason of a refusal is ours.
fn trace(exchange: &Exchange, seen: &Seen, status: StatusCode, refused: Option<&Refused>) {
    let stage = seen.stage.as_ref().map_or("-", |stage| stage.name.as_str());
    let (api, route) = (exchange.target.api_id.as_str(), seen.route.as_deref().unwrap_or("-"));
    let (id, status) = (exchange.id.as_str(), status.as_u16());
    match refused {
        Some(Refused { why, .. }) if status >= 500 => {
            tracing::warn!(api, stage, route, id, status, why = %why, "request");
        }
        Some(Refused { why, .. }) => {
            tracing::debug!(api, stage, route, id, status, why = %why, "request");
        }
        None => tracing::debug!(api, stage, route, id, status, "request"),
    }
}
