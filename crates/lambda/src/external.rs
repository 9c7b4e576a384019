//! The processes of external extensions, beside the runtime's in one sandbox: which there are, what they print, how they end.
//!
//! Every executable file directly in `/opt/extensions` is one, known by its name. They are started first and have to
//! register; then the runtime is started. What they say, they say over the Extensions API as all extensions do
//! ([`runtime_api`](crate::runtime_api)); here is only what becomes of their processes.

use std::{
    fs, io,
    os::{
        fd::{AsRawFd, RawFd},
        unix::fs::PermissionsExt as _,
    },
    path::{Path, PathBuf},
    sync::Arc,
    task::{Context, Poll, ready},
};

use gatemill_sandbox::{Companions, ExitStatus, Fate, Holder, Sandbox, Who};
use gatemill_wire::Timestamp;
use tokio::io::{Interest, unix::AsyncFd};

use crate::{
    Error, call_log::CallLog, error::Entrypoint, limits::EXTENSIONS_MAX,
    runtime_api::extension::Failure, wires::read_pipe,
};

/// Where extensions are, inside.
const DIRECTORY: &str = "/opt/extensions";

/// The programs of the extensions below the host's directory that appears as `/opt`, as paths inside, in AWS's order.
///
/// # Errors
/// [`Error::Entrypoint`] when there are more than ten.
pub(crate) fn find(layers: &Path) -> Result<Vec<PathBuf>, Error> {
    let Ok(entries) = fs::read_dir(layers.join("extensions")) else { return Ok(Vec::new()) };
    let is_program = |entry: &fs::DirEntry| {
        let found = entry.metadata();
        found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    let programs = entries.filter_map(Result::ok).filter(is_program);
    let mut programs: Vec<_> =
        programs.map(|entry| Path::new(DIRECTORY).join(entry.file_name())).collect();
    programs.sort_unstable();
    if programs.len() > EXTENSIONS_MAX {
        return Err(Error::Entrypoint(Entrypoint {
            kind: "Extension.TooManyExtensions",
            problem: format!("Extension limit ({EXTENSIONS_MAX}) reached"),
        }));
    }
    Ok(programs)
}

/// What extensions are started as, with their part of the function's variables. `None` when there are none.
pub(crate) fn companions(programs: &[PathBuf], env: &[(String, String)]) -> Option<Companions> {
    let theirs = |name: &str| {
        const NOT_THEIRS: [&str; 7] = [
            "AWS_EXECUTION_ENV",
            "AWS_LAMBDA_LOG_GROUP_NAME",
            "AWS_LAMBDA_LOG_STREAM_NAME",
            "AWS_XRAY_CONTEXT_MISSING",
            "AWS_XRAY_DAEMON_ADDRESS",
            "LAMBDA_RUNTIME_DIR",
            "LAMBDA_TASK_ROOT",
        ];
        !name.starts_with('_') && !NOT_THEIRS.contains(&name)
    };
    let env = env.iter().filter(|(name, _)| theirs(name)).cloned().collect();
    (!programs.is_empty()).then(|| Companions { programs: programs.to_vec(), env })
}

/// Something that happened to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// The runtime ended, or was never there.
    Runtime(Fate),
    /// An extension did, by its place.
    Extension(usize, Fate),
    /// All of them are gone.
    Gone,
}

/// The extensions of one environment.
#[derive(Debug)]
pub(crate) struct External {
    door: AsyncFd<Door>,
    output: AsyncFd<Output>,
    output_open: bool,
    /// By name, in the order of their start; whether each still runs.
    pub(crate) all: Vec<(String, bool)>,
    runtime_begun: bool,
    /// How the runtime ended.
    pub(crate) runtime: Option<Fate>,
}

/// The socket of a sandbox's holder, which owns the descriptor.
#[derive(Debug)]
struct Door(Arc<Sandbox>);

/// The output of a sandbox's companions, which owns the descriptor.
#[derive(Debug)]
struct Output(Arc<Sandbox>);

fn holder(sandbox: &Sandbox) -> &Holder {
    sandbox.holder.as_ref().expect("only made for sandboxes that have one")
}

impl AsRawFd for Door {
    fn as_raw_fd(&self) -> RawFd {
        holder(&self.0).as_raw_fd()
    }
}

impl AsRawFd for Output {
    fn as_raw_fd(&self) -> RawFd {
        holder(&self.0).output.as_raw_fd()
    }
}

impl External {
    /// Registers what a sandbox has of them with the reactor of this thread.
    pub(crate) fn register(sandbox: &Arc<Sandbox>) -> io::Result<Option<Self>> {
        if sandbox.holder.is_none() {
            return Ok(None);
        }
        let (door, output) = (Door(Arc::clone(sandbox)), Output(Arc::clone(sandbox)));
        Ok(Some(Self {
            door: watch(door)?,
            output: watch(output)?,
            output_open: true,
            all: Vec::new(),
            runtime_begun: false,
            runtime: None,
        }))
    }

    /// Moves it to the reactor of this thread.
    pub(crate) fn move_here(self) -> io::Result<Self> {
        Ok(Self {
            door: watch(self.door.into_inner())?,
            output: watch(self.output.into_inner())?,
            ..self
        })
    }

