//! Every operation, its answers and its refusals.

use std::time::Duration;

use serde_json::{Value, json};

use crate::bench::{Bench, GROUP, NOW, STREAM, messages};

const INVALID: &str = "InvalidParameterException";
const NOT_FOUND: &str = "ResourceNotFoundException";
const DAY: i64 = 86_400_000;

fn error(code: &str, message: &str) -> (String, String) {
    (code.to_owned(), message.to_owned())
}

#[tokio::test]
async fn groups_are_made_described_and_deleted() {
    for bench in Bench::both() {
        bench.with_stream().await;
        let again = bench.err("CreateLogGroup", json!({"logGroupName": GROUP})).await;
        assert_eq!(
            again,
            error("ResourceAlreadyExistsException", "The specified log group already exists")
        );
        bench.put(STREAM, &[(NOW, "hello")]).await;
        let described = bench.ok("DescribeLogGroups", json!({})).await;
        let arn = "arn:aws:logs:us-east-1:000000000000:log-group:/aws/lambda/f";
        assert_eq!(
            described,
            json!({"logGroups": [{
                "logGroupName": GROUP, "creationTime": NOW, "metricFilterCount": 0,
                "arn": format!("{arn}:*"), "storedBytes": 31, "logGroupClass": "STANDARD",
                "logGroupArn": arn,
            }]})
        );
        for (account, region) in [("111111111111", "us-east-1"), ("000000000000", "eu-west-1")] {
            let (_, body) = bench.call_as(account, region, "DescribeLogGroups", json!({})).await;
            assert_eq!(body, json!({"logGroups": []}));
        }
        bench.ok("DeleteLogGroup", json!({"logGroupName": GROUP})).await;
        let gone = bench.err("DeleteLogGroup", json!({"logGroupName": GROUP})).await;
        assert_eq!(gone, error(NOT_FOUND, "The specified log group does not exist."));
        // Its namesake starts empty, at once.
        bench.with_stream().await;
        let page = bench.ok("FilterLogEvents", json!({"logGroupName": GROUP})).await;
        assert_eq!(page, json!({"events": [], "searchedLogStreams": []}));
    }
}

#[tokio::test]
async fn groups_are_listed_by_prefix_pattern_and_page() {
    let bench = Bench::memory();
    for name in ["/a", "/a/1", "/a/2", "/b", "z"] {
        bench.ok("CreateLogGroup", json!({"logGroupName": name})).await;
    }
    let names = |page: &Value| -> Vec<String> {
        let groups = page["logGroups"].as_array().unwrap();
        groups.iter().map(|group| group["logGroupName"].as_str().unwrap().to_owned()).collect()
    };
    let prefix = bench.ok("DescribeLogGroups", json!({"logGroupNamePrefix": "/a"})).await;
    assert_eq!(names(&prefix), ["/a", "/a/1", "/a/2"]);
    let pattern = bench.ok("DescribeLogGroups", json!({"logGroupNamePattern": "a/"})).await;
    assert_eq!(names(&pattern), ["/a/1", "/a/2"]);
    let named = json!({"logGroupIdentifiers": ["z", "none", "/b"]});
    assert_eq!(names(&bench.ok("DescribeLogGroups", named).await), ["z", "/b"]);
    let both = json!({"logGroupNamePrefix": "/a", "logGroupNamePattern": "/a"});
    assert_eq!(bench.err("DescribeLogGroups", both).await.0, INVALID);
    for body in [json!({}), json!({"logGroupNamePrefix": "/a"})] {
        let whole = names(&bench.ok("DescribeLogGroups", body.clone()).await);
        let (mut paged, mut body) = (Vec::new(), body);
        body["limit"] = json!(2);
        loop {
            let page = bench.ok("DescribeLogGroups", body.clone()).await;
            paged.extend(names(&page));
            let Some(token) = page["nextToken"].as_str() else { break };
            assert!(paged.len() <= whole.len());
            body["nextToken"] = json!(token);
        }
        assert_eq!(paged, whole);
    }
    let (code, message) = bench.err("DescribeLogGroups", json!({"limit": 51})).await;
    assert_eq!(
        (code.as_str(), message.as_str()),
        (
            INVALID,
            "1 validation error detected: Value '51' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 50"
        )
    );
    let stranger = bench.err("DescribeLogGroups", json!({"nextToken": "?"})).await;
    assert_eq!(stranger, error(INVALID, "The specified nextToken is invalid."));
}

