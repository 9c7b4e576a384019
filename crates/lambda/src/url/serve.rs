//! The path of a request to a function URL: authorize → event → invoke → answer.
//!
//! It never fails: whatever goes wrong becomes AWS's answer. The caller has read the body and, where the URL wants a
//! signature, checked it.

use bytes::Bytes;
use gatemill_iam as iam;
use gatemill_wire::{
    ApiError, Body, Caller, RequestId, Timestamp,
    payload::{
        EventAuthorizer, EventBody, EventV2, IamAuthorizer, Origin,
        headers::{TRACE, for_event, new_trace_id},
        host,
    },
};
use http::{Response, request::Parts};

use super::{
    FunctionUrl, UrlTarget, answer,
    answer::Refused,
    record::{AuthType, InvokeMode},
};
use crate::{Author, Error, Invocation, Lambda};

/// What the server knows of a request beside its head and body.
#[derive(Debug, Clone)]
pub struct UrlArrival {
    /// The client's address, without a port.
    pub source_ip: String,
    /// When it arrived.
    pub now: Timestamp,
    /// `HTTP/1.1` or `HTTP/2.0`, as events show it.
    pub protocol: &'static str,
    /// Whether it came encrypted.
    pub tls: bool,
}

/// Who calls a URL.
#[derive(Debug, Clone)]
pub enum UrlCaller {
    /// Nobody was asked for.
    Anonymous,
    /// Who signed.
    Signed(Caller),
    /// The signature is missing or wrong.
    Refused(ApiError),
}

/// One request under way.
struct Request<'r> {
    url: &'r FunctionUrl,
    target: &'r UrlTarget,
    head: &'r Parts,
    arrival: &'r UrlArrival,
    id: RequestId,
    trace_id: String,
}

impl Lambda {
    /// Answers a request to a function URL.
    pub async fn answer_url(
        &self,
        url: &FunctionUrl,
        target: &UrlTarget,
        head: &Parts,
        body: Bytes,
        arrival: &UrlArrival,
        caller: UrlCaller,
    ) -> Response<Body> {
        let begun = tokio::time::Instant::now();
        let given = head.headers.get(TRACE).and_then(|value| value.to_str().ok());
        let request = Request {
            url,
            target,
            head,
            arrival,
            id: RequestId(self.entropy.uuid()),
            trace_id: given
                .map_or_else(|| new_trace_id(&*self.entropy, arrival.now), str::to_owned),
        };
        let passed = pass(self, &request, &body, &caller).await;
        let why = passed.as_ref().err().map(ToString::to_string);
        let mut response = passed.unwrap_or_else(|refused| answer::refusal(refused, request.id));
        if let Some(cors) = &url.cors {
            cors.decorate(head, response.headers_mut());
        }
        answer::stamp(&mut response, request.id, &request.trace_id);
        let answered = (response.status().as_u16(), begun.elapsed());
        self.answered_url(&url.function.key().to_owned(), arrival.now, answered);
        tracing::info!(
            target: "gatemill::url", url = url.id, method = %head.method,
            status = response.status().as_u16(), why, request_id = %request.id
        );
        response
    }
}

/// The path.
async fn pass(
    lambda: &Lambda,
    request: &Request<'_>,
    body: &Bytes,
    caller: &UrlCaller,
) -> Result<Response<Body>, Refused> {
    let caller = match caller {
        UrlCaller::Anonymous => None,
        UrlCaller::Signed(caller) => Some(caller),
        UrlCaller::Refused(error) => return Err(Refused::Signature(error.clone())),
    };
    if !allows(lambda, request.url, caller).map_err(Refused::Call)? {
        return Err(Refused::Forbidden);
    }
    let call = Invocation {
        target: request.url.function.clone(),
        payload: event(request, body, caller)?,
        author: Author::Server,
        request_id: request.id,
        trace_id: Some(request.trace_id.clone()),
        client_context: None,
        tenant_id: None,
        log_tail: false,
    };
    match request.url.mode {
        InvokeMode::Buffered => {
            let outcome = lambda.invoke(call).await.map_err(Refused::Call)?;
            answer::buffered(&outcome)
        }
        InvokeMode::ResponseStream => {
            let streaming = lambda.invoke_streaming(call).await.map_err(Refused::Call)?;
            answer::streamed(streaming, answer::reads_trailers(&request.head.headers)).await
        }
    }
}

/// Whether the function's policy lets this caller in. Both actions are asked for, as AWS does for URLs that were made
/// since October 2025. An account's own identities need no statement (identities have no policies yet), yet one that
/// denies them counts.
fn allows(lambda: &Lambda, url: &FunctionUrl, caller: Option<&Caller>) -> Result<bool, Error> {
    let Some(function) = lambda.snapshots.get(&lambda.store, url.function.key())? else {
        return Ok(false);
    };
    let policy = function.policy(url.function.qualifier.as_ref());
    let context = iam::Context::default()
        .with("lambda:FunctionUrlAuthType", url.auth.name())
        .with("lambda:InvokedViaFunctionUrl", "true");
    let principal = caller.map_or(iam::Principal::Anonymous, |caller| iam::Principal::Aws {
        account: &caller.account,
        arn: &caller.arn,
    });
    let own = caller.is_some_and(|caller| caller.account == url.function.account);
    let resource = url.function.arn();
    Ok(["lambda:InvokeFunctionUrl", "lambda:InvokeFunction"].into_iter().all(|action| {
        let request = iam::Request { principal, action, resource: &resource, context: &context };
        match iam::evaluate(policy, &request) {
            iam::Decision::Allow => true,
            iam::Decision::ImplicitDeny => own,
            iam::Decision::ExplicitDeny => false,
        }
    }))
}

fn event(request: &Request<'_>, body: &Bytes, caller: Option<&Caller>) -> Result<Bytes, Refused> {
    let Request { url, target, head, arrival, .. } = request;
    let id = request.id.to_string();
    let authority = host::authority(head).unwrap_or_default();
    let origin = Origin {
        authority,
        source_ip: &arrival.source_ip,
        trace_id: &request.trace_id,
        tls: arrival.tls,
        body_bytes: (!body.is_empty()).then_some(body.len()),
    };
    let path = match &head.uri.path()[target.from..] {
        "" => "/",
        path => path,
    };
    let elsewhere = || format!("{}.lambda-url.{}.localhost", url.id, url.function.region);
    let signed = caller.filter(|_| url.auth == AuthType::AwsIam);
    let event = EventV2 {
        route_key: "$default",
        // As it came: unlike HTTP APIs, function URLs decode nothing.
        raw_path: path.into(),
        query: head.uri.query().unwrap_or(""),
        headers: for_event(&head.headers, &origin),
        account_id: signed.map_or("anonymous", |caller| &caller.account),
        api_id: &url.id,
        domain_name: target.domain_name.clone().unwrap_or_else(elsewhere).into(),
        domain_prefix: &url.id,
        method: head.method.as_str(),
        protocol: arrival.protocol,
        source_ip: &arrival.source_ip,
        request_id: &id,
        stage: "$default",
        time: arrival.now,
        authorizer: signed.map(|caller| {
            EventAuthorizer::Iam(IamAuthorizer {
                access_key: &caller.access_key_id,
                account_id: &caller.account,
                user_id: &caller.user_id,
                user_arn: &caller.arn,
            })
        }),
        client_cert: None,
        decision: None,
        path_parameters: None,
        stage_variables: None,
        body: EventBody::of(&head.headers, body),
    };
    event.to_json().map_err(|_| Refused::Call(Error::Internal("an event could not be written")))
}
