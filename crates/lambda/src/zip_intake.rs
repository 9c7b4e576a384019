//! Zips from strangers: looked at before anything is stored, and unpacked so that nothing leaves its folder.
//!
//! [`inspect`] reads the whole archive, counting what really comes out of it and checking its sums, so that a request is
//! refused before anything is stored. [`unpack`] relies on none of that: it counts again what it writes, and makes links
//! last, when no file is written through them any more.

use std::{
    collections::HashSet,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Cursor, Read, Seek},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink},
    path::{Component, Path, PathBuf},
};

use zip::ZipArchive;

use crate::limits::{
    SYMLINK_BYTES_MAX, UNPACKED_BYTES_MAX, ZIP_BYTES_MAX, ZIP_ENTRIES_MAX, ZIP_NAME_BYTES_MAX,
};

/// Why a zip is not taken.
#[derive(Debug, thiserror::Error)]
pub enum BadZip {
    /// Not a zip, a damaged one, or one that would write where it must not.
    #[error("Could not unzip uploaded file. Please check your file, then try to upload again.")]
    Unreadable(&'static str),
    /// Unpacked it would be too large.
    #[error("Unzipped size must be smaller than {UNPACKED_BYTES_MAX} bytes")]
    Unpacked,
    /// Zipped it is too large.
    #[error("Zipped size must be smaller than {ZIP_BYTES_MAX} bytes")]
    Zipped,
    /// A file of ours could not be written.
    #[error("a package could not be unpacked")]
    Io(#[from] io::Error),
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Directory,
    File { executable: bool },
    Symlink,
}

const TYPE_MASK: u32 = 0o170_000;
const TYPE_DIRECTORY: u32 = 0o040_000;
const TYPE_FILE: u32 = 0o100_000;
const TYPE_SYMLINK: u32 = 0o120_000;
const ANY_EXECUTE: u32 = 0o111;

/// Checks a zip before the request is answered, and gives the bytes that come out of it. Takes the time of unpacking it: not for a thread that serves calls.
pub(crate) fn inspect(bytes: &[u8]) -> Result<u64, BadZip> {
    if bytes.len() > ZIP_BYTES_MAX {
        return Err(BadZip::Zipped);
    }
    let mut archive = open(Cursor::new(bytes))?;
    if archive.is_empty() || archive.len() > ZIP_ENTRIES_MAX {
        return Err(BadZip::Unreadable("no entries, or too many"));
    }
    if archive.has_duplicate_names() {
        return Err(BadZip::Unreadable("two entries of one name"));
    }
    if archive.has_overlapping_entries().map_err(|_| BadZip::Unreadable("entries without data"))? {
        return Err(BadZip::Unreadable("entries that share their data"));
    }
    let mut paths = HashSet::new();
    let mut leaves = HashSet::new();
    let mut unpacked: u64 = 0;
    for index in 0..archive.len() {
        let mut entry = entry(&mut archive, index)?;
        if unpacked.saturating_add(entry.size()) > UNPACKED_BYTES_MAX {
            return Err(BadZip::Unpacked);
        }
        let (path, kind) = place(&entry)?;
        if kind == Kind::Symlink {
            link_target(&mut entry, &path)?;
        } else {
            unpacked += copy(&mut entry, &mut io::sink(), UNPACKED_BYTES_MAX - unpacked)?;
        }
        // `a` and `a/` or `./a` are one path although they are two names.
        if kind != Kind::Directory && !leaves.insert(path.clone()) {
            return Err(BadZip::Unreadable("two entries of one path"));
        }
        paths.insert(path);
    }
    let mut all = paths.iter().flat_map(|path| path.ancestors().skip(1));
    if all.any(|ancestor| leaves.contains(ancestor)) {
        return Err(BadZip::Unreadable("an entry below a file"));
    }
    Ok(unpacked)
}

/// Unpacks a zip into `root`, which must not exist. Gives the bytes written.
pub(crate) fn unpack(zip: impl Read + Seek, root: &Path) -> Result<u64, BadZip> {
    make_directory(root)?;
    let mut archive = open(zip)?;
    let mut links = Vec::new();
    let mut left = UNPACKED_BYTES_MAX;
    for index in 0..archive.len() {
        let mut entry = entry(&mut archive, index)?;
        let (path, kind) = place(&entry)?;
        let target = root.join(&path);
        if let Some(parent) = target.parent() {
            make_directory(parent)?;
        }
        match kind {
            Kind::Directory => make_directory(&target)?,
            Kind::Symlink => links.push((target, link_target(&mut entry, &path)?)),
            Kind::File { executable } => {
                left -= write_file(&mut entry, &target, executable, left)?;
            }
        }
    }
    for (target, to) in links {
        symlink(to, target)?;
    }
    Ok(UNPACKED_BYTES_MAX - left)
}

fn open<R: Read + Seek>(zip: R) -> Result<ZipArchive<R>, BadZip> {
    ZipArchive::new(zip).map_err(|_| BadZip::Unreadable("not a zip"))
}

type Entry<'a, R> = zip::read::ZipFile<'a, R>;

fn entry<R: Read + Seek>(
    archive: &mut ZipArchive<R>,
    index: usize,
) -> Result<Entry<'_, R>, BadZip> {
    archive.by_index(index).map_err(|_| BadZip::Unreadable("an entry that cannot be read"))
}

/// Where an entry goes, and what it is.
fn place<R: Read>(entry: &Entry<'_, R>) -> Result<(PathBuf, Kind), BadZip> {
    let name = entry.name().map_err(|_| BadZip::Unreadable("a name that is no text"))?;
    if name.len() > ZIP_NAME_BYTES_MAX || name.contains('\0') {
        return Err(BadZip::Unreadable("a name that is no path"));
    }
    let mut path = PathBuf::new();
    for component in Path::new(&*name).components() {
        match component {
            Component::Normal(part) if part.len() <= 255 => path.push(part),
            Component::CurDir => {}
            Component::Normal(_)
            | Component::ParentDir
            | Component::RootDir
            | Component::Prefix(_) => {
                return Err(BadZip::Unreadable("a name that leads out of the package"));
            }
        }
    }
    let mode = entry.unix_mode();
    let kind = match mode.map_or(0, |mode| mode & TYPE_MASK) {
        TYPE_SYMLINK => Kind::Symlink,
        TYPE_DIRECTORY => Kind::Directory,
        0 if entry.is_dir() => Kind::Directory,
        0 | TYPE_FILE if !entry.is_dir() => {
            Kind::File { executable: mode.is_some_and(|mode| mode & ANY_EXECUTE != 0) }
        }
        _ => return Err(BadZip::Unreadable("neither file, directory nor link")),
    };
    if path.as_os_str().is_empty() && kind != Kind::Directory {
        return Err(BadZip::Unreadable("a file without a name"));
    }
    Ok((path, kind))
}

/// Reads a link's target and refuses one that leads out of the package.
fn link_target<R: Read>(entry: &mut Entry<'_, R>, path: &Path) -> Result<PathBuf, BadZip> {
    let mut text = String::new();
    let read = entry.take(SYMLINK_BYTES_MAX + 1).read_to_string(&mut text);
    let read = read.map_err(|_| BadZip::Unreadable("a link without a target"))?;
    if read == 0 || text.len() as u64 > SYMLINK_BYTES_MAX || text.contains('\0') {
        return Err(BadZip::Unreadable("a link without a target"));
    }
    let mut depth = path.components().count().saturating_sub(1);
    for component in Path::new(&text).components() {
        depth = match component {
            Component::Normal(_) => depth + 1,
            Component::CurDir => depth,
            Component::ParentDir if depth > 0 => depth - 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(BadZip::Unreadable("a link that leads out of the package"));
            }
        };
    }
    Ok(PathBuf::from(text))
}

