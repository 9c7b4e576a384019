//! Drives executions: looks at each when its time has come, invokes its function where there is something to do, and
//! settles what came of it.
//!
//! An execution has at most one invocation at a time. It stays due while one runs, so that a driver that is killed leaves
//! it to the next one; the epoch of the new invocation makes the old one's word count for nothing.

use std::{collections::HashSet, sync::Arc, time::Duration};

use bytes::Bytes;
use gatemill_store::Key;
use gatemill_wire::RequestId;
use tokio::task::JoinSet;

use super::{
    arn,
    envelope::{self, Envelope, InitialState, Said},
    execution::{Execution, page},
    record::{
        ErrorRecord, ExecutionKey, ExecutionRecord, Happened, InvocationRecord, OperationRecord,
        Status, WAKES,
    },
};
use crate::{
    Author, Error, FunctionTarget, Invocation, Lambda, invoke,
    limits::{
        DURABLE_AT_ONCE, DURABLE_ENVELOPE_BYTES, DURABLE_FAILURES_MAX, DURABLE_PAGE_MAX,
        DURABLE_RETRY_MS, DURABLE_THROTTLED_MS,
    },
    worker::RETRY,
};

/// Drives executions, for ever.
pub(crate) async fn run(lambda: Arc<Lambda>) {
    let mut changes = lambda.store.watch(WAKES.name());
    let mut running = JoinSet::new();
    let mut busy: HashSet<ExecutionKey> = HashSet::new();
    loop {
        let next_ms = match due(&lambda, &busy, DURABLE_AT_ONCE.saturating_sub(running.len())) {
            Ok((due, next_ms)) => {
                for key in due {
                    busy.insert(key.clone());
                    let lambda = Arc::clone(&lambda);
                    running.spawn(async move {
                        drive(&lambda, &key).await;
                        key
                    });
                }
                next_ms
            }
            Err(error) => {
                tracing::error!(error = error.chain(), "durable executions cannot be read");
                Some(lambda.clock.now().millis() + DURABLE_RETRY_MS)
            }
        };
        let now_ms = lambda.clock.now().millis();
        let wait = next_ms.map(|next| u64::try_from(next - now_ms).unwrap_or(0));
        let timer = async {
            match wait {
                Some(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = changes.changed() => {}
            () = timer => {}
            Some(done) = running.join_next() => match done {
                Ok(key) => drop(busy.remove(&key)),
                // Which one panicked is not known; all may be looked at again.
                Err(_) => busy.clear(),
            },
        }
    }
}

/// At most `room` executions that are due and that nobody drives, and when the next one is due.
fn due(
    lambda: &Lambda,
    busy: &HashSet<ExecutionKey>,
    room: usize,
) -> Result<(Vec<ExecutionKey>, Option<i64>), Error> {
    let now_ms = lambda.clock.now().millis();
    let limit = busy.len() + room + 1;
    let rows =
        lambda.store.read(|tx| Ok::<_, Error>(WAKES.scan(tx, &Key::empty(), None, limit)?))?;
    let mut due = Vec::new();
    for (due_ms, key) in rows.iter().filter_map(|(row, _)| ExecutionKey::from_wake(row)) {
        if due_ms > now_ms {
            return Ok((due, Some(due_ms)));
        }
        if due.len() < room && !busy.contains(&key) {
            due.push(key);
        }
    }
    Ok((due, None))
}

/// What one look at an execution asks for.
enum Look {
    /// Nothing, or nothing more.
    Done,
    /// The execution was found to be over.
    Over,
    /// Its remains are not all removed.
    Again,
    /// An invocation.
    Invoke(Box<Begun>),
}

/// An invocation that was begun.
struct Begun {
    record: ExecutionRecord,
    operations: Vec<OperationRecord>,
    next: Option<u64>,
    updated: Vec<String>,
}

async fn drive(lambda: &Arc<Lambda>, key: &ExecutionKey) {
    loop {
        let looked = look(lambda, key).await;
        match looked {
            Ok(Look::Done) => return,
            Ok(Look::Over) => return lambda.durable.ended(key),
            Ok(Look::Again) => {}
            Ok(Look::Invoke(begun)) => match run_once(lambda, key, *begun).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::error!(
                        execution = key.id,
                        error = error.chain(),
                        "an invocation of a durable execution is not settled"
                    );
                    tokio::time::sleep(RETRY).await;
                    return;
                }
            },
            Err(error) => {
                tracing::error!(
                    execution = key.id,
                    error = error.chain(),
                    "a durable execution is not driven"
                );
                tokio::time::sleep(RETRY).await;
                return;
            }
        }
    }
}

