//! The family of usage plans: which stages they are for, how fast and how often their keys may call.

use std::collections::BTreeMap;

use gatemill_api::apigateway::{
    ApiStage, CreateUsagePlanRequest, DeleteUsagePlanRequest, GetUsagePlanRequest,
    GetUsagePlansRequest, QuotaSettings, ThrottleSettings, UpdateUsagePlanRequest, UsagePlan,
    UsagePlans,
};
use gatemill_store::{Reader, Write};
use gatemill_wire::Cx;

use super::{page, patch, plan_patch};
use crate::{
    Gateway,
    control::tag,
    error::{Error, Result},
    limits::{PLAN_ROUTES_PER_STAGE_MAX, USAGE_PLANS_MAX},
    record::{APIS, ApiKey, ROUTE_KEYS, STAGES},
    usage_plans::record::{
        KEY_PLANS, PLAN_KEYS, Period, Place, PlanRecord, PlanStage, Quota, Throttle, USAGE_PLANS,
    },
};

/// `CreateUsagePlan`.
pub(super) async fn create(
    gateway: &Gateway,
    cx: &Cx,
    req: CreateUsagePlanRequest,
) -> Result<UsagePlan> {
    let stages = req.api_stages.unwrap_or_default();
    let plan = PlanRecord {
        id: cx.id(6),
        name: req.name,
        description: req.description.filter(|text| !text.is_empty()),
        stages: stages.into_iter().map(accept_stage).collect::<Result<_>>()?,
        throttle: req.throttle.as_ref().map(accept_throttle).transpose()?,
        quota: req.quota.as_ref().map(accept_quota).transpose()?,
        tags: tag::accept(req.tags.unwrap_or_default())?,
    };
    let answer = answer(&plan);
    gateway
        .change_plans(&Place::new(cx), move |tx, place| {
            if USAGE_PLANS.count(tx, &place.key())? >= USAGE_PLANS_MAX {
                return Err(Error::TooManyOf("Usage Plans"));
            }
            store(tx, place, &plan)
        })
        .await?;
    Ok(answer)
}

/// `GetUsagePlan`.
pub(super) async fn get(gateway: &Gateway, cx: &Cx, req: GetUsagePlanRequest) -> Result<UsagePlan> {
    let place = Place::new(cx);
    gateway.store.read(|tx| Ok(answer(&find(tx, &place, &req.usage_plan_id)?)))
}

/// `GetUsagePlans`, of all or of one key.
pub(super) async fn list(
    gateway: &Gateway,
    cx: &Cx,
    req: GetUsagePlansRequest,
) -> Result<UsagePlans> {
    let place = Place::new(cx);
    let plans = gateway.store.read(|tx| {
        let mut plans = USAGE_PLANS.scan(tx, &place.key(), None, usize::MAX)?;
        if let Some(key) = req.key_id.as_ref().filter(|key| !key.is_empty()) {
            let of_key = KEY_PLANS.scan(tx, &place.of(key), None, usize::MAX)?;
            plans.retain(|(_, plan)| of_key.iter().any(|(_, of)| of.id == plan.id));
        }
        Ok::<_, Error>(plans)
    })?;
    let plans = plans.into_iter().map(|(_, plan)| plan).collect();
    let (plans, position) =
        page(plans, req.limit, req.position.as_deref(), |plan: &PlanRecord| plan.id.clone())?;
    Ok(UsagePlans { position, items: Some(plans.iter().map(answer).collect()) })
}

/// `UpdateUsagePlan`.
pub(super) async fn update(
    gateway: &Gateway,
    cx: &Cx,
    req: UpdateUsagePlanRequest,
) -> Result<UsagePlan> {
    let patches = patch::read(req.patch_operations.as_deref())?;
    gateway
        .change_plans(&Place::new(cx), move |tx, place| {
            let mut draft = plan_patch::Draft::of(find(tx, place, &req.usage_plan_id)?);
            patches.iter().try_for_each(|patch| draft.apply(patch))?;
            let plan = draft.finish()?;
            store(tx, place, &plan)?;
            Ok(answer(&plan))
        })
        .await
}

/// `DeleteUsagePlan`, with what its keys used. One that is for stages is not deleted, as in AWS.
pub(super) async fn delete(gateway: &Gateway, cx: &Cx, req: DeleteUsagePlanRequest) -> Result<()> {
    let plans = std::sync::Arc::clone(&gateway.usage_plans);
    gateway
        .change_plans(&Place::new(cx), move |tx, place| {
            let plan = find(tx, place, &req.usage_plan_id)?;
            if let Some(PlanStage { api, stage, .. }) = plan.stages.first() {
                return Err(Error::PlanHasStages {
                    plan: plan.id.clone(),
                    stage: format!("{api}:{stage}"),
                });
            }
            let of_plan = place.of(&plan.id);
            for (key, member) in PLAN_KEYS.scan(tx, &of_plan, None, usize::MAX)? {
                PLAN_KEYS.delete(tx, &key)?;
                KEY_PLANS.delete(tx, &place.of(&member.id).and(&plan.id))?;
            }
            USAGE_PLANS.delete(tx, &of_plan)?;
            plans.forget(tx, place, &plan.id, None)
        })
        .await
}

