//! Functions: create, read, list, delete, and the transitions of their state.
//!
//! Each is one transaction over the function's record and the indexes beside it.

use std::sync::Arc;

use gatemill_api::lambda as api;
use gatemill_store::{Key, Reader, Write};
use gatemill_wire::{Cx, Operation as _, Qualifier, pagination};

use super::{
    alias, code, code_signing, concurrency, configuration, event_invoke_config, image, layer,
    reference, runtime_management, s3_code, tag, unbuilt, unenforced, url, version,
    view::{self, Named},
};
use crate::{
    Error, FunctionTarget, Lambda,
    durable::drain,
    invoke::resolve::Snapshots,
    limits::{CODE_STORAGE_BYTES_MAX, FUNCTION_NAME_CHARS_MAX, PAGE_MAX},
    load::Loads,
    record::{
        self, CODE_USES, Configuration, DRAINING, FUNCTIONS, FunctionRecord, Lifecycle, Mark,
        POLICIES, USAGE, UsageRecord, WORK,
    },
    target::FunctionKey,
    url::Urls,
};

/// `CreateFunction`: 201 with state Pending; a worker makes it Active.
pub(crate) async fn create(
    lambda: &Lambda,
    cx: &Cx,
    request: api::CreateFunctionRequest,
) -> Result<api::FunctionConfiguration, Error> {
    let info = api::CreateFunction::INFO;
    let target = reference::resolve(cx, info, &request.function_name, None)?;
    check_name(&target)?;
    let key = target.key().to_owned();
    unbuilt::create(lambda, &request)?;
    let tags = request.tags.clone().unwrap_or_default();
    tag::check(&tags)?;
    let deployment = cx.uuid().to_string();
    let signing_config =
        code_signing::of_create(lambda, cx, request.code_signing_config_arn.as_deref())?;
    let configuration = if image::is_wanted(&request) {
        image::check_create(lambda, &request)?;
        check_new(lambda, &key)?;
        let uri = request.code.image_uri.as_deref();
        let (package, image) = image::find(lambda, uri, request.image_config.as_ref()).await?;
        configuration::of_request(lambda, &key, &request, package, Some(image), None, deployment)?
    } else {
        image::check_zip(&request)?;
        let taken = code::of_create(lambda, cx, &request.code).await?;
        let (zip, package) = (&taken.zip, taken.package);
        let signing = code_signing::judge(lambda, &key, signing_config.as_ref(), zip).await?;
        let mut configuration =
            configuration::of_request(lambda, &key, &request, package, None, signing, deployment)?;
        configuration.s3_object.clone_from(&taken.s3_object);
        configuration.layers = layer::of_function(lambda, cx, request.layers.as_deref())?;
        layer::check_size(&configuration)?;
        let layers = &configuration.layers;
        code_signing::judge_layers(lambda, &key, signing_config.as_ref(), layers).await?;
        check_new(lambda, &key)?;
        code::keep(lambda, taken).await?;
        configuration
    };
    let record = FunctionRecord {
        configuration,
        lifecycle: Lifecycle::Creating,
        revision_id: cx.uuid().to_string(),
        last_modified_ms: cx.now.millis(),
        tags,
        draining: false,
    };
    let publish = (request.publish == Some(true)).then(|| version::Ids::new(cx));
    let created = record.clone();
    let (owner, snapshots) = (key.clone(), Arc::clone(&lambda.snapshots));
    let published = lambda
        .store
        .write(move |tx| {
            if FUNCTIONS.contains(tx, &owner.record())? {
                return Err(Error::FunctionExists(owner.name.clone()));
            }
            FUNCTIONS.put(tx, &owner.record(), &created)?;
            if let Some((config, _)) = &signing_config {
                code_signing::attach(tx, &owner, config)?;
            }
            WORK.put(tx, &owner.record(), &Mark {})?;
            use_code(tx, &owner, &created.configuration)?;
            count(tx, &owner, 1, size(&created.configuration), 0)?;
            let published = publish_with(tx, &owner, &created, publish.as_ref())?;
            forget_on_commit(tx, &snapshots, &owner);
            Ok(published)
        })
        .await?;
    // With the number of the version, but with the ARN of the function.
    let version = published.map(|published| published.number);
    Ok(view::configuration(lambda, &key, &record, Named { version, qualifier: None }))
}

