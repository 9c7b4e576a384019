//! Exchange: the call and its answer over the environment's channel.
//!
//! The payload's bytes pass through untouched in both directions. Whatever the runtime does instead of answering is an
//! [`Ending`]; the environment is then dead.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use gatemill_sandbox::Exit;
use gatemill_wire::function_ref::function_arn;
use tokio::time::Instant;

use super::{place::Placed, resolve::Version};
use crate::{
    Error, Invocation, Lambda, LogStream,
    answer::{Answer, TooLarge},
    frame::{Body, Garbage, InvokeMeta, Kind, Reader},
    instance::{Event, Instance, State},
    limits::{RESPONSE_BYTES_MAX, STREAM_BYTES_MAX},
    report,
    runtime_api::extension,
    shard, shutdown,
    start::{self, InitEnd, Started},
    wires::{Heard, Outgoing},
};

/// A call after its exchange.
pub(crate) struct Exchanged {
    pub(crate) instance: Box<Instance>,
    pub(crate) ending: Ending,
    pub(crate) duration: Duration,
    /// Bytes of the answer that its reader has got already.
    pub(crate) passed_on: usize,
    /// From the call's begin to the first byte of an answer in pieces.
    pub(crate) first_byte: Option<Duration>,
}

/// What became of a call.
#[derive(Debug)]
pub(crate) enum Ending {
    /// The handler answered.
    Answered(Bytes),
    /// The handler failed; the runtime's document.
    Failed(Bytes),
    /// The answer was larger than allowed: this many bytes.
    TooLarge {
        max: u64,
    },
    TimedOut,
    Exited(Exit),
    Broken(Garbage),
    /// An extension gave up.
    ExtensionFailed(extension::Failure),
    /// Initialisation, done again inside the call, failed.
    InitFailed(InitEnd),
}

/// Runs the call in its environment. `None` when the environment had died before it took anything of the call.
pub(crate) async fn exchange(
    lambda: &Arc<Lambda>,
    call: &Invocation,
    version: &Arc<Version>,
    placed: Placed,
    answer: &mut Answer,
) -> Result<Option<Exchanged>, Error> {
    match placed {
        Placed::Ready(mut instance) => {
            let begun = Instant::now();
            if is_quiet(lambda, &mut instance) {
                open_log(lambda, call, &mut instance);
                let deadline = begun + timeout(version);
                let ending = converse(lambda, call, &mut instance, deadline, answer).await;
                if let Some(ending) = ending {
                    let (duration, passed_on) = (begun.elapsed(), answer.passed_on());
                    let first_byte = answer.first_byte(begun);
                    return Ok(Some(Exchanged {
                        instance,
                        ending,
                        duration,
                        passed_on,
                        first_byte,
                    }));
                }
            }
            Box::pin(abandon(lambda, instance)).await;
            Ok(None)
        }
        Placed::Failed(stream) => {
            Box::pin(again(lambda, call, version, &stream, answer)).await.map(Some)
        }
    }
}

/// Whether nothing happened in an environment since its last call.
fn is_quiet(lambda: &Lambda, instance: &mut Instance) -> bool {
    let Instance { wires, log, .. } = instance;
    wires.is_quiet(log, lambda.clock.now())
}

/// Gives up an environment that died, or spoke unasked, while it was idle; what it printed is kept.
async fn abandon(lambda: &Lambda, mut instance: Box<Instance>) {
    let now = lambda.clock.now();
    instance.wires.drain(&mut instance.log, now);
    instance.log.close(now);
    let events = instance.log.take();
    lambda.logs.push(instance.log.stream(), events).await;
    shutdown::retire(lambda, instance);
}

fn timeout(version: &Version) -> Duration {
    Duration::from_secs(version.configuration.timeout_s.into())
}

/// START, and the begin of the tail.
fn open_log(lambda: &Lambda, call: &Invocation, instance: &mut Instance) {
    if call.log_tail {
        instance.log.begin_tail();
    }
    let Instance { log, version, .. } = instance;
    report::start(log, lambda.clock.now(), call.request_id, version);
}

