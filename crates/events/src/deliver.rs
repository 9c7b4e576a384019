//! Delivering a batch of a stream: calls, retries, halves, and giving up.
//!
//! A batch is worked on in steps. A step ends when some records from its front are settled, processed or given up, so
//! that the shard's checkpoint can move; the rest is another step. Between attempts a step ends when the mapping is
//! stopped; what is not settled then is read again.

use std::{collections::VecDeque, sync::Arc};

use gatemill_lambda::Outcome;
use gatemill_wire::Timestamp;

use crate::{
    CallError,
    checkpoint::Window,
    given_up::{Condition, GivenUp},
    limits::{FUNCTION_RETRY_MAX, SERVICE_RETRY_MAX},
    response::{self, Failures, State},
    run::{Called, Run, event},
    source::Record,
};

/// A record with its place in the order in which the shard's were read.
pub(crate) type Numbered = (u64, Record);

/// What is to be delivered.
pub(crate) struct Work {
    pub(crate) lane: usize,
    pub(crate) shard: Arc<str>,
    segments: VecDeque<Segment>,
    /// The tumbling window that the records belong to.
    pub(crate) window: Option<Window>,
    /// Whether the window ends with it; there are no records then.
    pub(crate) is_final: bool,
}

/// Records that are delivered together.
struct Segment {
    records: Vec<Numbered>,
    /// How often they failed, together or as part of a larger segment that was not halved.
    failures: u32,
    /// Calls with them, for the record of what is given up.
    calls: u32,
    /// The call after which they are given up.
    over: Option<Called>,
}

/// What a step did.
pub(crate) struct Step {
    /// The records that are settled, from the front.
    pub(crate) settled: Vec<u64>,
    /// The sequence number of the last of them.
    pub(crate) last: Option<String>,
    /// What is left.
    pub(crate) work: Work,
    /// Whether it ended because the mapping is stopped.
    pub(crate) is_stopped: bool,
}

impl Work {
    pub(crate) fn new(
        lane: usize,
        shard: Arc<str>,
        records: Vec<Numbered>,
        window: Option<Window>,
    ) -> Self {
        let segments = VecDeque::from([Segment { records, failures: 0, calls: 0, over: None }]);
        Self { lane, shard, segments, window, is_final: false }
    }

    /// The last call of a window.
    pub(crate) fn last_of(shard: Arc<str>, window: Window) -> Self {
        let mut work = Self::new(0, shard, Vec::new(), Some(window));
        work.is_final = true;
        work
    }

    /// Whether nothing is left.
    pub(crate) fn is_done(&self) -> bool {
        self.segments.is_empty()
    }

    /// What follows the records in the event.
    fn frame(&self, run: &Run) -> String {
        let Some(window) = &self.window else { return String::new() };
        let length_s = run.mapping.settings.stream.as_ref().map_or(0, |stream| stream.tumbling_s);
        let start = Timestamp(window.start_ms);
        let end = start.plus_ms(i64::from(length_s) * 1000);
        format!(
            ",\"window\":{{\"start\":\"{}\",\"end\":\"{}\"}},\"state\":{},\"shardId\":{},\"eventSourceARN\":{},\
             \"isFinalInvokeForWindow\":{},\"isWindowTerminatedEarly\":{}",
            start.iso8601(),
            end.iso8601(),
            window.state,
            serde_json::Value::from(&*self.shard),
            serde_json::Value::from(run.arn.text.as_str()),
            self.is_final,
            self.is_final && window.ends_early,
        )
    }

    fn settle(mut self, count: usize) -> Step {
        let mut settled = Vec::new();
        let mut last = None;
        if let Some(segment) = self.segments.front_mut() {
            for (number, record) in segment.records.drain(..count) {
                settled.push(number);
                last = Some(record.id);
            }
            if segment.records.is_empty() {
                self.segments.pop_front();
            }
        }
        Step { settled, last, work: self, is_stopped: false }
    }

    fn stop(self) -> Step {
        Step { settled: Vec::new(), last: None, work: self, is_stopped: true }
    }
}

/// What to do after a call.
enum Next {
    /// These many records from the front are processed.
    Settled(usize),
    /// The same call again, after a pause that grows.
    Again,
    /// The first segment was changed: look at it anew.
    Changed,
}

/// Works until some records are settled.
pub(crate) async fn step(run: &Run, mut work: Work) -> Step {
    let mut failed = run.backoff(FUNCTION_RETRY_MAX);
    let mut refused = run.backoff(SERVICE_RETRY_MAX);
    loop {
        if run.is_stopped() {
            return work.stop();
        }
        let expired = expired(run, &work);
        if expired > 0 {
            give_up(run, &work, expired, Condition::RecordAgeExceeded, None).await;
            return work.settle(expired);
        }
        let frame = work.frame(run);
        let Some(segment) = work.segments.front_mut() else { return work.settle(0) };
        if let Some(called) = segment.over.take() {
            let count = segment.records.len();
            give_up(run, &work, count, Condition::RetryAttemptsExhausted, Some(&called)).await;
            return work.settle(count);
        }
        segment.calls += 1;
        if let Some((_, last)) = segment.records.last() {
            let age_ms = run.shared.now_ms() - last.arrived_ms;
            run.shared.functions.called_with_records(&run.target, age_ms);
        }
        let records = segment.records.iter().map(|(_, record)| record);
        let called = run.call(event(records, &frame), segment.records.len()).await;
        if let Err(error) = &called.result {
            // Neither throttles nor faults of a service count as attempts.
            let pause = match error {
                CallError::Throttled => failed.pause(),
                CallError::Failed(_) => refused.pause(),
            };
            if run.pause(pause).await {
                return work.stop();
            }
            continue;
        }
        match judge(run, &mut work, called) {
            Next::Settled(count) => return work.settle(count),
            Next::Changed => {}
            Next::Again => {
                if run.pause(failed.pause()).await {
                    return work.stop();
                }
            }
        }
    }
}

