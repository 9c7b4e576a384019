//! The proof that every engine passes.
//!
//! An engine's test gives a way to make an empty store and calls [`run`]; what holds for one engine
//! then holds for all. A failure panics, as tests do.

mod blobs;
mod queues;
mod records;

use crate::Store;

/// Runs every case, each on a store that `make` made anew and empty. Needs a tokio runtime.
///
/// # Panics
/// If the engine does not do what the facade promises.
pub async fn run(make: impl Fn() -> Store) {
    records::cases(&make).await;
    queues::cases(&make).await;
    blobs::cases(&make).await;
}
