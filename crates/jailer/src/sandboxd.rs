//! sandboxd: the one privileged process. A single thread takes requests, makes sandboxes, collects
//! their ends and cleans up after them.
//!
//! It lives exactly as long as the server: the end of the socket ends every sandbox, the cgroups,
//! and sandboxd. It keeps nothing durable and opens nothing to the network. What it does not do is
//! decide: which function runs when, and what a limit is, is the server's business.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use crate::cgroup::{Cgroup, Controller, Hierarchies, MemoryEvent};
use crate::init;
use crate::launch::{Connected, Gifts, Joined, Launched, Launcher};
use crate::limits;
use crate::memory::MemoryWatch;
use crate::network::{Cable, Network, Uplink};
use crate::process_tree;
use crate::protocol::{Reply, Request};
use crate::socket;
use crate::spec::{Bind, Enforced, Isolation, Spec, Start};
use crate::step::{At, Failure, Step};
use crate::sys::{self, Forked};
use forked::{Fork, ForkGifts};
use left::Left;
use living::{Living, Origin};

mod assign;
mod forked;
mod inside;
mod left;
mod living;
mod restores;

/// Tickets of the server are counted from 1; the trial is ours.
const TRIAL: u64 = 0;
/// Above this a ticket would not fit into a [`Token`].
const MAX_TICKET: u64 = 1 << 48;

/// What an event is about, packed into its 64 bits.
#[derive(Clone, Copy)]
enum Token {
    Control,
    Signals,
    /// The status pipe of this ticket.
    Status(u64),
    /// The memory event of this ticket.
    Memory(u64),
    /// The control socket of this snapshot.
    Snapshot(u64),
    /// Calls of this snapshot's program and its forks that wait for a decision.
    Undecided(u64),
    /// The report pipe of this snapshot.
    Orphans(u64),
    /// The gate of this restore.
    Gate(u64),
    /// The report pipe of a sandbox whose init started its program.
    Report(u64),
}

/// The server is gone or asked for the end.
struct Ended;

/// A trial sandbox on its way.
struct Trial {
    /// Where its listener goes.
    _listener: OwnedFd,
}

struct Sandboxd {
    control: OwnedFd,
    signals: OwnedFd,
    epoll: OwnedFd,
    launcher: Launcher,
    hierarchies: Hierarchies,
    isolation: Isolation,
    /// The host's side of the network, where sandboxes reach any of it.
    uplink: Option<Uplink>,
    server: u32,
    living: HashMap<u64, Living>,
    by_pid: HashMap<u32, u64>,
    /// The builders of restores, by their pids.
    builders: HashMap<u32, u64>,
    /// Restores whose builders were collected, and have not been looked at since.
    built: Vec<u64>,
    /// Whose memory is to be looked at again.
    watched: HashSet<u64>,
    /// Cgroups of ended sandboxes that were still busy, and how often they were tried.
    leftovers: Vec<(Cgroup, u32)>,
    /// What ended sandboxes left, by their tickets.
    left: HashMap<u64, Left>,
}

/// The socket to the server, which is our standard input at first: moved out of the way, so that no
/// child inherits it by that number.
pub(crate) fn take_control_socket() -> io::Result<OwnedFd> {
    let control = io::stdin().as_fd().try_clone_to_owned()?;
    let null = std::fs::File::open("/dev/null")?;
    sys::duplicate_to(null.as_raw_fd(), 0)?;
    Ok(control)
}

/// The whole life of sandboxd. Returns when it is over.
pub(crate) fn run(control: OwnedFd) -> io::Result<()> {
    quiet_surroundings()?;
    let mut buffer = vec![0; limits::MAX_MESSAGE_BYTES];
    let (length, _) = socket::receive(&control, &mut buffer, true)?;
    let Ok(Request::Configure { isolation, state_dir, uid_base, network }) =
        Request::decode(&buffer[..length])
    else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let mut daemon = Sandboxd::new(control, isolation, &state_dir, uid_base)?;
    let (no_network, tried) = daemon.connect(&network, &state_dir);
    let ready = tried.map_or_else(|| daemon.try_out(&state_dir), Ok);
    let refused = ready.is_err();
    let reply = ready.map_or_else(Reply::Refused, |enforced| Reply::Ready {
        enforced,
        cgroups: daemon.hierarchies.paths(),
        no_network,
    });
    if daemon.reply(&reply).is_ok() && !refused {
        let Ended = daemon.serve(&mut buffer);
    }
    daemon.end();
    Ok(())
}

