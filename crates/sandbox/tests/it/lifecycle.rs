//! Starting, talking, waiting, freezing, ending: what the server relies on. Holds in every class of
//! isolation and without root.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use gatemill_sandbox::{API_ADDRESS, Bind, Error, ExitStatus};

use crate::world::{World, eventually, processes_with, read_some};
use crate::{Case, case};

pub(crate) const CASES: &[Case] = &[
    case("start_says_why_not", start_says_why_not),
    case("spec_is_checked", spec_is_checked),
    case("environment_and_arguments_arrive", environment_and_arguments_arrive),
    case("the_listener_hears_the_inside", the_listener_hears_the_inside),
    case("sockets_reach_the_inside", sockets_reach_the_inside),
    case("end_is_told_to_all", end_is_told_to_all),
    case("kill_ends_the_tree_at_once", kill_ends_the_tree_at_once),
    case("drop_kills", drop_kills),
    case("a_dropped_start_leaves_nothing", a_dropped_start_leaves_nothing),
    case("frozen_stands_still", frozen_stands_still),
    case("a_frozen_sandbox_can_be_killed", a_frozen_sandbox_can_be_killed),
    case("kept_to_a_core_and_let_go", kept_to_a_core_and_let_go),
    case("output_is_complete", output_is_complete),
    case("many_start_at_once", many_start_at_once),
];

