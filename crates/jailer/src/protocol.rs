//! The messages between the server and sandboxd: a fixed binary format over a `SOCK_SEQPACKET`
//! pair, one message a packet, integers little endian, strings and lists with a `u32` length.
//!
//! A format of our own because the privileged side should contain no general parser, and because
//! every length is bounded before it is believed. File descriptors travel beside
//! [`Request::Start`]: the program's end of the channel, the pipe for its output, and a socket over which the sandbox's init
//! sends the server its listener ([`limits::API_PORT`]); with companions also the socket of the process that holds them, and
//! the pipe for their output.

use std::ffi::OsStr;
use std::net::Ipv4Addr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::limits;
use crate::network::{Egress, Network, Pool};
use crate::spec::{Assignment, Bind, Companions, Enforced, Isolation, Spec, Start};
use crate::step::{Failure, Step};

/// What the server asks for. A ticket names one start and what became of it; the server counts them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The first message, once.
    Configure {
        /// The class of every sandbox of this sandboxd.
        isolation: Isolation,
        /// A directory of the server's own, where an empty mount point is made.
        state_dir: PathBuf,
        /// Host uid of slot 0.
        uid_base: u32,
        /// What of the network sandboxes reach.
        network: Network,
    },
    /// Start a sandbox; three descriptors come with it.
    Start {
        /// The ticket of this sandbox from here on.
        ticket: u64,
        /// How it begins.
        start: Start,
        /// What it shall be.
        spec: Box<Spec>,
    },
    /// Start a template: a process that is forked into sandboxes. No descriptors come with it.
    Template {
        /// Its ticket.
        ticket: u64,
        /// What it sees, runs and may use.
        spec: Box<Spec>,
    },
    /// Make a parked sandbox a function's.
    Assign {
        /// Which.
        ticket: u64,
        /// What it becomes.
        assignment: Box<Assignment>,
    },
    /// End the whole tree.
    Kill(u64),
    /// As [`Request::Kill`], and what is in its `/tmp` stays for [`Start::After`], as when a program ends by itself.
    End(u64),
    /// Give up what an ended sandbox left.
    Forget(u64),
    /// Stop the whole tree.
    Freeze(u64),
    /// Let it go on.
    Thaw(u64),
    /// Make a TCP socket inside a sandbox's network and send it over the unix socket that comes along. That is
    /// closed without one where it cannot be.
    Socket(u64),
    /// End all sandboxes and sandboxd itself.
    Shutdown,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

/// What sandboxd says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Configured, and the trial sandbox worked.
    Ready {
        /// What holds here.
        enforced: Enforced,
        /// The cgroup directories that the server removes if sandboxd dies.
        cgroups: Vec<PathBuf>,
        /// Why sandboxes do not reach what they should of the network; empty when they do.
        no_network: String,
    },
    /// Not configured: this step of the trial sandbox failed. sandboxd exits.
    Refused(Failure),
    /// The program was exec'd.
    Started {
        /// Whose.
        ticket: u64,
        /// Host pid of the sandbox's first process.
        pid: u32,
        /// Host pid of the program where it is no child of the first process, because it was forked from a
        /// template; 0 elsewhere.
        program: u32,
        /// The file that holds the peak of memory in bytes; empty where there is no memory cgroup.
        peak_file: PathBuf,
    },
    /// The sandbox could not be made; nothing of it is left.
    Failed {
        /// Whose.
        ticket: u64,
        /// Why.
        failure: Failure,
    },
    /// A parked sandbox is the function's now.
    Assigned {
        /// Whose.
        ticket: u64,
    },
    /// A started sandbox ended; nothing of it is left but what `left_tmp` says.
    Exited {
        /// Whose.
        ticket: u64,
        /// How the program ended.
        status: ExitStatus,
        /// The memory limit ended it, or one of its processes.
        oom_killed: bool,
        /// The most memory that it ever had, in bytes.
        memory_peak_bytes: u64,
        /// Its `/tmp` was not empty and is kept until [`Start::After`] or [`Request::Forget`].
        left_tmp: bool,
    },
}

/// A message that is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed message")]
pub struct Malformed;

