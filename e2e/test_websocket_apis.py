"""WebSocket APIs: the control plane with boto3, connections with a client library, and raw frames where it is too polite."""

import http.client
import json
import os
import pathlib
import re
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
import websockets.exceptions
import websockets.sync.client
from botocore.exceptions import ClientError

from packages import BOTO3, create, modules, package_of
from server import Server
from waiting import until
from websocket_api import CODE, Api, api, arn_of  # noqa: F401 (fixtures)

def test_every_default_of_the_control_plane(server, apis, name, arn_of):
    made = apis.create_api(Name=name, ProtocolType="WEBSOCKET", RouteSelectionExpression="$request.body.action")
    api = made["ApiId"]
    assert made["ApiEndpoint"] == f"ws://{api}.execute-api.localhost:{server.port}"
    assert made["ProtocolType"] == "WEBSOCKET" and made["RouteSelectionExpression"] == "$request.body.action"
    assert made["ApiKeySelectionExpression"] == "$request.header.x-api-key"
    assert made["DisableExecuteApiEndpoint"] is False and made["Tags"] == {} and made["IpAddressType"] == "ipv4"
    updated = apis.update_api(ApiId=api, RouteSelectionExpression="${request.body.service}/${request.body.action}")
    assert updated["RouteSelectionExpression"] == "${request.body.service}/${request.body.action}"
    integration = apis.create_integration(ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=arn_of("echo"))
    integration.pop("ResponseMetadata")
    identifier = integration.pop("IntegrationId")
    assert integration == {
        "ConnectionType": "INTERNET", "IntegrationMethod": "POST", "IntegrationType": "AWS_PROXY",
        "IntegrationResponseSelectionExpression": "${integration.response.statuscode}",
        "IntegrationUri": arn_of("echo"), "PassthroughBehavior": "WHEN_NO_MATCH", "PayloadFormatVersion": "1.0",
        "TimeoutInMillis": 29000}
    route = apis.create_route(ApiId=api, RouteKey="$connect", Target=f"integrations/{identifier}")
    route.pop("ResponseMetadata"), route.pop("RouteId")
    assert route == {"ApiKeyRequired": False, "AuthorizationType": "NONE", "RouteKey": "$connect",
                     "Target": f"integrations/{identifier}"}
    for arguments, code in [
        (dict(RouteKey="$other"), "BadRequestException"),
        (dict(RouteKey="$connect"), "ConflictException"),
        (dict(RouteKey="$disconnect", ApiKeyRequired=True), "NotImplementedException"),
    ]:
        with pytest.raises(ClientError) as refused:
            apis.create_route(ApiId=api, **arguments)
        assert refused.value.response["Error"]["Code"] == code, arguments
    with pytest.raises(ClientError) as refused:
        apis.create_api(Name=name, ProtocolType="WEBSOCKET")
    assert refused.value.response["Error"]["Code"] == "BadRequestException"


def test_the_events_of_a_connection(api, server, functions, logs):
    api.apis.update_stage(ApiId=api.id, StageName="dev", StageVariables={"colour": "blue"})
    api.route("$connect", "connect")
    api.route("$default", "echo", answers=True)
    with api.connect("?a=1&a=2", additional_headers={"X-Thing": "v"}, user_agent_header="e2e") as client:
        client.send('{"action":"none"}')
        event = json.loads(client.recv(timeout=60))
    context = event.pop("requestContext")
    assert event == {"body": '{"action":"none"}', "isBase64Encoded": False, "stageVariables": {"colour": "blue"}}
    assert re.fullmatch(r"[\w-]{15}=", context["connectionId"]) and re.fullmatch(r"[\w-]{15}=", context["messageId"])
    assert context["requestId"] == context["extendedRequestId"]
    assert re.fullmatch(r"\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000", context["requestTime"])
    assert context["connectedAt"] <= context["requestTimeEpoch"]
    assert context["identity"] == {"userAgent": "e2e", "sourceIp": "127.0.0.1"}
    for member, value in {"routeKey": "$default", "eventType": "MESSAGE", "messageDirection": "IN", "stage": "dev",
                          "apiId": api.id, "domainName": f"{api.id}.execute-api.localhost"}.items():
        assert context[member] == value, member


