//! Resolve: from what a caller named to an immutable snapshot of what runs.
//!
//! Snapshots are filled from the store on a miss and dropped when a commit changed their function, so a call that
//! begins after an operation was answered sees that operation. A call that meets a function which is being created waits
//! for it a while (decision 0003).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use gatemill_iam as iam;
use gatemill_store::{Digest, Store};
use gatemill_wire::Qualifier;
use uuid::Uuid;

use crate::{
    Error, FunctionTarget, Lambda,
    limits::{
        SNAPSHOTS_MAX, TENANT_ID_CHARS_MAX, TENANTS_KEPT_MAX, VERDICTS_KEPT_MAX, VERSIONS_KEPT_MAX,
    },
    load::{Load, Loads},
    pace::Pace,
    provisioned::{self, Group, Groups},
    record::{
        self, ALIASES, AliasRecord, Configuration, FUNCTIONS, Lifecycle, POLICIES, RESERVED,
        RUNTIME_PINS, VERSIONS, Variables,
    },
    target::{FunctionKey, KeyRef},
    trace::Sampler,
    vault::Vault,
};

/// A function as calls see it.
#[derive(Debug)]
pub(crate) struct Function {
    /// `$LATEST`.
    latest: Serving,
    aliases: BTreeMap<String, AliasRecord>,
    /// The published versions that were looked at.
    published: papaya::HashMap<u64, Serving>,
    /// The resource policies by qualifier; an empty one stands for none.
    policies: BTreeMap<String, iam::Document>,
    /// What they said to services that asked. It holds as long as they do.
    verdicts: papaya::HashMap<Asking, bool>,
}

/// A service that asks whether it may call, and on behalf of what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Asking {
    qualifier: Option<Qualifier>,
    principal: String,
    source_arn: String,
    source_account: String,
}

/// A borrowed [`Asking`].
#[derive(Debug, Clone, Copy, Hash)]
pub(crate) struct Service<'a> {
    pub(crate) qualifier: Option<&'a Qualifier>,
    pub(crate) principal: &'a str,
    pub(crate) source_arn: &'a str,
    pub(crate) source_account: &'a str,
}

impl papaya::Equivalent<Asking> for Service<'_> {
    fn equivalent(&self, key: &Asking) -> bool {
        self.qualifier == key.qualifier.as_ref()
            && self.principal == key.principal
            && self.source_arn == key.source_arn
            && self.source_account == key.source_account
    }
}

impl Function {
    /// Whether the resource policy lets a service call this function, whose ARN is `arn()`.
    pub(crate) fn allows(&self, service: Service<'_>, arn: impl FnOnce() -> String) -> bool {
        let verdicts = self.verdicts.pin();
        if let Some(verdict) = verdicts.get(&service) {
            return *verdict;
        }
        let context = iam::Context::default()
            .with("aws:SourceArn", service.source_arn)
            .with("aws:SourceAccount", service.source_account);
        let resource = arn();
        let request = iam::Request {
            principal: iam::Principal::Service(service.principal),
            action: "lambda:InvokeFunction",
            resource: &resource,
            context: &context,
        };
        let verdict = iam::evaluate(self.policy(service.qualifier), &request).is_allow();
        if verdicts.len() >= VERDICTS_KEPT_MAX {
            verdicts.clear();
        }
        let asking = Asking {
            qualifier: service.qualifier.cloned(),
            principal: service.principal.to_owned(),
            source_arn: service.source_arn.to_owned(),
            source_account: service.source_account.to_owned(),
        };
        verdicts.insert(asking, verdict);
        verdict
    }

    /// The resource policy that a call under this qualifier is judged by.
    pub(crate) fn policy(&self, qualifier: Option<&Qualifier>) -> Option<&iam::Document> {
        match qualifier {
            None => self.policies.get(""),
            Some(qualifier) => self.policies.get(&qualifier.to_string()),
        }
    }
}

/// What calls run with.
#[derive(Debug, Clone)]
pub(crate) enum Serving {
    /// Nothing yet.
    Pending,
    /// Nothing, and that will stay so.
    Failed,
    /// This.
    Version(Arc<Version>),
}

