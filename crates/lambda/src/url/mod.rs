//! Function URLs: which request is for one, and what is known of it.
//!
//! A request names a URL by its host, `<url-id>.lambda-url.<region>.<anything>`, or by a path,
//! `/_aws/lambda-url/<url-id>/…`, where no such host leads here. [`FunctionUrl`] is an immutable snapshot, filled on the
//! first request and dropped when a commit changed it. What then happens is in [`serve`].

mod answer;
pub(crate) mod record;
mod serve;

use std::sync::{Arc, Mutex, PoisonError};

use gatemill_store::Store;
use gatemill_wire::{
    Qualifier,
    payload::{CorsPolicy, cors::Given, host},
};
use http::{HeaderMap, request::Parts};

use crate::{
    Error, FunctionTarget, Lambda,
    limits::SNAPSHOTS_MAX,
    target::FunctionKey,
    url::record::{
        AuthType, CorsRecord, InvokeMode, URL_OWNERS, URLS, UrlOwnerRecord, UrlRecord, owner_key,
        url_key,
    },
};

pub use answer::unknown_url;
pub use serve::{UrlArrival, UrlCaller};

const PATH_FORM: &str = "/_aws/lambda-url/";
/// The length of an id; longer names in hosts are nobody's.
pub(crate) const ID_CHARS: usize = 32;

/// The URL that a request names, whether it exists or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlTarget {
    id: String,
    /// The host without its port; `None` in the path form.
    domain_name: Option<String>,
    /// Where in the URI's path the function's begins.
    from: usize,
}

impl UrlTarget {
    /// The URL that a request names, if it names one.
    pub fn of(parts: &Parts) -> Option<Self> {
        Self::by_host(parts).or_else(|| Self::by_path(parts.uri.path()))
    }

    fn by_host(parts: &Parts) -> Option<Self> {
        let (host, _) = host::split_port(host::authority(parts)?);
        let host = host.to_ascii_lowercase();
        let (id, rest) = host.split_once('.')?;
        let (region, domain) = rest.strip_prefix("lambda-url.")?.split_once('.')?;
        if region.is_empty() || domain.is_empty() || !is_id(id) {
            return None;
        }
        Some(Self { id: id.to_owned(), domain_name: Some(host), from: 0 })
    }

    fn by_path(path: &str) -> Option<Self> {
        let rest = path.strip_prefix(PATH_FORM)?;
        let id = rest.split('/').next().filter(|id| is_id(id))?;
        let from = PATH_FORM.len() + id.len();
        Some(Self { id: id.to_owned(), domain_name: None, from })
    }
}

