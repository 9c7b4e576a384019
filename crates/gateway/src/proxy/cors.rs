//! CORS: preflights that the gateway answers by itself, and the headers of all other answers.
//!
//! A preflight is an `OPTIONS` with both `Origin` and `Access-Control-Request-Method`; it needs no route, no authorizer
//! and no integration. With a configuration, CORS headers of the integration are replaced. Without one, nothing here
//! happens. A request without `Origin` gets no CORS headers, and neither does one whose origin is not allowed.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, request::Parts,
};

use super::ProxyBody;
use crate::{record::Cors, snapshot::StageSnapshot};

/// A CORS configuration with its headers ready.
#[derive(Debug)]
pub(crate) struct CorsPolicy {
    origins: Vec<String>,
    credentials: bool,
    methods: Option<HeaderValue>,
    headers: Option<HeaderValue>,
    expose: Option<HeaderValue>,
    max_age: Option<HeaderValue>,
}

impl CorsPolicy {
    pub(crate) fn new(cors: &Cors) -> Self {
        let list = |entries: &Option<Vec<String>>| {
            let joined = entries.as_deref().filter(|list| !list.is_empty())?.join(",");
            HeaderValue::try_from(joined).ok()
        };
        Self {
            origins: cors.allow_origins.clone().unwrap_or_default(),
            credentials: cors.allow_credentials == Some(true),
            methods: list(&cors.allow_methods),
            headers: list(&cors.allow_headers),
            expose: list(&cors.expose_headers),
            max_age: cors.max_age.map(HeaderValue::from),
        }
    }

    /// The value of `access-control-allow-origin` for an origin, if it is allowed.
    fn allowed(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        let text = origin.to_str().ok()?;
        for allowed in &self.origins {
            match allowed.as_str() {
                "*" => return Some(HeaderValue::from_static("*")),
                "http://*" if text.starts_with("http://") => return Some(origin.clone()),
                "https://*" if text.starts_with("https://") => return Some(origin.clone()),
                exact if exact.eq_ignore_ascii_case(text) => return Some(origin.clone()),
                _ => {}
            }
        }
        None
    }

    /// Puts the headers that answers to `origin` have.
    fn apply(&self, origin: &HeaderValue, preflight: bool, headers: &mut HeaderMap) {
        let Some(allowed) = self.allowed(origin) else { return };
        // Which origin is named depends on the request, so a cache has to know.
        if allowed != "*" {
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if self.credentials {
            let value = HeaderValue::from_static("true");
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, value);
        }
        let mut put = |name: HeaderName, value: &Option<HeaderValue>| {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        };
        put(header::ACCESS_CONTROL_EXPOSE_HEADERS, &self.expose);
        if preflight {
            put(header::ACCESS_CONTROL_ALLOW_METHODS, &self.methods);
            put(header::ACCESS_CONTROL_ALLOW_HEADERS, &self.headers);
            put(header::ACCESS_CONTROL_MAX_AGE, &self.max_age);
        }
    }
}

/// The answer to a preflight, if the request is one.
pub(super) fn preflight(stage: &StageSnapshot, head: &Parts) -> Option<Response<ProxyBody>> {
    // An API whose endpoint is disabled does not answer here either.
    let policy = stage.cors.as_ref().filter(|_| !stage.disabled)?;
    if head.method != Method::OPTIONS
        || !head.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
    {
        return None;
    }
    let origin = head.headers.get(header::ORIGIN)?;
    let mut answer = Response::new(ProxyBody::empty());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    policy.apply(origin, true, answer.headers_mut());
    Some(answer)
}

/// Replaces the CORS headers of an answer that is not one to a preflight.
pub(super) fn decorate(stage: &StageSnapshot, head: &Parts, headers: &mut HeaderMap) {
    let Some(policy) = &stage.cors else { return };
    if preflight(stage, head).is_some() {
        return;
    }
    for name in [
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
        header::ACCESS_CONTROL_ALLOW_METHODS,
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        header::ACCESS_CONTROL_MAX_AGE,
    ] {
        headers.remove(name);
    }
    if let Some(origin) = head.headers.get(header::ORIGIN) {
        policy.apply(origin, false, headers);
    }
}
