//! Parked sandboxes and forks of a template: what they become, and what they must not have.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use gatemill_sandbox::{Assignment, Bind, Error, ExitStatus, Sandbox, Spec, Template};

use crate::world::{World, read_some};
use crate::{Case, root_case};

pub(crate) const CASES: &[Case] =
    &[root_case("a_fork_becomes_what_it_is_assigned", a_fork_becomes_what_it_is_assigned)];

/// The client, where every user may read it.
fn client(world: &World) -> Bind {
    let source = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../runtimes/python"));
    let host = world.folder("client");
    let package = world.folder("client/gatemill_runtime");
    for (from, to) in [(source.clone(), &host), (source.join("gatemill_runtime"), &package)] {
        for file in fs::read_dir(from).unwrap().flatten().filter(|file| file.path().is_file()) {
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
    Bind { host, inside: "/var/runtime".into() }
}

fn booted(world: &World, argument: &str) -> Spec {
    let mut spec =
        world.program("/usr/bin/python3", &["-s", "/var/runtime/bootstrap.py", argument]);
    spec.binds.push(client(world));
    spec.cwd = "/".into();
    spec
}

pub(crate) fn template(world: &World) -> Template {
    world.runtime.block_on(world.sandboxes.template(booted(world, "--zygote"))).unwrap()
}

/// A sandbox that waits for its function.
pub(crate) fn park(world: &World, template: Option<&Template>) -> Result<Sandbox, Error> {
    let spec = booted(world, "--parked");
    let sandbox = world.runtime.block_on(world.sandboxes.park(spec, template))?;
    assert_eq!(read_some(&sandbox, 5), [0, 0, 0, 0, 0x89], "PARKED");
    Ok(sandbox)
}

pub(crate) fn assignment(spec: &Spec, binds: Vec<Bind>) -> Assignment {
    Assignment {
        binds,
        memory_bytes: spec.memory_bytes,
        cpu_millis: spec.cpu_millis,
        cpu_share_millis: spec.cpu_share_millis,
        tmp_bytes: spec.tmp_bytes,
    }
}

/// Makes a parked sandbox run this handler module.
pub(crate) fn assign(
    world: &World,
    sandbox: &mut Sandbox,
    assignment: Assignment,
    env: &[(String, String)],
) {
    if let Err(error) = world.runtime.block_on(sandbox.assign(assignment)) {
        panic!("{error}: {:?}", world.finish(sandbox));
    }
    let env: serde_json::Map<_, _> =
        env.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    let body = serde_json::json!({ "environment": env }).to_string();
    let mut frame = u32::try_from(body.len()).unwrap().to_le_bytes().to_vec();
    frame.push(0x02);
    frame.extend(body.as_bytes());
    (&sandbox.channel).write_all(&frame).unwrap();
}

fn a_fork_becomes_what_it_is_assigned(world: &World) {
    let template = template(world);
    let code = world.folder("forked");
    fs::write(code.join("app.py"), "def handler(event, context):\n    return 1\n").unwrap();
    let (mut parked, mut ready) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        let begin = Instant::now();
        let mut sandbox = park(world, Some(&template)).unwrap();
        parked.push(begin.elapsed());
        let spec = booted(world, "");
        let bind = Bind { host: code.clone(), inside: "/var/task".into() };
        let env = [("_HANDLER".to_owned(), "app.handler".to_owned())];
        let begin = Instant::now();
        assign(world, &mut sandbox, assignment(&spec, vec![bind]), &env);
        assert_eq!(read_some(&sandbox, 5), [0, 0, 0, 0, 0x81], "READY");
        ready.push(begin.elapsed());
        sandbox.kill();
        assert_eq!(world.wait(&sandbox).status, ExitStatus::Signal(9));
    }
    println!("parked {parked:?}\nready {ready:?}");
    drop(template);
}
