//! Callers that wait for the end of an execution.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::Notify;

use super::{
    Event,
    execution::RESULT,
    record::{DeadLetterRecord, ErrorRecord, ExecutionKey, ExecutionRecord, PAYLOADS, Status},
    start::{self, Start, Started},
    transitions,
};
use crate::{Error, Invocation, Lambda, Outcome, invoke::resolve::Version, limits};

/// Who waits for which execution.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    ends: Mutex<HashMap<ExecutionKey, Arc<Notify>>>,
}

impl Waiting {
    /// Says that an execution is over.
    pub(crate) fn ended(&self, key: &ExecutionKey) {
        let waiting = self.ends.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        if let Some(waiting) = waiting {
            waiting.notify_waiters();
        }
    }

    fn of(&self, key: &ExecutionKey) -> Arc<Notify> {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody waits for any more go whenever another one comes.
        ends.retain(|_, notify| Arc::strong_count(notify) > 1);
        Arc::clone(ends.entry(key.clone()).or_default())
    }
}

/// Runs an execution for a synchronous call: begins it, and waits for its end.
///
/// # Errors
/// Those of beginning; a function whose executions may last longer than a call waits.
pub(crate) async fn run(
    lambda: &Lambda,
    version: &Version,
    call: &Invocation,
    name: Option<String>,
) -> Result<Outcome, Error> {
    let started = begin(lambda, version, call, name, None).await?;
    outcome(lambda, version, started).await
}

/// Begins an execution for an `event`, or for a call whose caller waits for its end.
///
/// # Errors
/// As [`run`].
pub(crate) async fn begin(
    lambda: &Lambda,
    version: &Version,
    call: &Invocation,
    name: Option<String>,
    event: Option<Event>,
) -> Result<Started, Error> {
    let durable = version.configuration.durable.as_ref();
    let durable = durable.ok_or(Error::Internal("a function is not durable"))?;
    if call.target.qualifier.is_none() {
        return Err(Error::InvalidParameter(
            "You cannot invoke a durable function using an unqualified ARN.".to_owned(),
        ));
    }
    if event.is_none() && u64::from(durable.execution_timeout_s) > limits::DURABLE_WAIT.as_secs() {
        return Err(Error::InvalidParameter(
            "You cannot synchronously invoke a durable function with an executionTimeout greater than 15 minutes."
                .to_owned(),
        ));
    }
    let start = Start {
        name,
        input: if call.payload.is_empty() {
            Bytes::from_static(b"{}")
        } else {
            call.payload.clone()
        },
        trace_id: call.trace_id.clone(),
        tenant_id: call.tenant_id.clone(),
        parent: None,
        dead_letter: event.and_then(|event| {
            let arn = version.configuration.dead_letter_arn.clone();
            arn.map(|arn| DeadLetterRecord::new(arn, event))
        }),
    };
    start::start(lambda, version, durable, start).await
}

/// Waits for the end of an execution, and gives what the caller of its function reads.
///
/// # Errors
/// Faults of ours, and an execution that was removed meanwhile.
async fn outcome(lambda: &Lambda, version: &Version, started: Started) -> Result<Outcome, Error> {
    let notify = lambda.durable.of(&started.key);
    let deadline = tokio::time::Instant::now() + limits::DURABLE_WAIT + Duration::from_secs(1);
    let record = loop {
        let ended = notify.notified();
        let mut ended = std::pin::pin!(ended);
        // Before the record is read, so that an end in between is heard.
        ended.as_mut().enable();
        let record = transitions::read(lambda, &started.key)?;
        if record.status.is_over() {
            break record;
        }
        if tokio::time::timeout_at(deadline, ended).await.is_err() {
            return Err(Error::Internal("a durable execution did not end in its time"));
        }
    };
    answer(lambda, version, &started, &record)
}

fn answer(
    lambda: &Lambda,
    version: &Version,
    started: &Started,
    record: &ExecutionRecord,
) -> Result<Outcome, Error> {
    let place = started.key.of(RESULT);
    let result = lambda.store.read(|tx| Ok::<_, Error>(PAYLOADS.get(tx, &place)?))?;
    let failed = record.status != Status::Succeeded;
    let payload = match result {
        Some(result) if !failed => Bytes::from(result.text),
        _ if !failed => Bytes::from_static(b"null"),
        _ => error_document(record.error.as_ref()),
    };
    Ok(Outcome {
        payload,
        function_error: failed.then_some("Unhandled"),
        executed_version: version.name().to_owned(),
        log_tail: None,
        durable_execution_arn: Some(started.arn.clone()),
    })
}

/// An error as callers of functions read it.
fn error_document(error: Option<&ErrorRecord>) -> Bytes {
    let error = error.cloned().unwrap_or_default();
    let mut document = serde_json::Map::new();
    let mut put = |name: &str, value: Option<serde_json::Value>| {
        document.extend(value.map(|value| (name.to_owned(), value)));
    };
    put("errorMessage", Some(error.message.unwrap_or_default().into()));
    put("errorType", error.kind.map(Into::into));
    put("errorData", error.data.map(Into::into));
    put("stackTrace", error.trace.map(Into::into));
    Bytes::from(serde_json::Value::from(document).to_string())
}
