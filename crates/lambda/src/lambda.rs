//! The service itself: what it is made of, and its face to the server and the gateway.

use std::{
    path::PathBuf,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use gatemill_image::Images;
use gatemill_sandbox::{Sandboxes, runtime::Runtimes};
use gatemill_store::Store;
use gatemill_wire::{Clock, Entropy, Served};

use crate::{
    AwsEndpoint, CodeDownloadError, Error, FunctionTarget, Invocation, LogSink, Outcome, Roles,
    Streaming, Worker,
    ahead::Ahead,
    code_store::CodeStore,
    control, durable,
    events::{self, EventCounts, EventStatus, Events, accept::Arrival},
    flights::Flights,
    governor::Governor,
    instance::Gauge,
    invoke::{
        self,
        resolve::{Service, Snapshots},
    },
    left::LeftBehind,
    limits,
    load::Loads,
    log_pump::LogPump,
    mapping::EventSources,
    measure::Measure,
    parked::{Parking, ParkingSettings},
    pool::Pool,
    provisioned::Groups,
    record::FUNCTIONS,
    shutdown,
    signature::Roots,
    snap_start::SnapStarts,
    target::FunctionKey,
    uid::Uids,
    url::Urls,
    vault::Vault,
    worker,
};

/// What [`Lambda::new`] needs.
pub struct Parts {
    /// Where records and packages are.
    pub store: Store,
    /// What makes execution environments.
    pub sandboxes: Sandboxes,
    /// The interpreters of this host.
    pub runtimes: Arc<Runtimes>,
    /// The time, for workers and calls.
    pub clock: Arc<dyn Clock>,
    /// Ids and keys.
    pub entropy: Arc<dyn Entropy>,
    /// Where log lines go.
    pub logs: Arc<dyn LogSink>,
    /// The directory of unpacked packages.
    pub code_dir: PathBuf,
    /// The directory of container images.
    pub image_dir: PathBuf,
    /// What environment variables are encrypted with. It has to be the same at every start.
    pub environment_key: [u8; 32],
    /// Numbers that operators choose.
    pub settings: Settings,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Numbers that operators choose.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Data-plane threads; each calls [`enter_shard`](crate::enter_shard) with its number.
    pub shards: usize,
    /// Calls of one account that run at one time; AWS's default is 1,000.
    pub account_concurrency: u32,
    /// Environments that are made at one time; four per core is a good number.
    pub starts_at_once: usize,
    /// What is made before anybody calls.
    pub parking: ParkingSettings,
    /// Initialised environments that a function whose initialisation is long keeps for calls to come; 0 for none.
    pub ahead: usize,
    /// How long an environment without calls is kept.
    pub idle_max: Duration,
    /// How long an environment has no call before it is frozen.
    pub freeze_after: Duration,
    /// Memory that idle environments may hold together, in bytes; those that are worth the least go first.
    pub idle_memory_max: u64,
    /// Where container images may come from.
    pub images: gatemill_image::Settings,
    /// Whether another version of a language may run in place of one that is not installed.
    pub nearest_runtime: bool,
    /// The CPU that every function may use while there is some to spare, in thousandths of a CPU. Above it, and
    /// wherever functions compete, 1,769 MB of memory buy one CPU.
    pub cpu_millis_min: u32,
    /// How long initialisation may take before it is repeated inside the call.
    pub init_timeout: Duration,
    /// How long a call waits for a function that is being created.
    pub pending_wait: Duration,
    /// The domain below which the hosts of function URLs lead here; `localhost` for local callers where there is none.
    pub url_domain: Option<String>,
    /// Whether settings are taken that nothing enforces, such as VPCs.
    pub accept_unenforceable: bool,
    /// The directory of certificates, `*.pem`, whose signatures of code are believed.
    pub signing_roots: Option<PathBuf>,
    /// Whether streamed answers have AWS's bandwidth: 6 MB at once, then 2 MB a second.
    pub limits_stream_bandwidth: bool,
    /// How long an event waits after its first and its second failure, in milliseconds.
    pub event_waits_ms: Vec<i64>,
}

impl Default for Settings {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            shards: cores,
            account_concurrency: 1_000,
            starts_at_once: 4 * cores,
            parking: ParkingSettings::default(),
            ahead: 0,
            idle_max: Duration::from_secs(600),
            freeze_after: limits::FREEZE_AFTER,
            idle_memory_max: 4 * 1024 * 1024 * 1024,
            images: gatemill_image::Settings::default(),
            nearest_runtime: false,
            cpu_millis_min: 1_000,
            init_timeout: limits::INIT,
            pending_wait: limits::PENDING_WAIT,
            url_domain: None,
            accept_unenforceable: false,
            signing_roots: None,
            limits_stream_bandwidth: false,
            event_waits_ms: vec![60_000, 120_000],
        }
    }
}