def test_the_host_form_and_a_connect_event(api, server):
    api.route("$connect", "shown")
    api.route("$default")
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        api.connect("?a=1&a=2", additional_headers={"X-Thing": "v"}, user_agent_header="e2e")
    event = json.loads(refused.value.response.body)
    assert event["queryStringParameters"] == {"a": "2"} and event["isBase64Encoded"] is False
    assert event["multiValueQueryStringParameters"] == {"a": ["1", "2"]} and "body" not in event
    headers = event["headers"]
    assert headers["x-thing"] == "v" and headers["User-Agent"] == "e2e" and headers["X-Forwarded-For"] == "127.0.0.1"
    assert headers["Sec-WebSocket-Version"] == "13" and event["multiValueHeaders"]["Sec-WebSocket-Version"] == ["13"]
    context = event["requestContext"]
    assert context["eventType"] == "CONNECT" and context["routeKey"] == "$connect" and "messageId" not in context
    connect = next(r for r in api.apis.get_routes(ApiId=api.id)["Items"] if r["RouteKey"] == "$connect")
    api.apis.update_route(ApiId=api.id, RouteId=connect["RouteId"], Target="")
    sock = socket.create_connection(("127.0.0.1", server.port))
    host = f"{api.id}.execute-api.localhost:{server.port}"
    with websockets.sync.client.connect(f"ws://{host}/dev", sock=sock, compression=None) as client:
        client.send("x")
        assert json.loads(client.recv(timeout=60))["message"] == "Internal server error"
    for path in ("/", "/other", "/dev/more"):
        with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
            sock = socket.create_connection(("127.0.0.1", server.port))
            websockets.sync.client.connect(f"ws://{host}{path}", sock=sock)
        assert refused.value.response.status_code == 403, path


def test_connect_decides_the_handshake(api):
    api.route("$connect", "connect")
    api.route("$default", "echo")
    with api.connect(subprotocols=["chat", "other"]) as client:
        assert client.subprotocol == "chat"
    with api.connect() as client:
        assert client.subprotocol is None
    for status in (401, 403, 404, 500, 302):
        with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
            api.connect(f"?status={status}")
        assert refused.value.response.status_code == status
    connect = next(r for r in api.apis.get_routes(ApiId=api.id)["Items"] if r["RouteKey"] == "$connect")
    failing = api.apis.create_integration(ApiId=api.id, IntegrationType="AWS_PROXY", IntegrationUri=api.arn_of("fail"))
    api.apis.update_route(ApiId=api.id, RouteId=connect["RouteId"], Target=f"integrations/{failing['IntegrationId']}")
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        api.connect()
    assert refused.value.response.status_code == 502
    assert json.loads(refused.value.response.body)["message"] == "Internal server error"


