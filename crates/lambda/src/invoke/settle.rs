//! Settle: the end of the log, the environment back to its pool or to its end, the outcome to the caller.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use gatemill_sandbox::Exit;
use gatemill_wire::RequestId;
use tokio::time::Instant;

use super::{
    exchange::{Ending, Exchanged},
    resolve::Version,
};
use crate::{
    Invocation, Lambda, Outcome,
    call_log::CallLog,
    error::Entrypoint,
    failure,
    instance::{Event, Instance, State},
    load::Permit,
    record::LogFormat,
    report::{self, Course, Report, Status},
    shutdown,
    start::{self, InitEnd},
    trace::Sampled,
    wires::Heard,
};

/// What is left to be said of a call once its answer is known.
struct Closing {
    request_id: RequestId,
    duration: Duration,
    /// Bytes of the answer.
    produced: usize,
    timed_out: bool,
    error_type: Option<String>,
    /// The trace header, if the call is sampled.
    trace: Option<String>,
    course: Course,
}

/// Ends a call.
pub(crate) async fn settle(
    lambda: &Arc<Lambda>,
    call: &Invocation,
    exchanged: Exchanged,
    permit: Permit,
) -> Outcome {
    let Exchanged { mut instance, ending, duration, passed_on, first_byte } = exchanged;
    let timeout_s = instance.version.configuration.timeout_s;
    explain(lambda, call, &mut instance, &ending);
    let error_type = error_type(&ending);
    let timed_out = matches!(ending, Ending::TimedOut | Ending::InitFailed(InitEnd::TimedOut));
    let handler_failed = matches!(ending, Ending::Failed(_));
    let (payload, failed) = answer(call, ending, timeout_s);
    let produced = passed_on + payload.len();
    let trace = call.trace_id.as_deref().and_then(Sampled::of);
    let trace = trace.map(|trace| trace.header.to_owned());
    let extensions = instance.wires.extensions_hear_calls().then_some(Duration::ZERO);
    let closing = Closing {
        request_id: call.request_id,
        duration,
        produced,
        timed_out,
        error_type,
        trace,
        course: Course { first_byte, extensions, handler_failed },
    };
    let executed_version = instance.version.name().to_owned();
    let function_error = failed.then_some("Unhandled");
    let report = closing.report(&instance);
    let Instance { log, version, .. } = &mut *instance;
    report::runtime_done(log, lambda.clock.now(), version, &report);
    let log_tail = if instance.life.state() == State::Idle && !instance.wires.extensions_are_done()
    {
        let rest = Box::pin(linger(Arc::clone(lambda), instance, closing, permit));
        // The caller's answer waits for no extension; only the end of the log does.
        if call.log_tail {
            rest.await
        } else {
            tokio::spawn(rest);
            None
        }
    } else {
        close(lambda, instance, closing).await
    };
    Outcome { payload, function_error, executed_version, log_tail, durable_execution_arn: None }
}

/// A call that no environment could begin: the function's entry point cannot be started.
pub(crate) async fn refused(
    lambda: &Lambda,
    call: &Invocation,
    version: &Version,
    entrypoint: &Entrypoint,
) -> Outcome {
    let now = lambda.clock.now();
    let mut log = CallLog::new(start::log_stream(lambda, version));
    if call.log_tail {
        log.begin_tail();
    }
    let kind = entrypoint.kind;
    report::start(&mut log, now, call.request_id, version);
    if matches!(version.configuration.logging.format, LogFormat::Text) {
        let message = failure::entrypoint_message(call.request_id, entrypoint);
        log.line(now, format!("{message}\n{kind}\n"));
    }
    let payload = failure::entrypoint(call.request_id, entrypoint);
    let report = Report {
        request_id: call.request_id,
        duration: Duration::ZERO,
        init: None,
        restore: None,
        memory_mb: version.configuration.memory_mb,
        memory_peak_bytes: 0,
        produced: payload.len(),
        trace: call.trace_id.as_deref().and_then(Sampled::of),
        status: Status::Error(kind),
        course: Course::default(),
    };
    report::runtime_done(&mut log, now, version, &report);
    report::end(&mut log, now, version, &report);
    let log_tail = log.take_tail().map(Bytes::from);
    let events = log.take();
    lambda.logs.push(log.stream(), events).await;
    let executed_version = version.name().to_owned();
    Outcome {
        payload,
        function_error: Some("Unhandled"),
        executed_version,
        log_tail,
        durable_execution_arn: None,
    }
}

