//! `$disconnect`: delivered for every connection that was accepted, also when the server was killed meanwhile.
//!
//! Where a stage has the route, a connection is written to the store before its handshake is answered, and removed after
//! its `$disconnect` was delivered. What a run of the server leaves behind, because it was killed or its drain was too
//! short, the next one delivers, with the code of a connection that broke off. So it is delivered once, and twice only
//! where the server was killed between the function's answer and the removal. A function that fails has been told.

use std::sync::Arc;

use gatemill_store::Key;
use gatemill_wire::payload::headers::new_trace_id;
use tokio::sync::Semaphore;

use super::{
    connection::Peer,
    drive::End,
    frame::code,
    happening::{Happening, What},
    id::ConnectionId,
    integrate, log,
};
use crate::{
    Gateway,
    error::Result,
    limits::{DISCONNECT_RETRY_FIRST, DISCONNECT_TRIES_MAX, DISCONNECTS_AT_ONCE_MAX, PAGE_MAX},
    record::{CONNECTIONS, ConnectionRecord},
};

/// Writes a connection down.
pub(super) async fn remember(gateway: &Gateway, peer: &Peer) -> Result<()> {
    let record = ConnectionRecord {
        run: gateway.connections_run.clone(),
        api: peer.api.clone(),
        stage: peer.stage.clone(),
        domain_name: peer.domain_name.clone(),
        source_ip: peer.source_ip.clone(),
        user_agent: peer.user_agent.clone(),
        connected: peer.connected,
        authorizer: peer.authorizer.clone(),
        account: peer.account.clone(),
    };
    let key = Key::new([peer.id.to_string()]);
    gateway.store.write(move |tx| Ok(CONNECTIONS.put(tx, &key, &record)?)).await
}

/// Delivers the end of a connection, and forgets the connection.
pub(super) async fn deliver(gateway: &Gateway, peer: &Peer, end: &End, is_remembered: bool) {
    tell(gateway, peer, end).await;
    if is_remembered {
        forget(gateway, peer.id.to_string()).await;
    }
}

async fn tell(gateway: &Gateway, peer: &Peer, end: &End) {
    let mut wait = DISCONNECT_RETRY_FIRST;
    for attempt in 1..=DISCONNECT_TRIES_MAX {
        let stage = match gateway.websocket_stage(&peer.api, &peer.stage).await {
            Ok(Some(stage)) => stage,
            Ok(None) => return,
            Err(error) => {
                return tracing::error!(api = %peer.api, error = %error, "an API cannot be compiled");
            }
        };
        let route = stage.websocket.as_ref().and_then(|it| it.routes.get("$disconnect"));
        let Some(route) = route.filter(|route| route.integration.is_some()) else { return };
        let (id, now) = (gateway.short_id(), gateway.clock.now());
        let trace_id = new_trace_id(&*gateway.entropy, now);
        let what = What::Disconnect { code: end.code, reason: &end.reason };
        let happening = Happening::new(peer, (&id, &trace_id), now, &stage.variables, what);
        let told = integrate::integrate(gateway, &stage, route, &happening).await;
        if attempt < DISCONNECT_TRIES_MAX && told.as_ref().is_err_and(|told| told.is_throttled) {
            tokio::time::sleep(wait).await;
            wait *= 2;
            continue;
        }
        let status = told.as_ref().map_or_else(|failed| failed.status, |reply| reply.status);
        log::write(gateway, &stage, &happening, status, None);
        match told {
            Err(failed) => {
                let (api, stage) = (&peer.api, &peer.stage);
                return tracing::warn!(%api, %stage, %id, why = %failed.why, "$disconnect");
            }
            Ok(_) => return,
        }
    }
}

async fn forget(gateway: &Gateway, id: String) {
    let key = Key::new([id]);
    let forgotten: Result<()> = gateway
        .store
        .write(move |tx| {
            CONNECTIONS.delete(tx, &key)?;
            Ok(())
        })
        .await;
    if let Err(error) = forgotten {
        // It stays, and the next run delivers it again.
        tracing::error!(error = %error, "a connection that ended cannot be forgotten");
    }
}

/// Delivers what earlier runs left behind. A worker: it may be killed and started again.
pub(crate) async fn deliver_left_behind(gateway: Arc<Gateway>) {
    let room = Arc::new(Semaphore::new(DISCONNECTS_AT_ONCE_MAX));
    let mut after: Option<Key> = None;
    loop {
        let page =
            gateway.store.read(|tx| CONNECTIONS.scan(tx, &Key::empty(), after.as_ref(), PAGE_MAX));
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                tracing::error!(error = %error, "connections of earlier runs cannot be read");
                break;
            }
        };
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        for (key, record) in page {
            if record.run == gateway.connections_run {
                continue;
            }
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else { break };
            let (gateway, id) =
                (Arc::clone(&gateway), key.text(0).unwrap_or_default().into_owned());
            tokio::spawn(async move {
                left_behind(&gateway, id, record).await;
                drop(permit);
            });
        }
    }
    // All that was left behind is under way; a worker does not end.
    std::future::pending::<()>().await;
}

async fn left_behind(gateway: &Gateway, id: String, record: ConnectionRecord) {
    let Some(connection_id) = ConnectionId::parse(&id) else { return forget(gateway, id).await };
    let peer = Peer {
        id: connection_id,
        api: record.api,
        stage: record.stage,
        account: record.account,
        domain_name: record.domain_name,
        source_ip: record.source_ip,
        user_agent: record.user_agent,
        connected: record.connected,
        authorizer: record.authorizer,
        api_key: None,
    };
    let reason = "Connection closed abnormally".to_owned();
    deliver(gateway, &peer, &End { code: code::ABNORMAL, reason }, true).await;
}
