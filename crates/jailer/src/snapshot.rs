//! Snapshots, as sandboxd sees them: initialised programs that are forked into sandboxes of their own.
//!
//! The program has run the function's code, so nothing that it does or says is believed. It may enter namespaces only
//! while a fork is asked for, only in a child of its own, and sandboxd looks at the result from outside (identity,
//! capabilities, filter, namespaces, cgroups, and that nothing else stayed behind) before the fork goes on.
//!
//! One fork at a time for each snapshot: its program has one thread.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::cgroup::Cgroup;
use crate::init::{ORPHAN, SIGNALED};
use crate::limits;
use crate::nested;
use crate::process_tree;
use crate::protocol::ExitStatus;
use crate::socket;
use crate::sys;

/// What a fork enters, in this order: the user namespace gives the right to enter the others.
const NAMESPACES: [&str; 7] = ["user", "mnt", "pid", "ipc", "uts", "net", "cgroup"];

/// A snapshot's process.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Where forks are asked for.
    pub(crate) control: OwnedFd,
    /// Once its filter is there: host pid of the program, and where the calls come that wait for a decision.
    program: Option<(u32, OwnedFd)>,
    /// The restore for which it forks now.
    current: Option<u64>,
    /// Those whose sandboxes are ready to be forked into.
    waiting: VecDeque<u64>,
}

/// What a snapshot's program may say.
#[derive(Debug)]
pub(crate) enum Heard<'a> {
    /// Where calls will come that wait for a decision.
    Introduced(BorrowedFd<'a>),
    /// For this restore, the process that forked in turn has ended.
    Left(u64),
    Closed,
    Nothing,
}

/// A sandbox that is or was forked into.
#[derive(Debug)]
pub(crate) struct Restored {
    /// The ticket of its snapshot.
    pub(crate) of: u64,
    /// What the fork is given; taken when it is asked for.
    pub(crate) gifts: Option<(OwnedFd, OwnedFd)>,
    /// Where the fork says that it is in.
    pub(crate) gate: Option<OwnedFd>,
    /// Its host pid, once it said so.
    pub(crate) fork: Option<u32>,
    /// The process between snapshot and fork has ended.
    pub(crate) left: bool,
    /// Who made the sandbox has ended.
    pub(crate) builder_ended: bool,
    /// Pids of init and program, as the snapshot's sandbox has them.
    pub(crate) init_inside: u32,
    pub(crate) program_inside: u32,
    /// How the program ended.
    pub(crate) ended: Option<ExitStatus>,
}

/// The end of an orphan in a snapshot's sandbox.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Orphan {
    pub(crate) pid: u32,
    pub(crate) status: ExitStatus,
}

impl Snapshot {
    /// `control` hears who sends ([`socket::pair_with_senders`]).
    pub(crate) fn new(control: OwnedFd) -> Self {
        Self { control, program: None, current: None, waiting: VecDeque::new() }
    }

