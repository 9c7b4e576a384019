"""Details that emulators of API Gateway get wrong: one test for each entry of the list that concerns HTTP and WebSocket APIs.

The list is that of the behaviour reference (its section 14). What another test shows already is named here and not shown twice:

| detail | shown by |
|---|---|
| 3 `rawPath` with the stage, 5 `$default` as a part of a path | `crates/gateway/tests/it/lambda_proxy.rs`: `a_named_stage_stands_before_the_path` |
| 11 payload formats | `test_http_apis.py`: `test_event_2_0`, `test_event_1_0_and_its_answers` |
| 13 claims of tokens | unit tests of `crates/gateway/src/authorizer/jwt.rs`; `tests/it/authorizers.rs`: `tokens_scopes_and_challenges` |
| 16 API keys, 19 the words of rates and quotas, 20 values of keys in lists, 33 patches | `test_api_keys.py` |
| 14, 16, 17, 18 authorizers | `test_http_api_access.py`; `tests/it/authorizers.rs`, one after the other |
| 21 CORS | `test_http_apis.py`: `test_cors` |
| 23, 24, 25, 27 templates | unit tests of `crates/template`, vector by vector; `test_websocket_templates.py` |
| 26 patterns of responses | unit tests of `crates/gateway/src/websocket/select.rs`; `test_websocket_templates.py` |
| 28, 29, 30 answers of functions | `test_http_apis.py`: `test_structured_answers_cookies_and_errors`; `tests/it/lambda_proxy.rs` |
| 32 integration time-outs | `tests/it/lambda_proxy.rs`: `a_function_that_takes_too_long_is_unavailable` |
| 35 deployments are snapshots | `test_http_apis.py`: `test_stages_and_deployments_are_snapshots`; `tests/it/deployment.rs` |
| 37 imports | `test_openapi.py`; `tests/it/openapi.rs` |
| 40 to 44 WebSocket | `test_websocket_apis.py`; the ends of idle and old connections there as well |
| 47 domains | `test_domains_tls.py`; `tests/it/domains.rs` |

Of REST APIs alone: 6, 22, 48. Of 1, 10, 19, 31 and 33 what concerns them is left out.
"""

import http.client
import json
import pathlib
import re

import pytest
from botocore.exceptions import ClientError

from packages import create, package
from raw_http import Upstream

CODE = package(app__py='''
import json

def handler(event, context):
    # Format 1.0 infers nothing: an answer without a status code is an error.
    return {"statusCode": 200, "body": json.dumps(event)}
''')


@pytest.fixture(scope="module")
def arn(functions, python):
    made = create(functions, "gateway-details", CODE, python)["FunctionArn"]
    functions.add_permission(FunctionName=made, StatementId="gateway", Action="lambda:InvokeFunction", Principal="apigateway.amazonaws.com")
    return made


