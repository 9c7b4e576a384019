//! Code signing: the configurations, which function has which, and what they make of a package.
//!
//! As with AWS, a configuration is asked when code is deployed and never later: giving a function another one changes nothing
//! about the code that it has. A package that was changed after it was signed is refused in any case; one that is not signed,
//! not by an allowed profile, or too long ago is refused or only said, as the configuration's policy wants.

use std::sync::Arc;

use bytes::Bytes;
use gatemill_api::lambda as api;
use gatemill_store::{Key, Write};
use gatemill_wire::{Arn, Cx, Operation as _, Timestamp, pagination};

use super::{function, reference, tag};
use crate::{
    Error, Lambda,
    layer_record::UsedLayer,
    record::{FUNCTIONS, Mark, Signing},
    signature::Verdict,
    signing_record::{
        CODE_SIGNING_CONFIGS, CODE_SIGNING_USES, CodeSigningRecord, FUNCTION_CODE_SIGNING,
        FunctionCodeSigningRecord, function_of_use, use_key,
    },
    target::FunctionKey,
};

const ENFORCE: &str = "Enforce";
const WARN: &str = "Warn";
/// Digits of the id behind `csc-`.
const ID_CHARS: usize = 17;

/// A code signing configuration by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SigningKey {
    account: String,
    region: String,
    id: String,
}

impl SigningKey {
    /// What an ARN names, if it is the caller's.
    pub(crate) fn of_arn(cx: &Cx, text: &str) -> Result<Self, Error> {
        let not_found = || Error::UntypedNotFound(not_found(text));
        let arn: Arn = text.parse().map_err(|_| not_found())?;
        let id = arn.resource.strip_prefix("code-signing-config:").ok_or_else(not_found)?;
        if arn.account != cx.account() || arn.region != cx.region {
            return Err(not_found());
        }
        Ok(Self { account: arn.account, region: arn.region, id: id.to_owned() })
    }

    pub(crate) fn record(&self) -> Key {
        Key::new([&self.account, &self.region, &self.id])
    }

    fn arn(&self) -> String {
        Arn::new("lambda", &self.region, &self.account, format!("code-signing-config:{}", self.id))
            .to_string()
    }

    pub(crate) fn not_found(&self) -> Error {
        Error::UntypedNotFound(not_found(&self.arn()))
    }
}

fn not_found(arn: &str) -> String {
    format!("The Lambda code signing configuration {arn} can not be found.")
}

/// `CreateCodeSigningConfig`.
pub(crate) async fn create(
    lambda: &Lambda,
    cx: &Cx,
    request: api::CreateCodeSigningConfigRequest,
) -> Result<api::CreateCodeSigningConfigResponse, Error> {
    let tags = request.tags.unwrap_or_default();
    tag::check(&tags)?;
    let id: String = cx.uuid().simple().to_string().chars().take(ID_CHARS).collect();
    let key = SigningKey {
        account: cx.account().to_owned(),
        region: cx.region.clone(),
        id: format!("csc-{id}"),
    };
    let record = CodeSigningRecord {
        description: request.description.unwrap_or_default(),
        publishers: request.allowed_publishers.signing_profile_version_arns,
        enforced: enforced(request.code_signing_policies.as_ref()).unwrap_or(false),
        last_modified_ms: cx.now.millis(),
        tags,
    };
    let config = view(&key, &record);
    let place = key.record();
    lambda
        .store
        .write(move |tx| Ok::<_, Error>(CODE_SIGNING_CONFIGS.put(tx, &place, &record)?))
        .await?;
    Ok(api::CreateCodeSigningConfigResponse { code_signing_config: config })
}

/// `GetCodeSigningConfig`.
pub(crate) async fn get(
    lambda: &Lambda,
    cx: &Cx,
    request: api::GetCodeSigningConfigRequest,
) -> Result<api::GetCodeSigningConfigResponse, Error> {
    let key = SigningKey::of_arn(cx, &request.code_signing_config_arn)?;
    let record = existing(lambda, &key)?;
    Ok(api::GetCodeSigningConfigResponse { code_signing_config: view(&key, &record) })
}

