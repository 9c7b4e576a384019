//! Asynchronous events: how many are accepted, durably, in a second, and how long a caller waits for that.
//!
//! The function takes one event at a time and each takes long, so that what is measured is accepting and not running.

use super::{
    Bench,
    aws::{Gatemill, ONE_CPU_MB, package},
    report::Report,
};
use crate::Result;

const CONNECTIONS: [u32; 3] = [1, 32, 128];

impl Bench {
    pub(super) fn events(&self, report: &mut Report) -> Result<()> {
        let gatemill = Gatemill::start(&self.release)?;
        let file = self.handlers().join("slow.py");
        let (runtime, zip) = (gatemill.runtime("python")?, package(&file)?);
        gatemill.service.create("bench-events", &runtime, "slow.handler", &zip, ONE_CPU_MB)?;
        gatemill.service.reserve("bench-events", 1)?;
        let address = gatemill.address();
        let (path, headers) = gatemill.service.event_call("bench-events");
        let more = ["202", &headers, "{\"n\":1}"];
        for connections in CONNECTIONS {
            let at = (address.as_str(), address.as_str(), path.as_str());
            let run = self.load_with(&gatemill.program, at, connections, &more)?;
            report.run(&format!("accepted asynchronous events, {connections} connections"), &run);
            if connections == 128 {
                report.value("accepted asynchronous events", run.per_second, "/s", ">= 20000");
                report.value("p99 of accepting", run.p99_us / 1000.0, "ms", "<= 10");
            }
        }
        Ok(())
    }
}
