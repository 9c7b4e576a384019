//! The task that owns a connection's socket: what comes is read into messages, what waits in the outbox is written, and
//! either side may end it.
//!
//! One future, polled whenever the socket or the outbox has something to do. It reads into a buffer on the stack, so
//! that nothing but its own few words stays while the connection is idle.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use super::{
    connection::{Close, Connection, Work},
    frame::{self, Reader, Said, code},
};
use crate::limits::{CLOSE_DISCARD_BYTES_MAX, CLOSE_WAIT, WEBSOCKET_READ_BYTES};

/// How a connection ended, as `$disconnect` is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) code: u16,
    pub(crate) reason: String,
}

/// What a connection does with its client's messages.
pub(crate) trait Inbox {
    /// A whole message. It is not waited for.
    fn message(&self, connection: &Arc<Connection>, text: String);
    /// Something was read.
    fn active(&self, connection: &Connection);
}

/// Drives a connection to its end. `early` is what came with the handshake.
pub(crate) async fn drive<S, I>(
    mut stream: S,
    early: Bytes,
    connection: Arc<Connection>,
    inbox: I,
) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
    I: Inbox,
{
    let mut driver = Driver {
        connection,
        inbox,
        reader: Reader::default(),
        early,
        out: Bytes::new(),
        is_flushed: true,
        phase: Phase::Open,
    };
    std::future::poll_fn(|cx| driver.poll(&mut stream, cx)).await
}

struct Driver<I> {
    connection: Arc<Connection>,
    inbox: I,
    reader: Reader,
    /// Read, and not yet taken.
    early: Bytes,
    /// Being written.
    out: Bytes,
    is_flushed: bool,
    phase: Phase,
}

enum Phase {
    Open,
    /// A close frame is on its way.
    Closing(Box<Closing>),
}

struct Closing {
    end: End,
    then: Then,
    deadline: Pin<Box<Sleep>>,
    is_shut: bool,
    discarded: usize,
}

/// What follows our close frame.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// The end of the connection: the client's own close frame was answered.
    Leave,
    /// The client's close frame; what it says meanwhile is not listened to.
    Await,
    /// The client's end of the connection: what it says cannot be read any more.
    Discard,
}

impl<I: Inbox> Driver<I> {
    fn poll<S>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<End>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            let may_read = match self.poll_write(stream, cx) {
                Ok(may_read) => may_read,
                Err(_) => return Poll::Ready(self.broken()),
            };
            if let Phase::Closing(closing) = &mut self.phase {
                if self.is_flushed && self.out.is_empty() {
                    if closing.then == Then::Leave {
                        let _ = Pin::new(&mut *stream).poll_shutdown(cx);
                        return Poll::Ready(closing.end.clone());
                    }
                    if closing.then == Then::Discard && !closing.is_shut {
                        // The client sees our end at once; ours waits for its.
                        closing.is_shut = Pin::new(&mut *stream).poll_shutdown(cx).is_ready();
                    }
                }
                if closing.deadline.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(closing.end.clone());
                }
            } else if !may_read {
                return Poll::Pending;
            }
            match ready!(self.poll_read(stream, cx)) {
                Ok(true) => {}
                Ok(false) | Err(_) => return Poll::Ready(self.broken()),
            }
        }
    }

    /// Writes what waits, as far as the socket takes it. Says whether the client may be listened to.
    fn poll_write<S>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> io::Result<bool>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            if self.out.is_empty() {
                let Work { frame, may_read, close } = self.connection.work(cx);
                match (frame, close, &self.phase) {
                    (Some(frame), _, _) => self.out = frame,
                    (None, Some(Close { code, reason }), Phase::Open) => {
                        let end = End { code, reason: reason.to_owned() };
                        self.begin_closing(Some(code), end, Then::Await);
                        continue;
                    }
                    (None, _, _) => {
                        if !self.is_flushed {
                            self.is_flushed = Pin::new(&mut *stream).poll_flush(cx)?.is_ready();
                        }
                        return Ok(may_read);
                    }
                }
            }
            match Pin::new(&mut *stream).poll_write(cx, &self.out)? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(written) => {
                    self.out.advance(written);
                    self.is_flushed = false;
                }
                // The client does not read. It is listened to all the same, until its outbox is full.
                Poll::Pending => return Ok(self.connection.may_read()),
            }
        }
    }

    /// Reads once; `false` at the client's end.
    fn poll_read<S>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<bool>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if !self.early.is_empty() {
            let early = std::mem::take(&mut self.early);
            let left = self.take(&early);
            self.early = early.slice(early.len() - left..);
            return Poll::Ready(Ok(true));
        }
        let mut space = [0; WEBSOCKET_READ_BYTES];
        let mut buffer = ReadBuf::new(&mut space);
        ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
        let read = buffer.filled();
        if read.is_empty() {
            return Poll::Ready(Ok(false));
        }
        self.inbox.active(&self.connection);
        let left = self.take(read);
        if left > 0 {
            // The client sends faster than its messages are handled.
            self.early = Bytes::copy_from_slice(&read[read.len() - left..]);
        }
        Poll::Ready(Ok(true))
    }

    /// Takes what was read; says how many bytes of it are left because no more messages may be handled now.
    fn take(&mut self, read: &[u8]) -> usize {
        let mut input = read;
        loop {
            match &mut self.phase {
                Phase::Closing(closing) if closing.then == Then::Discard => {
                    closing.discarded += input.len();
                    if closing.discarded > CLOSE_DISCARD_BYTES_MAX {
                        closing.then = Then::Leave;
                    }
                    return 0;
                }
                Phase::Closing(closing) if closing.then == Then::Leave => return 0,
                Phase::Open if !self.connection.may_read() => return input.len(),
                Phase::Open | Phase::Closing(_) => {}
            }
            match self.reader.read(&mut input) {
                Ok(None) => return 0,
                Ok(Some(said)) => self.hear(said),
                Err(violation) => {
                    let end = End { code: violation.code, reason: violation.reason.to_owned() };
                    self.begin_closing(Some(violation.code), end, Then::Discard);
                }
            }
        }
    }

    fn hear(&mut self, said: Said) {
        match (said, &mut self.phase) {
            (Said::Text(text), Phase::Open) => self.inbox.message(&self.connection, text),
            (Said::Ping(payload), Phase::Open) => self.connection.queue(frame::pong(&payload)),
            (Said::Close { code, reason }, Phase::Open) => {
                let end = match code {
                    Some(code) => End { code, reason },
                    None => End {
                        code: code::NO_STATUS,
                        reason: "Client-side close frame status not set".to_owned(),
                    },
                };
                self.begin_closing(code, end, Then::Leave);
            }
            (Said::Close { .. }, Phase::Closing(closing)) => closing.then = Then::Leave,
            (_, _) => {}
        }
    }

    fn begin_closing(&mut self, sent: Option<u16>, end: End, then: Then) {
        self.connection.shut();
        self.connection.queue(frame::closing(sent, &end.reason));
        let deadline = Box::pin(tokio::time::sleep(CLOSE_WAIT));
        let closing = Closing { end, then, deadline, is_shut: false, discarded: 0 };
        self.phase = Phase::Closing(Box::new(closing));
    }

    /// The end of a connection that broke off.
    fn broken(&self) -> End {
        match &self.phase {
            Phase::Closing(closing) => closing.end.clone(),
            Phase::Open => {
                End { code: code::ABNORMAL, reason: "Connection closed abnormally".to_owned() }
            }
        }
    }
}

#[cfg(test)]
#[path = "drive_tests.rs"]
mod tests;
