//! A request to a function URL: its body, read with a limit, and its signature where the URL wants one; the rest is
//! Lambda's.

use bytes::Bytes;
use gatemill_lambda::{Error, FunctionUrl, UrlArrival, UrlCaller, UrlTarget, unknown_url};
use gatemill_wire::{
    ApiError, Body, RequestId,
    protocol::{self, Encoding},
};
use http::{Request, Response, StatusCode, Version, request::Parts};
use hyper::body::Incoming;

use crate::{
    api_call::{self, Unread},
    peer::Peer,
    server::Server,
};

/// The service in the scope of signatures.
const SIGNING_NAME: &str = "lambda";

/// Answers the request.
pub(crate) async fn answer(
    server: &Server,
    target: &UrlTarget,
    peer: &Peer,
    request: Request<Incoming>,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let url = match server.lambda.function_url(target) {
        Ok(Some(url)) => url,
        Ok(None) => return unknown_url(RequestId(server.entropy.uuid())),
        Err(error) => return refused(server, error),
    };
    if let Some(headers) = url.preflight(&head) {
        let mut response = Response::new(Body::Whole(Bytes::new()));
        *response.headers_mut() = headers;
        return response;
    }
    let limit = gatemill_lambda::limits::EVENT_BYTES_MAX;
    let _room = api_call::room(server, &body, limit).await;
    let expected = api_call::declared(&head).unwrap_or(0).min(limit);
    let body = match api_call::read(body, expected, limit).await {
        Ok(body) => body,
        Err(Unread::TooLarge) => return refused(server, Error::EventTooLarge { max: limit }),
        Err(Unread::Broken) => return bare(StatusCode::BAD_REQUEST),
        Err(Unread::Late) => return bare(StatusCode::REQUEST_TIMEOUT),
    };
    let arrival = UrlArrival {
        source_ip: peer.source_ip(),
        now: server.clock.now(),
        protocol: if head.version == Version::HTTP_2 { "HTTP/2.0" } else { "HTTP/1.1" },
        tls: peer.tls.is_some(),
    };
    let caller = caller(server, &url, &head, &body, &arrival);
    server.lambda.answer_url(&url, target, &head, body, &arrival, caller).await
}

fn caller(
    server: &Server,
    url: &FunctionUrl,
    head: &Parts,
    body: &Bytes,
    arrival: &UrlArrival,
) -> UrlCaller {
    if !url.wants_signature() {
        return UrlCaller::Anonymous;
    }
    match server.front.signer(SIGNING_NAME, arrival.now, head, body) {
        Ok(caller) => UrlCaller::Signed(caller),
        Err(error) => UrlCaller::Refused(error),
    }
}

fn refused(server: &Server, error: Error) -> Response<Body> {
    let error = ApiError::from(error);
    if let Some(internal) = error.internal_text() {
        tracing::error!(internal, "a function URL cannot be served");
    }
    let request_id = RequestId(server.entropy.uuid());
    protocol::encode_error(&gatemill_api::lambda::SERVICE, Encoding::Own, request_id, &error)
        .map(Body::Whole)
}

fn bare(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::Whole(Bytes::new()));
    *response.status_mut() = status;
    response
}
