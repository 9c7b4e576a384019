//! Where records of calls that nobody waits for are sent, and events and records of streams that failed: functions, and the
//! services that the operator configured.
//!
//! A destination is its ARN; what it can be used for, and whether this server reaches it, is decided before it is stored.
//! Each kind is an implementation of [`Destination`], and one line of `KINDS`. Sending happens with the operator's keys for
//! the service, not with the function's role.

use std::fmt;

use bytes::Bytes;
use gatemill_aws::{Client, Endpoint, Request, Service, Services};
use gatemill_wire::{Arn, RequestId, percent, routes::BoxFuture};
use http::Method;
use serde_json::json;

use crate::{
    FunctionTarget, Lambda,
    events::accept::{self, Arrival},
    limits::{ASYNC_EVENT_BYTES_MAX, EVENT_DELIVERY_ATTEMPTS_MAX},
};

/// What a destination is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Events that were handled.
    Success,
    /// Events that were not.
    Failure,
    /// The events themselves, as a function's dead-letter queue.
    DeadLetter,
    /// Records of streams that are given up.
    GivenUp,
}

/// What is sent.
#[derive(Debug)]
pub struct Message<'a> {
    /// JSON text.
    pub body: &'a str,
    /// Attributes of queue and topic messages: name, type, value.
    pub attributes: &'a [(&'a str, &'a str, &'a str)],
    /// The trace of the call, where there was one.
    pub trace_id: Option<&'a str>,
    /// For buses: whether it is about a success, and the function's ARN with its qualifier.
    pub succeeded: bool,
    /// See `succeeded`.
    pub function_arn: &'a str,
    /// For buckets.
    pub object: Object<'a>,
}

/// A message as an object.
#[derive(Debug)]
pub struct Object<'a> {
    /// Where it is put in its bucket.
    pub key: String,
    /// JSON text, where it is more than the message's.
    pub body: Option<&'a str>,
}

/// How destinations are reached from here.
#[derive(Debug, Clone, Copy)]
pub struct Reach<'a> {
    functions: Option<&'a Lambda>,
    services: Option<&'a Client>,
}

impl<'a> Reach<'a> {
    /// Functions of this server, and the services that the operator configured.
    pub(crate) fn all(lambda: &'a Lambda) -> Self {
        Self { functions: Some(lambda), services: lambda.services.get().map(AsRef::as_ref) }
    }

    /// The configured services alone.
    pub fn services(client: &'a Client) -> Self {
        Self { functions: None, services: Some(client) }
    }
}

/// Why a message did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum Undelivered {
    /// The service was not reached, or refused it.
    #[error(transparent)]
    Service(#[from] gatemill_aws::Error),
    /// The function did not take it.
    #[error("{0}")]
    Function(String),
    /// Nothing of the kind is reached from here.
    #[error("nothing of its kind is reached from here")]
    OutOfReach,
}

/// A message on its way.
pub type Sending<'a> = BoxFuture<'a, Result<(), Undelivered>>;

/// A kind of target, with its name.
pub trait Destination: fmt::Debug + Send + Sync {
    /// The service that has it; functions are ours.
    fn service(&self) -> Option<Service>;

    /// What AWS lets it be used for.
    fn serves(&self, purpose: Purpose) -> bool;

    /// The function that it is, if it is one.
    fn function(&self) -> Option<&FunctionTarget> {
        None
    }

    /// Sends a message; the answer comes when the target has it.
    fn send<'a>(&'a self, reach: Reach<'a>, message: &'a Message<'a>) -> Sending<'a>;
}

/// Reads what an ARN names.
type Reader = fn(&Arn) -> Option<Box<dyn Destination>>;

/// Every kind, by the service of its ARNs.
const KINDS: [(&str, Reader); 5] = [
    ("lambda", Function::read),
    ("sqs", Queue::read),
    ("sns", Topic::read),
    ("events", Bus::read),
    ("s3", Bucket::read),
];

