//! One template: a process without a function that sandboxd forks into sandboxes.

use std::sync::Arc;

use gatemill_jailer::protocol::Request;
use tokio::sync::watch;

use crate::link::Link;
use crate::sandbox::Exit;

/// A started template. Dropping it ends it; what was forked from it lives on.
#[derive(Debug)]
pub struct Template {
    /// Its pid on the host.
    pub pid: u32,
    pub(crate) ticket: u64,
    pub(crate) link: Arc<Link>,
    pub(crate) exit: watch::Receiver<Option<Exit>>,
}

impl Template {
    /// Whether it can still be forked.
    pub fn is_alive(&self) -> bool {
        self.exit.borrow().is_none() && self.exit.has_changed().is_ok()
    }
}

impl Drop for Template {
    fn drop(&mut self) {
        self.link.send_later(&Request::Kill(self.ticket));
    }
}