    /// What the program says.
    pub(crate) fn hear(&mut self) -> Heard<'_> {
        let mut byte = [0];
        match socket::receive_from(&self.control, &mut byte, false) {
            // The announcements' descriptor, sent before the program was exec'd.
            Ok((1, mut fds, Some(pid))) if self.program.is_none() && !fds.is_empty() => {
                let (_, announcements) = &*self.program.insert((pid, fds.remove(0)));
                Heard::Introduced(announcements.as_fd())
            }
            // The process between it and the fork has ended.
            Ok((1, ..)) if byte == *b"D" => self.current.map_or(Heard::Nothing, Heard::Left),
            Ok((0, ..)) => Heard::Closed,
            _ => Heard::Nothing,
        }
    }

    /// Host pid of the program.
    pub(crate) fn program(&self) -> Option<u32> {
        self.program.as_ref().map(|(pid, _)| *pid)
    }

    /// Decides the calls that wait: entering namespaces is for the program's own child while a fork is asked for.
    pub(crate) fn decide(&self) {
        let Some((program, announcements)) = &self.program else { return };
        if let Some(call) = sys::next_undecided(announcements.as_fd()) {
            let child = process_tree::parent(call.pid) == Some(*program);
            sys::decide(announcements.as_fd(), call, child && self.current.is_some());
        }
    }

    /// Queues a restore whose sandbox is ready.
    pub(crate) fn enqueue(&mut self, ticket: u64) {
        self.waiting.push_back(ticket);
    }

    /// The restore to be asked for next, if none is under way.
    pub(crate) fn next(&mut self) -> Option<u64> {
        if self.current.is_none() {
            self.current = self.waiting.pop_front();
            return self.current;
        }
        None
    }

    /// Forgets a restore that is over, one way or the other. `true` when it was the one under way.
    pub(crate) fn done(&mut self, ticket: u64) -> bool {
        self.waiting.retain(|waiting| *waiting != ticket);
        let was = self.current == Some(ticket);
        if was {
            self.current = None;
        }
        was
    }

    /// Asks for a fork into the sandbox of this init.
    pub(crate) fn ask(
        &self,
        init: u32,
        cgroup: &Cgroup,
        restored: &mut Restored,
    ) -> io::Result<()> {
        let (ours, theirs) = socket::pair_with_senders()?;
        let (channel, output) = restored.gifts.take().ok_or(io::ErrorKind::InvalidInput)?;
        let groups = cgroup.membership_files()?;
        let namespaces = NAMESPACES
            .iter()
            .map(|name| nested::namespace(init, name))
            .collect::<io::Result<Vec<_>>>()?;
        let mut fds = vec![channel.as_fd(), output.as_fd(), theirs.as_fd()];
        fds.extend(groups.iter().map(AsFd::as_fd));
        fds.extend(namespaces.iter().map(AsFd::as_fd));
        let count = u8::try_from(groups.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        socket::send(&self.control, &[count], &fds, false)?;
        restored.gate = Some(ours);
        Ok(())
    }
}

impl Restored {
    pub(crate) fn new(of: u64, channel: OwnedFd, output: OwnedFd) -> Self {
        Self {
            of,
            gifts: Some((channel, output)),
            gate: None,
            fork: None,
            left: false,
            builder_ended: false,
            init_inside: 0,
            program_inside: 0,
            ended: None,
        }
    }

    /// The fork says that it is in: its host pid.
    pub(crate) fn arrived(&self) -> Option<u32> {
        let mut byte = [0];
        match socket::receive_from(self.gate.as_ref()?, &mut byte, false) {
            Ok((1, _, Some(pid))) if byte == *b"R" => Some(pid),
            _ => None,
        }
    }

    /// Lets the fork go on.
    pub(crate) fn release(&mut self) -> bool {
        self.gate.take().is_some_and(|gate| socket::send(&gate, b"G", &[], false).is_ok())
    }
}

/// Why a fork does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It has ended, of whatever, and nothing of it stayed. Others may be forked.
    Ended,
    /// It is not what it has to be, or something of it stayed with the snapshot.
    Different(&'static str),
}

/// Whether a fork is what it has to be: confined as the snapshot's program was, in the namespaces of its own sandbox's
/// init, and in its cgroups; and whether nothing that entered a namespace stayed with the snapshot. To be asked when all
/// who had a part in making it have ended.
pub(crate) fn verify(
    fork: u32,
    init: u32,
    program: u32,
    own: &Cgroup,
    of_snapshot: &Cgroup,
) -> Result<(), Refusal> {
    nobody_stayed(program, of_snapshot).map_err(Refusal::Different)?;
    is_confined(fork, init, program, own).map_err(|difference| {
        // What has ended differs in many ways from what it was.
        if has_ended(fork) { Refusal::Ended } else { Refusal::Different(difference) }
    })
}

fn is_confined(fork: u32, init: u32, program: u32, own: &Cgroup) -> Result<(), &'static str> {
    let status = Status::of(fork).ok_or("it is gone")?;
    let expected = Status::of(program).ok_or("the snapshot is gone")?;
    if status.field("Uid:") != expected.field("Uid:")
        || status.field("Gid:") != expected.field("Gid:")
    {
        return Err("it has another identity");
    }
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        if status.field(set).is_none_or(|bits| bits.chars().any(|digit| digit != '0')) {
            return Err("it has capabilities");
        }
    }
    if status.field("NoNewPrivs:") != Some("1") || status.field("Seccomp:") != Some("2") {
        return Err("it has no filter");
    }
    if status.field("Threads:") != Some("1") {
        return Err("it has threads");
    }
    for name in NAMESPACES {
        let link = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/{name}")).ok();
        if link(fork).is_none() || link(fork) != link(init) {
            return Err("it is in another namespace");
        }
    }
    // Whatever else is in there entered with the fork, and has what the fork gave up.
    if !own.holds(fork) || own.processes().iter().any(|pid| *pid != fork && *pid != init) {
        return Err("it is in another cgroup, or not alone in its own");
    }
    Ok(())
}