/// The plan of this id, which has to be there.
pub(crate) fn find(from: &impl Reader, place: &Place, id: &str) -> Result<PlanRecord> {
    USAGE_PLANS.get(from, &place.of(id))?.ok_or(Error::NoSuchPlan)
}

/// Checks a plan against what is there, and stores it.
fn store(tx: &mut Write, place: &Place, plan: &PlanRecord) -> Result<()> {
    check(plan)?;
    let before = USAGE_PLANS.get(tx, &place.of(&plan.id))?;
    for stage in &plan.stages {
        let mut before = before.iter().flat_map(|plan| &plan.stages);
        let had = before.find(|had| had.is(&stage.api, &stage.stage));
        if had != Some(stage) {
            check_stage(tx, place, plan, stage, had)?;
        }
    }
    for (_, key) in PLAN_KEYS.scan(tx, &place.of(&plan.id), None, usize::MAX)? {
        check_one_plan(tx, place, plan, &key.id)?;
    }
    Ok(USAGE_PLANS.put(tx, &place.of(&plan.id), plan)?)
}

fn check(plan: &PlanRecord) -> Result<()> {
    if plan.name.is_empty() || plan.name.chars().count() > 1_024 {
        return Err(Error::invalid("Invalid Usage Plan name specified"));
    }
    if plan.description.as_ref().is_some_and(|text| text.chars().count() > 1_024) {
        return Err(Error::invalid("Invalid Usage Plan description specified"));
    }
    let same = |(nth, stage): (usize, &PlanStage)| {
        plan.stages[..nth].iter().any(|it| it.is(&stage.api, &stage.stage))
    };
    if plan.stages.iter().enumerate().any(same) {
        return Err(Error::invalid("Invalid API Stage specified"));
    }
    let routes = plan.stages.iter().flat_map(|stage| stage.routes.values());
    plan.throttle.iter().chain(routes).try_for_each(check_throttle)?;
    plan.quota.as_ref().map_or(Ok(()), check_quota)
}

fn check_throttle(throttle: &Throttle) -> Result<()> {
    let is_none = throttle.burst.is_some_and(|burst| burst < 0)
        || throttle.rate.is_some_and(|rate| !(rate >= 0.0 && rate.is_finite()));
    if is_none {
        return Err(Error::invalid("Usage Plan throttle limits must not be negative"));
    }
    Ok(())
}

fn check_quota(quota: &Quota) -> Result<()> {
    let (max, text) = match quota.period {
        Period::Day => (0, "Usage Plan quota offset must be zero in the DAY period"),
        Period::Week => {
            (6, "Usage Plan quota offset must be between zero and six inclusive in the WEEK period")
        }
        Period::Month => (
            27,
            "Usage Plan quota offset must be between zero and 27 inclusive in the MONTH period",
        ),
    };
    if !(0..=max).contains(&quota.offset) {
        return Err(Error::invalid(text));
    }
    if quota.limit < 0 {
        return Err(Error::invalid("Usage Plan quota limit must not be negative"));
    }
    Ok(())
}

/// A stage has to be one of a WebSocket API of the same account and region, and its routes with limits are its API's.
fn check_stage(
    tx: &impl Reader,
    place: &Place,
    plan: &PlanRecord,
    stage: &PlanStage,
    had: Option<&PlanStage>,
) -> Result<()> {
    let Place { account, region } = place.clone();
    let at = ApiKey { account, region, id: stage.api.clone() };
    let api = APIS.get(tx, &at.key())?.filter(|api| api.settings.websocket.is_some());
    if api.is_none() || !STAGES.contains(tx, &at.of(&stage.stage))? {
        return Err(Error::NoSuchPlanStage {
            api: stage.api.clone(),
            stage: stage.stage.clone(),
            plan: plan.id.clone(),
        });
    }
    if stage.routes.len() > PLAN_ROUTES_PER_STAGE_MAX {
        return Err(Error::TooManyOf("method throttles per API Stage"));
    }
    // A route that has gone meanwhile keeps its limit, which is no reason to refuse another's.
    let is_new = |key: &&String| had.is_none_or(|had| !had.routes.contains_key(*key));
    for key in stage.routes.keys().filter(is_new) {
        // No key is asked for at the end of a connection, so no limit would hold there.
        if key == "$disconnect" || !ROUTE_KEYS.contains(tx, &at.of(key))? {
            return Err(Error::invalid(format!("Invalid route specified for throttling: {key}")));
        }
    }
    Ok(())
}

