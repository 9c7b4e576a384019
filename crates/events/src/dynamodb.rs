//! Streams of DynamoDB's tables, and of whatever speaks their protocol.
//!
//! The service finds no time in a shard: a position in time is its oldest record, and what is older is passed over.

use std::{sync::Arc, time::Duration};

use gatemill_aws::{Answer, Client, Endpoint, Error as AwsError, Request};
use gatemill_lambda::mapping::SourceArn;
use gatemill_wire::routes::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};

use crate::{
    SourceError,
    kinesis::{Found, ListedShard, millis},
    limits::{DYNAMODB_RECORDS_AT_ONCE, SHARD_PAGES_MAX},
    source::{Cursor, Polled, Position, Record, Shard, Source},
};

/// The stream of a table.
pub(crate) struct TableStream {
    client: Arc<Client>,
    endpoint: Endpoint,
    arn: SourceArn,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    stream_description: Description,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Description {
    #[serde(default)]
    shards: Vec<ListedShard>,
    last_evaluated_shard_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Records<'a> {
    #[serde(borrow)]
    records: Vec<StreamRecord<'a>>,
    next_shard_iterator: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StreamRecord<'a> {
    #[serde(rename = "eventID")]
    event_id: String,
    event_name: String,
    event_version: String,
    event_source: String,
    aws_region: String,
    /// Passed on as it is.
    #[serde(borrow)]
    dynamodb: &'a RawValue,
    user_identity: Option<Identity>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Identity {
    principal_id: Option<String>,
    r#type: Option<String>,
}

/// What is looked at of a change.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Change<'a> {
    sequence_number: String,
    approximate_creation_date_time: Option<f64>,
    #[serde(borrow)]
    keys: Option<&'a RawValue>,
}

/// A record as functions get it, in the order of AWS's members.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventRecord<'a> {
    #[serde(rename = "eventID")]
    event_id: &'a str,
    event_name: &'a str,
    event_version: &'a str,
    event_source: &'a str,
    aws_region: &'a str,
    dynamodb: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_identity: Option<EventIdentity<'a>>,
    #[serde(rename = "eventSourceARN")]
    event_source_arn: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventIdentity<'a> {
    r#type: Option<&'a str>,
    principal_id: Option<&'a str>,
}

impl TableStream {
    pub(crate) fn new(client: Arc<Client>, endpoint: Endpoint, arn: &SourceArn) -> Self {
        Self { client, endpoint, arn: arn.clone() }
    }

    async fn call(&self, operation: &str, body: &Value) -> Result<Answer, AwsError> {
        let target = format!("DynamoDBStreams_20120810.{operation}");
        self.client.call(&self.endpoint, Request::json(&target, body)?).await
    }

    async fn list(&self) -> Result<Vec<Shard>, SourceError> {
        let mut shards = Vec::new();
        let mut body = json!({ "StreamArn": self.arn.text });
        for _ in 0..SHARD_PAGES_MAX {
            let described: Described = self.call("DescribeStream", &body).await?.json()?;
            let page = described.stream_description;
            shards.extend(page.shards.into_iter().map(Shard::from));
            match page.last_evaluated_shard_id {
                Some(last) => body["ExclusiveStartShardId"] = last.into(),
                None => return Ok(shards),
            }
        }
        Err(SourceError::Unreachable("the list of shards has no end".to_owned()))
    }

    async fn find(&self, shard: &str, position: &Position) -> Result<Cursor, SourceError> {
        let mut body = json!({ "StreamArn": self.arn.text, "ShardId": shard });
        let mut not_before_ms = None;
        let kind = match position {
            Position::TrimHorizon => "TRIM_HORIZON",
            Position::Latest | Position::End => "LATEST",
            Position::Since(ms) => {
                not_before_ms = Some(*ms);
                "TRIM_HORIZON"
            }
            Position::After(number) => {
                body["SequenceNumber"] = number.as_str().into();
                "AFTER_SEQUENCE_NUMBER"
            }
        };
        body["ShardIteratorType"] = kind.into();
        let found: Found = self.call("GetShardIterator", &body).await?.json()?;
        found.cursor(not_before_ms)
    }

    fn record(&self, found: &StreamRecord<'_>) -> Result<Record, SourceError> {
        let unreadable = |error: serde_json::Error| SourceError::Unreachable(error.to_string());
        let change: Change<'_> = serde_json::from_str(found.dynamodb.get()).map_err(unreadable)?;
        let event = EventRecord {
            event_id: &found.event_id,
            event_name: &found.event_name,
            event_version: &found.event_version,
            event_source: &found.event_source,
            aws_region: &found.aws_region,
            dynamodb: found.dynamodb,
            user_identity: found.user_identity.as_ref().map(|identity| EventIdentity {
                r#type: identity.r#type.as_deref(),
                principal_id: identity.principal_id.as_deref(),
            }),
            event_source_arn: &self.arn.text,
        };
        Ok(Record {
            json: serde_json::to_string(&event).map_err(unreadable)?,
            id: change.sequence_number,
            receipt: String::new(),
            key: change.keys.map(|keys| keys.get().to_owned()).unwrap_or_default(),
            arrived_ms: change.approximate_creation_date_time.map(millis).unwrap_or_default(),
            content: None,
        })
    }

    async fn read(&self, cursor: &Cursor, most: usize) -> Result<Polled, SourceError> {
        let limit = most.clamp(1, DYNAMODB_RECORDS_AT_ONCE);
        let body = json!({ "ShardIterator": cursor.token, "Limit": limit });
        let answer = self.call("GetRecords", &body).await?;
        let unreadable = |error: serde_json::Error| SourceError::Unreachable(error.to_string());
        let found: Records<'_> = serde_json::from_slice(&answer.body).map_err(unreadable)?;
        let records: Result<Vec<Record>, _> =
            found.records.iter().map(|record| self.record(record)).collect();
        let mut records = records?;
        let is_behind = records.len() == limit;
        let mut not_before_ms = cursor.not_before_ms;
        if let Some(first_ms) = not_before_ms {
            // Times of records are whole seconds.
            let first_s = first_ms.div_euclid(1000);
            records.retain(|record| record.arrived_ms.div_euclid(1000) >= first_s);
            if !records.is_empty() {
                not_before_ms = None;
            }
        }
        let next = found.next_shard_iterator.map(|token| Cursor { token, not_before_ms });
        Ok(Polled { records, next, is_behind })
    }
}

impl Source for TableStream {
    fn shards(&self) -> BoxFuture<'_, Result<Vec<Shard>, SourceError>> {
        Box::pin(self.list())
    }

    fn seek<'a>(
        &'a self,
        shard: &'a str,
        position: &'a Position,
    ) -> BoxFuture<'a, Result<Cursor, SourceError>> {
        Box::pin(self.find(shard, position))
    }

    fn poll<'a>(
        &'a self,
        cursor: &'a Cursor,
        most: usize,
        _wait: Duration,
    ) -> BoxFuture<'a, Result<Polled, SourceError>> {
        Box::pin(self.read(cursor, most))
    }
}
