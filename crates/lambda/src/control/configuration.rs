//! How a function runs: what requests may say about it, AWS's defaults, and `UpdateFunctionConfiguration`.

use std::collections::BTreeMap;

use gatemill_api::lambda as api;
use gatemill_sandbox::runtime::Fallback;
use gatemill_wire::{Cx, Operation as _};

use super::{
    code_signing, durable, event_invoke_config, function, gaps, image, layer, reference, unbuilt,
    unenforced::{self, Given},
    view::{self, Named},
};
use crate::{
    Error, Lambda,
    destination::{self, Purpose},
    environment_variables::RESERVED,
    limits::{ENVIRONMENT_BYTES_MAX, EPHEMERAL_MB, MEMORY_MB, TIMEOUT_S},
    record::{Configuration, Image, LogFormat, Logging, Package, Signing},
    target::FunctionKey,
};

/// Identifiers that AWS takes today, in the order in which its error text lists them (January 2026).
const ACCEPTED: [&str; 25] = [
    "nodejs20.x",
    "python3.14",
    "provided.al2023",
    "python3.12",
    "python3.13",
    "nodejs24.x",
    "nodejs22.x",
    "java25",
    "python3.10",
    "python3.11",
    "java21",
    "ruby3.3",
    "ruby3.4",
    "ruby3.2",
    "python3.8",
    "python3.9",
    "java17",
    "nodejs16.x",
    "dotnet10",
    "dotnet8",
    "java11",
    "dotnet6",
    "nodejs18.x",
    "provided.al2",
    "java8.al2",
];
/// Identifiers that AWS took once.
const RETIRED: [&str; 23] = [
    "dotnetcore1.0",
    "dotnetcore2.0",
    "dotnetcore2.1",
    "dotnetcore3.1",
    "dotnet6",
    "go1.x",
    "java8",
    "nodejs",
    "nodejs10.x",
    "nodejs12.x",
    "nodejs14.x",
    "nodejs4.3",
    "nodejs4.3-edge",
    "nodejs6.10",
    "nodejs8.10",
    "provided",
    "python2.7",
    "python3.6",
    "python3.7",
    "ruby2.5",
    "ruby2.7",
    "dotnet5.0",
    "dotnet7",
];

/// `UpdateFunctionConfiguration`.
pub(crate) async fn update(
    lambda: &Lambda,
    cx: &Cx,
    request: api::UpdateFunctionConfigurationRequest,
) -> Result<api::FunctionConfiguration, Error> {
    let info = api::UpdateFunctionConfiguration::INFO;
    let (key, _) = reference::latest(cx, info, &request.function_name, None)?;
    // A function that does not exist is told before what is wrong with the request.
    let record = function::existing(lambda, &key)?;
    image::check_update(record.configuration.image.is_some(), &request)?;
    unbuilt::update_configuration(lambda, &request)?;
    if let Some(runtime) = &request.runtime {
        check_runtime(lambda, runtime)?;
    }
    check_numbers(request.timeout, request.memory_size, request.ephemeral_storage.as_ref())?;
    let variables = request.environment.as_ref().map(environment).transpose()?;
    let layers = request.layers.as_deref();
    let layers = layers.map(|arns| layer::of_function(lambda, cx, Some(arns))).transpose()?;
    if let Some(layers) = &layers {
        let config = code_signing::of_function(lambda, &key)?;
        code_signing::judge_layers(lambda, &key, config.as_ref(), layers).await?;
    }
    let variables = variables.map(|variables| lambda.vault.seal(&key, &variables)).transpose()?;
    let given = Given {
        vpc: request.vpc_config.clone(),
        file_systems: request.file_system_configs.clone(),
        kms_key_arn: request.kms_key_arn.clone(),
    };
    let old = record.configuration.unenforced.as_ref();
    let unenforced = unenforced::apply(lambda, old, &given)?;
    let dead_letter_arn = dead_letter(lambda, request.dead_letter_config.as_ref())?;
    let revision_id = request.revision_id.clone();
    let change = move |old: &Configuration| {
        let mut new = old.clone();
        let number =
            |given: Option<i32>, old| given.and_then(|n| u32::try_from(n).ok()).unwrap_or(old);
        let text = |given: &Option<String>, old: &mut String| {
            if let Some(given) = given {
                old.clone_from(given);
            }
        };
        text(&request.runtime, &mut new.runtime);
        text(&request.role, &mut new.role);
        text(&request.handler, &mut new.handler);
        text(&request.description, &mut new.description);
        new.timeout_s = number(request.timeout, new.timeout_s);
        new.memory_mb = number(request.memory_size, new.memory_mb);
        let size = request.ephemeral_storage.as_ref().map(|storage| storage.size);
        new.ephemeral_mb = number(size, new.ephemeral_mb);
        if let Some(variables) = &variables {
            new.environment = Some(variables.clone());
        }
        if let (Some(image), Some(config)) = (&mut new.image, &request.image_config) {
            image::configure(image, Some(config))?;
        }
        new.durable = durable::changed(&old.durable, request.durable_config.as_ref())?;
        new.logging = logging(&old.logging, request.logging_config.as_ref())?;
        if let Some(arn) = &dead_letter_arn {
            new.dead_letter_arn.clone_from(arn);
        }
        new.snap_start = wants_snap_start(request.snap_start.as_ref()).unwrap_or(old.snap_start);
        if let Some(layers) = &layers {
            new.layers.clone_from(layers);
        }
        layer::check_size(&new)?;
        new.traced = wants_tracing(request.tracing_config.as_ref()).unwrap_or(old.traced);
        new.unenforced.clone_from(&unenforced);
        check_snap_start(&new)?;
        Ok(new)
    };
    let (record, _) = function::update(lambda, cx, &key, revision_id, None, change).await?;
    Ok(view::configuration(lambda, &key, &record, Named::default()))
}

