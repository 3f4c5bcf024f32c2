"""The form of flask_opentracing: same arguments, same behaviour, other pipeline."""

from __future__ import annotations

import threading

import flask
import opentracing
import pytest

import tracekit.opentracing
import tracekit.testing
from tracekit.flask import FlaskTracer, FlaskTracing


class Shown:
    """Stands for an ``opentracing.Span``."""

    def __init__(self, span):
        self.span = span


class Tracer:
    """Stands for a tracer of ``tracekit.opentracing``."""

    def __init__(self, tracing):
        self.tracing = tracing

    def span_of(self, span):
        return Shown(span)


@pytest.fixture
def tracing():
    handle = tracekit.testing.tracing()
    yield handle
    handle.shutdown()


@pytest.fixture
def app():
    app = flask.Flask(__name__)

    @app.route("/ready")
    def ready():
        return "ready"

    @app.route("/pulls/<user>")
    def pulls(user):
        return user

    return app


FORMS = [
    lambda make, app: FlaskTracer(make, True, app, ["url_rule"]),
    lambda make, app: FlaskTracing(make(), True, app, ["url_rule"]),
    lambda make, app: FlaskTracing(make(), True, app=app, traced_attributes=["url_rule"]),
    lambda make, app: FlaskTracing(
        tracer=make, trace_all_requests=True, app=app, traced_attributes=["url_rule"]
    ),
    lambda make, app: FlaskTracing(make, None, app, ["url_rule"]),
    lambda make, app: FlaskTracing(
        make, trace_all_requests=True, app=app, traced_attributes=["url_rule"]
    ),
]


@pytest.mark.parametrize("form", FORMS)
def test_names_and_tags_are_the_old_ones(form, tracing, app):
    """The endpoint is the operation, nothing is excluded, tags have the names they had."""
    form(lambda: Tracer(tracing), app)
    for path in ("/ready", "/pulls/bob", "/metrics"):
        app.test_client().get(path, buffered=True)
    ready, pulls, metrics = tracing.sink.take_many(3)
    assert [span.name for span in (ready, pulls, metrics)] == ["ready", "pulls", "GET"]
    wanted = {
        "component": "Flask",
        "http.method": "GET",
        "http.url": "http://localhost/pulls/bob",
        "http.status_code": 200,
        "url_rule": "/pulls/<user>",
    }
    assert wanted.items() <= dict(pulls.attributes).items()
    tracing.sink.assert_empty()


