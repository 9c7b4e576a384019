//! CloudWatch Logs from the outside: requests through `wire::serve`, on both engines of the store.

#![expect(clippy::unwrap_used, reason = "a test's own functions panic as its test does")]

mod append;
mod bench;
mod calls;
mod paging;
