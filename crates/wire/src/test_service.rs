//! A small service in each of the three protocols, for this crate's tests: its shapes, its handlers, and a client that
//! signs. Generated shapes live above this crate, so these are written by hand.

use std::{collections::BTreeMap, pin::pin, sync::Arc, task};

use bytes::Bytes;
use http::{Request, request::Parts};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    ApiError, Blob, Caller, Cx, Entropy, EpochSeconds, ErrorShape, Input, Kind, Location, Member,
    Operation, OperationInfo, Output, Protocol, RequestId, Routes, Service, Shape, Table,
    Timestamp, TimestampFormat,
    error::common,
    sigv4::{self, Claim},
};

pub(crate) const NOW: Timestamp = Timestamp(1_795_379_214_000);
pub(crate) const SECRET: &str = "a secret";

// --- Shapes --------------------------------------------------------------------------------------------------------

const fn shape(name: &'static str, kind: Kind) -> Shape {
    Shape { name, kind, sensitive: false }
}

const fn at(
    wire: &'static str,
    name: &'static str,
    location: Location,
    shape: &'static Shape,
) -> Member {
    Member { name, wire, location, required: matches!(location, Location::Uri), shape }
}

const fn body(name: &'static str, shape: &'static Shape) -> Member {
    at(name, name, Location::Body, shape)
}

pub(crate) static TEXT: Shape =
    shape("Text", Kind::String { min: None, max: None, pattern: None, values: &[] });
static NAME: Shape =
    shape("Name", Kind::String { min: Some(1), max: Some(140), pattern: None, values: &[] });
static SIZE: Shape = shape("Size", Kind::Integer { long: false, min: Some(1), max: Some(100) });
static COUNT: Shape = shape("Count", Kind::Integer { long: false, min: None, max: None });
static BIG: Shape = shape("Big", Kind::Integer { long: true, min: None, max: None });
static WEIGHT: Shape = shape("Weight", Kind::Double { min: None, max: None });
static FLAG: Shape = shape("Flag", Kind::Boolean);
static DATA: Shape = shape("Data", Kind::Blob { min: Some(1), max: Some(4) });
static WHEN: Shape = shape("When", Kind::Timestamp { format: TimestampFormat::EpochSeconds });
static TEXTS: Shape = shape("Texts", Kind::List { member: &TEXT, min: None, max: None });
static LABELS: Shape =
    shape("Labels", Kind::Map { key: &TEXT, value: &TEXT, min: None, max: None });
/// Contains itself, as documents of rules do.
static INNER: Shape = shape(
    "Inner",
    Kind::Structure {
        members: &[
            body("Text", &TEXT),
            body("Texts", &TEXTS),
            body("Left", &INNER),
            body("Right", &INNER),
            body("All", &INNERS),
        ],
    },
);
static INNERS: Shape = shape("Inners", Kind::List { member: &INNER, min: None, max: None });
static DOCUMENT: Shape = shape("Document", Kind::Document);

const BODY_MEMBERS: [Member; 10] = [
    body("Size", &SIZE),
    body("Count", &COUNT),
    body("Big", &BIG),
    body("Weight", &WEIGHT),
    body("Flag", &FLAG),
    body("Data", &DATA),
    body("When", &WHEN),
    body("Texts", &TEXTS),
    body("Labels", &LABELS),
    body("Inner", &INNER),
];

const fn with_body(head: [Member; 5]) -> [Member; 15] {
    let [a, b, c, d, e] = head;
    let [f, g, h, i, j, k, l, m, n, o] = BODY_MEMBERS;
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o]
}

static REST_MEMBERS: [Member; 15] = with_body([
    at("Name", "Name", Location::Uri, &NAME),
    at("mode", "Mode", Location::Query, &TEXT),
    at("limit", "Limit", Location::Query, &SIZE),
    at("keys", "Keys", Location::Query, &TEXTS),
    at("X-Amz-Kind", "Kind", Location::Header, &TEXT),
]);
static BODY_ONLY_MEMBERS: [Member; 15] = with_body([
    Member { name: "Name", wire: "Name", location: Location::Body, required: true, shape: &NAME },
    body("mode", &TEXT),
    body("limit", &SIZE),
    body("keys", &TEXTS),
    body("X-Amz-Kind", &TEXT),
]);
static REST_INPUT: Shape = shape("MakeRequest", Kind::Structure { members: &REST_MEMBERS });
static BODY_INPUT: Shape = shape("MakeRequest", Kind::Structure { members: &BODY_ONLY_MEMBERS });
static MADE: Shape = shape(
    "MakeResponse",
    Kind::Structure {
        members: &[
            at("status", "Status", Location::Status, &COUNT),
            at("X-Kind", "Kind", Location::Header, &TEXT),
            body("Seen", &DOCUMENT),
        ],
    },
);
static SEND_INPUT: Shape = shape(
    "SendRequest",
    Kind::Structure {
        members: &[
            at("Name", "Name", Location::Uri, &NAME),
            Member {
                name: "Data",
                wire: "Data",
                location: Location::Payload,
                required: true,
                shape: &DATA,
            },
        ],
    },
);
static SENT: Shape = shape(
    "SendResponse",
    Kind::Structure {
        members: &[
            at("Content-Type", "ContentType", Location::Header, &TEXT),
            at("Data", "Data", Location::Payload, &DATA),
        ],
    },
);
static NAME_ONLY: Shape =
    shape("DropRequest", Kind::Structure { members: &[at("Name", "Name", Location::Uri, &NAME)] });

