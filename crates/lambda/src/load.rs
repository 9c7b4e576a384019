//! The load of accounts and functions: how many calls run and may run, and how fast calls and environments may come.
//!
//! Counters live as long as the server; what they are measured against follows the store. A function's reserved
//! concurrency is told to its [`Load`] when its snapshot is filled, which is before any call that sees the new setting; what
//! an account has left for everybody is told when a transaction that changed it commits.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use gatemill_store::Store;
use tokio::time::Instant;

use crate::{
    Error,
    bucket::{Bucket, Rate},
    limits::{
        ENVIRONMENTS_BURST, ENVIRONMENTS_PER_SECOND, REQUESTS_PER_CONCURRENCY, SNAPSHOTS_MAX,
        TENANT_ENVIRONMENTS_PER_1000,
    },
    measure::Subjects,
    provisioned::{Group, Occupied},
    record::{USAGE, usage_key},
    target::FunctionKey,
};

/// Why a call is refused with 429.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Throttle {
    /// As many calls of the account run as may.
    Account,
    /// As many calls of the function run as it has reserved.
    Reserved,
    /// Calls, or environments for them, come faster than a function may have them.
    Rate,
    /// The same of a function that has reserved its concurrency.
    ReservedRate,
}

impl Throttle {
    /// The `Reason` of the error.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Account => "ConcurrentInvocationLimitExceeded",
            Self::Reserved => "ReservedFunctionConcurrentInvocationLimitExceeded",
            Self::Rate => "FunctionInvocationRateLimitExceeded",
            Self::ReservedRate => "ReservedFunctionInvocationRateLimitExceeded",
        }
    }
}

/// The counters of all accounts and functions.
#[derive(Debug)]
pub(crate) struct Loads {
    /// What an account may run at one time, before anything is reserved.
    limit: u32,
    begun: Instant,
    accounts: Mutex<HashMap<(String, String), Arc<Account>>>,
    functions: Mutex<HashMap<FunctionKey, Arc<Load>>>,
    tallies: Arc<Tallies>,
}

/// Counts since the server began, for metrics.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    pub(crate) throttled: AtomicU64,
    pub(crate) provisioned: AtomicU64,
    pub(crate) spilled_over: AtomicU64,
}

/// An account in a region.
#[derive(Debug)]
struct Account {
    /// Calls that run on what nobody reserved.
    running: AtomicU32,
    /// All calls that run.
    all: AtomicU32,
    /// What nobody reserved.
    unreserved: AtomicU32,
    /// What it may run at one time, before anything is reserved.
    limit: u32,
    /// Environments that serve one tenant alone.
    of_tenants: AtomicU32,
    of_tenants_max: u32,
}

/// A function, all of its versions together.
#[derive(Debug)]
pub(crate) struct Load {
    account: Arc<Account>,
    running: AtomicU32,
    /// [`NOTHING_RESERVED`], or what is.
    reserved: AtomicU32,
    requests: Bucket,
    environments: Bucket,
    begun: Instant,
    tallies: Arc<Tallies>,
    /// As what its calls are measured.
    pub(crate) subjects: Subjects,
}

