//! Where interpreters may be, and which files there look like one.

use std::fs;
use std::path::{Path, PathBuf};

use super::identifier::{Family, IDENTIFIERS};
use super::limits;

/// Where the .NET packages of distributions put it.
const DOTNET: [&str; 3] = ["usr/share/dotnet", "usr/lib/dotnet", "usr/lib64/dotnet"];

/// Where to look. Everything comes from the configuration; nothing is read from the environment.
#[derive(Debug, Clone)]
pub struct Search {
    /// Below which `usr/local/bin`, `usr/bin`, `usr/lib/jvm/*/bin`, the places of .NET and `opt/*/bin`
    /// are looked into: `/`.
    pub root: PathBuf,
    /// Directories named by the operator. They come first, and each may also be a prefix with a
    /// `bin` in it.
    pub extra: Vec<PathBuf>,
    /// The directories of `PATH`, in its order.
    pub path: Vec<PathBuf>,
    /// The home directory whose `~/.pyenv`, `~/.nvm`, `~/.rbenv`, `~/.sdkman` and `~/.dotnet` are looked
    /// into.
    pub home: Option<PathBuf>,
    /// The data directory: our clients and what we remember go to `runtimes` in it.
    pub data_dir: PathBuf,
}

impl Default for Search {
    fn default() -> Self {
        Self {
            root: "/".into(),
            extra: Vec::new(),
            path: Vec::new(),
            home: None,
            data_dir: PathBuf::new(),
        }
    }
}

/// A file that may be an interpreter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) family: Family,
    pub(super) path: PathBuf,
}

impl Search {
    /// Candidates, the preferred one of several alike first; at most [`limits::CANDIDATES`].
    pub(super) fn candidates(&self) -> Vec<Candidate> {
        let names = program_names();
        let mut found: Vec<Candidate> = Vec::new();
        for directory in self.directories() {
            for (family, name) in &names {
                let Some(path) = program(&directory.join(name), name) else { continue };
                if found.iter().any(|known| known.path == path) {
                    continue;
                }
                if found.len() == limits::CANDIDATES {
                    tracing::warn!(
                        limit = limits::CANDIDATES,
                        "too many interpreters; rest unseen"
                    );
                    return found;
                }
                found.push(Candidate { family: *family, path });
            }
        }
        found
    }

    /// The first program of a name, in the same places.
    pub(super) fn find(&self, name: &str) -> Option<PathBuf> {
        self.directories().into_iter().map(|place| place.join(name)).find(|path| path.is_file())
    }

    fn directories(&self) -> Vec<PathBuf> {
        let mut all = Vec::new();
        for extra in &self.extra {
            all.extend([extra.clone(), extra.join("bin")]);
        }
        all.extend(self.path.iter().filter(|path| !is_shims(path)).cloned());
        all.extend([self.root.join("usr/local/bin"), self.root.join("usr/bin")]);
        all.extend(bins_below(&self.root.join("usr/lib/jvm")));
        all.extend(DOTNET.iter().map(|place| self.root.join(place)));
        all.extend(bins_below(&self.root.join("opt")));
        if let Some(home) = &self.home {
            all.extend(bins_below(&home.join(".pyenv/versions")));
            all.extend(bins_below(&home.join(".nvm/versions/node")));
            all.extend(bins_below(&home.join(".rbenv/versions")));
            all.extend(bins_below(&home.join(".sdkman/candidates/java")));
            all.push(home.join(".dotnet"));
        }
        all.retain(|directory| directory.is_absolute());
        all
    }
}

/// The file behind a name, so that each is asked once; links that are named otherwise (launchers
/// that go by the name they are called with) are left as they are.
fn program(path: &Path, name: &str) -> Option<PathBuf> {
    if !path.is_file() {
        return None;
    }
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let target = path.canonicalize().ok()?;
    let is_alike = target.file_name().is_some_and(|it| it.to_string_lossy().starts_with(stem));
    Some(if is_alike { target } else { path.to_owned() })
}

/// Shell scripts in front of interpreters that are found elsewhere anyway.
fn is_shims(directory: &Path) -> bool {
    directory.file_name().is_some_and(|name| name == "shims")
}

/// `*/bin` below a directory, newest-looking names first.
fn bins_below(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.sort_by_cached_key(|name| std::cmp::Reverse(numbers(&name.to_string_lossy())));
    names.into_iter().map(|name| directory.join(name).join("bin")).collect()
}

/// The numbers in a name, so that 3.12.10 comes after 3.12.9.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// How interpreters are called.
pub(super) fn program_names() -> Vec<(Family, String)> {
    let versioned = IDENTIFIERS
        .iter()
        .filter(|known| matches!(known.family, Family::Python | Family::Ruby))
        .map(|known| (known.family, known.name.to_owned()));
    let plain = [
        (Family::Dotnet, "dotnet"),
        (Family::Java, "java"),
        (Family::Nodejs, "node"),
        (Family::Python, "python3"),
        (Family::Ruby, "ruby"),
    ];
    versioned.chain(plain.map(|(family, name)| (family, name.to_owned()))).collect()
}
