"""The handler that is measured: it reads a member of the event and answers a small JSON object."""

import json


def handler(event, context):
    name = event["rawPath"]
    return {
        "statusCode": 200,
        "headers": {"content-type": "application/json"},
        "body": json.dumps({"message": "hello", "path": name}),
    }
