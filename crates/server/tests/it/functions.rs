//! A function, from its package to its URL, through nothing but HTTP.

use std::{
    io::{Cursor, Read as _, Write as _},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use zip::{ZipArchive, ZipWriter, write::SimpleFileOptions};

use crate::world::{AUTHORIZATION, Answer, PATIENCE, Server, directory, head};

const CODE: &str = "
import time

def handler(event, context):
    print('called with', event)
    time.sleep(event.get('seconds', 0))
    return {'echo': event.get('echo', event.get('rawPath'))}
";

fn zip(code: &str) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("app.py", SimpleFileOptions::default()).unwrap();
    zip.write_all(code.as_bytes()).unwrap();
    zip.finish().unwrap().into_inner()
}

fn headers(service: &str) -> [String; 3] {
    [
        format!("authorization: {}", AUTHORIZATION.replace("SERVICE", service)),
        "x-amz-date: 20260101T000000Z".to_owned(),
        "content-type: application/json".to_owned(),
    ]
}

fn call(server: &Server, service: &str, method: &str, path: &str, body: &Value) -> Answer {
    let headers = headers(service);
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let body = if body.is_null() { String::new() } else { body.to_string() };
    server.send(method, path, &headers, body.as_bytes())
}

/// Creates a Python function and returns when it is active.
fn create(server: &Server, name: &str) -> Value {
    let request = json!({
        "FunctionName": name,
        "Runtime": "python3.12",
        "Handler": "app.handler",
        "Role": "arn:aws:iam::000000000000:role/test",
        "Timeout": 20,
        "Code": { "ZipFile": STANDARD.encode(zip(CODE)) },
    });
    let answer = call(server, "lambda", "POST", "/2015-03-31/functions", &request);
    assert_eq!(answer.status, 201, "{answer:?}");
    let give_up = Instant::now() + PATIENCE;
    loop {
        let function = get(server, name);
        if function["Configuration"]["State"] == "Active" {
            return function;
        }
        assert!(Instant::now() < give_up, "{function}");
    }
}

fn get(server: &Server, name: &str) -> Value {
    let path = format!("/2015-03-31/functions/{name}");
    let answer = call(server, "lambda", "GET", &path, &Value::Null);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn invoke(server: &Server, name: &str, event: &Value) -> Answer {
    let path = format!("/2015-03-31/functions/{name}/invocations");
    call(server, "lambda", "POST", &path, event)
}

#[test]
fn a_function_is_created_called_and_its_code_comes_back() {
    let dir = directory();
    let server = Server::start("dev", dir.path());
    let function = create(&server, "f");
    let answer = invoke(&server, "f", &json!({ "echo": "hello" }));
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"echo": "hello"}"#), "{answer:?}");

    let location = function["Code"]["Location"].as_str().unwrap();
    let path = location.strip_prefix("http://localhost").unwrap();
    let mut stream = server.connect();
    stream.write_all(&head("GET", path, &[], 0)).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let start = bytes.windows(4).position(|it| it == b"\r\n\r\n").unwrap() + 4;
    assert!(bytes.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&bytes[..start]));
    assert_eq!(&bytes[start..], zip(CODE));
    assert_eq!(ZipArchive::new(Cursor::new(&bytes[start..])).unwrap().len(), 1);
    let tampered = path.replace("signature=", "signature=0");
    assert_eq!(server.get(&tampered).status, 403);
}

