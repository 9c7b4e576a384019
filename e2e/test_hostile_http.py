"""Requests that were made to harm: two readings of one request, floods, senders without haste, and nonsense."""

import json
import socket
import threading
import time

import pytest

import raw_http
from packages import create, package
from raw_http import ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, SETTINGS, Http2, Upstream, answers, frame
from server import Server
from waiting import until

CODE = package(app__py='''
def event(event, context):
    return event

def injected(event, context):
    return {"statusCode": 200, "headers": {"X-A": "b\\r\\nX-Injected: 1"}, "body": "poisoned"}
''')
CALM, PROTOCOL = 11, 1


@pytest.fixture(scope="module")
def upstream():
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.fixture(scope="module")
def host(server, apis, functions, python, upstream):
    """The host of an API: `/event` gives the event, everything else is the upstream's."""
    api = apis.create_api(Name="hostile", ProtocolType="HTTP")["ApiId"]
    arn = create(functions, "hostile", CODE, python, handler="app.event")["FunctionArn"]
    functions.add_permission(FunctionName=arn, StatementId="api", Action="lambda:InvokeFunction",
                             Principal="apigateway.amazonaws.com")

    def route(key, **integration):
        made = apis.create_integration(ApiId=api, **integration)["IntegrationId"]
        apis.create_route(ApiId=api, RouteKey=key, Target=f"integrations/{made}")

    route("ANY /event/{x}", IntegrationType="AWS_PROXY", IntegrationUri=arn, PayloadFormatVersion="2.0")
    injected = create(functions, "hostile-injected", CODE, python, handler="app.injected")["FunctionArn"]
    functions.add_permission(FunctionName=injected, StatementId="api", Action="lambda:InvokeFunction",
                             Principal="apigateway.amazonaws.com")
    route("GET /injected", IntegrationType="AWS_PROXY", IntegrationUri=injected, PayloadFormatVersion="2.0")
    route("GET /mapped", IntegrationType="HTTP_PROXY", IntegrationMethod="ANY", IntegrationUri=upstream.url, PayloadFormatVersion="1.0",
          RequestParameters={"append:header.x-mapped": "$request.querystring.q", "overwrite:path": "$request.querystring.p"})
    route("$default", IntegrationType="HTTP_PROXY", IntegrationMethod="ANY", IntegrationUri=upstream.url, PayloadFormatVersion="1.0")
    apis.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
    return f"{api}.execute-api.localhost".encode()


