//! The opening handshake of RFC 6455: what a client has to ask for, and the answer that switches protocols.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version, header, request::Parts};

use crate::proxy::ProxyBody;

/// What the key of a handshake is hashed with.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Why a handshake is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It is no handshake.
    NoHandshake,
    /// It asks for another version of the protocol.
    Version,
}

/// Whether a request asks to switch to the WebSocket protocol.
pub(crate) fn is_asked(parts: &Parts) -> bool {
    names(&parts.headers, header::UPGRADE, "websocket")
}

/// Checks a handshake; gives what proves that it was understood.
pub(super) fn accept(parts: &Parts) -> Result<HeaderValue, Unfit> {
    let fits = parts.method == Method::GET
        && parts.version == Version::HTTP_11
        && is_asked(parts)
        && names(&parts.headers, header::CONNECTION, "upgrade");
    if !fits {
        return Err(Unfit::NoHandshake);
    }
    if one(&parts.headers, "sec-websocket-version") != Some("13") {
        return Err(Unfit::Version);
    }
    let key = one(&parts.headers, "sec-websocket-key").ok_or(Unfit::NoHandshake)?;
    if STANDARD.decode(key).map(|bytes| bytes.len()) != Ok(16) {
        return Err(Unfit::NoHandshake);
    }
    let digest = aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY,
        format!("{key}{GUID}").as_bytes(),
    );
    HeaderValue::from_str(&STANDARD.encode(digest)).map_err(|_| Unfit::NoHandshake)
}

/// The answer that switches protocols. Of the integration's headers, only the subprotocol that it chose counts.
pub(super) fn switching(accept: HeaderValue, chosen: &HeaderMap) -> Response<ProxyBody> {
    let mut response = Response::new(ProxyBody::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(protocol) = chosen.get(header::SEC_WEBSOCKET_PROTOCOL) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol.clone());
    }
    response
}

/// Whether a list of words in a header has this one.
fn names(headers: &HeaderMap, name: header::HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|found| found.trim().eq_ignore_ascii_case(word))
}

/// The value of a header that stands once.
fn one<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?.trim();
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::get("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_example_of_the_standard() {
        let asked = [
            ("Upgrade", "websocket"),
            ("Connection", "keep-alive, Upgrade"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        assert_eq!(accept(&parts(&asked)).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        for left in 0..asked.len() {
            let mut some = asked.to_vec();
            some.remove(left);
            let expected = if left == 2 { Unfit::Version } else { Unfit::NoHandshake };
            assert_eq!(accept(&parts(&some)), Err(expected), "without {:?}", asked[left]);
        }
        let mut twice = asked.to_vec();
        twice.push(asked[3]);
        assert!(accept(&parts(&twice)).is_err());
        let short = [asked[0], asked[1], asked[2], ("Sec-WebSocket-Key", "c2hvcnQ=")];
        assert!(accept(&parts(&short)).is_err());
    }
}
