//! The log of one environment's calls while they run: lines of ours and of the function, in order, with their times.
//!
//! Output is cut at line ends, as AWS does; a runtime that wants several lines in one event writes `\r` inside. What
//! does not fit a limit is cut into several events and never dropped.

use std::sync::Arc;

use gatemill_sandbox::Sockets;
use gatemill_wire::Timestamp;
use serde_json::Value;

use crate::{
    LogEvent, LogStream,
    limits::{
        LOG_EVENT_BYTES_MAX, LOG_HELD_BYTES_MAX, LOG_TAIL_BYTES, TELEMETRY_EARLY_BYTES_MAX,
        TELEMETRY_EARLY_EVENTS_MAX,
    },
    runtime_api::{
        delivery::{Event, Subscriber},
        telemetry::Subscription,
    },
};

/// Collects log events until they are taken.
#[derive(Debug)]
pub(crate) struct CallLog {
    stream: Arc<LogStream>,
    events: Vec<LogEvent>,
    held: usize,
    /// The begin of a line whose end has not arrived.
    partial: Vec<u8>,
    /// The same of external extensions.
    extension_partial: Vec<u8>,
    /// The last bytes since [`Self::begin_tail`].
    tail: Option<Vec<u8>>,
    /// What happened before anybody could subscribe to it, while somebody still may.
    early: Option<Vec<Event>>,
    early_bytes: usize,
    subscribers: Vec<(Arc<Subscription>, Subscriber)>,
}

impl CallLog {
    pub(crate) fn new(stream: Arc<LogStream>) -> Self {
        Self {
            stream,
            events: Vec::new(),
            held: 0,
            partial: Vec::new(),
            extension_partial: Vec::new(),
            tail: None,
            early: None,
            early_bytes: 0,
            subscribers: Vec::new(),
        }
    }

    /// Extensions may subscribe to what happens from now on, until [`Self::end_init`].
    pub(crate) fn begin_init(&mut self) {
        self.early = Some(Vec::new());
    }

    /// Nobody may subscribe any more.
    pub(crate) fn end_init(&mut self) {
        self.early = None;
    }

    /// Sends events to an extension, from the begin of initialisation on.
    pub(crate) fn subscribe(&mut self, subscription: Subscription, sockets: Sockets) {
        let subscriber = Subscriber::start(subscription.clone(), sockets);
        self.early.iter().flatten().for_each(|event| subscriber.tell(event));
        self.subscribers.push((Arc::new(subscription), subscriber));
    }

    /// Sends what is left to subscribers; resolves when they have it, or do not want it.
    pub(crate) fn end_subscriptions(&mut self) -> impl Future<Output = ()> + 'static {
        let subscribers: Vec<_> = self.subscribers.drain(..).collect();
        async move {
            for (_, subscriber) in subscribers {
                subscriber.finish().await;
            }
        }
    }

    /// Who subscribed to what.
    pub(crate) fn subscriptions(&self) -> Vec<Arc<Subscription>> {
        self.subscribers.iter().map(|(subscription, _)| Arc::clone(subscription)).collect()
    }

    /// Whether anybody hears, or may yet hear, of events.
    pub(crate) fn is_heard(&self) -> bool {
        self.early.is_some() || !self.subscribers.is_empty()
    }

    /// Tells subscribers of an event; it is no line of the log.
    pub(crate) fn tell(&mut self, time: Timestamp, kind: &'static str, record: Value) {
        let event = Event { time, kind, record };
        self.subscribers.iter().for_each(|(_, subscriber)| subscriber.tell(&event));
        if let Some(early) = &mut self.early {
            self.early_bytes += event.record.as_str().map_or(0, str::len);
            let fits = self.early_bytes <= TELEMETRY_EARLY_BYTES_MAX;
            if fits && early.len() < TELEMETRY_EARLY_EVENTS_MAX {
                early.push(event);
            }
        }
    }

    pub(crate) fn stream(&self) -> &Arc<LogStream> {
        &self.stream
    }

    /// From now on the last 4 KB are kept.
    pub(crate) fn begin_tail(&mut self) {
        self.tail = Some(Vec::new());
    }

    /// The last 4 KB, from a character's start on.
    pub(crate) fn take_tail(&mut self) -> Option<Vec<u8>> {
        let mut tail = self.tail.take()?;
        let cut = tail.len().saturating_sub(LOG_TAIL_BYTES);
        tail.drain(..cut);
        let is_inside = |byte: &u8| *byte & 0b1100_0000 == 0b1000_0000;
        let broken = if cut == 0 { 0 } else { tail.iter().take_while(|b| is_inside(b)).count() };
        tail.drain(..broken);
        Some(tail)
    }

    /// A line of ours.
    pub(crate) fn line(&mut self, now: Timestamp, text: String) {
        self.end_partial(now);
        self.push(now, text);
    }

    /// Bytes that external extensions wrote.
    pub(crate) fn extension_output(&mut self, now: Timestamp, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end + 1);
            self.extension_partial.extend_from_slice(line);
            self.end_extension_partial(now);
            bytes = rest;
        }
        self.extension_partial.extend_from_slice(bytes);
        if self.extension_partial.len() > LOG_EVENT_BYTES_MAX {
            self.end_extension_partial(now);
        }
    }

    fn end_extension_partial(&mut self, now: Timestamp) {
        if self.extension_partial.is_empty() {
            return;
        }
        let bytes = std::mem::take(&mut self.extension_partial);
        let text = text_of(bytes);
        if self.is_heard() {
            self.tell(now, "extension", text.trim_end_matches('\n').into());
        }
        self.push(now, text);
    }

    /// Bytes that the function wrote.
    pub(crate) fn output(&mut self, now: Timestamp, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end + 1);
            self.extend_partial(now, line);
            self.end_partial(now);
            bytes = rest;
        }
        self.extend_partial(now, bytes);
    }

    fn extend_partial(&mut self, now: Timestamp, mut bytes: &[u8]) {
        while self.partial.len() + bytes.len() > LOG_EVENT_BYTES_MAX {
            let (fits, rest) = bytes.split_at(LOG_EVENT_BYTES_MAX - self.partial.len());
            self.partial.extend_from_slice(fits);
            self.end_partial(now);
            bytes = rest;
        }
        self.partial.extend_from_slice(bytes);
    }

    fn end_partial(&mut self, now: Timestamp) {
        if self.partial.is_empty() {
            return;
        }
        let bytes = std::mem::take(&mut self.partial);
        let text = text_of(bytes);
        if self.is_heard() {
            self.tell(now, "function", text.trim_end_matches('\n').into());
        }
        self.push(now, text);
    }

    fn push(&mut self, timestamp: Timestamp, message: String) {
        self.held += message.len();
        if let Some(tail) = &mut self.tail {
            tail.extend_from_slice(message.as_bytes());
            if tail.len() > 2 * LOG_EVENT_BYTES_MAX {
                let cut = tail.len() - 2 * LOG_TAIL_BYTES;
                tail.drain(..cut);
            }
        }
        self.events.push(LogEvent { timestamp, message });
    }

    /// Whether so much is held that it has to be passed on while the call still runs.
    pub(crate) fn is_full(&self) -> bool {
        self.held >= LOG_HELD_BYTES_MAX
    }

    /// Ends a line without an end: the call is over.
    pub(crate) fn close(&mut self, now: Timestamp) {
        self.end_partial(now);
        self.end_extension_partial(now);
    }

    /// Everything that was collected.
    pub(crate) fn take(&mut self) -> Vec<LogEvent> {
        self.held = 0;
        std::mem::take(&mut self.events)
    }
}

