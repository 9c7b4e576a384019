//! Typed tables: records by key, in key order.

use std::fmt;
use std::marker::PhantomData;

use crate::engine::{Direction, Span};
use crate::record::{decode, encode};
use crate::transaction::{Reader, Write};
use crate::{Error, Key, Record};

/// A named table of one type of record. Made once, as a `const` or `static`; there is nothing to
/// create first, and a table never written is empty.
///
/// Two tables must not share a name.
pub struct Table<R> {
    name: &'static str,
    // `fn` so that a table is Send and Sync whatever the record is.
    of: PhantomData<fn() -> R>,
}

impl<R: Record> Table<R> {
    /// The table called `name`: lower case words joined by dashes, by custom.
    pub const fn new(name: &'static str) -> Self {
        Table { name, of: PhantomData }
    }

    /// The name, as [`Store::watch`](crate::Store::watch) takes it.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The record at `key`.
    ///
    /// # Errors
    /// Those of the engine, and of decoding.
    pub fn get(&self, from: &impl Reader, key: &Key) -> Result<Option<R>, Error> {
        from.entry(self.name, key.as_bytes())?.as_deref().map(decode).transpose()
    }

    /// Whether there is a record at `key`; cheaper than decoding it.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn contains(&self, from: &impl Reader, key: &Key) -> Result<bool, Error> {
        Ok(from.entry(self.name, key.as_bytes())?.is_some())
    }

    /// Sets the record at `key`, in place of one that is there.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Encode`], and those of the engine.
    pub fn put(&self, tx: &mut Write, key: &Key, record: &R) -> Result<(), Error> {
        tx.set(self.name, key.as_bytes(), Some(encode(record)?))
    }

    /// Removes the record at `key`; answers whether there was one.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn delete(&self, tx: &mut Write, key: &Key) -> Result<bool, Error> {
        let found = self.contains(tx, key)?;
        if found {
            tx.set(self.name, key.as_bytes(), None)?;
        }
        Ok(found)
    }

    /// At most `limit` records whose keys start with `prefix`, in key order, strictly after `after`.
    ///
    /// # Errors
    /// Those of the engine, and of decoding.
    pub fn scan(
        &self,
        from: &impl Reader,
        prefix: &Key,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, R)>, Error> {
        self.collect(from, prefix, after, limit, Direction::Forward)
    }

    /// As [`Self::scan`], from the last key backwards, and strictly before `before`.
    ///
    /// # Errors
    /// Those of the engine, and of decoding.
    pub fn scan_reverse(
        &self,
        from: &impl Reader,
        prefix: &Key,
        before: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, R)>, Error> {
        self.collect(from, prefix, before, limit, Direction::Reverse)
    }

    /// How many keys start with `prefix`. Walks them.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn count(&self, from: &impl Reader, prefix: &Key) -> Result<usize, Error> {
        let direction = Direction::Forward;
        let Some(span) = Span::below(prefix.as_bytes(), None, direction) else { return Ok(0) };
        let mut count = 0;
        for entry in from.entries(self.name, &span, direction)? {
            entry?;
            count += 1;
        }
        Ok(count)
    }

    fn collect(
        &self,
        from: &impl Reader,
        prefix: &Key,
        after: Option<&Key>,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<(Key, R)>, Error> {
        let after = after.map(Key::as_bytes);
        let Some(span) = Span::below(prefix.as_bytes(), after, direction) else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for entry in from.entries(self.name, &span, direction)?.take(limit) {
            let (key, value) = entry?;
            found.push((Key::from_stored(key)?, decode(&value)?));
        }
        Ok(found)
    }
}

impl<R> fmt::Debug for Table<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Table").field(&self.name).finish()
    }
}
