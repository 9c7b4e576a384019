"""SnapStart: published versions that start from their initialised process."""

import base64
import concurrent.futures
import json
import os
import re
import signal
import time

import pytest
from botocore.exceptions import ClientError

from packages import create, package
from processes import sandboxd, snapshots
from server import Server
from waiting import until

RUNTIME = "python3.12"

CODE = '''
import os, random, socket, time, uuid
import snapshot_restore_py

made = str(uuid.uuid4())
generator = random.Random()
order = []
first, second = socket.socketpair()
with open("/tmp/left", "w") as file:
    file.write("from initialisation")

@snapshot_restore_py.register_before_snapshot
def before_one(): order.append("before one")

@snapshot_restore_py.register_before_snapshot
def before_two(): order.append("before two")

@snapshot_restore_py.register_after_restore
def after_one(): order.append("after one")

@snapshot_restore_py.register_after_restore
def after_two(): order.append("after two")

calls = 0

def handler(event, context):
    global calls
    calls += 1
    if event.get("fail"): raise ValueError("as asked")
    if event.get("exit"): os._exit(3)
    time.sleep(event.get("sleep", 0))
    try: first.send(b"x"); alive = True
    except OSError: alive = False
    left = os.path.exists("/tmp/mine")
    open("/tmp/mine", "w").close()
    return {
        "made": made, "random": generator.random(), "order": order, "connected": alive, "calls": calls,
        "left": open("/tmp/left").read(), "tmp_was_used": left, "type": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"],
        "stream": os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME"),
    }
'''




def published(functions, name, code=CODE):
    """Creates a function with SnapStart and publishes its first version."""
    create(functions, name, package(app__py=code), RUNTIME, SnapStart={"ApplyOn": "PublishedVersions"})
    answer = functions.publish_version(FunctionName=name)
    assert answer["SnapStart"]["ApplyOn"] == "PublishedVersions"
    waiter = functions.get_waiter("published_version_active")
    waiter.wait(FunctionName=name, Qualifier="1", WaiterConfig={"Delay": 1, "MaxAttempts": 60})


def call(functions, name, event=None, **more):
    answer = functions.invoke(
        FunctionName=name, Qualifier="1", Payload=json.dumps(event or {}), LogType="Tail", **more
    )
    log = base64.b64decode(answer["LogResult"]).decode()
    return json.loads(answer["Payload"].read()), log, answer


def at_once(functions, name, count):
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: call(functions, name, {"sleep": 0.5}), range(count)))


