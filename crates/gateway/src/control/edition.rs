//! One change of an API: its rows, what deployments show of them, and the deployments that follow by themselves.
//!
//! Every handler that changes what a deployment shows goes through an [`Edition`]. It stamps what changed with the
//! next revision, moves the stages with auto-deploy to a deployment of that revision, and removes what no deployment
//! shows any more, all in the caller's transaction. The cost depends on the number of stages and not on the number of
//! routes.
//!
//! A deployment that auto-deploy made and that no stage points at any more is removed with the change that replaced
//! it: nobody can return to it, since such a stage takes no deployment by hand.

use gatemill_store::{Key, Write};
use gatemill_wire::Timestamp;

use crate::{
    error::{Error, Result},
    limits::{DEPLOYMENTS_PER_API_MAX, STAGES_PER_API_MAX},
    record::{
        APIS, ApiKey, ApiRecord, DEPLOYED, DEPLOYMENTS, DeploymentRecord, IdRecord, STAGES,
        StageRecord, VERSIONS, Version,
    },
};

/// What a version is of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Settings,
    Route,
    Integration,
    Model,
    Authorizer,
}

/// When a change is made, and the id for the deployment that it may cause. Both come from the call's context, so that
/// the transaction may run twice.
#[derive(Debug, Clone)]
pub(crate) struct Stamp {
    pub(crate) now: Timestamp,
    pub(crate) deployment: String,
}

/// A change of an API under way.
pub(crate) struct Edition<'a> {
    pub(crate) tx: &'a mut Write,
    pub(crate) at: &'a ApiKey,
    pub(crate) api: ApiRecord,
    stamp: &'a Stamp,
    changed: Vec<Key>,
    sweep_all: bool,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Route => "route",
            Self::Integration => "integration",
            Self::Model => "model",
            Self::Authorizer => "authorizer",
        }
    }
}

/// The versions of one thing.
fn versions_of(at: &ApiKey, kind: Kind, id: &str) -> Key {
    at.of(kind.name()).and(id)
}

/// The API, which has to be there.
pub(crate) fn api(from: &impl gatemill_store::Reader, at: &ApiKey) -> Result<ApiRecord> {
    APIS.get(from, &at.key())?
        .ok_or_else(|| Error::NoSuchApi { account: at.account.clone(), id: at.id.clone() })
}

impl<'a> Edition<'a> {
    /// Begins to change an API that is there.
    pub(crate) fn open(tx: &'a mut Write, at: &'a ApiKey, stamp: &'a Stamp) -> Result<Self> {
        let api = api(tx, at)?;
        Ok(Self::new(tx, at, api, stamp))
    }

    /// Begins with an API that is not stored yet.
    pub(crate) fn new(tx: &'a mut Write, at: &'a ApiKey, api: ApiRecord, stamp: &'a Stamp) -> Self {
        Self { tx, at, api, stamp, changed: Vec::new(), sweep_all: false }
    }

    /// When the change is made.
    pub(crate) fn now(&self) -> Timestamp {
        self.stamp.now
    }

    /// Notes what something is from this revision on.
    pub(crate) fn note(&mut self, kind: Kind, id: &str, version: &Version) -> Result<()> {
        if self.changed.is_empty() {
            self.api.revision += 1;
        }
        let versions = versions_of(self.at, kind, id);
        VERSIONS.put(self.tx, &versions.clone().and_u64(self.api.revision), version)?;
        self.changed.push(versions);
        Ok(())
    }

    /// Notes the API's own settings.
    pub(crate) fn note_settings(&mut self) -> Result<()> {
        let settings = Version::Settings(self.api.settings.clone());
        self.note(Kind::Settings, "", &settings)
    }

    /// The stages of the API.
    pub(crate) fn stages(&self) -> Result<Vec<StageRecord>> {
        let stages = STAGES.scan(self.tx, &self.at.key(), None, STAGES_PER_API_MAX)?;
        Ok(stages.into_iter().map(|(_, stage)| stage).collect())
    }

    /// Stores a stage.
    pub(crate) fn put_stage(&mut self, stage: &StageRecord) -> Result<()> {
        Ok(STAGES.put(self.tx, &self.at.of(&stage.name), stage)?)
    }

    /// Stores a deployment of the API as it is now.
    pub(crate) fn deploy(
        &mut self,
        description: Option<String>,
        automatic: bool,
    ) -> Result<DeploymentRecord> {
        // One of auto-deploy takes the place of another.
        if !automatic && self.api.deployments >= DEPLOYMENTS_PER_API_MAX {
            return Err(Error::TooMany("Deployments"));
        }
        let deployment = DeploymentRecord {
            id: self.stamp.deployment.clone(),
            description,
            automatic,
            revision: self.api.revision,
            created: self.stamp.now,
        };
        DEPLOYMENTS.put(self.tx, &self.at.of(&deployment.id), &deployment)?;
        let deployed = self.at.key().and_u64(deployment.revision).and(&deployment.id);
        DEPLOYED.put(self.tx, &deployed, &IdRecord { id: deployment.id.clone() })?;
        self.api.deployments += 1;
        Ok(deployment)
    }

