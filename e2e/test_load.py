"""Much at once: a thousand concurrent calls, ten thousand routes."""

import http.client
import json
import threading
from collections import Counter

from packages import create, package
from test_http_apis import Call, allow

ECHO = package(app__py="def handler(event, context):\n    return event['rawPath'] if isinstance(event, dict) else event\n")
CALLS = 1000
ROUTES = 10_000


def test_a_thousand_concurrent_calls(functions, server, python, name):
    create(functions, name, ECHO, python, Timeout=60)
    outcomes = Counter()
    lock = threading.Lock()

    def call(n):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        connection.request("POST", f"/2015-03-31/functions/{name}/invocations", body=json.dumps(n), headers={
            "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=00",
            "X-Amz-Date": "20260101T000000Z"})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        right = answer.status == 200 and json.loads(body) == n
        with lock:
            outcomes["right" if right else f"{answer.status} {body[:200]}"] += 1

    threads = [threading.Thread(target=call, args=(n,)) for n in range(CALLS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(180)
    throttled = sum(count for outcome, count in outcomes.items() if outcome.startswith("429"))
    assert outcomes["right"] + throttled == CALLS, outcomes
    assert outcomes["right"] >= CALLS // 2, outcomes
    assert functions.invoke(FunctionName=name, Payload=b"7")["Payload"].read() == b"7"
    assert server.health()["status"] == "ready"


def test_ten_thousand_routes(functions, server, apis, python, name):
    arn = create(functions, name, ECHO, python)["FunctionArn"]
    api = apis.create_api(Name=name, ProtocolType="HTTP")["ApiId"]
    apis.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
    allow(functions, arn, f"arn:aws:execute-api:us-east-1:000000000000:{api}/*/*")
    integration = apis.create_integration(ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=arn, PayloadFormatVersion="2.0")["IntegrationId"]
    numbers = iter(range(ROUTES))
    lock = threading.Lock()

    def make():
        client = server.client("apigatewayv2")
        while True:
            with lock:
                n = next(numbers, None)
            if n is None:
                return
            client.create_route(ApiId=api, RouteKey=f"GET /r{n}/{{id}}", Target=f"integrations/{integration}")

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    listed = sum(len(page["Items"]) for page in apis.get_paginator("get_routes").paginate(ApiId=api, PaginationConfig={"PageSize": 500}))
    assert listed == ROUTES
    call = Call(server, f"{api}.execute-api.localhost")
    for n in (0, 1, 4999, 9999):
        assert call("GET", f"/r{n}/x").content == f"/r{n}/x".encode()
    assert call("GET", "/r10000/x").status == 404
