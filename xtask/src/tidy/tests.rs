//! Each rule finds what it is there for, and leaves alone what is right. The tree itself is tidy.

use super::{File, Finding, check, dependencies, floors, lexer::lex, rust, text, tree};

fn file(path: &str, text: &str) -> File {
    File { path: path.to_owned(), text: text.to_owned() }
}

/// The findings of a rule as `path:line: text`.
fn found(rule: fn(&[File]) -> Vec<Finding>, files: &[(&str, &str)]) -> Vec<String> {
    let files: Vec<File> = files.iter().map(|(path, text)| file(path, text)).collect();
    rule(&files).into_iter().map(|f| format!("{}:{}: {}", f.path, f.line, f.text)).collect()
}

#[track_caller]
fn assert_one(rule: fn(&[File]) -> Vec<Finding>, files: &[(&str, &str)], start: &str) {
    let found = found(rule, files);
    assert!(found.len() == 1 && found[0].starts_with(start), "{found:#?}");
}

#[track_caller]
fn assert_none(rule: fn(&[File]) -> Vec<Finding>, files: &[(&str, &str)]) {
    assert_eq!(found(rule, files), Vec::<String>::new());
}

#[test]
fn the_repository_is_tidy() {
    let findings = check(&tree(&crate::repository()).unwrap());
    assert!(findings.is_empty(), "{} findings\n{}", findings.len(), findings.join("\n"));
}

#[test]
fn findings_come_in_the_order_of_places() {
    let files = [file("b.rs", "fn b() {} \n"), file("a.rs", "//! A.\nunsafe fn a() {}\n")];
    let findings = check(&files);
    assert_eq!(
        findings,
        [
            "a.rs:2: unsafe: `unsafe` outside of sandbox and jailer",
            "b.rs:1: header: starts without `//!` that says what it is",
            "b.rs:1: white-space: white space at the end of the line",
        ]
    );
}

