"""API keys and usage plans with boto3, and what they let in on a WebSocket API: keys, rates, and quotas that survive a kill."""

import datetime
import json
import re

import pytest
import websockets.exceptions
from botocore.exceptions import ClientError

from packages import create, package
from server import Server
from waiting import until
from websocket_api import CODE, Api, api, arn_of  # noqa: F401 (fixtures)

FUNCTIONS = "keys"
AUTHORIZE = package(app__py='''
def handler(event, context):
    query = event["queryStringParameters"]
    statement = {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": event["methodArn"]}
    answer = {"principalId": "me", "policyDocument": {"Version": "2012-10-17", "Statement": [statement]}}
    if "key" in query:
        answer["usageIdentifierKey"] = query["key"]
    return answer
''')


@pytest.fixture(scope="module")
def rest(server):
    return server.client("apigateway")


def refusal(call, **arguments):
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    error = refused.value.response
    return error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Code"], error["Error"]["Message"]


def today(server=None):
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")


def plain(answer):
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


def key_of(rest, name, enabled=True, **more):
    return rest.create_api_key(name=name, enabled=enabled, **more)


def plan_of(rest, api, name, key=None, **more):
    plan = rest.create_usage_plan(name=name, apiStages=[{"apiId": api.id, "stage": "dev"}], **more)["id"]
    if key:
        rest.create_usage_plan_key(usagePlanId=plan, keyId=key, keyType="API_KEY")
    return plan


def need_key(api, key, handler=None, **more):
    route = api.route(key, handler, **more)
    changed = api.apis.update_route(ApiId=api.id, RouteId=route["RouteId"], ApiKeyRequired=True)
    assert changed["ApiKeyRequired"] is True
    return route


def connect(api, value=None, query=""):
    """The connection, or the status and the message of a refusal."""
    try:
        return api.connect(query, additional_headers={"X-Api-Key": value} if value else {})
    except websockets.exceptions.InvalidStatus as refused:
        return refused.response.status_code, json.loads(refused.response.body)["message"]


def opens(api, value):
    answer = connect(api, value)
    if isinstance(answer, tuple):
        return answer
    with answer:
        return 101, None


def used(rest, plan, key):
    values = rest.get_usage(usagePlanId=plan, keyId=key, startDate=today(), endDate=today())["items"][key]
    assert len(values) == 1
    return values[0]


