//! What an event source is to the engines: shards, cursors, records.
//!
//! A queue is a source with one shard and no positions; what was taken from it has to be given back or removed. A
//! stream keeps its records whatever is read, and the position in each of its shards is ours to keep.

use std::time::Duration;

use gatemill_wire::routes::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::SourceError;

/// A queue or a stream.
pub trait Source: Send + Sync {
    /// Its shards, those that take no more records among them. A queue has one.
    fn shards(&self) -> BoxFuture<'_, Result<Vec<Shard>, SourceError>>;

    /// Asks whether it is there.
    fn find(&self) -> BoxFuture<'_, Result<(), SourceError>> {
        Box::pin(async { self.shards().await.map(drop) })
    }

    /// A cursor at a position.
    fn seek<'a>(
        &'a self,
        shard: &'a str,
        position: &'a Position,
    ) -> BoxFuture<'a, Result<Cursor, SourceError>>;

    /// At most `most` records at a cursor; waits for some at most so long, where the source can.
    fn poll<'a>(
        &'a self,
        cursor: &'a Cursor,
        most: usize,
        wait: Duration,
    ) -> BoxFuture<'a, Result<Polled, SourceError>>;

    /// Whether records come without being asked for: polls then wait for them, and cost the source nothing. A cursor at the
    /// newest records is no place there that stays.
    fn pushes(&self) -> bool {
        false
    }

    /// Says what becomes of records that were taken from a queue; streams have nothing to do.
    fn settle<'a>(
        &'a self,
        _receipts: &'a [String],
        _how: Settle,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async { Ok(()) })
    }

    /// How long a record that was taken from a queue is hidden from others; streams hide nothing.
    fn hidden_for(&self) -> BoxFuture<'_, Result<Duration, SourceError>> {
        Box::pin(async { Ok(Duration::ZERO) })
    }
}

/// What becomes of a record of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settle {
    /// It was processed: the queue removes it.
    Remove,
    /// It was not touched: others may take it now.
    Release,
}

/// A shard of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shard {
    /// Its id.
    pub id: String,
    /// The shards that it follows, whose records come first.
    pub parents: Vec<String>,
    /// Whether it takes no more records.
    pub is_closed: bool,
}

/// A place in a shard, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Position {
    /// Before the oldest record that there is.
    TrimHorizon,
    /// After the newest record that there is.
    Latest,
    /// Before the first record of this time, in milliseconds, or later.
    Since(i64),
    /// After the record of this sequence number.
    After(String),
    /// After the last record of a shard that takes no more.
    End,
}

/// Where the source reads on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    /// In the source's words.
    pub token: String,
    /// Records from before, in milliseconds, are passed over: of sources that cannot find a time themselves.
    pub not_before_ms: Option<i64>,
}

/// What a poll gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Polled {
    /// In the shard's order.
    pub records: Vec<Record>,
    /// Where to read on; `None` after the last record of a shard that takes no more.
    pub next: Option<Cursor>,
    /// Whether there are more records now.
    pub is_behind: bool,
}

/// One record or message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// The sequence number of a stream's record, the id of a message: what functions name when they report it.
    pub id: String,
    /// What a queue takes it back by.
    pub receipt: String,
    /// Records of one key are processed in their order.
    pub key: String,
    /// When it came into the stream.
    pub arrived_ms: i64,
    /// As the function gets it: a JSON object.
    pub json: String,
    /// What filters look into: a message's body, a stream's data. `None` where it is no text.
    pub content: Option<String>,
}

/// Whether a sequence number comes after another one: they are decimal numbers of any length.
pub(crate) fn is_after(one: &str, other: &str) -> bool {
    let (one, other) = (one.trim_start_matches('0'), other.trim_start_matches('0'));
    (one.len(), one) > (other.len(), other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_are_numbers() {
        assert!(is_after("10", "9"));
        assert!(is_after("000000000010", "9"));
        assert!(!is_after("9", "9"));
        assert!(!is_after("9", "00010"));
        assert!(is_after("49590338271490256608559692540925702759324208523137515618", "1"));
    }
}
