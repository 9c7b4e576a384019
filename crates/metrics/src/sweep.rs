//! Sweeping: rows that are older than their length is kept for, and series without rows.

use std::sync::Arc;

use gatemill_store::{Error, Key, Write};

use crate::{
    Metrics,
    limits::{RESOLUTIONS, SERIES_PAGE, SWEEP_EVERY, SWEEP_ROWS_MAX},
    record::{POINTS, SERIES, rows_key},
};

const DAY_MINUTES: i64 = 24 * 60;

/// Sweeps from time to time, until the store is closed.
pub(crate) async fn run(metrics: Arc<Metrics>) {
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match sweep(&metrics).await {
            Ok(()) => {}
            Err(Error::Closed) => return,
            Err(error) => tracing::error!(%error, "old metrics could not be removed"),
        }
    }
}

/// Removes everything that is too old now.
pub(crate) async fn sweep(metrics: &Metrics) -> Result<(), Error> {
    let now = metrics.minute_now();
    let mut after: Option<Key> = None;
    loop {
        let from = after.take();
        let page =
            metrics.store.read(|tx| SERIES.scan(tx, &Key::empty(), from.as_ref(), SERIES_PAGE))?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(last.clone());
        for (series, _) in page {
            if has_old(metrics, &series, now)? {
                sweep_series(metrics, &series, now).await?;
            }
        }
    }
}

/// Whether something of a series is too old. A length of which it has no row counts as that: it may have none at all.
fn has_old(metrics: &Metrics, series: &Key, now: i64) -> Result<bool, Error> {
    metrics.store.read(|tx| {
        for (minutes, days) in RESOLUTIONS {
            let first = POINTS.scan(tx, &rows_key(series, minutes), None, 1)?;
            if first.first().is_none_or(|(key, _)| is_old(key, minutes, days, now)) {
                return Ok(true);
            }
        }
        Ok(false)
    })
}

async fn sweep_series(metrics: &Metrics, series: &Key, now: i64) -> Result<(), Error> {
    loop {
        let of = series.clone();
        let removed = metrics.store.write(move |tx| remove_some(tx, &of, now)).await?;
        let (more, ended) = removed;
        metrics.series_ended(ended);
        if !more {
            return Ok(());
        }
    }
}

/// Whether a row ended before what is kept begins.
fn is_old(row: &Key, minutes: i64, days: i64, now: i64) -> bool {
    let number = row.parts().len().checked_sub(1).and_then(|at| row.number(at));
    let number = number.and_then(|number| i64::try_from(number).ok()).unwrap_or(0);
    (number + 1).saturating_mul(minutes) <= now - days * DAY_MINUTES
}

/// Removes some rows of a series, and itself with its last; answers whether there may be more, and how many series ended.
fn remove_some(tx: &mut Write, series: &Key, now: i64) -> Result<(bool, u64), Error> {
    let (mut more, mut left) = (false, false);
    for (minutes, days) in RESOLUTIONS {
        let rows = POINTS.scan(tx, &rows_key(series, minutes), None, SWEEP_ROWS_MAX)?;
        let old = rows.iter().take_while(|(key, _)| is_old(key, minutes, days, now));
        let mut removed = 0;
        for (key, _) in old {
            POINTS.delete(tx, key)?;
            removed += 1;
        }
        more |= removed == SWEEP_ROWS_MAX;
        left |= rows.len() > removed;
    }
    let ended = !more && !left && SERIES.delete(tx, series)?;
    Ok((more, u64::from(ended)))
}
