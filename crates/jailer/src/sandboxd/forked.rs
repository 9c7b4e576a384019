//! Templates, and the sandboxes whose programs are forks of one.
//!
//! Such a sandbox begins like every other one, but its init starts no program: it says that it waits,
//! and then the template gets an order. The fork enters the sandbox and says that it is confined; the
//! kernel tells whose word that is, and that process is looked at ([`verify`]) before the server hears
//! of it. When the fork ends, sandboxd, its parent by then, ends the init and all with it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::living::{Living, Origin, read_failure};
use super::{Sandboxd, Token};
use crate::cgroup::{Cgroup, Controller};
use crate::init::WAITS;
use crate::launch::Joined;
use crate::limits;
use crate::memory::MemoryWatch;
use crate::protocol::Reply;
use crate::socket;
use crate::spec::{Isolation, Spec};
use crate::step::{At, Failure, Step};
use crate::sys;
use crate::template::is_ready;
use crate::verify;

/// What is known of a program that is a fork.
pub(super) struct Fork {
    /// The ticket of its template.
    pub(super) template: u64,
    /// What the template has to get, until it got it.
    pub(super) gifts: Option<ForkGifts>,
    /// Its pid on the host, once it was verified.
    pub(super) program: Option<u32>,
    /// Its wait status, when it has ended.
    pub(super) end: Option<i32>,
}

/// Descriptors for the fork: its channel, its output, and its end of the status socket.
pub(super) struct ForkGifts {
    pub(super) channel: OwnedFd,
    pub(super) output: OwnedFd,
    pub(super) status: OwnedFd,
}

impl Sandboxd {
    pub(super) fn start_template(&mut self, ticket: u64, spec: &Spec) -> Result<(), Failure> {
        self.check_start(ticket, spec)?;
        if !self.can_fork() {
            return Err(Failure { step: Step::Request, errno: libc::ENOTSUP });
        }
        let cgroup = Cgroup::create(&self.hierarchies, &format!("{}.{ticket}", spec.id), spec)
            .at(Step::Cgroup)?;
        let begun = || -> Result<_, Failure> {
            let (control, theirs) = socket::pair().at(Step::Prepare)?;
            // Room for the orders of a burst.
            sys::set_socket_option(control.as_fd(), libc::SO_SNDBUFFORCE, limits::ORDERS_BYTES)
                .at(Step::Prepare)?;
            let birthplace = cgroup.birthplace().at(Step::Cgroup)?;
            let joined =
                Joined { tasks_files: cgroup.tasks_files(), birthplace, memory_event: None };
            let launched = self.launcher.template(spec, &theirs, &joined)?;
            Ok((launched, control))
        };
        let (launched, control) = begun().inspect_err(|_| {
            cgroup.remove();
        })?;
        let data = Token::Status(ticket).data();
        let _ = epoll::add(&self.epoll, &launched.status, data, epoll::EventFlags::IN);
        self.by_pid.insert(launched.pid, ticket);
        let living = Living {
            pid: launched.pid,
            status: Some(launched.status),
            report: None,
            cgroup,
            address: None,
            confined: false,
            ending: false,
            failure: None,
            // It holds nothing of a function; the kernel's own limit is enough.
            memory: MemoryWatch::new(spec, true),
            memory_event: None,
            parked: None,
            uid: spec.uid,
            tmp: None,
            origin: Origin::Template(control),
        };
        self.living.insert(ticket, living);
        Ok(())
    }

    /// Whether programs can be forked here: it takes root, and cgroups, because a fork is not below its
    /// sandbox's init, where it would be looked for.
    pub(super) fn can_fork(&self) -> bool {
        self.isolation == Isolation::Sandbox
            && self.launcher.is_root
            && self.hierarchies.version_with(Controller::Memory).is_some()
    }

    /// News from a template: its program was executed, or it is ready.
    pub(super) fn template_spoke(&mut self, ticket: u64) -> Option<Reply> {
        let living = self.living.get_mut(&ticket)?;
        let Origin::Template(control) = &living.origin else { return None };
        let readable = epoll::EventFlags::IN;
        if living.status.is_some() {
            let data = Token::Status(ticket).data();
            let _ = epoll::add(&self.epoll, control, data, readable);
            return living.progress(ticket, &self.epoll);
        }
        let said = socket::receive(control, &mut [0; 1], false).map(|(length, _)| length);
        // It says one thing; its end is told by its death.
        let _ = epoll::delete(&self.epoll, control);
        is_ready(&said.map_err(Into::into)).then(|| living.started(ticket))
    }

