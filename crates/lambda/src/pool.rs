//! Idle environments, and the calls that wait for one.
//!
//! One that idles for a moment is frozen, and thawed before it is given out again.
//!
//! Idle environments are kept by the shard whose reactor owns their sockets, the most recently used first. A shard's lock
//! is its own thread's nearly always; others take it only when they have none of their own. A call that waits is
//! handed the first environment of its deployment that gets free, whether it was started for it or not.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};
use uuid::Uuid;

use crate::{
    eviction::{self, Candidate},
    instance::Instance,
    limits::FREEZE_AT_ONCE,
    shard,
};

/// The part of the memory budget that has to be free for what nobody called for, at most.
const ROOM_PART: u64 = 4;

/// Boxed, so that handing one on moves a pointer.
pub(crate) type Boxed = Box<Instance>;

/// The idle environments of one shard.
#[derive(Debug, Default)]
struct Idle {
    /// By deployment. The one that was used last is at the back, so the frozen ones are at the front.
    by_deployment: HashMap<Uuid, VecDeque<Boxed>>,
    /// How many of them run.
    thawed: usize,
}

impl Idle {
    fn all(&self) -> impl Iterator<Item = &Boxed> {
        self.by_deployment.values().flatten()
    }
}

/// The idle environments of all shards.
#[derive(Debug)]
pub(crate) struct Pool {
    /// One per shard, and one more for threads that are none.
    shards: Box<[Mutex<Idle>]>,
    waiting: Mutex<HashMap<Uuid, VecDeque<oneshot::Sender<Boxed>>>>,
    /// How many wait, so that the ordinary return does not take that lock.
    waiters: AtomicUsize,
    /// Memory of the idle ones together.
    held: AtomicU64,
    budget: u64,
    /// Told when they hold more than the budget.
    over_budget: Notify,
    clock: eviction::Clock,
    /// Whether the freezer waits for something to freeze.
    freezer_waits: AtomicBool,
    to_freeze: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Memory that counts against the budget: provisioned environments are kept whatever they hold.
fn evictable_bytes(instance: &Instance) -> u64 {
    if instance.seat.is_some() { 0 } else { instance.memory_peak }
}

impl Pool {
    pub(crate) fn new(shards: usize, budget: u64) -> Self {
        Self {
            shards: (0..=shards).map(|_| Mutex::default()).collect(),
            waiting: Mutex::default(),
            waiters: AtomicUsize::new(0),
            held: AtomicU64::new(0),
            budget,
            over_budget: Notify::new(),
            clock: eviction::Clock::default(),
            freezer_waits: AtomicBool::new(false),
            to_freeze: Notify::new(),
        }
    }

    /// The shard of this thread, as an index of ours.
    fn here(&self) -> usize {
        let strangers = self.shards.len() - 1;
        shard::current().map_or(strangers, |shard| shard.min(strangers))
    }

    /// An idle environment of this deployment, of this shard if it has one.
    pub(crate) fn take(&self, deployment: Uuid) -> Option<Boxed> {
        let here = self.here();
        let others = (0..self.shards.len()).filter(|shard| *shard != here);
        let found = std::iter::once(here).chain(others).find_map(|shard| {
            let mut idle = lock(&self.shards[shard]);
            // The entry stays when it gets empty: the environment is back in a moment.
            let found = idle.by_deployment.get_mut(&deployment)?.pop_back()?;
            idle.thawed -= usize::from(!found.frozen);
            Some(found)
        });
        let mut found = found?;
        self.held.fetch_sub(evictable_bytes(&found), Ordering::Relaxed);
        found.thaw();
        Some(found)
    }

    /// Returns when idle environments hold more memory than the budget.
    pub(crate) async fn over_budget(&self) {
        self.over_budget.notified().await;
    }

