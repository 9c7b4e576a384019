//! `cargo xtask bench`: figures as ratios against baselines that ran in the same minutes.
//!
//! These machines are shared and their clocks drift with their neighbours, so CPU per request comes first, then ratios;
//! absolute times are printed for orientation. Programs run one after another: the bare hyper server, the floor
//! program, Gatemill, and, where their packages can be installed, the servers that people use today. Results go to
//! `bench/results/`, named by date and commit.

mod aws;
mod cold;
mod compiled;
mod control;
mod disturbed;
mod events;
mod peers;
mod process;
mod report;
mod sdk;
mod warm;
mod websocket;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::Result;
use process::Program;
use report::Report;

const THREADS: &str = "2";
const HELLO_PORT: u16 = 14_571;
const FLOOR_PORT: u16 = 14_572;
const PEER_PORT: u16 = 14_573;
/// Long enough for as many environments as there are connections to be started: they are not what is measured.
const WARM_UP_SECONDS: f64 = 2.0;
const SERVER_STARTS: usize = 10;

type Measure = fn(&Bench, &mut Report) -> Result<()>;

const MEASUREMENTS: &[(&str, Measure)] = &[
    ("server", Bench::server),
    ("warm-python", Bench::warm_python),
    ("warm-node", Bench::warm_node),
    ("frames", Bench::frames),
    ("gateway", Bench::gateway),
    ("websocket", Bench::websocket),
    ("cold", Bench::cold),
    ("sdk", Bench::sdk),
    ("burst", Bench::burst),
    ("hogs", Bench::hogs),
    ("restart", Bench::restart),
    ("control", Bench::control),
    ("events", Bench::events),
];

/// Runs every measurement; `--quick` shortens each, `--only NAME`, which may stand several times, picks some.
pub(crate) fn run(repository: &Path, arguments: &[String]) -> Result<()> {
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let only: Vec<&str> = arguments
        .windows(2)
        .filter(|words| words[0] == "--only")
        .map(|words| words[1].as_str())
        .collect();
    let is_known = |only: &&&str| MEASUREMENTS.iter().any(|(name, _)| name == *only);
    if let Some(unknown) = only.iter().find(|only| !is_known(only)) {
        let names: Vec<_> = MEASUREMENTS.iter().map(|(name, _)| *name).collect();
        return Err(format!("no measurement `{unknown}`; there are {}", names.join(", ")).into());
    }
    let bench = Bench::new(repository, quick)?;
    let mut report = Report::new(repository)?;
    let mut failed = Vec::new();
    for (name, measure) in MEASUREMENTS {
        if only.is_empty() || only.contains(name) {
            println!("\n--- {name} ---");
            // What one measurement cannot do shall not cost the figures of the others.
            if let Err(error) = measure(&bench, &mut report) {
                report.note(&format!("{name} failed: {error}"));
                failed.push(*name);
            }
        }
    }
    report.finish()?;
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", ")).into()) }
}

struct Bench {
    repository: PathBuf,
    release: PathBuf,
    seconds: f64,
    warm_up: f64,
    /// Everything shorter, and less of it.
    quick: bool,
}

/// What one run of the load generator said, with the CPU that the server's processes used meanwhile.
#[derive(Debug, Clone, Copy)]
struct Run {
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
    cpu_us: f64,
}

impl Bench {
    fn new(repository: &Path, quick: bool) -> Result<Self> {
        let build = ["build", "--release", "-p", "gatemill-server", "-p", "gatemill-bench"];
        let status = Command::new("cargo").args(build).current_dir(repository).status()?;
        if !status.success() {
            return Err("the release build failed".into());
        }
        let (seconds, warm_up) = if quick { (1.0, 1.0) } else { (4.0, WARM_UP_SECONDS) };
        let release = crate::target(repository).join("release");
        Ok(Self { repository: repository.to_path_buf(), release, seconds, warm_up, quick })
    }

    fn handlers(&self) -> PathBuf {
        self.repository.join("bench/handlers")
    }

    /// Loads `path` of a server, after a warm-up.
    fn load(
        &self,
        server: &Program,
        address: &str,
        host: &str,
        path: &str,
        connections: u32,
    ) -> Result<Run> {
        self.load_with(server, (address, host, path), connections, &["200"])
    }

    /// The same where the answer has another status.
    fn load_status(
        &self,
        server: &Program,
        address: &str,
        host: &str,
        path: &str,
        connections: u32,
        status: u16,
    ) -> Result<Run> {
        self.load_with(server, (address, host, path), connections, &[&status.to_string()])
    }

    /// The same with what else the load generator takes: a status, headers, a body.
    fn load_with(
        &self,
        server: &Program,
        (address, host, path): (&str, &str, &str),
        connections: u32,
        more: &[&str],
    ) -> Result<Run> {
        let at = (address, host, path);
        self.generate_with(at, connections, self.warm_up, more)?;
        let before = server.cpu_us()?;
        let said = self.generate_with(at, connections, self.seconds, more)?;
        let used = server.cpu_us()? - before;
        let number =
            |name: &str| said[name].as_f64().ok_or(format!("the load generator said no {name}"));
        if said["errors"].as_u64() != Some(0) {
            return Err(format!(
                "{path}: {} errors, the first: {}",
                said["errors"], said["first_error"]
            )
            .into());
        }
        Ok(Run {
            per_second: number("per_second")?,
            p50_us: number("p50_us")?,
            p99_us: number("p99_us")?,
            cpu_us: used / number("requests")?.max(1.0),
        })
    }

    fn generate(
        &self,
        address: &str,
        host: &str,
        path: &str,
        connections: u32,
        seconds: f64,
    ) -> Result<Value> {
        self.generate_with((address, host, path), connections, seconds, &["200"])
    }

    fn generate_with(
        &self,
        (address, host, path): (&str, &str, &str),
        connections: u32,
        seconds: f64,
        more: &[&str],
    ) -> Result<Value> {
        let output = Command::new(self.release.join("load"))
            .args([address, host, path, &connections.to_string(), &seconds.to_string()])
            .args(more)
            .stderr(Stdio::inherit())
            .output()?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    fn hello(&self) -> Result<Program> {
        self.baseline("hello", HELLO_PORT, &[])
    }

    fn baseline(&self, name: &str, port: u16, more: &[&str]) -> Result<Program> {
        let mut command = Command::new(self.release.join(name));
        command.arg(port.to_string()).arg(THREADS).args(more);
        Program::start_ready(&mut command)
    }
}

fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// Sorts the values and gives the middle one.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A new directory for one server.
fn tempfile(name: &str) -> Result<PathBuf> {
    let directory =
        std::env::temp_dir().join(format!("gatemill-bench-{}-{name}", std::process::id()));
    fs::create_dir_all(&directory)?;
    Ok(directory)
}

impl Run {
    fn json(&self) -> Value {
        json!({ "per_second": self.per_second, "p50_us": self.p50_us, "p99_us": self.p99_us, "cpu_us_per_request": self.cpu_us })
    }
}
