//! Tags of APIs, stages, VPC links, domains, API keys and usage plans.

use std::collections::BTreeMap;

use gatemill_api::apigatewayv2::{
    GetTagsRequest, GetTagsResponse, TagResourceRequest, TagResourceResponse, UntagResourceRequest,
};
use gatemill_wire::{Arn, Cx};

use crate::{
    Gateway,
    control::{
        domain::{self, DomainPlace},
        edition::Edition,
        rest::{api_key, usage_plan},
        stage, vpc_link,
    },
    error::{Error, Result},
    limits::TAGS_MAX,
    record::{DOMAINS, VPC_LINKS},
    usage_plans::record::{API_KEYS, Place, USAGE_PLANS},
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
    let tags = match &resource {
        Resource::Api { id, stage: None } => gateway.read(cx, id, |_, _, api| Ok(api.tags)),
        Resource::Api { id, stage: Some(name) } => {
            gateway.read(cx, id, |tx, at, _| Ok(stage::find(tx, at, name)?.tags))
        }
        Resource::VpcLink(id) => {
            gateway.store.read(|tx| Ok(vpc_link::find(tx, &vpc_link::place(cx), id)?.tags))
        }
        Resource::Domain(name) => {
            gateway.store.read(|tx| Ok(domain::find(tx, &DomainPlace::new(cx), name)?.tags))
        }
        Resource::Key(id) => {
            gateway.store.read(|tx| Ok(api_key::find(tx, &Place::new(cx), id)?.tags))
        }
        Resource::Plan(id) => {
            gateway.store.read(|tx| Ok(usage_plan::find(tx, &Place::new(cx), id)?.tags))
        }
    }?;
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

/// What a tag operation names.
enum Resource {
    Api { id: String, stage: Option<String> },
    VpcLink(String),
    Domain(String),
    Key(String),
    Plan(String),
}

impl Resource {
    /// `arn:aws:apigateway:{region}::/apis/{id}`, `…/apis/{id}/stages/{name}`, `…/vpclinks/{id}`,
    /// `…/domainnames/{name}`, `…/apikeys/{id}` or `…/usageplans/{id}`.
    fn parse(cx: &Cx, text: &str) -> Result<Self> {
        let strange = || Error::NoSuchResource(text.to_owned());
        let arn: Arn = text.parse().map_err(|_| strange())?;
        if arn.service != "apigateway" || arn.region != cx.region {
            return Err(strange());
        }
        let parts: Vec<&str> = arn.resource.split('/').collect();
        if parts.iter().skip(1).any(|part| part.is_empty()) {
            return Err(strange());
        }
        match parts.as_slice() {
            ["", "apis", id] => Ok(Self::Api { id: (*id).to_owned(), stage: None }),
            ["", "apis", id, "stages", name] => {
                Ok(Self::Api { id: (*id).to_owned(), stage: Some((*name).to_owned()) })
            }
            ["", "vpclinks", id] => Ok(Self::VpcLink((*id).to_owned())),
            ["", "domainnames", name] => Ok(Self::Domain((*name).to_owned())),
            ["", "apikeys", id] => Ok(Self::Key((*id).to_owned())),
            ["", "usageplans", id] => Ok(Self::Plan((*id).to_owned())),
            _ => Err(strange()),
        }
    }
}

async fn change(
    gateway: &Gateway,
    cx: &Cx,
    resource: Resource,
    change: impl Fn(&mut Tags) -> Result<()> + Send + 'static,
) -> Result<()> {
    match resource {
        Resource::Api { id, stage: name } => {
            gateway
                .edit(cx, &id, move |edition: &mut Edition<'_>| match &name {
                    None => change(&mut edition.api.tags),
                    Some(name) => {
                        let mut stage = stage::find(edition.tx, edition.at, name)?;
                        change(&mut stage.tags)?;
                        edition.put_stage(&stage)
                    }
                })
                .await
        }
        Resource::VpcLink(id) => {
            let place = vpc_link::place(cx);
            let write = gateway.store.write(move |tx| {
                let mut link = vpc_link::find(tx, &place, &id)?;
                change(&mut link.tags)?;
                Ok(VPC_LINKS.put(tx, &place.clone().and(&link.id), &link)?)
            });
            write.await
        }
        // Tags route nothing, so that the proxy path need not hear of them.
        Resource::Domain(name) => {
            let place = DomainPlace::new(cx);
            let write = gateway.store.write(move |tx| {
                let mut domain = domain::find(tx, &place, &name)?;
                change(&mut domain.tags)?;
                Ok(DOMAINS.put(tx, &place.of(&domain.name), &domain)?)
            });
            write.await
        }
        Resource::Key(id) => {
            let place = Place::new(cx);
            let write = gateway.store.write(move |tx| {
                let mut key = api_key::find(tx, &place, &id)?;
                change(&mut key.tags)?;
                Ok(API_KEYS.put(tx, &place.of(&key.id), &key)?)
            });
            write.await
        }
        Resource::Plan(id) => {
            let place = Place::new(cx);
            let write = gateway.store.write(move |tx| {
                let mut plan = usage_plan::find(tx, &place, &id)?;
                change(&mut plan.tags)?;
                Ok(USAGE_PLANS.put(tx, &place.of(&plan.id), &plan)?)
            });
            write.await
        }
    }
}
