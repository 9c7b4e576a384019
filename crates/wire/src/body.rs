//! The body of a response: whole, as nearly all are, or pieces that come while the client reads.
//!
//! It knows neither reactor nor connection: whoever serves the response polls it.

use std::{
    fmt,
    task::{Context, Poll},
};

use bytes::Bytes;

/// The body of a response.
pub enum Body {
    /// All of it.
    Whole(Bytes),
    /// Pieces that are still to come.
    Pieces(Box<dyn Pieces>),
}

/// A body in pieces.
pub trait Pieces: Send {
    /// The next piece; `None` when there is none any more. Whoever reads too slowly finds the source waiting.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokenOff>>>;

    /// What is said after the last piece, once; only where the client said that it reads that.
    fn trailers(&mut self) -> Option<http::HeaderMap> {
        None
    }
}

/// The source of a body failed after its headers had left: the client must not take what it has for the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body broke off")]
pub struct BrokenOff;

/// An output that is followed by events: what an operation with an event stream answers.
pub struct Streamed<O> {
    /// The members that travel in status and headers.
    pub head: O,
    /// The encoded events; `None` when the answer has no body.
    pub events: Option<Box<dyn Pieces>>,
}

/// An output whose payload is of a media type of its own, where the model leaves that open.
#[derive(Debug)]
pub struct Typed<O> {
    /// The output, with its payload.
    pub output: O,
    /// The payload's media type.
    pub content_type: &'static str,
}

impl Body {
    /// The bytes of a body that is whole; `None` of one in pieces.
    pub fn into_whole(self) -> Option<Bytes> {
        match self {
            Self::Whole(bytes) => Some(bytes),
            Self::Pieces(_) => None,
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(bytes)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(bytes) => f.debug_tuple("Whole").field(&bytes.len()).finish(),
            Self::Pieces(_) => f.write_str("Pieces"),
        }
    }
}

impl<O: fmt::Debug> fmt::Debug for Streamed<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streamed").field("head", &self.head).finish_non_exhaustive()
    }
}
