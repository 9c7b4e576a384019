//! The handle through which the server has sandboxes.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use gatemill_jailer::protocol::Request;
use gatemill_jailer::{Enforced, Isolation, Network, Spec, Start, socket};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::sync::Semaphore;

use crate::daemon::{Holds, Keeper, Preparing};
use crate::error::Error;
use crate::holder::Holder;
use crate::limits;
use crate::link::{Birth, Link, Pending};
use crate::sandbox::{API_ADDRESS, Sandbox};
use crate::template::Template;

/// How sandboxes are made, for all of one server.
#[derive(Debug, Clone)]
pub struct Config {
    /// The class of isolation.
    pub isolation: Isolation,
    /// A directory of the server's own; an empty mount point is made in it.
    pub state_dir: PathBuf,
    /// As root: the host uid (and gid) of uid slot 0. The 60,001 ids from there on have to be
    /// nobody's.
    pub uid_base: u32,
    /// What of the network programs reach.
    pub network: Network,
}

/// Makes sandboxes. Cheap to clone. sandboxd ends with [`Sandboxes::shutdown`] or with this process.
#[derive(Debug, Clone)]
pub struct Sandboxes {
    keeper: Arc<Keeper>,
    enforced: Enforced,
    no_network: Arc<str>,
    starts: Arc<Semaphore>,
}

/// Sandboxes that sandboxd still tries out.
#[derive(Debug)]
pub struct Preparation {
    config: Config,
    preparing: Preparing,
}

impl Preparation {
    /// The second half of [`Sandboxes::spawn`]: waits until sandboxd is ready.
    ///
    /// # Errors
    /// As [`Sandboxes::spawn`].
    pub fn ready(self) -> Result<Sandboxes, Error> {
        Sandboxes::new(self.config, self.preparing)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            isolation: Isolation::Sandbox,
            state_dir: PathBuf::from("/run/gatemill"),
            // Above every range that distributions, user databases and container tools hand out.
            uid_base: 2_000_000_000,
            network: Network::default(),
        }
    }
}

impl Sandboxes {
    /// Starts sandboxd, has it try a sandbox out, and returns when it is ready. To be called by a program
    /// whose `main` begins with [`gatemill_jailer::run_if_called`]. Blocks. When sandboxd dies, so do all
    /// its sandboxes, and another one takes its place; starts wait for that.
    ///
    /// # Errors
    /// [`Error::Spawn`], or [`Error::Unsupported`] when the machine cannot make such a sandbox.
    pub fn spawn(config: &Config) -> Result<Self, Error> {
        Self::prepare(config)?.ready()
    }

    /// The first half of [`Sandboxes::spawn`], before a program has threads: what sandboxd tries out takes its time, in
    /// which the program can do other things.
    ///
    /// # Errors
    /// As [`Sandboxes::spawn`].
    pub fn prepare(config: &Config) -> Result<Preparation, Error> {
        Ok(Preparation { config: config.clone(), preparing: Preparing::begin(config)? })
    }

    fn new(config: Config, preparing: Preparing) -> Result<Self, Error> {
        let (keeper, holds) = Keeper::start(config, preparing)?;
        let starts = Arc::new(Semaphore::new(limits::STARTS_AT_ONCE));
        let Holds { enforced, no_network } = holds;
        Ok(Self { keeper, enforced, no_network: no_network.into(), starts })
    }

    /// Makes a sandbox and starts its program; returns when the program was exec'd. Dropping the
    /// future kills what was begun.
    ///
    /// # Errors
    /// Any of [`Error`] but those of [`Sandboxes::spawn`].
    pub async fn start(&self, spec: Spec) -> Result<Sandbox, Error> {
        self.begin(spec, Start::AtOnce).await
    }

    /// As [`Sandboxes::start`], but the sandbox is no function's yet: what its program may know of it comes
    /// after [`Sandbox::assign`]. With a template, the program is a fork of it, and the program and
    /// arguments of the spec say only what it is. Where [`Sandboxes::can_park`].
    ///
    /// # Errors
    /// As [`Sandboxes::start`].
    pub async fn park(&self, spec: Spec, template: Option<&Template>) -> Result<Sandbox, Error> {
        let Some(template) = template else { return self.begin(spec, Start::Parked).await };
        let start = Start::Forked { template: template.ticket };
        // A ticket means something to the sandboxd alone that gave it.
        self.begin_with(Arc::clone(&template.link), spec, start).await
    }

    /// As [`Sandboxes::park`], without a program: what it becomes is sent over the channel after [`Sandbox::assign`], as
    /// [`gatemill_jailer::vacant::order`] has it. Of `spec`, what the program is is not heeded.
    ///
    /// # Errors
    /// As [`Sandboxes::start`].
    pub async fn park_vacant(&self, spec: Spec) -> Result<Sandbox, Error> {
        self.begin(spec, Start::Vacant).await
    }

