"""Extensions and the telemetry that they are sent: an OpenTelemetry-like one that runs inside a function's process."""

import base64
import json
import time

import pytest

from packages import create, package

# An extension in a thread of the function's process, as internal ones are. It hears of every invocation, is sent telemetry,
# and asks for the next event only after it was told that the runtime is done with the present one.
EXTENSION = '''
import http.client, json, os, socket, threading, time
from http.server import BaseHTTPRequestHandler, HTTPServer

API = os.environ["AWS_LAMBDA_RUNTIME_API"]
heard, events, done = [], [], threading.Event()
arrived = threading.Condition()

def call(method, path, body=None, headers={}):
    api = http.client.HTTPConnection(API)
    api.request(method, path, body and json.dumps(body), headers)
    answer = api.getresponse()
    text = answer.read()
    return answer.status, json.loads(text or "null"), dict(answer.getheaders())

def take(batch):
    with arrived:
        heard.extend(batch)
        arrived.notify_all()
    if any(event["type"] == "platform.runtimeDone" for event in batch):
        done.set()

class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        take(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()
    do_PUT = do_POST
    def log_message(self, *arguments):
        pass

def register(name, events):
    status, body, headers = call("POST", "/2020-01-01/extension/register", {"events": events},
                                 {"Lambda-Extension-Name": name, "Lambda-Extension-Accept-Feature": "accountId"})
    assert status == 200, (status, body)
    return headers["Lambda-Extension-Identifier"], body

def subscribe(id, path="/2022-07-01/telemetry", **change):
    request = {"schemaVersion": "2022-12-13", "types": ["platform", "function", "extension"],
               "buffering": {"timeoutMs": 25, "maxItems": 1000, "maxBytes": 262144},
               "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:4243/telemetry"}, **change}
    return call("PUT", path, request, {"Lambda-Extension-Identifier": id})

def follow(id, wait=True):
    while True:
        status, event, _ = call("GET", "/2020-01-01/extension/event/next", None, {"Lambda-Extension-Identifier": id})
        events.append(event)
        if wait:
            done.wait(5)
            done.clear()

def wait_for(kind, count=1):
    with arrived:
        arrived.wait_for(lambda: sum(event["type"] == kind for event in heard) >= count, 5)
        return list(heard)
'''

APP = EXTENSION + '''
server = HTTPServer(("127.0.0.1", 4243), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()
id, registered = register("collector", ["INVOKE"])
subscribed = subscribe(id)[:2]
again = subscribe(id)[:2]
threading.Thread(target=follow, args=(id,), daemon=True).start()

def handler(event, context):
    print("working on", event["n"])
    print(json.dumps({"level": "INFO", "n": event["n"]}))
    seen = wait_for("platform.report", event["n"]) if event["n"] else wait_for("platform.start")
    while len(events) <= event["n"]:
        time.sleep(0.01)
    late = [call("POST", "/2020-01-01/extension/register", {"events": []}, {"Lambda-Extension-Name": "late"})[:2],
            subscribe(id)[:2]]
    return {"heard": seen, "events": list(events), "registered": registered, "subscribed": subscribed, "again": again,
            "late": late, "id": context.aws_request_id}
'''


def invoke(functions, name, event, **more):
    answer = functions.invoke(FunctionName=name, Payload=json.dumps(event), **more)
    payload = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, payload
    return payload, answer


