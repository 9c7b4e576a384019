//! Requests that nobody sends by accident.

use http::{Request, header};
use http_body_util::Full;
use proptest::prelude::*;
use serde_json::json;

use crate::world::World;

/// The body of a client that never sends it.
struct Never;

impl http_body::Body for Never {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, Self::Error>>> {
        std::task::Poll::Pending
    }
}

#[tokio::test]
async fn limits_of_the_head() {
    let world = World::new();
    world.functions.answers("f", "1");
    let api = world.function_api("$default", "f", "2.0").await;
    let long = "x".repeat(10_240);
    let got = world.get(&api, &format!("/{long}")).await;
    assert_eq!((got.status.as_u16(), got.text()), (414, r#"{"message":"URI Too Long"}"#));
    let got = world.request(&api, Request::get("/").header("x", &long)).await;
    assert_eq!(
        (got.status.as_u16(), got.text()),
        (431, r#"{"message":"Request Header Fields Too Large"}"#)
    );
    let got = world.request(&api, Request::get("/").header("x", "x".repeat(9_000))).await;
    assert_eq!(got.status, 200);
}

#[tokio::test]
async fn limits_of_the_body() {
    let world = World::new();
    world.functions.answers("f", "1");
    let api = world.function_api("$default", "f", "2.0").await;
    let too_large = (413, r#"{"message":"Request Entity Too Large"}"#);
    let limit = 10 * 1024 * 1024;
    let got = world.send(&api, Request::post("/"), vec![b'x'; limit + 1]).await;
    assert_eq!((got.status.as_u16(), got.text()), too_large);
    // Far too much is not even read: what says so beforehand is refused at once, and the rest when it has come so far.
    let far = gatemill_gateway::limits::BODY_DISCARD_BYTES_MAX + 1;
    let got = world.request(&api, Request::post("/").header(header::CONTENT_LENGTH, far)).await;
    assert_eq!((got.status.as_u16(), got.text()), too_large);
    let got = world.send(&api, Request::post("/"), vec![b'x'; far]).await;
    assert_eq!((got.status.as_u16(), got.text()), too_large);
    assert!(world.functions.events.lock().unwrap().is_empty());
    // A function takes 6 MB, of the whole event.
    let text = |n| (Request::post("/").header("content-type", "text/plain"), vec![b'x'; n]);
    let (request, body) = text(6 * 1024 * 1024);
    let got = world.send(&api, request, body).await;
    assert_eq!((got.status.as_u16(), got.text()), too_large);
    let (request, body) = text(6 * 1024 * 1024 - 4096);
    assert_eq!(world.send(&api, request, body).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let world = World::new();
    world.functions.answers("f", "1");
    let api = world.function_api("$default", "f", "2.0").await;
    let host = format!("{api}.execute-api.localhost");
    let request = Request::post("/").header("host", host).header("content-length", "5");
    let got = world.pass_any(request.body(Never).unwrap()).await;
    assert_eq!((got.status.as_u16(), got.text()), (408, r#"{"message":"Request Timeout"}"#));
    assert!(world.functions.events.lock().unwrap().is_empty());
}

#[tokio::test]
async fn ambiguous_requests_are_refused() {
    let world = World::new();
    world.functions.answers("f", "1");
    let api = world.function_api("$default", "f", "2.0").await;
    let bad = (400, r#"{"message":"Bad Request"}"#);
    for request in [
        Request::get("/").header("host", "other"),
        Request::post("/").header("content-length", "1").header("content-length", "2"),
        Request::post("/").header("content-length", "1").header("transfer-encoding", "chunked"),
        Request::options("*"),
    ] {
        let host = format!("{api}.execute-api.localhost");
        let mut request = request.body(Full::default()).unwrap();
        let mut headers = http::HeaderMap::new();
        headers.insert("host", host.parse().unwrap());
        for (name, value) in request.headers() {
            headers.append(name, value.clone());
        }
        *request.headers_mut() = headers;
        let got = world.pass(request).await;
        assert_eq!((got.status.as_u16(), got.text()), bad);
    }
}

#[tokio::test]
async fn strangers_are_not_found() {
    let world = World::new();
    for api in ["abcdefghij", "x", "0000000000"] {
        let got = world.get(api, "/").await;
        assert_eq!((got.status.as_u16(), got.text()), (404, r#"{"message":"Not Found"}"#));
    }
}

#[test]
fn claims_by_host_and_by_path() {
    let world = World::new();
    let claims = |host: &str, path: &str| {
        let request = Request::get(path).header("host", host).body(()).unwrap();
        world.gateway.claims(&request.into_parts().0).is_some()
    };
    for host in [
        "abc.execute-api.localhost",
        "abc.execute-api.localhost:4566",
        "ABC.Execute-Api.LOCALHOST.localstack.cloud:1",
        "abc.execute-api.eu-west-1.amazonaws.com",
    ] {
        assert!(claims(host, "/v2/apis"), "{host}");
    }
    for host in [
        "localhost",
        "abc.localhost",
        "abc.execute-api.",
        "abc.execute-api",
        ".execute-api.x",
        "a-b.execute-api.x",
        "execute-api.x",
        "",
    ] {
        assert!(!claims(host, "/v2/apis"), "{host}");
    }
    for path in ["/_aws/execute-api/abc/dev/x", "/execute-api/abc/dev", "/execute-api/abc"] {
        assert!(claims("localhost", path), "{path}");
    }
    for path in [
        "/_aws/execute-api/",
        "/_aws/execute-api",
        "/execute-api//x",
        "/x/execute-api/abc/dev",
        "/execute-api/a.b/dev",
    ] {
        assert!(!claims("localhost", path), "{path}");
    }
}

#[tokio::test]
async fn a_function_with_too_many_headers_does_no_harm() {
    let world = World::new();
    let headers: serde_json::Map<_, _> =
        (0..40_000).map(|n| (format!("h{n}"), json!("v"))).collect();
    world.functions.answers("f", &json!({"statusCode": 200, "headers": headers}).to_string());
    let api = world.function_api("$default", "f", "2.0").await;
    assert_eq!(world.get(&api, "/").await.status, 500);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn anything_gets_an_answer(
        path in "/[!-~]{0,40}",
        headers in prop::collection::vec(("[a-z-]{1,12}", prop::collection::vec(0x20u8..=0xff, 0..20)), 0..8),
        body in prop::collection::vec(any::<u8>(), 0..64),
        payload in "\\PC{0,40}|\\{\"statusCode\":[0-9]{1,5},\"headers\":\\{\"\\PC{0,8}\":\"\\PC{0,8}\"\\},\"body\":\"[A-Za-z0-9=/+]{0,9}\",\"isBase64Encoded\":true\\}",
        format in prop_oneof![Just("1.0"), Just("2.0")],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new();
            world.functions.answers("f", &payload);
            let api = world.function_api("$default", "f", format).await;
            let Ok(mut request) = Request::post(&path).body(Full::from(body)) else { return };
            for (name, value) in &headers {
                let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
                if let Ok(value) = http::HeaderValue::from_bytes(value) {
                    request.headers_mut().append(name, value);
                }
            }
            request.headers_mut().insert("host", format!("{api}.execute-api.x").parse().unwrap());
            let got = world.pass(request).await;
            assert!(got.status.as_u16() >= 200);
            assert_eq!(got.header("apigw-requestid").len(), 1);
            if got.status == 500 {
                assert_eq!(got.text(), r#"{"message":"Internal Server Error"}"#);
            }
        });
    }
}
