//! What is stored of durable executions, and where.
//!
//! An execution is one small record that every transition rewrites; what may be large (its input and result, the
//! operations, the events of its history) has rows of its own, written once or when it changes. The rows of one
//! execution share a prefix: account, region, function, id.

use std::collections::BTreeMap;

use gatemill_store::{Key, Record, Table};
use serde::{Deserialize, Serialize};

use crate::target::FunctionKey;

/// Executions by account, region, function and id.
pub(crate) const EXECUTIONS: Table<ExecutionRecord> = Table::new("lambda-durable-executions");
/// Inputs and results by the execution's key and `input` or `result`.
pub(crate) const PAYLOADS: Table<PayloadRecord> = Table::new("lambda-durable-payloads");
/// Operations by the execution's key and their id.
pub(crate) const OPERATIONS: Table<OperationRecord> = Table::new("lambda-durable-operations");
/// The ids of operations by the execution's key and the order in which they began.
pub(crate) const ORDER: Table<IdRecord> = Table::new("lambda-durable-order");
/// Histories by the execution's key and the number of the event.
pub(crate) const EVENTS: Table<EventRecord> = Table::new("lambda-durable-events");
/// Ids by account, region, function, version and the name of the execution.
pub(crate) const NAMES: Table<IdRecord> = Table::new("lambda-durable-names");
/// Executions by account, region, function, the time of their start and id: what lists walk.
pub(crate) const STARTED: Table<StartedRecord> = Table::new("lambda-durable-started");
/// Executions by the time at which the worker has to look at them, then by their key.
pub(crate) const WAKES: Table<WakeRecord> = Table::new("lambda-durable-wakes");
/// Executions that are not over, by account, region, function, version and id.
pub(crate) const RUNNING: Table<RunningRecord> = Table::new("lambda-durable-running");
/// Invocations that executions wait for, by the execution's key and the operation.
pub(crate) const CHAINED: Table<ChainedRecord> = Table::new("lambda-durable-chained");

/// Which execution.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ExecutionKey {
    pub(crate) function: FunctionKey,
    pub(crate) id: String,
}

impl ExecutionKey {
    /// The key of its record, and the prefix of its rows.
    pub(crate) fn record(&self) -> Key {
        self.function.record().and(&self.id)
    }

    /// The key of something of it that has a name.
    pub(crate) fn of(&self, part: &str) -> Key {
        self.record().and(part)
    }

    /// The key of something of it that has a number.
    pub(crate) fn at(&self, number: u64) -> Key {
        self.record().and_u64(number)
    }

    pub(crate) fn name(&self, version: &str, name: &str) -> Key {
        self.function.record().and(version).and(name)
    }

    /// The key of its row in [`RUNNING`].
    pub(crate) fn running(&self, version: &str) -> Key {
        self.function.record().and(version).and(&self.id)
    }

    pub(crate) fn started(&self, started_ms: i64) -> Key {
        self.function.record().and_u64(started_ms.unsigned_abs()).and(&self.id)
    }

    /// The key of its row in [`WAKES`].
    pub(crate) fn wake(&self, due_ms: i64) -> Key {
        let FunctionKey { account, region, name } = &self.function;
        let due = Key::empty().and_u64(due_ms.unsigned_abs());
        due.and(account).and(region).and(name).and(&self.id)
    }

    /// Reads back [`Self::wake`]: when it is due, in Unix milliseconds, and which execution it is.
    pub(crate) fn from_wake(key: &Key) -> Option<(i64, Self)> {
        let function = FunctionKey {
            account: key.text(1)?.into_owned(),
            region: key.text(2)?.into_owned(),
            name: key.text(3)?.into_owned(),
        };
        let due = i64::try_from(key.number(0)?).ok()?;
        Some((due, Self { function, id: key.text(4)?.into_owned() }))
    }

    /// Reads back the keys of rows in [`EXECUTIONS`] and, with the operation, in [`CHAINED`].
    pub(crate) fn from_record(key: &Key) -> Option<Self> {
        Some(Self { function: FunctionKey::from_record(key)?, id: key.text(3)?.into_owned() })
    }
}

/// Where an execution stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Status {
    Running,
    Succeeded,
    Failed,
    TimedOut,
    Stopped,
    /// Paused as soon as the invocation that runs has ended.
    Pausing,
    Paused,
    /// Over, and being removed.
    Deleting,
}

