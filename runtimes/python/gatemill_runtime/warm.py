"""Walks, while a parked process waits for its function, the ways that its first call will go.

A fork shares its parent's memory until it writes there, and an interpreter writes wherever it goes, since it
counts references. Each first write of a page is a fault and a copy, nearly 700 of them between the
assignment and the answer of a small function, which is most of the time that this takes. What is
touched here was going to be touched anyway; nothing of it stays but that.
"""

import importlib
import os
import site
import sys
import time

from . import context, logs, marshal, trace
from .channel import Invocation

# Like what an HTTP API sends and is answered.
_EVENT = '{"version": "2.0", "rawPath": "/", "headers": {"accept": "*/*"}, "isBase64Encoded": false}'
_ANSWER = {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": "{}"}
_SOURCE = "import json\n\n\ndef handler(event, context):\n    return json.dumps({'path': event['rawPath']})\n"


def up():
    """Leaves everything as it was."""
    variables = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    time.tzset()
    _log()
    _import()
    a_call()


def a_call():
    """What is ours of a call, and nothing else: for a process that holds a function."""
    invocation = Invocation("\0".join(("id", "0", "arn", "trace", "", "", "")), _EVENT)
    context.LambdaContext(invocation)
    marshal.event(invocation.event)
    marshal.result(_ANSWER)
    trace.set(invocation.trace_id)
    trace.set("")
    logs.flush()


def _log():
    logs.configure_streams()
    logs.new_handler().close()


def _import():
    path, known = list(sys.path), set(sys.path_importer_cache)
    directory = os.path.dirname(os.path.abspath(__file__))
    try:
        site.addsitedir(directory)
        sys.path[:0] = [directory]
        importlib.import_module("late")
        exec(compile(_SOURCE, "<warm>", "exec"), {})
    finally:
        sys.modules.pop("late", None)
        sys.path[:] = path
        for entry in set(sys.path_importer_cache) - known:
            del sys.path_importer_cache[entry]
