//! The proxy path behind a real HTTP/1.1 server: what a client reads from the socket.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use gatemill_gateway::Arrival;
use http::{Request, Response, StatusCode};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::world::{NOW, World};

async fn serve(world: Arc<World>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let world = Arc::clone(&world);
            let service = service_fn(move |request: Request<Incoming>| {
                let world = Arc::clone(&world);
                async move {
                    let (parts, body) = request.into_parts();
                    let Some(target) = world.gateway.claims(&parts) else {
                        let mut strange = Response::new(gatemill_gateway::ProxyBody::default());
                        *strange.status_mut() = StatusCode::MISDIRECTED_REQUEST;
                        return Ok::<_, Infallible>(strange);
                    };
                    let arrival = Arrival {
                        source_ip: "192.0.2.1".to_owned(),
                        now: NOW,
                        protocol: "HTTP/1.1",
                        tls: false,
                        client_cert: None,
                    };
                    Ok(world.gateway.proxy(target, Request::from_parts(parts, body), arrival).await)
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

/// Sends bytes and reads all that comes until the server closes.
async fn ask(address: SocketAddr, bytes: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    tokio::time::timeout(Duration::from_secs(20), read).await.expect("not closed").unwrap();
    String::from_utf8(answer).unwrap()
}

/// The body of an answer, and its headers without those that differ from run to run.
fn split(answer: &str) -> (Vec<&str>, &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let varies = |line: &&str| !line.starts_with("apigw-requestid") && !line.starts_with("date");
    (head.split("\r\n").filter(varies).collect(), body)
}

#[tokio::test]
async fn answers_are_framed_as_their_kind_needs() {
    let world = Arc::new(World::new());
    let api = world.function_api("$default", "f", "2.0").await;
    let address = serve(Arc::clone(&world)).await;
    let request = |method: &str| {
        format!(
            "{method} / HTTP/1.1\r\nHost: {api}.execute-api.localhost\r\nConnection: close\r\n\r\n"
        )
    };
    world.functions.answers(
        "f",
        r#"{"statusCode":200,"headers":{"X-A":"1"},"cookies":["a=1","b=2"],"body":"hello"}"#,
    );
    let length = ["content-length: 5"];
    let head = [
        "HTTP/1.1 200 OK",
        "x-a: 1",
        "set-cookie: a=1",
        "set-cookie: b=2",
        "content-type: text/plain;charset=UTF-8",
    ];
    for (method, expected) in [("GET", "hello"), ("HEAD", "")] {
        let answer = ask(address, &request(method)).await;
        let (lines, body) = split(&answer);
        let lines: Vec<_> =
            lines.into_iter().filter(|line| !line.starts_with("connection")).collect();
        assert_eq!((lines, body), ([&head[..], &length[..]].concat(), expected), "{method}");
    }
    world
        .functions
        .answers("f", r#"{"statusCode":204,"headers":{"content-type":"a/b"},"body":"hello"}"#);
    let answer = ask(address, &request("GET")).await;
    let (lines, body) = split(&answer);
    assert_eq!((lines[0], body), ("HTTP/1.1 204 No Content", ""));
    assert!(!answer.contains("content-length"), "{answer}");
}

#[tokio::test]
async fn smuggled_requests_do_not_reach_a_function() {
    let world = Arc::new(World::new());
    world.functions.answers("f", "1");
    let api = world.function_api("POST /", "f", "2.0").await;
    let address = serve(Arc::clone(&world)).await;
    let host = format!("Host: {api}.execute-api.localhost\r\n");
    let inner = format!("GET /admin HTTP/1.1\r\n{host}\r\n");
    for headers in [
        format!("Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{inner}"),
        format!("Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{inner}"),
        format!("Content-Length: 0\r\nContent-Length: {}\r\n\r\n{inner}", inner.len()),
        format!("Content-Length: +{}\r\n\r\n{inner}", inner.len()),
        format!("Content-Length : 0\r\n\r\n{inner}"),
        format!("Transfer-Encoding\u{b}: chunked\r\n\r\n0\r\n\r\n{inner}"),
        "Host: other\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_owned(),
    ] {
        let answer = ask(address, &format!("POST / HTTP/1.1\r\n{host}{headers}")).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{headers:?} {answer}");
        assert_eq!(world.functions.events.lock().unwrap().len(), 0, "{headers:?}");
    }
    // With two lengths, the chunks count, and what follows them is not read as a request.
    let length = inner.len() + 5;
    let both =
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}");
    let answer = ask(address, &format!("POST / HTTP/1.1\r\n{host}{both}")).await;
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    let events = world.functions.events.lock().unwrap();
    assert!(events.iter().all(|event| event["rawPath"] == "/"));
}

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let world = Arc::new(World::new());
    world.functions.answers("f", "1");
    let api = world.function_api("$default", "f", "2.0").await;
    let address = serve(Arc::clone(&world)).await;
    let request = |more: &str| {
        format!(
            "POST / HTTP/1.1\r\nHost: {api}.execute-api.localhost\r\n{more}Content-Length: 2\r\n\r\nab"
        )
    };
    let last = request("Connection: close\r\n");
    let answer = ask(address, &(request("").repeat(2) + &last)).await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 3, "{answer}");
}
