//! What the engines share: one mapping that runs, and what all of them have in common.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use gatemill_lambda::{
    FunctionTarget, Outcome,
    mapping::{self, MAPPING_RESULTS, Mapping, MappingKey, MappingResult, SourceArn},
};
use gatemill_meter::{Meters, Metric, Subject};
use gatemill_store::Store;
use gatemill_wire::{Clock, Entropy, RequestId};
use tokio::sync::{Semaphore, watch};

use crate::{
    CallError, Functions, Source, SourceError, Sources,
    backoff::Backoff,
    counts::{self, Count, Counts},
    filter::Filters,
    limits::{IDLE_POLLS_PER_SECOND, LONG_POLL, POLLS_AT_ONCE, SHARD_POLL_IDLE},
    source::Record,
};

/// What all mappings have in common.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) functions: Arc<dyn Functions>,
    pub(crate) sources: Arc<dyn Sources>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) meters: Arc<Meters>,
    /// Requests for records that may wait for their answer.
    pub(crate) polls: Semaphore,
    /// The same of mappings in provisioned mode.
    pub(crate) provisioned_polls: Semaphore,
    /// Queues and shards that are read.
    pub(crate) readers: AtomicUsize,
    pub(crate) totals: Counts,
    /// Changes when the server was emptied.
    pub(crate) resets: watch::Sender<u64>,
    /// Of the mappings that run and asked for their own.
    pub(crate) counts: Mutex<HashMap<MappingKey, Arc<Counts>>>,
}

impl Shared {
    /// How long a queue is asked to wait for messages: less where many queues share the requests that may wait, so that
    /// each has its turn.
    pub(crate) fn long_poll(&self) -> Duration {
        let readers = self.readers.load(Ordering::Relaxed).max(1);
        let share = POLLS_AT_ONCE as f64 / readers as f64;
        LONG_POLL.mul_f64(share.min(1.0)).max(Duration::from_secs(1))
    }

    /// How long an idle shard is not asked.
    pub(crate) fn idle_pause(&self) -> Duration {
        let readers = self.readers.load(Ordering::Relaxed);
        SHARD_POLL_IDLE.max(SHARD_POLL_IDLE.mul_f64(readers as f64 / IDLE_POLLS_PER_SECOND as f64))
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.clock.now().millis()
    }

    /// Counts a reader for as long as the answer lives.
    pub(crate) fn reader(self: &Arc<Self>) -> Reader {
        self.readers.fetch_add(1, Ordering::Relaxed);
        Reader(Arc::clone(self))
    }
}

/// One that counts among [`Shared::readers`].
pub(crate) struct Reader(Arc<Shared>);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.readers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A mapping that runs.
pub(crate) struct Run {
    pub(crate) key: MappingKey,
    pub(crate) mapping: Mapping,
    pub(crate) target: FunctionTarget,
    pub(crate) arn: SourceArn,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) filters: Filters,
    pub(crate) shared: Arc<Shared>,
    /// As what the mapping is measured.
    subject: Arc<Subject>,
    /// Of a mapping that asked for its own.
    counts: Option<Arc<Counts>>,
    stop: watch::Receiver<bool>,
    /// What was written last as the mapping's result.
    result: Mutex<Option<String>>,
}

/// How a call went.
pub(crate) struct Called {
    pub(crate) request_id: RequestId,
    pub(crate) result: Result<Outcome, CallError>,
}

