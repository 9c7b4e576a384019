//! One living sandbox: its channel, its output, its end.

use std::fs;
use std::io;
use std::io::{PipeReader, Read as _};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use gatemill_jailer::protocol::{ExitStatus, Request};
use gatemill_jailer::{Assignment, process_tree, socket};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use rustix::thread::{CpuSet, sched_setaffinity};
use tokio::io::Interest;
use tokio::sync::watch;

use crate::error::Error;
use crate::holder::Holder;
use crate::limits;
use crate::link::Link;

/// Where programs inside find [`Sandbox::listener`]. Where a sandbox has no network of its own, variables that hold this
/// text get the true address in its place, as they get true paths.
pub const API_ADDRESS: &str = "127.0.0.1:9001";

/// How a sandbox ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// How its program ended. A killed sandbox ends with signal 9.
    pub status: ExitStatus,
    /// The memory limit ended the program or one of its processes.
    pub oom_killed: bool,
    /// The most memory that the whole tree ever had, in bytes.
    pub memory_peak_bytes: u64,
    /// Its `/tmp` was not empty, and a sandbox that is started after it ([`crate::Sandboxes::start_after`]) gets it.
    pub left_tmp: bool,
}

/// How a thread stands with the scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// It runs, or would if it were its turn.
    pub wants_cpu: bool,
    /// How long it has run in all.
    pub ran: Duration,
}

/// A started sandbox. Dropping it kills it.
#[derive(Debug)]
pub struct Sandbox {
    /// The id of its spec.
    pub id: String,
    /// Our end of the channel; the program has the other one as descriptor 3. Nonblocking.
    pub channel: UnixStream,
    /// The reading end of the pipe that is the program's standard output and error. Nonblocking.
    pub output: PipeReader,
    /// Listens at [`API_ADDRESS`] of the sandbox's own network, where nothing else can connect to it; where sandboxes
    /// have none ([`gatemill_jailer::Isolation::Process`]), at a free port of the host's loopback. Nonblocking.
    pub listener: TcpListener,
    /// Host pid of the sandbox's first process, the parent of the program unless that was forked.
    pub pid: u32,
    /// Host pid of the program where that is not below the first process, because it was forked.
    pub program: Option<u32>,
    /// The process that holds the program, where it has companions: it starts when it is told to.
    pub holder: Option<Holder>,
    /// Its program is what it is told over the channel, and may turn out not to start.
    pub is_vacant: bool,
    pub(crate) ticket: u64,
    /// Whether it has a network of its own.
    pub(crate) inside: bool,
    pub(crate) link: Arc<Link>,
    pub(crate) exit: watch::Receiver<Option<Exit>>,
    pub(crate) memory_bytes: u64,
    /// Empty without a memory cgroup.
    pub(crate) peak_file: PathBuf,
    pub(crate) peak_seen: AtomicU64,
    /// Whether another sandbox got what this one left.
    pub(crate) inherited: AtomicBool,
    /// Host pid of the program below the first process, once somebody asked; 0 before.
    pub(crate) started: AtomicU32,
}

impl Sandbox {
    /// Waits for the end. Several may wait, also after the end. When sandboxd dies, all its
    /// sandboxes end with signal 9.
    pub async fn exited(&self) -> Exit {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await.map(|exit| *exit) {
            Ok(Some(exit)) => self.with_peak_seen(exit),
            // The sender is gone without a word only together with sandboxd.
            _ => self.with_peak_seen(Exit {
                status: ExitStatus::Signal(libc::SIGKILL),
                oom_killed: false,
                memory_peak_bytes: 0,
                left_tmp: false,
            }),
        }
    }

    /// Why what was waiting in a vacant sandbox did not become the program, if it said so: the system's reason. For one that
    /// has ended; a program that became one may have said anything. `None` of any other sandbox.
    pub fn said_of_start(&self) -> Option<i32> {
        if !self.is_vacant {
            return None;
        }
        let mut errno = [0; 4];
        (&self.channel).read_exact(&mut errno).ok()?;
        Some(i32::from_le_bytes(errno))
    }

