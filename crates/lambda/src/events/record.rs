//! What is stored of asynchronous invocation, and where.
//!
//! An event is one record, below its function, in the order of acceptance; it is rewritten when an attempt failed
//! and deleted when it is settled. What is to be delivered of a settled event is another record, put in the transaction
//! that settles it. The counts beside them change in the same transactions, so that at every commit
//! `accepted = succeeded + failed + dropped + waiting`.

use gatemill_store::{Key, Record, Table};
use gatemill_wire::Qualifier;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::target::FunctionKey;

/// Events that wait or run: by account, region, name, and the two numbers of an [`EventId`].
pub(crate) const EVENTS: Table<EventRecord> = Table::new("lambda-events");
/// What is still to be delivered of events that are settled, by the same keys.
pub(crate) const DELIVERIES: Table<DeliveryRecord> = Table::new("lambda-event-deliveries");
/// How many events came and went, by account, region and name.
pub(crate) const COUNTS: Table<CountsRecord> = Table::new("lambda-event-counts");
/// Event invoke configurations by account, region, name and qualifier.
pub(crate) const INVOKE_CONFIGS: Table<InvokeConfigRecord> =
    Table::new("lambda-event-invoke-configs");
/// Functions that may be invoked in a loop, by account, region and name; the others may not.
pub(crate) const LOOPS_ALLOWED: Table<crate::record::Mark> = Table::new("lambda-loops-allowed");

/// Names an event among those of its function, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EventId {
    /// Grows with the time of acceptance, and with every event of one server.
    pub(crate) order: u64,
    /// Out of the request's id: no two events share a key, whatever a clock does.
    pub(crate) random: u64,
}

impl EventId {
    pub(crate) fn key(self, function: &FunctionKey) -> Key {
        function.record().and_u64(self.order).and_u64(self.random)
    }

    /// Reads back [`Self::key`].
    pub(crate) fn from_key(key: &Key) -> Option<(FunctionKey, Self)> {
        let id = Self { order: key.number(3)?, random: key.number(4)? };
        Some((FunctionKey::from_record(key)?, id))
    }
}

/// An event that was accepted and is not settled.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct EventRecord {
    pub(crate) request_id: String,
    /// As it was named; `None` is `$LATEST`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) qualifier: Option<String>,
    pub(crate) accepted_ms: i64,
    /// When it is next to be looked at.
    pub(crate) due_ms: i64,
    /// Grows with every attempt that was written down: whoever settles the event names the one that it saw.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) epoch: u32,
    /// Attempts that ended with an error of the function.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) failures: u32,
    /// Attempts in a row that did not begin: throttled, or by our fault.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) refusals: u32,
    pub(crate) trace_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client_context: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tenant_id: Option<String>,
    /// Whether it is one step too many of a loop of functions.
    #[serde(default, skip_serializing_if = "is_not")]
    pub(crate) recursive: bool,
    /// How the last attempt that ran ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<ResponseRecord>,
    pub(crate) payload: Box<RawValue>,
}

/// What a function answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ResponseRecord {
    pub(crate) executed_version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) function_error: Option<String>,
    pub(crate) payload: Box<RawValue>,
}

/// One settled event's way to a queue, a function and so on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DeliveryRecord {
    pub(crate) request_id: String,
    pub(crate) trace_id: String,
    /// What is still to be done; both may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dead_letter: Option<DeadLetterRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) destination: Option<DestinationRecord>,
}

/// An event's way to the dead-letter queue.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DeadLetterRecord {
    pub(crate) target_arn: String,
    pub(crate) event: Box<RawValue>,
    pub(crate) error_code: u16,
    pub(crate) error_message: String,
}

/// An invocation record's way to a destination.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DestinationRecord {
    pub(crate) arn: String,
    pub(crate) succeeded: bool,
    /// The function's ARN with its qualifier.
    pub(crate) function_arn: String,
    pub(crate) at_ms: i64,
    pub(crate) record: Box<RawValue>,
}

