//! The time and the randomness of the machine, behind the traits of `wire`.
//!
//! The only place of the server that reads the system's clock; everything else is given a [`Clock`] or a time.

use std::{
    cell::RefCell,
    time::{SystemTime, UNIX_EPOCH},
};

use gatemill_wire::{Clock, Entropy, Timestamp};

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the clock that everyone else is given")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// The kernel's randomness, fetched some hundred bytes at a time: a call wants three ids, and a system call for each
/// would cost more than the ids. Bytes are wiped as they are given out, and a thread shares them with no other.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SystemEntropy;

const POOL_BYTES: usize = 512;

struct Pool {
    bytes: [u8; POOL_BYTES],
    used: usize,
}

thread_local! {
    static POOL: RefCell<Pool> =
        const { RefCell::new(Pool { bytes: [0; POOL_BYTES], used: POOL_BYTES }) };
}

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        if buffer.len() > POOL_BYTES {
            return from_kernel(buffer);
        }
        POOL.with_borrow_mut(|pool| {
            if POOL_BYTES - pool.used < buffer.len() {
                from_kernel(&mut pool.bytes);
                pool.used = 0;
            }
            let fresh = &mut pool.bytes[pool.used..pool.used + buffer.len()];
            buffer.copy_from_slice(fresh);
            fresh.fill(0);
            pool.used += buffer.len();
        });
    }
}

fn from_kernel(buffer: &mut [u8]) {
    getrandom::fill(buffer).expect("Linux gives randomness to every process once it has booted");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_of_this_era_and_random_bytes_differ() {
        assert!(SystemClock.now().millis() > 1_760_000_000_000);
        let (mut a, mut b) = ([0; 16], [0; 16]);
        SystemEntropy.fill(&mut a);
        SystemEntropy.fill(&mut b);
        assert_ne!(a, b);
    }

    #[test]
    fn no_byte_is_given_twice_across_refills() {
        let mut seen = std::collections::HashSet::new();
        for length in [16, 33, 200, 511, 512, 513, 16].repeat(20) {
            let mut buffer = vec![0; length];
            SystemEntropy.fill(&mut buffer);
            assert!(buffer.chunks_exact(16).all(|chunk| seen.insert(chunk.to_vec())));
        }
    }
}
