//! What is Gatemill's own, and what every AWS API call has in common.

use std::io::Write as _;

use crate::world::{AUTHORIZATION, Answer, Server, directory, head, logs_headers};

#[test]
fn health_says_what_it_is_made_of() {
    let dir = directory();
    let server = Server::start("dev", dir.path());
    let answer = server.get("/_gatemill/health");
    assert_eq!(answer.status, 200);
    let health = answer.json();
    assert_eq!(health["status"], "ready");
    assert_eq!(health["mode"], "dev");
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    assert!(health["enforced"]["seccomp"].is_boolean(), "{health}");
    assert!(health["runtimes"].is_array(), "{health}");
}

#[test]
fn what_is_not_there_says_so() {
    let dir = directory();
    let server = Server::start("dev", dir.path());
    assert_eq!(server.get("/_gatemill/").status, 404);
    let answer = server.send("DELETE", "/_gatemill/health", &[], b"");
    assert_eq!(answer.status, 405);
    assert!(answer.head.contains("allow: GET, HEAD"), "{answer:?}");
}

#[test]
fn reset_empties_a_dev_server() {
    let dir = directory();
    let server = Server::start("dev", dir.path());
    assert_eq!(server.logs("CreateLogGroup", r#"{"logGroupName":"a"}"#).status, 200);
    assert_eq!(server.send("POST", "/_gatemill/reset", &[], b"").status, 200);
    let groups = server.logs("DescribeLogGroups", "{}").json();
    assert_eq!(groups["logGroups"], serde_json::json!([]));
}

#[test]
fn a_web_page_cannot_reset_and_serve_is_never_reset() {
    let dir = directory();
    let server = Server::start("dev", dir.path());
    server.logs("CreateLogGroup", r#"{"logGroupName":"a"}"#);
    for header in ["origin: https://example.com", "sec-fetch-site: cross-site"] {
        assert_eq!(server.send("POST", "/_gatemill/reset", &[header], b"").status, 403);
    }
    let groups = server.logs("DescribeLogGroups", "{}").json();
    assert_eq!(groups["logGroups"][0]["logGroupName"], "a");
    drop(server);

    let dir = directory();
    let server = Server::start("serve", dir.path());
    assert_eq!(server.send("POST", "/_gatemill/reset", &[], b"").status, 403);
}

#[test]
fn a_page_whose_name_resolves_to_this_machine_is_refused() {
    let dir = directory();
    let server = Server::start("dev", dir.path());
    for path in ["/_gatemill/health", "/2015-03-31/functions"] {
        let mut stream = server.connect();
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: evil.example:80\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        assert_eq!(Answer::read(&mut stream).status, 403);
    }
}

#[test]
fn an_unsigned_call_is_refused() {
    let dir = directory();
    let server = Server::start("dev", dir.path());
    let answer = server.get("/2015-03-31/functions");
    assert_eq!(answer.status, 403);
    assert!(answer.head.contains("x-amzn-errortype: MissingAuthenticationTokenException"));
    assert_eq!(answer.body, r#"{"message":"Missing Authentication Token"}"#);
}

#[test]
fn an_operation_that_is_not_built_answers_501_and_names_itself() {
    let dir = directory();
    let server = Server::start("dev", dir.path());
    let answer = server.logs("StartQuery", "{}");
    assert_eq!(answer.status, 501);
    assert!(answer.body.contains("NotImplementedException"), "{answer:?}");
    assert!(answer.body.contains("logs:StartQuery"), "{answer:?}");
}

#[test]
fn a_service_of_which_nothing_is_built_answers_501_too() {
    let dir = directory();
    let server = Server::start("dev", dir.path());
    let authorization =
        format!("authorization: {}", AUTHORIZATION.replace("SERVICE", "apigateway"));
    let headers = [authorization.as_str(), "x-amz-date: 20260101T000000Z"];
    let answer = server.send("GET", "/restapis", &headers, b"");
    assert_eq!(answer.status, 501);
    assert!(answer.body.contains("apigateway:GetRestApis"), "{answer:?}");
    assert_eq!(server.send("GET", "/v2/apis", &headers, b"").status, 200);
}

#[test]
fn a_body_that_is_too_large_gets_an_answer_and_not_a_broken_connection() {
    let dir = directory();
    let server = Server::start("dev", dir.path());
    let authorization = format!("authorization: {}", AUTHORIZATION.replace("SERVICE", "logs"));
    let headers = [
        "x-amz-target: Logs_20140328.PutLogEvents",
        &authorization,
        "x-amz-date: 20260101T000000Z",
    ];
    let length = 70_167_212;
    let mut stream = server.connect();
    stream.write_all(&head("POST", "/", &headers, length)).unwrap();
    let piece = vec![b' '; 1 << 20];
    let mut left = length;
    while left > 0 {
        let now = left.min(piece.len());
        stream.write_all(&piece[..now]).unwrap();
        left -= now;
    }
    let answer = Answer::read(&mut stream);
    assert_eq!(answer.status, 413);
    let message = "Request must be smaller than 70167211 bytes for the PutLogEvents operation";
    assert!(answer.body.contains(message), "{answer:?}");
}

#[test]
fn a_mutating_call_runs_to_its_end_when_the_client_hangs_up() {
    let dir = directory();
    let server = Server::start("dev", dir.path());
    for round in 0..20 {
        let body = format!(r#"{{"logGroupName":"group-{round}"}}"#);
        let mut stream = server.connect();
        let head = head("POST", "/", &logs_headers("CreateLogGroup"), body.len());
        stream.write_all(&[&head, body.as_bytes()].concat()).unwrap();
        drop(stream);
    }
    let give_up = std::time::Instant::now() + crate::world::PATIENCE;
    loop {
        let groups = server.logs("DescribeLogGroups", "{}").json();
        let count = groups["logGroups"].as_array().unwrap().len();
        if count == 20 {
            break;
        }
        assert!(std::time::Instant::now() < give_up, "only {count} groups were made");
    }
}

#[test]
fn in_dev_an_access_key_of_twelve_digits_is_the_account() {
    let dir = directory();
    let server = Server::start("dev", dir.path());
    server.logs("CreateLogGroup", r#"{"logGroupName":"a"}"#);
    let other = AUTHORIZATION.replace("SERVICE", "logs").replace("=test/", "=123456789012/");
    let headers = [
        "x-amz-target: Logs_20140328.DescribeLogGroups",
        &format!("authorization: {other}"),
        "x-amz-date: 20260101T000000Z",
    ];
    let groups = server.send("POST", "/", &headers, b"{}").json();
    assert_eq!(groups["logGroups"], serde_json::json!([]));
}
