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
pub(crate) struct Shared<'a> {
    pub(crate) vpc: &'a Option<api::VpcConfig>,
    pub(crate) file_systems: &'a Option<Vec<api::FileSystemConfig>>,
    pub(crate) dead_letter: &'a Option<api::DeadLetterConfig>,
    pub(crate) kms_key_arn: &'a Option<String>,
    pub(crate) tracing: &'a Option<api::TracingConfig>,
    pub(crate) capacity_provider: bool,
    pub(crate) durable: bool,
    pub(crate) runtime_config: bool,
    pub(crate) accelerator: bool,
}

impl Shared<'_> {
    pub(crate) fn check(&self) -> Result<(), Error> {
        let some = |list: Option<&Vec<String>>| list.is_some_and(|list| !list.is_empty());
        let vpc = self.vpc.as_ref();
        refuse(
            "VpcConfig",
            vpc.is_some_and(|vpc| {
                some(vpc.subnet_ids.as_ref())
                    || some(vpc.security_group_ids.as_ref())
                    || vpc.ipv6_allowed_for_dual_stack == Some(true)
            }),
        )?;
        let file_systems = self.file_systems.as_ref();
        refuse("FileSystemConfigs", file_systems.is_some_and(|all| !all.is_empty()))?;
        let dead_letter = self.dead_letter.as_ref();
        refuse(
            "DeadLetterConfig",
            dead_letter.is_some_and(|config| given(config.target_arn.as_ref())),
        )?;
        refuse("KMSKeyArn", given(self.kms_key_arn.as_ref()))?;
        let tracing = self.tracing.as_ref().and_then(|config| config.mode.as_deref());
        refuse("TracingConfig.Mode Active", tracing == Some("Active"))?;
        refuse("CapacityProviderConfig", self.capacity_provider)?;
        refuse("DurableConfig", self.durable)?;
        refuse("RuntimeConfig", self.runtime_config)?;
        refuse("AcceleratorConfig", self.accelerator)
    }
}

pub(crate) fn create(request: &api::CreateFunctionRequest) -> Result<(), Error> {
    Shared {
        vpc: &request.vpc_config,
        file_systems: &request.file_system_configs,
        dead_letter: &request.dead_letter_config,
        kms_key_arn: &request.kms_key_arn,
        tracing: &request.tracing_config,
        capacity_provider: request.capacity_provider_config.is_some(),
        durable: request.durable_config.is_some(),
        runtime_config: request.runtime_config.is_some(),
        accelerator: request.accelerator_config.is_some(),
    }
    .check()?;
    refuse("CodeSigningConfigArn", given(request.code_signing_config_arn.as_ref()))?;
    refuse("PublishTo", given(request.publish_to.as_ref()))?;
    refuse("Code.SourceKMSKeyArn", given(request.code.source_kms_key_arn.as_ref()))?;
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
        vpc: &request.vpc_config,
        file_systems: &request.file_system_configs,
        dead_letter: &request.dead_letter_config,
        kms_key_arn: &request.kms_key_arn,
        tracing: &request.tracing_config,
        capacity_provider: request.capacity_provider_config.is_some(),
        durable: request.durable_config.is_some(),
        runtime_config: request.runtime_config.is_some(),
        accelerator: request.accelerator_config.is_some(),
    }
    .check()
}

pub(crate) fn update_code(request: &api::UpdateFunctionCodeRequest) -> Result<(), Error> {
    refuse("PublishTo", given(request.publish_to.as_ref()))?;
    refuse("SourceKMSKeyArn", given(request.source_kms_key_arn.as_ref()))?;
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
