//! From measurements to answers, over the store of tests.

use std::sync::atomic::AtomicI64;

use gatemill_api::cloudwatch::{
    Dimension, GetMetricDataInput, GetMetricStatisticsInput, ListMetricsInput, MetricDataQuery,
    MetricStat,
};
use gatemill_meter::{Metric, Subject, Unit};
use gatemill_wire::{Caller, Entropy, EpochSeconds, RequestId, Timestamp};
use uuid::Uuid;

use super::*;

static CALLS: Metric = Metric { name: "Calls", unit: Unit::Count };
static TIME: Metric = Metric { name: "Time", unit: Unit::Milliseconds };

/// A full hour.
const NOW_MS: i64 = 1_795_381_200_000;
const MINUTE_MS: i64 = 60_000;

struct At(AtomicI64);

impl Clock for At {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

struct Fixed;

impl Entropy for Fixed {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(7);
    }
}

fn cx(now_ms: i64) -> gatemill_wire::Cx {
    gatemill_wire::Cx {
        request_id: RequestId(Uuid::nil()),
        caller: Caller {
            account: "1".to_owned(),
            arn: String::new(),
            user_id: String::new(),
            access_key_id: String::new(),
        },
        region: "r".to_owned(),
        now: Timestamp(now_ms),
        endpoint: String::new(),
        source_ip: String::new(),
        trace_id: None,
        entropy: Arc::new(Fixed),
    }
}

fn subject(name: &str) -> Arc<Subject> {
    Arc::new(Subject {
        account: "1".to_owned(),
        region: "r".to_owned(),
        namespace: "N",
        dimensions: vec![("Name", name.to_owned()), ("Also", "x".to_owned())],
        levels: &[0, 1, 2],
    })
}

struct World {
    metrics: Arc<Metrics>,
    meters: Arc<Meters>,
    clock: Arc<At>,
}

fn world() -> World {
    let (meters, clock) = (Arc::new(Meters::new(2)), Arc::new(At(AtomicI64::new(NOW_MS))));
    let metrics = Metrics::new(Store::memory(), Arc::clone(&clock) as _, Arc::clone(&meters));
    World { metrics, meters, clock }
}

fn dimensions(all: &[(&str, &str)]) -> Option<Vec<Dimension>> {
    let dimension = |(name, value): &(&str, &str)| Dimension {
        name: (*name).to_owned(),
        value: (*value).to_owned(),
    };
    Some(all.iter().map(dimension).collect())
}

fn statistics(
    metric: &str,
    of: &[(&str, &str)],
    (start_ms, end_ms): (i64, i64),
    period: i32,
) -> GetMetricStatisticsInput {
    GetMetricStatisticsInput {
        namespace: "N".to_owned(),
        metric_name: metric.to_owned(),
        dimensions: dimensions(of),
        start_time: EpochSeconds(Timestamp(start_ms)),
        end_time: EpochSeconds(Timestamp(end_ms)),
        period,
        statistics: Some(vec!["Sum".to_owned(), "Maximum".to_owned()]),
        extended_statistics: Some(vec!["p50".to_owned()]),
        unit: None,
    }
}

/// Sums by period, as milliseconds after `NOW_MS`.
async fn sums(world: &World, request: GetMetricStatisticsInput) -> Vec<(i64, f64)> {
    let now = world.clock.now().millis();
    let answer = get_metric_statistics::get(&world.metrics, &cx(now), request).await.unwrap();
    let point = |point: gatemill_api::cloudwatch::Datapoint| {
        (point.timestamp.unwrap().0.millis() - NOW_MS, point.sum.unwrap())
    };
    answer.datapoints.unwrap().into_iter().map(point).collect()
}

