"""WebSocket APIs with mapping templates, parameters, models and content handling, as a client sees them."""

import base64
import json
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import websockets.exceptions
from botocore.exceptions import ClientError

from waiting import until
from websocket_api import Api, arn_of  # noqa: F401 (a fixture)

FUNCTIONS = "templates"


class Back(BaseHTTPRequestHandler):
    """A server that says what it was sent, as JSON, with the status that the query asks for."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        said = {"path": self.path.split("?")[0], "query": query, "body": base64.b64encode(body).decode(),
                "headers": {name.lower(): value for name, value in self.headers.items()}}
        answer = body if "raw" in query else json.dumps(said).encode()
        self.send_response(int(query.get("status", ["200"])[0]))
        self.send_header("X-Back", "behind")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def back():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Back)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def api(server, apis, arn_of):  # noqa: F811
    """One API for all tests here; each adds routes of its own."""
    return Api(server, apis, arn_of, "templates")


def mock(api, key, template, response=None, **more):
    """A route to a mock that answers what a template makes."""
    route = api.route(key, answers=True, IntegrationType="MOCK", RequestTemplates={"$default": template}, **more)
    if response is not None:
        api.apis.create_integration_response(ApiId=api.id, IntegrationId=api.integration, IntegrationResponseKey="$default",
                                             TemplateSelectionExpression="\\$default", ResponseTemplates={"$default": response})
    return route


def ask(client, **message):
    client.send(json.dumps(message))
    return client.recv(timeout=60)


def test_a_mock_answers_by_templates(api):
    mock(api, "mock", "#set($context.responseOverride.status = 200)#set($context.requestOverride.header.kept = 'kept'){ statusCode: 200 }",
         "#set($root = $context)"
         '{"route": "$context.routeKey", "connection": "$context.connectionId", "type": "$context.eventType", '
         '"ip": "$context.identity.sourceIp", "stage": "$root.stage", "colour": "$stageVariables.colour", '
         '"kept": "$context.requestOverride.header.kept", "body": "$util.escapeJavaScript($input.body)", '
         '"message": "$context.messageId", "none": "$context.none"}')
    api.apis.update_stage(ApiId=api.id, StageName="dev", StageVariables={"colour": "blue"})
    with api.connect() as client:
        said = json.loads(ask(client, action="mock"))
    assert len(said.pop("connection")) == 16 and len(said.pop("message")) == 16
    # A mock's answer has no body.
    assert said == {"route": "mock", "type": "MESSAGE", "ip": "127.0.0.1", "stage": "dev", "colour": "blue", "kept": "kept",
                    "body": "{}", "none": ""}


def test_a_mocks_status_chooses_its_response(api):
    api.route("status", answers=True, IntegrationType="MOCK",
              RequestTemplates={"$default": "#if($input.path('$.n') > 3){statusCode: 404}#else{'statusCode': 200,}#end"})
    for key, text in (("/4\\d\\d/", "too many"), ("200", "few")):
        api.apis.create_integration_response(ApiId=api.id, IntegrationId=api.integration, IntegrationResponseKey=key,
                                             ResponseTemplates={"$default": text})
    mock(api, "broken", "no status", "never")
    with api.connect() as client:
        assert ask(client, action="status", n=4) == "too many"
        assert ask(client, action="status", n=2) == "few"
        assert json.loads(ask(client, action="broken"))["message"] == "Internal server error"


def test_a_function_is_called_with_what_a_template_makes(api):
    api.route("called", answers=True, IntegrationType="AWS", IntegrationUri=api.arn_of("plain"), RequestTemplates={
        "$default": "#set($items = $input.path('$.items'))"
                    '{"who": "$context.connectionId", "names": [#foreach($item in $items)"$item.name"#if($foreach.hasNext),#end#end], '
                    '"all": $input.json("$.items"), "count": $items.size()}'})
    api.apis.create_integration_response(
        ApiId=api.id, IntegrationId=api.integration, IntegrationResponseKey="$default",
        ResponseTemplates={"$default": "$input.path('$.got.names')|$input.path('$.got.count')|$input.json('$.got.all[0]')"})
    with api.connect() as client:
        said = ask(client, action="called", items=[{"name": "a"}, {"name": "b"}])
    assert said == '["a","b"]|2|{"name":"a"}'


def test_a_functions_error_chooses_its_response(api):
    api.route("fails", answers=True, IntegrationType="AWS", IntegrationUri=api.arn_of("fail"))
    for key, text in (("/.*no.*/", "failed: $input.path('$.errorMessage') ($input.path('$.errorType'))"), ("$default", "well")):
        api.apis.create_integration_response(ApiId=api.id, IntegrationId=api.integration, IntegrationResponseKey=key,
                                             ResponseTemplates={"$default": text})
    with api.connect() as client:
        assert ask(client, action="fails") == "failed: no (ValueError)"


def test_templates_are_selected(api, back):
    templates = {"a": "[A]", "b": "[B]"}
    for passthrough in ("WHEN_NO_MATCH", "WHEN_NO_TEMPLATES", "NEVER"):
        api.route(passthrough, answers=True, IntegrationType="HTTP", IntegrationMethod="POST", IntegrationUri=f"{back}/{{id}}",
                  RequestTemplates=templates, TemplateSelectionExpression="${request.body.kind}", PassthroughBehavior=passthrough)
    with api.connect() as client:
        def sent(**message):
            said = json.loads(ask(client, **message))
            return said.get("message") or base64.b64decode(said["body"]).decode()

        assert sent(action="NEVER", kind="a") == "[A]" and sent(action="WHEN_NO_MATCH", kind="b") == "[B]"
        assert json.loads(sent(action="WHEN_NO_MATCH", kind="c"))["kind"] == "c"
        assert sent(action="WHEN_NO_TEMPLATES", kind="c") == "Internal server error"
        assert sent(action="NEVER") == "Internal server error"


def test_parameters_and_overrides_of_http(api, back):
    api.route("http", answers=True, IntegrationType="HTTP", IntegrationMethod="POST", IntegrationUri=f"{back}/in/{{id}}?own=1",
              RequestParameters={"integration.request.header.x-mapped": "context.connectionId",
                                 "integration.request.header.x-both": "'mapped'",
                                 "integration.request.querystring.q": "route.request.body.q",
                                 "integration.request.path.id": "'mapped'"},
              RequestTemplates={"$default": """