/// What is going on, for health and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Environments that load their function.
    pub initialising: usize,
    /// Environments that wait for a call.
    pub idle: usize,
    /// Environments that run a call.
    pub busy: usize,
    /// Calls between their begin and their answer.
    pub calls_in_flight: usize,
    /// Environments of provisioned concurrency that are initialised.
    pub provisioned: usize,
    /// Calls that were refused with 429, since the server began.
    pub throttled: u64,
    /// Calls that ran in environments of provisioned concurrency.
    pub provisioned_calls: u64,
    /// Calls that found all of their version's provisioned environments occupied.
    pub spilled_over: u64,
    /// Asynchronous invocation.
    pub events: EventStatus,
}

/// Functions and their life.
pub struct Lambda {
    me: Weak<Lambda>,
    pub(crate) store: Store,
    pub(crate) sandboxes: Sandboxes,
    pub(crate) runtimes: Arc<Runtimes>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) settings: Settings,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) vault: Arc<Vault>,
    pub(crate) urls: Arc<Urls>,
    pub(crate) snap_starts: SnapStarts,
    pub(crate) durable: durable::Waiting,
    pub(crate) code: CodeStore,
    pub(crate) images: Images,
    pub(crate) loads: Arc<Loads>,
    pub(crate) provisioned: Arc<Groups>,
    pub(crate) governor: Governor,
    pub(crate) parking: Parking,
    pub(crate) ahead: Ahead,
    pub(crate) pool: Pool,
    pub(crate) left: LeftBehind,
    pub(crate) uids: Uids,
    pub(crate) gauge: Arc<Gauge>,
    pub(crate) logs: LogPump,
    pub(crate) flights: Flights,
    /// What measures calls.
    pub(crate) measure: Measure,
    /// Who answers what functions ask of AWS.
    pub(crate) aws_endpoint: OnceLock<Arc<dyn AwsEndpoint>>,
    pub(crate) events: Events,
    /// The services that functions are fed from and answer to.
    pub(crate) services: OnceLock<Arc<gatemill_aws::Client>>,
    /// Who knows event sources.
    pub(crate) event_sources: OnceLock<Arc<dyn EventSources>>,
    /// Who gives functions the credentials of their roles.
    pub(crate) roles: OnceLock<Arc<dyn Roles>>,
    /// Signs the addresses of code. New at every start, which ends the addresses given out before; they live for ten
    /// minutes anyway.
    pub(crate) location_key: [u8; 32],
    /// Whose signatures of code are believed.
    pub(crate) signing_roots: Arc<Roots>,
}