def test_an_authorizer_decides_and_is_remembered(api):
    authorizer = api.apis.create_authorizer(
        ApiId=api.id, Name="a", AuthorizerType="REQUEST", IdentitySource=["route.request.querystring.token"],
        AuthorizerUri=f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{api.arn_of('authorize')}/invocations")
    connect = api.route("$connect", "connect")
    guarded = api.apis.update_route(ApiId=api.id, RouteId=connect["RouteId"], AuthorizationType="CUSTOM",
                                    AuthorizerId=authorizer["AuthorizerId"])
    assert guarded["AuthorizationType"] == "CUSTOM" and guarded["AuthorizerId"] == authorizer["AuthorizerId"]
    api.route("$default", "echo", answers=True)
    for query, status in [("", 401), ("?token=unauthorized", 401), ("?token=deny", 403), ("?token=broken", 500)]:
        with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
            api.connect(query)
        assert refused.value.response.status_code == status, query
    with api.connect("?token=allow") as client:
        client.send("x")
        context = json.loads(client.recv(timeout=60))["requestContext"]
        assert context["authorizer"] == {"principalId": "me", "level": "7", "vip": "true"}
    with pytest.raises(ClientError) as refused:
        api.apis.create_route(ApiId=api.id, RouteKey="x", AuthorizationType="AWS_IAM")
    assert refused.value.response["Error"]["Code"] == "BadRequestException"
    api.apis.update_route(ApiId=api.id, RouteId=connect["RouteId"], AuthorizationType="AWS_IAM")
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        api.connect()
    assert refused.value.response.status_code == 403
    request = botocore.awsrequest.AWSRequest("GET", f"http://127.0.0.1:{api.server.port}{api.path}")
    keys = botocore.credentials.Credentials("test", "test")
    botocore.auth.SigV4Auth(keys, "execute-api", "us-east-1").add_auth(request)
    signed = {name: value for name, value in request.headers.items() if name in ("Authorization", "X-Amz-Date")}
    with api.connect(additional_headers=signed) as client:
        client.send("x")
        assert json.loads(client.recv(timeout=60))["body"] == "x"


def test_routes_are_selected_and_answer_only_when_told_to(api):
    api.route("join", "echo", answers=True)
    api.route("quiet", "echo")
    api.route("broken", "fail")
    with api.connect() as client:
        client.send('{"action":"quiet"}')
        client.send('{"action":"join"}')
        assert json.loads(client.recv(timeout=60))["requestContext"]["routeKey"] == "join"
        for text in ('{"action":"unknown"}', "no JSON", '{"action":"$connect"}'):
            client.send(text)
            answer = json.loads(client.recv(timeout=60))
            assert answer["message"] == "Forbidden" and set(answer) == {"message", "connectionId", "requestId"}
        client.send('{"action":"broken"}')
        assert json.loads(client.recv(timeout=60))["message"] == "Internal server error"
        api.route("$default", "echo", answers=True)
        client.send("no JSON")
        event = json.loads(client.recv(timeout=60))
        assert event["body"] == "no JSON" and event["requestContext"]["routeKey"] == "$default"


def test_disconnect_is_delivered_once(api, logs):
    api.route("$disconnect", "note")
    api.route("$default")
    ids = []

    def one(end):
        client = api.connect()
        client.send("?")
        ids.append(json.loads(client.recv(timeout=60))["connectionId"])
        end(client)

    one(lambda client: client.close(4001, "bye"))
    one(lambda client: client.socket.close())
    one(lambda client: api.management().delete_connection(ConnectionId=ids[-1]))

    def noted():
        try:
            found = logs.filter_log_events(logGroupName="/aws/lambda/ws-note", filterPattern="NOTED")["events"]
        except ClientError:
            return []
        contexts = [json.loads(event["message"].split("NOTED ")[1]) for event in found]
        return [context for context in contexts if context["connectionId"] in ids]

    contexts = {context["connectionId"]: context for context in until(lambda: len(noted()) >= 3 and noted())}
    first, second, third = (contexts[identifier] for identifier in ids)
    assert (first["disconnectStatusCode"], first["disconnectReason"]) == (4001, "bye")
    assert second["disconnectStatusCode"] == 1006
    assert third["disconnectStatusCode"] == 1000
    for context in contexts.values():
        assert context["eventType"] == "DISCONNECT" and context["routeKey"] == "$disconnect"
    assert len(noted()) == 3


def test_the_management_api(api, server):
    api.route("$connect", "connect")
    api.route("$default")
    manage = api.management()
    with api.connect(user_agent_header="e2e") as client:
        client.send("?")
        connection = json.loads(client.recv(timeout=60))["connectionId"]
        manage.post_to_connection(ConnectionId=connection, Data="grüße".encode())
        assert client.recv(timeout=60) == "grüße"
        seen = manage.get_connection(ConnectionId=connection)
        assert seen["Identity"] == {"SourceIp": "127.0.0.1", "UserAgent": "e2e"}
        assert seen["ConnectedAt"] <= seen["LastActiveAt"]
        # By the host form too, with the at sign encoded as some clients do.
        other = server.client("apigatewaymanagementapi", path=f"/_aws/execute-api/{api.id}/other")
        with pytest.raises(ClientError) as gone:
            other.post_to_connection(ConnectionId=connection, Data=b"x")
        assert gone.value.response["Error"]["Code"] == "GoneException"
        assert gone.value.response["ResponseMetadata"]["HTTPStatusCode"] == 410
        stranger = server.client("apigatewaymanagementapi", key="111111111111", path=api.path)
        with pytest.raises(ClientError) as forbidden:
            stranger.post_to_connection(ConnectionId=connection, Data=b"x")
        assert forbidden.value.response["Error"]["Code"] == "ForbiddenException"
        with pytest.raises(ClientError) as large:
            manage.post_to_connection(ConnectionId=connection, Data=b"x" * 131_073)
        assert large.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413
        manage.post_to_connection(ConnectionId=connection, Data=b"x" * 131_072)
        assert client.recv(timeout=60) == "x" * 131_072
        manage.delete_connection(ConnectionId=connection)
        with pytest.raises(websockets.exceptions.ConnectionClosed) as closed:
            client.recv(timeout=60)
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1000, "Connection Closed Normally")
    for identifier in (connection, "bm8gc3VjaCBpZAo=", "x"):
        for call in (manage.get_connection, manage.delete_connection):
            with pytest.raises(ClientError) as gone:
                call(ConnectionId=identifier)
            assert gone.value.response["Error"]["Code"] == "GoneException", identifier
    with pytest.raises(urllib.error.HTTPError) as unsigned:
        urllib.request.urlopen(f"{server.url}{api.path}/@connections/x", timeout=30)
    assert unsigned.value.code == 403 and b"Missing Authentication Token" in unsigned.value.read()


