//! What authorizers of WebSocket APIs have of their own: functions alone, and identity sources in the form of those APIs.

use crate::{
    error::{Error, Result},
    record::{AuthorizerKind, AuthorizerRecord, PayloadFormat},
};

/// What may be an identity source: `route.request.header.name` and its like.
pub(crate) fn is_identity_source(text: &str) -> bool {
    ["route.request.header.", "route.request.querystring.", "context.", "stageVariables."]
        .iter()
        .any(|root| text.strip_prefix(root).is_some_and(|name| !name.is_empty()))
}

/// What holds for an authorizer because of its API's protocol.
pub(crate) fn check(is_websocket: bool, authorizer: &AuthorizerRecord) -> Result<()> {
    let wrong = authorizer.identity_source.iter().find(|it| is_identity_source(it) != is_websocket);
    if let Some(text) = wrong {
        return Err(Error::invalid(format!("Invalid identity source specified {text}")));
    }
    if !is_websocket {
        return Ok(());
    }
    match &authorizer.how {
        AuthorizerKind::Jwt { .. } => {
            Err(Error::invalid("JWT authorizers are not supported on protocolType WEBSOCKET"))
        }
        AuthorizerKind::Request(asked)
            if asked.simple
                || asked.ttl_seconds != 0
                || asked.payload_format != PayloadFormat::V1 =>
        {
            Err(Error::invalid(
                "EnableSimpleResponses, AuthorizerResultTtlInSeconds and AuthorizerPayloadFormatVersion 2.0 are not \
                 supported on protocolType WEBSOCKET",
            ))
        }
        AuthorizerKind::Request(_) => Ok(()),
    }
}
