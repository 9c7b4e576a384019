//! The death of sandboxd and of the server, and what many starts leave behind.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gatemill_sandbox::{Config, Error, ExitStatus, Sandboxes};

use crate::role;
use crate::world::{World, cgroups_of, eventually, processes_with, sandboxds};
use crate::{Case, case};

pub(crate) const CASES: &[Case] = &[
    case("sandboxd_death_ends_all", sandboxd_death_ends_all),
    case("server_death_ends_all", server_death_ends_all),
    case("death_of_both_ends_all", death_of_both_ends_all),
    case("shutdown_ends_all", shutdown_ends_all),
    case("many_starts_leave_nothing", many_starts_leave_nothing),
    case("few_descriptors_end_no_sandbox", few_descriptors_end_no_sandbox),
];

fn another(world: &World, name: &str) -> (Sandboxes, u32) {
    let before = sandboxds(std::process::id());
    let state_dir = world.dir.path().join(name);
    let sandboxes = Sandboxes::spawn(&Config { state_dir, ..Config::default() }).unwrap();
    let new = sandboxds(std::process::id()).into_iter().find(|pid| !before.contains(pid)).unwrap();
    (sandboxes, new)
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

fn sandboxd_death_ends_all(world: &World) {
    let (sandboxes, sandboxd) = another(world, "dying");
    let marker = format!("orphan-{}", std::process::id());
    let spec = world.python(&format!("time.sleep(600) # {marker}"));
    let start = |spec| world.runtime.block_on(sandboxes.start(spec));
    let sandbox = start(spec).unwrap();
    assert!(!processes_with(&marker).is_empty());
    kill(sandboxd);
    assert_eq!(world.wait(&sandbox).status, ExitStatus::Signal(9));
    // Another one takes its place, and does what is asked of it.
    let next = start(world.program("/bin/true", &[])).unwrap();
    assert_eq!(world.wait(&next).status, ExitStatus::Code(0));
    eventually("no process is left", || processes_with(&marker).is_empty());
    eventually("no cgroup is left", || cgroups_of(sandboxd).is_empty());
    world.runtime.block_on(sandboxes.shutdown());
    assert!(matches!(start(world.program("/bin/true", &[])), Err(Error::Gone)));
}

/// A server of its own with one sandbox, which has this marker in its command line.
fn server(marker: &str) -> Child {
    let mut server = Command::new("/proc/self/exe")
        .args([role::SERVER, marker])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    server
}

/// Neither can clean up: the kernel ends the processes, the next sandboxd removes the cgroups.
fn death_of_both_ends_all(world: &World) {
    let marker = format!("both-{}", std::process::id());
    let mut server = server(&marker);
    let text = format!("sleep(600) # {marker}");
    assert!(!processes_with(&text).is_empty());
    let sandboxd = sandboxds(server.id())[0];
    let pid = rustix::process::Pid::from_raw(sandboxd.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    kill(server.id());
    server.wait().unwrap();
    kill(sandboxd);
    eventually("no process is left", || processes_with(&text).is_empty());
    eventually("sandboxd was collected", || !Path::new(&format!("/proc/{sandboxd}")).exists());
    let (next, _) = another(world, "next");
    assert!(cgroups_of(sandboxd).is_empty());
    world.runtime.block_on(next.shutdown());
}

fn server_death_ends_all(_: &World) {
    let marker = format!("server-{}", std::process::id());
    let mut server = server(&marker);
    let text = format!("sleep(600) # {marker}");
    assert!(!processes_with(&text).is_empty());
    let sandboxd = sandboxds(server.id())[0];
    kill(server.id());
    server.wait().unwrap();
    eventually("sandboxd is gone", || !Path::new(&format!("/proc/{sandboxd}")).exists());
    assert_eq!(processes_with(&text), [0; 0]);
    assert!(cgroups_of(sandboxd).is_empty());
}

fn shutdown_ends_all(world: &World) {
    let (sandboxes, sandboxd) = another(world, "ending");
    let marker = format!("ending-{}", std::process::id());
    let spec = world.python(&format!("time.sleep(600) # {marker}"));
    let sandbox = world.runtime.block_on(sandboxes.start(spec)).unwrap();
    world.runtime.block_on(sandboxes.shutdown());
    assert_eq!(world.wait(&sandbox).status, ExitStatus::Signal(9));
    assert_eq!(processes_with(&marker), [0; 0]);
    assert!(cgroups_of(sandboxd).is_empty());
    assert!(!Path::new(&format!("/proc/{sandboxd}")).exists());
}

/// Descriptors of the two processes, mounts, cgroups, and children of sandboxd.
fn belongings(sandboxd: u32) -> [usize; 5] {
    let count = |path: &str| std::fs::read_dir(path).map_or(0, Iterator::count);
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
    let cgroups = cgroups_of(sandboxd).into_iter().flat_map(std::fs::read_dir).flatten().flatten();
    let cgroups = cgroups.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).count();
    let children = gatemill_jailer::process_tree::descendants(sandboxd).len();
    let fds = format!("/proc/{sandboxd}/fd");
    [count("/proc/self/fd"), count(&fds), mounts, cgroups, children]
}

fn many_starts_leave_nothing(world: &World) {
    let (sandboxes, sandboxd) = another(world, "counting");
    let once = || {
        let spec = world.program("/bin/true", &[]);
        let sandbox = world.runtime.block_on(sandboxes.start(spec)).unwrap();
        assert_eq!(world.wait(&sandbox).status, ExitStatus::Code(0));
    };
    once();
    let before = belongings(sandboxd);
    (0..200).for_each(|_| once());
    // A cgroup that was still busy is removed a little later.
    let deadline = Instant::now() + Duration::from_secs(10);
    while belongings(sandboxd) != before && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(belongings(sandboxd), before);
    world.runtime.block_on(sandboxes.shutdown());
}

/// sandboxd without descriptors refuses a start; it does not end.
fn few_descriptors_end_no_sandbox(world: &World) {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let (sandboxes, sandboxd) = another(world, "few");
    let few = Rlimit { current: Some(40), maximum: Some(40) };
    let pid = Pid::from_raw(sandboxd.cast_signed());
    prlimit(pid, Resource::Nofile, few).unwrap();
    let mut living = Vec::new();
    let refused = loop {
        assert!(living.len() < 40, "more sandboxes than descriptors");
        let spec = world.python("os.read(3, 1)");
        match world.runtime.block_on(sandboxes.start(spec)) {
            Ok(sandbox) => living.push(sandbox),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::Exhausted(_)), "{refused:?}");
    for _ in 0..3 {
        let again = world.runtime.block_on(sandboxes.start(world.program("/bin/true", &[])));
        assert!(matches!(again, Err(Error::Exhausted(_))), "{again:?}");
    }
    for sandbox in living.drain(..) {
        std::io::Write::write_all(&mut &sandbox.channel, b"x").unwrap();
        assert_eq!(world.wait(&sandbox).status, ExitStatus::Code(0));
    }
    let spec = world.program("/bin/true", &[]);
    let sandbox = world.runtime.block_on(sandboxes.start(spec)).unwrap();
    assert_eq!(world.wait(&sandbox).status, ExitStatus::Code(0));
    world.runtime.block_on(sandboxes.shutdown());
}
