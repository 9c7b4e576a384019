//! What the tests stand in: one sandboxd, a neighbour sandbox that has to survive everything, and
//! short ways to run hostile Python.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gatemill_sandbox::{Bind, Config, Error, Exit, Isolation, Sandbox, Sandboxes, Spec, Template};

/// No sandbox of a test takes longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The neighbour's secret, which no other sandbox may see.
pub(crate) const SECRET: &str = "neighbours-secret-7f3a";
/// Functions that every hostile program starts with.
const PRELUDE: &str = include_str!("prelude.py");

/// How Python comes to life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Executed at once.
    Executed,
    /// Executed by our client, parked, and assigned.
    Parked,
    /// Forked from a template, parked, and assigned.
    Forked,
    /// Executed in a sandbox that waited without a program.
    Vacant,
}

pub(crate) struct World {
    pub(crate) sandboxes: Sandboxes,
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) dir: tempfile::TempDir,
    /// The tree of the container image that programs run from, where they do.
    image: RefCell<Option<PathBuf>>,
    class: RefCell<(Class, Option<Template>)>,
    neighbour: RefCell<Option<Sandbox>>,
    count: RefCell<u32>,
}

/// What a program did.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) exit: Exit,
    pub(crate) output: String,
}

impl World {
    pub(crate) fn new(isolation: Isolation) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state_dir = dir.path().join("state");
        let config = Config { isolation, state_dir, ..Config::default() };
        let sandboxes = Sandboxes::spawn(&config).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (image, neighbour, count) =
            (RefCell::default(), RefCell::default(), RefCell::default());
        let class = RefCell::new((Class::Executed, None));
        let world = Self { sandboxes, runtime, dir, image, class, neighbour, count };
        let mut spec = world.python("import os\nwhile b:=os.read(3, 1): os.write(3, b)");
        spec.env.push(("SECRET".into(), SECRET.into()));
        spec.uid = 1;
        *world.neighbour.borrow_mut() = Some(world.start(spec).unwrap());
        world.check_neighbour();
        world
    }

    /// A spec that runs this Python text, with the host's interpreter.
    pub(crate) fn python(&self, code: &str) -> Spec {
        let code = format!("{PRELUDE}\n{code}");
        self.program("/usr/bin/python3", &["-I", "-S", "-c", &code])
    }

    pub(crate) fn program(&self, program: &str, args: &[&str]) -> Spec {
        *self.count.borrow_mut() += 1;
        let root = self.image.borrow().clone();
        let binds = ["/usr", "/lib", "/lib64", "/bin"]
            .into_iter()
            .filter(|p| root.is_none() && Path::new(p).exists());
        Spec {
            id: format!("test-{}", self.count.borrow()),
            program: program.into(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            cwd: "/tmp".into(),
            binds: binds.map(|p| Bind { host: p.into(), inside: p.into() }).collect(),
            root,
            uid: 2,
            memory_bytes: 128 << 20,
            cpu_millis: 2000,
            cpu_share_millis: 1000,
            tmp_bytes: 16 << 20,
            pids_max: 64,
            nofile: 1024,
            companions: None,
        }
    }

    /// From here on, programs run from a container image.
    pub(crate) fn use_image(&self) {
        let root = self.folder("image");
        crate::images::make(&root);
        *self.image.borrow_mut() = Some(root);
    }

    /// A fresh directory of the host that every user may read.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let round = match (self.class.borrow().0, &*self.image.borrow()) {
            (_, Some(_)) => "from-image-",
            (Class::Executed, None) => "",
            (Class::Parked, None) => "parked-",
            (Class::Forked, None) => "forked-",
            (Class::Vacant, None) => "vacant-",
        };
        let path = self.dir.path().join(format!("{round}{name}"));
        std::fs::create_dir_all(&path).unwrap();
        open_to_all(self.dir.path());
        open_to_all(&path);
        path
    }

    /// From here on, Python comes to life in this way.
    pub(crate) fn use_class(&self, class: Class) {
        let template = (class == Class::Forked).then(|| crate::parked::template(self));
        *self.class.borrow_mut() = (class, template);
    }

    pub(crate) fn start(&self, spec: Spec) -> Result<Sandbox, Error> {
        let (class, template) = &*self.class.borrow();
        if *class == Class::Vacant {
            return crate::parked::start_vacant(self, &spec);
        }
        if *class != Class::Executed && spec.program.ends_with("python3") {
            return crate::parked::start(self, spec, template.as_ref());
        }
        self.runtime.block_on(self.sandboxes.start(spec))
    }

    /// Starts, waits for the end, and returns what was printed.
    pub(crate) fn run(&self, spec: Spec) -> Outcome {
        let sandbox = self.start(spec).unwrap();
        self.finish(&sandbox)
    }

    pub(crate) fn run_python(&self, code: &str) -> Outcome {
        self.run(self.python(code))
    }

    pub(crate) fn finish(&self, sandbox: &Sandbox) -> Outcome {
        let exit = self.wait(sandbox);
        let mut output = Vec::new();
        let mut chunk = [0; 65536];
        while let Ok(count @ 1..) = rustix::io::read(sandbox.output.as_fd(), &mut chunk) {
            output.extend_from_slice(&chunk[..count]);
        }
        Outcome { exit, output: String::from_utf8_lossy(&output).into_owned() }
    }

    pub(crate) fn wait(&self, sandbox: &Sandbox) -> Exit {
        let ended = async { tokio::time::timeout(PATIENCE, sandbox.exited()).await };
        self.runtime.block_on(ended).expect("the sandbox ends in time")
    }

    /// The neighbour answers, and a new sandbox can be had.
    pub(crate) fn check_neighbour(&self) {
        let neighbour = self.neighbour.borrow();
        let sandbox = neighbour.as_ref().unwrap();
        (&sandbox.channel).write_all(b"x").expect("the neighbour takes a byte");
        assert_eq!(read_some(sandbox, 1), b"x", "the neighbour answers");
        let outcome = self.run(self.program("/bin/true", &[]));
        assert_eq!(outcome.exit.status, gatemill_sandbox::ExitStatus::Code(0));
    }

    pub(crate) fn end(&self) {
        self.use_class(Class::Executed);
        self.neighbour.borrow_mut().take();
        self.runtime.block_on(self.sandboxes.shutdown());
    }
}