class Api:
    def __init__(self, server, apis, arn, name):
        self.server, self.apis, self.arn = server, apis, arn
        self.id = apis.create_api(Name=name, ProtocolType="HTTP")["ApiId"]
        self.integrations = {}
        apis.create_stage(ApiId=self.id, StageName="$default", AutoDeploy=True, StageVariables={"function": "gateway-details", "path": "here"})

    def integration(self, version):
        if version not in self.integrations:
            made = self.apis.create_integration(ApiId=self.id, IntegrationType="AWS_PROXY", IntegrationUri=self.arn, PayloadFormatVersion=version)
            self.integrations[version] = made["IntegrationId"]
        return self.integrations[version]

    def route(self, key, version="2.0"):
        return self.apis.create_route(ApiId=self.id, RouteKey=key, Target=f"integrations/{self.integration(version)}")

    def call(self, path, method="GET", headers=None, body=None, host=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        host = host or f"{self.id}.execute-api.us-east-1.localhost:{self.server.port}"
        connection.request(method, path, body=body, headers={"Host": host, **(headers or {})})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer, content

    def event(self, *of, **more):
        answer, content = self.call(*of, **more)
        assert answer.status == 200, content
        return json.loads(content)


@pytest.fixture
def api(server, apis, arn, name):
    return Api(server, apis, arn, name)


def test_1_and_7_a_path_or_a_verb_without_a_route_is_not_found(api):
    api.route("GET /pets")
    for method, path in (("GET", "/other"), ("POST", "/pets"), ("OPTIONS", "/pets"), ("HEAD", "/pets"), ("GET", "/pets/")):
        answer, content = api.call(path, method)
        assert answer.status == 404 and answer.headers["content-type"] == "application/json", (method, path)
        assert content == (b"" if method == "HEAD" else b'{"message":"Not Found"}')


def test_2_and_4_less_special_routes_are_tried_too_and_events_show_templates(api):
    for key in ("GET /pets/dog/1", "GET /pets/dog/{id}", "GET /pets/{proxy+}", "ANY /{proxy+}", "POST /pets/dog/1/toys"):
        api.route(key)
    for method, path, key in (
        ("GET", "/pets/dog/1", "GET /pets/dog/1"), ("GET", "/pets/dog/2", "GET /pets/dog/{id}"),
        # A static sibling that has no such child or verb shadows nothing.
        ("GET", "/pets/dog/1/toys", "GET /pets/{proxy+}"), ("GET", "/pets/cat/3", "GET /pets/{proxy+}"),
        ("DELETE", "/pets/dog/1", "ANY /{proxy+}"), ("GET", "/else", "ANY /{proxy+}"),
    ):
        event = api.event(path, method)
        assert event["routeKey"] == event["requestContext"]["routeKey"] == key, (method, path)
        assert event["rawPath"] == path


def test_8_hosts_in_any_case_on_any_port_and_of_any_region(api):
    api.route("GET /")
    for host in (f"{api.id}.execute-api.eu-west-1.localhost", f"{api.id.upper()}.Execute-Api.us-east-1.localhost:{api.server.port}",
                 f"{api.id}.execute-api.us-east-1.amazonaws.com", f"{api.id}.execute-api.localhost:1"):
        assert api.event("/", host=host)["requestContext"]["apiId"] == api.id, host


def test_9_names_of_headers_keep_their_marks(api):
    api.route("GET /one", "1.0"), api.route("GET /two")
    headers = {"X-Under_Score": "a", "x-Dash-Ed": "b"}
    two = api.event("/two", headers=headers)["headers"]
    assert two["x-under_score"] == "a" and two["x-dash-ed"] == "b"
    one = api.event("/one", headers=headers)
    assert one["multiValueHeaders"]["x-under_score"] == ["a"] and one["headers"]["x-dash-ed"] == "b"


def test_10_what_is_absent_is_null_in_1_0_and_left_out_in_2_0(api, apis):
    apis.update_stage(ApiId=api.id, StageName="$default", StageVariables={"function": "", "path": ""})
    api.route("GET /one", "1.0"), api.route("GET /two")
    one = api.event("/one")
    for member in ("queryStringParameters", "multiValueQueryStringParameters", "pathParameters", "body"):
        assert one[member] is None, member
    assert one["requestContext"]["path"] == "/one" and one["version"] == "1.0" and one["resource"] == "/one"
    assert one["requestContext"]["requestTimeEpoch"] > 10**12
    two = api.event("/two")
    assert not {"queryStringParameters", "pathParameters", "body", "cookies"} & set(two)
    assert two["requestContext"]["timeEpoch"] > 10**12 and two["rawQueryString"] == ""


def test_12_cookies_are_split_and_duplicates_joined(api):
    api.route("GET /")
    event = api.event("/?a=1&a=2&b=%20x", headers={"Cookie": "one=1; two=2"})
    assert event["cookies"] == ["one=1", "two=2"] and "cookie" not in event["headers"]
    assert event["queryStringParameters"] == {"a": "1,2", "b": " x"} and event["rawQueryString"] == "a=1&a=2&b=%20x"


def test_15_the_content_type_says_what_is_base_64(api):
    api.route("POST /")
    for kind, is_base64 in (("application/json", False), ("text/csv", False), ("application/problem+json", False),
                            ("application/octet-stream", True), ("image/png", True)):
        event = api.event("/", "POST", headers={"Content-Type": kind}, body=b"plain text")
        assert event["isBase64Encoded"] is is_base64, kind


def test_31_a_back_end_sees_its_own_host_and_no_hop_by_hop_header(api, apis):
    upstream = Upstream()
    made = apis.create_integration(ApiId=api.id, IntegrationType="HTTP_PROXY", IntegrationMethod="ANY", IntegrationUri=upstream.url,
                                   PayloadFormatVersion="1.0")["IntegrationId"]
    apis.create_route(ApiId=api.id, RouteKey="GET /", Target=f"integrations/{made}")
    answer, content = api.call("/", headers={"Connection": "x-hop", "X-Hop": "1", "X-Stays": "2"})
    assert (answer.status, content) == (200, b"upstream")
    head = upstream.seen[0][1].lower()
    assert f"host: 127.0.0.1:{upstream.port}".encode() in head and b"x-stays: 2" in head
    # Its own host; that of the client stands in Forwarded, as AWS puts it there.
    assert b"x-hop" not in head and f"\r\nhost: {api.id}".encode() not in head
    upstream.close()


def test_34_and_38_timestamps_are_texts_and_statuses_those_of_aws(api, apis, server):
    answer = apis.get_api(ApiId=api.id)["ResponseMetadata"]
    assert answer["HTTPStatusCode"] == 200
    tagged = apis.tag_resource(ResourceArn=f"arn:aws:apigateway:us-east-1::/apis/{api.id}", Tags={"a:b/c": "d"})
    assert tagged["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert apis.get_tags(ResourceArn=f"arn:aws:apigateway:us-east-1::/apis/{api.id}")["Tags"] == {"a:b/c": "d"}
    untagged = apis.untag_resource(ResourceArn=f"arn:aws:apigateway:us-east-1::/apis/{api.id}", TagKeys=["a:b/c"])
    assert untagged["ResponseMetadata"]["HTTPStatusCode"] == 204
    route = api.route("GET /")
    assert route["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert apis.delete_route(ApiId=api.id, RouteId=route["RouteId"])["ResponseMetadata"]["HTTPStatusCode"] == 204


def test_36_what_is_read_back_is_what_was_made(api, apis, name):
    """What infrastructure tools compare: every default, and the same again."""
    def read(answer):
        return {member: value for member, value in answer.items() if member != "ResponseMetadata"}

    created = apis.create_api(Name=name, ProtocolType="HTTP")
    made = read(created)
    assert made == read(apis.get_api(ApiId=made["ApiId"])) and made["Tags"] == {} and made["DisableExecuteApiEndpoint"] is False
    assert made["ApiKeySelectionExpression"] == "$request.header.x-api-key" and made["IpAddressType"] == "ipv4"
    assert made["RouteSelectionExpression"] == "$request.method $request.path" and "CorsConfiguration" not in made
    id = made["ApiId"]
    stage = read(apis.create_stage(ApiId=id, StageName="s"))
    assert stage == read(apis.get_stage(ApiId=id, StageName="s"))
    assert stage["DefaultRouteSettings"] == {"DetailedMetricsEnabled": False} and stage["Tags"] == {}
    assert stage["RouteSettings"] == {} and stage["StageVariables"] == {} and stage.get("AutoDeploy", False) is False
    integration = read(apis.create_integration(ApiId=id, IntegrationType="AWS_PROXY", IntegrationUri=api.arn, PayloadFormatVersion="2.0"))
    assert integration == read(apis.get_integration(ApiId=id, IntegrationId=integration["IntegrationId"]))
    assert integration["TimeoutInMillis"] == 30_000 and integration["ConnectionType"] == "INTERNET" and integration["IntegrationMethod"] == "POST"
    route = read(apis.create_route(ApiId=id, RouteKey="GET /", Target=f"integrations/{integration['IntegrationId']}"))
    assert route == read(apis.get_route(ApiId=id, RouteId=route["RouteId"]))
    assert route["ApiKeyRequired"] is False and route["AuthorizationType"] == "NONE"
    link = read(apis.create_vpc_link(Name=name, SubnetIds=["subnet-1"]))
    assert link["VpcLinkStatus"] in ("PENDING", "AVAILABLE") and link["VpcLinkVersion"] == "V2" and link["SecurityGroupIds"] == [] and link["Tags"] == {}
    assert read(apis.get_vpc_link(VpcLinkId=link["VpcLinkId"]))["SubnetIds"] == ["subnet-1"]
    apis.delete_vpc_link(VpcLinkId=link["VpcLinkId"])


def test_39_what_is_in_use_is_not_deleted(api, apis, name):
    api.route("GET /")
    deployment = apis.create_deployment(ApiId=api.id)["DeploymentId"]
    apis.create_stage(ApiId=api.id, StageName="s", DeploymentId=deployment)
    with pytest.raises(ClientError) as refused:
        apis.delete_deployment(ApiId=api.id, DeploymentId=deployment)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 409)
    with pytest.raises(ClientError) as refused:
        apis.delete_integration(ApiId=api.id, IntegrationId=api.integration("2.0"))
    assert refused.value.response["Error"]["Code"] == "ConflictException"


def test_45_ids_traces_and_who_forwarded(api):
    api.route("GET /")
    root = "Root=1-5759e988-bd862e3fe1be46a994272793"
    answer, content = api.call("/", headers={"X-Amzn-Trace-Id": root, "X-Forwarded-For": "192.0.2.7"})
    event = json.loads(content)
    assert event["headers"]["x-forwarded-for"] == "192.0.2.7, 127.0.0.1"
    assert event["headers"]["x-amzn-trace-id"].startswith(root)
    assert answer.headers["apigw-requestid"] == event["requestContext"]["requestId"]
    assert re.fullmatch(r"[A-Za-z0-9_-]{15}=", answer.headers["apigw-requestid"])
    assert answer.headers["x-amzn-requestid"] is None and answer.headers["x-amzn-errortype"] is None
    refused, _ = api.call("/none")
    assert refused.headers["apigw-requestid"] and refused.headers["x-amzn-errortype"] is None


def test_46_variables_of_the_stage_name_what_is_called(api, apis):
    uri = api.arn.replace("gateway-details", "${stageVariables.function}")
    made = apis.create_integration(ApiId=api.id, IntegrationType="AWS_PROXY", IntegrationUri=uri, PayloadFormatVersion="2.0")["IntegrationId"]
    apis.create_route(ApiId=api.id, RouteKey="GET /by-variable", Target=f"integrations/{made}")
    event = api.event("/by-variable")
    assert event["stageVariables"] == {"function": "gateway-details", "path": "here"}


ENTRIES = 48
HERE = pathlib.Path(__file__).resolve().parent
# Where the table means a file without its whole path.
PLACES = [HERE, HERE.parent, HERE.parent / "crates/gateway"]


def numbers(text):
    """The numbers in a text such as `3 paths, 5 others` or `40 to 44`."""
    for first, last in re.findall(r"(?<![\d.])(\d+)(?: to (\d+))?(?![\d.])", text):
        yield from range(int(first), int(last or first) + 1)


def test_every_entry_of_the_list_is_shown_somewhere():
    own = {number for test in globals() for part in re.findall(r"^test_((?:\d+_|and_|to_)+)", test) for number in numbers(part.replace("_", " "))}
    rows = [row.strip("|").split("|") for row in __doc__.splitlines() if row.startswith("| ") and not row.startswith("| detail")]
    table = {number for what, _ in rows for number in numbers(what) if number <= ENTRIES}
    rest = set(numbers(re.search(r"Of REST APIs alone: ([\d, ]+)", __doc__)[1]))
    assert own | table | rest >= set(range(1, ENTRIES + 1)), set(range(1, ENTRIES + 1)) - own - table - rest
    for _, shown in rows:
        named = re.findall(r"`([^`]+)`", shown)
        files = [name for name in named if name.endswith((".py", ".rs")) or name.startswith("crates/")]
        found = [place / name for name in files for place in PLACES if (place / name).exists()]
        assert len(found) >= len(files) > 0, shown
        texts = "".join(path.read_text() for path in found if path.is_file())
        for test in set(named) - set(files):
            assert re.search(rf"\b(def|fn) {test}\b", texts), test
