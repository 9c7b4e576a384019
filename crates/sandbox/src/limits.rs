//! Every bound of this crate.

use std::time::Duration;

/// How long sandboxd may take to configure itself and try a sandbox out.
pub(crate) const READY_WAIT: Duration = Duration::from_secs(20);
/// Starts under way at once; further ones wait for their turn. More would only queue in the kernel.
pub(crate) const STARTS_AT_ONCE: usize = 64;
/// How long a start may take before it is given up and killed.
pub(crate) const START_WAIT: Duration = Duration::from_secs(10);
/// How often in a row sandboxd is started again, when it dies soon after its start or cannot be started.
pub(crate) const REPLACEMENTS_MAX: u32 = 5;
/// The pause before another try, times the number of tries before it.
pub(crate) const REPLACEMENT_PAUSE: Duration = Duration::from_millis(500);
/// A sandboxd that lives longer than this did not die of its start.
pub(crate) const LIFE_MIN: Duration = Duration::from_secs(5);
/// How long a start waits for the next sandboxd.
pub(crate) const REPLACEMENT_WAIT: Duration = Duration::from_secs(10);
/// How long a shutdown waits for sandboxd, which itself waits 5 s for its sandboxes.
pub(crate) const SHUTDOWN_WAIT: Duration = Duration::from_secs(8);
/// How long sandboxd may take to make a socket in a sandbox.
pub(crate) const SOCKET_WAIT: Duration = Duration::from_secs(5);
