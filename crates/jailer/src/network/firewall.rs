//! The rules on the host, made with the program `nft` when sandboxd starts and removed when it ends; none is made or
//! changed for a single sandbox.
//!
//! They stand in a table of this sandboxd's own and look at packets from and to its interfaces alone, so they neither
//! need nor disturb another firewall of the host. One that refuses to pass packets on refuses ours, too.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Egress, GROUP_PREFIX, Network, claim, group, link};
use crate::limits;

const NFT: [&str; 4] = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft", "/usr/local/sbin/nft"];
const TABLE_PREFIX: &str = "gatemill_";

/// Not the internet: this host, link-local, multicast, reserved, and the addresses of clouds' services for their
/// machines (Azure, Alibaba, Oracle) that are not link-local.
const NEVER: &str = "0.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/4, 240.0.0.0/4, \
    168.63.129.16, 100.100.100.200, 192.0.0.192";
/// Networks of somebody (RFC 1918, RFC 6598, RFC 2544).
const PRIVATE: &str = "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, 198.18.0.0/15";

/// Removes the rules of a slot.
pub(super) fn remove(slot: u16) {
    let _ = nft(&deletion(slot));
}

fn deletion(slot: u16) -> String {
    format!("delete table inet {TABLE_PREFIX}{slot}\n")
}

/// Removes what killed predecessors left: first their interfaces, then what watched over these.
pub(super) fn remove_orphans() -> Result<(), String> {
    let tables = nft_with(&["list", "tables", "inet"], "")?;
    let words = tables.split_ascii_whitespace();
    let slots = words.filter_map(|word| word.strip_prefix(TABLE_PREFIX)?.parse::<u16>().ok());
    for slot in slots {
        // Held while it is cleaned up.
        if let Some(_claim) = claim::slot(slot) {
            link::remove_group(group(slot))
                .map_err(|error| format!("old network interfaces cannot be removed: {error}"))?;
            nft(&deletion(slot))?;
        }
    }
    Ok(())
}

/// The ruleset of a slot, of which there is none: an orphan of this slot is removed by now. To replace one as a matter of
/// course would take three times as long, since the kernel waits for all CPUs before it forgets a table.
///
/// What a sandbox may reach is decided before any other rule of the host can send a packet elsewhere (`dstnat`), so that
/// for instance a published port of a container is as far as the host that publishes it.
pub(super) fn rules(slot: u16, network: &Network) -> String {
    let Network { egress, pool, resolvers } = network;
    let (table, group) = (format!("{TABLE_PREFIX}{slot}"), format!("{:#x}", group(slot)));
    let not_ours = format!("and 0xffff0000 != {GROUP_PREFIX:#x}");
    let flows = limits::EGRESS_FLOWS_MAX;
    let mut exceptions = String::new();
    if !resolvers.is_empty() {
        let list: Vec<String> = resolvers.iter().map(ToString::to_string).collect();
        let list = list.join(", ");
        let _ = write!(
            exceptions,
            "ip daddr {{ {list} }} meta l4proto {{ tcp, udp }} th dport 53 accept"
        );
    }
    let private = match egress {
        Egress::Internet => format!("ip daddr {{ {PRIVATE} }} drop"),
        Egress::None | Egress::All => String::new(),
    };
    format!(
        "create table inet {table}
table inet {table} {{
  set flows {{ type ipv4_addr; flags dynamic; size 65535; }}
  chain arriving {{
    type filter hook prerouting priority -150; policy accept;
    iifgroup {group} jump decide
  }}
  chain decide {{
    meta nfproto != ipv4 drop
    ip saddr != {pool} drop
    ct state new add @flows {{ ip saddr ct count over {flows} }} drop
    {exceptions}
    fib daddr type != unicast drop
    ip daddr {{ {NEVER} }} drop
    ip daddr {pool} drop
    {private}
  }}
  chain to_host {{
    type filter hook input priority -10; policy accept;
    iifgroup {group} drop
  }}
  chain from_host {{
    type filter hook output priority -10; policy accept;
    oifgroup {group} ct state != {{ established, related }} drop
  }}
  chain across {{
    type filter hook forward priority -10; policy accept;
    iifgroup {group} meta oifgroup {not_ours} accept
    iifgroup {group} drop
    oifgroup {group} ct state != {{ established, related }} drop
  }}
  chain leaving {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {pool} meta oifgroup {not_ours} masquerade
  }}
}}
"
    )
}

/// Runs a script.
pub(super) fn nft(script: &str) -> Result<String, String> {
    nft_with(&["-f", "-"], script)
}

/// Runs the program and gives what it prints.
pub(super) fn nft_with(arguments: &[&str], input: &str) -> Result<String, String> {
    let program = NFT.iter().find(|path| Path::new(path).exists());
    let program = program.ok_or("the program nft is not installed (nftables)")?;
    let failed = |error| format!("{program} cannot be run: {error}");
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().next().unwrap_or("it does not say why");
    Err(format!("{program} failed: {first}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_networks_are_closed_to_the_internet_policy_alone() {
        let mut network = Network { egress: Egress::Internet, ..Network::default() };
        assert!(rules(3, &network).contains(PRIVATE));
        assert!(!rules(3, &network).contains("dport 53"));
        network.egress = Egress::All;
        network.resolvers = vec![[192, 168, 1, 1].into()];
        assert!(!rules(3, &network).contains(PRIVATE));
        assert!(
            rules(3, &network).contains("{ 192.168.1.1 } meta l4proto { tcp, udp } th dport 53")
        );
        assert!(rules(3, &network).contains("iifgroup 0x676d0003 drop"));
    }
}
