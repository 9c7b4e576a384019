//! The operations on durable executions: what functions tell and ask, and what operators do.

use gatemill_api::lambda as api;
use gatemill_store::Key;
use gatemill_wire::{Cx, Operation as _, Qualifier, pagination};

use super::{function, reference};
use crate::{
    Error, Lambda,
    durable::{
        arn, error_of,
        execution::{INPUT, RESULT, page},
        record::{
            EVENTS, EXECUTIONS, ExecutionKey, ExecutionRecord, PAYLOADS, STARTED, StartedRecord,
            Status,
        },
        transitions::{self, Call},
        view::{self, Shown, time},
    },
    limits::{
        CALLBACK_RESULT_BYTES_MAX, DURABLE_ENVELOPE_BYTES, DURABLE_PAGE, DURABLE_PAGE_MAX,
        DURABLE_RETENTION_DAYS,
    },
    record::Durable,
    target::FunctionKey,
};

/// Executions that a list looks at in one go.
const LISTED_AT_ONCE: usize = 200;

/// Whether a request names a key for what executions store.
pub(crate) fn names_key(given: Option<&api::DurableConfig>) -> bool {
    let key = given.and_then(|config| config.kms_key_arn.as_ref());
    key.is_some_and(|arn| !arn.is_empty())
}

/// What a request says of durability.
pub(crate) fn config(given: Option<&api::DurableConfig>) -> Result<Option<Durable>, Error> {
    let Some(given) = given else { return Ok(None) };
    let number = |given: Option<i32>| given.and_then(|number| u32::try_from(number).ok());
    let Some(execution_timeout_s) = number(given.execution_timeout) else {
        return Err(Error::InvalidParameter(
            "DurableConfig must have an ExecutionTimeout.".to_owned(),
        ));
    };
    let retention_days = number(given.retention_period_in_days).unwrap_or(DURABLE_RETENTION_DAYS);
    let kms_key_arn = given.kms_key_arn.clone().filter(|arn| !arn.is_empty());
    Ok(Some(Durable { execution_timeout_s, retention_days, kms_key_arn }))
}

/// What an update makes of it: a function is durable from its creation on, or never.
pub(crate) fn changed(
    old: &Option<Durable>,
    given: Option<&api::DurableConfig>,
) -> Result<Option<Durable>, Error> {
    match (old, given) {
        (_, None) => Ok(old.clone()),
        (None, Some(_)) => Err(Error::InvalidParameter(
            "You cannot add a DurableConfig to an existing function.".to_owned(),
        )),
        (Some(old), Some(given)) => {
            let mut merged = given.clone();
            let kept = i32::try_from(old.execution_timeout_s).ok();
            merged.execution_timeout = merged.execution_timeout.or(kept);
            let kept = i32::try_from(old.retention_days).ok();
            merged.retention_period_in_days = merged.retention_period_in_days.or(kept);
            merged.kms_key_arn = merged.kms_key_arn.or_else(|| old.kms_key_arn.clone());
            config(Some(&merged))
        }
    }
}

/// Durability as clients read it.
pub(crate) fn config_view(durable: &Durable) -> api::DurableConfig {
    api::DurableConfig {
        kms_key_arn: durable.kms_key_arn.clone(),
        retention_period_in_days: i32::try_from(durable.retention_days).ok(),
        execution_timeout: i32::try_from(durable.execution_timeout_s).ok(),
    }
}

/// The execution of an ARN in the caller's account and region.
fn key(cx: &Cx, arn: &str) -> Result<ExecutionKey, Error> {
    let key = arn::parse(arn)
        .ok_or_else(|| Error::InvalidParameter("Invalid Durable Execution ARN".to_owned()))?;
    let here = key.function.account == cx.account() && key.function.region == cx.region;
    here.then_some(key).ok_or_else(transitions::missing)
}

/// `CheckpointDurableExecution`.
pub(crate) async fn checkpoint(
    lambda: &Lambda,
    cx: &Cx,
    request: api::CheckpointDurableExecutionRequest,
) -> Result<api::CheckpointDurableExecutionResponse, Error> {
    let key = key(cx, &request.durable_execution_arn)?;
    let answer = transitions::checkpoint(lambda, &key, request).await?;
    Ok(api::CheckpointDurableExecutionResponse {
        checkpoint_token: answer.token,
        new_execution_state: api::CheckpointUpdatedExecutionState {
            operations: Some(answer.operations.iter().map(view::operation).collect()),
            next_marker: None,
        },
    })
}

