"""A real server for a test: the binary, a free port, a data directory of its own.

Nothing here waits by the clock: the server says on its first line where it is ready.
"""

import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import urllib.request

import boto3
from botocore.config import Config

import response_validation

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
BINARY = pathlib.Path(os.environ.get("GATEMILL_BINARY", REPOSITORY / "target/debug/gatemill"))
READY_LINE = "Gatemill is ready at "


def runtime_directories():
    """Where interpreters are that no search finds by itself: the .NET of the tests' own Python packages."""
    found = importlib.util.find_spec("dotnetcore2")
    if found is None:
        return []
    directory = pathlib.Path(found.submodule_search_locations[0]) / "bin"
    (directory / "dotnet").chmod(0o755)
    return [directory]


RUNTIME_DIRECTORIES = [word for place in runtime_directories() for word in ("--runtime-dir", str(place))]


class Server:
    """One server process over one data directory; it can be killed and started again."""

    def __init__(self, directory=None, command="dev", arguments=()):
        self.directory = pathlib.Path(directory or tempfile.mkdtemp(prefix="gatemill-e2e-"))
        self.command = command
        self.arguments = list(arguments)
        self.process = None
        self.url = None
        self.port = 0
        self.printed = []

    def start(self, after=READY_LINE, log=None):
        """Starts and reads what it prints up to the line that has `after` in it."""
        log = log or open(self.directory / "server.log", "ab")
        line = [str(BINARY), self.command, "--data-dir", str(self.directory / "data")]
        line += ["--listen", f"127.0.0.1:{self.port}", *RUNTIME_DIRECTORIES, *self.arguments]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        self.process = subprocess.Popen(
            line, stdout=subprocess.PIPE, stderr=log, text=True, env=environment,
            # SIGXFSZ stays ignored, as in Python: a file that may not grow is an error then, not the end.
            restore_signals=False,
        )
        for printed in self.process.stdout:
            self.printed.append(printed.rstrip("\n"))
            if READY_LINE in printed:
                self.url = printed.split(READY_LINE)[1].split()[0]
                # A restart keeps the port, so that a URL handed out before still works.
                self.port = int(self.url.rsplit(":", 1)[1])
            if after in printed:
                return self
        raise AssertionError(f"the server did not start:\n{self.log()}")

    def log(self):
        return (self.directory / "server.log").read_text(errors="replace")

    def kill(self):
        """kill -9, as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)
        self.process.stdout.close()

    def stop(self):
        """A clean stop; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self.process.stdout.close()
        return code

    def client(self, service, key="test", secret="test", **more):
        config = Config(
            retries={"max_attempts": 0},
            read_timeout=120,
            max_pool_connections=128,
            parameter_validation=more.pop("parameter_validation", True),
            **more.pop("config", {}),
        )
        client = boto3.client(
            service,
            endpoint_url=self.url + more.pop("path", ""),
            region_name=more.pop("region", "us-east-1"),
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=config,
            **more,
        )
        return response_validation.watch(client)

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return answer.status, answer.read()

    def health(self):
        return json.loads(self.get("/_gatemill/health")[1])

    def reset(self):
        request = urllib.request.Request(self.url + "/_gatemill/reset", method="POST")
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status in (200, 204)


def runtimes():
    """The runtime identifiers that this host has, by `gatemill runtime list`."""
    listed = subprocess.run(
        [str(BINARY), "runtime", "list", "--format", "json", "--data-dir", tempfile.mkdtemp(prefix="gatemill-e2e-"),
         *RUNTIME_DIRECTORIES],
        capture_output=True, text=True, check=True,
    )
    return [runtime["name"] for runtime in json.loads(listed.stdout)]


def operations():
    """The table of operations, by `gatemill operations`."""
    listed = subprocess.run(
        [str(BINARY), "operations", "--format", "json"], capture_output=True, text=True, check=True
    )
    return json.loads(listed.stdout)
