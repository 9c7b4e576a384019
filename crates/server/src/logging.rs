//! The log: one line per event on stderr, so that stdout stays for what a command answers.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

/// Starts logging with a filter that the configuration has checked. A second call changes nothing.
pub(crate) fn start(filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        // A full disk or a reader that left must cost the line, not the server: complaining about it on the same
        // stderr would panic.
        .log_internal_errors(false)
        .finish();
    // It fails only when a log was started before.
    let _ = tracing::subscriber::set_global_default(log);
}
