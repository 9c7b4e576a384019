//! The engine of one shard: read records in their order, deliver them in as many lanes as the mapping wants, and keep
//! the checkpoint.
//!
//! Records of one key are in one lane, so that their order is kept; a lane has one batch at a time. The checkpoint
//! is before the first record that is not settled, whichever lane it is in. With tumbling windows there is one lane, and
//! a batch does not reach over the end of a window.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use gatemill_wire::routes::BoxFuture;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::{
    SourceError,
    backoff::Backoff,
    checkpoint::{self, Checkpoint, Window},
    deliver::{self, Numbered, Step, Work},
    limits::{
        CHECKPOINT_PERIOD, EVENT_BYTES_MAX, EVENT_FRAME_BYTES, KINESIS_RECORDS_AT_ONCE,
        SERVICE_RETRY_MAX, SHARD_BYTES_MAX, SHARD_POLL_BUSY, SHARD_PUSH_LAG_MS, SHARD_PUSH_WAIT,
        SHARD_RECORDS_AT_ONCE, WINDOW_STATE_BYTES_MAX,
    },
    run::Run,
    source::{Cursor, Polled, Position, Record, is_after},
};

/// How work on a shard ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// All its records are settled, and there will be no more.
    Finished,
    /// The mapping is stopped, or somebody else works on the shard.
    Stopped,
}

/// Works on a shard from its checkpoint on; the cursor is one that was had for it just now.
pub(crate) async fn work(run: Arc<Run>, shard: String, cursor: Option<Cursor>) -> End {
    let _reader = run.shared.reader();
    let mut backoff = run.backoff(SERVICE_RETRY_MAX);
    let checkpoint = loop {
        match checkpoint::claim(&run.shared.store, &run.key, &shard).await {
            Ok(checkpoint) => break checkpoint,
            Err(error) => {
                tracing::error!(mapping = run.key.uuid, shard, %error, "a shard cannot be claimed");
                if run.pause(backoff.pause()).await {
                    return End::Stopped;
                }
            }
        }
    };
    if checkpoint.position == Position::End {
        return End::Finished;
    }
    Worker::new(run, shard, checkpoint, cursor).work().await
}

/// Records of some keys that wait for their turn.
#[derive(Default)]
struct Lane {
    waiting: VecDeque<Numbered>,
    bytes: usize,
    first_at: Option<Instant>,
    is_busy: bool,
}

type Polling = BoxFuture<'static, (Result<Polled, SourceError>, i64)>;

struct Worker {
    run: Arc<Run>,
    shard: Arc<str>,
    checkpoint: Checkpoint,
    /// What the lanes had settled when this worker began.
    skipped: Vec<Option<String>>,
    lanes: Vec<Lane>,
    /// Records that were read and are not before the checkpoint: their sequence number, and whether they are settled.
    pending: VecDeque<(String, bool)>,
    /// The number of the first of them.
    base: u64,
    /// After the last record that was read.
    read: Position,
    cursor: Option<Cursor>,
    has_ended: bool,
    polling: Option<Polling>,
    poll_at: Instant,
    backoff: Backoff,
    delivering: JoinSet<Step>,
    is_dirty: bool,
    written_at: Instant,
    /// The time until which every record was read, in milliseconds.
    read_until_ms: i64,
}

impl Worker {
    fn new(
        run: Arc<Run>,
        shard: String,
        mut checkpoint: Checkpoint,
        cursor: Option<Cursor>,
    ) -> Self {
        let stream = run.mapping.settings.stream.as_ref();
        let lanes = stream.map_or(1, |stream| stream.parallelization.max(1));
        let lanes = usize::try_from(lanes).unwrap_or(1);
        // Lanes of another number hold other keys.
        let is_same = checkpoint.lanes.len() == lanes;
        let skipped = if is_same { checkpoint.lanes.clone() } else { vec![None; lanes] };
        let now = Instant::now();
        checkpoint.lanes = if lanes > 1 { skipped.clone() } else { Vec::new() };
        Self {
            shard: shard.into(),
            skipped,
            lanes: (0..lanes).map(|_| Lane::default()).collect(),
            pending: VecDeque::new(),
            base: 0,
            read: checkpoint.position.clone(),
            checkpoint,
            cursor,
            has_ended: false,
            polling: None,
            poll_at: now,
            backoff: run.backoff(SERVICE_RETRY_MAX),
            delivering: JoinSet::new(),
            is_dirty: false,
            written_at: now,
            read_until_ms: i64::MIN,
            run,
        }
    }

