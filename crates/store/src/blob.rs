//! Blobs: files named by their content.
//!
//! A blob is written under a temporary name, synced, renamed to its digest, and the directory is
//! synced; so a name is either absent or stands for the whole content, whenever the power goes. Putting
//! the same bytes twice is putting them once. What is read is checked against its name.
//!
//! Blobs do not know who needs them: records do. A service puts the blob, then writes the record;
//! what no record names is swept (see [`Blobs::delete_unused`]).

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;

use crate::limits::BLOB_BYTES_MAX;
use crate::{Digest, Error, files};

const UNFINISHED: &str = "unfinished";

/// The content-addressed files of a store. Cheap to clone. Its methods need a tokio runtime, since
/// files are read and written on its blocking threads.
#[derive(Clone, Debug)]
pub struct Blobs {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    /// Removed with the last clone.
    temporary: bool,
    closed: AtomicBool,
    /// Numbers the temporary names; one process writes here, so that is enough.
    next: AtomicU64,
    /// Held while a name appears or goes, so that a sweep cannot remove what was just put again.
    names: Mutex<()>,
}

impl Blobs {
    /// Keeps `bytes`; durable when it returns.
    ///
    /// # Errors
    /// [`Error::TooLarge`] above [`BLOB_BYTES_MAX`], [`Error::Io`], [`Error::Closed`].
    pub async fn put(&self, bytes: Bytes) -> Result<Digest, Error> {
        if bytes.len() > BLOB_BYTES_MAX {
            return Err(Error::TooLarge {
                what: "a blob",
                bytes: bytes.len(),
                max: BLOB_BYTES_MAX,
            });
        }
        self.blocking(move |shared| shared.put(&bytes)).await
    }

    /// The blob's bytes, checked against their digest.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the file is not what its name says, [`Error::Io`], [`Error::Closed`].
    pub async fn get(&self, digest: &Digest) -> Result<Option<Bytes>, Error> {
        let digest = *digest;
        self.blocking(move |shared| {
            let path = shared.path(&digest);
            let bytes = match fs::read(&path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(Error::io("read", path, error)),
            };
            if Digest::of(&bytes) != digest {
                return Err(Error::Damaged { what: "a blob's content is not what its name says" });
            }
            Ok(Some(Bytes::from(bytes)))
        })
        .await
    }

    /// Whether the blob is here.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Closed`].
    pub async fn contains(&self, digest: &Digest) -> Result<bool, Error> {
        let digest = *digest;
        self.blocking(move |shared| exists(&shared.path(&digest))).await
    }

    /// Where the blob's file is, or would be. It is never changed, so it may be mapped or bound into
    /// a sandbox; it is read-only.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.shared.path(digest)
    }

    /// Removes the blob; answers whether it was there. The caller knows that no record names it and
    /// that nobody is about to put it: where that is not so, [`Self::delete_unused`].
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Closed`].
    pub async fn delete(&self, digest: &Digest) -> Result<bool, Error> {
        let digest = *digest;
        self.blocking(move |shared| {
            let _names = shared.lock();
            shared.remove(&digest)
        })
        .await
    }

    /// Removes the blob if it was last put before `put_before_ms` (Unix time). For a sweep that found
    /// no record naming it: whoever puts a blob has until then to write the record, because putting
    /// it again counts as new.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Closed`].
    pub async fn delete_unused(&self, digest: &Digest, put_before_ms: u64) -> Result<bool, Error> {
        let digest = *digest;
        self.blocking(move |shared| {
            let _names = shared.lock();
            let path = shared.path(&digest);
            let put = match fs::metadata(&path).and_then(|found| found.modified()) {
                Ok(put) => put,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(Error::io("look at", path, error)),
            };
            if put >= UNIX_EPOCH + Duration::from_millis(put_before_ms) {
                return Ok(false);
            }
            shared.remove(&digest)
        })
        .await
    }

    /// At most `limit` digests in order, strictly after `after`.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Closed`].
    pub async fn list(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<Digest>, Error> {
        let after = after.copied();
        self.blocking(move |shared| shared.list(after, limit)).await
    }

    /// The blobs below `root`, made if it is not there. The caller holds the directory's lock: what
    /// another process left unfinished is removed.
    pub(crate) fn open(root: &Path) -> Result<Self, Error> {
        make_dir(root).map_err(|error| Error::io("create", root, error))?;
        let blobs = Self::below(root.to_path_buf(), false);
        blobs.shared.drop_unfinished()?;
        files::sync_parent(root)?;
        Ok(blobs)
    }

    /// Blobs in a directory of their own, removed with the last clone.
    pub(crate) fn temporary() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let own = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("gatemill-store-{}-{own}", std::process::id());
        let root = std::env::temp_dir().join(name);
        // One that was killed long ago may have had the same process number.
        let _ = fs::remove_dir_all(&root);
        Self::below(root, true)
    }

    pub(crate) fn close(&self) {
        self.shared.closed.store(true, Ordering::Release);
    }

    pub(crate) async fn clear(&self) -> Result<(), Error> {
        self.blocking(|shared| {
            let _names = shared.lock();
            for digest in shared.list(None, usize::MAX)? {
                shared.remove(&digest)?;
            }
            Ok(())
        })
        .await
    }

    fn below(root: PathBuf, temporary: bool) -> Self {
        let shared = Shared {
            root,
            temporary,
            closed: AtomicBool::new(false),
            next: AtomicU64::new(0),
            names: Mutex::new(()),
        };
        Blobs { shared: Arc::new(shared) }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Shared) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let shared = Arc::clone(&self.shared);
        let run = move || {
            if shared.closed.load(Ordering::Acquire) { Err(Error::Closed) } else { f(&shared) }
        };
        match tokio::task::spawn_blocking(run).await {
            Ok(answer) => answer,
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is shutting down.
                Err(_) => Err(Error::Closed),
            },
        }
    }
}

