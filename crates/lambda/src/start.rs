//! Start: makes an execution environment and waits until the function is loaded.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use gatemill_sandbox::{
    Bind, Exit, Fate, Spec,
    runtime::{Fallback, Family, Pack},
};
use gatemill_wire::Timestamp;
use tokio::time::Instant;

use crate::{
    Error, FunctionTarget, Invocation, Lambda, LogStream,
    call_log::CallLog,
    code::{self, Code},
    entrypoint,
    environment_variables::{self, EXEC_WRAPPER, Inside, LAYER_ROOT, TASK_ROOT},
    external,
    frame::{Body, Garbage, Kind, Reader},
    governor::StartSlot,
    image_start,
    instance::{Event, Instance, Life, State},
    invoke::resolve::Version,
    limits::{INIT_ERROR_BYTES_MAX, MEMORY_MB_PER_CPU, OPEN_FILES_MAX, PROCESSES_MAX, RESTORE},
    parked::{self, Made},
    record::Configuration,
    report,
    role::RoleSource,
    runtime_api::{Facts, extension},
    shard, shutdown,
    snap_start::{self, Owner},
    wires::{Codec, Heard, Outgoing, Wires},
};

const MIB: u64 = 1024 * 1024;

/// An environment after its initialisation, whatever became of it.
pub(crate) struct Started {
    pub(crate) instance: Box<Instance>,
    pub(crate) end: InitEnd,
    /// From the start of the sandbox on.
    pub(crate) took: Duration,
}

/// What became of an initialisation.
#[derive(Debug)]
pub(crate) enum InitEnd {
    /// The environment waits for a call.
    Ready,
    /// The runtime's error document.
    Error(bytes::Bytes),
    /// The process ended.
    Exited(Exit),
    /// Its time was over.
    TimedOut,
    /// The runtime spoke nonsense.
    Broken(Garbage),
    /// An extension gave up.
    ExtensionFailed(extension::Failure),
}

/// The stream of a new environment.
pub(crate) fn log_stream(lambda: &Lambda, version: &Version) -> Arc<LogStream> {
    let day = lambda.clock.now().log_stream_date();
    let id = lambda.entropy.uuid().simple().to_string();
    // With a group of its own, several functions may share it, so AWS puts the name into the stream.
    let function = version.configuration.logging.group.as_ref().map_or("", |_| &version.key.name);
    Arc::new(LogStream {
        account: version.key.account.clone(),
        region: version.key.region.clone(),
        group: version.log_group(),
        stream: format!("{day}/{function}[{}]{id}", version.name()),
    })
}

/// What stands at the begin of a new environment's log.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Opening<'a> {
    /// INIT_START: initialisation before any call.
    Init,
    /// START: initialisation is done again inside this call.
    Call(&'a Invocation),
}

/// Makes an environment and initialises it within `limit`.
///
/// # Errors
/// Only faults of ours: what the function does wrong is an [`InitEnd`].
pub(crate) async fn start(
    lambda: &Arc<Lambda>,
    version: &Arc<Version>,
    stream: &Arc<LogStream>,
    limit: Duration,
    opening: Opening<'_>,
) -> Result<Started, Error> {
    let code = code::ensure(lambda, &version.configuration).await?;
    let process = process(lambda, version, &code)?;
    let pack = &process.pack;
    pack.prepared().await.map_err(Error::Runtime)?;
    let tenant = version.tenant.as_ref().map(|_| version.load.tenant_environment()).transpose();
    let tenant = tenant.map_err(Error::Throttled)?;
    let grounds = grounds(lambda, version, stream, &process, &code, opening).await?;
    let Grounds { made: Made { sandbox, owner, greeting }, token, begun, began_at } = grounds;
    let is_restored = matches!(owner, Owner::Snapshot(_));
    let log = opened(stream, began_at, version, pack, opening, is_restored);
    let limit = if is_restored { limit.min(RESTORE) } else { limit };
    let sandbox = Arc::new(sandbox);
    let mut wires = Wires::register(&sandbox).map_err(Error::io("watch an environment"))?;
    wires.open(
        codec(pack, &process.handler),
        facts(lambda, version, &process, token),
        process.extension_names(),
    );
    let mut instance = Box::new(Instance {
        version: Arc::clone(version),
        life: Life::new(Arc::clone(&lambda.gauge)),
        wires,
        shard: shard::current(),
        log,
        init: None,
        restore: None,
        born: begun,
        idle_since: begun,
        seat: None,
        _tenant: tenant,
        memory_peak: 0,
        measured_at: begun,
        core: None,
        start: Duration::ZERO,
        uses: 0,
        worth: 0.0,
        frozen: false,
        sandbox,
        _code: code,
        owner,
    });
    let end = initialise(lambda, &mut instance, greeting, begun + limit).await;
    if let Some(errno) = not_started(&instance, &end) {
        let error = gatemill_sandbox::Error::of_program(errno);
        return Err(entrypoint::explain(error, pack, &process.working_directory));
    }
    let took = begun.elapsed();
    instance.start = took;
    report_extensions(lambda, &mut instance, &end, opening);
    // Inside a call, initialisation counts as the call's own duration.
    if is_restored {
        report::restore_report(&mut instance.log, lambda.clock.now(), version, &end, took);
        instance.restore = Some(took);
    } else if matches!((&end, opening), (InitEnd::Ready, Opening::Init)) {
        instance.init = Some(took);
        report::init_report(&mut instance.log, lambda.clock.now(), version, &end, took, "init");
    }
    instance.log.end_init();
    Ok(Started { instance, end, took })
}

