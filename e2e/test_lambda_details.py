"""Details that emulators of Lambda get wrong, and what real clients touch first: one test for each entry of both lists.

The lists are those of the behaviour reference (its sections 30 and 31). What another test shows already is named here and not
shown twice:

| detail | shown by |
|---|---|
| 4 function URLs: bodies, cookies, exceptions, paths | `test_function_urls.py`: `test_the_event`, `test_answers`, `test_cookies_and_headers…` |
| 5 cookies, header case and remapped headers of HTTP APIs | `test_http_apis.py` (REST APIs are not Lambda's) |
| 6 timeouts, 7 exits | `test_invoke.py`: `test_timeout`, `test_exit` |
| 8 response streams | `test_streaming.py`; the prelude in `test_function_urls.py`: `test_a_streamed_answer_has_a_head_of_its_own` |
| 9 duplicate mappings, filters | `test_event_source_mappings.py`; `exists` in the unit tests of `crates/events/src/filter.rs` |
| 10 malformed partial answers | unit tests of `crates/events/src/response.rs`, one by one; here over a real queue |
| 11 waits of 1 and 2 minutes | unit tests of `crates/lambda/src/events/verdict.rs`; one id and the rest in `test_events.py` |
| 14 layers: size, order, `/opt/extensions` | `test_layers.py`, `test_external_extensions.py` |
| 15 concurrency | `test_invoke.py`, `test_concurrency.py` |
| 17 environment and context | `test_invoke.py`: `test_context_and_environment`; each runtime in `test_runtimes.py` |
| 24 payloads byte for byte | `test_invoke.py`: `test_the_payload_passes_untouched` |
| 26 numeric strings | status codes are the gateway's: `test_http_apis.py` |
| 30 the reasons of a mapping's states | `test_event_source_mappings.py`, of queues and of streams |
| client 1 | `test_aws_cli.py`; ARNs in paths and errors here |
| client 6 | `test_runtime_api.py`, `test_extensions.py`, `test_external_extensions.py`, `test_inside.py` |
| client 7 | `test_runtime_api.py`, `test_images.py`, `test_streaming.py` |

Left out: CloudFormation, Step Functions, S3, SNS and EventBridge as callers, which are other services (8 of the clients, and the
custom resources of 3); the tools themselves (Terraform, SAM, Serverless), of which the calls are made here in their order.
"""

import base64
import concurrent.futures
import json
import os
import re
import subprocess
import urllib.request
import uuid

import pytest
from botocore.exceptions import ClientError

from packages import ROLE, create, package, package_of
from server import Server
from sources import Sources, gone, printed, settled
from waiting import until

ARN = "arn:aws:lambda:us-east-1:000000000000:function:"
CODE = package(app__py='''
import json, os, pathlib, time

COUNT = 0


def handler(event, context):
    global COUNT
    COUNT += 1
    if isinstance(event, dict) and "Records" in event:
        print("EVENT", json.dumps(event))
        return {"batchItemFailures": [{"itemIdentifier": ""}]} if event["Records"][0].get("body") == "report" else None
    do = event.get("do")
    if do == "sleep":
        time.sleep(event["seconds"])
    if do == "wait":
        print("waits")
        while not pathlib.Path("/tmp/go").exists() and context.get_remaining_time_in_millis() > event.get("left", 1000):
            time.sleep(0.01)
    if do == "raise":
        raise ValueError("no")
    if do == "exit":
        os._exit(event["status"])
    if do == "write":
        pathlib.Path("/tmp/kept").write_text("kept")
    return {"count": COUNT, "kept": os.path.exists("/tmp/kept"), "version": 1, "do": do}
''')
SECOND = package(app__py="def handler(event, context):\n    print('second')\n    return {'version': 2}\n")


@pytest.fixture(scope="module")
def sources():
    sources = Sources()
    yield sources
    sources.stop()


@pytest.fixture(scope="module")
def server(sources):
    server = Server(arguments=[*sources.arguments, "--event-waits", "0,0"]).start()
    yield server
    assert server.stop() == 0, server.log()


