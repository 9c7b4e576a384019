//! Numbers from a seed, for tests that must be able to say what they did.

use std::hash::{BuildHasher, RandomState};

/// xorshift64*: small, and good enough to choose what a test does.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        // Zero would stay zero.
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// From 0 to `below`, without it.
    pub(crate) fn below(&mut self, below: usize) -> usize {
        let below = u64::try_from(below).unwrap();
        usize::try_from(self.next() % below).unwrap()
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// A seed that differs from run to run, unless `GATEMILL_SEED` sets it. Whoever takes one prints it.
pub(crate) fn seed() -> u64 {
    match std::env::var_os("GATEMILL_SEED") {
        Some(seed) => seed.to_str().and_then(|seed| seed.parse().ok()).expect("a number"),
        None => RandomState::new().hash_one("seed"),
    }
}
