//! Aliases: names for versions, each with at most two of them.
//!
//! An alias points to one version; with a routing configuration part of its calls go to another one. Which one a call goes
//! to is drawn for each call (`invoke::resolve`).

use std::{collections::BTreeMap, sync::Arc};

use gatemill_api::lambda as api;
use gatemill_store::{Key, Reader, Write};
use gatemill_wire::{Cx, Operation as _, OperationInfo, Qualifier, pagination};

use super::{concurrency, function, gaps, reference};
use crate::{
    Error, Lambda,
    record::{self, ALIASES, AliasRecord, POLICIES, RouteRecord, VERSIONS, alias_key, version_key},
    target::FunctionKey,
};

/// `CreateAlias`.
pub(crate) async fn create(
    lambda: &Lambda,
    cx: &Cx,
    request: api::CreateAliasRequest,
) -> Result<api::AliasConfiguration, Error> {
    let key = function_of(cx, api::CreateAlias::INFO, &request.function_name)?;
    let version = version(&request.function_version)?;
    let record = AliasRecord {
        version,
        description: request.description.unwrap_or_default(),
        route: route(request.routing_config.as_ref(), version)?.unwrap_or_default(),
        revision_id: cx.uuid().to_string(),
    };
    let (created, name) = (record.clone(), request.name.clone());
    change(lambda, &key, move |tx, key| {
        function::check_exists(tx, key)?;
        let place = alias_key(key, &name);
        if ALIASES.contains(tx, &place)? {
            return Err(Error::Conflict(format!("Alias already exists: {}", arn(key, &name))));
        }
        check_versions(tx, key, &record)?;
        ALIASES.put(tx, &place, &record)?;
        Ok(())
    })
    .await?;
    Ok(view(&key, &request.name, &created))
}

/// `GetAlias`.
pub(crate) async fn get(
    lambda: &Lambda,
    cx: &Cx,
    request: api::GetAliasRequest,
) -> Result<api::AliasConfiguration, Error> {
    let key = function_of(cx, api::GetAlias::INFO, &request.function_name)?;
    let place = alias_key(&key, &request.name);
    let record = lambda.store.read(|tx| Ok::<_, Error>(ALIASES.get(tx, &place)?))?;
    let record = record.ok_or_else(|| {
        Error::NotFound(format!("Cannot find alias arn: {}", arn(&key, &request.name)))
    })?;
    Ok(view(&key, &request.name, &record))
}

/// `ListAliases`: in order of names; with a version only those that point to it.
pub(crate) async fn list(
    lambda: &Lambda,
    cx: &Cx,
    request: api::ListAliasesRequest,
) -> Result<api::ListAliasesResponse, Error> {
    let key = function_of(cx, api::ListAliases::INFO, &request.function_name)?;
    let wanted = request.function_version.as_deref().map(version).transpose()?;
    let after = request.marker.as_deref().map(function::text_of_marker).transpose()?;
    let after = after.map(|name| alias_key(&key, &name));
    let limit = function::page_size(request.max_items);
    let found = lambda.store.read(|tx| {
        function::check_exists(tx, &key)?;
        of_version(tx, &key, after, wanted, limit + 1)
    })?;
    let name = |(name, _): &(String, AliasRecord)| name.clone().into_bytes();
    let (page, next_marker) = pagination::page(found, limit, name);
    let aliases = page.iter().map(|(name, record)| view(&key, name, record)).collect();
    Ok(api::ListAliasesResponse { next_marker, aliases: Some(aliases) })
}

/// At most `limit` aliases after a place, of those that point to `wanted` where that is given.
fn of_version(
    tx: &impl Reader,
    key: &FunctionKey,
    mut after: Option<Key>,
    wanted: Option<Option<u64>>,
    limit: usize,
) -> Result<Vec<(String, AliasRecord)>, Error> {
    let mut found = Vec::new();
    loop {
        let page = ALIASES.scan(tx, &key.record(), after.as_ref(), limit)?;
        let Some((last, _)) = page.last() else { return Ok(found) };
        after = Some(last.clone());
        for (place, record) in page {
            if wanted.is_some_and(|wanted| wanted != record.version) {
                continue;
            }
            found.extend(record::alias_name(&place).map(|name| (name, record)));
            if found.len() == limit {
                return Ok(found);
            }
        }
    }
}

