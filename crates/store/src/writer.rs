//! The one thread that writes: it joins the writes that wait into one commit.
//!
//! A commit costs a disk's sync whatever it holds. While one is under way, the next writes gather;
//! the writer takes all of them (within [`limits`](crate::limits)), runs their closures one after the
//! other on one [`Write`], commits once, and only then answers each. So one thread's order is the
//! order of all writes, and 64 callers share a sync instead of standing in line for 64.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use crate::Error;
use crate::engine::{Changes, Engine};
use crate::limits::{BATCH_BYTES_MAX, BATCH_WRITES_MAX, REOPEN_EVERY, WRITES_WAITING_MAX};
use crate::transaction::{Hook, Write};
use crate::watch::Watches;

/// What the writer may be asked, in the order of asking.
pub(crate) enum Message {
    Write(Box<dyn Job>),
    Flush(oneshot::Sender<Result<(), Error>>),
    Clear(oneshot::Sender<Result<(), Error>>),
    Close(oneshot::Sender<Result<(), Error>>),
}

/// A closure that waits, and the caller that waits for it.
pub(crate) trait Job: Send {
    /// Runs the closure and takes back what it did.
    fn rehearse(&mut self, tx: &mut Write);
    /// Runs the closure and keeps its answer.
    fn run(&mut self, tx: &mut Write);
    /// Gives the caller the answer, or the error of the commit.
    fn settle(self: Box<Self>, committed: Result<(), Arc<Error>>);
}

/// How a closure ended: its answer, or the panic that it raised.
type Ended<T, E> = thread::Result<Result<T, E>>;

/// The caller's side of a job.
pub(crate) struct Answer<T, E>(oneshot::Receiver<Ended<T, E>>);

struct Closure<F, T, E> {
    f: F,
    ended: Option<Ended<T, E>>,
    caller: oneshot::Sender<Ended<T, E>>,
}

/// Counts what the writer did, so that tests and metrics can tell group commit from none.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) writes: AtomicU64,
    pub(crate) commits: AtomicU64,
}

pub(crate) fn job<F, T, E>(f: F) -> (Box<dyn Job>, Answer<T, E>)
where
    F: Fn(&mut Write) -> Result<T, E> + Send + 'static,
    T: Send + 'static,
    E: From<Error> + Send + 'static,
{
    let (caller, answer) = oneshot::channel();
    (Box::new(Closure { f, ended: None, caller }), Answer(answer))
}

impl<T, E: From<Error>> Answer<T, E> {
    /// The closure's answer after its commit. A panic of the closure goes on in the caller.
    pub(crate) async fn wait(self) -> Result<T, E> {
        match self.0.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => Err(Error::Closed.into()),
        }
    }
}

impl<F, T, E> Closure<F, T, E>
where
    F: Fn(&mut Write) -> Result<T, E>,
{
    fn call(&self, tx: &mut Write) -> Ended<T, E> {
        // What a panic leaves half-done is the transaction, and `step` takes that back.
        catch_unwind(AssertUnwindSafe(|| (self.f)(tx)))
    }
}

impl<F, T, E> Job for Closure<F, T, E>
where
    F: Fn(&mut Write) -> Result<T, E> + Send + 'static,
    T: Send + 'static,
    E: From<Error> + Send + 'static,
{
    fn rehearse(&mut self, tx: &mut Write) {
        drop(tx.step(|tx| self.call(tx), |_| false));
    }

    fn run(&mut self, tx: &mut Write) {
        let ended = tx.step(|tx| self.call(tx), |ended| matches!(ended, Ok(Ok(_))));
        self.ended = Some(ended);
    }

    fn settle(self: Box<Self>, committed: Result<(), Arc<Error>>) {
        let ended = match (committed, self.ended) {
            (Ok(()), Some(ended)) => ended,
            // A panic is told as it is. A refusal is not: it may rest on what was not committed.
            (Err(_), Some(Err(panic))) => Err(panic),
            (Err(source), _) => Ok(Err(Error::NotConfirmed { source }.into())),
            (Ok(()), None) => Ok(Err(Error::Closed.into())),
        };
        // A caller that left does not want to know.
        let _ = self.caller.send(ended);
    }
}

/// Starts the writer. It ends when it is told to close, or when every sender is gone.
pub(crate) fn start(
    engine: Arc<dyn Engine>,
    watches: Arc<Watches>,
    tally: Arc<Tally>,
) -> std::io::Result<(mpsc::Sender<Message>, JoinHandle<()>)> {
    let (sender, messages) = mpsc::channel(WRITES_WAITING_MAX);
    let writer = Writer { engine, watches, tally, messages, failed: None };
    let thread = thread::Builder::new().name("store-writer".into()).spawn(|| writer.run())?;
    Ok((sender, thread))
}