def test_a_collector_is_sent_every_event_in_order(functions, logs, name, python):
    created = create(functions, name, package(app__py=APP), python)
    # With the tail of its log, an answer comes when the extension is done, too; the next call finds the environment idle.
    answers = [invoke(functions, name, {"n": n}, LogType="Tail")[0] for n in range(3)]
    first, last = answers[0], answers[-1]
    assert first["registered"] == {
        "functionName": name, "functionVersion": "$LATEST", "handler": "app.handler", "accountId": "000000000000"}
    assert first["subscribed"] == [200, "OK"]
    assert first["again"][0] == 403
    assert [late[0] for late in first["late"]] == [403, 403]
    assert [late[1]["errorType"] for late in first["late"]] == [
        "Extension.RegistrationClosed", "Telemetry.SubscriptionClosed"]
    told = last["events"]
    assert [event["eventType"] for event in told] == ["INVOKE"] * 3
    assert [event["requestId"] for event in told] == [answer["id"] for answer in answers]
    assert told[0]["invokedFunctionArn"] == created["FunctionArn"]
    assert told[0]["tracing"]["type"] == "X-Amzn-Trace-Id" and told[0]["tracing"]["value"].startswith("Root=")
    assert abs(told[0]["deadlineMs"] / 1000 - time.time()) < 60

    heard = last["heard"]
    assert heard[: len(first["heard"])] == first["heard"]
    platform = [event["type"] for event in heard if event["type"].startswith("platform.")]
    call = ["platform.start", "platform.runtimeDone", "platform.report"]
    init = ["platform.initStart", "platform.telemetrySubscription", "platform.initRuntimeDone", "platform.extension",
            "platform.initReport"]
    assert platform == init + call * 2 + ["platform.start"]
    record = {event["type"]: event["record"] for event in reversed(heard)}
    assert record["platform.initStart"]["functionName"] == name
    assert record["platform.extension"] == {"name": "collector", "state": "Ready", "events": ["INVOKE"]}
    assert record["platform.telemetrySubscription"] == {
        "name": "collector", "state": "Subscribed", "types": ["platform", "function", "extension"]}
    assert record["platform.initReport"]["status"] == "success"
    assert record["platform.start"] == {"requestId": answers[0]["id"], "version": "$LATEST"}
    assert record["platform.runtimeDone"]["status"] == "success"
    assert record["platform.report"]["metrics"]["memorySizeMB"] == 128
    lines = [event["record"] for event in heard if event["type"] == "function"]
    assert lines[:4] == ["working on 0", {"level": "INFO", "n": 0}, "working on 1", {"level": "INFO", "n": 1}]
    times = [event["time"] for event in heard]
    assert times == sorted(times)

    # The log goes on regardless.
    def lines_of_log():
        try:
            events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        except logs.exceptions.ResourceNotFoundException:
            return []  # The function's first line makes the group, and is written beside the call.
        return [event["message"] for event in events]
    deadline = time.time() + 20
    while sum(line.startswith("REPORT") for line in lines_of_log()) < 3 and time.time() < deadline:
        time.sleep(0.05)
    lines = lines_of_log()
    assert "EXTENSION\tName: collector\tState: Ready\tEvents: [INVOKE]\n" in lines
    assert "TELEMETRY\tName: collector\tState: Subscribed\tTypes: [Platform, Function, Extension]\n" in lines
    assert [line.split()[0] for line in lines if line.startswith(("START", "END", "REPORT"))] == [
        "START", "END", "REPORT"] * 3


SLOW = EXTENSION + '''
id, _ = register("slow", ["INVOKE"])
import time
def follow():
    while True:
        call("GET", "/2020-01-01/extension/event/next", None, {"Lambda-Extension-Identifier": id})
        time.sleep(2)
time.sleep(0.2)
threading.Thread(target=follow, daemon=True).start()

def handler(event, context):
    if event == "give up":
        call("POST", "/2020-01-01/extension/exit/error", {"errorMessage": "x", "errorType": "Extension.Own"},
             {"Lambda-Extension-Identifier": id, "Lambda-Extension-Function-Error-Type": "Extension.Own"})
    return os.getpid()
'''


def test_the_caller_does_not_wait_for_extensions_but_the_environment_does(functions, name, python):
    create(functions, name, package(app__py=SLOW), python)
    invoke(functions, name, {})
    before = time.monotonic()
    _, answer = invoke(functions, name, {})
    assert time.monotonic() - before < 1.5
    # With the log's end the report is wanted, which is written when all are done.
    before = time.monotonic()
    _, answer = invoke(functions, name, {}, LogType="Tail")
    log = base64.b64decode(answer["LogResult"]).decode()
    duration = float(log.split("\tDuration: ")[1].split(" ms")[0])
    assert time.monotonic() - before > 1.9 and duration > 1900, log


def test_an_extension_that_gives_up_ends_its_environment(functions, name, python):
    create(functions, name, package(app__py=SLOW), python)
    answer = functions.invoke(FunctionName=name, Payload='"give up"', LogType="Tail")
    error = json.loads(answer["Payload"].read())
    assert (error["errorType"], answer["FunctionError"]) == ("Extension.ExitError", "Unhandled")
    assert error["errorMessage"].endswith("Error: Extension.Own")
    assert "Error Type: Extension.ExitError" in base64.b64decode(answer["LogResult"]).decode()
    invoke(functions, name, {})


LOGS_API = EXTENSION + '''
listener = socket.create_server(("127.0.0.1", 4244))
def receive():
    file = listener.accept()[0].makefile()
    for line in file:
        take([json.loads(line)])
threading.Thread(target=receive, daemon=True).start()
id, _ = register("old", ["INVOKE"])
refused = subscribe(id, "/2020-08-15/logs", schemaVersion="1999-01-01")[:2]
subscribed = subscribe(id, "/2020-08-15/logs", schemaVersion="2020-08-15", types=["platform", "function"],
                       destination={"protocol": "TCP", "port": 4244})[:2]
threading.Thread(target=follow, args=(id, False), daemon=True).start()

def handler(event, context):
    print("a line")
    return {"heard": wait_for("platform.report") if event else [], "refused": refused, "subscribed": subscribed}
'''


def test_the_logs_api_over_tcp(functions, name, python):
    create(functions, name, package(app__py=LOGS_API), python)
    invoke(functions, name, 0)
    answer, _ = invoke(functions, name, 1)
    assert answer["refused"][0] == 400 and answer["refused"][1]["errorType"] == "Logs.ValidationError"
    assert answer["subscribed"] == [200, "OK"]
    kinds = [event["type"] for event in answer["heard"]]
    assert kinds[:6] == ["platform.logsSubscription", "platform.extension", "platform.start", "function",
                         "platform.end", "platform.report"]