@pytest.fixture(scope="module")
def shared(functions, python):
    """A function that no test changes."""
    create(functions, "shared", CODE, python)
    return "shared"


@pytest.fixture
def own(functions, python, name):
    """A function of the test's own."""
    create(functions, name, CODE, python)
    return name


def call(functions, name, event=None, **more):
    answer = functions.invoke(FunctionName=name, Payload=json.dumps(event or {}), **more)
    answer["Body"] = json.loads(answer["Payload"].read())
    return answer


def updated(functions, name):
    functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})


def refused(code, ask, **arguments):
    with pytest.raises(ClientError) as caught:
        ask(**arguments)
    answer = caught.value.response
    assert answer["Error"]["Code"] == code, answer
    return answer["Error"]["Message"]


def revision(functions, name, **more):
    return functions.get_function_configuration(FunctionName=name, **more)["RevisionId"]


def wire(functions, ask, **arguments):
    """The status, headers and JSON of an answer as they were on the wire."""
    seen = {}
    functions.meta.events.register("before-parse.lambda", lambda response_dict, **_: seen.update(answer=response_dict))
    try:
        getattr(functions, ask)(**arguments)
    except ClientError:
        pass
    answer = seen["answer"]
    return answer["status_code"], answer["headers"], json.loads(answer["body"] or b"{}")


# What emulators get wrong.


def test_1_the_status_of_the_last_update_is_always_told(functions, own):
    told = [functions.update_function_code(FunctionName=own, ZipFile=SECOND)]
    assert told[0]["LastUpdateStatus"] == "InProgress"

    def successful():
        for got in (functions.get_function(FunctionName=own)["Configuration"], functions.get_function_configuration(FunctionName=own)):
            told.append(got)
        return told[-1]["LastUpdateStatus"] == "Successful"
    until(successful, "the update succeeded")
    for one in told:
        assert one["State"] == "Active" and one["LastUpdateStatus"] in ("InProgress", "Successful"), one
        assert ("LastUpdateStatusReasonCode" in one) == (one["LastUpdateStatus"] == "InProgress")
        assert "" not in [one.get(member) for member in one if member != "Description"], one


def test_2_tags_are_beside_the_configuration(functions, python, name):
    create(functions, name, CODE, python, Tags={"team": "blue"})
    assert functions.get_function(FunctionName=name)["Tags"] == {"team": "blue"}
    functions.tag_resource(Resource=ARN + name, Tags={"stage": "test"})
    assert functions.get_function(FunctionName=name)["Tags"] == {"team": "blue", "stage": "test"}
    functions.untag_resource(Resource=ARN + name, TagKeys=["team", "stage"])
    assert "Tags" not in functions.get_function(FunctionName=name)


def test_3_a_function_is_pending_and_a_call_of_it_waits(functions, python, name):
    answer = create(functions, name, CODE, python, wait=False)
    assert (answer["State"], answer["StateReasonCode"]) == ("Pending", "Creating")
    assert call(functions, name)["Body"]["version"] == 1


def test_9_mappings_of_one_stream_all_fire_and_of_no_other_one(functions, logs, sources, python, name):
    """Two functions read one stream, a third one that whose name begins like it; an update of a mapping has its effect."""
    streams = [f"s-{uuid.uuid4().hex[:8]}"]
    streams.append(streams[0] + "-more")
    arns = [sources.stream(stream) for stream in streams]
    readers = [f"{name}-{n}" for n in range(3)]
    for reader in readers:
        create(functions, reader, CODE, python)
    made = [
        functions.create_event_source_mapping(FunctionName=reader, EventSourceArn=arn, StartingPosition="TRIM_HORIZON")["UUID"]
        for reader, arn in zip(readers, [arns[0], arns[0], arns[1]])]
    for of in made:
        settled(functions, of)
    kinesis = sources.client("kinesis")
    for stream in streams:
        kinesis.put_record(StreamName=stream, Data=stream.encode(), PartitionKey="k")

    def came(reader):
        return [base64.b64decode(record["kinesis"]["data"]).decode() for event in printed(logs, reader) for record in event["Records"]]
    until(lambda: [came(reader) for reader in readers] == [[streams[0]], [streams[0]], [streams[1]]], "all readers read")
    functions.update_event_source_mapping(UUID=made[1], FilterCriteria={"Filters": [{"Pattern": '{"data": {"kind": ["wanted"]}}'}]})
    settled(functions, made[1])
    for data in (b'{"kind": "other"}', b'{"kind": "wanted"}'):
        kinesis.put_record(StreamName=streams[0], Data=data, PartitionKey="k")
    until(lambda: came(readers[1])[1:] == ['{"kind": "wanted"}'], "the filter passed one")
    until(lambda: len(came(readers[0])) == 3, "the other reader read both")
    for of in made:
        gone(functions, of)


