//! The keys of issuers: found by discovery, kept, and asked for anew when a token names one that is not there.
//!
//! One request asks for all that wait. An issuer is asked at most every few seconds, whatever tokens come, and one that
//! does not answer costs the others nothing. Times come from the request, so that a test can fix them.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use gatemill_wire::Timestamp;
use http::Uri;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::jwt::{Flaw, SigningKey, key_set};
use crate::{
    limits::{
        ISSUERS_MAX, JWKS_BYTES_MAX, JWKS_FRESH_MS, JWKS_RETRY_MS, JWKS_STALE_MS, JWKS_TIMEOUT,
    },
    proxy::upstream::Upstream,
};

/// All issuers that were asked for.
#[derive(Debug, Default)]
pub(crate) struct Issuers {
    by_name: papaya::HashMap<String, Arc<Issuer>>,
}

#[derive(Debug, Default)]
struct Issuer {
    known: ArcSwapOption<Known>,
    asking: Mutex<()>,
}

#[derive(Debug)]
struct Known {
    keys: Vec<Arc<SigningKey>>,
    /// When these keys came.
    fetched: Timestamp,
    /// When they were last asked for.
    tried: Timestamp,
}

/// Why an issuer's keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unavailable {
    #[error("{0} is no URL of an issuer")]
    NoUrl(String),
    #[error("{0} cannot be read: {1}")]
    Unread(Uri, String),
    #[error("the discovery document is of the issuer {0}")]
    OtherIssuer(String),
    #[error("{0} is not what it should be")]
    Malformed(Uri),
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

impl Issuers {
    /// The key of this id.
    pub(crate) async fn key(
        &self,
        upstream: &Upstream,
        issuer: &str,
        key_id: &str,
        now: Timestamp,
    ) -> Result<Arc<SigningKey>, Flaw> {
        let of = self.issuer(issuer);
        if let Some(known) = &*of.known.load()
            && let Some(settled) = known.settled(key_id, now)
        {
            return settled;
        }
        let _one_at_a_time = of.asking.lock().await;
        let before = of.known.load_full();
        if let Some(settled) = before.as_ref().and_then(|known| known.settled(key_id, now)) {
            return settled;
        }
        let known = match fetch(upstream, issuer).await {
            Ok(keys) => {
                let keys = keys.into_iter().map(Arc::new).collect();
                Known { keys, fetched: now, tried: now }
            }
            Err(error) => {
                tracing::warn!(issuer, %error, "the keys of an issuer cannot be had");
                let (keys, fetched) = match &before {
                    Some(before) => (before.keys.clone(), before.fetched),
                    None => (Vec::new(), Timestamp(i64::MIN)),
                };
                Known { keys, fetched, tried: now }
            }
        };
        let found = known.find(key_id, now);
        of.known.store(Some(Arc::new(known)));
        found
    }

    fn issuer(&self, name: &str) -> Arc<Issuer> {
        let issuers = self.by_name.pin();
        if let Some(found) = issuers.get(name) {
            return Arc::clone(found);
        }
        if issuers.len() >= ISSUERS_MAX {
            issuers.clear();
        }
        Arc::clone(issuers.get_or_insert_with(name.to_owned(), Arc::default))
    }
}

impl Known {
    /// What is said of a key without asking the issuer; `None` when it has to be asked.
    fn settled(&self, key_id: &str, now: Timestamp) -> Option<Result<Arc<SigningKey>, Flaw>> {
        let found = self.find(key_id, now);
        let age = now.millis().saturating_sub(self.fetched.millis());
        let recently = now.millis().saturating_sub(self.tried.millis()) < JWKS_RETRY_MS;
        ((found.is_ok() && age < JWKS_FRESH_MS) || recently).then_some(found)
    }

    fn find(&self, key_id: &str, now: Timestamp) -> Result<Arc<SigningKey>, Flaw> {
        if now.millis().saturating_sub(self.fetched.millis()) > JWKS_STALE_MS {
            return Err(Flaw::Discovery);
        }
        self.keys.iter().find(|key| key.id == key_id).cloned().ok_or(Flaw::UnknownKey)
    }
}

/// Asks an issuer for its keys.
pub(crate) async fn fetch(
    upstream: &Upstream,
    issuer: &str,
) -> Result<Vec<SigningKey>, Unavailable> {
    let discovery = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let uri = url(&discovery, false).ok_or_else(|| Unavailable::NoUrl(issuer.to_owned()))?;
    let document = read(upstream, &uri).await?;
    let document: Discovery =
        serde_json::from_slice(&document).map_err(|_| Unavailable::Malformed(uri.clone()))?;
    if document.issuer != issuer {
        return Err(Unavailable::OtherIssuer(document.issuer));
    }
    // An issuer that is reached by TLS has its keys behind TLS.
    let encrypted = uri.scheme_str() == Some("https");
    let keys = url(&document.jwks_uri, encrypted).ok_or(Unavailable::Malformed(uri))?;
    let set = read(upstream, &keys).await?;
    key_set(&set).ok_or(Unavailable::Malformed(keys))
}

async fn read(upstream: &Upstream, uri: &Uri) -> Result<bytes::Bytes, Unavailable> {
    let unread = |why: String| Unavailable::Unread(uri.clone(), why);
    match tokio::time::timeout(JWKS_TIMEOUT, upstream.fetch(uri.clone(), JWKS_BYTES_MAX)).await {
        Ok(read) => read.map_err(|error| unread(error.to_string())),
        Err(_) => Err(unread("it took too long".to_owned())),
    }
}

/// A URL that can be asked.
fn url(text: &str, encrypted: bool) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let authority = uri.authority()?.as_str();
    let scheme = match uri.scheme_str()? {
        "https" => true,
        "http" => !encrypted,
        _ => false,
    };
    (scheme && !authority.is_empty() && !authority.contains('@')).then_some(uri)
}
