//! CORS: preflights that the gateway answers by itself, and the headers of all other answers.
//!
//! A preflight is an `OPTIONS` with both `Origin` and `Access-Control-Request-Method`; it needs no route and no
//! integration. Where a route is there for `OPTIONS` (with this verb, `ANY` or `$default`) and is guarded, the preflight has
//! to pass its authorizer, as in AWS, where such an API gets an open route `OPTIONS /{proxy+}`. With a configuration, CORS
//! headers of the integration are replaced. Without one, nothing here happens. A request without `Origin` gets no CORS
//! headers, and neither does one whose origin is not allowed.

use gatemill_wire::payload::{CorsPolicy, cors::Given};
use http::{HeaderMap, Response, StatusCode};

use super::{Exchange, ProxyBody};
use crate::{record::Cors, snapshot::StageSnapshot};

/// A configuration with its headers ready.
pub(crate) fn policy(cors: &Cors) -> CorsPolicy {
    CorsPolicy::new(Given {
        allow_credentials: cors.allow_credentials == Some(true),
        allow_headers: cors.allow_headers.as_deref().unwrap_or_default(),
        allow_methods: cors.allow_methods.as_deref().unwrap_or_default(),
        allow_origins: cors.allow_origins.as_deref().unwrap_or_default(),
        expose_headers: cors.expose_headers.as_deref().unwrap_or_default(),
        max_age: cors.max_age,
    })
}

/// The answer to a preflight, if the request is one.
pub(super) fn preflight(stage: &StageSnapshot, exchange: &Exchange) -> Option<Response<ProxyBody>> {
    // An API whose endpoint is disabled does not answer here either, but a domain does.
    let open = !stage.disabled || exchange.base_path().is_some();
    let policy = stage.cors.as_ref().filter(|_| open)?;
    let headers = policy.preflight(&exchange.head)?;
    let mut answer = Response::new(ProxyBody::empty());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    *answer.headers_mut() = headers;
    Some(answer)
}

/// Replaces the CORS headers of an answer that is not one to a preflight.
pub(super) fn decorate(stage: &StageSnapshot, exchange: &Exchange, headers: &mut HeaderMap) {
    if let Some(policy) = &stage.cors {
        policy.decorate(&exchange.head, headers);
    }
}