def test_keys(rest, name):
    made = rest.create_api_key(name=f"{name}-a", description="d", customerId=name, tags={"team": "blue"})
    assert made["enabled"] is False and made["stageKeys"] == [] and made["tags"] == {"team": "blue"}
    assert re.fullmatch("[a-z0-9]{10}", made["id"]) and re.fullmatch("[A-Za-z0-9]{40}", made["value"])
    assert made["createdDate"] == made["lastUpdatedDate"] and made["createdDate"].microsecond == 0
    without = {k: v for k, v in plain(made).items() if k != "value"}
    assert plain(rest.get_api_key(apiKey=made["id"])) == without
    assert rest.get_api_key(apiKey=made["id"], includeValue=True)["value"] == made["value"]
    other = rest.create_api_key(name=f"{name}-b", value="v" * 20, enabled=True, generateDistinctId=True)
    assert other["value"] == "v" * 20 and other["enabled"] is True
    assert refusal(rest.create_api_key, name="x", value="v" * 20) == (409, "ConflictException", "API Key already exists")
    assert refusal(rest.create_api_key, value="v" * 19) == (
        400, "BadRequestException", "API Key value should be at least 20 characters")
    for unfit in ("v" * 20 + " v", "v" * 20 + "\n", "ä" * 20):
        assert refusal(rest.create_api_key, value=unfit) == (
            400, "BadRequestException", "API Key value has characters that no header can have")
    assert refusal(rest.create_api_key, value="v" * 129)[2] == "API Key value exceeds maximum size of 128 characters"
    assert refusal(rest.create_api_key, name="n" * 1025)[2] == "Invalid API Key name, can be at most 1024 characters."
    assert refusal(rest.create_api_key, stageKeys=[{"restApiId": "a", "stageName": "s"}])[:2] == (501, "NotImplementedException")

    listed = rest.get_api_keys(nameQuery=f"{name}-")["items"]
    assert {key["id"] for key in listed} == {made["id"], other["id"]} and "value" not in listed[0]
    assert rest.get_api_keys(nameQuery=name.upper() + "-")["items"] == []
    assert [key["id"] for key in rest.get_api_keys(customerId=name)["items"]] == [made["id"]]
    assert {key["value"] for key in rest.get_api_keys(nameQuery=f"{name}-", includeValues=True)["items"]} == {made["value"], "v" * 20}
    pages = rest.get_paginator("get_api_keys").paginate(nameQuery=f"{name}-", PaginationConfig={"PageSize": 1})
    assert [len(page["items"]) for page in pages] == [1, 1]
    assert len(rest.get_api_keys(nameQuery=f"{name}-", limit=-1)["items"]) == 2

    patch = [{"op": "replace", "path": "/enabled", "value": "true"}, {"op": "replace", "path": "/name", "value": f"{name}-c"},
             {"op": "replace", "path": "/description", "value": ""}, {"op": "replace", "path": "/customerId", "value": "c"}]
    changed = rest.update_api_key(apiKey=made["id"], patchOperations=patch)
    assert (changed["enabled"], changed["name"], changed["customerId"]) == (True, f"{name}-c", "c")
    assert "description" not in changed and "value" not in changed
    patch = [{"op": "replace", "path": "/enabled", "value": "notabool"}]
    assert rest.update_api_key(apiKey=made["id"], patchOperations=patch)["enabled"] is False
    for path, op, message in [("/x", "replace", "Invalid patch path /x"),
                              ("/name", "add", "Invalid patch operation specified. Must be one of: [replace]")]:
        assert refusal(rest.update_api_key, apiKey=made["id"], patchOperations=[{"op": op, "path": path, "value": "v"}])[2] == message
    for path in ("/labels", "/stages"):
        patch = [{"op": "add", "path": path, "value": "v"}]
        assert refusal(rest.update_api_key, apiKey=made["id"], patchOperations=patch)[0] == 501
    status, code, message = refusal(rest.update_api_key, apiKey=made["id"], patchOperations=[{"op": "set", "path": "/name"}])
    assert (status, code) == (400, "ValidationException") and "[add, remove, move, test, replace, copy]" in message

    rest.delete_api_key(apiKey=other["id"])
    for call in (rest.get_api_key, rest.delete_api_key, rest.update_api_key):
        assert refusal(call, apiKey=other["id"]) == (404, "NotFoundException", "Invalid API Key identifier specified")
    # The value is free again.
    rest.delete_api_key(apiKey=rest.create_api_key(value="v" * 20)["id"])


