//! The stored form of groups, streams and events, and where each is kept.
//!
//! | table | key | holds |
//! |---|---|---|
//! | `log_groups` | account, region, name | what a group is |
//! | `log_group_sizes` | group id | how many bytes it holds; apart, since every write changes it |
//! | `log_streams` | group id, name | what a stream is |
//! | `log_chunks` | stream id, first time, sequence | events, sorted by time |
//! | `log_timeline` | group id, first time, stream id, sequence | which chunk of which stream lies there |
//! | `log_trash` | group id, or group id and stream id | what was deleted and is still to be swept |
//!
//! Ids are random and never used twice, so a group that is deleted and made again shares nothing with its
//! namesake, and deleting is one small write whatever the group holds. A chunk spans a bounded time, so a reader
//! that looks for a point in time starts that much earlier and misses nothing, although late events make chunks
//! overlap. The events of one chunk share their time of ingestion.

use std::collections::BTreeMap;

use gatemill_store::{Key, Record, Table};
use serde::{Deserialize, Serialize};

pub(crate) const GROUPS: Table<GroupRecord> = Table::new("log_groups");
pub(crate) const SIZES: Table<SizeRecord> = Table::new("log_group_sizes");
pub(crate) const STREAMS: Table<StreamRecord> = Table::new("log_streams");
pub(crate) const CHUNKS: Table<ChunkRecord> = Table::new("log_chunks");
pub(crate) const TIMELINE: Table<TimelineRecord> = Table::new("log_timeline");
pub(crate) const TRASH: Table<TrashRecord> = Table::new("log_trash");

/// A log group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GroupRecord {
    pub(crate) id: u64,
    pub(crate) created_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retention_days: Option<u16>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) tags: BTreeMap<String, String>,
}

impl GroupRecord {
    /// A group without events, tags and retention.
    pub(crate) fn new(id: u64, created_ms: i64) -> Self {
        Self { id, created_ms, retention_days: None, tags: BTreeMap::new() }
    }

    /// The first millisecond whose events are kept.
    pub(crate) fn kept_from_ms(&self, now_ms: i64) -> i64 {
        const DAY_MS: i64 = 24 * 60 * 60 * 1000;
        self.retention_days.map_or(0, |days| now_ms.saturating_sub(i64::from(days) * DAY_MS))
    }
}

/// How many bytes a group holds, counted as in a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SizeRecord {
    pub(crate) bytes: u64,
}

/// A log stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StreamRecord {
    pub(crate) id: u64,
    pub(crate) created_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) first_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ingested_ms: Option<i64>,
    /// The sequence of the next chunk.
    pub(crate) next_chunk: u64,
}

impl StreamRecord {
    /// A stream without events.
    pub(crate) fn new(id: u64, created_ms: i64) -> Self {
        Self { id, created_ms, first_ms: None, last_ms: None, ingested_ms: None, next_chunk: 0 }
    }
}

/// Events of one stream, sorted by time; of one time, in the order of their arrival.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChunkRecord {
    pub(crate) ingested_ms: i64,
    pub(crate) events: Vec<(i64, String)>,
}

impl ChunkRecord {
    /// What its events count.
    pub(crate) fn bytes(&self) -> usize {
        self.events.iter().map(|(_, message)| crate::ingest::counted(message)).sum()
    }
}

/// One chunk in the order of its group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TimelineRecord {
    pub(crate) stream: String,
    pub(crate) last_ms: i64,
}

/// A group or stream that was deleted; its id is the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TrashRecord {}

impl Record for GroupRecord {
    const VERSION: u8 = 1;
}
impl Record for SizeRecord {
    const VERSION: u8 = 1;
}
impl Record for StreamRecord {
    const VERSION: u8 = 1;
}
impl Record for ChunkRecord {
    const VERSION: u8 = 1;
}
impl Record for TimelineRecord {
    const VERSION: u8 = 1;
}
impl Record for TrashRecord {
    const VERSION: u8 = 1;
}

/// The key of a group; without a name, the prefix of an account's groups in a region.
pub(crate) fn group_key(account: &str, region: &str, name: &str) -> Key {
    Key::new([account, region, name])
}