    /// As [`Sandboxes::start`], with the `/tmp` that `ended` left ([`crate::Exit::left_tmp`]) and what is counted for it. `spec`
    /// has to have the uid, the memory and the size of `/tmp` of that one's.
    ///
    /// # Errors
    /// As [`Sandboxes::start`]. What `ended` left is lost then.
    pub async fn start_after(&self, ended: &Sandbox, spec: Spec) -> Result<Sandbox, Error> {
        ended.inherited.store(true, Ordering::Relaxed);
        let start = Start::After { ended: ended.ticket };
        // A ticket means something to the sandboxd alone that gave it.
        self.begin_with(Arc::clone(&ended.link), spec, start).await
    }

    /// As [`Sandboxes::start`], and the program, when it has initialised its function, can be forked into other sandboxes:
    /// it finds a socket as descriptor 4, on which it is asked to. Where [`Sandboxes::can_fork`].
    ///
    /// # Errors
    /// As [`Sandboxes::start`].
    pub async fn start_snapshot(&self, spec: Spec) -> Result<Sandbox, Error> {
        self.begin(spec, Start::Snapshot).await
    }

    /// Makes a sandbox into which the program of `snapshot` forks; returns when the fork is in and was looked at. Of `spec`,
    /// what the program is and what it sees is not heeded: that is the snapshot's. Ends with the snapshot at the latest.
    ///
    /// # Errors
    /// As [`Sandboxes::start`].
    pub async fn restore(&self, snapshot: &Sandbox, spec: Spec) -> Result<Sandbox, Error> {
        let start = Start::Restored { snapshot: snapshot.ticket };
        // A ticket means something to the sandboxd alone that gave it.
        self.begin_with(Arc::clone(&snapshot.link), spec, start).await
    }

    /// Starts a process that holds no function and can be forked into sandboxes, and waits until it is
    /// ready. Where [`Sandboxes::can_fork`].
    ///
    /// # Errors
    /// As [`Sandboxes::start`].
    pub async fn template(&self, spec: Spec) -> Result<Template, Error> {
        spec.validate()?;
        let link = self.keeper.link().await?;
        let Pending { ticket, started, exit } = link.expect().ok_or(Error::Gone)?;
        let request = Request::Template { ticket, spec: Box::new(spec) };
        let mut begun = Begun { link: Arc::clone(&link), ticket, done: false };
        let bytes = request.encode().map_err(|_| Error::TooLong)?;
        link.send(ticket, bytes, Vec::new());
        let outcome = tokio::time::timeout(limits::START_WAIT, started).await;
        let started = outcome.map_err(|_| Error::TimedOut)?.map_err(|_| Error::Gone)?;
        begun.done = true;
        let Birth { pid, .. } = started?;
        Ok(Template { pid, ticket, link, exit })
    }

    /// Whether sandboxes can be parked here: it takes root and [`Isolation::Sandbox`].
    pub fn can_park(&self) -> bool {
        self.enforced.own_uid
    }

    /// Whether programs can be forked from templates here: it takes a memory cgroup, too.
    pub fn can_fork(&self) -> bool {
        self.enforced.own_uid && self.enforced.memory
    }

    async fn begin(&self, spec: Spec, start: Start) -> Result<Sandbox, Error> {
        spec.validate()?;
        self.begin_with(self.keeper.link().await?, spec, start).await
    }

