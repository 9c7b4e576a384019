//! What the client of a function URL gets: the function's answer, whole or in pieces, or a refusal in AWS's words.

use std::task::{Context, Poll, ready};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use gatemill_api::lambda as api;
use gatemill_wire::{
    ApiError, Body, BrokenOff, Pieces, RequestId,
    payload::{
        Answer, Malformed,
        headers::{TRACE, remove_hop_by_hop},
    },
    protocol::{self, Encoding},
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use serde::de::IgnoredAny;

use crate::{
    Error, Outcome, ResponseStream, StreamEnd, StreamEvent, Streaming,
    limits::STREAM_PRELUDE_BYTES_MAX,
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
/// The type of a streamed answer that begins with a head of its own.
const HTTP_ANSWER: &str = "application/vnd.awslambda.http-integration-response";
/// What stands between that head and the body.
const PRELUDE_END: [u8; 8] = [0; 8];
/// The trailers of an answer whose function failed in the middle.
const ERROR_TYPE: HeaderName = HeaderName::from_static("lambda-runtime-function-error-type");
/// See [`ERROR_TYPE`].
const ERROR_BODY: HeaderName = HeaderName::from_static("lambda-runtime-function-error-body");

/// Headers that are the connection's and not the function's: theirs get another name.
const REMAPPED: [&str; 8] = [
    "connection",
    "content-length",
    "date",
    "host",
    "server",
    "transfer-encoding",
    "via",
    "www-authenticate",
];

/// Why a request got no answer of its function.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// Nobody lets the caller in.
    #[error("the caller is not let in")]
    Forbidden,
    /// The signature is missing or wrong.
    #[error("the signature is refused")]
    Signature(ApiError),
    /// The function could not be run.
    #[error(transparent)]
    Call(Error),
    /// The function ended in an error of its own.
    #[error("the function ended in an error")]
    Failed,
    /// What it answered is none that HTTP can carry.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// The answer of a URL that nobody has.
pub fn unknown_url(request_id: RequestId) -> Response<Body> {
    let mut response = refused(StatusCode::FORBIDDEN, r#"{"Message":null}"#);
    let id = request_id.to_string();
    stamp_id(&mut response, &id);
    response
}

/// A refusal in AWS's words.
pub(super) fn refusal(why: Refused, request_id: RequestId) -> Response<Body> {
    match why {
        Refused::Forbidden => refused(
            StatusCode::FORBIDDEN,
            "{\"Message\":\"Forbidden. For troubleshooting Function URL authorization issues, see: \
             https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html\"}",
        ),
        Refused::Signature(error) => encoded(&error, request_id),
        Refused::Call(error) => {
            let error = ApiError::from(error);
            match error.shape.status {
                413 | 429 => encoded(&error, request_id),
                500.. => broken(StatusCode::INTERNAL_SERVER_ERROR),
                _ => broken(StatusCode::BAD_GATEWAY),
            }
        }
        Refused::Failed | Refused::Malformed(_) => broken(StatusCode::BAD_GATEWAY),
    }
}

fn encoded(error: &ApiError, request_id: RequestId) -> Response<Body> {
    protocol::encode_error(&api::SERVICE, Encoding::Own, request_id, error).map(Body::Whole)
}

fn refused(status: StatusCode, json: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::Whole(Bytes::from_static(json.as_bytes())));
    *response.status_mut() = status;
    let code = HeaderValue::from_static("AccessDeniedException");
    response.headers_mut().insert("x-amzn-errortype", code);
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

fn broken(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::Whole(Bytes::from_static(b"Internal Server Error")));
    *response.status_mut() = status;
    let text = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}

/// Adds what every answer has.
pub(super) fn stamp(response: &mut Response<Body>, request_id: RequestId, trace_id: &str) {
    stamp_id(response, &request_id.to_string());
    if let Ok(trace) = HeaderValue::from_str(trace_id) {
        response.headers_mut().insert(TRACE, trace);
    }
    let status = response.status();
    if status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
        *response.body_mut() = Body::Whole(Bytes::new());
    }
}

fn stamp_id(response: &mut Response<Body>, id: &str) {
    let id = HeaderValue::from_str(id).expect("a UUID is ASCII");
    response.headers_mut().insert("x-amzn-requestid", id);
}

/// The answer of a function that gave it whole.
pub(super) fn buffered(outcome: &Outcome) -> Result<Response<Body>, Refused> {
    if outcome.function_error.is_some() {
        return Err(Refused::Failed);
    }
    if serde_json::from_slice::<IgnoredAny>(&outcome.payload).is_err() {
        // Bytes that a streaming handler wrote, or a runtime of the customer's own.
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, OCTETS)]);
        return Ok(assembled(StatusCode::OK, headers, Body::Whole(outcome.payload.clone())));
    }
    let answer = Answer::read(&outcome.payload, JSON)?;
    Ok(assembled(answer.status, answer.headers, Body::Whole(answer.body)))
}

