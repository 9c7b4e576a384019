"""Published versions, as boto3 and its waiters see them."""

import json

import pytest
from botocore.exceptions import ClientError

from packages import create, package


def code(answer):
    return package(app__py=f"def handler(event, context):\n    return ['{answer}', context.function_version, context.invoked_function_arn]\n")


def said(functions, name, **more):
    answer = functions.invoke(FunctionName=name, Payload=b"{}", **more)
    return json.loads(answer["Payload"].read()), answer["ExecutedVersion"]


def test_a_version_stays_what_it_was(functions, python, name):
    create(functions, name, code("one"), python)
    arn = functions.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    first = functions.publish_version(FunctionName=name, Description="one")
    assert first["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert (first["Version"], first["FunctionArn"]) == ("1", f"{arn}:1")
    assert (first["State"], first["LastUpdateStatus"]) == ("Active", "Successful")
    published = functions.update_function_code(FunctionName=name, ZipFile=code("two"), Publish=True)
    assert (published["Version"], published["State"]) == ("2", "Pending")
    assert "LastUpdateStatus" not in published
    functions.get_waiter("published_version_active").wait(FunctionName=name, Qualifier="2", WaiterConfig={"Delay": 1})
    functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    assert said(functions, name, Qualifier="1") == (["one", "1", f"{arn}:1"], "1")
    assert said(functions, f"{name}:2") == (["two", "2", f"{arn}:2"], "2")
    assert said(functions, f"{arn}:$LATEST") == (["two", "$LATEST", f"{arn}:$LATEST"], "$LATEST")
    listed = functions.get_paginator("list_versions_by_function").paginate(FunctionName=name, PaginationConfig={"PageSize": 1})
    assert [version["Version"] for page in listed for version in page["Versions"]] == ["$LATEST", "1", "2"]
    everything = functions.get_paginator("list_functions").paginate(FunctionVersion="ALL")
    arns = [entry["FunctionArn"] for page in everything for entry in page["Functions"]]
    assert [a for a in arns if a.startswith(arn + ":")] == [f"{arn}:$LATEST", f"{arn}:1", f"{arn}:2"]
    functions.delete_function(FunctionName=name, Qualifier="1")
    with pytest.raises(ClientError) as caught:
        functions.invoke(FunctionName=name, Qualifier="1")
    assert caught.value.response["Error"]["Message"] == f"Function not found: {arn}:1"
    assert said(functions, name, Qualifier="2")[1] == "2"


def test_versions_outlive_a_kill(python, name, tmp_path):
    from server import Server

    server = Server(tmp_path).start()
    functions = server.client("lambda")
    create(functions, name, code("one"), python, Publish=True)
    before = functions.get_function(FunctionName=name, Qualifier="1")["Configuration"]
    server.kill()
    server.start()
    functions = server.client("lambda")
    assert functions.get_function(FunctionName=name, Qualifier="1")["Configuration"] == before
    assert said(functions, name, Qualifier="1")[0][:2] == ["one", "1"]
    assert server.stop() == 0
