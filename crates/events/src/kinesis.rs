//! Streams of Kinesis, and of whatever speaks its protocol.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use gatemill_aws::{Answer, Client, Endpoint, Error as AwsError, Request};
use gatemill_lambda::mapping::SourceArn;
use gatemill_wire::routes::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};

use crate::{
    SourceError,
    limits::{KINESIS_RECORDS_AT_ONCE, SHARD_PAGES_MAX},
    source::{Cursor, Polled, Position, Record, Shard, Source},
};

/// A stream.
pub(crate) struct Stream {
    pub(crate) client: Arc<Client>,
    pub(crate) endpoint: Endpoint,
    arn: SourceArn,
    role: String,
}

/// A list of shards, of Kinesis or of DynamoDB, which call the same things by the same names.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListedShard {
    shard_id: String,
    parent_shard_id: Option<String>,
    adjacent_parent_shard_id: Option<String>,
    #[serde(default)]
    sequence_number_range: Range,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Range {
    ending_sequence_number: Option<String>,
}

impl From<ListedShard> for Shard {
    fn from(listed: ListedShard) -> Self {
        let parents = [listed.parent_shard_id, listed.adjacent_parent_shard_id];
        Self {
            id: listed.shard_id,
            parents: parents.into_iter().flatten().collect(),
            is_closed: listed.sequence_number_range.ending_sequence_number.is_some(),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    #[serde(default)]
    shards: Vec<ListedShard>,
    next_token: Option<String>,
}

/// The answer to a request for a cursor, of both services.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Found {
    shard_iterator: Option<String>,
}

impl Found {
    /// The cursor, which every answer has.
    pub(crate) fn cursor(self, not_before_ms: Option<i64>) -> Result<Cursor, SourceError> {
        let missing = || SourceError::Unreachable("there is no iterator in the answer".to_owned());
        Ok(Cursor { token: self.shard_iterator.ok_or_else(missing)?, not_before_ms })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Records<'a> {
    #[serde(borrow)]
    records: Vec<StreamRecord<'a>>,
    next_shard_iterator: Option<String>,
    millis_behind_latest: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct StreamRecord<'a> {
    sequence_number: String,
    partition_key: String,
    data: String,
    /// Seconds, as the service writes them.
    #[serde(borrow)]
    approximate_arrival_timestamp: Option<&'a RawValue>,
}

/// A record as functions get it, in the order of AWS's members.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventRecord<'a> {
    kinesis: EventData<'a>,
    event_source: &'static str,
    event_version: &'static str,
    #[serde(rename = "eventID")]
    event_id: String,
    event_name: &'static str,
    invoke_identity_arn: &'a str,
    aws_region: &'a str,
    #[serde(rename = "eventSourceARN")]
    event_source_arn: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventData<'a> {
    kinesis_schema_version: &'static str,
    partition_key: &'a str,
    sequence_number: &'a str,
    data: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    approximate_arrival_timestamp: Option<f64>,
}

/// Milliseconds of a number of seconds.
pub(crate) fn millis(seconds: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates")]
    let millis = (seconds * 1000.0).round() as i64;
    millis
}

/// A position as Kinesis says it: its type, and the time in seconds or the sequence number that goes with it.
pub(crate) struct Starting<'a> {
    pub(crate) kind: &'static str,
    pub(crate) seconds: Option<f64>,
    pub(crate) number: Option<&'a str>,
}

impl<'a> From<&'a Position> for Starting<'a> {
    fn from(position: &'a Position) -> Self {
        let of = |kind| Self { kind, seconds: None, number: None };
        match position {
            Position::TrimHorizon => of("TRIM_HORIZON"),
            Position::Latest | Position::End => of("LATEST"),
            Position::Since(ms) => {
                #[expect(clippy::cast_precision_loss, reason = "exact for 285,000 years")]
                let seconds = *ms as f64 / 1000.0;
                Self { seconds: Some(seconds), ..of("AT_TIMESTAMP") }
            }
            Position::After(number) => Self { number: Some(number), ..of("AFTER_SEQUENCE_NUMBER") },
        }
    }
}

impl Stream {
    pub(crate) fn new(
        client: Arc<Client>,
        endpoint: Endpoint,
        arn: &SourceArn,
        role: &str,
    ) -> Self {
        Self { client, endpoint, arn: arn.clone(), role: role.to_owned() }
    }

