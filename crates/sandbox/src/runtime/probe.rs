//! Asking interpreters what they are: once, in parallel, in bounded time, and remembered.
//!
//! Java and .NET say it in files of their trees, which are read every time: starting a virtual machine for
//! it takes a tenth of a second.
//!
//! The memory is a text file in the data directory, one line per program with its modification time
//! and size; a line that no longer fits its program is not believed. Losing the file costs time only.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::identifier::{Family, Version, is_served};
use super::limits;
use super::search::{Candidate, Search};
use super::tree;

/// An interpreter that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interpreter {
    pub(super) family: Family,
    pub(super) version: Version,
    /// The program itself, links resolved.
    pub(super) program: PathBuf,
    /// The directory of its tree: `program` is in `bin` below it, of .NET in itself.
    pub(super) prefix: PathBuf,
}

/// The interpreters of this machine that our clients serve, the preferred one of a release first.
pub(super) fn interpreters(search: &Search, root: &Path) -> Vec<Interpreter> {
    let (trees, candidates): (Vec<_>, Vec<_>) = search
        .candidates()
        .into_iter()
        .partition(|candidate| matches!(candidate.family, Family::Dotnet | Family::Java));
    let memory_file = root.join("probes");
    let memory = Memory::read(&memory_file);
    let answers: Vec<Mutex<Option<Known>>> = candidates.iter().map(|_| Mutex::default()).collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..limits::PROBES_AT_ONCE.min(candidates.len()) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(candidate) = candidates.get(index) else { return };
                    let known = learn(candidate, &memory);
                    *answers[index].lock().expect("no holder of this lock panics") = known;
                }
            });
        }
    });
    let known: Vec<Known> = answers
        .into_iter()
        .filter_map(|answer| answer.into_inner().expect("no holder of this lock panics"))
        .collect();
    if let Err(error) = write_memory(&memory_file, &known) {
        tracing::warn!(%error, file = %memory_file.display(), "cannot remember the interpreters");
    }
    let told = trees.iter().flat_map(tree::interpreters);
    let served = told.chain(known.into_iter().filter_map(|known| known.interpreter));
    let may_be_bound = |found: &Interpreter| {
        let home = search.home.as_deref();
        let shows_home = found.family != Family::Nodejs
            && home.is_some_and(|home| home.starts_with(&found.prefix));
        !shows_home
    };
    served.filter(|found| is_served(found.family, found.version) && may_be_bound(found)).collect()
}

/// What one program is; nothing when it is no interpreter, or does not answer.
pub(super) fn of(candidate: &Candidate) -> Vec<Interpreter> {
    let told = tree::interpreters(candidate);
    if told.is_empty() { ask(candidate).ok().flatten().into_iter().collect() } else { told }
}

/// What is known of one program: its state when it was asked, and what it said.
#[derive(Debug, Clone)]
struct Known {
    path: PathBuf,
    stamp: Stamp,
    /// `None` when it is not an interpreter that we can use.
    interpreter: Option<Interpreter>,
}

/// Changes when the program behind a path does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified_ns: i128,
    size: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let status = fs::metadata(path).ok()?;
        let modified_ns =
            i128::from(status.mtime()) * 1_000_000_000 + i128::from(status.mtime_nsec());
        Some(Self { modified_ns, size: status.size() })
    }
}

fn learn(candidate: &Candidate, memory: &Memory) -> Option<Known> {
    let stamp = Stamp::of(&candidate.path)?;
    if let Some(known) = memory.find(&candidate.path, stamp) {
        return Some(known.clone());
    }
    match ask(candidate) {
        Ok(interpreter) => Some(Known { path: candidate.path.clone(), stamp, interpreter }),
        // Not remembered: it may have been the machine's load, and the next start asks again.
        Err(error) => {
            let program = candidate.path.display();
            tracing::warn!(%program, %error, "an interpreter does not say its version");
            None
        }
    }
}

/// `Ok(None)` when the program answered that it is none of ours.
fn ask(candidate: &Candidate) -> std::io::Result<Option<Interpreter>> {
    let mut command = Command::new(&candidate.path);
    match candidate.family {
        Family::Python => command.args(["-I", "-c", ASK_PYTHON]),
        Family::Nodejs => command.args(["-p", ASK_NODEJS]),
        Family::Ruby => command.args(["--disable=gems", "-e", ASK_RUBY]),
        // These are read from their trees.
        Family::Dotnet | Family::Java | Family::Provided => return Ok(None),
    };
    let Some(answer) = output(&mut command, limits::PROBE)? else { return Ok(None) };
    let mut lines = answer.lines();
    let (Some(version), Some(program)) = (lines.next(), lines.next()) else { return Ok(None) };
    let Some(version) = candidate.family.version(version) else { return Ok(None) };
    let program = fs::canonicalize(program)?;
    let Some(prefix) = program.parent().and_then(Path::parent).map(Path::to_owned) else {
        return Ok(None);
    };
    let found = Interpreter { family: candidate.family, version, program, prefix };
    Ok(has_its_library(&found).then_some(found))
}

