//! Asynchronous invocation: events that are accepted now and run later, and are never lost.
//!
//! `accept` puts an event into the store and answers when it is durable. A worker runs events as calls run that
//! somebody waits for, and settles each: once, by its id and the epoch that the worker saw. What is to be told of it
//! (destinations, the dead-letter queue) is written down in the transaction that settles it and delivered by a second
//! worker. Both workers, and the server, may be killed at any instant: what was not settled runs again.
//!
//! | module | what it holds |
//! |---|---|
//! | `accept` | from a request to a durable event |
//! | `lanes` | which events wait, and whose turn it is; memory alone |
//! | `attempt` | the worker: one attempt after another, and settling |
//! | `verdict` | what becomes of an event after an attempt |
//! | `delivery` | telling of settled events |
//! | `lineage` | loops of functions |
//! | `record` | what is stored |
//!
//! It gives no order of execution and does not keep an event from running twice; AWS does neither.

pub(crate) mod accept;
pub(crate) mod attempt;
pub(crate) mod delivery;
mod lanes;
pub(crate) mod lineage;
pub(crate) mod record;
pub(crate) mod verdict;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use self::{lanes::Lanes, record::CountsRecord};
use crate::{Error, Lambda};

/// The state of asynchronous invocation.
#[derive(Debug)]
pub(crate) struct Events {
    pub(crate) lanes: Arc<Lanes>,
    last_order: AtomicU64,
    pub(crate) tallies: EventTallies,
}

/// Counts since the server began.
#[derive(Debug, Default)]
pub(crate) struct EventTallies {
    pub(crate) received: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) begun: AtomicU64,
    pub(crate) age_ms: AtomicU64,
    pub(crate) dead_letter_errors: AtomicU64,
    pub(crate) delivery_failures: AtomicU64,
    pub(crate) loops_stopped: AtomicU64,
}

/// Asynchronous invocation in numbers, since the server began: AWS's metrics of that name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EventStatus {
    /// Events that wait for their turn or their time.
    pub waiting: usize,
    /// `AsyncEventsReceived`.
    pub received: u64,
    /// `AsyncEventsDropped`: settled without success.
    pub dropped: u64,
    /// Attempts that began; [`Self::age_ms`] is the sum over them.
    pub begun: u64,
    /// `AsyncEventAge`: from acceptance to an attempt, in milliseconds, all attempts together.
    pub age_ms: u64,
    /// `DeadLetterErrors`.
    pub dead_letter_errors: u64,
    /// `DestinationDeliveryFailures`.
    pub destination_delivery_failures: u64,
    /// `RecursiveInvocationsDropped`.
    pub recursive_invocations_dropped: u64,
}

/// How many events of all functions came and went, ever: the store's counts, which survive the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EventCounts {
    /// Acknowledged with 202.
    pub accepted: u64,
    /// Settled with success.
    pub succeeded: u64,
    /// Settled without.
    pub failed: u64,
    /// Settled because their function was gone.
    pub dropped: u64,
    /// Settled ones that are still to be told of; of this moment.
    pub deliveries: u64,
}

impl Events {
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            lanes: Arc::new(Lanes::new(2 * shards)),
            last_order: AtomicU64::new(0),
            tallies: EventTallies::default(),
        }
    }

    /// A number that is greater than all before, and at least the time in the upper 44 bits.
    fn next_order(&self, now_ms: i64) -> u64 {
        let floor = u64::try_from(now_ms).unwrap_or(0) << 20;
        let next = |last: u64| Some(floor.max(last + 1));
        let last = self.last_order.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        floor.max(last.unwrap_or(0) + 1)
    }

    pub(crate) fn status(&self) -> EventStatus {
        let count = |tally: &AtomicU64| tally.load(Ordering::Relaxed);
        let tallies = &self.tallies;
        EventStatus {
            waiting: self.lanes.waiting(),
            received: count(&tallies.received),
            dropped: count(&tallies.dropped),
            begun: count(&tallies.begun),
            age_ms: count(&tallies.age_ms),
            dead_letter_errors: count(&tallies.dead_letter_errors),
            destination_delivery_failures: count(&tallies.delivery_failures),
            recursive_invocations_dropped: count(&tallies.loops_stopped),
        }
    }
}

/// The store's counts of all functions together.
pub(crate) fn counts(lambda: &Lambda) -> Result<EventCounts, Error> {
    let (all, deliveries) = lambda.store.read(|tx| {
        let all = gatemill_store::Key::empty();
        let deliveries = record::DELIVERIES.count(tx, &all)?;
        Ok::<_, Error>((record::COUNTS.scan(tx, &all, None, usize::MAX)?, deliveries))
    })?;
    let deliveries = u64::try_from(deliveries).unwrap_or(u64::MAX);
    let mut sum = EventCounts { deliveries, ..EventCounts::default() };
    for (_, CountsRecord { accepted, succeeded, failed, dropped }) in all {
        sum.accepted += accepted;
        sum.succeeded += succeeded;
        sum.failed += failed;
        sum.dropped += dropped;
    }
    Ok(sum)
}

pub(crate) fn bump(tally: &AtomicU64) {
    tally.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_grow_whatever_the_clock_does() {
        let events = Events::new(1);
        let orders = [5, 5, 4, 6].map(|now_ms| events.next_order(now_ms));
        assert_eq!(orders, [5 << 20, (5 << 20) + 1, (5 << 20) + 2, 6 << 20]);
    }
}
