//! The whole path: who is refused, with which code, and in which envelope.

use std::sync::Mutex;

use http::{HeaderMap, Request};
use serde::Deserialize;

use super::*;
use crate::{
    Input, Kind, Location, Member, Operation, Protocol, Routes, Shape,
    error::ErrorShape,
    operation::Output,
    routes::BoxFuture,
    sigv4::{hex, hmac_sha256},
};

const SECRET: &str = "secret";
const NOW: Timestamp = Timestamp(1_795_379_214_000);

static TEXT: Shape = Shape {
    name: "Text",
    kind: Kind::String { min: None, max: Some(5), pattern: None, values: &[] },
    sensitive: false,
};
static REQUEST: Shape = Shape {
    name: "EchoRequest",
    kind: Kind::Structure {
        members: &[Member {
            name: "Text",
            wire: "Text",
            location: Location::Body,
            required: true,
            shape: &TEXT,
        }],
    },
    sensitive: false,
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
        api_version: "2026-11-22",
        validation: &common::VALIDATION,
        malformed: &common::SERIALIZATION,
        operations,
    }
}

const fn operation(
    service: &'static Service,
    name: &'static str,
    uri: &'static str,
) -> OperationInfo {
    OperationInfo {
        name,
        service,
        method: "POST",
        uri,
        status: 200,
        action: "test:Echo",
        input: Some(&REQUEST),
        output: Some(&REQUEST),
        errors: &[],
    }
}

static REST: Service = service("rest", Protocol::RestJson, &[&REST_ECHO, &REST_LATER]);
static REST_ECHO: OperationInfo = operation(&REST, "Echo", "/echo");
static REST_LATER: OperationInfo = operation(&REST, "Later", "/later");
static JSON: Service = service(
    "json",
    Protocol::Json { target_prefix: "Json_1", version: "1.1" },
    &[&JSON_ECHO, &JSON_LATER],
);
static JSON_ECHO: OperationInfo = operation(&JSON, "Echo", "/");
static JSON_LATER: OperationInfo = operation(&JSON, "Later", "/");
static QUERY: Service =
    service("query", Protocol::Query { namespace: "urn:query" }, &[&QUERY_ECHO, &QUERY_LATER]);
static QUERY_ECHO: OperationInfo = operation(&QUERY, "Echo", "/");
static QUERY_LATER: OperationInfo = operation(&QUERY, "Later", "/");

#[derive(Debug, Deserialize, serde::Serialize)]
struct Echo {
    #[serde(rename = "Text")]
    text: String,
}

impl Input for Echo {}
impl Output for Echo {}

struct RestEcho;
struct JsonEcho;
struct QueryEcho;

impl Operation for RestEcho {
    const INFO: &'static OperationInfo = &REST_ECHO;
    type Input = Echo;
    type Output = Echo;
}
impl Operation for JsonEcho {
    const INFO: &'static OperationInfo = &JSON_ECHO;
    type Input = Echo;
    type Output = Echo;
}
impl Operation for QueryEcho {
    const INFO: &'static OperationInfo = &QUERY_ECHO;
    type Input = Echo;
    type Output = Echo;
}

static DECLARED: ErrorShape = ErrorShape {
    code: "DeclaredException",
    status: 409,
    message_member: Some("Message"),
    typed: true,
};

/// Echoes; `fail` fails with everything that an error may carry.
async fn echo((): &(), _: &Cx, input: Echo) -> Result<Echo, ApiError> {
    if input.text == "fail" {
        return Err(ApiError::new(&DECLARED, "no <way>")
            .with_member("Reason", "Because")
            .with_header("retry-after", "1")
            .with_internal("not for the client"));
    }
    Ok(input)
}

/// Knows one key, and denies the operation of one account.
struct Gate;

impl Credentials for Gate {
    fn find(&self, access_key_id: &str) -> Option<Credential> {
        let account = match access_key_id {
            "AKIA" => "000000000000",
            "DENIED" => "111111111111",
            _ => return None,
        };
        let caller = Caller {
            account: account.to_owned(),
            arn: format!("arn:aws:iam::{account}:root"),
            user_id: account.to_owned(),
            access_key_id: access_key_id.to_owned(),
        };
        Some(Credential { caller, verification: Verification::Secret(SECRET.to_owned()) })
    }
}