#[tokio::test]
async fn what_was_measured_before_a_question_is_in_its_answer_at_every_level() {
    let world = world();
    let (a, b) = (subject("a"), subject("b"));
    for minute in 0..7 {
        let at = NOW_MS - (7 - minute) * MINUTE_MS;
        world.meters.record(&a, at, &[(&CALLS, 1.0), (&TIME, 10.0)]);
        world.meters.record(&b, at, &[(&CALLS, 2.0)]);
    }
    let last = (NOW_MS - 7 * MINUTE_MS, NOW_MS);
    let one = sums(&world, statistics("Calls", &[("Name", "a")], last, 60)).await;
    assert_eq!(one.len(), 7);
    assert_eq!(one[0], (-7 * MINUTE_MS, 1.0));
    let all = sums(&world, statistics("Calls", &[], last, 300)).await;
    assert_eq!(all, [(-7 * MINUTE_MS, 15.0), (-2 * MINUTE_MS, 6.0)]);
    // Dimensions may be named in any order, and have to be all of them.
    let both = [("Also", "x"), ("Name", "b")];
    assert_eq!(
        sums(&world, statistics("Calls", &both, last, 3_600)).await,
        [(-7 * MINUTE_MS, 14.0)]
    );
    assert_eq!(sums(&world, statistics("Calls", &both[..1], last, 60)).await, []);
    // Late for a minute that is stored already.
    world.meters.record(&a, NOW_MS - 7 * MINUTE_MS, &[(&CALLS, 1.0)]);
    let one = sums(&world, statistics("Calls", &[("Name", "a")], last, 60)).await;
    assert_eq!(one[0].1, 2.0);
    let totals = world.metrics.totals();
    let calls: f64 = totals.iter().filter(|it| it.metric == &CALLS).map(|it| it.sum).sum();
    assert_eq!(calls, 22.0);
}

#[tokio::test]
async fn rows_grow_longer_with_age_and_go_with_their_series() {
    let world = world();
    let of = [("Name", "a")];
    world.meters.record(&subject("a"), NOW_MS, &[(&CALLS, 3.0)]);
    world.metrics.flush().await.unwrap();
    let day = 24 * 60 * MINUTE_MS;
    for (days, period, found) in
        [(14, 60, true), (16, 60, false), (62, 300, true), (64, 300, false), (454, 3600, true)]
    {
        world.clock.0.store(NOW_MS + days * day, Ordering::Relaxed);
        sweep::sweep(&world.metrics).await.unwrap();
        let span = (NOW_MS, NOW_MS + 60 * MINUTE_MS);
        let request = statistics("Calls", &of, span, period);
        // By minutes that are gone, a value is where its longer row begins.
        let all = sums(&world, request).await;
        assert_eq!(all, [(0, 3.0)], "{days}");
        let minutes = if period == 60 { 1 } else { 5 };
        let rows = world.metrics.store.read(|tx| {
            let series = record::series_key("1", "r", "N", &of);
            record::POINTS.count(tx, &record::rows_key(&series, minutes))
        });
        assert_eq!(rows.unwrap() == 1, found && period != 3600, "{days}");
    }
    world.clock.0.store(NOW_MS + 456 * day, Ordering::Relaxed);
    sweep::sweep(&world.metrics).await.unwrap();
    let left = world.metrics.store.read(|tx| {
        Ok::<_, Error>(SERIES.count(tx, &Key::empty())? + record::POINTS.count(tx, &Key::empty())?)
    });
    assert_eq!(left.unwrap(), 0);
}

