//! Which keys a usage plan has.

use gatemill_api::apigateway::{
    CreateUsagePlanKeyRequest, DeleteUsagePlanKeyRequest, GetUsagePlanKeyRequest,
    GetUsagePlanKeysRequest, UsagePlanKey, UsagePlanKeys,
};
use gatemill_store::Write;
use gatemill_wire::Cx;

use super::{api_key, page, usage_plan};
use crate::{
    Gateway,
    error::{Error, Result},
    limits::PLANS_PER_KEY_MAX,
    record::IdRecord,
    usage_plans::record::{KEY_PLANS, KeyRecord, PLAN_KEYS, Place},
};

/// The one kind of keys that plans have.
const API_KEY: &str = "API_KEY";

/// `CreateUsagePlanKey`.
pub(super) async fn create(
    gateway: &Gateway,
    cx: &Cx,
    req: CreateUsagePlanKeyRequest,
) -> Result<UsagePlanKey> {
    if req.key_type != API_KEY {
        return Err(Error::invalid("Invalid Usage Plan Key type specified. Must be API_KEY"));
    }
    let place = Place::new(cx);
    let key = gateway
        .change_plans(&place, move |tx, place| add(tx, place, &req.usage_plan_id, &req.key_id))
        .await?;
    answer(gateway, &place, &key)
}

/// Adds a key to a plan. A key is in one plan at most for a stage.
pub(super) fn add(tx: &mut Write, place: &Place, plan: &str, key: &str) -> Result<KeyRecord> {
    let plan = usage_plan::find(tx, place, plan)?;
    let key = api_key::find(tx, place, key)?;
    let at = place.of(&plan.id).and(&key.id);
    if PLAN_KEYS.contains(tx, &at)? {
        return Err(Error::KeyInPlan);
    }
    let others = KEY_PLANS.scan(tx, &place.of(&key.id), None, usize::MAX)?;
    if others.len() >= PLANS_PER_KEY_MAX {
        return Err(Error::TooManyOf("Usage Plans per API Key"));
    }
    usage_plan::check_one_plan(tx, place, &plan, &key.id)?;
    PLAN_KEYS.put(tx, &at, &IdRecord { id: key.id.clone() })?;
    KEY_PLANS.put(tx, &place.of(&key.id).and(&plan.id), &IdRecord { id: plan.id })?;
    Ok(key)
}

/// `GetUsagePlanKey`.
pub(super) async fn get(
    gateway: &Gateway,
    cx: &Cx,
    req: GetUsagePlanKeyRequest,
) -> Result<UsagePlanKey> {
    let place = Place::new(cx);
    let key = gateway.store.read(|tx| {
        let plan = usage_plan::find(tx, &place, &req.usage_plan_id)?;
        let is_there = PLAN_KEYS.contains(tx, &place.of(&plan.id).and(&req.key_id))?;
        if is_there { api_key::find(tx, &place, &req.key_id) } else { Err(Error::NoSuchApiKey) }
    })?;
    answer(gateway, &place, &key)
}

/// `GetUsagePlanKeys`. As in AWS, a plan that is not there has none.
pub(super) async fn list(
    gateway: &Gateway,
    cx: &Cx,
    req: GetUsagePlanKeysRequest,
) -> Result<UsagePlanKeys> {
    let place = Place::new(cx);
    let mut keys = gateway.store.read(|tx| {
        let ids = PLAN_KEYS.scan(tx, &place.of(&req.usage_plan_id), None, usize::MAX)?;
        ids.iter().map(|(_, key)| api_key::find(tx, &place, &key.id)).collect::<Result<Vec<_>>>()
    })?;
    keys.retain(|key| {
        let named = key.name.as_deref().unwrap_or_default();
        req.name_query.as_deref().is_none_or(|name| named.starts_with(name))
    });
    let (keys, position) = page(keys, req.limit, req.position.as_deref(), |key| key.id.clone())?;
    let items = keys.iter().map(|key| answer(gateway, &place, key));
    Ok(UsagePlanKeys { position, items: Some(items.collect::<Result<_>>()?) })
}

/// `DeleteUsagePlanKey`.
pub(super) async fn delete(
    gateway: &Gateway,
    cx: &Cx,
    req: DeleteUsagePlanKeyRequest,
) -> Result<()> {
    gateway
        .change_plans(&Place::new(cx), move |tx, place| {
            let plan = usage_plan::find(tx, place, &req.usage_plan_id)?;
            if !PLAN_KEYS.delete(tx, &place.of(&plan.id).and(&req.key_id))? {
                return Err(Error::NoSuchApiKey);
            }
            KEY_PLANS.delete(tx, &place.of(&req.key_id).and(&plan.id))?;
            Ok(())
        })
        .await
}

fn answer(gateway: &Gateway, place: &Place, key: &KeyRecord) -> Result<UsagePlanKey> {
    Ok(UsagePlanKey {
        id: Some(key.id.clone()),
        r#type: Some(API_KEY.to_owned()),
        value: Some(api_key::value(gateway, place, key)?),
        name: key.name.clone(),
    })
}
