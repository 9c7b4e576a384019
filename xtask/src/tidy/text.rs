//! Rules for every text: white space, names, and documents that have to stay true.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::{File, Finding};

const TEXT: &[&str] = &[
    "rs", "toml", "md", "py", "js", "mjs", "cjs", "ts", "sh", "yml", "yaml", "json", "html", "css",
    "vtl",
];

/// Words that say nothing of what a thing is.
const EMPTY_NAMES: &[&str] = &["util", "utils", "helper", "helpers", "manager", "managers", "misc"];

/// No white space at line ends, and a line end at the end. Goldens are bytes and exempt.
pub(crate) fn white_space(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        if !file.has_extension(TEXT) || file.path.split('/').any(|part| part == "golden") {
            continue;
        }
        for (i, line) in file.text.split('\n').enumerate() {
            if line.ends_with([' ', '\t', '\r']) {
                findings.push(file.finding(i + 1, "white space at the end of the line"));
            }
        }
        if !file.text.is_empty() && !file.text.ends_with('\n') {
            findings.push(
                file.finding(file.line(file.text.len()), "no line end at the end of the file"),
            );
        }
    }
    findings
}

/// No path of the machine on which somebody wrote it. (The paths are split, for this file is read, too.)
pub(crate) fn machine_paths(files: &[File]) -> Vec<Finding> {
    const ROOTS: &[&str] = &[concat!("/ho", "me/"), concat!("/Us", "ers/"), concat!("/wo", "rk/")];
    /// The home that AWS gives to a function's user.
    const FUNCTION_HOME: &str = "sbx_user";
    let mut findings = Vec::new();
    for file in files {
        for root in ROOTS {
            for (offset, _) in file.text.match_indices(root) {
                let before = file.text[..offset].chars().next_back();
                let after = &file.text[offset + root.len()..];
                let absolute =
                    !before.is_some_and(|c| c.is_alphanumeric() || "_-.~*}>".contains(c));
                let named = after.starts_with(|c: char| c.is_alphanumeric() || c == '_');
                if absolute && named && !after.starts_with(FUNCTION_HOME) {
                    let rest: String =
                        after.chars().take_while(|c| !c.is_whitespace()).take(20).collect();
                    findings.push(file.finding(
                        file.line(offset),
                        format!("a path of one machine: {root}{rest}"),
                    ));
                }
            }
        }
    }
    findings
}

/// No file, directory or crate has a name that says nothing.
pub(crate) fn names(files: &[File]) -> Vec<Finding> {
    files
        .iter()
        .filter(|file| file.has_extension(&["rs", "py", "js", "mjs", "cjs", "ts", "toml", "sh"]))
        .filter_map(|file| Some((file, empty_word(&file.path)?)))
        .map(|(file, word)| file.finding(1, format!("`{word}` in a name says nothing")))
        .collect()
}

fn empty_word(path: &str) -> Option<&str> {
    path.split(['/', '.', '_', '-'])
        .find(|word| EMPTY_NAMES.contains(&word.to_ascii_lowercase().as_str()))
}

/// Every path that the architecture names exists.
pub(crate) fn architecture(files: &[File]) -> Vec<Finding> {
    let Some(document) = files.iter().find(|file| file.path == "ARCHITECTURE.md") else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for (i, line) in document.text.lines().enumerate() {
        for span in line.split('`').skip(1).step_by(2) {
            if looks_like_path(span, files) && !exists(span, files) {
                findings.push(document.finding(i + 1, format!("`{span}` does not exist")));
            }
        }
    }
    findings
}

/// A span is a path of ours when it starts at a directory of the root or is the name of a source or document.
fn looks_like_path(span: &str, files: &[File]) -> bool {
    /// Directories that documents name, whether they exist or not.
    const DIRECTORIES: &[&str] =
        &["crates", "xtask", "docs", "examples", "bench", "console", "runtimes", "tests"];
    let plain = |c: char| c.is_ascii_alphanumeric() || "._/-".contains(c);
    if span.is_empty() || span.starts_with(['/', '.', '-']) || !span.chars().all(plain) {
        return false;
    }
    match span.split_once('/') {
        Some((first, _)) => {
            let listed =
                |file: &File| file.path.split_once('/').is_some_and(|(top, _)| top == first);
            DIRECTORIES.contains(&first) || files.iter().any(listed)
        }
        None => [".rs", ".md", ".toml"].iter().any(|extension| span.ends_with(extension)),
    }
}

fn exists(span: &str, files: &[File]) -> bool {
    let span = span.trim_end_matches('/');
    let below = format!("{span}/");
    let name = format!("/{span}");
    files.iter().any(|file| {
        let bare = !span.contains('/') && file.path.ends_with(&name);
        file.path == span || file.path.starts_with(&below) || bare
    })
}

/// Decision records are numbered without gaps and without doubles.
pub(crate) fn decisions(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut numbers = BTreeSet::new();
    for file in files {
        let Some(name) = file.path.strip_prefix("docs/decisions/") else { continue };
        if name == "README.md" {
            continue;
        }
        let digits: String = name.chars().take_while(char::is_ascii_digit).collect();
        let well_formed = digits.len() == 4 && name[4..].starts_with('-') && name.ends_with(".md");
        match digits.parse::<u32>() {
            Ok(number) if well_formed && !numbers.insert(number) => {
                findings.push(file.finding(1, format!("a second decision {digits}")));
            }
            Ok(_) if well_formed => {}
            _ => findings.push(file.finding(1, "not named `NNNN-title.md`")),
        }
    }
    if let (Some(&first), Some(&last)) = (numbers.first(), numbers.last()) {
        for missing in (first.min(1)..last).filter(|number| !numbers.contains(number)) {
            let path = "docs/decisions".to_owned();
            findings.push(Finding {
                path,
                line: 1,
                text: format!("decision {missing:04} is missing"),
            });
        }
    }
    findings
}

/// Every ban of clippy.toml says why.
pub(crate) fn clippy_reasons(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with("clippy.toml")) {
        let table: Table = match file.text.parse() {
            Ok(table) => table,
            Err(error) => {
                findings.push(file.finding(1, format!("no TOML: {error}")));
                continue;
            }
        };
        let bans = table.iter().filter(|(key, _)| key.starts_with("disallowed-"));
        for ban in bans.filter_map(|(_, value)| value.as_array()).flatten() {
            let reason = ban.get("reason").and_then(Value::as_str).unwrap_or_default();
            if reason.trim().is_empty() {
                let path = ban.get("path").unwrap_or(ban).as_str().unwrap_or("?");
                let line = file.text.find(path).map_or(1, |offset| file.line(offset));
                findings.push(file.finding(line, format!("the ban of `{path}` gives no reason")));
            }
        }
    }
    findings
}