    async fn work(mut self) -> End {
        let run = Arc::clone(&self.run);
        loop {
            let is_stopped = run.is_stopped();
            if is_stopped && self.delivering.is_empty() {
                self.write().await;
                return End::Stopped;
            }
            if !is_stopped {
                self.start_deliveries();
                if self.is_finished() {
                    self.checkpoint.position = Position::End;
                    self.checkpoint.lanes.clear();
                    return if self.write().await { End::Finished } else { End::Stopped };
                }
                self.start_polling();
            }
            let wake = if is_stopped { None } else { self.wake() };
            let polling = self.polling.as_mut().filter(|_| !is_stopped);
            let is_held = tokio::select! {
                biased;
                Some(step) = self.delivering.join_next() => match step {
                    Ok(step) => self.stepped(step).await,
                    // It panicked; what it had is read again by the next worker.
                    Err(_) => false,
                },
                (polled, began_ms) = polled(polling) => {
                    self.polling = None;
                    self.polled(polled, began_ms).await;
                    true
                }
                () = run.stopped(), if !is_stopped => true,
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {
                    let is_due = self.is_dirty && self.written_at.elapsed() >= CHECKPOINT_PERIOD;
                    !is_due || self.write().await
                }
            };
            if !is_held {
                return End::Stopped;
            }
        }
    }

    fn batch_size(&self) -> usize {
        usize::try_from(self.run.mapping.settings.batch_size).unwrap_or(1).max(1)
    }

    fn window(&self) -> Duration {
        Duration::from_secs(self.run.mapping.settings.window_s.into())
    }

    /// The length of tumbling windows, where there are any.
    fn tumbling_ms(&self) -> Option<i64> {
        let stream = self.run.mapping.settings.stream.as_ref()?;
        (stream.tumbling_s > 0).then_some(i64::from(stream.tumbling_s) * 1000)
    }

    fn waiting(&self) -> usize {
        self.lanes.iter().map(|lane| lane.waiting.len()).sum()
    }

    fn is_finished(&self) -> bool {
        self.has_ended
            && self.waiting() == 0
            && self.delivering.is_empty()
            && self.checkpoint.window.is_none()
    }

    /// Whether records are to be read on, once it is time.
    fn wants_records(&self) -> bool {
        let bytes: usize = self.lanes.iter().map(|lane| lane.bytes).sum();
        let is_full = self.waiting() >= self.wanted() || bytes >= SHARD_BYTES_MAX;
        // While one lane is behind, the others shall not run dry.
        let is_held_up = self.lanes.len() > 1
            && self.pending.len() < KINESIS_RECORDS_AT_ONCE
            && bytes < SHARD_BYTES_MAX
            && self.lanes.iter().any(|lane| !lane.is_busy && lane.waiting.is_empty());
        !self.has_ended && self.polling.is_none() && (!is_full || is_held_up)
    }

    /// As many records as all lanes take at once.
    fn wanted(&self) -> usize {
        self.batch_size() * self.lanes.len()
    }

    fn start_polling(&mut self) {
        if !self.wants_records() || Instant::now() < self.poll_at {
            return;
        }
        let wanted = self.wanted();
        let run = Arc::clone(&self.run);
        let most = wanted.clamp(SHARD_RECORDS_AT_ONCE, KINESIS_RECORDS_AT_ONCE);
        let (shard, cursor, read) =
            (Arc::clone(&self.shard), self.cursor.clone(), self.read.clone());
        self.polling = Some(Box::pin(async move {
            // A subscription has a connection already.
            if run.source.pushes() {
                let polled = poll(&run, &shard, cursor, &read, most, SHARD_PUSH_WAIT).await;
                return (polled, run.shared.now_ms() - SHARD_PUSH_LAG_MS);
            }
            let permit = run.shared.polls.acquire().await;
            let began_ms = run.shared.now_ms();
            let polled = poll(&run, &shard, cursor, &read, most, Duration::ZERO).await;
            drop(permit);
            (polled, began_ms)
        }));
    }