def test_plans(rest, api, name):
    quota = {"limit": 10, "offset": 0, "period": "DAY"}
    made = rest.create_usage_plan(name=name, description="d", apiStages=[{"apiId": api.id, "stage": "dev"}],
                                  throttle={"burstLimit": 1, "rateLimit": 2.0}, quota=quota, tags={"team": "blue"})
    expected = {"name": name, "description": "d", "apiStages": [{"apiId": api.id, "stage": "dev"}],
                "throttle": {"burstLimit": 1, "rateLimit": 2.0}, "quota": quota, "tags": {"team": "blue"}}
    plan = made["id"]
    assert plain(made) == {"id": plan, **expected} == plain(rest.get_usage_plan(usagePlanId=plan))
    bare = rest.create_usage_plan(name="bare")
    assert plain(bare) == {"id": bare["id"], "name": "bare", "apiStages": []}
    assert {plan, bare["id"]} <= {one["id"] for one in rest.get_usage_plans(limit=500)["items"]}

    key = key_of(rest, name)
    added = rest.create_usage_plan_key(usagePlanId=plan, keyId=key["id"], keyType="API_KEY")
    assert plain(added) == {"id": key["id"], "name": name, "type": "API_KEY", "value": key["value"]}
    assert plain(rest.get_usage_plan_key(usagePlanId=plan, keyId=key["id"])) == plain(added)
    assert rest.get_usage_plan_keys(usagePlanId=plan, nameQuery=name)["items"] == [plain(added)]
    assert rest.get_usage_plan_keys(usagePlanId="absent")["items"] == []
    assert [one["id"] for one in rest.get_usage_plans(keyId=key["id"])["items"]] == [plan]
    again = dict(usagePlanId=plan, keyId=key["id"], keyType="API_KEY")
    assert refusal(rest.create_usage_plan_key, **again)[:2] == (409, "ConflictException")
    assert refusal(rest.create_usage_plan_key, **{**again, "keyId": "absent"}) == (
        404, "NotFoundException", "Invalid API Key identifier specified")
    assert refusal(rest.create_usage_plan_key, **{**again, "keyType": "TOKEN"})[0] == 400
    assert refusal(rest.create_usage_plan_key, **{**again, "usagePlanId": "absent"}) == (
        404, "NotFoundException", "Invalid Usage Plan ID specified")
    # One plan for a key and a stage.
    rest.create_usage_plan_key(usagePlanId=bare["id"], keyId=key["id"], keyType="API_KEY")
    join = [{"op": "add", "path": "/apiStages", "value": f"{api.id}:dev"}]
    assert refusal(rest.update_usage_plan, usagePlanId=bare["id"], patchOperations=join)[:2] == (409, "ConflictException")

    def patch(op, path, value=""):
        return plain(rest.update_usage_plan(usagePlanId=plan, patchOperations=[{"op": op, "path": path, "value": value}]))

    assert patch("replace", "/name", "other")["name"] == "other"
    assert patch("replace", "/throttle/rateLimit", "5")["throttle"] == {"burstLimit": 1, "rateLimit": 5.0}
    assert "throttle" not in patch("remove", "/throttle")
    assert "quota" not in patch("remove", "/quota")
    three = [{"op": "add", "path": f"/quota/{member}", "value": value}
             for member, value in [("period", "WEEK"), ("limit", "7"), ("offset", "6")]]
    changed = rest.update_usage_plan(usagePlanId=plan, patchOperations=three)
    assert changed["quota"] == {"limit": 7, "offset": 6, "period": "WEEK"}
    limits = patch("add", f"/apiStages/{api.id}:dev/throttle", json.dumps({}))
    assert limits["apiStages"] == [{"apiId": api.id, "stage": "dev"}]
    api.route("join")
    patch("add", f"/apiStages/{api.id}:dev/throttle/join/rateLimit", "3")
    limits = patch("replace", f"/apiStages/{api.id}:dev/throttle/join/burstLimit", "4")
    assert limits["apiStages"][0]["throttle"] == {"join": {"burstLimit": 4, "rateLimit": 3.0}}
    assert "throttle" not in patch("remove", f"/apiStages/{api.id}:dev/throttle/join")["apiStages"][0]

    def refused(op, path, value=""):
        return refusal(rest.update_usage_plan, usagePlanId=plan, patchOperations=[{"op": op, "path": path, "value": value}])

    absent = f"Invalid API Stage {{api: absent, stage: dev}} specified for usageplan {plan}"
    assert refused("add", "/apiStages", "absent:dev") == (404, "NotFoundException", absent)
    assert refused("remove", "/apiStages", "absent:dev") == (404, "NotFoundException", absent)
    assert refused("remove", "/apiStages", "") == (400, "BadRequestException", "Invalid API Stage specified")
    status, _, message = refused("remove", f"/apiStages/{api.id}:dev")
    assert status == 400 and message.startswith(f"Invalid patch path  '/apiStages/{api.id}:dev' specified for op 'remove'. Must be one of: [/apiStages, /quota")
    assert refused("replace", "/quota/offset", "7")[2] == "Usage Plan quota offset must be between zero and six inclusive in the WEEK period"
    assert refused("add", "/productCode", "p")[:2] == (501, "NotImplementedException")
    assert refused("add", f"/apiStages/{api.id}:dev/throttle/nowhere/rateLimit", "1")[0] == 400
    # All of a patch, or none of it.
    both = [{"op": "replace", "path": "/name", "value": "lost"}, {"op": "replace", "path": "/none", "value": "x"}]
    assert refusal(rest.update_usage_plan, usagePlanId=plan, patchOperations=both)[0] == 400
    assert rest.get_usage_plan(usagePlanId=plan)["name"] == "other"
    assert refusal(rest.create_usage_plan, name=name, quota={"limit": 1, "offset": 1, "period": "DAY"})[2] == (
        "Usage Plan quota offset must be zero in the DAY period")
    http = api.apis.create_api(Name=name, ProtocolType="HTTP")["ApiId"]
    api.apis.create_stage(ApiId=http, StageName="dev")
    assert refusal(rest.create_usage_plan, name=name, apiStages=[{"apiId": http, "stage": "dev"}])[0] == 404

    assert refusal(rest.delete_usage_plan, usagePlanId=plan) == (
        400, "BadRequestException",
        f"Cannot delete Usage Plan {plan} because there are API Stages associated with it, including {api.id}:dev")
    patch("remove", "/apiStages", f"{api.id}:dev")
    rest.delete_usage_plan_key(usagePlanId=plan, keyId=key["id"])
    assert refusal(rest.delete_usage_plan_key, usagePlanId=plan, keyId=key["id"])[0] == 404
    assert refusal(rest.get_usage_plan_key, usagePlanId=plan, keyId=key["id"])[0] == 404
    rest.delete_usage_plan(usagePlanId=plan)
    assert refusal(rest.get_usage_plan, usagePlanId=plan) == (404, "NotFoundException", "Invalid Usage Plan ID specified")
    # A key that is deleted leaves its plans.
    rest.delete_api_key(apiKey=key["id"])
    assert rest.get_usage_plan_keys(usagePlanId=bare["id"])["items"] == []


