"""An application that does what few do, bare or traced (``TRACED``), for a server to import."""

from __future__ import annotations

import json
import os

import tracekit.asgi
import tracekit.testing

tracing = tracekit.testing.tracing(propagation="jaeger")
LIFESPAN = os.environ.get("LIFESPAN", "complete")


async def lifespan(receive, send):
    """Go through the life of a server, or fail where ``LIFESPAN`` says."""
    if LIFESPAN == "unsupported":
        raise RuntimeError("lifespan is not supported")
    for phase in ("startup", "shutdown"):
        await receive()
        if f"{phase}.raises" == LIFESPAN:
            raise RuntimeError(phase)
        if f"{phase}.failed" == LIFESPAN:
            await send({"type": f"lifespan.{phase}.failed", "message": "no database"})
            return
        await send({"type": f"lifespan.{phase}.complete"})


def start(status=200, **more):
    headers = [(b"content-type", b"text/plain")]
    return {"type": "http.response.start", "status": status, "headers": headers, **more}


def body(content, more=False):
    return {"type": "http.response.body", "body": content, "more_body": more}


ANSWERS = {
    "/push": [
        {"type": "http.response.push", "path": "/style.css", "headers": [(b"a", b"b")]},
        start(),
        body(b"pushed"),
    ],
    "/hint": [
        {"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload"]},
        start(),
        body(b"hinted"),
    ],
    "/trailers": [
        start(trailers=True),
        body(b"a", more=True),
        body(b"b"),
        {"type": "http.response.trailers", "headers": [(b"x-sum", b"1")], "more_trailers": False},
    ],
    "/pathsend": [start(), {"type": "http.response.pathsend", "path": __file__}],
    "/early": [KeyError("early")],
    "/late": [start(), body(b"a", more=True), KeyError("late")],
    "/nothing": [],
    "/half": [start(), body(b"a", more=True)],
    "/after": [start(), body(b"a"), KeyError("after")],
    "/twice": [start(), body(b"a"), body(b"b")],
    "/denied": [
        {"type": "websocket.http.response.start", "status": 401, "headers": [(b"x-why", b"no")]},
        {"type": "websocket.http.response.body", "body": b"no ", "more_body": True},
        {"type": "websocket.http.response.body", "body": b"entry"},
    ],
    "/closed": [{"type": "websocket.close", "code": 4001}],
}


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    path = scope["path"]
    if scope["type"] == "websocket":
        await receive()
    for message in ANSWERS.get(path) or answer(scope, path):
        if isinstance(message, Exception):
            raise message
        await send(message)


def answer(scope, path):
    """Return what is asked of the server, or of the spans so far."""
    if path == "/nothing":
        return []
    told = [sorted(scope.get("extensions") or {}), scope["http_version"]]
    if path == "/spans":
        told = [
            [span.attributes["url.path"], span.attributes.get("http.response.status_code")]
            for span in tracing.sink.spans
        ]
    return [start(), body(json.dumps(told).encode())]


if os.environ.get("TRACED") == "yes":
    app = tracekit.asgi.middleware(app, tracing)
