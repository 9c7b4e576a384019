//! The family of stages.

use std::{collections::BTreeMap, sync::Arc};

use gatemill_api::apigatewayv2::{
    AccessLogSettings, CreateStageRequest, CreateStageResponse, DeleteAccessLogSettingsRequest,
    DeleteRouteSettingsRequest, DeleteStageRequest, GetStageRequest, GetStageResponse,
    GetStagesRequest, GetStagesResponse, ResetAuthorizersCacheRequest,
    RouteSettings as SettingsMembers, Stage, UpdateStageRequest, UpdateStageResponse,
};
use gatemill_store::Reader;
use gatemill_wire::{Cx, Iso8601, Timestamp};

use crate::{
    Gateway,
    access_log::{is_format, log_group},
    control::{edition::Edition, gaps, lead, length, page::page, rest, says, tag, unbuilt},
    error::{Error, Result},
    limits::{
        ACCESS_LOG_FORMAT_BYTES_MAX, STAGE_NAME_MAX, STAGE_VARIABLE_NAME_MAX,
        STAGE_VARIABLE_VALUE_MAX, STAGE_VARIABLES_MAX, STAGES_PER_API_MAX,
    },
    record::{AccessLog, ApiKey, DEPLOYMENTS, ROUTE_KEYS, RouteSettings, STAGES, StageRecord},
    usage_plans::record::Place,
};

/// The members of a stage in an answer; the answers of four operations have the same.
macro_rules! members {
    ($answer:ident, $record:expr) => {{
        let record: &StageRecord = $record;
        let settings = record.route_settings.iter();
        $answer {
            access_log_settings: record.access_log.as_ref().map(|log| AccessLogSettings {
                destination_arn: Some(log.destination.clone()),
                format: Some(log.format.clone()),
            }),
            api_gateway_managed: record.managed.then_some(true),
            auto_deploy: record.auto_deploy.then_some(true),
            client_certificate_id: None,
            created_date: Some(Iso8601(record.created)),
            default_route_settings: Some(settings_answer(&record.default_settings)),
            deployment_id: record.deployment.clone(),
            description: record.description.clone(),
            last_deployment_status_message: record.status_message.clone(),
            last_updated_date: Some(Iso8601(record.updated)),
            route_settings: Some(
                settings.map(|(key, settings)| (key.clone(), settings_answer(settings))).collect(),
            ),
            stage_name: record.name.clone().into(),
            stage_variables: Some(record.variables.clone()),
            tags: Some(record.tags.clone()),
        }
    }};
}

/// `CreateStage`.
pub(crate) async fn create(
    gateway: &Gateway,
    cx: &Cx,
    req: CreateStageRequest,
) -> Result<CreateStageResponse> {
    unbuilt(&gaps::CLIENT_CERTIFICATE, says(req.client_certificate_id.as_deref()))?;
    check_name(&req.stage_name)?;
    length("description", req.description.as_deref().unwrap_or_default(), 0, 1024)?;
    let mut stage = StageRecord {
        name: req.stage_name,
        description: req.description.filter(|text| !text.is_empty()),
        auto_deploy: req.auto_deploy.unwrap_or(false),
        deployment: None,
        variables: req.stage_variables.unwrap_or_default(),
        default_settings: RouteSettings::default(),
        route_settings: BTreeMap::new(),
        tags: tag::accept(req.tags.unwrap_or_default())?,
        created: cx.now,
        updated: cx.now,
        status_message: None,
        managed: false,
        access_log: access_log(cx, None, req.access_log_settings)?,
        authorizer_cache: 0,
    };
    check_variables(&stage.variables)?;
    merge_settings(&mut stage, req.default_route_settings.as_ref(), req.route_settings.as_ref())?;
    let deployment = req.deployment_id.filter(|id| !id.is_empty());
    let stage = gateway
        .edit(cx, &req.api_id, move |edition| insert(edition, stage.clone(), deployment.as_deref()))
        .await?;
    Ok(members!(CreateStageResponse, &stage))
}

