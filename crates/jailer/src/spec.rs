//! What a sandbox shall be, as plain data, and the check that sandboxd makes of it again on its own
//! side: the server is large and speaks with strangers, so sandboxd does not take its word.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use crate::limits;

/// How strongly programs are kept apart from the machine and from one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// Namespaces, own root file system, own uid, no capabilities, filters and limits.
    #[default]
    Sandbox,
    /// None: a plain process with resource limits, for machines that can do nothing else. It reads
    /// what the server's user may read; it has to be asked for.
    Process,
}

/// A directory or file of the host that appears read-only inside, without setuid and device nodes.
///
/// The way to it may be closed to others (a 0700 data directory), but it and what is in it has to be
/// readable by everybody: the function's uid owns nothing. What is mounted below it on the host does
/// not appear. [`Isolation::Process`] makes no binds; there, the program, the working directory,
/// arguments and variables (also the parts of `:` lists) that begin with an inside path are turned
/// into host paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Absolute path on the host. Symbolic links are followed: the server chose it.
    pub host: PathBuf,
    /// Absolute path inside. Not `/`, and not at or under `/proc`, `/dev`, `/tmp` and `/etc`, which
    /// sandboxd makes itself.
    pub inside: PathBuf,
}

/// One sandbox to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// `[a-z0-9-]{1,64}`, unique among the living.
    pub id: String,
    /// The program, as a path inside.
    pub program: PathBuf,
    /// The arguments after `argv[0]`, which is the program's path.
    pub args: Vec<String>,
    /// The whole environment; nothing is added to it.
    pub env: Vec<(String, String)>,
    /// Working directory, a path inside.
    pub cwd: PathBuf,
    /// The directory of an unpacked container image, which becomes the root: what stands at its top appears inside,
    /// read-only, without setuid and device nodes. `/proc`, `/dev` and `/tmp` are sandboxd's own as ever, and so are
    /// `hosts`, `resolv.conf` and `hostname` in its `/etc`, where it has to have files of these names. The rest of
    /// `/etc` is the image's. [`Isolation::Process`] has no root to give, and refuses.
    pub root: Option<PathBuf>,
    /// What of the host appears inside, in this order.
    pub binds: Vec<Bind>,
    /// The function's own uid slot, below [`limits::MAX_UID_SLOTS`]. As root, the host uid is
    /// `uid_base + slot`; inside, the uid is 993 always.
    pub uid: u32,
    /// Memory limit in bytes of the whole process tree.
    pub memory_bytes: u64,
    /// The most CPU that it gets, in thousandths of one CPU.
    pub cpu_millis: u32,
    /// Its share beside others where CPU is scarce, in thousandths of one CPU: two sandboxes that both want more than
    /// there is get it in this proportion.
    pub cpu_share_millis: u32,
    /// Size of `/tmp` in bytes.
    pub tmp_bytes: u64,
    /// Most processes and threads.
    pub pids_max: u32,
    /// Most open files of a process (`RLIMIT_NOFILE`, soft and hard).
    pub nofile: u32,
    /// What runs beside the program, with [`Start::AtOnce`] alone. The program waits then until it is told to start, and
    /// the sandbox does not end with it; see [`companions`](crate::companions).
    pub companions: Option<Companions>,
}

/// Programs that run beside a sandbox's program, within the same walls and limits. Their working directory is `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Companions {
    /// Paths inside; they have no arguments.
    pub programs: Vec<PathBuf>,
    /// The whole environment of each.
    pub env: Vec<(String, String)>,
}

/// When a sandbox learns which function it is for, and how its program comes into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The spec is all of it: the program is executed and goes on.
    AtOnce,
    /// As [`Start::AtOnce`], in what an ended sandbox left: its `/tmp` and the cgroups that its memory counts in. It
    /// has to have the same uid and sizes.
    After {
        /// The ticket of the one that ended; its reply said that something is left.
        ended: u64,
    },
    /// The program is executed in a sandbox without a function, which waits for its [`Assignment`].
    Parked,
    /// As [`Start::Parked`], but nothing is executed before a [`vacant::order`](crate::vacant::order) comes over the channel, after
    /// the assignment. The spec's program is not heeded.
    Vacant,
    /// As [`Start::Parked`], but the program is a fork of a template.
    Forked {
        /// The template's ticket.
        template: u64,
    },
    /// As [`Start::AtOnce`], and the program is going to be forked into sandboxes of their own when it has initialised the
    /// function: it gets a socket as descriptor 4, on which it is asked to.
    Snapshot,
    /// The program is a fork of a snapshot's. What it is, and what it sees, is the snapshot's; the spec's id, limits and
    /// sizes hold.
    Restored {
        /// The snapshot's ticket.
        snapshot: u64,
    },
}

