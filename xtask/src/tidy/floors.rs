//! Which crate may depend on which. `ARCHITECTURE.md` explains; this table decides.

use toml::{Table, Value};

use super::{File, Finding, lexer::lex};

/// The crates of each floor, from the ground up. A crate may depend on crates of lower floors.
const FLOORS: &[&[&str]] = &[
    &["wire", "api", "iam", "pattern", "template", "meter"],
    &["store", "jailer", "sandbox", "image", "aws"],
    &["lambda", "logs", "metrics", "identity", "s3", "dynamodb", "sqs", "states"],
    &["gateway", "events"],
    &["server"],
];

/// Edges within a floor, each with its reason.
const SIDEWAYS: &[(&str, &str, &str)] = &[
    ("api", "wire", "the generated constants are values of wire's types"),
    ("sandbox", "jailer", "the sandbox starts the jailer and shares its request format"),
];

/// Crates of development: product crates may use them in tests only.
const DEVELOPMENT: &[&str] = &["testkit", "e2e"];

/// What would give the ground floor a clock, randomness, files or sockets.
const IMPURE: &[&str] = &[
    "tokio",
    "redb",
    "rustix",
    "getrandom",
    "libc",
    "socket2",
    "hyper",
    "hyper-util",
    "mio",
    "tempfile",
];

/// Paths of the standard library by which sources would read the outer world.
const OUTSIDE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "SystemTime",
    "Instant::now",
];

const PREFIX: &str = "gatemill-";

struct Manifest<'a> {
    file: &'a File,
    /// The directory's name, which is the package's without the prefix.
    name: &'a str,
    table: Table,
}

/// One dependency of a manifest.
#[derive(Debug)]
pub(crate) struct Edge {
    /// What it is called in the manifest and the sources.
    pub(crate) name: String,
    package: String,
    for_tests: bool,
}

/// Dependencies point down, packages are named as their directories, and every crate has a floor.
pub(crate) fn edges(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.path == "xtask/Cargo.toml") {
        for edge in file.text.parse::<Table>().map(|table| dependencies(&table)).unwrap_or_default()
        {
            if edge.package.starts_with(PREFIX) {
                let text = format!("xtask depends on `{}` and would build slowly", edge.package);
                findings.push(file.finding(line_of(file, &edge.package), text));
            }
        }
    }
    for manifest in manifests(files, &mut findings) {
        let Manifest { file, name, table } = &manifest;
        let package =
            table.get("package").and_then(|package| package.get("name")).and_then(Value::as_str);
        if package != Some(&format!("{PREFIX}{name}")) && *name != "server" {
            findings.push(
                file.finding(1, format!("the package in crates/{name} is not `{PREFIX}{name}`")),
            );
        }
        let known = floor(name).is_some() || DEVELOPMENT.contains(name);
        if !known {
            findings.push(
                file.finding(
                    1,
                    format!("`{name}` has no floor; a new crate needs a decision record"),
                ),
            );
            continue;
        }
        for edge in dependencies(table) {
            let Some(target) = edge.package.strip_prefix(PREFIX) else { continue };
            if let Some(text) = refusal(name, target, edge.for_tests) {
                findings.push(file.finding(line_of(file, &edge.package), text));
            }
        }
    }
    findings
}

/// The ground floor has nothing that reads the outer world: no dependency, and no path of the standard library.
pub(crate) fn pure(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for manifest in manifests(files, &mut Vec::new()) {
        if floor(manifest.name) != Some(0) {
            continue;
        }
        for edge in dependencies(&manifest.table) {
            if !edge.for_tests && IMPURE.contains(&edge.package.as_str()) {
                let text = format!("`{}` on the ground floor, which is pure", edge.package);
                findings.push(manifest.file.finding(line_of(manifest.file, &edge.package), text));
            }
        }
        let sources = format!("crates/{}/src/", manifest.name);
        for file in files.iter().filter(|file| file.path.starts_with(&sources) && !file.is_test()) {
            findings.extend(reads_outside(file));
        }
    }
    findings
}

fn reads_outside(file: &File) -> Vec<Finding> {
    let lexed = lex(&file.text);
    let mut findings = Vec::new();
    for path in OUTSIDE {
        for (offset, _) in lexed.code.match_indices(path).filter(|(at, _)| !lexed.in_tests(*at)) {
            let text = format!("`{path}` on the ground floor, which is pure");
            findings.push(file.finding(file.line(offset), text));
        }
    }
    findings
}

/// Why `from` may not depend on `to`, if so.
fn refusal(from: &str, to: &str, for_tests: bool) -> Option<String> {
    // In its tests, a crate may use itself with other features.
    if DEVELOPMENT.contains(&from) || (for_tests && (DEVELOPMENT.contains(&to) || from == to)) {
        return None;
    }
    if DEVELOPMENT.contains(&to) {
        return Some(format!("`{to}` is for tests; `{from}` may have it in dev-dependencies only"));
    }
    let (Some(lower), Some(upper)) = (floor(to), floor(from)) else {
        return Some(format!("`{to}` has no floor; a new crate needs a decision record"));
    };
    let allowed = SIDEWAYS.iter().any(|(a, b, _)| *a == from && *b == to);
    if lower < upper || allowed {
        return None;
    }
    let direction = if lower == upper { "sideways" } else { "up" };
    Some(format!("`{from}` on floor {upper} depends {direction} on `{to}` on floor {lower}"))
}

fn floor(name: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&name))
}

fn manifests<'a>(files: &'a [File], findings: &mut Vec<Finding>) -> Vec<Manifest<'a>> {
    let mut manifests = Vec::new();
    for file in files {
        let inner =
            file.path.strip_prefix("crates/").and_then(|path| path.strip_suffix("/Cargo.toml"));
        let Some(name) = inner.filter(|name| !name.contains('/')) else { continue };
        match file.text.parse() {
            Ok(table) => manifests.push(Manifest { file, name, table }),
            Err(error) => findings.push(file.finding(1, format!("no manifest: {error}"))),
        }
    }
    manifests
}

/// All dependencies of a manifest, those for one platform, too.
pub(crate) fn dependencies(table: &Table) -> Vec<Edge> {
    const TABLES: &[(&str, bool)] =
        &[("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)];
    let mut edges = Vec::new();
    let platforms =
        table.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
    for place in std::iter::once(table).chain(platforms.filter_map(Value::as_table)) {
        for (kind, for_tests) in TABLES {
            let Some(dependencies) = place.get(*kind).and_then(Value::as_table) else { continue };
            for (name, value) in dependencies {
                let package =
                    value.get("package").and_then(Value::as_str).unwrap_or(name).to_owned();
                edges.push(Edge { name: name.clone(), package, for_tests: *for_tests });
            }
        }
    }
    edges
}

/// The line that names a dependency; the package's own name stands above the first table of dependencies.
fn line_of(file: &File, dependency: &str) -> usize {
    let tables = file.text.find("dependencies").unwrap_or(0);
    file.text[tables..].find(dependency).map_or(1, |offset| file.line(tables + offset))
}