#[tokio::test]
async fn names_and_settings_that_are_refused() {
    let bench = Bench::memory();
    for name in ["", "a b", "a*", "ä", &"x".repeat(513), "aws/x", "AWS/x"] {
        let (code, _) = bench.err("CreateLogGroup", json!({"logGroupName": name})).await;
        assert_eq!(code, INVALID, "{name}");
    }
    for extra in [
        json!({"logGroupName": "g", "kmsKeyId": "arn:aws:kms:us-east-1:000000000000:key/1"}),
        json!({"logGroupName": "g", "logGroupClass": "DELIVERY"}),
        json!({"logGroupName": "g", "deletionProtectionEnabled": true}),
    ] {
        let (status, body) = bench.call("CreateLogGroup", extra).await;
        assert_eq!((status, &body["__type"]), (501, &json!("NotImplementedException")));
    }
    bench.with_stream().await;
    for name in ["", "a:b", "a*", &"x".repeat(513)] {
        let body = json!({"logGroupName": GROUP, "logStreamName": name});
        assert_eq!(bench.err("CreateLogStream", body).await.0, INVALID, "{name}");
    }
    for (operation, extra) in [
        ("StartQuery", json!({})),
        ("DescribeLogGroups", json!({"accountIdentifiers": ["111111111111"]})),
        ("DescribeLogGroups", json!({"includeLinkedAccounts": true})),
        (
            "PutLogEvents",
            json!({
                "logGroupName": GROUP, "logStreamName": STREAM,
                "logEvents": [{"timestamp": NOW, "message": "m"}],
                "entity": {"keyAttributes": {"Type": "Service", "Name": "n"}},
            }),
        ),
    ] {
        let (status, body) = bench.call(operation, extra).await;
        assert_eq!((status, &body["__type"]), (501, &json!("NotImplementedException")), "{body}");
    }
}

#[tokio::test]
async fn streams_are_made_described_and_deleted() {
    for bench in Bench::both() {
        bench.with_stream().await;
        let body = json!({"logGroupName": GROUP, "logStreamName": STREAM});
        let again = bench.err("CreateLogStream", body.clone()).await;
        assert_eq!(
            again,
            error("ResourceAlreadyExistsException", "The specified log stream already exists")
        );
        bench.put(STREAM, &[(NOW - 5, "a"), (NOW - 3, "b")]).await;
        let page = bench.ok("DescribeLogStreams", json!({"logGroupName": GROUP})).await;
        assert_eq!(
            page,
            json!({"logStreams": [{
                "logStreamName": STREAM, "creationTime": NOW, "firstEventTimestamp": NOW - 5,
                "lastEventTimestamp": NOW - 3, "lastIngestionTime": NOW,
                "uploadSequenceToken": format!("496{:053}", 1),
                "arn": format!("arn:aws:logs:us-east-1:000000000000:log-group:{GROUP}:log-stream:{STREAM}"),
                "storedBytes": 0,
            }]})
        );
        bench.ok("DeleteLogStream", body.clone()).await;
        let gone = error(NOT_FOUND, "The specified log stream does not exist.");
        assert_eq!(bench.err("DeleteLogStream", body.clone()).await, gone);
        assert_eq!(bench.err("GetLogEvents", body.clone()).await, gone);
        // Its events are gone from the group, too, at once, and stay away when it is made again.
        bench.ok("CreateLogStream", body).await;
        let page = bench.ok("FilterLogEvents", json!({"logGroupName": GROUP})).await;
        assert_eq!(messages(&page), Vec::<String>::new());
    }
}

