//! Provisioned concurrency: environments of a version that are initialised before any call wants them.
//!
//! A [`Group`] is what one version has of them. A worker keeps as many alive as the configuration asks for: it makes what is
//! missing, replaces what dies, and ends what is too much. A call occupies one of them where one is free, and spills over
//! to the environments of everybody where none is. They wait in the same pool as all idle environments, under a
//! deployment of their own, and neither idleness nor memory ends them.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use gatemill_store::Reader;
use gatemill_wire::Qualifier;
use tokio::sync::Notify;

use crate::{
    Error,
    invoke::resolve::{Initialization, Version},
    record::{self, ALIASES, PROVISIONED, ProvisionedRecord, alias_key},
    target::FunctionKey,
};

type Place = (FunctionKey, u64);

/// The groups of all versions.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    all: Mutex<HashMap<Place, Arc<Group>>>,
    /// Told when an environment died or the number that is wanted may have changed.
    changed: Arc<Notify>,
}

/// The provisioned environments of one version.
#[derive(Debug)]
pub(crate) struct Group {
    /// As the version, but with a deployment of its own.
    version: Arc<Version>,
    target: AtomicU32,
    starting: AtomicU32,
    /// Initialised and alive.
    ready: AtomicU32,
    occupied: AtomicU32,
    /// Whether the last initialisation failed.
    failed: AtomicBool,
    changed: Arc<Notify>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Groups {
    /// The group of a version, which wants that many.
    pub(crate) fn of(&self, version: &Version, number: u64, target: u32) -> Arc<Group> {
        let mut all = lock(&self.all);
        let place = (version.key.clone(), number);
        let group =
            all.entry(place).or_insert_with(|| Arc::new(Group::new(version, &self.changed)));
        if group.target.swap(target, Ordering::Relaxed) != target {
            self.changed.notify_one();
        }
        Arc::clone(group)
    }

    /// The group of a version, if the worker or a call has met it.
    pub(crate) fn get(&self, key: &FunctionKey, number: u64) -> Option<Arc<Group>> {
        lock(&self.all).get(&(key.clone(), number)).cloned()
    }

    /// Forgets the groups that nobody wants, and gives them: nothing more is made for them.
    pub(crate) fn retain(&self, wanted: impl Fn(&FunctionKey, u64) -> bool) -> Vec<Arc<Group>> {
        let mut all = lock(&self.all);
        let (keep, gone): (HashMap<_, _>, HashMap<_, _>) =
            all.drain().partition(|((key, number), _)| wanted(key, *number));
        *all = keep;
        let gone: Vec<_> = gone.into_values().collect();
        for group in &gone {
            group.target.store(0, Ordering::Relaxed);
        }
        gone
    }

    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// How many environments of all groups are ready.
    pub(crate) fn ready(&self) -> usize {
        let ready = |group: &Arc<Group>| usize::try_from(group.ready()).unwrap_or(usize::MAX);
        lock(&self.all).values().map(ready).sum()
    }
}

/// How many environments of which version a configuration asks for: those of an alias are of its versions.
pub(crate) fn shares(
    tx: &impl Reader,
    key: &FunctionKey,
    qualifier: &Qualifier,
    record: ProvisionedRecord,
) -> Result<Vec<(u64, u32)>, Error> {
    Ok(match qualifier {
        Qualifier::Latest => Vec::new(),
        Qualifier::Version(number) => vec![(*number, record.executions)],
        Qualifier::Alias(name) => match ALIASES.get(tx, &alias_key(key, name))? {
            Some(alias) => alias.shares(record.executions).collect(),
            None => Vec::new(),
        },
    })
}

/// How many environments of one version are wanted; `None` where nothing is configured for it.
pub(crate) fn wanted_of(
    tx: &impl Reader,
    key: &FunctionKey,
    number: u64,
) -> Result<Option<u32>, Error> {
    let mut wanted = None;
    for (place, record) in PROVISIONED.scan(tx, &key.record(), None, usize::MAX)? {
        let Some((_, qualifier)) = record::provisioned_from_key(&place) else { continue };
        for (version, share) in shares(tx, key, &qualifier, record)? {
            if version == number {
                wanted = Some(wanted.unwrap_or(0) + share);
            }
        }
    }
    Ok(wanted)
}

impl Group {
    fn new(version: &Version, changed: &Arc<Notify>) -> Self {
        Self {
            version: Arc::new(version.initialised_by(Initialization::Provisioned)),
            target: AtomicU32::new(0),
            starting: AtomicU32::new(0),
            ready: AtomicU32::new(0),
            occupied: AtomicU32::new(0),
            failed: AtomicBool::new(false),
            changed: Arc::clone(changed),
        }
    }

    pub(crate) fn version(&self) -> &Arc<Version> {
        &self.version
    }

    /// How many are wanted.
    pub(crate) fn target(&self) -> u32 {
        self.target.load(Ordering::Relaxed)
    }

    /// How many are initialised.
    pub(crate) fn ready(&self) -> u32 {
        self.ready.load(Ordering::Relaxed)
    }

    /// How many there are too many.
    pub(crate) fn surplus(&self) -> u32 {
        self.ready().saturating_sub(self.target())
    }

    /// How many are being initialised.
    pub(crate) fn starting(&self) -> u32 {
        self.starting.load(Ordering::Relaxed)
    }

    /// How many have to be begun.
    pub(crate) fn missing(&self) -> u32 {
        self.target().saturating_sub(self.ready() + self.starting())
    }

    pub(crate) fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Tells how an initialisation ended.
    pub(crate) fn ended(&self, failed: bool) {
        self.failed.store(failed, Ordering::Relaxed);
    }

    /// Whether one of its environments is worth keeping after a call.
    pub(crate) fn wants_back(&self) -> bool {
        self.surplus() == 0
    }

    /// How many calls run on them, and what share of all that are ready that is.
    pub(crate) fn used(&self) -> (f64, f64) {
        let (occupied, ready) = (self.occupied.load(Ordering::Relaxed), self.ready());
        (occupied.into(), f64::from(occupied) / f64::from(ready.max(occupied).max(1)))
    }

    /// Takes a free environment for a call; `None` when all are occupied.
    pub(crate) fn occupy(self: &Arc<Self>) -> Option<Occupied> {
        let ready = self.ready();
        let one_more = |n: u32| (n < ready).then_some(n + 1);
        let taken = self.occupied.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        taken.is_ok().then(|| Occupied(Arc::clone(self)))
    }

    /// A seat for an environment that is begun.
    pub(crate) fn seat(self: &Arc<Self>) -> Seat {
        self.starting.fetch_add(1, Ordering::Relaxed);
        Seat { group: Arc::clone(self), ready: false }
    }
}

/// A provisioned environment that a call has for itself.
#[derive(Debug)]
pub(crate) struct Occupied(Arc<Group>);

impl Occupied {
    pub(crate) fn group(&self) -> &Group {
        &self.0
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        self.0.occupied.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What an environment holds of its group: one that dies leaves its seat, and another one is made.
#[derive(Debug)]
pub(crate) struct Seat {
    group: Arc<Group>,
    ready: bool,
}

impl Seat {
    /// The environment is initialised.
    pub(crate) fn ready(&mut self) {
        if !std::mem::replace(&mut self.ready, true) {
            self.group.ready.fetch_add(1, Ordering::Relaxed);
            self.group.starting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn group(&self) -> &Group {
        &self.group
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let count = if self.ready { &self.group.ready } else { &self.group.starting };
        count.fetch_sub(1, Ordering::Relaxed);
        self.group.changed.notify_one();
    }
}
