"""Settings of functions beside their code: tags, policies as documents, runtime management, tracing, what nothing enforces."""

import base64
import json
import re

import pytest
from botocore.exceptions import ClientError

from packages import ROLE, create, package
from server import Server

CODE = package(app__py="""
import os
def handler(event, context):
    return os.environ.get(event.get('variable', '_X_AMZN_TRACE_ID'))
""")


@pytest.fixture(scope="module")
def shared(functions, python):
    """A function that tests only look at or put back as it was."""
    create(functions, "shared", CODE, python)
    return "shared"


def refused(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def said(functions, name, **event):
    return json.loads(functions.invoke(FunctionName=name, Payload=json.dumps(event))["Payload"].read())


def arn_of(functions, name):
    return functions.get_function(FunctionName=name)["Configuration"]["FunctionArn"]


def test_tags(functions, shared):
    arn = arn_of(functions, shared)
    before = functions.get_function(FunctionName=shared)
    assert "Tags" not in before and functions.list_tags(Resource=arn)["Tags"] == {}
    functions.tag_resource(Resource=arn, Tags={"a": "1", "b": "2"})
    functions.tag_resource(Resource=arn, Tags={"b": "3"})
    tagged = functions.get_function(FunctionName=shared)
    assert tagged["Tags"] == functions.list_tags(Resource=arn)["Tags"] == {"a": "1", "b": "3"}
    assert tagged["Configuration"]["RevisionId"] != before["Configuration"]["RevisionId"]
    invalid = "InvalidParameterValueException"
    many = {f"k{n}": "v" for n in range(49)}
    assert refused(functions.tag_resource, Resource=arn, Tags=many) == (invalid, "Number of tags exceeds resource tag limit.")
    assert refused(functions.tag_resource, Resource=arn, Tags={}) == (
        invalid, "An error occurred and the request cannot be processed.")
    aliased = "Tags on function aliases and versions are not supported. Please specify a function ARN."
    for call, more in [(functions.list_tags, {}), (functions.tag_resource, {"Tags": {"a": "b"}}),
                       (functions.untag_resource, {"TagKeys": ["a"]})]:
        assert refused(call, Resource=f"{arn}:1", **more) == (invalid, aliased)
        assert refused(call, Resource=f"{arn}x", **more) == ("ResourceNotFoundException", f"Function not found: {arn}x")
    for bad in ({"aws:x": "v"}, {"k" * 129: "v"}, {"k": "v" * 257}):
        assert refused(functions.tag_resource, Resource=arn, Tags=bad)[0] in (invalid, "ValidationException")
    mapping = arn.replace("function:shared", "event-source-mapping:0b7a1f6e-0000-4000-8000-000000000001")
    assert refused(functions.list_tags, Resource=mapping)[1] == f"Event source mapping not found: {mapping}"
    functions.untag_resource(Resource=arn, TagKeys=["a", "b", "c"])
    assert "Tags" not in functions.get_function(FunctionName=shared)


def test_a_policy_as_a_document_is_the_policy_of_statements(functions, shared):
    arn = arn_of(functions, shared)
    assert refused(functions.get_resource_policy, ResourceArn=arn) == (
        "ResourceNotFoundException", "No policy is associated with the given resource.")
    functions.add_permission(FunctionName=shared, StatementId="one", Action="lambda:InvokeFunction",
                             Principal="s3.amazonaws.com")
    both = functions.get_resource_policy(ResourceArn=arn)
    old = functions.get_policy(FunctionName=shared)
    assert (both["Policy"], both["RevisionId"]) == (old["Policy"], old["RevisionId"])
    statement = {"Sid": "two", "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"},
                 "Action": "lambda:InvokeFunction", "Resource": arn}
    document = json.dumps({"Version": "2012-10-17", "Id": "mine", "Statement": [statement]})
    stale = refused(functions.put_resource_policy, ResourceArn=arn, Policy=document,
                    RevisionId="0b7a1f6e-0000-4000-8000-000000000001")
    assert stale[0] == "PreconditionFailedException"
    put = functions.put_resource_policy(ResourceArn=arn, Policy=document, RevisionId=both["RevisionId"])
    assert json.loads(put["Policy"]) == json.loads(document) and put["RevisionId"] != both["RevisionId"]
    functions.add_permission(FunctionName=shared, StatementId="three", Action="lambda:InvokeFunction",
                             Principal="s3.amazonaws.com")
    known = json.loads(functions.get_policy(FunctionName=shared)["Policy"])
    assert (known["Id"], [one["Sid"] for one in known["Statement"]]) == ("mine", ["two", "three"])
    for bad in ("{", "{}", json.dumps({"Statement": []}), json.dumps({"Statement": {**statement, "Resource": "arn:aws:s3:::b"}})):
        assert refused(functions.put_resource_policy, ResourceArn=arn, Policy=bad)[0] == "InvalidParameterValueException"
    long = {**statement, "Condition": {"StringEquals": {"aws:SourceAccount": ["1" * 12] * 1330}}}
    functions.put_resource_policy(ResourceArn=arn, Policy=json.dumps({"Statement": long}, separators=(",", ":")))
    big = dict(FunctionName=shared, StatementId="x" * 100, Action="lambda:InvokeFunction", Principal="s3.amazonaws.com",
               SourceArn="arn:aws:s3:::" + "b" * 1500)
    assert refused(functions.add_permission, **big)[0] == "PolicyLengthExceededException"
    assert refused(functions.delete_resource_policy, ResourceArn=arn,
                   RevisionId="0b7a1f6e-0000-4000-8000-000000000001")[0] == "PreconditionFailedException"
    functions.delete_resource_policy(ResourceArn=arn)
    assert refused(functions.get_policy, FunctionName=shared)[0] == "ResourceNotFoundException"
    latest = refused(functions.put_resource_policy, ResourceArn=f"{arn}:$LATEST", Policy=document)
    assert latest == ("InvalidParameterValueException", "We currently do not support adding policies for $LATEST.")
    missing = refused(functions.get_resource_policy, ResourceArn=f"{arn}x")
    assert missing == ("ResourceNotFoundException", f"Function not found: {arn}x")


