//! SIGINT and SIGTERM: the first asks for a clean stop, the second ends the process at once. SIGHUP asks for a restart as
//! whatever program now has our name.

use std::future::Future;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::Error;

/// The signals that ask for a stop.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// To stop.
    Stop,
    /// To stop and to start again, without refusing a connection in between.
    Restart,
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
            hang_up: signal(SignalKind::hangup()).map_err(refused)?,
        })
    }

    /// Waits for the next of them.
    pub(crate) async fn next(&mut self) -> Asked {
        let name = tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hang_up.recv() => {
                tracing::info!(signal = "SIGHUP", "asked to restart");
                return Asked::Restart;
            }
        };
        tracing::info!(signal = name, "asked to stop");
        Asked::Stop
    }

    /// Waits for the next that asks for a stop; a restart that is under way is not asked for again.
    async fn next_stop(&mut self) {
        while self.next().await == Asked::Restart {}
    }
}

/// Waits for `stop`, or ends the process at the next signal.
pub(crate) async fn stop_or_end(stop: impl Future<Output = ()>, signals: &mut Signals) {
    tokio::select! {
        () = stop => {}
        () = signals.next_stop() => end_at_once(),
    }
}

/// Leaves without another step. What was acknowledged is durable already, and the sandboxes end with their server.
#[allow(clippy::exit, reason = "the user asked twice; running destructors is what takes so long")]
fn end_at_once() -> ! {
    tracing::warn!("ending at once, without waiting for running calls");
    std::process::exit(130)
}
