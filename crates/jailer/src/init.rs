//! The first process of a sandbox: builds the sandbox around itself, starts the program in it,
//! collects orphans, and passes on how the program ended.
//!
//! It is pid 1 of the sandbox's pid namespace, so the kernel ends everything inside when it ends,
//! and no signal from inside reaches it. The program lives in a user namespace of its own below
//! the init's and has another uid, so it holds no power over the namespaces that bound it, nor over
//! the init; the init itself gives up its privileges as soon as the program may go on.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::path::PathBuf;

use libc::sock_filter;

use crate::cgroup::MemoryEvent;
use crate::companions;
use crate::confine::{self, Descriptors, INSIDE_ID, Image};
use crate::limits;
use crate::network::Cable;
use crate::root_fs;
use crate::socket;
use crate::spec::{Spec, Start};
use crate::step::{At, Failure, Step};
use crate::sys::{self, Forked};
use crate::vacant;

/// Everything that the child needs, made before it is forked.
pub(crate) struct Plan<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) image: Image,
    /// What runs beside it.
    pub(crate) companions: &'a [Image],
    pub(crate) filter: &'a [sock_filter],
    /// The program's, when it is a snapshot.
    pub(crate) snapshot_filter: &'a [sock_filter],
    pub(crate) tasks_files: &'a [PathBuf],
    pub(crate) memory_event: Option<&'a MemoryEvent>,
    pub(crate) mount_point: &'a std::ffi::CStr,
    pub(crate) ids: Ids,
    pub(crate) landlock: bool,
    /// The way to the host's network, where there is one.
    pub(crate) cable: Option<&'a Cable>,
    /// What `/etc/resolv.conf` says.
    pub(crate) resolv_conf: &'a str,
    pub(crate) fds: Descriptors,
    /// The same as the status in `fds`.
    pub(crate) status: BorrowedFd<'a>,
    /// Where the server gets its listener from.
    pub(crate) doorway: BorrowedFd<'a>,
    /// Where the init says how the program ended.
    pub(crate) report: RawFd,
    /// The `/tmp` of a sandbox that ended, where it is to go on in this one.
    pub(crate) left_tmp: Option<&'a root_fs::Source>,
    /// What becomes of the sandbox after it was made.
    pub(crate) start: Start,
    /// Everything but the `execve`.
    pub(crate) trial: bool,
}

/// Who is who on the host.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ids {
    /// sandboxd is root: the program and the init have host uids of their own.
    Root { program: u32, init: u32 },
    /// It is a plain user, whose one uid and gid is mapped.
    User { uid: u32, gid: u32 },
}

/// In the first byte of a record on a fork's status socket: the sandbox waits for its program. The
/// Landlock rules for it come with the record.
pub(crate) const WAITS: u8 = 0xFF;

/// How a program ended, in the first byte of the init's record.
pub(crate) const EXITED: u8 = 1;
/// See [`EXITED`].
pub(crate) const SIGNALED: u8 = 2;
/// Set in the first byte of a snapshot's record of an orphan; the next three bytes are its pid in there.
pub(crate) const ORPHAN: u8 = 0x80;

/// The init's whole life.
pub(crate) fn run(plan: &Plan<'_>) -> ! {
    let begun = prepare(plan).and_then(|()| match plan.start {
        Start::AtOnce | Start::After { .. } | Start::Parked | Start::Vacant | Start::Snapshot => {
            start_program(plan).map(Some)
        }
        Start::Forked { .. } | Start::Restored { .. } => wait_for_program(plan).map(|()| None),
    });
    match begun {
        Ok(program) => {
            // An init that cannot confine itself ends, and the program with it.
            let _ = live(plan, program);
        }
        Err(failure) => confine::report(plan.fds.status, failure.step as u8, failure.errno),
    }
    sys::exit_now(1)
}

fn prepare(plan: &Plan<'_>) -> Result<(), Failure> {
    die_with_parent(plan.report).at(Step::Clone)?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    if let Ids::User { uid, gid } = plan.ids {
        write_map("self", uid, gid).at(Step::OuterMap)?;
    } else {
        sys::drop_groups().at(Step::Identity)?;
    }
    join_cgroups(plan.tasks_files).at(Step::JoinCgroup)?;
    unshare_cgroup().at(Step::CgroupNamespace)?;
    sys::set_host_name(c"sandbox").at(Step::HostName)?;
    loopback_up().at(Step::Loopback)?;
    hand_over_listener(plan.doorway).at(Step::Listener)?;
    plan.cable.map_or(Ok(()), Cable::connect).at(Step::Network)?;
    // When the machine runs out of memory, functions go before the server. Not everywhere allowed.
    let _ = fs::write("/proc/self/oom_score_adj", "500");
    root_fs::enter(plan.spec, plan.mount_point, plan.resolv_conf, plan.left_tmp)
}

