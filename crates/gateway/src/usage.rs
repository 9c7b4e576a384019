//! Usage: what each stage was used for, counted in memory and kept for good by a worker.
//!
//! Requests add to atomic counters that their stage's snapshot holds. The worker takes what came since the last time
//! and adds it to the row of the day, so that a restart loses nothing and a crash at most what came in one interval.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use gatemill_store::{Key, Store};
use gatemill_wire::{Clock, Timestamp};

use crate::{
    error::Result,
    limits::{MESSAGE_UNIT_BYTES, USAGE_EVERY, USAGE_ROWS_MAX},
    record::{USAGE, UsageRecord},
};

/// Whose usage it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Metered {
    /// The account.
    pub account: String,
    /// The region.
    pub region: String,
    /// The API.
    pub api: String,
    /// The stage.
    pub stage: String,
    /// The route, where a stage asked for metrics by route.
    pub route: Option<String>,
}

/// Counters; each counts up for ever.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) calls: AtomicU64,
    pub(crate) client_errors: AtomicU64,
    pub(crate) server_errors: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) latency_ms: AtomicU64,
    pub(crate) integration_latency_ms: AtomicU64,
    pub(crate) messages: AtomicU64,
    pub(crate) connection_minutes: AtomicU64,
    /// What of it the store has; only the worker writes it.
    stored: std::sync::Mutex<UsageRecord>,
}

/// What was counted since the server started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests.
    pub calls: u64,
    /// Among them, answers of 400 to 499.
    pub client_errors: u64,
    /// Among them, answers of 500 to 599.
    pub server_errors: u64,
    /// Bytes of answers.
    pub bytes_out: u64,
    /// Milliseconds from request to answer, added up.
    pub latency_ms: u64,
    /// Milliseconds of integrations, added up.
    pub integration_latency_ms: u64,
    /// Messages of WebSocket APIs.
    pub messages: u64,
    /// Minutes that connections of WebSocket APIs were open.
    pub connection_minutes: u64,
}

impl Counters {
    /// What was counted.
    pub(crate) fn totals(&self) -> Totals {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Totals {
            calls: read(&self.calls),
            client_errors: read(&self.client_errors),
            server_errors: read(&self.server_errors),
            bytes_out: read(&self.bytes_out),
            latency_ms: read(&self.latency_ms),
            integration_latency_ms: read(&self.integration_latency_ms),
            messages: read(&self.messages),
            connection_minutes: read(&self.connection_minutes),
        }
    }

    /// Counts a request that was answered.
    pub(crate) fn request(&self, status: u16, bytes: u64, latency_ms: u64, integration_ms: u64) {
        let add = |counter: &AtomicU64, number| _ = counter.fetch_add(number, Ordering::Relaxed);
        add(&self.calls, 1);
        add(&self.bytes_out, bytes);
        add(&self.latency_ms, latency_ms);
        add(&self.integration_latency_ms, integration_ms);
        match status {
            400..=499 => add(&self.client_errors, 1),
            500..=599 => add(&self.server_errors, 1),
            _ => {}
        }
    }
}

impl Counters {
    /// Counts a message of a WebSocket API, from a client or to one: as many as there are begun units of 32 KB.
    pub(crate) fn message(&self, bytes: usize) {
        let units = bytes.div_ceil(MESSAGE_UNIT_BYTES).max(1);
        self.messages.fetch_add(units as u64, Ordering::Relaxed);
    }

    /// Counts a message that went to a client.
    pub(crate) fn message_out(&self, bytes: usize) {
        self.message(bytes);
        self.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts minutes of an open connection.
    pub(crate) fn minutes(&self, minutes: u64) {
        self.connection_minutes.fetch_add(minutes, Ordering::Relaxed);
    }
}

impl Totals {
    fn usage(&self) -> UsageRecord {
        UsageRecord {
            calls: self.calls,
            bytes_out: self.bytes_out,
            messages: self.messages,
            connection_minutes: self.connection_minutes,
        }
    }
}

/// All counters.
pub(crate) struct Usage {
    store: Store,
    clock: Arc<dyn Clock>,
    counters: papaya::HashMap<Metered, Arc<Counters>>,
    /// One at a time takes what is new, so that nothing is counted twice.
    storing: tokio::sync::Mutex<()>,
    /// Nobody is given counters while those that nobody has are forgotten.
    giving: std::sync::RwLock<()>,
}

impl fmt::Debug for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Usage").field("counters", &self.counters.len()).finish_non_exhaustive()
    }
}

