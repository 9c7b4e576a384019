"""Invoke: every success and every failure shape, in Python and in Node.js."""

import base64
import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from packages import create, package, package_of

PYTHON = package(app__py='''
import json, os, sys, time, logging

def echo(event, context):
    return event

def context_of(event, context):
    return {
        "id": context.aws_request_id, "name": context.function_name, "version": context.function_version,
        "arn": context.invoked_function_arn, "memory": context.memory_limit_in_mb, "group": context.log_group_name,
        "stream": context.log_stream_name, "left": context.get_remaining_time_in_millis(),
        "client": context.client_context.custom if context.client_context else None,
        "env": {k: os.environ.get(k) for k in ("AWS_REGION", "_HANDLER", "LAMBDA_TASK_ROOT", "TZ", "COLOUR", "AWS_EXECUTION_ENV")},
        "cwd": os.getcwd(), "uid": os.getuid(),
    }

def talk(event, context):
    print("to stdout")
    print("to stderr", file=sys.stderr)
    logging.getLogger().warning("a warning")
    return "said"

def fail(event, context):
    raise ValueError("no luck")

def leave(event, context):
    sys.exit(event["status"])

def sleep(event, context):
    time.sleep(event["seconds"])

def die(event, context):
    os.kill(os.getpid(), 9)

def eat(event, context):
    hoard = []
    while True:
        hoard.append(bytearray(8 << 20))

def big(event, context):
    return "x" * event["size"]

def strange(event, context):
    return {1, 2}

count = 0
def counting(event, context):
    global count
    count += 1
    return count

def slow_echo(event, context):
    time.sleep(0.3)
    return event
''')

BROKEN = package(app__py="def handler(:\n", missing__py="import nothing_of_this_name\n\ndef handler(e, c): pass\n")

NODE = package_of({
    "app.js": """
exports.async = async (event) => ({ got: event });
exports.callback = (event, context, done) => done(null, { back: event });
exports.fail = async () => { throw new TypeError("no luck"); };
exports.reject = (event, context, done) => done(new Error("refused"));
exports.context = async (event, context) => ({ id: context.awsRequestId, name: context.functionName, left: context.getRemainingTimeInMillis(), memory: context.memoryLimitInMB });
exports.log = async () => { console.log("hello from node"); return "said"; };
exports.exit = async () => process.exit(3);
exports.unhandled = async () => { Promise.reject(new Error("nobody caught this")); await new Promise((r) => setTimeout(r, 2000)); };
exports.nested = { deep: async () => "deep" };
exports.value = 42;
""",
    "module.mjs": "export const handler = async (event) => ({ module: true, event });\n",
    "sub/inner.cjs": "exports.handler = async () => 'from below';\n",
    "syntax.js": "exports.handler = (\n",
})


@pytest.fixture(scope="module")
def invoke(functions, python, node):
    """Makes a function for each handler on first use and invokes it."""
    made = {}

    def call(handler, event=None, runtime=None, code=None, configuration=None, **more):
        runtime = runtime or python
        code = code or (NODE if runtime == node else PYTHON)
        key = (handler, runtime, code, str(configuration))
        if key not in made:
            made[key] = f"invoke-{len(made)}"
            create(functions, made[key], code, runtime, handler=handler, **(configuration or {}))
        payload = json.dumps(event).encode() if not isinstance(event, bytes) else event
        answer = functions.invoke(FunctionName=made[key], Payload=payload, **more)
        answer["Name"] = made[key]
        answer["Body"] = answer["Payload"].read()
        return answer

    return call


def error_of(answer):
    assert answer["FunctionError"] == "Unhandled" and answer["StatusCode"] == 200
    return json.loads(answer["Body"])


def test_the_payload_passes_untouched(invoke):
    event = b'{"b": 1.0, "a": "\\u00e4 \xc3\xa4", "n": 12345678901234567890}'
    answer = invoke("app.echo", event)
    assert answer["ExecutedVersion"] == "$LATEST" and "FunctionError" not in answer
    assert json.loads(answer["Body"]) == json.loads(event)


def test_context_and_environment(invoke):
    custom = base64.b64encode(b'{"custom": {"k": "v"}, "client": {"app_title": "t"}, "env": {}}').decode()
    answer = invoke("app.context_of", {}, configuration={"Environment": {"Variables": {"COLOUR": "blue"}}}, ClientContext=custom)
    got, name = json.loads(answer["Body"]), answer["Name"]
    assert got["id"] == answer["ResponseMetadata"]["RequestId"]
    assert (got["name"], got["version"], got["memory"]) == (name, "$LATEST", "128")
    assert got["arn"] == f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    assert got["group"] == f"/aws/lambda/{name}"
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", got["stream"])
    assert 0 < got["left"] <= 10_000
    assert got["client"] == {"k": "v"}
    assert got["env"]["AWS_REGION"] == "us-east-1" and got["env"]["COLOUR"] == "blue"
    assert got["env"]["_HANDLER"] == "app.context_of" and got["env"]["LAMBDA_TASK_ROOT"] == "/var/task"
    assert got["env"]["TZ"] == ":UTC" and got["env"]["AWS_EXECUTION_ENV"].startswith("AWS_Lambda_python3.")
    assert got["cwd"] == "/var/task" and got["uid"] != 0


