//! Restores: a sandbox is built beside a snapshot, the snapshot's program forks into it, and the fork is looked at before
//! it runs on.
//!
//! | event | what is done |
//! |---|---|
//! | the request | cgroups, and a builder for the sandbox ([`crate::nested`]) |
//! | the builder says that it is done | the snapshot is asked to fork, in its turn |
//! | the builder has ended | nobody but the init is in the sandbox until the fork arrives |
//! | a call waits for a decision | the child of the snapshot's program may enter |
//! | the fork has arrived, and builder and the process between have ended | [`snapshot::verify`]; the fork goes on |
//! | the snapshot's init reports the end of the program | its sandbox is ended |
//! | it reports the end of that sandbox's init | the end is told; nothing is left |

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::epoll;

use super::living::{Living, Origin, read_end, read_failure};
use super::{Ended, Sandboxd, Token};
use crate::cgroup::Cgroup;
use crate::init::ORPHAN;
use crate::launch::{Connected, Gifts, Joined};
use crate::limits;
use crate::memory::MemoryWatch;
use crate::network::Uplink;
use crate::protocol::Reply;
use crate::snapshot::{self, Heard, Refusal, Restored, Snapshot};
use crate::spec::Spec;
use crate::step::{At, Failure, Step};

const READABLE: epoll::EventFlags = epoll::EventFlags::IN;

impl Sandboxd {
    /// Prepares for what a snapshot and its init are going to say.
    pub(super) fn watch_snapshot(
        &self,
        ticket: u64,
        control: OwnedFd,
        report: &OwnedFd,
    ) -> io::Result<Snapshot> {
        epoll::add(&self.epoll, &control, Token::Snapshot(ticket).data(), READABLE)?;
        epoll::add(&self.epoll, report, Token::Orphans(ticket).data(), READABLE)?;
        Ok(Snapshot::new(control))
    }

    /// Begins a restore.
    pub(super) fn restore(
        &mut self,
        ticket: u64,
        of: u64,
        spec: &Spec,
        gifts: Gifts,
    ) -> Result<(), Failure> {
        let program = self.living.get(&of).and_then(|living| living.snapshot()?.program());
        let program = program.ok_or(Failure { step: Step::Request, errno: libc::ESRCH })?;
        let name = format!("{}.{ticket}", spec.id);
        let cgroup = Cgroup::create(&self.hierarchies, &name, spec).at(Step::Cgroup)?;
        let mut memory_event = self.watch_memory(ticket, spec, &cgroup).inspect_err(|_| {
            cgroup.remove();
        })?;
        let cable = self.uplink.as_mut().map(Uplink::cable).transpose().at(Step::Network);
        let cable = cable.inspect_err(|_| {
            cgroup.remove();
        })?;
        let address = cable.as_ref().map(|cable| cable.address);
        let status = cgroup.birthplace().at(Step::Cgroup).and_then(|birthplace| {
            let tasks_files = cgroup.tasks_files();
            let joined = Joined { tasks_files, birthplace, memory_event: memory_event.as_ref() };
            let network = Connected { doorway: gifts.doorway.as_fd(), cable, resolv_conf: "" };
            self.launcher.build_nested(program, spec, &joined, &network)
        });
        let (builder, status) = status.inspect_err(|_| {
            self.give_back(address);
            cgroup.remove();
        })?;
        self.builders.insert(builder, ticket);
        let _ = epoll::add(&self.epoll, &status, Token::Status(ticket).data(), READABLE);
        if let Some(event) = &mut memory_event {
            event.registration = None;
        }
        let living = Living {
            // Until it is built.
            pid: 0,
            status: Some(status),
            report: None,
            cgroup,
            address,
            confined: false,
            ending: false,
            failure: None,
            memory: MemoryWatch::new(spec, memory_event.is_some()),
            memory_event,
            parked: None,
            uid: spec.uid,
            tmp: None,
            origin: Origin::Restored(Restored::new(of, gifts.channel, gifts.output)),
        };
        if living.memory.due().is_some() {
            self.watched.insert(ticket);
        }
        self.living.insert(ticket, living);
        Ok(())
    }

    /// The builder is done, or failed.
    pub(super) fn built(&mut self, ticket: u64) -> Result<(), Ended> {
        let Some(living) = self.living.get_mut(&ticket) else { return Ok(()) };
        let Some(status) = &living.status else { return Ok(()) };
        let mut record = [0; 8];
        let built = match rustix::io::read(status, &mut record) {
            Ok(8) if record[0] == 0 => {
                let [.., a, b, c, d] = record;
                Ok(u32::from_le_bytes([a, b, c, d]))
            }
            Ok(8) => Err(read_failure(record)),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(()),
            _ => Err(None),
        };
        if let Some(status) = living.status.take() {
            let _ = epoll::delete(&self.epoll, status);
        }
        let failure = match built {
            Ok(init) => match snapshot::pid_inside(init) {
                Some(inside) => {
                    living.pid = init;
                    let Some(restored) = living.restored_mut() else { return Ok(()) };
                    restored.init_inside = inside;
                    let of = restored.of;
                    if living.ending {
                        // Killed while it was built.
                        self.kill(ticket);
                        return Ok(());
                    }
                    let snapshot = self.living.get_mut(&of).and_then(Living::snapshot_mut);
                    if let Some(snapshot) = snapshot {
                        snapshot.enqueue(ticket);
                        return self.ask_next(of);
                    }
                    None
                }
                None => None,
            },
            Err(failure) => failure,
        };
        self.give_up(ticket, failure.unwrap_or(Failure { step: Step::Died, errno: 0 }))
    }

