"""Event source mappings, as boto3 sees them: their five operations, and queues and streams that call functions."""

import base64
import datetime
import json
import uuid

import pytest
from botocore.exceptions import ClientError

from packages import create, package
from server import Server
from sources import ACCOUNT, Sources, gone, printed, settled
from waiting import until

# Prints its event; fails, or reports failures, where a record asks for it.
FUNCTION = package(app__py="""
import base64, json
def handler(event, context):
    print("EVENT " + json.dumps(event))
    failed = []
    for record in event["Records"]:
        text = record.get("body") or base64.b64decode(record.get("kinesis", {}).get("data", "")).decode()
        if "raise" in text:
            raise ValueError("as asked")
        if "report" in text:
            failed.append({"itemIdentifier": record.get("messageId") or record["kinesis"]["sequenceNumber"]})
    count = event.get("state", {}).get("count", 0) + len(event["Records"])
    return {"batchItemFailures": failed, "state": {"count": count}}
""")


@pytest.fixture(scope="module")
def sources():
    sources = Sources()
    yield sources
    sources.stop()


@pytest.fixture(scope="module")
def server(sources):
    server = Server(arguments=sources.arguments).start()
    yield server
    assert server.stop() == 0, server.log()


@pytest.fixture(scope="module")
def functions(server):
    return server.client("lambda", key=ACCOUNT)


@pytest.fixture(scope="module")
def logs(server):
    return server.client("logs", key=ACCOUNT)


@pytest.fixture(scope="module")
def function(functions, python):
    """One function, for what asks for none of its own."""
    create(functions, "shared", FUNCTION, python)
    return "shared"


@pytest.fixture
def fresh(functions, python, name):
    """A function whose events nobody else sees."""
    create(functions, name, FUNCTION, python)
    return name


def refused(call, **arguments):
    with pytest.raises(ClientError) as error:
        call(**arguments)
    status = error.value.response["ResponseMetadata"]["HTTPStatusCode"]
    return status, error.value.response["Error"]["Code"], error.value.response["Error"]["Message"]


def records(logs, function):
    return [record for event in printed(logs, function) for record in event["Records"]]


def bodies(logs, function):
    return [record["body"] for record in records(logs, function)]


def unnamed():
    return f"s-{uuid.uuid4().hex[:12]}"


