//! The client for HTTP integrations: pooled connections, TLS with the public roots and the operator's, and a guard at the
//! only place where a connection is made.
//!
//! An integration's URI is its owner's choice, and its connections come from this machine. So what only this machine
//! may reach is forbidden by address after the name was resolved, which a name that points there cannot get around:
//! by default link-local networks, where clouds hand out the machine's credentials. The server's own listener is not
//! among them: its control plane asks for signatures as from anybody, and one API in front of another is ordinary use
//! (a request that goes round in circles ends at [`HOPS_MAX`](crate::limits::HOPS_MAX)). An operator who keeps other
//! things on the loopback or in a private network forbids them with a [`Network`].

use std::{
    fmt, fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, Error as ClientError},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tower_service::Service;

use crate::{
    error::Error,
    limits::{CONNECT_TIMEOUT, UPSTREAM_IDLE, UPSTREAM_IDLE_PER_HOST_MAX, UPSTREAM_NAMES_MAX},
};

/// Where HTTP integrations may not go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Egress {
    /// Networks that no connection is made to.
    pub forbidden: Vec<Network>,
}

/// A network: an address and how many of its leading bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// An address in it.
    pub address: IpAddr,
    /// Leading bits: 0 to 32, or 128 for IPv6.
    pub bits: u8,
}

impl Default for Egress {
    /// Link-local networks, and the address of EC2's metadata service in IPv6.
    fn default() -> Self {
        let network = |address, bits| Network { address, bits };
        Self {
            forbidden: vec![
                network(IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)), 16),
                network(IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), 10),
                network(IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)), 128),
            ],
        }
    }
}

impl Network {
    /// Whether an address is in the network; an IPv4 address in IPv6's clothes counts as what it is.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address.to_canonical(), address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differs = network.to_bits() ^ address.to_bits();
                differs.leading_zeros() >= u32::from(self.bits.min(32))
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differs = network.to_bits() ^ address.to_bits();
                differs.leading_zeros() >= u32::from(self.bits.min(128))
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl Egress {
    fn forbids(&self, address: IpAddr) -> bool {
        self.forbidden.iter().any(|network| network.contains(address))
    }
}

/// Why a server gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the integration's address is forbidden")]
    Forbidden,
    #[error("the integration cannot be reached: {0}")]
    Unreachable(String),
    #[error("the answer has the status {0}")]
    Status(u16),
    #[error("the answer cannot be read: {0}")]
    Unread(String),
}

/// The client.
pub(crate) struct Upstream {
    client: HttpClient,
    /// Clients that ask servers for another name than their host's, by that name. Each has connections of its own: a
    /// connection that was proved for one name serves no other.
    named: papaya::HashMap<Box<str>, HttpClient>,
    dial: Dial,
    tls: ClientConfig,
}

type HttpClient = Client<HttpsConnector<Dial>, Full<Bytes>>;

impl Upstream {
    /// `roots` is a directory of certificates that vouch for servers beside the public ones.
    pub(crate) fn new(egress: &Egress, roots: Option<&Path>) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(Error::Tls)?
            .with_root_certificates(trusted(roots).map_err(Error::Roots)?)
            .with_no_client_auth();
        let dial = Dial { egress: Arc::new(egress.clone()) };
        let client = client(tls.clone(), dial.clone(), None);
        Ok(Self { client, named: papaya::HashMap::new(), dial, tls })
    }

    /// As [`Self::send`], to a server whose certificate has to be for this name.
    pub(crate) async fn send_to(
        &self,
        request: Request<Full<Bytes>>,
        name: &str,
    ) -> Result<Response<Incoming>, Failure> {
        let client = self.of_name(name)?;
        client.request(request).await.map_err(|error| failure(&error))
    }

    fn of_name(&self, name: &str) -> Result<HttpClient, Failure> {
        let named = self.named.pin();
        if let Some(client) = named.get(name) {
            return Ok(client.clone());
        }
        let server_name = ServerName::try_from(name.to_owned())
            .map_err(|error| Failure::Unreachable(error.to_string()))?;
        let client = client(self.tls.clone(), self.dial.clone(), Some(server_name));
        if named.len() >= UPSTREAM_NAMES_MAX {
            named.clear();
        }
        named.insert(name.into(), client.clone());
        Ok(client)
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Failure> {
        self.client.request(request).await.map_err(|error| failure(&error))
    }

    /// Reads a document of at most this size. Redirects are not followed.
    pub(crate) async fn fetch(&self, uri: Uri, bytes_max: usize) -> Result<Bytes, Failure> {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = uri;
        let response = self.send(request).await?;
        if response.status() != StatusCode::OK {
            return Err(Failure::Status(response.status().as_u16()));
        }
        let body = Limited::new(response.into_body(), bytes_max).collect().await;
        body.map(|body| body.to_bytes()).map_err(|error| Failure::Unread(error.to_string()))
    }
}

