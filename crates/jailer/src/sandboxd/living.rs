//! One living sandbox as sandboxd knows it: how far its start came, what it is made of, how it ended.

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

use rustix::event::epoll;
use rustix::io::Errno;

use super::TRIAL;
use super::forked::Fork;
use crate::cgroup::{Cgroup, MemoryEvent};
use crate::init::{self, EXITED, SIGNALED};
use crate::memory::MemoryWatch;
use crate::process_tree;
use crate::protocol::{ExitStatus, Reply};
use crate::root_fs::Source;
use crate::snapshot::{self, Restored, Snapshot};
use crate::spec::Spec;
use crate::step::{Failure, Step};

pub(super) struct Living {
    pub(super) pid: u32,
    /// Until the program runs.
    pub(super) status: Option<OwnedFd>,
    /// Where the init says how its program ended.
    pub(super) report: Option<OwnedFd>,
    pub(super) cgroup: Cgroup,
    /// Its own, where it reaches the network.
    pub(super) address: Option<Ipv4Addr>,
    /// The program is confined: what comes next is its `execve`, or, of a fork, its wait for the function.
    pub(super) confined: bool,
    /// It was killed, and is to be left alone to die.
    pub(super) ending: bool,
    pub(super) failure: Option<Failure>,
    pub(super) memory: MemoryWatch,
    /// Where the kernel tells that the memory limit was passed.
    pub(super) memory_event: Option<MemoryEvent>,
    /// While it is parked: what it was started as.
    pub(super) parked: Option<Box<Spec>>,
    /// Its uid slot.
    pub(super) uid: u32,
    /// Its `/tmp`, from the end of its program on.
    pub(super) tmp: Option<Source>,
    pub(super) origin: Origin,
}

/// Where the program of a sandbox comes from.
pub(super) enum Origin {
    /// The sandbox's init executed it, and tells of its end.
    Init {
        /// How it ended, when that was read on the way.
        ended: Option<ExitStatus>,
    },
    /// It is a fork of a template.
    Fork(Fork),
    /// As [`Origin::Init`]'s, and it is forked into other sandboxes.
    Snapshot {
        snapshot: Snapshot,
        /// How the program ended, when that was read on the way.
        ended: Option<ExitStatus>,
    },
    /// It is a fork of a snapshot's.
    Restored(Restored),
    /// It is a template itself; there is no sandbox around it. Over this socket it gets its orders.
    Template(OwnedFd),
}

impl Living {
    /// Reads the status pipe; a reply when the start is decided.
    pub(super) fn progress(&mut self, ticket: u64, epoll: &OwnedFd) -> Option<Reply> {
        let mut record = [0; 8];
        loop {
            match rustix::io::read(self.status.as_ref()?, &mut record) {
                Ok(8) if record[0] == 0 => self.confined = true,
                Ok(8) => self.failure = read_failure(record),
                Ok(0) => break,
                Err(Errno::INTR) => {}
                _ => return None,
            }
        }
        self.forget_status(epoll);
        // Of a failed start the end is told, when nothing of it is left; a template says itself when it is ready.
        let is_template = matches!(self.origin, Origin::Template(_));
        let started = self.confined && self.failure.is_none() && !is_template;
        started.then(|| self.started(ticket))
    }

    pub(super) fn started(&self, ticket: u64) -> Reply {
        let peak_file = self.cgroup.peak_file().unwrap_or_default();
        let program = match self.origin {
            Origin::Fork(Fork { program: Some(program), .. }) => program,
            _ => 0,
        };
        Reply::Started { ticket, pid: self.pid, program, peak_file }
    }

    pub(super) fn forget_status(&mut self, epoll: &OwnedFd) {
        // Explicitly: a child that is being made still has a copy, and would keep the event alive.
        if let Some(status) = self.status.take() {
            let _ = epoll::delete(epoll, status);
        }
    }

    /// Reads how the program ended, if its init said so.
    pub(super) fn read_report(&mut self) {
        let said = self.last_report(self.report.as_ref());
        if let Origin::Init { ended } = &mut self.origin {
            *ended = said;
        }
    }

    /// Explicitly, as with the status.
    pub(super) fn forget_report(&self, epoll: &OwnedFd) {
        if let Some(report) = &self.report {
            let _ = epoll::delete(epoll, report);
        }
    }

