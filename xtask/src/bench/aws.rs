//! Gatemill as a bench sees it: a `dev` server and the few AWS calls that set a measurement up.
//!
//! `dev` accepts any credentials, so the requests carry a signature's form and not its substance.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    ops::Range,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{compiled::dotnet, process::Program, tempfile};
use crate::Result;

const READY: &str = "Gatemill is ready at http://";
const ACCOUNT: &str = "000000000000";
/// The memory at which a function has one whole CPU, as the baselines have.
pub(super) const ONE_CPU_MB: u32 = 1769;
/// A server rests that used less CPU than this from one look to the next.
const REST_CPU_US: f64 = 20_000.0;
const REST_LOOK: Duration = Duration::from_millis(250);
const REST_LOOKS: u32 = 20;
const ACTIVE_WITHIN: Duration = Duration::from_secs(20);

/// A running `gatemill dev` over a data directory that goes with it, and after it: a server whose directory is taken away
/// complains of the runtimes that it cannot bind any more.
pub(super) struct Gatemill {
    pub(super) program: Program,
    pub(super) service: Service,
    data: Option<Data>,
    runtimes: Vec<String>,
}

/// A data directory that is removed in the end.
struct Data(PathBuf);

/// Whatever answers AWS's calls at an address: Gatemill, or another.
pub(super) struct Service {
    address: String,
}

impl Drop for Data {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Gatemill {
    pub(super) fn start(release: &Path) -> Result<Self> {
        let data = tempfile("data")?;
        let mut server = Self::start_in(release, &data)?;
        let listed = Command::new(release.join("gatemill"))
            .args(["runtime", "list", "--format", "json"])
            .output()?;
        let listed: Value = serde_json::from_slice(&listed.stdout)?;
        let names =
            listed.as_array().into_iter().flatten().filter_map(|runtime| runtime["name"].as_str());
        server.runtimes = names.map(str::to_owned).collect();
        server.data = Some(Data(data));
        Ok(server)
    }

    pub(super) fn start_in(release: &Path, data: &Path) -> Result<Self> {
        let mut command = Command::new(release.join("gatemill"));
        command
            .args(["dev", "--listen", "127.0.0.1:0", "--log-level", "warn", "--data-dir"])
            .arg(data);
        // A burst of a thousand and its bystander are more than an account may have by default.
        command.env("GATEMILL_CONCURRENCY", "2000");
        if let Some(dotnet) = dotnet(release) {
            command.env("GATEMILL_RUNTIME_DIR", dotnet);
        }
        let (program, line) = Program::start(&mut command, READY)?;
        let address = line.split(READY).nth(1).and_then(|rest| rest.split_whitespace().next());
        let service = Service::at(address.ok_or("no address")?.to_owned());
        Ok(Self { program, service, data: None, runtimes: Vec::new() })
    }

    pub(super) fn address(&self) -> String {
        self.service.address.clone()
    }

    /// The name of a runtime of this host.
    pub(super) fn runtime(&self, family: &str) -> Result<String> {
        let runtime = self.runtimes.iter().find(|runtime| runtime.starts_with(family));
        Ok(runtime.ok_or(format!("no {family} on this host"))?.clone())
    }

    /// Creates a function behind an HTTP API; gives the Host under which it answers.
    pub(super) fn serve_function(
        &self,
        name: &str,
        family: &str,
        handler: &str,
        file: &Path,
    ) -> Result<String> {
        self.service.serve(name, &self.runtime(family)?, handler, file)
    }

    /// Creates a function of a family of runtimes.
    pub(super) fn create_function(
        &self,
        name: &str,
        family: &str,
        handler: &str,
        file: &Path,
    ) -> Result<()> {
        let zip = package(file)?;
        self.service.create(name, &self.runtime(family)?, handler, &zip, ONE_CPU_MB)
    }

    /// Returns when the server does nothing any more, so that what it prepares for the next call is there; some seconds at
    /// most.
    pub(super) fn rest(&self) -> Result<()> {
        let mut used = self.program.cpu_us()?;
        for _ in 0..REST_LOOKS {
            std::thread::sleep(REST_LOOK);
            let now = self.program.cpu_us()?;
            if now - used < REST_CPU_US {
                break;
            }
            used = now;
        }
        Ok(())
    }

