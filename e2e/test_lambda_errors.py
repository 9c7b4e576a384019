"""Lambda's modelled errors: each error that the model declares for a built operation is provoked here, or it is said why it
cannot be, or which other test provokes it. An operation or an error that nothing is said about fails."""

import concurrent.futures
import itertools

import pytest

from packages import package_of
import families
from test_lambda_model import ARN, BASE, BUILT, CODE, MODEL, PROFILE, SOME_ID, World, call, named

OPERATIONS = BUILT
ABSENT_CONFIG = "arn:aws:lambda:us-east-1:000000000000:code-signing-config:csc-" + "0" * 17

# Errors that nothing can provoke here, whatever the operation.
NEVER = {
    "ServiceException": "a fault of Gatemill's own",
    "PublicPolicyException": "AWS has no operation any more that blocks public access",
    "CodeStorageExceededException": "it takes 75 GB of packages",
    "FunctionVersionsPerCapacityProviderLimitExceededException": "capacity providers are not built",
    "AliasLimitExceededException": "AWS names no limit, and Gatemill has none",
    "RuntimeAliasDeletedException": "customer runtimes are not built",
    "RuntimeVersionDeletedException": "customer runtimes are not built",
    "CodeArtifactUserDeletedException": "test_code_from_s3.py",
    "CodeArtifactUserFailedException": "test_code_from_s3.py",
    "CodeArtifactUserPendingException": "calls wait, or get ResourceConflictException",
    "ResourceNotReadyException": "calls wait for what is being made",
    "ServiceQuotaExceededException": "there is no such quota",
    "ModeNotSupportedException": "managed instances are not built",
    "NoPublishedVersionException": "$LATEST.PUBLISHED is for managed instances",
    "UnsupportedMediaTypeException": "every content type is taken, as by AWS's clients any is sent",
    "SerializedRequestEntityTooLargeException": "RequestTooLargeException comes first",
    "RequestTooLargeException": "the answer is RequestEntityTooLargeException, as recorded; test_limits.py",
    "InvalidZipFileException": "packages are looked at when they come",
    "DurableExecutionAlreadyStartedException": "test_durable.py: a name is one execution",
    "CallbackTimeoutException": "test_durable.py: a callback fails or is too late",
    "RecursiveInvocationException": "test_events.py: a loop is stopped",
}
# What of AWS's services does not exist on a host.
NO_SUCH_SERVICE = ("EC2", "ENI", "EFS", "S3Files", "KMS", "Subnet", "InvalidSubnet", "InvalidSecurityGroup", "SnapStart")
# Errors that one operation does not give, and why; or the test that provokes it.
NOT_BY = {
    ("CreateFunction", "ResourceNotFoundException"): "it needs nothing that exists",
    ("CreateFunction", "InvalidCodeSignatureException"): "test_code_signing.py, by UpdateFunctionCode",
    ("UpdateFunctionCode", "InvalidCodeSignatureException"): "test_code_signing.py",
    ("UpdateFunctionCode", "CodeSigningConfigNotFoundException"): "a configuration that is in use cannot be deleted",
    ("UpdateFunctionConfiguration", "InvalidCodeSignatureException"): "test_code_signing.py, by UpdateFunctionCode",
    ("UpdateFunctionConfiguration", "CodeSigningConfigNotFoundException"): "a configuration in use cannot be deleted",
    ("GetFunctionCodeSigningConfig", "CodeSigningConfigNotFoundException"): "recorded answers are empty",
    ("DeleteFunctionCodeSigningConfig", "CodeSigningConfigNotFoundException"): "nothing to delete is no error",
    ("PutResourcePolicy", "PolicyLengthExceededException"): "the model's own limit is the same, and comes first",
    ("Invoke", "InvalidRuntimeException"): "test_images.py, by an entry point that does not exist",
    ("InvokeWithResponseStream", "InvalidRuntimeException"): "as Invoke",
    ("Invoke", "ResourceConflictException"): "a call of a function that is being created waits for it",
    ("InvokeWithResponseStream", "ResourceConflictException"): "as Invoke",
    ("InvokeWithResponseStream", "TooManyRequestsException"): "as Invoke",
    ("InvokeAsync", "InvalidRuntimeException"): "the event is taken before its function is looked at",
    ("InvokeAsync", "ResourceConflictException"): "an event of a function that is being created waits for it",
    ("CheckpointDurableExecution", "InvalidParameterValueException"): "test_durable.py: refusals",
    ("GetDurableExecutionState", "InvalidParameterValueException"): "test_durable.py: refusals",
    ("CreateEventSourceMapping", "ResourceNotFoundException"): "recorded is an InvalidParameterValueException",
    ("DeleteLayerVersion", "ResourceNotFoundException"): "recorded is that nothing to delete is no error",
    **{(f"{what}DurableExecution", "ResourceConflictException"): "test_durable.py: executions are paused, stopped and deleted"
       for what in ("Pause", "Resume", "Delete")},
    ("ListEventSourceMappings", "ResourceNotFoundException"): "a function that does not exist has no mappings",
    ("ListLayerVersions", "ResourceNotFoundException"): "a layer that does not exist has no versions",
    ("PublishLayerVersion", "ResourceNotFoundException"): "it needs nothing that exists",
    ("DeleteEventSourceMapping", "ResourceConflictException"): "ResourceInUseException says what is in its way",
    ("UpdateEventSourceMapping", "ResourceConflictException"): "ResourceInUseException says what is in its way",
}
# Operations that change something which no other change can be in the way of, or whose repetition is no conflict.
NO_CONFLICT = {
    "DeleteFunctionCodeSigningConfig", "DeleteFunctionConcurrency", "DeleteFunctionUrlConfig", "UpdateFunctionUrlConfig",
    "DeleteProvisionedConcurrencyConfig", "DeleteResourcePolicy", "PutFunctionCodeSigningConfig", "PutFunctionConcurrency",
    "PutResourcePolicy", "PutRuntimeManagementConfig", "UpdateAlias", "DeleteAlias", "DeleteFunctionEventInvokeConfig",
    "PutFunctionEventInvokeConfig", "PutFunctionRecursionConfig", "PutFunctionScalingConfig", "UpdateFunctionEventInvokeConfig",
    "RemoveLayerVersionPermission",
}
# Operations whose members the model constrains as tightly as the service does: a ValidationException comes first.
MODEL_SAYS_ALL = {
    "DeleteAlias", "DeleteCodeSigningConfig", "DeleteFunctionCodeSigningConfig", "DeleteFunctionConcurrency", "GetAlias",
    "GetCodeSigningConfig", "GetFunctionCodeSigningConfig", "GetFunctionConcurrency", "GetResourcePolicy",
    "PutFunctionCodeSigningConfig", "UpdateCodeSigningConfig", "DeleteEventSourceMapping", "GetEventSourceMapping",
    "GetFunctionRecursionConfig", "PutFunctionRecursionConfig", "GetDurableExecution", "StopDurableExecution",
    "PauseDurableExecution", "ResumeDurableExecution", "DeleteDurableExecution", "GetFunctionScalingConfig",
    "PutFunctionScalingConfig", "SendDurableExecutionCallbackSuccess", "SendDurableExecutionCallbackFailure",
    "SendDurableExecutionCallbackHeartbeat",
}


