//! The Security Token Service: who am I?

use gatemill_api::sts::{GetCallerIdentityRequest, GetCallerIdentityResponse};
use gatemill_wire::Cx;

use crate::{Error, Identity};

pub(crate) async fn get_caller_identity(
    _identity: &Identity,
    cx: &Cx,
    _req: GetCallerIdentityRequest,
) -> Result<GetCallerIdentityResponse, Error> {
    let caller = &cx.caller;
    Ok(GetCallerIdentityResponse {
        user_id: Some(caller.user_id.clone()),
        account: Some(caller.account.clone()),
        arn: Some(caller.arn.clone()),
    })
}
