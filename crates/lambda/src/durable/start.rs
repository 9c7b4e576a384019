//! The beginning of an execution: a new one, or the one of that name that is there.

use bytes::Bytes;

use super::{
    arn, drain,
    execution::{Execution, INPUT},
    record::{
        DeadLetterRecord, EXECUTIONS, ExecutionKey, ExecutionRecord, NAMES, PAYLOADS, ParentRecord,
        Status,
    },
};
use crate::{Error, Lambda, invoke::resolve::Version, record::Durable};

/// What an execution begins with.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    /// The name that makes it one of a kind; without it, its id.
    pub(crate) name: Option<String>,
    /// The event: JSON text.
    pub(crate) input: Bytes,
    pub(crate) trace_id: Option<String>,
    pub(crate) tenant_id: Option<String>,
    pub(crate) parent: Option<ParentRecord>,
    /// Who is told if it fails.
    pub(crate) dead_letter: Option<DeadLetterRecord>,
}

/// An execution that was begun, now or before.
#[derive(Debug, Clone)]
pub(crate) struct Started {
    pub(crate) key: ExecutionKey,
    pub(crate) arn: String,
}

/// Begins an execution of a version, durably.
///
/// # Errors
/// [`Error::DurableExecutionStarted`] when there is one of that name with another input; an input that is no text; a function
/// that is about to be deleted.
pub(crate) async fn start(
    lambda: &Lambda,
    version: &Version,
    durable: &Durable,
    start: Start,
) -> Result<Started, Error> {
    let id = lambda.uuid().to_string();
    let key = ExecutionKey { function: version.key.clone(), id };
    let input = String::from_utf8(start.input.to_vec()).map_err(|_| {
        Error::InvalidRequestContent("Could not parse request body into json: invalid UTF-8".into())
    })?;
    let now_ms = lambda.clock.now().millis();
    let name = start.name.clone().unwrap_or_else(|| key.id.clone());
    let record = ExecutionRecord {
        name: name.clone(),
        version: version.name().to_owned(),
        status: Status::Running,
        started_ms: now_ms,
        ended_ms: None,
        error: None,
        timeout_s: durable.execution_timeout_s,
        retention_days: durable.retention_days,
        deadline_ms: now_ms + i64::from(durable.execution_timeout_s) * 1000,
        trace_id: start.trace_id,
        tenant_id: start.tenant_id,
        parent: start.parent,
        epoch: 0,
        invocation: None,
        failures: 0,
        retry_at_ms: None,
        unseen: Vec::new(),
        open: std::collections::BTreeMap::new(),
        operations: 0,
        bytes: 0,
        events: 0,
        wake_ms: None,
        pause: None,
        delete_requested_ms: None,
        dead_letter: start.dead_letter,
    };
    let version = version.name().to_owned();
    let arn = move |key: &ExecutionKey| arn::of_execution(key, &version, &name);
    let key = lambda
        .store
        .write(move |tx| {
            let place = key.name(&record.version, &record.name);
            if let Some(named) = NAMES.get(tx, &place)? {
                let there = ExecutionKey { function: key.function.clone(), id: named.id };
                let known = PAYLOADS.get(tx, &there.of(INPUT))?;
                if EXECUTIONS.contains(tx, &there.record())? {
                    return match known.is_some_and(|known| known.text == input) {
                        true => Ok(there),
                        false => Err(Error::DurableExecutionStarted(record.name.clone())),
                    };
                }
            }
            drain::check(tx, &key.function, &record.version)?;
            Execution::create(tx, &key, record.clone(), &input, now_ms)?.save()?;
            Ok(key.clone())
        })
        .await?;
    Ok(Started { arn: arn(&key), key })
}
