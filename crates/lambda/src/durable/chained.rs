//! Invokes the functions that executions wait for.
//!
//! A row stands for an invocation that has not come to its end: it is removed together with the end of its operation, or
//! once the execution that it begins, if its function is a durable one, knows whom to tell. A worker that dies repeats it.

use std::{collections::HashSet, sync::Arc, time::Duration};

use bytes::Bytes;
use gatemill_store::Key;
use gatemill_wire::{FunctionRef, RequestId};
use tokio::task::JoinSet;

use super::{
    driver::function_error,
    execution::Execution,
    record::{CHAINED, ChainedRecord, ErrorRecord, ExecutionKey, OpenRecord, ParentRecord, State},
    start::{self, Start},
};
use crate::{
    Author, Error, FunctionTarget, Invocation, Lambda, invoke,
    invoke::resolve,
    limits::{DURABLE_CHAINED_AT_ONCE, DURABLE_CHAINED_BYTES_MAX, DURABLE_THROTTLED_MS},
    worker::RETRY,
};

type Place = (ExecutionKey, String);

/// Invokes, for ever.
pub(crate) async fn run(lambda: Arc<Lambda>) {
    let mut changes = lambda.store.watch(CHAINED.name());
    let mut running = JoinSet::new();
    let mut busy: HashSet<Place> = HashSet::new();
    loop {
        let room = DURABLE_CHAINED_AT_ONCE.saturating_sub(running.len());
        let rows = lambda
            .store
            .read(|tx| Ok::<_, Error>(CHAINED.scan(tx, &Key::empty(), None, busy.len() + room)?));
        match rows {
            Ok(rows) => {
                for (row, record) in rows {
                    let Some(key) = ExecutionKey::from_record(&row) else { continue };
                    let Some(operation) = row.text(4) else { continue };
                    let place = (key, operation.into_owned());
                    if running.len() < DURABLE_CHAINED_AT_ONCE && busy.insert(place.clone()) {
                        let lambda = Arc::clone(&lambda);
                        running.spawn(async move {
                            invoke(&lambda, &place, &record).await;
                            place
                        });
                    }
                }
            }
            Err(error) => {
                tracing::error!(error = error.chain(), "chained invocations cannot be read");
            }
        }
        tokio::select! {
            () = changes.changed() => {}
            Some(done) = running.join_next() => match done {
                Ok(place) => drop(busy.remove(&place)),
                Err(_) => busy.clear(),
            },
        }
    }
}

/// What an invocation came to.
type Ended = Result<Option<String>, ErrorRecord>;

async fn invoke(lambda: &Arc<Lambda>, place: &Place, record: &ChainedRecord) {
    loop {
        let settled = match try_invoke(lambda, place, record).await {
            Ok(Some(ended)) => end(lambda, place, ended).await,
            Ok(None) => forget(lambda, place).await,
            Err(Error::Throttled(_) | Error::Draining) => {
                tokio::time::sleep(Duration::from_millis(DURABLE_THROTTLED_MS.unsigned_abs()))
                    .await;
                continue;
            }
            Err(error) => {
                let error = ErrorRecord::new("InvocationFailed", error.to_string());
                end(lambda, place, Err(error)).await
            }
        };
        let Err(error) = settled else { return };
        tracing::error!(
            execution = place.0.id,
            error = error.chain(),
            "a chained invocation is not settled"
        );
        tokio::time::sleep(RETRY).await;
    }
}

