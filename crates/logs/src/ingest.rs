//! Writing events: cut into chunks, one record each, in the transaction of whoever writes.
//!
//! A write only adds records and reads no event back, so its cost does not depend on what a stream holds, and late
//! events are as cheap as others.

use gatemill_store::{Error, Write};

use crate::{
    limits::{CHUNK_BYTES_MAX, CHUNK_EVENTS_MAX, CHUNK_SPAN_MS_MAX, EVENT_OVERHEAD_BYTES},
    position::TIME_MS_MAX,
    records::{
        CHUNKS, ChunkRecord, SIZES, STREAMS, StreamRecord, TIMELINE, TimelineRecord, chunk_key,
        id_key, stream_key, timeline_key,
    },
};

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When it happened, in milliseconds since 1970.
    pub timestamp: i64,
    /// Its text.
    pub message: String,
}

/// What a message counts against the limits of a batch, and in stored bytes.
pub(crate) fn counted(message: &str) -> usize {
    message.len() + EVENT_OVERHEAD_BYTES
}

/// Adds events to a stream that exists, whatever their order. `stream` is its record, and is put back changed.
pub(crate) fn write<'e>(
    tx: &mut Write,
    group: u64,
    name: &str,
    mut stream: StreamRecord,
    events: impl IntoIterator<Item = &'e Event>,
    now_ms: i64,
) -> Result<StreamRecord, Error> {
    let mut bytes = 0;
    for events in chunks(events) {
        let (first_ms, last_ms) = (events[0].0, events[events.len() - 1].0);
        let sequence = stream.next_chunk;
        stream.next_chunk += 1;
        stream.first_ms = Some(stream.first_ms.map_or(first_ms, |ms| ms.min(first_ms)));
        stream.last_ms = Some(stream.last_ms.map_or(last_ms, |ms| ms.max(last_ms)));
        stream.ingested_ms = Some(now_ms);
        let chunk = ChunkRecord { ingested_ms: now_ms, events };
        bytes += chunk.bytes();
        CHUNKS.put(tx, &chunk_key(stream.id, first_ms, sequence), &chunk)?;
        let entry = TimelineRecord { stream: name.to_owned(), last_ms };
        TIMELINE.put(tx, &timeline_key(group, first_ms, stream.id, sequence), &entry)?;
    }
    STREAMS.put(tx, &stream_key(group, name), &stream)?;
    let mut size = SIZES.get(tx, &id_key(group))?.unwrap_or_default();
    size.bytes += bytes as u64;
    SIZES.put(tx, &id_key(group), &size)?;
    Ok(stream)
}

/// Sorts events by time and cuts them where a chunk would hold too much or span too long.
fn chunks<'e>(events: impl IntoIterator<Item = &'e Event>) -> Vec<Vec<(i64, String)>> {
    let mut sorted: Vec<(i64, &str)> = events
        .into_iter()
        .map(|event| (event.timestamp.clamp(0, TIME_MS_MAX), event.message.as_str()))
        .collect();
    sorted.sort_by_key(|(ms, _)| *ms);
    let mut chunks: Vec<Vec<(i64, String)>> = Vec::new();
    let mut bytes = 0;
    for (ms, message) in sorted {
        let fits = chunks.last().is_some_and(|chunk| {
            ms - chunk[0].0 <= CHUNK_SPAN_MS_MAX
                && chunk.len() < CHUNK_EVENTS_MAX
                && bytes + message.len() <= CHUNK_BYTES_MAX
        });
        if !fits {
            chunks.push(Vec::new());
            bytes = 0;
        }
        bytes += message.len();
        if let Some(chunk) = chunks.last_mut() {
            chunk.push((ms, message.to_owned()));
        }
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(timestamp: i64, message: &str) -> Event {
        Event { timestamp, message: message.to_owned() }
    }

    #[test]
    fn chunks_are_sorted_and_bounded_in_span_size_and_count() {
        let cut = chunks(&[event(5, "b"), event(1, "a"), event(5, "c"), event(10_002, "d")]);
        assert_eq!(
            cut,
            [
                vec![(1, "a".to_owned()), (5, "b".to_owned()), (5, "c".to_owned())],
                vec![(10_002, "d".to_owned())]
            ]
        );
        let large = "x".repeat(CHUNK_BYTES_MAX - 1);
        assert_eq!(chunks(&[event(1, &large), event(1, "y"), event(1, "z")]).len(), 2);
        let many: Vec<_> = (0..CHUNK_EVENTS_MAX + 1).map(|_| event(1, "")).collect();
        assert_eq!(chunks(&many).len(), 2);
        assert_eq!(chunks(&[event(i64::MIN, "old")])[0][0].0, 0);
        assert!(chunks([]).is_empty());
    }
}
