//! Layers: publishing, reading, listing and deleting their versions, and what functions may use of them.
//!
//! A function that uses a version keeps all that it takes to run, so that deleting the version takes nothing from it.

use std::collections::HashSet;

use gatemill_api::lambda as api;
use gatemill_iam as iam;
use gatemill_store::{Digest, Key, Reader, Write};
use gatemill_wire::{Arn, Cx, Operation as _, Timestamp, pagination};

use super::{code, configuration, function, layer_policy, permission, s3_code};
use crate::{
    Error, Lambda,
    layer_record::{
        LAYER_POLICIES, LAYER_VERSIONS, LAYERS, LayerKey, LayerVersionRecord, UsedLayer,
    },
    limits::{LAYER_VERSIONS_LOOKED_AT, LAYERS_MAX, UNPACKED_BYTES_MAX},
    record::{CODE_USES, Configuration, Mark, NumberRecord},
    target::FunctionKey,
};

/// `PublishLayerVersion`: always a new version, whatever its content.
pub(crate) async fn publish(
    lambda: &Lambda,
    cx: &Cx,
    request: api::PublishLayerVersionRequest,
) -> Result<api::PublishLayerVersionResponse, Error> {
    let key = named(cx, api::PublishLayerVersion::INFO.action, &request.layer_name)?;
    own(cx, api::PublishLayerVersion::INFO.action, &key, &key.arn())?;
    configuration::check_compatible_list(request.compatible_runtimes.as_ref())?;
    let taken = code::of_layer(lambda, cx, &request.content).await?;
    let (package, s3_object) = (taken.package, taken.s3_object.clone());
    code::keep(lambda, taken).await?;
    let record = LayerVersionRecord {
        package,
        description: request.description.unwrap_or_default(),
        created_ms: cx.now.millis(),
        runtimes: request.compatible_runtimes,
        architectures: request.compatible_architectures,
        license: request.license_info,
        s3_object,
    };
    let (owner, stored) = (key.clone(), record.clone());
    let number = lambda
        .store
        .write(move |tx| {
            let number = LAYERS.get(tx, &owner.record())?.map_or(0, |numbers| numbers.last) + 1;
            LAYERS.put(tx, &owner.record(), &NumberRecord { last: number })?;
            LAYER_VERSIONS.put(tx, &owner.version(number), &stored)?;
            CODE_USES.put(tx, &owner.code_use(&package.digest, number), &Mark {})?;
            count(tx, &owner, stored.stored_bytes(), 0)?;
            Ok::<_, Error>(number)
        })
        .await?;
    let shown = shown(lambda, cx, &key, number, record);
    Ok(api::PublishLayerVersionResponse {
        content: shown.content,
        layer_arn: shown.layer_arn,
        layer_version_arn: shown.layer_version_arn,
        description: shown.description,
        created_date: shown.created_date,
        version: shown.version,
        compatible_architectures: shown.compatible_architectures,
        compatible_runtimes: shown.compatible_runtimes,
        license_info: shown.license_info,
    })
}

/// `GetLayerVersion`.
pub(crate) async fn get(
    lambda: &Lambda,
    cx: &Cx,
    request: api::GetLayerVersionRequest,
) -> Result<api::GetLayerVersionResponse, Error> {
    let key = named(cx, api::GetLayerVersion::INFO.action, &request.layer_name)?;
    let number = numbered(request.version_number)?;
    read(lambda, cx, &key, number)
}

/// `GetLayerVersionByArn`.
pub(crate) async fn get_by_arn(
    lambda: &Lambda,
    cx: &Cx,
    request: api::GetLayerVersionByArnRequest,
) -> Result<api::GetLayerVersionResponse, Error> {
    let missing = || Error::NotFound(permission::NO_RESOURCE.to_owned());
    let (key, number) = version_of_arn(&request.arn).ok_or_else(missing)?;
    if key.region != cx.region {
        return Err(missing());
    }
    read(lambda, cx, &key, numbered(i64::try_from(number).unwrap_or(i64::MAX))?)
}

fn read(
    lambda: &Lambda,
    cx: &Cx,
    key: &LayerKey,
    number: u64,
) -> Result<api::GetLayerVersionResponse, Error> {
    let found = lambda.store.read(|tx| {
        check_access(tx, cx, key, number)?;
        Ok::<_, Error>(LAYER_VERSIONS.get(tx, &key.version(number))?)
    })?;
    let record = found.ok_or_else(|| Error::NotFound(permission::NO_RESOURCE.to_owned()))?;
    Ok(shown(lambda, cx, key, number, record))
}

