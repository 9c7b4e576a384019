//! The AWS-compatible services that functions are fed from and answer to: tables of the configuration file.
//!
//! ```toml
//! [services.sqs]
//! endpoint = "http://127.0.0.1:9324"   # without it: Amazon SQS itself, in the region of each queue
//! access-key-id = "…"                  # without it: AWS_ACCESS_KEY_ID and its like in the environment
//! secret-access-key = "…"
//! ```
//!
//! They stand in the file alone: a secret among flags could be read by every user of the machine. A service without a
//! table is not called.

use std::{collections::BTreeMap, sync::Arc};

use gatemill_aws::{Client, Credentials, Service, ServiceSettings, Services};
use gatemill_wire::{Clock, Entropy};
use http::Uri;
use serde::{Deserialize, Serialize, Serializer};

use crate::error::Error;

/// One table, as it is written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct ServiceTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) access_key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) secret_access_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session_token: Option<String>,
}

/// The tables of a file, by service.
pub(crate) type ServiceTables = BTreeMap<Service, ServiceTable>;

/// Checks the tables and fills in what they leave open, out of an environment.
///
/// # Errors
/// One sentence about the first that cannot hold.
pub(crate) fn resolve(
    tables: Option<ServiceTables>,
    default_region: &str,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Services, Error> {
    let mut by_service = BTreeMap::new();
    for (service, table) in tables.unwrap_or_default() {
        let endpoint = table.endpoint.as_deref().map(endpoint).transpose()?;
        let credentials = match (table.access_key_id, table.secret_access_key) {
            (Some(access_key_id), Some(secret_access_key)) => {
                Credentials { access_key_id, secret_access_key, session_token: table.session_token }
            }
            (None, None) => from_environment(&environment).ok_or_else(|| {
                let rule = "there is no access-key-id with a secret-access-key, and the environment has no \
                            AWS_ACCESS_KEY_ID with an AWS_SECRET_ACCESS_KEY";
                wrong(rule, service.name())
            })?,
            (Some(_), None) | (None, Some(_)) => {
                let rule = "access-key-id and secret-access-key stand together";
                return Err(wrong(rule, service.name()));
            }
        };
        by_service.insert(service, ServiceSettings { endpoint, region: table.region, credentials });
    }
    Ok(Services { by_service, default_region: default_region.to_owned() })
}

fn endpoint(text: &str) -> Result<Uri, Error> {
    let uri = text.parse::<Uri>().ok().filter(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
            && uri.query().is_none()
    });
    uri.ok_or_else(|| wrong("an endpoint is a URL like http://127.0.0.1:9324", text))
}

fn from_environment(environment: &impl Fn(&str) -> Option<String>) -> Option<Credentials> {
    let variable = |name: &str| environment(name).filter(|value| !value.is_empty());
    Some(Credentials {
        access_key_id: variable("AWS_ACCESS_KEY_ID")?,
        secret_access_key: variable("AWS_SECRET_ACCESS_KEY")?,
        session_token: variable("AWS_SESSION_TOKEN"),
    })
}

fn wrong(rule: &str, value: &str) -> Error {
    Error::Setting { setting: "services", rule: rule.to_owned(), value: value.to_owned() }
}

/// The client of the configured services.
///
/// # Errors
/// When TLS cannot be set up.
pub(crate) fn client(
    services: &Services,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> Result<Arc<Client>, Error> {
    let client = Client::new(services.clone(), Arc::clone(clock), Arc::clone(entropy));
    client.map(Arc::new).map_err(|source| Error::Services { source })
}

/// The tables again, for reading, without what nobody should read.
pub(crate) fn without_secrets<S: Serializer>(
    services: &Services,
    to: S,
) -> Result<S::Ok, S::Error> {
    let table = |settings: &ServiceSettings| ServiceTable {
        endpoint: settings.endpoint.as_ref().map(ToString::to_string),
        region: settings.region.clone(),
        access_key_id: Some(settings.credentials.access_key_id.clone()),
        ..ServiceTable::default()
    };
    to.collect_map(services.by_service.iter().map(|(name, settings)| (name, table(settings))))
}

/// Whether there is nothing to print.
pub(crate) fn is_none(services: &Services) -> bool {
    services.by_service.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(text: &str) -> Option<ServiceTables> {
        Some(toml::from_str(text).unwrap())
    }

    #[test]
    fn keys_come_from_the_table_or_the_environment() {
        let text = "[sqs]\nendpoint = \"http://127.0.0.1:9324/\"\naccess-key-id = \"A\"\nsecret-access-key = \"s\"\n\
                    [dynamodb-streams]\nregion = \"eu-west-1\"\n";
        let environment = |name: &str| Some(format!("the {name}"));
        let services = resolve(tables(text), "us-east-1", environment).unwrap();
        assert_eq!(services.by_service[&Service::Sqs].credentials.access_key_id, "A");
        let streams = &services.by_service[&Service::DynamodbStreams];
        assert_eq!(streams.credentials.access_key_id, "the AWS_ACCESS_KEY_ID");
        assert_eq!(streams.credentials.session_token.as_deref(), Some("the AWS_SESSION_TOKEN"));
        assert_eq!(
            (streams.endpoint.is_none(), streams.region.as_deref()),
            (true, Some("eu-west-1"))
        );
    }

    #[test]
    fn each_rule_says_what_it_wants() {
        for (text, expected) in [
            ("[sqs]", "AWS_SECRET_ACCESS_KEY"),
            ("[sqs]\naccess-key-id = \"A\"", "stand together"),
            ("[s3]\nendpoint = \"127.0.0.1:9000\"", "http://"),
            ("[s3]\nendpoint = \"http://a:b@c\"", "http://"),
            ("[s3]\nendpoint = \"ftp://c\"", "http://"),
        ] {
            let error = resolve(tables(text), "us-east-1", |_| None).unwrap_err().to_string();
            assert!(error.contains(expected), "{error} does not say {expected}");
        }
        assert!(toml::from_str::<ServiceTables>("[sqx]").is_err());
        assert!(toml::from_str::<ServiceTables>("[sqs]\nendpiont = \"\"").is_err());
    }
}