/// Joins the version 1 cgroups by writing 0, which means the writer, and so leaves the server's.
pub(crate) fn join_cgroups(tasks_files: &[PathBuf]) -> io::Result<()> {
    tasks_files.iter().try_for_each(|file| fs::write(file, "0"))
}

/// Tells the kernel to tell sandboxd when the memory limit is passed.
pub(crate) fn register(event: Option<&MemoryEvent>) -> io::Result<()> {
    event.map_or(Ok(()), MemoryEvent::register)
}

/// After joining, so that our own cgroup is the root of what can be seen.
fn unshare_cgroup() -> io::Result<()> {
    // SAFETY: only CLONE_FILES would touch what other code relies on.
    Ok(unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWCGROUP) }?)
}

pub(crate) fn loopback_up() -> io::Result<()> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let cloexec = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, cloexec, None)?;
    sys::loopback_up(socket.as_fd())
}

/// Makes the listener of the Runtime API in this network namespace and gives it away: a socket stays in the namespace
/// where it was made, so the server hears what connects in here, and nothing else can.
pub(crate) fn hand_over_listener(doorway: BorrowedFd<'_>) -> io::Result<()> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let listener = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    bind(&listener, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, limits::API_PORT))?;
    listen(&listener, limits::API_BACKLOG)?;
    Ok(socket::send(doorway, &[0], &[listener.as_fd()], false)?)
}

/// Makes a TCP socket in the network of the sandbox whose first process this is, and gives it away. The caller is in that
/// network from then on, and has to end.
pub(crate) fn hand_over_socket(first: u32, doorway: BorrowedFd<'_>) -> io::Result<()> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let network = fs::File::open(format!("/proc/{first}/ns/net"))?;
    let into = rustix::thread::LinkNameSpaceType::Network;
    rustix::thread::move_into_link_name_space(network.as_fd(), Some(into))?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let made = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    Ok(socket::send(doorway, &[0], &[made.as_fd()], false)?)
}

/// Starts the program's process in its own user namespace and lets it go when its one uid is
/// mapped and the file system is sealed. Returns its pid.
fn start_program(plan: &Plan<'_>) -> Result<u32, Failure> {
    let (wait, go) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).at(Step::Session)?;
    match clone_owned(plan.ids).at(Step::UserNamespace)? {
        Forked::Child => {
            drop(go);
            let mut byte = [0];
            // The end of the pipe without a byte means that the init failed, and said so.
            if !matches!(rustix::io::read(&wait, &mut byte), Ok(1)) {
                sys::exit_now(1);
            }
            let failure = become_program(plan);
            confine::report(failure.1, failure.0.step as u8, failure.0.errno);
            sys::exit_now(127)
        }
        Forked::Parent(pid) => {
            let (uid, gid) = match plan.ids {
                Ids::Root { program, .. } => (program, program),
                Ids::User { .. } => (INSIDE_ID, INSIDE_ID),
            };
            write_map(&pid.to_string(), uid, gid).at(Step::UserNamespace)?;
            // What is parked is sealed when it has been assigned.
            if matches!(plan.start, Start::AtOnce | Start::After { .. } | Start::Snapshot) {
                root_fs::seal()?;
            }
            rustix::io::write(&go, &[1]).at(Step::Session)?;
            Ok(pid)
        }
    }
}

/// Says that the sandbox is ready for a fork of a template.
fn wait_for_program(plan: &Plan<'_>) -> Result<(), Failure> {
    let rules = if plan.landlock {
        confine::landlock_rules(false).at(Step::Landlock)?.into()
    } else {
        None::<OwnedFd>
    };
    let rules: Vec<_> = rules.iter().map(AsFd::as_fd).collect();
    let record = [WAITS, 0, 0, 0, 0, 0, 0, 0];
    socket::send(plan.status, &record, &rules, true).at(Step::Landlock)
}

/// Clones the program's process into a user namespace that belongs to the function's uid.
///
/// To its owner because the kernel counts what is in the namespace (processes, inotify instances,
/// queued signals) also for the owner, against one limit for the whole machine: were that root, one
/// function could leave nothing for the others and for the host. The power that an owner has over
/// its namespace is of no use: no process of the host has that uid.
fn clone_owned(ids: Ids) -> io::Result<Forked> {
    const KEEP_CAPABILITIES: u64 = 1 << 2; // SECBIT_NO_SETUID_FIXUP
    let Ids::Root { program, .. } = ids else {
        return sys::clone_into(libc::CLONE_NEWUSER, None);
    };
    // Machines that restrict user namespaces want the capability to make them.
    sys::prctl(libc::PR_SET_SECUREBITS, KEEP_CAPABILITIES)?;
    sys::set_effective_user(program)?;
    let forked = sys::clone_into(libc::CLONE_NEWUSER, None)?;
    if matches!(forked, Forked::Parent(_)) {
        sys::set_effective_user(0)?;
    }
    Ok(forked)
}

