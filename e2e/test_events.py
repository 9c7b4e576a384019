"""Asynchronous invocation with boto3: acceptance, retries, destinations, dead letters, loops."""

import base64
import json
import re
import uuid

import pytest
from botocore.exceptions import ClientError

from packages import create, package
from server import Server
from services import ACCOUNT, REGION, Services
from waiting import until

HERE = "arn:aws:lambda:us-east-1:000000000000:function:"
CODE = package(app__py='''
import json, os, time

def handler(event, context):
    """Says what it saw, and fails when it is told to."""
    print("saw", json.dumps({"event": "large" in event or event, "id": context.aws_request_id, "trace": os.environ.get("_X_AMZN_TRACE_ID"),
                             "context": context.client_context and context.client_context.custom}))
    time.sleep(event.get("seconds", 0))
    if event.get("fail"):
        raise ValueError(event["fail"])
    return {"echo": event}
''')

@pytest.fixture(scope="module")
def services():
    services = Services()
    yield services
    services.stop()


@pytest.fixture(scope="module")
def server(services):
    arguments = [*services.configuration("sqs", "sns", "s3", "events"), "--event-waits", "0,0"]
    server = Server(arguments=arguments).start()
    yield server
    assert server.stop() == 0, server.log()


@pytest.fixture(scope="module")
def function(functions, python):
    create(functions, "events", CODE, python)
    return "events"


@pytest.fixture
def another(functions, python, name):
    """A function of the test's own."""
    create(functions, name, CODE, python)
    return name


class Queue:
    """A queue of its own, and what came into it."""

    def __init__(self, services):
        self.client = services.client("sqs")
        self.name = f"q-{uuid.uuid4().hex[:12]}"
        self.url = self.client.create_queue(QueueName=self.name)["QueueUrl"]
        self.arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{self.name}"
        self.messages = []

    def receive(self, count=1):
        def enough():
            more = self.client.receive_message(
                QueueUrl=self.url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], AttributeNames=["All"]
            )
            self.messages += more.get("Messages", [])
            return self.messages if len(self.messages) >= count else None

        return until(enough)


@pytest.fixture
def queue(services):
    return Queue(services)


def send(functions, name, event, **more):
    answer = functions.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(event).encode(), **more)
    assert answer["StatusCode"] == 202 and answer["Payload"].read() == b""
    assert "ExecutedVersion" not in answer and "FunctionError" not in answer
    return answer["ResponseMetadata"]["RequestId"]


def seen(server, name, request_id):
    """What the function said of each attempt of one event."""
    logs = server.client("logs")
    try:
        events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}", filterPattern='"saw"')["events"]
    except logs.exceptions.ResourceNotFoundException:
        return []
    said = [json.loads(event["message"].split("saw ", 1)[1]) for event in events]
    return [attempt for attempt in said if attempt["id"] == request_id]


def refused(code, text, call, **arguments):
    with pytest.raises(ClientError) as error:
        call(**arguments)
    said = error.value.response
    assert said["Error"]["Code"] == code, said
    assert re.search(text, said["Error"]["Message"]), said