/// `DeleteLayerVersion`: also of one that is not there.
pub(crate) async fn delete(
    lambda: &Lambda,
    cx: &Cx,
    request: api::DeleteLayerVersionRequest,
) -> Result<(), Error> {
    let action = api::DeleteLayerVersion::INFO.action;
    let key = named(cx, action, &request.layer_name)?;
    let number = numbered(request.version_number)?;
    own(cx, action, &key, &key.version_arn(number))?;
    lambda
        .store
        .write(move |tx| {
            let place = key.version(number);
            let Some(record) = LAYER_VERSIONS.get(tx, &place)? else { return Ok(()) };
            LAYER_VERSIONS.delete(tx, &place)?;
            LAYER_POLICIES.delete(tx, &place)?;
            CODE_USES.delete(tx, &key.code_use(&record.package.digest, number))?;
            count(tx, &key, 0, record.stored_bytes())
        })
        .await
}

/// `ListLayerVersions`: the newest first.
pub(crate) async fn list_versions(
    lambda: &Lambda,
    cx: &Cx,
    request: api::ListLayerVersionsRequest,
) -> Result<api::ListLayerVersionsResponse, Error> {
    let action = api::ListLayerVersions::INFO.action;
    configuration::check_compatible(request.compatible_runtime.as_ref())?;
    let key = named(cx, action, &request.layer_name)?;
    own(cx, action, &key, &key.arn())?;
    let before = request.marker.as_deref().map(function::number_of_marker).transpose()?;
    let limit = function::page_size(request.max_items);
    let wanted = Wanted {
        runtime: request.compatible_runtime.as_deref(),
        architecture: request.compatible_architecture.as_deref(),
    };
    let found = lambda.store.read(|tx| matching(tx, &key, before, limit + 1, wanted))?;
    let place = |(number, _): &(u64, LayerVersionRecord)| number.to_be_bytes().to_vec();
    let (page, next_marker) = pagination::page(found, limit, place);
    let versions = page.into_iter().map(|(number, record)| listed(&key, number, record));
    Ok(api::ListLayerVersionsResponse { next_marker, layer_versions: Some(versions.collect()) })
}

/// `ListLayers`: in order of names, each with its newest version that matches.
pub(crate) async fn list(
    lambda: &Lambda,
    cx: &Cx,
    request: api::ListLayersRequest,
) -> Result<api::ListLayersResponse, Error> {
    configuration::check_compatible(request.compatible_runtime.as_ref())?;
    let all = Key::new([cx.account(), &cx.region]);
    let limit = function::page_size(request.max_items);
    let wanted = Wanted {
        runtime: request.compatible_runtime.as_deref(),
        architecture: request.compatible_architecture.as_deref(),
    };
    let after = match request.marker.as_deref().map(pagination::key) {
        None => None,
        Some(Some(name)) => Some(String::from_utf8(name).map_err(|_| function::bad_marker())?),
        Some(None) => return Err(function::bad_marker()),
    };
    let found = lambda.store.read(|tx| {
        let mut after = after.map(|name| all.clone().and(name));
        let mut found = Vec::new();
        // Layers without a version, or with none that matches, are passed over.
        while found.len() <= limit {
            let page = LAYERS.scan(tx, &all, after.as_ref(), limit + 1)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (place, _) in page {
                let Some(name) = place.text(2) else { continue };
                let key = LayerKey::new(cx.account(), &cx.region, &name);
                let newest = matching(tx, &key, None, 1, wanted)?.pop();
                found.extend(newest.map(|(number, record)| (key, number, record)));
            }
        }
        found.truncate(limit + 1);
        Ok::<_, Error>(found)
    })?;
    let place = |(key, _, _): &(LayerKey, u64, LayerVersionRecord)| key.name.clone().into_bytes();
    let (page, next_marker) = pagination::page(found, limit, place);
    let layers = page.into_iter().map(|(key, number, record)| api::LayersListItem {
        layer_name: Some(key.name.clone()),
        layer_arn: Some(key.arn()),
        latest_matching_version: Some(listed(&key, number, record)),
    });
    Ok(api::ListLayersResponse { next_marker, layers: Some(layers.collect()) })
}

/// What a list is to have.
#[derive(Debug, Clone, Copy)]
struct Wanted<'a> {
    runtime: Option<&'a str>,
    architecture: Option<&'a str>,
}

impl Wanted<'_> {
    /// A version that names nothing fits nothing that is asked for.
    fn fits(self, record: &LayerVersionRecord) -> bool {
        let has = |list: &Option<Vec<String>>, wanted: Option<&str>| {
            wanted.is_none_or(|wanted| list.iter().flatten().any(|one| one == wanted))
        };
        has(&record.runtimes, self.runtime) && has(&record.architectures, self.architecture)
    }
}

