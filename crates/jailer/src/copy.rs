//! Copies what initialisation left in `/tmp` into the `/tmp` of an environment, as AWS's snapshots carry it.
//!
//! Runs with the function's uid and no privilege over anything else; names and contents are the function's and are
//! trusted in nothing. Directories, regular files and symbolic links are copied, and what else there is (sockets,
//! pipes) means nothing in another sandbox. The size is bounded by the new `/tmp` itself.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, fstat, mkdirat, openat, readlinkat, statat, symlinkat,
};

use crate::limits;

/// Copies all that is in one directory into another, which is empty.
pub(crate) fn tree(from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
    let mut budget = limits::MAX_COPIED_ENTRIES;
    directory(from, to, limits::MAX_PATH_DEPTH, &mut budget)
}

fn directory(from: &OwnedFd, to: &OwnedFd, depth: usize, budget: &mut usize) -> io::Result<()> {
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        if *budget == 0 || depth == 0 {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        *budget -= 1;
        let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        // Special bits stay behind.
        let mode = Mode::from_raw_mode(stat.st_mode & 0o777);
        let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                mkdirat(to, name, mode | Mode::RWXU)?;
                let below = OFlags::DIRECTORY | read;
                let source = openat(from, name, below, Mode::empty())?;
                let target = openat(to, name, below, Mode::empty())?;
                directory(&source, &target, depth - 1, budget)?;
            }
            FileType::RegularFile => {
                let source = openat(from, name, read | OFlags::NONBLOCK, Mode::empty())?;
                let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let target = openat(to, name, write, mode)?;
                file(&source, &target)?;
            }
            FileType::Symlink => {
                let target = readlinkat(from, name, Vec::new())?;
                symlinkat(target, to, name)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn file(from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
    let mut left = u64::try_from(fstat(from)?.st_size).unwrap_or(0);
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        let copied = rustix::fs::sendfile(to.as_fd(), from.as_fd(), None, most)?;
        if copied == 0 {
            break;
        }
        left -= copied as u64;
    }
    Ok(())
}
