//! Members of requests that are not honoured, each with why. A handler refuses one with its entry here.
//!
//! A setting that is stored and not enforced would be a lie, so each is refused by name, except for the values that mean
//! "not used", which clients such as Terraform send. What can be read and left alone is not here: it would not be refused.

use gatemill_api::lambda as api;
use gatemill_wire::{Gap, gaps};

use crate::{Error, Lambda};

gaps! {
    /// Every member of a Lambda operation that is not honoured.
    pub GAPS;

    CAPACITY_PROVIDER: [api::CreateFunction] "CapacityProviderConfig", "", Refused,
        "there are no managed instances";
    PUBLISH_TO: [api::CreateFunction, api::UpdateFunctionCode, api::PublishVersion] "PublishTo", "", Refused,
        "only functions on managed instances have a $LATEST.PUBLISHED";
    LATEST_PUBLISHED: [api::CreateAlias, api::UpdateAlias] "FunctionVersion", "$LATEST.PUBLISHED", Refused,
        "only functions on managed instances have it";
    RUNTIME_CONFIG: [api::CreateFunction, api::UpdateFunctionConfiguration] "RuntimeConfig", "", Refused,
        "runtimes of customers are another service";
    ACCELERATOR: [api::CreateFunction, api::UpdateFunctionConfiguration] "AcceleratorConfig", "", Refused,
        "accelerators belong to managed instances";
    ARCHITECTURES: [api::CreateFunction, api::UpdateFunctionCode] "Architectures", "other than this host's", Refused,
        "the host runs its own instructions alone";
    IMAGE: [api::CreateFunction] "PackageType", "Image where file systems are not isolated", Refused,
        "an image needs a root of its own";

    SCALING: [api::PutFunctionScalingConfig] "FunctionScalingConfig", "", WithoutEffect,
        "every function is answered as AWS answers those that are not on managed instances";
    PAUSE_TOKEN: [api::PauseDurableExecution, api::ResumeDurableExecution] "ClientToken", "", WithoutEffect,
        "to pause or to resume twice is the same as once";

    VPC: [api::CreateFunction, api::UpdateFunctionConfiguration] "VpcConfig", "", RefusedUnlessAccepted,
        "a host has no subnets of AWS";
    FILE_SYSTEMS: [api::CreateFunction, api::UpdateFunctionConfiguration] "FileSystemConfigs", "", RefusedUnlessAccepted,
        "a host has no access points of EFS";
    S3_FILES: [api::CreateFunction, api::UpdateFunctionConfiguration] "FileSystemConfigs.S3FilesConfig", "", Refused,
        "a host has no access points of S3 Files";
    KMS_KEY: [api::CreateFunction, api::UpdateFunctionConfiguration] "KMSKeyArn", "", RefusedUnlessAccepted,
        "variables are encrypted with the server's own key, and there is no KMS";
    CREATED_SOURCE_KEY: [api::CreateFunction] "Code.SourceKMSKeyArn", "", RefusedUnlessAccepted, "there is no KMS";
    SOURCE_KEY: [api::UpdateFunctionCode] "SourceKMSKeyArn", "", RefusedUnlessAccepted, "there is no KMS";
    DURABLE_KEY: [api::CreateFunction, api::UpdateFunctionConfiguration] "DurableConfig.KMSKeyArn", "",
        RefusedUnlessAccepted, "there is no KMS";

    DURABLE_RETRIES: [api::PutFunctionEventInvokeConfig, api::UpdateFunctionEventInvokeConfig] "MaximumRetryAttempts",
        "of a durable function", Refused, "an event begins its execution at once, and that is tried again by itself";
    DURABLE_AGE: [api::PutFunctionEventInvokeConfig, api::UpdateFunctionEventInvokeConfig] "MaximumEventAgeInSeconds",
        "of a durable function", Refused, "an event begins its execution at once, and does not get old";
    KAFKA_DESTINATION: [api::PutFunctionEventInvokeConfig, api::UpdateFunctionEventInvokeConfig] "DestinationConfig",
        "to a topic of Kafka", Refused, "no client of Kafka is built";
    DESTINATION_ELSEWHERE: [api::PutFunctionEventInvokeConfig, api::UpdateFunctionEventInvokeConfig] "DestinationConfig",
        "to a service without an endpoint in the server's configuration", Refused, "nothing would ever arrive there";
    DEAD_LETTERS_ELSEWHERE: [api::CreateFunction, api::UpdateFunctionConfiguration] "DeadLetterConfig",
        "to a service without an endpoint in the server's configuration", Refused, "nothing would ever arrive there";

    MAPPING_SOURCE: [api::CreateEventSourceMapping] "EventSourceArn", "of Kafka, MQ or DocumentDB", Refused,
        "queues of SQS and streams of Kinesis and DynamoDB are built";
    MAPPING_SOURCE_ELSEWHERE: [api::CreateEventSourceMapping] "EventSourceArn",
        "of a service without an endpoint in the server's configuration", Refused, "there is nothing to read from";
    MAPPING_DESTINATION_ELSEWHERE: [api::CreateEventSourceMapping, api::UpdateEventSourceMapping] "DestinationConfig",
        "to a service without an endpoint in the server's configuration", Refused, "nothing would ever arrive there";
    MAPPING_KEY: [api::CreateEventSourceMapping, api::UpdateEventSourceMapping] "KMSKeyArn", "", RefusedUnlessAccepted,
        "there is no KMS";
    MAPPING_LOGGING: [api::CreateEventSourceMapping, api::UpdateEventSourceMapping] "LoggingConfig", "", Refused,
        "AWS has logs of mappings of Kafka alone";
    MAPPING_ACCESS: [api::CreateEventSourceMapping, api::UpdateEventSourceMapping] "SourceAccessConfigurations", "", Refused,
        "they are of Kafka, MQ and DocumentDB";
    MAPPING_MANAGED_KAFKA: [api::CreateEventSourceMapping, api::UpdateEventSourceMapping]
        "AmazonManagedKafkaEventSourceConfig", "", Refused, "no client of Kafka is built";
    MAPPING_OWN_KAFKA: [api::CreateEventSourceMapping, api::UpdateEventSourceMapping]
        "SelfManagedKafkaEventSourceConfig", "", Refused, "no client of Kafka is built";
    MAPPING_DOCUMENT_DB: [api::CreateEventSourceMapping, api::UpdateEventSourceMapping]
        "DocumentDBEventSourceConfig", "", Refused, "no client of DocumentDB is built";
    MAPPING_OWN_SOURCE: [api::CreateEventSourceMapping] "SelfManagedEventSource", "", Refused,
        "no client of Kafka is built";
    MAPPING_TOPICS: [api::CreateEventSourceMapping] "Topics", "", Refused, "no client of Kafka is built";
    MAPPING_QUEUES: [api::CreateEventSourceMapping] "Queues", "", Refused, "no client of MQ is built";
}

/// Refuses what is `used`.
pub(crate) fn refuse(gap: &'static Gap, used: bool) -> Result<(), Error> {
    if used { Err(Error::NotBuilt(gap)) } else { Ok(()) }
}

/// Refuses what is `used` unless the operator wants it taken.
pub(crate) fn take(lambda: &Lambda, gap: &'static Gap, used: bool) -> Result<(), Error> {
    refuse(gap, used && !lambda.settings.accept_unenforceable)?;
    if used {
        tracing::warn!(member = gap.member, "a setting is taken that has no effect here");
    }
    Ok(())
}
