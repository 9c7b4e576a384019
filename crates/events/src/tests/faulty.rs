//! A source that fails: it does not answer, throttles, forgets cursors, gives less than it has, and, as a queue, gives
//! messages twice and does not remove them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use gatemill_lambda::mapping::SourceArn;
use gatemill_wire::routes::BoxFuture;
use tokio::time::Instant;

use super::{Chance, START_MS};
use crate::{
    Cursor, FailureMessage, Polled, Position, Record, Settle, Shard, Source, SourceError, Sources,
    source::is_after,
};

/// How long a message that was taken is hidden.
pub(crate) const HIDDEN: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(crate) struct FaultyShard {
    pub(crate) shard: Shard,
    pub(crate) records: Vec<Record>,
}

struct Message {
    record: Record,
    hidden_until: Option<Instant>,
    taken: usize,
}

/// A stream and a queue, and a destination.
pub(crate) struct FaultySources(Arc<Faulty>);

pub(crate) struct Faulty {
    chance: Chance,
    /// How often something goes wrong, of a hundred times.
    pub(crate) faults: Mutex<usize>,
    pub(crate) shards: Mutex<BTreeMap<String, FaultyShard>>,
    messages: Mutex<Vec<Message>>,
    pub(crate) given_up: Mutex<Vec<FailureMessage>>,
    pub(crate) polls: Mutex<usize>,
    /// Requests that wait for messages.
    waiting: AtomicUsize,
}

/// One of [`Faulty::waiting`].
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl FaultySources {
    pub(crate) fn new(chance: Chance) -> Self {
        Self(Arc::new(Faulty {
            chance,
            faults: Mutex::new(0),
            shards: Mutex::default(),
            messages: Mutex::default(),
            given_up: Mutex::default(),
            polls: Mutex::default(),
            waiting: AtomicUsize::new(0),
        }))
    }
}

impl std::ops::Deref for FaultySources {
    type Target = Faulty;

    fn deref(&self) -> &Faulty {
        &self.0
    }
}