#[tokio::test]
async fn streams_are_ordered_by_name_and_by_last_event() {
    let bench = Bench::memory();
    bench.with_stream().await;
    for (name, last) in [("a", Some(NOW - 1)), ("b", None), ("c", Some(NOW - 9)), ("cc", Some(NOW))]
    {
        bench.ok("CreateLogStream", json!({"logGroupName": GROUP, "logStreamName": name})).await;
        if let Some(last) = last {
            bench.put(name, &[(last, "x")]).await;
        }
    }
    bench.ok("DeleteLogStream", json!({"logGroupName": GROUP, "logStreamName": STREAM})).await;
    for (extra, expected) in [
        (json!({}), vec!["a", "b", "c", "cc"]),
        (json!({"descending": true}), vec!["cc", "c", "b", "a"]),
        (json!({"logStreamNamePrefix": "c"}), vec!["c", "cc"]),
        (json!({"logStreamNamePrefix": "c", "descending": true}), vec!["cc", "c"]),
        (json!({"orderBy": "LastEventTime"}), vec!["b", "c", "a", "cc"]),
        (json!({"orderBy": "LastEventTime", "descending": true}), vec!["cc", "a", "c", "b"]),
    ] {
        for limit in [1, 3, 50] {
            let mut body = extra.clone();
            body["logGroupIdentifier"] =
                json!(format!("arn:aws:logs:us-east-1:000000000000:log-group:{GROUP}"));
            body["limit"] = json!(limit);
            let mut names = Vec::new();
            loop {
                let page = bench.ok("DescribeLogStreams", body.clone()).await;
                let streams = page["logStreams"].as_array().unwrap();
                names.extend(
                    streams.iter().map(|s| s["logStreamName"].as_str().unwrap().to_owned()),
                );
                let Some(token) = page["nextToken"].as_str() else { break };
                assert!(names.len() <= expected.len());
                body["nextToken"] = json!(token);
            }
            assert_eq!(names, expected, "{extra} {limit}");
        }
    }
    let both =
        json!({"logGroupName": GROUP, "orderBy": "LastEventTime", "logStreamNamePrefix": "a"});
    assert_eq!(
        bench.err("DescribeLogStreams", both).await,
        error(INVALID, "Cannot order by LastEventTime with a logStreamNamePrefix.")
    );
}

#[tokio::test]
async fn batches_are_checked_and_bad_events_rejected() {
    let bench = Bench::memory();
    bench.with_stream().await;
    let body = |group: &str, stream: &str, events: Value| json!({"logGroupName": group, "logStreamName": stream, "logEvents": events});
    let event = |timestamp: i64, message: &str| json!({"timestamp": timestamp, "message": message});
    for (request, code, message) in [
        (
            body("none", "s", json!([event(NOW, "x")])),
            NOT_FOUND,
            "The specified log group does not exist.",
        ),
        (
            body(GROUP, "none", json!([event(NOW, "x")])),
            NOT_FOUND,
            "The specified log stream does not exist.",
        ),
        (
            body(GROUP, STREAM, json!([event(NOW, "x"), event(NOW - 1, "y")])),
            INVALID,
            "Log events in a single PutLogEvents request must be in chronological order.",
        ),
        (
            body(GROUP, STREAM, json!([event(NOW - DAY - 1, "x"), event(NOW, "y")])),
            INVALID,
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
        ),
        (
            body(GROUP, STREAM, json!([event(NOW, &"x".repeat(1_048_551))])),
            INVALID,
            "Upload too large: 1048577 bytes exceeds limit of 1048576",
        ),
    ] {
        assert_eq!(bench.err("PutLogEvents", request).await, error(code, message));
    }
    assert_eq!(bench.err("PutLogEvents", body(GROUP, STREAM, json!([]))).await.0, INVALID);
    bench.put(STREAM, &[(NOW, &"x".repeat(1_048_550))]).await;
    bench.ok("PutRetentionPolicy", json!({"logGroupName": GROUP, "retentionInDays": 1})).await;
    let answer = bench
        .put(
            STREAM,
            &[
                (NOW - 15 * DAY, "too old"),
                (NOW - 2 * DAY, "expired"),
                (NOW - 3, "kept"),
                (NOW + 7_200_000, "just in time"),
                (NOW + 7_200_001, "too new"),
            ],
        )
        .await;
    assert_eq!(
        answer["rejectedLogEventsInfo"],
        json!({"tooNewLogEventStartIndex": 4, "tooOldLogEventEndIndex": 1, "expiredLogEventEndIndex": 2})
    );
    assert_eq!(answer["nextSequenceToken"].as_str().unwrap().len(), 56);
    let page =
        bench.ok("FilterLogEvents", json!({"logGroupName": GROUP, "filterPattern": "-xx"})).await;
    assert_eq!(messages(&page), ["kept", "just in time"]);
}

