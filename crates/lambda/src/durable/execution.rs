//! One execution inside a transaction: its transitions, each of which leaves its rows consistent.
//!
//! Whatever changes an execution opens it, changes it and saves it, in one transaction. Saving also decides when the
//! worker looks at it again, so that no change can forget to.

use std::collections::BTreeMap;

use gatemill_store::{Key, Reader, Write};

use super::{
    checkpoint::{Batch, Chained, Done},
    dead_letter,
    record::{
        CHAINED, ChainedRecord, EVENTS, EXECUTIONS, ErrorRecord, EventOperationRecord, EventRecord,
        ExecutionKey, ExecutionRecord, Happened, IdRecord, Kind, NAMES, OPERATIONS, ORDER,
        OpenRecord, OperationRecord, PAYLOADS, PayloadRecord, RUNNING, RunningRecord, STARTED,
        State, Status, WAKES, WakeRecord,
    },
};
use crate::{Error, limits::DURABLE_PURGE_ROWS_AT_ONCE};

/// The part of a payload's key that stands for the input.
pub(crate) const INPUT: &str = "input";
/// The part of a payload's key that stands for the result.
pub(crate) const RESULT: &str = "result";
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// An execution under change.
pub(crate) struct Execution<'t> {
    tx: &'t mut Write,
    pub(crate) key: ExecutionKey,
    pub(crate) record: ExecutionRecord,
    pub(crate) now_ms: i64,
}

impl<'t> Execution<'t> {
    /// The execution; `None` when there is none.
    pub(crate) fn open(
        tx: &'t mut Write,
        key: &ExecutionKey,
        now_ms: i64,
    ) -> Result<Option<Self>, Error> {
        let record = EXECUTIONS.get(tx, &key.record())?;
        Ok(record.map(|record| Self { tx, key: key.clone(), record, now_ms }))
    }

    /// A new execution, whose record is not stored yet.
    pub(crate) fn create(
        tx: &'t mut Write,
        key: &ExecutionKey,
        record: ExecutionRecord,
        input: &str,
        now_ms: i64,
    ) -> Result<Self, Error> {
        PAYLOADS.put(tx, &key.of(INPUT), &PayloadRecord { text: input.to_owned() })?;
        NAMES.put(
            tx,
            &key.name(&record.version, &record.name),
            &IdRecord { id: key.id.clone() },
        )?;
        let started = super::record::StartedRecord {
            name: record.name.clone(),
            version: record.version.clone(),
        };
        STARTED.put(tx, &key.started(record.started_ms), &started)?;
        let mut execution = Self { tx, key: key.clone(), record, now_ms };
        execution.happened(None, Happened::ExecutionStarted)?;
        Ok(execution)
    }

    /// Stores the record, and when the worker looks at it next.
    pub(crate) fn save(mut self) -> Result<ExecutionRecord, Error> {
        let wake = self.wake();
        if wake != self.record.wake_ms {
            if let Some(before) = self.record.wake_ms {
                WAKES.delete(self.tx, &self.key.wake(before))?;
            }
            if let Some(wake) = wake {
                WAKES.put(self.tx, &self.key.wake(wake), &WakeRecord {})?;
            }
            self.record.wake_ms = wake;
        }
        self.index()?;
        EXECUTIONS.put(self.tx, &self.key.record(), &self.record)?;
        Ok(self.record)
    }

    /// Says whether it is under way, to those who would delete its function.
    fn index(&mut self) -> Result<(), Error> {
        let (place, runs) = (self.key.running(&self.record.version), !self.record.status.is_over());
        match (runs, RUNNING.contains(self.tx, &place)?) {
            (true, false) => RUNNING.put(self.tx, &place, &RunningRecord {})?,
            (false, true) => drop(RUNNING.delete(self.tx, &place)?),
            (true, true) | (false, false) => {}
        }
        Ok(())
    }

