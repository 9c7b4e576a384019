//! The data-plane threads: one current-thread runtime each, with a listener of its own on the shared address.
//!
//! The kernel spreads connections over the listeners (`SO_REUSEPORT`), so that a call is accepted, served and
//! answered on one thread without waking another; that wake-up would cost more than the work. Threads keep running
//! after the last connection has ended, until [`DataPlane::end`]: what they started, such as calls whose client hung
//! up, runs on their reactors. Where TLS is spoken, each thread has a second listener for it, and the handshakes are its own
//! as well.

use std::{
    any::Any,
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use http::{HeaderValue, StatusCode, Version, header};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::TcpStream,
    sync::{Semaphore, watch},
    time::timeout,
};

use crate::{
    activity::{Activity, Since},
    dispatch,
    error::Error,
    in_flight::InFlight,
    limits, machine,
    peer::Peer,
    server::Server,
    tls::Tls,
};

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
    pub(crate) fn bind(
        address: SocketAddr,
        count: usize,
        inherited: &mut Inherited,
    ) -> Result<Self, Error> {
        if let Some(inherited) = inherited.take(address, count) {
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

    /// The address, with the port that was picked.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Sockets of our predecessor, or of systemd, by the address where they listen, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Inherited(Vec<(SocketAddr, Vec<TcpListener>)>);

impl Inherited {
    /// Takes over what the environment names.
    pub(crate) fn new() -> Self {
        let variable = |name: &str| std::env::var_os(name)?.into_string().ok();
        let sockets = gatemill_sandbox::handover::inherited(variable);
        let mut all = Self::default();
        for socket in sockets.into_iter().map(TcpListener::from) {
            let Ok(at) = socket.local_addr() else { continue };
            if socket.set_nonblocking(true).is_err() {
                continue;
            }
            match all.0.iter_mut().find(|(address, _)| *address == at) {
                Some((_, sockets)) => sockets.push(socket),
                None => all.0.push((at, vec![socket])),
            }
        }
        all
    }

    /// The first sockets that listen where we shall: one for each thread, of which some are shared when there are not enough.
    fn take(&mut self, address: SocketAddr, count: usize) -> Option<Listeners> {
        let is_meant = |at: &SocketAddr| {
            at.ip() == address.ip() && (at.port() == address.port() || address.port() == 0)
        };
        let index = self.0.iter().position(|(at, _)| is_meant(at))?;
        let (at, sockets) = self.0.remove(index);
        // All of them are kept, even beyond the threads: connections may wait in each.
        let shared = (0..count.max(sockets.len())).map(|n| sockets[n % sockets.len()].try_clone());
        let sockets = shared.collect::<io::Result<_>>().ok()?;
        Some(Listeners { address: at, sockets })
    }
}

impl Drop for Inherited {
    fn drop(&mut self) {
        for (address, _) in &self.0 {
            tracing::warn!(%address, "sockets that were handed over are not used: nothing shall listen there");
        }
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
    pub(crate) fn start(
        plain: Listeners,
        secured: Option<Listeners>,
        server: &Arc<Server>,
    ) -> Result<Self, Error> {
        let (phase, _) = watch::channel(Phase::Open);
        let cores = machine::cores();
        // One count for all threads: the kernel spreads connections evenly, but not exactly.
        let room = Arc::new(Semaphore::new(machine::connections_max()));
        let mut secured = secured.map_or_else(Vec::new, |listeners| listeners.sockets);
        let copies = plain.sockets.iter().chain(&secured).map(TcpListener::try_clone);
        let copies = copies.collect::<io::Result<Vec<_>>>();
        let copies = copies
            .map_err(|source| Error::System { doing: "keep the listening sockets", source })?;
        let mut threads = Vec::new();
        let count = plain.sockets.len().max(secured.len());
        let mut plain = plain.sockets.into_iter();
        let mut secured = secured.drain(..);
        for index in 0..count {
            let sockets = Sockets { plain: plain.next(), secured: secured.next() };
            let core = server.configuration.pin_threads.then(|| cores[index % cores.len()]);
            let (server, phase, room) = (Arc::clone(server), phase.subscribe(), Arc::clone(&room));
            let body = move || run(sockets, index, core, &room, &server, phase);
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

/// Where one thread accepts connections. With sockets that were handed over there may be more of one kind.
#[derive(Debug)]
struct Sockets {
    plain: Option<TcpListener>,
    secured: Option<TcpListener>,
}

fn run(
    sockets: Sockets,
    index: usize,
    core: Option<usize>,
    room: &Arc<Semaphore>,
    server: &Arc<Server>,
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
            let accept = |socket: Option<TcpListener>, tls: Option<Arc<Tls>>| {
                let (room, server) = (Arc::clone(room), Arc::clone(server));
                let closing = closing.clone();
                async move {
                    let Some(socket) = socket else { return };
                    match tokio::net::TcpListener::from_std(socket) {
                        Ok(listener) => accept_all(listener, tls, room, server, closing).await,
                        Err(error) => {
                            tracing::error!(%error, index, "a listener cannot be watched");
                        }
                    }
                }
            };
            let tls = server.tls.clone();
            tokio::join!(accept(sockets.plain, None), accept(sockets.secured, tls));
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
    tls: Option<Arc<Tls>>,
    room: Arc<Semaphore>,
    server: Arc<Server>,
    phase: watch::Receiver<Phase>,
) {
    let wait = server.configuration.client_wait();
    let http = http(wait);
    // What is sent and not taken for so long is given up by the kernel, and the connection with it; those that are accepted
    // here have it from their listener.
    if let Err(error) = socket2::SockRef::from(&listener).set_tcp_user_timeout(Some(wait)) {
        tracing::warn!(%error, "clients that read nothing are not hung up on");
    }
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
        // Without it, small answers wait for the client's delayed acknowledgement.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, %peer, "TCP_NODELAY cannot be set");
        }
        let held = Arc::new(Held::new((server.in_flight.enter(), permit)));
        let (server, phase) = (Arc::clone(&server), phase.clone());
        match &tls {
            None => {
                let peer = Peer::plain(peer);
                tokio::spawn(serve(&http, TokioIo::new(stream), peer, server, held, phase));
            }
            Some(tls) => {
                let (http, tls) = (http.clone(), Arc::clone(tls));
                tokio::spawn(serve_secured(http, tls, stream, peer, server, held, phase));
            }
        }
    }
}

fn http(wait: Duration) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        // A client that has sent its request and hung up is found when the answer is written. To look for it earlier
        // would drop a call whose body has come but which has not begun, and cost every call a read that finds nothing.
        .half_close(true)
        .timer(TokioTimer::new())
        .header_read_timeout(wait)
        .max_buf_size(limits::HEAD_BYTES_MAX);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(limits::HTTP2_PING_EVERY)
        .max_concurrent_streams(limits::HTTP2_STREAMS_MAX)
        .max_header_list_size(limits::HTTP2_HEADER_LIST_BYTES_MAX);
    http
}

/// Serves a connection over TLS, once its handshake has been.
async fn serve_secured<P: Send + Sync + 'static>(
    http: auto::Builder<TokioExecutor>,
    tls: Arc<Tls>,
    stream: TcpStream,
    address: SocketAddr,
    server: Arc<Server>,
    held: Arc<Held<P>>,
    mut phase: watch::Receiver<Phase>,
) {
    let shaken = tokio::select! {
        shaken = timeout(limits::HANDSHAKE_WAIT_MAX, tls.shake(stream)) => shaken,
        () = closing(&mut phase) => return,
    };
    let shaken = match shaken {
        Ok(Ok(shaken)) => shaken,
        Ok(Err(error)) => return tracing::debug!(%error, %address, "a handshake failed"),
        Err(_) => return tracing::debug!(%address, "a handshake took too long"),
    };
    let peer = Peer { address, tls: Some(Arc::new(shaken.secured)) };
    // What was agreed on is what is spoken.
    let http = if shaken.is_http2 { http.http2_only() } else { http.http1_only() };
    serve(&http, TokioIo::new(shaken.stream), peer, server, held, phase).await;
}

/// Serves a connection until it ends.
fn serve<I, P>(
    http: &auto::Builder<TokioExecutor>,
    stream: I,
    peer: Peer,
    server: Arc<Server>,
    held: Arc<Held<P>>,
    phase: watch::Receiver<Phase>,
) -> impl Future<Output = ()> + Send + use<I, P>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    P: Send + Sync + 'static,
{
    let (address, wait) = (peer.address, server.configuration.client_wait());
    // A WebSocket connection holds it as well, and for longer.
    let holding = Arc::clone(&held);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let version = request.version();
        let handling = holding.activity.begin(version);
        let (server, peer) = (Arc::clone(&server), peer.clone());
        if request.headers().contains_key(header::UPGRADE) {
            request.extensions_mut().insert::<Holding>(Arc::clone(&holding) as _);
        }
        async move {
            let is_http1 = version == Version::HTTP_11;
            let in_flight = server.in_flight.clone();
            let mut answered = dispatch::dispatch(server, peer, request).await;
            // The client then connects anew, and comes to our successor; HTTP/2 has a word of its own for it.
            if let (Ok(response), true) = (&mut answered, is_http1 && in_flight.is_leaving())
                && response.status() != StatusCode::SWITCHING_PROTOCOLS
            {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            answered.map(|response| response.map(|body| handling.answered(body)))
        }
    });
    let connection = http.serve_connection_with_upgrades(stream, service).into_owned();
    async move {
        let ended = until_end(connection, &held.activity, wait, phase).await;
        if let Err(error) = ended {
            tracing::debug!(error = %error, peer = %address, "a connection ended early");
        }
        drop(held);
    }
}

/// Drives a connection until it ends, by itself or because the server stops, or because nothing that it said was a request.
async fn until_end<I, S, B>(
    connection: auto::UpgradeableConnection<'static, I, S, TokioExecutor>,
    activity: &Activity,
    wait: Duration,
    mut phase: watch::Receiver<Phase>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    S: hyper::service::Service<Request<Incoming>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut connection = std::pin::pin!(connection);
    let (mut is_closing, mut is_told) = (false, false);
    loop {
        let seen = activity.seen();
        tokio::select! {
            biased;
            ended = connection.as_mut() => return ended,
            () = closing(&mut phase), if !is_closing => {
                is_closing = true;
                connection.as_mut().graceful_shutdown();
            }
            () = tokio::time::sleep(wait) => match activity.since(seen) {
                Since::NeverAsked => return Err("no request came".into()),
                Since::Active => is_told = false,
                // First it is told, so that what is under way ends; a client that then stays is left.
                Since::Idle if !is_told => {
                    is_told = true;
                    connection.as_mut().graceful_shutdown();
                }
                Since::Idle => return Err("nothing was asked or read".into()),
            }
        }
    }
}

async fn closing(phase: &mut watch::Receiver<Phase>) {
    // What it gives is a lock, which must not be kept.
    let _ = phase.wait_for(|it| !matches!(it, Phase::Open | Phase::Leaving)).await;
}

/// What a connection holds, and whether a request has come over it.
#[derive(Debug)]
struct Held<P> {
    #[expect(dead_code, reason = "it is held, and looked at by nobody")]
    held: P,
    activity: Arc<Activity>,
}

impl<P> Held<P> {
    fn new(held: P) -> Self {
        Self { held, activity: Arc::default() }
    }
}

/// What a connection holds for as long as it is open, in whatever protocol: its place among the connections, and among
/// what a stop waits for. A request that may change the protocol carries it.
pub(crate) type Holding = Arc<dyn Any + Send + Sync>;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn bind(address: SocketAddr, count: usize) -> Result<Listeners, Error> {
        Listeners::bind(address, count, &mut Inherited::default())
    }

    fn any_port() -> SocketAddr {
        (Ipv4Addr::LOCALHOST, 0).into()
    }

    /// How a connection ends over which a client says this and then no more.
    async fn ends_with(words: &[u8]) -> (String, Vec<u8>) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (mut client, ours) = tokio::io::duplex(64 * 1024);
        client.write_all(words).await.unwrap();
        let activity: Arc<Activity> = Arc::default();
        let asked = Arc::clone(&activity);
        let service = service_fn(move |request: Request<Incoming>| {
            let handling = asked.begin(request.version());
            let body = http_body_util::Full::new(bytes::Bytes::from_static(b"here"));
            let body = handling.answered(body);
            async move { Ok::<_, std::convert::Infallible>(Response::new(body)) }
        });
        let (_open, phase) = watch::channel(Phase::Open);
        let connection = http(limits::HEAD_WAIT_MAX)
            .serve_connection_with_upgrades(TokioIo::new(ours), service)
            .into_owned();
        let ended = tokio::spawn(async move {
            until_end(connection, &activity, limits::HEAD_WAIT_MAX, phase).await
        });
        // Time is the runtime's own here, and passes at once when nothing else can happen.
        let ended = timeout(3 * limits::HEAD_WAIT_MAX, ended).await;
        let ended = match ended {
            Ok(ended) => ended.unwrap().err().map_or_else(String::new, |error| error.to_string()),
            Err(_) => "it stayed".to_owned(),
        };
        let mut got = Vec::new();
        if ended != "it stayed" {
            client.read_to_end(&mut got).await.unwrap();
        }
        (ended, got)
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_that_is_a_request_is_hung_up_on() {
        for words in [&b""[..], b"PRI * HTTP/2.0\r\n", b"P", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            let (ended, _) = ends_with(words).await;
            assert_ne!(ended, "it stayed", "{}", words.escape_ascii());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_end_and_an_idle_connection_are_ended() {
        let (ended, got) = ends_with(b"GET / HTTP/1.1\r\nHost: x\r\nX: ").await;
        assert_ne!(ended, "it stayed");
        assert!(got.is_empty() || got.starts_with(b"HTTP/1.1 408"), "{}", got.escape_ascii());
        let (ended, got) = ends_with(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_ne!(ended, "it stayed");
        assert!(got.starts_with(b"HTTP/1.1 200"), "{}", got.escape_ascii());
    }

    #[test]
    fn all_listeners_share_the_port_that_was_picked() {
        let listeners = bind(any_port(), 4).unwrap();
        assert_ne!(listeners.address().port(), 0);
        for socket in &listeners.sockets {
            assert_eq!(socket.local_addr().unwrap(), listeners.address());
        }
    }

    #[test]
    fn a_port_of_another_gatemill_is_refused_although_it_is_shared() {
        let first = bind(any_port(), 2).unwrap();
        let second = bind(first.address(), 2).unwrap_err();
        assert!(matches!(second, Error::PortBusy { .. }), "{second}");
        assert!(second.to_string().contains("--listen 127.0.0.1:PORT"), "{second}");
    }

    #[test]
    fn a_port_is_free_again_after_its_listeners_are_gone() {
        let first = bind(any_port(), 2).unwrap();
        let address = first.address();
        drop(first);
        assert_eq!(bind(address, 2).unwrap().address(), address);
    }
}
