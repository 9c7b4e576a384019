//! HTTP servers behind routes: real ones, on the loopback.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use gatemill_gateway::{Egress, Network};
use gatemill_store::Store;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc};

use crate::world::World;

pub(crate) type Answer = Response<BoxBody<Bytes, Infallible>>;

/// A server that answers with `answer`, for as long as the test runs.
pub(crate) async fn server<F, Fut>(answer: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Answer> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = Arc::clone(&answer);
            let service = service_fn(move |request| {
                let answer = answer(request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

pub(crate) fn whole(text: String) -> BoxBody<Bytes, Infallible> {
    Full::new(Bytes::from(text)).boxed()
}

/// A server that says what it was asked.
pub(crate) async fn echo() -> SocketAddr {
    server(|request| async {
        let (head, body) = request.into_parts();
        let mut headers = serde_json::Map::new();
        for (name, value) in &head.headers {
            let list = headers.entry(name.as_str()).or_insert_with(|| json!([]));
            list.as_array_mut().unwrap().push(json!(value.to_str().unwrap()));
        }
        let body = body.collect().await.unwrap().to_bytes();
        let said = json!({"method": head.method.as_str(), "uri": head.uri.to_string(), "headers": headers,
            "body": String::from_utf8_lossy(&body)});
        Response::builder()
            .status(203)
            .header("x-from", "server")
            .header("connection", "x-private")
            .header("x-private", "p")
            .body(whole(said.to_string()))
            .unwrap()
    })
    .await
}

#[tokio::test]
async fn the_request_goes_through() {
    let world = World::new();
    let address = echo().await;
    let api = world
        .http_api(
            "ANY /a/{id}/{proxy+}",
            &format!("http://{address}/b/{{proxy}}?fixed=1&id={{id}}"),
            "ANY",
        )
        .await;
    let request = Request::patch("/a/7/x/y%20z?q=%C3%A4")
        .header("Content-Type", "text/plain")
        .header("X-Forwarded-For", "198.51.100.7, 2001:db8::1")
        .header("X-Forwarded-Proto", "https")
        .header("Via", "1.1 cache")
        .header("Connection", "X-Private")
        .header("X-Private", "p")
        .header("TE", "trailers");
    let got = world.send(&api, request, "hello").await;
    assert_eq!(got.status, 203);
    assert_eq!((got.header("x-from"), got.header("x-private")), (vec!["server"], vec![]));
    assert_eq!(got.header("apigw-requestid").len(), 1);
    let said: Value = serde_json::from_str(got.text()).unwrap();
    assert_eq!(said["method"], "PATCH");
    assert_eq!(said["uri"], "/b/x/y%20z?fixed=1&id=7&q=%C3%A4");
    assert_eq!(said["body"], "hello");
    let headers = said["headers"].as_object().unwrap();
    assert_eq!(headers["host"], json!([address.to_string()]));
    assert_eq!(headers["content-length"], json!(["5"]));
    assert_eq!(headers["via"], json!(["1.1 cache", "HTTP/1.1 AmazonAPIGateway"]));
    let forwarded = format!(
        "for=198.51.100.7, for=\"[2001:db8::1]\", by=_gatemill;for=192.0.2.1;host=\"{api}.execute-api.localhost:4566\";proto=http"
    );
    assert_eq!(headers["forwarded"], json!([forwarded]));
    assert!(headers["x-amzn-trace-id"][0].as_str().unwrap().starts_with("Root=1-"));
    for gone in ["x-forwarded-for", "x-forwarded-proto", "x-private", "te", "connection"] {
        assert!(!headers.contains_key(gone), "{gone}");
    }
}

#[tokio::test]
async fn the_method_is_overridden_and_the_default_route_appends() {
    let world = World::new();
    let address = echo().await;
    let api = world.http_api("$default", &format!("http://{address}/base"), "POST").await;
    world.stage(&api, "dev").await;
    for (path, uri) in [("/x//y?z=1", "/base/x//y?z=1"), ("/", "/base/"), ("/dev/x", "/base/x")] {
        let got = world.get(&api, path).await;
        let said: Value = serde_json::from_str(got.text()).unwrap();
        assert_eq!((&said["method"], &said["uri"]), (&json!("POST"), &json!(uri)));
    }
}

#[tokio::test]
async fn stage_variables_stand_in_the_uri() {
    let world = World::new();
    let address = echo().await;
    let api = world.http_api("GET /", "http://${stageVariables.host}/v", "GET").await;
    assert_eq!(world.get(&api, "/").await.status, 500);
    let path = format!("/v2/apis/{api}/stages/%24default");
    world.ok("PATCH", &path, json!({"stageVariables": {"host": address.to_string()}})).await;
    assert_eq!(world.get(&api, "/").await.status, 203);
}

#[tokio::test]
async fn an_answer_is_streamed_through() {
    let world = World::new();
    let (sender, receiver) = mpsc::channel::<Bytes>(1);
    let receiver = Arc::new(tokio::sync::Mutex::new(Some(receiver)));
    let address = server(move |_| {
        let receiver = Arc::clone(&receiver);
        async move {
            let receiver = receiver.lock().await.take().unwrap();
            Response::new(Channel(receiver).boxed())
        }
    })
    .await;
    let api = world.http_api("GET /", &format!("http://{address}/"), "GET").await;
    let request =
        Request::get("/").header("host", format!("{api}.execute-api.localhost")).body(()).unwrap();
    let target = world.gateway.claims(&request.into_parts().0).unwrap();
    let arrival = gatemill_gateway::Arrival {
        source_ip: "192.0.2.1".to_owned(),
        now: crate::world::NOW,
        protocol: "HTTP/1.1",
        tls: false,
        client_cert: None,
    };
    let request = Request::get("/").body(Full::new(Bytes::new())).unwrap();
    let mut body = world.gateway.proxy(target, request, arrival).await.into_body();
    // Each part arrives before the next is sent.
    for part in ["one", "two"] {
        sender.send(Bytes::from(part)).await.unwrap();
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), part);
    }
    drop(sender);
    assert!(body.frame().await.is_none());
}

/// A body out of a channel.
struct Channel(mpsc::Receiver<Bytes>);

impl Body for Channel {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[tokio::test]
async fn what_cannot_be_reached_is_unavailable() {
    let world = World::new();
    let unavailable = (503, r#"{"message":"Service Unavailable"}"#);
    // A port where nobody listens.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    for uri in [
        format!("http://{address}/"),
        "http://no-such-host.invalid/".to_owned(),
        format!("https://{}/", echo().await),
    ] {
        let api = world.http_api("GET /", &uri, "GET").await;
        let got = world.get(&api, "/").await;
        assert_eq!((got.status.as_u16(), got.text()), unavailable, "{uri}");
    }
    // One that never answers, and one that breaks off.
    let silent = server(|_| std::future::pending::<Answer>()).await;
    let api = world.http_api("GET /", &format!("http://{silent}/"), "GET").await;
    let got = world.get(&api, "/").await;
    assert_eq!((got.status.as_u16(), got.text()), unavailable);
}

#[tokio::test]
async fn large_answers_end_at_the_limit() {
    let world = World::new();
    let bytes = |n: usize| Bytes::from(vec![b'x'; n]);
    let limit = 10 * 1024 * 1024;
    for (size, streamed, status) in
        [(limit, false, 200), (limit + 1, false, 500), (limit + 1, true, 200)]
    {
        let address = server(move |_| async move {
            if !streamed {
                return Response::new(Full::new(bytes(size)).boxed());
            }
            // Of unknown length.
            let (sender, receiver) = mpsc::channel(2);
            sender.send(bytes(size - 1)).await.unwrap();
            sender.send(bytes(1)).await.unwrap();
            Response::new(Channel(receiver).boxed())
        })
        .await;
        let api = world.http_api("GET /", &format!("http://{address}/"), "GET").await;
        let got = world.get(&api, "/").await;
        assert_eq!(got.status.as_u16(), status, "{size} {streamed}");
        match (status, streamed) {
            (200, false) => assert_eq!(got.body.unwrap().len(), size),
            (200, true) => {
                assert_eq!(got.body.unwrap_err(), "the integration's answer is too large")
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn forbidden_networks_are_not_reached() {
    let address = echo().await;
    let loopback = Network { address: "127.0.0.0".parse().unwrap(), bits: 8 };
    let world = World::over(Store::memory(), Egress { forbidden: vec![loopback] });
    for host in ["127.0.0.1", "[::ffff:127.0.0.1]", "localhost", "x.localhost"] {
        let api =
            world.http_api("GET /", &format!("http://{host}:{}/", address.port()), "GET").await;
        let got = world.get(&api, "/").await;
        assert_ne!(got.status, 203, "{host}");
    }
    let api =
        world.http_api("GET /", &format!("http://127.0.0.1:{}/", address.port()), "GET").await;
    assert_eq!(world.get(&api, "/").await.status, 500);
}

#[tokio::test]
async fn a_circle_ends() {
    let world = Arc::new(World::new());
    let world2 = Arc::clone(&world);
    let passes = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = Arc::clone(&passes);
    let api = Arc::new(std::sync::OnceLock::<String>::new());
    let api2 = Arc::clone(&api);
    let address = server(move |request| {
        let (world, api) = (Arc::clone(&world2), api2.get().unwrap().clone());
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        async move {
            let (mut head, body) = request.into_parts();
            head.headers.insert("host", format!("{api}.execute-api.localhost").parse().unwrap());
            let body = Full::new(body.collect().await.unwrap().to_bytes());
            let got = Box::pin(world.pass(Request::from_parts(head, body))).await;
            Response::builder()
                .status(got.status)
                .body(Full::new(got.body.unwrap()).boxed())
                .unwrap()
        }
    })
    .await;
    api.set(world.http_api("$default", &format!("http://{address}/"), "ANY").await).unwrap();
    assert_eq!(world.get(api.get().unwrap(), "/").await.status, 500);
    assert_eq!(
        passes.load(std::sync::atomic::Ordering::Relaxed),
        gatemill_gateway::limits::HOPS_MAX
    );
}
