//! What the function of an execution is given in place of its event, and what it gives back (`lambda.md` §25).

use serde::{Deserialize, Serialize};

use super::record::{ErrorRecord, Kind, OperationRecord};

/// The event of an invocation: where the execution stands.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Envelope<'a> {
    pub(crate) durable_execution_arn: &'a str,
    pub(crate) checkpoint_token: &'a str,
    pub(crate) initial_execution_state: InitialState<'a>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(crate) updated_operation_ids: &'a [String],
}

/// The first page of the operations.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct InitialState<'a> {
    pub(crate) operations: Vec<Operation<'a>>,
    /// Where `GetDurableExecutionState` goes on; empty where nothing is left.
    pub(crate) next_marker: String,
}

/// An operation. Times are in Unix milliseconds here, unlike those of the API.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Operation<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_type: Option<&'a str>,
    start_timestamp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_timestamp: Option<i64>,
    status: &'static str,
    #[serde(flatten)]
    details: Details<'a>,
}

/// What only operations of one kind have.
#[derive(Debug, Serialize)]
enum Details<'a> {
    #[serde(rename = "ExecutionDetails", rename_all = "PascalCase")]
    Execution { input_payload: &'a str },
    #[serde(rename = "ContextDetails", rename_all = "PascalCase")]
    Context {
        replay_children: bool,
        #[serde(flatten)]
        outcome: Outcome<'a>,
    },
    #[serde(rename = "StepDetails", rename_all = "PascalCase")]
    Step {
        attempt: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        next_attempt_timestamp: Option<i64>,
        #[serde(flatten)]
        outcome: Outcome<'a>,
    },
    #[serde(rename = "WaitDetails", rename_all = "PascalCase")]
    Wait { scheduled_end_timestamp: Option<i64> },
    #[serde(rename = "CallbackDetails", rename_all = "PascalCase")]
    Callback {
        callback_id: Option<&'a str>,
        #[serde(flatten)]
        outcome: Outcome<'a>,
    },
    #[serde(rename = "ChainedInvokeDetails")]
    ChainedInvoke(Outcome<'a>),
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Outcome<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Error>,
}

/// An error in AWS's names.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Error {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error_message: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error_data: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stack_trace: Option<Vec<String>>,
}

impl From<&ErrorRecord> for Error {
    fn from(error: &ErrorRecord) -> Self {
        Self {
            error_message: error.message.clone(),
            error_type: error.kind.clone(),
            error_data: error.data.clone(),
            stack_trace: error.trace.clone(),
        }
    }
}

impl From<Error> for ErrorRecord {
    fn from(error: Error) -> Self {
        Self {
            message: error.error_message,
            kind: error.error_type,
            data: error.error_data,
            trace: error.stack_trace,
        }
    }
}

impl<'a> From<&'a OperationRecord> for Operation<'a> {
    fn from(operation: &'a OperationRecord) -> Self {
        let result = operation.result.as_deref();
        let outcome = Outcome { result, error: operation.error.as_ref().map(Error::from) };
        let details = match operation.kind {
            Kind::Execution => Details::Execution { input_payload: result.unwrap_or_default() },
            Kind::Context => {
                Details::Context { replay_children: operation.replay_children, outcome }
            }
            Kind::Step => Details::Step {
                attempt: operation.attempt,
                next_attempt_timestamp: operation.until_ms,
                outcome,
            },
            Kind::Wait => Details::Wait { scheduled_end_timestamp: operation.until_ms },
            Kind::Callback => {
                Details::Callback { callback_id: operation.callback_id.as_deref(), outcome }
            }
            Kind::ChainedInvoke => Details::ChainedInvoke(outcome),
        };
        Self {
            id: &operation.id,
            parent_id: operation.parent.as_deref(),
            name: operation.name.as_deref(),
            r#type: operation.kind.as_str(),
            sub_type: operation.sub_type.as_deref(),
            start_timestamp: operation.started_ms,
            end_timestamp: operation.ended_ms,
            status: operation.state.as_str(),
            details,
        }
    }
}

/// What the function gives back.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Output {
    status: Option<String>,
    result: Option<String>,
    error: Option<Error>,
}

/// What an invocation came to.
#[derive(Debug, PartialEq)]
pub(crate) enum Said {
    Succeeded(Option<String>),
    Failed(ErrorRecord),
    Pending,
}

/// Reads what the function gave back.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read(payload: &[u8]) -> Result<Said, ErrorRecord> {
    let wrong = |text: &str| ErrorRecord::new("InvalidParameterValueException", text);
    let output: Output = serde_json::from_slice(payload)
        .map_err(|_| wrong("The response of a durable function must be an object with a Status"))?;
    match (output.status.as_deref(), output.error) {
        (None, _) => Err(wrong("Response status is required")),
        (Some("SUCCEEDED"), Some(_)) => Err(wrong("Cannot provide an Error for SUCCEEDED status.")),
        (Some("FAILED"), _) if output.result.is_some() => {
            Err(wrong("Cannot provide a Result for FAILED status."))
        }
        (Some("SUCCEEDED"), None) => Ok(Said::Succeeded(output.result)),
        (Some("FAILED"), error) => Ok(Said::Failed(error.unwrap_or_default().into())),
        (Some("PENDING"), _) => Ok(Said::Pending),
        (Some(_), _) => Err(wrong("Unexpected response status")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs() {
        let read = |text: &str| read(text.as_bytes());
        let succeeded = Said::Succeeded(Some("1".to_owned()));
        assert_eq!(read(r#"{"Status":"SUCCEEDED","Result":"1"}"#), Ok(succeeded));
        assert_eq!(read(r#"{"Status":"SUCCEEDED"}"#), Ok(Said::Succeeded(None)));
        assert_eq!(read(r#"{"Status":"PENDING"}"#), Ok(Said::Pending));
        let failed = ErrorRecord::new("E", "m");
        assert_eq!(
            read(r#"{"Status":"FAILED","Error":{"ErrorType":"E","ErrorMessage":"m"}}"#),
            Ok(Said::Failed(failed))
        );
        for bad in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"Status":"RUNNING"}"#,
            r#"{"Status":"FAILED","Result":"1"}"#,
            r#"{"Status":"SUCCEEDED","Error":{}}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