#[tokio::test]
async fn pages_of_data_and_math() {
    let world = world();
    for minute in 1..=5 {
        #[allow(clippy::cast_precision_loss, reason = "small")]
        let value = minute as f64;
        world.meters.record(&subject("a"), NOW_MS - minute * MINUTE_MS, &[(&CALLS, value)]);
    }
    let stat = MetricStat {
        metric: gatemill_api::cloudwatch::Metric {
            namespace: Some("N".to_owned()),
            metric_name: Some("Calls".to_owned()),
            dimensions: dimensions(&[("Name", "a")]),
        },
        period: 60,
        stat: "Sum".to_owned(),
        unit: None,
    };
    let query = MetricDataQuery {
        id: "m1".to_owned(),
        metric_stat: Some(stat),
        ..MetricDataQuery::default()
    };
    let math = MetricDataQuery {
        id: "e1".to_owned(),
        expression: Some("m1 * 10".to_owned()),
        ..MetricDataQuery::default()
    };
    let mut request = GetMetricDataInput {
        metric_data_queries: vec![query, math],
        start_time: EpochSeconds(Timestamp(NOW_MS - 10 * MINUTE_MS)),
        end_time: EpochSeconds(Timestamp(NOW_MS)),
        max_datapoints: Some(4),
        ..GetMetricDataInput::default()
    };
    let (mut values, mut codes) = (Vec::new(), Vec::new());
    loop {
        let answer =
            get_metric_data::get(&world.metrics, &cx(NOW_MS), request.clone()).await.unwrap();
        let results = answer.metric_data_results.unwrap();
        values.extend(results[1].values.clone().unwrap());
        codes.push(results[1].status_code.clone().unwrap());
        request.next_token = answer.next_token;
        if request.next_token.is_none() {
            break;
        }
    }
    assert_eq!(values, [10.0, 20.0, 30.0, 40.0, 50.0]);
    assert_eq!(codes, ["PartialData", "PartialData", "Complete"]);
    request.next_token = Some("x".to_owned());
    let error = get_metric_data::get(&world.metrics, &cx(NOW_MS), request).await.unwrap_err();
    assert!(matches!(error, Error::InvalidToken));
}

#[tokio::test]
async fn metrics_are_listed_in_pages_and_forgotten_by_lists_after_two_weeks() {
    let world = world();
    for n in 0..300 {
        world.meters.record(&subject(&format!("{n:03}")), NOW_MS, &[(&CALLS, 1.0), (&TIME, 1.0)]);
    }
    let (mut found, mut token, mut pages) = (Vec::new(), None, 0);
    loop {
        let request = ListMetricsInput { next_token: token, ..ListMetricsInput::default() };
        let answer = list_metrics::list(&world.metrics, &cx(NOW_MS), request).await.unwrap();
        found.extend(answer.metrics.unwrap());
        (token, pages) = (answer.next_token, pages + 1);
        if token.is_none() {
            break;
        }
    }
    // The namespace as a whole, each name, and each name with its other dimension; two metrics each.
    assert_eq!((found.len(), pages), ((1 + 300 + 300) * 2, 3));
    let mut names: Vec<_> = found.iter().map(|metric| format!("{metric:?}")).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), found.len());
    let only = ListMetricsInput {
        metric_name: Some("Time".to_owned()),
        dimensions: Some(vec![gatemill_api::cloudwatch::DimensionFilter {
            name: "Name".to_owned(),
            value: Some("007".to_owned()),
        }]),
        ..ListMetricsInput::default()
    };
    let answer = list_metrics::list(&world.metrics, &cx(NOW_MS), only.clone()).await.unwrap();
    assert_eq!(answer.metrics.unwrap().len(), 2);
    world.clock.0.store(NOW_MS + 15 * 24 * 60 * MINUTE_MS, Ordering::Relaxed);
    let answer = list_metrics::list(&world.metrics, &cx(NOW_MS), only).await.unwrap();
    assert_eq!(answer.metrics.unwrap(), []);
}

#[test]
fn threads_lose_nothing_while_another_collects() {
    let (meters, subject) = (Meters::new(2), subject("a"));
    let sum =
        |all: &[gatemill_meter::Measured]| all.iter().map(|m| m.statistics[0].1.sum).sum::<f64>();
    let mut found = 0.0;
    std::thread::scope(|scope| {
        let measure =
            || (0..2_000).for_each(|n| meters.record(&subject, n * 100, &[(&CALLS, 1.0)]));
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(measure)).collect();
        while !threads.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            found += sum(&meters.collect());
        }
    });
    found += sum(&meters.collect());
    assert_eq!(found, 6_000.0);
}
