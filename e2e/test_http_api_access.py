"""HTTP APIs: who may use a route, what is changed on the way, and what is logged of it."""

import base64
import http.client
import http.server
import json
import threading
import time

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from packages import create, package
from server import Server

CODE = package(app__py='''
def event(event, context):
    return event

def decide(event, context):
    secret = event["identitySource"][0]
    if secret == "crash":
        raise Exception("Unauthorized")
    return {"isAuthorized": secret == "open sesame", "context": {"who": "ali", "n": 40}}
''')


@pytest.fixture(scope="module")
def arns(functions, python):
    made = {}
    for handler in ["event", "decide"]:
        arn = create(functions, f"access-{handler}", CODE, python, handler=f"app.{handler}")["FunctionArn"]
        functions.add_permission(FunctionName=arn, StatementId="apis", Action="lambda:InvokeFunction",
                                 Principal="apigateway.amazonaws.com",
                                 SourceArn="arn:aws:execute-api:us-east-1:000000000000:*")
        made[handler] = arn
    return made


@pytest.fixture
def api(server, apis, arns, name):
    """An API whose routes lead to a function that shows its event."""

    class Api:
        id = apis.create_api(Name=name, ProtocolType="HTTP", Target=arns["event"])["ApiId"]
        integration = apis.get_integrations(ApiId=id)["Items"][0]["IntegrationId"]

        def route(self, key, **authorization):
            return apis.create_route(ApiId=self.id, RouteKey=key, Target=f"integrations/{self.integration}", **authorization)

        def get(self, path, headers=()):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            host = f"{self.id}.execute-api.localhost:{server.port}"
            connection.request("GET", path, headers={"Host": host, **dict(headers)})
            answer = connection.getresponse()
            text = answer.read().decode()
            connection.close()
            self.challenge = answer.headers["WWW-Authenticate"]
            return answer.status, json.loads(text)

    return Api()


def encoded(value):
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Issuer:
    """One that can be discovered, with keys that change."""

    def __init__(self):
        self.keys = {}
        self.renew("first")
        issuer = self

        class Documents(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                found = {"/.well-known/openid-configuration": {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys"},
                         "/keys": {"keys": [issuer.shown(kid) for kid in issuer.keys]}}[self.path]
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(found).encode())

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Documents)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def renew(self, kid):
        self.keys[kid] = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def shown(self, kid):
        numbers = self.keys[kid].public_key().public_numbers()
        modulus, exponent = numbers.n.to_bytes(256, "big"), numbers.e.to_bytes(3, "big")
        return {"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": encoded(modulus), "e": encoded(exponent)}

    def token(self, kid="first", header=None, **claims):
        claims = {"iss": self.url, "client_id": "shop", "exp": int(time.time()) + 600, "scope": "read write", **claims}
        signed = f'{encoded({"alg": "RS256", "kid": kid, **(header or {})})}.{encoded(claims)}'
        return f"{signed}.{encoded(self.keys[kid].sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


@pytest.fixture
def issuer():
    issuer = Issuer()
    yield issuer
    issuer.server.shutdown()


def test_a_function_decides(apis, arns, api):
    authorizer = apis.create_authorizer(
        ApiId=api.id, Name="decide", AuthorizerType="REQUEST", AuthorizerUri=arns["decide"],
        AuthorizerPayloadFormatVersion="2.0", EnableSimpleResponses=True, AuthorizerResultTtlInSeconds=60,
        IdentitySource=["$request.header.Authorization"])["AuthorizerId"]
    api.route("GET /cave", AuthorizationType="CUSTOM", AuthorizerId=authorizer)
    assert api.get("/cave") == (401, {"message": "Unauthorized"})
    assert api.get("/cave", {"Authorization": "please"}) == (403, {"message": "Forbidden"})
    assert api.get("/cave", {"Authorization": "crash"}) == (401, {"message": "Unauthorized"})
    status, event = api.get("/cave", {"Authorization": "open sesame"})
    assert status == 200
    assert event["requestContext"]["authorizer"] == {"lambda": {"who": "ali", "n": 40}}


