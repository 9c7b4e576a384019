//! An AWS API call: its body, read with a limit, then `wire::serve` in a task of its own.
//!
//! The task is what makes a mutating call run to its end when the client hangs up: hyper drops the future that waits
//! for it, and the task goes on. It is counted, so that a stop waits for it too.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use gatemill_meter::{Span, SpanKind, SpanSink, Stages, TraceContext};
use gatemill_wire::{
    ApiError, Arrival, Body, Called, OperationInfo, Passage, RequestId,
    error::common,
    payload::headers::TRACE,
    protocol::{self, Encoding},
    serve,
    sigv4::Claim,
};
use http::{Request, Response, StatusCode, header, request::Parts};
use http_body::Body as HttpBody;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::{
    sync::SemaphorePermit,
    time::{Instant, timeout_at},
};

use crate::{limits, peer::Peer, server::Server};

/// Serves the call.
pub(crate) async fn answer(
    server: &Arc<Server>,
    peer: &Peer,
    request: Request<Incoming>,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let arrival = server.arrival(&parts, peer);
    // Whoever it is, what is this small is read.
    let is_small = body.size_hint().upper().is_some_and(|bytes| bytes <= STRANGER_BYTES);
    let known = is_small || is_known(server, &parts);
    let limit = if known { limits::API_BODY_BYTES_MAX } else { limits::STRANGER_BODY_BYTES_MAX };
    let _room = room(server, &body, limit).await;
    let expected = declared(&parts).unwrap_or(0).min(limit);
    let body = match read(body, expected, limit).await {
        Ok(body) => body,
        Err(Unread::TooLarge) if known => {
            return too_large(server, &arrival, &parts).map(Body::Whole);
        }
        // Whoever is unknown is told so and nothing else; that needs no body.
        Err(Unread::TooLarge) => Bytes::new(),
        Err(Unread::Broken) => {
            return text(
                StatusCode::BAD_REQUEST,
                "SerializationException",
                "The body cannot be read.",
            )
            .map(Body::Whole);
        }
        Err(Unread::Late) => {
            return text(
                StatusCode::REQUEST_TIMEOUT,
                "RequestTimeout",
                "The body came too slowly.",
            )
            .map(Body::Whole);
        }
    };
    run(server, arrival, Request::from_parts(parts, body)).await
}

const STRANGER_BYTES: u64 = limits::STRANGER_BODY_BYTES_MAX as u64;

/// Serves a call whose body is there.
pub(crate) async fn run(
    server: &Arc<Server>,
    mut arrival: Arrival,
    request: Request<Bytes>,
) -> Response<Body> {
    let running = server.in_flight.enter();
    let server = Arc::clone(server);
    let call = tokio::spawn(async move {
        let watch = server.spans.as_ref().map(|_| Watch::begin(&mut arrival, request.headers()));
        let response = serve(&server.front, arrival, request).await;
        if let Some((spans, watch)) = server.spans.as_ref().zip(watch) {
            watch.end(&**spans, &response);
        }
        drop(running);
        response
    });
    match call.await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(%error, "an API call did not end");
            text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalFailure",
                "An internal error occurred.",
            )
            .map(Body::Whole)
        }
    }
}

/// A call as its span tells of it.
struct Watch {
    way: Arc<Way>,
    started_ms: i64,
    trace: TraceContext,
}

/// The stages that a call has passed. It is told of them by one task, one after the other.
struct Way {
    begun: Instant,
    stages: Mutex<Stages>,
}

impl Way {
    fn elapsed_us(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn stages(&self) -> MutexGuard<'_, Stages> {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Passage for Way {
    fn passed(&self, stage: &'static str) {
        self.stages().end(stage, || self.elapsed_us());
    }
}

impl Watch {
    fn begin(arrival: &mut Arrival, headers: &http::HeaderMap) -> Self {
        let trace = headers.get(TRACE).and_then(|value| value.to_str().ok());
        let way = Arc::new(Way { begun: Instant::now(), stages: Mutex::new(Stages::kept()) });
        arrival.passage = Some(Arc::clone(&way) as _);
        Self {
            way,
            started_ms: arrival.now.millis(),
            trace: TraceContext::read(trace.unwrap_or_default()),
        }
    }

    fn end(self, spans: &dyn SpanSink, response: &Response<Body>) {
        let status = response.status().as_u16();
        let called = response.extensions().get::<Called>();
        let operation = called.and_then(|called| called.operation);
        let mut attributes = vec![("http.response.status_code", status.to_string().into())];
        if let Some(called) = called {
            attributes.push(("aws.request_id", called.request_id.to_string().into()));
        }
        if let Some(operation) = operation {
            attributes.push(("rpc.service", operation.service.name.into()));
            attributes.push(("rpc.method", operation.name.into()));
        }
        spans.take(Span {
            name: "api",
            kind: SpanKind::Server,
            trace: self.trace,
            started_ms: self.started_ms,
            took_us: self.way.elapsed_us(),
            stages: std::mem::take(&mut *self.way.stages()),
            failed: status >= 500 && status != 501,
            attributes,
        });
    }
}

/// Whether the access key that signed is one of ours. The signature itself is checked with the body.
fn is_known(server: &Server, parts: &Parts) -> bool {
    let now = server.clock.now();
    Claim::read(parts)
        .is_ok_and(|claim| server.front.credentials.find(claim.presented(now)).is_ok())
}

/// A share of the memory for bodies, for a body that may be large.
pub(crate) async fn room<'a>(
    server: &'a Server,
    body: &impl HttpBody,
    limit: usize,
) -> Option<SemaphorePermit<'a>> {
    // What has no length ahead may come to the limit; what has no body has a length, whatever its method.
    let told = body.size_hint().upper().and_then(|bytes| usize::try_from(bytes).ok());
    let bytes = told.unwrap_or(limit).min(limit);
    if bytes <= limits::API_BODY_FREE_BYTES {
        return None;
    }
    let kib = u32::try_from(bytes / 1024).expect("the limit of a body is far below 4 TiB");
    // The semaphore is never closed, so this only waits.
    server.bodies.acquire_many(kib).await.ok()
}

