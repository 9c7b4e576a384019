//! Layers become a directory tree, one over the other.
//!
//! Nothing is ever made outside the tree: every path is resolved by the kernel as if the tree were the root
//! (`RESOLVE_IN_ROOT`), links and all, and the last name is never followed. Owners are ignored, setuid bits cleared,
//! devices and pipes left out, extended attributes dropped: nothing of them has a meaning in a sandbox. What is
//! unpacked is counted, however small its header says that it is.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read, Write as _},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
    path::{Component, Path, PathBuf},
    sync::atomic::AtomicBool,
};

use rustix::{
    fs::{
        AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps, fchmod, futimens,
        linkat, mkdirat, openat, openat2, readlinkat, statat, symlinkat, unlinkat,
    },
    io::Errno,
};

use crate::{
    Digest, Error,
    decompress::{Compression, Layer},
    limits::{DEPTH_MAX, ENTRIES_MAX, UNPACKED_BYTES_MAX},
    tar::{Archive, Entry, Kind},
};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Notes of a file system of old, in layers of old.
const AUFS: &[u8] = b".wh..wh.";
/// Mode bits that are kept.
const MODE: u32 = 0o777;

/// Files over which every sandbox mounts its own.
const MOUNTED_OVER: [&str; 3] = ["hosts", "resolv.conf", "hostname"];

/// A tree that layers are unpacked into.
#[derive(Debug)]
pub(crate) struct Unpacker<'a> {
    path: PathBuf,
    root: OwnedFd,
    bytes_left: u64,
    entries_left: u64,
    cancelled: &'a AtomicBool,
    /// The directory of the entry before, since entries of one directory follow one another.
    parent: Option<(PathBuf, OwnedFd)>,
    /// What this layer made, with everything above it: a whiteout concerns the layers below alone.
    made: HashSet<PathBuf>,
}

impl<'a> Unpacker<'a> {
    /// Begins a tree in a directory that does not exist yet.
    pub(crate) fn new(path: &Path, cancelled: &'a AtomicBool) -> Result<Self, Error> {
        let make = || -> io::Result<OwnedFd> {
            mkdirat(CWD, path, Mode::from_raw_mode(0o755))?;
            Ok(openat(CWD, path, DIRECTORY, Mode::empty())?)
        };
        let root = make().map_err(Error::io("make the directory of an image"))?;
        // As the kernel calls it, to compare with.
        let path = real_path(&root).map_err(Error::io("find the directory of an image"))?;
        Ok(Self {
            path,
            root,
            bytes_left: UNPACKED_BYTES_MAX,
            entries_left: ENTRIES_MAX,
            cancelled,
            parent: None,
            made: HashSet::new(),
        })
    }

    /// Unpacks the next layer, which has to have this sum when decompressed.
    pub(crate) fn layer(
        &mut self,
        compressed: impl Read,
        compression: Compression,
        diff_id: &Digest,
    ) -> Result<(), Error> {
        self.parent = None;
        self.made.clear();
        let mut layer = Layer::new(compressed, compression, self.cancelled);
        let mut archive = Archive::new(&mut layer);
        while let Some(entry) = archive.next()? {
            self.entries_left = self.entries_left.checked_sub(1).ok_or(Error::TooLarge)?;
            self.bytes_left = self.bytes_left.checked_sub(entry.size).ok_or(Error::TooLarge)?;
            self.entry(&entry, &mut archive)?;
        }
        archive.finish()?;
        if layer.diff_id() == *diff_id {
            Ok(())
        } else {
            Err(Error::Invalid("a layer is not what the image's configuration says"))
        }
    }

