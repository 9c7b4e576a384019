//! Bodies: the request's, read with its limit; the answer's, whole or streamed through.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::{Refusal, Refused};
use crate::limits::{BODY_BYTES_MAX, BODY_READ_TIMEOUT};

/// The body of an answer.
pub struct ProxyBody(Inner);

enum Inner {
    Whole(Option<Bytes>),
    Streamed(Box<Streamed>),
}

/// An upstream's body, passed on as it comes, within the limits of size and time.
struct Streamed {
    body: Incoming,
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
        Self(Inner::Whole(None))
    }

    /// A body that is there already.
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes: Bytes = bytes.into();
        Self(Inner::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())))
    }

    /// A body that comes from upstream until `deadline`.
    pub(crate) fn streamed(body: Incoming, deadline: Instant) -> Self {
        let deadline = Box::pin(tokio::time::sleep_until(deadline));
        let left = BODY_BYTES_MAX as u64;
        Self(Inner::Streamed(Box::new(Streamed { body, left, deadline })))
    }
}

impl Body for ProxyBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.get_mut().0 {
            Inner::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Inner::Streamed(streamed) => streamed.poll(cx),
        }
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

/// Reads the body of a request; what says beforehand that it is too large is not read at all.
pub(super) async fn read<B>(headers: &HeaderMap, body: B) -> Result<Bytes, Refused>
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let too_large = || Refusal::EntityTooLarge.because("the body is larger than 10 MB");
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if length
        .and_then(|text| text.parse::<u64>().ok())
        .is_some_and(|length| length > BODY_BYTES_MAX as u64)
    {
        return Err(too_large());
    }
    let read = Limited::new(body, BODY_BYTES_MAX).collect();
    match within(BODY_READ_TIMEOUT, read).await {
        None => Err(Refusal::RequestTimeout.because("the client did not send its body in time")),
        Some(Ok(body)) => Ok(body.to_bytes()),
        Some(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Some(Err(error)) => {
            Err(Refusal::BadRequest.because(format!("the body broke off: {error}")))
        }
    }
}

async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    tokio::time::timeout(limit, future).await.ok()
}