def test_10_and_19_an_empty_id_fails_the_whole_batch_and_no_attributes_are_null(functions, logs, sources, own):
    url, arn = sources.queue(f"q-{uuid.uuid4().hex[:8]}")
    of = functions.create_event_source_mapping(
        FunctionName=own, EventSourceArn=arn, FunctionResponseTypes=["ReportBatchItemFailures"])["UUID"]
    settled(functions, of)
    sqs = sources.client("sqs")
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "1"})
    sqs.send_message(QueueUrl=url, MessageBody="report")
    came = until(lambda: (lambda events: events if len(events) >= 2 else None)(printed(logs, own)), "it came again")
    record, again = came[0]["Records"][0], came[1]["Records"][0]
    assert record["messageId"] == again["messageId"] and int(again["attributes"]["ApproximateReceiveCount"]) >= 2
    assert "md5OfMessageAttributes" in record and record["md5OfMessageAttributes"] is None
    assert record["messageAttributes"] == {}
    gone(functions, of)


def test_11_an_event_tells_no_version(functions, shared):
    answer = functions.invoke(FunctionName=shared, InvocationType="Event", Payload="{}")
    assert answer["StatusCode"] == 202 and answer["Payload"].read() == b""
    assert "x-amz-executed-version" not in answer["ResponseMetadata"]["HTTPHeaders"]


