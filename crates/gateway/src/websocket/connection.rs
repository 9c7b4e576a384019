//! A connection as the rest of the gateway sees it: who it is, what waits to be sent on it, and how it is told to end.
//!
//! Whoever has something for the client writes it at once where the connection is idle; else puts it into the outbox and
//! wakes the task that owns the socket. The outbox is bounded: a client that reads slowly fills its own and nobody else's, and senders are told. Idle, a connection holds
//! neither a buffer nor a timer.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    task::{Context, Waker},
};

use bytes::{Buf as _, Bytes};
use gatemill_wire::Timestamp;
use serde_json::{Map, Value};
use tokio::net::TcpStream;

use super::id::ConnectionId;
use crate::{
    limits::{MESSAGES_AT_ONCE_MAX, OUTBOX_BYTES_MAX},
    usage::Counters,
};

/// Who a connection is, from its handshake to its end.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) id: ConnectionId,
    pub(crate) api: String,
    pub(crate) stage: String,
    /// The account of the API.
    pub(crate) account: String,
    pub(crate) domain_name: String,
    pub(crate) source_ip: String,
    pub(crate) user_agent: Option<String>,
    pub(crate) connected: Timestamp,
    /// What the authorizer of `$connect` said.
    pub(crate) authorizer: Option<Map<String, Value>>,
    /// The API key that its handshake presented, whether or not anybody asked for one.
    pub(crate) api_key: Option<super::key::Value>,
}

/// A connection that is open.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) peer: Peer,
    last_active: AtomicI64,
    outbox: Mutex<Outbox>,
    /// Whose usage it counts as.
    counters: Option<Arc<Counters>>,
    /// The minutes of its life that are counted.
    minutes: AtomicU64,
}

#[derive(Debug, Default)]
struct Outbox {
    frames: VecDeque<Bytes>,
    bytes: usize,
    /// Messages of the client that are being handled.
    running: usize,
    /// Asked for, and not yet begun.
    close: Option<Close>,
    is_closed: bool,
    /// The task that owns the socket has a frame in its hands.
    is_writing: bool,
    /// Where an idle connection is written to at once.
    socket: Option<Arc<TcpStream>>,
    waker: Option<Waker>,
}

/// How a connection shall end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Close {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
}

/// Why nothing can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// The connection is closing.
    Gone,
    /// The client does not read what it was sent before.
    Full,
}

impl Connection {
    pub(crate) fn new(peer: Peer) -> Self {
        let last_active = AtomicI64::new(peer.connected.millis());
        let minutes = AtomicU64::new(0);
        Self { peer, last_active, outbox: Mutex::default(), counters: None, minutes }
    }

    /// Counts as usage of a stage.
    pub(crate) fn counting(self, counters: Arc<Counters>) -> Self {
        Self { counters: Some(counters), ..self }
    }

    /// Counts the minutes that have begun since they were counted last.
    pub(crate) fn count_minutes(&self, now: Timestamp) {
        let Some(counters) = &self.counters else { return };
        let life = now.millis().saturating_sub(self.peer.connected.millis());
        let begun = u64::try_from(life.max(0) / 60_000).unwrap_or(0) + 1;
        let before = self.minutes.fetch_max(begun, Ordering::Relaxed);
        counters.minutes(begun.saturating_sub(before));
    }

    /// Counts a message that the client sent.
    pub(crate) fn count_received(&self, bytes: usize) {
        self.counters.iter().for_each(|counters| counters.message(bytes));
    }

    /// Counts a message that the client is sent.
    pub(crate) fn count_sent(&self, bytes: usize) {
        self.counters.iter().for_each(|counters| counters.message_out(bytes));
    }

    /// When something last came or went.
    pub(crate) fn last_active(&self) -> Timestamp {
        Timestamp(self.last_active.load(Ordering::Relaxed))
    }

    /// Something came or went.
    pub(crate) fn touch(&self, now: Timestamp) {
        self.last_active.fetch_max(now.millis(), Ordering::Relaxed);
    }

    /// Sends frames, if there is room for them.
    pub(crate) fn send(&self, frames: Bytes, now: Timestamp) -> Result<(), Unsent> {
        let mut outbox = self.outbox();
        if outbox.is_closed {
            return Err(Unsent::Gone);
        }
        // One message always fits into an empty outbox.
        if outbox.bytes > 0 && outbox.bytes + frames.len() > OUTBOX_BYTES_MAX {
            return Err(Unsent::Full);
        }
        self.touch(now);
        outbox.put(frames);
        Ok(())
    }

    /// Says where to write while the connection is idle.
    pub(super) fn attach(&self, socket: Arc<TcpStream>) {
        self.outbox().socket = Some(socket);
    }

    /// Lets go of the socket: its task is done with it.
    pub(super) fn detach(&self) {
        self.outbox().socket = None;
    }

    /// Sends an answer to one of the client's own messages. There is room for as many as are handled at once.
    pub(crate) fn answer(&self, frames: Bytes, now: Timestamp) {
        let mut outbox = self.outbox();
        if !outbox.is_closed {
            self.touch(now);
            outbox.put(frames);
        }
    }

