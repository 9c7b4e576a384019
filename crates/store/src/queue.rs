//! The durable queue: jobs that are due at a time, leased to a worker, settled once.
//!
//! **Guarantee.** A job whose `enqueue` committed is handed out until it is settled: acknowledged, or
//! buried as a dead letter. A settlement names the job and the epoch of its lease; each lease, retry and
//! burial begins a new epoch, so a worker that lost its lease settles nothing, and no job is settled
//! twice. A job may *run* twice, when a worker dies, or is late, between running and settling.
//!
//! **Mechanism.** In one table, by key:
//!
//! * `job`, id: what was enqueued and when; written once
//! * `due`, time, id: when the job is next to be looked at; of a leased job, when the lease ends
//! * `state`, id: epoch, attempts, and that time again; absent until the first lease
//! * `dead`, id: a dead letter
//! * `tally`: the next id, and how many came and went
//!
//! A lease that runs out needs nobody to notice it: the job is due again. All calls take part in the
//! caller's transaction, so that a job and the records that it is about change together. The queue
//! reads no clock; times are Unix milliseconds from the caller.

use std::fmt;
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

use crate::limits::{LEASE_BYTES_MAX, LEASE_JOBS_MAX, REASON_BYTES_MAX};
use crate::record::decode_as;
use crate::{Error, Key, Reader, Record, Table, Write};

const DUE: &str = "due";

/// A queue of jobs of one type, in the order of their due times. Made once, as a `const`.
///
/// Its name is that of its table: no table may share it, and
/// [`Store::watch`](crate::Store::watch) takes it.
pub struct Queue<J> {
    name: &'static str,
    of: PhantomData<fn() -> J>,
}

/// Names a job within its queue, for ever. Later jobs have greater ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub u64);

/// A job in the hands of a worker, until the lease ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leased<J> {
    /// Which job.
    pub id: JobId,
    /// Which lease of it: settles with this.
    pub epoch: u64,
    /// The how many-th time it is handed out, from 1.
    pub attempt: u32,
    /// When it was enqueued.
    pub enqueued_ms: u64,
    /// What to do.
    pub job: J,
}

/// Whether a settlement counted.
#[must_use = "a stale worker must not act as if it had settled the job"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It did.
    Yes,
    /// The job was settled, or leased to another, before. Nothing changed.
    Stale,
}

/// A job that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dead<J> {
    /// Which job.
    pub id: JobId,
    /// Why, in the words of the worker, cut at [`REASON_BYTES_MAX`].
    pub reason: String,
    /// How often it was handed out.
    pub attempts: u32,
    /// When it was enqueued.
    pub enqueued_ms: u64,
    /// What was to be done.
    pub job: J,
}

/// What came and went. `enqueued + redriven == acknowledged + buried + pending` at every commit; a
/// difference is a lost job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// Jobs ever enqueued.
    pub enqueued: u64,
    /// Jobs ever acknowledged.
    pub acknowledged: u64,
    /// Jobs ever buried.
    pub buried: u64,
    /// Dead letters ever brought back.
    pub redriven: u64,
    /// Jobs now waiting or leased, counted one by one.
    pub pending: u64,
    /// Dead letters now kept, counted one by one.
    pub dead: u64,
}

#[derive(Serialize, Deserialize, Default)]
struct Tally {
    next: u64,
    enqueued: u64,
    acknowledged: u64,
    buried: u64,
    redriven: u64,
}

#[derive(Serialize, Deserialize)]
struct Job {
    enqueued_ms: u64,
    version: u8,
    job: Box<serde_json::value::RawValue>,
}

