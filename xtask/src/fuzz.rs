//! `cargo xtask fuzz [TARGET…] [--seconds N]`: feeds the parsers of hostile input with bytes, guided by what they reach.
//!
//! libFuzzer is part of a crate and the instrumentation of the stable compiler, so nothing has to be installed. The parsers
//! are built as `fuzz/`, apart from everything else. What was learned is kept in `target/fuzz/corpus`; a file that brought a
//! fault to light is left in `target/fuzz/found`, and becomes a test beside the parser, and a seed in `fuzz/seeds`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::Result;

/// What `cargo fuzz` has the compiler do, without what a stable one does not offer.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Clink-dead-code";
/// For each target, unless `--seconds` says otherwise.
const SECONDS: u64 = 60;
/// Longer inputs show nothing new and take longer.
const INPUT_BYTES_MAX: u32 = 16 * 1024;
const MEMORY_MB_MAX: u32 = 2048;

pub(crate) fn run(repository: &Path, arguments: &[String]) -> Result<()> {
    let (targets, seconds) = wanted(repository, arguments)?;
    let target_directory = repository.join("target/fuzz");
    let program = build(repository, &target_directory)?;
    for target in &targets {
        println!("\n=== {target}, {seconds} s ===");
        let corpus = target_directory.join("corpus").join(target);
        let found = target_directory.join("found").join(target);
        fs::create_dir_all(&corpus)?;
        fs::create_dir_all(&found)?;
        let status = Command::new(&program)
            .env("GATEMILL_FUZZ_TARGET", target)
            .arg(&corpus)
            .arg(seeds(repository).join(target))
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-max_len={INPUT_BYTES_MAX}"))
            .arg(format!("-rss_limit_mb={MEMORY_MB_MAX}"))
            .arg(format!("-artifact_prefix={}/", found.display()))
            .args(["-timeout=20", "-print_final_stats=1", "-verbosity=0"])
            .status()?;
        if !status.success() {
            return Err(format!("{target} has a fault; its input is in {}", found.display()).into());
        }
    }
    Ok(())
}

/// The targets, which are those that have seeds, and the time for each.
fn wanted(repository: &Path, arguments: &[String]) -> Result<(Vec<String>, u64)> {
    let mut known: Vec<String> = fs::read_dir(seeds(repository))?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    known.sort();
    let (mut targets, mut seconds) = (Vec::new(), SECONDS);
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if word == "--seconds" {
            seconds = words.next().ok_or("--seconds takes a number")?.parse()?;
        } else if known.contains(word) {
            targets.push(word.clone());
        } else {
            return Err(format!("no target `{word}`; there are {}", known.join(", ")).into());
        }
    }
    Ok((if targets.is_empty() { known } else { targets }, seconds))
}

fn seeds(repository: &Path) -> PathBuf {
    repository.join("fuzz/seeds")
}

fn build(repository: &Path, target_directory: &Path) -> Result<PathBuf> {
    // The same versions as the house has; what the fuzzer alone needs is added to them.
    fs::copy(repository.join("Cargo.lock"), repository.join("fuzz/Cargo.lock"))?;
    // With a target of its own, build scripts and macros stay without instrumentation.
    let said = Command::new("rustc").arg("-vV").output()?;
    let said = String::from_utf8(said.stdout)?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("no host")?;
    let status = Command::new("cargo")
        .args(["build", "--release", "--target", host, "--target-dir"])
        .arg(target_directory)
        .env("RUSTFLAGS", FLAGS)
        .current_dir(repository.join("fuzz"))
        .status()?;
    if !status.success() {
        return Err("the fuzzer cannot be built".into());
    }
    Ok(target_directory.join(host).join("release/gatemill-fuzz"))
}
