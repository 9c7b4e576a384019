//! Published versions: `PublishVersion`, `ListVersionsByFunction`, and what other operations do to versions.
//!
//! A version is a copy of `$LATEST` that never changes. Numbers come from a record that outlives the function, so that
//! none is ever given twice.

use std::sync::Arc;

use gatemill_api::lambda as api;
use gatemill_store::{Reader, Write};
use gatemill_wire::{Cx, Operation as _, Qualifier, pagination};

use super::{
    concurrency, function, gaps, reference, runtime_management,
    view::{self, Named},
};
use crate::{
    Error, Lambda,
    record::{
        self, ALIASES, CODE_USES, Configuration, DRAINING, FUNCTIONS, FunctionRecord, Lifecycle,
        Mark, NumberRecord, POLICIES, VERSION_NUMBERS, VERSION_WORK, VERSIONS, VersionRecord,
        version_key,
    },
    target::FunctionKey,
};

/// The ids that a new version needs, drawn before the transaction.
#[derive(Debug, Clone)]
pub(crate) struct Ids {
    deployment: String,
    revision: String,
}

impl Ids {
    pub(crate) fn new(cx: &Cx) -> Self {
        Self { deployment: cx.uuid().to_string(), revision: cx.uuid().to_string() }
    }
}

/// A version that was published, or was there already.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) number: u64,
    pub(crate) record: VersionRecord,
    /// Whether it is new.
    pub(crate) new: bool,
}

/// `PublishVersion`.
pub(crate) async fn publish(
    lambda: &Lambda,
    cx: &Cx,
    request: api::PublishVersionRequest,
) -> Result<api::FunctionConfiguration, Error> {
    let info = api::PublishVersion::INFO;
    let (key, _) = reference::latest(cx, info, &request.function_name, None)?;
    gaps::refuse(&gaps::PUBLISH_TO, request.publish_to.is_some())?;
    let (ids, revision) = (Ids::new(cx), cx.uuid().to_string());
    let (owner, snapshots) = (key.clone(), Arc::clone(&lambda.snapshots));
    let published = lambda
        .store
        .write(move |tx| {
            let Some(mut latest) = FUNCTIONS.get(tx, &owner.record())? else {
                return Err(Error::FunctionNotFound(owner.arn(None)));
            };
            function::check_updatable(&owner, &latest, request.revision_id.as_deref())?;
            check_code(&latest.configuration, request.code_sha256.as_deref())?;
            let description = request.description.clone();
            // Its code is ready, as the function's is; a snapshot is not.
            let snap_start = latest.configuration.snap_start;
            let lifecycle = if snap_start { Lifecycle::Creating } else { Lifecycle::Active };
            let published = add(
                tx,
                &owner,
                &latest.configuration,
                latest.last_modified_ms,
                description,
                lifecycle,
                &ids,
            )?;
            if published.new {
                latest.revision_id.clone_from(&revision);
                FUNCTIONS.put(tx, &owner.record(), &latest)?;
                function::forget_on_commit(tx, &snapshots, &owner);
            }
            Ok(published)
        })
        .await?;
    Ok(shown(lambda, &key, published))
}

/// A published version as its own ARN names it.
pub(crate) fn shown(
    lambda: &Lambda,
    key: &FunctionKey,
    published: Published,
) -> api::FunctionConfiguration {
    let qualifier = Qualifier::Version(published.number);
    let named = Named { version: Some(published.number), qualifier: Some(&qualifier) };
    view::configuration(lambda, key, &as_function(published.record), named)
}

/// A version in the form of a function, which answers are made from.
fn as_function(version: VersionRecord) -> FunctionRecord {
    FunctionRecord {
        configuration: version.configuration,
        lifecycle: version.lifecycle,
        revision_id: version.revision_id,
        last_modified_ms: version.last_modified_ms,
        tags: std::collections::BTreeMap::new(),
        draining: version.draining,
    }
}

