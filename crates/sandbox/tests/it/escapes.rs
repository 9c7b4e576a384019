//! Getting at what is not the function's own: files, processes, sockets, privileges.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use gatemill_sandbox::{Bind, ExitStatus};

use crate::world::{SECRET, World, eventually, processes_with};
use crate::{Case, case, images, root_case};

pub(crate) const CASES: &[Case] = &[
    case("reads_no_host_files", reads_no_host_files),
    case("sees_only_its_own_code", sees_only_its_own_code),
    case("sees_and_signals_only_its_own_processes", sees_only_its_own_processes),
    case("reads_no_other_environment", reads_no_other_environment),
    case("reaches_no_host_socket", reaches_no_host_socket),
    case("reaches_no_network", reaches_no_network),
    case("writes_nothing_but_tmp", writes_nothing_but_tmp),
    case("has_no_privilege", has_no_privilege),
    case("descriptors_are_the_golden_list", descriptors_are_the_golden_list),
    case("daemons_die_with_the_program", daemons_die_with_the_program),
    case("daemons_die_with_the_sandbox", daemons_die_with_the_sandbox),
    root_case("setuid_programs_have_no_effect", setuid_programs_have_no_effect),
    root_case("device_nodes_do_not_open", device_nodes_do_not_open),
    root_case("each_function_has_its_own_host_uid", each_function_has_its_own_host_uid),
    root_case("the_init_gives_up_its_privileges", the_init_gives_up_its_privileges),
];

fn reads_no_host_files(world: &World) {
    let secret = world.folder("data").join("secret");
    fs::write(&secret, "x").unwrap();
    let here = secret.display();
    let outcome = world.run_python(&format!(
        r#"
attempt("shadow", read, "/etc/shadow")
attempt("data", read, "{here}")
attempt("data_by_root_link", read, "/proc/1/root{here}")
attempt("data_by_own_root", read, "/proc/self/root{here}")
attempt("data_by_dots", read, "/tmp/../../../../..{here}")
attempt("init_environ", read, "/proc/1/environ")
attempt("init_memory", read, "/proc/1/mem")
attempt("kernel_memory", read, "/proc/kcore")
attempt("root_home", os.listdir, "/root")
attempt("sys", os.listdir, "/sys/kernel")
print("root=" + ",".join(sorted(os.listdir("/"))))
"#
    ));
    let gone: &[&str] = &["ENOENT"];
    let denied: &[&str] = &["ENOENT", "EACCES", "EPERM"];
    outcome.expect(&[
        ("shadow", gone),
        ("data", gone),
        ("data_by_root_link", denied),
        ("data_by_own_root", gone),
        ("data_by_dots", gone),
        ("init_environ", denied),
        ("init_memory", denied),
        ("kernel_memory", denied),
        ("root_home", gone),
        ("sys", gone),
        // An image has one directory more, and what was parked has our client.
        (
            "root",
            &[
                "bin,dev,etc,lib,lib64,proc,tmp,usr",
                "bin,dev,etc,lib,lib64,proc,tmp,usr,var",
                images::AT_THE_TOP,
            ],
        ),
    ]);
}

fn sees_only_its_own_code(world: &World) {
    let (mine, theirs) = (world.folder("code-mine"), world.folder("code-theirs"));
    fs::write(mine.join("handler.py"), "mine").unwrap();
    fs::write(theirs.join("handler.py"), "theirs").unwrap();
    let mut other = world.python("os.read(3, 1)");
    other.binds.push(Bind { host: theirs.clone(), inside: "/var/task".into() });
    let other = world.start(other).unwrap();
    let mut spec = world.python(&format!(
        r#"
print("own=" + read("/var/task/handler.py").decode())
attempt("theirs", read, "{}/handler.py")
attempt("above", read, "/var/task/../../../code-theirs/handler.py")
print("mounts=" + str(b"code-theirs" in read("/proc/self/mountinfo")))
"#,
        theirs.display()
    ));
    spec.binds.push(Bind { host: mine, inside: "/var/task".into() });
    let outcome = world.run(spec);
    outcome.expect(&[("own", &["mine"]), ("theirs", &["ENOENT"]), ("above", &["ENOENT"])]);
    outcome.expect(&[("mounts", &["False"])]);
    drop(other);
}