class Back(BaseHTTPRequestHandler):
    """A server that answers what it was sent, and the connection that it was told of."""

    bodies = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.bodies.append(body)
        answer = body + b"!" + self.headers.get("x-connection", "").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


@pytest.fixture
def back():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Back)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/in"
    server.shutdown()
    server.server_close()


INSIDE = """
import os
import boto3

def handler(event, context):
    context = event["requestContext"]
    # The client finds the server at AWS_ENDPOINT_URL; the id is enough. So it does below the path of the stage.
    plain = boto3.client("apigatewaymanagementapi")
    plain.post_to_connection(ConnectionId=context["connectionId"], Data=b"by the server's address")
    stage = f"{os.environ['AWS_ENDPOINT_URL']}/_aws/execute-api/{context['apiId']}/{context['stage']}"
    boto3.client("apigatewaymanagementapi", endpoint_url=stage).post_to_connection(
        ConnectionId=context["connectionId"], Data=b"by the stage's address")
    return {"statusCode": 200}
"""


def test_a_function_talks_to_its_connection(api, functions):
    runtime = f"python{sys.version_info.major}.{sys.version_info.minor}"
    arn = create(functions, "ws-inside", package_of({"app.py": INSIDE, **modules(BOTO3)}), runtime, MemorySize=512,
                 Timeout=60)["FunctionArn"]
    functions.add_permission(FunctionName=arn, StatementId="gateway", Action="lambda:InvokeFunction",
                             Principal="apigateway.amazonaws.com", SourceArn="arn:aws:execute-api:us-east-1:000000000000:*")
    api.route("$default", IntegrationType="AWS_PROXY", IntegrationUri=arn)
    with api.connect() as client:
        client.send("x")
        assert client.recv(timeout=60) == "by the server's address"
        assert client.recv(timeout=60) == "by the stage's address"


def test_integrations_other_than_functions_as_proxies(api, back):
    url = back
    api.route("proxied", answers=True, IntegrationType="HTTP_PROXY", IntegrationMethod="POST", IntegrationUri=url,
              RequestParameters={"integration.request.header.x-connection": "context.connectionId"})
    api.route("templated", answers=True, IntegrationType="HTTP", IntegrationMethod="POST", IntegrationUri=url,
              RequestTemplates={"$default": "fixed"})
    api.apis.create_integration_response(ApiId=api.id, IntegrationId=api.integration, IntegrationResponseKey="/2\\d\\d/",
                                         ResponseTemplates={"$default": "it went well"})
    api.route("mock", answers=True, IntegrationType="MOCK", TemplateSelectionExpression="200",
              RequestTemplates={"200": '{"statusCode":200}'})
    api.apis.create_integration_response(ApiId=api.id, IntegrationId=api.integration, IntegrationResponseKey="200",
                                         TemplateSelectionExpression="x", ResponseTemplates={"x": '{"mock":true}'})
    api.route("called", answers=True, IntegrationType="AWS", IntegrationUri=api.arn_of("plain"))
    with api.connect() as client:
        client.send('{"action":"mock"}')
        assert client.recv(timeout=60) == '{"mock":true}'
        client.send('{"action":"proxied"}')
        body, connection = client.recv(timeout=60).split("!")
        assert body == '{"action":"proxied"}' and len(connection) == 16
        client.send('{"action":"templated"}')
        assert client.recv(timeout=60) == "it went well"
        client.send('{"action":"called","n":1}')
        assert json.loads(client.recv(timeout=60)) == {"got": {"action": "called", "n": 1}}
    assert Back.bodies[-1] == b"fixed"


def test_stage_throttling(api):
    api.route("$default", "echo", answers=True)
    api.apis.update_stage(ApiId=api.id, StageName="dev", DefaultRouteSettings={"ThrottlingRateLimit": 0.001, "ThrottlingBurstLimit": 2})
    with api.connect() as client:
        for _ in range(3):
            client.send("x")
        answers = [json.loads(client.recv(timeout=60)) for _ in range(3)]
    assert sorted("message" in answer for answer in answers) == [False, False, True]
    assert [answer["message"] for answer in answers if "message" in answer] == ["Too Many Requests"]


