//! A server without sockets: the logs service behind its front, with a clock and randomness that tests hold.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use bytes::Bytes;
use gatemill_logs::{Event, Logs};
use gatemill_store::Store;
use gatemill_wire::{
    ApiError, Arrival, Authorizer, Caller, Clock, Credential, Credentials, Cx, Entropy, Front,
    OperationInfo, Presented, Recorder, RequestId, Timestamp, Unusable, Verification, serve,
};
use http::Request;
use serde_json::{Value, json};

/// 2026-11-22T20:26:54.123Z.
pub(crate) const NOW: i64 = 1_795_379_214_123;

/// The function group and stream that most tests write to.
pub(crate) const GROUP: &str = "/aws/lambda/f";
/// See [`GROUP`].
pub(crate) const STREAM: &str = "2026/11/22/[$LATEST]0";

pub(crate) struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

/// Counts and mixes, so that ids differ, do not come in order, and a run repeats.
struct Mixing(AtomicU64);

impl Entropy for Mixing {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let n = self.0.fetch_add(1, Ordering::Relaxed);
            let mixed = (n ^ (n << 31)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
            chunk.copy_from_slice(&mixed.to_be_bytes()[..chunk.len()]);
        }
    }
}

struct Anyone;

impl Credentials for Anyone {
    fn find(&self, presented: Presented<'_>) -> Result<Credential, Unusable> {
        let access_key_id = presented.access_key_id;
        let caller = Caller {
            account: access_key_id.to_owned(),
            arn: format!("arn:aws:iam::{access_key_id}:root"),
            user_id: access_key_id.to_owned(),
            access_key_id: access_key_id.to_owned(),
        };
        Ok(Credential { caller, verification: Verification::AnySignature })
    }
}

impl Authorizer for Anyone {
    fn authorize(&self, _: &Cx, _: &OperationInfo) -> Result<(), ApiError> {
        Ok(())
    }
}

impl Recorder for Anyone {
    fn record(&self, _: RequestId, _: Option<&OperationInfo>, _: u16, _: Option<&ApiError>) {}
}

pub(crate) struct Bench {
    pub(crate) logs: Arc<Logs>,
    pub(crate) store: Store,
    pub(crate) dir: Option<tempfile::TempDir>,
    clock: Arc<Hand>,
    entropy: Arc<Mixing>,
    front: Front,
}

impl Bench {
    /// With the memory engine.
    pub(crate) fn memory() -> Self {
        Self::on(Store::memory(), None)
    }

    /// With the embedded engine in a directory of its own.
    pub(crate) fn embedded() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::on(Store::open(dir.path()).unwrap(), Some(dir))
    }

    /// One of each.
    pub(crate) fn both() -> [Self; 2] {
        [Self::memory(), Self::embedded()]
    }

    /// With what another bench left on the disk.
    pub(crate) async fn reopened(self) -> Self {
        self.store.close().await.unwrap();
        let dir = self.dir.expect("an embedded bench");
        Self::on(Store::open(dir.path()).unwrap(), Some(dir))
    }

    fn on(store: Store, dir: Option<tempfile::TempDir>) -> Self {
        let clock = Arc::new(Hand(AtomicI64::new(NOW)));
        let entropy = Arc::new(Mixing(AtomicU64::new(1)));
        let logs = Logs::new(store.clone(), Arc::clone(&clock) as _, Arc::clone(&entropy) as _);
        let front = Front {
            services: vec![logs.routes()],
            credentials: Arc::new(Anyone),
            authorizer: Arc::new(Anyone),
            recorder: Arc::new(Anyone),
            region: None,
        };
        Self { logs, store, dir, clock, entropy, front }
    }

    /// Starts the workers; they end with the test's runtime.
    pub(crate) fn start(&self) {
        for worker in self.logs.workers() {
            tokio::spawn(worker.future);
        }
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, ms: i64) {
        self.clock.0.fetch_add(ms, Ordering::Relaxed);
    }

    /// A call as the account 000000000000 in us-east-1: status and body.
    pub(crate) async fn call(&self, operation: &str, body: Value) -> (u16, Value) {
        self.call_as("000000000000", "us-east-1", operation, body).await
    }

    pub(crate) async fn call_as(
        &self,
        account: &str,
        region: &str,
        operation: &str,
        body: Value,
    ) -> (u16, Value) {
        let signature = format!(
            "AWS4-HMAC-SHA256 Credential={account}/20261122/{region}/logs/aws4_request, SignedHeaders=host;x-amz-date, Signature={}",
            "0".repeat(64)
        );
        let request = Request::post("http://localhost:4566/")
            .header("host", "localhost:4566")
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", format!("Logs_20140328.{operation}"))
            .header("x-amz-date", "20261122T202654Z")
            .header("authorization", signature)
            .body(Bytes::from(body.to_string()))
            .unwrap();
        let arrival = Arrival {
            now: self.clock.now(),
            source_ip: "127.0.0.1".to_owned(),
            endpoint: "http://localhost:4566".to_owned(),
            entropy: Arc::clone(&self.entropy) as _,
            passage: None,
        };
        let response = serve(&self.front, arrival, request).await;
        let response = response.map(|body| body.into_whole().unwrap());
        let status = response.status().as_u16();
        let body = response.into_body();
        let body =
            if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
        (status, body)
    }

    /// A call that succeeds.
    pub(crate) async fn ok(&self, operation: &str, body: Value) -> Value {
        let (status, answer) = self.call(operation, body).await;
        assert_eq!(status, 200, "{operation}: {answer}");
        answer
    }

    /// A call that fails: its code and text.
    pub(crate) async fn err(&self, operation: &str, body: Value) -> (String, String) {
        let (status, answer) = self.call(operation, body).await;
        assert!(status >= 400, "{operation}: {answer}");
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        (text("__type"), text("message"))
    }

    /// A group with one stream.
    pub(crate) async fn with_stream(&self) {
        self.ok("CreateLogGroup", json!({"logGroupName": GROUP})).await;
        self.ok("CreateLogStream", json!({"logGroupName": GROUP, "logStreamName": STREAM})).await;
    }

    /// Writes events with `PutLogEvents`.
    pub(crate) async fn put(&self, stream: &str, events: &[(i64, &str)]) -> Value {
        let events: Vec<Value> = events
            .iter()
            .map(|(timestamp, message)| json!({"timestamp": timestamp, "message": message}))
            .collect();
        let body = json!({"logGroupName": GROUP, "logStreamName": stream, "logEvents": events});
        self.ok("PutLogEvents", body).await
    }

    /// Appends lines as the account 000000000000 in us-east-1.
    pub(crate) async fn append(&self, stream: &str, events: &[(i64, &str)]) {
        let event = |(timestamp, message): &(i64, &str)| Event {
            timestamp: *timestamp,
            message: (*message).to_owned(),
        };
        let events = events.iter().map(event).collect();
        self.logs.append("000000000000", "us-east-1", GROUP, stream, events).await.unwrap();
    }
}

/// The messages of a page.
pub(crate) fn messages(page: &Value) -> Vec<String> {
    let events = page["events"].as_array().expect("events");
    events.iter().map(|event| event["message"].as_str().unwrap().to_owned()).collect()
}