def test_a_mapping_of_a_queue_lives_and_dies(functions, function, sources):
    _, arn = sources.queue(unnamed())
    made = functions.create_event_source_mapping(FunctionName=function, EventSourceArn=arn, Tags={"team": "blue"})
    assert made.pop("ResponseMetadata")["HTTPStatusCode"] == 202
    made.pop("LastModified")
    of = made.pop("UUID")
    assert made == {
        "BatchSize": 10, "MaximumBatchingWindowInSeconds": 0, "EventSourceArn": arn,
        "FunctionArn": f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{function}", "State": "Creating",
        "StateTransitionReason": "USER_INITIATED", "FunctionResponseTypes": [],
        "EventSourceMappingArn": f"arn:aws:lambda:us-east-1:{ACCOUNT}:event-source-mapping:{of}",
    }
    settled(functions, of)
    status, code, message = refused(functions.create_event_source_mapping, FunctionName=function, EventSourceArn=arn)
    assert (status, code) == (409, "ResourceConflictException")
    assert message == (f'An event source mapping with SQS arn (" {arn} ") and function (" {function} ") already exists. '
                       f"Please update or delete the existing mapping with UUID {of}")
    updated = functions.update_event_source_mapping(
        UUID=of, BatchSize=100, MaximumBatchingWindowInSeconds=5, ScalingConfig={"MaximumConcurrency": 7},
        FilterCriteria={"Filters": [{"Pattern": '{"body": {"a": [1]}}'}]},
        FunctionResponseTypes=["ReportBatchItemFailures"], MetricsConfig={"Metrics": ["EventCount"]})
    assert (updated["ResponseMetadata"]["HTTPStatusCode"], updated["State"]) == (202, "Updating")
    shown = settled(functions, of)
    assert (shown["BatchSize"], shown["MaximumBatchingWindowInSeconds"]) == (100, 5)
    assert shown["ScalingConfig"] == {"MaximumConcurrency": 7}
    assert shown["FilterCriteria"] == {"Filters": [{"Pattern": '{"body": {"a": [1]}}'}]}
    assert shown["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert shown["MetricsConfig"] == {"Metrics": ["EventCount"]}
    assert functions.update_event_source_mapping(UUID=of, Enabled=False)["State"] == "Disabling"
    settled(functions, of, "Disabled")
    assert functions.update_event_source_mapping(UUID=of, FilterCriteria={})["State"] == "Updating"
    assert "FilterCriteria" not in settled(functions, of, "Disabled")
    assert functions.update_event_source_mapping(UUID=of, Enabled=True)["State"] == "Enabling"
    settled(functions, of)
    gone(functions, of)
    for call in (functions.get_event_source_mapping, functions.update_event_source_mapping,
                 functions.delete_event_source_mapping):
        assert refused(call, UUID=of) == (
            404, "ResourceNotFoundException", "The resource you requested does not exist.")


def test_a_mapping_of_a_stream_has_the_defaults_of_streams(functions, function, sources):
    arn = sources.table(unnamed())
    made = functions.create_event_source_mapping(
        FunctionName=function, EventSourceArn=arn, StartingPosition="TRIM_HORIZON", Enabled=False)
    made.pop("ResponseMetadata")
    made.pop("LastModified")
    of = made.pop("UUID")
    assert made == {
        "BatchSize": 100, "MaximumBatchingWindowInSeconds": 0, "EventSourceArn": arn,
        "FunctionArn": f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{function}", "State": "Creating",
        "StateTransitionReason": "User action", "FunctionResponseTypes": [], "StartingPosition": "TRIM_HORIZON",
        "ParallelizationFactor": 1, "LastProcessingResult": "No records processed", "DestinationConfig": {"OnFailure": {}},
        "MaximumRecordAgeInSeconds": -1, "BisectBatchOnFunctionError": False, "MaximumRetryAttempts": -1,
        "TumblingWindowInSeconds": 0,
        "EventSourceMappingArn": f"arn:aws:lambda:us-east-1:{ACCOUNT}:event-source-mapping:{of}",
    }
    settled(functions, of, "Disabled")
    _, queue = sources.queue(unnamed())
    functions.update_event_source_mapping(
        UUID=of, ParallelizationFactor=10, MaximumRecordAgeInSeconds=60, BisectBatchOnFunctionError=True,
        MaximumRetryAttempts=3, DestinationConfig={"OnFailure": {"Destination": queue}})
    shown = settled(functions, of, "Disabled")
    assert shown["DestinationConfig"] == {"OnFailure": {"Destination": queue}}
    assert (shown["ParallelizationFactor"], shown["MaximumRecordAgeInSeconds"]) == (10, 60)
    assert (shown["BisectBatchOnFunctionError"], shown["MaximumRetryAttempts"]) == (True, 3)
    status, _, message = refused(functions.create_event_source_mapping, FunctionName=function, EventSourceArn=arn,
                                 StartingPosition="LATEST")
    assert (status, message) == (409, f'The event source arn (" {arn} ") and function (" {function} ") provided mapping '
                                      f"already exists. Please update or delete the existing mapping with UUID {of}")
    gone(functions, of)


def test_what_cannot_be_is_refused_in_the_words_of_aws(functions, function, sources):
    _, queue = sources.queue(unnamed())
    _, fifo = sources.queue(unnamed() + ".fifo", FifoQueue="true")
    stream, table = sources.stream(unnamed()), sources.table(unnamed())
    bus = f"arn:aws:events:us-east-1:{ACCOUNT}:event-bus/b"
    missing = f"arn:aws:sqs:us-east-1:{ACCOUNT}:absent"
    unsupported = "Unsupported {} parameter for given event source mapping type.".format
    for wrong, expected in [
        (dict(EventSourceArn=queue, FunctionName="absent"), "Function does not exist"),
        (dict(EventSourceArn=queue, FunctionName=f"{function}:absent"), "Function does not exist"),
        (dict(EventSourceArn=queue, FunctionName=f"{function}:9"), "Function does not exist"),
        (dict(EventSourceArn=f"arn:aws:sns:us-east-1:{ACCOUNT}:t"), "Unrecognized event source."),
        ({}, "Unrecognized event source."),
        (dict(EventSourceArn=missing),
         "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. SQS Error "
         "Message: The specified queue does not exist."),
        (dict(EventSourceArn=stream + "x", StartingPosition="LATEST"), f"Stream not found: {stream}x"),
        (dict(EventSourceArn=f"{stream}/consumer/absent:1", StartingPosition="LATEST"),
         f"Stream consumer not found: {stream}/consumer/absent:1"),
        (dict(EventSourceArn=stream),
         "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must not be null."),
        (dict(EventSourceArn=table, StartingPosition="AT_TIMESTAMP", StartingPositionTimestamp=1),
         f"Unsupported starting position for arn type: {table}"),
        (dict(EventSourceArn=queue, DestinationConfig={"OnFailure": {"Destination": queue}}), unsupported("DestinationConfig")),
        (dict(EventSourceArn=queue, ParallelizationFactor=2), unsupported("ParallelizationFactor")),
        (dict(EventSourceArn=queue, TumblingWindowInSeconds=2), unsupported("TumblingWindowInSeconds")),
        (dict(EventSourceArn=stream, StartingPosition="LATEST", ScalingConfig={"MaximumConcurrency": 2}), unsupported("ScalingConfig")),
        (dict(EventSourceArn=stream, StartingPosition="LATEST", ProvisionedPollerConfig={"MinimumPollers": 2}),
         unsupported("ProvisionedPollerConfig")),
        (dict(EventSourceArn=queue, ProvisionedPollerConfig={"MinimumPollers": 1}),
         "MinimumPollers must be between 2 and 200 for SQS event sources."),
        (dict(EventSourceArn=queue, ProvisionedPollerConfig={"MaximumPollers": 2001}),
         "MaximumPollers must be between 2 and 2000 for SQS event sources."),
        (dict(EventSourceArn=queue, ProvisionedPollerConfig={"MinimumPollers": 4, "MaximumPollers": 3}),
         "MinimumPollers must not be greater than MaximumPollers."),
        (dict(EventSourceArn=queue, ProvisionedPollerConfig={"MinimumPollers": 2, "PollerGroupName": "g"}), unsupported("PollerGroupName")),
        (dict(EventSourceArn=queue, ProvisionedPollerConfig={"MinimumPollers": 2}, ScalingConfig={"MaximumConcurrency": 2}),
         "ProvisionedPollerConfig and ScalingConfig.MaximumConcurrency cannot be used together."),
        (dict(EventSourceArn=queue, BatchSize=11),
         "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"),
        (dict(EventSourceArn=fifo, BatchSize=11, MaximumBatchingWindowInSeconds=1), "The maximum batch size of FIFO queues is 10."),
        (dict(EventSourceArn=queue, FilterCriteria={"Filters": [{"Pattern": '{"body": "x"}'}]}), "Invalid filter pattern definition."),
        (dict(EventSourceArn=queue, FilterCriteria={"Filters": [{"Pattern": "x"}]}), "Invalid filter pattern definition."),
        (dict(EventSourceArn=stream, StartingPosition="LATEST", FilterCriteria={"Filters": [{"Pattern": '{"data": ["x"]}'}]}),
         "Invalid filter pattern definition."),
        (dict(EventSourceArn=stream, StartingPosition="LATEST", DestinationConfig={"OnFailure": {"Destination": bus}}),
         f"The destination ARN {bus} is invalid."),
    ]:
        arguments = {"FunctionName": function, **wrong}
        assert refused(functions.create_event_source_mapping, **arguments) == (
            400, "InvalidParameterValueException", expected), wrong
    functions.update_function_configuration(FunctionName=function, Timeout=11)
    functions.get_waiter("function_updated_v2").wait(FunctionName=function, WaiterConfig={"Delay": 1})
    assert refused(functions.create_event_source_mapping, FunctionName=function, EventSourceArn=queue)[2] == (
        "Queue visibility timeout: 10 seconds is less than Function timeout: 11 seconds")
    functions.update_function_configuration(FunctionName=function, Timeout=10)
    functions.get_waiter("function_updated_v2").wait(FunctionName=function, WaiterConfig={"Delay": 1})


def test_provisioned_mode(functions, logs, fresh, server, sources):
    url, arn = sources.queue(unnamed())
    made = functions.create_event_source_mapping(
        FunctionName=fresh, EventSourceArn=arn, ProvisionedPollerConfig={"MinimumPollers": 3})
    of = made["UUID"]
    assert made["ProvisionedPollerConfig"] == {"MinimumPollers": 3, "MaximumPollers": 200}
    settled(functions, of)
    sources.client("sqs").send_message(QueueUrl=url, MessageBody="hello")
    until(lambda: bodies(logs, fresh) == ["hello"], "it came")
    until(lambda: measured(server, "ProvisionedPollers", "Maximum", EventSourceMappingUUID=of) == 3, "it is measured")
    functions.update_event_source_mapping(UUID=of, ProvisionedPollerConfig={"MaximumPollers": 5})
    assert settled(functions, of)["ProvisionedPollerConfig"] == {"MinimumPollers": 3, "MaximumPollers": 5}
    functions.update_event_source_mapping(UUID=of, ProvisionedPollerConfig={})
    assert "ProvisionedPollerConfig" not in settled(functions, of)
    functions.update_event_source_mapping(UUID=of, ScalingConfig={"MaximumConcurrency": 2})
    settled(functions, of)
    gone(functions, of)


def test_what_is_not_built_says_so(functions, function, sources):
    _, queue = sources.queue(unnamed())
    endpoints = {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["localhost:9092"]}}
    for wrong in [
        dict(EventSourceArn=f"arn:aws:kafka:us-east-1:{ACCOUNT}:cluster/c/u", Topics=["topic"]),
        dict(EventSourceArn=f"arn:aws:mq:us-east-1:{ACCOUNT}:broker:b", Queues=["queue"]),
        dict(EventSourceArn=f"arn:aws:rds:us-east-1:{ACCOUNT}:cluster:c"),
        dict(SelfManagedEventSource=endpoints),
        dict(EventSourceArn=queue, KMSKeyArn=f"arn:aws:kms:us-east-1:{ACCOUNT}:key/k"),
    ]:
        status, code, _ = refused(functions.create_event_source_mapping, FunctionName=function, **wrong)
        assert (status, code) == (501, "NotImplementedException"), wrong


