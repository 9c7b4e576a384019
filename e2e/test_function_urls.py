"""Function URLs: their operations with boto3, and their data plane as any client of HTTP sees it."""

import base64
import http.client
import json
import shutil
import socket
import subprocess
import urllib.parse

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
from botocore.exceptions import ClientError

from packages import create, package
from server import Server

ECHO = """
exports.handler = async (event) => {
    const wanted = event.queryStringParameters?.answer;
    if (wanted === 'throw') throw new Error('no luck');
    return wanted ? JSON.parse(wanted) : event;
};
"""
STREAM = """
const { Readable } = require('stream');
const { pipeline } = require('stream/promises');
exports.handler = awslambda.streamifyResponse(async (event, stream) => {
    const asked = event.queryStringParameters ?? {};
    if (asked.head) stream = awslambda.HttpResponseStream.from(stream, JSON.parse(asked.head));
    else stream.setContentType('text/plain');
    if (asked.before) throw new Error('before');
    stream.write('first ');
    if (asked.megabytes) {
        const parts = Array.from({ length: asked.megabytes * 16 }, () => Buffer.alloc(65536, 'x'));
        await pipeline(Readable.from(parts), stream, { end: false });
    }
    if (asked.fail) throw new Error('middle');
    stream.end('last');
});
"""
FORBIDDEN = {"Message": "Forbidden. For troubleshooting Function URL authorization issues, see: "
                        "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"}


def permit(functions, name, auth="NONE", principal="*", **more):
    """What callers need since October 2025: both actions."""
    functions.add_permission(FunctionName=name, StatementId="FunctionURLAllowPublicAccess", Principal=principal,
                             Action="lambda:InvokeFunctionUrl", FunctionUrlAuthType=auth, **more)
    functions.add_permission(FunctionName=name, StatementId="FunctionURLInvokeAllowPublicAccess", Principal=principal,
                             Action="lambda:InvokeFunction", InvokedViaFunctionUrl=True, **more)