const NOTHING_RESERVED: u32 = u32::MAX;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Loads {
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            limit,
            begun: Instant::now(),
            accounts: Mutex::default(),
            functions: Mutex::default(),
            tallies: Arc::default(),
        }
    }

    pub(crate) fn tallies(&self) -> &Tallies {
        &self.tallies
    }

    /// The counters of a function.
    pub(crate) fn of(&self, store: &Store, key: &FunctionKey) -> Result<Arc<Load>, Error> {
        if let Some(load) = lock(&self.functions).get(key) {
            return Ok(Arc::clone(load));
        }
        let account = self.account(store, &key.account, &key.region)?;
        let mut functions = lock(&self.functions);
        if functions.len() >= SNAPSHOTS_MAX {
            // Those that no snapshot and no call holds; their buckets have filled up long ago.
            functions.retain(|_, load| Arc::strong_count(load) > 1);
        }
        let load = functions.entry(key.clone()).or_insert_with(|| {
            Arc::new(Load {
                account,
                running: AtomicU32::new(0),
                reserved: AtomicU32::new(NOTHING_RESERVED),
                requests: Bucket::default(),
                environments: Bucket::default(),
                begun: self.begun,
                tallies: Arc::clone(&self.tallies),
                subjects: Subjects::of(key),
            })
        });
        Ok(Arc::clone(load))
    }

    fn account(&self, store: &Store, account: &str, region: &str) -> Result<Arc<Account>, Error> {
        // The lock is held while the store is read: a commit in between tells its number after this one is in place.
        let mut accounts = lock(&self.accounts);
        let place = (account.to_owned(), region.to_owned());
        if let Some(known) = accounts.get(&place) {
            return Ok(Arc::clone(known));
        }
        let usage = store.read(|tx| Ok::<_, Error>(USAGE.get(tx, &usage_key(account, region))?))?;
        let allotted = usage.unwrap_or_default().allotted;
        let account = Arc::new(Account {
            running: AtomicU32::new(0),
            all: AtomicU32::new(0),
            unreserved: AtomicU32::new(self.unreserved(allotted)),
            limit: self.limit,
            of_tenants: AtomicU32::new(0),
            of_tenants_max: of_tenants_max(self.limit),
        });
        accounts.insert(place, Arc::clone(&account));
        Ok(account)
    }

    /// What an account may run at one time, before anything is reserved.
    pub(crate) fn limit(&self) -> u64 {
        self.limit.into()
    }

    /// What is left of an account's concurrency when that much is allotted to functions.
    pub(crate) fn unreserved(&self, allotted: u64) -> u32 {
        self.limit.saturating_sub(u32::try_from(allotted).unwrap_or(u32::MAX))
    }

    /// Tells that an account has allotted that much now.
    pub(crate) fn allotted(&self, account: &str, region: &str, allotted: u64) {
        let place = (account.to_owned(), region.to_owned());
        if let Some(known) = lock(&self.accounts).get(&place) {
            known.unreserved.store(self.unreserved(allotted), Ordering::Relaxed);
        }
    }

    /// After the store was emptied: nothing is reserved.
    pub(crate) fn clear(&self) {
        for account in lock(&self.accounts).values() {
            account.unreserved.store(self.limit, Ordering::Relaxed);
        }
        for load in lock(&self.functions).values() {
            load.reserve(None);
        }
    }
}

impl Account {
    /// What no other function can have: what is reserved or provisioned, used or not, and what runs beside that.
    fn claimed(&self) -> u32 {
        let allotted = self.limit - self.unreserved.load(Ordering::Relaxed).min(self.limit);
        allotted + self.running.load(Ordering::Relaxed)
    }
}

impl Load {
    /// Tells what the function has reserved.
    pub(crate) fn reserve(&self, reserved: Option<u32>) {
        self.reserved.store(reserved.unwrap_or(NOTHING_RESERVED), Ordering::Relaxed);
    }

    fn reserved(&self) -> Option<u32> {
        Some(self.reserved.load(Ordering::Relaxed)).filter(|reserved| *reserved != NOTHING_RESERVED)
    }

    /// Takes a place for one call: of the function's reserved concurrency, of its provisioned environments, or of what
    /// the account has for everybody, in AWS's order.
    ///
    /// # Errors
    /// Which of them is used up. Nothing is queued.
    pub(crate) fn enter(self: &Arc<Self>, group: Option<&Arc<Group>>) -> Result<Permit, Throttle> {
        let entered = self.try_enter(group);
        if entered.is_err() {
            self.tallies.throttled.fetch_add(1, Ordering::Relaxed);
        }
        entered
    }

    fn try_enter(self: &Arc<Self>, group: Option<&Arc<Group>>) -> Result<Permit, Throttle> {
        let reserved = self.reserved();
        let of_function = enter(&self.running, reserved.unwrap_or(u32::MAX));
        let of_function = of_function.ok_or(Throttle::Reserved)?;
        let of_account = self.account.all.fetch_add(1, Ordering::Relaxed) + 1;
        // From here on leaving is the permit's.
        let running = Running { of_function, of_account, unreserved: None, claimed: 0 };
        let mut permit = Permit { load: Arc::clone(self), provisioned: None, running };
        let cap = reserved.unwrap_or_else(|| self.account.unreserved.load(Ordering::Relaxed));
        let provisioned = group.map_or(0, |group| group.target());
        if !self.requests.take(self.begun.elapsed(), requests(cap.max(provisioned))) {
            return Err(self.too_fast());
        }
        permit.provisioned = group.and_then(Group::occupy);
        match (&permit.provisioned, group) {
            (Some(_), _) => bump(&self.tallies.provisioned),
            (None, Some(_)) => bump(&self.tallies.spilled_over),
            (None, None) => {}
        }
        if permit.provisioned.is_none() && reserved.is_none() {
            let unreserved = self.account.unreserved.load(Ordering::Relaxed);
            permit.running.unreserved = enter(&self.account.running, unreserved);
            if permit.running.unreserved.is_none() {
                return Err(Throttle::Account);
            }
        }
        permit.running.claimed = self.account.claimed();
        Ok(permit)
    }