/// `GetDurableExecutionState`: the operations, for the function itself.
pub(crate) async fn state(
    lambda: &Lambda,
    cx: &Cx,
    request: api::GetDurableExecutionStateRequest,
) -> Result<api::GetDurableExecutionStateResponse, Error> {
    let key = key(cx, &request.durable_execution_arn)?;
    let record = transitions::read(lambda, &key)?;
    transitions::check_token(&record, &request.checkpoint_token)?;
    let after = place(request.marker.as_deref())?;
    let limit = page_size(request.max_items);
    let (operations, next) =
        lambda.store.read(|tx| page(tx, &key, &record, after, limit, DURABLE_ENVELOPE_BYTES))?;
    Ok(api::GetDurableExecutionStateResponse {
        operations: operations.iter().map(view::operation).collect(),
        next_marker: next.map(view::marker),
    })
}

/// `GetDurableExecution`.
pub(crate) async fn get(
    lambda: &Lambda,
    cx: &Cx,
    request: api::GetDurableExecutionRequest,
) -> Result<api::GetDurableExecutionResponse, Error> {
    let key = key(cx, &request.durable_execution_arn)?;
    let record = transitions::read(lambda, &key)?;
    let with_data = request.include_execution_data.unwrap_or(true);
    let (input, result) = if with_data { payloads(lambda, &key)? } else { (None, None) };
    let durable = Durable {
        execution_timeout_s: record.timeout_s,
        retention_days: record.retention_days,
        kms_key_arn: None,
    };
    let listed = view::execution(&key, &record);
    Ok(api::GetDurableExecutionResponse {
        durable_execution_arn: listed.durable_execution_arn,
        durable_execution_name: listed.durable_execution_name,
        function_arn: listed.function_arn,
        input_payload: input,
        result,
        error: record.error.as_ref().filter(|_| with_data).map(view::error),
        start_timestamp: listed.start_timestamp,
        status: listed.status,
        end_timestamp: listed.end_timestamp,
        version: Some(record.version.clone()),
        trace_header: record
            .trace_id
            .clone()
            .map(|trace| api::TraceHeader { x_amzn_trace_id: Some(trace) }),
        execution_data_included: Some(with_data),
        durable_config: Some(config_view(&durable)),
        pause_details: record.pause.as_ref().map(|pause| api::PauseDetails {
            pause_request_timestamp: time(pause.requested_ms),
            reason: pause.reason.clone(),
            execution_timeout_paused: pause.holds_timeout,
        }),
        expected_execution_timeout_timestamp: (!record.status.is_over())
            .then(|| time(record.deadline_ms)),
    })
}

/// The input and the result.
fn payloads(
    lambda: &Lambda,
    key: &ExecutionKey,
) -> Result<(Option<String>, Option<String>), Error> {
    lambda.store.read(|tx| {
        let text =
            |part| Ok::<_, Error>(PAYLOADS.get(tx, &key.of(part))?.map(|payload| payload.text));
        Ok((text(INPUT)?, text(RESULT)?))
    })
}

/// `GetDurableExecutionHistory`.
pub(crate) async fn history(
    lambda: &Lambda,
    cx: &Cx,
    request: api::GetDurableExecutionHistoryRequest,
) -> Result<api::GetDurableExecutionHistoryResponse, Error> {
    let key = key(cx, &request.durable_execution_arn)?;
    let after = place(request.marker.as_deref())?.map(|number| key.at(number));
    let record = transitions::read(lambda, &key)?;
    let with_data = request.include_execution_data.unwrap_or(false);
    let (input, result) = payloads(lambda, &key)?;
    let shown = Shown {
        data: with_data,
        input: input.as_deref(),
        result: result.as_deref(),
        timeout_s: record.timeout_s,
    };
    let limit = page_size(request.max_items);
    let reverse = request.reverse_order == Some(true);
    let rows = lambda.store.read(|tx| {
        let (prefix, after) = (key.record(), after.as_ref());
        Ok::<_, Error>(match reverse {
            false => EVENTS.scan(tx, &prefix, after, limit + 1)?,
            true => EVENTS.scan_reverse(tx, &prefix, after, limit + 1)?,
        })
    })?;
    let mut next = None;
    let mut events = Vec::new();
    for (row, event) in rows {
        if events.len() == limit {
            next = events.last().and_then(|last: &api::Event| last.event_id);
            break;
        }
        events.push(view::event(row.number(4).unwrap_or(0), &event, &shown));
    }
    let next = next.and_then(|id| u64::try_from(id).ok()).map(view::marker);
    Ok(api::GetDurableExecutionHistoryResponse { events, next_marker: next })
}

