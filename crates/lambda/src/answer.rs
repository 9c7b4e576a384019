//! Where a call's answer goes while the runtime gives it: gathered for a caller that wants it whole, or passed on piece
//! by piece.
//!
//! Both ends of a call may be slow. A caller that reads slowly fills a bounded channel, and then the runtime is not read
//! on: it waits. A caller that went away is not waited for: the function runs to its end, and its pieces are dropped.
//! How the pieces come out of the environment (frames, or a chunked body of the Runtime API) is not known here.

use std::{
    fmt,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::{
    Error, Outcome,
    limits::{
        RESPONSE_BYTES_MAX, STREAM_BURST_BYTES, STREAM_BYTES_MAX, STREAM_BYTES_PER_SECOND,
        STREAM_CHUNKS_WAITING_MAX,
    },
};

/// The type of a streamed answer that names none.
const OCTETS: &str = "application/octet-stream";
/// The type of an answer that a runtime gives whole.
const JSON: &str = "application/json";

/// An answer that comes in pieces, from its begin on.
#[derive(Debug)]
pub struct Streaming {
    /// The version that runs: `$LATEST` or a number.
    pub executed_version: String,
    /// What the runtime said the bytes are; `application/json` of an answer that it gave whole.
    pub content_type: String,
    /// The bytes.
    pub stream: ResponseStream,
}

/// The pieces of an answer. Dropping it does not stop the function.
pub struct ResponseStream {
    chunks: mpsc::Receiver<Bytes>,
    end: Option<oneshot::Receiver<StreamEnd>>,
}

/// What a [`ResponseStream`] gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEvent {
    /// Bytes of the answer; never none.
    Chunk(Bytes),
    /// The last event: the call is over.
    End(StreamEnd),
}

/// How a streamed answer ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamEnd {
    /// The error document of a function that failed, before its first byte or in the middle.
    pub error: Option<Bytes>,
    /// The last 4 KB of the call's log, where asked for.
    pub log_tail: Option<Bytes>,
}

impl fmt::Debug for ResponseStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseStream").field("waiting", &self.chunks.len()).finish()
    }
}

impl ResponseStream {
    /// The next event; `None` after [`StreamEvent::End`].
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<StreamEvent>> {
        let Some(end) = &mut self.end else { return Poll::Ready(None) };
        if let Some(chunk) = std::task::ready!(self.chunks.poll_recv(cx)) {
            return Poll::Ready(Some(StreamEvent::Chunk(chunk)));
        }
        let end = std::task::ready!(std::pin::Pin::new(end).poll(cx));
        self.end = None;
        // The call's task always says how it ended, unless it was ended itself.
        let end = end.unwrap_or_else(|_| StreamEnd {
            error: Some(Bytes::from_static(
                br#"{"errorType":"Sandbox.Failure","errorMessage":"The call was cut off."}"#,
            )),
            log_tail: None,
        });
        Poll::Ready(Some(StreamEvent::End(end)))
    }

    /// The next event; `None` after [`StreamEvent::End`].
    pub async fn next(&mut self) -> Option<StreamEvent> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }
}

/// The receiving side of one call's answer.
#[derive(Debug)]
pub(crate) enum Answer {
    /// For a caller that wants the answer whole.
    Whole(Gathered),
    /// For a caller that reads while the function runs.
    Streamed(Box<Passed>),
}

/// The pieces of an answer put together again.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    bytes: BytesMut,
    too_large: bool,
}

/// The sending side of a [`Streaming`].
#[derive(Debug)]
pub(crate) struct Passed {
    head: Option<oneshot::Sender<Result<Streaming, Error>>>,
    /// `None` before the begin.
    chunks: Option<mpsc::Sender<Bytes>>,
    end: Option<oneshot::Sender<StreamEnd>>,
    executed_version: String,
    bytes: u64,
    pace: Option<Pace>,
    begun_at: Option<Instant>,
}

/// The answer has become larger than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLarge;

impl Answer {
    /// An answer for a caller that wants it whole.
    pub(crate) fn whole() -> Self {
        Self::Whole(Gathered::default())
    }

    /// An answer for a caller that reads it in pieces; the receiver is given the begin, or why there is none.
    pub(crate) fn streamed(
        limits_bandwidth: bool,
    ) -> (Self, oneshot::Receiver<Result<Streaming, Error>>) {
        let (head, begun) = oneshot::channel();
        let passed = Passed {
            head: Some(head),
            chunks: None,
            end: None,
            executed_version: String::new(),
            bytes: 0,
            pace: limits_bandwidth.then(Pace::new),
            begun_at: None,
        };
        (Self::Streamed(Box::new(passed)), begun)
    }

    /// Which version answers: known before anything runs.
    pub(crate) fn of_version(&mut self, name: &str) {
        if let Self::Streamed(passed) = self {
            name.clone_into(&mut passed.executed_version);
        }
    }

    /// The runtime begins an answer in pieces. What is no legal header value counts as no type.
    pub(crate) fn begin(&mut self, content_type: &[u8]) {
        if let Self::Streamed(passed) = self {
            let text = std::str::from_utf8(content_type).unwrap_or_default().trim();
            let legal = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
            passed.begin(if legal && !text.is_empty() { text } else { OCTETS });
            passed.begun_at = Some(Instant::now());
        }
    }