def test_12_revision_ids_change_with_every_transition(functions, own):
    seen = [revision(functions, own)]
    during = functions.update_function_configuration(FunctionName=own, Description="d")["RevisionId"]
    updated(functions, own)
    seen += [during, revision(functions, own)]
    functions.publish_version(FunctionName=own)
    seen.append(revision(functions, own))
    assert len(set(seen)) == 4, seen
    functions.create_alias(FunctionName=own, Name="live", FunctionVersion="1")
    assert revision(functions, own) == seen[-1], "an alias is no change of its function"
    of_alias = functions.get_alias(FunctionName=own, Name="live")["RevisionId"]
    assert of_alias != functions.update_alias(FunctionName=own, Name="live", Description="d")["RevisionId"]
    functions.add_permission(FunctionName=own, StatementId="s", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com")
    assert revision(functions, own) == seen[-1], "policies have revisions of their own"
    layer = functions.publish_layer_version(LayerName=own, Content={"ZipFile": CODE})
    of_layer = {"LayerName": own, "VersionNumber": layer["Version"], "Action": "lambda:GetLayerVersion", "Principal": "*"}
    functions.add_layer_version_permission(StatementId="s", **of_layer)
    stale = {"RevisionId": str(uuid.uuid4())}
    text = "The Revision Id provided does not match the latest Revision Id. Call the {} API to retrieve the latest Revision Id"
    for operation, ask, arguments in [
        ("GetFunction/GetAlias", functions.update_function_configuration, {"FunctionName": own, "Timeout": 9}),
        ("GetFunction/GetAlias", functions.update_alias, {"FunctionName": own, "Name": "live"}),
        ("GetPolicy", functions.remove_permission, {"FunctionName": own, "StatementId": "s"}),
        ("GetLayerPolicy", functions.add_layer_version_permission, {"StatementId": "t", **of_layer}),
    ]:
        assert refused("PreconditionFailedException", ask, **arguments, **stale) == text.format(operation)


def test_13_what_is_absent_is_deleted_or_missed(functions, sources, own):
    functions.publish_version(FunctionName=own)
    for ask, arguments in [
        (functions.delete_alias, {"FunctionName": own, "Name": "absent"}),
        (functions.delete_layer_version, {"LayerName": "absent", "VersionNumber": 7}),
        (functions.delete_provisioned_concurrency_config, {"FunctionName": own, "Qualifier": "1"}),
        (functions.delete_function_concurrency, {"FunctionName": own}),
    ]:
        assert ask(**arguments)["ResponseMetadata"]["HTTPStatusCode"] == 204
    for ask, arguments in [
        (functions.delete_function, {"FunctionName": "absent"}),
        (functions.delete_function, {"FunctionName": own, "Qualifier": "9"}),
        (functions.delete_function_url_config, {"FunctionName": own}),
        (functions.delete_function_event_invoke_config, {"FunctionName": own}),
        (functions.delete_event_source_mapping, {"UUID": str(uuid.uuid4())}),
        (functions.remove_permission, {"FunctionName": own, "StatementId": "absent"}),
        (functions.delete_provisioned_concurrency_config, {"FunctionName": own, "Qualifier": "absent"}),
    ]:
        refused("ResourceNotFoundException", ask, **arguments)
    # A function leaves its mappings behind.
    _, arn = sources.queue(f"q-{uuid.uuid4().hex[:8]}")
    of = functions.create_event_source_mapping(FunctionName=own, EventSourceArn=arn)["UUID"]
    settled(functions, of)
    functions.delete_function(FunctionName=own)
    assert functions.get_event_source_mapping(UUID=of)["State"] == "Enabled"
    gone(functions, of)


def test_14_a_layer_that_was_deleted_still_runs(functions, python, name):
    layer = functions.publish_layer_version(LayerName=name, Content={"ZipFile": package_of({"python/shared.py": "value = 7\n"})})
    assert layer["Content"]["CodeSize"] > 0
    code = package(app__py="import shared\ndef handler(event, context):\n    return shared.value\n")
    create(functions, name, code, python, Layers=[layer["LayerVersionArn"]])
    shown = functions.get_function_configuration(FunctionName=name)["Layers"]
    assert shown == [{"Arn": layer["LayerVersionArn"], "CodeSize": layer["Content"]["CodeSize"]}]
    functions.delete_layer_version(LayerName=name, VersionNumber=layer["Version"])
    # A new environment, too.
    functions.update_function_configuration(FunctionName=name, Timeout=9)
    updated(functions, name)
    assert call(functions, name)["Body"] == 7


def test_16_the_log_result_is_the_last_4_kilobytes(functions, logs, python, name):
    code = package(app__py="def handler(event, context):\n    for n in range(400):\n        print('line', n, 'x' * 20)\n")
    create(functions, name, code, python)
    answer = functions.invoke(FunctionName=name, LogType="Tail")
    tail = base64.b64decode(answer["LogResult"])
    assert len(tail) <= 4096 and b"line 399" in tail and b"line 0 " not in tail
    assert b"END RequestId: " in tail and b"REPORT RequestId: " in tail

    def streams():
        try:
            return logs.describe_log_streams(logGroupName=f"/aws/lambda/{name}")["logStreams"]
        except logs.exceptions.ResourceNotFoundException:
            return None
    assert "[$LATEST]" in until(streams, "there is a stream")[0]["logStreamName"]


def test_18_a_crash_resets_globals_and_keeps_tmp(functions, server, python, name):
    keeps = server.health()["enforced"]["ownUid"]
    create(functions, name, CODE, python, Timeout=1)
    functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    assert call(functions, name, {"do": "write"})["Body"]["count"] == 1
    assert call(functions, name)["Body"] == {"count": 2, "kept": True, "version": 1, "do": None}
    for end in ({"do": "exit", "status": 3}, {"do": "sleep", "seconds": 30}):
        assert call(functions, name, end)["FunctionError"] == "Unhandled"
        after = call(functions, name)["Body"]
        assert after["count"] == 1, f"globals survived {end}"
        assert after["kept"] is keeps, f"/tmp did not survive {end}"


def test_21_errors_have_their_casing_and_their_header(server, functions, shared):
    unchecked = server.client("lambda", parameter_validation=False)
    for ask, arguments, status, code, body in [
        ("get_function", {"FunctionName": "absent"}, 404, "ResourceNotFoundException", {"Type": "User", "Message": ...}),
        ("create_function", dict(FunctionName=shared, Runtime="python3.12", Role=ROLE, Handler="a.b", Code={"ZipFile": CODE}),
         409, "ResourceConflictException", {"Type": "User", "message": ...}),
        ("create_function", dict(FunctionName="x", Runtime="cobol", Role=ROLE, Handler="a.b", Code={"ZipFile": CODE}),
         400, "InvalidParameterValueException", {"Type": "User", "message": ...}),
        ("get_function", {"FunctionName": "no such!"}, 400, "ValidationException", {"message": ...}),
        ("update_function_code", {"FunctionName": shared, "ZipFile": CODE, "RevisionId": "x"}, 412, "PreconditionFailedException",
         {"Type": "User", "message": ...}),
        ("put_function_concurrency", {"FunctionName": shared, "ReservedConcurrentExecutions": 950}, 400,
         "InvalidParameterValueException", {"message": ...}),
        ("invoke", {"FunctionName": shared, "Payload": b"{"}, 400, "InvalidRequestContentException", {"Type": "User", "message": ...}),
        ("get_provisioned_concurrency_config", {"FunctionName": shared, "Qualifier": "1"}, 404, "ResourceNotFoundException", {"Type": "User", "Message": ...}),
        ("put_function_code_signing_config", {"FunctionName": shared, "CodeSigningConfigArn": (
            "arn:aws:lambda:us-east-1:000000000000:code-signing-config:csc-" + "0" * 17)}, 404, "CodeSigningConfigNotFoundException",
         {"Type": "User", "Message": ...}),
    ]:
        got, headers, answer = wire(unchecked, ask, **arguments)
        assert (got, headers["x-amzn-ErrorType"]) == (status, code), (ask, answer)
        assert answer.keys() == body.keys() and all(answer[member] == value for member, value in body.items() if value is not ...), answer
        assert re.fullmatch("[0-9a-f-]{36}", headers["x-amzn-RequestId"])


def test_22_numbers_of_versions_are_given_once(functions, own):
    assert functions.publish_version(FunctionName=own)["Version"] == "1"
    assert functions.publish_version(FunctionName=own)["Version"] == "1", "nothing changed"
    functions.delete_function(FunctionName=own, Qualifier="1")
    functions.update_function_configuration(FunctionName=own, Description="changed")
    updated(functions, own)
    assert functions.publish_version(FunctionName=own)["Version"] == "2"
    listed = functions.list_versions_by_function(FunctionName=own)["Versions"]
    assert [version["Version"] for version in listed] == ["$LATEST", "2"]


def test_23_a_permission_is_read_at_once(functions, shared):
    for n in range(20):
        sid = f"s-{uuid.uuid4().hex[:8]}"
        functions.add_permission(FunctionName=shared, StatementId=sid, Action="lambda:InvokeFunction", Principal="sns.amazonaws.com")
        document = json.loads(functions.get_policy(FunctionName=shared)["Policy"])
        assert sid in [statement["Sid"] for statement in document["Statement"]]
        functions.remove_permission(FunctionName=shared, StatementId=sid)
    refused("ResourceNotFoundException", functions.get_policy, FunctionName=shared)
    message = refused("InvalidParameterValueException", functions.add_permission, FunctionName=shared, StatementId="s",
                      Action="lambda:InvokeFunction", Principal="arn:aws:iam::0:role/absent")
    assert message == "The provided principal was invalid. Please check the principal and try again."


def test_25_code_can_be_fetched_again(functions, shared, name):
    location = functions.get_function(FunctionName=shared)["Code"]["Location"]
    layer = functions.publish_layer_version(LayerName=name, Content={"ZipFile": SECOND})["Content"]["Location"]
    for place, code in ((location, CODE), (layer, SECOND)):
        with urllib.request.urlopen(place, timeout=30) as answer:
            assert answer.read() == code


def test_27_lists_tell_no_state(functions, shared):
    for listed in (functions.list_functions()["Functions"], functions.list_functions(FunctionVersion="ALL")["Functions"],
                   functions.list_versions_by_function(FunctionName=shared)["Versions"]):
        assert listed and len(listed) <= 50
        for one in listed:
            assert not {"State", "StateReason", "StateReasonCode", "LastUpdateStatus", "LastUpdateStatusReason"} & one.keys()


def test_no_function_is_a_replica_of_another_region(functions, shared):
    assert functions.list_functions(MasterRegion="us-west-2", FunctionVersion="ALL")["Functions"] == []
    refused("InvalidParameterValueException", functions.list_functions, MasterRegion="ALL")


@pytest.mark.parametrize("event", [{"do": "raise"}, {"do": "exit", "status": 0}, {"do": "exit", "status": 3}])
def test_28_every_failure_is_unhandled(functions, shared, event):
    answer = call(functions, shared, event)
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")


def test_29_what_runs_keeps_its_code_and_what_waits_gets_the_new_one(functions, server, python, name):
    """A call runs, and an event waits for it to end, while the code is updated. It runs long enough for that, which on a busy
    machine takes more than one attempt to find out."""
    logs = server.client("logs")
    create(functions, name, CODE, python, Timeout=90)
    functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)

    def hold(seconds):
        while True:
            try:
                return call(functions, name, {"do": "wait", "left": (90 - seconds) * 1000})
            except functions.exceptions.TooManyRequestsException:
                # One of the questions below was quicker.
                continue

    def said_second():
        try:
            return logs.filter_log_events(logGroupName=f"/aws/lambda/{name}", filterPattern='"second"')["events"]
        except logs.exceptions.ResourceNotFoundException:
            return []
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for seconds in (2, 6, 20, 60):
            running = pool.submit(hold, seconds)
            until(lambda: throttled(functions, name), "it is throttled, so the other one runs", 90)
            functions.invoke(FunctionName=name, InvocationType="Event", Payload="{}")
            functions.update_function_code(FunctionName=name, ZipFile=SECOND)
            updated(functions, name)
            in_time = not running.done()
            assert running.result()["Body"]["version"] == 1
            if in_time:
                break
            functions.update_function_code(FunctionName=name, ZipFile=CODE)
            updated(functions, name)
    assert in_time
    until(said_second, "the event ran with the new code")
    assert until(lambda: not throttled(functions, name), "it is free") and call(functions, name)["Body"] == {"version": 2}