/// Initialises inside the call, with the function's timeout as the limit for both, and then runs the call.
async fn again(
    lambda: &Arc<Lambda>,
    call: &Invocation,
    version: &Arc<Version>,
    stream: &Arc<LogStream>,
    answer: &mut Answer,
) -> Result<Exchanged, Error> {
    let _slot = lambda.governor.slot(version.deployment).await;
    let begun = Instant::now();
    let limit = timeout(version);
    let log = start::Opening::Call(call);
    let Started { mut instance, end, took } =
        start::start(lambda, version, stream, limit, log).await?;
    let ending = if matches!(end, InitEnd::Ready) {
        let ending = converse(lambda, call, &mut instance, begun + limit, answer).await;
        ending.unwrap_or(Ending::Broken(Garbage::Unexpected))
    } else {
        let now = lambda.clock.now();
        report::init_report(&mut instance.log, now, version, &end, took, "invoke");
        Ending::InitFailed(end)
    };
    let (duration, passed_on) = (begun.elapsed(), answer.passed_on());
    let first_byte = answer.first_byte(begun);
    Ok(Exchanged { instance, ending, duration, passed_on, first_byte })
}

/// One INVOKE and what comes of it.
async fn converse(
    lambda: &Lambda,
    call: &Invocation,
    instance: &mut Instance,
    deadline: Instant,
    answer: &mut Answer,
) -> Option<Ending> {
    instance.life.advance(Event::Assigned);
    let mut outgoing = question(lambda, call, instance, deadline);
    let mut reader = Reader::new(RESPONSE_BYTES_MAX);
    let mut at_once = on_the_spot(lambda, instance, &mut outgoing, &mut reader);
    loop {
        let Instance { wires, log, .. } = &mut *instance;
        let (pump, clock) = (&lambda.logs, &*lambda.clock);
        let heard = match at_once.take() {
            Some(heard) => heard,
            None => {
                Box::pin(wires.converse(outgoing, &mut reader, log, pump, clock, deadline)).await
            }
        };
        outgoing = Outgoing::default();
        let frame = match heard {
            Heard::NotDelivered => return None,
            Heard::Frame(frame) => frame,
            other => return Some(Box::pin(ended(lambda, instance, other)).await),
        };
        let state = instance.life.advance(Event::Frame(frame.kind));
        if matches!(state, State::Ended(_)) {
            Box::pin(instance.killed()).await;
            return Some(Ending::Broken(Garbage::Unexpected));
        }
        let Instance { wires, log, .. } = &mut *instance;
        let taken = match (frame.kind, frame.body) {
            (Kind::StreamChunk, Body::Whole(bytes)) => {
                let passed_on = pass_on(bytes, answer);
                Box::pin(wires.meanwhile(passed_on, log, pump, clock, deadline)).await
            }
            (kind, body) => Some(take(kind, body, answer)),
        };
        match taken {
            Some(None) => {}
            // An answer without an end: nobody reads what the runtime goes on to say.
            Some(Some(ending)) if instance.life.state() == State::Streaming => {
                instance.life.advance(Event::Garbage(Garbage::Unexpected));
                Box::pin(instance.killed()).await;
                return Some(ending);
            }
            Some(Some(ending)) => return Some(ending),
            None => return Some(Box::pin(ended(lambda, instance, Heard::DeadlinePassed)).await),
        }
    }
}

/// Has this thread itself wait a moment for the answer, if the function is known to be quick.
fn on_the_spot(
    lambda: &Lambda,
    instance: &mut Instance,
    outgoing: &mut Outgoing,
    reader: &mut Reader,
) -> Option<Heard> {
    // Other threads run blocking work and other tasks beside this one; only a shard's own is ours to hold.
    // And an environment that has just been thawed, as all that idled are, needs a moment for that.
    let is_warm = instance.idle_since.elapsed() < lambda.settings.freeze_after;
    let may = shard::current().is_some() && is_warm && instance.wires.may_answer_at_once();
    if !may || !instance.version.pace.is_quick() {
        return None;
    }
    instance.keep_here(true);
    let Instance { wires, log, version, core, .. } = &mut *instance;
    let heard = wires.converse_at_once(core.is_some(), outgoing, reader, log, &*lambda.clock);
    if heard.is_some() {
        version.pace.hit();
    } else {
        version.pace.miss();
        instance.keep_here(false);
    }
    heard
}

