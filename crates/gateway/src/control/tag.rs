//! Tags of APIs and stages.

use std::collections::BTreeMap;

use gatemill_api::apigatewayv2::{
    GetTagsRequest, GetTagsResponse, TagResourceRequest, TagResourceResponse, UntagResourceRequest,
};
use gatemill_wire::{Arn, Cx};

use crate::{
    Gateway,
    control::{edition::Edition, stage},
    error::{Error, Result},
    limits::TAGS_MAX,
};

type Tags = BTreeMap<String, String>;

/// `TagResource`.
pub(crate) async fn tag(
    gateway: &Gateway,
    cx: &Cx,
    req: TagResourceRequest,
) -> Result<TagResourceResponse> {
    let resource = Resource::parse(cx, &req.resource_arn)?;
    let given = req.tags.unwrap_or_default();
    change(gateway, cx, resource, move |tags| {
        tags.extend(given.clone());
        accept(std::mem::take(tags)).map(|checked| *tags = checked)
    })
    .await?;
    Ok(TagResourceResponse {})
}

/// `UntagResource`.
pub(crate) async fn untag(gateway: &Gateway, cx: &Cx, req: UntagResourceRequest) -> Result<()> {
    let resource = Resource::parse(cx, &req.resource_arn)?;
    change(gateway, cx, resource, move |tags| {
        tags.retain(|key, _| !req.tag_keys.contains(key));
        Ok(())
    })
    .await
}

/// `GetTags`.
pub(crate) async fn get(
    gateway: &Gateway,
    cx: &Cx,
    req: GetTagsRequest,
) -> Result<GetTagsResponse> {
    let resource = Resource::parse(cx, &req.resource_arn)?;
    let tags = gateway.read(cx, &resource.api, |tx, at, api| match &resource.stage {
        None => Ok(api.tags),
        Some(name) => Ok(stage::find(tx, at, name)?.tags),
    })?;
    Ok(GetTagsResponse { tags: Some(tags) })
}

/// Checks tags against AWS's quotas: 50, keys of 1 to 128 characters, values of at most 256.
pub(crate) fn accept(tags: Tags) -> Result<Tags> {
    if tags.len() > TAGS_MAX {
        return Err(Error::invalid(format!("The maximum number of tags is {TAGS_MAX}")));
    }
    for (key, value) in &tags {
        if !(1..=128).contains(&key.chars().count()) || value.chars().count() > 256 {
            return Err(Error::invalid("Invalid tag specified"));
        }
        if key.starts_with("aws:") {
            return Err(Error::invalid("Tag keys starting with aws: are reserved"));
        }
    }
    Ok(tags)
}

/// What a tag operation names: an API, or a stage of one.
struct Resource {
    api: String,
    stage: Option<String>,
}

impl Resource {
    /// `arn:aws:apigateway:{region}::/apis/{id}` or `…/apis/{id}/stages/{name}`.
    fn parse(cx: &Cx, text: &str) -> Result<Self> {
        let strange = || Error::NoSuchResource(text.to_owned());
        let arn: Arn = text.parse().map_err(|_| strange())?;
        if arn.service != "apigateway" || arn.region != cx.region {
            return Err(strange());
        }
        let path = arn.resource.strip_prefix("/apis/").ok_or_else(strange)?;
        let resource = match path.split_once('/') {
            None => Self { api: path.to_owned(), stage: None },
            Some((api, rest)) => {
                let stage = rest.strip_prefix("stages/").filter(|name| !name.contains('/'));
                Self { api: api.to_owned(), stage: Some(stage.ok_or_else(strange)?.to_owned()) }
            }
        };
        if resource.api.is_empty() { Err(strange()) } else { Ok(resource) }
    }
}

async fn change(
    gateway: &Gateway,
    cx: &Cx,
    resource: Resource,
    change: impl Fn(&mut Tags) -> Result<()> + Send + 'static,
) -> Result<()> {
    let api = resource.api.clone();
    gateway
        .edit(cx, &api, move |edition: &mut Edition<'_>| match &resource.stage {
            None => change(&mut edition.api.tags),
            Some(name) => {
                let mut stage = stage::find(edition.tx, edition.at, name)?;
                change(&mut stage.tags)?;
                edition.put_stage(&stage)
            }
        })
        .await
}
