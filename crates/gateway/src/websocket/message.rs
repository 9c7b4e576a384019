//! The path of a message: select → throttle → admit → validate → integrate → answer.
//!
//! Each runs in a task of its own, so that messages of one connection are handled side by side, within a limit. It reads
//! the snapshot of the stage as it is now: a deployment holds for the connections that are open.

use std::sync::Arc;

use bytes::Bytes;
use gatemill_wire::{Timestamp, payload::headers::new_trace_id};

use super::{
    connection::{Connection, LEAVING},
    drive::Inbox,
    frame,
    happening::{Happening, What},
    integrate, key, log,
    snapshot::Route,
    validate::Invalid,
};
use crate::{
    Gateway,
    limits::MESSAGE_BYTES_MAX,
    measure::{CLIENT_ERROR, EXECUTION_ERROR, MESSAGES, Passing},
    proxy::throttle,
    snapshot::StageSnapshot,
    usage_plans::NotAdmitted,
};

/// The gateway as a connection's task sees it.
pub(super) struct Messages(pub(super) Arc<Gateway>);

impl Inbox for Messages {
    fn message(&self, connection: &Arc<Connection>, text: String) {
        let (gateway, handling) = (Arc::clone(&self.0), connection.handling());
        let connection = Arc::clone(connection);
        tokio::spawn(async move {
            handle(&gateway, &connection, &text).await;
            drop(handling);
        });
    }

    fn active(&self, connection: &Connection) {
        connection.touch(self.0.clock.now());
    }
}

/// The errors that a client is told of.
#[derive(Debug, Clone, Copy)]
enum Told {
    Forbidden,
    TooManyRequests,
    LimitExceeded,
    InvalidBody,
    Internal,
}

impl Told {
    fn message(self) -> &'static str {
        match self {
            Self::Forbidden => "Forbidden",
            Self::TooManyRequests => "Too Many Requests",
            Self::LimitExceeded => "Limit Exceeded",
            Self::InvalidBody => "Invalid request body",
            Self::Internal => "Internal server error",
        }
    }

    /// As the access log has it; a message has no status of its own.
    fn status(self) -> u16 {
        match self {
            Self::Forbidden => 403,
            Self::TooManyRequests | Self::LimitExceeded => 429,
            Self::InvalidBody => 400,
            Self::Internal => 500,
        }
    }
}

/// A message on its way.
struct Arrived<'a> {
    /// The id of this request, and that of the message.
    ids: (&'a str, &'a str),
    trace_id: &'a str,
    now: Timestamp,
    text: &'a str,
}

async fn handle(gateway: &Gateway, connection: &Connection, text: &str) {
    gateway.records.tally.message();
    connection.count_received(text.len());
    let (id, message_id) = (gateway.short_id(), gateway.short_id());
    let now = gateway.clock.now();
    let trace_id = new_trace_id(&*gateway.entropy, now);
    let measure = &gateway.records.measure;
    let mut passing = measure.passing(now);
    let arrived = Arrived { ids: (&id, &message_id), trace_id: &trace_id, now, text };
    let passed = pass(gateway, connection, &arrived, &mut passing).await;
    if let Err(told) = passed {
        tell(gateway, connection, &id, told);
    }
    passing.note("aws.api_gateway.api_id", || connection.peer.api.clone());
    passing.note("aws.api_gateway.stage", || connection.peer.stage.clone());
    passing.note("aws.request_id", || id.clone());
    let failed = matches!(passed, Err(Told::Internal));
    measure.passed("message", passing, &trace_id, failed);
}

/// The path. What the client is to be told is the error.
async fn pass(
    gateway: &Gateway,
    connection: &Connection,
    arrived: &Arrived<'_>,
    passing: &mut Passing,
) -> Result<(), Told> {
    let (peer, now) = (&connection.peer, arrived.now);
    let stage = match gateway.websocket_stage(&peer.api, &peer.stage).await {
        Ok(Some(stage)) => stage,
        // The stage was deleted.
        Ok(None) => {
            connection.close(LEAVING);
            return Ok(());
        }
        Err(error) => {
            tracing::error!(api = %peer.api, error = %error, "an API cannot be compiled");
            return Err(Told::Internal);
        }
    };
    let what = What::Message { id: arrived.ids.1, text: arrived.text };
    let ids = (arrived.ids.0, arrived.trace_id);
    let mut happening = Happening::new(peer, ids, now, &stage.variables, what);
    let passed = handle_one(gateway, connection, &stage, &mut happening, passing).await;
    let (status, message) = match &passed {
        Ok(()) => (200, None),
        Err(told) => (told.status(), Some(told.message())),
    };
    log::write(gateway, &stage, &happening, status, message);
    passed
}

