//! CloudWatch metrics: measurements kept by the minute, and the operations that read them.
//!
//! Functions and gateway write down what they measure in memory ([`gatemill_meter`]). A worker adds that to rows in the
//! store every ten seconds; a reader has it done before it reads, so that what was measured before a question is in its
//! answer. A crash loses what was measured since the last time; stopping loses nothing. Nobody waits for the store on the
//! way of a call.
//!
//! | module | what it holds |
//! |---|---|
//! | `record` | the stored form, the tables and their keys |
//! | `keep`, `sweep` | the two workers: measurements into rows, and old rows out |
//! | `read`, `statistic` | rows into data points of a period |
//! | `expression`, `evaluation`, `search` | metric math, read and worked out |
//! | `get_metric_data`, `get_metric_statistics`, `list_metrics` | the handlers |
//! | `totals` | what was measured since the start, for Prometheus |
//!
//! What it does not do: it takes no data from callers (`PutMetricData`), has no alarms and no dashboards; operations that are
//! not in [`table`] answer 501, and so do functions of metric math that are not in `expression`.

mod error;
mod evaluation;
mod expression;
mod gaps;
mod get_metric_data;
mod get_metric_statistics;
mod keep;
pub mod limits;
mod list_metrics;
mod read;
mod record;
mod search;
mod statistic;
mod sweep;
mod totals;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use gatemill_api::cloudwatch as api;
use gatemill_meter::{Meters, Subject};
use gatemill_store::{Key, Read, Store};
use gatemill_wire::{Clock, Served, Table};

pub use error::Error;
pub use gaps::GAPS;
pub use totals::Total;

use crate::{
    keep::{Stored, Waiting},
    record::SERIES,
};

/// CloudWatch metrics.
pub struct Metrics {
    store: Store,
    clock: Arc<dyn Clock>,
    meters: Arc<Meters>,
    waiting: Mutex<Waiting>,
    totals: Mutex<totals::Totals>,
    /// How many series there are, once they were counted. One at a time stores, so that nothing is added twice.
    storing: tokio::sync::Mutex<Option<u64>>,
    /// Series that the sweeper removed since they were counted.
    ended: AtomicU64,
    dropped: AtomicU64,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Which operation is served by which handler.
pub fn table() -> Table<Metrics, Error> {
    Table::new(&api::SERVICE)
        .on::<api::GetMetricData>(get_metric_data::get)
        .on::<api::GetMetricStatistics>(get_metric_statistics::get)
        .on::<api::ListMetrics>(list_metrics::list)
}

/// A background task: the server runs `future` to its end, and takes a new one from [`Metrics::workers`] if it died.
pub struct Worker {
    /// What it is called in logs and metrics.
    pub name: &'static str,
    /// The task; it ends when the store is closed.
    pub future: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Metrics {
    /// Metrics in `store`, of what `meters` measure.
    pub fn new(store: Store, clock: Arc<dyn Clock>, meters: Arc<Meters>) -> Arc<Self> {
        Arc::new(Self {
            store,
            clock,
            meters,
            waiting: Mutex::default(),
            totals: Mutex::default(),
            storing: tokio::sync::Mutex::new(None),
            ended: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        })
    }

    /// The operations and their handlers.
    pub fn routes(self: &Arc<Self>) -> Box<dyn Served> {
        Box::new(table().serve(Arc::clone(self)))
    }

    /// The background tasks. May be called again to replace one that died.
    pub fn workers(self: &Arc<Self>) -> Vec<Worker> {
        vec![
            Worker { name: "metrics-keeper", future: Box::pin(keep::run(Arc::clone(self))) },
            Worker { name: "metrics-sweeper", future: Box::pin(sweep::run(Arc::clone(self))) },
        ]
    }

    /// Returns when everything that was measured before is stored.
    ///
    /// # Errors
    /// When the store fails; what is not stored is tried again later.
    pub async fn flush(&self) -> Result<(), Error> {
        let mut known = self.storing.lock().await;
        let dropped = self.gather();
        let mut series = match *known {
            Some(series) => series.saturating_sub(self.ended.swap(0, Ordering::Relaxed)),
            None => self.store.read(|tx| SERIES.count(tx, &Key::empty()))? as u64,
        };
        let mut over = 0;
        loop {
            let batch = keep::batch(&mut self.waiting());
            if batch.is_empty() {
                break;
            }
            let batch = Arc::new(batch);
            let stored = self.store.write({
                let batch = Arc::clone(&batch);
                move |tx| keep::store(tx, &batch, series)
            });
            match stored.await {
                Ok(Stored { series: new, dropped }) => {
                    series += new;
                    over += dropped;
                }
                Err(error) => {
                    let batch = Arc::try_unwrap(batch).unwrap_or_else(|shared| (*shared).clone());
                    self.put_back(batch);
                    return Err(error.into());
                }
            }
        }
        *known = Some(series);
        self.say_dropped(dropped + over);
        Ok(())
    }

    /// What was measured of each subject since the start, in order: at most
    /// [`TOTALS_MAX`](limits::TOTALS_MAX) subjects.
    pub fn totals(&self) -> Vec<Total> {
        let dropped = self.gather();
        self.say_dropped(dropped);
        lock(&self.totals).all()
    }

    /// Forgets what was measured since the start of subjects that are gone; their data points stay.
    pub fn retain_totals(&self, is_kept: impl Fn(&Subject) -> bool) {
        lock(&self.totals).retain(is_kept);
    }

    /// Measurements that were dropped for want of room, ever.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed) + self.meters.overflowed()
    }

    /// Forgets everything: the store was emptied.
    pub async fn reset(&self) {
        let mut known = self.storing.lock().await;
        drop(self.meters.collect());
        self.waiting().clear();
        lock(&self.totals).clear();
        *known = None;
    }

    /// Takes what was measured out of the meters.
    fn gather(&self) -> u64 {
        let mut waiting = self.waiting();
        let all = self.meters.collect();
        lock(&self.totals).add(&all);
        keep::gather(all, &mut waiting)
    }

    fn put_back(&self, batch: Vec<((Key, i64), keep::Addition)>) {
        let mut waiting = self.waiting();
        for (place, addition) in batch {
            let there = waiting.entry(place).or_default();
            for (name, unit, statistic) in addition {
                match there.iter_mut().find(|(known, ..)| *known == name) {
                    Some((_, _, sum)) => sum.merge(&statistic),
                    None => there.push((name, unit, statistic)),
                }
            }
        }
    }

    fn say_dropped(&self, dropped: u64) {
        if dropped > 0 {
            self.dropped.fetch_add(dropped, Ordering::Relaxed);
            tracing::warn!(dropped, "measurements were dropped: there are too many series");
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.waiting)
    }

    fn series_ended(&self, count: u64) {
        self.ended.fetch_add(count, Ordering::Relaxed);
    }

    /// The minute now, counted since 1970.
    fn minute_now(&self) -> i64 {
        self.clock.now().seconds().div_euclid(60)
    }

    /// Stores what was measured before the question; what cannot be stored now is left out of the answer.
    async fn flush_for_reader(&self) {
        if let Err(error) = self.flush().await {
            tracing::error!(%error, "metrics cannot be stored; an answer is without the newest");
        }
    }

    /// Reads on a thread of its own kind: a question may be long, and the caller's thread carries other calls.
    async fn search<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Read) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let store = self.store.clone();
        tokio::task::spawn_blocking(move || store.read(f)).await.map_err(|_| Error::Interrupted)?
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
