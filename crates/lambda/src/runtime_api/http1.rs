//! HTTP/1.1 as far as the clients inside a sandbox speak it: heads and bodies of requests, and the head of an answer.
//!
//! The codec alone, without a socket. Whoever writes to the other end is hostile: heads are bounded, lengths are believed
//! only as far as bytes arrive, and of a body that is longer than wanted the rest is counted and thrown away. A request
//! whose length two headers give in two ways is refused.

use std::fmt::Write as _;

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header, request};

use crate::limits::{
    API_CHUNK_LINE_BYTES_MAX, API_DISCARD_BYTES_MAX, API_HEAD_BYTES_MAX, API_HEADERS_MAX,
};

/// Bytes that are no request that is served here; the connection ends with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("a request that is not HTTP/1")]
    Head,
    #[error("a request whose head is too long")]
    HeadTooLong,
    #[error("a body whose length is not clear")]
    Length,
    #[error("a body that is far too long")]
    BodyTooLong,
    #[error("a chunk that is none")]
    Chunk,
}

/// What arrived of a body: all of it, or that it was longer than wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Arrived {
    Whole(Bytes),
    TooLarge,
}

/// Takes a head from the begin of `inbox`; `None` while it is not whole.
pub(crate) fn take_head(inbox: &mut BytesMut) -> Result<Option<request::Parts>, Malformed> {
    let mut headers = [httparse::EMPTY_HEADER; API_HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    let length = match parsed.parse(inbox) {
        Ok(httparse::Status::Complete(length)) if length <= API_HEAD_BYTES_MAX => length,
        Ok(httparse::Status::Partial) if inbox.len() < API_HEAD_BYTES_MAX => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(Malformed::HeadTooLong),
        Err(_) => return Err(Malformed::Head),
    };
    let mut head = http::Request::new(()).into_parts().0;
    let method = parsed.method.unwrap_or_default();
    head.method = Method::from_bytes(method.as_bytes()).map_err(|_| Malformed::Head)?;
    head.uri = parsed.path.unwrap_or_default().parse::<Uri>().map_err(|_| Malformed::Head)?;
    head.version = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Malformed::Head)?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| Malformed::Head)?;
        head.headers.append(name, value);
    }
    inbox.advance(length);
    Ok(Some(head))
}

/// Whether the client waits for leave before it sends the body.
pub(crate) fn expects_leave(headers: &HeaderMap) -> bool {
    let expect = headers.get(header::EXPECT).and_then(|value| value.to_str().ok());
    expect.is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
}

/// Whether the connection ends after this request.
pub(crate) fn is_last(head: &request::Parts) -> bool {
    let says = |word: &str| {
        let values = head.headers.get_all(header::CONNECTION).iter();
        let mut words = values.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
        words.any(|value| value.trim().eq_ignore_ascii_case(word))
    };
    if head.version == Version::HTTP_10 { !says("keep-alive") } else { says("close") }
}

/// Puts a body together from the bytes that arrive.
#[derive(Debug)]
pub(crate) struct BodyReader {
    framing: Framing,
    kept: BytesMut,
    keep_max: usize,
    /// Bytes of the body that were thrown away.
    skipped: usize,
    trailers: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// So many bytes are missing.
    Length(usize),
    /// The line with a chunk's size comes next.
    ChunkSize,
    /// So many bytes of this chunk are missing.
    Chunk(usize),
    /// The line end after a chunk comes next.
    ChunkEnd,
    /// The fields after the last chunk, until an empty line.
    Trailers,
    Done,
}

impl BodyReader {
    /// A reader of the body behind this head, of which at most `keep_max` bytes are kept.
    pub(crate) fn new(headers: &HeaderMap, keep_max: usize) -> Result<Self, Malformed> {
        let framing = framing(headers)?;
        let reader = |framing| Self {
            framing,
            kept: BytesMut::new(),
            keep_max,
            skipped: 0,
            trailers: Vec::new(),
        };
        Ok(reader(if framing == Framing::Length(0) { Framing::Done } else { framing }))
    }

    /// Takes what belongs to the body from the begin of `inbox`; the body when it is whole.
    pub(crate) fn take(&mut self, inbox: &mut BytesMut) -> Result<Option<Arrived>, Malformed> {
        loop {
            match self.framing {
                Framing::Done => return Ok(Some(self.finish())),
                Framing::Length(missing) => {
                    let taken = self.keep(inbox, missing)?;
                    self.framing = match missing - taken {
                        0 => Framing::Done,
                        left if taken == 0 || inbox.is_empty() => {
                            self.framing = Framing::Length(left);
                            return Ok(None);
                        }
                        left => Framing::Length(left),
                    };
                }
                Framing::Chunk(missing) => {
                    let taken = self.keep(inbox, missing)?;
                    if taken < missing {
                        self.framing = Framing::Chunk(missing - taken);
                        return Ok(None);
                    }
                    self.framing = Framing::ChunkEnd;
                }
                Framing::ChunkSize => {
                    let Some(line) = take_line(inbox)? else { return Ok(None) };
                    self.framing = match chunk_size(&line)? {
                        0 => Framing::Trailers,
                        size => Framing::Chunk(size),
                    };
                }
                Framing::ChunkEnd => {
                    let Some(line) = take_line(inbox)? else { return Ok(None) };
                    if !line.is_empty() {
                        return Err(Malformed::Chunk);
                    }
                    self.framing = Framing::ChunkSize;
                }
                Framing::Trailers => {
                    let Some(line) = take_line(inbox)? else { return Ok(None) };
                    self.trailer(&line)?;
                }
            }
        }
    }