/// Whether there is no such function, before what takes a while.
fn check_new(lambda: &Lambda, key: &FunctionKey) -> Result<(), Error> {
    if lambda.store.read(|tx| Ok::<_, Error>(FUNCTIONS.contains(tx, &key.record())?))? {
        return Err(Error::FunctionExists(key.name.clone()));
    }
    Ok(())
}

/// Publishes what a function has just become, where the request said so; a worker settles both.
fn publish_with(
    tx: &mut Write,
    key: &FunctionKey,
    record: &FunctionRecord,
    publish: Option<&version::Ids>,
) -> Result<Option<version::Published>, Error> {
    let Some(ids) = publish else { return Ok(None) };
    let (configuration, modified) = (&record.configuration, record.last_modified_ms);
    version::add(tx, key, configuration, modified, None, Lifecycle::Creating, ids).map(Some)
}

/// `GetFunction`.
pub(crate) async fn get(
    lambda: &Lambda,
    cx: &Cx,
    request: api::GetFunctionRequest,
) -> Result<api::GetFunctionResponse, Error> {
    let named = (request.function_name.as_str(), request.qualifier.as_deref());
    let target = reference::resolve(cx, api::GetFunction::INFO, named.0, named.1)?;
    let (key, qualifier) = (target.key().to_owned(), target.qualifier);
    let version::Found { record, number } = version::find(lambda, &key, qualifier.as_ref())?;
    let named = Named { version: number, qualifier: qualifier.as_ref() };
    let reserved = lambda.store.read(|tx| concurrency::reserved_of(tx, &key))?;
    let source_kms_key_arn = unenforced::shown_source_key(record.configuration.unenforced.as_ref());
    let code = match &record.configuration.image {
        Some(image) => image::location(image),
        None => api::FunctionCodeLocation {
            repository_type: Some("S3".to_owned()),
            location: Some(code::location(lambda, cx, &key, &record.configuration.package)),
            source_kms_key_arn,
            resolved_s3_object: record.configuration.s3_object.clone().map(s3_code::shown),
            ..Default::default()
        },
    };
    Ok(api::GetFunctionResponse {
        configuration: Some(view::configuration(lambda, &key, &record, named)),
        code: Some(code),
        concurrency: reserved
            .map(|reserved| api::Concurrency { reserved_concurrent_executions: Some(reserved) }),
        tags: Some(record.tags).filter(|tags| !tags.is_empty()),
        ..Default::default()
    })
}

/// `GetFunctionConfiguration`.
pub(crate) async fn get_configuration(
    lambda: &Lambda,
    cx: &Cx,
    request: api::GetFunctionConfigurationRequest,
) -> Result<api::FunctionConfiguration, Error> {
    let info = api::GetFunctionConfiguration::INFO;
    let named = (request.function_name.as_str(), request.qualifier.as_deref());
    let target = reference::resolve(cx, info, named.0, named.1)?;
    let (key, qualifier) = (target.key().to_owned(), target.qualifier);
    let version::Found { record, number } = version::find(lambda, &key, qualifier.as_ref())?;
    let named = Named { version: number, qualifier: qualifier.as_ref() };
    Ok(view::configuration(lambda, &key, &record, named))
}

/// `ListFunctions`: in order of names, at most 50 a page; with `FunctionVersion=ALL` every version of each.
pub(crate) async fn list(
    lambda: &Lambda,
    cx: &Cx,
    request: api::ListFunctionsRequest,
) -> Result<api::ListFunctionsResponse, Error> {
    if request.master_region.is_some() {
        // Only replicas at the edge have a master in another region, and there are none here.
        return match request.function_version {
            Some(_) => {
                Ok(api::ListFunctionsResponse { next_marker: None, functions: Some(Vec::new()) })
            }
            // AWS wants it so; the text is ours.
            None => Err(Error::InvalidParameter(
                "FunctionVersion must be ALL where MasterRegion is given.".to_owned(),
            )),
        };
    }
    let all = Key::new([cx.account(), &cx.region]);
    let limit = page_size(request.max_items);
    let marker = request.marker.as_deref();
    let (functions, next_marker) = if request.function_version.is_some() {
        let after = marker.map(Place::of_marker).transpose()?;
        let found = lambda.store.read(|tx| all_versions(tx, &all, after, limit + 1))?;
        let place = |(key, found): &(FunctionKey, version::Found)| Place::bytes(key, found.number);
        let (page, next) = pagination::page(found, limit, place);
        (page.iter().map(|(key, found)| version::listed(lambda, key, found)).collect(), next)
    } else {
        let after = marker.map(Place::of_marker).transpose()?;
        let after = after.map(|place| all.clone().and(place.name));
        let found = lambda
            .store
            .read(|tx| Ok::<_, Error>(FUNCTIONS.scan(tx, &all, after.as_ref(), limit + 1)?))?;
        let functions = found.into_iter().filter_map(|(key, record)| {
            FunctionKey::from_record(&key).map(|function| (function, record))
        });
        let place = |(key, _): &(FunctionKey, FunctionRecord)| Place::bytes(key, None);
        let (page, next) = pagination::page(functions.collect(), limit, place);
        let views =
            page.iter().map(|(key, record)| view::listed(lambda, key, record, Named::default()));
        (views.collect(), next)
    };
    Ok(api::ListFunctionsResponse { next_marker, functions: Some(functions) })
}

