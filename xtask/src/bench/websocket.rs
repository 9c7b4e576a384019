//! WebSocket connections: the memory of idle ones, and a broadcast against the bare library's loop.
//!
//! A broadcast in AWS's API is one post to `@connections` per connection, each a signed HTTP request. The library's loop has
//! none of that: the ratio says what the API costs, and the CPU per delivery says it without the load generator's part.

use std::{
    fs,
    io::Read as _,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use super::{Bench, FLOOR_PORT, aws::Gatemill, local, process::Program, report::Report};
use crate::Result;

/// As many as a process with 20,000 file descriptors takes: half of them are for connections.
const IDLE: u32 = 9_000;
const LISTENERS: u32 = 500;
const ROUNDS: u32 = 100;

impl Bench {
    pub(super) fn websocket(&self, report: &mut Report) -> Result<()> {
        let gatemill = Gatemill::start(&self.release)?;
        let path = gatemill.service.websocket_api()?;
        self.idle(report, &gatemill, &path)?;
        self.broadcast(report, &gatemill, &path)
    }

    fn idle(&self, report: &mut Report, gatemill: &Gatemill, path: &str) -> Result<()> {
        let (before, kernel_before) = (gatemill.program.memory_mib()?, slab_mib()?);
        let mut command = Command::new(self.release.join("sockets"));
        command.args([&gatemill.address(), path, &IDLE.to_string(), "hold"]);
        let holding = Program::start_ready(&mut command)?;
        let process = gatemill.program.memory_mib()? - before;
        // Both ends are on this machine.
        let kernel = (slab_mib()? - kernel_before).max(0.0) / 2.0;
        drop(holding);
        let each = |mib: f64| mib * 1024.0 / f64::from(IDLE);
        report.value("memory of one idle connection, process", each(process), "KiB", "");
        report.value("memory of one idle connection, kernel", each(kernel), "KiB", "");
        let per_gib = 1024.0 * f64::from(IDLE) / (process + kernel);
        report.value("idle connections per GiB, process and kernel", per_gib, "", ">= 80,000");
        Ok(())
    }

    fn broadcast(&self, report: &mut Report, gatemill: &Gatemill, path: &str) -> Result<()> {
        let (connections, rounds) = (LISTENERS.to_string(), ROUNDS.to_string());
        let mut command = Command::new(self.release.join("websocket_floor"));
        command.args([&FLOOR_PORT.to_string(), &connections, &rounds]);
        let floor = Program::start_ready(&mut command)?;
        let bare = self.deliver(&floor, &local(FLOOR_PORT), "/", "loop")?;
        drop(floor);
        let ours = self.deliver(&gatemill.program, &gatemill.address(), path, "post")?;
        for (what, (per_second, cpu_us)) in [("the library's loop", bare), ("`@connections`", ours)]
        {
            report.value(&format!("broadcast by {what}"), per_second, "deliveries/s", "");
            report.value(&format!("CPU of a delivery by {what}"), cpu_us, "us", "");
        }
        let ratio = ours.0 / bare.0;
        report.ratio("broadcast / the bare library's loop", LISTENERS, ratio, ">= 0.7");
        Ok(())
    }

    /// Deliveries a second, and the server's CPU for one, in microseconds.
    fn deliver(
        &self,
        server: &Program,
        address: &str,
        path: &str,
        how: &str,
    ) -> Result<(f64, f64)> {
        let before = server.cpu_us()?;
        let mut child = Command::new(self.release.join("sockets"))
            .args([address, path, &LISTENERS.to_string(), how, &ROUNDS.to_string()])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = String::new();
        child.stdout.take().ok_or("no output")?.read_to_string(&mut said)?;
        if !child.wait()?.success() {
            return Err("the clients failed".into());
        }
        let used = server.cpu_us()? - before;
        let said: Value = serde_json::from_str(said.lines().last().unwrap_or_default())?;
        let number = |name: &str| said[name].as_f64().ok_or("the clients said nothing");
        Ok((number("per_second")?, used / number("deliveries")?))
    }
}

/// What the kernel holds in small objects, sockets among them.
fn slab_mib() -> Result<f64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find(|line| line.starts_with("Slab:")).ok_or("no Slab")?;
    let kib: f64 = line.split_whitespace().nth(1).ok_or("no Slab")?.parse()?;
    Ok(kib / 1024.0)
}

/// A WebSocket API that answers every message with an error.
pub(super) fn api_request() -> Value {
    json!({
        "name": "bench", "protocolType": "WEBSOCKET",
        "routeSelectionExpression": "$request.body.action",
    })
}
