//! Limits by cgroup, on whatever the machine has: version 2, version 1, or both side by side (then
//! version 1 usually holds the controllers, and version 2 is good for freezing and killing).
//!
//! All cgroups of one sandboxd live under one parent per hierarchy, `gatemill.<pid>`, *beside* our
//! own cgroup where that may be made, so that limits of our own service do not become the limit of
//! all functions together, and so that version 2's rule against processes in inner cgroups holds.
//! Parents that a killed sandboxd left behind are removed at the next start.

use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::epoll::EventFlags;
use rustix::event::{EventfdFlags, eventfd};

use crate::limits;
use crate::memory::{self, Used, hard_limit};
use crate::spec::Spec;

mod hierarchy;

/// The version 1 limit of what TCP and UDP sockets hold.
const SOCKET_LIMIT: &str = "memory.kmem.tcp.limit_in_bytes";

pub(crate) use hierarchy::Hierarchies;

/// The limits and switches of one sandbox.
#[derive(Debug)]
pub(crate) struct Cgroup {
    /// Each directory of this sandbox, and what it is for.
    dirs: Vec<Dir>,
    /// What the limit had killed when another sandbox took these over.
    oom_kills_before: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Controller {
    Memory,
    Cpu,
    Pids,
    Freezer,
}

/// The kernel's word that memory use passed a limit.
#[derive(Debug)]
pub(crate) struct MemoryEvent {
    /// Becomes ready, edge-triggered, with these flags.
    pub(crate) ready: OwnedFd,
    pub(crate) flags: EventFlags,
    /// What is left to do for it.
    pub(crate) registration: Option<Registration>,
}

/// A version 1 event that is not registered yet. Registering waits for every CPU, for milliseconds;
/// so a sandbox's first process does it, which has nothing else to do, while its program starts.
#[derive(Debug)]
pub(crate) struct Registration {
    control: fs::File,
    _usage: fs::File,
    line: String,
}

impl MemoryEvent {
    /// The event for one who leaves its registration to another process: what that takes would only cost
    /// descriptors.
    pub(crate) fn registered(self) -> Self {
        Self { registration: None, ..self }
    }

    /// Registers the event, and lets it happen once, because the limit may have been passed before.
    pub(crate) fn register(&self) -> io::Result<()> {
        let Some(registration) = &self.registration else { return Ok(()) };
        (&registration.control).write_all(registration.line.as_bytes())?;
        rustix::io::write(&self.ready, &1_u64.to_ne_bytes())?;
        Ok(())
    }
}

#[derive(Debug)]
struct Dir {
    path: PathBuf,
    version: u8,
    controllers: Vec<Controller>,
}

impl Cgroup {
    /// Makes the directories of a sandbox and sets its limits. Nothing is left after an error.
    pub(crate) fn create(parents: &Hierarchies, name: &str, spec: &Spec) -> io::Result<Self> {
        let mut cgroup = Self { dirs: Vec::new(), oom_kills_before: 0 };
        let made = parents.each().try_for_each(|parent| {
            let path = parent.path.join(name);
            fs::create_dir(&path)?;
            let controllers = parent.controllers.clone();
            let dir = Dir { path, version: parent.version, controllers };
            let limited = dir.limit(spec);
            cgroup.dirs.push(dir);
            limited
        });
        match made {
            Ok(()) => Ok(cgroup),
            Err(error) => {
                cgroup.remove();
                Err(error)
            }
        }
    }

    /// The limits of a sandbox that takes the place of one that ended. What that one used at most and was killed for does
    /// not count any more (the peak only where the kernel can forget it: version 2 cannot).
    pub(crate) fn begin_again(&mut self, spec: &Spec) -> io::Result<()> {
        self.dirs.iter().try_for_each(|dir| dir.limit(spec))?;
        self.oom_kills_before += self.oom_kills();
        match self.with(Controller::Memory) {
            Some(dir) if dir.version == 1 => dir.write("memory.max_usage_in_bytes", "0"),
            _ => Ok(()),
        }
    }

