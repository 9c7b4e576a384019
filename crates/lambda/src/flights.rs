//! Calls in flight: how many, and when the last one has landed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::Error;

/// The calls that run now.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    count: AtomicUsize,
    draining: AtomicBool,
    landed: Notify,
}

/// One call.
#[derive(Debug)]
pub(crate) struct Flight<'a>(&'a Flights);

impl Flights {
    /// Begins a call, unless the server is about to end.
    pub(crate) fn board(&self) -> Result<Flight<'_>, Error> {
        // Counted first: whoever drains sees either the count or is seen by this call.
        self.count.fetch_add(1, Ordering::SeqCst);
        let flight = Flight(self);
        if self.draining.load(Ordering::SeqCst) { Err(Error::Draining) } else { Ok(flight) }
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Lets no further call begin, and returns when none is left.
    pub(crate) async fn drained(&self) {
        self.draining.store(true, Ordering::SeqCst);
        loop {
            let landed = self.landed.notified();
            if self.count.load(Ordering::SeqCst) == 0 {
                return;
            }
            landed.await;
        }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let before = self.0.count.fetch_sub(1, Ordering::SeqCst);
        if before == 1 && self.0.draining.load(Ordering::SeqCst) {
            self.0.landed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn draining_waits_for_the_last_and_lets_none_begin() {
        let flights = Flights::default();
        let flight = flights.board().unwrap();
        let drained = flights.drained();
        tokio::pin!(drained);
        tokio::select! {
            biased;
            () = &mut drained => panic!("a call is in flight"),
            () = std::future::ready(()) => {}
        }
        assert!(matches!(flights.board(), Err(Error::Draining)));
        drop(flight);
        drained.await;
        assert_eq!(flights.count(), 0);
    }
}
