//! Trees of processes as `/proc` shows them: for machines where neither a cgroup nor a pid
//! namespace holds a tree together. A snapshot, stale at once; its users look again.

use std::collections::HashMap;
use std::fs;

use crate::limits;

/// All processes below `root`, without it.
pub fn descendants(root: u32) -> Vec<u32> {
    let mut children = by_parent();
    let mut found = Vec::new();
    let mut look = vec![root];
    while let Some(pid) = look.pop() {
        let below = children.remove(&pid).unwrap_or_default();
        found.extend(&below);
        look.extend(below);
    }
    found
}

/// The processes whose parent is `parent`.
pub fn children(parent: u32) -> Vec<u32> {
    by_parent().remove(&parent).unwrap_or_default()
}

/// The threads of a process and of all processes below it. Unlike [`descendants`] it looks at nothing but them, so its cost
/// does not grow with the machine; where the kernel does not list children, it gives the process's own.
pub fn threads(root: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut look = vec![root];
    while let Some(pid) = look.pop() {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for task in tasks.filter_map(|task| task.file_name().to_str()?.parse::<u32>().ok()) {
            if found.len() >= limits::MAX_PROCESSES {
                return found;
            }
            found.push(task);
            let children = fs::read_to_string(format!("/proc/{pid}/task/{task}/children"));
            let children = children.unwrap_or_default();
            look.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    found
}

fn by_parent() -> HashMap<u32, Vec<u32>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten().take(limits::MAX_PROCESSES) {
        let pid = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        if let Some((pid, parent)) = pid.and_then(|pid| Some((pid, parent(pid)?))) {
            children.entry(parent).or_default().push(pid);
        }
    }
    children
}

/// Resident memory of a process in bytes now, and the highest it ever was. Zero when it is gone.
pub fn resident_bytes(pid: u32) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    };
    let bytes = |name| field(name).unwrap_or(0) * 1024;
    (bytes("VmRSS:"), bytes("VmHWM:"))
}

/// Resident memory of a process in bytes, where a page that several have counts in parts: the sum
/// over a tree is true also after forks. Dear, so for when the plain sum is too high. A process
/// that hides from inspection counts in full.
pub(crate) fn proportional_bytes(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kilobytes = line.and_then(|l| l.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kilobytes.map_or_else(|| resident_bytes(pid).0, |kilobytes| kilobytes * 1024)
}

/// Sends a signal to each; those that are gone are passed over.
pub(crate) fn signal(pids: &[u32], signal: i32) {
    for pid in pids {
        let _ = send(*pid, signal);
    }
}

/// Sends a signal to one process.
pub(crate) fn send(pid: u32, signal: i32) -> std::io::Result<()> {
    let pid = i32::try_from(pid).map_err(|_| std::io::ErrorKind::InvalidInput)?;
    if pid <= 1 {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: kill has no memory effects; 0, 1 and negative pids are excluded above.
    match unsafe { libc::kill(pid, signal) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// The parent's pid: the second field after the name, which may hold spaces and parentheses.
pub(crate) fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