/// What a new function runs with.
pub(crate) fn of_request(
    lambda: &Lambda,
    key: &FunctionKey,
    request: &api::CreateFunctionRequest,
    package: Package,
    image: Option<Image>,
    signing: Option<Signing>,
    deployment: String,
) -> Result<Configuration, Error> {
    let (runtime, handler) = match (&request.runtime, &request.handler, &image) {
        (Some(runtime), Some(handler), None) => {
            check_runtime(lambda, runtime)?;
            (runtime.clone(), handler.clone())
        }
        (_, _, Some(_)) => (String::new(), String::new()),
        (_, _, None) => {
            return Err(Error::InvalidParameter(
                "Runtime and Handler are mandatory parameters for functions created with deployment packages."
                    .to_owned(),
            ));
        }
    };
    check_numbers(request.timeout, request.memory_size, request.ephemeral_storage.as_ref())?;
    let number =
        |given: Option<i32>, default| given.and_then(|n| u32::try_from(n).ok()).unwrap_or(default);
    let variables = request.environment.as_ref().map(environment).transpose()?;
    let given = Given {
        vpc: request.vpc_config.clone(),
        file_systems: request.file_system_configs.clone(),
        kms_key_arn: request.kms_key_arn.clone(),
    };
    let default = Logging { group: None, format: LogFormat::Text };
    let configuration = Configuration {
        deployment,
        runtime,
        role: request.role.clone(),
        handler,
        description: request.description.clone().unwrap_or_default(),
        timeout_s: number(request.timeout, 3),
        memory_mb: number(request.memory_size, 128),
        ephemeral_mb: number(request.ephemeral_storage.as_ref().map(|storage| storage.size), 512),
        environment: variables.map(|variables| lambda.vault.seal(key, &variables)).transpose()?,
        logging: logging(&default, request.logging_config.as_ref())?,
        package,
        image,
        snap_start: wants_snap_start(request.snap_start.as_ref()).unwrap_or(false),
        // The model has no other mode.
        per_tenant: request.tenancy_config.is_some(),
        dead_letter_arn: dead_letter(lambda, request.dead_letter_config.as_ref())?.flatten(),
        layers: Vec::new(),
        traced: wants_tracing(request.tracing_config.as_ref()).unwrap_or(false),
        unenforced: unenforced::with_source_key(
            unenforced::apply(lambda, None, &given)?.as_ref(),
            unenforced::source_key(
                lambda,
                &gaps::CREATED_SOURCE_KEY,
                request.code.source_kms_key_arn.as_ref(),
            )?,
        ),
        signing,
        durable: durable::config(request.durable_config.as_ref())?,
        s3_object: None,
    };
    check_snap_start(&configuration)?;
    Ok(configuration)
}

/// What a request says about SnapStart, if anything.
fn wants_snap_start(given: Option<&api::SnapStart>) -> Option<bool> {
    Some(given?.apply_on.as_deref() == Some("PublishedVersions"))
}

/// What a request says about tracing, if anything.
fn wants_tracing(given: Option<&api::TracingConfig>) -> Option<bool> {
    Some(given?.mode.as_deref()? == "Active")
}

/// What a request says about the dead-letter queue, if anything; an empty ARN is none.
///
/// The text for other targets is ours: AWS's is not recorded.
fn dead_letter(
    lambda: &Lambda,
    given: Option<&api::DeadLetterConfig>,
) -> Result<Option<Option<String>>, Error> {
    let Some(given) = given else { return Ok(None) };
    let Some(arn) = given.target_arn.as_ref().filter(|arn| !arn.is_empty()) else {
        return Ok(Some(None));
    };
    let target = destination::parse(arn).filter(|it| it.serves(Purpose::DeadLetter));
    match target {
        Some(target) => {
            let services = lambda.services.get().map(|client| client.services());
            let gap = &gaps::DEAD_LETTERS_ELSEWHERE;
            event_invoke_config::check_service(gap, target.as_ref(), services)?;
            Ok(Some(Some(arn.clone())))
        }
        None => Err(Error::InvalidParameter(format!(
            "The target {arn} of DeadLetterConfig is neither a standard queue nor a standard topic."
        ))),
    }
}

