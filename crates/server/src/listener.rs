//! The data-plane threads: one current-thread runtime each, with a listener of its own on the shared address.
//!
//! The kernel spreads connections over the listeners (`SO_REUSEPORT`), so that a call is accepted, served and
//! answered on one thread without waking another; that wake-up would cost more than the work. Threads keep running
//! after the last connection has ended, until [`DataPlane::end`]: what they started, such as calls whose client hung
//! up, runs on their reactors.

use std::{
    any::Any,
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::{self, JoinHandle},
};

use http::{HeaderValue, StatusCode, Version, header};
use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::TcpStream,
    sync::{Semaphore, watch},
};

use crate::{dispatch, error::Error, in_flight::InFlight, limits, machine, server::Server};

/// Bound sockets, one per thread, all on one address.
#[derive(Debug)]
pub(crate) struct Listeners {
    address: SocketAddr,
    sockets: Vec<TcpListener>,
}

impl Listeners {
    /// Binds `count` listeners to one address; port 0 picks a free port for all of them.
    ///
    /// The first is bound without `SO_REUSEPORT`, so that a port that anyone else listens on is refused, even by a
    /// second Gatemill of the same user; only then is it shared with the others.
    ///
    /// # Errors
    /// When the port is in use or the address is not ours.
    pub(crate) fn bind(address: SocketAddr, count: usize) -> Result<Self, Error> {
        if let Some(inherited) = Self::inherited(address, count) {
            return Ok(inherited);
        }
        let refused = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => Error::PortBusy { address },
            _ => Error::Listen { address, source },
        };
        let first = listening(address, false).map_err(refused)?;
        let address = first.local_addr().map_err(refused)?;
        let mut sockets = vec![first];
        for _ in 1..count {
            sockets.push(listening(address, true).map_err(refused)?);
        }
        Ok(Self { address, sockets })
    }

    /// Sockets of our predecessor, or of systemd, that listen where we shall: one for each thread, of which some are
    /// shared when there are not enough.
    fn inherited(address: SocketAddr, count: usize) -> Option<Self> {
        let variable = |name: &str| std::env::var_os(name)?.into_string().ok();
        let sockets = gatemill_sandbox::handover::inherited(variable);
        let sockets: Vec<TcpListener> = sockets.into_iter().map(TcpListener::from).collect();
        let is_meant = |at: SocketAddr| {
            at.ip() == address.ip() && (at.port() == address.port() || address.port() == 0)
        };
        let at = sockets.first()?.local_addr().ok().filter(|at| is_meant(*at))?;
        let usable = sockets.iter().all(|socket| {
            socket.local_addr().is_ok_and(|other| other == at)
                && socket.set_nonblocking(true).is_ok()
        });
        if !usable {
            tracing::warn!("the sockets that were handed over are not used: they listen elsewhere");
            return None;
        }
        // All of them are kept, even beyond the threads: connections may wait in each.
        let shared = (0..count.max(sockets.len())).map(|n| sockets[n % sockets.len()].try_clone());
        let sockets = shared.collect::<io::Result<_>>().ok()?;
        Some(Self { address: at, sockets })
    }

    /// The address, with the port that was picked.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

