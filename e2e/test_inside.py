"""AWS as a function finds it: credentials of its role, and the APIs of this server at an address of its sandbox."""

import json
import sys

import pytest

from packages import BOTO3, create, modules, package_of
from server import Server

CODE = """
import json, os, urllib.request
import boto3
from botocore.exceptions import ClientError

def refused(call):
    try:
        call()
        return None
    except ClientError as error:
        return error.response["Error"]["Code"]

def handler(event, context):
    if event["do"] == "invoke":
        answer = boto3.client("lambda").invoke(FunctionName=event["function"], Payload=json.dumps(event["payload"]))
        return json.load(answer["Payload"])
    if event["do"] == "who":
        identity = boto3.client("sts").get_caller_identity()
        return {name: identity[name] for name in ("Arn", "Account", "UserId")}
    if event["do"] == "variables":
        return {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    if event["do"] == "refusals":
        own = boto3.Session()
        keys = own.get_credentials().get_frozen_credentials()
        def who(key, secret, token):
            return refused(boto3.client("sts", aws_access_key_id=key, aws_secret_access_key=secret, aws_session_token=token).get_caller_identity)
        return {
            "no_token": who(keys.access_key, keys.secret_key, None),
            "forged_token": who(keys.access_key, keys.secret_key, keys.token[:-8] + "AAAAAAAA"),
            "wrong_secret": who(keys.access_key, "x" * 40, keys.token),
            "invented": who("AKIAIOSFODNN7EXAMPLE", "x" * 40, None),
            "list": refused(boto3.client("lambda").list_functions),
        }
    if event["do"] == "endpoint":
        # A process that has no keys among its variables finds them at the endpoint.
        token = os.environ["AWS_LAMBDA_METADATA_TOKEN"]
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            os.environ.pop(name, None)
        url = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2021-04-23/credentials"
        try:
            urllib.request.urlopen(url).close()
            without = 200
        except urllib.error.HTTPError as error:
            without = error.code
        os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = url
        os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = token
        session = boto3.Session()
        return {"without": without, "method": session.get_credentials().method,
                "arn": session.client("sts").get_caller_identity()["Arn"]}
    if event["do"] == "admin":
        try:
            return urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL"] + "/_gatemill/health").status
        except urllib.error.HTTPError as error:
            return error.code
"""


@pytest.fixture(scope="module")
def python():
    """The version that these tests run on, whose boto3 the package takes along."""
    return f"python{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(scope="module")
def package_with_boto3():
    return package_of({"app.py": CODE} | modules(BOTO3))


def ask(functions, name, **event):
    answer = functions.invoke(FunctionName=name, Payload=json.dumps(event))
    payload = json.load(answer["Payload"])
    assert "FunctionError" not in answer, payload
    return payload


@pytest.fixture(scope="module", params=["none", "all"])
def caller(request, package_with_boto3, python):
    server = Server(arguments=["--egress", request.param]).start()
    functions = server.client("lambda")
    create(functions, "caller", package_with_boto3, python, Timeout=60, MemorySize=512)
    yield functions
    assert server.stop() == 0, server.log()


def test_a_function_invokes_another_one(caller, python, name):
    create(caller, name, package_of({"app.py": "def handler(event, context):\n    return [event, 2]\n"}), python)
    assert ask(caller, "caller", do="invoke", function=name, payload={"a": 1}) == [{"a": 1}, 2]


def test_a_function_is_a_session_of_its_role(caller):
    who = ask(caller, "caller", do="who")
    assert who["Arn"] == "arn:aws:sts::000000000000:assumed-role/e2e/caller"
    assert who["Account"] == "000000000000"
    assert who["UserId"].startswith("AROA") and who["UserId"].endswith(":caller")
    variables = ask(caller, "caller", do="variables")
    assert variables["AWS_ACCESS_KEY_ID"].startswith("ASIA") and len(variables["AWS_ACCESS_KEY_ID"]) == 20
    assert len(variables["AWS_SECRET_ACCESS_KEY"]) == 40
    assert variables["AWS_ENDPOINT_URL"] == "http://127.0.0.1:9001"


def test_what_is_not_the_sessions_is_refused(caller):
    refusals = ask(caller, "caller", do="refusals")
    assert refusals["no_token"] == "InvalidClientTokenId"
    assert refusals["forged_token"] == "InvalidClientTokenId"
    assert refusals["wrong_secret"] == "SignatureDoesNotMatch"
    assert refusals["list"] is None


def test_the_credentials_endpoint_wants_its_token(caller):
    answer = ask(caller, "caller", do="endpoint")
    assert answer["without"] == 401
    assert answer["method"] == "container-role"
    assert answer["arn"] == "arn:aws:sts::000000000000:assumed-role/e2e/caller"


def test_the_servers_own_paths_are_not_inside(caller):
    assert ask(caller, "caller", do="admin") in (403, 404)


def test_without_access_a_function_may_only_ask_who_it_is(package_with_boto3, python):
    server = Server(arguments=["--egress", "none", "--function-access", "none"]).start()
    functions = server.client("lambda")
    create(functions, "caller", package_with_boto3, python, Timeout=60, MemorySize=512)
    refusals = ask(functions, "caller", do="refusals")
    assert refusals["list"] == "AccessDeniedException"
    assert refusals["invented"] == "InvalidClientTokenId"
    assert ask(functions, "caller", do="who")["Arn"].endswith(":assumed-role/e2e/caller")
    assert server.stop() == 0, server.log()