impl std::fmt::Debug for Lambda {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lambda").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl Lambda {
    /// Puts the service together.
    ///
    /// # Errors
    /// When the directory of unpacked packages or that of images cannot be made ready.
    pub fn new(parts: Parts) -> Result<Arc<Self>, Error> {
        let code = CodeStore::open(&parts.code_dir)?;
        let images = Images::open(&parts.image_dir, parts.settings.images.clone());
        let images = images.map_err(Error::Image)?;
        let signing_roots = Roots::read(parts.settings.signing_roots.as_deref())?;
        let mut location_key = [0; 32];
        parts.entropy.fill(&mut location_key);
        let loads = Arc::new(Loads::new(parts.settings.account_concurrency));
        let provisioned = Arc::new(Groups::default());
        let vault = Arc::new(Vault::new(&parts.environment_key));
        Ok(Arc::new_cyclic(|me| Self {
            me: me.clone(),
            store: parts.store,
            sandboxes: parts.sandboxes,
            runtimes: parts.runtimes,
            clock: parts.clock,
            entropy: parts.entropy,
            snapshots: Arc::new(Snapshots::new(
                Arc::clone(&loads),
                Arc::clone(&provisioned),
                Arc::clone(&vault),
            )),
            vault,
            urls: Arc::default(),
            snap_starts: SnapStarts::default(),
            durable: durable::Waiting::default(),
            code,
            images,
            loads,
            provisioned,
            governor: Governor::new(parts.settings.starts_at_once),
            parking: Parking::new(parts.settings.parking.clone()),
            left: LeftBehind::default(),
            ahead: Ahead::default(),
            pool: Pool::new(parts.settings.shards, parts.settings.idle_memory_max),
            uids: Uids::default(),
            gauge: Arc::default(),
            logs: LogPump::new(parts.logs),
            flights: Flights::default(),
            measure: Measure::default(),
            aws_endpoint: OnceLock::new(),
            events: Events::new(parts.settings.shards),
            services: OnceLock::new(),
            event_sources: OnceLock::new(),
            roles: OnceLock::new(),
            location_key,
            signing_roots: Arc::new(signing_roots),
            settings: parts.settings,
        }))
    }

    /// Says who answers what functions ask of AWS at the address of their Runtime API; until then it is 404. Only the
    /// first counts: it is set while the server is put together.
    pub fn set_aws_endpoint(&self, endpoint: Arc<dyn AwsEndpoint>) {
        let _ = self.aws_endpoint.set(endpoint);
    }

    /// Says which services functions are fed from and answer to; until then there are none. Only the first counts: it is
    /// set while the server is put together.
    pub fn set_services(&self, services: Arc<gatemill_aws::Client>) {
        let _ = self.services.set(services);
    }

    /// Says who gives functions the credentials of their roles; until then they have none. Only the first counts: it is set
    /// while the server is put together.
    pub fn set_roles(&self, roles: Arc<dyn Roles>) {
        let _ = self.roles.set(roles);
    }

    /// Says who knows event sources; until then no mapping can be created. Only the first counts: it is set while the
    /// server is put together.
    pub fn set_event_sources(&self, sources: Arc<dyn EventSources>) {
        let _ = self.event_sources.set(sources);
    }

    /// The API: Lambda's route table.
    pub fn routes(self: &Arc<Self>) -> Box<dyn Served> {
        Box::new(control::routes::table().serve(Arc::clone(self)))
    }

    /// What has to run in the background, for ever: the server starts each and starts it again when it ends.
    pub fn workers(self: &Arc<Self>) -> Vec<Worker> {
        worker::all(self)
    }

    /// The second path: runs one call and gives its outcome. A call whose future is dropped runs to its end.
    ///
    /// # Errors
    /// What AWS's Invoke would answer with another status than 200. A function that fails is no error.
    pub async fn invoke(&self, call: Invocation) -> Result<Outcome, Error> {
        let me = self.me.upgrade().ok_or(Error::Draining)?;
        invoke::invoke(me, call).await
    }

    /// Accepts a call that nobody waits for: when this returns, the event is durable.
    ///
    /// # Errors
    /// What AWS's Invoke would answer to an event with another status than 202.
    pub async fn accept(&self, call: Invocation) -> Result<(), Error> {
        let arrival = Arrival {
            target: call.target,
            payload: call.payload,
            payload_max: limits::ASYNC_EVENT_BYTES_MAX,
            request_id: call.request_id,
            trace_id: call.trace_id,
            client_context: call.client_context,
            tenant_id: call.tenant_id,
            execution_name: None,
            now: self.clock.now(),
        };
        events::accept::accept(self, arrival).await.map(|_| ())
    }