/// `ListDurableExecutionsByFunction`: in the order of their starts, or the other way round.
pub(crate) async fn list(
    lambda: &Lambda,
    cx: &Cx,
    request: api::ListDurableExecutionsByFunctionRequest,
) -> Result<api::ListDurableExecutionsByFunctionResponse, Error> {
    let info = api::ListDurableExecutionsByFunction::INFO;
    let named = (request.function_name.as_str(), request.qualifier.as_deref());
    let target = reference::resolve(cx, info, named.0, named.1)?;
    let function = target.key().to_owned();
    function::existing(lambda, &function)?;
    let filter = Filter::new(&request, target.qualifier.as_ref());
    let limit = page_size(request.max_items);
    let after = match &request.marker {
        None => None,
        Some(marker) => Some(list_place(&function, marker).ok_or_else(function::bad_marker)?),
    };
    let reverse = request.reverse_order == Some(true);
    let found = listed(lambda, &function, &filter, after, limit + 1, reverse)?;
    let place = |(key, record): &(ExecutionKey, ExecutionRecord)| {
        format!("{}/{}", record.started_ms, key.id).into_bytes()
    };
    let (found, next_marker) = pagination::page(found, limit, place);
    let executions = found.iter().map(|(key, record)| view::execution(key, record)).collect();
    Ok(api::ListDurableExecutionsByFunctionResponse {
        durable_executions: Some(executions),
        next_marker,
    })
}

fn list_place(function: &FunctionKey, marker: &str) -> Option<Key> {
    let text = String::from_utf8(pagination::key(marker)?).ok()?;
    let (started, id) = text.split_once('/')?;
    let key = ExecutionKey { function: function.clone(), id: id.to_owned() };
    Some(key.started(started.parse().ok()?))
}

/// Which executions a list has.
struct Filter {
    version: Option<String>,
    name: Option<String>,
    statuses: Vec<String>,
    after_ms: Option<i64>,
    before_ms: Option<i64>,
}

impl Filter {
    fn new(
        request: &api::ListDurableExecutionsByFunctionRequest,
        qualifier: Option<&Qualifier>,
    ) -> Self {
        Self {
            version: qualifier.map(ToString::to_string),
            name: request.durable_execution_name.clone(),
            statuses: request.statuses.clone().unwrap_or_default(),
            after_ms: request.started_after.map(|time| time.0.millis()),
            before_ms: request.started_before.map(|time| time.0.millis()),
        }
    }

    fn takes_row(&self, started: &StartedRecord) -> bool {
        let is = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|one| one == is);
        is(&self.version, &started.version) && is(&self.name, &started.name)
    }

    fn takes(&self, record: &ExecutionRecord) -> bool {
        let status = record.status.as_str();
        (self.statuses.is_empty() || self.statuses.iter().any(|wanted| wanted == status))
            && self.after_ms.is_none_or(|after| record.started_ms > after)
            && self.before_ms.is_none_or(|before| record.started_ms < before)
    }
}

fn listed(
    lambda: &Lambda,
    function: &FunctionKey,
    filter: &Filter,
    mut after: Option<Key>,
    limit: usize,
    reverse: bool,
) -> Result<Vec<(ExecutionKey, ExecutionRecord)>, Error> {
    let prefix = function.record();
    let mut found = Vec::new();
    loop {
        let rows = lambda.store.read(|tx| {
            Ok::<_, Error>(match reverse {
                false => STARTED.scan(tx, &prefix, after.as_ref(), LISTED_AT_ONCE)?,
                true => STARTED.scan_reverse(tx, &prefix, after.as_ref(), LISTED_AT_ONCE)?,
            })
        })?;
        let Some((last, _)) = rows.last() else { return Ok(found) };
        after = Some(last.clone());
        for (row, _) in rows.iter().filter(|(_, started)| filter.takes_row(started)) {
            let Some(id) = row.text(4) else { continue };
            let key = ExecutionKey { function: function.clone(), id: id.into_owned() };
            let record =
                lambda.store.read(|tx| Ok::<_, Error>(EXECUTIONS.get(tx, &key.record())?))?;
            found.extend(record.filter(|record| filter.takes(record)).map(|record| (key, record)));
            if found.len() == limit {
                return Ok(found);
            }
        }
    }
}

