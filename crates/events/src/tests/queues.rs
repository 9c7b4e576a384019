//! Queues: what was processed is removed, what was not comes again, and nothing is removed unprocessed.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use gatemill_lambda::mapping::{Pollers, State};

use super::{CallError, World, function_failure, queue_mapping, success, tally};

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_whatever_fails() {
    for seed in 0..super::seeds() {
        let processed = Arc::new(Mutex::new(HashSet::new()));
        let (chance, seen) = (super::Chance::new(seed + 1_000), Arc::clone(&processed));
        let mut world = World::new(seed, move |call| {
            let mut processed = seen.lock().unwrap();
            match chance.below(8) {
                0 => Err(CallError::Throttled),
                1 => function_failure(),
                2 => {
                    let at = chance.below(call.ids.len());
                    processed.extend(call.ids.iter().filter(|id| **id != call.ids[at]).cloned());
                    let failed = format!(r#"[{{"itemIdentifier":"{}"}}]"#, call.ids[at]);
                    Ok((None, format!(r#"{{"batchItemFailures":{failed}}}"#)))
                }
                _ => {
                    processed.extend(call.ids.iter().cloned());
                    success()
                }
            }
        });
        *world.sources.faults.lock().unwrap() = 20;
        (0..200).for_each(|id| world.sources.send(&id.to_string()));
        let mut mapping = queue_mapping();
        mapping.settings.reports_item_failures = true;
        world.put(mapping).await;
        world.start();
        let chance = world.chance.clone();
        for _ in 0..4 {
            let pause = u64::try_from(chance.below(2_000)).unwrap();
            world.rest(Duration::from_millis(pause)).await;
            world.kill().await;
            world.start();
        }
        world.until("the queue is empty", |world| world.sources.messages_left() == 0).await;
        assert_eq!(processed.lock().unwrap().len(), 200, "seed {seed}");
        world.kill().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_gathered_for_a_while() {
    let mut world = World::new(1, |_| success());
    (0..25).for_each(|id| world.sources.send(&id.to_string()));
    let mut mapping = queue_mapping();
    mapping.settings.batch_size = 100;
    mapping.settings.window_s = 3;
    world.put(mapping).await;
    world.start();
    world.until("the queue is empty", |world| world.sources.messages_left() == 0).await;
    let sizes: Vec<usize> = world.calls().iter().map(|call| call.ids.len()).collect();
    assert_eq!(sizes, [25]);
}

#[tokio::test(start_paused = true)]
async fn failed_messages_come_again_when_their_time_is_over() {
    let mut world =
        World::new(2, |call| if call.ids == ["1"] { function_failure() } else { success() });
    world.sources.send("1");
    world.put(queue_mapping()).await;
    world.start();
    world.until("it came thrice", |world| world.sources.taken("1") == Some(3)).await;
    assert!(world.clock.0.elapsed() >= super::faulty::HIDDEN * 2);
    assert_eq!(world.result().as_deref(), Some("PROBLEM: Function call failed"));
    world.sources.send("2");
    world.until("2 is gone", |world| world.sources.messages_left() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn filtered_messages_are_removed_unseen() {
    let mut world = World::new(3, |_| success());
    (0..20).for_each(|id| world.sources.send(&id.to_string()));
    let mut mapping = queue_mapping();
    mapping.settings.filters = vec![r#"{"body":{"id":["7","8"]}}"#.into()];
    world.put(mapping).await;
    world.start();
    world.until("the queue is empty", |world| world.sources.messages_left() == 0).await;
    let ids = tally(world.calls().iter().flat_map(|call| call.ids.clone()));
    assert_eq!(ids.len(), 2);
    let counts = world.events.as_ref().unwrap().counts();
    assert_eq!((counts.polled, counts.filtered_out, counts.deleted), (20, 18, 20));
    assert_eq!(world.measured("PolledEventCount"), 20.0);
    assert_eq!(world.measured("FilteredOutEventCount"), 18.0);
    assert_eq!(world.measured("InvokedEventCount"), 2.0);
    assert_eq!(world.measured("DeletedEventCount"), 20.0);
    assert_eq!(world.measured("FailedInvokeEventCount"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn messages_that_were_not_begun_are_given_back() {
    let mut world = World::new(4, |_| success());
    let mut mapping = queue_mapping();
    mapping.settings.batch_size = 100;
    mapping.settings.window_s = 300;
    world.put(mapping).await;
    world.start();
    (0..5).for_each(|id| world.sources.send(&id.to_string()));
    world.until("they were taken", |world| world.sources.visible() == 0).await;
    world.change(State::Disabling, |_| {}).await;
    world.until("it rests", |world| world.state() == Some(State::Disabled)).await;
    world.until("they are back", |world| world.sources.visible() == 5).await;
    // What a request that still waited took comes back as well.
    world.sources.send("5");
    world.rest(Duration::from_secs(25)).await;
    assert_eq!((world.sources.visible(), world.calls().len()), (6, 0));
}

#[tokio::test(start_paused = true)]
async fn a_mapping_with_all_its_calls_under_way_rests() {
    let mut world = World::new(6, |_| success());
    Arc::get_mut(&mut world.functions).unwrap().takes = Duration::from_secs(2);
    // Beside the request that gets the second message another one gets nothing, and is not to be repeated at once.
    (0..2).for_each(|id| world.sources.send(&id.to_string()));
    let mut mapping = queue_mapping();
    mapping.settings.batch_size = 1;
    mapping.settings.maximum_concurrency = Some(2);
    world.put(mapping).await;
    world.start();
    // The test's time does not pass while an engine never rests.
    world.until("the queue is empty", |world| world.sources.messages_left() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn no_more_calls_at_one_time_than_the_mapping_says() {
    let mut world = World::new(5, |_| success());
    let functions = Arc::get_mut(&mut world.functions).unwrap();
    functions.takes = Duration::from_secs(2);
    (0..400).for_each(|id| world.sources.send(&id.to_string()));
    let mut mapping = queue_mapping();
    mapping.settings.batch_size = 1;
    mapping.settings.maximum_concurrency = Some(3);
    world.put(mapping).await;
    world.start();
    let began = world.clock.0.elapsed();
    world.until("60 are done", |world| world.calls().len() >= 60).await;
    // 3 at a time, of 2 seconds each.
    let took = world.clock.0.elapsed() - began;
    assert!(took >= Duration::from_secs(39), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn throttled_calls_are_tried_while_the_messages_are_ours() {
    let mut left = 3;
    let mut world = World::new(6, move |_| {
        if left > 0 {
            left -= 1;
            return Err(CallError::Throttled);
        }
        success()
    });
    world.sources.send("1");
    world.put(queue_mapping()).await;
    world.start();
    world.until("it is gone", |world| world.sources.messages_left() == 0).await;
    assert!(world.clock.0.elapsed() < super::faulty::HIDDEN);
    assert_eq!(world.calls().len(), 4);
    world.until("all is well", |world| world.result().is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn provisioned_pollers_wait_and_carry_ten_calls_each() {
    let mut world = World::new(7, |_| success());
    Arc::get_mut(&mut world.functions).unwrap().takes = Duration::from_secs(2);
    let mut mapping = queue_mapping();
    mapping.settings.batch_size = 1;
    mapping.settings.pollers = Some(Pollers { minimum: 3, maximum: 4 });
    world.put(mapping).await;
    world.start();
    world.until("all wait", |world| world.sources.polls_waiting() == 3).await;
    let began = world.clock.0.elapsed();
    (0..400).for_each(|id| world.sources.send(&id.to_string()));
    world.until("400 are done", |world| world.calls().len() == 400).await;
    // 30 at a time at first and 40 soon, of 2 seconds each.
    let took = world.clock.0.elapsed() - began;
    assert!((Duration::from_secs(20)..Duration::from_secs(27)).contains(&took), "{took:?}");
    assert_eq!(world.most("ProvisionedPollers"), 4.0);
    world.rest(Duration::from_secs(60)).await;
    assert_eq!(world.sources.polls_waiting(), 3);
}

#[tokio::test(start_paused = true)]
async fn provisioned_pollers_lose_nothing() {
    for seed in 0..super::seeds() {
        let chance = super::Chance::new(seed);
        let mut world = World::new(seed, move |_| {
            if chance.percent(10) { Err(CallError::Throttled) } else { success() }
        });
        *world.sources.faults.lock().unwrap() = 20;
        (0..200).for_each(|id| world.sources.send(&id.to_string()));
        let mut mapping = queue_mapping();
        mapping.settings.pollers = Some(Pollers { minimum: 2, maximum: 5 });
        world.put(mapping).await;
        world.start();
        world.rest(Duration::from_millis(700)).await;
        world.kill().await;
        world.start();
        world.until("the queue is empty", |world| world.sources.messages_left() == 0).await;
        world.kill().await;
    }
}