def test_lists_are_by_source_and_function_in_pages(functions, function, sources):
    queues = [sources.queue(unnamed())[1] for _ in range(3)]
    made = [functions.create_event_source_mapping(FunctionName=function, EventSourceArn=arn, Enabled=False)["UUID"]
            for arn in queues]

    def listed(**by):
        pages = functions.get_paginator("list_event_source_mappings").paginate(PaginationConfig={"PageSize": 1}, **by)
        return [mapping["UUID"] for page in pages for mapping in page["EventSourceMappings"]]

    assert set(made) <= set(listed(FunctionName=function)) and listed(FunctionName=function) == sorted(listed())
    assert listed(EventSourceArn=queues[1]) == [made[1]]
    assert listed(EventSourceArn=queues[1], FunctionName=function) == [made[1]]
    assert listed(EventSourceArn=queues[1], FunctionName="other") == listed(FunctionName="other") == []
    for of in made:
        settled(functions, of, "Disabled")
        gone(functions, of)
    assert listed(EventSourceArn=queues[1]) == []


def measured(server, metric, statistic="Sum", **dimensions):
    now = datetime.datetime.now(datetime.timezone.utc)
    points = server.client("cloudwatch", key=ACCOUNT).get_metric_statistics(
        Namespace="AWS/Lambda", MetricName=metric, Period=60, Statistics=[statistic],
        StartTime=now - datetime.timedelta(hours=1), EndTime=now + datetime.timedelta(minutes=2),
        Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()])["Datapoints"]
    return sum(point[statistic] for point in points) if points else None


