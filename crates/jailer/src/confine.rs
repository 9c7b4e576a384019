//! The last steps of the program's own process: session, limits, identity, Landlock, filter, exec.
//! Everything here narrows; nothing is given back.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use landlock::{
    ABI, Access, AccessFs, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr,
    Scope,
};

use crate::companions;
use crate::spec::Spec;
use crate::step::{At, Failure, Step};
use crate::sys;

/// The program's number for its end of the channel.
pub(crate) const CHANNEL: RawFd = 3;
/// A snapshot's number for the socket on which it is asked to fork; with companions, that of the socket to the server.
pub(crate) const CONTROL: RawFd = 4;
/// The number of the pipe that says how far we came; `execve` closes it.
const STATUS: RawFd = 5;
/// The uid and gid that every program has inside, as AWS's `sbx_user1051`.
pub(crate) const INSIDE_ID: u32 = 993;

/// The descriptors that the program's process starts with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Descriptors {
    pub(crate) channel: RawFd,
    pub(crate) output: RawFd,
    pub(crate) status: RawFd,
    /// Of a snapshot, or with companions.
    pub(crate) control: Option<RawFd>,
    /// The output of companions.
    pub(crate) companions: Option<RawFd>,
}

/// What `execve` takes, laid out before the fork.
pub(crate) struct Image {
    program: CString,
    args: Vec<CString>,
    env: Vec<CString>,
    cwd: CString,
}

impl Image {
    /// The strings of the spec, which [`Spec::validate`] found to be without NUL.
    pub(crate) fn of(spec: &Spec) -> io::Result<Self> {
        let c = |bytes: &[u8]| CString::new(bytes).map_err(|_| io::ErrorKind::InvalidInput.into());
        let program = c(spec.program.as_os_str().as_encoded_bytes())?;
        let args = std::iter::once(Ok(program.clone()))
            .chain(spec.args.iter().map(|arg| c(arg.as_bytes())))
            .collect::<io::Result<_>>()?;
        let env = spec
            .env
            .iter()
            .map(|(name, value)| c(format!("{name}={value}").as_bytes()))
            .collect::<io::Result<_>>()?;
        Ok(Self { program, args, env, cwd: c(spec.cwd.as_os_str().as_encoded_bytes())? })
    }

    pub(crate) fn new(
        program: CString,
        args: Vec<CString>,
        env: Vec<CString>,
        cwd: CString,
    ) -> Self {
        Self { program, args, env, cwd }
    }

    pub(crate) fn enter_cwd(&self) -> Result<(), Failure> {
        rustix::process::chdir(self.cwd.as_c_str()).at(Step::Cwd)
    }

    /// Becomes the program. Returns only when that failed.
    pub(crate) fn exec(&self) -> Failure {
        let list = |strings: &[CString]| {
            let mut list: Vec<_> = strings.iter().map(|s| s.as_ptr().cast::<i8>()).collect();
            list.push(std::ptr::null());
            list
        };
        let error = sys::execve(&self.program, &list(&self.args), &list(&self.env));
        Failure { step: Step::Exec, errno: error.raw_os_error().unwrap_or(libc::EIO) }
    }
}

/// Own session, default signals, and descriptors 0 to 5 as agreed; all others are closed.
/// Returns where the status pipe is now.
pub(crate) fn session(fds: Descriptors) -> io::Result<RawFd> {
    rustix::process::setsid()?;
    sys::reset_signals()?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let null = File::open("/dev/null")?;
    // First out of the way, so that no copy overwrites one that is still needed.
    let channel = sys::duplicate_above(fds.channel, 10)?;
    let output = sys::duplicate_above(fds.output, 10)?;
    let status = sys::duplicate_above(fds.status, 10)?;
    let input = sys::duplicate_above(null.as_raw_fd(), 10)?;
    let above = |fd| sys::duplicate_above(fd, 10);
    let control = fds.control.map(above).transpose()?;
    let beside = fds.companions.map(above).transpose()?;
    drop(null);
    sys::duplicate_to(input, 0)?;
    sys::duplicate_to(output, 1)?;
    sys::duplicate_to(output, 2)?;
    sys::duplicate_to(channel, CHANNEL)?;
    match control {
        Some(control) => sys::duplicate_to(control, CONTROL)?,
        None => sys::close(CONTROL),
    }
    sys::duplicate_to(status, STATUS)?;
    match beside {
        Some(output) => {
            sys::duplicate_to(output, companions::OUTPUT)?;
            sys::close_from(companions::OUTPUT + 1)?;
            companions::close_on_exec()?;
        }
        None => sys::close_from(STATUS + 1)?,
    }
    close_on_exec(STATUS)?;
    Ok(STATUS)
}

/// The filter of a snapshot. What it leaves to be decided is announced to sandboxd, over the control socket.
pub(crate) fn deciding_filter(filter: &[libc::sock_filter]) -> io::Result<()> {
    use std::os::fd::{AsFd, BorrowedFd};
    let announcements = sys::set_deciding_filter(filter)?;
    // SAFETY: `session` put the control socket there, and it stays open until this process ends.
    let control = unsafe { BorrowedFd::borrow_raw(CONTROL) };
    Ok(crate::socket::send(control, &[0], &[announcements.as_fd()], true)?)
}

/// `/dev/null` for descriptors 0, 1 and 2.
pub(crate) fn forget_standard_streams() -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    (0..=2).try_for_each(|fd| sys::duplicate_to(null.as_raw_fd(), fd))
}