impl Authorizer for Gate {
    fn authorize(&self, cx: &Cx, _: &OperationInfo) -> Result<(), ApiError> {
        match cx.account() {
            "000000000000" => Ok(()),
            _ => Err(ApiError::new(&common::ACCESS_DENIED, "not you")),
        }
    }
}

/// What the recorder was told: operation, status, and what only the log may know.
type Told = (Option<&'static str>, u16, Option<String>);

#[derive(Default)]
struct Record(Mutex<Vec<Told>>);

impl Recorder for Record {
    fn record(
        &self,
        _: RequestId,
        operation: Option<&OperationInfo>,
        status: u16,
        error: Option<&ApiError>,
    ) {
        let internal = error.and_then(ApiError::internal_text).map(str::to_owned);
        self.0.lock().unwrap().push((operation.map(|operation| operation.name), status, internal));
    }
}

struct Sevens;

impl Entropy for Sevens {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(7);
    }
}

fn front() -> (Front, Arc<Record>) {
    let record = Arc::new(Record::default());
    let state = Arc::new(());
    let front = Front {
        services: vec![
            Box::new(Routes::<(), ApiError>::new(&REST, Arc::clone(&state)).on::<RestEcho>(echo)),
            Box::new(Routes::<(), ApiError>::new(&JSON, Arc::clone(&state)).on::<JsonEcho>(echo)),
            Box::new(Routes::<(), ApiError>::new(&QUERY, state).on::<QueryEcho>(echo)),
        ],
        credentials: Arc::new(Gate),
        authorizer: Arc::new(Gate),
        recorder: Arc::clone(&record) as _,
        region: Some("us-east-1".to_owned()),
    };
    (front, record)
}

/// A request of one protocol, before it is signed.
struct Draft {
    service: &'static str,
    operation: &'static str,
    key: &'static str,
    region: &'static str,
    secret: &'static str,
    date: &'static str,
    body: Option<String>,
    text: &'static str,
}

impl Draft {
    fn new(service: &'static str) -> Self {
        Self {
            service,
            operation: "Echo",
            key: "AKIA",
            region: "us-east-1",
            secret: SECRET,
            date: "20261122T202654Z",
            body: None,
            text: "hello",
        }
    }

    fn request(&self) -> Request<Bytes> {
        let (operation, text) = (self.operation, self.text);
        let (path, body) = match self.service {
            "query" => ("/".to_owned(), format!("Action={operation}&Text={text}")),
            "json" => ("/".to_owned(), format!("{{\"Text\":\"{text}\"}}")),
            _ => (format!("/{}", operation.to_lowercase()), format!("{{\"Text\":\"{text}\"}}")),
        };
        let body = self.body.clone().unwrap_or(body);
        let mut request = Request::post(&path)
            .header("host", "localhost:4566")
            .header("x-amz-date", self.date)
            .header("authorization", self.authorization(&path, &body));
        if self.service == "json" {
            request = request.header("x-amz-target", format!("Json_1.{operation}"));
        }
        request.body(Bytes::from(body)).unwrap()
    }

    fn authorization(&self, path: &str, body: &str) -> String {
        let hash = |text: &str| {
            hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes()).as_ref())
        };
        let (date, signed) = (self.date, "host;x-amz-date");
        let scope = format!("{}/{}/{}/aws4_request", &date[..8], self.region, self.service);
        let canonical = format!(
            "POST\n{path}\n\nhost:localhost:4566\nx-amz-date:{date}\n\n{signed}\n{}",
            hash(body)
        );
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hash(&canonical));
        let key =
            scope.split('/').fold(format!("AWS4{}", self.secret).into_bytes(), |key, part| {
                hmac_sha256(&key, part.as_bytes())
            });
        format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed}, Signature={}",
            self.key,
            hex(&hmac_sha256(&key, text.as_bytes()))
        )
    }

    async fn send(&self) -> Answer {
        send(self.request()).await
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
    recorded: Told,
}