impl Status {
    /// AWS's word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::TimedOut => "TIMED_OUT",
            Self::Stopped => "STOPPED",
            Self::Pausing => "PAUSING",
            Self::Paused => "PAUSED",
            Self::Deleting => "DELETING",
        }
    }

    /// Whether nothing of it runs any more.
    pub(crate) fn is_over(self) -> bool {
        match self {
            Self::Running | Self::Pausing | Self::Paused => false,
            Self::Succeeded | Self::Failed | Self::TimedOut | Self::Stopped | Self::Deleting => {
                true
            }
        }
    }
}

/// An execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ExecutionRecord {
    pub(crate) name: String,
    /// The version that it runs for ever: `$LATEST` or a number.
    pub(crate) version: String,
    pub(crate) status: Status,
    pub(crate) started_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<ErrorRecord>,
    pub(crate) timeout_s: u32,
    pub(crate) retention_days: u32,
    /// When it is over at the latest; moves while it is paused.
    pub(crate) deadline_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trace_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tenant_id: Option<String>,
    /// The execution, and the operation in it, that this one was chained by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<ParentRecord>,
    /// Counts the invocations that were begun: what an earlier one says is not heard any more.
    pub(crate) epoch: u64,
    /// The invocation that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) invocation: Option<InvocationRecord>,
    /// Invocations that failed one after the other.
    #[serde(default)]
    pub(crate) failures: u32,
    /// When a failed invocation is repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retry_at_ms: Option<i64>,
    /// Operations that changed since the function was last told, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) unseen: Vec<String>,
    /// Operations that something has to happen to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) open: BTreeMap<String, OpenRecord>,
    /// How many operations there are.
    pub(crate) operations: u64,
    /// What their payloads hold together.
    pub(crate) bytes: u64,
    /// How many events there are.
    pub(crate) events: u64,
    /// The row in [`WAKES`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) wake_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pause: Option<PauseRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) delete_requested_ms: Option<i64>,
    /// Who is told if it fails: of an execution that an event began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dead_letter: Option<DeadLetterRecord>,
}

/// The dead-letter queue of an event, and which event it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeadLetterRecord {
    pub(crate) target_arn: String,
    pub(crate) request_id: String,
    /// The two numbers of its [`EventId`](crate::events::record::EventId).
    pub(crate) order: u64,
    pub(crate) random: u64,
}

/// An invocation that runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct InvocationRecord {
    pub(crate) request_id: String,
    pub(crate) begun_ms: i64,
    /// The token that its next checkpoint must have.
    pub(crate) token: String,
    /// The last checkpoint that was answered, to be answered again to a client that did not hear it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) answered: Option<AnsweredRecord>,
}

/// A checkpoint that was answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AnsweredRecord {
    pub(crate) client_token: String,
    pub(crate) token: String,
    pub(crate) operations: Vec<String>,
    pub(crate) at_ms: i64,
}

/// What has to happen to an operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum OpenRecord {
    /// A wait ends.
    Wait { until_ms: i64 },
    /// A step may be tried again.
    Retry { at_ms: i64 },
    /// Somebody calls back, or its time is over.
    Callback {
        deadline_ms: Option<i64>,
        heartbeat_s: Option<u32>,
        heartbeat_deadline_ms: Option<i64>,
    },
    /// A function that was invoked ends.
    Chained,
}

impl OpenRecord {
    /// When it happens by itself.
    pub(crate) fn due_ms(&self) -> Option<i64> {
        match self {
            Self::Wait { until_ms } => Some(*until_ms),
            Self::Retry { at_ms } => Some(*at_ms),
            Self::Callback { deadline_ms, heartbeat_deadline_ms, .. } => {
                [*deadline_ms, *heartbeat_deadline_ms].into_iter().flatten().min()
            }
            Self::Chained => None,
        }
    }
}

/// Who waits for an execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ParentRecord {
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) function: String,
    pub(crate) execution: String,
    pub(crate) operation: String,
}

impl ParentRecord {
    pub(crate) fn key(&self) -> ExecutionKey {
        ExecutionKey {
            function: FunctionKey::new(&self.account, &self.region, &self.function),
            id: self.execution.clone(),
        }
    }
}

/// That an execution is paused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PauseRecord {
    pub(crate) requested_ms: i64,
    pub(crate) reason: Option<String>,
    /// Whether its time does not run meanwhile.
    pub(crate) holds_timeout: bool,
}

/// An error, as functions give it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ErrorRecord {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trace: Option<Vec<String>>,
}

impl ErrorRecord {
    /// An error of the service.
    pub(crate) fn new(kind: &str, message: impl Into<String>) -> Self {
        Self { kind: Some(kind.to_owned()), message: Some(message.into()), ..Self::default() }
    }
}

/// What an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Execution,
    Context,
    Step,
    Wait,
    Callback,
    ChainedInvoke,
}

