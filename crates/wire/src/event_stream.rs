//! The event-stream encoding: messages of headers and payload, each with checksums of its own.
//!
//! ```text
//! u32 length of all | u32 length of headers | u32 CRC-32 of these eight bytes
//! headers: u8 length, name, u8 type (7 = string), u16 length, value
//! payload | u32 CRC-32 of everything before
//! ```
//!
//! All numbers are big-endian. Source: the specification `application/vnd.amazon.eventstream` in AWS's SDK documentation.
//! Of the header types only strings are kept, which is all that Lambda and Kinesis use.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// The content type of a body in this encoding.
pub const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";

const STRING: u8 = 7;
/// The two lengths and their checksum.
const PRELUDE_BYTES: usize = 12;
const CHECKSUM_BYTES: usize = 4;

/// An event: a message whose headers say its type and what its payload is.
///
/// # Panics
/// When names or the payload are longer than the encoding can say (64 KiB, 4 GiB); what is sent is bounded far below.
pub fn event(event_type: &str, content_type: &str, payload: &[u8]) -> Bytes {
    message(
        &[(":event-type", event_type), (":content-type", content_type), (":message-type", "event")],
        payload,
    )
}

fn message(headers: &[(&str, &str)], payload: &[u8]) -> Bytes {
    let headers_len: usize =
        headers.iter().map(|(name, value)| 1 + name.len() + 1 + 2 + value.len()).sum();
    let total = PRELUDE_BYTES + headers_len + payload.len() + CHECKSUM_BYTES;
    let mut out = BytesMut::with_capacity(total);
    out.put_u32(size(total));
    out.put_u32(size(headers_len));
    let prelude = crc32fast::hash(&out);
    out.put_u32(prelude);
    for (name, value) in headers {
        out.put_u8(u8::try_from(name.len()).expect("names of headers are ours and short"));
        out.put_slice(name.as_bytes());
        out.put_u8(STRING);
        out.put_u16(u16::try_from(value.len()).expect("values of headers are ours and short"));
        out.put_slice(value.as_bytes());
    }
    out.put_slice(payload);
    let all = crc32fast::hash(&out);
    out.put_u32(all);
    out.freeze()
}

fn size(length: usize) -> u32 {
    u32::try_from(length).expect("what is sent is limited to megabytes")
}

/// A message that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its headers that are strings, in their order.
    pub headers: Vec<(String, String)>,
    /// What it carries.
    pub payload: Bytes,
}

impl Message {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str())
    }
}

/// Why bytes are no messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A checksum is not that of what it follows.
    #[error("a checksum of the event stream is wrong")]
    Checksum,
    /// Lengths contradict each other, or a header is none.
    #[error("a message of the event stream cannot be read")]
    Frame,
    /// A message is longer than whoever reads takes.
    #[error("a message of the event stream is too long")]
    TooLong,
}

/// Reads messages out of bytes as they come.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    message_bytes_max: usize,
}

impl Decoder {
    /// Of messages of at most this length.
    pub fn new(message_bytes_max: usize) -> Self {
        Self { buffer: BytesMut::new(), message_bytes_max }
    }

    /// Adds bytes that came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next message; `None` until all of it has come.
    ///
    /// # Errors
    /// When what came is no message; nothing that follows can be read then.
    pub fn next_message(&mut self) -> Result<Option<Message>, Malformed> {
        let Some((prelude, _)) = self.buffer.split_first_chunk::<PRELUDE_BYTES>() else {
            return Ok(None);
        };
        let number = |at: usize| {
            u32::from_be_bytes([prelude[at], prelude[at + 1], prelude[at + 2], prelude[at + 3]])
        };
        if number(8) != crc32fast::hash(&prelude[..8]) {
            return Err(Malformed::Checksum);
        }
        let length = |at| usize::try_from(number(at)).map_err(|_| Malformed::TooLong);
        let (total, headers) = (length(0)?, length(4)?);
        if total > self.message_bytes_max {
            return Err(Malformed::TooLong);
        }
        let around = PRELUDE_BYTES + CHECKSUM_BYTES;
        if total < around || headers > total - around {
            return Err(Malformed::Frame);
        }
        if self.buffer.len() < total {
            return Ok(None);
        }
        let mut message = self.buffer.split_to(total).freeze();
        let checksum = message.split_off(total - CHECKSUM_BYTES).get_u32();
        if checksum != crc32fast::hash(&message) {
            return Err(Malformed::Checksum);
        }
        message.advance(PRELUDE_BYTES);
        let headers = read_headers(message.split_to(headers))?;
        Ok(Some(Message { headers, payload: message }))
    }
}

