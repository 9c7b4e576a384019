//! A pack: everything a sandbox needs to run one runtime.
//!
//! An interpreter of the system (below `/usr`) runs where it is, since the system's directories are
//! bound for its shared libraries anyway. Any other, such as one below a home directory, appears at
//! `/var/lang`, where AWS has its interpreters: of Python and Ruby the directories `bin` and `lib` of
//! its tree, of Java and .NET what they are made of, of Node.js the program alone. Nothing else of the directories that lead to it is visible.

use std::path::{Path, PathBuf};

use super::Warning;
use super::build::{Build, BuildError, JAVA_CLIENT, dotnet_client};
use super::client::Clients;
use super::identifier::{Family, Identifier, Version};
use super::probe::Interpreter;

/// The system's directories that hold shared libraries and common programs.
const SYSTEM: &[&str] = &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// Below this a virtual machine that compiles at all soon stops doing so.
const CODE_CACHE_MB_MIN: u64 = 16;

/// What Ruby calls the machine in the paths of its own compiled libraries.
#[cfg(target_arch = "x86_64")]
const RUBY_PLATFORM: &str = "x86_64-linux";
#[cfg(target_arch = "aarch64")]
const RUBY_PLATFORM: &str = "aarch64-linux";

const RUNTIME_DIRECTORY: &str = "/var/runtime";
const LANGUAGE_DIRECTORY: &str = "/var/lang";

/// How to start a runtime inside a sandbox. Plain data; paths are inside paths unless said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// The runtime identifier, such as `python3.12`.
    pub name: String,
    /// The language.
    pub family: Family,
    /// The interpreter's own version, in full.
    pub version: Version,
    /// The interpreter.
    pub program: PathBuf,
    /// Its arguments; [`Pack::args_for`] adds those that depend on the function's memory.
    pub args: Vec<String>,
    /// What has to be bound read-only: host path, inside path; parents before children.
    pub binds: Vec<(PathBuf, PathBuf)>,
    /// The value of `AWS_EXECUTION_ENV`.
    pub execution_env: String,
    /// Variables that the runtime needs and the function may override, with AWS's values.
    pub env: Vec<(String, String)>,
    /// For a client that is compiled on this machine.
    pub(super) build: Option<Build>,
}

/// How a runtime is booted before its function is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parkable {
    /// The arguments of a process that waits.
    pub args: Vec<String>,
    /// The arguments of a process that is forked into such; `None` where forks are no use.
    pub template_args: Option<Vec<String>>,
    /// What the arguments are good for: the memory of the functions, or of all where it is the least.
    pub memory_mb: u32,
    /// Nothing is booted: only the sandbox waits, and becomes the function's own program.
    pub is_vacant: bool,
}

impl Pack {
    pub(super) fn new(interpreter: &Interpreter, clients: &Clients, build: Option<Build>) -> Self {
        let Interpreter { family, version, program, prefix } = interpreter;
        let mut binds = system_binds();
        let inside = if prefix.starts_with("/usr") {
            prefix.clone()
        } else {
            binds.extend(language_binds(interpreter));
            LANGUAGE_DIRECTORY.into()
        };
        if let Some(client) = clients.get(family) {
            binds.push((client.clone(), RUNTIME_DIRECTORY.into()));
        }
        let program = match family {
            Family::Nodejs if inside != *prefix => inside.join("bin/node"),
            _ => inside.join(program.strip_prefix(prefix).unwrap_or(program)),
        };
        let name = family.identifier(*version);
        let args = arguments(interpreter);
        Self {
            execution_env: format!("AWS_Lambda_{name}"),
            env: environment(*family, *version, &inside),
            name,
            family: *family,
            version: *version,
            program,
            args,
            binds,
            build,
        }
    }

    /// Resolves when the runtime's client is there: at once, but before the first function of a
    /// language whose client has to be compiled, which takes a second or two.
    ///
    /// # Errors
    /// When it cannot be compiled; the next call tries again.
    pub async fn prepared(&self) -> Result<(), BuildError> {
        match &self.build {
            Some(build) => build.done().await,
            None => Ok(()),
        }
    }

    /// The pack of a container image, which brings everything itself: what it starts, with its own environment.
    pub fn image(program: PathBuf, args: Vec<String>, env: Vec<(String, String)>) -> Self {
        Self {
            name: "image".to_owned(),
            family: Family::Provided,
            version: Version::NONE,
            program,
            args,
            binds: Vec::new(),
            execution_env: "AWS_Lambda_Image".to_owned(),
            env,
            build: None,
        }
    }

