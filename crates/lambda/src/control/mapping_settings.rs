//! What an event source mapping may be: which settings go with which kind of source, their defaults and bounds.
//!
//! The model bounds numbers; what depends on the source is checked here, in AWS's words where they are recorded. Texts
//! that are not recorded are marked as ours.

use gatemill_api::lambda as api;
use gatemill_pattern::{Pattern, Wants};
use gatemill_wire::{Cx, Gap};

use super::gaps;
use crate::{
    Error, Lambda,
    limits::{
        MAPPING_BATCH_WITHOUT_WINDOW_MAX, MAPPING_FILTERS_MAX, MAPPING_POLLERS_MAX,
        MAPPING_POLLERS_MAXIMUM_DEFAULT, MAPPING_POLLERS_MIN, MAPPING_POLLERS_MINIMUM_MAX,
        MAPPING_RECORD_AGE_S_MIN,
    },
    mapping::{Pollers, Service, Settings, SourceArn, StartingPosition, StreamSettings},
};

fn invalid<T>(text: impl Into<String>) -> Result<T, Error> {
    Err(Error::InvalidParameter(text.into()))
}

fn unsupported<T>(member: &str) -> Result<T, Error> {
    invalid(format!("Unsupported {member} parameter for given event source mapping type."))
}

/// The members that creating and updating share and that are not built, and whether a request has them: the two requests
/// are types of their own, with the same members.
macro_rules! unbuilt {
    ($request:expr) => {
        [
            (&gaps::MAPPING_LOGGING, $request.logging_config.is_some()),
            (&gaps::MAPPING_ACCESS, $request.source_access_configurations.is_some()),
            (
                &gaps::MAPPING_MANAGED_KAFKA,
                $request.amazon_managed_kafka_event_source_config.is_some(),
            ),
            (&gaps::MAPPING_OWN_KAFKA, $request.self_managed_kafka_event_source_config.is_some()),
            (&gaps::MAPPING_DOCUMENT_DB, $request.document_db_event_source_config.is_some()),
        ]
    };
}

/// Refuses what is not built by its name.
pub(super) fn refuse_unbuilt_create(
    lambda: &Lambda,
    request: &api::CreateEventSourceMappingRequest,
) -> Result<(), Error> {
    let alone = [
        (&gaps::MAPPING_OWN_SOURCE, request.self_managed_event_source.is_some()),
        (&gaps::MAPPING_TOPICS, request.topics.is_some()),
        (&gaps::MAPPING_QUEUES, request.queues.is_some()),
    ];
    refuse(alone.into_iter().chain(unbuilt!(request)))?;
    take_key(lambda, request.kms_key_arn.as_ref())
}

/// Refuses what is not built by its name.
pub(super) fn refuse_unbuilt_update(
    lambda: &Lambda,
    request: &api::UpdateEventSourceMappingRequest,
) -> Result<(), Error> {
    refuse(unbuilt!(request))?;
    take_key(lambda, request.kms_key_arn.as_ref())
}

/// The key for the filters of a mapping; an empty one is none.
fn take_key(lambda: &Lambda, key: Option<&String>) -> Result<(), Error> {
    gaps::take(lambda, &gaps::MAPPING_KEY, key.is_some_and(|key| !key.is_empty()))
}