/// Families of runtimes that have SnapStart, each with its first version.
const SNAP_START: [(&str, u32, u32); 3] = [("java", 11, 0), ("python", 3, 12), ("dotnet", 8, 0)];

/// What a function with SnapStart may not have. The texts for storage and tenants are ours: AWS's are not recorded.
fn check_snap_start(configuration: &Configuration) -> Result<(), Error> {
    if !configuration.snap_start {
        return Ok(());
    }
    let runtime = configuration.runtime.as_str();
    let has_it = SNAP_START.iter().any(|(family, major, minor)| {
        let Some(version) = runtime.strip_prefix(family) else { return false };
        let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
        let found = (parts.next().flatten(), parts.next().flatten().unwrap_or(0));
        matches!(found, (Some(found), small) if (found, small) >= (*major, *minor))
    });
    let refused = |text: String| Err(Error::InvalidParameter(text));
    if !has_it {
        return refused(format!("{runtime} is not supported for SnapStart enabled functions."));
    }
    if configuration.ephemeral_mb > 512 {
        return refused(
            "Ephemeral storage larger than 512 MB is not supported for SnapStart enabled functions."
                .to_owned(),
        );
    }
    if configuration.per_tenant {
        return refused(
            "Tenant isolation is not supported for SnapStart enabled functions.".to_owned(),
        );
    }
    Ok(())
}

/// Checks the runtimes that a layer is for: AWS has each, or had it.
pub(super) fn check_compatible_list(runtimes: Option<&Vec<String>>) -> Result<(), Error> {
    let runtimes = runtimes.map(Vec::as_slice).unwrap_or_default();
    if runtimes.iter().all(|runtime| is_known(runtime)) {
        return Ok(());
    }
    let (given, rule) = (runtimes.join(", "), runtimes_rule());
    Err(Error::Validation(format!(
        "1 validation error detected: Value '[{given}]' at 'compatibleRuntimes' failed to satisfy constraint: Member must \
         satisfy constraint: [{rule}]"
    )))
}

/// Checks the runtime for which layers are looked for.
pub(super) fn check_compatible(runtime: Option<&String>) -> Result<(), Error> {
    match runtime {
        Some(runtime) if !is_known(runtime) => Err(Error::Validation(format!(
            "1 validation error detected: Value '{runtime}' at 'compatibleRuntime' failed to satisfy constraint: {}",
            runtimes_rule()
        ))),
        Some(_) | None => Ok(()),
    }
}

fn is_known(runtime: &str) -> bool {
    ACCEPTED.contains(&runtime) || RETIRED.contains(&runtime)
}

fn runtimes_rule() -> String {
    format!("Member must satisfy enum value set: [{}]", ACCEPTED.join(", "))
}

/// Whether a runtime is one of AWS's, and runs here.
fn check_runtime(lambda: &Lambda, runtime: &str) -> Result<(), Error> {
    if RETIRED.contains(&runtime) {
        return Err(Error::InvalidParameter(format!(
            "The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda functions. \
             We recommend you use a supported runtime while creating or updating functions."
        )));
    }
    if !ACCEPTED.contains(&runtime) {
        return Err(Error::InvalidParameter(format!(
            "Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [{}] or be \
             a valid ARN",
            ACCEPTED.join(", ")
        )));
    }
    let fallback = if lambda.settings.nearest_runtime { Fallback::Nearest } else { Fallback::No };
    match lambda.runtimes.resolve(runtime, fallback) {
        Ok((pack, warning)) => {
            if let Some(warning) = warning {
                tracing::warn!(%warning, "another runtime version runs");
            }
            // What is wrong with it, its first start says.
            drop(tokio::spawn(async move { pack.prepared().await }));
            Ok(())
        }
        Err(missing) => Err(Error::runtime_missing(runtime, &missing)),
    }
}

/// The ranges that the service has below those of the model, whose upper ends are for Managed Instances.
fn check_numbers(
    timeout: Option<i32>,
    memory: Option<i32>,
    storage: Option<&api::EphemeralStorage>,
) -> Result<(), Error> {
    let size = storage.map(|storage| storage.size);
    for (member, value, range) in [
        ("timeout", timeout, TIMEOUT_S),
        ("memorySize", memory, MEMORY_MB),
        ("ephemeralStorage.size", size, EPHEMERAL_MB),
    ] {
        let Some(value) = value.filter(|value| !range.contains(value)) else { continue };
        let (relation, bound) =
            if value > *range.end() { ("less", range.end()) } else { ("greater", range.start()) };
        return Err(Error::Validation(format!(
            "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: Member must have \
             value {relation} than or equal to {bound}"
        )));
    }
    Ok(())
}

