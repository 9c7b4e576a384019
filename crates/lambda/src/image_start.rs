//! How the process of a container image is started: `ENTRYPOINT` and `CMD` in `WORKDIR`, with what the function's
//! `ImageConfig` puts in their place.
//!
//! The process finds the Runtime API as any runtime does, in `AWS_LAMBDA_RUNTIME_API`; nothing of ours is in the image.
//! What cannot be started is the function's fault, told in the words of AWS's agent.

use std::{
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use gatemill_image::Unpacked;
use gatemill_sandbox::runtime::Pack;

use crate::{
    error::Entrypoint,
    record::{Configuration, Image},
    start::Process,
};

/// Where programs are looked for when an image does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const PATH_VARIABLE: &str = "PATH";

/// What an image starts for a function. Its `_HANDLER` is the first word of the command.
pub(crate) fn process(
    unpacked: &Unpacked,
    image: &Image,
    configuration: &Configuration,
) -> Result<Process, Entrypoint> {
    let defaults = unpacked.process();
    let entry_point = image.entry_point.as_ref().unwrap_or(&defaults.entry_point);
    let command = image.command.as_ref().unwrap_or(&defaults.command);
    let handler = command.first().cloned().unwrap_or_default();
    let directory = image.working_directory.as_ref().unwrap_or(&defaults.working_directory);
    let working_directory = absolute(Path::new("/"), directory);
    let mut env = vec![("TZ".to_owned(), ":UTC".to_owned())];
    env.extend(defaults.environment.iter().cloned());
    if !env.iter().any(|(name, _)| name == PATH_VARIABLE) {
        env.push((PATH_VARIABLE.to_owned(), PATH.to_owned()));
    }
    let mut words = entry_point.iter().chain(command);
    let first = words.next().ok_or_else(|| invalid("exec: no command".to_owned()))?;
    let own = configuration.variables().find(|(name, _)| *name == PATH_VARIABLE);
    let path =
        env.iter().rev().find(|(name, _)| name == PATH_VARIABLE).map(|(_, path)| path.as_str());
    let program = program(
        unpacked,
        first,
        &working_directory,
        own.map(|(_, path)| path.as_str()).or(path).unwrap_or(PATH),
    )?;
    let pack = Pack::image(program, words.cloned().collect(), env);
    let extensions = Vec::new();
    Ok(Process { pack: Arc::new(pack), working_directory, handler, extensions })
}

/// The path of a program, looked for as a shell does.
fn program(
    unpacked: &Unpacked,
    name: &str,
    working_directory: &Path,
    path: &str,
) -> Result<PathBuf, Entrypoint> {
    if name.contains('/') {
        return Ok(absolute(working_directory, name));
    }
    let directories = path.split(':').map(|directory| absolute(working_directory, directory));
    let mut candidates = directories.map(|directory| directory.join(name));
    candidates
        .find(|candidate| !name.is_empty() && unpacked.is_program(candidate))
        .ok_or_else(|| invalid(format!("exec: \"{name}\": executable file not found in $PATH")))
}

/// A path without `.` and `..`, by its text: what sandboxes take.
fn absolute(base: &Path, path: &str) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in base.join(path).components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

fn invalid(problem: String) -> Entrypoint {
    Entrypoint { kind: "Runtime.InvalidEntrypoint", problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_absolute() {
        for (base, path, is) in [
            ("/", "", "/"),
            ("/", "app", "/app"),
            ("/app", "./run", "/app/run"),
            ("/app", "/run", "/run"),
            ("/app", "../run", "/run"),
            ("/app", "../../../run", "/run"),
            ("/app", "/a/./b/../c/", "/a/c"),
        ] {
            assert_eq!(absolute(Path::new(base), path), Path::new(is), "{base} {path}");
        }
    }
}