/// Invokes the function; `None` where an execution of it was begun, which tells its end itself.
async fn try_invoke(
    lambda: &Arc<Lambda>,
    (key, operation): &Place,
    record: &ChainedRecord,
) -> Result<Option<Ended>, Error> {
    let target = target(key, &record.function)?;
    let version = resolve::resolve(lambda, &target).await?;
    let version = version.for_tenant(record.tenant_id.as_deref())?;
    let payload = Bytes::from(record.payload.clone().unwrap_or_default());
    if let Some(durable) = version.configuration.durable.clone() {
        if target.qualifier.is_none() {
            let text = "You cannot invoke a durable function using an unqualified ARN.";
            return Err(Error::InvalidParameter(text.to_owned()));
        }
        let parent = ParentRecord {
            account: key.function.account.clone(),
            region: key.function.region.clone(),
            function: key.function.name.clone(),
            execution: key.id.clone(),
            operation: operation.clone(),
        };
        let start = Start {
            // Named after the operation: a worker that repeats this finds what it began.
            name: Some(child_name(key, operation)),
            input: if payload.is_empty() { Bytes::from_static(b"{}") } else { payload },
            trace_id: record.trace_id.clone(),
            tenant_id: record.tenant_id.clone(),
            parent: Some(parent),
            dead_letter: None,
        };
        start::start(lambda, &version, &durable, start).await?;
        return Ok(None);
    }
    let call = Invocation {
        target,
        payload,
        author: Author::Caller,
        request_id: RequestId(lambda.uuid()),
        trace_id: record.trace_id.clone(),
        client_context: None,
        tenant_id: record.tenant_id.clone(),
        log_tail: false,
    };
    let outcome = invoke::invoke(Arc::clone(lambda), call).await?;
    if outcome.function_error.is_some() {
        return Ok(Some(Err(function_error(&outcome.payload))));
    }
    if outcome.payload.len() > DURABLE_CHAINED_BYTES_MAX {
        let text = format!(
            "The result of a chained invocation is larger than {DURABLE_CHAINED_BYTES_MAX} bytes."
        );
        return Ok(Some(Err(ErrorRecord::new("InvocationFailed", text))));
    }
    Ok(Some(Ok(Some(String::from_utf8_lossy(&outcome.payload).into_owned()))))
}

/// A name of at most 64 characters that only this operation gives.
fn child_name(key: &ExecutionKey, operation: &str) -> String {
    let digest = gatemill_store::Digest::of(format!("{}/{operation}", key.id).as_bytes());
    digest.to_string()
}

/// A function of the execution's own account and region.
fn target(key: &ExecutionKey, function: &str) -> Result<FunctionTarget, Error> {
    let FunctionRef { account, region, name, qualifier } = FunctionRef::parse(function, None)
        .map_err(|_| Error::InvalidParameter(format!("Invalid function ARN: {function}")))?;
    let here = &key.function;
    if account.is_some_and(|account| account != here.account) {
        let text = "Cannot invoke a function in a different account";
        return Err(Error::InvalidParameter(text.to_owned()));
    }
    if region.is_some_and(|region| region != here.region) {
        let text = "Cannot invoke a function in a different region";
        return Err(Error::InvalidParameter(text.to_owned()));
    }
    Ok(FunctionTarget {
        account: here.account.clone(),
        region: here.region.clone(),
        name,
        qualifier,
    })
}

/// Ends the operation.
async fn end(lambda: &Lambda, (key, operation): &Place, ended: Ended) -> Result<(), Error> {
    let (key, operation) = (key.clone(), operation.clone());
    let now_ms = lambda.clock.now().millis();
    lambda
        .store
        .write(move |tx| {
            CHAINED.delete(tx, &key.of(&operation))?;
            let Some(mut execution) = Execution::open(tx, &key, now_ms)? else { return Ok(()) };
            if execution.record.open.get(&operation) == Some(&OpenRecord::Chained) {
                match ended.clone() {
                    Ok(result) => execution.close(&operation, State::Succeeded, result, None)?,
                    Err(error) => execution.close(&operation, State::Failed, None, Some(error))?,
                }
                execution.save()?;
            }
            Ok::<_, Error>(())
        })
        .await
}

/// Removes the row: the end comes from elsewhere.
async fn forget(lambda: &Lambda, (key, operation): &Place) -> Result<(), Error> {
    let row = key.of(operation);
    lambda.store.write(move |tx| CHAINED.delete(tx, &row).map(|_| ()).map_err(Error::from)).await
}
