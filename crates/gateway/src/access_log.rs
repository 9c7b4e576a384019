//! Access logs: one line per request in the format of its stage, on its way to a log group.
//!
//! Lines wait in a bounded queue that one worker empties, so that no request waits for a log. When the worker cannot
//! keep up lines are lost, which is counted and said.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use gatemill_wire::{Arn, Timestamp, routes::BoxFuture};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::{
    limits::{ACCESS_LOG_BATCH_MAX, ACCESS_LOG_FORMAT_BYTES_MAX, ACCESS_LOG_WAITING_MAX},
    record::AccessLog,
};

/// Where lines end up.
pub trait AccessLogs: Send + Sync {
    /// Adds lines to a stream of a group, in their order; waits where it has to.
    fn append<'a>(&'a self, to: &'a LogStream, lines: Vec<LogLine>) -> BoxFuture<'a, ()>;
}

/// A stream of a log group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogStream {
    /// The account.
    pub account: String,
    /// The region.
    pub region: String,
    /// The group.
    pub group: String,
    /// The stream in it.
    pub stream: String,
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When its request arrived.
    pub time: Timestamp,
    /// Its text.
    pub text: String,
}

/// The log of a stage, as requests see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StageLog {
    account: String,
    region: String,
    group: String,
    /// The begin of the stream's name.
    stream: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Variable(String),
}

const VARIABLE: &str = "$context.";

impl StageLog {
    /// Compiles a stage's log; `None` when the destination is no log group.
    pub(crate) fn compile(log: &AccessLog, api: &str, stage: &str) -> Option<Self> {
        let (account, region, group) = log_group(&log.destination)?;
        let stream = format!("{api}/{}", stage.replace(['*', ':'], "-"));
        Some(Self { account, region, group, stream, pieces: pieces(&log.format) })
    }

    /// The line of a request, whose variables `value` knows.
    pub(crate) fn line(&self, value: impl Fn(&str) -> Option<String>) -> String {
        let mut line = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => line.push_str(text),
                Piece::Variable(name) => match value(name).filter(|text| !text.is_empty()) {
                    None => line.push('-'),
                    // It has its quotes already.
                    Some(text) if name == "error.messageString" => line.push_str(&text),
                    Some(text) => push_escaped(&mut line, &text),
                },
            }
        }
        line
    }

    fn stream_of(&self, time: Timestamp) -> LogStream {
        let date = time.iso8601_millis();
        let date = date.split('T').next().unwrap_or_default();
        LogStream {
            account: self.account.clone(),
            region: self.region.clone(),
            group: self.group.clone(),
            stream: format!("{}/{date}", self.stream),
        }
    }
}

/// Clients choose some of the values; none of them may end a quoted text or a line.
fn push_escaped(line: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' | '\\' => line.extend(['\\', c]),
            c if c.is_control() => line.extend(c.escape_unicode()),
            c => line.push(c),
        }
    }
}

