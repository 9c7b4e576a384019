//! The sources and destinations that are reached through AWS's protocols.

use std::sync::Arc;

use gatemill_aws::{Client, Error as AwsError, Request, Service as AwsService};
use gatemill_lambda::mapping::{EventSources, Service, SourceArn, SourceFacts, SourceProblem};
use gatemill_wire::{Arn, percent, routes::BoxFuture};
use http::Method;
use serde_json::json;

use crate::{
    FailureMessage, Source, SourceError, Sources,
    dynamodb::TableStream,
    kinesis::Stream,
    sqs::{Queue, queue_url},
};

/// Queues and streams at the endpoints that the operator configured.
#[derive(Debug, Clone)]
pub struct AwsSources(Arc<Client>);

/// The service of AWS's client for one of an event source.
fn service_of(source: &SourceArn) -> AwsService {
    match source.service {
        Service::Sqs => AwsService::Sqs,
        Service::Kinesis => AwsService::Kinesis,
        Service::DynamoDb => AwsService::DynamodbStreams,
    }
}

impl AwsSources {
    /// Through this client.
    pub fn new(client: Arc<Client>) -> Self {
        Self(client)
    }

    async fn send(&self, arn: &Arn, message: &FailureMessage) -> Result<(), AwsError> {
        let region = Some(arn.region.as_str());
        match arn.service.as_str() {
            "sqs" => {
                let endpoint = self.0.endpoint(AwsService::Sqs, region)?;
                let url = queue_url(&self.0, &endpoint, &arn.account, &arn.resource).await?;
                let body = json!({ "QueueUrl": url, "MessageBody": message.body });
                self.0.call(&endpoint, Request::json("AmazonSQS.SendMessage", &body)?).await?;
            }
            "sns" => {
                let endpoint = self.0.endpoint(AwsService::Sns, region)?;
                let topic = arn.to_string();
                let parameters = [("TopicArn", topic.as_str()), ("Message", &message.body)];
                let request = Request::query("Publish", "2010-03-31", &parameters)?;
                self.0.call(&endpoint, request).await?;
            }
            _ => {
                let endpoint = self.0.endpoint(AwsService::S3, None)?;
                let bucket = percent::encode(arn.resource.as_bytes(), b"");
                let key = percent::encode(message.key.as_bytes(), b"/");
                let request = Request::rest(Method::PUT, format!("/{bucket}/{key}"))
                    .body(message.with_payload.clone())
                    .header("content-type", "application/json")?;
                self.0.call(&endpoint, request).await?;
            }
        }
        Ok(())
    }
}

impl Sources for AwsSources {
    fn open(&self, source: &SourceArn, role: &str) -> Result<Arc<dyn Source>, SourceError> {
        let client = Arc::clone(&self.0);
        let endpoint = client.endpoint(service_of(source), Some(&source.region))?;
        Ok(match source.service {
            Service::Sqs => Arc::new(Queue::new(client, endpoint, source)),
            Service::Kinesis => Arc::new(Stream::new(client, endpoint, source, role)),
            Service::DynamoDb => Arc::new(TableStream::new(client, endpoint, source)),
        })
    }

    fn give_up<'a>(
        &'a self,
        destination: &'a str,
        message: &'a FailureMessage,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async move {
            let arn = destination.parse();
            let arn = arn.map_err(|_| SourceError::Refused("it is no ARN".to_owned()))?;
            Ok(self.send(&arn, message).await?)
        })
    }
}

/// What has to be set for a service.
fn not_configured(service: AwsService) -> SourceProblem {
    SourceProblem::NotConfigured(format!(
        "No endpoint of {service} is configured. Set it in the configuration of the server to use its resources with \
         event source mappings."
    ))
}

impl EventSources for AwsSources {
    fn check<'a>(
        &'a self,
        source: &'a SourceArn,
    ) -> BoxFuture<'a, Result<SourceFacts, SourceProblem>> {
        Box::pin(async move {
            let service = service_of(source);
            if !self.0.services().has(service) {
                return Err(not_configured(service));
            }
            let opened = self.open(source, "").map_err(|error| problem(source, &error))?;
            let checked = match source.service {
                Service::Sqs => opened.hidden_for().await.map(|hidden| SourceFacts {
                    visibility_timeout_s: u32::try_from(hidden.as_secs()).ok(),
                }),
                Service::Kinesis | Service::DynamoDb => {
                    opened.shards().await.map(|_| SourceFacts::default())
                }
            };
            checked.map_err(|error| problem(source, &error))
        })
    }

    fn check_destination(&self, arn: &Arn) -> Result<(), SourceProblem> {
        let service = match arn.service.as_str() {
            "sqs" if !arn.resource.ends_with(".fifo") => AwsService::Sqs,
            "sns" if !arn.resource.ends_with(".fifo") => AwsService::Sns,
            "s3" => AwsService::S3,
            _ => {
                let text = format!("The destination ARN {arn} is invalid.");
                return Err(SourceProblem::Refused(text));
            }
        };
        if self.0.services().has(service) { Ok(()) } else { Err(not_configured(service)) }
    }
}

/// In AWS's words where they are recorded.
fn problem(source: &SourceArn, error: &SourceError) -> SourceProblem {
    match (error, source.service) {
        (SourceError::Missing, Service::Sqs) => SourceProblem::Refused(
            "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. SQS Error \
             Message: The specified queue does not exist."
                .to_owned(),
        ),
        (SourceError::Missing, Service::Kinesis | Service::DynamoDb) => {
            SourceProblem::Refused(format!("Stream not found: {}", source.text))
        }
        (SourceError::Refused(text), Service::Sqs) => SourceProblem::Refused(format!(
            "Error occurred while ReceiveMessage. SQS Error: {text}"
        )),
        (SourceError::Refused(text), _) => {
            SourceProblem::Refused(format!("Error occurred while reading {}: {text}", source.text))
        }
        (error, _) => SourceProblem::Unreachable(error.to_string()),
    }
}
