"""The zygote: a booted interpreter without a function that sandboxd forks into sandboxes.

It waits for orders on a socket to sandboxd and has no other way to the world: an empty network, a
read-only file system, no code but the interpreter's and ours. Each order names a fresh sandbox, whose
first process waits; the fork goes into its namespaces and confines itself exactly as a started
program is confined (user namespace of one uid, no capabilities, Landlock, the system call filter,
resource limits, descriptors 0 to 3 alone). sandboxd looks at the result from the outside before
anything of a function reaches the process, and kills what is not as it should be.

One fork an order. A process cannot change its own pid namespace, only that of the children it is going to
have: so the zygote enters the sandbox's for the moment of the fork. The child is sandboxd's
(`CLONE_PARENT`), which so learns of its end, begins in the sandbox's cgroup, and enters the other
namespaces itself. `os.fork` can say none of this, so the system call is made here, between the
interpreter's own hooks: what has to happen in a child (reseeding random generators, for one) happens.
The C library has a thread's number in its memory, which its `fork` would renew; here the kernel does.

System calls go through ctypes: an interpreter cannot link our Rust, and has few of them itself.
"""

import array
import ctypes
import errno
import fcntl
import gc
import io
import os
import resource
import socket
import struct
import sys

from . import warm

CONTROL = 3
CHANNEL = 3
STATUS = 4
INSIDE_ID = 993
ORDER_BYTES_MAX = 16 * 1024
DESCRIPTORS_MAX = 16
WALKS = 3

SYS_PIDFD_OPEN = 434
SYS_CLONE3 = 435
SYS_CLOSE_RANGE = 436
SYS_LANDLOCK_RESTRICT_SELF = 446

CLONE_PARENT = 0x8000
CLONE_CHILD_CLEARTID = 0x200000
CLONE_CHILD_SETTID = 0x1000000
CLONE_INTO_CGROUP = 0x200000000
CLONE_NEWNS = 0x20000
CLONE_NEWCGROUP = 0x2000000
CLONE_NEWUTS = 0x4000000
CLONE_NEWIPC = 0x8000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
# Without that of processes, which its parent entered for it.
NAMESPACES = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWCGROUP
# How many words of what the C library keeps of a thread are looked through for the thread's number.
THREAD_WORDS = 256

PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_SECUREBITS = 28
PR_SET_NO_NEW_PRIVS = 38
SECBIT_NO_SETUID_FIXUP = 4
SECCOMP_MODE_FILTER = 2
CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = (ctypes.c_int,) + (ctypes.c_ulong,) * 4
_libc.syscall.restype = ctypes.c_long
_libc.pthread_self.restype = ctypes.c_void_p
# Calls that keep the interpreter's lock: a fork while it is let go would leave a child without it.
_held = ctypes.PyDLL(None, use_errno=True)
_held.syscall.restype = ctypes.c_long


class _CloneArguments(ctypes.Structure):
    """The kernel's `struct clone_args`."""

    _fields_ = [
        (name, ctypes.c_uint64)
        for name in (
            "flags pidfd child_tid parent_tid exit_signal stack stack_size tls set_tid set_tid_size"
            " cgroup"
        ).split()
    ]


class _FilterProgram(ctypes.Structure):
    """The kernel's `struct sock_fprog`."""

    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


class Order:
    """One sandbox that is to get a process. The form is sandboxd's (`order.rs`)."""

    _HEAD = struct.Struct("<IBBBB8s")
    _LIMIT = struct.Struct("<IQ")

    def __init__(self, message, descriptors):
        uid, limits, tasks, born, ruled, steps = self._HEAD.unpack_from(message)
        self.uid = uid
        # Numbers of sandboxd for what can fail, in the order in which it is done.
        (self.join, self.enter, self.own_user, self.session, self.limit, self.identity,
         self.landlock, self.seccomp) = steps
        self.limits = []
        at = self._HEAD.size
        for _ in range(limits):
            self.limits.append(self._LIMIT.unpack_from(message, at))
            at += self._LIMIT.size
        self.filter = message[at:]
        self.descriptors = list(descriptors)
        rest = iter(descriptors)
        self.sandbox, self.channel, self.output, self.status = (next(rest) for _ in range(4))
        self.tasks = [next(rest) for _ in range(tasks)]
        self.cgroup = next(rest) if born else None
        self.ruleset = next(rest) if ruled else None

    def close(self):
        for descriptor in self.descriptors:
            os.close(descriptor)