/// Takes what a runtime in its turn said; gives the ending when that is one.
fn take(kind: Kind, body: Body, answer: &mut Answer) -> Option<Ending> {
    let whole = Ending::TooLarge { max: RESPONSE_BYTES_MAX as u64 };
    let Body::Whole(bytes) = body else { return Some(whole) };
    match kind {
        Kind::Response => Some(Ending::Answered(bytes)),
        Kind::Error | Kind::StreamError => Some(Ending::Failed(bytes)),
        Kind::StreamBegin => {
            answer.begin(&bytes);
            None
        }
        Kind::StreamEnd => Some(answer.gathered().map_or(whole, Ending::Answered)),
        // These lead to an end of the environment, or have gone another way, which the caller looks at first.
        Kind::Ready | Kind::InitError | Kind::Snapshot | Kind::NoSnapshot | Kind::StreamChunk => {
            Some(Ending::Broken(Garbage::Unexpected))
        }
    }
}

/// Passes a piece of an answer on; gives the ending when it is one too many.
async fn pass_on(piece: Bytes, answer: &mut Answer) -> Option<Ending> {
    match answer.chunk(piece).await {
        Ok(()) => None,
        Err(TooLarge) => Some(Ending::TooLarge { max: STREAM_BYTES_MAX }),
    }
}

/// What an environment that did not answer leaves.
async fn ended(lambda: &Lambda, instance: &mut Instance, heard: Heard) -> Ending {
    match heard {
        Heard::Closed => {
            instance.life.advance(Event::Closed);
            Ending::Exited(instance.buried(&lambda.logs, &*lambda.clock).await)
        }
        Heard::DeadlinePassed => {
            instance.life.advance(Event::DeadlinePassed);
            instance.measure();
            if !instance.wires.has_extensions() {
                instance.sandbox.end();
            }
            Ending::TimedOut
        }
        Heard::Garbage(garbage) => {
            instance.life.advance(Event::Garbage(garbage));
            instance.killed().await;
            Ending::Broken(garbage)
        }
        Heard::ExtensionFailed(failure) => {
            instance.life.advance(Event::ExtensionFailed);
            instance.stopped().await;
            Ending::ExtensionFailed(failure)
        }
        Heard::Frame(_) | Heard::NotDelivered => Ending::Broken(Garbage::Unexpected),
    }
}

fn question(
    lambda: &Lambda,
    call: &Invocation,
    instance: &mut Instance,
    deadline: Instant,
) -> Outgoing {
    let left = deadline.saturating_duration_since(Instant::now());
    let left_ms = i64::try_from(left.as_millis()).unwrap_or(i64::MAX);
    let key = &instance.version.key;
    let qualifier = call.target.qualifier.as_ref();
    let function_arn = function_arn(&key.account, &key.region, &key.name, qualifier);
    // An absent event reaches the runtime as an empty object.
    let payload =
        if call.payload.is_empty() { Bytes::from_static(b"{}") } else { call.payload.clone() };
    let request_id = call.request_id.to_string();
    let now = lambda.clock.now();
    let meta = InvokeMeta {
        request_id: &request_id,
        deadline_ms: now.plus_ms(left_ms).millis(),
        function_arn: &function_arn,
        trace_id: call.trace_id.as_deref().unwrap_or(""),
        client_context: call.client_context.as_deref().unwrap_or(""),
        cognito_identity: "",
        tenant_id: call.tenant_id.as_deref().unwrap_or(""),
    };
    instance.wires.question(&meta, payload)
}
