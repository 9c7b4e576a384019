//! Discovery against trees of fake interpreters: scripts that answer like the real ones.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::client::files;
use super::probe::output;
use super::{AddError, BuildError, Fallback, Family, IDENTIFIERS, Runtimes, Search, add, remove};

/// A directory with a fake home, and a search that finds nothing else of its own.
struct Machine {
    directory: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    fn search(&self) -> Search {
        Search {
            root: self.directory.path().join("root"),
            home: Some(self.home()),
            data_dir: self.directory.path().join("data"),
            ..Search::default()
        }
    }

    /// A Python that says its version and counts how often it was asked.
    fn python(&self, prefix: &Path, version: &str) -> PathBuf {
        let release = version.rsplit_once('.').unwrap().0;
        fs::create_dir_all(prefix.join(format!("lib/python{release}"))).unwrap();
        fs::write(prefix.join(format!("lib/python{release}/os.py")), "").unwrap();
        let program = prefix.join(format!("bin/python{release}"));
        script(&program, &format!("echo asked >> $0.log; echo {version}; echo $0"));
        program
    }

    fn pyenv(&self, version: &str) -> PathBuf {
        self.python(&self.home().join(".pyenv/versions").join(version), version)
    }
}

fn script(path: &Path, body: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn times_asked(program: &Path) -> usize {
    fs::read_to_string(format!("{}.log", program.display())).unwrap_or_default().lines().count()
}

fn names(runtimes: &Runtimes) -> Vec<String> {
    runtimes.list().iter().map(|pack| format!("{} {}", pack.name, pack.version)).collect()
}

#[test]
fn newest_patch_of_pyenv_wins_and_unserved_versions_are_left_out() {
    let machine = Machine::new();
    for version in ["3.14.9", "3.14.10", "3.14.2", "3.7.16", "2.7.18"] {
        machine.pyenv(version);
    }
    let runtimes = Runtimes::discover(&machine.search()).unwrap();
    assert_eq!(names(&runtimes), ["python3.14 3.14.10"]);
}

#[test]
fn an_interpreter_is_asked_again_only_when_it_changed() {
    let machine = Machine::new();
    let program = machine.pyenv("3.14.1");
    let search = machine.search();
    Runtimes::discover(&search).unwrap();
    let first = times_asked(&program);
    Runtimes::discover(&search).unwrap();
    assert_eq!(names(&Runtimes::discover(&search).unwrap()), ["python3.14 3.14.1"]);
    // Its one further call each time is the one that should compile our client, which a script cannot.
    let compile_calls = 2;
    assert_eq!(times_asked(&program), first + compile_calls);

    script(&program, "echo 3.14.77; echo $0");
    assert_eq!(names(&Runtimes::discover(&search).unwrap()), ["python3.14 3.14.77"]);
}

#[test]
fn damaged_memory_and_broken_programs_do_no_harm() {
    let machine = Machine::new();
    machine.pyenv("3.14.1");
    let bin = machine.home().join(".pyenv/versions/broken/bin");
    script(&bin.join("python3.14"), "exit 3");
    script(&bin.join("python3.13"), "echo nonsense");
    let search = machine.search();
    let memory = search.data_dir.join("runtimes/probes");
    for damage in ["", "gatemill interpreters 1\nx\ty\n\t\t\t\t\t\t\n", "gatemill interpreters 9"] {
        fs::create_dir_all(memory.parent().unwrap()).unwrap();
        fs::write(&memory, damage).unwrap();
        let runtimes = Runtimes::discover(&search).unwrap();
        assert_eq!(names(&runtimes), ["python3.14 3.14.1"], "{damage:?}");
    }
}

#[test]
fn a_program_that_does_not_end_is_ended() {
    let machine = Machine::new();
    let program = machine.directory.path().join("hang");
    for body in ["exec sleep 600", "exec cat /dev/zero"] {
        script(&program, body);
        let limit = std::time::Duration::from_millis(50);
        let error = output(&mut std::process::Command::new(&program), limit).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    }
}

#[test]
fn a_python_whose_prefix_is_the_home_directory_is_never_bound() {
    let machine = Machine::new();
    let program = machine.python(&machine.home(), "3.14.1");
    let search = Search { extra: vec![machine.home().join("bin")], ..machine.search() };
    let runtimes = Runtimes::discover(&search).unwrap();
    assert_eq!(times_asked(&program), 1);
    assert_eq!(names(&runtimes), Vec::<String>::new());
}

#[test]
fn trees_outside_the_system_appear_at_var_lang() {
    let machine = Machine::new();
    let program = machine.pyenv("3.14.1");
    let node = machine.home().join(".nvm/versions/node/v24.3.1/bin/node");
    script(&node, "echo v24.3.1; echo $0");
    // A name that a launcher would dispatch on, and a second link to a known program.
    symlink(&program, program.with_file_name("python3")).unwrap();
    let runtimes = Runtimes::discover(&machine.search()).unwrap();
    assert_eq!(names(&runtimes), ["nodejs24.x 24.3.1", "python3.14 3.14.1"]);

    let (python, warning) = runtimes.resolve("python3.14", Fallback::No).unwrap();
    assert_eq!((python.family, warning), (Family::Python, None));
    assert_eq!(python.program, Path::new("/var/lang/bin/python3.14"));
    assert_eq!(python.on_host(&python.program), program);
    assert_eq!(python.execution_env, "AWS_Lambda_python3.14");
    let hosts = python.binds.iter().map(|(host, _)| host.clone()).collect::<Vec<_>>();
    assert!(hosts.iter().all(|host| !machine.home().starts_with(host)), "{hosts:?}");

    let (nodejs, _) = runtimes.resolve("nodejs24.x", Fallback::No).unwrap();
    assert_eq!(nodejs.on_host(&nodejs.program), node);
    let args = nodejs.args_for(128);
    assert_eq!(args[..2], ["--max-old-space-size=115", "--max-semi-space-size=6"]);
    let bootstrap = nodejs.on_host(Path::new(args.last().unwrap()));
    assert!(bootstrap.is_file(), "{bootstrap:?}");
}

#[test]
fn clients_are_readable_whole_and_repaired() {
    let machine = Machine::new();
    machine.pyenv("3.14.1");
    let search = machine.search();
    let pack =
        |search| Runtimes::discover(search).unwrap().resolve("python3.14", Fallback::No).unwrap().0;
    let bootstrap = pack(&search).on_host(Path::new("/var/runtime/bootstrap.py"));
    let good = fs::read(&bootstrap).unwrap();
    assert_eq!(fs::metadata(&bootstrap).unwrap().permissions().mode() & 0o777, 0o644);
    fs::write(&bootstrap, "raise SystemExit").unwrap();
    pack(&search);
    assert_eq!(fs::read(&bootstrap).unwrap(), good);
}

#[test]
fn every_file_of_the_clients_is_carried() {
    fn collect(directory: &Path, root: &Path, into: &mut Vec<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("__pycache__") {
                collect(&path, root, into);
            } else if path.is_file() {
                into.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    for family in Family::ALL {
        let carried = files(family);
        let runtimes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../runtimes");
        let root = runtimes.join(family.name());
        let mut there = Vec::new();
        collect(&root, &root, &mut there);
        there.sort();
        // Java's library is made by this program and is no source.
        let carried = carried.iter().map(|(name, _)| *name).filter(|name| !name.ends_with(".so"));
        assert_eq!(carried.collect::<Vec<_>>(), there);
    }
}

#[test]
fn the_nearest_release_stands_in_only_when_allowed() {
    let machine = Machine::new();
    machine.pyenv("3.9.1");
    machine.pyenv("3.14.1");
    let runtimes = Runtimes::discover(&machine.search()).unwrap();
    let refused = runtimes.resolve("python3.12", Fallback::No).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "runtime python3.12 is not installed; installed are: python3.9, python3.14"
    );
    let (pack, warning) = runtimes.resolve("python3.12", Fallback::Nearest).unwrap();
    assert_eq!(
        warning.unwrap().to_string(),
        "python3.12 is not installed here; python3.14 runs in its place"
    );
    assert_eq!(pack.execution_env, "AWS_Lambda_python3.12");
    assert_eq!(pack.version.to_string(), "3.14.1");
    for name in ["nodejs20.x", "java21", "ruby3.3", "", "python3.14 "] {
        assert!(runtimes.resolve(name, Fallback::Nearest).is_err(), "{name:?}");
    }
    let none = Runtimes::default().resolve("python3.12", Fallback::Nearest).unwrap_err();
    assert_eq!(none.to_string(), "runtime python3.12 is not installed; installed are: none");
}

#[test]
fn identifiers_are_what_their_versions_spell() {
    for known in IDENTIFIERS {
        assert_eq!(known.family.identifier(known.version), known.name);
    }
}

#[test]
fn java_and_dotnet_are_read_from_their_trees() {
    let machine = Machine::new();
    let jvm = machine.directory.path().join("root/usr/lib/jvm");
    let jdk = |name: &str, program: &str, release: &str| {
        script(&jvm.join(name).join(program), "exit 1");
        fs::write(jvm.join(name).join("release"), release).unwrap();
    };
    jdk("old", "jre/bin/java", "OS_NAME=\"Linux\"\nJAVA_VERSION=\"1.8.0_392\"\n");
    jdk("new", "bin/java", "JAVA_VERSION=\"25\"\n");
    jdk("odd", "bin/java", "JAVA_VERSION=\"nonsense\"\n");
    jdk("between", "bin/java", "JAVA_VERSION=\"19.0.2\"\n");
    script(&jvm.join("bare/bin/java"), "exit 1");
    let search = machine.search();
    // Without a compiler there is no client, and without one nothing can run.
    assert_eq!(names(&Runtimes::discover(&search).unwrap()), Vec::<String>::new());
    script(&jvm.join("new/bin/javac"), "exit 1");
    let runtimes =
        Runtimes::discover(&Search { extra: vec![jvm.join("old/jre")], ..search }).unwrap();
    assert_eq!(names(&runtimes), ["java8.al2 8.0.392", "java25 25.0.0"]);
    let (old, _) = runtimes.resolve("java8.al2", Fallback::No).unwrap();
    assert_eq!(old.program, Path::new("/var/lang/jre/bin/java"));
    let args = old.args_for(512);
    assert_eq!(args[..2], ["-XX:MaxHeapSize=435m", "-XX:ReservedCodeCacheSize=25m"]);
    assert_eq!(args.last().unwrap(), "/var/runtime/gatemill-runtime.jar");
    // It waits with its heap's size, in the folder of the function that it is going to have.
    let waiting = old.parkable(512).unwrap();
    assert_eq!((waiting.memory_mb, waiting.template_args), (512, None));
    assert_eq!(waiting.args[..2], ["-Duser.dir=/var/task", "-XX:MaxHeapSize=435m"]);
    assert_eq!(waiting.args.last().unwrap(), "--parked");
}

#[test]
fn every_dotnet_of_an_installation_is_found_and_may_stand_in() {
    let machine = Machine::new();
    let prefix = machine.directory.path().join("root/usr/share/dotnet");
    script(&prefix.join("dotnet"), "exit 1");
    for version in ["3.1.23", "10.0.1", "10.0.0-rc.2", "7.0.0"] {
        fs::create_dir_all(prefix.join("shared/Microsoft.NETCore.App").join(version)).unwrap();
    }
    let search = machine.search();
    assert_eq!(names(&Runtimes::discover(&search).unwrap()), Vec::<String>::new());
    // An SDK brings its own compiler.
    script(&prefix.join("sdk/10.0.100/Roslyn/bincore/csc.dll"), "exit 1");
    let runtimes = Runtimes::discover(&search).unwrap();
    assert_eq!(names(&runtimes), ["dotnetcore3.1 3.1.23", "dotnet10 10.0.1"]);
    assert!(runtimes.resolve("dotnet8", Fallback::No).is_err());
    let (pack, warning) = runtimes.resolve("dotnet8", Fallback::Nearest).unwrap();
    assert_eq!(warning.unwrap().used, "dotnet10");
    assert_eq!(pack.execution_env, "AWS_Lambda_dotnet8");
    let (old, _) = runtimes.resolve("dotnetcore3.1", Fallback::No).unwrap();
    let client = "/var/runtime/net3/gatemill-runtime.dll";
    assert_eq!(old.args[..3], ["exec", "--fx-version", "3.1.23"]);
    assert_eq!(old.args.last().unwrap(), client);
    // It is told nothing of memory, so one that waits will do for any.
    let waiting = old.parkable(2048).unwrap();
    assert_eq!(waiting, old.parkable(128).unwrap());
    assert_eq!(waiting.args[old.args.len()..], ["--parked"]);
}

#[test]
fn an_added_runtime_goes_first_and_may_serve_another_release() {
    let machine = Machine::new();
    machine.pyenv("3.14.1");
    let tree = machine.directory.path().join("tree");
    machine.python(&tree.join("usr"), "3.13.7");
    // A program that finds out where it is, as the real one does, and not one with a path in it.
    script(&tree.join("usr/bin/python3.13"), "echo 3.13.7; readlink -f $0");
    symlink("python3.13", tree.join("usr/bin/python3")).unwrap();
    let search = machine.search();
    let data = &search.data_dir;
    assert_eq!(add(data, "python3.14", &tree).unwrap(), "python3.13");
    fs::remove_dir_all(&tree).unwrap();

    let runtimes = Runtimes::discover(&search).unwrap();
    assert_eq!(names(&runtimes), ["python3.14 3.13.7"]);
    let (pack, warning) = runtimes.resolve("python3.14", Fallback::No).unwrap();
    assert_eq!(
        warning.unwrap().to_string(),
        "python3.14 is not installed here; python3.13 runs in its place"
    );
    assert_eq!(pack.program, Path::new("/var/lang/bin/python3.13"));
    assert_eq!(pack.execution_env, "AWS_Lambda_python3.14");
    assert!(pack.on_host(&pack.program).starts_with(data));

    remove(data, "python3.14").unwrap();
    assert_eq!(names(&Runtimes::discover(&search).unwrap()), ["python3.14 3.14.1"]);
    assert!(matches!(remove(data, "python3.14"), Err(AddError::NotAdded { .. })));
}

#[test]
fn what_cannot_be_added_changes_nothing() {
    let machine = Machine::new();
    let tree = machine.directory.path().join("tree");
    let program = machine.python(&tree, "3.12.1");
    let search = machine.search();
    let data = &search.data_dir;
    for name in ["python2.7", "", "../python3.12", "provided.al2023"] {
        assert!(matches!(add(data, name, &tree), Err(AddError::UnknownName { .. })), "{name:?}");
        assert!(matches!(remove(data, name), Err(AddError::NotAdded { .. })), "{name:?}");
    }
    assert!(matches!(add(data, "nodejs24.x", &tree), Err(AddError::NoInterpreter { .. })));
    // This one names the interpreter outside of the copy.
    script(&program, &format!("echo 3.12.1; echo {}", program.display()));
    assert!(matches!(add(data, "python3.12", &tree), Err(AddError::NoInterpreter { .. })));
    assert!(matches!(add(data, "python3.12", &tree.join("no")), Err(AddError::Io { .. })));
    assert_eq!(fs::read_dir(data.join("runtimes/added")).unwrap().count(), 0);
    fs::create_dir_all(data.join("runtimes/added/python3.12")).unwrap();
    assert_eq!(names(&Runtimes::discover(&search).unwrap()), Vec::<String>::new());
}

#[test]
fn a_compiler_that_fails_is_an_error_and_is_tried_again() {
    let machine = Machine::new();
    let jdk = machine.directory.path().join("root/usr/lib/jvm/jdk");
    script(&jdk.join("bin/java"), "exit 1");
    fs::write(jdk.join("release"), "JAVA_VERSION=\"21.0.1\"\n").unwrap();
    script(&jdk.join("bin/javac"), "exit 1");
    script(&jdk.join("bin/jar"), "echo made > $2");
    let runtimes = Runtimes::discover(&machine.search()).unwrap();
    let (pack, _) = runtimes.resolve("java21", Fallback::No).unwrap();
    let jar = pack.on_host(Path::new("/var/runtime/gatemill-runtime.jar"));
    let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let error = tokio.block_on(pack.prepared()).unwrap_err();
    assert!(matches!(error, BuildError::Compiler { .. }), "{error:?}");
    assert!(!jar.exists());

    script(&jdk.join("bin/javac"), "exit 0");
    tokio.block_on(pack.prepared()).unwrap();
    assert_eq!(fs::read_to_string(&jar).unwrap(), "made\n");
    // Nothing but the client, its library and its sources is left.
    let left = fs::read_dir(jar.parent().unwrap()).unwrap().count();
    assert_eq!(left, 4);
}
