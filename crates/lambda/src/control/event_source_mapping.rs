//! Event source mappings: create, read, update, delete, list.
//!
//! Each answers with the state that the mapping leaves; a worker above this crate reads the sources, and settles the
//! state (`crate::mapping`). What a mapping may be is in `mapping_settings`.

use gatemill_api::lambda as api;
use gatemill_store::{Key, Read, Write};
use gatemill_wire::{Cx, EpochSeconds, Gap, Operation as _, Qualifier, Timestamp, pagination};

use super::{function, gaps, mapping_settings, mapping_settings::Changes, reference, tag};
use crate::{
    Error, FunctionTarget, Lambda,
    limits::MAPPING_PAGE_MAX,
    mapping::{
        self, MAPPING_RESULTS, MAPPINGS, MAPPINGS_BY_FUNCTION, MAPPINGS_BY_SOURCE, Mapping,
        MappingKey, SourceArn, SourceProblem, StartingPosition, State, Work, by_function,
        by_source,
    },
    record::{ALIASES, FUNCTIONS, VERSIONS, alias_key, version_key},
};

const NO_RESOURCE: &str = "The resource you requested does not exist.";
const NO_FUNCTION: &str = "Function does not exist";
/// What streams answer until something was read.
const NOTHING_PROCESSED: &str = "No records processed";

/// `CreateEventSourceMapping`: 202, state Creating.
pub(crate) async fn create(
    lambda: &Lambda,
    cx: &Cx,
    request: api::CreateEventSourceMappingRequest,
) -> Result<api::EventSourceMappingConfiguration, Error> {
    mapping_settings::refuse_unbuilt_create(lambda, &request)?;
    let source = mapping_settings::source(cx, &request)?;
    let settings = mapping_settings::of_create(cx, &source, &request)?;
    let tags = request.tags.unwrap_or_default();
    tag::check(&tags)?;
    let info = api::CreateEventSourceMapping::INFO;
    let target = reference::resolve(cx, info, &request.function_name, None)?;
    let timeout_s = lambda.store.read(|tx| check_function(tx, &target))?;
    check_source(lambda, &source, timeout_s).await?;
    if let Some(arn) = settings.stream.as_ref().and_then(|stream| stream.on_failure.as_ref()) {
        check_destination(lambda, arn)?;
    }
    let key = MappingKey {
        account: cx.account().to_owned(),
        region: cx.region.clone(),
        uuid: cx.uuid().to_string(),
    };
    let created = Mapping {
        function_arn: target.arn(),
        source_arn: source.text.clone(),
        state: State::Creating { enabled: request.enabled.unwrap_or(true) },
        revision: 1,
        last_modified_ms: cx.now.millis(),
        settings,
        tags,
    };
    let (at, record) = (key.clone(), created.clone());
    lambda
        .store
        .write(move |tx| {
            check_unique(tx, &at, &source, &target)?;
            MAPPINGS_BY_FUNCTION.put(tx, &by_function(&at, &target.name), &Work {})?;
            MAPPINGS_BY_SOURCE.put(tx, &by_source(&at, &record.source_arn), &Work {})?;
            mapping::ask(tx, &at, &record)
        })
        .await?;
    Ok(view(&key, &created, None))
}

/// `GetEventSourceMapping`.
pub(crate) async fn get(
    lambda: &Lambda,
    cx: &Cx,
    request: api::GetEventSourceMappingRequest,
) -> Result<api::EventSourceMappingConfiguration, Error> {
    let key = key(cx, &request.uuid);
    lambda.store.read(|tx| {
        let mapping = existing(tx, &key)?;
        shown(tx, &key, &mapping)
    })
}

