//! Where log lines go: a trait that the server binds to the logs service.

use std::fmt;

use gatemill_wire::{Timestamp, routes::BoxFuture};

/// One line, or one message that belongs together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEvent {
    /// When it was read from the environment.
    pub timestamp: Timestamp,
    /// The text, with its line end where it had one.
    pub message: String,
}

/// The stream of one execution environment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LogStream {
    /// The function's account.
    pub account: String,
    /// The function's region.
    pub region: String,
    /// `/aws/lambda/<name>`, or the group that its configuration names.
    pub group: String,
    /// `YYYY/MM/DD/[<version>]<32 hexadecimal digits>`.
    pub stream: String,
}

impl fmt::Display for LogStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.group, self.stream)
    }
}

/// Takes log lines. It may make its caller wait and it never drops what it took.
pub trait LogSink: Send + Sync {
    /// Appends events to a stream, in their order, making group and stream where they are missing.
    fn append<'a>(&'a self, stream: &'a LogStream, events: Vec<LogEvent>) -> BoxFuture<'a, ()>;
}
