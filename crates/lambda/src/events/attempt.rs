//! The worker that runs events: one attempt after another, each settled by the event's id and the epoch that was seen.
//!
//! An attempt reads the event, runs it as any call, and writes down what becomes of it. Between running and writing the
//! server may die, and then the event runs again: nothing tells that it had run. Two attempts of one event cannot both
//! settle it, because the first that writes raises the epoch or removes the event.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use gatemill_store::Key;
use gatemill_wire::{RequestId, Timestamp};
use serde_json::value::RawValue;
use tokio::task::JoinSet;

use super::{
    bump,
    record::{
        COUNTS, DELIVERIES, DeadLetterRecord, DeliveryRecord, DestinationRecord, EVENTS, EventId,
        EventRecord, INVOKE_CONFIGS, InvokeConfigRecord, invoke_config_key,
    },
    verdict::{self, Ended, Settlement, Verdict},
};
use crate::{
    Author, Error, FunctionTarget, Invocation, Lambda,
    invoke::resolve,
    limits::{EVENTS_HELD_MAX, EVENTS_PAGE},
    measure,
    record::{FUNCTIONS, RESERVED},
    target::FunctionKey,
};

/// How soon lanes whose events take long are looked at again.
const WIDEN: Duration = Duration::from_millis(50);
/// How long an event waits whose attempt failed by a fault of ours.
const AGAIN_MS: i64 = 1_000;
/// How long the worker sleeps when nothing tells it to wake.
const LOOK: Duration = Duration::from_secs(60);

/// Runs events for ever.
pub(crate) async fn run(lambda: Arc<Lambda>) {
    let lanes = &lambda.events.lanes;
    // Attempts of a worker before this one are over; what they did not settle is found in the store.
    lanes.clear();
    let mut restored = std::pin::pin!(restore(&lambda));
    let mut is_restored = false;
    let mut running = JoinSet::new();
    loop {
        let now_ms = lambda.clock.now().millis();
        while running.len() < EVENTS_HELD_MAX && !lambda.flights.is_draining() {
            let Some((function, id)) = lanes.take(now_ms) else { break };
            running.spawn(attempt(Arc::clone(&lambda), function, id));
        }
        let due = lanes.next_due().map_or(LOOK, |due_ms| {
            Duration::from_millis(u64::try_from(due_ms - now_ms).unwrap_or(0).max(1))
        });
        let wait = if lanes.is_narrow() { due.min(WIDEN) } else { due.min(LOOK) };
        tokio::select! {
            () = &mut restored, if !is_restored => is_restored = true,
            () = lanes.changed.notified() => {}
            Some(_) = running.join_next() => {}
            () = tokio::time::sleep(wait) => lanes.widen(),
        }
    }
}

/// Puts every event of the store into its lane.
async fn restore(lambda: &Lambda) {
    let mut after: Option<Key> = None;
    loop {
        let page = lambda.store.read(|tx| {
            Ok::<_, Error>(EVENTS.scan(tx, &Key::empty(), after.as_ref(), EVENTS_PAGE)?)
        });
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                tracing::error!(error = error.chain(), "events cannot be read");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let Some((last, _)) = page.last() else { return };
        after = Some(last.clone());
        for (key, event) in &page {
            if let Some((function, id)) = EventId::from_key(key) {
                lambda.events.lanes.add(&function, id, event.due_ms);
            }
        }
        tokio::task::yield_now().await;
    }
}

/// An event in our hands. Whatever becomes of the attempt, the lane gets it back.
struct Held<'a> {
    lambda: &'a Lambda,
    function: &'a FunctionKey,
    id: EventId,
    again_ms: Option<i64>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.lambda.events.lanes.settled(self.function, self.id, self.again_ms);
    }
}

/// What is known of an event before its attempt.
struct Seen {
    event: EventRecord,
    config: InvokeConfigRecord,
    reserved: Option<u32>,
}

async fn attempt(lambda: Arc<Lambda>, function: FunctionKey, id: EventId) {
    let again_ms = Some(lambda.clock.now().plus_ms(AGAIN_MS).millis());
    let mut held = Held { lambda: &lambda, function: &function, id, again_ms };
    match try_attempt(&lambda, &function, id).await {
        Ok(again_ms) => held.again_ms = again_ms,
        Err(error) => {
            tracing::error!(%function, error = error.chain(), "an event is not settled");
        }
    }
}

