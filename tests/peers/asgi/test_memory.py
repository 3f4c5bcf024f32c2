"""What a request held is freed with its last reference, where it is without tracing."""

from __future__ import annotations

import asyncio
import gc
import io
import weakref
from wsgiref.util import setup_testing_defaults

import fastapi
import pytest
from collector import no_collector
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse, StreamingHttpResponse
from django.test import override_settings
from django.urls import path
from django_project import urls_called
from nowhere import to_nowhere
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

import tracekit
import tracekit.asgi
import tracekit.fastapi

urls = urls_called("tracekit_memory_urls")
BARE = {"ROOT_URLCONF": urls.__name__, "MIDDLEWARE": []}
TRACED = {"ROOT_URLCONF": urls.__name__, "MIDDLEWARE": ["tracekit.django.Middleware"]}


@pytest.fixture(params=[1, 0], ids=["sampled", "unsampled"])
def tracing(request):
    """Return a handle that sends its spans to nowhere, so that they are freed as well."""
    handle = to_nowhere(sampled=request.param)
    yield handle
    handle.shutdown()


class Held:
    """Part of a request that can be watched."""


watches = []


def hold(request):
    """Hang something on a request, as middlewares do."""
    request.held = held = Held()
    watches.append(weakref.ref(held))


def scope_of(where):
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": where,
        "raw_path": where.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"shop")],
        "client": ("127.0.0.1", 5),
        "server": ("127.0.0.1", 80),
    }


def over_asgi(app, where):
    """Serve one request; what is awaited afterwards never comes."""
    sent = []

    async def receive():
        if not sent:
            sent.append("")
            return {"type": "http.request", "body": b""}
        return await asyncio.Event().wait()

    async def send(message):
        sent.append(message.get("body", b""))

    asyncio.run(app(scope_of(where), receive, send))
    assert b"ok" in sent


def over_wsgi(app, where):
    environ = {"PATH_INFO": where, "wsgi.input": io.BytesIO()}
    setup_testing_defaults(environ)
    response = app(environ, lambda *_: None)
    assert b"".join(response) == b"ok"
    response.close()


def left(serve, app, where):
    """Return whether what hung on the request is still there right after it, uncollected."""
    serve(app, where)  # what is made once, and stays
    gc.collect()
    try:
        with no_collector():
            serve(app, where)
            return watches[-1]() is not None
    finally:
        watches.clear()


def starlette_app():
    async def plain(request):
        hold(request)
        return PlainTextResponse("ok")

    async def stream(request):
        hold(request)
        return StreamingResponse(iter([b"ok"]))

    return Starlette(routes=[Route("/plain", plain), Route("/stream", stream)])


def fastapi_app():
    app = fastapi.FastAPI(openapi_url=None)

    @app.get("/plain", response_class=PlainTextResponse)
    async def plain(request: fastapi.Request):
        hold(request)
        return "ok"

    @app.get("/stream")
    async def stream(request: fastapi.Request):
        hold(request)
        return StreamingResponse(iter([b"ok"]))

    # FastAPI finds the annotation among this module's names.
    plain.__annotations__["request"] = stream.__annotations__["request"] = fastapi.Request
    return app


def django_plain(request):
    hold(request)
    return HttpResponse("ok")


def django_stream(request):
    hold(request)
    return StreamingHttpResponse(iter([b"ok"]))


urls.urlpatterns = [path("plain", django_plain), path("stream", django_stream)]


@pytest.mark.parametrize("where", ["/plain", "/stream"])
@pytest.mark.parametrize("make", [starlette_app, fastapi_app])
def test_an_asgi_request_leaves_nothing(tracing, make, where):
    """Scope, request and response go when they went."""
    bare = left(over_asgi, make(), where)
    assert left(over_asgi, tracekit.asgi.middleware(make(), tracing), where) == bare
    traced = make()
    tracekit.fastapi.init_app(traced, tracing, operation_spans=hasattr(fastapi, "telemetry"))
    assert left(over_asgi, traced, where) == bare


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
@pytest.mark.parametrize("where", ["/plain", "/stream"])
@pytest.mark.parametrize(
    ("serve", "handler"), [(over_wsgi, WSGIHandler), (over_asgi, ASGIHandler)], ids=["wsgi", "asgi"]
)
def test_a_django_request_leaves_nothing(tracing, serve, handler, where):
    """Under either interface."""
    with override_settings(**BARE):
        bare = left(serve, handler(), where)
    with override_settings(**TRACED, TRACEKIT={"tracing": tracing}):
        assert left(serve, handler(), where) == bare
