//! What a function is to AWS: the credentials of its role, and where it finds AWS.
//!
//! Credentials are part of a process's variables, which do not change, so they last longer than an environment is used: it
//! is replaced [`ENVIRONMENT_AGE_MAX`](crate::limits::ENVIRONMENT_AGE_MAX) after its start. AWS does the same with
//! environments every some hours. What a role may do is not decided here.

use std::{sync::Arc, time::Duration};

use gatemill_wire::Timestamp;

use crate::{Lambda, invoke::resolve::Version, limits::ROLE_CREDENTIALS_LIFETIME};

/// A session of a function's role.
#[derive(Debug, Clone, Copy)]
pub struct RoleSession<'a> {
    /// The function's account, in which the session acts.
    pub account: &'a str,
    /// The role of the function's configuration.
    pub role_arn: &'a str,
    /// The function's name, which is the session's, too.
    pub function: &'a str,
    /// How long its credentials are good.
    pub lifetime: Duration,
}

/// The credentials of a session.
#[derive(Clone)]
pub struct RoleCredentials {
    /// The id of the key.
    pub access_key_id: String,
    /// The key.
    pub secret_access_key: String,
    /// What has to come with it.
    pub session_token: String,
    /// When they end.
    pub expiration: Timestamp,
}

impl std::fmt::Debug for RoleCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RoleCredentials")
            .field("access_key_id", &self.access_key_id)
            .field("expiration", &self.expiration)
            .finish_non_exhaustive()
    }
}

/// Begins sessions of roles.
pub trait Roles: Send + Sync {
    /// The credentials of a new session; `None` when there can be no session of that role.
    fn begin(&self, session: &RoleSession<'_>) -> Option<RoleCredentials>;
}

/// Where a function's credentials are from.
pub(crate) struct RoleSource {
    roles: Arc<dyn Roles>,
    version: Arc<Version>,
}

impl RoleSource {
    /// `None` where nobody gives any.
    pub(crate) fn of(lambda: &Lambda, version: &Arc<Version>) -> Option<Self> {
        Some(Self { roles: lambda.roles.get()?.clone(), version: Arc::clone(version) })
    }

    /// New credentials; none where no session of the role can be had.
    pub(crate) fn begin(&self) -> Option<RoleCredentials> {
        let version = &*self.version;
        let session = RoleSession {
            account: &version.key.account,
            role_arn: &version.configuration.role,
            function: &version.key.name,
            lifetime: ROLE_CREDENTIALS_LIFETIME,
        };
        let begun = self.roles.begin(&session);
        if begun.is_none() {
            let role = session.role_arn;
            tracing::warn!(function = %version.key, role, "no session of this role can be had");
        }
        begun
    }
}

/// The variables that hold credentials.
pub(crate) fn variables(
    credentials: &RoleCredentials,
    runtime: &str,
) -> Vec<(&'static str, String)> {
    let RoleCredentials { access_key_id: id, secret_access_key: secret, .. } = credentials;
    let mut all = vec![
        ("AWS_ACCESS_KEY_ID", id.clone()),
        ("AWS_SECRET_ACCESS_KEY", secret.clone()),
        ("AWS_SESSION_TOKEN", credentials.session_token.clone()),
    ];
    // The first AWS SDK for Java reads these names.
    if matches!(runtime, "java8.al2" | "java11") {
        all.push(("AWS_ACCESS_KEY", id.clone()));
        all.push(("AWS_SECRET_KEY", secret.clone()));
    }
    all
}
