//! Place: an environment for the call.
//!
//! An idle one of this shard, else an idle one of another, else one that is started for the call, unless one of the same
//! deployment gets free before. A call never waits behind a busy environment for its own sake.

use std::sync::Arc;

use tokio::{sync::oneshot, task::JoinHandle};

use super::resolve::Version;
use crate::{
    Error, Lambda, LogStream, ahead,
    governor::StartSlot,
    instance::Instance,
    limits::PLACE_WAIT,
    load::Permit,
    shard,
    start::{self, InitEnd},
};

/// Where the call runs.
pub(crate) enum Placed {
    /// In this environment, which is initialised.
    Ready(Box<Instance>),
    /// Initialisation failed before the call; it is done again inside the call, into the same log stream.
    Failed(Arc<LogStream>),
}

/// Finds or makes an environment. A call that has a provisioned one gets that; it may have died just now, and then the call
/// is placed as all others are.
pub(crate) async fn place(
    lambda: &Arc<Lambda>,
    version: &Arc<Version>,
    permit: &Permit,
) -> Result<Placed, Error> {
    if let Some(group) = permit.provisioned()
        && let Some(instance) = idle(lambda, group.version())?
    {
        return Ok(Placed::Ready(instance));
    }
    if let Some(instance) = idle(lambda, version)? {
        return Ok(Placed::Ready(instance));
    }
    let placed = tokio::time::timeout(PLACE_WAIT, Box::pin(make(lambda, version))).await;
    placed.unwrap_or(Err(Error::Internal("no environment got ready in time")))
}

/// An idle environment, on the reactor of this thread.
fn idle(lambda: &Arc<Lambda>, version: &Version) -> Result<Option<Box<Instance>>, Error> {
    while let Some(instance) = lambda.pool.take(version.deployment) {
        // With sandboxd all of them die at once, more than a call would be placed again for.
        if instance.sandbox.is_alive() {
            if instance.uses == 0 {
                ahead::taken(lambda, &instance);
            }
            return settled_here(instance).map(Some);
        }
    }
    Ok(None)
}

/// Moves an environment's sockets to this thread, unless they are there.
fn settled_here(mut instance: Box<Instance>) -> Result<Box<Instance>, Error> {
    let here = shard::current();
    if here.is_none() || here != instance.shard {
        let wires = instance.wires.move_here();
        instance.wires = wires.map_err(Error::io("move an environment to another thread"))?;
        instance.shard = here;
    }
    Ok(instance)
}

async fn make(lambda: &Arc<Lambda>, version: &Arc<Version>) -> Result<Placed, Error> {
    let freed = lambda.pool.wait(version.deployment);
    let placed = make_or_take(lambda, version, freed).await;
    lambda.pool.sweep(version.deployment);
    placed
}

async fn make_or_take(
    lambda: &Arc<Lambda>,
    version: &Arc<Version>,
    mut freed: oneshot::Receiver<Box<Instance>>,
) -> Result<Placed, Error> {
    // One may have got free between the look at the pool and the wait.
    if let Some(instance) = idle(lambda, version)? {
        return Ok(Placed::Ready(instance));
    }
    let mut growth = version.load.grow().map_err(Error::Throttled)?;
    // Every environment goes to whoever waited longest, so the one that was made for this call may have gone to another,
    // which then left without making its own: then this call makes the next.
    loop {
        let slot = tokio::select! {
            biased;
            instance = &mut freed => return handed(instance),
            slot = lambda.governor.slot(version.deployment) => slot,
        };
        growth.used();
        let mut starting = begin(lambda, version, slot);
        tokio::select! {
            biased;
            instance = &mut freed => return handed(instance),
            made = &mut starting => match made {
                // Whoever got it leaves its own leave unused.
                Ok(Ok(Made::Given)) => growth = version.load.grow().map_err(Error::Throttled)?,
                Ok(Ok(Made::Failed(stream))) => return Ok(Placed::Failed(stream)),
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(Error::Internal("starting an environment panicked")),
            },
        }
    }
}

fn handed(instance: Result<Box<Instance>, oneshot::error::RecvError>) -> Result<Placed, Error> {
    let instance = instance.map_err(|_| Error::Internal("the wait for an environment was cut"))?;
    settled_here(instance).map(Placed::Ready)
}

/// What became of a start.
enum Made {
    /// An environment, given to whoever waited longest or to the pool.
    Given,
    /// Nothing: initialisation failed.
    Failed(Arc<LogStream>),
}

/// Starts an environment in a task: it is made whether or not the call that wanted it is served by another one.
fn begin(
    lambda: &Arc<Lambda>,
    version: &Arc<Version>,
    slot: StartSlot,
) -> JoinHandle<Result<Made, Error>> {
    let (lambda, version) = (Arc::clone(lambda), Arc::clone(version));
    tokio::spawn(async move {
        let stream = start::log_stream(&lambda, &version);
        let limit = lambda.settings.init_timeout;
        let mut started =
            start::start(&lambda, &version, &stream, limit, start::Opening::Init).await?;
        drop(slot);
        match started.end {
            InitEnd::Ready => {
                // Not kept for the first call: there may be none.
                let log = &mut started.instance.log;
                let events = log.take();
                lambda.logs.push(log.stream(), events).await;
                lambda.pool.give(started.instance);
                ahead::started(&lambda, &version, started.took);
                Ok(Made::Given)
            }
            failed => {
                start::report_failed_init(&lambda, started.instance, &failed, started.took).await;
                Ok(Made::Failed(stream))
            }
        }
    })
}
