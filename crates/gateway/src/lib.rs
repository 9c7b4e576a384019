//! HTTP APIs and WebSocket APIs in front of functions and servers: the control plane and the data plane.
//!
//! | module | what it holds |
//! |---|---|
//! | `control` | the operations of `apigatewayv2` and some of `apigateway`, one file per family, and their tables |
//! | `record` | what is stored, and under which keys |
//! | `snapshot`, `live` | the immutable view that requests are served from, and the one of now |
//! | [`access_log`], [`usage`], `measure` | the lines, the counts and the measurements that requests leave behind |
//! | `usage_plans` | API keys, and the plans that say what a key may do |
//! | `domain` | which API a domain leads to |
//! | `schema` | models: the JSON schemas that messages are checked by |
//! | `trust`, `client_cert` | mutual TLS: whom the clients of a domain have to be known to, and who they are |
//! | `trie`, `uri` | the choice of a route; the address of an HTTP integration |
//! | [`proxy`] | the path of a request: parse → route → authorize → throttle → request → integrate → response → record |
//! | `websocket` | the path of a WebSocket connection and of its messages |
//! | `openapi` | definitions of HTTP APIs, read and written |
//! | `service` | actions of AWS services behind routes |
//! | `authorizer`, `expression`, `mapping` | authorizers, expressions and parameter mappings, compiled |
//! | [`functions`], [`callers`] | what the gateway asks of functions, and about those who sign |
//!
//! It opens no listener (the server does, and asks [`Gateway::claims`] whose a request is) and knows no REST APIs yet:
//! their operations answer 501, but for those of API keys and usage plans.

pub mod access_log;
mod authorizer;
pub mod callers;
mod client_cert;
mod control;
mod domain;
mod error;
mod expression;
pub mod functions;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
pub mod limits;
mod live;
mod mapping;
mod measure;
mod openapi;
pub mod proxy;
mod record;
mod schema;
mod service;
mod snapshot;
mod trie;
mod trust;
mod uri;
pub mod usage;
mod usage_plans;
mod websocket;

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, OnceLock},
};

use gatemill_store::Store;
use gatemill_wire::{Clock, Entropy, Served};

pub use access_log::AccessLogs;
pub use callers::Callers;
pub use control::{gaps::GAPS, rest::table as rest_table, routes::table};
pub use error::Error;
pub use functions::Functions;
pub use proxy::{
    Arrival, ClientCert, ProxyBody, Target, Validity,
    record::Counts,
    upstream::{Egress, Network},
};
pub use record::UsageRecord;
pub use trust::{Certificates, DomainTls, TrustStore};
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
    records: Arc<proxy::record::Records>,
    usage: Arc<usage::Usage>,
    usage_plans: Arc<usage_plans::UsagePlans>,
    access_logs: Arc<dyn AccessLogs>,
    callers: OnceLock<Arc<dyn Callers>>,
    issuers: authorizer::issuers::Issuers,
    domains: Arc<domain::Domains>,
    certificates: OnceLock<Arc<dyn Certificates>>,
    services: OnceLock<Arc<gatemill_aws::Client>>,
}