/// Ends what is due, and begins an invocation where the function has something to do.
async fn look(lambda: &Lambda, key: &ExecutionKey) -> Result<Look, Error> {
    let request_id = lambda.uuid();
    let nonce = lambda.uuid().simple().to_string();
    let (key, now_ms) = (key.clone(), lambda.clock.now().millis());
    lambda
        .store
        .write(move |tx| {
            let Some(mut execution) = Execution::open(tx, &key, now_ms)? else {
                return Ok(Look::Done);
            };
            if execution.record.status.is_over() {
                let removes = execution.record.wake_ms.is_some_and(|wake| wake <= now_ms);
                return match removes && !execution.purge()? {
                    true => Ok(Look::Again),
                    false => Ok(Look::Done),
                };
            }
            let holds = execution.record.pause.as_ref().is_some_and(|pause| pause.holds_timeout);
            if now_ms >= execution.record.deadline_ms && !holds {
                let error = ErrorRecord::new("ExecutionTimeout", "Execution timed out");
                execution.end(Status::TimedOut, None, Some(error))?;
                execution.save()?;
                return Ok(Look::Over);
            }
            if matches!(execution.record.status, Status::Paused | Status::Pausing) {
                // An invocation that ran when the server ended does not run any more.
                execution.record.invocation = None;
                execution.record.status = Status::Paused;
                execution.save()?;
                return Ok(Look::Done);
            }
            execution.settle_due()?;
            let lost = execution.record.invocation.take().is_some();
            let waits = execution.record.retry_at_ms.is_some_and(|at_ms| at_ms > now_ms);
            if !lost && (waits || !execution.wants_invocation()) {
                execution.save()?;
                return Ok(Look::Done);
            }
            let updated = std::mem::take(&mut execution.record.unseen);
            execution.record.epoch += 1;
            execution.record.retry_at_ms = None;
            execution.record.invocation = Some(InvocationRecord {
                request_id: request_id.to_string(),
                begun_ms: now_ms,
                token: arn::token(&key, execution.record.epoch, &nonce),
                answered: None,
            });
            let record = execution.save()?;
            let (operations, next) =
                page(tx, &key, &record, None, DURABLE_PAGE_MAX, DURABLE_ENVELOPE_BYTES)?;
            Ok(Look::Invoke(Box::new(Begun { record, operations, next, updated })))
        })
        .await
}

async fn run_once(lambda: &Arc<Lambda>, key: &ExecutionKey, begun: Begun) -> Result<(), Error> {
    let said = invoke_function(lambda, key, &begun).await?;
    settle(lambda, key, &begun, said).await
}

/// What an invocation came to, for the execution.
#[derive(Debug, Clone)]
enum Outcome {
    Succeeded(Option<String>),
    Failed(ErrorRecord),
    Pending,
    /// It failed, and is repeated.
    Broken(ErrorRecord),
    /// There was no room for it; it is repeated.
    Refused,
    /// The execution's time was over before its end.
    Late,
}

async fn invoke_function(
    lambda: &Arc<Lambda>,
    key: &ExecutionKey,
    begun: &Begun,
) -> Result<Outcome, Error> {
    let record = &begun.record;
    let running = record.invocation.as_ref();
    let running = running.ok_or(Error::Internal("an invocation was begun without a record"))?;
    let envelope = Envelope {
        durable_execution_arn: &arn::of_execution(key, &record.version, &record.name),
        checkpoint_token: &running.token,
        initial_execution_state: InitialState {
            operations: begun.operations.iter().map(Into::into).collect(),
            next_marker: begun.next.map(super::view::marker).unwrap_or_default(),
        },
        updated_operation_ids: &begun.updated,
    };
    let payload = serde_json::to_vec(&envelope);
    let payload = payload.map_err(|_| Error::Internal("an envelope is no JSON"))?;
    let request_id = running.request_id.parse();
    let call = Invocation {
        target: FunctionTarget {
            account: key.function.account.clone(),
            region: key.function.region.clone(),
            name: key.function.name.clone(),
            qualifier: Some(arn::qualifier(&record.version)),
        },
        payload: Bytes::from(payload),
        author: Author::Caller,
        request_id: RequestId(request_id.map_err(|_| Error::Internal("a stored id is none"))?),
        trace_id: record.trace_id.clone(),
        client_context: None,
        tenant_id: record.tenant_id.clone(),
        log_tail: false,
    };
    let left_ms = u64::try_from(record.deadline_ms - running.begun_ms).unwrap_or(0);
    let call = invoke::invoke_within_execution(Arc::clone(lambda), call);
    let Ok(answer) = tokio::time::timeout(Duration::from_millis(left_ms), call).await else {
        return Ok(Outcome::Late);
    };
    Ok(match answer {
        Ok(outcome) if outcome.function_error.is_some() => {
            Outcome::Broken(function_error(&outcome.payload))
        }
        Ok(outcome) => match envelope::read(&outcome.payload) {
            Ok(Said::Succeeded(result)) => Outcome::Succeeded(result),
            Ok(Said::Failed(error)) => Outcome::Failed(error),
            Ok(Said::Pending) => Outcome::Pending,
            Err(wrong) => Outcome::Failed(wrong),
        },
        Err(Error::Throttled(_) | Error::Draining) => Outcome::Refused,
        Err(error @ (Error::FunctionNotFound(_) | Error::InvalidParameter(_))) => {
            Outcome::Failed(ErrorRecord::new("InvocationFailed", error.to_string()))
        }
        Err(error) => Outcome::Broken(ErrorRecord::new("ServiceException", error.to_string())),
    })
}