impl Request {
    /// The message's bytes.
    ///
    /// # Errors
    /// [`Malformed`] when it would be longer than [`limits::MAX_MESSAGE_BYTES`].
    pub fn encode(&self) -> Result<Vec<u8>, Malformed> {
        let mut out = Writer::default();
        match self {
            Self::Configure { isolation, state_dir, uid_base, network } => {
                out.u8(0);
                out.u8(u8::from(*isolation == Isolation::Process));
                out.path(state_dir);
                out.u32(*uid_base);
                write_network(&mut out, network);
            }
            Self::Start { ticket, start, spec } => {
                out.tagged(1, *ticket);
                match *start {
                    Start::AtOnce => out.u8(0),
                    Start::Parked => out.u8(1),
                    Start::Forked { template } => out.tagged(2, template),
                    Start::Snapshot => out.u8(3),
                    Start::Restored { snapshot } => out.tagged(4, snapshot),
                    Start::After { ended } => out.tagged(5, ended),
                    Start::Vacant => out.u8(6),
                }
                write_spec(&mut out, spec);
            }
            Self::Kill(ticket) => out.tagged(2, *ticket),
            Self::Freeze(ticket) => out.tagged(3, *ticket),
            Self::Thaw(ticket) => out.tagged(4, *ticket),
            Self::Socket(ticket) => out.tagged(16, *ticket),
            Self::End(ticket) => out.tagged(17, *ticket),
            Self::Forget(ticket) => out.tagged(18, *ticket),
            Self::Shutdown => out.u8(5),
            Self::Template { ticket, spec } => {
                out.tagged(6, *ticket);
                write_spec(&mut out, spec);
            }
            Self::Assign { ticket, assignment } => {
                out.tagged(7, *ticket);
                write_assignment(&mut out, assignment);
            }
        }
        out.finish()
    }

    /// Reads a message; the whole of `bytes` must be it.
    ///
    /// # Errors
    /// [`Malformed`] when it is not one. Contents are checked by [`Spec::validate`], not here.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut input = Reader(bytes);
        let request = match input.u8()? {
            0 => Self::Configure {
                isolation: if input.bool()? { Isolation::Process } else { Isolation::Sandbox },
                state_dir: input.path()?,
                uid_base: input.u32()?,
                network: read_network(&mut input)?,
            },
            1 => Self::Start {
                ticket: input.u64()?,
                start: match input.u8()? {
                    0 => Start::AtOnce,
                    1 => Start::Parked,
                    2 => Start::Forked { template: input.u64()? },
                    3 => Start::Snapshot,
                    4 => Start::Restored { snapshot: input.u64()? },
                    5 => Start::After { ended: input.u64()? },
                    6 => Start::Vacant,
                    _ => return Err(Malformed),
                },
                spec: Box::new(read_spec(&mut input)?),
            },
            2 => Self::Kill(input.u64()?),
            3 => Self::Freeze(input.u64()?),
            4 => Self::Thaw(input.u64()?),
            5 => Self::Shutdown,
            6 => Self::Template { ticket: input.u64()?, spec: Box::new(read_spec(&mut input)?) },
            7 => Self::Assign {
                ticket: input.u64()?,
                assignment: Box::new(read_assignment(&mut input)?),
            },
            16 => Self::Socket(input.u64()?),
            17 => Self::End(input.u64()?),
            18 => Self::Forget(input.u64()?),
            _ => return Err(Malformed),
        };
        input.end()?;
        Ok(request)
    }
}

impl Reply {
    /// The message's bytes.
    ///
    /// # Errors
    /// [`Malformed`] when it would be longer than [`limits::MAX_MESSAGE_BYTES`].
    pub fn encode(&self) -> Result<Vec<u8>, Malformed> {
        let mut out = Writer::default();
        match self {
            Self::Ready { enforced, cgroups, no_network } => {
                out.u8(0);
                write_enforced(&mut out, enforced);
                out.list(cgroups, |out, path| out.path(path));
                out.str(no_network);
            }
            Self::Refused(failure) => {
                out.u8(1);
                out.failure(*failure);
            }
            Self::Started { ticket, pid, program, peak_file } => {
                out.tagged(2, *ticket);
                out.u32(*pid);
                out.u32(*program);
                out.path(peak_file);
            }
            Self::Failed { ticket, failure } => {
                out.tagged(3, *ticket);
                out.failure(*failure);
            }
            Self::Exited { ticket, status, oom_killed, memory_peak_bytes, left_tmp } => {
                out.tagged(4, *ticket);
                let (kind, value) = match *status {
                    ExitStatus::Code(code) => (0, code),
                    ExitStatus::Signal(signal) => (1, signal),
                };
                out.u8(kind);
                out.i32(value);
                out.u8(u8::from(*oom_killed));
                out.u64(*memory_peak_bytes);
                out.u8(u8::from(*left_tmp));
            }
            Self::Assigned { ticket } => out.tagged(5, *ticket),
        }
        out.finish()
    }