fn check_code(latest: &Configuration, given: Option<&str>) -> Result<(), Error> {
    let actual = latest.code_sha256();
    match given {
        Some(given) if given != actual => Err(Error::InvalidParameter(format!(
            "CodeSHA256 ({given}) is different from current CodeSHA256 in $LATEST ({actual}). Please try again with \
             the CodeSHA256 in $LATEST."
        ))),
        Some(_) | None => Ok(()),
    }
}

/// Makes the next version out of what `$LATEST` is, or gives the last one where nothing changed since. A version whose
/// `lifecycle` is [`Lifecycle::Creating`] is settled by a worker.
pub(crate) fn add(
    tx: &mut Write,
    key: &FunctionKey,
    latest: &Configuration,
    last_modified_ms: i64,
    description: Option<String>,
    lifecycle: Lifecycle,
    ids: &Ids,
) -> Result<Published, Error> {
    let last = VERSION_NUMBERS.get(tx, &key.record())?.map_or(0, |numbers| numbers.last);
    if let Some(record) = VERSIONS.get(tx, &version_key(key, last))?
        && record.is_still(latest)
    {
        return Ok(Published { number: last, record, new: false });
    }
    let number = last + 1;
    let configuration = Configuration {
        deployment: ids.deployment.clone(),
        description: description.unwrap_or_else(|| latest.description.clone()),
        ..latest.clone()
    };
    let record = VersionRecord {
        configuration,
        lifecycle,
        revision_id: ids.revision.clone(),
        last_modified_ms,
        latest_description: latest.description.clone(),
        draining: false,
    };
    let place = version_key(key, number);
    VERSION_NUMBERS.put(tx, &key.record(), &NumberRecord { last: number })?;
    VERSIONS.put(tx, &place, &record)?;
    if record.lifecycle == Lifecycle::Creating {
        VERSION_WORK.put(tx, &place, &Mark {})?;
    }
    for digest in record.configuration.code_digests() {
        CODE_USES.put(tx, &record::version_code_use_key(&digest, key, number), &Mark {})?;
    }
    function::count(tx, key, 0, record.configuration.stored_bytes(), 0)?;
    Ok(Published { number, record, new: true })
}

/// Removes one version; `false` when there is none.
pub(crate) fn remove(tx: &mut Write, key: &FunctionKey, number: u64) -> Result<bool, Error> {
    let place = version_key(key, number);
    let Some(version) = VERSIONS.get(tx, &place)? else { return Ok(false) };
    concurrency::remove_provisioned(tx, key, &Qualifier::Version(number))?;
    VERSIONS.delete(tx, &place)?;
    VERSION_WORK.delete(tx, &place)?;
    DRAINING.delete(tx, &place)?;
    POLICIES.delete(tx, &record::policy_key(key, &number.to_string()))?;
    runtime_management::remove(tx, key, Some(number))?;
    for digest in version.configuration.code_digests() {
        CODE_USES.delete(tx, &record::version_code_use_key(&digest, key, number))?;
    }
    function::count(tx, key, 0, 0, version.configuration.stored_bytes())?;
    Ok(true)
}

/// Removes all versions.
pub(crate) fn remove_all(tx: &mut Write, key: &FunctionKey) -> Result<(), Error> {
    for (place, _) in VERSIONS.scan(tx, &key.record(), None, usize::MAX)? {
        if let Some((_, number)) = record::version_from_key(&place) {
            remove(tx, key, number)?;
        }
    }
    Ok(())
}

/// What a request names: `$LATEST` or a published version, be it by an alias.
#[derive(Debug)]
pub(crate) struct Found {
    /// With the tags of the function itself.
    pub(crate) record: FunctionRecord,
    /// `None` is `$LATEST`.
    pub(crate) number: Option<u64>,
}

