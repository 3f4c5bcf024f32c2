"""Django under WSGI and ASGI, sync and async views: as bare, and one span named by the pattern."""

from __future__ import annotations

import asyncio

import pytest
from django.http import FileResponse, Http404, HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path
from django_project import DEFAULT_URLS, body_of, urls_called
from opentelemetry import trace

urls = urls_called(DEFAULT_URLS)

current = []


def note():
    current.append(trace.get_current_span().get_span_context().span_id)


def order(request, name):
    note()
    return HttpResponse(name)


async def order_async(request, name):
    note()
    return HttpResponse(name)


def stream(request):
    def pieces():
        for piece in (b"a", b"b"):
            note()
            yield piece

    return StreamingHttpResponse(pieces())


def file(request):
    import io

    return FileResponse(io.BytesIO(b"abc"))


def missing(request):
    raise Http404("no such thing")


def fails(request):
    raise KeyError("gone")


urls.urlpatterns = [
    path("order/<name>", order),
    path("async/<name>", order_async),
    path("stream", stream),
    path("file", file),
    path("missing", missing),
    path("fails", fails),
    path("healthz", lambda _: HttpResponse("ok")),
]
PATHS = ["/order/apples", "/async/apples", "/stream", "/file", "/missing", "/fails", "/nowhere"]


def sync_asked(where):
    response = Client(raise_request_exception=False).get(
        where, HTTP_UBER_TRACE_ID="ab:cd:0:1", HTTP_HOST="shop"
    )
    body = b"".join(response)
    response.close()
    return response.status_code, body


def async_asked(where):
    async def ask():
        client = AsyncClient(raise_request_exception=False)
        response = await client.get(where, headers={"uber-trace-id": "ab:cd:0:1", "host": "shop"})
        return response.status_code, await body_of(response)

    return asyncio.run(ask())


@pytest.fixture(params=[sync_asked, async_asked], ids=["wsgi", "asgi"])
def asked(request):
    return request.param


@pytest.mark.parametrize("where", PATHS)
def test_a_request_is_named_by_its_pattern(asked, tracing, where):
    """Status and body are the bare project's."""
    bare = asked(where)
    current.clear()
    with override_settings(
        MIDDLEWARE=["tracekit.django.Middleware"], TRACEKIT={"tracing": tracing}
    ):
        assert asked(where) == bare
    (span,) = tracing.sink.spans
    kind = where.split("/")[1]
    pattern = {"order": "order/<name>", "async": "async/<name>", "nowhere": ""}.get(kind, kind)
    assert span.name == f"GET {pattern}".strip()
    assert span.parent.span_id == 0xCD
    assert span.attributes["http.response.status_code"] == bare[0]
    assert span.attributes.get("error.type") == ("KeyError" if kind == "fails" else None)
    assert "response.aborted" not in span.attributes
    assert set(current) <= {span.context.span_id}


def test_probes_and_options_are_respected(asked, tracing):
    """A path of ``exclude`` has no span; an unknown option is refused when Django starts."""
    with override_settings(
        MIDDLEWARE=["tracekit.django.Middleware"],
        TRACEKIT={"tracing": tracing, "response_headers": True},
    ):
        assert asked("/healthz") == (200, b"ok")
    assert tracing.sink.spans == []
    with (
        override_settings(MIDDLEWARE=["tracekit.django.Middleware"], TRACEKIT={"excluded": []}),
        pytest.raises(TypeError, match="'excluded'"),
    ):
        asked("/healthz")


def test_the_middleware_names_an_outer_edge(tracing):
    """One span, though server application and project are both traced."""
    import httpx
    from django.core.asgi import get_asgi_application
    from django.core.wsgi import get_wsgi_application

    import tracekit.asgi
    import tracekit.wsgi

    with override_settings(
        MIDDLEWARE=["tracekit.django.Middleware"], TRACEKIT={"tracing": tracing}
    ):
        app = tracekit.wsgi.middleware(get_wsgi_application(), tracing)
        with httpx.Client(transport=httpx.WSGITransport(app), base_url="http://shop") as client:
            assert client.get("/order/apples").text == "apples"

        async def ask():
            app = tracekit.asgi.middleware(get_asgi_application(), tracing)
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
                return (await client.get("/order/apples")).text

        assert asyncio.run(ask()) == "apples"
    assert [span.name for span in tracing.sink.spans] == ["GET order/<name>"] * 2