/// At most `limit` versions that fit, the newest first, below number `before`.
fn matching(
    tx: &impl Reader,
    key: &LayerKey,
    before: Option<u64>,
    limit: usize,
    wanted: Wanted<'_>,
) -> Result<Vec<(u64, LayerVersionRecord)>, Error> {
    let mut before = before.map(|number| key.version(number));
    let mut found = Vec::new();
    while found.len() < limit {
        let page = LAYER_VERSIONS.scan_reverse(
            tx,
            &key.record(),
            before.as_ref(),
            LAYER_VERSIONS_LOOKED_AT,
        )?;
        let Some((last, _)) = page.last() else { break };
        before = Some(last.clone());
        let numbered = page.into_iter().filter_map(|(at, record)| Some((at.number(3)?, record)));
        found.extend(numbered.filter(|(_, record)| wanted.fits(record)));
    }
    found.truncate(limit);
    Ok(found)
}

/// A version as it is read alone.
fn shown(
    lambda: &Lambda,
    cx: &Cx,
    key: &LayerKey,
    number: u64,
    record: LayerVersionRecord,
) -> api::GetLayerVersionResponse {
    let (package, s3_object) = (record.package, record.s3_object.clone());
    let listed = listed(key, number, record);
    api::GetLayerVersionResponse {
        content: Some(api::LayerVersionContentOutput {
            location: Some(code::layer_location(lambda, cx, key, number, &package)),
            code_sha256: Some(package.digest.base64()),
            code_size: i64::try_from(package.bytes).ok(),
            resolved_s3_object: s3_object.map(s3_code::shown),
            ..Default::default()
        }),
        layer_arn: Some(key.arn()),
        layer_version_arn: listed.layer_version_arn,
        description: listed.description,
        created_date: listed.created_date,
        version: listed.version,
        compatible_architectures: listed.compatible_architectures,
        compatible_runtimes: listed.compatible_runtimes,
        license_info: listed.license_info,
    }
}

fn listed(key: &LayerKey, number: u64, record: LayerVersionRecord) -> api::LayerVersionsListItem {
    api::LayerVersionsListItem {
        layer_version_arn: Some(key.version_arn(number)),
        version: i64::try_from(number).ok(),
        description: Some(record.description),
        created_date: Some(Timestamp(record.created_ms).lambda()),
        compatible_architectures: record.architectures,
        compatible_runtimes: record.runtimes,
        license_info: record.license,
    }
}

/// The layer that a request names by its name or its ARN.
pub(crate) fn named(cx: &Cx, action: &str, name: &str) -> Result<LayerKey, Error> {
    let Ok(arn) = name.parse::<Arn>() else {
        return Ok(LayerKey::new(cx.account(), &cx.region, name));
    };
    let key = match arn.resource.strip_prefix("layer:") {
        Some(name) => LayerKey::new(&arn.account, &arn.region, name),
        None => return Err(denied(cx, action, name)),
    };
    if key.region != cx.region {
        return Err(Error::InvalidParameter(format!(
            "Layers are not in the same region as the request. Layers are expected to be in region {}.",
            cx.region
        )));
    }
    Ok(key)
}

/// The number of a version that a request names.
pub(crate) fn numbered(number: i64) -> Result<u64, Error> {
    u64::try_from(number)
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| Error::InvalidParameter("Layer Version Cannot be less than 1".to_owned()))
}

/// Refuses another account's layer, which only its policy can open, and that for reading alone.
pub(crate) fn own(cx: &Cx, action: &str, key: &LayerKey, resource: &str) -> Result<(), Error> {
    if key.account == cx.account() { Ok(()) } else { Err(denied(cx, action, resource)) }
}

fn denied(cx: &Cx, action: &str, resource: &str) -> Error {
    let user = &cx.caller.arn;
    Error::AccessDenied(format!(
        "User: {user} is not authorized to perform: {action} on resource: {resource} because no resource-based policy \
         allows the {action} action"
    ))
}

/// Refuses a version of another account whose policy does not let the caller read it.
fn check_access(tx: &impl Reader, cx: &Cx, key: &LayerKey, number: u64) -> Result<(), Error> {
    const ACTION: &str = "lambda:GetLayerVersion";
    if key.account == cx.account() {
        return Ok(());
    }
    let resource = key.version_arn(number);
    let policy = LAYER_POLICIES.get(tx, &key.version(number))?;
    let document = policy.as_ref().map(permission::document).transpose()?;
    let principal = iam::Principal::Aws { account: cx.account(), arn: &cx.caller.arn };
    let context = iam::Context::default();
    let request =
        iam::Request { principal, action: ACTION, resource: &resource, context: &context };
    let allowed = iam::evaluate(document.as_ref(), &request).is_allow();
    if allowed { Ok(()) } else { Err(denied(cx, ACTION, &resource)) }
}

