"""Lambda by its model: of every input member of every built operation one value is taken and one is refused.

The members come from botocore's model and the operations from the binary, so a new operation fails here until it has an
entry, unless the tests of its own family go through its members (`ELSEWHERE`). A value that is refused is made from the member's
constraints where it has some. The members that are not built are those which the binary lists; they have to answer 501.
"""

import base64
import itertools
import json
import time

import botocore
import botocore.session
import pytest
from botocore.exceptions import ClientError

import families
from packages import ROLE, package
from server import Server, operations
from sources import Sources
from waiting import until

MODEL = botocore.session.get_session().get_service_model("lambda")
LISTED = {one["operation"]: one for one in operations() if one["service"] == "lambda" and one["built"]}
BUILT = list(LISTED)
CODE = package(app__py="def handler(event, context):\n    return event\n")
OTHER_CODE = package(app__py="def handler(event, context):\n    return [event]\n")
ARN = "arn:aws:lambda:us-east-1:000000000000:function:"
PROFILE = "arn:aws:signer:us-east-1:000000000000:/signing-profiles/one/abcdefghij"
SOME_ID = "0b7a1f6e-0000-4000-8000-000000000001"
PUBLISHERS = {"SigningProfileVersionArns": [PROFILE]}

# What a durable execution is asked and told takes an execution, which the tests of durable functions have; and no function here
# has a capacity provider, so what scales one is refused as a whole.
ELSEWHERE = {one for one in BUILT if "DurableExecution" in one} - {"ListDurableExecutionsByFunction"} | {
    "GetFunctionScalingConfig", "PutFunctionScalingConfig"}
HERE = [one for one in BUILT if one not in ELSEWHERE]

# The values that ask for members which are not built.
ASKS = {
    "PublishTo": "LATEST_PUBLISHED",
    "CapacityProviderConfig": {"LambdaManagedInstancesCapacityProviderConfig": {
        "CapacityProviderArn": "arn:aws:lambda:us-east-1:000000000000:capacity-provider:c"}},
    "RuntimeConfig": {"RuntimeArn": "arn:aws:lambda:us-east-1:000000000000:runtime/own", "RuntimeAlias": "a"},
    "AcceleratorConfig": {"AcceleratorMemorySize": 16},
    "SourceKMSKeyArn": "arn:aws:kms:us-east-1:000000000000:key/k",
    "VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
    "FileSystemConfigs": [{
        "Arn": "arn:aws:elasticfilesystem:us-east-1:000000000000:access-point/fsap-0123456789abcdef0",
        "LocalMountPath": "/mnt/x"}],
    "KMSKeyArn": "arn:aws:kms:us-east-1:000000000000:key/k",
    "LoggingConfig": {"SystemLogLevel": "INFO"},
    "SourceAccessConfigurations": [{"Type": "BASIC_AUTH", "URI": "arn:aws:secretsmanager:us-east-1:000000000000:secret:s"}],
    "AmazonManagedKafkaEventSourceConfig": {"ConsumerGroupId": "g"},
    "SelfManagedKafkaEventSourceConfig": {"ConsumerGroupId": "g"},
    "DocumentDBEventSourceConfig": {"DatabaseName": "d"},
    "SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["localhost:9092"]}},
    "Topics": ["topic"],
    "Queues": ["queue"],
}
# What AWS itself refuses of them.
NEVER_TAKEN = {("UpdateFunctionConfiguration", "CapacityProviderConfig")}
# Members that other packages of work build or refuse; what they take is told by tests of their own.
OWN_TESTS = {"MasterRegion", "Layers", "DeadLetterConfig", "DurableConfig"}


def unbuilt(operation):
    """The members of an operation that are refused whatever their value, by the binary's own list."""
    gaps = LISTED[operation]["gaps"]
    return {gap["member"] for gap in gaps if not gap["when"] and gap["treatment"] != "without-effect"}


