"""Starlette's ``TestClient``, as people test their applications: the same bare and traced."""

from __future__ import annotations

import contextlib
import gc

import fastapi
import pytest
from fastapi.responses import StreamingResponse
from starlette.websockets import WebSocketDisconnect

import tracekit.asgi
import tracekit.fastapi

pytestmark = [  # of TestClient's own, by its versions
    pytest.mark.filterwarnings("ignore:Using `httpx` with `starlette.testclient`"),
    pytest.mark.filterwarnings("ignore:The anyio.* alias is deprecated"),
    pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
SPANS = [
    "GET /users/{user}",
    "GET /tasks",
    "GET /stream",
    "GET /fails",
    "GET /fails",
    "GET /echo",
    "GET /refused",
    "GET /breaks",
]


@pytest.fixture(autouse=True)
def collected():
    """Free what an old TestClient left open here, where its warnings are ignored."""
    yield
    gc.collect()


def application(done):
    @contextlib.asynccontextmanager
    async def lifespan(app):
        done.append("startup")
        yield {"store": "kept"}
        done.append("shutdown")

    app = fastapi.FastAPI(lifespan=lifespan)

    @app.get("/users/{user}")
    def user(user: str, request: fastapi.Request):
        return {"user": user, "store": request.state.store}

    @app.get("/tasks")
    async def tasks(background: fastapi.BackgroundTasks):
        async def broken():
            done.append("task")
            raise KeyError("task")

        background.add_task(done.append, "first")
        background.add_task(broken)
        return "answered"

    @app.get("/stream")
    async def stream():
        async def pieces():
            for piece in (b"a", b"b"):
                yield piece

        return StreamingResponse(pieces())

    @app.get("/fails")
    async def fails():
        raise KeyError("gone")

    add_websockets(app, done)
    return app


def add_websockets(app, done):
    @app.websocket("/echo")
    async def echo(websocket: fastapi.WebSocket):
        await websocket.accept("v1", [(b"x-room", b"1")])
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                await websocket.send_text(await websocket.receive_text())
        done.append("left")

    @app.websocket("/refused")
    async def refused(websocket: fastapi.WebSocket):
        await websocket.close(4003, "no")

    @app.websocket("/breaks")
    async def breaks(websocket: fastapi.WebSocket):
        await websocket.accept()
        raise KeyError("broken")


def asked(app, done):
    """Ask it for everything; return what a test would see."""
    from starlette.testclient import TestClient

    seen = []
    with TestClient(app) as client:
        for path in ("/users/ada", "/tasks", "/stream", "/fails"):
            try:
                got = client.get(path)
                seen.append((got.status_code, got.content, sorted(got.headers.items())))
            except KeyError as error:
                seen.append(repr(error))
        silent = TestClient(app, raise_server_exceptions=False)
        seen.append(silent.get("/fails").status_code)
        with client.websocket_connect("/echo", subprotocols=["v1"]) as websocket:
            websocket.send_text("hello")
            seen.append((websocket.receive_text(), websocket.accepted_subprotocol))
        for path in ("/refused", "/breaks"):
            try:
                with client.websocket_connect(path) as websocket:
                    websocket.receive_text()
            except (WebSocketDisconnect, KeyError) as error:
                seen.append((repr(error), getattr(error, "code", None)))
    return seen, done


@pytest.mark.parametrize("way", ["init_app", "outside", "add_middleware"])
def test_a_test_sees_the_same(tracing, way):
    """Lifespan state, background tasks that fail, streams, exceptions, websockets."""
    done = []
    bare = asked(application(done), done)
    done = []
    app = application(done)
    if way == "init_app":
        tracekit.fastapi.init_app(app, tracing)
    elif way == "outside":
        app = tracekit.asgi.middleware(app, tracing)
    else:
        app.add_middleware(tracekit.asgi.middleware, tracing=tracing)
    assert asked(app, done) == bare
    assert [span.name for span in tracing.sink.spans] == SPANS
    assert tracing.stats().open == 0
