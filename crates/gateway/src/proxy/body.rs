//! Bodies: the request's, read with its limit; the answer's, whole or streamed through.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::{Instant, Sleep};

use super::{Refusal, Refused, upstream::UpstreamBody};
use crate::limits::{BODY_BYTES_MAX, BODY_DISCARD_BYTES_MAX, BODY_READ_TIMEOUT};

/// The body of an answer.
pub struct ProxyBody(Inner, Option<Watch>);

/// Told how many bytes a body had, once it has ended or is thrown away.
struct Watch {
    bytes: u64,
    then: Option<Box<dyn FnOnce(u64) + Send + Sync>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(then) = self.then.take() {
            then(self.bytes);
        }
    }
}

enum Inner {
    Whole(Option<Bytes>),
    Streamed(Box<Streamed>),
}

/// An upstream's body, passed on as it comes, within the limits of size and time.
struct Streamed {
    body: UpstreamBody,
    left: u64,
    deadline: Pin<Box<Sleep>>,
}

/// Why a body broke off after its headers had left.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The integration failed in its middle.
    #[error("the integration broke off its answer")]
    Upstream(#[source] hyper::Error),
    /// It is larger than 10 MB.
    #[error("the integration's answer is too large")]
    TooLarge,
    /// It took longer than the integration's time-out.
    #[error("the integration's answer took too long")]
    TimedOut,
}

impl Default for ProxyBody {
    /// No body.
    fn default() -> Self {
        Self::empty()
    }
}

impl ProxyBody {
    /// No body.
    pub(crate) fn empty() -> Self {
        Self(Inner::Whole(None), None)
    }

    /// A body that is there already.
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes: Bytes = bytes.into();
        Self(Inner::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())), None)
    }

    /// A body that comes from upstream until `deadline`, if it is not there already.
    pub(crate) fn upstream(body: UpstreamBody, deadline: Instant) -> Self {
        if let UpstreamBody::Whole(bytes) = body {
            return Self::whole(bytes);
        }
        let deadline = Box::pin(tokio::time::sleep_until(deadline));
        let left = BODY_BYTES_MAX as u64;
        Self(Inner::Streamed(Box::new(Streamed { body, left, deadline })), None)
    }

    /// How many bytes it has, if that is known before it is sent.
    pub(crate) fn length(&self) -> Option<u64> {
        match &self.0 {
            Inner::Whole(bytes) => Some(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Inner::Streamed(_) => None,
        }
    }

    /// Has somebody told how many bytes were sent.
    pub(crate) fn watch(&mut self, then: impl FnOnce(u64) + Send + Sync + 'static) {
        self.1 = Some(Watch { bytes: 0, then: Some(Box::new(then)) });
    }
}

impl Body for ProxyBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self(inner, watch) = self.get_mut();
        let frame = match inner {
            Inner::Whole(bytes) => {
                return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))));
            }
            Inner::Streamed(streamed) => ready!(streamed.poll(cx)),
        };
        if let (Some(Ok(frame)), Some(watch)) = (&frame, watch) {
            watch.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Whole(bytes) => bytes.is_none(),
            Inner::Streamed(streamed) => streamed.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Inner::Streamed(streamed) => streamed.body.size_hint(),
        }
    }
}

impl Streamed {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending => {
                ready!(self.deadline.as_mut().poll(cx));
                Poll::Ready(Some(Err(BodyError::TimedOut)))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(BodyError::Upstream(error)))),
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                match self.left.checked_sub(bytes) {
                    Some(left) => self.left = left,
                    None => return Poll::Ready(Some(Err(BodyError::TooLarge))),
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }
}

impl fmt::Debug for ProxyBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Inner::Whole(bytes) => write!(f, "Whole({})", bytes.as_ref().map_or(0, Bytes::len)),
            Inner::Streamed(_) => f.write_str("Streamed"),
        }
    }
}

/// The body of a request, read when the first one asks for it.
pub(super) struct RequestBody<B> {
    unread: Option<B>,
    read: Bytes,
}

impl<B> RequestBody<B>
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    pub(super) fn new(body: B) -> Self {
        Self { unread: Some(body), read: Bytes::new() }
    }

    /// The whole body.
    pub(super) async fn read(&mut self, headers: &HeaderMap) -> Result<Bytes, Refused> {
        if let Some(body) = self.unread.take() {
            self.read = read(headers, body).await?;
        }
        Ok(self.read.clone())
    }
}

/// Reads the body of a request. One that is too large is read on and thrown away, within a limit, so that the client,
/// which reads the answer only after it has sent everything, gets the answer and not a broken connection.
async fn read<B>(headers: &HeaderMap, body: B) -> Result<Bytes, Refused>
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let declared: usize = length.and_then(|text| text.parse().ok()).unwrap_or(0);
    if declared > BODY_DISCARD_BYTES_MAX {
        return Err(too_large());
    }
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    match within(BODY_READ_TIMEOUT, Box::pin(gather(body, declared))).await {
        None => Err(Refusal::RequestTimeout.because("the client did not send its body in time")),
        Some(read) => read,
    }
}

async fn gather<B>(body: B, declared: usize) -> Result<Bytes, Refused>
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut body = std::pin::pin!(body);
    let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
    let mut size = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let error: Box<dyn std::error::Error + Send + Sync> = error.into();
            Refusal::BadRequest.because(format!("the body broke off: {error}"))
        })?;
        let Ok(piece) = frame.into_data() else { continue };
        size += piece.len();
        if size > BODY_DISCARD_BYTES_MAX {
            return Err(too_large());
        }
        if size > BODY_BYTES_MAX {
            (first, rest) = (Bytes::new(), BytesMut::new());
        } else if first.is_empty() {
            // Nearly every body comes in one piece, and that is passed on as it is.
            first = piece;
        } else {
            if rest.is_empty() {
                rest.reserve(declared.min(BODY_BYTES_MAX));
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&piece);
        }
    }
    match size {
        size if size > BODY_BYTES_MAX => Err(too_large()),
        _ if rest.is_empty() => Ok(first),
        _ => Ok(rest.freeze()),
    }
}

fn too_large() -> Refused {
    Refusal::EntityTooLarge.because("the body is larger than 10 MB")
}

async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    tokio::time::timeout(limit, future).await.ok()
}