    pub(crate) fn holder(&self) -> &Holder {
        holder(&self.door.get_ref().0)
    }

    /// Starts the runtime, once.
    pub(crate) fn begin_runtime(&mut self) {
        if !std::mem::replace(&mut self.runtime_begun, true) {
            self.holder().start_program();
        }
    }

    pub(crate) fn has_begun_runtime(&self) -> bool {
        self.runtime_begun
    }

    /// Resolves when there is something to take.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.output_open && self.output.poll_read_ready(cx).is_ready() {
            return Poll::Ready(());
        }
        drop(ready!(self.door.poll_read_ready(cx)));
        Poll::Ready(())
    }

    /// What happened; output goes into the log.
    pub(crate) fn take(&mut self, log: &mut CallLog, now: Timestamp) -> Option<Event> {
        self.drain(log, now);
        let heard = self.door.try_io(Interest::READABLE, |door| holder(&door.0).hear());
        let event = match heard {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
            Ok(Some((Who::Program, fate))) => Event::Runtime(fate),
            Ok(Some((Who::Companion(index), fate))) => Event::Extension(index, fate),
            Ok(None) | Err(_) => Event::Gone,
        };
        match event {
            Event::Runtime(fate) => {
                // A process that could not become the program ends, too; the first word says why.
                self.runtime.get_or_insert(fate);
            }
            Event::Extension(index, _) => {
                if let Some((_, runs)) = self.all.get_mut(index) {
                    *runs = false;
                }
            }
            Event::Gone => self.all.iter_mut().for_each(|(_, runs)| *runs = false),
        }
        Some(event)
    }

    /// Reads what was printed until now.
    pub(crate) fn drain(&mut self, log: &mut CallLog, now: Timestamp) {
        while self.output_open {
            let read = self.output.try_io(Interest::READABLE, |output| {
                read_pipe(&holder(&output.0).output, |bytes| log.extension_output(now, bytes))
            });
            match read {
                Ok(0) => self.output_open = false,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.output_open = false,
            }
        }
    }

    /// Whether any extension runs.
    pub(crate) fn any_runs(&self) -> bool {
        self.all.iter().any(|(_, runs)| *runs)
    }
}

/// What the end of an extension is, when nobody asked for it: a failure, whatever its code.
pub(crate) fn failure(fate: Fate) -> Failure {
    match fate {
        Fate::NotStarted(errno) => {
            let reason = io::Error::from_raw_os_error(errno).to_string().to_lowercase();
            let reason = reason.split(" (os error").next().unwrap_or_default().to_owned();
            Failure { kind: "Extension.LaunchError", message: reason }
        }
        Fate::Ended(ExitStatus::Code(code)) => {
            Failure { kind: "Extension.Crash", message: format!("exit code {code}") }
        }
        Fate::Ended(ExitStatus::Signal(signal)) => Failure {
            kind: "Extension.Crash",
            message: format!("signal: {}", crate::failure::signal_name(signal)),
        },
    }
}

#[allow(
    deprecated,
    reason = "see `Wires::watch`: the sandbox owns the descriptors, and the watched value keeps it"
)]
fn watch<T: AsRawFd>(watched: T) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(watched, Interest::READABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_are_the_executable_files_in_their_order() {
        let layers = tempfile::tempdir().unwrap();
        assert_eq!(find(layers.path()).unwrap(), Vec::<PathBuf>::new());
        let folder = layers.path().join("extensions");
        fs::create_dir_all(folder.join("folder")).unwrap();
        for (name, mode) in [("b", 0o755), ("a", 0o744), ("plain", 0o644)] {
            fs::write(folder.join(name), "").unwrap();
            fs::set_permissions(folder.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let found = find(layers.path()).unwrap();
        assert_eq!(found, [PathBuf::from("/opt/extensions/a"), "/opt/extensions/b".into()]);
        for number in 0..EXTENSIONS_MAX {
            let path = folder.join(format!("x{number}"));
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        assert!(matches!(find(layers.path()), Err(Error::Entrypoint(_))));
    }

    #[test]
    fn they_get_their_part_of_the_variables() {
        let env = |names: &[&str]| -> Vec<_> {
            names.iter().map(|name| ((*name).to_owned(), "x".to_owned())).collect()
        };
        let all = env(&["OWN", "_HANDLER", "AWS_EXECUTION_ENV", "LAMBDA_TASK_ROOT", "AWS_REGION"]);
        assert_eq!(companions(&[], &all), None);
        let companions = companions(&["/opt/extensions/a".into()], &all).unwrap();
        assert_eq!(companions.env, env(&["OWN", "AWS_REGION"]));
    }

    #[test]
    fn ends_that_nobody_asked_for() {
        let of = |fate| {
            let Failure { kind, message } = failure(fate);
            (kind, message)
        };
        assert_eq!(
            of(Fate::Ended(ExitStatus::Code(0))),
            ("Extension.Crash", "exit code 0".to_owned())
        );
        assert_eq!(
            of(Fate::Ended(ExitStatus::Signal(9))),
            ("Extension.Crash", "signal: killed".to_owned())
        );
        assert_eq!(
            of(Fate::NotStarted(2)),
            ("Extension.LaunchError", "no such file or directory".to_owned())
        );
    }
}