pub(crate) fn close_on_exec(fd: RawFd) -> io::Result<()> {
    // SAFETY: F_SETFD changes one flag of a descriptor that this process owns.
    let result = unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Resource limits. The one on processes only where the uid is counted in a user namespace of its
/// own; elsewhere it would count other functions' processes and the user's.
pub(crate) fn limit_resources(spec: &Spec, processes: bool) -> io::Result<()> {
    let limits = resource_limits(spec);
    let wanted = limits.iter().filter(|(kind, _)| processes || *kind != libc::RLIMIT_NPROC);
    wanted.copied().try_for_each(|(kind, value)| sys::set_limit(kind, value))
}

/// Each resource limit of a program, soft and hard.
pub(crate) fn resource_limits(spec: &Spec) -> [(libc::__rlimit_resource_t, u64); 7] {
    [
        (libc::RLIMIT_NOFILE, spec.nofile.into()),
        // 1 and not 0: 0 does not keep the kernel from handing a core to the host's core dump program,
        // which would then read what a hostile function wrote; 1 does, and is too short for a file.
        (libc::RLIMIT_CORE, 1),
        (libc::RLIMIT_MEMLOCK, 64 * 1024),
        (libc::RLIMIT_MSGQUEUE, 0),
        (libc::RLIMIT_RTPRIO, 0),
        (libc::RLIMIT_SIGPENDING, 1024),
        (libc::RLIMIT_NPROC, spec.pids_max.into()),
    ]
}

/// From all powers over a user namespace to a plain user without any, for good.
pub(crate) fn become_plain_user(id: u32) -> io::Result<()> {
    drop_bounding_set()?;
    sys::become_user(id)?;
    sys::drop_capabilities()?;
    // Until `execve`, when the program has memory of its own, nobody may look into this copy of
    // sandboxd; and no setuid bit or file capability counts from here on.
    sys::prctl(libc::PR_SET_DUMPABLE, 0)?;
    sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1)
}

/// No `execve` can give a capability any more.
fn drop_bounding_set() -> io::Result<()> {
    limit_bounding_set(&[])
}

/// No `execve` can give a capability any more but these.
pub(crate) fn limit_bounding_set(kept: &[libc::c_ulong]) -> io::Result<()> {
    for capability in (0..64).filter(|capability| !kept.contains(capability)) {
        match sys::prctl(libc::PR_CAPBSET_DROP, capability) {
            // The first that this kernel does not know. All know the first.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) && capability > 0 => break,
            result => result?,
        }
    }
    Ok(())
}

/// The second wall behind the mounts: reading and running everywhere, writing in `/tmp`, `/dev/shm`
/// and to the devices; no abstract socket and no signal leaves the sandbox.
///
/// What is forked from a `snapshot` gets another `/tmp`, mounted over the one that is there now, and rules do not reach
/// what is mounted later over their place. There the mounts alone, which are read-only, say where can be written.
pub(crate) fn landlock(snapshot: bool) -> io::Result<()> {
    let rules = landlock_rules(snapshot)?;
    rules.restrict_self().map(|_| ()).map_err(|_| io::Error::from_raw_os_error(libc::EPERM))
}

/// The rules of [`landlock`], about the root of the calling process.
pub(crate) fn landlock_rules(snapshot: bool) -> io::Result<landlock::RulesetCreated> {
    let make = || -> Result<_, landlock::RulesetError> {
        let read = AccessFs::from_read(ABI::V5);
        let all = AccessFs::from_all(ABI::V5);
        let device = AccessFs::from_file(ABI::V5);
        let mut rules =
            Ruleset::default().handle_access(all)?.scope(Scope::from_all(ABI::V6))?.create()?;
        let root = if snapshot { all } else { read };
        for (path, access) in [("/", root), ("/tmp", all), ("/dev/shm", all), ("/dev", device)] {
            rules = allow(rules, path, access)?;
        }
        Ok(rules)
    };
    make().map_err(|_| io::Error::from_raw_os_error(libc::EPERM))
}

fn allow(
    rules: landlock::RulesetCreated,
    path: &str,
    access: BitFlags<AccessFs>,
) -> Result<landlock::RulesetCreated, landlock::RulesetError> {
    match PathFd::new(path) {
        Ok(fd) => rules.add_rule(PathBeneath::new(fd, access)),
        // What is not there needs no rule.
        Err(_) => Ok(rules),
    }
}

/// A path as the kernel takes it.
pub(crate) fn c_path(path: &std::path::Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_encoded_bytes())
        .map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// Tells sandboxd over the status pipe: a failure, or (step 0) that `execve` comes next.
pub(crate) fn report(status: RawFd, step: u8, errno: i32) {
    let mut record = [0_u8; 8];
    record[0] = step;
    record[4..].copy_from_slice(&errno.to_le_bytes());
    // SAFETY: `status` is open for writing in this process until it ends or execs; eight bytes
    // into a pipe are written whole.
    unsafe { libc::write(status, record.as_ptr().cast(), record.len()) };
}

/// Tells sandboxd how an orphan of a snapshot's sandbox ended. Pids have 22 bits at most.
pub(crate) fn report_orphan(report: RawFd, pid: u32, kind: u8, value: i32) {
    let mut record = [0_u8; 8];
    record[..4].copy_from_slice(&(pid << 8 | u32::from(kind | crate::init::ORPHAN)).to_le_bytes());
    record[4..].copy_from_slice(&value.to_le_bytes());
    // SAFETY: as in `report`.
    unsafe { libc::write(report, record.as_ptr().cast(), record.len()) };
}
