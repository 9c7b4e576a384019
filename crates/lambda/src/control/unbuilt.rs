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

/// The members that creating and updating share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) capacity_provider: bool,
    pub(crate) runtime_config: bool,
    pub(crate) accelerator: bool,
}

impl Shared {
    pub(crate) fn check(&self) -> Result<(), Error> {
        refuse("CapacityProviderConfig", self.capacity_provider)?;
        refuse("RuntimeConfig", self.runtime_config)?;
        refuse("AcceleratorConfig", self.accelerator)
    }
}

pub(crate) fn create(request: &api::CreateFunctionRequest) -> Result<(), Error> {
    Shared {
        capacity_provider: request.capacity_provider_config.is_some(),
        runtime_config: request.runtime_config.is_some(),
        accelerator: request.accelerator_config.is_some(),
    }
    .check()?;
    refuse("PublishTo", given(request.publish_to.as_ref()))?;
    refuse(
        "Code.S3ObjectStorageMode REFERENCE",
        request.code.s3_object_storage_mode.as_deref() == Some("REFERENCE"),
    )?;
    architectures(request.architectures.as_deref())
}

pub(crate) fn update_configuration(
    request: &api::UpdateFunctionConfigurationRequest,
) -> Result<(), Error> {
    Shared {
        capacity_provider: request.capacity_provider_config.is_some(),
        runtime_config: request.runtime_config.is_some(),
        accelerator: request.accelerator_config.is_some(),
    }
    .check()
}

pub(crate) fn update_code(request: &api::UpdateFunctionCodeRequest) -> Result<(), Error> {
    refuse("PublishTo", given(request.publish_to.as_ref()))?;
    refuse(
        "S3ObjectStorageMode REFERENCE",
        request.s3_object_storage_mode.as_deref() == Some("REFERENCE"),
    )?;
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