/// `GetStage`.
pub(crate) async fn get(
    gateway: &Gateway,
    cx: &Cx,
    req: GetStageRequest,
) -> Result<GetStageResponse> {
    let stage = gateway.read(cx, &req.api_id, |tx, at, _| find(tx, at, &req.stage_name))?;
    Ok(members!(GetStageResponse, &stage))
}

/// `GetStages`.
pub(crate) async fn list(
    gateway: &Gateway,
    cx: &Cx,
    req: GetStagesRequest,
) -> Result<GetStagesResponse> {
    let (stages, next_token) = gateway.read(cx, &req.api_id, |tx, at, _| {
        page(&STAGES, tx, &at.key(), req.max_results.as_deref(), req.next_token.as_deref())
    })?;
    let items = stages.iter().map(|stage| members!(Stage, stage)).collect();
    Ok(GetStagesResponse { items: Some(items), next_token })
}

/// `UpdateStage`. Variables and route settings are merged into those that are there; an empty variable is removed.
pub(crate) async fn update(
    gateway: &Gateway,
    cx: &Cx,
    req: UpdateStageRequest,
) -> Result<UpdateStageResponse> {
    unbuilt(&gaps::CLIENT_CERTIFICATE, says(req.client_certificate_id.as_deref()))?;
    length("description", req.description.as_deref().unwrap_or_default(), 0, 1024)?;
    let api_id = req.api_id.clone();
    let caller = cx.clone();
    let stage = gateway
        .edit(cx, &api_id, move |edition| {
            let mut stage = find(edition.tx, edition.at, &req.stage_name)?;
            apply(&mut stage, &req)?;
            stage.access_log =
                access_log(&caller, stage.access_log.take(), req.access_log_settings.clone())?;
            check_route_settings(edition, req.route_settings.iter().flat_map(BTreeMap::keys))?;
            stage.updated = edition.now();
            let was_automatic = stage.auto_deploy;
            stage.auto_deploy = req.auto_deploy.unwrap_or(was_automatic);
            edition.put_stage(&stage)?;
            let deployment = req.deployment_id.as_deref().filter(|id| !id.is_empty());
            settle(edition, &mut stage, deployment, !was_automatic)?;
            Ok(stage)
        })
        .await?;
    Ok(members!(UpdateStageResponse, &stage))
}

/// `DeleteStage`; refused while a domain's mapping leads to it.
pub(crate) async fn delete(gateway: &Gateway, cx: &Cx, req: DeleteStageRequest) -> Result<()> {
    let plans = Arc::clone(&gateway.usage_plans);
    gateway
        .edit(cx, &req.api_id.clone(), move |edition| {
            let stage = find(edition.tx, edition.at, &req.stage_name)?;
            if lead::is_mapped(edition.tx, edition.at, Some(&stage.name))? {
                return Err(Error::StageMapped(stage.name));
            }
            STAGES.delete(edition.tx, &edition.at.of(&stage.name))?;
            rest::forget_stage(edition.tx, edition.at, &stage.name)?;
            plans.note_change(edition.tx, &Place::of_api(edition.at));
            match &stage.deployment {
                Some(deployment) => edition.let_go(deployment),
                None => Ok(()),
            }
        })
        .await
}

/// `DeleteRouteSettings`.
pub(crate) async fn delete_route_settings(
    gateway: &Gateway,
    cx: &Cx,
    req: DeleteRouteSettingsRequest,
) -> Result<()> {
    gateway
        .edit(cx, &req.api_id.clone(), move |edition| {
            let mut stage = find(edition.tx, edition.at, &req.stage_name)?;
            if stage.route_settings.remove(&req.route_key).is_none() {
                return Err(Error::NoSuchSettings(req.route_key.clone()));
            }
            stage.updated = edition.now();
            edition.put_stage(&stage)
        })
        .await
}

/// `DeleteAccessLogSettings`.
pub(crate) async fn delete_access_log_settings(
    gateway: &Gateway,
    cx: &Cx,
    req: DeleteAccessLogSettingsRequest,
) -> Result<()> {
    gateway
        .edit(cx, &req.api_id.clone(), move |edition| {
            let mut stage = find(edition.tx, edition.at, &req.stage_name)?;
            stage.access_log = None;
            stage.updated = edition.now();
            edition.put_stage(&stage)
        })
        .await
}

