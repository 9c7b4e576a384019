//! What a checkpoint changes: the legal moves of each kind of operation, as pure functions.
//!
//! A batch of updates is applied in order or refused as a whole. Rules and texts are those of AWS's local runner for
//! durable functions (`lambda.md` §25); this reads no store and no clock.

use std::collections::BTreeMap;

use gatemill_api::lambda as api;

use super::record::{ErrorRecord, Happened, Kind, OpenRecord, OperationRecord, State};
use crate::{
    Error,
    limits::{DURABLE_CHAINED_BYTES_MAX, DURABLE_ERROR_BYTES_MAX, DURABLE_OPERATIONS_MAX},
};

/// What is known before a batch is applied, and what came of it.
pub(crate) struct Batch<'a> {
    /// The operations that the updates and their parents name, as they were stored, then as they become.
    pub(crate) operations: BTreeMap<String, OperationRecord>,
    /// How many operations the execution has.
    pub(crate) count: u64,
    pub(crate) now_ms: i64,
    /// Makes the id of a callback for an operation.
    pub(crate) mint: &'a dyn Fn(&str) -> String,
    /// Whether the execution was chained by another one.
    pub(crate) is_chained: bool,
    pub(crate) done: Done,
}

/// What came of a batch.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// The operations that changed, each once, in the order of their first change.
    pub(crate) changed: Vec<String>,
    /// What happened, in order.
    pub(crate) events: Vec<(String, Happened)>,
    /// What has to happen to operations from now on; `None` ends that.
    pub(crate) open: BTreeMap<String, Option<OpenRecord>>,
    /// Functions to invoke.
    pub(crate) chained: Vec<Chained>,
    /// The end of the execution.
    pub(crate) end: Option<Result<Option<String>, ErrorRecord>>,
    /// What the payloads of the updates hold.
    pub(crate) bytes: u64,
}

/// A function to invoke for an operation.
#[derive(Debug)]
pub(crate) struct Chained {
    pub(crate) operation: String,
    pub(crate) function: String,
    pub(crate) tenant_id: Option<String>,
    pub(crate) payload: Option<String>,
    pub(crate) trace_id: Option<String>,
}

/// The action of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Start,
    Succeed,
    Fail,
    Retry,
    Cancel,
}

fn refused<T>(text: &str) -> Result<T, Error> {
    Err(Error::InvalidParameter(text.to_owned()))
}