fn is_id(text: &str) -> bool {
    text.len() == ID_CHARS
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// The address of a URL in answers.
pub(crate) fn address(reached: &str, domain: Option<&str>, region: &str, id: &str) -> String {
    let (name, path) = (format!("{id}.lambda-url.{region}"), format!("lambda-url/{id}"));
    format!("{}/", host::address(reached, domain, &name, &path))
}

/// A function URL as requests see it.
#[derive(Debug)]
pub struct FunctionUrl {
    id: String,
    function: FunctionTarget,
    auth: AuthType,
    mode: InvokeMode,
    cors: Option<CorsPolicy>,
}

impl FunctionUrl {
    fn new(owner: UrlOwnerRecord, url: UrlRecord) -> Self {
        let UrlOwnerRecord { account, region, name, qualifier } = owner;
        let qualifier = qualifier.map(Qualifier::Alias);
        Self {
            id: url.id,
            function: FunctionTarget { account, region, name, qualifier },
            auth: url.auth,
            mode: url.mode,
            cors: url.cors.as_ref().map(policy),
        }
    }

    /// Whether its callers sign.
    pub fn wants_signature(&self) -> bool {
        self.auth == AuthType::AwsIam
    }

    /// The headers of the answer to a preflight, if the request is one that is answered without the function.
    pub fn preflight(&self, head: &Parts) -> Option<HeaderMap> {
        self.cors.as_ref()?.preflight(head)
    }
}

fn policy(cors: &CorsRecord) -> CorsPolicy {
    CorsPolicy::new(Given {
        allow_credentials: cors.allow_credentials == Some(true),
        allow_headers: cors.allow_headers.as_deref().unwrap_or_default(),
        allow_methods: cors.allow_methods.as_deref().unwrap_or_default(),
        allow_origins: cors.allow_origins.as_deref().unwrap_or_default(),
        expose_headers: cors.expose_headers.as_deref().unwrap_or_default(),
        max_age: cors.max_age,
    })
}

/// The URLs in memory.
#[derive(Debug, Default)]
pub(crate) struct Urls {
    map: papaya::HashMap<String, Arc<FunctionUrl>>,
    /// Held while one is filled or dropped: what was read before a commit can then never be put in place after that
    /// commit dropped it.
    filling: Mutex<()>,
}

impl Urls {
    /// What is known of a URL; `None` when there is none of this id.
    fn get(&self, store: &Store, id: &str) -> Result<Option<Arc<FunctionUrl>>, Error> {
        if let Some(found) = self.map.pin().get(id) {
            return Ok(Some(Arc::clone(found)));
        }
        let _filling = self.filling.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(url) = read(store, id)? else { return Ok(None) };
        let url = Arc::new(url);
        let map = self.map.pin();
        if map.len() >= SNAPSHOTS_MAX {
            map.clear();
        }
        map.insert(id.to_owned(), Arc::clone(&url));
        Ok(Some(url))
    }

    /// Forgets a URL: its record changed.
    pub(crate) fn forget(&self, id: &str) {
        let _filling = self.filling.lock().unwrap_or_else(PoisonError::into_inner);
        self.map.pin().remove(id);
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        let _filling = self.filling.lock().unwrap_or_else(PoisonError::into_inner);
        self.map.pin().clear();
    }
}

fn read(store: &Store, id: &str) -> Result<Option<FunctionUrl>, Error> {
    store.read(|tx| {
        let Some(owner) = URL_OWNERS.get(tx, &owner_key(id))? else { return Ok(None) };
        let key = FunctionKey::new(&owner.account, &owner.region, &owner.name);
        let qualifier = owner.qualifier.clone().unwrap_or_default();
        let url = URLS.get(tx, &url_key(&key, &qualifier))?;
        Ok(url.map(|url| FunctionUrl::new(owner, url)))
    })
}

impl Lambda {
    /// The function URL that a request names; `None` when there is none.
    ///
    /// # Errors
    /// Faults of ours.
    pub fn function_url(&self, target: &UrlTarget) -> Result<Option<Arc<FunctionUrl>>, Error> {
        self.urls.get(&self.store, &target.id)
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const ID: &str = "abcdefghijklmnopqrstuvwxyz012345";

    fn target(uri: &str, host: &str) -> Option<UrlTarget> {
        let request = Request::builder().uri(uri).header("host", host).body(()).unwrap();
        UrlTarget::of(&request.into_parts().0)
    }

    #[test]
    fn hosts_and_paths_name_urls() {
        let host = format!("{ID}.lambda-url.eu-west-1.localhost");
        let by_host = target("/a/b", &format!("{host}:4566")).unwrap();
        assert_eq!((by_host.id.as_str(), by_host.from), (ID, 0));
        assert_eq!(by_host.domain_name, Some(host));
        let by_path = target(&format!("/_aws/lambda-url/{ID}/a"), "10.0.0.7").unwrap();
        assert_eq!((by_path.id.as_str(), by_path.from), (ID, 49));
        assert!(target(&format!("/_aws/lambda-url/{ID}"), "h").is_some());
        for (uri, host) in [
            ("/", "localhost"),
            ("/", "short.lambda-url.us-east-1.localhost"),
            ("/", "abcdefghijklmnopqrstuvwxyz012345.lambda-url.localhost"),
            ("/", "abcdefghijklmnopqrstuvwxyz012345.execute-api.us-east-1.localhost"),
            ("/_aws/lambda-url/", "h"),
            ("/_aws/lambda-url/short/", "h"),
        ] {
            assert_eq!(target(uri, host), None, "{uri} {host}");
        }
    }

    #[test]
    fn addresses() {
        assert_eq!(
            address("http://127.0.0.1:4566", None, "us-east-1", "id"),
            "http://id.lambda-url.us-east-1.localhost:4566/"
        );
        assert_eq!(
            address("http://box:80", None, "us-east-1", "id"),
            "http://box:80/_aws/lambda-url/id/"
        );
    }
}
