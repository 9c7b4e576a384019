//! What is stored of API keys and usage plans, and under which keys.
//!
//! The value of an API key is there twice, and never as it is: sealed, for its owner who asks for it, and as a keyed digest, by
//! which a request finds it.

use std::collections::BTreeMap;

use gatemill_store::{Key, Record, Table};
use gatemill_wire::{Cx, Timestamp};
use serde::{Deserialize, Serialize};

use crate::record::{ApiKey, IdRecord};

/// By account, region, API key.
pub(crate) const API_KEYS: Table<KeyRecord> = Table::new("gateway-api-keys");
/// By account, region, digest of a value: two API keys of one value cannot be.
pub(crate) const KEY_DIGESTS: Table<IdRecord> = Table::new("gateway-api-key-digests");
/// By account, region, usage plan.
pub(crate) const USAGE_PLANS: Table<PlanRecord> = Table::new("gateway-usage-plans");
/// By account, region, usage plan, API key: which keys a plan has.
pub(crate) const PLAN_KEYS: Table<IdRecord> = Table::new("gateway-usage-plan-keys");
/// By account, region, API key, usage plan: which plans a key is in.
pub(crate) const KEY_PLANS: Table<IdRecord> = Table::new("gateway-api-key-plans");
/// By account, region, usage plan, API key: the calls of a quota that are reserved.
pub(crate) const RESERVED: Table<ReservedRecord> = Table::new("gateway-usage-plan-reserved");
/// By account, region, usage plan, API key, day (days since 1970): what a key was used for. It ends with its
/// plan, with the key, and after a year.
pub(crate) const KEY_USAGE: Table<DayRecord> = Table::new("gateway-usage-plan-usage");

/// Where API keys and usage plans live: the prefix of all their keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) account: String,
    pub(crate) region: String,
}

impl Place {
    /// The caller's account and region.
    pub(crate) fn new(cx: &Cx) -> Self {
        Self { account: cx.account().to_owned(), region: cx.region.clone() }
    }

    /// Where an API is.
    pub(crate) fn of_api(at: &ApiKey) -> Self {
        Self { account: at.account.clone(), region: at.region.clone() }
    }

    /// The prefix itself.
    pub(crate) fn key(&self) -> Key {
        Key::new([&self.account, &self.region])
    }

    /// The key of something there.
    pub(crate) fn of(&self, part: &str) -> Key {
        self.key().and(part)
    }
}

/// An API key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeyRecord {
    pub(crate) id: String,
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) customer_id: Option<String>,
    pub(crate) enabled: bool,
    /// Its value, sealed.
    pub(crate) sealed: String,
    /// The digest of its value.
    pub(crate) digest: String,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
    pub(crate) tags: BTreeMap<String, String>,
}

/// A usage plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlanRecord {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) stages: Vec<PlanStage>,
    pub(crate) throttle: Option<Throttle>,
    pub(crate) quota: Option<Quota>,
    pub(crate) tags: BTreeMap<String, String>,
}

/// A stage that a usage plan is for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlanStage {
    pub(crate) api: String,
    pub(crate) stage: String,
    /// By route key; a route that has its own takes no token of the plan's.
    pub(crate) routes: BTreeMap<String, Throttle>,
}

impl PlanStage {
    /// Whether it is this stage of this API.
    pub(crate) fn is(&self, api: &str, stage: &str) -> bool {
        self.api == api && self.stage == stage
    }
}

/// Calls a second, and how many may come at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Throttle {
    pub(crate) burst: Option<i32>,
    pub(crate) rate: Option<f64>,
}

/// How many calls a key has in each period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Quota {
    pub(crate) limit: i32,
    /// The day of a week or a month on which its periods begin; 0 is Sunday, or the first.
    pub(crate) offset: i32,
    pub(crate) period: Period,
}

/// How long a quota is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Period {
    Day,
    Week,
    Month,
}

/// The calls of a quota that are taken or may be taken without asking again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReservedRecord {
    /// The first day of their period.
    pub(crate) period: u64,
    /// Below zero where an owner gave more than the quota.
    pub(crate) calls: i64,
}

/// What a key was used for on a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DayRecord {
    pub(crate) calls: u64,
    /// What was left of the quota when it was last used on that day; none where there was no quota.
    pub(crate) remaining: Option<i64>,
}

macro_rules! version_one {
    ($($record:ty),* $(,)?) => {
        $(impl Record for $record { const VERSION: u8 = 1; })*
    };
}

version_one!(KeyRecord, PlanRecord, ReservedRecord, DayRecord);

#[cfg(test)]
mod tests {
    use gatemill_store::{decode, encode};

    use super::*;

    fn check<R: Record + PartialEq + std::fmt::Debug>(record: &R, json: &str) {
        let bytes = [&[1], json.as_bytes()].concat();
        assert_eq!(&decode::<R>(&bytes).unwrap(), record);
        assert_eq!(String::from_utf8_lossy(&encode(record).unwrap()[1..]), json);
    }

    #[test]
    fn what_was_stored_is_read_for_ever() {
        let key = KeyRecord {
            id: "k".to_owned(),
            name: Some("n".to_owned()),
            description: None,
            customer_id: None,
            enabled: true,
            sealed: "c2VhbGVk".to_owned(),
            digest: "ab".to_owned(),
            created: Timestamp(5),
            updated: Timestamp(6),
            tags: BTreeMap::new(),
        };
        check(
            &key,
            r#"{"id":"k","name":"n","description":null,"customer_id":null,"enabled":true,"sealed":"c2VhbGVk","digest":"ab","created":5,"updated":6,"tags":{}}"#,
        );
        let throttle = Throttle { burst: Some(1), rate: Some(2.5) };
        let plan = PlanRecord {
            id: "p".to_owned(),
            name: "n".to_owned(),
            description: Some("d".to_owned()),
            stages: vec![PlanStage {
                api: "a".to_owned(),
                stage: "s".to_owned(),
                routes: BTreeMap::from([("$default".to_owned(), throttle)]),
            }],
            throttle: Some(throttle),
            quota: Some(Quota { limit: 10, offset: 1, period: Period::Week }),
            tags: BTreeMap::from([("t".to_owned(), "v".to_owned())]),
        };
        check(
            &plan,
            r#"{"id":"p","name":"n","description":"d","stages":[{"api":"a","stage":"s","routes":{"$default":{"burst":1,"rate":2.5}}}],"throttle":{"burst":1,"rate":2.5},"quota":{"limit":10,"offset":1,"period":"Week"},"tags":{"t":"v"}}"#,
        );
        check(&ReservedRecord { period: 3, calls: -4 }, r#"{"period":3,"calls":-4}"#);
        check(&DayRecord { calls: 3, remaining: Some(4) }, r#"{"calls":3,"remaining":4}"#);
    }
}
