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
    server_entrances: Vec<PathBuf>,
}

/// The directories and files that sandboxd says when it is ready.
struct Ready {
    holds: Holds,
    cgroups: Vec<PathBuf>,
    server_entrances: Vec<PathBuf>,
}

impl Keeper {
    /// Starts sandboxd, and a thread that listens to it and replaces it. Blocks until it is ready.
    pub(crate) fn start(config: Config) -> Result<(Arc<Self>, Holds), Error> {
        gatemill_jailer::take_short_turns();
        let daemon = Daemon::start(&config)?;
        // Threads that this one starts from here on are in there with it. Without it, all is as on a machine without cgroups.
        for entrance in &daemon.server_entrances {
            let _ = std::fs::write(entrance, "0");
        }
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

impl Daemon {
    fn start(config: &Config) -> Result<Self, Error> {
        std::fs::create_dir_all(&config.state_dir).map_err(Error::Spawn)?;
        let state_dir = std::path::absolute(&config.state_dir).map_err(Error::Spawn)?;
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(|e| Error::Spawn(e.into()))?;
        let mut child = spawn_self(theirs).map_err(Error::Spawn)?;
        let Ready { holds, cgroups, server_entrances } = match configure(&ours, config, state_dir) {
            Ok(ready) => ready,
            Err(error) => {
                drop(ours);
                let _ = child.wait();
                return Err(error);
            }
        };
        let link = Arc::new(Link::new(ours).map_err(Error::Spawn)?);
        Ok(Self { child, link, holds, cgroups, server_entrances })
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

fn configure(socket: &OwnedFd, config: &Config, state_dir: PathBuf) -> Result<Ready, Error> {
    let Config { isolation, uid_base, ref network, .. } = *config;
    let network = network.clone();
    let request = Request::Configure { isolation, state_dir, uid_base, network };
    let bytes = request.encode().map_err(|_| Error::TooLong)?;
    socket::send(socket, &bytes, &[], true).map_err(|e| Error::Spawn(e.into()))?;
    let mut buffer = vec![0; gatemill_jailer::limits::MAX_MESSAGE_BYTES];
    let length = receive_in_time(socket, &mut buffer).map_err(Error::Spawn)?;
    match Reply::decode(&buffer[..length]) {
        Ok(Reply::Ready { enforced, cgroups, server_entrances, no_network }) => {
            Ok(Ready { holds: Holds { enforced, no_network }, cgroups, server_entrances })
        }
        Ok(Reply::Refused(failure)) => Err(Error::Unsupported(failure)),
        _ => Err(Error::Gone),
    }
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