    /// When the worker has to look at it, in Unix milliseconds.
    fn wake(&self) -> Option<i64> {
        let record = &self.record;
        if record.delete_requested_ms.is_some() {
            return Some(self.now_ms);
        }
        if record.status.is_over() {
            let ended = record.ended_ms.unwrap_or(self.now_ms);
            return Some(ended + i64::from(record.retention_days) * DAY_MS);
        }
        if record.status == Status::Paused {
            let holds = record.pause.as_ref().is_some_and(|pause| pause.holds_timeout);
            return (!holds).then_some(record.deadline_ms);
        }
        if let Some(invocation) = &record.invocation {
            // It stays due: a worker that dies meanwhile leaves it to the next one.
            return Some(invocation.begun_ms);
        }
        if self.wants_invocation() {
            return Some(record.retry_at_ms.unwrap_or(self.now_ms).min(record.deadline_ms));
        }
        let due = record.open.values().filter_map(OpenRecord::due_ms).min();
        Some(due.map_or(record.deadline_ms, |due| due.min(record.deadline_ms)))
    }

    /// Whether the function has something to do that does not wait for an operation.
    pub(crate) fn wants_invocation(&self) -> bool {
        let record = &self.record;
        record.epoch == 0 || record.retry_at_ms.is_some() || !record.unseen.is_empty()
    }

    /// Adds an event to the history.
    pub(crate) fn happened(
        &mut self,
        operation: Option<&OperationRecord>,
        what: Happened,
    ) -> Result<(), Error> {
        self.record.events += 1;
        let operation = operation.map(|operation| EventOperationRecord {
            id: operation.id.clone(),
            parent: operation.parent.clone(),
            name: operation.name.clone(),
            sub_type: operation.sub_type.clone(),
        });
        let event = EventRecord { at_ms: self.now_ms, operation, what };
        Ok(EVENTS.put(self.tx, &self.key.at(self.record.events), &event)?)
    }

    /// One of its operations.
    pub(crate) fn operation(&self, id: &str) -> Result<Option<OperationRecord>, Error> {
        Ok(OPERATIONS.get(self.tx, &self.key.of(id))?)
    }

    /// Stores an operation.
    fn put(&mut self, operation: &OperationRecord) -> Result<(), Error> {
        if operation.order > self.record.operations {
            let id = IdRecord { id: operation.id.clone() };
            ORDER.put(self.tx, &self.key.at(operation.order), &id)?;
            self.record.operations = operation.order;
        }
        Ok(OPERATIONS.put(self.tx, &self.key.of(&operation.id), operation)?)
    }

    /// Says that the function has to be told of an operation.
    fn tell(&mut self, id: &str) {
        if !self.record.unseen.iter().any(|unseen| unseen == id) {
            self.record.unseen.push(id.to_owned());
        }
    }

