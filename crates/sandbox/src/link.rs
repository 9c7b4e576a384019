//! The server's end of the socket to sandboxd: one thread that reads replies and hands them to
//! those who wait, and a queue for requests that the socket had no room for.
//!
//! A thread and not a task, because it belongs to no async runtime: sandboxd is spawned before any
//! runtime exists, and several may use it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gatemill_jailer::protocol::{Reply, Request};
use gatemill_jailer::{Failure, Step, limits, socket};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use tokio::sync::{oneshot, watch};

use crate::sandbox::Exit;

/// How long a message is at most that carries nothing but its ticket.
const TAGGED_BYTES: usize = 9;

/// A start that came to its end, or why not.
pub(crate) type Started = Result<Birth, Failure>;

/// What is told of a sandbox that was started.
#[derive(Debug)]
pub(crate) struct Birth {
    /// Of its first process.
    pub(crate) pid: u32,
    /// Of its program, where that is not below its first process.
    pub(crate) program: Option<u32>,
    pub(crate) peak_file: PathBuf,
}

/// A parked sandbox is the function's, or why not.
pub(crate) type Assigned = Result<(), Failure>;

/// What is shared by all handles of one sandboxd.
#[derive(Debug)]
pub(crate) struct Link {
    socket: OwnedFd,
    /// Wakes the thread when the queue is no longer empty.
    wake: OwnedFd,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last_ticket: u64,
    ids: HashSet<String>,
    waiting: HashMap<u64, Waiting>,
    /// Requests that wait for room. One start each is bounded by the starts at once; kill, freeze
    /// and thaw carry no data, and the newest of each sandbox replaces the ones before it.
    queue: VecDeque<Queued>,
    gone: bool,
}

#[derive(Debug)]
struct Waiting {
    started: Option<oneshot::Sender<Started>>,
    assigned: Option<oneshot::Sender<Assigned>>,
    exit: watch::Sender<Option<Exit>>,
    /// Nobody has the sandbox any more, so what it leaves is for nobody.
    abandoned: bool,
}

