"""Goldens: for every built operation one exchange as it goes over the wire, in `golden/<service>.<Operation>.http`.

boto3 makes the request, this file keeps what was sent and what came back, byte for byte but for what differs from run to
run: ids, digits of times, signatures, the port. `UPDATE=1` writes the files anew; read the difference before you commit
it. The test fails when a built operation has no exchange here, and when a file is left of one that is gone.
"""

import concurrent.futures
import datetime
import http.client
import io
import json
import os
import pathlib
import re
import sys
import time
import urllib.parse
import zipfile

import pytest
import websockets.sync.client
from botocore.awsrequest import AWSResponse
from botocore.eventstream import EventStreamBuffer
from botocore.exceptions import ClientError

from packages import BOTO3, ROLE, create, modules, package_of
from server import Server, operations
from sources import Sources, gone, settled
from waiting import until

GOLDEN = pathlib.Path(__file__).resolve().parent / "golden"
UPDATE = os.environ.get("UPDATE") == "1"
BUILT = [f"{operation['service']}.{operation['operation']}" for operation in operations() if operation["built"]]
# What AWS refuses for every function that can be here: the exchange is the refusal. None has a capacity provider.
ALWAYS_REFUSED = {
    "lambda.GetFunctionScalingConfig": "AccessDeniedException", "lambda.PutFunctionScalingConfig": "AccessDeniedException",
}

# What boto3 sends for itself, and what a signature or a connection needs.
UNTOLD = {
    "authorization", "user-agent", "x-amz-date", "x-amz-content-sha256", "content-length", "date", "connection", "expect",
}
# Members whose values are made up by the server; the value is replaced wherever it stands.
MADE_UP = re.compile(
    r'"(apiId|authorizerId|vpcLinkId|apiMappingId|routingRuleId|routeId|integrationId|deploymentId|routeResponseId'
    r'|integrationResponseId|modelId|connectionId|eventId'
    r'|nextForwardToken|nextBackwardToken|CheckpointToken|CallbackId)": ?"([^"]+)"')
# Text that differs from run to run, and what stands for it. Digits keep their places, so that a format is still seen.
VOLATILE = [
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), None),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+0000)"), None),
    (re.compile(r'(TimeStamp": ?|Time": ?)1[789]\d{8}(\.\d+)?\b'), r"\g<1>0000000000.000"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dUTC"), None),
    (re.compile(r'(Timestamp":)1[789]\d{8}(\.\d+)?\b'), r"\g<1>0000000000.000"),
    # Zeros at the end of a fraction are not written.
    (re.compile(r'("LastModified":)1[789]\d{8}(\.\d+)?\b'), r"\g<1>0000000000.000"),
    (re.compile(r'("(?:start|end)Date": ?")\d{4}-\d\d-\d\d"'), r'\g<1>0000-00-00"'),
    (re.compile(r"\b1[789]\d{8}(\.\d+)?\b"), None),
    (re.compile(r"\b1[789]\d{11}\b"), None),
    (re.compile(r"\bcsc-[0-9a-f]{17}\b|(?<=3A)csc-[0-9a-f]{17}\b"), "csc-<id>"),
    (re.compile(r"\bpython3\.\d+"), "python3.N"),
    (re.compile(r"(runtime:)[0-9a-f]{64}"), r"\1<hash>"),
    (re.compile(r"\b[0-9a-z]{32}(\.lambda-url\.)"), r"<url-id>\1"),
    (re.compile(r"\bcsc-[0-9a-z]{17}"), "csc-<id>"),
    (re.compile(r"(localhost|127\.0\.0\.1):\d+"), r"\1:<port>"),
    (re.compile(r'("Location":"[^"]*?/)[^/"]*"'), r'\1<package>"'),
    (re.compile(r"(?m)^(x-amz-log-result|x-amzn-trace-id): .*$"), r"\1: <differs>"),
]


