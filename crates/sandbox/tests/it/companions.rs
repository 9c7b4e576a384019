//! Programs beside a sandbox's program: their start, their ends, their walls.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;

use gatemill_sandbox::{Bind, Companions, ExitStatus, Fate, Sandbox, Spec, Who};

use crate::world::{World, eventually, read_some};
use crate::{Case, case};

pub(crate) const CASES: &[Case] = &[
    case("companions_run_beside_the_program", run_beside_the_program),
    case("companions_that_cannot_start", cannot_start),
    case("companions_end_with_the_sandbox", end_with_the_sandbox),
];

/// A program that is a shell script, and companions that are.
fn spec(world: &World, name: &str, program: &str, companions: &[(&str, &str)]) -> Spec {
    let folder = world.folder(name);
    for (name, text) in companions.iter().chain(&[("program", program)]) {
        fs::write(folder.join(name), format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut spec = world.program("/opt/program", &[]);
    spec.binds.push(Bind { host: folder, inside: "/opt".into() });
    let programs = companions.iter().map(|(name, _)| format!("/opt/{name}").into());
    spec.companions = Some(Companions {
        programs: programs.collect(),
        env: vec![("PATH".into(), "/usr/bin:/bin".into()), ("WHO".into(), "companion".into())],
    });
    spec
}

/// The next that is heard.
fn hear(sandbox: &Sandbox) -> Option<(Who, Fate)> {
    let mut heard = None;
    eventually("a word about a program", || {
        heard = sandbox.holder.as_ref().unwrap().hear().ok();
        heard.is_some()
    });
    heard.unwrap()
}

/// What companions printed, when `count` bytes of it are there.
fn printed(sandbox: &Sandbox, count: usize) -> String {
    let mut text = Vec::new();
    eventually("output of companions", || {
        let mut chunk = [0; 1024];
        let mut output = &sandbox.holder.as_ref().unwrap().output;
        if let Ok(read) = output.read(&mut chunk) {
            text.extend_from_slice(&chunk[..read]);
        }
        text.len() >= count
    });
    String::from_utf8(text).unwrap()
}

fn run_beside_the_program(world: &World) {
    let program = "trap 'exit 4' TERM; echo begun >&3; while :; do sleep 0.01; done";
    let first = "echo $WHO-$(pwd)-$(test -e /proc/self/fd/3 && echo open || echo closed); exit 7";
    let spec = spec(world, "beside", program, &[("first", first), ("second", "exec sleep 60")]);
    let sandbox = world.start(spec).unwrap();
    let holder = sandbox.holder.as_ref().unwrap();
    assert_eq!(hear(&sandbox), Some((Who::Companion(0), Fate::Ended(ExitStatus::Code(7)))));
    let expected = "companion-/-closed\n";
    assert_eq!(printed(&sandbox, expected.len()), expected);
    assert!((&sandbox.channel).read(&mut [0; 1]).is_err(), "the program waits for its start");
    holder.start_program();
    assert_eq!(read_some(&sandbox, 6), b"begun\n");
    sandbox.terminate_program();
    assert_eq!(hear(&sandbox), Some((Who::Program, Fate::Ended(ExitStatus::Code(4)))));
    assert!(sandbox.is_alive(), "the companions are still there");
    holder.kill(1);
    let killed = Fate::Ended(ExitStatus::Signal(libc::SIGKILL));
    assert_eq!(hear(&sandbox), Some((Who::Companion(1), killed)));
}

fn cannot_start(world: &World) {
    let mut spec = spec(world, "cannot", "exec sleep 60", &[("one", "exec sleep 60")]);
    if let Some(companions) = &mut spec.companions {
        companions.programs.push("/opt/none".into());
    }
    spec.program = "/opt/neither".into();
    let sandbox = world.start(spec).unwrap();
    let missing = Fate::NotStarted(libc::ENOENT);
    assert_eq!(hear(&sandbox), Some((Who::Companion(1), missing)));
    sandbox.holder.as_ref().unwrap().start_program();
    let mut heard = Vec::new();
    // Each of the two ended, too.
    while heard.len() < 3 {
        heard.push(hear(&sandbox).unwrap());
    }
    assert!(heard.contains(&(Who::Program, missing)), "{heard:?}");
}

fn end_with_the_sandbox(world: &World) {
    let spec = spec(world, "ends", "exec sleep 60", &[("one", "exec sleep 60")]);
    let sandbox = world.start(spec).unwrap();
    sandbox.holder.as_ref().unwrap().start_program();
    sandbox.kill();
    let exit = world.wait(&sandbox);
    assert_eq!(exit.status, ExitStatus::Signal(libc::SIGKILL));
    eventually("the end of what held them", || {
        matches!(sandbox.holder.as_ref().unwrap().hear(), Ok(None))
    });
    if !world.sandboxes.enforced().namespaces {
        return;
    }
    // Who kills all that it can reach ends its own sandbox and nothing else.
    let spec =
        self::spec(world, "hostile", "exec sleep 60", &[("one", "kill -9 -1; exec sleep 60")]);
    let sandbox = world.start(spec).unwrap();
    world.wait(&sandbox);
    world.check_neighbour();
}
