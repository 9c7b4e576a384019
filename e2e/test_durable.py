"""Durable functions, written with AWS's SDK for Python, which runs unmodified inside the sandbox."""

import concurrent.futures
import json
import sys
import time
import uuid

import botocore
import botocore.session
import pytest
from botocore.exceptions import ClientError

from packages import BOTO3, create, modules, package_of
from server import Server, operations
from waiting import until

CODE = """
import json, os, time
from aws_durable_execution_sdk_python import durable_execution
from aws_durable_execution_sdk_python.config import CallbackConfig, Duration, StepConfig
from aws_durable_execution_sdk_python.retries import RetryDecision

def again(error, attempts):
    return RetryDecision.retry(Duration.from_seconds(1)) if attempts < 3 else RetryDecision.no_retry()

@durable_execution
def handler(event, context):
    return DO[event["do"]](event, context)

def steps(event, context):
    first = context.step(lambda step: event["n"] + 1, name="first")
    return [first, context.step(lambda step: first * 2, name="second")]

def wait(event, context):
    before = context.step(lambda step: time.time(), name="before")
    context.wait(Duration.from_seconds(1), name="pause")
    after = context.step(lambda step: time.time(), name="after")
    return {"slept": after - before}

def retries(event, context):
    def fails(step):
        # Memory does not outlive an environment; attempts are counted where the execution is.
        if step.attempt < 3:
            raise ValueError(f"attempt {step.attempt}")
        return step.attempt
    return context.step(fails, name="stubborn", config=StepConfig(retry_strategy=again))

def callback(event, context):
    config = CallbackConfig(timeout=Duration.from_seconds(event.get("timeout", 60)))
    pending = context.create_callback(name="approval", config=config)
    return {"approved": pending.result()}

def children(event, context):
    return [context.invoke(event["plain"], {"n": 1}, name="plain"),
            context.invoke(event["durable"], {"do": "steps", "n": 4}, name="durable")]

def parallel(event, context):
    found = context.parallel([lambda child: child.step(lambda step: "a"), lambda child: child.step(lambda step: "b")])
    return found.get_results()

def fails(event, context):
    raise RuntimeError("no way")

def large(event, context):
    return "x" * 6_291_420

def waits(event, context):
    for n in range(event["waits"]):
        context.step(lambda step: n, name=f"step-{n}")
        context.wait(Duration.from_seconds(1), name=f"wait-{n}")
    return event["waits"]

DO = {"steps": steps, "wait": wait, "retries": retries, "callback": callback, "children": children,
      "parallel": parallel, "fails": fails, "large": large, "waits": waits}
"""
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
SDK = "aws_durable_execution_sdk_python"


@pytest.fixture(scope="module")
def server():
    # An execution of these tests runs for longer than anybody would wait for it.
    server = Server(arguments=["--drain-seconds", "1"]).start()
    yield server
    assert server.stop() == 0, server.log()


@pytest.fixture(scope="module")
def code():
    return package_of({"app.py": CODE} | modules([*BOTO3, SDK]))


def deploy(functions, code):
    config = {"ExecutionTimeout": 300, "RetentionPeriodInDays": 3}
    create(functions, "durable", code, PYTHON, Timeout=60, MemorySize=512, DurableConfig=config)


@pytest.fixture(scope="module")
def durable(functions, code):
    deploy(functions, code)
    create(functions, "plain", package_of({"app.py": "def handler(event, context):\n    return event['n'] + 10\n"}), PYTHON)
    return functions


def call(functions, name=None, **event):
    more = {"DurableExecutionName": name} if name else {}
    answer = functions.invoke(FunctionName="durable", Qualifier="$LATEST", Payload=json.dumps(event), **more)
    answer["Payload"] = json.load(answer["Payload"])
    return answer


def result(functions, **event):
    answer = call(functions, **event)
    assert "FunctionError" not in answer, answer
    return answer["Payload"], answer["DurableExecutionArn"]


def history(functions, arn, **more):
    events = []
    for page in functions.get_paginator("get_durable_execution_history").paginate(
            DurableExecutionArn=arn, IncludeExecutionData=True, **more):
        events += page["Events"]
    return events


def code_of(error):
    return error.value.response["Error"]["Code"]


