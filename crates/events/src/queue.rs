//! The engine of queues: take messages, gather them, call the function with several batches at one time, remove what
//! was processed.
//!
//! A message that fails is left alone: the queue gives it out again when its time to be hidden is over, and its redrive
//! policy decides how often. Messages that were taken and not yet given to the function are given back on a stop.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::{
    CallError, SourceError,
    backoff::Backoff,
    limits::{
        EVENT_BYTES_MAX, EVENT_FRAME_BYTES, FUNCTION_RETRY_MAX, MESSAGES_AT_ONCE, QUEUE_POLL_EMPTY,
        SERVICE_RETRY_MAX,
    },
    response::{self, Failures},
    run::{Run, event},
    scale::{PROVISIONED_POLLERS, Scale},
    source::{Cursor, Polled, Record, Settle},
};

/// Works on a queue until the mapping is stopped.
pub(crate) async fn work(run: Arc<Run>) {
    let _reader = run.shared.reader();
    let mut backoff = run.backoff(SERVICE_RETRY_MAX);
    let hidden = loop {
        let permit = run.shared.polls.acquire().await;
        let hidden = run.source.hidden_for().await;
        drop(permit);
        match hidden {
            Ok(hidden) => break hidden,
            Err(error) => {
                run.report_source(&error).await;
                if run.pause(backoff.pause()).await {
                    return;
                }
            }
        }
    };
    Queue::new(run, hidden).work().await;
}

/// What came of a request for messages.
struct Received {
    asked: usize,
    asked_at: Instant,
    at: Instant,
    polled: Result<Polled, SourceError>,
}

struct Queue {
    run: Arc<Run>,
    /// How long a message that was taken is ours.
    hidden: Duration,
    buffer: Vec<Record>,
    buffer_bytes: usize,
    /// When the oldest message of the buffer came.
    first_at: Option<Instant>,
    receiving: JoinSet<Received>,
    /// No request before this.
    not_before: Option<Instant>,
    backoff: Backoff,
    calls: JoinSet<Handled>,
    scale: Scale,
}

/// How a batch went.
enum Handled {
    /// The function was called, whatever it said.
    Called,
    /// It was not: it is called too often.
    Throttled,
}

impl Queue {
    fn new(run: Arc<Run>, hidden: Duration) -> Self {
        Self {
            hidden,
            buffer: Vec::new(),
            buffer_bytes: 0,
            first_at: None,
            receiving: JoinSet::new(),
            not_before: None,
            backoff: run.backoff(SERVICE_RETRY_MAX),
            calls: JoinSet::new(),
            scale: Scale::new(&run.mapping.settings),
            run,
        }
    }

