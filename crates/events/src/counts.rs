//! What mappings did since the server began: AWS's group of metrics `EventCount`.

use std::sync::atomic::{AtomicU64, Ordering};

/// The counts of one mapping, or of all together.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) polled: AtomicU64,
    pub(crate) filtered_out: AtomicU64,
    pub(crate) invoked: AtomicU64,
    pub(crate) failed_invoke: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) on_failure_delivered: AtomicU64,
    pub(crate) deleted: AtomicU64,
}

/// A reading of the counts, by the names of AWS's metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EventCounts {
    /// `PolledEventCount`: records that were read.
    pub polled: u64,
    /// `FilteredOutEventCount`: records that no filter let pass.
    pub filtered_out: u64,
    /// `InvokedEventCount`: records that functions were called with, each time anew.
    pub invoked: u64,
    /// `FailedInvokeEventCount`: those that failed.
    pub failed_invoke: u64,
    /// `DroppedEventCount`: records that were given up.
    pub dropped: u64,
    /// `OnFailureDestinationDeliveredEventCount`: those that a destination was told of.
    pub on_failure_delivered: u64,
    /// `DeletedEventCount`: messages that were removed from their queue.
    pub deleted: u64,
}

/// Adds to one of the counts.
pub(crate) fn add(count: &AtomicU64, number: usize) {
    count.fetch_add(u64::try_from(number).unwrap_or(u64::MAX), Ordering::Relaxed);
}

impl Counts {
    pub(crate) fn read(&self) -> EventCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        EventCounts {
            polled: read(&self.polled),
            filtered_out: read(&self.filtered_out),
            invoked: read(&self.invoked),
            failed_invoke: read(&self.failed_invoke),
            dropped: read(&self.dropped),
            on_failure_delivered: read(&self.on_failure_delivered),
            deleted: read(&self.deleted),
        }
    }
}