def throttled(functions, name):
    try:
        functions.invoke(FunctionName=name, Payload=json.dumps({"do": "none"}))
        return False
    except functions.exceptions.TooManyRequestsException:
        return True


def test_functions_without_a_capacity_provider_have_no_scaling(server, functions, own):
    """The operations of managed instances, as AWS answers them for other functions."""
    functions.publish_version(FunctionName=own)
    unchecked = server.client("lambda", parameter_validation=False)
    text = "The function provided by the arn does not contain a capacity provider configuration"
    named = {"FunctionName": own, "Qualifier": "1"}
    config = {"FunctionScalingConfig": {"MinExecutionEnvironments": 1, "MaxExecutionEnvironments": 2}}
    assert refused("AccessDeniedException", unchecked.put_function_scaling_config, **named, **config) == text
    assert refused("AccessDeniedException", unchecked.get_function_scaling_config, **named) == text
    for ask in (unchecked.put_function_scaling_config, unchecked.get_function_scaling_config):
        refused("ResourceNotFoundException", ask, FunctionName=own, Qualifier="9")
        refused("ResourceNotFoundException", ask, FunctionName="absent", Qualifier="1")
        # Only what is published scales; `$LATEST.PUBLISHED` is of managed instances alone.
        for other in ("$LATEST", "live"):
            refused("ValidationException", ask, FunctionName=own, Qualifier=other)
        refused("ResourceNotFoundException", ask, FunctionName=own, Qualifier="$LATEST.PUBLISHED")
    refused("ValidationException", unchecked.put_function_scaling_config, FunctionName=own, Qualifier="1",
            FunctionScalingConfig={"MaxExecutionEnvironments": 15001})
    provider = {"LambdaManagedInstancesCapacityProviderConfig": {
        "CapacityProviderArn": "arn:aws:lambda:us-east-1:000000000000:capacity-provider:c"}}
    assert refused("InvalidParameterValueException", functions.update_function_configuration, FunctionName=own,
                   CapacityProviderConfig=provider) == "CapacityProviderConfig isn't supported for Lambda Default functions."


