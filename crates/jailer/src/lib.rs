//! From a privileged process to a confined one: namespaces, mounts, limits, filters, exec.
//!
//! This is the code that runs with privileges (or, without root, with those of a user namespace),
//! so it is small, has no async runtime and no threads, and trusts no message. `gatemill-sandbox`
//! is its client in the server; [`protocol`] is what they say to each other. Which steps are taken
//! in which order is in [`Step`], and why so in `docs/decisions/0002-isolation.md`.
//!
//! | module | what it holds |
//! |---|---|
//! | `spec`, [`protocol`], [`socket`] | what a sandbox shall be, and how it is asked for |
//! | `sandboxd`, `launch` | the privileged process, and its side of a start |
//! | `init`, `root_fs`, `confine`, `seccomp` | a sandbox from the inside: its first process, what it sees, its walls |
//! | [`companions`] | the process that holds several programs, where a sandbox has them |
//! | [`vacant`] | what waits in a parked sandbox where no program can |
//! | `template`, `verify` | a process that is forked into sandboxes, and the look at what comes of it |
//! | `supervisor` | the first process where there are no walls |
//! | `network` | what of the network programs reach, and the host's side of it |
//! | `cgroup`, `memory`, [`process_tree`] | limits, with cgroups and without |
//! | `step`, [`limits`], `sys` | the numbered steps, every bound, raw system calls |
#![allow(unsafe_code, reason = "namespaces, filters and exec have no safe interface")]

mod cgroup;
pub mod companions;
mod confine;
mod copy;
mod init;
mod launch;
pub mod limits;
mod memory;
mod nested;
mod network;
pub mod process_tree;
pub mod protocol;
mod root_fs;
mod sandboxd;
mod seccomp;
mod snapshot;
pub mod socket;
mod spec;
mod step;
mod supervisor;
mod sys;
mod template;
pub mod vacant;
mod verify;

pub use network::{Egress, Network, Pool, PoolError};
pub use spec::{Assignment, Bind, Companions, Enforced, Invalid, Isolation, Spec, Start};
pub use step::{Failure, Step};

/// The first argument with which the program is sandboxd.
pub const ROLE: &str = "__sandboxd";

/// Becomes sandboxd when the program was started as that, and then never returns. To be called
/// first of all in `main`, before any thread exists.
pub fn run_if_called() {
    if std::env::args_os().nth(1).is_none_or(|role| role != ROLE) {
        return;
    }
    let code = match sandboxd::take_control_socket().and_then(sandboxd::run) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("gatemill sandboxd: {error}");
            1
        }
    };
    sys::exit_now(code)
}

/// Asks for short turns on the CPU, for the calling thread and what it starts. The kernel gives a thread that wants short
/// turns its next one sooner. For threads that start no sandboxd: sandboxes would have short turns too, and lose the
/// proportion of their shares.
pub fn take_short_turns() {
    // A hint: without it, the thread waits longer where CPU is scarce.
    let _ = sys::take_turns_of(limits::CPU_TURN);
}

/// Removes cgroups that a sandboxd left behind because it was killed: the directories of
/// [`protocol::Reply::Ready`]. Waits within bounds for the processes in them to die.
pub fn remove_cgroups(dirs: &[std::path::PathBuf]) {
    dirs.iter().for_each(|dir| cgroup::remove_tree(dir));
}
