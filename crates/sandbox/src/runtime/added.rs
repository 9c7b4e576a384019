//! Runtimes that the operator added: interpreter trees, copied below the data directory under the
//! identifier that they serve.
//!
//! A tree is a language's own folder (`bin/python3.12`, `bin/java`, `dotnet`) or the root of a system
//! that has one in the usual places, such as a container image; of a system, the language's folder is kept. It is asked what it is once, when it is added; a line of text
//! beside it says so from then on. An added runtime goes before one that was found on the machine, and
//! may serve an identifier of its language that is not its own version's: the operator said so.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::identifier::{Family, IDENTIFIERS, Identifier};
use super::limits;
use super::probe::{self, Interpreter};
use super::search::{Candidate, program_names};
use super::tree;

/// Where programs are below a tree, the nearest first.
const PLACES: [&str; 9] = [
    "",
    "bin",
    "var/lang/bin",
    "usr/local/bin",
    "usr/bin",
    "jre/bin",
    "usr/share/dotnet",
    "usr/lib/dotnet",
    "usr/lib64/dotnet",
];

const TREE: &str = "tree";
/// What is kept of a tree, for a moment.
const KEPT: &str = "kept";
const DESCRIPTION: &str = "runtime";

/// Why a runtime could not be added or removed.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// The identifier is none that our clients serve.
    #[error("there is no runtime {name}; there are: {}", known())]
    UnknownName {
        /// What was given.
        name: String,
    },
    /// The folder has no interpreter of that language.
    #[error("{} has no interpreter of the language of {name}", .path.display())]
    NoInterpreter {
        /// The identifier.
        name: String,
        /// The folder.
        path: PathBuf,
    },
    /// The tree has more in it than a runtime has.
    #[error(
        "{} is larger than a runtime may be ({} GiB, {} files)",
        .path.display(), limits::ADDED_BYTES >> 30, limits::ADDED_FILES
    )]
    TooLarge {
        /// The folder.
        path: PathBuf,
    },
    /// Nothing was added under that name.
    #[error("no runtime {name} was added")]
    NotAdded {
        /// What was given.
        name: String,
    },
    /// A file could not be read or written.
    #[error("cannot copy {}", .path.display())]
    Io {
        /// The file or directory at fault.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn known() -> String {
    IDENTIFIERS.iter().map(|known| known.name).collect::<Vec<_>>().join(", ")
}

/// A runtime that was added.
#[derive(Debug, Clone)]
pub(super) struct Added {
    pub(super) identifier: &'static Identifier,
    pub(super) interpreter: Interpreter,
}

fn directory(data_dir: &Path) -> PathBuf {
    data_dir.join("runtimes/added")
}

/// All that were added and are still whole, in the order of their names.
pub(super) fn all(data_dir: &Path) -> Vec<Added> {
    let root = directory(data_dir);
    let names: BTreeSet<_> = tree::names(&root).into_iter().collect();
    let read = |name: &String| {
        let identifier = IDENTIFIERS.iter().find(|known| known.name == *name)?;
        let place = root.join(name);
        let interpreter = read(&place);
        if interpreter.is_none() {
            tracing::warn!(runtime = %place.display(), "an added runtime is damaged; it is left out");
        }
        Some(Added { identifier, interpreter: interpreter? })
    };
    names.iter().filter_map(read).collect()
}

/// The interpreter that a line beside its tree tells of.
fn read(place: &Path) -> Option<Interpreter> {
    let place = fs::canonicalize(place).ok()?;
    let line = fs::read_to_string(place.join(DESCRIPTION)).ok()?;
    let fields: Vec<&str> = line.trim_end_matches('\n').split('\t').collect();
    let [family, version, program, prefix] = fields[..] else { return None };
    let family = Family::ALL.into_iter().find(|known| known.name() == family)?;
    let version = family.version(version)?;
    let tree = place.join(TREE);
    let (program, prefix) = (tree.join(program), tree.join(prefix));
    program.is_file().then_some(Interpreter { family, version, program, prefix })
}

/// Copies the tree at `path` and makes it the runtime `name` from the next start on, in place of what
/// had the name before. Blocks for as long as the copy takes.
///
/// # Errors
/// When the name is unknown, or the tree has no such interpreter or cannot be copied.
pub fn add(data_dir: &Path, name: &str, path: &Path) -> Result<String, AddError> {
    let identifier = IDENTIFIERS
        .iter()
        .find(|known| known.name == name)
        .ok_or_else(|| AddError::UnknownName { name: name.to_owned() })?;
    let root = std::path::absolute(directory(data_dir)).map_err(at(data_dir))?;
    let fresh = root.join(format!(".new-{}", std::process::id()));
    let added = make(identifier, path, &fresh, &root.join(name));
    if added.is_err() {
        // Half a copy is of no use; that it stays is not the error to tell.
        let _ = remove_tree(&fresh);
    }
    added
}

