//! A connection to a server, and those that are kept between two requests.
//!
//! Nobody watches a kept connection: that its server has closed it is seen when it is taken, before anything is sent on it.
//! Those that were not used for [`UPSTREAM_IDLE`] are swept.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    future::poll_fn,
    mem,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http::{Request, Response, uri::Authority};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::http1::{Connection, SendRequest, handshake},
};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep_until},
};

use crate::limits::{UPSTREAM_IDLE, UPSTREAM_IDLE_PER_HOST_MAX};

pub(super) type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Whom a connection is to. One that was proved for one name serves no other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub(super) is_tls: bool,
    /// Host and port.
    pub(super) authority: Authority,
    /// Whose certificate the server had to have, where that was not its host's.
    pub(super) name: Option<ServerName<'static>>,
}

/// The connections that wait for their next request.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    /// The one that was used last stands last.
    links: HashMap<Origin, Vec<(Instant, Box<Link>)>>,
    /// Whether somebody closes those that wait for too long.
    is_swept: bool,
}

impl Kept {
    /// The connection that was used last: it is the least likely to have been closed.
    pub(super) fn take(&self, origin: &Origin) -> Option<Box<Link>> {
        self.waiting().links.get_mut(origin)?.pop().map(|(_, link)| link)
    }

    fn keep(self: &Arc<Self>, link: Box<Link>) {
        let mut waiting = self.waiting();
        let now = Instant::now();
        match waiting.links.get_mut(&link.origin) {
            Some(links) if links.len() >= UPSTREAM_IDLE_PER_HOST_MAX => return,
            Some(links) => links.push((now, link)),
            None => {
                waiting.links.insert(link.origin.clone(), vec![(now, link)]);
            }
        }
        if !waiting.is_swept {
            waiting.is_swept = true;
            tokio::spawn(sweep(Arc::downgrade(self), now + UPSTREAM_IDLE));
        }
    }

    /// Closes those that are due; says when the next one is.
    fn close_due(&self, now: Instant) -> Option<Instant> {
        let mut waiting = self.waiting();
        waiting.links.retain(|_, links| {
            links.retain(|(since, _)| *since + UPSTREAM_IDLE > now);
            !links.is_empty()
        });
        let first =
            waiting.links.values().filter_map(|links| links.first()).map(|(since, _)| *since);
        let next = first.min().map(|since| since + UPSTREAM_IDLE);
        waiting.is_swept = next.is_some();
        next
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.waiting().links.values().map(Vec::len).sum()
    }

