//! The life of one execution environment: its states, the one step between them, and what belongs to it.
//!
//! [`step`] is total: whatever a hostile runtime does at whatever moment, the answer is a state, and every state but
//! [`State::Idle`], [`State::Busy`] and [`State::Streaming`] that a surprise leads to is an end. An environment that ended is killed and never
//! used again; dropping an [`Instance`] kills it, too, so that one whose caller vanished is never returned half read.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use gatemill_sandbox::{Exit, ExitStatus, Fate, Sandbox};
use gatemill_wire::Clock;
use tokio::time::Instant;

use crate::{
    call_log::CallLog,
    code::Code,
    frame::{Garbage, Kind},
    invoke::resolve::Version,
    limits::{
        ENVIRONMENT_AGE_MAX, EXIT_GRACE, MEMORY_MB_PER_CPU, MEMORY_READING_AGE, MEMORY_READING_CALL,
    },
    load::TenantEnvironment,
    log_pump::LogPump,
    provisioned::Seat,
    shard,
    snap_start::Owner,
    wires::Wires,
};

/// Where an environment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Its program runs and loads the function.
    Initialising,
    /// It waits for a call.
    Idle,
    /// It runs one call.
    Busy,
    /// It runs one call, and its answer is on its way in pieces.
    Streaming,
    /// It is over.
    Ended(End),
}

/// How an environment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The runtime said that initialisation failed.
    InitFailed,
    /// It closed its channel, which a process that dies does.
    Closed,
    /// It used up its time.
    TimedOut,
    /// It spoke out of turn or nonsense.
    Broken(Garbage),
    /// An extension gave up.
    ExtensionFailed,
}

/// What happens to an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// A whole frame arrived.
    Frame(Kind),
    /// A call was given to it.
    Assigned,
    /// Its channel is closed.
    Closed,
    /// Its time is over.
    DeadlinePassed,
    /// What arrived is no frame.
    Garbage(Garbage),
    /// An extension gave up.
    ExtensionFailed,
}

/// The one transition.
pub(crate) fn step(state: State, event: Event) -> State {
    match (state, event) {
        (State::Ended(end), _) => State::Ended(end),
        (State::Initialising, Event::Frame(Kind::Ready))
        | (State::Busy, Event::Frame(Kind::Response | Kind::Error))
        | (State::Streaming, Event::Frame(Kind::StreamEnd | Kind::StreamError)) => State::Idle,
        (State::Busy, Event::Frame(Kind::StreamBegin))
        | (State::Streaming, Event::Frame(Kind::StreamChunk)) => State::Streaming,
        (State::Initialising, Event::Frame(Kind::InitError)) => State::Ended(End::InitFailed),
        (State::Idle, Event::Assigned) => State::Busy,
        (_, Event::Closed) => State::Ended(End::Closed),
        (_, Event::DeadlinePassed) => State::Ended(End::TimedOut),
        (_, Event::ExtensionFailed) => State::Ended(End::ExtensionFailed),
        (_, Event::Garbage(garbage)) => State::Ended(End::Broken(garbage)),
        (_, Event::Frame(_) | Event::Assigned) => State::Ended(End::Broken(Garbage::Unexpected)),
    }
}

/// How many environments are in which state: for health and metrics.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    initialising: AtomicUsize,
    idle: AtomicUsize,
    busy: AtomicUsize,
}

impl Gauge {
    fn of(&self, state: State) -> Option<&AtomicUsize> {
        match state {
            State::Initialising => Some(&self.initialising),
            State::Idle => Some(&self.idle),
            State::Busy | State::Streaming => Some(&self.busy),
            State::Ended(_) => None,
        }
    }

