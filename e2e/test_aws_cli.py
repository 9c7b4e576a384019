"""The AWS CLI as a subprocess, line by line as the AWS documentation shows it."""

import json
import os
import subprocess
import time

import pytest

from packages import ROLE, package

AWS = os.environ.get("GATEMILL_AWS_CLI", "aws")
HELLO = package(app__py='''
def handler(event, context):
    print("the function says", event)
    return {"hello": event.get("name", "world")}
''')


@pytest.fixture
def aws(server, tmp_path):
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_PAGER": "", "PYTHONUNBUFFERED": "1",
    }

    def run(*words, background=False):
        line = [AWS, "--endpoint-url", server.url, *words]
        if background:
            return subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=environment, cwd=tmp_path)
        done = subprocess.run(line, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=120)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip().startswith(("{", "[")) else done.stdout

    run.directory = tmp_path
    return run


def test_a_function_from_create_to_delete_and_a_url(aws, server, python, name):
    (aws.directory / "function.zip").write_bytes(HELLO)
    made = aws("lambda", "create-function", "--function-name", name, "--runtime", python, "--handler", "app.handler",
               "--role", ROLE, "--zip-file", "fileb://function.zip")
    assert made["State"] == "Pending"
    aws("lambda", "wait", "function-active-v2", "--function-name", name)
    answer = aws("lambda", "invoke", "--function-name", name, "--cli-binary-format", "raw-in-base64-out",
                 "--payload", '{"name": "you"}', "--log-type", "Tail", "out.json")
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST") and answer["LogResult"]
    assert json.loads((aws.directory / "out.json").read_text()) == {"hello": "you"}

    api = aws("apigatewayv2", "create-api", "--name", name, "--protocol-type", "HTTP", "--target", made["FunctionArn"])
    aws("lambda", "add-permission", "--function-name", name, "--statement-id", "api", "--action", "lambda:InvokeFunction",
        "--principal", "apigateway.amazonaws.com", "--source-arn", f"arn:aws:execute-api:us-east-1:000000000000:{api['ApiId']}/*/*")
    curl = subprocess.run(["curl", "-sS", "--max-time", "20", "--resolve", f"{api['ApiEndpoint'][7:]}:127.0.0.1", api["ApiEndpoint"]],
                          capture_output=True, text=True)
    assert json.loads(curl.stdout) == {"hello": "world"}, curl.stderr

    tail = aws("logs", "tail", f"/aws/lambda/{name}", "--follow", "--format", "short", background=True)
    try:
        seen = []
        deadline = time.monotonic() + 60
        for line in tail.stdout:
            seen.append(line)
            if any("the function says {'name': 'you'}" in s for s in seen) and any("REPORT RequestId" in s for s in seen):
                break
            assert time.monotonic() < deadline, seen
    finally:
        tail.terminate()
        tail.wait(20)

    assert name in [f["FunctionName"] for f in aws("lambda", "list-functions")["Functions"]]
    aws("lambda", "delete-function", "--function-name", name)
    aws("apigatewayv2", "delete-api", "--api-id", api["ApiId"])
    assert aws("sts", "get-caller-identity")["Account"] == "000000000000"