impl Usage {
    pub(crate) fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        let storing = tokio::sync::Mutex::new(());
        let (counters, giving) = (papaya::HashMap::new(), std::sync::RwLock::default());
        Self { store, clock, counters, storing, giving }
    }

    /// The counters of a stage or a route.
    pub(crate) fn of(&self, metered: Metered) -> Arc<Counters> {
        let _giving = self.giving.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        Arc::clone(self.counters.pin().get_or_insert_with(metered, Arc::default))
    }

    /// Forgets the counters that nobody has any more, because their stage is gone or counts no routes, once all that they
    /// counted is stored.
    fn forget_ended(&self) {
        let _alone = self.giving.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.counters.pin().retain(|metered, counters| {
            let is_stored = || {
                let stored =
                    counters.stored.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                counters.totals().usage() == *stored
            };
            Arc::strong_count(counters) > 1 || !(metered.route.is_some() || is_stored())
        });
    }

    /// Everything that was counted since the start, in order.
    pub(crate) fn totals(&self) -> Vec<(Metered, Totals)> {
        let counters = self.counters.pin();
        let totals =
            counters.iter().map(|(metered, counters)| (metered.clone(), counters.totals()));
        let mut totals: Vec<_> = totals.collect();
        totals.sort_by(|(a, _), (b, _)| a.cmp(b));
        totals
    }

    /// Forgets everything: the store was emptied.
    pub(crate) fn clear(&self) {
        self.counters.pin().clear();
    }

    /// Stores what came since the last time, and forgets what ended.
    pub(crate) async fn store(&self) -> Result<()> {
        self.store_new().await?;
        self.forget_ended();
        Ok(())
    }

    async fn store_new(&self) -> Result<()> {
        let _one_at_a_time = self.storing.lock().await;
        let mut new = Vec::new();
        for (metered, counters) in &self.counters.pin() {
            // A route's are in those of its stage.
            if metered.route.is_some() {
                continue;
            }
            let now = counters.totals().usage();
            let stored = counters.stored.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let since = now.since(&stored);
            if since != UsageRecord::default() {
                new.push((metered.clone(), Arc::clone(counters), now, since));
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        let day = day(self.clock.now());
        let rows: Vec<_> =
            new.iter().map(|(metered, _, _, since)| (key(metered, day), *since)).collect();
        self.store
            .write(move |tx| {
                for (key, since) in &rows {
                    let before = USAGE.get(tx, key)?.unwrap_or_default();
                    USAGE.put(tx, key, &before.plus(since))?;
                }
                Ok::<_, crate::Error>(())
            })
            .await?;
        for (_, counters, now, _) in new {
            *counters.stored.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = now;
        }
        Ok(())
    }

    /// Stores what is new from time to time, for ever.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(USAGE_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.store().await {
                tracing::error!(%error, "usage cannot be stored; it is tried again");
            }
        }
    }

    /// The stored usage of an account: by region, API, stage and day (days since 1970), oldest first in each.
    pub(crate) fn stored(&self, account: &str) -> Result<Vec<(Metered, u64, UsageRecord)>> {
        let rows =
            self.store.read(|tx| USAGE.scan(tx, &Key::new([account]), None, USAGE_ROWS_MAX))?;
        let text = |key: &Key, at| key.text(at).unwrap_or_default().into_owned();
        let row = |(key, usage): (Key, UsageRecord)| {
            let (account, region) = (text(&key, 0), text(&key, 1));
            let metered =
                Metered { account, region, api: text(&key, 2), stage: text(&key, 3), route: None };
            (metered, key.number(4).unwrap_or_default(), usage)
        };
        Ok(rows.into_iter().map(row).collect())
    }
}

fn key(metered: &Metered, day: u64) -> Key {
    let Metered { account, region, api, stage, route: _ } = metered;
    Key::new([account, region, api, stage]).and_u64(day)
}

/// Days since 1970.
fn day(now: Timestamp) -> u64 {
    now.seconds().unsigned_abs() / 86_400
}
