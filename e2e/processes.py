"""The processes of a server, as the kernel lists them."""

import pathlib


def children(pid):
    """The descendants of a process."""
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            for child in map(int, task.read_text().split()):
                found += [child, *children(child)]
        except OSError:
            pass
    return found


def command_line(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def status(pid):
    """What `/proc` says of a process; nothing when it is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return ""


def sandboxd(server):
    daemons = [pid for pid in children(server.process.pid) if b"__sandboxd" in command_line(pid)]
    # A sandbox's init is a copy of sandboxd; the daemon itself is the server's child.
    mine = [pid for pid in daemons if f"PPid:\t{server.process.pid}\n" in status(pid)]
    return mine[0] if mine else None


def inside(server):
    """The processes in sandboxes."""
    daemon = sandboxd(server)
    return children(daemon) if daemon else []


def depth(pid):
    """How many process namespaces a process is in; 0 when it is gone."""
    lines = status(pid).splitlines()
    return next((len(line.split()) - 1 for line in lines if line.startswith("NSpid:")), 0)


def of_kind(server, argument, namespaces):
    """The programs that were started with an argument and are in so many process namespaces: their forks are in one more."""
    return [pid for pid in inside(server) if argument in command_line(pid) and depth(pid) == namespaces]


def templates(server):
    """What parked environments are forked from."""
    return of_kind(server, b"--zygote", 1)


def snapshots(server):
    """What environments of versions with SnapStart are forked from."""
    return of_kind(server, b"--snapshot", 2)