/// `UpdateAlias`: what is not named stays.
pub(crate) async fn update(
    lambda: &Lambda,
    cx: &Cx,
    request: api::UpdateAliasRequest,
) -> Result<api::AliasConfiguration, Error> {
    let key = function_of(cx, api::UpdateAlias::INFO, &request.function_name)?;
    let given = request.function_version.as_deref().map(version).transpose()?;
    let (revision, name) = (cx.uuid().to_string(), request.name.clone());
    let record = change(lambda, &key, move |tx, key| {
        let place = alias_key(key, &name);
        let old = ALIASES
            .get(tx, &place)?
            .ok_or_else(|| Error::NotFound(format!("Alias not found: {}", arn(key, &name))))?;
        if request.revision_id.as_ref().is_some_and(|given| *given != old.revision_id) {
            return Err(Error::Revision { operation: "GetFunction/GetAlias" });
        }
        let version = given.unwrap_or(old.version);
        let record = AliasRecord {
            version,
            description: request.description.clone().unwrap_or(old.description),
            route: route(request.routing_config.as_ref(), version)?.unwrap_or(old.route),
            revision_id: revision.clone(),
        };
        check_versions(tx, key, &record)?;
        concurrency::check_alias(tx, key, &name, &record)?;
        ALIASES.put(tx, &place, &record)?;
        Ok(record)
    })
    .await?;
    Ok(view(&key, &request.name, &record))
}

/// `DeleteAlias`: well, too, where there is no such alias. Its policy and its provisioned concurrency go with it.
pub(crate) async fn delete(
    lambda: &Lambda,
    cx: &Cx,
    request: api::DeleteAliasRequest,
) -> Result<(), Error> {
    let key = function_of(cx, api::DeleteAlias::INFO, &request.function_name)?;
    let loads = Arc::clone(&lambda.loads);
    change(lambda, &key, move |tx, key| {
        function::check_exists(tx, key)?;
        remove(tx, key, &request.name)?;
        concurrency::tell_on_commit(tx, &loads, key)
    })
    .await
}

fn remove(tx: &mut Write, key: &FunctionKey, name: &str) -> Result<(), Error> {
    concurrency::remove_provisioned(tx, key, &Qualifier::Alias(name.to_owned()))?;
    POLICIES.delete(tx, &record::policy_key(key, name))?;
    ALIASES.delete(tx, &alias_key(key, name))?;
    Ok(())
}

/// Removes all aliases.
pub(crate) fn remove_all(tx: &mut Write, key: &FunctionKey) -> Result<(), Error> {
    for (place, _) in ALIASES.scan(tx, &key.record(), None, usize::MAX)? {
        if let Some(name) = record::alias_name(&place) {
            remove(tx, key, &name)?;
        }
    }
    Ok(())
}

/// Refuses to take a version away from under an alias. The text is ours: AWS's is not recorded.
pub(crate) fn check_unused(tx: &impl Reader, key: &FunctionKey, number: u64) -> Result<(), Error> {
    let aliases = ALIASES.scan(tx, &key.record(), None, usize::MAX)?;
    let used = aliases.iter().find(|(_, alias)| alias.versions().any(|one| one == number));
    match used {
        Some((place, _)) => Err(Error::Conflict(format!(
            "Version {number} cannot be deleted: it is referenced by the alias {}.",
            record::alias_name(place).unwrap_or_default()
        ))),
        None => Ok(()),
    }
}

fn function_of(cx: &Cx, operation: &OperationInfo, name: &str) -> Result<FunctionKey, Error> {
    reference::latest(cx, operation, name, None).map(|(key, _)| key)
}

async fn change<T: Send + 'static>(
    lambda: &Lambda,
    key: &FunctionKey,
    change: impl Fn(&mut Write, &FunctionKey) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let (key, snapshots) = (key.clone(), Arc::clone(&lambda.snapshots));
    lambda
        .store
        .write(move |tx| {
            let changed = change(tx, &key)?;
            function::forget_on_commit(tx, &snapshots, &key);
            Ok(changed)
        })
        .await
}

