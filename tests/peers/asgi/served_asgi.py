"""An application in a framework of choice, traced, for a server to import; spans go to stdout."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator  # noqa: TC003 (Litestar reads the annotation)

import tracekit.asgi
import tracekit.fastapi
import tracekit.testing

KIND = os.environ.get("FRAMEWORK", "plain")
tracing = tracekit.testing.tracing(propagation="jaeger")


async def plain(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        message = await receive()
        await send({"type": "websocket.send", "text": message["text"]})
        await send({"type": "websocket.close"})
        return
    body = b"abc"
    if scope["path"] == "/spans":
        body = json.dumps(_told()).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body[:1], "more_body": True})
    await send({"type": "http.response.body", "body": body[1:]})


def of_starlette():
    from starlette.applications import Starlette
    from starlette.routing import Mount
    from test_frameworks import starlette_app

    made = starlette_app()
    return Starlette(routes=[*made.routes, Mount("/", _bare)])


def of_fastapi():
    from test_frameworks import fastapi_app

    made = fastapi_app()
    made.mount("/", _bare)
    return made


def of_quart():
    import quart

    made = quart.Quart("served")

    @made.get("/users/<user>")
    async def user(user):
        return user

    @made.get("/stream")
    async def stream():
        async def pieces():
            for piece in (b"a", b"b", b"c"):
                yield piece

        return pieces()

    @made.get("/spans")
    async def spans():
        return _told()

    @made.websocket("/ws")
    async def ws():
        await quart.websocket.send(await quart.websocket.receive())

    return made


def of_litestar():
    import litestar
    from litestar.response import Stream

    globals()["Stream"] = Stream  # where Litestar looks for what an annotation names

    @litestar.get("/users/{user:str}")
    async def user(user: str) -> dict[str, str]:
        return {"user": user}

    @litestar.get("/stream")
    async def stream() -> Stream:
        async def pieces() -> AsyncIterator[bytes]:
            for piece in (b"a", b"b", b"c"):
                yield piece

        return Stream(pieces())

    @litestar.get("/spans")
    async def spans() -> list:
        return _told()

    return litestar.Litestar([user, stream, spans])


def of_django():
    """A project with our middleware, and no edge around it."""
    import types

    import django
    from django.conf import settings
    from django.core.asgi import get_asgi_application
    from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
    from django.urls import path

    async def stream(_):
        async def pieces():
            for piece in (b"a", b"b", b"c"):
                yield piece

        return StreamingHttpResponse(pieces())

    urls = sys.modules["served_urls"] = types.ModuleType("served_urls")
    urls.urlpatterns = [
        path("users/<user>", lambda _, user: HttpResponse(user)),
        path("stream", stream),
        path("spans", lambda _: JsonResponse(_told(), safe=False)),
        path("healthz", lambda _: HttpResponse("ok")),
    ]
    settings.configure(
        ROOT_URLCONF="served_urls",
        ALLOWED_HOSTS=["*"],
        SECRET_KEY="x",
        MIDDLEWARE=["tracekit.django.Middleware"],
        TRACEKIT={"tracing": tracing},
        LOGGING_CONFIG=None,
    )
    django.setup()
    return get_asgi_application()


def _told():
    return [
        [span.attributes["url.path"], span.name, span.attributes.get("error.type")]
        for span in tracing.sink.spans
    ]


async def _bare(scope, receive, send):
    """The plain one below a mount, whose path begins with the slash."""
    await plain({**scope, "path": scope["path"]}, receive, send)


MAKERS = {
    "fastapi": of_fastapi,
    "starlette": of_starlette,
    "quart": of_quart,
    "litestar": of_litestar,
}
if KIND == "django":
    app = of_django()
else:
    app = tracekit.asgi.middleware(MAKERS[KIND]() if KIND in MAKERS else plain, tracing)