fn text_of(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn log() -> CallLog {
        CallLog::new(Arc::new(LogStream {
            account: "000000000000".into(),
            region: "us-east-1".into(),
            group: "/aws/lambda/f".into(),
            stream: "s".into(),
        }))
    }

    fn messages(log: &mut CallLog) -> Vec<String> {
        log.take().into_iter().map(|event| event.message).collect()
    }

    #[test]
    fn lines_are_events_and_ours_come_in_between() {
        let mut log = log();
        log.line(Timestamp(1), "START\n".into());
        log.output(Timestamp(2), b"a\nb\rc\npar");
        log.output(Timestamp(3), b"tial");
        log.line(Timestamp(4), "END\n".into());
        assert_eq!(messages(&mut log), ["START\n", "a\n", "b\rc\n", "partial", "END\n"]);
        log.output(Timestamp(5), &[0xFF, b'x']);
        log.close(Timestamp(5));
        assert_eq!(messages(&mut log), ["\u{FFFD}x"]);
    }

    #[test]
    fn long_lines_are_cut_and_much_output_is_said() {
        let mut log = log();
        log.output(Timestamp(1), &vec![b'x'; LOG_EVENT_BYTES_MAX + 5]);
        assert!(log.is_full());
        log.close(Timestamp(1));
        let lengths: Vec<_> = messages(&mut log).iter().map(String::len).collect();
        assert_eq!(lengths, [LOG_EVENT_BYTES_MAX, 5]);
        assert!(!log.is_full());
    }

    #[test]
    fn the_tail_is_the_last_4_kb_and_begins_with_a_character() {
        let mut log = log();
        log.output(Timestamp(1), b"before\n");
        log.begin_tail();
        log.output(Timestamp(1), "ü".repeat(3000).as_bytes());
        log.output(Timestamp(1), b"!\n");
        let tail = String::from_utf8(log.take_tail().unwrap()).unwrap();
        assert_eq!(tail.len(), LOG_TAIL_BYTES);
        assert!(tail.ends_with("ü!\n") && !tail.contains("before"));
        assert_eq!(log.take_tail(), None);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_whatever_the_cuts(chunks in prop::collection::vec("[a\n\r]{0,9}", 0..20)) {
            let mut log = log();
            for chunk in &chunks {
                log.output(Timestamp(0), chunk.as_bytes());
            }
            log.close(Timestamp(0));
            let messages = messages(&mut log);
            prop_assert_eq!(messages.concat(), chunks.concat());
            for message in &messages {
                prop_assert!(!message.trim_end_matches('\n').contains('\n'));
            }
        }
    }
}