/// One attempt; answers when the event is to be looked at again, if it is.
async fn try_attempt(
    lambda: &Arc<Lambda>,
    function: &FunctionKey,
    id: EventId,
) -> Result<Option<i64>, Error> {
    let Some(Seen { event, config, reserved }) = see(lambda, function, id)? else {
        return Ok(None);
    };
    let lanes = &lambda.events.lanes;
    lanes.reserve(function, reserved);
    let now = lambda.clock.now();
    if event.due_ms > now.millis() {
        return Ok(Some(event.due_ms));
    }
    let target = FunctionTarget {
        account: function.account.clone(),
        region: function.region.clone(),
        name: function.name.clone(),
        qualifier: event.qualifier(),
    };
    let ended = if now.millis() >= verdict::deadline_ms(&event, &config) {
        Ended::TooOld
    } else if reserved == Some(0) {
        Ended::NoConcurrency
    } else if event.recursive {
        Ended::Recursive
    } else {
        match Ended::of(call(lambda, &target, &event, now).await) {
            Some(ended) => ended,
            None => return Ok(Some(now.plus_ms(AGAIN_MS).millis())),
        }
    };
    lanes.ran(function, id);
    if matches!(ended, Ended::Recursive) {
        bump(&lambda.events.tallies.loops_stopped);
        lambda.happened(function, &measure::LOOPS_STOPPED, 1.0);
    }
    let now = lambda.clock.now();
    let verdict = verdict::decide(&event, ended, &config, now, &lambda.settings.event_waits_ms);
    match verdict {
        Verdict::Again(next) => {
            let due_ms = next.due_ms;
            settle(lambda, function, id, event.epoch, Written::Again(next)).await?;
            Ok(Some(due_ms))
        }
        Verdict::Dropped => {
            bump(&lambda.events.tallies.dropped);
            lambda.happened(function, &measure::ASYNC_DROPPED, 1.0);
            settle(lambda, function, id, event.epoch, Written::Dropped).await?;
            Ok(None)
        }
        Verdict::Settled(settlement) => {
            let succeeded = settlement.succeeded();
            if !succeeded {
                bump(&lambda.events.tallies.dropped);
                lambda.happened(function, &measure::ASYNC_DROPPED, 1.0);
            }
            let delivery = delivery(lambda, &target, &event, &config, &settlement, now).await;
            let written = Written::Settled { succeeded, delivery };
            settle(lambda, function, id, event.epoch, written).await?;
            Ok(None)
        }
    }
}

fn see(lambda: &Lambda, function: &FunctionKey, id: EventId) -> Result<Option<Seen>, Error> {
    lambda.store.read(|tx| {
        let Some(event) = EVENTS.get(tx, &id.key(function))? else { return Ok(None) };
        let config = invoke_config_key(function, event.qualifier.as_deref());
        let config = INVOKE_CONFIGS.get(tx, &config)?.unwrap_or_default();
        let reserved = RESERVED.get(tx, &function.record())?;
        Ok(Some(Seen { event, config, reserved: reserved.map(|reserved| reserved.executions) }))
    })
}

async fn call(
    lambda: &Arc<Lambda>,
    target: &FunctionTarget,
    event: &EventRecord,
    now: Timestamp,
) -> Result<crate::Outcome, Error> {
    let request_id = uuid::Uuid::try_parse(&event.request_id)
        .map_err(|_| Error::Internal("a stored event has no id"))?;
    let tallies = &lambda.events.tallies;
    bump(&tallies.begun);
    let age_ms = u64::try_from(now.millis() - event.accepted_ms).unwrap_or(0);
    tallies.age_ms.fetch_add(age_ms, std::sync::atomic::Ordering::Relaxed);
    #[allow(
        clippy::cast_precision_loss,
        reason = "an event is far younger than 2^53 milliseconds"
    )]
    lambda.happened(&target.key().to_owned(), &measure::ASYNC_AGE, age_ms as f64);
    let call = Invocation {
        target: target.clone(),
        payload: Bytes::copy_from_slice(event.payload.get().as_bytes()),
        author: Author::Caller,
        request_id: RequestId(request_id),
        trace_id: Some(event.trace_id.clone()),
        client_context: event.client_context.clone(),
        tenant_id: event.tenant_id.clone(),
        log_tail: false,
    };
    lambda.invoke(call).await
}

