//! The worker that tells of settled events: records to destinations, events that failed to dead-letter queues.
//!
//! What is to be told was written in the transaction that settled the event, so a server that dies tells it after its
//! next start, perhaps twice. A target that refuses, or is not reached after some attempts, does not get it: as with AWS
//! that is counted, logged and over.

use std::{collections::HashSet, sync::Arc, time::Duration};

use gatemill_store::Key;
use gatemill_wire::Timestamp;
use tokio::task::JoinSet;

use super::{
    bump,
    record::{DELIVERIES, DeadLetterRecord, DeliveryRecord, DestinationRecord, EventId},
};
use crate::{
    Error, Lambda,
    destination::{self, Message, Object, Reach},
    limits::{EVENT_DELIVERIES_AT_ONCE, EVENT_ERROR_MESSAGE_BYTES},
    measure,
    target::FunctionKey,
};

/// Delivers for ever.
pub(crate) async fn run(lambda: Arc<Lambda>) {
    let mut changes = lambda.store.watch(DELIVERIES.name());
    let mut running: JoinSet<Key> = JoinSet::new();
    let mut busy: HashSet<Key> = HashSet::new();
    loop {
        match waiting(&lambda, busy.len()) {
            Ok(found) => {
                for (key, delivery) in found {
                    if running.len() < EVENT_DELIVERIES_AT_ONCE && busy.insert(key.clone()) {
                        let lambda = Arc::clone(&lambda);
                        running.spawn(async move {
                            deliver(&lambda, &key, delivery).await;
                            key
                        });
                    }
                }
            }
            Err(error) => tracing::error!(error = error.chain(), "deliveries cannot be read"),
        }
        tokio::select! {
            () = changes.changed(), if running.len() < EVENT_DELIVERIES_AT_ONCE => {}
            Some(done) = running.join_next() => match done {
                Ok(key) => drop(busy.remove(&key)),
                // Which one panicked is not known; all may be tried again.
                Err(_) => busy.clear(),
            },
        }
    }
}

/// Deliveries to begin with: those that run already are among them.
fn waiting(lambda: &Lambda, busy: usize) -> Result<Vec<(Key, DeliveryRecord)>, Error> {
    if busy >= EVENT_DELIVERIES_AT_ONCE {
        return Ok(Vec::new());
    }
    lambda
        .store
        .read(|tx| Ok(DELIVERIES.scan(tx, &Key::empty(), None, EVENT_DELIVERIES_AT_ONCE)?))
}

/// Delivers what a record names, and removes it.
async fn deliver(lambda: &Lambda, key: &Key, delivery: DeliveryRecord) {
    let Some((function, _)) = EventId::from_key(key) else { return };
    if let Some(dead_letter) = &delivery.dead_letter
        && let Err(error) = send_dead_letter(lambda, &function, &delivery, dead_letter).await
    {
        bump(&lambda.events.tallies.dead_letter_errors);
        lambda.happened(&function, &measure::DEAD_LETTER_ERRORS, 1.0);
        let target = &dead_letter.target_arn;
        tracing::warn!(%function, target, error, "an event did not reach its dead-letter queue");
    }
    if let Some(destination) = &delivery.destination
        && let Err(error) = send_record(lambda, &function, &delivery, destination).await
    {
        bump(&lambda.events.tallies.delivery_failures);
        lambda.happened(&function, &measure::DELIVERY_FAILURES, 1.0);
        let target = &destination.arn;
        tracing::warn!(%function, target, error, "a record did not reach its destination");
    }
    let mut pause = Duration::from_millis(200);
    loop {
        let place = key.clone();
        let removed =
            lambda.store.write(move |tx| Ok::<_, Error>(DELIVERIES.delete(tx, &place)?)).await;
        match removed {
            Ok(_) => return,
            Err(error) => tracing::error!(error = error.chain(), "a delivery stays"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(10));
    }
}

async fn send_dead_letter(
    lambda: &Lambda,
    function: &FunctionKey,
    delivery: &DeliveryRecord,
    letter: &DeadLetterRecord,
) -> Result<(), String> {
    let code = letter.error_code.to_string();
    let message = &letter.error_message;
    let message = &message[..message.floor_char_boundary(EVENT_ERROR_MESSAGE_BYTES)];
    let mut attributes =
        vec![("RequestID", "String", delivery.request_id.as_str()), ("ErrorCode", "Number", &code)];
    // An empty attribute is none for queues.
    if !message.is_empty() {
        attributes.push(("ErrorMessage", "String", message));
    }
    let message = Message {
        body: letter.event.get(),
        attributes: &attributes,
        trace_id: Some(&delivery.trace_id),
        succeeded: false,
        function_arn: &function.arn(None),
        object: object(function, delivery, lambda.clock.now()),
    };
    send(lambda, &letter.target_arn, &message).await
}

async fn send_record(
    lambda: &Lambda,
    function: &FunctionKey,
    delivery: &DeliveryRecord,
    destination: &DestinationRecord,
) -> Result<(), String> {
    let message = Message {
        body: destination.record.get(),
        attributes: &[],
        trace_id: Some(&delivery.trace_id),
        succeeded: destination.succeeded,
        function_arn: &destination.function_arn,
        object: object(function, delivery, Timestamp(destination.at_ms)),
    };
    send(lambda, &destination.arn, &message).await
}

/// As AWS names objects of failed events.
fn object(function: &FunctionKey, delivery: &DeliveryRecord, at: Timestamp) -> Object<'static> {
    let (day, time) = (at.log_stream_date(), at.iso8601());
    let time = time.trim_end_matches('Z').replace(':', ".");
    let (function, id) = (&function.name, &delivery.request_id);
    Object { key: format!("aws/lambda/async/{function}/{day}/{time}-{id}"), body: None }
}

async fn send(lambda: &Lambda, arn: &str, message: &Message<'_>) -> Result<(), String> {
    let to = destination::parse(arn).ok_or("it is no target")?;
    to.send(Reach::all(lambda), message).await.map_err(|error| error.to_string())
}
