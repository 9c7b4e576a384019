//! Tags: `TagResource`, `UntagResource`, `ListTags`, and what every operation that takes tags may be given.
//!
//! A resource is found by the ARN alone. Tags of a function live in its record, so that `GetFunction` reads both at once.

use std::{collections::BTreeMap, sync::Arc};

use gatemill_api::lambda as api;
use gatemill_store::Write;
use gatemill_wire::{Arn, Cx, Operation as _, OperationInfo};

use super::{
    code_signing::{self, SigningKey},
    function, reference,
};
use crate::{
    Error, Lambda,
    limits::{TAG_KEY_CHARS_MAX, TAG_VALUE_CHARS_MAX, TAGS_MAX},
    mapping::{MAPPINGS, MappingKey},
    record::{FUNCTIONS, Lifecycle},
    signing_record::CODE_SIGNING_CONFIGS,
    target::FunctionKey,
};

/// Tags by their keys.
pub(crate) type Tags = BTreeMap<String, String>;

/// `TagResource`: adds tags, and replaces those of the same key.
pub(crate) async fn tag(
    lambda: &Lambda,
    cx: &Cx,
    request: api::TagResourceRequest,
) -> Result<(), Error> {
    let resource = Tagged::of(cx, api::TagResource::INFO, &request.resource)?;
    let added = request.tags;
    if added.is_empty() {
        return Err(Error::InvalidParameter(
            "An error occurred and the request cannot be processed.".to_owned(),
        ));
    }
    check(&added)?;
    change(lambda, cx, resource, move |tags| {
        tags.extend(added.clone());
        if tags.len() > TAGS_MAX {
            return Err(too_many());
        }
        Ok(())
    })
    .await
}

/// `UntagResource`: keys that the resource does not have are none of its business.
pub(crate) async fn untag(
    lambda: &Lambda,
    cx: &Cx,
    request: api::UntagResourceRequest,
) -> Result<(), Error> {
    let resource = Tagged::of(cx, api::UntagResource::INFO, &request.resource)?;
    change(lambda, cx, resource, move |tags| {
        tags.retain(|key, _| !request.tag_keys.contains(key));
        Ok(())
    })
    .await
}

/// `ListTags`.
pub(crate) async fn list(
    lambda: &Lambda,
    cx: &Cx,
    request: api::ListTagsRequest,
) -> Result<api::ListTagsResponse, Error> {
    let tags = match Tagged::of(cx, api::ListTags::INFO, &request.resource)? {
        Tagged::Function(key) => function::existing(lambda, &key)?.tags,
        Tagged::CodeSigningConfig(key) => code_signing::existing(lambda, &key)?.tags,
        Tagged::EventSourceMapping(key) => {
            let found = lambda.store.read(|tx| MAPPINGS.get(tx, &key.record()))?;
            found.ok_or_else(|| mapping_not_found(&key.arn()))?.tags
        }
    };
    Ok(api::ListTagsResponse { tags: Some(tags) })
}

/// What may have tags.
#[derive(Debug)]
enum Tagged {
    Function(FunctionKey),
    CodeSigningConfig(SigningKey),
    EventSourceMapping(MappingKey),
}

fn mapping_not_found(arn: &str) -> Error {
    Error::NotFound(format!("Event source mapping not found: {arn}"))
}

impl Tagged {
    fn of(cx: &Cx, operation: &OperationInfo, arn: &str) -> Result<Self, Error> {
        let resource = arn.parse::<Arn>().map(|arn| arn.resource).unwrap_or_default();
        match resource.split_once(':') {
            Some(("code-signing-config", _)) => {
                Ok(Self::CodeSigningConfig(SigningKey::of_arn(cx, arn)?))
            }
            Some(("event-source-mapping", uuid)) => {
                let key = MappingKey {
                    account: cx.account().to_owned(),
                    region: cx.region.clone(),
                    uuid: uuid.to_owned(),
                };
                // Another account's, and another region's, are none that could be found.
                if key.arn() == arn {
                    Ok(Self::EventSourceMapping(key))
                } else {
                    Err(mapping_not_found(arn))
                }
            }
            Some(("capacity-provider", _)) => {
                Err(Error::NotFound(format!("Capacity provider not found: {arn}")))
            }
            Some(("network-connector", _)) => {
                Err(Error::NotFound(format!("Network connector not found: {arn}")))
            }
            _ => {
                let target = reference::resolve(cx, operation, arn, None)?;
                if target.qualifier.is_some() {
                    return Err(Error::InvalidParameter(
                        "Tags on function aliases and versions are not supported. Please specify a function ARN."
                            .to_owned(),
                    ));
                }
                Ok(Self::Function(target.key().to_owned()))
            }
        }
    }
}

async fn change(
    lambda: &Lambda,
    cx: &Cx,
    resource: Tagged,
    change: impl Fn(&mut Tags) -> Result<(), Error> + Send + 'static,
) -> Result<(), Error> {
    let revision = cx.uuid().to_string();
    let snapshots = Arc::clone(&lambda.snapshots);
    lambda
        .store
        .write(move |tx: &mut Write| match &resource {
            Tagged::Function(key) => {
                let Some(mut record) = FUNCTIONS.get(tx, &key.record())? else {
                    return Err(Error::FunctionNotFound(key.arn(None)));
                };
                if matches!(record.lifecycle, Lifecycle::Updating { .. }) {
                    return Err(function::being_updated(key));
                }
                change(&mut record.tags)?;
                record.revision_id.clone_from(&revision);
                FUNCTIONS.put(tx, &key.record(), &record)?;
                function::forget_on_commit(tx, &snapshots, key);
                Ok(())
            }
            Tagged::EventSourceMapping(key) => {
                let Some(mut record) = MAPPINGS.get(tx, &key.record())? else {
                    return Err(mapping_not_found(&key.arn()));
                };
                change(&mut record.tags)?;
                Ok(MAPPINGS.put(tx, &key.record(), &record)?)
            }
            Tagged::CodeSigningConfig(key) => {
                let Some(mut record) = CODE_SIGNING_CONFIGS.get(tx, &key.record())? else {
                    return Err(key.not_found());
                };
                change(&mut record.tags)?;
                Ok(CODE_SIGNING_CONFIGS.put(tx, &key.record(), &record)?)
            }
        })
        .await
}

/// What tags may look like. The texts on single tags are ours: AWS's are not recorded.
pub(crate) fn check(tags: &Tags) -> Result<(), Error> {
    if tags.len() > TAGS_MAX {
        return Err(too_many());
    }
    let refused = |text: &str| Err(Error::InvalidParameter(text.to_owned()));
    for (key, value) in tags {
        if key.is_empty() || key.chars().count() > TAG_KEY_CHARS_MAX {
            return refused("The key of a tag must have 1 to 128 characters.");
        }
        if value.chars().count() > TAG_VALUE_CHARS_MAX {
            return refused("The value of a tag must have at most 256 characters.");
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return refused("The key of a tag must not begin with aws:.");
        }
    }
    Ok(())
}

fn too_many() -> Error {
    Error::InvalidParameter("Number of tags exceeds resource tag limit.".to_owned())
}
