"""CloudWatch metrics: what functions and APIs are measured by, read by boto3, the AWS CLI, and in each protocol by hand."""

import datetime
import http.client
import io
import json
import os
import re
import subprocess
import time
import urllib.parse
import urllib.request

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
import websockets.sync.client
from botocore.exceptions import ClientError
from botocore.parsers import RpcV2CBORParser

from packages import create, package
from server import Server
from waiting import until

CODE = package(app__py='''
def handler(event, context):
    if isinstance(event, dict) and event.get("fail"):
        raise ValueError("as asked")
    return {"statusCode": 200, "body": "x" * 100}
''')
MINUTE = datetime.timedelta(minutes=1)


@pytest.fixture(scope="module")
def metrics(server):
    return server.client("cloudwatch")


@pytest.fixture(scope="module")
def function(server, functions, python):
    create(functions, "measured", CODE, python)
    functions.publish_version(FunctionName="measured")
    functions.create_alias(FunctionName="measured", Name="live", FunctionVersion="1")
    functions.get_waiter("function_active_v2").wait(FunctionName="measured", Qualifier="1", WaiterConfig={"Delay": 1})
    for payload in (b"{}", b"{}", b'{"fail": true}'):
        functions.invoke(FunctionName="measured", Payload=payload)
    functions.invoke(FunctionName="measured", Qualifier="live", Payload=b"{}")
    functions.put_function_concurrency(FunctionName="measured", ReservedConcurrentExecutions=0)
    with pytest.raises(ClientError):
        functions.invoke(FunctionName="measured", Payload=b"{}")
    functions.delete_function_concurrency(FunctionName="measured")
    return "measured"


def span():
    now = datetime.datetime.now(datetime.timezone.utc)
    return {"StartTime": now - 60 * MINUTE, "EndTime": now + 2 * MINUTE}


def dimensions(**by_name):
    return [{"Name": name, "Value": value} for name, value in by_name.items()]


def total(metrics, namespace, metric, statistic="Sum", **by_name):
    """One statistic of an hour and a bit, its periods together."""
    answer = metrics.get_metric_statistics(
        Namespace=namespace, MetricName=metric, Dimensions=dimensions(**by_name), Period=60, Statistics=[statistic], **span())
    values = [point[statistic] for point in answer["Datapoints"]]
    return (max if statistic == "Maximum" else sum)(values) if values else None


def test_a_function_is_measured_under_all_of_its_names(metrics, function):
    def of(metric, statistic="Sum", **by_name):
        return total(metrics, "AWS/Lambda", metric, statistic, **by_name)

    assert of("Invocations", FunctionName=function) == 4
    assert of("Errors", FunctionName=function) == 1
    assert of("Throttles", FunctionName=function) == 1
    assert of("Invocations") >= 4
    assert of("Invocations", FunctionName=function, Resource=function) == 3
    assert of("Invocations", FunctionName=function, Resource=f"{function}:live") == 1
    assert of("Invocations", FunctionName=function, Resource=f"{function}:live", ExecutedVersion="1") == 1
    assert of("Duration", "SampleCount", FunctionName=function) == 4
    assert of("ConcurrentExecutions", "Maximum", FunctionName=function) == 1
    assert of("UnreservedConcurrentExecutions", "Maximum") == 1
    assert of("Invocations", FunctionName="nobody") is None