    /// Gives an environment to a call that waits for one, or keeps it.
    pub(crate) fn give(&self, instance: Boxed) {
        let Some(instance) = self.unclaimed(instance) else { return };
        let (deployment, bytes) = (instance.version.deployment, evictable_bytes(&instance));
        let before = self.held.fetch_add(bytes, Ordering::Relaxed);
        {
            let mut idle = lock(&self.shards[self.here()]);
            idle.thawed += 1;
            idle.by_deployment.entry(deployment).or_default().push_back(instance);
        }
        // After the lock: whoever waits either sees the environment or is seen here.
        if self.freezer_waits.load(Ordering::SeqCst) {
            self.to_freeze.notify_one();
        }
        if before.saturating_add(bytes) > self.budget {
            self.over_budget.notify_one();
        }
    }

    /// As [`Self::give`], for an environment that was made for no call: it is taken after all others, and frozen at once.
    pub(crate) fn give_spare(&self, instance: Boxed) {
        let Some(mut instance) = self.unclaimed(instance) else { return };
        let (deployment, bytes) = (instance.version.deployment, evictable_bytes(&instance));
        instance.freeze();
        let before = self.held.fetch_add(bytes, Ordering::Relaxed);
        // Where every thread looks last, and at the end that is taken last.
        let strangers = self.shards.len() - 1;
        let mut idle = lock(&self.shards[strangers]);
        idle.by_deployment.entry(deployment).or_default().push_front(instance);
        drop(idle);
        if before.saturating_add(bytes) > self.budget {
            self.over_budget.notify_one();
        }
    }

    /// How many idle environments there are of which this is true.
    pub(crate) fn count(&self, which: impl Fn(&Instance) -> bool) -> usize {
        let of_shard =
            |shard: &Mutex<Idle>| lock(shard).all().filter(|instance| which(instance)).count();
        self.shards.iter().map(of_shard).sum()
    }

    fn count_of(&self, deployment: Uuid, which: impl Fn(&Instance) -> bool) -> usize {
        let of_shard = |shard: &Mutex<Idle>| {
            let idle = lock(shard);
            let of_deployment = idle.by_deployment.get(&deployment);
            of_deployment.map_or(0, |all| all.iter().filter(|instance| which(instance)).count())
        };
        self.shards.iter().map(of_shard).sum()
    }

    /// How many idle environments of this deployment have served nobody yet.
    pub(crate) fn unused(&self, deployment: Uuid) -> usize {
        self.count_of(deployment, |instance| instance.uses == 0)
    }

    /// Whether one of this deployment's idle environments served somebody.
    pub(crate) fn has_used(&self, deployment: Uuid) -> bool {
        self.count_of(deployment, |instance| instance.uses > 0) > 0
    }

    /// Whether one more idle environment could stay that may hold so much memory. Few use all that they may; so no more than a
    /// part of the budget ([`ROOM_PART`]) has to be free.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        let wanted = bytes.min(self.budget / ROOM_PART);
        self.held.load(Ordering::Relaxed).saturating_add(wanted) <= self.budget
    }

    /// Gives an environment to a call that waits for one; else it begins to idle.
    fn unclaimed(&self, mut instance: Boxed) -> Option<Boxed> {
        if self.waiters.load(Ordering::Acquire) > 0 {
            instance = self.hand_over(instance)?;
        }
        instance.idle_since = Instant::now();
        instance.worth = self.clock.worth(instance.uses, instance.start, instance.memory_peak);
        Some(instance)
    }

    fn hand_over(&self, mut instance: Boxed) -> Option<Boxed> {
        let deployment = instance.version.deployment;
        loop {
            let waiter = {
                let mut waiting = lock(&self.waiting);
                let Some(queue) = waiting.get_mut(&deployment) else { return Some(instance) };
                let waiter = queue.pop_front();
                if queue.is_empty() {
                    waiting.remove(&deployment);
                }
                waiter
            };
            let Some(waiter) = waiter else { return Some(instance) };
            self.waiters.fetch_sub(1, Ordering::AcqRel);
            match waiter.send(instance) {
                Ok(()) => return None,
                Err(unwanted) => instance = unwanted,
            }
        }
    }

    /// Joins those who wait for an environment of this deployment. Whoever stops waiting just drops the receiver.
    pub(crate) fn wait(&self, deployment: Uuid) -> oneshot::Receiver<Boxed> {
        let (sender, receiver) = oneshot::channel();
        lock(&self.waiting).entry(deployment).or_default().push_back(sender);
        self.waiters.fetch_add(1, Ordering::AcqRel);
        receiver
    }

