//! Whether a connection is of use: what its client asks, and whether it reads what it is sent.
//!
//! HTTP/1.1 has timers of its own for a client that asks nothing, and the kernel gives up a connection whose client reads
//! nothing. A client of HTTP/2 can keep both content for ever, by answering pings, while its streams stand still. So of such a
//! connection it is noted when a request begins, when it has an answer, and when a piece of a body goes out, and whether anything
//! is waited for that is ours to give. A connection that shows none of that is ended.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Version;
use http_body::{Body, Frame, SizeHint};

use crate::limits::HTTP2_PIECE_BYTES;

/// What happens on a connection.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// Counts requests, answers and pieces of bodies.
    steps: AtomicU64,
    /// Requests without an answer, and bodies without their next piece: the client waits for us.
    owed: AtomicUsize,
    is_http2: AtomicBool,
}

/// What happened on a connection since it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// Its client has asked nothing yet, and never did.
    NeverAsked,
    /// Something, or it is not for this to say.
    Active,
    /// Nothing, and the client waits for nothing of ours.
    Idle,
}

impl Activity {
    /// A request begins. It is owed an answer as long as what this gives lives.
    pub(crate) fn begin(self: &Arc<Self>, version: Version) -> Handling {
        if version == Version::HTTP_2 {
            self.is_http2.store(true, Ordering::Relaxed);
        }
        self.steps.fetch_add(1, Ordering::Relaxed);
        Handling { debt: Debt::new(self), is_http2: version == Version::HTTP_2 }
    }

    /// How far it is, for [`Self::since`].
    pub(crate) fn seen(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// What happened since it was that far.
    pub(crate) fn since(&self, seen: u64) -> Since {
        let steps = self.seen();
        let is_owed = self.owed.load(Ordering::Relaxed) > 0;
        match (steps, self.is_http2.load(Ordering::Relaxed)) {
            (0, _) => Since::NeverAsked,
            (_, false) => Since::Active,
            (steps, true) if steps != seen || is_owed => Since::Active,
            (_, true) => Since::Idle,
        }
    }
}

/// Something that the client waits for.
#[derive(Debug)]
struct Debt {
    activity: Arc<Activity>,
    is_owed: bool,
}

impl Debt {
    fn new(activity: &Arc<Activity>) -> Self {
        activity.owed.fetch_add(1, Ordering::Relaxed);
        Self { activity: Arc::clone(activity), is_owed: true }
    }

    fn set(&mut self, is_owed: bool) {
        match (self.is_owed, is_owed) {
            (false, true) => _ = self.activity.owed.fetch_add(1, Ordering::Relaxed),
            (true, false) => _ = self.activity.owed.fetch_sub(1, Ordering::Relaxed),
            _ => {}
        }
        self.is_owed = is_owed;
    }
}

impl Drop for Debt {
    fn drop(&mut self) {
        self.set(false);
    }
}

/// A request that is being handled.
#[derive(Debug)]
pub(crate) struct Handling {
    debt: Debt,
    is_http2: bool,
}

impl Handling {
    /// It has an answer, whose body is watched where that is of use.
    pub(crate) fn answered<B>(mut self, body: B) -> Watched<B> {
        self.debt.set(false);
        self.debt.activity.steps.fetch_add(1, Ordering::Relaxed);
        Watched { body, rest: Bytes::new(), debt: self.is_http2.then_some(self.debt) }
    }
}

/// The body of an answer, watched. In HTTP/2 it goes out in small pieces, each when its client has room: so a client that reads
/// slowly is told from one that does not read.
#[derive(Debug)]
pub(crate) struct Watched<B> {
    body: B,
    /// What of the last piece is still to go.
    rest: Bytes,
    /// Owed while its next piece is not there; of HTTP/2 alone.
    debt: Option<Debt>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Watched<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Self { body, rest, debt } = &mut *self;
        let Some(debt) = debt else { return Pin::new(body).poll_frame(cx) };
        debt.activity.steps.fetch_add(1, Ordering::Relaxed);
        if rest.is_empty() {
            let polled = Pin::new(body).poll_frame(cx);
            debt.set(polled.is_pending());
            match ready!(polled) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => *rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                other => return Poll::Ready(other),
            }
        }
        let piece = rest.split_to(rest.len().min(HTTP2_PIECE_BYTES));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full};

    use super::*;

    #[test]
    fn a_connection_is_idle_when_nothing_is_asked_and_nothing_owed() {
        let activity: Arc<Activity> = Arc::default();
        assert_eq!(activity.since(activity.seen()), Since::NeverAsked);
        let seen = activity.seen();
        let handling = activity.begin(Version::HTTP_2);
        assert_eq!(activity.since(seen), Since::Active);
        assert_eq!(activity.since(activity.seen()), Since::Active, "an answer is owed");
        let body = handling.answered(Full::new(Bytes::from_static(b"here")));
        assert_eq!(activity.since(activity.seen()), Since::Idle, "the client does not take it");
        let seen = activity.seen();
        let read = futures_of(body.collect());
        assert_eq!(read.unwrap().to_bytes(), "here");
        assert_eq!(activity.since(seen), Since::Active);
        assert_eq!(activity.since(activity.seen()), Since::Idle);
        drop(activity.begin(Version::HTTP_2));
        assert_eq!(activity.since(activity.seen()), Since::Idle, "the client is gone");
    }

    #[test]
    fn of_http_1_the_timers_are_its_own() {
        let activity: Arc<Activity> = Arc::default();
        drop(activity.begin(Version::HTTP_11));
        assert_eq!(activity.since(activity.seen()), Since::Active);
    }

    /// What a future that does not wait gives.
    fn futures_of<F: Future>(future: F) -> F::Output {
        let mut future = std::pin::pin!(future);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("it waits"),
        }
    }
}
