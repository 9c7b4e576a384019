//! Members of requests that this version does not have.
//!
//! A setting that is stored and not enforced would be a lie, so each is refused by name, except for the values that mean
//! "not used", which clients such as Terraform send.

use gatemill_api::lambda as api;

use crate::Error;

/// Refuses when `used`.
fn refuse(field: &str, used: bool) -> Result<(), Error> {
    if used { Err(Error::field_not_built(field)) } else { Ok(()) }
}

fn given(text: Option<&String>) -> bool {
    text.is_some_and(|text| !text.is_empty())
}

pub(crate) fn create(request: &api::CreateFunctionRequest) -> Result<(), Error> {
    refuse("CapacityProviderConfig", request.capacity_provider_config.is_some())?;
    refuse("RuntimeConfig", request.runtime_config.is_some())?;
    refuse("AcceleratorConfig", request.accelerator_config.is_some())?;
    refuse("PublishTo", given(request.publish_to.as_ref()))?;
    architectures(request.architectures.as_deref())
}

pub(crate) fn update_configuration(
    request: &api::UpdateFunctionConfigurationRequest,
) -> Result<(), Error> {
    // No function here has one, and AWS lets none get one later.
    if request.capacity_provider_config.is_some() {
        return Err(Error::InvalidParameter(
            "CapacityProviderConfig isn't supported for Lambda Default functions.".to_owned(),
        ));
    }
    refuse("RuntimeConfig", request.runtime_config.is_some())?;
    refuse("AcceleratorConfig", request.accelerator_config.is_some())
}

pub(crate) fn update_code(request: &api::UpdateFunctionCodeRequest) -> Result<(), Error> {
    refuse("PublishTo", given(request.publish_to.as_ref()))?;
    architectures(request.architectures.as_deref())
}

/// Only the host's own architecture runs here.
fn architectures(wanted: Option<&[String]>) -> Result<(), Error> {
    let other = wanted.into_iter().flatten().find(|one| one.as_str() != host_architecture());
    match other {
        Some(other) => Err(Error::field_not_built(&format!("Architectures {other} on this host"))),
        None => Ok(()),
    }
}

/// The architecture of this host, in AWS's word.
pub(crate) fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        other => other,
    }
}
