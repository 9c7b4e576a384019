//! Requests come out the same however they are cut; what is no request is refused and never believed.

use proptest::prelude::*;

use super::*;

/// Feeds the bytes in pieces of this size and gives the requests that come out.
fn read(bytes: &[u8], piece: usize, keep_max: usize) -> Result<Vec<(String, Arrived)>, Malformed> {
    let mut inbox = BytesMut::new();
    let mut reading: Option<(request::Parts, BodyReader)> = None;
    let mut found = Vec::new();
    for piece in bytes.chunks(piece.max(1)) {
        inbox.extend_from_slice(piece);
        loop {
            if reading.is_none() {
                let Some(head) = take_head(&mut inbox)? else { break };
                let body = BodyReader::new(&head.headers, keep_max)?;
                reading = Some((head, body));
            }
            let Some((head, body)) = &mut reading else { break };
            let Some(arrived) = body.take(&mut inbox)? else { break };
            found.push((format!("{} {}", head.method, head.uri), arrived));
            reading = None;
            if inbox.is_empty() {
                break;
            }
        }
    }
    Ok(found)
}

fn whole(text: &str) -> Arrived {
    Arrived::Whole(Bytes::copy_from_slice(text.as_bytes()))
}

const TWO: &str = "GET /next HTTP/1.1\r\nHost: x\r\n\r\nPOST /a/response HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello";
const CHUNKED: &str = "POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nA-Trailer: v\r\n\r\n";

#[test]
fn requests_come_out_whatever_the_cuts() {
    for piece in 1..TWO.len() {
        let expected =
            vec![("GET /next".into(), whole("")), ("POST /a/response".into(), whole("hello"))];
        assert_eq!(read(TWO.as_bytes(), piece, 100), Ok(expected), "{piece}");
    }
    for piece in 1..CHUNKED.len() {
        let expected = vec![("POST /c".to_owned(), whole("hello!"))];
        assert_eq!(read(CHUNKED.as_bytes(), piece, 100), Ok(expected), "{piece}");
    }
}

#[test]
fn what_is_longer_than_wanted_is_thrown_away() {
    assert_eq!(read(TWO.as_bytes(), 7, 4).unwrap()[1].1, Arrived::TooLarge);
    assert_eq!(read(CHUNKED.as_bytes(), 7, 5).unwrap()[0].1, Arrived::TooLarge);
    let long = "POST / HTTP/1.1\r\nContent-Length: 268435457\r\n\r\n";
    assert_eq!(read(long.as_bytes(), 9, 4), Err(Malformed::BodyTooLong));
}

#[test]
fn trailers_are_kept() {
    let mut inbox = BytesMut::from(CHUNKED);
    let head = take_head(&mut inbox).unwrap().unwrap();
    let mut body = BodyReader::new(&head.headers, 100).unwrap();
    assert!(body.take(&mut inbox).unwrap().is_some());
    assert_eq!(body.trailer_named("a-trailer"), Some("v"));
}

#[test]
fn a_length_that_is_not_clear_is_refused() {
    for headers in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: +5",
        "Content-Length: 5, 5",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    ] {
        let request = format!("POST / HTTP/1.1\r\n{headers}\r\n\r\n0\r\n\r\n");
        assert_eq!(read(request.as_bytes(), 1000, 100), Err(Malformed::Length), "{headers}");
    }
    for size in ["", "x", "-1", "123456789", "0x5"] {
        let request = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{size}\r\n");
        assert_eq!(read(request.as_bytes(), 1000, 100), Err(Malformed::Chunk), "{size}");
    }
}

#[test]
fn heads_are_bounded() {
    let endless = format!("GET / HTTP/1.1\r\nA: {}", "x".repeat(API_HEAD_BYTES_MAX));
    assert_eq!(read(endless.as_bytes(), 4096, 100), Err(Malformed::HeadTooLong));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(API_HEADERS_MAX + 1));
    assert_eq!(read(many.as_bytes(), 4096, 100), Err(Malformed::HeadTooLong));
}

#[test]
fn answers_hold_no_line_end_of_a_value() {
    let head = head(StatusCode::OK, [("A", &b"b\r\nC: d\0"[..])].into_iter(), 3);
    assert_eq!(&head[..], b"HTTP/1.1 200 OK\r\nA: bC: d\r\nContent-Length: 3\r\n\r\n");
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400), piece in 1..50_usize) {
        let _ = read(&bytes, piece, 64);
        let mut request = b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        request.extend(&bytes);
        let _ = read(&request, piece, 64);
    }

    #[test]
    fn the_cuts_make_no_difference(lines in prop::collection::vec("(GET|POST) /[a-z]{0,3} HTTP/1.[01]|Content-Length: [0-9]|[a-z0-9]{0,4}|", 0..12), piece in 1..9_usize) {
        let text = lines.join("\r\n");
        prop_assert_eq!(read(text.as_bytes(), piece, 64), read(text.as_bytes(), text.len(), 64));
    }

    #[test]
    fn bodies_come_out_as_they_were(body in prop::collection::vec(any::<u8>(), 0..300), chunk in 1..40_usize, piece in 1..60_usize) {
        let mut request = b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for part in body.chunks(chunk) {
            request.extend(format!("{:x}\r\n", part.len()).bytes());
            request.extend(part);
            request.extend(b"\r\n");
        }
        request.extend(b"0\r\n\r\n");
        let found = read(&request, piece, 1000).unwrap();
        prop_assert_eq!(&found[0].1, &Arrived::Whole(body.into()));
    }
}