/// Where a page of functions ended: 8 bytes of a version's number (0 is `$LATEST`), then the function's name.
struct Place {
    name: String,
    number: u64,
}

impl Place {
    fn bytes(key: &FunctionKey, number: Option<u64>) -> Vec<u8> {
        [&number.unwrap_or(0).to_be_bytes(), key.name.as_bytes()].concat()
    }

    fn of_marker(marker: &str) -> Result<Self, Error> {
        let bytes = pagination::key(marker).ok_or_else(bad_marker)?;
        let (number, name) = bytes.split_first_chunk().ok_or_else(bad_marker)?;
        let name = String::from_utf8(name.to_vec()).map_err(|_| bad_marker())?;
        Ok(Self { name, number: u64::from_be_bytes(*number) })
    }
}

/// At most `limit` versions of all functions below a prefix, strictly after a place.
fn all_versions(
    tx: &impl Reader,
    all: &Key,
    after: Option<Place>,
    limit: usize,
) -> Result<Vec<(FunctionKey, version::Found)>, Error> {
    let mut found = Vec::new();
    let mut last = None;
    if let Some(place) = after {
        let record = all.clone().and(place.name);
        if let (Some(key), Some(latest)) =
            (FunctionKey::from_record(&record), FUNCTIONS.get(tx, &record)?)
        {
            let more = version::versions_of(tx, &key, latest, Some(place.number), limit)?;
            found.extend(more.into_iter().map(|one| (key.clone(), one)));
        }
        last = Some(record);
    }
    // Every function has one version at least, so `limit` functions are always enough.
    for (record, latest) in FUNCTIONS.scan(tx, all, last.as_ref(), limit)? {
        let Some(key) = FunctionKey::from_record(&record) else { continue };
        let rest = limit.saturating_sub(found.len());
        if rest == 0 {
            break;
        }
        let more = version::versions_of(tx, &key, latest, None, rest)?;
        found.extend(more.into_iter().map(|one| (key.clone(), one)));
    }
    Ok(found)
}

/// The version number in the marker of a page of versions.
pub(crate) fn number_of_marker(marker: &str) -> Result<u64, Error> {
    let number = pagination::key(marker).and_then(|bytes| bytes.try_into().ok());
    number.map(u64::from_be_bytes).ok_or_else(bad_marker)
}

/// The text in the marker of a page of what is named.
pub(crate) fn text_of_marker(marker: &str) -> Result<String, Error> {
    let text = pagination::key(marker).and_then(|text| String::from_utf8(text).ok());
    text.ok_or_else(bad_marker)
}

pub(crate) fn bad_marker() -> Error {
    Error::InvalidParameter("The pagination token is not valid.".to_owned())
}

/// How many entries a page has for the `MaxItems` of its request.
pub(crate) fn page_size(max_items: Option<i32>) -> usize {
    max_items.and_then(|n| usize::try_from(n).ok()).unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX)
}