pub(crate) fn record(id: &str, key: &str, arrived_ms: i64) -> Record {
    Record {
        id: id.to_owned(),
        receipt: id.to_owned(),
        key: key.to_owned(),
        arrived_ms,
        json: format!(r#"{{"id":"{id}","key":"{key}"}}"#),
        content: Some(format!(r#"{{"id":"{id}"}}"#)),
    }
}

impl Faulty {
    /// Adds a shard.
    pub(crate) fn shard(&self, id: &str, parents: &[&str]) {
        let shard = Shard {
            id: id.to_owned(),
            parents: parents.iter().map(|&parent| parent.to_owned()).collect(),
            is_closed: false,
        };
        let added = FaultyShard { shard, records: Vec::new() };
        self.shards.lock().unwrap().insert(id.to_owned(), added);
    }

    pub(crate) fn close(&self, id: &str) {
        self.shards.lock().unwrap().get_mut(id).unwrap().shard.is_closed = true;
    }

    /// Adds a record to a shard, at a time after the test's begin.
    pub(crate) fn add(&self, shard: &str, id: &str, key: &str, at_ms: i64) {
        let record = record(id, key, START_MS + at_ms);
        self.shards.lock().unwrap().get_mut(shard).unwrap().records.push(record);
    }

    /// Adds a message to the queue.
    pub(crate) fn send(&self, id: &str) {
        let message = Message { record: record(id, "", START_MS), hidden_until: None, taken: 0 };
        self.messages.lock().unwrap().push(message);
    }

    pub(crate) fn messages_left(&self) -> usize {
        self.messages.lock().unwrap().len()
    }

    /// How often a message was taken that is still there.
    pub(crate) fn taken(&self, id: &str) -> Option<usize> {
        let messages = self.messages.lock().unwrap();
        messages.iter().find(|message| message.record.id == id).map(|message| message.taken)
    }

    pub(crate) fn visible(&self) -> usize {
        let now = Instant::now();
        let messages = self.messages.lock().unwrap();
        messages.iter().filter(|one| one.hidden_until.is_none_or(|until| until <= now)).count()
    }

    pub(crate) fn polls_waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    fn fault(&self) -> Result<(), SourceError> {
        if !self.chance.percent(*self.faults.lock().unwrap()) {
            return Ok(());
        }
        Err(match self.chance.below(3) {
            0 => SourceError::Throttled,
            1 => SourceError::Expired,
            _ => SourceError::Unreachable("it does not answer".to_owned()),
        })
    }

    fn read(&self, cursor: &Cursor, most: usize) -> Result<Polled, SourceError> {
        *self.polls.lock().unwrap() += 1;
        self.fault()?;
        let (shard, from) = cursor.token.split_once(' ').unwrap();
        let from: usize = from.parse().unwrap();
        let shards = self.shards.lock().unwrap();
        let shard_now = &shards[shard];
        let rest = &shard_now.records[from.min(shard_now.records.len())..];
        // A source may give less than it has, and nothing at all.
        let faulty = *self.faults.lock().unwrap() > 0;
        let most = if faulty { self.chance.below(most + 1) } else { most };
        let records: Vec<Record> = rest.iter().take(most).cloned().collect();
        let next = from + records.len();
        let is_over = shard_now.shard.is_closed && next == shard_now.records.len();
        let token = format!("{shard} {next}");
        Ok(Polled {
            is_behind: next < shard_now.records.len(),
            next: (!is_over).then_some(Cursor { token, not_before_ms: None }),
            records,
        })
    }

    fn receive(&self, most: usize) -> Result<Vec<Record>, SourceError> {
        self.fault()?;
        let now = Instant::now();
        let faults = *self.faults.lock().unwrap();
        let mut messages = self.messages.lock().unwrap();
        let mut taken = Vec::new();
        for message in messages.iter_mut() {
            let is_visible = message.hidden_until.is_none_or(|until| until <= now);
            if is_visible && taken.len() < most {
                message.taken += 1;
                // A queue that delivers at least once gives a message twice at times.
                let is_given_again = self.chance.percent(faults / 4);
                message.hidden_until = (!is_given_again).then_some(now + HIDDEN);
                taken.push(message.record.clone());
            }
        }
        Ok(taken)
    }
}

impl Source for Faulty {
    fn shards(&self) -> BoxFuture<'_, Result<Vec<Shard>, SourceError>> {
        Box::pin(async {
            self.fault()?;
            Ok(self.shards.lock().unwrap().values().map(|one| one.shard.clone()).collect())
        })
    }

    fn seek<'a>(
        &'a self,
        shard: &'a str,
        position: &'a Position,
    ) -> BoxFuture<'a, Result<Cursor, SourceError>> {
        Box::pin(async move {
            self.fault()?;
            let shards = self.shards.lock().unwrap();
            let records = &shards[shard].records;
            let from = match position {
                Position::TrimHorizon => 0,
                Position::Latest | Position::End => records.len(),
                Position::Since(ms) => {
                    records.iter().take_while(|record| record.arrived_ms < *ms).count()
                }
                Position::After(id) => {
                    records.iter().take_while(|record| !is_after(&record.id, id)).count()
                }
            };
            Ok(Cursor { token: format!("{shard} {from}"), not_before_ms: None })
        })
    }

    fn poll<'a>(
        &'a self,
        cursor: &'a Cursor,
        most: usize,
        wait: Duration,
    ) -> BoxFuture<'a, Result<Polled, SourceError>> {
        Box::pin(async move {
            // An answer takes its time, in which a request can be killed.
            tokio::time::sleep(Duration::from_millis(5)).await;
            if !cursor.token.is_empty() {
                return self.read(cursor, most);
            }
            let _waiting = (!wait.is_zero()).then(|| Waiting::new(&self.waiting));
            let end = Instant::now() + wait;
            loop {
                let records = self.receive(most)?;
                if !records.is_empty() || Instant::now() >= end {
                    let next = Some(Cursor::default());
                    return Ok(Polled { records, next, is_behind: false });
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
    }

    fn settle<'a>(
        &'a self,
        receipts: &'a [String],
        how: Settle,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async move {
            self.fault()?;
            let mut messages = self.messages.lock().unwrap();
            match how {
                Settle::Remove => {
                    messages.retain(|message| !receipts.contains(&message.record.receipt));
                }
                Settle::Release => {
                    for message in messages.iter_mut() {
                        if receipts.contains(&message.record.receipt) {
                            message.hidden_until = None;
                        }
                    }
                }
            }
            Ok(())
        })
    }

    fn hidden_for(&self) -> BoxFuture<'_, Result<Duration, SourceError>> {
        Box::pin(async {
            self.fault()?;
            Ok(HIDDEN)
        })
    }
}

impl Sources for FaultySources {
    fn open(&self, _source: &SourceArn, _role: &str) -> Result<Arc<dyn Source>, SourceError> {
        Ok(Arc::clone(&self.0) as _)
    }

    fn give_up<'a>(
        &'a self,
        _destination: &'a str,
        message: &'a FailureMessage,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        self.given_up.lock().unwrap().push(message.clone());
        Box::pin(async { Ok(()) })
    }
}