/// Reads an ARN; `None` for what cannot be a destination.
pub fn parse(text: &str) -> Option<Box<dyn Destination>> {
    let arn: Arn = text.parse().ok()?;
    let (_, read) = KINDS.iter().find(|(service, _)| *service == arn.service)?;
    if arn.resource.is_empty() { None } else { read(&arn) }
}

/// Which service a destination needs that is not configured.
pub fn missing(destination: &dyn Destination, services: Option<&Services>) -> Option<Service> {
    destination.service().filter(|service| !services.is_some_and(|all| all.has(*service)))
}

/// A function of this server.
#[derive(Debug)]
struct Function(FunctionTarget);

impl Function {
    fn read(arn: &Arn) -> Option<Box<dyn Destination>> {
        Some(Box::new(Self(FunctionTarget::from_arn(&arn.to_string())?)))
    }
}

impl Destination for Function {
    fn service(&self) -> Option<Service> {
        None
    }

    fn serves(&self, purpose: Purpose) -> bool {
        matches!(purpose, Purpose::Success | Purpose::Failure)
    }

    fn function(&self) -> Option<&FunctionTarget> {
        Some(&self.0)
    }

    fn send<'a>(&'a self, reach: Reach<'a>, message: &'a Message<'a>) -> Sending<'a> {
        Box::pin(async move {
            let lambda = reach.functions.ok_or(Undelivered::OutOfReach)?;
            let arrival = Arrival {
                target: self.0.clone(),
                payload: Bytes::copy_from_slice(message.body.as_bytes()),
                payload_max: ASYNC_EVENT_BYTES_MAX,
                request_id: RequestId(lambda.entropy.uuid()),
                trace_id: message.trace_id.map(str::to_owned),
                client_context: None,
                tenant_id: None,
                execution_name: None,
                now: lambda.clock.now(),
            };
            let accepted = accept::accept(lambda, arrival).await;
            accepted.map(drop).map_err(|error| Undelivered::Function(error.chain()))
        })
    }
}

/// Calls the service of a destination.
async fn call(
    reach: Reach<'_>,
    (service, region): (Service, &str),
    request: impl FnOnce(&Endpoint) -> Result<Request, gatemill_aws::Error>,
) -> Result<gatemill_aws::Answer, Undelivered> {
    let client = reach.services.ok_or(Undelivered::OutOfReach)?;
    // The ARN of a bucket has no region.
    let endpoint = client.endpoint(service, Some(region).filter(|region| !region.is_empty()))?;
    let request = request(&endpoint)?.attempts(EVENT_DELIVERY_ATTEMPTS_MAX);
    Ok(client.call(&endpoint, request).await?)
}

/// A queue of an SQS-compatible service. Those that keep an order are not supported by AWS either.
#[derive(Debug)]
struct Queue(Arn);

impl Queue {
    fn read(arn: &Arn) -> Option<Box<dyn Destination>> {
        (!arn.resource.ends_with(".fifo")).then(|| Box::new(Self(arn.clone())) as _)
    }
}

impl Destination for Queue {
    fn service(&self) -> Option<Service> {
        Some(Service::Sqs)
    }

    fn serves(&self, _: Purpose) -> bool {
        true
    }

    fn send<'a>(&'a self, reach: Reach<'a>, message: &'a Message<'a>) -> Sending<'a> {
        Box::pin(async move {
            let Arn { account, resource, region, .. } = &self.0;
            let sent = call(reach, (Service::Sqs, region), |endpoint| {
                to_queue(&endpoint.url(&format!("/{account}/{resource}")), message)
            });
            sent.await.map(drop)
        })
    }
}

/// A topic of an SNS-compatible service. Those that keep an order are not supported by AWS either.
#[derive(Debug)]
struct Topic(Arn);

impl Topic {
    fn read(arn: &Arn) -> Option<Box<dyn Destination>> {
        (!arn.resource.ends_with(".fifo")).then(|| Box::new(Self(arn.clone())) as _)
    }
}

impl Destination for Topic {
    fn service(&self) -> Option<Service> {
        Some(Service::Sns)
    }

