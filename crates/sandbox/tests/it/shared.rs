//! What functions share although they cannot see one another: the server that reads from them,
//! counters of the kernel that belong to the whole machine or to a user, memory that no process
//! holds, files of the host.

use std::fs;
use std::time::{Duration, Instant};

use gatemill_sandbox::Bind;

use crate::world::{World, read_some};
use crate::{Case, case, root_case};

pub(crate) const CASES: &[Case] = &[
    case("a_passed_descriptor_does_not_hold_the_server", passed_descriptor),
    case("watches_no_files", watches_no_files),
    case("global_counters_are_out_of_reach", global_counters),
    case("rare_protocols_are_refused", rare_protocols),
    case("device_nodes_keep_their_times", device_nodes_keep_their_times),
    case("proc_says_little_of_the_host", proc_says_little),
    root_case("kernel_counters_are_per_function", kernel_counters_are_per_function),
    root_case("socket_buffers_are_limited", socket_buffers_are_limited),
];

/// The last close of a TCP socket that lingers waits for its peer, and whoever takes it out of a
/// unix socket's queue, wanted or not, does the close.
fn passed_descriptor(world: &World) {
    let sandbox = world
        .start(world.python(
            r#"
import struct
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
peer, _ = server.accept()
client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 6))
client.setblocking(False)
try:
    while True:
        client.send(b"x" * 65536)
except BlockingIOError:
    pass
channel = socket.socket(fileno=3)
try:
    socket.send_fds(channel, [b"x"], [client.fileno()])
    client.close()
except OSError:
    channel.send(b"x")
time.sleep(60)
"#,
        ))
        .unwrap();
    // Not before the program has let go of its own copy.
    std::thread::sleep(Duration::from_millis(1000));
    let begin = Instant::now();
    assert_eq!(read_some(&sandbox, 1), b"x");
    let taken = begin.elapsed();
    assert!(taken < Duration::from_secs(2), "reading one byte took {taken:?}");
}

/// A watch is on the inode and tells what everybody on the machine does with it.
fn watches_no_files(world: &World) {
    let task = world.folder("watched");
    fs::write(task.join("seen"), "x").unwrap();
    let mut spec = world.python(
        r#"
fd = syscall(294, 0x800)
attempt("inotify", lambda: syscall(254, fd, b"/var/task", 0xfff))
import fcntl
attempt("dnotify", lambda: fcntl.fcntl(os.open("/var/task", os.O_RDONLY), 1026, 0x8000003f))
attempt("other_fcntl", lambda: fcntl.fcntl(3, fcntl.F_GETFL))
os.write(3, b"r")
os.read(3, 1)
try:
    print("events=%d" % len(os.read(fd, 65536)))
except OSError as e:
    print("events=" + errno.errorcode[e.errno])
"#,
    );
    spec.binds.push(Bind { host: task.clone(), inside: "/var/task".into() });
    let sandbox = world.start(spec).unwrap();
    read_some(&sandbox, 1);
    fs::read(task.join("seen")).unwrap();
    std::io::Write::write_all(&mut &sandbox.channel, b"x").unwrap();
    let outcome = world.finish(&sandbox);
    outcome.expect(&[("inotify", &["EACCES"]), ("dnotify", &["EPERM"]), ("events", &["EAGAIN"])]);
    outcome.expect(&[("other_fcntl", &["ok"])]);
}

/// `fs.aio-max-nr` is one number for the machine.
fn global_counters(world: &World) {
    let outcome = world.run_python(
        "context = (ctypes.c_long * 1)()\nattempt('aio', lambda: syscall(206, 60000, context))",
    );
    outcome.expect(&[("aio", &["ENOSYS"])]);
}

