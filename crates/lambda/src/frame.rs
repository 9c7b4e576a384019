//! The framed channel between server and runtime client, protocol version 2: the codec alone.
//!
//! A frame is `u32 LE body length | u8 kind | body`. Whoever writes to the other end is hostile: lengths are believed
//! only as far as bytes arrive, and what is longer than wanted is counted and thrown away. Which kind may come when is
//! [`instance`](crate::instance)'s business.

use bytes::{Buf as _, BufMut, Bytes, BytesMut};

use crate::limits::{FRAME_BYTES_MAX, STREAM_CHUNK_BYTES_MAX, STREAM_CONTENT_TYPE_BYTES_MAX};

const HEADER_BYTES: usize = 5;
const INVOKE: u8 = 0x01;
/// The kind of the frame by which a parked runtime is told its function.
pub(crate) const ASSIGN: u8 = 0x02;
/// What a runtime says that was booted without a function and waits.
pub(crate) const PARKED_FRAME: [u8; HEADER_BYTES] = [0, 0, 0, 0, 0x89];

/// What a runtime says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Initialisation is over.
    Ready,
    /// Initialisation failed; the body is the error document.
    InitError,
    /// The answer.
    Response,
    /// The handler failed; the body is the error document.
    Error,
    /// Initialisation is over, and the process waits to be forked.
    Snapshot,
    /// Initialisation is over, and the process cannot be forked; the body says why.
    NoSnapshot,
    /// An answer begins that comes in pieces; the body is its content type.
    StreamBegin,
    /// A piece of it.
    StreamChunk,
    /// It is whole.
    StreamEnd,
    /// The handler failed in its middle; the body is the error document.
    StreamError,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        match byte {
            0x81 => Some(Self::Ready),
            0x82 => Some(Self::InitError),
            0x83 => Some(Self::Response),
            0x84 => Some(Self::Error),
            0x8A => Some(Self::Snapshot),
            0x8B => Some(Self::NoSnapshot),
            0x85 => Some(Self::StreamBegin),
            0x86 => Some(Self::StreamChunk),
            0x87 => Some(Self::StreamEnd),
            0x88 => Some(Self::StreamError),
            _ => None,
        }
    }

    /// Whether another frame may follow before the next question.
    fn is_followed(self) -> bool {
        matches!(self, Self::StreamBegin | Self::StreamChunk)
    }

    /// The longest body that is read at all.
    fn body_max(self) -> usize {
        match self {
            Self::StreamBegin => STREAM_CONTENT_TYPE_BYTES_MAX,
            Self::StreamChunk => STREAM_CHUNK_BYTES_MAX,
            Self::Ready
            | Self::InitError
            | Self::Response
            | Self::Error
            | Self::Snapshot
            | Self::NoSnapshot
            | Self::StreamEnd
            | Self::StreamError => FRAME_BYTES_MAX,
        }
    }
}

/// A whole frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    pub(crate) body: Body,
}

/// A body, or that it was longer than wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    Whole(Bytes),
    TooLarge,
}

/// Why bytes are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Garbage {
    #[error("a frame of unknown kind {0:#04x}")]
    Kind(u8),
    #[error("a frame of {0} bytes")]
    Length(usize),
    #[error("bytes after the end of a frame")]
    Trailing,
    #[error("a frame that is not expected now")]
    Unexpected,
}

/// The fields of an INVOKE frame besides its payload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InvokeMeta<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) deadline_ms: i64,
    pub(crate) function_arn: &'a str,
    pub(crate) trace_id: &'a str,
    pub(crate) client_context: &'a str,
    pub(crate) cognito_identity: &'a str,
    /// Empty unless the function isolates tenants.
    pub(crate) tenant_id: &'a str,
}

