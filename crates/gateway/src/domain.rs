//! Domains as requests see them: which API and stage a host and a path lead to.
//!
//! All domains are one small immutable table, read anew from the store by the first request after a change. Rules come
//! before mappings, lowest priority first; of mappings the longest that fits wins. With mappings of one segment alone,
//! whole segments are compared, and with deeper ones text, as in AWS (`/orders` then takes `/ordersandmore`, too).

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwapOption;
use gatemill_store::{Key, Read, Store};
use http::request::Parts;

use crate::{
    ClientCert,
    error::Result,
    limits::{DOMAINS_MAX, MAPPINGS_PER_DOMAIN_MAX, RULES_PER_DOMAIN_MAX},
    record::{
        API_MAPPINGS, ApiMappingRecord, DOMAIN_OWNERS, DOMAINS, DomainRecord, ROUTING_RULES,
        RoutingMode, RoutingRuleRecord, TRUST_STORES,
    },
    trust::{DomainTls, TrustStore},
};

/// All domains.
#[derive(Debug)]
pub(crate) struct Domains {
    store: Store,
    /// Counts the changes.
    generation: AtomicU64,
    compiled: ArcSwapOption<Compiled>,
    compiling: Mutex<()>,
}

#[derive(Debug)]
struct Compiled {
    generation: u64,
    by_name: HashMap<String, Arc<Domain>>,
}

/// One domain.
#[derive(Debug)]
pub(crate) struct Domain {
    mode: RoutingMode,
    /// Longest key first.
    mappings: Vec<ApiMappingRecord>,
    multi_level: bool,
    /// Lowest priority first.
    rules: Vec<RoutingRuleRecord>,
    /// What connections to it have to be like.
    pub(crate) tls: DomainTls,
}

/// Where a request of a domain goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Led<'d> {
    pub(crate) api: &'d str,
    pub(crate) stage: &'d str,
    /// What of the path chose it.
    pub(crate) base_path: &'d str,
    /// Where in the URI's path the rest begins: at a slash, or at its end.
    pub(crate) rest: usize,
    /// Whether all names of headers are lower case from here on, as with mappings of several levels in AWS.
    pub(crate) lower_case: bool,
}

impl Domains {
    pub(crate) fn new(store: Store) -> Self {
        let generation = AtomicU64::new(0);
        Self { store, generation, compiled: ArcSwapOption::empty(), compiling: Mutex::new(()) }
    }

