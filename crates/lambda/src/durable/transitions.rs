//! What changes an execution that runs, each a transaction of its own: checkpoints, callbacks, and what operators ask.

use gatemill_api::lambda as api;
use gatemill_store::Write;

use super::{
    arn,
    checkpoint::{Batch, Done},
    execution::Execution,
    record::{
        AnsweredRecord, EXECUTIONS, ErrorRecord, ExecutionKey, ExecutionRecord, Happened,
        OPERATIONS, OpenRecord, OperationRecord, PauseRecord, State, Status,
    },
};
use crate::{
    Error, Lambda,
    limits::{DURABLE_ANSWER_KEPT_MS, DURABLE_BYTES_MAX},
};

/// The answer to a checkpoint.
#[derive(Debug)]
pub(crate) struct Checkpointed {
    /// The token of the next one; none where the invocation may not go on.
    pub(crate) token: Option<String>,
    pub(crate) operations: Vec<OperationRecord>,
}

fn invalid_token() -> Error {
    Error::InvalidParameter("Invalid checkpoint token".to_owned())
}

pub(crate) fn missing() -> Error {
    Error::NotFound("Durable Execution does not exist".to_owned())
}

/// Runs a change of one execution; [`Error::NotFound`] when there is none.
async fn change<T: Send + 'static>(
    lambda: &Lambda,
    key: &ExecutionKey,
    change: impl Fn(&mut Execution<'_>) -> Result<T, Error> + Send + 'static,
) -> Result<(T, ExecutionRecord), Error> {
    let (key, now_ms) = (key.clone(), lambda.clock.now().millis());
    let place = key.clone();
    let changed = lambda
        .store
        .write(move |tx: &mut Write| {
            let mut execution = Execution::open(tx, &place, now_ms)?.ok_or_else(missing)?;
            let given = change(&mut execution)?;
            Ok::<_, Error>((given, execution.save()?))
        })
        .await?;
    if changed.1.status.is_over() {
        lambda.durable.ended(&key);
    }
    Ok(changed)
}

/// Takes a checkpoint of the invocation that holds `token`.
pub(crate) async fn checkpoint(
    lambda: &Lambda,
    key: &ExecutionKey,
    request: api::CheckpointDurableExecutionRequest,
) -> Result<Checkpointed, Error> {
    let nonce = lambda.uuid().simple().to_string();
    let (at, updates) = (key.clone(), request.updates.unwrap_or_default());
    let (answer, _) = change(lambda, key, move |execution| {
        let sent = (request.checkpoint_token.as_str(), request.client_token.as_deref());
        if let Some(again) = answered(execution, sent)? {
            return Ok(again);
        }
        let running = execution.record.invocation.as_ref();
        if running.is_none_or(|running| running.token != sent.0) {
            return Err(invalid_token());
        }
        let token = arn::token(&at, execution.record.epoch, &nonce);
        apply(execution, &at, &updates, &nonce)?;
        let paused = execution.record.status == Status::Pausing;
        let over = execution.record.status.is_over();
        if !over {
            execution.settle_due()?;
        }
        if paused {
            return Ok(Checkpointed { token: None, operations: Vec::new() });
        }
        let ids = std::mem::take(&mut execution.record.unseen);
        let operations = operations(execution, &ids)?;
        let now_ms = execution.now_ms;
        if let Some(running) = &mut execution.record.invocation {
            running.token.clone_from(&token);
            running.answered = sent.1.map(|client| AnsweredRecord {
                client_token: client.to_owned(),
                token: sent.0.to_owned(),
                operations: ids,
                at_ms: now_ms,
            });
        }
        Ok(Checkpointed { token: Some(token), operations })
    })
    .await?;
    Ok(answer)
}

fn apply(
    execution: &mut Execution<'_>,
    key: &ExecutionKey,
    updates: &[api::OperationUpdate],
    nonce: &str,
) -> Result<(), Error> {
    let ids = updates
        .iter()
        .flat_map(|update| std::iter::once(update.id.as_str()).chain(update.parent_id.as_deref()));
    let mint = |operation: &str| arn::callback(key, operation, nonce);
    let mut batch = Batch {
        operations: execution.named(ids)?,
        count: execution.record.operations,
        now_ms: execution.now_ms,
        mint: &mint,
        is_chained: execution.record.parent.is_some(),
        done: Done::default(),
    };
    batch.apply(updates)?;
    if execution.record.bytes + batch.done.bytes > DURABLE_BYTES_MAX {
        return Err(Error::InvalidParameter(format!(
            "A durable execution can persist at most {DURABLE_BYTES_MAX} bytes."
        )));
    }
    execution.take(batch)
}

/// The answer that was given to this very checkpoint before, where its client did not hear it.
fn answered(
    execution: &Execution<'_>,
    (token, client): (&str, Option<&str>),
) -> Result<Option<Checkpointed>, Error> {
    let Some(running) = &execution.record.invocation else { return Ok(None) };
    let Some(before) = &running.answered else { return Ok(None) };
    let is_again = client == Some(before.client_token.as_str())
        && before.token == token
        && execution.now_ms - before.at_ms <= DURABLE_ANSWER_KEPT_MS;
    if !is_again {
        return Ok(None);
    }
    let operations = operations(execution, &before.operations)?;
    Ok(Some(Checkpointed { token: Some(running.token.clone()), operations }))
}

fn operations(execution: &Execution<'_>, ids: &[String]) -> Result<Vec<OperationRecord>, Error> {
    let mut operations = Vec::with_capacity(ids.len());
    for id in ids {
        operations.extend(execution.operation(id)?);
    }
    Ok(operations)
}