@pytest.fixture(scope="module")
def world(python):
    world = World(python)
    yield world
    world.stop()


def least(world, operation):
    """What an operation has to be given at least, of those that no other test goes through as well."""
    if operation in BASE:
        return BASE[operation](world)
    if operation.endswith("ScalingConfig"):
        return {"FunctionName": world.main, "Qualifier": "1"}
    required = MODEL.operation_model(operation).input_shape.required_members
    values = {"DurableExecutionArn": families.ABSENT_EXECUTION, "CheckpointToken": families.TOKEN, "CallbackId": families.TOKEN}
    return {member: values[member] for member in required}


def absent(world, operation):
    """The least that the operation needs, of something that does not exist."""
    arguments = least(world, operation)
    if operation == "PutFunctionCodeSigningConfig":
        return {**arguments, "FunctionName": "absent"}
    if operation == "PutResourcePolicy":
        return {"ResourceArn": f"{ARN}absent", "Policy": world.document("absent")}
    for member, value in [("CodeSigningConfigArn", ABSENT_CONFIG), ("ResourceArn", f"{ARN}absent"),
                          ("Resource", f"{ARN}absent"), ("FunctionName", "absent"), ("LayerName", "absent"),
                          ("UUID", families.ABSENT_UUID), ("Arn", f"{world.layer_arn}absent:1"),
                          ("DurableExecutionArn", families.ABSENT_EXECUTION)]:
        if member in arguments:
            return {**arguments, member: value}
    raise AssertionError(operation)


def signed_function(world):
    """A function that takes signed code alone, and has none yet."""
    name = world.function(wait=True)
    config = world.functions.create_code_signing_config(
        AllowedPublishers={"SigningProfileVersionArns": [PROFILE]},
        CodeSigningPolicies={"UntrustedArtifactOnDeployment": "Enforce"})["CodeSigningConfig"]["CodeSigningConfigArn"]
    world.functions.put_function_code_signing_config(FunctionName=name, CodeSigningConfigArn=config)
    return name, config


