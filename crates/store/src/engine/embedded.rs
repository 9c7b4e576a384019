//! The engine of one machine: a redb file.
//!
//! redb is a copy-on-write B-tree with checksummed pages and two commit slots, so that a cut at any
//! instant leaves the last or the last but one commit whole. It is at its weakest while a file is
//! being created; therefore a new file is made under another name, synced, and renamed.
//!
//! Commits are one-phase (one `fdatasync`): the checksums tell a half-written commit from a whole
//! one. After a crash the file is walked once at the next open.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{PoisonError, RwLock};

use redb::{
    Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition,
    TableError, TableHandle,
};

use super::{Changes, Direction, Engine, Entries, Snapshot, Span};
use crate::Error;
use crate::limits::CACHE_BYTES_MAX;

type Bytes = &'static [u8];
type Opened = Rc<ReadOnlyTable<Bytes, Bytes>>;

/// Holds the format, so that an older Gatemill refuses files of a newer one. Not a table of records:
/// its name is none that [`Table::new`](crate::Table::new) takes, and `clear` leaves it.
const FORMAT_TABLE: TableDefinition<'static, Bytes, Bytes> = TableDefinition::new("\0format");
const FORMAT_KEY: Bytes = b"format";
const FORMAT: u8 = 1;

/// A redb database.
#[derive(Debug)]
pub(crate) struct Embedded {
    /// Nothing once closed, and while the file does not open again.
    database: RwLock<Option<Database>>,
    /// Nothing on a storage of the caller's.
    file: Option<PathBuf>,
}

impl Embedded {
    /// Opens the file, made first if it is not there. The caller holds the directory's lock.
    pub(crate) fn open(file: &Path) -> Result<Self, Error> {
        if !file.exists() {
            create(file)?;
        }
        let database = open_file(file)?;
        Ok(Embedded { database: RwLock::new(Some(database)), file: Some(file.to_owned()) })
    }

    /// Opens a database on a storage of the caller's, made first if that is empty.
    #[cfg(feature = "suite")]
    pub(crate) fn on_backend(backend: impl redb::StorageBackend) -> Result<Self, Error> {
        let database =
            builder().create_with_backend(backend).map_err(failed("open its storage"))?;
        let begun = database.begin_read().map_err(failed("begin to read"))?;
        if matches!(begun.open_table(FORMAT_TABLE), Err(TableError::TableDoesNotExist(_))) {
            write_format(&database)?;
        }
        drop(begun);
        check_format(&database)?;
        Ok(Embedded { database: RwLock::new(Some(database)), file: None })
    }

    fn with<T>(&self, f: impl FnOnce(&Database) -> Result<T, Error>) -> Result<T, Error> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        f(database.as_ref().ok_or(Error::Closed)?)
    }
}

impl Engine for Embedded {
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, Error> {
        let begun = self.with(|database| database.begin_read().map_err(failed("begin to read")))?;
        Ok(Box::new(View { begun, tables: RefCell::default() }))
    }

    fn commit(&self, changes: &Changes) -> Result<(), Error> {
        self.with(|database| {
            let write = database.begin_write().map_err(failed("begin a write"))?;
            for (name, entries) in changes.tables() {
                let mut table = write
                    .open_table(TableDefinition::<Bytes, Bytes>::new(name))
                    .map_err(failed("open a table"))?;
                for (key, value) in entries {
                    match value {
                        Some(value) => table.insert(key.as_slice(), value.as_slice()),
                        None => table.remove(key.as_slice()),
                    }
                    .map_err(failed("change a table"))?;
                }
            }
            write.commit().map_err(failed("commit"))
        })
    }

    fn reopen(&self) -> Result<(), Error> {
        let file = self.file.as_ref().ok_or(Error::Closed)?;
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(broken) = database.take()
            && let Err(error) = broken.close()
        {
            // What could not be written is why it is closed.
            tracing::debug!(error = &error as &dyn std::error::Error, "a broken file was closed");
        }
        *database = Some(open_file(file)?);
        Ok(())
    }