/// The public roots, and those of a directory.
fn trusted(roots: Option<&Path>) -> io::Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let Some(roots) = roots else { return Ok(store) };
    for entry in fs::read_dir(roots)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "pem") {
            continue;
        }
        let unread = |why: String| io::Error::other(format!("{}: {why}", path.display()));
        let certificates = CertificateDer::pem_file_iter(&path);
        for certificate in certificates.map_err(|error| unread(error.to_string()))? {
            let certificate = certificate.map_err(|error| unread(error.to_string()))?;
            store.add(certificate).map_err(|error| unread(error.to_string()))?;
        }
    }
    Ok(store)
}

/// A client; `name` is what servers are asked for in place of their host.
fn client(tls: ClientConfig, dial: Dial, name: Option<ServerName<'static>>) -> HttpClient {
    let mut https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    if let Some(name) = name {
        https = https.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    let connector = https.enable_http1().enable_http2().wrap_connector(dial);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_idle_timeout(UPSTREAM_IDLE)
        .pool_max_idle_per_host(UPSTREAM_IDLE_PER_HOST_MAX)
        .build(connector)
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").finish_non_exhaustive()
    }
}

/// The error with its causes; among them may be the guard's.
fn failure(error: &ClientError) -> Failure {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.is::<Forbidden>() {
            return Failure::Forbidden;
        }
        // An `io::Error` shows its own cause's source, not the cause itself.
        let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if inside.is_some_and(|inside| inside.is::<Forbidden>()) {
            return Failure::Forbidden;
        }
        text = format!("{text}: {error}");
        cause = error.source();
    }
    Failure::Unreachable(text)
}

#[derive(Debug, thiserror::Error)]
#[error("the address is forbidden")]
struct Forbidden;

/// Makes connections, to addresses that are not forbidden.
#[derive(Clone)]
struct Dial {
    egress: Arc<Egress>,
}

impl Service<Uri> for Dial {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<TcpStream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let egress = Arc::clone(&self.egress);
        Box::pin(async move {
            match tokio::time::timeout(CONNECT_TIMEOUT, dial(&egress, &uri)).await {
                Ok(dialled) => dialled.map(TokioIo::new),
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
            }
        })
    }
}

async fn dial(egress: &Egress, uri: &Uri) -> io::Result<TcpStream> {
    let host = uri.host().ok_or(io::ErrorKind::InvalidInput)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in resolve(host, port).await? {
        if egress.forbids(address.ip()) {
            last = io::Error::other(Forbidden);
            continue;
        }
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The addresses of a host. Names below `localhost` are the loopback's, whatever the resolver knows of them.
async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let lower = host.to_ascii_lowercase();
    if lower == "localhost" || lower.ends_with(".localhost") {
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        return Ok(loopback.map(|address| SocketAddr::new(address, port)).to_vec());
    }
    Ok(tokio::net::lookup_host((host, port)).await?.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guard_knows_its_networks() {
        let egress = Egress::default();
        for forbidden in
            ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "febf::1", "fd00:ec2::254"]
        {
            assert!(egress.forbids(forbidden.parse().unwrap()), "{forbidden}");
        }
        for allowed in ["127.0.0.1", "169.255.0.1", "::1", "fec0::1", "fd00:ec2::253", "10.0.0.1"] {
            assert!(!egress.forbids(allowed.parse().unwrap()), "{allowed}");
        }
        let all = Network { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), bits: 0 };
        assert!(all.contains("1.2.3.4".parse().unwrap()) && !all.contains("::2".parse().unwrap()));
    }
}
