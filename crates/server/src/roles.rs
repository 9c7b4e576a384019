//! Identities as Lambda knows them: each has words of its own, since neither depends on the other.

use std::{fmt, sync::Arc};

use gatemill_identity::{Identity, SessionCredentials};
use gatemill_lambda::{RoleCredentials, RoleSession, Roles};
use gatemill_wire::{Clock, Entropy};

/// Gives functions the credentials of their roles.
pub(crate) struct FunctionRoles {
    pub(crate) identity: Arc<Identity>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

impl fmt::Debug for FunctionRoles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunctionRoles").finish_non_exhaustive()
    }
}

impl Roles for FunctionRoles {
    fn begin(&self, session: &RoleSession<'_>) -> Option<RoleCredentials> {
        let RoleSession { account, role_arn, function: name, lifetime } = *session;
        let session = gatemill_identity::RoleSession { account, role_arn, name, lifetime };
        let begun = self.identity.begin_session(&session, self.clock.now(), &*self.entropy);
        let begun = begun.inspect_err(|error| tracing::debug!(%error, role_arn, "no session"));
        let SessionCredentials { access_key_id, secret_access_key, session_token, expiration } =
            begun.ok()?;
        Some(RoleCredentials { access_key_id, secret_access_key, session_token, expiration })
    }
}
