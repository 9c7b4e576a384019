//! What happens on a connection, passed to its route's integration within the integration's time-out.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use gatemill_template::Overrides;
use gatemill_wire::RequestId;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::{BodyExt as _, Limited};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    happening::{Answered, Happening, What},
    log::Asked,
    request::{self, Outgoing, http_request, outgoing},
    respond::respond,
    snapshot::{Integration, Route, To},
};
use crate::{
    Gateway,
    functions::{Answer, Call, CallError, FunctionTarget},
    limits::MESSAGE_BYTES_MAX,
    proxy::upstream::Failure,
    record::ContentHandling,
    snapshot::StageSnapshot,
};

/// What an integration answered.
#[derive(Debug, Default)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) why: String,
    /// The status of a handshake that ends so.
    pub(super) status: u16,
    /// The function had no room: it may have it in a moment.
    pub(super) is_throttled: bool,
}

pub(super) fn failed(status: u16, why: impl Into<String>) -> Failed {
    Failed { why: why.into(), status, is_throttled: false }
}

/// Asks the route's integration, and measures it.
pub(super) async fn integrate(
    gateway: &Gateway,
    stage: &StageSnapshot,
    route: &Route,
    happening: &Happening<'_>,
) -> Result<Reply, Failed> {
    let (begun, at) = (tokio::time::Instant::now(), gateway.clock.now());
    let reply = ask(gateway, route, happening).await;
    let (status, failed) = match &reply {
        Ok(reply) => (Some(reply.status), None),
        Err(failed) => (None, Some(failed.status)),
    };
    gateway.records.measure.asked(stage, route, at, (status, failed), begun.elapsed());
    let _ = happening.asked.set(Asked {
        status,
        error: reply.as_ref().err().map(|failed| failed.why.clone()),
        latency_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
    });
    reply
}

async fn ask(gateway: &Gateway, route: &Route, happening: &Happening<'_>) -> Result<Reply, Failed> {
    let integration = route.integration.as_deref();
    let integration = integration.ok_or_else(|| failed(500, "the route has no integration"))?;
    let asked = async {
        match &integration.to {
            To::FunctionProxy(function) => {
                proxied(gateway, route, integration, function, happening).await
            }
            To::Function(function) => {
                called(gateway, route, integration, function, happening).await
            }
            To::Http { .. } => asked_by_http(gateway, integration, happening).await,
            To::Mock => mocked(integration, happening),
            To::Nowhere => Err(failed(500, "the integration's URI is none in this stage")),
        }
    };
    match tokio::time::timeout(integration.timeout, asked).await {
        Ok(reply) => reply,
        Err(_) => Err(failed(504, "the integration did not answer in time")),
    }
}

/// A function with API Gateway's event, which answers with a status and a body.
async fn proxied(
    gateway: &Gateway,
    route: &Route,
    integration: &Integration,
    function: &FunctionTarget,
    happening: &Happening<'_>,
) -> Result<Reply, Failed> {
    let is_binary = integration.content_handling == Some(ContentHandling::ToBinary)
        && matches!(happening.what, What::Message { .. });
    if is_binary {
        request::converted(integration.content_handling, happening.body().to_owned().into())?;
    }
    let event = happening.event(is_binary).map_err(|error| failed(500, error.to_string()))?;
    let overrides = Overrides::default();
    let parameters = request::parameters(integration, happening, &overrides)?;
    let kind = InvocationKind::of(&parameters.headers)?;
    let answer = invoke(gateway, route, (function, kind), happening, event).await?;
    if answer.failed {
        return Err(failed(502, "the function ended in an error"));
    }
    let read: Result<ProxyAnswer, _> = serde_json::from_slice(&answer.payload);
    let Ok(read) = read else {
        // Nobody waits for what a one-way route's function says.
        return match (&happening.what, route.answers) {
            (What::Connect { .. }, _) | (_, true) => {
                Err(failed(502, "malformed Lambda proxy response"))
            }
            (_, false) => Ok(Reply::default()),
        };
    };
    let Some(status) = read.status() else {
        return Err(failed(502, "malformed Lambda proxy response: statusCode"));
    };
    let body = match (read.body.unwrap_or_default(), read.is_base64_encoded) {
        (text, Some(true)) => Bytes::from(
            STANDARD.decode(text).map_err(|_| failed(502, "the function's body is no base64"))?,
        ),
        (text, _) => Bytes::from(text),
    };
    Ok(Reply { status, headers: header_map(read.headers), body })
}

/// The members of a proxy answer that count here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProxyAnswer {
    status_code: Option<Value>,
    headers: Option<Map<String, Value>>,
    body: Option<String>,
    is_base64_encoded: Option<bool>,
}

impl ProxyAnswer {
    fn status(&self) -> Option<u16> {
        let status = match &self.status_code {
            None => 200,
            Some(Value::Number(number)) => u16::try_from(number.as_u64()?).ok()?,
            Some(Value::String(text)) => text.parse().ok()?,
            Some(_) => return None,
        };
        (200..=599).contains(&status).then_some(status)
    }
}

