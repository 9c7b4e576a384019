//! The path that serves an API call: identify → authenticate → route → authorize → decode → handler → encode → record.
//!
//! [`serve`] is the only way into a service. It takes a whole request (the server read the body, with a limit) and
//! gives a response, whole or in pieces; it never fails: every error becomes the envelope of the service that was called.

use std::{
    fmt,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::Poll,
};

use bytes::Bytes;
use http::{Request, Response, Uri, request::Parts};

use crate::{
    ApiError, Body, Caller, Cx, Entropy, OperationInfo, RequestId, Service, Timestamp,
    error::common,
    protocol::{self, Encoding, Labels},
    routes::{BoxFuture, Served},
    sigv4::{Claim, SignatureError},
};

/// What the server knows of a request before it is read.
#[derive(Clone)]
pub struct Arrival {
    /// When it arrived.
    pub now: Timestamp,
    /// The address it came from.
    pub source_ip: String,
    /// Scheme, host and port under which it reached us, without a slash at the end.
    pub endpoint: String,
    /// Where random bytes come from.
    pub entropy: Arc<dyn Entropy>,
    /// Who wants to know how far the call has come.
    pub passage: Option<Arc<dyn Passage>>,
}

/// Told of every stage of the path that a call has passed, in their order.
pub trait Passage: Send + Sync {
    /// The call has come to the end of this stage.
    fn passed(&self, stage: &'static str);
}

fn passed(passage: Option<&dyn Passage>, stage: &'static str) {
    if let Some(passage) = passage {
        passage.passed(stage);
    }
}

impl fmt::Debug for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrival")
            .field("now", &self.now)
            .field("source_ip", &self.source_ip)
            .finish_non_exhaustive()
    }
}

/// How far a key's signatures are checked.
#[derive(Clone, PartialEq, Eq)]
pub enum Verification {
    /// With this secret.
    Secret(String),
    /// Not at all: `gatemill dev` accepts any credentials, so there is no secret to check with.
    AnySignature,
}

impl fmt::Debug for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret(_) => "Secret(…)",
            Self::AnySignature => "AnySignature",
        })
    }
}

/// An access key as the server knows it.
#[derive(Debug, Clone)]
pub struct Credential {
    /// Whose it is.
    pub caller: Caller,
    /// How its signatures are checked.
    pub verification: Verification,
}

/// What a request says of the key that it was signed with.
#[derive(Debug, Clone, Copy)]
pub struct Presented<'a> {
    /// The id of the key.
    pub access_key_id: &'a str,
    /// What belongs to the key of a session.
    pub session_token: Option<&'a str>,
    /// When the request arrived.
    pub now: Timestamp,
}

/// Why a key is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// Nobody has it, or its session token is missing or another one.
    Unknown,
    /// Its session is over.
    Expired,
}

/// Finds access keys.
pub trait Credentials: Send + Sync {
    /// The key that was presented.
    ///
    /// # Errors
    /// Why it is not accepted.
    fn find(&self, presented: Presented<'_>) -> Result<Credential, Unusable>;
}

/// Decides whether a caller may use an operation.
pub trait Authorizer: Send + Sync {
    /// `Err` with the reason for the client when the call is not allowed.
    fn authorize(&self, cx: &Cx, operation: &OperationInfo) -> Result<(), ApiError>;
}

/// Told of every call that ended: metrics and the log.
pub trait Recorder: Send + Sync {
    /// One call: its operation where it was known, its status, and its error.
    fn record(
        &self,
        request_id: RequestId,
        operation: Option<&OperationInfo>,
        status: u16,
        error: Option<&ApiError>,
    );
}

/// Everything [`serve`] dispatches to.
pub struct Front {
    /// The services, in the order in which an unsigned request looks for its own.
    pub services: Vec<Box<dyn Served>>,
    /// The access keys.
    pub credentials: Arc<dyn Credentials>,
    /// Who may do what.
    pub authorizer: Arc<dyn Authorizer>,
    /// Told of every call.
    pub recorder: Arc<dyn Recorder>,
    /// The one region whose scope is accepted; `None` accepts any and keeps their resources apart.
    pub region: Option<String>,
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.services.iter().map(|served| served.service().name).collect();
        f.debug_struct("Front").field("services", &names).finish_non_exhaustive()
    }
}