    fn clear(&self) -> Result<(), Error> {
        self.with(|database| {
            let write = database.begin_write().map_err(failed("begin a write"))?;
            let tables: Vec<_> = write.list_tables().map_err(failed("list its tables"))?.collect();
            for table in tables.into_iter().filter(|table| table.name() != FORMAT_TABLE.name()) {
                write.delete_table(table).map_err(failed("delete a table"))?;
            }
            write.commit().map_err(failed("commit"))
        })
    }

    fn close(&self) -> Result<(), Error> {
        let database = self.database.write().unwrap_or_else(PoisonError::into_inner).take();
        database.map_or(Ok(()), |database| database.close().map_err(failed("close its file")))
    }
}

/// A redb read transaction, with the tables opened so far.
struct View {
    begun: ReadTransaction,
    tables: RefCell<HashMap<&'static str, Option<Opened>>>,
}

impl View {
    fn table(&self, name: &'static str) -> Result<Option<Opened>, Error> {
        if let Some(table) = self.tables.borrow().get(name) {
            return Ok(table.clone());
        }
        let table = match self.begun.open_table(TableDefinition::new(name)) {
            Ok(table) => Some(Rc::new(table)),
            Err(TableError::TableDoesNotExist(_)) => None,
            Err(other) => return Err(failed("open a table")(other)),
        };
        self.tables.borrow_mut().insert(name, table.clone());
        Ok(table)
    }
}

impl Snapshot for View {
    fn get(&self, table: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let Some(table) = self.table(table)? else { return Ok(None) };
        let value = ReadableTable::get(&*table, key).map_err(failed("read"))?;
        Ok(value.map(|value| value.value().to_vec()))
    }

    fn range<'a>(
        &'a self,
        table: &'static str,
        span: &Span,
        direction: Direction,
    ) -> Result<Entries<'a>, Error> {
        let Some(table) = self.table(table)? else { return Ok(Box::new(std::iter::empty())) };
        let entries = table
            .range_owned::<&[u8]>(span.bounds())
            .map_err(failed("read a range"))?
            .map(|entry| {
                let (key, value) = entry.map_err(failed("read a range"))?;
                Ok((key.value().to_vec(), value.value().to_vec()))
            });
        Ok(match direction {
            Direction::Forward => Box::new(entries),
            Direction::Reverse => Box::new(entries.rev()),
        })
    }
}

fn open_file(file: &Path) -> Result<Database, Error> {
    let database = builder().open(file).map_err(failed("open its file"))?;
    check_format(&database)?;
    Ok(database)
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES_MAX);
    builder
}

/// Makes a whole file under another name and renames it, so that a cut leaves a file or none.
fn create(file: &Path) -> Result<(), Error> {
    let unfinished = file.with_extension("new");
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io("remove", unfinished, error));
        }
        _ => {}
    }
    let database = builder().create(&unfinished).map_err(failed("create its file"))?;
    write_format(&database)?;
    database.close().map_err(failed("close its new file"))?;
    crate::files::sync(&unfinished)?;
    fs::rename(&unfinished, file).map_err(|error| Error::io("rename", &unfinished, error))?;
    crate::files::sync_parent(file)
}

fn write_format(database: &Database) -> Result<(), Error> {
    let write = database.begin_write().map_err(failed("begin a write"))?;
    write
        .open_table(FORMAT_TABLE)
        .map_err(failed("open a table"))?
        .insert(FORMAT_KEY, [FORMAT].as_slice())
        .map_err(failed("change a table"))?;
    write.commit().map_err(failed("commit"))
}

fn check_format(database: &Database) -> Result<(), Error> {
    let begun = database.begin_read().map_err(failed("begin to read"))?;
    let table = begun.open_table(FORMAT_TABLE).map_err(failed("find its format"))?;
    let found = ReadableTable::get(&table, FORMAT_KEY).map_err(failed("read"))?;
    let found = found.map(|found| found.value().to_vec()).unwrap_or_default();
    if found == [FORMAT] {
        return Ok(());
    }
    Err(Error::Format { found: format!("{found:?}"), known: FORMAT })
}

/// Names what was attempted when redb answers an error.
fn failed<E: Into<redb::Error>>(doing: &'static str) -> impl Fn(E) -> Error {
    move |error| match error.into() {
        redb::Error::DatabaseClosed => Error::Closed,
        other => Error::Engine { doing, source: Box::new(other) },
    }
}
