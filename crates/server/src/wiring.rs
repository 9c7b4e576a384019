//! How the server is put together, as a script: each part in the order in which it needs the others, and the way back.

use std::{
    fs, io,
    net::TcpListener,
    os::unix::fs::DirBuilderExt as _,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use gatemill_events::{AwsSources, Events};
use gatemill_gateway::Gateway;
use gatemill_identity::{Identity, NewRootCredentials, RoleAccess};
use gatemill_lambda::Lambda;
use gatemill_logs::Logs;
use gatemill_meter::Meters;
use gatemill_metrics::Metrics;
use gatemill_sandbox::{Config as SandboxConfig, Enforced, Isolation, Preparation, Sandboxes};
use gatemill_store::Store;
use gatemill_wire::{ApiError, Clock, Entropy, Front, Gap, OperationInfo, Served, Table};

use crate::{
    callers::GatewayCallers,
    clock::{SystemClock, SystemEntropy},
    configuration::{Configuration, FunctionAccess, IsolationClass, Mode},
    egress,
    error::Error,
    functions::GatewayFunctions,
    in_flight::InFlight,
    inside::Inside,
    limits,
    listener::{DataPlane, Inherited, Listeners},
    log_lines::{FunctionLogs, GatewayLogs},
    machine,
    otlp::Exporter,
    recorder::CallRecorder,
    roles::FunctionRoles,
    runtimes,
    server::Server,
    services,
    supervisor::{Supervisor, Work, Worker},
    tls::{Certificates, Tls},
};

/// Where TLS is spoken, and with which certificates.
#[derive(Debug)]
struct Secured {
    listeners: Listeners,
    certificates: Arc<Certificates>,
}

/// What must be there before the first thread: the port, and the daemon that makes sandboxes. What the daemon tries out takes as
/// long as all else of a start, so it does that meanwhile.
#[derive(Debug)]
pub(crate) struct Ground {
    configuration: Configuration,
    listeners: Listeners,
    secured: Option<Secured>,
    sandboxes: Preparation,
}

impl Ground {
    /// Binds the port and begins to start the daemon.
    ///
    /// # Errors
    /// A sentence about what is in the way; nothing runs then.
    pub(crate) fn prepare(configuration: Configuration) -> Result<Self, Error> {
        // The port first: it is what fails most often, and nothing is touched by then.
        let mut inherited = Inherited::new();
        let listeners =
            Listeners::bind(configuration.listen, configuration.threads, &mut inherited)?;
        let secured = secured(&configuration, &mut inherited)?;
        drop(inherited);
        let dir = &configuration.data_dir;
        let unwritable = |source| Error::DataDirectory { dir: dir.clone(), source };
        make_private(dir).map_err(unwritable)?;
        let isolation = match configuration.isolation {
            IsolationClass::Sandbox | IsolationClass::Strict => Isolation::Sandbox,
            IsolationClass::Process => Isolation::Process,
        };
        let state_dir = dir.join("sandboxes");
        // Before the daemon, whose own errors are about what the machine allows.
        fs::create_dir_all(&state_dir)
            .and_then(|()| machine::writable(&state_dir))
            .map_err(unwritable)?;
        let network = egress::network(&configuration);
        let config = SandboxConfig { isolation, state_dir, network, ..SandboxConfig::default() };
        let sandboxes =
            Sandboxes::prepare(&config).map_err(|source| Error::Sandboxes { source })?;
        Ok(Self { configuration, listeners, secured, sandboxes })
    }
}

/// Reads the certificates and binds the port of TLS, where it is spoken.
fn secured(
    configuration: &Configuration,
    inherited: &mut Inherited,
) -> Result<Option<Secured>, Error> {
    let Some(address) = configuration.tls_listen else { return Ok(None) };
    let Some(directory) = &configuration.tls_certificates else { return Ok(None) };
    let certificates = Arc::new(Certificates::open(directory)?);
    let listeners = Listeners::bind(address, configuration.threads, inherited)?;
    Ok(Some(Secured { listeners, certificates }))
}

/// Tells the operator at every start which walls stand, and above all which do not.
fn say_what_holds(isolation: IsolationClass, enforced: &Enforced) {
    if isolation == IsolationClass::Process {
        tracing::warn!("functions are NOT isolated: they can read and do what this user can");
        return;
    }
    let walls = [
        ("a host uid of its own", enforced.own_uid),
        ("the system call filter", enforced.seccomp),
        ("landlock", enforced.landlock > 0),
        ("the kernel's memory limit", enforced.memory),
        ("the CPU share", enforced.cpu),
        ("the process limit by cgroup", enforced.pids),
        ("the size of /tmp", enforced.tmp_size),
    ];
    let missing: Vec<&str> =
        walls.iter().filter(|(_, stands)| !stands).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        tracing::info!(
            cgroup = enforced.cgroup_version,
            "functions are isolated, every wall stands"
        );
    } else {
        tracing::warn!(
            missing = missing.join(", "),
            "functions are isolated, but not by every wall"
        );
    }
}

