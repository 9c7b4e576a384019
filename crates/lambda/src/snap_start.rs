//! SnapStart: what published versions start from.
//!
//! When a version with SnapStart is published, its function is initialised once, in an environment of its own, and stays
//! as it is then: the snapshot. Every environment of the version is a fork of that process, in a sandbox of its own; some
//! are forked ahead, so that a start costs the hooks after the restore and little else. Snapshots are processes and end
//! with the server: after its next start, the first call of a version initialises as without SnapStart, while a snapshot
//! is made again.
//!
//! Not every process can be forked: one with threads cannot, and those of Java and .NET always have some. Such a version
//! starts from its package, and the server's log says why. How a fork gets into a sandbox of its own, and what is done
//! about random numbers and connections, is in `docs/decisions`.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use gatemill_sandbox::{Sandbox, Spec, runtime::Pack};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    Error, Lambda,
    call_log::CallLog,
    code::{self, Code},
    frame::{Body, Kind, Reader},
    invoke::resolve::{Initialization, Version},
    limits::{
        INIT_ERROR_BYTES_MAX, PARKED_BOOT, RESTORE, SNAPSHOT_FORK_ATTEMPTS, SNAPSHOT_FORKS_AHEAD,
        SNAPSHOT_INIT, SNAPSHOT_KEEP,
    },
    parked::{self, Made},
    report,
    start::{self, InitEnd, Opening},
    uid::UidSlot,
    wires::{Codec, Heard, Outgoing, Wires},
};

/// What a client is started with that is to become a snapshot.
const ARGUMENT: &str = "--snapshot";

/// The snapshots of all versions.
#[derive(Debug, Default)]
pub(crate) struct SnapStarts(Mutex<HashMap<Uuid, Entry>>);

#[derive(Debug)]
enum Entry {
    /// Its function is being initialised.
    Making,
    Taken(Arc<Snapshot>),
    /// Its process cannot be forked.
    Impossible,
}

/// An initialised function.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Forked ahead.
    waiting: Mutex<VecDeque<Sandbox>>,
    filling: AtomicBool,
    /// Whether the last fork that a call waited for took too long.
    is_late: AtomicBool,
    used: Mutex<Instant>,
    /// Opens the endpoints inside, in every environment: it is among the variables of the process.
    pub(crate) token: String,
    // Last, so that the forks above are gone before it.
    sandbox: Arc<Sandbox>,
    /// The package stays unpacked for as long as it is bound.
    _code: Code,
    _uid: UidSlot,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SnapStarts {
    /// Ends the snapshots that nobody used for long and no environment stands on.
    pub(crate) fn expire(&self, now: Instant) {
        lock(&self.0).retain(|_, entry| match entry {
            Entry::Taken(snapshot) => {
                let is_recent = now.duration_since(*lock(&snapshot.used)) < SNAPSHOT_KEEP;
                snapshot.sandbox.is_alive() && (is_recent || Arc::strong_count(snapshot) > 1)
            }
            Entry::Making | Entry::Impossible => true,
        });
    }

    /// Puts another in the place of one that cannot be forked any more; environments that stand on it keep it. Whether it was
    /// there still, so that the caller has to make the other one.
    fn replace(&self, deployment: Uuid, snapshot: &Arc<Snapshot>) -> bool {
        let mut entries = lock(&self.0);
        let is_there = entries.get(&deployment).is_some_and(
            |entry| matches!(entry, Entry::Taken(kept) if Arc::ptr_eq(kept, snapshot)),
        );
        if is_there {
            entries.insert(deployment, Entry::Making);
        }
        is_there
    }

    /// Forgets everything; environments that stand on a snapshot keep it.
    pub(crate) fn clear(&self) {
        lock(&self.0).clear();
    }
}

/// What a version's next environment is forked from. `None` when it has to be initialised; if SnapStart applies, a
/// snapshot is made then for those that follow.
pub(crate) fn source(lambda: &Arc<Lambda>, version: &Arc<Version>) -> Option<Arc<Snapshot>> {
    if version.initialization != Initialization::SnapStart {
        return None;
    }
    let mut entries = lock(&lambda.snap_starts.0);
    match entries.get(&version.deployment) {
        Some(Entry::Making | Entry::Impossible) => return None,
        Some(Entry::Taken(snapshot)) if snapshot.sandbox.is_alive() => {
            *lock(&snapshot.used) = Instant::now();
            let snapshot = Arc::clone(snapshot);
            return Some(snapshot);
        }
        Some(Entry::Taken(_)) | None => {}
    }
    entries.insert(version.deployment, Entry::Making);
    drop(entries);
    make_again(lambda, version);
    None
}

