//! Clients that cannot run as sources: Java's and .NET's are compiled by what the machine has.
//!
//! Not at the server's start but when a function first needs one, since a compiler takes a second. The
//! result lies in the client's directory, whose name carries the hash of its sources, and is put in
//! place by one rename; it is compiled once for a data directory.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tokio::sync::OnceCell;

use super::identifier::{Family, Version};
use super::limits;
use super::probe::{Interpreter, output};
use super::search::Search;
use super::tree::{dotnet_frameworks, names};

/// Why a client could not be compiled. Nothing of it is the function's fault.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The compiler, or the directory that its result goes to.
    #[error("the runtime client could not be compiled by {program}")]
    System {
        /// What was run.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The compiler ended with a failure.
    #[error("the runtime client could not be compiled: {program} failed")]
    Compiler {
        /// What was run.
        program: PathBuf,
    },
}

/// A client to be compiled, or that is. Cheap to clone.
#[derive(Clone)]
pub(super) struct Build {
    /// The file that has to be there.
    result: PathBuf,
    recipe: Recipe,
    done: Arc<OnceCell<()>>,
}

#[derive(Debug, Clone)]
enum Recipe {
    Java { sources: PathBuf, javac: PathBuf, has_release: bool },
    Dotnet { sources: PathBuf, compiler: CSharp, framework: PathBuf },
}

/// A compiler of C#.
#[derive(Debug, Clone)]
enum CSharp {
    /// Mono's, a program.
    Mono(PathBuf),
    /// Of a .NET SDK: an assembly that its `dotnet` runs.
    Roslyn { dotnet: PathBuf, assembly: PathBuf },
}

impl fmt::Debug for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Build").field("result", &self.result).finish_non_exhaustive()
    }
}

impl PartialEq for Build {
    fn eq(&self, other: &Self) -> bool {
        self.result == other.result
    }
}

impl Eq for Build {}

/// The file that Java's client is compiled to.
pub(super) const JAVA_CLIENT: &str = "gatemill-runtime.jar";
const DOTNET_CLIENT: &str = "gatemill-runtime.dll";

/// The file that .NET's client is compiled to: one for each release, against its own library, since an
/// older library takes nothing that was compiled against a newer one.
pub(super) fn dotnet_client(version: Version) -> String {
    format!("net{}/{DOTNET_CLIENT}", version.major)
}

impl Build {
    /// Of Java: one jar for all of them, in the oldest class format that is served. `None` when no
    /// Java of this machine brings a compiler.
    pub(super) fn java(client: &Path, found: &[Interpreter]) -> Option<Self> {
        let mut javas: Vec<_> = found.iter().filter(|one| one.family == Family::Java).collect();
        // A JDK 8 compiles against its own library; later ones against that of 8, until they drop it.
        javas.sort_by_key(|java| (java.version.major < 9, java.version));
        let result = client.join(JAVA_CLIENT);
        let compiler = |java: &&Interpreter| {
            let javac = java.prefix.join("bin/javac");
            javac.is_file().then_some((javac, java.version.major >= 9))
        };
        let compiler = javas.iter().find_map(compiler);
        let (javac, has_release) = match compiler {
            Some(compiler) => compiler,
            // Compiled by a JDK that is gone.
            None if result.is_file() => (PathBuf::new(), true),
            None => return None,
        };
        let recipe = Recipe::Java { sources: client.to_owned(), javac, has_release };
        Some(Self { result, recipe, done: Arc::default() })
    }

    /// Of one .NET. `None` when this machine has no compiler of C#.
    pub(super) fn dotnet(client: &Path, dotnet: &Interpreter, search: &Search) -> Option<Self> {
        let result = client.join(dotnet_client(dotnet.version));
        let compiler = search.find("mcs").map(CSharp::Mono).or_else(|| roslyn(dotnet));
        let compiler = match compiler {
            Some(compiler) => compiler,
            // Compiled by one that is gone.
            None if result.is_file() => CSharp::Mono(PathBuf::new()),
            None => return None,
        };
        let framework = dotnet_frameworks(&dotnet.prefix).join(dotnet.version.to_string());
        let recipe = Recipe::Dotnet { sources: client.to_owned(), compiler, framework };
        Some(Self { result, recipe, done: Arc::default() })
    }

    /// Compiles the client unless that is done. Dropping the future lets a compiler run to its end.
    pub(super) async fn done(&self) -> Result<(), BuildError> {
        self.done.get_or_try_init(|| self.run()).await.copied()
    }

    async fn run(&self) -> Result<(), BuildError> {
        let Self { result, recipe, .. } = self.clone();
        let program = recipe.program().to_owned();
        let compiled = tokio::task::spawn_blocking(move || compile(&result, &recipe)).await;
        match compiled {
            Ok(compiled) => compiled,
            Err(lost) => Err(BuildError::System { program, source: io::Error::other(lost) }),
        }
    }
}

