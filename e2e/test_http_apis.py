"""HTTP APIs: the control plane with boto3, the data plane with plain HTTP."""

import base64
import http.client
import json
import re
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from botocore.exceptions import ClientError

from packages import create, package

CODE = package(app__py='''
import base64, json

def event(event, context):
    return event

def page(event, context):
    return {"statusCode": 201, "headers": {"X-Custom": "yes", "content-type": "text/plain"},
            "cookies": ["a=1; Path=/", "b=2"], "body": "made"}

def plain(event, context):
    return "hello"

def picture(event, context):
    data = base64.b64decode(event["body"]) if event.get("isBase64Encoded") else (event.get("body") or "").encode()
    return {"statusCode": 200, "headers": {"content-type": "image/png"}, "isBase64Encoded": True,
            "body": base64.b64encode(data[::-1]).decode()}

def old(event, context):
    return {"statusCode": 200, "multiValueHeaders": {"x-many": ["1", "2"]}, "body": json.dumps(event)}

def malformed(event, context):
    return "not a proxy answer"

def fail(event, context):
    raise ValueError("no")
''')


class Call:
    """Plain HTTP, with full control over path and headers."""

    def __init__(self, server, host=None):
        self.port, self.host = server.port, host

    def __call__(self, method, path, body=None, headers=()):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=40)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", self.host or f"127.0.0.1:{self.port}")
        for name, value in dict(headers).items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        answer.content = answer.read()
        connection.close()
        return answer


@pytest.fixture(scope="module")
def arn_of(functions, python):
    made = {}

    def arn(handler):
        if handler not in made:
            made[handler] = create(functions, f"http-{handler}", CODE, python, handler=f"app.{handler}")["FunctionArn"]
        return made[handler]

    return arn


def allow(functions, arn, source):
    statement = re.sub(r"[^A-Za-z0-9]", "-", source)[-60:]
    functions.add_permission(FunctionName=arn, StatementId=statement, Action="lambda:InvokeFunction",
                             Principal="apigateway.amazonaws.com", SourceArn=source)


@pytest.fixture
def api(server, apis, functions, arn_of, name):
    """An API with one auto-deployed `$default` stage; `api.route(key, handler)` adds to it."""

    class Api:
        def __init__(self):
            self.made = apis.create_api(Name=name, ProtocolType="HTTP")
            self.id = self.made["ApiId"]
            apis.create_stage(ApiId=self.id, StageName="$default", AutoDeploy=True)
            self.host = f"{self.id}.execute-api.localhost:{server.port}"
            self.call = Call(server, self.host)

        def route(self, key, handler=None, version="2.0", **integration):
            if handler:
                integration = {"IntegrationType": "AWS_PROXY", "IntegrationUri": arn_of(handler), "PayloadFormatVersion": version}
                source = f"arn:aws:execute-api:us-east-1:000000000000:{self.id}/*/*"
                try:
                    allow(functions, arn_of(handler), source)
                except ClientError as error:
                    assert error.response["Error"]["Code"] == "ResourceConflictException"
            made = apis.create_integration(ApiId=self.id, **integration)
            return apis.create_route(ApiId=self.id, RouteKey=key, Target=f"integrations/{made['IntegrationId']}")

    return Api()


def test_quick_create_and_an_endpoint_that_works(server, apis, functions, arn_of, name):
    made = apis.create_api(Name=name, ProtocolType="HTTP", Target=arn_of("plain"))
    assert re.fullmatch(r"[a-z0-9]{10}", made["ApiId"])
    assert made["ApiEndpoint"] == f"http://{made['ApiId']}.execute-api.localhost:{server.port}"
    assert made["RouteSelectionExpression"] == "$request.method $request.path"
    assert made["ApiKeySelectionExpression"] == "$request.header.x-api-key"
    call = Call(server, made["ApiEndpoint"].removeprefix("http://"))
    refused = call("GET", "/")
    assert (refused.status, refused.content) == (500, b'{"message":"Internal Server Error"}')
    allow(functions, arn_of("plain"), f"arn:aws:execute-api:us-east-1:000000000000:{made['ApiId']}/*/$default")
    answer = call("GET", "/any/path?x=1")
    assert (answer.status, answer.content) == (200, b"hello")
    assert answer.headers["content-type"] == "application/json"
    assert re.fullmatch(r".{15}=", answer.headers["apigw-requestid"])
    by_path = Call(server)("GET", f"/_aws/execute-api/{made['ApiId']}/$default/any")
    assert (by_path.status, by_path.content) == (200, b"hello")
    routes = apis.get_routes(ApiId=made["ApiId"])["Items"]
    assert [(route["RouteKey"], route["ApiGatewayManaged"]) for route in routes] == [("$default", True)]
    stage = apis.get_stage(ApiId=made["ApiId"], StageName="$default")
    assert stage["AutoDeploy"] and stage["ApiGatewayManaged"] and stage["DeploymentId"]


