//! A parked sandbox becomes a function's: its limits, its code, its `/tmp`, and the seal.
//!
//! sandboxd itself goes inside for that; to keep a privileged process waiting there instead would also cost two more
//! wake-ups a start.

use std::time::Instant;

use rustix::event::epoll;

use super::Sandboxd;
use super::inside::inside;
use super::living::Living;
use crate::cgroup::MemoryEvent;
use crate::memory::MemoryWatch;
use crate::root_fs::{self, Source};
use crate::spec::{Assignment, Spec};
use crate::step::{At, Failure, Step};
use crate::sys;

impl Sandboxd {
    pub(super) fn assign(&mut self, ticket: u64, assignment: &Assignment) -> Result<(), Failure> {
        let invalid = Failure { step: Step::Request, errno: libc::EINVAL };
        assignment.validate().map_err(|_| invalid)?;
        let living = self.living.get_mut(&ticket).ok_or(invalid)?;
        if !living.confined || living.ending {
            return Err(invalid);
        }
        let parked = living.parked.take().ok_or(invalid)?;
        let spec = Spec {
            memory_bytes: assignment.memory_bytes,
            cpu_millis: assignment.cpu_millis,
            cpu_share_millis: assignment.cpu_share_millis,
            tmp_bytes: assignment.tmp_bytes,
            ..(*parked).clone()
        };
        living.cgroup.limit_again(&parked, &spec).at(Step::Cgroup)?;
        let sources = root_fs::open_all(&assignment.binds).at(Step::Bind)?;
        let tmp_bytes = (spec.tmp_bytes != parked.tmp_bytes).then_some(spec.tmp_bytes);
        furnish(living, assignment, &sources, tmp_bytes)?;
        if (spec.memory_bytes, spec.tmp_bytes) != (parked.memory_bytes, parked.tmp_bytes) {
            self.watch_again(ticket, &spec)?;
        }
        Ok(())
    }

    /// Has the kernel tell when the new memory limit is passed.
    fn watch_again(&mut self, ticket: u64, spec: &Spec) -> Result<(), Failure> {
        let Some(living) = self.living.get_mut(&ticket) else { return Ok(()) };
        if let Some(old) = living.memory_event.take() {
            // Explicitly: a child that is being made still has a copy.
            let _ = epoll::delete(&self.epoll, &old.ready);
        }
        let living = &self.living[&ticket];
        let event = self.watch_memory(ticket, spec, &living.cgroup)?;
        if let Some(event) = &event {
            register_elsewhere(event).at(Step::Cgroup)?;
        }
        let Some(living) = self.living.get_mut(&ticket) else { return Ok(()) };
        living.memory = MemoryWatch::new(spec, event.is_some());
        living.memory_event = event.map(MemoryEvent::registered);
        if event_is_due(living) {
            self.watched.insert(ticket);
        } else {
            self.watched.remove(&ticket);
        }
        Ok(())
    }
}

fn event_is_due(living: &Living) -> bool {
    living.memory.due().is_some_and(|due| due <= Instant::now())
}

/// Registering waits for every CPU, for milliseconds, so a child does it.
fn register_elsewhere(event: &MemoryEvent) -> std::io::Result<()> {
    if event.registration.is_none() {
        return Ok(());
    }
    if sys::clone_into(0, None)? == sys::Forked::Child {
        let registered = event.register();
        sys::exit_now(i32::from(registered.is_err()));
    }
    Ok(())
}

/// Goes in, puts everything in its place, and comes back.
fn furnish(
    living: &Living,
    assignment: &Assignment,
    sources: &[Source],
    tmp_bytes: Option<u64>,
) -> Result<(), Failure> {
    inside(living.pid, || root_fs::complete(&assignment.binds, sources, tmp_bytes))
}
