//! What of the network programs reach: nothing, the internet, or all that the host reaches.
//!
//! A sandbox's network namespace begins with a loopback alone. With an [`Egress`] it gets one more interface, `eth0`:
//! the end of a veth pair whose other end is in the host's network namespace, where rules of our own decide what passes
//! and the host's address is put in place of the sandbox's. Connections come from inside only.
//!
//! Each pair is a link between two ends and there is no bridge: a bridge has 1,023 ports at most, and would carry frames
//! from one sandbox to another. Both ends have the same hardware address and no ARP, so that there is nothing to ask
//! for, to answer or to forge; there is no IPv6. The sandbox's init makes its own pair, while it has the right to:
//! sandboxd only hands it an address, and is not held up by the kernel's lock over all interfaces. The pair ends with the
//! namespace, that is by itself.
//!
//! Whatever happens on the host belongs to one sandboxd by its *slot*, a number that is nobody else's as long as that
//! sandboxd lives: its table of rules bears the number, and its interfaces are in the group of that number. A slot is
//! held by a name of an abstract socket, which the kernel gives back when the process ends in any way; so the next
//! sandboxd knows what a killed one left, and removes it.
//!
//! It needs root and the program `nft`. Without them nothing is made, and the reason is told.

mod addresses;
mod claim;
mod firewall;
mod forwarding;
mod link;
mod netlink;
mod pool;

use std::fmt::Write;
use std::io;
use std::net::Ipv4Addr;

use crate::limits;
use addresses::Addresses;
use claim::Claim;
use forwarding::Route;

pub(crate) use link::Cable;
pub use pool::{Pool, PoolError};

/// What of the network programs reach. The host's own addresses, its loopback, link-local addresses (where clouds keep
/// their metadata services) and other sandboxes are never among it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Egress {
    /// Nothing.
    #[default]
    None,
    /// What has a public address, and the resolvers.
    Internet,
    /// What the host reaches, private networks as well.
    All,
}

/// The network of all sandboxes of one sandboxd.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Network {
    /// What programs reach.
    pub egress: Egress,
    /// Where the sandboxes' own addresses are taken from: nobody else's on this host, seen by nobody outside.
    pub pool: Pool,
    /// The name servers of `/etc/resolv.conf` inside; at most [`limits::MAX_RESOLVERS`]. They are reached at port 53
    /// wherever they are, except on the host itself.
    pub resolvers: Vec<Ipv4Addr>,
}

/// The host's side, ready for sandboxes.
#[derive(Debug)]
pub(crate) struct Uplink {
    slot: Slot,
    addresses: Addresses,
    mtu: u32,
    resolv_conf: String,
}

/// A number that is this sandboxd's alone.
#[derive(Debug)]
struct Slot {
    number: u16,
    _claim: Claim,
}

/// The upper half of the group of every interface of ours, the lower half being the slot: "gm".
const GROUP_PREFIX: u32 = 0x676D_0000;

impl Slot {
    fn take() -> Option<Self> {
        (0..limits::EGRESS_SLOTS).find_map(|number| {
            let _claim = claim::slot(number)?;
            Some(Self { number, _claim })
        })
    }

    fn group(&self) -> u32 {
        group(self.number)
    }
}

fn group(slot: u16) -> u32 {
    GROUP_PREFIX | u32::from(slot)
}

/// What is left to be done at the host before a program may run that is connected to it. Meanwhile no other server sets its
/// network up.
#[derive(Debug)]
pub(crate) struct Setup {
    rules: String,
    routes: Vec<Route>,
    _only: Claim,
}

impl Setup {
    /// Puts the rules in place, and has the host pass packets on. Takes some milliseconds.
    ///
    /// # Errors
    /// A sentence for the operator. [`Uplink::end`] removes what is left then.
    pub(crate) fn complete(self) -> Result<(), String> {
        let closed = forwarding::closed(&self.routes);
        // In one transaction: another one would start the program again.
        firewall::nft(&(self.rules + &forwarding::rules(&closed)))?;
        forwarding::open(&closed)
    }
}

impl Uplink {
    /// Looks for a place on the host, and takes it; `None` when programs reach nothing. Sandboxes can be made with it, but
    /// no program may run in one before the setup is complete.
    ///
    /// # Errors
    /// A sentence for the operator; nothing is left then.
    pub(crate) fn prepare(network: &Network) -> Result<Option<(Self, Setup)>, String> {
        if network.egress == Egress::None {
            return Ok(None);
        }
        if !rustix::process::geteuid().is_root() {
            return Err("it takes root to make network interfaces".into());
        }
        let routes = forwarding::routes();
        if let Some(route) = routes.iter().find(|route| route.overlaps(network.pool)) {
            let (pool, name) = (network.pool, &route.interface);
            return Err(format!("the addresses {pool} for sandboxes are in use behind {name}"));
        }
        let _only =
            claim::setup().ok_or("another server has been setting up its network too long")?;
        firewall::remove_orphans()?;
        let slot = Slot::take().ok_or("there are too many servers on this host")?;
        let rules = firewall::rules(slot.number, network);
        let uplink = Self {
            addresses: Addresses::of(network.pool, slot.number),
            slot,
            mtu: forwarding::mtu(&routes),
            resolv_conf: resolv_conf(&network.resolvers),
        };
        Ok(Some((uplink, Setup { rules, routes, _only })))
    }

    /// What `/etc/resolv.conf` says inside.
    pub(crate) fn resolv_conf(&self) -> &str {
        &self.resolv_conf
    }

    /// An address, and what a sandbox's init needs to make its pair.
    pub(crate) fn cable(&mut self) -> io::Result<Cable> {
        let host = netlink::Socket::open()?;
        let address = self.addresses.take()?;
        Ok(Cable { address, host, group: self.slot.group(), mtu: self.mtu })
    }

    /// The sandbox with this address has ended.
    pub(crate) fn give_back(&mut self, address: Ipv4Addr) {
        self.addresses.give_back(address);
    }

    /// Leaves the host as it was found. To be called when no sandbox lives.
    pub(crate) fn end(self) {
        let only = claim::setup();
        // The kernel is slow to end the namespaces of ended processes; what is left in them is of no use to anybody.
        let _ = link::remove_group(self.slot.group());
        firewall::remove(self.slot.number);
        // Our own slot would be found taken, too.
        drop(self);
        if only.is_some() && !claim::any_slot() {
            forwarding::close();
        }
    }
}

fn resolv_conf(resolvers: &[Ipv4Addr]) -> String {
    resolvers.iter().fold(String::new(), |mut text, resolver| {
        let _ = writeln!(text, "nameserver {resolver}");
        text
    })
}