// --- Services ------------------------------------------------------------------------------------------------------

pub(crate) static INVALID: ErrorShape = ErrorShape {
    code: "InvalidThingException",
    status: 400,
    message_member: Some("Message"),
    typed: true,
};

const fn service(
    name: &'static str,
    protocol: Protocol,
    operations: &'static [&'static OperationInfo],
) -> Service {
    Service {
        name,
        signing_name: name,
        protocol,
        api_version: "2020-01-01",
        validation: &common::VALIDATION,
        malformed: &common::SERIALIZATION,
        operations,
    }
}

pub(crate) static REST: Service =
    service("rest", Protocol::RestJson, &[&REST_MAKE, &REST_SEND, &REST_DROP, &REST_UNBUILT]);
pub(crate) static JSON: Service = service(
    "json",
    Protocol::Json { target_prefix: "Things_2020", version: "1.1" },
    &[&JSON_MAKE, &JSON_UNBUILT],
);
pub(crate) static QUERY: Service = service(
    "query",
    Protocol::Query { namespace: "https://query.example/doc/" },
    &[&QUERY_MAKE, &QUERY_UNBUILT],
);

const fn operation(
    service: &'static Service,
    name: &'static str,
    (method, uri, status): (&'static str, &'static str, u16),
    input: Option<&'static Shape>,
    output: Option<&'static Shape>,
) -> OperationInfo {
    OperationInfo {
        name,
        service,
        method,
        uri,
        status,
        action: "things:Any",
        input,
        output,
        errors: &[],
    }
}

const ROOT: (&str, &str, u16) = ("POST", "/", 200);
static REST_MAKE: OperationInfo =
    operation(&REST, "Make", ("POST", "/things/{Name}", 201), Some(&REST_INPUT), Some(&MADE));
static REST_SEND: OperationInfo =
    operation(&REST, "Send", ("POST", "/raw/{Name}", 200), Some(&SEND_INPUT), Some(&SENT));
static REST_DROP: OperationInfo =
    operation(&REST, "Drop", ("DELETE", "/things/{Name}", 204), Some(&NAME_ONLY), None);
static REST_UNBUILT: OperationInfo =
    operation(&REST, "Unbuilt", ("GET", "/unbuilt", 200), None, None);
static JSON_MAKE: OperationInfo = operation(&JSON, "Make", ROOT, Some(&BODY_INPUT), Some(&MADE));
static JSON_UNBUILT: OperationInfo = operation(&JSON, "Unbuilt", ROOT, None, None);
static QUERY_MAKE: OperationInfo = operation(&QUERY, "Make", ROOT, Some(&BODY_INPUT), Some(&MADE));
static QUERY_UNBUILT: OperationInfo = operation(&QUERY, "Unbuilt", ROOT, None, None);

// --- Handlers ------------------------------------------------------------------------------------------------------

/// What `Make` is given, and what it answers that it saw.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Make {
    name: String,
    #[serde(rename = "mode", skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(rename = "limit", skip_serializing_if = "Option::is_none")]
    limit: Option<i32>,
    #[serde(rename = "keys", skip_serializing_if = "Option::is_none")]
    keys: Option<Vec<String>>,
    #[serde(rename = "X-Amz-Kind", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    big: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flag: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Blob>,
    #[serde(skip_serializing_if = "Option::is_none")]
    when: Option<EpochSeconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    texts: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inner: Option<Value>,
}

impl Input for Make {}

#[derive(Debug, Serialize)]
pub(crate) struct Made {
    #[serde(rename = "status", skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(rename = "X-Kind", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(rename = "Seen")]
    seen: Value,
}

impl Output for Made {}

