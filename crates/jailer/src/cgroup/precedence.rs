//! Who goes first where CPU is scarce: the server, then functions, then what else the machine runs.
//!
//! Without it, all functions together have the weight of one ordinary program, so a machine that compiles something makes
//! every call wait for whole ticks of its scheduler; and functions that use all CPU would keep it from the server.
//!
//! The distances are wide for a reason (`docs/decisions/0016-precedence.md`). The kernel lets a process that wakes up
//! go before the running one only if it has not had more than its share by then. Whoever has nearly all of the weight in its
//! run queue can hardly have had more; one with two thirds of it often has.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::limits;

/// The cgroup of the server's own processes. All servers of a machine share it, and it stays when they go.
pub(super) const SERVER_LEAF: &str = "gatemill-server";

/// Weighs our parent `functions` in the version 1 hierarchy of `cpu`, and makes the server's cgroup beside it. Gives the
/// file through which a thread joins that. Where it may not be made, nothing is weighed: functions would be ahead of the
/// server.
pub(super) fn weigh(dir: &Path, functions: &Path) -> Option<PathBuf> {
    let leaf = dir.join(SERVER_LEAF);
    let entrance = leaf.join("tasks");
    let made = made_or_there(&leaf)
        .and_then(|()| fs::write(leaf.join("cpu.shares"), limits::SERVER_CPU_SHARES.to_string()))
        .and_then(|()| fs::OpenOptions::new().write(true).open(&entrance));
    made.ok()?;
    let shares = limits::FUNCTIONS_CPU_SHARES.to_string();
    fs::write(functions.join("cpu.shares"), shares).ok().map(|()| entrance)
}

/// The same in version 2, where the server is in its leaf already.
pub(super) fn weigh_unified(leaf: &Path, functions: &Path) {
    let weight = |dir: &Path, weight: u64| fs::write(dir.join("cpu.weight"), weight.to_string());
    if weight(leaf, limits::SERVER_CPU_WEIGHT).is_ok() {
        let _ = weight(functions, limits::FUNCTIONS_CPU_WEIGHT);
    }
}

fn made_or_there(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(file: &Path) -> String {
        fs::read_to_string(file).unwrap_or_default()
    }

    #[test]
    fn the_server_goes_first_and_functions_second() {
        let dir = tempfile::tempdir().unwrap();
        let functions = dir.path().join("gatemill.1");
        fs::create_dir(&functions).unwrap();
        // A cgroup has its files from the start; a directory of a disk has none that could be joined.
        assert_eq!(weigh(dir.path(), &functions), None);
        assert_eq!(content(&functions.join("cpu.shares")), "");
        let leaf = dir.path().join(SERVER_LEAF);
        fs::write(leaf.join("tasks"), "").unwrap();
        assert_eq!(weigh(dir.path(), &functions), Some(leaf.join("tasks")));
        assert_eq!(content(&leaf.join("cpu.shares")), "262144");
        assert_eq!(content(&functions.join("cpu.shares")), "10240");
        weigh_unified(&leaf, &functions);
        assert_eq!(content(&leaf.join("cpu.weight")), "10000");
        assert_eq!(content(&functions.join("cpu.weight")), "1000");
    }

    #[test]
    fn nothing_is_weighed_where_the_server_cannot_be() {
        let dir = tempfile::tempdir().unwrap();
        weigh_unified(&dir.path().join("not there"), dir.path());
        assert!(!dir.path().join("cpu.weight").exists());
    }
}
