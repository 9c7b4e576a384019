//! Reserved and provisioned concurrency: their operations.
//!
//! What a function has reserved, or else what its versions have provisioned together, is *allotted*: taken out of what the
//! account has for everybody. [`USAGE`] keeps the sum, and every transaction here that changes a part of it changes the sum,
//! too.

use std::sync::Arc;

use gatemill_api::lambda as api;
use gatemill_store::{Reader, Write};
use gatemill_wire::{Cx, Operation as _, OperationInfo, Qualifier, Timestamp, pagination};

use super::{function, reference};
use crate::{
    Error, Lambda,
    limits::UNRESERVED_MIN,
    load::Loads,
    provisioned::{self, Group},
    record::{
        self, ALIASES, AliasRecord, FUNCTIONS, Lifecycle, PROVISIONED, ProvisionedRecord, RESERVED,
        ReservedRecord, USAGE, VERSIONS, VersionRecord, alias_key, provisioned_key, usage_key,
        version_key,
    },
    target::FunctionKey,
};

/// `PutFunctionConcurrency`.
pub(crate) async fn put(
    lambda: &Lambda,
    cx: &Cx,
    request: api::PutFunctionConcurrencyRequest,
) -> Result<api::Concurrency, Error> {
    let key = unqualified(cx, api::PutFunctionConcurrency::INFO, &request.function_name)?;
    let given = request.reserved_concurrent_executions;
    let executions = u32::try_from(given)
        .map_err(|_| Error::InvalidParameter("ReservedConcurrentExecutions is negative.".into()))?;
    change(lambda, key, move |tx, key, loads| {
        function::check_exists(tx, key)?;
        let provisioned = provisioned_of(tx, key)?;
        if u64::from(executions) < provisioned {
            // Spaces and all, as recorded.
            return Err(Error::Concurrency(format!(
                " ReservedConcurrentExecutions  {executions} should not be lower than function's total provisioned \
                 concurrency [{provisioned}]."
            )));
        }
        let before = loads.unreserved(allotted(tx, key)?);
        let after = reallot(tx, key, |tx| {
            Ok(RESERVED.put(tx, &key.record(), &ReservedRecord { executions })?)
        })?;
        let after = loads.unreserved(after);
        // Nothing that leaves the others what they had is refused, however small the account is.
        if after < UNRESERVED_MIN && after < before || u64::from(executions) > loads.limit() {
            return Err(Error::Concurrency(format!(
                "Specified ReservedConcurrentExecutions for function decreases account's \
                 UnreservedConcurrentExecution below its minimum value of [{UNRESERVED_MIN}]."
            )));
        }
        Ok(())
    })
    .await?;
    Ok(api::Concurrency { reserved_concurrent_executions: Some(given) })
}

/// `GetFunctionConcurrency`: an empty answer where nothing is reserved.
pub(crate) async fn get(
    lambda: &Lambda,
    cx: &Cx,
    request: api::GetFunctionConcurrencyRequest,
) -> Result<api::GetFunctionConcurrencyResponse, Error> {
    let key = unqualified(cx, api::GetFunctionConcurrency::INFO, &request.function_name)?;
    let reserved = lambda.store.read(|tx| {
        function::check_exists(tx, &key)?;
        reserved_of(tx, &key)
    })?;
    Ok(api::GetFunctionConcurrencyResponse { reserved_concurrent_executions: reserved })
}

/// `DeleteFunctionConcurrency`: well, too, where nothing is reserved.
pub(crate) async fn delete(
    lambda: &Lambda,
    cx: &Cx,
    request: api::DeleteFunctionConcurrencyRequest,
) -> Result<(), Error> {
    let key = unqualified(cx, api::DeleteFunctionConcurrency::INFO, &request.function_name)?;
    change(lambda, key, |tx, key, _| {
        function::check_exists(tx, key)?;
        reallot(tx, key, |tx| Ok(RESERVED.delete(tx, &key.record()).map(drop)?))?;
        Ok(())
    })
    .await
}

/// What a function has reserved, as answers say it.
pub(crate) fn reserved_of(tx: &impl Reader, key: &FunctionKey) -> Result<Option<i32>, Error> {
    let reserved = RESERVED.get(tx, &key.record())?;
    Ok(reserved.and_then(|reserved| i32::try_from(reserved.executions).ok()))
}