    pub(crate) async fn call(&self, operation: &str, body: &Value) -> Result<Answer, AwsError> {
        let target = format!("Kinesis_20131202.{operation}");
        self.client.call(&self.endpoint, Request::json_1_1(&target, body)?).await
    }

    async fn list(&self) -> Result<Vec<Shard>, SourceError> {
        let mut shards = Vec::new();
        let mut body = json!({ "StreamName": self.arn.name });
        for _ in 0..SHARD_PAGES_MAX {
            let page: Page = self.call("ListShards", &body).await?.json()?;
            shards.extend(page.shards.into_iter().map(Shard::from));
            match page.next_token {
                Some(token) => body = json!({ "NextToken": token }),
                None => return Ok(shards),
            }
        }
        Err(SourceError::Unreachable("the list of shards has no end".to_owned()))
    }

    async fn find(&self, shard: &str, position: &Position) -> Result<Cursor, SourceError> {
        let mut body = json!({ "StreamName": self.arn.name, "ShardId": shard });
        let starting = Starting::from(position);
        body["ShardIteratorType"] = starting.kind.into();
        if let Some(seconds) = starting.seconds {
            body["Timestamp"] = seconds.into();
        }
        if let Some(number) = starting.number {
            body["StartingSequenceNumber"] = number.into();
        }
        let found: Found = self.call("GetShardIterator", &body).await?.json()?;
        found.cursor(None)
    }

    pub(crate) fn record(&self, shard: &str, found: &StreamRecord<'_>) -> Record {
        let seconds = found.approximate_arrival_timestamp;
        let seconds: Option<f64> = seconds.and_then(|seconds| seconds.get().parse().ok());
        let event = EventRecord {
            kinesis: EventData {
                kinesis_schema_version: "1.0",
                partition_key: &found.partition_key,
                sequence_number: &found.sequence_number,
                data: &found.data,
                approximate_arrival_timestamp: seconds,
            },
            event_source: "aws:kinesis",
            event_version: "1.0",
            event_id: format!("{shard}:{}", found.sequence_number),
            event_name: "aws:kinesis:record",
            invoke_identity_arn: &self.role,
            aws_region: &self.arn.region,
            event_source_arn: &self.arn.text,
        };
        let json = serde_json::to_string(&event).unwrap_or_default();
        let content = STANDARD.decode(&found.data).ok();
        Record {
            id: found.sequence_number.clone(),
            receipt: String::new(),
            key: found.partition_key.clone(),
            arrived_ms: seconds.map(millis).unwrap_or_default(),
            json,
            content: content.and_then(|data| String::from_utf8(data).ok()),
        }
    }

    async fn read(&self, cursor: &Cursor, most: usize) -> Result<Polled, SourceError> {
        // The shard is in front of the iterator: records do not say which they are of.
        let (shard, iterator) = cursor.token.split_once(' ').unwrap_or(("", &cursor.token));
        let limit = most.clamp(1, KINESIS_RECORDS_AT_ONCE);
        let body = json!({ "ShardIterator": iterator, "Limit": limit });
        let answer = self.call("GetRecords", &body).await?;
        let unreadable = |error: serde_json::Error| SourceError::Unreachable(error.to_string());
        let found: Records<'_> = serde_json::from_slice(&answer.body).map_err(unreadable)?;
        let next = found
            .next_shard_iterator
            .map(|iterator| Cursor { token: format!("{shard} {iterator}"), not_before_ms: None });
        Ok(Polled {
            records: found.records.iter().map(|record| self.record(shard, record)).collect(),
            next,
            is_behind: found.millis_behind_latest.is_some_and(|behind| behind > 0),
        })
    }
}

impl Source for Stream {
    fn shards(&self) -> BoxFuture<'_, Result<Vec<Shard>, SourceError>> {
        Box::pin(self.list())
    }

    fn seek<'a>(
        &'a self,
        shard: &'a str,
        position: &'a Position,
    ) -> BoxFuture<'a, Result<Cursor, SourceError>> {
        Box::pin(async move {
            let found = self.find(shard, position).await?;
            Ok(Cursor { token: format!("{shard} {}", found.token), ..found })
        })
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