/// What a gateway is made of.
pub struct Parts {
    /// Where APIs are kept.
    pub store: Store,
    /// What runs functions.
    pub functions: Arc<dyn Functions>,
    /// Where the lines of access logs go.
    pub access_logs: Arc<dyn AccessLogs>,
    /// Random bytes for request ids and trace ids.
    pub entropy: Arc<dyn Entropy>,
    /// The time, for what no request brings it to.
    pub clock: Arc<dyn Clock>,
    /// What values of API keys are sealed with; it has to be the same at every start.
    pub api_key_key: [u8; 32],
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
    /// A directory that stands in for the buckets of trust stores.
    pub truststores: Option<std::path::PathBuf>,
    /// A directory of certificates, `*.pem`, that vouch for the servers of integrations beside the public ones.
    pub roots: Option<std::path::PathBuf>,
    /// How WebSocket connections are kept.
    pub websocket: WebSocketSettings,
    /// Requests a second of an account in a region. AWS starts at 10,000; without one there is no limit.
    pub account_rate: Option<f64>,
    /// Requests of an account that may come at once. AWS starts at 5,000.
    pub account_burst: Option<i32>,
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
        let upstream = proxy::upstream::Upstream::new(
            &parts.settings.egress,
            parts.settings.roots.as_deref(),
        )?;
        let usage = Arc::new(usage::Usage::new(parts.store.clone(), Arc::clone(&parts.clock)));
        let plans = usage_plans::UsagePlans::new(parts.store.clone(), &parts.api_key_key);
        let Settings { account_rate, account_burst, .. } = parts.settings;
        let accounts = proxy::throttle::AccountBuckets::new(account_rate, account_burst);
        let shared = Arc::new(snapshot::Shared { usage: Arc::clone(&usage), accounts });
        Ok(Arc::new(Self {
            live: Arc::new(live::Live::new(parts.store.clone(), shared)),
            domains: Arc::new(domain::Domains::new(parts.store.clone())),
            store: parts.store,
            functions: parts.functions,
            connections: websocket::connection::Connections::default(),
            connections_run: parts.entropy.id(16),
            entropy: parts.entropy,
            clock: parts.clock,
            settings: parts.settings,
            upstream,
            records: Arc::new(proxy::record::Records {
                tally: proxy::record::Tally::default(),
                log: Arc::new(access_log::Queue::new()),
                measure: measure::Measure::default(),
            }),
            usage,
            usage_plans: Arc::new(plans),
            access_logs: parts.access_logs,
            callers: OnceLock::new(),
            issuers: authorizer::issuers::Issuers::default(),
            certificates: OnceLock::new(),
            services: OnceLock::new(),
        }))
    }

    /// Says who knows access keys; until then every route with `AWS_IAM` refuses. Once, since they know the server.
    pub fn set_callers(&self, callers: Arc<dyn Callers>) {
        if self.callers.set(callers).is_err() {
            tracing::error!("the callers of APIs were set twice");
        }
    }

    /// Says which services integrations can call, and trust stores come from; until then there are none. Once.
    pub fn set_services(&self, services: Arc<gatemill_aws::Client>) {
        if self.services.set(services).is_err() {
            tracing::error!("the services of APIs were set twice");
        }
    }

    /// The services that integrations can call.
    fn configured(&self) -> Option<&gatemill_aws::Services> {
        self.services.get().map(|client| client.services())
    }

    /// The operations of `apigatewayv2`.
    pub fn routes(self: &Arc<Self>) -> Box<dyn Served> {
        Box::new(control::routes::table().serve(Arc::clone(self)))
    }

    /// The operations of `apigateway`.
    pub fn rest_routes(self: &Arc<Self>) -> Box<dyn Served> {
        Box::new(control::rest::table().serve(Arc::clone(self)))
    }

    /// What has to run in the background.
    pub fn workers(self: &Arc<Self>) -> Vec<Worker> {
        let live = Arc::clone(&self.live);
        let (usage, plans) = (Arc::clone(&self.usage), Arc::clone(&self.usage_plans));
        let (log, sink) = (Arc::clone(&self.records.log), Arc::clone(&self.access_logs));
        let mut workers = vec![
            Worker {
                name: "gateway-compile",
                run: Box::new(move || Box::pin(Arc::clone(&live).compile_ahead())),
            },
            Worker {
                name: "gateway-access-log",
                run: Box::new(move || Box::pin(Arc::clone(&log).run(Arc::clone(&sink)))),
            },
            Worker {
                name: "gateway-usage",
                run: Box::new(move || Box::pin(Arc::clone(&usage).run())),
            },
            Worker {
                name: "gateway-usage-plans",
                run: Box::new(move || Box::pin(Arc::clone(&plans).run())),
            },
        ];
        workers.extend(self.websocket_workers());
        workers
    }

    /// Returns when the lines of access logs are with their sink, usage is stored, and what keys did not use of the calls that
    /// were reserved for them is given back.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn flush(&self) -> Result<(), Error> {
        self.records.log.flush().await;
        // Neither waits for the other's success.
        let counted = self.usage.store().await;
        self.usage_plans.flush().await.and(counted)
    }

    /// Whether there is an API of this id.
    ///
    /// # Errors
    /// When the store fails.
    pub fn has_api(&self, id: &str) -> Result<bool, Error> {
        self.store.read(|tx| Ok(record::OWNERS.contains(tx, &gatemill_store::Key::new([id]))?))
    }

    /// What stages, and routes where their stage asked for it, were used for since the start.
    pub fn totals(&self) -> Vec<(usage::Metered, usage::Totals)> {
        self.usage.totals()
    }

    /// The stored usage of an account, by stage and day (days since 1970).
    ///
    /// # Errors
    /// When the store fails.
    pub fn usage(&self, account: &str) -> Result<Vec<(usage::Metered, u64, UsageRecord)>, Error> {
        self.usage.stored(account)
    }

    /// Forgets what is in memory; to be called after the store was emptied.
    pub async fn reset(&self) {
        self.usage.clear();
        self.usage_plans.clear();
        self.live.clear();
        self.domains.changed();
        // Their APIs are gone, too.
        self.connections.close_all(websocket::connection::LEAVING);
    }

    /// What the data plane has done so far.
    pub fn counts(&self) -> Counts {
        self.records.tally.counts()
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