/// Directories are readable and enterable by everyone, and writable by us alone.
fn make_directory(path: &Path) -> Result<(), BadZip> {
    match DirBuilder::new().recursive(true).mode(0o755).create(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(BadZip::Unreadable("a directory where a file is"))
        }
        Err(error) => Err(error.into()),
    }
}

/// Writes one file of at most `left` bytes, and gives its true size.
fn write_file<R: Read>(
    entry: &mut Entry<'_, R>,
    path: &Path,
    executable: bool,
    left: u64,
) -> Result<u64, BadZip> {
    let mode = if executable { 0o755 } else { 0o644 };
    let made = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(BadZip::Unreadable("two entries of one path"));
        }
        made => made?,
    };
    let written = copy(entry, &mut file, left)?;
    // The umask may have taken some of the mode away.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    Ok(written)
}

/// As `io::copy`, but tells a damaged entry from a disk that fails.
fn copy(from: &mut impl Read, to: &mut impl io::Write, left: u64) -> Result<u64, BadZip> {
    let mut buffer = vec![0; 64 * 1024];
    let mut written = 0;
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok(written),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return Err(BadZip::Unreadable("a damaged entry")),
        };
        written += read as u64;
        if written > left {
            return Err(BadZip::Unpacked);
        }
        to.write_all(&buffer[..read])?;
    }
}

#[cfg(test)]
#[path = "zip_intake_tests.rs"]
mod tests;
