//! The host passes packets on between the sandboxes' interfaces and its own, and does not become a router for others.
//!
//! Where the host routes already (`net.ipv4.ip_forward` is 1), nothing is changed. Elsewhere the interfaces that have
//! routes are opened one by one (`net.ipv4.conf.NAME.forwarding`), and a table that all servers share drops whatever
//! arrives at them for anybody but a sandbox. The last server to end closes them again. An interface that appears later
//! is not opened before the next start.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use super::{GROUP_PREFIX, Pool, firewall, link};

const TABLE: &str = "gatemill_forwarding";
const DEFAULT_MTU: u32 = 1500;

/// A route of the host.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) interface: String,
    first: u32,
    mask: u32,
}

impl Route {
    pub(super) fn overlaps(&self, pool: Pool) -> bool {
        pool.overlaps(self.first, self.mask)
    }
}

/// The host's IPv4 routes, without those to sandboxes.
pub(super) fn routes() -> Vec<Route> {
    read_routes(&fs::read_to_string("/proc/net/route").unwrap_or_default())
}

fn read_routes(text: &str) -> Vec<Route> {
    let read = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        // The kernel prints the bytes in the machine's order.
        let number = |at: usize| {
            u32::from_str_radix(fields.get(at)?, 16)
                .ok()
                .map(|n| u32::from_be_bytes(n.to_ne_bytes()))
        };
        let interface = (*fields.first()?).to_owned();
        Some(Route { interface, first: number(1)?, mask: number(7)? })
    };
    let routes = text.lines().skip(1).filter_map(read);
    routes.filter(|route| !is_ours(&route.interface)).collect()
}

fn is_ours(interface: &str) -> bool {
    let digits = interface.strip_prefix(link::NAME_PREFIX).unwrap_or_default();
    digits.len() == 8 && u32::from_str_radix(digits, 16).is_ok()
}

/// The largest packet that passes the interfaces of all default routes.
pub(super) fn mtu(routes: &[Route]) -> u32 {
    let of = |route: &Route| {
        fs::read_to_string(format!("/sys/class/net/{}/mtu", route.interface))
            .ok()?
            .trim()
            .parse()
            .ok()
    };
    let defaults = routes.iter().filter(|route| route.mask == 0);
    // Below 68 bytes there is no IPv4.
    defaults.filter_map(of).min().unwrap_or(DEFAULT_MTU).max(68)
}

/// The interfaces that have routes and are not open.
pub(super) fn closed(routes: &[Route]) -> Vec<&str> {
    if fs::read_to_string("/proc/sys/net/ipv4/ip_forward").is_ok_and(|on| on.trim() == "1") {
        return Vec::new();
    }
    let is_writable = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_closed = |interface: &&str| {
        let closed = fs::read_to_string(switch(interface)).is_ok_and(|on| on.trim() == "0");
        closed && *interface != "lo" && interface.bytes().all(is_writable)
    };
    let mut found: Vec<&str> =
        routes.iter().map(|route| route.interface.as_str()).filter(is_closed).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// What is to hold for interfaces before they are opened.
pub(super) fn rules(closed: &[&str]) -> String {
    closed.iter().map(|interface| closed_to_others(interface)).collect()
}

/// Opens interfaces, for which the rules hold.
pub(super) fn open(closed: &[&str]) -> Result<(), String> {
    closed.iter().try_for_each(|interface| {
        let switch = switch(interface);
        fs::write(&switch, "1")
            .map_err(|error| format!("{} cannot be written: {error}", switch.display()))
    })
}

fn closed_to_others(interface: &str) -> String {
    format!(
        "add table inet {TABLE}
add set inet {TABLE} opened {{ type ifname; }}
add element inet {TABLE} opened {{ \"{interface}\" }}
add chain inet {TABLE} across {{ type filter hook forward priority -11; policy accept; }}
flush chain inet {TABLE} across
add rule inet {TABLE} across iifname @opened meta oifgroup and 0xffff0000 != {GROUP_PREFIX:#x} drop
"
    )
}

/// Closes what was opened; the last server does so.
pub(super) fn close() {
    let Ok(set) = firewall::nft_with(&["list", "set", "inet", TABLE, "opened"], "") else { return };
    // The names are the only quoted words.
    for interface in set.split('"').skip(1).step_by(2) {
        let _ = fs::write(switch(interface), "0");
    }
    let _ = firewall::nft(&format!("delete table inet {TABLE}\n"));
}

fn switch(interface: &str) -> PathBuf {
    format!("/proc/sys/net/ipv4/conf/{interface}/forwarding").into()
}

/// For messages.
impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let length = self.mask.count_ones();
        write!(f, "{}/{length} behind {}", Ipv4Addr::from(self.first), self.interface)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_read_as_the_kernel_prints_them() {
        let text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            gm0abb0102\t0201BB0A\t00000000\t0001\t0\t0\t0\tFFFFFFFF\t0\t0\t0\n\
            eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let routes = read_routes(text);
        let shown: Vec<String> = routes.iter().map(Route::to_string).collect();
        assert_eq!(shown, ["0.0.0.0/0 behind eth0", "192.0.2.0/24 behind eth0"]);
        assert!(!routes.iter().any(|route| route.overlaps(Pool::default())));
    }
}
