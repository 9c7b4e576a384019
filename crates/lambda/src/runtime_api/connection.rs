//! One connection from inside a sandbox: requests in, answers out, one after the other.
//!
//! It does nothing unless it is polled, and it is polled only while its environment initialises or runs a call: between
//! calls an environment stands still. What a client says ahead of its answer stays in the socket's buffer.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{self, ErrorKind, IoSlice},
    net::TcpStream as StdTcpStream,
    task::{Context, Poll},
};

use bytes::{Buf as _, Bytes, BytesMut};
use gatemill_wire::routes::BoxFuture;
use http::{StatusCode, request};
use tokio::net::TcpStream;

use super::http1::{self, Answer, Arrived, BodyReader, Prepared};
use crate::limits::API_AHEAD_BYTES_MAX;

/// What is read at one time. Per thread, so that idle connections hold no buffers.
const SCRATCH_BYTES: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice());
}

/// A request in full.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) head: request::Parts,
    pub(crate) body: Arrived,
    /// What the trailers of a streamed answer say about its failure.
    pub(crate) error_type: Option<String>,
    /// See [`Self::error_type`].
    pub(crate) error_body: Option<String>,
}

/// What becomes of the body of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// It is kept as a whole, so many bytes at most.
    Whole(usize),
    /// It is passed on while it arrives.
    Pieces,
}

/// What a poll found.
#[derive(Debug)]
pub(crate) enum Turn {
    Asked(Box<Asked>),
    /// A piece of the body of the request that is being read; [`Connection::reading`] has its head.
    Piece(Bytes),
    /// It is over.
    Closed,
}

/// For what a connection waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waits {
    /// For the runtime's next invocation.
    Invocation,
    /// For the next event of the extension with this index.
    Event(usize),
}

enum Doing {
    /// Between requests, or inside one.
    Reading(Option<Box<Read>>),
    /// A request is being answered.
    Asked,
    /// A long poll.
    Waiting(Waits),
    /// The answer is being made elsewhere.
    Working(BoxFuture<'static, Prepared>),
}

/// A request whose body arrives.
struct Read {
    head: request::Parts,
    body: BodyReader,
    keep: Keep,
}

pub(crate) struct Connection {
    stream: TcpStream,
    inbox: BytesMut,
    outbox: VecDeque<Bytes>,
    doing: Doing,
    /// After the answer that is on its way, the connection ends.
    last: bool,
    /// The request wants the head of the answer alone.
    head_only: bool,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("waits", &self.waits()).finish_non_exhaustive()
    }
}

