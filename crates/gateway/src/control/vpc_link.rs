//! The family of VPC links.
//!
//! A link is a way to hosts that clients cannot reach, such as containers on this machine or in its network. There is no
//! VPC here: a link is available at once and leads wherever this machine's network leads, and the subnets and security
//! groups, which AWS demands, are kept because tools compare them (see `docs/decisions/0015-private-integrations.md`).

use gatemill_api::apigatewayv2::{
    CreateVpcLinkRequest, CreateVpcLinkResponse, DeleteVpcLinkRequest, DeleteVpcLinkResponse,
    GetVpcLinkRequest, GetVpcLinkResponse, GetVpcLinksRequest, GetVpcLinksResponse,
    UpdateVpcLinkRequest, UpdateVpcLinkResponse, VpcLink,
};
use gatemill_store::{Key, Reader};
use gatemill_wire::{Cx, Iso8601};

use crate::{
    Gateway,
    control::{edition::Edition, length, page::page, tag},
    error::{Error, Result},
    limits::VPC_LINKS_MAX,
    record::{ApiKey, IdRecord, VPC_LINK_USERS, VPC_LINKS, VpcLinkRecord},
};

/// The members of a VPC link in an answer; the answers of four operations have the same.
macro_rules! members {
    ($answer:ident, $record:expr) => {{
        let record: &VpcLinkRecord = $record;
        $answer {
            created_date: Some(Iso8601(record.created)),
            name: record.name.clone().into(),
            security_group_ids: record.security_groups.clone().into(),
            subnet_ids: record.subnets.clone().into(),
            tags: Some(record.tags.clone()),
            vpc_link_id: record.id.clone().into(),
            vpc_link_status: Some("AVAILABLE".to_owned()),
            vpc_link_status_message: Some("VPC link is ready to route traffic".to_owned()),
            vpc_link_version: Some("V2".to_owned()),
        }
    }};
}

/// Where the links of a caller are.
pub(super) fn place(cx: &Cx) -> Key {
    Key::new([cx.account(), &cx.region])
}

/// `CreateVpcLink`.
pub(crate) async fn create(
    gateway: &Gateway,
    cx: &Cx,
    req: CreateVpcLinkRequest,
) -> Result<CreateVpcLinkResponse> {
    length("name", &req.name, 1, 128)?;
    if req.subnet_ids.is_empty() {
        return Err(Error::invalid("SubnetIds must contain at least one subnet"));
    }
    let link = VpcLinkRecord {
        id: cx.id(6),
        name: req.name,
        subnets: req.subnet_ids,
        security_groups: req.security_group_ids.unwrap_or_default(),
        tags: tag::accept(req.tags.unwrap_or_default())?,
        created: cx.now,
    };
    let answer = members!(CreateVpcLinkResponse, &link);
    let place = place(cx);
    gateway
        .store
        .write(move |tx| {
            if VPC_LINKS.count(tx, &place)? >= VPC_LINKS_MAX {
                return Err(Error::TooMany("VPC Links"));
            }
            Ok(VPC_LINKS.put(tx, &place.clone().and(&link.id), &link)?)
        })
        .await?;
    Ok(answer)
}

/// `GetVpcLink`.
pub(crate) async fn get(
    gateway: &Gateway,
    cx: &Cx,
    req: GetVpcLinkRequest,
) -> Result<GetVpcLinkResponse> {
    let link = gateway.store.read(|tx| find(tx, &place(cx), &req.vpc_link_id))?;
    Ok(members!(GetVpcLinkResponse, &link))
}

/// `GetVpcLinks`.
pub(crate) async fn list(
    gateway: &Gateway,
    cx: &Cx,
    req: GetVpcLinksRequest,
) -> Result<GetVpcLinksResponse> {
    let (links, next_token) = gateway.store.read(|tx| {
        page(&VPC_LINKS, tx, &place(cx), req.max_results.as_deref(), req.next_token.as_deref())
    })?;
    let items = links.iter().map(|link| members!(VpcLink, link)).collect();
    Ok(GetVpcLinksResponse { items: Some(items), next_token })
}

/// `UpdateVpcLink`: the name alone.
pub(crate) async fn update(
    gateway: &Gateway,
    cx: &Cx,
    req: UpdateVpcLinkRequest,
) -> Result<UpdateVpcLinkResponse> {
    length("name", req.name.as_deref().unwrap_or("-"), 1, 128)?;
    let place = place(cx);
    let link = gateway
        .store
        .write(move |tx| {
            let mut link = find(tx, &place, &req.vpc_link_id)?;
            if let Some(name) = &req.name {
                link.name.clone_from(name);
            }
            VPC_LINKS.put(tx, &place.clone().and(&link.id), &link)?;
            Ok::<_, Error>(link)
        })
        .await?;
    Ok(members!(UpdateVpcLinkResponse, &link))
}

/// `DeleteVpcLink`. Integrations through it answer 500 from then on.
pub(crate) async fn delete(
    gateway: &Gateway,
    cx: &Cx,
    req: DeleteVpcLinkRequest,
) -> Result<DeleteVpcLinkResponse> {
    let place = place(cx);
    let live = std::sync::Arc::clone(&gateway.live);
    gateway
        .store
        .write(move |tx| {
            find(tx, &place, &req.vpc_link_id)?;
            let key = place.clone().and(&req.vpc_link_id);
            VPC_LINKS.delete(tx, &key)?;
            for (user, api) in VPC_LINK_USERS.scan(tx, &key, None, usize::MAX)? {
                VPC_LINK_USERS.delete(tx, &user)?;
                let live = std::sync::Arc::clone(&live);
                tx.on_commit(move || live.changed(&api.id));
            }
            Ok::<_, Error>(())
        })
        .await?;
    Ok(DeleteVpcLinkResponse {})
}

/// Notes that an API goes through a link, which has to be there.
pub(crate) fn link(edition: &mut Edition<'_>, id: Option<&str>) -> Result<()> {
    let Some(id) = id else { return Ok(()) };
    let ApiKey { account, region, id: api } = edition.at;
    let place = Key::new([account, region]);
    find(edition.tx, &place, id)?;
    let user = IdRecord { id: api.clone() };
    Ok(VPC_LINK_USERS.put(edition.tx, &place.and(id).and(api), &user)?)
}

/// The link of this id, which has to be there.
pub(crate) fn find(from: &impl Reader, place: &Key, id: &str) -> Result<VpcLinkRecord> {
    let link = VPC_LINKS.get(from, &place.clone().and(id))?;
    link.ok_or_else(|| Error::NoSuchVpcLink(id.to_owned()))
}