fn refuse(members: impl IntoIterator<Item = (&'static Gap, bool)>) -> Result<(), Error> {
    members.into_iter().try_for_each(|(gap, used)| gaps::refuse(gap, used))
}

/// The event source that a request names.
pub(super) fn source(
    cx: &Cx,
    request: &api::CreateEventSourceMappingRequest,
) -> Result<SourceArn, Error> {
    let text = request.event_source_arn.as_deref().unwrap_or_default();
    let Some(source) = SourceArn::parse(text) else {
        let arn: Option<gatemill_wire::Arn> = text.parse().ok();
        let service = arn.as_ref().map(|arn| arn.service.as_str());
        return match service {
            Some("kafka" | "mq" | "rds" | "docdb" | "docdb-elastic") => {
                Err(Error::NotBuilt(&gaps::MAPPING_SOURCE))
            }
            _ => invalid("Unrecognized event source."),
        };
    };
    if source.region != cx.region {
        // Ours.
        return invalid(format!(
            "The event source and the function must be in the same region: {} is not {}.",
            source.region, cx.region
        ));
    }
    Ok(source)
}

/// The settings of a new mapping.
pub(super) fn of_create(
    cx: &Cx,
    source: &SourceArn,
    request: &api::CreateEventSourceMappingRequest,
) -> Result<Settings, Error> {
    let starting = starting_position(cx, source, request)?;
    let fresh = Settings {
        batch_size: if source.is_stream() { 100 } else { 10 },
        window_s: 0,
        filters: Vec::new(),
        reports_item_failures: false,
        maximum_concurrency: None,
        pollers: None,
        stream: starting.map(|starting| StreamSettings {
            starting,
            parallelization: 1,
            on_failure: None,
            record_age_s: None,
            bisects: false,
            retries: None,
            tumbling_s: 0,
        }),
        counts_events: false,
        kms_key_arn: None,
    };
    Changes::of_create(request).apply(source, fresh)
}

fn starting_position(
    cx: &Cx,
    source: &SourceArn,
    request: &api::CreateEventSourceMappingRequest,
) -> Result<Option<StartingPosition>, Error> {
    let at = request.starting_position_timestamp;
    let position = request.starting_position.as_deref();
    if !source.is_stream() {
        return match (position, at) {
            (Some(_), _) => invalid("StartingPosition is not valid for SQS event sources."),
            (None, Some(_)) => unsupported("StartingPositionTimestamp"),
            (None, None) => Ok(None),
        };
    }
    match (position, at) {
        (None, _) => invalid(
            "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must \
             not be null.",
        ),
        (Some("AT_TIMESTAMP"), _) if source.service == Service::DynamoDb => {
            invalid(format!("Unsupported starting position for arn type: {}", source.text))
        }
        // The next three texts are ours.
        (Some("AT_TIMESTAMP"), None) => {
            invalid("StartingPositionTimestamp is required when StartingPosition is AT_TIMESTAMP.")
        }
        (Some("AT_TIMESTAMP"), Some(at)) if at.0 > cx.now => {
            invalid("StartingPositionTimestamp must not be in the future.")
        }
        (Some("AT_TIMESTAMP"), Some(at)) => Ok(Some(StartingPosition::AtTimestamp(at.0.millis()))),
        (Some(_), Some(_)) => invalid(
            "StartingPositionTimestamp is valid only when StartingPosition is AT_TIMESTAMP.",
        ),
        (Some("LATEST"), None) => Ok(Some(StartingPosition::Latest)),
        (Some(_), None) => Ok(Some(StartingPosition::TrimHorizon)),
    }
}

/// What creating and updating may both set; `None` is not named.
#[derive(Debug, Clone, Default)]
pub(super) struct Changes {
    batch_size: Option<u32>,
    window_s: Option<u32>,
    filters: Option<Vec<String>>,
    responses: Option<Vec<String>>,
    metrics: Option<Vec<String>>,
    scaling: Option<Option<u32>>,
    pollers: Option<api::ProvisionedPollerConfig>,
    parallelization: Option<u32>,
    destinations: Option<api::DestinationConfig>,
    record_age_s: Option<i32>,
    bisects: Option<bool>,
    retries: Option<i32>,
    tumbling_s: Option<u32>,
    kms_key: Option<String>,
}

fn number(value: Option<i32>) -> Option<u32> {
    value.and_then(|value| u32::try_from(value).ok())
}

fn patterns(criteria: &Option<api::FilterCriteria>) -> Option<Vec<String>> {
    let filters = criteria.as_ref()?.filters.as_deref().unwrap_or_default();
    Some(filters.iter().map(|filter| filter.pattern.clone().unwrap_or_default()).collect())
}

fn metrics(config: &Option<api::EventSourceMappingMetricsConfig>) -> Option<Vec<String>> {
    config.as_ref().map(|config| config.metrics.clone().unwrap_or_default())
}

fn scaling(config: &Option<api::ScalingConfig>) -> Option<Option<u32>> {
    config.as_ref().map(|config| number(config.maximum_concurrency))
}

/// The changes that a request of either kind asks for.
macro_rules! changes {
    ($request:expr) => {
        Changes {
            batch_size: number($request.batch_size),
            window_s: number($request.maximum_batching_window_in_seconds),
            filters: patterns(&$request.filter_criteria),
            responses: $request.function_response_types.clone(),
            metrics: metrics(&$request.metrics_config),
            scaling: scaling(&$request.scaling_config),
            pollers: $request.provisioned_poller_config.clone(),
            parallelization: number($request.parallelization_factor),
            destinations: $request.destination_config.clone(),
            record_age_s: $request.maximum_record_age_in_seconds,
            bisects: $request.bisect_batch_on_function_error,
            retries: $request.maximum_retry_attempts,
            tumbling_s: number($request.tumbling_window_in_seconds),
            kms_key: $request.kms_key_arn.clone(),
        }
    };
}

impl Changes {
    fn of_create(request: &api::CreateEventSourceMappingRequest) -> Self {
        changes!(request)
    }

    pub(super) fn of_update(request: &api::UpdateEventSourceMappingRequest) -> Self {
        changes!(request)
    }

    /// The settings with these changes, or what is wrong with them.
    pub(super) fn apply(self, source: &SourceArn, old: Settings) -> Result<Settings, Error> {
        let counts_events = match &self.metrics {
            None => old.counts_events,
            Some(groups) if groups.iter().any(|group| group != "EventCount") => {
                return unsupported("MetricsConfig");
            }
            Some(groups) => !groups.is_empty(),
        };
        let settings = Settings {
            batch_size: self.batch_size.unwrap_or(old.batch_size),
            window_s: self.window_s.unwrap_or(old.window_s),
            filters: match &self.filters {
                None => old.filters.clone(),
                Some(filters) => checked_filters(source, filters)?,
            },
            reports_item_failures: match &self.responses {
                None => old.reports_item_failures,
                Some(types) => !types.is_empty(),
            },
            maximum_concurrency: self.scaling.unwrap_or(old.maximum_concurrency),
            pollers: match &self.pollers {
                None => old.pollers,
                Some(config) => pollers(config, old.pollers)?,
            },
            stream: None,
            counts_events,
            kms_key_arn: match &self.kms_key {
                None => old.kms_key_arn.clone(),
                Some(key) => Some(key.clone()).filter(|key| !key.is_empty()),
            },
        };
        let stream = match old.stream {
            None => self.check_queue(source, &settings).map(|()| None)?,
            Some(stream) => self.apply_stream(&settings, stream).map(Some)?,
        };
        Ok(Settings { stream, ..settings })
    }

    fn check_queue(&self, source: &SourceArn, settings: &Settings) -> Result<(), Error> {
        let named = |destination: Option<&String>| destination.is_some_and(|arn| !arn.is_empty());
        if self.destinations.as_ref().is_some_and(|config| {
            named(config.on_failure.as_ref().and_then(|it| it.destination.as_ref()))
                || named(config.on_success.as_ref().and_then(|it| it.destination.as_ref()))
        }) {
            return unsupported("DestinationConfig");
        }
        // The values that mean "not used" are what clients send that name everything.
        for (member, used) in [
            ("ParallelizationFactor", self.parallelization.is_some_and(|factor| factor != 1)),
            ("MaximumRecordAgeInSeconds", self.record_age_s.is_some_and(|age| age != -1)),
            ("BisectBatchOnFunctionError", self.bisects == Some(true)),
            ("MaximumRetryAttempts", self.retries.is_some_and(|retries| retries != -1)),
            ("TumblingWindowInSeconds", self.tumbling_s.is_some_and(|window| window != 0)),
        ] {
            if used {
                return unsupported(member);
            }
        }
        // Ours; that it is one or the other is AWS's rule.
        if settings.pollers.is_some() && settings.maximum_concurrency.is_some() {
            return invalid(
                "ProvisionedPollerConfig and ScalingConfig.MaximumConcurrency cannot be used together.",
            );
        }
        // The two texts about FIFO queues are ours.
        if source.is_fifo() && settings.batch_size > MAPPING_BATCH_WITHOUT_WINDOW_MAX {
            return invalid("The maximum batch size of FIFO queues is 10.");
        }
        if source.is_fifo() && settings.window_s > 0 {
            return invalid("Batching windows are not supported for FIFO queues.");
        }
        if settings.batch_size > MAPPING_BATCH_WITHOUT_WINDOW_MAX && settings.window_s == 0 {
            return invalid(
                "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10",
            );
        }
        Ok(())
    }

    fn apply_stream(
        &self,
        settings: &Settings,
        old: StreamSettings,
    ) -> Result<StreamSettings, Error> {
        if settings.maximum_concurrency.is_some() {
            return unsupported("ScalingConfig");
        }
        if settings.pollers.is_some() {
            return unsupported("ProvisionedPollerConfig");
        }
        let on_failure = match &self.destinations {
            None => old.on_failure,
            Some(config) => on_failure(config)?,
        };
        let record_age_s = match self.record_age_s {
            None => old.record_age_s,
            Some(-1) => None,
            Some(age) => match number(Some(age)) {
                Some(age) if age >= MAPPING_RECORD_AGE_S_MIN => Some(age),
                // Ours.
                _ => {
                    return invalid(format!(
                        "MaximumRecordAgeInSeconds must be -1 or between {MAPPING_RECORD_AGE_S_MIN} and 604800."
                    ));
                }
            },
        };
        let stream = StreamSettings {
            starting: old.starting,
            parallelization: self.parallelization.unwrap_or(old.parallelization),
            on_failure,
            record_age_s,
            bisects: self.bisects.unwrap_or(old.bisects),
            retries: self.retries.map_or(old.retries, |retries| number(Some(retries))),
            tumbling_s: self.tumbling_s.unwrap_or(old.tumbling_s),
        };
        if stream.tumbling_s > 0 && stream.parallelization > 1 {
            // Ours.
            return invalid(
                "Tumbling windows are not supported with a ParallelizationFactor above 1.",
            );
        }
        Ok(stream)
    }
}

/// The event pollers of a mapping; an empty config is none, and ends provisioned mode. The texts are ours.
fn pollers(
    config: &api::ProvisionedPollerConfig,
    old: Option<Pollers>,
) -> Result<Option<Pollers>, Error> {
    if config.poller_group_name.as_ref().is_some_and(|name| !name.is_empty()) {
        return unsupported("PollerGroupName");
    }
    if config.minimum_pollers.is_none() && config.maximum_pollers.is_none() {
        return Ok(None);
    }
    let fresh = Pollers { minimum: MAPPING_POLLERS_MIN, maximum: MAPPING_POLLERS_MAXIMUM_DEFAULT };
    let old = old.unwrap_or(fresh);
    let pollers = Pollers {
        minimum: number(config.minimum_pollers).unwrap_or(old.minimum),
        maximum: number(config.maximum_pollers).unwrap_or(old.maximum),
    };
    for (member, value, most) in [
        ("MinimumPollers", pollers.minimum, MAPPING_POLLERS_MINIMUM_MAX),
        ("MaximumPollers", pollers.maximum, MAPPING_POLLERS_MAX),
    ] {
        if !(MAPPING_POLLERS_MIN..=most).contains(&value) {
            return invalid(format!(
                "{member} must be between {MAPPING_POLLERS_MIN} and {most} for SQS event sources."
            ));
        }
    }
    if pollers.minimum > pollers.maximum {
        return invalid("MinimumPollers must not be greater than MaximumPollers.");
    }
    Ok(Some(pollers))
}

/// The destination of what is given up; an empty one is none.
fn on_failure(config: &api::DestinationConfig) -> Result<Option<String>, Error> {
    let success = config.on_success.as_ref().and_then(|it| it.destination.as_deref());
    if success.is_some_and(|arn| !arn.is_empty()) {
        return unsupported("OnSuccess");
    }
    let arn = config.on_failure.as_ref().and_then(|it| it.destination.clone());
    Ok(arn.filter(|arn| !arn.is_empty()))
}

fn checked_filters(source: &SourceArn, filters: &[String]) -> Result<Vec<String>, Error> {
    if filters.len() > MAPPING_FILTERS_MAX {
        // Ours.
        return invalid(format!("A mapping can have at most {MAPPING_FILTERS_MAX} filters."));
    }
    for text in filters {
        let pattern = Pattern::parse(text);
        // What Kinesis carries is matched as JSON alone.
        let plain = source.service == Service::Kinesis
            && pattern.as_ref().is_ok_and(|pattern| pattern.wants("data") == Some(Wants::Value));
        if pattern.is_err() || plain {
            return invalid("Invalid filter pattern definition.");
        }
    }
    Ok(filters.to_vec())
}
