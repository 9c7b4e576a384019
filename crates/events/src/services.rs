//! The sources and destinations that are reached through AWS's protocols.

use std::sync::Arc;

use gatemill_aws::{Client, Service as AwsService};
use gatemill_lambda::{
    destination::{self, Message, Object, Purpose, Reach, Undelivered},
    mapping::{EventSources, Service, SourceArn, SourceFacts, SourceProblem},
};
use gatemill_wire::{Arn, routes::BoxFuture};

use crate::{
    FailureMessage, Source, SourceError, Sources, dynamodb::TableStream, fan_out::Consumer,
    kinesis::Stream, sqs::Queue,
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
}

impl Sources for AwsSources {
    fn open(&self, source: &SourceArn, role: &str) -> Result<Arc<dyn Source>, SourceError> {
        let client = Arc::clone(&self.0);
        let endpoint = client.endpoint(service_of(source), Some(&source.region))?;
        Ok(match source.service {
            Service::Sqs => Arc::new(Queue::new(client, endpoint, source)),
            Service::Kinesis if source.is_consumer => {
                Arc::new(Consumer::new(client, endpoint, source, role))
            }
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
            let to = destination::parse(destination)
                .ok_or_else(|| SourceError::Refused("it is no destination".to_owned()))?;
            let message = Message {
                body: &message.body,
                attributes: &[],
                trace_id: None,
                succeeded: false,
                function_arn: "",
                object: Object { key: message.key.clone(), body: Some(&message.with_payload) },
            };
            to.send(Reach::services(&self.0), &message).await.map_err(|undelivered| {
                match undelivered {
                    Undelivered::Service(error) => error.into(),
                    other => SourceError::Refused(other.to_string()),
                }
            })
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
                    opened.find().await.map(|()| SourceFacts::default())
                }
            };
            checked.map_err(|error| problem(source, &error))
        })
    }

    fn check_destination(&self, arn: &Arn) -> Result<(), SourceProblem> {
        let found = destination::parse(&arn.to_string()).filter(|it| it.serves(Purpose::GivenUp));
        let Some(found) = found else {
            return Err(SourceProblem::Refused(format!("The destination ARN {arn} is invalid.")));
        };
        destination::missing(found.as_ref(), Some(self.0.services()))
            .map_or(Ok(()), |service| Err(not_configured(service)))
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
        (SourceError::Missing, Service::Kinesis) if source.is_consumer => {
            SourceProblem::Refused(format!("Stream consumer not found: {}", source.text))
        }
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