    async fn begin_with(
        &self,
        link: Arc<Link>,
        mut spec: Spec,
        start: Start,
    ) -> Result<Sandbox, Error> {
        spec.validate()?;
        if !link.take_id(&spec.id) {
            return Err(if link.is_gone() { Error::Gone } else { Error::IdInUse });
        }
        let id = Claim { link: Arc::clone(&link), id: Some(spec.id.clone()) };
        let _turn = self.starts.acquire().await.map_err(|_| Error::Gone)?;

        let (channel, program_channel) = UnixStream::pair().map_err(Error::Descriptors)?;
        channel.set_nonblocking(true).map_err(Error::Descriptors)?;
        // Where the kernel cannot, the system call filter takes away what makes them dangerous.
        socket::refuse_descriptors(&channel).map_err(Error::Descriptors)?;
        let (output, program_output) = pipe().map_err(Error::Descriptors)?;

        let outside = if self.enforced.network { None } else { Some(listen_outside(&mut spec)?) };
        let (doorway, init_doorway) = socket::pair().map_err(|e| Error::Descriptors(e.into()))?;

        let mut gifts = vec![program_channel.into(), program_output, init_doorway];
        let holder = match &spec.companions {
            Some(_) => {
                let (holder, theirs) = holder().map_err(Error::Descriptors)?;
                gifts.extend(theirs);
                Some(holder)
            }
            None => None,
        };
        let Pending { ticket, started, exit } = link.expect().ok_or(Error::Gone)?;
        let memory_bytes = spec.memory_bytes;
        let request = Request::Start { ticket, start, spec: Box::new(spec) };
        let Ok(bytes) = request.encode() else {
            link.withdraw(ticket);
            return Err(Error::TooLong);
        };
        let mut begun = Begun { link: Arc::clone(&link), ticket, done: false };
        link.send(ticket, bytes, gifts);

        let outcome = tokio::time::timeout(limits::START_WAIT, started).await;
        let Birth { pid, program, peak_file } =
            outcome.map_err(|_| Error::TimedOut)?.map_err(|_| Error::Gone)?.map_err(|failure| {
                begun.done = true;
                Error::from(failure)
            })?;
        begun.done = true;
        let listener = match outside {
            Some(listener) => listener,
            None => receive_listener(&doorway).map_err(Error::Descriptors)?,
        };
        Ok(Sandbox {
            id: id.keep(),
            channel,
            output: output.into(),
            listener,
            pid,
            program,
            holder,
            ticket,
            inside: self.enforced.network,
            link,
            exit,
            memory_bytes,
            peak_file,
            peak_seen: AtomicU64::new(0),
            is_vacant: start == Start::Vacant,
            inherited: AtomicBool::new(false),
            started: AtomicU32::new(0),
        })
    }

    /// Which walls and limits hold on this machine.
    pub fn enforced(&self) -> Enforced {
        self.enforced
    }

    /// Why programs do not reach what [`Config::network`] says, as a sentence for the operator. They reach nothing then.
    pub fn no_network(&self) -> Option<&str> {
        Some(&*self.no_network).filter(|reason| !reason.is_empty())
    }

    /// Resolves when sandboxd has ended and no other takes its place: no sandbox lives then and none can be started.
    pub async fn ended(&self) {
        self.keeper.ended().await;
    }

    /// Ends all sandboxes and sandboxd; returns when nothing of them is left, or after a bound.
    pub async fn shutdown(&self) {
        self.keeper.close();
        let _ = tokio::time::timeout(limits::SHUTDOWN_WAIT, self.keeper.ended()).await;
    }
}

/// A pipe whose reading end does not block.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (output, program_output) = pipe_with(PipeFlags::CLOEXEC)?;
    let flags = rustix::fs::fcntl_getfl(&output)?;
    rustix::fs::fcntl_setfl(&output, flags | rustix::fs::OFlags::NONBLOCK)?;
    Ok((output, program_output))
}

/// Our ends of what a sandbox with companions has more, and its own.
fn holder() -> io::Result<(Holder, [OwnedFd; 2])> {
    let (control, their_control) = socket::pair()?;
    socket::refuse_descriptors(&control)?;
    let (output, their_output) = pipe()?;
    Ok((Holder::new(control, output.into()), [their_control, their_output]))
}

/// The listener that the sandbox's init sent before its program began.
fn receive_listener(doorway: &OwnedFd) -> io::Result<TcpListener> {
    let (_, fds) = socket::receive(doorway, &mut [0; 1], false)?;
    let [listener] = <[OwnedFd; 1]>::try_from(fds).map_err(|_| io::ErrorKind::NotConnected)?;
    Ok(listener.into())
}

/// A listener on the host's loopback, for a sandbox without a network of its own, and its address in the variables.
fn listen_outside(spec: &mut Spec) -> Result<TcpListener, Error> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::Descriptors)?;
    listener.set_nonblocking(true).map_err(Error::Descriptors)?;
    let address = listener.local_addr().map_err(Error::Descriptors)?.to_string();
    let beside = spec.companions.iter_mut().flat_map(|companions| &mut companions.env);
    for (_, value) in spec.env.iter_mut().chain(beside) {
        if value.contains(API_ADDRESS) {
            *value = value.replace(API_ADDRESS, &address);
        }
    }
    Ok(listener)
}

/// An id that is free again unless a sandbox keeps it.
struct Claim {
    link: Arc<Link>,
    id: Option<String>,
}

impl Claim {
    fn keep(mut self) -> String {
        self.id.take().unwrap_or_default()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(id) = &self.id {
            self.link.forget_id(id);
        }
    }
}

/// A start that is killed unless it came to its end.
struct Begun {
    link: Arc<Link>,
    ticket: u64,
    done: bool,
}

impl Drop for Begun {
    fn drop(&mut self) {
        if !self.done {
            self.link.send_later(&Request::Kill(self.ticket));
        }
    }
}