def test_event_2_0(api):
    api.route("POST /things/{id}/parts/{rest+}", "event")
    answer = api.call("POST", "/things/a%20b/parts/x/y?q=1&q=2&e=%26", b'{"k": 1}', {
        "Content-Type": "application/json", "Cookie": "one=1; two=2", "X-Thing": "v", "User-Agent": "e2e"})
    event = json.loads(answer.content)
    assert answer.status == 200, event
    assert event["version"] == "2.0" and event["routeKey"] == "POST /things/{id}/parts/{rest+}"
    assert event["rawPath"] == "/things/a%20b/parts/x/y" or event["rawPath"] == "/things/a b/parts/x/y"
    assert event["rawQueryString"] == "q=1&q=2&e=%26"
    assert event["queryStringParameters"] == {"q": "1,2", "e": "&"}
    assert event["pathParameters"] == {"id": "a b", "rest": "x/y"}
    assert event["cookies"] == ["one=1", "two=2"] and "cookie" not in event["headers"]
    assert event["headers"]["x-thing"] == "v" and event["headers"]["host"] == api.host
    assert event["headers"]["x-forwarded-for"] == "127.0.0.1" and event["headers"]["x-forwarded-proto"] == "http"
    assert re.match(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24}", event["headers"]["x-amzn-trace-id"])
    assert (event["body"], event["isBase64Encoded"]) == ('{"k": 1}', False)
    context = event["requestContext"]
    assert (context["apiId"], context["stage"], context["accountId"]) == (api.id, "$default", "000000000000")
    assert context["http"]["method"] == "POST" and context["http"]["sourceIp"] == "127.0.0.1"
    assert context["http"]["protocol"] == "HTTP/1.1" and context["http"]["userAgent"] == "e2e"
    assert context["domainName"].startswith(api.id) and context["domainPrefix"] == api.id
    assert context["requestId"] == answer.headers["apigw-requestid"]
    assert re.fullmatch(r"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000", context["time"])
    bare = json.loads(api.call("POST", "/things/1/parts/2").content)
    for absent in ("cookies", "queryStringParameters", "body", "stageVariables"):
        assert absent not in bare


def test_event_1_0_and_its_answers(api):
    api.route("GET /old/{id}", "old", version="1.0")
    answer = api.call("GET", "/old/7?a=1&a=2", headers={"X-Thing": "v"})
    event = json.loads(answer.content)
    assert event["version"] == "1.0" and event["resource"] == "/old/{id}" and event["path"] == "/old/7"
    assert event["httpMethod"] == "GET" and event["pathParameters"] == {"id": "7"}
    assert event["queryStringParameters"] == {"a": "2"} and event["multiValueQueryStringParameters"] == {"a": ["1", "2"]}
    assert event["stageVariables"] is None and event["body"] is None
    assert answer.headers.get_all("x-many") == ["1", "2"]
    api.route("GET /malformed", "malformed", version="1.0")
    answer = api.call("GET", "/malformed")
    assert (answer.status, answer.content) == (500, b'{"message":"Internal Server Error"}')


def test_structured_answers_cookies_and_errors(api):
    api.route("GET /page", "page")
    answer = api.call("GET", "/page")
    assert (answer.status, answer.content) == (201, b"made")
    assert answer.headers.get_all("set-cookie") == ["a=1; Path=/", "b=2"]
    assert answer.headers["x-custom"] == "yes"
    api.route("GET /fail", "fail")
    answer = api.call("GET", "/fail")
    assert (answer.status, answer.content) == (500, b'{"message":"Internal Server Error"}')
    answer = api.call("GET", "/nowhere")
    assert (answer.status, answer.content, answer.headers["content-type"]) == (404, b'{"message":"Not Found"}', "application/json")
    assert answer.headers["apigw-requestid"]
    answer = api.call("POST", "/page", b"")
    assert answer.status == 404


