//! What is measured of functions: the metrics of the namespace `AWS/Lambda`, and a span for each call.
//!
//! A call is written down under its function and under what it named of it, a version or an alias; of an alias under the
//! version that ran as well. The time of a measurement is that of the call's begin. Calls that were throttled, or failed before
//! the function ran, are no invocations.

use std::sync::{Arc, OnceLock};

use gatemill_meter::{
    Meters, Metric, Span, SpanKind, SpanSink, Stages, Subject, TraceContext, Unit,
};
use gatemill_wire::{Qualifier, Timestamp};
use tokio::time::Instant;

use crate::{
    Error, FunctionTarget, Invocation, Lambda, invoke::resolve::Version, limits::SUBJECTS_KEPT_MAX,
    load::Permit, target::FunctionKey,
};

const NAMESPACE: &str = "AWS/Lambda";

const fn count(name: &'static str) -> Metric {
    Metric { name, unit: Unit::Count }
}

const fn milliseconds(name: &'static str) -> Metric {
    Metric { name, unit: Unit::Milliseconds }
}

static INVOCATIONS: Metric = count("Invocations");
static ERRORS: Metric = count("Errors");
static THROTTLES: Metric = count("Throttles");
static DURATION: Metric = milliseconds("Duration");
static CONCURRENT: Metric = count("ConcurrentExecutions");
static UNRESERVED: Metric = count("UnreservedConcurrentExecutions");
static CLAIMED: Metric = count("ClaimedAccountConcurrency");
static PROVISIONED_RUNNING: Metric = count("ProvisionedConcurrentExecutions");
static PROVISIONED_SHARE: Metric =
    Metric { name: "ProvisionedConcurrencyUtilization", unit: Unit::None };
static ITERATOR_AGE: Metric = milliseconds("IteratorAge");
static PROVISIONED: Metric = count("ProvisionedConcurrencyInvocations");
static SPILLED_OVER: Metric = count("ProvisionedConcurrencySpilloverInvocations");
pub(crate) static ASYNC_RECEIVED: Metric = count("AsyncEventsReceived");
pub(crate) static ASYNC_AGE: Metric = milliseconds("AsyncEventAge");
pub(crate) static ASYNC_DROPPED: Metric = count("AsyncEventsDropped");
pub(crate) static DEAD_LETTER_ERRORS: Metric = count("DeadLetterErrors");
pub(crate) static DELIVERY_FAILURES: Metric = count("DestinationDeliveryFailures");
pub(crate) static LOOPS_STOPPED: Metric = count("RecursiveInvocationsDropped");
static URL_REQUESTS: Metric = count("UrlRequestCount");
static URL_LATENCY: Metric = milliseconds("UrlRequestLatency");
static URL_4XX: Metric = count("Url4xxCount");
static URL_5XX: Metric = count("Url5xxCount");

/// Who is told of calls. Until the server says so, nobody is.
#[derive(Default)]
pub(crate) struct Measure {
    pub(crate) meters: OnceLock<Arc<Meters>>,
    pub(crate) spans: OnceLock<Arc<dyn SpanSink>>,
}

/// The subjects of one function. They live as long as its counters, so that a call finds its own without making it.
#[derive(Debug)]
pub(crate) struct Subjects {
    key: FunctionKey,
    /// The account as a whole, for what cannot be added up over functions.
    account: Arc<Subject>,
    /// The function, alone.
    function: Arc<Subject>,
    /// The function, in the sums of its account.
    summed: Arc<Subject>,
    unqualified: Arc<Subject>,
    qualified: papaya::HashMap<(Qualifier, Option<u64>), Arc<Subject>>,
}

impl Subjects {
    pub(crate) fn of(key: &FunctionKey) -> Self {
        let resource = ("Resource", key.name.clone());
        Self {
            account: subject(key, Vec::new(), &[0]),
            function: subject(key, vec![function(key)], &[1]),
            summed: subject(key, vec![function(key)], &[0, 1]),
            unqualified: subject(key, vec![function(key), resource], &[0, 1, 2]),
            qualified: papaya::HashMap::new(),
            key: key.clone(),
        }
    }

