//! The facade: opening, writing, reading, watching, closing.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::sync::{mpsc, oneshot};

use crate::blob::Blobs;
use crate::engine::{Embedded, Engine, Memory};
use crate::transaction::{Read, Write};
use crate::watch::{Watch, Watches};
use crate::writer::{self, Message, Tally};
use crate::{Error, files};

const RECORDS: &str = "records.redb";
const BLOBS: &str = "blobs";
const LOCK: &str = "lock";

/// The store. Cheap to clone; all clones are one store.
///
/// The last clone that goes waits for the writes under way and frees the files, as
/// [`Store::close`] does without blocking.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Arc<dyn Engine>,
    /// Nothing once dropped, which is what ends the writer.
    writer: Option<mpsc::Sender<Message>>,
    thread: Option<JoinHandle<()>>,
    watches: Arc<Watches>,
    tally: Arc<Tally>,
    blobs: Blobs,
    /// Held while the store is open. Taken by `close`.
    lock: Mutex<Option<File>>,
}

/// How much the writer did since the store was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Closures run, whether or not they succeeded.
    pub writes: u64,
    /// Commits made; fewer than `writes` where commits were shared.
    pub commits: u64,
}

impl Store {
    /// A store that forgets everything with the process: for tests alone. Its blobs are in a
    /// temporary directory, removed with the store. It runs every closure twice, and takes back what
    /// the first run did, so that a closure with side effects fails here.
    ///
    /// # Panics
    /// If the machine cannot start a thread.
    pub fn memory() -> Store {
        Self::on_engine(Arc::new(Memory::new()), Blobs::temporary(), None)
            .expect("a test's machine can start one more thread")
    }

    /// The store in `dir`, which is made if it is not there: records in `records.redb`, blobs below
    /// `blobs`. One process at a time; the lock ends with the process, however that ends.
    ///
    /// # Errors
    /// [`Error::InUse`], [`Error::Format`], [`Error::Io`] or [`Error::Engine`].
    pub fn open(dir: &Path) -> Result<Store, Error> {
        make_dir(dir)?;
        let lock = lock(dir)?;
        let engine = Embedded::open(&dir.join(RECORDS))?;
        let blobs = Blobs::open(&dir.join(BLOBS))?;
        Self::on_engine(Arc::new(engine), blobs, Some(lock))
    }

    /// A store whose records are on `backend`: the door for a storage that cuts the power.
    ///
    /// # Errors
    /// [`Error::Format`] or [`Error::Engine`].
    #[cfg(feature = "suite")]
    pub fn on_backend(backend: impl redb::StorageBackend) -> Result<Store, Error> {
        Self::on_engine(Arc::new(Embedded::on_backend(backend)?), Blobs::temporary(), None)
    }