    /// The pack of functions that bring their own program: the system's directories and nothing else. The program is the
    /// function's `bootstrap`, which the caller looks for.
    pub(super) fn provided(name: &str) -> Self {
        let mut env = environment(Family::Provided, Version::NONE, Path::new("/usr"));
        env.retain(|(name, _)| name != "PATH" && name != "LD_LIBRARY_PATH");
        for (name, value) in [
            ("PATH", "/usr/local/bin:/usr/bin/:/bin:/opt/bin"),
            (
                "LD_LIBRARY_PATH",
                "/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
            ),
        ] {
            env.push((name.to_owned(), value.to_owned()));
        }
        Self {
            name: name.to_owned(),
            family: Family::Provided,
            version: Version::NONE,
            program: "/var/task/bootstrap".into(),
            args: Vec::new(),
            binds: system_binds(),
            // AWS does not set it there.
            execution_env: String::new(),
            env,
            build: None,
        }
    }

    /// The same interpreter under another identifier, for which it stands in.
    pub(super) fn named(&self, identifier: &Identifier) -> Self {
        Self {
            name: identifier.name.to_owned(),
            execution_env: format!("AWS_Lambda_{}", identifier.name),
            ..self.clone()
        }
    }

    /// That this is another version than its name says; so for a pack that the operator added.
    pub(super) fn stands_in(&self) -> Option<Warning> {
        let used = self.family.identifier(self.version);
        let differs = self.family != Family::Provided && used != self.name;
        differs.then(|| Warning { requested: self.name.clone(), used })
    }

    /// The arguments for a function with this much memory.
    ///
    /// Node.js and Java cannot see the sandbox's limit and would size their heaps by the machine's
    /// memory; they get AWS's shares of the function's.
    #[must_use]
    pub fn args_for(&self, memory_mb: u32) -> Vec<String> {
        let share = |percent: u64| u64::from(memory_mb) * percent / 100;
        let sizes = match self.family {
            Family::Nodejs => vec![
                format!("--max-old-space-size={}", share(90).max(1)),
                format!("--max-semi-space-size={}", share(5).max(1)),
            ],
            Family::Java => vec![
                format!("-XX:MaxHeapSize={}m", share(85)),
                format!("-XX:ReservedCodeCacheSize={}m", share(5).max(CODE_CACHE_MB_MIN)),
            ],
            Family::Dotnet | Family::Provided | Family::Python | Family::Ruby => Vec::new(),
        };
        sizes.into_iter().chain(self.args.iter().cloned()).collect()
    }

    /// Whether an initialised process of this runtime can be forked: it has one thread, and our client can do it.
    #[must_use]
    pub fn can_be_snapshot(&self) -> bool {
        self.family == Family::Python
    }

    /// How this runtime is booted to wait for a function with this much memory; `None` where it is started with
    /// its function only.
    #[must_use]
    pub fn parkable(&self, memory_mb: u32) -> Option<Parkable> {
        /// An interpreter that is told nothing of memory waits in the least that a function may have.
        const LEAST_MEMORY_MB: u32 = 128;
        let with = |memory_mb: u32, last: &str| {
            let mut args = self.args_for(memory_mb);
            args.push(last.to_owned());
            args
        };
        match self.family {
            Family::Python => Some(Parkable {
                args: with(LEAST_MEMORY_MB, "--parked"),
                template_args: Some(with(LEAST_MEMORY_MB, "--zygote")),
                memory_mb: LEAST_MEMORY_MB,
                is_vacant: false,
            }),
            Family::Dotnet => Some(Parkable {
                args: with(LEAST_MEMORY_MB, "--parked"),
                template_args: None,
                memory_mb: LEAST_MEMORY_MB,
                is_vacant: false,
            }),
            Family::Java => {
                // It resolves paths by this, and reads it once.
                let mut args = vec!["-Duser.dir=/var/task".to_owned()];
                args.extend(with(memory_mb, "--parked"));
                Some(Parkable { args, template_args: None, memory_mb, is_vacant: false })
            }
            Family::Nodejs => {
                let args = with(memory_mb, "--parked");
                Some(Parkable { args, template_args: None, memory_mb, is_vacant: false })
            }
            Family::Provided => Some(Parkable {
                args: Vec::new(),
                template_args: None,
                memory_mb: LEAST_MEMORY_MB,
                is_vacant: true,
            }),
            Family::Ruby => None,
        }
    }

    /// Where an inside path is on the host, for sandboxes that have no file system of their own.
    #[must_use]
    pub fn on_host(&self, inside: &Path) -> PathBuf {
        let deepest = self
            .binds
            .iter()
            .filter_map(|(host, bound)| Some((bound, host, inside.strip_prefix(bound).ok()?)))
            .max_by_key(|(bound, _, _)| bound.components().count());
        match deepest {
            Some((_, host, rest)) if rest.as_os_str().is_empty() => host.clone(),
            Some((_, host, rest)) => host.join(rest),
            None => inside.to_owned(),
        }
    }
}

