//! A .NET for machines that have none: a package of PyPI, which CI installs with the clients of the end-to-end tests.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where it is below a Python's `lib`.
const PLACE: &str = "site-packages/dotnetcore2/bin";

/// Its directory, below the directory that cargo builds into.
pub(crate) fn directory(target: &Path) -> Option<PathBuf> {
    let libraries = fs::read_dir(target.join("ci/venv/lib")).ok()?.flatten();
    libraries.map(|python| python.path().join(PLACE)).find(|place| place.is_dir())
}