/// `ListCodeSigningConfigs`.
pub(crate) async fn list(
    lambda: &Lambda,
    cx: &Cx,
    request: api::ListCodeSigningConfigsRequest,
) -> Result<api::ListCodeSigningConfigsResponse, Error> {
    let all = Key::new([cx.account(), &cx.region]);
    let limit = function::page_size(request.max_items);
    let after = after(request.marker.as_deref(), &all)?;
    let found = lambda.store.read(|tx| {
        Ok::<_, Error>(CODE_SIGNING_CONFIGS.scan(tx, &all, after.as_ref(), limit + 1)?)
    })?;
    let configs = found.into_iter().filter_map(|(place, record)| {
        let id = place.text(2)?.into_owned();
        let key = SigningKey { account: cx.account().to_owned(), region: cx.region.clone(), id };
        Some((key, record))
    });
    let place = |(key, _): &(SigningKey, CodeSigningRecord)| key.id.as_bytes().to_vec();
    let (page, next_marker) = pagination::page(configs.collect(), limit, place);
    let configs = page.iter().map(|(key, record)| view(key, record)).collect();
    Ok(api::ListCodeSigningConfigsResponse { next_marker, code_signing_configs: Some(configs) })
}

/// `UpdateCodeSigningConfig`.
pub(crate) async fn update(
    lambda: &Lambda,
    cx: &Cx,
    request: api::UpdateCodeSigningConfigRequest,
) -> Result<api::UpdateCodeSigningConfigResponse, Error> {
    let key = SigningKey::of_arn(cx, &request.code_signing_config_arn)?;
    let (now, owner) = (cx.now, key.clone());
    let record = lambda
        .store
        .write(move |tx| {
            let place = owner.record();
            let Some(mut record) = CODE_SIGNING_CONFIGS.get(tx, &place)? else {
                return Err(owner.not_found());
            };
            if let Some(description) = &request.description {
                record.description.clone_from(description);
            }
            if let Some(allowed) = &request.allowed_publishers {
                record.publishers.clone_from(&allowed.signing_profile_version_arns);
            }
            record.enforced =
                enforced(request.code_signing_policies.as_ref()).unwrap_or(record.enforced);
            record.last_modified_ms = now.millis();
            CODE_SIGNING_CONFIGS.put(tx, &place, &record)?;
            Ok(record)
        })
        .await?;
    Ok(api::UpdateCodeSigningConfigResponse { code_signing_config: view(&key, &record) })
}

/// `DeleteCodeSigningConfig`: not while a function has it. The text is ours: AWS's is not recorded.
pub(crate) async fn delete(
    lambda: &Lambda,
    cx: &Cx,
    request: api::DeleteCodeSigningConfigRequest,
) -> Result<api::DeleteCodeSigningConfigResponse, Error> {
    let key = SigningKey::of_arn(cx, &request.code_signing_config_arn)?;
    lambda
        .store
        .write(move |tx| {
            let place = key.record();
            if !CODE_SIGNING_CONFIGS.contains(tx, &place)? {
                return Err(key.not_found());
            }
            if !CODE_SIGNING_USES.scan(tx, &place, None, 1)?.is_empty() {
                return Err(Error::Conflict(format!(
                    "The code signing configuration {} is attached to one or more functions.",
                    key.arn()
                )));
            }
            CODE_SIGNING_CONFIGS.delete(tx, &place)?;
            Ok(())
        })
        .await?;
    Ok(api::DeleteCodeSigningConfigResponse {})
}

/// `ListFunctionsByCodeSigningConfig`.
pub(crate) async fn list_functions(
    lambda: &Lambda,
    cx: &Cx,
    request: api::ListFunctionsByCodeSigningConfigRequest,
) -> Result<api::ListFunctionsByCodeSigningConfigResponse, Error> {
    let key = SigningKey::of_arn(cx, &request.code_signing_config_arn)?;
    let limit = function::page_size(request.max_items);
    let all = key.record();
    let after = after(request.marker.as_deref(), &all)?;
    let found = lambda.store.read(|tx| {
        if !CODE_SIGNING_CONFIGS.contains(tx, &all)? {
            return Err(key.not_found());
        }
        Ok(CODE_SIGNING_USES.scan(tx, &all, after.as_ref(), limit + 1)?)
    })?;
    let names = found.iter().filter_map(|(place, _)| function_of_use(place)).collect();
    let (page, next_marker) =
        pagination::page(names, limit, |name: &String| name.as_bytes().to_vec());
    let arns = page.iter().map(|name| FunctionKey::new(&key.account, &key.region, name).arn(None));
    Ok(api::ListFunctionsByCodeSigningConfigResponse {
        next_marker,
        function_arns: Some(arns.collect()),
    })
}

