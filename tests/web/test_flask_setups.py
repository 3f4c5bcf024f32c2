"""Flask in programs that are put together in other ways: taken early, over, without a request."""

from __future__ import annotations

import threading

import flask
import pytest
from opentelemetry import trace
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

import tracekit
import tracekit.flask
import tracekit.testing

from .test_flask import REQUESTS, answer, make_app


def nothing(environ, start_response):
    start_response("404 Not Found", [])
    return [b""]


@pytest.mark.parametrize("sampler", [0, 1])
@pytest.mark.parametrize(("method", "path", "name", "status"), REQUESTS)
def test_a_wsgi_app_bound_before_is_traced(method, path, name, status, sampler):
    """Who serves the bound method of before sees no difference either, and has the same span."""

    def answered(app, served):
        response = Client(served).open("/api" + path, method=method, buffered=True)
        headers = [(key, "now" if key == "Date" else value) for key, value in response.headers]
        return response.status, headers, response.data, app.config["LOG"]

    tracing = tracekit.testing.tracing(sampler_param=sampler)
    bare, app = make_app(), make_app()
    early = DispatcherMiddleware(nothing, {"/api": app.wsgi_app})
    tracekit.flask.init_app(app, tracing)
    wanted = answered(bare, DispatcherMiddleware(nothing, {"/api": bare.wsgi_app}))
    assert answered(app, early) == wanted
    assert tracing.sink.open == 0
    if sampler:
        span = tracing.sink.take()
        assert span.name == name.replace(" /", " /api/", 1)
        assert span.attributes["http.response.status_code"] == status
        assert trace.get_current_span() is trace.INVALID_SPAN
    tracing.sink.assert_empty()
    tracing.shutdown()


def test_an_early_one_joins_the_trace():
    """Views, hooks and each piece of a stream run under the span, which ends with the stream."""
    tracing = tracekit.testing.tracing()
    app = flask.Flask(__name__)
    early = app.wsgi_app

    @app.route("/stream")
    def stream():
        with tracing.tracer("t").start_as_current_span("view"):
            return flask.Response(body())

    def body():
        for n in range(2):
            with tracing.tracer("t").start_as_current_span(f"piece {n}"):
                pass
            yield str(n)

    tracekit.flask.init_app(app, tracing)
    response = Client(early).get("/stream", headers={"uber-trace-id": "abc:12:0:1"})
    assert tracing.sink.open == 1
    assert response.data == b"01"
    response.close()
    spans = tracing.sink.take_many(4)
    (server,) = [span for span in spans if span.name == "GET /stream"]
    assert (server.context.trace_id, server.parent.span_id) == (0xABC, 0x12)
    assert {s.parent.span_id for s in spans if s is not server} == {server.context.span_id}


def test_a_file_of_an_early_one_is_unwrapped():
    """What the server is to send without reading it is not wrapped."""
    tracing = tracekit.testing.tracing()
    app = flask.Flask(__name__)
    early = app.wsgi_app
    app.route("/file")(lambda: flask.send_file(__file__))
    tracekit.flask.init_app(app, tracing)
    assert b"without reading" in Client(early).get("/file", buffered=True).data
    assert tracing.sink.take().attributes["http.response.status_code"] == 200


@pytest.mark.parametrize("path", ["/value", "/stop"])
def test_an_early_one_may_raise(path):
    """Its span ends, also with what Flask lets through: a debugged error, a worker told to stop."""
    tracing = tracekit.testing.tracing()
    app = flask.Flask(__name__)
    app.config["PROPAGATE_EXCEPTIONS"] = True
    early = app.wsgi_app

    @app.route("/<kind>")
    def view(kind):
        raise {"value": ValueError, "stop": SystemExit}[kind](kind)

    tracekit.flask.init_app(app, tracing)
    with pytest.raises((ValueError, SystemExit)):
        Client(early).get(path)
    span = tracing.sink.take()
    assert [event.name for event in span.events] == ["exception"]
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_probes_of_an_early_one_have_no_span():
    """What is excluded is excluded whoever serves it, and with one view traced only that is."""
    tracing = tracekit.testing.tracing()
    app = make_app()
    early = app.wsgi_app
    tracekit.flask.init_app(app, tracing)
    Client(early).get("/health")
    chosen = make_app()
    early = chosen.wsgi_app
    tracekit.flask.init_app(chosen, tracing, trace_all=False)
    Client(early).get("/pulls/bob")
    tracing.sink.assert_empty()


class Replacing:
    """An extension that puts its own error handling over Flask's and asks it only for the rest."""

    def __init__(self, app):
        before = app.handle_user_exception

        def handle_user_exception(error):
            if isinstance(error, ZeroDivisionError):
                return flask.make_response("ours", 500)
            return before(error)

        app.handle_user_exception = handle_user_exception


@pytest.mark.parametrize("path", ["/raise/zero", "/raise/value", "/raise/lookup", "/abort/503"])
def test_either_order_gives_the_same_span(path):
    """An extension that replaces error handling may be set up before tracing or after it."""
    seen = []
    for first, second in (
        (tracekit.flask.init_app, Replacing),
        (Replacing, tracekit.flask.init_app),
    ):
        tracing = tracekit.testing.tracing()
        app = make_app()
        for each in (first, second):
            each(app, tracing) if each is tracekit.flask.init_app else each(app)
        wanted = make_app()
        Replacing(wanted)
        assert answer(app, "GET", path) == answer(wanted, "GET", path)
        answer(app, "GET", path)  # the first request is as any
        one, two = tracing.sink.take_many(2)
        for span in (one, two):
            events = [(event.name, event.attributes["exception.type"]) for event in span.events]
            seen.append(
                (span.name, span.status.status_code, span.attributes.get("error.type"), events)
            )
    assert seen == [seen[0]] * 4
    if path == "/raise/zero":
        assert seen[0][2:] == ("ZeroDivisionError", [("exception", "ZeroDivisionError")])


@pytest.mark.parametrize("make", ["test_request_context", "request_context"])
def test_copies_work_without_a_request(make):
    """A command, a socket's handler or a test pushes a context by itself and copies it."""
    tracing = tracekit.testing.tracing()
    app = make_app()
    tracekit.flask.init_app(app, tracing)
    tracer = tracing.tracer("cli")
    with app.test_request_context("/pulls/bob") as helping:
        environ = helping.request.environ
    context = (
        app.test_request_context("/pulls/bob") if make[0] == "t" else app.request_context(environ)
    )
    with tracer.start_as_current_span("command") as command, context:

        @flask.copy_current_request_context
        def work():
            with tracer.start_as_current_span("work"):
                return flask.request.path

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert trace.get_current_span() is command
    names = {span.name: span for span in tracing.sink.take_many(2)}
    assert names["work"].parent.span_id == names["command"].context.span_id
    tracing.sink.assert_empty()


def test_an_access_log_can_name_the_trace():
    """The environ has the trace id as text, for formats like gunicorn's ``%({…}e)s``."""
    tracing = tracekit.testing.tracing()
    said = []

    def logging_server(app):
        def served(environ, start_response):
            result = list(app(environ, start_response))
            said.append(f"{environ['tracekit.trace_id']}")
            return result

        return served

    app = make_app()
    tracekit.flask.init_app(app, tracing)
    app.wsgi_app = logging_server(app.wsgi_app)
    for path in ("/pulls/bob", "/health"):
        app.test_client().get(path, headers={"uber-trace-id": "abc:12:0:1"})
    assert said == [f"{0xABC:032x}", "-"]
