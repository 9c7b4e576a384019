//! Listening sockets that a program gets from the one before it, and gives to the one after it.
//!
//! The protocol is systemd's socket activation: `LISTEN_FDS` sockets from descriptor 3 on, meant for the process
//! `LISTEN_PID`. A server that replaces itself by `execve` keeps its pid and speaks it to itself; connections that arrive in
//! between wait in the sockets' queues, and none is refused. Here, and not in the server, because taking a descriptor by its
//! number and putting one at a number have no safe interface.
#![allow(unsafe_code, reason = "descriptors by number have no safe interface")]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Where such sockets begin.
const FIRST: RawFd = 3;
/// The most that are taken: more threads than any machine has cores.
const SOCKETS_MAX: RawFd = 1_024;

static TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes the sockets that the environment `variables` names, as [`std::env::var`] gives them. To be called before the
/// program opens anything of its own that it keeps; a second call gives none.
///
/// Programs that are started later do not inherit them.
#[must_use]
pub fn inherited(variable: impl Fn(&str) -> Option<String>) -> Vec<OwnedFd> {
    let number = |name: &str| variable(name)?.parse::<RawFd>().ok();
    let is_ours = number("LISTEN_PID") == i32::try_from(std::process::id()).ok();
    let count = number("LISTEN_FDS").filter(|count| is_ours && (1..=SOCKETS_MAX).contains(count));
    let Some(count) = count else { return Vec::new() };
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Vec::new();
    }
    let numbers = FIRST..FIRST + count;
    // One that is not open is not taken, and neither is what follows.
    let closes_on_exec = |fd: &RawFd| {
        // SAFETY: F_SETFD changes a flag of a descriptor and fails on a number that is none.
        unsafe { libc::fcntl(*fd, libc::F_SETFD, libc::FD_CLOEXEC) == 0 }
    };
    let open = numbers.take_while(closes_on_exec);
    // SAFETY: whoever started this process opened these descriptors for it and named it by its pid; the swap above makes
    // this the only place that ever takes them.
    open.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }).collect()
}

/// Puts the sockets where the next program looks for them and lets it inherit them; gives the variables that tell it of
/// them. To be called right before `execve`: whatever had these numbers is closed.
///
/// # Errors
/// When the system has no room for a descriptor.
pub fn pass_on(sockets: &[impl AsRawFd]) -> io::Result<[(&'static str, String); 2]> {
    let count = RawFd::try_from(sockets.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    if count > SOCKETS_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut copies = Vec::new();
    for socket in sockets {
        // SAFETY: makes a descriptor above all numbers that are written to below, and touches no other.
        let copy =
            unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_DUPFD_CLOEXEC, FIRST + SOCKETS_MAX) };
        if copy < 0 {
            return Err(io::Error::last_os_error());
        }
        copies.push(copy);
    }
    for (number, copy) in (FIRST..).zip(copies) {
        // SAFETY: the caller is about to become another program and uses no descriptor any more; the copy of dup2 has no
        // close-on-exec flag.
        if unsafe { libc::dup2(copy, number) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok([("LISTEN_FDS", count.to_string()), ("LISTEN_PID", std::process::id().to_string())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_for_another_process_are_left_alone() {
        for (pid, count) in [("1", "1"), ("", "1"), ("none", "x")] {
            let said = |name: &str| Some(if name == "LISTEN_PID" { pid } else { count }.to_owned());
            assert!(inherited(said).is_empty());
        }
        let ours = std::process::id().to_string();
        for count in ["0", "-1", "1025", "1e9"] {
            let said =
                |name: &str| Some(if name == "LISTEN_PID" { ours.clone() } else { count.into() });
            assert!(inherited(said).is_empty());
        }
        assert!(inherited(|_| None).is_empty());
    }
}
