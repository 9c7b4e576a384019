//! sandboxd goes into a sandbox's mount namespace for the few calls that something takes, and comes back.
//!
//! What it finds there is what its own init built: a program cannot change the mounts, because the namespace belongs to
//! the host's root, nor replace a mount point, because all above them is read-only. To keep a privileged process waiting
//! inside instead would leave power next to the program. This takes root: a namespace that belongs to another user namespace
//! cannot be entered and left again.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::step::{At, Failure, Step};
use crate::sys;

/// Calls `act` where `/` is the root of the sandbox with this first process. That has to be a child of ours which was not
/// collected, so that it is no other process's by now.
pub(super) fn inside<T>(
    first: u32,
    act: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let home = Home::remember().at(Step::Prepare)?;
    let namespace = File::open(format!("/proc/{first}/ns/mnt")).at(Step::Bind)?;
    let mount = Some(LinkNameSpaceType::Mount);
    move_into_link_name_space(namespace.as_fd(), mount).at(Step::Bind)?;
    let outcome = act();
    home.return_to();
    outcome
}

/// Where sandboxd lives.
struct Home {
    namespace: File,
    root: OwnedFd,
}

impl Home {
    fn remember() -> std::io::Result<Self> {
        let root = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            namespace: File::open("/proc/self/ns/mnt")?,
            root: openat(CWD, "/", root, Mode::empty())?,
        })
    }

    /// Back home. A sandboxd that cannot is in a stranger's house, and ends; the server starts another.
    fn return_to(&self) {
        let mount = Some(LinkNameSpaceType::Mount);
        let back = move_into_link_name_space(self.namespace.as_fd(), mount)
            // The namespace's root need not be the one that we had.
            .and_then(|()| rustix::process::fchdir(&self.root))
            .and_then(|()| rustix::process::chroot("."));
        if back.is_err() {
            sys::exit_now(1);
        }
    }
}
