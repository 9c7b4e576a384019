//! `cargo xtask bench`: figures as ratios against baselines that ran in the same minutes.
//!
//! These machines are shared and their clocks drift with their neighbours, so CPU per request comes first, then ratios;
//! absolute times are printed for orientation. Programs run one after another: the bare hyper server, the floor
//! program, Gatemill, and, where their packages can be installed, the servers that people use today. Results go to
//! `bench/results/`, named by date and commit.

mod aws;
mod process;
mod report;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::Result;
use aws::Gatemill;
use process::Program;
use report::Report;

const THREADS: &str = "2";
const HELLO_PORT: u16 = 14_571;
const FLOOR_PORT: u16 = 14_572;
const PEER_PORT: u16 = 14_573;
/// Long enough for as many environments as there are connections to be started: they are not what is measured.
const WARM_UP_SECONDS: f64 = 3.0;
const COLD_STARTS: usize = 30;
const SERVER_STARTS: usize = 10;

type Measure = fn(&Bench, &mut Report) -> Result<()>;

const MEASUREMENTS: &[(&str, Measure)] = &[
    ("server", Bench::server),
    ("warm-python", Bench::warm_python),
    ("warm-node", Bench::warm_node),
    ("cold", Bench::cold),
    ("control", Bench::control),
];

/// Runs every measurement; `--quick` shortens each, `--only NAME` picks one.
pub(crate) fn run(repository: &Path, arguments: &[String]) -> Result<()> {
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let only = arguments
        .iter()
        .position(|argument| argument == "--only")
        .and_then(|at| arguments.get(at + 1));
    if let Some(unknown) = only.filter(|only| !MEASUREMENTS.iter().any(|(name, _)| name == only)) {
        let names: Vec<_> = MEASUREMENTS.iter().map(|(name, _)| *name).collect();
        return Err(format!("no measurement `{unknown}`; there are {}", names.join(", ")).into());
    }
    let bench = Bench::new(repository, if quick { 1.0 } else { 4.0 })?;
    let mut report = Report::new(repository)?;
    for (name, measure) in MEASUREMENTS {
        if only.is_none_or(|only| only == name) {
            println!("\n--- {name} ---");
            measure(&bench, &mut report)?;
        }
    }
    report.finish()
}