class World:
    """One server, one function with a version, an alias and everything else, and new functions when somebody needs them."""

    def __init__(self, python, arguments=()):
        self.python = python
        self.sources, self.code, self.layer_arn = Sources(), CODE, ARN.replace(":function:", ":layer:")
        self.server = Server(arguments=[*self.sources.arguments, *arguments]).start()
        self.functions = self.server.client("lambda", parameter_validation=False)
        self.numbers = itertools.count()
        self.config = self.functions.create_code_signing_config(AllowedPublishers=PUBLISHERS)
        self.config = self.config["CodeSigningConfig"]["CodeSigningConfigArn"]
        self.durable = self.function(DurableConfig={"ExecutionTimeout": 60})
        self.main = self.function(wait=True)
        self.functions.publish_version(FunctionName=self.main)
        self.functions.update_function_code(FunctionName=self.main, ZipFile=OTHER_CODE)
        self.settled(self.main)
        self.functions.publish_version(FunctionName=self.main)
        self.functions.create_alias(FunctionName=self.main, Name="live", FunctionVersion="1")
        self.functions.add_permission(FunctionName=self.main, StatementId="main", Action="lambda:InvokeFunction",
                                      Principal="s3.amazonaws.com")

    def new(self, **more):
        made = dict(FunctionName=f"model-{next(self.numbers)}", Runtime=self.python, Role=ROLE, Handler="app.handler",
                    Code={"ZipFile": CODE})
        return {**made, **more}

    def function(self, wait=False, **more):
        made = self.new(**more)
        self.functions.create_function(**made)
        if wait:
            self.settled(made["FunctionName"])
        return made["FunctionName"]

    def settled(self, name):
        """As AWS's waiters, which look once a second at most."""
        deadline = time.monotonic() + 60
        while True:
            now = self.functions.get_function_configuration(FunctionName=name)
            if (now["State"], now.get("LastUpdateStatus")) == ("Active", "Successful"):
                return
            assert now["State"] != "Failed" and time.monotonic() < deadline, now
            time.sleep(0.01)

    def mapping_settled(self, uuid):
        """Waits until a mapping is changed no more."""
        state = lambda: self.functions.get_event_source_mapping(UUID=uuid)["State"]
        until(lambda: state() in ("Enabled", "Disabled"), "a mapping is settled")
        return uuid

    def stop(self):
        assert self.server.stop() == 0, self.server.log()
        self.sources.stop()

    def with_version(self):
        name = self.function(wait=True)
        self.functions.publish_version(FunctionName=name)
        return name

    def with_alias(self):
        name = self.with_version()
        self.functions.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
        return name

    def with_url(self):
        name = self.function()
        self.functions.create_function_url_config(FunctionName=name, AuthType="NONE")
        return name

    def with_policy(self, **more):
        name = self.function()
        self.functions.add_permission(FunctionName=name, StatementId="s", Action="lambda:InvokeFunction",
                                      Principal="s3.amazonaws.com", **more)
        return name

    def document(self, name):
        return json.dumps({"Statement": {"Effect": "Allow", "Principal": "*", "Action": "lambda:InvokeFunction",
                                         "Resource": f"{ARN}{name}"}})

    def new_config(self):
        made = self.functions.create_code_signing_config(AllowedPublishers=PUBLISHERS)
        return made["CodeSigningConfig"]["CodeSigningConfigArn"]


# What an operation has to be given at least.
def named(world):
    return {"FunctionName": world.main}


def alias_named(world):
    return {"FunctionName": world.main, "Name": "live"}


def config_named(world):
    return {"CodeSigningConfigArn": world.config}


