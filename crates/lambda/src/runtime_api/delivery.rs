//! Sends events to a subscriber inside the sandbox: gathered as it asked, by HTTP or TCP, again when it does not answer.
//!
//! A task of its own, so that a slow subscriber holds up nobody. What does not fit while it is slow is counted and thrown
//! away, and the subscriber is told how much. The function's log does not depend on it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use gatemill_sandbox::Sockets;
use gatemill_wire::Timestamp;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};

use super::telemetry::{Destination, Subscription};
use crate::limits::{
    TELEMETRY_ANSWER_BYTES_MAX, TELEMETRY_ATTEMPT, TELEMETRY_ATTEMPTS_MAX, TELEMETRY_BACKOFF,
    TELEMETRY_EVENTS_WAITING_MAX, TELEMETRY_WAITING_BYTES_MAX,
};

/// Something that happened in an environment.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) time: Timestamp,
    /// `platform.start` and its like, `function` or `extension`.
    pub(crate) kind: &'static str,
    pub(crate) record: Value,
}

/// The near end of a subscription.
#[derive(Debug)]
pub(crate) struct Subscriber {
    subscription: Arc<Subscription>,
    sender: mpsc::Sender<String>,
    ledger: Arc<Ledger>,
    delivery: JoinHandle<()>,
}

/// What waits and what is lost.
#[derive(Debug, Default)]
struct Ledger {
    waiting_bytes: AtomicUsize,
    lost_records: AtomicU64,
    lost_bytes: AtomicU64,
}

impl Ledger {
    fn lose(&self, records: usize, bytes: usize) {
        self.lost_records.fetch_add(records as u64, Ordering::Relaxed);
        self.lost_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Subscriber {
    /// Begins to deliver. It ends with what it has when this is dropped.
    pub(crate) fn start(subscription: Subscription, sockets: Sockets) -> Self {
        let (sender, receiver) = mpsc::channel(TELEMETRY_EVENTS_WAITING_MAX);
        let (subscription, ledger) = (Arc::new(subscription), Arc::new(Ledger::default()));
        let delivery = Delivery {
            subscription: Arc::clone(&subscription),
            ledger: Arc::clone(&ledger),
            sockets,
            stream: None,
        };
        let delivery = tokio::spawn(delivery.run(receiver));
        Self { subscription, sender, ledger, delivery }
    }

    /// Delivers what is left, and returns when that was tried.
    pub(crate) async fn finish(self) {
        drop(self.sender);
        let _ = self.delivery.await;
    }

    /// Sends an event if it is wanted.
    pub(crate) fn tell(&self, event: &Event) {
        if !self.subscription.wants(event.kind) {
            return;
        }
        let lost = self.ledger.lost_records.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let bytes = self.ledger.lost_bytes.swap(0, Ordering::Relaxed);
            let reason =
                "Consumer seems to have fallen behind as it has not acknowledged receipt of logs.";
            let record = json!({ "reason": reason, "droppedRecords": lost, "droppedBytes": bytes });
            let told = self.put(line(event.time, "platform.logsDropped", &record));
            if told.is_err() {
                self.ledger.lost_records.fetch_add(lost, Ordering::Relaxed);
                self.ledger.lost_bytes.fetch_add(bytes, Ordering::Relaxed);
            }
        }
        let text = match event.record.as_str().filter(|_| self.subscription.objects) {
            // A line that the function wrote as an object is passed on as one.
            Some(text) if text.starts_with('{') => {
                let object = serde_json::from_str::<Value>(text).ok().filter(Value::is_object);
                line(event.time, event.kind, &object.unwrap_or_else(|| text.into()))
            }
            _ => line(event.time, event.kind, &event.record),
        };
        if let Err(bytes) = self.put(text) {
            self.ledger.lose(1, bytes);
        }
    }

    /// Puts a line into the queue, or says how long it was.
    fn put(&self, text: String) -> Result<(), usize> {
        let bytes = text.len();
        let before = self.ledger.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = before + bytes <= TELEMETRY_WAITING_BYTES_MAX;
        if fits && self.sender.try_send(text).is_ok() {
            return Ok(());
        }
        self.ledger.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        Err(bytes)
    }
}

fn line(time: Timestamp, kind: &str, record: &Value) -> String {
    json!({ "time": time.iso8601_millis(), "type": kind, "record": record }).to_string()
}

/// The far end.
struct Delivery {
    subscription: Arc<Subscription>,
    ledger: Arc<Ledger>,
    sockets: Sockets,
    /// The connection to a TCP subscriber.
    stream: Option<TcpStream>,
}

impl Delivery {
    async fn run(mut self, mut receiver: mpsc::Receiver<String>) {
        while let Some(first) = receiver.recv().await {
            let batch = self.gather(first, &mut receiver).await;
            let bytes: usize = batch.iter().map(String::len).sum();
            let delivered = self.deliver(&batch).await;
            self.ledger.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            if !delivered {
                self.ledger.lose(batch.len(), bytes);
            }
        }
    }

    /// What comes until there is enough of it, or long enough after the first.
    async fn gather(&self, first: String, receiver: &mut mpsc::Receiver<String>) -> Vec<String> {
        let deadline = Instant::now() + self.subscription.timeout;
        let mut bytes = first.len();
        let mut batch = vec![first];
        while batch.len() < self.subscription.max_items && bytes < self.subscription.max_bytes {
            match timeout_at(deadline, receiver.recv()).await {
                Ok(Some(text)) => {
                    bytes += text.len();
                    batch.push(text);
                }
                Ok(None) | Err(_) => break,
            }
        }
        batch
    }

    async fn deliver(&mut self, batch: &[String]) -> bool {
        let mut pause = TELEMETRY_BACKOFF;
        for attempt in 0..TELEMETRY_ATTEMPTS_MAX {
            if attempt > 0 {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            let tried = match self.subscription.destination.clone() {
                Destination::Http { port, path, method } => {
                    timeout(TELEMETRY_ATTEMPT, self.post(port, &path, method.as_str(), batch)).await
                }
                Destination::Tcp { port } => {
                    timeout(TELEMETRY_ATTEMPT, self.write(port, batch)).await
                }
            };
            match tried {
                Ok(Ok(())) => return true,
                Ok(Err(error)) => {
                    tracing::debug!(%error, extension = %self.subscription.name, "events were not taken");
                }
                Err(_) => {}
            }
            self.stream = None;
        }
        false
    }

    async fn connect(&self, port: u16) -> io::Result<TcpStream> {
        let socket = TcpSocket::from_std_stream(self.sockets.tcp().await?.into());
        socket.connect(([127, 0, 0, 1], port).into()).await
    }

    /// One request on a connection of its own.
    async fn post(&self, port: u16, path: &str, method: &str, batch: &[String]) -> io::Result<()> {
        let mut stream = self.connect(port).await?;
        let body = format!("[{}]", batch.join(","));
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: sandbox.localdomain:{port}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body.as_bytes()).await?;
        let mut answer = Vec::new();
        while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
            let mut piece = [0; 1024];
            let read = stream.read(&mut piece).await?;
            if read == 0 || answer.len() > TELEMETRY_ANSWER_BYTES_MAX {
                break;
            }
            answer.extend_from_slice(&piece[..read]);
        }
        let is_taken = answer.starts_with(b"HTTP/1.") && answer.get(9) == Some(&b'2');
        if is_taken { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    async fn write(&mut self, port: u16, batch: &[String]) -> io::Result<()> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect(port).await?,
        };
        let mut text = batch.join("\n");
        text.push('\n');
        stream.write_all(text.as_bytes()).await?;
        self.stream = Some(stream);
        Ok(())
    }
}
