"""External extensions: programs of layers that run beside the runtime, hear of every call and of the environment's end."""

import base64
import json
import time

import pytest

from packages import create, package, package_of

# An extension that says on its output what it heard, which gets into the function's log. What it does besides, the file
# beside it says.
EXTENSION = '''#!/usr/bin/python3 -u
import http.client, json, os, sys, threading
from http.server import BaseHTTPRequestHandler, HTTPServer

NAME = os.path.basename(sys.argv[0])
API = os.environ["AWS_LAMBDA_RUNTIME_API"]
HOW = json.load(open("/opt/how.json")).get(NAME, {})

def call(method, path, body=None, headers={}):
    api = http.client.HTTPConnection(API)
    api.request(method, path, body and json.dumps(body), headers)
    answer = api.getresponse()
    text = answer.read()
    return answer.status, json.loads(text or "null"), dict(answer.getheaders())

def say(what, **more):
    # In one write: other extensions write to the same log.
    os.write(1, (json.dumps({"extension": NAME, "said": what, **more}) + "\\n").encode())

heard = []
class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        heard.extend(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()
    def log_message(self, *arguments):
        pass

if HOW.get("dies") == "before":
    sys.exit(3)
status, registered, headers = call("POST", "/2020-01-01/extension/register", {"events": HOW.get("events", ["INVOKE", "SHUTDOWN"])},
                                   {"Lambda-Extension-Name": NAME, "Lambda-Extension-Accept-Feature": "accountId"})
assert status == 200, registered
ID = {"Lambda-Extension-Identifier": headers["Lambda-Extension-Identifier"]}
say("registered", registered=registered, cwd=os.getcwd(), argv=sys.argv[1:], uid=os.getuid(), env=dict(os.environ))
if "telemetry" in HOW:
    server = HTTPServer(("127.0.0.1", 4243), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    request = {"schemaVersion": "2022-12-13", "types": HOW["telemetry"], "buffering": {"timeoutMs": 25},
               "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:4243"}}
    assert call("PUT", "/2022-07-01/telemetry", request, ID)[:2] == (200, "OK")
if HOW.get("dies") == "init error":
    call("POST", "/2020-01-01/extension/init/error", {"errorMessage": "no", "errorType": "Extension.Own"},
         {**ID, "Lambda-Extension-Function-Error-Type": "Extension.Own"})
    sys.exit(1)
while True:
    _, event, _ = call("GET", "/2020-01-01/extension/event/next", None, ID)
    if event["eventType"] == "SHUTDOWN":
        say("shutdown", event=event, heard=heard)
        sys.exit(0)
    say("invoked", event=event)
    if HOW.get("dies") == "in a call":
        os.kill(os.getpid(), 9)
'''

APP = '''
import os, signal, sys, time
print("loading")
def terminated(*_):
    print("asked to end")
    sys.exit(0)
signal.signal(signal.SIGTERM, terminated)

def handler(event, context):
    if event == "exit":
        os._exit(5)
    if event == "hang":
        time.sleep(60)
    if event == "wait":
        time.sleep(5)
    return {"pid": os.getpid(), "colour": os.environ.get("COLOUR"), "siblings": len(os.listdir("/proc"))}
'''


def layer(functions, name, how, more=(), **files):
    programs = {f"extensions/{extension}": EXTENSION for extension in how}
    content = {"how.json": json.dumps(how), "extensions/notes.d/text": "no program", **programs, **dict(more)}
    published = functions.publish_layer_version(LayerName=name, Content={"ZipFile": package_of(content, 0o755)})
    return published["LayerVersionArn"]


def call(functions, name, event=None):
    answer = functions.invoke(FunctionName=name, Payload=json.dumps(event), LogType="Tail")
    return json.loads(answer["Payload"].read()), answer.get("FunctionError"), base64.b64decode(answer["LogResult"]).decode()


class Log:
    """A function's log, read until something is in it."""

    def __init__(self, logs, name):
        self.logs, self.group = logs, f"/aws/lambda/{name}"

    def lines(self):
        try:
            pages = self.logs.get_paginator("filter_log_events").paginate(logGroupName=self.group)
            return [event["message"].rstrip("\n") for page in pages for event in page["events"]]
        except self.logs.exceptions.ResourceNotFoundException:
            return []

    def said(self):
        """What extensions said."""
        return [json.loads(line) for line in self.lines() if line.startswith('{"extension"')]

    def wait(self, what, holds):
        deadline = time.time() + 30
        while not holds():
            assert time.time() < deadline, f"{what}: {self.lines()}"
            time.sleep(0.05)

    def wait_for(self, said, count=1):
        self.wait(said, lambda: sum(one["said"] == said for one in self.said()) >= count)
        return [one for one in self.said() if one["said"] == said]


