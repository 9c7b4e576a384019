//! `cargo xtask members`: every input member of every built operation is read somewhere, or listed as not honoured.
//!
//! Which fields are read only the compiler knows. So it is asked: in a copy of the sources, the fields of the generated
//! input types are marked as deprecated, and the warnings of `cargo check` name each that is used. What is built and
//! what is listed, the binary says (`gatemill operations`). A member that is refused whole may leave those below it unread.
//!
//! That a field is read does not show that it has an effect; the tests of its family do. And a field of a type that answers
//! have as well counts as read where an answer sets it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::{Command, Stdio},
};

use serde::Deserialize;

use crate::Result;

const GENERATED: &str = "crates/api/src/generated";

#[derive(Debug, Deserialize)]
struct Operation {
    service: String,
    operation: String,
    built: bool,
    gaps: Vec<Gap>,
}

#[derive(Debug, Deserialize)]
struct Gap {
    member: String,
    when: String,
}

#[derive(Debug)]
struct Field {
    rust: String,
    wire: String,
    /// The innermost type.
    kind: String,
}

/// The generated types of a service.
#[derive(Debug, Default)]
struct Types {
    structs: BTreeMap<String, Vec<Field>>,
    /// The input type of each operation.
    inputs: BTreeMap<String, String>,
}

/// Finds members that are neither read nor listed, and listed ones that do not exist.
pub(crate) fn run(repository: &Path, arguments: &[String]) -> Result<()> {
    let [binary] = arguments else { return Err("name the binary: target/debug/gatemill".into()) };
    let listed = Command::new(binary).args(["operations", "--format", "json"]).output()?;
    let operations: Vec<Operation> = serde_json::from_slice(&listed.stdout)?;
    let read = read_fields(repository)?;
    let (mut findings, mut walked) = (Vec::new(), 0_usize);
    let mut services: BTreeMap<&str, Types> = BTreeMap::new();
    for operation in operations.iter().filter(|operation| operation.built) {
        if !services.contains_key(operation.service.as_str()) {
            services.insert(&operation.service, types(repository, &operation.service)?);
        }
        let types = &services[operation.service.as_str()];
        let Some(input) = types.inputs.get(&operation.operation) else { continue };
        let mut walk =
            Walk { operation, types, read: &read, met: BTreeSet::new(), unread: Vec::new() };
        walk.below(input, "", false);
        walked += walk.met.len();
        let name = format!("{}.{}", operation.service, operation.operation);
        findings.extend(
            walk.unread.iter().map(|path| format!("{name}: {path} is neither read nor listed")),
        );
        let unknown = operation.gaps.iter().filter(|gap| !walk.met.contains(&gap.member));
        findings.extend(
            unknown.map(|gap| format!("{name}: {} is listed and does not exist", gap.member)),
        );
    }
    if walked == 0 || read.is_empty() {
        return Err("no member was found".into());
    }
    if !findings.is_empty() {
        return Err(findings.join("\n").into());
    }
    println!("{walked} members, each is read or listed");
    Ok(())
}

struct Walk<'a> {
    operation: &'a Operation,
    types: &'a Types,
    read: &'a BTreeSet<(String, String)>,
    met: BTreeSet<String>,
    unread: Vec<String>,
}

impl Walk<'_> {
    fn below(&mut self, kind: &str, path: &str, is_listed: bool) {
        for field in self.types.structs.get(kind).into_iter().flatten() {
            let path =
                if path.is_empty() { field.wire.clone() } else { format!("{path}.{}", field.wire) };
            // A type may hold itself.
            if path.matches('.').count() > 8 {
                continue;
            }
            self.met.insert(path.clone());
            let mut gaps = self.operation.gaps.iter().filter(|gap| gap.member == path);
            // What lies below a member that is refused whole need not be read.
            let is_listed = is_listed || gaps.any(|gap| gap.when.is_empty());
            if !is_listed && !self.read.contains(&(kind.to_owned(), field.rust.clone())) {
                self.unread.push(path.clone());
            }
            self.below(&field.kind, &path, is_listed);
        }
    }
}

/// Type and field of each field of an input that some crate uses.
fn read_fields(repository: &Path) -> Result<BTreeSet<(String, String)>> {
    let copy = crate::target(repository).join("members");
    let _ = fs::remove_dir_all(&copy);
    copy_tree(repository, &copy)?;
    for service in fs::read_dir(copy.join(GENERATED))? {
        for file in
            ["inputs.rs", "shared.rs"].map(|name| service.as_ref().map(|it| it.path().join(name)))
        {
            let Ok(file) = file else { continue };
            if let Ok(text) = fs::read_to_string(&file) {
                fs::write(&file, deprecated(&text))?;
            }
        }
    }
    let library = copy.join("crates/api/src/lib.rs");
    let text = fs::read_to_string(&library)?;
    fs::write(
        &library,
        text.replacen("\nmod describe;", "\n#![allow(deprecated)]\nmod describe;", 1),
    )?;
    let checked = Command::new("cargo")
        .args(["check", "-p", "gatemill-server", "--message-format", "json", "--quiet"])
        .args(["--target-dir".as_ref(), crate::target(repository).as_os_str()])
        .current_dir(&copy)
        .stderr(Stdio::inherit())
        .output()?;
    fs::remove_dir_all(&copy)?;
    if !checked.status.success() {
        return Err("the copy of the sources does not compile".into());
    }
    Ok(String::from_utf8_lossy(&checked.stdout).lines().filter_map(used).collect())
}

