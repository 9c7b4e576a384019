//! What a run of the benches says: printed as it goes, kept in `bench/results/`.

use std::{fs, path::Path, path::PathBuf, process::Command};

use serde_json::{Value, json};

use super::Run;
use crate::Result;

/// The figures of one run.
pub(super) struct Report {
    directory: PathBuf,
    name: String,
    commit: String,
    entries: Vec<Value>,
}

impl Report {
    pub(super) fn new(repository: &Path) -> Result<Self> {
        let said = |program: &str, arguments: &[&str]| -> Result<String> {
            let output = Command::new(program).args(arguments).current_dir(repository).output()?;
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let commit = said("git", &["rev-parse", "--short=10", "HEAD"])?;
        let date = said("date", &["-u", "+%Y-%m-%dT%H%M%SZ"])?;
        let name = format!("{date}-{commit}");
        Ok(Self { directory: repository.join("bench/results"), name, commit, entries: Vec::new() })
    }

    pub(super) fn run(&mut self, what: &str, run: &Run) {
        println!(
            "{what:<62} {:>9.0}/s  p50 {:>7.0} us  p99 {:>7.0} us  CPU {:>7.1} us",
            run.per_second, run.p50_us, run.p99_us, run.cpu_us
        );
        self.entries.push(json!({ "what": what, "run": run.json() }));
    }

    pub(super) fn ratio(&mut self, what: &str, connections: u32, ratio: f64, goal: &str) {
        let what = format!("{what}, {connections} connections");
        println!("  = {what:<58} {ratio:>9.2}      goal {goal}");
        self.entries.push(json!({ "what": what, "ratio": ratio, "goal": goal }));
    }

    pub(super) fn value(&mut self, what: &str, value: f64, unit: &str, goal: &str) {
        println!("{what:<62} {value:>9.2} {unit}  {goal}");
        self.entries.push(json!({ "what": what, "value": value, "unit": unit, "goal": goal }));
    }

    pub(super) fn note(&mut self, note: &str) {
        println!("{note}");
        self.entries.push(json!({ "note": note }));
    }

    /// Writes the figures down.
    pub(super) fn finish(self) -> Result<()> {
        let cores = std::thread::available_parallelism()?.get();
        let whole = json!({ "run": self.name, "commit": self.commit, "cores": cores, "figures": self.entries });
        let path = self.directory.join(format!("{}.json", self.name));
        fs::write(&path, serde_json::to_string_pretty(&whole)? + "\n")?;
        println!("\nwritten to bench/results/{}.json", self.name);
        Ok(())
    }
}
