//! `ImportApiKeys`: keys from a file, with the plans that they are to be in.
//!
//! A key whose value is there already is overwritten. What is wrong with one line is a warning and the other lines are
//! imported, unless the caller wants nothing imported then.

use gatemill_api::apigateway::{ApiKeyIds, ImportApiKeysRequest};
use gatemill_store::Write;
use gatemill_wire::Cx;

use super::{
    api_key::{self, check_texts, check_value},
    csv::{self, Row},
    usage_plan_key,
};
use crate::{
    Gateway,
    error::{Error, Result},
    limits::{API_KEYS_MAX, DEFINITION_BYTES_MAX, PLANS_PER_KEY_MAX},
    usage_plans::record::{API_KEYS, KEY_DIGESTS, KeyRecord, Place},
};

/// `ImportApiKeys`.
pub(super) async fn import(
    gateway: &Gateway,
    cx: &Cx,
    req: ImportApiKeysRequest,
) -> Result<ApiKeyIds> {
    if req.format != "csv" {
        return Err(Error::invalid("Invalid API Key file format specified. Must be csv"));
    }
    let rows = Some(&req.body).filter(|body| body.len() <= DEFINITION_BYTES_MAX);
    let rows = rows.and_then(|body| csv::read(std::str::from_utf8(body).ok()?));
    let rows = rows.ok_or_else(|| {
        Error::invalid("Invalid API Key file: it needs a line with the columns Name and Key")
    })?;
    if rows.len() > API_KEYS_MAX {
        return Err(Error::TooManyOf("API Keys"));
    }
    let place = Place::new(cx);
    let (mut ready, mut warnings) = (Vec::new(), Vec::new());
    for (nth, row) in (1..).zip(&rows) {
        match read(gateway, cx, &place, row) {
            Ok(record) => ready.push((nth, record, row.plans.clone())),
            Err(Error::Invalid(why)) => warnings.push(warning(nth, &why)),
            Err(error) => return Err(error),
        }
    }
    let fails = req.fail_on_warnings == Some(true);
    gateway
        .change_plans(&place, move |tx, place| {
            let (mut ids, mut warnings) = (Vec::new(), warnings.clone());
            let mut count = API_KEYS.count(tx, &place.key())?;
            for (nth, record, plans) in &ready {
                let id = store(tx, place, record, &mut count)?;
                for plan in plans {
                    match usage_plan_key::add(tx, place, plan, &id) {
                        Ok(_) | Err(Error::KeyInPlan) => {}
                        Err(error @ Error::Store(_)) => return Err(error),
                        Err(why) => warnings.push(warning(*nth, &format!("{why}: {plan}"))),
                    }
                }
                ids.push(id);
            }
            match warnings.first() {
                Some(first) if fails => Err(Error::Invalid(first.clone())),
                Some(_) | None => Ok(ApiKeyIds { ids: Some(ids), warnings: Some(warnings) }),
            }
        })
        .await
}

fn warning(nth: usize, why: &str) -> String {
    format!("Line {nth}: {why}")
}

fn read(gateway: &Gateway, cx: &Cx, place: &Place, row: &Row) -> Result<KeyRecord> {
    check_value(&row.value)?;
    check_texts(Some(&row.name), Some(&row.description))?;
    if row.plans.len() > PLANS_PER_KEY_MAX {
        return Err(Error::invalid("An API Key can be in 10 Usage Plans at most"));
    }
    let record = api_key::new(&gateway.usage_plans, place, cx.id(10), &row.value, cx.now)?;
    Ok(KeyRecord {
        name: Some(row.name.clone()),
        description: Some(row.description.clone()).filter(|text| !text.is_empty()),
        enabled: row.enabled,
        ..record
    })
}

/// Stores a key, in place of one that has its value; gives its id. `count` is how many there are.
fn store(tx: &mut Write, place: &Place, record: &KeyRecord, count: &mut usize) -> Result<String> {
    let Some(known) = KEY_DIGESTS.get(tx, &place.of(&record.digest))? else {
        if *count >= API_KEYS_MAX {
            return Err(Error::TooManyOf("API Keys"));
        }
        *count += 1;
        api_key::insert(tx, place, record)?;
        return Ok(record.id.clone());
    };
    let before = api_key::find(tx, place, &known.id)?;
    let after = KeyRecord {
        name: record.name.clone(),
        description: record.description.clone(),
        enabled: record.enabled,
        updated: record.updated,
        ..before
    };
    API_KEYS.put(tx, &place.of(&after.id), &after)?;
    Ok(after.id)
}
