"""OTLP: every request is one span with the stages of its path, sent to a receiver that this test is."""

import json
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import websockets.sync.client

from packages import create, package
from server import Server

CODE = package(app__py='''
def handler(event, context):
    return {"statusCode": 200, "body": "made"}
''')
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


class Receiver:
    """Keeps the spans that it is sent; refuses the first requests where it is told so."""

    def __init__(self, refusals=0):
        self.spans, self.resources, self.paths = [], [], []
        self.refusals, self.changed = refusals, threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = receiver.take(self.path, self.headers["Content-Type"], json.loads(body))
                self.send_response(status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def take(self, path, kind, document):
        assert kind == "application/json"
        with self.changed:
            if self.refusals:
                self.refusals -= 1
                return 503
            self.paths.append(path)
            for resource in document["resourceSpans"]:
                self.resources.append({a["key"]: a["value"]["stringValue"] for a in resource["resource"]["attributes"]})
                self.spans += [span for scope in resource["scopeSpans"] for span in scope["spans"]]
            self.changed.notify_all()
        return 200

    def wait(self, condition):
        with self.changed:
            assert self.changed.wait_for(lambda: condition(self.spans), 60), self.spans
            return list(self.spans)


@pytest.fixture(scope="module")
def world(python):
    receiver = Receiver(refusals=1)
    server = Server(arguments=["--otlp-endpoint", receiver.url]).start()
    create(server.client("lambda"), "traced", CODE, python)
    yield server, receiver
    assert server.stop() == 0, server.log()
    receiver.server.shutdown()


def attributes(span):
    return {a["key"]: a["value"]["stringValue"] for a in span["attributes"]}


def named(spans, name, **wanted):
    found = [span for span in spans if span["name"] == name]
    return [span for span in found if wanted.items() <= attributes(span).items()] if wanted else found


def stages(spans, of):
    below = [span for span in spans if span.get("parentSpanId") == of["spanId"]]
    assert all(span["traceId"] == of["traceId"] for span in below)
    times = [int(at) for span in below for at in (span["startTimeUnixNano"], span["endTimeUnixNano"])]
    if not times:
        return []
    assert times == sorted(times) and int(of["startTimeUnixNano"]) <= times[0] and times[-1] <= int(of["endTimeUnixNano"])
    return [span["name"].split(".")[1] for span in below]


def test_a_request_of_an_api_and_the_call_that_it_makes_are_one_trace(world):
    server, receiver = world
    arn = server.client("lambda").get_function(FunctionName="traced")["Configuration"]["FunctionArn"]
    api = server.client("apigatewayv2").create_api(Name="traced", ProtocolType="HTTP", Target=arn)["ApiId"]
    server.client("lambda").add_permission(FunctionName="traced", StatementId="http", Action="lambda:InvokeFunction",
                                           Principal="apigateway.amazonaws.com")
    request = urllib.request.Request(f"{server.url}/_aws/execute-api/{api}/$default/x", headers={"X-Amzn-Trace-Id": TRACE})
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.read() == b"made"
    spans = receiver.wait(lambda spans: named(spans, "proxy") and named(spans, "invoke"))
    (proxy,), (invoke,) = named(spans, "proxy"), named(spans, "invoke")
    assert proxy["traceId"] == invoke["traceId"] == "5759e988bd862e3fe1be46a994272793"
    assert proxy["parentSpanId"] == "53995c3f42cd8ad8" and proxy["kind"] == 2
    assert stages(spans, proxy) == ["parse", "route", "authorize", "throttle", "request", "integrate", "response"]
    assert stages(spans, invoke) == ["resolve", "admit", "place", "exchange", "settle"]
    told = attributes(proxy)
    assert told["http.route"] == "$default" and told["http.response.status_code"] == "200"
    assert told["aws.api_gateway.api_id"] == api and told["aws.api_gateway.stage"] == "$default"
    assert attributes(invoke)["faas.invoked_name"] == "traced" and "status" in invoke
    assert receiver.resources[0]["service.name"] == "gatemill" and set(receiver.paths) == {"/v1/traces"}


def test_calls_of_aws_apis_are_spans_and_failures_say_so(world):
    server, receiver = world
    answer = server.client("lambda").list_functions()
    id_ = answer["ResponseMetadata"]["RequestId"]
    span, = named(receiver.wait(lambda spans: named(spans, "api", **{"aws.request_id": id_})), "api", **{"aws.request_id": id_})
    assert attributes(span)["rpc.service"] == "lambda" and attributes(span)["rpc.method"] == "ListFunctions"
    assert span["status"] == {} and len(span["spanId"]) == 16 and len(span["traceId"]) == 32
    assert stages(receiver.wait(lambda spans: stages(spans, span)), span) == ["authenticate", "identify", "authorize", "handler"]
    # The first request to the receiver was refused, and nothing was lost by that.
    assert receiver.refusals == 0
    assert "gatemill_spans_dropped_total 0\n" in server.get("/_gatemill/metrics")[1].decode()


def test_a_receiver_that_is_away_costs_spans_alone(python):
    receiver = Receiver()
    receiver.server.shutdown()
    receiver.server.server_close()
    server = Server(arguments=["--otlp-endpoint", receiver.url]).start()
    for _ in range(5):
        server.client("sts").get_caller_identity()
    assert server.stop() == 0, server.log()
    assert "spans could not be exported" in server.log()


def test_handshakes_and_messages_are_spans(world):
    server, receiver = world
    apis = server.client("apigatewayv2")
    api = apis.create_api(Name="traced", ProtocolType="WEBSOCKET", RouteSelectionExpression="$request.body.action")["ApiId"]
    mock = apis.create_integration(ApiId=api, IntegrationType="MOCK", RequestTemplates={"$default": "{statusCode: 200}"})["IntegrationId"]
    apis.create_integration_response(ApiId=api, IntegrationId=mock, IntegrationResponseKey="$default", ResponseTemplates={"$default": "said"})
    for key in ("$connect", "say"):
        route = apis.create_route(ApiId=api, RouteKey=key, Target=f"integrations/{mock}")["RouteId"]
    apis.create_route_response(ApiId=api, RouteId=route, RouteResponseKey="$default")
    apis.create_stage(ApiId=api, StageName="s", AutoDeploy=True)
    with websockets.sync.client.connect(f"ws://127.0.0.1:{server.port}/_aws/execute-api/{api}/s", open_timeout=60,
                                        additional_headers={"X-Amzn-Trace-Id": TRACE}) as client:
        client.send('{"action": "say"}')
        assert client.recv(timeout=60) == "said"
        client.send('{"action": "what"}')
        assert json.loads(client.recv(timeout=60))["message"] == "Forbidden"
    of = {"aws.api_gateway.api_id": api, "aws.api_gateway.stage": "s"}
    spans = receiver.wait(lambda spans: named(spans, "handshake", **of) and len(named(spans, "message", **of)) == 2)
    (shaken,), (said, forbidden) = named(spans, "handshake", **of), named(spans, "message", **of)
    assert shaken["traceId"] == "5759e988bd862e3fe1be46a994272793" and shaken["parentSpanId"] == "53995c3f42cd8ad8"
    assert attributes(shaken)["http.response.status_code"] == "101"
    assert stages(spans, shaken) == ["check", "place", "throttle", "authorize", "admit", "integrate"]
    assert stages(spans, said) == ["select", "throttle", "admit", "validate", "integrate", "answer"]
    assert attributes(said)["http.route"] == "say" and stages(spans, forbidden) == ["select"]