#[derive(Debug)]
struct Queued {
    ticket: u64,
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl State {
    /// A start fails; of the end of sandboxd the thread tells.
    fn not_sent(&mut self, ticket: u64, error: Errno) {
        let is_start = self.waiting.get(&ticket).is_some_and(|w| w.started.is_some());
        if matches!(error, Errno::PIPE | Errno::CONNRESET) || !is_start {
            return;
        }
        let started = self.waiting.remove(&ticket).and_then(|waiting| waiting.started);
        if let Some(started) = started {
            let failure = Failure { step: Step::Request, errno: error.raw_os_error() };
            let _ = started.send(Err(failure));
        }
    }
}

/// The ends that a starter waits on.
pub(crate) struct Pending {
    pub(crate) ticket: u64,
    pub(crate) started: oneshot::Receiver<Started>,
    pub(crate) exit: watch::Receiver<Option<Exit>>,
}

impl Link {
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { socket, wake, state: Mutex::default() })
    }

    /// Takes an id. `false` when it is in use.
    pub(crate) fn take_id(&self, id: &str) -> bool {
        self.state().ids.insert(id.to_owned())
    }

    pub(crate) fn forget_id(&self, id: &str) {
        self.state().ids.remove(id);
    }

    /// Registers a start. `None` when sandboxd is gone.
    pub(crate) fn expect(&self) -> Option<Pending> {
        let mut state = self.state();
        if state.gone {
            return None;
        }
        state.last_ticket += 1;
        let ticket = state.last_ticket;
        let (started_tx, started) = oneshot::channel();
        let (exit_tx, exit) = watch::channel(None);
        let waiting =
            Waiting { started: Some(started_tx), assigned: None, exit: exit_tx, abandoned: false };
        state.waiting.insert(ticket, waiting);
        Some(Pending { ticket, started, exit })
    }

    /// Registers who waits for an assignment. `None` when the sandbox has ended.
    pub(crate) fn expect_assigned(&self, ticket: u64) -> Option<oneshot::Receiver<Assigned>> {
        let (sender, receiver) = oneshot::channel();
        self.state().waiting.get_mut(&ticket)?.assigned = Some(sender);
        Some(receiver)
    }

    /// Takes back what [`Self::expect`] registered, for a start that was never sent.
    pub(crate) fn withdraw(&self, ticket: u64) {
        self.state().waiting.remove(&ticket);
    }

    /// Says that nobody will want what the sandbox leaves. Whether it has ended, and its end was told.
    pub(crate) fn abandon(&self, ticket: u64) -> bool {
        match self.state().waiting.get_mut(&ticket) {
            Some(waiting) => {
                waiting.abandoned = true;
                false
            }
            None => true,
        }
    }

    /// Sends at once, or, when there is no room, as soon as there is. A start that the system
    /// refuses to send has failed.
    pub(crate) fn send(&self, ticket: u64, bytes: Vec<u8>, fds: Vec<OwnedFd>) {
        let mut state = self.state();
        if state.gone {
            return;
        }
        if state.queue.is_empty() {
            let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
            match socket::send(&self.socket, &bytes, &borrowed, false) {
                Ok(()) => return,
                Err(Errno::AGAIN) => {}
                Err(error) => return state.not_sent(ticket, error),
            }
        }
        if bytes.len() <= TAGGED_BYTES {
            state
                .queue
                .retain(|queued| queued.ticket != ticket || queued.bytes.len() > TAGGED_BYTES);
        }
        state.queue.push_back(Queued { ticket, bytes, fds });
        drop(state);
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// Sends a request that carries nothing but its ticket.
    pub(crate) fn send_later(&self, request: &Request) {
        let ticket = match *request {
            Request::Kill(ticket)
            | Request::End(ticket)
            | Request::Forget(ticket)
            | Request::Freeze(ticket)
            | Request::Thaw(ticket)
            | Request::Socket(ticket) => ticket,
            Request::Configure { .. }
            | Request::Start { .. }
            | Request::Template { .. }
            | Request::Assign { .. }
            | Request::Shutdown => 0,
        };
        if let Ok(bytes) = request.encode() {
            self.send(ticket, bytes, Vec::new());
        }
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.state().gone
    }

    /// The thread's body: until sandboxd closes its end.
    pub(crate) fn run(&self) {
        let mut buffer = vec![0; limits::MAX_MESSAGE_BYTES];
        while self.wait_and_flush() {
            loop {
                match socket::receive(&self.socket, &mut buffer, false) {
                    Err(Errno::AGAIN) => break,
                    Ok((length @ 1.., _)) => match Reply::decode(&buffer[..length]) {
                        Ok(reply) => self.deliver(reply),
                        Err(_) => return self.close(),
                    },
                    _ => return self.close(),
                }
            }
        }
        self.close();
    }

    fn wait_and_flush(&self) -> bool {
        let mut wanted = PollFlags::IN;
        wanted.set(PollFlags::OUT, !self.state().queue.is_empty());
        let mut fds = [PollFd::new(&self.socket, wanted), PollFd::new(&self.wake, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return false,
        }
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.wake, &mut count);
        self.flush();
        true
    }

    fn flush(&self) {
        let mut state = self.state();
        while let Some(next) = state.queue.pop_front() {
            let fds: Vec<BorrowedFd<'_>> = next.fds.iter().map(AsFd::as_fd).collect();
            match socket::send(&self.socket, &next.bytes, &fds, false) {
                Ok(()) => {}
                Err(Errno::AGAIN) => return state.queue.push_front(next),
                Err(error) => state.not_sent(next.ticket, error),
            }
        }
    }

    fn deliver(&self, reply: Reply) {
        let mut state = self.state();
        match reply {
            Reply::Started { ticket, pid, program, peak_file } => {
                let Some(waiting) = state.waiting.get_mut(&ticket) else { return };
                if let Some(started) = waiting.started.take() {
                    // Nobody waits any more: the starter gave up and has asked for a kill.
                    let program = Some(program).filter(|pid| *pid != 0);
                    let _ = started.send(Ok(Birth { pid, program, peak_file }));
                }
            }
            Reply::Failed { ticket, failure } => {
                let Some(waiting) = state.waiting.remove(&ticket) else { return };
                if let Some(started) = waiting.started {
                    let _ = started.send(Err(failure));
                }
                if let Some(assigned) = waiting.assigned {
                    let _ = assigned.send(Err(failure));
                }
            }
            Reply::Assigned { ticket } => {
                let waiting = state.waiting.get_mut(&ticket);
                if let Some(assigned) = waiting.and_then(|waiting| waiting.assigned.take()) {
                    let _ = assigned.send(Ok(()));
                }
            }
            Reply::Exited { ticket, status, oom_killed, memory_peak_bytes, left_tmp } => {
                let exit = Exit { status, oom_killed, memory_peak_bytes, left_tmp };
                let Some(waiting) = state.waiting.remove(&ticket) else { return };
                let _ = waiting.exit.send(Some(exit));
                drop(state);
                if left_tmp && waiting.abandoned {
                    self.send_later(&Request::Forget(ticket));
                }
            }
            // Said once, before this thread exists.
            Reply::Ready { .. } | Reply::Refused(_) => {}
        }
    }

    /// Everything that waits learns that there is nothing to wait for.
    fn close(&self) {
        let mut state = self.state();
        state.gone = true;
        state.waiting.clear();
        state.queue.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held; and if something did, the maps are still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