fn environment(given: &api::Environment) -> Result<BTreeMap<String, String>, Error> {
    let variables = given.variables.clone().unwrap_or_default();
    let refused = "Lambda was unable to configure your environment variables because the environment variables you \
                   have provided";
    let reserved: Vec<&str> =
        variables.keys().map(String::as_str).filter(|key| RESERVED.contains(key)).collect();
    if !reserved.is_empty() {
        return Err(Error::InvalidParameter(format!(
            "{refused} contains reserved keys that are currently not supported for modification. Reserved keys used in \
             this request: {}",
            reserved.join(", ")
        )));
    }
    let json = serde_json::to_string(&variables)
        .map_err(|_| Error::Internal("environment variables are no JSON"))?;
    if json.len() > ENVIRONMENT_BYTES_MAX {
        return Err(Error::InvalidParameter(format!(
            "{refused} exceeded the 4KB limit. String measured: {json}"
        )));
    }
    if variables.values().any(|value| value.contains('\0')) {
        return Err(Error::InvalidParameter(format!("{refused} contains a null character.")));
    }
    Ok(variables)
}

/// What a request makes of the logging that was.
fn logging(old: &Logging, given: Option<&api::LoggingConfig>) -> Result<Logging, Error> {
    let Some(given) = given else { return Ok(old.clone()) };
    let levels = given.application_log_level.is_some() || given.system_log_level.is_some();
    let (application, system) = match &old.format {
        LogFormat::Json { application, system } => (application.clone(), system.clone()),
        LogFormat::Text => ("INFO".to_owned(), "INFO".to_owned()),
    };
    let json = match given.log_format.as_deref() {
        Some(format) => format == "JSON",
        None => old.format != LogFormat::Text,
    };
    if !json && levels {
        return Err(Error::InvalidParameter(
            "LogLevel is not supported when LogFormat is set to \"Text\". Remove LogLevel from your request or change \
             the LogFormat to \"JSON\" and try again."
                .to_owned(),
        ));
    }
    let format = if json {
        LogFormat::Json {
            application: given.application_log_level.clone().unwrap_or(application),
            system: given.system_log_level.clone().unwrap_or(system),
        }
    } else {
        // Going back to text drops the levels.
        LogFormat::Text
    };
    let group = given.log_group.clone().filter(|group| !group.is_empty());
    Ok(Logging { group: group.or_else(|| old.group.clone()), format })
}

#[cfg(test)]
mod tests {
    use gatemill_store::Digest;

    use super::*;

    fn with_snap_start(runtime: &str) -> Configuration {
        Configuration {
            deployment: String::new(),
            runtime: runtime.to_owned(),
            role: String::new(),
            handler: String::new(),
            description: String::new(),
            timeout_s: 3,
            memory_mb: 128,
            ephemeral_mb: 512,
            environment: None,
            logging: Logging { group: None, format: LogFormat::Text },
            package: Package { digest: Digest::of(b""), bytes: 0, unpacked_bytes: 0 },
            image: None,
            snap_start: true,
            per_tenant: false,
            dead_letter_arn: None,
            layers: Vec::new(),
            traced: false,
            unenforced: None,
            signing: None,
            durable: None,
            s3_object: None,
        }
    }

    #[test]
    fn snap_start_is_for_some_runtimes() {
        for good in ["java11", "java25", "python3.12", "python3.14", "dotnet8", "dotnet10"] {
            assert!(check_snap_start(&with_snap_start(good)).is_ok(), "{good}");
        }
        let bad = [
            "java8.al2",
            "python3.11",
            "python3.9",
            "dotnet6",
            "nodejs24.x",
            "ruby3.4",
            "provided.al2023",
        ];
        for bad in bad {
            let error = check_snap_start(&with_snap_start(bad)).unwrap_err().to_string();
            assert_eq!(error, format!("{bad} is not supported for SnapStart enabled functions."));
        }
    }

    #[test]
    fn snap_start_excludes_what_a_snapshot_cannot_hold() {
        let good = with_snap_start("python3.13");
        let large = Configuration { ephemeral_mb: 513, ..good.clone() };
        assert!(matches!(check_snap_start(&large), Err(Error::InvalidParameter(_))));
        let tenants = Configuration { per_tenant: true, ..good };
        assert!(matches!(check_snap_start(&tenants), Err(Error::InvalidParameter(_))));
        assert!(check_snap_start(&Configuration { snap_start: false, ..large }).is_ok());
    }
}
