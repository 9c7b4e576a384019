//! Starts a client with descriptor 3 and one pipe for its output, and speaks the protocol with it.

use std::fs;
use std::io::{PipeReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use gatemill_sandbox::runtime::{Family, Pack, Runtimes, Search};

/// Longest that any answer may take; only a broken client comes near it.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const REQUEST_ID: &str = "8f5a1c2e-0b1d-4a53-9e0e-1f2d3c4b5a69";
pub(crate) const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:subject";

/// The packs of a language on this machine.
pub(crate) fn packs(family: Family) -> Vec<Arc<Pack>> {
    static FOUND: OnceLock<(tempfile::TempDir, Runtimes)> = OnceLock::new();
    let (_, runtimes) = FOUND.get_or_init(|| {
        let data = tempfile::tempdir().unwrap();
        let split =
            |name| std::env::split_paths(&std::env::var_os(name).unwrap_or_default()).collect();
        let search = Search {
            extra: split("GATEMILL_TEST_RUNTIMES"),
            path: split("PATH"),
            home: std::env::var_os("HOME").map(Into::into),
            data_dir: data.path().to_owned(),
            ..Search::default()
        };
        let runtimes = Runtimes::discover(&search).unwrap();
        (data, runtimes)
    });
    let found: Vec<_> = runtimes.list().into_iter().filter(|pack| pack.family == family).collect();
    assert!(!found.is_empty(), "no {family:?} on this machine");
    found
}

/// What the client said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Ready,
    InitError(String),
    Response(Vec<u8>),
    Error(String),
    /// The content type of an answer in pieces.
    StreamBegin(String),
    StreamChunk(Vec<u8>),
    StreamEnd,
    StreamError(String),
    /// The channel ended.
    End,
}

impl Frame {
    pub(crate) fn response(text: &str) -> Self {
        Self::Response(text.as_bytes().to_vec())
    }

    /// The error object, of an init or an invocation.
    pub(crate) fn error(&self) -> serde_json::Value {
        match self {
            Self::InitError(text) | Self::Error(text) | Self::StreamError(text) => {
                serde_json::from_str(text).unwrap()
            }
            other => panic!("not an error: {other:?}"),
        }
    }
}

/// A function: its files, its handler and its further environment.
#[derive(Default, Clone, Copy)]
pub(crate) struct Code<'a> {
    pub(crate) files: &'a [(&'a str, &'a str)],
    pub(crate) handler: &'a str,
    pub(crate) env: &'a [(&'a str, &'a str)],
}

/// A running client. Paths of the function's folder read `/var/task` in everything that it says.
pub(crate) struct Client {
    child: Child,
    channel: UnixStream,
    output: JoinHandle<Vec<u8>>,
    folder: tempfile::TempDir,
}

/// How a client ended, and all that it printed.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) log: String,
}

impl Client {
    pub(crate) fn start(pack: &Pack, code: Code<'_>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in code.files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let (channel, theirs) = UnixStream::pair().unwrap();
        channel.set_read_timeout(Some(PATIENCE)).unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut command = command(pack, folder.path(), code);
        // The shell moves the socket from its standard input to descriptor 3.
        command.stdin(OwnedFd::from(theirs));
        command.stdout(writer.try_clone().unwrap()).stderr(writer);
        let child = command.spawn().unwrap();
        drop(command);
        let output = std::thread::spawn(move || read_all(&mut reader));
        Self { child, channel, output, folder }
    }

    /// Starts and expects READY.
    pub(crate) fn ready(pack: &Pack, code: Code<'_>) -> Self {
        let mut client = Self::start(pack, code);
        let first = client.next();
        if first != Frame::Ready {
            panic!("{} is not ready but says {first:?}; {}", pack.name, client.end().log);
        }
        client
    }

    pub(crate) fn next(&mut self) -> Frame {
        let mut header = [0; 5];
        if self.channel.read_exact(&mut header).is_err() {
            return Frame::End;
        }
        let length = u32::from_le_bytes(header[..4].try_into().unwrap());
        let mut body = vec![0; length.try_into().unwrap()];
        self.channel.read_exact(&mut body).unwrap();
        let text = |body| self.tidy(&String::from_utf8(body).unwrap());
        match header[4] {
            0x81 => Frame::Ready,
            0x82 => Frame::InitError(text(body)),
            0x83 => Frame::Response(body),
            0x84 => Frame::Error(text(body)),
            0x85 => Frame::StreamBegin(text(body)),
            0x86 => Frame::StreamChunk(body),
            0x87 => Frame::StreamEnd,
            0x88 => Frame::StreamError(text(body)),
            kind => panic!("kind {kind:#x}"),
        }
    }

    pub(crate) fn invoke(&mut self, event: &str) -> Frame {
        self.invoke_with(event, &Meta::default())
    }

    pub(crate) fn invoke_with(&mut self, event: &str, meta: &Meta<'_>) -> Frame {
        self.send(event.as_bytes(), meta);
        self.next()
    }

