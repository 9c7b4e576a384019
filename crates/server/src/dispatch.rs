//! One request: ours (`/_gatemill/`), the data plane's (the host or path of a function URL or an API), or an AWS API call.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use gatemill_gateway::{Arrival, ClientCert, Held, ProxyBody, Target, proxy::body::BodyError};
use gatemill_lambda::UrlTarget;
use gatemill_wire::{BrokenOff, Pieces};
use http::{Method, Request, Response, Version, header, request::Parts};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::{
    admin, api_call, connections, function_url, listener::Holding, peer::Peer, server::Server,
};

/// Answers one request. It cannot fail: every error has become an answer.
pub(crate) async fn dispatch(
    server: Arc<Server>,
    peer: Peer,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Infallible> {
    let head_only = request.method() == Method::HEAD;
    let response = answer(server, &peer, request).await;
    Ok(if head_only { without_body(response) } else { response })
}

async fn answer(
    server: Arc<Server>,
    peer: &Peer,
    request: Request<Incoming>,
) -> Response<AnswerBody> {
    let (mut parts, body) = request.into_parts();
    if !names_one_host(&parts) {
        return admin::no_host().map(AnswerBody::Whole);
    }
    let is_admin = parts.uri.path().starts_with(admin::PREFIX);
    if is_admin && server.answers_to(&parts) {
        return Box::pin(admin::answer(&server, peer, &parts)).await.map(AnswerBody::Whole);
    }
    if !is_admin && let Some(target) = UrlTarget::of(&parts) {
        let request = Request::from_parts(parts, body);
        let answered = Box::pin(function_url::answer(&server, &target, peer, request));
        return answered.await.map(AnswerBody::from);
    }
    if !is_admin && let Some(target) = server.gateway.claims_of(client_cert(peer), &parts) {
        if connections::mark(&server, &target, &mut parts) {
            let request = Request::from_parts(parts, body);
            let answered = Box::pin(api_call::answer(&server, peer, request));
            return answered.await.map(AnswerBody::from);
        }
        let is_handshake = server.gateway.takes_handshake(&target, &parts).await;
        let request = Request::from_parts(parts, body);
        if is_handshake {
            let connected = Box::pin(connect(&server, target, peer, request));
            return connected.await.map(AnswerBody::Proxied);
        }
        return proxy(&server, target, peer, request).await.map(AnswerBody::Proxied);
    }
    if !server.answers_to(&parts) {
        return admin::other_host().map(AnswerBody::Whole);
    }
    let request = Request::from_parts(parts, body);
    Box::pin(api_call::answer(&server, peer, request)).await.map(AnswerBody::from)
}

/// Whether a request says where it belongs, and only once: two readers could choose differently among two names.
fn names_one_host(parts: &Parts) -> bool {
    let mut named = parts.headers.get_all(header::HOST).iter();
    let is_named = named.next().is_some();
    named.next().is_none() && (is_named || parts.version != Version::HTTP_11)
}

/// The answer to a HEAD request: the headers alone, with the length that the body would have had.
///
/// hyper leaves the body away in HTTP/1.1 only; in HTTP/2 a body here breaks the stream.
fn without_body(response: Response<AnswerBody>) -> Response<AnswerBody> {
    let (mut head, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact().filter(|length| *length > 0) {
        head.headers.entry(header::CONTENT_LENGTH).or_insert(length.into());
    }
    Response::from_parts(head, AnswerBody::Whole(Bytes::new()))
}

async fn proxy(
    server: &Server,
    target: Target,
    peer: &Peer,
    request: Request<Incoming>,
) -> Response<ProxyBody> {
    let arrival = arrival(server, &target, peer, request.version());
    server.gateway.proxy(target, request, arrival).await
}

/// A handshake for a WebSocket API. The connection that comes of it holds what this one holds.
async fn connect(
    server: &Server,
    target: Target,
    peer: &Peer,
    mut request: Request<Incoming>,
) -> Response<ProxyBody> {
    let arrival = arrival(server, &target, peer, request.version());
    let holding = request.extensions_mut().remove::<Holding>();
    server.gateway.connect(target, request, arrival, Held::new(holding)).await
}

fn client_cert(peer: &Peer) -> Option<&ClientCert> {
    peer.client_cert().map(|cert| &**cert)
}

fn arrival(server: &Server, target: &Target, peer: &Peer, version: Version) -> Arrival {
    Arrival {
        source_ip: peer.source_ip(),
        now: server.clock.now(),
        protocol: if version == Version::HTTP_2 { "HTTP/2.0" } else { "HTTP/1.1" },
        tls: peer.tls.is_some(),
        client_cert: peer.client_cert().filter(|_| target.shows_client()).cloned(),
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum AnswerBody {
    /// One that is there as a whole; empty once it has been taken.
    Whole(Bytes),
    /// The data plane's, which may come in pieces.
    Proxied(ProxyBody),
    /// One that a service or a function still gives.
    Pieces(Unread),
}

/// Pieces that are not read yet.
pub(crate) struct Unread(Box<dyn Pieces>);

impl fmt::Debug for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unread")
    }
}

/// Why a body broke off after its headers had left.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswerError {
    #[error(transparent)]
    Proxied(#[from] BodyError),
    #[error(transparent)]
    Pieces(#[from] BrokenOff),
}

impl From<gatemill_wire::Body> for AnswerBody {
    fn from(body: gatemill_wire::Body) -> Self {
        match body {
            gatemill_wire::Body::Whole(bytes) => Self::Whole(bytes),
            gatemill_wire::Body::Pieces(pieces) => Self::Pieces(Unread(pieces)),
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = AnswerError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Proxied(body) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map_err(AnswerError::Proxied)))
            }
            Self::Pieces(Unread(pieces)) => {
                let Some(piece) = ready!(pieces.poll_next(cx)) else {
                    return Poll::Ready(pieces.trailers().map(|last| Ok(Frame::trailers(last))));
                };
                Poll::Ready(Some(Ok(Frame::data(piece?))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Proxied(body) => body.is_end_stream(),
            Self::Pieces(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Proxied(body) => body.size_hint(),
            Self::Pieces(_) => SizeHint::default(),
        }
    }
}
