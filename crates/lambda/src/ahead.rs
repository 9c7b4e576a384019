//! Initialised ahead: an environment of a function whose initialisation is long, made before the call that needs it.
//!
//! AWS calls it proactive initialisation and promises nothing of it; here it has rules. A version whose environments take
//! [`AHEAD_START_MIN`] or more to make keeps as many spares as the operator asks for, none by default, for as long as it is in
//! use: one is made after a start that took so long, and again after one was taken. A function that becomes Active with a package of
//! [`AHEAD_PACKAGE_BYTES_MIN`] or more gets its first one at once, since what it will take cannot be known but by doing it.
//!
//! A spare is an idle environment like any other, kept in the pool where it is taken last, and frozen. It is worth the least
//! there, having served nobody, so that it goes first when memory is short; none is made that would have to go at once. None
//! is made of functions that have no concurrency left for it. Provisioned concurrency and snapshots are ahead by their own
//! means, and environments of single tenants are made for a tenant that calls.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use uuid::Uuid;

use crate::{
    Error, Lambda,
    instance::Instance,
    invoke::resolve::{Initialization, Version},
    limits::{AHEAD_AT_ONCE, AHEAD_PACKAGE_BYTES_MIN, AHEAD_START_MIN},
    shutdown, start,
    target::FunctionKey,
};

const MIB: u64 = 1024 * 1024;

/// The deployments of which a spare is being made.
#[derive(Debug, Default)]
pub(crate) struct Ahead(Mutex<HashSet<Uuid>>);

/// That a spare of a deployment is being made; over when dropped.
struct Making {
    lambda: Arc<Lambda>,
    deployment: Uuid,
}

impl Making {
    /// `None` when one is being made already, or so many that this one would come late.
    fn begin(lambda: &Arc<Lambda>, deployment: Uuid) -> Option<Self> {
        let mut making = lambda.ahead.0.lock().unwrap_or_else(PoisonError::into_inner);
        let may = making.len() < AHEAD_AT_ONCE && making.insert(deployment);
        may.then(|| Self { lambda: Arc::clone(lambda), deployment })
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        let mut making = self.lambda.ahead.0.lock().unwrap_or_else(PoisonError::into_inner);
        making.remove(&self.deployment);
    }
}

/// An environment was made for a call, and took that long.
pub(crate) fn started(lambda: &Arc<Lambda>, version: &Arc<Version>, took: Duration) {
    if took >= AHEAD_START_MIN {
        // Not beside the call that it follows.
        begin(lambda, version, lambda.settings.parking.delay);
    }
}

/// A call takes an environment that has served nobody yet.
pub(crate) fn taken(lambda: &Arc<Lambda>, instance: &Instance) {
    started(lambda, &instance.version, instance.start);
}

/// An idle environment ended because it idled, or for its age. A spare is made again if the function is in use.
pub(crate) fn ended(lambda: &Arc<Lambda>, instance: &Instance) {
    let deployment = instance.version.deployment;
    if instance.uses == 0 && lambda.pool.has_used(deployment) {
        taken(lambda, instance);
    }
}

/// A function became Active.
///
/// # Errors
/// When the store cannot be read.
pub(crate) fn deployed(lambda: &Arc<Lambda>, key: &FunctionKey) -> Result<(), Error> {
    let Some(version) = lambda.snapshots.latest(&lambda.store, key)? else { return Ok(()) };
    if version.configuration.stored_bytes() >= AHEAD_PACKAGE_BYTES_MIN {
        begin(lambda, &version, Duration::ZERO);
    }
    Ok(())
}

fn begin(lambda: &Arc<Lambda>, version: &Arc<Version>, delay: Duration) {
    let is_on_demand = version.initialization == Initialization::OnDemand;
    let others = version.group.is_some() || version.tenant.is_some();
    if lambda.settings.ahead == 0 || !is_on_demand || others || version.configuration.per_tenant {
        return;
    }
    let Some(making) = Making::begin(lambda, version.deployment) else { return };
    let version = Arc::clone(version);
    tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        while may_have_one(&making.lambda, &version) {
            match make(&making.lambda, &version).await {
                Ok(true) => {}
                // The function's own failure comes again, and the next call is told of it.
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(function = %version.key, error = error.chain(),
                        "no environment can be initialised ahead");
                    break;
                }
            }
        }
    });
}

/// Whether one more spare is wanted, and nothing speaks against it.
fn may_have_one(lambda: &Lambda, version: &Version) -> bool {
    let pool = &lambda.pool;
    let memory = u64::from(version.configuration.memory_mb) * MIB;
    // What all versions of the function have in the pool counts against its concurrency: each may have a call at once.
    let environments = || pool.count(|instance| instance.version.key == version.key);
    !lambda.flights.is_draining()
        && pool.unused(version.deployment) < lambda.settings.ahead
        && pool.has_room(memory)
        && version.load.has_concurrency_for(environments)
        && lambda.snapshots.is_current(&lambda.store, version).unwrap_or(false)
}

/// Makes one. `false` when its initialisation failed, or nobody wants it any more now that it is its turn.
async fn make(lambda: &Arc<Lambda>, version: &Arc<Version>) -> Result<bool, Error> {
    let slot = lambda.governor.slot(version.deployment).await;
    if !may_have_one(lambda, version) {
        return Ok(false);
    }
    let limit = lambda.settings.init_timeout;
    let Some(mut instance) = start::before_calls(lambda, version, slot, limit).await? else {
        return Ok(false);
    };
    instance.measure();
    let is_current = lambda.snapshots.is_current(&lambda.store, version).unwrap_or(false);
    if is_current && !lambda.flights.is_draining() {
        lambda.pool.give_spare(instance);
    } else {
        shutdown::retire(lambda, instance);
    }
    Ok(true)
}