/// Lets the extensions finish what the invocation gave them to do; the environment serves nobody else meanwhile, what they
/// take counts as the call's, and the call counts as running.
async fn linger(
    lambda: Arc<Lambda>,
    mut instance: Box<Instance>,
    mut closing: Closing,
    _permit: Permit,
) -> Option<Bytes> {
    // A stop of the server waits for them, too.
    let _flight = lambda.flights.board();
    let now = Instant::now();
    let begun = now.checked_sub(closing.duration).unwrap_or(now);
    let deadline = begun + Duration::from_secs(instance.version.configuration.timeout_s.into());
    let Instance { wires, log, .. } = &mut *instance;
    let heard = wires.linger(log, &lambda.logs, &*lambda.clock, deadline).await;
    match heard {
        None => {}
        Some(Heard::DeadlinePassed) => {
            instance.life.advance(Event::DeadlinePassed);
            closing.timed_out = true;
        }
        Some(Heard::ExtensionFailed(failed)) => {
            instance.life.advance(Event::ExtensionFailed);
            closing.error_type = Some(failed.kind.to_owned());
        }
        Some(_) => {
            instance.life.advance(Event::Closed);
            let exit = instance.buried(&lambda.logs, &*lambda.clock).await;
            closing.error_type = Some(failure::exit_type(&exit).to_owned());
        }
    }
    if instance.life.state() != State::Idle {
        instance.stopped().await;
    }
    closing.course.extensions = Some(begun.elapsed().saturating_sub(closing.duration));
    closing.duration = begun.elapsed();
    close(&lambda, instance, closing).await
}

impl Closing {
    fn report(&self, instance: &Instance) -> Report<'_> {
        let status = match &self.error_type {
            _ if self.timed_out => Status::Timeout,
            Some(kind) => Status::Error(kind),
            None => Status::Success,
        };
        Report {
            request_id: self.request_id,
            duration: self.duration,
            init: instance.init,
            restore: instance.restore,
            memory_mb: instance.version.configuration.memory_mb,
            memory_peak_bytes: instance.memory_peak,
            produced: self.produced,
            trace: self.trace.as_deref().and_then(Sampled::of),
            status,
            course: self.course,
        }
    }
}

/// The end of the log, and the environment back to its pool. Gives the end of the log where it was asked for.
async fn close(lambda: &Lambda, mut instance: Box<Instance>, closing: Closing) -> Option<Bytes> {
    let now = lambda.clock.now();
    instance.measure_after(closing.duration);
    let report = closing.report(&instance);
    instance.init = None;
    instance.restore = None;
    let Instance { log, version, .. } = &mut *instance;
    report::end(log, now, version, &report);
    let log_tail = instance.log.take_tail().map(Bytes::from);
    let events = instance.log.take();
    lambda.logs.push(instance.log.stream(), events).await;
    put_back(lambda, instance);
    log_tail
}

/// Keeps an environment that can run another call of a function that still runs this deployment.
fn put_back(lambda: &Lambda, mut instance: Box<Instance>) {
    instance.uses = instance.uses.saturating_add(1);
    if instance.life.state() == State::Idle && is_current(lambda, &instance) {
        lambda.pool.give(instance);
    } else {
        shutdown::retire(lambda, instance);
    }
}

fn is_current(lambda: &Lambda, instance: &Instance) -> bool {
    if lambda.flights.is_draining() || instance.is_old(tokio::time::Instant::now()) {
        return false;
    }
    let wanted = instance.seat.as_ref().is_none_or(|seat| seat.group().wants_back());
    wanted && lambda.snapshots.is_current(&lambda.store, &instance.version).unwrap_or(false)
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
        Ending::ExtensionFailed(failed) | Ending::InitFailed(InitEnd::ExtensionFailed(failed)) => {
            format!("{}\n{}\n", failure::extension_message(id, failed), failed.kind)
        }
        Ending::Broken(garbage) | Ending::InitFailed(InitEnd::Broken(garbage)) => {
            tracing::warn!(function = %instance.version.key, %garbage, "a runtime broke the protocol");
            let (_, message) = failure::broken(id);
            format!("{message} ({garbage})\n{}\n", failure::EXIT_ERROR)
        }
    };
    report::fault(&mut instance.log, now, &line);
    instance.log.line(now, line);
}

/// The type of a failure of platform or runtime, for REPORT.
fn error_type(ending: &Ending) -> Option<String> {
    match ending {
        Ending::Answered(_) | Ending::Failed(_) | Ending::TimedOut => None,
        Ending::TooLarge { .. } => Some(failure::RESPONSE_TOO_LARGE.to_owned()),
        Ending::Exited(exit) => Some(failure::exit_type(exit).to_owned()),
        Ending::Broken(_) => Some(failure::EXIT_ERROR.to_owned()),
        Ending::ExtensionFailed(failed) => Some(failed.kind.to_owned()),
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
        Ending::ExtensionFailed(failed) | Ending::InitFailed(InitEnd::ExtensionFailed(failed)) => {
            failure::extension_failed(id, &failed)
        }
    };
    (document, true)
}