/// Why the runtime's program did not start, where that was not known before its sandbox was there.
fn not_started(instance: &Instance, end: &InitEnd) -> Option<i32> {
    match (instance.wires.runtime_fate(), end) {
        (Some(Fate::NotStarted(errno)), _) => Some(errno),
        (_, InitEnd::Exited(_)) => instance.sandbox.said_of_start(),
        (_, _) => None,
    }
}

/// What an environment is made from, and since when.
struct Grounds {
    made: Made,
    /// Opens the endpoints inside.
    token: String,
    begun: Instant,
    began_at: Timestamp,
}

/// A fork of the version's snapshot, where it has one that can be forked; else what its function is to be initialised in.
async fn grounds(
    lambda: &Arc<Lambda>,
    version: &Arc<Version>,
    stream: &LogStream,
    process: &Process,
    code: &Code,
    opening: Opening<'_>,
) -> Result<Grounds, Error> {
    let snapshot = match opening {
        Opening::Init => snap_start::source(lambda, version),
        Opening::Call(_) => None,
    };
    if let Some(snapshot) = snapshot {
        let (begun, began_at) = (Instant::now(), lambda.clock.now());
        let token = snapshot.token.clone();
        let spec = spec(lambda, version, stream, process, code, &token);
        if let Some(made) = snap_start::restored(lambda, version, &snapshot, spec).await {
            return Ok(Grounds { made, token, begun, began_at });
        }
    }
    let (begun, began_at) = (Instant::now(), lambda.clock.now());
    let token = lambda.entropy.uuid().simple().to_string();
    let spec = spec(lambda, version, stream, process, code, &token);
    let made = made(lambda, version, &process.pack, spec).await?;
    Ok(Grounds { made, token, begun, began_at })
}

/// The log of a new environment, with its first line.
fn opened(
    stream: &Arc<LogStream>,
    began_at: Timestamp,
    version: &Version,
    pack: &Pack,
    opening: Opening<'_>,
    is_restored: bool,
) -> CallLog {
    let mut log = CallLog::new(Arc::clone(stream));
    log.begin_init();
    match opening {
        Opening::Init if is_restored => report::restore_start(&mut log, began_at, version, pack),
        Opening::Init => report::init_start(&mut log, began_at, version, pack),
        Opening::Call(call) => {
            if call.log_tail {
                log.begin_tail();
            }
            report::start(&mut log, began_at, call.request_id, version);
        }
    }
    log
}

/// In what an environment before it left, or else in the fastest way that there is.
async fn made(
    lambda: &Lambda,
    version: &Arc<Version>,
    pack: &Arc<Pack>,
    spec: Spec,
) -> Result<Made, Error> {
    if let Some(left) = lambda.left.take(version.deployment).await
        && let Some(made) = left.go_on(&lambda.sandboxes, spec.clone()).await
    {
        return Ok(made);
    }
    parked::make(lambda, version, pack, spec).await
}

async fn initialise(
    lambda: &Lambda,
    instance: &mut Instance,
    greeting: Outgoing,
    deadline: Instant,
) -> InitEnd {
    let mut reader = Reader::new(INIT_ERROR_BYTES_MAX);
    let Instance { wires, log, .. } = &mut *instance;
    let heard =
        wires.converse(greeting, &mut reader, log, &lambda.logs, &*lambda.clock, deadline).await;
    match heard {
        Heard::Frame(frame) => match (instance.life.advance(Event::Frame(frame.kind)), frame) {
            (State::Idle, _) => InitEnd::Ready,
            (_, frame) if frame.kind == Kind::InitError => {
                instance.stopped().await;
                match frame.body {
                    Body::Whole(document) => InitEnd::Error(document),
                    Body::TooLarge => InitEnd::Broken(Garbage::Unexpected),
                }
            }
            _ => {
                instance.killed().await;
                InitEnd::Broken(Garbage::Unexpected)
            }
        },
        Heard::Closed | Heard::NotDelivered => {
            instance.life.advance(Event::Closed);
            InitEnd::Exited(instance.buried(&lambda.logs, &*lambda.clock).await)
        }
        Heard::DeadlinePassed => {
            instance.life.advance(Event::DeadlinePassed);
            instance.stopped().await;
            InitEnd::TimedOut
        }
        Heard::Garbage(garbage) => {
            instance.life.advance(Event::Garbage(garbage));
            instance.killed().await;
            InitEnd::Broken(garbage)
        }
        Heard::ExtensionFailed(failure) => {
            instance.life.advance(Event::ExtensionFailed);
            instance.stopped().await;
            InitEnd::ExtensionFailed(failure)
        }
    }
}