@pytest.fixture(autouse=True)
def it_lives(server, host):
    """Whatever was sent, the next request is answered."""
    yield
    assert answers(server.port, b"GET /after HTTP/1.1\r\nHost: " + host + b"\r\n\r\n") == [(200, b"upstream")]


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: "
# What stands between the request line with its host and the smuggled request, and the only status that may come. Requests
# whose length is told in two ways, or in a way that another reader could understand otherwise.
TWO_READINGS = {
    # RFC 9112 lets a server go by the chunks, where it closes the connection then; what is passed on has one length.
    "length and chunked": (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200),
    "chunked and length": (b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 200),
    "two lengths": (b"Content-Length: 0\r\nContent-Length: 5\r\n\r\n", 400),
    "a list of lengths": (b"Content-Length: 0, 5\r\n\r\n", 400),
    "a signed length": (b"Content-Length: +0\r\n\r\n", 400),
    "a negative length": (b"Content-Length: -1\r\n\r\n", 400),
    "a hexadecimal length": (b"Content-Length: 0x0\r\n\r\n", 400),
    "an endless length": (b"Content-Length: 18446744073709551616\r\n\r\n", 400),
    "an empty length": (b"Content-Length:\r\n\r\n", 400),
    "not quite chunked": (b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    "chunked not last": (b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
    "identity": (b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400),
    "chunked by another name": (b"Content-Length: 0\r\nTransfer-Encoding : chunked\r\n\r\n", 400),
    "a tab before the colon": (b"Content-Length: 0\r\nTransfer-Encoding\t: chunked\r\n\r\n", 400),
    "a folded line": (b"Content-Length: 0\r\nX: y\r\n Transfer-Encoding: chunked\r\n\r\n", 400),
    "a vertical tab": (b"Content-Length: 0\r\nTransfer-Encoding:\x0bchunked\r\n\r\n", 400),
    "a bare line feed": (b"Content-Length: 5\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200),
    "a bare carriage return": (b"Content-Length: 5\r\nX: y\rTransfer-Encoding: chunked\r\n\r\n", 400),
    "a zero byte": (b"Content-Length: 0\r\nX: a\x00b\r\n\r\n", 400),
    "a name with a space": (b"Content-Length: 0\r\nX y: z\r\n\r\n", 400),
    "no colon": (b"Content-Length: 0\r\nContent-Length 5\r\n\r\n", 400),
    "a signed chunk": (b"Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n", 400),
    "a chunk in C": (b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n", 400),
    "an endless chunk": (b"Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\n", 400),
    "a chunk without an end": (b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", 400),
}


@pytest.mark.parametrize("shape", TWO_READINGS)
def test_no_request_is_smuggled(server, host, upstream, shape):
    head, status = TWO_READINGS[shape]
    upstream.seen.clear()
    got = answers(server.port, b"POST /first HTTP/1.1\r\nHost: " + host + b"\r\n" + head + SMUGGLED + host + b"\r\n\r\n")
    # One answer, and the connection closed: what follows is nobody's request.
    assert [each for each, _ in got] == [status], got
    assert [line for line, _, _ in upstream.seen] == (["POST /first HTTP/1.1"] if status == 200 else [])


def test_chunked_of_http_1_0_is_refused(server, host, upstream):
    upstream.seen.clear()
    got = answers(server.port, b"POST / HTTP/1.0\r\nHost: " + host + b"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert [status for status, _ in got] == [400] and upstream.seen == []


def test_what_an_upstream_is_sent_has_one_length(server, host, upstream):
    upstream.seen.clear()
    got = answers(server.port, b"POST /x HTTP/1.1\r\nHost: " + host + b"\r\nTransfer-Encoding: chunked\r\nTrailer: Content-Length\r\n"
                  b"Connection: close, X-Hop\r\nX-Hop: 1\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n4;x=\"\r\n\"\r\n" b"body\r\n0\r\nContent-Length: 0\r\n\r\n")
    # A line end within an extension of a chunk is no extension.
    assert [status for status, _ in got] == [400] and upstream.seen == []
    got = answers(server.port, b"POST /x HTTP/1.1\r\nHost: " + host + b"\r\nTransfer-Encoding: chunked\r\nTrailer: Content-Length\r\n"
                  b"Connection: close, X-Hop\r\nX-Hop: 1\r\n\r\n4;x=y\r\nbody\r\n0\r\nContent-Length: 0\r\n\r\n")
    assert got == [(200, b"upstream")]
    (line, head, body), = upstream.seen
    assert (line, body) == ("POST /x HTTP/1.1", b"body")
    lower = head.lower()
    assert lower.count(b"content-length: 4") == 1 == lower.count(b"content-length")
    assert b"x-hop" not in lower and b"transfer-encoding" not in lower and b"trailer" not in lower


def test_no_header_is_injected(server, host, upstream):
    upstream.seen.clear()

    def ask(target):
        return answers(server.port, b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")

    assert ask(b"/injected") == [(500, b'{"message":"Internal Server Error"}')]
    assert ask(b"/mapped?q=a%0d%0aX-Injected:%201&p=@other.example/%0d%0aX-Injected:%202%20HTTP/1.1") == [(200, b"upstream")]
    # Nor is one taken away again that the mapping adds.
    got = answers(server.port, b"GET /mapped?q=kept&p=x HTTP/1.1\r\nHost: " + host + b"\r\nConnection: x-mapped, forwarded\r\n\r\n")
    assert got == [(200, b"upstream")]
    (line, head, _), (_, second, _) = upstream.seen
    assert b"\r\nx-mapped: kept\r\n" in second.lower() and b"\r\nforwarded: " in second.lower()
    assert line.startswith("GET /@other.example/%0D%0AX-Injected:%202%20HTTP/1.1?q=a%0d%0a") and b"\r\nx-injected" not in head.lower()


def test_requests_in_a_row_are_answered_in_that_order(server, host, upstream):
    upstream.seen.clear()
    one = b"POST /%d HTTP/1.1\r\nHost: " + host + b"\r\nContent-Length: 3\r\n\r\nabc"
    assert answers(server.port, b"".join(one % n for n in range(5))) == [(200, b"upstream")] * 5
    assert [(line, body) for line, _, body in upstream.seen] == [(f"POST /{n} HTTP/1.1", b"abc") for n in range(5)]


def test_hosts(server, host):
    def status(*lines):
        got = answers(server.port, b"\r\n".join(lines) + b"\r\n\r\n")
        return [status for status, _ in got]

    assert status(b"GET / HTTP/1.1", b"Host: " + host, b"Host: other.example") == [400]
    assert status(b"GET / HTTP/1.1", b"Host: other.example", b"Host: " + host) == [400]
    assert status(b"GET /_gatemill/health HTTP/1.1", b"Host: localhost", b"Host: localhost") == [400]
    assert status(b"GET /_gatemill/health HTTP/1.1") == [400]
    assert status(b"GET / HTTP/1.1") == [400]
    for odd in [b"", b" ", b"a b", b"a@b", b"[::1", b"a/b", b"a\tb", b"\xff"]:
        assert status(b"GET / HTTP/1.1", b"Host: " + odd) in ([400], [403], [404]), odd
    # The target names the host, whatever the header says, as RFC 9112 has it.
    assert status(b"GET http://" + host + b"/ HTTP/1.1", b"Host: " + host) == [200]
    assert status(b"GET http://" + host + b"/ HTTP/1.1", b"Host: localhost") == [200]
    assert status(b"CONNECT " + host + b":80 HTTP/1.1", b"Host: " + host) == [400]
    assert status(b"OPTIONS * HTTP/1.1", b"Host: " + host) == [400]


def test_request_lines(server, host, upstream):
    upstream.seen.clear()
    for line in [b"GET", b"GET /", b"GET  / HTTP/1.1", b"GET / HTTP/1.9", b"GET / HTTP/3.0", b"GET /a b HTTP/1.1", b"G@T / HTTP/1.1 x",
                 b"GET /\x00 HTTP/1.1", b"GET / http/1.1", b"/ HTTP/1.1", b"GET ftp:/x HTTP/1.1", b"\x80\x00\x00"]:
        got = answers(server.port, line + b"\r\nHost: " + host + b"\r\n\r\n")
        assert [status for status, _ in got] in ([400], [505], []), line
    assert upstream.seen == []


def test_bytes_that_are_no_text(server, host):
    for path, header in [(b"/event/%ff%fe?q=%ff&%80=1", b"x"), (b"/event/x", b"\xff\xfe"), (b"/event/%00", b"x"), (b"/event/%2e%2e%2f", b"x"),
                         ("/event/é".encode(), "é".encode())]:
        (status, body), = answers(server.port, b"GET " + path + b" HTTP/1.1\r\nHost: " + host + b"\r\nX-Odd: " + header + b"\r\n\r\n")
        assert status == 200, (path, body)
        event = json.loads(body)
        assert event["rawQueryString"] == path.partition(b"?")[2].decode() and "x" in event["pathParameters"]
        assert event["headers"]["x-odd"] == header.decode(errors="replace")
    (status, _), = answers(server.port, b"GET /event/\xff HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
    assert status == 400


def test_floods_of_headers(server, host):
    def status(*lines):
        return [status for status, _ in answers(server.port, b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n" + b"".join(lines) + b"\r\n")]

    assert status(b"X: " + b"x" * 9_000 + b"\r\n") == [200]
    assert status(b"X: " + b"x" * 10_240 + b"\r\n") == [431]
    # A hundred headers, `Host` among them; AWS counts bytes alone.
    assert status(*[b"X%d: y\r\n" % n for n in range(99)]) == [200]
    assert status(*[b"X%d: y\r\n" % n for n in range(100)]) == [431]
    assert status(*[b"X%d: y\r\n" % n for n in range(10_000)]) in ([431], [])
    assert status(b"X: " + b"x" * 300_000 + b"\r\n") in ([431], [])
    long = answers(server.port, b"GET /" + b"x" * 10_240 + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
    assert long == [(414, b'{"message":"URI Too Long"}')]


def test_bodies_that_are_too_large(server, host, upstream):
    upstream.seen.clear()
    too_large = [(413, b'{"message":"Request Entity Too Large"}')]
    head = b"POST / HTTP/1.1\r\nHost: " + host + b"\r\n"
    limit = 10 * 1024 * 1024
    # One that says so beforehand in earnest is refused before it is sent.
    assert answers(server.port, head + b"Content-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n") == too_large
    assert answers(server.port, head + b"Content-Length: %d\r\n\r\n" % (limit + 1), bytes(limit + 1)) == too_large
    chunk = b"100000\r\n" + bytes(0x100000) + b"\r\n"
    assert answers(server.port, head + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 10, b"1\r\nx\r\n0\r\n\r\n") == too_large
    assert upstream.seen == []
    assert answers(server.port, head + b"Content-Length: %d\r\n\r\n" % limit, bytes(limit)) == [(200, b"upstream")]


def test_a_body_that_ends_early_is_no_request(server, host, upstream):
    upstream.seen.clear()
    for body in [b"Content-Length: 10\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"]:
        got = answers(server.port, b"POST / HTTP/1.1\r\nHost: " + host + b"\r\n" + body)
        assert [status for status, _ in got] in ([400], [])
    assert upstream.seen == []


def test_a_client_that_asks_before_it_sends(server, host, upstream):
    upstream.seen.clear()
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(b"POST /asked HTTP/1.1\r\nHost: " + host + b"\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(1024) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert upstream.seen == []
        connection.sendall(b"body")
        connection.shutdown(socket.SHUT_WR)
        assert raw_http.split(raw_http.everything(connection)) == [(200, b"upstream")]
    assert [(line, body) for line, _, body in upstream.seen] == [("POST /asked HTTP/1.1", b"body")]
    assert b"expect" not in upstream.seen[0][1].lower()


def test_many_who_take_their_time_hold_up_nobody(server, host):
    """Slow heads, slow bodies, and connections that say nothing: others are answered as ever."""
    slow = [b"", b"P", b"PRI * HTTP/2.0\r\n", b"GET / HT", b"POST / HTTP/1.1\r\nHost: " + host + b"\r\nContent-Length: 100\r\n\r\nx",
            raw_http.PREFACE, raw_http.PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, 0, 1, raw_http.request(host))]
    held = []
    try:
        for n in range(210):
            held.append(socket.create_connection(("127.0.0.1", server.port), timeout=60))
            held[-1].sendall(slow[n % len(slow)])
        for _ in range(20):
            assert answers(server.port, b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n") == [(200, b"upstream")]
    finally:
        for connection in held:
            connection.close()


GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"
# What a server behind the gateway says, and what the client may get then: the answer, or the gateway's own.
BAD_ANSWERS = {
    "one answer too many": (GOOD + b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned", {(200, b"good")}),
    "more than its length": (GOOD + b"poisoned", {(200, b"good")}),
    "length and chunked": (b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n", {(200, b"good")}),
    "two lengths": (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 8\r\n\r\npoisoned", set()),
    "a negative length": (b"HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\npoisoned", set()),
    "a broken header": (b"HTTP/1.1 200 OK\r\nX y: z\r\nContent-Length: 8\r\n\r\npoisoned", set()),
    "a zero byte": (b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 8\r\n\r\npoisoned", set()),
    "no answer": (b"hello" + raw_http.HANG_UP, set()),
    "a status of four digits": (b"HTTP/1.1 2000 OK\r\nContent-Length: 8\r\n\r\npoisoned" + raw_http.HANG_UP, set()),
    "headers without end": (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000 + b"\r\n" + raw_http.HANG_UP, set()),
    "an unasked-for switch": (b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\npoisoned", set()),
}


@pytest.mark.parametrize("shape", BAD_ANSWERS)
def test_an_upstream_harms_only_its_own_answers(server, apis, shape):
    whole, allowed = BAD_ANSWERS[shape]
    upstream = Upstream(whole=whole)
    try:
        api = apis.create_api(Name="bad-answers", ProtocolType="HTTP")["ApiId"]
        made = apis.create_integration(ApiId=api, IntegrationType="HTTP_PROXY", IntegrationMethod="ANY", IntegrationUri=upstream.url,
                                       PayloadFormatVersion="1.0")["IntegrationId"]
        apis.create_route(ApiId=api, RouteKey="$default", Target=f"integrations/{made}")
        apis.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
        head = b"GET / HTTP/1.1\r\nHost: %s.execute-api.localhost\r\n\r\n" % api.encode()
        own = {(status, b'{"message":"%s"}' % text) for status, text in [(500, b"Internal Server Error"), (503, b"Service Unavailable")]}
        for _ in range(10):
            (got,) = answers(server.port, head)
            assert got in (allowed or own), got
        # Many in a row on one connection, of which the answers must not get out of step.
        got = answers(server.port, head * 10)
        assert len(got) == 10 and set(got) <= (allowed or own) | own, got
    finally:
        upstream.close()


def test_http_2_in_earnest(server, host, upstream):
    upstream.seen.clear()
    connection = Http2(server.port)
    connection.send(frame(HEADERS, END_HEADERS, 1, raw_http.request(host, method=b"POST", path=b"/two")), frame(DATA, END_STREAM, 1, b"body"))
    assert connection.end(1) == ("answer", 200)
    connection.close()
    assert [(line, body) for line, _, body in upstream.seen] == [("POST /two HTTP/1.1", b"body")]


BAD_FIELDS = {
    "a line end": [(b"x", b"a\r\nTransfer-Encoding: chunked")],
    "a zero byte": [(b"x", b"a\x00b")],
    "a length that lies": [(b"content-length", b"0")],
    "two lengths": [(b"content-length", b"4"), (b"content-length", b"5")],
    "chunked": [(b"transfer-encoding", b"chunked")],
    "a header of the connection": [(b"connection", b"x-hop")],
    "a capital": [(b"X-Capital", b"y")],
    "a colon": [(b"x:y", b"z")],
    "a second path": [(b":path", b"/smuggled")],
    "an unknown pseudo-header": [(b":odd", b"y")],
}


@pytest.mark.parametrize("shape", BAD_FIELDS)
def test_fields_that_http_2_does_not_have(server, host, upstream, shape):
    upstream.seen.clear()
    connection = Http2(server.port)
    head = raw_http.request(host, *BAD_FIELDS[shape], method=b"POST", path=b"/two")
    connection.send(frame(HEADERS, END_HEADERS, 1, head), frame(DATA, END_STREAM, 1, b"body"))
    how, code = connection.end(1)
    assert how in ("reset", "goaway") or (how, code) == ("answer", 400), (how, code)
    connection.close()
    assert upstream.seen == []


@pytest.mark.parametrize("path", [b"", b"two", b"/a b", b"/a\r\nX: y", b"http://other/"])
def test_paths_that_http_2_does_not_have(server, host, upstream, path):
    upstream.seen.clear()
    connection = Http2(server.port)
    connection.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, raw_http.request(host, path=path)))
    how, code = connection.end(1)
    assert how in ("reset", "goaway") or (how, code) in [("answer", 400), ("answer", 404)], (how, code)
    connection.close()
    assert upstream.seen == []


def ends(connection, make, most):
    """Sends until the server has had enough; how it says so, and after how many."""
    sent = 0
    for sent in range(most):
        if not connection.send(make(sent)):
            break
    kinds = {}
    for kind, _, _, payload in connection.frames():
        kinds[kind] = payload
        if kind == raw_http.GOAWAY:
            break
    connection.close()
    goaway = kinds.get(raw_http.GOAWAY)
    return sent, goaway and int.from_bytes(goaway[4:8], "big")


def test_streams_that_are_reset_at_once(server, host, upstream):
    """Rapid reset (CVE-2023-44487): each stream costs the server more than its client."""
    upstream.seen.clear()
    head = raw_http.request(host, path=b"/event/x")

    def made(n):
        stream = 2 * n + 1
        return frame(HEADERS, END_HEADERS | END_STREAM, stream, head) + frame(RST_STREAM, 0, stream, (8).to_bytes(4, "big"))

    _, code = ends(Http2(server.port), made, 20_000)
    assert code in (CALM, None)


def test_a_head_without_end(server, host):
    """A flood of CONTINUATION (CVE-2024-27316): the server keeps no more of it than it allows."""
    connection = Http2(server.port)
    connection.send(frame(HEADERS, 0, 1, raw_http.request(host)))
    more = raw_http.literal(b"x", b"y" * 120) * 100
    sent, code = ends(connection, lambda _: frame(CONTINUATION, 0, 1, more), 20_000)
    assert sent < 20_000 and code in (CALM, PROTOCOL, None)
    # Frames without anything in them are no way around it.
    connection = Http2(server.port)
    connection.send(frame(HEADERS, 0, 1, raw_http.request(host)))
    sent, code = ends(connection, lambda _: frame(CONTINUATION, 0, 1, b"") * 100, 20_000)
    assert sent < 20_000 and code in (CALM, PROTOCOL, None)


def test_frames_that_ask_for_answers(server, host):
    """Floods of PING and SETTINGS whose answers are not read do not pile up in the server."""
    def memory():
        status = open(f"/proc/{server.process.pid}/status").read()
        return int(status.split("VmRSS:")[1].split()[0])

    before = memory()
    for kind, payload in [(PING, bytes(8)), (SETTINGS, b"")]:
        connection = Http2(server.port)
        connection.socket.settimeout(0.3)
        flood = frame(kind, 0, 0, payload) * 2_000
        try:
            for _ in range(500):
                if not connection.send(flood):
                    break
        except TimeoutError:
            # It no longer reads: as good.
            pass
        connection.close()
    # Of the 34 MB that were offered, at most what the kernel holds is on the way.
    assert memory() - before < 16 * 1024


def test_a_flood_of_empty_data(server, host):
    connection = Http2(server.port)
    connection.send(frame(HEADERS, END_HEADERS, 1, raw_http.request(host, method=b"POST")))
    for _ in range(200):
        if not connection.send(frame(DATA, 0, 1, b"") * 100):
            break
    connection.send(frame(DATA, END_STREAM, 1, b"x"))
    assert connection.end(1) in [("answer", 200), ("goaway", CALM), ("closed", None), ("reset", CALM)]
    connection.close()


def test_a_reconfiguration_under_load_drops_no_call(server, apis, upstream):
    """Routes and integrations change while calls run: each is answered by what was there or by what is there now."""
    upstreams = [Upstream(b"one"), Upstream(b"two")]
    api = apis.create_api(Name="changing", ProtocolType="HTTP")["ApiId"]
    integrations = [apis.create_integration(ApiId=api, IntegrationType="HTTP_PROXY", IntegrationMethod="GET", IntegrationUri=each.url,
                                            PayloadFormatVersion="1.0")["IntegrationId"] for each in upstreams]
    route = apis.create_route(ApiId=api, RouteKey="GET /", Target=f"integrations/{integrations[0]}")["RouteId"]
    apis.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
    head = b"GET / HTTP/1.1\r\nHost: %s.execute-api.localhost\r\n\r\n" % api.encode()
    done, got, wrong = threading.Event(), {b"one": 0, b"two": 0}, []

    def call():
        # One connection for all calls of a thread: a change must not cut it either.
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection, connection.makefile("rb") as reader:
            while not done.is_set():
                connection.sendall(head)
                status, length = reader.readline(), 0
                while (line := reader.readline()) not in (b"\r\n", b""):
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                body = reader.read(length)
                if not status.startswith(b"HTTP/1.1 200") or body not in got:
                    wrong.append((status, body))
                    return
                got[body] += 1

    callers = [threading.Thread(target=call) for _ in range(8)]
    for caller in callers:
        caller.start()
    answer_of = lambda: answers(server.port, head)[0][1]
    try:
        for n in range(40):
            to = n % 2
            if n < 20:
                apis.update_route(ApiId=api, RouteId=route, Target=f"integrations/{integrations[1 - to]}")
                expected = upstreams[1 - to].answer
            else:
                apis.update_integration(ApiId=api, IntegrationId=integrations[0], IntegrationUri=upstreams[to].url)
                apis.update_route(ApiId=api, RouteId=route, Target=f"integrations/{integrations[0]}")
                expected = upstreams[to].answer
            # What was answered holds for whoever asks next.
            assert answer_of() == expected
            deadline, before = time.monotonic() + 60, sum(got.values())
            while sum(got.values()) < before + 8 and not wrong and time.monotonic() < deadline:
                time.sleep(0.002)
    finally:
        done.set()
        for caller in callers:
            caller.join(60)
        for each in upstreams:
            each.close()
    assert not wrong and min(got.values()) > 0 and sum(got.values()) >= 40 * 8, (wrong, got)


@pytest.fixture(scope="module")
def hasty():
    """A server that waits two seconds for clients, with an API whose answers are large."""
    large = Upstream(b"x" * (8 * 1024 * 1024))
    server = Server(arguments=["--client-wait-seconds", "2"]).start()
    api = server.client("apigatewayv2").create_api(Name="hasty", ProtocolType="HTTP", Target=large.url)["ApiId"]
    yield server, f"{api}.execute-api.localhost".encode()
    assert server.stop() == 0, server.log()
    large.close()


def is_connected(server, connection):
    """Whether the server still has its end of a connection, as the kernel tells."""
    ends = f":{server.port:04X}", f":{connection.getsockname()[1]:04X}"
    for line in open("/proc/net/tcp"):
        fields = line.split()
        if fields[1].endswith(ends[0]) and fields[2].endswith(ends[1]):
            return fields[3] == "01"
    return False


def test_who_reads_nothing_is_hung_up_on(hasty):
    server, host = hasty
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
        assert connection.recv(8) == b"HTTP/1.1"
        assert is_connected(server, connection)
        until(lambda: not is_connected(server, connection))
    # Who reads, however slowly, gets everything.
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n")
        got, begun = 0, time.monotonic()
        while piece := connection.recv(64 * 1024):
            got += len(piece)
            # The pauses are the client's own: slower altogether than the server waits for one that does not read.
            time.sleep(0.03)
        assert got > 8 * 1024 * 1024 and time.monotonic() - begun > 3


@pytest.mark.parametrize("window", ["nothing is asked", "nothing is read"])
def test_pings_keep_no_connection_of_use_to_nobody(hasty, window):
    server, host = hasty
    connection = Http2(server.port)
    connection.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, raw_http.request(host, path=b"/large" if window == "nothing is read" else b"/event")))
    # The first window of a stream is 64 KB: without more of it the answer stands still, or it is reset and the connection idle.
    if window == "nothing is asked":
        connection.send(frame(RST_STREAM, 0, 1, (8).to_bytes(4, "big")))
    begun = time.monotonic()
    connection.socket.settimeout(0.2)
    while is_connected(server, connection.socket) and time.monotonic() - begun < 60:
        try:
            connection.socket.sendall(frame(PING, 0, 0, bytes(8)))
            if not connection.socket.recv(64 * 1024):
                break
        except TimeoutError:
            pass
        except OSError:
            break
        time.sleep(0.05)
    assert 1 < time.monotonic() - begun < 30
    connection.close()