def test_a_rate_for_the_account_holds_for_handshakes_and_messages():
    server = Server(arguments=["--api-rate", "1", "--api-burst", "3"]).start()
    api = Api(server, server.client("apigatewayv2"), None, "of-an-account")
    api.route("$default", answers=True, IntegrationType="MOCK", RequestTemplates={"$default": "{statusCode: 200}"})
    with api.connect() as client:
        messages = []
        for number in range(20):
            client.send(str(number))
        while "Too Many Requests" not in messages:
            messages.append(json.loads(client.recv(60)).get("message"))
        with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
            for _ in range(20):
                api.connect().close()
        assert refused.value.response.status_code == 429
    assert server.stop() == 0, server.log()


@pytest.mark.parametrize("frames, code", [
    ([(0x82, b"binary")], 1003),
    ([(0x81, b"x" * 32_769)], 1009),
    ([(0x01, b"x" * 32_768)] + [(0x00, b"x" * 32_768)] * 3 + [(0x80, b"x")], 1009),
    ([(0xC1, b"reserved")], 1002),
    ([(0x83, b"")], 1002),
    ([(0x80, b"no start")], 1002),
    ([(0x01, b"one"), (0x81, b"two")], 1002),
    ([(0x89, b"x" * 126)], 1002),
    ([(0x81, b"\xff\xfe")], 1007),
    ([(0x88, struct.pack("!H", 1000) + b"bye")], 1000),
    ([(0x88, struct.pack("!H", 4321))], 4321),
    ([(0x88, b"")], None),
    ([(0x88, struct.pack("!H", 1005))], 1002),
])
def test_close_codes(shared, frames, code):
    raw = shared.raw()
    for first, payload in frames:
        raw.send(first, payload)
    assert raw.close_code() == code


@pytest.fixture(scope="module")
def shared(server, apis, arn_of):
    """An API for tests that only look at frames: every message is answered as Forbidden."""
    return Api(server, apis, arn_of, "frames")


def test_pings_fragments_and_pieces(shared):
    raw = shared.raw()
    raw.send(0x89, b"are you there")
    assert raw.frame() == (0x8A, b"are you there")
    raw.send(0x01, "grü".encode()[:-1])
    raw.send(0x89, b"between")
    raw.send(0x80, "ü".encode()[1:] + b"sse")
    assert raw.frame() == (0x8A, b"between")
    first, payload = raw.frame()
    assert first == 0x81 and json.loads(payload)["message"] == "Forbidden"
    for byte in bytes([0x81, 0x81, 0, 0, 0, 0]) + b"x":
        raw.socket.sendall(bytes([byte]))
    assert json.loads(raw.frame()[1])["message"] == "Forbidden"
    raw.send(0x81, b"unmasked", masked=False)
    assert raw.close_code() == 1002


@pytest.mark.parametrize("parts", [
    [(0x81, "κόσμε".encode())],
    [(0x81, b"")],
    [(0x01, b""), (0x00, b""), (0x80, b"")],
    [(0x01, "κόσμε".encode()[:3]), (0x80, "κόσμε".encode()[3:])],
    [(0x01, b"\xf4\x8f\xbf"), (0x00, b"\xbf"), (0x8A, b"unasked"), (0x80, b"")],
    [(0x81, b"x" * 125)], [(0x81, b"x" * 126)], [(0x81, b"x" * 32_768)],
    [(0x01, b"x" * 32_768)] + [(0x00, b"x" * 32_768)] * 2 + [(0x80, b"x" * 32_768)],
])
def test_messages_that_are_taken(shared, parts):
    raw = shared.raw()
    for first, payload in parts:
        raw.send(first, payload)
    assert json.loads(raw.frame()[1])["message"] == "Forbidden"
    raw.send(0x88, struct.pack("!H", 1000))
    assert raw.close_code() == 1000