    /// Whether it is known to have ended.
    pub fn has_ended(&self) -> bool {
        !self.is_alive()
    }

    /// Whether it left its `/tmp` ([`Exit::left_tmp`]), or may do so when it ends.
    pub fn may_leave_tmp(&self) -> bool {
        self.exit.borrow().is_none_or(|exit| exit.left_tmp)
    }

    /// Without a cgroup, each side saw what it saw when it looked.
    fn with_peak_seen(&self, exit: Exit) -> Exit {
        let seen = self.peak_seen.load(Ordering::Relaxed);
        Exit { memory_peak_bytes: exit.memory_peak_bytes.max(seen), ..exit }
    }

    /// The most memory that the whole tree ever had, in bytes, until now: the kernel's figure from
    /// the cgroup, or without one the sum of the processes' own peaks. A few microseconds with a
    /// cgroup; without one, a walk through `/proc`.
    pub fn memory_peak_bytes(&self) -> u64 {
        if let Some(exit) = *self.exit.borrow() {
            return self.with_peak_seen(exit).memory_peak_bytes;
        }
        let now = if self.peak_file.as_os_str().is_empty() {
            let tree = self.roots().flat_map(process_tree::descendants).chain(self.program);
            tree.map(|pid| process_tree::resident_bytes(pid).1).sum()
        } else {
            let text = fs::read_to_string(&self.peak_file).unwrap_or_default();
            text.trim().parse().unwrap_or(0)
        };
        // What the cgroup counted above the limit was `/tmp` and page cache.
        let now = now.min(self.memory_bytes);
        self.peak_seen.fetch_max(now, Ordering::Relaxed).max(now)
    }

    /// Whether it has not ended yet.
    pub fn is_alive(&self) -> bool {
        self.exit.borrow().is_none() && self.exit.has_changed().is_ok()
    }

    /// Makes a parked sandbox the function's: its limits hold and its code is there when this returns. Only
    /// then may the program be told of the function.
    ///
    /// # Errors
    /// The sandbox is of no use then and ends.
    pub async fn assign(&mut self, assignment: Assignment) -> Result<(), Error> {
        assignment.validate()?;
        let memory_bytes = assignment.memory_bytes;
        let assigned = self.link.expect_assigned(self.ticket).ok_or(Error::Gone)?;
        let assignment = Box::new(assignment);
        let request = Request::Assign { ticket: self.ticket, assignment };
        let bytes = request.encode().map_err(|_| Error::TooLong)?;
        self.link.send(self.ticket, bytes, Vec::new());
        let outcome = tokio::time::timeout(limits::START_WAIT, assigned).await;
        outcome.map_err(|_| Error::TimedOut)?.map_err(|_| Error::Gone)??;
        self.memory_bytes = memory_bytes;
        Ok(())
    }

    /// Makes sockets that connect to what listens inside.
    pub fn sockets(&self) -> Sockets {
        Sockets { link: Arc::clone(&self.link), ticket: self.ticket, inside: self.inside }
    }

    /// As [`Sandbox::kill`], and what is in its `/tmp` stays as when the program ends by itself; see [`Exit::left_tmp`].
    pub fn end(&self) {
        if self.exit.borrow().is_none() {
            self.link.send_later(&Request::End(self.ticket));
        }
    }

    /// Ends the whole tree at once. May be called again and after the end.
    pub fn kill(&self) {
        if self.exit.borrow().is_none() {
            self.link.send_later(&Request::Kill(self.ticket));
        }
    }

    /// Has the processes of the tree run on this core alone, or, with `None`, wherever the system puts them. A hint:
    /// where it may not be given, they run anywhere. What they start later inherits it.
    pub fn keep_to(&self, core: Option<usize>) {
        if self.exit.borrow().is_some() {
            return;
        }
        let mut cores = CpuSet::new();
        match core {
            Some(core) => cores.set(core),
            None => (0..CpuSet::MAX_CPU).for_each(|core| cores.set(core)),
        }
        for thread in self.roots().flat_map(process_tree::threads) {
            let thread = i32::try_from(thread).ok().and_then(Pid::from_raw);
            // Without a thread to name, the caller's own would be meant.
            if thread.is_some() {
                let _ = sched_setaffinity(thread, &cores);
            }
        }
    }

