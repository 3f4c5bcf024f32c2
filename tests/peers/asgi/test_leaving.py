"""Clients that leave, over real servers: the application learns what it learns without us."""

from __future__ import annotations

import contextlib
import socket
from importlib import metadata

import httpx
import pytest
from asgi_servers import served
from waiting import eventually

APP = "served_leaving:app"
SERVERS = ["uvicorn", "hypercorn", "granian", "daphne"]
WAYS = {"uvicorn": ["init_app", "add_middleware", "outside"]}
SPANS = [
    ["GET /inner/asking/{name}", 200, None, True],
    ["GET /v1/stream/{name}", 200, None, True],
    ["POST /upload", None, None, True],
]


@pytest.mark.parametrize("server", SERVERS)
def test_leaving_is_no_error(server):
    """A stream, an endpoint that asks, an upload; none of it is an error, all are aborted."""
    if server == "granian" and metadata.version("granian").startswith("1."):
        pytest.skip("granian 1 cancels and does not say that the client has left")
    with served(server, APP) as port:
        bare = leave(server, port)
    expected = [span for span in SPANS if span[0] != "POST /upload" or server != "daphne"]
    for way in WAYS.get(server, ["outside"]):
        with served(server, APP, TRACED=way) as port:
            assert leave(server, port) == bare
            assert sorted(ended(port, len(expected))) == expected


def ended(port, count):
    """Return the spans once there are ``count``: an application may learn of it before we do."""
    with client(port) as asking:
        return eventually(lambda: len(spans := asking.get("/spans").json()) >= count and spans)


def leave(server, port):
    """Leave each endpoint in its middle; return what the application has learned of it."""
    with sent(port, b"GET /v1/stream/a HTTP/1.1\r\nHost: shop\r\n\r\n") as connection:
        connection.recv(100)
    with sent(port, b"GET /inner/asking/a HTTP/1.1\r\nHost: shop\r\n\r\n"):
        pass
    expected = 3
    if server != "daphne":  # it reads a request to its end before the application is called
        with sent(port, b"POST /upload HTTP/1.1\r\nHost: shop\r\nContent-Length: 9\r\n\r\nabc"):
            pass
        expected = 4
    with client(port) as asking:
        return eventually(lambda: len(found := asking.get("/learned").json()) >= expected and found)


@contextlib.contextmanager
def sent(port, request):
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(request)
        # The application has it when a later request has been answered.
        with client(port) as asking:
            asking.get("/learned")
        yield connection


def client(port):
    return httpx.Client(trust_env=False, base_url=f"http://127.0.0.1:{port}", timeout=20)
