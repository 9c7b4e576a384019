//! Removing what nobody can see any more: expired events, and what deleted groups and streams held.
//!
//! Readers do not wait for it: they honour retention and deletion by themselves. It gives the space back, a bounded
//! piece per write, and may be killed between any two.

use std::{collections::HashSet, sync::Arc, time::Duration};

use gatemill_store::{Error, Key, Write};

use crate::{
    Logs,
    limits::{DESCRIBE_FETCH_ENTRIES, SWEEP_CHUNKS_MAX, SWEEP_PERIOD_S},
    records::{
        CHUNKS, GROUPS, SIZES, STREAMS, TIMELINE, TRASH, chunk_key, id_key, number, stream_key,
        time, timeline_key,
    },
};

/// Sweeps when something is deleted or a group changes, and from time to time, until the store is closed.
pub(crate) async fn run(logs: Arc<Logs>) {
    let mut deleted = logs.store.watch(TRASH.name());
    let mut groups = logs.store.watch(GROUPS.name());
    let mut period = tokio::time::interval(Duration::from_secs(SWEEP_PERIOD_S));
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = period.tick() => {}
            () = deleted.changed() => {}
            () = groups.changed() => {}
        }
        match sweep(&logs).await {
            Ok(()) => {}
            Err(Error::Closed) => return,
            Err(error) => tracing::error!(%error, "expired log events could not be removed"),
        }
    }
}

async fn sweep(logs: &Logs) -> Result<(), Error> {
    let mut after = None;
    loop {
        let page = read_page(logs, TRASH, after.as_ref()).await?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        for (key, _) in page {
            remove_deleted(logs, key).await?;
        }
    }
    let mut after = None;
    loop {
        let page = read_page(logs, GROUPS, after.as_ref()).await?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(last.clone());
        for (_, group) in page.iter().filter(|(_, group)| group.retention_days.is_some()) {
            let kept_from_ms = group.kept_from_ms(logs.clock.now().millis());
            remove_expired(logs, group.id, kept_from_ms).await?;
        }
    }
}

async fn read_page<R: gatemill_store::Record>(
    logs: &Logs,
    table: gatemill_store::Table<R>,
    after: Option<&Key>,
) -> Result<Vec<(Key, R)>, Error> {
    logs.store.read(|read| table.scan(read, &Key::empty(), after, DESCRIBE_FETCH_ENTRIES))
}

/// Removes what a deleted group (its id is the key) or stream (its group's id and its own) held.
async fn remove_deleted(logs: &Logs, key: Key) -> Result<(), Error> {
    let group = number(&key, 0)?;
    let stream = key.number(1);
    loop {
        let key = key.clone();
        let more = logs
            .store
            .write(move |tx| {
                let more = match stream {
                    Some(stream) => remove_of_stream(tx, group, stream)?,
                    None => remove_of_group(tx, group)?,
                };
                if !more {
                    TRASH.delete(tx, &key)?;
                }
                Ok::<_, Error>(more)
            })
            .await?;
        if !more {
            return Ok(());
        }
    }
}

/// Removes some; answers whether there may be more.
fn remove_of_stream(tx: &mut Write, group: u64, stream: u64) -> Result<bool, Error> {
    let chunks = CHUNKS.scan(tx, &id_key(stream), None, SWEEP_CHUNKS_MAX)?;
    let mut bytes = 0;
    for (key, chunk) in &chunks {
        bytes += chunk.bytes();
        CHUNKS.delete(tx, key)?;
        let (first_ms, sequence) = (number(key, 1)?.cast_signed(), number(key, 2)?);
        TIMELINE.delete(tx, &timeline_key(group, first_ms, stream, sequence))?;
    }
    shrink(tx, group, bytes)?;
    Ok(chunks.len() == SWEEP_CHUNKS_MAX)
}

/// Removes some; answers whether there may be more.
fn remove_of_group(tx: &mut Write, group: u64) -> Result<bool, Error> {
    let timeline = TIMELINE.scan(tx, &id_key(group), None, SWEEP_CHUNKS_MAX)?;
    for (key, _) in &timeline {
        let (first_ms, stream) = (number(key, 1)?.cast_signed(), number(key, 2)?);
        CHUNKS.delete(tx, &chunk_key(stream, first_ms, number(key, 3)?))?;
        TIMELINE.delete(tx, key)?;
    }
    let streams = STREAMS.scan(tx, &id_key(group), None, SWEEP_CHUNKS_MAX)?;
    for (key, _) in &streams {
        STREAMS.delete(tx, key)?;
    }
    Ok(timeline.len() == SWEEP_CHUNKS_MAX || streams.len() == SWEEP_CHUNKS_MAX)
}

