"""Layers: their versions and policies, and what functions find of them at `/opt`."""

import base64
import hashlib
import json
import urllib.error
import urllib.request

import pytest
from botocore.exceptions import ClientError

from packages import ROLE, create, package, package_of
from server import runtimes

ACCOUNT, REGION = "000000000000", "us-east-1"
MISSING = "The resource you requested does not exist."


def refused(call, code, status, message=None, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == (code, status), answer
    if message is not None:
        assert answer["Error"]["Message"] == message
    return answer


def publish(functions, name, files, mode=0o644, **more):
    return functions.publish_layer_version(LayerName=name, Content={"ZipFile": package_of(files, mode)}, **more)


def call(functions, name, event=None, **more):
    answer = functions.invoke(FunctionName=name, Payload=json.dumps(event), **more)
    payload = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, payload
    return payload


def test_versions_come_and_go(functions, name):
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:{name}"
    code = package_of({"python/a.py": "x = 1"})
    first = functions.publish_layer_version(
        LayerName=name, Description="first", Content={"ZipFile": code}, LicenseInfo="MIT",
        CompatibleRuntimes=["python3.12", "python3.13"], CompatibleArchitectures=["x86_64"])
    assert first["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert (first["LayerArn"], first["LayerVersionArn"], first["Version"]) == (arn, f"{arn}:1", 1)
    assert first["Content"]["CodeSize"] == len(code)
    assert first["Content"]["CodeSha256"] == base64.b64encode(hashlib.sha256(code).digest()).decode()
    assert first["CreatedDate"].endswith("+0000") and first["LicenseInfo"] == "MIT"
    # The same content is a new version all the same.
    second = functions.publish_layer_version(LayerName=arn, Content={"ZipFile": code}, CompatibleRuntimes=["nodejs22.x"])
    assert (second["Version"], second["Description"]) == (2, "") and "LicenseInfo" not in second

    for got in (functions.get_layer_version(LayerName=name, VersionNumber=1),
                functions.get_layer_version_by_arn(Arn=f"{arn}:1")):
        assert {k: v for k, v in got.items() if k not in ("Content", "ResponseMetadata")} == {
            k: v for k, v in first.items() if k not in ("Content", "ResponseMetadata")}
        with urllib.request.urlopen(got["Content"]["Location"]) as answer:
            assert answer.read() == code
    forged = got["Content"]["Location"].replace(f"/{name}/1/", f"/{name}/2/")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(forged)

    def listed(**more):
        return [v["Version"] for v in functions.list_layer_versions(LayerName=name, **more)["LayerVersions"]]
    assert listed() == [2, 1]
    assert listed(CompatibleRuntime="python3.13") == [1] and listed(CompatibleArchitecture="arm64") == []
    page = functions.list_layer_versions(LayerName=name, MaxItems=1)
    assert [v["Version"] for v in page["LayerVersions"]] == [2]
    assert listed(Marker=page["NextMarker"]) == [1]

    def newest(**more):
        layers = {layer["LayerName"]: layer for page in functions.get_paginator("list_layers").paginate(**more)
                  for layer in page["Layers"]}
        return layers[name]["LatestMatchingVersion"]["Version"] if name in layers else None
    assert (newest(), newest(CompatibleRuntime="python3.12"), newest(CompatibleRuntime="ruby3.3")) == (2, 1, None)

    before = functions.get_account_settings()["AccountUsage"]["TotalCodeSize"]
    answer = functions.delete_layer_version(LayerName=name, VersionNumber=2)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    functions.delete_layer_version(LayerName=name, VersionNumber=2)
    assert before - functions.get_account_settings()["AccountUsage"]["TotalCodeSize"] == len(code)
    refused(functions.get_layer_version, "ResourceNotFoundException", 404, MISSING, LayerName=name, VersionNumber=2)
    refused(functions.get_layer_version_by_arn, "ResourceNotFoundException", 404, MISSING, Arn=f"{arn}:2")
    refused(functions.get_layer_version, "InvalidParameterValueException", 400, "Layer Version Cannot be less than 1",
            LayerName=name, VersionNumber=0)
    assert listed() == [1]
    assert publish(functions, name, {"a": "b"})["Version"] == 3, "no number is given twice"
    assert functions.list_layer_versions(LayerName="absent-layer")["LayerVersions"] == []
    for bad in (b"none", package_of({"../x": "y"})):
        refused(functions.publish_layer_version, "InvalidParameterValueException", 400,
                "Could not unzip uploaded file. Please check your file, then try to upload again.",
                LayerName=name, Content={"ZipFile": bad})


def test_a_version_s_policy(server, functions, name):
    publish(functions, name, {"python/shared.py": "value = 'of another account'"})
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:{name}:1"
    version = {"LayerName": name, "VersionNumber": 1}
    allow = {"StatementId": "s", "Action": "lambda:GetLayerVersion", "Principal": "555555555555"}
    other = server.client("lambda", key="555555555555")
    denied = (f"User: arn:aws:iam::555555555555:root is not authorized to perform: lambda:GetLayerVersion on resource: {arn} "
              "because no resource-based policy allows the lambda:GetLayerVersion action")
    refused(other.get_layer_version_by_arn, "AccessDeniedException", 403, denied, Arn=arn)
    refused(other.create_function, "AccessDeniedException", 403, denied, FunctionName=name, Runtime="provided.al2023", Role=ROLE,
            Handler="x", Code={"ZipFile": package_of({"bootstrap": ""})}, Layers=[arn])
    refused(functions.get_layer_version_policy, "ResourceNotFoundException", 404,
            "No policy is associated with the given resource.", **version)
    added = functions.add_layer_version_permission(**version, **allow)
    assert added["Statement"] == (
        '{"Sid":"s","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::555555555555:root"},'
        f'"Action":"lambda:GetLayerVersion","Resource":"{arn}"}}')
    policy = functions.get_layer_version_policy(**version)
    assert policy["RevisionId"] == added["RevisionId"] and json.loads(policy["Policy"])["Statement"] == [
        json.loads(added["Statement"])]
    refused(functions.add_layer_version_permission, "ResourceConflictException", 409,
            "The statement id (s) provided already exists. Please provide a new statement id, or remove the existing statement.",
            **version, **allow)
    refused(functions.add_layer_version_permission, "PreconditionFailedException", 412,
            "The Revision Id provided does not match the latest Revision Id. Call the GetLayerPolicy API to retrieve the "
            "latest Revision Id", **version, **{**allow, "StatementId": "t"}, RevisionId="0")
    everyone = functions.add_layer_version_permission(
        **version, **{**allow, "StatementId": "o", "Principal": "*"}, OrganizationId="o-0123456789", RevisionId=added["RevisionId"])
    assert json.loads(everyone["Statement"])["Condition"] == {"StringEquals": {"aws:PrincipalOrgID": "o-0123456789"}}

    assert other.get_layer_version_by_arn(Arn=arn)["Version"] == 1
    refused(other.delete_layer_version, "AccessDeniedException", 403, LayerName=arn.rsplit(":", 1)[0], VersionNumber=1)
    python = next(runtime for runtime in runtimes() if runtime.startswith("python"))
    app = package(app__py="import shared\ndef handler(event, context):\n    return shared.value\n")
    create(other, name, app, python, Layers=[arn])
    functions.remove_layer_version_permission(**version, StatementId="s")
    # What a function has, it keeps.
    assert call(other, name) == "of another account"
    other.update_function_configuration(FunctionName=name, Timeout=11)
    other.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    refused(other.update_function_configuration, "AccessDeniedException", 403, denied, FunctionName=name, Layers=[arn])
    refused(functions.remove_layer_version_permission, "ResourceNotFoundException", 404,
            "Statement s is not found in resource policy.", **version, StatementId="s")
    functions.remove_layer_version_permission(**version, StatementId="o")
    refused(functions.get_layer_version_policy, "ResourceNotFoundException", 404, **version)
    refused(functions.add_layer_version_permission, "ResourceNotFoundException", 404,
            LayerName=name, VersionNumber=9, **allow)


READER = package(app__py='''
import os, shutil, subprocess, sys
import both, first, second, deep

def handler(event, context):
    return {"both": both.value, "first": first.value, "second": second.value, "deep": deep.value,
            "tool": subprocess.run(["tool"], capture_output=True, text=True).stdout, "link": open("/opt/link").read(),
            "modes": [oct(os.stat(path).st_mode)[-3:] for path in ("/opt", "/opt/bin/tool", "/opt/python")],
            "writable": os.access("/opt/python", os.W_OK), "top": sorted(os.listdir("/opt")),
            "replaced": os.path.isdir("/opt/replaced")}
''')


def test_later_layers_lie_over_earlier_ones(functions, name, python):
    site = f"python/lib/{python}/site-packages"
    one = publish(functions, f"{name}-1", {
        "python/both.py": "value = 1", "python/first.py": "value = 'a'", "bin/tool": "#!/bin/sh\necho one\n",
        "replaced": "a file", "link": "of the first"}, mode=0o755)
    two = publish(functions, f"{name}-2", {
        "python/both.py": "value = 2", "python/second.py": "value = 'b'", f"{site}/deep.py": "value = 'c'",
        "bin/tool": "#!/bin/sh\necho two\n", "replaced/by": "a folder", "link": "of the second"}, mode=0o755)
    layers = [one["LayerVersionArn"], two["LayerVersionArn"]]
    created = create(functions, name, READER, python, Layers=layers)
    assert created["Layers"] == [{"Arn": version["LayerVersionArn"], "CodeSize": version["Content"]["CodeSize"]}
                                 for version in (one, two)]
    expected = {"both": 2, "first": "a", "second": "b", "deep": "c", "tool": "two\n", "link": "of the second",
                "modes": ["755", "755", "755"], "writable": False, "top": ["bin", "link", "python", "replaced"],
                "replaced": True}
    assert call(functions, name) == expected
    assert functions.publish_version(FunctionName=name)["Layers"] == created["Layers"]

    functions.update_function_configuration(FunctionName=name, Layers=layers[::-1])
    functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    swapped = call(functions, name)
    assert (swapped["both"], swapped["tool"], swapped["link"], swapped["replaced"]) == (1, "one\n", "of the first", False)

    # Layers whose versions are gone stay with who has them, in functions and in versions.
    for version in (one, two):
        functions.delete_layer_version(LayerName=version["LayerArn"], VersionNumber=1)
    assert functions.get_function(FunctionName=name)["Configuration"]["Layers"] == created["Layers"][::-1]
    functions.update_function_code(FunctionName=name, ZipFile=READER)
    functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    assert call(functions, name)["both"] == 1
    assert call(functions, name, Qualifier="1") == expected
    refused(functions.update_function_configuration, "InvalidParameterValueException", 400,
            f"Layer version {layers[0]} does not exist.", FunctionName=name, Layers=layers)

    functions.update_function_configuration(FunctionName=name, Layers=[])
    functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    assert "Layers" not in functions.get_function_configuration(FunctionName=name)
    with pytest.raises(AssertionError, match="No module named"):
        call(functions, name)


NODE = package(index__js="exports.handler = async () => [require('common'), require('own')]")
RUBY = package(app__rb="require 'shared'\ndef handler(event:, context:)\n  Shared::VALUE\nend\n")
BOOTSTRAP = '''#!/usr/bin/python3
import http.client, os
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
while True:
    api.request("GET", "/2018-06-01/runtime/invocation/next")
    answer = api.getresponse()
    answer.read()
    api.request("POST", "/2018-06-01/runtime/invocation/" + answer.headers["Lambda-Runtime-Aws-Request-Id"] + "/response",
                '"' + open("/var/task/data").read() + '"')
    api.getresponse().read()
'''


def test_other_runtimes_find_theirs(functions, name, installed, node):
    ruby = next((runtime for runtime in installed if runtime.startswith("ruby")), None)
    ruby = "ruby3.2" if ruby == "ruby3.1" else ruby
    major = node.removeprefix("nodejs").removesuffix(".x")
    layer = publish(functions, name, {
        "nodejs/node_modules/common/index.js": "module.exports = 'common'",
        f"nodejs/node{major}/node_modules/own/index.js": "module.exports = 'own'",
        "ruby/lib/shared.rb": "module Shared\n  VALUE = 'of the layer'\nend\n",
        "bootstrap": BOOTSTRAP}, mode=0o755)["LayerVersionArn"]
    create(functions, f"{name}-node", NODE, node, handler="index.handler", Layers=[layer])
    create(functions, f"{name}-own", package_of({"data": "a bootstrap of a layer"}), "provided.al2023", Layers=[layer])
    assert call(functions, f"{name}-node") == ["common", "own"]
    assert call(functions, f"{name}-own") == "a bootstrap of a layer"
    if ruby:
        create(functions, f"{name}-ruby", RUBY, ruby, Layers=[layer])
        assert call(functions, f"{name}-ruby") == "of the layer"


def test_a_snapshot_has_its_layers(functions, name, python):
    layer = publish(functions, name, {"python/shared.py": "value = 'in the snapshot'"})["LayerVersionArn"]
    app = package(app__py="import shared\ndef handler(event, context):\n    return [shared.value, open('/opt/python/shared.py').read()]\n")
    functions.create_function(FunctionName=name, Runtime="python3.12", Role=ROLE, Handler="app.handler", Code={"ZipFile": app},
                              Timeout=10, Layers=[layer], SnapStart={"ApplyOn": "PublishedVersions"}, Publish=True)
    functions.get_waiter("published_version_active").wait(FunctionName=name, Qualifier="1", WaiterConfig={"Delay": 1})
    assert call(functions, name, Qualifier="1") == ["in the snapshot", "value = 'in the snapshot'"]


def test_what_functions_may_not_have(functions, name, python):
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer"
    for _ in range(2):
        publish(functions, name, {"a": "b"})
    create(functions, name, package(app__py="def handler(event, context):\n    return 1\n"), python)

    def bad(message, layers):
        refused(functions.update_function_configuration, "InvalidParameterValueException", 400, message,
                FunctionName=name, Layers=layers)
    bad("Cannot reference more than 5 layers.", [f"{arn}:{name}:1"] * 6)
    bad(f"Layer version {arn}:{name}:9 does not exist.", [f"{arn}:{name}:9"])
    bad("Two different versions of the same layer are not allowed to be referenced in the same function. "
        f"{arn}:{name}:1 and {arn}:{name}:2 are versions of the same layer.", [f"{arn}:{name}:1", f"{arn}:{name}:2"])
    bad(f"Layers are not in the same region as the function. Layers are expected to be in region {REGION}.",
        [f"arn:aws:lambda:eu-west-1:{ACCOUNT}:layer:{name}:1"])
    refused(functions.update_function_configuration, "ValidationException", 400, FunctionName=name, Layers=["nothing"])

    # Together too large, each alone not.
    half = {"zeros": b"\0" * 140_000_000}
    large = publish(functions, f"{name}-large", half)["LayerVersionArn"]
    functions.update_function_configuration(FunctionName=name, Layers=[large])
    functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    answer = refused(functions.update_function_code, "InvalidParameterValueException", 400, FunctionName=name,
                     ZipFile=package_of(half), DryRun=True)
    assert "exceeds the maximum allowed size of 262144000 bytes. The actual size is 280000000 bytes." in answer["Error"]["Message"]