impl Answer {
    /// Code and text of an error, wherever the service's envelope has them.
    fn error(&self, service: &str) -> (String, String) {
        if service == "query" {
            let inside = |tag: &str| {
                let (_, rest) = self.body.split_once(&format!("<{tag}>")).expect(tag);
                rest.split_once(&format!("</{tag}>")).expect(tag).0.to_owned()
            };
            return (inside("Code"), inside("Message"));
        }
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        let text = body.get("message").or_else(|| body.get("Message")).unwrap();
        let code = match service {
            "json" => body["__type"].as_str().unwrap(),
            _ => self.headers["x-amzn-errortype"].to_str().unwrap(),
        };
        (code.to_owned(), text.as_str().unwrap().to_owned())
    }
}

async fn send(request: Request<Bytes>) -> Answer {
    let (front, record) = front();
    let arrival = Arrival {
        now: NOW,
        source_ip: "127.0.0.1".to_owned(),
        endpoint: "http://localhost:4566".to_owned(),
        entropy: Arc::new(Sevens),
    };
    let call: BoxFuture<'_, _> = Box::pin(serve(&front, arrival, request));
    let response = call.await;
    let recorded = record.0.lock().unwrap().pop().expect("every call is recorded");
    assert_eq!(response.status().as_u16(), recorded.1);
    assert_eq!(response.headers()["x-amzn-requestid"], "07070707-0707-4707-8707-070707070707");
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: String::from_utf8(response.into_body().to_vec()).unwrap(),
        recorded,
    }
}

const SERVICES: [&str; 3] = ["rest", "json", "query"];