#[derive(Serialize, Deserialize, Clone, Copy)]
struct State {
    epoch: u64,
    attempt: u32,
    due_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct Grave {
    reason: String,
    attempts: u32,
    /// The epoch goes on after a redrive, so that no lease of before can settle.
    epoch: u64,
    job: Job,
}

#[derive(Serialize, Deserialize)]
struct Due {}

impl Record for Tally {
    const VERSION: u8 = 1;
}
impl Record for Job {
    const VERSION: u8 = 1;
}
impl Record for State {
    const VERSION: u8 = 1;
}
impl Record for Grave {
    const VERSION: u8 = 1;
}
impl Record for Due {
    const VERSION: u8 = 1;
}

impl<J: Record> Queue<J> {
    /// The queue called `name`.
    pub const fn new(name: &'static str) -> Self {
        Queue { name, of: PhantomData }
    }

    /// The name, as [`Store::watch`](crate::Store::watch) takes it.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Adds a job that is due at `not_before_ms`; `now_ms` is kept as the time of enqueuing.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Encode`], and those of the engine.
    pub fn enqueue(
        &self,
        tx: &mut Write,
        job: &J,
        now_ms: u64,
        not_before_ms: u64,
    ) -> Result<JobId, Error> {
        let job =
            serde_json::value::to_raw_value(job).map_err(|source| Error::Encode { source })?;
        let job = Job { enqueued_ms: now_ms, version: J::VERSION, job };
        let mut id = JobId(0);
        self.count(tx, |tally| {
            id = JobId(tally.next);
            tally.next += 1;
            tally.enqueued += 1;
        })?;
        self.jobs().put(tx, &job_key(id), &job)?;
        self.dues().put(tx, &due_key(not_before_ms, id), &Due {})?;
        Ok(id)
    }

    /// Hands out at most `max` jobs that are due at `now_ms` (and at most [`LEASE_JOBS_MAX`]), the
    /// longest due first; fewer once they hold [`LEASE_BYTES_MAX`]. Until `now_ms + duration_ms`
    /// nobody else gets them.
    ///
    /// # Errors
    /// Those of the engine, and of decoding.
    pub fn lease(
        &self,
        tx: &mut Write,
        now_ms: u64,
        duration_ms: u64,
        max: usize,
    ) -> Result<Vec<Leased<J>>, Error> {
        let due = self.dues().scan(tx, &Key::new([DUE]), None, max.min(LEASE_JOBS_MAX))?;
        let mut leased = Vec::new();
        let mut bytes = 0;
        for (key, Due {}) in due {
            let (due_ms, id) = read_due_key(&key)?;
            if due_ms > now_ms || bytes >= LEASE_BYTES_MAX {
                break;
            }
            let Some(job) = self.jobs().get(tx, &job_key(id))? else {
                return Err(Error::Damaged { what: "a due time of no job" });
            };
            // Absent until the first lease, which saves enqueuing a key.
            let before = self.states().get(tx, &state_key(id))?;
            let state = State {
                epoch: before.map_or(0, |state| state.epoch) + 1,
                attempt: before.map_or(0, |state| state.attempt).saturating_add(1),
                due_ms: now_ms.saturating_add(duration_ms),
            };
            self.move_due(tx, id, due_ms, state)?;
            bytes += job.job.get().len();
            match open(&job) {
                Ok(content) => leased.push(Leased {
                    id,
                    epoch: state.epoch,
                    attempt: state.attempt,
                    enqueued_ms: job.enqueued_ms,
                    job: content,
                }),
                // Of a version that is not known here: it waits, and holds up nothing behind it.
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(queue = self.name, %id, error, "a job does not decode");
                }
            }
        }
        Ok(leased)
    }

    /// Prolongs a lease to `until_ms`, for a worker that is still at it.
    ///
    /// # Errors
    /// Those of the engine, and of decoding.
    pub fn extend(
        &self,
        tx: &mut Write,
        id: JobId,
        epoch: u64,
        until_ms: u64,
    ) -> Result<Settled, Error> {
        let Some(state) = self.held(tx, id, epoch)? else { return Ok(Settled::Stale) };
        self.move_due(tx, id, state.due_ms, State { due_ms: until_ms, ..state })?;
        Ok(Settled::Yes)
    }