    /// The version 1 files into which the first process, while it has one thread, writes 0. Not
    /// `cgroup.procs`: moving a whole process waits for every CPU (10 ms and more), moving the
    /// writing thread does not.
    pub(crate) fn tasks_files(&self) -> Vec<PathBuf> {
        self.dirs.iter().filter(|d| d.version == 1).map(|d| d.path.join("tasks")).collect()
    }

    /// The same, opened for writing, for a process that cannot see them.
    pub(crate) fn open_tasks_files(&self) -> io::Result<Vec<OwnedFd>> {
        let open = |path| fs::OpenOptions::new().write(true).open(path).map(OwnedFd::from);
        self.tasks_files().into_iter().map(open).collect()
    }

    /// Other limits than those that the sandbox was made with.
    pub(crate) fn limit_again(&self, before: &Spec, spec: &Spec) -> io::Result<()> {
        for dir in &self.dirs {
            if dir.version == 1 && dir.controllers.contains(&Controller::Memory) {
                // The two limits of version 1 must never cross: of higher ones this has to be first.
                let limit = hard_limit(spec).to_string();
                let _ = dir.write_if_there("memory.memsw.limit_in_bytes", &limit);
            }
            dir.limit_changes(Some(before), spec)?;
        }
        Ok(())
    }

    /// The files by writing 0 to which a process joins, opened here because who joins has no right to.
    pub(crate) fn membership_files(&self) -> io::Result<Vec<OwnedFd>> {
        let open = |dir: &Dir| {
            let name = if dir.version == 1 { "tasks" } else { "cgroup.procs" };
            fs::OpenOptions::new().write(true).open(dir.path.join(name)).map(OwnedFd::from)
        };
        self.dirs.iter().map(open).collect()
    }

    /// Whether a process is in every cgroup of this sandbox.
    pub(crate) fn holds(&self, pid: u32) -> bool {
        !self.dirs.is_empty() && self.dirs.iter().all(|dir| dir.processes().contains(&pid))
    }

    /// All processes of this sandbox.
    pub(crate) fn processes(&self) -> Vec<u32> {
        self.dirs.first().map(Dir::processes).unwrap_or_default()
    }

    /// The version 2 directory in which the first process is made.
    pub(crate) fn birthplace(&self) -> io::Result<Option<OwnedFd>> {
        let dir = self.dirs.iter().find(|dir| dir.version == 2);
        dir.map(|dir| fs::File::open(&dir.path).map(OwnedFd::from)).transpose()
    }

    /// The file that holds the highest memory use in bytes.
    pub(crate) fn peak_file(&self) -> Option<PathBuf> {
        let dir = self.with(Controller::Memory)?;
        let name = if dir.version == 2 { "memory.peak" } else { "memory.max_usage_in_bytes" };
        Some(dir.path.join(name))
    }

    /// The highest memory use in bytes; 0 where nothing counts it.
    pub(crate) fn peak_bytes(&self) -> u64 {
        let number = |file| fs::read_to_string(file).ok()?.trim().parse().ok();
        self.peak_file().and_then(number).unwrap_or(0)
    }

    /// Memory in use now; `None` where nothing counts it.
    pub(crate) fn memory_used(&self) -> Option<Used> {
        let dir = self.with(Controller::Memory)?;
        let file = if dir.version == 2 { "memory.current" } else { "memory.usage_in_bytes" };
        let total = fs::read_to_string(dir.path.join(file)).ok()?.trim().parse().ok()?;
        Some(Used { total, page_cache: memory::page_cache(&dir.path.join("memory.stat")) })
    }

