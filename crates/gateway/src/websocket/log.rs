//! The line of the access log for what happens on a connection: a handshake, a message, its end.

use super::happening::Happening;
use crate::{Gateway, snapshot::StageSnapshot};

/// How an integration did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// What it answered; none where it did not.
    pub(super) status: Option<u16>,
    pub(super) error: Option<String>,
    pub(super) latency_ms: u64,
}

/// Writes the line, where the stage has a log. `error` is what the client was told.
pub(super) fn write(
    gateway: &Gateway,
    stage: &StageSnapshot,
    happening: &Happening<'_>,
    status: u16,
    error: Option<&str>,
) {
    let Some(log) = &stage.log else { return };
    let line = log.line(|name| value(happening, status, error, name));
    gateway.records.log.put(log, happening.now, line);
}

fn value(
    happening: &Happening<'_>,
    status: u16,
    error: Option<&str>,
    name: &str,
) -> Option<String> {
    let asked = happening.asked.get();
    Some(match name {
        "status" => status.to_string(),
        "error.message" => error?.to_owned(),
        "error.messageString" => serde_json::to_string(error?).ok()?,
        "integrationStatus" | "integration.status" | "integration.integrationStatus" => {
            asked?.status?.to_string()
        }
        "integrationLatency" | "integration.latency" => asked?.latency_ms.to_string(),
        "integration.error" | "integrationErrorMessage" => asked?.error.clone()?,
        name => return happening.context(name),
    })
}
