//! CORS: answers to preflights, and the headers of all other answers.
//!
//! A preflight is an `OPTIONS` with both `Origin` and `Access-Control-Request-Method`. A request without `Origin` gets
//! no CORS headers, and neither does one whose origin is not allowed.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header, request::Parts};

/// A CORS configuration with its headers ready.
#[derive(Debug)]
pub struct CorsPolicy {
    origins: Vec<String>,
    credentials: bool,
    methods: Option<HeaderValue>,
    headers: Option<HeaderValue>,
    expose: Option<HeaderValue>,
    max_age: Option<HeaderValue>,
}

/// A CORS configuration as it was given.
#[derive(Debug, Clone, Copy, Default)]
pub struct Given<'c> {
    /// Whether cookies and the like may be sent.
    pub allow_credentials: bool,
    /// Names of headers.
    pub allow_headers: &'c [String],
    /// Methods.
    pub allow_methods: &'c [String],
    /// Origins: exact ones, `*`, `http://*` or `https://*`.
    pub allow_origins: &'c [String],
    /// Names of headers.
    pub expose_headers: &'c [String],
    /// Seconds.
    pub max_age: Option<i32>,
}

impl CorsPolicy {
    /// Makes the headers ready.
    pub fn new(given: Given<'_>) -> Self {
        let list = |entries: &[String]| {
            (!entries.is_empty()).then(|| HeaderValue::try_from(entries.join(",")).ok()).flatten()
        };
        Self {
            origins: given.allow_origins.to_vec(),
            credentials: given.allow_credentials,
            methods: list(given.allow_methods),
            headers: list(given.allow_headers),
            expose: list(given.expose_headers),
            max_age: given.max_age.map(HeaderValue::from),
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

    /// The headers of the answer to a preflight, if the request is one.
    pub fn preflight(&self, head: &Parts) -> Option<HeaderMap> {
        if head.method != Method::OPTIONS
            || !head.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        {
            return None;
        }
        let origin = head.headers.get(header::ORIGIN)?;
        let mut headers = HeaderMap::new();
        self.apply(origin, true, &mut headers);
        Some(headers)
    }

    /// Replaces the CORS headers of an answer that is not one to a preflight.
    pub fn decorate(&self, head: &Parts, headers: &mut HeaderMap) {
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
            self.apply(origin, false, headers);
        }
    }
}
