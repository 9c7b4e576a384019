//! Parking: environments that are made before anybody calls.
//!
//! A parked environment has everything but a function: its sandbox, its uid, its booted runtime. A start then takes one,
//! has it assigned, and pays for nothing but the function's own initialisation. Parked are runtimes that functions use,
//! from the first use of each on; what nobody used for a while is given up. Where programs can be forked, one booted
//! process without a function (a template) makes all the environments of a runtime. Programs that bring everything
//! themselves find a sandbox that waits without a program, a vacant one.
//!
//! One function's burst may empty a lot only down to a reserve, which the first starts of others find. Refilling waits a
//! moment after a start, so that it does not compete with what it was for, and is limited in rate.

use std::{
    collections::{HashMap, VecDeque},
    io::{self, ErrorKind, Read as _},
    os::fd::AsFd,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::{BufMut, BytesMut};
use gatemill_sandbox::{
    Assignment, Bind, Sandbox, Spec, Template,
    runtime::{Pack, Parkable},
    vacant,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::Notify,
    task::JoinSet,
    time::Instant,
};
use uuid::Uuid;

use crate::{
    Error, Lambda, entrypoint,
    frame::{ASSIGN, PARKED_FRAME},
    invoke::resolve::Version,
    limits::{
        OPEN_FILES_MAX, PARKED_BOOT, PARKING_PAUSE, PARKING_RETRY, PROCESSES_MAX, TEMPLATE_AGE_MAX,
        TEMPLATE_FORKS_MAX,
    },
    load::Throttle,
    snap_start::Owner,
    uid::UidSlot,
    wires::Outgoing,
};

const MIB: u64 = 1024 * 1024;
/// Of the parked environments of a lot, one in so many is kept for functions that took none lately.
const RESERVE_PART: usize = 4;
/// How long a function counts as one that took.
const LATELY: Duration = Duration::from_secs(1);
/// Lots that are filled at one time.
const FILLED_AT_ONCE: usize = 2;

/// Numbers that operators choose.
#[derive(Debug, Clone)]
pub struct ParkingSettings {
    /// Environments that wait per runtime that can be forked or has nothing to boot; 0 parks none.
    pub forked: usize,
    /// Environments that wait per runtime (and memory size) that has to be booted; 0 parks none.
    pub booted: usize,
    /// How long after a start what it took is replaced.
    pub delay: Duration,
    /// How many environments are parked in a second, at most.
    pub per_second: u32,
    /// How long the environments of a runtime wait for a use of it.
    pub keep: Duration,
    /// Whether processes are forked from templates. Without, each has a memory layout and a hash seed of its own.
    pub templates: bool,
}

impl Default for ParkingSettings {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            forked: 4 * cores,
            booted: 2,
            delay: Duration::from_millis(20),
            per_second: 200,
            keep: Duration::from_secs(600),
            templates: true,
        }
    }
}

/// What has to be the same for one function's start to take what another's use had made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kind {
    runtime: String,
    memory_mb: u32,
}

/// All that is parked.
#[derive(Debug)]
pub(crate) struct Parking {
    settings: ParkingSettings,
    lots: Mutex<HashMap<Kind, Lot>>,
    /// Told when there is something to fill.
    hungry: Notify,
}

/// The parked environments of one kind.
#[derive(Debug)]
struct Lot {
    pack: Arc<Pack>,
    parkable: Parkable,
    waiting: VecDeque<Parked>,
    template: Option<Arc<Forkable>>,
    used: Instant,
    /// Functions that took lately, and when.
    takers: HashMap<Uuid, Instant>,
    /// Not to be filled before; `None` when it is full.
    fill_at: Option<Instant>,
    filling: bool,
}

#[derive(Debug)]
struct Forkable {
    template: Template,
    made: Instant,
    forks: std::sync::atomic::AtomicU32,
}

/// One that waits.
#[derive(Debug)]
pub(crate) struct Parked {
    sandbox: Sandbox,
    uid: UidSlot,
}