impl Recipe {
    fn program(&self) -> &Path {
        match self {
            Self::Java { javac, .. } => javac,
            Self::Dotnet { compiler: CSharp::Mono(mcs), .. } => mcs,
            Self::Dotnet { compiler: CSharp::Roslyn { assembly, .. }, .. } => assembly,
        }
    }
}

fn compile(result: &Path, recipe: &Recipe) -> Result<(), BuildError> {
    if result.is_file() {
        return Ok(());
    }
    let system = |source| BuildError::System { program: recipe.program().to_owned(), source };
    let fresh = result.with_extension(format!("new-{}", std::process::id()));
    remove(&fresh).map_err(system)?;
    fs::create_dir_all(&fresh).map_err(system)?;
    // Readable for the functions' users, whatever the server's umask is.
    let parent = fresh.parent().expect("a file in a directory has a parent");
    fs::set_permissions(parent, fs::Permissions::from_mode(0o755)).map_err(system)?;
    let begun = std::time::Instant::now();
    let made = match recipe {
        Recipe::Java { sources, javac, has_release } => {
            java(sources, javac, *has_release, &fresh).map_err(system)?
        }
        Recipe::Dotnet { sources, compiler, framework } => {
            dotnet(sources, compiler, framework, &fresh).map_err(system)?
        }
    };
    let outcome = match made {
        Some(made) => fs::set_permissions(&made, fs::Permissions::from_mode(0o644))
            .and_then(|()| fs::rename(made, result))
            .map_err(system),
        None => Err(BuildError::Compiler { program: recipe.program().to_owned() }),
    };
    remove(&fresh).map_err(system)?;
    if outcome.is_ok() {
        let took = begun.elapsed().as_millis();
        tracing::info!(client = %result.display(), took_ms = took, "compiled a runtime client");
    }
    outcome
}

/// The jar, below `fresh`; `None` when a tool fails.
fn java(
    client: &Path,
    javac: &Path,
    has_release: bool,
    fresh: &Path,
) -> io::Result<Option<PathBuf>> {
    let classes = fresh.join("classes");
    fs::create_dir(&classes)?;
    let mut command = Command::new(javac);
    command.args(if has_release { &["--release", "8"][..] } else { &["-source", "8"] });
    command.args(["-nowarn", "-Xlint:none", "-proc:none", "-encoding", "UTF-8", "-d"]);
    command.arg(&classes).args(sources(&client.join("src"), "java")?);
    if output(&mut command, limits::BUILD)?.is_none() {
        return Ok(None);
    }
    let jar = fresh.join(JAVA_CLIENT);
    let mut command = Command::new(javac.with_file_name("jar"));
    command.arg("cfm").arg(&jar).arg(client.join("manifest.txt")).arg("-C").arg(&classes).arg(".");
    Ok(output(&mut command, limits::BUILD)?.map(|_| jar))
}

/// The assembly, below `fresh`; `None` when the compiler fails.
fn dotnet(
    client: &Path,
    compiler: &CSharp,
    framework: &Path,
    fresh: &Path,
) -> io::Result<Option<PathBuf>> {
    let mut command = match compiler {
        CSharp::Mono(mcs) => Command::new(mcs),
        CSharp::Roslyn { dotnet, assembly } => {
            let mut command = Command::new(dotnet);
            command.arg("exec").arg(assembly);
            command
        }
    };
    let assembly = fresh.join(DOTNET_CLIENT);
    let option = |name: &str, path: &Path| format!("-{name}:{}", path.display());
    command.args(["-nostdlib", "-noconfig", "-optimize+", "-target:exe"]);
    command.arg(option("out", &assembly));
    for library in sources(framework, "dll")? {
        let name = library.file_name().unwrap_or_default().to_string_lossy();
        // Of the framework's files, those that are the library and not a part of the machine, and
        // not what speaks of types that Windows alone has.
        let is_library = name.starts_with("System.") && !name.contains("WindowsRuntime");
        if is_library || name == "netstandard.dll" {
            command.arg(option("reference", &library));
        }
    }
    command.arg(option("reference", &framework.join("Microsoft.Win32.Primitives.dll")));
    command.args(sources(&client.join("src"), "cs")?);
    Ok(output(&mut command, limits::BUILD)?.map(|_| assembly))
}

/// The compiler of the newest SDK beside a .NET.
fn roslyn(dotnet: &Interpreter) -> Option<CSharp> {
    let sdks = dotnet.prefix.join("sdk");
    let mut versions: Vec<_> = names(&sdks)
        .into_iter()
        .filter_map(|name| Some((Family::Dotnet.version(&name)?, name)))
        .collect();
    versions.sort();
    let assembly = versions
        .into_iter()
        .rev()
        .map(|(_, name)| sdks.join(name).join("Roslyn/bincore/csc.dll"))
        .find(|assembly| assembly.is_file())?;
    Some(CSharp::Roslyn { dotnet: dotnet.program.clone(), assembly })
}

/// All files with an extension below a directory, in the order of their paths.
fn sources(directory: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|it| it == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
