//! Functions and versions that were deleted while executions of theirs ran: they take no new ones, and go when the last one
//! is over, as AWS drains them.
//!
//! What runs is an index ([`RUNNING`]) that changes with the executions; what is to go is marked ([`DRAINING`]). A worker
//! looks at the marks whenever either changes.

use std::sync::Arc;

use gatemill_store::{Key, Reader, Write};
use gatemill_wire::Qualifier;

use super::{arn, record::RUNNING};
use crate::{
    Error, Lambda,
    control::function::{self, Caches},
    record::{DRAINING, FUNCTIONS, Mark, VERSIONS, version_key},
    target::FunctionKey,
    worker::RETRY,
};

/// How many marks are read at one time.
const MARKS_AT_ONCE: usize = 100;

/// The key of a mark: of a function, or of a version of it.
fn place(key: &FunctionKey, number: Option<u64>) -> Key {
    number.map_or_else(|| key.record(), |number| version_key(key, number))
}

/// Whether executions of a function, or of one version of it, are under way.
fn runs(tx: &impl Reader, key: &FunctionKey, number: Option<u64>) -> Result<bool, Error> {
    let record = key.record();
    let prefix = number.map_or(record.clone(), |number| record.and(number.to_string()));
    Ok(!RUNNING.scan(tx, &prefix, None, 1)?.is_empty())
}

/// Marks what is to be deleted and has executions under way; `false` where nothing is in the way of deleting it now.
pub(crate) fn begin(
    tx: &mut Write,
    key: &FunctionKey,
    number: Option<u64>,
    revision: &str,
) -> Result<bool, Error> {
    if !runs(tx, key, number)? {
        return Ok(false);
    }
    let at = place(key, number);
    match number {
        None => {
            let Some(mut record) = FUNCTIONS.get(tx, &at)? else { return Ok(false) };
            record.draining = true;
            revision.clone_into(&mut record.revision_id);
            FUNCTIONS.put(tx, &at, &record)?;
        }
        Some(_) => {
            let Some(mut record) = VERSIONS.get(tx, &at)? else { return Ok(false) };
            record.draining = true;
            revision.clone_into(&mut record.revision_id);
            VERSIONS.put(tx, &at, &record)?;
        }
    }
    DRAINING.put(tx, &at, &Mark {})?;
    Ok(true)
}

/// Refuses a new execution of what is gone, or about to go.
pub(super) fn check(tx: &impl Reader, key: &FunctionKey, version: &str) -> Result<(), Error> {
    let qualifier = arn::qualifier(version);
    let missing = || Error::FunctionNotFound(key.arn(Some(&qualifier)));
    let function = FUNCTIONS.get(tx, &key.record())?.ok_or_else(missing)?;
    let draining = match &qualifier {
        Qualifier::Version(number) => {
            let version = VERSIONS.get(tx, &version_key(key, *number))?.ok_or_else(missing)?;
            function.draining || version.draining
        }
        Qualifier::Latest | Qualifier::Alias(_) => function.draining,
    };
    if draining { Err(function::state("Deleting")) } else { Ok(()) }
}

/// Removes what is drained, for ever.
pub(crate) async fn run(lambda: Arc<Lambda>) {
    let mut marks = lambda.store.watch(DRAINING.name());
    let mut running = lambda.store.watch(RUNNING.name());
    loop {
        if let Err(error) = remove_drained(&lambda).await {
            tracing::error!(error = error.chain(), "functions that were deleted stay");
            tokio::time::sleep(RETRY).await;
            continue;
        }
        tokio::select! {
            () = marks.changed() => {}
            () = running.changed() => {}
        }
    }
}

/// Looks at every mark once, and removes what has no execution any more.
async fn remove_drained(lambda: &Lambda) -> Result<(), Error> {
    let mut after = None;
    loop {
        let marks = lambda.store.read(|tx| {
            let marks = DRAINING.scan(tx, &Key::empty(), after.as_ref(), MARKS_AT_ONCE)?;
            let mut drained = Vec::new();
            for (mark, _) in &marks {
                let Some(key) = FunctionKey::from_record(mark) else { continue };
                let number = mark.number(3);
                if !runs(tx, &key, number)? {
                    drained.push((key, number));
                }
            }
            Ok::<_, Error>((drained, marks.into_iter().next_back().map(|(mark, _)| mark)))
        })?;
        for (key, number) in marks.0 {
            let caches = Caches::of(lambda);
            lambda
                .store
                .write(move |tx| {
                    // It may have been removed meanwhile, and another one of its name created.
                    if runs(tx, &key, number)? || !DRAINING.delete(tx, &place(&key, number))? {
                        return Ok(());
                    }
                    match number {
                        None => function::remove(tx, &key, &caches)?,
                        Some(number) => function::remove_version(tx, &key, number, &caches)?,
                    };
                    Ok::<_, Error>(())
                })
                .await?;
        }
        match marks.1 {
            Some(last) => after = Some(last),
            None => return Ok(()),
        }
    }
}
