//! The lanes: one per thread that measures, each behind a lock of its own.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use crate::{Metric, Statistic, Subject, limits::LANE_SUBJECTS_MAX};

const MINUTE_MS: i64 = 60_000;

/// The measurements of one subject in one minute.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Whose they are.
    pub subject: Arc<Subject>,
    /// The minute, counted since 1970.
    pub minute: i64,
    /// What was measured.
    pub statistics: Vec<(&'static Metric, Statistic)>,
}

/// The measurements that nobody has collected yet.
pub struct Meters {
    lanes: Box<[Lane]>,
    overflowed: AtomicU64,
}

/// What one thread measures. On cache lines of its own, so that threads do not slow each other down.
#[derive(Default)]
#[repr(align(128))]
struct Lane(Mutex<HashMap<(usize, i64), Measured>>);

impl fmt::Debug for Meters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meters").field("lanes", &self.lanes.len()).finish_non_exhaustive()
    }
}

impl Meters {
    /// With this many lanes: as many as there are threads that measure much. Threads beyond share them.
    pub fn new(lanes: usize) -> Self {
        let lanes = (0..lanes.max(1)).map(|_| Lane::default()).collect();
        Self { lanes, overflowed: AtomicU64::new(0) }
    }

    /// Writes down values of a subject, at a time in milliseconds since 1970.
    pub fn record(&self, subject: &Arc<Subject>, at_ms: i64, values: &[(&'static Metric, f64)]) {
        let minute = at_ms.div_euclid(MINUTE_MS);
        // The subject is held by its entry, so that the address stays its own.
        let key = (Arc::as_ptr(subject).addr(), minute);
        let mut lane = self.lane();
        if !lane.contains_key(&key) && lane.len() >= LANE_SUBJECTS_MAX {
            self.overflowed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let measured = lane.entry(key).or_insert_with(|| Measured {
            subject: Arc::clone(subject),
            minute,
            statistics: Vec::with_capacity(values.len()),
        });
        for (metric, value) in values {
            measured.add(metric, *value);
        }
    }

    /// Takes everything away that was measured since the last time.
    pub fn collect(&self) -> Vec<Measured> {
        let take = |lane: &Lane| std::mem::take(&mut *lock(&lane.0));
        self.lanes.iter().map(take).flat_map(HashMap::into_values).collect()
    }

    /// Measurements that were dropped for want of room, ever.
    pub fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }

    fn lane(&self) -> MutexGuard<'_, HashMap<(usize, i64), Measured>> {
        lock(&self.lanes[number_of_this_thread() % self.lanes.len()].0)
    }
}

impl Measured {
    fn add(&mut self, metric: &'static Metric, value: f64) {
        let known = self.statistics.iter_mut().find(|(known, _)| std::ptr::eq(*known, metric));
        if let Some((_, statistic)) = known {
            return statistic.add(value);
        }
        let mut statistic = Statistic::default();
        statistic.add(value);
        self.statistics.push((metric, statistic));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Threads are numbered as they measure for the first time.
fn number_of_this_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    NUMBER.with(|number| *number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Unit;

    static CALLS: Metric = Metric { name: "Calls", unit: Unit::Count };
    static TIME: Metric = Metric { name: "Time", unit: Unit::Milliseconds };

    fn subject(name: &str) -> Arc<Subject> {
        Arc::new(Subject {
            account: "1".to_owned(),
            region: "r".to_owned(),
            namespace: "N",
            dimensions: vec![("Name", name.to_owned())],
            levels: &[0, 1],
        })
    }

    #[test]
    fn minutes_and_subjects_are_kept_apart_and_collected_once() {
        let (meters, a, b) = (Meters::new(2), subject("a"), subject("b"));
        meters.record(&a, 59_999, &[(&CALLS, 1.0), (&TIME, 5.0)]);
        meters.record(&a, 0, &[(&CALLS, 1.0), (&TIME, 7.0)]);
        meters.record(&a, 60_000, &[(&CALLS, 1.0)]);
        meters.record(&b, -1, &[(&CALLS, 1.0)]);
        let mut all = meters.collect();
        all.sort_by_key(|measured| (measured.subject.dimensions[0].1.clone(), measured.minute));
        let places: Vec<_> =
            all.iter().map(|m| (m.subject.dimensions[0].1.as_str(), m.minute)).collect();
        assert_eq!(places, [("a", 0), ("a", 1), ("b", -1)]);
        let sums: Vec<_> = all[0].statistics.iter().map(|(m, s)| (m.name, s.sum)).collect();
        assert_eq!(sums, [("Calls", 2.0), ("Time", 12.0)]);
        assert!(meters.collect().is_empty());
    }

    #[test]
    fn a_full_lane_drops_and_counts() {
        let (meters, subject) = (Meters::new(1), subject("a"));
        for minute in 0..=LANE_SUBJECTS_MAX {
            let at_ms = i64::try_from(minute).unwrap() * MINUTE_MS;
            meters.record(&subject, at_ms, &[(&CALLS, 1.0)]);
        }
        assert_eq!(meters.overflowed(), 1);
        assert_eq!(meters.collect().len(), LANE_SUBJECTS_MAX);
    }
}
