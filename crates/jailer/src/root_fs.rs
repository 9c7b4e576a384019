//! The file system that a confined program sees, built by the init in its own mount namespace:
//! a small tmpfs with the read-only binds of the spec or the parts of a container image, and `/proc`, `/dev`, `/tmp`
//! and `/etc` made here.
//!
//! Sources are opened before the old root goes, mount points are made component by component
//! without following symbolic links, and attributes are put on a mount before it becomes visible.

use std::ffi::{CStr, CString};
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Component, Path};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, statat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree, unmount,
};

use image_tree::ImageTree;

use crate::limits;
use crate::spec::{Bind, Spec};
use crate::step::{At, Failure, Step};
use crate::sys;

mod image_tree;

const RDONLY: u64 = 0x1; // MOUNT_ATTR_RDONLY
const NOSUID: u64 = 0x2; // MOUNT_ATTR_NOSUID
const NODEV: u64 = 0x4; // MOUNT_ATTR_NODEV
const NOEXEC: u64 = 0x8; // MOUNT_ATTR_NOEXEC

const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// Entries of `/proc` that say more about the host than a function has to know. The rest is
/// read-only and mostly the function's own.
const MASKED: [&str; 8] = [
    "cmdline",
    "interrupts",
    "kallsyms",
    "kcore",
    "keys",
    "modules",
    "sysrq-trigger",
    "timer_list",
];
/// See [`MASKED`].
const MASKED_DIRS: [&str; 5] = ["acpi", "asound", "bus", "fs", "scsi"];

/// Public files of the host's `/etc` that libraries need, bound when present: certificates, the
/// linker's index, where Debian's alternatives point, and what its Javas are linked to.
const HOST_ETC: [&str; 11] = [
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted",
    "/etc/ld.so.cache",
    "/etc/alternatives",
    "/etc/java-8-openjdk",
    "/etc/java-11-openjdk",
    "/etc/java-17-openjdk",
    "/etc/java-21-openjdk",
    "/etc/java-25-openjdk",
];

const PASSWD: &str = "root:x:0:0:root:/root:/sbin/nologin\n\
    sbx_user1051:x:993:993::/home/sbx_user1051:/sbin/nologin\n\
    nobody:x:65534:65534:nobody:/:/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nsbx_user1051:x:993:\nnogroup:x:65534:\n";
const HOSTS: &str = "127.0.0.1 localhost sandbox sandbox.localdomain\n::1 localhost\n";
const NSSWITCH: &str = "passwd: files\ngroup: files\nhosts: files dns\n";

/// A part of the host that will appear inside.
pub(crate) struct Source {
    tree: OwnedFd,
    is_dir: bool,
}

/// Builds the root in this mount namespace and makes it `/`. `mount_point` is an empty directory,
/// `resolv_conf` the text of that file, `left` the `/tmp` of a sandbox before, where it is to go on.
pub(crate) fn enter(
    spec: &Spec,
    mount_point: &CStr,
    resolv_conf: &str,
    left: Option<&Source>,
) -> Result<(), Failure> {
    let recursive = libc::AT_RECURSIVE;
    sys::mount_setattr(CWD, c"/", recursive, 0, libc::MS_PRIVATE).at(Step::Root)?;
    let binds = open_all(&spec.binds).at(Step::Bind)?;
    let image = spec.root.as_deref().map(ImageTree::open).transpose().at(Step::Root)?;
    let host_etc: &[&str] = if image.is_some() { &[] } else { &HOST_ETC };
    let etc: Vec<_> = host_etc.iter().map(|path| open(Path::new(path)).ok()).collect();
    let devices: Vec<_> = DEVICES
        .iter()
        .map(|name| open(&Path::new("/dev").join(name)))
        .collect::<io::Result<_>>()
        .at(Step::Dev)?;

    let options = format!("mode=0755,nr_inodes=4096,size={}", limits::ROOT_BYTES);
    tmpfs(mount_point, libc::MS_NOSUID | libc::MS_NODEV, &options).at(Step::Root)?;
    rustix::process::chdir(mount_point).at(Step::Root)?;

    if let Some(image) = &image {
        image.attach().at(Step::Root)?;
    }
    attach_all(&spec.binds, &binds).at(Step::Bind)?;
    let empty = empty_dir().at(Step::Proc)?;
    proc_fs().at(Step::Proc)?;
    dev(&devices).at(Step::Dev)?;
    mask_proc(&devices[0], &empty).at(Step::Proc)?;
    match left {
        Some(left) => attach(left, Path::new("/tmp"), NOSUID | NODEV).at(Step::Tmp)?,
        None => tmp(spec.tmp_bytes).at(Step::Tmp)?,
    }
    etc_files(resolv_conf).at(Step::Etc)?;
    if let Some(image) = &image {
        image.attach_etc().at(Step::Etc)?;
    }
    for (path, source) in host_etc.iter().zip(&etc) {
        if let Some(source) = source {
            attach(source, Path::new(path), RDONLY | NOSUID | NODEV | NOEXEC).at(Step::Etc)?;
        }
    }
    pivot().at(Step::Pivot)
}