fn read_headers(mut bytes: Bytes) -> Result<Vec<(String, String)>, Malformed> {
    fn take(bytes: &mut Bytes, length: usize) -> Result<Bytes, Malformed> {
        if bytes.len() < length { Err(Malformed::Frame) } else { Ok(bytes.split_to(length)) }
    }
    fn text(bytes: &Bytes) -> Result<String, Malformed> {
        String::from_utf8(bytes.to_vec()).map_err(|_| Malformed::Frame)
    }
    let mut headers = Vec::new();
    while !bytes.is_empty() {
        let length = bytes.get_u8();
        let name = text(&take(&mut bytes, length.into())?)?;
        let kind = take(&mut bytes, 1)?[0];
        match kind {
            // True and false have no value; then bytes, shorts, integers and longs.
            0 | 1 => {}
            2 => drop(take(&mut bytes, 1)?),
            3 => drop(take(&mut bytes, 2)?),
            4 => drop(take(&mut bytes, 4)?),
            // A timestamp is a long, too.
            5 | 8 => drop(take(&mut bytes, 8)?),
            6 | STRING => {
                let length = take(&mut bytes, 2)?.get_u16();
                let value = take(&mut bytes, length.into())?;
                if kind == STRING {
                    headers.push((name, text(&value)?));
                }
            }
            // A UUID.
            9 => drop(take(&mut bytes, 16)?),
            _ => return Err(Malformed::Frame),
        }
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        crate::sigv4::hex(bytes)
    }

    #[test]
    fn messages_of_the_specification() {
        // The first two positive vectors of the encoding's published test suite.
        assert_eq!(hex(&message(&[], b"")), "000000100000000005c248eb7d98c8ff");
        assert_eq!(
            hex(&message(&[], b"{'foo':'bar'}")),
            "0000001d00000000fd528c5a7b27666f6f273a27626172277dc3653936"
        );
    }

    #[test]
    fn messages_are_read_however_they_come() {
        let sent =
            [event("A", "text/plain", b"one"), event("B", "text/plain", b""), message(&[], b"x")];
        let all = sent.concat();
        for step in 1..all.len() {
            let mut decoder = Decoder::new(1_000);
            let mut read = Vec::new();
            for part in all.chunks(step) {
                decoder.push(part);
                while let Some(message) = decoder.next_message().unwrap() {
                    read.push(message);
                }
            }
            assert_eq!(read.len(), 3, "{step}");
            assert_eq!(
                (read[0].header(":event-type"), &read[0].payload[..]),
                (Some("A"), &b"one"[..])
            );
            assert_eq!(
                (read[1].header(":message-type"), read[1].payload.len()),
                (Some("event"), 0)
            );
            assert_eq!((read[2].headers.len(), &read[2].payload[..]), (0, &b"x"[..]));
        }
    }

    #[test]
    fn headers_of_other_kinds_are_passed_over() {
        let kinds: &[&[u8]] = &[
            b"\x01a\x00",
            b"\x01b\x01",
            b"\x01c\x02z",
            b"\x01d\x03zz",
            b"\x01e\x04zzzz",
            b"\x01f\x05zzzzzzzz",
            b"\x01g\x06\x00\x01z",
            b"\x01h\x07\x00\x01v",
            b"\x01i\x08zzzzzzzz",
            b"\x01j\x09zzzzzzzzzzzzzzzz",
        ];
        let headers = read_headers(kinds.concat().into()).unwrap();
        assert_eq!(headers, [("h".to_owned(), "v".to_owned())]);
        for length in 1..kinds.concat().len() {
            // Whatever is cut off, it is read or refused.
            let _ = read_headers(kinds.concat()[..length].to_vec().into());
        }
        assert_eq!(read_headers(Bytes::from_static(b"\x01a\x0a")), Err(Malformed::Frame));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let good = event("A", "text/plain", b"payload");
        let read = |bytes: &[u8], most| {
            let mut decoder = Decoder::new(most);
            decoder.push(bytes);
            decoder.next_message()
        };
        for at in 0..good.len() {
            let mut bad = good.to_vec();
            bad[at] ^= 0x40;
            assert_eq!(read(&bad, 1_000), Err(Malformed::Checksum), "{at}");
        }
        assert_eq!(read(&good, good.len() - 1), Err(Malformed::TooLong));
        for (total, headers) in [(15_u32, 0_u32), (16, 1), (0, 0), (20, u32::MAX)] {
            let mut bad = [total.to_be_bytes(), headers.to_be_bytes()].concat();
            bad.extend(crc32fast::hash(&bad).to_be_bytes());
            assert_eq!(read(&bad, 1_000), Err(Malformed::Frame), "{total} {headers}");
        }
    }

    #[test]
    fn an_event_byte_by_byte() {
        let bytes = event("PayloadChunk", "application/octet-stream", b"hi");
        let mut expected = Vec::new();
        for (name, value) in [
            (":event-type", "PayloadChunk"),
            (":content-type", "application/octet-stream"),
            (":message-type", "event"),
        ] {
            expected.push(u8::try_from(name.len()).unwrap());
            expected.extend(name.bytes());
            expected.extend([7, 0, u8::try_from(value.len()).unwrap()]);
            expected.extend(value.bytes());
        }
        let headers_len = expected.len();
        expected.extend(b"hi");
        assert_eq!(bytes[PRELUDE_BYTES..bytes.len() - CHECKSUM_BYTES], expected);
        assert_eq!(bytes[..4], size(bytes.len()).to_be_bytes());
        assert_eq!(bytes[4..8], size(headers_len).to_be_bytes());
        // Computed with zlib.
        assert_eq!(hex(&bytes[8..12]), "b25efdcf");
        assert_eq!(hex(&bytes[bytes.len() - 4..]), "1162e469");
    }
}
