//! Throttle: the rate and burst limits that a stage sets for its routes.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use gatemill_wire::Timestamp;

use super::{Refusal, Refused, parse::Place, route::Routed};

/// What a limit that is not set is beside one that is: AWS's account limits.
const DEFAULT_RATE: f64 = 10_000.0;
const DEFAULT_BURST: i32 = 5_000;

/// A token bucket. One number holds it: the time at which it will be full again, in microseconds.
#[derive(Debug)]
pub(crate) struct Bucket {
    rate: f64,
    burst: i32,
    /// Microseconds for one token; `None` when no request is let through.
    step: Option<u64>,
    full_at: AtomicU64,
}

/// The buckets of accounts, which all their APIs in a region share.
#[derive(Debug, Default)]
pub(crate) struct AccountBuckets {
    limit: (Option<f64>, Option<i32>),
    buckets: papaya::HashMap<(String, String), Arc<Bucket>>,
}

impl AccountBuckets {
    /// Buckets with this rate a second and this burst; without either there is no limit.
    pub(crate) fn new(rate: Option<f64>, burst: Option<i32>) -> Self {
        Self { limit: (rate, burst), buckets: papaya::HashMap::new() }
    }

    /// The bucket of an account in a region.
    pub(crate) fn of(&self, account: &str, region: &str) -> Option<Arc<Bucket>> {
        let (rate, burst) = self.limit;
        let full = Bucket::new(rate, burst)?;
        let key = (account.to_owned(), region.to_owned());
        Some(Arc::clone(self.buckets.pin().get_or_insert(key, Arc::new(full))))
    }
}

/// The limits of the route and of the account.
pub(super) fn throttle(place: &Place, routed: &Routed<'_>, now: Timestamp) -> Result<(), Refused> {
    let (account, route) = (place.stage.bucket.as_deref(), routed.route.bucket.as_deref());
    take(account, route, now).map_err(|why| Refusal::TooManyRequests.because(why))
}

/// Takes a token of a route's bucket and one of its account's; else says whose limit is reached. The route comes first, so
/// that what is refused there takes nothing of the account's other APIs.
pub(crate) fn take(
    account: Option<&Bucket>,
    route: Option<&Bucket>,
    now: Timestamp,
) -> Result<(), &'static str> {
    if route.is_some_and(|bucket| !bucket.take(now)) {
        return Err("the route's rate limit is reached");
    }
    if account.is_some_and(|bucket| !bucket.take(now)) {
        return Err("the account's rate limit is reached");
    }
    Ok(())
}

impl Bucket {
    /// A full bucket; `None` when there is no limit.
    pub(crate) fn new(rate: Option<f64>, burst: Option<i32>) -> Option<Self> {
        if rate.is_none() && burst.is_none() {
            return None;
        }
        let (rate, burst) = (rate.unwrap_or(DEFAULT_RATE), burst.unwrap_or(DEFAULT_BURST));
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float cast saturates, and the rate is positive"
        )]
        let step = (rate > 0.0 && burst > 0).then(|| (1_000_000.0 / rate) as u64);
        Some(Self { rate, burst, step, full_at: AtomicU64::new(0) })
    }

    /// Whether this bucket has the limits of another.
    pub(crate) fn same_limits(&self, other: &Self) -> bool {
        self.rate.to_bits() == other.rate.to_bits() && self.burst == other.burst
    }

    /// Takes a token, if there is one.
    pub(crate) fn take(&self, now: Timestamp) -> bool {
        let Some(step) = self.step else { return false };
        let now = now.millis().unsigned_abs().saturating_mul(1_000);
        let room = step.saturating_mul(u64::from(self.burst.unsigned_abs()));
        let taken = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
            let full_at = full_at.max(now).saturating_add(step);
            (full_at - now <= room).then_some(full_at)
        });
        taken.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let bucket = Bucket::new(Some(10.0), Some(3)).unwrap();
        let at = |ms: i64| bucket.take(Timestamp(1_000_000 + ms));
        assert_eq!([at(0), at(0), at(0), at(0)], [true, true, true, false]);
        assert_eq!([at(99), at(100), at(100), at(350)], [false, true, false, true]);
        assert_eq!((0..10).filter(|_| at(60_000)).count(), 3);
    }

    #[test]
    fn zero_lets_nothing_through_and_nothing_is_no_limit() {
        assert!(!Bucket::new(Some(0.0), None).unwrap().take(Timestamp(5)));
        assert!(!Bucket::new(None, Some(0)).unwrap().take(Timestamp(5)));
        assert!(Bucket::new(None, None).is_none());
        let open = Bucket::new(None, Some(2)).unwrap();
        assert_eq!(
            [open.take(Timestamp(5)), open.take(Timestamp(5)), open.take(Timestamp(5))],
            [true, true, false]
        );
    }
}