    /// Runs `f` and returns when what it changed is durable, and visible to every later read.
    ///
    /// Writes that wait at the same time share one commit. `f` sees all writes before it. If it
    /// answers an error, or panics, nothing that it changed stays, and the writes beside it are not
    /// harmed. `f` may run twice, on an engine that finds a conflict only at the end, so it must
    /// have no side effects but [`Write::on_commit`].
    ///
    /// A caller that leaves before the answer does not stop a write that has begun to wait.
    ///
    /// # Errors
    /// What `f` answers; [`Error::NotConfirmed`] if the commit failed; [`Error::Closed`].
    ///
    /// # Panics
    /// If `f` does.
    pub async fn write<T, E, F>(&self, f: F) -> Result<T, E>
    where
        F: Fn(&mut Write) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (job, answer) = writer::job(f);
        self.send(Message::Write(job)).await?;
        answer.wait().await
    }

    /// Runs `f` on a consistent snapshot: it sees each write whole or not at all, and every write
    /// that returned before. Synchronous; keep it short.
    ///
    /// # Errors
    /// What `f` answers; [`Error::Closed`].
    pub fn read<T, E>(&self, f: impl FnOnce(&Read) -> Result<T, E>) -> Result<T, E>
    where
        E: From<Error>,
    {
        f(&Read::new(self.shared.engine.snapshot()?))
    }

    /// Wakes whenever a commit touched `table` (a table's or a queue's name), and at a clear.
    pub fn watch(&self, table: &'static str) -> Watch {
        self.shared.watches.watch(table)
    }

    /// The content-addressed files.
    pub fn blobs(&self) -> &Blobs {
        &self.shared.blobs
    }

    /// Returns when all writes that were waiting are durable or refused.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn flush(&self) -> Result<(), Error> {
        self.ask(Message::Flush).await
    }

    /// Removes everything: records and queues in one commit, then the blobs. A blob that is put while
    /// it runs may go too.
    ///
    /// # Errors
    /// Those of the engine and of the files; [`Error::Closed`].
    pub async fn clear(&self) -> Result<(), Error> {
        self.ask(Message::Clear).await?;
        self.shared.blobs.clear().await
    }

    /// Finishes the writes that wait and gives up the files: they open again at once. Everything
    /// after it, on any clone, is [`Error::Closed`].
    ///
    /// # Errors
    /// Those of the engine; [`Error::Closed`] if it was closed before.
    pub async fn close(&self) -> Result<(), Error> {
        self.ask(Message::Close).await?;
        self.shared.blobs.close();
        self.shared.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(())
    }

    /// How much the writer did so far.
    pub fn written(&self) -> Written {
        Written {
            writes: self.shared.tally.writes.load(Ordering::Relaxed),
            commits: self.shared.tally.commits.load(Ordering::Relaxed),
        }
    }

    fn on_engine(
        engine: Arc<dyn Engine>,
        blobs: Blobs,
        lock: Option<File>,
    ) -> Result<Store, Error> {
        let watches = Arc::new(Watches::default());
        let tally = Arc::new(Tally::default());
        let (writer, thread) =
            writer::start(Arc::clone(&engine), Arc::clone(&watches), Arc::clone(&tally))
                .map_err(|error| Error::io("start the thread of", "the writer", error))?;
        let shared = Shared {
            engine,
            writer: Some(writer),
            thread: Some(thread),
            watches,
            tally,
            blobs,
            lock: Mutex::new(lock),
        };
        Ok(Store { shared: Arc::new(shared) })
    }

    async fn send(&self, message: Message) -> Result<(), Error> {
        let writer = self.shared.writer.as_ref().ok_or(Error::Closed)?;
        writer.send(message).await.map_err(|_| Error::Closed)
    }

    async fn ask(
        &self,
        message: impl FnOnce(oneshot::Sender<Result<(), Error>>) -> Message,
    ) -> Result<(), Error> {
        let (caller, answer) = oneshot::channel();
        self.send(message(caller)).await?;
        answer.await.map_err(|_| Error::Closed)?
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("engine", &self.shared.engine).finish_non_exhaustive()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        drop(self.writer.take());
        if let Some(writer) = self.thread.take() {
            // A hook may hold the last store, and then this is the writer itself.
            if writer.thread().id() != thread::current().id() {
                let _ = writer.join();
            }
        }
    }
}

/// Makes the directory and those above it, for its owner alone, each durably named.
fn make_dir(dir: &Path) -> Result<(), Error> {
    let missing: Vec<_> = dir.ancestors().take_while(|above| !above.exists()).collect();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| Error::io("create", dir, error))?;
    missing.into_iter().filter(|made| !made.as_os_str().is_empty()).try_for_each(files::sync_parent)
}

/// Takes the directory for this process. The kernel lets go of it when the process ends.
fn lock(dir: &Path) -> Result<File, Error> {
    let path = dir.join(LOCK);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(|error| Error::io("open", &path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::InUse { dir: dir.to_path_buf() }),
        Err(TryLockError::Error(error)) => Err(Error::io("lock", path, error)),
    }
}
