//! The path of a message: select → throttle → validate → integrate → answer.
//!
//! Each runs in a task of its own, so that messages of one connection are handled side by side, within a limit. It reads
//! the snapshot of the stage as it is now: a deployment holds for the connections that are open.

use std::sync::Arc;

use bytes::Bytes;
use gatemill_wire::payload::headers::new_trace_id;

use super::{
    connection::{Connection, LEAVING},
    drive::Inbox,
    frame,
    happening::{Happening, What},
    integrate,
    snapshot::Route,
    validate::Invalid,
};
use crate::{
    Gateway,
    limits::MESSAGE_BYTES_MAX,
    measure::{CLIENT_ERROR, EXECUTION_ERROR, MESSAGES},
    snapshot::StageSnapshot,
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
    InvalidBody,
    Internal,
}

async fn handle(gateway: &Gateway, connection: &Connection, text: &str) {
    let peer = &connection.peer;
    gateway.records.tally.message();
    connection.count_received(text.len());
    let (id, message_id) = (gateway.short_id(), gateway.short_id());
    let now = gateway.clock.now();
    let stage = match gateway.websocket_stage(&peer.api, &peer.stage).await {
        Ok(Some(stage)) => stage,
        // The stage was deleted.
        Ok(None) => return connection.close(LEAVING),
        Err(error) => {
            tracing::error!(api = %peer.api, error = %error, "an API cannot be compiled");
            return tell(gateway, connection, &id, Told::Internal);
        }
    };
    let trace_id = new_trace_id(&*gateway.entropy, now);
    let what = What::Message { id: &message_id, text };
    let mut happening = Happening::new(peer, (&id, &trace_id), now, &stage.variables, what);
    let measure = &gateway.records.measure;
    let route = select(&stage, &happening);
    measure.websocket(&stage, route, now, &[(&MESSAGES, 1.0)]);
    let Some(route) = route else {
        measure.websocket(&stage, None, now, &[(&CLIENT_ERROR, 1.0)]);
        return tell(gateway, connection, &id, Told::Forbidden);
    };
    happening.route_key = &route.key;
    if route.bucket.as_ref().is_some_and(|bucket| !bucket.take(now)) {
        measure.websocket(&stage, Some(route), now, &[(&CLIENT_ERROR, 1.0)]);
        return tell(gateway, connection, &id, Told::TooManyRequests);
    }
    match route.validation.check(&happening) {
        Ok(()) => {}
        Err(Invalid::Body(why)) => {
            tracing::debug!(api = %peer.api, stage = %peer.stage, route = %route.key, %id, why, "message");
            measure.websocket(&stage, Some(route), now, &[(&CLIENT_ERROR, 1.0)]);
            return tell(gateway, connection, &id, Told::InvalidBody);
        }
        Err(Invalid::Model(why)) => {
            tracing::warn!(api = %peer.api, stage = %peer.stage, route = %route.key, %id, why, "message");
            measure.websocket(&stage, Some(route), now, &[(&EXECUTION_ERROR, 1.0)]);
            return tell(gateway, connection, &id, Told::Internal);
        }
    }
    let reply = integrate::integrate(gateway, &stage, route, &happening).await;
    match reply {
        Ok(reply) if reply.body.len() > MESSAGE_BYTES_MAX => {
            tracing::debug!(api = %peer.api, route = %route.key, "an answer is too large");
            tell(gateway, connection, &id, Told::Internal);
        }
        Ok(reply) if route.answers && !reply.body.is_empty() => {
            connection.count_sent(reply.body.len());
            measure.websocket(&stage, Some(route), now, &[(&MESSAGES, 1.0)]);
            connection.answer(frame::text(&as_text(&reply.body)), gateway.clock.now());
        }
        Ok(_) => {}
        Err(failed) => {
            tracing::warn!(api = %peer.api, stage = %peer.stage, route = %route.key, %id, why = %failed.why, "message");
            tell(gateway, connection, &id, Told::Internal);
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
    let message = match told {
        Told::Forbidden => "Forbidden",
        Told::TooManyRequests => "Too Many Requests",
        Told::InvalidBody => "Invalid request body",
        Told::Internal => "Internal server error",
    };
    let text = error_text(message, &connection.peer.id.to_string(), request_id);
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