#set($context.requestOverride.header.x-both = "over")
#set($context.requestOverride.header.several = ["a", "b"])
#set($context.requestOverride.querystring.added = "a b")
#set($context.requestOverride.path.id = "o/p")
made"""})
    api.route("forbidden", answers=True, IntegrationType="HTTP", IntegrationMethod="POST", IntegrationUri=back,
              RequestTemplates={"$default": "#set($context.requestOverride.header.Content-Length = '1')x"})
    with api.connect() as client:
        said = json.loads(ask(client, action="http", q="ä"))
        assert json.loads(ask(client, action="forbidden"))["message"] == "Internal server error"
    assert said["path"] == "/in/o%2Fp" and said["query"] == {"own": ["1"], "q": ["ä"], "added": ["a b"]}
    assert base64.b64decode(said["body"]) == b"made"
    headers = said["headers"]
    assert len(headers["x-mapped"]) == 16 and headers["x-both"] == "over" and headers["several"] == "a,b"


def test_content_handling(api, back):
    made = api.apis.create_integration(ApiId=api.id, IntegrationType="HTTP", IntegrationMethod="POST", IntegrationUri=back,
                                       ContentHandlingStrategy="CONVERT_TO_BINARY")
    assert made["ContentHandlingStrategy"] == "CONVERT_TO_BINARY"
    # A message of base 64 is no JSON, so that it takes the default route.
    default = api.apis.create_route(ApiId=api.id, RouteKey="$default", Target=f"integrations/{made['IntegrationId']}")
    api.apis.create_route_response(ApiId=api.id, RouteId=default["RouteId"], RouteResponseKey="$default")
    with api.connect() as client:
        client.send(base64.b64encode(b"\0\xff binary").decode())
        assert base64.b64decode(json.loads(client.recv(timeout=60))["body"]) == b"\0\xff binary"
        client.send("not base 64")
        assert json.loads(client.recv(timeout=60))["message"] == "Internal server error"
    response = api.apis.create_integration_response(
        ApiId=api.id, IntegrationId=made["IntegrationId"], IntegrationResponseKey="$default", ContentHandlingStrategy="CONVERT_TO_BINARY")
    assert response["ContentHandlingStrategy"] == "CONVERT_TO_BINARY"


@pytest.fixture
def own_api(server, apis, arn_of, name):  # noqa: F811
    """An API of the test's own, where it needs the default route."""
    return Api(server, apis, arn_of, name)


