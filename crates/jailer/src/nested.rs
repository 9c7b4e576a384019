//! The sandbox of an environment that is forked from a snapshot: made beside the snapshot's process, which then
//! forks into it.
//!
//! The snapshot ran the function's code, so it has no privilege, and its fork has none to enter a sandbox made by root.
//! This one is owned by a user namespace that belongs to the function's uid and lies inside the snapshot's, which gives
//! a fork of it, and nobody else without privilege, the right to enter. It sees the mounts that the snapshot sees, with
//! `/tmp`, `/dev/shm` and `/proc` of its own. Three processes make it:
//!
//! 1. the builder, root on the host, which reports and ends as the last of its helpers: sandboxd waits for that;
//! 2. the init, in the new namespaces, which lives as long as the sandbox;
//! 3. the mounter, root in the init's mount, process and network namespaces: a user namespace alone may not mount a `/proc`
//!    while parts of the one it sees are covered, nor reach the host's network.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use libc::sock_filter;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::cgroup::MemoryEvent;
use crate::confine::{self, INSIDE_ID};
use crate::copy;
use crate::init;
use crate::network::Cable;
use crate::root_fs;
use crate::socket;
use crate::step::{At, Failure, Step};
use crate::sys::{self, Forked};

/// What the builder needs, made before it is forked.
pub(crate) struct Plan<'a> {
    /// Host pid of the snapshot's program.
    pub(crate) snapshot: u32,
    /// The version 1 cgroups to join; a version 2 one was joined by being born in it.
    pub(crate) tasks_files: &'a [PathBuf],
    pub(crate) memory_event: Option<&'a MemoryEvent>,
    pub(crate) filter: &'a [sock_filter],
    /// Size of `/tmp` in bytes.
    pub(crate) tmp_bytes: u64,
    /// Where the server gets its listener from.
    pub(crate) doorway: BorrowedFd<'a>,
    /// To the host's network.
    pub(crate) cable: Option<&'a Cable>,
    /// Where a failure, or the host pid of the finished sandbox's init, is told.
    pub(crate) status: RawFd,
}

/// Everything that a sandbox has of its own.
const NAMESPACES: libc::c_int = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWCGROUP;

/// The builder's whole life. Its record is step 0 and the init's host pid, or the step that failed.
pub(crate) fn run(plan: &Plan<'_>) -> ! {
    match build(plan) {
        Ok(init) => confine::report(plan.status, 0, init.cast_signed()),
        Err(failure) => confine::report(plan.status, failure.step as u8, failure.errno),
    }
    sys::exit_now(0)
}

fn build(plan: &Plan<'_>) -> Result<u32, Failure> {
    init::join_cgroups(plan.tasks_files).at(Step::JoinCgroup)?;
    // When the machine runs out of memory, functions go before the server. Not everywhere allowed.
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
    sys::drop_groups().at(Step::Identity)?;
    let outer = Outer::of(plan.snapshot).at(Step::Snapshot)?;
    let (ours, theirs) = socket::pair_with_senders().at(Step::Prepare)?;
    enter(&outer.processes, LinkNameSpaceType::ProcessID).at(Step::Clone)?;
    let between = match sys::clone_into(0, None).at(Step::Clone)? {
        Forked::Parent(pid) => pid,
        Forked::Child => {
            drop(ours);
            let Err(failure) = become_init(plan, &outer, &theirs);
            confine::report(plan.status, failure.step as u8, failure.errno);
            sys::exit_now(1)
        }
    };
    drop(theirs);
    let init = hear(&ours).at(Step::Died)?;
    // So that the builder is the last of those who made the sandbox, and its end the sign that nobody else is in there.
    sys::wait_for(between).at(Step::Died)?;
    furnish(init, plan)?;
    socket::send(&ours, &[0], &[], true).at(Step::Died)?;
    // Confined by now, and done.
    hear(&ours).at(Step::Died)?;
    Ok(init)
}

/// The host pid of whoever sends a byte.
fn hear(socket: &OwnedFd) -> io::Result<u32> {
    let mut byte = [0];
    match socket::receive_from(socket, &mut byte, true)? {
        (1, _, Some(pid)) => Ok(pid),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// What the snapshot's process is in, and the host's `/proc`, opened while it can be.
struct Outer {
    user: OwnedFd,
    mounts: OwnedFd,
    processes: OwnedFd,
    host_proc: OwnedFd,
}

impl Outer {
    fn of(pid: u32) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            user: namespace(pid, "user")?,
            mounts: namespace(pid, "mnt")?,
            processes: namespace(pid, "pid")?,
            host_proc: openat(CWD, "/proc", flags, Mode::empty())?,
        })
    }
}

/// A namespace of a process, by the name that it has in `/proc`.
pub(crate) fn namespace(pid: u32, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(openat(CWD, format!("/proc/{pid}/ns/{name}"), flags, Mode::empty())?)
}

fn enter(namespace: &OwnedFd, kind: LinkNameSpaceType) -> io::Result<()> {
    Ok(move_into_link_name_space(namespace.as_fd(), Some(kind))?)
}