/// Reads `use of deprecated field `gatemill_api::lambda::CreateAliasRequest::name``.
fn used(line: &str) -> Option<(String, String)> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    let text = message["message"]["message"].as_str()?;
    let path = text.strip_prefix("use of deprecated field `")?.split('`').next()?;
    let (path, field) = path.rsplit_once("::")?;
    let kind = path.rsplit("::").next()?;
    Some((kind.to_owned(), field.trim_start_matches("r#").to_owned()))
}

fn deprecated(text: &str) -> String {
    let mut marked = String::with_capacity(text.len() * 2);
    for line in text.lines() {
        if line.starts_with("    pub ") && line.ends_with(',') {
            marked.push_str("    #[deprecated]\n");
        }
        marked.push_str(line);
        marked.push('\n');
    }
    marked
}

/// What cargo needs of the repository: what git tracks, but for the tests of clients and the documents.
fn copy_tree(repository: &Path, copy: &Path) -> Result<()> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(repository)
        .output()?;
    for name in String::from_utf8(listed.stdout)?.split('\0') {
        let from = repository.join(name);
        if name.is_empty()
            || name.starts_with("e2e/")
            || name.starts_with("bench/results")
            || !from.is_file()
        {
            continue;
        }
        let to = copy.join(name);
        fs::create_dir_all(to.parent().ok_or("a file has no directory")?)?;
        fs::copy(from, to)?;
    }
    Ok(())
}

/// Reads the generated types of a service, which have one form.
fn types(repository: &Path, service: &str) -> Result<Types> {
    let directory = repository.join(GENERATED).join(service);
    let mut types = Types::default();
    for name in ["inputs.rs", "shared.rs"] {
        let text = fs::read_to_string(directory.join(name)).unwrap_or_default();
        let (mut owner, mut wire) = (None, None);
        for line in text.lines() {
            if let Some(name) =
                line.strip_prefix("pub struct ").and_then(|it| it.strip_suffix(" {"))
            {
                owner = Some(name.to_owned());
                types.structs.entry(name.to_owned()).or_default();
            } else if line == "}" {
                owner = None;
            } else if let Some((_, rest)) = line.split_once("rename = \"") {
                // On the line of the attribute, or on one of its own.
                wire = rest.split('"').next().map(str::to_owned);
            } else if let (Some(owner), Some((rust, kind))) = (&owner, field(line)) {
                let wire = wire.take().unwrap_or_else(|| rust.clone());
                types.structs.entry(owner.clone()).or_default().push(Field { rust, wire, kind });
            }
        }
    }
    let mut operation = None;
    for line in fs::read_to_string(directory.join("operations.rs"))?.lines() {
        let line = line.trim();
        if let Some(rest) = line.strip_prefix("impl gatemill_wire::Operation for ") {
            operation = rest.strip_suffix(" {").map(str::to_owned);
        } else if let Some(input) = line.strip_prefix("type Input = ")
            && let Some(operation) = operation.take()
        {
            types.inputs.insert(operation, input.trim_end_matches(';').to_owned());
        }
    }
    Ok(types)
}

/// The name of a field and its innermost type: `pub layers: Option<Vec<String>>,` is `layers` of `String`.
fn field(line: &str) -> Option<(String, String)> {
    let (name, kind) = line.strip_prefix("    pub ")?.strip_suffix(',')?.split_once(": ")?;
    let kind = kind.rsplit(['<', ' ']).next()?.trim_end_matches('>');
    Some((name.trim_start_matches("r#").to_owned(), kind.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_their_innermost_type() {
        let read = |line| field(line).unwrap();
        assert_eq!(
            read("    pub layers: Option<Vec<String>>,"),
            ("layers".into(), "String".into())
        );
        assert_eq!(
            read("    pub r#type: Option<BTreeMap<String, Kind>>,"),
            ("type".into(), "Kind".into())
        );
        assert_eq!(field("    #[serde(rename = \"X\")]"), None);
    }

    #[test]
    fn a_member_that_nothing_reads_is_found() {
        let leaf = |rust: &str, wire: &str, kind: &str| Field {
            rust: rust.into(),
            wire: wire.into(),
            kind: kind.into(),
        };
        let mut types = Types::default();
        types.structs.insert(
            "In".into(),
            vec![leaf("a", "A", "Part"), leaf("b", "B", "String"), leaf("c", "C", "Part")],
        );
        types.structs.insert("Part".into(), vec![leaf("d", "D", "String")]);
        let gap = |member: &str, when: &str| Gap { member: member.into(), when: when.into() };
        let operation = Operation {
            service: "s".into(),
            operation: "O".into(),
            built: true,
            gaps: vec![gap("C", ""), gap("B", "of some kind")],
        };
        let read = [("In".to_owned(), "a".to_owned())].into();
        let mut walk = Walk {
            operation: &operation,
            types: &types,
            read: &read,
            met: BTreeSet::new(),
            unread: Vec::new(),
        };
        walk.below("In", "", false);
        assert_eq!(walk.unread, ["A.D", "B"]);
        assert!(walk.met.contains("C.D"));
    }
}
