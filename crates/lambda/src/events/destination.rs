//! Where records of asynchronous invocations, and events that failed, are sent: functions, and the services that the
//! operator configured.
//!
//! A destination is its ARN; what it can be used for, and whether this server reaches it, is decided before it is stored.
//! Sending happens with the operator's keys for the service, not with the function's role.

use gatemill_aws::{Client, Request, Service};
use gatemill_wire::{Arn, Timestamp, percent};
use http::Method;
use serde_json::json;

use crate::{FunctionTarget, limits::EVENT_DELIVERY_ATTEMPTS_MAX};

/// A kind of target, with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Destination {
    /// A function of this server.
    Function(FunctionTarget),
    /// A queue of an SQS-compatible service.
    Queue(Arn),
    /// A topic of an SNS-compatible service.
    Topic(Arn),
    /// A bus of an EventBridge-compatible service.
    Bus(Arn),
    /// A bucket of an S3-compatible service.
    Bucket(Arn),
}

/// What is sent.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    /// JSON text.
    pub(crate) body: &'a str,
    /// Attributes of queue and topic messages: name, type, value.
    pub(crate) attributes: &'a [(&'a str, &'a str, &'a str)],
    pub(crate) trace_id: &'a str,
    /// For buses: whether it is about a success, and the function's ARN with its qualifier.
    pub(crate) succeeded: bool,
    pub(crate) function_arn: &'a str,
    /// For buckets: the last part of the key, and the function's name.
    pub(crate) id: &'a str,
    pub(crate) function_name: &'a str,
    pub(crate) at: Timestamp,
}

impl Destination {
    /// Reads an ARN; `None` for what cannot be one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let arn: Arn = text.parse().ok()?;
        let is_named = !arn.resource.is_empty();
        match arn.service.as_str() {
            "lambda" => FunctionTarget::from_arn(text).map(Self::Function),
            // Queues and topics that keep an order are not supported by AWS either.
            "sqs" | "sns" if arn.resource.ends_with(".fifo") => None,
            "sqs" if is_named => Some(Self::Queue(arn)),
            "sns" if is_named => Some(Self::Topic(arn)),
            "events" if arn.resource.starts_with("event-bus/") => Some(Self::Bus(arn)),
            "s3" if is_named && !arn.resource.contains('/') => Some(Self::Bucket(arn)),
            _ => None,
        }
    }

    /// The service that has it; functions are ours.
    pub(crate) fn service(&self) -> Option<Service> {
        match self {
            Self::Function(_) => None,
            Self::Queue(_) => Some(Service::Sqs),
            Self::Topic(_) => Some(Service::Sns),
            Self::Bus(_) => Some(Service::Events),
            Self::Bucket(_) => Some(Service::S3),
        }
    }
}

/// Sends a message to a target that is no function.
pub(crate) async fn send(
    client: &Client,
    to: &Destination,
    message: &Message<'_>,
) -> Result<(), gatemill_aws::Error> {
    let (service, arn) = match to {
        Destination::Queue(arn) => (Service::Sqs, arn),
        Destination::Topic(arn) => (Service::Sns, arn),
        Destination::Bus(arn) => (Service::Events, arn),
        Destination::Bucket(arn) => (Service::S3, arn),
        Destination::Function(_) => {
            return Err(gatemill_aws::Error::Unsendable("functions are no service".to_owned()));
        }
    };
    let endpoint = client.endpoint(service, Some(&arn.region))?;
    let request = match to {
        Destination::Queue(_) => {
            let url = endpoint.url(&format!("/{}/{}", arn.account, arn.resource));
            to_queue(&url, message)?
        }
        Destination::Topic(_) => to_topic(&arn.to_string(), message)?,
        Destination::Bus(_) => to_bus(&arn.to_string(), message)?,
        Destination::Bucket(_) | Destination::Function(_) => to_bucket(&arn.resource, message)?,
    };
    let answer = client.call(&endpoint, request.attempts(EVENT_DELIVERY_ATTEMPTS_MAX)).await?;
    match to {
        // A bus answers 200 for entries that it refused.
        Destination::Bus(_) => {
            let said: serde_json::Value = answer.json()?;
            match said["FailedEntryCount"].as_u64() {
                None | Some(0) => Ok(()),
                Some(_) => Err(gatemill_aws::Error::Unreadable(said["Entries"].to_string())),
            }
        }
        _ => Ok(()),
    }
}

