//! The control plane: how long its calls take, with few functions and with very many.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use super::{
    Bench,
    aws::{self, Gatemill, Service},
    median,
    report::Report,
    tempfile,
};
use crate::Result;

/// Functions of the store that is nearly empty: enough for a full page of a list.
const FEW: usize = 60;
const MANY: usize = 100_000;
const VERSIONS: usize = 1_000;
const CALLS: usize = 100;
/// A call on a full store may take so many times as long as on an empty one.
const TIMES: &str = "<= 2";

/// What a call takes, by its name, in milliseconds.
type Times = Vec<(&'static str, f64)>;

impl Bench {
    /// Durable writes, reads and pages of lists: first with few functions, then with 100,000 of them and 1,000 versions of
    /// one, and how long such a store takes to open.
    pub(super) fn control(&self, report: &mut Report) -> Result<()> {
        let data = tempfile("control")?;
        let measured = self.few_and_many(report, &data);
        fs::remove_dir_all(&data)?;
        measured
    }

    fn few_and_many(&self, report: &mut Report, data: &Path) -> Result<()> {
        let zip = aws::package(&self.handlers().join("app.py"))?;
        let runtime = Gatemill::start(&self.release)?.runtime("python")?;
        let gatemill = Gatemill::start_in(&self.release, data)?;
        let service = &gatemill.service;
        service.create("seed", &runtime, "app.handler", &zip, aws::ONE_CPU_MB)?;
        service.lambda("POST", "/2015-03-31/functions/seed/versions", "{}")?;
        for n in 0..FEW {
            service.create_now(
                &format!("few-{n}"),
                &runtime,
                "app.handler",
                &zip,
                aws::ONE_CPU_MB,
            )?;
        }
        let few = times(service, "first", &runtime, &zip)?;
        drop(gatemill);
        let filled = Command::new(self.release.join("fill"))
            .arg(data.join("store"))
            .args([MANY.to_string(), VERSIONS.to_string()])
            .status()?;
        if !filled.success() {
            return Err("the store could not be filled".into());
        }
        let start = Instant::now();
        let gatemill = Gatemill::start_in(&self.release, data)?;
        let took = start.elapsed().as_secs_f64() * 1e3;
        report.value("server start to ready, 100,000 functions", took, "ms", "<= 1000");
        let many = times(&gatemill.service, "second", &runtime, &zip)?;
        for ((what, few), (_, many)) in few.iter().zip(&many) {
            report.value(&format!("{what}, durable store, p50"), *few, "ms", "");
            report.value(&format!("{what}, with 100,000 functions, p50"), *many, "ms", "");
            report.ratio(&format!("{what}, many / few"), 1, many / few, TIMES);
        }
        Ok(())
    }
}

/// Measures each call.
fn times(service: &Service, round: &str, runtime: &str, zip: &str) -> Result<Times> {
    let get = |path: &'static str| move |_: usize| service.lambda("GET", path, "").map(drop);
    let create = |n: usize| {
        let name = format!("{round}-{n}");
        service.create_now(&name, runtime, "app.handler", zip, aws::ONE_CPU_MB)
    };
    Ok(vec![
        ("reading a function", p50(get("/2015-03-31/functions/seed"))?),
        ("reading a version", p50(get("/2015-03-31/functions/seed?Qualifier=1"))?),
        ("a page of 50 functions", p50(get("/2015-03-31/functions?MaxItems=50"))?),
        ("a page of 1 version", p50(get("/2015-03-31/functions/seed/versions?MaxItems=1"))?),
        ("creating a function", p50(create)?),
    ])
}

fn p50(call: impl Fn(usize) -> Result<()>) -> Result<f64> {
    let mut times = Vec::new();
    for n in 0..CALLS {
        let start = Instant::now();
        call(n)?;
        times.push(start.elapsed().max(Duration::from_micros(1)).as_secs_f64() * 1e3);
    }
    Ok(median(&mut times))
}
