//! Settle: the end of the log, the environment back to its pool or to its end, the outcome to the caller.

use bytes::Bytes;
use gatemill_sandbox::Exit;

use super::exchange::{Ending, Exchanged};
use crate::{
    Invocation, Lambda, Outcome, failure,
    instance::{Instance, State},
    record::LogFormat,
    report::{self, Report, Status},
    start::InitEnd,
};

/// Ends a call.
pub(crate) async fn settle(lambda: &Lambda, call: &Invocation, exchanged: Exchanged) -> Outcome {
    let Exchanged { mut instance, ending, duration, passed_on } = exchanged;
    let timeout_s = instance.version.configuration.timeout_s;
    explain(lambda, call, &mut instance, &ending);
    let error_type = error_type(&ending);
    let status = match &ending {
        Ending::TimedOut | Ending::InitFailed(InitEnd::TimedOut) => Status::Timeout,
        _ => error_type.as_deref().map_or(Status::Success, Status::Error),
    };
    let now = lambda.clock.now();
    let memory_peak_bytes = instance.measure_after(duration);
    let init = instance.init.take();
    let memory_mb = instance.version.configuration.memory_mb;
    let (payload, failed) = answer(call, ending, timeout_s);
    let report = Report {
        request_id: call.request_id,
        duration,
        init,
        memory_mb,
        memory_peak_bytes,
        produced: passed_on + payload.len(),
        status,
    };
    let Instance { log, version, .. } = &mut *instance;
    report::end(log, now, version, &report);
    let log_tail = instance.log.take_tail().map(Bytes::from);
    let events = instance.log.take();
    lambda.logs.push(instance.log.stream(), events).await;
    let executed_version = instance.version.name().to_owned();
    put_back(lambda, instance);
    let function_error = failed.then_some("Unhandled");
    Outcome { payload, function_error, executed_version, log_tail }
}

/// Keeps an environment that can run another call of a function that still runs this deployment.
fn put_back(lambda: &Lambda, instance: Box<Instance>) {
    if instance.life.state() == State::Idle && is_current(lambda, &instance) {
        lambda.pool.give(instance);
    }
}

fn is_current(lambda: &Lambda, instance: &Instance) -> bool {
    if lambda.flights.is_draining() {
        return false;
    }
    lambda.snapshots.is_current(&lambda.store, &instance.version).unwrap_or(false)
}

/// Writes into the log why the platform ended a call.
fn explain(lambda: &Lambda, call: &Invocation, instance: &mut Instance, ending: &Ending) {
    // With JSON logging the report alone says it.
    if matches!(instance.version.configuration.logging.format, LogFormat::Json { .. }) {
        return;
    }
    let now = lambda.clock.now();
    let id = call.request_id;
    let exit_line = |exit: &Exit| {
        format!("{}\n{}\n", failure::exit_message(id, exit), failure::exit_type(exit))
    };
    let line = match ending {
        Ending::Answered(_)
        | Ending::Failed(_)
        | Ending::InitFailed(InitEnd::Ready | InitEnd::Error(_)) => {
            return;
        }
        Ending::TooLarge { max } => {
            let text = failure::too_large_message(*max);
            format!("RequestId: {id} Error: {text}\n{}\n", failure::RESPONSE_TOO_LARGE)
        }
        Ending::TimedOut | Ending::InitFailed(InitEnd::TimedOut) => {
            let timeout_s = instance.version.configuration.timeout_s;
            failure::timed_out_line(&now.iso8601_millis(), id, timeout_s)
        }
        Ending::Exited(exit) | Ending::InitFailed(InitEnd::Exited(exit)) => exit_line(exit),
        Ending::Broken(garbage) | Ending::InitFailed(InitEnd::Broken(garbage)) => {
            tracing::warn!(function = %instance.version.key, %garbage, "a runtime broke the protocol");
            let (_, message) = failure::broken(id);
            format!("{message} ({garbage})\n{}\n", failure::EXIT_ERROR)
        }
    };
    instance.log.line(now, line);
}

/// The type of a failure of platform or runtime, for REPORT.
fn error_type(ending: &Ending) -> Option<String> {
    match ending {
        Ending::Answered(_) | Ending::Failed(_) | Ending::TimedOut => None,
        Ending::TooLarge { .. } => Some(failure::RESPONSE_TOO_LARGE.to_owned()),
        Ending::Exited(exit) => Some(failure::exit_type(exit).to_owned()),
        Ending::Broken(_) => Some(failure::EXIT_ERROR.to_owned()),
        Ending::InitFailed(end) => failure::init_error_type(end),
    }
}

/// What the caller reads, and whether that is a failure.
fn answer(call: &Invocation, ending: Ending, timeout_s: u32) -> (Bytes, bool) {
    let id = call.request_id;
    let document = match ending {
        Ending::Answered(bytes) => return (bytes, false),
        Ending::Failed(document) | Ending::InitFailed(InitEnd::Error(document)) => document,
        Ending::TooLarge { max } => failure::response_too_large(max),
        Ending::TimedOut | Ending::InitFailed(InitEnd::TimedOut | InitEnd::Ready) => {
            failure::timed_out(id, timeout_s)
        }
        Ending::Exited(exit) | Ending::InitFailed(InitEnd::Exited(exit)) => {
            failure::exited(id, &exit)
        }
        Ending::Broken(_) | Ending::InitFailed(InitEnd::Broken(_)) => failure::broken(id).0,
    };
    (document, true)
}
