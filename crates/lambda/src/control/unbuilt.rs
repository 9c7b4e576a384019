//! Which members that are not built a request of a function has ([`gaps`] says why each is not).

use gatemill_api::lambda as api;

use super::{
    durable,
    gaps::{self, refuse, take},
};
use crate::{Error, Lambda};

fn given(text: Option<&String>) -> bool {
    text.is_some_and(|text| !text.is_empty())
}

pub(crate) fn create(lambda: &Lambda, request: &api::CreateFunctionRequest) -> Result<(), Error> {
    refuse(&gaps::CAPACITY_PROVIDER, request.capacity_provider_config.is_some())?;
    refuse(&gaps::RUNTIME_CONFIG, request.runtime_config.is_some())?;
    refuse(&gaps::ACCELERATOR, request.accelerator_config.is_some())?;
    take(lambda, &gaps::DURABLE_KEY, durable::names_key(request.durable_config.as_ref()))?;
    refuse(&gaps::PUBLISH_TO, given(request.publish_to.as_ref()))?;
    architectures(request.architectures.as_deref())
}

pub(crate) fn update_configuration(
    lambda: &Lambda,
    request: &api::UpdateFunctionConfigurationRequest,
) -> Result<(), Error> {
    // No function here has one, and AWS lets none get one later.
    if request.capacity_provider_config.is_some() {
        return Err(Error::InvalidParameter(
            "CapacityProviderConfig isn't supported for Lambda Default functions.".to_owned(),
        ));
    }
    refuse(&gaps::RUNTIME_CONFIG, request.runtime_config.is_some())?;
    refuse(&gaps::ACCELERATOR, request.accelerator_config.is_some())?;
    take(lambda, &gaps::DURABLE_KEY, durable::names_key(request.durable_config.as_ref()))
}

pub(crate) fn update_code(request: &api::UpdateFunctionCodeRequest) -> Result<(), Error> {
    refuse(&gaps::PUBLISH_TO, given(request.publish_to.as_ref()))?;
    architectures(request.architectures.as_deref())
}

/// Only the host's own architecture runs here.
fn architectures(wanted: Option<&[String]>) -> Result<(), Error> {
    let mut wanted = wanted.into_iter().flatten();
    refuse(&gaps::ARCHITECTURES, wanted.any(|one| one.as_str() != host_architecture()))
}

/// The architecture of this host, in AWS's word.
pub(crate) fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        other => other,
    }
}