/// The layers that a request gives a function.
pub(crate) fn of_function(
    lambda: &Lambda,
    cx: &Cx,
    arns: Option<&[String]>,
) -> Result<Vec<UsedLayer>, Error> {
    let arns = arns.unwrap_or_default();
    let refused = |text: String| Err(Error::InvalidParameter(text));
    if arns.len() > LAYERS_MAX {
        return refused(format!("Cannot reference more than {LAYERS_MAX} layers."));
    }
    let mut known: Vec<(LayerKey, &String)> = Vec::new();
    let mut used = Vec::new();
    for arn in arns {
        let missing = format!("Layer version {arn} does not exist.");
        let Some((key, number)) = version_of_arn(arn) else { return refused(missing) };
        if key.region != cx.region {
            return refused(format!(
                "Layers are not in the same region as the function. Layers are expected to be in region {}.",
                cx.region
            ));
        }
        if let Some((_, other)) = known.iter().find(|(other, _)| *other == key) {
            return refused(format!(
                "Two different versions of the same layer are not allowed to be referenced in the same function. \
                 {other} and {arn} are versions of the same layer."
            ));
        }
        let record = lambda.store.read(|tx| {
            check_access(tx, cx, &key, number)?;
            Ok::<_, Error>(LAYER_VERSIONS.get(tx, &key.version(number))?)
        })?;
        let Some(record) = record else { return refused(missing) };
        used.push(UsedLayer {
            arn: key.version_arn(number),
            package: record.package,
            s3_object: record.s3_object,
        });
        known.push((key, arn));
    }
    Ok(used)
}

/// Refuses a function that would be too large with its layers. The text is ours with AWS's figures in it.
pub(crate) fn check_size(configuration: &Configuration) -> Result<(), Error> {
    let layers = configuration.layers.iter().map(|layer| layer.package.unpacked_bytes);
    let total = configuration.package.unpacked_bytes + layers.sum::<u64>();
    if configuration.layers.is_empty() || total <= UNPACKED_BYTES_MAX {
        return Ok(());
    }
    Err(Error::InvalidParameter(format!(
        "Function code combined with layers exceeds the maximum allowed size of {UNPACKED_BYTES_MAX} bytes. The actual \
         size is {total} bytes."
    )))
}

/// Refuses layers whose content is not there any more: the version was deleted since it was looked up, and nothing else
/// names it.
pub(crate) fn check_there(tx: &impl Reader, layers: &[UsedLayer]) -> Result<(), Error> {
    let mut looked_at: HashSet<Digest> = HashSet::new();
    for layer in layers {
        let digest = layer.package.digest;
        let uses = Key::new([digest.to_string()]);
        if looked_at.insert(digest) && CODE_USES.scan(tx, &uses, None, 1)?.is_empty() {
            let text = format!("Layer version {} does not exist.", layer.arn);
            return Err(Error::InvalidParameter(text));
        }
    }
    Ok(())
}

/// Reads `arn:…:layer:<name>:<number>`.
fn version_of_arn(text: &str) -> Option<(LayerKey, u64)> {
    let arn: Arn = text.parse().ok()?;
    let (name, number) = arn.resource.strip_prefix("layer:")?.rsplit_once(':')?;
    if arn.service != "lambda" || name.is_empty() || name.contains(':') {
        return None;
    }
    Some((LayerKey::new(&arn.account, &arn.region, name), number.parse().ok()?))
}

/// Layers count as code of their account.
fn count(tx: &mut Write, key: &LayerKey, added: u64, removed: u64) -> Result<(), Error> {
    let owner = FunctionKey::new(&key.account, &key.region, "");
    function::count(tx, &owner, 0, added, removed)
}

/// The version that a policy belongs to, which has to exist.
pub(crate) fn check_exists(tx: &impl Reader, key: &LayerKey, number: u64) -> Result<(), Error> {
    if LAYER_VERSIONS.contains(tx, &key.version(number))? {
        return Ok(());
    }
    Err(Error::NotFound(layer_policy::missing(&key.version_arn(number))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_of_versions() {
        let arn = "arn:aws:lambda:eu-west-1:111122223333:layer:a-b_c:12";
        let (key, number) = version_of_arn(arn).unwrap();
        assert_eq!(
            (key.account.as_str(), key.region.as_str(), key.name.as_str(), number),
            ("111122223333", "eu-west-1", "a-b_c", 12)
        );
        assert_eq!(key.version_arn(number), arn);
        for bad in [
            "x",
            "arn:aws:lambda:eu-west-1:111122223333:layer:a",
            "arn:aws:lambda:eu-west-1:111122223333:layer::1",
            "arn:aws:lambda:eu-west-1:111122223333:layer:a:x",
            "arn:aws:lambda:eu-west-1:111122223333:function:a:1",
            "arn:aws:s3:eu-west-1:111122223333:layer:a:1",
        ] {
            assert_eq!(version_of_arn(bad), None, "{bad}");
        }
    }
}
