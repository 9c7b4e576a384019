//! Durable records, queues and blobs behind one facade, with an embedded and an in-memory engine.
//!
//! # The guarantee
//!
//! When [`Store::write`] returns, what its closure changed is on the disk: it survives `kill -9` and the
//! loss of power. Before that, nothing of it can be seen, by anyone, ever. All of it or none is there:
//! records, queues and the counts beside them change together. Writes have one order, and each closure
//! sees all writes before it. A read sees one instant. A blob's name stands for its whole content or is
//! not there. A job that was enqueued is handed out until it is settled, and it is settled once.
//!
//! # The mechanism
//!
//! One writer thread joins the writes that wait into one commit (group commit), so a disk's
//! sync is shared by all who wait for it. The closures run one after the other over a snapshot;
//! their changes gather in memory, and a journal takes back those of a closure that fails. The engine
//! below is asked for three things alone: a snapshot, an atomic commit, and emptiness. Everything
//! else (types, versions, queues, watches) is built above it once, and `suite` proves it on every engine.
//!
//! * embedded ([`Store::open`]): one directory; records in a redb file, blobs as files. No set-up.
//! * memory ([`Store::memory`]): for tests alone.
//!
//! # The map
//!
//! | module | what it holds |
//! |---|---|
//! | `store`, `table`, `transaction`, `watch` | the facade, typed tables, what a closure sees, being woken |
//! | `record`, `key` | what is stored, how it outlives the code that wrote it, and where |
//! | `seal` | secret parts of records, for those who have some |
//! | `queue`, `blob`, `digest` | the durable queue; files named by their content |
//! | `writer`, `engine`, `files` | group commit, and the engines below it |
//! | `suite` | the proof that every engine passes |
//!
//! # What it does not do
//!
//! It reads no clock and no randomness: times and ids come from the caller. It does not open one
//! directory from two processes. It encrypts nothing on its own. It does not know AWS: errors here are the
//! server's own.
//!
//! # In use
//!
//! ```
//! use gatemill_store::{Error, Key, Record, Store, Table};
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Alias { function_version: u64 }
//! impl Record for Alias { const VERSION: u8 = 1; }
//!
//! const ALIASES: Table<Alias> = Table::new("aliases");
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let store = Store::memory();
//! let mut changes = store.watch(ALIASES.name());
//! let live = Key::new(["000000000000", "us-east-1", "resize", "live"]);
//! let key = live.clone();
//! store.write(move |tx| ALIASES.put(tx, &key, &Alias { function_version: 3 })).await?;
//! changes.changed().await;
//! let found = store.read(|tx| ALIASES.get(tx, &live))?.expect("it was written");
//! assert_eq!(found.function_version, 3);
//! # Ok::<_, Error>(()) }).unwrap();
//! ```
//!
//! # Map
//!
//! `store` the facade · `writer` the thread, group commit · `transaction` what closures see · `table`,
//! `record`, `key` typed records · `seal` · `queue` · `blob`, `digest` · `watch` · `engine` the seam and the two
//! engines · `limits` · `suite` the proof.

mod blob;
mod digest;
mod engine;
mod error;
mod files;
mod key;
pub mod limits;
mod queue;
mod record;
mod seal;
mod store;
#[cfg(feature = "suite")]
pub mod suite;
mod table;
mod transaction;
mod watch;
mod writer;

pub use blob::Blobs;
pub use digest::Digest;
pub use error::Error;
pub use key::{Key, Part};
pub use queue::{Dead, JobId, Leased, Queue, QueueCounts, Settled};
pub use record::{Record, decode, decode_as, encode};
pub use seal::{Sealer, Unsealed};
pub use store::{Store, Written};
pub use table::Table;
pub use transaction::{Read, Reader, Write};
pub use watch::Watch;