/// What runs: one deployment of a function.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) key: FunctionKey,
    /// The number of a published version; `None` is `$LATEST`.
    pub(crate) number: Option<u64>,
    name: String,
    /// Environments of one deployment stand for each other.
    pub(crate) deployment: Uuid,
    /// The deployment that the record names; that of provisioned environments is derived from it.
    origin: Uuid,
    pub(crate) configuration: Configuration,
    /// The version of its runtime that it is held to, if it is.
    pub(crate) runtime_pin: Option<String>,
    /// Which calls are sampled.
    pub(crate) sampler: Arc<Sampler>,
    /// Whether calls are waited for on the spot.
    pub(crate) pace: Arc<Pace>,
    /// What brings its environments into being.
    pub(crate) initialization: Initialization,
    /// The load of the function, all of its versions together.
    pub(crate) load: Arc<Load>,
    /// Its provisioned environments.
    pub(crate) group: Option<Arc<Group>>,
    /// Whose calls its environments serve, where they serve one tenant's alone.
    pub(crate) tenant: Option<String>,
    /// The same version for each tenant that called.
    tenants: Arc<papaya::HashMap<String, Arc<Version>>>,
}

/// What brings an environment into being.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Initialization {
    /// A call that finds no other.
    OnDemand,
    /// Provisioned concurrency, before any call.
    Provisioned,
    /// A snapshot that was taken when the version was published.
    SnapStart,
}

impl Initialization {
    /// AWS's word for it, in the environment variable and the log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::OnDemand => "on-demand",
            Self::Provisioned => "provisioned-concurrency",
            Self::SnapStart => "snap-start",
        }
    }
}

impl Version {
    /// What a configuration runs as; `None` for the number is `$LATEST`.
    pub(crate) fn new(
        key: FunctionKey,
        number: Option<u64>,
        configuration: &Configuration,
        load: Arc<Load>,
        vault: &Vault,
    ) -> Result<Self, Error> {
        let mut configuration = configuration.clone();
        if let Some(variables) = &configuration.environment {
            let plain = vault.open(&key, variables)?;
            configuration.environment = Some(Variables::Plain(plain));
        }
        let deployment = Uuid::try_parse(&configuration.deployment)
            .map_err(|_| Error::Internal("a stored deployment has no id"))?;
        let name = number.map_or_else(|| "$LATEST".to_owned(), |number| number.to_string());
        let snap_start = number.is_some() && configuration.snap_start;
        Ok(Self {
            key,
            number,
            name,
            deployment,
            origin: deployment,
            configuration,
            runtime_pin: None,
            sampler: Arc::default(),
            initialization: if snap_start {
                Initialization::SnapStart
            } else {
                Initialization::OnDemand
            },
            load,
            group: None,
            tenant: None,
            tenants: Arc::default(),
            pace: Arc::default(),
        })
    }

    /// The same version for environments that come into being otherwise, and are kept apart from the others.
    pub(crate) fn initialised_by(&self, initialization: Initialization) -> Self {
        Self {
            deployment: derived(self.origin, initialization.as_str()),
            initialization,
            group: None,
            tenants: Arc::default(),
            ..self.clone()
        }
    }

