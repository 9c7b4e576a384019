//! Function output: visible soon, durable, in order, never dropped; and `aws logs tail` over it.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use gatemill_logs::Error;
use serde_json::json;

use crate::bench::{Bench, GROUP, NOW, STREAM, messages};

#[tokio::test]
async fn appended_lines_make_their_group_and_survive_a_restart() {
    let bench = Bench::embedded();
    bench.start();
    bench.append(STREAM, &[(NOW, "START"), (NOW, "print\n"), (NOW + 1, "END")]).await;
    bench.append(STREAM, &[(NOW + 1, "REPORT")]).await;
    bench.logs.flush().await.unwrap();
    let body = json!({"logGroupName": GROUP, "logStreamName": STREAM});
    let expected = ["START", "print\n", "END", "REPORT"];
    assert_eq!(messages(&bench.ok("GetLogEvents", body.clone()).await), expected);
    let bench = bench.reopened().await;
    assert_eq!(messages(&bench.ok("GetLogEvents", body).await), expected);
    bench.start();
    bench.append(STREAM, &[(NOW + 2, "again")]).await;
    bench.logs.flush().await.unwrap();
    let page = bench.ok("FilterLogEvents", json!({"logGroupName": GROUP})).await;
    assert_eq!(messages(&page).len(), 5);
}

#[tokio::test]
async fn a_line_is_visible_without_a_flush_within_its_promise() {
    let bench = Bench::embedded();
    bench.start();
    bench.append(STREAM, &[(NOW, "warm")]).await;
    bench.logs.flush().await.unwrap();
    let mut changed = bench.store.watch("log_streams");
    let appended = Instant::now();
    bench.append(STREAM, &[(NOW, "line")]).await;
    changed.changed().await;
    let page = bench.ok("FilterLogEvents", json!({"logGroupName": GROUP})).await;
    assert_eq!(messages(&page), ["warm", "line"]);
    // The promise is 100 ms; a busy machine gets more.
    assert!(appended.elapsed() < Duration::from_secs(2), "{:?}", appended.elapsed());
}

#[tokio::test]
async fn many_streams_share_commits_and_keep_their_order() {
    let bench = Arc::new(Bench::embedded());
    bench.start();
    let tasks: Vec<_> = (0..16)
        .map(|stream| {
            let bench = Arc::clone(&bench);
            tokio::spawn(async move {
                for line in 0..50 {
                    bench.append(&format!("s{stream}"), &[(NOW, &format!("{line}"))]).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    bench.logs.flush().await.unwrap();
    let written = bench.store.written();
    assert!(written.commits < 400, "{written:?}");
    for stream in 0..16 {
        let body = json!({"logGroupName": GROUP, "logStreamName": format!("s{stream}")});
        let lines = messages(&bench.ok("GetLogEvents", body).await);
        assert_eq!(lines, (0..50).map(|line| line.to_string()).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_full_queue_makes_the_next_append_wait_and_drops_nothing() {
    let bench = Arc::new(Bench::memory());
    let megabyte = "x".repeat(1024 * 1024 - 26);
    let writer = tokio::spawn({
        let bench = Arc::clone(&bench);
        async move {
            for line in 0..40 {
                let message = format!("{line:02}{}", &megabyte[2..]);
                bench.append(STREAM, &[(NOW + line, &message)]).await;
            }
        }
    });
    // Nobody writes yet, so it must come to a stop.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!writer.is_finished());
    bench.start();
    writer.await.unwrap();
    bench.logs.flush().await.unwrap();
    let mut body = json!({"logGroupName": GROUP, "logStreamName": STREAM, "startFromHead": true});
    for line in 0..40 {
        let page = bench.ok("GetLogEvents", body.clone()).await;
        // One megabyte is a page.
        let lines = messages(&page);
        assert_eq!(lines.len(), 1);
        assert_eq!(&lines[0][..2], format!("{line:02}"));
        body["nextToken"] = page["nextForwardToken"].clone();
    }
}

#[tokio::test]
async fn a_worker_that_died_is_replaced_without_a_loss() {
    let bench = Bench::memory();
    let mut first = bench.logs.workers();
    let writer = tokio::spawn(first.remove(0).future);
    bench.append(STREAM, &[(NOW, "one")]).await;
    writer.abort();
    let _ = writer.await;
    bench.append(STREAM, &[(NOW, "two")]).await;
    bench.start();
    bench.logs.flush().await.unwrap();
    let body = json!({"logGroupName": GROUP, "logStreamName": STREAM});
    assert_eq!(messages(&bench.ok("GetLogEvents", body).await), ["one", "two"]);
}

#[tokio::test]
async fn after_the_store_is_closed_appends_and_flushes_say_so() {
    let bench = Bench::embedded();
    bench.start();
    bench.append(STREAM, &[(NOW, "one")]).await;
    bench.logs.reset().await.unwrap();
    bench.store.close().await.unwrap();
    let ended = async {
        while bench.logs.flush().await.is_ok() {
            let event = gatemill_logs::Event { timestamp: NOW, message: "late".to_owned() };
            let _ =
                bench.logs.append("000000000000", "us-east-1", GROUP, STREAM, vec![event]).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap();
    let event = gatemill_logs::Event { timestamp: NOW, message: "late".to_owned() };
    let late = bench.logs.append("000000000000", "us-east-1", GROUP, STREAM, vec![event]).await;
    assert!(matches!(late, Err(Error::Ended)), "{late:?}");
}

/// What `aws logs tail --follow` does: follow the tokens, then start again at the last time, and drop known ids.
#[tokio::test]
async fn a_tail_shows_every_line_once() {
    let bench = Bench::memory();
    bench.start();
    let mut shown = Vec::new();
    let mut ids: BTreeMap<i64, HashSet<String>> = BTreeMap::new();
    let mut start = NOW - 300_000;
    for round in 0..5 {
        for stream in ["a", "b"] {
            let lines: Vec<String> = (0..7).map(|line| format!("{stream}{round}{line}")).collect();
            let events: Vec<(i64, &str)> = lines
                .iter()
                .zip(0..)
                .map(|(line, n)| (NOW + round * 2 + n / 4, line.as_str()))
                .collect();
            bench.append(stream, &events).await;
        }
        bench.logs.flush().await.unwrap();
        let mut token = None;
        loop {
            let mut body =
                json!({"logGroupName": GROUP, "interleaved": true, "startTime": start, "limit": 3});
            if let Some(token) = &token {
                body["nextToken"] = json!(token);
            }
            let page = bench.ok("FilterLogEvents", body).await;
            for event in page["events"].as_array().unwrap() {
                let timestamp = event["timestamp"].as_i64().unwrap();
                if ids
                    .entry(timestamp)
                    .or_default()
                    .insert(event["eventId"].as_str().unwrap().to_owned())
                {
                    shown.push(event["message"].as_str().unwrap().to_owned());
                }
            }
            let newest = ids.pop_last();
            ids.clear();
            ids.extend(newest);
            token = page["nextToken"].as_str().map(str::to_owned);
            if token.is_none() {
                break;
            }
        }
        start = *ids.keys().next_back().unwrap();
    }
    assert_eq!(shown.len(), 70);
    assert_eq!(shown.iter().collect::<HashSet<_>>().len(), 70);
}
