//! API keys and usage plans on the data plane: who presents a key, whether a plan lets it in, and what it has used.
//!
//! | module | what it holds |
//! |---|---|
//! | `record` | what is stored, and under which keys |
//! | `vault` | values of keys at rest |
//! | `ring` | the immutable view of an account's keys that requests are checked against |
//! | `usage` | what one key has used of one plan, and what of its quota is reserved |
//! | `period` | days, and the periods of quotas |
//!
//! The check is key → plan → rate → quota. A call itself writes nothing: it takes from what was reserved of the quota before
//! (`docs/decisions/0030-usage-plans.md`). The operations are in `control::rest`.

pub(crate) mod period;
pub(crate) mod record;
pub(crate) mod ring;
pub(crate) mod usage;
mod vault;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwapOption;
use gatemill_store::{Key, Reader, Store, Write};
use gatemill_wire::Timestamp;

use self::{
    record::{API_KEYS, DayRecord, KEY_USAGE, Place, Quota, RESERVED, ReservedRecord, USAGE_PLANS},
    ring::{Grant, Ring},
    usage::{KeyUsage, Taken, Use},
    vault::Vault,
};
use crate::{
    error::Result,
    limits::{USAGE_DAYS_FORGOTTEN, USAGE_DAYS_MAX, USAGE_EVERY},
};

/// API keys and usage plans, as requests meet them.
pub(crate) struct UsagePlans {
    store: Store,
    pub(crate) vault: Vault,
    rings: papaya::HashMap<Place, Arc<LiveRing>>,
    usages: papaya::HashMap<Use, Arc<KeyUsage>>,
}

#[derive(Default)]
struct LiveRing {
    /// Counts the changes.
    generation: AtomicU64,
    compiled: ArcSwapOption<Compiled>,
    compiling: tokio::sync::Mutex<()>,
}

struct Compiled {
    generation: u64,
    ring: Arc<Ring>,
}

/// Where a call goes that brings a key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Calling<'a> {
    pub(crate) account: &'a str,
    pub(crate) region: &'a str,
    pub(crate) api: &'a str,
    pub(crate) stage: &'a str,
    pub(crate) route: &'a str,
}

/// Why a call is not let in.
#[derive(Debug)]
pub(crate) enum NotAdmitted {
    /// No key, or none that may.
    Forbidden(&'static str),
    /// The plan's rate.
    TooManyRequests,
    /// The plan's quota.
    LimitExceeded,
    /// The store failed.
    Broken(crate::Error),
}

impl fmt::Debug for UsagePlans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UsagePlans").field("usages", &self.usages.len()).finish_non_exhaustive()
    }
}

impl UsagePlans {
    pub(crate) fn new(store: Store, key: &[u8; 32]) -> Self {
        let (rings, usages) = (papaya::HashMap::new(), papaya::HashMap::new());
        Self { store, vault: Vault::new(key), rings, usages }
    }

    /// Lets a call in that brings this value of a key; gives the key's id.
    pub(crate) async fn admit(
        self: &Arc<Self>,
        calling: Calling<'_>,
        value: Option<&str>,
        now: Timestamp,
    ) -> std::result::Result<String, NotAdmitted> {
        let value = value.ok_or(NotAdmitted::Forbidden("no API key is presented"))?;
        let Calling { account, region, api, stage, route } = calling;
        let place = Place { account: account.to_owned(), region: region.to_owned() };
        let ring = self.ring(&place).await.map_err(NotAdmitted::Broken)?;
        let key = ring.key(&self.vault.digest(&place, value));
        let key = key.ok_or(NotAdmitted::Forbidden("nobody has this API key"))?;
        if !key.enabled {
            return Err(NotAdmitted::Forbidden("the API key is disabled"));
        }
        let grant = key.grant(api, stage);
        let grant =
            grant.ok_or(NotAdmitted::Forbidden("no usage plan has the key and the stage"))?;
        if grant.bucket(api, stage, route).is_some_and(|bucket| !bucket.take(now)) {
            return Err(NotAdmitted::TooManyRequests);
        }
        self.take(grant, period::day_of(now)).await?;
        Ok(key.id.clone())
    }