#[tokio::test]
async fn a_signed_call_is_answered_in_its_protocol() {
    for service in SERVICES {
        let answer = Draft::new(service).send().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let (kind, body) = match service {
            "rest" => ("application/json", r#"{"Text":"hello"}"#),
            "json" => ("application/x-amz-json-1.1", r#"{"Text":"hello"}"#),
            _ => (
                "text/xml",
                r#"<EchoResponse xmlns="urn:query"><EchoResult><Text>hello</Text></EchoResult><ResponseMetadata><RequestId>07070707-0707-4707-8707-070707070707</RequestId></ResponseMetadata></EchoResponse>"#,
            ),
        };
        assert_eq!(answer.headers["content-type"], kind);
        assert_eq!(answer.body, body);
        assert_eq!(answer.recorded, (Some("Echo"), 200, None));
    }
}

/// What is done to a draft, the status that follows, and the codes in JSON and in the query protocol.
type Refusal = (&'static str, fn(&mut Draft), u16, &'static str, &'static str);

/// Every way to be refused before a handler runs.
fn refusals() -> Vec<Refusal> {
    vec![
        (
            "unknown key",
            |d| d.key = "AKIB",
            403,
            "UnrecognizedClientException",
            "InvalidClientTokenId",
        ),
        (
            "wrong secret",
            |d| d.secret = "other",
            403,
            "InvalidSignatureException",
            "SignatureDoesNotMatch",
        ),
        (
            "too late",
            |d| d.date = "20261122T202153Z",
            403,
            "InvalidSignatureException",
            "SignatureDoesNotMatch",
        ),
        (
            "too early",
            |d| d.date = "20261122T203155Z",
            403,
            "InvalidSignatureException",
            "SignatureDoesNotMatch",
        ),
        (
            "another region",
            |d| d.region = "eu-west-1",
            403,
            "InvalidSignatureException",
            "SignatureDoesNotMatch",
        ),
        ("not allowed", |d| d.key = "DENIED", 403, "AccessDeniedException", "AccessDenied"),
        (
            "not built",
            |d| d.operation = "Later",
            501,
            "NotImplementedException",
            "NotImplementedException",
        ),
        ("unknown", |d| d.operation = "Nothing", 404, "UnknownOperationException", "InvalidAction"),
        ("too long", |d| d.text = "toolong", 400, "ValidationException", "ValidationError"),
    ]
}

#[tokio::test]
async fn every_refusal_has_its_code_in_every_envelope() {
    for service in SERVICES {
        for (name, change, status, code, query_code) in refusals() {
            let mut draft = Draft::new(service);
            change(&mut draft);
            let answer = draft.send().await;
            assert_eq!(answer.status, status, "{service}, {name}: {answer:?}");
            let expected = if service == "query" { query_code } else { code };
            assert_eq!(answer.error(service).0, expected, "{service}, {name}");
        }
        let mut unsigned = Draft::new(service).request();
        unsigned.headers_mut().remove("authorization");
        let answer = send(unsigned).await;
        assert_eq!(answer.status, 403);
        let code = answer.error(service).0;
        assert_eq!(code.trim_end_matches("Exception"), "MissingAuthenticationToken");
        let mut incomplete = Draft::new(service).request();
        incomplete.headers_mut().remove("x-amz-date");
        let answer = send(incomplete).await;
        assert_eq!(answer.status, 403);
    }
}

#[tokio::test]
async fn a_key_nobody_has_learns_nothing_of_operations() {
    for service in SERVICES {
        for operation in ["Later", "Nothing"] {
            let mut draft = Draft::new(service);
            (draft.key, draft.operation) = ("AKIB", operation);
            assert_eq!(draft.send().await.status, 403);
        }
    }
}

#[tokio::test]
async fn a_service_that_is_not_there_is_refused() {
    let mut draft = Draft::new("rest");
    draft.service = "s3";
    let answer = draft.send().await;
    assert_eq!(answer.status, 403);
    let (code, message) = answer.error("rest");
    assert_eq!(code, "InvalidSignatureException");
    assert_eq!(message, "Credential should be scoped to correct service; 's3' is not served here.");
    assert_eq!(answer.recorded.0, None);
}

#[tokio::test]
async fn a_scope_of_one_service_opens_no_other() {
    // The path of `rest`, signed for `json`.
    let mut draft = Draft::new("json");
    draft.operation = "Echo";
    let mut request = draft.request();
    *request.uri_mut() = "/echo".parse().unwrap();
    request.headers_mut().remove("x-amz-target");
    let answer = send(request).await;
    assert_eq!(answer.recorded.0, None);
    assert_eq!(answer.status, 403);
}

#[tokio::test]
async fn an_error_carries_what_is_meant_for_the_client_alone() {
    for service in SERVICES {
        let mut draft = Draft::new(service);
        draft.text = "fail";
        let answer = draft.send().await;
        assert_eq!(answer.status, 409);
        assert_eq!(answer.headers["retry-after"], "1");
        let (code, message) = answer.error(service);
        assert_eq!(code, "DeclaredException");
        let escaped = if service == "query" { "no &lt;way&gt;" } else { "no <way>" };
        assert_eq!(message, escaped);
        assert!(!answer.body.contains("not for the client"));
        assert_eq!(answer.recorded.2.as_deref(), Some("not for the client"));
        match service {
            "rest" => assert_eq!(
                answer.body,
                r#"{"Type":"User","Reason":"Because","Message":"no <way>"}"#
            ),
            "json" => assert_eq!(
                answer.body,
                r#"{"__type":"DeclaredException","Message":"no <way>","Reason":"Because"}"#
            ),
            _ => assert!(answer.body.contains("<Type>Sender</Type>")),
        }
    }
}

#[tokio::test]
async fn bodies_that_cannot_be_read() {
    for (body, code) in [
        ("{", "SerializationException"),
        ("[]", "SerializationException"),
        ("\"x\"", "SerializationException"),
        ("\u{0}", "SerializationException"),
        (r#"{"Text":1}"#, "SerializationException"),
        (r#"{"Text":{"a":"b"}}"#, "SerializationException"),
        (r#"{"Text":null}"#, "ValidationException"),
        ("", "ValidationException"),
        ("{}", "ValidationException"),
    ] {
        for service in ["rest", "json"] {
            let mut draft = Draft::new(service);
            draft.body = Some(body.to_owned());
            let answer = draft.send().await;
            assert_eq!(answer.status, 400, "{body}");
            assert_eq!(answer.error(service).0, code, "{body}");
        }
    }
    let deep = format!("{{\"Text\":{}", "[".repeat(100_000));
    let mut draft = Draft::new("json");
    draft.body = Some(deep);
    assert_eq!(draft.send().await.status, 400);
}