impl Front {
    /// Who signed a request that is no API call: one to the data plane of the service with this signing name.
    ///
    /// # Errors
    /// What an API call with this signature, or without one, would be answered.
    pub fn signer(
        &self,
        signing_name: &str,
        now: Timestamp,
        parts: &Parts,
        body: &Bytes,
    ) -> Result<Caller, ApiError> {
        let claim = Claim::read(parts).map_err(|error| signature_error(&error))?;
        if claim.service != signing_name {
            return Err(signature_error(&SignatureError::Scope(format!(
                "Credential should be scoped to correct service: '{signing_name}'."
            ))));
        }
        authenticate(self, &claim, now, parts, body)
    }
}

/// An extension of a request whose service stands below a path of its own, as that of `@connections` does: the signature
/// covers what the client wrote, the operation is found by this.
#[derive(Debug, Clone)]
pub struct RoutedAs {
    /// The operation's own URI.
    pub uri: Uri,
    /// What of the path the endpoint has: it follows [`Arrival::endpoint`] in the call's context.
    pub endpoint: String,
}

/// An extension of a response: which call it answers.
#[derive(Debug, Clone, Copy)]
pub struct Called {
    /// The id of the request.
    pub request_id: RequestId,
    /// The operation, where the request named one.
    pub operation: Option<&'static OperationInfo>,
}

/// Serves one API call.
pub async fn serve(front: &Front, mut arrival: Arrival, request: Request<Bytes>) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    let request_id = RequestId(arrival.entropy.uuid());
    let signer = Claim::read(&parts).map_err(|error| signature_error(&error));
    // The signature is of what the client wrote, so it is checked before the operation's own path takes that one's place.
    let caller = signer.as_ref().map_err(ApiError::clone);
    let caller = caller.and_then(|claim| authenticate(front, claim, arrival.now, &parts, &body));
    passed(arrival.passage.as_deref(), "authenticate");
    if let Some(RoutedAs { uri, endpoint }) = parts.extensions.remove() {
        parts.uri = uri;
        arrival.endpoint.push_str(&endpoint);
    }
    let target = identify(front, signer.as_ref().ok(), &parts, &body);
    passed(arrival.passage.as_deref(), "identify");
    let region = signer.map(|claim| claim.region).unwrap_or_default();
    let signed = caller.map(|caller| (caller, region));
    let (mut response, error) =
        match answer(front, &target, signed, arrival, request_id, &parts, &body).await {
            Ok(response) => (response, None),
            Err(error) => {
                let encoding = Encoding::of(target.service(), &parts);
                let response =
                    protocol::encode_error(target.service(), encoding, request_id, &error);
                (response.map(Body::Whole), Some(error))
            }
        };
    response.extensions_mut().insert(Called { request_id, operation: target.operation() });
    front.recorder.record(
        request_id,
        target.operation(),
        response.status().as_u16(),
        error.as_ref(),
    );
    response
}

async fn answer(
    front: &Front,
    target: &Target<'_>,
    signed: Result<(Caller, String), ApiError>,
    arrival: Arrival,
    request_id: RequestId,
    parts: &Parts,
    body: &Bytes,
) -> Result<Response<Body>, ApiError> {
    let (caller, region) = signed?;
    let (served, operation, labels) = target.operation_or_error()?;
    let passage = arrival.passage.clone();
    let cx = Cx {
        request_id,
        caller,
        region,
        now: arrival.now,
        endpoint: arrival.endpoint,
        source_ip: arrival.source_ip,
        trace_id: parts
            .headers
            .get("x-amzn-trace-id")
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned),
        entropy: arrival.entropy,
    };
    front.authorizer.authorize(&cx, operation)?;
    passed(passage.as_deref(), "authorize");
    // Decoding, the handler and encoding are one typed step behind the table.
    let answered = contain(|| served.call(&cx, operation, parts, labels, body)).await;
    passed(passage.as_deref(), "handler");
    answered
}

/// Runs a call so that a panic in it is an answer (500) and a record like any other failure. What it says is printed
/// by the panic hook; the client learns nothing of it.
async fn contain<'a>(
    call: impl FnOnce() -> BoxFuture<'a, Result<Response<Body>, ApiError>>,
) -> Result<Response<Body>, ApiError> {
    let panicked = |_| Err(ApiError::internal(&common::INTERNAL_FAILURE, "the handler panicked"));
    let mut future = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(future) => future,
        Err(panic) => return panicked(panic),
    };
    poll_fn(|task| {
        catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(task)))
            .unwrap_or_else(|panic| Poll::Ready(panicked(panic)))
    })
    .await
}