def test_steps_are_remembered(durable):
    payload, arn = result(durable, do="steps", n=1)
    assert payload == [2, 4]
    assert arn.startswith("arn:aws:lambda:us-east-1:000000000000:function:durable:$LATEST/durable-execution/")
    execution = durable.get_durable_execution(DurableExecutionArn=arn)
    assert execution["Status"] == "SUCCEEDED"
    assert json.loads(execution["Result"]) == [2, 4]
    assert json.loads(execution["InputPayload"]) == {"do": "steps", "n": 1}
    assert execution["DurableConfig"] == {"ExecutionTimeout": 300, "RetentionPeriodInDays": 3}
    types = [event["EventType"] for event in history(durable, arn)]
    assert types[0] == "ExecutionStarted" and types[-1] == "ExecutionSucceeded"
    assert types.count("StepStarted") == types.count("StepSucceeded") == 2
    assert [event["EventId"] for event in history(durable, arn, PaginationConfig={"PageSize": 2})] == [*range(1, len(types) + 1)]
    backwards = durable.get_durable_execution_history(DurableExecutionArn=arn, ReverseOrder=True, MaxItems=1)["Events"]
    assert backwards[0]["EventType"] == "ExecutionSucceeded"


def test_a_wait_ends_without_anybody_waiting(durable):
    payload, arn = result(durable, do="wait")
    assert payload["slept"] >= 1
    types = [event["EventType"] for event in history(durable, arn)]
    assert types.count("WaitStarted") == types.count("WaitSucceeded") == 1
    assert types.count("InvocationCompleted") >= 1


def test_a_step_is_tried_again(durable):
    payload, arn = result(durable, do="retries")
    assert payload == 3
    failed = [event for event in history(durable, arn) if event["EventType"] == "StepFailed"]
    assert [event["StepFailedDetails"]["RetryDetails"]["CurrentAttempt"] for event in failed] == [1, 2]
    assert failed[0]["StepFailedDetails"]["Error"]["Payload"]["ErrorMessage"] == "attempt 1"


def test_branches_and_other_functions(durable):
    assert result(durable, do="parallel")[0] == ["a", "b"]
    children, _ = result(durable, do="children", plain="plain", durable="durable:$LATEST")
    assert children == [11, [5, 10]]


def test_a_failure_is_the_callers_error(durable):
    answer = call(durable, do="fails")
    assert answer["FunctionError"] == "Unhandled"
    assert (answer["Payload"]["errorType"], answer["Payload"]["errorMessage"]) == ("RuntimeError", "no way")
    execution = durable.get_durable_execution(DurableExecutionArn=answer["DurableExecutionArn"])
    assert execution["Status"] == "FAILED" and execution["Error"]["ErrorMessage"] == "no way"


def test_an_event_begins_an_execution(durable):
    name = uuid.uuid4().hex
    answer = durable.invoke(FunctionName="durable", Qualifier="$LATEST", InvocationType="Event", DurableExecutionName=name,
                            Payload=json.dumps({"do": "steps", "n": 5}))
    assert answer["StatusCode"] == 202
    arn = answer["DurableExecutionArn"]
    execution = lambda: durable.get_durable_execution(DurableExecutionArn=arn)
    until(lambda: execution()["Status"] != "RUNNING", "it ended")
    assert (execution()["Status"], json.loads(execution()["Result"])) == ("SUCCEEDED", [6, 12])
    assert call(durable, name, do="steps", n=5)["DurableExecutionArn"] == arn


def test_a_name_is_one_execution(durable):
    name = f"order-{uuid.uuid4().hex}"
    first = call(durable, name, do="steps", n=2)
    again = call(durable, name, do="steps", n=2)
    assert first["DurableExecutionArn"] == again["DurableExecutionArn"] and again["Payload"] == [3, 6]
    with pytest.raises(ClientError) as error:
        call(durable, name, do="steps", n=3)
    assert code_of(error) == "DurableExecutionAlreadyStartedException"
    listed = durable.list_durable_executions_by_function(FunctionName="durable", DurableExecutionName=name)
    assert [one["DurableExecutionName"] for one in listed["DurableExecutions"]] == [name]
    pages = durable.get_paginator("list_durable_executions_by_function")
    count = sum(len(page["DurableExecutions"]) for page in pages.paginate(
        FunctionName="durable", Statuses=["SUCCEEDED"], PaginationConfig={"PageSize": 2}))
    assert count >= 1


def started_callback(functions, name):
    """Waits until the execution of that name waits for its callback."""
    def found():
        executions = functions.list_durable_executions_by_function(FunctionName="durable", DurableExecutionName=name)
        for execution in executions["DurableExecutions"]:
            arn = execution["DurableExecutionArn"]
            for event in history(functions, arn):
                if event["EventType"] == "CallbackStarted":
                    return arn, event["CallbackStartedDetails"]["CallbackId"]
        return None
    return until(found, "a callback was started")