fn sees_only_its_own_processes(world: &World) {
    let me = std::process::id();
    let outcome = world.run_python(&format!(
        r#"
print("pids=" + ",".join(sorted(p for p in os.listdir("/proc") if p.isdigit())))
print("me=" + str(os.getpid()))
attempt("kill_test", os.kill, {me}, 0)
attempt("kill_init", os.kill, 1, 9)
attempt("stop_init", os.kill, 1, signal.SIGSTOP)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
attempt("kill_all", os.kill, -1, signal.SIGTERM)
attempt("priority", os.setpriority, os.PRIO_PROCESS, 1, 19)
print("alive=yes")
"#
    ));
    outcome.expect(&[("pids", &["2"]), ("me", &["2"]), ("kill_test", &["ESRCH"])]);
    outcome.expect(&[("alive", &["yes"])]);
    if rustix::process::geteuid().is_root() {
        outcome.expect(&[("kill_init", &["EPERM"]), ("priority", &["EPERM", "EACCES"])]);
    }
}

fn reads_no_other_environment(world: &World) {
    let outcome = world.run_python(&format!(
        r#"
found = 0
for pid in list(range(1, 200)) + [p for p in os.listdir("/proc") if p.isdigit()]:
    for name in ("environ", "cmdline", "maps"):
        try:
            found += b"{SECRET}" in read(f"/proc/{{pid}}/{{name}}")
        except OSError:
            pass
print("found=" + str(found - 1))
"#
    ));
    // One is this program's own command line, which holds the text that it looks for; it is seen
    // twice, by the range and by the list.
    // Where it was not executed with its text, it is not seen at all.
    outcome.expect(&[("found", &["1", "-1"])]);
}

fn reaches_no_host_socket(world: &World) {
    let name = format!("gatemill-test-{}", std::process::id());
    let abstract_address = SocketAddr::from_abstract_name(&name).unwrap();
    let _abstract = UnixListener::bind_addr(&abstract_address).unwrap();
    let path = world.folder("sockets").join("control");
    let _by_path = UnixListener::bind(&path).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let outcome = world.run_python(&format!(
        r#"
def connect(family, address):
    with socket.socket(family) as s:
        s.settimeout(3)
        s.connect(address)
attempt("abstract", connect, socket.AF_UNIX, "\0{name}")
attempt("path", connect, socket.AF_UNIX, "{}")
attempt("port", connect, socket.AF_INET, ("127.0.0.1", {}))
attempt("port6", connect, socket.AF_INET6, ("::1", {}))
"#,
        path.display(),
        port.local_addr().unwrap().port(),
        port.local_addr().unwrap().port(),
    ));
    outcome.expect(&[
        ("abstract", &["ECONNREFUSED", "EPERM"]),
        ("path", &["ENOENT"]),
        ("port", &["ECONNREFUSED"]),
        ("port6", &["ECONNREFUSED"]),
    ]);
}

fn reaches_no_network(world: &World) {
    let outcome = world.run_python(
        r#"
def connect(address):
    with socket.socket() as s:
        s.settimeout(3)
        s.connect(address)
def send(address):
    with socket.socket(type=socket.SOCK_DGRAM) as s:
        s.sendto(b"x", address)
attempt("metadata", connect, ("169.254.169.254", 80))
attempt("runtime_api", connect, ("169.254.100.1", 9001))
attempt("world", connect, ("192.0.2.1", 443))
attempt("datagram", send, ("169.254.169.254", 53))
attempt("broadcast", send, ("255.255.255.255", 67))
print("interfaces=" + ",".join(name for _, name in socket.if_nameindex()))
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
print("loopback=ok")
attempt("raw", socket.socket, socket.AF_INET, socket.SOCK_RAW, 1)
attempt("packet", socket.socket, socket.AF_PACKET, socket.SOCK_RAW, 0)
attempt("vsock", socket.socket, 40, socket.SOCK_STREAM, 0)
attempt("netlink_generic", socket.socket, socket.AF_NETLINK, socket.SOCK_RAW, 16)
attempt("netlink_route", socket.socket, socket.AF_NETLINK, socket.SOCK_RAW, 0)
"#,
    );
    let unreachable: &[&str] = &["ENETUNREACH", "EACCES"];
    outcome.expect(&[
        ("metadata", unreachable),
        ("runtime_api", unreachable),
        ("world", unreachable),
        ("datagram", unreachable),
        ("broadcast", unreachable),
        ("interfaces", &["lo"]),
        ("loopback", &["ok"]),
        ("raw", &["EPERM"]),
        ("packet", &["EAFNOSUPPORT"]),
        ("vsock", &["EAFNOSUPPORT"]),
        ("netlink_generic", &["EAFNOSUPPORT"]),
        ("netlink_route", &["ok"]),
    ]);
}

