//! Keeping: measurements out of memory into rows.
//!
//! Each measurement is added to a row of every length for every level of its subject. What could not be stored waits and is
//! tried again. A row is read, added to and written in one transaction, so that a call that took long, whose minute was
//! stored before it ended, counts all the same.

use std::collections::HashMap;

use gatemill_meter::{Measured, Statistic, Unit};
use gatemill_store::{Key, Write};

use crate::{
    Metrics,
    error::Error,
    limits::{
        FLUSH_EVERY, FLUSH_ROWS_MAX, LAST_SEEN_STEP_MINUTES, RESOLUTIONS, SERIES_BYTES_MAX,
        SERIES_MAX, WAITING_ROWS_MAX,
    },
    record::{POINTS, SERIES, rows_key, series_key},
};

/// What one minute adds to a series.
pub(crate) type Addition = Vec<(&'static str, Unit, Statistic)>;

/// What waits to be stored, by series and minute.
pub(crate) type Waiting = HashMap<(Key, i64), Addition>;

/// Stores what is new from time to time, for ever.
pub(crate) async fn run(metrics: std::sync::Arc<Metrics>) {
    let mut ticks = tokio::time::interval(FLUSH_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match metrics.flush().await {
            Ok(()) => {}
            Err(Error::Store(gatemill_store::Error::Closed)) => return,
            Err(error) => tracing::error!(%error, "metrics cannot be stored; it is tried again"),
        }
    }
}

/// Adds measurements to what waits; answers how many were dropped for want of room.
pub(crate) fn gather(all: Vec<Measured>, waiting: &mut Waiting) -> u64 {
    let mut dropped = 0;
    for measured in all {
        let subject = &measured.subject;
        let dimensions: Vec<(&str, &str)> =
            subject.dimensions.iter().map(|(name, value)| (*name, value.as_str())).collect();
        for level in subject.levels {
            let dimensions = &dimensions[..(*level).min(dimensions.len())];
            let bytes: usize =
                dimensions.iter().map(|(name, value)| name.len() + value.len()).sum();
            let key = series_key(&subject.account, &subject.region, subject.namespace, dimensions);
            let place = (key, measured.minute);
            let full = waiting.len() >= WAITING_ROWS_MAX && !waiting.contains_key(&place);
            if full || bytes > SERIES_BYTES_MAX {
                dropped += 1;
                continue;
            }
            let addition = waiting.entry(place).or_default();
            for (metric, statistic) in &measured.statistics {
                match addition.iter_mut().find(|(name, ..)| *name == metric.name) {
                    Some((_, _, sum)) => sum.merge(statistic),
                    None => addition.push((metric.name, metric.unit, statistic.clone())),
                }
            }
        }
    }
    dropped
}

/// Takes as much out of what waits as one transaction changes.
pub(crate) fn batch(waiting: &mut Waiting) -> Vec<((Key, i64), Addition)> {
    let places: Vec<_> =
        waiting.keys().take(FLUSH_ROWS_MAX / (RESOLUTIONS.len() + 1)).cloned().collect();
    places.into_iter().filter_map(|place| waiting.remove_entry(&place)).collect()
}

/// What storing a batch did.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stored {
    /// Series that are new.
    pub(crate) series: u64,
    /// Additions that were dropped, because there are too many series.
    pub(crate) dropped: u64,
}

/// Adds a batch to the rows; `known` is how many series there are.
pub(crate) fn store(
    tx: &mut Write,
    batch: &[((Key, i64), Addition)],
    known: u64,
) -> Result<Stored, gatemill_store::Error> {
    let mut stored = Stored::default();
    for ((series, minute), addition) in batch {
        let before = SERIES.get(tx, series)?;
        if before.is_none() {
            if known + stored.series >= SERIES_MAX {
                stored.dropped += 1;
                continue;
            }
            stored.series += 1;
        }
        let mut record = before.unwrap_or_default();
        let changed = addition.iter().fold(false, |changed, (name, unit, _)| {
            record.note(name, unit.name(), *minute, LAST_SEEN_STEP_MINUTES) || changed
        });
        if changed {
            SERIES.put(tx, series, &record)?;
        }
        for (minutes, _) in RESOLUTIONS {
            let key = rows_key(series, minutes).and_u64(minute.div_euclid(minutes).unsigned_abs());
            let mut row = POINTS.get(tx, &key)?.unwrap_or_default();
            addition.iter().for_each(|(name, _, statistic)| row.add(name, statistic));
            POINTS.put(tx, &key, &row)?;
        }
    }
    Ok(stored)
}
