//! A client of registries: the pulling half of the OCI distribution specification.
//!
//! HTTPS with the public roots, and plain HTTP for registries on this machine. A registry that wants it gets the
//! operator's credentials, as `Basic` or for a token; where it sends us for a blob, no credentials go along. All that it
//! says is bounded, in bytes and in time, and is believed only when it has the sum that was asked for.

use std::{collections::HashMap, sync::Mutex, sync::PoisonError};

use bytes::Bytes;
use http::{
    HeaderMap, Method, Request, Response, StatusCode, Uri,
    header::{
        ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION, USER_AGENT, WWW_AUTHENTICATE,
    },
};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::timeout;

use crate::{
    Digest, Error, Settings,
    limits::{
        ANSWER_WAIT, BODY_WAIT, CONNECT_WAIT, MANIFEST_BYTES_MAX, REDIRECTS_MAX, TOKEN_BYTES_MAX,
    },
    manifest,
    reference::is_loopback,
};

/// Challenges of a registry that are kept, so that the next request needs no refusal first.
const TOKENS_MAX: usize = 256;

pub(crate) struct Registry {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    settings: Settings,
    /// `Authorization` by registry and repository.
    authorizations: Mutex<HashMap<(String, String), HeaderValue>>,
}

/// A repository in a registry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Repository<'a> {
    pub(crate) host: &'a str,
    pub(crate) name: &'a str,
}

/// A manifest's bytes, with the type that the registry gave them.
pub(crate) struct Found {
    pub(crate) bytes: Bytes,
    pub(crate) media_type: Option<String>,
}