def test_a_stage_that_goes_leaves_its_plans(rest, api, name):
    plan = plan_of(rest, api, name)
    api.apis.delete_stage(ApiId=api.id, StageName="dev")
    assert rest.get_usage_plan(usagePlanId=plan)["apiStages"] == []
    api.apis.create_stage(ApiId=api.id, StageName="dev", AutoDeploy=True)
    rest.update_usage_plan(usagePlanId=plan, patchOperations=[{"op": "add", "path": "/apiStages", "value": f"{api.id}:dev"}])
    api.apis.delete_api(ApiId=api.id)
    assert rest.get_usage_plan(usagePlanId=plan)["apiStages"] == []


def test_tags_and_the_account(rest, apis, api, name):
    key, plan = key_of(rest, name)["id"], rest.create_usage_plan(name=name)["id"]
    for arn in (f"arn:aws:apigateway:us-east-1::/apikeys/{key}", f"arn:aws:apigateway:us-east-1::/usageplans/{plan}",
                f"arn:aws:apigateway:us-east-1::/apis/{api.id}"):
        assert rest.get_tags(resourceArn=arn)["tags"] == {}
        status = rest.tag_resource(resourceArn=arn, tags={"a": "1", "b": "2"})["ResponseMetadata"]["HTTPStatusCode"]
        assert status == 204
        rest.untag_resource(resourceArn=arn, tagKeys=["a"])
        assert rest.get_tags(resourceArn=arn)["tags"] == {"b": "2"}
    assert rest.get_api_key(apiKey=key)["tags"] == {"b": "2"} == rest.get_usage_plan(usagePlanId=plan)["tags"]
    assert apis.get_tags(ResourceArn=f"arn:aws:apigateway:us-east-1::/apis/{api.id}")["Tags"] == {"b": "2"}
    absent = "arn:aws:apigateway:us-east-1::/apikeys/absent"
    assert refusal(rest.tag_resource, resourceArn=absent, tags={"a": "1"})[:2] == (404, "NotFoundException")
    account = rest.get_account()
    assert account["features"] == ["UsagePlans"] and account["apiKeyVersion"] == "4"


