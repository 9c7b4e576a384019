"""What the operations of layers, mappings, event invoke configs, recursion and durable executions take, for the tests by the
model: the least that each needs, and a value of each member that is taken and one that is refused."""

import datetime

ROLE_ARN = "arn:aws:iam::000000000000:role/e2e"
ABSENT_UUID = "0b7a1f6e-0000-4000-8000-000000000009"
ABSENT_EXECUTION = ("arn:aws:lambda:us-east-1:000000000000:function:absent:1/durable-execution/"
                    "absent/0b7a1f6e-0000-4000-8000-000000000009")
TOKEN = "bm8gc3VjaCB0b2tlbg=="


def layer(world):
    """A layer with a version: both by name."""
    name = f"layer-{next(world.numbers)}"
    world.functions.publish_layer_version(LayerName=name, Content={"ZipFile": world.code})
    return {"LayerName": name, "VersionNumber": 1}


def layer_with_policy(world):
    made = layer(world)
    world.functions.add_layer_version_permission(**made, StatementId="s", Action="lambda:GetLayerVersion", Principal="*")
    return made


def queue(world):
    return world.sources.queue(f"q-{next(world.numbers)}")[1]


def stream(world):
    return world.sources.stream(f"s-{next(world.numbers)}")


def mapping(world, **more):
    made = world.functions.create_event_source_mapping(
        FunctionName=world.main, Enabled=False, **{"EventSourceArn": queue(world), **more})
    return {"UUID": world.mapping_settled(made["UUID"])}


def stream_mapping(world):
    return mapping(world, EventSourceArn=stream(world), StartingPosition="LATEST")


def configured(world):
    name = world.function()
    world.functions.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=1)
    return {"FunctionName": name}


BASE = {
    "AddLayerVersionPermission": lambda w: {**layer(w), "StatementId": "s", "Action": "lambda:GetLayerVersion", "Principal": "*"},
    "CreateEventSourceMapping": lambda w: {"FunctionName": w.main, "EventSourceArn": queue(w), "Enabled": False},
    "DeleteEventSourceMapping": mapping,
    "DeleteFunctionEventInvokeConfig": configured,
    "DeleteLayerVersion": layer,
    "GetEventSourceMapping": mapping,
    "GetFunctionEventInvokeConfig": configured,
    "GetFunctionRecursionConfig": lambda w: {"FunctionName": w.main},
    "GetLayerVersion": layer,
    "GetLayerVersionByArn": lambda w: {"Arn": f"{w.layer_arn}{layer(w)['LayerName']}:1"},
    "GetLayerVersionPolicy": layer_with_policy,
    "InvokeAsync": lambda w: {"FunctionName": w.main, "InvokeArgs": b"{}"},
    "ListDurableExecutionsByFunction": lambda w: {"FunctionName": w.durable},
    "ListEventSourceMappings": lambda w: {},
    "ListFunctionEventInvokeConfigs": configured,
    "ListLayerVersions": lambda w: {"LayerName": layer(w)["LayerName"]},
    "ListLayers": lambda w: {},
    "PublishLayerVersion": lambda w: {"LayerName": f"layer-{next(w.numbers)}", "Content": {"ZipFile": w.code}},
    "PutFunctionEventInvokeConfig": lambda w: {"FunctionName": w.main, "MaximumRetryAttempts": 1},
    "PutFunctionRecursionConfig": lambda w: {"FunctionName": w.function(), "RecursiveLoop": "Allow"},
    "RemoveLayerVersionPermission": lambda w: {**layer_with_policy(w), "StatementId": "s"},
    "UpdateEventSourceMapping": mapping,
    "UpdateFunctionEventInvokeConfig": lambda w: {**configured(w), "MaximumRetryAttempts": 2},
}

# Members that belong to streams: their operations need a mapping of one.
OF_STREAMS = {"ParallelizationFactor": 2, "DestinationConfig": None, "MaximumRecordAgeInSeconds": 60,
              "BisectBatchOnFunctionError": True, "MaximumRetryAttempts": 3, "TumblingWindowInSeconds": 30,
              "StartingPosition": "TRIM_HORIZON", "StartingPositionTimestamp": None}


def base(world, operation, member):
    """The least that an operation needs which is given `member`."""
    is_mapping = operation in ("CreateEventSourceMapping", "UpdateEventSourceMapping")
    if not is_mapping or member not in OF_STREAMS:
        return BASE[operation](world)
    if operation == "UpdateEventSourceMapping":
        return stream_mapping(world)
    return {"FunctionName": world.main, "EventSourceArn": stream(world), "Enabled": False, "StartingPosition": (
        "AT_TIMESTAMP" if member == "StartingPositionTimestamp" else "LATEST")}