impl Registry {
    pub(crate) fn new(settings: Settings) -> Result<Self, Error> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_WAIT));
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(provider)
            .map_err(|error| Error::Settings(format!("TLS: {error}")))?
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .build(connector);
        Ok(Self { client, settings, authorizations: Mutex::default() })
    }

    /// A manifest or index, by tag or digest.
    pub(crate) async fn manifest(
        &self,
        repository: Repository<'_>,
        which: &str,
    ) -> Result<Found, Error> {
        let path = format!("manifests/{which}");
        let response = self.get(repository, &path, Some(manifest::ACCEPT)).await?;
        let media_type = response.headers().get(CONTENT_TYPE);
        let media_type = media_type
            .and_then(|value| value.to_str().ok())
            .map(|value| value.split(';').next().unwrap_or_default().trim().to_owned());
        let bytes = whole(response.into_body(), MANIFEST_BYTES_MAX).await?;
        Ok(Found { bytes, media_type })
    }

    /// The body of a blob; the caller counts and sums it.
    pub(crate) async fn blob(
        &self,
        repository: Repository<'_>,
        digest: &Digest,
    ) -> Result<Incoming, Error> {
        let response = self.get(repository, &format!("blobs/{digest}"), None).await?;
        Ok(response.into_body())
    }

    async fn get(
        &self,
        repository: Repository<'_>,
        path: &str,
        accept: Option<&'static str>,
    ) -> Result<Response<Incoming>, Error> {
        let Repository { host, name } = repository;
        self.settings.check(host)?;
        let scheme = if is_loopback(host) { "http" } else { "https" };
        let server = if host == "docker.io" { "registry-1.docker.io" } else { host };
        let uri: Uri = format!("{scheme}://{server}/v2/{name}/{path}")
            .parse()
            .map_err(|_| Error::Invalid("its name makes no address"))?;
        let known = self.authorization(repository);
        let first = self.send(&uri, accept, known).await?;
        let response = if first.status() == StatusCode::UNAUTHORIZED {
            let granted = self.answer(repository, first.headers()).await?;
            self.send(&uri, accept, Some(granted)).await?
        } else {
            first
        };
        self.follow(uri, accept, response).await
    }

    /// Goes where the registry sends us; credentials stay behind.
    async fn follow(
        &self,
        mut uri: Uri,
        accept: Option<&'static str>,
        mut response: Response<Incoming>,
    ) -> Result<Response<Incoming>, Error> {
        for _ in 0..REDIRECTS_MAX {
            if !response.status().is_redirection() {
                return judge(response);
            }
            let lost = || Error::Unreachable("it sends us to no address".to_owned());
            let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
            uri = target(&uri, to.ok_or_else(lost)?).ok_or_else(lost)?;
            response = self.send(&uri, accept, None).await?;
        }
        judge(response)
    }

    async fn send(
        &self,
        uri: &Uri,
        accept: Option<&'static str>,
        authorization: Option<HeaderValue>,
    ) -> Result<Response<Incoming>, Error> {
        let mut request = Request::new(Empty::new());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = uri.clone();
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static("gatemill"));
        if let Some(accept) = accept {
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
        }
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization);
        }
        match timeout(ANSWER_WAIT, self.client.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(Error::Unreachable(chain(&error))),
            Err(_) => Err(Error::Unreachable("it does not answer".to_owned())),
        }
    }

    fn authorization(&self, repository: Repository<'_>) -> Option<HeaderValue> {
        let known = self.authorizations.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&(repository.host.to_owned(), repository.name.to_owned())).cloned()
    }

    /// What a challenge asks for.
    async fn answer(
        &self,
        repository: Repository<'_>,
        headers: &HeaderMap,
    ) -> Result<HeaderValue, Error> {
        let basic = self.settings.basic(repository.host)?;
        let challenges = headers.get_all(WWW_AUTHENTICATE).iter();
        let challenges: Vec<_> =
            challenges.filter_map(|value| Challenge::parse(value.to_str().ok()?)).collect();
        let text = match (challenges.iter().find_map(Challenge::bearer), basic) {
            (Some(bearer), basic) => {
                format!("Bearer {}", self.token(repository, bearer, basic).await?)
            }
            (None, Some(basic)) if challenges.contains(&Challenge::Basic) => {
                format!("Basic {basic}")
            }
            (None, _) => return Err(Error::Denied),
        };
        let mut value = HeaderValue::try_from(text).map_err(|_| Error::Denied)?;
        value.set_sensitive(true);
        let mut known = self.authorizations.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= TOKENS_MAX {
            known.clear();
        }
        let place = (repository.host.to_owned(), repository.name.to_owned());
        known.insert(place, value.clone());
        Ok(value)
    }

    async fn token(
        &self,
        repository: Repository<'_>,
        bearer: &Bearer,
        basic: Option<String>,
    ) -> Result<String, Error> {
        let realm: Uri = bearer.realm.parse().map_err(|_| Error::Denied)?;
        let is_safe = realm.scheme_str() == Some("https")
            || (is_loopback(repository.host) && realm.host().is_some_and(is_loopback));
        if !is_safe {
            return Err(Error::Denied);
        }
        let scope = format!("repository:{}:pull", repository.name);
        let joint = if bearer.realm.contains('?') { '&' } else { '?' };
        let mut uri = format!("{}{joint}scope={}", bearer.realm, escape(&scope));
        if let Some(service) = &bearer.service {
            uri.push_str(&format!("&service={}", escape(service)));
        }
        let uri = uri.parse().map_err(|_| Error::Denied)?;
        let authorization = basic.map(|basic| {
            let mut value = HeaderValue::try_from(format!("Basic {basic}")).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        let response = judge(self.send(&uri, None, authorization.flatten()).await?)?;
        let document = whole(response.into_body(), TOKEN_BYTES_MAX).await?;
        let token: Token = serde_json::from_slice(&document).map_err(|_| Error::Denied)?;
        token.token.or(token.access_token).ok_or(Error::Denied)
    }
}

#[derive(serde::Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

/// What a `WWW-Authenticate` asks for.
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer(Bearer),
}

#[derive(Debug, PartialEq, Eq)]
struct Bearer {
    realm: String,
    service: Option<String>,
}

impl Challenge {
    fn parse(value: &str) -> Option<Self> {
        let (scheme, rest) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let parameters: HashMap<_, _> = parameters(rest).collect();
        let realm = (*parameters.get("realm")?).to_owned();
        let service = parameters.get("service").map(|service| (*service).to_owned());
        Some(Self::Bearer(Bearer { realm, service }))
    }

    fn bearer(&self) -> Option<&Bearer> {
        match self {
            Self::Bearer(bearer) => Some(bearer),
            Self::Basic => None,
        }
    }
}

