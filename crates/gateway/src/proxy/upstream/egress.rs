//! The guard of connections to HTTP integrations, at the only place where one is made.
//!
//! An integration's URI is its owner's choice, and its connections come from this machine. So what only this machine
//! may reach is forbidden by address after the name was resolved, which a name that points there cannot get around:
//! by default link-local networks, where clouds hand out the machine's credentials. The server's own listener is not
//! among them: its control plane asks for signatures as from anybody, and one API in front of another is ordinary use
//! (a request that goes round in circles ends at [`HOPS_MAX`](crate::limits::HOPS_MAX)). An operator who keeps other
//! things on the loopback or in a private network forbids them with a [`Network`].

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::limits::CONNECT_TIMEOUT;

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

#[derive(Debug, thiserror::Error)]
#[error("the address is forbidden")]
pub(super) struct Forbidden;

/// Makes connections, to addresses that are not forbidden.
#[derive(Clone)]
pub(super) struct Dial {
    egress: Arc<Egress>,
}

impl Dial {
    pub(super) fn new(egress: &Egress) -> Self {
        Self { egress: Arc::new(egress.clone()) }
    }
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