/// How many events of a function came and went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CountsRecord {
    pub(crate) accepted: u64,
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    /// Their function was gone.
    pub(crate) dropped: u64,
}

impl CountsRecord {
    pub(crate) fn waiting(self) -> u64 {
        self.accepted.saturating_sub(self.succeeded + self.failed + self.dropped)
    }
}

/// An event invoke configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InvokeConfigRecord {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retries_max: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) age_max_s: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) on_success: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) on_failure: Option<String>,
    pub(crate) last_modified_ms: i64,
}

impl Record for EventRecord {
    const VERSION: u8 = 1;
}
impl Record for DeliveryRecord {
    const VERSION: u8 = 1;
}
impl Record for CountsRecord {
    const VERSION: u8 = 1;
}
impl Record for InvokeConfigRecord {
    const VERSION: u8 = 1;
}

impl EventRecord {
    pub(crate) fn qualifier(&self) -> Option<Qualifier> {
        self.qualifier.as_deref().map(Qualifier::parse)
    }

    /// Attempts that ran.
    pub(crate) fn invoked(&self) -> u32 {
        self.failures
    }
}

/// The key of an event invoke configuration; no qualifier is `$LATEST`.
pub(crate) fn invoke_config_key(function: &FunctionKey, qualifier: Option<&str>) -> Key {
    function.record().and(qualifier.unwrap_or("$LATEST"))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_not(flag: &bool) -> bool {
    !flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use gatemill_store::{decode, encode};

    use super::*;

    #[test]
    fn golden_bytes_decode_for_ever() {
        let golden = b"\x01{\"request_id\":\"r\",\"accepted_ms\":1,\"due_ms\":2,\"trace_id\":\"t\",\"payload\":{\"a\": 1}}";
        let event: EventRecord = decode(golden).unwrap();
        assert_eq!((event.due_ms, event.epoch, event.payload.get()), (2, 0, "{\"a\": 1}"));
        assert_eq!(encode(&event).unwrap(), golden);
        let golden = b"\x01{\"request_id\":\"r\",\"qualifier\":\"live\",\"accepted_ms\":1,\"due_ms\":2,\"epoch\":3,\
            \"failures\":1,\"refusals\":2,\"trace_id\":\"t\",\"client_context\":\"{}\",\"tenant_id\":\"n\",\"recursive\":true,\
            \"last\":{\"executed_version\":\"7\",\"function_error\":\"Unhandled\",\"payload\":null},\"payload\":0}";
        let event: EventRecord = decode(golden).unwrap();
        assert_eq!(encode(&event).unwrap(), golden);
        let golden = b"\x01{\"request_id\":\"r\",\"trace_id\":\"t\",\"dead_letter\":{\"target_arn\":\"q\",\"event\":1,\
            \"error_code\":200,\"error_message\":\"m\"},\"destination\":{\"arn\":\"d\",\"succeeded\":false,\
            \"function_arn\":\"f\",\"at_ms\":5,\"record\":{}}}";
        assert_eq!(encode(&decode::<DeliveryRecord>(golden).unwrap()).unwrap(), golden);
        let golden = b"\x01{\"accepted\":4,\"succeeded\":1,\"failed\":1,\"dropped\":1}";
        let counts: CountsRecord = decode(golden).unwrap();
        assert_eq!((counts.waiting(), encode(&counts).unwrap()), (1, golden.to_vec()));
        let golden = b"\x01{\"retries_max\":0,\"age_max_s\":60,\"on_success\":\"a\",\"on_failure\":\"b\",\"last_modified_ms\":1}";
        assert_eq!(encode(&decode::<InvokeConfigRecord>(golden).unwrap()).unwrap(), golden);
    }

    #[test]
    fn keys_read_back_and_sort_by_acceptance() {
        let function = FunctionKey::new("000000000000", "us-east-1", "f");
        let id = EventId { order: 1, random: u64::MAX };
        assert_eq!(EventId::from_key(&id.key(&function)), Some((function.clone(), id)));
        let later = EventId { order: 2, random: 0 };
        assert!(id.key(&function) < later.key(&function));
    }
}