@pytest.mark.parametrize("frames, code", [
    # A sequence that is cut at the end of a message, one that is too long, a surrogate, and more than there are characters.
    ([(0x01, b"\xce"), (0x80, b"x")], 1007),
    ([(0x01, b"ab\xce"), (0x80, b"")], 1007),
    ([(0x81, b"\xc0\xaf")], 1007),
    ([(0x81, b"\xed\xa0\x80")], 1007),
    ([(0x81, b"\xf4\x90\x80\x80")], 1007),
    ([(0x88, struct.pack("!H", 1000) + b"\xff")], 1007),
    ([(0x88, b"\x03")], 1002),
    ([(0x88, struct.pack("!H", 999))], 1002),
    ([(0x88, struct.pack("!H", 1004))], 1002),
    ([(0x88, struct.pack("!H", 1006))], 1002),
    ([(0x88, struct.pack("!H", 2999))], 1002),
    ([(0x88, struct.pack("!H", 3000))], 3000),
    ([(0x88, struct.pack("!H", 1000) + b"x" * 124)], 1002),
    ([(0x09, b"a fragment of a ping")], 1002),
    ([(0x8B, b"")], 1002),
    ([(0x91, b"reserved")], 1002),
])
def test_more_close_codes(shared, frames, code):
    test_close_codes(shared, frames, code)


def test_nobody_posts_before_connect_has_returned(api, functions):
    """The function of `$connect` tries to, with the id that it is told; the handshake's answer says what came of it."""
    runtime = f"python{sys.version_info.major}.{sys.version_info.minor}"
    arn = create(functions, "ws-early", package_of({"app.py": EARLY, **modules(BOTO3)}), runtime, MemorySize=512, Timeout=60)["FunctionArn"]
    functions.add_permission(FunctionName=arn, StatementId="gateway", Action="lambda:InvokeFunction",
                             Principal="apigateway.amazonaws.com", SourceArn="arn:aws:execute-api:us-east-1:000000000000:*")
    api.route("$connect", IntegrationType="AWS_PROXY", IntegrationUri=arn)
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        api.connect()
    assert refused.value.response.status_code == 410


EARLY = """
import boto3
from botocore.exceptions import ClientError

def handler(event, context):
    try:
        boto3.client("apigatewaymanagementapi").post_to_connection(ConnectionId=event["requestContext"]["connectionId"], Data=b"x")
    except ClientError as error:
        return {"statusCode": error.response["ResponseMetadata"]["HTTPStatusCode"]}
    return {"statusCode": 200}
"""


def test_paths_of_the_management_api_in_any_encoding(shared, server):
    raw = shared.raw()
    raw.send(0x81, b"?")
    connection = json.loads(raw.frame()[1])["connectionId"]
    signer = botocore.auth.SigV4Auth(botocore.credentials.Credentials("000000000000", "x"), "execute-api", "us-east-1")
    for at, identifier in (("@", connection.replace("=", "%3D")), ("%40", connection.replace("=", "%3D")), ("@", connection)):
        url = f"{server.url}{shared.path}/{at}connections/{identifier}"
        signed = botocore.awsrequest.AWSRequest("POST", url, data=b"hello")
        signer.add_auth(signed)
        request = urllib.request.Request(url, b"hello", dict(signed.headers), method="POST")
        assert urllib.request.urlopen(request, timeout=60).status == 200, url
        assert raw.frame() == (0x81, b"hello"), url
    raw.socket.close()


def test_many_post_to_one_connection(shared):
    """From several threads, large and small: whole messages, each once, and each sender's in its order."""
    raw = shared.raw()
    raw.send(0x81, b"?")
    connection = json.loads(raw.frame()[1])["connectionId"]

    def post(sender):
        manage = shared.management()
        for number in range(20):
            size = 30_000 if number % 3 == 0 else 10
            while True:
                try:
                    manage.post_to_connection(ConnectionId=connection, Data=f"{sender} {number} ".encode() + b"x" * size)
                    break
                except ClientError as error:
                    assert error.response["Error"]["Code"] == "LimitExceededException"

    senders = [threading.Thread(target=post, args=(sender,)) for sender in range(4)]
    for sender in senders:
        sender.start()
    seen = {str(sender): [] for sender in range(4)}
    for _ in range(80):
        first, payload = raw.frame()
        sender, number, filling = payload.decode().split(" ")
        assert first == 0x81 and set(filling) == {"x"}
        seen[sender].append(int(number))
    for sender in senders:
        sender.join()
    assert all(numbers == list(range(20)) for numbers in seen.values()), seen
    raw.socket.close()