    /// Reads a message; the whole of `bytes` must be it.
    ///
    /// # Errors
    /// [`Malformed`] when it is not one.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut input = Reader(bytes);
        let reply = match input.u8()? {
            0 => Self::Ready {
                enforced: read_enforced(&mut input)?,
                cgroups: input.list(limits::MAX_BINDS, Reader::path)?,
                no_network: input.str()?,
            },
            1 => Self::Refused(input.failure()?),
            2 => Self::Started {
                ticket: input.u64()?,
                pid: input.u32()?,
                program: input.u32()?,
                peak_file: input.path()?,
            },
            3 => Self::Failed { ticket: input.u64()?, failure: input.failure()? },
            4 => Self::Exited {
                ticket: input.u64()?,
                status: match (input.bool()?, input.i32()?) {
                    (false, code) => ExitStatus::Code(code),
                    (true, signal) => ExitStatus::Signal(signal),
                },
                oom_killed: input.bool()?,
                memory_peak_bytes: input.u64()?,
                left_tmp: input.bool()?,
            },
            5 => Self::Assigned { ticket: input.u64()? },
            _ => return Err(Malformed),
        };
        input.end()?;
        Ok(reply)
    }
}

fn write_spec(out: &mut Writer, spec: &Spec) {
    out.str(&spec.id);
    out.path(&spec.program);
    out.list(&spec.args, |out, arg| out.str(arg));
    out.list(&spec.env, |out, (name, value)| {
        out.str(name);
        out.str(value);
    });
    out.path(&spec.cwd);
    out.list(spec.root.as_slice(), |out, root| out.path(root));
    write_binds(out, &spec.binds);
    out.u32(spec.uid);
    out.u64(spec.memory_bytes);
    out.u32(spec.cpu_millis);
    out.u32(spec.cpu_share_millis);
    out.u64(spec.tmp_bytes);
    out.u32(spec.pids_max);
    out.u32(spec.nofile);
    out.list(spec.companions.as_slice(), |out, companions| {
        out.list(&companions.programs, |out, program| out.path(program));
        out.list(&companions.env, |out, (name, value)| {
            out.str(name);
            out.str(value);
        });
    });
}

fn read_companions(input: &mut Reader<'_>) -> Result<Companions, Malformed> {
    Ok(Companions {
        programs: input.list(limits::MAX_COMPANIONS, Reader::path)?,
        env: input.list(limits::MAX_ENV, |input| Ok((input.str()?, input.str()?)))?,
    })
}

fn read_spec(input: &mut Reader<'_>) -> Result<Spec, Malformed> {
    Ok(Spec {
        id: input.str()?,
        program: input.path()?,
        args: input.list(limits::MAX_ARGS, Reader::str)?,
        env: input.list(limits::MAX_ENV, |input| Ok((input.str()?, input.str()?)))?,
        cwd: input.path()?,
        root: input.list(1, Reader::path)?.pop(),
        binds: read_binds(input)?,
        uid: input.u32()?,
        memory_bytes: input.u64()?,
        cpu_millis: input.u32()?,
        cpu_share_millis: input.u32()?,
        tmp_bytes: input.u64()?,
        pids_max: input.u32()?,
        nofile: input.u32()?,
        companions: input.list(1, read_companions)?.pop(),
    })
}

fn write_network(out: &mut Writer, network: &Network) {
    out.u8(match network.egress {
        Egress::None => 0,
        Egress::Internet => 1,
        Egress::All => 2,
    });
    out.u32(network.pool.first().into());
    out.u8(network.pool.prefix());
    out.list(&network.resolvers, |out, resolver| out.u32((*resolver).into()));
}

fn read_network(input: &mut Reader<'_>) -> Result<Network, Malformed> {
    Ok(Network {
        egress: match input.u8()? {
            0 => Egress::None,
            1 => Egress::Internet,
            2 => Egress::All,
            _ => return Err(Malformed),
        },
        pool: Pool::new(input.u32()?.into(), input.u8()?).map_err(|_| Malformed)?,
        resolvers: input.list(limits::MAX_RESOLVERS, |input| input.u32().map(Ipv4Addr::from))?,
    })
}

