//! The servers that people use today, installed by their own package managers into `target/bench` on first use.
//!
//! One that cannot be installed is left out of the run, which says so.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::{Bench, HELLO_PORT, PEER_PORT, process::Program};
use crate::Result;

const PACKAGES: [&str; 7] = [
    "fastapi",
    "uvicorn[standard]",
    "flask",
    "gunicorn",
    "ministack",
    "awslambdaric==4.2.2",
    "boto3",
];
const NODE_SDK: [&str; 2] = ["@aws-sdk/client-dynamodb@3", "@aws-sdk/client-s3@3"];
/// The last ones that need no account with their maker.
const SERVERLESS: [&str; 2] = ["serverless@3", "serverless-offline@13"];
const SLOW_START: Duration = Duration::from_secs(40);

impl Bench {
    fn tools(&self) -> PathBuf {
        self.release.with_file_name("bench")
    }

    /// A directory of Python packages with their programs; made on first use.
    pub(super) fn venv(&self) -> Result<PathBuf> {
        let venv = self.tools().join("venv");
        // What an older version of this program installed may lack some.
        let all = venv.join("all-packages");
        if fs::read_to_string(&all).ok().as_deref() != Some(&PACKAGES.join(" ")) {
            let made = Command::new("python3").args(["-m", "venv"]).arg(&venv).status()?;
            let pip = ["install", "-q", "--disable-pip-version-check"];
            let installed = Command::new(venv.join("bin/pip")).args(pip).args(PACKAGES).status()?;
            if !made.success() || !installed.success() {
                return Err("its packages could not be installed".into());
            }
            fs::write(all, PACKAGES.join(" "))?;
        }
        Ok(venv)
    }

    pub(super) fn fastapi(&self) -> Result<Program> {
        let mut command = Command::new(self.venv()?.join("bin/uvicorn"));
        let port = PEER_PORT.to_string();
        command.args(["fastapi_app:app", "--workers", "2", "--log-level", "error"]);
        command.args(["--no-access-log", "--port", &port]);
        command.current_dir(self.handlers()).env("PYTHONDONTWRITEBYTECODE", "1");
        Program::start_listening(&mut command, PEER_PORT, SLOW_START)
    }

    pub(super) fn flask(&self) -> Result<Program> {
        let mut command = Command::new(self.venv()?.join("bin/gunicorn"));
        command.args(["flask_app:app", "--workers", "2", "--log-level", "error", "--bind"]);
        command.arg(format!("127.0.0.1:{PEER_PORT}"));
        command.current_dir(self.handlers()).env("PYTHONDONTWRITEBYTECODE", "1");
        Program::start_listening(&mut command, PEER_PORT, SLOW_START)
    }

    pub(super) fn ministack(&self) -> Result<Program> {
        let mut command = Command::new(self.venv()?.join("bin/ministack"));
        command.env("BIND_HOST", "127.0.0.1").env("GATEWAY_PORT", PEER_PORT.to_string());
        Program::start_listening(&mut command, PEER_PORT, SLOW_START)
    }

    /// AWS's SDK for Node.js: the folder that has its `node_modules`.
    pub(super) fn node_sdk(&self) -> Result<PathBuf> {
        self.node_packages("node-sdk", &NODE_SDK)
    }

    fn node_packages(&self, name: &str, packages: &[&str]) -> Result<PathBuf> {
        let folder = self.tools().join(name);
        let all = folder.join("all-packages");
        if fs::read_to_string(&all).ok().as_deref() != Some(&packages.join(" ")) {
            fs::create_dir_all(&folder)?;
            let npm = ["install", "--no-audit", "--no-fund", "--silent"];
            let installed =
                Command::new("npm").args(npm).args(packages).current_dir(&folder).status()?;
            if !installed.success() {
                return Err("its packages could not be installed".into());
            }
            fs::write(all, packages.join(" "))?;
        }
        Ok(folder)
    }

    /// serverless-offline with the measured handlers: `/python` and `/node`.
    pub(super) fn serverless(&self) -> Result<Program> {
        let node = self.node_packages("node", &SERVERLESS)?;
        let site = node.join("site");
        fs::create_dir_all(&site)?;
        fs::copy(self.handlers().join("app.mjs"), site.join("node_app.mjs"))?;
        fs::copy(self.handlers().join("app.py"), site.join("app.py"))?;
        let function = |name: &str, runtime: &str, handler: &str| {
            format!(
                "  {name}:\n    handler: {handler}\n    runtime: {runtime}\n    events:\n      - httpApi: 'GET /{name}'\n"
            )
        };
        let functions = function("python", &python_name()?, "app.handler")
            + &function("node", "nodejs20.x", "node_app.handler");
        let site_file = format!(
            "service: bench\nframeworkVersion: '3'\nprovider:\n  name: aws\n  runtime: nodejs20.x\nplugins:\n  - \
             serverless-offline\nfunctions:\n{functions}"
        );
        fs::write(site.join("serverless.yml"), site_file)?;
        let mut command = Command::new(node.join("node_modules/.bin/serverless"));
        command.args(["offline", "start", "--noTimeout", "--host", "127.0.0.1", "--httpPort"]);
        command.arg(PEER_PORT.to_string());
        command.args(["--lambdaPort", &(PEER_PORT + 1).to_string()]);
        command.args(["--websocketPort", &(PEER_PORT + 2).to_string()]);
        command.env("AWS_ACCESS_KEY_ID", "x").env("AWS_SECRET_ACCESS_KEY", "x");
        command.env("SLS_TELEMETRY_DISABLED", "1").env("SLS_NOTIFICATIONS_MODE", "off");
        command.current_dir(&site);
        Program::start_listening(&mut command, PEER_PORT, SLOW_START)
    }

    /// nginx with a fixed answer at `/fixed`, and everything else passed on to the bare hyper server. It has to be installed.
    pub(super) fn nginx(&self) -> Result<Program> {
        let directory = self.tools().join("nginx");
        fs::create_dir_all(&directory)?;
        let configuration = format!(
            "worker_processes 2; daemon off; pid nginx.pid; error_log stderr crit; events {{ worker_connections 1024; }}\n\
             http {{ access_log off; keepalive_requests 1000000000;\n\
             upstream hello {{ server 127.0.0.1:{HELLO_PORT}; keepalive 64; keepalive_requests 1000000000; }}\n\
             server {{ listen 127.0.0.1:{PEER_PORT} reuseport;\n\
             location = /fixed {{ return 404 '{{\"message\":\"Not Found\"}}'; }}\n\
             location / {{ proxy_pass http://hello; proxy_http_version 1.1; proxy_set_header Connection ''; }} }} }}\n"
        );
        fs::write(directory.join("nginx.conf"), configuration)?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(&directory).args(["-c", "nginx.conf", "-e", "stderr"]);
        Program::start_listening(&mut command, PEER_PORT, SLOW_START)
    }
}

/// The name of the system's Python with its version, which serverless-offline starts by that name.
fn python_name() -> Result<String> {
    let program = "import sys; print('python%d.%d' % sys.version_info[:2])";
    let said = Command::new("python3").args(["-c", program]).output()?;
    Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
}

/// The Python packages that pip installed, AWS's own runtime client among them.
pub(super) fn site_packages(venv: &Path) -> Result<PathBuf> {
    let lib = venv.join("lib");
    for entry in fs::read_dir(&lib)? {
        let packages = entry?.path().join("site-packages");
        if packages.join("awslambdaric").exists() {
            return Ok(packages);
        }
    }
    Err("awslambdaric is not installed".into())
}
