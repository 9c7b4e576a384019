//! sandboxd's side of a start: pipes, ids, the fork.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use libc::sock_filter;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::cgroup::MemoryEvent;
use crate::companions;
use crate::confine::{Descriptors, Image, c_path};
use crate::init::{self, Ids};
use crate::limits;
use crate::nested;
use crate::network::Cable;
use crate::root_fs::Source;
use crate::seccomp;
use crate::socket;
use crate::spec::{Isolation, Spec, Start};
use crate::step::{At, Failure, Step};
use crate::supervisor;
use crate::sys::{self, Forked};
use crate::template;

/// What all starts of one sandboxd share.
pub(crate) struct Launcher {
    isolation: Isolation,
    uid_base: u32,
    mount_point: CString,
    filter: Vec<sock_filter>,
    snapshot_filter: Vec<sock_filter>,
    landlock: bool,
    pub(crate) is_root: bool,
}

/// A first process on its way.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) pid: u32,
    /// Says how far the program came; ends with its `execve`.
    pub(crate) status: OwnedFd,
    /// Says how the program ended.
    pub(crate) report: OwnedFd,
    /// Of a fork, the other end of its status socket, which its template has to get.
    pub(crate) order_end: Option<OwnedFd>,
    /// Our end of the socket on which a snapshot is asked to fork.
    pub(crate) control: Option<OwnedFd>,
}

/// The descriptors of a first process.
struct Ends<'a> {
    fds: Descriptors,
    status: BorrowedFd<'a>,
    report: i32,
    /// Not a descriptor that it keeps: what it mounts.
    tmp: Option<&'a Source>,
}

/// How the first process gets into its cgroups.
pub(crate) struct Joined<'a> {
    pub(crate) tasks_files: Vec<PathBuf>,
    pub(crate) birthplace: Option<OwnedFd>,
    /// The memory event that is to be registered.
    pub(crate) memory_event: Option<&'a MemoryEvent>,
}

/// What a sandbox has of the network.
pub(crate) struct Connected<'a> {
    /// Over this socket the init hands the listener of the Runtime API to the server.
    pub(crate) doorway: BorrowedFd<'a>,
    /// To the host's network.
    pub(crate) cable: Option<Cable>,
    pub(crate) resolv_conf: &'a str,
}

/// The descriptors that came with a request, and what another sandbox left.
pub(crate) struct Gifts {
    pub(crate) channel: OwnedFd,
    pub(crate) output: OwnedFd,
    /// Over this socket the init hands the listener of the Runtime API to the server.
    pub(crate) doorway: OwnedFd,
    /// With companions: the socket to the process that holds them, and their output.
    pub(crate) companions: Option<[OwnedFd; 2]>,
    /// The `/tmp` of a sandbox that ended.
    pub(crate) tmp: Option<Source>,
}

impl Launcher {
    pub(crate) fn new(
        isolation: Isolation,
        state_dir: &std::path::Path,
        uid_base: u32,
    ) -> io::Result<Self> {
        let mount_point = state_dir.join("root");
        std::fs::create_dir_all(&mount_point)?;
        uid_base.checked_add(limits::MAX_UID_SLOTS).ok_or(io::ErrorKind::InvalidInput)?;
        let lingering = socket::can_refuse_descriptors()?;
        Ok(Self {
            isolation,
            uid_base,
            mount_point: c_path(&mount_point)?,
            filter: seccomp::program(lingering),
            snapshot_filter: seccomp::snapshot_program(lingering),
            landlock: sys::landlock_version() > 0,
            is_root: rustix::process::geteuid().is_root(),
        })
    }