def test_environments_are_forks_of_one_initialised_process(functions, name):
    published(functions, name)
    configuration = functions.get_function_configuration(FunctionName=name, Qualifier="1")
    assert configuration["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "On"}
    latest = functions.get_function_configuration(FunctionName=name)
    assert latest["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"}
    answers = at_once(functions, name, 4)
    said = [answer for answer, _, _ in answers]
    assert len({answer["made"] for answer in said}) == 1, "initialised once"
    assert len({answer["random"] for answer in said}) == 4, "with random numbers of their own"
    for answer in said:
        assert answer["order"] == ["before two", "before one", "after one", "after two"]
        assert answer["left"] == "from initialisation"
        assert (answer["type"], answer["stream"]) == ("snap-start", None)
        assert not answer["connected"], "a connection of the snapshot is dead in its environments"
        assert (answer["calls"], answer["tmp_was_used"]) == (1, False), "each its own memory and /tmp"
    for _, log, _ in answers:
        assert re.search(r"\tRestore Duration: [\d.]+ ms\tBilled Restore Duration: \d+ ms\t", log), log
        assert "Init Duration" not in log
    warm, log, _ = call(functions, name)
    assert (warm["calls"], warm["tmp_was_used"]) == (2, True)
    assert "Restore Duration" not in log


def test_the_log_tells_of_the_snapshot_and_of_every_restore(functions, logs, name):
    published(functions, name)
    call(functions, name)
    deadline = time.monotonic() + 10
    lines = []
    while not any(line.startswith("REPORT") for line in lines):
        assert time.monotonic() < deadline, lines
        events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        lines = [event["message"] for event in events]
    assert len([line for line in lines if line.startswith("INIT_START Runtime Version: python:")]) == 1
    assert len([line for line in lines if re.match(r"INIT_REPORT Init Duration: [\d.]+ ms\tPhase: init\tStatus: success", line)]) == 1
    assert len([line for line in lines if line.startswith("RESTORE_START Runtime Version: python:")]) == 1
    assert len([line for line in lines if re.match(r"RESTORE_REPORT Restore Duration: [\d.]+ ms", line)]) == 1


def test_failures_in_an_environment_stay_there(functions, name):
    published(functions, name)
    answer, _, raw = call(functions, name, {"fail": True})
    assert (raw["FunctionError"], answer["errorMessage"]) == ("Unhandled", "as asked")
    answer, log, raw = call(functions, name, {"exit": True})
    assert answer["errorMessage"].endswith("Error: Runtime exited with error: exit status 3")
    assert call(functions, name)[0]["calls"] == 1, "the snapshot makes another"


def test_a_version_that_cannot_initialise_does_not_become_active(functions, name):
    code = package(app__py="raise RuntimeError('not today')")
    create(functions, name, code, RUNTIME, SnapStart={"ApplyOn": "PublishedVersions"})
    functions.publish_version(FunctionName=name)
    with pytest.raises(Exception, match="Failed"):
        functions.get_waiter("published_version_active").wait(
            FunctionName=name, Qualifier="1", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )
    failed = functions.get_function_configuration(FunctionName=name, Qualifier="1")
    assert failed["State"] == "Failed"
    assert "RuntimeError" in failed["StateReason"]
    with pytest.raises(ClientError):
        functions.invoke(FunctionName=name, Qualifier="1")


def test_a_process_with_threads_is_not_forked(server, functions, name):
    code = """
import threading, time, uuid
made = str(uuid.uuid4())
threading.Thread(target=lambda: time.sleep(600), daemon=True).start()
def handler(event, context):
    time.sleep(event.get("sleep", 0))
    return made
"""
    published(functions, name, code)
    answers = at_once(functions, name, 2)
    assert len({answer for answer, _, _ in answers}) == 2, "each initialised for itself"
    assert "it has 2 threads" in server.log()


def test_a_version_outlives_its_snapshot(tmp_path, name):
    server = Server(tmp_path).start()
    functions = server.client("lambda")
    published(functions, name)
    first = call(functions, name)[0]["made"]
    server.kill()
    server.start()
    functions = server.client("lambda")
    second = call(functions, name)[0]["made"]
    assert second != first, "a process ends with its server"
    assert server.stop() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="without root nothing is forked")
def test_no_call_fails_when_the_snapshot_has_died(tmp_path, name):
    """Whether it is known already or, as here for all of the calls, not yet."""
    server = Server(tmp_path).start()
    functions = server.client("lambda")
    published(functions, name)
    daemon, (snapshot,), calls = sandboxd(server), snapshots(server), 6
    os.kill(daemon, signal.SIGSTOP)
    os.kill(snapshot, signal.SIGKILL)
    with concurrent.futures.ThreadPoolExecutor(calls) as pool:
        begun = [pool.submit(call, functions, name) for _ in range(calls)]
        until(lambda: server.health()["functions"]["callsInFlight"] == calls, "all calls are under way")
        os.kill(daemon, signal.SIGCONT)
        answers = [one.result() for one in begun]
    assert not any("FunctionError" in raw for _, _, raw in answers), answers
    until(lambda: snapshots(server), "another snapshot is made")
    assert server.stop() == 0


def test_credentials_come_by_the_endpoint(functions, name):
    code = """
import json, os, urllib.request
def handler(event, context):
    names = [n for n in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN") if n in os.environ]
    request = urllib.request.Request(os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"])
    request.add_header("Authorization", os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"])
    return names, sorted(json.load(urllib.request.urlopen(request, timeout=5)))
"""
    published(functions, name, code)
    names, document = call(functions, name)[0]
    assert names == []
    assert {"AccessKeyId", "SecretAccessKey", "Token", "Expiration"} <= set(document)
