"""Code signing configurations, and what they make of packages: signed well, signed by others, changed since, not signed."""

import datetime

import pytest
from botocore.exceptions import ClientError

from packages import create, package
from server import Server
from signing import Authority

PROFILE = "arn:aws:signer:us-east-1:000000000000:/signing-profiles/one/abcdefghij"
OTHER = "arn:aws:signer:us-east-1:000000000000:/signing-profiles/two/abcdefghij"
JOB = "arn:aws:signer:us-east-1:000000000000:/signing-jobs/0b7a1f6e-0000-4000-8000-000000000001"
CODE = package(app__py="def handler(event, context):\n    return 'signed'\n")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(authority, tmp_path_factory):
    roots = tmp_path_factory.mktemp("roots")
    (roots / "tests.pem").write_bytes(authority.root())
    server = Server(arguments=["--signing-roots", str(roots)]).start()
    yield server
    assert server.stop() == 0, server.log()


def config(functions, policy):
    made = functions.create_code_signing_config(
        AllowedPublishers={"SigningProfileVersionArns": [PROFILE]},
        CodeSigningPolicies={"UntrustedArtifactOnDeployment": policy})
    return made["CodeSigningConfig"]["CodeSigningConfigArn"]


def code_of(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def test_what_is_signed_well_is_deployed_and_everything_else_is_not(functions, authority, python, name):
    enforced = config(functions, "Enforce")
    good = authority.sign(CODE, PROFILE, JOB)
    made = create(functions, name, good, python, CodeSigningConfigArn=enforced)
    assert (made["SigningProfileVersionArn"], made["SigningJobArn"]) == (PROFILE, JOB)
    assert functions.invoke(FunctionName=name)["Payload"].read() == b'"signed"'
    assert functions.get_function_code_signing_config(FunctionName=name)["CodeSigningConfigArn"] == enforced
    changed = package(app__py="def handler(event, context):\n    return 'another'\n")
    tampered = authority.sign(changed, PROFILE, JOB, digest_of=CODE)
    bad = {
        "unsigned": CODE,
        "signed by a profile that is not allowed": authority.sign(CODE, OTHER, JOB),
        "an expired signature": authority.sign(CODE, PROFILE, JOB, expires_in=datetime.timedelta(seconds=-1)),
    }
    for problem, zip_file in bad.items():
        code, message = code_of(functions.update_function_code, FunctionName=name, ZipFile=zip_file)
        assert code == "CodeVerificationFailedException" and problem in message, message
    code, _ = code_of(functions.update_function_code, FunctionName=name, ZipFile=tampered)
    assert code == "InvalidCodeSignatureException"
    code, _ = code_of(functions.update_function_code, FunctionName=name, ZipFile=CODE, DryRun=True)
    assert code == "CodeVerificationFailedException"

    warned = config(functions, "Warn")
    functions.put_function_code_signing_config(FunctionName=name, CodeSigningConfigArn=warned)
    code, _ = code_of(functions.update_function_code, FunctionName=name, ZipFile=tampered)
    assert code == "InvalidCodeSignatureException"
    updated = functions.update_function_code(FunctionName=name, ZipFile=CODE)
    assert "SigningJobArn" not in updated
    functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})


def test_an_authority_that_nobody_trusts(server, functions, python, name, tmp_path):
    stranger = Authority(tmp_path)
    arguments = dict(FunctionName=name, Runtime=python, Role="arn:aws:iam::000000000000:role/r", Handler="app.handler",
                     Code={"ZipFile": stranger.sign(CODE, PROFILE, JOB)})
    code, message = code_of(functions.create_function, **arguments, CodeSigningConfigArn=config(functions, "Enforce"))
    assert code == "CodeVerificationFailedException" and "trusted" in message
    made = functions.create_function(**arguments, CodeSigningConfigArn=config(functions, "Warn"))
    assert "SigningJobArn" not in made
    assert "a signature by nobody who is trusted here" in server.log()


def test_the_life_of_a_configuration(functions, python, name):
    made = functions.create_code_signing_config(
        Description="d", AllowedPublishers={"SigningProfileVersionArns": [PROFILE]}, Tags={"team": "blue"})
    config = made["CodeSigningConfig"]
    arn = config["CodeSigningConfigArn"]
    assert config["CodeSigningPolicies"] == {"UntrustedArtifactOnDeployment": "Warn"}
    assert arn.endswith(config["CodeSigningConfigId"]) and len(config["CodeSigningConfigId"]) == len("csc-") + 17
    assert functions.list_tags(Resource=arn)["Tags"] == {"team": "blue"}
    functions.tag_resource(Resource=arn, Tags={"a": "b"})
    functions.untag_resource(Resource=arn, TagKeys=["team", "absent"])
    assert functions.list_tags(Resource=arn)["Tags"] == {"a": "b"}
    updated = functions.update_code_signing_config(
        CodeSigningConfigArn=arn, CodeSigningPolicies={"UntrustedArtifactOnDeployment": "Enforce"})["CodeSigningConfig"]
    assert (updated["Description"], updated["CodeSigningPolicies"]["UntrustedArtifactOnDeployment"]) == ("d", "Enforce")
    assert functions.get_code_signing_config(CodeSigningConfigArn=arn)["CodeSigningConfig"] == updated
    pages = functions.get_paginator("list_code_signing_configs").paginate(PaginationConfig={"PageSize": 1})
    assert arn in [one["CodeSigningConfigArn"] for page in pages for one in page["CodeSigningConfigs"]]

    create(functions, name, CODE, python, wait=False)
    assert "CodeSigningConfigArn" not in functions.get_function_code_signing_config(FunctionName=name)
    functions.put_function_code_signing_config(FunctionName=name, CodeSigningConfigArn=arn)
    function = functions.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    assert functions.list_functions_by_code_signing_config(CodeSigningConfigArn=arn)["FunctionArns"] == [function]
    assert code_of(functions.delete_code_signing_config, CodeSigningConfigArn=arn)[0] == "ResourceConflictException"
    functions.delete_function_code_signing_config(FunctionName=name)
    assert functions.list_functions_by_code_signing_config(CodeSigningConfigArn=arn)["FunctionArns"] == []
    functions.put_function_code_signing_config(FunctionName=name, CodeSigningConfigArn=arn)
    functions.delete_function(FunctionName=name)
    functions.delete_code_signing_config(CodeSigningConfigArn=arn)
    code, message = code_of(functions.get_code_signing_config, CodeSigningConfigArn=arn)
    assert (code, message) == ("ResourceNotFoundException", f"The Lambda code signing configuration {arn} can not be found.")
    create(functions, name, CODE, python, wait=False)
    code, message = code_of(functions.put_function_code_signing_config, FunctionName=name, CodeSigningConfigArn=arn)
    assert code == "CodeSigningConfigNotFoundException"
    assert message == ("The code signing configuration cannot be found. Check that the provided configuration is not "
                       f"deleted: {arn}.")