    /// Makes what sandboxes mount over, and writes everything to the disk.
    pub(crate) fn finish(self) -> Result<(), Error> {
        self.mount_points().map_err(Error::io("complete an image"))?;
        let whole =
            rustix::fs::openat(&self.root, ".", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let synced = whole.and_then(rustix::fs::syncfs);
        synced.map_err(io::Error::from).map_err(Error::io("write an image to the disk"))
    }

    fn mount_points(&self) -> io::Result<()> {
        match mkdirat(&self.root, "etc", Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let etc = match openat(&self.root, "etc", DIRECTORY, Mode::empty()) {
            Ok(etc) => etc,
            // A link or a file in its place does not appear in sandboxes.
            Err(Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for name in MOUNTED_OVER {
            let found = statat(&etc, name, AtFlags::SYMLINK_NOFOLLOW);
            match found.map(|found| FileType::from_raw_mode(found.st_mode)) {
                Ok(FileType::RegularFile) => continue,
                Ok(FileType::Directory) => fs::remove_dir_all(below(&etc, name))?,
                Ok(_) => unlinkat(&etc, name, AtFlags::empty())?,
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
            drop(openat(&etc, name, NEW_FILE, Mode::from_raw_mode(0o644))?);
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Entry, contents: &mut impl Read) -> Result<(), Error> {
        let path = clean(&entry.path)?;
        let Some(name) = path.file_name().map(OsStr::to_owned) else {
            // The top itself.
            return Ok(());
        };
        let above = path.parent().unwrap_or(Path::new("")).to_owned();
        let bytes = name.as_bytes();
        if bytes.starts_with(AUFS) && bytes != OPAQUE {
            return Ok(());
        }
        if bytes == OPAQUE {
            return match self.existing(&above)? {
                Some(directory) => self.hide_contents(&directory, &above),
                None => Ok(()),
            };
        }
        if let Some(hidden) = bytes.strip_prefix(WHITEOUT) {
            if hidden.is_empty() || hidden == b"." || hidden == b".." {
                return Err(Error::Invalid("a layer hides a file without a name"));
            }
            let hidden = OsStr::from_bytes(hidden);
            return match self.existing(&above)? {
                Some(directory) => self.hide(&directory, hidden, &above.join(hidden)),
                None => Ok(()),
            };
        }
        if entry.kind == Kind::Special {
            return Ok(());
        }
        let parent = self.parent(&above)?;
        let made = self.make(&parent, &name, entry, contents);
        self.parent = Some((above, parent));
        made?;
        self.remember(&path);
        Ok(())
    }

    /// Makes one entry, in place of what is there.
    fn make(
        &mut self,
        parent: &OwnedFd,
        name: &OsStr,
        entry: &Entry,
        contents: &mut impl Read,
    ) -> Result<(), Error> {
        let mode = Mode::from_raw_mode(entry.mode & MODE);
        match &entry.kind {
            Kind::Directory => {
                if !is_directory(parent, name)? {
                    replace(parent, name)?;
                    mkdirat(parent, name, Mode::from_raw_mode(0o755)).map_err(ours)?;
                }
                // Ours to write into and to remove, whatever the image thinks.
                let directory =
                    openat(parent, name, READ_DIRECTORY, Mode::empty()).map_err(ours)?;
                fchmod(&directory, mode | Mode::RWXU).map_err(ours)?;
            }
            Kind::File => {
                replace(parent, name)?;
                let file = openat(parent, name, NEW_FILE, Mode::RUSR | Mode::WUSR).map_err(ours)?;
                let mut file = File::from(file);
                copy(contents, &mut file, entry.size)?;
                fchmod(&file, mode | Mode::RUSR).map_err(ours)?;
                // Python's compiled modules are good for sources of one time alone.
                let time = Timespec { tv_sec: entry.modified, tv_nsec: 0 };
                let times = Timestamps { last_access: time, last_modification: time };
                futimens(&file, &times).map_err(ours)?;
            }
            Kind::Symlink(target) => {
                replace(parent, name)?;
                symlinkat(OsStr::from_bytes(target), parent, name).map_err(ours)?;
            }
            Kind::Hardlink(target) => self.link(parent, name, target)?,
            Kind::Special => {}
        }
        Ok(())
    }

    fn link(&mut self, parent: &OwnedFd, name: &OsStr, target: &[u8]) -> Result<(), Error> {
        let nowhere = Error::Invalid("a layer links to a file that is not there");
        let target = clean(target)?;
        let Some(other) = target.file_name() else { return Err(nowhere) };
        let above = target.parent().unwrap_or(Path::new(""));
        let Some(directory) = self.existing(above)? else { return Err(nowhere) };
        let found = statat(&directory, other, AtFlags::SYMLINK_NOFOLLOW);
        match found.map(|found| FileType::from_raw_mode(found.st_mode)) {
            Ok(FileType::RegularFile | FileType::Symlink) => {}
            Ok(_) | Err(_) => return Err(nowhere),
        }
        let same =
            |directory: &OwnedFd| real_path(directory).map_err(Error::io("look into an image"));
        if other == name && same(&directory)? == same(parent)? {
            return Err(Error::Invalid("a layer links a file to itself"));
        }
        replace(parent, name)?;
        match linkat(&directory, other, parent, name, AtFlags::empty()) {
            Err(Errno::NOENT) => Err(nowhere),
            Err(Errno::MLINK) => Err(Error::TooLarge),
            linked => linked.map_err(ours),
        }
    }

    /// The directory at a path, made with all above it where it is missing.
    fn parent(&mut self, path: &Path) -> Result<OwnedFd, Error> {
        if let Some((known, directory)) = self.parent.take()
            && known == path
        {
            return Ok(directory);
        }
        if let Some(directory) = self.existing(path)? {
            return Ok(directory);
        }
        let mut sofar = PathBuf::new();
        let mut at = self.open(Path::new("."))?.ok_or(Error::Interrupted)?;
        for part in path.components() {
            sofar.push(part);
            at = match self.open(&sofar)? {
                Some(there) => there,
                None => {
                    match mkdirat(&at, part.as_os_str(), Mode::from_raw_mode(0o755)) {
                        Ok(()) => {}
                        // A file, or a link to nowhere.
                        Err(Errno::EXIST) => {
                            return Err(Error::Invalid("a layer has a file below a file"));
                        }
                        Err(error) => return Err(ours(error)),
                    }
                    let made = self.open(&sofar)?;
                    made.ok_or(Error::Invalid("a layer has a file below a file"))?
                }
            };
        }
        self.check_depth(&at)?;
        Ok(at)
    }

    /// The directory at a path, if there is one.
    fn existing(&self, path: &Path) -> Result<Option<OwnedFd>, Error> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let found = self.open(path)?;
        if let Some(directory) = &found {
            self.check_depth(directory)?;
        }
        Ok(found)
    }

    fn open(&self, path: &Path) -> Result<Option<OwnedFd>, Error> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match openat2(&self.root, path, flags, Mode::empty(), resolve) {
            Ok(directory) => Ok(Some(directory)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(Errno::LOOP | Errno::NAMETOOLONG) => {
                Err(Error::Invalid("a layer holds a path that leads nowhere"))
            }
            Err(error) => Err(ours(error)),
        }
    }

    /// Links can nest directories deeper than any path says; and what the kernel resolved is in the tree, or we stop.
    fn check_depth(&self, directory: &OwnedFd) -> Result<(), Error> {
        let real = real_path(directory).map_err(Error::io("look into an image"))?;
        match real.strip_prefix(&self.path) {
            Ok(inside) if inside.components().count() < DEPTH_MAX => Ok(()),
            Ok(_) => Err(Error::Invalid("a layer nests directories too deep")),
            Err(_) => Err(Error::Invalid("a layer leads out of the image")),
        }
    }

    fn remember(&mut self, path: &Path) {
        let above = path.ancestors().take_while(|above| !above.as_os_str().is_empty());
        for path in above {
            if !self.made.insert(path.to_owned()) {
                break;
            }
        }
    }

    /// Removes a file or tree, but not what this layer made.
    fn hide(&mut self, parent: &OwnedFd, name: &OsStr, path: &Path) -> Result<(), Error> {
        self.parent = None;
        if !self.made.contains(path) {
            return replace(parent, name);
        }
        if is_directory(parent, name)? {
            let directory = openat(parent, name, DIRECTORY, Mode::empty()).map_err(ours)?;
            self.hide_contents(&directory, path)?;
        }
        Ok(())
    }

    fn hide_contents(&mut self, directory: &OwnedFd, path: &Path) -> Result<(), Error> {
        let entries = fs::read_dir(below(directory, "."));
        for entry in entries.map_err(Error::io("look into an image"))? {
            let name = entry.map_err(Error::io("look into an image"))?.file_name();
            self.hide(directory, &name, &path.join(&name))?;
        }
        Ok(())
    }
}

const DIRECTORY: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const READ_DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const NEW_FILE: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// A path of an archive as one below the top of the image: without a slash before it, and without `..`.
fn clean(path: &[u8]) -> Result<PathBuf, Error> {
    let mut clean = PathBuf::new();
    for component in Path::new(OsStr::from_bytes(path)).components() {
        match component {
            Component::Normal(name) if name.len() <= 255 => clean.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::Normal(_) | Component::ParentDir | Component::Prefix(_) => {
                return Err(Error::Invalid("a layer holds a path that leads out of the image"));
            }
        }
    }
    if clean.components().count() > DEPTH_MAX {
        return Err(Error::Invalid("a layer nests directories too deep"));
    }
    Ok(clean)
}

/// Where a directory is, in the kernel's words.
fn real_path(directory: &OwnedFd) -> io::Result<PathBuf> {
    let link = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let target = readlinkat(CWD, link, Vec::new())?;
    Ok(PathBuf::from(std::ffi::OsString::from_vec(target.into_bytes())))
}

/// A path by which the standard library reaches into an open directory.
fn below(directory: &OwnedFd, name: &str) -> PathBuf {
    Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name)
}

fn is_directory(parent: &OwnedFd, name: &OsStr) -> Result<bool, Error> {
    match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => Ok(FileType::from_raw_mode(found.st_mode).is_dir()),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(ours(error)),
    }
}

/// Removes what is there, if anything is.
fn replace(parent: &OwnedFd, name: &OsStr) -> Result<(), Error> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR) => {
            let path = below(parent, ".").join(name);
            fs::remove_dir_all(path).map_err(Error::io("replace a directory of an image"))
        }
        Err(error) => Err(ours(error)),
    }
}

fn copy(contents: &mut impl Read, file: &mut File, size: u64) -> Result<(), Error> {
    let mut buffer = [0; 64 * 1024];
    let mut left = size;
    while left > 0 {
        let read = match contents.read(&mut buffer) {
            Ok(0) => return Err(Error::Invalid("a layer is cut off")),
            Ok(read) => read,
            Err(error) => return Err(crate::tar::unreadable(error)),
        };
        file.write_all(&buffer[..read]).map_err(Error::io("write a file of an image"))?;
        left -= read as u64;
    }
    Ok(())
}

fn ours(error: Errno) -> Error {
    Error::Io { doing: "unpack an image", source: error.into() }
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;
