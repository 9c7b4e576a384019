//! SIGINT and SIGTERM: the first asks for a clean stop, the second ends the process at once.

use std::future::Future;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::Error;

/// The signals that ask for a stop.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From now on, the signals no longer end the process by themselves.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn listen() -> Result<Self, Error> {
        let refused = |source| Error::System { doing: "listen to signals", source };
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(refused)?,
            terminate: signal(SignalKind::terminate()).map_err(refused)?,
        })
    }

    /// Waits for the next of them.
    pub(crate) async fn next(&mut self) {
        let name = tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        };
        tracing::info!(signal = name, "asked to stop");
    }
}

/// Waits for `stop`, or ends the process at the next signal.
pub(crate) async fn stop_or_end(stop: impl Future<Output = ()>, signals: &mut Signals) {
    tokio::select! {
        () = stop => {}
        () = signals.next() => end_at_once(),
    }
}

/// Leaves without another step. What was acknowledged is durable already, and the sandboxes end with their server.
#[allow(clippy::exit, reason = "the user asked twice; running destructors is what takes so long")]
fn end_at_once() -> ! {
    tracing::warn!("ending at once, without waiting for running calls");
    std::process::exit(130)
}
