"""Every runtime of this machine, and every client of AWS's, against one table of cases: what a function sees, and what its caller does.

Each language has one function that does what the event says (`functions`). A release that is only here to stand in for
another (`gatemill dev` takes the nearest) is tested under the name that it stands in for.
"""

import base64
import json
import re
import subprocess

import pytest

from packages import create
from server import BINARY, RUNTIME_DIRECTORIES, Server, runtimes
from streams import read_stream
from subjects import CLIENTS, SUBJECTS, family, java, java_events, system_python

# What can be created in place of releases that AWS has no functions for.
STANDS_IN_FOR = {"dotnetcore3.1": "dotnet8", "dotnet6": "dotnet8", "dotnet9": "dotnet8", "ruby3.1": "ruby3.2"}

RUNTIMES = list(dict.fromkeys(STANDS_IN_FOR.get(name, name) for name in runtimes()))
RUNTIMES = [name for name in RUNTIMES if family(name) in SUBJECTS]
# The client for Python is a package for the interpreter that runs the tests, which a sandbox sees if it is the system's.
OF_AWS = [name for name in CLIENTS if name != "awslambdaric" or system_python()]


def pytest_report_header(config):
    return f"runtimes: {', '.join(RUNTIMES)}"


@pytest.fixture(scope="module", params=RUNTIMES + OF_AWS)
def runtime(request):
    return request.param


class Function:
    """A runtime's subject; made at its first call."""

    def __init__(self, functions, runtime):
        self.functions = functions
        self.runtime = runtime
        self.subject = CLIENTS.get(runtime) or SUBJECTS[family(runtime)]
        self.created_with = self.subject.runtime or runtime
        self.names = set()

    def name(self, **configuration):
        name = re.sub(r"[^a-z0-9]", "-", f"{self.runtime}-{configuration.get('Timeout', 20)}")
        if name not in self.names:
            self.names.add(name)
            create(
                self.functions, name, self.subject.code(), self.created_with, handler=self.subject.handler,
                MemorySize=self.subject.memory, Environment={"Variables": {"COLOUR": "blue"}},
                **{"Timeout": 20, **configuration},
            )
        return name

    def call(self, do, timeout=20, invoke=None, **event):
        name = self.name(Timeout=timeout)
        payload = json.dumps({"do": do, **event}).encode()
        answer = self.functions.invoke(FunctionName=name, Payload=payload, LogType="Tail", **(invoke or {}))
        answer["Body"] = answer["Payload"].read()
        answer["Tail"] = base64.b64decode(answer["LogResult"]).decode()
        answer["RequestId"] = answer["ResponseMetadata"]["RequestId"]
        return answer

    def value(self, do, **more):
        answer = self.call(do, **more)
        assert "FunctionError" not in answer, answer["Body"]
        return json.loads(answer["Body"])

    def error(self, do, **more):
        answer = self.call(do, **more)
        assert answer["StatusCode"] == 200 and answer["FunctionError"] == "Unhandled", answer["Body"]
        return json.loads(answer["Body"]), answer


@pytest.fixture(scope="module")
def function(functions, runtime):
    return Function(functions, runtime)


VALUES = [
    None, True, 0, -7, 1.5, 12345678901, "", "text", "ä€𝄞\n\t\"\\", [], {}, [1, [2, [3]]], {"a": {"b": [None, False]}},
]


def test_echo(function):
    for value in VALUES:
        assert function.value("echo", value=value) == value


def test_error(function):
    error, answer = function.error("fail")
    assert (error["errorMessage"], error["errorType"]) == ("no luck", function.subject.error_type)
    if function.subject.stack:
        stack = error[function.subject.stack]
        assert stack and all(isinstance(line, str) for line in stack)
    # Of the others, Node.js alone shows the runtime's frames, on AWS as well.
    assert family(function.runtime) == "nodejs" or "gatemill" not in json.dumps(error)
    assert "no luck" in answer["Tail"] or not function.subject.logs_errors
    # The environment lives on.
    assert function.value("echo", value=1) == 1


