//! CloudWatch Logs: groups, streams and events, durable and in order.
//!
//! # The guarantee
//!
//! What a reader has once seen survives `kill -9` and the loss of power: readers see committed events alone. Events
//! of one stream are shown by time, and those of one time in the order of their arrival. [`Logs::append`] never drops
//! an event: when the writer cannot keep up it waits. After [`Logs::flush`], everything appended before it is
//! durable. (An append whose commit the store could not confirm is written again, so a failing disk may show a line
//! twice; it never loses one.)
//!
//! # The mechanism
//!
//! Events are stored in chunks, one record each, found by stream and by group in the order of time. One writer worker
//! joins the appends that wait, of all streams, into one store transaction; a sweeper worker removes what expired
//! or belongs to deleted groups and streams. Readers honour retention and deletion at once and do not wait for it.
//!
//! | module | what it holds |
//! |---|---|
//! | `records` | the stored form, the tables and their keys |
//! | `ingest` | events into chunks |
//! | `writer`, `sweeper` | the two workers |
//! | `merge`, `position` | reading in order; event ids and tokens |
//! | `pattern` | filter patterns |
//! | `gaps` | what of requests is not honoured |
//! | `groups`, `streams`, `tags`, `put_events`, `get_events`, `filter_events` | the handlers |
//!
//! # What it does not do
//!
//! Every operation that is not in [`Logs::routes`] answers 501. Groups of a class other than `STANDARD`, KMS keys,
//! deletion protection, entities of events and groups of linked accounts are refused, since nothing would enforce them.

mod error;
mod filter_events;
mod gaps;
mod get_events;
mod groups;
mod ingest;
pub mod limits;
mod merge;
mod names;
mod pattern;
mod position;
mod put_events;
mod records;
mod streams;
mod sweeper;
mod tags;
mod writer;

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use gatemill_api::logs as api;
use gatemill_store::{Read, Store};
use gatemill_wire::{Clock, Entropy, Served, Table};

pub use error::Error;
pub use gaps::GAPS;
pub use ingest::Event;

/// CloudWatch Logs.
pub struct Logs {
    store: Store,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    queue: writer::Queue,
}

/// Which operation is served by which handler.
pub fn table() -> Table<Logs, Error> {
    Table::new(&api::SERVICE)
        .on::<api::CreateLogGroup>(groups::create)
        .on::<api::DeleteLogGroup>(groups::delete)
        .on::<api::DescribeLogGroups>(groups::describe)
        .on::<api::PutRetentionPolicy>(groups::put_retention)
        .on::<api::DeleteRetentionPolicy>(groups::delete_retention)
        .on::<api::CreateLogStream>(streams::create)
        .on::<api::DeleteLogStream>(streams::delete)
        .on::<api::DescribeLogStreams>(streams::describe)
        .on::<api::PutLogEvents>(put_events::put)
        .on::<api::GetLogEvents>(get_events::get)
        .on::<api::FilterLogEvents>(filter_events::filter)
        .on::<api::ListTagsForResource>(tags::list)
        .on::<api::ListTagsLogGroup>(tags::list_of_group)
        .on::<api::TagResource>(tags::tag)
        .on::<api::UntagResource>(tags::untag)
}

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logs").finish_non_exhaustive()
    }
}

/// A background task: the server runs `future` to its end, and takes a new one from [`Logs::workers`] if it died.
pub struct Worker {
    /// What it is called in logs and metrics.
    pub name: &'static str,
    /// The task; it ends when the store is closed.
    pub future: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Logs {
    /// The logs in `store`. Nothing is written by [`Self::append`] until the [workers](Self::workers) run.
    pub fn new(store: Store, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Arc<Self> {
        Arc::new(Self { store, clock, entropy, queue: writer::Queue::new() })
    }

    /// The operations and their handlers.
    pub fn routes(self: &Arc<Self>) -> Box<dyn Served> {
        Box::new(table().serve(Arc::clone(self)))
    }

    /// The background tasks. May be called again to replace one that died: what it had not written is written then.
    pub fn workers(self: &Arc<Self>) -> Vec<Worker> {
        let writer = writer::run(Arc::clone(self));
        let sweeper = sweeper::run(Arc::clone(self));
        vec![
            Worker { name: "logs-writer", future: Box::pin(writer) },
            Worker { name: "logs-sweeper", future: Box::pin(sweeper) },
        ]
    }

    /// Adds events to a stream; the group and the stream are made if they are not there.
    ///
    /// Returns when the events are in the queue, in order with all appends to this stream that returned before; waits
    /// while the queue is full. They are durable and visible some milliseconds later, or after [`Self::flush`].
    ///
    /// # Errors
    /// [`Error::Ended`] when the store is closed and nothing can be written any more.
    pub async fn append(
        &self,
        account: &str,
        region: &str,
        group: &str,
        stream: &str,
        events: Vec<Event>,
    ) -> Result<(), Error> {
        let ids = (self.id(), self.id());
        let to = writer::Destination::new(account, region, group, stream, ids);
        self.queue.append(to, events).await
    }

    /// Returns when everything appended before is durable.
    ///
    /// # Errors
    /// [`Error::Ended`] when the store is closed.
    pub async fn flush(&self) -> Result<(), Error> {
        self.queue.flush().await
    }

    /// Forgets nothing that is stored (the store's own `clear` does that); waits for the appends under way, so that
    /// none of them appears after the store was emptied.
    ///
    /// # Errors
    /// [`Error::Ended`] when the store is closed.
    pub async fn reset(&self) -> Result<(), Error> {
        self.flush().await
    }

    /// A new id of a group or a stream.
    pub(crate) fn id(&self) -> u64 {
        let mut bytes = [0; 8];
        self.entropy.fill(&mut bytes);
        u64::from_be_bytes(bytes)
    }

    /// Reads on a thread of its own kind: a search may take long, and the caller's thread carries other calls.
    pub(crate) async fn search<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Read) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let store = self.store.clone();
        tokio::task::spawn_blocking(move || store.read(f)).await.map_err(|_| Error::Interrupted)?
    }
}
