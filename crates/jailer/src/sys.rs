//! The system calls that neither the standard library nor rustix has in the form needed here, each
//! behind the narrowest safe face that its use allows.
//!
//! Children made here are copies of single-threaded sandboxd, so ordinary Rust is sound in them;
//! that is the reason why sandboxd has no threads.

use std::ffi::{CStr, c_int, c_ulong};
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// Which side of a fork the caller is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forked {
    Child,
    Parent(u32),
}

/// `clone3` with these `CLONE_NEW…` flags and nothing shared; the end of the child is `SIGCHLD`. With
/// a descriptor of a version 2 cgroup's directory, the child begins in that cgroup.
pub(crate) fn clone_into(flags: c_int, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Forked> {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    // SAFETY: clone_args is a plain C struct of integers; zero is its documented default.
    let mut args: libc::clone_args = unsafe { zeroed() };
    args.flags = u64::from(flags.cast_unsigned());
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
    args.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    // SAFETY: neither CLONE_VM nor a stack is asked for, so this is a fork: the child goes on with
    // its own copy of everything. The process has one thread, so no lock is held by another.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of_val(&args)) };
    match pid {
        0 => Ok(Forked::Child),
        pid => u32::try_from(pid).map(Forked::Parent).map_err(|_| io::Error::last_os_error()),
    }
}

/// A plain fork, for where a filter takes `clone3` away.
pub(crate) fn fork() -> io::Result<Forked> {
    // SAFETY: the process has one thread, so no lock is held by another in the copy.
    match unsafe { libc::fork() } {
        0 => Ok(Forked::Child),
        pid => u32::try_from(pid).map(Forked::Parent).map_err(|_| io::Error::last_os_error()),
    }
}

/// Ends the process at once, without destructors or buffers.
pub(crate) fn exit_now(code: c_int) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Flags and propagation of a mount, for the mount at `path` (an empty one means `dir` itself).
pub(crate) fn mount_setattr(
    dir: BorrowedFd<'_>,
    path: &CStr,
    flags: c_int,
    set: u64,
    propagation: u64,
) -> io::Result<()> {
    let attr = [set, 0, propagation, 0]; // struct mount_attr: attr_set, attr_clr, propagation, userns_fd
    // SAFETY: the path is NUL-terminated and `attr` lives through the call, with its true size.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            dir.as_raw_fd(),
            path.as_ptr(),
            flags,
            attr.as_ptr(),
            size_of_val(&attr),
        )
    };
    check(result)
}

/// A classic `mount` of a file system without a device.
pub(crate) fn mount_fs(kind: &CStr, target: &CStr, flags: c_ulong, data: &CStr) -> io::Result<()> {
    // SAFETY: all four strings are NUL-terminated and outlive the call.
    let result = unsafe {
        libc::mount(kind.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast())
    };
    check(result.into())
}

/// The host name of the current UTS namespace.
pub(crate) fn set_host_name(name: &CStr) -> io::Result<()> {
    let bytes = name.to_bytes();
    // SAFETY: pointer and length are of one slice.
    check(unsafe { libc::sethostname(bytes.as_ptr().cast(), bytes.len()) }.into())
}

/// Brings the interface `lo` of the current network namespace up.
pub(crate) fn loopback_up(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: ifreq is a plain C struct for which zero is valid.
    let mut request: libc::ifreq = unsafe { zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_UP).unwrap_or(1);
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which lives through the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) }.into())
}

/// Whether nobody can read any more from the pipe of this writing end.
pub(crate) fn is_broken(pipe: RawFd) -> io::Result<bool> {
    let mut poll = libc::pollfd { fd: pipe, events: 0, revents: 0 };
    // SAFETY: one pollfd, which lives through the call; a timeout of 0 does not wait.
    check(unsafe { libc::poll(&raw mut poll, 1, 0) }.into())?;
    Ok(poll.revents & libc::POLLERR != 0)
}

/// An integer option of the socket level.
pub(crate) fn set_socket_option(
    socket: BorrowedFd<'_>,
    option: c_int,
    value: c_int,
) -> io::Result<()> {
    let size = libc::socklen_t::try_from(size_of_val(&value)).unwrap_or(4);
    // SAFETY: the kernel reads one integer, which lives through the call, by its true size.
    let result = unsafe {
        let value = (&raw const value).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, value, size)
    };
    check(result.into())
}

