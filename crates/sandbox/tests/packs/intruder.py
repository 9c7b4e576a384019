"""Run by the function of a runtime that was parked: what it, and its parent, see and may do."""
import ctypes, errno, json, os, socket

libc = ctypes.CDLL(None, use_errno=True)
# Root's home on any Linux; a pack may make the folder, and nothing of the host's may be in it.
ROOT_HOME = "/root"
seen = {}


def attempt(name, action, *arguments):
    try:
        action(*arguments)
        seen[name] = "ok"
    except OSError as error:
        seen[name] = errno.errorcode.get(error.errno, str(error.errno))


def read(path):
    with open(path, "rb") as file:
        return file.read(65536)


def write(path):
    with open(path, "wb", buffering=0) as file:
        file.write(b"x")


def call(name, *arguments):
    ctypes.set_errno(0)
    if getattr(libc, name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), "")


def connect(address):
    with socket.socket() as client:
        client.settimeout(3)
        client.connect(address)


runtime = os.getppid()
status = dict(line.split(":", 1) for line in read(f"/proc/{runtime}/status").decode().splitlines())
for field in ("Uid", "Gid", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"):
    seen[field] = ",".join(sorted(set(status[field].split())))
seen["cwd"] = os.readlink(f"/proc/{runtime}/cwd")
seen["own_cwd"] = os.getcwd()
fds = f"/proc/{runtime}/fd"
seen["descriptors"] = sorted({os.readlink(f"{fds}/{fd}").split(":[")[0] for fd in os.listdir(fds)})
seen["processes"] = sorted(int(pid) for pid in os.listdir("/proc") if pid.isdigit() and int(pid) not in (os.getpid(), runtime))
seen["top"] = sorted(os.listdir("/"))
seen["tmp"] = os.statvfs("/tmp").f_blocks * os.statvfs("/tmp").f_bsize

attempt("shadow", read, "/etc/shadow")
attempt("root_home", read, f"{ROOT_HOME}/.profile")
attempt("init_environ", read, "/proc/1/environ")
attempt("init_memory", read, "/proc/1/mem")
attempt("code", write, "/var/task/new")
attempt("client", write, "/var/runtime/new")
attempt("root", os.mkdir, "/new")
attempt("etc", write, "/etc/passwd")
attempt("core_pattern", write, "/proc/sys/kernel/core_pattern")
attempt("writable_tmp", write, "/tmp/new")
attempt("mount", call, "mount", b"none", b"/tmp", b"tmpfs", 0, None)
attempt("unmount", call, "umount2", b"/var/task", 2)
attempt("unshare", call, "unshare", 0x10000000)
attempt("setuid", os.setuid, 0)
attempt("chroot", os.chroot, "/tmp")
attempt("kill_init", os.kill, 1, 9)
attempt("trace_init", call, "ptrace", 16, 1, 0, 0)
attempt("world", connect, ("192.0.2.1", 443))
attempt("metadata", connect, ("169.254.169.254", 80))
print(json.dumps(seen))