    /// How the kernel tells that the use of memory passes `limit` bytes; `None` where no cgroup
    /// counts it.
    pub(crate) fn watch_memory(&self, limit: u64) -> io::Result<Option<MemoryEvent>> {
        let Some(dir) = self.with(Controller::Memory) else { return Ok(None) };
        if dir.version == 2 {
            // The counter `high` in it changes; see `limit_memory_v2`.
            let ready = fs::File::open(dir.path.join("memory.events"))?.into();
            let flags = EventFlags::PRI | EventFlags::ET;
            return Ok(Some(MemoryEvent { ready, flags, registration: None }));
        }
        let usage = fs::File::open(dir.path.join("memory.usage_in_bytes"))?;
        let control =
            fs::OpenOptions::new().write(true).open(dir.path.join("cgroup.event_control"))?;
        let ready = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let line = format!("{} {} {limit}", ready.as_raw_fd(), usage.as_raw_fd());
        let registration = Some(Registration { control, _usage: usage, line });
        Ok(Some(MemoryEvent { ready, flags: EventFlags::IN | EventFlags::ET, registration }))
    }

    /// Lets a version 2 cgroup use this much before it is slowed down; version 1 slows nobody.
    pub(crate) fn tolerate(&self, bytes: u64) {
        if let Some(dir) = self.with(Controller::Memory).filter(|dir| dir.version == 2) {
            let _ = dir.write("memory.high", &bytes.to_string());
        }
    }

    /// How many processes the memory limit has killed.
    pub(crate) fn oom_kills(&self) -> u64 {
        let Some(dir) = self.with(Controller::Memory) else { return 0 };
        let file = if dir.version == 2 { "memory.events" } else { "memory.oom_control" };
        field(&dir.path.join(file), "oom_kill").unwrap_or(0).saturating_sub(self.oom_kills_before)
    }

    /// Stops or continues all processes. `false` where no cgroup can.
    pub(crate) fn set_frozen(&self, frozen: bool) -> bool {
        let Some((dir, file, on, off)) = self.freezer() else { return false };
        fs::write(dir.join(file), if frozen { on } else { off }).is_ok()
    }

    /// Kills all processes where a version 2 cgroup can, whoever their parents are.
    pub(crate) fn kill(&self) {
        for dir in self.dirs.iter().filter(|dir| dir.version == 2) {
            // Linux 5.14 and later. Without it the death of the init does the same.
            let _ = fs::write(dir.path.join("cgroup.kill"), "1");
        }
    }

    /// Removes the directories. `false` when one is still busy, because processes in it are still dying:
    /// then this has to be called again.
    pub(crate) fn remove(&self) -> bool {
        let busy = self.dirs.iter().filter(|dir| !try_remove_dir(&dir.path));
        busy.count() == 0
    }

    fn with(&self, controller: Controller) -> Option<&Dir> {
        self.dirs.iter().find(|dir| dir.controllers.contains(&controller))
    }

    fn freezer(&self) -> Option<(&Path, &'static str, &'static str, &'static str)> {
        if let Some(dir) = self.dirs.iter().find(|dir| dir.version == 2) {
            return Some((&dir.path, "cgroup.freeze", "1", "0"));
        }
        let dir = self.with(Controller::Freezer)?;
        Some((&dir.path, "freezer.state", "FROZEN", "THAWED"))
    }
}

impl Dir {
    fn processes(&self) -> Vec<u32> {
        let list = fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
        list.lines().filter_map(|line| line.parse().ok()).collect()
    }

    fn limit(&self, spec: &Spec) -> io::Result<()> {
        self.limit_changes(None, spec)
    }

