//! Opens WebSocket connections and holds them, or counts what a broadcast delivers to them.
//!
//! `sockets ADDRESS PATH CONNECTIONS hold`: opens them, says `ready`, holds them until it is ended.
//! `sockets ADDRESS PATH CONNECTIONS loop ROUNDS`: tells a bare server (`websocket_floor`) to begin, and counts.
//! `sockets ADDRESS PATH CONNECTIONS post ROUNDS`: posts to every connection through the `@connections` API, and counts.
//!
//! Its own protocol is as little as does: it reads bytes and knows how long a message is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{Notify, Semaphore},
};

const MESSAGE: &[u8] = &[b'x'; 100];
/// The message with the head of its frame.
const FRAME_BYTES: u64 = 102;
const POSTING: usize = 32;
const CONNECTING: usize = 64;
/// In place of a signature: `gatemill dev` looks at its form alone.
const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=000000000000/20260101/us-east-1/execute-api/aws4_request, \
    SignedHeaders=host;x-amz-date, Signature=0000000000000000000000000000000000000000000000000000000000000000";

struct Options {
    address: String,
    path: String,
    connections: usize,
    rounds: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, path, connections, how, rounds @ ..] = &arguments[..] else {
        panic!("ADDRESS PATH CONNECTIONS hold|loop|post [ROUNDS]")
    };
    let options = Arc::new(Options {
        address: address.clone(),
        path: path.clone(),
        connections: connections.parse().expect("a number"),
        rounds: rounds.first().map_or(1, |rounds| rounds.parse().expect("a number")),
    });
    let sockets = open_all(&options).await;
    println!("ready");
    match how.as_str() {
        "hold" => std::future::pending().await,
        "loop" => by_loop(&options, sockets).await,
        "post" => by_posts(&options, sockets).await,
        _ => panic!("hold, loop or post"),
    }
}

async fn open_all(options: &Arc<Options>) -> Vec<TcpStream> {
    let room = Arc::new(Semaphore::new(CONNECTING));
    let mut opening = Vec::new();
    for _ in 0..options.connections {
        let permit = Arc::clone(&room).acquire_owned().await.expect("it stays open");
        let options = Arc::clone(options);
        opening.push(tokio::spawn(async move {
            let socket = open(&options).await;
            drop(permit);
            socket
        }));
    }
    let mut sockets = Vec::new();
    for opening in opening {
        sockets.push(opening.await.expect("a connection"));
    }
    sockets
}

async fn open(options: &Options) -> TcpStream {
    let mut socket = TcpStream::connect(&options.address).await.expect("a server");
    let head = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        options.path, options.address
    );
    socket.write_all(head.as_bytes()).await.expect("an open connection");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(socket.read_u8().await.expect("an answer"));
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    socket
}

/// Counts the bytes of all sockets, until all deliveries are there.
fn count(options: &Options, sockets: Vec<TcpStream>) -> (Arc<Notify>, u64) {
    let deliveries = options.connections as u64 * options.rounds;
    let (done, left) =
        (Arc::new(Notify::new()), Arc::new(AtomicU64::new(deliveries * FRAME_BYTES)));
    for mut socket in sockets {
        let (done, left) = (Arc::clone(&done), Arc::clone(&left));
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            loop {
                let read = socket.read(&mut buffer).await.expect("an open connection") as u64;
                assert!(read > 0, "the server ended a connection");
                if left.fetch_sub(read, Ordering::Relaxed) == read {
                    done.notify_one();
                }
            }
        });
    }
    (done, deliveries)
}

#[allow(clippy::cast_precision_loss, reason = "deliveries of one run")]
fn say(deliveries: u64, began: Instant) {
    let per_second = deliveries as f64 / began.elapsed().as_secs_f64();
    println!("{}", json!({ "deliveries": deliveries, "per_second": per_second }));
}

async fn by_loop(options: &Options, mut sockets: Vec<TcpStream>) {
    // A text frame of no bytes, masked.
    let began = Instant::now();
    sockets[0].write_all(&[0x81, 0x80, 0, 0, 0, 0]).await.expect("an open connection");
    let (done, deliveries) = count(options, sockets);
    done.notified().await;
    say(deliveries, began);
}

async fn by_posts(options: &Arc<Options>, mut sockets: Vec<TcpStream>) {
    let mut ids = Vec::new();
    for socket in &mut sockets {
        // What the API has no route for is answered with an error that names the connection.
        socket.write_all(&[0x81, 0x81, 0, 0, 0, 0, b'?']).await.expect("an open connection");
        let mut head = [0; 2];
        socket.read_exact(&mut head).await.expect("an answer");
        let mut length = usize::from(head[1]);
        if length == 126 {
            length = usize::from(socket.read_u16().await.expect("an answer"));
        }
        let mut text = vec![0; length];
        socket.read_exact(&mut text).await.expect("an answer");
        let answer: Value = serde_json::from_slice(&text).expect("JSON");
        ids.push(answer["connectionId"].as_str().expect("a connection's id").replace('=', "%3D"));
    }
    let (done, deliveries) = count(options, sockets);
    let began = Instant::now();
    for share in ids.chunks(ids.len().div_ceil(POSTING)) {
        tokio::spawn(post(Arc::clone(options), share.to_vec()));
    }
    done.notified().await;
    say(deliveries, began);
}

async fn post(options: Arc<Options>, ids: Vec<String>) {
    let mut socket = TcpStream::connect(&options.address).await.expect("a server");
    socket.set_nodelay(true).expect("a TCP socket");
    let mut buffer = [0; 4096];
    for _ in 0..options.rounds {
        for id in &ids {
            let mut request = format!(
                "POST {}/@connections/{id} HTTP/1.1\r\nHost: {}\r\nX-Amz-Date: 20260101T000000Z\r\n\
                 Authorization: {AUTHORIZATION}\r\nContent-Length: {}\r\n\r\n",
                options.path,
                options.address,
                MESSAGE.len()
            )
            .into_bytes();
            request.extend_from_slice(MESSAGE);
            socket.write_all(&request).await.expect("an open connection");
            let read = socket.read(&mut buffer).await.expect("an answer");
            let answer = String::from_utf8_lossy(&buffer[..read]);
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
    }
}
