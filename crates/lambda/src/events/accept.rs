//! Accept: from a request to a durable event. Checked as a call is that somebody waits for, in the same order.

use std::sync::Arc;

use bytes::Bytes;
use gatemill_store::Write;
use gatemill_wire::{RequestId, Timestamp, payload::headers::new_trace_id};
use serde_json::value::RawValue;

use super::{
    bump, lineage,
    record::{COUNTS, EVENTS, EventId, EventRecord, LOOPS_ALLOWED},
};
use crate::{
    Author, Error, FunctionTarget, Invocation, Lambda, durable,
    invoke::{
        admit,
        resolve::{self, Version},
    },
    limits::EVENTS_WAITING_MAX,
    measure,
    target::FunctionKey,
};

/// An event that somebody sends.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) target: FunctionTarget,
    pub(crate) payload: Bytes,
    /// What it may hold at most, in bytes.
    pub(crate) payload_max: usize,
    pub(crate) request_id: RequestId,
    pub(crate) trace_id: Option<String>,
    pub(crate) client_context: Option<String>,
    pub(crate) tenant_id: Option<String>,
    /// For a durable function: the name of its execution.
    pub(crate) execution_name: Option<String>,
    pub(crate) now: Timestamp,
}

/// Accepts an event: when this returns, it is durable. Gives the ARN of the execution, if the event began one: for a
/// durable function that is all there is to do, since executions are durable by themselves.
///
/// # Errors
/// What `Invoke` answers for the function and for the event; and when too many wait.
pub(crate) async fn accept(lambda: &Lambda, arrival: Arrival) -> Result<Option<String>, Error> {
    let version = resolve::resolve(lambda, &arrival.target).await?;
    let version = version.for_tenant(arrival.tenant_id.as_deref())?;
    admit::check_event(&arrival.payload, arrival.payload_max)?;
    if version.configuration.durable.is_some() {
        return execution(lambda, &version, arrival).await.map(Some);
    }
    if arrival.execution_name.is_some() {
        return Err(Error::InvalidParameter(
            "DurableExecutionName can only be used to invoke a durable function.".to_owned(),
        ));
    }
    if lambda.events.lanes.waiting() >= EVENTS_WAITING_MAX {
        return Err(Error::TooManyEvents);
    }
    let function = arrival.target.key().to_owned();
    let event = event(lambda, &function, arrival)?;
    let id = EventId {
        order: lambda.events.next_order(event.accepted_ms),
        random: random(&event.request_id),
    };
    let lanes = Arc::clone(&lambda.events.lanes);
    let received_by = function.clone();
    lambda
        .store
        .write(move |tx| {
            put(tx, &function, id, &event)?;
            let (lanes, function, due_ms) = (Arc::clone(&lanes), function.clone(), event.due_ms);
            // If the event turns out not to be there, the lane's worker finds that.
            tx.on_commit(move || lanes.add(&function, id, due_ms));
            Ok::<_, Error>(())
        })
        .await?;
    bump(&lambda.events.tallies.received);
    lambda.happened(&received_by, &measure::ASYNC_RECEIVED, 1.0);
    Ok(None)
}

/// Begins an execution of a durable function.
async fn execution(lambda: &Lambda, version: &Version, arrival: Arrival) -> Result<String, Error> {
    let call = Invocation {
        target: arrival.target,
        payload: arrival.payload,
        author: Author::Caller,
        request_id: arrival.request_id,
        trace_id: arrival.trace_id,
        client_context: None,
        tenant_id: arrival.tenant_id,
        log_tail: false,
    };
    let request_id = call.request_id.to_string();
    let order = lambda.events.next_order(arrival.now.millis());
    let event = durable::Event { id: EventId { order, random: random(&request_id) }, request_id };
    let name = arrival.execution_name;
    let started = durable::begin(lambda, version, &call, name, Some(event)).await?;
    Ok(started.arn)
}

fn put(
    tx: &mut Write,
    function: &FunctionKey,
    id: EventId,
    event: &EventRecord,
) -> Result<(), Error> {
    let place = function.record();
    let mut counts = COUNTS.get(tx, &place)?.unwrap_or_default();
    counts.accepted += 1;
    COUNTS.put(tx, &place, &counts)?;
    Ok(EVENTS.put(tx, &id.key(function), event)?)
}

fn event(lambda: &Lambda, function: &FunctionKey, arrival: Arrival) -> Result<EventRecord, Error> {
    let trace_id = arrival.trace_id.unwrap_or_else(|| {
        let parent = &arrival.request_id.0.simple().to_string()[..16];
        let root = new_trace_id(&*lambda.entropy, arrival.now);
        format!("{root};Parent={parent};Sampled=0")
    });
    let entered = lineage::enter(&trace_id, &function.arn(None));
    let recursive = entered.is_loop && stops_loops(lambda, function)?;
    let text = String::from_utf8(arrival.payload.to_vec()).unwrap_or_default();
    // An absent event reaches the runtime as an empty object.
    let text = if text.is_empty() { "{}".to_owned() } else { text };
    Ok(EventRecord {
        request_id: arrival.request_id.to_string(),
        qualifier: arrival.target.qualifier.map(|qualifier| qualifier.to_string()),
        accepted_ms: arrival.now.millis(),
        due_ms: arrival.now.millis(),
        epoch: 0,
        failures: 0,
        refusals: 0,
        trace_id: entered.trace_id,
        client_context: arrival.client_context,
        tenant_id: arrival.tenant_id,
        recursive,
        last: None,
        payload: RawValue::from_string(text)
            .map_err(|_| Error::Internal("an event was checked and is no JSON"))?,
    })
}

/// Whether a function's loops are to be stopped, which is so unless its owner allowed them.
pub(crate) fn stops_loops(lambda: &Lambda, function: &FunctionKey) -> Result<bool, Error> {
    lambda.store.read(|tx| Ok(!LOOPS_ALLOWED.contains(tx, &function.record())?))
}

/// Half of a request's id, which is random.
fn random(request_id: &str) -> u64 {
    let id = uuid::Uuid::try_parse(request_id).unwrap_or_default();
    let (_, low) = id.as_u64_pair();
    low
}
