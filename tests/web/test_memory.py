"""What a finished request held is freed with its last reference, as without tracing."""

from __future__ import annotations

import io
import weakref
from contextlib import suppress
from wsgiref.util import setup_testing_defaults

import flask
import pytest
import requests
from collector import no_collector
from nowhere import to_nowhere
from requests.adapters import BaseAdapter
from urllib3 import HTTPResponse
from werkzeug.middleware.dispatcher import DispatcherMiddleware

import tracekit.flask
import tracekit.requests
import tracekit.testing
import tracekit.wsgi
from tracekit.wsgi._exchange import KEY


@pytest.fixture(params=[1, 0], ids=["sampled", "unsampled"])
def tracing(request):
    """Return a handle that sends its spans to nowhere, so that they are freed as well."""
    handle = to_nowhere(sampled=request.param)
    yield handle
    handle.shutdown()


class Upload(io.BytesIO):
    """A request's body that can be watched."""


class Handler:
    """A server's, which holds the environ and whose ``start_response`` leads back to it."""

    def __init__(self, path):
        self.environ = {"PATH_INFO": path, "wsgi.input": Upload(b"x" * 100)}
        setup_testing_defaults(self.environ)
        self.environ["REQUEST_METHOD"] = "POST"
        self.environ["CONTENT_LENGTH"] = "100"

    def start_response(self, status, headers, exc_info=None):
        self.status = status
        return lambda _: None

    def serve(self, app, *, close=True):
        result = app(self.environ, self.start_response)
        for _ in result:
            pass
        if close and hasattr(result, "close"):
            result.close()


def alive_after(serve, settle=lambda: None, times=5):
    """Return how much of what ``serve`` gives is alive while the collector does not run."""
    with no_collector():
        given = [weakref.ref(each) for _ in range(times) for each in serve()]
        settle()
        return sum(each() is not None for each in given)


def application(environ, start_response):
    """Answer by path in the shapes that WSGI allows."""
    path = environ["PATH_INFO"]
    environ["wsgi.input"].read()
    if path == "/raise":
        raise ValueError(path)
    start_response("200 OK", [("Content-Length", "2")] if path == "/length" else [])
    if path == "/generator":
        return (piece for piece in (b"o", b"k"))
    if path == "/empty":
        return []
    return [b"ok"]


def make_app():
    app = flask.Flask(__name__, static_folder=None)
    app.logger.disabled = True

    @app.post("/<kind>")
    def view(kind):
        flask.request.stream.read()
        if kind == "raise":
            raise ValueError(kind)
        if kind == "generator":
            return flask.Response(piece for piece in ("o", "k"))
        if kind == "copy":
            flask.copy_current_request_context(lambda: None)()
        if kind == "span":
            flask.g.tracing = tracekit.current_span()
        return "ok"

    return app


def taken_early(tracing):
    app = make_app()
    served = DispatcherMiddleware(application, {"/api": app.wsgi_app})
    tracekit.flask.init_app(app, tracing)
    return lambda environ, start: served(
        {**environ, "PATH_INFO": "/api" + environ["PATH_INFO"]}, start
    )


PATHS = ["/plain", "/length", "/generator", "/empty", "/raise", "/copy", "/span", "/health"]
WAYS = {
    "wsgi": (lambda: application, lambda tracing: tracekit.wsgi.middleware(application, tracing)),
    "flask": (
        make_app,
        lambda tracing: tracekit.flask.init_app(app := make_app(), tracing) and app,
    ),
    "taken early": (make_app, taken_early),
    "one view": (
        make_app,
        lambda tracing: (
            tracekit.flask.init_app(app := make_app(), tracing, trace_all=False) and app
        ),
    ),
}


@pytest.mark.parametrize("close", [True, False], ids=["closed", "dropped"])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("way", WAYS)
def test_a_request_is_freed_as_bare(tracing, way, path, close):
    """Nothing of a request waits for the collector: no environ, no upload, no exchange, no span."""
    bare, traced = WAYS[way][0](), WAYS[way][1](tracing)

    def serving(app):
        def serve():
            handler = Handler(path)
            with suppress(ValueError):
                handler.serve(app, close=close)
            yield handler
            yield handler.environ["wsgi.input"]
            exchange = handler.environ.get(KEY)
            if exchange is not None and not kept:  # else it lives as long as what holds it
                yield exchange
                if exchange.begun:
                    yield exchange.span
            del handler, exchange

        return serve

    kept = 0
    kept = alive_after(serving(bare))  # Flask's own circles, when a view raises
    assert alive_after(serving(traced), tracing.flush) == kept


class Canned(BaseAdapter):
    """Answers without a network, by path."""

    def send(self, request, **_):
        if request.url.endswith("/refused"):
            raise requests.ConnectionError("refused", request=request)
        response = requests.Response()
        status = 500 if request.url.endswith("/500") else 200
        response.raw = HTTPResponse(io.BytesIO(b"body"), status=status, preload_content=False)
        response.status_code = status
        response.url, response.request, response.connection = request.url, request, self
        return response

    def close(self):
        """Hold nothing."""


def raising(response, **_):
    response.raise_for_status()


@pytest.mark.parametrize("path", ["200", "500", "refused", "stream", "dropped"])
def test_a_sent_request_is_freed_as_bare(tracing, path):
    """Neither a request, its body nor its response waits for the collector."""

    def sending(session):
        session.mount("http://", Canned())
        session.hooks["response"] = raising

        def send():
            upload = Upload(b"up")
            yield upload
            with suppress(requests.RequestException):
                response = session.post(f"http://shop/{path}", data=upload, stream=len(path) > 3)
                yield response
                yield response.raw
                if path == "stream":
                    b"".join(response.iter_content(2))

        return send

    assert alive_after(sending(requests.Session())) == 0
    session = requests.Session()
    undo = tracekit.requests.instrument(session, tracing=tracing)
    assert alive_after(sending(session), tracing.flush) == 0
    assert tracing.stats().open == 0
    undo()
