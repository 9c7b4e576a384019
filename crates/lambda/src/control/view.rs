//! A function as clients read it.

use gatemill_api::lambda as api;
use gatemill_sandbox::runtime::Fallback;
use gatemill_wire::{Qualifier, Timestamp};

use super::{durable, image, unbuilt::host_architecture, unenforced};
use crate::{
    Lambda,
    layer_record::UsedLayer,
    record::{FunctionRecord, Lifecycle, LogFormat, Logging, Variables},
    report,
    target::FunctionKey,
};

/// The code of a failure by a fault of ours.
const INTERNAL: &str = "InternalError";

/// Why a function is still there that was deleted. The text is ours: AWS's is not recorded.
const DRAINING: &str = "The function is deleted when its durable executions are over.";

/// What stands in the answer besides the record itself.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Named<'a> {
    /// The version that the record is of; `None` is `$LATEST`.
    pub(crate) version: Option<u64>,
    /// The qualifier that the ARN ends with.
    pub(crate) qualifier: Option<&'a Qualifier>,
}

/// The configuration with its states.
pub(crate) fn configuration(
    lambda: &Lambda,
    key: &FunctionKey,
    record: &FunctionRecord,
    named: Named<'_>,
) -> api::FunctionConfiguration {
    let mut view = listed(lambda, key, record, named);
    let owned = |text: &str| Some(text.to_owned());
    let (state, reason, code) = match &record.lifecycle {
        Lifecycle::Creating => {
            ("Pending", Some("The function is being created."), Some("Creating"))
        }
        Lifecycle::CreateFailed { reason, code } => {
            ("Failed", Some(reason.as_str()), Some(code.as_deref().unwrap_or(INTERNAL)))
        }
        Lifecycle::Active | Lifecycle::Updating { .. } | Lifecycle::UpdateFailed { .. } => {
            ("Active", None, None)
        }
    };
    let (state, reason, code) = match record.draining {
        true => ("Deleting", Some(DRAINING), Some("DrainingDurableExecutions")),
        false => (state, reason, code),
    };
    view.state = owned(state);
    view.state_reason = reason.and_then(owned);
    view.state_reason_code = code.and_then(owned);
    let (status, reason, code) = match &record.lifecycle {
        Lifecycle::Creating => (None, None, None),
        Lifecycle::CreateFailed { reason, code } | Lifecycle::UpdateFailed { reason, code } => {
            (Some("Failed"), Some(reason.as_str()), Some(code.as_deref().unwrap_or(INTERNAL)))
        }
        Lifecycle::Active => (Some("Successful"), None, None),
        Lifecycle::Updating { .. } => {
            (Some("InProgress"), Some("The function is being created."), Some("Creating"))
        }
    };
    view.last_update_status = status.and_then(owned);
    view.last_update_status_reason = reason.and_then(owned);
    view.last_update_status_reason_code = code.and_then(owned);
    view
}

