"""Kinesis with enhanced fan-out: what moto does not have, `SubscribeToShard`, in front of moto, which answers all else.

A subscription is over after two seconds, not five minutes, so that readers have to ask for others; and as on AWS there is
one for a consumer and a shard at a time.
"""

import binascii
import http.client
import http.server
import json
import struct
import threading
import time

LIFE_S = 2


def message(headers, payload):
    """One message of an event stream."""
    head = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode() for name, value in headers.items())
    prelude = struct.pack(">II", 16 + len(head) + len(payload), len(head))
    everything = prelude + struct.pack(">I", binascii.crc32(prelude)) + head + payload
    return everything + struct.pack(">I", binascii.crc32(everything))


def event(kind, document):
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return message(headers, json.dumps(document).encode())


class FanOut:
    """The server, and what it saw."""

    def __init__(self, address, kinesis):
        self.address, self.kinesis = address, kinesis
        self.subscriptions, self.open, self.lock = [], set(), threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            do_POST = lambda handler: self.answer(handler)  # noqa: E731
            log_message = lambda *_: None  # noqa: E731

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, handler):
        body = handler.rfile.read(int(handler.headers["content-length"]))
        if handler.headers["x-amz-target"].endswith(".SubscribeToShard"):
            return self.subscribe(handler, json.loads(body))
        onward = http.client.HTTPConnection(*self.address)
        onward.request("POST", handler.path, body, dict(handler.headers))
        answer = onward.getresponse()
        self.say(handler, answer.status, answer.read())

    def say(self, handler, status, body):
        handler.send_response(status)
        handler.send_header("content-type", "application/x-amz-json-1.1")
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def subscribe(self, handler, request):
        place = request["ConsumerARN"], request["ShardId"]
        with self.lock:
            self.subscriptions.append(request)
            is_taken = place in self.open
            self.open.add(place)
        if is_taken:
            return self.say(handler, 400, b'{"__type":"ResourceInUseException","message":"Another active subscription exists."}')
        try:
            handler.send_response(200)
            handler.send_header("content-type", "application/vnd.amazon.eventstream")
            handler.send_header("connection", "close")
            handler.end_headers()
            handler.close_connection = True
            for part in self.events(request):
                handler.wfile.write(part)
                handler.wfile.flush()
        except OSError:
            pass
        finally:
            with self.lock:
                self.open.discard(place)

    def events(self, request):
        position = request["StartingPosition"]
        at = {"Timestamp": position["Timestamp"]} if "Timestamp" in position else {}
        if "SequenceNumber" in position:
            at["StartingSequenceNumber"] = position["SequenceNumber"]
        name = request["ConsumerARN"].split("/")[1]
        iterator = self.kinesis.get_shard_iterator(
            StreamName=name, ShardId=request["ShardId"], ShardIteratorType=position["Type"], **at)["ShardIterator"]
        yield event("initial-response", {})
        end, last = time.monotonic() + LIFE_S, position.get("SequenceNumber", "0")
        while time.monotonic() < end:
            found = self.kinesis.get_records(ShardIterator=iterator, Limit=5)
            iterator, came = found["NextShardIterator"], found["Records"]
            last = came[-1]["SequenceNumber"] if came else last
            yield event("SubscribeToShardEvent", {
                "Records": [{
                    "SequenceNumber": one["SequenceNumber"], "PartitionKey": one["PartitionKey"],
                    "Data": binascii.b2a_base64(one["Data"], newline=False).decode(),
                    "ApproximateArrivalTimestamp": one["ApproximateArrivalTimestamp"].timestamp()} for one in came],
                "ContinuationSequenceNumber": last, "MillisBehindLatest": found["MillisBehindLatest"]})
            time.sleep(0.05)

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
