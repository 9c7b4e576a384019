//! Tells the dead-letter queue of a function that an event came to nothing: its execution failed, or its time was over.
//!
//! The queue is the one that the version had when the event came. What is to be delivered is written in the transaction that
//! ends the execution, like that of other events, and delivered by the same worker ([`crate::events::delivery`]). An
//! execution that somebody stopped is no failure, and one that a caller waited for is told to its caller.

use gatemill_store::Write;

use super::record::{DeadLetterRecord, ErrorRecord, ExecutionKey, ExecutionRecord, Status};
use crate::{
    Error,
    events::{
        record::{self as events, DELIVERIES, DeliveryRecord, EventId},
        verdict,
    },
};

/// An event that begins an execution.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) id: EventId,
    pub(crate) request_id: String,
}

impl DeadLetterRecord {
    /// What an execution has to know to tell the queue of its end.
    pub(super) fn new(target_arn: String, event: Event) -> Self {
        let EventId { order, random } = event.id;
        Self { target_arn, request_id: event.request_id, order, random }
    }
}

/// Has a queue told of an execution that ended, if there is one and it is to be told.
pub(super) fn tell(
    tx: &mut Write,
    key: &ExecutionKey,
    record: &ExecutionRecord,
    input: &str,
    error: Option<&ErrorRecord>,
) -> Result<(), Error> {
    let failed = matches!(record.status, Status::Failed | Status::TimedOut);
    let Some(to) = record.dead_letter.as_ref().filter(|_| failed) else { return Ok(()) };
    let letter = events::DeadLetterRecord {
        target_arn: to.target_arn.clone(),
        event: verdict::json(input.as_bytes()),
        error_code: 200,
        error_message: error.and_then(|error| error.message.clone()).unwrap_or_default(),
    };
    let delivery = DeliveryRecord {
        request_id: to.request_id.clone(),
        trace_id: record.trace_id.clone().unwrap_or_default(),
        dead_letter: Some(letter),
        destination: None,
    };
    let id = EventId { order: to.order, random: to.random };
    Ok(DELIVERIES.put(tx, &id.key(&key.function), &delivery)?)
}