def test_log_tail(invoke):
    answer = invoke("app.talk", {}, LogType="Tail")
    tail = base64.b64decode(answer["LogResult"]).decode()
    request_id = answer["ResponseMetadata"]["RequestId"]
    lines = tail.splitlines()
    assert lines[0].startswith("INIT_START") or lines[0] == f"START RequestId: {request_id} Version: $LATEST"
    assert f"START RequestId: {request_id} Version: $LATEST" in lines
    assert "to stdout" in lines and "to stderr" in lines
    assert any(line.startswith("[WARNING]\t") and line.endswith(f"Z\t{request_id}\ta warning") for line in lines)
    assert f"END RequestId: {request_id}" in lines
    report = next(line for line in lines if line.startswith("REPORT"))
    pattern = (rf"REPORT RequestId: {request_id}\tDuration: (\d+\.\d\d) ms\tBilled Duration: (\d+) ms\t"
               r"Memory Size: 128 MB\tMax Memory Used: (\d+) MB\tInit Duration: (\d+\.\d\d) ms\t?")
    duration, billed, memory, init = re.match(pattern, report).groups()
    assert int(billed) >= float(duration) + float(init) - 0.02 and int(billed) <= float(duration) + float(init) + 1.02
    assert 1 <= int(memory) <= 128
    warm = base64.b64decode(invoke("app.talk", {}, LogType="Tail")["LogResult"]).decode()
    assert "Init Duration" not in warm and "INIT_START" not in warm and warm.splitlines()[0].startswith("START")


def test_a_dry_run_runs_nothing(invoke, functions):
    answer = invoke("app.echo", {}, InvocationType="DryRun")
    assert answer["StatusCode"] == 204 and answer["Body"] == b""


def test_an_absent_body_arrives_as_an_empty_object(invoke, functions):
    name = invoke("app.echo", {})["Name"]
    assert functions.invoke(FunctionName=name)["Payload"].read() == b"{}"


def test_exception_with_stack_trace(invoke):
    answer = invoke("app.fail", {}, LogType="Tail")
    error = error_of(answer)
    assert list(error) == ["errorMessage", "errorType", "requestId", "stackTrace"]
    assert (error["errorMessage"], error["errorType"]) == ("no luck", "ValueError")
    assert error["requestId"] == answer["ResponseMetadata"]["RequestId"]
    assert error["stackTrace"] == ['  File "/var/task/app.py", line 24, in fail\n    raise ValueError("no luck")\n']
    tail = base64.b64decode(answer["LogResult"]).decode()
    assert "[ERROR] ValueError: no luck" in tail


@pytest.mark.parametrize("handler, kind, message", [
    ("app.handler", "Runtime.UserCodeSyntaxError", None),
    ("missing.handler", "Runtime.ImportModuleError", "Unable to import module 'missing': No module named 'nothing_of_this_name'"),
    ("nowhere.handler", "Runtime.ImportModuleError", "Unable to import module 'nowhere': No module named 'nowhere'"),
    ("nodot", "Runtime.MalformedHandlerName", "Bad handler 'nodot': not enough values to unpack (expected 2, got 1)"),
])
def test_init_errors(invoke, handler, kind, message):
    error = error_of(invoke(handler, {}, code=BROKEN))
    assert error["errorType"] == kind
    if message:
        assert error["errorMessage"] == message


def test_handler_not_found(invoke):
    error = error_of(invoke("app.nothing", {}))
    assert (error["errorType"], error["errorMessage"]) == ("Runtime.HandlerNotFound", "Handler 'nothing' missing on module 'app'")


def test_timeout(invoke):
    answer = invoke("app.sleep", {"seconds": 30}, configuration={"Timeout": 1}, LogType="Tail")
    request_id = answer["ResponseMetadata"]["RequestId"]
    assert error_of(answer) == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {request_id} Error: Task timed out after 1.00 seconds"}
    tail = base64.b64decode(answer["LogResult"]).decode()
    assert "Status: timeout" in tail
    assert "FunctionError" not in invoke("app.sleep", {"seconds": 0}, configuration={"Timeout": 1})


@pytest.mark.parametrize("status, message", [
    (0, "Error: Runtime exited without providing a reason"),
    (1, "Error: Runtime exited with error: exit status 1"),
    (42, "Error: Runtime exited with error: exit status 42"),
])
def test_exit(invoke, status, message):
    answer = invoke("app.leave", {"status": status})
    error = error_of(answer)
    assert (error["errorType"], error["errorMessage"]) == (
        "Runtime.ExitError", f"RequestId: {answer['ResponseMetadata']['RequestId']} {message}")