    /// How many environments there are, and how many of them are idle.
    pub(super) fn environments(&self) -> Result<(usize, usize)> {
        let health = self.service.call("lambda", "GET", "/_gatemill/health", "")?;
        let health: Value = serde_json::from_slice(&health)?;
        let environments = &health["functions"]["environments"];
        let number = |name: &str| {
            let number = environments[name].as_u64().ok_or(format!("the health has no {name}"))?;
            Ok::<usize, Box<dyn std::error::Error>>(usize::try_from(number)?)
        };
        let idle = number("idle")?;
        Ok((number("initialising")? + idle + number("busy")?, idle))
    }
}

impl Service {
    pub(super) fn at(address: String) -> Self {
        Self { address }
    }

    /// Creates a function behind an HTTP API; gives the Host under which it answers.
    pub(super) fn serve(
        &self,
        name: &str,
        runtime: &str,
        handler: &str,
        file: &Path,
    ) -> Result<String> {
        self.create(name, runtime, handler, &package(file)?, ONE_CPU_MB)?;
        self.route(name)
    }

    /// Puts an HTTP API before a function; gives the Host under which it answers.
    pub(super) fn route(&self, name: &str) -> Result<String> {
        let arn = format!("arn:aws:lambda:us-east-1:{ACCOUNT}:function:{name}");
        let host = self.api(name, &arn)?;
        let permission = json!({"StatementId": "bench", "Action": "lambda:InvokeFunction", "Principal": "apigateway.amazonaws.com"});
        let path = format!("/2015-03-31/functions/{name}/policy");
        self.call("lambda", "POST", &path, &permission.to_string())?;
        Ok(host)
    }

    /// An HTTP API that passes `GET /hello` on to a server; gives its Host.
    pub(super) fn proxy(&self, target: &str) -> Result<String> {
        let request = json!({
            "name": "proxy", "protocolType": "HTTP", "target": target, "routeKey": "GET /hello",
        });
        self.make_api(&request)
    }

    /// Made step by step: not every peer knows the short form.
    fn api(&self, name: &str, target: &str) -> Result<String> {
        let host = self.make_api(&json!({"name": name, "protocolType": "HTTP"}))?;
        let id = host.split('.').next().unwrap_or_default();
        let integration = json!({
            "integrationType": "AWS_PROXY", "integrationUri": target, "payloadFormatVersion": "2.0",
        });
        let path = format!("/v2/apis/{id}/integrations");
        let made = self.call("apigateway", "POST", &path, &integration.to_string())?;
        let made: Value = serde_json::from_slice(&made)?;
        let integration = made["integrationId"].as_str().ok_or("no integrationId")?;
        let route =
            json!({"routeKey": "$default", "target": format!("integrations/{integration}")});
        self.call("apigateway", "POST", &format!("/v2/apis/{id}/routes"), &route.to_string())?;
        let stage = json!({"stageName": "$default", "autoDeploy": true});
        self.call("apigateway", "POST", &format!("/v2/apis/{id}/stages"), &stage.to_string())?;
        Ok(host)
    }

    fn make_api(&self, request: &Value) -> Result<String> {
        let api = self.call("apigateway", "POST", "/v2/apis", &request.to_string())?;
        let api: Value = serde_json::from_slice(&api)?;
        let id = api["apiId"].as_str().ok_or("no apiId")?;
        Ok(format!("{id}.execute-api.localhost"))
    }