/// The path from the choice of a route on.
async fn handle_one<'a>(
    gateway: &Gateway,
    connection: &Connection,
    stage: &'a StageSnapshot,
    happening: &mut Happening<'a>,
    passing: &mut Passing,
) -> Result<(), Told> {
    let (peer, now, id) = (&connection.peer, happening.now, happening.id);
    let measure = &gateway.records.measure;
    let route = select(stage, happening);
    measure.websocket(stage, route, now, &[(&MESSAGES, 1.0)]);
    passing.end("select");
    let client_error = |route| measure.websocket(stage, route, now, &[(&CLIENT_ERROR, 1.0)]);
    let Some(route) = route else {
        client_error(None);
        return Err(Told::Forbidden);
    };
    passing.note("http.route", || route.key.clone());
    happening.route_key = &route.key;
    if throttle::take(stage.bucket.as_deref(), route.bucket.as_deref(), now).is_err() {
        client_error(Some(route));
        return Err(Told::TooManyRequests);
    }
    passing.end("throttle");
    let admitted = key::admit(gateway, stage, route, peer.api_key.as_ref(), now).await;
    happening.api_key = admitted.map_err(|refused| {
        let told = told(refused);
        if !matches!(told, Told::Internal) {
            client_error(Some(route));
        }
        told
    })?;
    passing.end("admit");
    match route.validation.check(happening) {
        Ok(()) => {}
        Err(Invalid::Body(why)) => {
            tracing::debug!(api = %peer.api, stage = %peer.stage, route = %route.key, %id, why, "message");
            client_error(Some(route));
            return Err(Told::InvalidBody);
        }
        Err(Invalid::Model(why)) => {
            tracing::warn!(api = %peer.api, stage = %peer.stage, route = %route.key, %id, why, "message");
            measure.websocket(stage, Some(route), now, &[(&EXECUTION_ERROR, 1.0)]);
            return Err(Told::Internal);
        }
    }
    passing.end("validate");
    let reply = integrate::integrate(gateway, stage, route, happening).await;
    passing.end("integrate");
    let reply = reply.map_err(|failed| {
        tracing::warn!(api = %peer.api, stage = %peer.stage, route = %route.key, %id, why = %failed.why, "message");
        Told::Internal
    })?;
    if reply.body.len() > MESSAGE_BYTES_MAX {
        tracing::debug!(api = %peer.api, route = %route.key, "an answer is too large");
        return Err(Told::Internal);
    }
    if route.answers && !reply.body.is_empty() {
        connection.count_sent(reply.body.len());
        measure.websocket(stage, Some(route), now, &[(&MESSAGES, 1.0)]);
        connection.answer(frame::text(&as_text(&reply.body)), gateway.clock.now());
        passing.end("answer");
    }
    Ok(())
}

fn told(refused: NotAdmitted) -> Told {
    match refused {
        NotAdmitted::Forbidden(_) => Told::Forbidden,
        NotAdmitted::TooManyRequests => Told::TooManyRequests,
        NotAdmitted::LimitExceeded => Told::LimitExceeded,
        NotAdmitted::Broken(error) => {
            tracing::error!(%error, "an API key cannot be looked up");
            Told::Internal
        }
    }
}

/// The route that the API's expression names; `$default` for everything else.
fn select<'s>(stage: &'s StageSnapshot, happening: &Happening<'_>) -> Option<&'s Route> {
    let websocket = stage.websocket.as_ref()?;
    let key = websocket.selection.as_ref().map(|it| it.evaluate(|name| happening.lookup(name)));
    // The three routes of the gateway's own are not for messages to choose, but `$default` is the one for all others.
    let own = |key: &String| !key.is_empty() && key != "$connect" && key != "$disconnect";
    let named = key.filter(own).and_then(|key| websocket.routes.get(&key));
    named.or_else(|| websocket.routes.get("$default")).map(Arc::as_ref)
}

/// Sends an error to the client.
fn tell(gateway: &Gateway, connection: &Connection, request_id: &str, told: Told) {
    let text = error_text(told.message(), &connection.peer.id.to_string(), request_id);
    connection.answer(frame::text(text.as_bytes()), gateway.clock.now());
}

/// An error as clients get it.
pub(super) fn error_text(message: &str, connection_id: &str, request_id: &str) -> String {
    serde_json::json!({
        "message": message,
        "connectionId": connection_id,
        "requestId": request_id,
    })
    .to_string()
}

/// What goes into a text frame has to be text.
pub(super) fn as_text(body: &Bytes) -> Bytes {
    match String::from_utf8_lossy(body) {
        std::borrow::Cow::Borrowed(_) => body.clone(),
        std::borrow::Cow::Owned(text) => Bytes::from(text),
    }
}