    async fn polled(&mut self, polled: Result<Polled, SourceError>, began_ms: i64) {
        let now = Instant::now();
        let polled = match polled {
            Ok(polled) => polled,
            Err(error) => {
                self.cursor = None;
                self.poll_at = now + self.backoff.pause();
                match error {
                    SourceError::Expired | SourceError::Throttled => {}
                    SourceError::Trimmed => {
                        tracing::warn!(
                            mapping = self.run.key.uuid,
                            shard = &*self.shard,
                            "records were gone before they were read"
                        );
                        self.read = Position::TrimHorizon;
                    }
                    error => self.run.report_source(&error).await,
                }
                return;
            }
        };
        self.backoff.reset();
        self.has_ended = polled.next.is_none();
        self.cursor = polled.next;
        if !polled.is_behind {
            self.read_until_ms = began_ms;
        }
        let is_busy = !polled.records.is_empty() || polled.is_behind;
        self.poll_at = now
            + match (self.run.source.pushes(), is_busy) {
                (true, _) => Duration::ZERO,
                (false, true) => SHARD_POLL_BUSY,
                (false, false) => self.run.shared.idle_pause(),
            };
        self.run.count(|counts| &counts.polled, polled.records.len());
        for record in polled.records {
            self.take(record, now);
        }
        self.settle_front();
    }

    /// Puts a record that was read into its lane.
    fn take(&mut self, record: Record, now: Instant) {
        self.read = Position::After(record.id.clone());
        let lane = lane_of(&record.key, self.lanes.len());
        let passes = self.run.filters.passes(&record);
        if !passes {
            self.run.count(|counts| &counts.filtered_out, 1);
        }
        let was_settled =
            self.skipped[lane].as_ref().is_some_and(|done| !is_after(&record.id, done));
        let number = self.base + self.pending.len() as u64;
        self.pending.push_back((record.id.clone(), !passes || was_settled));
        if passes && !was_settled {
            let lane = &mut self.lanes[lane];
            lane.bytes += record.json.len() + 1;
            lane.first_at.get_or_insert(now);
            lane.waiting.push_back((number, record));
        }
    }

    fn start_deliveries(&mut self) {
        for lane in 0..self.lanes.len() {
            if self.lanes[lane].is_busy {
                continue;
            }
            let work = match self.tumbling_ms() {
                Some(length_ms) => self.windowed(length_ms),
                None if self.is_ready(lane) => {
                    let batch = self.take_batch(lane, |_| true, 0);
                    Some(Work::new(lane, Arc::clone(&self.shard), batch, None))
                }
                None => None,
            };
            if let Some(work) = work {
                self.deliver(work);
            }
        }
    }

    fn deliver(&mut self, work: Work) {
        self.lanes[work.lane].is_busy = true;
        let run = Arc::clone(&self.run);
        self.delivering.spawn(async move { deliver::step(&run, work).await });
    }

    /// Whether the records of a lane are to be delivered now.
    fn is_ready(&self, lane: usize) -> bool {
        let lane = &self.lanes[lane];
        let Some(first_at) = lane.first_at else { return false };
        lane.waiting.len() >= self.batch_size()
            || lane.bytes + EVENT_FRAME_BYTES > EVENT_BYTES_MAX
            || self.has_ended
            || first_at.elapsed() >= self.window()
    }

    /// As many records as one call may have, of those from the front that are wanted; at least one.
    fn take_batch(
        &mut self,
        lane: usize,
        is_wanted: impl Fn(&Record) -> bool,
        reserved: usize,
    ) -> Vec<Numbered> {
        let most = self.batch_size();
        let lane = &mut self.lanes[lane];
        let (mut batch, mut bytes) = (Vec::new(), EVENT_FRAME_BYTES + reserved);
        while let Some((_, record)) = lane.waiting.front() {
            bytes += record.json.len() + 1;
            let is_full = batch.len() == most || (bytes > EVENT_BYTES_MAX && !batch.is_empty());
            if is_full || !is_wanted(record) {
                break;
            }
            lane.bytes -= record.json.len() + 1;
            batch.extend(lane.waiting.pop_front());
        }
        lane.first_at = (!lane.waiting.is_empty()).then(Instant::now);
        batch
    }