def test_timeout(function):
    error, answer = function.error("sleep", timeout=1, seconds=30)
    assert error == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {answer['RequestId']} Error: Task timed out after 1.00 seconds"}
    assert "Status: timeout" in answer["Tail"]


@pytest.mark.parametrize("status, message", [
    (0, "Runtime exited without providing a reason"), (7, "Runtime exited with error: exit status 7")])
def test_exit(function, status, message):
    error, answer = function.error("exit", status=status)
    assert (error["errorType"], error["errorMessage"]) == (
        "Runtime.ExitError", f"RequestId: {answer['RequestId']} Error: {message}")


def test_out_of_memory(function):
    error, answer = function.error("eat")
    if error["errorType"] == "java.lang.OutOfMemoryError":
        function.error("exit", status=3)  # What it ate would stay for the next call.
        return  # Java's own bound came first, as on AWS.
    assert error["errorType"] == "Runtime.ExitError" and error["errorMessage"].endswith("signal: killed")
    assert "Error Type: Runtime.OutOfMemory" in answer["Tail"]


def test_large_payloads(function):
    size = 5_900_000
    assert function.value("length", value="x" * size) == size
    assert len(function.value("big", size=size)) == size
    error, _ = function.error("big", size=7 << 20)
    assert error["errorType"] == "Function.ResponseSizeTooLarge"


def test_environment(function, runtime):
    seen = function.value("environment")
    name = function.name()
    expected = {
        "COLOUR": "blue", "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1", "TZ": ":UTC",
        "_HANDLER": function.subject.handler, "LAMBDA_TASK_ROOT": "/var/task", "LAMBDA_RUNTIME_DIR": "/var/runtime",
        "AWS_LAMBDA_FUNCTION_NAME": name, "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.subject.memory), "cwd": "/var/task",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}", "AWS_EXECUTION_ENV": None if function.subject.runtime else f"AWS_Lambda_{runtime}",
    }
    assert {key: seen.get(key) for key in expected} == expected


def test_context_and_client_context(function):
    answer = function.call("context")
    seen, name = json.loads(answer["Body"]), function.name()
    assert seen["id"] == answer["RequestId"]
    assert (seen["name"], seen["version"], seen["memory"]) == (name, "$LATEST", str(function.subject.memory))
    assert seen["arn"] == f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    assert seen["group"] == f"/aws/lambda/{name}"
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", seen["stream"])
    assert 0 < seen["left"] <= 20_000
    assert not seen.get("custom") and not seen.get("title") and seen.get("tenant") is None
    client = {"app_title": "t", **dict.fromkeys(("installation_id", "app_version_name", "app_version_code", "app_package_name"), "x")}
    given = base64.b64encode(json.dumps({"custom": {"k": "v"}, "client": client, "env": {}}).encode()).decode()
    seen = function.value("context", invoke={"ClientContext": given})
    assert (seen["custom"], seen["title"]) == ({"k": "v"}, "t")


def test_tenant(function, functions):
    name = function.name() + "-tenants"
    create(
        functions, name, function.subject.code(), function.created_with, handler=function.subject.handler,
        MemorySize=function.subject.memory, Timeout=20, TenancyConfig={"TenantIsolationMode": "PER_TENANT"},
    )
    for tenant in ("blue", "red"):
        answer = functions.invoke(FunctionName=name, TenantId=tenant, Payload=b'{"do": "context"}')
        assert json.loads(answer["Payload"].read())["tenant"] == tenant


def test_streaming(server, function, functions):
    whole = functions.invoke_with_response_stream(FunctionName=function.name(), Payload=b'{"do": "echo", "value": [1]}')
    body, end = read_stream(whole["EventStream"])
    assert (json.loads(body), end) == ([1], {})
    if not function.subject.streams:
        return  # Its answers are always whole, as on AWS.
    name = function.name() + "-stream"
    create(
        functions, name, function.subject.code(), function.created_with, handler=function.subject.streams,
        MemorySize=function.subject.memory, Timeout=20,
    )
    # So much fits into no buffer on the way: the handler cannot have ended before its reader goes on.
    size = 64 << 20
    answer = functions.invoke_with_response_stream(
        FunctionName=name, Payload=json.dumps({"do": "stream", "size": size}).encode())
    events = iter(answer["EventStream"])
    # AWS's client for Rust puts the head of an HTTP answer before it.
    head, _, begun = next(events)["PayloadChunk"]["Payload"].rpartition(b"\0" * 8)
    assert begun.startswith(b"first ") and (not head or json.loads(head)["statusCode"] == 200)
    assert server.health()["functions"]["environments"]["busy"] >= 1
    rest, end = read_stream(events)
    assert (begun + rest, end) == (b"first " + b"x" * size, {})


