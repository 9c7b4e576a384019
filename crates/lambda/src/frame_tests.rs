//! The codec against its wire form, and against whatever may arrive.

use proptest::prelude::*;

use super::*;

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(body.len()).unwrap().to_le_bytes().to_vec();
    bytes.push(kind);
    bytes.extend_from_slice(body);
    bytes
}

#[test]
fn an_invoke_frame_byte_by_byte() {
    let meta = InvokeMeta {
        request_id: "id",
        deadline_ms: 12,
        function_arn: "arn",
        trace_id: "",
        client_context: "{\0}",
        cognito_identity: "",
        tenant_id: "blue",
    };
    let head = meta.head(3);
    assert_eq!(&head[9..], b"id\x0012\x00arn\x00\x00{}\x00\x00blue");
    let meta_len = u8::try_from(head.len() - 9).unwrap();
    assert_eq!(&head[..9], [meta_len + 4 + 3, 0, 0, 0, 1, meta_len, 0, 0, 0]);
}

#[test]
fn frames_that_are_refused() {
    for (bytes, garbage) in [
        (frame(0x7F, b""), Garbage::Kind(0x7F)),
        (frame(0x01, b""), Garbage::Kind(0x01)),
        (vec![0xFF, 0xFF, 0xFF, 0xFF, 0x83], Garbage::Length(0xFFFF_FFFF)),
        ([frame(0x83, b"1"), frame(0x83, b"2")].concat(), Garbage::Trailing),
        ([frame(0x81, b""), vec![0]].concat(), Garbage::Trailing),
    ] {
        assert_eq!(Reader::new(100).push(&bytes), Err(garbage), "{bytes:?}");
    }
}

#[test]
fn a_body_that_is_too_large_is_counted_and_not_kept() {
    let bytes = frame(0x83, &vec![b'x'; 1000]);
    let mut reader = Reader::new(999);
    let (first, rest) = bytes.split_at(500);
    assert_eq!(reader.push(first), Ok(None));
    assert!(reader.body.is_empty());
    let whole = reader.push(rest).unwrap().unwrap();
    assert_eq!(whole, Frame { kind: Kind::Response, body: Body::TooLarge });
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_frame(body in prop::collection::vec(any::<u8>(), 0..200), cuts in prop::collection::vec(0usize..205, 0..6)) {
        let bytes = frame(0x84, &body);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut reader = Reader::new(1000);
        let mut got = None;
        for pair in cuts.windows(2) {
            if got.is_none() {
                got = reader.push(&bytes[pair[0]..pair[1]]).unwrap();
            }
        }
        let expected = Frame { kind: Kind::Error, body: Body::Whole(body.into()) };
        prop_assert_eq!(got, Some(expected));
    }

    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut reader = Reader::new(64);
        for byte in bytes.chunks(7) {
            let mut read = reader.push(byte);
            while let Ok(Some(_)) = read {
                read = reader.next();
            }
            if read.is_err() {
                break;
            }
        }
    }
}

#[test]
fn a_streamed_answer_in_one_read() {
    let bytes = [
        frame(0x85, b"text/plain"),
        frame(0x86, b"one"),
        frame(0x86, b""),
        frame(0x86, b"two"),
        frame(0x87, b""),
    ]
    .concat();
    for cut in 0..bytes.len() {
        let mut reader = Reader::new(100);
        let mut got = Vec::new();
        for part in [&bytes[..cut], &bytes[cut..]] {
            let mut frame = reader.push(part).unwrap();
            while let Some(Frame { kind, body: Body::Whole(body) }) = frame {
                got.push((kind, body));
                frame = reader.next().unwrap();
            }
        }
        let body = Bytes::from_static;
        let expected = [
            (Kind::StreamBegin, body(b"text/plain")),
            (Kind::StreamChunk, body(b"one")),
            (Kind::StreamChunk, body(b"")),
            (Kind::StreamChunk, body(b"two")),
            (Kind::StreamEnd, body(b"")),
        ];
        assert_eq!(got, expected, "cut at {cut}");
    }
    let mut reader = Reader::new(100);
    let trailing = [frame(0x86, b"x"), frame(0x87, b""), vec![0]].concat();
    assert!(reader.push(&trailing).unwrap().is_some());
    assert_eq!(reader.next(), Err(Garbage::Trailing));
    for (kind, length) in
        [(0x85, STREAM_CONTENT_TYPE_BYTES_MAX + 1), (0x86, STREAM_CHUNK_BYTES_MAX + 1)]
    {
        let mut header = u32::try_from(length).unwrap().to_le_bytes().to_vec();
        header.push(kind);
        assert_eq!(Reader::new(100).push(&header), Err(Garbage::Length(length)));
    }
}
