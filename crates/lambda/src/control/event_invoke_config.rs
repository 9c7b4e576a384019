//! Event invoke configurations: how often and how long a function's events are tried, and who is told.
//!
//! They belong to a function and a qualifier, and hold for events that were sent under exactly that one. Their texts of
//! refusal are recorded; a destination whose service this server does not reach is refused before it is stored.

use gatemill_api::lambda as api;
use gatemill_store::{Key, Reader, Write};
use gatemill_wire::{
    Cx, EpochSeconds, Gap, Operation as _, OperationInfo, Qualifier, Timestamp, pagination,
};

use super::{function, gaps, reference};
use crate::{
    Error, FunctionTarget, Lambda,
    destination::{self, Destination, Purpose},
    events::record::{INVOKE_CONFIGS, InvokeConfigRecord, LOOPS_ALLOWED, invoke_config_key},
    record::{ALIASES, FUNCTIONS, VERSIONS, alias_key, version_key},
    target::FunctionKey,
};

/// What a request says; absent members are those that it does not have.
struct Given {
    retries_max: Option<i32>,
    age_max_s: Option<i32>,
    destinations: Option<api::DestinationConfig>,
}

/// `PutFunctionEventInvokeConfig`: in place of what was there.
pub(crate) async fn put(
    lambda: &Lambda,
    cx: &Cx,
    request: api::PutFunctionEventInvokeConfigRequest,
) -> Result<api::FunctionEventInvokeConfig, Error> {
    let info = api::PutFunctionEventInvokeConfig::INFO;
    let target = target(cx, info, &request.function_name, request.qualifier.as_deref())?;
    let given = Given {
        retries_max: request.maximum_retry_attempts,
        age_max_s: request.maximum_event_age_in_seconds,
        destinations: request.destination_config,
    };
    write(lambda, cx, target, given, |_, _| Ok(InvokeConfigRecord::default())).await
}

/// `UpdateFunctionEventInvokeConfig`: over what is there.
pub(crate) async fn update(
    lambda: &Lambda,
    cx: &Cx,
    request: api::UpdateFunctionEventInvokeConfigRequest,
) -> Result<api::FunctionEventInvokeConfig, Error> {
    let info = api::UpdateFunctionEventInvokeConfig::INFO;
    let target = target(cx, info, &request.function_name, request.qualifier.as_deref())?;
    let given = Given {
        retries_max: request.maximum_retry_attempts,
        age_max_s: request.maximum_event_age_in_seconds,
        destinations: request.destination_config,
    };
    write(lambda, cx, target, given, existing).await
}

/// `GetFunctionEventInvokeConfig`.
pub(crate) async fn get(
    lambda: &Lambda,
    cx: &Cx,
    request: api::GetFunctionEventInvokeConfigRequest,
) -> Result<api::FunctionEventInvokeConfig, Error> {
    let info = api::GetFunctionEventInvokeConfig::INFO;
    let target = target(cx, info, &request.function_name, request.qualifier.as_deref())?;
    let record = lambda.store.read(|tx| existing(tx, &target))?;
    Ok(view(&target, record))
}

/// `DeleteFunctionEventInvokeConfig`.
pub(crate) async fn delete(
    lambda: &Lambda,
    cx: &Cx,
    request: api::DeleteFunctionEventInvokeConfigRequest,
) -> Result<(), Error> {
    let info = api::DeleteFunctionEventInvokeConfig::INFO;
    let target = target(cx, info, &request.function_name, request.qualifier.as_deref())?;
    lambda
        .store
        .write(move |tx| {
            existing(tx, &target)?;
            INVOKE_CONFIGS.delete(tx, &place(&target))?;
            Ok(())
        })
        .await
}

/// `ListFunctionEventInvokeConfigs`: those of all qualifiers.
pub(crate) async fn list(
    lambda: &Lambda,
    cx: &Cx,
    request: api::ListFunctionEventInvokeConfigsRequest,
) -> Result<api::ListFunctionEventInvokeConfigsResponse, Error> {
    let info = api::ListFunctionEventInvokeConfigs::INFO;
    let (key, _) = reference::latest(cx, info, &request.function_name, None)?;
    let after = request.marker.as_deref().map(function::text_of_marker).transpose()?;
    let after = after.map(|qualifier| invoke_config_key(&key, Some(&qualifier)));
    let limit = function::page_size(request.max_items);
    let found = lambda.store.read(|tx| {
        if !FUNCTIONS.contains(tx, &key.record())? {
            return Err(missing());
        }
        Ok(INVOKE_CONFIGS.scan(tx, &key.record(), after.as_ref(), limit + 1)?)
    })?;
    let qualifier = |(place, _): &(Key, InvokeConfigRecord)| qualifier_of(place).into_bytes();
    let (page, next_marker) = pagination::page(found, limit, qualifier);
    let views = page.into_iter().map(|(place, record)| {
        let qualifier = Some(Qualifier::parse(&qualifier_of(&place)));
        let FunctionKey { account, region, name } = key.clone();
        view(&FunctionTarget { account, region, name, qualifier }, record)
    });
    Ok(api::ListFunctionEventInvokeConfigsResponse {
        function_event_invoke_configs: Some(views.collect()),
        next_marker,
    })
}

