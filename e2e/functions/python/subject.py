"""Does what the event's `do` says; every runtime of the tests has a function that does the same."""

import os
import sys
import time

count = 0


def handler(event, context):
    return getattr(Deeds, event["do"])(event, context)


class Deeds:
    def echo(event, context):
        return event.get("value")

    def fail(event, context):
        raise ValueError("no luck")

    def sleep(event, context):
        time.sleep(event["seconds"])
        return "slept"

    def exit(event, context):
        os._exit(event["status"])

    def eat(event, context):
        hoard = []
        while True:
            hoard.append(b"x" * (8 << 20))

    def big(event, context):
        return "x" * event["size"]

    def length(event, context):
        return len(event["value"])

    def environment(event, context):
        return {**os.environ, "cwd": os.getcwd()}

    def context(event, context):
        client = context.client_context
        return {
            "id": context.aws_request_id, "name": context.function_name, "version": context.function_version,
            "arn": context.invoked_function_arn, "memory": context.memory_limit_in_mb,
            "group": context.log_group_name, "stream": context.log_stream_name,
            "left": context.get_remaining_time_in_millis(),
            "tenant": context.tenant_id, "custom": client and client.custom, "title": client and client.client.app_title,
        }

    def print(event, context):
        print("to stdout")
        print("to stderr", file=sys.stderr)
        sys.stdout.write("no line end")
        return "printed"

    def count(event, context):
        global count
        count += 1
        return count