def test_runtime_management(functions, shared):
    arn = arn_of(functions, shared)
    auto = functions.get_runtime_management_config(FunctionName=shared)
    assert (auto["UpdateRuntimeOn"], auto["FunctionArn"], auto.get("RuntimeVersionArn")) == ("Auto", arn, None)
    version = functions.get_function_configuration(FunctionName=shared)["RuntimeVersionConfig"]["RuntimeVersionArn"]
    put = functions.put_runtime_management_config
    pinned = put(FunctionName=shared, UpdateRuntimeOn="Manual", RuntimeVersionArn=version)
    assert (pinned["UpdateRuntimeOn"], pinned["RuntimeVersionArn"]) == ("Manual", version)
    assert functions.get_runtime_management_config(FunctionName=shared)["RuntimeVersionArn"] == version
    assert said(functions, shared, variable="AWS_REGION") == "us-east-1"
    invalid = "InvalidParameterValueException"
    assert refused(put, FunctionName=shared, UpdateRuntimeOn="Manual")[0] == invalid
    assert refused(put, FunctionName=shared, UpdateRuntimeOn="Auto", RuntimeVersionArn=version)[0] == invalid
    other = version[:-64] + "0" * 64
    assert refused(put, FunctionName=shared, UpdateRuntimeOn="Manual", RuntimeVersionArn=other)[0] == invalid
    assert refused(put, FunctionName=shared, UpdateRuntimeOn="Never")[0] == "ValidationException"
    assert refused(put, FunctionName="absent", UpdateRuntimeOn="Auto")[0] == "ResourceNotFoundException"
    assert refused(put, FunctionName=shared, Qualifier="live", UpdateRuntimeOn="Auto")[0] == invalid
    functions.put_runtime_management_config(FunctionName=shared, UpdateRuntimeOn="FunctionUpdate")
    assert functions.get_runtime_management_config(FunctionName=shared)["UpdateRuntimeOn"] == "FunctionUpdate"
    functions.put_runtime_management_config(FunctionName=shared, UpdateRuntimeOn="Auto")