    /// As [`Self::invoke`], for a caller that reads the answer while the function gives it. Returns at the answer's
    /// begin; a function that fails, before or after, says so at the stream's end.
    ///
    /// # Errors
    /// As those of [`Self::invoke`].
    pub async fn invoke_streaming(&self, call: Invocation) -> Result<Streaming, Error> {
        let me = self.me.upgrade().ok_or(Error::Draining)?;
        invoke::stream::invoke(me, call).await
    }

    /// Whether there is a function of this name.
    ///
    /// # Errors
    /// When the store fails.
    pub fn has_function(&self, account: &str, region: &str, name: &str) -> Result<bool, Error> {
        let key = FunctionKey::new(account, region, name).record();
        self.store.read(|tx| Ok(FUNCTIONS.contains(tx, &key)?))
    }

    /// Whether the function's resource policy lets a service, such as `apigateway.amazonaws.com`, invoke it for this
    /// source. From memory unless the function has not been looked at since it changed.
    ///
    /// # Errors
    /// Faults of ours. A function that does not exist allows nobody.
    pub fn allows_service(
        &self,
        function: &FunctionTarget,
        principal: &str,
        source_arn: &str,
        source_account: &str,
    ) -> Result<bool, Error> {
        let Some(known) = self.snapshots.get(&self.store, function.key())? else {
            return Ok(false);
        };
        let qualifier = function.qualifier.as_ref();
        let service = Service { qualifier, principal, source_arn, source_account };
        Ok(known.allows(service, || function.arn()))
    }

    /// The zip behind an address that `GetFunction` gave: `path` is what follows `/_gatemill/lambda/code/`.
    ///
    /// # Errors
    /// When the address is not one of ours, too old, or its function is gone.
    pub async fn code_download(&self, path: &str, query: &str) -> Result<Bytes, CodeDownloadError> {
        control::code::download(self, path, query).await
    }

    /// Lets no further call begin, waits for those that run until `deadline`, passes on their logs, and ends all
    /// environments.
    pub async fn drain(&self, deadline: Duration) {
        if tokio::time::timeout(deadline, self.flights.drained()).await.is_err() {
            tracing::warn!(
                calls = self.flights.count(),
                "calls still ran when their time was over"
            );
        }
        for ending in shutdown::retire_all(self, self.pool.remove(|_| true)) {
            let _ = ending.await;
        }
        if tokio::time::timeout(deadline, self.logs.flush()).await.is_err() {
            tracing::warn!("log lines were not taken in time");
        }
    }

    /// After the store was emptied: ends idle environments and forgets what was known. Calls that run go on to their
    /// end.
    pub async fn reset(&self) {
        self.snapshots.clear();
        self.snap_starts.clear();
        self.loads.clear();
        self.urls.clear();
        self.events.lanes.clear();
        shutdown::retire_all(self, self.pool.remove(|_| true));
        self.logs.flush().await;
        worker::sweep_code(self).await;
        worker::sweep_images(self).await;
    }

    /// A new id.
    pub(crate) fn uuid(&self) -> uuid::Uuid {
        self.entropy.uuid()
    }

    pub(crate) fn arc(&self) -> Option<Arc<Self>> {
        self.me.upgrade()
    }

    /// How many events of all functions came and went, ever.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn event_counts(&self) -> Result<EventCounts, Error> {
        events::counts(self)
    }

    /// What is going on now.
    pub fn status(&self) -> Status {
        let (initialising, idle, busy) = self.gauge.read();
        let count = |tally: &AtomicU64| tally.load(Ordering::Relaxed);
        let tallies = self.loads.tallies();
        Status {
            initialising,
            idle,
            busy,
            calls_in_flight: self.flights.count(),
            provisioned: self.provisioned.ready(),
            throttled: count(&tallies.throttled),
            provisioned_calls: count(&tallies.provisioned),
            spilled_over: count(&tallies.spilled_over),
            events: self.events.status(),
        }
    }
}
