//! What functions reach of the network: from the settings to what sandboxd is told, and what the operator is told then.

use std::{fs, net::Ipv4Addr};

use gatemill_sandbox::{Egress, MAX_RESOLVERS, Network, Sandboxes};

use crate::{
    configuration::{Configuration, EgressPolicy, IsolationClass},
    error::Error,
};

/// The host's resolvers. Where the first file names only a resolver on the host itself, which functions do not reach,
/// the second has those behind it.
const RESOLV_CONF: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/// The network of a server's sandboxes.
pub(crate) fn network(configuration: &Configuration) -> Network {
    let egress = match configuration.egress {
        EgressPolicy::None => Egress::None,
        EgressPolicy::Internet => Egress::Internet,
        EgressPolicy::All => Egress::All,
    };
    let mut resolvers = configuration.resolvers.clone();
    if egress == Egress::None {
        resolvers.clear();
    } else if resolvers.is_empty() {
        let texts = RESOLV_CONF.iter().filter_map(|path| fs::read_to_string(path).ok());
        let found = texts.map(|text| name_servers(&text)).find(|found| !found.is_empty());
        resolvers = found.unwrap_or_default();
    }
    resolvers.truncate(MAX_RESOLVERS);
    Network { egress, pool: configuration.egress_pool, resolvers }
}

/// The name servers of a `resolv.conf` that are not on this host.
fn name_servers(text: &str) -> Vec<Ipv4Addr> {
    let lines = text.lines().map(str::split_ascii_whitespace);
    let named =
        lines.filter_map(|mut words| (words.next()? == "nameserver").then(|| words.next())?);
    let addresses = named.filter_map(|address| address.parse::<Ipv4Addr>().ok());
    addresses.filter(|address| !address.is_loopback() && !address.is_unspecified()).collect()
}

/// Tells the operator what functions reach.
///
/// # Errors
/// When the settings ask for a network and this machine gives none. A network that is only the default may be missing.
pub(crate) fn check(configuration: &Configuration, sandboxes: &Sandboxes) -> Result<(), Error> {
    if configuration.isolation == IsolationClass::Process {
        if configuration.egress_asked && configuration.egress != EgressPolicy::All {
            let reason = "without isolation functions have this host's network".to_owned();
            return Err(Error::Egress { policy: configuration.egress.name(), reason });
        }
        return Ok(());
    }
    if let Some(reason) = sandboxes.no_network() {
        let reason = reason.to_owned();
        if configuration.egress_asked {
            return Err(Error::Egress { policy: configuration.egress.name(), reason });
        }
        tracing::warn!(%reason, "functions reach nothing of the network");
        return Ok(());
    }
    let resolvers = network(configuration).resolvers;
    match configuration.egress {
        EgressPolicy::None => tracing::info!("functions reach nothing of the network"),
        _ if resolvers.is_empty() => tracing::warn!(
            egress = configuration.egress.name(),
            "functions reach the network, but resolve no names: no resolver of this host is reachable from them; \
             name some with --resolvers"
        ),
        _ => tracing::info!(
            egress = configuration.egress.name(),
            ?resolvers,
            "functions reach the network"
        ),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_on_the_host_itself_is_none_for_functions() {
        let text = "# made by a program\nsearch example.com\nnameserver 127.0.0.53\nnameserver  192.0.2.53\n\
                    nameserver fe80::1%eth0\noptions edns0\nnameserver 198.51.100.1 # second\n";
        let found = name_servers(text);
        assert_eq!(found, [Ipv4Addr::new(192, 0, 2, 53), Ipv4Addr::new(198, 51, 100, 1)]);
        assert!(name_servers("nameserver 127.0.0.53\n").is_empty());
    }
}