BASE = {
    **families.BASE,
    "AddPermission": lambda world: dict(FunctionName=world.main, StatementId=f"s{next(world.numbers)}",
                                        Action="lambda:InvokeFunction", Principal="s3.amazonaws.com"),
    "CreateAlias": lambda world: dict(FunctionName=world.main, Name=f"a{next(world.numbers)}", FunctionVersion="1"),
    "CreateCodeSigningConfig": lambda world: {"AllowedPublishers": PUBLISHERS},
    "CreateFunction": World.new,
    "CreateFunctionUrlConfig": lambda world: dict(FunctionName=world.function(), AuthType="NONE"),
    "DeleteAlias": lambda world: {"FunctionName": world.main, "Name": "absent"},
    "DeleteCodeSigningConfig": lambda world: {"CodeSigningConfigArn": world.new_config()},
    "DeleteFunction": lambda world: {"FunctionName": world.function()},
    "DeleteFunctionCodeSigningConfig": lambda world: {"FunctionName": world.function()},
    "DeleteFunctionConcurrency": named,
    "DeleteFunctionUrlConfig": lambda world: {"FunctionName": world.with_url()},
    "DeleteProvisionedConcurrencyConfig": lambda world: {"FunctionName": world.main, "Qualifier": "1"},
    "DeleteResourcePolicy": lambda world: {"ResourceArn": f"{ARN}{world.with_policy()}"},
    "GetAccountSettings": lambda world: {},
    "GetAlias": alias_named,
    "GetCodeSigningConfig": config_named,
    "GetFunction": named,
    "GetFunctionCodeSigningConfig": named,
    "GetFunctionConcurrency": named,
    "GetFunctionConfiguration": named,
    "GetFunctionUrlConfig": lambda world: {"FunctionName": world.with_url()},
    "GetPolicy": named,
    "GetProvisionedConcurrencyConfig": lambda world: {"FunctionName": provisioned(world), "Qualifier": "1"},
    "GetResourcePolicy": lambda world: {"ResourceArn": f"{ARN}{world.main}"},
    "GetRuntimeManagementConfig": named,
    "Invoke": named,
    "InvokeWithResponseStream": named,
    "ListAliases": named,
    "ListCodeSigningConfigs": lambda world: {},
    "ListFunctionUrlConfigs": named,
    "ListFunctions": lambda world: {},
    "ListFunctionsByCodeSigningConfig": config_named,
    "ListProvisionedConcurrencyConfigs": named,
    "ListTags": lambda world: {"Resource": f"{ARN}{world.main}"},
    "ListVersionsByFunction": named,
    "PublishVersion": named,
    "PutFunctionCodeSigningConfig": lambda world: dict(FunctionName=world.function(), CodeSigningConfigArn=world.config),
    "PutFunctionConcurrency": lambda world: dict(FunctionName=world.main, ReservedConcurrentExecutions=5),
    "PutProvisionedConcurrencyConfig": lambda world: dict(FunctionName=world.with_version(), Qualifier="1",
                                                          ProvisionedConcurrentExecutions=1),
    "PutResourcePolicy": lambda world: (lambda name: dict(ResourceArn=f"{ARN}{name}", Policy=world.document(name)))(
        world.with_policy()),
    "PutRuntimeManagementConfig": lambda world: dict(FunctionName=world.main, UpdateRuntimeOn="Auto"),
    "RemovePermission": lambda world: dict(FunctionName=world.with_policy(), StatementId="s"),
    "TagResource": lambda world: {"Resource": f"{ARN}{world.main}", "Tags": {"k": "v"}},
    "UntagResource": lambda world: {"Resource": f"{ARN}{world.main}", "TagKeys": ["k"]},
    "UpdateAlias": alias_named,
    "UpdateCodeSigningConfig": config_named,
    "UpdateFunctionCode": lambda world: dict(FunctionName=world.function(wait=True), ZipFile=CODE),
    "UpdateFunctionConfiguration": lambda world: {"FunctionName": world.function(wait=True)},
    "UpdateFunctionUrlConfig": lambda world: {"FunctionName": world.with_url()},
}


def provisioned(world):
    name = world.with_version()
    world.functions.put_provisioned_concurrency_config(FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=1)
    return name


def revision(world, arguments):
    return world.functions.get_function(FunctionName=arguments["FunctionName"])["Configuration"]["RevisionId"]


def policy_revision(world, arguments):
    name = arguments.get("FunctionName") or arguments["ResourceArn"].rsplit(":", 1)[1]
    return world.functions.get_policy(FunctionName=name)["RevisionId"]


def alias_revision(world, arguments):
    return world.functions.get_alias(FunctionName=world.main, Name="live")["RevisionId"]


def marker(operation):
    def next_one(world, arguments):
        call = {"ListFunctions": "list_functions", "ListCodeSigningConfigs": "list_code_signing_configs"}.get(operation)
        if call == "list_code_signing_configs":
            world.new_config()
        if call:
            return getattr(world.functions, call)(MaxItems=1)["NextMarker"]
        return world.functions.list_functions(MaxItems=1)["NextMarker"]

    return next_one


