//! The family of API keys.

use std::cmp::Reverse;

use gatemill_api::apigateway::{
    ApiKey, ApiKeys, CreateApiKeyRequest, DeleteApiKeyRequest, GetApiKeyRequest, GetApiKeysRequest,
    UpdateApiKeyRequest,
};
use gatemill_store::{Reader, Write};
use gatemill_wire::{Cx, EpochSeconds, Timestamp};

use super::{
    page,
    patch::{self, Patch},
};
use crate::{
    Gateway,
    control::{gaps, tag, unbuilt},
    error::{Error, Result},
    limits::API_KEYS_MAX,
    record::IdRecord,
    usage_plans::{
        UsagePlans,
        record::{API_KEYS, KEY_DIGESTS, KEY_PLANS, KeyRecord, PLAN_KEYS, Place},
    },
};

/// `CreateApiKey`. As in AWS, a key is disabled until somebody says otherwise.
pub(crate) async fn create(gateway: &Gateway, cx: &Cx, req: CreateApiKeyRequest) -> Result<ApiKey> {
    unbuilt(&gaps::STAGE_KEYS, req.stage_keys.as_ref().is_some_and(|keys| !keys.is_empty()))?;
    check_texts(req.name.as_deref(), req.description.as_deref())?;
    let value = req.value.filter(|value| !value.is_empty()).unwrap_or_else(|| cx.id(40));
    check_value(&value)?;
    let place = Place::new(cx);
    let tags = tag::accept(req.tags.unwrap_or_default())?;
    let record = KeyRecord {
        name: req.name,
        description: req.description.filter(|text| !text.is_empty()),
        customer_id: req.customer_id.filter(|text| !text.is_empty()),
        enabled: req.enabled.unwrap_or(false),
        tags,
        ..new(&gateway.usage_plans, &place, cx.id(10), &value, cx.now)?
    };
    let answer = answer(&record, Some(value));
    gateway
        .change_plans(&place, move |tx, place| {
            let others = API_KEYS.count(tx, &place.key())?;
            if others >= API_KEYS_MAX {
                return Err(Error::TooManyOf("API Keys"));
            }
            insert(tx, place, &record)
        })
        .await?;
    Ok(answer)
}

/// A key with nothing but its value.
pub(super) fn new(
    plans: &UsagePlans,
    place: &Place,
    id: String,
    value: &str,
    now: Timestamp,
) -> Result<KeyRecord> {
    let sealed = plans.vault.seal(place, &id, value).ok_or(Error::Sealing)?;
    let now = seconds(now);
    Ok(KeyRecord {
        name: None,
        description: None,
        customer_id: None,
        enabled: false,
        sealed,
        digest: plans.vault.digest(place, value),
        created: now,
        updated: now,
        tags: std::collections::BTreeMap::new(),
        id,
    })
}

/// Stores a key that is new; no other may have its value.
pub(super) fn insert(tx: &mut Write, place: &Place, record: &KeyRecord) -> Result<()> {
    let digest = place.of(&record.digest);
    if KEY_DIGESTS.contains(tx, &digest)? {
        return Err(Error::ApiKeyExists);
    }
    KEY_DIGESTS.put(tx, &digest, &IdRecord { id: record.id.clone() })?;
    Ok(API_KEYS.put(tx, &place.of(&record.id), record)?)
}

/// `GetApiKey`.
pub(crate) async fn get(gateway: &Gateway, cx: &Cx, req: GetApiKeyRequest) -> Result<ApiKey> {
    let place = Place::new(cx);
    let record = gateway.store.read(|tx| find(tx, &place, &req.api_key))?;
    let value = (req.include_value == Some(true)).then(|| value(gateway, &place, &record));
    Ok(answer(&record, value.transpose()?))
}

/// `GetApiKeys`, the newest first.
pub(crate) async fn list(gateway: &Gateway, cx: &Cx, req: GetApiKeysRequest) -> Result<ApiKeys> {
    let place = Place::new(cx);
    let mut keys = gateway.store.read(|tx| API_KEYS.scan(tx, &place.key(), None, usize::MAX))?;
    keys.retain(|(_, key)| {
        let named = key.name.as_deref().unwrap_or_default();
        req.name_query.as_deref().is_none_or(|name| named.starts_with(name))
            && req.customer_id.as_ref().is_none_or(|id| key.customer_id.as_ref() == Some(id))
    });
    keys.sort_by(|(_, a), (_, b)| (Reverse(a.created), &a.id).cmp(&(Reverse(b.created), &b.id)));
    let keys = keys.into_iter().map(|(_, key)| key).collect();
    let (keys, position) = page(keys, req.limit, req.position.as_deref(), newest_first)?;
    let with_value = req.include_values == Some(true);
    let items = keys.iter().map(|key| {
        let value = with_value.then(|| value(gateway, &place, key));
        Ok::<_, Error>(answer(key, value.transpose()?))
    });
    Ok(ApiKeys { warnings: None, position, items: Some(items.collect::<Result<_>>()?) })
}