    /// The next work of a shard with tumbling windows.
    fn windowed(&mut self, length_ms: i64) -> Option<Work> {
        let shard = Arc::clone(&self.shard);
        let start_of = |record: &Record| record.arrived_ms.div_euclid(length_ms) * length_ms;
        let front = self.lanes[0].waiting.front().map(|(_, record)| start_of(record));
        let Some(window) = self.checkpoint.window.clone() else {
            let start_ms = front?;
            self.checkpoint.window =
                Some(Window { start_ms, state: "{}".to_owned(), ends_early: false });
            return self.windowed(length_ms);
        };
        // Records that come late are of the window that is open.
        let belongs = |record: &Record| start_of(record) <= window.start_ms;
        let is_over = match front {
            Some(start_ms) => start_ms > window.start_ms,
            None => self.has_ended || self.read_until_ms >= window.start_ms + length_ms,
        };
        if is_over || window.ends_early {
            let ends_early = window.ends_early || (front.is_none() && self.has_ended);
            return Some(Work::last_of(shard, Window { ends_early, ..window }));
        }
        let is_next_there = self.lanes[0].waiting.back().is_some_and(|(_, last)| !belongs(last));
        if !(self.is_ready(0) || is_next_there) {
            return None;
        }
        let reserved = window.state.len().min(WINDOW_STATE_BYTES_MAX);
        let batch = self.take_batch(0, belongs, reserved);
        (!batch.is_empty()).then(|| Work::new(0, shard, batch, Some(window)))
    }

    /// Takes note of a step; `false` when the shard is not ours any more.
    async fn stepped(&mut self, step: Step) -> bool {
        let Step { settled, last, work, is_stopped } = step;
        for number in settled {
            if let Some((_, is_settled)) = number
                .checked_sub(self.base)
                .and_then(|at| self.pending.get_mut(usize::try_from(at).ok()?))
            {
                *is_settled = true;
                self.is_dirty = true;
            }
        }
        if let (Some(done), Some(last)) = (self.checkpoint.lanes.get_mut(work.lane), last) {
            *done = Some(last);
        }
        if self.tumbling_ms().is_some() && !is_stopped {
            self.checkpoint.window = if work.is_final { None } else { work.window.clone() };
            self.is_dirty = true;
        }
        self.settle_front();
        let is_held = !self.is_dirty || self.write().await;
        if is_held && !is_stopped && !work.is_done() {
            self.deliver(work);
        } else {
            self.lanes[work.lane].is_busy = false;
        }
        is_held
    }

    /// Moves the checkpoint over what is settled.
    fn settle_front(&mut self) {
        while let Some((id, true)) = self.pending.front() {
            self.checkpoint.position = Position::After(id.clone());
            self.pending.pop_front();
            self.base += 1;
            self.is_dirty = true;
        }
    }

    /// Writes the checkpoint; `false` when the shard is not ours any more.
    async fn write(&mut self) -> bool {
        let run = &self.run;
        let written =
            checkpoint::advance(&run.shared.store, &run.key, &self.shard, &self.checkpoint).await;
        self.written_at = Instant::now();
        match written {
            Ok(is_held) => {
                self.is_dirty = false;
                is_held
            }
            // It is tried again with the next step; what is behind is delivered again at worst.
            Err(error) => {
                tracing::error!(mapping = run.key.uuid, %error, "a checkpoint is not written");
                true
            }
        }
    }

    /// When something is to be done without anything happening.
    fn wake(&self) -> Option<Instant> {
        let windows = self
            .lanes
            .iter()
            .filter(|lane| !lane.is_busy)
            .filter_map(|lane| lane.first_at.map(|first_at| first_at + self.window()));
        // Also where its time has come since it was looked at: then there is no wait.
        let poll = self.wants_records().then_some(self.poll_at);
        let write = self.is_dirty.then(|| self.written_at + CHECKPOINT_PERIOD);
        windows.chain(poll).chain(write).min()
    }
}

async fn polled(polling: Option<&mut Polling>) -> (Result<Polled, SourceError>, i64) {
    match polling {
        Some(polling) => polling.await,
        None => std::future::pending().await,
    }
}

/// Reads on, from a new cursor where there is none.
async fn poll(
    run: &Run,
    shard: &str,
    cursor: Option<Cursor>,
    read: &Position,
    most: usize,
    wait: Duration,
) -> Result<Polled, SourceError> {
    let cursor = match cursor {
        Some(cursor) => cursor,
        None => run.source.seek(shard, read).await?,
    };
    run.source.poll(&cursor, most, wait).await
}

/// The lane of a key: by its FNV-1a hash, since checkpoints outlive the program that wrote them.
fn lane_of(key: &str, lanes: usize) -> usize {
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let lanes = u64::try_from(lanes).unwrap_or(1).max(1);
    usize::try_from(hash % lanes).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_of_keys_never_change() {
        assert_eq!(lane_of("", 10), 7);
        assert_eq!(lane_of("a", 10), 6);
        assert_eq!(lane_of("anything", 1), 0);
    }
}