    /// Says that a commit changed a domain. Called by the commit itself, so it must be short.
    pub(crate) fn changed(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// The domain that a host names, or the one that has a star for its first label.
    pub(crate) fn find(&self, host: &str) -> Option<Arc<Domain>> {
        let compiled = self.compiled()?;
        if compiled.by_name.is_empty() {
            return None;
        }
        let wildcard = || Some(format!("*.{}", host.split_once('.')?.1));
        let found = compiled.by_name.get(host);
        found.or_else(|| compiled.by_name.get(&wildcard()?)).cloned()
    }

    fn compiled(&self) -> Option<Arc<Compiled>> {
        if let Some(compiled) = self.fresh() {
            return Some(compiled);
        }
        let _one_at_a_time = self.compiling.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(compiled) = self.fresh() {
            return Some(compiled);
        }
        // Read before the store is: a change that comes between is compiled again.
        let generation = self.generation.load(Ordering::Acquire);
        let before = self.compiled.load_full();
        match compile(&self.store, before.as_deref()) {
            Ok(by_name) => {
                let compiled = Arc::new(Compiled { generation, by_name });
                self.compiled.store(Some(Arc::clone(&compiled)));
                Some(compiled)
            }
            Err(error) => {
                tracing::error!(%error, "domains cannot be read");
                self.compiled.load_full()
            }
        }
    }

    fn fresh(&self) -> Option<Arc<Compiled>> {
        let generation = self.generation.load(Ordering::Acquire);
        self.compiled.load_full().filter(|compiled| compiled.generation == generation)
    }
}

fn compile(store: &Store, before: Option<&Compiled>) -> Result<HashMap<String, Arc<Domain>>> {
    store.read(|tx| {
        let mut by_name = HashMap::new();
        for (name, owner) in DOMAIN_OWNERS.scan(tx, &Key::empty(), None, DOMAINS_MAX)? {
            let name = name.text(0).unwrap_or_default().into_owned();
            let key = Key::new([&owner.account, &owner.region, &name]);
            let Some(domain) = DOMAINS.get(tx, &key)? else { continue };
            let mappings = API_MAPPINGS.scan(tx, &key, None, MAPPINGS_PER_DOMAIN_MAX)?;
            let rules = ROUTING_RULES.scan(tx, &key, None, RULES_PER_DOMAIN_MAX)?;
            let mappings = mappings.into_iter().map(|(_, mapping)| mapping).collect();
            let rules = rules.into_iter().map(|(_, rule)| rule).collect();
            let before = before.and_then(|before| before.by_name.get(&name));
            let tls = tls(tx, &key, &domain, before.map(|before| &before.tls))?;
            let compiled = Domain { tls, ..Domain::new(domain.mode, mappings, rules) };
            by_name.insert(name, Arc::new(compiled));
        }
        Ok(by_name)
    })
}

/// What connections to a domain have to be like. A trust store that is the same as before is not read again.
fn tls(
    tx: &Read,
    key: &Key,
    domain: &DomainRecord,
    before: Option<&DomainTls>,
) -> Result<DomainTls> {
    let certificate = domain.certificate.clone();
    let Some(mutual_tls) = &domain.mutual_tls else {
        return Ok(DomainTls { certificate, trust: None });
    };
    let before = before.and_then(|before| before.trust.as_ref());
    let same = before.filter(|trust| *trust.fingerprint == *mutual_tls.fingerprint);
    let trust = match same {
        Some(same) => Arc::clone(same),
        None => {
            let stored = TRUST_STORES.get(tx, key)?;
            let pem = stored.map(|stored| stored.pem).unwrap_or_default();
            Arc::new(TrustStore::stored(&pem, &mutual_tls.fingerprint))
        }
    };
    Ok(DomainTls { certificate, trust: Some(trust) })
}

impl Domain {
    /// Whether a client may speak to it: one that its trust store knows, where it has one.
    pub(crate) fn admits(&self, client: Option<&ClientCert>) -> bool {
        let Some(trust) = &self.tls.trust else { return true };
        client.is_some_and(|client| client.trust == trust.fingerprint)
    }

    fn new(
        mode: RoutingMode,
        mut mappings: Vec<ApiMappingRecord>,
        mut rules: Vec<RoutingRuleRecord>,
    ) -> Self {
        mappings.sort_by_key(|mapping| std::cmp::Reverse(mapping.key.len()));
        rules.sort_by_key(|rule| rule.priority);
        let multi_level = mappings.iter().any(|mapping| mapping.key.contains('/'));
        Self { mode, mappings, multi_level, rules, tls: DomainTls::default() }
    }

    /// Where a request goes; `None` when neither a rule nor a mapping fits.
    pub(crate) fn lead(&self, head: &Parts) -> Option<Led<'_>> {
        let by_rule = || self.rules.iter().find_map(|rule| led_by_rule(rule, head));
        let by_mapping =
            || self.mappings.iter().find_map(|mapping| self.led(mapping, head.uri.path()));
        match self.mode {
            RoutingMode::Mappings => by_mapping(),
            RoutingMode::Rules => by_rule(),
            RoutingMode::RulesThenMappings => by_rule().or_else(by_mapping),
        }
    }

    fn led<'d>(&self, mapping: &'d ApiMappingRecord, path: &str) -> Option<Led<'d>> {
        let key = mapping.key.as_str();
        let rest = if key.is_empty() {
            0
        } else {
            let after = path.strip_prefix('/')?.strip_prefix(key)?;
            let whole = after.is_empty() || after.starts_with('/');
            if !whole && !self.multi_level {
                return None;
            }
            path.len() - after.len()
        };
        // What follows the key in the middle of a segment is no path; the API sees that segment's rest.
        Some(Led {
            api: &mapping.api,
            stage: &mapping.stage,
            base_path: key,
            rest,
            lower_case: self.multi_level,
        })
    }
}