/// Refuses a key that is in two plans for one stage.
pub(super) fn check_one_plan(
    tx: &impl Reader,
    place: &Place,
    plan: &PlanRecord,
    key: &str,
) -> Result<()> {
    for (_, other) in KEY_PLANS.scan(tx, &place.of(key), None, usize::MAX)? {
        if other.id == plan.id {
            continue;
        }
        let Some(other) = USAGE_PLANS.get(tx, &place.of(&other.id))? else { continue };
        let is_shared =
            |stage: &&PlanStage| other.stages.iter().any(|it| it.is(&stage.api, &stage.stage));
        let shared = plan.stages.iter().find(is_shared);
        if let Some(PlanStage { api, stage, .. }) = shared {
            return Err(Error::KeyInOtherPlan {
                key: key.to_owned(),
                plan: other.id,
                stage: format!("{api}:{stage}"),
            });
        }
    }
    Ok(())
}

/// A stage is gone: plans are for it no longer, also when another of its name comes.
pub(crate) fn forget_stage(tx: &mut Write, at: &ApiKey, stage: &str) -> Result<()> {
    forget(tx, at, |it| it.stage == stage)
}

/// An API is gone.
pub(crate) fn forget_api(tx: &mut Write, at: &ApiKey) -> Result<()> {
    forget(tx, at, |_| true)
}

fn forget(tx: &mut Write, at: &ApiKey, gone: impl Fn(&PlanStage) -> bool) -> Result<()> {
    let place = Place::of_api(at);
    for (key, mut plan) in USAGE_PLANS.scan(tx, &place.key(), None, usize::MAX)? {
        let before = plan.stages.len();
        plan.stages.retain(|stage| stage.api != at.id || !gone(stage));
        if plan.stages.len() != before {
            USAGE_PLANS.put(tx, &key, &plan)?;
        }
    }
    Ok(())
}

fn accept_stage(given: ApiStage) -> Result<PlanStage> {
    let (Some(api), Some(stage)) = (given.api_id, given.stage) else {
        return Err(Error::invalid("Invalid API Stage specified"));
    };
    let routes = given.throttle.unwrap_or_default().into_iter();
    let routes = routes.map(|(key, throttle)| Ok::<_, Error>((key, accept_throttle(&throttle)?)));
    Ok(PlanStage { api, stage, routes: routes.collect::<Result<_>>()? })
}

pub(super) fn accept_throttle(given: &ThrottleSettings) -> Result<Throttle> {
    let throttle = Throttle { burst: given.burst_limit, rate: given.rate_limit };
    check_throttle(&throttle).map(|()| throttle)
}

fn accept_quota(given: &QuotaSettings) -> Result<Quota> {
    let period = period(given.period.as_deref())?;
    let limit = given.limit.ok_or_else(no_limit)?;
    Ok(Quota { limit, offset: given.offset.unwrap_or(0), period })
}

pub(super) fn no_limit() -> Error {
    Error::invalid("Usage Plan quota must have a limit")
}

/// Reads a period, which a quota has to have.
pub(super) fn period(text: Option<&str>) -> Result<Period> {
    match text {
        Some("DAY") => Ok(Period::Day),
        Some("WEEK") => Ok(Period::Week),
        Some("MONTH") => Ok(Period::Month),
        Some(_) | None => {
            Err(Error::invalid("Usage Plan quota period must be one of: [DAY, WEEK, MONTH]"))
        }
    }
}

fn answer(plan: &PlanRecord) -> UsagePlan {
    let stages = plan.stages.iter().map(|stage| ApiStage {
        api_id: Some(stage.api.clone()),
        stage: Some(stage.stage.clone()),
        throttle: Some(&stage.routes).filter(|routes| !routes.is_empty()).map(|routes| {
            routes
                .iter()
                .map(|(key, throttle)| (key.clone(), throttle_answer(throttle)))
                .collect::<BTreeMap<_, _>>()
        }),
    });
    UsagePlan {
        id: Some(plan.id.clone()),
        name: Some(plan.name.clone()),
        description: plan.description.clone(),
        api_stages: Some(stages.collect()),
        throttle: plan.throttle.as_ref().map(throttle_answer),
        quota: plan.quota.as_ref().map(|quota| QuotaSettings {
            limit: Some(quota.limit),
            offset: Some(quota.offset),
            period: Some(
                match quota.period {
                    Period::Day => "DAY",
                    Period::Week => "WEEK",
                    Period::Month => "MONTH",
                }
                .to_owned(),
            ),
        }),
        product_code: None,
        tags: Some(plan.tags.clone()).filter(|tags| !tags.is_empty()),
    }
}

fn throttle_answer(throttle: &Throttle) -> ThrottleSettings {
    ThrottleSettings { burst_limit: throttle.burst, rate_limit: throttle.rate }
}