/// Reserved concurrency belongs to a function, not to a version of it.
fn unqualified(cx: &Cx, operation: &OperationInfo, name: &str) -> Result<FunctionKey, Error> {
    let target = reference::resolve(cx, operation, name, None)?;
    if target.qualifier.is_some() {
        return Err(Error::InvalidParameter(
            "This operation is permitted on Lambda functions only. Aliases and versions do not support this \
             operation. Please specify either a function name or an unqualified function ARN."
                .to_owned(),
        ));
    }
    Ok(target.key().to_owned())
}

/// Runs a transaction over the concurrency of a function, and tells calls what became of it.
async fn change<T: Send + 'static>(
    lambda: &Lambda,
    key: FunctionKey,
    change: impl Fn(&mut Write, &FunctionKey, &Loads) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let (snapshots, loads) = (Arc::clone(&lambda.snapshots), Arc::clone(&lambda.loads));
    lambda
        .store
        .write(move |tx| {
            let changed = change(tx, &key, &loads)?;
            tell_on_commit(tx, &loads, &key)?;
            function::forget_on_commit(tx, &snapshots, &key);
            Ok(changed)
        })
        .await
}

/// Tells the account's load what is allotted now, once that is so.
pub(crate) fn tell_on_commit(
    tx: &mut Write,
    loads: &Arc<Loads>,
    key: &FunctionKey,
) -> Result<(), Error> {
    let allotted = allotted(tx, key)?;
    let (loads, key) = (Arc::clone(loads), key.clone());
    tx.on_commit(move || loads.allotted(&key.account, &key.region, allotted));
    Ok(())
}

/// What is allotted in a function's account and region.
fn allotted(tx: &impl Reader, key: &FunctionKey) -> Result<u64, Error> {
    let usage = USAGE.get(tx, &usage_key(&key.account, &key.region))?;
    Ok(usage.unwrap_or_default().allotted)
}

/// A function's own part of it.
fn part_of(tx: &impl Reader, key: &FunctionKey) -> Result<u64, Error> {
    match RESERVED.get(tx, &key.record())? {
        Some(reserved) => Ok(reserved.executions.into()),
        None => provisioned_of(tx, key),
    }
}

/// What the versions of a function have provisioned together.
fn provisioned_of(tx: &impl Reader, key: &FunctionKey) -> Result<u64, Error> {
    let all = PROVISIONED.scan(tx, &key.record(), None, usize::MAX)?;
    Ok(all.iter().map(|(_, provisioned)| u64::from(provisioned.executions)).sum())
}

/// Changes records of a function and the sum with them; gives the new sum.
fn reallot(
    tx: &mut Write,
    key: &FunctionKey,
    change: impl FnOnce(&mut Write) -> Result<(), Error>,
) -> Result<u64, Error> {
    let before = part_of(tx, key)?;
    change(tx)?;
    let after = part_of(tx, key)?;
    let place = usage_key(&key.account, &key.region);
    let mut usage = USAGE.get(tx, &place)?.unwrap_or_default();
    if before != after {
        usage.allotted = (usage.allotted + after).saturating_sub(before);
        USAGE.put(tx, &place, &usage)?;
    }
    Ok(usage.allotted)
}

/// Removes the provisioned concurrency of one version or alias.
pub(crate) fn remove_provisioned(
    tx: &mut Write,
    key: &FunctionKey,
    qualifier: &Qualifier,
) -> Result<(), Error> {
    let place = provisioned_key(key, qualifier);
    reallot(tx, key, |tx| Ok(PROVISIONED.delete(tx, &place).map(drop)?))?;
    Ok(())
}

/// Removes what a function has reserved, with the function.
pub(crate) fn remove_reserved(tx: &mut Write, key: &FunctionKey) -> Result<(), Error> {
    reallot(tx, key, |tx| Ok(RESERVED.delete(tx, &key.record()).map(drop)?))?;
    Ok(())
}