    /// Takes a call of a quota. It waits where more has to be reserved first.
    async fn take(
        self: &Arc<Self>,
        grant: &Grant,
        day: u64,
    ) -> std::result::Result<(), NotAdmitted> {
        loop {
            match (grant.usage.take(grant.quota.as_ref(), day), grant.quota) {
                // Whoever reserves already does it for this call, too.
                (Taken::Yes { reserve: true }, Some(quota))
                    if grant.usage.reserving.try_lock().is_ok() =>
                {
                    let (plans, usage) = (Arc::clone(self), Arc::clone(&grant.usage));
                    tokio::spawn(async move {
                        if let Err(error) = plans.reserve_ahead(&usage, &quota).await {
                            // A call that finds nothing reserved tries again, and says so to its client.
                            tracing::warn!(%error, "calls of a quota cannot be reserved");
                        }
                    });
                    return Ok(());
                }
                (Taken::Yes { .. }, _) => return Ok(()),
                (Taken::NotReserved, Some(quota)) => {
                    self.reserve(&grant.usage, &quota).await.map_err(NotAdmitted::Broken)?;
                }
                (Taken::Over | Taken::NotReserved, _) => return Err(NotAdmitted::LimitExceeded),
            }
        }
    }

    /// Reserves the next calls of a quota, once for all who wait for them.
    async fn reserve(&self, usage: &Arc<KeyUsage>, quota: &Quota) -> Result<()> {
        let _one_at_a_time = usage.reserving.lock().await;
        self.reserve_next(usage, quota).await
    }

    /// The same for calls that are still to come, unless the server stops and has given back what they would be given.
    async fn reserve_ahead(&self, usage: &Arc<KeyUsage>, quota: &Quota) -> Result<()> {
        let _one_at_a_time = usage.reserving.lock().await;
        if usage.is_given_back() { Ok(()) } else { self.reserve_next(usage, quota).await }
    }

    async fn reserve_next(&self, usage: &Arc<KeyUsage>, quota: &Quota) -> Result<()> {
        let Some(wanted) = usage.wanted(quota) else { return Ok(()) };
        self.write_down(usage, Some(wanted)).await?;
        usage.reserved(wanted);
        Ok(())
    }

    /// Sets what is left of a quota in its period.
    pub(crate) async fn set_remaining(
        &self,
        usage: &Arc<KeyUsage>,
        quota: &Quota,
        day: u64,
        remaining: i64,
    ) -> Result<()> {
        let _one_at_a_time = usage.reserving.lock().await;
        let record = KeyUsage::with_remaining(quota, day, remaining);
        // A day that ended meanwhile is over, and what the new one has reserved is not to be lost.
        if usage.is_past(record) {
            return Ok(());
        }
        self.write_down(usage, Some(record)).await?;
        usage.set(record);
        Ok(())
    }

    /// Stores the calls that are new, with what is reserved if that changes.
    async fn write_down(
        &self,
        usage: &Arc<KeyUsage>,
        reserved: Option<ReservedRecord>,
    ) -> Result<()> {
        self.write_all(vec![(Arc::clone(usage), usage.take_calls(), reserved)]).await
    }

    async fn write_all(
        &self,
        all: Vec<(Arc<KeyUsage>, Calls, Option<ReservedRecord>)>,
    ) -> Result<()> {
        if all.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> =
            all.iter().map(|(usage, calls, it)| (usage.of.clone(), calls.clone(), *it)).collect();
        let written = self.store.write(move |tx| {
            for (of, calls, reserved) in &rows {
                store_use(tx, of, calls, *reserved)?;
            }
            Ok::<_, crate::Error>(())
        });
        if let Err(error) = written.await {
            all.into_iter().for_each(|(usage, calls, _)| usage.put_back(calls));
            return Err(error);
        }
        Ok(())
    }

