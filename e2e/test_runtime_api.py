"""The Runtime API as AWS's own clients use it, unmodified, and as a client that breaks its rules does: `provided.*`."""

import base64
import json

import pytest

import subjects
from packages import create, package_of

CLIENT_CONTEXT = base64.b64encode(json.dumps({"custom": {"colour": "blue"}}).encode()).decode()

# A whole runtime in Python: it says what the Runtime API answered.
RAW = '''#!/usr/bin/python3 -u
import http.client, json, os, sys
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
def call(method, path, body=None, **headers):
    api.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = api.getresponse()
    return answer.status, answer.read(), dict(answer.getheaders())
RUNTIME = "/2018-06-01/runtime"
'''

CHECKS = RAW + '''
early = call("POST", f"{RUNTIME}/invocation/x/response", "1")
while True:
    status, event, headers = call("GET", f"{RUNTIME}/invocation/next")
    id = headers["Lambda-Runtime-Aws-Request-Id"]
    do = json.loads(event).get("do")
    if do == "exit":
        sys.exit(5)
    if do == "hang":
        while True:
            call("GET", "/2018-06-01/ping")
    if do == "large":
        status, body, _ = call("POST", f"{RUNTIME}/invocation/{id}/response", b"x" * 6291557)
        print("large:", status, json.loads(body)["errorType"])
        continue
    if do == "fail":
        error = json.dumps({"errorType": "Function.Own", "errorMessage": "as asked"})
        call("POST", f"{RUNTIME}/invocation/{id}/error", error, Lambda_Runtime_Function_Error_Type="Function.Own")
        continue
    if do == "echo":
        call("POST", f"{RUNTIME}/invocation/{id}/response", event)
        continue
    again = call("GET", f"{RUNTIME}/invocation/next")
    wrong = call("POST", f"{RUNTIME}/invocation/00000000-0000-0000-0000-000000000000/response", "1")
    mode = call("POST", f"{RUNTIME}/invocation/{id}/response", "1", Lambda_Runtime_Function_Response_Mode="other")
    late = call("POST", f"{RUNTIME}/init/error", "{}")
    lost = call("GET", f"{RUNTIME}/none")
    token = "Bearer " + os.environ["AWS_LAMBDA_METADATA_TOKEN"]
    zone = call("GET", "/2026-01-15/metadata/execution-environment", Authorization=token)
    closed = call("GET", "/2026-01-15/metadata/execution-environment")
    answer = {
        "status": status, "headers": headers, "again": again[1] == event and again[2] == headers,
        "ping": call("GET", "/2018-06-01/ping")[:2][1].decode(),
        "early": [early[0], json.loads(early[1])], "wrong": [wrong[0], json.loads(wrong[1])],
        "mode": [mode[0], json.loads(mode[1])], "late": late[0], "lost": lost[0],
        "zone": [zone[0], json.loads(zone[1])], "closed": closed[0],
        "env": {name: os.environ.get(name) for name in
                ("AWS_EXECUTION_ENV", "_HANDLER", "AWS_LAMBDA_RUNTIME_API", "LAMBDA_TASK_ROOT", "TZ")},
        "cwd": os.getcwd(), "argv": sys.argv,
    }
    accepted = call("POST", f"{RUNTIME}/invocation/{id}/response", json.dumps(answer))
    twice = call("POST", f"{RUNTIME}/invocation/{id}/response", "2")
    print("accepted:", accepted[0], accepted[1].decode().strip(), "twice:", twice[0])
'''

INIT_ERROR = RAW + '''
error = {"errorType": "Runtime.NoLuck", "errorMessage": "not today", "stackTrace": []}
print("told:", call("POST", f"{RUNTIME}/init/error", json.dumps(error), Lambda_Runtime_Function_Error_Type="Runtime.NoLuck")[0])
sys.exit(1)
'''


def bootstrap(text, mode=0o755):
    return package_of({"bootstrap": text}, mode)


def invoke(functions, name, event, **more):
    answer = functions.invoke(FunctionName=name, Payload=json.dumps(event), LogType="Tail", **more)
    assert answer["StatusCode"] == 200
    log = base64.b64decode(answer["LogResult"]).decode()
    return json.loads(answer["Payload"].read()), answer.get("FunctionError"), log


def test_what_the_runtime_api_answers(functions, name):
    created = create(functions, name, bootstrap(CHECKS), "provided.al2023", handler="any.thing")
    answer, error, before = invoke(functions, name, {}, ClientContext=CLIENT_CONTEXT)
    assert error is None
    headers = answer.pop("headers")
    assert headers["Content-Type"] == "application/json"
    assert headers["Lambda-Runtime-Invoked-Function-Arn"] == created["FunctionArn"]
    assert headers["Lambda-Runtime-Trace-Id"].startswith("Root=1-")
    assert json.loads(headers["Lambda-Runtime-Client-Context"]) == {"custom": {"colour": "blue"}}
    assert int(headers["Lambda-Runtime-Deadline-Ms"]) > 1_700_000_000_000
    assert "Lambda-Runtime-Cognito-Identity" not in headers
    transition = "State transition from {} to InvocationResponse failed for runtime. Error: State transition is not allowed"
    assert answer == {
        "status": 200, "again": True, "ping": "pong", "late": 403, "lost": 404, "closed": 401,
        "early": [403, {"errorType": "InvalidStateTransition", "errorMessage": transition.format("Started")}],
        "wrong": [400, {"errorType": "InvalidRequestID", "errorMessage": "Invalid request ID"}],
        "mode": [400, {"errorType": "InvalidFunctionResponseMode", "errorMessage": "Invalid function response mode"}],
        "zone": [200, {"AvailabilityZoneID": "use1-az1"}],
        "env": {
            "AWS_EXECUTION_ENV": None, "_HANDLER": "any.thing", "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001",
            "LAMBDA_TASK_ROOT": "/var/task", "TZ": ":UTC",
        },
        "cwd": "/var/task", "argv": ["/var/task/bootstrap"],
    }
    # What is printed after the answer may belong to the environment's next call.
    _, _, log = invoke(functions, name, {"do": "echo"})
    assert 'accepted: 202 {"status":"OK"} twice: 403' in before + log


