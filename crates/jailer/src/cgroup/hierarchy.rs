//! Which cgroup hierarchies this machine has, and our parent directory in each of them.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Controller, remove_tree};

const PREFIX: &str = "gatemill.";
/// The leaf for our own processes, where the cgroup that was delegated to us has to stay empty.
const OWN_LEAF: &str = "gatemill-server";

/// Our parents, one per usable hierarchy; none where we may make none.
#[derive(Debug, Default)]
pub(crate) struct Hierarchies {
    parents: Vec<Parent>,
}

#[derive(Debug)]
pub(crate) struct Parent {
    pub(super) path: PathBuf,
    pub(super) version: u8,
    pub(super) controllers: Vec<Controller>,
}

/// A mounted hierarchy.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    /// Our own cgroup's directory in it.
    own: PathBuf,
    /// Where it is mounted; nothing above that is ours to use.
    top: PathBuf,
    version: u8,
    controllers: Vec<Controller>,
}

impl Hierarchies {
    /// Finds the hierarchies, removes what dead predecessors left, and makes our parents.
    pub(crate) fn prepare() -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self { parents: read_mounts(&mounts, &own).iter().filter_map(prepare).collect() }
    }

    #[cfg(test)]
    pub(super) fn of(parents: Vec<Parent>) -> Self {
        Self { parents }
    }

    /// None at all where we have no right to any.
    pub(super) fn each(&self) -> impl Iterator<Item = &Parent> {
        self.parents.iter()
    }

    /// The version of the hierarchy that has this controller, if one has.
    pub(crate) fn version_with(&self, controller: Controller) -> Option<u8> {
        self.each().find(|p| p.controllers.contains(&controller)).map(|p| p.version)
    }

    /// Whether processes can be frozen by the kernel.
    pub(crate) fn can_freeze(&self) -> bool {
        self.each().any(|p| p.version == 2) || self.version_with(Controller::Freezer).is_some()
    }

    /// The directories that go when sandboxd goes.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.each().map(|p| p.path.clone()).collect()
    }

    /// Removes our parents and what is left in them.
    pub(crate) fn remove(&self) {
        self.each().for_each(|parent| remove_tree(&parent.path));
    }
}

fn prepare(mount: &Mount) -> Option<Parent> {
    let beside = mount.own.parent().filter(|_| mount.own != mount.top).map(Path::to_path_buf);
    [beside, Some(mount.own.clone())]
        .into_iter()
        .flatten()
        .find_map(|dir| make_in(&dir, mount).ok())
}

fn make_in(dir: &Path, mount: &Mount) -> io::Result<Parent> {
    remove_orphans(dir);
    let path = dir.join(format!("{PREFIX}{}", std::process::id()));
    let mut controllers = mount.controllers.clone();
    fs::create_dir(&path)?;
    if mount.version == 2 {
        // The root of all, the one cgroup without a type, may have both processes and children.
        if dir == mount.own && dir.join("cgroup.type").exists() {
            empty_own_cgroup(dir);
        }
        controllers = delegate(dir, &path);
    }
    if mount.version == 1 && controllers.contains(&Controller::Memory) {
        // The first cgroup with such a limit has the kernel patch its own code, and the last one's
        // end again, for milliseconds: better here than at each start.
        let _ = fs::write(path.join(super::SOCKET_LIMIT), "-1");
    }
    // Without the right to join them, cgroups are of no use (a directory that may be made but not
    // entered exists where only a part is delegated).
    let entrance = if mount.version == 2 { "cgroup.procs" } else { "tasks" };
    match fs::OpenOptions::new().write(true).open(path.join(entrance)) {
        Ok(_) => Ok(Parent { path, version: mount.version, controllers }),
        Err(error) => {
            let _ = fs::remove_dir(&path);
            Err(error)
        }
    }
}

/// Hands the controllers of `dir` down to `path` and to its children; returns those that arrived.
fn delegate(dir: &Path, path: &Path) -> Vec<Controller> {
    let wanted =
        [("memory", Controller::Memory), ("cpu", Controller::Cpu), ("pids", Controller::Pids)];
    let there = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
    let mut controllers = Vec::new();
    for (name, controller) in wanted {
        if !there.split_whitespace().any(|c| c == name) {
            continue;
        }
        let line = format!("+{name}");
        let _ = fs::write(dir.join("cgroup.subtree_control"), &line);
        if fs::write(path.join("cgroup.subtree_control"), &line).is_ok() {
            controllers.push(controller);
        }
    }
    controllers
}

/// Moves our own processes out of a cgroup that was delegated to us, when nobody else is in it.
fn empty_own_cgroup(dir: &Path) {
    let leaf = dir.join(OWN_LEAF);
    let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    let ours = [std::process::id(), std::os::unix::process::parent_id()].map(|pid| pid.to_string());
    if !procs.lines().all(|pid| ours.iter().any(|our| our == pid)) {
        return;
    }
    // An earlier server may have left it, and is welcome to.
    let _ = fs::create_dir(&leaf);
    for pid in procs.lines() {
        let _ = fs::write(leaf.join("cgroup.procs"), pid);
    }
}

/// Removes the parents of sandboxds that live no more.
fn remove_orphans(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|n| n.strip_prefix(PREFIX)) else { continue };
        // Of our own pid too: in a container each start may have the same, and what has its name
        // was made before us.
        let Ok(number) = pid.parse::<u32>() else { continue };
        if number == std::process::id() || !Path::new("/proc").join(pid).exists() {
            remove_tree(&entry.path());
        }
    }
}

/// Reads `/proc/self/mountinfo` and `/proc/self/cgroup`.
fn read_mounts(mountinfo: &str, own_cgroups: &str) -> Vec<Mount> {
    let own: HashMap<&str, &str> = own_cgroups
        .lines()
        .filter_map(|line| line.split_once(':')?.1.split_once(':'))
        .flat_map(|(names, path)| names.split(',').map(move |name| (name, path)))
        .collect();
    let mut mounts: Vec<Mount> = Vec::new();
    for line in mountinfo.lines() {
        let Some(mount) = read_mount(line, &own) else { continue };
        // A controller is in one hierarchy only; the same hierarchy may be mounted twice.
        let again = |m: &Mount| m.version == mount.version && m.controllers == mount.controllers;
        if !mounts.iter().any(again) {
            mounts.push(mount);
        }
    }
    mounts
}

fn read_mount(line: &str, own: &HashMap<&str, &str>) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3);
    let (root, top) = (left.next()?, PathBuf::from(left.next()?));
    let mut right = right.split(' ');
    let (kind, options) = (right.next()?, right.nth(1)?);
    let (version, name, controllers) = match kind {
        "cgroup2" => (2, "", Vec::new()),
        "cgroup" => {
            let controllers: Vec<_> = options.split(',').filter_map(controller).collect();
            (1, options.split(',').find(|o| controller(o).is_some())?, controllers)
        }
        _ => return None,
    };
    // Our path is told from the hierarchy's root, the mount may begin below it.
    let path = Path::new(own.get(name)?);
    let below = path.strip_prefix(root).unwrap_or(path);
    let below = below.strip_prefix("/").unwrap_or(below);
    let own = if below.as_os_str().is_empty() { top.clone() } else { top.join(below) };
    Some(Mount { own, top, version, controllers })
}

fn controller(name: &str) -> Option<Controller> {
    match name {
        "memory" => Some(Controller::Memory),
        "cpu" => Some(Controller::Cpu),
        "pids" => Some(Controller::Pids),
        "freezer" => Some(Controller::Freezer),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
