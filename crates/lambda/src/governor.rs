//! The start governor: how many environments are made at one time, and whose turn it is.
//!
//! Making an environment is CPU; making a thousand at once makes each of them late. Slots go round the functions that
//! wait, one each, so that one function's burst does not keep another's first call waiting.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::oneshot;
use uuid::Uuid;

/// Hands out start slots.
#[derive(Debug, Clone)]
pub(crate) struct Governor(Arc<Mutex<Waiting>>);

#[derive(Debug)]
struct Waiting {
    free: usize,
    /// The deployments that wait, in the order of their turns.
    turns: VecDeque<Uuid>,
    queues: HashMap<Uuid, VecDeque<oneshot::Sender<StartSlot>>>,
}

/// Leave to make one environment; given on when dropped.
#[derive(Debug)]
pub(crate) struct StartSlot(Option<Governor>);

impl Governor {
    pub(crate) fn new(at_once: usize) -> Self {
        let waiting =
            Waiting { free: at_once.max(1), turns: VecDeque::new(), queues: HashMap::new() };
        Self(Arc::new(Mutex::new(waiting)))
    }

    /// Waits for this deployment's turn. Giving up the future gives up the turn.
    pub(crate) async fn slot(&self, deployment: Uuid) -> StartSlot {
        let turn = {
            let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.free > 0 {
                waiting.free -= 1;
                return StartSlot(Some(self.clone()));
            }
            let (sender, turn) = oneshot::channel();
            let queue = waiting.queues.entry(deployment).or_default();
            queue.push_back(sender);
            if queue.len() == 1 {
                waiting.turns.push_back(deployment);
            }
            turn
        };
        turn.await.expect("a queue outlives those who wait in it")
    }

    /// Gives a slot to the next that waits, or keeps it as free.
    fn release(&self) {
        loop {
            let next = {
                let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(next) = waiting.next() else {
                    waiting.free += 1;
                    return;
                };
                next
            };
            match next.send(StartSlot(Some(self.clone()))) {
                Ok(()) => return,
                // Gave up. The slot that comes back is emptied: releasing it by its drop would recurse.
                Err(mut slot) => slot.0 = None,
            }
        }
    }
}

impl Waiting {
    fn next(&mut self) -> Option<oneshot::Sender<StartSlot>> {
        let deployment = self.turns.pop_front()?;
        let queue = self.queues.get_mut(&deployment)?;
        let next = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&deployment);
        } else {
            self.turns.push_back(deployment);
        }
        next
    }
}

impl Drop for StartSlot {
    fn drop(&mut self) {
        if let Some(governor) = &self.0 {
            governor.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_go_round_the_functions() {
        let governor = Governor::new(1);
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let held = governor.slot(a).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for (name, deployment) in [("a1", a), ("a2", a), ("a3", a), ("b1", b)] {
            let (governor, order) = (governor.clone(), Arc::clone(&order));
            tasks.push(tokio::spawn(async move {
                let _slot = governor.slot(deployment).await;
                order.lock().unwrap().push(name);
            }));
            tokio::task::yield_now().await;
        }
        drop(held);
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), ["a1", "b1", "a2", "a3"]);
        assert_eq!(governor.0.lock().unwrap().free, 1);
    }

    #[tokio::test]
    async fn who_gives_up_holds_nothing() {
        let governor = Governor::new(1);
        let held = governor.slot(Uuid::nil()).await;
        let waiting = {
            let governor = governor.clone();
            tokio::spawn(async move { governor.slot(Uuid::nil()).await })
        };
        tokio::task::yield_now().await;
        waiting.abort();
        let _ = waiting.await;
        drop(held);
        assert_eq!(governor.0.lock().unwrap().free, 1);
        assert!(governor.0.lock().unwrap().queues.is_empty());
    }
}