    /// Points a stage at a deployment and lets go of the one before, if nobody else has it.
    pub(crate) fn point(
        &mut self,
        stage: &mut StageRecord,
        deployment: &DeploymentRecord,
    ) -> Result<()> {
        let before = stage.deployment.replace(deployment.id.clone());
        stage.updated = self.stamp.now;
        if deployment.automatic {
            stage.status_message =
                Some(format!("Successfully deployed stage with deployment ID '{}'", deployment.id));
        }
        self.put_stage(stage)?;
        match before {
            Some(before) if before != deployment.id => self.let_go(&before),
            Some(_) | None => Ok(()),
        }
    }

    /// Removes a deployment of auto-deploy that no stage points at.
    pub(crate) fn let_go(&mut self, id: &str) -> Result<()> {
        let Some(deployment) = DEPLOYMENTS.get(self.tx, &self.at.of(id))? else { return Ok(()) };
        let used = self.stages()?.iter().any(|stage| stage.deployment.as_deref() == Some(id));
        if deployment.automatic && !used {
            self.remove_deployment(&deployment)?;
        }
        Ok(())
    }

    /// Removes a deployment.
    pub(crate) fn remove_deployment(&mut self, deployment: &DeploymentRecord) -> Result<()> {
        DEPLOYMENTS.delete(self.tx, &self.at.of(&deployment.id))?;
        let deployed = self.at.key().and_u64(deployment.revision).and(&deployment.id);
        DEPLOYED.delete(self.tx, &deployed)?;
        self.api.deployments = self.api.deployments.saturating_sub(1);
        // Between the revision before this one and this one lies only what changed now; anything older may have
        // shown versions of things that did not change now.
        let just_before = !self.changed.is_empty() && deployment.revision + 1 == self.api.revision;
        self.sweep_all |= !just_before;
        Ok(())
    }

    /// Ends the change: auto-deploy, then the sweep, then the API's row.
    pub(crate) fn close(mut self) -> Result<ApiRecord> {
        if !self.changed.is_empty() {
            self.deploy_automatically()?;
        }
        if self.sweep_all {
            sweep_api(self.tx, self.at)?;
        } else {
            for versions in std::mem::take(&mut self.changed) {
                sweep(self.tx, self.at, &versions)?;
            }
        }
        APIS.put(self.tx, &self.at.key(), &self.api)?;
        Ok(self.api)
    }

    fn deploy_automatically(&mut self) -> Result<()> {
        let mut deployment = None;
        for mut stage in self.stages()?.into_iter().filter(|stage| stage.auto_deploy) {
            let deployment = match &deployment {
                Some(deployment) => deployment,
                None => deployment.insert(self.deploy(None, true)?),
            };
            self.point(&mut stage, deployment)?;
        }
        Ok(())
    }
}

/// Removes the versions of one thing that no deployment shows.
fn sweep(tx: &mut Write, at: &ApiKey, versions: &Key) -> Result<()> {
    let rows = VERSIONS.scan(tx, versions, None, usize::MAX)?;
    sweep_rows(tx, at, &rows)
}

/// Removes every version in the API that no deployment shows.
fn sweep_api(tx: &mut Write, at: &ApiKey) -> Result<()> {
    let rows = VERSIONS.scan(tx, &at.key(), None, usize::MAX)?;
    let same = |(a, _): &(Key, Version), (b, _): &(Key, Version)| {
        a.text(3) == b.text(3) && a.text(4) == b.text(4)
    };
    for rows in rows.chunk_by(same) {
        sweep_rows(tx, at, rows)?;
    }
    Ok(())
}

/// `rows` are the versions of one thing, oldest first. The newest is the state of now and stays, unless it says
/// "removed" and nothing older is left.
fn sweep_rows(tx: &mut Write, at: &ApiKey, rows: &[(Key, Version)]) -> Result<()> {
    let mut kept = 0;
    for pair in rows.windows(2) {
        let [(key, _), (next, _)] = pair else { continue };
        let (Some(from), Some(until)) = (key.number(5), next.number(5)) else { continue };
        if shown(tx, at, from, until)? {
            kept += 1;
        } else {
            VERSIONS.delete(tx, key)?;
        }
    }
    if let Some((key, Version::Removed)) = rows.last()
        && kept == 0
    {
        VERSIONS.delete(tx, key)?;
    }
    Ok(())
}

/// Whether some deployment has a revision of `from..until`.
fn shown(tx: &Write, at: &ApiKey, from: u64, until: u64) -> Result<bool> {
    // A key of fewer parts sorts before all that it is a prefix of.
    let after = at.key().and_u64(from);
    let first = DEPLOYED.scan(tx, &at.key(), Some(&after), 1)?;
    Ok(first.first().and_then(|(key, _)| key.number(3)).is_some_and(|revision| revision < until))
}