/// `ListEventSourceMappings`: in order of UUIDs, of one source and of one function where they are named.
pub(crate) async fn list(
    lambda: &Lambda,
    cx: &Cx,
    request: api::ListEventSourceMappingsRequest,
) -> Result<api::ListEventSourceMappingsResponse, Error> {
    let info = api::ListEventSourceMappings::INFO;
    let resolve = |name: &String| reference::resolve(cx, info, name, None);
    let target = request.function_name.as_ref().map(resolve).transpose()?;
    let after = request.marker.as_deref().map(uuid_of_marker).transpose()?;
    let limit = request.max_items.and_then(|items| usize::try_from(items).ok());
    let limit = limit.unwrap_or(MAPPING_PAGE_MAX).clamp(1, MAPPING_PAGE_MAX);
    let listing = Listing {
        here: key(cx, ""),
        source: request.event_source_arn,
        function: target.as_ref().map(|target| target.name.clone()),
        function_arn: target.as_ref().map(FunctionTarget::arn),
    };
    let (found, next_marker) = lambda.store.read(|tx| {
        let found = listing.page(tx, after, limit + 1)?;
        let uuid = |(key, _): &(MappingKey, Mapping)| key.uuid.clone().into_bytes();
        let (page, next) = pagination::page(found, limit, uuid);
        let views = page.iter().map(|(key, mapping)| shown(tx, key, mapping));
        Ok::<_, Error>((views.collect::<Result<Vec<_>, _>>()?, next))
    })?;
    Ok(api::ListEventSourceMappingsResponse { next_marker, event_source_mappings: Some(found) })
}

/// `UpdateEventSourceMapping`: 202; what is not named stays.
pub(crate) async fn update(
    lambda: &Lambda,
    cx: &Cx,
    request: api::UpdateEventSourceMappingRequest,
) -> Result<api::EventSourceMappingConfiguration, Error> {
    mapping_settings::refuse_unbuilt_update(lambda, &request)?;
    let key = key(cx, &request.uuid);
    let info = api::UpdateEventSourceMapping::INFO;
    let target = match request.function_name.as_deref().filter(|name| !name.is_empty()) {
        None => None,
        Some(name) => {
            let target = reference::resolve(cx, info, name, None)?;
            lambda.store.read(|tx| check_function(tx, &target))?;
            Some(target)
        }
    };
    let changes = Changes::of_update(&request);
    // Whatever is wrong with the values is said before anything else is asked for.
    let known = lambda.store.read(|tx| existing(tx, &key))?;
    let changed = changes.clone().apply(&source_of(&known)?, known.settings)?;
    let destination = changed.stream.as_ref().and_then(|stream| stream.on_failure.as_ref());
    if let Some(arn) = destination.filter(|_| request.destination_config.is_some()) {
        check_destination(lambda, arn)?;
    }
    let (at, now, wanted) = (key.clone(), cx.now.millis(), request.enabled);
    let updated = lambda
        .store
        .write(move |tx| {
            let mut mapping = existing(tx, &at)?;
            check_settled(&mapping, "update")?;
            let source = source_of(&mapping)?;
            mapping.settings = changes.clone().apply(&source, mapping.settings)?;
            if let Some(target) = &target {
                retarget(tx, &at, &mut mapping, &source, target)?;
            }
            let enabled = mapping.state == State::Enabled;
            mapping.state = match wanted {
                Some(true) if !enabled => State::Enabling,
                Some(false) if enabled => State::Disabling,
                Some(_) | None => State::Updating { enabled },
            };
            mapping.revision += 1;
            mapping.last_modified_ms = now;
            mapping::ask(tx, &at, &mapping)?;
            Ok::<_, Error>(mapping)
        })
        .await?;
    lambda.store.read(|tx| shown(tx, &key, &updated))
}

/// `DeleteEventSourceMapping`: 202, state Deleting.
pub(crate) async fn delete(
    lambda: &Lambda,
    cx: &Cx,
    request: api::DeleteEventSourceMappingRequest,
) -> Result<api::EventSourceMappingConfiguration, Error> {
    let key = key(cx, &request.uuid);
    let (at, now) = (key.clone(), cx.now.millis());
    let deleted = lambda
        .store
        .write(move |tx| {
            let mut mapping = existing(tx, &at)?;
            // One that cannot be settled, since its source is gone, can be deleted all the same.
            let result = MAPPING_RESULTS.get(tx, &at.record())?;
            let is_stuck = result.is_some_and(|result| result.text.starts_with("PROBLEM:"));
            if !is_stuck || mapping.state == State::Deleting {
                check_settled(&mapping, "delete")?;
            }
            mapping.state = State::Deleting;
            mapping.revision += 1;
            mapping.last_modified_ms = now;
            mapping::ask(tx, &at, &mapping)?;
            Ok::<_, Error>(mapping)
        })
        .await?;
    Ok(view(&key, &deleted, None))
}