def test_keys_are_imported(rest, api, name):
    plan = plan_of(rest, api, name)
    text = (f'Name,key,description,Enabled,usageplanIds,colour\r\n{name}-one,{"1" * 20}{name},"a, b",,{plan},red\r\n'
            f'{name}-two,{"2" * 20}{name},,FALSE,"{plan},absent",\r\n{name}-bad,short,,,,\r\n')
    answer = rest.import_api_keys(body=text.encode(), format="csv")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 201 and len(answer["ids"]) == 2
    assert answer["warnings"] == ["Line 3: API Key value should be at least 20 characters",
                                  "Line 2: Invalid Usage Plan ID specified: absent"]
    one, two = (rest.get_api_key(apiKey=key, includeValue=True) for key in answer["ids"])
    assert (one["name"], one["value"], one["description"], one["enabled"]) == (f"{name}-one", "1" * 20 + name, "a, b", True)
    assert two["enabled"] is False and "description" not in two
    assert {key["id"] for key in rest.get_usage_plan_keys(usagePlanId=plan)["items"]} == set(answer["ids"])
    again = f'key,name\n{"1" * 20}{name},{name}-renamed\n'
    assert rest.import_api_keys(body=again.encode(), format="csv")["ids"] == [one["id"]]
    assert rest.get_api_key(apiKey=one["id"])["name"] == f"{name}-renamed"
    assert refusal(rest.import_api_keys, body=text.replace("short", "x").encode(), format="csv", failOnWarnings=True)[:2] == (
        400, "BadRequestException")
    assert rest.get_api_key(apiKey=one["id"])["name"] == f"{name}-renamed", "nothing was imported"
    assert refusal(rest.import_api_keys, body=b"colour\nred\n", format="csv")[0] == 400


def test_connect_needs_a_key_of_a_plan(rest, api, logs, name):
    group = f"/keys/{name}"
    logs.create_log_group(logGroupName=group)
    api.apis.update_stage(ApiId=api.id, StageName="dev", AccessLogSettings={
        "DestinationArn": f"arn:aws:logs:us-east-1:000000000000:log-group:{group}",
        "Format": "$context.requestId $context.eventType $context.routeKey $context.status $context.identity.apiKeyId $context.error.message"})
    need_key(api, "$connect", "shown")
    key = key_of(rest, name, enabled=False)
    value = key["value"]
    assert opens(api, None) == (403, "Forbidden")
    assert opens(api, value) == (403, "Forbidden"), "disabled"
    rest.update_api_key(apiKey=key["id"], patchOperations=[{"op": "replace", "path": "/enabled", "value": "true"}])
    assert opens(api, value) == (403, "Forbidden"), "in no plan"
    plan = plan_of(rest, api, name, key["id"])
    # The function shows its event by refusing.
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        api.connect(additional_headers={"x-api-key": value})
    event = json.loads(refused.value.response.body)
    identity = event["requestContext"]["identity"]
    assert refused.value.response.status_code == 400
    assert identity["apiKey"] == value and identity["apiKeyId"] == key["id"] and event["headers"]["x-api-key"] == value
    assert opens(api, value + "x") == (403, "Forbidden")
    # Without a need for one, a key is nothing.
    connect_route = next(r for r in api.apis.get_routes(ApiId=api.id)["Items"] if r["RouteKey"] == "$connect")
    assert connect_route["ApiKeyRequired"] is True
    api.apis.update_route(ApiId=api.id, RouteId=connect_route["RouteId"], ApiKeyRequired=False)
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        api.connect(additional_headers={"x-api-key": "anything"})
    assert "apiKey" not in json.loads(refused.value.response.body)["requestContext"]["identity"]
    api.apis.update_route(ApiId=api.id, RouteId=connect_route["RouteId"], ApiKeyRequired=True, Target="")
    assert opens(api, value) == (101, None)
    assert used(rest, plan, key["id"]) == [2]
    rest.delete_usage_plan_key(usagePlanId=plan, keyId=key["id"])
    assert opens(api, value) == (403, "Forbidden")

    def lines():
        return [event["message"].split(" ", 1)[1] for event in logs.filter_log_events(logGroupName=group)["events"]]

    until(lambda: len(lines()) >= 8, "every handshake is logged")
    assert sorted(lines()) == sorted([
        *["CONNECT $connect 403 - Forbidden"] * 5, f"CONNECT $connect 400 {key['id']} -", "CONNECT $connect 400 - -",
        f"CONNECT $connect 200 {key['id']} -"])
    # The end of a connection cannot be refused.
    assert refusal(api.apis.create_route, ApiId=api.id, RouteKey="$disconnect", ApiKeyRequired=True)[:2] == (501, "NotImplementedException")