    /// The subject of a call that names this qualifier and runs this version.
    fn of_call(&self, qualifier: Option<&Qualifier>, version: &Version) -> Arc<Subject> {
        let Some(qualifier) = qualifier else { return Arc::clone(&self.unqualified) };
        let is_alias = matches!(qualifier, Qualifier::Alias(_));
        let ran = is_alias.then_some(version.number).flatten();
        let qualified = self.qualified.pin();
        if let Some(known) = qualified.get(&Ran(qualifier, ran)) {
            return Arc::clone(known);
        }
        if qualified.len() >= SUBJECTS_KEPT_MAX {
            qualified.clear();
        }
        let resource = ("Resource", format!("{}:{qualifier}", self.key.name));
        let mut dimensions = vec![function(&self.key), resource];
        let mut levels: &[usize] = &[0, 1, 2];
        if is_alias {
            dimensions.push(("ExecutedVersion", version.name().to_owned()));
            levels = &[0, 1, 2, 3];
        }
        let new = subject(&self.key, dimensions, levels);
        Arc::clone(qualified.get_or_insert((qualifier.clone(), ran), new))
    }
}

/// A borrowed key of [`Subjects::qualified`].
#[derive(Hash)]
struct Ran<'a>(&'a Qualifier, Option<u64>);

impl papaya::Equivalent<(Qualifier, Option<u64>)> for Ran<'_> {
    fn equivalent(&self, key: &(Qualifier, Option<u64>)) -> bool {
        *self.0 == key.0 && self.1 == key.1
    }
}

fn function(key: &FunctionKey) -> (&'static str, String) {
    ("FunctionName", key.name.clone())
}

