//! The scaling configuration of functions on Managed Instances.
//!
//! Only a function with a capacity provider has one, and none here has: its creation is refused. So both operations look for
//! the function and then answer what AWS answers for a function without a capacity provider. That was recorded of
//! `PutFunctionScalingConfig` (August 2026); of `GetFunctionScalingConfig` it is taken to be the same.

use gatemill_api::lambda as api;
use gatemill_wire::{Cx, Operation as _, OperationInfo};

use super::{reference, version};
use crate::{Error, Lambda};

/// `PutFunctionScalingConfig`.
pub(crate) async fn put(
    lambda: &Lambda,
    cx: &Cx,
    request: api::PutFunctionScalingConfigRequest,
) -> Result<api::PutFunctionScalingConfigResponse, Error> {
    let info = api::PutFunctionScalingConfig::INFO;
    Err(refusal(lambda, cx, info, &request.function_name, &request.qualifier)?)
}

/// `GetFunctionScalingConfig`.
pub(crate) async fn get(
    lambda: &Lambda,
    cx: &Cx,
    request: api::GetFunctionScalingConfigRequest,
) -> Result<api::GetFunctionScalingConfigResponse, Error> {
    let info = api::GetFunctionScalingConfig::INFO;
    Err(refusal(lambda, cx, info, &request.function_name, &request.qualifier)?)
}

/// What is said of a version that exists; the error is that it does not.
fn refusal(
    lambda: &Lambda,
    cx: &Cx,
    operation: &OperationInfo,
    name: &str,
    qualifier: &str,
) -> Result<Error, Error> {
    let target = reference::resolve(cx, operation, name, Some(qualifier))?;
    version::find(lambda, &target.key().to_owned(), target.qualifier.as_ref())?;
    Ok(Error::AccessDenied(
        "The function provided by the arn does not contain a capacity provider configuration"
            .to_owned(),
    ))
}
