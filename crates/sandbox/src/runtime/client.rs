//! Our runtime clients: carried inside the program, written below the data directory at start.
//!
//! Each set is written under a name that contains its hash and is put in place by one rename, so
//! that a server that is being upgraded, or two servers over one directory, never see half a client.
//! Sets of other versions are left alone: sandboxes of theirs may still run.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Error;
use super::identifier::Family;
use super::limits;
use super::probe::{Interpreter, output};
use super::working_directory;

/// A file of a client: its path below the client's directory, and its bytes.
type File = (&'static str, &'static [u8]);

macro_rules! files {
    ($directory:literal: $($name:literal),* $(,)? $(; $made:expr)*) => {
        &[$($made,)* $((
            $name,
            include_bytes!(concat!(
                env!("CARGO_MANIFEST_DIR"), "/../../runtimes/", $directory, "/", $name
            )),
        )),*]
    };
}

const DOTNET: &[File] = files!("dotnet":
    "runtimeconfig.json",
    "src/Assemblies.cs",
    "src/Assignment.cs",
    "src/Bootstrap.cs",
    "src/Channel.cs",
    "src/Context.cs",
    "src/Executable.cs",
    "src/Fault.cs",
    "src/Handler.cs",
    "src/Invocation.cs",
    "src/Json.cs",
    "src/Logs.cs",
    "src/Rehearsal.cs",
    "src/Serializer.cs",
);

const JAVA: &[File] = files!("java":
    "manifest.txt",
    "src/com/amazonaws/services/lambda/runtime/Client.java",
    "src/com/amazonaws/services/lambda/runtime/ClientContext.java",
    "src/com/amazonaws/services/lambda/runtime/CognitoIdentity.java",
    "src/com/amazonaws/services/lambda/runtime/Context.java",
    "src/com/amazonaws/services/lambda/runtime/CustomPojoSerializer.java",
    "src/com/amazonaws/services/lambda/runtime/LambdaLogger.java",
    "src/com/amazonaws/services/lambda/runtime/LambdaRuntime.java",
    "src/com/amazonaws/services/lambda/runtime/LambdaRuntimeInternal.java",
    "src/com/amazonaws/services/lambda/runtime/RequestHandler.java",
    "src/com/amazonaws/services/lambda/runtime/RequestStreamHandler.java",
    "src/com/amazonaws/services/lambda/runtime/logging/LogFormat.java",
    "src/com/amazonaws/services/lambda/runtime/logging/LogLevel.java",
    "src/gatemill/runtime/Beans.java",
    "src/gatemill/runtime/Bootstrap.java",
    "src/gatemill/runtime/Channel.java",
    "src/gatemill/runtime/Environment.java",
    "src/gatemill/runtime/Fault.java",
    "src/gatemill/runtime/Handlers.java",
    "src/gatemill/runtime/Invocation.java",
    "src/gatemill/runtime/InvocationContext.java",
    "src/gatemill/runtime/Json.java",
    "src/gatemill/runtime/Logs.java",
    "src/gatemill/runtime/Mapper.java",
    "src/gatemill/runtime/Rehearsal.java",
    "src/gatemill/runtime/Scalars.java",
    "src/gatemill/runtime/TaskClassLoader.java",
    "src/gatemill/runtime/Types.java",
    "src/gatemill/runtime/WorkingDirectory.java";
    ("libworking_directory.so", working_directory::LIBRARY)
);

const NODEJS: &[File] = files!("nodejs":
    "bootstrap.js",
    "gatemill/channel.js",
    "gatemill/context.js",
    "gatemill/errors.js",
    "gatemill/handler.js",
    "gatemill/logs.js",
    "gatemill/loop.js",
    "gatemill/parked.js",
    "gatemill/rehearsal.mjs",
    "gatemill/stream.js",
    "gatemill/trace.js",
    "package.json",
);

const PYTHON: &[File] = files!("python":
    "bootstrap.py",
    "gatemill_runtime/__init__.py",
    "gatemill_runtime/channel.py",
    "gatemill_runtime/context.py",
    "gatemill_runtime/faults.py",
    "gatemill_runtime/handler.py",
    "gatemill_runtime/late.py",
    "gatemill_runtime/logs.py",
    "gatemill_runtime/loop.py",
    "gatemill_runtime/marshal.py",
    "gatemill_runtime/snapshot.py",
    "gatemill_runtime/trace.py",
    "gatemill_runtime/warm.py",
    "gatemill_runtime/zygote.py",
    "snapshot_restore_py.py",
);

