//! Tumbling windows: the state is carried on, also over a kill, and each window ends once.

use std::time::Duration;

use gatemill_lambda::mapping::Mapping;
use serde_json::{Value, json};

use super::{Call, CallError, World, key, stream_mapping};
use crate::checkpoint;

fn windowed() -> Mapping {
    let mut mapping = stream_mapping();
    mapping.settings.batch_size = 2;
    mapping.settings.stream.as_mut().unwrap().tumbling_s = 10;
    mapping
}

/// Counts records in its state.
fn counting(call: &Call) -> Result<(Option<&'static str>, String), CallError> {
    let before = call.event["state"]["n"].as_u64().unwrap_or(0);
    let count = before + u64::try_from(call.ids.len()).unwrap();
    Ok((None, json!({ "state": { "n": count } }).to_string()))
}

/// Of each final call: its window's begin and the state that it got.
fn finals(world: &World) -> Vec<(String, Value, bool)> {
    let calls = world.calls();
    let last = calls.iter().filter(|call| call.event["isFinalInvokeForWindow"] == true);
    last.map(|call| {
        assert!(call.ids.is_empty());
        let start = call.event["window"]["start"].as_str().unwrap().to_owned();
        let is_early = call.event["isWindowTerminatedEarly"] == true;
        (start, call.event["state"]["n"].clone(), is_early)
    })
    .collect()
}

#[tokio::test(start_paused = true)]
async fn windows_carry_their_state_and_end_once() {
    let mut world = World::new(1, counting);
    world.sources.shard("a", &[]);
    // The test begins at a full ten seconds.
    for (id, at) in [(1, 0), (2, 3_000), (3, 9_999), (4, 10_000), (5, 25_000)] {
        world.sources.add("a", &id.to_string(), "k", at);
    }
    world.put(windowed()).await;
    world.start();
    world.until("two windows ended", |world| finals(world).len() == 2).await;
    // The third one is open: its state survives.
    world.until("5 came", |world| world.calls().iter().any(|call| call.ids == ["5"])).await;
    world.kill().await;
    world.sources.add("a", "6", "k", 26_000);
    world.start();
    world.until("three windows ended", |world| finals(world).len() == 3).await;
    world.rest(Duration::from_secs(60)).await;
    assert_eq!(
        finals(&world),
        [
            ("2026-11-22T20:26:40Z".to_owned(), 3.into(), false),
            ("2026-11-22T20:26:50Z".to_owned(), 1.into(), false),
            ("2026-11-22T20:27:00Z".to_owned(), 2.into(), false),
        ]
    );
    let call = world.calls()[0].clone();
    let members: Vec<String> = call.event.as_object().unwrap().keys().cloned().collect();
    assert_eq!(
        members,
        [
            "Records",
            "window",
            "state",
            "shardId",
            "eventSourceARN",
            "isFinalInvokeForWindow",
            "isWindowTerminatedEarly"
        ]
    );
    assert_eq!(call.event["window"]["end"], "2026-11-22T20:26:50Z");
    assert_eq!((&call.event["state"], &call.event["shardId"]), (&json!({}), &"a".into()));
}

#[tokio::test(start_paused = true)]
async fn a_batch_without_a_state_has_failed() {
    let mut world = World::new(2, |call: &Call| {
        if call.event["isFinalInvokeForWindow"] == true {
            counting(call)
        } else {
            Ok((None, "{}".into()))
        }
    });
    world.sources.shard("a", &[]);
    world.sources.add("a", "1", "k", 0);
    world.sources.close("a");
    let mut mapping = windowed();
    mapping.settings.stream.as_mut().unwrap().retries = Some(2);
    world.put(mapping).await;
    world.start();
    world
        .until("the shard is done", |world| {
            !checkpoint::ended(&world.store, &key()).unwrap().is_empty()
        })
        .await;
    assert_eq!(world.calls().iter().filter(|call| call.ids == ["1"]).count(), 3);
    // The end of the shard ends the window before its time.
    assert_eq!(finals(&world), [("2026-11-22T20:26:40Z".to_owned(), Value::Null, true)]);
}

#[tokio::test(start_paused = true)]
async fn a_state_that_is_too_large_ends_the_window() {
    let mut world = World::new(3, |call: &Call| {
        if call.ids == ["1", "2"] {
            return Ok((None, format!(r#"{{"state":{{"n":"{}"}}}}"#, "x".repeat(1024 * 1024))));
        }
        counting(call)
    });
    world.sources.shard("a", &[]);
    for id in 1..=3 {
        world.sources.add("a", &id.to_string(), "k", 0);
    }
    world.put(windowed()).await;
    world.start();
    world.until("the window ended twice", |world| finals(world).len() == 2).await;
    let finals = finals(&world);
    assert!(finals[0].2);
    assert_eq!((&finals[1].1, finals[1].2), (&1.into(), false));
}