#[test]
fn the_lexer_tells_code_from_comments_and_literals() {
    let text = r####"let a = "x // y\" {"; // { "no"
let b = r#"raw " {"#; let c = '{'; let d = '\''; fn e<'a>(x: &'a str) {} /* { /* } */ "z" */ br"w";"####;
    let lexed = lex(text);
    assert_eq!(lexed.code.len(), text.len());
    let strings: Vec<&str> = lexed.strings.iter().map(|(_, content)| content.as_str()).collect();
    assert_eq!(strings, [r#"x // y\" {"#, "raw \" {", "w"]);
    assert_eq!(lexed.code.matches('{').count(), 1, "{}", lexed.code);
    assert_eq!(lexed.words("let").len(), 4);
}

#[test]
fn the_lexer_survives_text_that_ends_early() {
    for text in
        ["\"abc", "r#\"abc", "'", "'\\", "'\\u", "/* /*", "//", "fn a(", "#[cfg(test)]", "r", "é'é"]
    {
        assert_eq!(lex(text).code.len(), text.len(), "{text}");
    }
}

#[test]
fn a_file_says_what_it_is() {
    assert_one(rust::header, &[("crates/a/src/lib.rs", "use x;\n")], "crates/a/src/lib.rs:1:");
    assert_none(rust::header, &[("crates/a/src/lib.rs", "//! A.\n"), ("a.py", "import x\n")]);
}

#[test]
fn a_file_is_not_too_long() {
    let long = "let x = 1;\n".repeat(801);
    let comments = "// why\n\n".repeat(2000);
    assert_one(rust::file_size, &[("a.rs", &long)], "a.rs:1: 801 lines");
    assert_none(rust::file_size, &[("a.rs", &comments), ("crates/api/src/generated/a.rs", &long)]);
    let large = "// why\n".repeat(40_000);
    assert_one(
        rust::file_size,
        &[("crates/api/src/generated/a.rs", &large)],
        "crates/api/src/generated/a.rs:1: 280000 bytes",
    );
}

#[test]
fn a_function_is_not_too_long_unless_it_is_a_table() {
    let body = "    a(fn_of);\n".repeat(119);
    let long = format!(
        "//! A.\n\nimpl A {{\n    fn b<T: Fn(u8) -> [u8; 2]>(t: T)\n    {{\n{body}    }}\n}}\n"
    );
    assert_one(rust::function_size, &[("a.rs", &long)], "a.rs:4: `b` has 122 lines");
    let table = format!("/// Rows.\n// tidy: table\n#[allow(x)]\nfn b() {{\n{body}}}\n");
    let short = format!(
        "fn b() {{\n{}}}\ntrait C {{ fn c(); fn d(); }}\n{}",
        &body[14..],
        "// x\n".repeat(200)
    );
    assert_none(rust::function_size, &[("a.rs", &table), ("b.rs", &short)]);
}

#[test]
fn unsafe_stands_in_two_crates() {
    let code = "//! A.\nfn a() { unsafe { b() } }\n";
    assert_one(rust::unsafe_code, &[("crates/store/src/a.rs", code)], "crates/store/src/a.rs:2:");
    let spoken = "//! unsafe\n#![deny(unsafe_code)]\nlet a = \"unsafe\";\n";
    assert_none(
        rust::unsafe_code,
        &[("crates/jailer/src/a.rs", code), ("crates/store/src/a.rs", spoken)],
    );
}

#[test]
fn an_operation_is_named_once() {
    let constants = ("crates/api/src/generated/toy/operations.rs", "    name: \"PutToy\",\n");
    let literal = "fn a() {\n    b(\"PutToy\");\n}\n";
    let place = "crates/server/src/a.rs";
    assert_one(
        rust::operation_names,
        &[constants, (place, literal)],
        "crates/server/src/a.rs:2: the operation `PutToy`",
    );
    let inside = format!(
        "#[cfg(test)]\nmod tests;\n#[cfg(test)]\nmod more {{\n{literal}}}\nfn c() {{ d(\"PutToys\") }} // \"PutToy\"\n"
    );
    assert_none(
        rust::operation_names,
        &[
            constants,
            (place, &inside),
            ("crates/a/src/tests.rs", literal),
            ("crates/a/tests/b.rs", literal),
        ],
    );
    let after = format!("#[cfg(test)]\nmod tests;\n{literal}");
    assert_one(rust::operation_names, &[constants, (place, &after)], "crates/server/src/a.rs:4:");
}

#[test]
fn unfinished_work_is_not_marked_in_sources() {
    let word = concat!("TO", "DO");
    assert_one(rust::unfinished, &[("a.py", &format!("# {word}: more\n"))], "a.py:1:");
    assert_one(rust::unfinished, &[("a.md", &format!("One\n{word}\n"))], "a.md:2:");
    assert_one(rust::unfinished, &[("a.rs", "#[ignore]\n")], "a.rs:1: `#[ignore`");
    assert_one(rust::unfinished, &[("a.rs", "fn a() {\n    todo!()\n}\n")], "a.rs:2: `todo!`");
    let spoken = format!("No `{word}` é here.\n");
    assert_none(
        rust::unfinished,
        &[("a.md", &spoken), ("a.rs", "// #[ignore] todo!\n"), ("a.sh", "mktemp a.XXXXXX\n")],
    );
}

fn manifest(name: &str, rest: &str) -> String {
    format!("[package]\nname = \"gatemill-{name}\"\n\n{rest}\n")
}

#[test]
fn dependencies_point_down() {
    let up = manifest("store", "[dependencies]\ngatemill-lambda.workspace = true");
    assert_one(
        floors::edges,
        &[("crates/store/Cargo.toml", &up)],
        "crates/store/Cargo.toml:5: `store` on floor 1 depends up",
    );
    let sideways = manifest("lambda", "[dependencies]\ngatemill-logs.workspace = true");
    assert_one(
        floors::edges,
        &[("crates/lambda/Cargo.toml", &sideways)],
        "crates/lambda/Cargo.toml:5: `lambda` on floor 2 depends sideways",
    );
    let hidden = manifest(
        "iam",
        "[target.'cfg(unix)'.dependencies]\nw = { package = \"gatemill-wire\", path = \"../wire\" }",
    );
    assert_one(
        floors::edges,
        &[("crates/iam/Cargo.toml", &hidden)],
        "crates/iam/Cargo.toml:5: `iam` on floor 0 depends sideways",
    );
    let in_tests = manifest("store", "[dev-dependencies]\ngatemill-gateway.workspace = true");
    assert_one(
        floors::edges,
        &[("crates/store/Cargo.toml", &in_tests)],
        "crates/store/Cargo.toml:5:",
    );
    let testkit = manifest("store", "[dependencies]\ngatemill-testkit.workspace = true");
    assert_one(
        floors::edges,
        &[("crates/store/Cargo.toml", &testkit)],
        "crates/store/Cargo.toml:5: `testkit` is for tests",
    );
    let xtask = "[package]\nname = \"xtask\"\n[dependencies]\ngatemill-wire.workspace = true\n";
    assert_one(floors::edges, &[("xtask/Cargo.toml", xtask)], "xtask/Cargo.toml:4: xtask depends");
}

#[test]
fn dependencies_that_are_allowed() {
    let api = manifest("api", "[dependencies]\ngatemill-wire.workspace = true");
    let sandbox =
        manifest("sandbox", "[dependencies]\ngatemill-jailer.workspace = true\ntokio = \"1\"");
    let gateway = manifest(
        "gateway",
        "[dependencies]\ngatemill-lambda.workspace = true\n[dev-dependencies]\ngatemill-testkit.workspace = true",
    );
    let store = manifest("store", "[dev-dependencies]\ngatemill-store = { path = \".\" }");
    assert_none(
        floors::edges,
        &[
            ("crates/store/Cargo.toml", &store),
            ("crates/api/Cargo.toml", &api),
            ("crates/sandbox/Cargo.toml", &sandbox),
            ("crates/gateway/Cargo.toml", &gateway),
        ],
    );
}

#[test]
fn a_crate_has_a_floor_and_the_name_of_its_directory() {
    assert_one(
        floors::edges,
        &[("crates/common/Cargo.toml", &manifest("common", ""))],
        "crates/common/Cargo.toml:1: `common` has no floor",
    );
    assert_one(
        floors::edges,
        &[("crates/store/Cargo.toml", &manifest("shop", ""))],
        "crates/store/Cargo.toml:1: the package",
    );
    assert_one(
        floors::edges,
        &[("crates/store/Cargo.toml", "[")],
        "crates/store/Cargo.toml:1: no manifest",
    );
}

#[test]
fn the_ground_floor_is_pure() {
    let impure = manifest("iam", "[dependencies]\nserde = \"1\"\ngetrandom = \"0.4\"");
    assert_one(
        floors::pure,
        &[("crates/iam/Cargo.toml", &impure)],
        "crates/iam/Cargo.toml:6: `getrandom`",
    );
    let in_tests = manifest("iam", "[dev-dependencies]\ntokio = \"1\"");
    let higher = manifest("store", "[dependencies]\ntokio = \"1\"");
    assert_none(
        floors::pure,
        &[("crates/iam/Cargo.toml", &in_tests), ("crates/store/Cargo.toml", &higher)],
    );
}

#[test]
fn the_ground_floor_reads_no_clock_and_no_file() {
    let iam = manifest("iam", "");
    let code = "//! A.\nfn a() {\n    std::fs::read(\"b\");\n}\n// std::net\n#[cfg(test)]\nmod tests { use std::env; }\n";
    assert_one(
        floors::pure,
        &[("crates/iam/Cargo.toml", &iam), ("crates/iam/src/a.rs", code)],
        "crates/iam/src/a.rs:3: `std::fs`",
    );
    let higher = manifest("store", "");
    assert_none(
        floors::pure,
        &[("crates/store/Cargo.toml", &higher), ("crates/store/src/a.rs", code)],
    );
}

#[test]
fn a_dependency_is_used() {
    let root = "[workspace.dependencies]\nserde = \"1\"\nhttp-body = \"1\"\n";
    let iam = manifest("iam", "[dependencies]\nserde.workspace = true\nhttp-body.workspace = true");
    let code = "//! A.\nuse serde::Serialize;\n";
    let files = [("crates/iam/Cargo.toml", &*iam), ("crates/iam/src/lib.rs", code)];
    assert_one(
        dependencies::unused,
        &files,
        "crates/iam/Cargo.toml:6: nothing uses the dependency `http-body`",
    );
    let other = ("crates/iam/tests/it/main.rs", "//! B.\nuse http_body::Body;\n");
    assert_none(dependencies::unused, &[files[0], files[1], other, ("Cargo.toml", root)]);
    assert_one(
        dependencies::unused,
        &[("Cargo.toml", "[workspace.dependencies]\nhttp = \"1\"\n")],
        "Cargo.toml:2: no package uses the dependency `http`",
    );
}

#[test]
fn lines_end_where_they_end() {
    assert_one(text::white_space, &[("a.md", "a\nb \nc\n")], "a.md:2:");
    assert_one(text::white_space, &[("a.rs", "a\r\n")], "a.rs:1:");
    assert_one(text::white_space, &[("a.toml", "a\nb")], "a.toml:2: no line end");
    assert_none(text::white_space, &[("tests/golden/a.json", "a "), ("a.png", " "), ("a.rs", "")]);
}

#[test]
fn no_path_of_one_machine() {
    let home = concat!("/ho", "me/");
    let work = concat!("/wo", "rk/");
    assert_one(
        text::machine_paths,
        &[("a.md", &format!("see\n{home}jo/x\n"))],
        "a.md:2: a path of one machine",
    );
    assert_one(text::machine_paths, &[("a.rs", &format!("\"{work}x\"\n"))], "a.rs:1:");
    let right =
        format!("{home}sbx_user1051 target{work}x ~{work}x https://a.b{work}x {home}<name>\n");
    assert_none(text::machine_paths, &[("a.md", &right)]);
}

#[test]
fn names_say_something() {
    assert_one(
        text::names,
        &[("crates/a/src/string_utils.rs", "")],
        "crates/a/src/string_utils.rs:1: `utils`",
    );
    assert_one(text::names, &[("crates/util/Cargo.toml", "")], "crates/util/Cargo.toml:1: `util`");
    assert_none(
        text::names,
        &[("crates/a/src/utility_bill.rs", ""), ("docs/secrets-manager.md", "")],
    );
}

#[test]
fn the_architecture_speaks_of_what_exists() {
    let source = ("crates/wire/src/serve.rs", "");
    let wrong = "Map.\n`crates/wire` and `crates/wires/src/`\n";
    assert_one(
        text::architecture,
        &[source, ("ARCHITECTURE.md", wrong)],
        "ARCHITECTURE.md:2: `crates/wires/src/`",
    );
    assert_one(
        text::architecture,
        &[source, ("ARCHITECTURE.md", "`limits.rs`\n")],
        "ARCHITECTURE.md:1: `limits.rs`",
    );
    let right = "`crates/wire/src/serve.rs` `crates/wire/src` `serve.rs` `wire::serve` `/var/task` `application/json` `crates/<name>`\n";
    assert_none(text::architecture, &[source, ("ARCHITECTURE.md", right)]);
    assert_none(text::architecture, &[source]);
}

#[test]
fn decisions_are_numbered_without_gaps() {
    let first = ("docs/decisions/0001-a.md", "");
    assert_one(
        text::decisions,
        &[first, ("docs/decisions/0003-c.md", "")],
        "docs/decisions:1: decision 0002 is missing",
    );
    assert_one(
        text::decisions,
        &[first, ("docs/decisions/0001-b.md", "")],
        "docs/decisions/0001-b.md:1: a second",
    );
    assert_one(
        text::decisions,
        &[("docs/decisions/second.md", "")],
        "docs/decisions/second.md:1: not named",
    );
    assert_one(
        text::decisions,
        &[("docs/decisions/0002-b.md", "")],
        "docs/decisions:1: decision 0001 is missing",
    );
    assert_none(
        text::decisions,
        &[first, ("docs/decisions/0002-b.md", ""), ("docs/decisions/README.md", "")],
    );
}

#[test]
fn a_ban_gives_its_reason() {
    let bare = "disallowed-methods = [\n    \"std::env::var\",\n]\n";
    assert_one(
        text::clippy_reasons,
        &[("clippy.toml", bare)],
        "clippy.toml:2: the ban of `std::env::var`",
    );
    let empty = "disallowed-types = [{ path = \"a::B\", reason = \" \" }]\n";
    assert_one(text::clippy_reasons, &[("clippy.toml", empty)], "clippy.toml:1:");
    let right =
        "disallowed-types = [{ path = \"a::B\", reason = \"b\" }]\nallow-unwrap-in-tests = true\n";
    assert_none(text::clippy_reasons, &[("clippy.toml", right)]);
}