impl InvokeMeta<'_> {
    /// The bytes that stand before a payload of this length. A field cannot carry the separator: NUL bytes in them
    /// are left out.
    pub(crate) fn head(&self, payload_len: usize) -> BytesMut {
        let deadline = self.deadline_ms.to_string();
        let fields = [
            self.request_id,
            &deadline,
            self.function_arn,
            self.trace_id,
            self.client_context,
            self.cognito_identity,
            self.tenant_id,
        ];
        let meta_max = fields.iter().map(|field| field.len() + 1).sum::<usize>();
        let mut head = BytesMut::with_capacity(HEADER_BYTES + 4 + meta_max);
        head.put_bytes(0, HEADER_BYTES + 4);
        for (at, field) in fields.iter().enumerate() {
            if at > 0 {
                head.put_u8(0);
            }
            if field.contains('\0') {
                head.extend(field.bytes().filter(|byte| *byte != 0));
            } else {
                head.put_slice(field.as_bytes());
            }
        }
        let meta_len = head.len() - HEADER_BYTES - 4;
        let body_len = 4 + meta_len + payload_len;
        head[..4].copy_from_slice(&le(body_len));
        head[4] = INVOKE;
        head[5..9].copy_from_slice(&le(meta_len));
        head
    }
}

/// A length as four bytes. Events and fields are limited far below what fits.
fn le(length: usize) -> [u8; 4] {
    u32::try_from(length).expect("events and their fields are limited to megabytes").to_le_bytes()
}

/// Puts frames together from the bytes that arrive: one per question, or those of a streamed answer.
#[derive(Debug)]
pub(crate) struct Reader {
    header: [u8; HEADER_BYTES],
    have: usize,
    body: BytesMut,
    /// Bytes of the body that were thrown away.
    skipped: usize,
    keep_max: usize,
    /// What arrived together with a frame, and follows it.
    rest: Bytes,
}

impl Reader {
    /// A reader that keeps bodies of at most `keep_max` bytes.
    pub(crate) fn new(keep_max: usize) -> Self {
        Self {
            header: [0; HEADER_BYTES],
            have: 0,
            body: BytesMut::new(),
            skipped: 0,
            keep_max,
            rest: Bytes::new(),
        }
    }

    /// Takes bytes; gives the frame when they complete it. What is behind it is kept for [`Self::next`] when the frame
    /// is one that others follow, and garbage when it is not.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Result<Option<Frame>, Garbage> {
        let frame = self.take(&mut bytes)?;
        if !bytes.is_empty() {
            self.rest = Bytes::copy_from_slice(bytes);
        }
        Ok(frame)
    }

    /// The next frame of those bytes that have been pushed, if they hold it.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, Garbage> {
        let rest = std::mem::take(&mut self.rest);
        let mut left = &rest[..];
        let frame = self.take(&mut left)?;
        let taken = rest.len() - left.len();
        self.rest = rest;
        self.rest.advance(taken);
        Ok(frame)
    }

    /// Takes the bytes of one frame off the front.
    fn take(&mut self, bytes: &mut &[u8]) -> Result<Option<Frame>, Garbage> {
        if self.have < HEADER_BYTES {
            let take = bytes.len().min(HEADER_BYTES - self.have);
            self.header[self.have..self.have + take].copy_from_slice(&bytes[..take]);
            self.have += take;
            *bytes = &bytes[take..];
            if self.have < HEADER_BYTES {
                return Ok(None);
            }
        }
        let kind = Kind::of(self.header[4]).ok_or(Garbage::Kind(self.header[4]))?;
        let length = self.length();
        if length > kind.body_max() {
            return Err(Garbage::Length(length));
        }
        let missing = length - self.body.len() - self.skipped;
        let (mine, others) = bytes.split_at(missing.min(bytes.len()));
        if !others.is_empty() && !kind.is_followed() {
            return Err(Garbage::Trailing);
        }
        *bytes = others;
        if length > self.keep_max {
            self.skipped += mine.len();
        } else {
            self.body.extend_from_slice(mine);
        }
        if mine.len() < missing {
            return Ok(None);
        }
        self.have = 0;
        let body = if std::mem::take(&mut self.skipped) > 0 {
            Body::TooLarge
        } else {
            Body::Whole(std::mem::take(&mut self.body).freeze())
        };
        Ok(Some(Frame { kind, body }))
    }

    fn length(&self) -> usize {
        let [a, b, c, d, _] = self.header;
        usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
