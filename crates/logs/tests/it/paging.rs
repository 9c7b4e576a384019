//! Pages: whatever was written, in whatever order and sizes, is read back whole and in order.

use std::collections::BTreeMap;

use gatemill_logs::Event;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::bench::{Bench, GROUP, NOW, STREAM, messages};

#[tokio::test]
async fn one_stream_is_walked_both_ways_and_ends_with_the_same_token() {
    for bench in Bench::both() {
        bench.with_stream().await;
        for n in 0..10 {
            bench.put(STREAM, &[(NOW + n, &n.to_string())]).await;
        }
        let get = async |extra: Value| {
            let mut body = json!({"logGroupName": GROUP, "logStreamName": STREAM, "limit": 4});
            body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            bench.ok("GetLogEvents", body).await
        };
        let latest = get(json!({})).await;
        assert_eq!(messages(&latest), ["6", "7", "8", "9"]);
        assert!(latest["nextForwardToken"].as_str().unwrap().starts_with("f/"));
        assert!(latest["nextBackwardToken"].as_str().unwrap().starts_with("b/"));
        let before = get(json!({"nextToken": latest["nextBackwardToken"]})).await;
        assert_eq!(messages(&before), ["2", "3", "4", "5"]);
        let first = get(json!({"nextToken": before["nextBackwardToken"]})).await;
        assert_eq!(messages(&first), ["0", "1"]);
        let start = get(json!({"nextToken": first["nextBackwardToken"]})).await;
        assert_eq!(messages(&start), Vec::<String>::new());
        assert_eq!(start["nextBackwardToken"], first["nextBackwardToken"]);
        let head = get(json!({"startFromHead": true})).await;
        assert_eq!(messages(&head), ["0", "1", "2", "3"]);

        let end =
            get(json!({"nextToken": latest["nextForwardToken"], "startFromHead": true})).await;
        assert_eq!(messages(&end), Vec::<String>::new());
        assert_eq!(end["nextForwardToken"], latest["nextForwardToken"]);
        // From the end back again: the last event is not lost.
        let back = get(json!({"nextToken": end["nextBackwardToken"]})).await;
        assert_eq!(messages(&back), ["6", "7", "8", "9"]);
        bench.put(STREAM, &[(NOW + 9, "late")]).await;
        let more = get(json!({"nextToken": end["nextForwardToken"]})).await;
        assert_eq!(messages(&more), ["late"]);

        let window = get(json!({"startTime": NOW + 2, "endTime": NOW + 4})).await;
        assert_eq!(messages(&window), ["2", "3"]);
        let none = get(json!({"startTime": NOW + 50})).await;
        assert_eq!(messages(&none), Vec::<String>::new());
        let again =
            get(json!({"startTime": NOW + 50, "nextToken": none["nextForwardToken"]})).await;
        assert_eq!(again["nextForwardToken"], none["nextForwardToken"]);
    }
}

#[tokio::test]
async fn a_search_that_reads_much_and_finds_nothing_pages_on() {
    let bench = Bench::memory();
    bench.start();
    let noise = "n".repeat(200 * 1024);
    for minute in 0..120 {
        bench.append("noise", &[(NOW + minute * 60_000, &noise)]).await;
    }
    bench.append("needle", &[(NOW + 120 * 60_000, "needle")]).await;
    bench.logs.flush().await.unwrap();
    for head in [true, false] {
        let mut body = json!({"logGroupName": GROUP, "filterPattern": "%^needle|^first%", "startFromHead": head});
        let (mut found, mut pages) = (Vec::new(), 0);
        loop {
            let page = bench.ok("FilterLogEvents", body.clone()).await;
            found.extend(messages(&page));
            pages += 1;
            assert!(pages < 10, "it comes to an end");
            let Some(token) = page["nextToken"].as_str() else { break };
            body["nextToken"] = json!(token);
        }
        assert_eq!(found, ["needle"]);
        assert!(pages > 1);
    }
}