def test_a_factory_is_called_once_and_late(tracing, app):
    """The tracer is made when the first request needs it, by one of many threads."""
    made = []

    def make():
        made.append(Tracer(tracing))
        return made[-1]

    flask_tracing = FlaskTracing(make, True, app)
    assert not made
    threads = [
        threading.Thread(target=lambda: app.test_client().get("/ready", buffered=True))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert flask_tracing.tracer is made[0]
    assert len(made) == 1
    tracing.sink.take_many(8)


def test_spans_show_as_opentracing_spans(tracing, app):
    """get_span and the callback deal in the tracer's spans, the same one in one request."""
    seen = []
    flask_tracing = FlaskTracing(
        Tracer(tracing), True, app, [], lambda span, request: seen.append(span)
    )

    @app.route("/span")
    def span():
        seen.extend([flask_tracing.get_span(), flask_tracing.get_span(flask.request)])
        return ""

    assert flask_tracing.get_span() is None
    app.test_client().get("/span", buffered=True)
    assert [type(each) for each in seen] == [Shown] * 3
    assert len(set(seen)) == 1
    assert seen[0].span.name == "span"


def test_without_an_app_only_decorated_count(tracing, app):
    """FlaskTracing(tracer) and its decorator need nothing else: decorated views are traced."""
    flask_tracing = FlaskTracing(Tracer(tracing))

    @app.route("/chosen")
    @flask_tracing.trace("method")
    def chosen():
        return ""

    app.test_client().get("/ready", buffered=True)
    app.test_client().get("/chosen", buffered=True)
    span = tracing.sink.take()
    assert (span.name, span.attributes["method"]) == ("chosen", "GET")
    tracing.sink.assert_empty()


def test_wrong_arguments_are_named_at_once(tracing):
    """A tracer that is none of tracekit's, and trace_all without an app, are refused."""
    with pytest.raises(TypeError, match=r"tracekit\.opentracing"):
        FlaskTracing(object(), True, flask.Flask(__name__))
    with pytest.raises(ValueError, match="requires an app"):
        FlaskTracing(Tracer(tracing), True)


def test_none_is_the_requests_global_tracer(tracing, app, monkeypatch):
    """Not the one, which does nothing, that was global before the service had made its own."""
    monkeypatch.setattr(opentracing, "tracer", opentracing.Tracer())
    flask_tracing = FlaskTracing(None, True, app)
    client = app.test_client()
    client.get("/ready", buffered=True)
    tracing.sink.assert_empty()
    monkeypatch.setattr(opentracing, "tracer", tracekit.opentracing.tracer(tracing))
    client.get("/ready", buffered=True)
    assert tracing.sink.take().name == "ready"
    assert flask_tracing.tracer is opentracing.tracer


def test_a_factory_may_give_none(tracing, app, monkeypatch):
    """It means the global tracer, as with ``Config.initialize_tracer`` called a second time."""
    monkeypatch.setattr(opentracing, "tracer", tracekit.opentracing.tracer(tracing))
    flask_tracing = FlaskTracing(lambda: None, True, app)
    app.test_client().get("/ready", buffered=True)
    assert tracing.sink.take().name == "ready"
    assert flask_tracing.tracer is opentracing.tracer


def test_the_old_keyword_means_the_old_form():
    """``trace_all_requests`` is a word of no other."""
    with pytest.raises(ValueError, match="requires an app"):
        FlaskTracing(trace_all_requests=True)


@pytest.mark.parametrize("given", [opentracing.Tracer(), opentracing.Tracer])
def test_a_noop_tracer_traces_nothing(given, app, caplog):
    """OpenTracing's own, or its class as a factory: how services said that they want no tracing."""
    flask_tracing = FlaskTracing(given, True, app)
    shown = []

    @app.route("/span")
    def span():
        with opentracing.Tracer().start_span("below", child_of=flask_tracing.get_span()):
            shown.append(flask_tracing.get_span())
        return ""

    assert app.test_client().get("/span", buffered=True).status_code == 200
    assert isinstance(shown[0], opentracing.Span)
    assert not caplog.records


def test_a_failing_factory_costs_the_span(app, caplog):
    """A tracer that cannot be made leaves the request untraced, and says so."""
    FlaskTracing(object, True, app)
    assert app.test_client().get("/ready", buffered=True).status_code == 200
    assert "untraced" in caplog.text


def test_an_old_service_runs_unchanged(tracing, monkeypatch):
    """A span below get_span(), started by OpenTracing's global tracer, with tags, in one trace."""

    def initialize_tracer():
        tracer = tracekit.opentracing.tracer(tracing)
        monkeypatch.setattr(opentracing, "tracer", tracer)
        return tracer

    app = flask.Flask(__name__)
    flask_tracer = FlaskTracer(initialize_tracer, True, app, ["url_rule"])

    @app.route("/ready")
    def ready():
        parent = flask_tracer.get_span()
        with opentracing.tracer.start_span("redis-ping", child_of=parent) as span:
            span.set_tag("redis-ping", True)
        return "ok"

    @app.route("/pulls/<user>")
    def pulls(user):
        parent = flask_tracer.get_span()
        assert isinstance(parent, opentracing.Span)
        assert parent is flask_tracer.get_span()
        parent.set_tag("user", user)
        with opentracing.tracer.start_active_span("github-api") as scope:
            scope.span.log_kv({"event": "called"})
        return user

    client = app.test_client()
    assert client.get("/ready", buffered=True).data == b"ok"
    assert client.get("/pulls/bob", buffered=True).data == b"bob"
    ping, ready_span, api, pulls_span = tracing.sink.take_many(4)
    assert [span.name for span in (ping, ready_span, api, pulls_span)] == [
        "redis-ping",
        "ready",
        "github-api",
        "pulls",
    ]
    assert ping.parent.span_id == ready_span.context.span_id
    assert api.parent.span_id == pulls_span.context.span_id
    assert ping.attributes["redis-ping"] is True
    assert pulls_span.attributes["user"] == "bob"
    assert pulls_span.attributes["url_rule"] == "/pulls/<user>"


def test_the_new_form_takes_the_tracer_too(tracing, app):
    """``tracing=`` of an edge may be an OpenTracing tracer, and child_of an OpenTelemetry span."""
    tracer = tracekit.opentracing.tracer(tracing)
    traced = FlaskTracing(app, tracing=tracer)

    @app.route("/child")
    def child():
        with tracer.start_span("child", child_of=traced.get_span()):
            return ""

    app.test_client().get("/child", buffered=True)
    inner, server = tracing.sink.take_many(2)
    assert server.name == "GET /child"
    assert inner.parent.span_id == server.context.span_id
