//! What of `deny.toml` can be checked without another tool: every dependency has a licence that the file allows, and
//! all come from the one registry.
//!
//! Advisories are not looked at; `cargo deny check`, where it is installed, does that by the same file.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde::Deserialize;

use crate::Result;

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    /// Nothing for a package of this repository.
    source: Option<String>,
}

/// Checks the dependency tree against `deny.toml`.
pub(crate) fn check(repository: &Path) -> Result<()> {
    let allowed = allowed(&fs::read_to_string(repository.join("deny.toml"))?)?;
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(repository)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout)?;
    let findings = findings(&metadata.packages, &allowed);
    if !findings.is_empty() {
        return Err(findings.join("\n").into());
    }
    println!("{} packages, every licence is allowed", metadata.packages.len());
    Ok(())
}

fn allowed(text: &str) -> Result<BTreeSet<String>> {
    let deny: toml::Table = text.parse()?;
    let list = deny.get("licenses").and_then(|licences| licences.get("allow"));
    let list = list.and_then(toml::Value::as_array).ok_or("deny.toml allows no licence")?;
    Ok(list.iter().filter_map(toml::Value::as_str).map(str::to_owned).collect())
}

fn findings(packages: &[Package], allowed: &BTreeSet<String>) -> Vec<String> {
    let mut findings = Vec::new();
    let mut registries = BTreeSet::new();
    for Package { name, version, license, source } in packages {
        let Some(source) = source else { continue };
        registries.insert(source);
        if !source.starts_with("registry+") {
            findings.push(format!("{name} {version} comes from {source}, which is no registry"));
        }
        match license {
            Some(license) if holds(license, allowed) => {}
            Some(license) => findings.push(format!("{name} {version}: {license} is not allowed")),
            None => findings.push(format!("{name} {version} names no licence")),
        }
    }
    if registries.len() > 1 {
        findings.push(format!("dependencies come from {} places", registries.len()));
    }
    findings
}

/// Whether an SPDX expression can be met by what is allowed. `/` is the old form of `OR`.
fn holds(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    any(&mut words, allowed) && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    let mut met = all(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= all(words, allowed);
    }
    met
}

fn all(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    let mut met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let met = any(words, allowed);
        return words.next_if_eq(&")").is_some() && met;
    }
    let Some(name) = words.next() else { return false };
    if words.next_if_eq(&"WITH").is_some() {
        let exception = words.next().unwrap_or_default();
        return allowed.contains(&format!("{name} WITH {exception}"));
    }
    allowed.contains(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> BTreeSet<String> {
        ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned).into()
    }

    #[test]
    fn an_expression_holds_when_one_choice_does() {
        for expression in [
            "MIT",
            "MIT OR GPL-3.0",
            "GPL-3.0/MIT",
            "MIT AND ISC",
            "(GPL-3.0 OR MIT) AND ISC",
            "GPL-3.0 OR MIT AND ISC",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(holds(expression, &some()), "{expression}");
        }
        for expression in [
            "",
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "Apache-2.0",
            "Apache-2.0 WITH other",
            "(MIT",
            "MIT)",
            "MIT ISC",
            "OR MIT",
        ] {
            assert!(!holds(expression, &some()), "{expression}");
        }
    }

    #[test]
    fn a_package_without_licence_or_registry_is_found() {
        let package = |name: &str, license: Option<&str>, source: Option<&str>| Package {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            license: license.map(str::to_owned),
            source: source.map(str::to_owned),
        };
        let packages = [
            package("ours", None, None),
            package("good", Some("MIT"), Some("registry+a")),
            package("bare", None, Some("registry+a")),
            package("strict", Some("GPL-3.0"), Some("registry+a")),
        ];
        assert_eq!(
            findings(&packages, &some()),
            ["bare 1.0.0 names no licence", "strict 1.0.0: GPL-3.0 is not allowed"]
        );
        let elsewhere =
            [package("far", Some("MIT"), Some("git+b")), packages.into_iter().nth(1).unwrap()];
        assert_eq!(findings(&elsewhere, &some()).len(), 2);
    }
}