    /// The builder has ended and was collected, so that it is in no cgroup any more.
    pub(super) fn builder_ended(&mut self, ticket: u64) -> Result<(), Ended> {
        // Its last word may still be unread.
        self.built(ticket)?;
        if let Some(restored) = self.living.get_mut(&ticket).and_then(Living::restored_mut) {
            restored.builder_ended = true;
        }
        self.release(ticket)
    }

    /// Has the snapshot fork for the restore whose turn it is.
    fn ask_next(&mut self, of: u64) -> Result<(), Ended> {
        loop {
            let Some(ticket) = self.living.get_mut(&of).and_then(|of| of.snapshot_mut()?.next())
            else {
                return Ok(());
            };
            let Some(mut living) = self.living.remove(&ticket) else {
                self.finished_with(of, ticket);
                continue;
            };
            let snapshot = self.living.get(&of).and_then(Living::snapshot);
            let asked = match (&mut living.origin, snapshot) {
                (Origin::Restored(restored), Some(snapshot)) => {
                    snapshot.ask(living.pid, &living.cgroup, restored).and_then(|()| {
                        let gate = restored.gate.as_ref().ok_or(io::ErrorKind::NotFound)?;
                        let data = Token::Gate(ticket).data();
                        Ok(epoll::add(&self.epoll, gate, data, READABLE)?)
                    })
                }
                _ => Err(io::ErrorKind::NotFound.into()),
            };
            self.living.insert(ticket, living);
            match asked.at(Step::Clone) {
                Ok(()) => return Ok(()),
                Err(failure) => self.give_up(ticket, failure)?,
            }
        }
    }

    fn finished_with(&mut self, of: u64, ticket: u64) -> bool {
        let snapshot = self.living.get_mut(&of).and_then(Living::snapshot_mut);
        snapshot.is_some_and(|snapshot| snapshot.done(ticket))
    }

    /// The snapshot's program says something.
    pub(super) fn snapshot_speaks(&mut self, ticket: u64) -> Result<(), Ended> {
        let Some(snapshot) = self.living.get_mut(&ticket).and_then(Living::snapshot_mut) else {
            return Ok(());
        };
        match snapshot.hear() {
            Heard::Introduced(announcements) => {
                let data = Token::Undecided(ticket).data();
                let _ = epoll::add(&self.epoll, announcements, data, READABLE);
            }
            Heard::Left(restore) => {
                if let Some(restored) = self.living.get_mut(&restore).and_then(Living::restored_mut)
                {
                    restored.left = true;
                }
                return self.release(restore);
            }
            Heard::Closed => {
                let _ = epoll::delete(&self.epoll, &snapshot.control);
            }
            Heard::Nothing => {}
        }
        Ok(())
    }

