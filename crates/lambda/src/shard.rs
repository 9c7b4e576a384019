//! Which data-plane thread this is.
//!
//! The server runs one current-thread runtime per core. An environment belongs to the thread whose reactor owns its
//! sockets, so that a call which stays on that thread wakes no other.

use std::cell::Cell;

thread_local! {
    static SHARD: Cell<Option<usize>> = const { Cell::new(None) };
    static CORE: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Says that the calling thread is data-plane thread number `shard`, counted from 0, and which core it keeps to, if it
/// does. The server calls it once on each of them; threads that never did share the environments of a pool of their own.
pub fn enter_shard(shard: usize, core: Option<usize>) {
    SHARD.set(Some(shard));
    CORE.set(core);
}

pub(crate) fn current() -> Option<usize> {
    SHARD.get()
}

/// The core that this data-plane thread keeps to.
pub(crate) fn core() -> Option<usize> {
    CORE.get()
}
