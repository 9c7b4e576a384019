//! Answers in pieces: what callers get of them, and when.

use bytes::Bytes;
use gatemill_lambda::{Error, StreamEnd, StreamEvent, Streaming};
use serde_json::{Value, json};

use crate::{Case, world::World};

pub(crate) const CASES: &[Case] = &[
    Case { name: "streams::the_first_byte_comes_before_the_end", body: first_byte },
    Case { name: "streams::whole_answers_are_streams_of_one_piece", body: whole },
    Case { name: "streams::an_invoke_gathers_the_pieces", body: gathered },
    Case { name: "streams::ends_in_the_middle", body: broken_off },
    Case { name: "streams::readers_that_leave", body: dropped },
];

/// Writes what the event asks for.
const STREAM: &str = r"
const { Readable } = require('stream');
const { pipeline } = require('stream/promises');
exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {
    stream.setContentType('text/plain');
    if (event.first) stream.write(event.first);
    if (event.kilobytes) {
        const parts = Array.from({ length: event.kilobytes }, () => Buffer.alloc(1024, 'x'));
        await pipeline(Readable.from(parts), stream, { end: false });
    }
    if (event.fail) throw new TypeError(event.fail);
    if (event.exit) process.exit(event.exit);
    if (event.forever) await new Promise(() => setInterval(() => {}, 1000));
    console.log('done ' + context.awsRequestId);
    stream.end('.');
});
";

fn create(world: &World) {
    world.create("f", "nodejs20.x", &[("app.js", STREAM)]);
}

fn begin(world: &World, event: &Value) -> Streaming {
    let mut call = world.invocation("f", &event.to_string());
    call.log_tail = true;
    world.run(world.lambda.invoke_streaming(call)).unwrap()
}

fn rest(world: &World, mut streaming: Streaming) -> (Vec<u8>, StreamEnd) {
    world.run(async {
        let mut bytes = Vec::new();
        loop {
            match streaming.stream.next().await.expect("an end") {
                StreamEvent::Chunk(chunk) => bytes.extend_from_slice(&chunk),
                StreamEvent::End(end) => return (bytes, end),
            }
        }
    })
}

fn first_byte(world: &World) {
    create(world);
    for _ in 0..2 {
        // More than all buffers on the way hold: the handler cannot have ended when the first piece is read.
        let mut streaming = begin(world, &json!({ "first": "hello ", "kilobytes": 8 * 1024 }));
        assert_eq!(streaming.content_type, "text/plain");
        assert_eq!(streaming.executed_version, "$LATEST");
        let first = world.run(streaming.stream.next());
        assert_eq!(first, Some(StreamEvent::Chunk(Bytes::from_static(b"hello "))));
        assert_eq!(world.lambda.status().busy, 1, "it is held back by its slow reader");
        let (bytes, end) = rest(world, streaming);
        assert_eq!((bytes.len(), bytes.last()), (8 * 1024 * 1024 + 1, Some(&b'.')));
        assert_eq!(end.error, None);
        let tail = String::from_utf8(end.log_tail.unwrap().to_vec()).unwrap();
        assert!(tail.contains("done ") && tail.contains("REPORT RequestId"), "{tail}");
        let status = world.lambda.status();
        assert_eq!((status.idle, status.busy), (1, 0), "and is used again");
    }
}

fn whole(world: &World) {
    let files =
        [("app.py", "def handler(e, c):\n    if e: raise ValueError(e)\n    return {'a': 1}\n")];
    world.create("f", "python3.12", &files);
    let streaming = begin(world, &json!({}));
    assert_eq!(streaming.content_type, "application/json");
    let (bytes, end) = rest(world, streaming);
    assert_eq!((&*bytes, end.error), (&br#"{"a": 1}"#[..], None));
    let (bytes, end) = rest(world, begin(world, &json!("no")));
    assert!(bytes.is_empty());
    let error: Value = serde_json::from_slice(&end.error.unwrap()).unwrap();
    assert_eq!(error["errorType"], "ValueError");
    let absent = world.run(world.lambda.invoke_streaming(world.invocation("absent", "{}")));
    assert!(matches!(absent, Err(Error::FunctionNotFound(_))));
    let bad = world.run(world.lambda.invoke_streaming(world.invocation("f", "{")));
    assert!(matches!(bad, Err(Error::InvalidRequestContent(_))));
}

fn gathered(world: &World) {
    create(world);
    let outcome = world.invoke("f", r#"{"first":"a","kilobytes":2}"#);
    assert_eq!((outcome.payload.len(), outcome.function_error), (1 + 2 * 1024 + 1, None));
    let (error, failed) = world.json("f", r#"{"first":"a","fail":"middle"}"#);
    assert_eq!((&error["errorType"], failed), (&json!("TypeError"), true));
    let (error, failed) = world.json("f", r#"{"kilobytes":6145}"#);
    assert_eq!((&error["errorType"], failed), (&json!("Function.ResponseSizeTooLarge"), true));
    assert_eq!(world.invoke("f", "{}").payload, Bytes::from_static(b"."));
    assert_eq!(world.lambda.status().idle, 1, "one environment answered all of it");
}

fn broken_off(world: &World) {
    world.create_with(
        "f",
        "nodejs20.x",
        &[("app.js", STREAM)],
        &json!({ "Timeout": 1, "MemorySize": 256 }),
    );
    for (event, kind) in [
        (json!({ "first": "a", "fail": "middle" }), "TypeError"),
        (json!({ "fail": "before" }), "TypeError"),
        (json!({ "first": "a", "exit": 3 }), "Runtime.ExitError"),
        (json!({ "first": "a", "forever": true }), "Sandbox.Timedout"),
        (json!({ "forever": true }), "Sandbox.Timedout"),
    ] {
        let streaming = begin(world, &event);
        let (bytes, end) = rest(world, streaming);
        let first = event["first"].as_str().unwrap_or_default();
        assert_eq!(bytes, first.as_bytes(), "{event}");
        let error: Value = serde_json::from_slice(&end.error.unwrap()).unwrap();
        assert_eq!(error["errorType"], kind, "{event}");
    }
    let (bytes, end) = rest(world, begin(world, &json!({ "first": "again" })));
    assert_eq!((&*bytes, end.error), (&b"again."[..], None));
    // A reader that does not read holds the function, and the timeout ends that as well.
    let streaming = begin(world, &json!({ "kilobytes": 8 * 1024 }));
    over(world);
    let (_, end) = rest(world, streaming);
    let error: Value = serde_json::from_slice(&end.error.unwrap()).unwrap();
    assert_eq!(error["errorType"], "Sandbox.Timedout");
}

/// Waits until no call runs; their tasks run meanwhile.
fn over(world: &World) {
    world.run(async {
        while world.lambda.status().calls_in_flight > 0 {
            tokio::task::yield_now().await;
        }
    });
}

fn dropped(world: &World) {
    create(world);
    let streaming = begin(world, &json!({ "first": "a", "kilobytes": 8 * 1024 }));
    drop(streaming);
    over(world);
    let log = world.log("/aws/lambda/f", |log| log.contains("REPORT"));
    assert!(log.contains("done "), "the handler ran to its end: {log}");
    assert_eq!(world.lambda.status().idle, 1);
}