/// Makes a snapshot in a task of its own.
fn make_again(lambda: &Arc<Lambda>, version: &Arc<Version>) {
    let (lambda, version) = (Arc::clone(lambda), Arc::clone(version));
    tokio::spawn(async move {
        if let Err(error) = make(&lambda, &version).await {
            tracing::warn!(function = %version.key, version = version.name(), error = error.chain(),
                "a snapshot cannot be made again");
        }
    });
}

/// Initialises a version and keeps what it starts from. Called again when the worker is started anew before the version
/// was settled, so it bears being repeated.
///
/// # Errors
/// What keeps the version from becoming Active: its initialisation failed.
pub(crate) async fn prepare_snapshot(
    lambda: &Arc<Lambda>,
    version: &Arc<Version>,
) -> Result<(), Error> {
    lock(&lambda.snap_starts.0).insert(version.deployment, Entry::Making);
    make(lambda, version).await
}

async fn make(lambda: &Arc<Lambda>, version: &Arc<Version>) -> Result<(), Error> {
    let made = initialise(lambda, version).await;
    let mut entries = lock(&lambda.snap_starts.0);
    match made {
        Ok(Some((snapshot, spec))) => {
            let snapshot = Arc::new(snapshot);
            entries.insert(version.deployment, Entry::Taken(Arc::clone(&snapshot)));
            drop(entries);
            // Nobody has called yet; the first call finds them, too.
            refill(lambda, version, &snapshot, spec);
            Ok(())
        }
        Ok(None) => {
            entries.insert(version.deployment, Entry::Impossible);
            Ok(())
        }
        Err(error) => {
            // The next start of this version tries again.
            entries.remove(&version.deployment);
            Err(error)
        }
    }
}

/// Runs a function's initialisation up to the point where it can be forked. Gives what its forks are to have with it, and
/// `None` when it cannot be forked.
async fn initialise(
    lambda: &Arc<Lambda>,
    version: &Arc<Version>,
) -> Result<Option<(Snapshot, Spec)>, Error> {
    let code = code::ensure(lambda, &version.configuration).await?;
    let process = start::process(lambda, version, &code)?;
    let pack = &process.pack;
    pack.prepared().await.map_err(Error::Runtime)?;
    let is_image = version.configuration.image.is_some();
    let has_extensions = !process.extensions.is_empty();
    if is_image || has_extensions || !pack.can_be_snapshot() || !lambda.sandboxes.can_fork() {
        initialise_plainly(lambda, version, pack).await?;
        return Ok(None);
    }
    let uid = lambda.uids.take().ok_or(Error::Internal("no uid is free for a snapshot"))?;
    let stream = start::log_stream(lambda, version);
    let token = lambda.entropy.uuid().simple().to_string();
    let of_forks = start::spec(lambda, version, &stream, &process, &code, &token);
    let mut spec = of_forks.clone();
    spec.uid = uid.slot();
    spec.args.push(ARGUMENT.to_owned());
    let mut log = CallLog::new(stream);
    report::init_start(&mut log, lambda.clock.now(), version, pack);
    let begun = Instant::now();
    let sandbox = lambda.sandboxes.start_snapshot(spec).await.map_err(Error::Sandbox)?;
    let sandbox = Arc::new(sandbox);
    let mut wires = Wires::register(&sandbox).map_err(Error::io("watch a snapshot"))?;
    let facts = start::facts(lambda, version, &process, token.clone());
    wires.open(Codec::Frames, facts, Vec::new());
    let mut reader = Reader::new(INIT_ERROR_BYTES_MAX);
    let deadline = begun + limit(version);
    let heard = wires
        .converse(
            Outgoing::default(),
            &mut reader,
            &mut log,
            &lambda.logs,
            &*lambda.clock,
            deadline,
        )
        .await;
    let took = begun.elapsed();
    let end = match &heard {
        Heard::Frame(frame) if matches!(frame.kind, Kind::Snapshot | Kind::NoSnapshot) => {
            InitEnd::Ready
        }
        Heard::Frame(frame) if frame.kind == Kind::InitError => match &frame.body {
            Body::Whole(document) => InitEnd::Error(document.clone()),
            Body::TooLarge => InitEnd::Broken(crate::frame::Garbage::Unexpected),
        },
        Heard::DeadlinePassed => InitEnd::TimedOut,
        Heard::Closed | Heard::NotDelivered => InitEnd::Exited(sandbox.exited().await),
        Heard::Garbage(garbage) => InitEnd::Broken(*garbage),
        Heard::Frame(_) => InitEnd::Broken(crate::frame::Garbage::Unexpected),
        Heard::ExtensionFailed(failure) => InitEnd::ExtensionFailed(failure.clone()),
    };
    let now = lambda.clock.now();
    report::init_report(&mut log, now, version, &end, took, "init");
    log.close(now);
    let events = log.take();
    lambda.logs.push(log.stream(), events).await;
    drop(wires);
    match heard {
        Heard::Frame(frame) if frame.kind == Kind::Snapshot => {
            let snapshot = Snapshot {
                waiting: Mutex::default(),
                filling: AtomicBool::new(false),
                is_late: AtomicBool::new(false),
                used: Mutex::new(Instant::now()),
                token,
                sandbox,
                _code: code,
                _uid: uid,
            };
            Ok(Some((snapshot, of_forks)))
        }
        Heard::Frame(frame) if frame.kind == Kind::NoSnapshot => {
            let reason = match &frame.body {
                Body::Whole(reason) => String::from_utf8_lossy(reason).into_owned(),
                Body::TooLarge => String::new(),
            };
            tracing::warn!(function = %version.key, version = version.name(), reason,
                "SnapStart: the initialised process cannot be forked; environments start from the package");
            Ok(None)
        }
        _ => Err(Error::InitFailed(failed(&end, version))),
    }
}

