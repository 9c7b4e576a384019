"""The function that serves the page."""

import os
import pathlib

PAGE = pathlib.Path(__file__).with_name("page.html").read_text().replace("LIVE_API", os.environ["LIVE_API"])


def handler(event, context):
    return {"statusCode": 200, "headers": {"content-type": "text/html; charset=utf-8"}, "body": PAGE}
