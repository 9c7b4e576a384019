//! Event source mappings at work: reading queues and streams, and calling functions for what they hold.
//!
//! `lambda` owns the operations and the records of mappings. This crate takes the records, runs what is enabled, and
//! settles what changes. There is one trait for everything that events come from ([`Source`]), and two engines above it:
//! queues, whose messages are removed when they were processed, and streams, whose position is kept here.
//!
//! # The guarantee
//!
//! A record is delivered at least once. Records of one shard and key are delivered in their order: the next batch is not
//! begun before the one before it is settled. The position in a shard is durable, moves only over what was settled, and
//! only for the worker that claimed the shard last; so nothing is lost when the server is killed, and what was under way
//! is delivered again. Messages of a queue are removed only after the function processed them.
//!
//! # The map
//!
//! | module | what it holds |
//! |---|---|
//! | `worker`, `run` | which mappings run; what one of them needs |
//! | `source` | what a source is |
//! | `queue` | the engine of queues |
//! | `stream`, `shard`, `deliver` | the engine of streams: shards, lanes, attempts |
//! | `checkpoint` | positions, and who may write them |
//! | `filter`, `response`, `given_up` | which records are wanted, what functions answer, what is said of lost ones |
//! | `sqs`, `kinesis`, `dynamodb`, `services` | the sources there are, reached through `gatemill-aws` |
//! | `call`, `counts`, `backoff`, `limits`, `error` | the rest |
//!
//! What it does not do: it decides on no setting, and has no operation.

mod backoff;
mod call;
mod checkpoint;
mod counts;
mod deliver;
mod dynamodb;
mod error;
mod fan_out;
mod filter;
mod given_up;
mod kinesis;
pub mod limits;
mod queue;
mod response;
mod run;
mod scale;
mod services;
mod shard;
mod source;
mod sqs;
mod stream;
#[cfg(test)]
mod tests;
mod worker;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicUsize},
};

use gatemill_lambda::mapping::SourceArn;
use gatemill_meter::Meters;
use gatemill_store::Store;
use gatemill_wire::{Clock, Entropy, routes::BoxFuture};
use tokio::sync::{Semaphore, watch};

pub use call::Functions;
pub use counts::EventCounts;
pub use error::{CallError, SourceError};
pub use given_up::FailureMessage;
pub use services::AwsSources;
pub use source::{Cursor, Polled, Position, Record, Settle, Shard, Source};

use counts::Counts;
use run::Shared;

/// Who opens sources, and tells destinations of records that are given up.
pub trait Sources: Send + Sync {
    /// The source of an ARN, read for a function with this role.
    ///
    /// # Errors
    /// When there is no way to it.
    fn open(&self, source: &SourceArn, role: &str) -> Result<Arc<dyn Source>, SourceError>;

    /// Tells the destination of that ARN.
    fn give_up<'a>(
        &'a self,
        destination: &'a str,
        message: &'a FailureMessage,
    ) -> BoxFuture<'a, Result<(), SourceError>>;
}

/// What [`Events::new`] needs.
pub struct Parts {
    /// Where mappings and positions are.
    pub store: Store,
    /// Who calls functions.
    pub functions: Arc<dyn Functions>,
    /// Who opens sources.
    pub sources: Arc<dyn Sources>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Ids and jitter.
    pub entropy: Arc<dyn Entropy>,
    /// What measures mappings.
    pub meters: Arc<Meters>,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

/// The event source mappings of a server.
pub struct Events(Arc<Shared>);

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

impl Events {
    /// Puts the engines together; nothing runs before [`Self::work`].
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Shared {
            store: parts.store,
            functions: parts.functions,
            sources: parts.sources,
            clock: parts.clock,
            entropy: parts.entropy,
            meters: parts.meters,
            polls: Semaphore::new(limits::POLLS_AT_ONCE),
            provisioned_polls: Semaphore::new(limits::PROVISIONED_POLLS_AT_ONCE),
            readers: AtomicUsize::new(0),
            resets: watch::Sender::new(0),
            totals: Counts::default(),
            counts: Mutex::new(HashMap::new()),
        }))
    }

    /// Runs the mappings, for ever. May be dropped at any instant and begun again; one at a time.
    pub fn work(&self) -> BoxFuture<'static, ()> {
        Box::pin(worker::work(Arc::clone(&self.0)))
    }

    /// After the store was emptied: nothing runs any more of what was known.
    pub fn reset(&self) {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.0.resets.send_modify(|resets| *resets += 1);
    }

    /// What all mappings did since the server began.
    pub fn counts(&self) -> EventCounts {
        self.0.totals.read()
    }

    /// The same of each mapping that asked for metrics of its own, by UUID.
    pub fn counts_by_mapping(&self) -> Vec<(String, EventCounts)> {
        let all = self.0.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> =
            all.iter().map(|(key, counts)| (key.uuid.clone(), counts.read())).collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all
    }
}
