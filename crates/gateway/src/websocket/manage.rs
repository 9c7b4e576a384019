//! The API Gateway Management API, `@connections`: post to a connection, look at it, end it.
//!
//! Its clients sign as for any AWS API; which API and stage are meant, the endpoint says, in one of two forms:
//! `https://<api>.execute-api.<domain>/<stage>` and the path form of `proxy::parse`. The server turns such a request
//! into a call of the operation with [`Gateway::manages`]. The server's own endpoint works as well, since an id is enough to
//! find its connection: so a function can use the client without naming an endpoint.

use std::sync::Arc;

use gatemill_api::apigatewaymanagementapi::{
    self as aws, DeleteConnectionRequest, GetConnectionRequest, GetConnectionResponse, Identity,
    PostToConnectionRequest,
};
use gatemill_wire::{Cx, Iso8601, Served, Table, percent};
use http::{Uri, request::Parts};

use super::{
    connection::{Close, Connection, Unsent},
    frame,
    id::ConnectionId,
    message::as_text,
};
use crate::{
    Gateway,
    error::{Error, Result},
    limits::MESSAGE_BYTES_MAX,
    measure::MESSAGES,
    proxy::Target,
};

/// Which operation is served by which handler.
pub fn table() -> Table<Gateway, Error> {
    Table::new(&aws::SERVICE)
        .on::<aws::PostToConnection>(post)
        .on::<aws::GetConnection>(get)
        .on::<aws::DeleteConnection>(delete)
}

/// A call of the management API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Management {
    /// The operation's own path: what follows the stage.
    pub path: String,
    /// The endpoint that was called, without scheme and host: `/<api>/<stage>`.
    pub endpoint: String,
}

const CONNECTIONS: &str = "/@connections/";

impl Gateway {
    /// The operations of `apigatewaymanagementapi`.
    pub fn management_routes(self: &Arc<Self>) -> Box<dyn Served> {
        Box::new(table().serve(Arc::clone(self)))
    }

    /// Whether a request to the data plane is a call of the management API, and of which API's.
    pub fn manages(&self, target: &Target, parts: &Parts) -> Option<Management> {
        // Asked of every request to an API, and nearly none is one.
        if !parts.uri.path().contains("connections/") {
            return None;
        }
        let (stage, rest) = target.stage_of(&parts.uri);
        // The at sign may come encoded; the id's own encoding is the operation's to read.
        let rest = rest.replacen("/%40", "/@", 1);
        let path = rest.starts_with(CONNECTIONS).then_some(rest)?;
        let (api, stage) = (&target.api_id, percent::encode(stage.as_bytes(), b"$-_"));
        Some(Management { path, endpoint: format!("/{api}/{stage}") })
    }
}

impl Management {
    /// The URI that the operation is found by.
    pub fn uri(&self) -> Option<Uri> {
        self.path.parse().ok()
    }
}

async fn post(gateway: &Gateway, cx: &Cx, req: PostToConnectionRequest) -> Result<()> {
    let connection = find(gateway, cx, &req.connection_id)?;
    if req.data.len() > MESSAGE_BYTES_MAX {
        return Err(Error::PayloadTooLarge);
    }
    gateway.records.tally.message();
    let frames = frame::text(&as_text(&req.data));
    connection.send(frames, cx.now).map_err(|unsent| match unsent {
        Unsent::Gone => Error::Gone,
        Unsent::Full => Error::ClientBufferFull,
    })?;
    connection.count_sent(req.data.len());
    let peer = &connection.peer;
    if let Ok(Some(stage)) = gateway.websocket_stage(&peer.api, &peer.stage).await {
        gateway.records.measure.websocket(&stage, None, cx.now, &[(&MESSAGES, 1.0)]);
    }
    Ok(())
}

async fn get(
    gateway: &Gateway,
    cx: &Cx,
    req: GetConnectionRequest,
) -> Result<GetConnectionResponse> {
    let connection = find(gateway, cx, &req.connection_id)?;
    let peer = &connection.peer;
    Ok(GetConnectionResponse {
        connected_at: Some(Iso8601(peer.connected)),
        identity: Some(Identity {
            source_ip: peer.source_ip.clone(),
            user_agent: peer.user_agent.clone().unwrap_or_default(),
        }),
        last_active_at: Some(Iso8601(connection.last_active())),
    })
}

async fn delete(gateway: &Gateway, cx: &Cx, req: DeleteConnectionRequest) -> Result<()> {
    let connection = find(gateway, cx, &req.connection_id)?;
    connection.close(Close { code: frame::code::NORMAL, reason: "Connection Closed Normally" });
    Ok(())
}

/// The connection, which has to be of the caller's account, and of the API and stage where the endpoint names them. Whoever
/// asks for one that is not learns only that it is gone.
fn find(gateway: &Gateway, cx: &Cx, id: &str) -> Result<Arc<Connection>> {
    let id = ConnectionId::parse(id).ok_or(Error::Gone)?;
    if id.node() != gateway.settings.websocket.node {
        return Err(Error::Gone);
    }
    let connection = gateway.connections.get(id).ok_or(Error::Gone)?;
    let peer = &connection.peer;
    let is_meant = |api: &str, stage: &str| peer.api == api && peer.stage == percent::decode(stage);
    if named(&cx.endpoint).is_some_and(|(api, stage)| !is_meant(api, stage)) {
        return Err(Error::Gone);
    }
    if peer.account != cx.account() {
        return Err(Error::NotYours);
    }
    Ok(connection)
}

/// The API and the stage that an endpoint names; the server's own names none, and a connection's id is enough.
fn named(endpoint: &str) -> Option<(&str, &str)> {
    let (_, rest) = endpoint.split_once("://")?;
    let (_, path) = rest.split_once('/')?;
    path.split_once('/')
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn an_endpoint_may_name_an_api_and_its_stage() {
        assert_eq!(named("http://127.0.0.1:4566/a1/dev"), Some(("a1", "dev")));
        assert_eq!(
            named("http://a1.execute-api.localhost:4566/a1/$default"),
            Some(("a1", "$default"))
        );
        assert_eq!(named("http://127.0.0.1:4566"), None);
    }
}
