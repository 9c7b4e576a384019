//! HTTP APIs and WebSocket APIs in front of functions and servers: the control plane and the data plane.
//!
//! | module | what it holds |
//! |---|---|
//! | `control` | the operations of `apigatewayv2`, one file per family, and their table |
//! | `record` | what is stored, and under which keys |
//! | `snapshot`, `live` | the immutable view that requests are served from, and the one of now |
//! | `trie`, `uri` | the choice of a route; the address of an HTTP integration |
//! | [`proxy`] | the path of a request: parse → route → authorize → throttle → request → integrate → response → record |
//! | `websocket` | the path of a WebSocket connection and of its messages |
//! | [`functions`] | what the gateway asks of functions |
//!
//! It opens no listener (the server does, and asks [`Gateway::claims`] whose a request is) and knows no REST APIs yet:
//! their operations answer 501.

mod control;
mod error;
pub mod functions;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod limits;
mod live;
pub mod proxy;
mod record;
mod snapshot;
mod trie;
mod uri;
mod websocket;

use std::{fmt, pin::Pin, sync::Arc};

use gatemill_store::Store;
use gatemill_wire::{Clock, Entropy, Served};

pub use control::routes::table;
pub use error::Error;
pub use functions::Functions;
pub use proxy::{
    Arrival, ProxyBody, Target,
    record::Counts,
    upstream::{Egress, Network},
};
pub use websocket::{Held, WebSocketSettings, manage::Management, management_table};

/// HTTP APIs and WebSocket APIs: their control plane and their data plane.
pub struct Gateway {
    store: Store,
    functions: Arc<dyn Functions>,
    entropy: Arc<dyn Entropy>,
    clock: Arc<dyn Clock>,
    settings: Settings,
    connections: websocket::connection::Connections,
    /// Names this run of the server, in what it keeps of connections.
    connections_run: String,
    live: Arc<live::Live>,
    upstream: proxy::upstream::Upstream,
    tally: proxy::record::Tally,
}

/// What a gateway is made of.
pub struct Parts {
    /// Where APIs are kept.
    pub store: Store,
    /// What runs functions.
    pub functions: Arc<dyn Functions>,
    /// Random bytes for request ids and trace ids.
    pub entropy: Arc<dyn Entropy>,
    /// The time, for what no request brings it to.
    pub clock: Arc<dyn Clock>,
    /// What the operator chose.
    pub settings: Settings,
}

/// What the operator chose.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// A domain below which every name `<api-id>.execute-api.<domain>` leads here, for `ApiEndpoint` in answers.
    /// Without one, callers on the loopback get `localhost` and others the path form.
    pub base_domain: Option<String>,
    /// Where HTTP integrations may not go.
    pub egress: Egress,
    /// How WebSocket connections are kept.
    pub websocket: WebSocketSettings,
}

/// A named task that the server runs until it shuts down, and starts again should it end.
pub struct Worker {
    /// Its name in logs and metrics.
    pub name: &'static str,
    /// Makes its future.
    pub run: Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>,
}

impl Gateway {
    /// A gateway over a store that holds its APIs.
    ///
    /// # Errors
    /// [`Error::Tls`] when the client for HTTP integrations cannot be set up.
    pub fn new(parts: Parts) -> Result<Arc<Self>, Error> {
        let upstream = proxy::upstream::Upstream::new(&parts.settings.egress)?;
        Ok(Arc::new(Self {
            live: Arc::new(live::Live::new(parts.store.clone())),
            store: parts.store,
            functions: parts.functions,
            connections: websocket::connection::Connections::default(),
            connections_run: parts.entropy.id(16),
            entropy: parts.entropy,
            clock: parts.clock,
            settings: parts.settings,
            upstream,
            tally: proxy::record::Tally::default(),
        }))
    }

    /// The operations of `apigatewayv2`.
    pub fn routes(self: &Arc<Self>) -> Box<dyn Served> {
        Box::new(control::routes::table().serve(Arc::clone(self)))
    }

    /// What has to run in the background.
    pub fn workers(self: &Arc<Self>) -> Vec<Worker> {
        let live = Arc::clone(&self.live);
        let mut workers = vec![Worker {
            name: "gateway-compile",
            run: Box::new(move || Box::pin(Arc::clone(&live).compile_ahead())),
        }];
        workers.extend(self.websocket_workers());
        workers
    }

    /// Forgets what is in memory; to be called after the store was emptied.
    pub async fn reset(&self) {
        self.live.clear();
        // Their APIs are gone, too.
        self.connections.close_all(websocket::connection::LEAVING);
    }

    /// What the data plane has done so far.
    pub fn counts(&self) -> Counts {
        self.tally.counts()
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("name", &self.name).finish_non_exhaustive()
    }
}
