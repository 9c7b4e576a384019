//! Resolve: from what a caller named to an immutable snapshot of what runs.
//!
//! Snapshots are filled from the store on a miss and dropped when a commit changed their function, so a call that
//! begins after an operation was answered sees that operation. A call that meets a function which is being created waits
//! for it a while (decision 0003).

use std::sync::{Arc, Mutex, PoisonError};

use gatemill_iam as iam;
use gatemill_store::Store;
use gatemill_wire::Qualifier;
use uuid::Uuid;

use crate::{
    Error, FunctionTarget, Lambda,
    limits::SNAPSHOTS_MAX,
    record::{self, Configuration, FUNCTIONS, FunctionRecord, Lifecycle, POLICIES},
    target::{FunctionKey, KeyRef},
};

/// A function as calls see it.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) serving: Serving,
    /// The resource policy of the unqualified function.
    pub(crate) policy: Option<iam::Document>,
}

/// What calls run with.
#[derive(Debug)]
pub(crate) enum Serving {
    /// Nothing yet.
    Pending,
    /// Nothing, and that will stay so.
    Failed,
    /// This.
    Version(Arc<Version>),
}

/// What runs: one deployment of a function.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) key: FunctionKey,
    pub(crate) deployment: Uuid,
    pub(crate) configuration: Configuration,
}

impl Version {
    /// What `X-Amz-Executed-Version` and the log say.
    pub(crate) fn name(&self) -> &'static str {
        "$LATEST"
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
    let owned = key.to_owned();
    let (function, policy) = store.read(|tx| {
        let function = FUNCTIONS.get(tx, &key.record())?;
        let policy = POLICIES.get(tx, &record::policy_key(&owned, ""))?;
        Ok::<_, Error>((function, policy))
    })?;
    let Some(function) = function else { return Ok(None) };
    let policy = policy.map(|policy| crate::control::permission::document(&policy)).transpose()?;
    Ok(Some(Function { serving: serving(owned, &function)?, policy }))
}

fn serving(key: FunctionKey, function: &FunctionRecord) -> Result<Serving, Error> {
    let Some(configuration) = function.serving() else {
        return Ok(match function.lifecycle {
            Lifecycle::Creating => Serving::Pending,
            _ => Serving::Failed,
        });
    };
    let deployment = Uuid::try_parse(&configuration.deployment)
        .map_err(|_| Error::Internal("a stored deployment has no id"))?;
    Ok(Serving::Version(Arc::new(Version {
        key,
        deployment,
        configuration: configuration.clone(),
    })))
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

/// Waits until the function is no longer being created.
async fn created(lambda: &Lambda, target: &FunctionTarget) -> Result<Arc<Version>, Error> {
    let mut changes = lambda.store.watch(FUNCTIONS.name());
    loop {
        match find(lambda, target)? {
            Serving::Version(version) => return Ok(version),
            Serving::Failed => return Err(not_runnable("Failed")),
            Serving::Pending => changes.changed().await,
        }
    }
}

fn find(lambda: &Lambda, target: &FunctionTarget) -> Result<Serving, Error> {
    let known = match &target.qualifier {
        None | Some(Qualifier::Latest) => lambda.snapshots.get(&lambda.store, target.key())?,
        // Versions and aliases are not built: none exists.
        Some(Qualifier::Version(_) | Qualifier::Alias(_)) => None,
    };
    let Some(function) = known else {
        let mut named = target.clone();
        named.qualifier.get_or_insert(Qualifier::Latest);
        return Err(Error::FunctionNotFound(named.arn()));
    };
    Ok(match &function.serving {
        Serving::Pending => Serving::Pending,
        Serving::Failed => Serving::Failed,
        Serving::Version(version) => Serving::Version(Arc::clone(version)),
    })
}

fn not_runnable(state: &str) -> Error {
    Error::Conflict(format!(
        "The operation cannot be performed at this time. The function is currently in the following state: {state}"
    ))
}