fn rare_protocols(world: &World) {
    let outcome = world.run_python(
        r#"
for name, kind, protocol in [("sctp", 1, 132), ("sctp_packets", 5, 132), ("dccp", 6, 33),
                             ("l2tp", 2, 115), ("udplite", 2, 136), ("smc", 1, 256),
                             ("mptcp", 1, 262), ("tcp", 1, 6), ("udp", 2, 17)]:
    for version, family in [("4", socket.AF_INET), ("6", socket.AF_INET6)]:
        attempt(name + version, socket.socket, family, kind, protocol)
socket.socketpair()
"#,
    );
    for version in ["4", "6"] {
        for name in ["sctp", "sctp_packets", "dccp", "l2tp", "udplite", "smc", "mptcp"] {
            outcome.expect(&[(&format!("{name}{version}"), &["EPROTONOSUPPORT"])]);
        }
        outcome.expect(&[(&format!("tcp{version}"), &["ok"])]);
        outcome.expect(&[(&format!("udp{version}"), &["ok"])]);
    }
}

/// The nodes are the host's own; their times would be a blackboard for all.
fn device_nodes_keep_their_times(world: &World) {
    let outcome = world.run_python(
        r#"
attempt("touch", os.utime, "/dev/null")
attempt("write", write, "/dev/null")
attempt("append", lambda: open("/dev/null", "a").close())
"#,
    );
    outcome.expect(&[("touch", &["EROFS"]), ("write", &["ok"]), ("append", &["ok"])]);
}

fn proc_says_little(world: &World) {
    let outcome = world.run_python(
        r#"
def size(path):
    try:
        return len(os.listdir(path)) if os.path.isdir(path) else len(read(path))
    except OSError:
        return 0
for name in ["cmdline", "interrupts", "kcore", "kallsyms", "keys", "modules", "timer_list", "acpi",
             "asound", "bus", "fs", "scsi"]:
    print(f"{name}={size('/proc/' + name)}")
attempt("make", os.mkdir, "/proc/fs/new")
print("meminfo=%d" % (size("/proc/meminfo") > 0 and size("/proc/cpuinfo") > 0))
"#,
    );
    let names = ["cmdline", "interrupts", "kcore", "kallsyms", "keys", "modules", "timer_list"];
    for name in names.into_iter().chain(["acpi", "asound", "bus", "fs", "scsi"]) {
        outcome.expect(&[(name, &["0"])]);
    }
    outcome.expect(&[("make", &["EROFS", "EACCES", "EPERM", "ENOENT"])]);
}

/// inotify instances are 128 a user by default, and a user namespace counts for its owner.
fn kernel_counters_are_per_function(world: &World) {
    let mut greedy = world.python(
        r#"
made = 0
try:
    while made < 1000:
        syscall(294, 0)
        made += 1
except OSError as e:
    pass
os.write(3, b"r")
os.read(3, 1)
"#,
    );
    greedy.uid = 21;
    let sandbox = world.start(greedy).unwrap();
    read_some(&sandbox, 1);
    let ours = rustix::fs::inotify::init(rustix::fs::inotify::CreateFlags::CLOEXEC);
    assert!(ours.is_ok(), "the host has no inotify instance left: {ours:?}");
    let mut modest = world.python("attempt('instance', lambda: syscall(294, 0))");
    modest.uid = 22;
    world.run(modest).expect(&[("instance", &["ok"])]);
}

/// Version 1 cgroups count what sockets hold only when they are told to.
fn socket_buffers_are_limited(world: &World) {
    let mut spec = world.python(
        r#"
server = socket.create_server(("127.0.0.1", 0), backlog=200)
held, total = [], 0
for _ in range(100):
    client = socket.create_connection(server.getsockname())
    peer, _ = server.accept()
    held += [client, peer]
    client.setblocking(False)
    try:
        while total < 1 << 30:
            total += client.send(b"x" * 65536)
    except BlockingIOError:
        pass
print("held=%d" % total, flush=True)
"#,
    );
    (spec.memory_bytes, spec.tmp_bytes) = (64 << 20, 1 << 20);
    let outcome = world.run(spec);
    if !outcome.exit.oom_killed {
        assert!(outcome.number("held") <= 64 << 20, "{}", outcome.output);
    }
}