/// `DeleteFunction`: the function, its policies and its URL; its log groups stay. Its environments end after their running
/// call. One with durable executions under way is deleted when the last of them is over ([`crate::durable::drain`]): 202.
pub(crate) async fn delete(
    lambda: &Lambda,
    cx: &Cx,
    request: api::DeleteFunctionRequest,
) -> Result<api::DeleteFunctionResponse, Error> {
    let info = api::DeleteFunction::INFO;
    let named = (request.function_name.as_str(), request.qualifier.as_deref());
    let target = reference::resolve(cx, info, named.0, named.1)?;
    let key = target.key().to_owned();
    let refused = |text: &str| Err(Error::InvalidParameter(text.to_owned()));
    let number = match target.qualifier {
        None => None,
        Some(Qualifier::Version(number)) => Some(number),
        Some(Qualifier::Latest) => {
            return refused("$LATEST version cannot be deleted without deleting the function.");
        }
        Some(Qualifier::Alias(_)) => {
            return refused("Deletion of aliases is not currently supported.");
        }
    };
    let (revision, caches) = (cx.uuid().to_string(), Caches::of(lambda));
    let drains = lambda
        .store
        .write(move |tx| {
            if let Some(number) = number {
                alias::check_unused(tx, &key, number)?;
            }
            if drain::begin(tx, &key, number, &revision)? {
                forget_on_commit(tx, &caches.snapshots, &key);
                return Ok(true);
            }
            let removed = match number {
                None => remove(tx, &key, &caches)?,
                Some(number) => remove_version(tx, &key, number, &caches)?,
            };
            let arn = || key.arn(number.map(Qualifier::Version).as_ref());
            if removed { Ok(false) } else { Err(Error::FunctionNotFound(arn())) }
        })
        .await?;
    Ok(api::DeleteFunctionResponse { status_code: Some(if drains { 202 } else { 204 }) })
}

/// What in memory knows of functions, and forgets one when it is removed.
#[derive(Debug, Clone)]
pub(crate) struct Caches {
    snapshots: Arc<Snapshots>,
    loads: Arc<Loads>,
    urls: Arc<Urls>,
}

impl Caches {
    pub(crate) fn of(lambda: &Lambda) -> Self {
        Self {
            snapshots: Arc::clone(&lambda.snapshots),
            loads: Arc::clone(&lambda.loads),
            urls: Arc::clone(&lambda.urls),
        }
    }
}

/// Removes a function with all that belongs to it; `false` when there is none.
pub(crate) fn remove(tx: &mut Write, key: &FunctionKey, caches: &Caches) -> Result<bool, Error> {
    let Some(record) = FUNCTIONS.get(tx, &key.record())? else { return Ok(false) };
    alias::remove_all(tx, key)?;
    version::remove_all(tx, key)?;
    concurrency::remove_reserved(tx, key)?;
    concurrency::tell_on_commit(tx, &caches.loads, key)?;
    url::remove_all(tx, &caches.urls, key)?;
    code_signing::detach(tx, key)?;
    runtime_management::remove(tx, key, None)?;
    event_invoke_config::remove_all(tx, key)?;
    FUNCTIONS.delete(tx, &key.record())?;
    WORK.delete(tx, &key.record())?;
    DRAINING.delete(tx, &key.record())?;
    for (policy, _) in POLICIES.scan(tx, &key.record(), None, usize::MAX)? {
        POLICIES.delete(tx, &policy)?;
    }
    let serving = record.serving().into_iter().flat_map(Configuration::code_digests);
    for digest in record.configuration.code_digests().chain(serving) {
        CODE_USES.delete(tx, &record::code_use_key(&digest, key))?;
    }
    count(tx, key, -1, 0, size(&record.configuration))?;
    forget_on_commit(tx, &caches.snapshots, key);
    Ok(true)
}

/// Removes one published version and its policy; `false` when there is none.
pub(crate) fn remove_version(
    tx: &mut Write,
    key: &FunctionKey,
    number: u64,
    caches: &Caches,
) -> Result<bool, Error> {
    let removed = version::remove(tx, key, number)?;
    concurrency::tell_on_commit(tx, &caches.loads, key)?;
    forget_on_commit(tx, &caches.snapshots, key);
    Ok(removed)
}

/// Refuses what is asked of a function that does not exist.
pub(crate) fn check_exists(tx: &impl Reader, key: &FunctionKey) -> Result<(), Error> {
    match FUNCTIONS.contains(tx, &key.record())? {
        true => Ok(()),
        false => Err(Error::FunctionNotFound(key.arn(None))),
    }
}

/// The record of a function that has to exist.
pub(crate) fn existing(lambda: &Lambda, key: &FunctionKey) -> Result<FunctionRecord, Error> {
    let record = lambda.store.read(|tx| Ok::<_, Error>(FUNCTIONS.get(tx, &key.record())?))?;
    record.ok_or_else(|| Error::FunctionNotFound(key.arn(None)))
}

