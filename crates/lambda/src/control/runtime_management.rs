//! Runtime management: which version of its runtime a function accepts.
//!
//! A host has one version of a runtime at a time, its interpreter. `Auto` runs with whatever that is. `Manual` and
//! `FunctionUpdate` name the version that a function was made for: once the host has another one, its calls fail and say so,
//! until the function is updated (`FunctionUpdate`) or told otherwise. AWS would still have the old version.

use std::sync::Arc;

use gatemill_api::lambda as api;
use gatemill_sandbox::runtime::{Fallback, Runtimes};
use gatemill_store::Write;
use gatemill_wire::{Cx, Operation as _, OperationInfo, Qualifier};

use super::{function, reference, version};
use crate::{
    Error, FunctionTarget, Lambda,
    record::{RUNTIME_PINS, RuntimePinRecord, policy_key},
    report,
    target::FunctionKey,
};

const AUTO: &str = "Auto";
const MANUAL: &str = "Manual";
const FUNCTION_UPDATE: &str = "FunctionUpdate";

/// `PutRuntimeManagementConfig`.
pub(crate) async fn put(
    lambda: &Lambda,
    cx: &Cx,
    request: api::PutRuntimeManagementConfigRequest,
) -> Result<api::PutRuntimeManagementConfigResponse, Error> {
    let named = (request.function_name.as_str(), request.qualifier.as_deref());
    let (target, number) = target(cx, api::PutRuntimeManagementConfig::INFO, named)?;
    let key = target.key().to_owned();
    let found = version::find(lambda, &key, target.qualifier.as_ref())?;
    let refused = |text: String| Err(Error::InvalidParameter(text));
    if found.record.configuration.image.is_some() {
        return refused(
            "Runtime management is not supported for functions created with container images."
                .to_owned(),
        );
    }
    let given = request.runtime_version_arn;
    let update_on = request.update_runtime_on;
    let installed = installed(lambda, &key.region, &found.record.configuration.runtime)?;
    let pin = match (update_on.as_str(), &given) {
        (MANUAL, None) => {
            return refused(
                "RuntimeVersionArn is required when UpdateRuntimeOn is Manual.".to_owned(),
            );
        }
        (MANUAL, Some(arn)) if *arn != installed => {
            return refused(format!(
                "The runtime version {arn} is not available. This host has {installed}."
            ));
        }
        (_, Some(_)) if update_on != MANUAL => {
            return refused(
                "RuntimeVersionArn is only supported when UpdateRuntimeOn is Manual.".to_owned(),
            );
        }
        (AUTO, _) => None,
        _ => Some(RuntimePinRecord { update_on: update_on.clone(), arn: installed }),
    };
    let place = policy_key(&key, &number);
    let snapshots = Arc::clone(&lambda.snapshots);
    lambda
        .store
        .write(move |tx| {
            match &pin {
                Some(pin) => RUNTIME_PINS.put(tx, &place, pin)?,
                None => drop(RUNTIME_PINS.delete(tx, &place)?),
            }
            function::forget_on_commit(tx, &snapshots, &key);
            Ok::<_, Error>(())
        })
        .await?;
    Ok(api::PutRuntimeManagementConfigResponse {
        update_runtime_on: update_on,
        function_arn: target.arn(),
        runtime_version_arn: given,
    })
}

/// `GetRuntimeManagementConfig`.
pub(crate) async fn get(
    lambda: &Lambda,
    cx: &Cx,
    request: api::GetRuntimeManagementConfigRequest,
) -> Result<api::GetRuntimeManagementConfigResponse, Error> {
    let named = (request.function_name.as_str(), request.qualifier.as_deref());
    let (target, number) = target(cx, api::GetRuntimeManagementConfig::INFO, named)?;
    let key = target.key().to_owned();
    version::find(lambda, &key, target.qualifier.as_ref())?;
    let place = policy_key(&key, &number);
    let pin = lambda.store.read(|tx| Ok::<_, Error>(RUNTIME_PINS.get(tx, &place)?))?;
    let update_on = pin.as_ref().map_or(AUTO, |pin| pin.update_on.as_str()).to_owned();
    Ok(api::GetRuntimeManagementConfigResponse {
        runtime_version_arn: pin.map(|pin| pin.arn).filter(|_| update_on == MANUAL),
        update_runtime_on: Some(update_on),
        function_arn: Some(target.arn()),
    })
}

/// What a request names: `$LATEST` or a published version, each with a setting of its own. Gives the qualifier that the
/// setting is stored under, too; that of `$LATEST` is empty.
fn target(
    cx: &Cx,
    operation: &OperationInfo,
    (name, qualifier): (&str, Option<&str>),
) -> Result<(FunctionTarget, String), Error> {
    let target = reference::resolve(cx, operation, name, qualifier)?;
    let number = match &target.qualifier {
        None | Some(Qualifier::Latest) => String::new(),
        Some(Qualifier::Version(number)) => number.to_string(),
        Some(Qualifier::Alias(_)) => {
            return Err(Error::InvalidParameter(
                "Runtime management is not supported for aliases. Please specify $LATEST or a function version."
                    .to_owned(),
            ));
        }
    };
    Ok((target, number))
}

fn installed(lambda: &Lambda, region: &str, runtime: &str) -> Result<String, Error> {
    installed_of(&lambda.runtimes, lambda.settings.nearest_runtime, region, runtime)
}

/// The version of a runtime that this host has.
fn installed_of(
    runtimes: &Runtimes,
    nearest: bool,
    region: &str,
    runtime: &str,
) -> Result<String, Error> {
    let fallback = if nearest { Fallback::Nearest } else { Fallback::No };
    let found = runtimes.resolve(runtime, fallback);
    let (pack, _) = found.map_err(|missing| Error::runtime_missing(runtime, &missing))?;
    Ok(report::runtime_version_arn(region, &pack))
}

/// What an update of a function does to its pin, besides everything else.
pub(crate) struct Renewal {
    runtimes: Arc<Runtimes>,
    nearest: bool,
}

impl Renewal {
    pub(crate) fn new(lambda: &Lambda) -> Self {
        let runtimes = Arc::clone(&lambda.runtimes);
        Self { runtimes, nearest: lambda.settings.nearest_runtime }
    }

    /// A function that updates its runtime with itself has the one of this host from now on.
    pub(crate) fn renew(
        &self,
        tx: &mut Write,
        key: &FunctionKey,
        runtime: &str,
    ) -> Result<(), Error> {
        let place = policy_key(key, "");
        match RUNTIME_PINS.get(tx, &place)? {
            Some(pin) if pin.update_on == FUNCTION_UPDATE => {
                let arn = installed_of(&self.runtimes, self.nearest, &key.region, runtime)?;
                Ok(RUNTIME_PINS.put(tx, &place, &RuntimePinRecord { arn, ..pin })?)
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Removes what a version, or with `None` the function and all its versions, had set.
pub(crate) fn remove(tx: &mut Write, key: &FunctionKey, number: Option<u64>) -> Result<(), Error> {
    match number {
        Some(number) => drop(RUNTIME_PINS.delete(tx, &policy_key(key, &number.to_string()))?),
        None => {
            for (place, _) in RUNTIME_PINS.scan(tx, &key.record(), None, usize::MAX)? {
                RUNTIME_PINS.delete(tx, &place)?;
            }
        }
    }
    Ok(())
}
