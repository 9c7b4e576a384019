//! Record: one structured log line and the counters, for every request.

use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;

use super::{Exchange, Refused, Seen};
use crate::Gateway;

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

/// Counts the request and writes its line. The path is the customer's and stays out; the reason of a refusal is ours.
pub(super) fn record(
    gateway: &Gateway,
    exchange: &Exchange,
    seen: &Seen,
    status: StatusCode,
    refused: Option<&Refused>,
) {
    count_status(&gateway.tally, status);
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
