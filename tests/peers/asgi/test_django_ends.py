"""How a request to Django may end, under WSGI and ASGI: as in the bare project, and its span."""

from __future__ import annotations

import asyncio
import io
import logging

import pytest
from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.http import FileResponse, Http404, HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path
from django_project import body_of, urls_called

urls = urls_called("tracekit_ends_urls")
closed = []


def raising(error):
    def view(request):
        raise error

    return view


def raising_async(error):
    async def view(request):
        raise error

    return view


def stream(request):
    def pieces():
        yield b"a"
        if "fail" in request.GET:
            raise KeyError("gone")
        yield b"b"

    return StreamingHttpResponse(pieces())


async def stream_async(request):
    async def pieces():
        yield b"a"
        if "fail" in request.GET:
            raise KeyError("gone")
        yield b"b"

    return StreamingHttpResponse(pieces())


class File(io.BytesIO):
    def close(self):
        closed.append(self)
        super().close()


def answering(get_response):
    """Answer before any view, or fail, or answer for a view that has failed."""

    def middleware(request):
        if request.path == "/early":
            return HttpResponse("early", status=418)
        if request.path == "/broken":
            raise KeyError("a middleware's own")
        return get_response(request)

    def process_exception(request, exception):
        return HttpResponse("handled", status=503) if "handled" in request.GET else None

    middleware.process_exception = process_exception
    return middleware


def answer(status):
    return lambda request, *_args, **_more: HttpResponse(f"our {status}", status=status)


urls.answering = answering
urls.handler400, urls.handler403, urls.handler404 = answer(400), answer(403), answer(404)
urls.handler500 = answer(500)
urls.urlpatterns = [
    path("forbidden", raising(PermissionDenied())),
    path("forbidden_async", raising_async(PermissionDenied())),
    path("suspicious", raising(SuspiciousOperation())),
    path("bad", raising(BadRequest())),
    path("missing", raising(Http404())),
    path("fails", raising(KeyError("gone"))),
    path("fails_async", raising_async(KeyError("gone"))),
    path("stream", stream),
    path("stream_async", stream_async),
    path("file", lambda _: FileResponse(File(b"abc"))),
    path("nothing", lambda _: None),
]
ENDS = {
    "/forbidden": (403, None),
    "/forbidden_async": (403, None),
    "/suspicious": (400, None),
    "/bad": (400, None),
    "/missing": (404, None),
    "/nowhere": (404, None),
    "/fails": (500, "KeyError"),
    "/fails_async": (500, "KeyError"),
    "/fails?handled=1&token=secret": (503, "503"),
    "/stream": (200, None),
    "/stream?fail=1": (200, "KeyError"),
    "/stream_async": (200, None),
    "/stream_async?fail=1": (200, "KeyError"),
    "/file": (200, None),
    "/nothing": (500, "500"),
    "/early": (418, None),
    "/broken": (500, "500"),
}


def sync_asked(where, method):
    response = getattr(Client(raise_request_exception=False), method)(where)
    body = b"".join(response) if response.streaming else response.content
    response.close()
    return response.status_code, body, sorted(response.items())


def async_asked(where, method):
    async def ask():
        response = await getattr(AsyncClient(raise_request_exception=False), method)(where)
        return response.status_code, await body_of(response), sorted(response.items())

    return asyncio.run(ask())


def outcome(asked, where, method):
    closed.clear()
    try:
        return *asked(where, method), len(closed)
    except Exception as error:
        return type(error), str(error)


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
@pytest.mark.parametrize("method", ["get", "head"])
@pytest.mark.parametrize("where", ENDS)
@pytest.mark.parametrize("asked", [sync_asked, async_asked])
def test_a_span_says_how_its_request_ended(tracing, asked, where, method, caplog):
    """Handlers of errors, streams that fail, files, middlewares that answer."""
    caplog.set_level(logging.CRITICAL, "django")
    bare_settings = {"ROOT_URLCONF": urls.__name__, "MIDDLEWARE": [f"{urls.__name__}.answering"]}
    with override_settings(**bare_settings):
        bare = outcome(asked, where, method)
    ours = ["tracekit.django.Middleware"] * 2  # the second finds the first
    traced = {"MIDDLEWARE": [*ours, *bare_settings["MIDDLEWARE"]], "TRACEKIT": {"tracing": tracing}}
    with override_settings(**{**bare_settings, **traced}):
        assert outcome(asked, where, method) == bare
    (span,) = tracing.sink.spans
    found = span.attributes
    expected = ENDS[where]
    if method == "head" and "stream" in where:
        expected = (200, None)  # nobody takes its pieces
    assert (found["http.response.status_code"], found.get("error.type")) == expected
    assert "secret" not in repr(found)
    assert tracing.stats().open == 0
    assert not [record for record in caplog.records if record.name.startswith("tracekit")]
