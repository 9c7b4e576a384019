//! The engine without files: for tests alone, since it forgets everything with the process.
//!
//! A snapshot shares the tables; a commit copies a table only while a snapshot still holds it. Every
//! closure is rehearsed, since this is the engine that tests run on.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Changes, Direction, Engine, Entries, Snapshot, Span};
use crate::Error;

type Tables = HashMap<&'static str, Arc<BTreeMap<Vec<u8>, Vec<u8>>>>;

/// Ordered maps; nothing once closed.
#[derive(Debug)]
pub(crate) struct Memory(Mutex<Option<Tables>>);

impl Memory {
    pub(crate) fn new() -> Self {
        Memory(Mutex::new(Some(Tables::new())))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Tables>> {
        // Nothing below can panic half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for Memory {
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, Error> {
        let tables = self.lock().as_ref().ok_or(Error::Closed)?.clone();
        Ok(Box::new(tables))
    }

    fn commit(&self, changes: &Changes) -> Result<(), Error> {
        let mut tables = self.lock();
        let tables = tables.as_mut().ok_or(Error::Closed)?;
        for (name, entries) in changes.tables() {
            let table = Arc::make_mut(tables.entry(name).or_default());
            for (key, value) in entries {
                match value {
                    Some(value) => table.insert(key.clone(), value.clone()),
                    None => table.remove(key),
                };
            }
        }
        Ok(())
    }

    fn reopen(&self) -> Result<(), Error> {
        Ok(())
    }

    fn clear(&self) -> Result<(), Error> {
        self.lock().as_mut().ok_or(Error::Closed)?.clear();
        Ok(())
    }

    fn rehearses(&self) -> bool {
        true
    }

    fn close(&self) -> Result<(), Error> {
        self.lock().take();
        Ok(())
    }
}

impl Snapshot for Tables {
    fn get(&self, table: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        Ok(HashMap::get(self, table).and_then(|table| table.get(key)).cloned())
    }

    fn range<'a>(
        &'a self,
        table: &'static str,
        span: &Span,
        direction: Direction,
    ) -> Result<Entries<'a>, Error> {
        let Some(table) = HashMap::get(self, table) else {
            return Ok(Box::new(std::iter::empty()));
        };
        let entries = table
            .range::<[u8], _>(span.bounds())
            .map(|(key, value)| Ok((key.clone(), value.clone())));
        Ok(match direction {
            Direction::Forward => Box::new(entries),
            Direction::Reverse => Box::new(entries.rev()),
        })
    }
}
