//! Queues of SQS, and of whatever speaks its JSON protocol.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use gatemill_aws::{Client, Endpoint, Error as AwsError, Request};
use gatemill_lambda::mapping::SourceArn;
use gatemill_wire::routes::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::{
    SourceError,
    limits::{LONG_POLL, MESSAGES_AT_ONCE},
    source::{Cursor, Polled, Position, Record, Settle, Shard, Source},
};

/// How long past its wait a request for messages may take.
const ANSWER_GRACE: Duration = Duration::from_secs(10);
/// What is asked for of every message.
const ALL: [&str; 1] = ["All"];

/// A queue.
pub(crate) struct Queue {
    client: Arc<Client>,
    endpoint: Endpoint,
    arn: SourceArn,
    url: OnceCell<String>,
}

/// Asks for the URL of a queue.
async fn queue_url(
    client: &Client,
    endpoint: &Endpoint,
    account: &str,
    name: &str,
) -> Result<String, AwsError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Found {
        queue_url: String,
    }
    let body = json!({ "QueueName": name, "QueueOwnerAWSAccountId": account });
    let answer = client.call(endpoint, Request::json("AmazonSQS.GetQueueUrl", &body)?).await?;
    Ok(answer.json::<Found>()?.queue_url)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Messages {
    #[serde(default)]
    messages: Option<Vec<Message>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Message {
    message_id: String,
    receipt_handle: String,
    #[serde(rename = "MD5OfBody")]
    md5_of_body: String,
    body: String,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    #[serde(rename = "MD5OfMessageAttributes")]
    md5_of_message_attributes: Option<String>,
    #[serde(default)]
    message_attributes: BTreeMap<String, Attribute>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attribute {
    string_value: Option<String>,
    binary_value: Option<String>,
    data_type: String,
}

/// A message as functions get it, in the order of AWS's members.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventRecord<'a> {
    message_id: &'a str,
    receipt_handle: &'a str,
    body: &'a str,
    attributes: &'a BTreeMap<String, String>,
    message_attributes: BTreeMap<&'a str, EventAttribute<'a>>,
    md5_of_message_attributes: Option<&'a str>,
    md5_of_body: &'a str,
    event_source: &'static str,
    #[serde(rename = "eventSourceARN")]
    event_source_arn: &'a str,
    aws_region: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventAttribute<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    string_value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    binary_value: Option<&'a str>,
    string_list_values: [&'static str; 0],
    binary_list_values: [&'static str; 0],
    data_type: &'a str,
}

impl Queue {
    pub(crate) fn new(client: Arc<Client>, endpoint: Endpoint, arn: &SourceArn) -> Self {
        Self { client, endpoint, arn: arn.clone(), url: OnceCell::new() }
    }

    async fn url(&self) -> Result<&str, SourceError> {
        let SourceArn { account, name, .. } = &self.arn;
        let find = || queue_url(&self.client, &self.endpoint, account, name);
        Ok(self.url.get_or_try_init(find).await?)
    }

    async fn call(&self, operation: &str, body: &Value) -> Result<gatemill_aws::Answer, AwsError> {
        self.client.call(&self.endpoint, Request::json(operation, body)?).await
    }

    fn record(&self, message: Message) -> Record {
        let attributes = message.message_attributes.iter().map(|(name, attribute)| {
            let shown = EventAttribute {
                string_value: attribute.string_value.as_deref(),
                binary_value: attribute.binary_value.as_deref(),
                string_list_values: [],
                binary_list_values: [],
                data_type: &attribute.data_type,
            };
            (name.as_str(), shown)
        });
        let event = EventRecord {
            message_id: &message.message_id,
            receipt_handle: &message.receipt_handle,
            body: &message.body,
            attributes: &message.attributes,
            message_attributes: attributes.collect(),
            md5_of_message_attributes: message.md5_of_message_attributes.as_deref(),
            md5_of_body: &message.md5_of_body,
            event_source: "aws:sqs",
            event_source_arn: &self.arn.text,
            aws_region: &self.arn.region,
        };
        let json = serde_json::to_string(&event).unwrap_or_default();
        let sent = message.attributes.get("SentTimestamp").and_then(|sent| sent.parse().ok());
        Record {
            id: message.message_id,
            receipt: message.receipt_handle,
            key: message.attributes.get("MessageGroupId").cloned().unwrap_or_default(),
            arrived_ms: sent.unwrap_or_default(),
            json,
            content: Some(message.body),
        }
    }

    async fn receive(&self, most: usize, wait: Duration) -> Result<Polled, SourceError> {
        let wait = wait.min(LONG_POLL);
        let body = json!({
            "QueueUrl": self.url().await?,
            // The newer name and the older one, which servers other than AWS's may know alone.
            "MessageSystemAttributeNames": ALL,
            "AttributeNames": ALL,
            "MessageAttributeNames": ALL,
            "MaxNumberOfMessages": most.clamp(1, MESSAGES_AT_ONCE),
            "WaitTimeSeconds": wait.as_secs(),
        });
        // Not tried again in here: an answer that was lost has taken messages with it.
        let request =
            Request::json("AmazonSQS.ReceiveMessage", &body)?.attempts(1).wait(wait + ANSWER_GRACE);
        let answer = self.client.call(&self.endpoint, request).await?;
        let messages = answer.json::<Messages>()?.messages.unwrap_or_default();
        let records = messages.into_iter().map(|message| self.record(message)).collect();
        Ok(Polled { records, next: Some(Cursor::default()), is_behind: false })
    }

    async fn settle_some(&self, receipts: &[String], how: Settle) -> Result<(), SourceError> {
        let entries = receipts.iter().enumerate().map(|(place, receipt)| {
            let mut entry = json!({ "Id": place.to_string(), "ReceiptHandle": receipt });
            if how == Settle::Release {
                entry["VisibilityTimeout"] = 0.into();
            }
            entry
        });
        let entries: Vec<Value> = entries.collect();
        let body = json!({ "QueueUrl": self.url().await?, "Entries": entries });
        let operation = match how {
            Settle::Remove => "AmazonSQS.DeleteMessageBatch",
            Settle::Release => "AmazonSQS.ChangeMessageVisibilityBatch",
        };
        let answer: Value = self.call(operation, &body).await?.json()?;
        match answer.get("Failed").and_then(Value::as_array).and_then(|failed| failed.first()) {
            Some(failed) => Err(SourceError::Refused(failed.to_string())),
            None => Ok(()),
        }
    }

    async fn visibility_timeout(&self) -> Result<Duration, SourceError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Found {
            attributes: BTreeMap<String, String>,
        }
        let names = ["VisibilityTimeout"];
        let body = json!({ "QueueUrl": self.url().await?, "AttributeNames": names });
        let answer = self.call("AmazonSQS.GetQueueAttributes", &body).await?;
        let mut attributes = answer.json::<Found>()?.attributes;
        let seconds = attributes.remove("VisibilityTimeout").and_then(|text| text.parse().ok());
        let unreadable = || SourceError::Unreachable("the queue has no VisibilityTimeout".into());
        Ok(Duration::from_secs(seconds.ok_or_else(unreadable)?))
    }
}

impl Source for Queue {
    fn shards(&self) -> BoxFuture<'_, Result<Vec<Shard>, SourceError>> {
        Box::pin(async { Ok(vec![Shard::default()]) })
    }

    fn seek<'a>(
        &'a self,
        _shard: &'a str,
        _position: &'a Position,
    ) -> BoxFuture<'a, Result<Cursor, SourceError>> {
        Box::pin(async { Ok(Cursor::default()) })
    }

    fn poll<'a>(
        &'a self,
        _cursor: &'a Cursor,
        most: usize,
        wait: Duration,
    ) -> BoxFuture<'a, Result<Polled, SourceError>> {
        Box::pin(self.receive(most, wait))
    }

    fn settle<'a>(
        &'a self,
        receipts: &'a [String],
        how: Settle,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async move {
            let mut result = Ok(());
            // One part that fails keeps none of the others from being settled.
            for some in receipts.chunks(MESSAGES_AT_ONCE) {
                result = self.settle_some(some, how).await.and(result);
            }
            result
        })
    }

    fn hidden_for(&self) -> BoxFuture<'_, Result<Duration, SourceError>> {
        Box::pin(self.visibility_timeout())
    }
}