fn write_assignment(out: &mut Writer, assignment: &Assignment) {
    write_binds(out, &assignment.binds);
    out.u64(assignment.memory_bytes);
    out.u32(assignment.cpu_millis);
    out.u32(assignment.cpu_share_millis);
    out.u64(assignment.tmp_bytes);
}

fn read_assignment(input: &mut Reader<'_>) -> Result<Assignment, Malformed> {
    Ok(Assignment {
        binds: read_binds(input)?,
        memory_bytes: input.u64()?,
        cpu_millis: input.u32()?,
        cpu_share_millis: input.u32()?,
        tmp_bytes: input.u64()?,
    })
}

fn write_binds(out: &mut Writer, binds: &[Bind]) {
    out.list(binds, |out, bind| {
        out.path(&bind.host);
        out.path(&bind.inside);
    });
}

fn read_binds(input: &mut Reader<'_>) -> Result<Vec<Bind>, Malformed> {
    input.list(limits::MAX_BINDS, |input| Ok(Bind { host: input.path()?, inside: input.path()? }))
}

fn write_enforced(out: &mut Writer, enforced: &Enforced) {
    let flags = [
        enforced.own_uid,
        enforced.file_system,
        enforced.namespaces,
        enforced.user_namespace,
        enforced.network,
        enforced.seccomp,
        enforced.memory,
        enforced.cpu,
        enforced.pids,
        enforced.freezer,
        enforced.tmp_size,
    ];
    flags.into_iter().for_each(|flag| out.u8(u8::from(flag)));
    out.u8(enforced.landlock);
    out.u8(enforced.cgroup_version);
}

fn read_enforced(input: &mut Reader<'_>) -> Result<Enforced, Malformed> {
    Ok(Enforced {
        own_uid: input.bool()?,
        file_system: input.bool()?,
        namespaces: input.bool()?,
        user_namespace: input.bool()?,
        network: input.bool()?,
        seccomp: input.bool()?,
        memory: input.bool()?,
        cpu: input.bool()?,
        pids: input.bool()?,
        freezer: input.bool()?,
        tmp_size: input.bool()?,
        landlock: input.u8()?,
        cgroup_version: input.u8()?,
    })
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn u8(&mut self, value: u8) {
        self.0.push(value);
    }
    fn u32(&mut self, value: u32) {
        self.0.extend(value.to_le_bytes());
    }
    fn i32(&mut self, value: i32) {
        self.0.extend(value.to_le_bytes());
    }
    fn u64(&mut self, value: u64) {
        self.0.extend(value.to_le_bytes());
    }
    fn tagged(&mut self, tag: u8, ticket: u64) {
        self.u8(tag);
        self.u64(ticket);
    }
    fn bytes(&mut self, value: &[u8]) {
        // A length that does not fit makes the message too long, which `finish` refuses.
        self.u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
        self.0.extend(value);
    }
    fn str(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }
    fn path(&mut self, value: &Path) {
        self.bytes(value.as_os_str().as_bytes());
    }
    fn failure(&mut self, failure: Failure) {
        self.u8(failure.step as u8);
        self.i32(failure.errno);
    }
    fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.u32(u32::try_from(items.len()).unwrap_or(u32::MAX));
        items.iter().for_each(|item| write(self, item));
    }
    fn finish(self) -> Result<Vec<u8>, Malformed> {
        if self.0.len() > limits::MAX_MESSAGE_BYTES { Err(Malformed) } else { Ok(self.0) }
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take(&mut self, count: usize) -> Result<&[u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }
    fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }
    fn bool(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }
    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }
    fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_le_bytes)
    }
    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }
    fn bytes(&mut self) -> Result<&[u8], Malformed> {
        let length = self.u32()? as usize;
        self.take(length)
    }
    fn str(&mut self) -> Result<String, Malformed> {
        str::from_utf8(self.bytes()?).map(str::to_owned).map_err(|_| Malformed)
    }
    fn path(&mut self) -> Result<PathBuf, Malformed> {
        self.bytes().map(|bytes| PathBuf::from(OsStr::from_bytes(bytes)))
    }
    fn failure(&mut self) -> Result<Failure, Malformed> {
        let step = Step::from_byte(self.u8()?).ok_or(Malformed)?;
        Ok(Failure { step, errno: self.i32()? })
    }
    fn list<T>(
        &mut self,
        most: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = self.u32()? as usize;
        if count > most {
            return Err(Malformed);
        }
        (0..count).map(|_| read(self)).collect()
    }
    fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

#[cfg(test)]
mod tests;
