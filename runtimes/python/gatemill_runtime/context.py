"""The context object that a handler is given as its second argument.

Fields, methods and printed form are those of AWS's `LambdaContext`; customers read them by name.
"""

import json
import logging
import os
import sys
import time

from .faults import Fault

_W3C_FIELDS = ("traceparent", "tracestate", "baggage")


class _Printable:
    """Prints like AWS's objects: `Name([field=value,…])`."""

    __slots__ = ()

    def __repr__(self):
        fields = ",".join("%s=%s" % (name, getattr(self, name, None)) for name in self.__slots__)
        return "%s([%s])" % (type(self).__name__, fields)


class CognitoIdentity(_Printable):
    """Who called through an identity pool; both fields are None for every other caller."""

    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")

    def __init__(self, identity=None, pool=None):
        self.cognito_identity_id = identity
        self.cognito_identity_pool_id = pool


class Client(_Printable):
    """The mobile application that called."""

    __slots__ = (
        "installation_id",
        "app_title",
        "app_version_name",
        "app_version_code",
        "app_package_name",
    )

    def __init__(self, fields):
        for name in self.__slots__:
            setattr(self, name, fields.get(name))


class ClientContext(_Printable):
    """The caller's client context: `custom` and `env` are as sent, `client` is an object."""

    __slots__ = ("custom", "env", "client")

    def __init__(self, fields):
        self.custom = fields.get("custom")
        self.env = fields.get("env")
        client = fields.get("client")
        self.client = Client(client) if isinstance(client, dict) else None


class LambdaContext:
    """One invocation's context."""

    # The same for every invocation of a process; see `set_up`.
    log_group_name = None
    log_stream_name = None
    function_name = None
    memory_limit_in_mb = None
    function_version = None

    def __init__(self, invocation):
        self.aws_request_id = invocation.request_id
        self.invoked_function_arn = invocation.function_arn
        self.tenant_id = invocation.tenant_id
        self._epoch_deadline_time_in_ms = invocation.deadline_ms
        self._w3c_fields = {}
        self.client_context = None
        if invocation.client_context:
            self._set_client_context(_parse(invocation.client_context, "Client Context"))
        if invocation.cognito_identity:
            fields = _parse(invocation.cognito_identity, "Cognito Identity")
            pair = fields.get("cognitoIdentityId"), fields.get("cognitoIdentityPoolId")
            self.identity = CognitoIdentity(*pair)
        else:
            self.identity = CognitoIdentity()

    def _set_client_context(self, fields):
        trace = fields.pop("w3c", None)
        if isinstance(trace, dict):
            self._w3c_fields = {n: trace[n] for n in _W3C_FIELDS if isinstance(trace.get(n), str)}
        self.client_context = ClientContext(fields)

    def get_remaining_time_in_millis(self):
        """Milliseconds until the invocation times out; 0 when that moment has passed."""
        return max(self._epoch_deadline_time_in_ms - int(time.time() * 1000), 0)

    def w3c(self):
        """The W3C trace context that came in with the client context; empty without one."""
        return dict(self._w3c_fields)

    def log(self, msg):
        """Writes `msg` to the function's log as it is, without a line end of its own."""
        for handler in logging.getLogger().handlers:
            sink = getattr(handler, "log_sink", None)
            if sink is not None:
                sink.log(str(msg))
                return
        sys.stdout.write(str(msg))

    def __repr__(self):
        names = (
            "aws_request_id",
            "log_group_name",
            "log_stream_name",
            "function_name",
            "memory_limit_in_mb",
            "function_version",
            "invoked_function_arn",
            "client_context",
            "identity",
            "tenant_id",
        )
        return "LambdaContext([%s])" % ",".join("%s=%s" % (n, getattr(self, n)) for n in names)


def _parse(text, name):
    try:
        value = json.loads(text)
    except ValueError as error:
        reason = str(error)
    else:
        if isinstance(value, dict):
            return value
        reason = "not an object"
    raise Fault(
        Fault.LAMBDA_CONTEXT_UNMARSHAL_ERROR, "Unable to parse %s JSON: %s" % (name, reason)
    )


def set_up():
    """Reads from the environment what it says of the function, before the function can change it."""
    LambdaContext.log_group_name = os.environ.get("AWS_LAMBDA_LOG_GROUP_NAME")
    LambdaContext.log_stream_name = os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME")
    LambdaContext.function_name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
    LambdaContext.memory_limit_in_mb = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
    LambdaContext.function_version = os.environ.get("AWS_LAMBDA_FUNCTION_VERSION")
