//! How many requests for messages and calls of one queue may be under way at one time.
//!
//! Two modes, as on AWS. A mapping as it comes begins with few calls and gets more while all are used. A mapping in
//! provisioned mode has event pollers of its own, never fewer than it asked for: each is a request that always waits for
//! messages, and ten calls; there are more of them while all calls are used, up to the most that it asked for. What one of
//! AWS's pollers can carry besides (1 MB and 10 requests a second) is no limit here.
//! Source: AWS Lambda developer guide, "Configuring scaling behavior for SQS event source mappings".

use gatemill_lambda::mapping::{Pollers, Settings};
use gatemill_meter::{Metric, Unit};
use tokio::time::Instant;

use crate::limits::{
    CALLS_PER_POLLER, POLLER_CALLS_GROWTH, POLLERS_PER_QUEUE, QUEUE_CALLS_FIRST,
    QUEUE_CALLS_GROWTH, QUEUE_CALLS_MAX, QUEUE_GROWTH_PERIOD,
};

/// `ProvisionedPollers`: event pollers of a mapping in provisioned mode.
pub(crate) static PROVISIONED_POLLERS: Metric =
    Metric { name: "ProvisionedPollers", unit: Unit::Count };

pub(crate) struct Scale {
    pollers: Option<Pollers>,
    /// Calls without any need for more.
    fewest: usize,
    most: usize,
    /// How many more there may be in a period.
    growth: usize,
    allowed: usize,
    requests: usize,
    looked_at: Instant,
}

impl Scale {
    pub(crate) fn new(settings: &Settings) -> Self {
        let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let (fewest, most, growth) = match settings.pollers {
            Some(Pollers { minimum, maximum }) => (
                size(minimum).saturating_mul(CALLS_PER_POLLER),
                size(maximum).saturating_mul(CALLS_PER_POLLER),
                POLLER_CALLS_GROWTH,
            ),
            None => {
                let most = settings.maximum_concurrency.map_or(QUEUE_CALLS_MAX, size);
                (QUEUE_CALLS_FIRST.min(most), most, QUEUE_CALLS_GROWTH)
            }
        };
        let mut scale = Self {
            pollers: settings.pollers,
            fewest,
            most,
            growth,
            allowed: fewest,
            requests: 1,
            looked_at: Instant::now(),
        };
        scale.requests = scale.waiting();
        scale
    }

    /// Calls that may run at one time.
    pub(crate) fn calls(&self) -> usize {
        self.allowed
    }

    /// Requests for messages that may be under way at one time: more than those that wait while the queue is full.
    pub(crate) fn requests(&self) -> usize {
        self.requests
    }

    /// Requests that wait for messages to come.
    pub(crate) fn waiting(&self) -> usize {
        self.pollers.map_or(1, |_| self.fewest.div_ceil(CALLS_PER_POLLER))
    }

    /// Event pollers, in provisioned mode.
    pub(crate) fn pollers(&self) -> Option<usize> {
        self.pollers.map(|_| self.allowed.max(self.fewest).div_ceil(CALLS_PER_POLLER))
    }

    /// When it is to be looked again how many calls are used.
    pub(crate) fn next_look(&self) -> Instant {
        self.looked_at + QUEUE_GROWTH_PERIOD
    }

    /// Lets more calls run while all that may do, and fewer while less than half of them do. Whether it was time to look.
    pub(crate) fn look(&mut self, running: usize) -> bool {
        let periods = self.looked_at.elapsed().as_millis() / QUEUE_GROWTH_PERIOD.as_millis();
        if periods == 0 {
            return false;
        }
        self.looked_at = Instant::now();
        if running >= self.allowed {
            self.allowed = (self.allowed + self.growth).min(self.most);
        } else if running < self.allowed / 2 && self.allowed > self.fewest {
            let less = self.growth.saturating_mul(usize::try_from(periods).unwrap_or(usize::MAX));
            self.allowed = self.allowed.saturating_sub(less).max(self.fewest);
        }
        true
    }

    /// The function is called too often.
    pub(crate) fn throttled(&mut self) {
        self.allowed = (self.allowed / 2).max(1);
    }

    /// A request had as many messages as it asked for, or less.
    pub(crate) fn answered(&mut self, was_full: bool) {
        let most = self.pollers().unwrap_or(POLLERS_PER_QUEUE);
        self.requests = if was_full { (self.requests * 2).min(most) } else { self.waiting() };
    }

    /// A request failed: the next one is alone.
    pub(crate) fn failed(&mut self) {
        self.requests = 1;
    }
}
