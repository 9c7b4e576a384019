//! From [`append`](crate::Logs::append) to the disk: a bounded queue and the one worker that empties it.
//!
//! The worker takes what waits, within limits, and writes it in one transaction. While that commit is under way the
//! next appends gather, so the busier the server is, the more lines share a sync, and an idle server writes a
//! line at once. Before it writes, a batch lives beside the queue and not in the worker, so a worker that dies loses
//! nothing.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use gatemill_store::Write;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::{
    Error, Event, Logs, ingest,
    limits::{
        APPEND_BYTES_WAITING_MAX, APPENDS_WAITING_MAX, EVENT_BYTES_MAX, WRITE_APPENDS_MAX,
        WRITE_BYTES_MAX, WRITE_RETRY_MS,
    },
    records::{GROUPS, GroupRecord, STREAMS, StreamRecord, group_key, stream_key},
};

/// Where events go. The ids are for a group and a stream that have to be made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Destination {
    account: String,
    region: String,
    group: String,
    stream: String,
    ids: (u64, u64),
}

impl Destination {
    pub(crate) fn new(
        account: &str,
        region: &str,
        group: &str,
        stream: &str,
        ids: (u64, u64),
    ) -> Self {
        let [account, region, group, stream] = [account, region, group, stream].map(str::to_owned);
        Self { account, region, group, stream, ids }
    }
}

/// The queue of what is to be written.
pub(crate) struct Queue {
    sender: mpsc::Sender<Message>,
    room: Arc<Semaphore>,
    /// Held by the worker that runs.
    inbox: Mutex<Inbox>,
}

struct Inbox {
    receiver: mpsc::Receiver<Message>,
    /// Taken from the queue and not yet durable.
    batch: VecDeque<Message>,
}

enum Message {
    Append { append: Arc<Append>, _room: OwnedSemaphorePermit },
    Flush(oneshot::Sender<()>),
}

struct Append {
    to: Destination,
    events: Vec<Event>,
    bytes: usize,
}

impl Queue {
    pub(crate) fn new() -> Self {
        let (sender, receiver) = mpsc::channel(APPENDS_WAITING_MAX);
        let room = Arc::new(Semaphore::new(APPEND_BYTES_WAITING_MAX));
        Self { sender, room, inbox: Mutex::new(Inbox { receiver, batch: VecDeque::new() }) }
    }

    pub(crate) async fn append(&self, to: Destination, events: Vec<Event>) -> Result<(), Error> {
        for events in pieces(events) {
            let bytes = events.iter().map(|event| ingest::counted(&event.message)).sum();
            let room = u32::try_from(bytes).expect("a piece is a few MiB at most");
            let room =
                Arc::clone(&self.room).acquire_many_owned(room).await.map_err(|_| Error::Ended)?;
            let append = Arc::new(Append { to: to.clone(), events, bytes });
            let message = Message::Append { append, _room: room };
            self.sender.send(message).await.map_err(|_| Error::Ended)?;
        }
        Ok(())
    }

    pub(crate) async fn flush(&self) -> Result<(), Error> {
        let (sender, durable) = oneshot::channel();
        self.sender.send(Message::Flush(sender)).await.map_err(|_| Error::Ended)?;
        durable.await.map_err(|_| Error::Ended)
    }
}

