//! Being woken by a commit.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

/// Wakes whenever a commit touched one table.
///
/// No change is lost if the worker makes its watch first, then looks at the table, then waits: a
/// commit that came in between is still to be told. Commits may be told together.
#[derive(Debug)]
pub struct Watch(watch::Receiver<u64>);

impl Watch {
    /// Returns after a commit that this watch has not told yet. Once the store is closed nothing can
    /// change any more, and it never returns. May be dropped at any instant without losing a change.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The watched tables, each with a count of commits.
#[derive(Debug, Default)]
pub(crate) struct Watches(Mutex<HashMap<&'static str, watch::Sender<u64>>>);

impl Watches {
    pub(crate) fn watch(&self, table: &'static str) -> Watch {
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Watch(watched.entry(table).or_insert_with(|| watch::Sender::new(0)).subscribe())
    }

    /// Wakes who watches one of `tables`.
    pub(crate) fn touch(&self, tables: impl Iterator<Item = &'static str>) {
        let watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for table in tables {
            if let Some(sender) = watched.get(table) {
                sender.send_modify(|commits| *commits += 1);
            }
        }
    }

    /// Wakes everyone.
    pub(crate) fn touch_all(&self) {
        let watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watched.values().for_each(|sender| sender.send_modify(|commits| *commits += 1));
    }
}
