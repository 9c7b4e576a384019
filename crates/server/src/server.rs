//! The running server, as its threads share it.

use std::{fmt, net::SocketAddr, sync::Arc};

use gatemill_events::Events;
use gatemill_gateway::Gateway;
use gatemill_lambda::Lambda;
use gatemill_logs::Logs;
use gatemill_metrics::Metrics;
use gatemill_sandbox::{Sandboxes, runtime::Runtimes};
use gatemill_wire::{Arrival, Clock, Entropy, Front, Timestamp};
use http::request::Parts;
use tokio::sync::Semaphore;

use crate::{
    configuration::{Configuration, Mode},
    in_flight::InFlight,
    limits,
    otlp::Exporter,
    own_host,
    peer::Peer,
    recorder::CallRecorder,
    tls::Tls,
};

/// Everything a request can need.
pub(crate) struct Server {
    /// What holds.
    pub(crate) configuration: Configuration,
    /// Where it listens, with the port that was picked.
    pub(crate) address: SocketAddr,
    /// Where it speaks TLS, likewise.
    pub(crate) tls_address: Option<SocketAddr>,
    /// What ends TLS there.
    pub(crate) tls: Option<Arc<Tls>>,
    /// When it was started.
    pub(crate) started: Timestamp,
    /// The time.
    pub(crate) clock: Arc<dyn Clock>,
    /// Randomness.
    pub(crate) entropy: Arc<dyn Entropy>,
    /// The AWS services.
    pub(crate) front: Front,
    /// Told of every API call.
    pub(crate) recorder: Arc<CallRecorder>,
    /// Connections and API calls that run.
    pub(crate) in_flight: InFlight,
    /// KiB that bodies may still take together.
    pub(crate) bodies: Semaphore,
    /// The interpreters of this machine.
    pub(crate) runtimes: Runtimes,
    /// Where customer code runs.
    pub(crate) sandboxes: Sandboxes,
    /// Functions.
    pub(crate) lambda: Arc<Lambda>,
    /// Event source mappings.
    pub(crate) events: Arc<Events>,
    /// HTTP APIs and WebSocket APIs.
    pub(crate) gateway: Arc<Gateway>,
    /// CloudWatch Logs.
    pub(crate) logs: Arc<Logs>,
    /// The exporter of traces, where one is configured.
    pub(crate) spans: Option<Arc<Exporter>>,
    /// CloudWatch metrics.
    pub(crate) metrics: Arc<Metrics>,
    /// Durable records.
    pub(crate) store: gatemill_store::Store,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    /// Room for [`limits::API_BODIES_BYTES_MAX`], in KiB.
    pub(crate) fn room_for_bodies() -> Semaphore {
        Semaphore::new(limits::API_BODIES_BYTES_MAX / 1024)
    }

    /// What is known of a request before it is read.
    pub(crate) fn arrival(&self, parts: &Parts, peer: &Peer) -> Arrival {
        Arrival {
            now: self.clock.now(),
            source_ip: peer.source_ip(),
            endpoint: self.endpoint(parts, peer),
            entropy: Arc::clone(&self.entropy),
            passage: None,
        }
    }

    /// Empties the server: records, queues, blobs, and what is kept of them in memory.
    ///
    /// # Errors
    /// When the store cannot be emptied.
    pub(crate) async fn reset(&self) -> Result<(), gatemill_store::Error> {
        self.store.clear().await?;
        self.events.reset();
        self.lambda.reset().await;
        // The environments that ended have said their last words by now; those go, too.
        if let Err(error) = self.logs.reset().await {
            tracing::warn!(%error, "log lines from before the reset may stay");
        }
        self.store.clear().await?;
        self.gateway.reset().await;
        self.metrics.reset().await;
        Ok(())
    }

    /// Whether a request may be for this server, by the host that it names.
    pub(crate) fn answers_to(&self, parts: &Parts) -> bool {
        let Configuration { mode, insecure_public, api_domain, .. } = &self.configuration;
        *mode == Mode::Serve || *insecure_public || own_host::is_ours(parts, api_domain.as_deref())
    }

    /// The base URL of the server's own address.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The base URL of the address where it speaks TLS.
    pub(crate) fn tls_url(&self) -> Option<String> {
        self.tls_address.map(|address| format!("https://{address}"))
    }

    /// Scheme, host and port under which a caller reached us: what it wrote as host, when that can be one. It ends up
    /// in answers, so nothing else passes.
    fn endpoint(&self, parts: &Parts, peer: &Peer) -> String {
        let host = parts.uri.authority().map(http::uri::Authority::as_str);
        let host = host.or_else(|| parts.headers.get(http::header::HOST)?.to_str().ok());
        let byte_fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte);
        match host.filter(|host| (1..=255).contains(&host.len()) && host.bytes().all(byte_fits)) {
            Some(host) => format!("{}://{host}", peer.scheme()),
            None if peer.tls.is_some() => self.tls_url().unwrap_or_else(|| self.url()),
            None => self.url(),
        }
    }
}
