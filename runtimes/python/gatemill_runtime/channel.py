"""The framed channel to the server (protocol version 2) on descriptor 3.

A frame is `u32 LE body length | u8 kind | body`. A warm invocation costs one read and one write:
the read goes into a buffer that lives as long as the process, since allocating a fresh one of this
size for every call costs more than the call. Blocking on purpose: one invocation at a time is all
that an execution environment serves, and while it waits nothing of the customer's should run.
"""

import os
from struct import Struct

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
_HEADER = Struct("<IB")
# The header of an INVOKE frame, and the length of the fields that stand before its event.
_INVOKE_HEADER = Struct("<IBI")
_META_START = _INVOKE_HEADER.size
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
        # Servers that isolate tenants append a seventh field.
        if len(fields) == 6:
            fields.append("")
        elif len(fields) != 7:
            raise ProtocolError("an INVOKE frame with %d of 7 fields" % len(fields))
        (
            self.request_id,
            deadline_ms,
            self.function_arn,
            self.trace_id,
            self.client_context,
            self.cognito_identity,
            tenant_id,
        ) = fields
        self.deadline_ms = int(deadline_ms)
        self.tenant_id = tenant_id or None
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
        if frame is None:
            return None
        view, end = frame
        if end < _META_START:
            raise ProtocolError("an INVOKE frame of %d bytes" % end)
        meta_end = _META_START + _INVOKE_HEADER.unpack_from(view)[2]
        if meta_end > end:
            raise ProtocolError("the fields of an INVOKE frame pass its end")
        # Decoding here and parsing text is twice as fast as handing bytes to the JSON parser.
        return Invocation(str(view[_META_START:meta_end], "utf-8"), str(view[meta_end:end], "utf-8"))

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
        length, found = _HEADER.unpack_from(view)
        if length > FRAME_BYTES_MAX:
            raise ProtocolError("a frame of %d bytes" % length)
        if found != kind:
            raise ProtocolError("a frame of kind 0x%02x" % found)
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

    def send(self, kind, body=b""):
        """Writes one whole frame; returns when the kernel has all of it."""
        header = _HEADER.pack(len(body), kind)
        total = HEADER_BYTES + len(body)
        written = os.writev(self._descriptor, (header, body))
        if written == total:
            return
        rest = memoryview(header + body)
        while written < total:
            written += os.write(self._descriptor, rest[written:])