/// Removes what there is of a function that is deleted.
pub(crate) fn remove_all(tx: &mut Write, function: &FunctionKey) -> Result<(), Error> {
    for (place, _) in INVOKE_CONFIGS.scan(tx, &function.record(), None, usize::MAX)? {
        INVOKE_CONFIGS.delete(tx, &place)?;
    }
    LOOPS_ALLOWED.delete(tx, &function.record())?;
    Ok(())
}

/// The function with a qualifier that is always said.
fn target(
    cx: &Cx,
    operation: &OperationInfo,
    name: &str,
    qualifier: Option<&str>,
) -> Result<FunctionTarget, Error> {
    let mut target = reference::resolve(cx, operation, name, qualifier)?;
    target.qualifier.get_or_insert(Qualifier::Latest);
    Ok(target)
}

fn place(target: &FunctionTarget) -> Key {
    let qualifier = target.qualifier.as_ref().map(ToString::to_string);
    invoke_config_key(&target.key().to_owned(), qualifier.as_deref())
}

fn qualifier_of(place: &Key) -> String {
    place.text(3).unwrap_or_default().into_owned()
}

fn missing() -> Error {
    Error::NotFound("The function doesn't exist.".to_owned())
}

fn existing(tx: &impl Reader, target: &FunctionTarget) -> Result<InvokeConfigRecord, Error> {
    INVOKE_CONFIGS.get(tx, &place(target))?.ok_or_else(|| {
        let arn = target.arn();
        Error::NotFound(format!("The function {arn} doesn't have an EventInvokeConfig"))
    })
}

/// Whether the function, and what the qualifier names, is there.
fn check_exists(tx: &impl Reader, target: &FunctionTarget) -> Result<(), Error> {
    let key = target.key().to_owned();
    let exists = FUNCTIONS.contains(tx, &key.record())?
        && match &target.qualifier {
            None | Some(Qualifier::Latest) => true,
            Some(Qualifier::Version(number)) => {
                VERSIONS.contains(tx, &version_key(&key, *number))?
            }
            Some(Qualifier::Alias(name)) => ALIASES.contains(tx, &alias_key(&key, name))?,
        };
    if exists { Ok(()) } else { Err(missing()) }
}

/// Refuses what executions of a durable function would not heed: an event begins its execution at once, and who fails is
/// told by the dead-letter queue alone. The text about destinations is ours: AWS's is not recorded.
fn check_durable(tx: &impl Reader, target: &FunctionTarget, given: &Given) -> Result<(), Error> {
    let function = FUNCTIONS.get(tx, &target.key().record())?;
    if function.is_none_or(|function| function.configuration.durable.is_none()) {
        return Ok(());
    }
    let named = |arn: Option<&String>| arn.is_some_and(|arn| !arn.is_empty());
    if given.destinations.as_ref().is_some_and(|given| {
        named(given.on_success.as_ref().and_then(|to| to.destination.as_ref()))
            || named(given.on_failure.as_ref().and_then(|to| to.destination.as_ref()))
    }) {
        let text = "Destinations are not supported for durable functions.";
        return Err(Error::InvalidParameter(text.to_owned()));
    }
    gaps::refuse(&gaps::DURABLE_RETRIES, given.retries_max.is_some())?;
    gaps::refuse(&gaps::DURABLE_AGE, given.age_max_s.is_some())
}

