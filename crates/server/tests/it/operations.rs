//! `gatemill operations`: the tables, as people and programs read them.

use crate::world::{gatemill, said};

#[test]
fn every_operation_is_listed_as_built_or_501() {
    let (status, text, stderr) = said(gatemill().args(["operations", "--format", "json"]));
    assert_eq!(status, Some(0), "{stderr}");
    let services: serde_json::Value = serde_json::from_str(&text).unwrap();
    let operations = services.as_array().unwrap();
    let built = |service: &str, name: &str| {
        let found =
            operations.iter().find(|it| it["service"] == service && it["operation"] == name);
        found.unwrap_or_else(|| panic!("{service}:{name} is not listed"))["built"].clone()
    };
    assert_eq!(built("sts", "GetCallerIdentity"), true);
    assert_eq!(built("logs", "FilterLogEvents"), true);
    assert_eq!(built("logs", "StartQuery"), false);
    assert!(operations.len() > 250, "{}", operations.len());
}

#[test]
fn the_table_and_the_markdown_name_the_same_operations() {
    let (_, table, _) = said(gatemill().args(["operations"]));
    let (_, markdown, _) = said(gatemill().args(["operations", "--format", "markdown"]));
    for name in ["GetCallerIdentity", "StartQuery", "CreateFunction", "CreateApi"] {
        assert!(table.contains(name) && markdown.contains(name), "{name}");
    }
    assert!(markdown.starts_with("# "), "{markdown}");
}

/// `UPDATE=1 cargo test -p gatemill-server --test it compatibility` writes the page anew.
#[test]
fn the_compatibility_page_is_what_the_tables_say() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/compatibility.md");
    let (_, markdown, _) = said(gatemill().args(["operations", "--format", "markdown"]));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(page, &markdown).unwrap();
    }
    let written = std::fs::read_to_string(page).unwrap_or_default();
    assert!(
        written == markdown,
        "docs/compatibility.md is out of date: run this test with UPDATE=1"
    );
}