/// A sandbox for a function, and what has to be said to its runtime first.
pub(crate) struct Made {
    pub(crate) sandbox: Sandbox,
    pub(crate) owner: Owner,
    pub(crate) greeting: Outgoing,
}

enum Found {
    Parked(Parked),
    Template(Arc<Forkable>),
    Nothing,
}

impl Parking {
    pub(crate) fn new(settings: ParkingSettings) -> Self {
        Self { settings, lots: Mutex::default(), hungry: Notify::new() }
    }

    fn lots(&self) -> MutexGuard<'_, HashMap<Kind, Lot>> {
        self.lots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the runtime of a lot needs of the host and is not there any more, as when its data directory was removed.
    fn missing(&self, kind: &Kind) -> Vec<PathBuf> {
        let pack = self.lots().get(kind).map(|lot| Arc::clone(&lot.pack));
        let binds = pack.iter().flat_map(|pack| &pack.binds);
        binds.map(|(host, _)| host.clone()).filter(|host| !host.exists()).collect()
    }

    fn wanted(&self, parkable: &Parkable, can_fork: bool) -> usize {
        let forked = can_fork && self.settings.templates && parkable.template_args.is_some();
        if forked || parkable.is_vacant { self.settings.forked } else { self.settings.booted }
    }

    /// Takes what is there for this function, and has more made.
    fn take(
        &self,
        lambda: &Lambda,
        pack: &Arc<Pack>,
        parkable: Parkable,
        deployment: Uuid,
    ) -> Found {
        let wanted = self.wanted(&parkable, lambda.sandboxes.can_fork());
        if wanted == 0 {
            return Found::Nothing;
        }
        let now = Instant::now();
        let kind = Kind { runtime: pack.name.clone(), memory_mb: parkable.memory_mb };
        let mut lots = self.lots();
        let lot = lots.entry(kind).or_insert_with(|| Lot {
            pack: Arc::clone(pack),
            parkable,
            waiting: VecDeque::new(),
            template: None,
            used: now,
            takers: HashMap::new(),
            fill_at: None,
            filling: false,
        });
        lot.used = now;
        lot.takers.retain(|_, taken| now.duration_since(*taken) < LATELY);
        let reserve = if lot.takers.contains_key(&deployment) { wanted / RESERVE_PART } else { 0 };
        let parked = if lot.waiting.len() > reserve { lot.waiting.pop_front() } else { None };
        if parked.is_some() {
            lot.takers.insert(deployment, now);
        }
        if lot.fill_at.is_none() && lot.waiting.len() < wanted {
            lot.fill_at = Some(now + self.settings.delay);
            self.hungry.notify_one();
        }
        match (parked, &lot.template) {
            (Some(parked), _) => Found::Parked(parked),
            (None, Some(template)) if template.template.is_alive() => {
                Found::Template(Arc::clone(template))
            }
            _ => Found::Nothing,
        }
    }

    /// Drops what nobody used for long, and gives the lots that are to be filled now, and when to look again.
    fn due(&self, now: Instant) -> (Vec<Kind>, Option<Instant>) {
        let mut lots = self.lots();
        lots.retain(|_, lot| lot.filling || now.duration_since(lot.used) < self.settings.keep);
        let mut due = Vec::new();
        let mut next = lots.values().map(|lot| lot.used + self.settings.keep).min();
        for (kind, lot) in lots.iter_mut().filter(|(_, lot)| !lot.filling) {
            match lot.fill_at {
                Some(at) if at <= now => {
                    lot.filling = true;
                    due.push(kind.clone());
                }
                Some(at) => next = Some(next.map_or(at, |next| next.min(at))),
                None => {}
            }
        }
        (due, next)
    }
}