/// The name of a key in the order of the list.
fn newest_first(key: &KeyRecord) -> String {
    let age = u64::MAX - key.created.millis().unsigned_abs();
    format!("{age:020} {}", key.id)
}

/// `UpdateApiKey`.
pub(crate) async fn update(gateway: &Gateway, cx: &Cx, req: UpdateApiKeyRequest) -> Result<ApiKey> {
    let patches = patch::read(req.patch_operations.as_deref())?;
    let now = seconds(cx.now);
    let record = gateway
        .change_plans(&Place::new(cx), move |tx, place| {
            let mut record = find(tx, place, &req.api_key)?;
            patches.iter().try_for_each(|patch| apply(&mut record, patch))?;
            check_texts(record.name.as_deref(), record.description.as_deref())?;
            record.updated = now;
            API_KEYS.put(tx, &place.of(&record.id), &record)?;
            Ok(record)
        })
        .await?;
    Ok(answer(&record, None))
}

fn apply(record: &mut KeyRecord, patch: &Patch) -> Result<()> {
    match patch.path.as_str() {
        "/name" => patch.only_replace().map(|()| record.name = Some(patch.text().to_owned())),
        "/description" => patch.only_replace().map(|()| record.description = patch.optional()),
        "/customerId" => patch.only_replace().map(|()| record.customer_id = patch.optional()),
        "/enabled" => patch.only_replace().map(|()| record.enabled = patch.flag()),
        "/stages" | "/labels" => Err(Error::NotBuilt(&gaps::KEY_PATCH)),
        _ => Err(patch.unknown()),
    }
}

/// `DeleteApiKey`; it leaves its plans, with what it used of them.
pub(crate) async fn delete(gateway: &Gateway, cx: &Cx, req: DeleteApiKeyRequest) -> Result<()> {
    let plans = std::sync::Arc::clone(&gateway.usage_plans);
    gateway
        .change_plans(&Place::new(cx), move |tx, place| {
            let record = find(tx, place, &req.api_key)?;
            let of_key = place.of(&record.id);
            for (key, plan) in KEY_PLANS.scan(tx, &of_key, None, usize::MAX)? {
                KEY_PLANS.delete(tx, &key)?;
                PLAN_KEYS.delete(tx, &place.of(&plan.id).and(&record.id))?;
                plans.forget(tx, place, &plan.id, Some(&record.id))?;
            }
            KEY_DIGESTS.delete(tx, &place.of(&record.digest))?;
            API_KEYS.delete(tx, &of_key)?;
            Ok(())
        })
        .await
}

/// The key of this id, which has to be there.
pub(crate) fn find(from: &impl Reader, place: &Place, id: &str) -> Result<KeyRecord> {
    API_KEYS.get(from, &place.of(id))?.ok_or(Error::NoSuchApiKey)
}

/// The value of a key.
pub(super) fn value(gateway: &Gateway, place: &Place, record: &KeyRecord) -> Result<String> {
    let vault = &gateway.usage_plans.vault;
    vault.open(place, &record.id, &record.sealed).ok_or(Error::Sealing)
}

fn answer(record: &KeyRecord, value: Option<String>) -> ApiKey {
    ApiKey {
        id: Some(record.id.clone()),
        value,
        name: record.name.clone(),
        customer_id: record.customer_id.clone(),
        description: record.description.clone(),
        enabled: Some(record.enabled),
        created_date: Some(EpochSeconds(record.created)),
        last_updated_date: Some(EpochSeconds(record.updated)),
        stage_keys: Some(Vec::new()),
        tags: Some(record.tags.clone()).filter(|tags| !tags.is_empty()),
    }
}

/// Times here have no fractions, as in AWS.
fn seconds(now: Timestamp) -> Timestamp {
    Timestamp(now.seconds() * 1_000)
}

/// AWS says nothing of what a value consists of; what no header can bring is refused.
pub(super) fn check_value(value: &str) -> Result<()> {
    if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::invalid("API Key value has characters that no header can have"));
    }
    match value.chars().count() {
        0..20 => Err(Error::invalid("API Key value should be at least 20 characters")),
        20..=128 => Ok(()),
        _ => Err(Error::invalid("API Key value exceeds maximum size of 128 characters")),
    }
}

pub(super) fn check_texts(name: Option<&str>, description: Option<&str>) -> Result<()> {
    let is_long = |text: Option<&str>| text.is_some_and(|text| text.chars().count() > 1_024);
    if is_long(name) {
        return Err(Error::invalid("Invalid API Key name, can be at most 1024 characters."));
    }
    if is_long(description) {
        return Err(Error::invalid("Invalid API Key description specified."));
    }
    Ok(())
}