    async fn work(mut self) {
        let run = Arc::clone(&self.run);
        while !run.is_stopped() {
            self.scale();
            self.start_calls();
            self.start_receiving();
            let wake = self.wake();
            tokio::select! {
                () = run.stopped() => break,
                Some(handled) = self.calls.join_next() => {
                    if matches!(handled, Ok(Handled::Throttled)) {
                        self.scale.throttled();
                    }
                }
                Some(received) = self.receiving.join_next() => {
                    if let Ok(received) = received {
                        self.received(received).await;
                    }
                }
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
        }
        self.stop().await;
    }

    fn batch_size(&self) -> usize {
        usize::try_from(self.run.mapping.settings.batch_size).unwrap_or(MESSAGES_AT_ONCE).max(1)
    }

    fn window(&self) -> Duration {
        Duration::from_secs(self.run.mapping.settings.window_s.into())
    }

    fn scale(&mut self) {
        if self.scale.look(self.calls.len())
            && let Some(pollers) = self.scale.pollers()
        {
            self.run.measure(&PROVISIONED_POLLERS, pollers);
        }
    }

    fn has_room(&self) -> bool {
        self.calls.len() < self.scale.calls()
    }

    /// Whether the messages of the buffer are to be delivered now.
    fn is_ready(&self) -> bool {
        let full = self.buffer.len() >= self.batch_size()
            || self.buffer_bytes + EVENT_FRAME_BYTES > EVENT_BYTES_MAX;
        full || self.first_at.is_some_and(|first| first.elapsed() >= self.window())
    }

    fn start_calls(&mut self) {
        while self.has_room() && !self.buffer.is_empty() && self.is_ready() {
            let taken_at = self.first_at.unwrap_or_else(Instant::now);
            let batch = self.take_batch();
            let (run, hidden) = (Arc::clone(&self.run), self.hidden);
            self.calls.spawn(async move { handle(&run, &batch, taken_at, hidden).await });
        }
    }

    /// As many messages as one call may have; at least one.
    fn take_batch(&mut self) -> Vec<Record> {
        let (mut count, mut bytes) = (0, EVENT_FRAME_BYTES);
        for record in self.buffer.iter().take(self.batch_size()) {
            bytes += record.json.len() + 1;
            if bytes > EVENT_BYTES_MAX && count > 0 {
                break;
            }
            count += 1;
        }
        let batch: Vec<Record> = self.buffer.drain(..count).collect();
        self.buffer_bytes = self.buffer.iter().map(|record| record.json.len() + 1).sum();
        self.first_at = (!self.buffer.is_empty()).then(Instant::now);
        batch
    }

    /// Whether messages are to be asked for, once it is time. They are not taken before there is somebody who may
    /// process them.
    fn wants_messages(&self) -> bool {
        self.has_room()
            && self.buffer.len() < self.batch_size()
            && self.receiving.len() < self.scale.requests()
    }

    fn start_receiving(&mut self) {
        let now = Instant::now();
        if self.not_before.is_some_and(|until| now < until) {
            return;
        }
        while self.wants_messages() {
            let room = self.batch_size() - self.buffer.len();
            let asked = room.min(MESSAGES_AT_ONCE);
            // Not all requests wait, and none longer than the messages that are here may.
            let left = self.first_at.map(|first| self.window().saturating_sub(first.elapsed()));
            let waits = self.receiving.len() < self.scale.waiting();
            let run = Arc::clone(&self.run);
            self.receiving.spawn(async move {
                let permit = run.polls().acquire().await;
                let long = if waits { run.long_poll() } else { Duration::ZERO };
                let wait = left.map_or(long, |left| left.min(long));
                let asked_at = Instant::now();
                let polled = run.source.poll(&Cursor::default(), asked, wait).await;
                drop(permit);
                Received { asked, asked_at, at: Instant::now(), polled }
            });
        }
    }

    async fn received(&mut self, received: Received) {
        let records = match received.polled {
            Ok(polled) => polled.records,
            Err(error) => {
                self.run.report_source(&error).await;
                self.scale.failed();
                self.not_before = Some(Instant::now() + self.backoff.pause());
                return;
            }
        };
        self.backoff.reset();
        let is_quick = received.at - received.asked_at < QUEUE_POLL_EMPTY;
        self.not_before = (records.is_empty() && is_quick).then(|| received.at + QUEUE_POLL_EMPTY);
        self.scale.answered(records.len() == received.asked);
        self.run.count(|counts| &counts.polled, records.len());
        let (wanted, unwanted): (Vec<Record>, Vec<Record>) =
            records.into_iter().partition(|record| self.run.filters.passes(record));
        if !unwanted.is_empty() {
            self.run.count(|counts| &counts.filtered_out, unwanted.len());
            remove(&self.run, unwanted.into_iter().map(|record| record.receipt).collect()).await;
        }
        if !wanted.is_empty() && self.first_at.is_none() {
            self.first_at = Some(received.at);
        }
        self.buffer_bytes += wanted.iter().map(|record| record.json.len() + 1).sum::<usize>();
        self.buffer.extend(wanted);
    }

    /// When something is to be done without anything happening.
    fn wake(&self) -> Option<Instant> {
        let window = self.first_at.filter(|_| self.has_room()).map(|first| first + self.window());
        let growth = (!self.has_room()).then(|| self.scale.next_look());
        // Only where something comes of it: else the time stays past, and the engine never rests.
        let retry = self.not_before.filter(|_| self.wants_messages());
        [window, growth, retry].into_iter().flatten().min()
    }

    /// Gives back what was not begun, and waits for what was.
    async fn stop(mut self) {
        let run = Arc::clone(&self.run);
        let held = std::mem::take(&mut self.buffer);
        let mut receiving = std::mem::take(&mut self.receiving);
        // Requests that wait are not cut off: the queue might give their messages to nobody.
        tokio::spawn(async move {
            release(&run, held).await;
            while let Some(received) = receiving.join_next().await {
                if let Ok(Received { polled: Ok(polled), .. }) = received {
                    release(&run, polled.records).await;
                }
            }
        });
        while self.calls.join_next().await.is_some() {}
    }
}

async fn release(run: &Run, records: Vec<Record>) {
    let receipts: Vec<String> = records.into_iter().map(|record| record.receipt).collect();
    if receipts.is_empty() {
        return;
    }
    if let Err(error) = run.source.settle(&receipts, Settle::Release).await {
        tracing::warn!(mapping = run.key.uuid, %error, "messages stay hidden for a while");
    }
}

async fn remove(run: &Run, receipts: Vec<String>) {
    let count = receipts.len();
    match run.source.settle(&receipts, Settle::Remove).await {
        Ok(()) => run.count(|counts| &counts.deleted, count),
        // They come again, as messages do that are delivered at least once.
        Err(error) => {
            tracing::warn!(mapping = run.key.uuid, %error, "messages are not removed");
        }
    }
}

/// Calls the function with a batch and removes what it processed. While it is throttled it is tried again, as long as
/// the messages are ours.
async fn handle(run: &Run, batch: &[Record], taken_at: Instant, hidden: Duration) -> Handled {
    let mut backoff = run.backoff(FUNCTION_RETRY_MAX);
    loop {
        let called = run.call(event(batch.iter(), ""), batch.len()).await;
        let outcome = match called.result {
            Ok(outcome) => outcome,
            Err(error) => {
                let pause = backoff.pause();
                let throttled = error == CallError::Throttled;
                let over = taken_at.elapsed() + pause > hidden / 2;
                if over || run.pause(pause).await {
                    return if throttled { Handled::Throttled } else { Handled::Called };
                }
                continue;
            }
        };
        let failures = if outcome.function_error.is_some() {
            Failures::All
        } else if run.mapping.settings.reports_item_failures {
            response::failures(&outcome.payload, batch)
        } else {
            Failures::None
        };
        let is_done = |place: usize| match &failures {
            Failures::None => true,
            Failures::Some(failed) => failed.binary_search(&place).is_err(),
            Failures::All => false,
        };
        let done = batch.iter().enumerate().filter(|(place, _)| is_done(*place));
        let receipts: Vec<String> = done.map(|(_, record)| record.receipt.clone()).collect();
        if !receipts.is_empty() {
            remove(run, receipts).await;
        }
        return Handled::Called;
    }
}
