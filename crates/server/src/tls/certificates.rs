//! The server's certificates: a directory of them, looked at again and again.
//!
//! A certificate is for the names that stand in it, and not for what its files are called. A pair that changed is read
//! anew; one that cannot be used then, because it is broken or half written, leaves the one before in its place and is told
//! of in the log once. So a renewal needs no restart, and a failed one no night's work.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use rustls::sign::CertifiedKey;

use super::pair::{self, Look, Pair, PairError};
use crate::{
    error::{Chain, Error},
    limits::CERTIFICATES_LOOK_EVERY,
};

/// The pair that is shown where no other is for the name that was asked for.
const DEFAULT: &str = "default";

/// The certificates of a directory.
#[derive(Debug)]
pub(crate) struct Certificates {
    directory: PathBuf,
    held: ArcSwap<Held>,
    /// One look at a time.
    looking: Mutex<()>,
}

#[derive(Debug, Default)]
struct Held {
    pairs: BTreeMap<String, (Look, Arc<Pair>)>,
    by_host: HashMap<String, Arc<CertifiedKey>>,
    default: Option<Arc<CertifiedKey>>,
    /// Of pairs that cannot be used, how they looked: they are told of once.
    unfit: BTreeMap<String, Look>,
}

impl Certificates {
    /// Reads a directory, in which every pair has to be fit for use.
    ///
    /// # Errors
    /// When it has none, or which is unfit.
    pub(crate) fn open(directory: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Certificates { source };
        let mut pairs = BTreeMap::new();
        for (name, place) in pair::find(directory).map_err(failed)? {
            let look = place.look();
            pairs.insert(name, (look, Arc::new(place.read().map_err(failed)?)));
        }
        if pairs.is_empty() {
            return Err(Error::NoCertificates { directory: directory.to_owned() });
        }
        let held = ArcSwap::from_pointee(Held::new(pairs, BTreeMap::new()));
        Ok(Self { directory: directory.to_owned(), held, looking: Mutex::new(()) })
    }

    /// The certificate for a host: the one that its owner chose by an ARN, where that covers it, or one that is for its
    /// name, or the default.
    pub(crate) fn of(&self, host: &str, chosen: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let held = self.held.load();
        let chosen = chosen.and_then(|arn| held.pairs.get(name_in(arn)?));
        let chosen = chosen.filter(|(_, pair)| pair.covers(host));
        if let Some((_, pair)) = chosen {
            return Some(Arc::clone(&pair.key));
        }
        held.of(host).or(held.default.as_ref()).cloned()
    }

    /// The one for clients that name no host.
    pub(crate) fn default(&self) -> Option<Arc<CertifiedKey>> {
        self.held.load().default.clone()
    }

    /// Looks at the directory again and again. Time is what is waited for: files change without a word, be it through a
    /// link or on a file system that tells nothing.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(CERTIFICATES_LOOK_EVERY);
        loop {
            ticks.tick().await;
            let certificates = Arc::clone(&self);
            if tokio::task::spawn_blocking(move || certificates.look()).await.is_err() {
                tracing::error!("looking for certificates failed");
            }
        }
    }

    /// Takes over what changed, and keeps what is broken now as it was.
    fn look(&self) {
        let _one_at_a_time = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        let found = match pair::find(&self.directory) {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(error = %Chain(&error), "the certificates stay as they are");
                return;
            }
        };
        let held = self.held.load_full();
        let (mut pairs, mut unfit, mut has_changed) = (BTreeMap::new(), BTreeMap::new(), false);
        for (name, place) in &found {
            let (look, before) = (place.look(), held.pairs.get(name));
            if let Some((_, pair)) = before.filter(|(seen, _)| *seen == look) {
                pairs.insert(name.clone(), (look, Arc::clone(pair)));
                continue;
            }
            match place.read() {
                Ok(pair) => {
                    tracing::info!(certificate = %name, names = ?pair.names, "a certificate was read");
                    pairs.insert(name.clone(), (look, Arc::new(pair)));
                    has_changed = true;
                }
                Err(error) => {
                    if held.unfit.get(name) != Some(&look) {
                        tell(name, &error, before.is_some());
                        has_changed = true;
                    }
                    unfit.insert(name.clone(), look);
                    pairs.extend(before.map(|before| (name.clone(), before.clone())));
                }
            }
        }
        let is_less = held.pairs.keys().any(|name| !pairs.contains_key(name));
        if pairs.is_empty() {
            if is_less && !held.pairs.is_empty() {
                tracing::error!("all certificates are gone; the last that were there stay in use");
            }
            return;
        }
        if has_changed || is_less {
            self.held.store(Arc::new(Held::new(pairs, unfit)));
        }
    }
}

fn tell(name: &str, error: &PairError, was_there: bool) {
    let stays = if was_there { "the one before stays in use" } else { "it is left out" };
    tracing::error!(certificate = %name, error = %Chain(error), "a certificate cannot be used; {stays}");
}

/// The last part of an ARN, which may be the name of a pair.
fn name_in(arn: &str) -> Option<&str> {
    arn.rsplit_once('/').map(|(_, name)| name)
}

impl gatemill_gateway::Certificates for Certificates {
    fn covers(&self, domain: &str) -> bool {
        self.held.load().of(domain).is_some()
    }

    fn named(&self, arn: &str, domain: &str) -> Option<bool> {
        let held = self.held.load();
        held.pairs.get(name_in(arn)?).map(|(_, pair)| pair.covers(domain))
    }
}

impl Held {
    fn new(pairs: BTreeMap<String, (Look, Arc<Pair>)>, unfit: BTreeMap<String, Look>) -> Self {
        let mut by_host = HashMap::new();
        for (_, pair) in pairs.values() {
            for name in &pair.names {
                by_host.entry(name.clone()).or_insert_with(|| Arc::clone(&pair.key));
            }
        }
        let default = pairs.get(DEFAULT).or_else(|| pairs.values().next());
        let default = default.map(|(_, pair)| Arc::clone(&pair.key));
        Self { pairs, by_host, default, unfit }
    }

    fn of(&self, host: &str) -> Option<&Arc<CertifiedKey>> {
        self.by_host.get(host).or_else(|| self.by_host.get(&starred(host)?))
    }
}

impl Pair {
    fn covers(&self, host: &str) -> bool {
        let star = starred(host);
        self.names.iter().any(|name| name == host || Some(name) == star.as_ref())
    }
}

/// The name with a star that covers a host.
fn starred(host: &str) -> Option<String> {
    host.split_once('.').map(|(_, rest)| format!("*.{rest}"))
}
