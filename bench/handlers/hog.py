"""A handler that does nothing but use CPU for a while."""

import time


def handler(event, context):
    end = time.monotonic() + event["seconds"]
    while time.monotonic() < end:
        pass
    return None