def used_config(world):
    return signed_function(world)[1]


def long_policy(world):
    name = world.with_policy(SourceArn="arn:aws:s3:::" + "b" * 4000)
    for n in range(3):
        world.functions.add_permission(FunctionName=name, StatementId=f"l{n}", Action="lambda:InvokeFunction",
                                       Principal="s3.amazonaws.com", SourceArn="arn:aws:s3:::" + "b" * 3900)
    return dict(FunctionName=name, StatementId="last", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com",
                SourceArn="arn:aws:s3:::" + "b" * 3900)


def unsigned_layer(world):
    name, _ = signed_function(world)
    layer = world.functions.publish_layer_version(LayerName=f"l{next(world.numbers)}", Content={"ZipFile": CODE})
    return {"FunctionName": name, "Layers": [layer["LayerVersionArn"]]}


def throttled(world):
    name = world.function(wait=True)
    world.functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    return {"FunctionName": name}


def alias_of_version(world):
    return {"FunctionName": world.with_alias(), "Qualifier": "1"}


def provisioned_alias(world):
    name = world.with_alias()
    world.functions.put_provisioned_concurrency_config(FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=1)
    return dict(FunctionName=name, Qualifier="live", ProvisionedConcurrentExecutions=1)


def known_mapping(world):
    made = families.BASE["CreateEventSourceMapping"](world)
    world.functions.create_event_source_mapping(**made)
    return made


def long_layer_policy(world):
    made = families.layer(world)
    for n in range(1000):
        arguments = dict(made, StatementId=f"s{n}-" + "x" * 90, Action="lambda:GetLayerVersion", Principal="*")
        status, _ = call(world, "AddLayerVersionPermission", arguments)
        if status >= 400:
            return arguments
    raise AssertionError("a policy has no end")