/// `PutProvisionedConcurrencyConfig`: 202 with state IN_PROGRESS; a worker makes the environments.
pub(crate) async fn put_provisioned(
    lambda: &Lambda,
    cx: &Cx,
    request: api::PutProvisionedConcurrencyConfigRequest,
) -> Result<api::PutProvisionedConcurrencyConfigResponse, Error> {
    let info = api::PutProvisionedConcurrencyConfig::INFO;
    let named = (request.function_name.as_str(), request.qualifier.as_str());
    let (key, qualifier) = published_of(cx, info, named, UNPUBLISHED)?;
    let executions = u32::try_from(request.provisioned_concurrent_executions).map_err(|_| {
        Error::InvalidParameter("ProvisionedConcurrentExecutions is negative.".to_owned())
    })?;
    let record = ProvisionedRecord { executions, last_modified_ms: cx.now.millis() };
    change(lambda, key, move |tx, key, loads| {
        check_qualifier(tx, key, &qualifier)?;
        let place = provisioned_key(key, &qualifier);
        let before = allotted(tx, key)?;
        let own = part_of(tx, key)?;
        let after = reallot(tx, key, |tx| Ok(PROVISIONED.put(tx, &place, &record)?))?;
        match RESERVED.get(tx, &key.record())? {
            Some(reserved) if provisioned_of(tx, key)? > reserved.executions.into() => {
                Err(Error::InvalidParameter(
                    "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution \
                     for function"
                        .to_owned(),
                ))
            }
            Some(_) => Ok(()),
            None => check_left(loads, before.saturating_sub(own), before, after, executions),
        }
    })
    .await?;
    let state = State {
        requested: executions,
        ready: 0,
        failed: false,
        last_modified: Timestamp(record.last_modified_ms),
    };
    Ok(state.answer())
}

/// Whether what is provisioned leaves enough to everybody else. `others` is what is allotted without this function.
fn check_left(
    loads: &Loads,
    others: u64,
    before: u64,
    after: u64,
    executions: u32,
) -> Result<(), Error> {
    let available = loads.unreserved(others);
    if executions > available {
        return Err(Error::Concurrency(format!(
            "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency \
             [{available}]."
        )));
    }
    let (before, after) = (loads.unreserved(before), loads.unreserved(after));
    if after < UNRESERVED_MIN && after < before {
        return Err(Error::Concurrency(format!(
            "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its \
             minimum value of [{UNRESERVED_MIN}]."
        )));
    }
    Ok(())
}

/// Whether environments of what a qualifier names may be initialised ahead: versions that can run, and that have none by
/// another name.
fn check_qualifier(
    tx: &impl Reader,
    key: &FunctionKey,
    qualifier: &Qualifier,
) -> Result<(), Error> {
    if let Qualifier::Alias(name) = qualifier {
        let alias = ALIASES.get(tx, &alias_key(key, name))?;
        let alias = alias.ok_or_else(|| Error::FunctionNotFound(key.arn(Some(qualifier))))?;
        return check_pointed_to(tx, key, &alias);
    }
    let Qualifier::Version(number) = qualifier else {
        return Err(Error::InvalidParameter(UNPUBLISHED.to_owned()));
    };
    check_provisionable(&existing(tx, key, *number)?)?;
    for (place, _) in PROVISIONED.scan(tx, &key.record(), None, usize::MAX)? {
        let Some((_, Qualifier::Alias(name))) = record::provisioned_from_key(&place) else {
            continue;
        };
        let alias = ALIASES.get(tx, &alias_key(key, &name))?;
        if alias.is_some_and(|alias| alias.versions().any(|one| one == *number)) {
            return Err(Error::Conflict(
                "Version is pointed by a Provisioned Concurrency alias".to_owned(),
            ));
        }
    }
    Ok(())
}

/// As [`check_qualifier`], for the versions of an alias.
fn check_pointed_to(tx: &impl Reader, key: &FunctionKey, alias: &AliasRecord) -> Result<(), Error> {
    if alias.version.is_none() {
        return Err(Error::InvalidParameter(UNPUBLISHED.to_owned()));
    }
    for number in alias.versions() {
        check_provisionable(&existing(tx, key, number)?)?;
        if PROVISIONED.contains(tx, &version_key(key, number))? {
            return Err(Error::Conflict(
                "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
                    .to_owned(),
            ));
        }
    }
    Ok(())
}

/// Whether an alias may become this: one that has provisioned concurrency takes it along.
pub(crate) fn check_alias(
    tx: &impl Reader,
    key: &FunctionKey,
    name: &str,
    alias: &AliasRecord,
) -> Result<(), Error> {
    if PROVISIONED.contains(tx, &alias_key(key, name))? {
        check_pointed_to(tx, key, alias)?;
    }
    Ok(())
}

const UNPUBLISHED: &str =
    "Provisioned Concurrency Configs cannot be applied to unpublished function versions.";

