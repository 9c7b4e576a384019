"""By enumeration: what holds for every operation is asked of every operation, as the binary lists them."""

import http.client
import json
import re

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest

from server import Server, operations

OPERATIONS = operations()
BUILT = [operation for operation in OPERATIONS if operation["built"]]


@pytest.fixture(scope="module")
def strict():
    """A production server with real credentials."""
    server = Server(command="serve").start(after="sts get-caller-identity")
    printed = "\n".join(server.printed)
    server.key = re.search(r"AKIA[A-Z2-7]{16}", printed).group()
    server.secret = re.search(r"aws_secret_access_key (\S{40})", printed).group(1)
    yield server
    assert server.stop() == 0, server.log()


def request_of(operation):
    """A bare request for an operation, whatever its protocol."""
    path = re.sub(r"\{[^}]*\}", "x", operation["uri"])
    headers, body = {"Host": "127.0.0.1"}, b""
    if operation["protocol"] == "json":
        headers |= {"X-Amz-Target": f"{operation['target_prefix']}.{operation['operation']}", "Content-Type": "application/x-amz-json-1.1"}
        body = b"{}"
    elif operation["protocol"] == "query":
        headers |= {"Content-Type": "application/x-www-form-urlencoded"}
        body = f"Action={operation['operation']}&Version={operation['api_version']}".encode()
    elif operation["protocol"] == "rpc-v2-cbor":
        headers |= {"Smithy-Protocol": "rpc-v2-cbor", "Content-Type": "application/cbor"}
        path, body = f"/service/{operation['target_prefix']}/operation/{operation['operation']}", b"\xa0"
    elif operation["method"] in ("POST", "PUT", "PATCH"):
        body = b"{}"
    return operation["method"], path, headers, body


def signed(operation, key, secret):
    method, path, headers, body = request_of(operation)
    request = botocore.awsrequest.AWSRequest(method, f"http://127.0.0.1{path}", headers=headers, data=body)
    credentials = botocore.credentials.Credentials(key, secret)
    botocore.auth.SigV4Auth(credentials, operation["signing_name"], "us-east-1").add_auth(request)
    return method, path, dict(request.headers), body


def send(server, method, path, headers, body):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request(method, path, body=body, headers=headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


def code_of(answer, content):
    if "x-amzn-ErrorType" in answer.headers:
        return answer.headers["x-amzn-ErrorType"]
    if "x-amzn-query-error" in answer.headers:
        return answer.headers["x-amzn-query-error"].split(";")[0]
    if content.startswith(b"<"):
        return re.search(rb"<Code>(.*?)</Code>", content).group(1).decode()
    return json.loads(content)["__type"]


def ids(operation):
    return f"{operation['service']}.{operation['operation']}"


@pytest.mark.parametrize("operation", BUILT, ids=ids)
def test_an_unsigned_caller_is_refused(strict, operation):
    answer, content = send(strict, *request_of(operation))
    assert answer.status == 403 and code_of(answer, content).startswith("MissingAuthenticationToken")


@pytest.mark.parametrize("operation", BUILT, ids=ids)
def test_a_wrongly_signed_caller_is_refused(strict, operation):
    answer, content = send(strict, *signed(operation, strict.key, "x" * 40))
    assert answer.status == 403 and code_of(answer, content) in ("InvalidSignatureException", "SignatureDoesNotMatch")
    answer, content = send(strict, *signed(operation, "AKIAAAAAAAAAAAAAAAAA", "x" * 40))
    assert answer.status == 403 and code_of(answer, content) in ("UnrecognizedClientException", "InvalidClientTokenId")


def test_every_operation_that_is_not_built_answers_501_and_names_itself(strict):
    for operation in OPERATIONS:
        if operation["built"]:
            continue
        answer, content = send(strict, *signed(operation, strict.key, strict.secret))
        assert answer.status == 501 and operation["operation"].encode() in content, (operation, answer.status, content)


def test_every_built_operation_is_reached_by_a_right_signature(strict):
    for operation in BUILT:
        answer, content = send(strict, *signed(operation, strict.key, strict.secret))
        assert answer.status not in (403, 500, 501), (operation, answer.status, content)
        assert answer.headers["x-amzn-RequestId"]
