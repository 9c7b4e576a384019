//! What is told of every API call: one structured log line, and counters for `/_gatemill/health`.
//!
//! Calls of functions through a URL are not here: their line is the gateway's.

use std::sync::atomic::{AtomicU64, Ordering};

use gatemill_wire::{ApiError, OperationInfo, Recorder, RequestId};
use serde::Serialize;

/// The service that is called for every message to a WebSocket connection: a line for each would cost as much as the call.
const PER_MESSAGE: &str = "apigatewaymanagementapi";

/// Counts and logs API calls.
#[derive(Debug, Default)]
pub(crate) struct CallRecorder {
    calls: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
}

/// The counters at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct CallCounts {
    /// All API calls since the start.
    pub(crate) calls: u64,
    /// Those answered with a 4xx.
    pub(crate) refused: u64,
    /// Those answered with a 5xx other than 501.
    pub(crate) failed: u64,
}

impl CallRecorder {
    /// The counters now.
    pub(crate) fn counts(&self) -> CallCounts {
        CallCounts {
            calls: self.calls.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}

impl Recorder for CallRecorder {
    fn record(
        &self,
        request_id: RequestId,
        operation: Option<&OperationInfo>,
        status: u16,
        error: Option<&ApiError>,
    ) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        match status {
            400..=499 => self.refused.fetch_add(1, Ordering::Relaxed),
            500 | 502..=599 => self.failed.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
        let service = operation.map_or("-", |operation| operation.service.name);
        let name = operation.map_or("-", |operation| operation.name);
        let Some(error) = error else {
            if service == PER_MESSAGE {
                tracing::debug!(target: "gatemill::api", service, operation = name, status, %request_id);
                return;
            }
            tracing::info!(target: "gatemill::api", service, operation = name, status, %request_id);
            return;
        };
        let code = error.shape.code;
        match error.internal_text() {
            Some(internal) if status >= 500 => tracing::error!(
                target: "gatemill::api",
                service, operation = name, status, code, internal, %request_id
            ),
            internal => tracing::info!(
                target: "gatemill::api",
                service, operation = name, status, code, internal, %request_id
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use gatemill_wire::error::common;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn refusals_and_failures_are_told_apart() {
        let recorder = CallRecorder::default();
        let id = RequestId(Uuid::nil());
        recorder.record(id, None, 200, None);
        let error = ApiError::new(&common::UNKNOWN_OPERATION, "no");
        recorder.record(id, None, 404, Some(&error));
        recorder.record(id, None, 501, Some(&error));
        recorder.record(id, None, 500, Some(&error));
        assert_eq!(recorder.counts(), CallCounts { calls: 4, refused: 1, failed: 1 });
    }
}
