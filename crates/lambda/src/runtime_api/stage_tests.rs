//! The state machine as AWS's agent has it, request by request.

use http::HeaderValue;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

#[derive(Debug)]
struct Counting(std::sync::atomic::AtomicU8);

impl Entropy for Counting {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    }
}

fn stage() -> Stage {
    let mut stage = Stage::new(Arc::new(Counting(0.into())), true);
    stage.expect_http();
    stage
}

fn asked(line: &str, headers: &[(&'static str, &str)], body: Arrived) -> Asked {
    let (method, path) = line.split_once(' ').unwrap();
    let mut head =
        http::Request::builder().method(method).uri(path).body(()).unwrap().into_parts().0;
    for (name, value) in headers {
        head.headers.insert(*name, HeaderValue::from_str(value).unwrap());
    }
    Asked { head, body, error_type: None, error_body: None }
}

fn ask(stage: &mut Stage, line: &str) -> Reply {
    stage.ask(&asked(line, &[], Arrived::Whole("{}".into())))
}

/// Status, and the error type or the text of the body.
fn check(reply: Reply) -> (u16, String) {
    let Reply::Now(answer) = reply else { return (0, format!("{reply:?}")) };
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let kind = body["errorType"].as_str().or(body["status"].as_str()).unwrap_or_default();
    (answer.status.as_u16(), kind.to_owned())
}

fn offer(stage: &mut Stage, request_id: &str) {
    let meta = InvokeMeta {
        request_id,
        deadline_ms: 7,
        function_arn: "arn",
        trace_id: "Root=1",
        client_context: "",
        cognito_identity: "",
        tenant_id: "",
    };
    stage.extensions.announce(&meta);
    stage.offer(&meta, "[1]".into());
}

const RUNTIME: &str = "/2018-06-01/runtime";

fn post(id: &str, what: &str) -> String {
    format!("POST {RUNTIME}/invocation/{id}/{what}")
}

#[test]
fn a_life_of_a_runtime() {
    let mut stage = stage();
    let next = format!("GET {RUNTIME}/invocation/next");
    assert_eq!(ask(&mut stage, &next), Reply::Later(Waits::Invocation));
    assert_eq!(stage.next_said(), Some(Said::Runtime(Kind::Ready, Body::Whole(Bytes::new()))));
    assert_eq!(stage.take_invocation(), None);
    for id in ["one", "two"] {
        offer(&mut stage, id);
        assert!(!stage.has_taken());
        let first = stage.take_invocation().unwrap();
        assert!(stage.has_taken());
        assert!(
            String::from_utf8_lossy(&first.0)
                .contains(&format!("Lambda-Runtime-Aws-Request-Id: {id}\r\n"))
        );
        // Asked again before the answer, it is the same.
        assert_eq!(ask(&mut stage, &next), Reply::Later(Waits::Invocation));
        assert_eq!(stage.take_invocation(), Some(first));
        assert_eq!(
            check(ask(&mut stage, &post("other", "response"))),
            (400, "InvalidRequestID".into())
        );
        assert_eq!(check(ask(&mut stage, &post(id, "response"))), (202, "OK".into()));
        assert_eq!(
            stage.next_said(),
            Some(Said::Runtime(Kind::Response, Body::Whole("{}".into())))
        );
        for what in ["response", "error"] {
            assert_eq!(
                check(ask(&mut stage, &post(id, what))),
                (403, "InvalidStateTransition".into())
            );
        }
        assert_eq!(ask(&mut stage, &next), Reply::Later(Waits::Invocation));
        assert_eq!(stage.next_said(), None);
    }
}

#[test]
fn out_of_turn() {
    let mut stage = stage();
    let refused = (403, "InvalidStateTransition".to_owned());
    assert_eq!(check(ask(&mut stage, &post("x", "response"))), refused);
    let init_error = format!("POST {RUNTIME}/init/error");
    assert_eq!(check(ask(&mut stage, &init_error)), (202, "OK".into()));
    assert_eq!(stage.next_said(), Some(Said::Runtime(Kind::InitError, Body::Whole("{}".into()))));
    assert_eq!(check(ask(&mut stage, &init_error)), refused);
    let Reply::Now(answer) = ask(&mut stage, &format!("GET {RUNTIME}/invocation/next")) else {
        panic!()
    };
    assert_eq!(
        serde_json::from_slice::<Value>(&answer.body).unwrap()["errorMessage"],
        "State transition from InitError to Ready failed for runtime. Error: State transition is not allowed"
    );
    assert_eq!(check(ask(&mut stage, "GET /2018-06-01/runtime/else")).0, 404);
    assert_eq!(check(ask(&mut stage, &format!("POST {RUNTIME}/invocation/next"))).0, 405);
    assert_eq!(ask(&mut stage, "GET /"), Reply::Elsewhere);
}

#[test]
fn answers_that_are_refused_and_errors() {
    let mut stage = stage();
    ask(&mut stage, &format!("GET {RUNTIME}/invocation/next"));
    stage.next_said();
    offer(&mut stage, "a");
    stage.take_invocation();
    let mode = [("lambda-runtime-function-response-mode", "other")];
    let request = asked(&post("a", "response"), &mode, Arrived::Whole("1".into()));
    assert_eq!(check(stage.ask(&request)), (400, "InvalidFunctionResponseMode".into()));
    let request = asked(&post("a", "response"), &[], Arrived::TooLarge);
    assert_eq!(check(stage.ask(&request)), (413, "RequestEntityTooLarge".into()));
    assert_eq!(stage.next_said(), Some(Said::Runtime(Kind::Response, Body::TooLarge)));
    ask(&mut stage, &format!("GET {RUNTIME}/invocation/next"));
    offer(&mut stage, "b");
    stage.take_invocation();
    assert_eq!(check(ask(&mut stage, &post("b", "error"))), (202, "OK".into()));
    assert_eq!(stage.next_said(), Some(Said::Runtime(Kind::Error, Body::Whole("{}".into()))));
}

fn register(stage: &mut Stage, name: &str, events: &Value) -> Reply {
    let body = Arrived::Whole(json!({ "events": events }).to_string().into());
    let name = [("lambda-extension-name", name)];
    stage.ask(&asked("POST /2020-01-01/extension/register", &name, body))
}

fn identifier(reply: &Reply) -> String {
    let Reply::Now(answer) = reply else { panic!("{reply:?}") };
    assert_eq!(answer.status, StatusCode::OK);
    answer
        .headers
        .iter()
        .find(|(name, _)| *name == "Lambda-Extension-Identifier")
        .unwrap()
        .1
        .clone()
}

fn next_event(stage: &mut Stage, id: &str) -> Reply {
    let id = [("lambda-extension-identifier", id)];
    stage.ask(&asked("GET /2020-01-01/extension/event/next", &id, Arrived::Whole(Bytes::new())))
}

#[test]
fn an_extension_takes_one_event_after_the_other() {
    let mut stage = stage();
    let id = identifier(&register(&mut stage, "a", &json!(["INVOKE"])));
    assert!(!stage.extensions.are_done());
    assert_eq!(next_event(&mut stage, &id), Reply::Later(Waits::Event(0)));
    assert_eq!(stage.next_said(), Some(Said::ExtensionsAsked));
    assert!(stage.extensions.take_event(0).is_none());
    for request_id in ["one", "two"] {
        offer(&mut stage, request_id);
        assert!(!stage.extensions.are_done());
        let event = stage.extensions.take_event(0).unwrap();
        let event: Value = serde_json::from_slice(&event.body).unwrap();
        assert_eq!(
            (&event["eventType"], &event["requestId"]),
            (&json!("INVOKE"), &json!(request_id))
        );
        assert!(stage.extensions.take_event(0).is_none());
        assert!(!stage.extensions.are_done());
        next_event(&mut stage, &id);
        assert!(stage.extensions.are_done());
    }
}

#[test]
fn registrations_that_are_refused() {
    let mut stage = stage();
    let refused = |reply, kind: &str| assert_eq!(check(reply), (403, kind.to_owned()));
    refused(register(&mut stage, "a", &json!(["OTHER"])), "Extension.InvalidEventType");
    refused(register(&mut stage, "a", &json!(["SHUTDOWN"])), "Extension.InvalidEventType");
    refused(register(&mut stage, "a", &json!("INVOKE")), "InvalidRequestFormat");
    let nameless = asked("POST /2020-01-01/extension/register", &[], Arrived::Whole("{}".into()));
    refused(stage.ask(&nameless), "Extension.InvalidExtensionName");
    identifier(&register(&mut stage, "a", &json!([])));
    refused(register(&mut stage, "a", &json!([])), "Extension.InvalidExtensionState");
    for index in 1..EXTENSIONS {
        identifier(&register(&mut stage, &index.to_string(), &json!([])));
    }
    refused(register(&mut stage, "b", &json!([])), "Extension.TooManyExtensions");
    stage.extensions.close();
    refused(register(&mut stage, "b", &json!([])), "Extension.RegistrationClosed");
    refused(next_event(&mut stage, ""), "Extension.MissingExtensionIdentifier");
    refused(next_event(&mut stage, "x"), "Extension.InvalidExtensionIdentifier");
    refused(next_event(&mut stage, &"f".repeat(32)), "Extension.UnknownExtensionIdentifier");
}

const EXTENSIONS: usize = crate::limits::EXTENSIONS_MAX;

#[test]
fn an_extension_may_give_up_once() {
    let mut stage = stage();
    let id = identifier(&register(&mut stage, "a", &json!([])));
    let mut give_up = |what: &str, kind: &str| {
        let headers = [
            ("lambda-extension-identifier", id.as_str()),
            ("lambda-extension-function-error-type", kind),
        ];
        let line = format!("POST /2020-01-01/extension/{what}/error");
        check(stage.ask(&asked(&line, &headers, Arrived::Whole("{}".into()))))
    };
    assert_eq!(give_up("init", ""), (403, "Extension.MissingHeader".into()));
    assert_eq!(give_up("init", "Extension.Own"), (202, "OK".into()));
    assert_eq!(give_up("exit", "Extension.Own"), (403, "Extension.InvalidExtensionState".into()));
    let Some(Said::ExtensionFailed(failure)) = stage.next_said() else { panic!() };
    assert_eq!((failure.kind, failure.message.as_str()), ("Extension.InitError", "Extension.Own"));
}

proptest! {
    /// Whatever is asked in whatever order, at most one answer comes of an invocation.
    #[test]
    fn one_invocation_one_answer(calls in prop::collection::vec(0..6_usize, 0..40)) {
        let mut stage = stage();
        let (mut offered, mut answered) = (0, 0);
        for call in calls {
            let line = [
                format!("GET {RUNTIME}/invocation/next"), post("id", "response"), post("id", "error"),
                post("no", "response"), format!("POST {RUNTIME}/init/error"),
            ];
            match line.get(call) {
                Some(line) => drop(ask(&mut stage, line)),
                None if stage.current.is_none() => {
                    offer(&mut stage, "id");
                    offered += 1;
                }
                None => {}
            }
            if matches!(stage.runtime, Runtime::Waiting { .. }) {
                stage.take_invocation();
            }
            while let Some(said) = stage.next_said() {
                let is_answer = matches!(said, Said::Runtime(Kind::Response | Kind::Error, _));
                answered += usize::from(is_answer);
            }
            prop_assert!(answered <= offered);
        }
    }
}

#[test]
fn an_answer_in_pieces() {
    let said = |stage: &mut Stage| std::iter::from_fn(|| stage.next_said()).collect::<Vec<_>>();
    let frame = |kind, body: &'static [u8]| Said::Runtime(kind, Body::Whole(body.into()));
    let line = format!("POST {RUNTIME}/invocation/a/response");
    let headers = [(RESPONSE_MODE, "streaming"), ("content-type", "text/plain")];
    let whole = |body: &'static [u8]| asked(&line, &headers, Arrived::Whole(body.into()));
    let mut stage = stage();
    ask(&mut stage, &format!("GET {RUNTIME}/invocation/next"));
    offer(&mut stage, "a");
    assert!(!stage.is_stream(&whole(b"").head), "it is not taken yet");
    stage.take_invocation().unwrap();
    let head = whole(b"").head;
    assert!(stage.is_stream(&head));
    let other = format!("POST {RUNTIME}/invocation/b/response");
    assert!(!stage.is_stream(&asked(&other, &headers, Arrived::TooLarge).head));
    assert!(!stage.is_stream(&asked(&line, &[], Arrived::TooLarge).head));
    said(&mut stage);

    stage.piece(&head.headers, "one".into());
    let first = [frame(Kind::StreamBegin, b"text/plain"), frame(Kind::StreamChunk, b"one")];
    assert_eq!(said(&mut stage), first, "before the request is whole");
    stage.piece(&head.headers, vec![b'x'; STREAM_CHUNK_BYTES_MAX + 1].into());
    assert_eq!(said(&mut stage).len(), 2);
    assert_eq!(check(stage.ask(&whole(b"two"))).0, 202);
    let last = [frame(Kind::StreamChunk, b"two"), frame(Kind::StreamEnd, b"")];
    assert_eq!(said(&mut stage), last);
    stage.piece(&head.headers, "late".into());
    assert_eq!(said(&mut stage), []);
}

#[test]
fn an_answer_in_pieces_that_does_not_say_so() {
    let trailer =
        ("trailer", "Lambda-Runtime-Function-Error-Body, Lambda-Runtime-Function-Error-Type");
    let bytes = ("content-type", "application/octet-stream");
    let line = format!("POST {RUNTIME}/invocation/a/response");
    let mut stage = stage();
    ask(&mut stage, &format!("GET {RUNTIME}/invocation/next"));
    offer(&mut stage, "a");
    stage.take_invocation().unwrap();
    for (headers, expected) in [
        (vec![trailer, bytes], true),
        (vec![bytes], false),
        (vec![trailer], false),
        (vec![trailer, ("content-type", "application/json")], false),
        (vec![trailer, bytes, ("content-length", "3")], false),
        (vec![trailer, bytes, (RESPONSE_MODE, "other")], false),
    ] {
        let head = asked(&line, &headers, Arrived::TooLarge).head;
        assert_eq!(stage.is_stream(&head), expected, "{headers:?}");
    }
}

#[test]
fn answers_in_pieces_that_fail() {
    for (body, expected) in [
        (&b""[..], vec![Kind::Error]),
        (b"x", vec![Kind::StreamBegin, Kind::StreamChunk, Kind::StreamError]),
    ] {
        let mut stage = stage();
        ask(&mut stage, &format!("GET {RUNTIME}/invocation/next"));
        offer(&mut stage, "a");
        stage.take_invocation().unwrap();
        while stage.next_said().is_some() {}
        let line = format!("POST {RUNTIME}/invocation/a/response");
        let failed = Asked {
            error_type: Some("E".to_owned()),
            ..asked(&line, &[(RESPONSE_MODE, "streaming")], Arrived::Whole(body.into()))
        };
        assert_eq!(check(stage.ask(&failed)).0, 202);
        let mut kinds = Vec::new();
        while let Some(Said::Runtime(kind, _)) = stage.next_said() {
            kinds.push(kind);
        }
        assert_eq!(kinds, expected);
    }
}