HEAD_OVER_HTTP2 = """
const [url, host] = process.argv.slice(1);
const session = require('http2').connect(url);
const request = session.request({':method': 'HEAD', ':path': '/', ':authority': host});
let headers, bytes = 0;
request.on('response', (given) => { headers = given; });
request.on('data', (chunk) => { bytes += chunk.length; });
request.on('error', (error) => { console.log(JSON.stringify({error: error.message})); session.close(); });
request.on('end', () => {
  console.log(JSON.stringify({status: headers[':status'], length: headers['content-length'], bytes}));
  session.close();
});
"""


def test_head_has_the_length_and_no_body(server, api):
    api.route("$default", "plain")
    over_http1 = api.call("HEAD", "/")
    assert (over_http1.status, over_http1.headers["content-length"], over_http1.content) == (200, "5", b"")
    for host, expected in ((api.host, (200, "5")), (f"127.0.0.1:{server.port}", (403, "42"))):
        ran = subprocess.run(["node", "-e", HEAD_OVER_HTTP2, server.url, host],
                             capture_output=True, text=True, timeout=60, check=True)
        answer = json.loads(ran.stdout.splitlines()[0])
        assert answer == {"status": expected[0], "length": expected[1], "bytes": 0}


def test_binary_bodies_both_ways(api):
    api.route("POST /picture", "picture")
    data = bytes(range(256)) * 1000
    answer = api.call("POST", "/picture", data, {"Content-Type": "image/png"})
    assert answer.status == 200 and answer.headers["content-type"] == "image/png"
    assert answer.content == data[::-1]
    too_large = api.call("POST", "/picture", b"x" * (10 * 1024 * 1024 + 1), {"Content-Type": "image/png"})
    assert too_large.status == 413


def test_route_precedence(api):
    for key in ("GET /pets/dog/1", "GET /pets/dog/{id}", "GET /pets/{proxy+}", "ANY /{proxy+}", "$default", "POST /pets/dog/1"):
        api.route(key, "event")
    def key_of(method, path):
        return json.loads(api.call(method, path).content)["routeKey"]
    assert key_of("GET", "/pets/dog/1") == "GET /pets/dog/1"
    assert key_of("GET", "/pets/dog/2") == "GET /pets/dog/{id}"
    assert key_of("GET", "/pets/cat/1") == "GET /pets/{proxy+}"
    assert key_of("PUT", "/pets/dog/1") == "ANY /{proxy+}"
    assert key_of("GET", "/") == "$default"


def test_stages_and_deployments_are_snapshots(api, apis):
    api.route("GET /a", "plain")
    apis.create_stage(ApiId=api.id, StageName="prod", StageVariables={"colour": "blue"})
    assert api.call("GET", "/prod/a").status == 404
    deployment = apis.create_deployment(ApiId=api.id, StageName="prod")
    assert deployment["DeploymentStatus"] == "DEPLOYED"
    assert api.call("GET", "/prod/a").content == b"hello"
    api.route("GET /b", "event")
    assert api.call("GET", "/b").status == 200
    assert api.call("GET", "/prod/b").status == 404
    apis.create_deployment(ApiId=api.id, StageName="prod")
    event = json.loads(api.call("GET", "/prod/b").content)
    assert event["rawPath"] == "/prod/b" and event["requestContext"]["stage"] == "prod"
    assert event["stageVariables"] == {"colour": "blue"}
    with pytest.raises(ClientError) as caught:
        apis.create_stage(ApiId=api.id, StageName="prod")
    assert caught.value.response["Error"]["Code"] == "ConflictException"


def test_cors(api, apis):
    api.route("GET /a", "page")
    apis.update_api(ApiId=api.id, CorsConfiguration={
        "AllowOrigins": ["https://one.example"], "AllowMethods": ["GET", "POST"], "AllowHeaders": ["x-a"],
        "ExposeHeaders": ["x-b"], "MaxAge": 60, "AllowCredentials": True})
    preflight = api.call("OPTIONS", "/a", headers={"Origin": "https://one.example", "Access-Control-Request-Method": "GET"})
    assert preflight.status == 204 and preflight.content == b""
    assert preflight.headers["access-control-allow-origin"] == "https://one.example"
    assert preflight.headers["access-control-allow-methods"] == "GET,POST"
    assert preflight.headers["access-control-max-age"] == "60"
    assert preflight.headers["access-control-allow-credentials"] == "true"
    actual = api.call("GET", "/a", headers={"Origin": "https://one.example"})
    assert actual.headers["access-control-allow-origin"] == "https://one.example"
    assert actual.headers["access-control-expose-headers"] == "x-b"
    stranger = api.call("GET", "/a", headers={"Origin": "https://two.example"})
    assert stranger.status == 201 and "access-control-allow-origin" not in stranger.headers
    assert "access-control-allow-origin" not in api.call("GET", "/a").headers
    with pytest.raises(ClientError) as caught:
        apis.update_api(ApiId=api.id, CorsConfiguration={"AllowOrigins": ["*"], "AllowCredentials": True})
    assert caught.value.response["Error"]["Code"] == "BadRequestException"