/// The length that the head says.
pub(crate) fn declared(parts: &Parts) -> Option<usize> {
    parts.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Why there is no body.
#[derive(Debug)]
pub(crate) enum Unread {
    /// Larger than the limit.
    TooLarge,
    /// The connection or its framing broke.
    Broken,
    /// It paused for too long, or came drop by drop.
    Late,
}

/// Reads a body of at most `limit` bytes. One that is larger is read on and thrown away, within a limit, so that the
/// client gets the answer.
pub(crate) async fn read(
    mut body: impl HttpBody<Data = Bytes> + Unpin,
    expected: usize,
    limit: usize,
) -> Result<Bytes, Unread> {
    let started = Instant::now();
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut size = 0;
    loop {
        // Each byte gives the next ones time, but no more than a pause may take.
        let given = Duration::from_secs(size as u64 / limits::BODY_BYTES_PER_SECOND_MIN);
        let late =
            (started + limits::BODY_IDLE_MAX + given).min(Instant::now() + limits::BODY_IDLE_MAX);
        let frame = match timeout_at(late, body.frame()).await {
            Err(_) => return Err(Unread::Late),
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(Unread::Broken),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(piece) = frame.into_data() else { continue };
        size += piece.len();
        if size > limits::API_BODY_DISCARD_BYTES_MAX {
            return Err(Unread::TooLarge);
        }
        if size > limit {
            (first, rest) = (Bytes::new(), BytesMut::new());
        } else if first.is_empty() {
            first = piece;
        } else {
            if rest.is_empty() {
                rest.reserve(expected);
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&piece);
        }
    }
    match size {
        size if size > limit => Err(Unread::TooLarge),
        _ if rest.is_empty() => Ok(first),
        _ => Ok(rest.freeze()),
    }
}

fn too_large(server: &Server, arrival: &Arrival, parts: &Parts) -> Response<Bytes> {
    let Some(operation) = named(server, parts) else {
        let message = format!("Request must be smaller than {} bytes", limits::API_BODY_BYTES_MAX);
        return text(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLargeException", &message);
    };
    let message = format!(
        "Request must be smaller than {} bytes for the {} operation",
        limits::API_BODY_BYTES_MAX,
        operation.name
    );
    let error = ApiError::new(&common::REQUEST_ENTITY_TOO_LARGE, message);
    let request_id = RequestId(arrival.entropy.uuid());
    let encoding = Encoding::of(operation.service, parts);
    protocol::encode_error(operation.service, encoding, request_id, &error)
}

/// The answer to a caller whose key is not accepted, in the form of the service that was meant.
pub(crate) fn unrecognized(server: &Server, parts: &Parts) -> Response<Bytes> {
    let message = "The security token included in the request is invalid.";
    let error = ApiError::new(&common::UNRECOGNIZED_CLIENT, message);
    let meant = Claim::read(parts).map(|claim| claim.service).unwrap_or_default();
    let mut services = server.front.services.iter().map(|served| served.service());
    match services.find(|service| service.signing_name == meant) {
        Some(service) => {
            let request_id = RequestId(server.entropy.uuid());
            protocol::encode_error(service, Encoding::of(service, parts), request_id, &error)
        }
        None => text(StatusCode::FORBIDDEN, "UnrecognizedClientException", message),
    }
}

/// The operation that the head of a request names.
fn named(server: &Server, parts: &Parts) -> Option<&'static OperationInfo> {
    let claim = Claim::read(parts).ok()?;
    let mut services = server.front.services.iter();
    let served = services.find(|served| served.service().signing_name == claim.service)?;
    served.route(parts, &Bytes::new()).map(|(operation, _)| operation)
}

/// An error of a call whose service is unknown, in a form that every client of AWS can read.
pub(crate) fn text(status: StatusCode, code: &'static str, message: &str) -> Response<Bytes> {
    let body = serde_json::json!({ "__type": code, "message": message }).to_string();
    let response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json")
        .header("x-amzn-errortype", code)
        .body(Bytes::from(body));
    response.expect("these headers are valid")
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        pin::Pin,
        task::{Context, Poll},
    };

    use http_body::Frame;
    use tokio::time::Interval;

    use super::*;

    /// A body that comes byte by byte for ever.
    struct Drops(Interval);

    impl HttpBody for Drops {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0.poll_tick(cx).map(|_| Some(Ok(Frame::data(Bytes::from_static(b"x")))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_comes_drop_by_drop_is_late() {
        for every in [Duration::from_millis(10), Duration::from_secs(29), Duration::from_secs(31)] {
            let started = Instant::now();
            let read = read(Drops(tokio::time::interval(every)), 0, 1_000_000).await;
            assert!(matches!(read, Err(Unread::Late)), "{every:?}");
            assert!(started.elapsed() <= 2 * limits::BODY_IDLE_MAX, "{:?}", started.elapsed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_comes_steadily_is_read_however_long_it_takes() {
        let steady = Drops(tokio::time::interval(Duration::from_micros(500)));
        let read = read(http_body_util::Limited::new(steady, 100_000), 0, 200_000).await;
        // It ends by the test's own limit, after 50 seconds.
        assert!(matches!(read, Err(Unread::Broken)), "{read:?}");
    }
}
