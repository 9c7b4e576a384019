//! A token bucket in one atomic word.
//!
//! The word is the instant at which the bucket would be full again; taking a token moves it on by the time that a token
//! takes to come back (the generic cell rate algorithm). So there is no timer, no lock, and a bucket at rest costs nothing.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// What a bucket holds and how fast it fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Tokens that come in a second; 0 gives none at all.
    pub(crate) per_second: u64,
    /// Tokens that a full bucket holds.
    pub(crate) burst: u64,
}

/// A bucket, full at first.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    /// Nanoseconds, counted as `now` is.
    full_at: AtomicU64,
}

const NANOS: u64 = 1_000_000_000;

impl Bucket {
    /// Takes one token. `now` is counted from any instant that stays the same. The rate may differ from call to call: it
    /// follows the setting that it comes from.
    pub(crate) fn take(&self, now: Duration, rate: Rate) -> bool {
        let Some(token) = NANOS.checked_div(rate.per_second) else { return false };
        let now = nanos(now);
        let latest = now.saturating_add(token.saturating_mul(rate.burst));
        let taken = |full_at: u64| {
            let next = full_at.max(now).saturating_add(token);
            (next <= latest).then_some(next)
        };
        self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok()
    }

    /// Puts back a token that was taken and not used.
    pub(crate) fn put_back(&self, rate: Rate) {
        let token = NANOS.checked_div(rate.per_second).unwrap_or(0);
        let back = |full_at: u64| Some(full_at.saturating_sub(token));
        // Never fails: the closure always gives a value.
        let _ = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, back);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 100, burst: 1_000 };

    fn taken(bucket: &Bucket, at_ms: u64, rate: Rate) -> usize {
        let now = Duration::from_millis(at_ms);
        (0..5_000).take_while(|_| bucket.take(now, rate)).count()
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let bucket = Bucket::default();
        assert_eq!(taken(&bucket, 0, RATE), 1_000);
        assert_eq!(taken(&bucket, 5, RATE), 0);
        assert_eq!(taken(&bucket, 10, RATE), 1, "a hundredth of a second brings one");
        assert_eq!(taken(&bucket, 1_010, RATE), 100);
        assert_eq!(taken(&bucket, 11_010, RATE), 1_000, "ten seconds bring all of them");
        assert_eq!(taken(&bucket, 100_000, RATE), 1_000, "and no more than all are saved up");
    }

    #[test]
    fn tokens_that_are_put_back() {
        let bucket = Bucket::default();
        assert_eq!(taken(&bucket, 0, RATE), 1_000);
        bucket.put_back(RATE);
        assert_eq!(taken(&bucket, 0, RATE), 1);
    }

    #[test]
    fn a_rate_of_nothing() {
        assert_eq!(taken(&Bucket::default(), 0, Rate { per_second: 0, burst: 0 }), 0);
    }
}
