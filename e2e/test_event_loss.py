"""No asynchronous event that was acknowledged is lost, and each is settled once, whatever is killed.

Threads send events; meanwhile the server is killed with -9 again and again, and processes of functions in between. At the
end the record has to say that as many events were settled as were accepted, and every acknowledged one has to have told
its end to the destination, which is written down in the transaction that settles it.

`EVENTS`, `KILLS` and `SEED` in the environment make it longer or repeat it.
"""

import http.client
import json
import os
import pathlib
import random
import signal
import threading
import time

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from packages import create, package
from server import Server
from sink import Sink

EVENTS = int(os.environ.get("EVENTS", "2000"))
KILLS = int(os.environ.get("KILLS", "3"))
SEED = int(os.environ.get("SEED", random.randrange(1 << 32)))
THREADS = 4
CODE = package(app__py="def handler(event, context):\n    return event\n")
FUNCTIONS = ["loss-a", "loss-b", "loss-c"]


def test_kill_9_loses_no_event_and_settles_none_twice(python, tmp_path):
    print("seed", SEED)
    chance = random.Random(SEED)
    sink = Sink()
    configuration = tmp_path / "gatemill.toml"
    configuration.write_text(
        f'[services.sqs]\nendpoint = "{sink.url}"\naccess-key-id = "a"\nsecret-access-key = "s"\n'
    )
    server = Server(arguments=["--config", str(configuration), "--event-waits", "0,0"]).start()
    prepare(server, python)
    acknowledged, left = [], Left(EVENTS)
    stop = threading.Event()
    threads = [threading.Thread(target=send, args=(server, acknowledged, left, stop)) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    marks = sorted(chance.randrange(EVENTS // 10, EVENTS) for _ in range(KILLS))
    for mark in marks:
        wait(lambda: len(acknowledged) >= mark, "events are acknowledged")
        for _ in range(chance.randrange(3)):
            kill_a_process(server, chance)
        server.kill()
        server.start()
    for thread in threads:
        thread.join(600)
    events = settled(server)
    ever = events["ever"]
    print(len(acknowledged), ever, sink.conditions, "told twice", sum(count > 1 for count in sink.records.values()))
    assert len(acknowledged) == EVENTS == len(set(acknowledged))
    # An event whose acknowledgement the kill cut off may be there as well; each of those was one request in flight.
    assert EVENTS <= ever["accepted"] <= EVENTS + KILLS * THREADS
    assert ever["succeeded"] + ever["failed"] == ever["accepted"] and ever["dropped"] == 0
    lost = set(acknowledged) - set(sink.records)
    assert not lost, f"{len(lost)} acknowledged events never told their end"
    assert len(sink.records) == ever["accepted"]
    stop.set()
    assert server.stop() == 0
    sink.close()


class Left:
    """How many events are still to be sent, for several threads."""

    def __init__(self, count):
        self.count, self.lock = count, threading.Lock()

    def take(self):
        """A number, or `None` when there is nothing left; what is given back later is there for whoever gave it."""
        with self.lock:
            if self.count == 0:
                return None
            self.count -= 1
            return self.count

    def give_back(self):
        with self.lock:
            self.count += 1


def prepare(server, python):
    functions = server.client("lambda")
    for name in FUNCTIONS:
        create(functions, name, CODE, python)
        queue = {"Destination": "arn:aws:sqs:us-east-1:000000000000:ends"}
        functions.put_function_event_invoke_config(FunctionName=name, DestinationConfig={"OnSuccess": queue, "OnFailure": queue})


def wait(check, what):
    deadline = time.monotonic() + 600
    while not check():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.01)


def settled(server):
    """Waits until no event and no delivery is left."""
    last = {}

    def is_over():
        last.update(server.health()["functions"]["events"])
        ever = last["ever"]
        return ever["accepted"] == ever["succeeded"] + ever["failed"] + ever["dropped"] and ever["deliveriesLeft"] == 0

    wait(is_over, f"the queue is empty: {last}")
    return last


def send(server, acknowledged, left, stop):
    """Sends events until enough are acknowledged. One that breaks off is sent again as another event."""
    connection = None
    while not stop.is_set():
        n = left.take()
        if n is None:
            return
        try:
            name = FUNCTIONS[n % len(FUNCTIONS)]
            connection = connection or http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            path = f"/2015-03-31/functions/{name}/invocations"
            connection.request("POST", path, body=b'{"n":1}', headers=signed(server, path))
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 202, (answer.status, answer.headers)
            acknowledged.append(answer.headers["x-amzn-RequestId"])
        except (OSError, http.client.HTTPException):
            # The server is away; this event may be accepted all the same.
            left.give_back()
            connection = None
            time.sleep(0.02)


def signed(server, path, kept={}):
    """The headers of a signed call. One signature serves many calls: the body is the same."""
    key = (server.port, path)
    made, headers = kept.get(key, (0, None))
    if time.monotonic() - made > 60:
        request = AWSRequest(
            "POST", f"http://127.0.0.1:{server.port}{path}", data=b'{"n":1}', headers={"X-Amz-Invocation-Type": "Event"}
        )
        SigV4Auth(Credentials("test", "test"), "lambda", "us-east-1").add_auth(request)
        headers = dict(request.headers.items())
        kept[key] = (time.monotonic(), headers)
    return headers


def kill_a_process(server, chance):
    """Ends one process of a function, if there is one."""
    children = {}
    for directory in pathlib.Path("/proc").iterdir():
        try:
            parent = (directory / "stat").read_text().rsplit(")", 1)[1].split()[1]
            children.setdefault(int(parent), []).append(int(directory.name))
        except (OSError, ValueError, IndexError):
            continue
    below, found = list(children.get(server.process.pid, [])), []
    while below:
        pid = below.pop()
        more = children.get(pid, [])
        below += more
        if not more and pid not in children.get(server.process.pid, []):
            found.append(pid)
    if found:
        try:
            os.kill(chance.choice(found), signal.SIGKILL)
        except ProcessLookupError:
            pass
