//! Environments: how long the first call takes, how many are made in a second, and what one more costs.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use super::{
    Bench, PEER_PORT, aws,
    aws::{Gatemill, Service},
    compiled::Compiled,
    local, median,
    report::Report,
    tempfile,
};
use crate::Result;

const COLD_STARTS: usize = 30;
/// Calls at once in the burst, each of which needs an environment of its own.
const BURST: usize = 1_000;
const BURST_WAIT: Duration = Duration::from_secs(90);

impl Bench {
    /// First calls of functions that nobody has called before.
    pub(super) fn cold(&self, report: &mut Report) -> Result<()> {
        let gatemill = Gatemill::start(&self.release)?;
        let scripts = |runtime, handler, name| {
            let file = self.handlers().join(name);
            Ok(Compiled { runtime, handler, file, event: r#"{"rawPath": "/x"}"# })
        };
        let functions = [
            ("python", scripts("python", "app.handler", "app.py"), "<= 3"),
            ("nodejs", scripts("nodejs", "app.handler", "app.mjs"), "<= 5"),
            ("java", self.java(), "<= 50"),
            (".NET", self.dotnet(), "<= 60"),
            ("go", self.go(), "<= 8"),
            ("rust", self.rust(), "<= 4"),
        ];
        let mut python = None;
        for (language, function, goal) in functions {
            match function.and_then(|function| first_calls(&gatemill, language, &function)) {
                Ok(mut times) => {
                    let p50 = median(&mut times);
                    python.get_or_insert(p50);
                    let what = format!("cold start {language}, request to response");
                    report.value(&format!("{what}, p50"), p50, "ms", goal);
                    let worst = times[times.len() - 1];
                    report.value(&format!("{what}, worst of {COLD_STARTS}"), worst, "ms", "");
                }
                Err(error) => report.note(&format!("cold start {language}: {error}")),
            }
        }
        self.fresh_python(report)?;
        if let (Some(ours), Ok(theirs)) = (python, self.ministack_cold()) {
            report.value("cold start python with MiniStack, p50", theirs, "ms", "");
            report.ratio("cold start python, MiniStack / ours", 1, theirs / ours, ">= 50");
        }
        Ok(())
    }

    fn fresh_python(&self, report: &mut Report) -> Result<()> {
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
        let p50 = median(&mut fresh);
        report.value("a fresh python3 that runs the handler once, p50", p50, "ms", "");
        Ok(())
    }

    fn ministack_cold(&self) -> Result<f64> {
        let _peer = self.ministack()?;
        let service = Service::at(local(PEER_PORT));
        let zip = aws::package(&self.handlers().join("app.py"))?;
        let mut times = Vec::new();
        for n in 0..5 {
            let name = format!("cold-{n}");
            service.create(&name, "python3.12", "app.handler", &zip, aws::ONE_CPU_MB)?;
            let start = Instant::now();
            service.invoke(&name, r#"{"rawPath": "/x"}"#)?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        Ok(median(&mut times))
    }

    /// A thousand calls at once of one function: how fast environments are made and ended, what each holds, and how long a
    /// bystander's calls take meanwhile.
    pub(super) fn burst(&self, report: &mut Report) -> Result<()> {
        let gatemill = Gatemill::start(&self.release)?;
        let file = self.handlers().join("slow.py");
        let small = aws::package(&file)?;
        let runtime = gatemill.runtime("python")?;
        gatemill.service.create("burst", &runtime, "slow.handler", &small, 128)?;
        let burst = gatemill.service.route("burst")?;
        let quiet = gatemill.serve_function(
            "bystander",
            "python",
            "app.handler",
            &self.handlers().join("app.py"),
        )?;
        let address = gatemill.address();
        let alone = self.load(&gatemill.program, &address, &quiet, "/hello", 1)?;
        let memory = gatemill.program.memory_mib()?;
        let begun = Instant::now();
        let mut load = Command::new(self.release.join("load"));
        // It ends after the first answers: each of its connections has one call.
        load.args([&address, &burst, "/", &BURST.to_string(), "0.5"]);
        let load = load.stdout(std::process::Stdio::piped()).spawn()?;
        let beside = self.generate(&address, &quiet, "/hello", 1, self.seconds)?;
        let said = load.wait_with_output()?;
        let all = begun.elapsed();
        let said: serde_json::Value = serde_json::from_slice(&said.stdout)?;
        if said["errors"].as_u64() != Some(0) {
            report.note(&format!("a burst of {BURST} calls: {said}"));
        }
        let (made, _) = gatemill.environments()?;
        let per_second = count(made) / (all.as_secs_f64() - 2.0).max(0.1);
        report.value("environments made for 1,000 calls of 2 s at once", count(made), "", "");
        report.value("starts per second, both cores", per_second, "/s", ">= 600");
        let each = (gatemill.program.memory_mib()? - memory) / count(made).max(1.0);
        report.value("memory of one more warm Python environment", each, "MiB", "<= 2");
        let p99 = beside["p99_us"].as_f64().ok_or("no p99")?;
        report.value("bystander alone, p99", alone.p99_us, "us", "");
        report.value("bystander beside the burst, p99", p99, "us", "");
        report.ratio("p99 of a bystander, burst / alone", 1, p99 / alone.p99_us, "<= 2");
        let begun = Instant::now();
        gatemill.service.delete("burst")?;
        // The bystander's own stay.
        let before = gatemill.environments()?.1.min(made);
        while gatemill.environments()?.1 > made.saturating_sub(BURST) + 8 {
            if begun.elapsed() > BURST_WAIT {
                return Err("the environments of a deleted function stay".into());
            }
            std::thread::yield_now();
        }
        let per_second = count(before) / begun.elapsed().as_secs_f64();
        report.value("environments ended per second, both cores", per_second, "/s", "");
        Ok(())
    }

    /// Start to ready, idle memory, size of the binary.
    pub(super) fn server(&self, report: &mut Report) -> Result<()> {
        let mut starts = Vec::new();
        let mut memory = 0.0;
        let data = tempfile("start")?;
        for _ in 0..super::SERVER_STARTS {
            let start = Instant::now();
            let server = Gatemill::start_in(&self.release, &data)?;
            starts.push(start.elapsed().as_secs_f64() * 1e3);
            memory = server.program.memory_mib()?;
        }
        fs::remove_dir_all(&data)?;
        report.value("server start to ready, p50", median(&mut starts), "ms", "<= 50");
        let what = "idle memory (proportional set size of all its processes)";
        report.value(what, memory, "MiB", "<= 30");
        let binary = fs::metadata(self.release.join("gatemill"))?.len();
        #[allow(clippy::cast_precision_loss, reason = "a file of a few megabytes")]
        report.value("binary", binary as f64 / 1e6, "MB", "<= 40");
        Ok(())
    }
}

fn first_calls(gatemill: &Gatemill, language: &str, function: &Compiled) -> Result<Vec<f64>> {
    let Compiled { runtime, handler, file, event } = function;
    let runtime = gatemill.runtime(runtime).unwrap_or_else(|_| (*runtime).to_owned());
    let zip = aws::package(file)?;
    let mut times = Vec::new();
    for n in 0..COLD_STARTS {
        let name = format!("cold-{}-{n}", language.trim_start_matches('.'));
        gatemill.service.create(&name, &runtime, handler, &zip, aws::ONE_CPU_MB)?;
        gatemill.rest()?;
        let start = Instant::now();
        gatemill.service.invoke(&name, event)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}

#[allow(clippy::cast_precision_loss, reason = "a thousand environments")]
fn count(number: usize) -> f64 {
    number as f64
}
