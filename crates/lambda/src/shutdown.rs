//! The end of an environment that has extensions: the runtime is asked to end, then they are told, each within its time.
//!
//! Source: AWS's open-source agent. With an external extension there are two seconds, with internal ones alone half of one;
//! 30 % of that are the runtime's, from `SIGTERM` to `SIGKILL`. Then external extensions that want to hear of it get SHUTDOWN
//! with its reason, and all are killed when they are still there at the deadline. An environment without extensions has no
//! time: it is killed, which dropping it does. What came to a bad end leaves its `/tmp` ([`left`](crate::left)).

use std::sync::Arc;

use tokio::{task::JoinHandle, time::Instant};

use crate::{
    Lambda,
    instance::{End, Instance, State},
    limits::{SHUTDOWN_EXTERNAL, SHUTDOWN_INTERNAL, SHUTDOWN_RUNTIME_PERCENT},
    shard,
    wires::Wires,
};

/// Ends an environment in a task of its own; at once, and without one, where nobody is to be told.
pub(crate) fn retire(lambda: &Lambda, instance: Box<Instance>) -> Option<JoinHandle<()>> {
    if !instance.wires.has_extensions() || !instance.sandbox.is_alive() {
        lambda.left.put(*instance);
        return None;
    }
    let lambda = lambda.arc()?;
    Some(tokio::spawn(async move { shut_down(&lambda, instance).await }))
}

/// Ends several.
pub(crate) fn retire_all(
    lambda: &Lambda,
    instances: impl IntoIterator<Item = Box<Instance>>,
) -> Vec<JoinHandle<()>> {
    instances.into_iter().filter_map(|instance| retire(lambda, instance)).collect()
}

/// AWS's word for why, as it is on the wire.
fn reason(state: State) -> &'static str {
    match state {
        State::Ended(End::TimedOut) => "timeout",
        State::Ended(_) => "failure",
        State::Initialising | State::Idle | State::Busy | State::Streaming => "spindown",
    }
}

/// With its sockets on the reactor of this thread; what cannot be moved is just killed.
fn moved_here(mut instance: Box<Instance>) -> Option<Box<Instance>> {
    instance.wires = instance.wires.move_here().ok()?;
    instance.shard = shard::current();
    Some(instance)
}

async fn shut_down(lambda: &Arc<Lambda>, mut instance: Box<Instance>) {
    // What a task of the server's end waits for; one that comes too late for that goes on as long as it can.
    let _flight = lambda.flights.board();
    let reason = reason(instance.life.state());
    instance.thaw();
    let Some(mut instance) = moved_here(instance) else { return };
    let Instance { wires, sandbox, log, .. } = &mut *instance;
    let is_external = wires.external.is_some();
    let budget = match (is_external, reason) {
        (false, "spindown") => SHUTDOWN_INTERNAL,
        _ => SHUTDOWN_EXTERNAL,
    };
    let begun = Instant::now();
    let deadline = begun + budget;
    let deadline_ms = i64::try_from(budget.as_millis()).unwrap_or(i64::MAX);
    let deadline_ms = lambda.clock.now().plus_ms(deadline_ms).millis();
    let (pump, clock) = (&lambda.logs, &*lambda.clock);
    sandbox.terminate_program();
    let runtime = budget * SHUTDOWN_RUNTIME_PERCENT / 100;
    wires.conclude(log, pump, clock, begun + runtime, Wires::runtime_has_ended).await;
    if is_external {
        if let Some(external) = &wires.external {
            external.holder().kill_program();
        }
        let rest = log.end_subscriptions();
        // Events before the last one, so that an extension has all when it is told of the end.
        let _ = wires.meanwhile(rest, log, pump, clock, deadline).await;
        wires.announce_end(reason, deadline_ms);
        wires.conclude(log, pump, clock, deadline, Wires::extensions_have_ended).await;
    }
    let now = lambda.clock.now();
    wires.drain(log, now);
    log.close(now);
    let events = log.take();
    let stream = Arc::clone(log.stream());
    lambda.left.put(*instance);
    lambda.logs.push(&stream, events).await;
}