# By operation and member, since the same names mean other things elsewhere.
TAKEN = {
    **{(operation, member): value for operation in ("CreateEventSourceMapping", "UpdateEventSourceMapping")
       for member, value in {
           **OF_STREAMS, "Enabled": False, "BatchSize": 5, "FilterCriteria": {"Filters": [{"Pattern": '{"body": {"a": [1]}}'}]},
           "MaximumBatchingWindowInSeconds": 3, "FunctionResponseTypes": ["ReportBatchItemFailures"],
           "ScalingConfig": {"MaximumConcurrency": 5},
           "ProvisionedPollerConfig": {"MinimumPollers": 2}, "MetricsConfig": {"Metrics": ["EventCount"]},
           "DestinationConfig": lambda w, _: {"OnFailure": {"Destination": queue(w)}},
           "StartingPositionTimestamp": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
           "FunctionName": lambda w, _: w.main}.items()},
    **{(operation, member): value for operation in ("PutFunctionEventInvokeConfig", "UpdateFunctionEventInvokeConfig")
       for member, value in {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60, "DestinationConfig": lambda w, _: {
           "OnFailure": {"Destination": queue(w)}}}.items()},
    ("AddLayerVersionPermission", "OrganizationId"): "o-1234567890",
    ("AddLayerVersionPermission", "RevisionId"): None,
    ("RemoveLayerVersionPermission", "RevisionId"): lambda w, arguments: w.functions.get_layer_version_policy(
        LayerName=arguments["LayerName"], VersionNumber=1)["RevisionId"],
    ("PublishLayerVersion", "CompatibleRuntimes"): ["python3.12"], ("PublishLayerVersion", "LicenseInfo"): "MIT",
    ("PublishLayerVersion", "CompatibleArchitectures"): ["x86_64"],
    **{(operation, member): value for operation in ("ListLayers", "ListLayerVersions")
       for member, value in {"CompatibleRuntime": "python3.12", "CompatibleArchitecture": "x86_64"}.items()},
    ("ListEventSourceMappings", "EventSourceArn"): lambda w, _: queue(w),
    ("ListEventSourceMappings", "FunctionName"): lambda w, _: w.main,
    ("ListDurableExecutionsByFunction", "Qualifier"): "$LATEST",
    ("ListDurableExecutionsByFunction", "DurableExecutionName"): "absent",
    ("ListDurableExecutionsByFunction", "Statuses"): ["RUNNING"],
    ("ListDurableExecutionsByFunction", "StartedAfter"): datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    ("ListDurableExecutionsByFunction", "StartedBefore"): datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    ("ListDurableExecutionsByFunction", "ReverseOrder"): True,
}

REFUSED = {
    **{(operation, member): value for operation in ("CreateEventSourceMapping", "UpdateEventSourceMapping")
       for member, value in {
           "EventSourceArn": "arn:aws:nothing:us-east-1:000000000000:x", "Enabled": "perhaps", "BatchSize": 0,
           "FilterCriteria": {"Filters": [{"Pattern": "no pattern"}]}, "MaximumBatchingWindowInSeconds": 301,
           "ParallelizationFactor": 11, "StartingPosition": "MIDDLE", "DestinationConfig": {"OnFailure": {"Destination": "no arn"}},
           "MaximumRecordAgeInSeconds": 59, "BisectBatchOnFunctionError": "perhaps", "MaximumRetryAttempts": 10001,
           "TumblingWindowInSeconds": 901, "FunctionResponseTypes": ["Nothing"], "ScalingConfig": {"MaximumConcurrency": 1},
           "ProvisionedPollerConfig": {"MinimumPollers": 1},
           "MetricsConfig": {"Metrics": ["Nothing"]}, "UUID": ABSENT_UUID, "FunctionName": "absent",
           "StartingPositionTimestamp": datetime.datetime(2200, 1, 1, tzinfo=datetime.UTC)}.items()},
    **{(operation, member): value for operation in ("PutFunctionEventInvokeConfig", "UpdateFunctionEventInvokeConfig")
       for member, value in {"MaximumRetryAttempts": 3, "MaximumEventAgeInSeconds": 59,
                             "DestinationConfig": {"OnSuccess": {"Destination": "no arn"}}}.items()},
    "UUID": ABSENT_UUID, "LayerName": "no such!", "VersionNumber": 0, "OrganizationId": "o", "Arn": "no arn",
    "InvokeArgs": b"{", "CompatibleRuntime": "cobol", "CompatibleArchitecture": "z80", "Content": {"ZipFile": b"no zip"},
    "CompatibleRuntimes": ["cobol"], "CompatibleArchitectures": ["z80"], "LicenseInfo": "l" * 513, "RecursiveLoop": "Perhaps",
    "Statuses": ["SLEEPING"], "ReverseOrder": "perhaps", ("ListDurableExecutionsByFunction", "MaxItems"): 1001,
    ("AddLayerVersionPermission", "Action"): "s3:GetObject", ("AddLayerVersionPermission", "Principal"): "nobody",
    ("ListEventSourceMappings", "EventSourceArn"): "no arn",
}
