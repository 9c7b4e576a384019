//! One sandbox's pair of interfaces, made by the sandbox's init.

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

use super::netlink::{Batch, Socket, interface};

/// What an init needs to make its pair.
#[derive(Debug)]
pub(crate) struct Cable {
    /// The sandbox's own address.
    pub(crate) address: Ipv4Addr,
    /// To the host's interfaces.
    pub(super) host: Socket,
    pub(super) group: u32,
    pub(super) mtu: u32,
}

/// Interfaces of ours on the host are named so, and then eight hexadecimal digits: the sandbox's address.
pub(super) const NAME_PREFIX: &str = "gm";
/// Of both ends: nobody else hears them. The second bit says that it is nobody's product.
const HARDWARE_ADDRESS: [u8; 6] = [0x02, b'g', b'm', 0, 0, 1];
/// The number of `eth0` inside; 1 is the loopback.
const INSIDE_INDEX: u32 = 1000;
const UP: i32 = libc::IFF_UP | libc::IFF_NOARP;
/// Of `include/uapi/linux/veth.h`.
const VETH_INFO_PEER: u16 = 1;
/// Of `include/uapi/linux/if_link.h` and `ip.h`.
const IFLA_INET_CONF: u16 = 1;
const IPV4_DEVCONF_FORWARDING: u16 = 1;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;
const IPV4: u8 = 2; // AF_INET
const IPV6: u16 = 10; // AF_INET6

impl Cable {
    /// Makes the pair. To be called in the sandbox's network namespace, with the privileges of sandboxd.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn connect(&self) -> io::Result<()> {
        match self.make_pair() {
            // Of an ended sandbox that had the address, which the kernel has not removed yet.
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
                self.remove_pair()?;
                self.make_pair()?;
            }
            result => result?,
        }
        self.configure_host()?;
        self.configure_inside()
    }

    fn make_pair(&self) -> io::Result<()> {
        let here = File::open("/proc/self/ns/net")?;
        let mut batch = Batch::default();
        let create = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        batch.message(libc::RTM_NEWLINK, create, &interface(self.host_index(), 0, 0));
        self.describe(&mut batch, &self.host_name());
        batch.attribute(libc::IFLA_GROUP, &self.group.to_ne_bytes());
        batch.nested(libc::IFLA_LINKINFO, |info| {
            info.attribute(libc::IFLA_INFO_KIND, b"veth");
            info.nested(libc::IFLA_INFO_DATA, |data| {
                data.nested(VETH_INFO_PEER, |peer| {
                    peer.raw(&interface(INSIDE_INDEX, 0, 0));
                    self.describe(peer, "eth0");
                    peer.attribute(libc::IFLA_NET_NS_FD, &here.as_raw_fd().to_ne_bytes());
                });
            });
        });
        self.host.run(batch)
    }

    fn describe(&self, batch: &mut Batch, name: &str) {
        batch.attribute(libc::IFLA_IFNAME, format!("{name}\0").as_bytes());
        batch.attribute(libc::IFLA_ADDRESS, &HARDWARE_ADDRESS);
        batch.attribute(libc::IFLA_MTU, &self.mtu.to_ne_bytes());
    }

    fn remove_pair(&self) -> io::Result<()> {
        let mut batch = Batch::default();
        batch
            .message(libc::RTM_DELLINK, 0, &interface(0, 0, 0))
            .attribute(libc::IFLA_IFNAME, format!("{}\0", self.host_name()).as_bytes());
        match self.host.run(batch) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
            result => result,
        }
    }

    /// Before an end comes up it is told to have no IPv6 address, and the host's end to pass packets on.
    fn configure_host(&self) -> io::Result<()> {
        let index = self.host_index();
        let mut batch = Batch::default();
        batch.message(libc::RTM_SETLINK, 0, &interface(index, 0, 0)).nested(
            libc::IFLA_AF_SPEC,
            |families| {
                families.nested(IPV4.into(), |family| {
                    family.nested(IFLA_INET_CONF, |conf| {
                        conf.attribute(IPV4_DEVCONF_FORWARDING, &1_u32.to_ne_bytes());
                    });
                });
            },
        );
        no_ipv6(&mut batch, index);
        batch.message(libc::RTM_SETLINK, 0, &interface(index, UP, UP));
        route(&mut batch, Some(self.address), index);
        self.host.run(batch)
    }

    fn configure_inside(&self) -> io::Result<()> {
        let mut batch = Batch::default();
        no_ipv6(&mut batch, INSIDE_INDEX);
        let mut header = vec![IPV4, 32, 0, libc::RT_SCOPE_UNIVERSE];
        header.extend(INSIDE_INDEX.to_ne_bytes());
        let create = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        batch
            .message(libc::RTM_NEWADDR, create, &header)
            .attribute(libc::IFA_LOCAL, &self.address.octets())
            .attribute(libc::IFA_ADDRESS, &self.address.octets());
        batch.message(libc::RTM_SETLINK, 0, &interface(INSIDE_INDEX, UP, UP));
        route(&mut batch, None, INSIDE_INDEX);
        Socket::open()?.run(batch)
    }

    fn host_name(&self) -> String {
        format!("{NAME_PREFIX}{:08x}", u32::from(self.address))
    }

    /// A number that no other interface has: the kernel counts up from 1, and the private ranges differ in these bits.
    fn host_index(&self) -> u32 {
        0x4000_0000 | u32::from(self.address) & 0x3FFF_FFFF
    }
}

/// Removes the interfaces of a group, that is of a sandboxd that ended.
pub(super) fn remove_group(group: u32) -> io::Result<()> {
    let mut batch = Batch::default();
    batch
        .message(libc::RTM_DELLINK, 0, &interface(0, 0, 0))
        .attribute(libc::IFLA_GROUP, &group.to_ne_bytes());
    match Socket::open()?.run(batch) {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        result => result,
    }
}

/// No address of its own making; the kernel answers `EAFNOSUPPORT` where it has no IPv6 at all, which is as good.
fn no_ipv6(batch: &mut Batch, index: u32) {
    if !std::path::Path::new("/proc/net/if_inet6").exists() {
        return;
    }
    batch.message(libc::RTM_SETLINK, 0, &interface(index, 0, 0)).nested(
        libc::IFLA_AF_SPEC,
        |families| {
            families.nested(IPV6, |family| {
                family.attribute(IFLA_INET6_ADDR_GEN_MODE, &[IN6_ADDR_GEN_MODE_NONE]);
            });
        },
    );
}

/// A route straight to an interface, to one address or to all.
fn route(batch: &mut Batch, to: Option<Ipv4Addr>, index: u32) {
    let length = if to.is_some() { 32 } else { 0 };
    let mut header = vec![IPV4, length, 0, 0, libc::RT_TABLE_MAIN];
    header.extend([libc::RTPROT_STATIC, libc::RT_SCOPE_LINK, libc::RTN_UNICAST, 0, 0, 0, 0]);
    let create = libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
    batch.message(libc::RTM_NEWROUTE, create, &header);
    if let Some(to) = to {
        batch.attribute(libc::RTA_DST, &to.octets());
    }
    batch.attribute(libc::RTA_OIF, &index.to_ne_bytes());
}
