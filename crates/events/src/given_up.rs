//! What a destination is told of records of a stream that are not tried any more.

use gatemill_lambda::mapping::Service;
use gatemill_wire::Timestamp;
use serde_json::{Map, Value, json};

use crate::{
    run::{Called, Run},
    source::Record,
};

/// Why records are given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// They failed too often.
    RetryAttemptsExhausted,
    /// They are too old.
    RecordAgeExceeded,
}

/// Records that are given up together.
pub(crate) struct GivenUp<'a> {
    pub(crate) run: &'a Run,
    pub(crate) shard: &'a str,
    pub(crate) condition: Condition,
    /// Calls that were tried.
    pub(crate) calls: u32,
    /// The last of them, where it is the reason.
    pub(crate) called: Option<&'a Called>,
    pub(crate) first: &'a Record,
    pub(crate) last: &'a Record,
    pub(crate) count: usize,
    /// The event that the function would get.
    pub(crate) event: String,
}

/// What a destination is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureMessage {
    /// For queues and topics.
    pub body: String,
    /// For buckets: the same with the records themselves.
    pub with_payload: String,
    /// The name of the object in a bucket.
    pub key: String,
}

impl GivenUp<'_> {
    pub(crate) fn message(&self) -> FailureMessage {
        let now = self.run.shared.clock.now();
        let id = self.run.shared.entropy.uuid();
        let mut record = self.record(now);
        let body = Value::Object(record.clone()).to_string();
        record.insert("payload".to_owned(), Value::from(self.event.as_str()));
        FailureMessage {
            body,
            with_payload: Value::Object(record).to_string(),
            key: key(&self.run.key.uuid, self.shard, now, &id.to_string()),
        }
    }

    fn record(&self, now: Timestamp) -> Map<String, Value> {
        let request_id = match self.called {
            Some(called) => called.request_id.to_string(),
            None => self.run.shared.entropy.uuid().to_string(),
        };
        let condition = match self.condition {
            Condition::RetryAttemptsExhausted => "RetryAttemptsExhausted",
            Condition::RecordAgeExceeded => "RecordAgeExceeded",
        };
        let mut record = Map::new();
        record.insert(
            "requestContext".to_owned(),
            json!({
                "requestId": request_id,
                "functionArn": self.run.mapping.function_arn,
                "condition": condition,
                "approximateInvokeCount": self.calls,
            }),
        );
        if let Some(Ok(outcome)) = self.called.map(|called| &called.result) {
            record.insert(
                "responseContext".to_owned(),
                json!({
                    "statusCode": 200,
                    "executedVersion": outcome.executed_version,
                    "functionError": outcome.function_error,
                }),
            );
        }
        record.insert("version".to_owned(), "1.0".into());
        record.insert("timestamp".to_owned(), now.iso8601_millis().into());
        let is_kinesis = self.run.arn.service == Service::Kinesis;
        let arrival = |record: &Record| {
            let at = Timestamp(record.arrived_ms);
            // DynamoDB's have no milliseconds.
            if is_kinesis { at.iso8601_millis() } else { at.iso8601() }
        };
        let info = if is_kinesis { "KinesisBatchInfo" } else { "DDBStreamBatchInfo" };
        record.insert(
            info.to_owned(),
            json!({
                "shardId": self.shard,
                "startSequenceNumber": self.first.id,
                "endSequenceNumber": self.last.id,
                "approximateArrivalOfFirstRecord": arrival(self.first),
                "approximateArrivalOfLastRecord": arrival(self.last),
                "batchSize": self.count,
                "streamArn": self.run.arn.text,
            }),
        );
        record
    }
}

/// `aws/lambda/<UUID>/<shard>/YYYY/MM/DD/YYYY-MM-DDTHH.MM.SS-<id>`.
fn key(uuid: &str, shard: &str, now: Timestamp, id: &str) -> String {
    let (date, time) = (now.log_stream_date(), now.iso8601());
    let time = time.trim_end_matches('Z').replace(':', ".");
    format!("aws/lambda/{uuid}/{shard}/{date}/{time}-{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_named_by_mapping_shard_and_time() {
        assert_eq!(
            key("u", "shardId-000000000000", Timestamp(1_795_379_214_123), "x"),
            "aws/lambda/u/shardId-000000000000/2026/11/22/2026-11-22T20.26.54-x"
        );
    }
}