def test_somebody_calls_back(durable):
    name = uuid.uuid4().hex
    with concurrent.futures.ThreadPoolExecutor() as pool:
        running = pool.submit(call, durable, name, do="callback")
        arn, callback = started_callback(durable, name)
        durable.send_durable_execution_callback_heartbeat(CallbackId=callback)
        durable.send_durable_execution_callback_success(CallbackId=callback, Result=b'"yes"')
        assert running.result()["Payload"] == {"approved": '"yes"'}
    for tell in (durable.send_durable_execution_callback_success, durable.send_durable_execution_callback_failure,
                 durable.send_durable_execution_callback_heartbeat):
        with pytest.raises(ClientError) as error:
            tell(CallbackId=callback)
        assert code_of(error) == "ResourceNotFoundException"
    for method in ("stop_durable_execution", "get_durable_execution"):
        getattr(durable, method)(DurableExecutionArn=arn)
    assert durable.get_durable_execution(DurableExecutionArn=arn)["Status"] == "SUCCEEDED"


def test_a_callback_fails_or_is_too_late(durable):
    for how in ("failure", "timeout"):
        name = uuid.uuid4().hex
        with concurrent.futures.ThreadPoolExecutor() as pool:
            running = pool.submit(call, durable, name, do="callback", timeout=1 if how == "timeout" else 60)
            arn, callback = started_callback(durable, name)
            if how == "failure":
                durable.send_durable_execution_callback_failure(CallbackId=callback, Error={"ErrorMessage": "no", "ErrorType": "Refused"})
            answer = running.result()
        assert answer["FunctionError"] == "Unhandled", answer
        assert durable.get_durable_execution(DurableExecutionArn=arn)["Status"] == "FAILED"


def test_executions_are_paused_stopped_and_deleted(durable):
    name = uuid.uuid4().hex
    with concurrent.futures.ThreadPoolExecutor() as pool:
        running = pool.submit(call, durable, name, do="callback")
        arn, callback = started_callback(durable, name)
        durable.pause_durable_execution(DurableExecutionArn=arn, Reason="lunch", ClientToken="one")
        status = lambda: durable.get_durable_execution(DurableExecutionArn=arn)["Status"]
        until(lambda: status() == "PAUSED", "it is paused")
        assert durable.get_durable_execution(DurableExecutionArn=arn)["PauseDetails"]["Reason"] == "lunch"
        durable.resume_durable_execution(DurableExecutionArn=arn, ClientToken="two")
        assert status() == "RUNNING"
        with pytest.raises(ClientError) as error:
            durable.delete_durable_execution(DurableExecutionArn=arn)
        assert code_of(error) == "ResourceConflictException"
        durable.stop_durable_execution(DurableExecutionArn=arn, Error={"ErrorType": "Enough", "ErrorMessage": "stop it"})
        answer = running.result()
    assert answer["Payload"]["errorType"] == "Enough"
    assert status() == "STOPPED"
    for change in (durable.pause_durable_execution, durable.resume_durable_execution):
        with pytest.raises(ClientError) as error:
            change(DurableExecutionArn=arn)
        assert code_of(error) == "ResourceConflictException" and "STOPPED" in str(error.value)
    with pytest.raises(ClientError) as error:
        durable.send_durable_execution_callback_success(CallbackId=callback, Result=b"1")
    assert code_of(error) == "ResourceNotFoundException"
    durable.delete_durable_execution(DurableExecutionArn=arn)

    def gone():
        try:
            status()
            return None
        except ClientError as error:
            return error.response["Error"]["Code"]
    assert until(gone, "it was removed") == "ResourceNotFoundException"


def waits_for_its_callback(functions, name, qualifier):
    """Begins an execution that waits until somebody calls back: its ARN and the callback."""
    functions.invoke(FunctionName=name, Qualifier=qualifier, InvocationType="Event", Payload=json.dumps({"do": "callback", "timeout": 300}))

    def found():
        for one in functions.list_durable_executions_by_function(FunctionName=name, Qualifier=qualifier, Statuses=["RUNNING"])["DurableExecutions"]:
            for event in history(functions, one["DurableExecutionArn"]):
                if event["EventType"] == "CallbackStarted":
                    return one["DurableExecutionArn"], event["CallbackStartedDetails"]["CallbackId"]
        return None
    return until(found, "a callback was started")


