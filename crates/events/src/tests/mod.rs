//! The engines against a source and functions that do everything wrong that can go wrong.
//!
//! Time is the test's own and jumps when nothing else is to be done, so that pauses cost nothing. Chance comes from a
//! seed, which a failing test names.

mod faulty;
mod queues;
mod streams;
mod windows;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use gatemill_lambda::{
    FunctionTarget, Outcome,
    mapping::{
        MAPPING_RESULTS, MAPPING_WORK, MAPPINGS, Mapping, MappingKey, Settings, StartingPosition,
        State, StreamSettings, Work,
    },
};
use gatemill_meter::Meters;
use gatemill_store::{Store, Write};
use gatemill_wire::{Clock, Entropy, RequestId, Timestamp, routes::BoxFuture};
use serde_json::Value;
use tokio::{task::JoinHandle, time::Instant};

use crate::{CallError, Events, Functions, Parts};
use faulty::FaultySources;

/// Numbers that look random and are the same every time.
#[derive(Debug, Clone)]
pub(crate) struct Chance(Arc<Mutex<u64>>);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)))
    }

    fn next(&self) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    /// A number below this one.
    fn below(&self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }

    /// Whether it happens that happens so often in a hundred times.
    fn percent(&self, often: usize) -> bool {
        self.below(100) < often
    }
}

impl Entropy for Chance {
    fn fill(&self, buffer: &mut [u8]) {
        for byte in buffer {
            *byte = self.next().to_le_bytes()[3];
        }
    }
}

/// The test's time.
struct TestClock(Instant);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let millis = i64::try_from(self.0.elapsed().as_millis()).unwrap();
        Timestamp(START_MS + millis)
    }
}

/// How the test's time passes.
const TICK: Duration = Duration::from_millis(50);
/// When a test gives up: after more than an hour of its time.
const TICKS_MAX: usize = 100_000;
/// When tests begin, in milliseconds.
const START_MS: i64 = 1_795_379_200_000;

/// How many courses of chance a test of everything that fails takes: `EVENTS_SEEDS`, else a few.
#[expect(clippy::disallowed_methods, reason = "a test may be asked for more")]
fn seeds() -> u64 {
    std::env::var("EVENTS_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(10)
}

/// One call that a function got.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    event: Value,
    ids: Vec<String>,
}

type Behaviour = Box<dyn FnMut(&Call) -> Result<(Option<&'static str>, String), CallError> + Send>;

/// Functions that do what a test says.
pub(crate) struct TestFunctions {
    behaviour: Mutex<Behaviour>,
    calls: Mutex<Vec<Call>>,
    /// How old the last record of each call was.
    ages_ms: Mutex<Vec<i64>>,
    takes: Duration,
}

impl Functions for TestFunctions {
    fn call(
        &self,
        _target: FunctionTarget,
        event: Bytes,
        _request_id: RequestId,
    ) -> BoxFuture<'_, Result<Outcome, CallError>> {
        let event: Value = serde_json::from_slice(&event).expect("an event is JSON");
        let records = event["Records"].as_array().expect("it has records");
        let ids = records.iter().map(|record| record["id"].as_str().unwrap().to_owned());
        let call = Call { ids: ids.collect(), event };
        Box::pin(async move {
            // First it takes its time, so that it can be killed before anything came of it.
            tokio::time::sleep(self.takes).await;
            self.calls.lock().unwrap().push(call.clone());
            let behave = &mut *self.behaviour.lock().unwrap();
            behave(&call).map(|(function_error, payload)| Outcome {
                payload: payload.into(),
                function_error,
                executed_version: "$LATEST".to_owned(),
                log_tail: None,
                durable_execution_arn: None,
            })
        })
    }

    fn called_with_records(&self, _target: &FunctionTarget, age_ms: i64) {
        self.ages_ms.lock().unwrap().push(age_ms);
    }
}

/// A server's part of mappings, which can be killed and started again.
pub(crate) struct World {
    store: Store,
    functions: Arc<TestFunctions>,
    sources: Arc<FaultySources>,
    clock: Arc<TestClock>,
    chance: Chance,
    meters: Arc<Meters>,
    measured: Mutex<HashMap<&'static str, f64>>,
    working: Option<JoinHandle<()>>,
    events: Option<Events>,
}

