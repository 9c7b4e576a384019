//! Names that are one process's at a time within a network namespace: addresses of abstract sockets. The kernel gives
//! them back when the process ends, however it ends, so there is nothing to clean up and nothing to mistake for alive.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::limits;

/// A name that is held until this is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    _socket: UnixDatagram,
}

/// `None` when somebody else holds it.
pub(super) fn of(name: &str) -> Option<Claim> {
    let address = SocketAddr::from_abstract_name(format!("gatemill/egress/{name}")).ok()?;
    UnixDatagram::bind_addr(&address).ok().map(|_socket| Claim { _socket })
}

/// The name of a slot.
pub(super) fn slot(number: u16) -> Option<Claim> {
    of(&format!("slot/{number}"))
}

/// Whether some slot is held.
pub(super) fn any_slot() -> bool {
    (0..limits::EGRESS_SLOTS).any(|number| slot(number).is_none())
}

/// Keeps two servers from changing what they share at one time. Waits within bounds.
pub(super) fn setup() -> Option<Claim> {
    const PAUSE: Duration = Duration::from_millis(5);
    let tries = limits::EGRESS_SETUP_WAIT.as_millis() / PAUSE.as_millis();
    (0..tries).find_map(|_| {
        let claim = of("setup");
        if claim.is_none() {
            std::thread::sleep(PAUSE);
        }
        claim
    })
}
