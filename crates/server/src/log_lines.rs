//! Where the lines of functions and of access logs go: from their sinks into CloudWatch Logs.

use std::sync::Arc;

use gatemill_gateway::access_log::{self, AccessLogs, LogLine};
use gatemill_lambda::{LogEvent, LogSink, LogStream};
use gatemill_logs::{Event, Logs};
use gatemill_wire::routes::BoxFuture;

/// Lambda's log sink, bound to the logs service. It waits where that waits, and drops nothing.
#[derive(Debug)]
pub(crate) struct FunctionLogs(pub(crate) Arc<Logs>);

impl LogSink for FunctionLogs {
    fn append<'a>(&'a self, stream: &'a LogStream, events: Vec<LogEvent>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let LogStream { account, region, group, stream: name } = stream;
            let events = events
                .into_iter()
                .map(|LogEvent { timestamp, message }| Event {
                    timestamp: timestamp.millis(),
                    message,
                })
                .collect();
            if let Err(error) = self.0.append(account, region, group, name, events).await {
                tracing::error!(%error, %stream, "log lines of a function are lost");
            }
        })
    }
}

/// The gateway's sink of access logs, bound to the logs service. It waits where that waits.
#[derive(Debug)]
pub(crate) struct GatewayLogs(pub(crate) Arc<Logs>);

impl AccessLogs for GatewayLogs {
    fn append<'a>(
        &'a self,
        to: &'a access_log::LogStream,
        lines: Vec<LogLine>,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let access_log::LogStream { account, region, group, stream } = to;
            let events = lines
                .into_iter()
                .map(|LogLine { time, text }| Event { timestamp: time.millis(), message: text })
                .collect();
            if let Err(error) = self.0.append(account, region, group, stream, events).await {
                tracing::error!(%error, group, stream, "lines of an access log are lost");
            }
        })
    }
}
