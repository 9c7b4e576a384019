//! What one key has used of one plan: its calls by day, and what of its quota is taken and reserved.
//!
//! A call is let through only out of calls that the store knows to be reserved, so that a kill cannot give any back. Blocks are
//! reserved ahead of the calls: the fewer a quota has, the smaller they are. After a kill a key has lost what was
//! reserved and not used, a twentieth of its quota at most; a clean stop gives it back.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::record::{DayRecord, Place, Quota, ReservedRecord};
use crate::limits::{QUOTA_BLOCK_MAX, QUOTA_BLOCKS};

/// Whose usage of which plan it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Use {
    pub(crate) place: Place,
    pub(crate) plan: String,
    pub(crate) key: String,
}

impl Use {
    /// Where it is stored.
    pub(crate) fn key(&self) -> gatemill_store::Key {
        self.place.of(&self.plan).and(&self.key)
    }
}

/// What one key has used of one plan.
#[derive(Debug)]
pub(crate) struct KeyUsage {
    pub(crate) of: Use,
    state: Mutex<State>,
    /// One at a time writes what is reserved.
    pub(super) reserving: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// The first day of the period that the next two are of.
    period: u64,
    /// Calls of the quota that are taken.
    used: i64,
    /// Calls of the quota that the store knows to be taken or reserved.
    reserved: i64,
    /// Whether what was reserved was given back, since the server stops.
    given_back: bool,
    /// What was left of the quota after the last call.
    remaining: Option<i64>,
    /// By day, the calls that are not stored yet.
    calls: Vec<(u64, DayRecord)>,
}

/// Whether a call may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It may; `reserve` says that it is time to reserve more.
    Yes { reserve: bool },
    /// It has to wait until more is reserved.
    NotReserved,
    /// The quota is used up.
    Over,
}

impl KeyUsage {
    /// What is known at the start: whatever was reserved counts as taken.
    pub(crate) fn new(of: Use, reserved: Option<ReservedRecord>) -> Self {
        let ReservedRecord { period, calls } = reserved.unwrap_or_default();
        let state = State { period, used: calls, reserved: calls, ..State::default() };
        Self { of, state: Mutex::new(state), reserving: tokio::sync::Mutex::new(()) }
    }

    /// Takes a call on a day.
    pub(crate) fn take(&self, quota: Option<&Quota>, day: u64) -> Taken {
        let mut state = self.state();
        let Some(quota) = quota else {
            state.remaining = None;
            state.count(day);
            return Taken::Yes { reserve: false };
        };
        let limit = i64::from(quota.limit);
        state.enter(quota, day);
        if state.used >= limit {
            return Taken::Over;
        }
        if state.used >= state.reserved {
            return Taken::NotReserved;
        }
        state.used += 1;
        state.remaining = Some(limit - state.used);
        state.count(day);
        let left = state.reserved - state.used;
        Taken::Yes { reserve: state.reserved < limit && left <= block(quota) / 2 }
    }

    /// What to reserve now; nothing where enough is, as when another who waited has reserved it.
    pub(super) fn wanted(&self, quota: &Quota) -> Option<ReservedRecord> {
        let state = self.state();
        if state.reserved - state.used > block(quota) / 2 {
            return None;
        }
        let calls = (state.used + block(quota)).min(i64::from(quota.limit));
        (calls > state.reserved).then_some(ReservedRecord { period: state.period, calls })
    }

    /// The store knows this to be reserved.
    pub(super) fn reserved(&self, record: ReservedRecord) {
        let mut state = self.state();
        if state.period == record.period {
            state.reserved = state.reserved.max(record.calls);
        }
    }

    /// Gives back what is reserved and not used; no call is taken out of it any more. Nothing where there is none.
    pub(super) fn give_back(&self) -> Option<ReservedRecord> {
        let mut state = self.state();
        let is_more = state.reserved > state.used;
        (state.reserved, state.given_back) = (state.used, true);
        is_more.then_some(ReservedRecord { period: state.period, calls: state.used })
    }

    /// Whether the server stops and has given back what was reserved.
    pub(super) fn is_given_back(&self) -> bool {
        self.state().given_back
    }

    /// What there is to store, so that this many calls are left.
    pub(super) fn with_remaining(quota: &Quota, day: u64, remaining: i64) -> ReservedRecord {
        let calls = i64::from(quota.limit).saturating_sub(remaining);
        ReservedRecord { period: quota.period_of(day), calls }
    }

    /// Whether a later period has begun than this one.
    pub(super) fn is_past(&self, record: ReservedRecord) -> bool {
        self.state().period > record.period
    }

    /// The store knows this to be taken, whatever was before; in a later period it counts no more.
    pub(super) fn set(&self, record: ReservedRecord) {
        let mut state = self.state();
        if state.period > record.period {
            return;
        }
        (state.period, state.used, state.reserved) = (record.period, record.calls, record.calls);
    }

    /// What is left of a quota on a day.
    pub(crate) fn remaining(&self, quota: &Quota, day: u64) -> i64 {
        let state = self.state();
        let used = if quota.period_of(day) > state.period { 0 } else { state.used };
        (i64::from(quota.limit) - used).max(0)
    }

    /// Takes the calls that are not stored yet.
    pub(super) fn take_calls(&self) -> Vec<(u64, DayRecord)> {
        std::mem::take(&mut self.state().calls)
    }

