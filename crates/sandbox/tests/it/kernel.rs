//! System calls that a function has no business with.

use gatemill_sandbox::ExitStatus;

use crate::world::World;
use crate::{Case, case};

pub(crate) const CASES: &[Case] = &[
    case("mounts_nothing", mounts_nothing),
    case("makes_no_namespaces", makes_no_namespaces),
    case("traces_nobody", traces_nobody),
    case("kernel_interfaces_are_refused", kernel_interfaces_are_refused),
    case("the_32_bit_interface_is_closed", the_32_bit_interface_is_closed),
    case("threads_and_processes_work", threads_and_processes_work),
    case("node_works_where_it_is_installed", node_works_where_it_is_installed),
];

fn mounts_nothing(world: &World) {
    let outcome = world.run_python(
        r#"
attempt("mount", lambda: syscall(165, b"tmpfs", b"/tmp", b"tmpfs", 0, None))
attempt("remount", lambda: syscall(165, None, b"/", None, 4096 | 32, None))
attempt("umount", lambda: syscall(166, b"/usr", 2))
attempt("pivot_root", lambda: syscall(155, b"/tmp", b"/tmp"))
attempt("chroot", os.chroot, "/tmp")
attempt("open_tree", lambda: syscall(428, -100, b"/", 1))
attempt("move_mount", lambda: syscall(429, -100, b"/usr", -100, b"/tmp", 0))
attempt("fsopen", lambda: syscall(430, b"tmpfs", 0))
attempt("mount_setattr", lambda: syscall(442, -100, b"/usr", 0, None, 0))
"#,
    );
    let calls =
        ["mount", "remount", "umount", "pivot_root", "chroot", "open_tree", "move_mount", "fsopen"];
    for name in calls.into_iter().chain(["mount_setattr"]) {
        outcome.expect(&[(name, &["EPERM"])]);
    }
}

fn makes_no_namespaces(world: &World) {
    let outcome = world.run_python(
        r#"
flags = dict(ns=0x20000, cgroup=0x2000000, uts=0x4000000, ipc=0x8000000, user=0x10000000,
             pid=0x20000000, net=0x40000000, time=0x80)
for name, flag in flags.items():
    attempt("unshare_" + name, lambda: syscall(272, flag))
    if name != "time":
        attempt("clone_" + name, lambda: syscall(56, flag | 17, 0, 0, 0, 0))
attempt("unshare_files", lambda: syscall(272, 0x400))
attempt("clone3", lambda: syscall(435, None, 0))
attempt("setns", lambda: syscall(308, 0, 0))
"#,
    );
    for name in ["ns", "cgroup", "uts", "ipc", "user", "pid", "net", "time"] {
        outcome.expect(&[(&format!("unshare_{name}"), &["EPERM"])]);
        if name != "time" {
            outcome.expect(&[(&format!("clone_{name}"), &["EPERM"])]);
        }
    }
    outcome.expect(&[("unshare_files", &["ok"]), ("clone3", &["ENOSYS"]), ("setns", &["EPERM"])]);
}

fn traces_nobody(world: &World) {
    let outcome = world.run_python(
        r#"
attempt("traceme", lambda: syscall(101, 0, 0, 0, 0))
attempt("attach_init", lambda: syscall(101, 16, 1, 0, 0))
attempt("read_init", lambda: syscall(310, 1, None, 0, None, 0, 0))
attempt("write_init", lambda: syscall(311, 1, None, 0, None, 0, 0))
attempt("steal_fd", lambda: syscall(438, 0, 0, 0))
attempt("compare", lambda: syscall(312, 1, 1, 0, 0, 0))
"#,
    );
    for name in ["traceme", "attach_init", "read_init", "write_init", "steal_fd", "compare"] {
        outcome.expect(&[(name, &["EPERM"])]);
    }
}

