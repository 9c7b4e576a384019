"""What breaks while it runs: environments and sandboxd killed, the disk full, very many functions, minutes of load.

What is asked after each is the same: calls that were in flight end, with an answer or with AWS's error; the next calls
succeed; nothing is left over.
"""

import base64
import gc
import http.client
import json
import os
import pathlib
import random
import signal
import subprocess
import threading
import time
from collections import Counter

import pytest

from packages import create, package
from processes import children, inside, sandboxd, snapshots, templates
from server import Server

ECHO = package(app__py="import time\n\ndef handler(event, context):\n    time.sleep(event.get('sleep', 0))\n    return event\n")
# Minutes of load; CI has one.
SOAK_SECONDS = float(os.environ.get("GATEMILL_SOAK_SECONDS", "60"))


def eventually(what, holds, seconds=20):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(0.05)


def end(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


class Load:
    """Callers that call one function again and again, and count what comes back."""

    def __init__(self, server, name, callers=8):
        self.server, self.name, self.outcomes, self.over = server, name, Counter(), threading.Event()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.call) for _ in range(callers)]

    def call(self):
        connection, number = None, 0
        while not self.over.is_set():
            number += 1
            event = {"number": number, "text": "x" * random.randrange(1000)}
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
                connection.request("POST", f"/2015-03-31/functions/{self.name}/invocations", body=json.dumps(event), headers={
                    "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=00",
                    "X-Amz-Date": "20260101T000000Z"})
                answer = connection.getresponse()
                body = json.loads(answer.read())
                failed = answer.headers.get("X-Amz-Function-Error")
            except OSError as error:
                outcome, connection = f"broken: {error!r}", None
            else:
                if answer.status == 200 and failed is None:
                    outcome = "right" if body == event else f"wrong: {body}"
                elif answer.status == 200:
                    outcome = f"function error: {body.get('errorType')}"
                else:
                    outcome = f"{answer.status}: {answer.headers.get('x-amzn-errortype')}"
            with self.lock:
                self.outcomes[outcome] += 1
        if connection:
            connection.close()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join(90)

    def count(self, outcome="right"):
        with self.lock:
            return self.outcomes[outcome]

    def others(self):
        return {outcome for outcome in self.outcomes if outcome != "right"}


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="the processes of sandboxes are another user's to kill")


@needs_root
def test_environments_killed_at_random(server, functions, python, name):
    create(functions, name, ECHO, python)
    kills = 0
    with Load(server, name) as load:
        eventually("calls are answered", lambda: load.count() > 50)
        for _ in range(30):
            victims = inside(server)
            if victims:
                victim = random.choice(victims)
                try:
                    os.kill(victim, signal.SIGKILL)
                    kills += 1
                except ProcessLookupError:
                    pass
            before = load.count()
            eventually("calls go on", lambda: load.count() > before + 5)
    assert kills >= 15
    # A process that is killed in a call is that call's error, as with AWS; of nothing else a caller hears.
    allowed = {"function error: Runtime.ExitError", "function error: Runtime.Unknown"}
    assert load.others() <= allowed, load.outcomes
    assert functions.invoke(FunctionName=name, Payload=b"{}")["Payload"].read() == b"{}"


@needs_root
def test_templates_killed(server, functions, python, name):
    """What environments are forked from before calls is nobody's call: no caller hears of its end."""
    create(functions, name, ECHO, python)
    with Load(server, name) as load:
        for _ in range(8):
            eventually("there is a template", lambda: templates(server))
            end(templates(server))
            before = load.count()
            # Another code, so that its first call finds no environment of its own.
            functions.update_function_code(FunctionName=name, ZipFile=ECHO)
            eventually("calls go on", lambda: load.count() > before + 20)
    assert load.others() == set(), load.outcomes


@needs_root
def test_snapshots_killed(server, functions, name):
    for number in range(3):
        one = f"{name}-{number}"
        create(functions, one, ECHO, "python3.12", SnapStart={"ApplyOn": "PublishedVersions"})
        functions.publish_version(FunctionName=one)
        functions.get_waiter("published_version_active").wait(
            FunctionName=one, Qualifier="1", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )
        with Load(server, f"{one}:1") as load:
            eventually("calls are answered", lambda: load.count() > 20)
            end(snapshots(server))
            before = load.count()
            eventually("calls go on", lambda: load.count() > before + 50)
        # The forks end with it, those in the middle of a call as well.
        allowed = {"function error: Runtime.ExitError", "function error: Runtime.Unknown"}
        assert load.others() <= allowed, load.outcomes


@needs_root
def test_sandboxd_killed(server, functions, python, name):
    create(functions, name, ECHO, python)
    with Load(server, name, callers=4) as load:
        for _ in range(3):
            before = load.count()
            eventually("calls are answered", lambda: load.count() > before + 20)
            killed = sandboxd(server)
            victims = [killed, *children(killed)]
            os.kill(killed, signal.SIGKILL)
            eventually("another sandboxd is there", lambda: sandboxd(server) not in (None, killed))
            eventually("nothing lives on", lambda: not any(pathlib.Path(f"/proc/{pid}").exists() for pid in victims))
            assert not [*pathlib.Path("/sys/fs/cgroup").glob(f"**/gatemill.{killed}")]
        before = load.count()
        eventually("calls are answered again", lambda: load.count() > before + 20)
    assert not any(outcome.startswith(("wrong", "broken")) for outcome in load.outcomes), load.outcomes
    # In the moment of the death: the function's process is gone, or none can be started.
    allowed = ("function error: Runtime.ExitError", "function error: Runtime.Unknown", "500: ", "502: ", "503: ")
    assert all(outcome.startswith(allowed) for outcome in load.others()), load.outcomes
    assert server.health()["status"] == "ready"
    assert functions.invoke(FunctionName=name, Payload=b"{}")["Payload"].read() == b"{}"