/// What the interpreter is called with, whatever the function.
fn arguments(interpreter: &Interpreter) -> Vec<String> {
    let client = |name: &str| format!("{RUNTIME_DIRECTORY}/{name}");
    let own = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
    let mut args = match interpreter.family {
        // AWS's choice: start-up counts more than the last third of speed. Nobody reads the counters
        // that a machine would keep in a file.
        Family::Java => own(&[
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-XX:-UsePerfData",
            "-Xshare:auto",
            "-jar",
        ]),
        // The size of headers that AWS's runtime lets HTTP clients and servers have.
        Family::Nodejs => own(&["--max-http-header-size=81920"]),
        // Packages of whoever runs the server are no business of a function's.
        Family::Python => own(&["-s"]),
        Family::Dotnet => vec![
            "exec".to_owned(),
            "--fx-version".to_owned(),
            interpreter.version.to_string(),
            "--runtimeconfig".to_owned(),
            client("runtimeconfig.json"),
        ],
        Family::Provided | Family::Ruby => Vec::new(),
    };
    args.push(match interpreter.family {
        Family::Dotnet => client(&dotnet_client(interpreter.version)),
        Family::Java => client(JAVA_CLIENT),
        Family::Nodejs => client("bootstrap.js"),
        Family::Python => client("bootstrap.py"),
        Family::Ruby => client("bootstrap.rb"),
        Family::Provided => client("bootstrap"),
    });
    args
}

/// The system's directories that are there.
fn system_binds() -> Vec<(PathBuf, PathBuf)> {
    let directories = SYSTEM.iter().map(PathBuf::from).filter(|directory| directory.is_dir());
    directories.map(|directory| (directory.clone(), directory)).collect()
}

/// What of an interpreter's own tree appears inside, at [`LANGUAGE_DIRECTORY`].
fn language_binds(interpreter: &Interpreter) -> Vec<(PathBuf, PathBuf)> {
    let Interpreter { family, version, program, prefix } = interpreter;
    let inside = Path::new(LANGUAGE_DIRECTORY);
    let parts: &[&str] = match family {
        Family::Nodejs => return vec![(program.clone(), inside.join("bin/node"))],
        Family::Dotnet => &["dotnet", "host", "shared"],
        Family::Java => &["bin", "lib", "conf", "jre", "release"],
        Family::Python | Family::Ruby => &["bin", "lib", "lib64"],
        Family::Provided => &[],
    };
    let mut binds: Vec<_> = parts
        .iter()
        .map(|name| (prefix.join(name), inside.join(name)))
        .filter(|(host, _)| host.exists())
        .collect();
    // The program looks for its library where it was built to. `LD_LIBRARY_PATH` would lead it to
    // the one above, but a function may set that to something else.
    let Version { major, minor, .. } = version;
    let library = match family {
        Family::Python => format!("lib/libpython{major}.{minor}.so.1.0"),
        Family::Ruby => format!("lib/libruby.so.{major}.{minor}"),
        Family::Dotnet | Family::Java | Family::Nodejs | Family::Provided => return binds,
    };
    let library = prefix.join(library);
    if library.is_file() {
        binds.push((library.clone(), library));
    }
    binds
}

fn environment(family: Family, version: Version, inside: &Path) -> Vec<(String, String)> {
    let prefix = inside.display();
    let mut env = vec![
        ("PATH", format!("{prefix}/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin")),
        (
            "LD_LIBRARY_PATH",
            format!(
                "{prefix}/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:\
                 /var/task/lib:/opt/lib"
            ),
        ),
        ("LANG", "en_US.UTF-8".to_owned()),
        ("TZ", ":UTC".to_owned()),
        ("LAMBDA_RUNTIME_DIR", RUNTIME_DIRECTORY.to_owned()),
        ("LAMBDA_TASK_ROOT", "/var/task".to_owned()),
    ];
    if family == Family::Dotnet {
        env.push(("DOTNET_ROOT", prefix.to_string()));
        // Cultures need ICU, which nothing promises; what a debugger connects to is no function's.
        env.push(("DOTNET_SYSTEM_GLOBALIZATION_INVARIANT", "1".to_owned()));
        env.push(("DOTNET_EnableDiagnostics", "0".to_owned()));
        env.push(("COMPlus_EnableDiagnostics", "0".to_owned()));
    }
    if family == Family::Ruby {
        let api = format!("{}.{}.0", version.major, version.minor);
        let gems = format!("/var/task/vendor/bundle/ruby/{api}:/opt/ruby/gems/{api}");
        env.push(("GEM_PATH", gems));
        // Below `/usr` it finds its own library; elsewhere it looks where it was built to be.
        let own = format!("{prefix}/lib/ruby/{api}:{prefix}/lib/ruby/{api}/{RUBY_PLATFORM}");
        let moved = if inside.starts_with("/usr") { String::new() } else { format!(":{own}") };
        env.push(("RUBYLIB", format!("/var/task:/opt/ruby/lib{moved}")));
    }
    if family == Family::Nodejs {
        let path = format!(
            "/opt/nodejs/node{}/node_modules:/opt/nodejs/node_modules:\
             /var/runtime/node_modules:/var/runtime:/var/task",
            version.major
        );
        env.push(("NODE_PATH", path));
    }
    env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