/// `name="value"` pairs with commas between, commas in quotes not counting.
fn parameters(mut text: &str) -> impl Iterator<Item = (&str, &str)> {
    std::iter::from_fn(move || {
        let (name, rest) = text.split_once('=')?;
        let name = name.trim_matches([' ', ',']);
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_once(',').unwrap_or((rest, "")),
        };
        text = rest;
        Some((name, value))
    })
}

/// Percent-encodes what means something in a query.
fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'/' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// Where a redirection leads: never from TLS to plain text.
fn target(from: &Uri, to: &str) -> Option<Uri> {
    let to = if to.starts_with('/') && !to.starts_with("//") {
        format!("{}://{}{to}", from.scheme_str()?, from.authority()?)
    } else {
        to.to_owned()
    };
    let to: Uri = to.parse().ok()?;
    let is_safe = match to.scheme_str() {
        Some("https") => true,
        Some("http") => from.scheme_str() == Some("http") && is_loopback(to.authority()?.as_str()),
        _ => false,
    };
    is_safe.then_some(to)
}

fn judge(response: Response<Incoming>) -> Result<Response<Incoming>, Error> {
    match response.status() {
        StatusCode::OK => Ok(response),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Error::Denied),
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(Error::NotFound),
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            Err(Error::Unreachable(format!("it answers {status}")))
        }
        status => Err(Error::Unreachable(format!("it answers {status}"))),
    }
}

/// The whole of a body that has to be short.
async fn whole(body: Incoming, most: usize) -> Result<Bytes, Error> {
    let mut body = body;
    let mut all = Vec::new();
    while let Some(part) = next_part(&mut body).await? {
        if all.len() + part.len() > most {
            return Err(Error::Invalid("an answer of the registry is too long"));
        }
        all.extend_from_slice(&part);
    }
    Ok(all.into())
}

/// The next bytes of a body; `None` at its end.
pub(crate) async fn next_part(body: &mut Incoming) -> Result<Option<Bytes>, Error> {
    loop {
        match timeout(BODY_WAIT, body.frame()).await {
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(part) => return Ok(Some(part)),
                Err(_) => continue,
            },
            Ok(Some(Err(error))) => return Err(Error::Unreachable(chain(&error))),
            Ok(None) => return Ok(None),
            Err(_) => return Err(Error::Unreachable("it stops within an answer".to_owned())),
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges() {
        let bearer = r#"Bearer realm="https://auth.example.com/token",service="a, b",scope="repository:x:pull""#;
        let wanted = Bearer {
            realm: "https://auth.example.com/token".to_owned(),
            service: Some("a, b".to_owned()),
        };
        assert_eq!(Challenge::parse(bearer), Some(Challenge::Bearer(wanted)));
        assert_eq!(Challenge::parse("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(Challenge::parse("basic"), Some(Challenge::Basic));
        for none in ["", "Digest realm=\"x\"", "Bearer", "Bearer realm=\"x", "Bearer service=x"] {
            assert_eq!(Challenge::parse(none), None, "{none}");
        }
    }

    #[test]
    fn redirections_do_not_lead_to_plain_text() {
        let tls: Uri = "https://r.example.com/v2/x/blobs/y".parse().unwrap();
        let plain: Uri = "http://localhost:5000/v2/x/blobs/y".parse().unwrap();
        let to = |from: &Uri, to: &str| target(from, to).map(|uri| uri.to_string());
        assert_eq!(to(&tls, "/a?b").as_deref(), Some("https://r.example.com/a?b"));
        assert_eq!(to(&tls, "https://s.example.com/a").as_deref(), Some("https://s.example.com/a"));
        assert_eq!(to(&plain, "http://127.0.0.1:1/a").as_deref(), Some("http://127.0.0.1:1/a"));
        for (from, lost) in [
            (&tls, "http://r.example.com/a"),
            (&tls, "http://localhost/a"),
            (&plain, "http://169.254.169.254/a"),
            (&plain, "//x/a"),
            (&tls, "file:///etc/passwd"),
            (&tls, "a"),
        ] {
            assert_eq!(to(from, lost), None, "{lost}");
        }
    }
}
