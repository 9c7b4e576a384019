//! sandboxd as a child of this process: its start, and a new one when it ends without being asked to.
//!
//! All sandboxes die with their sandboxd, and nothing of them is kept, so there is nothing to take over: what runs fails,
//! what is asked for meanwhile waits for the next one. One that cannot be started, or that dies again and again, is not
//! replaced for ever.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use gatemill_jailer::protocol::{Reply, Request};
use gatemill_jailer::{Enforced, ROLE, remove_cgroups, socket};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tokio::sync::watch;

use crate::error::Error;
use crate::limits;
use crate::link::Link;
use crate::sandboxes::Config;

/// Where sandboxd stands.
#[derive(Debug, Clone)]
enum Stage {
    /// It lives, and this is the way to it; or it died just now.
    Lives(Arc<Link>),
    /// It is being replaced.
    Replaced,
    /// There is none any more.
    Ended,
}

/// Whoever is sandboxd now.
#[derive(Debug)]
pub(crate) struct Keeper {
    stage: watch::Sender<Stage>,
    closing: AtomicBool,
}

/// What sandboxd says of itself when it is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holds {
    pub(crate) enforced: Enforced,
    pub(crate) no_network: String,
}

/// One sandboxd.
struct Daemon {
    child: Child,
    link: Arc<Link>,
    holds: Holds,
    cgroups: Vec<PathBuf>,
}

/// A sandboxd that tries a sandbox out.
#[derive(Debug)]
pub(crate) struct Preparing {
    child: Child,
    socket: OwnedFd,
}

impl Keeper {
    /// Waits until sandboxd is ready, and starts a thread that listens to it and replaces it.
    pub(crate) fn start(config: Config, begun: Preparing) -> Result<(Arc<Self>, Holds), Error> {
        let daemon = begun.ready()?;
        let holds = daemon.holds.clone();
        let (stage, _) = watch::channel(Stage::Lives(Arc::clone(&daemon.link)));
        let keeper = Arc::new(Self { stage, closing: AtomicBool::new(false) });
        let thread = Arc::clone(&keeper);
        std::thread::Builder::new()
            .name("sandboxd-link".into())
            .spawn(move || thread.keep(&config, daemon))
            .map_err(Error::Spawn)?;
        Ok((keeper, holds))
    }

    /// The thread's body: until sandboxd ends and is not replaced.
    fn keep(&self, config: &Config, mut daemon: Daemon) {
        let mut quick_deaths = 0;
        loop {
            let begun = Instant::now();
            daemon.link.run();
            let status = daemon.child.wait();
            if !self.is_closing() {
                tracing::error!(?status, "sandboxd has ended, and every sandbox with it");
                self.stage.send_replace(Stage::Replaced);
            }
            // It may have been killed: then its cgroups are ours to remove.
            remove_cgroups(&daemon.cgroups);
            quick_deaths = if begun.elapsed() < limits::LIFE_MIN { quick_deaths + 1 } else { 0 };
            match self.replace(config, &daemon.holds, quick_deaths) {
                Some(next) => daemon = next,
                None => break,
            }
            self.stage.send_replace(Stage::Lives(Arc::clone(&daemon.link)));
            tracing::warn!(pid = daemon.child.id(), "a new sandboxd has taken its place");
        }
        self.stage.send_replace(Stage::Ended);
    }

    /// Another sandboxd that holds what the last one did; `None` when there is to be none.
    fn replace(&self, config: &Config, before: &Holds, quick_deaths: u32) -> Option<Daemon> {
        for tried in quick_deaths..limits::REPLACEMENTS_MAX {
            if self.is_closing() {
                return None;
            }
            // At once the first time; one that dies at its start is not started in a loop.
            std::thread::sleep(limits::REPLACEMENT_PAUSE * tried);
            match Daemon::start(config) {
                Ok(next) if next.holds == *before => return Some(next),
                Ok(weaker) => {
                    tracing::error!(?before, now = ?weaker.holds, "a new sandboxd holds less than the last one");
                    weaker.end();
                }
                Err(error) => tracing::error!(%error, "sandboxd cannot be started again"),
            }
        }
        None
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// The way to sandboxd. Waits for the next one while it is being replaced.
    pub(crate) async fn link(&self) -> Result<Arc<Link>, Error> {
        let mut stage = self.stage.subscribe();
        let settled = stage.wait_for(|stage| match stage {
            Stage::Lives(link) => !link.is_gone() || self.is_closing(),
            Stage::Replaced => false,
            Stage::Ended => true,
        });
        match tokio::time::timeout(limits::REPLACEMENT_WAIT, settled).await {
            Ok(Ok(stage)) => match &*stage {
                Stage::Lives(link) => Ok(Arc::clone(link)),
                Stage::Replaced | Stage::Ended => Err(Error::Gone),
            },
            _ => Err(Error::Gone),
        }
    }

    /// Asks sandboxd to end, and for no other to come.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        if let Stage::Lives(link) = &*self.stage.borrow() {
            link.send_later(&Request::Shutdown);
        }
    }

    /// Resolves when there is no sandboxd and none will come.
    pub(crate) async fn ended(&self) {
        let mut stage = self.stage.subscribe();
        let _ = stage.wait_for(|stage| matches!(stage, Stage::Ended)).await;
    }
}

