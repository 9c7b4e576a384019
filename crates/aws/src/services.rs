//! Which services are configured, and where each is for a region.

use std::{collections::BTreeMap, fmt};

use http::Uri;
use serde::{Deserialize, Serialize};

use crate::Error;

/// The services that Gatemill calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// Amazon SQS.
    Sqs,
    /// Amazon SNS.
    Sns,
    /// Amazon S3.
    S3,
    /// Amazon EventBridge.
    Events,
    /// Amazon DynamoDB.
    Dynamodb,
    /// Amazon DynamoDB Streams.
    DynamodbStreams,
    /// Amazon Kinesis Data Streams.
    Kinesis,
    /// AWS Step Functions.
    States,
    /// AWS AppConfig.
    Appconfig,
}

impl Service {
    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqs => "sqs",
            Self::Sns => "sns",
            Self::S3 => "s3",
            Self::Events => "events",
            Self::Dynamodb => "dynamodb",
            Self::DynamodbStreams => "dynamodb-streams",
            Self::Kinesis => "kinesis",
            Self::States => "states",
            Self::Appconfig => "appconfig",
        }
    }

    /// Its name in the scope of a signature.
    pub fn signing_name(self) -> &'static str {
        match self {
            Self::Dynamodb | Self::DynamodbStreams => "dynamodb",
            Self::Sqs
            | Self::Sns
            | Self::S3
            | Self::Events
            | Self::Kinesis
            | Self::States
            | Self::Appconfig => self.name(),
        }
    }

    /// The host of the service at AWS.
    fn aws_host(self, region: &str) -> String {
        let prefix = match self {
            Self::DynamodbStreams => "streams.dynamodb",
            _ => self.name(),
        };
        let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        format!("{prefix}.{region}.{suffix}")
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A key that requests are signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The key's id.
    pub access_key_id: String,
    /// The key.
    pub secret_access_key: String,
    /// The token of temporary credentials.
    pub session_token: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

/// What is configured of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSettings {
    /// Scheme, host and port, perhaps with a path that all requests begin with. `None` is AWS itself.
    pub endpoint: Option<Uri>,
    /// The region that requests are signed for, whatever the ARN of the resource says.
    pub region: Option<String>,
    /// What requests are signed with.
    pub credentials: Credentials,
}

/// The services that the operator configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Services {
    /// What is configured, by service.
    pub by_service: BTreeMap<Service, ServiceSettings>,
    /// The region of resources whose names have none, such as buckets.
    pub default_region: String,
}

/// Where a service is, for resources of one region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Which service.
    pub service: Service,
    /// The region of the signature.
    pub region: String,
    pub(crate) base: String,
    pub(crate) credentials: Credentials,
}

impl Services {
    /// Whether the operator said where the service is.
    pub fn has(&self, service: Service) -> bool {
        self.by_service.contains_key(&service)
    }

    /// Where a service is for a resource of this region, or of none.
    ///
    /// # Errors
    /// [`Error::NotConfigured`].
    pub fn endpoint(&self, service: Service, region: Option<&str>) -> Result<Endpoint, Error> {
        let settings = self.by_service.get(&service).ok_or(Error::NotConfigured(service))?;
        let region = settings.region.as_deref().or(region.filter(|region| !region.is_empty()));
        let region = region.unwrap_or(&self.default_region).to_owned();
        let base = match &settings.endpoint {
            Some(uri) => uri.to_string().trim_end_matches('/').to_owned(),
            None => format!("https://{}", service.aws_host(&region)),
        };
        Ok(Endpoint { service, region, base, credentials: settings.credentials.clone() })
    }
}

impl Endpoint {
    /// The endpoint whose host at AWS begins so, such as `sync-` for synchronous executions. A server that the operator
    /// named has one host for all.
    #[must_use]
    pub fn host_prefixed(mut self, prefix: &str) -> Self {
        let own = format!("https://{}", self.service.aws_host(&self.region));
        if self.base == own {
            self.base = format!("https://{prefix}{}", self.service.aws_host(&self.region));
        }
        self
    }

    /// The URL of a path there; the path begins with a slash and is percent-encoded.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(endpoint: Option<&'static str>, region: Option<&str>) -> ServiceSettings {
        ServiceSettings {
            endpoint: endpoint.map(Uri::from_static),
            region: region.map(str::to_owned),
            credentials: Credentials {
                access_key_id: "AKID".to_owned(),
                secret_access_key: "hidden".to_owned(),
                session_token: None,
            },
        }
    }

    #[test]
    fn where_a_service_is() {
        let services = Services {
            by_service: BTreeMap::from([
                (Service::Sqs, settings(Some("http://127.0.0.1:9324/"), None)),
                (Service::S3, settings(Some("http://127.0.0.1:9000"), Some("us-east-1"))),
                (Service::DynamodbStreams, settings(None, None)),
                (Service::Kinesis, settings(None, None)),
            ]),
            default_region: "eu-west-1".to_owned(),
        };
        let at = |service, region| {
            let endpoint = services.endpoint(service, region).unwrap();
            (endpoint.url("/a"), endpoint.region)
        };
        let is = |url: &str, region: &str| (url.to_owned(), region.to_owned());
        assert_eq!(at(Service::Sqs, Some("x-1")), is("http://127.0.0.1:9324/a", "x-1"));
        assert_eq!(at(Service::Sqs, None), is("http://127.0.0.1:9324/a", "eu-west-1"));
        assert_eq!(at(Service::S3, Some("x-1")), is("http://127.0.0.1:9000/a", "us-east-1"));
        let streams = is("https://streams.dynamodb.us-west-2.amazonaws.com/a", "us-west-2");
        assert_eq!(at(Service::DynamodbStreams, Some("us-west-2")), streams);
        let china = is("https://kinesis.cn-north-1.amazonaws.com.cn/a", "cn-north-1");
        assert_eq!(at(Service::Kinesis, Some("cn-north-1")), china);
        let missing = services.endpoint(Service::Sns, None).unwrap_err();
        assert_eq!(missing, Error::NotConfigured(Service::Sns));
        assert!(!format!("{services:?}").contains("hidden"));
    }
}