    /// Gives an API more routes, of these numbers; its Host says which one.
    pub(super) fn routes(&self, host: &str, numbers: Range<u32>) -> Result<()> {
        let id = host.split('.').next().unwrap_or_default();
        let integrations = self.gateway("GET", &format!("/v2/apis/{id}/integrations"), "")?;
        let integrations: Value = serde_json::from_slice(&integrations)?;
        let integration = &integrations["items"][0]["integrationId"];
        let target = format!("integrations/{}", integration.as_str().ok_or("no integration")?);
        // One deployment for all of them.
        let stage = format!("/v2/apis/{id}/stages/$default");
        self.gateway("PATCH", &stage, r#"{"autoDeploy": false}"#)?;
        for n in numbers {
            let route = json!({"routeKey": format!("GET /items/{n}/{{id}}"), "target": target});
            self.gateway("POST", &format!("/v2/apis/{id}/routes"), &route.to_string())?;
        }
        let deployment = self.gateway("POST", &format!("/v2/apis/{id}/deployments"), "{}")?;
        let deployment: Value = serde_json::from_slice(&deployment)?;
        let deploy = json!({"deploymentId": deployment["deploymentId"]});
        self.gateway("PATCH", &stage, &deploy.to_string()).map(drop)
    }

    /// A WebSocket API without a route; gives the path of its stage.
    pub(super) fn websocket_api(&self) -> Result<String> {
        let host = self.make_api(&super::websocket::api_request())?;
        let id = host.split('.').next().unwrap_or_default();
        let stage = json!({"stageName": "bench", "autoDeploy": true});
        self.call("apigateway", "POST", &format!("/v2/apis/{id}/stages"), &stage.to_string())?;
        Ok(format!("/_aws/execute-api/{id}/bench"))
    }

    /// Creates a function and waits until it is active.
    pub(super) fn create(
        &self,
        name: &str,
        runtime: &str,
        handler: &str,
        zip: &str,
        memory_mb: u32,
    ) -> Result<()> {
        self.create_now(name, runtime, handler, zip, memory_mb)?;
        self.until_settled(name, "")
    }

    fn until_settled(&self, name: &str, query: &str) -> Result<()> {
        let deadline = Instant::now() + ACTIVE_WITHIN;
        loop {
            let path = format!("/2015-03-31/functions/{name}/configuration{query}");
            let got: Value = serde_json::from_slice(&self.call("lambda", "GET", &path, "")?)?;
            if got["State"] == "Active" && got["LastUpdateStatus"] == "Successful" {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("{name} is still {}", got["State"]).into());
            }
        }
    }

    pub(super) fn create_now(
        &self,
        name: &str,
        runtime: &str,
        handler: &str,
        zip: &str,
        memory_mb: u32,
    ) -> Result<()> {
        let request = json!({
            "FunctionName": name, "Runtime": runtime, "Role": format!("arn:aws:iam::{ACCOUNT}:role/bench"),
            "Handler": handler, "MemorySize": memory_mb, "Timeout": 30, "Code": {"ZipFile": zip},
        });
        self.call("lambda", "POST", "/2015-03-31/functions", &request.to_string()).map(|_| ())
    }

    pub(super) fn delete(&self, name: &str) -> Result<()> {
        let path = format!("/2015-03-31/functions/{name}");
        self.call("lambda", "DELETE", &path, "").map(|_| ())
    }

    pub(super) fn invoke(&self, name: &str, event: &str) -> Result<Vec<u8>> {
        self.call("lambda", "POST", &format!("/2015-03-31/functions/{name}/invocations"), event)
    }

    /// One call of Lambda's.
    pub(super) fn lambda(&self, method: &str, path: &str, body: &str) -> Result<Vec<u8>> {
        self.call("lambda", method, path, body)
    }

    /// One call of API Gateway's.
    pub(super) fn gateway(&self, method: &str, path: &str, body: &str) -> Result<Vec<u8>> {
        self.call("apigateway", method, path, body)
    }

    /// Keeps that much concurrency for a function, and no more.
    pub(super) fn reserve(&self, name: &str, executions: u32) -> Result<()> {
        let path = format!("/2017-10-31/functions/{name}/concurrency");
        let request = json!({"ReservedConcurrentExecutions": executions});
        self.call("lambda", "PUT", &path, &request.to_string()).map(|_| ())
    }

    /// The path, and the header lines with a line feed between, of a call that sends an asynchronous event.
    pub(super) fn event_call(&self, name: &str) -> (String, String) {
        let (path, headers) = self.invocation(name, "");
        (path, format!("X-Amz-Invocation-Type: Event\n{headers}"))
    }

