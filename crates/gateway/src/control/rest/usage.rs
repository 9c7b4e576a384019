//! `GetUsage` and `UpdateUsage`: what keys have used of a plan, by day, and what is left to them.

use std::collections::BTreeMap;

use gatemill_api::apigateway::{GetUsageRequest, UpdateUsageRequest, Usage};
use gatemill_store::Reader;
use gatemill_wire::Cx;

use super::{
    page,
    patch::{self, Patch},
    usage_plan,
};
use crate::{
    Gateway,
    error::{Error, Result},
    limits::USAGE_DAYS_MAX,
    usage_plans::{
        period::{day_of, day_text, parse_day},
        record::{DayRecord, KEY_USAGE, PLAN_KEYS, Place, PlanRecord, Quota},
        usage::Use,
    },
};

/// The days that are asked about.
#[derive(Debug, Clone, Copy)]
struct Days {
    first: u64,
    last: u64,
    today: u64,
}

/// `GetUsage`: for each day, how many calls there were and how many were left; a plan without a quota leaves the second out.
pub(super) async fn get(gateway: &Gateway, cx: &Cx, req: GetUsageRequest) -> Result<Usage> {
    let invalid = || Error::invalid("Invalid usage date range specified");
    let day = |text: &str| parse_day(text).ok_or_else(invalid);
    let (first, last) = (day(&req.start_date)?, day(&req.end_date)?);
    if first > last || last - first >= USAGE_DAYS_MAX {
        return Err(invalid());
    }
    let days = Days { first, last, today: day_of(cx.now) };
    gateway.usage_plans.store_calls().await?;
    let place = Place::new(cx);
    gateway.store.read(|tx| {
        let plan = usage_plan::find(tx, &place, &req.usage_plan_id)?;
        let mut keys = PLAN_KEYS.scan(tx, &place.of(&plan.id), None, usize::MAX)?;
        keys.retain(|(_, key)| req.key_id.as_ref().is_none_or(|id| *id == key.id));
        let keys = keys.into_iter().map(|(_, key)| key.id).collect();
        let (keys, position) = page(keys, req.limit, req.position.as_deref(), String::clone)?;
        let mut values = BTreeMap::new();
        for key in keys {
            let of = Use { place: place.clone(), plan: plan.id.clone(), key: key.clone() };
            values.insert(key, values_of(gateway, tx, &plan, of, days)?);
        }
        Ok(Usage {
            usage_plan_id: Some(plan.id),
            start_date: Some(day_text(first)),
            end_date: Some(day_text(last)),
            position,
            items: Some(values),
        })
    })
}

/// The calls of a key on each day, and what was left of its quota then.
fn values_of(
    gateway: &Gateway,
    tx: &impl Reader,
    plan: &PlanRecord,
    of: Use,
    days: Days,
) -> Result<Vec<Vec<i64>>> {
    let rows = KEY_USAGE.scan(tx, &of.key(), None, usize::MAX)?;
    let at = of.key().parts().len();
    let rows: BTreeMap<u64, DayRecord> =
        rows.into_iter().filter_map(|(key, row)| Some((key.number(at)?, row))).collect();
    let usage = gateway.usage_plans.usage(tx, of)?;
    let values = (days.first..=days.last).map(|day| {
        let calls = rows.get(&day).map_or(0, |row| row.calls);
        let calls = i64::try_from(calls).unwrap_or(i64::MAX);
        let left = plan.quota.map(|quota| match day < days.today {
            true => left(&rows, &quota, day),
            false => usage.remaining(&quota, day),
        });
        std::iter::once(calls).chain(left).collect()
    });
    Ok(values.collect())
}

/// What was left at the end of a day: as after the last call in its period.
fn left(rows: &BTreeMap<u64, DayRecord>, quota: &Quota, day: u64) -> i64 {
    let mut used = rows.range(quota.period_of(day)..=day);
    let last = used.next_back().and_then(|(_, row)| row.remaining);
    last.unwrap_or(i64::from(quota.limit)).max(0)
}

/// `UpdateUsage`: sets what is left to a key of its quota, in the period of now.
pub(super) async fn update(gateway: &Gateway, cx: &Cx, req: UpdateUsageRequest) -> Result<Usage> {
    let patches = patch::read(req.patch_operations.as_deref())?;
    let mut remaining = None;
    for patch in &patches {
        remaining = Some(read_remaining(patch)?);
    }
    let (place, today) = (Place::new(cx), day_of(cx.now));
    let of = Use { place, plan: req.usage_plan_id, key: req.key_id };
    let (usage, plan) = gateway.store.read(|tx| {
        let plan = usage_plan::find(tx, &of.place, &of.plan)?;
        if !PLAN_KEYS.contains(tx, &of.key())? {
            return Err(Error::NoSuchApiKey);
        }
        Ok((gateway.usage_plans.usage(tx, of.clone())?, plan))
    })?;
    if let Some(remaining) = remaining {
        let quota = plan.quota.as_ref();
        let quota = quota.ok_or_else(|| Error::invalid("The Usage Plan has no quota"))?;
        gateway.usage_plans.set_remaining(&usage, quota, today, remaining).await?;
    }
    gateway.usage_plans.store_calls().await?;
    let days = Days { first: today, last: today, today };
    let key = of.key.clone();
    let values = gateway.store.read(|tx| values_of(gateway, tx, &plan, of, days))?;
    Ok(Usage {
        usage_plan_id: Some(plan.id),
        start_date: Some(day_text(today)),
        end_date: Some(day_text(today)),
        position: None,
        items: Some(BTreeMap::from([(key, values)])),
    })
}

fn read_remaining(patch: &Patch) -> Result<i64> {
    if patch.path != "/remaining" {
        return Err(patch.unknown());
    }
    patch.only_replace()?;
    let remaining: i32 = patch.number()?;
    if remaining < 0 {
        return Err(Error::invalid("Usage remaining must not be negative"));
    }
    Ok(i64::from(remaining))
}
