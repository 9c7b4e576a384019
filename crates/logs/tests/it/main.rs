//! CloudWatch Logs from the outside: requests through `wire::serve`, on both engines of the store.

mod append;
mod bench;
mod calls;
mod paging;