def test_binary_data_travels_as_base_64(own_api, back):
    api = own_api
    binary = base64.b64encode(b"\0\xff binary").decode()
    # A function hears of it as of any binary body; what is no base 64 never reaches it.
    made = api.route("$default", answers=True, IntegrationType="AWS_PROXY", IntegrationUri=api.arn_of("echo"),
                     ContentHandlingStrategy="CONVERT_TO_BINARY")
    with api.connect() as client:
        client.send(binary)
        event = json.loads(client.recv(timeout=60))
        assert event["body"] == binary and event["isBase64Encoded"] is True
        client.send("{no base 64}")
        assert json.loads(client.recv(timeout=60))["message"] == "Internal server error"
    # An answer that is binary comes as base 64, one that is text as it is.
    integration = api.apis.create_integration(ApiId=api.id, IntegrationType="HTTP", IntegrationMethod="POST",
                                              IntegrationUri=f"{back}?raw=1")["IntegrationId"]
    api.apis.create_integration_response(ApiId=api.id, IntegrationId=integration, IntegrationResponseKey="$default",
                                         ContentHandlingStrategy="CONVERT_TO_TEXT")
    api.apis.update_integration(ApiId=api.id, IntegrationId=integration, ContentHandlingStrategy="CONVERT_TO_BINARY")
    api.apis.update_route(ApiId=api.id, RouteId=made["RouteId"], Target=f"integrations/{integration}")
    with api.connect() as client:
        for sent, said in ((binary, binary), (base64.b64encode("text ä".encode()).decode(), "text ä")):
            client.send(sent)
            assert client.recv(timeout=60) == said


def test_parameters_of_functions_and_mocks(api, logs):
    # With these the function is called and nobody waits for it.
    asynchronous = {"integration.request.header.X-Amz-Invocation-Type": "'Event'"}
    made = api.apis.create_integration(
        ApiId=api.id, IntegrationType="AWS", IntegrationUri=api.arn_of("note"), RequestParameters=asynchronous,
        RequestTemplates={"$default": '{"requestContext": {"asked": $input.json("$.text")}}'})
    assert made["RequestParameters"] == asynchronous
    route = api.apis.create_route(ApiId=api.id, RouteKey="later", Target=f"integrations/{made['IntegrationId']}")
    api.apis.create_route_response(ApiId=api.id, RouteId=route["RouteId"], RouteResponseKey="$default")
    api.apis.create_integration_response(
        ApiId=api.id, IntegrationId=made["IntegrationId"], IntegrationResponseKey="$default",
        ResponseTemplates={"$default": "accepted"})
    api.route("wrong", answers=True, IntegrationType="AWS", IntegrationUri=api.arn_of("plain"),
              RequestParameters={"integration.request.header.X-Amz-Invocation-Type": "route.request.body.kind"})
    # Headers that are the gateway's own break a route of any kind, as in AWS.
    for key, header in (("mocked", "Transfer-Encoding"), ("proxied", "Authorization")):
        kind = {"IntegrationType": "MOCK", "RequestTemplates": {"$default": "{statusCode: 200}"}} if key == "mocked" else {
            "IntegrationType": "AWS_PROXY", "IntegrationUri": api.arn_of("echo")}
        api.route(key, answers=True, RequestParameters={f"integration.request.header.{header}": "'x'"}, **kind)
    mocked = api.route("fine", answers=True, IntegrationType="MOCK", RequestTemplates={"$default": "{statusCode: 200}"},
                       RequestParameters={"integration.request.querystring.x": "context.connectionId"})
    api.apis.create_integration_response(ApiId=api.id, IntegrationId=api.integration, IntegrationResponseKey="$default",
                                         ResponseTemplates={"$default": "mocked"})
    with api.connect() as client:
        assert ask(client, action="later", text=api.id) == "accepted"
        for action in ("mocked", "proxied", "wrong"):
            assert json.loads(ask(client, action=action, kind="Nonsense"))["message"] == "Internal server error", action
        assert json.loads(ask(client, action="wrong", kind="RequestResponse"))["got"]["action"] == "wrong"
        assert ask(client, action="fine") == "mocked" and mocked["RouteKey"] == "fine"

    def noted():
        try:
            found = logs.filter_log_events(logGroupName=f"/aws/lambda/{FUNCTIONS}-note", filterPattern="NOTED")["events"]
        except ClientError:
            return []
        return [event for event in found if api.id in event["message"]]

    until(noted)


