//! What an execution environment is told and may say, without a socket: the Runtime API's state machine and the
//! extensions around it.
//!
//! Source: the public description of the APIs, and states, error types and texts of AWS's open-source agent. A request gives
//! an answer at once or a long poll; what it means for the environment is a [`Said`], which the call's exchange reads as
//! it reads a frame.

use std::{collections::VecDeque, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use gatemill_wire::Entropy;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header, request};

use super::{
    connection::{Asked, Waits},
    extension::{self, Extensions},
    http1::{self, Answer, Arrived},
    telemetry::Subscription,
};
use crate::{
    frame::{Body, InvokeMeta, Kind},
    limits::{RESPONSE_BYTES_MAX, STREAM_CHUNK_BYTES_MAX},
};

const RESPONSE_MODE: &str = "lambda-runtime-function-response-mode";
const STREAMING: &[u8] = b"streaming";
/// The trailer that says which failure ended an answer in pieces.
pub(super) const ERROR_TYPE: &str = "lambda-runtime-function-error-type";
const RUNTIME: &str = "/2018-06-01/runtime/";
const EXTENSION: &str = "/2020-01-01/extension/";
const TELEMETRY: &str = "/2022-07-01/telemetry";
const LOGS: &str = "/2020-08-15/logs";

/// What came of a request, or of a wait.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// The runtime says something.
    Runtime(Kind, Body),
    /// An extension gave up.
    ExtensionFailed(extension::Failure),
    /// An extension wants to be sent events.
    Subscribed(Box<Subscription>),
    /// An external extension registered.
    Registered,
    /// All extensions that were not asked for their next event before have asked for it now.
    ExtensionsAsked,
}

/// How a request is answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Now(Answer),
    Later(Waits),
    /// It is for none of the APIs here.
    Elsewhere,
}

/// Where the runtime stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Runtime {
    Started,
    InitError,
    /// It asked for the next invocation; whether it had run one before.
    Waiting {
        again: bool,
    },
    /// It has an invocation.
    Running,
    ResponseSent,
}

impl Runtime {
    /// As AWS's agent calls the state.
    fn name(self) -> &'static str {
        match self {
            Self::Started | Self::Waiting { again: false } => "Started",
            Self::InitError => "InitError",
            Self::Running => "Ready",
            Self::ResponseSent | Self::Waiting { again: true } => "RuntimeResponseSentState",
        }
    }

    fn cannot_become(self, next: &str) -> Answer {
        let name = self.name();
        let message = format!(
            "State transition from {name} to {next} failed for runtime. Error: State transition is not allowed"
        );
        Answer::error(StatusCode::FORBIDDEN, "InvalidStateTransition", &message)
    }
}

/// The invocation that the runtime has or is about to get.
#[derive(Debug)]
struct Current {
    request_id: String,
    /// The head of the answer to `next`, and its body.
    head: Bytes,
    payload: Bytes,
}

/// The APIs' side of one environment.
#[derive(Debug)]
pub(crate) struct Stage {
    /// Whether the runtime speaks the Runtime API, and not frames.
    speaks_http: bool,
    runtime: Runtime,
    current: Option<Current>,
    /// Whether the answer has begun that comes in pieces.
    is_streaming: bool,
    pub(crate) extensions: Extensions,
    has_telemetry: bool,
    said: VecDeque<Said>,
}

impl Stage {
    pub(crate) fn new(entropy: Arc<dyn Entropy>, has_telemetry: bool) -> Self {
        Self {
            speaks_http: false,
            runtime: Runtime::Started,
            current: None,
            is_streaming: false,
            extensions: Extensions::new(entropy),
            has_telemetry,
            said: VecDeque::new(),
        }
    }

    /// The runtime is going to speak the Runtime API.
    pub(crate) fn expect_http(&mut self) {
        self.speaks_http = true;
    }

    /// An invocation for a runtime that speaks the Runtime API.
    pub(crate) fn offer(&mut self, meta: &InvokeMeta<'_>, payload: Bytes) {
        let head = next_head(meta, payload.len());
        self.current = Some(Current { request_id: meta.request_id.to_owned(), head, payload });
    }

    /// Whether the runtime took the invocation.
    pub(crate) fn has_taken(&self) -> bool {
        self.current.is_none() || self.runtime == Runtime::Running
    }

    /// The answer to a runtime that waits for an invocation.
    pub(crate) fn take_invocation(&mut self) -> Option<(Bytes, Bytes)> {
        let current = self.current.as_ref()?;
        self.runtime = Runtime::Running;
        Some((current.head.clone(), current.payload.clone()))
    }

    /// What was said since.
    pub(crate) fn next_said(&mut self) -> Option<Said> {
        self.said.pop_front()
    }

    /// How much of the body of a request to this path is kept.
    pub(crate) fn keep_max(path: &str, elsewhere: usize) -> usize {
        let ours = [RUNTIME, EXTENSION, TELEMETRY, LOGS];
        if ours.iter().any(|prefix| path.starts_with(prefix)) {
            RESPONSE_BYTES_MAX
        } else {
            elsewhere
        }
    }