/// Makes `to` a copy of `from` that survives `execve`.
pub(crate) fn duplicate_to(from: RawFd, to: RawFd) -> io::Result<()> {
    // SAFETY: dup2 only touches the descriptor table; the callers own the numbers they name.
    check(unsafe { libc::dup2(from, to) }.into())
}

/// Makes a copy of `from` at `at_least` or above, closed by `execve`.
pub(crate) fn duplicate_above(from: RawFd, at_least: RawFd) -> io::Result<RawFd> {
    // SAFETY: F_DUPFD_CLOEXEC makes a new descriptor and touches no other.
    let fd = unsafe { libc::fcntl(from, libc::F_DUPFD_CLOEXEC, at_least) };
    check(fd.into()).map(|()| fd)
}

/// Closes one descriptor that the caller owns by number.
pub(crate) fn close(fd: RawFd) {
    // SAFETY: only children call this, which never drop the owner that they inherited.
    unsafe { libc::close(fd) };
}

/// Closes every descriptor from `first` on.
pub(crate) fn close_from(first: RawFd) -> io::Result<()> {
    // SAFETY: only children call this, on their way to execve or to a loop over raw descriptors
    // below `first`; no owner of a closed descriptor is dropped after it.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) })
}

/// Default action for every signal, and none blocked: what a program expects at its start.
pub(crate) fn reset_signals() -> io::Result<()> {
    for signal in 1..=64 {
        // SAFETY: SIG_DFL is a valid disposition. SIGKILL, SIGSTOP and the two that libc keeps to
        // itself refuse, which is right.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    set_blocked(&[], libc::SIG_SETMASK)
}

/// Changes the mask of blocked signals.
pub(crate) fn set_blocked(signals: &[c_int], how: c_int) -> io::Result<()> {
    let set = signal_set(signals);
    // SAFETY: `set` is initialised; the old mask is not asked for.
    check(unsafe { libc::sigprocmask(how, &raw const set, std::ptr::null_mut()) }.into())
}

/// Ignores a signal.
pub(crate) fn ignore(signal: c_int) {
    // SAFETY: SIG_IGN is a valid disposition.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// A descriptor that is readable while one of these (blocked) signals is pending.
pub(crate) fn signal_fd(signals: &[c_int]) -> io::Result<std::os::fd::OwnedFd> {
    let set = signal_set(signals);
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: `set` is initialised; -1 asks for a new descriptor.
    let fd = unsafe { libc::signalfd(-1, &raw const set, flags) };
    check(fd.into())?;
    // SAFETY: the kernel just made this descriptor for us; nobody else owns it.
    Ok(unsafe { std::os::fd::FromRawFd::from_raw_fd(fd) })
}

/// Waits until one of these (blocked) signals arrives, and takes it.
pub(crate) fn wait_signal(signals: &[c_int]) -> io::Result<c_int> {
    let set = signal_set(signals);
    // SAFETY: `set` is initialised; no details are asked for.
    let signal = unsafe { libc::sigwaitinfo(&raw const set, std::ptr::null_mut()) };
    check(signal.into()).map(|()| signal)
}

fn signal_set(signals: &[c_int]) -> libc::sigset_t {
    // SAFETY: sigset_t is plain data, and sigemptyset initialises it.
    let mut set: libc::sigset_t = unsafe { zeroed() };
    // SAFETY: `set` is ours; the signal numbers are constants of libc.
    unsafe {
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
    }
    set
}

/// `prctl` with small integer arguments only.
pub(crate) fn prctl(option: c_int, argument: c_ulong) -> io::Result<()> {
    // SAFETY: the callers use options that take integers alone.
    check(unsafe { libc::prctl(option, argument, 0 as c_ulong, 0 as c_ulong, 0 as c_ulong) }.into())
}

/// Gives up all capabilities: effective, permitted and inheritable.
pub(crate) fn drop_capabilities() -> io::Result<()> {
    let header: [u32; 2] = [0x2008_0522, 0]; // _LINUX_CAPABILITY_VERSION_3, this thread
    let data = [0_u32; 6];
    // SAFETY: version 3 reads two u32 of header and six of data, which live through the call.
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) })
}