/// What a list asks for.
struct Listing {
    /// The account and region.
    here: MappingKey,
    source: Option<String>,
    function: Option<String>,
    function_arn: Option<String>,
}

impl Listing {
    /// At most `limit` mappings after a UUID, by the narrowest index.
    fn page(
        &self,
        tx: &Read,
        mut after: Option<String>,
        limit: usize,
    ) -> Result<Vec<(MappingKey, Mapping)>, Error> {
        let mut found = Vec::new();
        loop {
            let uuids = self.uuids(tx, after.as_deref(), limit)?;
            let Some(last) = uuids.last() else { return Ok(found) };
            after = Some(last.clone());
            for uuid in uuids {
                let key = MappingKey { uuid, ..self.here.clone() };
                let Some(mapping) = MAPPINGS.get(tx, &key.record())? else { continue };
                let other_function =
                    self.function_arn.as_ref().is_some_and(|arn| *arn != mapping.function_arn);
                let other_source =
                    self.source.as_ref().is_some_and(|arn| *arn != mapping.source_arn);
                if !(other_function || other_source) {
                    found.push((key, mapping));
                }
                if found.len() == limit {
                    return Ok(found);
                }
            }
        }
    }

    fn uuids(&self, tx: &Read, after: Option<&str>, limit: usize) -> Result<Vec<String>, Error> {
        let here = Key::new([&self.here.account, &self.here.region]);
        let indexed = match (&self.source, &self.function) {
            (Some(source), _) => Some((&MAPPINGS_BY_SOURCE, here.clone().and(source))),
            (None, Some(function)) => Some((&MAPPINGS_BY_FUNCTION, here.clone().and(function))),
            (None, None) => None,
        };
        let text = |key: &Key, part| key.text(part).map(std::borrow::Cow::into_owned);
        Ok(match indexed {
            Some((index, prefix)) => {
                let after = after.map(|uuid| prefix.clone().and(uuid));
                let marks = index.scan(tx, &prefix, after.as_ref(), limit)?;
                marks.iter().filter_map(|(key, _)| text(key, 3)).collect()
            }
            None => {
                let after = after.map(|uuid| here.clone().and(uuid));
                let mappings = MAPPINGS.scan(tx, &here, after.as_ref(), limit)?;
                mappings.iter().filter_map(|(key, _)| text(key, 2)).collect()
            }
        })
    }
}

fn uuid_of_marker(marker: &str) -> Result<String, Error> {
    let uuid = pagination::key(marker).and_then(|uuid| String::from_utf8(uuid).ok());
    uuid.ok_or_else(function::bad_marker)
}

/// The mapping of that UUID, as it is stored.
fn existing(tx: &impl gatemill_store::Reader, key: &MappingKey) -> Result<Mapping, Error> {
    let mapping = MAPPINGS.get(tx, &key.record())?;
    mapping.ok_or_else(|| Error::NotFound(NO_RESOURCE.to_owned()))
}

fn key(cx: &Cx, uuid: &str) -> MappingKey {
    MappingKey {
        account: cx.account().to_owned(),
        region: cx.region.clone(),
        uuid: uuid.to_owned(),
    }
}

fn source_of(mapping: &Mapping) -> Result<SourceArn, Error> {
    mapping.source().ok_or(Error::Internal("the ARN of a stored event source cannot be read"))
}