    /// Stores the calls of all keys that are new.
    pub(crate) async fn store_calls(&self) -> Result<()> {
        let with_calls = |usage: &Arc<KeyUsage>| {
            let calls = usage.take_calls();
            (!calls.is_empty()).then(|| (Arc::clone(usage), calls, None))
        };
        let new = self.usages.pin().values().filter_map(with_calls).collect();
        self.write_all(new).await
    }

    /// Stores everything, and gives back what is reserved of quotas and not used, in one write: the server stops.
    pub(crate) async fn flush(&self) -> Result<()> {
        let usages: Vec<_> = self.usages.pin().values().map(Arc::clone).collect();
        // Nobody reserves meanwhile.
        let mut guards = Vec::new();
        for usage in &usages {
            guards.push(usage.reserving.lock().await);
        }
        let rows = usages.iter().filter_map(|usage| {
            let (calls, used) = (usage.take_calls(), usage.give_back());
            let has_news = !calls.is_empty() || used.is_some();
            has_news.then(|| (Arc::clone(usage), calls, used))
        });
        let written = self.write_all(rows.collect()).await;
        drop(guards);
        written
    }

    /// Stores what is new from time to time, for ever.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(USAGE_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.store_calls().await {
                tracing::error!(%error, "usage of API keys cannot be stored; it is tried again");
            }
        }
    }

    /// What a key has used of a plan.
    pub(crate) fn usage(&self, from: &impl Reader, of: Use) -> Result<Arc<KeyUsage>> {
        if let Some(usage) = self.usages.pin().get(&of) {
            return Ok(Arc::clone(usage));
        }
        let reserved = RESERVED.get(from, &of.key())?;
        let usage = Arc::new(KeyUsage::new(of.clone(), reserved));
        Ok(Arc::clone(self.usages.pin().get_or_insert(of, usage)))
    }

    /// Says, from the commit on, that keys or plans of a place are not what they were.
    pub(crate) fn note_change(self: &Arc<Self>, tx: &mut Write, place: &Place) {
        let (plans, place) = (Arc::clone(self), place.clone());
        tx.on_commit(move || {
            if let Some(ring) = plans.rings.pin().get(&place) {
                ring.generation.fetch_add(1, Ordering::Release);
            }
        });
    }

    /// Deletes what was used of a plan, by one key or by all: the plan is gone, or the key is.
    pub(crate) fn forget(
        self: &Arc<Self>,
        tx: &mut Write,
        place: &Place,
        plan: &str,
        key: Option<&str>,
    ) -> Result<()> {
        let of_plan = place.of(plan);
        let prefix = key.map_or_else(|| of_plan.clone(), |key| of_plan.clone().and(key));
        for (at, _) in RESERVED.scan(tx, &prefix, None, usize::MAX)? {
            RESERVED.delete(tx, &at)?;
        }
        for (at, _) in KEY_USAGE.scan(tx, &prefix, None, usize::MAX)? {
            KEY_USAGE.delete(tx, &at)?;
        }
        let (plans, place) = (Arc::clone(self), place.clone());
        let (plan, key) = (plan.to_owned(), key.map(str::to_owned));
        tx.on_commit(move || {
            plans.usages.pin().retain(|of, _| {
                let is_other = |key: &String| *key != of.key;
                of.plan != plan || of.place != place || key.as_ref().is_some_and(is_other)
            });
        });
        Ok(())
    }

    /// Forgets everything: the store was emptied.
    pub(crate) fn clear(&self) {
        self.usages.pin().clear();
        let rings = self.rings.pin();
        rings.values().for_each(|ring| _ = ring.generation.fetch_add(1, Ordering::Release));
        rings.clear();
    }

    /// The keys of a place as they are now: never older than an answered call.
    async fn ring(self: &Arc<Self>, place: &Place) -> Result<Arc<Ring>> {
        let known = self.rings.pin().get(place).map(Arc::clone);
        let live = match known {
            Some(live) => live,
            None => Arc::clone(self.rings.pin().get_or_insert_with(place.clone(), Arc::default)),
        };
        if let Some(ring) = live.fresh() {
            return Ok(ring);
        }
        let _one_at_a_time = live.compiling.lock().await;
        if let Some(ring) = live.fresh() {
            return Ok(ring);
        }
        // Read before the store is: a change that comes between is compiled again.
        let generation = live.generation.load(Ordering::Acquire);
        let before = live.compiled.load().as_ref().map(|compiled| Arc::clone(&compiled.ring));
        let (plans, place) = (Arc::clone(self), place.clone());
        let compiling = tokio::task::spawn_blocking(move || {
            let before = before.unwrap_or_default();
            plans.store.read(|tx| ring::compile(tx, &place, &before, &plans))
        });
        let ring = match compiling.await {
            Ok(ring) => Arc::new(ring?),
            Err(ended) => std::panic::resume_unwind(ended.into_panic()),
        };
        live.compiled.store(Some(Arc::new(Compiled { generation, ring: Arc::clone(&ring) })));
        Ok(ring)
    }
}

