//! A whole Lambda on an empty store, as the server would put it together.

use std::{
    collections::BTreeMap,
    io::{Cursor, Write as _},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use gatemill_lambda::{
    FunctionTarget, Invocation, Lambda, LogEvent, LogSink, LogStream, Outcome, Parts, Settings,
};
use gatemill_sandbox::{
    Config, Isolation, Sandboxes,
    runtime::{Runtimes, Search},
};
use gatemill_store::Store;
use gatemill_wire::{
    Caller, Clock, Cx, Entropy, RequestId, Served, Timestamp,
    protocol::{self, Encoding},
    routes::BoxFuture,
};
use http::{Request, Response};
use serde_json::{Value, json};

pub(crate) const ACCOUNT: &str = "000000000000";
pub(crate) const REGION: &str = "us-east-1";
pub(crate) const ROLE: &str = "arn:aws:iam::000000000000:role/r";

/// What all worlds share: sandboxd is started once.
pub(crate) struct Ground {
    sandboxes: Sandboxes,
    runtimes: Arc<Runtimes>,
    _dir: tempfile::TempDir,
}

pub(crate) struct World {
    pub(crate) lambda: Arc<Lambda>,
    pub(crate) store: Store,
    pub(crate) logs: Arc<Recorded>,
    pub(crate) clock: Arc<ShiftedClock>,
    pub(crate) dir: tempfile::TempDir,
    table: Box<dyn Served>,
    runtime: tokio::runtime::Runtime,
    background: tokio::runtime::Runtime,
}

/// The system's clock, which a test may put forward.
#[derive(Debug, Default)]
pub(crate) struct ShiftedClock(pub(crate) AtomicU64);

impl Clock for ShiftedClock {
    fn now(&self) -> Timestamp {
        #[allow(clippy::disallowed_methods, reason = "this is the clock")]
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let now = u64::try_from(now.as_millis()).unwrap() + self.0.load(Ordering::Relaxed);
        Timestamp(i64::try_from(now).unwrap())
    }
}

/// Distinct numbers, which is all that ids need.
#[derive(Debug, Default)]
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let next = self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            chunk.copy_from_slice(&next.to_le_bytes()[..chunk.len()]);
        }
    }
}

/// Keeps log lines by stream.
#[derive(Debug, Default)]
pub(crate) struct Recorded(pub(crate) Mutex<BTreeMap<(String, String), Vec<LogEvent>>>);

impl LogSink for Recorded {
    fn append<'a>(&'a self, stream: &'a LogStream, events: Vec<LogEvent>) -> BoxFuture<'a, ()> {
        let key = (stream.group.clone(), stream.stream.clone());
        self.0.lock().unwrap().entry(key).or_default().extend(events);
        Box::pin(std::future::ready(()))
    }
}

impl World {
    pub(crate) fn sandboxes(isolation: Isolation) -> Ground {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { isolation, state_dir: dir.path().join("state"), ..Config::default() };
        let sandboxes = Sandboxes::spawn(&config).unwrap();
        let search = Search {
            path: vec!["/usr/local/bin".into(), "/usr/bin".into()],
            data_dir: dir.path().join("data"),
            ..Search::default()
        };
        let runtimes = Arc::new(Runtimes::discover(&search).unwrap());
        let names: Vec<_> = runtimes.list().iter().map(|pack| pack.name.clone()).collect();
        println!("runtimes: {}", names.join(", "));
        Ground { sandboxes, runtimes, _dir: dir }
    }

    pub(crate) fn new(ground: &Ground, change: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::memory();
        let logs = Arc::new(Recorded::default());
        let clock = Arc::new(ShiftedClock::default());
        // What is ahead depends on what a start takes on this machine; tests count environments.
        let mut settings = Settings { nearest_runtime: true, ahead: 0, ..Settings::default() };
        change(&mut settings);
        let lambda = Lambda::new(Parts {
            store: store.clone(),
            sandboxes: ground.sandboxes.clone(),
            runtimes: Arc::clone(&ground.runtimes),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            entropy: Arc::new(Counting::default()),
            logs: Arc::clone(&logs) as Arc<dyn LogSink>,
            code_dir: dir.path().join("code"),
            image_dir: dir.path().join("images"),
            environment_key: [7; 32],
            settings,
        })
        .unwrap();
        let background = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        for worker in lambda.workers() {
            background.spawn(worker.future);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        gatemill_lambda::enter_shard(0, None);
        let table = lambda.routes();
        Self { lambda, store, logs, clock, dir, table, runtime, background }
    }

    /// Ends everything in order; what is left over fails the test.
    pub(crate) fn end(self) {
        self.run(self.lambda.drain(Duration::from_secs(10)));
        let status = self.lambda.status();
        assert_eq!((status.idle, status.busy, status.calls_in_flight), (0, 0, 0));
        drop(self.runtime);
        self.background.shutdown_timeout(Duration::from_secs(5));
    }

    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let limited = async { tokio::time::timeout(Duration::from_secs(120), future).await };
        self.runtime.block_on(limited).expect("a test ends in two minutes")
    }

    fn cx(&self) -> Cx {
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        Cx {
            request_id: RequestId(entropy.uuid()),
            caller: Caller {
                account: ACCOUNT.into(),
                arn: format!("arn:aws:iam::{ACCOUNT}:root"),
                user_id: ACCOUNT.into(),
                access_key_id: "test".into(),
            },
            region: REGION.into(),
            now: self.clock.now(),
            endpoint: "http://localhost:4566".into(),
            source_ip: "127.0.0.1".into(),
            trace_id: None,
            entropy,
        }
    }