impl Connection {
    /// Registers an accepted socket with the reactor of this thread.
    pub(crate) fn new(stream: StdTcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        // An answer is written at once, and the next thing that happens is a question.
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: TcpStream::from_std(stream)?,
            inbox: BytesMut::new(),
            outbox: VecDeque::new(),
            doing: Doing::Reading(None),
            last: false,
            head_only: false,
        })
    }

    /// Moves it to the reactor of this thread.
    pub(crate) fn move_here(self) -> io::Result<Self> {
        let stream = TcpStream::from_std(self.stream.into_std()?)?;
        Ok(Self { stream, ..self })
    }

    pub(crate) fn waits(&self) -> Option<Waits> {
        match self.doing {
            Doing::Waiting(waits) => Some(waits),
            _ => None,
        }
    }

    /// The bytes that it holds in memory.
    pub(crate) fn held(&self) -> usize {
        let body = match &self.doing {
            Doing::Reading(Some(reading)) => reading.body.held(),
            _ => 0,
        };
        self.inbox.len() + body
    }

    /// The head of the request whose body arrives.
    pub(crate) fn reading(&self) -> Option<&request::Parts> {
        match &self.doing {
            Doing::Reading(Some(reading)) => Some(&reading.head),
            _ => None,
        }
    }

    /// Lets the client wait.
    pub(crate) fn wait(&mut self, waits: Waits) {
        self.doing = Doing::Waiting(waits);
    }

    /// Lets the answer be made elsewhere, while this connection is polled.
    pub(crate) fn work(&mut self, answer: BoxFuture<'static, Prepared>) {
        self.doing = Doing::Working(answer);
    }

    pub(crate) fn answer(&mut self, answer: Answer) {
        let head = answer.head();
        self.answer_with(head, answer.body);
    }

    /// Answers with bytes that are laid out already.
    pub(crate) fn answer_with(&mut self, head: Bytes, body: Bytes) {
        self.outbox.push_back(head);
        if !body.is_empty() && !self.head_only {
            self.outbox.push_back(body);
        }
        self.doing = Doing::Reading(None);
    }

    /// Writes what it can at once: for an answer after which nobody may poll any more.
    pub(crate) fn flush(&mut self) {
        while !self.outbox.is_empty() {
            match self.write_some() {
                Ok(()) => {}
                Err(_) => return,
            }
        }
    }

    /// Goes on until there is a request or a piece of one, the end, or nothing more to do now. `keep` says what becomes of a
    /// request's body.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        keep: impl Fn(&request::Parts) -> Keep,
    ) -> Poll<Turn> {
        loop {
            if let Doing::Working(answer) = &mut self.doing
                && let Poll::Ready(answer) = answer.as_mut().poll(cx)
            {
                self.answer_with(answer.head, answer.body);
            }
            match self.poll_write(cx) {
                Poll::Ready(Ok(())) if self.last && matches!(self.doing, Doing::Reading(None)) => {
                    return Poll::Ready(Turn::Closed);
                }
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Turn::Closed),
                Poll::Pending if matches!(self.doing, Doing::Reading(_)) => return Poll::Pending,
                Poll::Pending => {}
            }
            match self.advance(&keep) {
                Ok(Some(turn)) => return Poll::Ready(turn),
                Ok(None) => {}
                Err(malformed) => {
                    self.last = true;
                    self.inbox.clear();
                    let message = malformed.to_string();
                    self.answer(Answer::error(StatusCode::BAD_REQUEST, "InvalidRequest", &message));
                    continue;
                }
            }
            // The leave to send a body, which the client waits for.
            if matches!(self.doing, Doing::Reading(_)) && !self.outbox.is_empty() {
                continue;
            }
            match self.poll_read(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(_) => return Poll::Ready(Turn::Closed),
            }
        }
    }

    /// Makes a request, or a piece of one, of what has arrived.
    fn advance(
        &mut self,
        keep: impl Fn(&request::Parts) -> Keep,
    ) -> Result<Option<Turn>, http1::Malformed> {
        let Doing::Reading(reading) = &mut self.doing else { return Ok(None) };
        if reading.is_none() {
            if self.inbox.is_empty() {
                return Ok(None);
            }
            let Some(head) = http1::take_head(&mut self.inbox)? else { return Ok(None) };
            let keep = keep(&head);
            let keep_max = match keep {
                Keep::Whole(most) => most,
                // Never more than one read, which is then taken.
                Keep::Pieces => usize::MAX,
            };
            let body = BodyReader::new(&head.headers, keep_max)?;
            if http1::expects_leave(&head.headers) && self.inbox.is_empty() {
                self.outbox.push_back(Bytes::from_static(b"HTTP/1.1 100 Continue\r\n\r\n"));
            }
            self.last = http1::is_last(&head);
            self.head_only = head.method == http::Method::HEAD;
            *reading = Some(Box::new(Read { head, body, keep }));
        }
        let Some(present) = reading else { return Ok(None) };
        let Some(arrived) = present.body.take(&mut self.inbox)? else {
            let piece = (present.keep == Keep::Pieces).then(|| present.body.piece()).flatten();
            return Ok(piece.map(Turn::Piece));
        };
        let Doing::Reading(Some(read)) = std::mem::replace(&mut self.doing, Doing::Asked) else {
            return Ok(None);
        };
        let Read { head, body, .. } = *read;
        if self.inbox.is_empty() {
            self.inbox = BytesMut::new();
        }
        let trailer = |name| body.trailer_named(name).map(str::to_owned);
        Ok(Some(Turn::Asked(Box::new(Asked {
            error_type: trailer(super::stage::ERROR_TYPE),
            error_body: trailer("lambda-runtime-function-error-body"),
            head,
            body: arrived,
        }))))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outbox.is_empty() {
            match self.write_some() {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    match self.stream.poll_write_ready(cx) {
                        Poll::Ready(Ok(())) => {}
                        other => return other,
                    }
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn write_some(&mut self) -> io::Result<()> {
        let empty = Bytes::new();
        let part = |index| IoSlice::new(self.outbox.get(index).unwrap_or(&empty));
        let written = self.stream.try_write_vectored(&[part(0), part(1)])?;
        let mut left = written;
        while let Some(first) = self.outbox.front_mut() {
            let of_first = left.min(first.len());
            first.advance(of_first);
            left -= of_first;
            if !first.is_empty() {
                break;
            }
            self.outbox.pop_front();
        }
        if written == 0 { Err(ErrorKind::WriteZero.into()) } else { Ok(()) }
    }

    /// Reads what is there. While an answer is due, only so much that the end of the connection is noticed.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if !matches!(self.doing, Doing::Reading(_)) && self.inbox.len() >= API_AHEAD_BYTES_MAX {
            return Poll::Pending;
        }
        loop {
            match self.stream.poll_read_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
            let read = SCRATCH.with_borrow_mut(|scratch| -> io::Result<usize> {
                let most = match self.doing {
                    Doing::Reading(_) => scratch.len(),
                    _ => API_AHEAD_BYTES_MAX,
                };
                let read = self.stream.try_read(&mut scratch[..most])?;
                self.inbox.extend_from_slice(&scratch[..read]);
                Ok(read)
            });
            match read {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => return Poll::Ready(other),
            }
        }
    }
}
