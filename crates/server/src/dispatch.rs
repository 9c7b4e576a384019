//! One request: ours (`/_gatemill/`), the data plane's (an API's host or path), or an AWS API call.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::{admin, api_call, server::Server};

/// The body of an answer.
pub(crate) type AnswerBody = Full<Bytes>;

/// Answers one request. It cannot fail: every error has become an answer.
pub(crate) async fn dispatch(
    server: Arc<Server>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Infallible> {
    if request.uri().path().starts_with(admin::PREFIX) {
        let (parts, _body) = request.into_parts();
        return Ok(admin::answer(&server, peer, &parts).await.map(Full::new));
    }
    Ok(api_call::answer(&server, peer, request).await.map(Full::new))
}