    /// One API call, decoded and encoded by the protocol, without its signature.
    pub(crate) async fn send(
        &self,
        method: &str,
        uri: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response<Bytes> {
        let body = body.into();
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let (operation, labels) = self.table.route(&parts, &body).expect("a known operation");
        let cx = self.cx();
        match self.table.call(&cx, operation, &parts, &labels, &body).await {
            Ok(response) => response.map(|body| body.into_whole().expect("a whole body")),
            Err(error) => {
                protocol::encode_error(self.table.service(), Encoding::Own, cx.request_id, &error)
            }
        }
    }

    /// A call with a JSON body: status and JSON of the answer.
    pub(crate) fn call(&self, method: &str, uri: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let response = self.run(self.send(method, uri, &[], body));
        (response.status().as_u16(), read(&response))
    }

    pub(crate) fn refused(&self, method: &str, uri: &str, body: &Value) -> (u16, String, String) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let response = self.run(self.send(method, uri, &[], body));
        error_of(&response)
    }

    /// Creates a function and waits until it is Active.
    pub(crate) fn create(&self, name: &str, runtime: &str, files: &[(&str, &str)]) -> Value {
        self.create_with(name, runtime, files, &json!({}))
    }

    pub(crate) fn create_with(
        &self,
        name: &str,
        runtime: &str,
        files: &[(&str, &str)],
        more: &Value,
    ) -> Value {
        let mut request = json!({
            "FunctionName": name, "Runtime": runtime, "Role": ROLE, "Handler": "app.handler",
            "Timeout": 10, "Code": { "ZipFile": base64(&zip_of(files)) },
        });
        for (key, value) in more.as_object().unwrap() {
            request[key] = value.clone();
        }
        let (status, created) = self.call("POST", "/2015-03-31/functions", &request);
        assert_eq!(status, 201, "{created}");
        self.settled(name);
        created
    }

    /// Waits until a creation or an update is over; gives the configuration.
    pub(crate) fn settled(&self, name: &str) -> Value {
        let begun = Instant::now();
        loop {
            let uri = format!("/2015-03-31/functions/{name}/configuration");
            let (status, configuration) = self.call("GET", &uri, &Value::Null);
            assert_eq!(status, 200, "{configuration}");
            if configuration["State"] != "Pending"
                && configuration["LastUpdateStatus"] != "InProgress"
            {
                return configuration;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{configuration}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn invocation(&self, name: &str, payload: &str) -> Invocation {
        Invocation {
            target: FunctionTarget {
                account: ACCOUNT.into(),
                region: REGION.into(),
                name: name.into(),
                qualifier: None,
            },
            payload: Bytes::copy_from_slice(payload.as_bytes()),
            author: gatemill_lambda::Author::Caller,
            request_id: RequestId((&SystemEntropy as &dyn Entropy).uuid()),
            trace_id: None,
            client_context: None,
            tenant_id: None,
            log_tail: false,
        }
    }

    /// One call by the second path.
    pub(crate) fn invoke(&self, name: &str, payload: &str) -> Outcome {
        self.run(self.lambda.invoke(self.invocation(name, payload))).unwrap()
    }

    /// One call: its answer as JSON, and whether it failed.
    pub(crate) fn json(&self, name: &str, payload: &str) -> (Value, bool) {
        let outcome = self.invoke(name, payload);
        (serde_json::from_slice(&outcome.payload).unwrap(), outcome.function_error.is_some())
    }

    /// All log lines of a function, stream by stream, once `enough` says that they are there.
    pub(crate) fn log(&self, group: &str, enough: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let text = self.log_now(group);
            if enough(&text) {
                return text;
            }
            assert!(begun.elapsed() < Duration::from_secs(5), "the log stays at: {text}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn log_now(&self, group: &str) -> String {
        let all = self.logs.0.lock().unwrap();
        let of_group = all.iter().filter(|((name, _), _)| name == group);
        of_group.flat_map(|(_, events)| events).map(|event| event.message.as_str()).collect()
    }

    /// The names of a group's streams.
    pub(crate) fn streams(&self, group: &str) -> Vec<String> {
        let all = self.logs.0.lock().unwrap();
        all.keys().filter(|(name, _)| name == group).map(|(_, stream)| stream.clone()).collect()
    }

    pub(crate) fn code_dir(&self) -> PathBuf {
        self.dir.path().join("code")
    }
}

#[derive(Debug)]
pub(crate) struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        use std::io::Read as _;
        std::fs::File::open("/dev/urandom").unwrap().read_exact(buffer).unwrap();
    }
}

pub(crate) fn read(response: &Response<Bytes>) -> Value {
    if response.body().is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(response.body()).unwrap()
}

/// Status, code and text of an error.
pub(crate) fn error_of(response: &Response<Bytes>) -> (u16, String, String) {
    let code = response.headers().get("x-amzn-errortype");
    let code =
        code.unwrap_or_else(|| panic!("no error: {response:?}")).to_str().unwrap().to_owned();
    let body = read(response);
    let message = body.get("message").or(body.get("Message")).and_then(Value::as_str);
    (response.status().as_u16(), code, message.unwrap_or_default().to_owned())
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.encode(bytes)
}

pub(crate) fn zip_of(files: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().unix_permissions(0o644);
    for (name, text) in files {
        zip.start_file(*name, options).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}