impl Outcome {
    /// The value of each line `name=value` that the program printed must be one of those given.
    #[track_caller]
    pub(crate) fn expect(&self, wanted: &[(&str, &[&str])]) {
        for (name, values) in wanted {
            let value = self.value(name);
            assert!(
                values.contains(&value),
                "{name} was {value}, not {values:?}:\n{}",
                self.output
            );
        }
    }

    #[track_caller]
    pub(crate) fn value(&self, name: &str) -> &str {
        let lines = self.output.lines().filter_map(|line| line.split_once('='));
        let mut values = lines.filter(|(key, _)| *key == name);
        values.next().unwrap_or_else(|| panic!("no line {name}= in {self:?}")).1
    }

    #[track_caller]
    pub(crate) fn number(&self, name: &str) -> u64 {
        self.value(name).parse().unwrap_or_else(|_| panic!("{name} is no number: {self:?}"))
    }
}

/// Reads `count` bytes from the channel, in time.
pub(crate) fn read_some(sandbox: &Sandbox, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    let mut have = 0;
    let deadline = Instant::now() + PATIENCE;
    while have < count {
        match (&sandbox.channel).read(&mut bytes[have..]) {
            Ok(0) => {
                let mut output = vec![0; 65536];
                let count = rustix::io::read(sandbox.output.as_fd(), &mut output).unwrap_or(0);
                let output = String::from_utf8_lossy(&output[..count]);
                panic!("the channel was closed: {output}")
            }
            Ok(more) => have += more,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                wait_readable(&sandbox.channel, deadline);
            }
            Err(error) => panic!("{error}"),
        }
    }
    bytes
}

fn wait_readable(fd: impl AsFd, deadline: Instant) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let left = deadline.saturating_duration_since(Instant::now());
    assert!(!left.is_zero(), "nothing came in time");
    let timeout = Timespec::try_from(left).unwrap();
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)).unwrap();
}

/// Waits until something holds, within bounds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The CPU that the tree of a sandbox has used, in milliseconds.
pub(crate) fn cpu_ms(sandbox: &Sandbox) -> u64 {
    let used = |pid: u32| -> Option<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, fields) = stat.rsplit_once(')')?;
        let mut ticks =
            fields.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok());
        Some((ticks.next()? + ticks.next()?) * 10)
    };
    processes_of(sandbox).into_iter().filter_map(used).sum()
}

/// The processes of a sandbox but its first.
pub(crate) fn processes_of(sandbox: &Sandbox) -> Vec<u32> {
    let roots = std::iter::once(sandbox.pid).chain(sandbox.program);
    let below = roots.flat_map(gatemill_jailer::process_tree::descendants);
    let lives = |pid: &u32| Path::new(&format!("/proc/{pid}")).exists();
    below.chain(sandbox.program).filter(lives).collect()
}

/// Processes of the host with this text in their command line.
pub(crate) fn processes_with(text: &str) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let has = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(text)
    };
    pids.filter(has).collect()
}

/// The sandboxds that this process has.
pub(crate) fn sandboxds(parent: u32) -> Vec<u32> {
    let is_child = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        after_name.split_whitespace().nth(1) == Some(&parent.to_string())
    };
    processes_with(gatemill_jailer::ROLE).into_iter().filter(is_child).collect()
}

/// Directories of cgroups that belong to this sandboxd.
pub(crate) fn cgroups_of(sandboxd: u32) -> Vec<PathBuf> {
    let name = format!("gatemill.{sandboxd}");
    let mut found = Vec::new();
    let mut look = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(dir) = look.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if entry.file_name().to_str() == Some(&name) {
                found.push(entry.path());
            }
            look.push(entry.path());
        }
    }
    found
}

pub(crate) fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}