    /// The job is done.
    ///
    /// # Errors
    /// Those of the engine, and of decoding.
    pub fn ack(&self, tx: &mut Write, id: JobId, epoch: u64) -> Result<Settled, Error> {
        let Some(state) = self.held(tx, id, epoch)? else { return Ok(Settled::Stale) };
        self.remove(tx, id, state)?;
        self.count(tx, |tally| tally.acknowledged += 1)?;
        Ok(Settled::Yes)
    }

    /// The job is to be handed out again, from `not_before_ms` on.
    ///
    /// # Errors
    /// Those of the engine, and of decoding.
    pub fn retry(
        &self,
        tx: &mut Write,
        id: JobId,
        epoch: u64,
        not_before_ms: u64,
    ) -> Result<Settled, Error> {
        let Some(state) = self.held(tx, id, epoch)? else { return Ok(Settled::Stale) };
        let next = State { epoch: state.epoch + 1, due_ms: not_before_ms, ..state };
        self.move_due(tx, id, state.due_ms, next)?;
        Ok(Settled::Yes)
    }

    /// The job is given up: it becomes a dead letter with `reason`.
    ///
    /// # Errors
    /// Those of the engine, and of decoding.
    pub fn bury(
        &self,
        tx: &mut Write,
        id: JobId,
        epoch: u64,
        reason: &str,
    ) -> Result<Settled, Error> {
        let Some(state) = self.held(tx, id, epoch)? else { return Ok(Settled::Stale) };
        let Some(job) = self.jobs().get(tx, &job_key(id))? else {
            return Err(Error::Damaged { what: "a lease of no job" });
        };
        let reason = reason[..reason.floor_char_boundary(REASON_BYTES_MAX)].to_owned();
        let grave = Grave { reason, attempts: state.attempt, epoch: state.epoch, job };
        self.remove(tx, id, state)?;
        self.graves().put(tx, &dead_key(id), &grave)?;
        self.count(tx, |tally| tally.buried += 1)?;
        Ok(Settled::Yes)
    }