/// Stores what is new of a use, unless its plan or its key has gone meanwhile, with what was used of them.
fn store_use(
    tx: &mut Write,
    of: &Use,
    calls: &Calls,
    reserved: Option<ReservedRecord>,
) -> Result<()> {
    let Use { place, plan, key } = of;
    if !USAGE_PLANS.contains(tx, &place.of(plan))? || !API_KEYS.contains(tx, &place.of(key))? {
        return Ok(());
    }
    let key = of.key();
    if let Some(reserved) = reserved {
        RESERVED.put(tx, &key, &reserved)?;
    }
    for (day, new) in calls {
        let at = key.clone().and_u64(*day);
        let before = KEY_USAGE.get(tx, &at)?;
        if before.is_none() {
            forget_days(tx, &key, *day)?;
        }
        KEY_USAGE.put(tx, &at, &before.unwrap_or_default().plus(*new))?;
    }
    Ok(())
}

/// Deletes a few of the oldest days, of those that are not kept any more.
fn forget_days(tx: &mut Write, key: &Key, today: u64) -> Result<()> {
    let oldest = KEY_USAGE.scan(tx, key, None, USAGE_DAYS_FORGOTTEN)?;
    let is_over = |at: &Key| {
        at.number(key.parts().len()).is_some_and(|day| day.saturating_add(USAGE_DAYS_MAX) < today)
    };
    for (at, _) in oldest.iter().filter(|(at, _)| is_over(at)) {
        KEY_USAGE.delete(tx, at)?;
    }
    Ok(())
}

type Calls = Vec<(u64, DayRecord)>;

