//! Idle environments, and the calls that wait for one.
//!
//! Idle environments are kept by the shard whose reactor owns their sockets, the most recently used first. A shard's lock
//! is its own thread's nearly always; others take it only when they have none of their own. A call that waits is
//! handed the first environment of its deployment that gets free, whether it was started for it or not.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};
use uuid::Uuid;

use crate::{instance::Instance, shard};

/// Boxed, so that handing one on moves a pointer.
pub(crate) type Boxed = Box<Instance>;

type Idle = HashMap<Uuid, VecDeque<Boxed>>;

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
            let of_deployment = idle.get_mut(&deployment)?;
            let found = of_deployment.pop_back();
            if of_deployment.is_empty() {
                idle.remove(&deployment);
            }
            found
        })?;
        self.held.fetch_sub(evictable_bytes(&found), Ordering::Relaxed);
        Some(found)
    }

    /// Returns when idle environments hold more memory than the budget.
    pub(crate) async fn over_budget(&self) {
        self.over_budget.notified().await;
    }

    /// Gives an environment to a call that waits for one, or keeps it.
    pub(crate) fn give(&self, mut instance: Boxed) {
        if self.waiters.load(Ordering::Acquire) > 0 {
            instance = match self.hand_over(instance) {
                Some(instance) => instance,
                None => return,
            };
        }
        instance.idle_since = Instant::now();
        let (deployment, bytes) = (instance.version.deployment, evictable_bytes(&instance));
        let before = self.held.fetch_add(bytes, Ordering::Relaxed);
        lock(&self.shards[self.here()]).entry(deployment).or_default().push_back(instance);
        if before.saturating_add(bytes) > self.budget {
            self.over_budget.notify_one();
        }
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
            for of_deployment in idle.values_mut() {
                let (go, stay) = of_deployment.drain(..).partition(|instance| unwanted(instance));
                *of_deployment = stay;
                let go: VecDeque<_> = go;
                removed.extend(go);
            }
            idle.retain(|_, of_deployment| !of_deployment.is_empty());
        }
        let freed = removed.iter().map(|instance| evictable_bytes(instance)).sum();
        self.held.fetch_sub(freed, Ordering::Relaxed);
        removed
    }

    /// Takes out the environments that idled for too long, and the oldest ones while all together hold more memory than
    /// the budget.
    pub(crate) fn expire(&self, now: Instant, idle_max: Duration) -> Vec<Boxed> {
        let evictable = |instance: &Instance| instance.seat.is_none();
        let mut removed = self.remove(|instance| {
            evictable(instance) && now.duration_since(instance.idle_since) >= idle_max
        });
        let mut held: Vec<(Instant, u64)> = Vec::new();
        for shard in &self.shards {
            let idle = lock(shard);
            let evictable = idle.values().flatten().filter(|one| evictable(one));
            held.extend(evictable.map(|one| (one.idle_since, one.memory_peak)));
        }
        let mut total: u64 = held.iter().map(|(_, bytes)| bytes).sum();
        held.sort_unstable();
        let mut cut = None;
        for (since, bytes) in held {
            if total <= self.budget {
                break;
            }
            total -= bytes;
            cut = Some(since);
        }
        if let Some(cut) = cut {
            removed
                .extend(self.remove(|instance| evictable(instance) && instance.idle_since <= cut));
        }
        removed
    }
}
