//! Integrate: runs the function, or asks the HTTP server or the service, within the integration's time-out.

use std::time::Duration;

use bytes::Bytes;
use gatemill_wire::RequestId;
use http::{Request, Response};
use http_body_util::Full;
use tokio::time::Instant;

use super::{
    Exchange, Refusal, Refused, Seen, SeenIntegration,
    request::Outgoing,
    route::Routed,
    upstream::{Failure, UpstreamBody},
};
use crate::{
    Gateway,
    functions::{Answer, Call, CallError, FunctionTarget},
    limits::BODY_BYTES_MAX,
    record::PayloadFormat,
    service::ServiceTarget,
    snapshot::To,
};

/// What an integration answered.
#[derive(Debug)]
pub(super) enum Reply {
    /// A function's answer, in the format that its event had.
    Function(Answer, PayloadFormat),
    /// A server's head, and its body until the deadline.
    Http(Response<UpstreamBody>, Instant),
    /// A service's answer.
    Service(gatemill_aws::Answer),
}

/// Asks the integration.
pub(super) async fn integrate(
    gateway: &Gateway,
    exchange: &Exchange,
    routed: &Routed<'_>,
    outgoing: Outgoing,
    seen: &mut Seen,
) -> Result<Reply, Refused> {
    let integration = routed.route.integration.as_deref();
    let integration =
        integration.ok_or_else(|| Refusal::Internal.because("the route has no integration"))?;
    let started = Instant::now();
    let deadline = started + integration.timeout;
    let request_id = RequestId(gateway.entropy.uuid());
    let asked = async {
        match (&integration.to, outgoing) {
            (To::Function { function, .. }, Outgoing::Event(payload, format)) => {
                invoke(gateway, exchange, function, payload, request_id)
                    .await
                    .map(|answer| Reply::Function(answer, format))
            }
            (To::Http(http), Outgoing::Http(request)) => {
                // Boxed: a future is moved with the room for all that it may wait for, and functions wait for less.
                let name = http.server_name.as_deref();
                let sent = Box::pin(send(gateway, *request, name)).await;
                sent.map(|response| Reply::Http(response, deadline))
            }
            (To::Service(service), Outgoing::Call(request)) => {
                let region = service.region.as_deref().or(stage_region(seen));
                let called = call(gateway, service, region, *request, integration.timeout);
                Box::pin(called).await.map(Reply::Service)
            }
            (_, _) => Err(Refusal::Internal.because("the integration is of another kind")),
        }
    };
    let reply = match tokio::time::timeout_at(deadline, asked).await {
        Ok(reply) => reply,
        Err(_) => Err(Refusal::Unavailable.because("the integration did not answer in time")),
    };
    let is_function = matches!(integration.to, To::Function { .. });
    seen.integration = Some(SeenIntegration {
        status: match &reply {
            Ok(Reply::Http(response, _)) => Some(response.status().as_u16()),
            Ok(Reply::Service(answer)) => Some(answer.status.as_u16()),
            Ok(Reply::Function(..)) => Some(200),
            Err(_) => None,
        },
        latency_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        error: reply.as_ref().err().map(|refused| refused.why.clone().into_owned()),
        request_id: match &reply {
            Ok(Reply::Service(answer)) => service_request_id(answer),
            Ok(_) | Err(_) => is_function.then(|| request_id.to_string()),
        },
    });
    reply
}

fn stage_region(seen: &Seen) -> Option<&str> {
    seen.stage.as_ref().map(|stage| stage.region.as_str())
}

fn service_request_id(answer: &gatemill_aws::Answer) -> Option<String> {
    let names = ["x-amzn-requestid", "x-amz-request-id"];
    let id = names.iter().find_map(|name| answer.headers.get(*name))?;
    id.to_str().ok().map(str::to_owned)
}

/// Calls a service, once: a call that came through without its answer may have happened.
async fn call(
    gateway: &Gateway,
    service: &ServiceTarget,
    region: Option<&str>,
    request: gatemill_aws::Request,
    timeout: Duration,
) -> Result<gatemill_aws::Answer, Refused> {
    use gatemill_aws::Error;
    let failed = |error: Error| {
        let with = match &error {
            Error::Unreachable(_) | Error::TimedOut => Refusal::Unavailable,
            Error::RequestTooLarge => Refusal::EntityTooLarge,
            Error::NotConfigured(_)
            | Error::Service { .. }
            | Error::AnswerTooLarge
            | Error::Unsendable(_)
            | Error::Unreadable(_) => Refusal::Internal,
        };
        with.because(error.to_string())
    };
    let Some(client) = gateway.services.get() else {
        return Err(failed(Error::NotConfigured(service.action.service())));
    };
    let mut endpoint = client.endpoint(service.action.service(), region).map_err(failed)?;
    if let Some(prefix) = service.action.host_prefix() {
        endpoint = endpoint.host_prefixed(prefix);
    }
    let request = request.wait(timeout).answer_bytes_max(BODY_BYTES_MAX);
    client.answer(&endpoint, request).await.map_err(failed)
}

async fn invoke(
    gateway: &Gateway,
    exchange: &Exchange,
    function: &FunctionTarget,
    payload: Bytes,
    request_id: RequestId,
) -> Result<Answer, Refused> {
    let call = Call { function, payload, request_id, trace_id: &exchange.trace_id };
    let answer = gateway.functions.invoke(call).await.map_err(|error| {
        let with = match &error {
            CallError::Throttled => Refusal::Unavailable,
            CallError::TooLarge => Refusal::EntityTooLarge,
            CallError::NotFound | CallError::Unavailable(_) => Refusal::Internal,
        };
        with.because(error.to_string())
    })?;
    if answer.failed {
        return Err(Refusal::Internal.because("the function ended in an error"));
    }
    Ok(answer)
}

async fn send(
    gateway: &Gateway,
    request: Request<Full<Bytes>>,
    server_name: Option<&str>,
) -> Result<Response<UpstreamBody>, Refused> {
    gateway.upstream.send(request, server_name).await.map_err(|failure| {
        let with = match &failure {
            Failure::Forbidden => Refusal::Internal,
            Failure::Unreachable(_) | Failure::Status(_) | Failure::Unread(_) => {
                Refusal::Unavailable
            }
        };
        with.because(failure.to_string())
    })
}
