//! What is still running: connections and calls, counted so that a stop can wait for them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::sync::Notify;

/// Counts what runs. Cheap to clone; all clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct InFlight(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    count: AtomicUsize,
    none: Notify,
    leaving: AtomicBool,
}

/// One thing that runs, until it is dropped.
#[derive(Debug)]
pub(crate) struct Running(Arc<Inner>);

impl InFlight {
    /// Counts one more thing.
    pub(crate) fn enter(&self) -> Running {
        self.0.count.fetch_add(1, Ordering::AcqRel);
        Running(Arc::clone(&self.0))
    }

    /// From now on, connections shall end with their next answer.
    pub(crate) fn leave(&self) {
        self.0.leaving.store(true, Ordering::Relaxed);
    }

    /// Whether they shall.
    pub(crate) fn is_leaving(&self) -> bool {
        self.0.leaving.load(Ordering::Relaxed)
    }

    /// How many things run now.
    pub(crate) fn count(&self) -> usize {
        self.0.count.load(Ordering::Acquire)
    }

    /// Waits until nothing runs.
    pub(crate) async fn none(&self) {
        loop {
            let notified = self.0.none.notified();
            if self.count() == 0 {
                return;
            }
            notified.await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn none_waits_for_the_last() {
        let calls = InFlight::default();
        calls.none().await;
        let (first, second) = (calls.enter(), calls.enter());
        let waiting = tokio::spawn({
            let calls = calls.clone();
            async move { calls.none().await }
        });
        drop(first);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        assert_eq!(calls.count(), 1);
        drop(second);
        waiting.await.unwrap();
    }
}
