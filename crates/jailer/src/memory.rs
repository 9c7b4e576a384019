//! When a sandbox has used more memory than it may.
//!
//! AWS's `/tmp` is a disk and does not count as memory; ours is a tmpfs, whose pages the kernel
//! counts with the rest. So the kernel's own limit is memory and `/tmp` together, which protects the
//! machine, and sandboxd enforces the function's limit: the kernel tells it when the use passes the
//! limit, and then it subtracts what is in `/tmp` and what is page cache. A function that is over
//! is killed; one that only filled its `/tmp` is looked at again, the sooner the closer it is.
//!
//! Without a memory cgroup, the resident memory of the whole tree is summed at intervals.

use std::fs;
use std::time::{Duration, Instant};

use crate::cgroup::Cgroup;
use crate::limits;
use crate::process_tree;
use crate::spec::Spec;

/// What is watched of one sandbox.
#[derive(Debug)]
pub(crate) struct MemoryWatch {
    limit: u64,
    hard_limit: u64,
    /// When to look next; `None` while the kernel will tell.
    next: Option<Instant>,
    /// When was looked last.
    last: Option<Instant>,
    /// The highest sum seen, where no cgroup counts it.
    peak: u64,
    over: bool,
}

impl MemoryWatch {
    /// `by_kernel`: a cgroup says when the limit is passed.
    pub(crate) fn new(spec: &Spec, by_kernel: bool) -> Self {
        Self {
            limit: spec.memory_bytes,
            hard_limit: hard_limit(spec),
            next: (!by_kernel).then(Instant::now),
            last: None,
            peak: 0,
            over: false,
        }
    }

    /// The kernel said that the limit was passed. A program that passes it to and fro makes sandboxd
    /// look only so often.
    pub(crate) fn passed(&mut self, now: Instant) {
        self.next = Some(self.last.map_or(now, |last| now.max(last + limits::LOOK_SOONEST)));
    }

    /// When [`Self::look`] is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        if self.over { None } else { self.next }
    }

    /// Whether the limit ended the sandbox.
    pub(crate) fn was_over(&self) -> bool {
        self.over
    }

    /// The highest memory use, never more than the limit: what was above it was `/tmp` and cache,
    /// or the instant before the end.
    pub(crate) fn peak_bytes(&self, cgroup: &Cgroup) -> u64 {
        self.peak.max(cgroup.peak_bytes()).min(self.limit)
    }

    /// Looks now. `true` when the sandbox, whose first process is `pid`, has to be killed.
    pub(crate) fn look(&mut self, cgroup: &Cgroup, pid: u32, now: Instant) -> bool {
        self.last = Some(now);
        let by_cgroup = cgroup.memory_used();
        let counted = if let Some(used) = by_cgroup {
            if used.total <= self.limit {
                // The kernel will tell when that changes, once it minds again.
                cgroup.tolerate(self.limit);
                self.next = None;
                return false;
            }
            let Some(tmp) = tmp_used(pid) else {
                self.next = Some(now + limits::LOOK_LATEST);
                return false; // it is just ending
            };
            cgroup.tolerate((self.limit + tmp + limits::TMP_STEP).min(self.hard_limit));
            used.total.saturating_sub(used.page_cache).saturating_sub(tmp)
        } else {
            sum_of_tree(pid, self.limit)
        };
        self.peak = self.peak.max(counted);
        self.over = counted > self.limit;
        let room = self.limit.saturating_sub(counted);
        self.next = Some(now + by_cgroup.map_or(limits::WATCHDOG_PERIOD, |_| pause(room)));
        self.over
    }
}

/// Resident memory of all processes below `pid`; exact when it is about to be too much.
fn sum_of_tree(pid: u32, limit: u64) -> u64 {
    let tree = process_tree::descendants(pid);
    let simple: u64 = tree.iter().map(|pid| process_tree::resident_bytes(*pid).0).sum();
    if simple <= limit {
        return simple;
    }
    tree.iter().map(|pid| process_tree::proportional_bytes(*pid)).sum()
}

/// What the kernel itself enforces.
pub(crate) fn hard_limit(spec: &Spec) -> u64 {
    spec.memory_bytes.saturating_add(spec.tmp_bytes)
}

/// As long as it takes to fill the room that is left, at a speed that memory allows.
fn pause(room: u64) -> Duration {
    let fill = Duration::from_micros(room / limits::FILL_BYTES_PER_US);
    fill.clamp(limits::LOOK_SOONEST, limits::LOOK_LATEST)
}

/// Bytes in the sandbox's `/tmp`, seen through its first process. `None` when that is gone.
fn tmp_used(pid: u32) -> Option<u64> {
    let stat = rustix::fs::statvfs(format!("/proc/{pid}/root/tmp")).ok()?;
    Some(stat.f_blocks.saturating_sub(stat.f_bfree).saturating_mul(stat.f_frsize))
}

/// Memory that a cgroup counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Used {
    /// All of it, in bytes.
    pub(crate) total: u64,
    /// Files of disks, which the kernel takes back when it needs the room.
    pub(crate) page_cache: u64,
}

/// Reads `memory.stat`'s share of [`Used`].
pub(crate) fn page_cache(stat_file: &std::path::Path) -> u64 {
    let text = fs::read_to_string(stat_file).unwrap_or_default();
    let fields = text.lines().filter_map(|line| line.split_once(' '));
    let of_disks = fields.filter(|(name, _)| matches!(*name, "active_file" | "inactive_file"));
    of_disks.filter_map(|(_, value)| value.trim().parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_passed_to_and_fro_is_looked_at_only_so_often() {
        let now = Instant::now();
        let mut watch =
            MemoryWatch { limit: 1, hard_limit: 2, next: None, last: None, peak: 0, over: false };
        watch.passed(now);
        assert_eq!(watch.due(), Some(now));
        watch.last = Some(now);
        watch.passed(now + Duration::from_micros(1));
        assert_eq!(watch.due(), Some(now + limits::LOOK_SOONEST));
        watch.passed(now + limits::LOOK_LATEST);
        assert_eq!(watch.due(), Some(now + limits::LOOK_LATEST));
    }
}
