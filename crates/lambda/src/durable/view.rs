//! Executions, operations and events as clients read them.

use gatemill_api::lambda as api;
use gatemill_wire::{EpochSeconds, Timestamp};

use super::{
    arn,
    record::{
        ErrorRecord, EventRecord, ExecutionKey, ExecutionRecord, Happened, Kind, OperationRecord,
    },
};

/// A time of a record.
pub(crate) fn time(ms: i64) -> EpochSeconds {
    EpochSeconds(Timestamp(ms))
}

/// Where a page of operations or events goes on.
pub(crate) fn marker(number: u64) -> String {
    gatemill_wire::pagination::token(&number.to_be_bytes())
}

/// Reads back [`marker`].
pub(crate) fn parse_marker(marker: &str) -> Option<u64> {
    let bytes = gatemill_wire::pagination::key(marker)?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

fn number(number: u32) -> Option<i32> {
    i32::try_from(number).ok()
}

/// An error.
pub(crate) fn error(error: &ErrorRecord) -> api::ErrorObject {
    api::ErrorObject {
        error_message: error.message.clone(),
        error_type: error.kind.clone(),
        error_data: error.data.clone(),
        stack_trace: error.trace.clone(),
    }
}

/// A row of a list.
pub(crate) fn execution(key: &ExecutionKey, record: &ExecutionRecord) -> api::Execution {
    api::Execution {
        durable_execution_arn: arn::of_execution(key, &record.version, &record.name),
        durable_execution_name: record.name.clone(),
        function_arn: arn::of_version(&key.function, &record.version),
        status: record.status.as_str().to_owned(),
        start_timestamp: time(record.started_ms),
        end_timestamp: record.ended_ms.map(time),
        kms_key_arn: None,
    }
}

/// An operation.
pub(crate) fn operation(operation: &OperationRecord) -> api::Operation {
    let (result, error) = (operation.result.clone(), operation.error.as_ref().map(error));
    let mut view = api::Operation {
        id: operation.id.clone(),
        parent_id: operation.parent.clone(),
        name: operation.name.clone(),
        r#type: operation.kind.as_str().to_owned(),
        sub_type: operation.sub_type.clone(),
        start_timestamp: time(operation.started_ms),
        end_timestamp: operation.ended_ms.map(time),
        status: operation.state.as_str().to_owned(),
        ..api::Operation::default()
    };
    match operation.kind {
        Kind::Execution => {
            view.execution_details = Some(api::ExecutionDetails { input_payload: result });
        }
        Kind::Context => {
            let replay_children = Some(operation.replay_children);
            view.context_details = Some(api::ContextDetails { replay_children, result, error });
        }
        Kind::Step => {
            view.step_details = Some(api::StepDetails {
                attempt: number(operation.attempt),
                next_attempt_timestamp: operation.until_ms.map(time),
                result,
                error,
            });
        }
        Kind::Wait => {
            let scheduled_end_timestamp = operation.until_ms.map(time);
            view.wait_details = Some(api::WaitDetails { scheduled_end_timestamp });
        }
        Kind::Callback => {
            let callback_id = operation.callback_id.clone();
            view.callback_details = Some(api::CallbackDetails { callback_id, result, error });
        }
        Kind::ChainedInvoke => {
            view.chained_invoke_details = Some(api::ChainedInvokeDetails { result, error });
        }
    }
    view
}

/// How events show inputs, results and errors.
#[derive(Debug, Clone)]
pub(crate) struct Shown<'a> {
    /// Whether they are shown.
    pub(crate) data: bool,
    /// The execution's input and result.
    pub(crate) input: Option<&'a str>,
    pub(crate) result: Option<&'a str>,
    /// How long the execution may last, in seconds.
    pub(crate) timeout_s: u32,
}

impl Shown<'_> {
    fn input(&self, text: Option<&str>) -> api::EventInput {
        let payload = text.filter(|_| self.data).map(str::to_owned);
        api::EventInput { payload, truncated: Some(!self.data && text.is_some()) }
    }

    fn result(&self, text: Option<&str>) -> api::EventResult {
        let payload = text.filter(|_| self.data).map(str::to_owned);
        api::EventResult { payload, truncated: Some(!self.data && text.is_some()) }
    }

    fn error(&self, given: &ErrorRecord) -> api::EventError {
        api::EventError { payload: self.data.then(|| error(given)), truncated: Some(!self.data) }
    }
}