fn pieces(format: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once(VARIABLE) {
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        let custom = after.starts_with("authorizer.");
        let part = |c: char| {
            c.is_ascii_alphanumeric()
                || matches!(c, '_' | '.')
                || (custom && matches!(c, ':' | '-'))
        };
        let end = after.find(|c| !part(c)).unwrap_or(after.len());
        let name = after[..end].trim_end_matches(['.', ':', '-']);
        pieces.push(Piece::Variable(name.to_owned()));
        rest = &after[name.len()..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    pieces
}

/// Account, region and name of a log group, by its ARN with or without the star at its end.
pub(crate) fn log_group(arn: &str) -> Option<(String, String, String)> {
    let arn: Arn = arn.parse().ok()?;
    let group = arn.resource.strip_prefix("log-group:").filter(|_| arn.service == "logs")?;
    let group = group.strip_suffix(":*").unwrap_or(group);
    let fits = !group.is_empty() && !group.contains([':', '*']);
    fits.then(|| (arn.account.clone(), arn.region.clone(), group.to_owned()))
}

/// Whether a format may be one: it has to name the request.
pub(crate) fn is_format(format: &str) -> bool {
    let names_the_request = |piece: &Piece| match piece {
        Piece::Variable(name) => matches!(name.as_str(), "requestId" | "extendedRequestId"),
        Piece::Text(_) => false,
    };
    format.len() <= ACCESS_LOG_FORMAT_BYTES_MAX && pieces(format).iter().any(names_the_request)
}

enum Entry {
    Line(LogStream, LogLine),
    /// Everything before it is to be with the sink when this is answered.
    Flush(oneshot::Sender<()>),
}

/// The lines that wait.
pub(crate) struct Queue {
    sender: mpsc::Sender<Entry>,
    /// Held by the worker for its life, so that one that is started again goes on.
    waiting: Mutex<mpsc::Receiver<Entry>>,
    lost: AtomicU64,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("lost", &self.lost).finish_non_exhaustive()
    }
}

impl Queue {
    pub(crate) fn new() -> Self {
        let (sender, waiting) = mpsc::channel(ACCESS_LOG_WAITING_MAX);
        Self { sender, waiting: Mutex::new(waiting), lost: AtomicU64::new(0) }
    }

    /// Puts a line in, or counts it as lost.
    pub(crate) fn put(&self, log: &StageLog, time: Timestamp, text: String) {
        let entry = Entry::Line(log.stream_of(time), LogLine { time, text });
        if self.sender.try_send(entry).is_err() {
            let lost = self.lost.fetch_add(1, Ordering::Relaxed) + 1;
            if lost.is_power_of_two() {
                tracing::warn!(lost, "lines of access logs are lost, the log cannot keep up");
            }
        }
    }

    /// Returns when every line that was put in before is with the sink.
    pub(crate) async fn flush(&self) {
        let (sender, done) = oneshot::channel();
        if self.sender.send(Entry::Flush(sender)).await.is_ok() {
            let _ = done.await;
        }
    }

    /// Empties the queue for ever.
    pub(crate) async fn run(self: Arc<Self>, sink: Arc<dyn AccessLogs>) {
        let mut waiting = self.waiting.lock().await;
        let mut batch = Vec::new();
        while waiting.recv_many(&mut batch, ACCESS_LOG_BATCH_MAX).await > 0 {
            let mut lines: BTreeMap<LogStream, Vec<LogLine>> = BTreeMap::new();
            let mut flushes = Vec::new();
            for entry in batch.drain(..) {
                match entry {
                    Entry::Line(stream, line) => lines.entry(stream).or_default().push(line),
                    Entry::Flush(done) => flushes.push(done),
                }
            }
            for (stream, lines) in lines {
                sink.append(&stream, lines).await;
            }
            for done in flushes {
                let _ = done.send(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(format: &str) -> StageLog {
        let destination = "arn:aws:logs:eu-west-1:123456789012:log-group:access:*".to_owned();
        StageLog::compile(&AccessLog { destination, format: format.to_owned() }, "api", "$default")
            .unwrap()
    }

    #[test]
    fn each_format_of_the_console() {
        let value = |name: &str| match name {
            "requestId" => Some("id=".to_owned()),
            "identity.userAgent" => Some("a\"b\\c\r\nd".to_owned()),
            "status" => Some("200".to_owned()),
            "authorizer.claims.cognito:groups" => Some("[a b]".to_owned()),
            "error.messageString" => Some("\"Not Found\"".to_owned()),
            _ => None,
        };
        let line = |format: &str| log(format).line(value);
        assert_eq!(
            line(
                r#"{"id":"$context.requestId","ip":"$context.identity.sourceIp","e":$context.error.messageString}"#
            ),
            r#"{"id":"id=","ip":"-","e":"Not Found"}"#
        );
        assert_eq!(
            line(r#"$context.identity.sourceIp - - "$context.identity.userAgent" $context.status"#),
            r#"- - - "a\"b\\c\u{d}\u{a}d" 200"#
        );
        assert_eq!(
            line("<a id=\"$context.requestId\">$context.status</a>"),
            "<a id=\"id=\">200</a>"
        );
        assert_eq!(line("$context.requestId,$context.status."), "id=,200.");
        assert_eq!(
            line("$context.authorizer.claims.cognito:groups: $context.requestId"),
            "[a b]: id="
        );
    }

    #[test]
    fn what_a_format_and_a_destination_have_to_be() {
        assert!(
            is_format("$context.requestId") && is_format("{\"a\":\"$context.extendedRequestId\"}")
        );
        assert!(
            !is_format("") && !is_format("$context.status") && !is_format("$context.requestIdx")
        );
        assert!(!is_format(&format!(
            "$context.requestId{}",
            "x".repeat(ACCESS_LOG_FORMAT_BYTES_MAX)
        )));
        for arn in [
            "arn:aws:firehose:r:123456789012:deliverystream/amazon-apigateway-x",
            "arn:aws:logs:r:123456789012:log-group:",
            "access",
        ] {
            assert_eq!(log_group(arn), None, "{arn}");
        }
    }
}
