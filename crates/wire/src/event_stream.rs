//! The event-stream encoding: messages of headers and payload, each with checksums of its own.
//!
//! ```text
//! u32 length of all | u32 length of headers | u32 CRC-32 of these eight bytes
//! headers: u8 length, name, u8 type (7 = string), u16 length, value
//! payload | u32 CRC-32 of everything before
//! ```
//!
//! All numbers are big-endian. Source: the specification `application/vnd.amazon.eventstream` in AWS's SDK documentation.
//! Only what servers send is here, and of the header types only strings, which is all that Lambda uses.

use bytes::{BufMut as _, Bytes, BytesMut};

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
