//! Passes log batches on to the sink, off the path of calls.
//!
//! One worker takes them in the order in which they were pushed, gathers for a few milliseconds, and appends them
//! stream by stream: the sink is woken per gathering and not per call. Batches of one stream are pushed by the environment
//! that owns it, one call after the other, so their order holds. When the sink is slow, pushing waits; nothing is
//! dropped.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::{
    LogEvent, LogSink, LogStream,
    limits::{LOG_BATCHES_MAX, LOG_GATHERING, LOG_WAITING_KIB_MAX},
};

/// The queue before the sink.
pub(crate) struct LogPump {
    sender: mpsc::Sender<Message>,
    /// Taken by the worker for as long as it runs; a worker that is started again finds everything here.
    receiver: Mutex<mpsc::Receiver<Message>>,
    room: Arc<Semaphore>,
    sink: Arc<dyn LogSink>,
}

impl std::fmt::Debug for LogPump {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogPump").finish_non_exhaustive()
    }
}

enum Message {
    Batch { stream: Arc<LogStream>, events: Vec<LogEvent>, _room: OwnedSemaphorePermit },
    Flush(oneshot::Sender<()>),
}

impl LogPump {
    pub(crate) fn new(sink: Arc<dyn LogSink>) -> Self {
        let (sender, receiver) = mpsc::channel(LOG_BATCHES_MAX);
        let room = usize::try_from(LOG_WAITING_KIB_MAX).expect("a small number");
        let room = Arc::new(Semaphore::new(room));
        Self { sender, receiver: Mutex::new(receiver), room, sink }
    }

    /// Puts a batch into the queue; waits while the queue is full.
    pub(crate) async fn push(&self, stream: &Arc<LogStream>, events: Vec<LogEvent>) {
        if events.is_empty() {
            return;
        }
        let bytes: usize = events.iter().map(|event| event.message.len()).sum();
        let kib = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX).min(LOG_WAITING_KIB_MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(kib).await;
        let room = room.expect("the semaphore is never closed");
        let batch = Message::Batch { stream: Arc::clone(stream), events, _room: room };
        // The receiver lives as long as this does.
        let _ = self.sender.send(batch).await;
    }

    /// Returns when everything pushed before is with the sink.
    pub(crate) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        let _ = self.sender.send(Message::Flush(done)).await;
        let _ = flushed.await;
    }

    /// The worker: runs for ever.
    pub(crate) async fn run(&self) {
        let mut receiver = self.receiver.lock().await;
        while let Some(first) = receiver.recv().await {
            if matches!(first, Message::Batch { .. }) {
                tokio::time::sleep(LOG_GATHERING).await;
            }
            let mut gathered = Vec::new();
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Batch { stream, events, _room } => {
                        gathered.push((stream, events, _room));
                    }
                    Message::Flush(done) => {
                        self.append(&mut gathered).await;
                        let _ = done.send(());
                    }
                }
                next = receiver.try_recv().ok();
            }
            self.append(&mut gathered).await;
        }
    }

    /// Appends what was gathered, one call of the sink per stream.
    async fn append(
        &self,
        gathered: &mut Vec<(Arc<LogStream>, Vec<LogEvent>, OwnedSemaphorePermit)>,
    ) {
        // Stable: batches of one stream keep their order.
        gathered.sort_by_key(|(stream, ..)| Arc::as_ptr(stream).addr());
        let mut joined: Vec<(Arc<LogStream>, Vec<LogEvent>)> = Vec::new();
        let mut rooms = Vec::with_capacity(gathered.len());
        for (stream, events, room) in gathered.drain(..) {
            rooms.push(room);
            match joined.last_mut() {
                Some((last, all)) if Arc::ptr_eq(last, &stream) => all.extend(events),
                _ => joined.push((stream, events)),
            }
        }
        for (stream, events) in joined {
            self.sink.append(&stream, events).await;
        }
    }
}