    /// Takes one request.
    pub(crate) fn ask(&mut self, asked: &Asked) -> Reply {
        let path = asked.head.uri.path();
        if let Some(call) = path.strip_prefix(RUNTIME) {
            return self.ask_runtime(call, asked);
        }
        if let Some(call) = path.strip_prefix(EXTENSION) {
            return self.extensions.ask(call, asked, &mut self.said);
        }
        match path {
            "/2018-06-01/ping" if asked.head.method == Method::GET => {
                let pong = Answer::new(StatusCode::OK, Bytes::from_static(b"pong"));
                Reply::Now(Answer {
                    headers: vec![("Content-Type", "text/plain".to_owned())],
                    ..pong
                })
            }
            TELEMETRY => Reply::Now(self.subscribe(false, asked)),
            LOGS => Reply::Now(self.subscribe(true, asked)),
            _ => Reply::Elsewhere,
        }
    }

    fn subscribe(&mut self, logs: bool, asked: &Asked) -> Answer {
        if asked.head.method != Method::PUT {
            return Answer::error(
                StatusCode::METHOD_NOT_ALLOWED,
                "MethodNotAllowed",
                "Method not allowed",
            );
        }
        match self.extensions.subscribe(logs, self.has_telemetry, asked) {
            Ok(subscription) => {
                self.said.push_back(Said::Subscribed(Box::new(subscription)));
                Answer::new(StatusCode::OK, Bytes::from_static(b"\"OK\""))
            }
            Err(refusal) => refusal,
        }
    }

    fn ask_runtime(&mut self, call: &str, asked: &Asked) -> Reply {
        let parts: Vec<&str> = call.split('/').collect();
        let wanted = if parts.last() == Some(&"next") { Method::GET } else { Method::POST };
        let answer = match parts.as_slice() {
            ["invocation", "next"] if asked.head.method == wanted => return self.next(),
            ["invocation", id, "response"] if asked.head.method == wanted => {
                self.response(id, asked)
            }
            ["invocation", id, "error"] if asked.head.method == wanted => self.error(id, asked),
            ["init", "error"] if asked.head.method == wanted => self.init_error(asked),
            ["invocation", "next"]
            | ["invocation", _, "response" | "error"]
            | ["init", "error"] => Answer::error(
                StatusCode::METHOD_NOT_ALLOWED,
                "MethodNotAllowed",
                "Method not allowed",
            ),
            _ => Answer::error(StatusCode::NOT_FOUND, "NotFound", "404 page not found"),
        };
        Reply::Now(answer)
    }

    fn next(&mut self) -> Reply {
        // A second client would take the invocations of the one that speaks frames.
        if !self.speaks_http {
            return Reply::Now(self.runtime.cannot_become("Ready"));
        }
        match self.runtime {
            Runtime::InitError => return Reply::Now(self.runtime.cannot_become("Ready")),
            Runtime::Started => {
                self.said.push_back(Said::Runtime(Kind::Ready, Body::Whole(Bytes::new())));
                self.runtime = Runtime::Waiting { again: false };
            }
            Runtime::ResponseSent => self.runtime = Runtime::Waiting { again: true },
            // Who asks twice is given the same again.
            Runtime::Waiting { .. } | Runtime::Running => {}
        }
        Reply::Later(Waits::Invocation)
    }

    fn response(&mut self, id: &str, asked: &Asked) -> Answer {
        if let Some(refusal) = self.refusal(id, "InvocationResponse") {
            return refusal;
        }
        let headers = &asked.head.headers;
        match headers.get(RESPONSE_MODE).map(|mode| mode.as_bytes()) {
            _ if comes_in_pieces(headers) => self.streamed(asked),
            None => self.answered(Kind::Response, asked.body.clone()),
            Some(_) => {
                let (kind, message) =
                    ("InvalidFunctionResponseMode", "Invalid function response mode");
                Answer::error(StatusCode::BAD_REQUEST, kind, message)
            }
        }
    }

    /// Whether a request is the answer to the invocation that runs, in pieces.
    pub(crate) fn is_stream(&self, head: &request::Parts) -> bool {
        let Some(current) = &self.current else { return false };
        let call = head.uri.path().strip_prefix(RUNTIME);
        let call = call.and_then(|call| call.strip_prefix("invocation/"));
        self.runtime == Runtime::Running
            && head.method == Method::POST
            && call.and_then(|call| call.strip_suffix("/response")) == Some(&*current.request_id)
            && comes_in_pieces(&head.headers)
    }

    /// A piece of such an answer; its request goes on.
    pub(crate) fn piece(&mut self, headers: &HeaderMap, mut piece: Bytes) {
        // The invocation may be over by now: what comes too late is nobody's.
        if self.runtime != Runtime::Running {
            return;
        }
        if !std::mem::replace(&mut self.is_streaming, true) {
            let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
            let content_type = Bytes::copy_from_slice(content_type.unwrap_or_default());
            self.said.push_back(Said::Runtime(Kind::StreamBegin, Body::Whole(content_type)));
        }
        while !piece.is_empty() {
            let part = piece.split_to(piece.len().min(STREAM_CHUNK_BYTES_MAX));
            self.said.push_back(Said::Runtime(Kind::StreamChunk, Body::Whole(part)));
        }
    }