impl LiveRing {
    fn fresh(&self) -> Option<Arc<Ring>> {
        let generation = self.generation.load(Ordering::Acquire);
        let compiled = self.compiled.load();
        let compiled = compiled.as_ref().filter(|compiled| compiled.generation == generation)?;
        Some(Arc::clone(&compiled.ring))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{
        record::{KEY_PLANS, KeyRecord, PLAN_KEYS, Period, PlanRecord, PlanStage},
        *,
    };
    use crate::record::IdRecord;

    const VALUE: &str = "a value of twenty and more";
    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn place() -> Place {
        Place { account: "1".to_owned(), region: "r".to_owned() }
    }

    /// Over a store with one key in one plan.
    async fn plans(store: &Store, limit: i32) -> Arc<UsagePlans> {
        let plans = Arc::new(UsagePlans::new(store.clone(), &[7; 32]));
        let digest = plans.vault.digest(&place(), VALUE);
        let key = KeyRecord {
            id: "k".to_owned(),
            name: None,
            description: None,
            customer_id: None,
            enabled: true,
            sealed: String::new(),
            digest,
            created: NOW,
            updated: NOW,
            tags: BTreeMap::new(),
        };
        let stage =
            PlanStage { api: "a".to_owned(), stage: "s".to_owned(), routes: BTreeMap::new() };
        let plan = PlanRecord {
            id: "p".to_owned(),
            name: "p".to_owned(),
            description: None,
            stages: vec![stage],
            throttle: None,
            quota: Some(Quota { limit, offset: 0, period: Period::Day }),
            tags: BTreeMap::new(),
        };
        let noting = Arc::clone(&plans);
        let written = store.write(move |tx| {
            let id = |id: &str| IdRecord { id: id.to_owned() };
            API_KEYS.put(tx, &place().of("k"), &key)?;
            USAGE_PLANS.put(tx, &place().of("p"), &plan)?;
            PLAN_KEYS.put(tx, &place().of("p").and("k"), &id("k"))?;
            KEY_PLANS.put(tx, &place().of("k").and("p"), &id("p"))?;
            noting.note_change(tx, &place());
            Ok::<_, crate::Error>(())
        });
        written.await.unwrap();
        plans
    }

    async fn admitted(plans: &Arc<UsagePlans>, tries: usize) -> usize {
        let calls = (0..tries).map(|_| {
            let plans = Arc::clone(plans);
            tokio::spawn(async move {
                let calling =
                    Calling { account: "1", region: "r", api: "a", stage: "s", route: "x" };
                plans.admit(calling, Some(VALUE), NOW).await.is_ok()
            })
        });
        let mut admitted = 0;
        for call in calls.collect::<Vec<_>>() {
            admitted += usize::from(call.await.unwrap());
        }
        admitted
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn many_at_once_take_the_quota_and_no_more() {
        for limit in [1, 7, 100, 3_000] {
            let store = Store::memory();
            let plans = plans(&store, limit).await;
            let limit = usize::try_from(limit).unwrap();
            assert_eq!(admitted(&plans, limit + 50).await, limit);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn those_who_wait_together_share_a_write() {
        let store = Store::memory();
        let plans = plans(&store, 20_000).await;
        let before = store.written().commits;
        assert_eq!(admitted(&plans, 400).await, 400);
        let writes = store.written().commits - before;
        assert!(writes <= 3, "{writes}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn days_go_after_a_year_and_uses_with_their_key() {
        let store = Store::memory();
        let plans = plans(&store, 100).await;
        let of = Use { place: place(), plan: "p".to_owned(), key: "k".to_owned() };
        let days = |store: &Store| -> Vec<u64> {
            let prefix = place().of("p").and("k");
            let rows = store.read(|tx| KEY_USAGE.scan(tx, &prefix, None, 9)).unwrap();
            rows.iter().filter_map(|(at, _)| at.number(prefix.parts().len())).collect()
        };
        for day in [1, 2, 300, 400] {
            let of = of.clone();
            let calls = vec![(day, DayRecord { calls: 1, remaining: None })];
            store.write(move |tx| store_use(tx, &of, &calls, None)).await.unwrap();
        }
        assert_eq!(days(&store), [300, 400]);
        let forgetting = Arc::clone(&plans);
        let forgotten = store.write(move |tx| {
            API_KEYS.delete(tx, &place().of("k"))?;
            forgetting.forget(tx, &place(), "p", Some("k"))
        });
        forgotten.await.unwrap();
        let calls = vec![(400, DayRecord { calls: 1, remaining: None })];
        store.write(move |tx| store_use(tx, &of, &calls, None)).await.unwrap();
        assert!(days(&store).is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn kills_give_nothing_back_and_stops_lose_nothing() {
        let store = Store::memory();
        let first = plans(&store, 100).await;
        assert_eq!(admitted(&first, 30).await, 30);
        first.flush().await.unwrap();
        let stopped = plans(&store, 100).await;
        assert_eq!(admitted(&stopped, 30).await, 30);
        // Without a flush, as a kill leaves it.
        let killed = plans(&store, 100).await;
        let rest = admitted(&killed, 100).await;
        assert!((35..=40).contains(&rest), "{rest}");
        let calls = store.read(|tx| KEY_USAGE.scan(tx, &place().key(), None, 9)).unwrap();
        assert!(calls[0].1.calls <= 100, "{calls:?}");
    }
}