/// Own session (a Ctrl-C at the terminal is the server's to handle), signals as events, freed
/// memory overwritten, because every sandbox's init begins as a copy of this process.
fn quiet_surroundings() -> io::Result<()> {
    let _ = rustix::process::setsid();
    for signal in [libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGPIPE] {
        sys::ignore(signal);
    }
    sys::set_blocked(&[libc::SIGCHLD, libc::SIGTERM], libc::SIG_BLOCK)?;
    sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM.cast_unsigned().into())?;
    sys::prctl(libc::PR_SET_CHILD_SUBREAPER, 1)?;
    sys::raise_open_files()?;
    sys::overwrite_freed_memory();
    Ok(())
}

impl Sandboxd {
    fn new(
        control: OwnedFd,
        isolation: Isolation,
        state_dir: &Path,
        uid_base: u32,
    ) -> io::Result<Self> {
        let signals = sys::signal_fd(&[libc::SIGCHLD, libc::SIGTERM])?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (fd, data) in [(control.as_fd(), Token::Control), (signals.as_fd(), Token::Signals)] {
            epoll::add(&epoll, fd, data.data(), epoll::EventFlags::IN)?;
        }
        let hierarchies = Hierarchies::prepare();
        Ok(Self {
            control,
            signals,
            epoll,
            launcher: Launcher::new(isolation, state_dir, uid_base)?,
            hierarchies,
            isolation,
            uplink: None,
            server: std::os::unix::process::parent_id(),
            living: HashMap::new(),
            by_pid: HashMap::new(),
            builders: HashMap::new(),
            built: Vec::new(),
            watched: HashSet::new(),
            leftovers: Vec::new(),
            left: HashMap::new(),
        })
    }

    /// Prepares the network, and tries it out, so that what cannot be had is known before a sandbox needs it. Returns why
    /// there is none, which is nothing where none is wanted, and what a sandbox that it was tried with found to hold.
    fn connect(&mut self, network: &Network, state_dir: &Path) -> (String, Option<Enforced>) {
        let mut tried = None;
        if self.isolation == Isolation::Process {
            // Programs have the host's.
            return (String::new(), tried);
        }
        let mut reason = String::new();
        match Uplink::prepare(network) {
            Ok(Some((uplink, setup))) => {
                self.uplink = Some(uplink);
                let begun = self.begin_trial(state_dir);
                // Beside the trial, in which no program runs.
                let connected = setup.complete();
                match begun.and_then(|trial| self.end_trial(trial)) {
                    Ok(enforced) => tried = Some(enforced),
                    // Without it, what else may be wrong shows in the trial that follows.
                    Err(failure) => reason = format!("a sandbox cannot be connected: {failure}"),
                }
                if let Err(said) = connected {
                    reason = said;
                }
                if !reason.is_empty() {
                    self.disconnect();
                }
            }
            Ok(None) => {}
            Err(said) => reason = said,
        }
        let mut end = reason.len().min(limits::MAX_REASON_BYTES);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        reason.truncate(end);
        (reason, tried)
    }

    /// One sandbox through all steps but the `execve`, so that what is said to hold, holds.
    fn try_out(&mut self, state_dir: &Path) -> Result<Enforced, Failure> {
        let trial = self.begin_trial(state_dir)?;
        self.end_trial(trial)
    }