    /// The end of such an answer, with what of it came along.
    fn streamed(&mut self, asked: &Asked) -> Answer {
        let failed = failed_in_stream(asked);
        let Arrived::Whole(rest) = &asked.body else {
            return self.answered(Kind::Response, Arrived::TooLarge);
        };
        // A handler that failed before its first byte has not begun an answer.
        if !self.is_streaming
            && rest.is_empty()
            && let Some(error) = failed
        {
            return self.answered(Kind::Error, Arrived::Whole(error));
        }
        self.piece(&asked.head.headers, rest.clone());
        self.is_streaming = false;
        match failed {
            Some(error) => self.answered(Kind::StreamError, Arrived::Whole(error)),
            None => self.answered(Kind::StreamEnd, Arrived::Whole(Bytes::new())),
        }
    }

    fn error(&mut self, id: &str, asked: &Asked) -> Answer {
        match self.refusal(id, "InvocationErrorResponse") {
            Some(refusal) => refusal,
            None => self.answered(Kind::Error, asked.body.clone()),
        }
    }

    fn refusal(&self, id: &str, next: &str) -> Option<Answer> {
        if self.runtime != Runtime::Running {
            return Some(self.runtime.cannot_become(next));
        }
        let is_current = self.current.as_ref().is_some_and(|current| current.request_id == id);
        let invalid =
            || Answer::error(StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID");
        (!is_current).then(invalid)
    }

    fn answered(&mut self, kind: Kind, body: Arrived) -> Answer {
        self.current = None;
        self.runtime = Runtime::ResponseSent;
        match body {
            Arrived::Whole(bytes) => {
                self.said.push_back(Said::Runtime(kind, Body::Whole(bytes)));
                Answer::accepted()
            }
            Arrived::TooLarge => {
                self.said.push_back(Said::Runtime(kind, Body::TooLarge));
                too_large()
            }
        }
    }

    fn init_error(&mut self, asked: &Asked) -> Answer {
        let may = self.speaks_http && matches!(self.runtime, Runtime::Started);
        if !may {
            return self.runtime.cannot_become("InitError");
        }
        self.runtime = Runtime::InitError;
        let (body, answer) = match &asked.body {
            Arrived::Whole(bytes) => (Body::Whole(bytes.clone()), Answer::accepted()),
            Arrived::TooLarge => (Body::TooLarge, too_large()),
        };
        self.said.push_back(Said::Runtime(Kind::InitError, body));
        answer
    }
}

fn too_large() -> Answer {
    let message = format!("Exceeded maximum allowed payload size ({RESPONSE_BYTES_MAX} bytes).");
    Answer::error(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", &message)
}

/// Whether an answer is to be passed on while it comes. Most clients say so. AWS's for Go does not: what a handler gives
/// it to read from comes without a length, with trailers for a failure, and as anything but JSON, which is how it sends values.
fn comes_in_pieces(headers: &HeaderMap) -> bool {
    if let Some(mode) = headers.get(RESPONSE_MODE) {
        return mode.as_bytes() == STREAMING;
    }
    let is_json = headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind == "application/json");
    let trailers = headers.get(header::TRAILER).and_then(|names| names.to_str().ok());
    let may_fail = trailers.is_some_and(|names| {
        names.split(',').any(|name| name.trim().eq_ignore_ascii_case(ERROR_TYPE))
    });
    !is_json && may_fail && !headers.contains_key(header::CONTENT_LENGTH)
}

/// The error document in the trailers of a streamed answer whose handler failed on the way: base64 of JSON.
fn failed_in_stream(asked: &Asked) -> Option<Bytes> {
    let kind = asked.error_type.as_deref()?;
    let document = asked.error_body.as_deref().and_then(|body| STANDARD.decode(body).ok());
    let plain = || serde_json::json!({ "errorType": kind }).to_string().into_bytes();
    Some(document.unwrap_or_else(plain).into())
}

/// What stands before the event in the answer to `next`.
fn next_head(meta: &InvokeMeta<'_>, payload_len: usize) -> Bytes {
    let deadline = meta.deadline_ms.to_string();
    let fields = [
        ("Content-Type", "application/json"),
        ("Lambda-Runtime-Aws-Request-Id", meta.request_id),
        ("Lambda-Runtime-Deadline-Ms", &deadline),
        ("Lambda-Runtime-Invoked-Function-Arn", meta.function_arn),
        ("Lambda-Runtime-Trace-Id", meta.trace_id),
        ("Lambda-Runtime-Client-Context", meta.client_context),
        ("Lambda-Runtime-Cognito-Identity", meta.cognito_identity),
        ("Lambda-Runtime-Aws-Tenant-Id", meta.tenant_id),
    ];
    let present = fields.iter().filter(|(_, value)| !value.is_empty());
    http1::head(StatusCode::OK, present.map(|(name, value)| (*name, value.as_bytes())), payload_len)
}

/// One header as text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).filter(|value| !value.is_empty())
}

#[cfg(test)]
#[path = "stage_tests.rs"]
mod tests;
