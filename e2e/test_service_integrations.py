"""Service integrations of HTTP APIs: routes that are actions of queues, streams, buses and state machines."""

import base64
import http.client
import json
import threading
import urllib.parse
import xml.etree.ElementTree
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from botocore.exceptions import ClientError

from server import Server
from services import Services

ROLE = "arn:aws:iam::000000000000:role/api"


class Listener:
    """What services say that moto's server does not have: it remembers requests and answers as it was told."""

    def __init__(self):
        self.requests = []
        self.answer = (200, "application/json", b"{}")
        listener = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                listener.requests.append((self.command, self.path, self.headers, body))
                status, kind, answer = listener.answer
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("x-amzn-RequestId", "of-the-service")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_POST = do_GET

            def log_message(self, *_):
                pass

        self.listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.listener.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.listener.server_port}"
        threading.Thread(target=self.listener.serve_forever, daemon=True).start()

    def close(self):
        self.listener.shutdown()
        self.listener.server_close()


@pytest.fixture(scope="module")
def services():
    services = Services()
    yield services
    services.stop()


@pytest.fixture(scope="module")
def listener():
    listener = Listener()
    yield listener
    listener.close()


@pytest.fixture(scope="module")
def server(services, listener):
    arguments = services.configuration("sqs", "events", "kinesis")
    table = '[services.{}]\nendpoint = "{}"\naccess-key-id = "AKID"\nsecret-access-key = "secret"\n'
    with open(arguments[1], "a") as file:
        file.write(table.format("states", listener.url) + table.format("appconfig", listener.url))
    server = Server(arguments=arguments).start()
    yield server
    assert server.stop() == 0, server.log()


@pytest.fixture
def api(server, apis, name):
    class Api:
        id = apis.create_api(Name=name, ProtocolType="HTTP")["ApiId"]
        apis.create_stage(ApiId=id, StageName="$default", AutoDeploy=True)

        def integration(self, subtype, parameters, **more):
            given = dict(IntegrationType="AWS_PROXY", IntegrationSubtype=subtype, PayloadFormatVersion="1.0",
                         CredentialsArn=ROLE, RequestParameters=parameters) | more
            return apis.create_integration(ApiId=self.id, **given)

        def route(self, key, subtype, parameters, **more):
            made = self.integration(subtype, parameters, **more)
            apis.create_route(ApiId=self.id, RouteKey=key, Target=f"integrations/{made['IntegrationId']}")
            return made

        def call(self, method, path, body=None, headers=()):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            host = f"{self.id}.execute-api.localhost:{server.port}"
            connection.request(method, path, body=body, headers={"Host": host, **dict(headers)})
            answer = connection.getresponse()
            text = answer.read().decode()
            connection.close()
            return answer.status, answer.headers["content-type"], text

    return Api()


def element(text, name):
    """The text of the first element of this name."""
    return next((found.text for found in xml.etree.ElementTree.fromstring(text).iter() if found.tag.endswith("}" + name)), None)


