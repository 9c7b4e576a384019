//! What is kept of the values of one metric in one minute.

use crate::Sketch;

/// Count, sum, extremes and sizes of some values. Statistics of parts merge into that of the whole.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Statistic {
    /// How many values there were.
    pub count: u64,
    /// All of them added up.
    pub sum: f64,
    /// The least; 0 when there are none.
    pub min: f64,
    /// The most; 0 when there are none.
    pub max: f64,
    /// How many there were of each size.
    pub sketch: Sketch,
}

impl Statistic {
    /// Adds one value. What is not finite is left out.
    pub fn add(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        if self.count == 0 {
            (self.min, self.max) = (value, value);
        }
        self.count += 1;
        self.sum += value;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.sketch.add(value);
    }

    /// Adds all values of another.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            (self.min, self.max) = (other.min, other.max);
        }
        self.count = self.count.saturating_add(other.count);
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.sketch.merge(&other.sketch);
    }

    /// The mean; `None` when there are no values.
    pub fn average(&self) -> Option<f64> {
        #[allow(clippy::cast_precision_loss, reason = "exact up to 2^53 values")]
        (self.count > 0).then(|| self.sum / self.count as f64)
    }

    /// The value below which `share` (0 to 1) of the values lie, within what was measured.
    pub fn percentile(&self, share: f64) -> Option<f64> {
        self.sketch.percentile(share).map(|value| value.max(self.min).min(self.max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Statistic {
        let mut statistic = Statistic::default();
        values.iter().for_each(|value| statistic.add(*value));
        statistic
    }

    #[test]
    fn parts_merge_into_the_whole() {
        let mut whole = of(&[]);
        assert_eq!((whole.average(), whole.percentile(0.5)), (None, None));
        whole.merge(&of(&[3.0, 1.0]));
        whole.merge(&of(&[]));
        whole.merge(&of(&[8.0, f64::NAN, f64::INFINITY]));
        assert_eq!(whole, of(&[1.0, 3.0, 8.0]));
        assert_eq!((whole.count, whole.sum, whole.min, whole.max), (3, 12.0, 1.0, 8.0));
        assert_eq!(whole.average(), Some(4.0));
        assert_eq!(whole.percentile(1.0), Some(8.0));
        // What is one value everywhere is told exactly.
        assert_eq!(of(&[1.0; 5]).percentile(0.9), Some(1.0));
    }
}