    /// The version that a call for this tenant runs: with environments of the tenant's own where the function isolates
    /// tenants. Whether a call says whom it is for has to fit the function.
    pub(crate) fn for_tenant(self: Arc<Self>, tenant: Option<&str>) -> Result<Arc<Self>, Error> {
        let refused = |text: &str| Err(Error::InvalidParameter(text.to_owned()));
        let tenant = match (self.configuration.per_tenant, tenant) {
            (false, None) => return Ok(self),
            (true, Some(tenant)) => tenant,
            (false, Some(_)) => {
                return refused(
                    "The invoked function is not enabled with tenancy configuration. Remove the tenant ID from your \
                     request and try again.",
                );
            }
            (true, None) => {
                return refused(
                    "The invoked function is enabled with tenancy configuration. Add a valid tenant ID in your request \
                     and try again.",
                );
            }
        };
        let tenants = self.tenants.pin();
        if let Some(known) = tenants.get(tenant) {
            return Ok(Arc::clone(known));
        }
        if !is_tenant(tenant) {
            return Err(Error::Validation(format!(
                "1 validation error detected: Value '{}' at 'tenantId' failed to satisfy constraint: Member must satisfy \
                 regular expression pattern: [a-zA-Z0-9\\._:\\/=+\\-@ ]+",
                tenant.escape_default()
            )));
        }
        if tenants.len() >= TENANTS_KEPT_MAX {
            tenants.clear();
        }
        let own = Arc::new(Self {
            deployment: derived(self.origin, &format!("tenant {tenant}")),
            tenant: Some(tenant.to_owned()),
            tenants: Arc::default(),
            ..(*self).clone()
        });
        Ok(Arc::clone(tenants.get_or_insert(tenant.to_owned(), own)))
    }

    /// What `X-Amz-Executed-Version` and the log say: `$LATEST` or the number.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The log group.
    pub(crate) fn log_group(&self) -> String {
        let group = self.configuration.logging.group.clone();
        group.unwrap_or_else(|| format!("/aws/lambda/{}", self.key.name))
    }
}

/// Whether a text may name a tenant.
fn is_tenant(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/=+-@ ".contains(&byte);
    (1..=TENANT_ID_CHARS_MAX).contains(&text.len()) && text.bytes().all(legal)
}

/// A deployment that is another one's for the environments of this kind.
fn derived(deployment: Uuid, kind: &str) -> Uuid {
    let digest = Digest::of(format!("{deployment} {kind}").as_bytes());
    let (id, _) = digest.as_bytes().split_first_chunk().expect("a digest has 32 bytes");
    uuid::Builder::from_random_bytes(*id).into_uuid()
}

/// The snapshots in memory.
#[derive(Debug)]
pub(crate) struct Snapshots {
    loads: Arc<Loads>,
    groups: Arc<Groups>,
    vault: Arc<Vault>,
    map: papaya::HashMap<FunctionKey, Arc<Function>>,
    /// Held while one is filled or dropped: a snapshot that was read before a commit can then never be put in place
    /// after that commit dropped it.
    filling: Mutex<()>,
}

impl Snapshots {
    pub(crate) fn new(loads: Arc<Loads>, groups: Arc<Groups>, vault: Arc<Vault>) -> Self {
        Self { loads, groups, vault, map: papaya::HashMap::new(), filling: Mutex::default() }
    }

    /// The snapshot of a function; `None` when there is no such function.
    pub(crate) fn get(
        &self,
        store: &Store,
        key: KeyRef<'_>,
    ) -> Result<Option<Arc<Function>>, Error> {
        if let Some(found) = self.map.pin().get(&key) {
            return Ok(Some(Arc::clone(found)));
        }
        let _filling = self.filling.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(function) = self.read(store, key)? else { return Ok(None) };
        let function = Arc::new(function);
        let map = self.map.pin();
        if map.len() >= SNAPSHOTS_MAX {
            map.clear();
        }
        map.insert(key.to_owned(), Arc::clone(&function));
        Ok(Some(function))
    }

    /// What runs of a published version; `None` when there is no such version.
    ///
    /// It is kept with the function's snapshot that was found before the version was read: a commit in between drops
    /// that snapshot, and with it what was read too early.
    fn published(
        &self,
        store: &Store,
        key: KeyRef<'_>,
        number: u64,
    ) -> Result<Option<Serving>, Error> {
        let Some(function) = self.get(store, key)? else { return Ok(None) };
        let published = function.published.pin();
        if let Some(found) = published.get(&number) {
            return Ok(Some(found.clone()));
        }
        let owned = key.to_owned();
        let place = record::version_key(&owned, number);
        let (version, wanted, pin) = store.read(|tx| {
            let version = VERSIONS.get(tx, &place)?;
            let pin = RUNTIME_PINS.get(tx, &record::policy_key(&owned, &number.to_string()))?;
            Ok::<_, Error>((version, provisioned::wanted_of(tx, &owned, number)?, pin))
        })?;
        let Some(version) = version else { return Ok(None) };
        let serving = match version.serving() {
            Some(runs) => {
                let load = self.loads.of(store, &owned)?;
                let mut version = Version::new(owned, Some(number), runs, load, &self.vault)?;
                version.runtime_pin = pin.map(|pin| pin.arn);
                version.group = wanted.map(|wanted| self.groups.of(&version, number, wanted));
                Serving::Version(Arc::new(version))
            }
            None if version.lifecycle == Lifecycle::Creating => Serving::Pending,
            None => Serving::Failed,
        };
        if published.len() >= VERSIONS_KEPT_MAX {
            published.clear();
        }
        published.insert(number, serving.clone());
        Ok(Some(serving))
    }