fn start_says_why_not(world: &World) {
    let task = world.folder("programs");
    fs::write(task.join("plain"), "#!/bin/sh\n").unwrap();
    fs::write(task.join("text"), "\0 no program").unwrap();
    fs::set_permissions(task.join("plain"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(task.join("text"), fs::Permissions::from_mode(0o755)).unwrap();
    let start = |program: &str| {
        let mut spec = world.program(program, &[]);
        spec.binds.push(Bind { host: task.clone(), inside: "/var/task".into() });
        world.start(spec)
    };
    assert!(matches!(start("/var/task/none"), Err(Error::ProgramMissing)));
    assert!(matches!(start("/var/task/plain"), Err(Error::ProgramNotPermitted)));
    assert!(matches!(start("/var/task/text"), Err(Error::ProgramFormat)));
    let mut spec = world.program("/bin/true", &[]);
    spec.cwd = "/tmp/none".into();
    assert!(matches!(world.start(spec), Err(Error::Cwd)));
    if world.sandboxes.enforced().file_system {
        let mut spec = world.program("/bin/true", &[]);
        spec.binds.push(Bind { host: task.join("no-such"), inside: "/opt".into() });
        assert!(matches!(world.start(spec), Err(Error::Bind(_))));
    }
}

fn spec_is_checked(world: &World) {
    let refused = |change: fn(&mut gatemill_sandbox::Spec)| {
        let mut spec = world.program("/bin/true", &[]);
        change(&mut spec);
        assert!(matches!(world.start(spec), Err(Error::Invalid(_))));
    };
    refused(|spec| spec.id = "../up".into());
    refused(|spec| spec.id = "a".repeat(65));
    refused(|spec| spec.program = "bin/true".into());
    refused(|spec| spec.cwd = "/tmp/../..".into());
    refused(|spec| spec.env.push(("A=B".into(), "c".into())));
    refused(|spec| spec.env.push(("A".into(), "b\0c".into())));
    refused(|spec| spec.binds.push(Bind { host: "/usr".into(), inside: "/proc/self".into() }));
    refused(|spec| spec.binds.push(Bind { host: "/usr".into(), inside: "/".into() }));
    refused(|spec| spec.uid = 60_000);
    refused(|spec| spec.memory_bytes = 0);
    refused(|spec| spec.cpu_millis = 0);
    refused(|spec| spec.cpu_share_millis = 0);
    let mut long = world.program("/bin/true", &[]);
    long.env.push(("A".into(), "x".repeat(70_000)));
    assert!(matches!(world.start(long), Err(Error::TooLong)));
    let mut twice = world.python("os.read(3, 1)");
    twice.id = "twice".into();
    let first = world.start(twice.clone()).unwrap();
    assert!(matches!(world.start(twice.clone()), Err(Error::IdInUse)));
    drop(first);
    drop(world.start(twice).unwrap());
}

fn environment_and_arguments_arrive(world: &World) {
    let mut spec = world.python(
        "print('env=' + repr(sorted(os.environ.items()))); print('argv=' + repr(sys.argv)); \
         print('cwd=' + os.getcwd())",
    );
    spec.env = vec![("A".into(), "ä = b".into()), ("EMPTY".into(), String::new())];
    spec.args.extend(["one".into(), String::new(), "two words".into()]);
    let outcome = world.run(spec);
    outcome.expect(&[
        (
            "env",
            &[
                "[('A', 'ä = b'), ('EMPTY', '')]",
                "[('A', 'ä = b'), ('EMPTY', ''), ('LC_CTYPE', 'C.UTF-8')]",
            ],
        ),
        ("argv", &["['-c', 'one', '', 'two words']"]),
        ("cwd", &["/tmp"]),
    ]);
}

fn the_listener_hears_the_inside(world: &World) {
    let mut spec = world.python(
        "host, port = os.environ['API'].split('//')[1].split(':')\n\
         with socket.create_connection((host, int(port)), 10) as s: s.sendall(b'hello'); print('heard=' + s.recv(9).decode())",
    );
    spec.env.push(("API".into(), format!("http://{API_ADDRESS}")));
    let (one, two) = (world.start(spec.clone()), {
        spec.id = "another".into();
        world.start(spec)
    });
    for (sandbox, said) in [(two.unwrap(), b"two"), (one.unwrap(), b"one")] {
        let mut heard = None;
        eventually("a connection from inside", || {
            heard = sandbox.listener.accept().ok();
            heard.is_some()
        });
        let (mut connection, _) = heard.unwrap();
        connection.set_nonblocking(false).unwrap();
        let mut hello = [0; 5];
        connection.read_exact(&mut hello).unwrap();
        assert_eq!(&hello, b"hello");
        connection.write_all(said).unwrap();
        let said = std::str::from_utf8(said).unwrap();
        world.finish(&sandbox).expect(&[("heard", &[said])]);
    }
}

fn sockets_reach_the_inside(world: &World) {
    let sandbox = world
        .start(world.python(
            "server = socket.create_server(('127.0.0.1', 4321)); os.write(3, b'!')\n\
             print('heard=' + server.accept()[0].recv(9).decode())",
        ))
        .unwrap();
    assert_eq!(read_some(&sandbox, 1), b"!");
    let socket = world.runtime.block_on(sandbox.sockets().tcp());
    // Without root, sandboxd has no way into the network that it made.
    if world.sandboxes.enforced().network && !world.sandboxes.enforced().own_uid {
        assert!(socket.is_err());
        return;
    }
    let connect = async {
        let address = "127.0.0.1:4321".parse().unwrap();
        let socket = tokio::net::TcpSocket::from_std_stream(socket.unwrap().into());
        let stream = socket.connect(address).await.unwrap();
        stream.writable().await.unwrap();
        stream.try_write(b"hello").unwrap()
    };
    assert_eq!(world.runtime.block_on(connect), 5);
    world.finish(&sandbox).expect(&[("heard", &["hello"])]);
}

fn end_is_told_to_all(world: &World) {
    let sandbox = world.start(world.python("os.read(3, 1); os._exit(42)")).unwrap();
    let both = async {
        let go = async { (&sandbox.channel).write_all(b"x").unwrap() };
        tokio::join!(sandbox.exited(), sandbox.exited(), go)
    };
    let (one, two, ()) = world.runtime.block_on(both);
    assert_eq!(one, two);
    assert_eq!(one.status, ExitStatus::Code(42));
    assert_eq!(world.wait(&sandbox), one);
    let outcome = world.run_python("os.kill(os.getpid(), signal.SIGSEGV)");
    assert_eq!(outcome.exit.status, ExitStatus::Signal(11));
}

fn kill_ends_the_tree_at_once(world: &World) {
    let marker = format!("600.3{}", std::process::id());
    let code = format!(
        "os.spawnv(os.P_NOWAIT, '/bin/sleep', ['sleep', '{marker}']); os.write(3, b'r'); time.sleep(600)"
    );
    let sandbox = world.start(world.python(&code)).unwrap();
    read_some(&sandbox, 1);
    eventually("its child runs", || processes_with(&marker).len() > 1);
    let begin = Instant::now();
    sandbox.kill();
    sandbox.kill();
    assert_eq!(world.wait(&sandbox).status, ExitStatus::Signal(9));
    assert!(begin.elapsed() < Duration::from_secs(2));
    assert_eq!(processes_with(&marker), [0; 0]);
    sandbox.kill();
}

fn drop_kills(world: &World) {
    let marker = format!("drop-{}", std::process::id());
    let sandbox = world.start(world.python(&format!("time.sleep(600) # {marker}"))).unwrap();
    assert!(!processes_with(&marker).is_empty());
    drop(sandbox);
    eventually("it is gone", || processes_with(&marker).is_empty());
}

fn a_dropped_start_leaves_nothing(world: &World) {
    let marker = format!("dropped-start-{}", std::process::id());
    let aborted = || {
        let start = world.sandboxes.start(world.python(&format!("time.sleep(600) # {marker}")));
        let outcome = async { tokio::time::timeout(Duration::ZERO, start).await };
        world.runtime.block_on(outcome).is_err()
    };
    // Now and then this thread is held up for longer than the start takes.
    assert!((0..20).any(|_| aborted()), "no start takes no time");
    // Requests are taken in order, so after this one the other has been begun and killed.
    world.run(world.program("/bin/true", &[]));
    eventually("it is gone", || processes_with(&marker).is_empty());
}

fn frozen_stands_still(world: &World) {
    let code = "
while True:
    os.write(3, b'.')
    time.sleep(0.002)
";
    let sandbox = world.start(world.python(code)).unwrap();
    read_some(&sandbox, 3);
    sandbox.freeze();
    // Frozen is what stays empty once it was drained.
    eventually("it stands still", || {
        drain(&sandbox);
        std::thread::sleep(Duration::from_millis(100));
        drain(&sandbox) == 0
    });
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(drain(&sandbox), 0);
    sandbox.thaw();
    read_some(&sandbox, 3);
}

fn drain(sandbox: &gatemill_sandbox::Sandbox) -> usize {
    let mut bytes = [0; 4096];
    let mut count = 0;
    while let Ok(more @ 1..) = std::io::Read::read(&mut &sandbox.channel, &mut bytes) {
        count += more;
    }
    count
}

fn a_frozen_sandbox_can_be_killed(world: &World) {
    let sandbox = world.start(world.python("os.write(3, b'r'); time.sleep(600)")).unwrap();
    read_some(&sandbox, 1);
    sandbox.freeze();
    std::thread::sleep(Duration::from_millis(50));
    sandbox.kill();
    assert_eq!(world.wait(&sandbox).status, ExitStatus::Signal(9));
}

fn kept_to_a_core_and_let_go(world: &World) {
    let code = "
child = os.fork() or time.sleep(600)
while True:
    os.read(3, 1)
    both = [os.sched_getaffinity(pid) for pid in (0, child)]
    os.write(3, bytes(number for one in both for number in (len(one), min(one))))
";
    let sandbox = world.start(world.python(code)).unwrap();
    let ask = || -> [u8; 4] {
        (&sandbox.channel).write_all(b"?").unwrap();
        read_some(&sandbox, 4).try_into().unwrap()
    };
    let [all, first, ..] = ask();
    sandbox.keep_to(Some(first.into()));
    assert_eq!(ask(), [1, first, 1, first]);
    sandbox.keep_to(None);
    assert_eq!(ask(), [all, first, all, first]);
}

fn output_is_complete(world: &World) {
    let outcome = world.run_python(
        "print('o=' + 'x' * 50000, flush=True); sys.stderr.write('e=' + 'y' * 10000 + '\\n')",
    );
    assert_eq!(outcome.value("o").len(), 50000);
    assert_eq!(outcome.value("e").len(), 10000);
}

fn many_start_at_once(world: &World) {
    let specs: Vec<_> = (0..100).map(|_| world.program("/bin/true", &[])).collect();
    let ends = world.runtime.block_on(async {
        let mut running = tokio::task::JoinSet::new();
        for spec in specs {
            let sandboxes = world.sandboxes.clone();
            running.spawn(async move { sandboxes.start(spec).await.unwrap().exited().await });
        }
        running.join_all().await
    });
    assert_eq!(ends.len(), 100);
    assert!(ends.iter().all(|exit| exit.status == ExitStatus::Code(0)));
}
