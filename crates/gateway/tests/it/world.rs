//! A gateway with everything around it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use gatemill_gateway::{
    AccessLogs, Arrival, Callers, Egress, Functions, Gateway, Settings,
    access_log::{LogLine, LogStream},
    functions::{Answer, Call, CallError, FunctionTarget},
};
use gatemill_store::Store;
use gatemill_wire::{Caller, Clock, Cx, Entropy, RequestId, Served, Timestamp, routes::BoxFuture};
use http::{HeaderMap, Request, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

pub(crate) const ACCOUNT: &str = "123456789012";
pub(crate) const REGION: &str = "eu-west-1";
/// 22 November 2026, 20:26:54.123.
pub(crate) const NOW: Timestamp = Timestamp(1_795_379_214_123);

/// A function's ARN.
pub(crate) fn arn(name: &str) -> String {
    format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}")
}

/// Random enough, and the same in every run.
#[derive(Default)]
pub(crate) struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let n = self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let n = (n ^ (n >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let n = n ^ (n >> 32);
            chunk.copy_from_slice(&n.to_le_bytes()[..chunk.len()]);
        }
    }
}

/// The time does not pass.
struct Clocked;

impl Clock for Clocked {
    fn now(&self) -> Timestamp {
        NOW
    }
}

type Body = Box<dyn Fn(&Value) -> Result<Answer, CallError> + Send + Sync>;

/// Functions that are closures. Who may invoke them is a set of (function, source ARN).
#[derive(Default)]
pub(crate) struct Doubles {
    bodies: Mutex<BTreeMap<String, Arc<Body>>>,
    denied: Mutex<BTreeSet<String>>,
    pub(crate) events: Mutex<Vec<Value>>,
    pub(crate) asked: Mutex<Vec<String>>,
}

impl Doubles {
    pub(crate) fn define(
        &self,
        name: &str,
        body: impl Fn(&Value) -> Result<Answer, CallError> + Send + Sync + 'static,
    ) {
        self.bodies.lock().unwrap().insert(name.to_owned(), Arc::new(Box::new(body)));
    }

    pub(crate) fn answers(&self, name: &str, payload: &str) {
        let payload = Bytes::from(payload.to_owned());
        self.define(name, move |_| Ok(Answer { payload: payload.clone(), failed: false }));
    }

    pub(crate) fn deny(&self, name: &str) {
        self.denied.lock().unwrap().insert(name.to_owned());
    }

    pub(crate) fn last_event(&self) -> Value {
        self.events.lock().unwrap().last().cloned().unwrap()
    }
}

impl Functions for Doubles {
    fn invoke<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<Answer, CallError>> {
        Box::pin(async move {
            if call.function.name == "never" {
                std::future::pending::<()>().await;
            }
            let event: Value = serde_json::from_slice(&call.payload).unwrap();
            self.events.lock().unwrap().push(event.clone());
            let body = self.bodies.lock().unwrap().get(&call.function.name).cloned();
            body.ok_or(CallError::NotFound)?(&event)
        })
    }

    fn accept<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<(), CallError>> {
        Box::pin(async move { self.invoke(call).await.map(|_| ()) })
    }

    fn allows(&self, function: &FunctionTarget, source_arn: &str, source_account: &str) -> bool {
        assert_eq!(source_account, ACCOUNT);
        self.asked.lock().unwrap().push(source_arn.to_owned());
        !self.denied.lock().unwrap().contains(&function.name)
    }
}

/// What a client got.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Result<Bytes, String>,
}

impl Got {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(self.body.as_ref().unwrap()).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }
}

/// Keeps what is logged.
#[derive(Default)]
pub(crate) struct Lines(pub(crate) Mutex<Vec<(String, String)>>);

impl AccessLogs for Lines {
    fn append<'a>(&'a self, to: &'a LogStream, lines: Vec<LogLine>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let name = format!("{} {}", to.group, to.stream);
            let lines = lines.into_iter().map(|line| (name.clone(), line.text));
            self.0.lock().unwrap().extend(lines);
        })
    }
}

/// Whoever says who they are in `x-signer` is; account and name.
struct Signers;

