//! What a closure sees: a consistent view to read, and, for a write, its changes on top.
//!
//! One [`Write`] serves all closures of a batch. Their changes gather above the snapshot, so that
//! each sees what those before it did; a journal takes back the changes of one that fails.

use std::fmt;
use std::iter::Peekable;
use std::ops::Bound;

use crate::Error;
use crate::engine::{Changes, Direction, Entries, Entry, Snapshot, Span};
use crate::limits::{KEY_BYTES_MAX, WRITE_BYTES_MAX};

/// Something to read records from: a [`Read`] or a [`Write`].
pub trait Reader: sealed::Sealed {}

pub(crate) mod sealed {
    use super::{Direction, Entries, Error, Span};

    /// The raw reads below typed tables; sealed, since engines come in through another seam.
    pub trait Sealed {
        #[doc(hidden)]
        fn entry(&self, table: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, Error>;

        #[doc(hidden)]
        fn entries<'a>(
            &'a self,
            table: &'static str,
            span: &Span,
            direction: Direction,
        ) -> Result<Entries<'a>, Error>;
    }
}

/// A consistent snapshot of the store.
pub struct Read {
    snapshot: Box<dyn Snapshot>,
}

/// A write under way: reads see the snapshot and all changes so far.
pub struct Write {
    base: Box<dyn Snapshot>,
    changes: Changes,
    journal: Vec<Undo>,
    hooks: Vec<Hook>,
    bytes: usize,
    /// What `bytes` was when the closure that runs now began.
    bytes_before: usize,
}

/// What a change replaced within the batch: nothing if the batch had not touched the key.
struct Undo {
    table: &'static str,
    key: Vec<u8>,
    before: Option<Option<Vec<u8>>>,
}

/// What a batch leaves for the writer to do.
pub(crate) struct Batch {
    pub(crate) changes: Changes,
    pub(crate) hooks: Vec<Hook>,
}

impl Read {
    pub(crate) fn new(snapshot: Box<dyn Snapshot>) -> Self {
        Read { snapshot }
    }
}

impl Reader for Read {}

impl sealed::Sealed for Read {
    fn entry(&self, table: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.snapshot.get(table, key)
    }

    fn entries<'a>(
        &'a self,
        table: &'static str,
        span: &Span,
        direction: Direction,
    ) -> Result<Entries<'a>, Error> {
        self.snapshot.range(table, span, direction)
    }
}

/// What is to be done after a commit.
pub(crate) type Hook = Box<dyn FnOnce() + Send>;

impl Write {
    /// Runs `f` once the commit is durable and visible, before the write returns: the place to drop
    /// what a cache holds. Never runs if the write fails. If the commit fails, it runs once the files
    /// are open again, since then the commit may turn out to be durable after all; so it may drop what
    /// is known, and must add nothing. Must be short, since the writer waits for it.
    pub fn on_commit(&mut self, f: impl FnOnce() + Send + 'static) {
        self.hooks.push(Box::new(f));
    }

    pub(crate) fn new(base: Box<dyn Snapshot>) -> Self {
        Write {
            base,
            changes: Changes::default(),
            journal: Vec::new(),
            hooks: Vec::new(),
            bytes: 0,
            bytes_before: 0,
        }
    }

    /// Runs one closure of the batch. If it does not succeed, nothing of it stays.
    pub(crate) fn step<T>(
        &mut self,
        f: impl FnOnce(&mut Write) -> T,
        succeeded: impl FnOnce(&T) -> bool,
    ) -> T {
        let hooks = self.hooks.len();
        self.journal.clear();
        self.bytes_before = self.bytes;
        let answer = f(self);
        if !succeeded(&answer) {
            self.hooks.truncate(hooks);
            self.bytes = self.bytes_before;
            while let Some(undo) = self.journal.pop() {
                match undo.before {
                    Some(value) => drop(self.changes.set(undo.table, undo.key, value)),
                    None => self.changes.unset(undo.table, &undo.key),
                }
            }
        }
        answer
    }

    /// The bytes changed by the batch so far.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Ends the batch and lets go of the snapshot, so that the engine may reuse what it held.
    pub(crate) fn finish(self) -> Batch {
        Batch { changes: self.changes, hooks: self.hooks }
    }

    /// Sets or removes the value at `key`.
    pub(crate) fn set(
        &mut self,
        table: &'static str,
        key: &[u8],
        value: Option<Vec<u8>>,
    ) -> Result<(), Error> {
        if key.len() > KEY_BYTES_MAX {
            return Err(Error::TooLarge { what: "a key", bytes: key.len(), max: KEY_BYTES_MAX });
        }
        let bytes = key.len() + value.as_ref().map_or(0, Vec::len);
        let step = self.bytes - self.bytes_before + bytes;
        if step > WRITE_BYTES_MAX {
            return Err(Error::TooLarge { what: "a write", bytes: step, max: WRITE_BYTES_MAX });
        }
        let before = self.changes.set(table, key.to_vec(), value);
        self.bytes += bytes;
        self.journal.push(Undo { table, key: key.to_vec(), before });
        Ok(())
    }
}

impl Reader for Write {}

impl sealed::Sealed for Write {
    fn entry(&self, table: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        match self.changes.get(table, key) {
            Some(value) => Ok(value.clone()),
            None => self.base.get(table, key),
        }
    }

    fn entries<'a>(
        &'a self,
        table: &'static str,
        span: &Span,
        direction: Direction,
    ) -> Result<Entries<'a>, Error> {
        let base = self.base.range(table, span, direction)?;
        let Some(changed) = self.changes.table(table) else { return Ok(base) };
        let bounds: (Bound<&[u8]>, Bound<&[u8]>) = span.bounds();
        let changed = changed.range::<[u8], _>(bounds);
        let changed: Changed<'a> = match direction {
            Direction::Forward => Box::new(changed),
            Direction::Reverse => Box::new(changed.rev()),
        };
        Ok(Box::new(Merged { base: base.peekable(), changed: changed.peekable(), direction }))
    }
}

type Changed<'a> = Box<dyn Iterator<Item = (&'a Vec<u8>, &'a Option<Vec<u8>>)> + 'a>;

/// The snapshot's entries with the batch's changes laid over them.
struct Merged<'a> {
    base: Peekable<Entries<'a>>,
    changed: Peekable<Changed<'a>>,
    direction: Direction,
}

impl Merged<'_> {
    /// Whether the next change comes before the snapshot's next entry, replaces it, or follows it.
    fn next_change(&mut self) -> Option<std::cmp::Ordering> {
        let (changed, _) = self.changed.peek()?;
        let order = match self.base.peek() {
            Some(Ok((key, _))) => changed.as_slice().cmp(key),
            Some(Err(_)) => return None,
            None => return Some(std::cmp::Ordering::Less),
        };
        Some(if self.direction == Direction::Reverse { order.reverse() } else { order })
    }
}

impl Iterator for Merged<'_> {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.next_change() {
                None | Some(std::cmp::Ordering::Greater) => return self.base.next(),
                Some(std::cmp::Ordering::Equal) => drop(self.base.next()),
                Some(std::cmp::Ordering::Less) => {}
            }
            if let Some((key, Some(value))) = self.changed.next() {
                return Some(Ok((key.clone(), value.clone())));
            }
        }
    }
}

impl fmt::Debug for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Read").finish_non_exhaustive()
    }
}

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Write").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}
