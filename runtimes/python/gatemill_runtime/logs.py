"""What the function prints and logs, in AWS's text and JSON formats.

Standard output and error are one pipe, written line by line: a line costs one write, and what a
function printed before it died is there. A record of several lines stays one event because its
inner line ends are carriage returns.
"""

import json
import logging
import os
import sys
import time
import traceback

from . import faults

TEXT_FORMAT = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s"
DATE_FORMAT = "%Y-%m-%dT%H:%M:%S"

# What every log record has by itself; all else was put there by the customer's `extra`.
_RECORD_FIELDS = frozenset(
    ("name msg args levelname levelno pathname filename module exc_info exc_text stack_info lineno"
     " funcName created msecs relativeCreated thread threadName processName process taskName"
     " message asctime aws_request_id tenant_id").split()
)


class Current:
    """The invocation that is running; records are stamped with it."""

    request_id = ""
    tenant_id = None


def is_json():
    """Whether the function's log format is JSON."""
    return os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"


def timestamp(seconds):
    """`2026-01-31T12:00:00.123Z` for seconds since 1970."""
    whole = int(seconds)
    milliseconds = int((seconds - whole) * 1000)
    return "%s.%03dZ" % (time.strftime(DATE_FORMAT, time.gmtime(whole)), milliseconds)


class Sink:
    """Where records go: standard output, at the moment of writing."""

    @staticmethod
    def log(message):
        """Writes `message` as it is."""
        sys.stdout.write(message)


class LambdaLoggerHandler(logging.Handler):
    """The root logger's handler."""

    def __init__(self):
        super().__init__()
        self.log_sink = Sink

    def emit(self, record):
        try:
            self.log_sink.log(self.format(record).replace("\n", "\r") + "\n")
        except Exception:
            self.handleError(record)


def _stamp(record):
    record.aws_request_id = Current.request_id
    record.tenant_id = Current.tenant_id
    return True


class JsonFormatter(logging.Formatter):
    """One JSON object a record: AWS's fields first, then the customer's `extra` ones."""

    def format(self, record):
        level = min(50, max(0, record.levelno)) // 10 * 10
        fields = {
            "timestamp": timestamp(record.created),
            "level": logging.getLevelName(level),
            "message": record.getMessage(),
            "logger": record.name,
        }
        if record.exc_info and record.exc_info[0] is not None:
            error_class, value, trace = record.exc_info
            fields["stackTrace"] = traceback.format_tb(trace)
            fields["errorType"] = error_class.__name__
            fields["errorMessage"] = str(value)
        fields["requestId"] = record.aws_request_id
        if record.exc_info:
            fields["location"] = "%s:%s:%s" % (record.pathname, record.funcName, record.lineno)
        if record.tenant_id is not None:
            fields["tenantId"] = record.tenant_id
        for name, value in record.__dict__.items():
            if name not in _RECORD_FIELDS and name not in fields and value is not None:
                fields[name] = value
        return json.dumps(fields, ensure_ascii=False, default=str)


def set_up():
    """Makes the streams write line by line in UTF-8 and gives the root logger its handler."""
    configure_streams()
    logging.Formatter.converter = time.gmtime
    root = logging.getLogger()
    root.addHandler(new_handler())
    level = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "").upper()
    level = {"TRACE": "DEBUG", "FATAL": "CRITICAL", "WARN": "WARNING"}.get(level, level)
    if level in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
        root.setLevel(level)


def configure_streams():
    """What is printed leaves line by line, whatever characters it has."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)


def new_handler():
    """A handler as the root logger gets it."""
    handler = LambdaLoggerHandler()
    text = logging.Formatter(TEXT_FORMAT, DATE_FORMAT)
    handler.setFormatter(JsonFormatter() if is_json() else text)
    handler.addFilter(_stamp)
    return handler


def error(body):
    """Logs an error body the way AWS reports a failed invocation or init."""
    if is_json():
        record = {"timestamp": timestamp(time.time()), "level": "ERROR"}
        record.update(body)
        sys.stdout.write(json.dumps(record, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write(faults.error_text(body))


def flush():
    """Puts all that was printed into the pipe, if the streams are still there."""
    out, err = sys.stdout, sys.stderr
    try:
        out.flush()
        err.flush()
        if out is sys.__stdout__ and err is sys.__stderr__:
            return
    except Exception:
        pass
    for stream in (sys.__stdout__, sys.__stderr__, out, err):
        try:
            stream.flush()
        except Exception:
            pass