/// How many records from the front are older than the mapping wants.
fn expired(run: &Run, work: &Work) -> usize {
    let stream = run.mapping.settings.stream.as_ref();
    let Some(age_s) = stream.and_then(|stream| stream.record_age_s) else { return 0 };
    let oldest = run.shared.now_ms() - i64::from(age_s) * 1000;
    let Some(segment) = work.segments.front() else { return 0 };
    segment.records.iter().take_while(|(_, record)| record.arrived_ms < oldest).count()
}

/// What an answer means for the first segment.
fn judge(run: &Run, work: &mut Work, called: Called) -> Next {
    let Ok(outcome) = &called.result else { return Next::Again };
    let Some(segment) = work.segments.front_mut() else { return Next::Settled(0) };
    let settings = &run.mapping.settings;
    let processed = processed(settings.reports_item_failures, work.is_final, outcome, segment);
    let state = state(work.window.is_some() && !work.is_final, outcome);
    let first_failed = match (processed, state) {
        (None, Ok(state)) => {
            if let (Some(window), Some(state)) = (&mut work.window, state) {
                match state {
                    State::Fits(state) => window.state = state,
                    State::TooLarge(state) => {
                        window.state = state;
                        window.ends_early = true;
                    }
                    State::Missing => {}
                }
            }
            return Next::Settled(segment.records.len());
        }
        (Some(place), _) => place,
        (None, Err(())) => 0,
    };
    let stream = settings.stream.as_ref();
    let bisects = stream.is_some_and(|stream| stream.bisects) && segment.records.len() > 1;
    if bisects && first_failed == 0 {
        let records = segment.records.split_off(segment.records.len().div_ceil(2));
        let (failures, calls) = (segment.failures, segment.calls);
        work.segments.insert(1, Segment { records, failures, calls, over: None });
        return Next::Changed;
    }
    if !bisects {
        segment.failures += 1;
    }
    let is_over = retries_are_over(stream.and_then(|stream| stream.retries), segment.failures);
    segment.over = is_over.then_some(called);
    match (first_failed, is_over) {
        // What is before the first failed record is processed; the rest is tried again on its own.
        (1.., _) => Next::Settled(first_failed),
        (0, true) => Next::Changed,
        (0, false) => Next::Again,
    }
}

fn retries_are_over(most: Option<u32>, failures: u32) -> bool {
    most.is_some_and(|most| failures > most)
}

/// The place of the first record that failed, if one did.
fn processed(reports: bool, is_final: bool, outcome: &Outcome, segment: &Segment) -> Option<usize> {
    if outcome.function_error.is_some() {
        return Some(0);
    }
    if !reports || is_final {
        return None;
    }
    let records: Vec<Record> = segment
        .records
        .iter()
        .map(|(_, record)| Record { id: record.id.clone(), ..Record::default() })
        .collect();
    match response::failures(&outcome.payload, &records) {
        Failures::None => None,
        Failures::Some(places) => places.first().copied().or(Some(0)),
        Failures::All => Some(0),
    }
}

/// The state that the answer has to have in a window.
fn state(is_wanted: bool, outcome: &Outcome) -> Result<Option<State>, ()> {
    if !is_wanted {
        return Ok(None);
    }
    match response::state(&outcome.payload) {
        State::Missing => Err(()),
        state => Ok(Some(state)),
    }
}

/// Tells the destination, if there is one, of records that are not tried any more.
async fn give_up(
    run: &Run,
    work: &Work,
    count: usize,
    condition: Condition,
    called: Option<&Called>,
) {
    let Some(segment) = work.segments.front() else { return };
    let records = &segment.records[..count];
    run.count(|counts| &counts.dropped, count);
    let (Some((_, first)), Some((_, last))) = (records.first(), records.last()) else { return };
    tracing::warn!(
        mapping = run.key.uuid,
        shard = &*work.shard,
        from = first.id,
        to = last.id,
        ?condition,
        "records are given up"
    );
    let stream = run.mapping.settings.stream.as_ref();
    let Some(destination) = stream.and_then(|stream| stream.on_failure.as_ref()) else { return };
    let given_up = GivenUp {
        run,
        shard: &work.shard,
        condition,
        calls: segment.calls,
        called,
        first,
        last,
        count,
        event: event(records.iter().map(|(_, record)| record), &work.frame(run)),
    };
    match run.shared.sources.give_up(destination, &given_up.message()).await {
        Ok(()) => run.count(|counts| &counts.on_failure_delivered, count),
        Err(error) => {
            tracing::error!(mapping = run.key.uuid, destination, %error,
                "a destination is not told of records that were given up");
        }
    }
}