# The arguments that provoke an error, by operation and error.
PROVOKE = {
    **{(operation, "InvalidParameterValueException"): (lambda operation: lambda w: {
        **BASE[operation](w), "VersionNumber": 0})(operation)
       for operation in BUILT
       if "VersionNumber" in (MODEL.operation_model(operation).input_shape.members if MODEL.operation_model(operation).input_shape else {})},
    ("AddLayerVersionPermission", "ResourceConflictException"): lambda w: {
        **families.layer_with_policy(w), "StatementId": "s", "Action": "lambda:GetLayerVersion", "Principal": "*"},
    ("AddLayerVersionPermission", "PolicyLengthExceededException"): long_layer_policy,
    ("GetLayerVersionByArn", "InvalidParameterValueException"): lambda w: {"Arn": f"{w.layer_arn}absent:0"},
    ("PublishLayerVersion", "InvalidParameterValueException"): lambda w: {"LayerName": "l", "Content": {"ZipFile": b"no zip"}},
    **{(f"SendDurableExecutionCallback{end}", "ResourceNotFoundException"): lambda w: {"CallbackId": families.TOKEN}
       for end in ("Success", "Failure", "Heartbeat")},
    ("CreateEventSourceMapping", "InvalidParameterValueException"): lambda w: {
        "FunctionName": w.main, "EventSourceArn": "arn:aws:nothing:us-east-1:000000000000:x"},
    ("CreateEventSourceMapping", "ResourceConflictException"): known_mapping,
    ("UpdateEventSourceMapping", "InvalidParameterValueException"): lambda w: {**families.mapping(w), "BatchSize": 11},
    ("PutFunctionEventInvokeConfig", "InvalidParameterValueException"): named,
    ("UpdateFunctionEventInvokeConfig", "InvalidParameterValueException"): lambda w: families.configured(w),
    ("InvokeAsync", "InvalidRequestContentException"): lambda w: {**named(w), "InvokeArgs": b"{"},
    ("AddPermission", "ResourceConflictException"): lambda w: {**BASE["AddPermission"](w), "StatementId": "main"},
    ("AddPermission", "PolicyLengthExceededException"): long_policy,
    ("CreateAlias", "ResourceConflictException"): lambda w: {**BASE["CreateAlias"](w), "Name": "live"},
    ("CreateAlias", "InvalidParameterValueException"): lambda w: {
        **BASE["CreateAlias"](w), "FunctionVersion": "$LATEST", "RoutingConfig": {"AdditionalVersionWeights": {"1": 0.5}}},
    ("CreateCodeSigningConfig", "InvalidParameterValueException"): lambda w: {
        **BASE["CreateCodeSigningConfig"](w), "Tags": {"aws:x": "y"}},
    ("CreateFunction", "ResourceConflictException"): lambda w: {**w.new(), "FunctionName": w.main},
    ("CreateFunction", "InvalidParameterValueException"): lambda w: w.new(Code={"ZipFile": b"no zip"}),
    ("CreateFunction", "CodeSigningConfigNotFoundException"): lambda w: w.new(CodeSigningConfigArn=ABSENT_CONFIG),
    ("CreateFunction", "CodeVerificationFailedException"): lambda w: w.new(CodeSigningConfigArn=used_config(w)),
    ("CreateFunctionUrlConfig", "ResourceConflictException"): lambda w: dict(FunctionName=w.with_url(), AuthType="NONE"),
    ("DeleteCodeSigningConfig", "ResourceConflictException"): lambda w: {"CodeSigningConfigArn": used_config(w)},
    ("DeleteFunction", "ResourceConflictException"): alias_of_version,
    ("DeleteResourcePolicy", "InvalidParameterValueException"): lambda w: {"ResourceArn": f"{ARN}{w.main}:$LATEST"},
    ("Invoke", "TooManyRequestsException"): throttled,
    ("Invoke", "InvalidParameterValueException"): lambda w: {**named(w), "TenantId": "t"},
    ("Invoke", "InvalidRequestContentException"): lambda w: {**named(w), "Payload": b"{"},
    ("InvokeWithResponseStream", "InvalidParameterValueException"): lambda w: {**named(w), "TenantId": "t"},
    ("InvokeWithResponseStream", "InvalidRequestContentException"): lambda w: {**named(w), "Payload": b"{"},
    ("ListTags", "InvalidParameterValueException"): lambda w: {"Resource": f"{ARN}{w.main}:1"},
    ("GetProvisionedConcurrencyConfig", "ProvisionedConcurrencyConfigNotFoundException"): lambda w: {
        "FunctionName": w.main, "Qualifier": "2"},
    ("PublishVersion", "InvalidParameterValueException"): lambda w: {**named(w), "CodeSha256": "0"},
    ("PutFunctionCodeSigningConfig", "CodeSigningConfigNotFoundException"): lambda w: {
        "FunctionName": w.main, "CodeSigningConfigArn": ABSENT_CONFIG},
    ("PutFunctionConcurrency", "InvalidParameterValueException"): lambda w: dict(
        FunctionName=w.main, ReservedConcurrentExecutions=901),
    ("PutProvisionedConcurrencyConfig", "InvalidParameterValueException"): lambda w: dict(
        FunctionName=w.main, Qualifier="$LATEST", ProvisionedConcurrentExecutions=1),
    ("PutProvisionedConcurrencyConfig", "ResourceConflictException"): provisioned_alias,
    ("PutResourcePolicy", "InvalidParameterValueException"): lambda w: dict(ResourceArn=f"{ARN}{w.main}", Policy="{"),
    ("PutRuntimeManagementConfig", "InvalidParameterValueException"): lambda w: dict(
        FunctionName=w.main, UpdateRuntimeOn="Manual"),
    ("RemovePermission", "InvalidParameterValueException"): lambda w: dict(
        FunctionName=f"{w.main}:1", Qualifier="2", StatementId="s"),
    ("TagResource", "InvalidParameterValueException"): lambda w: {"Resource": f"{ARN}{w.main}", "Tags": {}},
    ("UntagResource", "InvalidParameterValueException"): lambda w: {"Resource": f"{ARN}{w.main}:1", "TagKeys": ["k"]},
    ("UpdateAlias", "InvalidParameterValueException"): lambda w: dict(
        FunctionName=w.main, Name="live", FunctionVersion="$LATEST", RoutingConfig={"AdditionalVersionWeights": {"1": 0.5}}),
    ("UpdateFunctionCode", "InvalidParameterValueException"): lambda w: dict(FunctionName=w.main, ZipFile=b"no zip"),
    ("UpdateFunctionCode", "CodeVerificationFailedException"): lambda w: dict(FunctionName=signed_function(w)[0], ZipFile=CODE),
    ("UpdateFunctionConfiguration", "InvalidParameterValueException"): lambda w: dict(
        FunctionName=w.main, Environment={"Variables": {"AWS_REGION": "x", "AWS_LAMBDA_FUNCTION_NAME": "y"}}),
    ("UpdateFunctionConfiguration", "CodeVerificationFailedException"): unsigned_layer,
}
# Operations that an update which is under way is in the way of; whether it still is, is a matter of microseconds.
DURING_UPDATE = {
    "UpdateFunctionCode": lambda w, name: dict(FunctionName=name, ZipFile=CODE),
    "UpdateFunctionConfiguration": lambda w, name: dict(FunctionName=name, Timeout=4),
    "PublishVersion": lambda w, name: dict(FunctionName=name),
    "TagResource": lambda w, name: {"Resource": f"{ARN}{name}", "Tags": {"k": "v"}},
    "UntagResource": lambda w, name: {"Resource": f"{ARN}{name}", "TagKeys": ["k"]},
}