/// Writes: which stream, and the times of its events relative to one another.
fn writes() -> impl Strategy<Value = Vec<(u8, Vec<i64>)>> {
    let times = prop_oneof![0..20i64, 0..60_000i64];
    prop::collection::vec((0..4u8, prop::collection::vec(times, 1..12)), 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn interleaved_appends_are_read_back_whole_and_in_order(
        writes in writes(),
        limit in 1..9usize,
        embedded in prop::bool::weighted(0.1),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(round(writes, limit, embedded));
    }
}

async fn round(writes: Vec<(u8, Vec<i64>)>, limit: usize, embedded: bool) {
    let bench = if embedded { Bench::embedded() } else { Bench::memory() };
    bench.start();
    // Events of one time come in the order of their writing, in each stream.
    let mut expected: BTreeMap<u8, Vec<(i64, String)>> = BTreeMap::new();
    let mut count = 0;
    for (stream, times) in writes {
        let mut events = Vec::new();
        for ms in times {
            let event = Event { timestamp: NOW + ms, message: format!("{stream}-{count}") };
            count += 1;
            expected.entry(stream).or_default().push((event.timestamp, event.message.clone()));
            events.push(event);
        }
        let name = format!("s{stream}");
        bench.logs.append("000000000000", "us-east-1", GROUP, &name, events).await.unwrap();
    }
    bench.logs.flush().await.unwrap();
    for events in expected.values_mut() {
        events.sort_by_key(|(ms, _)| *ms);
    }

    for (stream, events) in &expected {
        let lines: Vec<&String> = events.iter().map(|(_, line)| line).collect();
        assert_eq!(walk(&bench, *stream, true, limit).await.iter().collect::<Vec<_>>(), lines);
        assert_eq!(walk(&bench, *stream, false, limit).await.iter().collect::<Vec<_>>(), lines);
    }
    for head in [true, false] {
        let mut found = search(&bench, head, limit).await;
        if !head {
            found.reverse();
        }
        assert!(found.is_sorted_by_key(|(ms, _)| *ms));
        assert_eq!(found.len(), count);
        for (stream, events) in &expected {
            let prefix = format!("{stream}-");
            let of_stream: Vec<_> =
                found.iter().filter(|(_, line)| line.starts_with(&prefix)).cloned().collect();
            assert_eq!(&of_stream, events);
        }
    }
}

/// A whole stream by `GetLogEvents`, in order.
async fn walk(bench: &Bench, stream: u8, head: bool, limit: usize) -> Vec<String> {
    let mut body = json!({"logGroupName": GROUP, "logStreamName": format!("s{stream}"), "startFromHead": head, "limit": limit});
    let mut pages: Vec<Vec<String>> = Vec::new();
    loop {
        let page = bench.ok("GetLogEvents", body.clone()).await;
        let token = &page[if head { "nextForwardToken" } else { "nextBackwardToken" }];
        if body.get("nextToken") == Some(token) {
            break;
        }
        body["nextToken"] = token.clone();
        pages.push(messages(&page));
        assert!(pages.len() < 1000);
    }
    if !head {
        pages.reverse();
    }
    pages.concat()
}

/// A whole group by `FilterLogEvents`.
async fn search(bench: &Bench, head: bool, limit: usize) -> Vec<(i64, String)> {
    let mut body = json!({"logGroupName": GROUP, "startFromHead": head, "limit": limit});
    let mut found = Vec::new();
    loop {
        let page = bench.ok("FilterLogEvents", body.clone()).await;
        for event in page["events"].as_array().unwrap() {
            let line = event["message"].as_str().unwrap().to_owned();
            found.push((event["timestamp"].as_i64().unwrap(), line));
        }
        let Some(token) = page["nextToken"].as_str() else { return found };
        body["nextToken"] = json!(token);
        assert!(found.len() < 10_000);
    }
}
