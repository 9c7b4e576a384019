//! Warm calls while something else goes on: programs that use every core, and a restart of the server.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::{Bench, FLOOR_PORT, aws::Gatemill, local, report::Report};
use crate::Result;

/// As many as the cores that the goals are for.
const HOGS: usize = 2;

/// A program that does nothing but use a core; dropping it ends it.
struct Hog(Child);

impl Hog {
    fn start() -> Result<Self> {
        let child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn()?;
        Ok(Self(child))
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Bench {
    /// A warm function with one client, alone, beside as many busy programs as there are cores, and beside as many busy
    /// functions.
    pub(super) fn hogs(&self, report: &mut Report) -> Result<()> {
        let worker = self.handlers().join("floor_worker.py");
        let worker = worker.to_str().ok_or("a path in UTF-8")?;
        let floor = self.baseline("floor", FLOOR_PORT, &[worker])?;
        let gatemill = Gatemill::start(&self.release)?;
        let file = self.handlers().join("app.py");
        let route = gatemill.serve_function("quiet", "python", "app.handler", &file)?;
        let address = gatemill.address();
        self.generate(&address, &route, "/hello", 1, self.warm_up)?;
        let alone = self.favoured(&address, &route)?;
        report.value("warm p99, alone", alone, "us", "");
        let hogs = [Hog::start()?, Hog::start()?];
        let beside = self.favoured(&address, &route)?;
        let ordinary = self.favoured(&local(FLOOR_PORT), "localhost")?;
        drop((hogs, floor));
        report.value("warm p99 beside two CPU hogs", beside / 1e3, "ms", "<= 2");
        let what = "floor program (ordinary scheduling), p99 beside two CPU hogs";
        report.value(what, ordinary / 1e3, "ms", "");
        report.ratio("p99 beside hogs, ordinary / ours", 1, ordinary / beside, ">= 20");
        let hog = self.handlers().join("hog.py");
        gatemill.serve_function("hog", "python", "hog.handler", &hog)?;
        let event = format!(r#"{{"seconds": {}}}"#, self.seconds + 1.0);
        let p99 = std::thread::scope(|scope| {
            let calls = [(); HOGS]
                .map(|()| scope.spawn(|| gatemill.service.invoke("hog", &event).map_err(drop)));
            let p99 = self.favoured(&address, &route).map_err(|error| error.to_string());
            let ended = calls.into_iter().all(|call| matches!(call.join(), Ok(Ok(_))));
            p99.and_then(|p99| ended.then_some(p99).ok_or("a busy function failed".to_owned()))
        })?;
        report.value("warm p99 beside two functions that use all CPU", p99 / 1e3, "ms", "");
        Ok(())
    }

    /// The p99 in microseconds of one client that goes before everything else on the machine: what is measured is how
    /// long the server waits for the CPU, and not how long the client does.
    fn favoured(&self, address: &str, host: &str) -> Result<f64> {
        let output = Command::new("nice")
            .args(["-n", "-20"])
            .arg(self.release.join("load"))
            .args([address, host, "/hello", "1", &self.seconds.to_string()])
            .stderr(Stdio::inherit())
            .output()?;
        let said: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        if said["errors"].as_u64() != Some(0) {
            return Err(format!("errors beside hogs: {said}").into());
        }
        Ok(said["p99_us"].as_f64().ok_or("no p99")?)
    }

    /// Restarts the server by SIGHUP while clients call: how many calls fail.
    pub(super) fn restart(&self, report: &mut Report) -> Result<()> {
        let gatemill = Gatemill::start(&self.release)?;
        let file = self.handlers().join("app.py");
        let route = gatemill.serve_function("restarted", "python", "app.handler", &file)?;
        let address = gatemill.address();
        self.generate(&address, &route, "/hello", 8, 1.0)?;
        let seconds = self.seconds.max(3.0);
        let mut load = Command::new(self.release.join("load"));
        load.args([&address, &route, "/hello", "8", &seconds.to_string()]);
        let load = load.stdout(Stdio::piped()).spawn()?;
        for _ in 0..2 {
            std::thread::sleep(Duration::from_secs_f64(seconds / 3.0));
            gatemill.program.signal("HUP")?;
        }
        let said = load.wait_with_output()?;
        let said: serde_json::Value = serde_json::from_slice(&said.stdout)?;
        let number = |name: &str| said[name].as_f64().ok_or(format!("no {name}"));
        report.value("calls during two restarts", number("requests")?, "", "");
        report.value("calls that failed meanwhile", number("errors")?, "", "0");
        if said["errors"].as_u64() != Some(0) {
            report.note(&format!("the first failure: {}", said["first_error"]));
        }
        report.value("the longest call meanwhile", number("max_us")? / 1e3, "ms", "");
        Ok(())
    }
}