    fn serves(&self, _: Purpose) -> bool {
        true
    }

    fn send<'a>(&'a self, reach: Reach<'a>, message: &'a Message<'a>) -> Sending<'a> {
        Box::pin(async move {
            let arn = self.0.to_string();
            let at = (Service::Sns, self.0.region.as_str());
            call(reach, at, |_| to_topic(&arn, message)).await.map(drop)
        })
    }
}

/// A bus of an EventBridge-compatible service.
#[derive(Debug)]
struct Bus(Arn);

impl Bus {
    fn read(arn: &Arn) -> Option<Box<dyn Destination>> {
        arn.resource.starts_with("event-bus/").then(|| Box::new(Self(arn.clone())) as _)
    }
}

impl Destination for Bus {
    fn service(&self) -> Option<Service> {
        Some(Service::Events)
    }

    fn serves(&self, purpose: Purpose) -> bool {
        matches!(purpose, Purpose::Success | Purpose::Failure)
    }

    fn send<'a>(&'a self, reach: Reach<'a>, message: &'a Message<'a>) -> Sending<'a> {
        Box::pin(async move {
            let arn = self.0.to_string();
            let at = (Service::Events, self.0.region.as_str());
            let answer = call(reach, at, |_| to_bus(&arn, message)).await?;
            // A bus answers 200 for entries that it refused.
            let said: serde_json::Value = answer.json()?;
            match said["FailedEntryCount"].as_u64() {
                None | Some(0) => Ok(()),
                Some(_) => Err(gatemill_aws::Error::Unreadable(said["Entries"].to_string()).into()),
            }
        })
    }
}

/// A bucket of an S3-compatible service.
#[derive(Debug)]
struct Bucket(Arn);

impl Bucket {
    fn read(arn: &Arn) -> Option<Box<dyn Destination>> {
        (!arn.resource.contains('/')).then(|| Box::new(Self(arn.clone())) as _)
    }
}

impl Destination for Bucket {
    fn service(&self) -> Option<Service> {
        Some(Service::S3)
    }

    fn serves(&self, purpose: Purpose) -> bool {
        matches!(purpose, Purpose::Failure | Purpose::GivenUp)
    }

    fn send<'a>(&'a self, reach: Reach<'a>, message: &'a Message<'a>) -> Sending<'a> {
        Box::pin(async move {
            let Arn { resource, region, .. } = &self.0;
            call(reach, (Service::S3, region), |_| to_bucket(resource, message)).await.map(drop)
        })
    }
}

fn to_queue(url: &str, message: &Message<'_>) -> Result<Request, gatemill_aws::Error> {
    let attributes = message.attributes.iter().map(|(name, kind, value)| {
        ((*name).to_owned(), json!({"DataType": kind, "StringValue": value}))
    });
    let attributes: serde_json::Map<_, _> = attributes.collect();
    let mut body = json!({"QueueUrl": url, "MessageBody": message.body});
    if let Some(trace_id) = message.trace_id {
        let trace = json!({"DataType": "String", "StringValue": trace_id});
        body["MessageSystemAttributes"] = json!({"AWSTraceHeader": trace});
    }
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
    let mut entry = json!({
        "Source": "lambda",
        "DetailType": format!("Lambda Function Invocation Result - {outcome}"),
        "Resources": [arn, message.function_arn],
        "Detail": message.body,
        "EventBusName": arn,
    });
    if let Some(trace_id) = message.trace_id {
        entry["TraceHeader"] = trace_id.into();
    }
    Request::json_1_1("AWSEvents.PutEvents", &json!({"Entries": [entry]}))
}

fn to_bucket(bucket: &str, message: &Message<'_>) -> Result<Request, gatemill_aws::Error> {
    let Object { key, body } = &message.object;
    let path = format!("/{bucket}/{}", percent::encode(key.as_bytes(), b"/"));
    Request::rest(Method::PUT, path)
        .body(body.unwrap_or(message.body).to_owned())
        .header("content-type", "application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns() {
        let at = |text: &str| parse(text).map(|to| to.service());
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
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
