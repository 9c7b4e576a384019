"""SnapStart: this process has initialised the function once; every environment is a fork of it.

The fork ends up in a sandbox of its own. This process has no privilege to put it there, since it ran the function's
code: sandboxd makes the sandbox, hands in its namespaces, lets the fork enter them, and looks at it from outside before
it may go on. What is done here is therefore no wall; it only makes the fork a good copy: other random numbers, no
connection shared with another environment, output and channel of its own.
"""

import array
import ctypes
import errno
import gc
import os
import random
import select
import socket
import stat
import sys

from . import warm
from .channel import DESCRIPTOR

# The socket on which sandboxd asks for forks; a program that is no snapshot has none.
CONTROL = 4
# channel, output, gate, then cgroups (as many as the request's byte says), then namespaces: user first, since it gives
# the right to enter the others.
DESCRIPTORS_MAX = 16
GIVEN = 3
CAPABILITIES = 64
PR_CAPBSET_DROP = 24
CAPABILITY_VERSION_3 = 0x20080522


class Unsafe(Exception):
    """This process cannot be forked without harm; the text says why."""


def run_before_snapshot():
    """Runs the registered hooks, last first."""
    hooks = _registered("get_before_snapshot")
    while hooks:
        function, args, kwargs = hooks.pop()
        function(*args, **kwargs)


def run_after_restore():
    """Runs the registered hooks in the order of their registration."""
    for function, args, kwargs in _registered("get_after_restore"):
        function(*args, **kwargs)


def _registered(name):
    module = sys.modules.get("snapshot_restore_py")
    return getattr(module, name)() if module is not None else []


def walk():
    """Goes the way of a call, as a parked process does. What the function made of the modules on it may fail."""
    try:
        warm.a_call()
    except Exception:
        pass


class Snapshot:
    """The initialised process, ready to be forked."""

    def __init__(self):
        threads = len(os.listdir("/proc/self/task"))
        if threads != 1:
            raise Unsafe("it has %d threads" % threads)
        self._control = socket.socket(fileno=CONTROL)
        self._directory = os.getcwd()
        self._libc = ctypes.CDLL(None, use_errno=True)
        gc.collect()
        # Found here once: a walk over all objects costs more than the rest of a restore.
        self._generators = [found for found in gc.get_objects() if isinstance(found, random.Random)]
        # The collector would write into every object, and so copy every page, of each fork.
        gc.freeze()

    def wait(self):
        """Serves requests for forks. Returns in every fork, and in this process never: False when sandboxd is gone."""
        while True:
            request, fds, _, _ = socket.recv_fds(self._control, 1, DESCRIPTORS_MAX)
            if not request:
                return False
            child = os.fork()
            if child == 0:
                return self._enter(fds, request[0])
            for fd in fds:
                os.close(fd)
            os.waitpid(child, 0)
            self._control.send(b"D")

    def _enter(self, fds, groups):
        """From a fork in this sandbox to the first process of the function in its own."""
        self._control.close()
        channel, output, gate = fds[:GIVEN]
        for group in fds[GIVEN : GIVEN + groups]:
            # Whoever writes joins.
            os.write(group, b"0")
            os.close(group)
        for namespace in fds[GIVEN + groups :]:
            # `os.setns` came with Python 3.12.
            if self._libc.setns(namespace, 0) != 0:
                os._exit(1)
            os.close(namespace)
        # Only what is forked now is in the new process namespace.
        if os.fork():
            os._exit(0)
        self._drop_capabilities()
        os.setsid()
        for given, number in ((channel, DESCRIPTOR), (output, 1), (output, 2)):
            os.dup2(given, number, inheritable=number != DESCRIPTOR)
        os.close(channel)
        os.close(output)
        _cut_connections(gate)
        with socket.socket(fileno=gate) as waiting:
            waiting.send(b"R")
            if waiting.recv(1) != b"G":
                os._exit(1)
        # Entering a mount namespace leads to its root.
        os.chdir(self._directory)
        return True

    def _drop_capabilities(self):
        """Entering a user namespace gave all powers over it; nothing of that may stay."""
        for capability in range(CAPABILITIES):
            if self._libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
                break
        header = array.array("I", [CAPABILITY_VERSION_3, 0])
        nothing = array.array("I", [0] * 6)
        addresses = [ctypes.c_void_p(numbers.buffer_info()[0]) for numbers in (header, nothing)]
        if self._libc.capset(*addresses) != 0:
            os._exit(1)

    def reseed(self):
        """Random numbers of this environment's own, wherever a generator was made during initialisation."""
        for generator in self._generators:
            generator.seed()
        random.seed()
        seed = int.from_bytes(os.urandom(4), "little")
        self._libc.srand(seed)
        numpy_random = sys.modules.get("numpy.random")
        if numpy_random is not None:
            numpy_random.seed(seed)


def _cut_connections(gate):
    """Puts a dead socket in the place of every inherited connection and pipe.

    Two environments that write into one connection, to a database above all, would mix their requests; a client that
    finds its connection dead opens another one.
    """
    keep = (0, 1, 2, DESCRIPTOR, gate)
    dead, peer = socket.socketpair()
    peer.close()
    for name in os.listdir("/proc/self/fd"):
        number = int(name)
        if number in keep or number == dead.fileno():
            continue
        try:
            mode = os.fstat(number).st_mode
            if stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode):
                os.dup2(dead.fileno(), number, inheritable=False)
            elif os.readlink("/proc/self/fd/" + name) == "anon_inode:[eventpoll]":
                _replace_epoll(number)
        except OSError as error:
            # The descriptor of the listing itself is gone by now.
            if error.errno not in (errno.EBADF, errno.ENOENT):
                raise
    dead.close()


def _replace_epoll(number):
    """An inherited epoll is shared with the snapshot; one of its own knows no descriptor yet."""
    with select.epoll() as fresh:
        os.dup2(fresh.fileno(), number, inheritable=False)