def test_tracing(functions, python, name):
    made = create(functions, name, CODE, python, TracingConfig={"Mode": "Active"})
    assert made["TracingConfig"] == {"Mode": "Active"}
    answer = functions.invoke(FunctionName=name, Payload=b"{}", LogType="Tail")
    header = json.loads(answer["Payload"].read())
    assert re.fullmatch(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=1", header), header
    tail = base64.b64decode(answer["LogResult"]).decode()
    root, parent = header.split(";")[0][5:], header.split(";")[1][7:]
    assert f"XRAY TraceId: {root}\tSegmentId: {parent}\tSampled: true" in tail
    functions.update_function_configuration(FunctionName=name, TracingConfig={"Mode": "PassThrough"})
    functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    assert said(functions, name).endswith("Sampled=0")

    def upstream(header):
        def put(request, **_):
            request.headers["X-Amzn-Trace-Id"] = header

        functions.meta.events.register("before-sign.lambda.Invoke", put)
        try:
            return said(functions, name)
        finally:
            functions.meta.events.unregister("before-sign.lambda.Invoke", put)

    root = "Root=1-5759e988-bd862e3fe1be46a994272793"
    assert upstream(f"{root};Parent=53995c3f42cd8ad8;Sampled=1") == f"{root};Parent=53995c3f42cd8ad8;Sampled=1"
    assert re.fullmatch(f"{root};Parent=[0-9a-f]{{16}};Sampled=0", upstream(f"{root};Sampled=?"))


def test_what_nothing_enforces_is_refused(functions, python, name):
    vpc = {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    for more in ({"VpcConfig": vpc}, {"KMSKeyArn": "arn:aws:kms:us-east-1:000000000000:key/k"},
                 {"FileSystemConfigs": [{"Arn": "arn:aws:elasticfilesystem:us-east-1:000000000000:access-point/fsap-0123456789abcdef0",
                                         "LocalMountPath": "/mnt/x"}]}):
        with pytest.raises(ClientError) as caught:
            create(functions, name, CODE, python, **more)
        answer = caught.value.response
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 501 and next(iter(more)) in answer["Error"]["Message"]
    # What means that they are not used, clients send.
    create(functions, name, CODE, python, wait=False, VpcConfig={"SubnetIds": [], "SecurityGroupIds": []}, FileSystemConfigs=[], KMSKeyArn="")


def test_what_nothing_enforces_is_shown_where_the_operator_wants_it(python, name):
    server = Server(arguments=["--accept-unenforceable"]).start()
    functions = server.client("lambda")
    vpc = {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    file_systems = [{"Arn": "arn:aws:elasticfilesystem:us-east-1:000000000000:access-point/fsap-0123456789abcdef0", "LocalMountPath": "/mnt/x"}]
    key = "arn:aws:kms:us-east-1:000000000000:key/k"
    made = create(functions, name, CODE, python, VpcConfig=vpc, FileSystemConfigs=file_systems, KMSKeyArn=key)
    # The key of the code comes with the code and goes with it.
    shown = lambda: functions.get_function(FunctionName=name)["Code"].get("SourceKMSKeyArn")
    for given, seen in (({"SourceKMSKeyArn": key}, key), ({}, None)):
        functions.update_function_code(FunctionName=name, ZipFile=CODE, **given)
        functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
        assert shown() == seen
    assert made["VpcConfig"] == {**vpc, "VpcId": "", "Ipv6AllowedForDualStack": False}
    assert (made["FileSystemConfigs"], made["KMSKeyArn"]) == (file_systems, key)
    assert "has no effect here" in server.log()
    assert said(functions, name, variable="AWS_REGION") == "us-east-1"
    alone = refused(functions.update_function_configuration, FunctionName=name, VpcConfig={"SubnetIds": [], "SecurityGroupIds": []})
    assert alone[0] == "InvalidParameterValueException" and "VPC" in alone[1]
    updated = functions.update_function_configuration(
        FunctionName=name, VpcConfig={"SubnetIds": [], "SecurityGroupIds": []}, FileSystemConfigs=[], KMSKeyArn="")
    assert updated["VpcConfig"] == {"SubnetIds": [], "SecurityGroupIds": [], "VpcId": "", "Ipv6AllowedForDualStack": False}
    assert "FileSystemConfigs" not in updated and "KMSKeyArn" not in updated
    assert server.stop() == 0, server.log()


def test_environment_variables_are_nowhere_in_the_data_directory(python, name, tmp_path):
    server = Server(tmp_path).start()
    functions = server.client("lambda")
    secret = "correct-horse-battery-staple"
    create(functions, name, CODE, python, Environment={"Variables": {"SECRET": secret}}, Publish=True)
    assert said(functions, name, variable="SECRET") == secret
    # The same variables again make no new version, though they are sealed anew.
    functions.update_function_configuration(FunctionName=name, Environment={"Variables": {"SECRET": secret}})
    functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    assert functions.publish_version(FunctionName=name)["Version"] == "1"
    log = server.log()
    server.kill()
    found = [path for path in tmp_path.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    assert not found and secret not in log
    server.start()
    functions = server.client("lambda")
    assert functions.get_function_configuration(FunctionName=name)["Environment"] == {"Variables": {"SECRET": secret}}
    assert said(functions, f"{name}:1", variable="SECRET") == secret
    assert server.stop() == 0, server.log()