/// Begins an update: the function goes on with what it was until a worker settles it. With `publish`, what it becomes is
/// published, too.
pub(crate) async fn update(
    lambda: &Lambda,
    cx: &Cx,
    key: &FunctionKey,
    revision_id: Option<String>,
    publish: Option<version::Ids>,
    change: impl Fn(&Configuration) -> Result<Configuration, Error> + Send + 'static,
) -> Result<(FunctionRecord, Option<version::Published>), Error> {
    let (deployment, revision) = (cx.uuid().to_string(), cx.uuid().to_string());
    let (now, renewal) = (cx.now, runtime_management::Renewal::new(lambda));
    let (key, snapshots) = (key.clone(), Arc::clone(&lambda.snapshots));
    lambda
        .store
        .write(move |tx| {
            let Some(old) = FUNCTIONS.get(tx, &key.record())? else {
                return Err(Error::FunctionNotFound(key.arn(None)));
            };
            check_updatable(&key, &old, revision_id.as_deref())?;
            let mut new = change(&old.configuration)?;
            new.deployment.clone_from(&deployment);
            use_code(tx, &key, &new)?;
            renewal.renew(tx, &key, &new.runtime)?;
            count(tx, &key, 0, size(&new), size(&old.configuration))?;
            let record = FunctionRecord {
                lifecycle: Lifecycle::Updating { serving: Box::new(old.configuration) },
                configuration: new,
                revision_id: revision.clone(),
                last_modified_ms: now.millis(),
                tags: old.tags,
                draining: false,
            };
            FUNCTIONS.put(tx, &key.record(), &record)?;
            WORK.put(tx, &key.record(), &Mark {})?;
            let published = publish_with(tx, &key, &record, publish.as_ref())?;
            forget_on_commit(tx, &snapshots, &key);
            Ok((record, published))
        })
        .await
}

/// Whether an update may begin now.
pub(crate) fn check_updatable(
    key: &FunctionKey,
    record: &FunctionRecord,
    revision_id: Option<&str>,
) -> Result<(), Error> {
    if record.draining {
        return Err(state("Deleting"));
    }
    match &record.lifecycle {
        Lifecycle::Creating => return Err(state("Pending")),
        Lifecycle::CreateFailed { .. } => return Err(state("Failed")),
        Lifecycle::Updating { .. } => return Err(being_updated(key)),
        Lifecycle::Active | Lifecycle::UpdateFailed { .. } => {}
    }
    match revision_id {
        Some(given) if given != record.revision_id => {
            Err(Error::Revision { operation: "GetFunction/GetAlias" })
        }
        Some(_) | None => Ok(()),
    }
}

/// What is refused of a function in a state that does not allow it.
pub(crate) fn state(state: &str) -> Error {
    Error::Conflict(format!(
        "The operation cannot be performed at this time. The function is currently in the following state: {state}"
    ))
}

/// What is refused while an update is under way.
pub(crate) fn being_updated(key: &FunctionKey) -> Error {
    Error::Conflict(format!(
        "The operation cannot be performed at this time. An update is in progress for resource: {}",
        key.arn(None)
    ))
}

/// Ends a creation or an update: the worker's transaction. `deployment` is the one that was worked on; another one that
/// came since is left alone.
pub(crate) async fn settle(
    lambda: &Lambda,
    key: &FunctionKey,
    deployment: Option<String>,
    result: Result<(), &Error>,
) -> Result<(), Error> {
    let failed = result.err().map(reason_of_failure);
    let revision = lambda.entropy.uuid().to_string();
    let (key, snapshots) = (key.clone(), Arc::clone(&lambda.snapshots));
    lambda
        .store
        .write(move |tx| {
            let Some(mut record) = FUNCTIONS.get(tx, &key.record())? else {
                WORK.delete(tx, &key.record())?;
                return Ok(());
            };
            if deployment.as_ref().is_some_and(|worked| *worked != record.configuration.deployment)
            {
                return Ok(());
            }
            WORK.delete(tx, &key.record())?;
            let after = match (&failed, record.lifecycle.clone()) {
                (None, Lifecycle::Creating) => Lifecycle::Active,
                (None, Lifecycle::Updating { serving }) => {
                    leave_code(tx, &key, &serving, &record.configuration)?;
                    Lifecycle::Active
                }
                (Some((reason, code)), Lifecycle::Creating) => Lifecycle::CreateFailed {
                    reason: reason.clone(),
                    code: code.map(str::to_owned),
                },
                (Some((reason, code)), Lifecycle::Updating { serving }) => {
                    leave_code(tx, &key, &record.configuration, &serving)?;
                    count(tx, &key, 0, size(&serving), size(&record.configuration))?;
                    record.configuration = *serving;
                    Lifecycle::UpdateFailed {
                        reason: reason.clone(),
                        code: code.map(str::to_owned),
                    }
                }
                (_, settled) => settled,
            };
            if after != record.lifecycle {
                record.revision_id.clone_from(&revision);
                record.lifecycle = after;
                FUNCTIONS.put(tx, &key.record(), &record)?;
                forget_on_commit(tx, &snapshots, &key);
            }
            Ok(())
        })
        .await
}

