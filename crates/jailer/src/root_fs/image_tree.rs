//! The tree of a container image as the root of a sandbox.
//!
//! What stands at the top of the tree is mounted, name by name, into the tmpfs that is the root of every sandbox. So the
//! image needs no mount points for what is ours, a link of the image in a place like `/proc` is never followed, and
//! nothing of the shared tree can be covered or changed. The tree is not this crate's to check: whoever unpacked it
//! made `hosts`, `resolv.conf` and `hostname` in its `/etc`, over which ours are mounted.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::{NODEV, NOSUID, RDONLY, Source, attach, open};
use crate::limits;

/// At the top of a sandbox, these are not the image's.
const OURS: [&str; 3] = ["proc", "dev", "tmp"];
/// In `/etc`, these are not the image's.
const OURS_IN_ETC: [&str; 3] = ["hosts", "resolv.conf", "hostname"];

/// The parts of an image, opened before the host's root is gone.
pub(super) struct ImageTree {
    mounts: Vec<(OsString, Source)>,
    links: Vec<(OsString, PathBuf)>,
    etc: Option<Source>,
}

impl ImageTree {
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        let mut tree = Self { mounts: Vec::new(), links: Vec::new(), etc: None };
        for (count, entry) in fs::read_dir(root)?.enumerate() {
            let entry = entry?;
            if count >= limits::MAX_ROOT_ENTRIES {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            let (name, kind) = (entry.file_name(), entry.file_type()?);
            if OURS.iter().any(|ours| name == *ours) {
                continue;
            }
            if kind.is_symlink() {
                tree.links.push((name, fs::read_link(entry.path())?));
            } else if name == "etc" && kind.is_dir() {
                tree.etc = Some(open(&entry.path())?);
            } else if name != "etc" && (kind.is_dir() || kind.is_file()) {
                tree.mounts.push((name, open(&entry.path())?));
            }
        }
        tree.links.retain(|(name, _)| name != "etc");
        Ok(tree)
    }

    /// Puts everything but `/etc` into the new root, which is the working directory.
    pub(super) fn attach(&self) -> io::Result<()> {
        for (name, source) in &self.mounts {
            attach(source, &Path::new("/").join(name), RDONLY | NOSUID | NODEV)?;
        }
        // Where links point to is looked up inside, when the old root is gone.
        self.links.iter().try_for_each(|(name, target)| symlink(target, name))
    }

    /// Covers our `/etc` with the image's, and with some files of ours again. Without one, ours stays.
    pub(super) fn attach_etc(&self) -> io::Result<()> {
        let Some(etc) = &self.etc else { return Ok(()) };
        let ours = OURS_IN_ETC.map(|name| Path::new("etc").join(name));
        let sources = ours.iter().map(|path| open(path)).collect::<io::Result<Vec<_>>>()?;
        attach(etc, Path::new("/etc"), RDONLY | NOSUID | NODEV)?;
        for (path, source) in ours.iter().zip(&sources) {
            attach(source, &Path::new("/").join(path), RDONLY | NOSUID | NODEV)?;
        }
        Ok(())
    }
}
