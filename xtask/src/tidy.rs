//! `cargo xtask tidy`: the rules of the house that neither rustc nor clippy nor rustfmt knows.
//!
//! Every rule looks at the whole tree and lists what it finds; all findings are shown at once, as
//! `path:line: rule: text`. The same check runs as a test of this package, so that `cargo test` finds them, too.
//!
//! | file | rules |
//! |---|---|
//! | `rust.rs` | headers, sizes, functions, `unsafe`, operation names, unfinished work |
//! | `floors.rs` | which crate may depend on which |
//! | `dependencies.rs` | dependencies that nothing uses |
//! | `text.rs` | white space, names, machine paths, documents |

mod dependencies;
mod floors;
mod lexer;
mod rust;
#[cfg(test)]
mod tests;
mod text;

use std::{fmt, fs, path::Path, process::Command};

use crate::Result;

/// A file of the tree. Files that are not UTF-8 have an empty text.
#[derive(Debug)]
pub(crate) struct File {
    /// Its path from the root, with slashes.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
}

impl File {
    /// Whether the path has this extension.
    fn has_extension(&self, extensions: &[&str]) -> bool {
        self.path.rsplit_once('.').is_some_and(|(_, extension)| extensions.contains(&extension))
    }

    /// Whether `cargo xtask codegen` writes it.
    fn is_generated(&self) -> bool {
        self.path.starts_with("crates/api/src/generated/")
    }

    /// Whether all of it is test code.
    fn is_test(&self) -> bool {
        let in_tests =
            self.path.split('/').any(|part| part == "tests" || part == "tests.rs" || part == "e2e");
        in_tests || self.path.starts_with("crates/testkit/")
    }

    /// The line, from 1, of a byte offset.
    fn line(&self, offset: usize) -> usize {
        1 + self.text.as_bytes()[..offset].iter().filter(|&&byte| byte == b'\n').count()
    }

    fn finding(&self, line: usize, text: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line, text: text.into() }
    }
}

/// A place where a rule does not hold.
#[derive(Debug)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    text: String,
}

/// A rule, which looks at all files.
struct Rule {
    name: &'static str,
    check: fn(&[File]) -> Vec<Finding>,
}

const RULES: &[Rule] = &[
    Rule { name: "header", check: rust::header },
    Rule { name: "file-size", check: rust::file_size },
    Rule { name: "function-size", check: rust::function_size },
    Rule { name: "unsafe", check: rust::unsafe_code },
    Rule { name: "operation-name", check: rust::operation_names },
    Rule { name: "unfinished", check: rust::unfinished },
    Rule { name: "floors", check: floors::edges },
    Rule { name: "pure", check: floors::pure },
    Rule { name: "unused-dependency", check: dependencies::unused },
    Rule { name: "white-space", check: text::white_space },
    Rule { name: "machine-path", check: text::machine_paths },
    Rule { name: "name", check: text::names },
    Rule { name: "architecture", check: text::architecture },
    Rule { name: "decisions", check: text::decisions },
    Rule { name: "clippy-reason", check: text::clippy_reasons },
];

/// Runs the command.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    if let Some(argument) = arguments.first() {
        return Err(format!("unknown argument `{argument}`").into());
    }
    let files = tree(root)?;
    let findings = check(&files);
    if findings.is_empty() {
        println!("tidy: {} files, {} rules", files.len(), RULES.len());
        return Ok(());
    }
    Err(format!("{} findings\n{}", findings.len(), findings.join("\n")).into())
}

/// Everything that any rule finds, sorted by place.
fn check(files: &[File]) -> Vec<String> {
    let mut findings: Vec<(Finding, &str)> = Vec::new();
    for rule in RULES {
        findings.extend((rule.check)(files).into_iter().map(|finding| (finding, rule.name)));
    }
    findings.sort_by(|(a, _), (b, _)| (&a.path, a.line).cmp(&(&b.path, b.line)));
    findings.into_iter().map(|(finding, rule)| Labelled { finding, rule }.to_string()).collect()
}

struct Labelled<'a> {
    finding: Finding,
    rule: &'a str,
}

impl fmt::Display for Labelled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { path, line, text } = &self.finding;
        write!(f, "{path}:{line}: {}: {text}", self.rule)
    }
}

/// The files that git knows or would add.
fn tree(root: &Path) -> Result<Vec<File>> {
    let output = Command::new("git")
        .arg("-C")
        .arg(root)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"])
        .output()
        .map_err(|e| format!("git does not start: {e}"))?;
    if !output.status.success() {
        return Err(format!("git ls-files: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let listed = String::from_utf8(output.stdout)?;
    let mut files = Vec::new();
    for path in listed.split_terminator('\0') {
        // A file that is deleted and not yet committed is still listed.
        let Ok(bytes) = fs::read(root.join(path)) else { continue };
        files.push(File {
            path: path.to_owned(),
            text: String::from_utf8(bytes).unwrap_or_default(),
        });
    }
    Ok(files)
}