def test_what_is_deleted_runs_its_executions_to_their_end(durable, code, name):
    create(durable, name, code, PYTHON, Timeout=60, MemorySize=512, Publish=True,
           DurableConfig={"ExecutionTimeout": 300, "RetentionPeriodInDays": 3})

    def gone(**more):
        try:
            durable.get_function(FunctionName=name, **more)
            return None
        except durable.exceptions.ResourceNotFoundException:
            return True

    for more, qualifier in (({"Qualifier": "1"}, "1"), ({}, "$LATEST")):
        arn, callback = waits_for_its_callback(durable, name, qualifier)
        assert durable.delete_function(FunctionName=name, **more)["StatusCode"] == 202
        state = durable.get_function(FunctionName=name, **more)["Configuration"]
        assert (state["State"], state["StateReasonCode"]) == ("Deleting", "DrainingDurableExecutions")
        with pytest.raises(ClientError) as error:
            durable.invoke(FunctionName=name, Qualifier=qualifier, InvocationType="Event", Payload=json.dumps({"do": "steps", "n": 1}))
        assert code_of(error) == "ResourceConflictException" and "Deleting" in str(error.value)
        # It is not over yet, so it is still there, and its execution goes on with the code that it began with.
        assert not gone(**more)
        durable.send_durable_execution_callback_success(CallbackId=callback, Result=b'"yes"')
        until(lambda: gone(**more), "it was removed")
        execution = durable.get_durable_execution(DurableExecutionArn=arn)
        assert (execution["Status"], json.loads(execution["Result"])) == ("SUCCEEDED", {"approved": '"yes"'})
    create(durable, name, code, PYTHON, DurableConfig={"ExecutionTimeout": 300}, wait=False)
    assert durable.delete_function(FunctionName=name)["StatusCode"] == 204


def test_refusals(durable):
    for arguments, text in [
        (dict(FunctionName="durable"), "You cannot invoke a durable function using an unqualified ARN."),
        (dict(FunctionName="plain", DurableExecutionName="n"), "DurableExecutionName can only be used"),
    ]:
        with pytest.raises(ClientError) as error:
            durable.invoke(Payload="{}", **arguments)
        assert code_of(error) == "InvalidParameterValueException" and text in str(error.value)
    _, arn = result(durable, do="steps", n=1)
    with pytest.raises(ClientError) as error:
        durable.checkpoint_durable_execution(DurableExecutionArn=arn, CheckpointToken="AAAA", Updates=[])
    assert "Invalid checkpoint token" in str(error.value)
    with pytest.raises(ClientError) as error:
        durable.get_durable_execution_state(DurableExecutionArn=arn, CheckpointToken="AAAA")
    assert "Invalid checkpoint token" in str(error.value)
    with pytest.raises(ClientError) as error:
        durable.get_durable_execution(DurableExecutionArn=arn[:-4] + "0000")
    assert code_of(error) == "ResourceNotFoundException"
    with pytest.raises(ClientError) as error:
        durable.update_function_configuration(FunctionName="plain", DurableConfig={"ExecutionTimeout": 60})
    assert code_of(error) == "InvalidParameterValueException"
    for given, code in [({"DestinationConfig": {"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:000000000000:q"}}}, "InvalidParameterValueException"),
                        ({"MaximumRetryAttempts": 1}, "NotImplementedException")]:
        with pytest.raises(ClientError) as error:
            durable.put_function_event_invoke_config(FunctionName="durable", **given)
        assert code_of(error) == code
    assert durable.get_function_configuration(FunctionName="durable")["DurableConfig"]["ExecutionTimeout"] == 300


def test_a_result_that_is_too_large_for_an_answer_is_a_checkpoint(durable):
    payload, arn = result(durable, do="large")
    assert payload == "x" * 6_291_420
    assert durable.get_durable_execution(DurableExecutionArn=arn, IncludeExecutionData=False)["Status"] == "SUCCEEDED"


def test_executions_survive_kill_9(code):
    server = Server().start()
    functions = server.client("lambda")
    deploy(functions, code)
    name = uuid.uuid4().hex
    with concurrent.futures.ThreadPoolExecutor() as pool:
        lost = pool.submit(call, functions, name, do="waits", waits=3)
        list_ = lambda: server.client("lambda").list_durable_executions_by_function(FunctionName="durable")["DurableExecutions"]
        arn = until(lambda: next((one["DurableExecutionArn"] for one in list_()), None), "it began")
        has = lambda kind, count: True if [event["EventType"] for event in history(functions, arn)].count(kind) >= count else None
        for done in (1, 2):
            until(lambda: has("WaitStarted", done), "it waits")
            server.kill()
            server.start()
            functions = server.client("lambda")
        with pytest.raises(Exception):
            lost.result()
    execution = lambda: functions.get_durable_execution(DurableExecutionArn=arn)
    until(lambda: execution()["Status"] != "RUNNING", "it ended")
    assert (execution()["Status"], execution()["Result"]) == ("SUCCEEDED", "3")
    succeeded = [event["Name"] for event in history(functions, arn) if event["EventType"] == "StepSucceeded"]
    assert succeeded == ["step-0", "step-1", "step-2"]
    assert server.stop() == 0, server.log()


