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
use gatemill_store::Store;
use gatemill_wire::Qualifier;
use uuid::Uuid;

use crate::{
    Error, FunctionTarget, Lambda,
    limits::{SNAPSHOTS_MAX, VERSIONS_KEPT_MAX},
    pace::Pace,
    record::{self, Configuration, FUNCTIONS, FunctionRecord, Lifecycle, POLICIES, VERSIONS},
    target::{FunctionKey, KeyRef},
};

/// A function as calls see it.
#[derive(Debug)]
pub(crate) struct Function {
    /// `$LATEST`.
    latest: Serving,
    /// The published versions that were looked at.
    published: papaya::HashMap<u64, Serving>,
    /// The resource policies by qualifier; an empty one stands for none.
    policies: BTreeMap<String, iam::Document>,
}

impl Function {
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
    pub(crate) configuration: Configuration,
    /// Whether calls are waited for on the spot.
    pub(crate) pace: Arc<Pace>,
}

impl Version {
    /// What a configuration runs as; `None` for the number is `$LATEST`.
    pub(crate) fn new(
        key: FunctionKey,
        number: Option<u64>,
        configuration: &Configuration,
    ) -> Result<Self, Error> {
        let deployment = Uuid::try_parse(&configuration.deployment)
            .map_err(|_| Error::Internal("a stored deployment has no id"))?;
        let name = number.map_or_else(|| "$LATEST".to_owned(), |number| number.to_string());
        let (configuration, pace) = (configuration.clone(), Arc::default());
        Ok(Self { key, number, name, deployment, configuration, pace })
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

/// The snapshots in memory.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    map: papaya::HashMap<FunctionKey, Arc<Function>>,
    /// Held while one is filled or dropped: a snapshot that was read before a commit can then never be put in place
    /// after that commit dropped it.
    filling: Mutex<()>,
}

impl Snapshots {
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
        let Some(function) = read(store, key)? else { return Ok(None) };
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
        let Some(version) = store.read(|tx| Ok::<_, Error>(VERSIONS.get(tx, &place)?))? else {
            return Ok(None);
        };
        let serving = match version.serving() {
            Some(runs) => Serving::Version(Arc::new(Version::new(owned, Some(number), runs)?)),
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

    /// Whether what runs under this version's name is this very deployment still.
    pub(crate) fn is_current(&self, store: &Store, version: &Version) -> Result<bool, Error> {
        Ok(match self.serving(store, version.key.by_ref(), version.number)? {
            Some(Serving::Version(current)) => current.deployment == version.deployment,
            Some(Serving::Pending | Serving::Failed) | None => false,
        })
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

fn read(store: &Store, key: KeyRef<'_>) -> Result<Option<Function>, Error> {
    let place = key.record();
    let (function, policies) = store.read(|tx| {
        let function = FUNCTIONS.get(tx, &place)?;
        Ok::<_, Error>((function, POLICIES.scan(tx, &place, None, usize::MAX)?))
    })?;
    let Some(function) = function else { return Ok(None) };
    let policies = policies.iter().map(|(place, policy)| {
        let qualifier = record::policy_qualifier(place).unwrap_or_default();
        Ok((qualifier, crate::control::permission::document(policy)?))
    });
    Ok(Some(Function {
        latest: latest(key.to_owned(), &function)?,
        published: papaya::HashMap::new(),
        policies: policies.collect::<Result<_, Error>>()?,
    }))
}

fn latest(key: FunctionKey, function: &FunctionRecord) -> Result<Serving, Error> {
    Ok(match function.serving() {
        Some(runs) => Serving::Version(Arc::new(Version::new(key, None, runs)?)),
        None if function.lifecycle == Lifecycle::Creating => Serving::Pending,
        None => Serving::Failed,
    })
}

/// Finds what runs for a target.
pub(crate) async fn resolve(
    lambda: &Lambda,
    target: &FunctionTarget,
) -> Result<Arc<Version>, Error> {
    match find(lambda, target)? {
        Serving::Version(version) => return Ok(version),
        Serving::Failed => return Err(not_runnable("Failed")),
        Serving::Pending => {}
    }
    let waited = tokio::time::timeout(lambda.settings.pending_wait, created(lambda, target)).await;
    waited.unwrap_or_else(|_| Err(not_runnable("Pending")))
}

/// Waits until the function or version is no longer being created.
async fn created(lambda: &Lambda, target: &FunctionTarget) -> Result<Arc<Version>, Error> {
    let mut functions = lambda.store.watch(FUNCTIONS.name());
    let mut versions = lambda.store.watch(VERSIONS.name());
    loop {
        match find(lambda, target)? {
            Serving::Version(version) => return Ok(version),
            Serving::Failed => return Err(not_runnable("Failed")),
            Serving::Pending => tokio::select! {
                () = functions.changed() => {}
                () = versions.changed() => {}
            },
        }
    }
}

fn find(lambda: &Lambda, target: &FunctionTarget) -> Result<Serving, Error> {
    let known = |number| lambda.snapshots.serving(&lambda.store, target.key(), number);
    let found = match target.qualifier {
        None | Some(Qualifier::Latest) => known(None)?,
        Some(Qualifier::Version(number)) => known(Some(number))?,
        // Aliases are not built: none exists.
        Some(Qualifier::Alias(_)) => None,
    };
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