#[tokio::test]
async fn retention_hides_at_once_and_the_sweeper_gives_the_space_back() {
    for bench in Bench::both() {
        bench.start();
        bench.with_stream().await;
        bench.put(STREAM, &[(NOW - 3 * DAY, "old"), (NOW - 3 * DAY + 1, "old")]).await;
        bench.put(STREAM, &[(NOW, "new")]).await;
        let body = json!({"logGroupName": GROUP, "retentionInDays": 2});
        let (code, message) = bench.err("PutRetentionPolicy", body).await;
        assert_eq!(code, INVALID);
        assert!(message.starts_with("1 validation error detected: Value '2' at 'retentionInDays'"));
        bench.ok("PutRetentionPolicy", json!({"logGroupName": GROUP, "retentionInDays": 1})).await;
        let page = bench.ok("FilterLogEvents", json!({"logGroupName": GROUP})).await;
        assert_eq!(messages(&page), ["new"]);
        let body = json!({"logGroupName": GROUP, "logStreamName": STREAM, "startFromHead": true});
        assert_eq!(messages(&bench.ok("GetLogEvents", body).await), ["new"]);
        let swept = async {
            loop {
                let group = bench.ok("DescribeLogGroups", json!({})).await["logGroups"][0].take();
                assert_eq!(group["retentionInDays"], 1);
                if group["storedBytes"] == 29 {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), swept).await.expect("swept in time");
        let page = bench.ok("DescribeLogStreams", json!({"logGroupName": GROUP})).await;
        assert_eq!(page["logStreams"][0]["firstEventTimestamp"], NOW);
        bench.pass(DAY + 1);
        let page = bench.ok("FilterLogEvents", json!({"logGroupName": GROUP})).await;
        assert_eq!(messages(&page), Vec::<String>::new());
        bench.ok("DeleteRetentionPolicy", json!({"logGroupName": GROUP})).await;
        let group = bench.ok("DescribeLogGroups", json!({})).await["logGroups"][0].take();
        assert_eq!(group.get("retentionInDays"), None);
    }
}

#[tokio::test]
async fn tags_are_kept_on_groups() {
    let bench = Bench::memory();
    bench.ok("CreateLogGroup", json!({"logGroupName": "g", "tags": {"a": "1", "b": "2"}})).await;
    let arn = "arn:aws:logs:us-east-1:000000000000:log-group:g";
    bench.ok("TagResource", json!({"resourceArn": arn, "tags": {"b": "3", "c": "4"}})).await;
    bench.ok("UntagResource", json!({"resourceArn": arn, "tagKeys": ["a", "x"]})).await;
    let expected = json!({"tags": {"b": "3", "c": "4"}});
    assert_eq!(bench.ok("ListTagsForResource", json!({"resourceArn": arn})).await, expected);
    assert_eq!(bench.ok("ListTagsLogGroup", json!({"logGroupName": "g"})).await, expected);
    let many: serde_json::Map<String, Value> =
        (0..49).map(|n| (format!("k{n}"), json!("v"))).collect();
    let body = json!({"resourceArn": arn, "tags": many});
    assert_eq!(bench.err("TagResource", body).await.0, "TooManyTagsException");
    for arn in [
        "arn:aws:logs:us-east-1:000000000000:log-group:none",
        "arn:aws:logs:us-east-1:111111111111:log-group:g",
        "arn:aws:logs:eu-west-1:000000000000:log-group:g",
        "arn:aws:lambda:us-east-1:000000000000:function:g",
        "g",
    ] {
        assert_eq!(
            bench.err("ListTagsForResource", json!({"resourceArn": arn})).await,
            error(NOT_FOUND, "The specified resource does not exist."),
        );
    }
}

#[tokio::test]
async fn searches_are_checked() {
    let bench = Bench::memory();
    bench.with_stream().await;
    for body in [
        json!({}),
        json!({"logGroupName": GROUP, "logGroupIdentifier": GROUP}),
        json!({"logGroupName": GROUP, "logStreamNames": ["a"], "logStreamNamePrefix": "a"}),
        json!({"logGroupIdentifier": "arn:aws:logs:us-east-1:000000000000:log-group:g:*"}),
        json!({"logGroupName": GROUP, "nextToken": "?"}),
        json!({"logGroupName": GROUP, "filterPattern": "{ $.a"}),
        json!({"logGroupName": GROUP, "limit": 10001}),
        json!({"logGroupName": GROUP, "startTime": -1}),
        json!({"logGroupName": GROUP, "startFromHead": false, "startTime": 1}),
    ] {
        assert_eq!(bench.err("FilterLogEvents", body.clone()).await.0, INVALID, "{body}");
    }
    for (body, message) in [
        (json!({"logGroupName": "none"}), "The specified log group does not exist."),
        (
            json!({"logGroupIdentifier": "arn:aws:logs:us-east-1:111111111111:log-group:g"}),
            "The specified log group does not exist.",
        ),
        (
            json!({"logGroupName": GROUP, "logStreamNames": ["none"]}),
            "The specified log stream does not exist.",
        ),
    ] {
        assert_eq!(bench.err("FilterLogEvents", body).await, error(NOT_FOUND, message));
    }
    let body = json!({"logGroupName": GROUP, "logStreamName": STREAM, "nextToken": "f/1/s"});
    let stranger = error(INVALID, "The specified nextToken is invalid.");
    assert_eq!(bench.err("GetLogEvents", body).await, stranger);
}

#[tokio::test]
async fn searches_find_by_stream_time_and_pattern() {
    for bench in Bench::both() {
        bench.with_stream().await;
        for name in ["web-1", "web-2", "job"] {
            bench
                .ok("CreateLogStream", json!({"logGroupName": GROUP, "logStreamName": name}))
                .await;
        }
        bench.put("web-1", &[(NOW - 30, "GET ok"), (NOW - 10, "{\"status\": 500}")]).await;
        bench.put("web-2", &[(NOW - 20, "GET failed"), (NOW - 10, "{\"status\": 200}")]).await;
        bench.put("job", &[(NOW - 25, "job done")]).await;
        for (extra, expected) in [
            (json!({}), vec!["GET ok", "job done", "GET failed", "*", "*"]),
            (json!({"filterPattern": "GET"}), vec!["GET ok", "GET failed"]),
            (json!({"filterPattern": "{ $.status >= 500 }"}), vec!["{\"status\": 500}"]),
            (
                json!({"logStreamNames": ["job", "web-1"]}),
                vec!["GET ok", "job done", "{\"status\": 500}"],
            ),
            (
                json!({"logStreamNamePrefix": "web-", "filterPattern": "?GET"}),
                vec!["GET ok", "GET failed"],
            ),
            (json!({"startTime": NOW - 25, "endTime": NOW - 20}), vec!["job done", "GET failed"]),
            (
                json!({"startFromHead": false, "endTime": NOW - 20}),
                vec!["GET failed", "job done", "GET ok"],
            ),
            (json!({"startTime": NOW, "endTime": NOW - 20}), vec![]),
        ] {
            let mut body = extra.clone();
            body["logGroupName"] = json!(GROUP);
            let page = bench.ok("FilterLogEvents", body).await;
            let found = messages(&page);
            assert_eq!(found.len(), expected.len(), "{extra}");
            for (found, expected) in found.iter().zip(expected) {
                assert!(expected == "*" || found == expected, "{extra}: {found}");
            }
            assert_eq!(page.get("nextToken"), None);
            assert_eq!(page["searchedLogStreams"], json!([]));
        }
        let body = json!({"logGroupName": GROUP, "logStreamNames": ["job"]});
        let page = bench.ok("FilterLogEvents", body).await;
        let event = &page["events"][0];
        assert_eq!(event["logStreamName"], "job");
        assert_eq!(event["timestamp"], NOW - 25);
        assert_eq!(event["ingestionTime"], NOW);
        assert_eq!(event["eventId"].as_str().unwrap().len(), 56);
    }
}