impl Run {
    /// Makes a mapping ready to run.
    ///
    /// # Errors
    /// When its source is not to be had, or its record cannot be understood, which would be a fault of ours.
    pub(crate) fn new(
        shared: &Arc<Shared>,
        key: &MappingKey,
        mapping: &Mapping,
        stop: watch::Receiver<bool>,
    ) -> Result<Self, SourceError> {
        let unreadable = || SourceError::Refused("the mapping cannot be read".to_owned());
        let arn = mapping.source().ok_or_else(unreadable)?;
        let filters = Filters::new(arn.service, &mapping.settings.filters);
        let counts = mapping.settings.counts_events.then(|| {
            let mut all = shared.counts.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(key.clone()).or_default())
        });
        let target = mapping.target().ok_or_else(unreadable)?;
        let subject = counts::subject(&target.account, &target.region, &key.uuid);
        let role = shared.store.read(|tx| mapping::role_of(tx, &target));
        let role = role.map_err(|error| SourceError::Unreachable(error.to_string()))?;
        Ok(Self {
            key: key.clone(),
            target,
            source: shared.sources.open(&arn, &role)?,
            filters: filters.map_err(|_| unreadable())?,
            mapping: mapping.clone(),
            arn,
            shared: Arc::clone(shared),
            subject: Arc::new(subject),
            counts,
            stop,
            result: Mutex::default(),
        })
    }

    pub(crate) fn is_stopped(&self) -> bool {
        // A sender that is gone means a stop as well.
        *self.stop.borrow() || self.stop.has_changed().is_err()
    }

    /// Until the mapping has to stop.
    pub(crate) async fn stopped(&self) {
        let _ = self.stop.clone().wait_for(|stopped| *stopped).await;
    }

    /// Waits, unless the mapping is stopped meanwhile; whether it was.
    pub(crate) async fn pause(&self, pause: Duration) -> bool {
        tokio::select! {
            () = self.stopped() => true,
            () = tokio::time::sleep(pause) => self.is_stopped(),
        }
    }

    pub(crate) fn backoff(&self, most: Duration) -> Backoff {
        Backoff::new(most, &self.shared.entropy)
    }

    pub(crate) fn count(&self, which: fn(&Counts) -> &Count, number: usize) {
        let metric = which(&self.shared.totals).add(number);
        let Some(counts) = &self.counts else { return };
        which(counts).add(number);
        self.measure(metric, number);
    }

    pub(crate) fn measure(&self, metric: &'static Metric, number: usize) {
        let at_ms = self.shared.now_ms();
        self.shared.meters.record(&self.subject, at_ms, &[(metric, number as f64)]);
    }

    fn is_provisioned(&self) -> bool {
        self.mapping.settings.pollers.is_some()
    }

    /// Of which a request for records needs one.
    pub(crate) fn polls(&self) -> &Semaphore {
        if self.is_provisioned() { &self.shared.provisioned_polls } else { &self.shared.polls }
    }

    /// How long a queue is asked to wait for messages.
    pub(crate) fn long_poll(&self) -> Duration {
        if self.is_provisioned() { LONG_POLL } else { self.shared.long_poll() }
    }

    /// Calls the function with an event of this many records.
    pub(crate) async fn call(&self, event: String, records: usize) -> Called {
        let request_id = RequestId(self.shared.entropy.uuid());
        let event = Bytes::from(event);
        let called = self.shared.functions.call(self.target.clone(), event, request_id);
        let result = called.await;
        self.count(|counts| &counts.invoked, records);
        let problem = match &result {
            Ok(outcome) if outcome.function_error.is_none() => None,
            Ok(_) => Some("Function call failed".to_owned()),
            Err(error) => Some(error.to_string()),
        };
        if problem.is_some() {
            self.count(|counts| &counts.failed_invoke, records);
        }
        self.report(problem).await;
        Called { request_id, result }
    }

    /// Writes the mapping's `LastProcessingResult`, if it is another one than before. Queues have one only while there
    /// is a problem.
    pub(crate) async fn report(&self, problem: Option<String>) {
        let text = match problem {
            Some(problem) => Some(format!("PROBLEM: {problem}")),
            None => self.mapping.settings.stream.as_ref().map(|_| "OK".to_owned()),
        };
        {
            let mut last = self.result.lock().unwrap_or_else(PoisonError::into_inner);
            if *last == text {
                return;
            }
            last.clone_from(&text);
        }
        let place = self.key.record();
        let written = self.shared.store.write(move |tx| match &text {
            Some(text) => MAPPING_RESULTS.put(tx, &place, &MappingResult { text: text.clone() }),
            None => MAPPING_RESULTS.delete(tx, &place).map(drop),
        });
        if let Err(error) = written.await {
            tracing::warn!(%error, mapping = self.key.uuid, "a mapping's result is not written");
        }
    }

    /// Says what keeps the source from being read.
    pub(crate) async fn report_source(&self, error: &SourceError) {
        tracing::warn!(mapping = self.key.uuid, source = self.arn.text, %error, "an event source cannot be read");
        self.report(Some(format!("{error}."))).await;
    }
}

/// The event of a batch; `more` follows its records.
pub(crate) fn event<'a>(records: impl Iterator<Item = &'a Record>, more: &str) -> String {
    let mut event = String::from("{\"Records\":[");
    for (place, record) in records.enumerate() {
        if place > 0 {
            event.push(',');
        }
        event.push_str(&record.json);
    }
    event.push(']');
    event.push_str(more);
    event.push('}');
    event
}
