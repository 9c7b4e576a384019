"""HTTP at the level of bytes: requests that no library would send, and servers that write down all that they get."""

import re
import socket
import struct
import threading


def answers(port, *pieces, timeout=60, wrap=None):
    """Sends bytes, says that nothing more comes, and reads to the end: the answers, each a status and a body."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as plain:
        connection = wrap(plain) if wrap else plain
        try:
            for piece in pieces:
                connection.sendall(piece)
            plain.shutdown(socket.SHUT_WR)
        except OSError:
            # The other end has closed already; what it said before is there.
            pass
        return split(everything(connection))


def everything(connection):
    """All that comes until the other end closes; one that cuts the connection is as good."""
    got = b""
    try:
        while piece := connection.recv(65536):
            got += piece
    except (ConnectionResetError, BrokenPipeError):
        pass
    return got


def split(got):
    """The answers in a stream of bytes."""
    found = []
    while got:
        head, _, rest = got.partition(b"\r\n\r\n")
        status = int(re.match(rb"HTTP/1\.[01] (\d{3})", head)[1])
        if status == 100:
            got = rest
            continue
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head):
            assert not length, head
            body, got = unchunked(rest)
            found.append((status, body))
            continue
        size = int(length[1]) if length else len(rest)
        found.append((status, rest[:size]))
        got = rest[size:]
    return found


def unchunked(got):
    """A body in chunks, and what follows it."""
    body = b""
    while True:
        size, _, got = got.partition(b"\r\n")
        size = int(size, 16)
        if not size:
            return body, got.partition(b"\r\n")[2]
        body, got = body + got[:size], got[size + 2:]


# At the end of an upstream's answer: it closes the connection then.
HANG_UP = b"\x00hang up"


class Upstream:
    """A server that reads requests by their Content-Length and writes down every one, as the simplest of servers would."""

    def __init__(self, answer=b"upstream", whole=None):
        self.seen, self.answer, self.whole = [], answer, whole
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection, connection.makefile("rb") as reader:
            while line := reader.readline():
                head, length = [line], 0
                while (header := reader.readline()) not in (b"\r\n", b"\n", b""):
                    head.append(header)
                    name, _, value = header.partition(b":")
                    if name.strip().lower() == b"content-length":
                        length = int(value)
                    # What it would be told of another length, it must never be told.
                    assert name.strip().lower() != b"transfer-encoding", header
                self.seen.append((line.decode("latin-1").strip(), b"".join(head), reader.read(length)))
                whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(self.answer), self.answer)
                try:
                    connection.sendall(self.whole or whole)
                except OSError:
                    return
                if self.whole and self.whole.endswith(HANG_UP):
                    return

    def close(self):
        self.listener.close()


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value):
    """A header as HPACK has it that never heard of its tables."""
    def text(word):
        assert len(word) < 127
        return bytes([len(word)]) + word

    return b"\x10" + text(name) + text(value)


def request(authority, *more, method=b"GET", path=b"/"):
    pseudo = [(b":method", method), (b":scheme", b"http"), (b":authority", authority), (b":path", path)]
    return b"".join(literal(*header) for header in [*pseudo, *more])


class Http2:
    """One connection of HTTP/2, frame by frame."""

    def __init__(self, port, timeout=60):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0))
        self.buffer = b""

    def send(self, *frames):
        """Whether the other end still takes it."""
        try:
            self.socket.sendall(b"".join(frames))
            return True
        except (BrokenPipeError, ConnectionResetError):
            return False

    def frames(self):
        """What comes, until the other end closes."""
        while True:
            try:
                piece = self.socket.recv(65536)
            except ConnectionResetError:
                return
            if not piece:
                return
            self.buffer += piece
            while len(self.buffer) >= 9 + (size := int.from_bytes(self.buffer[:3], "big")):
                kind, flags, stream = struct.unpack(">BBI", self.buffer[3:9])
                payload, self.buffer = self.buffer[9:9 + size], self.buffer[9 + size:]
                yield kind, flags, stream, payload

    def end(self, stream):
        """How a stream ends: with an answer, whose status is the first of its header block, or with a reset. A GOAWAY ends all."""
        status = None
        for kind, flags, of, payload in self.frames():
            if kind == SETTINGS and not flags & ACK:
                self.send(frame(SETTINGS, ACK, 0))
            if kind == GOAWAY:
                return "goaway", int.from_bytes(payload[4:8], "big")
            if of != stream:
                continue
            if kind == RST_STREAM and status is None:
                return "reset", int.from_bytes(payload, "big")
            if kind == HEADERS:
                status = payload
            if flags & END_STREAM:
                return "answer", STATUS.get(status[0], status)
        return "closed", None

    def close(self):
        self.socket.close()


# The indices of HPACK's static table.
STATUS = {0x88: 200, 0x89: 204, 0x8C: 400, 0x8D: 404, 0x8E: 500}