/// The key that starts with one id.
pub(crate) fn id_key(id: u64) -> Key {
    Key::empty().and_u64(id)
}

/// The key of a stream.
pub(crate) fn stream_key(group: u64, name: &str) -> Key {
    id_key(group).and(name)
}

/// The key of a chunk.
pub(crate) fn chunk_key(stream: u64, first_ms: i64, sequence: u64) -> Key {
    id_key(stream).and_u64(time(first_ms)).and_u64(sequence)
}

/// The key of a chunk in the order of its group.
pub(crate) fn timeline_key(group: u64, first_ms: i64, stream: u64, sequence: u64) -> Key {
    id_key(group).and_u64(time(first_ms)).and_u64(stream).and_u64(sequence)
}

/// A time as a part of a key; times before 1970 do not occur.
pub(crate) fn time(ms: i64) -> u64 {
    ms.max(0).cast_unsigned()
}

/// The number in part `index` of a key of ours.
pub(crate) fn number(key: &Key, index: usize) -> Result<u64, gatemill_store::Error> {
    key.number(index).ok_or(gatemill_store::Error::Damaged { what: "the key of a log record" })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of version 1, which must decode for ever.
    #[test]
    fn golden_records_of_version_1() {
        let group = GroupRecord {
            id: 7,
            created_ms: 1_795_379_214_123,
            retention_days: Some(30),
            tags: BTreeMap::from([("team".to_owned(), "a".to_owned())]),
        };
        golden(
            &group,
            "\u{1}{\"id\":7,\"created_ms\":1795379214123,\"retention_days\":30,\"tags\":{\"team\":\"a\"}}",
        );
        let bare = GroupRecord { retention_days: None, tags: BTreeMap::new(), ..group };
        golden(&bare, "\u{1}{\"id\":7,\"created_ms\":1795379214123}");
        golden(&SizeRecord { bytes: 52 }, "\u{1}{\"bytes\":52}");
        let stream = StreamRecord {
            id: 8,
            created_ms: 1,
            first_ms: Some(2),
            last_ms: Some(3),
            ingested_ms: Some(4),
            next_chunk: 5,
        };
        golden(
            &stream,
            "\u{1}{\"id\":8,\"created_ms\":1,\"first_ms\":2,\"last_ms\":3,\"ingested_ms\":4,\"next_chunk\":5}",
        );
        let chunk = ChunkRecord { ingested_ms: 9, events: vec![(2, "é\n".to_owned())] };
        golden(&chunk, "\u{1}{\"ingested_ms\":9,\"events\":[[2,\"é\\n\"]]}");
        golden(
            &TimelineRecord { stream: "s".to_owned(), last_ms: 3 },
            "\u{1}{\"stream\":\"s\",\"last_ms\":3}",
        );
        golden(&TrashRecord {}, "\u{1}{}");
    }

    fn golden<R: Record + PartialEq + std::fmt::Debug>(record: &R, bytes: &str) {
        assert_eq!(String::from_utf8_lossy(&gatemill_store::encode(record).unwrap()), bytes);
        assert_eq!(&gatemill_store::decode::<R>(bytes.as_bytes()).unwrap(), record);
    }

    #[test]
    fn golden_keys() {
        assert_eq!(group_key("000000000000", "r", "g").to_string(), "000000000000/r/g");
        assert_eq!(stream_key(7, "s").to_string(), "7/s");
        assert_eq!(chunk_key(8, 5, 1).to_string(), "8/5/1");
        assert_eq!(timeline_key(7, 5, 8, 1).to_string(), "7/5/8/1");
        assert!(chunk_key(8, 5, 9) < chunk_key(8, 6, 0));
    }

    #[test]
    fn retention_counts_days_back() {
        let mut group =
            GroupRecord { id: 1, created_ms: 0, retention_days: Some(1), tags: BTreeMap::new() };
        assert_eq!(group.kept_from_ms(86_400_005), 5);
        group.retention_days = None;
        assert_eq!(group.kept_from_ms(86_400_005), 0);
    }
}
