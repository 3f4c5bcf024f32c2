"""Every server with every framework over real sockets: the answers, and one span a request."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
SERVERS = {
    "uvicorn": ["-m", "uvicorn", "--loop", "asyncio", "--port", "{port}", "served_asgi:app"],
    "uvloop": ["-m", "uvicorn", "--loop", "uvloop", "--port", "{port}", "served_asgi:app"],
    "gunicorn": [
        "-m",
        "gunicorn",
        "--worker-class",
        "uvicorn_worker.UvicornWorker",
        "--bind",
        "127.0.0.1:{port}",
        "served_asgi:app",
    ],
    "hypercorn": ["-m", "hypercorn", "--bind", "127.0.0.1:{port}", "served_asgi:app"],
    "hypercorn-trio": [
        "-m",
        "hypercorn",
        "--worker-class",
        "trio",
        "--bind",
        "127.0.0.1:{port}",
        "served_asgi:app",
    ],
    "granian": [
        "-m",
        "granian",
        "--interface",
        "asgi",
        "--port",
        "{port}",
        "served_asgi:app",
    ],
    "daphne": ["-m", "daphne", "--port", "{port}", "served_asgi:app"],
}
ROUTES = {
    "plain": {"/users/ada": "GET", "/stream": "GET"},
    "fastapi": {"/users/ada": "GET /users/{user}", "/stream": "GET /stream"},
    "starlette": {"/users/ada": "GET /users/{user}", "/stream": "GET /stream"},
    "quart": {"/users/ada": "GET", "/stream": "GET"},
    "litestar": {"/users/ada": "GET /users/{user}", "/stream": "GET /stream"},
    "django": {"/users/ada": "GET users/<user>", "/stream": "GET stream"},
}
ON_ASYNCIO = {"fastapi", "quart", "litestar", "django"}
"""Frameworks that need asyncio for what is asked here."""


@pytest.fixture(params=SERVERS)
def server(request):
    return request.param


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until_it_answers(client, process):
    end = time.monotonic() + 30
    while time.monotonic() < end:
        assert process.poll() is None, process.stderr.read()
        try:
            return client.get("/spans")
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("the server does not answer")


def ended(client, count):
    """Return the spans but the questions', once there are ``count``: some end after the answer."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        told = [each for each in client.get("/spans").json() if each[0] != "/spans"]
        if len(told) >= count:
            break
        time.sleep(0.05)
    return told


@pytest.mark.parametrize("framework", ROUTES)
def test_requests_are_traced_once(server, framework):
    """A plain answer, a stream, a probe: whoever serves and whatever is served."""
    if server == "hypercorn-trio" and framework in ON_ASYNCIO:
        pytest.skip(f"{framework} needs asyncio")
    port = free_port()
    command = [part.format(port=port) for part in SERVERS[server]]
    environ = {**os.environ, "FRAMEWORK": framework, "PYTHONPATH": str(HERE)}
    process = subprocess.Popen(
        [sys.executable, *command],
        env=environ,
        cwd=HERE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            until_it_answers(client, process)
            for path in ROUTES[framework]:
                answer = client.get(path)
                assert answer.status_code == 200
                assert path != "/stream" or answer.text == "abc"
            client.get("/healthz")
            told = ended(client, len(ROUTES[framework]))
    finally:
        process.terminate()
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
    expected = ROUTES[framework].items()
    assert told == [[path, name, None] for path, name in expected]