    /// Forgets waiters that have gone: those whose own environment came first.
    pub(crate) fn sweep(&self, deployment: Uuid) {
        let mut waiting = lock(&self.waiting);
        let Some(queue) = waiting.get_mut(&deployment) else { return };
        let before = queue.len();
        queue.retain(|waiter| !waiter.is_closed());
        let after = queue.len();
        if after == 0 {
            waiting.remove(&deployment);
        }
        self.waiters.fetch_sub(before - after, Ordering::AcqRel);
    }

    /// Takes out the environments that `unwanted` names.
    pub(crate) fn remove(&self, unwanted: impl Fn(&Instance) -> bool) -> Vec<Boxed> {
        let mut removed: Vec<Boxed> = Vec::new();
        for shard in &self.shards {
            let mut idle = lock(shard);
            let before = removed.len();
            for of_deployment in idle.by_deployment.values_mut() {
                if of_deployment.iter().any(|instance| unwanted(instance)) {
                    let (go, stay) = of_deployment.drain(..).partition(|one| unwanted(one));
                    *of_deployment = stay;
                    let go: VecDeque<_> = go;
                    removed.extend(go);
                }
            }
            idle.thawed -= removed[before..].iter().filter(|one| !one.frozen).count();
            idle.by_deployment.retain(|_, of_deployment| !of_deployment.is_empty());
        }
        // So that what is told of its end can hear it.
        removed.iter_mut().for_each(|instance| instance.thaw());
        let freed = removed.iter().map(|instance| evictable_bytes(instance)).sum();
        self.held.fetch_sub(freed, Ordering::Relaxed);
        removed
    }

    /// Takes out the environments that idled for too long, and, while all together hold more memory than the budget, those
    /// that are worth the least.
    pub(crate) fn expire(&self, now: Instant, idle_max: Duration) -> Vec<Boxed> {
        let evictable = |instance: &Instance| instance.seat.is_none();
        let mut removed = self.remove(|instance| {
            evictable(instance) && now.duration_since(instance.idle_since) >= idle_max
        });
        let mut candidates = Vec::new();
        for shard in &self.shards {
            let idle = lock(shard);
            let evictable = idle.all().filter(|instance| evictable(instance));
            candidates.extend(evictable.map(|instance| candidate(instance)));
        }
        if let Some(last) = eviction::last_to_go(candidates, self.budget, &self.clock) {
            removed.extend(
                self.remove(|instance| evictable(instance) && candidate(instance).goes_with(&last)),
            );
        }
        removed
    }

    /// Freezes environments as soon as they have idled for this long. Runs for ever.
    pub(crate) async fn freeze_idle(&self, after: Duration) {
        loop {
            let given = self.to_freeze.notified();
            self.freezer_waits.store(true, Ordering::SeqCst);
            if self.shards.iter().all(|shard| lock(shard).thawed == 0) {
                given.await;
            }
            self.freezer_waits.store(false, Ordering::SeqCst);
            tokio::time::sleep(after).await;
            let now = Instant::now();
            for shard in &self.shards {
                while freeze_some(&mut lock(shard), now, after) {
                    // Between two portions the shard's own thread gets at its environments.
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

/// Freezes a portion of what idled long enough; whether there may be more.
fn freeze_some(idle: &mut Idle, now: Instant, after: Duration) -> bool {
    let Idle { by_deployment, thawed } = idle;
    if *thawed == 0 {
        return false;
    }
    let mut room = FREEZE_AT_ONCE;
    for of_deployment in by_deployment.values_mut() {
        let first = of_deployment.partition_point(|instance| instance.frozen);
        for instance in of_deployment.range_mut(first..) {
            if now.duration_since(instance.idle_since) < after {
                break;
            }
            if room == 0 {
                return true;
            }
            instance.freeze();
            (room, *thawed) = (room - 1, *thawed - 1);
        }
    }
    false
}

fn candidate(instance: &Instance) -> Candidate {
    let Instance { worth, idle_since, memory_peak, .. } = *instance;
    Candidate { worth, idle_since, bytes: memory_peak }
}
