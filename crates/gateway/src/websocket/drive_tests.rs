//! A connection between two ends in memory.

use std::sync::Mutex;

use gatemill_wire::{Entropy, Timestamp};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::{
    super::{
        connection::{Handling, LEAVING, Peer, Unsent},
        id::ConnectionId,
    },
    *,
};
use crate::limits::{MESSAGES_AT_ONCE_MAX, OUTBOX_BYTES_MAX};

struct Sevens;

impl Entropy for Sevens {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(7);
    }
}

/// Keeps what it is given, as messages that are never done.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<(String, Handling)>>>);

impl Kept {
    fn texts(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(|(text, _)| text.clone()).collect()
    }
}

impl Inbox for Kept {
    fn message(&self, connection: &Arc<Connection>, text: String) {
        self.0.lock().unwrap().push((text, connection.handling()));
    }

    fn active(&self, connection: &Connection) {
        connection.touch(Timestamp(5_000));
    }
}

struct Pair {
    client: DuplexStream,
    connection: Arc<Connection>,
    kept: Kept,
    driven: tokio::task::JoinHandle<End>,
}

fn pair(early: &[u8]) -> Pair {
    let connection = Arc::new(Connection::new(Peer {
        id: ConnectionId::new(0, &Sevens),
        api: String::new(),
        stage: String::new(),
        account: String::new(),
        domain_name: String::new(),
        source_ip: String::new(),
        user_agent: None,
        connected: Timestamp(1_000),
        authorizer: None,
        api_key: None,
    }));
    let (client, server) = duplex(64 * 1024);
    let kept = Kept::default();
    let early = Bytes::copy_from_slice(early);
    let driven = tokio::spawn(drive(server, early, Arc::clone(&connection), kept.clone()));
    Pair { client, connection, kept, driven }
}

/// A client's frame, masked with nothing.
fn frame_of(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[first, 0x80 | length, 0, 0, 0, 0][..], payload].concat()
}

async fn bytes(client: &mut DuplexStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    client.read_exact(&mut bytes).await.unwrap();
    bytes
}

async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_came_with_the_handshake_is_heard() {
    let mut pair = pair(&[frame_of(0x81, b"one"), frame_of(0x89, b"p")].concat());
    assert_eq!(bytes(&mut pair.client, 3).await, [0x8a, 1, b'p']);
    pair.client.write_all(&frame_of(0x81, b"two")).await.unwrap();
    pair.client.write_all(&frame_of(0x88, b"\x0f\xa1bye")).await.unwrap();
    assert_eq!(bytes(&mut pair.client, 7).await, b"\x88\x05\x0f\xa1bye");
    let end = pair.driven.await.unwrap();
    assert_eq!(end, End { code: 4001, reason: "bye".to_owned() });
    assert_eq!(pair.kept.texts(), ["one", "two"]);
    assert_eq!(pair.connection.last_active(), Timestamp(5_000));
}

#[tokio::test]
async fn a_close_of_ours_waits_for_the_clients_answer() {
    let mut pair = pair(b"");
    pair.connection.send(frame::text(b"last"), Timestamp(1)).unwrap();
    pair.connection.close(LEAVING);
    assert_eq!(bytes(&mut pair.client, 6 + 14).await, b"\x81\x04last\x88\x0c\x03\xe9Going away");
    settle().await;
    assert!(!pair.driven.is_finished());
    assert_eq!(pair.connection.send(frame::text(b"x"), Timestamp(1)), Err(Unsent::Gone));
    pair.client.write_all(&frame_of(0x81, b"not heard")).await.unwrap();
    pair.client.write_all(&frame_of(0x88, b"\x03\xe9")).await.unwrap();
    assert_eq!(pair.driven.await.unwrap().code, 1001);
    assert_eq!(pair.kept.texts(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_no_close_is_cut_off() {
    let pair = pair(b"");
    pair.connection.close(LEAVING);
    let end = tokio::time::timeout(CLOSE_WAIT * 2, pair.driven).await.unwrap().unwrap();
    assert_eq!(end.code, 1001);
}

#[tokio::test]
async fn a_violation_is_told_and_the_rest_thrown_away() {
    let mut pair = pair(b"");
    pair.client.write_all(&frame_of(0x82, b"binary")).await.unwrap();
    assert_eq!(bytes(&mut pair.client, 4).await[2..], 1003_u16.to_be_bytes());
    for _ in 0..10 {
        pair.client.write_all(&[0xff; 30_000]).await.unwrap();
    }
    drop(pair.client);
    assert_eq!(pair.driven.await.unwrap().code, 1003);
}

#[tokio::test]
async fn a_connection_that_breaks_off_has_the_code_for_it() {
    let pair = pair(&frame_of(0x81, b"x")[..4]);
    drop(pair.client);
    assert_eq!(pair.driven.await.unwrap().code, 1006);
}

#[tokio::test]
async fn no_more_messages_are_heard_than_may_be_handled() {
    let many: Vec<u8> = (0..MESSAGES_AT_ONCE_MAX + 3)
        .flat_map(|nth| frame_of(0x81, nth.to_string().as_bytes()))
        .collect();
    let mut pair = pair(&many);
    settle().await;
    assert_eq!(pair.kept.texts().len(), MESSAGES_AT_ONCE_MAX);
    pair.client.write_all(&frame_of(0x81, b"more")).await.unwrap();
    settle().await;
    assert_eq!(pair.kept.texts().len(), MESSAGES_AT_ONCE_MAX);
    let done = std::mem::take(&mut *pair.kept.0.lock().unwrap());
    drop(done);
    settle().await;
    assert_eq!(pair.kept.texts(), ["8", "9", "10", "more"]);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_not_heard() {
    let mut pair = pair(b"");
    let big = frame::text(&vec![b'x'; 100_000]);
    while pair.connection.send(big.clone(), Timestamp(1)).is_ok() {
        settle().await;
    }
    assert_eq!(pair.connection.send(big.clone(), Timestamp(1)), Err(Unsent::Full));
    // Pings are answered until the outbox is full; then the client has to wait.
    let pings: Vec<u8> = (0..100).flat_map(|_| frame_of(0x89, &[b'p'; 125])).collect();
    let writing = async {
        for _ in 0..OUTBOX_BYTES_MAX / pings.len() + 20 {
            pair.client.write_all(&pings).await.unwrap();
        }
    };
    let stuck = tokio::time::timeout(std::time::Duration::from_millis(200), writing).await;
    assert!(stuck.is_err(), "the client is read on although its outbox is full");
    // Once it reads, it is heard.
    let mut read = 0;
    while read < big.len() * 2 {
        read += pair.client.read(&mut [0; 65_536]).await.unwrap();
    }
    settle().await;
    assert!(!pair.driven.is_finished());
}