const RUBY: &[File] = files!("ruby":
    "bootstrap.rb",
    "gatemill_runtime/channel.rb",
    "gatemill_runtime/context.rb",
    "gatemill_runtime/faults.rb",
    "gatemill_runtime/handler.rb",
    "gatemill_runtime/logs.rb",
    "gatemill_runtime/loop.rb",
);

/// The directory of each family's client, to be bound at `/var/runtime`.
pub(super) type Clients = BTreeMap<Family, PathBuf>;

/// The files of a family's client.
pub(super) fn files(family: Family) -> &'static [File] {
    match family {
        Family::Dotnet => DOTNET,
        Family::Java => JAVA,
        Family::Nodejs => NODEJS,
        Family::Python => PYTHON,
        Family::Provided => &[],
        Family::Ruby => RUBY,
    }
}

/// Writes the clients below `root` where they are not there yet.
pub(super) fn install(root: &Path) -> Result<Clients, Error> {
    // Binds need absolute paths, whatever the configuration says.
    let root = &std::path::absolute(root)
        .map_err(|source| Error::Install { path: root.to_owned(), source })?;
    let mut clients = Clients::new();
    for family in Family::ALL {
        let files = files(family);
        let directory = root.join(format!("{}-{:016x}", family.name(), hash(files)));
        if !is_whole(&directory, files) {
            put_in_place(root, &directory, files)
                .map_err(|source| Error::Install { path: directory.clone(), source })?;
        }
        clients.insert(family, directory);
    }
    Ok(clients)
}

/// Has each Python compile our client once, so that a cold start only loads bytecode.
///
/// Best effort: an interpreter that cannot will compile at every start, as it would without us.
pub(super) fn compile(clients: &Clients, found: &[Interpreter]) {
    let Some(directory) = clients.get(&Family::Python) else { return };
    let package = directory.join("gatemill_runtime");
    let mut wanting: BTreeMap<_, &Interpreter> = BTreeMap::new();
    for interpreter in found.iter().filter(|found| found.family == Family::Python) {
        let version = interpreter.version;
        let compiled = format!("__pycache__/loop.cpython-{}{}.pyc", version.major, version.minor);
        if !package.join(compiled).is_file() {
            wanting.entry(version.release()).or_insert(interpreter);
        }
    }
    std::thread::scope(|scope| {
        for interpreter in wanting.values() {
            let package = &package;
            scope.spawn(move || {
                let mut command = Command::new(&interpreter.program);
                // Hash-based and unchecked: the sources never change under this directory's name.
                command.args(["-I", "-m", "compileall", "-q", "--invalidation-mode"]);
                command.arg("unchecked-hash").arg(package);
                match output(&mut command, limits::PROBE) {
                    Ok(Some(_)) => {}
                    Ok(None) => tracing::warn!(program = %interpreter.program.display(),
                        "an interpreter cannot compile the runtime client"),
                    Err(error) => tracing::warn!(%error, program = %interpreter.program.display(),
                        "an interpreter cannot compile the runtime client"),
                }
            });
        }
    });
}

fn is_whole(directory: &Path, files: &[File]) -> bool {
    let same = |(name, bytes): &File| fs::read(directory.join(name)).is_ok_and(|is| is == *bytes);
    files.iter().all(same)
}

fn put_in_place(root: &Path, directory: &Path, files: &[File]) -> io::Result<()> {
    let fresh = root.join(format!(".new-{}", std::process::id()));
    remove(&fresh)?;
    fs::create_dir_all(root)?;
    make_directory(&fresh)?;
    for (name, bytes) in files {
        let path = fresh.join(name);
        make_directories(&fresh, name)?;
        fs::write(&path, bytes)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
    }
    match fs::rename(&fresh, directory) {
        Ok(()) => Ok(()),
        // Another server was first, and its sandboxes may have this directory already.
        Err(_) if is_whole(directory, files) => remove(&fresh),
        // A directory of this name that is not whole was damaged by somebody; it is replaced.
        Err(_) => {
            remove(directory)?;
            fs::rename(&fresh, directory)
        }
    }
}

/// The directories on the way to a file.
fn make_directories(root: &Path, name: &str) -> io::Result<()> {
    for (slash, _) in name.match_indices('/') {
        let directory = root.join(&name[..slash]);
        if !directory.is_dir() {
            make_directory(&directory)?;
        }
    }
    Ok(())
}

/// Readable for the functions' users, whatever the server's umask is.
fn make_directory(path: &Path) -> io::Result<()> {
    fs::create_dir(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// FNV-1a over names and contents: tells versions of our own files apart, nothing more.
fn hash(files: &[File]) -> u64 {
    let bytes = files.iter().flat_map(|(name, bytes)| name.bytes().chain(bytes.iter().copied()));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