fn kernel_interfaces_are_refused(world: &World) {
    let refused = [
        ("bpf", 321),
        ("io_uring_setup", 425),
        ("io_uring_enter", 426),
        ("io_uring_register", 427),
        ("userfaultfd", 323),
        ("perf_event_open", 298),
        ("keyctl", 250),
        ("add_key", 248),
        ("request_key", 249),
        ("kexec_load", 246),
        ("kexec_file_load", 320),
        ("init_module", 175),
        ("finit_module", 313),
        ("delete_module", 176),
        ("reboot", 169),
        ("swapon", 167),
        ("swapoff", 168),
        ("quotactl", 179),
        ("quotactl_fd", 443),
        ("acct", 163),
        ("syslog", 103),
        ("sethostname", 170),
        ("settimeofday", 164),
        ("clock_settime", 227),
        ("open_by_handle_at", 304),
        ("fanotify_init", 300),
        ("iopl", 172),
        ("ioperm", 173),
        ("modify_ldt", 154),
        ("statmount", 457),
        ("listmount", 458),
    ];
    let mut code: String = refused
        .iter()
        .map(|(name, nr)| format!("attempt('{name}', lambda: syscall({nr}, 0, 0, 0, 0, 0))\n"))
        .collect();
    code.push_str("attempt('unknown', lambda: syscall(1000))\n");
    code.push_str("attempt('x32', lambda: syscall(0x40000000 + 39))\n");
    let outcome = world.run_python(&code);
    for (name, _) in refused {
        outcome.expect(&[(name, &["EPERM"])]);
    }
    outcome.expect(&[("unknown", &["ENOSYS"]), ("x32", &["ENOSYS"])]);
}

/// `int 0x80` enters the kernel with other numbers, which the filter does not list.
fn the_32_bit_interface_is_closed(world: &World) {
    if !cfg!(target_arch = "x86_64") {
        return;
    }
    let outcome = world.run_python(
        r#"
import mmap
m = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
m.write(bytes([0xB8, 20, 0, 0, 0, 0xCD, 0x80, 0xC3])) # mov eax, getpid; int 0x80; ret
call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))
print("before=yes", flush=True)
print("pid=%d" % call(), flush=True)
"#,
    );
    outcome.expect(&[("before", &["yes"])]);
    // SIGSYS by the filter, or SIGSEGV by a kernel without that interface.
    let killed = [ExitStatus::Signal(31), ExitStatus::Signal(11)].contains(&outcome.exit.status);
    assert!(killed && !outcome.output.contains("pid="), "{outcome:?}");
}

/// What must go on working under the filter.
fn threads_and_processes_work(world: &World) {
    let outcome = world.run_python(
        r#"
import threading, subprocess
done = []
threads = [threading.Thread(target=lambda: done.append(1)) for _ in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]
out = subprocess.run(["/bin/sh", "-c", "echo hi | cat"], capture_output=True).stdout
print("works=%d %s" % (len(done), out.decode().strip()))
print("cpus=%d" % os.cpu_count())
"#,
    );
    assert_eq!(outcome.exit.status, ExitStatus::Code(0), "{}", outcome.output);
    outcome.expect(&[("works", &["8 hi"])]);
    assert!(outcome.number("cpus") > 0);
}

fn node_works_where_it_is_installed(world: &World) {
    if !std::path::Path::new("/usr/bin/node").exists() {
        return;
    }
    let code = "const os = require('os'), fs = require('fs'); \
                fs.writeFileSync('/tmp/a', 'b'); \
                crypto.subtle.digest('SHA-256', Buffer.from('x')).then(d => \
                  console.log('cpus=' + os.cpus().length + '\\nhash=' + d.byteLength + \
                              '\\nuser=' + os.userInfo().username + '\\nhost=' + os.hostname()))";
    let mut spec = world.program("/usr/bin/node", &["-e", code]);
    spec.memory_bytes = 512 << 20;
    let outcome = world.run(spec);
    assert_eq!(outcome.exit.status, ExitStatus::Code(0), "{}", outcome.output);
    outcome.expect(&[("hash", &["32"]), ("user", &["sbx_user1051"]), ("host", &["sandbox"])]);
    assert!(outcome.number("cpus") > 0);
}
