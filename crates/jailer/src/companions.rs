//! The process between a sandbox's init and its programs, where there are several: it starts the companions at once and the
//! program when it is told to, tells how each ended, and passes on the one signal that asks to end.
//!
//! It is what would else have become the program: confined like it, under the same uid, and a copy of sandboxd that nobody
//! inside may look into (it is not dumpable). A program that kills it ends its own sandbox. It ends when the server closes
//! its socket, and the sandbox with it.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};

use rustix::event::{PollFd, PollFlags, poll};

use crate::confine::{CHANNEL, CONTROL, Image};
use crate::init;
use crate::socket;
use crate::spec::Spec;
use crate::sys::{self, Forked};

/// The number of the pipe that is the companions' standard output and error.
pub(crate) const OUTPUT: RawFd = 6;

/// What the server tells this process: one byte.
pub const START: u8 = 1;
/// See [`START`]: the program is asked to end (`SIGTERM`).
pub const TERMINATE: u8 = 2;
/// See [`START`]: the program is ended (`SIGKILL`).
pub const KILL: u8 = 3;
/// Ends a companion: this, and its number, which is at least 1.
pub const KILL_COMPANION: u8 = 4;

/// How a program or companion ended, in the first byte of a record; the second byte is 0 for the program, else the
/// companion's number, counted from 1. In the last four bytes is the exit code, the signal, or the system's reason.
pub const EXITED: u8 = init::EXITED;
/// See [`EXITED`].
pub const SIGNALED: u8 = init::SIGNALED;
/// See [`EXITED`]: it could not be started.
pub const NOT_STARTED: u8 = 3;
/// The length of a record.
pub const RECORD_BYTES: usize = 8;

/// What each companion is started as.
pub(crate) fn images(spec: &Spec) -> io::Result<Vec<Image>> {
    let Some(companions) = &spec.companions else { return Ok(Vec::new()) };
    let image = |program| {
        Image::of(&Spec {
            program,
            args: Vec::new(),
            env: companions.env.clone(),
            cwd: "/".into(),
            ..spec.clone()
        })
    };
    companions.programs.iter().cloned().map(image).collect()
}

/// The whole life of this process.
pub(crate) fn keep(program: &Image, companions: &[Image]) -> ! {
    let code = match serve(program, companions) {
        Ok(()) => 0,
        Err(_) => 1,
    };
    sys::exit_now(code)
}

fn serve(program: &Image, companions: &[Image]) -> io::Result<()> {
    sys::set_blocked(&[libc::SIGCHLD], libc::SIG_BLOCK)?;
    let ended = sys::signal_fd(&[libc::SIGCHLD])?;
    // SAFETY: `session` put the socket there, and it stays open until this process ends.
    let control = unsafe { BorrowedFd::borrow_raw(CONTROL) };
    let mut pids = vec![0; companions.len() + 1];
    for (index, companion) in companions.iter().enumerate() {
        pids[index + 1] = start(companion, index + 1)?;
    }
    loop {
        let mut ready = [PollFd::new(&control, PollFlags::IN), PollFd::new(&ended, PollFlags::IN)];
        match poll(&mut ready, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut record = [0; 512];
        while rustix::io::read(&ended, &mut record).is_ok() {}
        while let Some((pid, status)) = sys::reap_child() {
            if let Some(index) = pids.iter().position(|known| *known == pid) {
                pids[index] = 0;
                let (kind, value) = init::describe(status);
                tell(control, kind, index, value)?;
            }
        }
        let mut command = [0; 2];
        match socket::receive(control, &mut command, false) {
            // The server has left the sandbox.
            Ok((0, _)) => return Ok(()),
            Ok(_) => obey(command, program, &mut pids)?,
            Err(rustix::io::Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn obey(command: [u8; 2], program: &Image, pids: &mut [u32]) -> io::Result<()> {
    let [what, which] = command;
    match what {
        START if pids[0] == 0 => {
            pids[0] = start(program, 0)?;
            // From here on its end is the end of the channel.
            sys::close(CHANNEL);
        }
        TERMINATE => signal(pids[0], libc::SIGTERM),
        KILL => signal(pids[0], libc::SIGKILL),
        KILL_COMPANION if which > 0 => {
            signal(pids.get(usize::from(which)).copied().unwrap_or(0), libc::SIGKILL);
        }
        _ => {}
    }
    Ok(())
}

/// To a child that was not collected yet, so it is no other process.
fn signal(pid: u32, signal: libc::c_int) {
    if pid != 0 {
        let _ = crate::process_tree::send(pid, signal);
    }
}

/// Forks, not by `clone3`: the filter, which holds by now, cannot see what that is asked for.
fn start(image: &Image, index: usize) -> io::Result<u32> {
    match sys::fork()? {
        Forked::Parent(pid) => Ok(pid),
        Forked::Child => {
            let Err(error) = become_one(image, index);
            // SAFETY: as in `serve`; the copy of the socket is closed by `execve` alone.
            let control = unsafe { BorrowedFd::borrow_raw(CONTROL) };
            let _ = tell(control, NOT_STARTED, index, error.raw_os_error().unwrap_or(libc::EIO));
            sys::exit_now(127)
        }
    }
}

/// In the child. Descriptors above the channel are closed by `execve`.
fn become_one(image: &Image, index: usize) -> io::Result<std::convert::Infallible> {
    let _ = rustix::process::setsid();
    sys::reset_signals()?;
    if index > 0 {
        sys::duplicate_to(OUTPUT, 1)?;
        sys::duplicate_to(OUTPUT, 2)?;
        sys::close(CHANNEL);
    }
    let failed = |errno| io::Error::from_raw_os_error(errno);
    image.enter_cwd().map_err(|failure| failed(failure.errno))?;
    Err(failed(image.exec().errno))
}

fn tell(control: BorrowedFd<'_>, kind: u8, index: usize, value: i32) -> io::Result<()> {
    let mut record = [0; RECORD_BYTES];
    record[0] = kind;
    record[1] = u8::try_from(index).map_err(|_| io::ErrorKind::InvalidInput)?;
    record[4..].copy_from_slice(&value.to_le_bytes());
    Ok(socket::send(control, &record, &[], true)?)
}

/// Has the socket and the pipe of a process with companions closed by `execve`.
pub(crate) fn close_on_exec() -> io::Result<()> {
    [CONTROL, OUTPUT].into_iter().try_for_each(crate::confine::close_on_exec)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn records_name_who_and_how() {
        let (ours, theirs) = socket::pair().unwrap();
        tell(theirs.as_fd(), EXITED, 0, 3).unwrap();
        tell(theirs.as_fd(), SIGNALED, 10, 9).unwrap();
        let mut record = [0; RECORD_BYTES];
        socket::receive(&ours, &mut record, true).unwrap();
        assert_eq!(record, [EXITED, 0, 0, 0, 3, 0, 0, 0]);
        socket::receive(&ours, &mut record, true).unwrap();
        assert_eq!(record, [SIGNALED, 10, 0, 0, 9, 0, 0, 0]);
    }
}