def test_a_queue(services, apis, api, name):
    queues = services.client("sqs")
    url = queues.create_queue(QueueName=name)["QueueUrl"]
    made = api.route("POST /send", "SQS-SendMessage", {
        "QueueUrl": url, "MessageBody": "$request.body.message",
        "MessageAttributes": '{"who": {"DataType": "String", "StringValue": "${request.header.x-who}"}}'})
    assert (made["IntegrationSubtype"], made["CredentialsArn"], made.get("IntegrationUri")) == ("SQS-SendMessage", ROLE, None)
    api.route("GET /receive", "SQS-ReceiveMessage", {"QueueUrl": url, "MaxNumberOfMessages": "1", "WaitTimeSeconds": "1"})
    api.route("DELETE /messages", "SQS-DeleteMessage", {"QueueUrl": url, "ReceiptHandle": "$request.querystring.receipt"})
    api.route("DELETE /all", "SQS-PurgeQueue", {"QueueUrl": url})

    status, kind, text = api.call("POST", "/send", json.dumps({"message": "a & b: ü"}), {"x-who": "ali"})
    assert (status, kind.split(";")[0]) == (200, "text/xml"), text
    assert element(text, "MessageId")
    message, = queues.receive_message(QueueUrl=url, MessageAttributeNames=["All"], VisibilityTimeout=0)["Messages"]
    assert (message["Body"], message["MessageAttributes"]["who"]["StringValue"]) == ("a & b: ü", "ali")
    status, _, text = api.call("GET", "/receive")
    assert (status, element(text, "Body")) == (200, "a & b: ü")
    receipt = urllib.parse.quote(element(text, "ReceiptHandle"), safe="")
    assert api.call("DELETE", f"/messages?receipt={receipt}")[0] == 200
    api.call("POST", "/send", json.dumps({"message": {"n": 1}}))
    status, _, _ = api.call("DELETE", "/all")
    assert status == 200
    counts = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert (counts["ApproximateNumberOfMessages"], counts["ApproximateNumberOfMessagesNotVisible"]) == ("0", "0")
    # What a request lacks is the client's fault, and what the service says of a call is passed on.
    assert api.call("POST", "/send", "{}")[::2] == (400, '{"message":"Bad Request"}')
    apis.update_integration(ApiId=api.id, IntegrationId=made["IntegrationId"], RequestParameters={
        "QueueUrl": url + "-absent", "MessageAttributes": ""})
    assert "MessageAttributes" not in apis.get_integration(ApiId=api.id, IntegrationId=made["IntegrationId"])["RequestParameters"]
    status, _, text = api.call("POST", "/send", json.dumps({"message": "x"}))
    assert (status, element(text, "Code") or text) == (400, "AWS.SimpleQueueService.NonExistentQueue"), text


def test_a_stream_and_a_bus(services, api, name):
    streams = services.client("kinesis")
    streams.create_stream(StreamName=name, ShardCount=1)
    streams.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
    api.route("POST /records/{key}", "Kinesis-PutRecord", {
        "StreamName": name, "Data": "$request.body.data", "PartitionKey": "$request.path.key", "Region": "us-east-1"})
    status, _, text = api.call("POST", "/records/k", json.dumps({"data": base64.b64encode(b"hello").decode()}))
    assert status == 200 and json.loads(text)["ShardId"] == "shardId-000000000000"
    shard = streams.get_shard_iterator(StreamName=name, ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON")
    record, = streams.get_records(ShardIterator=shard["ShardIterator"])["Records"]
    assert (record["Data"], record["PartitionKey"]) == (b"hello", "k")

    events, queues = services.client("events"), services.client("sqs")
    url = queues.create_queue(QueueName=name)["QueueUrl"]
    queue = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))
    events.put_targets(Rule=name, Targets=[{"Id": "q", "Arn": queue}])
    api.route("PUT /events", "EventBridge-PutEvents", {
        "Detail": "$request.body", "DetailType": "seen", "Source": name, "Time": "2026-01-02T03:04:05Z", "Resources": "a,b"})
    status, _, text = api.call("PUT", "/events", '{"n": 1}')
    assert status == 200 and json.loads(text)["FailedEntryCount"] == 0, text
    message, = queues.receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"]
    event = json.loads(message["Body"])
    assert (event["detail"], event["detail-type"], event["resources"]) == ({"n": 1}, "seen", ["a", "b"])
    assert event["time"].startswith("2026-01-02T03:04:05")