def test_printed_output_is_in_the_log_tail(function):
    answer = function.call("print")
    request_id = answer["RequestId"]
    begin, end = f"START RequestId: {request_id} Version: $LATEST\n", f"END RequestId: {request_id}\n"
    between = answer["Tail"].split(begin)[1].split(end)[0]
    for text in ("to stdout", "to stderr", "no line end"):
        assert text in between


def test_a_second_invocation_finds_the_state_of_the_first(function):
    first = function.value("count")
    assert function.value("count") == first + 1
    answer = function.call("count")
    assert json.loads(answer["Body"]) == first + 2 and "Init Duration" not in answer["Tail"]


JAVAS = [name for name in RUNTIMES if family(name) == "java"]


@pytest.fixture(scope="module")
def java_forms(functions, runtime):
    code = java(with_core=False)
    made = {}

    def call(handler, event, **more):
        if handler not in made:
            made[handler] = f"{runtime}-form-{len(made)}".replace(".", "-")
            create(functions, made[handler], code, runtime, handler=handler, MemorySize=256, Timeout=20, **more)
        payload = event if isinstance(event, bytes) else json.dumps(event).encode()
        answer = functions.invoke(FunctionName=made[handler], Payload=payload, LogType="Tail")
        return answer["Payload"].read(), answer.get("FunctionError"), base64.b64decode(answer["LogResult"]).decode()

    return call


