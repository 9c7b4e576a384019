//! The worker: takes mappings from their records, runs those that are enabled, and settles what changes.
//!
//! Records are the truth. A change stops what runs of the mapping, does what its new state asks for, settles the state,
//! and runs it again as it is now. What ends although nobody asked it to is run again.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError},
};

use gatemill_lambda::mapping::{self, MAPPING_WORK, MAPPINGS, Mapping, MappingKey, State};
use gatemill_store::Key;
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
};

use crate::{
    checkpoint,
    limits::{MARKS_AT_ONCE, RETRY_FIRST, SETTLE_RETRY, SETTLED_AT_ONCE, STOP_WAIT},
    queue,
    run::{Run, Shared},
    stream::{self, Cursors},
};

/// A mapping that runs, for whoever has to stop it.
struct Running {
    stop: watch::Sender<bool>,
    /// Ends when it has ended.
    ended: watch::Receiver<()>,
    abort: AbortHandle,
}

/// What came of settling a mapping.
enum Settled {
    /// It is to be run like this.
    Runs(Box<Mapping>, Cursors),
    /// It is not to be run.
    Rests,
    /// It has changed meanwhile, or something failed: the mark is still there.
    Again,
}

/// Runs mappings, for ever.
pub(crate) async fn work(shared: Arc<Shared>) {
    let mut resets = shared.resets.subscribe();
    loop {
        let mut worker = Worker {
            running: HashMap::new(),
            runs: JoinSet::new(),
            settling: JoinSet::new(),
            busy: HashSet::new(),
            retries: JoinSet::new(),
            shared: Arc::clone(&shared),
        };
        let working = async {
            worker.start_all().await;
            worker.work().await;
        };
        // What runs ends with its worker.
        tokio::select! {
            () = working => {}
            _ = resets.changed() => {}
        }
    }
}

struct Worker {
    shared: Arc<Shared>,
    running: HashMap<MappingKey, Running>,
    runs: JoinSet<(MappingKey, u64)>,
    settling: JoinSet<(MappingKey, Settled)>,
    busy: HashSet<MappingKey>,
    /// Mappings that wait to be tried again.
    retries: JoinSet<MappingKey>,
}

impl Worker {
    /// Runs what is enabled; marks are looked at afterwards.
    async fn start_all(&mut self) {
        // What a worker before this one had on its way to the store is there then: a mapping that it settled meanwhile would
        // else be seen neither as enabled here nor as marked afterwards.
        if let Err(error) = self.shared.store.flush().await {
            tracing::error!(%error, "the store cannot be waited for");
        }
        let mut after: Option<Key> = None;
        loop {
            let page = self.shared.store.read(|tx| mapping::all(tx, after.as_ref(), MARKS_AT_ONCE));
            let page = match page {
                Ok(page) => page,
                Err(error) => {
                    tracing::error!(%error, "event source mappings cannot be read");
                    tokio::time::sleep(RETRY_FIRST).await;
                    continue;
                }
            };
            let Some((last, _)) = page.last() else { return };
            after = Some(last.clone());
            for (place, mapping) in page {
                let Some(key) = MappingKey::from_record(&place) else { continue };
                if mapping.state == State::Enabled {
                    self.run(key, &mapping, Cursors::new());
                }
            }
        }
    }

    async fn work(&mut self) {
        let mut marks = self.shared.store.watch(MAPPING_WORK.name());
        loop {
            self.start_settling();
            tokio::select! {
                () = marks.changed() => {}
                Some(settled) = self.settling.join_next() => self.settled(settled),
                Some(ended) = self.runs.join_next() => self.ended(ended),
                Some(retry) = self.retries.join_next() => {
                    if let Ok(key) = retry {
                        self.busy.remove(&key);
                        self.run_again(&key);
                    }
                }
            }
        }
    }

    fn start_settling(&mut self) {
        let mut after: Option<Key> = None;
        while self.settling.len() < SETTLED_AT_ONCE {
            let page = self
                .shared
                .store
                .read(|tx| MAPPING_WORK.scan(tx, &Key::empty(), after.as_ref(), MARKS_AT_ONCE));
            let page = match page {
                Ok(page) => page,
                Err(error) => return tracing::error!(%error, "marks of mappings cannot be read"),
            };
            let Some((last, _)) = page.last() else { return };
            after = Some(last.clone());
            let keys = page.iter().filter_map(|(place, _)| MappingKey::from_record(place));
            for key in keys {
                if self.settling.len() == SETTLED_AT_ONCE || !self.busy.insert(key.clone()) {
                    continue;
                }
                let (shared, running) = (Arc::clone(&self.shared), self.running.remove(&key));
                self.settling.spawn(async move {
                    stop(running).await;
                    let settled = settle(&shared, &key).await;
                    (key, settled)
                });
            }
        }
    }

    fn settled(&mut self, settled: Result<(MappingKey, Settled), tokio::task::JoinError>) {
        let (key, settled) = match settled {
            Ok(settled) => settled,
            Err(error) => {
                tracing::error!(%error, "a mapping is not settled");
                // Which one is not known; all may be tried again.
                return self.busy.clear();
            }
        };
        match settled {
            Settled::Runs(mapping, cursors) => {
                self.busy.remove(&key);
                self.run(key, &mapping, cursors);
            }
            Settled::Rests => {
                self.busy.remove(&key);
            }
            Settled::Again => self.retry(key),
        }
    }