/// What a parked sandbox becomes. The program must not have been told of the function before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// What appears inside beside the binds of the spec; none of them may be there already.
    pub binds: Vec<Bind>,
    /// As [`Spec::memory_bytes`].
    pub memory_bytes: u64,
    /// As [`Spec::cpu_millis`].
    pub cpu_millis: u32,
    /// As [`Spec::cpu_share_millis`].
    pub cpu_share_millis: u32,
    /// As [`Spec::tmp_bytes`].
    pub tmp_bytes: u64,
}

/// Why a [`Spec`] is not acceptable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct Invalid {
    /// The field of the spec.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// Which walls and limits really hold on this machine; found out by sandboxd at its start with a
/// trial sandbox, not assumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "a report: each wall stands or does not")]
pub struct Enforced {
    /// sandboxd runs as root: each function has a host uid of its own.
    pub own_uid: bool,
    /// Programs see a root file system of their own.
    pub file_system: bool,
    /// Programs have their own process ids, IPC, host name and cgroup root.
    pub namespaces: bool,
    /// Programs have a user namespace of their own, with one uid in it.
    pub user_namespace: bool,
    /// Programs have a network of their own with nothing but a loopback.
    pub network: bool,
    /// The system call filter.
    pub seccomp: bool,
    /// Landlock's interface version; 0 where the kernel has none.
    pub landlock: u8,
    /// The memory limit is the kernel's (cgroup). If not, sandboxd sums the tree every
    /// [`limits::WATCHDOG_PERIOD`] and kills it when it is over.
    pub memory: bool,
    /// The CPU share.
    pub cpu: bool,
    /// The process limit by cgroup. If not, it holds per uid and user namespace (`RLIMIT_NPROC`).
    pub pids: bool,
    /// Environments are frozen by the kernel. If not, by `SIGSTOP`.
    pub freezer: bool,
    /// `/tmp` has its size.
    pub tmp_size: bool,
    /// The version of the cgroup interface that bears the memory limit: 2, 1, or 0 for none.
    pub cgroup_version: u8,
}

impl Spec {
    /// Checks every field.
    ///
    /// # Errors
    /// The first field that is not acceptable.
    pub fn validate(&self) -> Result<(), Invalid> {
        let id_ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if self.id.is_empty() || self.id.len() > limits::MAX_ID_BYTES || !self.id.bytes().all(id_ok)
        {
            return invalid("id", "must be 1 to 64 of a-z, 0-9 and -");
        }
        check_path("program", &self.program)?;
        check_path("cwd", &self.cwd)?;
        check_strings("args", self.args.iter(), limits::MAX_ARGS)?;
        check_environment(&self.env)?;
        if let Some(companions) = &self.companions {
            if companions.programs.is_empty() || companions.programs.len() > limits::MAX_COMPANIONS
            {
                return invalid("companions", "must be 1 to 10");
            }
            companions.programs.iter().try_for_each(|path| check_path("companions", path))?;
            check_environment(&companions.env)?;
        }
        if let Some(root) = &self.root {
            check_path("root", root)?;
        }
        self.assignment().validate()?;
        if self.uid >= limits::MAX_UID_SLOTS {
            return invalid("uid", "is not a slot below 60000");
        }
        if self.pids_max == 0 || self.pids_max > 1 << 20 {
            return invalid("pids_max", "is zero or absurdly large");
        }
        if self.nofile < 16 || self.nofile > 1 << 20 {
            return invalid("nofile", "is below 16 or absurdly large");
        }
        Ok(())
    }

