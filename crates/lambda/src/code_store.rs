//! Unpacked packages on the disk, one directory per digest, shared by all functions with the same zip; and beside them the
//! layers of functions that have several, merged.
//!
//! They are a cache of the blobs, and of what stays in S3: unpacked under another name and renamed when whole, made again when missing. After a
//! crash of the machine their files may be torn, since nothing syncs them; so what an earlier boot unpacked is thrown
//! away at start.

use std::{
    collections::HashMap,
    fs::{self, DirBuilder},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt as _, symlink},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use gatemill_store::{Digest, Store};
use tokio::sync::OnceCell;

use crate::{Error, record::Package, zip_intake};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const BOOT_FILE: &str = "boot";
const PARTIAL: &str = "partial-";
const GONE: &str = "gone-";

/// The directory of unpacked packages.
#[derive(Debug)]
pub(crate) struct CodeStore {
    root: PathBuf,
    known: Mutex<HashMap<Digest, Arc<Entry>>>,
}

/// One package; unpacked once, however many want it at one time.
type Entry = OnceCell<Arc<Unpacked>>;

/// An unpacked package; it stays on the disk at least as long as this lives.
#[derive(Debug)]
pub(crate) struct Unpacked(PathBuf);

impl Unpacked {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl CodeStore {
    /// Opens the directory, and removes what an earlier boot or a killed process left behind.
    pub(crate) fn open(root: &Path) -> Result<Self, Error> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(root)
            .map_err(Error::io("make the directory of unpacked code"))?;
        let root = std::path::absolute(root).map_err(Error::io("find the directory of code"))?;
        let boot = fs::read_to_string(BOOT_ID).unwrap_or_default();
        let same_boot = !boot.is_empty()
            && fs::read_to_string(root.join(BOOT_FILE)).is_ok_and(|known| known == boot);
        clean(&root, same_boot).map_err(Error::io("clean the directory of unpacked code"))?;
        fs::write(root.join(BOOT_FILE), boot).map_err(Error::io("write the boot's id"))?;
        Ok(Self { root, known: Mutex::default() })
    }

    /// The package, unpacked now if it is not yet.
    pub(crate) async fn ensure(
        &self,
        store: &Store,
        package: &Package,
    ) -> Result<Arc<Unpacked>, Error> {
        let digest = package.digest;
        let entry = Arc::clone(self.lock().entry(digest).or_default());
        let unpacked = entry.get_or_try_init(|| async {
            let (zip, root) = (store.blobs().path(&digest), self.root.clone());
            let unpacked = tokio::task::spawn_blocking(move || unpack(&zip, &root, &digest)).await;
            unpacked.map_err(|_| Error::Internal("unpacking a package panicked"))?
        });
        unpacked.await.map(Arc::clone)
    }

    /// The package, `fetch`ed and unpacked now if it is not there yet.
    pub(crate) async fn ensure_fetched(
        &self,
        package: &Package,
        fetch: impl Future<Output = Result<Bytes, Error>>,
    ) -> Result<Arc<Unpacked>, Error> {
        let digest = package.digest;
        let entry = Arc::clone(self.lock().entry(digest).or_default());
        let unpacked = entry.get_or_try_init(|| async {
            // What a blob's unpacking left on the disk serves as well.
            let zip = if self.path(&digest).is_dir() { Bytes::new() } else { fetch.await? };
            let root = self.root.clone();
            let unpacked = tokio::task::spawn_blocking(move || {
                unpack_from(|| Ok(io::Cursor::new(zip)), &root, &digest)
            });
            unpacked.await.map_err(|_| Error::Internal("unpacking a package panicked"))?
        });
        unpacked.await.map(Arc::clone)
    }