/// Whether the function may be called by mappings; gives its timeout in seconds.
fn check_function(tx: &Read, target: &FunctionTarget) -> Result<u32, Error> {
    let missing = || Error::InvalidParameter(NO_FUNCTION.to_owned());
    let key = target.key().to_owned();
    let function = FUNCTIONS.get(tx, &key.record())?.ok_or_else(missing)?;
    // Mappings have no tenant to name. The text is ours: AWS's is not recorded.
    if function.configuration.per_tenant {
        return Err(Error::InvalidParameter(
            "Event source mappings are not supported for functions with tenant isolation."
                .to_owned(),
        ));
    }
    let version = match &target.qualifier {
        None | Some(Qualifier::Latest) => return Ok(function.configuration.timeout_s),
        Some(Qualifier::Version(number)) => Some(*number),
        Some(Qualifier::Alias(name)) => {
            ALIASES.get(tx, &alias_key(&key, name))?.ok_or_else(missing)?.version
        }
    };
    let Some(number) = version else { return Ok(function.configuration.timeout_s) };
    let version = VERSIONS.get(tx, &version_key(&key, number))?.ok_or_else(missing)?;
    Ok(version.configuration.timeout_s)
}

/// Whether the source is there, and messages stay hidden for at least as long as the function runs.
async fn check_source(lambda: &Lambda, source: &SourceArn, timeout_s: u32) -> Result<(), Error> {
    let Some(sources) = lambda.event_sources.get() else {
        return Err(Error::NotBuilt(&gaps::MAPPING_SOURCE_ELSEWHERE));
    };
    let facts = sources.check(source).await;
    let facts = facts.map_err(|it| problem(&gaps::MAPPING_SOURCE_ELSEWHERE, it))?;
    match facts.visibility_timeout_s {
        Some(hidden) if hidden < timeout_s => Err(Error::InvalidParameter(format!(
            "Queue visibility timeout: {hidden} seconds is less than Function timeout: {timeout_s} seconds"
        ))),
        Some(_) | None => Ok(()),
    }
}

fn check_destination(lambda: &Lambda, arn: &str) -> Result<(), Error> {
    let gap = &gaps::MAPPING_DESTINATION_ELSEWHERE;
    let invalid = || Error::InvalidParameter(format!("The destination ARN {arn} is invalid."));
    let parsed = arn.parse().map_err(|_| invalid())?;
    match lambda.event_sources.get() {
        None => Err(Error::NotBuilt(gap)),
        Some(sources) => sources.check_destination(&parsed).map_err(|it| problem(gap, it)),
    }
}

fn problem(gap: &'static Gap, problem: SourceProblem) -> Error {
    match problem {
        SourceProblem::NotConfigured(missing) => Error::NotConfigured { gap, missing },
        SourceProblem::Refused(text) => Error::InvalidParameter(text),
        SourceProblem::Unreachable(text) => {
            tracing::warn!(error = text, "an event source does not answer");
            Error::Internal("an event source does not answer")
        }
    }
}

/// A source has one mapping for each function, version or alias.
fn check_unique(
    tx: &Write,
    key: &MappingKey,
    source: &SourceArn,
    target: &FunctionTarget,
) -> Result<(), Error> {
    let of_source = Key::new([&key.account, &key.region, &source.text]);
    let function_arn = target.arn();
    for (mark, _) in MAPPINGS_BY_SOURCE.scan(tx, &of_source, None, usize::MAX)? {
        let Some(uuid) = mark.text(3).filter(|uuid| *uuid != key.uuid) else { continue };
        let other = MappingKey { uuid: uuid.into_owned(), ..key.clone() };
        let known = MAPPINGS.get(tx, &other.record())?;
        if known.is_some_and(|known| known.function_arn == function_arn) {
            let (arn, name, uuid) = (&source.text, &target.name, &other.uuid);
            // The spaces inside the quotes are AWS's.
            return Err(Error::Conflict(if source.is_stream() {
                format!(
                    "The event source arn (\" {arn} \") and function (\" {name} \") provided mapping already exists. \
                     Please update or delete the existing mapping with UUID {uuid}"
                )
            } else {
                format!(
                    "An event source mapping with SQS arn (\" {arn} \") and function (\" {name} \") already exists. \
                     Please update or delete the existing mapping with UUID {uuid}"
                )
            }));
        }
    }
    Ok(())
}

/// A change has to wait for the one before it.
fn check_settled(mapping: &Mapping, doing: &str) -> Result<(), Error> {
    if mapping.state.is_settled() {
        return Ok(());
    }
    Err(Error::InUse(format!("Cannot {doing} the event source mapping because it is in use.")))
}