/// Where a stage logs, given where it did before: both members are needed in the end, or none.
fn access_log(
    cx: &Cx,
    before: Option<AccessLog>,
    given: Option<AccessLogSettings>,
) -> Result<Option<AccessLog>> {
    let Some(given) = given else { return Ok(before) };
    let (destination, format) =
        before.map_or_else(Default::default, |log| (log.destination, log.format));
    let destination = given.destination_arn.unwrap_or(destination);
    let format = given.format.unwrap_or(format);
    if destination.is_empty() && format.is_empty() {
        return Ok(None);
    }
    if destination.starts_with("arn:aws:firehose:") {
        return Err(Error::NotBuilt(&gaps::LOG_TO_STREAM));
    }
    let own = |(account, region, _): &(String, String, String)| {
        *account == cx.account() && *region == cx.region
    };
    if log_group(&destination).filter(own).is_none() {
        return Err(Error::invalid(
            "Invalid ARN specified in the request. ARNs must start with 'arn:' and name a log group of this account and \
             region",
        ));
    }
    if !is_format(&format) {
        return Err(Error::invalid(format!(
            "Access log format must contain at least $context.requestId or $context.extendedRequestId, and have at \
             most {ACCESS_LOG_FORMAT_BYTES_MAX} bytes"
        )));
    }
    Ok(Some(AccessLog { destination, format }))
}

/// `ResetAuthorizersCache`: the proxy path forgets what authorizers said for this stage.
pub(crate) async fn reset_authorizers_cache(
    gateway: &Gateway,
    cx: &Cx,
    req: ResetAuthorizersCacheRequest,
) -> Result<()> {
    gateway
        .edit(cx, &req.api_id.clone(), move |edition| {
            let mut stage = find(edition.tx, edition.at, &req.stage_name)?;
            stage.authorizer_cache += 1;
            edition.put_stage(&stage)
        })
        .await
}

/// The stage of quick create.
pub(crate) fn quick(now: Timestamp) -> StageRecord {
    StageRecord {
        name: "$default".to_owned(),
        description: None,
        auto_deploy: true,
        deployment: None,
        variables: BTreeMap::new(),
        default_settings: RouteSettings::default(),
        route_settings: BTreeMap::new(),
        tags: BTreeMap::new(),
        created: now,
        updated: now,
        status_message: None,
        managed: true,
        access_log: None,
        authorizer_cache: 0,
    }
}

/// The stage of this name, which has to be there.
pub(crate) fn find(from: &impl Reader, at: &ApiKey, name: &str) -> Result<StageRecord> {
    STAGES.get(from, &at.of(name))?.ok_or(Error::NoSuchStage)
}

fn insert(
    edition: &mut Edition<'_>,
    mut stage: StageRecord,
    deployment: Option<&str>,
) -> Result<StageRecord> {
    let stages = edition.stages()?;
    if stages.iter().any(|other| other.name == stage.name) {
        return Err(Error::StageExists);
    }
    if stages.len() >= STAGES_PER_API_MAX {
        return Err(Error::TooMany("Stages"));
    }
    check_route_settings(edition, stage.route_settings.keys())?;
    edition.put_stage(&stage)?;
    settle(edition, &mut stage, deployment, true)?;
    Ok(stage)
}

/// Points a stage at what it has to show: the deployment named, or with auto-deploy the API as it is now. `starts`
/// says that auto-deploy was off before.
fn settle(
    edition: &mut Edition<'_>,
    stage: &mut StageRecord,
    deployment: Option<&str>,
    starts: bool,
) -> Result<()> {
    match deployment {
        Some(_) if stage.auto_deploy => {
            Err(Error::invalid("Deployment ID cannot be set on a stage with auto-deploy enabled"))
        }
        Some(id) => {
            let deployment = DEPLOYMENTS
                .get(edition.tx, &edition.at.of(id))?
                .ok_or_else(|| Error::NoSuchDeployment(id.to_owned()))?;
            edition.point(stage, &deployment)
        }
        None if stage.auto_deploy && starts => {
            let deployment = edition.deploy(None, true)?;
            edition.point(stage, &deployment)
        }
        None => Ok(()),
    }
}