@pytest.mark.parametrize("runtime", JAVAS, scope="module")
class TestJava:
    """The forms of Java handlers, without AWS's library in the package: the runtime brings its own."""

    ORDER = {
        "id": "o-1", "count": 1, "lines": [{"article": "bolt", "weight": 0.25}], "prices": {"bolt": 1.10},
        "colour": "GREEN", "at": 1700000000000, "paid": True, "total": 3,
    }

    @pytest.mark.parametrize("handler, event, expected", [
        ("subject.Forms::order", {**ORDER, "unknown": 1}, {**ORDER, "count": 2}),
        ("subject.Forms::order", {"colour": "MAUVE", "lines": {"article": "one"}, "at": "2023-11-14T22:13:20Z"}, {
            "count": 1, "lines": [{"article": "one", "weight": 0.0}], "at": 1700000000000, "paid": False}),
        ("subject.Forms::join", ["a", "b"], "a b"),
        ("subject.Forms::twice", 21, 42),
        ("subject.Forms::twice", "21", 42),
        ("subject.Forms::nothing", {}, "nothing taken"),
        ("subject.Forms::quiet", {}, None),
        ("subject.Forms$Generic", [{"article": "x", "weight": 1.5}], {"article": "x", "weight": 3.0}),
        ("subject.Forms$Streams", {"b": 1, "a": 2}, {"b": 1, "a": 2}),
        ("subject.Forms::copy", [1, 2], [1, 2]),
    ])
    def test_forms(self, java_forms, handler, event, expected):
        body, error, _ = java_forms(handler, event)
        assert (error, json.loads(body)) == (None, expected)

    def test_streams_are_untouched(self, java_forms):
        body = b'{ "b":1.0,"a" : "\\u00e4" }'
        assert java_forms("subject.Forms$Streams", body)[0] == body

    @pytest.mark.parametrize("handler, event, expected", [
        ("subject.Nowhere", {}, {
            "errorMessage": "Class not found: subject.Nowhere", "errorType": "java.lang.ClassNotFoundException"}),
        ("subject.Forms::absent", {}, {
            "errorMessage": "No public method named absent with appropriate method signature found on class subject.Forms"}),
        ("a::b::c", {}, {"errorMessage": "Invalid handler: `a::b::c'"}),
        ("subject.Forms", {}, {
            "errorMessage": "Class does not implement an appropriate handler interface: subject.Forms"}),
        ("subject.Forms$Broken", {}, {
            "errorMessage": "not today", "errorType": "java.lang.IllegalArgumentException"}),
        ("subject.Forms::twice", {"a": 1}, {
            "errorMessage": "An error occurred during JSON parsing", "errorType": "java.lang.RuntimeException"}),
        ("subject.Forms::loop", {}, {
            "errorMessage": "An error occurred during JSON serialization of response",
            "errorType": "java.lang.RuntimeException"}),
    ])
    def test_failures(self, java_forms, handler, event, expected):
        body, error, tail = java_forms(handler, event)
        seen = json.loads(body)
        assert error == "Unhandled" and {key: seen.get(key) for key in expected} == expected
        assert expected["errorMessage"] in tail

    def test_causes_and_stacks(self, java_forms):
        body, _, tail = java_forms("subject.Forms::fails", {})
        error = json.loads(body)
        assert (error["errorMessage"], error["errorType"]) == ("outside", "java.lang.Exception")
        assert [line.split("(")[0] for line in error["stackTrace"]] == ["subject.Forms.fails"]
        assert (error["cause"]["errorMessage"], error["cause"]["errorType"]) == ("inside", "java.lang.IllegalStateException")
        assert "outside: java.lang.Exception\rjava.lang.Exception: outside\r\tat subject.Forms.fails" in tail

    def test_events_of_awss_library(self, functions, runtime):
        name = f"{runtime}-events"
        create(functions, name, java_events(), runtime, handler="subject.Events", MemorySize=256, Timeout=20)
        event = {"version": "2.0", "rawPath": "/a", "queryStringParameters": {"q": "b"}, "requestContext": {"http": {"method": "GET"}}}
        answer = functions.invoke(FunctionName=name, Payload=json.dumps(event))
        assert json.loads(answer["Payload"].read()) == {
            "statusCode": 201, "headers": {"x-method": "GET"}, "body": "/a?b", "isBase64Encoded": False}
        functions.update_function_configuration(FunctionName=name, Handler="subject.Events::queue")
        functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
        event = {"Records": [{"messageId": "m", "body": "text", "eventSourceARN": "arn:aws:sqs:us-east-1:0:q"}]}
        answer = functions.invoke(FunctionName=name, Payload=json.dumps(event))
        assert json.loads(answer["Payload"].read()) == ["m text arn:aws:sqs:us-east-1:0:q"]

    def test_logger(self, java_forms):
        tail = java_forms("subject.Forms::logs", {})[2]
        assert "\none\rtwo\n[WARN] a warning\n[TRACE] a trace\n" in tail


@pytest.fixture(scope="module")
def forms(functions):
    """Calls a handler of a language's subject, which is made at its first call."""
    made = {}

    def call(runtime, handler, event, **more):
        if (runtime, handler) not in made:
            name = made[runtime, handler] = f"form-{len(made)}"
            subject = SUBJECTS[family(runtime)]
            create(functions, name, subject.code(), runtime, handler=handler, MemorySize=subject.memory, **more)
        name = made[runtime, handler]
        answer = functions.invoke(FunctionName=name, Payload=json.dumps(event).encode(), LogType="Tail")
        return answer["Payload"].read(), answer.get("FunctionError"), base64.b64decode(answer["LogResult"]).decode()

    return call


def expect_error(answer, kind, message):
    body, error, tail = answer
    seen = json.loads(body)
    assert (error, seen["errorType"]) == ("Unhandled", kind), seen
    assert seen["errorMessage"] == message
    assert message.split("\n")[0][:60] in tail
    return seen


DOTNETS = [name for name in RUNTIMES if family(name) == "dotnet"]