impl Callers for Signers {
    fn signer(&self, _: Timestamp, head: &Parts, body: &Bytes) -> Result<Caller, String> {
        let signer = head.headers.get("x-signer").ok_or("unsigned")?.to_str().unwrap();
        let (account, name) = signer.split_once('/').ok_or("malformed")?;
        if body.starts_with(b"forged") {
            return Err("the signature does not match".to_owned());
        }
        Ok(Caller {
            account: account.to_owned(),
            arn: format!("arn:aws:iam::{account}:user/{name}"),
            user_id: format!("id-of-{name}"),
            access_key_id: "AKIA".to_owned(),
        })
    }

    fn may(&self, caller: &Caller, action: &str, resource: &str) -> bool {
        assert_eq!(action, "execute-api:Invoke");
        assert!(resource.starts_with("arn:aws:execute-api:"), "{resource}");
        !caller.arn.ends_with("/nobody")
    }
}

pub(crate) struct World {
    pub(crate) lines: Arc<Lines>,
    pub(crate) now: Mutex<Timestamp>,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) functions: Arc<Doubles>,
    pub(crate) entropy: Arc<Counting>,
    pub(crate) store: Store,
    served: Box<dyn Served>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::over(Store::memory(), Egress::default())
    }

    pub(crate) fn over(store: Store, egress: Egress) -> Self {
        let functions = Arc::new(Doubles::default());
        let entropy = Arc::new(Counting(AtomicU64::new(1)));
        let settings = Settings { egress, ..Settings::default() };
        Self::with(store, functions, entropy, settings)
    }

    pub(crate) fn with(
        store: Store,
        functions: Arc<Doubles>,
        entropy: Arc<Counting>,
        settings: Settings,
    ) -> Self {
        let lines = Arc::new(Lines::default());
        let gateway = Gateway::new(gatemill_gateway::Parts {
            store: store.clone(),
            functions: functions.clone(),
            access_logs: lines.clone(),
            entropy: entropy.clone(),
            clock: Arc::new(Clocked),
            api_key_key: [7; 32],
            settings,
        })
        .unwrap();
        gateway.set_callers(Arc::new(Signers));
        let served = gateway.routes();
        let now = Mutex::new(NOW);
        Self { lines, now, gateway, functions, entropy, store, served }
    }

    fn cx(&self) -> Cx {
        let caller = Caller {
            account: ACCOUNT.to_owned(),
            arn: format!("arn:aws:iam::{ACCOUNT}:root"),
            user_id: ACCOUNT.to_owned(),
            access_key_id: "AKIA".to_owned(),
        };
        Cx {
            request_id: RequestId((&*self.entropy as &dyn Entropy).uuid()),
            caller,
            region: REGION.to_owned(),
            now: NOW,
            endpoint: "http://127.0.0.1:4566".to_owned(),
            source_ip: "127.0.0.1".to_owned(),
            trace_id: None,
            entropy: self.entropy.clone(),
        }
    }

    /// Calls an operation; an error is its code and text.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let request = Request::builder().method(method).uri(path).body(()).unwrap();
        let (parts, ()) = request.into_parts();
        let (operation, labels) = self.served.route(&parts, &body).expect("no such operation");
        let cx = self.cx();
        match self.served.call(&cx, operation, &parts, &labels, &body).await {
            Ok(response) => {
                let (head, body) = response.into_parts();
                let body = body.into_whole().unwrap();
                (head.status.as_u16(), serde_json::from_slice(&body).unwrap_or(Value::Null))
            }
            Err(error) => {
                (error.shape.status, json!({"code": error.shape.code, "message": error.message}))
            }
        }
    }

    /// The answer of an operation that has to succeed with a text.
    pub(crate) async fn text(&self, method: &str, path: &str) -> String {
        let request = Request::builder().method(method).uri(path).body(()).unwrap();
        let (parts, ()) = request.into_parts();
        let (operation, labels) = self.served.route(&parts, &Bytes::new()).unwrap();
        let called = self.served.call(&self.cx(), operation, &parts, &labels, &Bytes::new()).await;
        let body = called.unwrap().into_body().into_whole().unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    /// Calls an operation that has to succeed.
    #[track_caller]
    pub(crate) fn ok(
        &self,
        method: &str,
        path: &str,
        body: Value,
    ) -> impl Future<Output = Value> + use<'_> {
        let (method, path) = (method.to_owned(), path.to_owned());
        let at = std::panic::Location::caller();
        async move {
            let (status, answer) = self.call(&method, &path, body).await;
            assert!(status < 300, "{at}: {method} {path}: {status} {answer}");
            answer
        }
    }

    /// An API with a stage `$default` that deploys by itself, and its id.
    pub(crate) async fn api(&self) -> String {
        let api = self.ok("POST", "/v2/apis", json!({"name": "a", "protocolType": "HTTP"})).await;
        let id = api["apiId"].as_str().unwrap().to_owned();
        self.stage(&id, "$default").await;
        id
    }

    pub(crate) async fn stage(&self, api: &str, name: &str) -> Value {
        let stage = json!({"stageName": name, "autoDeploy": true});
        self.ok("POST", &format!("/v2/apis/{api}/stages"), stage).await
    }

    /// An integration, and its id.
    pub(crate) async fn integration(&self, api: &str, members: Value) -> String {
        let made = self.ok("POST", &format!("/v2/apis/{api}/integrations"), members).await;
        made["integrationId"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn route(&self, api: &str, key: &str, integration: &str) -> String {
        let members = json!({"routeKey": key, "target": format!("integrations/{integration}")});
        let made = self.ok("POST", &format!("/v2/apis/{api}/routes"), members).await;
        made["routeId"].as_str().unwrap().to_owned()
    }

    /// Runs the workers, for as long as the test does.
    pub(crate) fn work(&self) {
        for worker in self.gateway.workers() {
            tokio::spawn((worker.run)());
        }
    }

    /// Updates the route, whichever it is.
    pub(crate) async fn guard(&self, api: &str, route: &str, members: Value) {
        self.ok("PATCH", &format!("/v2/apis/{api}/routes/{route}"), members).await;
    }

    /// An API with one function behind `key`.
    pub(crate) async fn function_api(&self, key: &str, function: &str, format: &str) -> String {
        let api = self.api().await;
        let uri = arn(function);
        let members = json!({"integrationType": "AWS_PROXY", "integrationUri": uri, "payloadFormatVersion": format});
        let integration = self.integration(&api, members).await;
        self.route(&api, key, &integration).await;
        api
    }

    /// An API with one server behind `key`.
    pub(crate) async fn http_api(&self, key: &str, uri: &str, method: &str) -> String {
        let api = self.api().await;
        let members = json!({"integrationType": "HTTP_PROXY", "integrationUri": uri, "integrationMethod": method,
            "payloadFormatVersion": "1.0", "timeoutInMillis": 2000});
        let integration = self.integration(&api, members).await;
        self.route(&api, key, &integration).await;
        api
    }

    /// A request as the client of an API sends it, by host.
    pub(crate) async fn get(&self, api: &str, path: &str) -> Got {
        self.request(api, Request::get(path)).await
    }

    pub(crate) async fn request(&self, api: &str, request: http::request::Builder) -> Got {
        self.send(api, request, Bytes::new()).await
    }

    pub(crate) async fn send(
        &self,
        api: &str,
        request: http::request::Builder,
        body: impl Into<Bytes>,
    ) -> Got {
        let host = format!("{api}.execute-api.localhost:4566");
        let request = request.header(header::HOST, host).body(Full::new(body.into())).unwrap();
        self.pass(request).await
    }

    /// A request as it is.
    pub(crate) async fn pass(&self, request: Request<Full<Bytes>>) -> Got {
        self.pass_any(request).await
    }

    /// A request with a body of any kind.
    pub(crate) async fn pass_any<B>(&self, request: Request<B>) -> Got
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        let target = self.gateway.claims(&parts).expect("not of the data plane");
        let arrival = Arrival {
            source_ip: "192.0.2.1".to_owned(),
            now: *self.now.lock().unwrap(),
            protocol: "HTTP/1.1",
            tls: false,
            client_cert: None,
        };
        let response = self.gateway.proxy(target, Request::from_parts(parts, body), arrival).await;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes());
        Got { status: head.status, headers: head.headers, body: body.map_err(|e| e.to_string()) }
    }
}