def test_what_a_route_response_declares(api):
    route = api.route("said", "echo")
    declared = {"route.response.header.x-one": {"Required": True}, "route.response.header.x-two": {"Required": False}}
    made = api.apis.create_route_response(ApiId=api.id, RouteId=route["RouteId"], RouteResponseKey="$default",
                                          ResponseParameters=declared)
    place = {"ApiId": api.id, "RouteId": route["RouteId"], "RouteResponseId": made["RouteResponseId"]}
    assert made["ResponseParameters"] == declared == api.apis.get_route_response(**place)["ResponseParameters"]
    changed = api.apis.update_route_response(**place, ResponseParameters={"route.response.header.x-two": {"Required": True}})
    assert changed["ResponseParameters"]["route.response.header.x-two"] == {"Required": True}
    with pytest.raises(ClientError) as refused:
        api.apis.update_route_response(**place, ResponseParameters={"route.response.body": {"Required": True}})
    assert refused.value.response["Error"]["Code"] == "BadRequestException"


def test_models_that_are_no_schemas(apis, name):
    broken, orphan = '{"type": "nonsense"}', '{"$ref": "https://apigateway.amazonaws.com/restapis/x/models/Nobody"}'
    made = apis.create_api(Name=name, ProtocolType="WEBSOCKET", RouteSelectionExpression="$request.body.action")
    api = made["ApiId"]
    assert made["DisableSchemaValidation"] is False
    with pytest.raises(ClientError) as refused:
        apis.create_model(ApiId=api, Name="Broken", Schema=broken)
    assert "Invalid model schema" in refused.value.response["Error"]["Message"]
    # One that refers to a model that is not there is found where it is deployed.
    apis.create_model(ApiId=api, Name="Orphan", Schema=orphan)
    apis.create_route(ApiId=api, RouteKey="x", ModelSelectionExpression="$default", RequestModels={"$default": "Orphan"})
    with pytest.raises(ClientError) as refused:
        apis.create_deployment(ApiId=api)
    assert "Orphan" in refused.value.response["Error"]["Message"]
    assert apis.update_api(ApiId=api, DisableSchemaValidation=True)["DisableSchemaValidation"] is True
    apis.create_model(ApiId=api, Name="Broken", Schema=broken)
    assert apis.create_deployment(ApiId=api)["DeploymentStatus"] == "DEPLOYED"
    assert apis.get_api(ApiId=api)["DisableSchemaValidation"] is True
    with pytest.raises(ClientError) as refused:
        apis.create_api(Name=name, ProtocolType="HTTP", DisableSchemaValidation=True)
    assert refused.value.response["Error"]["Code"] == "BadRequestException"