    /// All processes of the sandbox but its init.
    pub(super) fn tree(&self) -> Vec<u32> {
        let mut tree = process_tree::descendants(self.pid);
        if let Origin::Fork(Fork { program: Some(program), .. }) = self.origin {
            tree.push(program);
            tree.extend(process_tree::descendants(program));
        }
        tree
    }

    /// What is said of a sandbox whose first process was collected with this wait status.
    pub(super) fn finish(&self, ticket: u64, wait_status: i32) -> Option<Reply> {
        if !self.confined || self.failure.is_some() {
            let died = Failure { step: Step::Died, errno: 0 };
            return Some(Reply::Failed { ticket, failure: self.failure.unwrap_or(died) });
        }
        if ticket == TRIAL {
            // Its init was confined, too, and saw its program's end.
            let failure = Failure { step: Step::Died, errno: 0 };
            return (wait_status != 0).then_some(Reply::Failed { ticket, failure });
        }
        Some(Reply::Exited {
            ticket,
            status: self.exit_status(wait_status),
            oom_killed: self.memory.was_over() || self.cgroup.oom_kills() > 0,
            memory_peak_bytes: self.memory.peak_bytes(&self.cgroup),
            left_tmp: self.tmp.is_some(),
        })
    }
}

impl Living {
    fn exit_status(&self, wait_status: i32) -> ExitStatus {
        match (&self.origin, &self.report) {
            (Origin::Template(_), _) => exit_status(init::describe(wait_status)),
            (Origin::Fork(fork), _) => fork
                .end
                .map_or(ExitStatus::Signal(libc::SIGKILL), |end| exit_status(init::describe(end))),
            (Origin::Restored(restored), _) => {
                restored.ended.unwrap_or(ExitStatus::Signal(libc::SIGKILL))
            }
            (Origin::Init { .. } | Origin::Snapshot { .. }, report) => {
                match self.last_report(report.as_ref()) {
                    Some(status) => status,
                    None if libc::WIFSIGNALED(wait_status) => {
                        ExitStatus::Signal(libc::WTERMSIG(wait_status))
                    }
                    // The supervisor was asked to end the tree.
                    None => ExitStatus::Signal(libc::SIGKILL),
                }
            }
        }
    }
}

impl Living {
    /// How the program ended, if its init could say so.
    fn last_report(&self, report: Option<&OwnedFd>) -> Option<ExitStatus> {
        let mut record = [0; 8];
        while let Some(report) = report
            && let Ok(8) = rustix::io::read(report, &mut record)
        {
            if snapshot::read_orphan(record).is_none() {
                return Some(read_end(record));
            }
        }
        match &self.origin {
            Origin::Init { ended } | Origin::Snapshot { ended, .. } => *ended,
            _ => None,
        }
    }

    pub(super) fn snapshot(&self) -> Option<&Snapshot> {
        match &self.origin {
            Origin::Snapshot { snapshot, .. } => Some(snapshot),
            _ => None,
        }
    }

    pub(super) fn snapshot_mut(&mut self) -> Option<&mut Snapshot> {
        match &mut self.origin {
            Origin::Snapshot { snapshot, .. } => Some(snapshot),
            _ => None,
        }
    }

    pub(super) fn restored_mut(&mut self) -> Option<&mut Restored> {
        match &mut self.origin {
            Origin::Restored(restored) => Some(restored),
            _ => None,
        }
    }

    pub(super) fn restored(&self) -> Option<&Restored> {
        match &self.origin {
            Origin::Restored(restored) => Some(restored),
            _ => None,
        }
    }
}

pub(super) fn read_failure(record: [u8; 8]) -> Option<Failure> {
    let [step, _, _, _, errno @ ..] = record;
    let step = Step::from_byte(step).unwrap_or(Step::Died);
    Some(Failure { step, errno: i32::from_le_bytes(errno) })
}

pub(super) fn read_end(record: [u8; 8]) -> ExitStatus {
    let [kind, _, _, _, value @ ..] = record;
    exit_status((kind, i32::from_le_bytes(value)))
}

fn exit_status((kind, value): (u8, i32)) -> ExitStatus {
    match kind {
        SIGNALED => ExitStatus::Signal(value),
        EXITED => ExitStatus::Code(value),
        _ => ExitStatus::Signal(libc::SIGKILL),
    }
}