impl Batch<'_> {
    /// Applies the updates.
    ///
    /// # Errors
    /// The first rule that one of them breaks, as `InvalidParameterValueException`.
    pub(crate) fn apply(&mut self, updates: &[api::OperationUpdate]) -> Result<(), Error> {
        check_execution_updates(updates)?;
        self.check_ids(updates)?;
        updates.iter().try_for_each(|update| self.update(update))
    }

    /// Whether ids and parents are those of one batch that can be.
    fn check_ids(&self, updates: &[api::OperationUpdate]) -> Result<(), Error> {
        let mut started: BTreeMap<&str, &str> = BTreeMap::new();
        let mut last: BTreeMap<&str, &api::OperationUpdate> = BTreeMap::new();
        for update in updates {
            if let Some(before) = last.insert(&update.id, update) {
                // A step or a context may begin and end in one batch.
                let both = matches!(before.r#type.as_str(), "STEP" | "CONTEXT")
                    && before.action == "START"
                    && update.action != "START";
                if !both {
                    return refused("Cannot checkpoint multiple operations with the same ID.");
                }
            }
            if let Some(parent) = &update.parent_id {
                let kind = started.get(parent.as_str()).copied().or_else(|| {
                    self.operations.get(parent).map(|operation| operation.kind.as_str())
                });
                if kind != Some(Kind::Context.as_str()) {
                    return refused("Invalid parent operation id.");
                }
            }
            if update.action == "START" {
                started.insert(&update.id, &update.r#type);
            }
        }
        Ok(())
    }

    fn update(&mut self, update: &api::OperationUpdate) -> Result<(), Error> {
        let current = self.operations.get(&update.id).cloned();
        let Some(kind) = Kind::parse(&update.r#type) else {
            return refused("Unknown operation type.");
        };
        if let Some(current) = &current {
            check_same(current, kind, update)?;
        }
        let error = update.error.as_ref().map(error_of);
        self.check_sizes(kind, update, error.as_ref())?;
        let action = legal_action(kind, &update.action)?;
        self.done.bytes += update.payload.as_ref().map_or(0, |payload| payload.len() as u64);
        match kind {
            Kind::Step => self.step(action, current, update, error),
            Kind::Context => self.context(action, current, update, error),
            Kind::Wait => self.wait(action, current, update),
            Kind::Callback => self.callback(current.as_ref(), update),
            Kind::ChainedInvoke => self.chained(current.as_ref(), update),
            Kind::Execution => self.end(action, update, error),
        }
    }

    fn check_sizes(
        &self,
        kind: Kind,
        update: &api::OperationUpdate,
        error: Option<&ErrorRecord>,
    ) -> Result<(), Error> {
        if let Some(error) = error
            && error_bytes(error) > DURABLE_ERROR_BYTES_MAX
        {
            return Err(Error::InvalidParameter(format!(
                "Error object size must be less than {DURABLE_ERROR_BYTES_MAX} bytes."
            )));
        }
        let bytes = update.payload.as_ref().map_or(0, String::len);
        let bounded = kind == Kind::ChainedInvoke || (kind == Kind::Execution && self.is_chained);
        if bounded && bytes > DURABLE_CHAINED_BYTES_MAX {
            return Err(Error::InvalidParameter(format!(
                "Payload size must be less than or equal to {DURABLE_CHAINED_BYTES_MAX} bytes."
            )));
        }
        Ok(())
    }

    /// A new operation that has begun.
    fn begin(
        &mut self,
        kind: Kind,
        update: &api::OperationUpdate,
    ) -> Result<OperationRecord, Error> {
        if self.count >= DURABLE_OPERATIONS_MAX {
            return Err(Error::InvalidParameter(format!(
                "A durable execution can have at most {DURABLE_OPERATIONS_MAX} operations."
            )));
        }
        self.count += 1;
        Ok(OperationRecord {
            id: update.id.clone(),
            order: self.count,
            kind,
            parent: update.parent_id.clone(),
            name: update.name.clone(),
            sub_type: update.sub_type.clone(),
            state: State::Started,
            started_ms: self.now_ms,
            ended_ms: None,
            result: None,
            error: None,
            attempt: 0,
            until_ms: None,
            replay_children: false,
            callback_id: None,
        })
    }

    /// Keeps what became of an operation.
    fn keep(&mut self, operation: OperationRecord, happened: impl Into<Option<Happened>>) {
        let id = operation.id.clone();
        if !self.done.changed.contains(&id) {
            self.done.changed.push(id.clone());
        }
        self.done.events.extend(happened.into().map(|happened| (id.clone(), happened)));
        self.operations.insert(id, operation);
    }

    fn step(
        &mut self,
        action: Action,
        current: Option<OperationRecord>,
        update: &api::OperationUpdate,
        error: Option<ErrorRecord>,
    ) -> Result<(), Error> {
        let state = current.as_ref().map(|step| step.state);
        let is_new = state.is_none();
        let runs = matches!(state, None | Some(State::Started | State::Ready));
        match action {
            Action::Start if !matches!(state, None | Some(State::Ready)) => {
                return refused("Invalid current STEP state to start.");
            }
            Action::Succeed | Action::Fail if !runs => {
                return refused("Invalid current STEP state to close.");
            }
            Action::Retry if !runs => return refused("Invalid current STEP state to re-attempt."),
            _ => {}
        }
        let mut step = match current {
            Some(current) => current,
            None => self.begin(Kind::Step, update)?,
        };
        if is_new && action != Action::Start {
            self.done.events.push((step.id.clone(), Happened::StepStarted));
        }
        self.done.open.insert(step.id.clone(), None);
        step.until_ms = None;
        let happened = match action {
            Action::Start => {
                step.state = State::Started;
                Happened::StepStarted
            }
            Action::Succeed => {
                close(&mut step, State::Succeeded, update, error, self.now_ms)?;
                step.attempt += 1;
                Happened::StepSucceeded { result: step.result.clone(), attempt: step.attempt }
            }
            Action::Fail => {
                close(&mut step, State::Failed, update, error, self.now_ms)?;
                step.attempt += 1;
                let error = step.error.clone().unwrap_or_default();
                Happened::StepFailed { error, attempt: step.attempt, delay_s: None }
            }
            Action::Retry => self.retry(&mut step, update, error)?,
            Action::Cancel => return refused("Invalid STEP action."),
        };
        self.keep(step, happened);
        Ok(())
    }

    fn retry(
        &mut self,
        step: &mut OperationRecord,
        update: &api::OperationUpdate,
        error: Option<ErrorRecord>,
    ) -> Result<Happened, Error> {
        let Some(options) = &update.step_options else {
            return refused("Invalid StepOptions for the given action.");
        };
        if error.is_some() && update.payload.is_some() {
            return refused("Cannot provide both error and payload to RETRY a STEP.");
        }
        let delay_s = seconds(options.next_attempt_delay_seconds).unwrap_or(0);
        let at_ms = self.now_ms + i64::from(delay_s) * 1000;
        step.state = State::Pending;
        step.attempt += 1;
        step.until_ms = Some(at_ms);
        step.result.clone_from(&update.payload);
        step.error.clone_from(&error);
        self.done.open.insert(step.id.clone(), Some(OpenRecord::Retry { at_ms }));
        let error = error.unwrap_or_default();
        Ok(Happened::StepFailed { error, attempt: step.attempt, delay_s: Some(delay_s) })
    }

    fn context(
        &mut self,
        action: Action,
        current: Option<OperationRecord>,
        update: &api::OperationUpdate,
        error: Option<ErrorRecord>,
    ) -> Result<(), Error> {
        let state = current.as_ref().map(|context| context.state);
        let mut context = match (action, current) {
            (Action::Start, Some(_)) => {
                return refused("Cannot start a CONTEXT that already exist.");
            }
            (_, Some(_)) if state != Some(State::Started) => {
                return refused("Invalid current CONTEXT state to close.");
            }
            (_, Some(current)) => current,
            (_, None) => self.begin(Kind::Context, update)?,
        };
        let options = update.context_options.as_ref();
        context.replay_children =
            options.and_then(|options| options.replay_children).unwrap_or(context.replay_children);
        if state.is_none() && action != Action::Start {
            self.done.events.push((context.id.clone(), Happened::ContextStarted));
        }
        let happened = match action {
            Action::Start => Happened::ContextStarted,
            Action::Succeed => {
                close(&mut context, State::Succeeded, update, error, self.now_ms)?;
                Happened::ContextSucceeded(context.result.clone())
            }
            Action::Fail => {
                close(&mut context, State::Failed, update, error, self.now_ms)?;
                Happened::ContextFailed(context.error.clone().unwrap_or_default())
            }
            Action::Retry | Action::Cancel => return refused("Invalid CONTEXT action."),
        };
        self.keep(context, happened);
        Ok(())
    }

    fn wait(
        &mut self,
        action: Action,
        current: Option<OperationRecord>,
        update: &api::OperationUpdate,
    ) -> Result<(), Error> {
        match (action, current) {
            (Action::Start, None) => {
                let mut wait = self.begin(Kind::Wait, update)?;
                let options = update.wait_options.as_ref();
                let duration_s = seconds(options.and_then(|options| options.wait_seconds));
                let Some(duration_s) = duration_s else {
                    return refused("Invalid WaitOptions for the given action.");
                };
                let until_ms = self.now_ms + i64::from(duration_s) * 1000;
                wait.until_ms = Some(until_ms);
                self.done.open.insert(wait.id.clone(), Some(OpenRecord::Wait { until_ms }));
                self.keep(wait, Happened::WaitStarted { duration_s, until_ms });
            }
            (Action::Start, Some(_)) => return refused("Cannot start a WAIT that already exist."),
            (_, Some(mut wait)) if wait.state == State::Started => {
                wait.state = State::Cancelled;
                wait.ended_ms = Some(self.now_ms);
                self.done.open.insert(wait.id.clone(), None);
                self.keep(wait, Happened::WaitCancelled);
            }
            _ => {
                return refused(
                    "Cannot cancel a WAIT that does not exist or has already completed.",
                );
            }
        }
        Ok(())
    }

    fn callback(
        &mut self,
        current: Option<&OperationRecord>,
        update: &api::OperationUpdate,
    ) -> Result<(), Error> {
        if current.is_some() {
            return refused("Cannot start a CALLBACK that already exist.");
        }
        let mut callback = self.begin(Kind::Callback, update)?;
        let options = update.callback_options.as_ref();
        // Zero stands for no limit.
        let given = |number| seconds(number).filter(|seconds| *seconds > 0);
        let timeout_s = given(options.and_then(|options| options.timeout_seconds));
        let heartbeat_s = given(options.and_then(|options| options.heartbeat_timeout_seconds));
        let after = |s: u32| self.now_ms + i64::from(s) * 1000;
        let open = OpenRecord::Callback {
            deadline_ms: timeout_s.map(after),
            heartbeat_s,
            heartbeat_deadline_ms: heartbeat_s.map(after),
        };
        let callback_id = (self.mint)(&callback.id);
        callback.callback_id = Some(callback_id.clone());
        self.done.open.insert(callback.id.clone(), Some(open));
        self.keep(callback, Happened::CallbackStarted { callback_id, timeout_s, heartbeat_s });
        Ok(())
    }

    fn chained(
        &mut self,
        current: Option<&OperationRecord>,
        update: &api::OperationUpdate,
    ) -> Result<(), Error> {
        if current.is_some() {
            return refused("Cannot start a CHAINED_INVOKE operation that already exists.");
        }
        let Some(options) = &update.chained_invoke_options else {
            return refused("Update for CHAINED_INVOKE operation requires ChainedInvokeOptions.");
        };
        let operation = self.begin(Kind::ChainedInvoke, update)?;
        self.done.open.insert(operation.id.clone(), Some(OpenRecord::Chained));
        self.done.chained.push(Chained {
            operation: operation.id.clone(),
            function: options.function_name.clone(),
            tenant_id: options.tenant_id.clone(),
            payload: update.payload.clone(),
            trace_id: options.x_amzn_trace_id.clone(),
        });
        let happened = Happened::ChainedInvokeStarted {
            function: options.function_name.clone(),
            tenant_id: options.tenant_id.clone(),
            input: update.payload.clone(),
        };
        self.keep(operation, happened);
        Ok(())
    }

    fn end(
        &mut self,
        action: Action,
        update: &api::OperationUpdate,
        error: Option<ErrorRecord>,
    ) -> Result<(), Error> {
        check_closing(action, update)?;
        self.done.end = Some(match action {
            Action::Fail => Err(error.unwrap_or_default()),
            _ => Ok(update.payload.clone()),
        });
        Ok(())
    }
}

/// At most one update of the execution itself, and that as the last one.
fn check_execution_updates(updates: &[api::OperationUpdate]) -> Result<(), Error> {
    let is_execution = |update: &&api::OperationUpdate| update.r#type == Kind::Execution.as_str();
    match updates.iter().filter(is_execution).count() {
        0 => Ok(()),
        1 if updates.last().as_ref().is_some_and(is_execution) => Ok(()),
        1 => refused("EXECUTION checkpoint must be the last update."),
        _ => refused("Cannot checkpoint multiple EXECUTION updates."),
    }
}

/// What an operation is does not change.
fn check_same(
    current: &OperationRecord,
    kind: Kind,
    update: &api::OperationUpdate,
) -> Result<(), Error> {
    let differs = |given: &Option<String>, is: &Option<String>| given.is_some() && given != is;
    if current.kind != kind {
        return refused("Inconsistent operation type.");
    }
    if differs(&update.sub_type, &current.sub_type) {
        return refused("Inconsistent operation subtype.");
    }
    if differs(&update.name, &current.name) {
        return refused("Inconsistent operation name.");
    }
    if differs(&update.parent_id, &current.parent) {
        return refused("Inconsistent parent operation id.");
    }
    Ok(())
}

fn legal_action(kind: Kind, action: &str) -> Result<Action, Error> {
    use Action::{Cancel, Fail, Retry, Start, Succeed};
    let legal: &[(&str, Action)] = match kind {
        Kind::Step => &[("START", Start), ("SUCCEED", Succeed), ("FAIL", Fail), ("RETRY", Retry)],
        Kind::Context => &[("START", Start), ("SUCCEED", Succeed), ("FAIL", Fail)],
        Kind::Wait => &[("START", Start), ("CANCEL", Cancel)],
        Kind::Callback | Kind::ChainedInvoke => &[("START", Start)],
        Kind::Execution => &[("SUCCEED", Succeed), ("FAIL", Fail)],
    };
    match legal.iter().find(|(word, _)| *word == action) {
        Some((_, action)) => Ok(*action),
        None => refused("Invalid action for the given operation type."),
    }
}

/// A failure has no payload, and a success no error.
fn check_closing(action: Action, update: &api::OperationUpdate) -> Result<(), Error> {
    match action {
        Action::Fail if update.payload.is_some() => {
            refused("Cannot provide a Payload for FAIL action.")
        }
        Action::Succeed if update.error.is_some() => {
            refused("Cannot provide an Error for SUCCEED action.")
        }
        _ => Ok(()),
    }
}

fn close(
    operation: &mut OperationRecord,
    state: State,
    update: &api::OperationUpdate,
    error: Option<ErrorRecord>,
    now_ms: i64,
) -> Result<(), Error> {
    let action = if state == State::Failed { Action::Fail } else { Action::Succeed };
    check_closing(action, update)?;
    operation.state = state;
    operation.ended_ms = Some(now_ms);
    operation.result.clone_from(&update.payload);
    operation.error = error;
    Ok(())
}

fn seconds(given: Option<i32>) -> Option<u32> {
    given.and_then(|seconds| u32::try_from(seconds).ok())
}

/// An error as it is stored.
pub(crate) fn error_of(error: &api::ErrorObject) -> ErrorRecord {
    ErrorRecord {
        message: error.error_message.clone(),
        kind: error.error_type.clone(),
        data: error.error_data.clone(),
        trace: error.stack_trace.clone(),
    }
}

/// What an error takes, about as JSON has it.
fn error_bytes(error: &ErrorRecord) -> usize {
    let texts = [&error.message, &error.kind, &error.data];
    let trace = error.trace.iter().flatten().map(|line| line.len() + 4).sum::<usize>();
    texts.into_iter().flatten().map(String::len).sum::<usize>() + trace
}

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
mod tests;