/// Makes a directory that only its owner may enter: code, logs and keys are in it. One that exists keeps its mode.
fn make_private(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// A server that runs.
#[derive(Debug)]
pub(crate) struct Running {
    server: Arc<Server>,
    new_credentials: Option<NewRootCredentials>,
    data_plane: DataPlane,
    supervisor: Supervisor,
}

impl Running {
    /// Starts a server. When it returns, the server answers.
    ///
    /// # Errors
    /// A sentence about what is in the way; nothing runs then.
    pub(crate) async fn start(ground: Ground) -> Result<Self, Error> {
        let Ground { configuration, listeners, secured, sandboxes } = ground;
        let discovery = runtimes::Discovery::start(configuration.clone())?;
        let store = open_store(&configuration.data_dir)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        let (identity, new_credentials) = open_identity(&configuration, &store, &*entropy).await?;
        let logs = Logs::new(store.clone(), Arc::clone(&clock), Arc::clone(&entropy));
        let runtimes = discovery.wait()?;
        let sandboxes = sandboxes.ready().map_err(|source| Error::Sandboxes { source })?;
        egress::check(&configuration, &sandboxes)?;
        let lambda = Lambda::new(gatemill_lambda::Parts {
            store: store.clone(),
            sandboxes: sandboxes.clone(),
            runtimes: Arc::new(runtimes.clone()),
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
            logs: Arc::new(FunctionLogs(Arc::clone(&logs))),
            code_dir: configuration.data_dir.join("code"),
            image_dir: configuration.data_dir.join("images"),
            environment_key: identity.derive_key("environment variables of functions"),
            settings: lambda_settings(&configuration),
        });
        let dir = &configuration.data_dir;
        let lambda = lambda.map_err(|source| Error::Lambda { dir: dir.clone(), source })?;
        lambda.set_roles(Arc::new(FunctionRoles {
            identity: Arc::clone(&identity),
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
        }));
        let client = services::client(&configuration.services, &clock, &entropy)?;
        lambda.set_services(Arc::clone(&client));
        let sources = Arc::new(AwsSources::new(Arc::clone(&client)));
        lambda.set_event_sources(Arc::clone(&sources) as _);
        let meters = Arc::new(Meters::new(configuration.threads + limits::METER_LANES_BESIDE));
        let events = Events::new(gatemill_events::Parts {
            store: store.clone(),
            functions: Arc::new(Arc::clone(&lambda)),
            sources,
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
            meters: Arc::clone(&meters),
        });
        let gateway = Gateway::new(gatemill_gateway::Parts {
            store: store.clone(),
            functions: Arc::new(GatewayFunctions(Arc::clone(&lambda))),
            access_logs: Arc::new(GatewayLogs(Arc::clone(&logs))),
            entropy: Arc::clone(&entropy),
            clock: Arc::clone(&clock),
            api_key_key: identity.derive_key("values of API keys"),
            settings: gateway_settings(&configuration),
        });
        let gateway = gateway.map_err(|source| Error::Gateway { source })?;
        lambda.set_meters(Arc::clone(&meters));
        gateway.set_meters(Arc::clone(&meters));
        let spans = match &configuration.otlp_endpoint {
            Some(to) => Some(Exporter::new(to, &configuration.region, Arc::clone(&entropy))?),
            None => None,
        };
        if let Some(spans) = &spans {
            lambda.set_spans(Arc::clone(spans) as _);
            gateway.set_spans(Arc::clone(spans) as _);
        }
        let metrics = Metrics::new(store.clone(), Arc::clone(&clock), meters);
        gateway.set_services(client);
        let (tls, tls_address, tls_listeners) = match secured {
            Some(Secured { listeners, certificates }) => {
                gateway.set_certificates(Arc::clone(&certificates) as _);
                let address = listeners.address();
                let tls = Tls::new(certificates, Arc::clone(&gateway));
                let tls = tls.map_err(|source| Error::Tls { source })?;
                (Some(Arc::new(tls)), Some(address), Some(listeners))
            }
            None => (None, None, None),
        };
        let recorder = Arc::new(CallRecorder::default());
        let front = Front {
            services: with_unbuilt(vec![
                lambda.routes(),
                gateway.routes(),
                gateway.rest_routes(),
                gateway.management_routes(),
                logs.routes(),
                metrics.routes(),
                identity.routes(),
            ]),
            credentials: Arc::clone(&identity) as _,
            authorizer: identity,
            recorder: Arc::clone(&recorder) as _,
            region: (configuration.mode == Mode::Serve).then(|| configuration.region.clone()),
        };
        let server = Arc::new(Server {
            address: listeners.address(),
            tls_address,
            tls,
            started: clock.now(),
            clock,
            entropy,
            front,
            lambda,
            events: Arc::new(events),
            gateway,
            logs,
            metrics,
            spans,
            recorder,
            in_flight: InFlight::default(),
            bodies: Server::room_for_bodies(),
            runtimes,
            sandboxes,
            store,
            configuration,
        });
        server.lambda.set_aws_endpoint(Arc::new(Inside(Arc::downgrade(&server))));
        server.gateway.set_callers(Arc::new(GatewayCallers(Arc::downgrade(&server))));
        let supervisor = Supervisor::start(workers(&server))?;
        let data_plane = DataPlane::start(listeners, tls_listeners, &server)?;
        say_what_holds(server.configuration.isolation, &server.sandboxes.enforced());
        Ok(Self { server, new_credentials, data_plane, supervisor })
    }

    /// What the threads share.
    pub(crate) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// The credentials that this first start made; they cannot be read again.
    pub(crate) fn take_new_credentials(&mut self) -> Option<NewRootCredentials> {
        self.new_credentials.take()
    }

    /// From now on connections wait for a successor: copies of the listening sockets, which keep their queues open, and
    /// every answer tells its client to connect anew.
    ///
    /// # Errors
    /// When the system has no room for a descriptor.
    pub(crate) fn keep_listeners(&self) -> Result<Vec<TcpListener>, Error> {
        let kept = self.data_plane.listeners()?;
        self.server.in_flight.leave();
        Ok(kept)
    }

    /// Stops in the reverse order, each step logged and bounded.
    pub(crate) async fn stop(self) {
        let Self { server, new_credentials: _, mut data_plane, supervisor } = self;
        tracing::info!("no longer accepting connections");
        data_plane.leave();
        server.gateway.leave();
        if server.in_flight.is_leaving() {
            // Connections in use end with their next answer; only those that rest are cut.
            let _ = tokio::time::timeout(limits::LEAVE_WAIT, data_plane.drained()).await;
        }
        data_plane.close();
        let deadline = Instant::now() + server.configuration.drain();
        let drain = server.configuration.drain();
        if !step("calls", drain, data_plane.drained()).await {
            tracing::warn!(in_flight = server.in_flight.count(), "calls are cut off");
        }
        // Calls whose clients hung up run on; what is left of the time is theirs.
        let left = deadline.saturating_duration_since(Instant::now());
        let limit = left + limits::STOP_STEP_MAX;
        step("environments", limit, server.lambda.drain(left)).await;
        step("access logs and usage", limits::STOP_STEP_MAX, async {
            if let Err(error) = server.gateway.flush().await {
                tracing::error!(%error, "the last usage of APIs could not be stored");
            }
        })
        .await;
        if let Some(spans) = &server.spans {
            step("spans", limits::STOP_STEP_MAX, spans.flush()).await;
        }
        step("metrics", limits::STOP_STEP_MAX, async {
            if let Err(error) = server.metrics.flush().await {
                tracing::error!(%error, "the last metrics could not be stored");
            }
        })
        .await;
        step("logs", limits::STOP_STEP_MAX, async {
            if let Err(error) = server.logs.flush().await {
                tracing::error!(%error, "the last log lines could not be written");
            }
        })
        .await;
        data_plane.end();
        supervisor.stop();
        step("sandboxes", limits::STOP_STEP_MAX, server.sandboxes.shutdown()).await;
        step("store", limits::STOP_STEP_MAX, async {
            if let Err(error) = server.store.close().await {
                tracing::error!(%error, "the store did not close well");
            }
        })
        .await;
        tracing::info!("stopped");
    }
}

/// Runs one step of stopping; `false` if it took too long.
async fn step(name: &'static str, limit: Duration, step: impl Future<Output = ()>) -> bool {
    let ended = tokio::time::timeout(limit, step).await.is_ok();
    tracing::info!(step = name, ended, "stopping");
    ended
}

fn open_store(dir: &Path) -> Result<Store, Error> {
    Store::open(&dir.join("store")).map_err(|source| match source {
        gatemill_store::Error::InUse { .. } => Error::DataDirectoryInUse { dir: dir.to_owned() },
        gatemill_store::Error::Io { source, .. } => {
            Error::DataDirectory { dir: dir.to_owned(), source }
        }
        source => Error::Store { dir: dir.to_owned(), source },
    })
}

async fn open_identity(
    configuration: &Configuration,
    store: &Store,
    entropy: &dyn Entropy,
) -> Result<(Arc<Identity>, Option<NewRootCredentials>), Error> {
    let account = configuration.account.clone();
    let mode = match configuration.mode {
        Mode::Dev => gatemill_identity::Mode::Dev { default_account: account },
        Mode::Serve => gatemill_identity::Mode::Serve { account },
    };
    let dir = &configuration.data_dir;
    let roles = match configuration.function_access {
        FunctionAccess::None => RoleAccess::None,
        FunctionAccess::Account => RoleAccess::Account,
    };
    Identity::open(store, mode, roles, entropy, dir)
        .await
        .map_err(|source| Error::Identity { dir: dir.clone(), source })
}

/// Adds the services that are known and have no crate yet, so that their operations answer 501 and name themselves.
fn with_unbuilt(mut services: Vec<Box<dyn Served>>) -> Vec<Box<dyn Served>> {
    for service in gatemill_api::services() {
        if !services.iter().any(|served| std::ptr::eq(served.service(), *service)) {
            services.push(Box::new(Table::<(), ApiError>::new(service).serve(Arc::new(()))));
        }
    }
    services
}

/// Every operation of every service that is known, and whether it is built. A service whose crate is not wired in has
/// none that is.
pub(crate) fn operations() -> Vec<(&'static OperationInfo, bool)> {
    let mut built: Vec<&'static OperationInfo> = Vec::new();
    for table in [
        gatemill_lambda::table().operations(),
        gatemill_gateway::table().operations(),
        gatemill_gateway::rest_table().operations(),
        gatemill_gateway::management_table().operations(),
        gatemill_logs::table().operations(),
        gatemill_metrics::table().operations(),
        gatemill_identity::table().operations(),
    ] {
        built.extend(table.into_iter().filter(|(_, built)| *built).map(|(operation, _)| operation));
    }
    let is_built =
        |operation: &'static OperationInfo| built.iter().any(|it| std::ptr::eq(*it, operation));
    let operations = gatemill_api::services().iter().flat_map(|service| service.operations);
    operations.map(|operation| (*operation, is_built(operation))).collect()
}

/// What of the operations' inputs is not honoured, of every service.
pub(crate) fn gaps() -> impl Iterator<Item = &'static Gap> {
    [gatemill_lambda::GAPS, gatemill_gateway::GAPS, gatemill_logs::GAPS, gatemill_metrics::GAPS]
        .into_iter()
        .flatten()
        .copied()
}