@pytest.mark.parametrize("runtime", DOTNETS)
class TestDotnet:
    """The forms of C# handlers."""

    @pytest.mark.parametrize("method, event, expected", [
        ("Order", {"Id": "o", "Count": 1, "Lines": ["a"]}, {"Id": "o", "Count": 2, "Lines": ["a"]}),
        ("Copy", {"any": [1, 2]}, {"any": [1, 2]}),
        ("CopyLater", [1.50], [1.5]),
    ])
    def test_forms(self, forms, runtime, method, event, expected):
        body, error, _ = forms(runtime, f"Subject::Subject.Forms::{method}", event)
        assert (error, json.loads(body)) == (None, expected)

    def test_static_and_later(self, forms, runtime):
        body, error, _ = forms(runtime, "Subject::Subject.Forms::Later", {"Id": "o", "Count": 1})
        assert error is None and json.loads(body)["Id"].startswith("form-")

    @pytest.mark.parametrize("method", ["Nothing", "NothingLater"])
    def test_methods_that_return_nothing_answer_nothing(self, forms, runtime, method):
        assert forms(runtime, f"Subject::Subject.Forms::{method}", {})[:2] == (b"", None)

    @pytest.mark.parametrize("handler, kind, message", [
        ("Subject::Subject.Broken::Handle", "NotSupportedException", "not today"),
        ("Nowhere::A::B", "LambdaValidationException", (
            "Could not find the specified handler assembly with the file name 'Nowhere, Culture=neutral, "
            "PublicKeyToken=null'. The assembly should be located in the root of your uploaded .zip file.")),
        ("Subject::Subject.Nowhere::B", "LambdaValidationException", (
            "Unable to load type 'Subject.Nowhere' from assembly 'Subject'.")),
        ("Subject::Subject.Forms::Absent", "LambdaValidationException", (
            "Unable to find method 'Absent' in type 'Subject.Forms' from assembly 'Subject': Found no methods matching "
            "method name 'Absent'.")),
        ("Subject::Subject.Forms", "LambdaValidationException", (
            "Invalid lambda function handler: 'Subject::Subject.Forms'. The valid format is 'ASSEMBLY::TYPE::METHOD'.")),
        ("Subject::Subject.Forms::", "LambdaValidationException", (
            "Invalid lambda function handler: 'Subject::Subject.Forms::', the method is missing. The valid format is "
            "'ASSEMBLY::TYPE::METHOD'.")),
        ("Subject::Subject.Forms::Twice", "LambdaValidationException", (
            "The method 'Twice' in type 'Subject.Forms' appears to have a number of overloads. To call this method please "
            "specify a complete method signature. Possible candidates are:\nSystem.String Twice(System.IO.Stream)\n"
            "System.String Twice(System.IO.Stream, Amazon.Lambda.Core.ILambdaContext).")),
        ("Subject::Subject.Forms::Forgotten", "LambdaValidationException", (
            "The method 'Void Forgotten(System.IO.Stream)' cannot be used as a Lambda Handler because it is an 'async void' "
            "method. Handler methods cannot be 'async void'. Please specify a method that is not 'async void'.")),
    ])
    def test_failures(self, forms, runtime, handler, kind, message):
        expect_error(forms(runtime, handler, {}), kind, message)

    def test_causes(self, forms, runtime):
        error = expect_error(forms(runtime, "Subject::Subject.Forms::Fails", {}), "InvalidDataException", "outside")
        assert [line.split("(")[0] for line in error["stackTrace"]] == ["at Subject.Forms.Fails"]
        assert (error["cause"]["errorType"], error["cause"]["errorMessage"]) == ("TimeoutException", "inside")

    def test_logger(self, forms, runtime):
        tail = forms(runtime, "Subject::Subject.Forms::Logs", {})[2]
        time_and_id = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\t[0-9a-f-]{36}"
        assert re.search(time_and_id + "\tone\rtwo\n", tail)
        assert re.search(time_and_id + "\twarn\t2 warnings for x\n", tail)
        assert re.search(time_and_id + "\tinfo\t1-b\n", tail)
        assert "not shown" not in tail


    def test_executable_assemblies_speak_the_runtime_api(self, forms, runtime):
        for count in (1, 2):
            body, error, tail = forms(runtime, "Executable", {"n": count})
            assert (error, json.loads(body)) == (None, {"count": count, "event": {"n": count}})
            assert f"call {count}\n" in tail

    def test_an_executable_that_is_not_there(self, forms, runtime):
        body, error, tail = forms(runtime, "Nowhere", {})
        assert error == "Unhandled" and json.loads(body)["errorType"] == "Runtime.ExitError"
        assert "Could not find the specified handler assembly with the file name 'Nowhere" in tail


