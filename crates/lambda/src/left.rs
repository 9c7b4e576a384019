//! What environments that came to a bad end leave for the next ones of the same function: their `/tmp`.
//!
//! After a crash or a timeout AWS starts the runtime again in the same environment: its globals are new, its `/tmp` is not.
//! Here the sandbox is made anew and only `/tmp` goes on (`sandboxd` keeps it; it takes root), with the uid that its files
//! belong to. The start that finds something here takes that way, which no parked environment or snapshot can, so
//! it costs a whole start of the runtime.
//!
//! Source: `lambda.md` §16.4. What ends because nobody called for long leaves nothing.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use gatemill_sandbox::{Sandbox, Sandboxes, Spec};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    instance::{Instance, State},
    invoke::resolve::Version,
    limits::{EXIT_GRACE, LEFT_MAX},
    parked::Made,
    snap_start::Owner,
    uid::UidSlot,
    wires::Outgoing,
};

/// By deployment, as environments are pooled: tenants have their own.
#[derive(Debug, Default)]
pub(crate) struct LeftBehind(Mutex<HashMap<Uuid, VecDeque<Left>>>);

/// What one ended environment left, or may have left while it has not wholly ended.
#[derive(Debug)]
pub(crate) struct Left {
    version: Arc<Version>,
    since: Instant,
    // Before the uid, which is another's once nothing of it is left.
    sandbox: Arc<Sandbox>,
    uid: UidSlot,
}

impl LeftBehind {
    fn all(&self) -> MutexGuard<'_, HashMap<Uuid, VecDeque<Left>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an environment that is given up. It is ended, if it lives.
    pub(crate) fn put(&self, instance: Instance) {
        let Instance { life, version, sandbox, owner, .. } = instance;
        let Owner::Uid(uid) = owner else { return };
        if !matches!(life.state(), State::Ended(_)) {
            return;
        }
        sandbox.end();
        let left = Left { version, since: Instant::now(), sandbox, uid };
        let mut all = self.all();
        all.retain(|_, of_one| {
            of_one.retain(|left| left.sandbox.may_leave_tmp());
            !of_one.is_empty()
        });
        if all.values().map(VecDeque::len).sum::<usize>() < LEFT_MAX {
            all.entry(left.version.deployment).or_default().push_back(left);
        }
    }

    /// What there is for a new environment; waits for an end that is under way.
    pub(crate) async fn take(&self, deployment: Uuid) -> Option<Left> {
        loop {
            let left = self.all().get_mut(&deployment)?.pop_front()?;
            let exit = tokio::time::timeout(EXIT_GRACE, left.sandbox.exited()).await;
            if exit.is_ok_and(|exit| exit.left_tmp) {
                return Some(left);
            }
        }
    }

    /// Gives up what nobody came for in this time, and what `is_over` says of.
    pub(crate) fn expire(&self, now: Instant, keep: Duration, is_over: impl Fn(&Version) -> bool) {
        self.all().retain(|_, of_one| {
            of_one.retain(|left| now.duration_since(left.since) < keep && !is_over(&left.version));
            !of_one.is_empty()
        });
    }

    /// Gives up all of it: the memory is wanted.
    pub(crate) fn clear(&self) {
        self.all().clear();
    }
}

impl Left {
    /// Makes a sandbox that goes on with it; `None` where that cannot be, and it is lost.
    pub(crate) async fn go_on(self, sandboxes: &Sandboxes, mut spec: Spec) -> Option<Made> {
        spec.uid = self.uid.slot();
        let sandbox = sandboxes.start_after(&self.sandbox, spec).await;
        let sandbox = sandbox.inspect_err(|error| {
            tracing::warn!(%error, "what was in /tmp is lost");
        });
        Some(Made {
            sandbox: sandbox.ok()?,
            owner: Owner::Uid(self.uid),
            greeting: Outgoing::default(),
        })
    }
}
