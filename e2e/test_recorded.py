"""What was recorded of AWS: `recorded.json`, gone through vector by vector with a real API.

The vectors were recorded of REST APIs; here are those that hold for HTTP APIs and WebSocket APIs as well, in the form that these
have them. What has no such form is listed there too, with the reason (`elsewhere`).
"""

import http.client
import json
import pathlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import websockets.exceptions

from packages import create, package
from websocket_api import Api, arn_of  # noqa: F401 (a fixture)

FUNCTIONS = "recorded"
RECORDED = json.loads((pathlib.Path(__file__).parent / "recorded.json").read_text())
CODE = package(app__py='''
import json

def returns(event, context):
    return json.loads(event["body"])

def raises(event, context):
    if event["text"]:
        raise Exception(event["text"])
    return {"fine": True}
''')


class Echo(BaseHTTPRequestHandler):
    """A server that gives back what it was sent, below `json`, and keeps it."""

    seen = {}

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        Echo.seen = {"body": body, "headers": {name.lower(): value for name, value in self.headers.items()}}
        try:
            answer = json.dumps({"json": json.loads(body)})
        except ValueError:
            answer = json.dumps({"json": None})
        self.send_response(int(self.path.strip("/") or 200))
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *_):
        pass


class World:
    """What the vectors are played on: a back end, functions, an HTTP API and a WebSocket API."""

    def __init__(self, server, apis, arn_of, functions, python, back):  # noqa: F811
        self.server, self.apis, self.back, self.arn_of = server, apis, back, arn_of
        self.rest = server.client("apigateway")
        self.arns = {}
        for handler in ("returns", "raises"):
            arn = create(functions, f"recorded-{handler}", CODE, python, handler=f"app.{handler}")["FunctionArn"]
            functions.add_permission(FunctionName=arn, StatementId="gateway", Action="lambda:InvokeFunction",
                                     Principal="apigateway.amazonaws.com")
            self.arns[handler] = arn
        self.count = 0
        self.http = apis.create_api(Name="recorded", ProtocolType="HTTP")["ApiId"]
        apis.create_stage(ApiId=self.http, StageName="$default", AutoDeploy=True)
        self.websocket = self.api()

    def name(self):
        self.count += 1
        return f"r{self.count}"

    def api(self):
        return Api(self.server, self.apis, self.arn_of, f"recorded-{self.name()}")

    def route(self, responses=None, api=None, **integration):
        """A new `$default` route that answers; the one before it goes."""
        api = api or self.websocket
        for route in self.apis.get_routes(ApiId=api.id)["Items"]:
            self.apis.delete_route(ApiId=api.id, RouteId=route["RouteId"])
        route = api.route("$default", answers=True, **integration)
        for key, template in (responses or {}).items():
            self.apis.create_integration_response(
                ApiId=api.id, IntegrationId=api.integration, IntegrationResponseKey=key, TemplateSelectionExpression="\\$default",
                ResponseTemplates={"$default": template})
        return route

    def say(self, text, api=None):
        with (api or self.websocket).connect() as client:
            client.send(text)
            return client.recv(timeout=60)

    def fails(self, text="{}"):
        return json.loads(self.say(text))["message"] == "Internal server error"


@pytest.fixture(scope="module")
def back():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def world(server, apis, arn_of, functions, python, back):  # noqa: F811
    return World(server, apis, arn_of, functions, python, back)


def play_response(world, vector):
    # Marks around it, since a WebSocket carries no empty answer.
    kind = {"IntegrationType": "HTTP", "IntegrationUri": world.back, "IntegrationMethod": "POST"}
    if "mock" in vector:
        kind = {"IntegrationType": "MOCK", "RequestTemplates": {"$default": vector["mock"]}}
    world.route({"$default": f"<{vector['response']}>"}, **kind)
    if vector.get("fails"):
        assert world.fails()
    else:
        assert world.say(vector.get("posted", "{}")) == f"<{vector['answer']}>"


def play_request(world, vector):
    world.route({"$default": "done"}, IntegrationType="HTTP", IntegrationUri=world.back, IntegrationMethod="POST",
                RequestTemplates={"$default": vector["request"]})
    assert world.say(vector["posted"]) == "done" and Echo.seen["body"] == vector["sent"]


def play_returns(world, vector):
    path = f"/{world.name()}"
    made = world.apis.create_integration(ApiId=world.http, IntegrationType="AWS_PROXY", IntegrationUri=world.arns["returns"],
                                         PayloadFormatVersion="1.0")
    world.apis.create_route(ApiId=world.http, RouteKey=f"POST {path}", Target=f"integrations/{made['IntegrationId']}")
    connection = http.client.HTTPConnection("127.0.0.1", world.server.port, timeout=60)
    connection.request("POST", f"/_aws/execute-api/{world.http}/$default{path}", json.dumps(vector["returns"]),
                       {"Content-Type": "application/json"})
    answer = connection.getresponse()
    body = answer.read().decode()
    assert answer.status == vector["status"]
    if vector["status"] == 500:
        # The words of HTTP APIs; a REST API says 502 and `Internal server error`.
        assert json.loads(body) == {"message": "Internal Server Error"}
        return
    assert body == vector["body"]
    for name, value in vector.get("headers", {}).items():
        assert ", ".join(answer.headers.get_all(name)) == value
    connection.close()


