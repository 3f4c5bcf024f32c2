"""What few applications do, over real servers: a client cannot tell the traced one from the bare.

Extensions of ASGI, answers that are none, lifespans that fail, refused websockets, HTTP/2.
"""

from __future__ import annotations

import tempfile
from importlib import metadata

import httpx
import pytest
from asgi_servers import COMMANDS, served, started, stopped
from ports import free_port, until_listening
from waiting import eventually
from websockets.exceptions import InvalidHandshake
from websockets.sync.client import connect

APP = "served_unusual:app"
PATHS = {
    "/extensions": 200,
    "/push": None,
    "/hint": None,
    "/trailers": 200,
    "/pathsend": 200,
    "/early": None,
    "/late": 200,
    "/nothing": None,
    "/half": 200,
    "/after": 200,
    "/twice": 200,
}
SILENT = {"/pathsend", "/early", "/late", "/nothing", "/half"}
"""What daphne leaves its clients waiting for, and hypercorn's HTTP/2 every other time."""
SPEAKS = [
    ("uvicorn", 1),
    ("hypercorn", 1),
    ("hypercorn", 2),
    ("granian", 1),
    ("granian-h2", 2),
    ("daphne", 1),
]


OLD_GRANIAN = int(metadata.version("granian").split(".")[0]) < 2


def client(port, http):
    return httpx.Client(
        http1=http == 1,
        http2=http == 2,
        trust_env=False,
        base_url=f"http://127.0.0.1:{port}",
        timeout=20,
    )


def answer(port, http, path):
    """Return what a client gets; a connection that breaks is one, however the server does it."""
    with client(port, http) as asking:
        try:
            got = asking.get(path)
        except httpx.TransportError:
            return "broken"
    return got.status_code, got.content, sorted(set(got.headers) - {"date"}), got.http_version


def ended(port, http, count):
    """Return the spans once there are ``count``: some end after their answers."""
    with client(port, http) as asking:
        return eventually(lambda: len(spans := asking.get("/spans").json()) >= count and spans)


@pytest.mark.parametrize(("server", "http"), SPEAKS)
def test_an_answer_is_the_bare_ones(server, http):
    """Pushes, hints, trailers, files, failures in every place; one span each."""
    if OLD_GRANIAN and server.startswith("granian"):
        pytest.skip("granian 1 ends with messages that it does not know")
    paths = [path for path in PATHS if (server, http) not in UNEVEN or path not in SILENT]
    told = []
    for traced in ("no", "yes"):
        with served(server, APP, TRACED=traced) as port:
            told.append([(path, answer(port, http, path)) for path in paths])
            if traced == "yes":
                spans = ended(port, http, len(paths))
    assert told[1] == told[0]
    assert sorted(path for path, _ in spans) == sorted(paths)
    supported = str(told[0][0][1][1])
    for path, status in spans:
        assert status == PATHS[path] or (f"response.{EXTENSIONS.get(path)}" in supported)


UNEVEN = {("daphne", 1), ("hypercorn", 2)}
EXTENSIONS = {"/push": "push", "/hint": "early_hint"}


@pytest.mark.parametrize("server", [name for name in COMMANDS if name != "granian-h2"])
def test_a_refusal_is_the_bare_ones(server, monkeypatch):
    """A websocket that is denied with a response, where the server can, or closed."""
    monkeypatch.setenv("no_proxy", "*")
    told = [refusals(server, traced) for traced in ("no", "yes")]
    assert told[1] == told[0]


def refusals(server, traced):
    paths = {"/denied": 401, "/closed": 403}
    found = []
    with served(server, APP, TRACED=traced) as port:
        for path in paths:
            with pytest.raises((InvalidHandshake, ConnectionError)) as refused:
                connect(f"ws://127.0.0.1:{port}{path}")
            response = getattr(refused.value, "response", None)
            if response is None:  # broken off: the server knows no such answer
                found.append("broken")
                continue
            names = {name.lower() for name in response.headers} - {"date"}
            found.append((response.status_code, bytes(response.body or b""), sorted(names)))
        if traced == "yes":
            spans = ended(port, 1, len(paths))
            assert sorted(map(tuple, spans)) == sorted(paths.items())
    return found


@pytest.mark.parametrize(
    "lifespan",
    ["unsupported", "startup.raises", "startup.failed", "shutdown.raises", "shutdown.failed"],
)
@pytest.mark.parametrize("server", ["uvicorn", "hypercorn", "granian"])
def test_a_lifespan_fails_as_bare(server, lifespan):
    """Whether the server serves, and with which code it ends."""
    told = [life(server, lifespan, traced) for traced in ("no", "yes")]
    assert told[1] == told[0]


def life(server, lifespan, traced):
    port = free_port()
    with tempfile.TemporaryFile("w+") as said:
        process = started(server, APP, port, said, TRACED=traced, LIFESPAN=lifespan)
        try:
            if lifespan == "startup.failed":  # it ends by itself, though it may listen before
                up = process.wait(60)
            else:
                until_listening(port, process)
                up = answer(port, 1, "/extensions")
        finally:
            code = stopped(process)
        said.seek(0)
        return up, code, said.read().count("no database")
