"""A handler that keeps its environment busy for a while, so that every call of a burst needs one of its own."""

import time


def handler(event, context):
    time.sleep(2)
    return {"statusCode": 200, "body": "{}"}