def test_state_machines_and_configurations(listener, apis, api):
    machine = "arn:aws:states:us-east-1:000000000000:stateMachine:m"
    api.route("POST /start", "StepFunctions-StartExecution", {"StateMachineArn": machine, "Input": "$request.body"})
    api.route("POST /sync", "StepFunctions-StartSyncExecution", {"StateMachineArn": machine, "Name": "$context.requestId"})
    api.route("DELETE /executions/{id}", "StepFunctions-StopExecution", {"ExecutionArn": "${request.path.id}:x", "Cause": "told to"})
    api.route("GET /settings/{name}", "AppConfig-GetConfiguration", {
        "Application": "app", "Environment": "env", "Configuration": "$request.path.name", "ClientId": "$context.identity.sourceIp"})

    def last(method, path, body=None):
        answer = api.call(method, path, body)
        return answer, listener.requests[-1]

    listener.answer = (200, "application/x-amz-json-1.0", b'{"executionArn": "e"}')
    answer, (_, _, headers, body) = last("POST", "/start", '{"a": 1}')
    assert answer == (200, "application/x-amz-json-1.0", '{"executionArn": "e"}')
    assert json.loads(body) == {"stateMachineArn": machine, "input": '{"a": 1}'}
    assert headers["x-amz-target"] == "AWSStepFunctions.StartExecution" and "/us-east-1/states/" in headers["Authorization"]
    _, (_, _, headers, body) = last("POST", "/sync")
    assert headers["x-amz-target"] == "AWSStepFunctions.StartSyncExecution" and set(json.loads(body)) == {"stateMachineArn", "name"}
    _, (_, _, _, body) = last("DELETE", "/executions/one")
    assert json.loads(body) == {"executionArn": "one:x", "cause": "told to"}
    listener.answer = (400, "application/x-amz-json-1.0", b'{"__type": "ExecutionDoesNotExist"}')
    assert last("DELETE", "/executions/one")[0] == (400, "application/x-amz-json-1.0", '{"__type": "ExecutionDoesNotExist"}')
    listener.answer = (200, "text/yaml", b"a: 1")
    answer, (_, path, _, _) = last("GET", "/settings/a%20b")
    assert answer == (200, "text/yaml", "a: 1")
    assert path == "/applications/app/environments/env/configurations/a%20b?client_id=127.0.0.1"
    count = len(listener.requests)
    assert api.call("GET", "/settings/..%2f..")[0] == 200 and listener.requests[-1][1].endswith("/..%2F..?client_id=127.0.0.1")
    assert api.call("GET", "/settings/%2e%2e")[0] == 400 and len(listener.requests) == count + 1


def test_what_is_refused(server, apis, api):
    send = {"QueueUrl": "http://q", "MessageBody": "$request.body"}

    def refused(subtype="SQS-SendMessage", parameters=send, code="BadRequestException", **more):
        with pytest.raises(ClientError) as error:
            api.integration(subtype, parameters, **more)
        assert error.value.response["Error"]["Code"] == code, error.value.response
        return error.value.response["Error"]["Message"]

    assert refused(parameters={"QueueUrl": "$nothing", "Other": "x"}) == (
        "Invalid selection expression specified: Validation Result: warnings : [], errors : [Invalid destination: Other "
        "specified, Invalid source: $nothing specified for destination: QueueUrl, Required destination: MessageBody is not "
        "specified]")
    refused(subtype="SNS-Publish")
    refused(CredentialsArn="")
    refused(CredentialsArn="arn:aws:iam::111111111111:role/api")
    refused(CredentialsArn="arn:aws:iam::*:user/*", code="NotImplementedException")
    refused(PayloadFormatVersion="2.0")
    refused(IntegrationUri="arn:aws:lambda:us-east-1:000000000000:function:f")
    refused(IntegrationType="HTTP_PROXY", IntegrationMethod="GET", IntegrationUri="http://h")
    # A definition says the same.
    made = api.route("POST /", "SQS-SendMessage", send, TimeoutInMillis=5000)
    text = apis.export_api(ApiId=api.id, Specification="OAS30", OutputType="YAML")["body"].read().decode()
    copy = apis.import_api(Body=text, FailOnWarnings=True)["ApiId"]
    kept, = apis.get_integrations(ApiId=copy)["Items"]
    for one in (made, kept):
        one.pop("IntegrationId"), one.pop("ResponseMetadata", None)
    assert kept == made
