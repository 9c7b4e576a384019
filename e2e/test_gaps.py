"""What is not honoured: every member that the binary lists answers what the list says, and nothing that is listed is untried.

The list is made with the refusals, so these tests look at it from outside: each entry is asked for by a client.
"""

import botocore
import pytest
from botocore.exceptions import ClientError

import families
from server import operations
from test_lambda_model import ASKS, BASE, CODE, World, call

LISTED = [(one["service"], one["operation"], gap) for one in operations() if one["built"] for gap in one["gaps"]]
KEY = "arn:aws:kms:us-east-1:000000000000:key/k"
KAFKA = "arn:aws:kafka:us-east-1:000000000000:cluster/c/u"
OTHER = {"x86_64": "arm64", "arm64": "x86_64"}
TOPIC = "arn:aws:sns:us-east-1:000000000000:topic"

# What asks for an entry, by its member and which of its values it is about; what is not here is in `ASKS`.
ASKED = {
    ("FunctionVersion", "$LATEST.PUBLISHED"): lambda w: {"FunctionVersion": "$LATEST.PUBLISHED"},
    ("Architectures", "other than this host's"): lambda w: {"Architectures": [OTHER[w.architecture]]},
    ("FileSystemConfigs.S3FilesConfig", ""): lambda w: {"FileSystemConfigs": [
        {"Arn": "arn:aws:s3files:us-east-1:000000000000:file-system/fs-0123456789abcdef0/access-point/fsap-0123456789abcdef0",
         "LocalMountPath": "/mnt/x", "S3FilesConfig": {"DirectS3Read": "ENABLED"}}]},
    ("Code.SourceKMSKeyArn", ""): lambda w: {"Code": {"ZipFile": w.code, "SourceKMSKeyArn": KEY}},
    ("DurableConfig.KMSKeyArn", ""): lambda w: {"DurableConfig": {"ExecutionTimeout": 60, "KMSKeyArn": KEY}},
    ("MaximumRetryAttempts", "of a durable function"): lambda w: {"FunctionName": w.durable, "MaximumRetryAttempts": 1},
    ("MaximumEventAgeInSeconds", "of a durable function"): lambda w: {"FunctionName": w.durable, "MaximumEventAgeInSeconds": 60},
    ("DestinationConfig", "to a topic of Kafka"): lambda w: {"DestinationConfig": {"OnFailure": {"Destination": "kafka://topic"}}},
    ("EventSourceArn", "of Kafka, MQ or DocumentDB"): lambda w: {"EventSourceArn": KAFKA},
}
# What a server without services refuses.
ELSEWHERE = {
    ("CreateFunction", "DeadLetterConfig"): {"DeadLetterConfig": {"TargetArn": TOPIC}},
    ("UpdateFunctionConfiguration", "DeadLetterConfig"): {"DeadLetterConfig": {"TargetArn": TOPIC}},
    ("PutFunctionEventInvokeConfig", "DestinationConfig"): {"DestinationConfig": {"OnFailure": {"Destination": TOPIC}}},
    ("UpdateFunctionEventInvokeConfig", "DestinationConfig"): {"DestinationConfig": {"OnFailure": {"Destination": TOPIC}}},
    ("CreateEventSourceMapping", "EventSourceArn"): {"EventSourceArn": "arn:aws:sqs:us-east-1:000000000000:q"},
}
UNCONFIGURED = "without an endpoint in the server's configuration"
# Entries that this test cannot ask for, and which test does.
BY_OTHERS = {
    ("CreateFunction", "PackageType"): "this host isolates file systems",
    ("CreateEventSourceMapping", "DestinationConfig"): "without an endpoint there is no source, which is looked at first",
    ("UpdateEventSourceMapping", "DestinationConfig"): "without an endpoint there is no mapping to update",
    ("PutFunctionScalingConfig", "FunctionScalingConfig"): "every function is refused",
    ("PauseDurableExecution", "ClientToken"): "test_durable.py",
    ("ResumeDurableExecution", "ClientToken"): "test_durable.py",
}


class Here(World):
    def __init__(self, python, arguments=()):
        super().__init__(python, arguments)
        found = self.functions.get_function_configuration(FunctionName=self.main)["Architectures"]
        self.architecture, = found


@pytest.fixture(scope="module")
def world(python):
    world = Here(python)
    yield world
    world.stop()