#[test]
fn its_lines_reach_the_log() {
    let dir = directory();
    let server = Server::start("dev", dir.path());
    create(&server, "f");
    invoke(&server, "f", &json!({ "echo": "hello" }));
    let give_up = Instant::now() + PATIENCE;
    loop {
        let found = server.logs("FilterLogEvents", r#"{"logGroupName":"/aws/lambda/f"}"#);
        if found.body.contains("REPORT RequestId") {
            assert!(found.body.contains("called with"), "{found:?}");
            return;
        }
        assert!(Instant::now() < give_up, "{found:?}");
    }
}

#[test]
fn an_api_in_front_of_it_answers_once_it_may_invoke() {
    let dir = directory();
    let server = Server::start("dev", dir.path());
    let function = create(&server, "f");
    let arn = &function["Configuration"]["FunctionArn"];
    let request = json!({ "name": "api", "protocolType": "HTTP", "target": arn });
    let api = call(&server, "apigateway", "POST", "/v2/apis", &request);
    assert_eq!(api.status, 201, "{api:?}");
    let id = api.json()["apiId"].as_str().unwrap().to_owned();
    let path = format!("/_aws/execute-api/{id}/$default/some/path");
    let refused = server.get(&path);
    assert_eq!(refused.status, 500);
    assert_eq!(refused.body, r#"{"message":"Internal Server Error"}"#);

    let request = json!({
        "StatementId": "api",
        "Action": "lambda:InvokeFunction",
        "Principal": "apigateway.amazonaws.com",
        "SourceArn": format!("arn:aws:execute-api:us-east-1:000000000000:{id}/*"),
    });
    let permit = call(&server, "lambda", "POST", "/2015-03-31/functions/f/policy", &request);
    assert_eq!(permit.status, 201, "{permit:?}");
    let answer = server.get(&path);
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"echo": "/some/path"}"#));
}

#[test]
fn sigterm_waits_for_a_function_that_runs() {
    let dir = directory();
    let mut server = Server::start("dev", dir.path());
    create(&server, "f");
    invoke(&server, "f", &json!({}));
    let event = br#"{"seconds": 2, "echo": "late"}"#;
    let headers = headers("lambda");
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let mut running = server.connect();
    let head = head("POST", "/2015-03-31/functions/f/invocations", &headers, event.len());
    running.write_all(&[&head[..], event].concat()).unwrap();
    let give_up = Instant::now() + PATIENCE;
    while server.get("/_gatemill/health").json()["functions"]["callsInFlight"] != 1 {
        assert!(Instant::now() < give_up, "the call does not begin");
    }
    server.signal("-TERM");
    assert_eq!(Answer::read(&mut running).body, r#"{"echo": "late"}"#);
    assert!(server.wait().success());
}

#[test]
fn kill_9_loses_no_function_and_leaves_no_environment() {
    let dir = directory();
    let mut server = Server::start("dev", dir.path());
    create(&server, "f");
    assert_eq!(invoke(&server, "f", &json!({})).status, 200);
    server.signal("-KILL");
    server.wait();

    let server = Server::start("dev", dir.path());
    let answer = invoke(&server, "f", &json!({ "echo": 1 }));
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"echo": 1}"#), "{answer:?}");
}

#[test]
fn reset_forgets_functions_and_their_names_are_free() {
    let dir = directory();
    let server = Server::start("dev", dir.path());
    create(&server, "f");
    invoke(&server, "f", &json!({}));
    assert_eq!(server.send("POST", "/_gatemill/reset", &[], b"").status, 200);
    let gone = call(&server, "lambda", "GET", "/2015-03-31/functions/f", &Value::Null);
    assert_eq!(gone.status, 404);
    assert_eq!(invoke(&server, "f", &json!({})).status, 404);
    let groups = server.logs("DescribeLogGroups", "{}").json();
    assert_eq!(groups["logGroups"], json!([]));
    create(&server, "f");
    assert_eq!(invoke(&server, "f", &json!({ "echo": 2 })).body, r#"{"echo": 2}"#);
}

#[test]
fn a_call_goes_on_when_its_client_hangs_up() {
    let dir = directory();
    let server = Server::start("dev", dir.path());
    create(&server, "f");
    invoke(&server, "f", &json!({}));
    let event = br#"{"seconds": 1, "echo": "nobody listens"}"#;
    let headers = headers("lambda");
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let mut stream = server.connect();
    let head = head("POST", "/2015-03-31/functions/f/invocations", &headers, event.len());
    stream.write_all(&[&head[..], event].concat()).unwrap();
    let give_up = Instant::now() + PATIENCE;
    let in_flight = || server.get("/_gatemill/health").json()["functions"]["callsInFlight"].clone();
    while in_flight() != 1 {
        assert!(Instant::now() < give_up, "the call does not begin");
    }
    drop(stream);
    while in_flight() != 0 {
        assert!(Instant::now() < give_up, "the call does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    loop {
        let found = server.logs("FilterLogEvents", r#"{"logGroupName":"/aws/lambda/f"}"#).json();
        let ends = found["events"].as_array().unwrap().iter();
        let ends = ends.filter(|it| it["message"].as_str().unwrap().starts_with("REPORT"));
        if ends.count() == 2 {
            return;
        }
        assert!(Instant::now() < give_up, "{found}");
    }
}
