//! Whether a thread should wait on the spot for a function's answer.
//!
//! A function that answers within microseconds is best waited for by its data-plane thread itself: the environment runs on
//! the core that the thread leaves free, the answer finds both warm, and the next request gets the same environment again.
//! Going through the reactor instead lets every request of a batch begin before the first is answered, in an environment
//! of its own each, and a few dozen interpreters that take turns on two cores spend most of their time on cold caches: 240
//! instead of 80 µs of CPU per call in our measurements (`docs/performance.md`).
//!
//! While a thread waits so, its other connections wait, too. Therefore the wait is short
//! ([`ON_THE_SPOT`](crate::limits::ON_THE_SPOT)), and a function that did not answer in it is not waited for again for a
//! number of calls that doubles with every miss. What a slow function costs its neighbours in that way is bounded by one
//! such wait in [`SPOT_PAUSE_MAX`](crate::limits::SPOT_PAUSE_MAX) calls.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::limits::{SPOT_PAUSE_MAX, SPOT_PAUSE_MIN};

/// How a deployment's calls went, for the next one. Shared by its environments; a lost update costs one wait.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Calls that are not waited for yet.
    pause: AtomicU32,
    /// How long the last pause was; 0 when the last wait was worth it.
    last_pause: AtomicU32,
}

impl Pace {
    /// Whether this call is to be waited for; counts it.
    pub(crate) fn is_quick(&self) -> bool {
        let pause = self.pause.load(Ordering::Relaxed);
        if pause > 0 {
            self.pause.store(pause - 1, Ordering::Relaxed);
        }
        pause == 0
    }

    /// The answer came in time.
    pub(crate) fn hit(&self) {
        // Read first: the line is shared by all threads, and nearly always says this already.
        if self.last_pause.load(Ordering::Relaxed) != 0 {
            self.last_pause.store(0, Ordering::Relaxed);
        }
    }

    /// It did not.
    pub(crate) fn miss(&self) {
        let last = self.last_pause.load(Ordering::Relaxed);
        let next = last.saturating_mul(2).clamp(SPOT_PAUSE_MIN, SPOT_PAUSE_MAX);
        self.last_pause.store(next, Ordering::Relaxed);
        self.pause.store(next, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls that are not waited for before the next one that is.
    fn pause(pace: &Pace) -> u32 {
        (0..=SPOT_PAUSE_MAX).find(|_| pace.is_quick()).expect("pauses end")
    }

    #[test]
    fn pauses_double_up_to_their_limit_and_a_hit_ends_them() {
        let pace = Pace::default();
        assert_eq!(pause(&pace), 0);
        let mut expected = SPOT_PAUSE_MIN;
        for _ in 0..20 {
            pace.miss();
            assert_eq!(pause(&pace), expected);
            expected = (expected * 2).min(SPOT_PAUSE_MAX);
        }
        pace.hit();
        assert_eq!(pause(&pace), 0);
        pace.miss();
        assert_eq!(pause(&pace), SPOT_PAUSE_MIN);
    }
}
