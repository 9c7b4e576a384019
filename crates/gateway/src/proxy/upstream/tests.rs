//! The client against servers that say byte by byte what they say.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::limits::{UPSTREAM_IDLE, UPSTREAM_IDLE_PER_HOST_MAX};

fn upstream() -> Upstream {
    Upstream::new(&Egress::default(), None).unwrap()
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

fn to(address: &str, path: &str) -> Request<Full<Bytes>> {
    Request::get(format!("http://{address}{path}")).body(Full::default()).unwrap()
}

/// The head of the next request; empty when the client has hung up.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

async fn text(response: Response<UpstreamBody>) -> String {
    let body = response.into_body().collect().await.unwrap();
    String::from_utf8(body.to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn requests_after_one_another_share_a_connection() {
    let (listener, address) = listen().await;
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut heads = Vec::new();
        // With a length, in chunks, with none, and without a body.
        for answer in [
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
        ] {
            heads.push(head(&mut stream).await);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        heads
    });
    let upstream = upstream();
    for (path, wanted) in [("/1?a=b", "one"), ("/2", "two"), ("", ""), ("/4", "")] {
        let response = upstream.send(to(&address, path), None).await.unwrap();
        assert!(matches!(response.body(), UpstreamBody::Whole(_)), "{path}");
        assert_eq!(text(response).await, wanted);
    }
    let heads = serving.await.unwrap();
    assert_eq!(heads[0], format!("GET /1?a=b HTTP/1.1\r\nhost: {address}\r\n\r\n"));
    assert!(heads[2].starts_with("GET / HTTP/1.1\r\n"), "{}", heads[2]);
}

#[tokio::test]
async fn a_body_in_pieces_is_passed_on_and_frees_its_connection() {
    let (listener, address) = listen().await;
    let (go_on, mut may_go_on) = tokio::sync::mpsc::channel::<()>(1);
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for _ in 0..2 {
            head(&mut stream).await;
            let begin = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n";
            stream.write_all(begin).await.unwrap();
            may_go_on.recv().await.unwrap();
            stream.write_all(b"5\r\n, two\r\n").await.unwrap();
            may_go_on.recv().await.unwrap();
            stream.write_all(b"0\r\n\r\n").await.unwrap();
        }
    });
    let upstream = upstream();
    for _ in 0..2 {
        let response = upstream.send(to(&address, "/"), None).await.unwrap();
        assert!(matches!(response.body(), UpstreamBody::Coming(_)));
        let mut body = response.into_body();
        let mut pieces = Vec::new();
        for _ in 0..2 {
            let frame = body.frame().await.unwrap().unwrap();
            pieces.push(frame.into_data().unwrap());
            go_on.send(()).await.unwrap();
        }
        assert_eq!(pieces, ["one", ", two"]);
        assert!(body.frame().await.is_none());
    }
    serving.await.unwrap();
}

#[tokio::test]
async fn a_connection_that_was_closed_while_it_waited_fails_no_request() {
    let (listener, address) = listen().await;
    let (close, may_close) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        let (mut first, _) = listener.accept().await.unwrap();
        head(&mut first).await;
        first.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        may_close.await.unwrap();
        drop(first);
        let (mut second, _) = listener.accept().await.unwrap();
        head(&mut second).await;
        second.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
    });
    let upstream = upstream();
    let mut post = to(&address, "/");
    *post.method_mut() = http::Method::POST;
    assert_eq!(text(upstream.send(post.clone(), None).await.unwrap()).await, "ok");
    let kept = Arc::clone(upstream.kept.get().unwrap());
    assert_eq!(kept.count(), 1);
    close.send(()).unwrap();
    // It has to arrive before the next request leaves.
    while !kept.has_closed_ones() {
        tokio::task::yield_now().await;
    }
    assert_eq!(text(upstream.send(post, None).await.unwrap()).await, "ok");
    serving.await.unwrap();
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_answer_and_is_not_asked_for_again() {
    let (listener, address) = listen().await;
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-le").await.unwrap();
        drop(stream);
        listener
    });
    let failure = upstream().send(to(&address, "/"), None).await.unwrap_err();
    assert!(matches!(failure, Failure::Unreachable(_)), "{failure}");
    let listener = serving.await.unwrap();
    let again = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(again.is_err(), "the request was sent twice");
}

#[tokio::test]
async fn connections_that_wait_too_long_are_closed() {
    let (listener, address) = listen().await;
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        head(&mut stream).await
    });
    let upstream = upstream();
    upstream.send(to(&address, "/"), None).await.unwrap();
    // No wait: this clock jumps to the next timer when nothing else is to be done.
    tokio::time::pause();
    tokio::time::sleep(UPSTREAM_IDLE + Duration::from_secs(1)).await;
    tokio::time::resume();
    assert_eq!(serving.await.unwrap(), "", "the client hangs up");
}

#[tokio::test]
async fn no_more_connections_are_kept_than_may_be() {
    let (listener, address) = listen().await;
    let serving = tokio::spawn(async move {
        let mut streams = Vec::new();
        for _ in 0..=UPSTREAM_IDLE_PER_HOST_MAX {
            let (mut stream, _) = listener.accept().await.unwrap();
            head(&mut stream).await;
            streams.push(stream);
        }
        // All of them were under way at once.
        for stream in &mut streams {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
        streams
    });
    let upstream = Arc::new(upstream());
    let ask = |_| {
        let (upstream, address) = (Arc::clone(&upstream), address.clone());
        tokio::spawn(async move { upstream.send(to(&address, "/"), None).await.map(drop) })
    };
    let asked: Vec<_> = (0..=UPSTREAM_IDLE_PER_HOST_MAX).map(ask).collect();
    for one in asked {
        one.await.unwrap().unwrap();
    }
    let streams = serving.await.unwrap();
    assert_eq!(upstream.kept.get().unwrap().count(), UPSTREAM_IDLE_PER_HOST_MAX);
    drop(streams);
}

#[test]
fn a_request_is_addressed_as_its_server_reads_it() {
    let addressed = |uri: &str, name| {
        let (uri, mut request) = (uri.parse::<Uri>().unwrap(), Request::new(Full::default()));
        let origin = address(&mut request, &uri, name).ok()?;
        let host = request.headers()[header::HOST].to_str().unwrap().to_owned();
        Some((host, request.uri().to_string(), origin))
    };
    let (host, path, plain) = addressed("http://h:80/a?b", Some("n")).unwrap();
    assert_eq!((host.as_str(), path.as_str(), plain.is_tls), ("h", "/a?b", false));
    // Nothing is proved without TLS.
    assert_eq!(plain.name, None);
    let (host, path, secured) = addressed("https://u:p@h:80", Some("n")).unwrap();
    assert_eq!((host.as_str(), path.as_str(), secured.is_tls), ("h:80", "/", true));
    assert_eq!(secured.name, Some(ServerName::try_from("n").unwrap()));
    assert_eq!(addressed("https://[::1]:443/", None).unwrap().0, "[::1]");
    assert!(addressed("/a", None).is_none());
    assert!(addressed("https://h", Some("not a name")).is_none());
}