fn apply(stage: &mut StageRecord, req: &UpdateStageRequest) -> Result<()> {
    if let Some(text) = &req.description {
        stage.description = Some(text.clone()).filter(|text| !text.is_empty());
    }
    for (name, value) in req.stage_variables.iter().flatten() {
        if value.is_empty() {
            stage.variables.remove(name);
        } else {
            stage.variables.insert(name.clone(), value.clone());
        }
    }
    check_variables(&stage.variables)?;
    merge_settings(stage, req.default_route_settings.as_ref(), req.route_settings.as_ref())
}

fn merge_settings(
    stage: &mut StageRecord,
    default: Option<&SettingsMembers>,
    routes: Option<&BTreeMap<String, SettingsMembers>>,
) -> Result<()> {
    if let Some(given) = default {
        merge(&mut stage.default_settings, given)?;
    }
    for (key, given) in routes.into_iter().flatten() {
        merge(stage.route_settings.entry(key.clone()).or_default(), given)?;
    }
    Ok(())
}

fn merge(settings: &mut RouteSettings, given: &SettingsMembers) -> Result<()> {
    let logs = given.logging_level.as_deref().is_some_and(|level| level != "OFF");
    if logs || given.data_trace_enabled == Some(true) {
        return Err(Error::invalid("Execution logs are not supported on protocolType HTTP"));
    }
    if given.throttling_burst_limit.is_some_and(|burst| burst < 0) {
        return Err(Error::invalid("Invalid throttlingBurstLimit specified"));
    }
    if given.throttling_rate_limit.is_some_and(|rate| !rate.is_finite() || rate < 0.0) {
        return Err(Error::invalid("Invalid throttlingRateLimit specified"));
    }
    settings.burst = given.throttling_burst_limit.or(settings.burst);
    settings.rate = given.throttling_rate_limit.or(settings.rate);
    settings.metrics = given.detailed_metrics_enabled.unwrap_or(settings.metrics);
    Ok(())
}

/// Settings can be given to routes that are there; they may outlive their route. The text is AWS's.
fn check_route_settings<'k>(
    edition: &Edition<'_>,
    keys: impl Iterator<Item = &'k String>,
) -> Result<()> {
    for key in keys {
        if !ROUTE_KEYS.contains(&*edition.tx, &edition.at.of(key))? {
            return Err(Error::NoRouteForSettings(key.clone()));
        }
    }
    Ok(())
}

fn check_name(name: &str) -> Result<()> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let fits = (1..=STAGE_NAME_MAX).contains(&name.len()) && name.bytes().all(legal);
    if fits || name == "$default" {
        return Ok(());
    }
    Err(Error::invalid("Stage name only allows a-zA-Z0-9_- and $default"))
}

fn check_variables(variables: &BTreeMap<String, String>) -> Result<()> {
    if variables.len() > STAGE_VARIABLES_MAX {
        return Err(Error::TooMany("Stage Variables"));
    }
    for (name, value) in variables {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if !(1..=STAGE_VARIABLE_NAME_MAX).contains(&name.len()) || !name.bytes().all(legal) {
            return Err(Error::invalid("Stage variable names only allow a-zA-Z0-9_"));
        }
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#&=,".contains(&byte);
        if value.len() > STAGE_VARIABLE_VALUE_MAX || !value.bytes().all(legal) {
            return Err(Error::invalid(
                "Stage variable values only allow A-Za-z0-9-._~:/?#&=, and 512 characters",
            ));
        }
    }
    Ok(())
}

fn settings_answer(settings: &RouteSettings) -> SettingsMembers {
    SettingsMembers {
        detailed_metrics_enabled: Some(settings.metrics),
        throttling_burst_limit: settings.burst,
        throttling_rate_limit: settings.rate,
        ..SettingsMembers::default()
    }
}