/// Makes an environment that no call waits for, in its turn; `None` when its initialisation failed, which its log says.
///
/// # Errors
/// As [`start`].
pub(crate) async fn before_calls(
    lambda: &Arc<Lambda>,
    version: &Arc<Version>,
    slot: StartSlot,
    limit: Duration,
) -> Result<Option<Box<Instance>>, Error> {
    let stream = log_stream(lambda, version);
    let mut started = start(lambda, version, &stream, limit, Opening::Init).await?;
    drop(slot);
    if !matches!(started.end, InitEnd::Ready) {
        report_failed_init(lambda, started.instance, &started.end, started.took).await;
        return Ok(None);
    }
    // Not kept for the first call: there may be none.
    let events = started.instance.log.take();
    lambda.logs.push(started.instance.log.stream(), events).await;
    Ok(Some(started.instance))
}

/// Writes what a failed initialisation leaves in the log.
pub(crate) async fn report_failed_init(
    lambda: &Lambda,
    mut instance: Box<Instance>,
    end: &InitEnd,
    took: Duration,
) {
    let now = lambda.clock.now();
    report::init_report(&mut instance.log, now, &instance.version, end, took, "init");
    instance.log.close(now);
    let events = instance.log.take();
    lambda.logs.push(instance.log.stream(), events).await;
    shutdown::retire(lambda, instance);
}

/// What is started, and how, for a version whose code is on the disk.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pack: Arc<Pack>,
    pub(crate) working_directory: PathBuf,
    /// `_HANDLER`.
    pub(crate) handler: String,
    /// The programs of external extensions, as paths inside.
    pub(crate) extensions: Vec<PathBuf>,
}

impl Process {
    /// The names under which the external extensions have to register.
    fn extension_names(&self) -> Vec<String> {
        let names = self.extensions.iter().filter_map(|program| program.file_name());
        names.map(|name| name.to_string_lossy().into_owned()).collect()
    }
}

pub(crate) fn process(lambda: &Lambda, version: &Version, code: &Code) -> Result<Process, Error> {
    let configuration = &version.configuration;
    if let (Code::Image(unpacked), Some(image)) = (code, &configuration.image) {
        let process = image_start::process(unpacked, image, configuration);
        let extensions = external::find(&unpacked.root().join("opt"))?;
        return Ok(Process { extensions, ..process.map_err(Error::Entrypoint)? });
    }
    let mut pack = pack(lambda, version)?;
    if pack.family == Family::Provided {
        let mut own = (*pack).clone();
        own.program = entrypoint::bootstrap(code.path(), code.layers())?;
        pack = Arc::new(own);
    }
    let handler = configuration.handler.clone();
    let extensions = code.layers().map_or_else(|| Ok(Vec::new()), external::find)?;
    Ok(Process { pack, working_directory: TASK_ROOT.into(), handler, extensions })
}

/// The runtime of a version on this host.
pub(crate) fn pack(lambda: &Lambda, version: &Version) -> Result<Arc<Pack>, Error> {
    let fallback = if lambda.settings.nearest_runtime { Fallback::Nearest } else { Fallback::No };
    let name = &version.configuration.runtime;
    match lambda.runtimes.resolve(name, fallback) {
        Ok((pack, warning)) => {
            let arn = version.runtime_pin.as_ref();
            if arn
                .is_some_and(|arn| *arn != report::runtime_version_arn(&version.key.region, &pack))
            {
                return Err(Error::RuntimePinned);
            }
            if let Some(warning) = warning {
                // The warning was given when the function was made.
                tracing::debug!(function = %version.key, %warning, "another runtime version runs");
            }
            Ok(pack)
        }
        Err(missing) => Err(Error::runtime_missing(name, &missing)),
    }
}