    /// The operations that updates name, and their parents.
    pub(crate) fn named<'u>(
        &self,
        ids: impl Iterator<Item = &'u str>,
    ) -> Result<BTreeMap<String, OperationRecord>, Error> {
        let mut named = BTreeMap::new();
        for id in ids {
            if !named.contains_key(id)
                && let Some(operation) = self.operation(id)?
            {
                named.insert(id.to_owned(), operation);
            }
        }
        Ok(named)
    }

    /// Stores what came of a batch of updates.
    pub(crate) fn take(&mut self, batch: Batch<'_>) -> Result<(), Error> {
        let Batch { operations, done, .. } = batch;
        let Done { changed, events, open, chained, end, bytes } = done;
        for operation in changed.iter().filter_map(|id| operations.get(id)) {
            self.put(operation)?;
        }
        for (id, what) in events {
            self.happened(operations.get(&id), what)?;
        }
        for (id, open) in open {
            match open {
                Some(open) => self.record.open.insert(id, open),
                None => self.record.open.remove(&id),
            };
        }
        self.record.bytes += bytes;
        for id in &changed {
            self.tell(id);
        }
        for Chained { operation, function, tenant_id, payload, trace_id } in chained {
            let record = ChainedRecord { function, tenant_id, payload, trace_id };
            CHAINED.put(self.tx, &self.key.of(&operation), &record)?;
        }
        match end {
            None => Ok(()),
            Some(Ok(result)) => self.end(Status::Succeeded, result, None),
            Some(Err(error)) => self.end(Status::Failed, None, Some(error)),
        }
    }

    /// Ends what is due by now: waits, pauses before another try, the time for calling back.
    pub(crate) fn settle_due(&mut self) -> Result<(), Error> {
        let now_ms = self.now_ms;
        let is_due = |open: &OpenRecord| open.due_ms().is_some_and(|due| due <= now_ms);
        let due = self.record.open.iter().filter(|(_, open)| is_due(open));
        let due: Vec<_> = due.map(|(id, open)| (id.clone(), open.clone())).collect();
        for (id, open) in due {
            match open {
                OpenRecord::Wait { .. } => self.close(&id, State::Succeeded, None, None)?,
                OpenRecord::Retry { .. } => self.ready(&id)?,
                OpenRecord::Callback { deadline_ms, .. } => {
                    let whole = deadline_ms.is_some_and(|deadline| deadline <= now_ms);
                    let (kind, text) = if whole {
                        ("Callback.Timeout", "Callback timed out")
                    } else {
                        ("Callback.Heartbeat", "Callback heartbeat timed out")
                    };
                    let error = ErrorRecord::new(kind, text);
                    self.close(&id, State::TimedOut, None, Some(error))?;
                }
                OpenRecord::Chained => {}
            }
        }
        Ok(())
    }

    /// Lets a step be tried again.
    fn ready(&mut self, id: &str) -> Result<(), Error> {
        self.record.open.remove(id);
        if let Some(mut step) = self.operation(id)? {
            step.state = State::Ready;
            self.put(&step)?;
            self.tell(id);
        }
        Ok(())
    }

    /// Ends an operation that waits for something outside the function.
    pub(crate) fn close(
        &mut self,
        id: &str,
        state: State,
        result: Option<String>,
        error: Option<ErrorRecord>,
    ) -> Result<(), Error> {
        self.record.open.remove(id);
        let Some(mut operation) = self.operation(id)? else { return Ok(()) };
        operation.state = state;
        operation.ended_ms = Some(self.now_ms);
        operation.result = result;
        operation.error = error;
        self.record.bytes += operation.result.as_ref().map_or(0, |result| result.len() as u64);
        self.put(&operation)?;
        self.tell(id);
        let what = ending(&operation);
        self.happened(Some(&operation), what)
    }

    /// Ends the execution.
    pub(crate) fn end(
        &mut self,
        status: Status,
        result: Option<String>,
        error: Option<ErrorRecord>,
    ) -> Result<(), Error> {
        let chained = self.record.open.iter().filter(|(_, open)| **open == OpenRecord::Chained);
        let chained: Vec<_> = chained.map(|(id, _)| id.clone()).collect();
        for id in chained {
            CHAINED.delete(self.tx, &self.key.of(&id))?;
        }
        self.record.open.clear();
        self.record.unseen.clear();
        self.record.invocation = None;
        self.record.retry_at_ms = None;
        self.record.pause = None;
        self.record.status = status;
        self.record.ended_ms = Some(self.now_ms);
        self.record.error.clone_from(&error);
        if let Some(text) = &result {
            let record = PayloadRecord { text: text.clone() };
            PAYLOADS.put(self.tx, &self.key.of(RESULT), &record)?;
        }
        let cause = || error.clone().unwrap_or_default();
        let what = match status {
            Status::Failed => Happened::ExecutionFailed(cause()),
            Status::TimedOut => Happened::ExecutionTimedOut(cause()),
            Status::Stopped => Happened::ExecutionStopped(cause()),
            _ => Happened::ExecutionSucceeded,
        };
        self.happened(None, what)?;
        let input = PAYLOADS.get(self.tx, &self.key.of(INPUT))?;
        let input = input.map_or_else(|| "{}".to_owned(), |input| input.text);
        dead_letter::tell(self.tx, &self.key, &self.record, &input, error.as_ref())?;
        self.tell_parent(status, result, error)
    }

    /// Gives the outcome to the execution that chained this one.
    fn tell_parent(
        &mut self,
        status: Status,
        result: Option<String>,
        error: Option<ErrorRecord>,
    ) -> Result<(), Error> {
        let Some(parent) = self.record.parent.clone() else { return Ok(()) };
        let Some(mut waiting) = Execution::open(self.tx, &parent.key(), self.now_ms)? else {
            return Ok(());
        };
        if waiting.record.open.get(&parent.operation) != Some(&OpenRecord::Chained) {
            return Ok(());
        }
        let state = match status {
            Status::Succeeded => State::Succeeded,
            Status::TimedOut => State::TimedOut,
            Status::Stopped => State::Stopped,
            _ => State::Failed,
        };
        waiting.close(&parent.operation, state, result, error)?;
        waiting.save()?;
        Ok(())
    }

    /// Removes a part of the rows of an execution that is over; whether all are gone.
    pub(crate) fn purge(self) -> Result<bool, Error> {
        let Self { tx, key, record, .. } = self;
        let prefix = key.record();
        let mut left = DURABLE_PURGE_ROWS_AT_ONCE;
        macro_rules! purge {
            ($($table:expr),*) => {$(
                for (row, _) in $table.scan(tx, &prefix, None, left)? {
                    $table.delete(tx, &row)?;
                    left -= 1;
                }
            )*};
        }
        purge!(OPERATIONS, ORDER, EVENTS, PAYLOADS, CHAINED);
        if left == 0 {
            return Ok(false);
        }
        let name = key.name(&record.version, &record.name);
        if NAMES.get(tx, &name)?.is_some_and(|named| named.id == key.id) {
            NAMES.delete(tx, &name)?;
        }
        STARTED.delete(tx, &key.started(record.started_ms))?;
        if let Some(wake) = record.wake_ms {
            WAKES.delete(tx, &key.wake(wake))?;
        }
        EXECUTIONS.delete(tx, &prefix)?;
        Ok(true)
    }
}