/// For a runtime whose process cannot be forked: the version is initialised all the same, since one that cannot be must
/// not become Active, and the environment is there for the first call.
async fn initialise_plainly(
    lambda: &Arc<Lambda>,
    version: &Arc<Version>,
    pack: &Pack,
) -> Result<(), Error> {
    tracing::warn!(function = %version.key, version = version.name(), runtime = pack.name,
        "SnapStart: these processes cannot be forked here; environments start from the package");
    let stream = start::log_stream(lambda, version);
    let limit = limit(version);
    let mut started = start::start(lambda, version, &stream, limit, Opening::Init).await?;
    if matches!(started.end, InitEnd::Ready) {
        let log = &mut started.instance.log;
        let events = log.take();
        lambda.logs.push(log.stream(), events).await;
        lambda.pool.give(started.instance);
        return Ok(());
    }
    let why = failed(&started.end, version);
    start::report_failed_init(lambda, started.instance, &started.end, started.took).await;
    Err(Error::InitFailed(why))
}

/// AWS lets such an initialisation take 130 seconds, or the function's timeout where that is more.
fn limit(version: &Version) -> Duration {
    SNAPSHOT_INIT.max(Duration::from_secs(version.configuration.timeout_s.into()))
}

/// What the version's state reason says.
fn failed(end: &InitEnd, version: &Version) -> String {
    let said = match end {
        InitEnd::Error(document) => serde_json::from_slice::<serde_json::Value>(document).ok(),
        _ => None,
    };
    let said = said.and_then(|document| document.get("errorType")?.as_str().map(str::to_owned));
    let kind = said.or_else(|| crate::failure::init_error_type(end));
    let kind = kind.unwrap_or_else(|| "Sandbox.Timedout".to_owned());
    format!(
        "An error occurred while initializing version {} of function {}: {kind}",
        version.name(),
        version.key.name
    )
}

/// An environment of a snapshot, and what has to be said to it first; `None` when the snapshot cannot be forked: then the
/// function has to be initialised again, and another snapshot is made for those that follow.
pub(crate) async fn restored(
    lambda: &Arc<Lambda>,
    version: &Arc<Version>,
    snapshot: &Arc<Snapshot>,
    spec: Spec,
) -> Option<Made> {
    let ahead = {
        let mut waiting = lock(&snapshot.waiting);
        waiting.retain(Sandbox::is_alive);
        waiting.pop_front()
    };
    let sandbox = match ahead {
        Some(sandbox) => sandbox,
        None => fork_in_time(lambda, version, snapshot, spec.clone()).await?,
    };
    refill(lambda, version, snapshot, spec);
    Some(Made {
        sandbox,
        owner: Owner::Snapshot(Arc::clone(snapshot)),
        greeting: parked::assignment(std::iter::empty()),
    })
}

