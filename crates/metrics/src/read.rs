//! Reading: rows of a series into data points of a period.

use gatemill_meter::Statistic;
use gatemill_store::{Key, Reader};

use crate::{
    error::Error,
    limits::{RESOLUTIONS, ROWS_READ_MAX},
    record::{POINTS, SERIES, rows_key},
    statistic::Asked,
};

/// A span of time cut into periods. Begins are included, ends are not; both are seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) period: i64,
    /// The minutes of the rows that it is read from.
    minutes: i64,
}

impl Span {
    /// The span of a question that is asked at `now`, in seconds. Its begin is rounded down as CloudWatch does: to a
    /// minute, to five where rows of minutes are gone, to an hour where those are.
    pub(crate) fn new(start: i64, end: i64, period: i64, now: i64) -> Self {
        let kept = |days: i64| now - days * 24 * 60 * 60;
        let by_age = RESOLUTIONS.iter().find(|(_, days)| start >= kept(*days));
        let (least, _) = by_age.unwrap_or(&RESOLUTIONS[RESOLUTIONS.len() - 1]);
        let start = start.div_euclid(least * 60) * least * 60;
        // Long rows are as good wherever none of them lies in two periods.
        let whole = |minutes: i64| start % (minutes * 60) == 0 && period % (minutes * 60) == 0;
        let longer = RESOLUTIONS.iter().map(|(minutes, _)| *minutes).filter(|it| whole(*it)).max();
        Self { start, end, period, minutes: longer.unwrap_or(*least).max(*least) }
    }

    /// How many periods it has.
    pub(crate) fn periods(&self) -> i64 {
        let seconds = (self.end - self.start).max(0);
        seconds / self.period + i64::from(seconds % self.period > 0)
    }

    /// The begin of each period.
    pub(crate) fn begins(&self) -> impl Iterator<Item = i64> {
        (0..self.periods()).map(|number| self.start + number * self.period)
    }
}

/// A metric of a series, and the periods that had values, oldest first, each by its begin in seconds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Points {
    pub(crate) unit: String,
    pub(crate) points: Vec<(i64, Statistic)>,
}

impl Points {
    /// One statistic of each period.
    pub(crate) fn values(&self, asked: Asked) -> Vec<(i64, f64)> {
        let value = |(begin, statistic): &(i64, Statistic)| Some((*begin, asked.of(statistic)?));
        self.points.iter().filter_map(value).collect()
    }
}

/// Reads a metric; `None` when the series has none of this name.
pub(crate) fn points(
    from: &impl Reader,
    series: &Key,
    metric: &str,
    span: Span,
) -> Result<Option<Points>, Error> {
    let record = SERIES.get(from, series)?.unwrap_or_default();
    let Some(known) = record.metrics.into_iter().find(|known| known.name == metric) else {
        return Ok(None);
    };
    let seconds = span.minutes * 60;
    let prefix = rows_key(series, span.minutes);
    let number = |seconds_at: i64| seconds_at.div_euclid(seconds).max(0).unsigned_abs();
    let first = number(span.start);
    // The scan goes on after a key: the one before the first row.
    let mut after = first.checked_sub(1).map(|before| prefix.clone().and_u64(before));
    let mut points: Vec<(i64, Statistic)> = Vec::new();
    let mut read = 0;
    while read < ROWS_READ_MAX {
        let rows = POINTS.scan(from, &prefix, after.as_ref(), PAGE)?;
        let Some((last, _)) = rows.last() else { break };
        after = Some(last.clone());
        read += rows.len();
        for (key, row) in rows {
            let at = key.parts().len().checked_sub(1).and_then(|at| key.number(at));
            let at = i64::try_from(at.unwrap_or_default()).unwrap_or(i64::MAX);
            let at = at.saturating_mul(seconds);
            if at >= span.end {
                read = ROWS_READ_MAX;
                break;
            }
            let Some(statistic) = row.statistic(metric) else { continue };
            let begin = at - (at - span.start).rem_euclid(span.period);
            match points.last_mut() {
                Some((before, sum)) if *before == begin => sum.merge(&statistic),
                _ => points.push((begin, statistic)),
            }
        }
    }
    Ok(Some(Points { unit: known.unit, points }))
}

/// Rows of one scan.
const PAGE: usize = 1_000;
