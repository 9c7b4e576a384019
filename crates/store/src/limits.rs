//! Every bound of the store, in one place.
//!
//! The AWS quotas that a bound must leave room for are named beside it. A bound here protects the
//! process; the quota itself is enforced, with AWS's message, by the service that has it.

use std::time::Duration;

/// Longest encoded [`Key`](crate::Key). Far above any name or ARN that AWS allows.
pub const KEY_BYTES_MAX: usize = 2 * 1024;

/// Largest encoded record. Holds the largest API definition that `ImportRestApi` takes (6 MiB) and
/// the largest asynchronous event (1 MiB) with their JSON escapes.
pub const RECORD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Most bytes that one write may change, keys and values together.
pub const WRITE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Writes that may wait for the writer. The next caller waits for a place, which is back pressure.
pub const WRITES_WAITING_MAX: usize = 4096;

/// Writes that one commit may join.
pub const BATCH_WRITES_MAX: usize = 512;

/// Once a batch has changed this many bytes, no further write joins it.
pub const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Largest blob: Lambda's quota for an unzipped package with its layers (250 MB), which is above
/// that of any zip.
pub const BLOB_BYTES_MAX: usize = 262_144_000;

/// After a commit that failed, the files are opened again at most this often: it may walk all of them.
pub const REOPEN_EVERY: Duration = Duration::from_secs(2);

/// Memory that the embedded engine may use to cache pages. Filled as pages are read, not at start.
pub const CACHE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Jobs that one call of [`Queue::lease`](crate::Queue::lease) hands out.
pub const LEASE_JOBS_MAX: usize = 1000;

/// Once the jobs that a lease hands out hold this many bytes, no further job is added.
pub const LEASE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Longest reason kept with a dead letter, in bytes; the rest is cut.
pub const REASON_BYTES_MAX: usize = 1024;
