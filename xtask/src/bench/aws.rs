//! Gatemill as a bench sees it: a `dev` server and the few AWS calls that set a measurement up.
//!
//! `dev` accepts any credentials, so the requests carry a signature's form and not its substance.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{process::Program, tempfile};
use crate::Result;

const READY: &str = "Gatemill is ready at http://";
const ACCOUNT: &str = "000000000000";
/// The memory at which a function has one whole CPU, as the baselines have.
const ONE_CPU_MB: u32 = 1769;
const ACTIVE_WITHIN: Duration = Duration::from_secs(20);

/// A running `gatemill dev` over a data directory that goes with it.
pub(super) struct Gatemill {
    pub(super) program: Program,
    address: String,
    data: Option<PathBuf>,
    runtimes: Vec<String>,
}

impl Drop for Gatemill {
    fn drop(&mut self) {
        if let Some(data) = &self.data {
            let _ = fs::remove_dir_all(data);
        }
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
        server.data = Some(data);
        Ok(server)
    }

    pub(super) fn start_in(release: &Path, data: &Path) -> Result<Self> {
        let mut command = Command::new(release.join("gatemill"));
        command
            // A function takes ten requests a second for each call that may run: at AWS's default that is the limit
            // here, and not the machine.
            .args([
                "dev",
                "--listen",
                "127.0.0.1:0",
                "--log-level",
                "warn",
                "--concurrency",
                "100000",
            ])
            .arg("--data-dir")
            .arg(data);
        let (program, line) = Program::start(&mut command, READY)?;
        let address = line.split(READY).nth(1).and_then(|rest| rest.split_whitespace().next());
        let address = address.ok_or("no address")?.to_owned();
        Ok(Self { program, address, data: None, runtimes: Vec::new() })
    }

    pub(super) fn address(&self) -> String {
        self.address.clone()
    }

    /// Creates a function behind an HTTP API; gives the Host under which it answers.
    pub(super) fn serve_function(
        &self,
        name: &str,
        family: &str,
        handler: &str,
        file: &Path,
    ) -> Result<String> {
        self.create_function(name, family, handler, file)?;
        let arn = format!("arn:aws:lambda:us-east-1:{ACCOUNT}:function:{name}");
        let request = json!({"name": name, "protocolType": "HTTP", "target": arn});
        let api = self.call("apigateway", "POST", "/v2/apis", &request.to_string())?;
        let api: Value = serde_json::from_slice(&api)?;
        let id = api["apiId"].as_str().ok_or("no apiId")?;
        let permission = json!({"StatementId": "bench", "Action": "lambda:InvokeFunction", "Principal": "apigateway.amazonaws.com"});
        self.call(
            "lambda",
            "POST",
            &format!("/2015-03-31/functions/{name}/policy"),
            &permission.to_string(),
        )?;
        Ok(format!("{id}.execute-api.localhost"))
    }

    /// Creates a function and waits until it is active.
    pub(super) fn create_function(
        &self,
        name: &str,
        family: &str,
        handler: &str,
        file: &Path,
    ) -> Result<()> {
        self.create_function_now(name, family, handler, &package(file)?)?;
        let deadline = Instant::now() + ACTIVE_WITHIN;
        loop {
            let got = self.call(
                "lambda",
                "GET",
                &format!("/2015-03-31/functions/{name}/configuration"),
                "",
            )?;
            let got: Value = serde_json::from_slice(&got)?;
            if got["State"] == "Active" {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("{name} is still {}", got["State"]).into());
            }
        }
    }

    pub(super) fn create_function_now(
        &self,
        name: &str,
        family: &str,
        handler: &str,
        zip: &str,
    ) -> Result<()> {
        let runtime = self.runtimes.iter().find(|runtime| runtime.starts_with(family));
        let runtime = runtime.ok_or(format!("no {family} on this host"))?;
        let request = json!({
            "FunctionName": name, "Runtime": runtime, "Role": format!("arn:aws:iam::{ACCOUNT}:role/bench"),
            "Handler": handler, "MemorySize": ONE_CPU_MB, "Code": {"ZipFile": zip},
        });
        self.call("lambda", "POST", "/2015-03-31/functions", &request.to_string()).map(|_| ())
    }

    pub(super) fn invoke(&self, name: &str, event: &str) -> Result<Vec<u8>> {
        self.call("lambda", "POST", &format!("/2015-03-31/functions/{name}/invocations"), event)
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
    let program = "import io,sys,zipfile;b=io.BytesIO();z=zipfile.ZipFile(b,'w');\
                   z.write(sys.argv[1],sys.argv[1].rsplit('/',1)[-1]);z.close();sys.stdout.buffer.write(b.getvalue())";
    let output = Command::new("python3").args(["-c", program]).arg(file).output()?;
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