/// Makes a sandbox for a function in the fastest way that there is. The spec says what the function wants; its uid is
/// chosen here.
///
/// # Errors
/// Only faults of ours.
pub(crate) async fn make(
    lambda: &Lambda,
    version: &Version,
    pack: &Arc<Pack>,
    mut spec: Spec,
) -> Result<Made, Error> {
    if let Some(parkable) = parkable(lambda, version, pack, &spec) {
        match lambda.parking.take(lambda, pack, parkable.clone(), version.deployment) {
            Found::Parked(parked) => {
                // One that died while it waited is no reason to fail.
                if let Ok(made) = assign(parked, pack, &spec).await {
                    return Ok(made);
                }
            }
            Found::Template(template) => {
                let parked = park(lambda, pack, &parkable, Some(&template)).await;
                if let Ok(parked) = parked
                    && let Ok(made) = assign(parked, pack, &spec).await
                {
                    return Ok(made);
                }
            }
            Found::Nothing => {}
        }
    }
    let uid = lambda.uids.take().ok_or(Error::Throttled(Throttle::Account))?;
    spec.uid = uid.slot();
    let working_directory = spec.cwd.clone();
    let sandbox = lambda.sandboxes.start(spec).await;
    let sandbox = sandbox.map_err(|error| entrypoint::explain(error, pack, &working_directory))?;
    let greeting = Outgoing::default();
    Ok(Made { sandbox, owner: Owner::Uid(uid), greeting })
}

/// How the function's runtime can wait for it, if it can.
fn parkable(lambda: &Lambda, version: &Version, pack: &Pack, spec: &Spec) -> Option<Parkable> {
    let configuration = &version.configuration;
    if !lambda.sandboxes.can_park() || spec.root.is_some() || spec.companions.is_some() {
        return None;
    }
    let parkable = pack.parkable(configuration.memory_mb)?;
    // What has not started will read them.
    let mut own = configuration.variables();
    (parkable.is_vacant || !own.any(|(name, _)| is_read_at_start(name))).then_some(parkable)
}

/// Whether a variable is read by the loader, the C library or the interpreter when the process starts, so that it has to
/// be there then.
fn is_read_at_start(name: &str) -> bool {
    const NAMES: [&str; 10] = [
        "GLIBC_TUNABLES",
        "LANG",
        "LANGUAGE",
        "PATH",
        "TZ",
        "AWS_LAMBDA_EXEC_WRAPPER",
        "JAVA_TOOL_OPTIONS",
        "_JAVA_OPTIONS",
        "JDK_JAVA_OPTIONS",
        "CLASSPATH",
    ];
    const PREFIXES: [&str; 12] = [
        "LD_",
        "LC_",
        "MALLOC_",
        "PYTHON",
        "NODE_",
        "UV_",
        "OPENSSL_",
        "SSL_CERT_",
        "DOTNET_",
        "COMPlus_",
        "CORECLR_",
        "RUBY",
    ];
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Has a parked sandbox become the function's.
async fn assign(parked: Parked, pack: &Pack, spec: &Spec) -> Result<Made, Error> {
    let Parked { mut sandbox, uid } = parked;
    let furniture = Assignment {
        // The pack's are there.
        binds: spec.binds.get(pack.binds.len()..).unwrap_or_default().to_vec(),
        memory_bytes: spec.memory_bytes,
        cpu_millis: spec.cpu_millis,
        cpu_share_millis: spec.cpu_share_millis,
        tmp_bytes: spec.tmp_bytes,
    };
    sandbox.assign(furniture).await.map_err(Error::Sandbox)?;
    if sandbox.is_vacant {
        let order = vacant::order(spec).map_err(|invalid| Error::Sandbox(invalid.into()))?;
        let greeting = Outgoing::new(BytesMut::from(&order[..]), bytes::Bytes::new());
        return Ok(Made { sandbox, owner: Owner::Uid(uid), greeting });
    }
    let environment = spec.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let greeting = assignment(environment);
    Ok(Made { sandbox, owner: Owner::Uid(uid), greeting })
}

/// The ASSIGN frame.
pub(crate) fn assignment<'a>(environment: impl Iterator<Item = (&'a str, &'a str)>) -> Outgoing {
    let environment: serde_json::Map<_, _> =
        environment.map(|(name, value)| (name.to_owned(), value.into())).collect();
    let body = serde_json::json!({ "environment": environment }).to_string();
    let mut frame = BytesMut::with_capacity(5 + body.len());
    frame.put_u32_le(u32::try_from(body.len()).expect("an environment is limited to kilobytes"));
    frame.put_u8(ASSIGN);
    frame.extend_from_slice(body.as_bytes());
    Outgoing::new(frame, bytes::Bytes::new())
}

