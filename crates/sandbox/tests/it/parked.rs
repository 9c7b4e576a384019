//! Parked sandboxes and forks of a template: what they become, and what they must not have.

use std::fs;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Instant;

use gatemill_sandbox::{Assignment, Bind, Error, ExitStatus, Sandbox, Spec, Template, vacant};

use crate::figures::spread;
use crate::world::{World, eventually, read_some};
use crate::{Case, root_case};

pub(crate) const CASES: &[Case] = &[
    root_case("forks_become_what_they_are_assigned", forks_become_what_they_are_assigned),
    root_case("forks_draw_different_numbers", forks_draw_different_numbers),
    root_case("own_modules_go_first", own_modules_go_first),
    root_case("limits_hold_after_the_assignment", limits_hold_after_the_assignment),
    root_case("forks_outlive_their_template", forks_outlive_their_template),
    root_case("nothing_is_assigned_twice", nothing_is_assigned_twice),
    root_case("a_vacant_sandbox_becomes_what_it_is_told", a_vacant_sandbox_becomes_what_it_is_told),
    root_case("what_does_not_start_is_said", what_does_not_start_is_said),
    root_case("orders_that_are_none_end_it", orders_that_are_none_end_it),
];

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

/// Runs the text of a `python3 -c` in a sandbox that was parked before.
pub(crate) fn start(
    world: &World,
    spec: Spec,
    template: Option<&Template>,
) -> Result<Sandbox, Error> {
    let text = spec.args.last().unwrap();
    let code = world.folder(&format!("handler-{}", spec.id));
    let whole = format!("import os\nos.chdir('/tmp')\n{text}\nsys.stdout.flush()\nos._exit(0)\n");
    fs::write(code.join("handler.py"), whole).unwrap();
    let everywhere = world.program("", &[]).binds;
    let mut assignment = assignment(&spec, spec.binds[everywhere.len()..].to_vec());
    assignment.binds.push(Bind { host: code, inside: "/var/handler".into() });
    let mut env = spec.env.clone();
    env.push(("LAMBDA_TASK_ROOT".into(), "/var/handler".into()));
    env.push(("_HANDLER".into(), "handler.handler".into()));
    // It becomes what it is to be only when it is assigned.
    let waiting = Spec {
        memory_bytes: 64 << 20,
        tmp_bytes: 1 << 20,
        cpu_millis: 1000,
        binds: everywhere,
        ..booted(world, "--parked")
    };
    let waiting = Spec {
        binds: [waiting.binds, vec![client(world)]].concat(),
        id: spec.id,
        uid: spec.uid,
        ..waiting
    };
    let waiting = Spec { pids_max: spec.pids_max, nofile: spec.nofile, ..waiting };
    let mut sandbox = world.runtime.block_on(world.sandboxes.park(waiting, template))?;
    assert_eq!(read_some(&sandbox, 5), [0, 0, 0, 0, 0x89], "PARKED");
    assign(world, &mut sandbox, assignment, &env);
    Ok(sandbox)
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

fn forks_become_what_they_are_assigned(world: &World) {
    let template = template(world);
    let (mut parked, mut ready) = (Vec::new(), Vec::new());
    let code = world.folder("forked");
    fs::write(code.join("app.py"), "def handler(event, context):\n    return 1\n").unwrap();
    for _ in 0..20 {
        let spec = booted(world, "--parked");
        let begin = Instant::now();
        let sandbox = world.runtime.block_on(world.sandboxes.park(spec, Some(&template)));
        let mut sandbox = sandbox.unwrap();
        assert_eq!(read_some(&sandbox, 5), [0, 0, 0, 0, 0x89], "PARKED");
        parked.push(begin.elapsed());
        let bind = Bind { host: code.clone(), inside: "/var/task".into() };
        let env = [("_HANDLER".to_owned(), "app.handler".to_owned())];
        let begin = Instant::now();
        assign(world, &mut sandbox, assignment(&booted(world, ""), vec![bind]), &env);
        assert_eq!(read_some(&sandbox, 5), [0, 0, 0, 0, 0x81], "READY");
        ready.push(begin.elapsed());
        sandbox.kill();
        assert_eq!(world.wait(&sandbox).status, ExitStatus::Signal(9));
    }
    println!("figures: a fork, parked {}", spread(parked));
    println!("figures: assigned to ready {}", spread(ready));
}

/// A handler module that says so when it is loaded, and then waits.
fn serve(world: &World, template: Option<&Template>, name: &str, code: &str) -> Sandbox {
    let folder = world.folder(name);
    fs::write(folder.join("app.py"), code).unwrap();
    let mut sandbox = park(world, template).unwrap();
    let bind = Bind { host: folder, inside: "/var/task".into() };
    let env = [("_HANDLER".to_owned(), "app.handler".to_owned())];
    assign(world, &mut sandbox, assignment(&booted(world, ""), vec![bind]), &env);
    sandbox
}

/// What two processes of one interpreter must not have in common, although they were forked from one.
fn forks_draw_different_numbers(world: &World) {
    let template = template(world);
    let code = "import os, random, uuid, secrets, tempfile\n\
        print('%s %s %s %s' % (random.random(), uuid.uuid4(), secrets.token_hex(), tempfile.mktemp()))\n\
        os._exit(0)\n";
    let drawn = |name: &str| {
        let outcome = world.finish(&serve(world, Some(&template), name, code));
        outcome.output.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let (first, second) = (drawn("draw-1"), drawn("draw-2"));
    assert_eq!((first.len(), second.len()), (4, 4), "{first:?} {second:?}");
    assert!(first.iter().zip(&second).all(|(one, other)| one != other), "{first:?} {second:?}");
}

/// A function's own module goes before one of the interpreter's that the template had loaded.
fn own_modules_go_first(world: &World) {
    let template = template(world);
    fs::write(world.folder("own").join("socket.py"), "WHOSE = 'mine'\n").unwrap();
    let code = "import os, socket, sys\nprint(getattr(socket, 'WHOSE', 'theirs'), sys.argv)\nos._exit(0)\n";
    let outcome = world.finish(&serve(world, Some(&template), "own", code));
    assert_eq!(outcome.output, "mine ['/var/runtime/bootstrap.py']\n");
}

/// Until it is assigned, a parked program has nothing of a function and cannot make itself at home.
fn limits_hold_after_the_assignment(world: &World) {
    let template = template(world);
    let code = "import os\nprint(os.getcwd(), os.statvfs('/tmp').f_blocks * 4096)\n\
        try:\n    open('/var/task/x', 'w')\nexcept OSError as e:\n    print(e.errno)\n\
        try:\n    os.mkdir('/x')\nexcept OSError as e:\n    print(e.errno)\n\
        held = bytearray(200 << 20)\n";
    for template in [None, Some(&template)] {
        let folder = world.folder("limits");
        fs::write(folder.join("app.py"), code).unwrap();
        let mut sandbox = park(world, template).unwrap();
        let bind = Bind { host: folder, inside: "/var/task".into() };
        let env = [("_HANDLER".to_owned(), "app.handler".to_owned())];
        let mut assignment = assignment(&booted(world, ""), vec![bind]);
        (assignment.memory_bytes, assignment.tmp_bytes) = (64 << 20, 32 << 20);
        assign(world, &mut sandbox, assignment, &env);
        let outcome = world.finish(&sandbox);
        assert!(outcome.output.starts_with("/var/task 33554432\n30\n30\n"), "{outcome:?}");
        assert!(outcome.exit.oom_killed, "{outcome:?}");
    }
}

/// A template that died makes no forks, and what was forked from it lives on.
fn forks_outlive_their_template(world: &World) {
    let template = template(world);
    let sandbox = serve(world, Some(&template), "outlive", "def handler(e, c):\n    return 1\n");
    assert_eq!(read_some(&sandbox, 5), [0, 0, 0, 0, 0x81], "READY");
    let pid = template.pid;
    drop(template);
    eventually("the template ends", || !std::path::Path::new(&format!("/proc/{pid}")).exists());
    assert!(sandbox.is_alive());
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(sandbox.program.unwrap().cast_signed()).unwrap(),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    assert_eq!(world.wait(&sandbox).status, ExitStatus::Signal(15));
}

/// A sandbox that waits without a program, for any function of this id and uid.
fn park_vacant(world: &World, spec: &Spec) -> Result<Sandbox, Error> {
    let everywhere = world.program("/nothing", &[]).binds;
    let waiting = Spec {
        program: "/nothing".into(),
        args: Vec::new(),
        env: Vec::new(),
        cwd: "/".into(),
        binds: everywhere,
        memory_bytes: 64 << 20,
        tmp_bytes: 1 << 20,
        cpu_millis: 1000,
        ..spec.clone()
    };
    world.runtime.block_on(world.sandboxes.park_vacant(waiting))
}

/// Starts a program in a sandbox that waited without one.
pub(crate) fn start_vacant(world: &World, spec: &Spec) -> Result<Sandbox, Error> {
    let mut sandbox = park_vacant(world, spec)?;
    let everywhere = world.program("/nothing", &[]).binds.len();
    let binds = spec.binds.get(everywhere..).unwrap_or_default().to_vec();
    world.runtime.block_on(sandbox.assign(assignment(spec, binds)))?;
    (&sandbox.channel).write_all(&vacant::order(spec)?).unwrap();
    Ok(sandbox)
}

fn a_vacant_sandbox_becomes_what_it_is_told(world: &World) {
    let code = world.folder("task");
    fs::write(code.join("said"), "by its own code").unwrap();
    let mut spec = world.program(
        "/bin/sh",
        &["-c", "pwd; echo $0 $1 $NAME; cat said; read word <&3; echo; echo $word", "a b", "c"],
    );
    spec.binds.push(Bind { host: code, inside: "/var/task".into() });
    spec.env.push(("NAME".into(), "x=y z".into()));
    spec.cwd = "/var/task".into();
    let sandbox = start_vacant(world, &spec).unwrap();
    (&sandbox.channel).write_all(b"word\n").unwrap();
    let outcome = world.finish(&sandbox);
    assert_eq!(outcome.output, "/var/task\na b c x=y z\nby its own code\nword\n");
    assert_eq!(outcome.exit.status, ExitStatus::Code(0));
    assert_eq!(sandbox.said_of_start(), None);
}

fn what_does_not_start_is_said(world: &World) {
    let code = world.folder("broken");
    fs::write(code.join("text"), "no program").unwrap();
    fs::write(code.join("other"), "#!/no/interpreter\n").unwrap();
    fs::set_permissions(code.join("other"), fs::Permissions::from_mode(0o755)).unwrap();
    for (program, cwd, errno) in [
        ("/var/task/none", "/", libc::ENOENT),
        ("/var/task/text", "/", libc::EACCES),
        ("/var/task/other", "/", libc::ENOENT),
        ("/bin/sh", "/none", libc::ENOENT),
    ] {
        let mut spec = world.program(program, &[]);
        spec.cwd = cwd.into();
        spec.binds.push(Bind { host: code.clone(), inside: "/var/task".into() });
        let sandbox = start_vacant(world, &spec).unwrap();
        assert_eq!(world.wait(&sandbox).status, ExitStatus::Code(127), "{program}");
        assert_eq!(sandbox.said_of_start(), Some(errno), "{program}");
    }
    let mut spec = world.program("/bin/sh", &[]);
    spec.env.push(("A".into(), "zero\0".into()));
    assert!(vacant::order(&spec).is_err());
}

/// Too long, cut off, without an end, with fewer arguments than it says, without anything.
fn orders_that_are_none_end_it(world: &World) {
    let whole = |body: &[u8]| {
        let length = u32::try_from(body.len()).unwrap();
        [&length.to_le_bytes(), body].concat()
    };
    let orders = [
        u32::MAX.to_le_bytes().to_vec(),
        vec![9, 0, 0, 0, 1],
        whole(b"\0\0\0\0/bin/sh\0/"),
        whole(b"\x09\0\0\0/bin/sh\0/\0one\0"),
        whole(b"\0"),
        whole(b""),
    ];
    for order in orders {
        let spec = world.program("/bin/sh", &[]);
        let mut sandbox = park_vacant(world, &spec).unwrap();
        let assignment = assignment(&spec, Vec::new());
        world.runtime.block_on(sandbox.assign(assignment)).unwrap();
        (&sandbox.channel).write_all(&order).unwrap();
        sandbox.channel.shutdown(Shutdown::Write).unwrap();
        assert_eq!(world.wait(&sandbox).status, ExitStatus::Code(127), "{order:?}");
    }
}

/// An environment is assigned once, and only if it was parked.
fn nothing_is_assigned_twice(world: &World) {
    let mut plain = world.start(world.python("os.read(3, 1)")).unwrap();
    let again = assignment(&booted(world, ""), Vec::new());
    assert!(world.runtime.block_on(plain.assign(again.clone())).is_err());
    let mut parked = park(world, None).unwrap();
    world.runtime.block_on(parked.assign(again.clone())).unwrap();
    assert!(world.runtime.block_on(parked.assign(again)).is_err());
}