/// `PutFunctionCodeSigningConfig`.
pub(crate) async fn put_function(
    lambda: &Lambda,
    cx: &Cx,
    request: api::PutFunctionCodeSigningConfigRequest,
) -> Result<api::PutFunctionCodeSigningConfigResponse, Error> {
    let info = api::PutFunctionCodeSigningConfig::INFO;
    let (key, _) = reference::latest(cx, info, &request.function_name, None)?;
    let record = function::existing(lambda, &key)?;
    if record.configuration.image.is_some() {
        return Err(Error::InvalidParameter(
            "Code signing is not supported for functions created with container images.".to_owned(),
        ));
    }
    let arn = request.code_signing_config_arn;
    let config = SigningKey::of_arn(cx, &arn).map_err(|_| missing(&arn))?;
    let owner = key.clone();
    lambda
        .store
        .write(move |tx| {
            if !FUNCTIONS.contains(tx, &owner.record())? {
                return Err(Error::FunctionNotFound(owner.arn(None)));
            }
            attach(tx, &owner, &config)
        })
        .await?;
    Ok(api::PutFunctionCodeSigningConfigResponse {
        code_signing_config_arn: arn,
        function_name: key.name,
    })
}

/// `GetFunctionCodeSigningConfig`: nothing at all for a function without one.
pub(crate) async fn get_function(
    lambda: &Lambda,
    cx: &Cx,
    request: api::GetFunctionCodeSigningConfigRequest,
) -> Result<api::GetFunctionCodeSigningConfigResponse, Error> {
    let info = api::GetFunctionCodeSigningConfig::INFO;
    let (key, _) = reference::latest(cx, info, &request.function_name, None)?;
    function::existing(lambda, &key)?;
    Ok(match of_function(lambda, &key)? {
        Some((config, _)) => api::GetFunctionCodeSigningConfigResponse {
            code_signing_config_arn: Some(config.arn()),
            function_name: Some(key.name),
        },
        None => api::GetFunctionCodeSigningConfigResponse::default(),
    })
}

/// `DeleteFunctionCodeSigningConfig`.
pub(crate) async fn delete_function(
    lambda: &Lambda,
    cx: &Cx,
    request: api::DeleteFunctionCodeSigningConfigRequest,
) -> Result<(), Error> {
    let info = api::DeleteFunctionCodeSigningConfig::INFO;
    let (key, _) = reference::latest(cx, info, &request.function_name, None)?;
    lambda
        .store
        .write(move |tx| {
            if !FUNCTIONS.contains(tx, &key.record())? {
                return Err(Error::FunctionNotFound(key.arn(None)));
            }
            detach(tx, &key)
        })
        .await
}

/// The configuration that a request for a new function names.
pub(crate) fn of_create(
    lambda: &Lambda,
    cx: &Cx,
    arn: Option<&str>,
) -> Result<Option<(SigningKey, CodeSigningRecord)>, Error> {
    let Some(arn) = arn.filter(|arn| !arn.is_empty()) else { return Ok(None) };
    let key = SigningKey::of_arn(cx, arn).map_err(|_| missing(arn))?;
    let record =
        lambda.store.read(|tx| Ok::<_, Error>(CODE_SIGNING_CONFIGS.get(tx, &key.record())?))?;
    record.map(|record| Some((key, record))).ok_or_else(|| missing(arn))
}

/// The configuration that a function has.
pub(crate) fn of_function(
    lambda: &Lambda,
    function: &FunctionKey,
) -> Result<Option<(SigningKey, CodeSigningRecord)>, Error> {
    lambda.store.read(|tx| {
        let Some(attached) = FUNCTION_CODE_SIGNING.get(tx, &function.record())? else {
            return Ok(None);
        };
        let key = key_of(function, attached);
        let record = CODE_SIGNING_CONFIGS.get(tx, &key.record())?;
        Ok(record.map(|record| (key, record)))
    })
}

/// Judges a package by a configuration. Gives what a good signature says, and nothing for a bad one that is let through.
pub(crate) async fn judge(
    lambda: &Lambda,
    function: &FunctionKey,
    config: Option<&(SigningKey, CodeSigningRecord)>,
    package: &Bytes,
) -> Result<Option<Signing>, Error> {
    let Some((key, config)) = config else { return Ok(None) };
    let (roots, package, now) =
        (Arc::clone(&lambda.signing_roots), package.clone(), lambda.clock.now());
    let judged = tokio::task::spawn_blocking(move || roots.judge(&package, now)).await;
    let verdict = judged.map_err(|_| Error::Internal("judging a signature panicked"))??;
    let problem = match verdict {
        Verdict::Tampered => {
            return Err(Error::InvalidCodeSignature(
                "Lambda cannot deploy the function. The code signature failed the integrity check."
                    .to_owned(),
            ));
        }
        Verdict::Good(verified) if config.publishers.contains(&verified.profile) => {
            return Ok(Some(Signing { profile: verified.profile, job: verified.job }));
        }
        Verdict::Good(_) => "signed by a profile that is not allowed",
        Verdict::Expired(_) => "an expired signature",
        Verdict::Untrusted => "a signature by nobody who is trusted here",
        Verdict::Unsigned => "unsigned",
    };
    if config.enforced {
        return Err(Error::CodeVerification(format!(
            "Lambda cannot deploy the function. The function or layer might be signed using a signature that the client \
             is not configured to accept. Check the provided signature for {problem}."
        )));
    }
    tracing::warn!(%function, config = key.id, problem, "code is deployed against its signing configuration");
    Ok(None)
}

