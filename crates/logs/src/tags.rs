//! Tags of log groups.

use std::collections::BTreeMap;

use gatemill_api::logs::{
    ListTagsForResourceRequest, ListTagsForResourceResponse, ListTagsLogGroupRequest,
    ListTagsLogGroupResponse, TagResourceRequest, UntagResourceRequest,
};
use gatemill_store::Key;
use gatemill_wire::Cx;

use crate::{
    Error, Logs,
    limits::TAGS_MAX,
    names::{find_group, group_of_arn},
    records::{GROUPS, group_key},
};

pub(crate) async fn list(
    logs: &Logs,
    cx: &Cx,
    req: ListTagsForResourceRequest,
) -> Result<ListTagsForResourceResponse, Error> {
    let key = resource(cx, &req.resource_arn)?;
    let group = logs.store.read(|read| GROUPS.get(read, &key))?.ok_or(Error::NoResource)?;
    Ok(ListTagsForResourceResponse { tags: Some(group.tags) })
}

pub(crate) async fn list_of_group(
    logs: &Logs,
    cx: &Cx,
    req: ListTagsLogGroupRequest,
) -> Result<ListTagsLogGroupResponse, Error> {
    let group = logs.store.read(|read| find_group(cx, read, &req.log_group_name))?;
    Ok(ListTagsLogGroupResponse { tags: Some(group.tags) })
}

pub(crate) async fn tag(logs: &Logs, cx: &Cx, req: TagResourceRequest) -> Result<(), Error> {
    let key = resource(cx, &req.resource_arn)?;
    change(logs, key, move |tags| tags.extend(req.tags.clone())).await
}

pub(crate) async fn untag(logs: &Logs, cx: &Cx, req: UntagResourceRequest) -> Result<(), Error> {
    let key = resource(cx, &req.resource_arn)?;
    change(logs, key, move |tags| tags.retain(|key, _| !req.tag_keys.contains(key))).await
}

async fn change(
    logs: &Logs,
    key: Key,
    change: impl Fn(&mut BTreeMap<String, String>) + Send + 'static,
) -> Result<(), Error> {
    logs.store
        .write(move |tx| {
            let mut group = GROUPS.get(tx, &key)?.ok_or(Error::NoResource)?;
            change(&mut group.tags);
            if group.tags.len() > TAGS_MAX {
                return Err(Error::TooManyTags);
            }
            GROUPS.put(tx, &key, &group)?;
            Ok(())
        })
        .await
}

fn resource(cx: &Cx, arn: &str) -> Result<Key, Error> {
    let name = group_of_arn(cx, arn).ok_or(Error::NoResource)?;
    Ok(group_key(cx.account(), &cx.region, &name))
}