def test_messages_reach_the_function_and_are_removed(functions, logs, fresh, server, sources):
    url, arn = sources.queue(unnamed())
    sqs = sources.client("sqs")
    of = functions.create_event_source_mapping(
        FunctionName=fresh, EventSourceArn=arn, FunctionResponseTypes=["ReportBatchItemFailures"],
        FilterCriteria={"Filters": [{"Pattern": '{"body": {"kind": ["wanted"]}}'}]},
        MetricsConfig={"Metrics": ["EventCount"]})["UUID"]
    settled(functions, of)
    # A mapping needs at least the function's timeout; for what is reported this test does not wait so long.
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "2"})
    wanted = [json.dumps({"kind": "wanted", "n": n}) for n in range(12)] + ['{"kind": "wanted", "do": "report"}']
    for body in [*wanted, "plain", '{"kind": "other"}']:
        sqs.send_message(QueueUrl=url, MessageBody=body, MessageAttributes={
            "a": {"DataType": "String", "StringValue": "v"}, "b": {"DataType": "Binary", "BinaryValue": b"\x01"}})
    until(lambda: set(bodies(logs, fresh)) == set(wanted), "all came")
    record = records(logs, fresh)[0]
    assert set(record) == {"messageId", "receiptHandle", "body", "attributes", "messageAttributes",
                           "md5OfMessageAttributes", "md5OfBody", "eventSource", "eventSourceARN", "awsRegion"}
    assert {"ApproximateReceiveCount", "SentTimestamp", "SenderId", "ApproximateFirstReceiveTimestamp"} <= set(record["attributes"])
    assert record["messageAttributes"] == {
        "a": {"stringValue": "v", "stringListValues": [], "binaryListValues": [], "dataType": "String"},
        "b": {"binaryValue": "AQ==", "stringListValues": [], "binaryListValues": [], "dataType": "Binary"}}
    assert (record["eventSource"], record["eventSourceARN"], record["awsRegion"]) == ("aws:sqs", arn, "us-east-1")

    # What was reported stays; everything else is gone, also what no filter let pass.
    def left():
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)
    until(lambda: left() == 1, "one is left")
    until(lambda: bodies(logs, fresh).count(wanted[-1]) >= 2, "it came again")

    def counted(metric):
        return measured(server, metric, EventSourceMappingUUID=of)
    # Fifteen messages, of which one was read again and two let no filter pass.
    until(lambda: counted("DeletedEventCount") == 14, "all are counted")
    assert counted("PolledEventCount") >= 16 and counted("FilteredOutEventCount") == 2
    assert counted("InvokedEventCount") >= 14 and counted("FailedInvokeEventCount") is None
    gone(functions, of)


