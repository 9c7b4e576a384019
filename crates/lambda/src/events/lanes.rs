//! Which events wait, and whose turn it is: one lane for each function.
//!
//! It is memory alone, made anew from the store at every start; the store says what holds, and a lane may name an event
//! that is gone. Lanes take turns, event by event, so that nobody's backlog is in anybody's way; how many of one function
//! run at one time follows from how long they take. An entry takes some forty bytes, the event itself stays on the disk.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::record::EventId;
use crate::{
    limits::{EVENTS_IN_FLIGHT_MAX, EVENTS_OF_FUNCTION_IN_FLIGHT_MAX},
    target::FunctionKey,
};

/// The lanes of all functions.
#[derive(Debug)]
pub(crate) struct Lanes {
    inner: Mutex<Inner>,
    /// Told of every event that was added and every place that got free.
    pub(crate) changed: Notify,
    /// Events of one function that run at one time however quick they are.
    least: usize,
}

#[derive(Debug, Default)]
struct Inner {
    lanes: HashMap<FunctionKey, Lane>,
    /// Lanes that may have an event to run; each once.
    turns: VecDeque<FunctionKey>,
    /// When the others have one, as far as time alone decides.
    asleep: BTreeSet<(i64, FunctionKey)>,
    waiting: usize,
    running: usize,
}

#[derive(Debug, Default)]
struct Lane {
    waiting: BTreeSet<(i64, EventId)>,
    /// Events that run or are being settled, with the time at which those that run began.
    busy: HashMap<EventId, Option<Instant>>,
    running: usize,
    /// What the function may run, where it reserved that.
    reserved: Option<usize>,
    average: Duration,
    has_turn: bool,
}

impl Lanes {
    pub(crate) fn new(least: usize) -> Self {
        Self { inner: Mutex::default(), changed: Notify::new(), least: least.max(1) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many events wait.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting
    }

    /// An event waits until it is due. Adding it twice is adding it once.
    pub(crate) fn add(&self, function: &FunctionKey, id: EventId, due_ms: i64) {
        self.lock().add(function, id, due_ms);
        self.changed.notify_one();
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        *self.lock() = Inner::default();
    }

    /// The next event to run, if there is one and a place for it.
    pub(crate) fn take(&self, now_ms: i64) -> Option<(FunctionKey, EventId)> {
        let mut inner = self.lock();
        inner.wake(now_ms);
        if inner.running >= EVENTS_IN_FLIGHT_MAX {
            return None;
        }
        while let Some(function) = inner.turns.pop_front() {
            if let Some(id) = inner.take_of(&function, now_ms, self.least) {
                return Some((function, id));
            }
        }
        None
    }

    /// When time alone will give something to run.
    pub(crate) fn next_due(&self) -> Option<i64> {
        self.lock().asleep.first().map(|(due_ms, _)| *due_ms)
    }

    /// Whether a lane waits for events that take long: it may get wider with time.
    pub(crate) fn is_narrow(&self) -> bool {
        let inner = self.lock();
        inner.running > 0 && inner.waiting > 0
    }

    /// Looks at all lanes again: those whose events take long may have got wider.
    pub(crate) fn widen(&self) {
        let mut inner = self.lock();
        let narrow =
            inner.lanes.iter().filter(|(_, lane)| !lane.has_turn && !lane.waiting.is_empty());
        let narrow: Vec<_> = narrow.map(|(function, _)| function.clone()).collect();
        for function in narrow {
            inner.give_turn(&function);
        }
    }

    /// What a function may run at one time, where it reserved that.
    pub(crate) fn reserve(&self, function: &FunctionKey, reserved: Option<u32>) {
        if let Some(lane) = self.lock().lanes.get_mut(function) {
            lane.reserved = reserved.map(|n| usize::try_from(n).unwrap_or(usize::MAX));
        }
    }

    /// The event has run, however that ended; its place is free, and it is being settled.
    pub(crate) fn ran(&self, function: &FunctionKey, id: EventId) {
        self.lock().ran(function, id);
        self.changed.notify_one();
    }

    /// The event is out of our hands: settled, or to be looked at again when it is due.
    pub(crate) fn settled(&self, function: &FunctionKey, id: EventId, again_ms: Option<i64>) {
        let mut inner = self.lock();
        inner.ran(function, id);
        if let Some(lane) = inner.lanes.get_mut(function) {
            lane.busy.remove(&id);
        }
        match again_ms {
            Some(due_ms) => inner.add(function, id, due_ms),
            None => inner.tidy(function),
        }
        drop(inner);
        self.changed.notify_one();
    }
}

impl Inner {
    fn add(&mut self, function: &FunctionKey, id: EventId, due_ms: i64) {
        let lane = match self.lanes.get_mut(function) {
            Some(lane) => lane,
            None => self.lanes.entry(function.clone()).or_default(),
        };
        if !lane.busy.contains_key(&id) && lane.waiting.insert((due_ms, id)) {
            self.waiting += 1;
        }
        self.give_turn(function);
    }

    fn give_turn(&mut self, function: &FunctionKey) {
        let Some(lane) = self.lanes.get_mut(function) else { return };
        if !lane.has_turn {
            lane.has_turn = true;
            self.turns.push_back(function.clone());
        }
    }

    /// Gives a turn to the lanes whose first event is due by now.
    fn wake(&mut self, now_ms: i64) {
        while let Some((due_ms, _)) = self.asleep.first() {
            if *due_ms > now_ms {
                return;
            }
            if let Some((_, function)) = self.asleep.pop_first() {
                self.give_turn(&function);
            }
        }
    }