/// What is to be told of a settled event, if anything.
async fn delivery(
    lambda: &Lambda,
    target: &FunctionTarget,
    event: &EventRecord,
    config: &InvokeConfigRecord,
    settlement: &Settlement,
    now: Timestamp,
) -> Option<DeliveryRecord> {
    let succeeded = settlement.succeeded();
    let dead_letter = if succeeded { None } else { dead_letter_arn(lambda, target).await };
    let dead_letter = dead_letter.map(|target_arn| DeadLetterRecord {
        target_arn,
        event: event.payload.clone(),
        error_code: settlement.status,
        error_message: settlement.message.clone(),
    });
    let arn = if succeeded { &config.on_success } else { &config.on_failure };
    let destination = arn.clone().map(|arn| {
        let mut named = target.clone();
        named.qualifier.get_or_insert(gatemill_wire::Qualifier::Latest);
        let function_arn = named.arn();
        let record = record(event, settlement, &function_arn, now);
        DestinationRecord { arn, succeeded, function_arn, at_ms: now.millis(), record }
    });
    if dead_letter.is_none() && destination.is_none() {
        return None;
    }
    let (request_id, trace_id) = (event.request_id.clone(), event.trace_id.clone());
    Some(DeliveryRecord { request_id, trace_id, dead_letter, destination })
}

/// The dead-letter queue is part of a version's configuration.
async fn dead_letter_arn(lambda: &Lambda, target: &FunctionTarget) -> Option<String> {
    let version = resolve::resolve(lambda, target).await.ok()?;
    version.configuration.dead_letter_arn.clone()
}

/// The record of an invocation, member by member as AWS writes it.
fn record(
    event: &EventRecord,
    settlement: &Settlement,
    function_arn: &str,
    now: Timestamp,
) -> Box<RawValue> {
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Document<'a> {
        version: &'a str,
        timestamp: String,
        request_context: RequestContext<'a>,
        request_payload: &'a RawValue,
        #[serde(skip_serializing_if = "Option::is_none")]
        response_context: Option<ResponseContext<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        response_payload: Option<&'a RawValue>,
    }
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct RequestContext<'a> {
        request_id: &'a str,
        function_arn: &'a str,
        condition: &'a str,
        approximate_invoke_count: u32,
    }
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct ResponseContext<'a> {
        status_code: u16,
        executed_version: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        function_error: Option<&'a str>,
    }
    let response = settlement.response.as_ref();
    let document = Document {
        version: "1.0",
        timestamp: now.iso8601_millis(),
        request_context: RequestContext {
            request_id: &event.request_id,
            function_arn,
            condition: settlement.condition,
            approximate_invoke_count: settlement.invoked,
        },
        request_payload: &event.payload,
        response_context: response.map(|response| ResponseContext {
            status_code: 200,
            executed_version: &response.executed_version,
            function_error: response.function_error.as_deref(),
        }),
        response_payload: response.map(|response| &*response.payload),
    };
    serde_json::value::to_raw_value(&document).expect("strings, numbers and JSON make JSON")
}

/// What an attempt writes.
#[derive(Clone)]
enum Written {
    Again(EventRecord),
    Settled { succeeded: bool, delivery: Option<DeliveryRecord> },
    Dropped,
}

/// Writes down what becomes of an event, unless somebody else did since it was seen.
async fn settle(
    lambda: &Lambda,
    function: &FunctionKey,
    id: EventId,
    epoch: u32,
    written: Written,
) -> Result<(), Error> {
    let (function, place) = (function.clone(), id.key(function));
    lambda
        .store
        .write(move |tx| {
            let held = EVENTS.get(tx, &place)?.filter(|event| event.epoch == epoch);
            if held.is_none() {
                return Ok(());
            }
            let counts_place = function.record();
            let mut counts = COUNTS.get(tx, &counts_place)?.unwrap_or_default();
            match &written {
                Written::Again(next) => return Ok(EVENTS.put(tx, &place, next)?),
                Written::Settled { succeeded: true, .. } => counts.succeeded += 1,
                Written::Settled { succeeded: false, .. } => counts.failed += 1,
                Written::Dropped => counts.dropped += 1,
            }
            EVENTS.delete(tx, &place)?;
            if counts.waiting() == 0 && !FUNCTIONS.contains(tx, &counts_place)? {
                COUNTS.delete(tx, &counts_place)?;
            } else {
                COUNTS.put(tx, &counts_place, &counts)?;
            }
            if let Written::Settled { delivery: Some(delivery), .. } = &written {
                DELIVERIES.put(tx, &place, delivery)?;
            }
            Ok::<_, Error>(())
        })
        .await
}