def test_a_collector_hears_everything_in_order_until_the_end(functions, logs, name, python):
    how = {"collector": {"telemetry": ["platform", "function"]}, "quiet": {"events": []}, "watcher": {"events": ["SHUTDOWN"]}}
    created = create(functions, name, package(app__py=APP), python, Layers=[layer(functions, name, how)],
                     Environment={"Variables": {"COLOUR": "blue"}})
    first, error, tail = call(functions, name)
    assert error is None and first["colour"] == "blue", first
    call(functions, name)
    log = Log(logs, name)
    registered = log.wait_for("registered", 3)
    assert {one["extension"] for one in registered} == set(how)
    one = registered[0]
    assert one["registered"] == {
        "functionName": name, "functionVersion": "$LATEST", "handler": "app.handler", "accountId": "000000000000"}
    assert (one["cwd"], one["argv"], one["uid"]) == ("/", [], 993)
    env = one["env"]
    assert env["COLOUR"] == "blue" and env["AWS_LAMBDA_FUNCTION_NAME"] == name and "AWS_ACCESS_KEY_ID" in env
    missing = {"_HANDLER", "AWS_EXECUTION_ENV", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME",
               "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR"}
    assert not missing & env.keys()
    lines = log.lines()
    for extension, events in (("collector", "INVOKE, SHUTDOWN"), ("quiet", ""), ("watcher", "SHUTDOWN")):
        assert f"EXTENSION\tName: {extension}\tState: Ready\tEvents: [{events}]" in lines
    assert max(lines.index(line) for line in lines if '"registered"' in line) < lines.index("loading"), \
        "the runtime starts when all have registered"

    functions.delete_function(FunctionName=name)
    ends = log.wait_for("shutdown", 2)
    assert {one["extension"] for one in ends} == {"collector", "watcher"}
    collector = next(one for one in ends if one["extension"] == "collector")
    event = collector["event"]
    assert event["shutdownReason"] == "spindown" and abs(event["deadlineMs"] / 1000 - time.time()) < 60
    lines = log.lines()
    assert lines.index("asked to end") < min(lines.index(line) for line in lines if '"shutdown"' in line)
    heard = [event["type"] for event in collector["heard"] if event["type"] != "function"]
    begin, rest = heard[:-6], heard[-6:]
    assert begin == ["platform.initStart", "platform.telemetrySubscription", "platform.initRuntimeDone", "platform.extension",
                     "platform.extension", "platform.extension", "platform.initReport"]
    assert rest == ["platform.start", "platform.runtimeDone", "platform.report"] * 2
    assert [e["record"] for e in collector["heard"] if e["type"] == "function"] == ["loading", "asked to end"]
    invoked = [one["event"] for one in log.said() if one["said"] == "invoked"]
    assert [event["eventType"] for event in invoked] == ["INVOKE"] * 2
    assert invoked[0]["invokedFunctionArn"] == created["FunctionArn"]
    report = next(e["record"] for e in collector["heard"] if e["type"] == "platform.report")
    spans = {span["name"]: span for span in report["spans"]}
    assert spans["extensionOverhead"]["durationMs"] >= 0
    done = next(e["record"] for e in collector["heard"] if e["type"] == "platform.runtimeDone")
    assert {"responseLatency", "responseDuration"} == {span["name"] for span in done["spans"]}


@pytest.mark.parametrize("event, reason, kind", [
    ("hang", "timeout", "Sandbox.Timedout"), ("exit", "failure", "Runtime.ExitError"),
])
def test_extensions_are_told_of_failures(functions, logs, name, python, event, reason, kind):
    create(functions, name, package(app__py=APP), python, Timeout=1, Layers=[layer(functions, name, {"one": {}})])
    first, error, _ = call(functions, name)
    assert error is None
    failed, error, tail = call(functions, name, event)
    assert (error, failed["errorType"]) == ("Unhandled", kind)
    log = Log(logs, name)
    [end] = log.wait_for("shutdown")
    assert end["event"]["shutdownReason"] == reason
    # The next call finds another environment.
    second, error, _ = call(functions, name)
    assert error is None
    assert len(log.wait_for("registered", 2)) == 2


@pytest.mark.parametrize("dies, kind, message", [
    ("before", "Extension.Crash", "exit code 3"), ("init error", "Extension.InitError", "Extension.Own"),
])
def test_an_extension_that_fails_fails_initialisation(functions, logs, name, python, dies, kind, message):
    create(functions, name, package(app__py=APP), python, Layers=[layer(functions, name, {"bad": {"dies": dies}, "good": {}})])
    failed, error, tail = call(functions, name)
    assert (error, failed["errorType"]) == ("Unhandled", kind)
    assert failed["errorMessage"].endswith(f" Error: {message}") and f"Error Type: {kind}" in tail
    log = Log(logs, name)
    log.wait("INIT_REPORT", lambda: any(
        line.startswith("INIT_REPORT") and line.endswith(f"Phase: init\tStatus: error\tError Type: {kind}") for line in log.lines()))
    assert "loading" not in log.lines() or dies == "init error"