impl Shared {
    fn path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        self.root.join(&name[..2]).join(name)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ()> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, bytes: &[u8]) -> Result<Digest, Error> {
        let digest = Digest::of(bytes);
        let path = self.path(&digest);
        // Written anew even if it is there: the put that made it may not have come as far as the
        // syncs below, its content may be damaged, and its time tells a sweep that it is wanted.
        let unfinished = self.write_unfinished(bytes)?;
        self.name(&unfinished, &path)?;
        files::sync_parent(&path)?;
        files::sync(&self.root)?;
        Ok(digest)
    }

    fn write_unfinished(&self, bytes: &[u8]) -> Result<PathBuf, Error> {
        let dir = self.root.join(UNFINISHED);
        make_dir(&dir).map_err(|error| Error::io("create", &dir, error))?;
        let path = dir.join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o444)
            .open(&path)
            .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
        written.map_err(|error| {
            // Best effort: the next open removes it too.
            let _ = fs::remove_file(&path);
            Error::io("write", &path, error)
        })?;
        Ok(path)
    }

    fn name(&self, unfinished: &Path, path: &Path) -> Result<(), Error> {
        let _names = self.lock();
        if let Some(dir) = path.parent() {
            make_dir(dir).map_err(|error| Error::io("create", dir, error))?;
        }
        fs::rename(unfinished, path).map_err(|error| Error::io("rename", unfinished, error))
    }

    fn remove(&self, digest: &Digest) -> Result<bool, Error> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io("remove", path, error)),
        }
    }

    fn list(&self, after: Option<Digest>, limit: usize) -> Result<Vec<Digest>, Error> {
        let first = after.map(|after| after.to_string()[..2].to_owned());
        let mut found = Vec::new();
        for dir in names(&self.root)? {
            if dir.len() != 2 || first.as_ref().is_some_and(|first| &dir < first) {
                continue;
            }
            for name in names(&self.root.join(&dir))? {
                if found.len() == limit {
                    return Ok(found);
                }
                match name.parse() {
                    Ok(digest) if after.is_none_or(|after| digest > after) => found.push(digest),
                    // Nothing of ours, or listed before.
                    _ => {}
                }
            }
        }
        Ok(found)
    }

    fn drop_unfinished(&self) -> Result<(), Error> {
        let dir = self.root.join(UNFINISHED);
        for name in names(&dir)? {
            let path = dir.join(name);
            fs::remove_file(&path).map_err(|error| Error::io("remove", path, error))?;
        }
        Ok(())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.temporary {
            // It is not there if nothing was put.
            let _ = fs::remove_dir_all(&self.root);
        }
    }
}

/// The names in a directory, sorted; none if it is not there.
fn names(dir: &Path) -> Result<Vec<String>, Error> {
    let read = || -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort_unstable();
        Ok(names)
    };
    match read() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        read => read.map_err(|error| Error::io("list", dir, error)),
    }
}

fn exists(path: &Path) -> Result<bool, Error> {
    path.try_exists().map_err(|error| Error::io("look at", path, error))
}

fn make_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(dir)
}
