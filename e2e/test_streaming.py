"""Response streaming: InvokeWithResponseStream with boto3, whose parser checks every checksum."""

import base64
import json
import time

import pytest
from botocore.exceptions import ClientError

from packages import create, package, package_of
from streams import read_stream

STREAM = """
const { Readable } = require('stream');
const { pipeline } = require('stream/promises');
exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {
    if (event.http) stream = awslambda.HttpResponseStream.from(stream, event.http);
    stream.write(event.first ?? 'first ');
    console.log('wrote the first piece');
    if (event.megabytes) {
        const parts = Array.from({ length: event.megabytes * 16 }, () => Buffer.alloc(65536, 'x'));
        await pipeline(Readable.from(parts), stream, { end: false });
    }
    if (event.fail) throw new TypeError(event.fail);
    if (event.exit) process.exit(event.exit);
    if (event.forever) await new Promise(() => setInterval(() => {}, 1000));
    stream.write(Buffer.from([0, 255]));
    stream.end('last');
});
"""


@pytest.fixture(scope="module")
def streaming(functions, node):
    create(functions, "streaming", package(app__js=STREAM), node, Timeout=20)
    return "streaming"


def begin(functions, name, event, **more):
    return functions.invoke_with_response_stream(FunctionName=name, Payload=json.dumps(event), **more)


def eventually(holds):
    """Asks again until it holds, half a minute at most."""
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, holds
        time.sleep(0.01)


def test_the_first_byte_comes_before_the_handler_ends(server, functions, streaming):
    # 64 MB fit into no buffer on the way, so the handler cannot have ended before its reader goes on.
    answer = begin(functions, streaming, {"megabytes": 64}, LogType="Tail")
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert answer["ResponseStreamContentType"] == "application/vnd.amazon.eventstream"
    events = iter(answer["EventStream"])
    assert next(events) == {"PayloadChunk": {"Payload": b"first "}}
    assert server.health()["functions"]["environments"]["busy"] == 1
    rest, end = read_stream(events)
    assert rest == b"x" * (64 << 20) + b"\x00\xfflast"
    assert set(end) == {"LogResult"}
    tail = base64.b64decode(end["LogResult"]).decode()
    assert "wrote the first piece" in tail and "REPORT RequestId: " in tail


def test_a_handler_that_answers_whole_is_one_chunk(functions, python, name):
    create(functions, name, package(app__py="def handler(e, c):\n    if e: raise ValueError(e)\n    return [1]\n"), python)
    assert read_stream(begin(functions, name, {})["EventStream"]) == (b"[1]", {})
    body, end = read_stream(begin(functions, name, "no luck")["EventStream"])
    assert (body, end["ErrorCode"]) == (b"", "Unhandled")
    assert json.loads(end["ErrorDetails"])["errorMessage"] == "no luck"


@pytest.mark.parametrize("event, kind", [({"fail": "middle"}, "TypeError"), ({"exit": 3}, "Runtime.ExitError")])
def test_failures_after_the_first_byte_are_the_last_event(functions, streaming, event, kind):
    body, end = read_stream(begin(functions, streaming, event)["EventStream"])
    assert (body, end["ErrorCode"]) == (b"first ", "Unhandled")
    assert json.loads(end["ErrorDetails"])["errorType"] == kind
    assert "LogResult" not in end


def test_a_timeout_ends_the_stream(functions, node, name):
    create(functions, name, package(app__js=STREAM), node, Timeout=1)
    body, end = read_stream(begin(functions, name, {"forever": True})["EventStream"])
    assert body == b"first "
    details = json.loads(end["ErrorDetails"])
    assert details["errorType"] == "Sandbox.Timedout" and details["errorMessage"].endswith("Task timed out after 1.00 seconds")


def test_an_http_answer_keeps_its_head_in_the_stream(functions, streaming):
    body, end = read_stream(begin(functions, streaming, {"http": {"statusCode": 201}, "first": "x"})["EventStream"])
    assert (body, end) == (b'{"statusCode":201}' + bytes(8) + b"x\x00\xfflast", {})