/// Reads a version; `None` is `$LATEST`.
fn version(text: &str) -> Result<Option<u64>, Error> {
    match Qualifier::parse(text) {
        Qualifier::Latest => Ok(None),
        Qualifier::Version(number) => Ok(Some(number)),
        Qualifier::Alias(_) => Err(Error::NotBuilt(&gaps::LATEST_PUBLISHED)),
    }
}

/// What a request says about routing: nothing, no second version, or one.
fn route(
    given: Option<&api::AliasRoutingConfiguration>,
    version: Option<u64>,
) -> Result<Option<Option<RouteRecord>>, Error> {
    let Some(given) = given else { return Ok(None) };
    let refused = |text: String| Err(Error::InvalidParameter(text));
    let weights = given.additional_version_weights.iter().flatten().collect::<Vec<_>>();
    let (other, weight) = match weights[..] {
        [] => return Ok(Some(None)),
        [(other, weight)] => (other, *weight),
        _ => {
            let text = "Number of items in AdditionalVersionWeights cannot be greater than 1";
            return refused(text.to_owned());
        }
    };
    let (Some(version), Qualifier::Version(other)) = (version, Qualifier::parse(other)) else {
        return refused(
            "$LATEST is not supported for an alias pointing to more than 1 version".to_owned(),
        );
    };
    if other == version {
        return refused(format!(
            "Invalid function version {other}. Function version {other} is already included in routing configuration."
        ));
    }
    if !(0.0..=1.0).contains(&weight) {
        return Err(Error::Validation(format!(
            "1 validation error detected: Value '{{{other}={weight:?}}}' at 'routingConfig.additionalVersionWeights' \
             failed to satisfy constraint: Map value must satisfy constraint: [Member must have value less than or \
             equal to 1.0, Member must have value greater than or equal to 0.0, Member must not be null]"
        )));
    }
    Ok(Some(Some(RouteRecord { version: other, weight })))
}

/// Refuses versions that do not exist, and a second one that acts under another role. `$LATEST` has no second one.
fn check_versions(tx: &impl Reader, key: &FunctionKey, alias: &AliasRecord) -> Result<(), Error> {
    if alias.version.is_none() && alias.route.is_some() {
        return Err(Error::InvalidParameter(
            "$LATEST is not supported for an alias pointing to more than 1 version".to_owned(),
        ));
    }
    if let (Some(version), Some(route)) = (alias.version, &alias.route)
        && version == route.version
    {
        return Err(Error::InvalidParameter(format!(
            "Invalid function version {version}. Function version {version} is already included in routing \
             configuration."
        )));
    }
    let mut roles = Vec::new();
    for number in alias.versions() {
        let version = VERSIONS.get(tx, &version_key(key, number))?;
        let version = version
            .ok_or_else(|| Error::FunctionNotFound(key.arn(Some(&Qualifier::Version(number)))))?;
        roles.push(version.configuration.role);
    }
    roles.dedup();
    if roles.len() > 1 {
        // The text is ours: AWS's is not recorded.
        return Err(Error::InvalidParameter(
            "The versions that an alias points to must have the same execution role.".to_owned(),
        ));
    }
    Ok(())
}

fn arn(key: &FunctionKey, name: &str) -> String {
    key.arn(Some(&Qualifier::Alias(name.to_owned())))
}

fn view(key: &FunctionKey, name: &str, record: &AliasRecord) -> api::AliasConfiguration {
    let version = record.version.map_or_else(|| "$LATEST".to_owned(), |n| n.to_string());
    let routing = record.route.as_ref().map(|route| {
        let weights = BTreeMap::from([(route.version.to_string(), route.weight)]);
        api::AliasRoutingConfiguration { additional_version_weights: Some(weights) }
    });
    api::AliasConfiguration {
        alias_arn: Some(arn(key, name)),
        name: Some(name.to_owned()),
        function_version: Some(version),
        description: Some(record.description.clone()),
        routing_config: routing,
        revision_id: Some(record.revision_id.clone()),
    }
}