def test_an_extension_that_dies_in_a_call_ends_it(functions, name, python):
    create(functions, name, package(app__py=APP), python, Layers=[layer(functions, name, {"bad": {"dies": "in a call"}})])
    failed, error, tail = call(functions, name, "wait")
    assert (error, failed["errorType"]) == ("Unhandled", "Extension.Crash")
    assert failed["errorMessage"].endswith(" Error: signal: killed") and "Error Type: Extension.Crash" in tail


def test_a_program_that_does_not_start_and_too_many(functions, name, python):
    broken = {"extensions/broken": "#!/no/such/interpreter\n"}
    create(functions, f"{name}-1", package(app__py=APP), python, Layers=[layer(functions, f"{name}-1", {}, broken)])
    failed, error, _ = call(functions, f"{name}-1")
    assert failed["errorType"] == "Extension.LaunchError" and failed["errorMessage"].endswith("no such file or directory")
    many = layer(functions, f"{name}-2", {f"e{number}": {} for number in range(11)})
    create(functions, f"{name}-2", package(app__py=APP), python, Layers=[many])
    failed, error, _ = call(functions, f"{name}-2")
    assert failed["errorType"] == "Extension.TooManyExtensions"


def test_other_runtimes_have_them(functions, logs, name, node):
    how = layer(functions, name, {"one": {}}, {"bootstrap": '''#!/usr/bin/python3
import http.client, os
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
while True:
    api.request("GET", "/2018-06-01/runtime/invocation/next")
    answer = api.getresponse()
    if answer.read() == b'"exit"':
        os._exit(5)
    api.request("POST", "/2018-06-01/runtime/invocation/" + answer.headers["Lambda-Runtime-Aws-Request-Id"] + "/response", '"own"')
    api.getresponse().read()
'''})
    create(functions, f"{name}-1", package(index__js="exports.handler = async () => 'node'"), node, handler="index.handler", Layers=[how])
    create(functions, f"{name}-2", package_of({"x": ""}), "provided.al2023", Layers=[how])
    for each, value in ((f"{name}-1", "node"), (f"{name}-2", "own")):
        for _ in range(2):
            assert call(functions, each)[:2] == (value, None)
        assert len(Log(logs, each).wait_for("invoked", 2)) == 2
    failed, error, _ = call(functions, f"{name}-2", "exit")
    assert (failed["errorType"], error) == ("Runtime.ExitError", "Unhandled")
    assert failed["errorMessage"].endswith("exit status 5")
    assert call(functions, f"{name}-2")[:2] == ("own", None)


def test_the_server_s_end_is_told(name, python):
    from server import Server
    server = Server().start()
    functions = server.client("lambda")
    create(functions, name, package(app__py=APP), python, Layers=[layer(functions, name, {"one": {}})])
    assert call(functions, name)[1] is None
    server.stop()
    server.start()
    try:
        [end] = Log(server.client("logs"), name).wait_for("shutdown")
        assert end["event"]["shutdownReason"] == "spindown"
    finally:
        server.stop()


WRAPPER = "#!/bin/sh\nexport COLOUR=wrapped\nexec \"$@\"\n"


def test_a_wrapper_starts_the_runtime(functions, name, python, node):
    wrapper = functions.publish_layer_version(
        LayerName=name, Content={"ZipFile": package_of({"wrap": WRAPPER}, 0o755)})["LayerVersionArn"]
    wrapped = {"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrap", "COLOUR": "blue"}}
    create(functions, f"{name}-1", package(app__py=APP), python, Layers=[wrapper], Environment=wrapped)
    value, error, _ = call(functions, f"{name}-1")
    assert (value["colour"], error) == ("wrapped", None)
    js = package(index__js="exports.handler = async () => [process.env.COLOUR, process.env.AWS_LAMBDA_EXEC_WRAPPER]")
    create(functions, f"{name}-2", js, node, handler="index.handler", Layers=[wrapper], Environment=wrapped)
    assert call(functions, f"{name}-2")[:2] == (["wrapped", "/opt/wrap"], None)
    missing = {"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/none"}}
    create(functions, f"{name}-3", package(app__py=APP), python, Layers=[wrapper], Environment=missing)
    failed, error, _ = call(functions, f"{name}-3")
    assert failed["errorType"] == "Runtime.ExitError" and failed["errorMessage"].endswith("exit status 127")
    options = {"Variables": {"NODE_OPTIONS": "--stack-trace-limit=3"}}
    js = package(index__js="exports.handler = async () => Error.stackTraceLimit")
    create(functions, f"{name}-4", js, node, handler="index.handler", Environment=options)
    assert call(functions, f"{name}-4")[:2] == (3, None)