def test_an_event_runs_once_with_what_came_with_it(functions, server, function):
    context = base64.b64encode(json.dumps({"custom": {"a": "b"}}).encode()).decode()
    request_id = send(functions, function, {"n": 1}, ClientContext=context)
    attempt, = until(lambda: seen(server, function, request_id))
    assert attempt["event"] == {"n": 1} and attempt["context"] == {"a": "b"}
    assert re.fullmatch(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0;Lineage=[0-9a-f]{8}:0", attempt["trace"])


def test_invoke_async_and_an_absent_event(functions, server, function):
    answer = functions.invoke_async(FunctionName=function, InvokeArgs=b'{"n": 2}')
    assert answer["Status"] == 202
    attempt, = until(lambda: seen(server, function, answer["ResponseMetadata"]["RequestId"]))
    assert attempt["event"] == {"n": 2}
    answer = functions.invoke(FunctionName=function, InvocationType="Event")
    attempt, = until(lambda: seen(server, function, answer["ResponseMetadata"]["RequestId"]))
    assert attempt["event"] == {}


def test_what_is_refused_at_the_door(functions, function):
    call = functions.invoke
    refused("ResourceNotFoundException", "Function not found: .*:absent:", call, FunctionName="absent", InvocationType="Event")
    refused("ResourceNotFoundException", "Function not found", call, FunctionName=function, Qualifier="9", InvocationType="Event")
    refused("InvalidRequestContentException", "Could not parse", call, FunctionName=function, InvocationType="Event", Payload=b"{")
    large = json.dumps("x" * 1_048_576).encode()
    with pytest.raises(ClientError, match="1048576 bytes"):
        call(FunctionName=function, InvocationType="Event", Payload=large)
    with pytest.raises(ClientError, match="262144 bytes"):
        functions.invoke_async(FunctionName=function, InvokeArgs=large[:262_144] + b'"')
    assert send(functions, function, {"large": "x" * 1_048_000})


def test_a_failing_event_is_tried_three_times_under_one_id(functions, server, another, queue):
    functions.put_function_event_invoke_config(FunctionName=another, DestinationConfig={"OnFailure": {"Destination": queue.arn}})
    request_id = send(functions, another, {"fail": "no", "n": 3})
    message, = queue.receive()
    record = json.loads(message["Body"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record.pop("timestamp"))
    payload = record.pop("responsePayload")
    assert (payload["errorType"], payload["errorMessage"]) == ("ValueError", "no")
    assert record == {
        "version": "1.0",
        "requestContext": {
            "requestId": request_id, "functionArn": f"{HERE}{another}:$LATEST", "condition": "RetriesExhausted",
            "approximateInvokeCount": 3,
        },
        "requestPayload": {"fail": "no", "n": 3},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
    }
    assert "AWSTraceHeader" in message["Attributes"]
    attempts = until(lambda: len(found := seen(server, another, request_id)) == 3 and found)
    assert len({attempt["trace"] for attempt in attempts}) == 1


def test_success_goes_to_a_function_and_from_there_to_a_queue(functions, another, function, queue, python):
    second = f"{another}-2"
    create(functions, second, CODE, python)
    functions.put_function_event_invoke_config(FunctionName=another, DestinationConfig={"OnSuccess": {"Destination": HERE + second}})
    functions.put_function_event_invoke_config(FunctionName=second, DestinationConfig={"OnSuccess": {"Destination": queue.arn}})
    first_id = send(functions, another, {"n": 4})
    message, = queue.receive()
    outer = json.loads(message["Body"])
    inner = outer["requestPayload"]
    assert outer["requestContext"]["condition"] == inner["requestContext"]["condition"] == "Success"
    assert inner["requestContext"]["requestId"] == first_id != outer["requestContext"]["requestId"]
    assert inner["responsePayload"] == {"echo": {"n": 4}}
    assert inner["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST"}


def test_every_kind_of_destination(functions, services, another, queue):
    topic = services.client("sns").create_topic(Name=queue.name)["TopicArn"]
    subscription = dict(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn, Attributes={"RawMessageDelivery": "true"})
    services.client("sns").subscribe(**subscription)
    functions.put_function_event_invoke_config(FunctionName=another, DestinationConfig={"OnSuccess": {"Destination": topic}})
    send(functions, another, {"n": 5})
    message, = queue.receive()
    assert json.loads(message["Body"])["requestPayload"] == {"n": 5}

    bucket = queue.name
    services.client("s3").create_bucket(Bucket=bucket)
    functions.put_function_event_invoke_config(
        FunctionName=another, MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": f"arn:aws:s3:::{bucket}"}}
    )
    request_id = send(functions, another, {"fail": "x"})
    found = until(lambda: services.client("s3").list_objects_v2(Bucket=bucket).get("Contents"))
    assert re.fullmatch(rf"aws/lambda/async/{another}/(\d+/){{3}}\d{{4}}-\d\d-\d\dT\d\d\.\d\d\.\d\d-{request_id}", found[0]["Key"])
    body = services.client("s3").get_object(Bucket=bucket, Key=found[0]["Key"])["Body"].read()
    assert json.loads(body)["requestContext"]["approximateInvokeCount"] == 1

    bus = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default"
    events = services.client("events")
    events.put_rule(Name=queue.name, EventPattern=json.dumps({"source": ["lambda"]}))
    events.put_targets(Rule=queue.name, Targets=[{"Id": "1", "Arn": queue.arn}])
    functions.put_function_event_invoke_config(FunctionName=another, DestinationConfig={"OnSuccess": {"Destination": bus}})
    send(functions, another, {"n": 6})
    event = json.loads(queue.receive(2)[1]["Body"])
    assert event["detail-type"] == "Lambda Function Invocation Result - Success" and event["source"] == "lambda"
    assert event["resources"] == [bus, f"{HERE}{another}:$LATEST"] and event["detail"]["requestPayload"] == {"n": 6}


def test_dead_letters_go_to_the_queue_of_the_function(functions, name, python, queue):
    create(functions, name, CODE, python, DeadLetterConfig={"TargetArn": queue.arn})
    assert functions.get_function_configuration(FunctionName=name)["DeadLetterConfig"] == {"TargetArn": queue.arn}
    functions.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    request_id = send(functions, name, {"fail": "é" * 2000})
    message, = queue.receive()
    assert json.loads(message["Body"]) == {"fail": "é" * 2000}
    attributes = {name: (value["DataType"], value["StringValue"]) for name, value in message["MessageAttributes"].items()}
    assert attributes == {
        "RequestID": ("String", request_id), "ErrorCode": ("Number", "200"), "ErrorMessage": ("String", "é" * 512),
    }
    functions.update_function_configuration(FunctionName=name, DeadLetterConfig={"TargetArn": ""})
    functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    assert "DeadLetterConfig" not in functions.get_function_configuration(FunctionName=name)
    for bad in (f"arn:aws:lambda:us-east-1:000000000000:function:{name}", queue.arn + ".fifo"):
        with pytest.raises(ClientError, match="neither a standard queue nor a standard topic"):
            functions.update_function_configuration(FunctionName=name, DeadLetterConfig={"TargetArn": bad})


def test_an_execution_that_fails_goes_to_the_dead_letter_queue_of_its_function(functions, name, python, queue):
    """A durable function without an SDK: what it returns is what AWS's would."""
    code = package(app__py='''
import json

def handler(event, context):
    given = json.loads(event["InitialExecutionState"]["Operations"][0]["ExecutionDetails"]["InputPayload"])
    if given["fail"]:
        return {"Status": "FAILED", "Error": {"ErrorType": "Refused", "ErrorMessage": given["fail"]}}
    return {"Status": "SUCCEEDED", "Result": "1"}
''')
    create(functions, name, code, python, DeadLetterConfig={"TargetArn": queue.arn}, DurableConfig={"ExecutionTimeout": 60})
    latest = {"Qualifier": "$LATEST"}
    # Neither one that succeeded nor one that somebody waits for is a dead letter.
    send(functions, name, {"fail": ""}, **latest)
    functions.invoke(FunctionName=name, Payload=json.dumps({"fail": "its caller reads it"}), **latest)
    request_id = send(functions, name, {"fail": "no way"}, **latest)
    message, = queue.receive()
    assert json.loads(message["Body"]) == {"fail": "no way"}
    attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    assert attributes == {"RequestID": request_id, "ErrorCode": "200", "ErrorMessage": "no way"}


def test_a_reserve_of_nothing_settles_events_at_once(functions, another, queue):
    functions.put_function_event_invoke_config(FunctionName=another, DestinationConfig={"OnFailure": {"Destination": queue.arn}})
    functions.put_function_concurrency(FunctionName=another, ReservedConcurrentExecutions=0)
    send(functions, another, {"n": 7})
    message, = queue.receive()
    record = json.loads(message["Body"])
    assert record["requestContext"]["condition"] == "ZeroReservedConcurrency"
    assert record["requestContext"]["approximateInvokeCount"] == 0
    assert "responseContext" not in record and "responsePayload" not in record


def test_a_backlog_of_one_function_holds_up_no_other(functions, server, another, function):
    functions.put_function_concurrency(FunctionName=another, ReservedConcurrentExecutions=1)
    slow = [send(functions, another, {"seconds": 1, "n": n}) for n in range(8)]
    request_id = send(functions, function, {"n": 8})
    assert until(lambda: seen(server, function, request_id))
    assert not seen(server, another, slow[-1]), "the bystander waited for the backlog"


def test_events_run_under_the_alias_that_they_were_sent_to(functions, another, queue):
    functions.publish_version(FunctionName=another)
    functions.create_alias(FunctionName=another, Name="live", FunctionVersion="1")
    functions.put_function_event_invoke_config(
        FunctionName=another, Qualifier="live", DestinationConfig={"OnSuccess": {"Destination": queue.arn}}
    )
    send(functions, another, {"n": 9})
    send(functions, another, {"n": 10}, Qualifier="live")
    message, = queue.receive()
    record = json.loads(message["Body"])
    assert record["requestContext"]["functionArn"] == f"{HERE}{another}:live"
    assert record["responseContext"]["executedVersion"] == "1" and record["requestPayload"] == {"n": 10}


def test_event_invoke_configs(functions, another, queue):
    missing = rf"The function {re.escape(HERE + another)}:\$LATEST doesn't have an EventInvokeConfig"
    for call in ("get", "delete"):
        refused("ResourceNotFoundException", missing, getattr(functions, f"{call}_function_event_invoke_config"), FunctionName=another)
    refused("ResourceNotFoundException", missing, functions.update_function_event_invoke_config, FunctionName=another, MaximumRetryAttempts=1)
    put = functions.put_function_event_invoke_config
    refused("InvalidParameterValueException", "You must specify at least one of error handling", put, FunctionName=another)
    refused("ResourceNotFoundException", "The function doesn't exist.", put, FunctionName="absent", MaximumRetryAttempts=1)
    refused("ResourceNotFoundException", "The function doesn't exist.", put, FunctionName=another, Qualifier="absent", MaximumRetryAttempts=1)
    refused("ResourceNotFoundException", "The function doesn't exist.", functions.list_function_event_invoke_configs, FunctionName="absent")

    def to(arn, kind="OnSuccess"):
        return {"FunctionName": another, "DestinationConfig": {kind: {"Destination": arn}}}

    value = "InvalidParameterValueException"
    refused(value, "You can't specify the function as a destination for itself.", put, **to(HERE + another))
    refused(value, "The destination ARN .*:absent is invalid.", put, **to(HERE + "absent"))
    invalid = r"The provided destination config DestinationConfig\(onSuccess=OnSuccess\(destination=.*\), onFailure=null\) is invalid."
    for bad in ("arn:aws:s3:::bucket", "arn:aws:kinesis:us-east-1:000000000000:stream/s", queue.arn + ".fifo"):
        refused(value, invalid, put, **to(bad))

    first = put(FunctionName=another, MaximumRetryAttempts=0)
    assert first["FunctionArn"] == f"{HERE}{another}:$LATEST" and first["MaximumRetryAttempts"] == 0
    assert "MaximumEventAgeInSeconds" not in first and first["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {}}
    functions.update_function_event_invoke_config(FunctionName=another, MaximumEventAgeInSeconds=60, **{"DestinationConfig": {"OnFailure": {"Destination": queue.arn}}})
    found = functions.get_function_event_invoke_config(FunctionName=another, Qualifier="$LATEST")
    assert (found["MaximumRetryAttempts"], found["MaximumEventAgeInSeconds"]) == (0, 60)
    assert found["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {"Destination": queue.arn}}
    put(FunctionName=another, MaximumEventAgeInSeconds=70)
    found = functions.get_function_event_invoke_config(FunctionName=another)
    assert "MaximumRetryAttempts" not in found and found["DestinationConfig"]["OnFailure"] == {}
    functions.publish_version(FunctionName=another)
    put(FunctionName=another, Qualifier="1", MaximumRetryAttempts=1)
    pages = functions.get_paginator("list_function_event_invoke_configs").paginate(FunctionName=another, PaginationConfig={"PageSize": 1})
    arns = [config["FunctionArn"] for page in pages for config in page["FunctionEventInvokeConfigs"]]
    assert sorted(arns) == [f"{HERE}{another}:$LATEST", f"{HERE}{another}:1"]
    functions.delete_function_event_invoke_config(FunctionName=another)
    refused("ResourceNotFoundException", missing, functions.get_function_event_invoke_config, FunctionName=another)


def test_a_service_without_an_endpoint_is_refused(python, name):
    server = Server().start()
    functions = server.client("lambda")
    create(functions, name, CODE, python)
    for arn in ("arn:aws:sqs:us-east-1:000000000000:q", "arn:aws:sns:us-east-1:000000000000:t"):
        with pytest.raises(ClientError, match="no table services") as error:
            functions.put_function_event_invoke_config(FunctionName=name, DestinationConfig={"OnFailure": {"Destination": arn}})
        assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
        with pytest.raises(ClientError, match="no table services"):
            functions.update_function_configuration(FunctionName=name, DeadLetterConfig={"TargetArn": arn})
    server.stop()


def chained(server, lineage):
    """A client that calls as a function would that was itself called in a chain."""
    client = server.client("lambda")
    trace = f"Root=1-67891233-abcdef012345678912345678;Parent=53995c3f42cd8ad8;Sampled=0;Lineage={lineage}"
    client.meta.events.register("before-call", lambda params, **_: params["headers"].update({"X-Amzn-Trace-Id": trace}))
    return client


def test_a_loop_of_functions_is_stopped_unless_it_is_allowed(functions, server, another, queue):
    assert functions.get_function_recursion_config(FunctionName=another)["RecursiveLoop"] == "Terminate"
    first = send(functions, another, {"n": 11})
    attempt, = until(lambda: seen(server, another, first))
    own = attempt["trace"].split("Lineage=")[1].split(":")[0]
    functions.put_function_event_invoke_config(FunctionName=another, DestinationConfig={"OnFailure": {"Destination": queue.arn}})
    well = send(chained(server, f"{own}:14"), another, {"n": 12})
    attempt, = until(lambda: seen(server, another, well))
    assert attempt["trace"].endswith(f"Lineage={own}:15")
    request_id = send(chained(server, f"{own}:15"), another, {"n": 13})
    message, = queue.receive()
    context = json.loads(message["Body"])["requestContext"]
    assert (context["requestId"], context["condition"], context["approximateInvokeCount"]) == (request_id, "RecursiveInvocation", 0)
    with pytest.raises(ClientError) as error:
        chained(server, f"{own}:15").invoke(FunctionName=another, Payload=b"{}")
    assert error.value.response["Error"]["Code"] == "RecursiveInvocationException"
    assert functions.put_function_recursion_config(FunctionName=another, RecursiveLoop="Allow")["RecursiveLoop"] == "Allow"
    assert functions.get_function_recursion_config(FunctionName=another)["RecursiveLoop"] == "Allow"
    again = send(chained(server, f"{own}:15"), another, {"n": 14})
    assert until(lambda: seen(server, another, again))
    refused("ResourceNotFoundException", "Function not found", functions.get_function_recursion_config, FunctionName="absent")
    assert server.health()["functions"]["events"]["recursiveInvocationsDropped"] == 2


def test_events_of_a_deleted_function_are_dropped(functions, server, another):
    functions.put_function_concurrency(FunctionName=another, ReservedConcurrentExecutions=1)
    for n in range(5):
        send(functions, another, {"seconds": 0.3, "n": n})
    before = server.health()["functions"]["events"]["dropped"]
    functions.delete_function(FunctionName=another)
    until(lambda: server.health()["functions"]["events"]["waiting"] == 0)
    until(lambda: server.health()["functions"]["events"]["dropped"] > before)