fn listening(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    socket.set_reuse_port(true)?;
    socket.listen(limits::BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// How far a stop has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Connections are accepted.
    Open,
    /// No new connections.
    Leaving,
    /// No new connections; those that are there end after their running request.
    Closing,
    /// The threads end.
    Ended,
}

/// The running threads.
#[derive(Debug)]
pub(crate) struct DataPlane {
    threads: Vec<JoinHandle<()>>,
    phase: watch::Sender<Phase>,
    in_flight: InFlight,
    /// Copies of the sockets, for a successor.
    listeners: Vec<TcpListener>,
}

impl DataPlane {
    /// Starts one thread per listener.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub(crate) fn start(listeners: Listeners, server: &Arc<Server>) -> Result<Self, Error> {
        let (phase, _) = watch::channel(Phase::Open);
        let cores = machine::cores();
        // One count for all threads: the kernel spreads connections evenly, but not exactly.
        let room = Arc::new(Semaphore::new(machine::connections_max()));
        let copies = listeners.sockets.iter().map(TcpListener::try_clone);
        let copies = copies.collect::<io::Result<Vec<_>>>();
        let copies = copies
            .map_err(|source| Error::System { doing: "keep the listening sockets", source })?;
        let mut threads = Vec::new();
        for (index, socket) in listeners.sockets.into_iter().enumerate() {
            let core = server.configuration.pin_threads.then(|| cores[index % cores.len()]);
            let (server, phase, room) = (Arc::clone(server), phase.subscribe(), Arc::clone(&room));
            let body = move || run(socket, index, core, room, server, phase);
            let thread = thread::Builder::new().name(format!("data-{index}")).spawn(body);
            threads
                .push(thread.map_err(|source| Error::System { doing: "start a thread", source })?);
        }
        Ok(Self { threads, phase, in_flight: server.in_flight.clone(), listeners: copies })
    }

    /// Stops accepting.
    pub(crate) fn leave(&mut self) {
        self.listeners.clear();
        self.phase.send_replace(Phase::Leaving);
    }

    /// Copies of the listening sockets: as long as one of them is open, connections queue up.
    ///
    /// # Errors
    /// When the system has no room for a descriptor.
    pub(crate) fn listeners(&self) -> Result<Vec<TcpListener>, Error> {
        let copies = self.listeners.iter().map(TcpListener::try_clone).collect::<io::Result<_>>();
        copies.map_err(|source| Error::System { doing: "keep the listening sockets", source })
    }

    /// Tells connections to end after their running request.
    pub(crate) fn close(&self) {
        self.phase.send_replace(Phase::Closing);
    }

    /// Waits until every connection and every API call has ended.
    pub(crate) async fn drained(&self) {
        self.in_flight.none().await;
    }

    /// Ends the threads, with whatever still runs on them.
    pub(crate) fn end(self) {
        self.phase.send_replace(Phase::Ended);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a data-plane thread had panicked");
            }
        }
    }
}

fn run(
    socket: TcpListener,
    index: usize,
    core: Option<usize>,
    room: Arc<Semaphore>,
    server: Arc<Server>,
    mut phase: watch::Receiver<Phase>,
) {
    if let Some(core) = core {
        machine::keep_to(core);
    }
    gatemill_sandbox::take_short_turns();
    gatemill_lambda::enter_shard(index, core);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!(%error, index, "a data-plane thread has no reactor"),
    };
    let closing = phase.clone();
    runtime.block_on(async {
        let serving = async {
            match tokio::net::TcpListener::from_std(socket) {
                Ok(listener) => accept_all(listener, room, server, closing).await,
                Err(error) => tracing::error!(%error, index, "a listener cannot be watched"),
            }
            // What calls have started may still need this thread's reactor.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = serving => {}
            () = keep_a_timer_armed() => {}
            // The sender lives as long as the data plane does: its loss ends the thread as well.
            _ = phase.wait_for(|phase| *phase == Phase::Ended) => {}
        }
    });
}

/// Keeps a timer armed that is due before those of calls.
///
/// A timer that becomes the earliest one wakes the reactor by a write to a descriptor, even from the reactor's own thread,
/// and the reactor then looks once more for nothing. Every call sets timers, and with this one before them none of them is
/// the earliest: that saves two writes and a wait per call.
async fn keep_a_timer_armed() {
    let mut ticks = tokio::time::interval(limits::TIMER_ARMED_EVERY);
    loop {
        ticks.tick().await;
    }
}

