//! The numbered steps from a privileged process to a confined program. A step that fails is named
//! by its number, because the child that fails can say no more than that and an errno.

use std::fmt;

/// One step; up to [`Step::Died`], the order is the order in which they are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// The request was acceptable.
    Request = 1,
    /// Pipes, descriptors and paths of sandboxd itself.
    Prepare = 2,
    /// The cgroups were made and limited.
    Cgroup = 3,
    /// `clone3` into the new namespaces.
    Clone = 4,
    /// Without root: the map of the outer user namespace.
    OuterMap = 5,
    /// The init joined the cgroups.
    JoinCgroup = 6,
    /// The cgroup namespace.
    CgroupNamespace = 7,
    /// Host name.
    HostName = 8,
    /// Loopback up.
    Loopback = 9,
    /// The listener of the Runtime API, and its way to the server.
    Listener = 10,
    /// The pair of interfaces to the host, where programs reach the network.
    Network = 11,
    /// The new root's tmpfs.
    Root = 12,
    /// A read-only bind of the spec.
    Bind = 13,
    /// `/proc`.
    Proc = 14,
    /// `/dev`.
    Dev = 15,
    /// `/tmp`.
    Tmp = 16,
    /// `/etc`.
    Etc = 17,
    /// `pivot_root`, and the old root gone.
    Pivot = 18,
    /// The program's process in its own user namespace, and its map.
    UserNamespace = 19,
    /// Root and `/proc` made read-only.
    Seal = 20,
    /// Session, signals, descriptors.
    Session = 21,
    /// Resource limits.
    Rlimits = 22,
    /// uid, gid, groups, capabilities.
    Identity = 23,
    /// Landlock.
    Landlock = 24,
    /// The system call filter.
    Seccomp = 25,
    /// The working directory.
    Cwd = 26,
    /// `execve`.
    Exec = 27,
    /// The sandbox died on the way without a word, or was killed.
    Died = 28,
    /// Of a restore: the namespaces of the snapshot's process, which has them while it lives.
    Snapshot = 29,
    /// Of a restore: the namespaces of the new sandbox's init, which are there while it lives.
    Nested = 30,
}

/// A step that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// Which.
    pub step: Step,
    /// The system's reason; 0 where there is none.
    pub errno: i32,
}

/// Says of an error at which step it happened.
pub(crate) trait At<T> {
    fn at(self, step: Step) -> Result<T, Failure>;
}

const ALL: [Step; 30] = [
    Step::Request,
    Step::Prepare,
    Step::Cgroup,
    Step::Clone,
    Step::OuterMap,
    Step::JoinCgroup,
    Step::CgroupNamespace,
    Step::HostName,
    Step::Loopback,
    Step::Listener,
    Step::Network,
    Step::Root,
    Step::Bind,
    Step::Proc,
    Step::Dev,
    Step::Tmp,
    Step::Etc,
    Step::Pivot,
    Step::UserNamespace,
    Step::Seal,
    Step::Session,
    Step::Rlimits,
    Step::Identity,
    Step::Landlock,
    Step::Seccomp,
    Step::Cwd,
    Step::Exec,
    Step::Died,
    Step::Snapshot,
    Step::Nested,
];

impl Step {
    /// The step of this number.
    pub fn from_byte(byte: u8) -> Option<Self> {
        ALL.get(usize::from(byte).checked_sub(1)?).copied()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {} ({:?})", self.step as u8, self.step)?;
        if self.errno == 0 {
            return Ok(());
        }
        write!(f, ": {}", std::io::Error::from_raw_os_error(self.errno))
    }
}

impl<T> At<T> for std::io::Result<T> {
    fn at(self, step: Step) -> Result<T, Failure> {
        self.map_err(|e| Failure { step, errno: e.raw_os_error().unwrap_or(libc::EIO) })
    }
}

impl<T> At<T> for rustix::io::Result<T> {
    fn at(self, step: Step) -> Result<T, Failure> {
        self.map_err(|e| Failure { step, errno: e.raw_os_error() })
    }
}
