//! The environment variables of a function's process.
//!
//! Source: values recorded from AWS in February 2026. Left out, because nothing stands behind them yet: X-Ray's addresses.

use std::collections::BTreeMap;

use gatemill_sandbox::API_ADDRESS;

use crate::{
    LogStream, RoleCredentials,
    invoke::resolve::{Initialization, Version},
    record::LogFormat,
    role,
    runtime_api::credentials,
    start::Process,
};

/// Where the function's code is.
pub(crate) const TASK_ROOT: &str = "/var/task";
/// Where the content of layers is.
pub(crate) const LAYER_ROOT: &str = "/opt";
const RUNTIME_DIR: &str = "/var/runtime";

/// Keys that a function's configuration may not set.
pub(crate) const RESERVED: [&str; 23] = [
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_FORMAT",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_LEVEL",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_MAX_CONCURRENCY",
    "AWS_LAMBDA_METADATA_API",
    "AWS_LAMBDA_METADATA_TOKEN",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SECRET_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
    "_HANDLER",
];

/// A key by which a function names a program that is started in place of a managed runtime, with the runtime as its arguments.
pub(crate) const EXEC_WRAPPER: &str = "AWS_LAMBDA_EXEC_WRAPPER";

/// What an environment is given of the APIs inside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inside<'a> {
    /// Of the function's role.
    pub(crate) credentials: Option<&'a RoleCredentials>,
    /// Opens the metadata endpoint.
    pub(crate) token: &'a str,
    /// Whether AWS's own APIs are there.
    pub(crate) has_endpoint: bool,
}

/// The whole environment: what the platform sets over what the runtime brings, and the function's own, which may
/// override only what is not reserved.
pub(crate) fn of(
    version: &Version,
    stream: &LogStream,
    process: &Process,
    inside: Inside<'_>,
) -> Vec<(String, String)> {
    let configuration = &version.configuration;
    let pack = &process.pack;
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    let mut set = |name: &str, value: &str| {
        all.insert(name.to_owned(), value.to_owned());
    };
    for (name, value) in &pack.env {
        set(name, value);
    }
    if inside.has_endpoint {
        // Not reserved: a function may mean another one.
        set("AWS_ENDPOINT_URL", &format!("http://{API_ADDRESS}"));
    }
    for (name, value) in configuration.variables() {
        set(name, value);
    }
    let memory = configuration.memory_mb.to_string();
    set("AWS_LAMBDA_FUNCTION_NAME", &version.key.name);
    set("AWS_LAMBDA_FUNCTION_VERSION", version.name());
    set("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &memory);
    // What differs between the environments of a snapshot cannot be among the variables that they share.
    let shared = version.initialization == Initialization::SnapStart;
    if !shared {
        set("AWS_LAMBDA_LOG_GROUP_NAME", &stream.group);
        set("AWS_LAMBDA_LOG_STREAM_NAME", &stream.stream);
    }
    set("AWS_LAMBDA_INITIALIZATION_TYPE", version.initialization.as_str());
    if !pack.execution_env.is_empty() {
        set("AWS_EXECUTION_ENV", &pack.execution_env);
    }
    set("AWS_LAMBDA_RUNTIME_API", API_ADDRESS);
    set("AWS_LAMBDA_METADATA_API", API_ADDRESS);
    set("AWS_LAMBDA_METADATA_TOKEN", inside.token);
    set("AWS_REGION", &version.key.region);
    set("AWS_DEFAULT_REGION", &version.key.region);
    set("_HANDLER", &process.handler);
    set("LAMBDA_TASK_ROOT", TASK_ROOT);
    set("LAMBDA_RUNTIME_DIR", RUNTIME_DIR);
    if let LogFormat::Json { application, .. } = &configuration.logging.format {
        set("AWS_LAMBDA_LOG_FORMAT", "JSON");
        set("AWS_LAMBDA_LOG_LEVEL", application);
    }
    if shared {
        let endpoint = format!("http://{API_ADDRESS}{}", credentials::PATH);
        set("AWS_CONTAINER_CREDENTIALS_FULL_URI", &endpoint);
        set("AWS_CONTAINER_AUTHORIZATION_TOKEN", inside.token);
    } else if let Some(credentials) = inside.credentials {
        for (name, value) in role::variables(credentials, &configuration.runtime) {
            set(name, &value);
        }
    }
    all.into_iter().collect()
}
