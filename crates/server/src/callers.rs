//! Access keys as the gateway knows them: who signed a request to an API, and what its identity may do.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use bytes::Bytes;
use gatemill_gateway::callers::{Callers, SIGNING_NAME};
use gatemill_wire::{Caller, Timestamp};
use http::request::Parts;

use crate::{configuration::FunctionAccess, server::Server};

/// The access keys of this server, for its gateway. Holds the server weakly, since the server has the gateway.
pub(crate) struct GatewayCallers(pub(crate) Weak<Server>);

impl fmt::Debug for GatewayCallers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GatewayCallers").finish()
    }
}

impl GatewayCallers {
    fn server(&self) -> Option<Arc<Server>> {
        self.0.upgrade()
    }
}

impl Callers for GatewayCallers {
    fn signer(&self, now: Timestamp, head: &Parts, body: &Bytes) -> Result<Caller, String> {
        let server = self.server().ok_or("the server is stopping")?;
        server
            .front
            .signer(SIGNING_NAME, now, head, body)
            .map_err(|error| error.message.into_owned())
    }

    fn may(&self, caller: &Caller, _action: &str, _resource: &str) -> bool {
        // The account's root may do everything in it; what roles may do is one setting as long as they have no policies.
        let root = caller.arn == format!("arn:aws:iam::{}:root", caller.account);
        let roles =
            |server: Arc<Server>| server.configuration.function_access == FunctionAccess::Account;
        root || self.server().is_some_and(roles)
    }
}