/// An event of a history.
pub(crate) fn event(id: u64, record: &EventRecord, shown: &Shown<'_>) -> api::Event {
    let mut view = api::Event {
        event_id: i32::try_from(id).ok(),
        event_timestamp: Some(time(record.at_ms)),
        ..api::Event::default()
    };
    if let Some(operation) = &record.operation {
        view.id = Some(operation.id.clone());
        view.parent_id.clone_from(&operation.parent);
        view.name.clone_from(&operation.name);
        view.sub_type.clone_from(&operation.sub_type);
    }
    view.event_type = Some(describe(&mut view, &record.what, shown).to_owned());
    view
}

/// Sets the details of an event, and gives its type.
fn describe(view: &mut api::Event, what: &Happened, shown: &Shown<'_>) -> &'static str {
    describe_execution(view, what, shown)
        .or_else(|| describe_work(view, what, shown))
        .unwrap_or_else(|| describe_awaited(view, what, shown))
}

/// As [`describe`], for events of the execution itself.
fn describe_execution(
    view: &mut api::Event,
    what: &Happened,
    shown: &Shown<'_>,
) -> Option<&'static str> {
    match what {
        Happened::ExecutionStarted => {
            view.execution_started_details = Some(api::ExecutionStartedDetails {
                input: shown.input(shown.input),
                execution_timeout: number(shown.timeout_s).unwrap_or(i32::MAX),
            });
            Some("ExecutionStarted")
        }
        Happened::ExecutionSucceeded => {
            let result = shown.result(shown.result);
            view.execution_succeeded_details = Some(api::ExecutionSucceededDetails { result });
            Some("ExecutionSucceeded")
        }
        Happened::ExecutionFailed(error) => {
            let error = shown.error(error);
            view.execution_failed_details = Some(api::ExecutionFailedDetails { error });
            Some("ExecutionFailed")
        }
        Happened::ExecutionTimedOut(error) => {
            let error = Some(shown.error(error));
            view.execution_timed_out_details = Some(api::ExecutionTimedOutDetails { error });
            Some("ExecutionTimedOut")
        }
        Happened::ExecutionStopped(error) => {
            let error = shown.error(error);
            view.execution_stopped_details = Some(api::ExecutionStoppedDetails { error });
            Some("ExecutionStopped")
        }
        Happened::ExecutionPaused { requested_ms, reason, holds_timeout } => {
            view.execution_paused_details = Some(api::ExecutionPausedDetails {
                pause_request_timestamp: time(*requested_ms),
                reason: reason.clone().map(|reason| api::EventPauseReason {
                    payload: shown.data.then_some(reason),
                    truncated: Some(!shown.data),
                }),
                execution_timeout_paused: *holds_timeout,
            });
            Some("ExecutionPaused")
        }
        Happened::ExecutionResumed { requested_ms, reason } => {
            view.execution_resumed_details = Some(api::ExecutionResumedDetails {
                resume_request_timestamp: time(*requested_ms),
                reason: reason.clone().map(|reason| api::EventResumeReason {
                    payload: shown.data.then_some(reason),
                    truncated: Some(!shown.data),
                }),
            });
            Some("ExecutionResumed")
        }
        Happened::InvocationCompleted { begun_ms, request_id, error } => {
            view.invocation_completed_details = Some(api::InvocationCompletedDetails {
                start_timestamp: time(*begun_ms),
                end_timestamp: view.event_timestamp.unwrap_or_default(),
                request_id: request_id.clone(),
                error: error.as_ref().map(|error| shown.error(error)),
            });
            Some("InvocationCompleted")
        }
        _ => None,
    }
}