class Upstream(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        length = int(self.headers.get("content-length", 0))
        seen = {"method": self.command, "path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()},
                "body": self.rfile.read(length).decode()}
        body = json.dumps(seen).encode()
        self.send_response(209)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Upstream", "yes")
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def upstream():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_http_proxy(api, upstream):
    api.route("ANY /up/{proxy+}", IntegrationType="HTTP_PROXY", IntegrationMethod="ANY", IntegrationUri=upstream + "/base/{proxy}", PayloadFormatVersion="1.0")
    answer = api.call("POST", "/up/x/y?z=1", b"body", {"X-Thing": "v", "Content-Type": "text/plain"})
    seen = json.loads(answer.content)
    assert answer.status == 209 and answer.headers["x-upstream"] == "yes"
    assert (seen["method"], seen["path"], seen["body"]) == ("POST", "/base/x/y?z=1", "body")
    assert seen["headers"]["x-thing"] == "v" and "for=127.0.0.1" in seen["headers"]["forwarded"]
    api.route("GET /dead", IntegrationType="HTTP_PROXY", IntegrationMethod="GET", IntegrationUri="http://127.0.0.1:1/", PayloadFormatVersion="1.0")
    answer = api.call("GET", "/dead")
    assert (answer.status, answer.content) == (503, b'{"message":"Service Unavailable"}')


def test_control_plane_reads_back_what_was_made(apis, arn_of, name):
    made = apis.create_api(Name=name, ProtocolType="HTTP", Description="d", Version="v1", Tags={"a": "b"})
    api_id = made["ApiId"]
    assert apis.get_api(ApiId=api_id)["Tags"] == {"a": "b"}
    integration = apis.create_integration(ApiId=api_id, IntegrationType="AWS_PROXY", IntegrationUri=arn_of("plain"), PayloadFormatVersion="2.0")
    assert (integration["ConnectionType"], integration["TimeoutInMillis"], integration["IntegrationMethod"]) == ("INTERNET", 30000, "POST")
    route = apis.create_route(ApiId=api_id, RouteKey="GET /x", Target="integrations/" + integration["IntegrationId"])
    assert (route["AuthorizationType"], route["ApiKeyRequired"]) == ("NONE", False)
    assert apis.get_route(ApiId=api_id, RouteId=route["RouteId"])["RouteKey"] == "GET /x"
    apis.update_route(ApiId=api_id, RouteId=route["RouteId"], RouteKey="GET /y")
    assert [r["RouteKey"] for r in apis.get_routes(ApiId=api_id)["Items"]] == ["GET /y"]
    with pytest.raises(ClientError) as caught:
        apis.create_route(ApiId=api_id, RouteKey="GET /y")
    assert caught.value.response["Error"]["Code"] == "ConflictException"
    for call, arguments in ((apis.get_api, {"ApiId": "nosuchapi0"}), (apis.get_route, {"ApiId": api_id, "RouteId": "nosuch0"})):
        with pytest.raises(ClientError) as caught:
            call(**arguments)
        assert caught.value.response["Error"]["Code"] == "NotFoundException"
    apis.delete_route(ApiId=api_id, RouteId=route["RouteId"])
    apis.delete_integration(ApiId=api_id, IntegrationId=integration["IntegrationId"])
    apis.delete_api(ApiId=api_id)
    with pytest.raises(ClientError):
        apis.get_api(ApiId=api_id)


def test_what_is_not_built_is_refused(apis, name):
    with pytest.raises(ClientError) as caught:
        apis.create_api(Name=name, ProtocolType="HTTP", IpAddressType="dualstack")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert name not in [api["Name"] for api in apis.get_apis(MaxResults="100")["Items"]]
