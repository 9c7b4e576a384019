//! TLS at the front door: which certificate a client is shown, and which it has to show.
//!
//! A client names a host in its first message (SNI). Its domain, if there is one, says whether the client has to show a
//! certificate of its own; that is settled in the handshake, before a request is read. What every connection shares is one
//! configuration: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1, tickets that are as good on one thread as on another. A domain with
//! mutual TLS has no tickets: each of its connections proves itself, against the trust store of now.
//!
//! Names that no certificate covers are shown the default one, so that a server can also be reached by its address.

mod certificates;
mod pair;

use std::{fmt, io, sync::Arc};

use gatemill_gateway::{ClientCert, Gateway, TrustStore};
use rustls::{
    ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{Acceptor, ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use tokio::net::TcpStream;
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use crate::peer::Secured;

pub(crate) use certificates::Certificates;
pub(crate) use pair::PairError;

/// What AWS calls TLS_1_2: that version or a later one.
const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
/// What is spoken inside, the better first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The end of TLS.
pub(crate) struct Tls {
    gateway: Arc<Gateway>,
    provider: Arc<CryptoProvider>,
    resolver: Arc<Resolver>,
    /// For clients that need no certificate.
    open: Arc<ServerConfig>,
}

/// A connection whose handshake is over.
pub(crate) struct Shaken {
    pub(crate) stream: TlsStream<TcpStream>,
    pub(crate) secured: Secured,
    /// Whether HTTP/2 was agreed on.
    pub(crate) is_http2: bool,
}

impl Tls {
    /// Ends TLS with these certificates, for the domains of a gateway.
    ///
    /// # Errors
    /// When the library refuses its own defaults.
    pub(crate) fn new(
        certificates: Arc<Certificates>,
        gateway: Arc<Gateway>,
    ) -> Result<Self, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let resolver = Arc::new(Resolver { certificates, gateway: Arc::clone(&gateway) });
        let open = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&VERSIONS)?
            .with_no_client_auth();
        let mut open = open.with_cert_resolver(Arc::clone(&resolver) as _);
        open.ticketer = aws_lc_rs::Ticketer::new()?;
        open.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        Ok(Self { gateway, provider, resolver, open: Arc::new(open) })
    }

    /// The certificates that are shown.
    pub(crate) fn certificates(&self) -> Arc<Certificates> {
        Arc::clone(&self.resolver.certificates)
    }

    /// The handshake with a client. The caller bounds its time.
    ///
    /// # Errors
    /// When the client breaks it off, or shows no certificate that its domain asks for.
    pub(crate) async fn shake(&self, stream: TcpStream) -> io::Result<Shaken> {
        let begun = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let name = begun.client_hello().server_name().map(str::to_ascii_lowercase);
        let domain = name.and_then(|name| self.gateway.tls_of(&name));
        let trust = domain.and_then(|domain| domain.trust);
        let config = match &trust {
            Some(trust) => self.mutual(trust)?,
            None => Arc::clone(&self.open),
        };
        let stream = begun.into_stream(config).await?;
        let session = stream.get_ref().1;
        let is_http2 = session.alpn_protocol() == Some(PROTOCOLS[0]);
        let client_cert = match trust {
            Some(trust) => {
                let shown = session.peer_certificates().and_then(|chain| chain.first());
                let read = shown.and_then(|shown| ClientCert::read(shown, trust.fingerprint()));
                Some(Arc::new(read.ok_or_else(|| io::Error::other("an unreadable certificate"))?))
            }
            None => None,
        };
        Ok(Shaken { stream, secured: Secured { client_cert }, is_http2 })
    }

    /// For clients of a domain that wants them to be known. Made for each handshake, which costs next to nothing beside the
    /// handshake itself.
    fn mutual(&self, trust: &TrustStore) -> io::Result<Arc<ServerConfig>> {
        let verifier = trust.verifier();
        let verifier = verifier.ok_or_else(|| io::Error::other("the trust store is unreadable"))?;
        let config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&VERSIONS)
            .map_err(io::Error::other)?
            .with_client_cert_verifier(verifier);
        let mut config = config.with_cert_resolver(Arc::clone(&self.resolver) as _);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.alpn_protocols.clone_from(&self.open.alpn_protocols);
        Ok(Arc::new(config))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("certificates", &self.resolver.certificates)
            .finish_non_exhaustive()
    }
}

/// Chooses the certificate by the host that a client names.
struct Resolver {
    certificates: Arc<Certificates>,
    gateway: Arc<Gateway>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let Some(name) = hello.server_name() else { return self.certificates.default() };
        let name = name.to_ascii_lowercase();
        let chosen = self.gateway.tls_of(&name).and_then(|domain| domain.certificate);
        self.certificates.of(&name, chosen.as_deref())
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}
