//! What runs in the background: settling new deployments, removing what is no longer used, passing logs on.
//!
//! Workers see records and act; any of them may be killed at any instant and started again.

use std::{collections::HashSet, sync::Arc, time::Duration};

use gatemill_store::Digest;
use gatemill_wire::routes::BoxFuture;
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    Error, Lambda, ahead, code,
    control::function,
    durable, events,
    invoke::resolve::Version,
    limits::{BLOB_AGE_MS, DEPLOYMENT_ATTEMPTS_MAX, DEPLOYMENTS_AT_ONCE, DEPLOYMENTS_BEGUN_MAX},
    parked, provisioned_worker,
    record::{CODE_USES, FUNCTIONS, FunctionRecord, PACKAGES, VERSIONS, WORK},
    shutdown,
    target::FunctionKey,
    version_worker,
};

/// How long after an attempt that failed the next one follows; doubled each time.
pub(crate) const RETRY: Duration = Duration::from_millis(200);
/// How many marks are read at one time.
const MARKS_AT_ONCE: usize = 100;
/// Packages that are looked at in one go.
const PACKAGES_AT_ONCE: usize = 1_000;
/// How often unused packages are looked for.
const SWEEP: Duration = Duration::from_secs(60);

/// A named future that runs for ever.
pub struct Worker {
    /// For the log.
    pub name: &'static str,
    /// What it does.
    pub future: BoxFuture<'static, ()>,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("name", &self.name).finish_non_exhaustive()
    }
}

pub(crate) fn all(lambda: &Arc<Lambda>) -> Vec<Worker> {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m] = std::array::from_fn(|_| Arc::clone(lambda));
    vec![
        Worker { name: "lambda-deployments", future: Box::pin(deployments(a)) },
        Worker { name: "lambda-versions", future: Box::pin(version_worker::run(e)) },
        Worker { name: "lambda-provisioned", future: Box::pin(provisioned_worker::run(f)) },
        Worker { name: "lambda-durable", future: Box::pin(durable::driver::run(i)) },
        Worker { name: "lambda-durable-chained", future: Box::pin(durable::chained::run(j)) },
        Worker { name: "lambda-durable-drain", future: Box::pin(durable::drain::run(m)) },
        Worker { name: "lambda-environments", future: Box::pin(environments(b)) },
        Worker {
            name: "lambda-freezer",
            future: Box::pin(async move { g.pool.freeze_idle(g.settings.freeze_after).await }),
        },
        Worker { name: "lambda-parking", future: Box::pin(parked::run(h)) },
        Worker { name: "lambda-events", future: Box::pin(events::attempt::run(k)) },
        Worker { name: "lambda-event-deliveries", future: Box::pin(events::delivery::run(l)) },
        Worker { name: "lambda-packages", future: Box::pin(packages(c)) },
        Worker { name: "lambda-logs", future: Box::pin(async move { d.logs.run().await }) },
    ]
}

/// Settles functions that were created or updated.
async fn deployments(lambda: Arc<Lambda>) {
    let mut marks = lambda.store.watch(WORK.name());
    let turns = Arc::new(Semaphore::new(DEPLOYMENTS_AT_ONCE));
    let mut running = JoinSet::new();
    let mut busy = HashSet::new();
    loop {
        match waiting(&lambda) {
            Ok(keys) => {
                for key in keys {
                    if running.len() >= DEPLOYMENTS_BEGUN_MAX {
                        break;
                    }
                    if busy.insert(key.clone()) {
                        let (lambda, turns) = (Arc::clone(&lambda), Arc::clone(&turns));
                        running.spawn(async move {
                            deploy(&lambda, &turns, &key).await;
                            key
                        });
                    }
                }
            }
            Err(error) => tracing::error!(error = error.chain(), "functions cannot be settled"),
        }
        tokio::select! {
            () = marks.changed() => {}
            Some(done) = running.join_next() => {
                match done {
                    Ok(key) => drop(busy.remove(&key)),
                    // Which one panicked is not known; all may be tried again.
                    Err(_) => busy.clear(),
                }
            }
        }
    }
}