/// What cannot be initialised ahead. The texts are ours: AWS's are not recorded.
fn check_provisionable(version: &VersionRecord) -> Result<(), Error> {
    let refused = |text: &str| Err(Error::InvalidParameter(text.to_owned()));
    if version.configuration.snap_start {
        return refused(
            "Provisioned Concurrency is not supported for SnapStart enabled functions.",
        );
    }
    if version.configuration.per_tenant {
        return refused(
            "Provisioned Concurrency is not supported for functions with tenant isolation.",
        );
    }
    let state = match version.lifecycle {
        Lifecycle::Creating => "Pending",
        Lifecycle::CreateFailed { .. } => "Failed",
        Lifecycle::Active | Lifecycle::Updating { .. } | Lifecycle::UpdateFailed { .. } => {
            return Ok(());
        }
    };
    Err(Error::Conflict(format!(
        "The operation cannot be performed at this time. The function is currently in the following state: {state}"
    )))
}

/// `GetProvisionedConcurrencyConfig`.
pub(crate) async fn get_provisioned(
    lambda: &Lambda,
    cx: &Cx,
    request: api::GetProvisionedConcurrencyConfigRequest,
) -> Result<api::GetProvisionedConcurrencyConfigResponse, Error> {
    let info = api::GetProvisionedConcurrencyConfig::INFO;
    let named = (request.function_name.as_str(), request.qualifier.as_str());
    let (key, qualifier) = published_of(cx, info, named, NO_VERSION)?;
    let state = lambda.store.read(|tx| {
        check_named(tx, &key, &qualifier)?;
        let record = PROVISIONED.get(tx, &provisioned_key(&key, &qualifier))?;
        state(lambda, tx, &key, &qualifier, record.ok_or(Error::NotProvisioned)?)
    })?;
    Ok(state.answer().into_get())
}

const NO_VERSION: &str = "The function resource provided must be an alias or a published version.";

/// `ListProvisionedConcurrencyConfigs`.
pub(crate) async fn list_provisioned(
    lambda: &Lambda,
    cx: &Cx,
    request: api::ListProvisionedConcurrencyConfigsRequest,
) -> Result<api::ListProvisionedConcurrencyConfigsResponse, Error> {
    let info = api::ListProvisionedConcurrencyConfigs::INFO;
    let (key, _) = reference::latest(cx, info, &request.function_name, None)?;
    let after = request.marker.as_deref().map(function::text_of_marker).transpose()?;
    let after = after.map(|qualifier| provisioned_key(&key, &Qualifier::parse(&qualifier)));
    let limit = function::page_size(request.max_items);
    let found = lambda.store.read(|tx| {
        function::check_exists(tx, &key)?;
        let found = PROVISIONED.scan(tx, &key.record(), after.as_ref(), limit + 1)?;
        let states = found.into_iter().filter_map(|(place, provisioned)| {
            let (_, qualifier) = record::provisioned_from_key(&place)?;
            let state = state(lambda, tx, &key, &qualifier, provisioned);
            Some(state.map(|state| (qualifier, state)))
        });
        states.collect::<Result<Vec<_>, Error>>()
    })?;
    let qualifier = |(qualifier, _): &(Qualifier, State)| qualifier.to_string().into_bytes();
    let (page, next_marker) = pagination::page(found, limit, qualifier);
    let items = page
        .into_iter()
        .map(|(qualifier, state)| state.answer().into_item(key.arn(Some(&qualifier))));
    Ok(api::ListProvisionedConcurrencyConfigsResponse {
        provisioned_concurrency_configs: Some(items.collect()),
        next_marker,
    })
}

/// `DeleteProvisionedConcurrencyConfig`: well, too, where nothing is provisioned.
pub(crate) async fn delete_provisioned(
    lambda: &Lambda,
    cx: &Cx,
    request: api::DeleteProvisionedConcurrencyConfigRequest,
) -> Result<(), Error> {
    let info = api::DeleteProvisionedConcurrencyConfig::INFO;
    let named = (request.function_name.as_str(), request.qualifier.as_str());
    let (key, qualifier) = published_of(cx, info, named, NO_VERSION)?;
    change(lambda, key, move |tx, key, _| {
        check_named(tx, key, &qualifier)?;
        remove_provisioned(tx, key, &qualifier)
    })
    .await
}