/// Every worker, and how to make it again: a service gives a new one of the same name when it is asked again.
fn workers(server: &Arc<Server>) -> Vec<Worker> {
    let mut workers = Vec::new();
    for name in server.logs.workers().iter().map(|worker| worker.name) {
        let logs = Arc::clone(&server.logs);
        let make = move || {
            let named = logs.workers().into_iter().find(|worker| worker.name == name);
            named.map_or_else(gone, |worker| worker.future)
        };
        workers.push(Worker { name, make: Arc::new(make) });
    }
    for name in server.metrics.workers().iter().map(|worker| worker.name) {
        let metrics = Arc::clone(&server.metrics);
        let make = move || {
            let named = metrics.workers().into_iter().find(|worker| worker.name == name);
            named.map_or_else(gone, |worker| worker.future)
        };
        workers.push(Worker { name, make: Arc::new(make) });
    }
    for name in server.lambda.workers().iter().map(|worker| worker.name) {
        let lambda = Arc::clone(&server.lambda);
        let make = move || {
            let named = lambda.workers().into_iter().find(|worker| worker.name == name);
            named.map_or_else(gone, |worker| worker.future)
        };
        workers.push(Worker { name, make: Arc::new(make) });
    }
    if let Some(spans) = &server.spans {
        let spans = Arc::clone(spans);
        let make = move || -> Work { Box::pin(Arc::clone(&spans).run()) };
        workers.push(Worker { name: "spans", make: Arc::new(make) });
    }
    let events = Arc::clone(&server.events);
    workers.push(Worker { name: "event-source-mappings", make: Arc::new(move || events.work()) });
    if let Some(tls) = &server.tls {
        let certificates = tls.certificates();
        let make = move || Box::pin(Arc::clone(&certificates).watch()) as Work;
        workers.push(Worker { name: "certificates", make: Arc::new(make) });
    }
    for worker in server.gateway.workers() {
        workers.push(Worker { name: worker.name, make: Arc::from(worker.run) });
    }
    workers
}

