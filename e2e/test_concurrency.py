"""Reserved and provisioned concurrency, as boto3 sees them; environments are counted where they run."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from packages import create, package

CODE = package(app__py='''
import os, time, uuid
ME = uuid.uuid4().hex

def handler(event, context):
    time.sleep(event.get("sleep", 0))
    return [ME, os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]]
''')


def ask(functions, sleep=0.0, **target):
    try:
        answer = functions.invoke(Payload=json.dumps({"sleep": sleep}).encode(), **target)
        return json.loads(answer["Payload"].read())
    except ClientError as error:
        return error.response


def ready(functions, **version):
    for _ in range(400):
        answer = functions.get_provisioned_concurrency_config(**version)
        if answer["Status"] != "IN_PROGRESS":
            return answer
        time.sleep(0.05)
    raise AssertionError(answer)


def test_reserved_concurrency_is_a_cap_with_its_reason(functions, python, name):
    create(functions, name, CODE, python)
    before = functions.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
    functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=3)
    after = functions.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
    assert before - after == 3
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(functions, 1, FunctionName=name), range(8)))
    ran = [answer for answer in answers if isinstance(answer, list)]
    refused = [answer for answer in answers if isinstance(answer, dict)]
    assert len(ran) == len({who for who, _ in ran}) == 3 and len(refused) == 5
    for answer in refused:
        assert answer["Error"]["Code"] == "TooManyRequestsException"
        assert answer["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 429
        assert answer["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "1"
    functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    assert ask(functions, FunctionName=name)["Error"]["Message"] == "Rate Exceeded."
    functions.delete_function_concurrency(FunctionName=name)
    assert isinstance(ask(functions, FunctionName=name), list)


def test_provisioned_environments_wait_for_their_calls(functions, server, python, name):
    create(functions, name, CODE, python, Publish=True)
    version = dict(FunctionName=name, Qualifier="1")
    put = functions.put_provisioned_concurrency_config(**version, ProvisionedConcurrentExecutions=2)
    assert (put["ResponseMetadata"]["HTTPStatusCode"], put["Status"]) == (202, "IN_PROGRESS")
    got = ready(functions, **version)
    assert (got["Status"], got["AvailableProvisionedConcurrentExecutions"]) == ("READY", 2)
    assert server.health()["functions"]["environments"]["provisioned"] >= 2
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: ask(functions, 1, **version), range(3)))
    assert sorted(kind for _, kind in answers) == ["on-demand", "provisioned-concurrency", "provisioned-concurrency"]
    functions.delete_provisioned_concurrency_config(**version)
    with pytest.raises(functions.exceptions.ProvisionedConcurrencyConfigNotFoundException):
        functions.get_provisioned_concurrency_config(**version)


def test_provisioned_environments_come_back_after_a_kill(python, name, tmp_path):
    from server import Server

    server = Server(tmp_path).start()
    functions = server.client("lambda")
    create(functions, name, CODE, python, Publish=True)
    version = dict(FunctionName=name, Qualifier="1")
    functions.put_provisioned_concurrency_config(**version, ProvisionedConcurrentExecutions=1)
    assert ready(functions, **version)["Status"] == "READY"
    server.kill()
    server.start()
    functions = server.client("lambda")
    assert ready(functions, **version)["Status"] == "READY"
    assert ask(functions, **version)[1] == "provisioned-concurrency"
    assert server.stop() == 0
