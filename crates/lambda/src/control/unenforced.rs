//! Settings that nothing on this host can enforce: a VPC, a file system, a KMS key.
//!
//! They are refused by name. An operator whose templates have them, and who knows that they do nothing here, may have them
//! taken (`accept-unenforceable`): then they are checked and shown as AWS does, and the log says what has no effect.

use gatemill_api::lambda as api;
use gatemill_wire::Gap;

use super::gaps::{self, refuse, take};
use crate::{
    Error, Lambda,
    record::{FileSystem, Unenforced, Vpc},
};

/// What a request says about them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given {
    pub(crate) vpc: Option<api::VpcConfig>,
    pub(crate) file_systems: Option<Vec<api::FileSystemConfig>>,
    pub(crate) kms_key_arn: Option<String>,
}

/// Checks what a request says and puts it in place of what was there. What a request leaves out stays.
pub(crate) fn apply(
    lambda: &Lambda,
    old: Option<&Unenforced>,
    given: &Given,
) -> Result<Option<Unenforced>, Error> {
    let mut new = old.cloned().unwrap_or_default();
    if let Some(vpc) = &given.vpc {
        let vpc = Vpc {
            subnets: vpc.subnet_ids.clone().unwrap_or_default(),
            security_groups: vpc.security_group_ids.clone().unwrap_or_default(),
            dual_stack: vpc.ipv6_allowed_for_dual_stack.unwrap_or(false),
        };
        let used = vpc != Vpc::default();
        take(lambda, &gaps::VPC, used)?;
        if vpc.subnets.is_empty() != vpc.security_groups.is_empty() {
            return refused("VpcConfig needs both SubnetIds and SecurityGroupIds, or neither.");
        }
        // What was there once is shown as empty.
        new.vpc = (used || new.vpc.is_some()).then_some(vpc);
    }
    if let Some(file_systems) = &given.file_systems {
        refuse(&gaps::S3_FILES, file_systems.iter().any(|one| one.s3_files_config.is_some()))?;
        take(lambda, &gaps::FILE_SYSTEMS, !file_systems.is_empty())?;
        new.file_systems = file_systems
            .iter()
            .map(|one| FileSystem { arn: one.arn.clone(), path: one.local_mount_path.clone() })
            .collect();
    }
    if let Some(key) = &given.kms_key_arn {
        take(lambda, &gaps::KMS_KEY, !key.is_empty())?;
        new.kms_key_arn = Some(key.clone()).filter(|key| !key.is_empty());
    }
    if !new.file_systems.is_empty() && new.vpc.as_ref().is_none_or(|vpc| vpc.subnets.is_empty()) {
        return refused("A function with FileSystemConfigs has to be connected to a VPC.");
    }
    Ok((new != Unenforced::default()).then_some(new))
}

/// Checks the key that a request names for its code; an empty one is none.
pub(crate) fn source_key(
    lambda: &Lambda,
    gap: &'static Gap,
    given: Option<&String>,
) -> Result<Option<String>, Error> {
    let key = given.filter(|key| !key.is_empty());
    take(lambda, gap, key.is_some())?;
    Ok(key.cloned())
}

/// What there is with another key of the code: it comes with the code, and goes with it.
pub(crate) fn with_source_key(
    old: Option<&Unenforced>,
    source_kms_key_arn: Option<String>,
) -> Option<Unenforced> {
    let new = Unenforced { source_kms_key_arn, ..old.cloned().unwrap_or_default() };
    (new != Unenforced::default()).then_some(new)
}

fn refused<T>(text: &str) -> Result<T, Error> {
    Err(Error::InvalidParameter(text.to_owned()))
}

/// The key of the code, as `GetFunction` shows it.
pub(crate) fn shown_source_key(unenforced: Option<&Unenforced>) -> Option<String> {
    unenforced.and_then(|unenforced| unenforced.source_kms_key_arn.clone())
}

/// Puts what was taken into an answer.
pub(crate) fn show(unenforced: Option<&Unenforced>, view: &mut api::FunctionConfiguration) {
    let Some(unenforced) = unenforced else { return };
    view.vpc_config = unenforced.vpc.as_ref().map(|vpc| api::VpcConfigResponse {
        subnet_ids: Some(vpc.subnets.clone()),
        security_group_ids: Some(vpc.security_groups.clone()),
        vpc_id: Some(String::new()),
        ipv6_allowed_for_dual_stack: Some(vpc.dual_stack),
    });
    let file_systems = unenforced.file_systems.iter().map(|one| api::FileSystemConfig {
        arn: one.arn.clone(),
        local_mount_path: one.path.clone(),
        ..Default::default()
    });
    view.file_system_configs = Some(file_systems.collect()).filter(|all: &Vec<_>| !all.is_empty());
    view.kms_key_arn.clone_from(&unenforced.kms_key_arn);
}
