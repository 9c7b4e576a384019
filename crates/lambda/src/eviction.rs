//! Which idle environments go first when memory is short: greedy dual with size and frequency.
//!
//! An environment is worth what making it again would cost, times how often it was used, per byte that it holds; a clock
//! that moves up to the worth of whatever was evicted last makes old merits count less and less. So a Python environment
//! that is forked in milliseconds goes before a Java one that took a second, the surplus of a burst before the one that
//! takes most calls, and a large one before a small one. The cost is measured at each environment's own start.
//!
//! The method is that of caches (GreedyDual-Size-Frequency), whose use for functions is well studied.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// Uses that count at most, so that one busy hour does not keep an environment for a week.
const USES_MAX: u32 = 1 << 16;

/// The clock of greedy dual: the worth of what was evicted last, as the bits of a float.
#[derive(Debug, Default)]
pub(crate) struct Clock(AtomicU64);

impl Clock {
    fn now(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }

    /// What an environment is worth that gets idle now: microseconds of start per KiB, and the clock.
    pub(crate) fn worth(&self, uses: u32, start: Duration, bytes: u64) -> f64 {
        let kib = u32::try_from(bytes / 1024).unwrap_or(u32::MAX).max(1);
        let start_us = start.as_secs_f64() * 1e6;
        self.now() + f64::from(uses.min(USES_MAX)) * start_us / f64::from(kib)
    }

    fn move_to(&self, worth: f64) {
        if worth > self.now() {
            self.0.store(worth.to_bits(), Ordering::Relaxed);
        }
    }
}

/// An idle environment, as eviction sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) worth: f64,
    pub(crate) idle_since: Instant,
    pub(crate) bytes: u64,
}

impl Candidate {
    /// The order in which they go: the least worth first, and of equals the one that idles longest.
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        self.worth.total_cmp(&other.worth).then(self.idle_since.cmp(&other.idle_since))
    }

    /// Whether this one goes when `last` is the last that has to.
    pub(crate) fn goes_with(&self, last: &Self) -> bool {
        self.order(last).is_le()
    }
}

/// The last of those that have to go so that what stays fits the budget; `None` when everything fits. The clock moves on.
pub(crate) fn last_to_go(
    mut candidates: Vec<Candidate>,
    budget: u64,
    clock: &Clock,
) -> Option<Candidate> {
    let mut total: u64 = candidates.iter().map(|one| one.bytes).sum();
    if total <= budget {
        return None;
    }
    candidates.sort_unstable_by(Candidate::order);
    let mut last = None;
    for candidate in candidates {
        if total <= budget {
            break;
        }
        total -= candidate.bytes;
        last = Some(candidate);
    }
    if let Some(last) = &last {
        clock.move_to(last.worth);
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn candidate(clock: &Clock, uses: u32, start_ms: u64, mib: u64) -> Candidate {
        let bytes = mib * MIB;
        let worth = clock.worth(uses, Duration::from_millis(start_ms), bytes);
        Candidate { worth, idle_since: Instant::now(), bytes }
    }

    fn gone(candidates: &[Candidate], budget_mib: u64, clock: &Clock) -> Vec<usize> {
        let last = last_to_go(candidates.to_vec(), budget_mib * MIB, clock);
        let goes = |one: &Candidate| last.is_some_and(|last| one.goes_with(&last));
        (0..candidates.len()).filter(|at| goes(&candidates[*at])).collect()
    }

    #[test]
    fn nothing_goes_while_everything_fits() {
        let clock = Clock::default();
        let all = [candidate(&clock, 1, 3, 10), candidate(&clock, 1, 900, 90)];
        assert_eq!(gone(&all, 100, &clock), [0; 0]);
        assert!(clock.now() < f64::EPSILON);
    }

    #[test]
    fn what_is_cheap_to_make_large_or_seldom_used_goes_first() {
        let clock = Clock::default();
        let python = candidate(&clock, 5, 3, 10);
        let java = candidate(&clock, 5, 900, 60);
        assert_eq!(gone(&[java, python], 69, &clock), [1]);
        let small = candidate(&clock, 5, 30, 10);
        let large = candidate(&clock, 5, 30, 100);
        assert_eq!(gone(&[large, small], 100, &clock), [0]);
        let busy = candidate(&clock, 5_000, 30, 10);
        assert_eq!(gone(&[busy, small], 19, &clock), [1]);
    }

    #[test]
    fn of_equals_as_many_go_as_have_to_the_oldest_first() {
        let clock = Clock::default();
        let mut all: Vec<_> = (0..4).map(|_| candidate(&clock, 1, 30, 10)).collect();
        for (age, one) in all.iter_mut().enumerate() {
            one.idle_since += Duration::from_secs(age as u64);
        }
        all.swap(0, 3);
        assert_eq!(gone(&all, 25, &clock), [1, 3]);
    }

    #[test]
    fn old_merits_fade() {
        let clock = Clock::default();
        let once_busy = candidate(&clock, 1_000, 30, 10);
        for _ in 0..100 {
            // Newcomers push each other out, and each that goes moves the clock.
            let newcomer = candidate(&clock, 40, 30, 10);
            let which = gone(&[once_busy, newcomer], 10, &clock);
            if which == [0] {
                return;
            }
        }
        panic!("it was kept for ever for what it did once");
    }
}