/// Answers what it was given; its mode asks it to fail in some way.
pub(crate) async fn make((): &(), _: &Cx, input: Make) -> Result<Made, ApiError> {
    match input.mode.as_deref() {
        Some("panic") => panic!("{} was asked to", input.name),
        Some("internal") => Err(ApiError::internal(&common::INTERNAL_FAILURE, "disk sda1 is full")),
        Some("invalid") => Err(ApiError::new(&INVALID, "No <such> \"thing\" & more")
            .with_member("Reason", "Because")
            .with_header("retry-after", "7")
            .with_internal("row 17")),
        Some("split") => {
            Err(ApiError::new(&INVALID, "a\r\nb").with_header("x-split", "a\r\nset-cookie: b"))
        }
        Some("accepted") => {
            Ok(Made { status: Some(202), kind: input.kind, seen: json!("accepted") })
        }
        _ => {
            let seen = serde_json::to_value(&input).unwrap();
            Ok(Made { status: None, kind: input.kind, seen })
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Send {
    name: String,
    #[serde(skip)]
    data: Bytes,
}

impl Input for Send {
    fn set_payload(&mut self, payload: Bytes) {
        self.data = payload;
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Sent {
    #[serde(rename = "Content-Type")]
    content_type: Option<String>,
    #[serde(skip)]
    data: Option<Bytes>,
}

impl Output for Sent {
    fn take_payload(&mut self) -> Option<Bytes> {
        self.data.take()
    }
}

/// Answers the raw body; its name becomes the content type.
async fn send((): &(), _: &Cx, input: Send) -> Result<Sent, ApiError> {
    let content_type = (input.name != "none").then_some(input.name);
    Ok(Sent { content_type, data: Some(input.data) })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Drop {
    name: String,
}

impl Input for Drop {}

async fn drop_thing((): &(), _: &Cx, input: Drop) -> Result<(), ApiError> {
    match input.name.as_str() {
        "missing" => Err(ApiError::new(&INVALID, "It is not there.")),
        _ => Ok(()),
    }
}

pub(crate) struct RestMake;
struct RestSend;
struct RestDrop;
struct JsonMake;
struct QueryMake;

impl Operation for RestMake {
    const INFO: &'static OperationInfo = &REST_MAKE;
    type Input = Make;
    type Output = Made;
}

impl Operation for RestSend {
    const INFO: &'static OperationInfo = &REST_SEND;
    type Input = Send;
    type Output = Sent;
}

impl Operation for RestDrop {
    const INFO: &'static OperationInfo = &REST_DROP;
    type Input = Drop;
    type Output = ();
}

impl Operation for JsonMake {
    const INFO: &'static OperationInfo = &JSON_MAKE;
    type Input = Make;
    type Output = Made;
}

impl Operation for QueryMake {
    const INFO: &'static OperationInfo = &QUERY_MAKE;
    type Input = Make;
    type Output = Made;
}

pub(crate) type Bound = Routes<(), ApiError>;

pub(crate) fn rest() -> Bound {
    let table = Table::new(&REST);
    table.on::<RestMake>(make).on::<RestSend>(send).on::<RestDrop>(drop_thing).serve(Arc::new(()))
}

pub(crate) fn json() -> Bound {
    Table::new(&JSON).on::<JsonMake>(make).serve(Arc::new(()))
}

pub(crate) fn query() -> Bound {
    Table::new(&QUERY).on::<QueryMake>(make).serve(Arc::new(()))
}

// --- A client and its surroundings ---------------------------------------------------------------------------------

/// Entropy that always gives the same.
#[derive(Debug)]
pub(crate) struct Fixed;

impl Entropy for Fixed {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(7);
    }
}

pub(crate) fn cx() -> Cx {
    let entropy: Arc<dyn Entropy> = Arc::new(Fixed);
    Cx {
        request_id: RequestId(entropy.uuid()),
        caller: caller("AKIDEXAMPLE"),
        region: "us-east-1".to_owned(),
        now: NOW,
        endpoint: "http://h".to_owned(),
        source_ip: "127.0.0.1".to_owned(),
        trace_id: None,
        entropy,
    }
}

pub(crate) fn caller(key: &str) -> Caller {
    Caller {
        account: "000000000000".to_owned(),
        arn: "arn:aws:iam::000000000000:root".to_owned(),
        user_id: "000000000000".to_owned(),
        access_key_id: key.to_owned(),
    }
}

/// A request as it is read; header names and values alternate with `: `.
pub(crate) fn request(method: &str, target: &str, headers: &[&str], body: &[u8]) -> Request<Bytes> {
    let mut request = Request::builder().method(method).uri(target).header("host", "h");
    for header in headers {
        let (name, value) = header.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    request.body(Bytes::copy_from_slice(body)).unwrap()
}

/// Signs every header of a request.
pub(crate) fn sign(
    request: Request<Bytes>,
    (key, secret): (&str, &str),
    (region, service): (&str, &str),
) -> Request<Bytes> {
    let (mut parts, body) = request.into_parts();
    let date = NOW.amz_date();
    parts.headers.insert("x-amz-date", date.parse().unwrap());
    let mut names: Vec<&str> = parts.headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    let names = names.join(";");
    let authorization = |signature: &str| {
        let scope = format!("{key}/{}/{region}/{service}/aws4_request", &date[..8]);
        format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature={signature}")
    };
    let signature = signature(&parts, &body, &authorization("00"), secret);
    parts.headers.insert("authorization", authorization(&signature).parse().unwrap());
    Request::from_parts(parts, body)
}

fn signature(parts: &Parts, body: &[u8], authorization: &str, secret: &str) -> String {
    let mut parts = parts.clone();
    parts.headers.insert("authorization", authorization.parse().unwrap());
    let claim = Claim::read(&parts).unwrap();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body);
    let canonical = sigv4::canonical_request(&claim, &parts, &sigv4::hex(hash.as_ref()));
    sigv4::hex(&sigv4::sign(&claim, &canonical, secret))
}

/// Runs a future that waits for nothing.
pub(crate) fn run<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = task::Context::from_waker(task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        task::Poll::Ready(output) => output,
        task::Poll::Pending => panic!("it waits"),
    }
}