def test_a_plain_invoke_gathers_the_pieces(functions, streaming):
    answer = functions.invoke(FunctionName=streaming, Payload=b"{}")
    assert answer["Payload"].read() == b"first \x00\xfflast"
    assert "FunctionError" not in answer
    answer = functions.invoke(FunctionName=streaming, Payload=b'{"megabytes": 7}')
    assert json.loads(answer["Payload"].read())["errorType"] == "Function.ResponseSizeTooLarge"


def test_a_client_that_leaves_does_not_stop_the_function(functions, logs, node, name):
    create(functions, name, package(app__js=STREAM.replace("stream.end('last')", "console.log('at the end'); stream.end()")), node)
    answer = begin(functions, name, {"megabytes": 64})
    next(iter(answer["EventStream"]))
    answer["EventStream"].close()

    def done():
        try:
            events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        except logs.exceptions.ResourceNotFoundException:
            return False
        return any("at the end" in event["message"] for event in events)

    eventually(done)


def test_what_is_refused_has_its_status(functions, streaming):
    def refused(code, **arguments):
        with pytest.raises(ClientError) as refusal:
            functions.invoke_with_response_stream(**{"FunctionName": streaming, **arguments})
        assert refusal.value.response["Error"]["Code"] == code

    refused("ResourceNotFoundException", FunctionName="absent")
    refused("InvalidRequestContentException", Payload=b"{")
    refused("ValidationException", InvocationType="Event")
    answer = functions.invoke_with_response_stream(FunctionName=streaming, InvocationType="DryRun")
    assert answer["StatusCode"] == 204


# A runtime of the customer's own, in the Runtime API's streaming mode.
CUSTOM = """#!/usr/bin/python3 -u
import base64, http.client, json, os, socket
host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
api = http.client.HTTPConnection(host, int(port))
while True:
    api.request("GET", "/2018-06-01/runtime/invocation/next")
    answer = api.getresponse()
    event, id = json.loads(answer.read()), answer.headers["Lambda-Runtime-Aws-Request-Id"]
    def pieces():
        if event.get("before"):
            return
        yield b"first "
        for _ in range(event.get("megabytes", 0)):
            yield b"x" * (1 << 20)
        if not event.get("fail"):
            yield b"last"
    api.putrequest("POST", f"/2018-06-01/runtime/invocation/{id}/response")
    api.putheader("Lambda-Runtime-Function-Response-Mode", "streaming")
    api.putheader("Content-Type", "text/plain")
    api.putheader("Transfer-Encoding", "chunked")
    api.putheader("Trailer", "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body")
    api.endheaders()
    for piece in pieces():
        api.send(b"%x\\r\\n%s\\r\\n" % (len(piece), piece))
    trailers = b""
    if event.get("fail") or event.get("before"):
        body = base64.b64encode(json.dumps({"errorType": "Own.Error", "errorMessage": "as asked"}).encode())
        trailers = b"Lambda-Runtime-Function-Error-Type: Own.Error\\r\\nLambda-Runtime-Function-Error-Body: " + body + b"\\r\\n"
    api.send(b"0\\r\\n" + trailers + b"\\r\\n")
    api.getresponse().read()
"""


def test_custom_runtimes_stream_as_well(server, functions, name):
    create(functions, name, package_of({"bootstrap": CUSTOM}, 0o755), "provided.al2023", handler="any", Timeout=30)
    for _ in range(2):
        # 64 MB fit into no buffer on the way, so the runtime cannot have ended its answer before the reader goes on.
        events = iter(begin(functions, name, {"megabytes": 64})["EventStream"])
        first = next(events)["PayloadChunk"]["Payload"]
        assert server.health()["functions"]["environments"]["busy"] == 1
        rest, end = read_stream(events)
        assert (first + rest, end) == (b"first " + b"x" * (64 << 20) + b"last", {})
    for event, expected in (({"fail": 1}, b"first "), ({"before": 1}, b"")):
        body, end = read_stream(begin(functions, name, event)["EventStream"])
        assert (body, end["ErrorCode"]) == (expected, "Unhandled")
        assert json.loads(end["ErrorDetails"]) == {"errorType": "Own.Error", "errorMessage": "as asked"}
    answer = functions.invoke(FunctionName=name, Payload=b"{}")
    assert answer["Payload"].read() == b"first last" and "FunctionError" not in answer