/// Makes one that waits, and waits until it does.
async fn park(
    lambda: &Lambda,
    pack: &Pack,
    parkable: &Parkable,
    template: Option<&Forkable>,
) -> Result<Parked, Error> {
    let uid = lambda.uids.take().ok_or(Error::Throttled(Throttle::Account))?;
    let spec = waiting_spec(lambda, pack, &parkable.args, parkable.memory_mb, uid.slot());
    if parkable.is_vacant {
        let sandbox = lambda.sandboxes.park_vacant(spec).await.map_err(Error::Sandbox)?;
        return Ok(Parked { sandbox, uid });
    }
    if let Some(template) = template {
        template.forks.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
    let template = template.map(|it| &it.template);
    let sandbox = lambda.sandboxes.park(spec, template).await.map_err(Error::Sandbox)?;
    let waits = tokio::time::timeout(PARKED_BOOT, says_that_it_waits(&sandbox)).await;
    waits
        .unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
        .map_err(Error::io("park a runtime"))?;
    Ok(Parked { sandbox, uid })
}

/// A sandbox for no function in particular.
fn waiting_spec(lambda: &Lambda, pack: &Pack, args: &[String], memory_mb: u32, uid: u32) -> Spec {
    let mut env = pack.env.clone();
    // Which release it stands in for is the runtime's own business, and is the same for all of its functions.
    env.push(("AWS_EXECUTION_ENV".into(), pack.execution_env.clone()));
    let bind =
        |(host, inside): &(PathBuf, PathBuf)| Bind { host: host.clone(), inside: inside.clone() };
    Spec {
        id: lambda.entropy.uuid().simple().to_string(),
        program: pack.program.clone(),
        args: args.to_vec(),
        env,
        cwd: "/".into(),
        root: None,
        binds: pack.binds.iter().map(bind).collect(),
        uid,
        memory_bytes: u64::from(memory_mb) * MIB,
        cpu_millis: lambda.settings.cpu_millis_min.max(1_000),
        cpu_share_millis: 100,
        tmp_bytes: u64::from(crate::limits::EPHEMERAL_MB.start().unsigned_abs()) * MIB,
        pids_max: PROCESSES_MAX,
        nofile: OPEN_FILES_MAX,
        companions: None,
    }
}

#[allow(
    deprecated,
    reason = "see `Wires::watch`: the sandbox owns the descriptor and outlives the watch"
)]
pub(crate) async fn says_that_it_waits(sandbox: &Sandbox) -> io::Result<()> {
    let watched = AsyncFd::with_interest(sandbox.channel.as_fd(), Interest::READABLE)?;
    let mut frame = [0; PARKED_FRAME.len()];
    let mut have = 0;
    while have < frame.len() {
        let mut ready = watched.readable().await?;
        match ready.try_io(|_| (&sandbox.channel).read(&mut frame[have..])) {
            Ok(Ok(0)) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(Ok(read)) => have += read,
            Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
            Ok(Err(error)) => return Err(error),
            Err(_) => {}
        }
    }
    if frame == PARKED_FRAME { Ok(()) } else { Err(ErrorKind::InvalidData.into()) }
}

