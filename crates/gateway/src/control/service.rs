//! What `integrationSubtype` and `credentialsArn` say of an integration, and its checks.

use gatemill_aws::Services;
use gatemill_wire::Arn;

use crate::{
    control::gaps,
    error::{Error, Result},
    record::{IntegrationKind, IntegrationRecord, PayloadFormat, ServiceIntegration},
    service::{ServiceTarget, action},
};

/// The action that an integration is, given what it was.
pub(super) fn given(
    before: Option<ServiceIntegration>,
    subtype: Option<&str>,
    credentials: Option<&str>,
) -> Result<Option<ServiceIntegration>> {
    let text = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    let (before_subtype, before_credentials) =
        before.map(|before| (before.subtype, before.credentials)).unzip();
    let subtype = text(subtype).or(before_subtype);
    let credentials = text(credentials).or(before_credentials);
    match (subtype, credentials) {
        (Some(subtype), Some(credentials)) => Ok(Some(ServiceIntegration { subtype, credentials })),
        (Some(_), None) => Err(Error::invalid(
            "CredentialsArn is a required parameter for integrations with an IntegrationSubtype",
        )),
        // Functions say by their own policies who may invoke them.
        (None, Some(_)) => Err(Error::NotBuilt(&gaps::CREDENTIALS)),
        (None, None) => Ok(None),
    }
}

/// What holds for an integration with a service as a whole.
pub(super) fn check(
    integration: &IntegrationRecord,
    account: &str,
    services: Option<&Services>,
) -> Result<()> {
    let Some(ServiceIntegration { subtype, credentials }) = &integration.service else {
        return Ok(());
    };
    if integration.kind != IntegrationKind::AwsProxy {
        return Err(Error::invalid(
            "IntegrationSubtype is supported for integrations of type AWS_PROXY only",
        ));
    }
    if integration.payload_format != PayloadFormat::V1 {
        return Err(Error::invalid(
            "PayloadFormatVersion 1.0 is the only supported value for integrations with an IntegrationSubtype",
        ));
    }
    if !integration.uri.is_empty() || integration.vpc_link.is_some() {
        return Err(Error::invalid(
            "IntegrationUri and ConnectionId are not supported for integrations with an IntegrationSubtype",
        ));
    }
    ServiceTarget::read(subtype, &integration.request_parameters)
        .map_err(|wrong| Error::invalid(wrong.to_string()))?;
    check_role(credentials, account)?;
    let service = action(subtype).map(|action| action.service());
    match service {
        Some(service) if !services.is_some_and(|services| services.has(service)) => {
            Err(Error::NotConfigured {
                gap: &gaps::SERVICE_ELSEWHERE,
                missing: format!(
                    "This server has no endpoint for {service}: its configuration file has no table services.{service}."
                ),
            })
        }
        Some(_) | None => Ok(()),
    }
}

/// A role of the caller's account. Calls are signed with the operator's keys, which a caller cannot choose.
fn check_role(text: &str, account: &str) -> Result<()> {
    if text == "arn:aws:iam::*:user/*" {
        return Err(Error::NotBuilt(&gaps::CLIENT_CREDENTIALS));
    }
    let arn = text.parse::<Arn>().ok().filter(|arn| {
        arn.service == "iam" && arn.account == account && arn.resource.starts_with("role/")
    });
    arn.map(|_| ()).ok_or_else(|| Error::invalid("Invalid ARN specified in the request"))
}