    /// What several `parts` are together, later ones over earlier ones, under a name of its own.
    pub(crate) async fn ensure_merged(
        &self,
        digest: Digest,
        parts: impl Future<Output = Result<Vec<Arc<Unpacked>>, Error>>,
    ) -> Result<Arc<Unpacked>, Error> {
        let entry = Arc::clone(self.lock().entry(digest).or_default());
        let merged = entry.get_or_try_init(|| async {
            let parts = parts.await?;
            let root = self.root.clone();
            let merged = tokio::task::spawn_blocking(move || merge(&parts, &root, &digest)).await;
            merged.map_err(|_| Error::Internal("merging layers panicked"))?
        });
        merged.await.map(Arc::clone)
    }

    /// Removes a package from the disk unless something uses it. Whether it is gone.
    pub(crate) fn remove(&self, digest: &Digest) -> Result<bool, Error> {
        let mut known = self.lock();
        let used = known.get(digest).is_some_and(|entry| {
            Arc::strong_count(entry) > 1
                || entry.get().is_some_and(|unpacked| Arc::strong_count(unpacked) > 1)
        });
        if used {
            return Ok(false);
        }
        known.remove(digest);
        let gone = self.root.join(format!("{GONE}{digest}"));
        match fs::rename(self.path(digest), &gone) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
            Err(error) => return Err(Error::Io { doing: "remove unpacked code", source: error }),
        }
        drop(known);
        fs::remove_dir_all(gone).map_err(Error::io("remove unpacked code"))?;
        Ok(true)
    }

    /// What is on the disk.
    pub(crate) fn list(&self) -> Result<Vec<Digest>, Error> {
        let entries = fs::read_dir(&self.root).map_err(Error::io("list unpacked code"))?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter_map(|name| name.parse().ok()).collect())
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.root.join(digest.to_string())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Arc<Entry>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unpack(zip: &Path, root: &Path, digest: &Digest) -> Result<Arc<Unpacked>, Error> {
    let open = || Ok(io::BufReader::new(fs::File::open(zip)?));
    unpack_from(open, root, digest)
}

/// Unpacks into a directory of another name and renames it; a directory that is there already is left as it is.
fn unpack_from<Z: io::Read + io::Seek>(
    open: impl FnOnce() -> io::Result<Z>,
    root: &Path,
    digest: &Digest,
) -> Result<Arc<Unpacked>, Error> {
    let target = root.join(digest.to_string());
    if target.is_dir() {
        return Ok(Arc::new(Unpacked(target)));
    }
    let partial = root.join(format!("{PARTIAL}{digest}"));
    remove(&partial).map_err(Error::io("remove a half unpacked package"))?;
    let zip = open().map_err(Error::io("open a package"))?;
    zip_intake::unpack(zip, &partial).map_err(Error::Unpack)?;
    fs::rename(&partial, &target).map_err(Error::io("rename an unpacked package"))?;
    Ok(Arc::new(Unpacked(target)))
}

/// Lays layers over one another in a directory of another name and renames it.
fn merge(layers: &[Arc<Unpacked>], root: &Path, digest: &Digest) -> Result<Arc<Unpacked>, Error> {
    let target = root.join(digest.to_string());
    if target.is_dir() {
        return Ok(Arc::new(Unpacked(target)));
    }
    let partial = root.join(format!("{PARTIAL}{digest}"));
    let laid = remove(&partial).and_then(|()| {
        DirBuilder::new().mode(0o755).create(&partial)?;
        layers.iter().try_for_each(|layer| lay_over(layer.path(), &partial))
    });
    laid.map_err(Error::io("merge layers"))?;
    fs::rename(&partial, &target).map_err(Error::io("rename merged layers"))?;
    Ok(Arc::new(Unpacked(target)))
}

/// Puts everything below `from` into `to`, in place of what has the same name there. Nothing is written through a link:
/// what is no directory gives way to one. Files are the same files, which nobody may write.
fn lay_over(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            if !fs::symlink_metadata(&target).is_ok_and(|there| there.is_dir()) {
                remove(&target)?;
                DirBuilder::new().mode(0o755).create(&target)?;
            }
            lay_over(&entry.path(), &target)?;
        } else {
            remove(&target)?;
            if kind.is_symlink() {
                symlink(fs::read_link(entry.path())?, target)?;
            } else if fs::hard_link(entry.path(), &target).is_err() {
                // A file may have so many names and no more.
                fs::copy(entry.path(), target)?;
            }
        }
    }
    Ok(())
}