# What clients touch first: their calls, in their order.


def test_client_1_the_aws_cli_with_arns_and_errors(server, functions, shared, tmp_path):
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
                   "AWS_DEFAULT_REGION": "us-east-1", "AWS_PAGER": "", "AWS_MAX_ATTEMPTS": "1"}

    def aws(*words):
        line = [os.environ.get("GATEMILL_AWS_CLI", "aws"), "--endpoint-url", server.url, "lambda", *words]
        return subprocess.run(line, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=120)

    done = aws("invoke", "--function-name", f"{ARN}{shared}:$LATEST", "--cli-binary-format", "raw-in-base64-out",
               "--payload", '{"do": "raise"}', "out.json")
    assert json.loads(done.stdout) == {"StatusCode": 200, "FunctionError": "Unhandled", "ExecutedVersion": "$LATEST"}, done.stderr
    assert json.loads((tmp_path / "out.json").read_text())["errorType"] == "ValueError"
    done = aws("get-function", "--function-name", "absent")
    assert done.returncode != 0
    assert done.stderr.strip().startswith("An error occurred (ResourceNotFoundException) when calling the GetFunction operation"), done.stderr
    assert done.stderr.strip().endswith(f": Function not found: {ARN}absent")


def test_client_2_terraform_creates_updates_and_destroys(functions, python, name):
    create(functions, name, CODE, python, wait=False, Tags={"managed": "yes"}, Publish=True)

    def read():
        got = functions.get_function(FunctionName=name)
        assert functions.get_function_code_signing_config(FunctionName=name).get("CodeSigningConfigArn") is None
        versions = functions.list_versions_by_function(FunctionName=name, MaxItems=10)["Versions"]
        return got, versions[-1]["Version"]
    until(lambda: functions.get_function(FunctionName=name)["Configuration"]["State"] == "Active", "it is active")
    got, latest = read()
    assert got["Tags"] == {"managed": "yes"} and latest == "1" and "Concurrency" not in got
    functions.update_function_configuration(FunctionName=name, Timeout=8, Environment={"Variables": {"STAGE": "test"}})
    until(lambda: functions.get_function_configuration(FunctionName=name)["LastUpdateStatus"] == "Successful", "it is updated")
    functions.update_function_code(FunctionName=name, ZipFile=SECOND, DryRun=False)
    until(lambda: functions.get_function(FunctionName=name)["Configuration"]["LastUpdateStatus"] == "Successful", "it is updated")
    assert functions.publish_version(FunctionName=name)["Version"] == "2"
    functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=2)
    functions.tag_resource(Resource=ARN + name, Tags={"more": "tags"})
    functions.untag_resource(Resource=ARN + name, TagKeys=["managed"])
    got, latest = read()
    assert (got["Tags"], latest, got["Concurrency"]) == ({"more": "tags"}, "2", {"ReservedConcurrentExecutions": 2})
    functions.create_alias(FunctionName=name, Name="live", FunctionVersion="2")
    functions.add_permission(FunctionName=name, StatementId="tf", Action="lambda:InvokeFunction", Principal="events.amazonaws.com",
                             Qualifier="live")
    statement, = json.loads(functions.get_policy(FunctionName=name, Qualifier="live")["Policy"])["Statement"]
    assert statement["Resource"] == f"{ARN}{name}:live"
    url = functions.create_function_url_config(FunctionName=name, Qualifier="live", AuthType="NONE")
    assert functions.get_function_url_config(FunctionName=name, Qualifier="live")["FunctionUrl"] == url["FunctionUrl"]
    functions.put_provisioned_concurrency_config(FunctionName=name, Qualifier="live", ProvisionedConcurrentExecutions=1)
    until(lambda: functions.get_provisioned_concurrency_config(FunctionName=name, Qualifier="live")["Status"] == "READY", "it is provisioned")
    functions.put_function_event_invoke_config(FunctionName=name, Qualifier="live", MaximumRetryAttempts=0)
    assert functions.get_function_event_invoke_config(FunctionName=name, Qualifier="live")["MaximumRetryAttempts"] == 0
    functions.delete_function_event_invoke_config(FunctionName=name, Qualifier="live")
    functions.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="live")
    functions.delete_function_url_config(FunctionName=name, Qualifier="live")
    functions.remove_permission(FunctionName=name, StatementId="tf", Qualifier="live")
    functions.delete_alias(FunctionName=name, Name="live")
    functions.delete_function(FunctionName=name)
    refused("ResourceNotFoundException", functions.get_function, FunctionName=name)


