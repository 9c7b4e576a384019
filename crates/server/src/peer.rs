//! Who sends requests over a connection, as far as the connection itself tells.

use std::{net::SocketAddr, sync::Arc};

use gatemill_gateway::ClientCert;

/// The other end of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Its address.
    pub(crate) address: SocketAddr,
    /// What the handshake of TLS told; `None` when the connection is plain.
    pub(crate) tls: Option<Arc<Secured>>,
}

/// What the handshake of TLS told.
#[derive(Debug, Default)]
pub(crate) struct Secured {
    /// The client's certificate, where the domain that it named asks for one.
    pub(crate) client_cert: Option<Arc<ClientCert>>,
}

impl Peer {
    /// The other end of a plain connection.
    pub(crate) fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }

    /// Its address without the port.
    pub(crate) fn source_ip(&self) -> String {
        self.address.ip().to_canonical().to_string()
    }

    /// How the URL begins under which it reached us.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// The certificate that it showed.
    pub(crate) fn client_cert(&self) -> Option<&Arc<ClientCert>> {
        self.tls.as_ref()?.client_cert.as_ref()
    }
}