/// A fork, if one can be had in the time that a restore may take. A snapshot's process may have ended without our knowing
/// yet, may be stopped, or be gone with sandboxd: no call has to fail for that.
async fn fork_in_time(
    lambda: &Arc<Lambda>,
    version: &Arc<Version>,
    snapshot: &Arc<Snapshot>,
    spec: Spec,
) -> Option<Sandbox> {
    let forked = tokio::time::timeout(RESTORE, fork(lambda, snapshot, spec)).await;
    let error = match forked {
        Ok(Ok(sandbox)) => {
            snapshot.is_late.store(false, Ordering::Relaxed);
            return Some(sandbox);
        }
        Ok(Err(error)) => error,
        Err(_) => Error::Sandbox(gatemill_sandbox::Error::TimedOut),
    };
    // Once, a fork may be late because the machine is busy; another snapshot would make it busier.
    let is_late = matches!(error, Error::Sandbox(gatemill_sandbox::Error::TimedOut));
    let is_late_once = is_late && !snapshot.is_late.swap(true, Ordering::Relaxed);
    tracing::warn!(function = %version.key, version = version.name(), error = error.chain(),
        "a snapshot cannot be forked; the function is initialised again");
    // Where no sandbox at all can be made now, the snapshot is as good as before.
    let is_full = matches!(error, Error::Sandbox(gatemill_sandbox::Error::Exhausted(_)));
    let may_go_on = is_full || (is_late_once && snapshot.sandbox.is_alive());
    if !may_go_on && lambda.snap_starts.replace(version.deployment, snapshot) {
        make_again(lambda, version);
    }
    None
}

/// Forks; tries again when a fork failed of a snapshot that lives.
async fn fork(lambda: &Lambda, snapshot: &Snapshot, spec: Spec) -> Result<Sandbox, Error> {
    let mut attempt = 1;
    loop {
        match try_fork(lambda, snapshot, spec.clone()).await {
            Err(error) if attempt < SNAPSHOT_FORK_ATTEMPTS && snapshot.sandbox.is_alive() => {
                tracing::warn!(attempt, error = error.chain(), "a fork of a snapshot failed");
                attempt += 1;
            }
            result => return result,
        }
    }
}

/// Forks, and waits until the fork waits.
async fn try_fork(lambda: &Lambda, snapshot: &Snapshot, mut spec: Spec) -> Result<Sandbox, Error> {
    spec.id = lambda.entropy.uuid().simple().to_string();
    let restored = lambda.sandboxes.restore(&snapshot.sandbox, spec).await;
    let sandbox = restored.map_err(Error::Sandbox)?;
    let waits = tokio::time::timeout(PARKED_BOOT, parked::says_that_it_waits(&sandbox)).await;
    waits
        .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
        .map_err(Error::io("restore an environment"))?;
    Ok(sandbox)
}

/// Forks ahead, one at a time, in a task of its own.
fn refill(lambda: &Arc<Lambda>, version: &Arc<Version>, snapshot: &Arc<Snapshot>, spec: Spec) {
    if snapshot.filling.swap(true, Ordering::AcqRel) {
        return;
    }
    let (lambda, version, snapshot) =
        (Arc::clone(lambda), Arc::clone(version), Arc::clone(snapshot));
    tokio::spawn(async move {
        // Not beside the start that it follows.
        tokio::time::sleep(lambda.settings.parking.delay).await;
        while lock(&snapshot.waiting).len() < SNAPSHOT_FORKS_AHEAD {
            match fork(&lambda, &snapshot, spec.clone()).await {
                Ok(sandbox) => lock(&snapshot.waiting).push_back(sandbox),
                Err(error) => {
                    tracing::warn!(function = %version.key, error = error.chain(),
                        "a snapshot cannot be forked ahead");
                    break;
                }
            }
        }
        snapshot.filling.store(false, Ordering::Release);
    });
}

/// What has to stay for as long as an environment lives.
#[derive(Debug)]
#[expect(dead_code, reason = "held, not read: what they are for is their drop")]
pub(crate) enum Owner {
    /// Its uid is its own.
    Uid(UidSlot),
    /// It is a fork, with the uid of what it is a fork of.
    Snapshot(Arc<Snapshot>),
}