/// From the builder's child, which is in the snapshot's process namespace, to the init.
fn become_init(
    plan: &Plan<'_>,
    outer: &Outer,
    builder: &OwnedFd,
) -> Result<std::convert::Infallible, Failure> {
    const KEEP_CAPABILITIES: u64 = 1 << 2; // SECBIT_NO_SETUID_FIXUP
    enter(&outer.mounts, LinkNameSpaceType::Mount).at(Step::Root)?;
    enter(&outer.user, LinkNameSpaceType::User).at(Step::UserNamespace)?;
    sys::prctl(libc::PR_SET_SECUREBITS, KEEP_CAPABILITIES).at(Step::UserNamespace)?;
    // The owner of a user namespace is the effective uid of its maker: the function's, so that the fork may enter.
    sys::become_user(INSIDE_ID).at(Step::UserNamespace)?;
    if let Forked::Parent(_) = sys::clone_into(NAMESPACES, None).at(Step::Clone)? {
        sys::exit_now(0);
    }
    live(plan, outer, builder)
}

/// The init's whole life: the first process of the new process namespace.
fn live(
    plan: &Plan<'_>,
    outer: &Outer,
    builder: &OwnedFd,
) -> Result<std::convert::Infallible, Failure> {
    // After a change of uid, only who may be dumped owns its own files in `/proc`.
    sys::prctl(libc::PR_SET_DUMPABLE, 1).at(Step::OuterMap)?;
    write_map(&outer.host_proc).at(Step::OuterMap)?;
    sys::prctl(libc::PR_SET_DUMPABLE, 0).at(Step::OuterMap)?;
    sys::set_host_name(c"sandbox").at(Step::HostName)?;
    init::loopback_up().at(Step::Loopback)?;
    init::hand_over_listener(plan.doorway).at(Step::Listener)?;
    let directory = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let snapshot_tmp = openat(CWD, "/tmp", directory, Mode::empty()).at(Step::Tmp)?;
    socket::send(builder, &[0], &[], true).at(Step::Session)?;
    let mut byte = [0];
    if !matches!(socket::receive(builder, &mut byte, true), Ok((1, _))) {
        sys::exit_now(1);
    }
    let tmp = openat(CWD, "/tmp", directory, Mode::empty()).at(Step::Tmp)?;
    copy::tree(&snapshot_tmp, &tmp).at(Step::Tmp)?;
    drop((snapshot_tmp, tmp));
    confine::forget_standard_streams().at(Step::Session)?;
    confine::become_plain_user(INSIDE_ID).at(Step::Identity)?;
    sys::set_filter(plan.filter).at(Step::Seccomp)?;
    socket::send(builder, &[0], &[], true).at(Step::Session)?;
    // Takes milliseconds, in which the snapshot's program forks.
    init::register(plan.memory_event).at(Step::Cgroup)?;
    sys::close_from(3).at(Step::Session)?;
    // SAFETY: what follows keeps everything on the stack, and ends with the sandbox.
    unsafe { sys::abandon_heap() };
    loop {
        sys::wait_signal(&[libc::SIGCHLD]).at(Step::Died)?;
        while sys::reap_child().is_some() {}
    }
}

/// The one uid and gid, which are the same inside the snapshot's namespace and here.
fn write_map(host_proc: &OwnedFd) -> io::Result<()> {
    let write = |name: &str, text: &str| {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = openat(host_proc, Path::new("self").join(name), flags, Mode::empty())?;
        rustix::io::write(&file, text.as_bytes()).map(drop)
    };
    write("setgroups", "deny")?;
    write("gid_map", &format!("{INSIDE_ID} {INSIDE_ID} 1"))?;
    Ok(write("uid_map", &format!("{INSIDE_ID} {INSIDE_ID} 1"))?)
}

/// The mounter: what of the file system is this sandbox's own, and the way to the host's network.
fn furnish(init: u32, plan: &Plan<'_>) -> Result<(), Failure> {
    let mounts = namespace(init, "mnt").at(Step::Nested)?;
    let network = namespace(init, "net").at(Step::Nested)?;
    let processes = namespace(init, "pid").at(Step::Nested)?;
    enter(&processes, LinkNameSpaceType::ProcessID).at(Step::Clone)?;
    match sys::clone_into(0, None).at(Step::Clone)? {
        Forked::Child => {
            let mounted = root_fs::proc_elsewhere().at(Step::Proc).and_then(|proc| {
                enter(&mounts, LinkNameSpaceType::Mount).at(Step::Root)?;
                root_fs::renew(&proc, plan.tmp_bytes)?;
                enter(&network, LinkNameSpaceType::Network).at(Step::Network)?;
                plan.cable.map_or(Ok(()), Cable::connect).at(Step::Network)
            });
            match mounted {
                Ok(()) => sys::exit_now(0),
                Err(failure) => sys::exit_now(failure.step as libc::c_int),
            }
        }
        Forked::Parent(pid) => match sys::wait_for(pid).at(Step::Proc)? {
            0 => Ok(()),
            status => {
                let step = u8::try_from(libc::WEXITSTATUS(status)).ok().and_then(Step::from_byte);
                Err(Failure { step: step.unwrap_or(Step::Died), errno: 0 })
            }
        },
    }
}