def test_data_and_math_and_percentiles(metrics, function):
    def stat(identifier, metric, statistic, **more):
        metric = {"Namespace": "AWS/Lambda", "MetricName": metric, "Dimensions": dimensions(FunctionName=function)}
        return {"Id": identifier, "MetricStat": {"Metric": metric, "Period": 3600 * 24, "Stat": statistic}, **more}

    day = datetime.datetime.now(datetime.timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    # Two days, so that a midnight during the test does no harm.
    answer = metrics.get_metric_data(
        StartTime=day - datetime.timedelta(days=1), EndTime=day + datetime.timedelta(days=2), ScanBy="TimestampAscending",
        MetricDataQueries=[
            stat("m1", "Invocations", "Sum", ReturnData=False), stat("m2", "Errors", "Sum", Label="went wrong"),
            stat("p", "Duration", "p99"), {"Id": "e1", "Expression": "100 * m2 / m1"},
        ])
    results = {result["Id"]: result for result in answer["MetricDataResults"]}
    assert list(results) == ["m2", "p", "e1"]
    assert results["m2"]["Label"] == "went wrong" and sum(results["m2"]["Values"]) == 1
    assert all(result["StatusCode"] == "Complete" for result in results.values())
    assert results["p"]["Values"][0] > 0
    assert len(results["e1"]["Timestamps"]) == len(results["e1"]["Values"]) >= 1
    assert results["e1"]["Values"] == [25.0] or len(results["e1"]["Values"]) > 1


def test_math_over_many_lines(metrics, function):
    day = datetime.datetime.now(datetime.timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)

    def ask(*queries):
        answer = metrics.get_metric_data(StartTime=day - datetime.timedelta(days=1), EndTime=day + datetime.timedelta(days=2),
                                         MetricDataQueries=list(queries))
        return [(result["Id"], result["Label"], sum(result["Values"])) for result in answer["MetricDataResults"]]

    def stat(identifier, metric):
        metric = {"Namespace": "AWS/Lambda", "MetricName": metric, "Dimensions": dimensions(FunctionName=function)}
        return {"Id": identifier, "MetricStat": {"Metric": metric, "Period": 86_400, "Stat": "Sum"}, "ReturnData": False}

    lines = [stat("m1", "Invocations"), stat("m2", "Errors")]
    assert ask(*lines, {"Id": "e1", "Expression": "METRICS()"}) == [("e1", "Invocations", 4), ("e1", "Errors", 1)]
    assert ask(*lines, {"Id": "e1", "Expression": "10 * METRICS('m2')", "Label": "ten"}) == [("e1", "ten", 10)]
    assert ask(*lines, {"Id": "e1", "Expression": "IF(m1 > 0, m2 / m1, 0) * 100"}) == [("e1", "e1", 25)]
    search = f"SEARCH('{{AWS/Lambda,FunctionName}} MetricName=(\"Invocations\" OR \"Errors\") FunctionName=\"{function}\"', 'Sum', 86400)"
    found = ask({"Id": "e1", "Expression": f"SORT({search}, SUM, DESC)"})
    assert found == [("e1", f"{function} Invocations", 4), ("e1", f"{function} Errors", 1)]
    assert ask({"Id": "e1", "Expression": f"SUM({search})"}) == [("e1", "e1", 5)]


def test_what_an_account_has_claimed(server, metrics, functions, function, python):
    """What is reserved or provisioned counts whether it runs or not."""
    before = total(metrics, "AWS/Lambda", "ClaimedAccountConcurrency", "Maximum") or 0
    assert before >= 1
    # One of its own: others count the calls of the shared one.
    create(functions, "claims", CODE, python)
    functions.put_function_concurrency(FunctionName="claims", ReservedConcurrentExecutions=7)
    functions.invoke(FunctionName="claims", Payload=b"{}")
    until(lambda: total(metrics, "AWS/Lambda", "ClaimedAccountConcurrency", "Maximum") >= 7)
    functions.delete_function(FunctionName="claims")


def test_provisioned_concurrency_is_measured(metrics, functions, python):
    create(functions, "provisioned-measured", CODE, python)
    functions.publish_version(FunctionName="provisioned-measured")
    functions.put_provisioned_concurrency_config(FunctionName="provisioned-measured", Qualifier="1", ProvisionedConcurrentExecutions=2)
    until(lambda: functions.get_provisioned_concurrency_config(FunctionName="provisioned-measured", Qualifier="1")["Status"] == "READY")
    functions.invoke(FunctionName="provisioned-measured", Qualifier="1", Payload=b"{}")

    def of(metric, statistic="Sum"):
        return total(metrics, "AWS/Lambda", metric, statistic, FunctionName="provisioned-measured", Resource="provisioned-measured:1")

    until(lambda: of("ProvisionedConcurrencyInvocations") == 1)
    assert of("ProvisionedConcurrentExecutions", "Maximum") == 1
    assert of("ProvisionedConcurrencyUtilization", "Maximum") == 0.5
    assert of("ProvisionedConcurrencySpilloverInvocations") is None
    functions.delete_function(FunctionName="provisioned-measured")


def test_metrics_are_listed(metrics, function):
    found = []
    for page in metrics.get_paginator("list_metrics").paginate(Namespace="AWS/Lambda", MetricName="Invocations"):
        found += [{d["Name"]: d["Value"] for d in metric["Dimensions"]} for metric in page["Metrics"]]
    assert {} in found and {"FunctionName": function} in found
    assert {"FunctionName": function, "Resource": f"{function}:live", "ExecutedVersion": "1"} in found
    only = metrics.list_metrics(Dimensions=[{"Name": "ExecutedVersion"}], RecentlyActive="PT3H")["Metrics"]
    assert only and all(metric["Namespace"] == "AWS/Lambda" for metric in only)
    assert metrics.list_metrics(Namespace="AWS/EC2")["Metrics"] == []


@pytest.mark.parametrize("change, code, text", [
    ({"Period": 90}, "InvalidParameterValue", "multiple of 60"),
    ({"Statistics": []}, None, None),
    ({"EndTime": datetime.datetime(2001, 1, 1)}, "InvalidParameterCombination", "StartTime"),
    ({"StartTime": datetime.datetime(2026, 1, 1)}, "InvalidParameterCombination", "exceeds the limit of 1,440"),
    ({"Statistics": None}, "MissingParameter", "Statistics"),
    ({"MetricName": "x" * 256}, "ValidationError", "1 validation error detected"),
])
def test_questions_that_cannot_be_answered(server, change, code, text):
    metrics = server.client("cloudwatch", parameter_validation=False)
    question = {"Namespace": "AWS/Lambda", "MetricName": "Errors", "Period": 60, "Statistics": ["Sum"], **span(), **change}
    with pytest.raises(ClientError) as caught:
        metrics.get_metric_statistics(**{name: value for name, value in question.items() if value is not None})
    error = caught.value.response["Error"]
    assert code is None or (error["Code"], text in error["Message"]) == (code, True), error


def test_what_is_not_built_says_so(metrics, function):
    with pytest.raises(ClientError) as caught:
        metrics.put_metric_data(Namespace="mine", MetricData=[{"MetricName": "m", "Value": 1}])
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert "PutMetricData" in caught.value.response["Error"]["Message"]
    with pytest.raises(ClientError) as caught:
        metrics.get_metric_data(MetricDataQueries=[{"Id": "e1", "Expression": "LAMBDA('x')"}], **span())
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    with pytest.raises(ClientError) as caught:
        metrics.get_metric_data(MetricDataQueries=[{"Id": "e1", "Expression": "nobody + 1"}], **span())
    assert caught.value.response["Error"]["Code"] == "ValidationError"


def post(server, headers, body, path="/"):
    headers = {"Host": "127.0.0.1", **headers}
    request = botocore.awsrequest.AWSRequest("POST", f"http://127.0.0.1{path}", headers=headers, data=body)
    credentials = botocore.credentials.Credentials("test", "test")
    botocore.auth.SigV4Auth(credentials, "monitoring", "us-east-1").add_auth(request)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("POST", path, body=body, headers=dict(request.headers))
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


class Time(int):
    """Seconds that CBOR marks as a time."""


def as_cbor(value):
    """As short as the tests need it."""
    def head(major, number):
        return bytes([major << 5 | 26]) + number.to_bytes(4, "big")

    if isinstance(value, dict):
        return head(5, len(value)) + b"".join(as_cbor(name) + as_cbor(inner) for name, inner in value.items())
    if isinstance(value, list):
        return b"\x9f" + b"".join(map(as_cbor, value)) + b"\xff"
    if isinstance(value, Time):
        return b"\xc1" + head(0, int(value))
    return head(0, value) if isinstance(value, int) else head(3, len(value.encode())) + value.encode()


def from_cbor(content):
    return RpcV2CBORParser().parse_data_item(io.BufferedReader(io.BytesIO(content)))


def test_all_clients_are_answered_as_they_ask(server, function):
    begin, end = (int(time.timestamp()) for time in span().values())
    headers = {"X-Amz-Target": "GraniteServiceVersion20100801.GetMetricStatistics", "Content-Type": "application/x-amz-json-1.0"}
    question = {"Namespace": "AWS/Lambda", "MetricName": "Invocations", "StartTime": begin, "EndTime": end, "Period": 3600,
                "Statistics": ["Sum"], "ExtendedStatistics": ["p90"], "Dimensions": dimensions(FunctionName=function)}
    answer, content = post(server, headers, json.dumps(question).encode())
    assert answer.headers["content-type"] == "application/x-amz-json-1.0", content
    points = json.loads(content)["Datapoints"]
    assert sum(point["Sum"] for point in points) == 4 and points[0]["ExtendedStatistics"] == {"p90": 1.0}
    answer, content = post(server, headers, json.dumps({**question, "Period": 90}).encode())
    assert answer.status == 400 and answer.headers["x-amzn-query-error"] == "InvalidParameterValue;Sender"

    path = "/service/GraniteServiceVersion20100801/operation/GetMetricStatistics"
    headers = {"Smithy-Protocol": "rpc-v2-cbor", "Content-Type": "application/cbor"}
    answer, content = post(server, headers, as_cbor({**question, "StartTime": Time(begin), "EndTime": Time(end)}), path)
    assert (answer.status, answer.headers["smithy-protocol"]) == (200, "rpc-v2-cbor"), content
    points = from_cbor(content)["Datapoints"]
    assert sum(point["Sum"] for point in points) == 4 and points[0]["ExtendedStatistics"] == {"p90": 1.0}
    assert isinstance(points[0]["Timestamp"], datetime.datetime)
    answer, content = post(server, headers, as_cbor({**question, "Period": 90}), path)
    assert answer.headers["x-amzn-query-error"] == "InvalidParameterValue;Sender"
    assert from_cbor(content)["__type"] == "InvalidParameterValue"
    answer, content = post(server, headers, b"\xa1\x61", path)
    assert answer.status == 400 and from_cbor(content)["__type"] == "SerializationException"

    stamps = [datetime.datetime.fromtimestamp(at, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ") for at in (begin, end)]
    form = {"Action": "GetMetricStatistics", "Version": "2010-08-01", "Namespace": "AWS/Lambda", "MetricName": "Invocations",
            "StartTime": stamps[0], "EndTime": stamps[1], "Period": "3600", "Statistics.member.1": "Sum",
            "ExtendedStatistics.member.1": "p90", "Dimensions.member.1.Name": "FunctionName", "Dimensions.member.1.Value": function}
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer, content = post(server, headers, urllib.parse.urlencode(form).encode())
    text = content.decode()
    assert answer.headers["content-type"] == "text/xml" and "<Label>Invocations</Label>" in text, text
    assert sum(float(value) for value in re.findall("<Sum>(.*?)</Sum>", text)) == 4
    assert "<entry><key>p90</key><value>1.0</value></entry>" in text
    assert re.search(r"<Timestamp>\d{4}-\d\d-\d\dT\d\d:\d\d:00Z</Timestamp>", text)
    answer, content = post(server, headers, urllib.parse.urlencode({**form, "Period": "90"}).encode())
    assert answer.status == 400 and b"<Code>InvalidParameterValue</Code>" in content


def test_the_aws_cli_reads_them(server, function, tmp_path):
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
                   "AWS_DEFAULT_REGION": "us-east-1", "AWS_PAGER": ""}
    begin, end = (time.strftime("%Y-%m-%dT%H:%M:%SZ") for time in span().values())
    line = [os.environ.get("GATEMILL_AWS_CLI", "aws"), "--endpoint-url", server.url, "cloudwatch", "get-metric-statistics",
            "--namespace", "AWS/Lambda", "--metric-name", "Invocations", "--dimensions", f"Name=FunctionName,Value={function}",
            "--start-time", begin, "--end-time", end, "--period", "60", "--statistics", "Sum", "Average", "--output", "json"]
    done = subprocess.run(line, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    points = json.loads(done.stdout)["Datapoints"]
    assert sum(point["Sum"] for point in points) == 4 and all(point["Unit"] == "Count" for point in points)


def test_an_http_api_is_measured_by_stage_and_by_route_where_asked(server, apis, functions, metrics, function):
    arn = functions.get_function(FunctionName=function)["Configuration"]["FunctionArn"]
    api = apis.create_api(Name="measured", ProtocolType="HTTP", Target=arn)["ApiId"]
    functions.add_permission(FunctionName=function, StatementId="http", Action="lambda:InvokeFunction",
                             Principal="apigateway.amazonaws.com")
    integration = apis.get_integrations(ApiId=api)["Items"][0]["IntegrationId"]
    apis.create_route(ApiId=api, RouteKey="GET /pets", Target=f"integrations/{integration}")
    apis.update_stage(ApiId=api, StageName="$default", RouteSettings={"GET /pets": {"DetailedMetricsEnabled": True}})

    def status(path):
        try:
            return server.get(f"/_aws/execute-api/{api}/$default{path}")[0]
        except urllib.error.HTTPError as error:
            return error.code

    until(lambda: status("/pets") == 200)
    asked = 1 + len([status("/pets"), status("/pets"), status("/other")])

    def of(metric, statistic="Sum", **more):
        return total(metrics, "AWS/ApiGateway", metric, statistic, ApiId=api, **more)

    until(lambda: of("Count") >= asked)
    # The stage's settings may come into force after the first requests.
    route = {"Stage": "$default", "Method": "GET", "Resource": "/pets"}
    assert of("Count", **route) >= 2 and of("Count", Stage="$default") == of("Count")
    assert of("5xx") == 0 and of("4xx") == 0 and of("Latency", "SampleCount") == of("Count")
    assert of("DataProcessed", "Maximum") == 100 and of("IntegrationLatency", "SampleCount") == of("Count")
    assert of("Count", Stage="$default", Method="ANY", Resource="$default") is None


def test_a_websocket_api_is_measured_and_metered(server, apis, metrics):
    api = apis.create_api(Name="chat", ProtocolType="WEBSOCKET", RouteSelectionExpression="$request.body.action")["ApiId"]
    mock = apis.create_integration(ApiId=api, IntegrationType="MOCK", RequestTemplates={"200": '{"statusCode": 200}'},
                                   TemplateSelectionExpression="200")["IntegrationId"]
    route = apis.create_route(ApiId=api, RouteKey="say", Target=f"integrations/{mock}")["RouteId"]
    apis.create_route(ApiId=api, RouteKey="$connect", Target=f"integrations/{mock}")
    apis.create_stage(ApiId=api, StageName="s", AutoDeploy=True, DefaultRouteSettings={"DetailedMetricsEnabled": True})
    path = f"ws://127.0.0.1:{server.port}/_aws/execute-api/{api}/s"

    def connected():
        try:
            return websockets.sync.client.connect(path, open_timeout=20)
        except websockets.exceptions.InvalidStatus:
            return None

    with until(connected) as client:
        client.send('{"action": "say"}')
        large = json.dumps({"action": "say", "text": "x" * 70_000})
        # In frames, none of which may be larger than 32 KB.
        client.send(large[at:at + 30_000] for at in range(0, len(large), 30_000))
        # No route of this name: the client hears so.
        client.send('{"action": "what"}')
        assert json.loads(client.recv(timeout=30))["message"] == "Forbidden"

        def of(metric, **more):
            return total(metrics, "AWS/ApiGateway", metric, ApiId=api, **more)

        until(lambda: of("MessageCount") == 3)
        assert of("ConnectCount", Stage="s") >= 1 and of("ClientError") == 1
        until(lambda: of("IntegrationError", Stage="s", Resource="say", Method=route) == 0)
        assert of("MessageCount", Stage="s", Resource="say", Method=route) == 2
    text = until(lambda: (m := server.get("/_gatemill/metrics")[1].decode()) and f'api="{api}"' in m and m)
    # One, three units of 32 KB, one.
    assert re.search(rf'gatemill_api_stage_messages_total{{[^}}]*api="{api}"[^}}]*}} 5\n', text), text
    until(lambda: re.search(rf'gatemill_api_stage_connection_minutes_total{{[^}}]*api="{api}"[^}}]*}} [1-9]',
                            server.get("/_gatemill/metrics")[1].decode()))


def test_prometheus_reads_functions(server, function):
    text = server.get("/_gatemill/metrics")[1].decode()
    assert re.search(rf'gatemill_lambda_invocations_total{{[^}}]*function="{function}"[^}}]*}} [1-9]', text), text
    assert "# TYPE gatemill_lambda_duration_milliseconds_total counter" in text


def test_what_was_read_once_survives_a_kill_and_a_stop_loses_nothing(python):
    server = Server().start()
    functions = server.client("lambda")
    create(functions, "kept", CODE, python)
    functions.invoke(FunctionName="kept", Payload=b"{}")
    assert total(server.client("cloudwatch"), "AWS/Lambda", "Invocations", FunctionName="kept") == 1
    server.kill()
    server.start()
    assert total(server.client("cloudwatch"), "AWS/Lambda", "Invocations", FunctionName="kept") == 1
    server.client("lambda").invoke(FunctionName="kept", Payload=b"{}")
    assert server.stop() == 0
    server.start()
    assert total(server.client("cloudwatch"), "AWS/Lambda", "Invocations", FunctionName="kept") == 2
    server.reset()
    assert server.client("cloudwatch").list_metrics()["Metrics"] == []
    assert server.stop() == 0, server.log()


def test_what_is_gone_is_no_series_any_more(server, functions, apis, python):
    """Prometheus is told of what is there: who makes and deletes a thousand functions leaves nothing behind."""
    arn = create(functions, "short-lived", CODE, python)["FunctionArn"]
    api = apis.create_api(Name="short-lived", ProtocolType="HTTP", Target=arn)["ApiId"]
    functions.add_permission(FunctionName="short-lived", StatementId="http", Action="lambda:InvokeFunction",
                             Principal="apigateway.amazonaws.com")
    functions.invoke(FunctionName="short-lived", Payload=b"{}")
    server.get(f"/_aws/execute-api/{api}/$default/")

    def shown(what):
        return what in server.get("/_gatemill/metrics")[1].decode()

    until(lambda: shown('function="short-lived"') and shown(f'api="{api}"'))
    functions.delete_function(FunctionName="short-lived")
    apis.delete_api(ApiId=api)
    until(lambda: not shown('function="short-lived"') and not shown(f'api="{api}"'))