/// Splits lines that are too long for one event, and lists that are too long for one write.
fn pieces(events: Vec<Event>) -> Vec<Vec<Event>> {
    let mut pieces = Vec::new();
    let mut piece = Vec::new();
    let mut bytes = 0;
    for event in events.into_iter().flat_map(split) {
        let counted = ingest::counted(&event.message);
        if bytes + counted > WRITE_BYTES_MAX && !piece.is_empty() {
            pieces.push(std::mem::take(&mut piece));
            bytes = 0;
        }
        bytes += counted;
        piece.push(event);
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}

/// Cuts a message into events of [`EVENT_BYTES_MAX`], never within a character.
fn split(event: Event) -> Vec<Event> {
    if event.message.len() <= EVENT_BYTES_MAX {
        return vec![event];
    }
    let mut events = Vec::new();
    let mut rest = event.message.as_str();
    while !rest.is_empty() {
        let (head, tail) = rest.split_at(rest.floor_char_boundary(EVENT_BYTES_MAX));
        events.push(Event { timestamp: event.timestamp, message: head.to_owned() });
        rest = tail;
    }
    events
}

/// Writes what is appended until the store is closed.
pub(crate) async fn run(logs: Arc<Logs>) {
    let mut inbox = logs.queue.inbox.lock().await;
    loop {
        if inbox.batch.is_empty() {
            // The queue holds a sender itself, so this waits until there is something.
            let Some(message) = inbox.receiver.recv().await else { return };
            inbox.batch.push_back(message);
        }
        inbox.gather();
        if !commit(&logs, &inbox.batch).await {
            logs.queue.room.close();
            inbox.receiver.close();
            inbox.batch.clear();
            while inbox.receiver.try_recv().is_ok() {}
            return;
        }
        for message in inbox.batch.drain(..) {
            if let Message::Flush(durable) = message {
                // Who asked may have gone; nothing is left to do then.
                let _ = durable.send(());
            }
        }
    }
}

impl Inbox {
    fn gather(&mut self) {
        let mut bytes: usize = self.batch.iter().map(Message::bytes).sum();
        while bytes < WRITE_BYTES_MAX && self.batch.len() < WRITE_APPENDS_MAX {
            let Ok(message) = self.receiver.try_recv() else { return };
            bytes += message.bytes();
            self.batch.push_back(message);
        }
    }
}

impl Message {
    fn bytes(&self) -> usize {
        match self {
            Self::Append { append, .. } => append.bytes,
            Self::Flush(_) => 0,
        }
    }
}

/// Writes a batch, again and again until it succeeds; `false` when the store is closed.
async fn commit(logs: &Logs, batch: &VecDeque<Message>) -> bool {
    let appends: Vec<Arc<Append>> = batch
        .iter()
        .filter_map(|message| match message {
            Message::Append { append, .. } => Some(Arc::clone(append)),
            Message::Flush(_) => None,
        })
        .collect();
    if appends.is_empty() {
        return true;
    }
    let appends: Arc<[Arc<Append>]> = appends.into();
    let (mut pause_ms, longest_ms) = WRITE_RETRY_MS;
    loop {
        let (appends, now_ms) = (Arc::clone(&appends), logs.clock.now().millis());
        match logs.store.write(move |tx| write(tx, &appends, now_ms)).await {
            Ok(()) => return true,
            Err(gatemill_store::Error::Closed) => return false,
            Err(error) => {
                not_written(&error, pause_ms);
                tokio::time::sleep(Duration::from_millis(pause_ms)).await;
                pause_ms = (pause_ms * 2).min(longest_ms);
            }
        }
    }
}

/// Tells the operator, with the causes: the first of them says what the disk answered.
fn not_written(error: &(dyn std::error::Error + 'static), pause_ms: u64) {
    tracing::error!(error, pause_ms, "log events could not be written; trying again");
}

/// One stream of a batch, with all that the batch has for it.
struct Target<'a> {
    to: &'a Destination,
    events: Vec<&'a Event>,
}

fn write(
    tx: &mut Write,
    appends: &[Arc<Append>],
    now_ms: i64,
) -> Result<(), gatemill_store::Error> {
    let mut places: HashMap<(&str, &str, &str, &str), usize> = HashMap::new();
    let mut targets: Vec<Target<'_>> = Vec::new();
    for append in appends {
        let to = &append.to;
        let name = (&*to.account, &*to.region, &*to.group, &*to.stream);
        let at = *places.entry(name).or_insert_with(|| {
            targets.push(Target { to, events: Vec::new() });
            targets.len() - 1
        });
        targets[at].events.extend(&append.events);
    }
    for Target { to, events } in targets {
        let group_key = group_key(&to.account, &to.region, &to.group);
        let group = match GROUPS.get(tx, &group_key)? {
            Some(group) => group,
            None => {
                let group = GroupRecord::new(to.ids.0, now_ms);
                GROUPS.put(tx, &group_key, &group)?;
                group
            }
        };
        let stream = STREAMS.get(tx, &stream_key(group.id, &to.stream))?;
        let stream = stream.unwrap_or_else(|| StreamRecord::new(to.ids.1, now_ms));
        ingest::write(tx, group.id, &to.stream, stream, events, now_ms)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_and_long_lists_are_cut_and_nothing_is_lost() {
        let line = "é".repeat(EVENT_BYTES_MAX);
        let whole = pieces(vec![Event { timestamp: 5, message: line.clone() }]);
        let events: Vec<&Event> = whole.iter().flatten().collect();
        assert!(events.len() >= 2);
        assert!(events.iter().all(|e| e.message.len() <= EVENT_BYTES_MAX && e.timestamp == 5));
        assert_eq!(events.iter().map(|e| e.message.as_str()).collect::<String>(), line);

        let megabyte = Event { timestamp: 1, message: "x".repeat(EVENT_BYTES_MAX) };
        let lists = pieces(vec![megabyte; 9]);
        assert_eq!(lists.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 1]);
        assert!(pieces(Vec::new()).is_empty());
    }
}
