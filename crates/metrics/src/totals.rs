//! What was measured since the start: counters for Prometheus, which wants them to grow.

use std::{collections::BTreeMap, sync::Arc};

use gatemill_meter::{Measured, Metric, Subject};

use crate::limits::TOTALS_MAX;

/// One metric of one subject since the start.
#[derive(Debug, Clone, PartialEq)]
pub struct Total {
    /// Whose it is.
    pub subject: Arc<Subject>,
    /// Which metric.
    pub metric: &'static Metric,
    /// How many values there were.
    pub count: u64,
    /// All of them added up.
    pub sum: f64,
}

/// All of them. Once there are too many subjects, further ones are left out, so that those that are there go on growing.
#[derive(Debug, Default)]
pub(crate) struct Totals(BTreeMap<Arc<Subject>, Vec<(&'static Metric, u64, f64)>>);

impl Totals {
    pub(crate) fn add(&mut self, all: &[Measured]) {
        for measured in all {
            if self.0.len() >= TOTALS_MAX && !self.0.contains_key(&measured.subject) {
                continue;
            }
            let totals = self.0.entry(Arc::clone(&measured.subject)).or_default();
            for (metric, statistic) in &measured.statistics {
                match totals.iter_mut().find(|(known, ..)| *known == *metric) {
                    Some((_, count, sum)) => {
                        *count += statistic.count;
                        *sum += statistic.sum;
                    }
                    None => totals.push((metric, statistic.count, statistic.sum)),
                }
            }
        }
    }

    pub(crate) fn all(&self) -> Vec<Total> {
        let of = |(subject, totals): (&Arc<Subject>, &Vec<(&'static Metric, u64, f64)>)| {
            let subject = Arc::clone(subject);
            let totals = totals.clone().into_iter();
            totals.map(move |(metric, count, sum)| Total {
                subject: Arc::clone(&subject),
                metric,
                count,
                sum,
            })
        };
        self.0.iter().flat_map(of).collect()
    }

    /// Forgets subjects.
    pub(crate) fn retain(&mut self, is_kept: impl Fn(&Subject) -> bool) {
        self.0.retain(|subject, _| is_kept(subject));
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