async fn write(
    lambda: &Lambda,
    cx: &Cx,
    target: FunctionTarget,
    given: Given,
    before: impl Fn(&Write, &FunctionTarget) -> Result<InvokeConfigRecord, Error> + Send + 'static,
) -> Result<api::FunctionEventInvokeConfig, Error> {
    if given.retries_max.is_none() && given.age_max_s.is_none() && given.destinations.is_none() {
        return Err(Error::InvalidParameter(
            "You must specify at least one of error handling or destination setting.".to_owned(),
        ));
    }
    let named = target.clone();
    let now_ms = cx.now.millis();
    let services = lambda.services.get().map(|client| client.services().clone());
    let record = lambda
        .store
        .write(move |tx| {
            check_exists(tx, &target)?;
            check_durable(tx, &target, &given)?;
            let mut record = before(tx, &target)?;
            if let Some(destinations) = &given.destinations {
                check(tx, &target, destinations, services.as_ref())?;
                let arn = |arn: Option<&String>| arn.cloned().filter(|arn| !arn.is_empty());
                if let Some(on_success) = &destinations.on_success {
                    record.on_success = arn(on_success.destination.as_ref());
                }
                if let Some(on_failure) = &destinations.on_failure {
                    record.on_failure = arn(on_failure.destination.as_ref());
                }
            }
            let number = |given: Option<i32>| given.and_then(|n| u32::try_from(n).ok());
            record.retries_max = number(given.retries_max).or(record.retries_max);
            record.age_max_s = number(given.age_max_s).or(record.age_max_s);
            record.last_modified_ms = now_ms;
            INVOKE_CONFIGS.put(tx, &place(&target), &record)?;
            Ok::<_, Error>(record)
        })
        .await?;
    Ok(view(&named, record))
}

/// Checks the destinations of a request, in AWS's words where it has some.
fn check(
    tx: &impl Reader,
    target: &FunctionTarget,
    given: &api::DestinationConfig,
    services: Option<&gatemill_aws::Services>,
) -> Result<(), Error> {
    let arn = |arn: Option<&String>| arn.cloned().filter(|arn| !arn.is_empty());
    let on_success = arn(given.on_success.as_ref().and_then(|to| to.destination.as_ref()));
    let on_failure = arn(given.on_failure.as_ref().and_then(|to| to.destination.as_ref()));
    let text = |arn: Option<&String>, kind: &str| {
        arn.map_or_else(|| "null".to_owned(), |arn| format!("{kind}(destination={arn})"))
    };
    for (arn, purpose) in
        [(on_failure.as_ref(), Purpose::Failure), (on_success.as_ref(), Purpose::Success)]
    {
        let Some(arn) = arn else { continue };
        gaps::refuse(&gaps::KAFKA_DESTINATION, arn.starts_with("kafka://"))?;
        let Some(found) = destination::parse(arn).filter(|it| it.serves(purpose)) else {
            return Err(invalid(
                &text(on_success.as_ref(), "OnSuccess"),
                &text(on_failure.as_ref(), "OnFailure"),
            ));
        };
        match found.function() {
            Some(function) => check_function(tx, target, function, arn)?,
            None => check_service(&gaps::DESTINATION_ELSEWHERE, found.as_ref(), services)?,
        }
    }
    Ok(())
}

fn invalid(on_success: &str, on_failure: &str) -> Error {
    Error::InvalidParameter(format!(
        "The provided destination config DestinationConfig(onSuccess={on_success}, onFailure={on_failure}) is invalid."
    ))
}

fn check_function(
    tx: &impl Reader,
    target: &FunctionTarget,
    function: &FunctionTarget,
    arn: &str,
) -> Result<(), Error> {
    if function.key() == target.key() {
        return Err(Error::InvalidParameter(
            "You can't specify the function as a destination for itself.".to_owned(),
        ));
    }
    // What is in another account or region cannot be reached from here.
    let here = (&function.account, &function.region) == (&target.account, &target.region);
    if !here || !FUNCTIONS.contains(tx, &function.key().record())? {
        return Err(Error::InvalidParameter(format!("The destination ARN {arn} is invalid.")));
    }
    Ok(())
}

/// Refuses a target whose service is not configured: nothing would ever arrive there.
pub(super) fn check_service(
    gap: &'static Gap,
    destination: &dyn Destination,
    services: Option<&gatemill_aws::Services>,
) -> Result<(), Error> {
    match destination::missing(destination, services) {
        Some(service) => {
            let missing = format!(
                "This server has no endpoint for {service}: its configuration file has no table services.{service}."
            );
            Err(Error::NotConfigured { gap, missing })
        }
        None => Ok(()),
    }
}

fn view(target: &FunctionTarget, record: InvokeConfigRecord) -> api::FunctionEventInvokeConfig {
    let number = |number: Option<u32>| number.and_then(|n| i32::try_from(n).ok());
    api::FunctionEventInvokeConfig {
        last_modified: Some(EpochSeconds(Timestamp(record.last_modified_ms))),
        function_arn: Some(target.arn()),
        maximum_retry_attempts: number(record.retries_max),
        maximum_event_age_in_seconds: number(record.age_max_s),
        destination_config: Some(api::DestinationConfig {
            on_success: Some(api::OnSuccess { destination: record.on_success }),
            on_failure: Some(api::OnFailure { destination: record.on_failure }),
        }),
    }
}
