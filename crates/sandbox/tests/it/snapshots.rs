//! Environments forked from an initialised program: with our own Python client, since it does its half of the work.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use gatemill_sandbox::{Bind, Error, ExitStatus, Sandbox, Spec};

use crate::world::{World, read_some};
use crate::{Case, root_case};

pub(crate) const CASES: &[Case] = &[
    root_case("a_fork_of_a_snapshot_is_an_environment_of_its_own", own_environment),
    root_case("forks_of_a_snapshot_share_no_connection_and_no_random_numbers", nothing_shared),
    root_case("how_a_fork_of_a_snapshot_ended_is_known", ends),
    root_case("forks_end_with_their_snapshot", ends_with_snapshot),
    root_case("a_snapshot_enters_no_namespace_unasked", uninvited),
    root_case("a_fork_that_keeps_its_powers_is_ended", greedy),
    root_case("a_restore_does_not_fail_for_want_of_cpu", little_cpu),
    root_case("a_fork_that_ends_costs_its_snapshot_nothing", short_lived),
    root_case("restores_come_quickly", figures),
];

/// What the program of a snapshot does once it is forked: answers each line on descriptor 3 with what it evaluates to.
const SERVE: &str = r#"
def serve():
    channel = open(3, "rb+", buffering=0)
    while line := channel.readline():
        try: answer = eval(line.decode())
        except Exception as error: answer = error
        channel.write((repr(answer) + "\n").encode())
"#;

const INITIALISE: &str = r#"
import sys, os, socket, random, json
sys.path.insert(0, "/var/runtime")
from gatemill_runtime import snapshot
state = {"made": "once"}
open("/tmp/left", "w").write("from initialisation")
os.mkdir("/tmp/sub"); os.symlink("/nowhere", "/tmp/sub/link")
first, second = socket.socketpair()
generator = random.Random(7)
"#;

fn snapshot_of(world: &World, code: &str) -> Sandbox {
    let mut spec = world.python(code);
    spec.uid = 5;
    let runtimes = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../runtimes/python");
    // The client's own folder may lie where the function's user cannot go.
    let copy = world.folder("python-client");
    copy_folder(&runtimes, &copy);
    spec.binds.push(Bind { host: copy, inside: "/var/runtime".into() });
    let sandbox = world.runtime.block_on(world.sandboxes.start_snapshot(spec)).unwrap();
    assert_eq!(read_some(&sandbox, 1), b"S", "the snapshot is taken");
    sandbox
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    crate::world::open_to_all(to);
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}

fn ordinary(world: &World) -> Sandbox {
    let code = format!(
        "{SERVE}{INITIALISE}\ntaken = snapshot.Snapshot()\nos.write(3, b'S')\nif taken.wait(): taken.reseed(); serve()"
    );
    snapshot_of(world, &code)
}

fn restore(world: &World, snapshot: &Sandbox) -> Result<Sandbox, Error> {
    let spec = Spec { uid: 5, ..world.program("/restored", &[]) };
    world.runtime.block_on(world.sandboxes.restore(snapshot, spec))
}

/// What the program printed.
fn printed(sandbox: &Sandbox) -> String {
    let mut text = vec![0; 65536];
    let count = (&sandbox.output).read(&mut text).unwrap_or(0);
    String::from_utf8_lossy(&text[..count]).into_owned()
}

