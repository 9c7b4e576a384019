//! Entry points that functions bring themselves: where they are looked for, and what callers read when they do not start.
//!
//! Source: the search order and the texts of AWS's open-source agent, which are those of Go's `fork/exec`.

use std::path::{Path, PathBuf};

use gatemill_sandbox::{
    Error as SandboxError,
    runtime::{Family, Pack},
};

use crate::{
    Error,
    environment_variables::{LAYER_ROOT, TASK_ROOT},
    error::Entrypoint,
};

/// Where a `provided` runtime looks for its program, the first of them first.
const BOOTSTRAPS: [&str; 2] = ["/var/task/bootstrap", "/opt/bootstrap"];

/// The bootstrap of a function, as a path inside. `code` is the host's directory that appears as `/var/task`, `layers` the
/// one that appears as `/opt`.
///
/// # Errors
/// [`Error::Entrypoint`] when there is none.
pub(crate) fn bootstrap(code: &Path, layers: Option<&Path>) -> Result<PathBuf, Error> {
    let is_there = |inside: &Path| match (inside.strip_prefix(TASK_ROOT), layers) {
        (Ok(below), _) => code.join(below).is_file(),
        (Err(_), Some(layers)) => {
            inside.strip_prefix(LAYER_ROOT).is_ok_and(|below| layers.join(below).is_file())
        }
        (Err(_), None) => false,
    };
    let found = BOOTSTRAPS.iter().map(PathBuf::from).find(|inside| is_there(inside));
    found.ok_or_else(|| {
        let problem = format!("Couldn't find valid bootstrap(s): [{}]", BOOTSTRAPS.join(" "));
        Error::Entrypoint(Entrypoint { kind: "Runtime.InvalidEntrypoint", problem })
    })
}

/// The error of a start: where the program is the function's own, so is its fault.
pub(crate) fn explain(error: SandboxError, pack: &Pack, working_directory: &Path) -> Error {
    if pack.family != Family::Provided {
        return Error::Sandbox(error);
    }
    let reason = match &error {
        SandboxError::ProgramMissing => "no such file or directory",
        SandboxError::ProgramNotPermitted => "permission denied",
        SandboxError::ProgramFormat => "exec format error",
        SandboxError::Cwd => {
            let directory = working_directory.display();
            let problem = format!("chdir {directory}: no such file or directory");
            return Error::Entrypoint(Entrypoint { kind: "Runtime.InvalidWorkingDir", problem });
        }
        _ => return Error::Sandbox(error),
    };
    let problem = format!("fork/exec {}: {reason}", pack.program.display());
    Error::Entrypoint(Entrypoint { kind: "Runtime.InvalidEntrypoint", problem })
}
