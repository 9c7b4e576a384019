//! Streams of Kinesis by enhanced fan-out: a consumer of the stream to which records are pushed.
//!
//! A subscription to a shard is one answer of the service that goes on for five minutes, message after message, and is
//! then asked for anew. It is kept open between two polls, so that a poll takes what has come meanwhile. Where to read
//! on is in the cursor alone: a subscription that stands at another place is dropped, and another one asked for, so that
//! nothing depends on its being there.
//! Source: Amazon Kinesis API reference, `SubscribeToShard`.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use gatemill_aws::{Client, Endpoint, Error as AwsError, Request};
use gatemill_lambda::mapping::SourceArn;
use gatemill_wire::{
    event_stream::{Decoder, Message},
    routes::BoxFuture,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use crate::{
    SourceError,
    kinesis::{Starting, Stream, StreamRecord},
    limits::PUSHED_MESSAGE_BYTES_MAX,
    source::{Cursor, Polled, Position, Record, Shard, Source},
};

/// A consumer of a stream.
pub(crate) struct Consumer {
    stream: Stream,
    arn: String,
    /// What is open, by shard.
    subscriptions: Mutex<HashMap<String, Subscription>>,
}

/// A subscription to a shard.
struct Subscription {
    body: gatemill_aws::Stream,
    decoder: Decoder,
    /// What came and was not polled yet.
    waiting: VecDeque<Record>,
    /// The cursor for which it goes on.
    at: String,
    /// The cursor after all that came; `None` at the end of a shard that takes no more.
    after: Option<String>,
    is_behind: bool,
    has_spoken: bool,
}

/// A message of a subscription.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Pushed<'a> {
    #[serde(borrow, default)]
    records: Vec<StreamRecord<'a>>,
    continuation_sequence_number: Option<String>,
    #[serde(default)]
    millis_behind_latest: i64,
}

fn malformed(error: impl std::fmt::Display) -> SourceError {
    SourceError::Unreachable(error.to_string())
}

/// A cursor: the shard, and the starting position of a subscription as JSON.
fn cursor(shard: &str, position: &Position) -> String {
    let starting = Starting::from(position);
    let mut position = json!({ "Type": starting.kind });
    if let Some(seconds) = starting.seconds {
        position["Timestamp"] = seconds.into();
    }
    if let Some(number) = starting.number {
        position["SequenceNumber"] = number.into();
    }
    format!("{shard} {position}")
}

impl Consumer {
    pub(crate) fn new(
        client: Arc<Client>,
        endpoint: Endpoint,
        source: &SourceArn,
        role: &str,
    ) -> Self {
        Self {
            stream: Stream::new(client, endpoint, source, role),
            arn: source.text.clone(),
            subscriptions: Mutex::default(),
        }
    }

    async fn subscribe(&self, shard: &str, cursor: &str) -> Result<Subscription, SourceError> {
        let position = cursor.split_once(' ').map_or("", |(_, position)| position);
        let position: Value = serde_json::from_str(position).map_err(malformed)?;
        let body = json!({
            "ConsumerARN": self.arn, "ShardId": shard, "StartingPosition": position,
        });
        let request = Request::json_1_1("Kinesis_20131202.SubscribeToShard", &body)?;
        let body = match self.stream.client.stream(&self.stream.endpoint, request).await {
            Ok(body) => body,
            Err(error) => return Err(refused(error)),
        };
        Ok(Subscription {
            body,
            decoder: Decoder::new(PUSHED_MESSAGE_BYTES_MAX),
            waiting: VecDeque::new(),
            at: cursor.to_owned(),
            after: Some(cursor.to_owned()),
            is_behind: false,
            has_spoken: false,
        })
    }

    fn open(&self) -> std::sync::MutexGuard<'_, HashMap<String, Subscription>> {
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(
        &self,
        from: &Cursor,
        most: usize,
        wait: Duration,
    ) -> Result<Polled, SourceError> {
        let (shard, _) = from.token.split_once(' ').unwrap_or_default();
        let until = Instant::now() + wait;
        let open = self.open().remove(shard).filter(|open| open.at == from.token);
        let mut subscription = match open {
            Some(open) => open,
            None => self.subscribe(shard, &from.token).await?,
        };
        // A subscription that is dropped while it waits is asked for anew: what it had is not lost.
        let goes_on = loop {
            if !subscription.waiting.is_empty() || subscription.after.is_none() {
                break true;
            }
            match timeout_at(until, subscription.message()).await {
                Err(_) => break true,
                Ok(Ok(Some(message))) => self.take(&mut subscription, shard, &message)?,
                Ok(Ok(None)) if subscription.has_spoken => break false,
                Ok(Ok(None)) => return Err(malformed("the subscription ended without a word")),
                Ok(Err(error)) => return Err(error),
            }
        };
        let polled = subscription.give(shard, most);
        if goes_on && polled.next.is_some() {
            self.open().insert(shard.to_owned(), subscription);
        }
        Ok(polled)
    }