    /// Writes the limits that are not as they were.
    fn limit_changes(&self, before: Option<&Spec>, spec: &Spec) -> io::Result<()> {
        let memory = |spec: &Spec| (spec.memory_bytes, spec.tmp_bytes);
        let cpu = |spec: &Spec| (spec.cpu_millis, spec.cpu_share_millis);
        for controller in &self.controllers {
            let is_same = before.is_some_and(|before| match controller {
                Controller::Memory => memory(before) == memory(spec),
                Controller::Cpu => cpu(before) == cpu(spec),
                Controller::Pids => before.pids_max == spec.pids_max,
                Controller::Freezer => true,
            });
            if is_same {
                continue;
            }
            match (controller, self.version) {
                (Controller::Memory, 2) => self.limit_memory_v2(spec)?,
                (Controller::Memory, _) => self.limit_memory_v1(spec)?,
                (Controller::Cpu, 2) => {
                    let value = format!("{} {}", cpu_quota_us(spec), limits::CPU_PERIOD_US);
                    self.write("cpu.max", &value)?;
                    self.write("cpu.weight", &cpu_weight(spec).to_string())?;
                }
                (Controller::Cpu, _) => {
                    self.write("cpu.cfs_period_us", &limits::CPU_PERIOD_US.to_string())?;
                    self.write("cpu.cfs_quota_us", &cpu_quota_us(spec).to_string())?;
                    self.write("cpu.shares", &cpu_shares(spec).to_string())?;
                }
                // One more for the init, which the customer did not start.
                (Controller::Pids, _) => {
                    self.write("pids.max", &(u64::from(spec.pids_max) + 1).to_string())?;
                }
                (Controller::Freezer, _) => {}
            }
        }
        Ok(())
    }

    fn limit_memory_v2(&self, spec: &Spec) -> io::Result<()> {
        self.write("memory.max", &hard_limit(spec).to_string())?;
        // Passing it is an event; until sandboxd has looked, the program is only slowed down.
        self.write("memory.high", &spec.memory_bytes.to_string())?;
        self.write_if_there("memory.swap.max", "0")?;
        self.write_if_there("memory.oom.group", "1")
    }

    fn limit_memory_v1(&self, spec: &Spec) -> io::Result<()> {
        let limit = hard_limit(spec).to_string();
        self.write("memory.limit_in_bytes", &limit)?;
        // With swap counted and equal, no byte of it can be used.
        self.write_if_there("memory.memsw.limit_in_bytes", &limit)?;
        // Version 1 counts what sockets hold apart, and only where it has a limit.
        let sockets = (spec.memory_bytes / limits::SOCKET_SHARE).to_string();
        self.write_if_there(SOCKET_LIMIT, &sockets)
    }

    fn write(&self, file: &str, value: &str) -> io::Result<()> {
        fs::write(self.path.join(file), value)
    }

    fn write_if_there(&self, file: &str, value: &str) -> io::Result<()> {
        match self.write(file, value) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                // Opening a control file that does not exist tries to create it, which cgroupfs
                // refuses with EACCES and not with ENOENT.
                if self.path.join(file).exists() { Err(error) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }
}

/// Removes a cgroup directory and those in it. Gives up silently after the bound: an emptied cgroup
/// costs little, and the next start looks again.
pub(crate) fn remove_tree(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let _ = fs::write(entry.path().join("cgroup.kill"), "1");
            remove_dir(&entry.path());
        }
    }
    remove_dir(path);
}

fn remove_dir(path: &Path) {
    for _ in 0..limits::CGROUP_REMOVE_TRIES {
        if try_remove_dir(path) {
            return;
        }
        std::thread::sleep(limits::CGROUP_REMOVE_PAUSE);
    }
}

/// `false` when it is busy. One that cannot be removed otherwise is given up.
fn try_remove_dir(path: &Path) -> bool {
    !fs::remove_dir(path).is_err_and(|error| error.raw_os_error() == Some(libc::EBUSY))
}

fn cpu_quota_us(spec: &Spec) -> u64 {
    let quota = u64::from(spec.cpu_millis) * limits::CPU_PERIOD_US / 1000;
    quota.max(limits::MIN_CPU_QUOTA_US)
}

/// Version 1: 1,024 is what one CPU's worth has, and 2 the least.
fn cpu_shares(spec: &Spec) -> u64 {
    (u64::from(spec.cpu_share_millis) * 1024 / 1000).clamp(2, 262_144)
}

/// Version 2: 100 is what one CPU's worth has, between 1 and 10,000.
fn cpu_weight(spec: &Spec) -> u64 {
    (u64::from(spec.cpu_share_millis) / 10).clamp(1, 10_000)
}

fn field(file: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(key, _)| *key == name)?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests;