fn make(
    identifier: &Identifier,
    path: &Path,
    fresh: &Path,
    place: &Path,
) -> Result<String, AddError> {
    remove_tree(fresh)?;
    let tree = fresh.join(TREE);
    fs::create_dir_all(fresh).map_err(at(fresh))?;
    readable(fresh)?;
    Copy { files: limits::ADDED_FILES, bytes: limits::ADDED_BYTES }.tree(path, &tree)?;
    let found = interpreter(identifier, &tree).ok_or_else(|| AddError::NoInterpreter {
        name: identifier.name.to_owned(),
        path: path.to_owned(),
    })?;
    let Interpreter { family, version, program, prefix } = &found;
    let below = program.strip_prefix(prefix).unwrap_or(program).display();
    let line = format!("{}\t{version}\t{below}\t\n", family.name());
    keep_only(prefix, &tree, &fresh.join(KEPT))?;
    let description = fresh.join(DESCRIPTION);
    fs::write(&description, line).map_err(at(&description))?;
    remove_tree(place)?;
    fs::rename(fresh, place).map_err(at(place))?;
    Ok(found.family.identifier(found.version))
}

/// Of a system's root, its interpreter's folder is all that sandboxes are going to see.
fn keep_only(prefix: &Path, tree: &Path, aside: &Path) -> Result<(), AddError> {
    let tree = fs::canonicalize(tree).map_err(at(tree))?;
    if prefix == tree {
        return Ok(());
    }
    fs::rename(prefix, aside).map_err(at(prefix))?;
    remove_tree(&tree)?;
    fs::rename(aside, &tree).map_err(at(aside))
}

/// Removes an added runtime. Functions that run keep what they have open.
///
/// # Errors
/// When nothing was added under the name, or it cannot be removed.
pub fn remove(data_dir: &Path, name: &str) -> Result<(), AddError> {
    let place = directory(data_dir).join(name);
    let is_known = IDENTIFIERS.iter().any(|known| known.name == name);
    if !is_known || !place.is_dir() {
        return Err(AddError::NotAdded { name: name.to_owned() });
    }
    remove_tree(&place)
}

/// The tree's interpreter of a language: of the identifier's own release if there are several.
fn interpreter(identifier: &Identifier, tree: &Path) -> Option<Interpreter> {
    let tree = fs::canonicalize(tree).ok()?;
    let mut places: Vec<_> = PLACES.iter().map(|place| tree.join(place)).collect();
    let machines = tree.join("usr/lib/jvm");
    places.extend(tree::names(&machines).iter().map(|name| machines.join(name).join("bin")));
    let mut found = Vec::new();
    for place in places {
        for (family, name) in program_names() {
            let path = place.join(name);
            if family == identifier.family && path.is_file() {
                found.extend(probe::of(&Candidate { family, path }));
            }
        }
    }
    // A link out of the tree leads to another interpreter than the one that was copied.
    found.retain(|one| one.program.starts_with(&tree) && one.prefix.starts_with(&tree));
    let is_own = |one: &&Interpreter| one.version.release() == identifier.version;
    found.iter().find(is_own).or(found.first()).cloned()
}

/// What of a copy's bounds is left.
struct Copy {
    files: u64,
    bytes: u64,
}

impl Copy {
    fn tree(&mut self, from: &Path, to: &Path) -> Result<(), AddError> {
        fs::create_dir(to).map_err(at(to))?;
        readable(to)?;
        let mut waiting = vec![(from.to_owned(), to.to_owned())];
        while let Some((source, target)) = waiting.pop() {
            for entry in fs::read_dir(&source).map_err(at(&source))? {
                let entry = entry.map_err(at(&source))?;
                let (path, copy) = (entry.path(), target.join(entry.file_name()));
                let kind = entry.file_type().map_err(at(&path))?;
                self.count(&path)?;
                if kind.is_dir() {
                    fs::create_dir(&copy).map_err(at(&copy))?;
                    readable(&copy)?;
                    waiting.push((path, copy));
                } else if kind.is_symlink() {
                    let leads = fs::read_link(&path).map_err(at(&path))?;
                    symlink(leads, &copy).map_err(at(&copy))?;
                } else if kind.is_file() {
                    fs::copy(&path, &copy).map_err(at(&copy))?;
                    readable(&copy)?;
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, path: &Path) -> Result<(), AddError> {
        let size = fs::symlink_metadata(path).map_err(at(path))?.len();
        let left = self.files.checked_sub(1).zip(self.bytes.checked_sub(size));
        let Some((files, bytes)) = left else {
            return Err(AddError::TooLarge { path: path.to_owned() });
        };
        (self.files, self.bytes) = (files, bytes);
        Ok(())
    }
}

/// Readable for the functions' users; without the bits that give a program another user.
fn readable(path: &Path) -> Result<(), AddError> {
    let status = fs::metadata(path).map_err(at(path))?;
    let runs = status.is_dir() || status.permissions().mode() & 0o111 != 0;
    let mode = if runs { 0o755 } else { 0o644 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(at(path))
}

fn remove_tree(path: &Path) -> Result<(), AddError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> AddError + use<> {
    let path = path.to_owned();
    |source| AddError::Io { path, source }
}