def test_messages_of_a_function_that_fails_come_to_their_dead_letter_queue(functions, logs, fresh, sources):
    dead_url, dead_arn = sources.queue(unnamed())
    redrive = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 1})
    url, arn = sources.queue(unnamed(), RedrivePolicy=redrive)
    sqs = sources.client("sqs")
    functions.update_function_configuration(FunctionName=fresh, Timeout=1)
    functions.get_waiter("function_updated_v2").wait(FunctionName=fresh, WaiterConfig={"Delay": 1})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "1"})
    of = functions.create_event_source_mapping(FunctionName=fresh, EventSourceArn=arn)["UUID"]
    settled(functions, of)
    sqs.send_message(QueueUrl=url, MessageBody="raise")
    found = until(lambda: sqs.receive_message(QueueUrl=dead_url).get("Messages"), "it is dead")
    assert found[0]["Body"] == "raise"
    shown = functions.get_event_source_mapping(UUID=of)
    assert shown["LastProcessingResult"] == "PROBLEM: Function call failed"
    gone(functions, of)


SENT = {key: [f"{key}-{n}" for n in range(60)] for key in "abc"}


def through_a_kill(functions, logs, server, sources, function, source, **settings):
    """Puts all that is sent into a stream while a mapping reads it, and kills the server in between; the mapping's UUID."""
    stream, kinesis = source.split("/")[1], sources.client("kinesis")

    def put(numbers):
        kinesis.put_records(StreamName=stream, Records=[
            {"Data": SENT[key][n].encode(), "PartitionKey": key} for n in numbers for key in SENT])

    put(range(20))
    of = functions.create_event_source_mapping(
        FunctionName=function, EventSourceArn=source, StartingPosition="TRIM_HORIZON", **settings)["UUID"]
    settled(functions, of)
    put(range(20, 40))
    until(lambda: records(logs, function), "some came")
    server.kill()
    put(range(40, 60))
    server.start()
    return of