    /// Takes the next piece, and waits while the reader is slow.
    ///
    /// # Errors
    /// When a streamed answer is larger than 200 MB. One that is gathered is read on: its end says so.
    pub(crate) async fn chunk(&mut self, bytes: Bytes) -> Result<(), TooLarge> {
        match self {
            Self::Whole(gathered) => {
                gathered.push(&bytes);
                Ok(())
            }
            Self::Streamed(passed) => passed.chunk(bytes).await,
        }
    }

    /// The bytes of an answer whose pieces have all come: empty when they were passed on.
    pub(crate) fn gathered(&mut self) -> Result<Bytes, TooLarge> {
        match self {
            Self::Whole(gathered) => gathered.take(),
            Self::Streamed(_) => Ok(Bytes::new()),
        }
    }

    /// How many bytes were passed on already.
    pub(crate) fn passed_on(&self) -> usize {
        match self {
            Self::Whole(_) => 0,
            Self::Streamed(passed) => usize::try_from(passed.bytes).unwrap_or(usize::MAX),
        }
    }

    /// How long after `since` an answer in pieces began.
    pub(crate) fn first_byte(&self, since: Instant) -> Option<Duration> {
        match self {
            Self::Whole(_) => None,
            Self::Streamed(passed) => Some(passed.begun_at?.saturating_duration_since(since)),
        }
    }

    /// The call is over: its reader, if it has one, gets what it has not yet. Never waits.
    pub(crate) fn finish(self, result: Result<Outcome, Error>) {
        if let Self::Streamed(passed) = self {
            passed.finish(result);
        }
    }
}

impl Gathered {
    fn push(&mut self, bytes: &[u8]) {
        if self.bytes.len() + bytes.len() > RESPONSE_BYTES_MAX {
            self.too_large = true;
            self.bytes = BytesMut::new();
        }
        if !self.too_large {
            self.bytes.extend_from_slice(bytes);
        }
    }

    fn take(&mut self) -> Result<Bytes, TooLarge> {
        if std::mem::take(&mut self.too_large) {
            return Err(TooLarge);
        }
        Ok(std::mem::take(&mut self.bytes).freeze())
    }
}

impl Passed {
    fn begin(&mut self, content_type: &str) {
        let Some(head) = self.head.take() else { return };
        let (chunks, receiver) = mpsc::channel(STREAM_CHUNKS_WAITING_MAX);
        let (end, ended) = oneshot::channel();
        self.chunks = Some(chunks);
        self.end = Some(end);
        let streaming = Streaming {
            executed_version: std::mem::take(&mut self.executed_version),
            content_type: content_type.to_owned(),
            stream: ResponseStream { chunks: receiver, end: Some(ended) },
        };
        // A caller that has gone is nobody's loss.
        drop(head.send(Ok(streaming)));
    }

    async fn chunk(&mut self, bytes: Bytes) -> Result<(), TooLarge> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.bytes += bytes.len() as u64;
        if self.bytes > STREAM_BYTES_MAX {
            return Err(TooLarge);
        }
        let Some(chunks) = &self.chunks else { return Ok(()) };
        if chunks.is_closed() {
            return Ok(());
        }
        if let Some(pace) = &mut self.pace {
            pace.wait(bytes.len()).await;
        }
        // Fails when the reader has gone.
        drop(chunks.send(bytes).await);
        Ok(())
    }

    fn finish(mut self, result: Result<Outcome, Error>) {
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(error) => {
                match self.head.take() {
                    Some(head) => drop(head.send(Err(error))),
                    None => tracing::error!(%error, "a streamed call failed after its begin"),
                }
                return;
            }
        };
        let failed = outcome.function_error.is_some();
        if self.head.is_some() {
            self.begin(JSON);
            if let Some(chunks) = self.chunks.as_ref().filter(|_| !failed) {
                // There is room: this is the first piece.
                drop(chunks.try_send(outcome.payload.clone()));
            }
        }
        self.chunks = None;
        if let Some(end) = self.end.take() {
            let error = failed.then_some(outcome.payload);
            drop(end.send(StreamEnd { error, log_tail: outcome.log_tail }));
        }
    }
}

/// AWS's bandwidth: a bucket that is full at first and fills again with time.
#[derive(Debug)]
struct Pace {
    /// What may pass at once.
    left: u32,
    filled: Instant,
}

impl Pace {
    fn new() -> Self {
        Self { left: STREAM_BURST_BYTES, filled: Instant::now() }
    }

    /// Waits until this many bytes may pass.
    async fn wait(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let now = Instant::now();
        let since = now.saturating_duration_since(self.filled);
        let gained = since.as_secs_f64() * f64::from(STREAM_BYTES_PER_SECOND);
        let held = (f64::from(self.left) + gained).min(f64::from(STREAM_BURST_BYTES));
        let missing = f64::from(bytes) - held;
        if missing > 0.0 {
            let wait = Duration::from_secs_f64(missing / f64::from(STREAM_BYTES_PER_SECOND));
            tokio::time::sleep(wait).await;
            (self.left, self.filled) = (0, now + wait);
        } else {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between nothing and the bucket, which is a u32"
            )]
            let left = (-missing) as u32;
            (self.left, self.filled) = (left, now);
        }
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
