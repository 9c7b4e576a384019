"""What went wrong, in AWS's words: error types, error bodies and the text logged for them."""

import os
import sys
import traceback

# Frames of our own files are no business of the customer's stack traces.
_OWN_DIRECTORY = os.path.dirname(os.path.abspath(__file__))
_BOOTSTRAP = os.path.join(os.path.dirname(_OWN_DIRECTORY), "bootstrap.py")

NO_BREAK_SPACE = "\u00a0"


class Fault(Exception):
    """A failure that the runtime itself found, with the error type that AWS has for it."""

    BUILT_IN_MODULE_CONFLICT = "Runtime.BuiltInModuleConflict"
    HANDLER_NOT_FOUND = "Runtime.HandlerNotFound"
    IMPORT_MODULE_ERROR = "Runtime.ImportModuleError"
    LAMBDA_CONTEXT_UNMARSHAL_ERROR = "Runtime.LambdaContextUnmarshalError"
    MALFORMED_HANDLER_NAME = "Runtime.MalformedHandlerName"
    MARSHAL_ERROR = "Runtime.MarshalError"
    UNMARSHAL_ERROR = "Runtime.UnmarshalError"
    USER_CODE_SYNTAX_ERROR = "Runtime.UserCodeSyntaxError"

    def __init__(self, error_type, message, trace=()):
        super().__init__(message)
        self.error_type = error_type
        self.message = message
        self.trace = list(trace)


def error_body(request_id=""):
    """The error object for the exception being handled, in AWS's key order."""
    error_class, value, trace = sys.exc_info()
    if isinstance(value, Fault):
        return _body(value.message, value.error_type, request_id, value.trace)
    try:
        message = str(value)
    except Exception as error:  # a customer's __str__ may fail as well
        message = "<unprintable %s: %s>" % (error_class.__name__, type(error).__name__)
    return _body(message, error_class.__name__, request_id, stack_trace(trace))


def _body(message, error_type, request_id, trace):
    return {
        "errorMessage": message,
        "errorType": error_type,
        "requestId": request_id,
        "stackTrace": trace,
    }


def stack_trace(trace):
    """The formatted frames of a traceback, without those of this package that lead to them.

    Built from plain tuples, so that no interpreter version adds its caret lines.
    """
    frames = [(f.filename, f.lineno, f.name, f.line) for f in traceback.extract_tb(trace)]
    for index, frame in enumerate(frames):
        if not _is_own(frame[0]):
            return traceback.format_list(frames[index:])
    return traceback.format_list(frames)


def _is_own(filename):
    return filename == _BOOTSTRAP or filename.startswith(_OWN_DIRECTORY)


def error_text(body):
    """The `[ERROR]` record of an error body, as one event.

    Inner lines end in a carriage return, and their indentation is made of no-break spaces, which
    log viewers do not fold away.
    """
    lines = ["[ERROR] %s: %s" % (body["errorType"], body["errorMessage"])]
    if not body["errorMessage"]:
        lines = ["[ERROR] %s" % body["errorType"]]
    lines.append("Traceback (most recent call last):")
    for element in body["stackTrace"]:
        for line in element.splitlines():
            text = line.lstrip(" ")
            lines.append(NO_BREAK_SPACE * (len(line) - len(text)) + text)
    return "\r".join(lines).replace("\n", "\r") + "\n"
