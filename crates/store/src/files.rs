//! What makes a file durable on Linux: sync the file, and sync the directory that names it.

use std::fs::File;
use std::path::Path;

use crate::Error;

/// Forces a file's, or a directory's, content to the disk.
pub(crate) fn sync(path: &Path) -> Result<(), Error> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|error| Error::io("sync", path, error))
}

/// Forces the name of `path` to the disk.
pub(crate) fn sync_parent(path: &Path) -> Result<(), Error> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync(Path::new(".")),
        Some(parent) => sync(parent),
        None => Ok(()),
    }
}