# Values that are taken: by operation and member, or by member. What is callable gets the world and the other arguments.
TAKEN = {
    **families.TAKEN,
    ("Invoke", "DurableExecutionName"): None,
    "Description": "d", "Qualifier": "1", "MaxItems": 1, "Tags": {"a": "b"}, "Timeout": 7, "MemorySize": 256,
    "Publish": True, "Runtime": lambda world, _: world.python, "Handler": "app.handler", "Role": ROLE,
    "Environment": {"Variables": {"KEY": "value"}}, "TracingConfig": {"Mode": "Active"},
    "EphemeralStorage": {"Size": 600}, "SnapStart": {"ApplyOn": "None"}, "LoggingConfig": {"LogFormat": "JSON"},
    "RevisionId": revision, "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": "Warn"},
    "AllowedPublishers": PUBLISHERS, "InvokeMode": "BUFFERED", "AuthType": "AWS_IAM", "Cors": {"AllowOrigins": ["*"]},
    "Architectures": lambda world, arguments: world.functions.get_function(FunctionName=world.main)["Configuration"]["Architectures"],
    "LogType": "Tail", "InvocationType": "RequestResponse", "Payload": b"{}",
    "ClientContext": base64.b64encode(b"{}").decode(), "FunctionVersion": "2",
    "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.5}}, "DryRun": True, "PackageType": "Zip",
    "CodeSigningConfigArn": lambda world, _: world.config, "TenancyConfig": {"TenantIsolationMode": "PER_TENANT"},
    "SourceArn": "arn:aws:s3:::b", "FunctionUrlAuthType": "NONE", "InvokedViaFunctionUrl": True,
    "S3ObjectStorageMode": "COPY", "SourceAccount": "0" * 12, "EventSourceToken": "token", "PrincipalOrgID": "o-1234567890",
    ("AddPermission", "RevisionId"): policy_revision, ("RemovePermission", "RevisionId"): policy_revision,
    ("PutResourcePolicy", "RevisionId"): policy_revision, ("DeleteResourcePolicy", "RevisionId"): policy_revision,
    ("UpdateAlias", "RevisionId"): alias_revision,
    ("ListFunctions", "FunctionVersion"): "ALL", ("ListFunctions", "Marker"): marker("ListFunctions"),
    ("ListCodeSigningConfigs", "Marker"): marker("ListCodeSigningConfigs"),
    ("ListAliases", "FunctionVersion"): "1",
    ("UpdateAlias", "FunctionVersion"): "1",
    ("PublishVersion", "CodeSha256"): lambda world, _: world.functions.get_function(
        FunctionName=world.main)["Configuration"]["CodeSha256"],
    ("PutRuntimeManagementConfig", "RuntimeVersionArn"): None,
    **{(operation, "Qualifier"): "live" for operation in ("PutFunctionEventInvokeConfig",)},
    ("CreateFunction", "CodeSigningConfigArn"): lambda world, _: world.config,
}
# Combinations that another test has, since the value is taken in a form of its own; the reason is where.
TAKEN_BY_OTHERS = {
    "Marker": "pages of each list are walked in the tests of its family",
    "ImageConfig": "test_images.py", "ImageUri": "test_images.py",
    "S3Bucket": "a bucket is needed", "S3Key": "a bucket is needed", "S3ObjectVersion": "a bucket is needed",
    "TenantId": "test_tenants.py",
    "RuntimeVersionArn": "test_function_settings.py, with Manual",
}
# With qualifiers these look at something else than the function that is at hand.
QUALIFIED_BY_OTHERS = {
    "DeleteFunctionEventInvokeConfig": None, "GetFunctionEventInvokeConfig": None, "UpdateFunctionEventInvokeConfig": None,
    "AddPermission": "live", "CreateFunctionUrlConfig": None, "DeleteFunction": None, "DeleteFunctionUrlConfig": None,
    "GetFunctionUrlConfig": None, "GetPolicy": None, "RemovePermission": None, "UpdateFunctionUrlConfig": None,
}
# Values that are refused, where the constraints of the model give none.
REFUSED = {
    **families.REFUSED,
    "CapacityProviderConfig": ASKS["CapacityProviderConfig"], "Code": {"ZipFile": b"no zip"}, "ZipFile": b"no zip", "Payload": b"{", "Marker": "no marker!", "Publish": "perhaps",
    "DryRun": "perhaps", "InvokedViaFunctionUrl": "perhaps", "RevisionId": "0", "CodeSha256": "0", "Policy": "{",
    "Role": "no role", "Tags": {"aws:x": "y"}, "TagKeys": ["k" * 129], "Description": "d" * 257, "ClientContext": "no base64!",
    "Environment": {"Variables": {"1": "v"}}, "RoutingConfig": {"AdditionalVersionWeights": {"1": 2.0}},
    "AdditionalVersionWeights": {"1": 2.0}, "AllowedPublishers": {"SigningProfileVersionArns": []}, "TenantId": "t",
    "Runtime": "python9.9", "MaxItems": 0, "ImageUri": "000000000000.dkr.ecr.us-east-1.amazonaws.com/x:1",
    "S3Bucket": "absent", "S3Key": "absent", "S3ObjectVersion": "absent", "Layers": ["no layer"],
    "ImageConfig": {"Command": ["x"]}, "CodeSigningConfigArn": "arn:aws:lambda:us-east-1:000000000000:code-signing-config:csc-" + "0" * 17,
    "SnapStart": {"ApplyOn": "Always"}, "Action": "s3:GetObject", "Principal": "nobody", "SourceArn": "no arn",
    "Architectures": ["z80"], "FunctionVersion": "9", "Name": "no such!", "PrincipalOrgID": "o", "EventSourceToken": "?",
    "RuntimeVersionArn": "arn:aws:lambda:us-east-1::runtime:" + "0" * 64, "Resource": "no arn", "StatementId": "?",
    "DeadLetterConfig": {"TargetArn": "no arn"}, "ReservedConcurrentExecutions": -1, "ProvisionedConcurrentExecutions": 0,
    "SourceAccount": "?", "FunctionName": "no such!", "Qualifier": "no such!", "TracingConfig": {"Mode": "Sometimes"},
    "LoggingConfig": {"LogFormat": "XML"}, "EphemeralStorage": {"Size": 1}, "Cors": {"MaxAge": 86401},
    "TenancyConfig": {"TenantIsolationMode": "NONE"}, "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": "Ignore"},
    ("ListAliases", "FunctionVersion"): "no number", "ResourceArn": "no arn", "Handler": "a b", "Timeout": 0, "MemorySize": 1, "DurableConfig": {"ExecutionTimeout": 0},
    "DurableExecutionName": "?", "MasterRegion": "nowhere",
}