/// As [`describe`], for contexts, steps and waits.
fn describe_work(
    view: &mut api::Event,
    what: &Happened,
    shown: &Shown<'_>,
) -> Option<&'static str> {
    match what {
        Happened::ContextStarted => {
            view.context_started_details = Some(api::ContextStartedDetails {});
            Some("ContextStarted")
        }
        Happened::ContextSucceeded(result) => {
            let result = shown.result(result.as_deref());
            view.context_succeeded_details = Some(api::ContextSucceededDetails { result });
            Some("ContextSucceeded")
        }
        Happened::ContextFailed(error) => {
            let error = shown.error(error);
            view.context_failed_details = Some(api::ContextFailedDetails { error });
            Some("ContextFailed")
        }
        Happened::StepStarted => {
            view.step_started_details = Some(api::StepStartedDetails {});
            Some("StepStarted")
        }
        Happened::StepSucceeded { result, attempt } => {
            view.step_succeeded_details = Some(api::StepSucceededDetails {
                result: shown.result(result.as_deref()),
                retry_details: retry(*attempt, None),
            });
            Some("StepSucceeded")
        }
        Happened::StepFailed { error, attempt, delay_s } => {
            view.step_failed_details = Some(api::StepFailedDetails {
                error: shown.error(error),
                retry_details: retry(*attempt, *delay_s),
            });
            Some("StepFailed")
        }
        Happened::WaitStarted { duration_s, until_ms } => {
            view.wait_started_details = Some(api::WaitStartedDetails {
                duration: number(*duration_s).unwrap_or(i32::MAX),
                scheduled_end_timestamp: time(*until_ms),
            });
            Some("WaitStarted")
        }
        Happened::WaitSucceeded { duration_s } => {
            let duration = number(*duration_s);
            view.wait_succeeded_details = Some(api::WaitSucceededDetails { duration });
            Some("WaitSucceeded")
        }
        Happened::WaitCancelled => {
            view.wait_cancelled_details = Some(api::WaitCancelledDetails::default());
            Some("WaitCancelled")
        }
        _ => None,
    }
}

/// As [`describe`], for what comes from outside the function: callbacks and chained invocations.
fn describe_awaited(view: &mut api::Event, what: &Happened, shown: &Shown<'_>) -> &'static str {
    match what {
        Happened::CallbackStarted { callback_id, timeout_s, heartbeat_s } => {
            view.callback_started_details = Some(api::CallbackStartedDetails {
                callback_id: callback_id.clone(),
                heartbeat_timeout: heartbeat_s.and_then(number),
                timeout: timeout_s.and_then(number),
            });
            "CallbackStarted"
        }
        Happened::CallbackSucceeded(result) => {
            let result = shown.result(result.as_deref());
            view.callback_succeeded_details = Some(api::CallbackSucceededDetails { result });
            "CallbackSucceeded"
        }
        Happened::CallbackFailed(error) => {
            let error = shown.error(error);
            view.callback_failed_details = Some(api::CallbackFailedDetails { error });
            "CallbackFailed"
        }
        Happened::CallbackTimedOut(error) => {
            let error = shown.error(error);
            view.callback_timed_out_details = Some(api::CallbackTimedOutDetails { error });
            "CallbackTimedOut"
        }
        Happened::ChainedInvokeStarted { function, tenant_id, input } => {
            view.chained_invoke_started_details = Some(api::ChainedInvokeStartedDetails {
                function_name: function.clone(),
                tenant_id: tenant_id.clone(),
                input: Some(shown.input(input.as_deref())),
                ..Default::default()
            });
            "ChainedInvokeStarted"
        }
        Happened::ChainedInvokeSucceeded(result) => {
            let result = shown.result(result.as_deref());
            view.chained_invoke_succeeded_details =
                Some(api::ChainedInvokeSucceededDetails { result });
            "ChainedInvokeSucceeded"
        }
        Happened::ChainedInvokeFailed(error) => {
            let error = shown.error(error);
            view.chained_invoke_failed_details = Some(api::ChainedInvokeFailedDetails { error });
            "ChainedInvokeFailed"
        }
        Happened::ChainedInvokeTimedOut(error) => {
            let error = shown.error(error);
            view.chained_invoke_timed_out_details =
                Some(api::ChainedInvokeTimedOutDetails { error });
            "ChainedInvokeTimedOut"
        }
        Happened::ChainedInvokeStopped(error) => {
            let error = shown.error(error);
            view.chained_invoke_stopped_details = Some(api::ChainedInvokeStoppedDetails { error });
            "ChainedInvokeStopped"
        }
        // All others are described above.
        _ => "",
    }
}

fn retry(attempt: u32, delay_s: Option<u32>) -> api::RetryDetails {
    api::RetryDetails {
        current_attempt: number(attempt),
        next_attempt_delay_seconds: delay_s.and_then(number),
    }
}
