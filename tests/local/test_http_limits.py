"""The HTTP server's limits, on real connections."""

from __future__ import annotations

import http.client
import re
import socket
import time

import pytest
from waiting import eventually

from tracekit.local._http import HttpServer, Response


@pytest.fixture
def server():
    seen = []

    def app(request):
        seen.append(request)
        return Response(request.body or b"empty")

    running = HttpServer("127.0.0.1", 0, app)
    running.seen = seen
    running.start()
    yield running
    running.close()


def talk(server, sent):
    """Return everything that is answered to ``sent`` until the server ends the connection."""
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(65536):
            answer += part
        return answer


HEAD = b"POST /x HTTP/1.1\r\nHost: 127.0.0.1\r\n"


def test_a_connection_is_kept_and_used_again(server):
    """Two requests on one connection, as exporters send them."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    for body in (b"one", b"two"):
        connection.request("POST", "/", body)
        assert connection.getresponse().read() == body
    connection.close()


def test_chunks_are_put_together(server):
    """A body in chunks, with extensions and trailers, is read as one."""
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

    answer = talk(server, chunked + b"3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nTrailer: t\r\n\r\n")

    assert answer.endswith(b"\r\n\r\nabcdefg")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (HEAD + b"Content-Length: 99999999\r\n\r\n", 413),
        (HEAD + b"Content-Length: -1\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1e3\r\n\r\n", 400),
        (HEAD + b"Content-Length: 10\r\n\r\nshort", 400),
        (HEAD + b"Transfer-Encoding: gzip\r\n\r\n", 501),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffff\r\n", 413),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nab", 400),
        (b"POST / HTTP/1.1\r\n\r\n", 421),
        (b"POST /?" + b"a&" * 300 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431),
        (b"BREW / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 501),
        (b"\x00\xff nonsense\r\n\r\n", 400),
    ],
)
def test_too_much_or_malformed_is_refused(server, request_, status):
    """Each with its status, and nothing of it reaches the application."""
    answer = talk(server, request_).decode("latin-1")
    # Older interpreters answer what has no version as HTTP/0.9, without a head.
    assert re.match(rf"HTTP/1\.[01] {status} ", answer) or f"Error code: {status}" in answer
    assert server.seen == []


def test_a_failing_application_is_an_answer(server):
    """500 and the kind of error; the server goes on."""
    server.app = lambda request: 1 / 0
    assert b"500" in talk(server, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    server.app = lambda request: Response(b"fine")
    assert talk(server, b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n").endswith(b"fine")


def test_connections_are_limited(server):
    """Beyond the limit a connection is closed; one that dribbles is ended, and makes room."""
    server.max_connections, server.max_request_s = 3, 0.5
    held = [socket.create_connection(("127.0.0.1", server.port), 10) for _ in range(3)]
    for each in held:
        each.sendall(b"GET / HT")
    time.sleep(0.1)

    assert talk(server, b"") == b""
    for each in held:
        each.settimeout(10)
        while each.recv(1000):
            pass  # 408 or nothing, and then the end
        each.close()
    eventually(lambda: b"200" in _try(server), every_s=0.02)


def _try(server):
    try:
        return talk(server, b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
    except OSError:
        return b""
