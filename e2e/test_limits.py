"""Limits that hold: the time of a call, its temporary files, and what passes through from its caller."""

import base64
import concurrent.futures
import json
import re

import pytest

from packages import create, package

CODE = package(app__py='''
import json, os, time

def sleep(event, context):
    time.sleep(event["seconds"])

def left(event, context):
    begin = context.get_remaining_time_in_millis()
    time.sleep(0.25)
    return [begin, context.get_remaining_time_in_millis()]

def fill(event, context):
    written = 0
    try:
        with open("/tmp/all", "wb", buffering=0) as file:
            while written < 700:
                written += file.write(b"x" * (1 << 20)) >> 20
        return [written, None]
    except OSError as error:
        return [written, error.errno]
    finally:
        os.remove("/tmp/all")

COUNT = 0
KEPT = "/tmp/cache/kept"

def keep(event, context):
    """What was in /tmp, and which call of this process it is; then ends as it is told."""
    global COUNT
    COUNT += 1
    found = open(KEPT).read() if os.path.exists(KEPT) else None
    if "write" in event:
        os.makedirs("/tmp/cache", mode=0o700, exist_ok=True)
        with open(KEPT, "w") as file:
            file.write(event["write"])
    if event.get("end") == "exit":
        os._exit(3)
    if event.get("end") == "sleep":
        time.sleep(60)
    if event.get("end") == "eat":
        held = []
        while True:
            held.append(bytearray(b"x" * (1 << 20)))
    return [COUNT, found]

def trace(event, context):
    return os.environ.get("_X_AMZN_TRACE_ID")
''')
ROOT = "1-67891233-abcdef012345678912345678"


def invoke(functions, name, event, **more):
    answer = functions.invoke(FunctionName=name, Payload=json.dumps(event).encode(), **more)
    return json.loads(answer["Payload"].read()), answer


def test_the_timeout_is_kept_to_the_millisecond(functions, python, name):
    create(functions, name, CODE, python, handler="app.sleep", Timeout=1)
    invoke(functions, name, {"seconds": 0})
    error, answer = invoke(functions, name, {"seconds": 3}, LogType="Tail")
    assert error["errorType"] == "Sandbox.Timedout"
    report = base64.b64decode(answer["LogResult"]).decode()
    duration, billed = re.search(r"Duration: (\d+\.\d\d) ms\tBilled Duration: (\d+) ms", report).groups()
    # Never early; late only by what a busy machine takes to wake the server up.
    assert 1000 <= float(duration) < 1250 and int(billed) >= 1000, report
    assert "Status: timeout" in report


def test_the_time_that_is_left_runs_down(functions, python, name):
    create(functions, name, CODE, python, handler="app.left", Timeout=7)
    (begin, end), _ = invoke(functions, name, {})
    assert 6000 < begin <= 7000 and 250 <= begin - end < 2000


def test_temporary_files_have_the_size_that_was_asked_for(functions, python, name, server):
    if not server.health()["enforced"]["tmpSize"]:
        pytest.skip("this machine enforces no size of /tmp, and the server says so")
    create(functions, name, CODE, python, handler="app.fill", MemorySize=1024, EphemeralStorage={"Size": 512}, Timeout=60)
    (written, errno), _ = invoke(functions, name, {})
    assert errno == 28 and 480 <= written <= 512, (written, errno)


@pytest.fixture
def keeping(functions, server, python, name):
    """A function that writes and reads `/tmp`; needs a server that can keep it."""
    if not server.health()["enforced"]["ownUid"]:
        pytest.skip("a server that is not root keeps no /tmp, as its documentation says")
    create(functions, name, CODE, python, handler="app.keep", Timeout=2)
    return name


@pytest.mark.parametrize("end", ["exit", "sleep", "eat"])
def test_temporary_files_outlive_a_process_that_came_to_a_bad_end(functions, keeping, end):
    assert invoke(functions, keeping, {"write": "first"})[0] == [1, None]
    for _ in range(2):
        assert invoke(functions, keeping, {"end": end})[1]["FunctionError"] == "Unhandled"
        # Its own process, in the files of the one before.
        assert invoke(functions, keeping, {})[0] == [1, "first"]
        assert invoke(functions, keeping, {})[0] == [2, "first"]


def test_temporary_files_stay_within_one_configuration(functions, keeping):
    invoke(functions, keeping, {"write": "first", "end": "exit"})
    functions.update_function_configuration(FunctionName=keeping, Environment={"Variables": {"NEW": "1"}})
    functions.get_waiter("function_updated_v2").wait(FunctionName=keeping, WaiterConfig={"Delay": 1})
    assert invoke(functions, keeping, {})[0] == [1, None]


def test_temporary_files_of_one_environment_are_no_others(functions, keeping):
    """Two that run at one time have one each, also after both have crashed."""
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        ends = [threads.submit(invoke, functions, keeping, {"write": text, "end": "sleep"}) for text in "ab"]
        assert all(end.result()[1]["FunctionError"] == "Unhandled" for end in ends)
        again = [threads.submit(invoke, functions, keeping, {"end": "sleep"}) for _ in range(2)]
        [end.result() for end in again]
    found = {invoke(functions, keeping, {"end": "exit"})[0]["errorType"] for _ in range(2)}
    assert found == {"Runtime.ExitError"}
    assert invoke(functions, keeping, {})[0][1] in ("a", "b")


def test_a_trace_of_the_caller_reaches_the_function(functions, server, python, name):
    create(functions, name, CODE, python, handler="app.trace")

    def ask(header):
        client = server.client("lambda")
        client.meta.events.register("before-call", lambda params, **_: params["headers"].update({"X-Amzn-Trace-Id": header}))
        return invoke(client, name, {})[0]

    given = f"Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=1"
    assert ask(given) == given
    for nonsense in ("Root=1-2-3", "x", f"Parent=53995c3f42cd8ad8;Root={ROOT}x"):
        own = ask(nonsense)
        assert re.fullmatch(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0", own) and ROOT not in own