async fn accept_all(
    listener: tokio::net::TcpListener,
    room: Arc<Semaphore>,
    server: Arc<Server>,
    phase: watch::Receiver<Phase>,
) {
    let http = http();
    let mut leaving = phase.clone();
    let mut leaving = std::pin::pin!(leaving.wait_for(|phase| *phase != Phase::Open));
    loop {
        let accepted = async {
            let permit = Arc::clone(&room).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            biased;
            _ = &mut leaving => break,
            accepted = accepted => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // A client that left is its own matter; without descriptors, waiting is all there is to do.
                if !matches!(error.kind(), io::ErrorKind::ConnectionAborted) {
                    tracing::warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(limits::ACCEPT_RETRY).await;
                }
                continue;
            }
        };
        serve_connection(&http, stream, peer, Arc::clone(&server), permit, phase.clone());
    }
}

fn http() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        // A client that has sent its request and hung up is found when the answer is written. To look for it earlier
        // would drop a call whose body has come but which has not begun, and cost every call a read that finds nothing.
        .half_close(true)
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEAD_WAIT_MAX)
        .max_buf_size(limits::HEAD_BYTES_MAX);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(limits::HTTP2_PING_EVERY)
        .max_concurrent_streams(limits::HTTP2_STREAMS_MAX)
        .max_header_list_size(limits::HTTP2_HEADER_LIST_BYTES_MAX);
    http
}

fn serve_connection<P: Send + Sync + 'static>(
    http: &auto::Builder<TokioExecutor>,
    stream: TcpStream,
    peer: SocketAddr,
    server: Arc<Server>,
    permit: P,
    mut phase: watch::Receiver<Phase>,
) {
    // Without it, small answers wait for the client's delayed acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, %peer, "TCP_NODELAY cannot be set");
    }
    // A WebSocket connection holds it as well, and for longer.
    let held = Arc::new((server.in_flight.enter(), permit));
    let holding = Arc::clone(&held);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let server = Arc::clone(&server);
        if request.headers().contains_key(header::UPGRADE) {
            request.extensions_mut().insert::<Holding>(Arc::clone(&holding) as _);
        }
        async move {
            let is_http1 = request.version() == Version::HTTP_11;
            let in_flight = server.in_flight.clone();
            let mut answered = dispatch::dispatch(server, peer, request).await;
            // The client then connects anew, and comes to our successor; HTTP/2 has a word of its own for it.
            if let (Ok(response), true) = (&mut answered, is_http1 && in_flight.is_leaving())
                && response.status() != StatusCode::SWITCHING_PROTOCOLS
            {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            answered
        }
    });
    let connection =
        http.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
    tokio::spawn(async move {
        let mut connection = std::pin::pin!(connection);
        // What it gives is a lock, which must not be kept.
        let closing = async {
            let _ = phase.wait_for(|it| !matches!(it, Phase::Open | Phase::Leaving)).await;
        };
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => ended,
            () = closing => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(error = %error, %peer, "a connection ended early");
        }
        drop(held);
    });
}

/// What a connection holds for as long as it is open, in whatever protocol: its place among the connections, and among
/// what a stop waits for. A request that may change the protocol carries it.
pub(crate) type Holding = Arc<dyn Any + Send + Sync>;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn any_port() -> SocketAddr {
        (Ipv4Addr::LOCALHOST, 0).into()
    }

    #[test]
    fn all_listeners_share_the_port_that_was_picked() {
        let listeners = Listeners::bind(any_port(), 4).unwrap();
        assert_ne!(listeners.address().port(), 0);
        for socket in &listeners.sockets {
            assert_eq!(socket.local_addr().unwrap(), listeners.address());
        }
    }

    #[test]
    fn a_port_of_another_gatemill_is_refused_although_it_is_shared() {
        let first = Listeners::bind(any_port(), 2).unwrap();
        let second = Listeners::bind(first.address(), 2).unwrap_err();
        assert!(matches!(second, Error::PortBusy { .. }), "{second}");
        assert!(second.to_string().contains("--listen 127.0.0.1:PORT"), "{second}");
    }

    #[test]
    fn a_port_is_free_again_after_its_listeners_are_gone() {
        let first = Listeners::bind(any_port(), 2).unwrap();
        let address = first.address();
        drop(first);
        assert_eq!(Listeners::bind(address, 2).unwrap().address(), address);
    }
}