    /// The same of a call that waits for its answer; `query` names a version.
    pub(super) fn invocation(&self, name: &str, query: &str) -> (String, String) {
        let credential = format!("{ACCOUNT}/20260101/us-east-1/lambda/aws4_request");
        let headers = format!(
            "X-Amz-Date: 20260101T000000Z\n\
             Authorization: AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=00"
        );
        (format!("/2015-03-31/functions/{name}/invocations{query}"), headers)
    }

    /// Publishes version 1 with a snapshot, and waits for it.
    pub(super) fn publish_snapshot(&self, name: &str) -> Result<()> {
        let path = format!("/2015-03-31/functions/{name}");
        let snap_start = r#"{"SnapStart": {"ApplyOn": "PublishedVersions"}}"#;
        self.lambda("PUT", &format!("{path}/configuration"), snap_start)?;
        self.until_settled(name, "")?;
        self.lambda("POST", &format!("{path}/versions"), "{}")?;
        self.until_settled(name, "?Qualifier=1")
    }

    fn call(&self, service: &str, method: &str, path: &str, body: &str) -> Result<Vec<u8>> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_nodelay(true)?;
        let credential = format!("{ACCOUNT}/20260101/us-east-1/{service}/aws4_request");
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nX-Amz-Date: 20260101T000000Z\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=00\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let head = answer.windows(4).position(|window| window == b"\r\n\r\n").ok_or("no answer")?;
        let body = answer.split_off(head + 4);
        let status_line = String::from_utf8_lossy(&answer).lines().next().unwrap_or("").to_owned();
        if !status_line.contains(" 20") {
            return Err(format!(
                "{method} {path}: {status_line} {}",
                String::from_utf8_lossy(&body)
            )
            .into());
        }
        Ok(body)
    }
}

/// A zip with one file, in base64; made by Python, which the measured functions need anyway.
pub(super) fn package(file: &Path) -> Result<String> {
    zip(file, None, &[], None)
}

/// The same with parts of a folder of packages, named by patterns.
pub(super) fn package_of(file: &Path, folder: &Path, parts: &[&str]) -> Result<String> {
    zip(file, Some(folder), parts, None)
}

/// The same with AWS's client out of a folder of Python packages, and a `bootstrap` that starts it.
pub(super) fn package_with(file: &Path, packages: &Path) -> Result<String> {
    let parts = ["awslambdaric*", "runtime_client*", "simplejson*", "snapshot_restore_py*"];
    let bootstrap = "#!/bin/sh\nexec python3 -m awslambdaric \"$_HANDLER\"\n";
    zip(file, Some(packages), &parts, Some(bootstrap))
}

fn zip(
    file: &Path,
    folder: Option<&Path>,
    parts: &[&str],
    bootstrap: Option<&str>,
) -> Result<String> {
    let program = r##"
import io, pathlib, sys, zipfile
file, folder, bootstrap, *patterns = sys.argv[1:]
buffer = io.BytesIO()
with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as package:
    package.write(file, pathlib.Path(file).name)
    for pattern in patterns:
        for part in pathlib.Path(folder).glob(pattern):
            for path in [part] if part.is_file() else part.rglob("*"):
                if path.is_file() and "__pycache__" not in path.parts:
                    package.write(path, path.relative_to(folder))
    if bootstrap:
        start = zipfile.ZipInfo("bootstrap")
        start.external_attr = 0o755 << 16
        package.writestr(start, bootstrap)
sys.stdout.buffer.write(buffer.getvalue())
"##;
    let output = Command::new("python3")
        .args(["-c", program])
        .arg(file)
        .arg(folder.unwrap_or(Path::new("")))
        .arg(bootstrap.unwrap_or_default())
        .args(parts)
        .output()?;
    if !output.status.success() {
        return Err(format!("no package: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(base64(&output.stdout))
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_u32, |group, byte| group << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let index = usize::try_from(group >> (18 - 6 * place) & 63).expect("six bits");
            text.push(if place <= chunk.len() { char::from(ALPHABET[index]) } else { '=' });
        }
    }
    text
}