    /// Starts the trial sandbox, which makes itself.
    fn begin_trial(&mut self, state_dir: &Path) -> Result<Trial, Failure> {
        let spec = Spec {
            id: "trial".into(),
            program: "/trial/program".into(),
            args: Vec::new(),
            env: Vec::new(),
            cwd: "/".into(),
            root: None,
            binds: vec![Bind { host: state_dir.join("root"), inside: "/trial".into() }],
            uid: 0,
            memory_bytes: 64 << 20,
            cpu_millis: 1000,
            cpu_share_millis: 1000,
            tmp_bytes: 1 << 20,
            pids_max: 16,
            nofile: 64,
            companions: None,
        };
        let (channel, output) =
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).at(Step::Prepare)?;
        let (_listener, doorway) = socket::pair().at(Step::Prepare)?;
        let gifts = Gifts { channel, output, doorway, companions: None, tmp: None };
        self.launch(TRIAL, &spec, gifts, Start::AtOnce, true)?;
        Ok(Trial { _listener })
    }

    /// Waits for the trial sandbox, and says what holds when it came through.
    fn end_trial(&mut self, _trial: Trial) -> Result<Enforced, Failure> {
        let deadline = Instant::now() + limits::SHUTDOWN_WAIT;
        let mut result = Ok(());
        while self.living.contains_key(&TRIAL) && Instant::now() < deadline {
            self.wait_readable(&self.signals);
            for reply in self.reap() {
                if let Reply::Failed { failure, .. } = reply {
                    result = Err(failure);
                }
            }
        }
        if self.living.contains_key(&TRIAL) {
            result = Err(Failure { step: Step::Died, errno: libc::ETIMEDOUT });
        }
        result.map(|()| self.enforced())
    }

    fn enforced(&self) -> Enforced {
        let walls = self.isolation == Isolation::Sandbox;
        let has = |controller| self.hierarchies.version_with(controller).is_some();
        Enforced {
            own_uid: walls && self.launcher.is_root,
            file_system: walls,
            namespaces: walls,
            user_namespace: walls,
            network: walls,
            seccomp: walls,
            landlock: if walls { sys::landlock_version() } else { 0 },
            memory: has(Controller::Memory),
            cpu: has(Controller::Cpu),
            pids: has(Controller::Pids),
            freezer: self.hierarchies.can_freeze(),
            tmp_size: walls,
            cgroup_version: self.hierarchies.version_with(Controller::Memory).unwrap_or(0),
        }
    }

    fn serve(&mut self, buffer: &mut [u8]) -> Ended {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(64);
        loop {
            events.clear();
            let timeout = self.timeout();
            let space = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.epoll, space, timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return Ended,
            }
            for event in &events {
                let handled = match Token::of(event.data) {
                    Token::Control => self.requests(buffer),
                    Token::Signals => self.signalled(),
                    Token::Status(ticket) => self.progressed(ticket),
                    Token::Memory(ticket) => self.passed_memory(ticket),
                    Token::Snapshot(ticket) => self.snapshot_speaks(ticket),
                    Token::Undecided(ticket) => self.decide(ticket),
                    Token::Orphans(ticket) => self.bury_orphans(ticket),
                    Token::Gate(ticket) => self.arrived(ticket),
                    Token::Report(ticket) => {
                        self.program_ended(ticket);
                        Ok(())
                    }
                };
                if let Err(ended) = handled {
                    return ended;
                }
            }
            self.look_at_memory();
            self.remove_leftovers();
        }
    }

    fn requests(&mut self, buffer: &mut [u8]) -> Result<(), Ended> {
        // A bound, so that ends are reported also under a flood of requests.
        for _ in 0..16 {
            let (length, fds) = match socket::receive(&self.control, buffer, false) {
                Ok((0, _)) => return Err(Ended),
                Ok(received) => received,
                Err(Errno::AGAIN) => return Ok(()),
                Err(_) => return Err(Ended),
            };
            let request = Request::decode(&buffer[..length]);
            buffer[..length].fill(0);
            // A server that does not speak the protocol is not ours any more.
            self.handle(request.map_err(|_| Ended)?, fds)?;
        }
        Ok(())
    }

    fn handle(&mut self, request: Request, fds: Vec<OwnedFd>) -> Result<(), Ended> {
        match request {
            Request::Configure { .. } | Request::Shutdown => return Err(Ended),
            Request::Start { ticket, start, spec } => {
                if let Err(failure) = self.start(ticket, start, &spec, fds) {
                    self.reply(&Reply::Failed { ticket, failure })?;
                }
            }
            Request::Template { ticket, spec } => {
                if let Err(failure) = self.start_template(ticket, &spec) {
                    self.reply(&Reply::Failed { ticket, failure })?;
                }
            }
            Request::Assign { ticket, assignment } => match self.assign(ticket, &assignment) {
                Ok(()) => self.reply(&Reply::Assigned { ticket })?,
                // Half furnished, it is of no use; that is what its end is told to have been.
                Err(failure) => {
                    if let Some(living) = self.living.get_mut(&ticket) {
                        living.failure = Some(failure);
                    }
                    self.kill(ticket);
                }
            },
            Request::Kill(ticket) => self.kill(ticket),
            Request::End(ticket) => self.end_sandbox(ticket),
            Request::Forget(ticket) => self.forget(ticket),
            Request::Freeze(ticket) => self.set_frozen(ticket, true),
            Request::Thaw(ticket) => self.set_frozen(ticket, false),
            Request::Socket(ticket) => self.make_socket(ticket, &fds),
        }
        Ok(())
    }

    fn start(
        &mut self,
        ticket: u64,
        start: Start,
        spec: &Spec,
        fds: Vec<OwnedFd>,
    ) -> Result<(), Failure> {
        // The kernel drops those for which this process has no room.
        let no_room = Failure { step: Step::Request, errno: libc::EMFILE };
        let mut fds = fds;
        let beside = match &spec.companions {
            Some(_) => {
                let at = fds.len().checked_sub(2).ok_or(no_room)?;
                Some(<[OwnedFd; 2]>::try_from(fds.split_off(at)).map_err(|_| no_room)?)
            }
            None => None,
        };
        let [channel, output, doorway] = <[OwnedFd; 3]>::try_from(fds).map_err(|_| no_room)?;
        self.check_start(ticket, spec)?;
        let possible = match start {
            Start::AtOnce | Start::After { .. } => true,
            _ if spec.companions.is_some() => false,
            Start::Parked | Start::Vacant => {
                self.isolation == Isolation::Sandbox && self.launcher.is_root
            }
            Start::Forked { .. } | Start::Snapshot | Start::Restored { .. } => self.can_fork(),
        };
        if !possible {
            return Err(Failure { step: Step::Request, errno: libc::ENOTSUP });
        }
        let gifts = Gifts { channel, output, doorway, companions: beside, tmp: None };
        match start {
            Start::Restored { snapshot } => self.restore(ticket, snapshot, spec, gifts),
            _ => self.launch(ticket, spec, gifts, start, false),
        }
    }

    fn check_start(&self, ticket: u64, spec: &Spec) -> Result<(), Failure> {
        let invalid = Failure { step: Step::Request, errno: libc::EINVAL };
        spec.validate().map_err(|_| invalid)?;
        if !(1..MAX_TICKET).contains(&ticket) || self.living.contains_key(&ticket) {
            return Err(invalid);
        }
        if self.living.len() >= limits::MAX_LIVING {
            return Err(Failure { step: Step::Request, errno: libc::EAGAIN });
        }
        Ok(())
    }

    fn launch(
        &mut self,
        ticket: u64,
        spec: &Spec,
        mut gifts: Gifts,
        start: Start,
        trial: bool,
    ) -> Result<(), Failure> {
        let cgroup = if let Start::After { ended } = start {
            let (cgroup, tmp) = self.inherit(ended, spec)?;
            gifts.tmp = Some(tmp);
            cgroup
        } else {
            // The ticket makes the name unique, whatever the server thinks of ids.
            let name = format!("{}.{ticket}", spec.id);
            Cgroup::create(&self.hierarchies, &name, spec).at(Step::Cgroup)?
        };
        let mut memory_event = self.watch_memory(ticket, spec, &cgroup).inspect_err(|_| {
            cgroup.remove();
        })?;
        let cable = self.uplink.as_mut().map(Uplink::cable).transpose().at(Step::Network);
        let cable = cable.inspect_err(|_| {
            cgroup.remove();
        })?;
        let address = cable.as_ref().map(|cable| cable.address);
        let launched = self
            .launch_first(spec, &gifts, &cgroup, memory_event.as_ref(), cable, (start, trial))
            .inspect_err(|_| {
                self.give_back(address);
                cgroup.remove();
            })?;
        let readable = epoll::EventFlags::IN;
        if !trial {
            // Should this fail, the sandbox's end still tells.
            let _ =
                epoll::add(&self.epoll, &launched.status, Token::Status(ticket).data(), readable);
        }
        self.by_pid.insert(launched.pid, ticket);
        if let Some(event) = &mut memory_event {
            // The child has it; here it would only cost descriptors.
            event.registration = None;
        }
        let origin = match launched.control {
            Some(control) => {
                let snapshot = self.watch_snapshot(ticket, control, &launched.report);
                Origin::Snapshot { snapshot: snapshot.at(Step::Prepare)?, ended: None }
            }
            None => origin(start, gifts, launched.order_end),
        };
        if matches!(origin, Origin::Init { .. }) && self.isolation == Isolation::Sandbox && !trial {
            self.await_end(ticket, &launched.report);
        }
        let living = Living {
            pid: launched.pid,
            status: Some(launched.status),
            report: Some(launched.report),
            cgroup,
            address,
            confined: false,
            ending: false,
            failure: None,
            memory: MemoryWatch::new(spec, memory_event.is_some()),
            memory_event,
            parked: (!matches!(start, Start::AtOnce | Start::After { .. } | Start::Snapshot))
                .then(|| Box::new(spec.clone())),
            uid: spec.uid,
            tmp: None,
            origin,
        };
        if living.memory.due().is_some() {
            self.watched.insert(ticket);
        }
        self.living.insert(ticket, living);
        Ok(())
    }

    /// News on a status pipe.
    fn progressed(&mut self, ticket: u64) -> Result<(), Ended> {
        if self.living.get(&ticket).is_some_and(|living| living.restored().is_some()) {
            return self.built(ticket);
        }
        let epoll = &self.epoll;
        let reply = match self.living.get_mut(&ticket) {
            Some(Living { origin: Origin::Fork(_), .. }) => self.fork_progressed(ticket),
            Some(Living { origin: Origin::Template(_), .. }) => self.template_spoke(ticket),
            Some(living) => living.progress(ticket, epoll),
            None => None,
        };
        reply.map_or(Ok(()), |reply| self.reply(&reply))
    }

    fn signalled(&mut self) -> Result<(), Ended> {
        // What was signalled is looked up, not read: several ends may be one signal.
        let mut record = [0; 512];
        while rustix::io::read(&self.signals, &mut record).is_ok() {}
        for reply in self.reap() {
            self.reply(&reply)?;
        }
        for ticket in std::mem::take(&mut self.built) {
            self.builder_ended(ticket)?;
        }
        // The kernel sends SIGTERM when the thread that spawned us ends; that is the server's end
        // only if the server is gone. A stray SIGTERM is not for us.
        if std::os::unix::process::parent_id() == self.server { Ok(()) } else { Err(Ended) }
    }

    /// Collects all children that ended, and what is to be said of them.
    fn reap(&mut self) -> Vec<Reply> {
        let mut replies = Vec::new();
        while let Some((pid, status)) = sys::reap_child() {
            if let Some(ticket) = self.builders.remove(&pid) {
                self.built.push(ticket);
                continue;
            }
            let Some(ticket) = self.ticket_of(pid, &mut replies) else { continue };
            if let Some(Living { origin: Origin::Fork(fork), .. }) = self.living.get_mut(&ticket)
                && fork.program == Some(pid)
            {
                // Its sandbox ends with it.
                fork.end = Some(status);
                self.end_sandbox(ticket);
                continue;
            }
            let Some(mut living) = self.living.remove(&ticket) else { continue };
            // A quick program is exec'd and gone before its status pipe was looked at.
            replies.extend(living.progress(ticket, &self.epoll));
            if let Some(event) = &living.memory_event {
                let _ = epoll::delete(&self.epoll, &event.ready);
            }
            living.forget_report(&self.epoll);
            if living.tmp.is_none() {
                // Linux 6.18 also kills what is made later in a cgroup that was killed once. The death of the init has done
                // the same.
                living.cgroup.kill();
            }
            replies.extend(living.finish(ticket, status));
            let (is_snapshot, address) = (living.snapshot().is_some(), living.address);
            self.leave(ticket, living);
            if is_snapshot {
                replies.extend(self.end_restored(ticket));
            }
            self.give_back(address);
        }
        if self.isolation == Isolation::Process && !replies.is_empty() {
            self.kill_strays();
        }
        replies
    }

    fn disconnect(&mut self) {
        if let Some(uplink) = self.uplink.take() {
            uplink.end();
        }
    }

    fn give_back(&mut self, address: Option<Ipv4Addr>) {
        if let (Some(uplink), Some(address)) = (&mut self.uplink, address) {
            uplink.give_back(address);
        }
    }

    /// Removes the cgroups of a sandbox that ended, now or when they are no longer busy.
    fn remove_cgroup(&mut self, cgroup: Cgroup) {
        if !cgroup.remove() && self.leftovers.len() < limits::LEFTOVERS_MAX {
            self.leftovers.push((cgroup, 1));
        }
    }

    /// Without walls a program can kill its supervisor; what it leaves becomes our child.
    fn kill_strays(&self) {
        let children = process_tree::children(std::process::id());
        let strays: Vec<_> =
            children.into_iter().filter(|pid| !self.by_pid.contains_key(pid)).collect();
        process_tree::signal(&strays, libc::SIGKILL);
    }

    fn kill(&mut self, ticket: u64) {
        let Some(living) = self.living.get_mut(&ticket) else { return };
        living.ending = true;
        match self.isolation {
            Isolation::Sandbox => {
                let _ = process_tree::send(living.pid, libc::SIGKILL);
            }
            Isolation::Process => {
                // The supervisor ends its tree; one that is stopped has to go on for it.
                let _ = process_tree::send(living.pid, libc::SIGTERM);
            }
        }
        // A frozen process of a version 1 cgroup dies when it is thawed.
        living.cgroup.set_frozen(false);
        if self.isolation == Isolation::Process {
            living.cgroup.kill();
        }
    }

    /// Has a child of ours enter a sandbox's network and make a socket there: a socket stays in the network where it was
    /// made, so whoever gets it connects to what listens inside. Without root this process may not enter.
    fn make_socket(&self, ticket: u64, fds: &[OwnedFd]) {
        let (Some(living), [doorway]) = (self.living.get(&ticket), fds) else { return };
        if self.isolation != Isolation::Sandbox || !self.launcher.is_root {
            return;
        }
        if let Ok(Forked::Child) = sys::clone_into(0, None) {
            let code = match init::hand_over_socket(living.pid, doorway.as_fd()) {
                Ok(()) => 0,
                Err(_) => 1,
            };
            sys::exit_now(code)
        }
    }

    fn set_frozen(&self, ticket: u64, frozen: bool) {
        let Some(living) = self.living.get(&ticket) else { return };
        // What is frozen by version 1 does not die.
        if frozen && living.ending {
            return;
        }
        if living.cgroup.set_frozen(frozen) {
            return;
        }
        let signal = if frozen { libc::SIGSTOP } else { libc::SIGCONT };
        process_tree::signal(&living.tree(), signal);
    }

    fn launch_first(
        &self,
        spec: &Spec,
        gifts: &Gifts,
        cgroup: &Cgroup,
        memory_event: Option<&MemoryEvent>,
        cable: Option<Cable>,
        (start, trial): (Start, bool),
    ) -> Result<Launched, Failure> {
        let birthplace = cgroup.birthplace().at(Step::Cgroup)?;
        let joined = Joined { tasks_files: cgroup.tasks_files(), birthplace, memory_event };
        let resolv_conf = self.uplink.as_ref().map_or("", Uplink::resolv_conf);
        let network = Connected { doorway: gifts.doorway.as_fd(), cable, resolv_conf };
        self.launcher.launch(spec, gifts, &joined, &network, start, trial)
    }

    fn watch_memory(
        &self,
        ticket: u64,
        spec: &Spec,
        cgroup: &Cgroup,
    ) -> Result<Option<MemoryEvent>, Failure> {
        let watch = cgroup.watch_memory(spec.memory_bytes).at(Step::Cgroup)?;
        let Some(event) = watch else { return Ok(None) };
        let data = Token::Memory(ticket).data();
        epoll::add(&self.epoll, &event.ready, data, event.flags).at(Step::Cgroup)?;
        Ok(Some(event))
    }

    fn passed_memory(&mut self, ticket: u64) -> Result<(), Ended> {
        if let Some(living) = self.living.get_mut(&ticket) {
            living.memory.passed(Instant::now());
            self.watched.insert(ticket);
        }
        Ok(())
    }

    /// How long until some sandbox's memory is to be looked at, or a cgroup to be removed.
    fn timeout(&self) -> Option<Timespec> {
        let watched = self.watched.iter().filter_map(|ticket| self.living.get(ticket));
        let due = watched.filter_map(|living| living.memory.due()).min();
        let look = due.map(|due| due.saturating_duration_since(Instant::now()));
        let remove = (!self.leftovers.is_empty()).then_some(limits::CGROUP_REMOVE_PAUSE);
        let wait = look.into_iter().chain(remove).min()?;
        Timespec::try_from(wait).ok()
    }

    /// Tries again to remove what was busy. An emptied cgroup costs little; the end looks again.
    fn remove_leftovers(&mut self) {
        self.leftovers.retain_mut(|(cgroup, tries)| {
            *tries += 1;
            !cgroup.remove() && *tries < limits::CGROUP_REMOVE_TRIES
        });
    }

    fn look_at_memory(&mut self) {
        let now = Instant::now();
        let mut over = Vec::new();
        self.watched.retain(|ticket| {
            let Some(living) = self.living.get_mut(ticket) else { return false };
            if living.memory.due().is_some_and(|due| due <= now)
                && living.memory.look(&living.cgroup, living.pid, now)
            {
                over.push(*ticket);
            }
            living.memory.due().is_some()
        });
        over.into_iter().for_each(|ticket| self.end_sandbox(ticket));
    }

    fn wait_readable(&self, fd: impl AsFd) {
        use rustix::event::{PollFd, PollFlags, poll};
        let tick = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        let _ = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&tick));
        let mut record = [0; 512];
        let _ = rustix::io::read(&self.signals, &mut record);
    }

    fn reply(&self, reply: &Reply) -> Result<(), Ended> {
        let bytes = reply.encode().map_err(|_| Ended)?;
        socket::send(&self.control, &bytes, &[], true).map_err(|_| Ended)
    }

    /// Kills everything, waits for it, and leaves no trace.
    fn end(&mut self) {
        let tickets: Vec<_> = self.living.keys().copied().collect();
        tickets.into_iter().for_each(|ticket| self.kill(ticket));
        let deadline = Instant::now() + limits::SHUTDOWN_WAIT;
        while !self.living.is_empty() && Instant::now() < deadline {
            self.reap();
            if !self.living.is_empty() {
                self.wait_readable(&self.signals);
            }
        }
        self.hierarchies.remove();
        self.disconnect();
    }
}

