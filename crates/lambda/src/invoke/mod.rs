//! The second path: invoke a function. `resolve → admit → place → exchange → settle`, each a file of that name.
//!
//! Nothing durable is written here. A call that its caller gives up runs to its end all the same, as AWS's do: what is
//! left of it is handed to a task.
//!
//! A future is moved when it is first polled, whole, with the room for everything that it may ever wait for. So what a warm
//! call does not wait for is boxed: its futures would be 4 KB each and be moved a dozen times.

pub(crate) mod admit;
pub(crate) mod exchange;
pub(crate) mod place;
pub(crate) mod resolve;
pub(crate) mod settle;
pub(crate) mod stream;

use std::sync::Arc;

use self::{exchange::Exchanged, place::Placed, resolve::Version};
use crate::{
    Error, Invocation, Lambda, Outcome,
    answer::Answer,
    durable,
    limits::{DEAD_ENVIRONMENTS_MAX, REPLACEMENTS_MAX},
    load::Permit,
    measure::Watch,
    run_to_end::run_to_end,
    trace,
};

/// Runs one call, and gives its answer whole.
pub(crate) async fn invoke(lambda: Arc<Lambda>, mut call: Invocation) -> Result<Outcome, Error> {
    run_to_end(async move { run(&lambda, &mut call, &mut Answer::whole()).await }).await
}

/// Runs one of the calls that a durable execution is made of.
pub(crate) async fn invoke_within_execution(
    lambda: Arc<Lambda>,
    mut call: Invocation,
) -> Result<Outcome, Error> {
    run_to_end(async move {
        let mut watch = lambda.watch();
        let version = resolve::resolve(&lambda, &call.target).await?;
        watch.end("resolve");
        run_version(&lambda, &mut call, version, &mut Answer::whole(), watch).await
    })
    .await
}

/// The path.
async fn run(
    lambda: &Arc<Lambda>,
    call: &mut Invocation,
    answer: &mut Answer,
) -> Result<Outcome, Error> {
    let mut watch = lambda.watch();
    let version = resolve::resolve(lambda, &call.target).await?;
    watch.end("resolve");
    if version.configuration.durable.is_some() {
        return durable::run(lambda, &version, call, None).await;
    }
    run_version(lambda, call, version, answer, watch).await
}

async fn run_version(
    lambda: &Arc<Lambda>,
    call: &mut Invocation,
    version: Arc<Version>,
    answer: &mut Answer,
    mut watch: Watch,
) -> Result<Outcome, Error> {
    let _flight = lambda.flights.board()?;
    let version = version.for_tenant(call.tenant_id.as_deref())?;
    answer.of_version(version.name());
    call.trace_id = Some(trace::decide(lambda, call, &version));
    let call = &*call;
    let permit = match admit::admit(&version, call) {
        Ok(permit) => permit,
        Err(error) => {
            lambda.refused_call(call, &version, watch, &error);
            return Err(error);
        }
    };
    lambda.admitted(call, &version, &permit, &watch);
    watch.end("admit");
    let is_provisioned = permit.provisioned().is_some();
    let (mut replacements, mut met) = (0, 0);
    while replacements < REPLACEMENTS_MAX && met < DEAD_ENVIRONMENTS_MAX {
        met += 1;
        match attempt(lambda, call, &version, &permit, answer, &mut watch).await {
            Ok(Attempt::Exchanged(exchanged)) => {
                watch.end("exchange");
                let duration_ms = exchanged.duration.as_secs_f64() * 1_000.0;
                let outcome = settle::settle(lambda, call, exchanged, permit).await;
                watch.end("settle");
                let ended = (duration_ms, outcome.function_error.is_some());
                lambda.invoked(call, &version, watch, ended, is_provisioned);
                return Ok(outcome);
            }
            // The environment had died while it was idle and took nothing of the call: another one. Of those that have served
            // there may be many, which ended together; each is met once.
            Ok(Attempt::Died { has_served }) => replacements += usize::from(!has_served),
            // The function's fault, so an outcome.
            Err(Error::Entrypoint(entrypoint)) => {
                lambda.invoked(call, &version, watch, (0.0, true), is_provisioned);
                return Ok(Box::pin(settle::refused(lambda, call, &version, &entrypoint)).await);
            }
            Err(error) => {
                lambda.refused_call(call, &version, watch, &error);
                return Err(error);
            }
        }
    }
    Err(Error::Internal("environments died before they took the call"))
}

/// What became of a call in one environment.
enum Attempt {
    Exchanged(Exchanged),
    /// The environment died before it took the call.
    Died {
        /// Whether it had served calls before.
        has_served: bool,
    },
}

/// One environment, and the exchange with it.
async fn attempt(
    lambda: &Arc<Lambda>,
    call: &Invocation,
    version: &Arc<Version>,
    permit: &Permit,
    answer: &mut Answer,
    watch: &mut Watch,
) -> Result<Attempt, Error> {
    let placed = place::place(lambda, version, permit).await?;
    watch.end("place");
    let has_served = matches!(&placed, Placed::Ready(instance) if instance.uses > 0);
    let exchanged = exchange::exchange(lambda, call, version, placed, answer).await?;
    Ok(exchanged.map_or(Attempt::Died { has_served }, Attempt::Exchanged))
}