def test_what_is_no_handshake(shared, server):
    for headers, status in [
        ({"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "8", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}, 426),
        ({"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}, 400),
        ({"Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}, 400),
    ]:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("GET", shared.path, headers=headers)
        assert connection.getresponse().status == status, headers
        connection.close()


def test_a_slow_reader_harms_no_one(shared):
    manage = shared.management()
    slow = shared.raw()
    slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.send(0x81, b"?")
    connection = json.loads(slow.frame()[1])["connectionId"]
    full = None
    for _ in range(400):
        try:
            manage.post_to_connection(ConnectionId=connection, Data=b"x" * 131_072)
        except ClientError as error:
            full = error.response
            break
    assert full and full["Error"]["Code"] == "LimitExceededException" and full["ResponseMetadata"]["HTTPStatusCode"] == 429
    with shared.connect() as other:
        other.send("?")
        assert json.loads(other.recv(timeout=60))["message"] == "Forbidden"
    # It is whole once it reads.
    received = 0
    while received < 131_072:
        received += len(slow.frame()[1])
    slow.socket.close()


def test_many_connections(shared, server):
    before = server.health()["requests"]["connections"]
    raws = [shared.raw() for _ in range(300)]
    until(lambda: server.health()["requests"]["connections"] >= before + 300)
    for raw in raws:
        raw.send(0x81, b"?")
    ids = {json.loads(raw.frame()[1])["connectionId"] for raw in raws}
    assert len(ids) == 300
    for raw in raws:
        raw.socket.close()
    until(lambda: server.health()["requests"]["connections"] <= before)


def test_the_client_library_of_node(shared, node, tmp_path):
    modules = pathlib.Path(os.environ.get("GATEMILL_NODE_MODULES", pathlib.Path(__file__).parent / "node_modules"))
    (tmp_path / "node_modules").symlink_to(modules)
    (tmp_path / "client.mjs").write_text("""
import WebSocket from 'ws';
const socket = new WebSocket(process.env.URL);
socket.on('open', () => socket.ping('here'));
socket.on('pong', (data) => { if (String(data) !== 'here') process.exit(2); socket.send('ü'.repeat(10000)); });
socket.on('message', (data, isBinary) => {
  if (isBinary || JSON.parse(data).message !== 'Forbidden') process.exit(3);
  socket.close(4000, 'done');
});
socket.on('close', (code, reason) => { console.log(code, String(reason)); });
""")
    url = f"ws://127.0.0.1:{shared.server.port}{shared.path}"
    done = subprocess.run(["node", "client.mjs"], cwd=tmp_path, env={"PATH": os.environ["PATH"], "URL": url},
                          capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, "4000 done"), done.stdout + done.stderr


def test_a_stop_and_a_kill_still_deliver_disconnect(python, tmp_path):
    server = Server().start()
    functions, apis, logs = server.client("lambda"), server.client("apigatewayv2"), server.client("logs")
    arn = create(functions, "ws-note", CODE, python, handler="app.note")["FunctionArn"]
    functions.add_permission(FunctionName=arn, StatementId="gateway", Action="lambda:InvokeFunction",
                             Principal="apigateway.amazonaws.com", SourceArn="arn:aws:execute-api:us-east-1:000000000000:*")
    api = Api(server, apis, lambda handler: arn, "restarts")
    api.route("$disconnect", "note")

    def connected():
        raw = api.raw()
        raw.send(0x81, b"?")
        return raw, json.loads(raw.frame()[1])["connectionId"]

    stopped, first = connected()
    waiting = threading.Thread(target=server.stop)
    waiting.start()
    assert stopped.frame() == (0x88, struct.pack("!H", 1001) + b"Going away")
    stopped.send(0x88, struct.pack("!H", 1001))
    waiting.join()
    server.start()
    killed, second = connected()
    server.kill()
    server.start()

    def noted():
        found = server.client("logs").filter_log_events(logGroupName="/aws/lambda/ws-note", filterPattern="NOTED")["events"]
        return [json.loads(event["message"].split("NOTED ")[1]) for event in found]

    contexts = until(lambda: len(noted()) >= 2 and noted())
    assert [(c["connectionId"], c["disconnectStatusCode"]) for c in contexts] == [(first, 1001), (second, 1006)]
    assert server.stop() == 0, server.log()


def test_a_domain_of_ones_own(api, server, apis, name):
    """The stage is the mapping's, for clients and for `@connections`; a domain is for WebSocket APIs or for others."""
    domain = f"{name.lower().replace('_', '-')}.example"
    apis.create_domain_name(DomainName=domain)
    made = apis.create_api_mapping(DomainName=domain, ApiId=api.id, Stage="dev", ApiMappingKey="live")
    http_api = apis.create_api(Name=name, ProtocolType="HTTP")["ApiId"]
    apis.create_stage(ApiId=http_api, StageName="$default", AutoDeploy=True)
    with pytest.raises(ClientError) as refused:
        apis.create_api_mapping(DomainName=domain, ApiId=http_api, Stage="$default", ApiMappingKey="page")
    assert refused.value.response["Error"]["Code"] == "BadRequestException"
    with pytest.raises(ClientError) as refused:
        apis.create_routing_rule(DomainName=domain, Priority=1, Conditions=[], Actions=[{"InvokeApi": {"ApiId": api.id, "Stage": "dev"}}])
    assert refused.value.response["Error"]["Code"] == "BadRequestException"
    api.route("$default", "echo", answers=True)

    def connect(path):
        plain = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        return websockets.sync.client.connect(f"ws://{domain}:{server.port}{path}", sock=plain, open_timeout=60, compression=None)

    for path in ("/", "/other", "/live/dev"):
        with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
            connect(path)
        assert refused.value.response.status_code == 403, path
    management = server.client("apigatewaymanagementapi", path="/live")

    def by_domain(request, **_):
        request.headers["Host"] = f"{domain}:{server.port}"
    management.meta.events.register("before-sign", by_domain)
    with connect("/live") as client:
        client.send("?")
        event = json.loads(client.recv(timeout=60))
        assert event["requestContext"]["domainName"] == domain and event["requestContext"]["stage"] == "dev"
        connection = event["requestContext"]["connectionId"]
        management.post_to_connection(ConnectionId=connection, Data=b"by its domain")
        assert client.recv(timeout=60) == "by its domain"
    apis.delete_api_mapping(DomainName=domain, ApiMappingId=made["ApiMappingId"])
    apis.create_api_mapping(DomainName=domain, ApiId=http_api, Stage="$default", ApiMappingKey="page")
    apis.delete_domain_name(DomainName=domain)


@pytest.mark.parametrize("setting", ["idle", "life"])
def test_connections_end_when_their_time_is_up(python, setting):
    """Ten minutes without a word and two hours in all are AWS's figures, and the operator's to change."""
    other = {"idle": "life", "life": "idle"}[setting]
    server = Server(arguments=[f"--websocket-{setting}-seconds", "2", f"--websocket-{other}-seconds", "600"]).start()
    functions, apis = server.client("lambda"), server.client("apigatewayv2")
    arn = create(functions, "ws-note", CODE, python, handler="app.note")["FunctionArn"]
    functions.add_permission(FunctionName=arn, StatementId="gateway", Action="lambda:InvokeFunction",
                             Principal="apigateway.amazonaws.com", SourceArn="arn:aws:execute-api:us-east-1:000000000000:*")
    api = Api(server, apis, lambda handler: arn, "ends")
    api.route("$disconnect", "note")
    raw = api.raw()
    raw.send(0x81, b"?")
    connection = json.loads(raw.frame()[1])["connectionId"]
    begun = time.monotonic()
    if setting == "life":
        # Pings keep a connection from being idle, and from nothing else.
        raw.socket.settimeout(0.2)
        code = None
        while code is None:
            raw.send(0x89, b"")
            try:
                first, payload = raw.frame()
                code = struct.unpack("!H", payload[:2])[0] if first == 0x88 else None
            except TimeoutError:
                pass
    else:
        first, payload = raw.frame()
        assert (first, payload[2:]) == (0x88, b"Going away")
        code = struct.unpack("!H", payload[:2])[0]
    assert code == 1001 and time.monotonic() - begun > 1
    raw.send(0x88, struct.pack("!H", 1001))

    def noted():
        try:
            found = server.client("logs").filter_log_events(logGroupName="/aws/lambda/ws-note", filterPattern="NOTED")["events"]
        except ClientError:
            return []
        return [json.loads(event["message"].split("NOTED ")[1]) for event in found]

    context, = until(noted)
    assert (context["connectionId"], context["disconnectStatusCode"], context["disconnectReason"]) == (connection, 1001, "Going away")
    with pytest.raises(ClientError) as gone:
        api.management().get_connection(ConnectionId=connection)
    assert gone.value.response["Error"]["Code"] == "GoneException"
    assert server.stop() == 0, server.log()
