//! Tags, as `apigateway` has them: the same as in `apigatewayv2`, of the same resources and of keys and plans.

use gatemill_api::{
    apigateway::{GetTagsRequest, TagResourceRequest, Tags, UntagResourceRequest},
    apigatewayv2,
};
use gatemill_wire::Cx;

use crate::{Gateway, control::tag, error::Result};

/// `TagResource`.
pub(super) async fn tag(gateway: &Gateway, cx: &Cx, req: TagResourceRequest) -> Result<()> {
    let TagResourceRequest { resource_arn, tags } = req;
    let req = apigatewayv2::TagResourceRequest { resource_arn, tags: Some(tags) };
    tag::tag(gateway, cx, req).await.map(|_| ())
}

/// `UntagResource`.
pub(super) async fn untag(gateway: &Gateway, cx: &Cx, req: UntagResourceRequest) -> Result<()> {
    let UntagResourceRequest { resource_arn, tag_keys } = req;
    tag::untag(gateway, cx, apigatewayv2::UntagResourceRequest { resource_arn, tag_keys }).await
}

/// `GetTags`.
pub(super) async fn get(gateway: &Gateway, cx: &Cx, req: GetTagsRequest) -> Result<Tags> {
    let req = apigatewayv2::GetTagsRequest { resource_arn: req.resource_arn };
    Ok(Tags { tags: tag::get(gateway, cx, req).await?.tags })
}
