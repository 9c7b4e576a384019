//! API keys of WebSocket APIs: the one that a handshake presents, and whether it lets the handshake or a message in.
//!
//! A key comes once, with the handshake, in its header or by what the authorizer says; the connection remembers it. Whether it may
//! is asked for every message of a route that needs one, so that a key that is taken away takes its connections along.

use std::{fmt, sync::Arc};

use http::HeaderMap;

use crate::{
    Gateway,
    limits::API_KEY_VALUE_MAX,
    snapshot::StageSnapshot,
    usage_plans::{Calling, NotAdmitted},
    websocket::snapshot::Route,
};

/// What `$request.header.x-api-key` names.
const HEADER: &str = "x-api-key";
/// The expression for keys that the authorizer of `$connect` gives.
pub(crate) const BY_AUTHORIZER: &str = "$context.authorizer.usageIdentifierKey";

/// Where a stage's keys come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum KeySource {
    /// The header of the handshake.
    #[default]
    Header,
    /// What its authorizer answered.
    Authorizer,
}

impl KeySource {
    /// What an API's `apiKeySelectionExpression` says.
    pub(crate) fn of(expression: &str) -> Self {
        if expression == BY_AUTHORIZER { Self::Authorizer } else { Self::Header }
    }

    /// The value that a handshake presents, if it can be a key's at all.
    pub(super) fn presented(
        self,
        headers: &HeaderMap,
        by_authorizer: Option<String>,
    ) -> Option<Value> {
        let value = match self {
            Self::Header => headers.get(HEADER)?.to_str().ok()?.to_owned(),
            Self::Authorizer => by_authorizer?,
        };
        (value.chars().count() <= API_KEY_VALUE_MAX).then(|| Value(value.into()))
    }
}

/// The value of a key; it is shown to integrations and to nobody else.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Value(pub(crate) Arc<str>);

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Value")
    }
}

/// A key that let something in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) id: String,
    pub(crate) value: Value,
}

/// Lets in what a route is asked, where the route needs no key or the one that was presented may.
pub(super) async fn admit(
    gateway: &Gateway,
    stage: &StageSnapshot,
    route: &Route,
    presented: Option<&Value>,
    now: gatemill_wire::Timestamp,
) -> Result<Option<Used>, NotAdmitted> {
    if !route.api_key_required {
        return Ok(None);
    }
    let calling = Calling {
        account: &stage.account,
        region: &stage.region,
        api: &stage.api_id,
        stage: &stage.name,
        route: &route.key,
    };
    let value = presented.map(|value| &*value.0);
    let id = gateway.usage_plans.admit(calling, value, now).await?;
    Ok(presented.map(|value| Used { id, value: value.clone() }))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_key_comes_from_where_the_api_says() {
        let mut headers = HeaderMap::new();
        let value = |text: &str| Some(Value(text.into()));
        assert_eq!(KeySource::Header.presented(&headers, Some("a".to_owned())), None);
        headers.insert("X-Api-Key", HeaderValue::from_static("h"));
        assert_eq!(
            KeySource::of("$request.header.x-api-key").presented(&headers, None),
            value("h")
        );
        let by_authorizer = KeySource::of(BY_AUTHORIZER);
        assert_eq!(by_authorizer.presented(&headers, Some("a".to_owned())), value("a"));
        assert_eq!(by_authorizer.presented(&headers, None), None);
        assert_eq!(by_authorizer.presented(&headers, Some("a".repeat(129))), None);
        assert!(!format!("{:?}", value("secret")).contains("secret"));
    }
}
