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

/// What the store holds that is nearly empty: enough for a full page of each list.
const FEW: Filled = Filled { functions: 60, versions: 1, mappings: 60, apis: 60 };
const MANY: Filled = Filled { functions: 100_000, versions: 1_000, mappings: 10_000, apis: 10_000 };
const CALLS: usize = 100;
/// A call on a full store may take so many times as long as on an empty one.
const TIMES: &str = "<= 2";

struct Filled {
    functions: u32,
    versions: u32,
    mappings: u32,
    apis: u32,
}

/// What a call takes, by its name, in milliseconds.
type Times = Vec<(&'static str, f64)>;

impl Bench {
    /// Durable writes, reads, pages of lists and a warm call: first with little stored, then with 100,000 functions, 1,000
    /// versions of one, 10,000 mappings and 10,000 APIs; and how long such a store takes to open.
    pub(super) fn control(&self, report: &mut Report) -> Result<()> {
        let data = tempfile("control")?;
        let measured = self.few_and_many(report, &data);
        fs::remove_dir_all(&data)?;
        measured
    }

    fn few_and_many(&self, report: &mut Report, data: &Path) -> Result<()> {
        let app = self.handlers().join("app.py");
        let zip = aws::package(&app)?;
        let runtime = Gatemill::start(&self.release)?.runtime("python")?;
        let gatemill = Gatemill::start_in(&self.release, data)?;
        let service = &gatemill.service;
        let host = service.serve("seed", &runtime, "app.handler", &app)?;
        service.lambda("POST", "/2015-03-31/functions/seed/versions", "{}")?;
        drop(gatemill);
        self.fill(data, &FEW)?;
        let gatemill = Gatemill::start_in(&self.release, data)?;
        let few = times(&gatemill.service, "first", &runtime, &zip)?;
        let warm_few = self.load(&gatemill.program, &gatemill.address(), &host, "/hello", 1)?;
        drop(gatemill);
        self.fill(data, &MANY)?;
        let start = Instant::now();
        let gatemill = Gatemill::start_in(&self.release, data)?;
        let took = start.elapsed().as_secs_f64() * 1e3;
        report.value("server start to ready, 100,000 functions", took, "ms", "<= 1000");
        let many = times(&gatemill.service, "second", &runtime, &zip)?;
        let warm_many = self.load(&gatemill.program, &gatemill.address(), &host, "/hello", 1)?;
        for ((what, few), (_, many)) in few.iter().zip(&many) {
            report.value(&format!("{what}, durable store, p50"), *few, "ms", "");
            report.value(&format!("{what}, with very much stored, p50"), *many, "ms", "");
            report.ratio(&format!("{what}, many / few"), 1, many / few, TIMES);
        }
        report.run("warm Python call, little stored", &warm_few);
        report.run("warm Python call, 100,000 functions and 10,000 APIs stored", &warm_many);
        let cpu = warm_many.cpu_us / warm_few.cpu_us;
        report.ratio("CPU of a warm call, many / few", 1, cpu, "<= 1.05");
        Ok(())
    }

    fn fill(&self, data: &Path, with: &Filled) -> Result<()> {
        let Filled { functions, versions, mappings, apis } = with;
        let numbers = [functions, versions, mappings, apis].map(u32::to_string);
        let fill = self.release.join("fill");
        let filled = Command::new(fill).arg(data.join("store")).args(numbers).status()?;
        if filled.success() { Ok(()) } else { Err("the store could not be filled".into()) }
    }
}

/// Measures each call.
fn times(service: &Service, round: &str, runtime: &str, zip: &str) -> Result<Times> {
    let get = |path: &'static str| move |_: usize| service.lambda("GET", path, "").map(drop);
    let apis = |_: usize| service.gateway("GET", "/v2/apis?maxResults=25", "").map(drop);
    let create = |n: usize| {
        let name = format!("{round}-{n}");
        service.create_now(&name, runtime, "app.handler", zip, aws::ONE_CPU_MB)
    };
    Ok(vec![
        ("reading a function", p50(get("/2015-03-31/functions/seed"))?),
        ("reading a version", p50(get("/2015-03-31/functions/seed?Qualifier=1"))?),
        ("a page of 50 functions", p50(get("/2015-03-31/functions?MaxItems=50"))?),
        ("a page of 1 version", p50(get("/2015-03-31/functions/seed/versions?MaxItems=1"))?),
        ("a page of 50 mappings", p50(get("/2015-03-31/event-source-mappings?MaxItems=50"))?),
        ("a page of 25 APIs", p50(apis)?),
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
