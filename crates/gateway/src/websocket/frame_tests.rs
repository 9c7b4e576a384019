//! The cases of RFC 6455, in the manner of the Autobahn suite: framing, control frames, fragmentation, UTF-8, closing
//! and limits; and the same for bytes that come in any pieces.

use proptest::prelude::*;

use super::*;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A frame as a client sends it.
fn client(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    put_frame(&mut bytes, first, payload);
    let head = bytes.len() - payload.len();
    bytes[1] |= MASKED;
    let mut frame = bytes[..head].to_vec();
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn read_all(bytes: &[u8], piece: usize) -> (Vec<Said>, Option<u16>) {
    let (mut reader, mut said) = (Reader::default(), Vec::new());
    for mut input in bytes.chunks(piece.max(1)) {
        loop {
            match reader.read(&mut input) {
                Ok(Some(event)) => said.push(event),
                Ok(None) => break,
                Err(violation) => return (said, Some(violation.code)),
            }
        }
        assert!(input.is_empty(), "everything is taken");
    }
    (said, None)
}

/// The same however the bytes come.
#[track_caller]
fn check(bytes: &[u8], expected: &[Said], code: Option<u16>) {
    for piece in [1, 2, 3, 7, bytes.len()] {
        assert_eq!(read_all(bytes, piece), (expected.to_vec(), code), "in pieces of {piece}");
    }
}

fn said(text: &str) -> Said {
    Said::Text(text.to_owned())
}

#[test]
fn messages_of_all_lengths() {
    for length in [0, 1, 125, 126, 127, 128, 65_535.min(FRAME_BYTES_MAX), FRAME_BYTES_MAX] {
        let text = "*".repeat(length);
        check(&client(FIN | TEXT, text.as_bytes()), &[said(&text)], None);
    }
    check(&client(FIN | TEXT, &vec![b'*'; FRAME_BYTES_MAX + 1]), &[], Some(1009));
}

#[test]
fn the_example_of_the_standard() {
    let bytes = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    check(&bytes, &[said("Hello")], None);
    assert_eq!(text(b"Hello"), &[0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f][..]);
}

#[test]
fn a_message_is_limited_over_its_frames() {
    let piece = vec![b'x'; FRAME_BYTES_MAX];
    let mut bytes = client(TEXT, &piece);
    for _ in 0..2 {
        bytes.extend(client(CONTINUATION, &piece));
    }
    let mut whole = bytes.clone();
    whole.extend(client(FIN | CONTINUATION, &piece));
    check(&whole, &[said(&"x".repeat(MESSAGE_BYTES_MAX))], None);
    bytes.extend(client(CONTINUATION, &piece));
    bytes.extend(client(FIN | CONTINUATION, b"x"));
    check(&bytes, &[], Some(1009));
}

#[test]
fn pings_and_pongs() {
    check(&client(FIN | PING, b""), &[Said::Ping(Bytes::new())], None);
    let long = [0xfe; 125];
    check(&client(FIN | PING, &long), &[Said::Ping(Bytes::copy_from_slice(&long))], None);
    check(&client(FIN | PING, &[0xfe; 126]), &[], Some(1002));
    check(&client(FIN | PONG, b"unsolicited"), &[Said::Pong], None);
    assert_eq!(pong(b"ab"), &[0x8a, 2, b'a', b'b'][..]);
    let ten: Vec<u8> = (0..10).flat_map(|_| client(FIN | PING, b"p")).collect();
    check(&ten, &vec![Said::Ping(Bytes::from_static(b"p")); 10], None);
}

#[test]
fn reserved_bits_and_opcodes() {
    for bits in [0x10, 0x20, 0x30, 0x40, 0x70] {
        check(&client(FIN | bits | TEXT, b"x"), &[], Some(1002));
        check(&client(FIN | bits | PING, b""), &[], Some(1002));
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        check(&client(FIN | opcode, b""), &[], Some(1002));
    }
    check(&client(FIN | BINARY_OPCODE, b"x"), &[], Some(1003));
    check(&client(BINARY_OPCODE, b"x"), &[], Some(1003));
    check(&[FIN | TEXT, 1, b'x'], &[], Some(1002));
}

#[test]
fn lengths_are_written_in_their_shortest_form() {
    check(&[FIN | TEXT, MASKED | 126, 0, 5, 0, 0, 0, 0], &[], Some(1002));
    check(&[FIN | TEXT, MASKED | 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0], &[], Some(1002));
    check(&[FIN | TEXT, MASKED | 127, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[], Some(1002));
    check(&[FIN | TEXT, MASKED | 127, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], &[], Some(1009));
}

#[test]
fn fragments() {
    let both = [client(TEXT, b"frag"), client(FIN | CONTINUATION, b"ment")].concat();
    check(&both, &[said("fragment")], None);
    let with_ping =
        [client(TEXT, b"frag"), client(FIN | PING, b"p"), client(FIN | CONTINUATION, b"ment")];
    check(&with_ping.concat(), &[Said::Ping(Bytes::from_static(b"p")), said("fragment")], None);
    let empty = [client(TEXT, b""), client(CONTINUATION, b""), client(FIN | CONTINUATION, b"")];
    check(&empty.concat(), &[said("")], None);
    check(&client(PING, b"x"), &[], Some(1002));
    check(&client(CLOSE, b""), &[], Some(1002));
    check(&client(CONTINUATION, b"x"), &[], Some(1002));
    check(&client(FIN | CONTINUATION, b"x"), &[], Some(1002));
    check(&[client(TEXT, b"a"), client(FIN | TEXT, b"b")].concat(), &[], Some(1002));
    let twice = [both.clone(), client(FIN | CONTINUATION, b"x")].concat();
    check(&twice, &[said("fragment")], Some(1002));
}

#[test]
fn text_is_utf8() {
    let kosme = "κόσμε-\u{10ffff}".as_bytes();
    check(&client(FIN | TEXT, kosme), &[said("κόσμε-\u{10ffff}")], None);
    for at in 0..=kosme.len() {
        let (first, second) = kosme.split_at(at);
        let bytes = [client(TEXT, first), client(FIN | CONTINUATION, second)].concat();
        check(&bytes, &[said("κόσμε-\u{10ffff}")], None);
    }
    for wrong in [
        &b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"[..],
        b"\xf4\x90\x80\x80",
        b"\xc0\xaf",
        b"\xff",
        b"abc\x80",
        b"\xe2\x82",
    ] {
        check(&client(FIN | TEXT, wrong), &[], Some(1007));
    }
    // The fault is found before the message ends.
    check(&client(TEXT, b"ok \xf4\x90"), &[], Some(1007));
}

#[test]
fn closing_handshakes() {
    let closed = |code, reason: &str| [Said::Close { code, reason: reason.to_owned() }];
    check(&client(FIN | CLOSE, b""), &closed(None, ""), None);
    check(&client(FIN | CLOSE, b"\x03\xe8"), &closed(Some(1000), ""), None);
    check(&client(FIN | CLOSE, b"\x03\xe8bye"), &closed(Some(1000), "bye"), None);
    let longest = [&b"\x03\xe8"[..], &[b'*'; 123]].concat();
    check(&client(FIN | CLOSE, &longest), &closed(Some(1000), &"*".repeat(123)), None);
    check(&client(FIN | CLOSE, b"\x03"), &[], Some(1002));
    check(&client(FIN | CLOSE, b"\x03\xe8\xff"), &[], Some(1007));
    for code in [1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 3000, 3999, 4000, 4999_u16] {
        check(&client(FIN | CLOSE, &code.to_be_bytes()), &closed(Some(code), ""), None);
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535_u16] {
        check(&client(FIN | CLOSE, &code.to_be_bytes()), &[], Some(1002));
    }
    assert_eq!(closing(None, "no"), &[0x88, 0][..]);
    assert_eq!(closing(Some(1001), "Going away").len(), 14);
}

#[test]
fn long_messages_are_sent_in_frames_that_a_client_may_send_back() {
    for length in [0, 1, 125, 126, FRAME_BYTES_MAX, FRAME_BYTES_MAX + 1, MESSAGE_BYTES_MAX] {
        let payload = "ü".repeat(length / 2);
        let sent = text(payload.as_bytes());
        // Mask what was sent, as a client would have.
        let (mut at, mut back) = (0, Vec::new());
        while at < sent.len() {
            let (length, head) = match sent[at + 1] {
                126 => (usize::from(u16::from_be_bytes([sent[at + 2], sent[at + 3]])), 4),
                short => (usize::from(short), 2),
            };
            back.extend(client(sent[at], &sent[at + head..at + head + length]));
            at += head + length;
        }
        assert_eq!(read_all(&back, 4096), (vec![Said::Text(payload)], None));
    }
}

proptest! {
    #[test]
    fn whatever_comes_is_read_the_same_in_any_pieces(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        piece in 1usize..50,
    ) {
        prop_assert_eq!(read_all(&bytes, piece), read_all(&bytes, bytes.len()));
    }

    #[test]
    fn a_message_survives_fragmentation(
        text in "\\PC{0,200}",
        cuts in proptest::collection::vec(0usize..200, 0..6),
        piece in 1usize..50,
    ) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        cuts.sort_unstable();
        cuts.push(text.len());
        let (mut bytes, mut from) = (Vec::new(), 0);
        for (nth, cut) in cuts.iter().enumerate() {
            let first = if nth == 0 { TEXT } else { CONTINUATION };
            let last = if nth + 1 == cuts.len() { FIN } else { 0 };
            bytes.extend(client(first | last, &text.as_bytes()[from..*cut]));
            from = *cut;
        }
        prop_assert_eq!(read_all(&bytes, piece), (vec![Said::Text(text)], None));
    }
}