async fn remove_expired(logs: &Logs, group: u64, kept_from_ms: i64) -> Result<(), Error> {
    let mut after = None;
    loop {
        let from = after.take();
        after =
            logs.store.write(move |tx| expire_some(tx, group, kept_from_ms, from.as_ref())).await?;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Removes chunks all of whose events are too old; answers where to go on. A chunk that also holds younger events
/// stays until those are old, too: readers leave the old ones out.
fn expire_some(
    tx: &mut Write,
    group: u64,
    kept_from_ms: i64,
    after: Option<&Key>,
) -> Result<Option<Key>, Error> {
    let timeline = TIMELINE.scan(tx, &id_key(group), after, SWEEP_CHUNKS_MAX)?;
    let mut streams = HashSet::new();
    let mut bytes = 0;
    let mut reached = false;
    for (key, entry) in &timeline {
        reached = number(key, 1)? >= time(kept_from_ms);
        if reached {
            break;
        }
        if entry.last_ms >= kept_from_ms {
            continue;
        }
        let (first_ms, stream) = (number(key, 1)?.cast_signed(), number(key, 2)?);
        let chunk = chunk_key(stream, first_ms, number(key, 3)?);
        bytes += CHUNKS.get(tx, &chunk)?.map_or(0, |chunk| chunk.bytes());
        CHUNKS.delete(tx, &chunk)?;
        TIMELINE.delete(tx, key)?;
        streams.insert((stream, entry.stream.clone()));
    }
    for (id, name) in streams {
        let key = stream_key(group, &name);
        let Some(mut stream) = STREAMS.get(tx, &key)?.filter(|stream| stream.id == id) else {
            continue;
        };
        let first = CHUNKS.scan(tx, &id_key(id), None, 1)?;
        stream.first_ms =
            first.first().map(|(key, _)| number(key, 1)).transpose()?.map(u64::cast_signed);
        STREAMS.put(tx, &key, &stream)?;
    }
    shrink(tx, group, bytes)?;
    let more = !reached && timeline.len() == SWEEP_CHUNKS_MAX;
    Ok(timeline.last().filter(|_| more).map(|(key, _)| key.clone()))
}

/// Counts bytes out of a group that is still there.
fn shrink(tx: &mut Write, group: u64, bytes: usize) -> Result<(), Error> {
    let key = id_key(group);
    let Some(mut size) = SIZES.get(tx, &key)?.filter(|_| bytes > 0) else { return Ok(()) };
    size.bytes = size.bytes.saturating_sub(bytes as u64);
    SIZES.put(tx, &key, &size)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use gatemill_store::Store;
    use gatemill_wire::{Clock, Entropy, Timestamp};

    use super::*;
    use crate::{Event, records::TrashRecord};

    struct Fixed;

    impl Clock for Fixed {
        fn now(&self) -> Timestamp {
            Timestamp(1_795_379_214_123)
        }
    }

    struct Counting(AtomicU64);

    impl Entropy for Counting {
        fn fill(&self, buffer: &mut [u8]) {
            let n = self.0.fetch_add(1, Ordering::Relaxed);
            buffer.copy_from_slice(&n.to_be_bytes()[..buffer.len()]);
        }
    }

    /// Two groups of two streams, with more chunks than one write removes.
    async fn filled() -> Arc<Logs> {
        let entropy = Arc::new(Counting(AtomicU64::new(1)));
        let logs = Logs::new(Store::memory(), Arc::new(Fixed), entropy);
        let writer = logs.workers().remove(0).future;
        tokio::spawn(writer);
        for (group, stream) in [("g", "a"), ("g", "b"), ("h", "a"), ("h", "b")] {
            let minute = |n: i64| Event { timestamp: n * 60_000, message: "x".to_owned() };
            let events = (0..300).map(minute).collect();
            logs.append("000000000000", "r", group, stream, events).await.unwrap();
        }
        logs.flush().await.unwrap();
        logs
    }

    fn counts(logs: &Logs) -> [usize; 4] {
        let all = Key::empty();
        logs.store
            .read(|read| {
                Ok::<_, Error>([
                    STREAMS.count(read, &all)?,
                    CHUNKS.count(read, &all)?,
                    TIMELINE.count(read, &all)?,
                    TRASH.count(read, &all)?,
                ])
            })
            .unwrap()
    }

    async fn delete_group(logs: &Logs, name: &'static str) -> u64 {
        let key = crate::records::group_key("000000000000", "r", name);
        logs.store
            .write(move |tx| {
                let id = GROUPS.get(tx, &key)?.expect("it was made").id;
                GROUPS.delete(tx, &key)?;
                TRASH.put(tx, &id_key(id), &TrashRecord {})?;
                Ok::<_, Error>(id)
            })
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_deleted_group_leaves_nothing_and_its_neighbour_everything() {
        let logs = filled().await;
        assert_eq!(counts(&logs), [4, 1200, 1200, 0]);
        delete_group(&logs, "g").await;
        sweep(&logs).await.unwrap();
        assert_eq!(counts(&logs), [2, 600, 600, 0]);
    }

    #[tokio::test]
    async fn a_deleted_stream_leaves_nothing_and_its_bytes_are_given_back() {
        let logs = filled().await;
        let key = crate::records::group_key("000000000000", "r", "g");
        let group = logs.store.read(|read| GROUPS.get(read, &key)).unwrap().unwrap();
        logs.store
            .write(move |tx| {
                let key = stream_key(group.id, "a");
                let stream = STREAMS.get(tx, &key)?.expect("it was made");
                STREAMS.delete(tx, &key)?;
                TRASH.put(tx, &id_key(group.id).and_u64(stream.id), &TrashRecord {})
            })
            .await
            .unwrap();
        sweep(&logs).await.unwrap();
        assert_eq!(counts(&logs), [3, 900, 900, 0]);
        let size = logs.store.read(|read| SIZES.get(read, &id_key(group.id))).unwrap();
        assert_eq!(size.unwrap().bytes, 300 * 27);
    }

    #[tokio::test]
    async fn expired_chunks_go_and_the_others_stay() {
        let logs = filled().await;
        let key = crate::records::group_key("000000000000", "r", "g");
        let group = logs.store.read(|read| GROUPS.get(read, &key)).unwrap().unwrap();
        remove_expired(&logs, group.id, 280 * 60_000).await.unwrap();
        assert_eq!(counts(&logs), [4, 640, 640, 0]);
        let stream = logs.store.read(|read| STREAMS.get(read, &stream_key(group.id, "b"))).unwrap();
        assert_eq!(stream.unwrap().first_ms, Some(280 * 60_000));
    }
}