/// In the mount namespace of a sandbox that was parked, of which the calling process is not part: what
/// the function brings, and the seal. `tmp_bytes` where `/tmp` gets another size.
pub(crate) fn complete(
    binds: &[Bind],
    sources: &[Source],
    tmp_bytes: Option<u64>,
) -> Result<(), Failure> {
    attach_all(binds, sources).at(Step::Bind)?;
    if let Some(bytes) = tmp_bytes {
        let flags = libc::MS_REMOUNT | libc::MS_NOSUID | libc::MS_NODEV;
        tmpfs(c"tmp", flags, &tmp_options(bytes)).at(Step::Tmp)?;
    }
    seal()
}

/// Opens what of the host is to be bound.
pub(crate) fn open_all(binds: &[Bind]) -> io::Result<Vec<Source>> {
    binds.iter().map(|bind| open(&bind.host)).collect()
}

fn attach_all(binds: &[Bind], sources: &[Source]) -> io::Result<()> {
    let attributes = RDONLY | NOSUID | NODEV;
    let each = binds.iter().zip(sources);
    each.into_iter().try_for_each(|(bind, source)| attach(source, &bind.inside, attributes))
}

/// The last touch: nothing but `/tmp` and `/dev/shm` can be written any more.
pub(crate) fn seal() -> Result<(), Failure> {
    sys::mount_setattr(CWD, c"/proc", 0, RDONLY, 0).at(Step::Seal)?;
    sys::mount_setattr(CWD, c"/", 0, RDONLY, 0).at(Step::Seal)
}

/// A `/proc` of this process's process namespace that is mounted nowhere yet. To be made before the mount namespace of a
/// sandbox is entered: in one that belongs to a user namespace, the kernel refuses it to everybody.
pub(crate) fn proc_elsewhere() -> io::Result<OwnedFd> {
    let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), "hidepid", "invisible")?;
    fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    Ok(fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// Covers what must not be shared in a copy of a finished sandbox's mounts, which `/` shows.
pub(crate) fn renew(proc: &OwnedFd, tmp_bytes: u64) -> Result<(), Failure> {
    rustix::process::chdir("/").at(Step::Root)?;
    sys::mount_setattr(CWD, c"/", libc::AT_RECURSIVE, 0, libc::MS_PRIVATE).at(Step::Root)?;
    let null = open(Path::new("/dev/null")).at(Step::Dev)?;
    // One of the empty directories that cover parts of the snapshot's own `/proc`.
    let empty = open(&Path::new("/proc").join(MASKED_DIRS[0])).at(Step::Proc)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(proc, "", CWD, "proc", flags).at(Step::Proc)?;
    mask_proc(&null, &empty).at(Step::Proc)?;
    tmp_fs(tmp_bytes).at(Step::Tmp)?;
    shm().at(Step::Dev)
}

/// A detached copy of the mount at `path`. Without what is mounted below it, where that may be:
/// a user namespace may not uncover what was covered, so there the copy has to be whole.
pub(crate) fn open(path: &Path) -> io::Result<Source> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, path, flags).or_else(|error| match error {
        rustix::io::Errno::INVAL => open_tree(CWD, path, flags | OpenTreeFlags::AT_RECURSIVE),
        other => Err(other),
    })?;
    let stat = statat(&tree, "", AtFlags::EMPTY_PATH)?;
    let is_dir = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir();
    Ok(Source { tree, is_dir })
}

/// Puts a source at a path of the new root, which is the working directory.
fn attach(source: &Source, inside: &Path, attributes: u64) -> io::Result<()> {
    let target = make_mount_point(inside, source.is_dir)?;
    let whole = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    sys::mount_setattr(source.tree.as_fd(), c"", whole, attributes, 0)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(&source.tree, "", &target, "", flags)?)
}

