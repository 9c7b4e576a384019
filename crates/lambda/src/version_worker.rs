//! Makes published versions runnable: unpacks their code and, for those with SnapStart, makes what they start from.
//!
//! A version without SnapStart that is published of a settled function is runnable at once and never comes here; one that
//! is published together with an update does, beside the update itself.

use std::{collections::HashSet, sync::Arc};

use gatemill_store::Key;
use tokio::task::JoinSet;

use crate::{
    Error, Lambda, code,
    control::version,
    invoke::resolve::Version,
    limits::{DEPLOYMENT_ATTEMPTS_MAX, VERSIONS_AT_ONCE},
    record::{self, VERSION_WORK, VERSIONS},
    snap_start,
    target::FunctionKey,
    worker::RETRY,
};

/// How many marks are read at one time.
const MARKS_AT_ONCE: usize = 100;

type Place = (FunctionKey, u64);

/// Settles versions, for ever.
pub(crate) async fn run(lambda: Arc<Lambda>) {
    let mut marks = lambda.store.watch(VERSION_WORK.name());
    let mut running = JoinSet::new();
    let mut busy: HashSet<Place> = HashSet::new();
    loop {
        match waiting(&lambda) {
            Ok(places) => {
                for place in places {
                    if running.len() >= VERSIONS_AT_ONCE {
                        break;
                    }
                    if busy.insert(place.clone()) {
                        let lambda = Arc::clone(&lambda);
                        running.spawn(async move {
                            settle(&lambda, &place).await;
                            place
                        });
                    }
                }
            }
            Err(error) => tracing::error!(error = error.chain(), "versions cannot be settled"),
        }
        tokio::select! {
            () = marks.changed() => {}
            Some(done) = running.join_next() => match done {
                Ok(place) => drop(busy.remove(&place)),
                // Which one panicked is not known; all may be tried again.
                Err(_) => busy.clear(),
            },
        }
    }
}

fn waiting(lambda: &Lambda) -> Result<Vec<Place>, Error> {
    let marks = lambda
        .store
        .read(|tx| Ok::<_, Error>(VERSION_WORK.scan(tx, &Key::empty(), None, MARKS_AT_ONCE)?))?;
    Ok(marks.iter().filter_map(|(key, _)| record::version_from_key(key)).collect())
}

async fn settle(lambda: &Arc<Lambda>, (key, number): &Place) {
    let mut pause = RETRY;
    for attempt in 1..=DEPLOYMENT_ATTEMPTS_MAX {
        let prepared = prepare(lambda, key, *number).await;
        let last = match &prepared {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(function = %key, version = number, attempt, error = error.chain(),
                    "a version is not settled");
                // The function's own failure comes again.
                let is_final = code::is_lost(error) || matches!(error, Error::InitFailed(_));
                attempt == DEPLOYMENT_ATTEMPTS_MAX || is_final
            }
        };
        if last {
            let settled = version::settle(lambda, key, *number, prepared.as_ref().copied());
            let Err(error) = settled.await else { return };
            tracing::error!(function = %key, version = number, error = error.chain(),
                "a version stays unsettled");
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

async fn prepare(lambda: &Arc<Lambda>, key: &FunctionKey, number: u64) -> Result<(), Error> {
    let place = record::version_key(key, number);
    let record = lambda.store.read(|tx| Ok::<_, Error>(VERSIONS.get(tx, &place)?))?;
    let Some(record) = record else { return Ok(()) };
    let configuration = &record.configuration;
    code::ensure(lambda, configuration).await?;
    if configuration.snap_start {
        let load = lambda.loads.of(&lambda.store, key)?;
        let version = Version::new(key.clone(), Some(number), configuration, load, &lambda.vault)?;
        snap_start::prepare_snapshot(lambda, &Arc::new(version)).await?;
    }
    Ok(())
}