/// Asks the program to evaluate an expression.
fn ask(sandbox: &Sandbox, expression: &str) -> String {
    (&sandbox.channel).write_all(format!("{expression}\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !answer.ends_with(b"\n") {
        assert!(Instant::now() < deadline, "{expression}: no answer but {answer:?}");
        let mut chunk = [0; 4096];
        match (&sandbox.channel).read(&mut chunk) {
            Ok(0) => panic!("{expression}: the channel ended: {}", printed(sandbox)),
            Ok(count) => answer.extend_from_slice(&chunk[..count]),
            Err(_) => std::thread::yield_now(),
        }
    }
    String::from_utf8(answer).unwrap().trim_end().to_owned()
}

fn own_environment(world: &World) {
    let snapshot = ordinary(world);
    let (one, two) = (restore(world, &snapshot).unwrap(), restore(world, &snapshot).unwrap());
    for environment in [&one, &two] {
        assert_eq!(ask(environment, "state"), "{'made': 'once'}");
        assert_eq!(ask(environment, "open('/tmp/left').read()"), "'from initialisation'");
        assert_eq!(ask(environment, "os.readlink('/tmp/sub/link')"), "'/nowhere'");
        assert_eq!(ask(environment, "(os.getuid(), os.getgid())"), "(993, 993)");
        assert_eq!(
            ask(environment, "sorted(int(p) for p in os.listdir('/proc') if p.isdigit())"),
            ask(environment, "[os.getpid()]"),
            "its own processes, and nobody else's"
        );
        let confined = "[l.split()[1] for l in open('/proc/self/status') \
                        if l.startswith(('CapEff', 'CapBnd', 'NoNewPrivs', 'Seccomp:'))]";
        assert_eq!(
            ask(environment, confined),
            "['0000000000000000', '0000000000000000', '1', '2']"
        );
        assert_eq!(
            ask(environment, "sorted(int(n) for n in os.listdir('/proc/self/fd'))[:4]"),
            "[0, 1, 2, 3]"
        );
        assert!(ask(environment, "os.cpu_count()").parse::<u32>().is_ok());
        assert!(ask(environment, "open('/etc/shadow')").contains("Error"));
        assert!(ask(environment, "open('/var/task/new', 'w')").contains("Error"));
        assert!(ask(environment, "os.listdir('/proc/acpi')").starts_with(['[', 'F']));
        assert_eq!(ask(environment, "open('/proc/cmdline').read()"), "''");
    }
    assert_eq!(ask(&one, "open('/tmp/mine', 'w').write('x')"), "1");
    assert_eq!(ask(&two, "os.path.exists('/tmp/mine')"), "False");
    let listen = "socket.create_server(('127.0.0.1', 7000)).fileno() > 2 and 'listens'";
    assert_eq!(ask(&one, listen), "'listens'");
    assert_eq!(ask(&two, listen), "'listens'", "a network of its own");
    assert!(
        ask(&one, "socket.create_connection(('127.0.0.1', 9001)).getpeername()").contains("9001")
    );
    let mut listener = one.listener.try_clone().unwrap();
    let _ = &mut listener;
    assert!(one.listener.accept().is_ok(), "the server hears what connects in there");
}

fn nothing_shared(world: &World) {
    let snapshot = ordinary(world);
    let (one, two) = (restore(world, &snapshot).unwrap(), restore(world, &snapshot).unwrap());
    for numbers in ["random.random()", "generator.random()", "os.urandom(8)"] {
        assert_ne!(ask(&one, numbers), ask(&two, numbers), "{numbers}");
    }
    for environment in [&one, &two] {
        assert!(ask(environment, "first.send(b'x')").contains("BrokenPipe"));
        assert_eq!(ask(environment, "second.recv(1)"), "b''");
    }
}

fn ends(world: &World) {
    let snapshot = ordinary(world);
    for (how, status) in [
        ("os._exit(7)", ExitStatus::Code(7)),
        ("os.kill(os.getpid(), 11)", ExitStatus::Signal(11)),
        ("[bytearray(1 << 20) for _ in range(400)] and None", ExitStatus::Signal(9)),
    ] {
        let environment = restore(world, &snapshot).unwrap();
        (&environment.channel).write_all(format!("{how}\n").as_bytes()).unwrap();
        let exit = world.wait(&environment);
        assert_eq!(exit.status, status, "{how}");
        assert_eq!(exit.oom_killed, how.contains("bytearray"), "{how}");
    }
    let killed = restore(world, &snapshot).unwrap();
    killed.kill();
    assert_eq!(world.wait(&killed).status, ExitStatus::Signal(9));
    assert_eq!(ask(&restore(world, &snapshot).unwrap(), "1 + 1"), "2", "the snapshot goes on");
}

fn ends_with_snapshot(world: &World) {
    let snapshot = ordinary(world);
    let environment = restore(world, &snapshot).unwrap();
    snapshot.kill();
    assert_eq!(world.wait(&snapshot).status, ExitStatus::Signal(9));
    assert_eq!(world.wait(&environment).status, ExitStatus::Signal(9));
    assert!(restore(world, &snapshot).is_err());
}

/// The program of a snapshot, its code a hostile function's, tries to enter namespaces when nobody asked.
fn uninvited(world: &World) {
    let code = format!(
        "{SERVE}{INITIALISE}
import ctypes
def enter():
    libc = ctypes.CDLL(None, use_errno=True)
    answers = []
    for name in ('user', 'mnt', 'pid', 'net'):
        fd = os.open('/proc/self/ns/' + name, os.O_RDONLY)
        answers.append((libc.setns(fd, 0), ctypes.get_errno()))
    return answers
before = enter()
taken = snapshot.Snapshot()
os.write(3, b'S')
if taken.wait(): taken.reseed(); serve()"
    );
    let snapshot = snapshot_of(world, &code);
    let environment = restore(world, &snapshot).unwrap();
    let refused = "[(-1, 1), (-1, 1), (-1, 1), (-1, 1)]";
    assert_eq!(ask(&environment, "before"), refused);
    assert_eq!(ask(&environment, "enter()"), refused, "nor may a fork, later");
}

/// A fork that does not give up what entering gave it, or leaves a process behind that has it.
fn greedy(world: &World) {
    for trick in [
        "snapshot.Snapshot._drop_capabilities = lambda self: None",
        "real = snapshot.Snapshot._drop_capabilities
def stay(self):
    if os.fork() == 0:
        import time
        time.sleep(30)
    real(self)
snapshot.Snapshot._drop_capabilities = stay",
        "real = os.fork
def fork():
    pid = real()
    if pid and os.getpid() != parent and real() == 0:
        import time
        time.sleep(30)
    return pid
parent = os.getpid()
os.fork = fork",
    ] {
        let code = format!(
            "{SERVE}{INITIALISE}\n{trick}\ntaken = snapshot.Snapshot()\nos.write(3, b'S')\n\
             if taken.wait(): taken.reseed(); serve()"
        );
        let snapshot = snapshot_of(world, &code);
        let restored = restore(world, &snapshot);
        assert!(restored.is_err(), "{trick}");
        assert_eq!(world.wait(&snapshot).status, ExitStatus::Signal(9), "{trick}");
    }
}

/// What makes a sandbox is in its cgroup, and may get its turn on the CPU late.
fn little_cpu(world: &World) {
    let snapshot = ordinary(world);
    for _ in 0..10 {
        // A twentieth: after a millisecond of work, a pause of nineteen.
        let spec = Spec { uid: 5, cpu_millis: 50, ..world.program("/restored", &[]) };
        let restored = world.runtime.block_on(world.sandboxes.restore(&snapshot, spec));
        assert_eq!(ask(&restored.unwrap(), "1 + 1"), "2");
    }
    assert!(snapshot.is_alive());
}

/// The first fork ends when it has said that it is in; those after it do not.
fn short_lived(world: &World) {
    let code = format!(
        "{SERVE}{INITIALISE}
import mmap
ended = mmap.mmap(-1, 1)
real = snapshot._cut_connections
def cut(gate):
    real(gate)
    if not ended[0]:
        ended[0] = 1
        os.write(gate, b'R')
        os._exit(0)
snapshot._cut_connections = cut
taken = snapshot.Snapshot()
os.write(3, b'S')
if taken.wait(): taken.reseed(); serve()"
    );
    let snapshot = snapshot_of(world, &code);
    // Whether it is seen while it ends, or was let go on before, is chance.
    drop(restore(world, &snapshot));
    assert_eq!(ask(&restore(world, &snapshot).unwrap(), "1 + 1"), "2");
    assert!(snapshot.is_alive());
}

fn figures(world: &World) {
    let snapshot = ordinary(world);
    let mut times: Vec<Duration> = (0..40)
        .map(|_| {
            let begun = Instant::now();
            let environment = restore(world, &snapshot).unwrap();
            assert_eq!(ask(&environment, "1"), "1");
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!("a restore, to its first answer: p50 {:?}, p95 {:?}", times[20], times[38]);
}