    /// Asks the program to end (`SIGTERM`), where this process may. Does nothing of what the program started itself.
    pub fn terminate_program(&self) {
        if let Some(holder) = &self.holder {
            return holder.terminate_program();
        }
        if self.exit.borrow().is_some() {
            return;
        }
        let children = process_tree::children(self.pid);
        for pid in self.program.into_iter().chain(children) {
            let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { continue };
            // By a descriptor, so that it can be no other process by now: it is looked at again once it is held.
            let Ok(held) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
            let number = pid.as_raw_nonzero().get().cast_unsigned();
            let is_ours =
                Some(number) == self.program || process_tree::children(self.pid).contains(&number);
            if is_ours && self.exit.borrow().is_none() {
                let _ = pidfd_send_signal(&held, Signal::TERM);
            }
        }
    }

    /// How the program's first thread stands with the scheduler; `None` where the system does not say. A few microseconds.
    pub fn turn(&self) -> Option<Turn> {
        let pid = self.program.or_else(|| self.started_program())?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, state) = stat.rsplit_once(") ")?;
        let ran = fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
        let ran = ran.split_whitespace().next()?.parse().ok()?;
        Some(Turn { wants_cpu: state.starts_with('R'), ran: Duration::from_nanos(ran) })
    }

    /// The program that the first process started.
    fn started_program(&self) -> Option<u32> {
        let known = self.started.load(Ordering::Relaxed);
        if known != 0 {
            return Some(known);
        }
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid)).ok()?;
        let child = children.split_whitespace().next()?.parse().ok()?;
        self.started.store(child, Ordering::Relaxed);
        Some(child)
    }

    /// The processes above all others of the sandbox.
    fn roots(&self) -> impl Iterator<Item = u32> {
        std::iter::once(self.pid).chain(self.program)
    }

    /// Stops all processes of the tree.
    pub fn freeze(&self) {
        self.link.send_later(&Request::Freeze(self.ticket));
    }

    /// Lets them go on.
    pub fn thaw(&self) {
        self.link.send_later(&Request::Thaw(self.ticket));
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.kill();
        let was_told = self.link.abandon(self.ticket);
        let left_tmp = || self.exit.borrow().is_some_and(|exit| exit.left_tmp);
        if was_told && left_tmp() && !self.inherited.load(Ordering::Relaxed) {
            self.link.send_later(&Request::Forget(self.ticket));
        }
        self.link.forget_id(&self.id);
    }
}

/// Makes TCP sockets in a sandbox's network, also while the sandbox belongs to somebody else.
#[derive(Debug, Clone)]
pub struct Sockets {
    link: Arc<Link>,
    ticket: u64,
    inside: bool,
}

impl Sockets {
    /// A nonblocking IPv4 socket that is not connected.
    ///
    /// # Errors
    /// The system's; also when sandboxd may not do it (it is not root), and when the sandbox has ended.
    pub async fn tcp(&self) -> io::Result<OwnedFd> {
        if !self.inside {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            return Ok(socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?);
        }
        let (ours, theirs) = UnixStream::pair()?;
        let bytes = Request::Socket(self.ticket).encode().map_err(io::Error::other)?;
        self.link.send(self.ticket, bytes, vec![theirs.into()]);
        ours.set_nonblocking(true)?;
        let ours = tokio::net::UnixStream::from_std(ours)?;
        let received =
            ours.async_io(Interest::READABLE, || Ok(socket::receive(&ours, &mut [0; 1], false)?.1));
        let received = tokio::time::timeout(limits::SOCKET_WAIT, received).await;
        let mut received = received.map_err(|_| io::ErrorKind::TimedOut)??;
        received.pop().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}
