"""The life of a function, as boto3 sees it: create, read, update, list, delete, and what is refused."""

import base64
import hashlib
import re
import urllib.request

import pytest
from botocore.exceptions import ClientError, ParamValidationError

from packages import ROLE, create, package, package_of

HELLO = package(app__py="def handler(event, context):\n    return {'hello': event.get('name', 'world')}\n")


def refused(call, code, status, message=None, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == (code, status), answer
    if message is not None:
        assert answer["Error"]["Message"] == message
    return answer


def test_create_answers_as_recorded_and_becomes_active(functions, python, name):
    answer = create(functions, name, HELLO, python, wait=False, Description="says hello")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert answer["State"] == "Pending"
    assert answer["StateReasonCode"] == "Creating"
    assert answer["StateReason"] == "The function is being created."
    assert "LastUpdateStatus" not in answer
    assert answer["FunctionArn"] == f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    assert answer["CodeSize"] == len(HELLO)
    assert answer["CodeSha256"] == base64.b64encode(hashlib.sha256(HELLO).digest()).decode()
    assert answer["Version"] == "$LATEST"
    assert answer["MemorySize"] == 128
    assert answer["EphemeralStorage"] == {"Size": 512}
    assert answer["Architectures"] == ["x86_64"]
    assert answer["PackageType"] == "Zip"
    assert answer["TracingConfig"] == {"Mode": "PassThrough"}
    assert answer["SnapStart"] == {"ApplyOn": "None", "OptimizationStatus": "Off"}
    assert answer["LoggingConfig"] == {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000", answer["LastModified"])
    functions.get_waiter("function_active_v2").wait(FunctionName=name)
    got = functions.get_function(FunctionName=name)
    configuration = got["Configuration"]
    assert (configuration["State"], configuration["LastUpdateStatus"]) == ("Active", "Successful")
    assert "StateReason" not in configuration
    assert configuration["RevisionId"] != answer["RevisionId"]
    assert got["Code"]["RepositoryType"] == "S3"
    assert "Tags" not in got and "Concurrency" not in got


def test_code_location_gives_the_package_back(functions, python, name):
    create(functions, name, HELLO, python)
    location = functions.get_function(FunctionName=name)["Code"]["Location"]
    with urllib.request.urlopen(location, timeout=10) as answer:
        assert answer.read() == HELLO
    forged = location[:-1] + ("0" if location[-1] != "0" else "1")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(forged, timeout=10)
    assert caught.value.code == 403


def test_names_arns_and_qualifiers(functions, python, name):
    create(functions, name, HELLO, python)
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    for reference in (name, f"{name}:$LATEST", f"000000000000:function:{name}", arn, f"{arn}:$LATEST"):
        assert functions.get_function_configuration(FunctionName=reference)["FunctionName"] == name
    qualified = functions.get_function_configuration(FunctionName=name, Qualifier="$LATEST")
    assert qualified["FunctionArn"] == f"{arn}:$LATEST"
    get = functions.get_function_configuration
    refused(get, "InvalidParameterValueException", 400,
            "The derived qualifier from the function name does not match the specified qualifier.",
            FunctionName=f"{name}:1", Qualifier="$LATEST")
    refused(get, "ResourceNotFoundException", 404, f"Function not found: {arn}:7", FunctionName=name, Qualifier="7")
    refused(get, "ResourceNotFoundException", 404,
            "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')",
            FunctionName=f"arn:aws:lambda:eu-west-1:000000000000:function:{name}")


def test_validation_messages(functions):
    unchecked = functions
    message = refused(unchecked.get_function, "ValidationException", 400, FunctionName="no such?")["Error"]["Message"]
    assert message.startswith(
        "1 validation error detected: Value 'no such?' at 'functionName' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: "
    )


def test_all_violations_are_counted(server, python):
    functions = server.client("lambda", parameter_validation=False)
    answer = refused(
        functions.create_function, "ValidationException", 400,
        FunctionName="f", Runtime=python, Role="not a role", Handler="a b", Timeout=0, MemorySize=64,
        Code={"ZipFile": HELLO},
    )
    message = answer["Error"]["Message"]
    assert message.startswith("4 validation errors detected: "), message
    assert "Value '0' at 'timeout' failed to satisfy constraint: Member must have value greater than or equal to 1" in message


def test_create_twice(functions, python, name):
    create(functions, name, HELLO, python)
    refused(functions.create_function, "ResourceConflictException", 409, f"Function already exist: {name}",
            FunctionName=name, Runtime=python, Role=ROLE, Handler="app.handler", Code={"ZipFile": HELLO})


def test_update_code_and_configuration(functions, python, name):
    create(functions, name, HELLO, python)
    before = functions.get_function_configuration(FunctionName=name)["RevisionId"]
    other = package(app__py="def handler(event, context):\n    return 'second'\n")
    dry = functions.update_function_code(FunctionName=name, ZipFile=other, DryRun=True)
    assert dry["CodeSize"] == len(other)
    assert functions.get_function_configuration(FunctionName=name)["RevisionId"] == before
    answer = functions.update_function_code(FunctionName=name, ZipFile=other, RevisionId=before)
    assert (answer["State"], answer["LastUpdateStatus"], answer["LastUpdateStatusReasonCode"]) == ("Active", "InProgress", "Creating")
    functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    assert functions.invoke(FunctionName=name)["Payload"].read() == b'"second"'
    refused(functions.update_function_code, "PreconditionFailedException", 412,
            "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id",
            FunctionName=name, ZipFile=other, RevisionId=before)
    functions.update_function_configuration(
        FunctionName=name, Timeout=7, MemorySize=256, Environment={"Variables": {"COLOUR": "blue"}}, Description="")
    functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    got = functions.get_function_configuration(FunctionName=name)
    assert (got["Timeout"], got["MemorySize"], got["Environment"]) == (7, 256, {"Variables": {"COLOUR": "blue"}})


def test_environment_rules(functions, python, name):
    arguments = dict(FunctionName=name, Runtime=python, Role=ROLE, Handler="app.handler", Code={"ZipFile": HELLO})
    refused(functions.create_function, "InvalidParameterValueException", 400,
            "Lambda was unable to configure your environment variables because the environment variables you have provided contains reserved keys that are currently not supported for modification. Reserved keys used in this request: AWS_REGION",
            Environment={"Variables": {"AWS_REGION": "x"}}, **arguments)
    big = {"Variables": {"BIG": "x" * 4200}}
    message = refused(functions.create_function, "InvalidParameterValueException", 400, Environment=big, **arguments)["Error"]["Message"]
    assert message.startswith("Lambda was unable to configure your environment variables because the environment variables you have provided exceeded the 4KB limit. String measured: {\"BIG\":\"xxx")


def test_runtimes_are_named_exactly(functions, name):
    arguments = dict(FunctionName=name, Role=ROLE, Handler="app.handler", Code={"ZipFile": HELLO})
    message = refused(functions.create_function, "InvalidParameterValueException", 400, Runtime="cobol85", **arguments)["Error"]["Message"]
    assert message.startswith("Value cobol85 at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [nodejs20.x, python3.14, ")
    assert message.endswith("] or be a valid ARN")


@pytest.mark.parametrize("field, value", [
    ("FileSystemConfigs", [{"Arn": "arn:aws:elasticfilesystem:us-east-1:000000000000:access-point/fsap-0123456789abcdef0", "LocalMountPath": "/mnt/x"}]),
    ("KMSKeyArn", "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-0000-0000-000000000000"),
    ("VpcConfig", {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}),
])
def test_what_is_not_built_is_refused_and_nothing_is_stored(functions, python, name, field, value):
    answer = refused(functions.create_function, "NotImplementedException", 501, FunctionName=name, Runtime=python,
                     Role=ROLE, Handler="app.handler", Code={"ZipFile": HELLO}, **{field: value})
    assert field in answer["Error"]["Message"]
    refused(functions.get_function, "ResourceNotFoundException", 404, FunctionName=name)


def test_a_dead_letter_queue_that_nothing_reaches_is_refused(functions, python, name):
    answer = refused(functions.create_function, "NotImplementedException", 501, FunctionName=name, Runtime=python, Role=ROLE,
                     Handler="app.handler", Code={"ZipFile": HELLO},
                     DeadLetterConfig={"TargetArn": "arn:aws:sqs:us-east-1:000000000000:q"})
    assert "This server has no endpoint for sqs" in answer["Error"]["Message"]
    refused(functions.get_function, "ResourceNotFoundException", 404, FunctionName=name)


def test_list_pages_and_account(server, python):
    functions = server.client("lambda", key="111111111111")
    names = [f"page-{n:03}" for n in range(60)]
    for each in names:
        create(functions, each, HELLO, python, wait=False)
    listed = [f["FunctionName"] for page in functions.get_paginator("list_functions").paginate() for f in page["Functions"]]
    assert sorted(listed) == names
    first = functions.list_functions()
    assert len(first["Functions"]) == 50 and "State" not in first["Functions"][0]
    few = functions.list_functions(MaxItems=7)
    assert len(few["Functions"]) == 7 and few["NextMarker"]
    usage = functions.get_account_settings()
    assert usage["AccountUsage"] == {"TotalCodeSize": 60 * len(HELLO), "FunctionCount": 60}
    assert usage["AccountLimit"]["CodeSizeZipped"] == 52428800
    assert server.client("lambda", key="222222222222").list_functions()["Functions"] == []


def test_delete(functions, python, name):
    create(functions, name, HELLO, python)
    refused(functions.delete_function, "InvalidParameterValueException", 400,
            "$LATEST version cannot be deleted without deleting the function.", FunctionName=name, Qualifier="$LATEST")
    answer = functions.delete_function(FunctionName=name)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    refused(functions.delete_function, "ResourceNotFoundException", 404, f"Function not found: {arn}", FunctionName=name)
    refused(functions.invoke, "ResourceNotFoundException", 404, f"Function not found: {arn}:$LATEST", FunctionName=name)


def test_tags_come_back(functions, python, name):
    create(functions, name, HELLO, python, Tags={"team": "blue"})
    assert functions.get_function(FunctionName=name)["Tags"] == {"team": "blue"}


def test_permissions(functions, python, name):
    import json
    create(functions, name, HELLO, python)
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    refused(functions.get_policy, "ResourceNotFoundException", 404, "The resource you requested does not exist.", FunctionName=name)
    statement = functions.add_permission(
        FunctionName=name, StatementId="s", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com",
        SourceArn="arn:aws:s3:::b")["Statement"]
    assert statement == (
        '{"Sid":"s","Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"lambda:InvokeFunction",'
        f'"Resource":"{arn}","Condition":{{"ArnLike":{{"AWS:SourceArn":"arn:aws:s3:::b"}}}}}}')
    policy = functions.get_policy(FunctionName=name)
    document = json.loads(policy["Policy"])
    assert (document["Version"], document["Id"], len(document["Statement"])) == ("2012-10-17", "default", 1)
    refused(functions.add_permission, "ResourceConflictException", 409,
            "The statement id (s) provided already exists. Please provide a new statement id, or remove the existing statement.",
            FunctionName=name, StatementId="s", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com")
    refused(functions.remove_permission, "PreconditionFailedException", 412,
            FunctionName=name, StatementId="s", RevisionId="00000000-0000-0000-0000-000000000000")
    functions.remove_permission(FunctionName=name, StatementId="s", RevisionId=policy["RevisionId"])
    refused(functions.remove_permission, "ResourceNotFoundException", 404, FunctionName=name, StatementId="s")


def test_concurrent_creates_of_one_name_have_one_winner(server, python, name):
    from concurrent.futures import ThreadPoolExecutor

    functions = server.client("lambda")

    def attempt(_):
        try:
            create(functions, name, HELLO, python, wait=False)
            return "created"
        except ClientError as error:
            return error.response["Error"]["Code"]

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(attempt, range(16)))
    assert sorted(outcomes) == ["ResourceConflictException"] * 15 + ["created"]


def test_packages_that_are_none(functions, python, name):
    arguments = dict(FunctionName=name, Runtime=python, Role=ROLE, Handler="app.handler")
    unzip = "Could not unzip uploaded file. Please check your file, then try to upload again."
    refused(functions.create_function, "InvalidParameterValueException", 400, unzip, Code={"ZipFile": b"not a zip"}, **arguments)
    for hostile in ({"../escape.py": "x"}, {"/absolute.py": "x"}, {"a/../../b.py": "x"}):
        refused(functions.create_function, "InvalidParameterValueException", 400, Code={"ZipFile": package_of(hostile)}, **arguments)
    refused(functions.create_function, "InvalidParameterValueException", 400, Code={"ZipFile": symlink_out()}, **arguments)
    refused(functions.create_function, "InvalidParameterValueException", 400,
            "Unzipped size must be smaller than 262144000 bytes", Code={"ZipFile": bomb()}, **arguments)
    refused(functions.create_function, "RequestEntityTooLargeException", 413,
            Code={"ZipFile": b"PK" + b"\0" * (60 << 20)}, **arguments)
    refused(functions.get_function, "ResourceNotFoundException", 404, FunctionName=name)


def symlink_out():
    import io, stat, zipfile
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
        archive.writestr("app.py", "def handler(e, c): return open('/var/task/link').read()\n")
    return buffer.getvalue()


def bomb():
    import io, zipfile
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        zeros = b"\0" * (64 << 20)
        for n in range(5):
            archive.writestr(f"zeros-{n}", zeros)
    return buffer.getvalue()


def test_a_body_that_is_not_json_and_an_unsigned_call(server):
    import http.client
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("POST", "/2015-03-31/functions", body="{", headers={
        "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=00",
        "X-Amz-Date": "20260101T000000Z"})
    answer = connection.getresponse()
    assert answer.status == 400 and answer.headers["x-amzn-ErrorType"] == "InvalidRequestContentException", answer.read()
    answer.read()
    connection.request("GET", "/2015-03-31/functions")
    answer = connection.getresponse()
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (403, "MissingAuthenticationTokenException")
    assert b"Missing Authentication Token" in answer.read()
