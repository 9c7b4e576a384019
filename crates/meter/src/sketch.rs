//! Percentiles that can be merged: how many values there were of each size.
//!
//! A size is a power of two cut into 64 equal parts, read directly from the bits of the number, so that it costs no
//! logarithm. Merging is adding, in any order. A percentile is the middle of its part: off by at most one in 128
//! (0.8 %), and never outside what was measured.

use crate::limits::{SIZE_MAX, SIZE_MIN};

/// Bits of a number's fraction that tell sizes apart: 64 parts of each power of two.
const FRACTION_BITS: u32 = 6;
const SHIFT: u32 = f64::MANTISSA_DIGITS - 1 - FRACTION_BITS;
const EXPONENT_BIAS: i32 = f64::MAX_EXP - 1;

/// How many values there were of each size. Values of zero and below count as zero.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sketch {
    /// Sizes and counts, in the order of sizes; zero is size 0.
    sizes: Vec<(u32, u64)>,
}

impl Sketch {
    /// Adds one value.
    pub fn add(&mut self, value: f64) {
        self.add_size(size(value), 1);
    }

    fn add_size(&mut self, size: u32, count: u64) {
        match self.sizes.binary_search_by_key(&size, |(size, _)| *size) {
            Ok(at) => self.sizes[at].1 = self.sizes[at].1.saturating_add(count),
            Err(at) => self.sizes.insert(at, (size, count)),
        }
    }

    /// Adds all values of another.
    pub fn merge(&mut self, other: &Self) {
        for (size, count) in &other.sizes {
            self.add_size(*size, *count);
        }
    }

    /// The value below which `share` (0 to 1) of all values lie; `None` when there are none.
    pub fn percentile(&self, share: f64) -> Option<f64> {
        let count: u64 = self.sizes.iter().map(|(_, count)| count).sum();
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank of more than 2^53 values may be off by one; a float cast saturates"
        )]
        let rank = ((share.clamp(0.0, 1.0) * count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let of_rank = self.sizes.iter().find(|(_, count)| {
            seen += count;
            seen >= rank
        });
        of_rank.map(|(size, _)| middle(*size))
    }

    /// The sizes and their counts, as they are stored.
    pub fn parts(&self) -> &[(u32, u64)] {
        &self.sizes
    }

    /// A sketch again, out of what was stored, in any order.
    pub fn from_parts(parts: &[(u32, u64)]) -> Self {
        let mut sketch = Self::default();
        for (size, count) in parts {
            sketch.add_size(*size, *count);
        }
        sketch
    }
}

/// The size of a value.
fn size(value: f64) -> u32 {
    // What is not a number is not above zero either.
    if value.is_nan() || value <= 0.0 {
        return 0;
    }
    let bits = value.clamp(SIZE_MIN, SIZE_MAX).to_bits() >> SHIFT;
    u32::try_from(bits).unwrap_or(u32::MAX)
}

/// The middle of the values of a size.
fn middle(size: u32) -> f64 {
    if size == 0 {
        return 0.0;
    }
    let least = f64::from_bits(u64::from(size) << SHIFT);
    let exponent = i32::try_from(size >> FRACTION_BITS).unwrap_or(0) - EXPONENT_BIAS;
    let width = 2f64.powi(exponent) / f64::from(1u32 << FRACTION_BITS);
    least + width / 2.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn zero_negative_and_no_number_are_zero() {
        let mut sketch = Sketch::default();
        assert_eq!(sketch.percentile(0.5), None);
        for value in [0.0, -3.0, f64::NAN] {
            sketch.add(value);
        }
        assert_eq!(sketch.percentile(0.99), Some(0.0));
        sketch.add(f64::INFINITY);
        assert!(sketch.percentile(1.0).unwrap() >= SIZE_MAX);
    }

    proptest! {
        #[test]
        fn a_percentile_is_within_its_bound(mut values in prop::collection::vec(0.001f64..1e9, 1..200), share in 0.0f64..=1.0) {
            let mut sketch = Sketch::default();
            values.iter().for_each(|value| sketch.add(*value));
            values.sort_by(f64::total_cmp);
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "few values")]
            let rank = ((share * values.len() as f64).ceil() as usize).max(1);
            let (exact, told) = (values[rank - 1], sketch.percentile(share).unwrap());
            prop_assert!((told - exact).abs() <= exact / 128.0 * 1.000_001, "{told} for {exact}");
        }

        #[test]
        fn merging_is_adding_in_any_order(left in prop::collection::vec(0.0f64..1e6, 0..50), right in prop::collection::vec(0.0f64..1e6, 0..50)) {
            let of = |values: &[f64]| {
                let mut sketch = Sketch::default();
                values.iter().for_each(|value| sketch.add(*value));
                sketch
            };
            let (mut a, mut b) = (of(&left), of(&right));
            a.merge(&of(&right));
            b.merge(&of(&left));
            let all: Vec<f64> = left.iter().chain(&right).copied().collect();
            prop_assert_eq!(&a, &of(&all));
            prop_assert_eq!(&a, &b);
            prop_assert_eq!(Sketch::from_parts(a.parts()), b);
        }
    }
}