@pytest.mark.skipif(not RUNTIME_DIRECTORIES, reason="there is no interpreter tree to add")
def test_an_added_runtime_serves_what_its_operator_says(tmp_path):
    _, tree = RUNTIME_DIRECTORIES
    data = tmp_path / "data"

    def gatemill(*words):
        done = subprocess.run([BINARY, "runtime", *words, "--data-dir", data], capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    assert gatemill("add", "dotnet8", tree) == (
        0, "Added dotnet8. It is dotnetcore3.1, and serves dotnet8 all the same. "
           "A server that runs takes it at its next start.\n")
    listed = {one["name"]: one for one in json.loads(gatemill("list", "--format", "json")[1])}
    assert listed["dotnet8"]["version"] == "3.1.23" and listed["dotnet8"]["program"].startswith(str(data))

    server = Server(tmp_path).start()
    function = Function(server.client("lambda"), "dotnet8")
    assert function.value("environment")["AWS_EXECUTION_ENV"] == "AWS_Lambda_dotnet8"
    assert server.stop() == 0, server.log()
    assert "dotnet8 is not installed here; dotnetcore3.1 runs in its place" in server.log()

    status, said = gatemill("add", "ruby9", tree)
    assert status != 0 and "there is no runtime ruby9; there are: dotnet8, " in said
    status, said = gatemill("add", "java21", tree)
    assert status != 0 and "has no interpreter of the language of java21" in said
    assert gatemill("remove", "dotnet8")[0] == 0
    assert "dotnet8" not in [one["name"] for one in json.loads(gatemill("list", "--format", "json")[1])]


RUBIES = [name for name in RUNTIMES if family(name) == "ruby"]


@pytest.mark.parametrize("runtime", RUBIES)
class TestRuby:
    """The forms of Ruby handlers."""

    def test_top_level_method(self, forms, runtime):
        body, error, _ = forms(runtime, "subject.top_level", {"a": "ä"})
        assert error is None and json.loads(body)["event"] == {"a": "ä"}

    @pytest.mark.parametrize("handler, kind", [
        ("nowhere.handler", "Init<LoadError>"),
        ("missing.handler", "Init<LoadError>"),
        ("failing.handler", "Init<IOError>"),
        ("broken.handler", "Init<SyntaxError>"),
        ("nodot", "Init<ArgumentError>"),
        ("subject.absent", "Function<NoMethodError>"),
        ("subject.Absent.handler", "Function<NameError>"),
        ("subject.unprintable", "Function<JSON::GeneratorError>"),
    ])
    def test_failures(self, forms, runtime, handler, kind):
        body, error, tail = forms(runtime, handler, {})
        seen = json.loads(body)
        assert (error, seen["errorType"]) == ("Unhandled", kind), seen
        assert set(seen) == {"errorMessage", "errorType", "stackTrace"} and kind in tail

    def test_stack(self, forms, runtime):
        error = expect_error(forms(runtime, "subject.fails", {}), "Function<TypeError>", "outside")
        assert error["stackTrace"][0].startswith("/var/task/subject.rb:")
        assert not any("/var/runtime" in frame for frame in error["stackTrace"])

    def test_logger(self, forms, runtime):
        tail = forms(runtime, "subject.logs", {})[2]
        assert re.search(r"W, \[\S+ #\d+\]  WARN [0-9a-f-]{36} -- : one\rtwo\n", tail)


@pytest.mark.parametrize("name", ["dotnet6", "dotnetcore3.1", "java8", "ruby2.7"])
def test_retired_runtimes_are_refused(functions, name):
    with pytest.raises(functions.exceptions.InvalidParameterValueException) as caught:
        create(functions, "retired", SUBJECTS["python"].code(), name, wait=False)
    assert f"The runtime parameter of {name} is no longer supported" in caught.value.response["Error"]["Message"]
