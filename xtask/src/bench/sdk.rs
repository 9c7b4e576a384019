//! First calls of functions that make clients of AWS's SDKs, which is what most real functions do: Python's out of a
//! snapshot, and the memory of more of them; Node.js's from the start.

use std::{path::Path, process::Command, time::Instant};

use super::{
    Bench,
    aws::{self, Gatemill},
    median, peers,
    report::Report,
};
use crate::Result;

/// Each has a package of many megabytes to unpack before it is measured.
const FUNCTIONS: usize = 10;
const AT_ONCE: u32 = 100;

impl Bench {
    pub(super) fn sdk(&self, report: &mut Report) -> Result<()> {
        let gatemill = Gatemill::start(&self.release)?;
        self.boto3(&gatemill, report)?;
        self.node_clients(&gatemill, report)
    }

    fn boto3(&self, gatemill: &Gatemill, report: &mut Report) -> Result<()> {
        let packages = peers::site_packages(&self.venv()?)?;
        let parts =
            ["boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six.py"];
        let zip = aws::package_of(&self.handlers().join("sdk.py"), &packages, &parts)?;
        // The first release that AWS has snapshots for.
        let runtime = gatemill.runtime("python3.12")?;
        let mut times = Vec::new();
        for n in 0..FUNCTIONS {
            let name = format!("boto3-{n}");
            gatemill.service.create(&name, &runtime, "sdk.handler", &zip, aws::ONE_CPU_MB)?;
            gatemill.service.publish_snapshot(&name)?;
        }
        // After all of them, so that nothing is unpacked or forked beside a call.
        for n in 0..FUNCTIONS {
            let name = format!("boto3-{n}");
            let (path, _) = gatemill.service.invocation(&name, "?Qualifier=1");
            gatemill.rest()?;
            let start = Instant::now();
            gatemill.service.lambda("POST", &path, "{}")?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        let ours = median(&mut times);
        report.value("first call of a boto3 client from a snapshot, p50", ours, "ms", "<= 4");
        let mut python = Command::new("python3");
        python.env("PYTHONPATH", &packages).env("PYTHONDONTWRITEBYTECODE", "1");
        python.args(["-c", "import sdk; sdk.handler({}, None)"]);
        let fresh = self.fresh(&mut python, &self.handlers())?;
        report.value("a fresh python3 that makes a boto3 client, p50", fresh, "ms", "");
        report.ratio("a boto3 client, fresh process / snapshot", 1, fresh / ours, ">= 80");
        self.memory_of_boto3(gatemill, report)
    }

    fn memory_of_boto3(&self, gatemill: &Gatemill, report: &mut Report) -> Result<()> {
        let (before, made_before) = (gatemill.program.memory_mib()?, gatemill.environments()?.0);
        let (path, headers) = gatemill.service.invocation("boto3-0", "?Qualifier=1");
        let address = gatemill.address();
        let more = ["200", &headers, r#"{"seconds": 2}"#];
        self.generate_with((&address, &address, &path), AT_ONCE, 0.5, &more)?;
        let made = gatemill.environments()?.0.saturating_sub(made_before);
        let made = f64::from(u32::try_from(made)?.max(1));
        let each = (gatemill.program.memory_mib()? - before) / made;
        report.value("environments with boto3 made from a snapshot", made, "", "");
        report.value("memory of one more of them", each, "MiB", "<= 3");
        Ok(())
    }

    fn node_clients(&self, gatemill: &Gatemill, report: &mut Report) -> Result<()> {
        let folder = self.node_sdk()?;
        let file = folder.join("sdk.mjs");
        std::fs::copy(self.handlers().join("sdk.mjs"), &file)?;
        let zip = aws::package_of(&file, &folder, &["node_modules"])?;
        let runtime = gatemill.runtime("nodejs")?;
        let mut times = Vec::new();
        for n in 0..FUNCTIONS {
            let name = format!("node-sdk-{n}");
            gatemill.service.create(&name, &runtime, "sdk.handler", &zip, aws::ONE_CPU_MB)?;
            gatemill.rest()?;
            let start = Instant::now();
            gatemill.service.invoke(&name, "{}")?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        let ours = median(&mut times);
        report.value("first call of Node.js with clients of AWS's SDK, p50", ours, "ms", "");
        let mut node = Command::new("node");
        node.args(["-e", "import('./sdk.mjs').then((sdk) => sdk.handler())"]);
        let fresh = self.fresh(&mut node, &folder)?;
        report.value("a fresh node that makes them, p50", fresh, "ms", "");
        report.ratio("clients of AWS's SDK, first call / fresh node", 1, ours / fresh, "<= 0.25");
        Ok(())
    }

    fn fresh(&self, command: &mut Command, directory: &Path) -> Result<f64> {
        let mut times = Vec::new();
        for _ in 0..FUNCTIONS {
            let start = Instant::now();
            if !command.current_dir(directory).status()?.success() {
                return Err("a fresh process failed".into());
            }
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        Ok(median(&mut times))
    }
}
