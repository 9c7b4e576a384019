//! The floor of a warm call: a bare epoll HTTP server with one unix-socket hop to a resident Python process.
//!
//! `floor PORT THREADS WORKER.py`. Each thread has its own listener (SO_REUSEPORT) and its own worker, and does nothing
//! that a real gateway needs: no routing, no isolation, no limits, no log. It reads a request up to its blank line,
//! sends the worker an event of HTTP API size, and writes what the worker said as the body's JSON. Requests that find the
//! worker busy wait their turn, as the one event loop has it.

use std::{
    collections::{HashMap, VecDeque},
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::UnixStream,
    },
    process::Command,
    thread,
};

use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, EventData, EventFlags},
};
use socket2::{Domain, Socket, Type};

const LISTENER: u64 = 0;
const WORKER: u64 = 1;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, threads, worker] = &arguments[..] else {
        panic!("usage: floor PORT THREADS WORKER.py")
    };
    let port: u16 = port.parse().expect("a port");
    let threads: usize = threads.parse().expect("a number of threads");
    let floors: Vec<_> = (0..threads)
        .map(|_| {
            let worker = worker.clone();
            thread::spawn(move || Floor::new(port, &worker).run())
        })
        .collect();
    println!("ready");
    for floor in floors {
        floor.join().expect("the thread ends with the program");
    }
}

struct Floor {
    epoll: rustix::fd::OwnedFd,
    listener: TcpListener,
    worker: UnixStream,
    connections: HashMap<u64, (TcpStream, Vec<u8>)>,
    waiting: VecDeque<u64>,
    at_work: Option<u64>,
    event: Vec<u8>,
    heard: Vec<u8>,
}

impl Floor {
    fn new(port: u16, worker: &str) -> Self {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("an epoll");
        let listener = listen(port);
        let worker = start_worker(worker);
        let add = |fd: &dyn AsFd, key| {
            epoll::add(&epoll, fd.as_fd(), EventData::new_u64(key), EventFlags::IN)
                .expect("a descriptor");
        };
        add(&listener, LISTENER);
        add(&worker, WORKER);
        Self {
            epoll,
            listener,
            worker,
            connections: HashMap::new(),
            waiting: VecDeque::new(),
            at_work: None,
            event: event(),
            heard: Vec::new(),
        }
    }

    fn run(mut self) {
        let mut events = Vec::with_capacity(256);
        loop {
            events.clear();
            epoll::wait(&self.epoll, spare_capacity(&mut events), None).expect("epoll waits");
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept(),
                    WORKER => self.hear_worker(),
                    connection => self.read(connection),
                }
            }
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nodelay(true).expect("a TCP socket");
            stream.set_nonblocking(true).expect("a socket");
            let key = u64::try_from(stream.as_raw_fd()).expect("a descriptor is positive") + 2;
            epoll::add(&self.epoll, &stream, EventData::new_u64(key), EventFlags::IN)
                .expect("a descriptor");
            self.connections.insert(key, (stream, Vec::new()));
        }
    }

    fn read(&mut self, key: u64) {
        let Some((stream, buffer)) = self.connections.get_mut(&key) else { return };
        let mut chunk = [0; 8192];
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => {
                self.connections.remove(&key);
            }
            Ok(length) => {
                buffer.extend_from_slice(&chunk[..length]);
                if buffer.ends_with(b"\r\n\r\n") {
                    buffer.clear();
                    self.waiting.push_back(key);
                    self.feed_worker();
                }
            }
        }
    }

    fn feed_worker(&mut self) {
        if self.at_work.is_some() {
            return;
        }
        if let Some(key) = self.waiting.pop_front() {
            self.at_work = Some(key);
            self.worker.write_all(&self.event).expect("the worker lives");
        }
    }

    fn hear_worker(&mut self) {
        let mut chunk = [0; 8192];
        let length = self.worker.read(&mut chunk).expect("the worker lives");
        assert!(length > 0, "the worker ended");
        self.heard.extend_from_slice(&chunk[..length]);
        let Some(header) = self.heard.first_chunk::<4>() else { return };
        let body_length = u32::from_le_bytes(*header) as usize;
        if self.heard.len() < 4 + body_length {
            return;
        }
        let body = &self.heard[4..4 + body_length];
        if let Some((stream, _)) =
            self.at_work.take().and_then(|key| self.connections.get_mut(&key))
        {
            let mut answer =
                format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {body_length}\r\n\r\n")
                    .into_bytes();
            answer.extend_from_slice(body);
            stream.write_all(&answer).expect("a client that reads");
        }
        self.heard.clear();
        self.feed_worker();
    }
}

fn listen(port: u16) -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_reuse_port(true).expect("SO_REUSEPORT");
    socket.set_nonblocking(true).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], port)).into()).expect("a free port");
    socket.listen(1024).expect("a bound socket");
    socket.into()
}

/// The worker is told which descriptor is its end of the pair; it ends when the pair closes.
#[allow(clippy::zombie_processes, reason = "the worker lives as long as this program")]
fn start_worker(worker: &str) -> UnixStream {
    let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    let inherited = rustix::io::fcntl_dupfd_cloexec(&theirs, 10).expect("a descriptor");
    rustix::io::fcntl_setfd(&inherited, rustix::io::FdFlags::empty()).expect("a descriptor");
    let number = inherited.as_raw_fd().to_string();
    Command::new("python3").arg(worker).arg(number).spawn().expect("a Python interpreter");
    ours
}

/// An event of the size that an HTTP API sends, framed.
fn event() -> Vec<u8> {
    let headers: serde_json::Map<String, serde_json::Value> = (0..12)
        .map(|n| {
            (
                format!("x-header-{n}"),
                serde_json::Value::from("a value of ordinary length, as browsers send it"),
            )
        })
        .collect();
    let event = serde_json::json!({
        "version": "2.0", "routeKey": "GET /hello", "rawPath": "/hello", "rawQueryString": "", "headers": headers,
        "requestContext": {
            "accountId": "000000000000", "apiId": "abcdefghij", "domainName": "abcdefghij.execute-api.localhost",
            "domainPrefix": "abcdefghij", "requestId": "AAAAAAAAAAAAAAA=", "routeKey": "GET /hello", "stage": "$default",
            "http": {"method": "GET", "path": "/hello", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "bench"},
            "time": "22/Nov/2026:20:26:54 +0000", "timeEpoch": 1_795_379_214_123_u64,
        },
        "isBase64Encoded": false,
    });
    let body = event.to_string().into_bytes();
    let length = u32::try_from(body.len()).expect("a small event");
    [&length.to_le_bytes()[..], &body].concat()
}
