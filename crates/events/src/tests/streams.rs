//! Streams: every record at least once, and those of one key in order, whatever fails.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use gatemill_lambda::mapping::{Mapping, StartingPosition, State, StreamSettings};
use serde_json::Value;

use super::{Call, CallError, World, function_failure, key, stream_mapping, success, tally};
use crate::checkpoint;

fn with(change: impl FnOnce(&mut StreamSettings)) -> Mapping {
    let mut mapping = stream_mapping();
    change(mapping.settings.stream.as_mut().unwrap());
    mapping
}

/// What was processed, and whether a call comes too early or while another one has its keys.
#[derive(Default)]
struct Order {
    processed: HashSet<u64>,
}

impl Order {
    /// Records are numbered through; those with the same rest modulo 7 have one key.
    fn check(&mut self, call: &Call) {
        let mut here = HashSet::new();
        for id in &call.ids {
            let id: u64 = id.parse().unwrap();
            for before in (id % 7..id).step_by(7).filter(|before| *before > 0) {
                assert!(
                    self.processed.contains(&before) || here.contains(&before),
                    "{id} came before {before} was processed: {:?}",
                    call.ids
                );
            }
            here.insert(id);
        }
    }
}

/// Everything goes wrong: the source, the function, the server.
async fn survives(seed: u64, parallelization: u32, bisects: bool, reports: bool) {
    let order = Arc::new(Mutex::new(Order::default()));
    let chance = super::Chance::new(seed + 1_000);
    let seen = Arc::clone(&order);
    let mut world = World::new(seed, move |call| {
        let mut order = seen.lock().unwrap();
        order.check(call);
        let processed = |order: &mut Order, ids: &[String]| {
            order.processed.extend(ids.iter().map(|id| id.parse::<u64>().unwrap()));
        };
        match chance.below(10) {
            0 => Err(CallError::Throttled),
            1 => Err(CallError::Failed("no environment".to_owned())),
            2 => function_failure(),
            3 if reports => {
                let at = chance.below(call.ids.len());
                processed(&mut order, &call.ids[..at]);
                let failed = format!(r#"[{{"itemIdentifier":"{}"}}]"#, call.ids[at]);
                Ok((None, format!(r#"{{"batchItemFailures":{failed}}}"#)))
            }
            _ => {
                processed(&mut order, &call.ids);
                success()
            }
        }
    });
    *world.sources.faults.lock().unwrap() = 20;
    world.sources.shard("a", &[]);
    world.sources.shard("b", &["a"]);
    let mut mapping = with(|stream| {
        stream.parallelization = parallelization;
        stream.bisects = bisects;
    });
    mapping.settings.reports_item_failures = reports;
    world.put(mapping).await;
    for id in 1..=150_u64 {
        world.sources.add("a", &id.to_string(), &(id % 7).to_string(), 0);
    }
    world.sources.close("a");
    for id in 151..=250_u64 {
        world.sources.add("b", &id.to_string(), &(id % 7).to_string(), 0);
    }
    world.start();
    let chance = world.chance.clone();
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(u64::try_from(chance.below(4_000)).unwrap()))
            .await;
        world.kill().await;
        world.start();
    }
    world.until("all is processed", |_| order.lock().unwrap().processed.len() == 250).await;
    world
        .until("the parent is done", |world| {
            checkpoint::ended(&world.store, &key()).unwrap() == ["a"]
        })
        .await;
    world.kill().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_and_order_holds_whatever_fails() {
    for seed in 0..super::seeds() {
        survives(seed, 1, false, false).await;
        survives(seed, 1, true, true).await;
        survives(seed, 4, false, true).await;
        survives(seed, 10, true, false).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_settled_is_not_delivered_again() {
    let mut world = World::new(1, |_| success());
    world.sources.shard("a", &[]);
    (1..=30).for_each(|id| world.sources.add("a", &id.to_string(), &id.to_string(), 0));
    world.put(with(|stream| stream.parallelization = 3)).await;
    world.start();
    world
        .until("30 came", |world| {
            world.calls().iter().map(|call| call.ids.len()).sum::<usize>() == 30
        })
        .await;
    world.until("it is OK", |world| world.result().as_deref() == Some("OK")).await;
    world.change(State::Disabling, |_| {}).await;
    world.until("it rests", |world| world.state() == Some(State::Disabled)).await;
    world.sources.add("a", "31", "31", 0);
    world.kill().await;
    world.start();
    world.change(State::Enabling, |settings| settings.batch_size = 1).await;
    world.until("it is enabled", |world| world.state() == Some(State::Enabled)).await;
    world
        .until("31 came", |world| world.calls().last().is_some_and(|call| call.ids == ["31"]))
        .await;
    let calls = tally(world.calls().iter().flat_map(|call| call.ids.clone()));
    assert!(calls.values().all(|&times| times == 1), "{calls:?}");
    assert_eq!(world.events.as_ref().unwrap().counts().invoked, 1);
    let ages_ms = world.functions.ages_ms.lock().unwrap().clone();
    // Each call says how old its records are, those that were killed too.
    assert!(ages_ms.len() >= world.calls().len() && ages_ms.iter().all(|age_ms| *age_ms >= 0));
    world.change(State::Deleting, |_| {}).await;
    world.until("it is gone", |world| world.state().is_none()).await;
    assert!(!checkpoint::has_begun(&world.store, &key()).unwrap());
}

#[tokio::test(start_paused = true)]
async fn starting_positions() {
    for (starting, expected) in [
        (StartingPosition::TrimHorizon, vec!["1", "2", "3"]),
        (StartingPosition::AtTimestamp(super::START_MS - 500), vec!["2", "3"]),
        (StartingPosition::Latest, vec!["3"]),
    ] {
        let mut world = World::new(2, |_| success());
        world.sources.shard("a", &[]);
        world.sources.add("a", "1", "k", -1_000);
        world.sources.add("a", "2", "k", -100);
        world.put(with(|stream| stream.starting = starting)).await;
        world.start();
        world.until("it is enabled", |world| world.state() == Some(State::Enabled)).await;
        // Killed before anything was read: the place stays.
        world.kill().await;
        // After whatever time it took until then: the newest record is told by its time.
        let elapsed = i64::try_from(world.clock.0.elapsed().as_millis()).unwrap();
        world.sources.add("a", "3", "k", elapsed + 60_000);
        world.start();
        world
            .until("3 came", |world| {
                world.calls().iter().any(|call| call.ids.contains(&"3".to_owned()))
            })
            .await;
        // What was processed just before the kill may have come again.
        let mut ids: Vec<String> = Vec::new();
        for id in world.calls().iter().flat_map(|call| call.ids.clone()) {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        assert_eq!(ids, expected, "{starting:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn batches_are_as_large_and_as_late_as_the_mapping_says() {
    let mut world = World::new(3, |_| success());
    world.sources.shard("a", &[]);
    (1..=25).for_each(|id| world.sources.add("a", &id.to_string(), "k", 0));
    let mut mapping = stream_mapping();
    mapping.settings.window_s = 20;
    world.put(mapping).await;
    world.start();
    world
        .until("25 came", |world| {
            world.calls().iter().map(|call| call.ids.len()).sum::<usize>() == 25
        })
        .await;
    let sizes: Vec<usize> = world.calls().iter().map(|call| call.ids.len()).collect();
    assert_eq!(sizes, [10, 10, 5]);
    assert!(world.clock.0.elapsed() >= Duration::from_secs(20));
}

#[tokio::test(start_paused = true)]
async fn filtered_records_move_the_checkpoint() {
    let mut world = World::new(4, |_| success());
    world.sources.shard("a", &[]);
    (1..=20).for_each(|id| world.sources.add("a", &id.to_string(), "k", 0));
    world.sources.close("a");
    let mut mapping = stream_mapping();
    mapping.settings.filters = vec![r#"{"data":{"id":["7"]}}"#.into()];
    world.put(mapping).await;
    world.start();
    world
        .until("the shard is done", |world| {
            !checkpoint::ended(&world.store, &key()).unwrap().is_empty()
        })
        .await;
    let ids: Vec<String> = world.calls().iter().flat_map(|call| call.ids.clone()).collect();
    assert_eq!(ids, ["7"]);
    let counts = world.events.as_ref().unwrap().counts();
    assert_eq!((counts.polled, counts.filtered_out, counts.invoked), (20, 19, 1));
    assert_eq!(world.events.as_ref().unwrap().counts_by_mapping(), [("u".to_owned(), counts)]);
}

fn poison(call: &Call) -> Result<(Option<&'static str>, String), CallError> {
    if call.ids.contains(&"13".to_owned()) { function_failure() } else { success() }
}

#[tokio::test(start_paused = true)]
async fn halving_finds_the_record_that_fails() {
    let mut world = World::new(5, poison);
    world.sources.shard("a", &[]);
    (1..=20).for_each(|id| world.sources.add("a", &id.to_string(), "k", 0));
    world.sources.close("a");
    let mut mapping = with(|stream| {
        stream.bisects = true;
        stream.retries = Some(2);
        stream.on_failure = Some("arn:aws:sqs:us-east-1:000000000000:d".into());
    });
    mapping.settings.batch_size = 20;
    world.put(mapping).await;
    world.start();
    world
        .until("the shard is done", |world| {
            !checkpoint::ended(&world.store, &key()).unwrap().is_empty()
        })
        .await;
    let alone = world.calls().iter().filter(|call| call.ids == ["13"]).count();
    // Once, and two retries; halving is none.
    assert_eq!(alone, 3);
    let given_up = world.sources.given_up.lock().unwrap();
    let message: Value = serde_json::from_str(&given_up[0].body).unwrap();
    assert_eq!(given_up.len(), 1);
    assert_eq!(message["requestContext"]["condition"], "RetryAttemptsExhausted");
    let members: Vec<&String> = message.as_object().unwrap().keys().collect();
    assert_eq!(
        members,
        ["requestContext", "responseContext", "version", "timestamp", "KinesisBatchInfo"]
    );
    assert_eq!(message["responseContext"]["functionError"], "Unhandled");
    let info = &message["KinesisBatchInfo"];
    assert_eq!(
        (&info["startSequenceNumber"], &info["endSequenceNumber"], &info["batchSize"]),
        (&"13".into(), &"13".into(), &1.into())
    );
    assert_eq!(info["approximateArrivalOfFirstRecord"], "2026-11-22T20:26:40.000Z");
    let with_payload: Value = serde_json::from_str(&given_up[0].with_payload).unwrap();
    assert_eq!(with_payload["payload"], r#"{"Records":[{"id":"13","key":"k"}]}"#);
    assert_eq!(world.events.as_ref().unwrap().counts().dropped, 1);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_fails_too_often_is_given_up_whole() {
    let mut world = World::new(6, poison);
    world.sources.shard("a", &[]);
    (1..=20).for_each(|id| world.sources.add("a", &id.to_string(), "k", 0));
    world.sources.close("a");
    world.put(with(|stream| stream.retries = Some(1))).await;
    world.start();
    world
        .until("the shard is done", |world| {
            !checkpoint::ended(&world.store, &key()).unwrap().is_empty()
        })
        .await;
    let sizes: Vec<(usize, bool)> =
        world.calls().iter().map(|call| (call.ids.len(), poison(call) == success())).collect();
    assert_eq!(sizes, [(10, true), (10, false), (10, false)]);
    assert_eq!(world.events.as_ref().unwrap().counts().dropped, 10);
}

#[tokio::test(start_paused = true)]
async fn reported_failures_are_tried_again_from_the_first_one() {
    let mut world = World::new(7, |call: &Call| {
        let failed = call.ids.iter().filter(|id| *id == "4" || *id == "6");
        let failed: Vec<String> =
            failed.map(|id| format!(r#"{{"itemIdentifier":"{id}"}}"#)).collect();
        Ok((None, format!(r#"{{"batchItemFailures":[{}]}}"#, failed.join(","))))
    });
    world.sources.shard("a", &[]);
    (1..=8).for_each(|id| world.sources.add("a", &id.to_string(), "k", 0));
    world.sources.close("a");
    let mut mapping = with(|stream| {
        stream.retries = Some(1);
        stream.on_failure = Some("arn:aws:sqs:us-east-1:000000000000:d".into());
    });
    mapping.settings.reports_item_failures = true;
    world.put(mapping).await;
    world.start();
    world
        .until("the shard is done", |world| {
            !checkpoint::ended(&world.store, &key()).unwrap().is_empty()
        })
        .await;
    let calls: Vec<String> = world.calls().iter().map(|call| call.ids.join(" ")).collect();
    assert_eq!(calls, ["1 2 3 4 5 6 7 8", "4 5 6 7 8"]);
    let given_up = world.sources.given_up.lock().unwrap();
    let message: Value = serde_json::from_str(&given_up[0].body).unwrap();
    assert_eq!(message["responseContext"]["functionError"], Value::Null);
    assert_eq!(message["KinesisBatchInfo"]["startSequenceNumber"], "4");
    assert_eq!(message["requestContext"]["approximateInvokeCount"], 2);
}

#[tokio::test(start_paused = true)]
async fn records_that_are_too_old_are_given_up() {
    let mut world = World::new(8, |_| success());
    world.sources.shard("a", &[]);
    world.sources.add("a", "1", "k", -70_000);
    world.sources.add("a", "2", "k", -10_000);
    world.sources.close("a");
    world
        .put(with(|stream| {
            stream.record_age_s = Some(60);
            stream.on_failure = Some("arn:aws:sqs:us-east-1:000000000000:d".into());
        }))
        .await;
    world.start();
    world
        .until("the shard is done", |world| {
            !checkpoint::ended(&world.store, &key()).unwrap().is_empty()
        })
        .await;
    let calls: Vec<String> = world.calls().iter().map(|call| call.ids.join(" ")).collect();
    assert_eq!(calls, ["2"]);
    let given_up = world.sources.given_up.lock().unwrap();
    let message: Value = serde_json::from_str(&given_up[0].body).unwrap();
    assert_eq!(message["requestContext"]["condition"], "RecordAgeExceeded");
    assert!(message.get("responseContext").is_none());
}

#[tokio::test(start_paused = true)]
async fn an_event_is_never_too_large() {
    let mut world = World::new(9, |_| success());
    world.sources.shard("a", &[]);
    (1..=6).for_each(|id| world.sources.add("a", &id.to_string(), "k", 0));
    for record in &mut world.sources.shards.lock().unwrap().get_mut("a").unwrap().records {
        record.json = format!(r#"{{"id":"{}","data":"{}"}}"#, record.id, "x".repeat(2_000_000));
    }
    world.put(stream_mapping()).await;
    world.start();
    world
        .until("6 came", |world| {
            world.calls().iter().map(|call| call.ids.len()).sum::<usize>() == 6
        })
        .await;
    let sizes: Vec<usize> = world.calls().iter().map(|call| call.ids.len()).collect();
    assert_eq!(sizes, [3, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_gone_is_said() {
    let mut world = World::new(10, |_| success());
    world.sources.shard("a", &[]);
    *world.sources.faults.lock().unwrap() = 100;
    world.put(with(|stream| stream.starting = StartingPosition::Latest)).await;
    world.start();
    world
        .until("there is a problem", |world| {
            world.result().is_some_and(|result| result.starts_with("PROBLEM: "))
        })
        .await;
    assert_eq!(world.state(), Some(State::Creating { enabled: true }));
    *world.sources.faults.lock().unwrap() = 0;
    world.until("it is enabled", |world| world.state() == Some(State::Enabled)).await;
}