    /// Puts back calls that could not be stored.
    pub(super) fn put_back(&self, calls: Vec<(u64, DayRecord)>) {
        let mut state = self.state();
        let newer = std::mem::replace(&mut state.calls, calls);
        for (day, record) in newer {
            state.add(day, record);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Begins a new period where it is time for it. A clock that was set back ends none.
    fn enter(&mut self, quota: &Quota, day: u64) {
        let period = quota.period_of(day);
        if period > self.period {
            (self.period, self.used, self.reserved) = (period, 0, 0);
        }
    }

    fn count(&mut self, day: u64) {
        self.add(day, DayRecord { calls: 1, remaining: self.remaining });
    }

    fn add(&mut self, day: u64, record: DayRecord) {
        match self.calls.last_mut() {
            Some((last, calls)) if *last == day => *calls = calls.plus(record),
            Some(_) | None => self.calls.push((day, record)),
        }
    }
}

impl DayRecord {
    /// With the calls that came after.
    pub(super) fn plus(self, later: Self) -> Self {
        Self { calls: self.calls.saturating_add(later.calls), remaining: later.remaining }
    }
}

/// How many calls of a quota are reserved ahead.
fn block(quota: &Quota) -> i64 {
    i64::from(quota.limit / QUOTA_BLOCKS).clamp(1, QUOTA_BLOCK_MAX)
}

#[cfg(test)]
mod tests {
    use super::{super::record::Period, *};

    fn quota(limit: i32) -> Quota {
        Quota { limit, offset: 0, period: Period::Day }
    }

    fn usage(reserved: Option<ReservedRecord>) -> KeyUsage {
        let place = Place { account: "1".to_owned(), region: "r".to_owned() };
        KeyUsage::new(Use { place, plan: "p".to_owned(), key: "k".to_owned() }, reserved)
    }

    fn taken(usage: &KeyUsage, quota: &Quota, day: u64) -> usize {
        let mut taken = 0;
        loop {
            match usage.take(Some(quota), day) {
                Taken::Yes { .. } => taken += 1,
                Taken::NotReserved => usage.reserved(usage.wanted(quota).expect("more is wanted")),
                Taken::Over => return taken,
            }
        }
    }

    #[test]
    fn no_call_is_taken_that_is_not_reserved() {
        let (usage, quota) = (usage(None), quota(100));
        assert_eq!(usage.take(Some(&quota), 9), Taken::NotReserved);
        let wanted = usage.wanted(&quota).unwrap();
        assert_eq!(wanted, ReservedRecord { period: 9, calls: 5 });
        usage.reserved(wanted);
        assert_eq!(usage.wanted(&quota), None);
        assert_eq!(usage.take(Some(&quota), 9), Taken::Yes { reserve: false });
        assert_eq!(usage.take(Some(&quota), 9), Taken::Yes { reserve: false });
        assert_eq!(usage.take(Some(&quota), 9), Taken::Yes { reserve: true });
        assert_eq!(usage.wanted(&quota), Some(ReservedRecord { period: 9, calls: 8 }));
        assert_eq!(usage.remaining(&quota, 9), 97);
        assert_eq!(taken(&usage, &quota, 9), 97);
        assert_eq!(usage.take(Some(&quota), 9), Taken::Over);
        assert_eq!(usage.remaining(&quota, 10), 100);
        assert_eq!(taken(&usage, &quota, 10), 100);
    }

    #[test]
    fn a_kill_loses_a_block_and_a_stop_nothing() {
        let (before, quota) = (usage(None), quota(100));
        before.take(Some(&quota), 9);
        let stored = before.wanted(&quota).unwrap();
        before.reserved(stored);
        before.take(Some(&quota), 9);
        assert_eq!(taken(&usage(Some(stored)), &quota, 9), 95);
        let given = before.give_back().unwrap();
        assert_eq!(given, ReservedRecord { period: 9, calls: 1 });
        assert_eq!((before.give_back(), before.take(Some(&quota), 9)), (None, Taken::NotReserved));
        assert_eq!(taken(&usage(Some(given)), &quota, 9), 99);
    }

    #[test]
    fn small_quotas_and_owners_that_give_more() {
        let (usage, quota) = (usage(None), quota(3));
        assert_eq!(taken(&usage, &quota, 9), 3);
        usage.set(KeyUsage::with_remaining(&quota, 9, 5));
        assert_eq!((usage.remaining(&quota, 9), taken(&usage, &quota, 9)), (5, 5));
        usage.set(KeyUsage::with_remaining(&quota, 9, 0));
        assert_eq!(usage.take(Some(&quota), 9), Taken::Over);
        assert_eq!(usage.take(Some(&quota), 8), Taken::Over, "a clock that was set back");
        // What was meant for yesterday says nothing of today.
        assert_eq!(taken(&usage, &quota, 10), 3);
        let late = KeyUsage::with_remaining(&quota, 9, 5);
        assert!(usage.is_past(late));
        usage.set(late);
        assert_eq!(usage.take(Some(&quota), 10), Taken::Over);
    }

    #[test]
    fn calls_are_counted_by_day_until_they_are_stored() {
        let usage = usage(None);
        for day in [9, 9, 10] {
            usage.take(None, day);
        }
        let day = |calls| DayRecord { calls, remaining: None };
        let calls = usage.take_calls();
        assert_eq!(calls, [(9, day(2)), (10, day(1))]);
        usage.take(None, 10);
        usage.put_back(calls);
        assert_eq!(usage.take_calls(), [(9, day(2)), (10, day(2))]);
        assert!(usage.take_calls().is_empty());
    }
}
