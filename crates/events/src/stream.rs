//! The engine of streams: find shards, work on each when its parents are done.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use gatemill_lambda::mapping::StartingPosition;
use tokio::{task::JoinSet, time::Instant};

use crate::{
    SourceError, checkpoint,
    limits::{SERVICE_RETRY_MAX, SHARDS_LOOK},
    run::Run,
    shard::{self, End},
    source::{Cursor, Position, Shard},
};

/// Cursors that were had when the starting position was found.
pub(crate) type Cursors = HashMap<String, Cursor>;

/// Where the shards of a mapping begin that was never run: what is to be stored, and cursors for now. A mapping that
/// begins with the newest records is given cursors that are there already; should they be lost, the time is what counts.
pub(crate) async fn starting(run: &Run) -> Result<(Vec<(String, Position)>, Cursors), SourceError> {
    let (mut positions, mut cursors) = (Vec::new(), Cursors::new());
    let stream = run.mapping.settings.stream.as_ref();
    let Some(starting) = stream.map(|stream| stream.starting) else {
        return Ok((positions, cursors));
    };
    let now_ms = run.shared.now_ms();
    match starting {
        StartingPosition::TrimHorizon => {}
        StartingPosition::AtTimestamp(at) => {
            for shard in run.source.shards().await? {
                positions.push((shard.id, Position::Since(at)));
            }
        }
        StartingPosition::Latest => {
            for shard in run.source.shards().await? {
                if shard.is_closed {
                    positions.push((shard.id, Position::End));
                    continue;
                }
                if !run.source.pushes() {
                    let cursor = run.source.seek(&shard.id, &Position::Latest).await?;
                    cursors.insert(shard.id.clone(), cursor);
                }
                positions.push((shard.id, Position::Since(now_ms)));
            }
        }
    }
    Ok((positions, cursors))
}

/// Works on a stream until the mapping is stopped.
pub(crate) async fn work(run: Arc<Run>, mut cursors: Cursors) {
    let mut backoff = run.backoff(SERVICE_RETRY_MAX);
    let mut working: JoinSet<(String, End)> = JoinSet::new();
    let mut known: HashSet<String> = HashSet::new();
    let mut ended: HashSet<String> = match checkpoint::ended(&run.shared.store, &run.key) {
        Ok(ended) => ended.into_iter().collect(),
        Err(error) => {
            // Claiming finds out.
            tracing::warn!(%error, mapping = run.key.uuid, "checkpoints cannot be read");
            HashSet::new()
        }
    };
    while !run.is_stopped() {
        let permit = run.shared.polls.acquire().await;
        let shards = run.source.shards().await;
        drop(permit);
        let look = match shards {
            Ok(shards) => {
                backoff.reset();
                for shard in startable(&shards, &known, &ended) {
                    known.insert(shard.clone());
                    let (run, cursor) = (Arc::clone(&run), cursors.remove(&shard));
                    working.spawn(async move {
                        let end = shard::work(run, shard.clone(), cursor).await;
                        (shard, end)
                    });
                }
                forget_unlisted(&run, &shards, &mut ended).await;
                SHARDS_LOOK
            }
            Err(error) => {
                run.report_source(&error).await;
                backoff.pause()
            }
        };
        let next = Instant::now() + look;
        // Until there is a reason to look again.
        let done = tokio::select! {
            () = run.stopped() => continue,
            () = tokio::time::sleep_until(next) => continue,
            Some(done) = working.join_next() => done,
        };
        match done {
            Ok((shard, End::Finished)) => drop(ended.insert(shard)),
            // Somebody else's now: after a while it is claimed again.
            Ok((shard, End::Stopped)) => {
                known.remove(&shard);
                run.pause(backoff.pause()).await;
            }
            // It panicked, and which one is not known.
            Err(_) => {
                working.abort_all();
                known.clear();
                run.pause(backoff.pause()).await;
            }
        }
    }
    while working.join_next().await.is_some() {}
}

/// The shards that can be begun: not yet known, and without parents that are not done. A parent that is not listed is
/// gone, and its records with it.
fn startable(shards: &[Shard], known: &HashSet<String>, ended: &HashSet<String>) -> Vec<String> {
    let listed: HashSet<&str> = shards.iter().map(|shard| shard.id.as_str()).collect();
    let waits = |parent: &String| listed.contains(parent.as_str()) && !ended.contains(parent);
    shards
        .iter()
        .filter(|shard| !known.contains(&shard.id) && !ended.contains(&shard.id))
        .filter(|shard| !shard.parents.iter().any(waits))
        .map(|shard| shard.id.clone())
        .collect()
}

/// Removes the checkpoints of shards that are done and that the stream has forgotten.
async fn forget_unlisted(run: &Run, shards: &[Shard], ended: &mut HashSet<String>) {
    let listed: HashSet<&str> = shards.iter().map(|shard| shard.id.as_str()).collect();
    let gone: Vec<String> =
        ended.iter().filter(|shard| !listed.contains(shard.as_str())).cloned().collect();
    for shard in gone {
        if let Err(error) = checkpoint::forget_shard(&run.shared.store, &run.key, &shard).await {
            tracing::warn!(%error, "a checkpoint stays");
            return;
        }
        ended.remove(&shard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_wait_for_their_parents() {
        let shard = |id: &str, parents: &[&str]| Shard {
            id: id.into(),
            parents: parents.iter().map(|&parent| parent.to_owned()).collect(),
            is_closed: false,
        };
        let shards = [shard("b", &["a"]), shard("c", &["b", "x"]), shard("d", &["b"])];
        let set = |ids: &[&str]| ids.iter().map(|&id| id.to_owned()).collect::<HashSet<_>>();
        // `a` is not listed any more.
        assert_eq!(startable(&shards, &set(&[]), &set(&[])), ["b"]);
        assert_eq!(startable(&shards, &set(&["b"]), &set(&[])), [""; 0]);
        assert_eq!(startable(&shards, &set(&["b"]), &set(&["b"])), ["c", "d"]);
        assert_eq!(startable(&shards, &set(&["b", "c"]), &set(&["b"])), ["d"]);
    }
}