fn writes_nothing_but_tmp(world: &World) {
    let task = world.folder("task");
    fs::write(task.join("handler.py"), "code").unwrap();
    fs::set_permissions(&task, fs::Permissions::from_mode(0o777)).unwrap();
    let mut spec = world.python(
        r#"
attempt("task_new", write, "/var/task/new")
attempt("task_old", write, "/var/task/handler.py")
attempt("task_mode", os.chmod, "/var/task/handler.py", 0o777)
attempt("task_remove", os.remove, "/var/task/handler.py")
attempt("task_rename", os.rename, "/var/task", "/tmp/task")
attempt("root", os.mkdir, "/new")
attempt("usr", write, "/usr/bin/new")
attempt("etc", write, "/etc/passwd")
attempt("dev", write, "/dev/new")
attempt("core_pattern", write, "/proc/sys/kernel/core_pattern")
attempt("host_name", write, "/proc/sys/kernel/hostname")
attempt("sysrq", write, "/proc/sysrq-trigger", b"")
attempt("tmp", write, "/tmp/new")
attempt("shm", write, "/dev/shm/new")
attempt("null", write, "/dev/null")
print("random=" + str(len(os.urandom(16)) + len(read("/dev/urandom")[:16])))
"#,
    );
    spec.binds.push(Bind { host: task.clone(), inside: "/var/task".into() });
    let outcome = world.run(spec);
    let refused: &[&str] = &["EROFS", "EACCES", "EPERM"];
    for name in ["task_new", "task_old", "task_mode", "task_remove", "root", "usr", "etc", "dev"] {
        outcome.expect(&[(name, refused)]);
    }
    outcome.expect(&[("task_rename", &["EROFS", "EACCES", "EBUSY", "EXDEV"])]);
    outcome.expect(&[("core_pattern", refused), ("host_name", refused)]);
    outcome.expect(&[("sysrq", &["EROFS", "EACCES", "ok", "ENOENT"])]); // a masked file is /dev/null
    outcome.expect(&[("tmp", &["ok"]), ("shm", &["ok"]), ("null", &["ok"]), ("random", &["32"])]);
    assert_eq!(fs::read(task.join("handler.py")).unwrap(), b"code");
    assert!(!task.join("new").exists());
}

fn has_no_privilege(world: &World) {
    let outcome = world.run_python(
        r#"
for line in read("/proc/self/status").decode().splitlines():
    name, _, value = line.partition(":")
    print(name + "=" + ",".join(value.split()))
print("map=" + ",".join(read("/proc/self/uid_map").decode().split()[::2]))
attempt("setuid", os.setuid, 0)
attempt("setuid_other", os.setuid, 1000)
attempt("setgroups", os.setgroups, [0])
attempt("chown", os.chown, "/tmp", 0, 0)
attempt("nice", os.nice, -5)
import resource
attempt("nofile", resource.setrlimit, resource.RLIMIT_NOFILE, (4096, 4096))
print("limits=" + str(resource.getrlimit(resource.RLIMIT_NOFILE)))
print("core=" + str(resource.getrlimit(resource.RLIMIT_CORE)))
"#,
    );
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        outcome.expect(&[(set, &["0000000000000000"])]);
    }
    outcome.expect(&[
        ("NoNewPrivs", &["1"]),
        ("Seccomp", &["2"]),
        ("Uid", &["993,993,993,993"]),
        ("Gid", &["993,993,993,993"]),
        ("map", &["993,1"]),
        ("setuid", &["EPERM", "EINVAL"]),
        ("setuid_other", &["EPERM", "EINVAL"]),
        ("setgroups", &["EPERM", "EINVAL"]),
        ("chown", &["EPERM", "EINVAL"]),
        ("nice", &["EPERM", "EACCES"]),
        ("nofile", &["ValueError"]),
        ("limits", &["(1024, 1024)"]),
        ("core", &["(1, 1)"]),
    ]);
}

fn descriptors_are_the_golden_list(world: &World) {
    let outcome = world.run_python(
        r#"
for fd in range(0, 1024):
    try:
        kind = os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        continue
    print(f"fd={fd}:{kind.split(':')[0]}")
"#,
    );
    let fds: Vec<_> = outcome.output.lines().collect();
    assert_eq!(fds, ["fd=0:/dev/null", "fd=1:pipe", "fd=2:pipe", "fd=3:socket"]);
}

/// A program text that leaves a daemon behind; `marker` is in the daemon's command line.
fn daemon(marker: &str) -> String {
    format!(
        r#"
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.write(3, b"d")
        os.closerange(0, 4)
        os.execv("/bin/sleep", ["sleep", "600.{marker}"])
    os._exit(0)
os.wait()
os.write(3, b"p")
"#
    )
}

