"""Environments that are initialised before the call that needs them."""

import base64
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from packages import create, package_of
from server import Server

CODE = '''
import os, time, uuid
ME, SLEEP = uuid.uuid4().hex, float(os.environ.get("INIT", "0"))
time.sleep(SLEEP)
SINCE = time.time()

def handler(event, context):
    time.sleep(event.get("sleep", 0))
    return {"me": ME, "since": SINCE, "stream": context.log_stream_name}
'''
SMALL = package_of({"app.py": CODE})
# What does not compress is as large in the zip.
LARGE = package_of({"app.py": CODE, "library.bin": os.urandom(100_000)})


@pytest.fixture
def server():
    server = Server(arguments=["--initialised-ahead", "1"]).start()
    yield server
    assert server.stop() == 0, server.log()


def environments(server):
    return server.health()["functions"]["environments"]


def eventually(holds):
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)


def call(functions, name, sleep=0.0):
    answer = functions.invoke(FunctionName=name, Payload=json.dumps({"sleep": sleep}).encode(), LogType="Tail")
    assert "FunctionError" not in answer
    return json.loads(answer["Payload"].read()), base64.b64decode(answer["LogResult"]).decode()


def messages(logs, name, stream):
    try:
        events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}", logStreamNames=[stream])["events"]
    except logs.exceptions.ResourceNotFoundException:
        # Nothing was written yet.
        return []
    return [(event["message"], event["timestamp"]) for event in events]


def test_a_function_with_a_large_package_has_one_from_the_begin(server, python, name):
    functions, logs = server.client("lambda"), server.client("logs")
    create(functions, name, LARGE, python)
    eventually(lambda: environments(server)["idle"] == 1)
    begun = time.time()
    first, tail = call(functions, name)
    assert first["since"] < begun
    # It is shown once, as where initialisation is part of the first call.
    assert "Init Duration: " in tail
    second, tail = call(functions, name)
    assert second == first and "Init Duration: " not in tail
    # Where it took long to make, another one follows, with a stream of its own.
    eventually(lambda: len(messages(logs, name, first["stream"])) == 7)
    (opening, at), *rest = messages(logs, name, first["stream"])
    assert opening.startswith("INIT_START Runtime Version: ") and at < begun * 1000
    assert [message.split(" ")[0] for message, _ in rest] == ["START", "END", "REPORT"] * 2


def test_a_function_that_is_long_to_initialise_keeps_one_while_it_is_in_use(server, python, name):
    functions = server.client("lambda")
    create(functions, name, SMALL, python, Environment={"Variables": {"INIT": "0.2"}})
    assert environments(server)["idle"] == 0
    first, _ = call(functions, name)
    eventually(lambda: environments(server)["idle"] == 2)
    # The one that has served is taken first, so that the spare stays one.
    assert call(functions, name)[0] == first
    begun = time.time()
    with ThreadPoolExecutor(2) as callers:
        both = [of[0] for of in callers.map(lambda _: call(functions, name, 0.5), range(2))]
    assert len({one["me"] for one in both}) == 2
    assert all(one["since"] < begun for one in both)
    eventually(lambda: environments(server)["idle"] == 3)


def test_none_beyond_the_functions_concurrency(server, python, name):
    functions = server.client("lambda")
    create(functions, name, SMALL, python, Environment={"Variables": {"INIT": "0.2"}})
    functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    call(functions, name)
    # Another function's spare is begun later, so this one's would be there before.
    other = f"{name}-other"
    create(functions, other, SMALL, python, Environment={"Variables": {"INIT": "0.2"}})
    call(functions, other)
    eventually(lambda: environments(server)["idle"] == 3)
    assert environments(server) == {**environments(server), "idle": 3, "initialising": 0, "busy": 0}


def test_none_where_the_operator_asks_for_none(python, name):
    server = Server().start()
    try:
        functions = server.client("lambda")
        create(functions, name, LARGE, python, Environment={"Variables": {"INIT": "0.2"}})
        begun = time.time()
        assert call(functions, name)[0]["since"] > begun
        assert environments(server) == {**environments(server), "idle": 1, "initialising": 0}
    finally:
        assert server.stop() == 0, server.log()