fn origin(start: Start, gifts: Gifts, order_end: Option<OwnedFd>) -> Origin {
    match (start, order_end) {
        (Start::Forked { template }, Some(status)) => Origin::Fork(Fork {
            template,
            gifts: Some(ForkGifts { channel: gifts.channel, output: gifts.output, status }),
            program: None,
            end: None,
        }),
        _ => Origin::Init { ended: None },
    }
}

impl Token {
    fn data(self) -> epoll::EventData {
        epoll::EventData::new_u64(match self {
            Self::Control => 0,
            Self::Signals => 1,
            Self::Status(ticket) => ticket * 8 + 8,
            Self::Memory(ticket) => ticket * 8 + 9,
            Self::Snapshot(ticket) => ticket * 8 + 10,
            Self::Undecided(ticket) => ticket * 8 + 11,
            Self::Orphans(ticket) => ticket * 8 + 12,
            Self::Gate(ticket) => ticket * 8 + 13,
            Self::Report(ticket) => ticket * 8 + 14,
        })
    }

    fn of(data: epoll::EventData) -> Self {
        match data.u64() {
            0 => Self::Control,
            1 => Self::Signals,
            other => {
                let ticket = other / 8 - 1;
                match other % 8 {
                    0 => Self::Status(ticket),
                    1 => Self::Memory(ticket),
                    2 => Self::Snapshot(ticket),
                    3 => Self::Undecided(ticket),
                    4 => Self::Orphans(ticket),
                    5 => Self::Gate(ticket),
                    _ => Self::Report(ticket),
                }
            }
        }
    }
}