@needs_root
def test_disk_full(tmp_path, python):
    """Writes are refused, what was acknowledged stays, calls of known functions go on, and room heals all."""
    disk = tmp_path / "data"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(disk)], check=True)
    server = Server(tmp_path)
    try:
        server.start()
        functions = server.client("lambda")
        create(functions, "before", ECHO, python)
        assert functions.invoke(FunctionName="before", Payload=b"{}")["Payload"].read() == b"{}"
        filler = disk / "filler"
        with open(filler, "wb", buffering=0) as file, pytest.raises(OSError):
            while True:
                file.write(b"\0" * 65536)
        bulky = package(app__py="def handler(event, context):\n    return 1\n", noise__txt=base64.b64encode(os.urandom(3_000_000)).decode())
        with pytest.raises(functions.exceptions.ClientError) as refused:
            create(functions, "during", bulky, python, wait=False)
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] >= 500
        assert functions.invoke(FunctionName="before", Payload=b"{}")["Payload"].read() == b"{}"
        filler.unlink()
        server.kill()
        server.start()
        functions = server.client("lambda")
        assert [f["FunctionName"] for f in functions.list_functions()["Functions"]] == ["before"]
        create(functions, "after", ECHO, python)
        for known in ("before", "after"):
            assert functions.invoke(FunctionName=known, Payload=b"{}")["Payload"].read() == b"{}"
        assert server.stop() == 0, server.log()
    finally:
        if server.process and server.process.poll() is None:
            server.kill()
        subprocess.run(["umount", "-l", str(disk)], check=False)


def test_a_thousand_functions(python):
    count = int(os.environ.get("GATEMILL_FUNCTIONS", "1000"))
    server = Server(arguments=["--idle-memory-mb", "512", "--idle-seconds", "20"]).start()
    names = [f"f{n:04}" for n in range(count)]
    todo, wrong, lock = iter(names), [], threading.Lock()

    def work():
        functions = server.client("lambda")
        while True:
            with lock:
                name = next(todo, None)
            if name is None:
                return
            code = package(app__py=f"def handler(event, context):\n    return '{name}'\n")
            create(functions, name, code, python, wait=False)
            answer = functions.invoke(FunctionName=name, Payload=b"{}")["Payload"].read()
            if answer != json.dumps(name).encode():
                wrong.append((name, answer))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(400)
    assert not wrong, wrong[:5]
    functions = server.client("lambda")
    listed = sum(len(page["Functions"]) for page in functions.get_paginator("list_functions").paginate())
    assert listed == count
    assert server.stop() == 0, server.log()


def belongings(server):
    """Open files and memory of the server and of sandboxd, and what is in sandboxes."""
    def descriptors(pid):
        return len(os.listdir(f"/proc/{pid}/fd"))

    def resident_kb(pid):
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    daemon = sandboxd(server)
    return {
        "files": descriptors(server.process.pid), "daemon_files": descriptors(daemon),
        "memory": resident_kb(server.process.pid), "daemon_memory": resident_kb(daemon),
        "cgroups": len([*pathlib.Path("/sys/fs/cgroup").glob(f"**/gatemill.{daemon}/*/")]),
    }


@needs_root
def test_soak(python, name):
    """After a time of calls, errors, new code and new functions, everything is as at the start."""
    server = Server(arguments=["--idle-seconds", "2"]).start()
    functions = server.client("lambda")
    create(functions, name, ECHO, python)
    failing = f"{name}-exits"
    create(functions, failing, package(app__py="import os\n\ndef handler(event, context):\n    os._exit(1)\n"), python)

    def turn(seconds):
        end = time.monotonic() + seconds
        with Load(server, name, callers=4) as load:
            round_ = 0
            while time.monotonic() < end:
                round_ += 1
                functions.invoke(FunctionName=failing, Payload=b"{}")
                other = f"{name}-{round_}"
                create(functions, other, ECHO, python, wait=False)
                functions.invoke(FunctionName=other, Payload=b"{}")
                functions.update_function_code(FunctionName=other, ZipFile=ECHO)
                functions.delete_function(FunctionName=other)
                time.sleep(0.2)
        return load

    def idle():
        state = server.health()["functions"]["environments"]
        return not any(state[key] for key in ("initialising", "idle", "busy"))

    # What is made once is made now, and the allocator has taken what such a load needs; the same load must need no more.
    turn(SOAK_SECONDS / 2)
    eventually("environments end", idle, 60)
    time.sleep(5)
    gc.collect()
    before = belongings(server)
    load = turn(SOAK_SECONDS / 2)
    assert load.count() > 100 and not load.others(), load.outcomes
    eventually("environments end", idle, 60)
    last = None

    def back():
        # Parked environments come and go; each has some files.
        nonlocal last
        last = belongings(server)
        return (last["files"] <= before["files"] + 32 and last["daemon_files"] <= before["daemon_files"] + 16
                and last["cgroups"] <= before["cgroups"] + 8)

    eventually("everything is given back", lambda: back() or print(before, last), 60)
    assert last["memory"] <= before["memory"] * 1.5 + 32_000, (before, last)
    assert last["daemon_memory"] <= before["daemon_memory"] * 1.5 + 4_000, (before, last)
    assert server.stop() == 0, server.log()