    /// What runs of `$LATEST` or of a published version; `None` when there is no such thing.
    fn serving(
        &self,
        store: &Store,
        key: KeyRef<'_>,
        number: Option<u64>,
    ) -> Result<Option<Serving>, Error> {
        match number {
            Some(number) => self.published(store, key, number),
            None => Ok(self.get(store, key)?.map(|function| function.latest.clone())),
        }
    }

    /// What runs of `$LATEST`; `None` when nothing does.
    pub(crate) fn latest(
        &self,
        store: &Store,
        key: &FunctionKey,
    ) -> Result<Option<Arc<Version>>, Error> {
        Ok(match self.serving(store, key.by_ref(), None)? {
            Some(Serving::Version(version)) => Some(version),
            Some(Serving::Pending | Serving::Failed) | None => None,
        })
    }

    /// What runs of a published version that is runnable; `None` when it is not.
    pub(crate) fn runnable(
        &self,
        store: &Store,
        key: &FunctionKey,
        number: u64,
    ) -> Result<Option<Arc<Version>>, Error> {
        Ok(match self.published(store, key.by_ref(), number)? {
            Some(Serving::Version(version)) => Some(version),
            Some(Serving::Pending | Serving::Failed) | None => None,
        })
    }

    /// Whether what runs under this version's name is this very deployment still.
    pub(crate) fn is_current(&self, store: &Store, version: &Version) -> Result<bool, Error> {
        Ok(match self.serving(store, version.key.by_ref(), version.number)? {
            Some(Serving::Version(current)) => current.origin == version.origin,
            Some(Serving::Pending | Serving::Failed) | None => false,
        })
    }

    fn read(&self, store: &Store, key: KeyRef<'_>) -> Result<Option<Function>, Error> {
        let place = key.record();
        let owned = key.to_owned();
        let (function, reserved, aliases, policies, pin) = store.read(|tx| {
            let function = FUNCTIONS.get(tx, &place)?;
            let aliases = ALIASES.scan(tx, &place, None, usize::MAX)?;
            let policies = POLICIES.scan(tx, &place, None, usize::MAX)?;
            let pin = RUNTIME_PINS.get(tx, &record::policy_key(&owned, ""))?;
            Ok::<_, Error>((function, RESERVED.get(tx, &place)?, aliases, policies, pin))
        })?;
        let Some(function) = function else { return Ok(None) };
        let key = owned;
        let load = self.loads.of(store, &key)?;
        load.reserve(reserved.map(|reserved| reserved.executions));
        let policies = policies.iter().map(|(place, policy)| {
            let qualifier = record::policy_qualifier(place).unwrap_or_default();
            Ok((qualifier, crate::control::permission::document(policy)?))
        });
        let latest = match function.serving() {
            Some(runs) => {
                let mut version = Version::new(key, None, runs, load, &self.vault)?;
                version.runtime_pin = pin.map(|pin| pin.arn);
                Serving::Version(Arc::new(version))
            }
            None if function.lifecycle == Lifecycle::Creating => Serving::Pending,
            None => Serving::Failed,
        };
        let aliases = aliases
            .into_iter()
            .filter_map(|(place, alias)| record::alias_name(&place).map(|name| (name, alias)));
        Ok(Some(Function {
            latest,
            aliases: aliases.collect(),
            published: papaya::HashMap::new(),
            policies: policies.collect::<Result<_, Error>>()?,
            verdicts: papaya::HashMap::new(),
        }))
    }

