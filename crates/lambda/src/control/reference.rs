//! From what a request names to a function of the caller's account and region.

use gatemill_wire::{Cx, FunctionRef, OperationInfo, Qualifier, function_ref::BadReference};

use crate::{Error, FunctionTarget, target::FunctionKey};

/// Reads a reference, and refuses another region's and another account's.
pub(crate) fn resolve(
    cx: &Cx,
    operation: &OperationInfo,
    name: &str,
    qualifier: Option<&str>,
) -> Result<FunctionTarget, Error> {
    let reference = FunctionRef::parse(name, qualifier).map_err(|bad| match bad {
        BadReference::QualifierMismatch => Error::InvalidParameter(bad.to_string()),
        BadReference::Malformed => Error::Validation(format!(
            "1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: Member must \
             be a function name, partial ARN or ARN"
        )),
    })?;
    let region = reference.region.unwrap_or_else(|| cx.region.clone());
    if region != cx.region {
        return Err(Error::OtherRegion { named: region, here: cx.region.clone() });
    }
    let account = reference.account.unwrap_or_else(|| cx.account().to_owned());
    let target =
        FunctionTarget { account, region, name: reference.name, qualifier: reference.qualifier };
    if target.account != cx.account() {
        let (user, action, arn) = (&cx.caller.arn, operation.action, target.arn());
        return Err(Error::AccessDenied(format!(
            "User: {user} is not authorized to perform: {action} on resource: {arn} because no resource-based policy \
             allows the {action} action"
        )));
    }
    Ok(target)
}

/// As [`resolve`], for operations on `$LATEST` alone. The qualifier that was named stays, for ARNs in answers.
pub(crate) fn latest(
    cx: &Cx,
    operation: &OperationInfo,
    name: &str,
    qualifier: Option<&str>,
) -> Result<(FunctionKey, Option<Qualifier>), Error> {
    let target = resolve(cx, operation, name, qualifier)?;
    match target.qualifier {
        None | Some(Qualifier::Latest) => Ok((target.key().to_owned(), target.qualifier)),
        // The operation is not about versions or aliases: AWS answers that there is no such function.
        Some(Qualifier::Version(_) | Qualifier::Alias(_)) => {
            Err(Error::FunctionNotFound(target.arn()))
        }
    }
}
