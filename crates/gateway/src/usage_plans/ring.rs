//! The keys of an account in a region, as requests see them: immutable, compiled from the records when they changed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use gatemill_store::Reader;

use super::{
    UsagePlans,
    record::{API_KEYS, PLAN_KEYS, Place, PlanRecord, Quota, Throttle, USAGE_PLANS},
    usage::{KeyUsage, Use},
};
use crate::{error::Result, proxy::throttle::Bucket};

/// The keys of an account in a region.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    /// By the digests of their values.
    keys: HashMap<String, Arc<KeySnapshot>>,
    /// The same by their ids.
    ids: HashMap<String, Arc<KeySnapshot>>,
}

/// A key.
#[derive(Debug)]
pub(crate) struct KeySnapshot {
    pub(crate) id: String,
    pub(crate) enabled: bool,
    /// What its plans let it do.
    grants: Vec<Grant>,
}

/// What a plan lets a key do.
#[derive(Debug)]
pub(crate) struct Grant {
    plan: String,
    stages: Vec<GrantedStage>,
    bucket: Option<Arc<Bucket>>,
    pub(crate) quota: Option<Quota>,
    pub(crate) usage: Arc<KeyUsage>,
}

#[derive(Debug)]
struct GrantedStage {
    api: String,
    stage: String,
    routes: BTreeMap<String, Arc<Bucket>>,
}

impl Ring {
    /// The key whose value has this digest.
    pub(crate) fn key(&self, digest: &str) -> Option<&Arc<KeySnapshot>> {
        self.keys.get(digest)
    }
}

impl KeySnapshot {
    /// What it may do on a stage; a key is in one plan at most for each.
    pub(crate) fn grant(&self, api: &str, stage: &str) -> Option<&Grant> {
        self.grants.iter().find(|grant| grant.stage(api, stage).is_some())
    }
}

impl Grant {
    fn stage(&self, api: &str, stage: &str) -> Option<&GrantedStage> {
        self.stages.iter().find(|granted| granted.api == api && granted.stage == stage)
    }

    /// What bounds the rate of a route: its own limit, or that of the plan.
    pub(crate) fn bucket(&self, api: &str, stage: &str, route: &str) -> Option<&Arc<Bucket>> {
        let own = self.stage(api, stage).and_then(|stage| stage.routes.get(route));
        own.or(self.bucket.as_ref())
    }
}

/// Compiles the keys of a place. The buckets of `before` live on, so that a change fills none.
pub(super) fn compile(
    tx: &impl Reader,
    place: &Place,
    before: &Ring,
    plans: &UsagePlans,
) -> Result<Ring> {
    let prefix = place.key();
    let records = USAGE_PLANS.scan(tx, &prefix, None, usize::MAX)?;
    let records: HashMap<String, PlanRecord> =
        records.into_iter().map(|(_, plan)| (plan.id.clone(), plan)).collect();
    let mut grants: HashMap<String, Vec<Grant>> = HashMap::new();
    for (at, key) in PLAN_KEYS.scan(tx, &prefix, None, usize::MAX)? {
        let plan = at.text(prefix.parts().len()).and_then(|id| records.get(&*id));
        let Some(plan) = plan else { continue };
        let of = Use { place: place.clone(), plan: plan.id.clone(), key: key.id.clone() };
        let usage = plans.usage(tx, of)?;
        let had = before.ids.get(&key.id);
        let had = had.and_then(|key| key.grants.iter().find(|grant| grant.plan == plan.id));
        grants.entry(key.id).or_default().push(grant(plan, had, usage));
    }
    let mut ring = Ring::default();
    for (_, record) in API_KEYS.scan(tx, &prefix, None, usize::MAX)? {
        let key = Arc::new(KeySnapshot {
            grants: grants.remove(&record.id).unwrap_or_default(),
            enabled: record.enabled,
            id: record.id,
        });
        ring.ids.insert(key.id.clone(), Arc::clone(&key));
        ring.keys.insert(record.digest, key);
    }
    Ok(ring)
}

fn grant(plan: &PlanRecord, had: Option<&Grant>, usage: Arc<KeyUsage>) -> Grant {
    let stages = plan.stages.iter().map(|record| {
        let had = had.and_then(|grant| grant.stage(&record.api, &record.stage));
        let routes = record.routes.iter().filter_map(|(key, throttle)| {
            let had = had.and_then(|stage| stage.routes.get(key));
            Some((key.clone(), bucket(*throttle, had)?))
        });
        GrantedStage {
            api: record.api.clone(),
            stage: record.stage.clone(),
            routes: routes.collect(),
        }
    });
    let had_bucket = had.and_then(|grant| grant.bucket.as_ref());
    Grant {
        plan: plan.id.clone(),
        stages: stages.collect(),
        bucket: plan.throttle.and_then(|throttle| bucket(throttle, had_bucket)),
        quota: plan.quota,
        usage,
    }
}

/// A bucket: the one that was there, where its limits are the same.
fn bucket(throttle: Throttle, had: Option<&Arc<Bucket>>) -> Option<Arc<Bucket>> {
    let bucket = Bucket::new(throttle.rate, throttle.burst)?;
    match had {
        Some(had) if had.same_limits(&bucket) => Some(Arc::clone(had)),
        Some(_) | None => Some(Arc::new(bucket)),
    }
}