/// Reads what a qualifier names of a function.
pub(crate) fn find(
    lambda: &Lambda,
    key: &FunctionKey,
    qualifier: Option<&Qualifier>,
) -> Result<Found, Error> {
    let found = lambda.store.read(|tx| {
        let Some(function) = FUNCTIONS.get(tx, &key.record())? else { return Ok(None) };
        let number = match qualifier {
            None | Some(Qualifier::Latest) => None,
            Some(Qualifier::Version(number)) => Some(*number),
            Some(Qualifier::Alias(name)) => match ALIASES.get(tx, &record::alias_key(key, name))? {
                Some(alias) => alias.version,
                None => return Ok(None),
            },
        };
        let Some(number) = number else {
            return Ok(Some(Found { record: function, number: None }));
        };
        let version = VERSIONS.get(tx, &version_key(key, number))?;
        Ok::<_, Error>(version.map(|version| Found {
            record: FunctionRecord { tags: function.tags, ..as_function(version) },
            number: Some(number),
        }))
    })?;
    found.ok_or_else(|| Error::FunctionNotFound(key.arn(qualifier)))
}

/// `ListVersionsByFunction`: `$LATEST`, then the numbers upwards.
pub(crate) async fn list(
    lambda: &Lambda,
    cx: &Cx,
    request: api::ListVersionsByFunctionRequest,
) -> Result<api::ListVersionsByFunctionResponse, Error> {
    let info = api::ListVersionsByFunction::INFO;
    let (key, _) = reference::latest(cx, info, &request.function_name, None)?;
    let after = request.marker.as_deref().map(function::number_of_marker).transpose()?;
    let limit = function::page_size(request.max_items);
    let versions = lambda.store.read(|tx| {
        let Some(latest) = FUNCTIONS.get(tx, &key.record())? else {
            return Err(Error::FunctionNotFound(key.arn(None)));
        };
        versions_of(tx, &key, latest, after, limit + 1)
    })?;
    // `$LATEST` stands for 0, before every number.
    let number = |found: &Found| found.number.unwrap_or(0).to_be_bytes().to_vec();
    let (page, next_marker) = pagination::page(versions, limit, number);
    let versions = page.iter().map(|found| listed(lambda, &key, found)).collect();
    Ok(api::ListVersionsByFunctionResponse { next_marker, versions: Some(versions) })
}

/// At most `limit` versions of a function after number `after`; `None` begins with `$LATEST`.
pub(crate) fn versions_of(
    tx: &impl Reader,
    key: &FunctionKey,
    latest: FunctionRecord,
    after: Option<u64>,
    limit: usize,
) -> Result<Vec<Found>, Error> {
    let mut found = Vec::new();
    if after.is_none() {
        found.push(Found { record: latest, number: None });
    }
    let place = after.map(|number| version_key(key, number));
    let rest = limit.saturating_sub(found.len());
    for (place, version) in VERSIONS.scan(tx, &key.record(), place.as_ref(), rest)? {
        let number = record::version_from_key(&place).map(|(_, number)| number);
        found.push(Found { record: as_function(version), number });
    }
    Ok(found)
}

/// An entry of a list, under its qualified ARN.
pub(crate) fn listed(
    lambda: &Lambda,
    key: &FunctionKey,
    found: &Found,
) -> api::FunctionConfiguration {
    let qualifier = found.number.map_or(Qualifier::Latest, Qualifier::Version);
    let named = Named { version: found.number, qualifier: Some(&qualifier) };
    view::listed(lambda, key, &found.record, named)
}

/// Ends the creation of a version: the worker's transaction.
pub(crate) async fn settle(
    lambda: &Lambda,
    key: &FunctionKey,
    number: u64,
    result: Result<(), &Error>,
) -> Result<(), Error> {
    let failed = result.err().map(function::reason_of_failure);
    let revision = lambda.entropy.uuid().to_string();
    let (key, snapshots) = (key.clone(), Arc::clone(&lambda.snapshots));
    lambda
        .store
        .write(move |tx| {
            let place = version_key(&key, number);
            VERSION_WORK.delete(tx, &place)?;
            let Some(mut version) = VERSIONS.get(tx, &place)? else { return Ok(()) };
            version.lifecycle = match &failed {
                None => Lifecycle::Active,
                Some((reason, code)) => Lifecycle::CreateFailed {
                    reason: reason.clone(),
                    code: code.map(str::to_owned),
                },
            };
            version.revision_id.clone_from(&revision);
            VERSIONS.put(tx, &place, &version)?;
            function::forget_on_commit(tx, &snapshots, &key);
            Ok(())
        })
        .await
}