/// What the end of an operation is called in the history.
fn ending(operation: &OperationRecord) -> Happened {
    let error = || operation.error.clone().unwrap_or_default();
    let duration_ms = operation.until_ms.unwrap_or(operation.started_ms) - operation.started_ms;
    match (operation.kind, operation.state) {
        (Kind::Wait, _) => {
            Happened::WaitSucceeded { duration_s: u32::try_from(duration_ms / 1000).unwrap_or(0) }
        }
        (Kind::Callback, State::Succeeded) => Happened::CallbackSucceeded(operation.result.clone()),
        (Kind::Callback, State::TimedOut) => Happened::CallbackTimedOut(error()),
        (Kind::Callback, _) => Happened::CallbackFailed(error()),
        (_, State::Succeeded) => Happened::ChainedInvokeSucceeded(operation.result.clone()),
        (_, State::TimedOut) => Happened::ChainedInvokeTimedOut(error()),
        (_, State::Stopped) => Happened::ChainedInvokeStopped(error()),
        (_, _) => Happened::ChainedInvokeFailed(error()),
    }
}

/// Operations in the order in which they began, after a place: the execution itself first, at most `limit` of them and
/// about `bytes`; and the place to go on after, where there are more.
pub(crate) fn page(
    from: &impl Reader,
    key: &ExecutionKey,
    record: &ExecutionRecord,
    after: Option<u64>,
    limit: usize,
    bytes: usize,
) -> Result<(Vec<OperationRecord>, Option<u64>), Error> {
    let mut page = Vec::new();
    let mut size = 0;
    if after.is_none() {
        let itself = itself(from, key, record)?;
        size += itself.result.as_ref().map_or(0, String::len);
        page.push(itself);
    }
    let begin: Option<Key> = after.map(|order| key.at(order));
    let mut last = after.unwrap_or(0);
    for (place, row) in ORDER.scan(from, &key.record(), begin.as_ref(), limit + 1)? {
        let Some(operation) = OPERATIONS.get(from, &key.of(&row.id))? else { continue };
        size += operation.result.as_ref().map_or(0, String::len) + operation.id.len();
        if page.len() >= limit || (size > bytes && !page.is_empty()) {
            return Ok((page, Some(last)));
        }
        last = place.number(4).unwrap_or(last);
        page.push(operation);
    }
    Ok((page, None))
}

/// The execution as the first of its operations.
fn itself(
    from: &impl Reader,
    key: &ExecutionKey,
    record: &ExecutionRecord,
) -> Result<OperationRecord, Error> {
    let input = PAYLOADS.get(from, &key.of(INPUT))?;
    Ok(OperationRecord {
        id: key.id.clone(),
        order: 0,
        kind: Kind::Execution,
        parent: None,
        name: Some(record.name.clone()),
        sub_type: None,
        state: match record.status {
            Status::Succeeded => State::Succeeded,
            Status::Failed => State::Failed,
            Status::TimedOut => State::TimedOut,
            Status::Stopped | Status::Deleting => State::Stopped,
            Status::Running | Status::Pausing | Status::Paused => State::Started,
        },
        started_ms: record.started_ms,
        ended_ms: record.ended_ms,
        result: input.map(|input| input.text),
        error: None,
        attempt: 0,
        until_ms: None,
        replay_children: false,
        callback_id: None,
    })
}