/// One uid and one gid: the fixed inside one, and what it is outside.
fn write_map(process: &str, uid: u32, gid: u32) -> io::Result<()> {
    let file = |name| format!("/proc/{process}/{name}");
    fs::write(file("setgroups"), "deny")?;
    fs::write(file("gid_map"), format!("{INSIDE_ID} {gid} 1"))?;
    fs::write(file("uid_map"), format!("{INSIDE_ID} {uid} 1"))
}

/// In the program's process. Returns only on failure, with the status pipe's number.
fn become_program(plan: &Plan<'_>) -> (Failure, RawFd) {
    let status = match confine::session(plan.fds).at(Step::Session) {
        Ok(status) => status,
        Err(failure) => return (failure, plan.fds.status),
    };
    let steps = || -> Result<(), Failure> {
        confine::limit_resources(plan.spec, true).at(Step::Rlimits)?;
        confine::become_plain_user(INSIDE_ID).at(Step::Identity)?;
        plan.image.enter_cwd()?;
        if plan.landlock {
            confine::landlock(plan.start == Start::Snapshot).at(Step::Landlock)?;
        }
        if plan.start == Start::Snapshot {
            return confine::deciding_filter(plan.snapshot_filter).at(Step::Seccomp);
        }
        sys::set_filter(plan.filter).at(Step::Seccomp)
    };
    if let Err(failure) = steps() {
        return (failure, status);
    }
    confine::report(status, 0, 0);
    if plan.trial {
        sys::exit_now(0);
    }
    if plan.start == Start::Vacant {
        // The server takes this for the start.
        sys::close(status);
        vacant::wait();
    }
    if plan.spec.companions.is_some() {
        // The server takes this for the start.
        sys::close(status);
        companions::keep(&plan.image, plan.companions);
    }
    (plan.image.exec(), status)
}

/// The init after the program's start: confined like the program, holding nothing but its report.
fn live(plan: &Plan<'_>, program: Option<u32>) -> Result<(), Failure> {
    const REPORT: RawFd = 3;
    // From here on the status pipe is the program's alone: its end is the `execve`.
    sys::close(plan.fds.status);
    register(plan.memory_event).at(Step::Cgroup)?;
    let id = match plan.ids {
        Ids::Root { init, .. } => init,
        Ids::User { .. } => INSIDE_ID,
    };
    confine::forget_standard_streams().at(Step::Session)?;
    let report = sys::duplicate_above(plan.report, 10).at(Step::Session)?;
    sys::duplicate_to(report, REPORT).at(Step::Session)?;
    sys::close_from(REPORT + 1).at(Step::Session)?;
    confine::become_plain_user(id).at(Step::Identity)?;
    // A change of identity had cleared it.
    die_with_parent(REPORT).at(Step::Identity)?;
    sys::set_filter(plan.filter).at(Step::Seccomp)?;
    // SAFETY: what follows keeps everything on the stack, as does the plan what is still read of it, and ends by `_exit`.
    unsafe { sys::abandon_heap() };
    let Some(program) = program else { collect_orphans() };
    loop {
        let (pid, (kind, value)) = reap();
        if pid == program {
            confine::report(REPORT, kind, value);
            if plan.trial || plan.start == Start::Snapshot {
                sys::exit_now(0);
            }
            // Until sandboxd ends all of it: what is in `/tmp` would go with us.
            collect_orphans();
        }
        if plan.start == Start::Snapshot {
            // It may be one of a sandbox that was forked from here, whose processes become orphans here.
            confine::report_orphan(REPORT, pid, kind, value);
        }
    }
}

/// The rest of the life of an init whose program is not its child, or has ended: sandboxd ends it.
fn collect_orphans() -> ! {
    loop {
        // Blocked since before sandboxd cloned us, so none is missed.
        let _ = sys::wait_signal(&[libc::SIGCHLD]);
        while sys::reap_child().is_some() {}
    }
}

/// Waits for one process: which, and how it ended.
fn reap() -> (u32, (u8, i32)) {
    let mut status = 0;
    // SAFETY: waitpid fills in one integer that lives through the call.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, 0) };
    if pid < 0 {
        // No child is left, although the program's end was never seen: it cannot be.
        sys::exit_now(1);
    }
    (pid.cast_unsigned(), describe(status))
}

/// The record of a wait status.
pub(crate) fn describe(status: i32) -> (u8, i32) {
    if libc::WIFSIGNALED(status) {
        (SIGNALED, libc::WTERMSIG(status))
    } else {
        (EXITED, libc::WEXITSTATUS(status))
    }
}

/// The kernel kills us when sandboxd dies; when it died already, which the pipe to it shows, so do
/// we.
fn die_with_parent(report: RawFd) -> io::Result<()> {
    sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL.cast_unsigned().into())?;
    if sys::is_broken(report)? { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
}