impl Preparing {
    /// Starts sandboxd; it tries a sandbox out while the caller does other things.
    pub(crate) fn begin(config: &Config) -> Result<Self, Error> {
        std::fs::create_dir_all(&config.state_dir).map_err(Error::Spawn)?;
        let state_dir = std::path::absolute(&config.state_dir).map_err(Error::Spawn)?;
        let (socket, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(|e| Error::Spawn(e.into()))?;
        let child = spawn_self(theirs).map_err(Error::Spawn)?;
        let mut begun = Self { child, socket };
        match begun.configure(config, state_dir) {
            Ok(()) => Ok(begun),
            Err(error) => Err(begun.fail(error)),
        }
    }

    /// Tells sandboxd what it shall be.
    fn configure(&self, config: &Config, state_dir: PathBuf) -> Result<(), Error> {
        let Config { isolation, uid_base, ref network, .. } = *config;
        let network = network.clone();
        let request = Request::Configure { isolation, state_dir, uid_base, network };
        let bytes = request.encode().map_err(|_| Error::TooLong)?;
        socket::send(&self.socket, &bytes, &[], true).map_err(|e| Error::Spawn(e.into()))?;
        Ok(())
    }

    /// Waits for the end of the trial.
    fn ready(mut self) -> Result<Daemon, Error> {
        let (holds, cgroups) = match self.reply() {
            Ok(Reply::Ready { enforced, cgroups, no_network }) => {
                (Holds { enforced, no_network }, cgroups)
            }
            Ok(Reply::Refused(failure)) => return Err(self.fail(Error::Unsupported(failure))),
            Ok(_) => return Err(self.fail(Error::Gone)),
            Err(error) => return Err(self.fail(error)),
        };
        let link = Arc::new(Link::new(self.socket).map_err(Error::Spawn)?);
        Ok(Daemon { child: self.child, link, holds, cgroups })
    }

    fn reply(&self) -> Result<Reply, Error> {
        let mut buffer = vec![0; gatemill_jailer::limits::MAX_MESSAGE_BYTES];
        let length = receive_in_time(&self.socket, &mut buffer).map_err(Error::Spawn)?;
        Reply::decode(&buffer[..length]).map_err(|_| Error::Gone)
    }

    /// Lets it end, and passes the reason on.
    fn fail(&mut self, error: Error) -> Error {
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
        let _ = self.child.wait();
        error
    }
}

impl Daemon {
    fn start(config: &Config) -> Result<Self, Error> {
        Preparing::begin(config)?.ready()
    }

    fn end(mut self) {
        self.link.send_later(&Request::Shutdown);
        let _ = self.child.wait();
    }
}

/// This program again, as sandboxd, with its socket as standard input and no environment.
fn spawn_self(socket: OwnedFd) -> io::Result<Child> {
    Command::new("/proc/self/exe")
        .arg0("gatemill")
        .arg(ROLE)
        .env_clear()
        .current_dir("/")
        .stdin(socket)
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
}

fn receive_in_time(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    let deadline = Instant::now() + limits::READY_WAIT;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let timeout = rustix::event::Timespec::try_from(left).map_err(|_| io::ErrorKind::Other)?;
        poll(&mut [PollFd::new(&socket.as_fd(), PollFlags::IN)], Some(&timeout))?;
        match socket::receive(socket, buffer, false) {
            Ok((length, _)) => return Ok(length),
            Err(rustix::io::Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