struct Bench {
    repository: PathBuf,
    release: PathBuf,
    seconds: f64,
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
    fn new(repository: &Path, seconds: f64) -> Result<Self> {
        let build = ["build", "--release", "-p", "gatemill-server", "-p", "gatemill-bench"];
        let status = Command::new("cargo").args(build).current_dir(repository).status()?;
        if !status.success() {
            return Err("the release build failed".into());
        }
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| repository.join("target"), PathBuf::from);
        Ok(Self { repository: repository.to_path_buf(), release: target.join("release"), seconds })
    }

    fn handlers(&self) -> PathBuf {
        self.repository.join("bench/handlers")
    }

    /// Loads `path` of a server that is already warm.
    fn load(
        &self,
        server: &Program,
        address: &str,
        host: &str,
        path: &str,
        connections: u32,
    ) -> Result<Run> {
        self.generate(address, host, path, connections, WARM_UP_SECONDS)?;
        let before = server.cpu_us()?;
        let said = self.generate(address, host, path, connections, self.seconds)?;
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
        let output = Command::new(self.release.join("load"))
            .args([address, host, path, &connections.to_string(), &seconds.to_string()])
            .stderr(Stdio::inherit())
            .output()?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Start to ready, idle memory, size of the binary.
    fn server(&self, report: &mut Report) -> Result<()> {
        let mut starts = Vec::new();
        let mut memory = 0.0;
        let data = tempfile("start")?;
        for _ in 0..SERVER_STARTS {
            let start = Instant::now();
            let server = Gatemill::start_in(&self.release, &data)?;
            starts.push(start.elapsed().as_secs_f64() * 1e3);
            memory = server.program.memory_mib()?;
        }
        fs::remove_dir_all(&data)?;
        report.value("server start to ready, p50", median(&mut starts), "ms", "<= 50");
        report.value(
            "idle memory (proportional set size of all its processes)",
            memory,
            "MiB",
            "<= 30",
        );
        let binary = fs::metadata(self.release.join("gatemill"))?.len();
        #[allow(clippy::cast_precision_loss, reason = "a file of a few megabytes")]
        report.value("binary", binary as f64 / 1e6, "MB", "<= 40");
        Ok(())
    }

    fn warm_python(&self, report: &mut Report) -> Result<()> {
        let hello = self.baseline("hello", HELLO_PORT, &[])?;
        let worker = self.handlers().join("floor_worker.py");
        let floor =
            self.baseline("floor", FLOOR_PORT, &[worker.to_str().ok_or("a path in UTF-8")?])?;
        let gatemill = Gatemill::start(&self.release)?;
        let route = gatemill.serve_function(
            "bench-python",
            "python",
            "app.handler",
            &self.handlers().join("app.py"),
        )?;
        let address = gatemill.address();
        let peer = self.fastapi();
        for connections in [1, 32] {
            let hello =
                self.load(&hello, &local(HELLO_PORT), "localhost", "/hello", connections)?;
            let floor =
                self.load(&floor, &local(FLOOR_PORT), "localhost", "/hello", connections)?;
            let ours = self.load(&gatemill.program, &address, &route, "/hello", connections)?;
            report.run(&format!("bare hyper, {connections} connections"), &hello);
            report.run(
                &format!("floor: epoll + unix socket + Python, {connections} connections"),
                &floor,
            );
            report.run(&format!("Gatemill: HTTP API -> Python, {connections} connections"), &ours);
            report.ratio(
                "CPU per warm Python call / floor",
                connections,
                ours.cpu_us / floor.cpu_us,
                "<= 2.0",
            );
            report.ratio(
                "warm Python throughput / floor",
                connections,
                ours.per_second / floor.per_second,
                ">= 0.6 at 32",
            );
            report.ratio(
                "warm p50 / bare hyper",
                connections,
                ours.p50_us / hello.p50_us,
                "<= 2.5 at 1",
            );
            match &peer {
                Ok(peer) => {
                    let theirs =
                        self.load(peer, &local(PEER_PORT), "localhost", "/hello", connections)?;
                    report.run(
                        &format!("uvicorn + FastAPI, 2 workers, {connections} connections"),
                        &theirs,
                    );
                    report.ratio(
                        "warm Python throughput / FastAPI",
                        connections,
                        ours.per_second / theirs.per_second,
                        ">= 3 at 32",
                    );
                    report.ratio(
                        "warm p50 / FastAPI",
                        connections,
                        ours.p50_us / theirs.p50_us,
                        "<= 0.6 at 1",
                    );
                }
                Err(error) => report.note(&format!("uvicorn + FastAPI did not run: {error}")),
            }
        }
        Ok(())
    }

    fn warm_node(&self, report: &mut Report) -> Result<()> {
        let script = "const c=require('cluster');if(c.isPrimary){c.fork();c.fork();c.once('listening',()=>console.log('ready'))}\
            else require('http').createServer((q,s)=>{const b=JSON.stringify({message:'hello',path:q.url});\
            s.setHeader('content-type','application/json');s.setHeader('content-length',b.length);s.end(b)}).listen(+process.argv[1],'127.0.0.1')";
        let mut command = Command::new("node");
        command.args(["-e", script, &PEER_PORT.to_string()]);
        let bare = Program::start_ready(&mut command)?;
        let gatemill = Gatemill::start(&self.release)?;
        let route = gatemill.serve_function(
            "bench-node",
            "nodejs",
            "app.handler",
            &self.handlers().join("app.mjs"),
        )?;
        let address = gatemill.address();
        for connections in [1, 32] {
            let bare = self.load(&bare, &local(PEER_PORT), "localhost", "/hello", connections)?;
            let ours = self.load(&gatemill.program, &address, &route, "/hello", connections)?;
            report.run(&format!("bare Node.js cluster of 2, {connections} connections"), &bare);
            report.run(&format!("Gatemill: HTTP API -> Node.js, {connections} connections"), &ours);
            report.ratio(
                "warm Node.js throughput / bare cluster",
                connections,
                ours.per_second / bare.per_second,
                ">= 0.45 at 32",
            );
        }
        Ok(())
    }

    /// First calls of functions that nobody has called before.
    fn cold(&self, report: &mut Report) -> Result<()> {
        let gatemill = Gatemill::start(&self.release)?;
        for (family, file, goal) in [("python", "app.py", "<= 3"), ("nodejs", "app.mjs", "<= 5")] {
            let mut times = Vec::new();
            for n in 0..COLD_STARTS {
                let name = format!("cold-{family}-{n}");
                gatemill.create_function(
                    &name,
                    family,
                    "app.handler",
                    &self.handlers().join(file),
                )?;
                let start = Instant::now();
                gatemill.invoke(&name, r#"{"rawPath": "/x"}"#)?;
                times.push(start.elapsed().as_secs_f64() * 1e3);
            }
            report.value(
                &format!("cold start {family}, request to response, p50"),
                median(&mut times),
                "ms",
                goal,
            );
            report.value(
                &format!("cold start {family}, worst of {COLD_STARTS}"),
                times[COLD_STARTS - 1],
                "ms",
                "",
            );
        }
        let mut fresh = Vec::new();
        for _ in 0..COLD_STARTS {
            let start = Instant::now();
            let program = "import app; app.handler({'rawPath': '/x'}, None)";
            Command::new("python3")
                .args(["-c", program])
                .current_dir(self.handlers())
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .status()?;
            fresh.push(start.elapsed().as_secs_f64() * 1e3);
        }
        report.value(
            "for comparison: a fresh python3 that runs the handler once, p50",
            median(&mut fresh),
            "ms",
            "",
        );
        Ok(())
    }

    /// The control plane: how long a durable write takes.
    fn control(&self, report: &mut Report) -> Result<()> {
        let gatemill = Gatemill::start(&self.release)?;
        let mut times = Vec::new();
        let zip = aws::package(&self.handlers().join("app.py"))?;
        for n in 0..100 {
            let start = Instant::now();
            gatemill.create_function_now(&format!("control-{n}"), "python", "app.handler", &zip)?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        report.value("CreateFunction, durable, p50", median(&mut times), "ms", "");
        Ok(())
    }

    fn baseline(&self, name: &str, port: u16, more: &[&str]) -> Result<Program> {
        let mut command = Command::new(self.release.join(name));
        command.arg(port.to_string()).arg(THREADS).args(more);
        Program::start_ready(&mut command)
    }

    /// uvicorn with FastAPI, installed by pip into `target/bench`.
    fn fastapi(&self) -> Result<Program> {
        let venv = self.release.with_file_name("bench").join("venv");
        if !venv.join("bin/uvicorn").exists() {
            let made = Command::new("python3").args(["-m", "venv"]).arg(&venv).status()?;
            let packages =
                ["install", "-q", "--disable-pip-version-check", "fastapi", "uvicorn[standard]"];
            let installed = Command::new(venv.join("bin/pip")).args(packages).status()?;
            if !made.success() || !installed.success() {
                return Err("its packages could not be installed".into());
            }
        }
        let mut command = Command::new(venv.join("bin/uvicorn"));
        let port = PEER_PORT.to_string();
        command.args([
            "fastapi_app:app",
            "--workers",
            "2",
            "--log-level",
            "error",
            "--no-access-log",
            "--port",
            &port,
        ]);
        command.current_dir(self.handlers()).env("PYTHONDONTWRITEBYTECODE", "1");
        Program::start_listening(&mut command, PEER_PORT, Duration::from_secs(20))
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