def test_a_kinesis_stream_is_read_in_order_through_a_kill(functions, logs, fresh, server, sources):
    of = through_a_kill(functions, logs, server, sources, fresh, sources.stream(unnamed(), shards=2),
                        BatchSize=7, ParallelizationFactor=2)

    def came():
        by_key = {}
        for record in records(logs, fresh):
            by_key.setdefault(record["kinesis"]["partitionKey"], []).append(record["kinesis"]["sequenceNumber"])
        return by_key
    # Lines of log may be lost with the server that is killed; what matters came before or comes again.
    until(lambda: len(came().get("a", [])) >= 20 and all(
        any(record["kinesis"]["data"] == encoded(SENT[key][-1]) for record in records(logs, fresh)) for key in SENT), "the last ones came")
    for record in records(logs, fresh)[:1]:
        assert set(record) == {"kinesis", "eventSource", "eventVersion", "eventID", "eventName", "invokeIdentityArn",
                               "awsRegion", "eventSourceARN"}
        assert set(record["kinesis"]) == {"kinesisSchemaVersion", "partitionKey", "sequenceNumber", "data",
                                          "approximateArrivalTimestamp"}
        assert record["eventID"].endswith(":" + record["kinesis"]["sequenceNumber"])
        assert record["invokeIdentityArn"].endswith(":role/e2e")
    until(lambda: functions.get_event_source_mapping(UUID=of)["LastProcessingResult"] == "OK", "it is said")
    # Each call says how old its last record was; a minute or more is not what this takes.
    assert measured(server, "IteratorAge", "SampleCount", FunctionName=fresh) >= 3
    assert 0 <= measured(server, "IteratorAge", "Minimum", FunctionName=fresh) < 60_000
    gone(functions, of)


def test_a_consumer_is_pushed_to_in_order_through_a_kill(functions, logs, fresh, server, sources):
    consumer = sources.consumer(sources.stream(unnamed(), shards=2))
    of = through_a_kill(functions, logs, server, sources, fresh, consumer, BatchSize=4)

    def came():
        by_key = {key: [] for key in SENT}
        for record in records(logs, fresh):
            text = base64.b64decode(record["kinesis"]["data"]).decode()
            by_key[text[0]].append(text)
        return by_key
    # Lines of log may be lost with the server that is killed; what matters came before or comes again.
    until(lambda: all(came()[key][-1:] == [SENT[key][-1]] for key in SENT), "the last ones came")
    for key, texts in came().items():
        # Some may come twice with the kill, none out of order.
        firsts = list(dict.fromkeys(texts))
        assert firsts == sorted(firsts, key=SENT[key].index) and set(texts) >= set(SENT[key][40:])
    assert {record["eventSourceARN"] for record in records(logs, fresh)} == {consumer}
    asked = [one for one in sources.fan_out.subscriptions if one["ConsumerARN"] == consumer]
    # Subscriptions end, and the next begins where they did.
    until(lambda: len(sources.fan_out.subscriptions) > len(asked), "another subscription")
    assert {one["StartingPosition"]["Type"] for one in asked[2:]} <= {"TRIM_HORIZON", "AFTER_SEQUENCE_NUMBER"}
    gone(functions, of)