    fn moved(&self, from: Option<State>, to: Option<State>) {
        if let Some(count) = from.and_then(|state| self.of(state)) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(count) = to.and_then(|state| self.of(state)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// (initialising, idle, busy)
    pub(crate) fn read(&self) -> (usize, usize, usize) {
        let read = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        (read(&self.initialising), read(&self.idle), read(&self.busy))
    }
}

/// The state of one environment, counted.
#[derive(Debug)]
pub(crate) struct Life {
    state: State,
    gauge: Arc<Gauge>,
}

impl Life {
    pub(crate) fn new(gauge: Arc<Gauge>) -> Self {
        gauge.moved(None, Some(State::Initialising));
        Self { state: State::Initialising, gauge }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// Takes the step and gives the new state.
    pub(crate) fn advance(&mut self, event: Event) -> State {
        let next = step(self.state, event);
        self.gauge.moved(Some(self.state), Some(next));
        self.state = next;
        next
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.gauge.moved(Some(self.state), None);
    }
}

/// One execution environment.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) version: Arc<Version>,
    pub(crate) life: Life,
    pub(crate) wires: Wires,
    /// The shard whose reactor owns the wires; `None` when no shard's thread does.
    pub(crate) shard: Option<usize>,
    pub(crate) log: CallLog,
    /// When its sandbox was started or taken.
    pub(crate) born: Instant,
    /// What initialisation took, until the first call's report says it.
    pub(crate) init: Option<Duration>,
    /// What its restore from a snapshot took, until the first call's report says it.
    pub(crate) restore: Option<Duration>,
    pub(crate) idle_since: Instant,
    /// Its place among the provisioned environments of its version, if it is one.
    pub(crate) seat: Option<Seat>,
    /// Its place among the environments of single tenants, if it is one.
    pub(crate) _tenant: Option<TenantEnvironment>,
    /// The highest memory use that is known.
    pub(crate) memory_peak: u64,
    /// When it was read last.
    pub(crate) measured_at: Instant,
    /// What making it took, for the decision whom to evict.
    pub(crate) start: Duration,
    /// Calls that it ran.
    pub(crate) uses: u32,
    /// What it was worth when it got idle; see [`eviction`](crate::eviction).
    pub(crate) worth: f64,
    /// Whether its processes are stopped.
    pub(crate) frozen: bool,
    /// The core that its processes keep to, for as long as its calls are waited for on the spot.
    pub(crate) core: Option<usize>,
    // Last, so that everything above is gone before the process tree is killed and its uid may be another's.
    pub(crate) sandbox: Arc<Sandbox>,
    /// Keeps the unpacked code on the disk while it is bound.
    pub(crate) _code: Code,
    pub(crate) owner: Owner,
}

impl Instance {
    /// Whether it is given no further call, because its credentials end.
    pub(crate) fn is_old(&self, now: Instant) -> bool {
        now.duration_since(self.born) >= ENVIRONMENT_AGE_MAX
    }

    /// Reads the memory high-water mark.
    pub(crate) fn measure(&mut self) -> u64 {
        self.memory_peak = self.memory_peak.max(self.sandbox.memory_peak_bytes());
        self.memory_peak
    }

    /// The memory high-water mark for the report of a call of this length.
    ///
    /// Reading it costs as much as a tenth of a small call. So a reading of a few milliseconds ago is good enough for a
    /// call of less than one: what such a call added in that time, the next reading has. The figure may thus come a call
    /// late and is never made up.
    pub(crate) fn measure_after(&mut self, call: Duration) -> u64 {
        let now = Instant::now();
        let is_recent = now.duration_since(self.measured_at) < MEMORY_READING_AGE;
        if is_recent && call < MEMORY_READING_CALL && self.memory_peak > 0 {
            return self.memory_peak;
        }
        self.measured_at = now;
        self.measure()
    }

    /// Has its processes keep to the core of this data-plane thread, or lets them go where they like.
    ///
    /// Only a function that may use one CPU at most: others may want to know how many they have, and what they start
    /// inherits where it may run.
    pub(crate) fn keep_here(&mut self, here: bool) {
        let may = self.version.configuration.memory_mb <= MEMORY_MB_PER_CPU;
        let core = shard::core().filter(|_| here && may);
        if core != self.core {
            self.sandbox.keep_to(core);
            self.core = core;
        }
    }

    /// Stops its processes: it has no call, and what it does without one is nobody's.
    pub(crate) fn freeze(&mut self) {
        if !self.frozen {
            self.frozen = true;
            self.sandbox.freeze();
        }
    }

    /// Lets them go on.
    pub(crate) fn thaw(&mut self) {
        if self.frozen {
            self.frozen = false;
            self.sandbox.thaw();
        }
    }

    /// Waits for the process that closed its channel, and kills it when it lives on without one. Output that is still
    /// in the pipe goes into the log.
    pub(crate) async fn buried(&mut self, pump: &LogPump, clock: &dyn Clock) -> Exit {
        if self.wires.external.is_some() {
            let (log, deadline) = (&mut self.log, Instant::now() + EXIT_GRACE);
            self.wires.conclude(log, pump, clock, deadline, Wires::runtime_has_ended).await;
        }
        if let Some(exit) = self.exit_beside_extensions() {
            self.wires.drain(&mut self.log, clock.now());
            return exit;
        }
        let exited = tokio::time::timeout(EXIT_GRACE, self.sandbox.exited()).await;
        let exit = match exited {
            Ok(exit) => exit,
            Err(_) => self.killed().await,
        };
        self.memory_peak = self.memory_peak.max(exit.memory_peak_bytes);
        self.wires.drain(&mut self.log, clock.now());
        exit
    }

    /// How the runtime ended, where extensions live on beside it. Who was killed may have been so for the memory, which only
    /// the end of the whole sandbox tells.
    fn exit_beside_extensions(&mut self) -> Option<Exit> {
        let status = match self.wires.external.as_ref()?.runtime? {
            Fate::Ended(ExitStatus::Signal(9)) => return None,
            Fate::Ended(status) => status,
            Fate::NotStarted(_) => ExitStatus::Code(127),
        };
        let memory_peak_bytes = self.measure();
        Some(Exit { status, oom_killed: false, memory_peak_bytes, left_tmp: false })
    }

    /// What ended without an answer is killed, unless extensions have to be told first; then it waits for
    /// [`shutdown`](crate::shutdown).
    pub(crate) async fn stopped(&mut self) {
        if self.wires.has_extensions() {
            self.measure();
        } else {
            self.killed().await;
        }
    }

    /// Kills the process tree and waits until it is gone.
    pub(crate) async fn killed(&mut self) -> Exit {
        self.measure();
        self.sandbox.end();
        let exit = self.sandbox.exited().await;
        self.memory_peak = self.memory_peak.max(exit.memory_peak_bytes);
        exit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [State; 5] = [
        State::Initialising,
        State::Idle,
        State::Busy,
        State::Streaming,
        State::Ended(End::Closed),
    ];

    #[test]
    fn the_ways_that_lead_on() {
        for (from, event, to) in [
            (State::Initialising, Event::Frame(Kind::Ready), State::Idle),
            (State::Initialising, Event::Frame(Kind::InitError), State::Ended(End::InitFailed)),
            (State::Idle, Event::Assigned, State::Busy),
            (State::Busy, Event::Frame(Kind::Response), State::Idle),
            (State::Busy, Event::Frame(Kind::Error), State::Idle),
            (State::Busy, Event::Frame(Kind::StreamBegin), State::Streaming),
            (State::Streaming, Event::Frame(Kind::StreamChunk), State::Streaming),
            (State::Streaming, Event::Frame(Kind::StreamEnd), State::Idle),
            (State::Streaming, Event::Frame(Kind::StreamError), State::Idle),
        ] {
            assert_eq!(step(from, event), to, "{from:?} {event:?}");
        }
    }

    #[test]
    fn every_surprise_is_an_end_and_an_end_is_for_ever() {
        let kinds = [
            Kind::Ready,
            Kind::InitError,
            Kind::Response,
            Kind::Error,
            Kind::StreamBegin,
            Kind::StreamChunk,
            Kind::StreamEnd,
            Kind::StreamError,
        ];
        for state in STATES {
            for kind in kinds {
                let next = step(state, Event::Frame(kind));
                let expected = match (state, kind) {
                    (State::Initialising, Kind::Ready)
                    | (State::Busy, Kind::Response | Kind::Error)
                    | (State::Streaming, Kind::StreamEnd | Kind::StreamError) => Some(State::Idle),
                    (State::Busy, Kind::StreamBegin) | (State::Streaming, Kind::StreamChunk) => {
                        Some(State::Streaming)
                    }
                    _ => None,
                };
                match expected {
                    Some(expected) => assert_eq!(next, expected, "{state:?} {kind:?}"),
                    None => assert!(matches!(next, State::Ended(_)), "{state:?} {kind:?}"),
                }
            }
            for event in [Event::Closed, Event::DeadlinePassed, Event::ExtensionFailed] {
                assert!(matches!(step(state, event), State::Ended(_)));
            }
        }
        assert_eq!(
            step(State::Busy, Event::Assigned),
            State::Ended(End::Broken(Garbage::Unexpected))
        );
    }

    #[test]
    fn the_gauge_follows_every_life() {
        let gauge = Arc::new(Gauge::default());
        let mut life = Life::new(Arc::clone(&gauge));
        let other = Life::new(Arc::clone(&gauge));
        assert_eq!(gauge.read(), (2, 0, 0));
        life.advance(Event::Frame(Kind::Ready));
        life.advance(Event::Assigned);
        assert_eq!(gauge.read(), (1, 0, 1));
        life.advance(Event::Closed);
        drop((life, other));
        assert_eq!(gauge.read(), (0, 0, 0));
    }
}