impl World {
    fn new(
        seed: u64,
        behaviour: impl FnMut(&Call) -> Result<(Option<&'static str>, String), CallError>
        + Send
        + 'static,
    ) -> Self {
        let chance = Chance::new(seed);
        let functions = TestFunctions {
            behaviour: Mutex::new(Box::new(behaviour)),
            calls: Mutex::default(),
            ages_ms: Mutex::default(),
            takes: Duration::from_millis(20),
        };
        Self {
            store: Store::memory(),
            functions: Arc::new(functions),
            sources: Arc::new(FaultySources::new(chance.clone())),
            clock: Arc::new(TestClock(Instant::now())),
            chance,
            meters: Arc::new(Meters::new(1)),
            measured: Mutex::default(),
            working: None,
            events: None,
        }
    }

    fn start(&mut self) {
        let events = Events::new(Parts {
            store: self.store.clone(),
            functions: Arc::clone(&self.functions) as _,
            sources: Arc::clone(&self.sources) as _,
            clock: Arc::clone(&self.clock) as _,
            entropy: Arc::new(self.chance.clone()),
            meters: Arc::clone(&self.meters),
        });
        self.working = Some(tokio::spawn(events.work()));
        self.events = Some(events);
    }

    /// Drops everything wherever it is.
    async fn kill(&mut self) {
        if let Some(working) = self.working.take() {
            working.abort();
            let _ = working.await;
        }
    }

    async fn put(&self, mapping: Mapping) {
        let place = key().record();
        self.write(move |tx| {
            MAPPINGS.put(tx, &place, &mapping)?;
            MAPPING_WORK.put(tx, &place, &Work {})
        })
        .await;
    }

    async fn change(&self, state: State, change: impl Fn(&mut Settings) + Send + 'static) {
        let place = key().record();
        self.write(move |tx| {
            let mut mapping = MAPPINGS.get(tx, &place)?.unwrap();
            mapping.state = state;
            mapping.revision += 1;
            change(&mut mapping.settings);
            MAPPINGS.put(tx, &place, &mapping)?;
            MAPPING_WORK.put(tx, &place, &Work {})
        })
        .await;
    }

    /// Writes while the test's time stands still.
    async fn write(
        &self,
        write: impl Fn(&mut Write) -> Result<(), gatemill_store::Error> + Send + 'static,
    ) {
        let store = self.store.clone();
        still(async move { store.write(write).await.unwrap() }).await;
    }

    fn state(&self) -> Option<State> {
        let mapping = self.store.read(|tx| MAPPINGS.get(tx, &key().record())).unwrap();
        mapping.map(|mapping| mapping.state)
    }

    fn result(&self) -> Option<String> {
        let result = self.store.read(|tx| MAPPING_RESULTS.get(tx, &key().record())).unwrap();
        result.map(|result| result.text)
    }

    /// What a metric of the mapping came to.
    fn measured(&self, metric: &str) -> f64 {
        let mut sums = self.measured.lock().unwrap();
        for measured in self.meters.collect() {
            assert_eq!(measured.subject.dimensions, [("EventSourceMappingUUID", key().uuid)]);
            for (metric, statistic) in measured.statistics {
                *sums.entry(metric.name).or_default() += statistic.sum;
            }
        }
        sums.get(metric).copied().unwrap_or_default()
    }

    /// The greatest value of a metric of the mapping since it was asked for last.
    fn most(&self, metric: &str) -> f64 {
        let measured = self.meters.collect().into_iter().flat_map(|measured| measured.statistics);
        measured.filter(|(one, _)| one.name == metric).map(|(_, it)| it.max).fold(0.0, f64::max)
    }

    fn calls(&self) -> MutexGuard<'_, Vec<Call>> {
        self.functions.calls.lock().unwrap()
    }

    /// Lets a little of the test's time pass; none while the store has something to write.
    async fn tick(&self) {
        let store = self.store.clone();
        still(async move { store.flush().await.unwrap() }).await;
        tokio::time::sleep(TICK).await;
    }

    /// Waits so long by the test's time.
    async fn rest(&self, rest: Duration) {
        let end = Instant::now() + rest;
        while Instant::now() < end {
            self.tick().await;
        }
    }

    /// Waits until something is so.
    async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..TICKS_MAX {
            if is_so(self) {
                return;
            }
            self.tick().await;
        }
        panic!("it never came that {what}: {:?}, {:?}", self.state(), self.result());
    }
}

/// Waits for the store, whose thread knows only clocks, while the test's time stands still: the runtime jumps whenever
/// nothing is to be done, and would go through minutes meanwhile, but not while blocking work is under way.
async fn still(work: impl Future<Output = ()> + Send + 'static) {
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || runtime.block_on(work)).await.unwrap();
}

fn key() -> MappingKey {
    MappingKey { account: "000000000000".into(), region: "us-east-1".into(), uuid: "u".into() }
}

fn mapping(source_arn: &str, stream: Option<StreamSettings>) -> Mapping {
    Mapping {
        function_arn: "arn:aws:lambda:us-east-1:000000000000:function:f".into(),
        source_arn: source_arn.into(),
        state: State::Creating { enabled: true },
        revision: 1,
        last_modified_ms: 0,
        settings: Settings {
            batch_size: 10,
            window_s: 0,
            filters: Vec::new(),
            reports_item_failures: false,
            maximum_concurrency: None,
            pollers: None,
            stream,
            counts_events: true,
            kms_key_arn: None,
        },
        tags: Default::default(),
    }
}

fn stream_mapping() -> Mapping {
    let settings = StreamSettings {
        starting: StartingPosition::TrimHorizon,
        parallelization: 1,
        on_failure: None,
        record_age_s: None,
        bisects: false,
        retries: None,
        tumbling_s: 0,
    };
    mapping("arn:aws:kinesis:us-east-1:000000000000:stream/s", Some(settings))
}

fn queue_mapping() -> Mapping {
    mapping("arn:aws:sqs:us-east-1:000000000000:q", None)
}

fn success() -> Result<(Option<&'static str>, String), CallError> {
    Ok((None, "null".to_owned()))
}

fn function_failure() -> Result<(Option<&'static str>, String), CallError> {
    Ok((Some("Unhandled"), r#"{"errorMessage":"no"}"#.to_owned()))
}

/// How often each id stands in a list.
fn tally(ids: impl IntoIterator<Item = String>) -> HashMap<String, usize> {
    let mut tally = HashMap::new();
    for id in ids {
        *tally.entry(id).or_insert(0) += 1;
    }
    tally
}
