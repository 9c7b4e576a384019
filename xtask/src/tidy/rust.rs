//! Rules for Rust sources.

use std::collections::BTreeSet;

use super::{
    File, Finding,
    lexer::{self, Lexed, lex},
};

const CODE_LINES_MAX: usize = 800;
const FILE_BYTES_MAX: usize = 256 * 1024;
const FUNCTION_LINES_MAX: usize = 120;
/// The comment above a function that is a table in the form of code.
const TABLE: &str = "// tidy: table";
/// Where `unsafe` may stand: running hostile code takes system calls.
const UNSAFE_CRATES: &[&str] = &["crates/sandbox/", "crates/jailer/"];
/// Where operations are named: the constants, and what writes them.
const NAMING: &[&str] = &["crates/api/", "xtask/src/codegen/"];

fn sources(files: &[File]) -> impl Iterator<Item = &File> {
    files.iter().filter(|file| file.has_extension(&["rs"]))
}

/// Every file starts by saying what it is.
pub(crate) fn header(files: &[File]) -> Vec<Finding> {
    sources(files)
        .filter(|file| !file.text.starts_with("//! "))
        .map(|file| file.finding(1, "starts without `//!` that says what it is"))
        .collect()
}

/// Files can be held in the head, and in the review tool.
pub(crate) fn file_size(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in sources(files) {
        if file.text.len() > FILE_BYTES_MAX {
            let text = format!("{} bytes, at most {FILE_BYTES_MAX}", file.text.len());
            findings.push(file.finding(1, text));
        }
        let lines = lex(&file.text).code.lines().filter(|line| !line.trim().is_empty()).count();
        if lines > CODE_LINES_MAX && !file.is_generated() {
            findings
                .push(file.finding(1, format!("{lines} lines of code, at most {CODE_LINES_MAX}")));
        }
    }
    findings
}

/// Functions are short, but for tables.
pub(crate) fn function_size(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in sources(files) {
        let lexed = lex(&file.text);
        for (name, start, end) in functions(&lexed) {
            let (first, last) = (file.line(start), file.line(end - 1));
            let lines = last - first + 1;
            if lines > FUNCTION_LINES_MAX && !is_table(file, first) {
                findings.push(file.finding(
                    first,
                    format!("`{name}` has {lines} lines, at most {FUNCTION_LINES_MAX}"),
                ));
            }
        }
    }
    findings
}

/// Name, start and end of each function with a body.
fn functions(lexed: &Lexed) -> Vec<(String, usize, usize)> {
    let mut functions = Vec::new();
    for start in lexed.words("fn") {
        let rest = lexed.code[start + 2..].trim_start();
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if name.is_empty() {
            // A function pointer's type.
            continue;
        }
        if let (end, Some(_)) = lexed.item_end(start) {
            functions.push((name, start, end));
        }
    }
    functions
}

/// Whether the comments and attributes above a line have the exemption.
fn is_table(file: &File, line: usize) -> bool {
    let lines: Vec<&str> = file.text.lines().take(line - 1).collect();
    let above = lines.iter().rev().map(|line| line.trim());
    above
        .take_while(|line| line.starts_with("//") || line.starts_with('#'))
        .any(|line| line == TABLE)
}

/// `unsafe` stands in two crates alone.
pub(crate) fn unsafe_code(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in sources(files) {
        if UNSAFE_CRATES.iter().any(|allowed| file.path.starts_with(allowed)) {
            continue;
        }
        for offset in lex(&file.text).words("unsafe") {
            findings
                .push(file.finding(file.line(offset), "`unsafe` outside of sandbox and jailer"));
        }
    }
    findings
}

/// An operation is named once: no string literal outside the generated crate equals an operation's name.
pub(crate) fn operation_names(files: &[File]) -> Vec<Finding> {
    let names: BTreeSet<String> = sources(files)
        .filter(|file| file.is_generated() && file.path.ends_with("/operations.rs"))
        .flat_map(|file| declared(&file.text))
        .collect();
    let mut findings = Vec::new();
    for file in sources(files) {
        if file.is_test() || NAMING.iter().any(|allowed| file.path.starts_with(allowed)) {
            continue;
        }
        let lexed = lex(&file.text);
        for (offset, literal) in &lexed.strings {
            if names.contains(literal) && !lexed.in_tests(*offset) {
                let text = format!(
                    "the operation `{literal}` is named by a literal; take it from its constant"
                );
                findings.push(file.finding(file.line(*offset), text));
            }
        }
    }
    findings
}

fn declared(operations: &str) -> Vec<String> {
    let name =
        |line: &str| line.trim().strip_prefix("name: \"")?.strip_suffix("\",").map(str::to_owned);
    operations.lines().filter_map(name).collect()
}

/// What is not done is not marked in the source; it is an issue. (The words are split, for this file is read, too.)
pub(crate) fn unfinished(files: &[File]) -> Vec<Finding> {
    const WORDS: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    const CODE: &[&str] = &["#[ignore", "todo!", "unimplemented!"];
    let mut findings = Vec::new();
    for file in files {
        if !file.has_extension(&[
            "rs", "py", "js", "mjs", "cjs", "ts", "sh", "toml", "yml", "yaml", "html", "css", "md",
        ]) {
            continue;
        }
        let text = if file.has_extension(&["md"]) {
            without_code_spans(&file.text)
        } else {
            file.text.clone()
        };
        for word in WORDS {
            for offset in lexer::words(&text, word) {
                findings.push(file.finding(file.line(offset), format!("`{word}`")));
            }
        }
        if file.has_extension(&["rs"]) {
            let code = lex(&file.text).code;
            for mark in CODE {
                let found = code.match_indices(mark);
                findings.extend(
                    found.map(|(offset, _)| file.finding(file.line(offset), format!("`{mark}`"))),
                );
            }
        }
    }
    findings
}

/// A document may speak of a word in backticks. Same length, same lines.
fn without_code_spans(text: &str) -> String {
    let mut inside = false;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        inside = match c {
            '`' => !inside,
            '\n' => false,
            _ => inside,
        };
        if inside { out.extend(std::iter::repeat_n(' ', c.len_utf8())) } else { out.push(c) }
    }
    out
}
