//! What is said when a start cannot succeed, and what the other commands print.

use std::net::TcpListener;

use crate::world::{Server, directory, gatemill, said};

/// A command that fails with one sentence in which these words stand.
fn fails(args: &[&str], words: &[&str]) {
    let (status, stdout, stderr) = said(gatemill().args(args));
    assert_eq!((status, stdout.as_str()), (Some(1), ""), "{stderr}");
    for word in words {
        assert!(stderr.contains(word), "{stderr} does not say {word}");
    }
    // What was found out before goes to the log.
    let sentence = stderr.lines().find(|line| line.starts_with("gatemill: "));
    assert!(sentence.is_some(), "{stderr}");
}

#[test]
fn a_busy_port_says_how_to_choose_another() {
    let dir = directory();
    let data = dir.path().join("data");
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    let data = data.to_str().unwrap();
    fails(
        &["dev", "--listen", &address, "--data-dir", data],
        &["is in use", "--listen 127.0.0.1:PORT"],
    );
    assert!(!dir.path().join("data").exists(), "nothing is touched when the port is busy");
}

#[test]
fn the_demo_wants_a_free_port_and_an_empty_directory() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    fails(&["demo", "--once", "--listen", &address], &["is in use", "--listen"]);
    let dir = directory();
    std::fs::write(dir.path().join("mine"), "").unwrap();
    let path = dir.path().to_str().unwrap();
    fails(&["demo", "--once", "--data-dir", path], &["empty data directory", "--data-dir"]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing was touched");
}

#[test]
fn a_data_directory_in_use_or_not_writable_says_so() {
    let dir = directory();
    let server = Server::start("dev", dir.path());
    let data = dir.path().join("data");
    let args = ["dev", "--listen", "127.0.0.1:0", "--data-dir", data.to_str().unwrap()];
    fails(&args, &["in use by another Gatemill", "--data-dir"]);
    assert_eq!(server.get("/_gatemill/health").status, 200);

    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    // A file in the directory's place, and one in the place of what the daemon keeps there.
    let taken = dir.path().join("taken");
    std::fs::create_dir(&taken).unwrap();
    std::fs::write(taken.join("sandboxes"), "").unwrap();
    for data in [file.join("data"), taken] {
        let args = ["dev", "--listen", "127.0.0.1:0", "--data-dir", data.to_str().unwrap()];
        fails(&args, &["cannot be written", "--data-dir"]);
    }
}

#[test]
fn an_unknown_key_and_a_missing_file_are_refused() {
    let dir = directory();
    let file = dir.path().join("gatemill.toml");
    std::fs::write(&file, "lissten = \"127.0.0.1:1\"\n").unwrap();
    let path = file.to_str().unwrap();
    fails(&["dev", "--config", path], &["lissten", "unknown field", "listen"]);
    fails(&["check-config", "--config", path], &["lissten"]);
    fails(&["serve", "--config", "/nowhere/gatemill.toml"], &["/nowhere/gatemill.toml"]);
}

#[test]
fn an_address_that_others_can_reach_needs_a_flag() {
    for mode in ["dev", "serve"] {
        fails(&[mode, "--listen", "0.0.0.0:0"], &["0.0.0.0:0", "TLS", "--insecure-public"]);
    }
}

#[test]
fn usage_errors_have_status_2() {
    for args in [&["dev", "--listen", "here"][..], &["fly"], &["dev", "--isolation", "magic"]] {
        let (status, _, stderr) = said(gatemill().args(args));
        assert_eq!(status, Some(2), "{stderr}");
    }
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let dir = directory();
    let file = dir.path().join("gatemill.toml");
    std::fs::write(&file, "region = \"eu-west-1\"\naccount = \"111111111111\"\nthreads = 3\n")
        .unwrap();
    let (status, stdout, _) = said(
        gatemill()
            .args(["check-config", "--account", "333333333333", "--config"])
            .arg(&file)
            .env("GATEMILL_ACCOUNT", "222222222222")
            .env("GATEMILL_REGION", "ap-south-1"),
    );
    assert_eq!(status, Some(0));
    for line in ["account = \"333333333333\"", "region = \"ap-south-1\"", "threads = 3"] {
        assert!(stdout.contains(line), "{stdout}");
    }
}

#[test]
fn the_man_page_and_completions_are_derived() {
    let (status, man, _) = said(gatemill().args(["generate", "man"]));
    assert_eq!(status, Some(0));
    for word in [".TH", "check\\-config", "\\-\\-data\\-dir"] {
        assert!(man.contains(word), "{word}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let (status, script, _) = said(gatemill().args(["generate", "completions", shell]));
        assert_eq!(status, Some(0));
        assert!(script.contains("check-config"), "{shell}");
    }
}

/// `UPDATE=1 cargo test -p gatemill-server --test it configuration` writes the page anew.
#[test]
fn the_configuration_page_is_derived() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let (_, said, _) = said(gatemill().args(["generate", "configuration"]));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(page, &said).unwrap();
    }
    let written = std::fs::read_to_string(page).unwrap_or_default();
    assert!(written == said, "docs/configuration.md is out of date: run this test with UPDATE=1");
}

#[test]
fn runtimes_are_listed_with_their_programs() {
    let dir = directory();
    let data = dir.path().join("data");
    let (status, stdout, stderr) =
        said(gatemill().args(["runtime", "list", "--data-dir"]).arg(data));
    assert_eq!(status, Some(0), "{stderr}");
    assert!(stdout.contains("PROGRAM") || stdout.contains("apt install"), "{stdout}");
}