/// Removes everything that is not a whole package of this boot.
fn clean(root: &Path, same_boot: bool) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let whole = entry.file_name().to_str().is_some_and(|name| name.parse::<Digest>().is_ok());
        if entry.file_name() != BOOT_FILE && !(whole && same_boot) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    async fn package(store: &Store) -> Package {
        let mut zip = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        zip.start_file("app.py", zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(b"x = 1\n").unwrap();
        let bytes = Bytes::from(zip.finish().unwrap().into_inner());
        let size = bytes.len() as u64;
        Package { digest: store.blobs().put(bytes).await.unwrap(), bytes: size, unpacked_bytes: 6 }
    }

    #[tokio::test]
    async fn unpacked_once_kept_while_used_and_thrown_away_after_a_boot() {
        let (store, dir) = (Store::memory(), tempfile::tempdir().unwrap());
        let package = package(&store).await;
        fs::create_dir(dir.path().join("partial-x")).unwrap();
        let code = CodeStore::open(dir.path()).unwrap();
        assert!(!dir.path().join("partial-x").exists());
        let (first, second) =
            tokio::join!(code.ensure(&store, &package), code.ensure(&store, &package));
        let (first, second) = (first.unwrap(), second.unwrap());
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(fs::read(first.path().join("app.py")).unwrap(), b"x = 1\n");
        assert!(!code.remove(&package.digest).unwrap(), "it is in use");
        drop((first, second));
        drop(code);
        let code = CodeStore::open(dir.path()).unwrap();
        assert_eq!(code.list().unwrap(), [package.digest], "the same boot keeps it");
        fs::write(dir.path().join(BOOT_FILE), "another").unwrap();
        let code_after_boot = CodeStore::open(dir.path()).unwrap();
        assert_eq!(code_after_boot.list().unwrap(), []);
        drop(code);
        let unpacked = code_after_boot.ensure(&store, &package).await.unwrap();
        drop(unpacked);
        assert!(code_after_boot.remove(&package.digest).unwrap());
        assert_eq!(code_after_boot.list().unwrap(), []);
    }

    #[test]
    fn later_layers_replace_what_is_in_their_way_and_write_through_no_link() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        fs::create_dir_all(one.join("a/b")).unwrap();
        fs::write(one.join("a/b/c"), "1").unwrap();
        fs::write(one.join("file"), "1").unwrap();
        symlink("a", one.join("way")).unwrap();
        symlink("../../..", one.join("a/out")).unwrap();
        fs::create_dir_all(two.join("way")).unwrap();
        fs::create_dir_all(two.join("a/out")).unwrap();
        fs::create_dir_all(two.join("file")).unwrap();
        for path in ["way/d", "a/out/e", "a/f", "file/g"] {
            fs::write(two.join(path), "2").unwrap();
        }
        fs::create_dir(two.join("a/b")).unwrap();
        symlink("../f", two.join("a/b/c")).unwrap();
        let layers = [one.clone(), two].map(|path| Arc::new(Unpacked(path)));
        let merged = merge(&layers, dir.path(), &Digest::of(b"")).unwrap();
        let read = |path: &str| fs::read_to_string(merged.path().join(path)).unwrap();
        for path in ["way/d", "a/out/e", "a/f", "file/g", "a/b/c"] {
            assert_eq!(read(path), "2", "{path}");
        }
        let kept: Vec<_> = fs::read_dir(one.join("a")).unwrap().collect();
        assert_eq!(kept.len(), 2, "what the second layer has is not written into the first");
        assert!(!dir.path().join("e").exists() && fs::read(one.join("file")).unwrap() == b"1");
    }
}