/// What initialisation was, for those who subscribed; nobody else may from now on.
fn report_extensions(
    lambda: &Lambda,
    instance: &mut Instance,
    end: &InitEnd,
    opening: Opening<'_>,
) {
    let Instance { wires, log, version, .. } = instance;
    let now = lambda.clock.now();
    for subscription in log.subscriptions() {
        report::subscription(log, now, version, &subscription);
    }
    let phase = if matches!(opening, Opening::Init) { "init" } else { "invoke" };
    report::init_runtime_done(log, now, version, end, phase);
    for extension in wires.end_of_init() {
        report::extension(log, now, version, extension);
    }
}

/// What the runtime of a pack speaks.
fn codec(pack: &Pack, handler: &str) -> Codec {
    match pack.family {
        Family::Provided => Codec::RuntimeApi,
        // The name of an executable assembly, which brings AWS's own client.
        Family::Dotnet if !handler.is_empty() && !handler.contains("::") => Codec::RuntimeApi,
        _ => Codec::Frames,
    }
}

/// Whether the server gets into a sandbox's network: sandboxd has to be root for that, where there is one.
fn can_connect_inside(lambda: &Lambda) -> bool {
    let enforced = lambda.sandboxes.enforced();
    enforced.own_uid || !enforced.network
}

/// What processes inside may learn and reach.
pub(crate) fn facts(
    lambda: &Lambda,
    version: &Arc<Version>,
    process: &Process,
    token: String,
) -> Facts {
    let key = &version.key;
    Facts {
        target: FunctionTarget {
            account: key.account.clone(),
            region: key.region.clone(),
            name: key.name.clone(),
            qualifier: None,
        },
        version: version.name().to_owned(),
        handler: process.handler.clone(),
        token,
        endpoint: lambda.aws_endpoint.get().cloned(),
        role: RoleSource::of(lambda, version),
        entropy: Arc::clone(&lambda.entropy),
        has_telemetry: can_connect_inside(lambda),
    }
}

/// What is executed: the runtime, or of a managed one its wrapper, by a shell as AWS's runtimes do. So a wrapper that cannot
/// be executed is the shell's complaint and the runtime's exit.
fn command(pack: &Pack, configuration: &Configuration) -> (PathBuf, Vec<String>) {
    let args = pack.args_for(configuration.memory_mb);
    let wrapper = configuration.variables().find(|(name, _)| *name == EXEC_WRAPPER);
    let wrapper = wrapper.map(|(_, path)| path).filter(|path| !path.is_empty());
    match wrapper {
        Some(wrapper) if pack.family != Family::Provided => {
            let runtime = pack.program.to_string_lossy().into_owned();
            let words = ["-c", "exec \"$0\" \"$@\"", wrapper].map(str::to_owned);
            let words = words.into_iter().chain([runtime]).chain(args);
            ("/bin/sh".into(), words.collect())
        }
        _ => (pack.program.clone(), args),
    }
}

pub(crate) fn spec(
    lambda: &Lambda,
    version: &Arc<Version>,
    stream: &LogStream,
    process: &Process,
    code: &Code,
    token: &str,
) -> Spec {
    let configuration = &version.configuration;
    let credentials = RoleSource::of(lambda, version).and_then(|role| role.begin());
    let has_endpoint = lambda.aws_endpoint.get().is_some();
    let inside = Inside { credentials: credentials.as_ref(), token, has_endpoint };
    let pack = &process.pack;
    let (root, task) = match code {
        Code::Zip { package, .. } => (None, Some((package.path(), Path::new(TASK_ROOT)))),
        Code::Image(image) => (Some(image.root().to_owned()), None),
    };
    let binds = pack.binds.iter().map(|(host, inside)| (host.as_path(), inside.as_path()));
    let layers = code.layers().map(|layers| (layers, Path::new(LAYER_ROOT)));
    let binds = binds.chain(task).chain(layers);
    let env = environment_variables::of(version, stream, process, inside);
    let companions = external::companions(&process.extensions, &env);
    let (program, args) = command(pack, configuration);
    let proportional = configuration.memory_mb.saturating_mul(1000) / MEMORY_MB_PER_CPU;
    Spec {
        id: lambda.entropy.uuid().simple().to_string(),
        program,
        args,
        env,
        cwd: process.working_directory.clone(),
        root,
        binds: binds
            .map(|(host, inside)| Bind { host: host.to_owned(), inside: inside.to_owned() })
            .collect(),
        // Chosen with the sandbox.
        uid: 0,
        memory_bytes: u64::from(configuration.memory_mb) * MIB,
        cpu_millis: proportional.max(lambda.settings.cpu_millis_min),
        cpu_share_millis: proportional,
        tmp_bytes: u64::from(configuration.ephemeral_mb) * MIB,
        pids_max: PROCESSES_MAX,
        nofile: OPEN_FILES_MAX,
        companions,
    }
}