/// `StopDurableExecution`.
pub(crate) async fn stop(
    lambda: &Lambda,
    cx: &Cx,
    request: api::StopDurableExecutionRequest,
) -> Result<api::StopDurableExecutionResponse, Error> {
    let key = key(cx, &request.durable_execution_arn)?;
    let error = request.error.as_ref().map(error_of);
    let stopped_ms = transitions::stop(lambda, &key, error).await?;
    Ok(api::StopDurableExecutionResponse { stop_timestamp: time(stopped_ms) })
}

/// `PauseDurableExecution`.
pub(crate) async fn pause(
    lambda: &Lambda,
    cx: &Cx,
    request: api::PauseDurableExecutionRequest,
) -> Result<api::PauseDurableExecutionResponse, Error> {
    let key = key(cx, &request.durable_execution_arn)?;
    let holds_timeout = request.execution_timeout_paused.unwrap_or(true);
    transitions::pause(lambda, &key, request.reason, holds_timeout).await?;
    Ok(api::PauseDurableExecutionResponse {})
}

/// `ResumeDurableExecution`.
pub(crate) async fn resume(
    lambda: &Lambda,
    cx: &Cx,
    request: api::ResumeDurableExecutionRequest,
) -> Result<api::ResumeDurableExecutionResponse, Error> {
    let key = key(cx, &request.durable_execution_arn)?;
    transitions::resume(lambda, &key, request.reason).await?;
    Ok(api::ResumeDurableExecutionResponse {})
}

/// `DeleteDurableExecution`.
pub(crate) async fn delete(
    lambda: &Lambda,
    cx: &Cx,
    request: api::DeleteDurableExecutionRequest,
) -> Result<api::DeleteDurableExecutionResponse, Error> {
    let key = key(cx, &request.durable_execution_arn)?;
    let record = transitions::read(lambda, &key)?;
    let requested_ms = match record.delete_requested_ms {
        Some(before) if record.status == Status::Deleting => before,
        _ => transitions::delete(lambda, &key).await?,
    };
    Ok(api::DeleteDurableExecutionResponse { deletion_request_timestamp: time(requested_ms) })
}

/// `SendDurableExecutionCallbackSuccess`.
pub(crate) async fn callback_success(
    lambda: &Lambda,
    _cx: &Cx,
    request: api::SendDurableExecutionCallbackSuccessRequest,
) -> Result<api::SendDurableExecutionCallbackSuccessResponse, Error> {
    // What is a whole body is not checked with the members of the model.
    if request.result.len() > CALLBACK_RESULT_BYTES_MAX {
        return Err(Error::Validation(format!(
            "1 validation error detected: Value at 'result' failed to satisfy constraint: Member must have length less than or \
             equal to {CALLBACK_RESULT_BYTES_MAX}"
        )));
    }
    let result = String::from_utf8(request.result.to_vec())
        .map_err(|_| Error::InvalidParameter("The result must be text in UTF-8.".to_owned()))?;
    transitions::call_back(lambda, &request.callback_id, Call::Success(result)).await?;
    Ok(api::SendDurableExecutionCallbackSuccessResponse {})
}

/// `SendDurableExecutionCallbackFailure`.
pub(crate) async fn callback_failure(
    lambda: &Lambda,
    _cx: &Cx,
    request: api::SendDurableExecutionCallbackFailureRequest,
) -> Result<api::SendDurableExecutionCallbackFailureResponse, Error> {
    let error = request.error.as_ref().map(error_of).unwrap_or_default();
    transitions::call_back(lambda, &request.callback_id, Call::Failure(error)).await?;
    Ok(api::SendDurableExecutionCallbackFailureResponse {})
}

/// `SendDurableExecutionCallbackHeartbeat`.
pub(crate) async fn callback_heartbeat(
    lambda: &Lambda,
    _cx: &Cx,
    request: api::SendDurableExecutionCallbackHeartbeatRequest,
) -> Result<api::SendDurableExecutionCallbackHeartbeatResponse, Error> {
    transitions::call_back(lambda, &request.callback_id, Call::Heartbeat).await?;
    Ok(api::SendDurableExecutionCallbackHeartbeatResponse {})
}

fn place(marker: Option<&str>) -> Result<Option<u64>, Error> {
    let Some(marker) = marker.filter(|marker| !marker.is_empty()) else { return Ok(None) };
    view::parse_marker(marker).map(Some).ok_or_else(function::bad_marker)
}

fn page_size(given: Option<i32>) -> usize {
    match given.and_then(|given| usize::try_from(given).ok()) {
        None | Some(0) => DURABLE_PAGE,
        Some(given) => given.min(DURABLE_PAGE_MAX),
    }
}