    /// A call of a snapshot's waits for a decision.
    #[expect(
        clippy::unnecessary_wraps,
        reason = "one of the event handlers, which may end the loop"
    )]
    pub(super) fn decide(&mut self, ticket: u64) -> Result<(), Ended> {
        if let Some(snapshot) = self.living.get(&ticket).and_then(Living::snapshot) {
            snapshot.decide();
        }
        Ok(())
    }

    /// The fork says that it is in.
    pub(super) fn arrived(&mut self, ticket: u64) -> Result<(), Ended> {
        let Some(restored) = self.living.get_mut(&ticket).and_then(Living::restored_mut) else {
            return Ok(());
        };
        if let Some(gate) = &restored.gate {
            let _ = epoll::delete(&self.epoll, gate);
        }
        match restored.arrived() {
            Some(fork) => {
                restored.fork = Some(fork);
                self.release(ticket)
            }
            None => self.give_up(ticket, Failure { step: Step::Died, errno: 0 }),
        }
    }

    /// Looks at the fork when it is in, and the builder and the process between are gone, and lets it go on.
    fn release(&mut self, ticket: u64) -> Result<(), Ended> {
        let Some(living) = self.living.get(&ticket) else { return Ok(()) };
        let Some(restored) = living.restored() else { return Ok(()) };
        let (Some(fork), true, true) = (restored.fork, restored.left, restored.builder_ended)
        else {
            return Ok(());
        };
        let of = restored.of;
        let verdict = match self.living.get(&of) {
            Some(snapshot) => {
                let program = snapshot.snapshot().and_then(Snapshot::program).unwrap_or(0);
                snapshot::verify(fork, living.pid, program, &living.cgroup, &snapshot.cgroup)
            }
            None => Err(Refusal::Ended),
        };
        match verdict {
            Ok(()) => {}
            Err(Refusal::Ended) => {
                return self.give_up(ticket, Failure { step: Step::Died, errno: 0 });
            }
            Err(Refusal::Different(difference)) => {
                eprintln!("gatemill sandboxd: a fork of a snapshot was ended: {difference}");
                // Whatever the program has become, it is no parent for environments.
                self.kill(of);
                return self.give_up(ticket, Failure { step: Step::Identity, errno: libc::EPERM });
            }
        }
        let inside = snapshot::pid_inside(fork).unwrap_or(0);
        let Some(living) = self.living.get_mut(&ticket) else { return Ok(()) };
        let started = living.started(ticket);
        living.confined = true;
        let Some(restored) = living.restored_mut() else { return Ok(()) };
        restored.program_inside = inside;
        if !restored.release() {
            return self.give_up(ticket, Failure { step: Step::Died, errno: 0 });
        }
        self.reply(&started)?;
        self.finished_with(of, ticket);
        self.ask_next(of)
    }

    /// A restore that failed: ended, and told.
    fn give_up(&mut self, ticket: u64, failure: Failure) -> Result<(), Ended> {
        let Some(living) = self.living.get_mut(&ticket) else { return Ok(()) };
        living.failure.get_or_insert(failure);
        let of = living.restored().map(|restored| restored.of);
        if living.pid != 0 {
            // Its end is going to be reported.
            self.kill(ticket);
        } else if let Some(living) = self.living.remove(&ticket) {
            living.cgroup.kill();
            self.give_back(living.address);
            self.remove_cgroup(living.cgroup);
            self.reply(&Reply::Failed { ticket, failure })?;
        }
        match of {
            Some(of) if self.finished_with(of, ticket) => self.ask_next(of),
            _ => Ok(()),
        }
    }

    /// Reports of a snapshot's init: orphans are processes of sandboxes that were forked from it.
    pub(super) fn bury_orphans(&mut self, ticket: u64) -> Result<(), Ended> {
        let mut record = [0; 8];
        for _ in 0..limits::REPORTS_AT_ONCE {
            let Some(living) = self.living.get_mut(&ticket) else { return Ok(()) };
            let Some(report) = &living.report else { return Ok(()) };
            match rustix::io::read(report, &mut record) {
                Ok(8) if record[0] & ORPHAN == 0 => {
                    if let Origin::Snapshot { ended, .. } = &mut living.origin {
                        *ended = Some(read_end(record));
                    }
                }
                Ok(8) => {
                    if let Some(orphan) = snapshot::read_orphan(record) {
                        self.orphan_ended(ticket, orphan)?;
                    }
                }
                Ok(_) => {
                    let _ = epoll::delete(&self.epoll, report);
                    return Ok(());
                }
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    fn orphan_ended(&mut self, of: u64, orphan: snapshot::Orphan) -> Result<(), Ended> {
        let found = self.living.iter_mut().find_map(|(ticket, living)| {
            let restored = living.restored_mut().filter(|restored| restored.of == of)?;
            if restored.program_inside == orphan.pid {
                restored.ended = Some(orphan.status);
                return Some((*ticket, false));
            }
            (restored.init_inside == orphan.pid).then_some((*ticket, true))
        });
        match found {
            Some((ticket, false)) => {
                self.kill(ticket);
                Ok(())
            }
            Some((ticket, true)) => self.end_one(ticket),
            None => Ok(()),
        }
    }

    /// Nothing of a restored sandbox runs any more.
    fn end_one(&mut self, ticket: u64) -> Result<(), Ended> {
        let Some(living) = self.living.remove(&ticket) else { return Ok(()) };
        let (of, reply) = self.last_words(ticket, living);
        if let Some(reply) = reply {
            self.reply(&reply)?;
        }
        match of {
            Some(of) if self.finished_with(of, ticket) => self.ask_next(of),
            _ => Ok(()),
        }
    }

    /// The sandboxes that were forked from a snapshot that is gone: the kernel ended them with it.
    pub(super) fn end_restored(&mut self, of: u64) -> Vec<Reply> {
        let is_of = |living: &Living| living.restored().is_some_and(|restored| restored.of == of);
        let tickets: Vec<u64> =
            self.living.iter().filter(|(_, living)| is_of(living)).map(|(t, _)| *t).collect();
        let ended = tickets.into_iter().filter_map(|ticket| {
            let living = self.living.remove(&ticket)?;
            self.last_words(ticket, living).1
        });
        ended.collect()
    }

    fn last_words(&mut self, ticket: u64, living: Living) -> (Option<u64>, Option<Reply>) {
        if let Some(event) = &living.memory_event {
            let _ = epoll::delete(&self.epoll, &event.ready);
        }
        let restored = living.restored();
        let of = restored.map(|restored| restored.of);
        if let Some(gate) = restored.and_then(|restored| restored.gate.as_ref()) {
            let _ = epoll::delete(&self.epoll, gate);
        }
        living.cgroup.kill();
        let reply = living.finish(ticket, 0);
        self.give_back(living.address);
        self.remove_cgroup(living.cgroup);
        (of, reply)
    }
}
