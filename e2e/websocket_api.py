"""WebSocket APIs for tests: one with a stage of its own, and a client without manners."""

import base64
import json
import os
import socket
import struct

import pytest
import websockets.sync.client

from packages import create, package

CODE = package(app__py='''
import json, os

def echo(event, context):
    return {"statusCode": 200, "body": json.dumps(event)}

def connect(event, context):
    query = event.get("queryStringParameters") or {}
    answer = {"statusCode": int(query.get("status", "200")), "body": "as asked"}
    protocols = event["headers"].get("Sec-WebSocket-Protocol", "")
    if protocols:
        answer["headers"] = {"Sec-WebSocket-Protocol": protocols.split(",")[0].strip()}
    return answer

def shown(event, context):
    return {"statusCode": 400, "body": json.dumps(event)}

def fail(event, context):
    raise ValueError("no")

def plain(event, context):
    return {"got": event}

def authorize(event, context):
    assert event["type"] == "REQUEST" and event["requestContext"]["eventType"] == "CONNECT"
    token = event["queryStringParameters"].get("token")
    if token == "unauthorized":
        raise Exception("Unauthorized")
    if token == "broken":
        return {"principalId": "p"}
    statement = {"Action": "execute-api:Invoke", "Effect": "Allow" if token == "allow" else "Deny", "Resource": event["methodArn"]}
    return {"principalId": "me", "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
            "context": {"level": 7, "vip": True}}

def note(event, context):
    print("NOTED", json.dumps(event["requestContext"]))
    return {}
''')


@pytest.fixture(scope="module")
def arn_of(request, functions, python):
    """Functions by their handler, under names of the test module's own."""
    prefix, made = getattr(request.module, "FUNCTIONS", "ws"), {}

    def arn(handler):
        if handler not in made:
            made[handler] = create(functions, f"{prefix}-{handler}", CODE, python, handler=f"app.{handler}")["FunctionArn"]
            functions.add_permission(
                FunctionName=made[handler], StatementId="gateway", Action="lambda:InvokeFunction",
                Principal="apigateway.amazonaws.com", SourceArn="arn:aws:execute-api:us-east-1:000000000000:*")
        return made[handler]

    return arn


class Api:
    """A WebSocket API with a stage `dev` that deploys by itself."""

    def __init__(self, server, apis, arn_of, name):
        self.server, self.apis, self.arn_of = server, apis, arn_of
        self.made = apis.create_api(Name=name, ProtocolType="WEBSOCKET", RouteSelectionExpression="$request.body.action")
        self.id = self.made["ApiId"]
        apis.create_stage(ApiId=self.id, StageName="dev", AutoDeploy=True)
        self.path = f"/_aws/execute-api/{self.id}/dev"

    def route(self, key, handler=None, answers=False, **integration):
        if handler:
            integration = {"IntegrationType": "AWS_PROXY", "IntegrationUri": self.arn_of(handler)}
        target = {}
        if integration:
            made = self.apis.create_integration(ApiId=self.id, **integration)
            target = {"Target": f"integrations/{made['IntegrationId']}"}
            self.integration = made["IntegrationId"]
        route = self.apis.create_route(ApiId=self.id, RouteKey=key, **target)
        if answers:
            self.apis.create_route_response(ApiId=self.id, RouteId=route["RouteId"], RouteResponseKey="$default")
        return route

    def connect(self, query="", **more):
        return websockets.sync.client.connect(
            f"ws://127.0.0.1:{self.server.port}{self.path}{query}", open_timeout=60, compression=None, **more)

    def management(self):
        return self.server.client("apigatewaymanagementapi", path=self.path)

    def raw(self):
        return Raw(self.server.port, self.path)


@pytest.fixture
def api(server, apis, arn_of, name):
    return Api(server, apis, arn_of, name)


class Raw:
    """A client without manners: a socket after its handshake."""

    def __init__(self, port, path):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall((f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                             f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n").encode())
        self.head = b""
        while b"\r\n\r\n" not in self.head:
            self.head += self.socket.recv(1)
        assert self.head.startswith(b"HTTP/1.1 101"), self.head

    def send(self, first, payload=b"", masked=True):
        length = len(payload)
        form = struct.pack("!B", length) if length < 126 else (
            struct.pack("!BH", 126, length) if length < 65536 else struct.pack("!BQ", 127, length))
        head = bytes([first, form[0] | (0x80 if masked else 0)]) + form[1:]
        self.socket.sendall(head + (b"\0\0\0\0" if masked else b"") + payload)

    def read(self, count):
        data = b""
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def frame(self):
        first, length = self.read(2)
        if length == 126:
            length, = struct.unpack("!H", self.read(2))
        elif length == 127:
            length, = struct.unpack("!Q", self.read(8))
        return first, self.read(length)

    def close_code(self):
        """The code of the close frame that comes next, and that the connection ends after it."""
        first, payload = self.frame()
        assert first == 0x88, (first, payload)
        self.socket.shutdown(socket.SHUT_WR)
        assert self.socket.recv(1) == b""
        return struct.unpack("!H", payload[:2])[0] if payload else None
