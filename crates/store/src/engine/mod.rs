//! What an engine must do: ordered bytes in named tables, a consistent snapshot, an atomic commit.
//!
//! The seam is this narrow on purpose. Typed tables, queues, watches, group commit and the undoing of
//! one write among many are built once, above it, so that an engine cannot get them wrong; and one
//! [`suite`](crate::suite) covers all engines.

mod embedded;
mod memory;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Bound;

pub(crate) use embedded::Embedded;
pub(crate) use memory::Memory;

use crate::Error;

/// Key and value, as stored.
pub(crate) type Entry = (Vec<u8>, Vec<u8>);

/// Entries in the order asked for.
pub(crate) type Entries<'a> = Box<dyn Iterator<Item = Result<Entry, Error>> + 'a>;

/// Holds ordered bytes. Called by one writer thread and any number of readers at once.
pub(crate) trait Engine: Debug + Send + Sync + 'static {
    /// What is committed now, unmoved by later commits.
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, Error>;

    /// Makes all of `changes` durable, or none. Called by the writer thread alone.
    fn commit(&self, changes: &Changes) -> Result<(), Error>;

    /// Gives up the files and opens them again, to find out what a failed commit left there. Snapshots
    /// from before may fail afterwards. Called by the writer thread alone.
    fn reopen(&self) -> Result<(), Error>;

    /// Removes every table, durably and at once.
    fn clear(&self) -> Result<(), Error>;

    /// Whether each closure is run once in vain before it counts: so the tests of every crate find the
    /// closure that does not bear to run twice, before an engine is written that needs it.
    fn rehearses(&self) -> bool {
        false
    }

    /// Gives up the files. Calls after it fail with [`Error::Closed`].
    fn close(&self) -> Result<(), Error>;
}

/// A consistent view of all tables.
pub(crate) trait Snapshot {
    /// The value at `key`.
    fn get(&self, table: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, Error>;

    /// The entries of `span` in key order, or in reverse. A table never written is empty.
    fn range<'a>(
        &'a self,
        table: &'static str,
        span: &Span,
        direction: Direction,
    ) -> Result<Entries<'a>, Error>;
}

/// The order of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Forward,
    Reverse,
}

/// Which keys a range covers. Never empty, never inverted; [`Span::below`] answers nothing instead.
#[derive(Clone, Debug)]
pub struct Span {
    pub(crate) start: Bound<Vec<u8>>,
    pub(crate) end: Bound<Vec<u8>>,
}

impl Span {
    /// The keys that start with `prefix` and come after `after` in `direction`.
    pub(crate) fn below(prefix: &[u8], after: Option<&[u8]>, direction: Direction) -> Option<Span> {
        let end = prefix_end(prefix);
        let mut span = Span {
            start: Bound::Included(prefix.to_vec()),
            end: end.clone().map_or(Bound::Unbounded, Bound::Excluded),
        };
        let Some(after) = after else { return Some(span) };
        let past_end = end.is_some_and(|end| after >= end.as_slice());
        match direction {
            Direction::Forward if past_end => return None,
            Direction::Forward if after >= prefix => span.start = Bound::Excluded(after.to_vec()),
            Direction::Reverse if after <= prefix => return None,
            Direction::Reverse if !past_end => span.end = Bound::Excluded(after.to_vec()),
            Direction::Forward | Direction::Reverse => {}
        }
        Some(span)
    }

    pub(crate) fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (self.start.as_ref().map(Vec::as_slice), self.end.as_ref().map(Vec::as_slice))
    }
}

/// The first bytes after everything that starts with `prefix`; nothing if there are none.
fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// What a batch changes: per table and key the new value, or nothing for a deletion.
#[derive(Debug, Default)]
pub(crate) struct Changes(BTreeMap<&'static str, BTreeMap<Vec<u8>, Option<Vec<u8>>>>);

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.values().all(BTreeMap::is_empty)
    }

    pub(crate) fn get(&self, table: &'static str, key: &[u8]) -> Option<&Option<Vec<u8>>> {
        self.0.get(table)?.get(key)
    }

    /// Sets a value and answers what this batch had there before.
    pub(crate) fn set(
        &mut self,
        table: &'static str,
        key: Vec<u8>,
        value: Option<Vec<u8>>,
    ) -> Option<Option<Vec<u8>>> {
        self.0.entry(table).or_default().insert(key, value)
    }

    /// Forgets what this batch did at `key`.
    pub(crate) fn unset(&mut self, table: &'static str, key: &[u8]) {
        if let Some(entries) = self.0.get_mut(table) {
            entries.remove(key);
        }
    }

    pub(crate) fn table(&self, table: &str) -> Option<&BTreeMap<Vec<u8>, Option<Vec<u8>>>> {
        self.0.get(table)
    }

    /// The tables that change, each with its changes in key order.
    pub(crate) fn tables(
        &self,
    ) -> impl Iterator<Item = (&'static str, &BTreeMap<Vec<u8>, Option<Vec<u8>>>)> {
        self.0.iter().filter(|(_, entries)| !entries.is_empty()).map(|(name, of)| (*name, of))
    }
}
