"""Aliases, as boto3 sees them, and the policy by which API Gateway calls through one."""

import json
from collections import Counter

import pytest

from packages import create, package


def code(answer):
    return package(app__py=f"def handler(event, context):\n    return ['{answer}', context.invoked_function_arn.split(':')[-1]]\n")


def ask(functions, name):
    answer = functions.invoke(FunctionName=name, Qualifier="live", Payload=b"{}")
    return *json.loads(answer["Payload"].read()), answer["ExecutedVersion"]


def test_an_alias_moves_and_shares_calls_out(functions, python, name):
    create(functions, name, code("one"), python, Publish=True)
    made = functions.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201 and made["AliasArn"].endswith(f":{name}:live")
    assert ask(functions, name) == ("one", "live", "1")
    functions.update_function_code(FunctionName=name, ZipFile=code("two"), Publish=True)
    functions.get_waiter("published_version_active").wait(FunctionName=name, Qualifier="2", WaiterConfig={"Delay": 1})
    routed = functions.update_alias(
        FunctionName=name, Name="live", RevisionId=made["RevisionId"],
        RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}})
    assert routed["RoutingConfig"] == {"AdditionalVersionWeights": {"2": 0.5}}
    said = Counter(ask(functions, name) for _ in range(60))
    assert set(said) == {("one", "live", "1"), ("two", "live", "2")} and min(said.values()) >= 8, said
    functions.update_alias(FunctionName=name, Name="live", FunctionVersion="2", RoutingConfig={})
    assert {ask(functions, name) for _ in range(10)} == {("two", "live", "2")}
    pages = functions.get_paginator("list_aliases").paginate(FunctionName=name, FunctionVersion="2")
    assert [alias["Name"] for page in pages for alias in page["Aliases"]] == ["live"]
    with pytest.raises(functions.exceptions.ResourceConflictException):
        functions.delete_function(FunctionName=name, Qualifier="2")
    with pytest.raises(functions.exceptions.PreconditionFailedException):
        functions.update_alias(FunctionName=name, Name="live", RevisionId=made["RevisionId"])
    functions.delete_alias(FunctionName=name, Name="live")
    with pytest.raises(functions.exceptions.ResourceNotFoundException):
        functions.invoke(FunctionName=name, Qualifier="live")
