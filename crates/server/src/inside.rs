//! AWS as functions find it, at an address inside their sandbox: the API calls that any client may make, with the
//! credentials of the function's role. No network is needed for it.
//!
//! Neither this program's own paths (`/_gatemill/`) nor HTTP APIs are there, but `@connections` is, in its path form too. In `dev`, where any key is accepted from
//! outside, a function whose access is `none` gets nothing with a key of its own invention.

use std::{
    fmt,
    future::poll_fn,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Weak},
};

use bytes::{Bytes, BytesMut};
use gatemill_lambda::{AwsEndpoint, FunctionTarget};
use gatemill_wire::{Body, Verification, routes::BoxFuture, sigv4::Claim};
use http::{Request, Response, StatusCode, request::Parts};

use crate::{
    api_call, configuration::FunctionAccess, connections, limits, peer::Peer, server::Server,
};

/// Answers functions. Holds the server weakly, since the server has the functions.
pub(crate) struct Inside(pub(crate) Weak<Server>);

impl fmt::Debug for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Inside").finish()
    }
}

impl AwsEndpoint for Inside {
    fn answer(
        &self,
        _function: &FunctionTarget,
        request: Request<Bytes>,
    ) -> BoxFuture<'static, Response<Bytes>> {
        let server = self.0.upgrade();
        Box::pin(async move {
            match server {
                Some(server) => answer(&server, request).await,
                None => api_call::text(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "ServiceUnavailableException",
                    "The server is stopping.",
                ),
            }
        })
    }
}

async fn answer(server: &Arc<Server>, request: Request<Bytes>) -> Response<Bytes> {
    let (mut parts, body) = request.into_parts();
    if let Some(target) = server.gateway.claims(&parts) {
        connections::mark(server, &target, &mut parts);
    }
    if server.configuration.function_access == FunctionAccess::None && is_invented(server, &parts) {
        return api_call::unrecognized(server, &parts);
    }
    let peer = Peer::plain(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0));
    let arrival = server.arrival(&parts, &peer);
    let response = api_call::run(server, arrival, Request::from_parts(parts, body)).await;
    let (head, body) = response.into_parts();
    match whole(body).await {
        Some(body) => Response::from_parts(head, body),
        None => api_call::text(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestEntityTooLargeException",
            "The answer is longer than what a function can be given here, or it broke off.",
        ),
    }
}

/// Whether the key of a request is accepted without a secret that it would have to be signed with.
fn is_invented(server: &Server, parts: &Parts) -> bool {
    let now = server.clock.now();
    Claim::read(parts).is_ok_and(|claim| {
        let found = server.front.credentials.find(claim.presented(now));
        found.is_ok_and(|found| found.verification == Verification::AnySignature)
    })
}

/// A body as a whole, which one in pieces is not handed on as.
async fn whole(body: Body) -> Option<Bytes> {
    let mut pieces = match body {
        Body::Whole(bytes) => return Some(bytes),
        Body::Pieces(pieces) => pieces,
    };
    let mut all = BytesMut::new();
    while let Some(piece) = poll_fn(|cx| pieces.poll_next(cx)).await {
        let piece = piece.ok()?;
        if all.len() + piece.len() > limits::INSIDE_ANSWER_BYTES_MAX {
            return None;
        }
        all.extend_from_slice(&piece);
    }
    Some(all.freeze())
}
