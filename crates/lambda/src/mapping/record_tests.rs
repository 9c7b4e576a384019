//! Golden bytes of mappings, and the ARNs of sources.

use gatemill_store::{decode, encode};

use super::*;

const QUEUE_V1: &str = r#"{"function_arn":"arn:aws:lambda:us-east-1:000000000000:function:f","source_arn":"arn:aws:sqs:us-east-1:000000000000:q","state":"Enabled","revision":3,"last_modified_ms":1795379214123,"settings":{"batch_size":10,"window_s":0}}"#;
const STREAM_V1: &str = r#"{"function_arn":"arn:aws:lambda:us-east-1:000000000000:function:f:live","source_arn":"arn:aws:kinesis:us-east-1:000000000000:stream/s","state":{"Creating":{"enabled":true}},"revision":1,"last_modified_ms":1795379214123,"settings":{"batch_size":100,"window_s":1,"filters":["{}"],"reports_item_failures":true,"maximum_concurrency":2,"pollers":{"minimum":3,"maximum":40},"stream":{"starting":{"AtTimestamp":5},"parallelization":10,"on_failure":"arn:aws:sqs:us-east-1:000000000000:d","record_age_s":60,"bisects":true,"retries":2,"tumbling_s":30},"counts_events":true},"tags":{"k":"v"}}"#;

fn queue() -> Mapping {
    Mapping {
        function_arn: "arn:aws:lambda:us-east-1:000000000000:function:f".into(),
        source_arn: "arn:aws:sqs:us-east-1:000000000000:q".into(),
        state: State::Enabled,
        revision: 3,
        last_modified_ms: 1_795_379_214_123,
        settings: Settings {
            batch_size: 10,
            window_s: 0,
            filters: Vec::new(),
            reports_item_failures: false,
            maximum_concurrency: None,
            pollers: None,
            stream: None,
            counts_events: false,
            kms_key_arn: None,
        },
        tags: Default::default(),
    }
}

fn stream() -> Mapping {
    Mapping {
        function_arn: "arn:aws:lambda:us-east-1:000000000000:function:f:live".into(),
        source_arn: "arn:aws:kinesis:us-east-1:000000000000:stream/s".into(),
        state: State::Creating { enabled: true },
        revision: 1,
        last_modified_ms: 1_795_379_214_123,
        settings: Settings {
            batch_size: 100,
            window_s: 1,
            filters: vec!["{}".into()],
            reports_item_failures: true,
            maximum_concurrency: Some(2),
            pollers: Some(Pollers { minimum: 3, maximum: 40 }),
            stream: Some(StreamSettings {
                starting: StartingPosition::AtTimestamp(5),
                parallelization: 10,
                on_failure: Some("arn:aws:sqs:us-east-1:000000000000:d".into()),
                record_age_s: Some(60),
                bisects: true,
                retries: Some(2),
                tumbling_s: 30,
            }),
            counts_events: true,
            kms_key_arn: None,
        },
        tags: [("k".to_owned(), "v".to_owned())].into(),
    }
}

#[test]
fn golden_bytes() {
    for (json, mapping) in [(QUEUE_V1, queue()), (STREAM_V1, stream())] {
        let bytes = [&[1], json.as_bytes()].concat();
        assert_eq!(
            String::from_utf8(encode(&mapping).unwrap()).unwrap(),
            String::from_utf8(bytes.clone()).unwrap()
        );
        assert_eq!(decode::<Mapping>(&bytes).unwrap(), mapping);
    }
}

#[test]
fn sources() {
    let source = |text: &str| SourceArn::parse(text).map(|arn| (arn.service, arn.name));
    let is = |service, name: &str| Some((service, name.to_owned()));
    assert_eq!(source("arn:aws:sqs:us-east-1:000000000000:q.fifo"), is(Service::Sqs, "q.fifo"));
    assert_eq!(
        source("arn:aws:kinesis:us-east-1:000000000000:stream/s"),
        is(Service::Kinesis, "s")
    );
    let consumer = "arn:aws:kinesis:us-east-1:000000000000:stream/s/consumer/c:1795379214";
    assert_eq!(source(consumer), is(Service::Kinesis, "s"));
    assert!(SourceArn::parse(consumer).unwrap().is_consumer);
    let table = "arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/2026-01-01T00:00:00.000";
    assert_eq!(source(table), is(Service::DynamoDb, "t"));
    for other in [
        "q",
        "arn:aws:sqs:us-east-1:000000000000:",
        "arn:aws:sqs:us-east-1::q",
        "arn:aws:kinesis:us-east-1:000000000000:s",
        "arn:aws:kinesis:us-east-1:000000000000:stream/s/consumer/c:x",
        "arn:aws:kinesis:us-east-1:000000000000:stream/s/consumer/:1",
        "arn:aws:dynamodb:us-east-1:000000000000:table/t",
        "arn:aws:s3:::b",
    ] {
        assert_eq!(source(other), None, "{other}");
    }
}

#[test]
fn a_mapping_is_settled_once_and_only_as_it_was_seen() {
    let store = gatemill_store::Store::memory();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let key = MappingKey {
            account: "000000000000".into(),
            region: "us-east-1".into(),
            uuid: "u".into(),
        };
        let (at, seen) = (key.clone(), stream());
        store
            .write(move |tx| {
                ask(tx, &at, &seen)?;
                let stale = Mapping { revision: 0, ..seen.clone() };
                assert!(!settle(tx, &at, &stale)?);
                assert!(MAPPING_WORK.contains(tx, &at.record())?);
                assert!(settle(tx, &at, &seen)?);
                assert!(!MAPPING_WORK.contains(tx, &at.record())?);
                assert_eq!(MAPPINGS.get(tx, &at.record())?.unwrap().state, State::Enabled);
                let deleting = Mapping { state: State::Deleting, ..seen.clone() };
                ask(tx, &at, &deleting)?;
                assert!(settle(tx, &at, &deleting)?);
                assert_eq!(MAPPINGS.get(tx, &at.record())?, None);
                Ok::<_, Error>(())
            })
            .await
            .unwrap();
    });
}