/// Judges the layers of a function as its own package: each has to be signed, too.
pub(crate) async fn judge_layers(
    lambda: &Lambda,
    function: &FunctionKey,
    config: Option<&(SigningKey, CodeSigningRecord)>,
    layers: &[UsedLayer],
) -> Result<(), Error> {
    if config.is_none() {
        return Ok(());
    }
    for layer in layers {
        let zip = crate::code::zip_of(lambda, layer).await?;
        judge(lambda, function, config, &zip).await?;
    }
    Ok(())
}

/// Gives a function its configuration.
pub(crate) fn attach(
    tx: &mut Write,
    function: &FunctionKey,
    config: &SigningKey,
) -> Result<(), Error> {
    let place = config.record();
    if !CODE_SIGNING_CONFIGS.contains(tx, &place)? {
        return Err(missing(&config.arn()));
    }
    detach(tx, function)?;
    let record = FunctionCodeSigningRecord { id: config.id.clone() };
    FUNCTION_CODE_SIGNING.put(tx, &function.record(), &record)?;
    Ok(CODE_SIGNING_USES.put(tx, &use_key(&place, &function.name), &Mark {})?)
}

/// Takes a function's configuration from it, if it has one.
pub(crate) fn detach(tx: &mut Write, function: &FunctionKey) -> Result<(), Error> {
    let place = function.record();
    let Some(attached) = FUNCTION_CODE_SIGNING.get(tx, &place)? else { return Ok(()) };
    FUNCTION_CODE_SIGNING.delete(tx, &place)?;
    let config = key_of(function, attached).record();
    CODE_SIGNING_USES.delete(tx, &use_key(&config, &function.name))?;
    Ok(())
}

/// The record of a configuration that has to exist.
pub(crate) fn existing(lambda: &Lambda, key: &SigningKey) -> Result<CodeSigningRecord, Error> {
    let record =
        lambda.store.read(|tx| Ok::<_, Error>(CODE_SIGNING_CONFIGS.get(tx, &key.record())?))?;
    record.ok_or_else(|| key.not_found())
}

fn key_of(function: &FunctionKey, attached: FunctionCodeSigningRecord) -> SigningKey {
    SigningKey {
        account: function.account.clone(),
        region: function.region.clone(),
        id: attached.id,
    }
}

/// What an operation on a function says of a configuration that does not exist.
fn missing(arn: &str) -> Error {
    Error::CodeSigningConfigNotFound(format!(
        "The code signing configuration cannot be found. Check that the provided configuration is not deleted: {arn}."
    ))
}

/// Where a page begins: after the last part of the key that the marker holds.
fn after(marker: Option<&str>, all: &Key) -> Result<Option<Key>, Error> {
    let Some(marker) = marker else { return Ok(None) };
    let last = function::text_of_marker(marker)?;
    Ok(Some(all.clone().and(last)))
}

fn enforced(policies: Option<&api::CodeSigningPolicies>) -> Option<bool> {
    Some(policies?.untrusted_artifact_on_deployment.as_deref()? == ENFORCE)
}

fn view(key: &SigningKey, record: &CodeSigningRecord) -> api::CodeSigningConfig {
    let policy = if record.enforced { ENFORCE } else { WARN };
    api::CodeSigningConfig {
        code_signing_config_id: key.id.clone(),
        code_signing_config_arn: key.arn(),
        description: Some(record.description.clone()),
        allowed_publishers: api::AllowedPublishers {
            signing_profile_version_arns: record.publishers.clone(),
        },
        code_signing_policies: api::CodeSigningPolicies {
            untrusted_artifact_on_deployment: Some(policy.to_owned()),
        },
        last_modified: Timestamp(record.last_modified_ms).lambda(),
    }
}