fn waiting(lambda: &Lambda) -> Result<Vec<FunctionKey>, Error> {
    let marks = lambda.store.read(|tx| {
        Ok::<_, Error>(WORK.scan(tx, &gatemill_store::Key::empty(), None, MARKS_AT_ONCE)?)
    })?;
    Ok(marks.iter().filter_map(|(key, _)| FunctionKey::from_record(key)).collect())
}

/// Makes one function's new configuration runnable.
async fn deploy(lambda: &Arc<Lambda>, turns: &Semaphore, key: &FunctionKey) {
    let mut pause = RETRY;
    for attempt in 1..=DEPLOYMENT_ATTEMPTS_MAX {
        let error = match try_deploy(lambda, turns, key).await {
            Ok(()) => return initialise_ahead(lambda, key),
            Err(error) => error,
        };
        tracing::error!(function = %key, attempt, error = error.chain(), "a function is not settled");
        if attempt == DEPLOYMENT_ATTEMPTS_MAX || code::is_lost(&error) {
            let failed = function::settle(lambda, key, None, Err(&error)).await;
            if let Err(error) = failed {
                tracing::error!(function = %key, error = error.chain(), "a function stays unsettled");
            }
            return;
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

fn initialise_ahead(lambda: &Arc<Lambda>, key: &FunctionKey) {
    if let Err(error) = ahead::deployed(lambda, key) {
        tracing::warn!(function = %key, error = error.chain(), "nothing is initialised ahead");
    }
}

async fn try_deploy(lambda: &Lambda, turns: &Semaphore, key: &FunctionKey) -> Result<(), Error> {
    let record: Option<FunctionRecord> =
        lambda.store.read(|tx| Ok::<_, Error>(FUNCTIONS.get(tx, &key.record())?))?;
    let deployment = match record {
        Some(record) => {
            // Closed never; without a turn it would be done all the same.
            let _turn = match record.configuration.image {
                None => turns.acquire().await.ok(),
                Some(_) => None,
            };
            code::ensure(lambda, &record.configuration).await?;
            Some(record.configuration.deployment)
        }
        None => None,
    };
    function::settle(lambda, key, deployment, Ok(())).await
}

/// Ends environments that nobody calls, and those of deployments that are over.
async fn environments(lambda: Arc<Lambda>) {
    let mut functions = lambda.store.watch(FUNCTIONS.name());
    let mut versions = lambda.store.watch(VERSIONS.name());
    let settings = &lambda.settings;
    let look = (settings.idle_max / 10).clamp(Duration::from_millis(50), Duration::from_secs(30));
    loop {
        let now = tokio::time::Instant::now();
        lambda.snap_starts.expire(now);
        lambda.left.expire(now, settings.idle_max, |_| false);
        let expired = lambda.pool.expire(now, settings.idle_max);
        if !expired.is_empty() {
            tracing::debug!(environments = expired.len(), "idle environments end");
        }
        let old = lambda.pool.remove(|instance| instance.is_old(now));
        expired.iter().chain(&old).for_each(|instance| ahead::ended(&lambda, instance));
        shutdown::retire_all(&lambda, expired);
        shutdown::retire_all(&lambda, old);
        let changed = async {
            tokio::select! {
                () = functions.changed() => {}
                () = versions.changed() => {}
            }
        };
        tokio::select! {
            () = changed => {
                let is_over = |version: &Version| is_over(&lambda, version);
                let over = lambda.pool.remove(|instance| is_over(&instance.version));
                shutdown::retire_all(&lambda, over);
                lambda.left.expire(now, settings.idle_max, is_over);
            }
            () = lambda.pool.over_budget() => lambda.left.clear(),
            () = tokio::time::sleep(look) => {}
        }
    }
}

fn is_over(lambda: &Lambda, version: &Version) -> bool {
    // What cannot be told now is ended in time by idling.
    !lambda.snapshots.is_current(&lambda.store, version).unwrap_or(true)
}

/// Removes packages that no function names any more.
async fn packages(lambda: Arc<Lambda>) {
    let mut changes = lambda.store.watch(CODE_USES.name());
    loop {
        let clean =
            sweep_code(&lambda).await & sweep_images(&lambda).await & sweep_blobs(&lambda).await;
        tokio::time::sleep(SWEEP).await;
        // What was too young or still in use is looked at again without a change.
        if clean {
            changes.changed().await;
        }
    }
}

/// Removes unpacked code that no function names. Whether all of it is gone: some may be in use by environments.
pub(crate) async fn sweep_code(lambda: &Lambda) -> bool {
    let unused = lambda.code.list().and_then(|all| {
        lambda.store.read(|tx| {
            let mut unused = Vec::new();
            for digest in all {
                if !is_named(tx, &digest)? {
                    unused.push(digest);
                }
            }
            Ok::<_, Error>(unused)
        })
    });
    let Some(me) = lambda.arc() else { return false };
    let removed = tokio::task::spawn_blocking(move || {
        unused?.iter().try_fold(true, |clean, digest| Ok(me.code.remove(digest)? && clean))
    });
    match removed.await {
        Ok(Ok(clean)) => clean,
        Ok(Err(error)) => {
            tracing::warn!(error = Error::chain(&error), "unused code stays on the disk");
            false
        }
        Err(_) => false,
    }
}

/// Removes container images that no function names, and layers that no image is made of. Whether all of them are gone:
/// some may be in use by environments, and no layer goes while an image is got.
pub(crate) async fn sweep_images(lambda: &Lambda) -> bool {
    let unused = lambda.images.list().map_err(Error::Image).and_then(|all| {
        lambda.store.read(|tx| {
            let mut unused = Vec::new();
            for digest in all {
                let stored = digest.hex().parse();
                if stored.is_ok_and(|stored| is_named(tx, &stored).unwrap_or(true)) {
                    continue;
                }
                unused.push(digest);
            }
            Ok::<_, Error>(unused)
        })
    });
    let Some(me) = lambda.arc() else { return false };
    let removed = tokio::task::spawn_blocking(move || {
        let mut clean = true;
        for digest in unused? {
            clean &= me.images.remove(&digest).map_err(Error::Image)?;
        }
        Ok(me.images.sweep_layers().map_err(Error::Image)? && clean)
    });
    match removed.await {
        Ok(Ok(clean)) => clean,
        Ok(Err(error)) => {
            tracing::warn!(error = Error::chain(&error), "unused images stay on the disk");
            false
        }
        Err(_) => false,
    }
}

/// Removes packages that no function names. Whether all of them are gone: some may be too young.
async fn sweep_blobs(lambda: &Lambda) -> bool {
    try_sweep_blobs(lambda).await.unwrap_or_else(|error| {
        tracing::warn!(error = error.chain(), "unused packages stay in the store");
        false
    })
}

async fn try_sweep_blobs(lambda: &Lambda) -> Result<bool, Error> {
    let put_before = u64::try_from(lambda.clock.now().plus_ms(-BLOB_AGE_MS).millis()).unwrap_or(0);
    let (mut after, mut clean) = (None, true);
    loop {
        let page = lambda.store.read(|tx| {
            let all = gatemill_store::Key::empty();
            Ok::<_, Error>(PACKAGES.scan(tx, &all, after.as_ref(), PACKAGES_AT_ONCE)?)
        })?;
        let Some((last, _)) = page.last() else { return Ok(clean) };
        after = Some(last.clone());
        for (key, _) in page {
            let Some(digest) = key.text(0).and_then(|text| text.parse().ok()) else { continue };
            if !lambda.store.read(|tx| is_named(tx, &digest))? {
                clean &= sweep_blob(lambda, key, digest, put_before).await?;
            }
        }
    }
}

/// Removes a package that nothing names, if it is old enough, and then its mark. Whether it is gone.
async fn sweep_blob(
    lambda: &Lambda,
    key: gatemill_store::Key,
    digest: Digest,
    put_before: u64,
) -> Result<bool, Error> {
    let blobs = lambda.store.blobs();
    blobs.delete_unused(&digest, put_before).await?;
    if blobs.contains(&digest).await? {
        return Ok(false);
    }
    // Whoever puts the package again puts its mark again first.
    lambda.store.write(move |tx| Ok::<_, Error>(PACKAGES.delete(tx, &key)?)).await?;
    Ok(true)
}

fn is_named(tx: &gatemill_store::Read, digest: &Digest) -> Result<bool, Error> {
    let uses = gatemill_store::Key::new([digest.to_string()]);
    Ok(!CODE_USES.scan(tx, &uses, None, 1)?.is_empty())
}