/// The version or alias that a request names; `refusal` is what is said of `$LATEST`.
fn published_of(
    cx: &Cx,
    operation: &OperationInfo,
    (name, qualifier): (&str, &str),
    refusal: &str,
) -> Result<(FunctionKey, Qualifier), Error> {
    let target = reference::resolve(cx, operation, name, Some(qualifier))?;
    let key = target.key().to_owned();
    match target.qualifier {
        Some(qualifier @ (Qualifier::Version(_) | Qualifier::Alias(_))) => Ok((key, qualifier)),
        None | Some(Qualifier::Latest) => Err(Error::InvalidParameter(refusal.to_owned())),
    }
}

/// Refuses a version or an alias that does not exist.
fn check_named(tx: &impl Reader, key: &FunctionKey, qualifier: &Qualifier) -> Result<(), Error> {
    let exists = match qualifier {
        Qualifier::Latest => FUNCTIONS.contains(tx, &key.record())?,
        Qualifier::Version(number) => VERSIONS.contains(tx, &version_key(key, *number))?,
        Qualifier::Alias(name) => ALIASES.contains(tx, &alias_key(key, name))?,
    };
    if exists { Ok(()) } else { Err(Error::FunctionNotFound(key.arn(Some(qualifier)))) }
}

fn existing(tx: &impl Reader, key: &FunctionKey, number: u64) -> Result<VersionRecord, Error> {
    let version = VERSIONS.get(tx, &version_key(key, number))?;
    version.ok_or_else(|| Error::FunctionNotFound(key.arn(Some(&Qualifier::Version(number)))))
}

/// Where a configuration stands.
#[derive(Debug)]
struct State {
    requested: u32,
    ready: u32,
    failed: bool,
    last_modified: Timestamp,
}

fn state(
    lambda: &Lambda,
    tx: &impl Reader,
    key: &FunctionKey,
    qualifier: &Qualifier,
    record: ProvisionedRecord,
) -> Result<State, Error> {
    let mut state = State {
        requested: record.executions,
        ready: 0,
        failed: false,
        last_modified: Timestamp(record.last_modified_ms),
    };
    for (number, share) in provisioned::shares(tx, key, qualifier, record)? {
        let group = lambda.provisioned.get(key, number);
        state.ready += group.as_deref().map_or(0, Group::ready).min(share);
        state.failed |= group.is_some_and(|group| group.failed());
    }
    Ok(state)
}

impl State {
    fn answer(&self) -> api::PutProvisionedConcurrencyConfigResponse {
        let number = |number: u32| i32::try_from(number).ok();
        let (status, reason) = if self.ready >= self.requested {
            ("READY", None)
        } else if self.failed {
            ("FAILED", Some("FUNCTION_ERROR_INIT_FAILURE"))
        } else {
            ("IN_PROGRESS", None)
        };
        api::PutProvisionedConcurrencyConfigResponse {
            requested_provisioned_concurrent_executions: number(self.requested),
            allocated_provisioned_concurrent_executions: number(self.ready),
            available_provisioned_concurrent_executions: number(self.ready),
            status: Some(status.to_owned()),
            status_reason: reason.map(str::to_owned),
            last_modified: Some(self.last_modified.lambda()),
        }
    }
}

/// The three answers have the same members, each under a type of its own.
trait Answer {
    fn into_get(self) -> api::GetProvisionedConcurrencyConfigResponse;
    fn into_item(self, function_arn: String) -> api::ProvisionedConcurrencyConfigListItem;
}

impl Answer for api::PutProvisionedConcurrencyConfigResponse {
    fn into_get(self) -> api::GetProvisionedConcurrencyConfigResponse {
        api::GetProvisionedConcurrencyConfigResponse {
            requested_provisioned_concurrent_executions: self
                .requested_provisioned_concurrent_executions,
            allocated_provisioned_concurrent_executions: self
                .allocated_provisioned_concurrent_executions,
            available_provisioned_concurrent_executions: self
                .available_provisioned_concurrent_executions,
            status: self.status,
            status_reason: self.status_reason,
            last_modified: self.last_modified,
        }
    }

    fn into_item(self, function_arn: String) -> api::ProvisionedConcurrencyConfigListItem {
        api::ProvisionedConcurrencyConfigListItem {
            function_arn: Some(function_arn),
            requested_provisioned_concurrent_executions: self
                .requested_provisioned_concurrent_executions,
            allocated_provisioned_concurrent_executions: self
                .allocated_provisioned_concurrent_executions,
            available_provisioned_concurrent_executions: self
                .available_provisioned_concurrent_executions,
            status: self.status,
            status_reason: self.status_reason,
            last_modified: self.last_modified,
        }
    }
}