/// Fills lots, for ever.
pub(crate) async fn run(lambda: Arc<Lambda>) {
    let parking = &lambda.parking;
    let mut filling = JoinSet::new();
    // Of a run before this one, which ended in the middle.
    parking.lots().values_mut().for_each(|lot| lot.filling = false);
    loop {
        let (due, next) = if filling.len() < FILLED_AT_ONCE {
            parking.due(Instant::now())
        } else {
            (Vec::new(), None)
        };
        for kind in due {
            let lambda = Arc::clone(&lambda);
            filling.spawn(async move {
                fill(&lambda, &kind).await;
                if let Some(lot) = lambda.parking.lots().get_mut(&kind) {
                    lot.filling = false;
                }
            });
        }
        let look = next.unwrap_or_else(|| Instant::now() + PARKING_PAUSE);
        tokio::select! {
            () = parking.hungry.notified() => {}
            Some(_) = filling.join_next() => {}
            () = tokio::time::sleep_until(look) => {}
        }
    }
}

/// Fills one lot, at the pace that is allowed.
async fn fill(lambda: &Lambda, kind: &Kind) {
    let pace = Duration::from_secs(1) / lambda.settings.parking.per_second.max(1);
    loop {
        let begun = Instant::now();
        let filled = match template(lambda, kind).await {
            Ok(template) => fill_one(lambda, kind, template.as_deref()).await,
            Err(error) => Err(error),
        };
        match filled {
            Ok(true) => tokio::time::sleep_until(begun + pace).await,
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(
                    runtime = kind.runtime,
                    error = error.chain(),
                    missing = ?lambda.parking.missing(kind),
                    "an environment cannot be parked"
                );
                if let Some(lot) = lambda.parking.lots().get_mut(kind) {
                    lot.fill_at = Some(Instant::now() + PARKING_RETRY);
                }
                return;
            }
        }
    }
}

/// Parks one. `false` when the lot is full.
async fn fill_one(
    lambda: &Lambda,
    kind: &Kind,
    template: Option<&Forkable>,
) -> Result<bool, Error> {
    let parking = &lambda.parking;
    let (pack, parkable) = {
        let mut lots = parking.lots();
        let Some(lot) = lots.get_mut(kind) else { return Ok(false) };
        lot.waiting.retain(|parked| parked.sandbox.is_alive());
        if lot.waiting.len() >= parking.wanted(&lot.parkable, lambda.sandboxes.can_fork()) {
            lot.fill_at = None;
            return Ok(false);
        }
        (Arc::clone(&lot.pack), lot.parkable.clone())
    };
    let parked = park(lambda, &pack, &parkable, template).await?;
    if let Some(lot) = parking.lots().get_mut(kind) {
        lot.waiting.push_back(parked);
    }
    Ok(true)
}

/// The template of a lot, made anew when it is old; `None` where there are none.
async fn template(lambda: &Lambda, kind: &Kind) -> Result<Option<Arc<Forkable>>, Error> {
    let (pack, parkable) = {
        let mut lots = lambda.parking.lots();
        let Some(lot) = lots.get_mut(kind) else { return Ok(None) };
        if let Some(template) = lot.template.as_ref().filter(|template| template.is_good()) {
            return Ok(Some(Arc::clone(template)));
        }
        (Arc::clone(&lot.pack), lot.parkable.clone())
    };
    let Some(args) = parkable
        .template_args
        .filter(|_| lambda.settings.parking.templates && lambda.sandboxes.can_fork())
    else {
        return Ok(None);
    };
    let spec = waiting_spec(lambda, &pack, &args, crate::limits::TEMPLATE_MEMORY_MB, 0);
    let template = lambda.sandboxes.template(spec).await.map_err(Error::Sandbox)?;
    let forkable = Arc::new(Forkable {
        template,
        made: Instant::now(),
        forks: std::sync::atomic::AtomicU32::new(0),
    });
    if let Some(lot) = lambda.parking.lots().get_mut(kind) {
        lot.template = Some(Arc::clone(&forkable));
    }
    Ok(Some(forkable))
}

impl Forkable {
    fn is_good(&self) -> bool {
        self.template.is_alive()
            && self.made.elapsed() < TEMPLATE_AGE_MAX
            && self.forks.load(std::sync::atomic::Ordering::Relaxed) < TEMPLATE_FORKS_MAX
    }
}