/// Whether a client said that it reads what follows a body.
pub(super) fn reads_trailers(headers: &HeaderMap) -> bool {
    let words = headers.get_all(header::TE).iter().filter_map(|value| value.to_str().ok());
    words
        .flat_map(|value| value.split(','))
        .any(|word| word.trim().eq_ignore_ascii_case("trailers"))
}

/// The answer of a function that still gives it. Returns with its first byte, so that a failure before that is a
/// status. A later one is told in trailers where they are read.
pub(super) async fn streamed(
    streaming: Streaming,
    trailers: bool,
) -> Result<Response<Body>, Refused> {
    let Streaming { content_type, mut stream, executed_version: _ } = streaming;
    if content_type == HTTP_ANSWER {
        let (head, first) = prelude(&mut stream).await?;
        let body = Rest::after(first, stream, trailers);
        return Ok(announced(assembled(head.status, head.headers, body), trailers));
    }
    let body = match stream.next().await {
        Some(StreamEvent::Chunk(first)) => Rest::after(Some(first), stream, trailers),
        Some(StreamEvent::End(StreamEnd { error: None, .. })) => Body::Whole(Bytes::new()),
        Some(StreamEvent::End(_)) | None => return Err(Refused::Failed),
    };
    let content_type = HeaderValue::from_str(&content_type).unwrap_or(OCTETS);
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, content_type)]);
    Ok(announced(assembled(StatusCode::OK, headers, body), trailers))
}

/// With the names of the trailers that may follow: others may not.
fn announced(mut response: Response<Body>, trailers: bool) -> Response<Body> {
    if trailers && matches!(response.body(), Body::Pieces(_)) {
        let names = HeaderValue::from_static(
            "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body",
        );
        response.headers_mut().insert(header::TRAILER, names);
    }
    response
}

/// A failure in the words of the Runtime API, in which runtimes tell it: its type, and its document in base64.
fn failure(document: &[u8]) -> HeaderMap {
    #[derive(serde::Deserialize)]
    struct Typed {
        #[serde(rename = "errorType")]
        error_type: String,
    }
    let typed = serde_json::from_slice::<Typed>(document);
    let kind = typed.map_or_else(|_| "Unhandled".to_owned(), |typed| typed.error_type);
    let body = HeaderValue::from_str(&STANDARD.encode(document));
    let mut trailers = HeaderMap::new();
    let kind = HeaderValue::from_str(&kind);
    trailers.insert(ERROR_TYPE, kind.unwrap_or(HeaderValue::from_static("Unhandled")));
    if let Ok(body) = body
        && document.len() <= STREAM_PRELUDE_BYTES_MAX
    {
        trailers.insert(ERROR_BODY, body);
    }
    trailers
}

/// Reads the head that a streamed HTTP answer begins with, and what of its body came along.
async fn prelude(stream: &mut ResponseStream) -> Result<(Answer, Option<Bytes>), Refused> {
    const MISSING: Malformed = Malformed("the streamed answer has no head");
    let mut read = BytesMut::new();
    loop {
        match stream.next().await {
            Some(StreamEvent::Chunk(chunk)) => {
                // The end may be in two pieces.
                let seen = read.len().saturating_sub(PRELUDE_END.len() - 1);
                read.extend_from_slice(&chunk);
                let end = read[seen..].windows(PRELUDE_END.len()).position(|at| at == PRELUDE_END);
                if let Some(end) = end.map(|end| seen + end) {
                    let body = read.split_off(end + PRELUDE_END.len()).freeze();
                    let head = Answer::read_prelude(&read[..end], OCTETS)?;
                    return Ok((head, Some(body).filter(|body| !body.is_empty())));
                }
                if read.len() > STREAM_PRELUDE_BYTES_MAX {
                    return Err(MISSING.into());
                }
            }
            Some(StreamEvent::End(StreamEnd { error: None, .. })) => return Err(MISSING.into()),
            Some(StreamEvent::End(_)) | None => return Err(Refused::Failed),
        }
    }
}