/// Whether a process is gone or dead, or on its way there: one that exits has no namespaces any more before it counts as
/// dead, and comes back from there never. A first thread that has left others behind is no end.
fn has_ended(pid: u32) -> bool {
    /// `PF_EXITING`, which the kernel sets before it takes anything of a process away.
    const EXITING: u32 = 0x4;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Behind the name: state, parent, group, session, terminal, its group, flags.
    let mut fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ');
    let state = fields.next().unwrap_or_default();
    let flags = fields.nth(5).and_then(|flags| flags.parse().ok()).unwrap_or(0_u32);
    let is_over = matches!(state, "" | "Z" | "X") || flags & EXITING != 0;
    is_over && fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count) <= 1
}

/// Whether no process of the snapshot's sandbox kept the powers that entering gave it. One that ends just now is looked
/// at again: a chain of processes that each fork and end must not slip through.
fn nobody_stayed(program: u32, of_snapshot: &Cgroup) -> Result<(), &'static str> {
    let user = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/user")).ok();
    let (home, ours) = (user(program), user(std::process::id()));
    for _ in 0..limits::LOOKS_AT_SNAPSHOT {
        let seen: Vec<_> = of_snapshot.processes().into_iter().map(user).collect();
        if seen
            .iter()
            .flatten()
            .any(|namespace| Some(namespace) != home.as_ref() && Some(namespace) != ours.as_ref())
        {
            return Err("a process kept what it gained by entering");
        }
        if seen.iter().all(Option::is_some) {
            return Ok(());
        }
        std::thread::sleep(limits::LOOK_AGAIN);
    }
    Err("processes of the snapshot come and go")
}

/// The pid of a process in the process namespace of the snapshot's sandbox, one level below ours.
pub(crate) fn pid_inside(host_pid: u32) -> Option<u32> {
    Status::of(host_pid)?.field("NSpid:")?.split_whitespace().nth(1)?.parse().ok()
}

/// An orphan's end, if the record is one's.
pub(crate) fn read_orphan(record: [u8; 8]) -> Option<Orphan> {
    let [a, b, c, d, value @ ..] = record;
    if a & ORPHAN == 0 {
        return None;
    }
    let value = i32::from_le_bytes(value);
    let signaled = a & !ORPHAN == SIGNALED;
    Some(Orphan {
        pid: u32::from_le_bytes([b, c, d, 0]),
        status: if signaled { ExitStatus::Signal(value) } else { ExitStatus::Code(value) },
    })
}

/// `/proc/<pid>/status`.
struct Status(String);

impl Status {
    fn of(pid: u32) -> Option<Self> {
        fs::read_to_string(format!("/proc/{pid}/status")).ok().map(Self)
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};
    use std::time::{Duration, Instant};

    use super::*;

    /// Waits until the program has ended, or left its first thread; it is not collected. The kernel has no event for a first
    /// thread that leaves others behind, so it is asked again and again.
    fn seen_ending(child: &Child) {
        let is_dead = || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
            stat.contains(") Z ")
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        while !is_dead() {
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_process_has_ended_when_none_of_its_threads_is_left() {
        assert!(!has_ended(std::process::id()));
        let mut child = Command::new("true").spawn().unwrap();
        seen_ending(&child);
        assert!(has_ended(child.id()));
        child.wait().unwrap();
        assert!(has_ended(child.id()));
        // The first thread leaves, another stays.
        let code = "import ctypes, threading, time\n\
                    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n\
                    ctypes.CDLL(None).pthread_exit(None)";
        let mut child = Command::new("python3").args(["-c", code]).spawn().unwrap();
        seen_ending(&child);
        assert!(!has_ended(child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
