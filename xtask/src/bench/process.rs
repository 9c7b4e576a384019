//! A program under measurement: started, watched, and ended with everything that it started.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader},
    net::TcpStream,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use crate::Result;

/// Clock ticks a second in `/proc/<pid>/stat`: Linux has fixed it at 100 for user space.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running program; dropping it ends it.
pub(super) struct Program {
    child: Child,
    _stdout: Option<BufReader<ChildStdout>>,
}

impl Program {
    /// Starts a program and reads its output up to the line that has `needle` in it, which is returned.
    pub(super) fn start(command: &mut Command, needle: &str) -> Result<(Self, String)> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or("no output")?;
        let mut reader = BufReader::new(stdout);
        let mut line = String::new();
        while !line.contains(needle) {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Err(format!(
                    "{} ended before it was ready",
                    command.get_program().display()
                )
                .into());
            }
        }
        // The pipe stays open, or the program would fail when it prints again.
        Ok((Self { child, _stdout: Some(reader) }, line))
    }

    pub(super) fn start_ready(command: &mut Command) -> Result<Self> {
        Ok(Self::start(command, "ready")?.0)
    }

    /// Starts a program that does not say when it is ready: waits until its port answers.
    pub(super) fn start_listening(
        command: &mut Command,
        port: u16,
        limit: Duration,
    ) -> Result<Self> {
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let program = Self { child, _stdout: None };
        let deadline = Instant::now() + limit;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if Instant::now() > deadline {
                return Err("it does not listen".into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(program)
    }

    /// Sends the program itself a signal.
    pub(super) fn signal(&self, name: &str) -> Result<()> {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status()?;
        if sent.success() { Ok(()) } else { Err("the signal could not be sent".into()) }
    }

    /// The CPU time of the program and all its descendants so far, in microseconds.
    pub(super) fn cpu_us(&self) -> Result<f64> {
        let mut ticks = 0;
        for pid in self.tree()? {
            let Some(fields) = stat(pid) else { continue };
            ticks += fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        }
        #[allow(clippy::cast_precision_loss, reason = "ticks of one run")]
        Ok(ticks as f64 / TICKS_PER_SECOND * 1e6)
    }

    /// The proportional set size of the program and all its descendants, in MiB.
    pub(super) fn memory_mib(&self) -> Result<f64> {
        let mut kib = 0.0;
        for pid in self.tree()? {
            let Ok(rollup) = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else {
                continue;
            };
            let line = rollup.lines().find(|line| line.starts_with("Pss:"));
            kib += line
                .and_then(|line| line.split_whitespace().nth(1))
                .map_or(0.0, |kib| kib.parse().unwrap_or(0.0));
        }
        Ok(kib / 1024.0)
    }

    fn tree(&self) -> Result<Vec<u32>> {
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for entry in fs::read_dir("/proc")? {
            let Ok(pid) = entry?.file_name().to_string_lossy().parse::<u32>() else { continue };
            if let Some(parent) = stat(pid).and_then(|fields| fields[1].parse().ok()) {
                children.entry(parent).or_default().push(pid);
            }
        }
        let mut tree = vec![self.child.id()];
        let mut at = 0;
        while at < tree.len() {
            tree.extend(children.get(&tree[at]).into_iter().flatten());
            at += 1;
        }
        Ok(tree)
    }
}

/// The fields of `/proc/<pid>/stat` after the name: state, parent, …
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    Some(fields.split(' ').map(str::to_owned).collect())
}

impl Drop for Program {
    fn drop(&mut self) {
        // Descendants first hear a polite word through their parent; what is left is ended by its own id.
        let tree = self.tree().unwrap_or_default();
        let term = |pid: u32| {
            Command::new("kill").args(["-TERM", &pid.to_string()]).stderr(Stdio::null()).status()
        };
        if term(self.child.id()).is_err() || self.child.wait().is_err() {
            let _ = self.child.kill();
        }
        for pid in tree.into_iter().skip(1).filter(|pid| stat(*pid).is_some()) {
            let _ = term(pid);
        }
    }
}
