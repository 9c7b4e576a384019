//! A template: a process that holds no function and is forked into sandboxes (a zygote). This is its
//! start, and the form of its orders.
//!
//! It runs the interpreter that functions run, in a file system and network like theirs, but in the
//! host's pid and user namespace and with the few capabilities that it takes to enter other
//! namespaces. What it runs is ours and the interpreter's alone, and only sandboxd can speak to it; how
//! it forks is its own program's business (`zygote.py`), and `verify` looks at what comes of it.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::RawFd;
use std::path::PathBuf;

use libc::{c_int, c_ulong, sock_filter};

use crate::confine::{self, Descriptors, Image};
use crate::init;
use crate::root_fs;
use crate::spec::Spec;
use crate::step::{At, Failure, Step};
use crate::sys;

/// Those of a template itself.
pub(crate) const NAMESPACES: c_int =
    libc::CLONE_NEWNS | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWNET;

/// To become another uid and gid, to enter namespaces, and to give all of it up.
const CAPABILITIES: [c_ulong; 6] = [
    6,  // CAP_SETGID
    7,  // CAP_SETUID
    8,  // CAP_SETPCAP
    18, // CAP_SYS_CHROOT
    19, // CAP_SYS_PTRACE: to enter the namespaces of a process takes the right to look at it
    21, // CAP_SYS_ADMIN
];

/// Everything that the child needs, made before it is forked.
pub(crate) struct Plan<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) image: Image,
    pub(crate) tasks_files: &'a [PathBuf],
    pub(crate) mount_point: &'a CStr,
    pub(crate) fds: Descriptors,
}

/// Becomes the template's program.
pub(crate) fn run(plan: &Plan<'_>) -> ! {
    let (failure, status) = become_template(plan);
    confine::report(status, failure.step as u8, failure.errno);
    sys::exit_now(127)
}

/// Returns only on failure, with the status pipe's number.
fn become_template(plan: &Plan<'_>) -> (Failure, RawFd) {
    if let Err(failure) = prepare(plan) {
        return (failure, plan.fds.status);
    }
    let status = match confine::session(plan.fds).at(Step::Session) {
        Ok(status) => status,
        Err(failure) => return (failure, plan.fds.status),
    };
    let narrowed = confine::limit_bounding_set(&CAPABILITIES)
        .at(Step::Identity)
        .and_then(|()| plan.image.enter_cwd());
    if let Err(failure) = narrowed {
        return (failure, status);
    }
    confine::report(status, 0, 0);
    (plan.image.exec(), status)
}

fn prepare(plan: &Plan<'_>) -> Result<(), Failure> {
    // It also ends with its socket; this is for one that hangs.
    sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL.cast_unsigned().into()).at(Step::Clone)?;
    sys::drop_groups().at(Step::Identity)?;
    init::join_cgroups(plan.tasks_files).at(Step::JoinCgroup)?;
    sys::set_host_name(c"sandbox").at(Step::HostName)?;
    // What is forked has this from here.
    let _ = fs::write("/proc/self/oom_score_adj", "500");
    root_fs::enter(plan.spec, plan.mount_point, "", None)?;
    root_fs::seal()
}

/// An order: `u32 host uid | u8 limits | u8 cgroup files | u8 born in a cgroup | u8 Landlock | 8 step
/// numbers`, then each limit as `u32 kind | u64 value`, then the system call filter. Little endian,
/// the filter as the kernel takes it. Descriptors come with it: the init's pidfd, channel, output,
/// status, the cgroup files, and, where announced, the cgroup to be born in and the Landlock rules.
pub(crate) fn order(
    spec: &Spec,
    uid: u32,
    filter: &[sock_filter],
    tasks: u8,
    born: bool,
    ruled: bool,
) -> Vec<u8> {
    const STEPS: [Step; 8] = [
        Step::JoinCgroup,
        Step::Clone,
        Step::UserNamespace,
        Step::Session,
        Step::Rlimits,
        Step::Identity,
        Step::Landlock,
        Step::Seccomp,
    ];
    let limits = confine::resource_limits(spec);
    let mut order = Vec::with_capacity(16 + 12 * limits.len() + 8 * filter.len());
    order.extend(uid.to_le_bytes());
    order.push(u8::try_from(limits.len()).unwrap_or(0));
    order.extend([tasks, u8::from(born), u8::from(ruled)]);
    order.extend(STEPS.map(|step| step as u8));
    for (kind, value) in limits {
        order.extend(kind.to_le_bytes());
        order.extend(value.to_le_bytes());
    }
    for instruction in filter {
        order.extend(instruction.code.to_ne_bytes());
        order.extend([instruction.jt, instruction.jf]);
        order.extend(instruction.k.to_ne_bytes());
    }
    order
}

/// Takes what a template says; the one thing is that it is ready.
pub(crate) fn is_ready(said: &io::Result<usize>) -> bool {
    matches!(said, Ok(1))
}