/// The pieces of a streamed answer. A function that fails in the middle says so in trailers; for a client that reads none
/// the body breaks off, so that it is not taken for whole.
struct Rest {
    /// What was read already.
    first: Option<Bytes>,
    stream: ResponseStream,
    broken_off: bool,
    /// Whether trailers are read.
    may_trail: bool,
    trailers: Option<HeaderMap>,
}

impl Rest {
    fn after(first: Option<Bytes>, stream: ResponseStream, may_trail: bool) -> Body {
        Body::Pieces(Box::new(Self { first, stream, broken_off: false, may_trail, trailers: None }))
    }
}

impl Pieces for Rest {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        if self.broken_off {
            return Poll::Ready(Some(Err(BrokenOff)));
        }
        match ready!(self.stream.poll_next(cx)) {
            Some(StreamEvent::Chunk(chunk)) => Poll::Ready(Some(Ok(chunk))),
            Some(StreamEvent::End(StreamEnd { error: Some(document), .. })) if self.may_trail => {
                self.trailers = Some(failure(&document));
                Poll::Ready(None)
            }
            Some(StreamEvent::End(StreamEnd { error: Some(_), .. })) => {
                // The connection is given a turn to send what came before: an error ends it at once.
                self.broken_off = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(StreamEvent::End(_)) | None => Poll::Ready(None),
        }
    }

    fn trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take()
    }
}

fn assembled(status: StatusCode, mut headers: HeaderMap, body: Body) -> Response<Body> {
    for name in REMAPPED {
        let values: Vec<HeaderValue> = headers.get_all(name).iter().cloned().collect();
        let remapped = HeaderName::try_from(format!("x-amzn-remapped-{name}"))
            .expect("the names are ours and legal");
        headers.remove(name);
        for value in values {
            // A map that is full has no room for them; the connection's headers are no loss.
            drop(headers.try_append(remapped.clone(), value));
        }
    }
    remove_hop_by_hop(&mut headers);
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(payload: &'static [u8]) -> Outcome {
        Outcome {
            payload: Bytes::from_static(payload),
            function_error: None,
            executed_version: "$LATEST".to_owned(),
            log_tail: None,
            durable_execution_arn: None,
        }
    }

    #[test]
    fn headers_of_the_connection_are_renamed() {
        let response = buffered(&outcome(
            br#"{"statusCode":200,"headers":{"Connection":"close","Content-Length":"1","Date":"x","a":"b"}}"#,
        ))
        .unwrap();
        let names: Vec<&str> = response.headers().keys().map(HeaderName::as_str).collect();
        for name in ["connection", "content-length", "date"] {
            assert!(!names.contains(&name), "{names:?}");
            assert!(names.contains(&&*format!("x-amzn-remapped-{name}")), "{names:?}");
        }
        assert_eq!(response.headers()["a"], "b");
    }

    #[test]
    fn bytes_that_are_no_json_are_the_body() {
        let response = buffered(&outcome(b"\xFF\x00")).unwrap();
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/octet-stream");
        let response = buffered(&outcome(b"{\"statusCode\":1}"));
        assert!(matches!(response, Err(Refused::Malformed(_))));
    }

    #[test]
    fn failures_in_the_middle_are_trailers() {
        let trailers = failure(br#"{"errorType":"TypeError","errorMessage":"x"}"#);
        assert_eq!(trailers[ERROR_TYPE], "TypeError");
        let body = STANDARD.decode(trailers[ERROR_BODY].as_bytes()).unwrap();
        assert_eq!(body, br#"{"errorType":"TypeError","errorMessage":"x"}"#);
        assert_eq!(failure(b"no json")[ERROR_TYPE], "Unhandled");
        assert_eq!(failure(br#"{"errorType":"a\nb"}"#)[ERROR_TYPE], "Unhandled");
        let headers = |value| HeaderMap::from_iter([(header::TE, HeaderValue::from_static(value))]);
        assert!(reads_trailers(&headers("gzip, Trailers")) && !reads_trailers(&headers("gzip")));
    }

    #[test]
    fn refusals() {
        let id = RequestId(uuid::Uuid::nil());
        for (why, status) in [
            (Refused::Forbidden, 403),
            (Refused::Call(Error::Throttled(crate::Throttle::Account)), 429),
            (Refused::Call(Error::EventTooLarge { max: 1 }), 413),
            (Refused::Call(Error::Conflict("Pending".to_owned())), 502),
            (Refused::Call(Error::Draining), 500),
            (Refused::Failed, 502),
        ] {
            assert_eq!(refusal(why, id).status().as_u16(), status);
        }
        assert_eq!(unknown_url(id).status().as_u16(), 403);
    }
}
