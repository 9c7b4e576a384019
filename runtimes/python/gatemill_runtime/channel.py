"""The framed channel to the server (protocol version 2) on descriptor 3.

A frame is `u32 LE body length | u8 kind | body`. A warm invocation costs one read and one write:
the read goes into a buffer that lives as long as the process, since allocating a fresh one of this
size for every call costs more than the call. Blocking on purpose: one invocation at a time is all
that an execution environment serves, and while it waits nothing of the customer's should run.
"""

import os

# By name, since functions put others in their place (gevent does).
from select import POLLIN, poll

DESCRIPTOR = 3
INVOKE = 0x01
ASSIGN = 0x02
READY = 0x81
INIT_ERROR = 0x82
RESPONSE = 0x83
ERROR = 0x84
PARKED = 0x89
SNAPSHOT = 0x8A
NO_SNAPSHOT = 0x8B

HEADER_BYTES = 5
# Enough for almost every event in one read; larger ones get a buffer of their own for that call.
BUFFER_BYTES = 64 * 1024
# Where calls wait, an assignment follows at once, and what would be prepared meanwhile is done by the call itself.
AT_ONCE_MS = 20
# The protocol's bound on one frame, far above AWS's payload quota of 6 MiB.
FRAME_BYTES_MAX = 64 * 1024 * 1024


# Made with the module, so that a fork of the zygote has in memory of its own only what is written to it.
_BUFFER = memoryview(bytearray(BUFFER_BYTES))


class ProtocolError(Exception):
    """The server sent something that version 2 of the protocol does not have."""


class Invocation:
    """One INVOKE frame, taken apart. `event` is the text of the payload, not yet parsed."""

    __slots__ = (
        "request_id",
        "deadline_ms",
        "function_arn",
        "trace_id",
        "client_context",
        "cognito_identity",
        "tenant_id",
        "event",
    )

    def __init__(self, meta, event):
        fields = meta.split("\0")
        if len(fields) < 6:
            raise ProtocolError("an INVOKE frame with %d of 6 fields" % len(fields))
        self.request_id = fields[0]
        self.deadline_ms = int(fields[1])
        self.function_arn = fields[2]
        self.trace_id = fields[3]
        self.client_context = fields[4]
        self.cognito_identity = fields[5]
        # Servers that isolate tenants append a seventh field.
        self.tenant_id = fields[6] if len(fields) > 6 and fields[6] else None
        self.event = event


class Channel:
    """Our end of the socket. Not for use by more than one thread."""

    def __init__(self, descriptor=DESCRIPTOR):
        self._descriptor = descriptor
        os.set_blocking(descriptor, True)
        # Programs that the handler starts must not be able to answer in its place.
        os.set_inheritable(descriptor, False)
        self._view = _BUFFER
        self._views = [self._view]

    def receive(self):
        """Waits for the next invocation. None when the server closed the channel between two."""
        frame = self._receive(INVOKE)
        return None if frame is None else self._parse(*frame)

    def assigned(self, prepare):
        """Says that this parked process waits, and waits for the bytes of its assignment: JSON. Calls
        `prepare` unless that comes at once. None when the server closed the channel instead."""
        self.send(PARKED)
        coming = poll()
        coming.register(self._descriptor, POLLIN)
        if not coming.poll(AT_ONCE_MS):
            prepare()
        frame = self._receive(ASSIGN)
        return None if frame is None else bytes(frame[0][HEADER_BYTES : frame[1]])

    def _receive(self, kind):
        filled = os.readv(self._descriptor, self._views)
        if filled == 0:
            return None
        view = self._view
        while filled < HEADER_BYTES:
            filled += self._read_more(view[filled:])
        length = int.from_bytes(view[:4], "little")
        if length > FRAME_BYTES_MAX:
            raise ProtocolError("a frame of %d bytes" % length)
        if view[4] != kind:
            raise ProtocolError("a frame of kind 0x%02x" % view[4])
        end = HEADER_BYTES + length
        if filled > end:
            raise ProtocolError("bytes after a frame")
        if end > BUFFER_BYTES:
            large = memoryview(bytearray(end))
            large[:filled] = view[:filled]
            view = large
        while filled < end:
            filled += self._read_more(view[filled:end])
        return view, end

    def _read_more(self, rest):
        count = os.readv(self._descriptor, [rest])
        if count == 0:
            raise ProtocolError("the channel ended inside a frame")
        return count

    @staticmethod
    def _parse(view, end):
        meta_start = HEADER_BYTES + 4
        meta_end = meta_start + int.from_bytes(view[HEADER_BYTES:meta_start], "little")
        if meta_end > end:
            raise ProtocolError("the fields of an INVOKE frame pass its end")
        # Decoding here and parsing text is twice as fast as handing bytes to the JSON parser.
        return Invocation(str(view[meta_start:meta_end], "utf-8"), str(view[meta_end:end], "utf-8"))

    def send(self, kind, body=b""):
        """Writes one whole frame; returns when the kernel has all of it."""
        header = len(body).to_bytes(4, "little") + bytes((kind,))
        total = HEADER_BYTES + len(body)
        written = os.writev(self._descriptor, (header, body))
        if written == total:
            return
        rest = memoryview(header + body)
        while written < total:
            written += os.write(self._descriptor, rest[written:])