fn subject(
    key: &FunctionKey,
    dimensions: Vec<(&'static str, String)>,
    levels: &'static [usize],
) -> Arc<Subject> {
    let (account, region) = (key.account.clone(), key.region.clone());
    Arc::new(Subject { account, region, namespace: NAMESPACE, dimensions, levels })
}

/// One call as it is watched.
pub(crate) struct Watch {
    at: Timestamp,
    /// Only where spans are exported.
    span: Option<Box<(Instant, Stages)>>,
}

impl Watch {
    /// The call has come to the end of a stage.
    pub(crate) fn end(&mut self, stage: &'static str) {
        if let Some(span) = &mut self.span {
            let (begun, stages) = &mut **span;
            stages.end(stage, || micros(begun.elapsed()));
        }
    }
}

fn micros(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn yes(it: bool) -> f64 {
    if it { 1.0 } else { 0.0 }
}

impl Lambda {
    /// Says what measures calls; until then they are not measured. Only the first counts: it is set while the server is put
    /// together.
    pub fn set_meters(&self, meters: Arc<Meters>) {
        let _ = self.measure.meters.set(meters);
    }

    /// Says who takes the spans of calls; until then there are none. Only the first counts.
    pub fn set_spans(&self, spans: Arc<dyn SpanSink>) {
        let _ = self.measure.spans.set(spans);
    }

    /// A call begins.
    pub(crate) fn watch(&self) -> Watch {
        let span = self.measure.spans.get().map(|_| Box::new((Instant::now(), Stages::kept())));
        Watch { at: self.clock.now(), span }
    }

    /// A call has its place.
    pub(crate) fn admitted(
        &self,
        call: &Invocation,
        version: &Version,
        permit: &Permit,
        watch: &Watch,
    ) {
        let Some(meters) = self.measure.meters.get() else { return };
        let (subjects, at_ms) = (&version.load.subjects, watch.at.millis());
        let running = permit.running;
        meters.record(&subjects.function, at_ms, &[(&CONCURRENT, running.of_function.into())]);
        let of_account: f64 = running.of_account.into();
        let unreserved = running.unreserved.map_or(0.0, f64::from);
        let of_account = [
            (&CONCURRENT, of_account),
            (&CLAIMED, running.claimed.into()),
            (&UNRESERVED, unreserved),
        ];
        // A call on what is reserved says nothing of the rest.
        let measured = of_account.len() - usize::from(running.unreserved.is_none());
        meters.record(&subjects.account, at_ms, &of_account[..measured]);
        if let Some(group) = permit.provisioned() {
            let subject = subjects.of_call(call.target.qualifier.as_ref(), version);
            let (used, share) = group.used();
            let values = [(&PROVISIONED_RUNNING, used), (&PROVISIONED_SHARE, share)];
            meters.record(&subject, at_ms, &values);
        }
    }

    /// A function is called with records of a stream, the last of which is this old.
    pub fn called_with_records(&self, target: &FunctionTarget, age_ms: i64) {
        #[allow(clippy::cast_precision_loss, reason = "ages are far below 2^53 milliseconds")]
        self.happened(&target.key().to_owned(), &ITERATOR_AGE, age_ms.max(0) as f64);
    }

    /// A call ended without having run.
    pub(crate) fn refused_call(
        &self,
        call: &Invocation,
        version: &Version,
        watch: Watch,
        error: &Error,
    ) {
        if let (Error::Throttled(_), Some(meters)) = (error, self.measure.meters.get()) {
            let subject = version.load.subjects.of_call(call.target.qualifier.as_ref(), version);
            meters.record(&subject, watch.at.millis(), &[(&THROTTLES, 1.0)]);
        }
        self.span_of(call, version, watch, true);
    }

    /// A call ended.
    pub(crate) fn invoked(
        &self,
        call: &Invocation,
        version: &Version,
        watch: Watch,
        (duration_ms, failed): (f64, bool),
        is_provisioned: bool,
    ) {
        if let Some(meters) = self.measure.meters.get() {
            let subject = version.load.subjects.of_call(call.target.qualifier.as_ref(), version);
            let at_ms = watch.at.millis();
            let values = [
                (&INVOCATIONS, 1.0),
                (&ERRORS, yes(failed)),
                (&THROTTLES, 0.0),
                (&DURATION, duration_ms),
            ];
            meters.record(&subject, at_ms, &values);
            if version.group.is_some() {
                let metric = if is_provisioned { &PROVISIONED } else { &SPILLED_OVER };
                meters.record(&subject, at_ms, &[(metric, 1.0)]);
            }
        }
        self.span_of(call, version, watch, failed);
    }

    /// Something happened to an asynchronous event of a function.
    pub(crate) fn happened(&self, key: &FunctionKey, metric: &'static Metric, value: f64) {
        let Some(meters) = self.measure.meters.get() else { return };
        // A function that is gone has no counters any more.
        let Ok(load) = self.loads.of(&self.store, key) else { return };
        meters.record(&load.subjects.summed, self.clock.now().millis(), &[(metric, value)]);
    }

    /// A request to a function's URL was answered.
    pub(crate) fn answered_url(
        &self,
        key: &FunctionKey,
        at: Timestamp,
        (status, latency): (u16, std::time::Duration),
    ) {
        let Some(meters) = self.measure.meters.get() else { return };
        let Ok(load) = self.loads.of(&self.store, key) else { return };
        let values = [
            (&URL_REQUESTS, 1.0),
            (&URL_LATENCY, latency.as_secs_f64() * 1_000.0),
            (&URL_4XX, yes((400..500).contains(&status))),
            (&URL_5XX, yes((500..600).contains(&status))),
        ];
        meters.record(&load.subjects.summed, at.millis(), &values);
    }

    fn span_of(&self, call: &Invocation, version: &Version, watch: Watch, failed: bool) {
        let (Some(spans), Some(span)) = (self.measure.spans.get(), watch.span) else { return };
        let (begun, stages) = *span;
        let key = &version.key;
        spans.take(Span {
            name: "invoke",
            kind: SpanKind::Internal,
            trace: TraceContext::read(call.trace_id.as_deref().unwrap_or_default()),
            started_ms: watch.at.millis(),
            took_us: micros(begun.elapsed()),
            stages,
            failed,
            attributes: vec![
                ("faas.invoked_name", key.name.clone().into()),
                ("faas.version", version.name().to_owned().into()),
                ("faas.invocation_id", call.request_id.to_string().into()),
                ("cloud.account.id", key.account.clone().into()),
                ("cloud.region", key.region.clone().into()),
            ],
        });
    }
}