fn led_by_rule<'d>(rule: &'d RoutingRuleRecord, head: &Parts) -> Option<Led<'d>> {
    let path = head.uri.path();
    let mut base_path = "";
    if !rule.base_paths.is_empty() {
        base_path = rule.base_paths.iter().map(String::as_str).find(|base| {
            let after = path.strip_prefix('/').and_then(|path| path.strip_prefix(base));
            after.is_some_and(|after| after.is_empty() || after.starts_with('/'))
        })?;
    }
    let fits = |any_of: &Vec<(String, String)>| {
        any_of.iter().any(|(name, glob)| {
            let mut values = head.headers.get_all(name.as_str()).iter();
            values.any(|value| {
                value.to_str().is_ok_and(|value| gatemill_iam::pattern::matches(glob, value))
            })
        })
    };
    if !rule.headers.iter().all(fits) {
        return None;
    }
    let rest = if rule.strip && !base_path.is_empty() { 1 + base_path.len() } else { 0 };
    Some(Led { api: &rule.api, stage: &rule.stage, base_path, rest, lower_case: false })
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn mapping(key: &str) -> ApiMappingRecord {
        let text = str::to_owned;
        ApiMappingRecord {
            id: text(key),
            key: text(key),
            api: format!("api-{key}"),
            stage: text("s"),
        }
    }

    fn head(path: &str) -> Parts {
        Request::get(path).header("x-v", "beta-1").body(()).unwrap().into_parts().0
    }

    fn led(domain: &Domain, path: &str) -> Option<(String, String)> {
        let led = domain.lead(&head(path))?;
        Some((led.api.to_owned(), path[led.rest..].to_owned()))
    }

    fn some(api: &str, rest: &str) -> Option<(String, String)> {
        Some((api.to_owned(), rest.to_owned()))
    }

    #[test]
    fn single_segments_are_whole_and_deeper_keys_are_text() {
        let domain =
            Domain::new(RoutingMode::Mappings, vec![mapping(""), mapping("orders")], Vec::new());
        assert_eq!(led(&domain, "/orders/1"), some("api-orders", "/1"));
        assert_eq!(led(&domain, "/orders"), some("api-orders", ""));
        assert_eq!(led(&domain, "/ordersandmore"), some("api-", "/ordersandmore"));
        let deep = vec![mapping("orders"), mapping("orders/v2/items")];
        let domain = Domain::new(RoutingMode::Mappings, deep, Vec::new());
        assert_eq!(led(&domain, "/orders/v2/items/7"), some("api-orders/v2/items", "/7"));
        assert_eq!(led(&domain, "/orders/v2"), some("api-orders", "/v2"));
        assert_eq!(led(&domain, "/ordersandmore"), some("api-orders", "andmore"));
        assert_eq!(led(&domain, "/other"), None);
    }

    #[test]
    fn rules_by_priority_headers_and_base_paths() {
        let rule =
            |priority, base_paths: &[&str], headers: &[(&str, &str)], strip| RoutingRuleRecord {
                id: format!("r{priority}"),
                priority,
                base_paths: base_paths.iter().map(|path| (*path).to_owned()).collect(),
                headers: headers
                    .iter()
                    .map(|(name, glob)| vec![((*name).to_owned(), (*glob).to_owned())])
                    .collect(),
                api: format!("api-{priority}"),
                stage: "s".to_owned(),
                strip,
            };
        let rules = vec![
            rule(9, &[], &[], false),
            rule(1, &["a"], &[("X-V", "beta*")], true),
            rule(2, &["a", "b"], &[], false),
        ];
        let domain = Domain::new(RoutingMode::RulesThenMappings, vec![mapping("")], rules);
        assert_eq!(led(&domain, "/a/x"), some("api-1", "/x"));
        assert_eq!(led(&domain, "/b/x"), some("api-2", "/b/x"));
        assert_eq!(led(&domain, "/ab"), some("api-9", "/ab"));
    }
}