    /// Starts a sandbox's first process. `trial` goes through all steps but the `execve`.
    pub(crate) fn launch(
        &self,
        spec: &Spec,
        gifts: &Gifts,
        cgroup: &Joined<'_>,
        network: &Connected<'_>,
        start: Start,
        trial: bool,
    ) -> Result<Launched, Failure> {
        let (status, status_end) = match start {
            Start::AtOnce
            | Start::After { .. }
            | Start::Parked
            | Start::Vacant
            | Start::Snapshot => pipe_with(PipeFlags::CLOEXEC).at(Step::Prepare)?,
            Start::Forked { .. } | Start::Restored { .. } => {
                // Who says that it is confined is the process that will be looked at.
                socket::pair_with_senders().at(Step::Prepare)?
            }
        };
        let (report, report_end) = pipe_with(PipeFlags::CLOEXEC).at(Step::Prepare)?;
        for fd in [&status, &report] {
            let flags = fcntl_getfl(fd).at(Step::Prepare)?;
            fcntl_setfl(fd, flags | OFlags::NONBLOCK).at(Step::Prepare)?;
        }
        // By what it sends first, the program of a snapshot is known.
        let control = (start == Start::Snapshot).then(socket::pair_with_senders);
        let control = control.transpose().at(Step::Prepare)?;
        let fds = Descriptors {
            channel: gifts.channel.as_raw_fd(),
            output: gifts.output.as_raw_fd(),
            status: status_end.as_raw_fd(),
            control: control
                .as_ref()
                .map(|(_, theirs)| theirs)
                .or(gifts.companions.as_ref().map(|[control, _]| control))
                .map(AsRawFd::as_raw_fd),
            companions: gifts.companions.as_ref().map(|[_, output]| output.as_raw_fd()),
        };
        let report_fd = report_end.as_raw_fd();
        let pid = match self.isolation {
            Isolation::Sandbox => {
                let tmp = gifts.tmp.as_ref();
                let ends = Ends { fds, status: status_end.as_fd(), report: report_fd, tmp };
                self.confined(spec, cgroup, network, &ends, start, trial)?
            }
            Isolation::Process => plain(spec, cgroup, fds, report_fd, trial)?,
        };
        let order_end = matches!(start, Start::Forked { .. }).then_some(status_end);
        Ok(Launched { pid, status, report, order_end, control: control.map(|(ours, _)| ours) })
    }

    /// Starts the making of a sandbox that a snapshot's program will fork into: the pid of its builder, and the pipe that
    /// tells how that ended.
    pub(crate) fn build_nested(
        &self,
        snapshot: u32,
        spec: &Spec,
        cgroup: &Joined<'_>,
        network: &Connected<'_>,
    ) -> Result<(u32, OwnedFd), Failure> {
        let (status, status_end) = pipe_with(PipeFlags::CLOEXEC).at(Step::Prepare)?;
        let flags = fcntl_getfl(&status).at(Step::Prepare)?;
        fcntl_setfl(&status, flags | OFlags::NONBLOCK).at(Step::Prepare)?;
        let plan = nested::Plan {
            snapshot,
            tasks_files: &cgroup.tasks_files,
            memory_event: cgroup.memory_event,
            filter: &self.filter,
            tmp_bytes: spec.tmp_bytes,
            doorway: network.doorway,
            cable: network.cable.as_ref(),
            status: status_end.as_raw_fd(),
        };
        let birthplace = cgroup.birthplace.as_ref().map(AsFd::as_fd);
        match sys::clone_into(0, birthplace).at(Step::Clone)? {
            Forked::Child => nested::run(&plan),
            Forked::Parent(builder) => Ok((builder, status)),
        }
    }

