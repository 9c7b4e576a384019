"""A handler that has made a client of AWS's SDK; it takes as long as its event says."""

import time

import boto3

client = boto3.client(
    "dynamodb", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="s"
)


def handler(event, context):
    time.sleep(event.get("seconds", 0))
    return {"service": client.meta.service_model.service_name}
