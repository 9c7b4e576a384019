//! What is done about a function that is part of a loop: stopped, unless its owner allows it.

use gatemill_api::lambda as api;
use gatemill_wire::{Cx, Operation as _};

use super::reference;
use crate::{
    Error, Lambda,
    events::record::LOOPS_ALLOWED,
    record::{FUNCTIONS, Mark},
};

/// `PutFunctionRecursionConfig`.
pub(crate) async fn put(
    lambda: &Lambda,
    cx: &Cx,
    request: api::PutFunctionRecursionConfigRequest,
) -> Result<api::PutFunctionRecursionConfigResponse, Error> {
    let info = api::PutFunctionRecursionConfig::INFO;
    let (key, _) = reference::latest(cx, info, &request.function_name, None)?;
    let allowed = request.recursive_loop == "Allow";
    lambda
        .store
        .write(move |tx| {
            if !FUNCTIONS.contains(tx, &key.record())? {
                return Err(Error::FunctionNotFound(key.arn(None)));
            }
            if allowed {
                LOOPS_ALLOWED.put(tx, &key.record(), &Mark {})?;
            } else {
                LOOPS_ALLOWED.delete(tx, &key.record())?;
            }
            Ok(())
        })
        .await?;
    Ok(api::PutFunctionRecursionConfigResponse { recursive_loop: Some(request.recursive_loop) })
}

/// `GetFunctionRecursionConfig`.
pub(crate) async fn get(
    lambda: &Lambda,
    cx: &Cx,
    request: api::GetFunctionRecursionConfigRequest,
) -> Result<api::GetFunctionRecursionConfigResponse, Error> {
    let info = api::GetFunctionRecursionConfig::INFO;
    let (key, _) = reference::latest(cx, info, &request.function_name, None)?;
    let allowed = lambda.store.read(|tx| {
        if !FUNCTIONS.contains(tx, &key.record())? {
            return Err(Error::FunctionNotFound(key.arn(None)));
        }
        Ok(LOOPS_ALLOWED.contains(tx, &key.record())?)
    })?;
    let recursive_loop = Some(if allowed { "Allow" } else { "Terminate" }.to_owned());
    Ok(api::GetFunctionRecursionConfigResponse { recursive_loop })
}