/// In place of a worker that its service does not have any more, which cannot be: their names are constants.
fn gone() -> Work {
    Box::pin(std::future::pending())
}

fn lambda_settings(configuration: &Configuration) -> gatemill_lambda::Settings {
    gatemill_lambda::Settings {
        shards: configuration.threads,
        account_concurrency: configuration.concurrency,
        idle_max: Duration::from_secs(configuration.idle_seconds),
        idle_memory_max: configuration.idle_memory_mb.saturating_mul(1024 * 1024),
        parking: parking(configuration),
        ahead: configuration.initialised_ahead,
        images: gatemill_image::Settings {
            registries: match &configuration.image_registry {
                Some(hosts) => gatemill_image::Registries::Only(hosts.clone()),
                None => gatemill_image::Registries::Any,
            },
            credentials: configuration.image_credentials.clone(),
            layouts: configuration.image_layouts.clone(),
        },
        nearest_runtime: configuration.mode == Mode::Dev,
        url_domain: configuration.api_domain.clone(),
        event_waits_ms: configuration.event_waits.iter().map(|s| i64::from(*s) * 1000).collect(),
        limits_stream_bandwidth: configuration.limit_stream_bandwidth,
        accept_unenforceable: configuration.accept_unenforceable,
        signing_roots: configuration.signing_roots.clone(),
        ..gatemill_lambda::Settings::default()
    }
}

fn parking(configuration: &Configuration) -> gatemill_lambda::ParkingSettings {
    let default = gatemill_lambda::ParkingSettings::default();
    let forked = configuration.parked.unwrap_or(default.forked);
    gatemill_lambda::ParkingSettings {
        forked,
        booted: default.booted.min(forked),
        templates: configuration.isolation != IsolationClass::Strict,
        ..default
    }
}

fn gateway_settings(configuration: &Configuration) -> gatemill_gateway::Settings {
    gatemill_gateway::Settings {
        base_domain: configuration.api_domain.clone(),
        truststores: configuration.tls_truststores.clone(),
        account_rate: configuration.api_rate.map(f64::from),
        account_burst: configuration
            .api_burst
            .map(|burst| i32::try_from(burst).unwrap_or(i32::MAX)),
        websocket: gatemill_gateway::WebSocketSettings {
            idle: Duration::from_secs(configuration.websocket_idle_seconds),
            life: Duration::from_secs(configuration.websocket_life_seconds),
            ..gatemill_gateway::WebSocketSettings::default()
        },
        roots: configuration.integration_roots.clone(),
        ..gatemill_gateway::Settings::default()
    }
}