    /// Whether a call could run in one more environment, beside the calls that run and those that so many `idle` environments
    /// may have. They are counted only where a limit is the function's own.
    pub(crate) fn has_concurrency_for(&self, idle: impl FnOnce() -> usize) -> bool {
        let Some(reserved) = self.reserved() else {
            return self.account.unreserved.load(Ordering::Relaxed) > 0;
        };
        let running = self.running.load(Ordering::Relaxed);
        reserved > 0 && idle() < usize::try_from(reserved.saturating_sub(running)).unwrap_or(0)
    }

    /// Leave to make one more environment.
    ///
    /// # Errors
    /// When the function's environments come too fast: 1,000 at once, and 100 a second from then on.
    pub(crate) fn grow(self: &Arc<Self>) -> Result<Growth, Throttle> {
        if self.environments.take(self.begun.elapsed(), ENVIRONMENTS) {
            Ok(Growth(Some(Arc::clone(self))))
        } else {
            bump(&self.tallies.throttled);
            Err(self.too_fast())
        }
    }

    /// A place for an environment that serves one tenant alone.
    ///
    /// # Errors
    /// When the account has as many as it may, be they busy or idle.
    pub(crate) fn tenant_environment(&self) -> Result<TenantEnvironment, Throttle> {
        if enter(&self.account.of_tenants, self.account.of_tenants_max).is_some() {
            Ok(TenantEnvironment(Arc::clone(&self.account)))
        } else {
            bump(&self.tallies.throttled);
            Err(Throttle::Account)
        }
    }

    fn too_fast(&self) -> Throttle {
        if self.reserved().is_some() { Throttle::ReservedRate } else { Throttle::Rate }
    }
}

fn bump(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

const ENVIRONMENTS: Rate = Rate { per_second: ENVIRONMENTS_PER_SECOND, burst: ENVIRONMENTS_BURST };

/// Ten requests a second for every call that may run at one time.
fn requests(concurrency: u32) -> Rate {
    let per_second = u64::from(concurrency) * REQUESTS_PER_CONCURRENCY;
    Rate { per_second, burst: per_second }
}

/// Counts one more, within a limit; answers how many there are then.
fn enter(running: &AtomicU32, limit: u32) -> Option<u32> {
    let one_more = |n: u32| (n < limit).then_some(n + 1);
    let before = running.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
    before.ok().map(|before| before + 1)
}

/// How many calls ran when one began, itself included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Running {
    pub(crate) of_function: u32,
    pub(crate) of_account: u32,
    /// Those on what nobody reserved, where it is one of them.
    pub(crate) unreserved: Option<u32>,
    /// What of the account's concurrency no other function can have.
    pub(crate) claimed: u32,
}

/// One running call.
#[derive(Debug)]
pub(crate) struct Permit {
    load: Arc<Load>,
    provisioned: Option<Occupied>,
    pub(crate) running: Running,
}

impl Permit {
    /// The provisioned environments that one of waits for this call.
    pub(crate) fn provisioned(&self) -> Option<&Group> {
        self.provisioned.as_ref().map(Occupied::group)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.running.unreserved.is_some() {
            self.load.account.running.fetch_sub(1, Ordering::Relaxed);
        }
        self.load.account.all.fetch_sub(1, Ordering::Relaxed);
        self.load.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Leave to make one environment, given back when it is dropped unused.
#[derive(Debug)]
pub(crate) struct Growth(Option<Arc<Load>>);

impl Growth {
    /// The environment is being made.
    pub(crate) fn used(mut self) {
        self.0 = None;
    }
}

impl Drop for Growth {
    fn drop(&mut self) {
        if let Some(load) = &self.0 {
            load.environments.put_back(ENVIRONMENTS);
        }
    }
}

/// The place of an environment that serves one tenant alone.
#[derive(Debug)]
pub(crate) struct TenantEnvironment(Arc<Account>);

impl Drop for TenantEnvironment {
    fn drop(&mut self) {
        self.0.of_tenants.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many environments of single tenants an account of this concurrency may have.
fn of_tenants_max(limit: u32) -> u32 {
    let max = u64::from(limit) * TENANT_ENVIRONMENTS_PER_1000 / 1_000;
    u32::try_from(max).unwrap_or(u32::MAX)
}

/// The time of the longest wait that a 429 asks for.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