/// What a request is meant for.
enum Target<'a> {
    Operation(&'a dyn Served, &'static OperationInfo, Labels),
    Service(&'a dyn Served),
    Nothing,
}

impl<'a> Target<'a> {
    fn service(&self) -> &'static Service {
        match self {
            Self::Operation(served, ..) | Self::Service(served) => served.service(),
            Self::Nothing => &NOBODY,
        }
    }

    fn operation(&self) -> Option<&'static OperationInfo> {
        match self {
            Self::Operation(_, operation, _) => Some(operation),
            Self::Service(_) | Self::Nothing => None,
        }
    }

    fn operation_or_error(
        &self,
    ) -> Result<(&'a dyn Served, &'static OperationInfo, &Labels), ApiError> {
        match self {
            Self::Operation(served, operation, labels) => Ok((*served, operation, labels)),
            Self::Service(_) | Self::Nothing => Err(ApiError::new(
                &common::UNKNOWN_OPERATION,
                "The requested operation is not recognized by the service.",
            )),
        }
    }
}

/// Answers what no service of ours was asked.
static NOBODY: Service = Service {
    name: "unknown",
    signing_name: "unknown",
    protocol: crate::Protocol::RestJson,
    api_version: "",
    validation: &common::VALIDATION,
    malformed: &common::SERIALIZATION,
    operations: &[],
};

/// Finds the service by the scope of the signature, and the operation by what that service's protocol says. A request
/// without a readable signature is matched against every service, so that it is refused in the right envelope.
fn identify<'a>(
    front: &'a Front,
    claim: Option<&Claim>,
    parts: &Parts,
    body: &Bytes,
) -> Target<'a> {
    let meant = |served: &&dyn Served| {
        claim.is_none_or(|claim| served.service().signing_name == claim.service)
    };
    for served in front.services.iter().map(AsRef::as_ref).filter(meant) {
        if let Some((operation, labels)) = served.route(parts, body) {
            return Target::Operation(served, operation, labels);
        }
    }
    match claim.and_then(|_| front.services.iter().map(AsRef::as_ref).find(meant)) {
        Some(served) => Target::Service(served),
        None => Target::Nothing,
    }
}

fn authenticate(
    front: &Front,
    claim: &Claim,
    now: Timestamp,
    parts: &Parts,
    body: &Bytes,
) -> Result<Caller, ApiError> {
    let credential = front.credentials.find(claim.presented(now)).map_err(|why| match why {
        Unusable::Unknown => ApiError::new(
            &common::UNRECOGNIZED_CLIENT,
            "The security token included in the request is invalid.",
        ),
        Unusable::Expired => ApiError::new(
            &common::EXPIRED_TOKEN,
            "The security token included in the request is expired",
        ),
    })?;
    if let Some(region) = front.region.as_ref().filter(|region| **region != claim.region) {
        return Err(signature_error(&SignatureError::Scope(format!(
            "Credential should be scoped to a valid region, not '{}'. This server is '{region}'.",
            claim.region
        ))));
    }
    let mut names = front.services.iter().map(|served| served.service().signing_name);
    if !names.any(|name| name == claim.service) {
        return Err(signature_error(&SignatureError::Scope(format!(
            "Credential should be scoped to correct service; '{}' is not served here.",
            claim.service
        ))));
    }
    if let Verification::Secret(secret) = &credential.verification {
        claim.check_time(now).map_err(|error| signature_error(&error))?;
        claim.verify(parts, body, secret).map_err(|error| signature_error(&error))?;
    }
    Ok(credential.caller)
}

fn signature_error(error: &SignatureError) -> ApiError {
    let shape = match error {
        SignatureError::Missing => &common::MISSING_AUTHENTICATION_TOKEN,
        SignatureError::Chunked => &common::NOT_IMPLEMENTED,
        SignatureError::Incomplete(_) => &common::INCOMPLETE_SIGNATURE,
        SignatureError::Scope(_)
        | SignatureError::Expired(_)
        | SignatureError::NotYetCurrent(_)
        | SignatureError::HeaderNotSigned(_)
        | SignatureError::BodyHash
        | SignatureError::Mismatch => &common::INVALID_SIGNATURE,
    };
    ApiError::new(shape, error.to_string())
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
