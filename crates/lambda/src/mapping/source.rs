//! Event sources: which there are, and who knows whether one exists.

use gatemill_wire::{Arn, routes::BoxFuture};

/// The services whose resources are event sources here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// A queue of SQS.
    Sqs,
    /// A stream of Kinesis.
    Kinesis,
    /// A stream of a table of DynamoDB.
    DynamoDb,
}

/// The ARN of an event source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceArn {
    /// The whole.
    pub text: String,
    /// The service.
    pub service: Service,
    /// Its region.
    pub region: String,
    /// Its account.
    pub account: String,
    /// The name of the queue or stream; of a DynamoDB stream, of the table.
    pub name: String,
    /// Whether it is a consumer of a stream of Kinesis, to which records are pushed.
    pub is_consumer: bool,
}

impl SourceArn {
    /// Reads the ARN of a queue, a stream, a stream's consumer or a table's stream; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let arn: Arn = text.parse().ok()?;
        let mut consumer = None;
        let (service, name) = match arn.service.as_str() {
            "sqs" => (Service::Sqs, arn.resource.as_str()),
            "kinesis" => {
                let stream = arn.resource.strip_prefix("stream/")?;
                let (stream, of) = match stream.split_once("/consumer/") {
                    Some((stream, consumer)) => (stream, Some(consumer)),
                    None => (stream, None),
                };
                consumer = of;
                (Service::Kinesis, stream)
            }
            "dynamodb" => {
                let (table, label) = arn.resource.strip_prefix("table/")?.split_once("/stream/")?;
                (Service::DynamoDb, Some(table).filter(|_| !label.is_empty())?)
            }
            _ => return None,
        };
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        // `stream/s/consumer/c:1795379214`: with the time when it was registered, which not every server has.
        let is_whole = consumer.is_none_or(|consumer| {
            let (name, at) = consumer.split_once(':').unwrap_or((consumer, "0"));
            !name.is_empty() && name.bytes().all(legal) && at.parse::<u64>().is_ok()
        });
        if name.is_empty()
            || !is_whole
            || !name.bytes().all(legal)
            || !gatemill_wire::arn::is_account(&arn.account)
        {
            return None;
        }
        let (name, is_consumer) = (name.to_owned(), consumer.is_some());
        let Arn { region, account, .. } = arn;
        Some(Self { text: text.to_owned(), service, region, account, name, is_consumer })
    }

    /// Whether it is a queue that keeps the order of its groups.
    pub fn is_fifo(&self) -> bool {
        self.service == Service::Sqs && self.name.ends_with(".fifo")
    }

    /// Whether it is a stream.
    pub fn is_stream(&self) -> bool {
        self.service != Service::Sqs
    }
}

/// What is known of a source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SourceFacts {
    /// How long a received message is hidden, of queues.
    pub visibility_timeout_s: Option<u32>,
}

/// Why a source cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceProblem {
    /// The server was not told where the service is. Says what has to be set.
    #[error("{0}")]
    NotConfigured(String),
    /// The service says no, or that there is no such thing. In AWS's words for the client.
    #[error("{0}")]
    Refused(String),
    /// The service does not answer. For the log.
    #[error("{0}")]
    Unreachable(String),
}

/// Who knows event sources and destinations.
pub trait EventSources: Send + Sync {
    /// Looks whether a source exists and may be read.
    fn check<'a>(
        &'a self,
        source: &'a SourceArn,
    ) -> BoxFuture<'a, Result<SourceFacts, SourceProblem>>;

    /// Looks whether records that are given up can be sent to this ARN.
    ///
    /// # Errors
    /// Why they cannot.
    fn check_destination(&self, arn: &Arn) -> Result<(), SourceProblem>;
}