def test_models_check_messages(api):
    model = {"type": "object", "required": ["action", "text"], "properties": {"text": {"type": "string", "maxLength": 5}}}
    api.apis.create_model(ApiId=api.id, Name="Say", ContentType="application/json", Schema=json.dumps(model))
    other = {"$ref": f"https://apigateway.amazonaws.com/restapis/{api.id}/models/Say", "description": "by reference"}
    api.apis.create_model(ApiId=api.id, Name="Other", ContentType="application/json", Schema=json.dumps(other))
    route = mock(api, "say", "{statusCode: 200}", "said")
    api.apis.update_route(ApiId=api.id, RouteId=route["RouteId"], ModelSelectionExpression="${request.body.kind}",
                          RequestModels={"a": "Say", "b": "Other"})
    seen = api.apis.get_route(ApiId=api.id, RouteId=route["RouteId"])
    assert seen["RequestModels"] == {"a": "Say", "b": "Other"} and seen["ModelSelectionExpression"] == "${request.body.kind}"
    with api.connect() as client:
        for kind in ("a", "b"):
            assert ask(client, action="say", kind=kind, text="short") == "said"
            for wrong in ({"text": "too long"}, {"text": 1}, {}):
                said = json.loads(ask(client, action="say", kind=kind, **wrong))
                assert said["message"] == "Invalid request body" and set(said) == {"message", "connectionId", "requestId"}, wrong
        # No model is for it.
        assert json.loads(ask(client, action="say", kind="c", text="short"))["message"] == "Invalid request body"
        api.apis.update_route(ApiId=api.id, RouteId=route["RouteId"], RequestModels={"$default": "Say"})
        assert ask(client, action="say", kind="c", text="short") == "said"
    for key, arguments, code in [
        ("$disconnect", dict(RequestModels={"$default": "Say"}), "BadRequestException"),
        ("m1", dict(RequestModels={"$default": "None"}), "NotFoundException"),
        ("m2", dict(ModelSelectionExpression="$nothing"), "BadRequestException"),
    ]:
        with pytest.raises(ClientError) as refused:
            api.apis.create_route(ApiId=api.id, RouteKey=key, **arguments)
        assert refused.value.response["Error"]["Code"] == code, arguments
    for schema in ("[]", "{", '{"type": "text"}', '{"properties": 1}'):
        with pytest.raises(ClientError) as refused:
            api.apis.create_model(ApiId=api.id, Name="Wrong", ContentType="application/json", Schema=schema)
        assert refused.value.response["Error"]["Code"] == "BadRequestException", schema


def test_a_handshake_by_template_with_parameters(server, apis, arn_of, name):  # noqa: F811
    api = Api(server, apis, arn_of, name)
    route = mock(api, "$connect", "{\"statusCode\": #if($input.params('room') == 'closed')403#{else}200#end}",
                 '{"room": "$input.params(\'room\')", "agent": "$input.params().header.get(\'User-Agent\')"}')
    response = api.apis.get_integration_responses(ApiId=api.id, IntegrationId=api.integration)["Items"][0]
    api.apis.update_integration_response(
        ApiId=api.id, IntegrationId=api.integration, IntegrationResponseId=response["IntegrationResponseId"],
        ResponseParameters={"route.response.header.Sec-WebSocket-Protocol": "'chat'"})
    needed = "route.request.querystring.room"
    api.apis.update_route(ApiId=api.id, RouteId=route["RouteId"], RequestParameters={needed: {"Required": True}})
    assert api.apis.get_route(ApiId=api.id, RouteId=route["RouteId"])["RequestParameters"] == {needed: {"Required": True}}
    with api.connect("?room=open", subprotocols=["chat"]) as client:
        assert client.subprotocol == "chat"
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        api.connect("?room=closed", user_agent_header="e2e")
    assert refused.value.response.status_code == 403
    assert json.loads(refused.value.response.body) == {"room": "closed", "agent": "e2e"}
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        api.connect()
    assert refused.value.response.status_code == 400
    assert json.loads(refused.value.response.body)["message"] == "Missing required request parameters: [room]"
    api.apis.delete_route_request_parameter(ApiId=api.id, RouteId=route["RouteId"], RequestParameterKey=needed)
    with api.connect(subprotocols=["chat"]):
        pass
    with pytest.raises(ClientError) as refused:
        api.apis.create_route(ApiId=api.id, RouteKey="x", RequestParameters={needed: {"Required": True}})
    assert refused.value.response["Error"]["Code"] == "BadRequestException"


@pytest.mark.parametrize("template", ["#if($x)", "$input.path(", "#evaluate('x')", "#set($x)", "x" * 307_201])
def test_what_is_no_template_is_refused(api, template):
    with pytest.raises(ClientError) as refused:
        api.apis.create_integration(ApiId=api.id, IntegrationType="MOCK", RequestTemplates={"$default": template})
    assert refused.value.response["Error"]["Code"] == "BadRequestException"


def test_a_template_without_end_harms_no_one(api):
    mock(api, "long", "#foreach($a in [1..1000])#foreach($b in [1..1000])#foreach($c in [1..1000]).#end#end#end", "never")
    mock(api, "quick", "{statusCode: 200}", "here")
    with api.connect() as client:
        client.send('{"action":"long"}')
        assert json.loads(client.recv(timeout=60))["message"] == "Internal server error"
        assert ask(client, action="quick") == "here"