fn to_queue(url: &str, message: &Message<'_>) -> Result<Request, gatemill_aws::Error> {
    let attributes = message.attributes.iter().map(|(name, kind, value)| {
        ((*name).to_owned(), json!({"DataType": kind, "StringValue": value}))
    });
    let attributes: serde_json::Map<_, _> = attributes.collect();
    let trace = json!({"AWSTraceHeader": {"DataType": "String", "StringValue": message.trace_id}});
    let mut body =
        json!({"QueueUrl": url, "MessageBody": message.body, "MessageSystemAttributes": trace});
    if !attributes.is_empty() {
        body["MessageAttributes"] = attributes.into();
    }
    Request::json("AmazonSQS.SendMessage", &body)
}

fn to_topic(arn: &str, message: &Message<'_>) -> Result<Request, gatemill_aws::Error> {
    let mut parameters = vec![("TopicArn".to_owned(), arn), ("Message".to_owned(), message.body)];
    for (at, (name, kind, value)) in message.attributes.iter().enumerate() {
        let entry = format!("MessageAttributes.entry.{}", at + 1);
        parameters.push((format!("{entry}.Name"), name));
        parameters.push((format!("{entry}.Value.DataType"), kind));
        parameters.push((format!("{entry}.Value.StringValue"), value));
    }
    let parameters: Vec<_> =
        parameters.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    Request::query("Publish", "2010-03-31", &parameters)
}

fn to_bus(arn: &str, message: &Message<'_>) -> Result<Request, gatemill_aws::Error> {
    let outcome = if message.succeeded { "Success" } else { "Failure" };
    let entry = json!({
        "Source": "lambda",
        "DetailType": format!("Lambda Function Invocation Result - {outcome}"),
        "Resources": [arn, message.function_arn],
        "Detail": message.body,
        "EventBusName": arn,
        "TraceHeader": message.trace_id,
    });
    Request::json_1_1("AWSEvents.PutEvents", &json!({"Entries": [entry]}))
}

fn to_bucket(bucket: &str, message: &Message<'_>) -> Result<Request, gatemill_aws::Error> {
    let function = message.function_name;
    let day = message.at.log_stream_date();
    let time = message.at.iso8601();
    let time = time.trim_end_matches('Z').replace(':', ".");
    let key = format!("aws/lambda/async/{function}/{day}/{time}-{}", message.id);
    let path = format!("/{bucket}/{}", percent::encode(key.as_bytes(), b"/"));
    Request::rest(Method::PUT, path)
        .body(message.body.to_owned())
        .header("content-type", "application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns() {
        let at = |text: &str| Destination::parse(text).map(|to| to.service());
        let function = "arn:aws:lambda:us-east-1:000000000000:function:f:live";
        assert_eq!(at(function), Some(None));
        for (arn, service) in [
            ("arn:aws:sqs:us-east-1:000000000000:q", Service::Sqs),
            ("arn:aws:sns:us-east-1:000000000000:t", Service::Sns),
            ("arn:aws:events:us-east-1:000000000000:event-bus/default", Service::Events),
            ("arn:aws:s3:::bucket", Service::S3),
        ] {
            assert_eq!(at(arn), Some(Some(service)), "{arn}");
        }
        for bad in [
            "",
            "q",
            "arn:aws:sqs:us-east-1:000000000000:",
            "arn:aws:sqs:us-east-1:000000000000:q.fifo",
            "arn:aws:sns:us-east-1:000000000000:t.fifo",
            "arn:aws:events:us-east-1:000000000000:rule/r",
            "arn:aws:s3:::bucket/key",
            "arn:aws:kinesis:us-east-1:000000000000:stream/s",
            "arn:aws:lambda:us-east-1:000000000000:layer:l",
        ] {
            assert_eq!(Destination::parse(bad), None, "{bad}");
        }
    }
}