# What a client cannot send wrongly: boto3 makes times of them.
NEVER_WRONG = {("ListDurableExecutionsByFunction", "StartedAfter"), ("ListDurableExecutionsByFunction", "StartedBefore")}


def members():
    for operation in BUILT:
        if operation in HERE:
            shape = MODEL.operation_model(operation).input_shape
            yield from ((operation, member) for member in (shape.members if shape else {}))


def call(world, operation, arguments):
    """Status and error code."""
    method = botocore.xform_name(operation)
    try:
        answer = getattr(world.functions, method)(**arguments)
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]
    for stream in ("EventStream", "Payload"):
        if stream in answer:
            list(answer[stream])
    return answer["ResponseMetadata"]["HTTPStatusCode"], None


@pytest.fixture(scope="module")
def world(python):
    world = World(python)
    yield world
    world.stop()


def value_of(world, operation, member, arguments):
    taken = TAKEN.get((operation, member), TAKEN.get(member))
    return taken(world, arguments) if callable(taken) else taken


@pytest.mark.parametrize("operation", HERE)
def test_a_value_of_each_member_is_taken(world, operation):
    """The least that an operation needs is taken as a whole; the optional members one by one."""
    assert operation in BASE, f"{operation} is built: say in BASE what it needs"
    status, error = call(world, operation, BASE[operation](world))
    assert status < 300, error
    shape = MODEL.operation_model(operation).input_shape
    for member in shape.members if shape else ():
        if member in BASE[operation](world) or member in OWN_TESTS:
            continue
        arguments = families.base(world, operation, member) if operation in families.BASE else BASE[operation](world)
        if (operation, member) in NEVER_TAKEN:
            status, error = call(world, operation, {**arguments, member: ASKS[member]})
            assert (status, error["Code"]) == (400, "InvalidParameterValueException") and member in error["Message"], error
            continue
        if member in unbuilt(operation):
            status, error = call(world, operation, {**arguments, member: ASKS[member]})
            assert status == 501 and error["Message"].startswith(member), (member, status, error)
            continue
        if member in TAKEN_BY_OTHERS and (operation, member) not in TAKEN:
            continue
        if TAKEN.get((operation, member), "") is None or member == "Qualifier" and operation in QUALIFIED_BY_OTHERS:
            continue
        value = value_of(world, operation, member, arguments)
        assert value is not None, f"say in TAKEN what {member} takes"
        status, error = call(world, operation, {**arguments, member: value})
        assert status < 300, (member, value, error)


@pytest.mark.parametrize("operation", HERE)
def test_a_value_of_each_member_is_refused(world, operation):
    shape = MODEL.operation_model(operation).input_shape
    if not shape or not shape.members:
        return
    common = BASE[operation](world)
    for member, inner in shape.members.items():
        if (operation, member) in NEVER_WRONG:
            continue
        arguments = families.base(world, operation, member) if member in families.OF_STREAMS and operation in families.BASE else common
        value = "no such value" if inner.type_name == "string" and inner.enum and member != "Runtime" else REFUSED.get((operation, member), REFUSED.get(member))
        if member in unbuilt(operation):
            value = ASKS[member]
        assert value is not None, f"say in REFUSED what {member} does not take"
        status, error = call(world, operation, {**arguments, member: value})
        assert status in range(400, 500) or status == 501, (member, value, status, error)
        assert error["Code"] and (error["Message"] or member == "FunctionName"), (member, error)


def test_nothing_said_here_is_about_nothing():
    known = {member for _, member in members()}
    keys = [*TAKEN, *REFUSED, *ASKS, *TAKEN_BY_OTHERS]
    named = {key[1] if isinstance(key, tuple) else key for key in keys}
    assert named - known <= {"AdditionalVersionWeights"}, named - known
    assert BASE.keys() <= set(BUILT)