    /// The part of the spec that an assignment may set anew.
    pub(crate) fn assignment(&self) -> Assignment {
        Assignment {
            binds: self.binds.clone(),
            memory_bytes: self.memory_bytes,
            cpu_millis: self.cpu_millis,
            cpu_share_millis: self.cpu_share_millis,
            tmp_bytes: self.tmp_bytes,
        }
    }
}

impl Assignment {
    /// Checks every field.
    ///
    /// # Errors
    /// The first field that is not acceptable.
    pub fn validate(&self) -> Result<(), Invalid> {
        if self.binds.len() > limits::MAX_BINDS {
            return invalid("binds", "are too many");
        }
        for bind in &self.binds {
            check_path("binds", &bind.host)?;
            check_path("binds", &bind.inside)?;
            check_inside(&bind.inside)?;
        }
        if !(limits::MIN_MEMORY_BYTES..=limits::MAX_SIZE_BYTES).contains(&self.memory_bytes) {
            return invalid("memory_bytes", "is below 4 MiB or absurdly large");
        }
        for (name, millis) in
            [("cpu_millis", self.cpu_millis), ("cpu_share_millis", self.cpu_share_millis)]
        {
            if millis == 0 || millis > limits::MAX_CPU_MILLIS {
                return invalid(name, "is zero or absurdly large");
            }
        }
        if self.tmp_bytes == 0 || self.tmp_bytes > limits::MAX_SIZE_BYTES {
            return invalid("tmp_bytes", "is zero or absurdly large");
        }
        Ok(())
    }
}

impl fmt::Display for Enforced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let walls = [
            ("own uid", self.own_uid),
            ("file system", self.file_system),
            ("namespaces", self.namespaces),
            ("user namespace", self.user_namespace),
            ("network", self.network),
            ("seccomp", self.seccomp),
            ("landlock", self.landlock > 0),
            ("memory", self.memory),
            ("cpu", self.cpu),
            ("pids", self.pids),
            ("freezer", self.freezer),
            ("tmp size", self.tmp_size),
        ];
        let names = |holds: bool| {
            walls.iter().filter(|w| w.1 == holds).map(|w| w.0).collect::<Vec<_>>().join(", ")
        };
        write!(f, "enforced: {}; not enforced: {}", or_none(&names(true)), or_none(&names(false)))
    }
}

fn or_none(list: &str) -> &str {
    if list.is_empty() { "none" } else { list }
}

fn invalid<T>(field: &'static str, problem: &'static str) -> Result<T, Invalid> {
    Err(Invalid { field, problem })
}

fn check_environment(env: &[(String, String)]) -> Result<(), Invalid> {
    check_strings("env", env.iter().map(|(_, value)| value), limits::MAX_ENV)?;
    for (name, _) in env {
        if name.is_empty() || name.contains(['=', '\0']) {
            return invalid("env", "has a name that is empty or holds = or NUL");
        }
    }
    Ok(())
}

fn check_path(field: &'static str, path: &Path) -> Result<(), Invalid> {
    let bytes = path.as_os_str().as_encoded_bytes();
    if bytes.len() > limits::MAX_PATH_BYTES || bytes.contains(&0) {
        return invalid(field, "holds NUL or a path that is too long");
    }
    let plain = |c: Component<'_>| matches!(c, Component::RootDir | Component::Normal(_));
    if !path.is_absolute() || !path.components().all(plain) {
        return invalid(field, "must be an absolute path without ..");
    }
    if path.components().count() > limits::MAX_PATH_DEPTH {
        return invalid(field, "is too deep");
    }
    Ok(())
}

fn check_inside(inside: &Path) -> Result<(), Invalid> {
    let made_by_us = ["/proc", "/dev", "/tmp", "/etc"];
    if inside == Path::new("/") || made_by_us.iter().any(|p| inside.starts_with(p)) {
        return invalid("binds", "would cover a directory that every sandbox has of its own");
    }
    Ok(())
}

fn check_strings<'a>(
    field: &'static str,
    mut strings: impl ExactSizeIterator<Item = &'a String>,
    most: usize,
) -> Result<(), Invalid> {
    if strings.len() > most {
        return invalid(field, "are too many");
    }
    if strings.any(|s| s.contains('\0')) {
        return invalid(field, "hold a NUL byte");
    }
    Ok(())
}
