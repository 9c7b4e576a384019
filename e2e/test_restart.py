"""A restart by SIGHUP: the process stays, the server is a new one, and no call fails meanwhile."""

import http.client
import json
import signal
import threading

import pytest

from packages import package_of
from server import READY_LINE, Server

CALLERS = 4


class Caller(threading.Thread):
    """Calls a function without a pause and without a retry, on one connection as long as the server keeps it."""

    def __init__(self, server, name, enough):
        super().__init__()
        self.server, self.path, self.enough = server, f"/2015-03-31/functions/{name}/invocations", enough
        self.answers, self.failures = [], []

    def run(self):
        connection = None
        while not self.enough.is_set():
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
                connection.request("POST", self.path, "{}", HEADERS)
                response = connection.getresponse()
                body = response.read()
                self.answers.append((response.status, body))
                if response.will_close:
                    connection = None
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                return


HEADERS = {
    "X-Amz-Date": "20260101T000000Z",
    "Authorization": "AWS4-HMAC-SHA256 Credential=000000000000/20260101/us-east-1/lambda/aws4_request, "
                     "SignedHeaders=host, Signature=00",
}


@pytest.fixture
def server():
    server = Server().start()
    yield server
    server.stop()


def test_no_call_fails_during_a_restart(server):
    functions = server.client("lambda")
    functions.create_function(
        FunctionName="f", Runtime="python3.12", Role="arn:aws:iam::000000000000:role/r", Handler="app.handler",
        Code={"ZipFile": package_of({"app.py": "import os\ndef handler(event, context):\n    return os.environ['AWS_LAMBDA_LOG_STREAM_NAME']\n"})},
    )
    functions.get_waiter("function_active_v2").wait(FunctionName="f")
    enough = threading.Event()
    callers = [Caller(server, "f", enough) for _ in range(CALLERS)]
    for caller in callers:
        caller.start()
    try:
        for _ in range(2):
            before = [len(caller.answers) for caller in callers]
            server.process.send_signal(signal.SIGHUP)
            line = server.process.stdout.readline()
            while READY_LINE not in line:
                assert line, server.log()
                line = server.process.stdout.readline()
            assert line.split(READY_LINE)[1].split()[0] == server.url, "the address stays"
            # Each caller is served by the successor, too.
            done = threading.Event()
            for _ in range(600):
                if all(len(caller.answers) > count + 2 for caller, count in zip(callers, before)) or not all(
                    caller.is_alive() for caller in callers
                ):
                    break
                done.wait(0.05)
    finally:
        enough.set()
        for caller in callers:
            caller.join(60)
    for caller in callers:
        assert not caller.failures, server.log()
        assert all(status == 200 for status, _ in caller.answers), [a for a in caller.answers if a[0] != 200][:3]
    streams = {json.loads(body) for caller in callers for _, body in caller.answers}
    assert len(streams) >= 3, "three servers had environments of their own"