def serve():
    """Forks on request. Returns in each forked process, confined, with its channel as descriptor 3;
    the zygote itself ends with its socket."""
    control = socket.socket(fileno=CONTROL)
    _open_streams()
    # Code that has run some times is specialised and is not rewritten in each child, which would copy
    # its pages: one in seven of those that a child writes.
    for _ in range(WALKS):
        warm.up()
    forks = _Forks()
    # What is there now is shared by all children; the collector should not touch and so copy it.
    gc.collect()
    gc.freeze()
    control.send(b"\0")
    while True:
        message, descriptors = _receive(control)
        if not message:
            os._exit(0)
        order = Order(message, descriptors)
        try:
            if forks.fork(order) == 0:
                control.detach()
                _become(order)
                return
        except OSError as error:
            _report(order.status, order.enter, error)
        order.close()


def _receive(control):
    space = socket.CMSG_SPACE(DESCRIPTORS_MAX * 4)
    message, ancillary, _, _ = control.recvmsg(ORDER_BYTES_MAX, space, socket.MSG_CMSG_CLOEXEC)
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % 4])
    return message, descriptors


class _Forks:
    """Copies of this process in other process namespaces, whose parent is sandboxd."""

    def __init__(self):
        number = ctypes.c_long(SYS_PIDFD_OPEN)
        self._home = _check(_libc.syscall(number, ctypes.c_int(os.getpid()), ctypes.c_uint(0)))
        self._thread_number = _thread_number()

    def fork(self, order):
        """0 in the child, its pid here."""
        arguments = _CloneArguments(
            flags=CLONE_PARENT | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID,
            child_tid=self._thread_number,
        )
        if order.cgroup is not None:
            arguments.flags |= CLONE_INTO_CGROUP
            arguments.cgroup = order.cgroup
        call = (ctypes.c_long(SYS_CLONE3), ctypes.byref(arguments), ctypes.c_size_t(ctypes.sizeof(arguments)))
        _check(_libc.setns(order.sandbox, CLONE_NEWPID))
        ctypes.pythonapi.PyOS_BeforeFork()
        pid = _held.syscall(*call)
        if pid == 0:
            ctypes.pythonapi.PyOS_AfterFork_Child()
            return 0
        ctypes.pythonapi.PyOS_AfterFork_Parent()
        failed = ctypes.get_errno() if pid < 0 else 0
        if _libc.setns(self._home, CLONE_NEWPID) != 0:
            # What it forks now would be in that sandbox.
            os._exit(1)
        if failed:
            raise OSError(failed, os.strerror(failed))
        return pid