    /// Asks the connection to end.
    pub(crate) fn close(&self, close: Close) {
        let mut outbox = self.outbox();
        outbox.close.get_or_insert(close);
        outbox.wake();
    }

    /// Counts a message that is being handled, until what this gives is dropped.
    pub(crate) fn handling(self: &Arc<Self>) -> Handling {
        self.outbox().running += 1;
        Handling(Arc::clone(self))
    }

    /// What there is to do for the task that owns the socket, which is woken when that changes.
    pub(super) fn work(&self, cx: &Context<'_>) -> Work {
        let mut outbox = self.outbox();
        if !outbox.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            outbox.waker = Some(cx.waker().clone());
        }
        let frame = outbox.frames.pop_front();
        outbox.bytes -= frame.as_ref().map_or(0, Bytes::len);
        // It is asked again when this frame is written.
        outbox.is_writing = frame.is_some();
        if outbox.frames.is_empty() {
            outbox.frames = VecDeque::new();
        }
        let may_read = outbox.may_read();
        Work { frame, may_read, close: outbox.close }
    }

    /// Whether the client may be listened to.
    pub(super) fn may_read(&self) -> bool {
        self.outbox().may_read()
    }

    /// Nothing more is taken; what waits is still sent.
    pub(super) fn shut(&self) {
        self.outbox().is_closed = true;
    }

    /// Puts a frame behind those that wait.
    pub(super) fn queue(&self, frame: Bytes) {
        self.outbox().push(frame);
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        // What is in it is whole at any time.
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outbox {
    /// Writes frames at once where nothing is before them; what the socket does not take is left to its task.
    fn put(&mut self, mut frames: Bytes) {
        let is_idle = self.frames.is_empty() && !self.is_writing && self.close.is_none();
        if let Some(socket) = self.socket.as_ref().filter(|_| is_idle) {
            // An error is the task's to find.
            let written = socket.try_write(&frames).unwrap_or(0);
            frames.advance(written);
            if frames.is_empty() {
                return;
            }
        }
        self.push(frames);
        self.wake();
    }

    fn push(&mut self, frames: Bytes) {
        self.bytes += frames.len();
        self.frames.push_back(frames);
    }

    fn may_read(&self) -> bool {
        self.running < MESSAGES_AT_ONCE_MAX && self.bytes < OUTBOX_BYTES_MAX
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

/// What there is to do on a connection.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) frame: Option<Bytes>,
    pub(super) may_read: bool,
    pub(super) close: Option<Close>,
}

/// A message that is being handled.
#[derive(Debug)]
pub(crate) struct Handling(Arc<Connection>);

impl Drop for Handling {
    fn drop(&mut self) {
        let mut outbox = self.0.outbox();
        outbox.running -= 1;
        if outbox.running + 1 == MESSAGES_AT_ONCE_MAX {
            outbox.wake();
        }
    }
}

/// The connections of this node.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: papaya::HashMap<ConnectionId, Arc<Connection>>,
    is_leaving: std::sync::atomic::AtomicBool,
}

impl Connections {
    pub(crate) fn get(&self, id: ConnectionId) -> Option<Arc<Connection>> {
        self.open.pin().get(&id).map(Arc::clone)
    }

    pub(super) fn add(&self, connection: &Arc<Connection>) {
        self.open.pin().insert(connection.peer.id, Arc::clone(connection));
        // Whoever came in while all were told to leave is told, too.
        if self.is_leaving() {
            connection.close(LEAVING);
        }
    }

    pub(super) fn remove(&self, id: ConnectionId) {
        self.open.pin().remove(&id);
    }

    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether the server stops.
    pub(crate) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::SeqCst)
    }

    /// Tells all connections to end: the server stops.
    pub(crate) fn leave(&self) {
        self.is_leaving.store(true, Ordering::SeqCst);
        self.close_all(LEAVING);
    }

    /// Tells all connections to end.
    pub(crate) fn close_all(&self, close: Close) {
        self.open.pin().values().for_each(|connection| connection.close(close));
    }

    /// Tells connections to end that were idle or lived for too long.
    pub(crate) fn sweep(&self, now: Timestamp, idle_ms: i64, life_ms: i64) {
        for connection in self.open.pin().values() {
            connection.count_minutes(now);
            let idle = now.millis() - connection.last_active().millis();
            let life = now.millis() - connection.peer.connected.millis();
            if idle >= idle_ms || life >= life_ms {
                connection.close(LEAVING);
            }
        }
    }
}

/// The end of a connection whose time is up, or whose server stops.
pub(crate) const LEAVING: Close =
    Close { code: super::frame::code::GOING_AWAY, reason: "Going away" };

