//! The first process of a sandbox of class [`crate::spec::Isolation::Process`]: no walls, but the
//! tree of processes still starts, ends and is counted as one.
//!
//! Without a pid namespace nothing but parenthood ties the tree together, so the supervisor is a
//! subreaper: what loses its parent becomes its child, and at the end it kills until none is left.

use std::io;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use crate::cgroup::MemoryEvent;
use crate::companions;
use crate::confine::{self, Descriptors, Image};
use crate::init::{self, join_cgroups};
use crate::limits;
use crate::process_tree;
use crate::spec::{Companions, Spec};
use crate::step::{At, Failure, Step};
use crate::sys::{self, Forked};

/// Everything that the child needs, made before it is forked.
pub(crate) struct Plan<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) image: Image,
    /// What runs beside it.
    pub(crate) companions: &'a [Image],
    pub(crate) tasks_files: &'a [PathBuf],
    pub(crate) memory_event: Option<&'a MemoryEvent>,
    pub(crate) fds: Descriptors,
    pub(crate) report: RawFd,
    pub(crate) trial: bool,
}

/// The supervisor's whole life. `SIGTERM` asks it to end the tree.
pub(crate) fn run(plan: &Plan<'_>) -> ! {
    match start(plan) {
        Ok(program) => live(plan, program),
        Err(failure) => {
            confine::report(plan.fds.status, failure.step as u8, failure.errno);
            sys::exit_now(1)
        }
    }
}

/// Paths inside become the paths of the host that were bound there, wherever an argument, variable
/// or path list begins with one: there is no file system of its own to make the bind in.
pub(crate) fn on_host(spec: &Spec) -> Spec {
    let path = |path: &Path| translate(spec, path);
    let text = |text: &String| {
        let parts = text.split(':').map(|part| {
            if part.starts_with('/') {
                path(Path::new(part)).to_string_lossy().into_owned()
            } else {
                part.to_owned()
            }
        });
        parts.collect::<Vec<_>>().join(":")
    };
    let variables = |all: &[(String, String)]| {
        all.iter().map(|(name, value)| (name.clone(), text(value))).collect()
    };
    Spec {
        program: path(&spec.program),
        cwd: path(&spec.cwd),
        args: spec.args.iter().map(text).collect(),
        env: variables(&spec.env),
        companions: spec.companions.as_ref().map(|companions| Companions {
            programs: companions.programs.iter().map(|program| path(program)).collect(),
            env: variables(&companions.env),
        }),
        ..spec.clone()
    }
}

fn translate(spec: &Spec, path: &Path) -> PathBuf {
    let binds = spec.binds.iter().filter(|bind| path.starts_with(&bind.inside));
    let Some(bind) = binds.max_by_key(|bind| bind.inside.components().count()) else {
        return path.to_path_buf();
    };
    let below = path.strip_prefix(&bind.inside).unwrap_or(path);
    if below.as_os_str().is_empty() { bind.host.clone() } else { bind.host.join(below) }
}

fn start(plan: &Plan<'_>) -> Result<u32, Failure> {
    sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM.cast_unsigned().into()).at(Step::Clone)?;
    sys::prctl(libc::PR_SET_CHILD_SUBREAPER, 1).at(Step::Clone)?;
    sys::set_blocked(&[libc::SIGTERM, libc::SIGCHLD], libc::SIG_BLOCK).at(Step::Clone)?;
    join_cgroups(plan.tasks_files).at(Step::JoinCgroup)?;
    match sys::clone_into(0, None).at(Step::Clone)? {
        Forked::Child => {
            let (failure, status) = become_program(plan);
            confine::report(status, failure.step as u8, failure.errno);
            sys::exit_now(127)
        }
        Forked::Parent(pid) => Ok(pid),
    }
}

fn become_program(plan: &Plan<'_>) -> (Failure, RawFd) {
    let status = match confine::session(plan.fds).at(Step::Session) {
        Ok(status) => status,
        Err(failure) => return (failure, plan.fds.status),
    };
    let steps = || -> Result<(), Failure> {
        confine::limit_resources(plan.spec, false).at(Step::Rlimits)?;
        sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1).at(Step::Identity)?;
        plan.image.enter_cwd()
    };
    if let Err(failure) = steps() {
        return (failure, status);
    }
    confine::report(status, 0, 0);
    if plan.trial {
        sys::exit_now(0);
    }
    if plan.spec.companions.is_some() {
        // The server takes this for the start.
        sys::close(status);
        companions::keep(&plan.image, plan.companions);
    }
    (plan.image.exec(), status)
}

fn live(plan: &Plan<'_>, program: u32) -> ! {
    // From here on the status pipe is the program's alone: its end is the `execve`.
    sys::close(plan.fds.status);
    let registered = init::register(plan.memory_event);
    let Ok(report) = registered.and_then(|()| own_descriptors(plan.report)) else {
        end_tree();
        sys::exit_now(1)
    };
    loop {
        let signal = sys::wait_signal(&[libc::SIGCHLD, libc::SIGTERM]);
        if matches!(signal, Ok(libc::SIGTERM)) {
            end_tree();
            sys::exit_now(0);
        }
        while let Some((pid, status)) = reap() {
            if pid == program {
                let (kind, value) = init::describe(status);
                end_tree();
                confine::report(report, kind, value);
                sys::exit_now(0);
            }
        }
    }
}

/// Keeps the report and the three standard descriptors.
fn own_descriptors(report: RawFd) -> io::Result<RawFd> {
    const REPORT: RawFd = 3;
    confine::forget_standard_streams()?;
    let report = sys::duplicate_above(report, 10)?;
    sys::duplicate_to(report, REPORT)?;
    sys::close_from(REPORT + 1)?;
    Ok(REPORT)
}

/// Kills all descendants, until there are none: whoever is orphaned by it becomes our child.
fn end_tree() {
    for _ in 0..limits::KILL_PASSES {
        let tree = process_tree::descendants(std::process::id());
        process_tree::signal(&tree, libc::SIGSTOP);
        process_tree::signal(&tree, libc::SIGKILL);
        loop {
            // SAFETY: no status is asked for.
            let pid = unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) };
            match pid {
                0 => break,
                1.. => {}
                _ => return,
            }
        }
        std::thread::sleep(limits::CGROUP_REMOVE_PAUSE);
    }
}

fn reap() -> Option<(u32, i32)> {
    let mut status = 0;
    // SAFETY: waitpid fills in one integer that lives through the call.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    (pid > 0).then(|| (pid.cast_unsigned(), status))
}

#[cfg(test)]
mod tests;