def test_client_3_cdk_swaps_code_behind_an_alias(functions, python, name):
    create(functions, name, CODE, python, Publish=True)
    functions.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    digest = functions.update_function_code(FunctionName=name, ZipFile=SECOND)["CodeSha256"]
    updated(functions, name)
    refused("InvalidParameterValueException", functions.publish_version, FunctionName=name, CodeSha256="other")
    published = functions.publish_version(FunctionName=name, CodeSha256=digest)
    functions.update_alias(FunctionName=name, Name="live", FunctionVersion=published["Version"])
    answer = call(functions, name, Qualifier="live")
    assert (answer["Body"], answer["ExecutedVersion"]) == ({"version": 2}, "2")


def test_client_4_sam_syncs_and_invokes(functions, logs, python, name):
    create(functions, name, CODE, python)
    layer = functions.publish_layer_version(LayerName=name, Content={"ZipFile": package_of({"python/a.py": "x = 1"})},
                                            CompatibleRuntimes=[python])
    assert functions.get_layer_version(LayerName=name, VersionNumber=layer["Version"])["LayerVersionArn"] == layer["LayerVersionArn"]
    functions.update_function_configuration(FunctionName=name, Layers=[layer["LayerVersionArn"]])
    updated(functions, name)
    functions.update_function_code(FunctionName=name, ZipFile=SECOND)
    functions.get_waiter("function_updated").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    group = functions.get_function_configuration(FunctionName=name)["LoggingConfig"]["LogGroup"]
    events = list(functions.invoke_with_response_stream(FunctionName=name, Payload="{}", LogType="Tail")["EventStream"])
    assert b"".join(event["PayloadChunk"]["Payload"] for event in events[:-1]) == b'{"version": 2}'
    assert "ErrorCode" not in events[-1]["InvokeComplete"] and "LogResult" in events[-1]["InvokeComplete"]
    until(lambda: logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
          and logs.filter_log_events(logGroupName=group, filterPattern='"second"')["events"], "it is in the log")


def test_client_5_serverless_deploys_a_function(functions, python, name):
    create(functions, name, CODE, python, Description="old")
    before = functions.get_function(FunctionName=name)["Configuration"]
    functions.update_function_code(FunctionName=name, ZipFile=SECOND)
    updated(functions, name)
    functions.update_function_configuration(FunctionName=name, Handler=before["Handler"], MemorySize=256, Description="new",
                                            Environment={"Variables": {}}, Role=before["Role"])
    updated(functions, name)
    after = functions.get_function(FunctionName=name)["Configuration"]
    assert (after["MemorySize"], after["Description"], after["Environment"]) == (256, "new", {"Variables": {}})
    answer = functions.invoke(FunctionName=name, LogType="Tail", InvocationType="RequestResponse")
    assert b"second" in base64.b64decode(answer["LogResult"])
