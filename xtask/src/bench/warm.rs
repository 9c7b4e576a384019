//! Warm calls through the gateway, against the floor and against what people use today.

use std::process::Command;

use super::{
    Bench, FLOOR_PORT, HELLO_PORT, PEER_PORT, Run, aws,
    aws::{Gatemill, Service},
    local, peers,
    process::Program,
    report::Report,
};
use crate::Result;

const BARE_NODE: &str = "const c=require('cluster');if(c.isPrimary){c.fork();c.fork();c.once('listening',()=>console.log('ready'))}\
    else require('http').createServer((q,s)=>{const b=JSON.stringify({message:'hello',path:q.url});\
    s.setHeader('content-type','application/json');s.setHeader('content-length',b.length);s.end(b)}).listen(+process.argv[1],'127.0.0.1')";

/// Routes of an API that has many.
const ROUTES: u32 = 10_000;

/// A server to compare with, and how it is asked.
struct Peer {
    name: &'static str,
    start: fn(&Bench) -> Result<Program>,
    path: &'static str,
    goal: &'static str,
}

const PYTHON_PEERS: [Peer; 3] = [
    Peer { name: "FastAPI", start: Bench::fastapi, path: "/hello", goal: ">= 3" },
    Peer { name: "gunicorn + Flask", start: Bench::flask, path: "/hello", goal: ">= 8" },
    Peer { name: "serverless-offline", start: Bench::serverless, path: "/python", goal: ">= 8" },
];

