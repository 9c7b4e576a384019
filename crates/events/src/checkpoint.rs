//! How far each shard of a mapping was processed, and who may say so.
//!
//! A checkpoint is the position after the last record before which all were settled. Whoever works on a shard claims it
//! first, which raises its epoch; what is written with an older epoch is refused, so that a late worker cannot take a
//! shard back to where it was. A record is therefore delivered at least once, and in its order.

use gatemill_lambda::mapping::MappingKey;
use gatemill_store::{Error, Key, Record, Store, Table, Write};
use serde::{Deserialize, Serialize};

use crate::source::Position;

/// Checkpoints by account, region, UUID and shard.
const CHECKPOINTS: Table<Checkpoint> = Table::new("events-checkpoints");
/// Mappings whose starting position was found, by account, region and UUID.
const BEGUN: Table<Begun> = Table::new("events-begun");

/// Where a shard stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// Of the worker that has claimed it last.
    pub(crate) epoch: u64,
    /// Every record before it is settled.
    pub(crate) position: Position,
    /// Of shards with several lanes, the last settled record of each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) lanes: Vec<Option<String>>,
    /// The tumbling window that is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) window: Option<Window>,
}

impl Record for Checkpoint {
    const VERSION: u8 = 1;
}

/// A tumbling window that is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Window {
    /// When it begins, in milliseconds.
    pub(crate) start_ms: i64,
    /// What the function answered last: JSON.
    pub(crate) state: String,
    /// Whether it has to end before its time.
    #[serde(default, skip_serializing_if = "is_not")]
    pub(crate) ends_early: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_not(flag: &bool) -> bool {
    !flag
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Begun {}

impl Record for Begun {
    const VERSION: u8 = 1;
}

fn place(key: &MappingKey, shard: &str) -> Key {
    key.record().and(shard)
}

/// Whether the starting position of a mapping was found.
pub(crate) fn has_begun(store: &Store, key: &MappingKey) -> Result<bool, Error> {
    store.read(|tx| BEGUN.contains(tx, &key.record()))
}

/// Sets where shards begin, once for a mapping. Shards that are not named begin with their oldest record.
pub(crate) fn begin(
    tx: &mut Write,
    key: &MappingKey,
    shards: &[(String, Position)],
) -> Result<(), Error> {
    if BEGUN.contains(tx, &key.record())? {
        return Ok(());
    }
    for (shard, position) in shards {
        let fresh =
            Checkpoint { epoch: 0, position: position.clone(), lanes: Vec::new(), window: None };
        CHECKPOINTS.put(tx, &place(key, shard), &fresh)?;
    }
    BEGUN.put(tx, &key.record(), &Begun {})
}

/// Takes a shard: from now on only the caller's epoch counts.
pub(crate) async fn claim(
    store: &Store,
    key: &MappingKey,
    shard: &str,
) -> Result<Checkpoint, Error> {
    let place = place(key, shard);
    store
        .write(move |tx| {
            let known = CHECKPOINTS.get(tx, &place)?;
            let mut checkpoint = known.unwrap_or(Checkpoint {
                epoch: 0,
                position: Position::TrimHorizon,
                lanes: Vec::new(),
                window: None,
            });
            checkpoint.epoch += 1;
            CHECKPOINTS.put(tx, &place, &checkpoint)?;
            Ok(checkpoint)
        })
        .await
}

/// Writes how far a shard was processed. `false` when another worker has claimed it, or its mapping is gone.
pub(crate) async fn advance(
    store: &Store,
    key: &MappingKey,
    shard: &str,
    checkpoint: &Checkpoint,
) -> Result<bool, Error> {
    let (place, checkpoint) = (place(key, shard), checkpoint.clone());
    store
        .write(move |tx| {
            let known = CHECKPOINTS.get(tx, &place)?;
            if known.is_none_or(|known| known.epoch != checkpoint.epoch) {
                return Ok(false);
            }
            CHECKPOINTS.put(tx, &place, &checkpoint)?;
            Ok(true)
        })
        .await
}

/// The shards of a mapping that were processed to their end.
pub(crate) fn ended(store: &Store, key: &MappingKey) -> Result<Vec<String>, Error> {
    let all = store.read(|tx| CHECKPOINTS.scan(tx, &key.record(), None, usize::MAX))?;
    let ended = all.into_iter().filter(|(_, checkpoint)| checkpoint.position == Position::End);
    Ok(ended.filter_map(|(place, _)| Some(place.text(3)?.into_owned())).collect())
}

/// Removes the checkpoint of a shard that the stream does not list any more.
pub(crate) async fn forget_shard(
    store: &Store,
    key: &MappingKey,
    shard: &str,
) -> Result<(), Error> {
    let place = place(key, shard);
    store.write(move |tx| CHECKPOINTS.delete(tx, &place).map(drop)).await
}

/// Removes all that was kept of a mapping.
pub(crate) fn forget(tx: &mut Write, key: &MappingKey) -> Result<(), Error> {
    for (place, _) in CHECKPOINTS.scan(tx, &key.record(), None, usize::MAX)? {
        CHECKPOINTS.delete(tx, &place)?;
    }
    BEGUN.delete(tx, &key.record()).map(drop)
}

#[cfg(test)]
mod tests {
    use gatemill_store::{decode, encode};

    use super::*;

    #[test]
    fn golden_bytes() {
        let full = Checkpoint {
            epoch: 2,
            position: Position::After("7".into()),
            lanes: vec![None, Some("9".into())],
            window: Some(Window { start_ms: 5, state: "{}".into(), ends_early: true }),
        };
        let plain =
            Checkpoint { epoch: 1, position: Position::End, lanes: Vec::new(), window: None };
        for (checkpoint, json) in [
            (
                full,
                r#"{"epoch":2,"position":{"After":"7"},"lanes":[null,"9"],"window":{"start_ms":5,"state":"{}","ends_early":true}}"#,
            ),
            (plain, r#"{"epoch":1,"position":"End"}"#),
        ] {
            let bytes = [&[1], json.as_bytes()].concat();
            assert_eq!(encode(&checkpoint).unwrap(), bytes);
            assert_eq!(decode::<Checkpoint>(&bytes).unwrap(), checkpoint);
        }
    }

    #[tokio::test]
    async fn a_late_worker_writes_nothing() {
        let store = Store::memory();
        let key = MappingKey { account: "a".into(), region: "r".into(), uuid: "u".into() };
        let at = key.clone();
        let first = [("s".to_owned(), Position::Since(5))];
        store.write(move |tx| begin(tx, &at, &first)).await.unwrap();
        assert!(has_begun(&store, &key).unwrap());
        let mut late = claim(&store, &key, "s").await.unwrap();
        assert_eq!(late.position, Position::Since(5));
        let mut current = claim(&store, &key, "s").await.unwrap();
        late.position = Position::After("1".into());
        assert!(!advance(&store, &key, "s", &late).await.unwrap());
        current.position = Position::End;
        assert!(advance(&store, &key, "s", &current).await.unwrap());
        assert_eq!(ended(&store, &key).unwrap(), ["s"]);
        let at = key.clone();
        store.write(move |tx| forget(tx, &at)).await.unwrap();
        assert!(!advance(&store, &key, "s", &current).await.unwrap());
        assert!(!has_begun(&store, &key).unwrap());
    }
}