fn header_map(headers: Option<Map<String, Value>>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers.into_iter().flatten() {
        let text = super::select::text_of(Some(&value));
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&text))
        {
            map.insert(name, value);
        }
    }
    map
}

/// A function with what a template makes, or with the message itself.
async fn called(
    gateway: &Gateway,
    route: &Route,
    integration: &Integration,
    function: &FunctionTarget,
    happening: &Happening<'_>,
) -> Result<Reply, Failed> {
    let Outgoing { body, overrides, .. } = outgoing(integration, happening)?;
    let kind = request::parameters(integration, happening, &overrides)?.headers;
    let kind = InvocationKind::of(&kind)?;
    let payload = if body.is_empty() { Bytes::from_static(b"{}") } else { body };
    // `IgnoredAny` looks at structure alone, so UTF-8 is looked at here; nobody looks again.
    let text = std::str::from_utf8(&payload).ok();
    if text.is_none_or(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_err()) {
        return Err(failed(400, "what the function would be called with is no JSON"));
    }
    let answer = invoke(gateway, route, (function, kind), happening, payload).await?;
    if answer.failed && integration.responses.is_empty() {
        return Err(failed(502, "the function ended in an error"));
    }
    let headers = HeaderMap::new();
    let status = if kind == InvocationKind::Event { 202 } else { 200 };
    let answered = Answered { status, headers: &headers, body: &answer.payload };
    let by = answered.lookup("integration.response.body.errorMessage").unwrap_or_default();
    respond(integration, happening, &answered, &by, overrides)
}

/// How a function is called: `X-Amz-Invocation-Type` of Lambda's API, which a parameter of the integration may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InvocationKind {
    RequestResponse,
    /// Nobody waits for it; the integration answers at once, with nothing.
    Event,
}

impl InvocationKind {
    fn of(headers: &HeaderMap) -> Result<Self, Failed> {
        match headers.get("x-amz-invocation-type").map(HeaderValue::as_bytes) {
            None | Some(b"RequestResponse") => Ok(Self::RequestResponse),
            Some(b"Event") => Ok(Self::Event),
            Some(_) => {
                Err(failed(500, "X-Amz-Invocation-Type is neither Event nor RequestResponse"))
            }
        }
    }
}

async fn invoke(
    gateway: &Gateway,
    route: &Route,
    (function, kind): (&FunctionTarget, InvocationKind),
    happening: &Happening<'_>,
    payload: Bytes,
) -> Result<Answer, Failed> {
    if !gateway.functions.allows(function, &route.source_arn, &happening.peer.account) {
        return Err(failed(
            500,
            format!(
                "the policy of {} does not let apigateway.amazonaws.com invoke it for {}",
                function.arn(),
                route.source_arn
            ),
        ));
    }
    let request_id = RequestId(gateway.entropy.uuid());
    let call = Call { function, payload, request_id, trace_id: happening.trace_id };
    let called = match kind {
        InvocationKind::RequestResponse => gateway.functions.invoke(call).await,
        InvocationKind::Event => {
            let accepted = gateway.functions.accept(call).await;
            accepted.map(|()| Answer { payload: Bytes::new(), failed: false })
        }
    };
    called.map_err(|error| Failed {
        why: error.to_string(),
        status: if error == CallError::Throttled { 429 } else { 500 },
        is_throttled: error == CallError::Throttled,
    })
}

/// An HTTP server.
async fn asked_by_http(
    gateway: &Gateway,
    integration: &Integration,
    happening: &Happening<'_>,
) -> Result<Reply, Failed> {
    let outgoing = outgoing(integration, happening)?;
    let request = http_request(integration, happening, &outgoing)?;
    let response = gateway.upstream.send(request, None).await.map_err(|failure| match failure {
        Failure::Forbidden => failed(500, failure.to_string()),
        Failure::Unreachable(_) | Failure::Status(_) | Failure::Unread(_) => {
            failed(502, failure.to_string())
        }
    })?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MESSAGE_BYTES_MAX).collect().await;
    let body = body.map_err(|error| failed(502, format!("the answer cannot be read: {error}")))?;
    let (status, headers, body) = (head.status.as_u16(), head.headers, body.to_bytes());
    if let To::Http { is_proxy: false, .. } = integration.to {
        let answered = Answered { status, headers: &headers, body: &body };
        let by = status.to_string();
        return respond(integration, happening, &answered, &by, outgoing.overrides);
    }
    Ok(Reply { status, headers, body })
}

/// Nobody: the request template says the status, the integration response the body.
fn mocked(integration: &Integration, happening: &Happening<'_>) -> Result<Reply, Failed> {
    let outgoing = outgoing(integration, happening)?;
    // Nobody is told of them, but headers that are the gateway's are refused here as well.
    request::parameters(integration, happening, &outgoing.overrides)?;
    let status = request::mocked(&outgoing)?;
    let (headers, body) = (HeaderMap::new(), Bytes::new());
    let answered = Answered { status, headers: &headers, body: &body };
    respond(integration, happening, &answered, &status.to_string(), outgoing.overrides)
}