struct Writer {
    engine: Arc<dyn Engine>,
    watches: Arc<Watches>,
    tally: Arc<Tally>,
    messages: mpsc::Receiver<Message>,
    /// The commit that failed. Whether it is on the disk is unknown until the files are opened again,
    /// so no later write may build on its absence: until then there is none.
    failed: Option<Failed>,
}

struct Failed {
    source: Arc<Error>,
    /// Those of the commit, which run when the files are open again: it may be durable after all.
    hooks: Vec<Hook>,
    reopen_after: Instant,
}

impl Writer {
    fn run(mut self) {
        let mut next = self.messages.blocking_recv();
        while let Some(message) = next.take() {
            match message {
                Message::Write(first) => next = self.batch(first),
                Message::Flush(caller) => drop(caller.send(Ok(()))),
                Message::Clear(caller) => drop(caller.send(self.clear())),
                Message::Close(caller) => {
                    self.messages.close();
                    drop(caller.send(self.engine.close()));
                    return;
                }
            }
            next = next.or_else(|| self.messages.blocking_recv());
        }
        // All stores are gone without a close; the files must be free when the last one's drop ends.
        if let Err(error) = self.engine.close() {
            tracing::error!(error = &error as &dyn std::error::Error, "the store did not close");
        }
    }

    /// Runs `first` and the writes that wait behind it as one commit. Answers the message that ended
    /// the batch, if one did.
    fn batch(&mut self, first: Box<dyn Job>) -> Option<Message> {
        let mut jobs = vec![first];
        let mut after = None;
        self.recover();
        if self.failed.is_none() {
            let mut hooks = Vec::new();
            if let Err(error) = self.run_batch(&mut jobs, &mut after, &mut hooks) {
                tracing::error!(error = &error as &dyn std::error::Error, "a commit failed");
                let reopen_after = Instant::now() + REOPEN_EVERY;
                self.failed = Some(Failed { source: Arc::new(error), hooks, reopen_after });
            }
        }
        self.tally.writes.fetch_add(jobs.len() as u64, Ordering::Relaxed);
        for job in jobs {
            let failed = self.failed.as_ref().map(|failed| Arc::clone(&failed.source));
            job.settle(failed.map_or(Ok(()), Err));
        }
        after
    }

    /// After a commit that failed, and not too often: opens the files again, which tells what is in them.
    fn recover(&mut self) {
        let Some(failed) = &mut self.failed else { return };
        if Instant::now() < failed.reopen_after {
            return;
        }
        if let Err(error) = self.engine.reopen() {
            failed.reopen_after = Instant::now() + REOPEN_EVERY;
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "the store does not open again after a failed commit");
            return;
        }
        run_hooks(std::mem::take(&mut failed.hooks));
        self.failed = None;
        self.watches.touch_all();
        tracing::info!("the store was opened again after a failed commit");
    }

    /// Runs the first of `jobs` and adds those that wait, until one message is something else.
    fn run_batch(
        &mut self,
        jobs: &mut Vec<Box<dyn Job>>,
        after: &mut Option<Message>,
        hooks: &mut Vec<Hook>,
    ) -> Result<(), Error> {
        let mut tx = Write::new(self.engine.snapshot()?);
        jobs.iter_mut().for_each(|job| self.run_job(job.as_mut(), &mut tx));
        while jobs.len() < BATCH_WRITES_MAX && tx.bytes() < BATCH_BYTES_MAX {
            match self.messages.try_recv() {
                Ok(Message::Write(mut job)) => {
                    self.run_job(job.as_mut(), &mut tx);
                    jobs.push(job);
                }
                Ok(other) => {
                    *after = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        let batch = tx.finish();
        *hooks = batch.hooks;
        self.commit(&batch.changes, hooks)
    }

    fn run_job(&self, job: &mut dyn Job, tx: &mut Write) {
        if self.engine.rehearses() {
            job.rehearse(tx);
        }
        job.run(tx);
    }

    fn commit(&self, changes: &Changes, hooks: &mut Vec<Hook>) -> Result<(), Error> {
        if !changes.is_empty() {
            self.engine.commit(changes)?;
            self.tally.commits.fetch_add(1, Ordering::Relaxed);
        }
        run_hooks(std::mem::take(hooks));
        self.watches.touch(changes.tables().map(|(table, _)| table));
        Ok(())
    }

    fn clear(&mut self) -> Result<(), Error> {
        self.recover();
        if let Some(failed) = &self.failed {
            return Err(Error::NotConfirmed { source: Arc::clone(&failed.source) });
        }
        self.engine.clear()?;
        self.watches.touch_all();
        Ok(())
    }
}

fn run_hooks(hooks: Vec<Hook>) {
    for hook in hooks {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(hook)) {
            tracing::error!(panic = said(panic.as_ref()), "a hook of a commit panicked");
        }
    }
}

/// What a panic said, if it said it in words.
fn said(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without words")
}