    /// Takes note of a message.
    fn take(
        &self,
        subscription: &mut Subscription,
        shard: &str,
        message: &Message,
    ) -> Result<(), SourceError> {
        if message.header(":message-type") != Some("event") {
            return Err(problem(message));
        }
        if message.header(":event-type") != Some("SubscribeToShardEvent") {
            return Ok(());
        }
        subscription.has_spoken = true;
        let pushed: Pushed<'_> = serde_json::from_slice(&message.payload).map_err(malformed)?;
        let records = pushed.records.iter().map(|record| self.stream.record(shard, record));
        subscription.waiting.extend(records);
        subscription.is_behind = pushed.millis_behind_latest > 0;
        subscription.after =
            pushed.continuation_sequence_number.map(|at| cursor(shard, &Position::After(at)));
        if subscription.waiting.is_empty()
            && let Some(after) = &subscription.after
        {
            subscription.at.clone_from(after);
        }
        Ok(())
    }
}

impl Subscription {
    /// The next message; `None` when the subscription is over.
    async fn message(&mut self) -> Result<Option<Message>, SourceError> {
        loop {
            if let Some(message) = self.decoder.next_message().map_err(malformed)? {
                return Ok(Some(message));
            }
            match self.body.next().await? {
                Some(bytes) => self.decoder.push(&bytes),
                None => return Ok(None),
            }
        }
    }

    /// At most so many of the records that came, and where to read on.
    fn give(&mut self, shard: &str, most: usize) -> Polled {
        let count = self.waiting.len().min(most.max(1));
        let records: Vec<Record> = self.waiting.drain(..count).collect();
        let next = match (records.last(), self.waiting.is_empty()) {
            (_, true) => self.after.clone(),
            (Some(last), false) => Some(cursor(shard, &Position::After(last.id.clone()))),
            (None, false) => Some(self.at.clone()),
        };
        if let Some(next) = &next {
            self.at.clone_from(next);
        }
        let is_behind = self.is_behind || !self.waiting.is_empty();
        Polled { records, next: next.map(|token| Cursor { token, not_before_ms: None }), is_behind }
    }
}

/// What a message says that is no event.
fn problem(message: &Message) -> SourceError {
    let code = message.header(":exception-type").or_else(|| message.header(":error-code"));
    match code.unwrap_or_default() {
        "ResourceNotFoundException" => SourceError::Missing,
        "ResourceInUseException" | "LimitExceededException" => SourceError::Throttled,
        code => {
            let text = String::from_utf8_lossy(&message.payload);
            malformed(format!("{code}: {}", text.chars().take(200).collect::<String>()))
        }
    }
}

/// Why there is no subscription. Another one of the same consumer may be open for a few seconds still: that of the server
/// before it was killed, for one.
fn refused(error: AwsError) -> SourceError {
    match error.code() {
        Some("ResourceInUseException") => SourceError::Throttled,
        _ => error.into(),
    }
}

impl Source for Consumer {
    fn shards(&self) -> BoxFuture<'_, Result<Vec<Shard>, SourceError>> {
        self.stream.shards()
    }

    fn seek<'a>(
        &'a self,
        shard: &'a str,
        position: &'a Position,
    ) -> BoxFuture<'a, Result<Cursor, SourceError>> {
        let token = cursor(shard, position);
        Box::pin(async move { Ok(Cursor { token, not_before_ms: None }) })
    }

    fn poll<'a>(
        &'a self,
        cursor: &'a Cursor,
        most: usize,
        wait: Duration,
    ) -> BoxFuture<'a, Result<Polled, SourceError>> {
        Box::pin(self.read(cursor, most, wait))
    }

    fn find(&self) -> BoxFuture<'_, Result<(), SourceError>> {
        Box::pin(async {
            self.stream.call("DescribeStreamConsumer", &json!({ "ConsumerARN": self.arn })).await?;
            Ok(())
        })
    }

    fn pushes(&self) -> bool {
        true
    }
}