def reason(operation, error):
    """Why an error is not provoked here, if there is a reason."""
    if error in NEVER:
        return NEVER[error]
    if error.startswith(NO_SUCH_SERVICE):
        return "there is no such service on a host"
    if error == "TooManyRequestsException" and operation != "Invoke":
        return NOT_BY.get((operation, error)) or "the control plane is not throttled"
    if error == "ResourceConflictException" and operation in NO_CONFLICT:
        return "nothing is in its way"
    if error == "InvalidParameterValueException" and operation in MODEL_SAYS_ALL:
        return "the model constrains its members as tightly"
    return NOT_BY.get((operation, error))


def provocation(world, operation, error):
    """The arguments that provoke an error."""
    if (operation, error) in PROVOKE:
        return PROVOKE[operation, error](world)
    members = MODEL.operation_model(operation).input_shape.members
    if error == "ResourceNotFoundException":
        return absent(world, operation)
    if error == "PreconditionFailedException":
        return {**least(world, operation), "RevisionId": SOME_ID}
    if error == "InvalidParameterValueException":
        if "Marker" in members:
            return {**least(world, operation), "Marker": "no marker!"}
        if "Qualifier" in members:
            # Function URLs are not of versions, so the name has to have an alias.
            return {**least(world, operation), "FunctionName": f"{world.main}:live", "Qualifier": "other"}
    raise AssertionError(f"{operation} declares {error}: provoke it, or say why it cannot be")


CASES = [(operation, error.name) for operation in OPERATIONS for error in MODEL.operation_model(operation).error_shapes]
PROVOKED = [case for case in CASES if not reason(*case) and case[1] != "ResourceInUseException"
            and not (case[1] == "ResourceConflictException" and case[0] in DURING_UPDATE)]


@pytest.mark.parametrize("operation, error", PROVOKED)
def test_an_error_is_provoked(world, operation, error):
    status, answer = call(world, operation, provocation(world, operation, error))
    assert status >= 400 and answer["Code"] == error, (status, answer)
    assert answer["Message"]


@pytest.mark.parametrize("operation", sorted(DURING_UPDATE))
def test_an_update_that_is_under_way_is_in_the_way(world, operation):
    """An update takes as long as its package is unpacked: one of many files, tried until the answer comes in between."""
    name = world.function(wait=True)
    for n in itertools.count():
        assert n < 60, "no update was ever met"
        world.settled(name)
        zip_file = package_of({"app.py": f"# {operation} {n}\n", **{f"data/{file}": b"" for file in range(3000)}})
        world.functions.update_function_code(FunctionName=name, ZipFile=zip_file)
        status, answer = call(world, operation, DURING_UPDATE[operation](world, name))
        if status == 409:
            assert answer["Code"] == "ResourceConflictException"
            assert answer["Message"] == ("The operation cannot be performed at this time. An update is in progress for "
                                         f"resource: {ARN}{name}")
            return


@pytest.mark.parametrize("operation", ["DeleteEventSourceMapping", "UpdateEventSourceMapping"])
def test_a_mapping_that_is_changing_is_in_use(world, operation):
    """It changes in a moment: many ask at once, tried until an answer comes in between."""
    for n in itertools.count():
        assert n < 60, "no mapping was met while it changed"
        arguments = families.mapping(world)
        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            deleted = threads.submit(call, world, "DeleteEventSourceMapping", arguments)
            asked = [threads.submit(call, world, operation, arguments) for _ in range(7)]
            answers = [one.result() for one in asked]
            deleted.result()
        for status, answer in answers:
            assert status in (200, 202) or (status, answer["Code"]) in (
                (400, "ResourceInUseException"), (404, "ResourceNotFoundException")), answer
        met = [answer for status, answer in answers if status == 400]
        if met:
            assert met[0]["Message"]
            return


def test_reasons_are_about_something():
    declared = {error for _, error in CASES}
    assert {key[0] for key in [*NOT_BY, *PROVOKE]} <= set(OPERATIONS)
    assert {key for key in PROVOKE if key not in CASES} == set()
    assert declared & NEVER.keys()
