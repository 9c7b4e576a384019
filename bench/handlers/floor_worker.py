"""The floor's worker: the same handler behind the smallest framing that works, over an inherited socket."""

import json
import socket
import struct
import sys

from app import handler

channel = socket.socket(fileno=int(sys.argv[1]))
buffer = bytearray(1 << 20)
view = memoryview(buffer)
while True:
    held = channel.recv_into(buffer)
    if not held:
        break
    length = struct.unpack_from("<I", buffer)[0]
    while held < 4 + length:
        held += channel.recv_into(view[held:])
    event = json.loads(str(view[4 : 4 + length], "utf-8"))
    body = json.dumps(handler(event, None)).encode()
    channel.sendall(struct.pack("<I", len(body)) + body)