    /// When the next job is due, or the next lease ends: until then [`Self::lease`] finds nothing,
    /// unless a commit comes in between, which [`Store::watch`](crate::Store::watch) tells.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn next_due(&self, from: &impl Reader) -> Result<Option<u64>, Error> {
        let first = self.dues().scan(from, &Key::new([DUE]), None, 1)?;
        first.first().map(|(key, _)| Ok(read_due_key(key)?.0)).transpose()
    }

    /// At most `limit` dead letters, the earliest enqueued first, strictly after `after`.
    ///
    /// # Errors
    /// Those of the engine, and of decoding.
    pub fn dead(
        &self,
        from: &impl Reader,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<Dead<J>>, Error> {
        let after = after.map(dead_key);
        let graves = self.graves().scan(from, &Key::new(["dead"]), after.as_ref(), limit)?;
        let mut dead = Vec::with_capacity(graves.len());
        for (key, grave) in graves {
            dead.push(Dead {
                id: JobId(key.number(1).ok_or(Error::Damaged { what: "a dead letter's key" })?),
                reason: grave.reason,
                attempts: grave.attempts,
                enqueued_ms: grave.job.enqueued_ms,
                job: open(&grave.job)?,
            });
        }
        Ok(dead)
    }

    /// Brings a dead letter back, due at `not_before_ms`, with its attempts forgotten. Answers
    /// whether there was one.
    ///
    /// # Errors
    /// Those of the engine, and of decoding.
    pub fn redrive(&self, tx: &mut Write, id: JobId, not_before_ms: u64) -> Result<bool, Error> {
        let Some(grave) = self.graves().get(tx, &dead_key(id))? else { return Ok(false) };
        self.graves().delete(tx, &dead_key(id))?;
        let state = State { epoch: grave.epoch + 1, attempt: 0, due_ms: not_before_ms };
        self.jobs().put(tx, &job_key(id), &grave.job)?;
        self.states().put(tx, &state_key(id), &state)?;
        self.dues().put(tx, &due_key(not_before_ms, id), &Due {})?;
        self.count(tx, |tally| tally.redriven += 1)?;
        Ok(true)
    }

    /// Forgets a dead letter. Answers whether there was one.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn discard(&self, tx: &mut Write, id: JobId) -> Result<bool, Error> {
        self.graves().delete(tx, &dead_key(id))
    }

    /// What came and went, and what is there. Walks the keys, not the jobs.
    ///
    /// # Errors
    /// Those of the engine, and of decoding.
    pub fn counts(&self, from: &impl Reader) -> Result<QueueCounts, Error> {
        let tally = self.tallies().get(from, &Key::new(["tally"]))?.unwrap_or_default();
        Ok(QueueCounts {
            enqueued: tally.enqueued,
            acknowledged: tally.acknowledged,
            buried: tally.buried,
            redriven: tally.redriven,
            pending: self.dues().count(from, &Key::new([DUE]))? as u64,
            dead: self.graves().count(from, &Key::new(["dead"]))? as u64,
        })
    }

    /// Where the job stands, if the lease `epoch` is still its last.
    fn held(&self, from: &impl Reader, id: JobId, epoch: u64) -> Result<Option<State>, Error> {
        Ok(self.states().get(from, &state_key(id))?.filter(|state| state.epoch == epoch))
    }

    fn move_due(&self, tx: &mut Write, id: JobId, from_ms: u64, to: State) -> Result<(), Error> {
        self.dues().delete(tx, &due_key(from_ms, id))?;
        self.dues().put(tx, &due_key(to.due_ms, id), &Due {})?;
        self.states().put(tx, &state_key(id), &to)
    }

    fn remove(&self, tx: &mut Write, id: JobId, state: State) -> Result<(), Error> {
        self.jobs().delete(tx, &job_key(id))?;
        self.states().delete(tx, &state_key(id))?;
        self.dues().delete(tx, &due_key(state.due_ms, id))?;
        Ok(())
    }

    fn count(&self, tx: &mut Write, change: impl FnOnce(&mut Tally)) -> Result<(), Error> {
        let key = Key::new(["tally"]);
        let mut tally = self.tallies().get(tx, &key)?.unwrap_or_default();
        change(&mut tally);
        self.tallies().put(tx, &key, &tally)
    }

    // One table of many kinds of record, told apart by the first part of the key.
    const fn jobs(&self) -> Table<Job> {
        Table::new(self.name)
    }
    const fn states(&self) -> Table<State> {
        Table::new(self.name)
    }
    const fn dues(&self) -> Table<Due> {
        Table::new(self.name)
    }
    const fn graves(&self) -> Table<Grave> {
        Table::new(self.name)
    }
    const fn tallies(&self) -> Table<Tally> {
        Table::new(self.name)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<J> fmt::Debug for Queue<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Queue").field(&self.name).finish()
    }
}

fn job_key(id: JobId) -> Key {
    Key::new(["job"]).and_u64(id.0)
}

fn state_key(id: JobId) -> Key {
    Key::new(["state"]).and_u64(id.0)
}

fn dead_key(id: JobId) -> Key {
    Key::new(["dead"]).and_u64(id.0)
}

fn due_key(due_ms: u64, id: JobId) -> Key {
    Key::new([DUE]).and_u64(due_ms).and_u64(id.0)
}

fn read_due_key(key: &Key) -> Result<(u64, JobId), Error> {
    match (key.number(1), key.number(2)) {
        (Some(due_ms), Some(id)) => Ok((due_ms, JobId(id))),
        _ => Err(Error::Damaged { what: "a due time's key" }),
    }
}

/// The job as its type, whatever version it was enqueued in.
fn open<J: Record>(job: &Job) -> Result<J, Error> {
    decode_as(job.version, job.job.get().as_bytes())
}

#[cfg(test)]
mod tests;