    /// Whether one that waits was closed by its server.
    #[cfg(test)]
    pub(super) fn has_closed_ones(&self) -> bool {
        let mut waiting = self.waiting();
        waiting.links.values_mut().flatten().any(|(_, link)| {
            link.advance(&mut Context::from_waker(Waker::noop()));
            link.connection.is_none()
        })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes connections that wait for too long, until none is left.
async fn sweep(kept: Weak<Kept>, mut next: Instant) {
    loop {
        sleep_until(next).await;
        let due = kept.upgrade().and_then(|kept| kept.close_due(Instant::now()));
        match due {
            Some(due) => next = due,
            None => return,
        }
    }
}

/// A connection to a server. It moves only while somebody polls it.
pub(super) struct Link {
    sender: SendRequest<Full<Bytes>>,
    /// `None` once it has ended.
    connection: Option<Connection<Stream, Full<Bytes>>>,
    origin: Origin,
    kept: Arc<Kept>,
}

/// How asking went.
pub(super) enum Asked {
    /// The server answers.
    Answered(Response<UpstreamBody>),
    /// The connection was closed before anything of the request was written.
    NotSent(Request<Full<Bytes>>),
    /// The server may have seen the request.
    Failed(hyper::Error),
}

impl Link {
    /// Begins on a new connection, which is kept in `kept` between requests.
    pub(super) async fn open(
        stream: Stream,
        origin: Origin,
        kept: &Arc<Kept>,
    ) -> Result<Box<Self>, hyper::Error> {
        let (sender, connection) = handshake(stream).await?;
        let kept = Arc::clone(kept);
        Ok(Box::new(Self { sender, connection: Some(connection), origin, kept }))
    }

    /// Sends a request and waits for the head of its answer. A body that came with it leaves the connection free at once.
    pub(super) async fn ask(mut self: Box<Self>, request: Request<Full<Bytes>>) -> Asked {
        let mut answer = pin!(self.sender.try_send_request(request));
        let answer = poll_fn(|cx| {
            self.advance(cx);
            answer.as_mut().poll(cx)
        });
        match answer.await {
            Ok(response) => {
                let (head, body) = response.into_parts();
                Asked::Answered(Response::from_parts(head, UpstreamBody::begun(body, self)))
            }
            Err(mut failed) => match failed.take_message() {
                Some(request) => Asked::NotSent(request),
                None => Asked::Failed(failed.into_error()),
            },
        }
    }

    /// Writes and reads what can be. How the connection ended is told to whoever waits for an answer or reads one.
    fn advance(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && Pin::new(connection).poll(cx).is_ready()
        {
            self.connection = None;
        }
    }

    /// Keeps the connection if it can take another request.
    fn rest(mut self: Box<Self>) {
        // It may have the end of the answer still to read; and whoever asked is not to be woken for it any more.
        self.advance(&mut Context::from_waker(Waker::noop()));
        if self.connection.is_some() && self.sender.is_ready() {
            Arc::clone(&self.kept).keep(self);
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// The body of a server's answer.
#[derive(Debug)]
pub(crate) enum UpstreamBody {
    /// It came with the head.
    Whole(Bytes),
    /// It is still coming.
    Coming(Box<Coming>),
}

/// What is still to come of an answer, and the connection that it comes on.
#[derive(Debug)]
pub(crate) struct Coming {
    /// What came with the head.
    ahead: VecDeque<Result<Frame<Bytes>, hyper::Error>>,
    body: Incoming,
    /// `None` once the answer has ended.
    link: Option<Box<Link>>,
}

impl UpstreamBody {
    fn begun(mut body: Incoming, mut link: Box<Link>) -> Self {
        let mut cx = Context::from_waker(Waker::noop());
        let mut look = || Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop()));
        let first = match look() {
            Poll::Ready(None) => return Self::whole(Bytes::new(), link),
            Poll::Ready(Some(frame)) => Some(frame),
            Poll::Pending => None,
        };
        let second = match &first {
            Some(Ok(frame)) if frame.is_data() => match look() {
                Poll::Pending => {
                    // The end of chunks is read once the last of them was taken.
                    link.advance(&mut cx);
                    look()
                }
                ready @ Poll::Ready(_) => ready,
            },
            Some(_) | None => Poll::Pending,
        };
        let ahead = match (first, second) {
            (Some(Ok(frame)), Poll::Ready(None)) => {
                return Self::whole(frame.into_data().unwrap_or_default(), link);
            }
            (first, Poll::Ready(second)) => [first, second],
            (first, Poll::Pending) => [first, None],
        };
        let ahead = ahead.into_iter().flatten().collect();
        Self::Coming(Box::new(Coming { ahead, body, link: Some(link) }))
    }

    fn whole(bytes: Bytes, link: Box<Link>) -> Self {
        link.rest();
        Self::Whole(bytes)
    }
}

impl Coming {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(frame) = self.ahead.pop_front() {
            return Poll::Ready(Some(frame));
        }
        if let Some(link) = &mut self.link {
            link.advance(cx);
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let has_ended = frame.is_none() || self.body.is_end_stream();
        if has_ended && let Some(link) = self.link.take() {
            link.rest();
        }
        Poll::Ready(frame)
    }

    fn ahead_bytes(&self) -> u64 {
        let data = self.ahead.iter().flatten().filter_map(Frame::data_ref);
        data.map(|data| data.len() as u64).sum()
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(mem::take(bytes))))),
            Self::Coming(coming) => coming.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Coming(coming) => coming.ahead.is_empty() && coming.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Coming(coming) => match coming.body.size_hint().exact() {
                Some(left) => SizeHint::with_exact(left + coming.ahead_bytes()),
                None => SizeHint::default(),
            },
        }
    }
}
