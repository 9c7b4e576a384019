//! Keeps provisioned environments: makes what is missing, replaces what died, ends what is too much.
//!
//! Records say what is wanted; [`Groups`](crate::provisioned::Groups) say what there is. The worker compares the two whenever
//! either changes, and so needs no memory of its own but of versions whose initialisation failed.

use std::{collections::HashMap, sync::Arc, time::Duration};

use gatemill_store::Key;
use tokio::{task::JoinSet, time::Instant};

use crate::{
    Error, Lambda,
    limits::{
        PROVISIONED_INIT, PROVISIONED_RETRY, PROVISIONED_RETRY_MAX, PROVISIONED_STARTS_AT_ONCE,
    },
    provisioned::{self, Group},
    record::{self, PROVISIONED},
    shutdown, start,
    target::FunctionKey,
};

type Place = (FunctionKey, u64);

/// A version that failed: when it is tried again, and how long it waits after the next failure.
struct Pause {
    until: Instant,
    next: Duration,
}

/// Keeps what is configured, for ever.
pub(crate) async fn run(lambda: Arc<Lambda>) {
    let mut configured = lambda.store.watch(PROVISIONED.name());
    let mut versions = lambda.store.watch(record::VERSIONS.name());
    let mut aliases = lambda.store.watch(record::ALIASES.name());
    let mut running: JoinSet<(Place, bool)> = JoinSet::new();
    let mut pauses: HashMap<Place, Pause> = HashMap::new();
    loop {
        match wanted(&lambda) {
            Ok(wanted) => {
                pauses.retain(|place, _| wanted.contains_key(place));
                end_unwanted(&lambda, &wanted);
                for (place, group) in wanted {
                    end_surplus(&lambda, &group);
                    if pauses.get(&place).is_none_or(|pause| pause.until <= Instant::now()) {
                        begin_missing(&lambda, &place, &group, &mut running);
                    }
                }
            }
            Err(error) => {
                tracing::error!(
                    error = error.chain(),
                    "provisioned environments are not looked after"
                );
            }
        }
        let retry =
            pauses.values().map(|pause| pause.until).filter(|at| *at > Instant::now()).min();
        let retry = async {
            match retry {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = configured.changed() => {}
            () = versions.changed() => {}
            () = aliases.changed() => {}
            () = lambda.provisioned.changed() => {}
            () = retry => {}
            Some(Ok((place, failed))) = running.join_next() => note(&mut pauses, place, failed),
        }
    }
}

fn note(pauses: &mut HashMap<Place, Pause>, place: Place, failed: bool) {
    if !failed {
        pauses.remove(&place);
        return;
    }
    let now = Instant::now();
    let pause = pauses.entry(place).or_insert(Pause { until: now, next: PROVISIONED_RETRY });
    // What failed together counts once.
    if pause.until <= now {
        pause.until = now + pause.next;
        pause.next = (pause.next * 2).min(PROVISIONED_RETRY_MAX);
    }
}

/// The groups of all versions that are configured and runnable.
fn wanted(lambda: &Lambda) -> Result<HashMap<Place, Arc<Group>>, Error> {
    let versions = lambda.store.read(|tx| {
        let mut versions = Vec::new();
        for (place, record) in PROVISIONED.scan(tx, &Key::empty(), None, usize::MAX)? {
            let Some((key, qualifier)) = record::provisioned_from_key(&place) else { continue };
            let shares = provisioned::shares(tx, &key, &qualifier, record)?;
            versions.extend(shares.into_iter().map(|(number, _)| (key.clone(), number)));
        }
        Ok::<_, Error>(versions)
    })?;
    let mut wanted = HashMap::new();
    for (key, number) in versions {
        if let Some(version) = lambda.snapshots.runnable(&lambda.store, &key, number)?
            && let Some(group) = &version.group
        {
            wanted.insert((key, number), Arc::clone(group));
        }
    }
    Ok(wanted)
}

/// Ends the idle environments of groups that nobody wants; busy ones end after their call.
fn end_unwanted(lambda: &Lambda, wanted: &HashMap<Place, Arc<Group>>) {
    let gone = lambda.provisioned.retain(|key, number| wanted.contains_key(&(key.clone(), number)));
    for group in gone {
        let over = lambda.pool.remove(|instance| {
            instance.seat.as_ref().is_some_and(|seat| std::ptr::eq(seat.group(), &*group))
        });
        shutdown::retire_all(lambda, over);
    }
}

/// Ends idle environments of a group that has too many; busy ones end after their call.
fn end_surplus(lambda: &Lambda, group: &Arc<Group>) {
    for _ in 0..group.surplus() {
        let Some(instance) = lambda.pool.take(group.version().deployment) else { return };
        shutdown::retire(lambda, instance);
    }
}

fn begin_missing(
    lambda: &Arc<Lambda>,
    place: &Place,
    group: &Arc<Group>,
    running: &mut JoinSet<(Place, bool)>,
) {
    if lambda.flights.is_draining() {
        return;
    }
    let missing = group.missing().min(PROVISIONED_STARTS_AT_ONCE.saturating_sub(group.starting()));
    for _ in 0..missing {
        let (lambda, group, place) = (Arc::clone(lambda), Arc::clone(group), place.clone());
        let seat = group.seat();
        running.spawn(async move {
            let made = make(&lambda, &group, seat).await;
            if let Err(error) = &made {
                tracing::warn!(function = %place.0, version = place.1, error = error.chain(),
                    "a provisioned environment could not be made");
            }
            let failed = !matches!(made, Ok(true));
            group.ended(failed);
            (place, failed)
        });
    }
}

/// Makes one environment; whether its initialisation went well.
async fn make(
    lambda: &Arc<Lambda>,
    group: &Arc<Group>,
    mut seat: crate::provisioned::Seat,
) -> Result<bool, Error> {
    let version = group.version();
    let slot = lambda.governor.slot(version.deployment).await;
    let timeout = Duration::from_secs(version.configuration.timeout_s.into());
    let limit = PROVISIONED_INIT.max(timeout);
    let Some(mut instance) = start::before_calls(lambda, version, slot, limit).await? else {
        return Ok(false);
    };
    // INIT_REPORT said it; no call's report does.
    instance.init = None;
    seat.ready();
    if lambda.flights.is_draining() || !group.wants_back() {
        return Ok(true);
    }
    instance.seat = Some(seat);
    lambda.pool.give(instance);
    Ok(true)
}