MODEL = botocore.session.get_session().get_service_model("lambda")
OF_EXECUTIONS = [one["operation"] for one in operations() if one["service"] == "lambda" and one["built"]
                 and "DurableExecution" in one["operation"] and one["operation"] != "ListDurableExecutionsByFunction"]
MEMBERS = [(operation, member) for operation in OF_EXECUTIONS for member in MODEL.operation_model(operation).input_shape.members]
# Written without the SDK, so that the token of a running execution is known outside: another function's log tells it.
TOKENS = """
import boto3, json, time

def handler(event, context):
    known = {"arn": event["DurableExecutionArn"], "token": event["CheckpointToken"]}
    boto3.client("lambda").invoke(FunctionName="tells", Payload=json.dumps(known))
    time.sleep(300)
"""
TELLS = package_of({"app.py": "import json\n\ndef handler(event, context):\n    print(json.dumps(event))\n"})
TAKEN = {"IncludeExecutionData": True, "MaxItems": 2, "ReverseOrder": True, "ClientToken": "one!", "Reason": "lunch",
         "ExecutionTimeoutPaused": True, "Updates": []}
REFUSED = {"DurableExecutionArn": "no arn", "CheckpointToken": "?", "CallbackId": "?", "ClientToken": "t" * 65, "Marker": "no marker!",
           "IncludeExecutionData": "perhaps", "ReverseOrder": "perhaps", "ExecutionTimeoutPaused": "perhaps", "MaxItems": 1001,
           "Reason": "r" * 1025, "Error": {"ErrorMessage": ["no text"]}, "Result": b"x" * 1_048_577,
           "Updates": [{"Id": "one", "Type": "NONSENSE", "Action": "START"}]}
# These end what they are asked of: tests above give each of their members a value that is taken.
ENDS = {"DeleteDurableExecution", "StopDurableExecution", "SendDurableExecutionCallbackSuccess", "SendDurableExecutionCallbackFailure"}


@pytest.fixture(scope="module")
def executions(server, functions, logs, durable):
    """One that waits for its callback, and one that runs, with its token."""
    create(functions, "tells", TELLS, PYTHON)
    create(functions, "tokens", package_of({"app.py": TOKENS} | modules(BOTO3)), PYTHON, Timeout=300, MemorySize=512,
           DurableConfig={"ExecutionTimeout": 300, "RetentionPeriodInDays": 1})
    functions.invoke(FunctionName="tokens", Qualifier="$LATEST", InvocationType="Event", Payload=b"{}")

    def said():
        try:
            events = logs.filter_log_events(logGroupName="/aws/lambda/tells", filterPattern='"token"')["events"]
        except ClientError:
            return None
        return json.loads(events[0]["message"]) if events else None
    running = until(said, "a token was shown")
    arn, callback = waits_for_its_callback(functions, "durable", "$LATEST")
    unchecked = server.client("lambda", parameter_validation=False)

    def least(operation):
        of_token = {"DurableExecutionArn": running["arn"], "CheckpointToken": running["token"]}
        known = {"DurableExecutionArn": arn, "CallbackId": callback} | (of_token if "CheckpointToken" in MODEL.operation_model(
            operation).input_shape.members else {})
        return {member: known[member] for member in MODEL.operation_model(operation).input_shape.required_members}

    def ask(operation, **arguments):
        try:
            answer = getattr(unchecked, botocore.xform_name(operation))(**{**least(operation), **arguments})
        except ClientError as error:
            return error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]
        if operation == "CheckpointDurableExecution":
            running["token"] = answer.get("CheckpointToken", running["token"])
        return 200, answer
    return ask


@pytest.mark.parametrize("operation, member", MEMBERS)
def test_a_wrong_value_of_each_member_is_refused(executions, operation, member):
    status, error = executions(operation, **{member: REFUSED[member]})
    assert status in (400, 404, 413) and error["Code"] and error["Message"], (status, error)


@pytest.mark.parametrize("operation, member", [(operation, member) for operation, member in MEMBERS if operation not in ENDS])
def test_a_right_value_of_each_member_is_taken(executions, operation, member):
    more = {member: TAKEN[member]} if member in TAKEN else {}
    if member == "Marker":
        status, first = executions(operation, MaxItems=1)
        assert status == 200
        # An execution without a second page has no marker to go on with.
        more = {"Marker": first["NextMarker"]} if "NextMarker" in first else {}
    status, answer = executions(operation, **more)
    assert status == 200, answer