/// The configuration as lists show it: without its states.
pub(crate) fn listed(
    lambda: &Lambda,
    key: &FunctionKey,
    record: &FunctionRecord,
    named: Named<'_>,
) -> api::FunctionConfiguration {
    let configuration = &record.configuration;
    let image = configuration.image.as_ref();
    let signing = configuration.signing.as_ref();
    let number = |number: u32| i32::try_from(number).ok();
    let mut view = api::FunctionConfiguration {
        function_name: Some(key.name.clone()),
        function_arn: Some(key.arn(named.qualifier)),
        runtime: Some(configuration.runtime.clone()).filter(|_| image.is_none()),
        role: Some(configuration.role.clone()),
        handler: Some(configuration.handler.clone()).filter(|_| image.is_none()),
        code_size: i64::try_from(configuration.package.bytes).ok(),
        description: Some(configuration.description.clone()),
        timeout: number(configuration.timeout_s),
        memory_size: number(configuration.memory_mb),
        last_modified: Some(Timestamp(record.last_modified_ms).lambda()),
        code_sha256: Some(configuration.code_sha256()),
        version: Some(named.version.map_or_else(|| "$LATEST".to_owned(), |n| n.to_string())),
        layers: layers(&configuration.layers),
        dead_letter_config: configuration
            .dead_letter_arn
            .clone()
            .map(|arn| api::DeadLetterConfig { target_arn: Some(arn) }),
        environment: configuration
            .environment
            .as_ref()
            .map(|variables| environment(lambda, key, variables)),
        tracing_config: Some(api::TracingConfigResponse {
            mode: Some(if configuration.traced { "Active" } else { "PassThrough" }.to_owned()),
        }),
        revision_id: Some(record.revision_id.clone()),
        signing_profile_version_arn: signing.map(|signing| signing.profile.clone()),
        signing_job_arn: signing.map(|signing| signing.job.clone()),
        package_type: Some(if image.is_some() { "Image" } else { "Zip" }.to_owned()),
        image_config_response: image.and_then(image::view),
        architectures: Some(vec![host_architecture().to_owned()]),
        ephemeral_storage: number(configuration.ephemeral_mb)
            .map(|size| api::EphemeralStorage { size }),
        snap_start: Some(snap_start(record, named)),
        runtime_version_config: runtime_version(lambda, key, &configuration.runtime),
        tenancy_config: configuration
            .per_tenant
            .then(|| api::TenancyConfig { tenant_isolation_mode: "PER_TENANT".to_owned() }),
        durable_config: configuration.durable.as_ref().map(durable::config_view),
        logging_config: Some(logging(key, &configuration.logging)),
        ..Default::default()
    };
    unenforced::show(configuration.unenforced.as_ref(), &mut view);
    view
}

/// The environment variables, or that they cannot be read any more.
fn environment(
    lambda: &Lambda,
    key: &FunctionKey,
    variables: &Variables,
) -> api::EnvironmentResponse {
    match lambda.vault.open(key, variables) {
        Ok(variables) => {
            api::EnvironmentResponse { variables: Some(variables), ..Default::default() }
        }
        Err(error) => {
            tracing::error!(function = %key, %error, "environment variables are lost");
            let error = api::EnvironmentError {
                error_code: Some("KMSInvalidStateException".to_owned()),
                message: Some("Lambda was unable to decrypt the environment variables.".to_owned()),
            };
            api::EnvironmentResponse { error: Some(error), ..Default::default() }
        }
    }
}

fn layers(layers: &[UsedLayer]) -> Option<Vec<api::Layer>> {
    let view = |layer: &UsedLayer| api::Layer {
        arn: Some(layer.arn.clone()),
        code_size: i64::try_from(layer.package.bytes).ok(),
        ..Default::default()
    };
    (!layers.is_empty()).then(|| layers.iter().map(view).collect())
}

/// SnapStart is `On` for a published version that has its snapshot.
fn snap_start(record: &FunctionRecord, named: Named<'_>) -> api::SnapStartResponse {
    let applies = record.configuration.snap_start;
    let on = applies && named.version.is_some() && record.lifecycle == Lifecycle::Active;
    api::SnapStartResponse {
        apply_on: Some(if applies { "PublishedVersions" } else { "None" }.to_owned()),
        optimization_status: Some(if on { "On" } else { "Off" }.to_owned()),
    }
}

fn runtime_version(
    lambda: &Lambda,
    key: &FunctionKey,
    runtime: &str,
) -> Option<api::RuntimeVersionConfig> {
    let fallback = if lambda.settings.nearest_runtime { Fallback::Nearest } else { Fallback::No };
    let (pack, _) = lambda.runtimes.resolve(runtime, fallback).ok()?;
    Some(api::RuntimeVersionConfig {
        runtime_version_arn: Some(report::runtime_version_arn(&key.region, &pack)),
        ..Default::default()
    })
}

fn logging(key: &FunctionKey, logging: &Logging) -> api::LoggingConfig {
    let group = logging.group.clone().unwrap_or_else(|| format!("/aws/lambda/{}", key.name));
    let mut view = api::LoggingConfig { log_group: Some(group), ..Default::default() };
    match &logging.format {
        LogFormat::Text => view.log_format = Some("Text".to_owned()),
        LogFormat::Json { application, system } => {
            view.log_format = Some("JSON".to_owned());
            view.application_log_level = Some(application.clone());
            view.system_log_level = Some(system.clone());
        }
    }
    view
}