def test_messages_need_the_key_of_their_connection(rest, api, name):
    key = key_of(rest, name)
    plan_of(rest, api, name, key["id"])
    need_key(api, "paid", "echo", answers=True)
    api.route("$default", "echo", answers=True)

    def asked(client, action):
        client.send(json.dumps({"action": action}))
        return json.loads(client.recv(timeout=60))

    with connect(api) as client:
        assert "apiKey" not in asked(client, "free")["requestContext"]["identity"]
        refused = asked(client, "paid")
        assert refused.keys() == {"message", "connectionId", "requestId"} and refused["message"] == "Forbidden"
    with connect(api, key["value"]) as client:
        assert "apiKey" not in asked(client, "free")["requestContext"]["identity"]
        identity = asked(client, "paid")["requestContext"]["identity"]
        assert (identity["apiKey"], identity["apiKeyId"]) == (key["value"], key["id"])
        # A key that is taken away takes its connections along.
        rest.update_api_key(apiKey=key["id"], patchOperations=[{"op": "replace", "path": "/enabled", "value": "false"}])
        assert asked(client, "paid")["message"] == "Forbidden"
        assert asked(client, "free")["requestContext"]["eventType"] == "MESSAGE"


def test_an_authorizer_says_the_key(rest, api, functions, python, name):
    arn = create(functions, f"keys-authorize-{name}", AUTHORIZE, python)["FunctionArn"]
    functions.add_permission(FunctionName=arn, StatementId="gateway", Action="lambda:InvokeFunction", Principal="apigateway.amazonaws.com")
    authorizer = api.apis.create_authorizer(
        ApiId=api.id, Name="a", AuthorizerType="REQUEST", IdentitySource=["route.request.querystring.who"],
        AuthorizerUri=f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{arn}/invocations")["AuthorizerId"]
    changed = api.apis.update_api(ApiId=api.id, ApiKeySelectionExpression="$context.authorizer.usageIdentifierKey")
    assert changed["ApiKeySelectionExpression"] == "$context.authorizer.usageIdentifierKey"
    route = need_key(api, "$connect")
    api.apis.update_route(ApiId=api.id, RouteId=route["RouteId"], AuthorizationType="CUSTOM", AuthorizerId=authorizer)
    need_key(api, "$default", "echo", answers=True)
    key = key_of(rest, name)
    plan_of(rest, api, name, key["id"])
    assert connect(api, key["value"], "?who=me") == (403, "Forbidden"), "the header counts for nothing"
    with connect(api, query=f"?who=me&key={key['value']}") as client:
        client.send("x")
        context = json.loads(client.recv(timeout=60))["requestContext"]
    assert context["identity"]["apiKeyId"] == key["id"] and context["authorizer"] == {"principalId": "me"}


def test_the_rate_and_the_quota_of_a_plan(rest, api, name):
    need_key(api, "$connect")
    key, value = (lambda made: (made["id"], made["value"]))(key_of(rest, name))
    plan = plan_of(rest, api, name, key, throttle={"rateLimit": 0.0001, "burstLimit": 2},
                   quota={"limit": 3, "offset": 0, "period": "DAY"})
    assert [opens(api, value) for _ in range(3)] == [(101, None), (101, None), (429, "Too Many Requests")]
    assert used(rest, plan, key) == [2, 1], "what the rate refuses takes nothing of the quota"
    rest.update_usage_plan(usagePlanId=plan, patchOperations=[{"op": "remove", "path": "/throttle"}])
    assert [opens(api, value) for _ in range(2)] == [(101, None), (429, "Limit Exceeded")]
    assert used(rest, plan, key) == [3, 0]
    extended = rest.update_usage(usagePlanId=plan, keyId=key, patchOperations=[{"op": "replace", "path": "/remaining", "value": "2"}])
    assert extended["items"] == {key: [[3, 2]]} and extended["startDate"] == extended["endDate"] == today()
    assert [opens(api, value)[0] for _ in range(3)] == [101, 101, 429]
    # A key is counted for itself.
    other = key_of(rest, f"{name}-other")
    rest.create_usage_plan_key(usagePlanId=plan, keyId=other["id"], keyType="API_KEY")
    assert opens(api, other["value"]) == (101, None)
    usage = rest.get_usage(usagePlanId=plan, startDate=today(), endDate=today())
    assert usage["items"] == {key: [[5, 0]], other["id"]: [[1, 2]]} and usage["usagePlanId"] == plan
    week = (datetime.date.fromisoformat(today()) - datetime.timedelta(days=6)).isoformat()
    days = rest.get_usage(usagePlanId=plan, keyId=key, startDate=week, endDate=today())["items"][key]
    assert days == [[0, 3]] * 6 + [[5, 0]]
    for start, end in [("2026-01-02", "2026-01-01"), ("yesterday", today()), ("2020-01-01", "2026-01-01")]:
        assert refusal(rest.get_usage, usagePlanId=plan, startDate=start, endDate=end)[:2] == (400, "BadRequestException")
    assert refusal(rest.update_usage, usagePlanId=plan, keyId=key, patchOperations=[{"op": "replace", "path": "/used", "value": "1"}])[0] == 400
    assert refusal(rest.get_usage, usagePlanId="absent", startDate=today(), endDate=today())[2] == "Invalid Usage Plan ID specified"


def test_a_route_has_a_rate_of_its_own(rest, api, name):
    need_key(api, "slow", "echo", answers=True)
    need_key(api, "$default", "echo", answers=True)
    key = key_of(rest, name)
    plan = rest.create_usage_plan(name=name, throttle={"rateLimit": 0.0001, "burstLimit": 3}, apiStages=[
        {"apiId": api.id, "stage": "dev", "throttle": {"slow": {"rateLimit": 0.0001, "burstLimit": 1}}}])["id"]
    rest.create_usage_plan_key(usagePlanId=plan, keyId=key["id"], keyType="API_KEY")
    with connect(api, key["value"]) as client:
        def asked(action):
            client.send(json.dumps({"action": action}))
            return json.loads(client.recv(timeout=60)).get("message", "in")

        assert [asked("slow") for _ in range(2)] == ["in", "Too Many Requests"]
        assert [asked("other") for _ in range(4)] == ["in", "in", "in", "Too Many Requests"]
        # A change of something else fills no bucket.
        rest.update_usage_plan(usagePlanId=plan, patchOperations=[{"op": "replace", "path": "/name", "value": "renamed"}])
        assert [asked("slow"), asked("other")] == ["Too Many Requests"] * 2


def test_a_quota_survives_kills_and_stops():
    server = Server().start()
    rest, apis = server.client("apigateway"), server.client("apigatewayv2")
    api = Api(server, apis, None, "kills")
    need_key(api, "$connect")
    made = key_of(rest, "kills")
    limit, block = 100, 5
    plan = plan_of(rest, api, "kills", made["id"], quota={"limit": limit, "offset": 0, "period": "MONTH"})

    def open_many(count):
        return sum(opens(api, made["value"]) == (101, None) for _ in range(count))

    # A clean stop gives back what was reserved and not used.
    admitted = open_many(4)
    assert server.stop() == 0, server.log()
    server.start()
    rest = server.client("apigateway")
    assert used(rest, plan, made["id"]) == [4, limit - 4] and admitted == 4
    kills = 4
    for _ in range(kills):
        admitted += open_many(7)
        server.kill()
        server.start()
    rest = server.client("apigateway")
    _, remaining = used(rest, plan, made["id"])
    assert limit - admitted - kills * block <= remaining <= limit - admitted, "a kill gives nothing back, and costs a block at most"
    admitted += open_many(remaining + 3)
    assert admitted <= limit and opens(api, made["value"]) == (429, "Limit Exceeded")
    assert admitted >= limit - kills * block
    server.kill()
    server.start()
    assert opens(api, made["value"]) == (429, "Limit Exceeded"), "used up stays used up"
    assert used(server.client("apigateway"), plan, made["id"])[1] == 0
    # A value is nowhere in the data as it is.
    assert server.stop() == 0, server.log()
    stored = b"".join(path.read_bytes() for path in (server.directory / "data").rglob("*") if path.is_file())
    assert made["value"].encode() not in stored and made["id"].encode() in stored