/// The error document of a function that failed, as an error of the API.
pub(super) fn function_error(payload: &[u8]) -> ErrorRecord {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Document {
        error_message: Option<String>,
        error_type: Option<String>,
        stack_trace: Option<Vec<serde_json::Value>>,
    }
    let Ok(document) = serde_json::from_slice::<Document>(payload) else {
        return ErrorRecord::new("Unhandled", String::from_utf8_lossy(payload));
    };
    let line = |line: serde_json::Value| match line {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    ErrorRecord {
        message: document.error_message,
        kind: document.error_type,
        data: None,
        trace: document.stack_trace.map(|lines| lines.into_iter().map(line).collect()),
    }
}

async fn settle(
    lambda: &Lambda,
    key: &ExecutionKey,
    begun: &Begun,
    outcome: Outcome,
) -> Result<(), Error> {
    let (place, now_ms, epoch) = (key.clone(), lambda.clock.now().millis(), begun.record.epoch);
    let told = begun.updated.clone();
    let over = lambda
        .store
        .write(move |tx| {
            let Some(mut execution) = Execution::open(tx, &place, now_ms)? else {
                return Ok::<_, Error>(true);
            };
            if execution.record.status.is_over() {
                return Ok(true);
            }
            if execution.record.epoch != epoch {
                return Ok(false);
            }
            if let Some(running) = execution.record.invocation.take() {
                let error = match &outcome {
                    Outcome::Broken(error) => Some(error.clone()),
                    _ => None,
                };
                execution.happened(
                    None,
                    Happened::InvocationCompleted {
                        begun_ms: running.begun_ms,
                        request_id: running.request_id,
                        error,
                    },
                )?;
            }
            apply(&mut execution, &outcome, &told)?;
            if execution.record.status == Status::Pausing {
                execution.record.status = Status::Paused;
            }
            Ok(execution.save()?.status.is_over())
        })
        .await?;
    if over {
        lambda.durable.ended(key);
    }
    Ok(())
}

fn apply(execution: &mut Execution<'_>, outcome: &Outcome, told: &[String]) -> Result<(), Error> {
    match outcome {
        Outcome::Succeeded(result) => execution.end(Status::Succeeded, result.clone(), None),
        Outcome::Failed(error) => execution.end(Status::Failed, None, Some(error.clone())),
        Outcome::Late => {
            let error = ErrorRecord::new("ExecutionTimeout", "Execution timed out");
            execution.end(Status::TimedOut, None, Some(error))
        }
        Outcome::Pending => {
            execution.record.failures = 0;
            let waits = !execution.record.open.is_empty() || !execution.record.unseen.is_empty();
            if waits || execution.record.status == Status::Pausing {
                return Ok(());
            }
            let text = "Cannot return PENDING status with no pending operations.";
            let error = ErrorRecord::new("InvalidParameterValueException", text);
            execution.end(Status::Failed, None, Some(error))
        }
        Outcome::Refused => {
            tell_again(execution, told);
            execution.record.retry_at_ms = Some(execution.now_ms + DURABLE_THROTTLED_MS);
            Ok(())
        }
        Outcome::Broken(error) => {
            execution.record.failures += 1;
            if execution.record.failures >= DURABLE_FAILURES_MAX {
                return execution.end(Status::Failed, None, Some(error.clone()));
            }
            tell_again(execution, told);
            execution.record.retry_at_ms = Some(execution.now_ms + DURABLE_RETRY_MS);
            Ok(())
        }
    }
}

/// The next invocation is told what this one was.
fn tell_again(execution: &mut Execution<'_>, told: &[String]) {
    let unseen = &mut execution.record.unseen;
    let missing: Vec<_> = told.iter().filter(|id| !unseen.contains(id)).cloned().collect();
    unseen.splice(0..0, missing);
}
