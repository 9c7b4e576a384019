//! What an ended sandbox leaves for the next one of the same function: its `/tmp`.
//!
//! AWS starts the runtime of a function that crashed, or ran out of time, again in the environment that it was in, and the
//! function finds there what it had cached on its disk. Here the environment is made anew, so that nothing that was running, mapped
//! or listening is left, and only the file system of `/tmp` goes on. It is memory, so the cgroups that it is counted in go
//! on with it; else a function could have twice what it may.
//!
//! A `/tmp` without anything in it is not kept: a new one cannot be told from it.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::event::epoll;

use super::inside::inside;
use super::living::{Living, Origin};
use super::{Sandboxd, Token};
use crate::cgroup::Cgroup;
use crate::limits;
use crate::root_fs::{self, Source};
use crate::spec::{Isolation, Spec};
use crate::step::{At, Failure, Step};

/// See the module.
pub(super) struct Left {
    tmp: Source,
    cgroup: Cgroup,
    /// Whose the files are.
    uid: u32,
}

impl Sandboxd {
    /// Kills a sandbox, and keeps its `/tmp`.
    pub(super) fn end_sandbox(&mut self, ticket: u64) {
        let room = self.left.len() < limits::LEFT_MAX;
        let can_enter = self.isolation == Isolation::Sandbox && self.launcher.is_root;
        if let Some(living) = self.living.get_mut(&ticket)
            && room
            && can_enter
        {
            living.keep_tmp();
        }
        self.kill(ticket);
    }

    /// The init of a sandbox says how its program ended, and waits to be ended.
    pub(super) fn program_ended(&mut self, ticket: u64) {
        let Some(living) = self.living.get_mut(&ticket) else { return };
        living.read_report();
        living.forget_report(&self.epoll);
        self.end_sandbox(ticket);
    }

    /// Has the end of a sandbox's program told to [`Self::program_ended`].
    pub(super) fn await_end(&self, ticket: u64, report: &OwnedFd) {
        // Should this fail, a sandbox whose program has ended stays until the server ends it.
        let data = Token::Report(ticket).data();
        let _ = epoll::add(&self.epoll, report, data, epoll::EventFlags::IN);
    }

    /// Puts aside what an ended sandbox leaves; its cgroups go where that is nothing.
    pub(super) fn leave(&mut self, ticket: u64, living: Living) {
        match living.tmp {
            Some(tmp) => {
                self.left.insert(ticket, Left { tmp, cgroup: living.cgroup, uid: living.uid });
            }
            None => self.remove_cgroup(living.cgroup),
        }
    }

    /// What the sandbox with the ticket `ended` left, for one that is started with `spec`.
    pub(super) fn inherit(&mut self, ended: u64, spec: &Spec) -> Result<(Cgroup, Source), Failure> {
        let gone = Failure { step: Step::Request, errno: libc::ESTALE };
        let Left { tmp, mut cgroup, uid } = self.left.remove(&ended).ok_or(gone)?;
        let again = if uid == spec.uid {
            cgroup.begin_again(spec).at(Step::Cgroup)
        } else {
            Err(Failure { step: Step::Request, errno: libc::EINVAL })
        };
        match again {
            Ok(()) => Ok((cgroup, tmp)),
            Err(failure) => {
                self.remove_cgroup(cgroup);
                Err(failure)
            }
        }
    }

    pub(super) fn forget(&mut self, ended: u64) {
        if let Some(left) = self.left.remove(&ended) {
            self.remove_cgroup(left.cgroup);
        }
    }
}

impl Living {
    fn keep_tmp(&mut self) {
        let is_a_functions = self.confined && self.parked.is_none() && !self.ending;
        let has_its_own = matches!(self.origin, Origin::Init { .. } | Origin::Fork(_));
        if is_a_functions && has_its_own && self.tmp.is_none() {
            // What cannot be looked at, because it is just ending, is not kept.
            self.tmp = inside(self.pid, used_tmp).ok().flatten();
        }
    }
}

fn used_tmp() -> Result<Option<Source>, Failure> {
    let tmp = Path::new("/tmp");
    let stat = rustix::fs::statvfs(tmp).at(Step::Tmp)?;
    let root_alone = stat.f_files.saturating_sub(stat.f_ffree) <= 1;
    if root_alone {
        return Ok(None);
    }
    root_fs::open(tmp).map(Some).at(Step::Tmp)
}