    /// What follows STREAM_BEGIN: all pieces put together, and the frame behind them.
    pub(crate) fn streamed(&mut self) -> (Vec<u8>, Frame) {
        let mut bytes = Vec::new();
        loop {
            match self.next() {
                Frame::StreamChunk(chunk) => {
                    assert!((1..=64 * 1024).contains(&chunk.len()));
                    bytes.extend(chunk);
                }
                other => return (bytes, other),
            }
        }
    }

    /// One INVOKE frame, in pieces when it is large, as a socket would have it.
    pub(crate) fn send(&mut self, event: &[u8], meta: &Meta<'_>) {
        let deadline = meta.deadline_ms.to_string();
        let fields =
            [REQUEST_ID, &deadline, ARN, meta.trace_id, meta.client_context, meta.identity];
        let fields = fields.join("\0");
        let size = |length: usize| u32::try_from(length).unwrap().to_le_bytes();
        let mut frame = size(4 + fields.len() + event.len()).to_vec();
        frame.push(0x01);
        frame.extend(size(fields.len()));
        frame.extend(fields.as_bytes());
        frame.extend(event);
        self.channel.write_all(&frame).unwrap();
    }

    /// Bytes that are no frame.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.channel.write_all(bytes).unwrap();
    }

    /// Closes the channel and waits.
    pub(crate) fn end(self) -> Ended {
        let Self { mut child, channel, output, folder } = self;
        drop(channel);
        let status = child.wait().unwrap();
        let log = String::from_utf8(output.join().unwrap()).unwrap();
        Ended { status, log: tidy(&log, folder.path()) }
    }

    /// Waits for an end of its own.
    pub(crate) fn wait(mut self) -> Ended {
        assert_eq!(self.next(), Frame::End);
        self.end()
    }

    fn tidy(&self, text: &str) -> String {
        tidy(text, self.folder.path())
    }
}

/// What of an invocation varies between the cases.
pub(crate) struct Meta<'a> {
    pub(crate) deadline_ms: u64,
    pub(crate) trace_id: &'a str,
    pub(crate) client_context: &'a str,
    pub(crate) identity: &'a str,
}

impl Default for Meta<'_> {
    fn default() -> Self {
        // In the year 2100: nothing here waits for it.
        Self { deadline_ms: 4_102_444_800_000, trace_id: "", client_context: "", identity: "" }
    }
}

fn tidy(text: &str, folder: &Path) -> String {
    text.replace(folder.to_str().unwrap(), "/var/task")
}

fn command(pack: &Pack, folder: &Path, code: Code<'_>) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "exec 3<&0 </dev/null; exec \"$@\"", "sh"]);
    command.arg(pack.on_host(&pack.program));
    for arg in pack.args_for(512) {
        let path = Path::new(&arg);
        command.arg(if path.is_absolute() { pack.on_host(path) } else { path.to_owned() });
    }
    command.env_clear().current_dir(folder);
    let own = pack.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let task_root = folder.to_str().unwrap();
    let fixed = [
        ("_HANDLER", code.handler),
        ("LAMBDA_TASK_ROOT", task_root),
        ("AWS_EXECUTION_ENV", &pack.execution_env),
        ("AWS_LAMBDA_FUNCTION_NAME", "subject"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/subject"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "2026/01/31/[$LATEST]0123456789abcdef0123456789abcdef"),
    ];
    command.envs(own.chain(fixed).chain(code.env.iter().copied()));
    // Its inside paths mean nothing here, and the interpreter is where it was built to be.
    command.env_remove("LD_LIBRARY_PATH").env_remove("LAMBDA_RUNTIME_DIR");
    command.stderr(Stdio::null());
    command
}

fn read_all(reader: &mut PipeReader) -> Vec<u8> {
    let mut all = Vec::new();
    reader.read_to_end(&mut all).unwrap();
    all
}

/// `text` without the times in it: `2026-01-31T12:00:00.000Z` becomes `TIME`.
pub(crate) fn without_times(text: &str) -> String {
    let is_time = |bytes: &[u8]| {
        let shape = b"dddd-dd-ddTdd:dd:dd.dddZ";
        bytes.len() == shape.len()
            && bytes.iter().zip(shape).all(|(byte, shape)| match shape {
                b'd' => byte.is_ascii_digit(),
                other => byte == other,
            })
    };
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some(first) = rest.first() {
        if rest.len() >= 24 && is_time(&rest[..24]) {
            out.extend(b"TIME");
            rest = &rest[24..];
        } else {
            out.push(*first);
            rest = &rest[1..];
        }
    }
    String::from_utf8(out).unwrap()
}

/// Prints what one warm invocation costs; a figure to look at, not a bound.
pub(crate) fn print_warm_cost(pack: &Pack, code: Code<'_>) {
    const CALLS: u32 = 3000;
    let event =
        format!(r#"{{"version":"2.0","rawPath":"/","headers":{{"x":"{}"}}}}"#, "v".repeat(900));
    let mut client = Client::ready(pack, code);
    for _ in 0..300 {
        client.invoke(&event);
    }
    let start = std::time::Instant::now();
    for _ in 0..CALLS {
        client.invoke(&event);
    }
    println!("{}: {:?} a warm call, our side included", pack.name, start.elapsed() / CALLS);
    assert!(client.end().status.success());
}