/// What a client reads of a deployment that failed.
pub(crate) fn reason_of_failure(error: &Error) -> (String, Option<&'static str>) {
    match error {
        Error::InitFailed(why) => (why.clone(), None),
        Error::Unpack(_) => ("The deployment package could not be unpacked.".to_owned(), None),
        Error::CodeDeleted(why) | Error::CodeFailed(why) => {
            (why.clone(), Some("InvalidConfiguration"))
        }
        Error::Image(error) => image::failure(error),
        _ => ("An internal error occurred.".to_owned(), None),
    }
}

pub(crate) fn forget_on_commit(
    tx: &mut Write,
    snapshots: &Arc<crate::invoke::resolve::Snapshots>,
    key: &FunctionKey,
) {
    let (snapshots, key) = (Arc::clone(snapshots), key.clone());
    tx.on_commit(move || snapshots.forget(&key));
}

fn size(configuration: &Configuration) -> u64 {
    configuration.stored_bytes()
}

/// Marks all that a configuration runs from as used.
fn use_code(tx: &mut Write, key: &FunctionKey, configuration: &Configuration) -> Result<(), Error> {
    layer::check_there(tx, &configuration.layers)?;
    for digest in configuration.code_digests() {
        CODE_USES.put(tx, &record::code_use_key(&digest, key), &Mark {})?;
    }
    Ok(())
}

/// Takes back the marks of one configuration that the other one does not have as well.
fn leave_code(
    tx: &mut Write,
    key: &FunctionKey,
    left: &Configuration,
    kept: &Configuration,
) -> Result<(), Error> {
    let kept: Vec<_> = kept.code_digests().collect();
    for digest in left.code_digests().filter(|digest| !kept.contains(digest)) {
        CODE_USES.delete(tx, &record::code_use_key(&digest, key))?;
    }
    Ok(())
}

/// Changes what the account has, and refuses more code than it may have.
pub(crate) fn count(
    tx: &mut Write,
    key: &FunctionKey,
    functions: i64,
    code_added: u64,
    code_removed: u64,
) -> Result<(), Error> {
    let place = record::usage_key(&key.account, &key.region);
    let old = USAGE.get(tx, &place)?.unwrap_or_default();
    let new = UsageRecord {
        functions: old.functions.saturating_add_signed(functions),
        allotted: old.allotted,
        code_bytes: (old.code_bytes + code_added).saturating_sub(code_removed),
    };
    if new.code_bytes > CODE_STORAGE_BYTES_MAX && new.code_bytes > old.code_bytes {
        return Err(Error::CodeStorage);
    }
    Ok(USAGE.put(tx, &place, &new)?)
}

/// Refuses a name that no function may have. The text about qualifiers is ours: AWS's is not recorded.
fn check_name(target: &FunctionTarget) -> Result<(), Error> {
    let name = &target.name;
    if matches!(target.qualifier, Some(Qualifier::Version(_) | Qualifier::Alias(_))) {
        return Err(Error::InvalidParameter(format!(
            "A function cannot be created with a version or an alias in its name: {name} has none yet."
        )));
    }
    if name.chars().count() > FUNCTION_NAME_CHARS_MAX {
        return Err(Error::InvalidParameter(format!(
            "1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: Member must \
             have length less than or equal to {FUNCTION_NAME_CHARS_MAX}"
        )));
    }
    Ok(())
}