/// Checks that a token is that of the invocation that runs, for reading on.
pub(crate) fn check_token(record: &ExecutionRecord, token: &str) -> Result<(), Error> {
    let running = record.invocation.as_ref();
    match running.is_some_and(|running| running.token == token) {
        true => Ok(()),
        false => Err(invalid_token()),
    }
}

/// What calls back.
#[derive(Debug, Clone)]
pub(crate) enum Call {
    Success(String),
    Failure(ErrorRecord),
    Heartbeat,
}

/// Takes what came for a callback.
pub(crate) async fn call_back(lambda: &Lambda, id: &str, call: Call) -> Result<(), Error> {
    let missing = |id: &str| Error::NotFound(format!("Callback {id} is not active"));
    let (key, operation) = arn::parse_callback(id).ok_or_else(|| missing(id))?;
    let place = key.of(&operation);
    let stored = lambda.store.read(|tx| Ok::<_, Error>(OPERATIONS.get(tx, &place)?))?;
    let stored = stored.filter(|stored| stored.callback_id.as_deref() == Some(id));
    if stored.is_none() {
        return Err(missing(id));
    }
    let id = id.to_owned();
    change(lambda, &key, move |execution| {
        if execution.record.status.is_over() {
            return Err(missing(&id));
        }
        // What is due is over, even if the worker has not come by.
        execution.settle_due()?;
        let now_ms = execution.now_ms;
        let Some(open) = execution.record.open.get_mut(&operation) else {
            let state = execution.operation(&operation)?.map(|operation| operation.state);
            return Err(match state {
                Some(State::TimedOut) => {
                    Error::CallbackTimeout(format!("Callback {id} has timed out"))
                }
                _ => missing(&id),
            });
        };
        match &call {
            Call::Success(result) => {
                execution.close(&operation, State::Succeeded, Some(result.clone()), None)
            }
            Call::Failure(error) => {
                execution.close(&operation, State::Failed, None, Some(error.clone()))
            }
            Call::Heartbeat => {
                if let OpenRecord::Callback { heartbeat_s, heartbeat_deadline_ms, .. } = open {
                    *heartbeat_deadline_ms = heartbeat_s.map(|s| now_ms + i64::from(s) * 1000);
                }
                Ok(())
            }
        }
    })
    .await?;
    Ok(())
}

/// Stops an execution; when it was stopped. One that is over stays what it is.
pub(crate) async fn stop(
    lambda: &Lambda,
    key: &ExecutionKey,
    error: Option<ErrorRecord>,
) -> Result<i64, Error> {
    let (at_ms, _) = change(lambda, key, move |execution| {
        if execution.record.status.is_over() {
            return Ok(execution.record.ended_ms.unwrap_or(execution.now_ms));
        }
        let error = error.clone().unwrap_or_default();
        execution.end(Status::Stopped, None, Some(error))?;
        Ok(execution.now_ms)
    })
    .await?;
    Ok(at_ms)
}

/// Pauses an execution once the invocation that runs has ended.
pub(crate) async fn pause(
    lambda: &Lambda,
    key: &ExecutionKey,
    reason: Option<String>,
    holds_timeout: bool,
) -> Result<(), Error> {
    change(lambda, key, move |execution| {
        match execution.record.status {
            Status::Running => {}
            Status::Pausing | Status::Paused => return Ok(()),
            over => return Err(conflict("paused", over)),
        }
        let requested_ms = execution.now_ms;
        let pause = PauseRecord { requested_ms, reason: reason.clone(), holds_timeout };
        execution.record.pause = Some(pause);
        let runs = execution.record.invocation.is_some();
        execution.record.status = if runs { Status::Pausing } else { Status::Paused };
        let reason = reason.clone();
        execution.happened(None, Happened::ExecutionPaused { requested_ms, reason, holds_timeout })
    })
    .await?;
    Ok(())
}

/// Lets an execution that is paused go on.
pub(crate) async fn resume(
    lambda: &Lambda,
    key: &ExecutionKey,
    reason: Option<String>,
) -> Result<(), Error> {
    change(lambda, key, move |execution| {
        match execution.record.status {
            Status::Running => return Ok(()),
            Status::Pausing | Status::Paused => {}
            over => return Err(conflict("resumed", over)),
        }
        let requested_ms = execution.now_ms;
        if let Some(pause) = execution.record.pause.take().filter(|pause| pause.holds_timeout) {
            execution.record.deadline_ms += requested_ms - pause.requested_ms;
        }
        execution.record.status = Status::Running;
        execution.settle_due()?;
        let reason = reason.clone();
        execution.happened(None, Happened::ExecutionResumed { requested_ms, reason })
    })
    .await?;
    Ok(())
}

/// Has an execution that is over removed; when that was asked for.
pub(crate) async fn delete(lambda: &Lambda, key: &ExecutionKey) -> Result<i64, Error> {
    let (at_ms, _) = change(lambda, key, |execution| {
        if !execution.record.status.is_over() {
            return Err(conflict("deleted", execution.record.status));
        }
        execution.record.status = Status::Deleting;
        Ok(*execution.record.delete_requested_ms.get_or_insert(execution.now_ms))
    })
    .await?;
    Ok(at_ms)
}

fn conflict(what: &str, status: Status) -> Error {
    Error::Conflict(format!("A durable execution that is {} cannot be {what}.", status.as_str()))
}

/// The execution as it is stored.
pub(crate) fn read(lambda: &Lambda, key: &ExecutionKey) -> Result<ExecutionRecord, Error> {
    let found = lambda.store.read(|tx| Ok::<_, Error>(EXECUTIONS.get(tx, &key.record())?))?;
    found.ok_or_else(missing)
}
