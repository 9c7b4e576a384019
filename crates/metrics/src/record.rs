//! What is stored, and where.
//!
//! | table | key | holds |
//! |---|---|---|
//! | `metrics-series` | account, region, namespace, each dimension's name and value | which metrics the combination has |
//! | `metrics-points` | the same, minutes of a row, number of the row since 1970 | what was measured in that time |
//!
//! Dimensions stand in the order of their names, since a question may name them in any. A row holds all metrics of its
//! series: they are measured together. Every measurement is in three rows, of a minute, of five and of an hour, which are
//! kept for 15, 63 and 455 days.

use gatemill_meter::{Sketch, Statistic};
use gatemill_store::{Key, Part, Record, Table};
use serde::{Deserialize, Serialize};

pub(crate) const SERIES: Table<SeriesRecord> = Table::new("metrics-series");
pub(crate) const POINTS: Table<PointsRecord> = Table::new("metrics-points");

/// Which metrics a combination of dimensions has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SeriesRecord {
    pub(crate) metrics: Vec<MetricRecord>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MetricRecord {
    pub(crate) name: String,
    pub(crate) unit: String,
    /// The minute of its last data, or somewhat before.
    pub(crate) last: i64,
}

/// What was measured in the time of one row.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct PointsRecord {
    pub(crate) metrics: Vec<PointRecord>,
}

/// One metric: its name, count, sum, least, most, and how many values there were of each size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PointRecord(pub(crate) String, u64, f64, f64, f64, Vec<(u32, u64)>);

impl Record for SeriesRecord {
    const VERSION: u8 = 1;
}

impl Record for PointsRecord {
    const VERSION: u8 = 1;
}

impl PointRecord {
    pub(crate) fn statistic(&self) -> Statistic {
        let Self(_, count, sum, min, max, sizes) = self;
        let sketch = Sketch::from_parts(sizes);
        Statistic { count: *count, sum: *sum, min: *min, max: *max, sketch }
    }

    fn of(name: &str, statistic: &Statistic) -> Self {
        let Statistic { count, sum, min, max, sketch } = statistic;
        Self(name.to_owned(), *count, *sum, *min, *max, sketch.parts().to_vec())
    }
}

impl PointsRecord {
    /// Adds what was measured of a metric.
    pub(crate) fn add(&mut self, name: &str, statistic: &Statistic) {
        match self.metrics.iter_mut().find(|point| point.0 == name) {
            Some(point) => {
                let mut sum = point.statistic();
                sum.merge(statistic);
                *point = PointRecord::of(name, &sum);
            }
            None => self.metrics.push(PointRecord::of(name, statistic)),
        }
    }

    pub(crate) fn statistic(&self, name: &str) -> Option<Statistic> {
        self.metrics.iter().find(|point| point.0 == name).map(PointRecord::statistic)
    }
}

impl SeriesRecord {
    /// Notes that a metric has data in a minute; answers whether the record changed.
    pub(crate) fn note(&mut self, name: &str, unit: &str, minute: i64, step: i64) -> bool {
        match self.metrics.iter_mut().find(|metric| metric.name == name) {
            Some(metric) if metric.last + step > minute => false,
            Some(metric) => {
                metric.last = minute;
                true
            }
            None => {
                let (name, unit) = (name.to_owned(), unit.to_owned());
                self.metrics.push(MetricRecord { name, unit, last: minute });
                true
            }
        }
    }
}

/// The key of a combination of dimensions.
pub(crate) fn series_key(
    account: &str,
    region: &str,
    namespace: &str,
    dimensions: &[(&str, &str)],
) -> Key {
    let mut dimensions = dimensions.to_vec();
    dimensions.sort_unstable();
    let start = Key::new([account, region, namespace]);
    dimensions.into_iter().fold(start, |key, (name, value)| key.and(name).and(value))
}

/// The key of a row; rows of one length are a prefix of their own.
pub(crate) fn rows_key(series: &Key, minutes: i64) -> Key {
    series.clone().and_u64(minutes.unsigned_abs())
}

/// The namespace and the dimensions that a key of a series names.
pub(crate) fn named_by(key: &Key) -> (String, Vec<(String, String)>) {
    let parts = key.parts();
    let mut texts = parts.into_iter().skip(2).map(|part| match part {
        Part::Text(text) => text.into_owned(),
        Part::Number(number) => number.to_string(),
    });
    let namespace = texts.next().unwrap_or_default();
    let mut dimensions = Vec::new();
    while let (Some(name), Some(value)) = (texts.next(), texts.next()) {
        dimensions.push((name, value));
    }
    (namespace, dimensions)
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use gatemill_store::{decode, encode};

    use super::*;

    fn check<R: Record + PartialEq + Debug>(record: &R, json: &str) {
        let golden = [&[1], json.as_bytes()].concat();
        assert_eq!(encode(record).unwrap(), golden);
        assert_eq!(&decode::<R>(&golden).unwrap(), record);
    }

    #[test]
    fn records_are_stored_as_ever() {
        let mut series = SeriesRecord::default();
        assert!(series.note("Errors", "Count", 29_000_000, 15));
        assert!(!series.note("Errors", "Count", 29_000_014, 15));
        check(&series, r#"{"metrics":[{"name":"Errors","unit":"Count","last":29000000}]}"#);
        assert!(series.note("Errors", "Count", 29_000_015, 15));

        let (mut points, mut statistic) = (PointsRecord::default(), Statistic::default());
        statistic.add(1.5);
        points.add("Duration", &statistic);
        points.add("Duration", &statistic);
        check(&points, r#"{"metrics":[["Duration",2,3.0,1.5,1.5,[[65504,2]]]]}"#);
        statistic.merge(&statistic.clone());
        assert_eq!(points.statistic("Duration"), Some(statistic));
        assert_eq!(points.statistic("Errors"), None);
    }

    #[test]
    fn a_key_names_its_dimensions_in_order_and_no_other_series() {
        let one = series_key("1", "r", "N", &[("B", "2"), ("A", "1")]);
        let expected = vec![("A".to_owned(), "1".to_owned()), ("B".to_owned(), "2".to_owned())];
        assert_eq!(named_by(&one), ("N".to_owned(), expected));
        let shorter = series_key("1", "r", "N", &[("A", "1")]);
        assert!(one.starts_with(&shorter));
        assert!(!rows_key(&one, 5).starts_with(&rows_key(&shorter, 5)));
    }
}
