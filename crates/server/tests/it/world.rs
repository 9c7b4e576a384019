//! A server under test, and a small HTTP client that shows what is on the wire.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// The longest that anything here is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A call's signature that `dev` accepts for the default account.
pub(crate) const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/SERVICE/aws4_request, \
     SignedHeaders=host;x-amz-date, Signature=00";

/// A command that does not see this machine's settings.
pub(crate) fn gatemill() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatemill"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GATEMILL_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// What a command said when it ended: status, stdout, stderr.
pub(crate) fn said(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A directory for a server's data.
pub(crate) fn directory() -> TempDir {
    tempfile::Builder::new().prefix("gatemill-it-").tempdir().unwrap()
}

/// A server that runs; killed when dropped.
pub(crate) struct Server {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts `gatemill MODE` on a free port, and returns when it says that it is ready.
    pub(crate) fn start(mode: &str, data_dir: &Path) -> Self {
        Self::start_with(mode, data_dir, &[])
    }

    pub(crate) fn start_with(mode: &str, data_dir: &Path, more: &[&str]) -> Self {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(data_dir.join("test.log"))
            .unwrap();
        let mut child = gatemill()
            .args([mode, "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data_dir.join("data"))
            .args(more)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let address = line
            .trim_end()
            .strip_prefix("Gatemill is ready at http://")
            .unwrap_or_else(|| panic!("the first line is {line:?}; {}", log_of(data_dir)));
        let address = address.parse().unwrap();
        Self { child, stdout, address }
    }

    /// Ends it with SIGTERM and waits.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal("-TERM");
        self.wait()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let give_up = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < give_up, "the server does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What it wrote to stdout after its first line, once it has ended.
    pub(crate) fn rest_of_stdout(&mut self) -> String {
        let mut text = String::new();
        self.stdout.read_to_string(&mut text).unwrap();
        text
    }

    /// A connection to it.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends a request of these header lines and body, and reads the answer to the end of the connection.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        let mut stream = self.connect();
        stream.write_all(&head(method, path, headers, body.len())).unwrap();
        stream.write_all(body).unwrap();
        Answer::read(&mut stream)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    /// A call of CloudWatch Logs.
    pub(crate) fn logs(&self, operation: &str, body: &str) -> Answer {
        self.send("POST", "/", &logs_headers(operation), body.as_bytes())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn log_of(data_dir: &Path) -> String {
    let path: PathBuf = data_dir.join("test.log");
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The headers of a call of CloudWatch Logs.
pub(crate) fn logs_headers(operation: &str) -> [&'static str; 4] {
    let target = format!("x-amz-target: Logs_20140328.{operation}");
    let authorization = format!("authorization: {}", AUTHORIZATION.replace("SERVICE", "logs"));
    // A few bytes for the life of the test program.
    [
        target.leak(),
        authorization.leak(),
        "x-amz-date: 20260101T000000Z",
        "content-type: application/x-amz-json-1.1",
    ]
}

/// The bytes of a request's head.
pub(crate) fn head(method: &str, path: &str, headers: &[&str], length: usize) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head.push_str(&format!("content-length: {length}\r\n\r\n"));
    head.into_bytes()
}

/// An answer as it came over the wire.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn read(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }
}
