"""CloudWatch Logs as its clients read it, and who the caller is."""

import functools
import time

import pytest
from botocore.exceptions import ClientError

import waiting
from packages import create, package

CHATTY = package(app__py='''
def handler(event, context):
    for n in range(event["lines"]):
        print(f"line {n}")
    return "done"
''')
until = functools.partial(waiting.until, seconds=10)


def test_function_output_arrives_in_order(functions, logs, python, name):
    create(functions, name, CHATTY, python)
    answer = functions.invoke(FunctionName=name, Payload=b'{"lines": 500}')
    request_id = answer["ResponseMetadata"]["RequestId"]
    group = f"/aws/lambda/{name}"

    def complete():
        try:
            pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group)
            messages = [event["message"].rstrip("\n") for page in pages for event in page["events"]]
        except ClientError:
            return None
        return messages if any(m.startswith("REPORT") for m in messages) else None

    messages = until(complete)
    assert [m for m in messages if m.startswith("line ")] == [f"line {n}" for n in range(500)]
    assert messages[0].startswith("INIT_START Runtime Version: python:")
    assert messages[1] == f"START RequestId: {request_id} Version: $LATEST"
    assert messages[-2] == f"END RequestId: {request_id}"
    streams = logs.describe_log_streams(logGroupName=group, orderBy="LastEventTime", descending=True)["logStreams"]
    assert len(streams) == 1
    forward = logs.get_log_events(logGroupName=group, logStreamName=streams[0]["logStreamName"], startFromHead=True, limit=10)
    assert len(forward["events"]) == 10 and forward["nextForwardToken"].startswith("f/")
    more = logs.get_log_events(logGroupName=group, logStreamName=streams[0]["logStreamName"], nextToken=forward["nextForwardToken"], limit=10)
    assert [e["message"].rstrip("\n") for e in more["events"]] == messages[10:20]
    groups = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    assert [g["logGroupName"] for g in groups] == [group]
    some = logs.filter_log_events(logGroupName=group, filterPattern='"line 499"')["events"]
    assert [e["message"].rstrip("\n") for e in some] == ["line 499"]


def test_groups_streams_and_events_by_hand(logs, name):
    logs.create_log_group(logGroupName=name)
    with pytest.raises(ClientError) as caught:
        logs.create_log_group(logGroupName=name)
    assert caught.value.response["Error"]["Code"] == "ResourceAlreadyExistsException"
    logs.create_log_stream(logGroupName=name, logStreamName="s")
    now = int(time.time() * 1000)
    logs.put_log_events(logGroupName=name, logStreamName="s", logEvents=[{"timestamp": now, "message": "m"}])
    got = until(lambda: logs.get_log_events(logGroupName=name, logStreamName="s")["events"])
    assert [(e["timestamp"], e["message"]) for e in got] == [(now, "m")]
    logs.delete_log_group(logGroupName=name)
    with pytest.raises(ClientError) as caught:
        logs.describe_log_streams(logGroupName=name)
    assert caught.value.response["Error"]["Message"] == "The specified log group does not exist."


def test_the_rest_answers_501(logs):
    with pytest.raises(ClientError) as caught:
        logs.describe_queries()
    answer = caught.value.response
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 501 and "DescribeQueries" in answer["Error"]["Message"]


def test_caller_identity(server):
    got = server.client("sts", key="123456789012").get_caller_identity()
    assert (got["Account"], got["Arn"]) == ("123456789012", "arn:aws:iam::123456789012:root")
    assert server.client("sts").get_caller_identity()["Account"] == "000000000000"
