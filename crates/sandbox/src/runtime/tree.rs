//! Java and .NET: what is installed, read from the files of an installation.
//!
//! Source: a JDK or JRE since 7 carries a file `release` with a line `JAVA_VERSION="17.0.15"`; a .NET
//! installation has its runtimes in `shared/Microsoft.NETCore.App/VERSION`, several beside one another.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::identifier::Family;
use super::limits;
use super::probe::Interpreter;
use super::search::Candidate;

/// The runtimes of one installation, newest first.
pub(super) fn interpreters(candidate: &Candidate) -> Vec<Interpreter> {
    let Ok(program) = fs::canonicalize(&candidate.path) else { return Vec::new() };
    match candidate.family {
        Family::Java => java(program).into_iter().collect(),
        Family::Dotnet => dotnet(&program),
        Family::Nodejs | Family::Provided | Family::Python | Family::Ruby => Vec::new(),
    }
}

fn java(program: PathBuf) -> Option<Interpreter> {
    let tree = program.parent()?.parent()?;
    // A JDK 8 has its virtual machine in `jre`, and says its version one level above.
    let prefix = [Some(tree), tree.parent()]
        .into_iter()
        .flatten()
        .find(|prefix| prefix.join("release").is_file())?;
    let release = read_small(&prefix.join("release"))?;
    let quoted = release.lines().find_map(|line| line.strip_prefix("JAVA_VERSION="))?;
    let version = Family::Java.version(quoted.trim().trim_matches('"'))?;
    let prefix = prefix.to_owned();
    Some(Interpreter { family: Family::Java, version, program, prefix })
}

fn dotnet(program: &Path) -> Vec<Interpreter> {
    let Some(prefix) = program.parent() else { return Vec::new() };
    let mut versions: Vec<_> = names(&dotnet_frameworks(prefix))
        .iter()
        // A preview's name goes on with `-preview`; it is no release.
        .filter(|name| !name.contains('-'))
        .filter_map(|name| Family::Dotnet.version(name))
        .collect();
    versions.sort_by(|a, b| b.cmp(a));
    let found = |version| Interpreter {
        family: Family::Dotnet,
        version,
        program: program.to_owned(),
        prefix: prefix.to_owned(),
    };
    versions.into_iter().map(found).collect()
}

/// Where the runtimes of a .NET installation are, each in a directory that is called as its version.
pub(super) fn dotnet_frameworks(prefix: &Path) -> PathBuf {
    prefix.join("shared/Microsoft.NETCore.App")
}

/// The names in a directory, at most [`limits::CANDIDATES`]; none where it cannot be read.
pub(super) fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries
        .flatten()
        .take(limits::CANDIDATES)
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

fn read_small(file: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    fs::File::open(file).ok()?.take(limits::RELEASE_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