    /// The lane's turn: its first event, and a further turn behind all others. A lane that is full gets its turn back
    /// when one of its events has run.
    fn take_of(&mut self, function: &FunctionKey, now_ms: i64, least: usize) -> Option<EventId> {
        let lanes = self.lanes.len();
        let lane = self.lanes.get_mut(function)?;
        lane.has_turn = false;
        let Some((due_ms, id)) = lane.waiting.first().copied() else {
            self.tidy(function);
            return None;
        };
        if due_ms > now_ms {
            self.asleep.insert((due_ms, function.clone()));
            return None;
        }
        if lane.running >= lane.width(least, lanes) {
            return None;
        }
        lane.waiting.pop_first();
        lane.running += 1;
        lane.busy.insert(id, Some(Instant::now()));
        self.waiting -= 1;
        self.running += 1;
        self.give_turn(function);
        Some(id)
    }

    fn ran(&mut self, function: &FunctionKey, id: EventId) {
        let Some(lane) = self.lanes.get_mut(function) else { return };
        let Some(began) = lane.busy.get_mut(&id).and_then(Option::take) else { return };
        lane.average = (lane.average * 7 + began.elapsed()) / 8;
        lane.running -= 1;
        self.running -= 1;
        self.give_turn(function);
    }

    /// Forgets a lane that has nothing in it.
    fn tidy(&mut self, function: &FunctionKey) {
        let is_empty = |lane: &Lane| lane.waiting.is_empty() && lane.busy.is_empty();
        if self.lanes.get(function).is_some_and(|lane| is_empty(lane) && !lane.has_turn) {
            self.lanes.remove(function);
        }
    }
}

impl Lane {
    /// How many of the function's events may run at one time. More than the machine's cores is good only for what
    /// waits, and what waits takes long: one place for each millisecond that an event takes.
    fn width(&self, least: usize, lanes: usize) -> usize {
        let oldest = self.busy.values().flatten().map(Instant::elapsed).max().unwrap_or_default();
        let ms = usize::try_from(self.average.max(oldest).as_millis()).unwrap_or(usize::MAX);
        let fair = EVENTS_OF_FUNCTION_IN_FLIGHT_MAX.min(EVENTS_IN_FLIGHT_MAX / lanes.max(1));
        let width = ms.clamp(least, fair.max(least));
        width.min(self.reserved.unwrap_or(usize::MAX)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> FunctionKey {
        FunctionKey::new("000000000000", "us-east-1", name)
    }

    fn id(order: u64) -> EventId {
        EventId { order, random: 0 }
    }

    fn take(lanes: &Lanes, now_ms: i64) -> Option<(String, u64)> {
        lanes.take(now_ms).map(|(function, id)| (function.name, id.order))
    }

    #[tokio::test(start_paused = true)]
    async fn lanes_take_turns_and_have_a_width() {
        let lanes = Lanes::new(2);
        for order in 0..5 {
            lanes.add(&key("a"), id(order), 0);
        }
        lanes.add(&key("b"), id(9), 0);
        let taken: Vec<_> = std::iter::from_fn(|| take(&lanes, 0)).collect();
        let is = |name: &str, order| (name.to_owned(), order);
        assert_eq!(taken, [is("a", 0), is("b", 9), is("a", 1)]);
        lanes.ran(&key("a"), id(0));
        assert_eq!(take(&lanes, 0), Some(is("a", 2)));
        assert_eq!(take(&lanes, 0), None);
        // What takes long leaves room for more.
        tokio::time::advance(Duration::from_millis(4)).await;
        lanes.widen();
        let taken: Vec<_> = std::iter::from_fn(|| take(&lanes, 0)).collect();
        assert_eq!(taken, [is("a", 3), is("a", 4)]);
        assert_eq!(lanes.waiting(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_reserved_is_not_passed() {
        let lanes = Lanes::new(4);
        for order in 0..5 {
            lanes.add(&key("a"), id(order), 0);
        }
        lanes.reserve(&key("a"), Some(2));
        assert_eq!(std::iter::from_fn(|| take(&lanes, 0)).count(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_waits_until_it_is_due_and_is_there_once() {
        let lanes = Lanes::new(2);
        lanes.add(&key("a"), id(1), 50);
        lanes.add(&key("a"), id(1), 50);
        assert_eq!((take(&lanes, 49), lanes.next_due(), lanes.waiting()), (None, Some(50), 1));
        lanes.add(&key("a"), id(2), 10);
        assert_eq!(take(&lanes, 49), Some(("a".to_owned(), 2)));
        assert_eq!((take(&lanes, 49), lanes.next_due()), (None, Some(50)));
        assert_eq!(take(&lanes, 50), Some(("a".to_owned(), 1)));
        // What runs is not added by whoever reads the store meanwhile.
        lanes.add(&key("a"), id(1), 50);
        assert_eq!(take(&lanes, 99), None);
        lanes.settled(&key("a"), id(1), Some(70));
        lanes.settled(&key("a"), id(2), None);
        assert_eq!(take(&lanes, 69), None);
        assert_eq!(take(&lanes, 70), Some(("a".to_owned(), 1)));
        lanes.settled(&key("a"), id(1), None);
        assert_eq!((take(&lanes, 99), lanes.waiting(), lanes.next_due()), (None, 0, None));
        assert!(lanes.lock().lanes.is_empty(), "a lane is left behind");
    }
}
