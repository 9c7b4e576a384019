"""kill -9 at any moment: what was acknowledged is there, and nothing is half there."""

import json
import random
import resource
import threading
import time

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from packages import create, package
from server import Server
from test_http_apis import Call
from test_logs_and_sts import until

HELLO = package(app__py="def handler(event, context):\n    print('spoke', event.get('n'))\n    return event\n")
ROUNDS = 6


def test_kill_9_loses_nothing_that_was_acknowledged(python):
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    server = Server().start()
    acknowledged = {"functions": [], "apis": [], "routes": [], "permissions": []}
    for round_number in range(ROUNDS):
        stop = threading.Event()
        threads = [threading.Thread(target=churn, args=(server, python, acknowledged, stop, f"{round_number}-{n}")) for n in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(chance.uniform(0.3, 1.5))
        server.kill()
        stop.set()
        for thread in threads:
            thread.join(60)
        server.start()
        check(server, acknowledged)
    assert len(acknowledged["functions"]) > ROUNDS and len(acknowledged["routes"]) > ROUNDS
    works_after_all(server, acknowledged)
    assert server.stop() == 0


def churn(server, python, acknowledged, stop, prefix):
    """Makes things as fast as it can and notes each that was acknowledged."""
    functions, apis = server.client("lambda"), server.client("apigatewayv2")
    try:
        for n in range(10_000):
            if stop.is_set():
                return
            name = f"k-{prefix}-{n}"
            create(functions, name, HELLO, python, wait=False)
            acknowledged["functions"].append(name)
            functions.add_permission(FunctionName=name, StatementId="s", Action="lambda:InvokeFunction", Principal="apigateway.amazonaws.com")
            acknowledged["permissions"].append(name)
            api = apis.create_api(Name=name, ProtocolType="HTTP", Target=f"arn:aws:lambda:us-east-1:000000000000:function:{name}")["ApiId"]
            acknowledged["apis"].append(api)
            route = apis.create_route(ApiId=api, RouteKey=f"GET /{n}")["RouteId"]
            acknowledged["routes"].append((api, route))
    except (BotoCoreError, ClientError) as error:
        # Only a connection that broke because the server was killed may end the work.
        assert not isinstance(error, ClientError), error


def check(server, acknowledged):
    functions, apis = server.client("lambda"), server.client("apigatewayv2")
    there = {f["FunctionName"] for page in functions.get_paginator("list_functions").paginate() for f in page["Functions"]}
    assert set(acknowledged["functions"]) <= there
    for name in acknowledged["functions"]:
        functions.get_function(FunctionName=name)
    for name in acknowledged["permissions"]:
        assert len(json.loads(functions.get_policy(FunctionName=name)["Policy"])["Statement"]) == 1
    for api in acknowledged["apis"]:
        assert len(apis.get_integrations(ApiId=api)["Items"]) == 1
        assert apis.get_stage(ApiId=api, StageName="$default")["AutoDeploy"]
    for api, route in acknowledged["routes"]:
        apis.get_route(ApiId=api, RouteId=route)


def works_after_all(server, acknowledged):
    name, api = acknowledged["permissions"][-1], acknowledged["apis"][-1]
    server.client("lambda").get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    assert server.client("lambda").invoke(FunctionName=name, Payload=b'{"n": 1}')["Payload"].read() == b'{"n": 1}'
    assert Call(server, f"{api}.execute-api.localhost").__call__("GET", "/x").status == 200


def test_log_lines_that_were_shown_survive(python):
    server = Server().start()
    functions, logs = server.client("lambda"), server.client("logs")
    create(functions, "talk", HELLO, python)
    shown = []
    for n in range(5):
        functions.invoke(FunctionName="talk", Payload=json.dumps({"n": n}).encode())
        shown = until(lambda: messages(logs, f"spoke {n}"))
        server.kill()
        server.start()
        functions, logs = server.client("lambda"), server.client("logs")
        assert messages(logs, "spoke")[: len(shown)] == shown
    assert [m for m in messages(logs, "spoke") if m.startswith("spoke")] == [f"spoke {n}" for n in range(5)]
    assert server.stop() == 0


def messages(logs, needed):
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName="/aws/lambda/talk")
    try:
        found = [event["message"].rstrip("\n") for page in pages for event in page["events"]]
    except ClientError:
        return None
    return found if any(needed in message for message in found) else None


def test_a_disk_that_was_full_takes_writes_again(python):
    server = Server().start()
    client = server.client("lambda")
    create(client, "kept", package(app__py="def handler(event, context):\n    return 1\n"), python)
    hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)[1]
    # No file may have a byte behind this place: to the server that is a disk without room.
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (4096, hard))
    with pytest.raises(client.exceptions.ServiceException):
        client.update_function_configuration(FunctionName="kept", Description="refused")
    assert client.invoke(FunctionName="kept")["Payload"].read() == b"1"
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
    deadline = time.monotonic() + 30
    while True:
        try:
            client.update_function_configuration(FunctionName="kept", Description="there is room again")
            break
        except client.exceptions.ServiceException:
            # The server looks again only so often.
            assert time.monotonic() < deadline, server.log()
            time.sleep(0.2)
    server.kill()
    server.start()
    kept = server.client("lambda").get_function_configuration(FunctionName="kept")
    assert kept["Description"] == "there is room again"
    assert server.stop() == 0, server.log()


def test_a_log_that_cannot_be_written_costs_lines_and_not_the_server(python):
    server = Server()
    with open("/dev/full", "w") as full:
        server.start(log=full)
    client = server.client("lambda")
    create(client, "heard", package(app__py="def handler(event, context):\n    return 1\n"), python)
    assert client.invoke(FunctionName="heard")["Payload"].read() == b"1"
    assert server.stop() == 0