fn daemons_die_with_the_program(world: &World) {
    let marker = format!("1{}", std::process::id());
    let sandbox = world.start(world.python(&daemon(&marker))).unwrap();
    assert_eq!(world.wait(&sandbox).status, ExitStatus::Code(0));
    assert_eq!(processes_with(&format!("600.{marker}")), [0; 0]);
}

fn daemons_die_with_the_sandbox(world: &World) {
    let marker = format!("2{}", std::process::id());
    let code = format!("{}\nos.read(3, 1)", daemon(&marker));
    let sandbox = world.start(world.python(&code)).unwrap();
    let text = format!("600.{marker}");
    eventually("the daemon runs", || !processes_with(&format!("sleep\0{text}")).is_empty());
    sandbox.kill();
    assert_eq!(world.wait(&sandbox).status, ExitStatus::Signal(9));
    assert_eq!(processes_with(&text), [0; 0]);
}

fn setuid_programs_have_no_effect(world: &World) {
    let task = world.folder("setuid");
    fs::copy("/usr/bin/id", task.join("id")).unwrap();
    fs::set_permissions(task.join("id"), fs::Permissions::from_mode(0o6755)).unwrap();
    let mut spec = world.program("/var/task/id", &["-u"]);
    spec.binds.push(Bind { host: task, inside: "/var/task".into() });
    let outcome = world.run(spec);
    assert_eq!(outcome.output, "993\n");
}

fn device_nodes_do_not_open(world: &World) {
    let task = world.folder("devices");
    let node = rustix::fs::makedev(1, 1); // physical memory
    let kind = rustix::fs::FileType::CharacterDevice;
    let mode = rustix::fs::Mode::from_raw_mode(0o666);
    rustix::fs::mknodat(rustix::fs::CWD, task.join("mem"), kind, mode, node).unwrap();
    fs::set_permissions(task.join("mem"), fs::Permissions::from_mode(0o666)).unwrap();
    let mut spec = world.python(
        r#"
attempt("bound", read, "/var/task/mem")
attempt("made", os.mknod, "/tmp/mem", 0o20666, os.makedev(1, 1))
attempt("disk", os.mknod, "/dev/shm/disk", 0o60666, os.makedev(254, 0))
"#,
    );
    spec.binds.push(Bind { host: task, inside: "/var/task".into() });
    let outcome = world.run(spec);
    outcome.expect(&[("bound", &["EACCES"]), ("made", &["EPERM"]), ("disk", &["EPERM", "EACCES"])]);
}

fn each_function_has_its_own_host_uid(world: &World) {
    let owner = |slot| {
        let mut spec = world.python("os.write(3, b'r'); os.read(3, 1)");
        spec.uid = slot;
        let sandbox = world.start(spec).unwrap();
        crate::world::read_some(&sandbox, 1);
        let below = gatemill_jailer::process_tree::descendants(sandbox.pid);
        let program = sandbox.program.unwrap_or_else(|| below[0]);
        let status = fs::read_to_string(format!("/proc/{program}/status")).unwrap();
        let uid = status.lines().find_map(|line| line.strip_prefix("Uid:\t")).unwrap().to_owned();
        (&sandbox.channel).write_all(b"x").unwrap();
        world.wait(&sandbox);
        uid.split('\t').next().unwrap().parse::<u32>().unwrap()
    };
    assert_eq!((owner(11), owner(12)), (2_000_000_011, 2_000_000_012));
}

fn the_init_gives_up_its_privileges(world: &World) {
    let sandbox = world.start(world.python("os.read(3, 1)")).unwrap();
    let status = || fs::read_to_string(format!("/proc/{}/status", sandbox.pid)).unwrap();
    eventually("it is confined", || status().contains("Seccomp:\t2"));
    let status = status();
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(status.contains(&format!("{set}:\t0000000000000000")), "{status}");
    }
    let id = "2000060000\t2000060000\t2000060000\t2000060000";
    assert!(status.contains(&format!("Uid:\t{id}")) && status.contains("NoNewPrivs:\t1"));
    assert!(status.contains(&format!("Gid:\t{id}")), "{status}");
    let fds = fs::read_dir(format!("/proc/{}/fd", sandbox.pid)).unwrap();
    let mut targets: Vec<_> =
        fds.flatten().map(|fd| fs::read_link(fd.path()).unwrap().display().to_string()).collect();
    targets.sort();
    assert!(targets[..3].iter().all(|target| target == "/dev/null"), "{targets:?}");
    assert!(targets.len() == 4 && targets[3].starts_with("pipe:"), "{targets:?}");
}