/// Whether the tree around a Python is whole; one that lies elsewhere could not be bound.
fn has_its_library(found: &Interpreter) -> bool {
    let Version { major, minor, .. } = found.version;
    let landmark = |lib: &str| found.prefix.join(format!("{lib}/python{major}.{minor}/os.py"));
    found.family != Family::Python || landmark("lib").is_file() || landmark("lib64").is_file()
}

/// The interpreter behind a virtual environment is the one that counts.
const ASK_PYTHON: &str = "import sys\n\
    assert sys.implementation.name == 'cpython'\n\
    print('%d.%d.%d' % sys.version_info[:3])\n\
    print(getattr(sys, '_base_executable', None) or sys.executable)";

const ASK_RUBY: &str = "require 'rbconfig'\n\
    exit 1 unless RUBY_ENGINE == 'ruby'\n\
    puts RUBY_VERSION, RbConfig.ruby";

const ASK_NODEJS: &str = "process.version + '\\n' + process.execPath";

/// What a command prints, or `None` when it fails. Ends the command after `limit`.
pub(super) fn output(command: &mut Command, limit: Duration) -> std::io::Result<Option<String>> {
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    if !ends_within(&child, limit)? {
        child.kill()?;
        child.wait()?;
        return Err(std::io::ErrorKind::TimedOut.into());
    }
    let status = child.wait()?;
    let mut answer = Vec::new();
    if let Some(pipe) = child.stdout.take() {
        pipe.take(limits::ANSWER_BYTES as u64).read_to_end(&mut answer)?;
    }
    Ok(status.success().then(|| String::from_utf8_lossy(&answer).into_owned()))
}

fn ends_within(child: &Child, limit: Duration) -> std::io::Result<bool> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let descriptor = pidfd_open(pid.expect("a child has a pid"), PidfdFlags::empty())?;
    let seconds = i64::try_from(limit.as_secs()).unwrap_or(i64::MAX);
    let timeout = Timespec { tv_sec: seconds, tv_nsec: i64::from(limit.subsec_nanos()) };
    let mut descriptors = [PollFd::new(&descriptor, PollFlags::IN)];
    loop {
        match poll(&mut descriptors, Some(&timeout)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// What earlier starts learned.
#[derive(Debug, Default)]
struct Memory {
    known: Vec<Known>,
}

const MEMORY_HEADER: &str = "gatemill interpreters 1";

impl Memory {
    fn read(file: &Path) -> Self {
        let small =
            fs::metadata(file).is_ok_and(|status| status.len() <= limits::PROBE_CACHE_BYTES);
        let text = if small { fs::read_to_string(file).unwrap_or_default() } else { String::new() };
        let mut lines = text.lines();
        if lines.next() != Some(MEMORY_HEADER) {
            return Self::default();
        }
        Self { known: lines.filter_map(Known::from_line).collect() }
    }

    fn find(&self, path: &Path, stamp: Stamp) -> Option<&Known> {
        let known = self.known.iter().find(|known| known.path == path && known.stamp == stamp)?;
        // A wrapper script stays the same when what it leads to is gone.
        let there = |found: &Interpreter| found.program.is_file();
        known.interpreter.as_ref().is_none_or(there).then_some(known)
    }
}

fn write_memory(file: &Path, known: &[Known]) -> std::io::Result<()> {
    let mut text = format!("{MEMORY_HEADER}\n");
    for line in known.iter().filter_map(Known::to_line) {
        text.push_str(&line);
        text.push('\n');
    }
    if fs::read_to_string(file).is_ok_and(|old| old == text) {
        return Ok(());
    }
    let fresh = file.with_extension(format!("new-{}", std::process::id()));
    fs::write(&fresh, text)?;
    fs::rename(&fresh, file)
}

impl Known {
    /// `None` for a path that a line cannot hold; such a program is asked at every start.
    fn to_line(&self) -> Option<String> {
        let Stamp { modified_ns, size } = self.stamp;
        let path = self.path.to_str()?;
        let rest = match &self.interpreter {
            None => "-\t-\t-\t-".to_owned(),
            Some(found) => {
                let (program, prefix) = (found.program.to_str()?, found.prefix.to_str()?);
                let family = found.family.name();
                format!("{family}\t{}\t{program}\t{prefix}", found.version)
            }
        };
        let line = format!("{path}\t{modified_ns}\t{size}\t{rest}");
        (!line.contains('\n') && line.split('\t').count() == 7).then_some(line)
    }

    fn from_line(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split('\t').collect();
        let [path, modified, size, family, version, program, prefix] = fields[..] else {
            return None;
        };
        let family = Family::ALL.into_iter().find(|known| known.name() == family);
        let interpreter = match family {
            None => None,
            Some(family) => Some(Interpreter {
                family,
                version: family.version(version)?,
                program: program.into(),
                prefix: prefix.into(),
            }),
        };
        let stamp = Stamp { modified_ns: modified.parse().ok()?, size: size.parse().ok()? };
        Some(Self { path: path.into(), stamp, interpreter })
    }
}