    fn confined(
        &self,
        spec: &Spec,
        cgroup: &Joined<'_>,
        network: &Connected<'_>,
        ends: &Ends<'_>,
        start: Start,
        trial: bool,
    ) -> Result<u32, Failure> {
        let companions = companions::images(spec).at(Step::Request)?;
        let plan = init::Plan {
            spec,
            image: Image::of(spec).at(Step::Request)?,
            companions: &companions,
            filter: &self.filter,
            snapshot_filter: &self.snapshot_filter,
            tasks_files: &cgroup.tasks_files,
            memory_event: cgroup.memory_event,
            mount_point: &self.mount_point,
            status: ends.status,
            doorway: network.doorway,
            ids: self.ids(spec.uid),
            landlock: self.landlock,
            cable: network.cable.as_ref(),
            resolv_conf: network.resolv_conf,
            fds: ends.fds,
            report: ends.report,
            left_tmp: ends.tmp,
            start,
            trial,
        };
        let mut flags = libc::CLONE_NEWPID
            | libc::CLONE_NEWNS
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWNET;
        if !self.is_root {
            flags |= libc::CLONE_NEWUSER;
        }
        match sys::clone_into(flags, cgroup.birthplace.as_ref().map(AsFd::as_fd)).at(Step::Clone)? {
            Forked::Child => init::run(&plan),
            Forked::Parent(pid) => Ok(pid),
        }
    }

    /// Starts a template. It talks to sandboxd over `control`.
    pub(crate) fn template(
        &self,
        spec: &Spec,
        control: &OwnedFd,
        cgroup: &Joined<'_>,
    ) -> Result<Launched, Failure> {
        let (status, status_end) = pipe_with(PipeFlags::CLOEXEC).at(Step::Prepare)?;
        let (report, _) = pipe_with(PipeFlags::CLOEXEC).at(Step::Prepare)?;
        let flags = fcntl_getfl(&status).at(Step::Prepare)?;
        fcntl_setfl(&status, flags | OFlags::NONBLOCK).at(Step::Prepare)?;
        let plan = template::Plan {
            spec,
            image: Image::of(spec).at(Step::Request)?,
            tasks_files: &cgroup.tasks_files,
            mount_point: &self.mount_point,
            fds: Descriptors {
                channel: control.as_raw_fd(),
                // What it has to complain about is for whoever reads what sandboxd does.
                output: std::io::stderr().as_raw_fd(),
                status: status_end.as_raw_fd(),
                control: None,
                companions: None,
            },
        };
        let birthplace = cgroup.birthplace.as_ref().map(AsFd::as_fd);
        match sys::clone_into(template::NAMESPACES, birthplace).at(Step::Clone)? {
            Forked::Child => template::run(&plan),
            Forked::Parent(pid) => {
                Ok(Launched { pid, status, report, order_end: None, control: None })
            }
        }
    }

    /// What a template is told about a sandbox that is to get a fork of it.
    pub(crate) fn order(&self, spec: &Spec, tasks: u8, born: bool, ruled: bool) -> Vec<u8> {
        template::order(spec, self.host_uid(spec.uid), &self.filter, tasks, born, ruled)
    }

    /// The uid that a program of this slot has on the host, as root.
    pub(crate) fn host_uid(&self, slot: u32) -> u32 {
        // Below the overflow that `new` excluded.
        self.uid_base + slot
    }

    fn ids(&self, slot: u32) -> Ids {
        if self.is_root {
            Ids::Root { program: self.host_uid(slot), init: self.host_uid(limits::MAX_UID_SLOTS) }
        } else {
            Ids::User {
                uid: rustix::process::geteuid().as_raw(),
                gid: rustix::process::getegid().as_raw(),
            }
        }
    }
}

fn plain(
    spec: &Spec,
    cgroup: &Joined<'_>,
    fds: Descriptors,
    report: i32,
    trial: bool,
) -> Result<u32, Failure> {
    if spec.root.is_some() {
        return Err(Failure { step: Step::Root, errno: libc::ENOTSUP });
    }
    let spec = supervisor::on_host(spec);
    let image = Image::of(&spec).at(Step::Request)?;
    let companions = companions::images(&spec).at(Step::Request)?;
    let plan = supervisor::Plan {
        spec: &spec,
        image,
        companions: &companions,
        tasks_files: &cgroup.tasks_files,
        memory_event: cgroup.memory_event,
        fds,
        report,
        trial,
    };
    match sys::clone_into(0, cgroup.birthplace.as_ref().map(AsFd::as_fd)).at(Step::Clone)? {
        Forked::Child => supervisor::run(&plan),
        Forked::Parent(pid) => Ok(pid),
    }
}