    /// News about a fork: its sandbox waits for it, it is confined, or something failed.
    pub(super) fn fork_progressed(&mut self, ticket: u64) -> Option<Reply> {
        loop {
            let living = self.living.get_mut(&ticket)?;
            let mut record = [0; 8];
            let outcome = match socket::receive_from(living.status.as_ref()?, &mut record, false) {
                Err(Errno::AGAIN) => return None,
                Ok((8, rules, Some(sender))) => match record[0] {
                    WAITS if sender == living.pid => self.order_fork(ticket, &rules),
                    0 => return self.fork_confined(ticket, sender),
                    _ => {
                        Err(read_failure(record).unwrap_or(Failure { step: Step::Died, errno: 0 }))
                    }
                },
                _ => Err(Failure { step: Step::Died, errno: 0 }),
            };
            if let Err(failure) = outcome {
                self.fork_failed(ticket, failure);
                return None;
            }
        }
    }

    fn fork_failed(&mut self, ticket: u64, failure: Failure) {
        if let Some(living) = self.living.get_mut(&ticket) {
            living.failure.get_or_insert(failure);
            living.forget_status(&self.epoll);
        }
        // Of a failed start the end is told, when nothing of it is left.
        self.kill(ticket);
    }

    /// Has the template fork into the sandbox that waits.
    fn order_fork(&mut self, ticket: u64, rules: &[OwnedFd]) -> Result<(), Failure> {
        let gone = Failure { step: Step::Clone, errno: libc::EAGAIN };
        let living = self.living.get_mut(&ticket).ok_or(gone)?;
        let Origin::Fork(fork) = &mut living.origin else { return Err(gone) };
        let gifts = fork.gifts.take().ok_or(gone)?;
        let template = fork.template;
        let living = &self.living[&ticket];
        let spec = living.parked.as_deref().ok_or(gone)?;
        let pid = i32::try_from(living.pid).ok().and_then(Pid::from_raw).ok_or(gone)?;
        let sandbox = pidfd_open(pid, PidfdFlags::empty()).at(Step::Clone)?;
        let tasks = living.cgroup.open_tasks_files().at(Step::Cgroup)?;
        let birthplace = living.cgroup.birthplace().at(Step::Cgroup)?;
        let mut fds: Vec<BorrowedFd<'_>> =
            [&sandbox, &gifts.channel, &gifts.output, &gifts.status].map(AsFd::as_fd).into();
        fds.extend(tasks.iter().map(AsFd::as_fd));
        fds.extend(birthplace.iter().map(AsFd::as_fd));
        fds.extend(rules.iter().map(AsFd::as_fd));
        let count = u8::try_from(tasks.len()).map_err(|_| gone)?;
        let order = self.launcher.order(spec, count, birthplace.is_some(), !rules.is_empty());
        let control = self.living.get(&template).and_then(|template| match &template.origin {
            Origin::Template(control) => Some(control),
            _ => None,
        });
        socket::send(control.ok_or(gone)?, &order, &fds, false).at(Step::Clone)
    }

    /// A process says that it is the fork and confined.
    fn fork_confined(&mut self, ticket: u64, program: u32) -> Option<Reply> {
        let living = self.living.get_mut(&ticket)?;
        let Origin::Fork(fork) = &mut living.origin else { return None };
        let slot = living.parked.as_ref()?.uid;
        fork.program = Some(program);
        self.by_pid.insert(program, ticket);
        match verify::fork(program, living.pid, self.launcher.host_uid(slot)) {
            Ok(()) => {
                living.confined = true;
                living.forget_status(&self.epoll);
                Some(living.started(ticket))
            }
            Err(failure) => {
                self.fork_failed(ticket, failure);
                None
            }
        }
    }

    /// The ticket of this child of ours, whose word may still be unread.
    pub(super) fn ticket_of(&mut self, pid: u32, replies: &mut Vec<Reply>) -> Option<u64> {
        if !self.by_pid.contains_key(&pid) {
            let is_growing = |living: &Living| {
                living.status.is_some() && matches!(living.origin, Origin::Fork(_))
            };
            let growing = self.living.iter().filter(|(_, living)| is_growing(living));
            let growing: Vec<u64> = growing.map(|(ticket, _)| *ticket).collect();
            for ticket in growing {
                replies.extend(self.fork_progressed(ticket));
            }
        }
        self.by_pid.remove(&pid)
    }
}
