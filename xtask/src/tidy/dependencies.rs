//! No dependency that nothing uses: each costs build time, and each is somebody else's code.
//!
//! A dependency counts as used when its name stands in a Rust source of its package. It is not told apart whether
//! the product or only a test uses it.

use toml::{Table, Value};

use super::{File, Finding, floors::dependencies, lexer};

/// Every dependency of a package is named in its sources, every entry of the workspace's table in a manifest.
pub(crate) fn unused(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut used = Vec::new();
    let mut offered = None;
    for file in files.iter().filter(|file| file.path.split('/').next_back() == Some("Cargo.toml")) {
        let Ok(table) = file.text.parse::<Table>() else { continue };
        let package = file.path.trim_end_matches("Cargo.toml");
        for edge in dependencies(&table) {
            if !is_named(files, package, &edge.name) {
                findings.push(file.finding(
                    line_of(file, &edge.name),
                    format!("nothing uses the dependency `{}`", edge.name),
                ));
            }
            used.push(edge.name);
        }
        if let Some(workspace) = table.get("workspace") {
            let names = workspace.get("dependencies").and_then(Value::as_table);
            let names = names.into_iter().flat_map(Table::keys).cloned().collect::<Vec<_>>();
            offered = Some((file, names));
        }
    }
    let (file, names) = match offered {
        Some(offered) => offered,
        None => return findings,
    };
    for name in names.iter().filter(|name| !used.contains(name)) {
        let text = format!("no package uses the dependency `{name}`");
        findings.push(file.finding(line_of(file, name), text));
    }
    findings
}

fn is_named(files: &[File], package: &str, dependency: &str) -> bool {
    let word = dependency.replace('-', "_");
    let of_package = |file: &&File| file.path.starts_with(package) && file.has_extension(&["rs"]);
    files.iter().filter(of_package).any(|file| !lexer::words(&file.text, &word).is_empty())
}

/// The line that starts with the name.
fn line_of(file: &File, name: &str) -> usize {
    let starts =
        |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['.', ' ', '=']));
    file.text.lines().position(starts).map_or(1, |line| line + 1)
}
