//! Where the lines of functions go: from Lambda's sink into CloudWatch Logs.

use std::sync::Arc;

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
