//! Pauses that grow while something fails.

use std::{sync::Arc, time::Duration};

use gatemill_wire::Entropy;

use crate::limits::RETRY_FIRST;

/// The pauses of one thing that is tried again.
pub(crate) struct Backoff {
    next: Duration,
    most: Duration,
    entropy: Arc<dyn Entropy>,
}

impl Backoff {
    pub(crate) fn new(most: Duration, entropy: &Arc<dyn Entropy>) -> Self {
        Self { next: RETRY_FIRST, most, entropy: Arc::clone(entropy) }
    }

    /// The next pause: between a half and all of what doubles each time.
    pub(crate) fn pause(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.most);
        let mut byte = [0];
        self.entropy.fill(&mut byte);
        whole.mul_f64(0.5 + f64::from(byte[0]) / 510.0)
    }

    /// It went well: begin anew.
    pub(crate) fn reset(&mut self) {
        self.next = RETRY_FIRST;
    }
}