def send(server, url, method="GET", path="/", headers=None, body=None):
    """One request to the URL's host, which needs no name server this way; the answer is not read yet."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request(method, path, body=body, headers={"Host": parts.netloc, **(headers or {})})
    answer = connection.getresponse()
    answer.connection = connection
    return answer


@pytest.fixture(scope="module")
def echo(functions, node):
    create(functions, "url-echo", package(app__js=ECHO), node)
    url = functions.create_function_url_config(FunctionName="url-echo", AuthType="NONE")["FunctionUrl"]
    permit(functions, "url-echo")
    return url


@pytest.fixture(scope="module")
def stream(functions, node):
    create(functions, "url-stream", package(app__js=STREAM), node, Timeout=20)
    url = functions.create_function_url_config(
        FunctionName="url-stream", AuthType="NONE", InvokeMode="RESPONSE_STREAM")["FunctionUrl"]
    permit(functions, "url-stream")
    return url


def refused(code, message, call, **arguments):
    with pytest.raises(ClientError) as refusal:
        call(**arguments)
    error = refusal.value.response["Error"]
    assert error["Code"] == code and message in error["Message"], error


def test_the_life_of_a_configuration(server, functions, python, name):
    create(functions, name, package(app__py="def handler(e, c): return 1\n"), python)
    refused("ResourceNotFoundException", "The resource you requested does not exist.",
            functions.get_function_url_config, FunctionName=name)
    assert functions.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"] == []
    cors = {"AllowOrigins": ["https://one.example"], "AllowMethods": ["GET", "POST"], "MaxAge": 60, "AllowCredentials": True}
    made = functions.create_function_url_config(FunctionName=name, AuthType="AWS_IAM", Cors=cors)
    arn = functions.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    assert (made["FunctionArn"], made["AuthType"], made["Cors"]) == (arn, "AWS_IAM", cors)
    assert "InvokeMode" not in made and "LastModifiedTime" not in made
    host = urllib.parse.urlsplit(made["FunctionUrl"]).hostname
    label, rest = host.split(".", 1)
    assert len(label) == 32 and rest == "lambda-url.us-east-1.localhost"
    assert made["FunctionUrl"] == f"http://{host}:{server.port}/"
    refused("ResourceConflictException",
            f"Failed to create function url config for [functionArn = {arn}]. Error message:  FunctionUrlConfig exists",
            functions.create_function_url_config, FunctionName=name, AuthType="NONE")
    found = functions.get_function_url_config(FunctionName=arn)
    assert (found["InvokeMode"], found["FunctionUrl"], found["CreationTime"]) == ("BUFFERED", made["FunctionUrl"], made["CreationTime"])
    changed = functions.update_function_url_config(FunctionName=name, AuthType="NONE", Cors={})
    assert "Cors" not in changed and "InvokeMode" not in changed and changed["AuthType"] == "NONE"
    assert functions.update_function_url_config(FunctionName=name, InvokeMode="RESPONSE_STREAM")["InvokeMode"] == "RESPONSE_STREAM"
    listed = functions.list_function_url_configs(FunctionName=name, MaxItems=1)
    assert [(one["FunctionUrl"], one["AuthType"]) for one in listed["FunctionUrlConfigs"]] == [(made["FunctionUrl"], "NONE")]
    functions.delete_function_url_config(FunctionName=name)
    refused("ResourceNotFoundException", "", functions.delete_function_url_config, FunctionName=name)
    assert send(server, made["FunctionUrl"]).status == 403
    # A function takes its URL along.
    again = functions.create_function_url_config(FunctionName=name, AuthType="NONE")["FunctionUrl"]
    permit(functions, name)
    assert send(server, again).status == 200
    functions.delete_function(FunctionName=name)
    answer = send(server, again)
    assert (answer.status, answer.read()) == (403, b'{"Message":null}')


def test_an_alias_has_a_url_of_its_own(server, functions, python, name):
    create(functions, name, package(app__py="def handler(event, context): return context.invoked_function_arn + ' ' + context.function_version\n"),
           python, Publish=True)
    arn = functions.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    refused("ResourceNotFoundException", "Function does not exist", functions.create_function_url_config, FunctionName=name,
            Qualifier="live", AuthType="NONE")
    functions.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    made = functions.create_function_url_config(FunctionName=name, Qualifier="live", AuthType="NONE")
    own = functions.create_function_url_config(FunctionName=name, AuthType="NONE")
    assert made["FunctionArn"] == f"{arn}:live" and own["FunctionArn"] == arn and made["FunctionUrl"] != own["FunctionUrl"]
    refused("ResourceConflictException", f"[functionArn = {arn}:live]", functions.create_function_url_config,
            FunctionName=f"{name}:live", AuthType="NONE")
    assert functions.get_function_url_config(FunctionName=name, Qualifier="live")["FunctionUrl"] == made["FunctionUrl"]
    pages = functions.get_paginator("list_function_url_configs").paginate(FunctionName=name, PaginationConfig={"PageSize": 1})
    listed = {one["FunctionArn"]: one["FunctionUrl"] for page in pages for one in page["FunctionUrlConfigs"]}
    assert listed == {arn: own["FunctionUrl"], f"{arn}:live": made["FunctionUrl"]}
    # Each has the policy of what it belongs to.
    permit(functions, name)
    assert send(server, own["FunctionUrl"]).read() == f"{arn} $LATEST".encode()
    assert send(server, made["FunctionUrl"]).status == 403
    permit(functions, name, Qualifier="live")
    assert send(server, made["FunctionUrl"]).read() == f"{arn}:live 1".encode()
    assert functions.update_function_url_config(FunctionName=name, Qualifier="live", AuthType="AWS_IAM")["AuthType"] == "AWS_IAM"
    assert send(server, made["FunctionUrl"]).status == 403 and send(server, own["FunctionUrl"]).status == 200
    functions.update_function_url_config(FunctionName=name, Qualifier="live", AuthType="NONE")
    # What outlives its alias lets nobody in.
    functions.delete_alias(FunctionName=name, Name="live")
    assert send(server, made["FunctionUrl"]).status == 403
    functions.delete_function_url_config(FunctionName=name, Qualifier="live")
    refused("ResourceNotFoundException", "", functions.get_function_url_config, FunctionName=name, Qualifier="live")
    assert send(server, own["FunctionUrl"]).status == 200


def test_what_is_refused(functions, echo):
    ask = functions.create_function_url_config
    refused("ResourceNotFoundException", "Function does not exist", ask, FunctionName="absent", AuthType="NONE")
    refused("ResourceNotFoundException", "", ask, FunctionName="url-echo", Qualifier="no-alias", AuthType="NONE")
    pattern = r"failed to satisfy constraint: Member must satisfy regular expression pattern: ((?!^\d+$)^[0-9a-zA-Z-_]+$)"
    refused("ValidationException", pattern, ask, FunctionName="url-echo", Qualifier="$LATEST", AuthType="NONE")
    refused("ValidationException", pattern, ask, FunctionName="url-echo", Qualifier="1", AuthType="NONE")
    change = functions.update_function_url_config
    refused("ValidationException", "Member must satisfy enum value set: [RESPONSE_STREAM, BUFFERED]",
            change, FunctionName="url-echo", InvokeMode="OTHER")
    for cors in ({"MaxAge": 86401}, {"AllowMethods": ["OPTIONS"]}, {"AllowOrigins": ["https://o"] * 101}):
        refused("ValidationException", "failed to satisfy constraint", change, FunctionName="url-echo", Cors=cors)


def test_the_event(server, echo):
    host = urllib.parse.urlsplit(echo).netloc
    headers = {"X-Multi": "a", "Cookie": "c1=1; c2=2", "Content-Type": "text/plain", "User-Agent": "e2e"}
    answer = send(server, echo, "POST", "/pa2%Fth/1?q=1&q=%20x&r=", headers, "hello")
    event = json.loads(answer.read())
    assert (event["version"], event["routeKey"], event["rawPath"]) == ("2.0", "$default", "/pa2%Fth/1")
    assert (event["rawQueryString"], event["queryStringParameters"]) == ("q=1&q=%20x&r=", {"q": "1, x", "r": ""})
    assert event["cookies"] == ["c1=1", "c2=2"] and "cookie" not in event["headers"]
    assert event["headers"]["x-multi"] == "a" and event["headers"]["host"] == host
    assert event["headers"]["x-forwarded-for"] == "127.0.0.1" and event["headers"]["x-forwarded-proto"] == "http"
    assert (event["body"], event["isBase64Encoded"]) == ("hello", False)
    context = event["requestContext"]
    assert (context["accountId"], context["stage"], context["routeKey"]) == ("anonymous", "$default", "$default")
    assert context["apiId"] == context["domainPrefix"] == host.split(".")[0]
    assert context["domainName"] == host.split(":")[0] and "authorizer" not in context
    assert context["http"] == {"method": "POST", "path": "/pa2%Fth/1", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "e2e"}
    assert context["requestId"] == answer.headers["x-amzn-RequestId"]
    assert answer.headers["content-type"] == "application/json"
    assert {"queryStringParameters", "cookies", "body"}.isdisjoint(json.loads(send(server, echo).read()))

    binary = send(server, echo, "PUT", "/", {"Content-Type": "application/octet-stream"}, bytes(range(256)))
    event = json.loads(binary.read())
    assert event["isBase64Encoded"] and base64.b64decode(event["body"]) == bytes(range(256))
    # The path form, for hosts without names.
    label = host.split(".")[0]
    plain = http.client.HTTPConnection("127.0.0.1", server.port)
    plain.request("GET", f"/_aws/lambda-url/{label}/a/b")
    event = json.loads(plain.getresponse().read())
    assert (event["rawPath"], event["requestContext"]["domainName"]) == ("/a/b", host.split(":")[0])


@pytest.mark.parametrize("answer, status, content_type, body", [
    ('"hello"', 200, "application/json", b"hello"),
    ("[1,2.5]", 200, "application/json", b"[1,2.5]"),
    ('{"a":1}', 200, "application/json", b'{"a":1}'),
    ('{"statusCode":404,"body":"no"}', 404, "application/json", b"no"),
    ('{"statusCode":200,"body":{"a":1}}', 200, "application/json", b'{"a":1}'),
    ('{"statusCode":201,"headers":{"Content-Type":"image/png"},"body":"AP8=","isBase64Encoded":true}', 201, "image/png", b"\0\xff"),
    ('{"statusCode":"x"}', 502, "text/plain", b"Internal Server Error"),
    ("throw", 502, "text/plain", b"Internal Server Error"),
])
def test_answers(server, echo, answer, status, content_type, body):
    got = send(server, echo, path="/?answer=" + urllib.parse.quote(answer))
    assert (got.status, got.headers["content-type"], got.read()) == (status, content_type, body)
    assert got.headers["x-amzn-RequestId"]


def test_cookies_and_headers_of_the_connection(server, echo):
    answer = json.dumps({"statusCode": 200, "cookies": ["a=1; Secure", "b=2"], "headers": {"Date": "never", "Connection": "close"}})
    got = send(server, echo, path="/?answer=" + urllib.parse.quote(answer))
    assert got.headers.get_all("set-cookie") == ["a=1; Secure", "b=2"]
    assert got.headers["x-amzn-remapped-date"] == "never" and got.headers["x-amzn-remapped-connection"] == "close"
    assert got.headers["date"] != "never"


def test_sizes(server, echo):
    answer = send(server, echo, "POST", body=b"x" * (6 * 1024 * 1024 + 1))
    assert answer.status == 413 and answer.headers["x-amzn-ErrorType"] == "RequestEntityTooLargeException"


def test_everybody_needs_both_permissions(server, functions, python, name):
    create(functions, name, package(app__py="def handler(e, c): return 'in'\n"), python)
    url = functions.create_function_url_config(FunctionName=name, AuthType="NONE")["FunctionUrl"]

    def ask():
        answer = send(server, url)
        return answer.status, answer.read()

    status, body = ask()
    assert status == 403 and json.loads(body) == FORBIDDEN
    functions.add_permission(FunctionName=name, StatementId="url", Principal="*", Action="lambda:InvokeFunctionUrl",
                             FunctionUrlAuthType="NONE")
    assert ask()[0] == 403
    functions.add_permission(FunctionName=name, StatementId="invoke", Principal="*", Action="lambda:InvokeFunction",
                             InvokedViaFunctionUrl=True)
    assert ask() == (200, b"in")
    functions.update_function_url_config(FunctionName=name, AuthType="AWS_IAM")
    assert ask()[0] == 403
    functions.update_function_url_config(FunctionName=name, AuthType="NONE")
    functions.remove_permission(FunctionName=name, StatementId="url")
    assert ask()[0] == 403
    answer = send(server, url.replace(url[7:39], "0" * 32))
    assert (answer.status, answer.read()) == (403, b'{"Message":null}')
    assert answer.headers["x-amzn-ErrorType"] == "AccessDeniedException"


def test_throttles(server, functions, python, name):
    create(functions, name, package(app__py="def handler(e, c): return 1\n"), python)
    url = functions.create_function_url_config(FunctionName=name, AuthType="NONE")["FunctionUrl"]
    permit(functions, name)
    functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    answer = send(server, url)
    assert answer.status == 429 and answer.headers["x-amzn-ErrorType"] == "TooManyRequestsException"
    assert json.loads(answer.read())["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    functions.delete_function_concurrency(FunctionName=name)
    assert send(server, url).status == 200


def test_functions_with_tenants_have_none(functions, python, name):
    create(functions, name, package(app__py="def handler(e, c): return 1\n"), python,
           TenancyConfig={"TenantIsolationMode": "PER_TENANT"})
    refused("InvalidParameterValueException", "", functions.create_function_url_config, FunctionName=name, AuthType="NONE")


def signed(url, key, secret, method="GET", path="/", body=b"", service="lambda"):
    request = botocore.awsrequest.AWSRequest(method, url.rstrip("/") + path, data=body)
    botocore.auth.SigV4Auth(botocore.credentials.Credentials(key, secret), service, "us-east-1").add_auth(request)
    return dict(request.headers)


def test_callers_that_sign(node):
    """In production, where signatures are checked."""
    server = Server(command="serve").start(after="sts get-caller-identity")
    printed = "\n".join(server.printed)
    key = next(word for word in printed.replace("'", " ").split() if word.startswith("AKIA"))
    secret = printed.split("aws_secret_access_key ")[1].split()[0].strip("'")
    functions = server.client("lambda", key=key, secret=secret)
    create(functions, "f", package(app__js=ECHO), node)
    url = functions.create_function_url_config(FunctionName="f", AuthType="AWS_IAM")["FunctionUrl"]
    answer = send(server, url)
    assert answer.status == 403 and answer.headers["x-amzn-ErrorType"].startswith("MissingAuthenticationToken")
    answer = send(server, url, headers=signed(url, key, "x" * 40))
    assert answer.status == 403 and answer.headers["x-amzn-ErrorType"].startswith("InvalidSignature")
    answer = send(server, url, headers=signed(url, key, secret, service="execute-api"))
    assert answer.status == 403
    answer = send(server, url, "POST", "/a%20b?x=1", signed(url, key, secret, "POST", "/a%20b?x=1", b"body"), b"body")
    assert answer.status == 200, answer.read()
    event = json.loads(answer.read())
    account = server.client("sts", key=key, secret=secret).get_caller_identity()
    iam = event["requestContext"]["authorizer"]["iam"]
    assert (iam["accessKey"], iam["accountId"], iam["userArn"]) == (key, account["Account"], account["Arn"])
    assert event["requestContext"]["accountId"] == account["Account"]
    assert server.stop() == 0, server.log()


def test_cors(server, functions, node, name):
    create(functions, name, package(app__js="exports.handler = async () => ({statusCode: 200, headers: "
                                            "{'access-control-allow-origin': 'https://function'}, body: 'x'});"), node)
    url = functions.create_function_url_config(FunctionName=name, AuthType="NONE", Cors={
        "AllowOrigins": ["https://one.example"], "AllowMethods": ["GET"], "AllowHeaders": ["x-a", "x-b"], "MaxAge": 7})["FunctionUrl"]
    preflight = {"Origin": "https://one.example", "Access-Control-Request-Method": "GET"}
    # Nobody may invoke it yet, and a preflight does not ask.
    answer = send(server, url, "OPTIONS", headers=preflight)
    assert (answer.status, answer.read()) == (200, b"")
    assert answer.headers["access-control-allow-origin"] == "https://one.example"
    assert answer.headers["access-control-allow-methods"] == "GET" and answer.headers["access-control-allow-headers"] == "x-a,x-b"
    assert answer.headers["access-control-max-age"] == "7" and answer.headers["vary"] == "Origin"
    answer = send(server, url, "OPTIONS", headers=preflight | {"Origin": "https://two.example"})
    assert "access-control-allow-origin" not in answer.headers
    permit(functions, name)
    answer = send(server, url, headers={"Origin": "https://one.example"})
    assert answer.headers.get_all("access-control-allow-origin") == ["https://one.example"]
    assert "access-control-allow-methods" not in answer.headers
    assert "access-control-allow-origin" not in send(server, url).headers
    functions.update_function_url_config(FunctionName=name, Cors={})
    answer = send(server, url, headers={"Origin": "https://one.example"})
    assert answer.headers["access-control-allow-origin"] == "https://function"


def test_the_first_byte_comes_before_the_handler_ends(server, stream):
    # 64 MB fit into no buffer on the way, so the handler cannot have ended before its reader goes on.
    answer = send(server, stream, path="/?megabytes=64")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/plain")
    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.read(6) == b"first "
    assert server.health()["functions"]["environments"]["busy"] == 1
    assert answer.read() == b"x" * (64 << 20) + b"last"


def test_a_streamed_answer_has_a_head_of_its_own(server, stream):
    head = {"statusCode": 201, "headers": {"Content-Type": "text/html", "x-a": "b"}, "cookies": ["c=1", "d=2"]}
    answer = send(server, stream, path="/?head=" + urllib.parse.quote(json.dumps(head)))
    assert (answer.status, answer.headers["content-type"], answer.headers["x-a"]) == (201, "text/html", "b")
    assert answer.headers.get_all("set-cookie") == ["c=1", "d=2"]
    assert answer.read() == b"first last"


def test_failures_of_streams(server, stream):
    answer = send(server, stream, path="/?before=1")
    assert (answer.status, answer.read()) == (502, b"Internal Server Error")
    # The status has left: the body is cut, so that nobody takes it for whole.
    answer = send(server, stream, path="/?fail=1")
    assert answer.status == 200
    with pytest.raises(http.client.IncompleteRead) as cut:
        answer.read()
    assert cut.value.partial == b"first "


def test_a_client_that_reads_trailers_is_told_why(server, stream):
    host = urllib.parse.urlsplit(stream).netloc
    for path in ("/?fail=1", "/"):
        with socket.create_connection(("127.0.0.1", server.port), 60) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nTE: trailers\r\nConnection: close\r\n\r\n".encode())
            answer = connection.makefile("rb").read()
        head, body = answer.split(b"\r\n\r\n", 1)
        assert head.startswith(b"HTTP/1.1 200")
        assert b"trailer: lambda-runtime-function-error-type, lambda-runtime-function-error-body" in head.lower()
        assert b"first " in body
        last = body[body.rindex(b"\r\n0\r\n") + 5:]
        trailers = dict(line.lower().split(": ", 1) for line in last.decode().split("\r\n") if line)
        if path == "/":
            assert trailers == {} and b"last" in body
        else:
            assert trailers["lambda-runtime-function-error-type"] == "error"
            text = last.decode().split("ody: ")[1].split("\r\n")[0]
            assert json.loads(base64.b64decode(text))["errorMessage"] == "middle"


def test_a_streaming_handler_behind_a_buffered_url(server, functions, stream):
    functions.update_function_url_config(FunctionName="url-stream", InvokeMode="BUFFERED")
    answer = send(server, stream)
    assert (answer.status, answer.read()) == (200, b"first last")
    functions.update_function_url_config(FunctionName="url-stream", InvokeMode="RESPONSE_STREAM")
    assert send(server, stream).headers["transfer-encoding"] == "chunked"


def test_a_whole_answer_behind_a_streaming_url(server, functions, echo):
    functions.update_function_url_config(FunctionName="url-echo", InvokeMode="RESPONSE_STREAM")
    answer = send(server, echo, path="/?answer=%5B1%5D")
    assert (answer.status, answer.headers["content-type"], answer.read()) == (200, "application/json", b"[1]")
    assert send(server, echo, path="/?answer=throw").status == 502
    functions.update_function_url_config(FunctionName="url-echo", InvokeMode="BUFFERED")


@pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])
def test_curl_reads_a_stream(server, stream, version):
    if not shutil.which("curl"):
        pytest.fail("curl is missing: `cargo xtask ci` installs it")
    host = urllib.parse.urlsplit(stream)
    line = ["curl", "-sS", "-i", "--no-buffer", version, "--resolve", f"{host.hostname}:{server.port}:127.0.0.1", stream]
    done = subprocess.run(line, capture_output=True, timeout=60, check=True)
    assert done.stdout.split(b"\r\n")[0].split()[1] == b"200" and done.stdout.endswith(b"first last")
    cut = subprocess.run([*line[:-1], stream + "?fail=1"], capture_output=True, timeout=60, check=False)
    assert cut.returncode in (18, 56, 92), cut
    # A client of HTTP/2 may drop what it has of a stream that is reset.
    assert b"first " in cut.stdout or "http2" in version, cut