/// Makes a directory or empty file and all above it, and opens it. Follows no symbolic link.
fn make_mount_point(inside: &Path, is_dir: bool) -> io::Result<OwnedFd> {
    let names: Vec<_> = inside
        .components()
        .filter_map(|c| if let Component::Normal(name) = c { Some(name) } else { None })
        .collect();
    let dir_flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = openat(CWD, ".", dir_flags, Mode::empty())?;
    for (index, name) in names.iter().enumerate() {
        if !is_dir && index + 1 == names.len() {
            let made = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            match openat(&at, *name, made, Mode::from_raw_mode(0o444)) {
                Ok(_) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            return Ok(openat(&at, *name, flags, Mode::empty())?);
        }
        match mkdirat(&at, *name, Mode::from_raw_mode(0o755)) {
            // A directory that a bind brought along answers EROFS when it is not there.
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        at = openat(&at, *name, dir_flags, Mode::empty())?;
    }
    Ok(at)
}

/// A detached, empty directory: the one that `/proc` is going to cover.
fn empty_dir() -> io::Result<Source> {
    fs::create_dir("proc")?;
    let source = open(Path::new("proc"))?;
    let attributes = RDONLY | NOSUID | NODEV | NOEXEC;
    sys::mount_setattr(source.tree.as_fd(), c"", libc::AT_EMPTY_PATH, attributes, 0)?;
    Ok(source)
}

fn proc_fs() -> io::Result<()> {
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    sys::mount_fs(c"proc", c"proc", flags, c"hidepid=invisible").or_else(|_| {
        // Where parts of the host's /proc are covered, as in a container, a user namespace gets
        // the part about processes only.
        sys::mount_fs(c"proc", c"proc", flags, c"hidepid=invisible,subset=pid")
    })
}

fn mask_proc(null: &Source, empty: &Source) -> io::Result<()> {
    let files = MASKED.iter().map(|name| (name, null));
    for (name, cover) in files.chain(MASKED_DIRS.iter().map(|name| (name, empty))) {
        let target = Path::new("proc").join(name);
        if target.exists() {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE
                | OpenTreeFlags::OPEN_TREE_CLOEXEC
                | OpenTreeFlags::AT_EMPTY_PATH;
            let tree = open_tree(&cover.tree, "", flags)?;
            move_mount(&tree, "", CWD, &target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        }
    }
    Ok(())
}

fn dev(devices: &[Source]) -> io::Result<()> {
    fs::create_dir("dev")?;
    for (name, source) in DEVICES.iter().zip(devices) {
        // Read-only concerns the node, its times above all, and not what is written to the device.
        attach(source, &Path::new("/dev").join(name), RDONLY | NOSUID | NOEXEC)?;
    }
    for (name, target) in [("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")] {
        symlink(format!("/proc/self/fd{target}"), Path::new("dev").join(name))?;
    }
    fs::create_dir("dev/shm")?;
    shm()
}

fn shm() -> io::Result<()> {
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    tmpfs(c"dev/shm", flags, &format!("mode=1777,nr_inodes=1024,size={}", limits::SHM_BYTES))
}

fn tmp(bytes: u64) -> io::Result<()> {
    fs::create_dir("tmp")?;
    tmp_fs(bytes)
}

fn tmp_fs(bytes: u64) -> io::Result<()> {
    tmpfs(c"tmp", libc::MS_NOSUID | libc::MS_NODEV, &format!("mode=1777,{}", tmp_options(bytes)))
}

fn tmp_options(bytes: u64) -> String {
    // A file takes a page at least in any use that matters, so this many inodes suffice; without a
    // limit, empty files would be free.
    let inodes = (bytes / 4096).max(1024);
    format!("nr_inodes={inodes},size={bytes}")
}

fn etc_files(resolv_conf: &str) -> io::Result<()> {
    fs::create_dir("etc")?;
    let files = [
        ("passwd", PASSWD),
        ("group", GROUP),
        ("hosts", HOSTS),
        ("nsswitch.conf", NSSWITCH),
        ("resolv.conf", resolv_conf),
        ("hostname", "sandbox\n"),
    ];
    for (name, text) in files {
        fs::File::create(Path::new("etc").join(name))?.write_all(text.as_bytes())?;
    }
    symlink("/usr/share/zoneinfo/UTC", "etc/localtime")?;
    symlink("/proc/self/mounts", "etc/mtab")
}

/// The working directory becomes `/`, and the host's root is gone from this namespace.
fn pivot() -> io::Result<()> {
    rustix::process::pivot_root(".", ".")?;
    // The old root now lies over the new one, at the same place.
    unmount(".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir("/")?)
}

fn tmpfs(target: &CStr, flags: libc::c_ulong, options: &str) -> io::Result<()> {
    let options = CString::new(options).map_err(|_| io::ErrorKind::InvalidInput)?;
    sys::mount_fs(c"tmpfs", target, flags, &options)
}
