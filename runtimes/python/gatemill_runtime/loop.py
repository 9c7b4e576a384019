"""Init, then one invocation after the other, until the server closes the channel."""

import os

from . import handler, logs, marshal
from .channel import ERROR, INIT_ERROR, READY, RESPONSE, Channel
from .context import LambdaContext
from .faults import error_body

TRACE_VARIABLE = "_X_AMZN_TRACE_ID"


def main():
    """Serves until the channel closes. Returns the status of a process whose init failed.

    SystemExit and KeyboardInterrupt of the customer's code pass through: the process ends with the
    status they carry, and the server says what that means to the caller.
    """
    channel = Channel()
    logs.set_up()
    handler.set_paths()
    try:
        function = handler.load(os.environ.get("_HANDLER", ""))
    except Exception:
        body = error_body()
        logs.error(body)
        logs.flush()
        channel.send(INIT_ERROR, marshal.error(body))
        return 1
    logs.flush()
    channel.send(READY)
    _serve(channel, function)
    # Threads of the customer's that never end would keep an orderly exit waiting for ever.
    os._exit(0)


def _serve(channel, function):
    while True:
        invocation = channel.receive()
        if invocation is None:
            return
        logs.Current.request_id = invocation.request_id
        logs.Current.tenant_id = invocation.tenant_id
        _set_trace(invocation.trace_id)
        kind, body = _invoke(function, invocation)
        logs.flush()
        channel.send(kind, body)


def _invoke(function, invocation):
    try:
        context = LambdaContext(invocation)
        event = marshal.event(invocation.event)
        return RESPONSE, marshal.result(function(event, context))
    except Exception:
        body = error_body(invocation.request_id)
        logs.error(body)
        return ERROR, marshal.error(body)


def _set_trace(trace_id):
    if trace_id:
        os.environ[TRACE_VARIABLE] = trace_id
    elif TRACE_VARIABLE in os.environ:
        del os.environ[TRACE_VARIABLE]