    /// Forgets a function: its records changed.
    pub(crate) fn forget(&self, key: &FunctionKey) {
        let _filling = self.filling.lock().unwrap_or_else(PoisonError::into_inner);
        self.map.pin().remove(key);
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        let _filling = self.filling.lock().unwrap_or_else(PoisonError::into_inner);
        self.map.pin().clear();
    }
}

/// Finds what runs for a target.
pub(crate) async fn resolve(
    lambda: &Lambda,
    target: &FunctionTarget,
) -> Result<Arc<Version>, Error> {
    let number = number(lambda, target)?;
    match find(lambda, target, number)? {
        Serving::Version(version) => return Ok(version),
        Serving::Failed => return Err(not_runnable("Failed")),
        Serving::Pending => {}
    }
    let created = Box::pin(created(lambda, target, number));
    let waited = tokio::time::timeout(lambda.settings.pending_wait, created).await;
    waited.unwrap_or_else(|_| Err(not_runnable("Pending")))
}

/// Waits until the function or version is no longer being created.
async fn created(
    lambda: &Lambda,
    target: &FunctionTarget,
    number: Option<u64>,
) -> Result<Arc<Version>, Error> {
    let mut functions = lambda.store.watch(FUNCTIONS.name());
    let mut versions = lambda.store.watch(VERSIONS.name());
    loop {
        match find(lambda, target, number)? {
            Serving::Version(version) => return Ok(version),
            Serving::Failed => return Err(not_runnable("Failed")),
            Serving::Pending => tokio::select! {
                () = functions.changed() => {}
                () = versions.changed() => {}
            },
        }
    }
}

/// The number of the version that a target names; `None` is `$LATEST`. Of an alias with two versions, one is drawn.
fn number(lambda: &Lambda, target: &FunctionTarget) -> Result<Option<u64>, Error> {
    let name = match &target.qualifier {
        None | Some(Qualifier::Latest) => return Ok(None),
        Some(Qualifier::Version(number)) => return Ok(Some(*number)),
        Some(Qualifier::Alias(name)) => name,
    };
    let function = lambda.snapshots.get(&lambda.store, target.key())?;
    let alias = function.as_ref().and_then(|function| function.aliases.get(name));
    let alias = alias.ok_or_else(|| Error::FunctionNotFound(target.arn()))?;
    match alias.route {
        Some(route) if is_drawn(route.weight, lambda.entropy.uuid()) => Ok(Some(route.version)),
        Some(_) | None => Ok(alias.version),
    }
}

/// Whether a random id falls into this part, from 0 to 1, of all ids.
fn is_drawn(weight: f64, random: Uuid) -> bool {
    // The last 32 bits of a random id are random, and a float holds them all.
    let drawn = random.as_u128() & u128::from(u32::MAX);
    let drawn = u32::try_from(drawn).expect("32 bits were kept");
    f64::from(drawn) < weight * (f64::from(u32::MAX) + 1.0)
}

fn find(lambda: &Lambda, target: &FunctionTarget, number: Option<u64>) -> Result<Serving, Error> {
    let found = lambda.snapshots.serving(&lambda.store, target.key(), number)?;
    found.ok_or_else(|| {
        let mut named = target.clone();
        named.qualifier.get_or_insert(Qualifier::Latest);
        Error::FunctionNotFound(named.arn())
    })
}

fn not_runnable(state: &str) -> Error {
    Error::Conflict(format!(
        "The operation cannot be performed at this time. The function is currently in the following state: {state}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_all_calls_is_drawn() {
        let ids = || (0..1_000u128).map(|n| Uuid::from_u128(n * 0x0041_8937));
        for weight in [0.0, 0.1, 0.5, 0.9, 1.0] {
            let drawn = ids().filter(|id| is_drawn(weight, *id)).count();
            let drawn = f64::from(u32::try_from(drawn).unwrap()) / 1_000.0;
            assert!((drawn - weight).abs() < 0.01, "{weight}: {drawn}");
        }
    }
}