/// Lets the mapping call another function.
fn retarget(
    tx: &mut Write,
    key: &MappingKey,
    mapping: &mut Mapping,
    source: &SourceArn,
    target: &FunctionTarget,
) -> Result<(), Error> {
    check_unique(tx, key, source, target)?;
    if let Some(old) = mapping.target() {
        MAPPINGS_BY_FUNCTION.delete(tx, &by_function(key, &old.name))?;
    }
    MAPPINGS_BY_FUNCTION.put(tx, &by_function(key, &target.name), &Work {})?;
    mapping.function_arn = target.arn();
    Ok(())
}

/// The mapping with what came last of it.
fn shown(
    tx: &Read,
    key: &MappingKey,
    mapping: &Mapping,
) -> Result<api::EventSourceMappingConfiguration, Error> {
    let result = MAPPING_RESULTS.get(tx, &key.record())?;
    Ok(view(key, mapping, result.map(|result| result.text)))
}

fn view(
    key: &MappingKey,
    mapping: &Mapping,
    result: Option<String>,
) -> api::EventSourceMappingConfiguration {
    let settings = &mapping.settings;
    let stream = settings.stream.as_ref();
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let endless = |limit: Option<u32>| limit.map_or(-1, number);
    let reason = if stream.is_some() { "User action" } else { "USER_INITIATED" };
    let filters =
        settings.filters.iter().map(|pattern| api::Filter { pattern: Some(pattern.clone()) });
    let (starting, starting_at) = stream.map_or((None, None), |stream| match stream.starting {
        StartingPosition::TrimHorizon => (Some("TRIM_HORIZON"), None),
        StartingPosition::Latest => (Some("LATEST"), None),
        StartingPosition::AtTimestamp(at) => {
            (Some("AT_TIMESTAMP"), Some(EpochSeconds(Timestamp(at))))
        }
    });
    let responses = settings.reports_item_failures.then(|| "ReportBatchItemFailures".to_owned());
    api::EventSourceMappingConfiguration {
        uuid: Some(key.uuid.clone()),
        starting_position: starting.map(str::to_owned),
        starting_position_timestamp: starting_at,
        batch_size: Some(number(settings.batch_size)),
        maximum_batching_window_in_seconds: Some(number(settings.window_s)),
        parallelization_factor: stream.map(|stream| number(stream.parallelization)),
        event_source_arn: Some(mapping.source_arn.clone()),
        kms_key_arn: settings.kms_key_arn.clone(),
        filter_criteria: (!settings.filters.is_empty())
            .then(|| api::FilterCriteria { filters: Some(filters.collect()) }),
        metrics_config: settings.counts_events.then(|| api::EventSourceMappingMetricsConfig {
            metrics: Some(vec!["EventCount".to_owned()]),
        }),
        scaling_config: settings
            .maximum_concurrency
            .map(|most| api::ScalingConfig { maximum_concurrency: Some(number(most)) }),
        provisioned_poller_config: settings.pollers.map(|pollers| api::ProvisionedPollerConfig {
            minimum_pollers: Some(number(pollers.minimum)),
            maximum_pollers: Some(number(pollers.maximum)),
            poller_group_name: None,
        }),
        function_arn: Some(mapping.function_arn.clone()),
        last_modified: Some(EpochSeconds(Timestamp(mapping.last_modified_ms))),
        last_processing_result: result.or_else(|| stream.map(|_| NOTHING_PROCESSED.to_owned())),
        state: Some(mapping.state.name().to_owned()),
        state_transition_reason: Some(reason.to_owned()),
        destination_config: stream.map(|stream| api::DestinationConfig {
            on_success: None,
            on_failure: Some(api::OnFailure { destination: stream.on_failure.clone() }),
        }),
        maximum_record_age_in_seconds: stream.map(|stream| endless(stream.record_age_s)),
        bisect_batch_on_function_error: stream.map(|stream| stream.bisects),
        maximum_retry_attempts: stream.map(|stream| endless(stream.retries)),
        tumbling_window_in_seconds: stream.map(|stream| number(stream.tumbling_s)),
        function_response_types: Some(responses.into_iter().collect()),
        event_source_mapping_arn: Some(key.arn()),
        ..Default::default()
    }
}