/// No supplementary groups.
pub(crate) fn drop_groups() -> io::Result<()> {
    // SAFETY: a count of zero reads nothing.
    check(unsafe { libc::setgroups(0, std::ptr::null()) }.into())
}

/// Real, effective and saved gid, then uid.
pub(crate) fn become_user(id: u32) -> io::Result<()> {
    // SAFETY: plain integers; single-threaded, so libc's broadcast to threads has nothing to do.
    check(unsafe { libc::setresgid(id, id, id) }.into())?;
    // SAFETY: as above.
    check(unsafe { libc::setresuid(id, id, id) }.into())
}

/// Effective uid alone; real and saved stay.
pub(crate) fn set_effective_user(id: u32) -> io::Result<()> {
    // SAFETY: plain integers, of which -1 means no change; single-threaded.
    check(unsafe { libc::setresuid(u32::MAX, id, u32::MAX) }.into())
}

/// The soft limit of open files as high as the hard one.
pub(crate) fn raise_open_files() -> io::Result<()> {
    set_limit(libc::RLIMIT_NOFILE, u64::MAX)
}

/// Soft and hard limit at once.
pub(crate) fn set_limit(resource: libc::__rlimit_resource_t, value: u64) -> io::Result<()> {
    // SAFETY: rlimit is plain data, filled in by the call.
    let mut now: libc::rlimit = unsafe { zeroed() };
    // SAFETY: `now` lives through the call.
    check(unsafe { libc::getrlimit(resource, &raw mut now) }.into())?;
    // Only the hard limit that we have may be asked for.
    let value = value.min(now.rlim_max);
    let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
    // SAFETY: `limit` lives through the call.
    check(unsafe { libc::setrlimit(resource, &raw const limit) }.into())
}

/// Installs a system call filter for this thread and what it starts.
pub(crate) fn set_filter(program: &[libc::sock_filter]) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let filter = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: `filter` names a live slice by its true length; the kernel copies and checks it.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter)
    };
    check(result)
}

/// The version of Landlock's interface, 0 where it is absent or switched off.
pub(crate) fn landlock_version() -> u8 {
    const CREATE_RULESET_VERSION: u32 = 1;
    // SAFETY: with this flag the kernel wants no pointer and makes no descriptor.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0_usize,
            CREATE_RULESET_VERSION,
        )
    };
    u8::try_from(version).unwrap_or(0)
}

/// Replaces the process. The lists end with a null pointer and point to live strings.
pub(crate) fn execve(program: &CStr, args: &[*const i8], env: &[*const i8]) -> io::Error {
    if args.last().is_none_or(|p| !p.is_null()) || env.last().is_none_or(|p| !p.is_null()) {
        return io::ErrorKind::InvalidInput.into();
    }
    // SAFETY: both lists are terminated (checked above), and the caller keeps their strings.
    unsafe { libc::execve(program.as_ptr(), args.as_ptr().cast(), env.as_ptr().cast()) };
    io::Error::last_os_error()
}

/// Collects one child that ended: its pid and wait status.
pub(crate) fn reap_child() -> Option<(u32, c_int)> {
    let mut status = 0;
    // SAFETY: waitpid fills in one integer that lives through the call.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    (pid > 0).then(|| (pid.cast_unsigned(), status))
}

/// Waits for the end of one child: its wait status.
pub(crate) fn wait_for(pid: u32) -> io::Result<c_int> {
    let mut status = 0;
    // SAFETY: waitpid fills in one integer that lives through the call.
    check(unsafe { libc::waitpid(pid.cast_signed(), &raw mut status, 0) }.into())?;
    Ok(status)
}

/// Installs a system call filter for this thread and what it starts; the descriptor on which the calls are announced
/// that the filter leaves to another process to decide.
pub(crate) fn set_deciding_filter(
    program: &[libc::sock_filter],
) -> io::Result<std::os::fd::OwnedFd> {
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let filter = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // SAFETY: `filter` names a live slice by its true length; the kernel copies and checks it.
    let fd = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const filter)
    };
    check(fd)?;
    let fd = RawFd::try_from(fd).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the kernel just made this descriptor for us; nobody else owns it.
    Ok(unsafe { std::os::fd::FromRawFd::from_raw_fd(fd) })
}

