"""HTTP APIs: who may use a route, what is changed on the way, and what is logged of it."""

import http.client
import json
import time

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

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
            return answer.status, json.loads(text)

    return Api()


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