def test_a_consumer_that_begins_with_the_newest(functions, logs, fresh, sources):
    stream = unnamed()
    arn, kinesis = sources.stream(stream), sources.client("kinesis")
    kinesis.put_record(StreamName=stream, Data=b"old", PartitionKey="k")
    of = functions.create_event_source_mapping(
        FunctionName=fresh, EventSourceArn=sources.consumer(arn), StartingPosition="LATEST")["UUID"]
    settled(functions, of)
    kinesis.put_record(StreamName=stream, Data=b"new", PartitionKey="k")
    until(lambda: records(logs, fresh), "it came")
    assert [record["kinesis"]["data"] for record in records(logs, fresh)] == [encoded("new")]
    gone(functions, of)


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def test_records_that_are_given_up_are_told_to_a_queue_and_a_bucket(functions, logs, fresh, sources):
    stream, bucket = unnamed(), unnamed()
    arn, kinesis, s3 = sources.stream(stream), sources.client("kinesis"), sources.client("s3")
    url, queue = sources.queue(unnamed())
    s3.create_bucket(Bucket=bucket)
    of = functions.create_event_source_mapping(
        FunctionName=fresh, EventSourceArn=arn, StartingPosition="TRIM_HORIZON", MaximumRetryAttempts=1,
        BisectBatchOnFunctionError=True, DestinationConfig={"OnFailure": {"Destination": queue}})["UUID"]
    settled(functions, of)
    kinesis.put_records(StreamName=stream, Records=[
        {"Data": text, "PartitionKey": "k"} for text in (b"one", b"raise", b"two")])
    sqs = sources.client("sqs")
    found = until(lambda: sqs.receive_message(QueueUrl=url).get("Messages"), "it is told")
    told = json.loads(found[0]["Body"])
    assert told["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert told["requestContext"]["functionArn"] == f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{fresh}"
    assert told["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"}
    info = told["KinesisBatchInfo"]
    assert (info["batchSize"], info["streamArn"], info["startSequenceNumber"]) == (1, arn, info["endSequenceNumber"])
    until(lambda: encoded("two") in [r["kinesis"]["data"] for r in records(logs, fresh)], "what follows came")

    functions.update_event_source_mapping(
        UUID=of, DestinationConfig={"OnFailure": {"Destination": f"arn:aws:s3:::{bucket}"}})
    settled(functions, of)
    kinesis.put_record(StreamName=stream, Data=b"raise", PartitionKey="k")
    key = until(lambda: s3.list_objects_v2(Bucket=bucket).get("Contents"), "it is told")[0]["Key"]
    assert key.startswith(f"aws/lambda/{of}/{info['shardId']}/")
    told = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    assert json.loads(told["payload"])["Records"][0]["kinesis"]["data"] == encoded("raise")
    gone(functions, of)


def test_changes_of_a_table_reach_the_function(functions, logs, fresh, sources):
    table = unnamed()
    arn, dynamodb = sources.table(table), sources.client("dynamodb")
    dynamodb.put_item(TableName=table, Item={"id": {"S": "before"}})
    of = functions.create_event_source_mapping(
        FunctionName=fresh, EventSourceArn=arn, StartingPosition="LATEST",
        FilterCriteria={"Filters": [{"Pattern": '{"eventName": ["INSERT", "REMOVE"]}'}]})["UUID"]
    settled(functions, of)
    dynamodb.put_item(TableName=table, Item={"id": {"S": "one"}, "data": {"B": b"\x01"}})
    dynamodb.put_item(TableName=table, Item={"id": {"S": "one"}, "n": {"N": "1"}})
    dynamodb.delete_item(TableName=table, Key={"id": {"S": "one"}})
    until(lambda: len(records(logs, fresh)) >= 2, "both came")
    inserted, removed = records(logs, fresh)
    assert (inserted["eventName"], removed["eventName"]) == ("INSERT", "REMOVE")
    assert inserted["dynamodb"]["NewImage"] == {"id": {"S": "one"}, "data": {"B": "AQ=="}}
    assert set(inserted) == {"eventID", "eventName", "eventVersion", "eventSource", "awsRegion", "dynamodb", "eventSourceARN"}
    assert (inserted["eventSource"], inserted["eventSourceARN"]) == ("aws:dynamodb", arn)
    gone(functions, of)


def test_tumbling_windows_carry_their_state(functions, logs, fresh, sources):
    stream = unnamed()
    arn, kinesis = sources.stream(stream), sources.client("kinesis")
    of = functions.create_event_source_mapping(
        FunctionName=fresh, EventSourceArn=arn, StartingPosition="TRIM_HORIZON", BatchSize=2, TumblingWindowInSeconds=2)["UUID"]
    settled(functions, of)
    kinesis.put_records(StreamName=stream, Records=[{"Data": b"x", "PartitionKey": "k"} for _ in range(5)])

    def finals():
        return [event for event in printed(logs, fresh) if event["isFinalInvokeForWindow"]]
    until(lambda: sum(event["state"]["count"] for event in finals()) == 5, "all were counted")
    assert all(event["Records"] == [] and event["shardId"] and event["eventSourceARN"] == arn for event in finals())
    gone(functions, of)


def test_a_mapping_calls_the_alias_that_it_names(functions, logs, fresh, sources):
    functions.publish_version(FunctionName=fresh)
    functions.create_alias(FunctionName=fresh, Name="live", FunctionVersion="1")
    url, arn = sources.queue(unnamed())
    made = functions.create_event_source_mapping(FunctionName=f"{fresh}:live", EventSourceArn=arn)
    assert made["FunctionArn"].endswith(f":function:{fresh}:live")
    settled(functions, made["UUID"])
    sources.client("sqs").send_message(QueueUrl=url, MessageBody="hello")
    until(lambda: bodies(logs, fresh) == ["hello"], "it came")
    streams = logs.describe_log_streams(logGroupName=f"/aws/lambda/{fresh}")["logStreams"]
    assert any("[1]" in stream["logStreamName"] for stream in streams)
    listed = functions.list_event_source_mappings(FunctionName=f"{fresh}:live")["EventSourceMappings"]
    assert [mapping["UUID"] for mapping in listed] == [made["UUID"]]
    gone(functions, made["UUID"])