def test_events_and_answers_pass_untouched(functions, name):
    create(functions, name, bootstrap(CHECKS), "provided.al2")
    for text in ('{"do": "echo", "a": 1.0, "ü": "\\u00e4"}', json.dumps({"do": "echo", "x": "y" * 5_000_000})):
        answer = functions.invoke(FunctionName=name, Payload=text.encode())
        assert answer["Payload"].read() == text.encode()


def test_failures(functions, name):
    create(functions, name, bootstrap(CHECKS), "provided.al2023", Timeout=2)
    assert invoke(functions, name, {"do": "fail"})[:2] == (
        {"errorType": "Function.Own", "errorMessage": "as asked"}, "Unhandled")
    answer, error, before = invoke(functions, name, {"do": "large"})
    assert error == "Unhandled" and answer["errorType"] == "Function.ResponseSizeTooLarge"
    answer, error, log = invoke(functions, name, {"do": "exit"})
    assert "large: 413 RequestEntityTooLarge" in before + log
    assert error == "Unhandled" and answer["errorType"] == "Runtime.ExitError"
    assert answer["errorMessage"].endswith("Runtime exited with error: exit status 5")
    answer, error, log = invoke(functions, name, {"do": "hang"})
    assert answer["errorType"] == "Sandbox.Timedout" and "Status: timeout" in log
    assert invoke(functions, name, {"do": "echo"})[0] == {"do": "echo"}


def test_an_init_error_is_the_answer(functions, name):
    create(functions, name, bootstrap(INIT_ERROR), "provided.al2023")
    answer, error, log = invoke(functions, name, {})
    assert (answer["errorType"], error) == ("Runtime.NoLuck", "Unhandled")
    assert "Phase: invoke\tStatus: error\tError Type: Runtime.NoLuck" in log


@pytest.mark.parametrize("files, mode, problem", [
    ({"other": "x"}, 0o755, "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"),
    ({"bootstrap": "#!/bin/sh\n"}, 0o644, "fork/exec /var/task/bootstrap: permission denied"),
    ({"bootstrap": "nothing that runs"}, 0o755, "fork/exec /var/task/bootstrap: exec format error"),
    ({"bootstrap": "#!/nowhere/sh\n"}, 0o755, "fork/exec /var/task/bootstrap: no such file or directory"),
])
def test_bootstraps_that_do_not_start(functions, name, files, mode, problem):
    create(functions, name, package_of(files, mode), "provided.al2023")
    answer, error, log = invoke(functions, name, {})
    assert (answer["errorType"], error) == ("Runtime.InvalidEntrypoint", "Unhandled")
    assert answer["errorMessage"].endswith(f"Error: {problem}")
    assert "Error Type: Runtime.InvalidEntrypoint" in log and "START RequestId" in log


@pytest.fixture(scope="session")
def go_function():
    return subjects.go_program()


@pytest.fixture(scope="session")
def awslambdaric():
    return subjects.awslambdaric()


def test_go(functions, name, go_function):
    create(functions, name, bootstrap(go_function), "provided.al2023")
    answer, error, _ = invoke(functions, name, {"do": "panic"})
    assert answer["errorMessage"] == "no luck" and answer["stackTrace"]
    for number in range(20):
        assert invoke(functions, name, {"do": "echo", "value": number})[0] == number


APP = '''
import sys

def handler(event, context):
    print("handling", context.aws_request_id)
    if event.get("do") == "fail":
        raise ValueError("no luck")
    if event.get("do") == "exit":
        sys.exit(4)
    return {"event": event, "left": context.get_remaining_time_in_millis() > 0, "arn": context.invoked_function_arn,
            "client": context.client_context.custom if context.client_context else None}
'''


def test_python_client_of_aws(functions, name, awslambdaric):
    system = subjects.system_python()
    if not system:
        pytest.skip("the system has no Python of its own that runs the tests")
    start = f'#!/bin/sh\nexec {system} -m awslambdaric "$_HANDLER"\n'
    create(functions, name, package_of({**awslambdaric, "bootstrap": start, "app.py": APP}, 0o755), "provided.al2023")
    answer, error, log = invoke(functions, name, {"a": 1}, ClientContext=CLIENT_CONTEXT)
    assert error is None, answer
    assert answer["event"] == {"a": 1} and answer["left"] and answer["client"] == {"colour": "blue"}
    assert "handling " in log
    answer, error, _ = invoke(functions, name, {"do": "fail"})
    assert (answer["errorType"], answer["errorMessage"], error) == ("ValueError", "no luck", "Unhandled")
    answer, error, _ = invoke(functions, name, {"do": "exit"})
    assert answer["errorType"] == "Runtime.ExitError"
    large = "x" * 5_000_000
    assert invoke(functions, name, {"large": large})[0]["event"]["large"] == large