def package():
    """Stored and not compressed, so that its bytes are the same with every zlib."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("app.py"), "def handler(event, context):\n    return {'hello': event['name']}\n")
    return buffer.getvalue()


class Body(io.BytesIO):
    """What boto3 reads an answer from."""

    def stream(self, **_):
        yield self.read()


class Recorder:
    """Sends boto3's requests itself and keeps the first successful exchange, and each first error, of an operation."""

    def __init__(self, server):
        self.server = server
        self.exchanges = {}
        self.made_up = {}

    def client(self, service, path=""):
        client = self.server.client(service, key="444444444444", path=path)
        client.meta.events.register("before-send", self.send)
        self.service = service
        return client

    def send(self, request, event_name, **_):
        _, service_id, operation = event_name.split(".")
        service = {"cloudwatch-logs": "logs", "api-gateway": "apigateway"}.get(service_id, service_id)
        url = urllib.parse.urlsplit(request.url)
        target = url.path + (f"?{url.query}" if url.query else "")
        body = request.body or b""
        body = body if isinstance(body, bytes) else body.encode()
        headers = {name: as_text(value) for name, value in request.headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        connection.request(request.method, target, body=body, headers=headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        name = f"{service}.{operation}"
        if answer.status >= 300:
            code = answer.headers.get("x-amzn-ErrorType") or json.loads(readable(answer, content))["__type"]
            name += "." + code.split(":")[0].split("#")[-1]
        exchange = "\n".join([
            f"{request.method} {target}", *told(headers), "", as_text(body), "",
            f"{answer.status} {answer.reason}", *told(answer.headers), "", readable(answer, content), "",
        ])
        self.exchanges.setdefault(name, exchange)
        return AWSResponse(request.url, answer.status, answer.headers, Body(content))

    def normalised(self):
        """Every exchange with the made up replaced."""
        made_up = dict(self.made_up)
        for exchange in self.exchanges.values():
            made_up |= {value: member for member, value in MADE_UP.findall(exchange)}
        return {name: self.normal(exchange, made_up) for name, exchange in self.exchanges.items()}

    def normal(self, exchange, made_up):
        for value in sorted(made_up, key=len, reverse=True):
            exchange = exchange.replace(value, f"<{made_up[value]}>")
            exchange = exchange.replace(urllib.parse.quote(value, safe=""), f"<{made_up[value]}>")
        for pattern, replacement in VOLATILE:
            exchange = pattern.sub(zeros if replacement is None else replacement, exchange)
        return exchange


def readable(answer, content):
    """The body as text; of an event stream, which is binary, the headers and the payload of each message."""
    if answer.headers.get("content-type") != "application/vnd.amazon.eventstream":
        return as_text(content)
    buffer = EventStreamBuffer()
    buffer.add_data(content)
    return "\n\n".join("\n".join([*(f"{name}: {value}" for name, value in message.headers.items()), as_text(message.payload)])
                       for message in buffer)


def as_text(value):
    return value if isinstance(value, str) else value.decode()


def told(headers):
    return sorted(f"{name.lower()}: {value}" for name, value in headers.items() if name.lower() not in UNTOLD
                  and not name.lower().startswith("amz-sdk"))


def zeros(match):
    return re.sub(r"[0-9a-f]", "0", match.group())


@pytest.fixture(scope="module")
def exchanges(python):
    sources = Sources()
    server = Server(arguments=sources.arguments).start()
    recorder = Recorder(server)
    aside = server.client("lambda", key="444444444444")
    lambda_exchanges(recorder.client("lambda"), aside, python, sources)
    durable_exchanges(recorder.client("lambda"), aside)
    gateway_exchanges(recorder.client("apigatewayv2"))
    recorder.made_up |= websocket_exchanges(recorder.client("apigatewayv2"))
    recorder.made_up |= key_exchanges(recorder.client("apigateway"))
    connection_exchanges(server, recorder)
    logs_exchanges(recorder.client("logs"))
    metrics_exchanges(recorder.client("cloudwatch"))
    recorder.client("sts").get_caller_identity()
    assert server.stop() == 0, server.log()
    sources.stop()
    return recorder.normalised()


def metrics_exchanges(metrics):
    day = datetime.datetime.now(datetime.timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    span = {"StartTime": day - datetime.timedelta(days=1), "EndTime": day + datetime.timedelta(days=2)}
    metric = {"Namespace": "AWS/Lambda", "MetricName": "AsyncEventsReceived",
              "Dimensions": [{"Name": "FunctionName", "Value": "golden"}]}
    # Of nobody, because how often the others were called depends on how long they took.
    nobody = {"Namespace": "AWS/Lambda", "MetricName": "Invocations", "Dimensions": [{"Name": "FunctionName", "Value": "nobody"}]}
    metrics.list_metrics(**metric)
    metrics.get_metric_statistics(**nobody, Period=3600, Statistics=["Sum"], **span)
    refused(metrics.get_metric_statistics, **nobody, Period=90, Statistics=["Sum"], **span)
    metrics.get_metric_data(MetricDataQueries=[{"Id": "m", "MetricStat": {"Metric": nobody, "Period": 3600, "Stat": "p99"}}], **span)
    refused(metrics.list_dashboards)


def refused(call, **arguments):
    with pytest.raises(ClientError):
        call(**arguments)


def provisioned(aside, **version):
    """Waits by a client whose exchanges are not kept, so that the one that is kept is of READY environments."""
    for _ in range(200):
        if aside.get_provisioned_concurrency_config(**version)["Status"] == "READY":
            return
        time.sleep(0.05)
    raise AssertionError("no provisioned environment got ready")


def lambda_exchanges(functions, aside, python, sources):
    made = dict(FunctionName="golden", Runtime=python, Role=ROLE, Handler="app.handler", Code={"ZipFile": package()})
    functions.create_function(**made, Description="says hello", Timeout=5, MemorySize=256, Tags={"team": "blue"},
                              Environment={"Variables": {"COLOUR": "blue"}}, EphemeralStorage={"Size": 1024})
    # Waits by a client whose exchanges are not kept: the waiter's first answer may be of a function that is pending.
    aside.get_waiter("function_active_v2").wait(FunctionName="golden", WaiterConfig={"Delay": 1})
    refused(functions.create_function, **made)
    functions.get_function(FunctionName="golden")
    refused(functions.get_function, FunctionName="absent")
    functions.get_function_configuration(FunctionName="golden", Qualifier="$LATEST")
    functions.list_functions(MaxItems=1)
    functions.get_account_settings()
    functions.invoke(FunctionName="golden", Payload=b'{"name": "you"}', LogType="Tail")
    refused(functions.invoke, FunctionName="golden", Payload=b"{")
    stream = functions.invoke_with_response_stream(FunctionName="golden", Payload=b'{"name": "you"}')
    assert "InvokeComplete" in list(stream["EventStream"])[-1]
    functions.update_function_code(FunctionName="golden", ZipFile=package())
    functions.get_waiter("function_updated_v2").wait(FunctionName="golden", WaiterConfig={"Delay": 1})
    functions.update_function_configuration(FunctionName="golden", Timeout=7)
    functions.get_waiter("function_updated_v2").wait(FunctionName="golden", WaiterConfig={"Delay": 1})
    functions.publish_version(FunctionName="golden", Description="first")
    refused(functions.publish_version, FunctionName="golden", RevisionId="0")
    functions.list_versions_by_function(FunctionName="golden", MaxItems=1)
    functions.create_alias(FunctionName="golden", Name="live", FunctionVersion="1", Description="d")
    refused(functions.create_alias, FunctionName="golden", Name="live", FunctionVersion="1")
    functions.get_alias(FunctionName="golden", Name="live")
    refused(functions.get_alias, FunctionName="golden", Name="absent")
    functions.list_aliases(FunctionName="golden")
    functions.update_alias(FunctionName="golden", Name="live", Description="e")
    functions.delete_alias(FunctionName="golden", Name="live")
    functions.put_function_concurrency(FunctionName="golden", ReservedConcurrentExecutions=5)
    refused(functions.put_function_concurrency, FunctionName="golden", ReservedConcurrentExecutions=901)
    functions.get_function_concurrency(FunctionName="golden")
    version = dict(FunctionName="golden", Qualifier="1")
    refused(functions.put_function_scaling_config, **version, FunctionScalingConfig={"MinExecutionEnvironments": 1})
    refused(functions.get_function_scaling_config, **version)
    refused(functions.get_provisioned_concurrency_config, **version)
    functions.put_provisioned_concurrency_config(**version, ProvisionedConcurrentExecutions=1)
    provisioned(aside, **version)
    functions.get_provisioned_concurrency_config(**version)
    functions.list_provisioned_concurrency_configs(FunctionName="golden")
    functions.delete_provisioned_concurrency_config(**version)
    functions.put_function_concurrency(FunctionName="golden", ReservedConcurrentExecutions=0)
    refused(functions.invoke, FunctionName="golden")
    functions.delete_function_concurrency(FunctionName="golden")
    functions.add_permission(FunctionName="golden", StatementId="api", Action="lambda:InvokeFunction",
                             Principal="apigateway.amazonaws.com", SourceArn="arn:aws:execute-api:us-east-1:444444444444:a/*")
    functions.get_policy(FunctionName="golden")
    functions.remove_permission(FunctionName="golden", StatementId="api")
    cors = {"AllowOrigins": ["https://one.example"], "AllowMethods": ["GET"], "MaxAge": 60}
    functions.create_function_url_config(FunctionName="golden", AuthType="AWS_IAM", InvokeMode="RESPONSE_STREAM", Cors=cors)
    refused(functions.create_function_url_config, FunctionName="golden", AuthType="NONE")
    functions.get_function_url_config(FunctionName="golden")
    functions.list_function_url_configs(FunctionName="golden")
    functions.update_function_url_config(FunctionName="golden", AuthType="NONE")
    functions.delete_function_url_config(FunctionName="golden")
    refused(functions.get_function_url_config, FunctionName="golden")
    event_exchanges(functions)
    layer_exchanges(functions)
    function_settings_exchanges(functions)
    mapping_exchanges(functions, aside, sources)
    refused(functions.list_capacity_providers)
    functions.delete_function(FunctionName="golden")


def event_exchanges(functions):
    other = functions.meta.region_name
    destination = f"arn:aws:lambda:{other}:444444444444:function:golden"
    functions.invoke_async(FunctionName="golden", InvokeArgs=b'{"name": "you"}')
    refused(functions.put_function_event_invoke_config, FunctionName="golden", DestinationConfig={"OnSuccess": {"Destination": destination}})
    functions.put_function_event_invoke_config(FunctionName="golden", MaximumRetryAttempts=0)
    functions.update_function_event_invoke_config(FunctionName="golden", MaximumEventAgeInSeconds=60)
    functions.get_function_event_invoke_config(FunctionName="golden")
    functions.list_function_event_invoke_configs(FunctionName="golden")
    functions.delete_function_event_invoke_config(FunctionName="golden")
    refused(functions.get_function_event_invoke_config, FunctionName="golden")
    functions.put_function_recursion_config(FunctionName="golden", RecursiveLoop="Allow")
    functions.get_function_recursion_config(FunctionName="golden")


def layer_exchanges(functions):
    content = {"ZipFile": package()}
    functions.publish_layer_version(
        LayerName="golden", Description="d", Content=content, CompatibleRuntimes=["python3.12"],
        CompatibleArchitectures=["x86_64"], LicenseInfo="MIT")
    version = dict(LayerName="golden", VersionNumber=1)
    functions.get_layer_version(**version)
    refused(functions.get_layer_version, LayerName="golden", VersionNumber=2)
    functions.get_layer_version_by_arn(Arn="arn:aws:lambda:us-east-1:444444444444:layer:golden:1")
    functions.list_layers(CompatibleRuntime="python3.12")
    functions.list_layer_versions(LayerName="golden")
    allow = dict(version, StatementId="s", Action="lambda:GetLayerVersion", Principal="555555555555")
    functions.add_layer_version_permission(**allow)
    refused(functions.add_layer_version_permission, **allow)
    functions.get_layer_version_policy(**version)
    functions.remove_layer_version_permission(**version, StatementId="s")
    functions.delete_layer_version(**version)


# A durable function that lets the test make its checkpoints: it tells its token, and ends when the token is used up.
DURABLE = """
import time
import boto3

def handler(event, context):
    functions = boto3.client("lambda")
    token = event["CheckpointToken"]
    functions.update_alias(FunctionName="golden-durable", Name="token", Description=token)
    try:
        while True:
            functions.get_durable_execution_state(DurableExecutionArn=event["DurableExecutionArn"], CheckpointToken=token)
            time.sleep(0.05)
    except functions.exceptions.InvalidParameterValueException:
        return {"Status": "PENDING"}
"""


def durable_exchanges(functions, aside):
    code = package_of({"app.py": DURABLE} | modules(BOTO3))
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    create(aside, "golden-durable", code, version, Timeout=60, MemorySize=512, DurableConfig={"ExecutionTimeout": 300})
    aside.publish_version(FunctionName="golden-durable")
    aside.get_waiter("published_version_active").wait(FunctionName="golden-durable", Qualifier="1", WaiterConfig={"Delay": 1})
    aside.create_alias(FunctionName="golden-durable", Name="token", FunctionVersion="1")
    call = dict(FunctionName="golden-durable", Qualifier="1", DurableExecutionName="golden", Payload="{}")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        running = pool.submit(aside.invoke, **call)
        token = until(lambda: aside.get_alias(FunctionName="golden-durable", Name="token")["Description"], "there is a token")
        listed = functions.list_durable_executions_by_function(FunctionName="golden-durable")
        execution = dict(DurableExecutionArn=listed["DurableExecutions"][0]["DurableExecutionArn"])
        functions.get_durable_execution_state(**execution, CheckpointToken=token)
        start = [{"Id": name, "Type": "CALLBACK", "Action": "START"} for name in ("a", "b")]
        made = functions.checkpoint_durable_execution(**execution, CheckpointToken=token, Updates=start)
        refused(functions.checkpoint_durable_execution, **execution, CheckpointToken=token, Updates=[])
        a, b = (one["CallbackDetails"]["CallbackId"] for one in made["NewExecutionState"]["Operations"])
        types = lambda: [event["EventType"] for event in aside.get_durable_execution_history(**execution)["Events"]]
        until(lambda: "InvocationCompleted" in types(), "the first invocation ended")
        functions.send_durable_execution_callback_heartbeat(CallbackId=a)
        functions.send_durable_execution_callback_success(CallbackId=a, Result=b"1")
        refused(functions.send_durable_execution_callback_success, CallbackId=a, Result=b"1")
        functions.send_durable_execution_callback_failure(CallbackId=b, Error={"ErrorType": "E", "ErrorMessage": "m"})
        functions.pause_durable_execution(**execution, Reason="lunch")
        functions.resume_durable_execution(**execution)
        functions.get_durable_execution(**execution)
        functions.stop_durable_execution(**execution, Error={"ErrorType": "Enough"})
        functions.get_durable_execution_history(**execution, IncludeExecutionData=True)
        running.result()
    refused(functions.invoke, **{**call, "Payload": "[]"})
    functions.delete_durable_execution(**execution)
    refused(functions.get_durable_execution, DurableExecutionArn=execution["DurableExecutionArn"] + "0")


def function_settings_exchanges(functions):
    arn = "arn:aws:lambda:us-east-1:444444444444:function:golden"
    functions.tag_resource(Resource=arn, Tags={"a": "b"})
    refused(functions.tag_resource, Resource=f"{arn}:1", Tags={"a": "b"})
    functions.list_tags(Resource=arn)
    functions.untag_resource(Resource=arn, TagKeys=["a"])
    statement = {"Sid": "one", "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"},
                 "Action": "lambda:InvokeFunction", "Resource": arn}
    functions.put_resource_policy(ResourceArn=arn, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    functions.get_resource_policy(ResourceArn=arn)
    functions.delete_resource_policy(ResourceArn=arn)
    refused(functions.get_resource_policy, ResourceArn=arn)
    functions.put_runtime_management_config(FunctionName="golden", UpdateRuntimeOn="FunctionUpdate")
    functions.get_runtime_management_config(FunctionName="golden")
    publishers = {"SigningProfileVersionArns": ["arn:aws:signer:us-east-1:444444444444:/signing-profiles/one/abcdefghij"]}
    made = functions.create_code_signing_config(AllowedPublishers=publishers, Description="d")
    config = made["CodeSigningConfig"]["CodeSigningConfigArn"]
    functions.get_code_signing_config(CodeSigningConfigArn=config)
    functions.list_code_signing_configs()
    functions.update_code_signing_config(CodeSigningConfigArn=config,
                                         CodeSigningPolicies={"UntrustedArtifactOnDeployment": "Enforce"})
    functions.put_function_code_signing_config(FunctionName="golden", CodeSigningConfigArn=config)
    functions.get_function_code_signing_config(FunctionName="golden")
    functions.list_functions_by_code_signing_config(CodeSigningConfigArn=config)
    refused(functions.update_function_code, FunctionName="golden", ZipFile=package())
    functions.delete_function_code_signing_config(FunctionName="golden")
    functions.delete_code_signing_config(CodeSigningConfigArn=config)
    refused(functions.get_code_signing_config, CodeSigningConfigArn=config)
def mapping_exchanges(functions, aside, sources):
    _, queue = sources.queue("golden")
    stream = sources.stream("golden")
    wanted = dict(FunctionName="golden", EventSourceArn=queue)
    of = functions.create_event_source_mapping(**wanted, FilterCriteria={"Filters": [{"Pattern": '{"body": {"a": [1]}}'}]})["UUID"]
    refused(functions.create_event_source_mapping, **dict(wanted, EventSourceArn=stream))
    settled(aside, of)
    refused(functions.create_event_source_mapping, **wanted)
    functions.get_event_source_mapping(UUID=of)
    refused(functions.get_event_source_mapping, UUID="00000000-0000-0000-0000-000000000000")
    of_stream = aside.create_event_source_mapping(
        **dict(wanted, EventSourceArn=stream), StartingPosition="TRIM_HORIZON", Enabled=False)["UUID"]
    settled(aside, of_stream, "Disabled")
    functions.list_event_source_mappings(EventSourceArn=stream, FunctionName="golden")
    functions.update_event_source_mapping(UUID=of_stream, BisectBatchOnFunctionError=True, MaximumRetryAttempts=2)
    settled(aside, of_stream, "Disabled")
    functions.delete_event_source_mapping(UUID=of)
    gone(aside, of_stream)


def gateway_exchanges(apis):
    cors = {"AllowOrigins": ["https://one.example"], "AllowMethods": ["GET"], "MaxAge": 60}
    api = apis.create_api(Name="golden", ProtocolType="HTTP", Description="d", Tags={"team": "blue"}, CorsConfiguration=cors)["ApiId"]
    arn = f"arn:aws:apigateway:us-east-1::/apis/{api}"
    apis.get_api(ApiId=api)
    refused(apis.get_api, ApiId="absent0000")
    apis.get_apis(MaxResults="10")
    apis.update_api(ApiId=api, Name="golden-2")
    apis.delete_cors_configuration(ApiId=api)
    apis.tag_resource(ResourceArn=arn, Tags={"a": "b"})
    apis.get_tags(ResourceArn=arn)
    apis.untag_resource(ResourceArn=arn, TagKeys=["a"])

    integration = apis.create_integration(
        ApiId=api, IntegrationType="HTTP_PROXY", IntegrationMethod="ANY", IntegrationUri="http://127.0.0.1:1/{proxy}",
        PayloadFormatVersion="1.0", TimeoutInMillis=5000)["IntegrationId"]
    apis.get_integration(ApiId=api, IntegrationId=integration)
    apis.get_integrations(ApiId=api)
    apis.update_integration(ApiId=api, IntegrationId=integration, Description="d")
    route = apis.create_route(ApiId=api, RouteKey="ANY /{proxy+}", Target=f"integrations/{integration}")["RouteId"]
    refused(apis.create_route, ApiId=api, RouteKey="ANY /{proxy+}")
    refused(apis.create_route, ApiId=api, RouteKey="no route key")
    apis.get_route(ApiId=api, RouteId=route)
    apis.get_routes(ApiId=api)
    apis.update_route(ApiId=api, RouteId=route, OperationName="everything")

    function = "arn:aws:lambda:us-east-1:444444444444:function:golden"
    authorizer = apis.create_authorizer(
        ApiId=api, Name="golden", AuthorizerType="REQUEST", AuthorizerUri=function, AuthorizerPayloadFormatVersion="2.0",
        EnableSimpleResponses=True, IdentitySource=["$request.header.Authorization"])["AuthorizerId"]
    refused(apis.create_authorizer, ApiId=api, Name="wrong", AuthorizerType="REQUEST", AuthorizerUri=function,
            IdentitySource=["$request.header.Authorization"])
    apis.get_authorizer(ApiId=api, AuthorizerId=authorizer)
    refused(apis.get_authorizer, ApiId=api, AuthorizerId="absent")
    apis.get_authorizers(ApiId=api)
    apis.update_authorizer(ApiId=api, AuthorizerId=authorizer, AuthorizerResultTtlInSeconds=60)
    apis.update_route(ApiId=api, RouteId=route, AuthorizationType="CUSTOM", AuthorizerId=authorizer)
    refused(apis.delete_authorizer, ApiId=api, AuthorizerId=authorizer)
    apis.update_route(ApiId=api, RouteId=route, AuthorizationType="NONE")
    apis.delete_authorizer(ApiId=api, AuthorizerId=authorizer)

    text = apis.export_api(ApiId=api, Specification="OAS30", OutputType="YAML")["body"].read().decode()
    refused(apis.export_api, ApiId=api, Specification="OAS30", OutputType="XML")
    apis.reimport_api(ApiId=api, Body=text.replace("golden-2", "golden-3"), FailOnWarnings=True)
    copy = apis.import_api(Body='{"openapi": "3.0.1", "info": {"title": "golden-copy", "version": "1"}, "paths": {}}')["ApiId"]
    refused(apis.import_api, Body="openapi: 3.0.1")
    apis.delete_api(ApiId=copy)

    link = apis.create_vpc_link(Name="golden", SubnetIds=["subnet-1"], Tags={"team": "blue"})["VpcLinkId"]
    apis.get_vpc_link(VpcLinkId=link)
    refused(apis.get_vpc_link, VpcLinkId="absent")
    apis.get_vpc_links()
    apis.update_vpc_link(VpcLinkId=link, Name="golden-2")
    apis.delete_vpc_link(VpcLinkId=link)

    deployment = apis.create_deployment(ApiId=api, Description="first")["DeploymentId"]
    apis.get_deployment(ApiId=api, DeploymentId=deployment)
    apis.get_deployments(ApiId=api)
    apis.update_deployment(ApiId=api, DeploymentId=deployment, Description="second")
    throttle = {"ThrottlingBurstLimit": 10, "ThrottlingRateLimit": 5.0}
    apis.create_stage(ApiId=api, StageName="prod", DeploymentId=deployment, StageVariables={"colour": "blue"},
                      RouteSettings={"ANY /{proxy+}": throttle})
    apis.get_stage(ApiId=api, StageName="prod")
    apis.get_stages(ApiId=api)
    access_log = {"DestinationArn": "arn:aws:logs:us-east-1:444444444444:log-group:golden", "Format": "$context.requestId"}
    certificate = "arn:aws:acm:us-east-1:444444444444:certificate/golden"
    apis.create_domain_name(DomainName="golden.example", DomainNameConfigurations=[{"CertificateArn": certificate}],
                            Tags={"team": "blue"})
    refused(apis.create_domain_name, DomainName="golden.example")
    apis.get_domain_name(DomainName="golden.example")
    refused(apis.get_domain_name, DomainName="absent.example")
    apis.get_domain_names()
    apis.update_domain_name(DomainName="golden.example", RoutingMode="ROUTING_RULE_THEN_API_MAPPING")
    domain = {"DomainName": "golden.example"}
    mapping = apis.create_api_mapping(**domain, ApiId=api, Stage="prod", ApiMappingKey="v1/shop")["ApiMappingId"]
    apis.get_api_mapping(**domain, ApiMappingId=mapping)
    apis.get_api_mappings(**domain)
    apis.update_api_mapping(**domain, ApiMappingId=mapping, ApiId=api, ApiMappingKey="v2/shop")
    apis.delete_api_mapping(**domain, ApiMappingId=mapping)
    rule = {"Priority": 10, "Conditions": [{"MatchBasePaths": {"AnyOf": ["shop"]}}],
            "Actions": [{"InvokeApi": {"ApiId": api, "Stage": "prod", "StripBasePath": True}}]}
    made = apis.create_routing_rule(**domain, **rule)["RoutingRuleId"]
    apis.get_routing_rule(**domain, RoutingRuleId=made)
    apis.list_routing_rules(**domain)
    apis.put_routing_rule(**domain, RoutingRuleId=made, **{**rule, "Priority": 20})
    apis.delete_routing_rule(**domain, RoutingRuleId=made)
    apis.delete_domain_name(**domain)
    apis.update_stage(ApiId=api, StageName="prod", Description="d", AccessLogSettings=access_log)
    apis.delete_access_log_settings(ApiId=api, StageName="prod")
    apis.reset_authorizers_cache(ApiId=api, StageName="prod")
    apis.delete_route_settings(ApiId=api, StageName="prod", RouteKey="ANY /{proxy+}")
    apis.delete_stage(ApiId=api, StageName="prod")
    apis.delete_deployment(ApiId=api, DeploymentId=deployment)
    apis.delete_route(ApiId=api, RouteId=route)
    apis.delete_integration(ApiId=api, IntegrationId=integration)
    apis.delete_api(ApiId=api)


def websocket_exchanges(apis):
    api = apis.create_api(Name="golden", ProtocolType="WEBSOCKET", RouteSelectionExpression="$request.body.action")["ApiId"]
    mock = apis.create_integration(
        ApiId=api, IntegrationType="MOCK", TemplateSelectionExpression="200",
        RequestTemplates={"200": '{"statusCode":200}'})["IntegrationId"]
    response = apis.create_integration_response(
        ApiId=api, IntegrationId=mock, IntegrationResponseKey="$default",
        ResponseTemplates={"200": "pong"}, TemplateSelectionExpression="200")["IntegrationResponseId"]
    refused(apis.create_integration_response, ApiId=api, IntegrationId=mock, IntegrationResponseKey="$default")
    apis.get_integration_response(ApiId=api, IntegrationId=mock, IntegrationResponseId=response)
    apis.get_integration_responses(ApiId=api, IntegrationId=mock)
    apis.update_integration_response(ApiId=api, IntegrationId=mock, IntegrationResponseId=response, IntegrationResponseKey="/2\\d\\d/")
    route = apis.create_route(ApiId=api, RouteKey="ping", Target=f"integrations/{mock}")["RouteId"]
    answer = apis.create_route_response(ApiId=api, RouteId=route, RouteResponseKey="$default")["RouteResponseId"]
    apis.get_route_response(ApiId=api, RouteId=route, RouteResponseId=answer)
    apis.get_route_responses(ApiId=api, RouteId=route)
    apis.update_route_response(ApiId=api, RouteId=route, RouteResponseId=answer, ResponseModels={"application/json": "Ping"})
    schema = '{"type":"object","properties":{"action":{"type":"string"}}}'
    model = apis.create_model(ApiId=api, Name="Ping", ContentType="application/json", Schema=schema)["ModelId"]
    refused(apis.create_model, ApiId=api, Name="Ping", Schema=schema)
    apis.get_model(ApiId=api, ModelId=model)
    apis.get_models(ApiId=api)
    apis.get_model_template(ApiId=api, ModelId=model)
    apis.update_model(ApiId=api, ModelId=model, Description="a ping")
    apis.delete_model(ApiId=api, ModelId=model)
    refused(apis.get_model, ApiId=api, ModelId=model)
    parameter = "route.request.querystring.room"
    connect = apis.create_route(ApiId=api, RouteKey="$connect", RequestParameters={parameter: {"Required": True}})["RouteId"]
    apis.delete_route_request_parameter(ApiId=api, RouteId=connect, RequestParameterKey=parameter)
    refused(apis.delete_route_request_parameter, ApiId=api, RouteId=connect, RequestParameterKey=parameter)
    apis.delete_route_response(ApiId=api, RouteId=route, RouteResponseId=answer)
    apis.delete_integration_response(ApiId=api, IntegrationId=mock, IntegrationResponseId=response)
    apis.delete_api(ApiId=api)
    # What made them is kept of HTTP APIs.
    return {api: "apiId", mock: "integrationId", route: "routeId", connect: "routeId"}


def key_exchanges(rest):
    rest.get_account()
    made = rest.create_api_key(name="golden", description="d", enabled=True, tags={"team": "blue"})
    key, value = made["id"], made["value"]
    refused(rest.create_api_key, name="golden", value=value)
    refused(rest.create_api_key, name="golden", value="short")
    rest.get_api_key(apiKey=key, includeValue=True)
    refused(rest.get_api_key, apiKey="absent")
    rest.get_api_keys(nameQuery="golden", limit=1)
    rest.update_api_key(apiKey=key, patchOperations=[{"op": "replace", "path": "/enabled", "value": "false"}])
    refused(rest.update_api_key, apiKey=key, patchOperations=[{"op": "replace", "path": "/none", "value": "x"}])
    lines = f"Name,Key,Enabled\ngolden-2,{'g' * 20},true\ngolden-3,short,\n"
    imported, = rest.import_api_keys(body=lines.encode(), format="csv")["ids"]
    plan = rest.create_usage_plan(name="golden", throttle={"burstLimit": 1, "rateLimit": 2.5},
                                  quota={"limit": 10, "offset": 0, "period": "DAY"}, tags={"team": "blue"})["id"]
    rest.get_usage_plan(usagePlanId=plan)
    refused(rest.get_usage_plan, usagePlanId="absent")
    rest.get_usage_plans()
    rest.update_usage_plan(usagePlanId=plan, patchOperations=[{"op": "replace", "path": "/quota/limit", "value": "20"}])
    refused(rest.update_usage_plan, usagePlanId=plan, patchOperations=[{"op": "add", "path": "/apiStages", "value": "absent:prod"}])
    rest.create_usage_plan_key(usagePlanId=plan, keyId=key, keyType="API_KEY")
    refused(rest.create_usage_plan_key, usagePlanId=plan, keyId=key, keyType="API_KEY")
    rest.get_usage_plan_key(usagePlanId=plan, keyId=key)
    rest.get_usage_plan_keys(usagePlanId=plan)
    rest.get_usage(usagePlanId=plan, startDate="2026-01-01", endDate="2026-01-02")
    rest.update_usage(usagePlanId=plan, keyId=key, patchOperations=[{"op": "replace", "path": "/remaining", "value": "5"}])
    arn = f"arn:aws:apigateway:us-east-1::/apikeys/{key}"
    rest.tag_resource(resourceArn=arn, tags={"a": "b"})
    rest.get_tags(resourceArn=arn)
    rest.untag_resource(resourceArn=arn, tagKeys=["a"])
    rest.delete_usage_plan_key(usagePlanId=plan, keyId=key)
    rest.delete_usage_plan(usagePlanId=plan)
    rest.delete_api_key(apiKey=key)
    rest.delete_api_key(apiKey=imported)
    refused(rest.get_rest_apis)
    return {key: "keyId", value: "value", plan: "usagePlanId", imported: "importedId"}


def connection_exchanges(server, recorder):
    """The management API of a WebSocket API, with a connection whose `$connect` needs nobody and whose id it is told."""
    aside = server.client("apigatewayv2", key="444444444444")
    made = aside.create_api(Name="golden", ProtocolType="WEBSOCKET", RouteSelectionExpression="$request.body.action")
    api = made["ApiId"]
    aside.create_route(ApiId=api, RouteKey="$connect")
    aside.create_stage(ApiId=api, StageName="prod", AutoDeploy=True)
    path = f"/_aws/execute-api/{api}/prod"
    managed = recorder.client("apigatewaymanagementapi", path=path)
    with websockets.sync.client.connect(f"ws://127.0.0.1:{server.port}{path}") as client:
        client.send("{}")
        connection = json.loads(client.recv(timeout=30))["connectionId"]
        managed.get_connection(ConnectionId=connection)
        managed.post_to_connection(ConnectionId=connection, Data=b"hello")
        assert client.recv(timeout=30) == "hello"
        managed.delete_connection(ConnectionId=connection)
        with pytest.raises(websockets.exceptions.ConnectionClosedOK):
            client.recv(timeout=30)
    refused(managed.post_to_connection, ConnectionId=connection, Data=b"hello")
    recorder.made_up |= {connection: "connectionId", api: "apiId"}


def logs_exchanges(logs):
    arn = "arn:aws:logs:us-east-1:444444444444:log-group:golden"
    logs.create_log_group(logGroupName="golden", tags={"team": "blue"})
    refused(logs.create_log_group, logGroupName="golden")
    refused(logs.create_log_group, logGroupName="no such name?")
    logs.put_retention_policy(logGroupName="golden", retentionInDays=7)
    logs.describe_log_groups(logGroupNamePrefix="golden")
    logs.delete_retention_policy(logGroupName="golden")
    logs.list_tags_for_resource(resourceArn=arn)
    logs.list_tags_log_group(logGroupName="golden")
    logs.tag_resource(resourceArn=arn, tags={"a": "b"})
    logs.untag_resource(resourceArn=arn, tagKeys=["a"])
    logs.create_log_stream(logGroupName="golden", logStreamName="s")
    now_ms = int(time.time() * 1000)
    logs.put_log_events(logGroupName="golden", logStreamName="s", logEvents=[{"timestamp": now_ms, "message": "one line"}])
    logs.describe_log_streams(logGroupName="golden")
    logs.get_log_events(logGroupName="golden", logStreamName="s", startFromHead=True)
    logs.filter_log_events(logGroupName="golden", filterPattern="line")
    refused(logs.describe_queries)
    logs.delete_log_stream(logGroupName="golden", logStreamName="s")
    logs.delete_log_group(logGroupName="golden")


@pytest.mark.parametrize("name", BUILT)
def test_a_built_operation_has_a_golden(exchanges, name):
    if name in ALWAYS_REFUSED:
        name = f"{name}.{ALWAYS_REFUSED[name]}"
    assert name in exchanges, f"{name} is built: add an exchange to this file, then run it with UPDATE=1"
    check(exchanges, name)


def test_errors_have_theirs_and_no_file_is_left_over(exchanges):
    for name in exchanges.keys() - set(BUILT):
        check(exchanges, name)
    left = {path.name.removesuffix(".http") for path in GOLDEN.glob("*")} - exchanges.keys()
    if UPDATE:
        for name in left:
            (GOLDEN / f"{name}.http").unlink()
    else:
        assert not left, f"no exchange for {sorted(left)}; remove the files"


def check(exchanges, name):
    path = GOLDEN / f"{name}.http"
    if UPDATE:
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(exchanges[name])
    assert path.is_file(), f"{path} is missing: run this file with UPDATE=1"
    assert exchanges[name] == path.read_text()
