//! Authorize: who opens a connection, and whether they may. Asked once, at `$connect`; what an authorizer says of the client
//! stands in every later event of the connection.
//!
//! As in AWS, a missing identity source is a 401, and so is a function that ends with `Unauthorized`; a policy that does
//! not allow is a 403, and an authorizer that does not work a 500. Answers are not kept, since a client asks once.

use bytes::Bytes;
use gatemill_wire::RequestId;
use http::{StatusCode, request::Parts};
use serde_json::{Map, Value};

use super::{
    INTERNAL, Refused, connection::Peer, happening::Happening, refused, select::text_of,
    snapshot::Route,
};
use crate::{
    Gateway,
    authorizer::{Asked, AuthorizerSnapshot, How, answers::Verdict},
    functions::Call,
    limits::AUTHORIZER_TIMEOUT,
    snapshot::Access,
};

/// What an authorizer said of a client.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// What stands in the events of the connection.
    pub(super) context: Option<Map<String, Value>>,
    /// The value of an API key that is the client's.
    pub(super) usage_key: Option<String>,
}

fn unauthorized(why: &str) -> Refused {
    refused(StatusCode::UNAUTHORIZED, "Unauthorized", why)
}

fn forbidden(why: impl Into<String>) -> Refused {
    refused(StatusCode::FORBIDDEN, "Forbidden", why)
}

fn broken(why: impl Into<String>) -> Refused {
    refused(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL, why)
}

/// Decides about a handshake; gives what is known of the client from then on.
pub(super) async fn authorize(
    gateway: &Gateway,
    route: &Route,
    head: &Parts,
    happening: &Happening<'_>,
) -> Result<Known, Refused> {
    match &route.access {
        Access::Open => Ok(Known::default()),
        Access::Iam => signer(gateway, route, head, happening).map(|()| Known::default()),
        Access::By { authorizer, .. } => by_function(gateway, route, authorizer, happening).await,
        Access::Broken => Err(broken("the route's authorizer is gone")),
    }
}

/// `AWS_IAM`: every failure is a 403.
fn signer(
    gateway: &Gateway,
    route: &Route,
    head: &Parts,
    happening: &Happening<'_>,
) -> Result<(), Refused> {
    let callers = gateway.callers.get().ok_or_else(|| forbidden("no access keys are known"))?;
    let caller = callers.signer(happening.now, head, &Bytes::new()).map_err(forbidden)?;
    let own = caller.account == happening.peer.account;
    if own && callers.may(&caller, "execute-api:Invoke", &route.source_arn) {
        return Ok(());
    }
    Err(forbidden("the signer may not open a connection"))
}

async fn by_function(
    gateway: &Gateway,
    route: &Route,
    authorizer: &AuthorizerSnapshot,
    happening: &Happening<'_>,
) -> Result<Known, Refused> {
    let How::Function(asked) = &authorizer.how else {
        return Err(broken("the authorizer's URI names no function"));
    };
    if authorizer.identity_source().iter().any(|source| happening.lookup(source).is_empty()) {
        return Err(unauthorized("an identity source is missing"));
    }
    let verdict = ask(gateway, asked, route, happening).await?;
    let Peer { source_ip, .. } = happening.peer;
    if !verdict.allows(&route.source_arn, source_ip, happening.now) {
        return Err(forbidden(format!("the authorizer {} refuses", authorizer.id())));
    }
    let mut known = Map::new();
    if let Some(principal) = verdict.principal {
        known.insert("principalId".to_owned(), principal.into());
    }
    for (name, value) in verdict.context.iter().flatten() {
        known.insert(name.clone(), text_of(Some(value)).into());
    }
    Ok(Known { context: Some(known), usage_key: verdict.usage_key })
}

async fn ask(
    gateway: &Gateway,
    asked: &Asked,
    route: &Route,
    happening: &Happening<'_>,
) -> Result<Verdict, Refused> {
    let Peer { account, .. } = happening.peer;
    if !gateway.functions.allows(&asked.function, &asked.source_arn, account) {
        let source = &asked.source_arn;
        return Err(broken(format!("the authorizer's policy does not let {source} invoke it")));
    }
    let payload = happening.decision(&route.source_arn);
    let payload = payload.map_err(|error| broken(error.to_string()))?;
    let request_id = RequestId(gateway.entropy.uuid());
    let trace_id = happening.trace_id;
    let call = Call { function: &asked.function, payload, request_id, trace_id };
    let answer = tokio::time::timeout(AUTHORIZER_TIMEOUT, gateway.functions.invoke(call)).await;
    let answer = answer
        .map_err(|_| broken("the authorizer took too long"))?
        .map_err(|error| broken(format!("the authorizer failed: {error}")))?;
    if answer.failed {
        let error: Value = serde_json::from_slice(&answer.payload).unwrap_or_default();
        return Err(match error["errorMessage"].as_str() {
            Some("Unauthorized") => unauthorized("the authorizer said so"),
            _ => broken("the authorizer ended in an error"),
        });
    }
    Verdict::read(&answer.payload, false).map_err(broken)
}
