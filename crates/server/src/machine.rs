//! What the server asks of the machine: cores, file descriptors, and where a thread runs.

use std::{io, path::Path};

use rustix::{
    fs::{Access, AtFlags, CWD, accessat},
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

use crate::limits;

/// The cores that this process may use, at least one.
pub(crate) fn cores() -> Vec<usize> {
    let allowed = sched_getaffinity(None).unwrap_or_default();
    let mut cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
    if cores.is_empty() {
        cores.push(0);
    }
    cores
}

/// Keeps the calling thread to one core. Where the system refuses, the thread runs anywhere: slower, not wrong.
pub(crate) fn keep_to(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    if let Err(error) = sched_setaffinity(None, &set) {
        tracing::debug!(%error, core, "a thread cannot be kept to its core");
    }
}

/// Raises the limit of open files to the most that this user may have: each connection and each environment takes
/// some.
pub(crate) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
}

/// Whether this process may make files in `dir`, by its effective user and by how the file system is mounted.
///
/// # Errors
/// Why not.
pub(crate) fn writable(dir: &Path) -> io::Result<()> {
    accessat(CWD, dir, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)?;
    Ok(())
}

/// The connections that may be open at once: a fixed part of the open files.
pub(crate) fn connections_max() -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::from(u32::MAX));
    usize::try_from(files / limits::CONNECTION_DESCRIPTORS_PART).unwrap_or(usize::MAX >> 4).max(64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_writable_or_the_system_says_why_not() {
        let dir = tempfile::tempdir().unwrap();
        writable(dir.path()).unwrap();
        let missing = writable(&dir.path().join("missing")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_thread_can_be_kept_to_a_core() {
        let core = cores()[0];
        let kept = std::thread::spawn(move || {
            keep_to(core);
            cores()
        });
        assert_eq!(kept.join().unwrap(), [core]);
    }

    #[test]
    fn open_files_are_raised_to_the_hard_limit() {
        raise_open_files();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert!(connections_max() >= 64);
    }
}
