"""Queues and streams for event source mappings: moto's server in this process, on a free port of loopback."""

import json
import pathlib
import tempfile
import time

import boto3
from moto.server import ThreadedMotoServer

from fan_out import FanOut
from waiting import until

ACCOUNT = "123456789012"
SERVICES = ("sqs", "sns", "s3", "kinesis", "dynamodb-streams")


class Sources:
    """The services, clients for them, and the arguments by which a server finds them."""

    def __init__(self):
        self.moto = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
        self.moto.start()
        host, port = self.moto.get_host_and_port()
        self.url = f"http://{host}:{port}"
        self.fan_out = FanOut((host, port), self.client("kinesis"))
        urls = {name: self.fan_out.url if name == "kinesis" else self.url for name in SERVICES}
        tables = [f'[services.{name}]\nendpoint = "{urls[name]}"\naccess-key-id = "test"\nsecret-access-key = "test"\n'
                  for name in SERVICES]
        config = pathlib.Path(tempfile.mkdtemp(prefix="gatemill-e2e-")) / "gatemill.toml"
        config.write_text("\n".join(tables))
        self.arguments = ["--config", str(config)]

    def client(self, service):
        return boto3.client(service, endpoint_url=self.url, region_name="us-east-1",
                            aws_access_key_id="test", aws_secret_access_key="test")

    def queue(self, name, **attributes):
        """A queue: its URL and ARN."""
        sqs = self.client("sqs")
        url = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "10", **attributes})["QueueUrl"]
        return url, f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}"

    def stream(self, name, shards=1):
        """A Kinesis stream: its ARN."""
        kinesis = self.client("kinesis")
        kinesis.create_stream(StreamName=name, ShardCount=shards)
        kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
        return f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/{name}"

    def consumer(self, stream):
        """A consumer of a stream: its ARN."""
        kinesis = self.client("kinesis")
        return kinesis.register_stream_consumer(StreamARN=stream, ConsumerName="reader")["Consumer"]["ConsumerARN"]

    def table(self, name):
        """A table with a stream: the stream's ARN."""
        made = self.client("dynamodb").create_table(
            TableName=name, BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"})
        return made["TableDescription"]["LatestStreamArn"]

    def stop(self):
        self.fan_out.stop()
        self.moto.stop()


def settled(functions, uuid, state="Enabled"):
    """Waits until a mapping has a state."""
    def mapping():
        found = functions.get_event_source_mapping(UUID=uuid)
        return found if found["State"] == state else None

    return until(mapping, f"the mapping is {state}")


def gone(functions, uuid):
    """Deletes a mapping and waits until it is gone."""
    assert functions.delete_event_source_mapping(UUID=uuid)["State"] == "Deleting"

    def is_gone():
        try:
            functions.get_event_source_mapping(UUID=uuid)
        except functions.exceptions.ResourceNotFoundException as error:
            return error.response["Error"]["Message"] == "The resource you requested does not exist."
    until(is_gone, "the mapping is gone")


def printed(logs, function):
    """The events that a function printed, in the order in which it did."""
    group = f"/aws/lambda/{function}"
    try:
        pages = list(logs.get_paginator("filter_log_events").paginate(logGroupName=group, filterPattern='"EVENT"'))
    except logs.exceptions.ResourceNotFoundException:
        return []
    lines = [event["message"] for page in pages for event in page["events"]]
    return [json.loads(line.split("EVENT ", 1)[1]) for line in lines if "EVENT " in line]
