//! The Node.js client with handlers that stream their answer.

use gatemill_sandbox::runtime::{Family, Pack};

use crate::harness::{Client, Code, Frame, Meta, packs, without_times};

/// Runs `test` with a function whose handler is `streamifyResponse(<source>)`.
fn streaming(source: &str, test: impl Fn(&Pack, Client)) {
    let source = format!("exports.handler = awslambda.streamifyResponse({source});");
    for pack in packs(Family::Nodejs) {
        let files = [("app.js", source.as_str())];
        let code = Code { files: &files, handler: "app.handler", env: &[] };
        test(&pack, Client::ready(&pack, code));
    }
}

fn begin(content_type: &str) -> Frame {
    Frame::StreamBegin(content_type.to_owned())
}

#[test]
fn pieces_leave_while_the_handler_runs() {
    // The handler goes on when the caller has answered its first piece.
    let source = "async (event, stream, context) => {
        const fs = require('fs');
        stream.setContentType('text/plain');
        stream.write('first');
        while (!fs.existsSync(event.go)) await new Promise((r) => setTimeout(r, 1));
        stream.write(Buffer.from([0, 255]));
        stream.write({ id: context.awsRequestId.length });
        stream.end('last');
    }";
    streaming(source, |pack, mut client| {
        for call in 0..2 {
            let dir = tempfile::tempdir().unwrap();
            let go = dir.path().join("go");
            let event = format!(r#"{{"go":"{}"}}"#, go.display());
            assert_eq!(client.invoke(&event), begin("text/plain"), "{} {call}", pack.name);
            assert_eq!(client.next(), Frame::StreamChunk(b"first".to_vec()));
            std::fs::write(&go, "").unwrap();
            let (bytes, end) = client.streamed();
            assert_eq!(bytes, b"\x00\xFF{\"id\":36}last");
            assert_eq!(end, Frame::StreamEnd);
        }
        assert!(client.end().status.success());
    });
}

#[test]
fn http_answers_begin_with_their_head() {
    let source = "async (event, stream) => {
        const head = { statusCode: 201, headers: { a: 'b' }, cookies: ['c=d'] };
        const http = awslambda.HttpResponseStream.from(stream, head);
        if (event) http.write(event);
        http.end();
    }";
    let head = br#"{"statusCode":201,"headers":{"a":"b"},"cookies":["c=d"]}"#;
    let head = [&head[..], &[0; 8]].concat();
    streaming(source, |pack, mut client| {
        for (event, body) in [("\"body\"", &b"body"[..]), ("\"\"", b"")] {
            let frame = client.invoke(event);
            let http = "application/vnd.awslambda.http-integration-response";
            assert_eq!(frame, begin(http), "{}", pack.name);
            assert_eq!(client.streamed(), ([&head[..], body].concat(), Frame::StreamEnd));
        }
    });
}

#[test]
fn large_answers_come_in_legal_pieces_and_wait_for_the_reader() {
    let source = "async (event, stream) => {
        const { Readable } = require('stream');
        const { pipeline } = require('stream/promises');
        let turns = 0;
        const ticking = setInterval(() => { turns += 1; }, 1);
        const parts = Array.from({ length: 40 }, () => Buffer.alloc(150000, 'x'));
        await pipeline(Readable.from(parts), stream, { end: false });
        clearInterval(ticking);
        stream.end(turns > 0 ? 'y' : 'blocked');
    }";
    streaming(source, |pack, mut client| {
        assert_eq!(client.invoke("{}"), begin(""), "{}", pack.name);
        let first = client.next();
        assert!(matches!(&first, Frame::StreamChunk(chunk) if chunk.len() == 64 * 1024));
        let (rest, end) = client.streamed();
        assert_eq!((64 * 1024 + rest.len(), end), (40 * 150_000 + 1, Frame::StreamEnd));
        assert_eq!(rest.last(), Some(&b'y'), "the handler's timers ran on");
    });
}

#[test]
fn failures_before_and_after_the_first_byte() {
    let source = "async (event, stream) => {
        if (event.write) stream.write('x');
        if (event.type) stream.setContentType('text/plain');
        if (event.later) setTimeout(() => { throw new RangeError('later'); }, 1);
        if (event.returns) return 'value';
        if (!event.later) throw new TypeError('now');
        await new Promise(() => {});
    }";
    streaming(source, |pack, mut client| {
        let error = client.invoke("{}").error();
        assert_eq!(
            (&error["errorType"], &error["errorMessage"]),
            (&"TypeError".into(), &"now".into())
        );
        assert_eq!(client.invoke(r#"{"write":1}"#), begin(""), "{}", pack.name);
        let (bytes, end) = client.streamed();
        assert_eq!(bytes, b"x");
        assert!(matches!(end, Frame::StreamError(_)), "{end:?}");
        assert_eq!(end.error()["errorType"], "TypeError");
        assert_eq!(client.invoke(r#"{"write":1,"type":1}"#), begin(""));
        let (_, end) = client.streamed();
        assert_eq!(end.error()["errorType"], "Runtime.InvalidStreamingOperation");
        assert_eq!(end.error()["errorMessage"], "Cannot set content-type, too late.");
        // An error that nobody caught ends the process, after the piece that was on its way.
        assert_eq!(client.invoke(r#"{"write":1,"later":1}"#), begin(""));
        let (bytes, end) = client.streamed();
        assert_eq!((bytes, &end.error()["errorMessage"]), (b"x".to_vec(), &"later".into()));
        let ended = client.wait();
        assert_eq!(ended.status.code(), Some(129));
        assert!(without_times(&ended.log).contains("ERROR\tInvoke Error"), "{}", ended.log);
    });
}

#[test]
fn a_stream_that_nobody_ends_is_an_error() {
    let source = "async (event, stream) => { stream.write('x'); return 1; }";
    streaming(source, |pack, mut client| {
        assert_eq!(client.invoke("{}"), begin(""), "{}", pack.name);
        let (_, end) = client.streamed();
        assert_eq!(end.error()["errorType"], "Runtime.NodeJsExit");
        let ended = client.wait();
        assert_eq!(ended.status.code(), Some(13));
        assert!(ended.log.contains("Streaming handlers ignore return values."), "{}", ended.log);
    });
}

#[test]
fn handlers_that_are_not_async_are_refused() {
    streaming("(event, stream) => { stream.end('x'); }", |pack, mut client| {
        client.send(b"{}", &Meta::default());
        let frame = match client.next() {
            Frame::StreamBegin(_) => client.streamed().1,
            other => other,
        };
        assert_eq!(
            frame.error()["errorType"],
            "Runtime.InvalidStreamingOperation",
            "{}",
            pack.name
        );
    });
}

#[test]
fn a_mark_that_a_framework_sets_counts() {
    let source = "exports.handler = async (event, stream) => { stream.end('ok'); };
        exports.handler[Symbol.for('aws.lambda.runtime.handler.streaming')] = 'response';";
    for pack in packs(Family::Nodejs) {
        let files = [("app.js", source)];
        let mut client =
            Client::ready(&pack, Code { files: &files, handler: "app.handler", env: &[] });
        assert_eq!(client.invoke("{}"), begin(""));
        assert_eq!(client.streamed(), (b"ok".to_vec(), Frame::StreamEnd), "{}", pack.name);
    }
}