    fn retry(&mut self, key: MappingKey) {
        self.busy.insert(key.clone());
        self.retries.spawn(async move {
            tokio::time::sleep(SETTLE_RETRY).await;
            key
        });
    }

    /// Runs a mapping whose engine ended, unless a mark says that something else is to be done.
    fn run_again(&mut self, key: &MappingKey) {
        let place = key.record();
        let known = self.shared.store.read(|tx| {
            let marked = MAPPING_WORK.contains(tx, &place)?;
            Ok::<_, gatemill_store::Error>(MAPPINGS.get(tx, &place)?.filter(|_| !marked))
        });
        match known {
            Ok(Some(mapping)) if mapping.state == State::Enabled => {
                self.run(key.clone(), &mapping, Cursors::new());
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "a mapping cannot be read"),
        }
    }

    fn run(&mut self, key: MappingKey, mapping: &Mapping, cursors: Cursors) {
        let (stop, stopped) = watch::channel(false);
        let (ending, ended) = watch::channel(());
        let run = match Run::new(&self.shared, &key, mapping, stopped) {
            Ok(run) => Arc::new(run),
            Err(error) => {
                tracing::error!(mapping = key.uuid, %error, "a mapping cannot be run");
                return self.retry(key);
            }
        };
        let (is_stream, name) = (run.arn.is_stream(), (key.clone(), mapping.revision));
        let abort = self.runs.spawn(async move {
            if is_stream {
                stream::work(run, cursors).await;
            } else {
                queue::work(run).await;
            }
            drop(ending);
            name
        });
        self.running.insert(key, Running { stop, ended, abort });
    }

    /// An engine ended: it was stopped, or it panicked.
    fn ended(&mut self, ended: Result<(MappingKey, u64), tokio::task::JoinError>) {
        if let Err(error) = ended
            && error.is_panic()
        {
            tracing::error!(%error, "an engine of a mapping failed");
        }
        let dead: Vec<MappingKey> = self
            .running
            .iter()
            .filter(|(_, running)| running.abort.is_finished())
            .map(|(key, _)| key.clone())
            .collect();
        for key in dead {
            self.running.remove(&key);
            if !self.busy.contains(&key) {
                self.retry(key);
            }
        }
    }
}

/// Stops a mapping, and waits until the calls that it has under way have ended.
async fn stop(running: Option<Running>) {
    let Some(mut running) = running else { return };
    running.stop.send_replace(true);
    let ended = async { while running.ended.changed().await.is_ok() {} };
    if tokio::time::timeout(STOP_WAIT, ended).await.is_err() {
        running.abort.abort();
    }
}

/// Does what the state of a mapping asks for, and settles it.
async fn settle(shared: &Arc<Shared>, key: &MappingKey) -> Settled {
    try_settle(shared, key).await.unwrap_or_else(|problem| {
        tracing::warn!(mapping = key.uuid, problem, "a mapping is not settled yet");
        Settled::Again
    })
}

async fn try_settle(shared: &Arc<Shared>, key: &MappingKey) -> Result<Settled, String> {
    let store = &shared.store;
    let failed = |error: gatemill_store::Error| error.to_string();
    let place = key.record();
    let seen = store.read(|tx| MAPPINGS.get(tx, &place)).map_err(failed)?;
    let (at, after) = (key.clone(), seen.as_ref().and_then(|mapping| mapping.state.after()));
    let Some(seen) = seen else {
        let unmarked = store.write(move |tx| {
            checkpoint::forget(tx, &at)?;
            MAPPING_WORK.delete(tx, &at.record()).map(drop)
        });
        unmarked.await.map_err(failed)?;
        return Ok(Settled::Rests);
    };
    let mut begins = None;
    let mut cursors = Cursors::new();
    let is_stream = seen.settings.stream.is_some();
    // Where reading begins is decided when the mapping is made, also of one that is not enabled at once.
    if after.is_some() && is_stream && !checkpoint::has_begun(store, key).map_err(failed)? {
        let (_keep, stopped) = watch::channel(false);
        let run = Run::new(shared, key, &seen, stopped).map_err(|error| error.to_string())?;
        let starting = stream::starting(&run).await;
        if let Err(error) = &starting {
            run.report_source(error).await;
        }
        let (positions, had) = starting.map_err(|error| error.to_string())?;
        (begins, cursors) = (Some(positions), had);
    }
    let record = seen.clone();
    let is_settled = store
        .write(move |tx| {
            let is_settled = mapping::settle(tx, &at, &record)?;
            if is_settled && after.is_none() {
                checkpoint::forget(tx, &at)?;
            } else if let Some(positions) = begins.as_ref().filter(|_| is_settled) {
                checkpoint::begin(tx, &at, positions)?;
            }
            Ok::<_, gatemill_store::Error>(is_settled)
        })
        .await
        .map_err(failed)?;
    if !is_settled {
        return Ok(Settled::Again);
    }
    if after.is_none() || !seen.settings.counts_events {
        shared.counts.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
    Ok(match after {
        Some(State::Enabled) => {
            Settled::Runs(Box::new(Mapping { state: State::Enabled, ..seen }), cursors)
        }
        Some(_) | None => Settled::Rests,
    })
}