def test_tokens(apis, api, issuer):
    def authorizer(name, source, url=issuer.url):
        return apis.create_authorizer(
            ApiId=api.id, Name=name, AuthorizerType="JWT", IdentitySource=[source],
            JwtConfiguration={"Issuer": url, "Audience": ["shop"]})["AuthorizerId"]

    by_header = authorizer("header", "$request.header.Authorization")
    by_query = authorizer("query", "$request.querystring.token")
    with pytest.raises(ClientError, match="Invalid issuer: http://127.0.0.1:1"):
        authorizer("nobody", "$request.header.Authorization", "http://127.0.0.1:1")
    api.route("GET /t", AuthorizationType="JWT", AuthorizerId=by_header)
    api.route("GET /q", AuthorizationType="JWT", AuthorizerId=by_query)
    api.route("GET /s", AuthorizationType="JWT", AuthorizerId=by_header, AuthorizationScopes=["admin", "write"])
    for one in ["none00", ""]:
        with pytest.raises(ClientError, match="requires a valid JWT authorizer") as refused:
            api.route("GET /n", AuthorizationType="JWT", AuthorizerId=one)
        assert refused.value.response["Error"]["Code"] == "BadRequestException"

    good = issuer.token(groups=["a", "b"], n=7)
    assert api.get("/t") == (401, {"message": "Unauthorized"}) and api.challenge == "Bearer"
    for path, headers in [("/t", {"Authorization": good}), ("/t", {"Authorization": f"bearer {good}"}), (f"/q?token={good}", {})]:
        status, event = api.get(path, headers)
        jwt = event["requestContext"]["authorizer"]["jwt"]
        assert (status, jwt["claims"]["groups"], jwt["claims"]["n"], jwt["scopes"]) == (200, "[a b]", "7", None)
    assert api.get("/s", {"Authorization": good})[1]["requestContext"]["authorizer"]["jwt"]["scopes"] == ["read", "write"]
    assert api.get("/s", {"Authorization": issuer.token(scope="read")}) == (403, {"message": "Forbidden"})
    assert 'scope="admin write" error="insufficient_scope"' in api.challenge
    for token, flaw in [(issuer.token(aud="others"), "the token does not have a valid audience"),
                        (issuer.token(exp=1), "the token has expired"),
                        (issuer.token(header={"alg": "HS256"}), "signing method HS256 is invalid")]:
        assert api.get("/t", {"Authorization": token}) == (401, {"message": "Unauthorized"})
        assert api.challenge == f'Bearer scope="" error="invalid_token" error_description="{flaw}"'


def test_signatures(server, api):
    api.route("GET /signed", AuthorizationType="AWS_IAM")
    assert api.get("/signed") == (403, {"message": "Forbidden"})
    host = f"{api.id}.execute-api.localhost:{server.port}"
    for service, status in [("execute-api", 200), ("lambda", 403)]:
        request = AWSRequest("GET", f"http://{host}/signed", headers={"Host": host})
        SigV4Auth(Credentials("test", "test"), service, "us-east-1").add_auth(request)
        got, event = api.get("/signed", dict(request.headers))
        assert got == status
        if status == 200:
            assert event["requestContext"]["authorizer"]["iam"]["accountId"] == "000000000000"


def test_parameters_are_mapped(apis, api):
    apis.update_integration(ApiId=api.id, IntegrationId=api.integration, RequestParameters={
        "append:header.x-stage": "$context.stage", "overwrite:querystring.q": "${request.querystring.q}-mapped"})
    status, event = api.get("/x?q=1")
    assert (status, event["headers"]["x-stage"], event["queryStringParameters"]) == (200, "$default", {"q": "1-mapped"})


def test_an_access_log_is_read_where_aws_has_it(apis, logs, api, name):
    destination = f"arn:aws:logs:us-east-1:000000000000:log-group:{name}"
    line = json.dumps({"id": "$context.requestId", "status": "$context.status", "key": "$context.routeKey"})
    apis.update_stage(ApiId=api.id, StageName="$default", AccessLogSettings={"DestinationArn": destination, "Format": line})
    api.get("/logged")
    deadline = time.monotonic() + 60
    lines = []
    while not lines and time.monotonic() < deadline:
        try:
            lines = logs.filter_log_events(logGroupName=name)["events"]
        except logs.exceptions.ResourceNotFoundException:
            pass
        time.sleep(0.05)
    said = json.loads(lines[0]["message"])
    assert (said["status"], said["key"]) == ("200", "$default")


def test_metrics_usage_and_a_rate_for_the_account():
    server = Server(arguments=["--api-rate", "1", "--api-burst", "3"]).start()
    apis = server.client("apigatewayv2")
    api = apis.create_api(Name="counted", ProtocolType="HTTP", Target="http://127.0.0.1:1/")["ApiId"]
    apis.update_stage(ApiId=api, StageName="$default", DefaultRouteSettings={"DetailedMetricsEnabled": True})
    statuses = []
    for _ in range(20):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("GET", "/", headers={"Host": f"{api}.execute-api.localhost:{server.port}"})
        statuses.append(connection.getresponse().status)
        connection.close()
    assert set(statuses) == {503, 429}
    _, metrics = server.get("/_gatemill/metrics")
    labels = f'account="000000000000",region="us-east-1",api="{api}",stage="$default"'
    assert f"gatemill_api_stage_requests_total{{{labels}}} 20\n" in metrics.decode()
    assert f'gatemill_api_route_requests_total{{{labels},route="$default"}} 20\n' in metrics.decode()
    assert server.stop() == 0, server.log()
    # What was counted outlives the server.
    server = Server(directory=server.directory).start()
    _, usage = server.get("/_gatemill/usage")
    assert [(row["api"], row["calls"]) for row in json.loads(usage)["usage"]] == [(api, 20)]
    assert server.stop() == 0, server.log()
