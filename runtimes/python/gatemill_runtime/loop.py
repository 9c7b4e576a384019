"""Init, then one invocation after the other, until the server closes the channel."""

import json
import os
import sys
import time

from . import context, handler, logs, marshal, trace
from .channel import ERROR, INIT_ERROR, NO_SNAPSHOT, READY, RESPONSE, SNAPSHOT, Channel
from .faults import error_body

# The statuses with which AWS's Python runtime exits when a hook of SnapStart fails.
BEFORE_SNAPSHOT_STATUS = 64
AFTER_RESTORE_STATUS = 65


def main(arguments=()):
    """Serves until the channel closes. Returns the status of a process whose init failed.

    With `--parked`, boots and waits to be told what for. With `--zygote`, serves forks in each of
    which this goes on as parked. With `--snapshot`, initialises the function and then serves forks.

    SystemExit and KeyboardInterrupt of the customer's code pass through: the process ends with the
    status they carry, and the server says what that means to the caller.
    """
    extra = frozenset()
    if "--zygote" in arguments:
        before = set(sys.modules)
        from . import zygote

        zygote.serve()
        extra = set(sys.modules) - before
        arguments = ("--parked",)
    channel = Channel()
    if "--parked" in arguments and not _assigned(channel):
        return 0
    logs.set_up()
    context.set_up()
    handler.unload_shadowed(handler.set_paths(), extra)
    try:
        function = handler.load(os.environ.get("_HANDLER", ""))
    except Exception:
        _report(channel, error_body())
        return 1
    logs.flush()
    if "--snapshot" in arguments:
        status = _be_forked(channel)
        if status is not None:
            return status
    channel.send(READY)
    _serve(channel, function)
    # Threads of the customer's that never end would keep an orderly exit waiting for ever.
    os._exit(0)


def _be_forked(channel):
    """Becomes a snapshot. Returns None in each environment made from it, or the status to exit with.

    Where the process cannot be forked it says so and ends.
    """
    from . import snapshot

    try:
        snapshot.run_before_snapshot()
    except BaseException:
        _report(channel, error_body())
        return BEFORE_SNAPSHOT_STATUS
    try:
        taken = snapshot.Snapshot()
    except snapshot.Unsafe as unsafe:
        logs.flush()
        channel.send(NO_SNAPSHOT, str(unsafe).encode())
        os._exit(0)
    logs.flush()
    channel.send(SNAPSHOT)
    if not taken.wait():
        os._exit(0)
    taken.reseed()
    # Made ahead of calls: the hooks run when the environment is wanted.
    if channel.assigned(snapshot.walk) is None:
        os._exit(0)
    try:
        snapshot.run_after_restore()
    except BaseException:
        _report(channel, error_body())
        return AFTER_RESTORE_STATUS
    logs.flush()
    return None


def _report(channel, body):
    logs.error(body)
    logs.flush()
    channel.send(INIT_ERROR, marshal.error(body))


def _assigned(channel):
    """Waits, parked, and becomes what a process is that was started for the function. Whether the
    server said what for."""
    from . import warm

    assignment = channel.assigned(warm.up)
    if assignment is None:
        return False
    os.environ.clear()
    os.environ.update(json.loads(assignment)["environment"])
    time.tzset()
    del sys.argv[1:]
    os.chdir(os.environ.get("LAMBDA_TASK_ROOT", "/var/task"))
    return True


def _serve(channel, function):
    current = logs.Current
    while True:
        invocation = channel.receive()
        if invocation is None:
            return
        current.request_id = invocation.request_id
        current.tenant_id = invocation.tenant_id
        trace.set(invocation.trace_id)
        kind, body = _invoke(function, invocation)
        logs.flush()
        channel.send(kind, body)


def _invoke(function, invocation):
    try:
        given = context.LambdaContext(invocation)
        return RESPONSE, marshal.result(function(marshal.event(invocation.event), given))
    except Exception:
        body = error_body(invocation.request_id)
        logs.error(body)
        return ERROR, marshal.error(body)