def test_killed_by_itself_and_out_of_memory(invoke):
    killed = error_of(invoke("app.die", {}))
    assert killed["errorType"] == "Runtime.ExitError" and killed["errorMessage"].endswith("Error: Runtime exited with error: signal: killed")
    answer = invoke("app.eat", {}, LogType="Tail")
    error = error_of(answer)
    assert error["errorType"] == "Runtime.ExitError" and error["errorMessage"].endswith("signal: killed")
    report = base64.b64decode(answer["LogResult"]).decode()
    assert "Error Type: Runtime.OutOfMemory" in report
    assert re.search(r"Max Memory Used: (12[0-9]|13[0-2]) MB", report), report


def test_response_sizes(invoke):
    answer = invoke("app.big", {"size": 6 * 1024 * 1024 - 100})
    assert len(answer["Body"]) == 6 * 1024 * 1024 - 98
    assert error_of(invoke("app.big", {"size": 7 << 20})) == {
        "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
        "errorType": "Function.ResponseSizeTooLarge"}


def test_marshal_error(invoke):
    error = error_of(invoke("app.strange", {}))
    assert error["errorType"] == "Runtime.MarshalError"
    assert error["errorMessage"] == "Unable to marshal response: Object of type set is not JSON serializable"


def test_request_that_is_no_json_and_one_too_large(invoke, functions):
    name = invoke("app.echo", {})["Name"]
    with pytest.raises(ClientError) as caught:
        functions.invoke(FunctionName=name, Payload=b"\x87 nonsense")
    assert caught.value.response["Error"]["Code"] == "InvalidRequestContentException"
    assert caught.value.response["Error"]["Message"].startswith("Could not parse request body into json: ")
    with pytest.raises(ClientError) as caught:
        functions.invoke(FunctionName=name, Payload=b'"' + b"x" * (7 << 20) + b'"')
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413


def test_environments_are_reused_and_replaced_after_an_exit(invoke):
    assert [json.loads(invoke("app.counting", {})["Body"]) for _ in range(3)] == [1, 2, 3]


def test_concurrent_calls_have_environments_of_their_own(invoke, functions):
    name = invoke("app.slow_echo", {})["Name"]

    def call(n):
        return json.loads(functions.invoke(FunctionName=name, Payload=json.dumps(n).encode())["Payload"].read())

    with ThreadPoolExecutor(24) as pool:
        assert list(pool.map(call, range(24))) == list(range(24))


class TestNode:
    """The same for Node.js."""

    @pytest.mark.parametrize("handler, event, expected", [
        ("app.async", {"a": 1}, {"got": {"a": 1}}),
        ("app.callback", {"a": 1}, {"back": {"a": 1}}),
        ("module.handler", 5, {"module": True, "event": 5}),
        ("sub/inner.handler", {}, "from below"),
        ("app.nested.deep", {}, "deep"),
    ])
    def test_handler_forms(self, invoke, node, handler, event, expected):
        answer = invoke(handler, event, runtime=node)
        assert "FunctionError" not in answer, answer["Body"]
        assert json.loads(answer["Body"]) == expected

    @pytest.mark.parametrize("handler, kind, message", [
        ("app.fail", "TypeError", "no luck"),
        ("app.reject", "Error", "refused"),
        ("app.absent", "Runtime.HandlerNotFound", "app.absent is undefined or not exported"),
        ("app.value", "Runtime.HandlerNotFound", "app.value is not a function"),
        ("nowhere.handler", "Runtime.ImportModuleError", None),
        ("syntax.handler", "Runtime.UserCodeSyntaxError", None),
        ("app.unhandled", "Runtime.UnhandledPromiseRejection", None),
    ])
    def test_failures(self, invoke, node, handler, kind, message):
        error = error_of(invoke(handler, {}, runtime=node))
        assert error["errorType"] == kind, error
        assert isinstance(error.get("trace", []), list)
        if message:
            assert error["errorMessage"] == message

    def test_exit(self, invoke, node):
        error = error_of(invoke("app.exit", {}, runtime=node))
        assert error["errorMessage"].endswith("Runtime exited with error: exit status 3")

    def test_context_and_log(self, invoke, node):
        answer = invoke("app.context", {}, runtime=node)
        got = json.loads(answer["Body"])
        assert got["id"] == answer["ResponseMetadata"]["RequestId"] and got["name"] == answer["Name"]
        assert 0 < got["left"] <= 10_000 and got["memory"] == "128"
        answer = invoke("app.log", {}, runtime=node, LogType="Tail")
        tail = base64.b64decode(answer["LogResult"]).decode()
        request_id = answer["ResponseMetadata"]["RequestId"]
        assert re.search(rf"\d{{4}}-\d\d-\d\dT\S+Z\t{request_id}\tINFO\thello from node", tail)