impl Bench {
    pub(super) fn warm_python(&self, report: &mut Report) -> Result<()> {
        let hello = self.hello()?;
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
        let mut ours_at_32 = None;
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
            let cpu = ours.cpu_us / floor.cpu_us;
            report.ratio("CPU per warm Python call / floor", connections, cpu, "<= 2.0");
            let rate = ours.per_second / floor.per_second;
            report.ratio("warm Python throughput / floor", connections, rate, ">= 0.6 at 32");
            let p50 = ours.p50_us / hello.p50_us;
            report.ratio("warm p50 / bare hyper", connections, p50, "<= 2.5 at 1");
            if connections == 1 {
                self.fastapi_alone(report, &ours);
            } else {
                ours_at_32 = Some(ours);
            }
        }
        drop((hello, floor, gatemill));
        let ours = ours_at_32.ok_or("no figure at 32 connections")?;
        for peer in &PYTHON_PEERS {
            self.compare(report, peer, "warm Python throughput", &ours);
        }
        self.ministack_warm(report, &ours)
    }

    fn fastapi_alone(&self, report: &mut Report, ours: &Run) {
        let theirs = self
            .fastapi()
            .and_then(|peer| self.load(&peer, &local(PEER_PORT), "localhost", "/hello", 1));
        match theirs {
            Ok(theirs) => {
                report.run("FastAPI, 1 connection", &theirs);
                report.ratio("warm p50 / FastAPI", 1, ours.p50_us / theirs.p50_us, "<= 0.6");
            }
            Err(error) => report.note(&format!("FastAPI did not run: {error}")),
        }
    }

    fn compare(&self, report: &mut Report, peer: &Peer, what: &str, ours: &Run) {
        let theirs = (peer.start)(self)
            .and_then(|server| self.load(&server, &local(PEER_PORT), "localhost", peer.path, 32));
        match theirs {
            Ok(theirs) => {
                report.run(&format!("{}, 32 connections", peer.name), &theirs);
                let ratio = ours.per_second / theirs.per_second;
                report.ratio(&format!("{what} / {}", peer.name), 32, ratio, peer.goal);
            }
            Err(error) => report.note(&format!("{} did not run: {error}", peer.name)),
        }
    }

    /// MiniStack waits 50 ms after each call of a handler that logs nothing, so one that logs is its better case. Both have
    /// the eight connections at which it was found to be fastest.
    fn ministack_warm(&self, report: &mut Report, ours: &Run) -> Result<()> {
        let peer = match self.ministack() {
            Ok(peer) => peer,
            Err(error) => {
                report.note(&format!("MiniStack did not run: {error}"));
                return Ok(());
            }
        };
        let service = Service::at(local(PEER_PORT));
        let plain = self.handlers().join("app.py");
        for (name, file) in [("silent", plain.clone()), ("logging", self.logging_handler()?)] {
            let served = service
                .serve(&format!("bench-{name}"), "python3.12", "app.handler", &file)
                .and_then(|host| self.load(&peer, &local(PEER_PORT), &host, "/hello", 8));
            match served {
                Ok(theirs) => {
                    report.run(&format!("MiniStack, {name} handler, 8 connections"), &theirs);
                    let ratio = ours.per_second / theirs.per_second;
                    let what = format!("warm Python throughput / MiniStack, {name} handler");
                    report.ratio(&what, 32, ratio, ">= 100");
                }
                Err(error) => report.note(&format!("MiniStack, {name} handler: {error}")),
            }
        }
        Ok(())
    }

    /// The measured handler with one line of log per call.
    fn logging_handler(&self) -> Result<std::path::PathBuf> {
        let text = std::fs::read_to_string(self.handlers().join("app.py"))?;
        let text = text.replace("    name =", "    print('called', file=sys.stderr)\n    name =");
        let text = text.replace("import json", "import json\nimport sys");
        let directory = super::tempfile("logging")?;
        std::fs::write(directory.join("app.py"), text)?;
        Ok(directory.join("app.py"))
    }

    pub(super) fn warm_node(&self, report: &mut Report) -> Result<()> {
        let mut command = Command::new("node");
        command.args(["-e", BARE_NODE, &HELLO_PORT.to_string()]);
        let bare = Program::start_ready(&mut command)?;
        let gatemill = Gatemill::start(&self.release)?;
        let route = gatemill.serve_function(
            "bench-node",
            "nodejs",
            "app.handler",
            &self.handlers().join("app.mjs"),
        )?;
        let address = gatemill.address();
        let mut last = None;
        for connections in [1, 32] {
            let bare = self.load(&bare, &local(HELLO_PORT), "localhost", "/hello", connections)?;
            let ours = self.load(&gatemill.program, &address, &route, "/hello", connections)?;
            report.run(&format!("bare Node.js cluster of 2, {connections} connections"), &bare);
            report.run(&format!("Gatemill: HTTP API -> Node.js, {connections} connections"), &ours);
            let ratio = ours.per_second / bare.per_second;
            let what = "warm Node.js throughput / bare cluster";
            report.ratio(what, connections, ratio, ">= 0.45 at 32");
            last = Some(ours);
        }
        let ours = last.ok_or("no figure")?;
        let peer = Peer {
            name: "serverless-offline",
            start: Bench::serverless,
            path: "/node",
            goal: ">= 10",
        };
        self.compare(report, &peer, "warm Node.js throughput", &ours);
        Ok(())
    }

    /// The same handler behind our client and behind AWS's, which speaks the HTTP Runtime API: CPU per call of server and
    /// environment together.
    pub(super) fn frames(&self, report: &mut Report) -> Result<()> {
        let packages = peers::site_packages(&self.venv()?)?;
        let gatemill = Gatemill::start(&self.release)?;
        let file = self.handlers().join("app.py");
        let ours = gatemill.serve_function("bench-frame", "python", "app.handler", &file)?;
        let zip = aws::package_with(&file, &packages)?;
        gatemill.service.create(
            "bench-http",
            "provided.al2023",
            "app.handler",
            &zip,
            super::aws::ONE_CPU_MB,
        )?;
        let theirs = gatemill.service.route("bench-http")?;
        let address = gatemill.address();
        for connections in [1, 32] {
            let frame = self.load(&gatemill.program, &address, &ours, "/hello", connections)?;
            let http = self.load(&gatemill.program, &address, &theirs, "/hello", connections)?;
            report.run(&format!("our client, {connections} connections"), &frame);
            report.run(&format!("AWS's client, {connections} connections"), &http);
            let ratio = http.cpu_us / frame.cpu_us;
            report.ratio(
                "CPU per call, AWS's client / ours, gateway included",
                connections,
                ratio,
                ">= 4",
            );
        }
        Ok(())
    }

    /// What the gateway costs without a function: an answer of its own, and a server behind it.
    pub(super) fn gateway(&self, report: &mut Report) -> Result<()> {
        let hello = self.hello()?;
        let nginx = self.nginx()?;
        let gatemill = Gatemill::start(&self.release)?;
        let proxied = gatemill.service.proxy(&format!("http://{}/hello", local(HELLO_PORT)))?;
        let address = gatemill.address();
        let bare = self.load(&hello, &local(HELLO_PORT), "localhost", "/hello", 32)?;
        let fixed_nginx =
            self.load_status(&nginx, &local(PEER_PORT), "localhost", "/fixed", 32, 404)?;
        let fixed = self.load_status(&gatemill.program, &address, &proxied, "/none", 32, 404)?;
        report.run("bare hyper, 32 connections", &bare);
        report.run("nginx, return 404, 32 connections", &fixed_nginx);
        report.run("Gatemill, a fixed answer (404 of an HTTP API), 32 connections", &fixed);
        let cpu = fixed.cpu_us / fixed_nginx.cpu_us;
        report.ratio("fixed answer, CPU / nginx return", 32, cpu, "<= 2");
        let rate = fixed.per_second / bare.per_second;
        report.ratio("fixed answer, throughput / bare hyper", 32, rate, ">= 0.7");
        let proxy_nginx = self.load(&nginx, &local(PEER_PORT), "localhost", "/hello", 32)?;
        let proxy = self.load(&gatemill.program, &address, &proxied, "/hello", 32)?;
        report.run("nginx, proxy_pass, 32 connections", &proxy_nginx);
        report.run("Gatemill, HTTP_PROXY, 32 connections", &proxy);
        let cpu = proxy.cpu_us / proxy_nginx.cpu_us;
        report.ratio("HTTP proxy, CPU / nginx proxy_pass", 32, cpu, "<= 1.7");
        let routes = if self.quick { 500 } else { ROUTES };
        gatemill.service.routes(&proxied, 0..1)?;
        let few = self.load(&gatemill.program, &address, &proxied, "/items/0/x", 32)?;
        report.run("Gatemill, HTTP_PROXY, a route with a parameter", &few);
        gatemill.service.routes(&proxied, 1..routes)?;
        let last = format!("/items/{}/x", routes - 1);
        let many = self.load(&gatemill.program, &address, &proxied, &last, 32)?;
        report.run(&format!("the same, the last of {routes} routes"), &many);
        let cpu = many.cpu_us / few.cpu_us;
        report.ratio("HTTP proxy, CPU with many routes / with two", 32, cpu, "<= 1.1");
        Ok(())
    }
}
