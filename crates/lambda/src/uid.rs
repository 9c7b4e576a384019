//! A host uid of its own for every environment that lives.
//!
//! Slots are handed out round and round, so that one is not given again soon after its environment ended. Nothing on the
//! disk belongs to a slot, so nothing has to be stored.

use std::sync::{Arc, Mutex, PoisonError};

use crate::limits::ENVIRONMENTS_MAX;

/// The slots.
#[derive(Debug, Clone)]
pub(crate) struct Uids(Arc<Mutex<Slots>>);

#[derive(Debug)]
struct Slots {
    next: u32,
    taken: Vec<bool>,
}

/// One slot, free again when dropped.
#[derive(Debug)]
pub(crate) struct UidSlot {
    slot: u32,
    uids: Uids,
}

impl UidSlot {
    pub(crate) fn slot(&self) -> u32 {
        self.slot
    }
}

impl Default for Uids {
    fn default() -> Self {
        let taken = vec![false; usize::try_from(ENVIRONMENTS_MAX).expect("a small number")];
        Self(Arc::new(Mutex::new(Slots { next: 0, taken })))
    }
}

impl Uids {
    /// A free slot; `None` when [`ENVIRONMENTS_MAX`] environments live.
    pub(crate) fn take(&self) -> Option<UidSlot> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..ENVIRONMENTS_MAX {
            let slot = slots.next;
            slots.next = (slot + 1) % ENVIRONMENTS_MAX;
            let taken = &mut slots.taken[usize::try_from(slot).expect("a small number")];
            if !std::mem::replace(taken, true) {
                return Some(UidSlot { slot, uids: self.clone() });
            }
        }
        None
    }
}

impl Drop for UidSlot {
    fn drop(&mut self) {
        let mut slots = self.uids.0.lock().unwrap_or_else(PoisonError::into_inner);
        slots.taken[usize::try_from(self.slot).expect("a small number")] = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_distinct_and_come_back_late() {
        let uids = Uids::default();
        let first = uids.take().unwrap();
        let second = uids.take().unwrap();
        assert_ne!(first.slot(), second.slot());
        let freed = first.slot();
        drop(first);
        let third = uids.take().unwrap();
        assert_ne!(third.slot(), freed);
        let all: Vec<_> = std::iter::from_fn(|| uids.take()).collect();
        assert_eq!(all.len(), usize::try_from(ENVIRONMENTS_MAX).unwrap() - 2);
        assert!(all.iter().any(|slot| slot.slot() == freed));
    }
}