@pytest.fixture(scope="module")
def accepting(python):
    world = Here(python, ["--accept-unenforceable"])
    yield world
    world.stop()


def arguments_of(world, operation, gap):
    """The least that the operation needs, and what asks for the entry."""
    member = gap["member"]
    if (member, gap["when"]) in ASKED:
        asked = ASKED[member, gap["when"]](world)
    else:
        asked = {member: ASKS[member]}
    least = families.base(world, operation, member) if operation in families.BASE else BASE[operation](world)
    if operation == "UpdateFunctionConfiguration" and member.startswith("DurableConfig"):
        least = {"FunctionName": world.durable}
    if gap["when"] == "of a durable function":
        least = {}
    return {**least, **asked}


LAMBDA = [(operation, gap) for service, operation, gap in LISTED if service == "lambda"]
REFUSED = [(operation, gap) for operation, gap in LAMBDA if gap["treatment"] != "without-effect"
           and (operation, gap["member"]) not in BY_OTHERS and not gap["when"].endswith(UNCONFIGURED)]
TAKEN = [(operation, gap) for operation, gap in REFUSED if gap["treatment"] == "refused-unless-accepted"]


def ids(value):
    return value if isinstance(value, str) else f"{value['member']} {value['when']}".strip().replace(" ", "-")


@pytest.mark.parametrize("operation, gap", REFUSED, ids=ids)
def test_what_is_listed_is_refused_by_its_name(world, operation, gap):
    status, error = call(world, operation, arguments_of(world, operation, gap))
    assert (status, error["Code"]) == (501, "NotImplementedException"), (status, error)
    assert error["Message"] == f"{gap['member']} {gap['when']}".strip() + f" is not built in this version of Gatemill: {gap['why']}."


@pytest.mark.parametrize("operation, gap", TAKEN, ids=ids)
def test_what_the_operator_wants_taken_is_taken_and_shown(accepting, operation, gap):
    arguments = arguments_of(accepting, operation, gap)
    if gap["member"] == "FileSystemConfigs":
        arguments["VpcConfig"] = ASKS["VpcConfig"]
    made = getattr(accepting.functions, botocore.xform_name(operation))(**arguments)
    name = made.get("FunctionName")
    if operation == "CreateEventSourceMapping" or operation == "UpdateEventSourceMapping":
        assert accepting.functions.get_event_source_mapping(UUID=made["UUID"])["KMSKeyArn"] == KEY
        return
    if operation == "UpdateFunctionConfiguration":
        accepting.settled(name)
    found = accepting.functions.get_function(FunctionName=name)
    outer, _, inner = gap["member"].removeprefix("Code.").partition(".")
    place = found["Code"] if outer == "SourceKMSKeyArn" else found["Configuration"]
    wanted = arguments.get("Code", {}).get(outer) or arguments[outer]
    shown = place[outer]
    if outer == "VpcConfig":
        shown = {member: shown[member] for member in wanted}
    assert (shown[inner] if inner else shown) == (wanted[inner] if inner else wanted)


@pytest.mark.parametrize("operation, gap", [(o, g) for o, g in LAMBDA if g["when"].endswith(UNCONFIGURED)
                                            and (o, g["member"]) not in BY_OTHERS], ids=ids)
def test_what_nothing_is_configured_for_is_refused(functions, python, operation, gap):
    """By a server whose configuration names no service."""
    name = f"{operation}-{gap['member']}"[:64]
    made = dict(FunctionName=name, Runtime=python, Role="arn:aws:iam::000000000000:role/r", Handler="app.handler",
                Code={"ZipFile": CODE})
    if operation != "CreateFunction":
        functions.create_function(**made)
        functions.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    if operation == "UpdateFunctionEventInvokeConfig":
        functions.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=1)
    arguments = {**(made if operation == "CreateFunction" else {"FunctionName": name}), **ELSEWHERE[operation, gap["member"]]}
    with pytest.raises(ClientError) as caught:
        getattr(functions, botocore.xform_name(operation))(**arguments)
    answer = caught.value.response
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 501 and "endpoint" in answer["Error"]["Message"]


def test_nothing_is_said_here_about_nothing():
    listed = {(gap["member"], gap["when"]) for _, gap in LAMBDA}
    assert ASKED.keys() <= listed
    assert {*BY_OTHERS, *ELSEWHERE} <= {(operation, gap["member"]) for operation, gap in LAMBDA}
