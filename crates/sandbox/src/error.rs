//! Why a sandbox could not be had.

use std::io;

use gatemill_jailer::{Failure, Step};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// sandboxd could not be started or reached.
    #[error("sandboxd could not be started")]
    Spawn(#[source] io::Error),
    /// sandboxd could not make even an empty sandbox here. The server may offer
    /// [`gatemill_jailer::Isolation::Process`].
    #[error("this machine cannot make sandboxes: {0}")]
    Unsupported(Failure),
    /// sandboxd ended; no sandbox lives any more and none can be started.
    #[error("sandboxd has ended")]
    Gone,
    /// The spec is not acceptable.
    #[error("the sandbox's specification is not acceptable")]
    Invalid(#[from] gatemill_jailer::Invalid),
    /// The spec is longer than a message may be.
    #[error("the sandbox's specification is too long")]
    TooLong,
    /// A living sandbox has this id.
    #[error("a sandbox with this id is alive")]
    IdInUse,
    /// No further sandbox fits: of sandboxd's bound, processes, memory or descriptors.
    #[error("no further sandbox can be started now: {0}")]
    Exhausted(Failure),
    /// The program does not exist inside, or its interpreter or loader does not.
    #[error("the program does not exist in the sandbox")]
    ProgramMissing,
    /// The program may not be executed.
    #[error("the program may not be executed")]
    ProgramNotPermitted,
    /// The program is not of a form that this machine executes.
    #[error("the program has no executable format of this machine")]
    ProgramFormat,
    /// The working directory cannot be entered.
    #[error("the working directory cannot be entered")]
    Cwd,
    /// A path of a bind does not exist on the host or cannot appear where it should.
    #[error("a bind cannot be made: {0}")]
    Bind(Failure),
    /// The start took longer than it may.
    #[error("the sandbox did not start in time")]
    TimedOut,
    /// Another step failed, or the sandbox was killed while it started.
    #[error("the sandbox could not be made: {0}")]
    Failed(Failure),
    /// Descriptors for the channel or the output could not be made.
    #[error("the sandbox's descriptors could not be made")]
    Descriptors(#[source] io::Error),
}

impl Error {
    /// Why a program could not become what it should have, by the system's reason.
    pub fn of_program(errno: i32) -> Self {
        Failure { step: Step::Exec, errno }.into()
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match (failure.step, failure.errno) {
            (Step::Exec, libc::ENOENT | libc::ENOTDIR | libc::ELOOP) => Self::ProgramMissing,
            (Step::Exec, libc::EACCES | libc::EPERM) => Self::ProgramNotPermitted,
            (Step::Exec, libc::ENOEXEC | libc::EINVAL | libc::ELIBBAD) => Self::ProgramFormat,
            (
                _,
                libc::EAGAIN
                | libc::ENOMEM
                | libc::ENOBUFS
                | libc::EMFILE
                | libc::ENFILE
                | libc::ENOSPC
                | libc::ETOOMANYREFS,
            ) => Self::Exhausted(failure),
            (Step::Cwd, _) => Self::Cwd,
            (Step::Bind, _) => Self::Bind(failure),
            _ => Self::Failed(failure),
        }
    }
}