/// A system call that waits for a decision.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Undecided {
    id: u64,
    /// Host pid of the caller.
    pub(crate) pid: u32,
}

/// The next call that waits; `None` when there is none any more.
pub(crate) fn next_undecided(listener: BorrowedFd<'_>) -> Option<Undecided> {
    // SAFETY: a plain C struct of integers, which the call wants to be zero.
    let mut call: libc::seccomp_notif = unsafe { zeroed() };
    // SAFETY: the request writes one seccomp_notif, which lives through the call.
    let result =
        unsafe { libc::ioctl(listener.as_raw_fd(), SECCOMP_IOCTL_NOTIF_RECV, &raw mut call) };
    (result == 0).then_some(Undecided { id: call.id, pid: call.pid })
}

/// Lets a call go on, or has it fail with `EPERM`. A caller that is gone needs no decision.
pub(crate) fn decide(listener: BorrowedFd<'_>, call: Undecided, allow: bool) {
    const CONTINUE: u32 = 1; // SECCOMP_USER_NOTIF_FLAG_CONTINUE
    let mut answer = libc::seccomp_notif_resp { id: call.id, val: 0, error: 0, flags: CONTINUE };
    if !allow {
        (answer.error, answer.flags) = (-libc::EPERM, 0);
    }
    // SAFETY: the request reads one seccomp_notif_resp, which lives through the call.
    unsafe { libc::ioctl(listener.as_raw_fd(), SECCOMP_IOCTL_NOTIF_SEND, &raw const answer) };
}

/// `_IOWR('!', 0, struct seccomp_notif)`.
const SECCOMP_IOCTL_NOTIF_RECV: c_ulong = 0xC050_2100;
/// `_IOWR('!', 1, struct seccomp_notif_resp)`.
const SECCOMP_IOCTL_NOTIF_SEND: c_ulong = 0xC018_2101;

/// Makes the allocator overwrite what is freed, where it can.
pub(crate) fn overwrite_freed_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: M_PERTURB takes a byte and changes only what malloc and free fill memory with.
    unsafe {
        libc::mallopt(libc::M_PERTURB, 0xA5);
    }
}

/// Gives the allocator's memory back to the kernel, where that is one piece: for a process that began as a copy of sandboxd and
/// is going to do little more than wait. What it inherited would be kept by it alone as soon as sandboxd writes there.
///
/// # Safety
/// From here on nothing may be allocated, freed, or read that was.
pub(crate) unsafe fn abandon_heap() {
    if let Some((from, to)) = heap() {
        // SAFETY: the range is the allocator's alone, and the caller is done with what is in it. Advice that is refused has
        // no effect.
        unsafe { libc::madvise(from as *mut libc::c_void, to - from, libc::MADV_DONTNEED) };
    }
}

fn heap() -> Option<(usize, usize)> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let line = maps.lines().find(|line| line.ends_with("[heap]"))?;
    let (from, to) = line.split_once(' ')?.0.split_once('-')?;
    Some((usize::from_str_radix(from, 16).ok()?, usize::from_str_radix(to, 16).ok()?))
}

/// Asks for turns of this length on the CPU, for the calling thread and what it starts. Linux 6.12 and later heed it; older
/// ones take it and do as before.
pub(crate) fn take_turns_of(turn: std::time::Duration) -> io::Result<()> {
    /// `struct sched_attr` of the kernel in its first version.
    #[repr(C)]
    #[derive(Default)]
    struct Attributes {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
    }
    const KEEP_POLICY: u64 = 0x08;
    // SAFETY: getpriority has no memory effects. An error would read as a nice value of -1, but there is none for oneself.
    let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    let attributes = Attributes {
        size: u32::try_from(size_of::<Attributes>()).map_err(io::Error::other)?,
        flags: KEEP_POLICY,
        nice,
        runtime: u64::try_from(turn.as_nanos()).map_err(io::Error::other)?,
        ..Attributes::default()
    };
    // SAFETY: `attributes` says its true size and lives through the call, which only reads it.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    check(result)
}

fn check(result: i64) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

const _: () = assert!(size_of::<libc::c_long>() == size_of::<i64>(), "64-bit Linux only");
