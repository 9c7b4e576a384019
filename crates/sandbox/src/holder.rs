//! The server's end of a sandbox with companions: starting its program, hearing how each of them ended, their output.

use std::io;
use std::io::PipeReader;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use gatemill_jailer::companions::{
    EXITED, KILL, KILL_COMPANION, NOT_STARTED, RECORD_BYTES, SIGNALED, START, TERMINATE,
};
use gatemill_jailer::protocol::ExitStatus;
use gatemill_jailer::socket;

/// Who ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The sandbox's program.
    Program,
    /// A companion, by its place in the spec.
    Companion(usize),
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It ran, and ended so.
    Ended(ExitStatus),
    /// It could not be started; the system's reason.
    NotStarted(i32),
}

/// The process inside that holds the program and its companions.
#[derive(Debug)]
pub struct Holder {
    control: OwnedFd,
    /// The reading end of the pipe that is the companions' standard output and error. Nonblocking.
    pub output: PipeReader,
}

impl Holder {
    pub(crate) fn new(control: OwnedFd, output: PipeReader) -> Self {
        Self { control, output }
    }

    /// Starts the program.
    pub fn start_program(&self) {
        self.tell([START, 0]);
    }

    /// Asks the program to end.
    pub fn terminate_program(&self) {
        self.tell([TERMINATE, 0]);
    }

    /// Ends the program; the companions go on.
    pub fn kill_program(&self) {
        self.tell([KILL, 0]);
    }

    /// Ends a companion, by its place in the spec.
    pub fn kill(&self, companion: usize) {
        if let Ok(number) = u8::try_from(companion + 1) {
            self.tell([KILL_COMPANION, number]);
        }
    }

    /// What a dead process is told, it need not hear; and few words fit the socket of one that lives.
    fn tell(&self, command: [u8; 2]) {
        let _ = socket::send(&self.control, &command, &[], false);
    }

    /// What was heard of next; `None` when all that held them is gone.
    ///
    /// # Errors
    /// The system's, `WouldBlock` among them. What is no such record counts as the end.
    pub fn hear(&self) -> io::Result<Option<(Who, Fate)>> {
        let mut record = [0; RECORD_BYTES];
        let (length, _) = socket::receive(&self.control, &mut record, false)?;
        let [kind, number, _, _, value @ ..] = record;
        let value = i32::from_le_bytes(value);
        let fate = match kind {
            _ if length != RECORD_BYTES => return Ok(None),
            EXITED => Fate::Ended(ExitStatus::Code(value)),
            SIGNALED => Fate::Ended(ExitStatus::Signal(value)),
            NOT_STARTED => Fate::NotStarted(value),
            _ => return Ok(None),
        };
        let who = match number {
            0 => Who::Program,
            number => Who::Companion(usize::from(number) - 1),
        };
        Ok(Some((who, fate)))
    }
}

impl AsRawFd for Holder {
    fn as_raw_fd(&self) -> RawFd {
        self.control.as_raw_fd()
    }
}
