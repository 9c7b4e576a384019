//! Warm calls while something else goes on: programs that use every core, and a restart of the server.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::{Bench, aws::Gatemill, report::Report};
use crate::Result;

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
    /// A warm function with one client, alone and beside as many busy programs as there are cores.
    pub(super) fn hogs(&self, report: &mut Report) -> Result<()> {
        let gatemill = Gatemill::start(&self.release)?;
        let file = self.handlers().join("app.py");
        let route = gatemill.serve_function("quiet", "python", "app.handler", &file)?;
        let address = gatemill.address();
        let alone = self.load(&gatemill.program, &address, &route, "/hello", 1)?;
        report.run("one client, alone", &alone);
        let hogs = [Hog::start()?, Hog::start()?];
        let beside = self.load(&gatemill.program, &address, &route, "/hello", 1)?;
        drop(hogs);
        report.run("one client, beside two CPU hogs", &beside);
        report.value("warm p99 beside two CPU hogs", beside.p99_us / 1e3, "ms", "<= 2");
        Ok(())
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