def _thread_number():
    """The address at which the C library keeps the number of this thread: where it has ours here and, in a
    child that it forked itself, the child's."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, bytes(_words_with(os.getpid())))
        os._exit(0)
    os.waitpid(child, 0)
    found = set(os.read(reading, THREAD_WORDS)) & set(_words_with(os.getpid()))
    os.close(reading)
    os.close(writing)
    if len(found) != 1:
        raise RuntimeError("the C library keeps a thread's number in %d places" % len(found))
    return _libc.pthread_self() + 4 * found.pop()


def _words_with(number):
    words = memoryview(ctypes.string_at(_libc.pthread_self(), 4 * THREAD_WORDS)).cast("I")
    return [at for at, word in enumerate(words) if word == number]


def _become(order):
    """In the child: into the sandbox, and confined."""
    step = order.join
    try:
        for tasks in order.tasks:
            os.write(tasks, b"0")
        step = order.enter
        _check(_libc.setns(order.sandbox, NAMESPACES))
        for step, narrow in (
            (order.session, _session),
            (order.limit, _limit_resources),
            (order.own_user, _own_user_namespace),
            (order.identity, _give_up_privileges),
            (order.landlock, _landlock),
            (order.seccomp, _filter),
        ):
            narrow(order)
        os.write(STATUS, bytes(8))
        os.close(STATUS)
    except BaseException as error:
        _report(order.status, step, error)
        os._exit(1)


def _session(order):
    """Own session, descriptors 0 to 4 as agreed; all others are closed."""
    os.setsid()
    null = os.open("/dev/null", os.O_RDWR)
    # First out of the way, so that no copy overwrites one that is still needed.
    null, output, channel, status, ruleset = (
        None if it is None else fcntl.fcntl(it, fcntl.F_DUPFD_CLOEXEC, 64)
        for it in (null, order.output, order.channel, order.status, order.ruleset)
    )
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(channel, CHANNEL)
    os.dup2(status, STATUS, inheritable=False)
    order.status = STATUS
    first = STATUS + 1
    if ruleset is not None:
        os.dup2(ruleset, first, inheritable=False)
        order.ruleset = first
        first += 1
    last = ctypes.c_uint(0xFFFFFFFF)
    _check(_libc.syscall(ctypes.c_long(SYS_CLOSE_RANGE), ctypes.c_uint(first), last, 0))


def _open_streams():
    """As an interpreter opens them at its start where its output is a pipe, as a function's is. Those of the
    zygote remember what its own was: a file, perhaps. They are of no use until a child has its output."""
    outputs = [(number, name, os.dup(number)) for number, name in ((1, "stdout"), (2, "stderr"))]
    reading, writing = os.pipe()
    for number, name, own in outputs:
        os.dup2(writing, number)
        raw = io.FileIO(number, "w", closefd=False)
        raw.name = "<%s>" % name
        stream = io.TextIOWrapper(io.BufferedWriter(raw), "utf-8", "backslashreplace")
        stream.mode = "w"
        setattr(sys, name, stream)
        setattr(sys, "__%s__" % name, stream)
        os.dup2(own, number)
        os.close(own)
    os.close(reading)
    os.close(writing)


def _limit_resources(order):
    for kind, value in order.limits:
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def _own_user_namespace(order):
    """A user namespace of one uid that belongs to that uid, as the init makes it for programs."""
    os.setresgid(order.uid, order.uid, order.uid)
    _prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP)
    os.setresuid(-1, order.uid, -1)
    # The change of identity had given our files in /proc to root.
    _prctl(PR_SET_DUMPABLE, 1)
    _check(_libc.unshare(CLONE_NEWUSER))
    one = b"%d %d 1" % (INSIDE_ID, order.uid)
    for name, text in (("setgroups", b"deny"), ("gid_map", one), ("uid_map", one)):
        file = os.open("/proc/self/" + name, os.O_WRONLY)
        os.write(file, text)
        os.close(file)


def _give_up_privileges(order):
    for capability in range(64):
        if _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            # The first that this kernel does not know.
            if ctypes.get_errno() != errno.EINVAL or capability == 0:
                raise OSError(ctypes.get_errno(), "capability")
            break
    os.setresgid(INSIDE_ID, INSIDE_ID, INSIDE_ID)
    os.setresuid(INSIDE_ID, INSIDE_ID, INSIDE_ID)
    head = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    _check(_libc.capset(head, (ctypes.c_uint32 * 6)()))
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    # As after an `execve`: the function may read its own files in /proc.
    _prctl(PR_SET_DUMPABLE, 1)


def _landlock(order):
    if order.ruleset is None:
        return
    number = ctypes.c_long(SYS_LANDLOCK_RESTRICT_SELF)
    _check(_libc.syscall(number, ctypes.c_int(order.ruleset), ctypes.c_uint(0)))
    os.close(order.ruleset)


def _filter(order):
    program = ctypes.create_string_buffer(order.filter, len(order.filter))
    filter_program = _FilterProgram(len(order.filter) // 8, ctypes.addressof(program))
    _prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(filter_program))


def _prctl(option, first, second=0):
    _check(_libc.prctl(option, first, second, 0, 0))


def _check(result):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _report(status, step, error):
    number = getattr(error, "errno", None) or errno.EIO
    try:
        os.write(status, struct.pack("<Bxxxi", step, number))
    except OSError:
        pass