    /// The fields after a chunked body, names in lower case.
    pub(crate) fn trailer_named(&self, name: &str) -> Option<&str> {
        self.trailers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// What arrived of the body since the last piece, for whoever takes it in pieces.
    pub(crate) fn piece(&mut self) -> Option<Bytes> {
        (!self.kept.is_empty()).then(|| self.kept.split().freeze())
    }

    /// What is held of the body.
    pub(crate) fn held(&self) -> usize {
        self.kept.len()
    }

    fn finish(&mut self) -> Arrived {
        if self.skipped > 0 {
            return Arrived::TooLarge;
        }
        Arrived::Whole(std::mem::take(&mut self.kept).freeze())
    }

    fn keep(&mut self, inbox: &mut BytesMut, missing: usize) -> Result<usize, Malformed> {
        let taken = inbox.len().min(missing);
        if self.skipped == 0 && self.kept.len() + taken <= self.keep_max {
            self.kept.extend_from_slice(&inbox[..taken]);
        } else {
            self.skipped += self.kept.len() + taken;
            self.kept = BytesMut::new();
            if self.skipped > API_DISCARD_BYTES_MAX {
                return Err(Malformed::BodyTooLong);
            }
        }
        inbox.advance(taken);
        Ok(taken)
    }

    fn trailer(&mut self, line: &[u8]) -> Result<(), Malformed> {
        if line.is_empty() {
            self.framing = Framing::Done;
            return Ok(());
        }
        if self.trailers.len() == API_HEADERS_MAX {
            return Err(Malformed::HeadTooLong);
        }
        let line = std::str::from_utf8(line).map_err(|_| Malformed::Chunk)?;
        let (name, value) = line.split_once(':').ok_or(Malformed::Chunk)?;
        self.trailers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        Ok(())
    }
}

fn framing(headers: &HeaderMap) -> Result<Framing, Malformed> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    match (codings.next(), lengths.next()) {
        (None, None) => Ok(Framing::Length(0)),
        (Some(coding), None) => {
            let chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked");
            let alone = codings.next().is_none();
            if chunked && alone { Ok(Framing::ChunkSize) } else { Err(Malformed::Length) }
        }
        (None, Some(length)) if lengths.next().is_none() => {
            let digits = length.to_str().ok().filter(|it| it.bytes().all(|b| b.is_ascii_digit()));
            let length = digits.and_then(|digits| digits.parse().ok()).ok_or(Malformed::Length)?;
            if length > API_DISCARD_BYTES_MAX {
                Err(Malformed::BodyTooLong)
            } else {
                Ok(Framing::Length(length))
            }
        }
        _ => Err(Malformed::Length),
    }
}

/// A line without its end; `None` while it is not whole.
fn take_line(inbox: &mut BytesMut) -> Result<Option<BytesMut>, Malformed> {
    let Some(end) = inbox.iter().take(API_CHUNK_LINE_BYTES_MAX).position(|byte| *byte == b'\n')
    else {
        let too_long = inbox.len() >= API_CHUNK_LINE_BYTES_MAX;
        return if too_long { Err(Malformed::HeadTooLong) } else { Ok(None) };
    };
    let mut line = inbox.split_to(end + 1);
    line.truncate(end);
    if line.last() == Some(&b'\r') {
        line.truncate(end - 1);
    }
    Ok(Some(line))
}

fn chunk_size(line: &[u8]) -> Result<usize, Malformed> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(Malformed::Chunk);
    }
    let digits = std::str::from_utf8(digits).map_err(|_| Malformed::Chunk)?;
    usize::from_str_radix(digits, 16).map_err(|_| Malformed::Chunk)
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn new(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: vec![("Content-Type", "application/json".to_owned())],
            body: body.into(),
        }
    }

    /// `{"status":"OK"}`, with which reports are accepted.
    pub(crate) fn accepted() -> Self {
        Self::new(StatusCode::ACCEPTED, Bytes::from_static(b"{\"status\":\"OK\"}\n"))
    }

    /// An error in the form of all these APIs.
    pub(crate) fn error(status: StatusCode, kind: &str, message: &str) -> Self {
        let body = serde_json::json!({ "errorMessage": message, "errorType": kind });
        Self::new(status, format!("{body}\n"))
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// What stands before the body.
    pub(crate) fn head(&self) -> Bytes {
        let headers = self.headers.iter().map(|(name, value)| (*name, value.as_bytes()));
        head(self.status, headers, self.body.len())
    }
}

/// An answer whose head is laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prepared {
    pub(crate) head: Bytes,
    pub(crate) body: Bytes,
}

/// The head of an answer. A value cannot hold a line end: such bytes, and all that are no text, are left out.
pub(crate) fn head<'a>(
    status: StatusCode,
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    body_len: usize,
) -> Bytes {
    let mut text = String::with_capacity(256);
    let reason = status.canonical_reason().unwrap_or("Unknown");
    let _ = write!(text, "HTTP/1.1 {} {reason}\r\n", status.as_u16());
    let mut head = text.into_bytes();
    for (name, value) in headers {
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend(
            value.iter().filter(|byte| **byte >= b' ' && **byte != 0x7F || **byte == b'\t'),
        );
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(format!("Content-Length: {body_len}\r\n\r\n").as_bytes());
    head.into()
}

#[cfg(test)]
#[path = "http1_tests.rs"]
mod tests;