def play_raises(world, vector):
    template = json.dumps({"text": vector["raises"]})
    world.route(vector["responses"], IntegrationType="AWS", IntegrationUri=world.arns["raises"], RequestTemplates={"$default": template})
    assert world.say("{}") == vector["answer"]


def play_parameters(world, vector):
    api = world.api()
    world.apis.create_route(ApiId=api.id, RouteKey="$connect", RequestParameters={
        name: {"Required": True} for name in vector["parameters"]})
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        api.connect(vector["query"])
    assert refused.value.response.status_code == 400
    assert json.loads(refused.value.response.body)["message"] == vector["message"]


def play_model(world, vector):
    api = world.api()
    for name, schema in vector["models"].items():
        schema = json.dumps(schema).replace("{api}", api.id)
        world.apis.create_model(ApiId=api.id, Name=name, ContentType="application/json", Schema=schema)
    route = world.route({"$default": "valid"}, api, IntegrationType="MOCK", RequestTemplates={"$default": "{statusCode: 200}"})
    world.apis.update_route(ApiId=api.id, RouteId=route["RouteId"], RequestModels={"$default": vector["model"]},
                            ModelSelectionExpression="$default")
    said = world.say(vector["posted"], api)
    assert (said == "valid") is vector["valid"], said
    assert vector["valid"] or json.loads(said)["message"] == "Invalid request body"


def play_mapped(world, vector):
    kinds = {"HTTP": (world.back, {"IntegrationMethod": "POST"}), "HTTP_PROXY": (world.back, {"IntegrationMethod": "POST"}),
             "AWS": (world.arns["raises"], {"RequestTemplates": {"$default": '{"text": null}'}}),
             "AWS_PROXY": (world.arns["returns"], {})}
    uri, more = kinds[vector["to"]]
    world.route(IntegrationType=vector["to"], IntegrationUri=uri, **more,
                RequestParameters={f"integration.request.header.{vector['mapped']}": "'mapped'"})
    if vector.get("fails"):
        assert world.fails('{"statusCode": 200, "body": "x"}')
    else:
        world.say("{}")
        assert Echo.seen["headers"][vector["mapped"]] == "mapped"


def play_backend(world, vector):
    path = f"/{world.name()}"
    made = world.apis.create_integration(ApiId=world.http, IntegrationType=vector["to"], IntegrationMethod="POST",
                                         PayloadFormatVersion="1.0", IntegrationUri=f"{world.back}/{vector['backend']}")
    world.apis.create_route(ApiId=world.http, RouteKey=f"POST {path}", Target=f"integrations/{made['IntegrationId']}")
    connection = http.client.HTTPConnection("127.0.0.1", world.server.port, timeout=60)
    connection.request("POST", f"/_aws/execute-api/{world.http}/$default{path}", "{}")
    assert connection.getresponse().status == vector["status"]
    connection.close()


def play_key(world, vector):
    api = world.api()
    route = api.route("$connect")
    world.apis.update_route(ApiId=api.id, RouteId=route["RouteId"], ApiKeyRequired=True)
    key = world.rest.create_api_key(enabled=True)
    plan = world.rest.create_usage_plan(name="recorded", apiStages=[{"apiId": api.id, "stage": "dev"}])["id"]
    world.rest.create_usage_plan_key(usagePlanId=plan, keyId=key["id"], keyType="API_KEY")
    headers = {"x-api-key": key["value"]}
    with api.connect(additional_headers=headers):
        pass
    world.rest.update_api_key(apiKey=key["id"], patchOperations=[{"op": "replace", "path": "/enabled", "value": "false"}])
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        api.connect(additional_headers=headers)
    assert refused.value.response.status_code == vector["status"]
    assert json.loads(refused.value.response.body)["message"] == vector["message"]


def play_plan(world, vector):
    made = world.rest.create_usage_plan(name="recorded", **vector["plan"])
    for answer in (made, world.rest.get_usage_plan(usagePlanId=made["id"])):
        shown = {name: answer[name] for name in ("throttle", "quota") if name in answer}
        assert shown == vector["plan"] and answer["apiStages"] == []


# By the member that only its vectors have.
PLAYS = {"returns": play_returns, "raises": play_raises, "parameters": play_parameters, "models": play_model,
         "mapped": play_mapped, "backend": play_backend, "key": play_key, "plan": play_plan, "request": play_request,
         "response": play_response}


def ids(vector):
    return f"{vector['of']}-{next(kind for kind in PLAYS if kind in vector)}"


@pytest.mark.parametrize("vector", RECORDED["recorded"], ids=ids)
def test_what_was_recorded_is_so(world, vector):
    next(play for kind, play in PLAYS.items() if kind in vector)(world, vector)


def test_every_family_of_vectors_is_played_or_has_a_reason():
    played = {vector["of"] for vector in RECORDED["recorded"]}
    told = {entry["of"] for entry in RECORDED["elsewhere"] if entry["what"] and entry["why"]}
    assert played | told == {f"A.{number}" for number in range(1, 11)}