/// The name of a variable's member below `context.`, for expressions.
pub(crate) fn context_text(peer: &Peer, name: &str) -> Option<String> {
    Some(match name {
        "connectionId" => peer.id.to_string(),
        "apiId" => peer.api.clone(),
        "stage" => peer.stage.clone(),
        "domainName" => peer.domain_name.clone(),
        "connectedAt" => peer.connected.millis().to_string(),
        "identity.sourceIp" => peer.source_ip.clone(),
        "identity.userAgent" => peer.user_agent.clone().unwrap_or_default(),
        _ => {
            let name = name.strip_prefix("authorizer.")?;
            super::mapping::authorizer_text(peer.authorizer.as_ref(), name)
        }
    })
}

/// The variables of a stage, as events show them: none where there are none.
pub(crate) fn shown_variables(
    variables: &BTreeMap<String, String>,
) -> Option<&BTreeMap<String, String>> {
    Some(variables).filter(|variables| !variables.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct None0;

    impl gatemill_wire::Entropy for None0 {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.fill(7);
        }
    }

    fn connection() -> Arc<Connection> {
        Arc::new(Connection::new(Peer {
            id: ConnectionId::new(0, &None0),
            api: String::new(),
            stage: String::new(),
            account: String::new(),
            domain_name: String::new(),
            source_ip: String::new(),
            user_agent: None,
            connected: Timestamp(1_000),
            authorizer: None,
            api_key: None,
        }))
    }

    #[test]
    fn an_outbox_is_bounded_and_takes_one_message_always() {
        let connection = connection();
        let big = Bytes::from(vec![0; OUTBOX_BYTES_MAX + 1]);
        assert_eq!(connection.send(big.clone(), Timestamp(5_000)), Ok(()));
        assert_eq!(connection.send(Bytes::from_static(b"x"), Timestamp(6_000)), Err(Unsent::Full));
        assert_eq!(connection.last_active(), Timestamp(5_000));
        let cx = Context::from_waker(Waker::noop());
        assert!(connection.work(&cx).may_read);
        assert_eq!(connection.send(Bytes::from_static(b"x"), Timestamp(7_000)), Ok(()));
        connection.shut();
        assert_eq!(connection.send(big, Timestamp(8_000)), Err(Unsent::Gone));
    }

    #[test]
    fn a_connection_is_read_on_when_few_messages_are_handled() {
        let connection = connection();
        let cx = Context::from_waker(Waker::noop());
        let mut handled: Vec<_> =
            (0..MESSAGES_AT_ONCE_MAX).map(|_| connection.handling()).collect();
        assert!(!connection.work(&cx).may_read);
        handled.pop();
        assert!(connection.work(&cx).may_read);
    }

    #[test]
    fn time_is_up_for_the_idle_and_the_old() {
        let cx = Context::from_waker(Waker::noop());
        for (active, now, ends) in
            [(1_000, 1_999, false), (1_000, 2_000, true), (5_900, 6_000, true)]
        {
            let connections = Connections::default();
            let connection = connection();
            connection.touch(Timestamp(active));
            connections.add(&connection);
            connections.sweep(Timestamp(now), 1_000, 5_000);
            assert_eq!(connection.work(&cx).close, ends.then_some(LEAVING), "{active} {now}");
        }
    }

    #[tokio::test]
    async fn an_idle_connection_is_written_to_at_once_and_in_order() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (mut client, (socket, _)) = (client.unwrap(), accepted.unwrap());
        socket.writable().await.unwrap();
        let connection = connection();
        connection.attach(Arc::new(socket));
        let mut buffer = [0; 8];
        let mut read = async |count: usize| {
            use tokio::io::AsyncReadExt as _;
            client.read_exact(&mut buffer[..count]).await.unwrap();
            buffer[..count].to_vec()
        };
        let cx = Context::from_waker(Waker::noop());
        connection.send(Bytes::from_static(b"one"), Timestamp(2_000)).unwrap();
        assert!(connection.work(&cx).frame.is_none(), "nothing is left to the task");
        assert_eq!(read(3).await, b"one");
        // Behind a frame that waits, and behind one that is being written, nothing is written at once.
        connection.queue(Bytes::from_static(b"a"));
        connection.send(Bytes::from_static(b"b"), Timestamp(3_000)).unwrap();
        assert_eq!(connection.work(&cx).frame.unwrap(), "a");
        assert_eq!(connection.work(&cx).frame.unwrap(), "b");
        connection.send(Bytes::from_static(b"c"), Timestamp(4_000)).unwrap();
        assert_eq!(connection.work(&cx).frame.unwrap(), "c");
        assert!(connection.work(&cx).frame.is_none());
        connection.answer(Bytes::from_static(b"two"), Timestamp(5_000));
        assert_eq!(read(3).await, b"two");
        // What the client does not read is bounded, and none of it is lost.
        let piece = Bytes::from(vec![7; OUTBOX_BYTES_MAX]);
        let mut sent = 0;
        while connection.send(piece.clone(), Timestamp(6_000)).is_ok() {
            sent += piece.len();
            assert!(sent < 1 << 30, "a client that does not read takes no end");
        }
        let mut left = 0;
        while let Some(frame) = connection.work(&cx).frame {
            left += frame.len();
        }
        connection.detach();
        drop(connection);
        let mut rest = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut client, &mut rest).await.unwrap();
        assert_eq!(rest.len() + left, sent);
    }
}