impl Kind {
    /// AWS's word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Execution => "EXECUTION",
            Self::Context => "CONTEXT",
            Self::Step => "STEP",
            Self::Wait => "WAIT",
            Self::Callback => "CALLBACK",
            Self::ChainedInvoke => "CHAINED_INVOKE",
        }
    }

    /// Reads AWS's word.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let all = [
            Self::Execution,
            Self::Context,
            Self::Step,
            Self::Wait,
            Self::Callback,
            Self::ChainedInvoke,
        ];
        all.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Where an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    Started,
    /// A step that is tried again later.
    Pending,
    /// A step that may be tried again now.
    Ready,
    Succeeded,
    Failed,
    Cancelled,
    TimedOut,
    Stopped,
}

impl State {
    /// AWS's word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Started => "STARTED",
            Self::Pending => "PENDING",
            Self::Ready => "READY",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
            Self::TimedOut => "TIMED_OUT",
            Self::Stopped => "STOPPED",
        }
    }
}

/// An operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OperationRecord {
    pub(crate) id: String,
    /// Its place in the order in which operations began, from 1.
    pub(crate) order: u64,
    pub(crate) kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sub_type: Option<String>,
    pub(crate) state: State,
    pub(crate) started_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) result: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<ErrorRecord>,
    /// Of a step: how often it was tried to its end.
    #[serde(default)]
    pub(crate) attempt: u32,
    /// Of a step that waits: when it is tried again. Of a wait: when it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until_ms: Option<i64>,
    /// Of a context: whether what is in it is needed for a replay.
    #[serde(default)]
    pub(crate) replay_children: bool,
    /// Of a callback: what calls back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) callback_id: Option<String>,
}

/// What happened in an execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct EventRecord {
    pub(crate) at_ms: i64,
    /// The operation that it happened to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) operation: Option<EventOperationRecord>,
    pub(crate) what: Happened,
}

/// The operation of an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct EventOperationRecord {
    pub(crate) id: String,
    pub(crate) parent: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) sub_type: Option<String>,
}

/// The events of a history, each with what belongs to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Happened {
    ExecutionStarted,
    ExecutionSucceeded,
    ExecutionFailed(ErrorRecord),
    ExecutionTimedOut(ErrorRecord),
    ExecutionStopped(ErrorRecord),
    ExecutionPaused { requested_ms: i64, reason: Option<String>, holds_timeout: bool },
    ExecutionResumed { requested_ms: i64, reason: Option<String> },
    ContextStarted,
    ContextSucceeded(Option<String>),
    ContextFailed(ErrorRecord),
    StepStarted,
    StepSucceeded { result: Option<String>, attempt: u32 },
    StepFailed { error: ErrorRecord, attempt: u32, delay_s: Option<u32> },
    WaitStarted { duration_s: u32, until_ms: i64 },
    WaitSucceeded { duration_s: u32 },
    WaitCancelled,
    CallbackStarted { callback_id: String, timeout_s: Option<u32>, heartbeat_s: Option<u32> },
    CallbackSucceeded(Option<String>),
    CallbackFailed(ErrorRecord),
    CallbackTimedOut(ErrorRecord),
    ChainedInvokeStarted { function: String, tenant_id: Option<String>, input: Option<String> },
    ChainedInvokeSucceeded(Option<String>),
    ChainedInvokeFailed(ErrorRecord),
    ChainedInvokeTimedOut(ErrorRecord),
    ChainedInvokeStopped(ErrorRecord),
    InvocationCompleted { begun_ms: i64, request_id: String, error: Option<ErrorRecord> },
}

/// An input or a result, as JSON text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PayloadRecord {
    pub(crate) text: String,
}

/// A row of an index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct IdRecord {
    pub(crate) id: String,
}

/// What lists look at before they read an execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StartedRecord {
    pub(crate) name: String,
    pub(crate) version: String,
}

/// A row that is looked at when its time has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct WakeRecord {}

/// A row that says by its key alone that an execution is not over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunningRecord {}

/// An invocation that an execution waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ChainedRecord {
    /// The function as it was named, with its qualifier.
    pub(crate) function: String,
    pub(crate) tenant_id: Option<String>,
    pub(crate) payload: Option<String>,
    /// The trace that the function is to be part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trace_id: Option<String>,
}

macro_rules! version_one {
    ($($record:ty),* $(,)?) => {
        $(impl Record for $record { const VERSION: u8 = 1; })*
    };
}

version_one!(
    ExecutionRecord,
    PayloadRecord,
    OperationRecord,
    IdRecord,
    EventRecord,
    StartedRecord,
    WakeRecord,
    RunningRecord,
    ChainedRecord,
);

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
