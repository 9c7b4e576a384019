//! Runtimes: which language versions this machine can run, and what a sandbox needs to run each.
//!
//! A [`Pack`] is an interpreter found on the host together with our runtime client. [`Runtimes`] is
//! what discovery found; it is asked once per function start and never touches the disk again. An
//! interpreter that is not there is not replaced silently: the caller chooses [`Fallback`] and gets
//! a [`Warning`] to log. This module starts no customer code; it runs interpreters only to ask them
//! their version.

mod added;
mod build;
mod client;
mod identifier;
pub mod limits;
mod pack;
mod probe;
mod search;
#[cfg(test)]
mod tests;
mod tree;
mod working_directory;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

pub use added::{AddError, add, remove};
use build::Build;
pub use build::BuildError;
pub use identifier::{Family, IDENTIFIERS, Identifier, Version};
pub use pack::{Pack, Parkable};
pub use search::Search;

/// Why discovery could not be carried out. An interpreter that does not answer is no error; it is
/// left out and logged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The runtime clients could not be written below the data directory.
    #[error("cannot write the runtime client to {path}")]
    Install {
        /// The file or directory at fault.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// What to do when the exact version is not on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// Refuse. For production.
    No,
    /// Take the nearest version of the same language. For development only.
    Nearest,
}

/// Another version runs than the function asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The runtime identifier that was asked for.
    pub requested: String,
    /// The interpreter that runs instead, such as `python3.11`.
    pub used: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not installed here; {} runs in its place", self.requested, self.used)
    }
}

/// The identifiers that need no interpreter.
const PROVIDED: [&str; 2] = ["provided.al2", "provided.al2023"];

/// No interpreter on this machine can run the runtime that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("runtime {requested} is not installed; installed are: {}", list(.installed))]
pub struct NoSuchRuntime {
    /// The runtime identifier that was asked for.
    pub requested: String,
    /// The identifiers that can run, oldest first, families together.
    pub installed: Vec<String>,
}

fn list(installed: &[String]) -> String {
    if installed.is_empty() { "none".to_owned() } else { installed.join(", ") }
}

/// The runtimes of this machine. Cheap to clone; immutable.
#[derive(Debug, Clone, Default)]
pub struct Runtimes {
    /// What is installed, by version.
    packs: Arc<BTreeMap<(Family, Version), Arc<Pack>>>,
    /// What needs no interpreter: `provided.al2` and its like.
    provided: Arc<Vec<Arc<Pack>>>,
    /// For every known identifier without an interpreter: the nearest one under that name.
    nearest: Arc<BTreeMap<&'static str, (Arc<Pack>, Warning)>>,
}

impl Runtimes {
    /// Looks for interpreters and writes our clients below `search.data_dir`.
    ///
    /// Blocks for as long as the slowest new interpreter takes to say its version, at most
    /// [`limits::PROBE`]; what earlier starts learned is remembered in the data directory.
    ///
    /// # Errors
    /// When the clients cannot be written.
    pub fn discover(search: &Search) -> Result<Self, Error> {
        let root = search.data_dir.join("runtimes");
        let clients = client::install(&root)?;
        let found = probe::interpreters(search, &root);
        client::compile(&clients, &found);
        let added = added::all(&search.data_dir);
        let mut javas = found.clone();
        javas.extend(added.iter().map(|one| one.interpreter.clone()));
        let java = clients.get(&Family::Java).and_then(|client| Build::java(client, &javas));
        let mut packs = BTreeMap::new();
        let named = added.iter().map(|one| (Some(one.identifier), &one.interpreter));
        // What the operator added goes before what is found.
        for (identifier, interpreter) in named.chain(found.iter().map(|one| (None, one))) {
            let Some(client) = clients.get(&interpreter.family) else { continue };
            let (needs_build, build) = match interpreter.family {
                Family::Java => (true, java.clone()),
                Family::Dotnet => (true, Build::dotnet(client, interpreter, search)),
                Family::Nodejs | Family::Provided | Family::Python | Family::Ruby => (false, None),
            };
            if needs_build && build.is_none() {
                tracing::warn!(program = %interpreter.program.display(),
                    "left out: this machine has no compiler (javac, mcs or a .NET SDK) for its client");
                continue;
            }
            let pack = Pack::new(interpreter, &clients, build);
            let (release, pack) = match identifier {
                Some(identifier) => (identifier.version, pack.named(identifier)),
                None => (interpreter.version.release(), pack),
            };
            packs.entry((interpreter.family, release)).or_insert_with(|| Arc::new(pack));
        }
        Ok(Self::from_packs(packs))
    }

    fn from_packs(packs: BTreeMap<(Family, Version), Arc<Pack>>) -> Self {
        let mut nearest = BTreeMap::new();
        for identifier in IDENTIFIERS {
            let wanted = (identifier.family, identifier.version);
            if packs.contains_key(&wanted) {
                continue;
            }
            let candidates = packs.iter().filter(|((family, _), _)| *family == wanted.0);
            let closest = candidates.min_by_key(|((_, version), _)| wanted.1.distance(*version));
            if let Some((_, pack)) = closest {
                let used = pack.name.clone();
                let warning = Warning { requested: identifier.name.to_owned(), used };
                nearest.insert(identifier.name, (Arc::new(pack.named(identifier)), warning));
            }
        }
        let provided = PROVIDED.iter().map(|name| Arc::new(Pack::provided(name))).collect();
        Self { packs: Arc::new(packs), provided: Arc::new(provided), nearest: Arc::new(nearest) }
    }

    /// The pack for a runtime identifier such as `python3.12`.
    ///
    /// With [`Fallback::Nearest`] a version that is not installed is replaced by the nearest of its
    /// language (the newer of two equally near), and the warning says so; the pack then carries the
    /// requested name and `AWS_EXECUTION_ENV`.
    ///
    /// # Errors
    /// When nothing installed may run it; the error names what is.
    pub fn resolve(
        &self,
        name: &str,
        fallback: Fallback,
    ) -> Result<(Arc<Pack>, Option<Warning>), NoSuchRuntime> {
        let mut packs = self.packs.values().chain(self.provided.iter());
        if let Some(pack) = packs.find(|pack| pack.name == name) {
            return Ok((Arc::clone(pack), pack.stands_in()));
        }
        match (fallback, self.nearest.get(name)) {
            (Fallback::Nearest, Some((pack, warning))) => {
                Ok((Arc::clone(pack), Some(warning.clone())))
            }
            _ => Err(NoSuchRuntime { requested: name.to_owned(), installed: self.names() }),
        }
    }

    /// Every interpreter, families together, oldest version first.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Pack>> {
        self.packs.values().cloned().collect()
    }

    fn names(&self) -> Vec<String> {
        self.packs.values().map(|pack| pack.name.clone()).collect()
    }
}
