"""Flask: the bare application decides what is right, then the spans are looked at."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time

import flask
import pytest
from flask.views import MethodView
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

import tracekit
import tracekit.flask
import tracekit.testing
from tracekit.flask import FlaskTracing


def make_app():  # noqa: C901 (a list of routes)
    """Return an application with one route for each way to answer, and a log of its hooks."""
    app = flask.Flask(__name__, static_folder=None)
    app.logger.disabled = True
    log = app.config["LOG"] = []

    @app.before_request
    def before():
        log.append("before")
        if "deny" in flask.request.args:
            return "denied", 401
        if "fail" in flask.request.args:
            raise RuntimeError("in a hook")
        return None

    @app.after_request
    def after(response):
        log.append("after")
        response.call_on_close(lambda: log.append("closed"))
        return response

    @app.teardown_request
    def teardown(error):
        log.append(f"teardown {error!r}")

    @app.errorhandler(LookupError)
    def missing(error):
        return "not here", 404

    @app.errorhandler(ArithmeticError)
    def broken(error):
        return "sorry", 500

    @app.route("/pulls/<user>")
    def pulls(user):
        return {"user": user}

    @app.route("/number/<int:number>", methods=["POST"])
    def number(number):
        return str(number)

    @app.route("/raise/<kind>")
    def fail(kind):
        raise {"value": ValueError, "lookup": LookupError, "zero": ZeroDivisionError}[kind](kind)

    @app.route("/abort/<int:code>")
    def abort(code):
        flask.abort(code)

    @app.route("/stream")
    def stream():
        return flask.Response(b"%d" % n for n in range(3))

    @app.route("/stream/context")
    def stream_context():
        def body():
            yield flask.request.path
            yield "!"

        return flask.stream_with_context(body())

    @app.route("/stream/broken")
    def stream_broken():
        def body():
            yield "a"
            raise RuntimeError("midway")

        return body()

    @app.route("/file")
    def file():
        return flask.send_file(__file__, conditional=True)

    @app.route("/async")
    async def asynchronous():
        await asyncio.sleep(0)
        return "later"

    return app


def trace_app(tracing, **options):
    app = make_app()
    FlaskTracing(app, tracing, **options)
    return app


REQUESTS = [
    ("GET", "/pulls/bob", "GET /pulls/<user>", 200),
    ("HEAD", "/pulls/bob", "HEAD /pulls/<user>", 200),
    ("OPTIONS", "/pulls/bob", "OPTIONS /pulls/<user>", 200),
    ("POST", "/number/3", "POST /number/<int:number>", 200),
    ("POST", "/number/three", "POST", 404),
    ("GET", "/number/3", "GET", 405),
    ("GET", "/nowhere/at/all", "GET", 404),
    ("BREW", "/pulls/bob", "HTTP", 405),
    ("GET", "/pulls/bob?deny=1", "GET /pulls/<user>", 401),
    ("GET", "/pulls/bob?fail=1", "GET /pulls/<user>", 500),
    ("GET", "/raise/value", "GET /raise/<kind>", 500),
    ("GET", "/raise/lookup", "GET /raise/<kind>", 404),
    ("GET", "/raise/zero", "GET /raise/<kind>", 500),
    ("GET", "/abort/404", "GET /abort/<int:code>", 404),
    ("GET", "/abort/503", "GET /abort/<int:code>", 503),
    ("GET", "/stream", "GET /stream", 200),
    ("GET", "/stream/context", "GET /stream/context", 200),
    ("GET", "/file", "GET /file", 200),
    ("GET", "/async", "GET /async", 200),
]


def answer(app, method, path):
    response = app.test_client().open(path, method=method, buffered=True)
    # Old versions of Werkzeug date a file, and two answers may fall into two seconds.
    headers = [(name, "now" if name == "Date" else value) for name, value in response.headers]
    return response.status, headers, response.data, app.config["LOG"]


@pytest.mark.parametrize("sampler", [0, 1])
@pytest.mark.parametrize(("method", "path", "name", "status"), REQUESTS)
def test_a_client_sees_no_difference(method, path, name, status, sampler):
    """Status, headers, body and the order of hooks are the bare application's."""
    tracing = tracekit.testing.tracing(sampler_param=sampler)
    assert answer(trace_app(tracing), method, path) == answer(make_app(), method, path)
    if sampler:
        span = tracing.sink.take()
        assert (span.name, span.kind) == (name, SpanKind.SERVER)
        assert span.attributes["http.response.status_code"] == status
    tracing.sink.assert_empty()


@pytest.mark.parametrize(
    ("path", "error", "events"),
    [
        ("/raise/value", "ValueError", 1),  # nobody handles it
        ("/raise/zero", "ZeroDivisionError", 1),  # handled, to a 500
        ("/raise/lookup", None, 0),  # handled, to a 404
        ("/abort/404", None, 0),
        ("/abort/503", "503", 0),
        ("/pulls/bob?fail=1", "RuntimeError", 1),
        ("/pulls/bob", None, 0),
    ],
)
def test_an_exception_is_told_once(tracing, path, error, events):
    """A 5xx made of an exception shows it once; an answer that somebody chose is no exception."""
    answer(trace_app(tracing), "GET", path)
    span = tracing.sink.take()
    assert span.attributes.get("error.type") == error
    assert span.status.status_code is (StatusCode.ERROR if error else StatusCode.UNSET)
    assert [event.name for event in span.events] == ["exception"] * events


def test_a_propagated_exception_is_told_once(tracing):
    """With PROPAGATE_EXCEPTIONS the server gets the exception, and so does the span."""
    app = trace_app(tracing)
    app.testing = True
    with pytest.raises(ValueError, match="value"):
        app.test_client().get("/raise/value")
    span = tracing.sink.take()
    assert (span.attributes["error.type"], len(span.events)) == ("ValueError", 1)


def test_a_broken_body_is_an_error(tracing):
    """The status was sent before the generator raised; the span shows both."""
    with pytest.raises(RuntimeError, match="midway"):
        trace_app(tracing).test_client().get("/stream/broken", buffered=True)
    span = tracing.sink.take()
    assert span.attributes["http.response.status_code"] == 200
    assert (span.attributes["error.type"], len(span.events)) == ("RuntimeError", 1)


def test_the_span_covers_the_body(tracing):
    """Three pieces of 20 ms make a span of 60 ms, and spans made in between are its children."""
    app = make_app()
    tracer = tracing.tracer("app")

    @app.route("/slow")
    def slow():
        def body():
            for _ in range(3):
                with tracer.start_as_current_span("piece"):
                    time.sleep(0.02)
                yield "x"

        return body()

    FlaskTracing(app, tracing)
    app.test_client().get("/slow", buffered=True)
    *pieces, server = tracing.sink.take_many(4)
    assert server.end_time - server.start_time >= 60_000_000
    assert {piece.parent.span_id for piece in pieces} == {server.context.span_id}


def test_an_exhausted_body_ends_the_span(tracing):
    """Flask's test client reads without closing: the exhausted body ends the span."""
    response = trace_app(tracing).test_client().get("/pulls/bob")
    assert response.get_json() == {"user": "bob"}
    tracing.sink.take()


def test_secrets_in_the_query_stay_at_home(tracing):
    """The query is exported, its tokens are not."""
    answer(trace_app(tracing), "GET", "/pulls/bob?page=1&token=abc&X-Amz-Signature=d")
    query = tracing.sink.take().attributes["url.query"]
    assert query == "page=1&token=REDACTED&X-Amz-Signature=REDACTED"


def test_probes_have_no_span(tracing):
    """The default paths are excluded exactly; a query never hides a request."""
    app = trace_app(tracing)
    for path in ("/health", "/metrics", "/pulls/bob?next=/health"):
        answer(app, "GET", path)
    assert [span.attributes["url.path"] for span in tracing.sink.spans] == ["/pulls/bob"]


def test_flasks_methods_take_names_as_before(tracing):
    """Its dispatching methods take their arguments by name, too."""

    def results(app):
        with app.test_request_context("/pulls/bob"):
            handled = app.handle_user_exception(e=LookupError("by name"))
            return app.preprocess_request(), handled, app.full_dispatch_request().data

    bare, app = make_app(), make_app()
    FlaskTracing(app, tracing)
    assert results(app) == results(bare)


def test_a_final_context_class_still_serves(tracing, caplog):
    """An application may have a request context of its own that allows no subclass."""

    class Final(flask.ctx.RequestContext):
        def __init_subclass__(cls):
            raise TypeError("final")

    class App(flask.Flask):
        def request_context(self, environ):
            return Final(self, environ)

    app = App(__name__)
    app.route("/x")(lambda: "x")
    FlaskTracing(app, tracing)
    for _ in range(2):
        assert app.test_client().get("/x").data == b"x"
    assert [span.name for span in tracing.sink.take_many(2)] == ["GET /x"] * 2
    assert len(caplog.records) == 1


@pytest.mark.skipif(not hasattr(flask.app, "RequestContext"), reason="Flask has one context")
def test_a_context_class_may_come_later(tracing, monkeypatch):
    """Whoever replaces Flask's class of contexts has the next contexts made of it."""
    app = trace_app(tracing)
    assert app.test_client().get("/pulls/bob").status_code == 200
    own = type("Own", (flask.app.RequestContext,), {})
    monkeypatch.setattr(flask.app, "RequestContext", own)
    for _ in range(2):
        assert isinstance(app.test_request_context("/pulls/bob"), own)
        assert app.test_client().get("/pulls/bob").status_code == 200
    assert {span.name for span in tracing.sink.take_many(3)} == {"GET /pulls/<user>"}


def test_the_constructor_says_what_it_takes(tracing):
    """By keyword and for ``inspect`` the parameters are those of the reference."""
    assert list(inspect.signature(FlaskTracing).parameters) == [
        "app",
        "tracing",
        "trace_all",
        "traced_attributes",
        "start_span_cb",
        "exclude",
        "response_headers",
        "semconv",
    ]
    app = make_app()
    traced = FlaskTracing(
        app=app,
        tracing=tracing,
        trace_all=True,
        traced_attributes=["endpoint"],
        start_span_cb=lambda span, _: span.set_attribute("called", True),
        exclude=["/pulls/eve"],
        response_headers=True,
    )
    assert traced.tracer is None
    client = app.test_client()
    assert "traceresponse" in client.get("/pulls/bob").headers
    assert "traceresponse" not in client.get("/pulls/eve").headers
    span = tracing.sink.take()
    assert (span.attributes["endpoint"], span.attributes["called"]) == ("pulls", True)
    tracing.sink.assert_empty()


def test_set_up_twice_is_one_span_a_request(tracing):
    """init_app twice, by two objects, and a factory that makes an app a time."""
    first = FlaskTracing(tracing=tracing)
    apps = [make_app(), make_app()]
    for app in apps:
        first.init_app(app)
        first.init_app(app)
        tracekit.flask.init_app(app, tracing=tracing)
        answer(app, "GET", "/pulls/bob")
    assert len(tracing.sink.take_many(2)) == 2
    tracing.sink.assert_empty()


def test_get_span_works_all_over_the_request(tracing):
    """get_span is the current span in a view, None outside, and needs no request argument."""
    app = make_app()
    traced = FlaskTracing(app, tracing)
    seen = []

    @app.route("/see")
    def see():
        seen.extend([traced.get_span(), traced.get_span(flask.request), trace.get_current_span()])
        return ""

    assert traced.get_span() is None
    with app.test_request_context("/see"):
        assert traced.get_span() is None
    answer(app, "GET", "/see")
    assert len(set(seen)) == 1
    assert seen[0].name == "GET /see"


def test_trace_all_may_be_off(tracing):
    """With trace_all=False a decorated view has a span, with its attributes, others have none."""
    app = make_app()
    traced = FlaskTracing(app, tracing, trace_all=False, traced_attributes=["endpoint"])

    @app.route("/chosen/<thing>")
    @traced.trace("url_rule", "nothing_of_the_kind")
    def chosen(thing):
        with tracing.tracer("app").start_as_current_span("child"):
            return thing

    @app.route("/later")
    @traced.trace()
    async def later():
        await asyncio.sleep(0)
        return trace.get_current_span().name

    answer(app, "GET", "/pulls/bob")
    answer(app, "GET", "/chosen/one")
    child, server = tracing.sink.take_many(2)
    assert server.name == "GET /chosen/<thing>"
    assert child.parent.span_id == server.context.span_id
    assert server.attributes["url_rule"] == "/chosen/<thing>"
    assert server.attributes["endpoint"] == "chosen"
    assert server.attributes["http.response.status_code"] == 200
    assert answer(app, "GET", "/later")[2] == b"GET /later"
    tracing.sink.take()
    tracing.sink.assert_empty()


@pytest.mark.parametrize(
    ("path", "error"), [("/fine", None), ("/bad", "ValueError"), ("/gone", None)]
)
def test_a_decorated_view_needs_no_init_app(tracing, path, error):
    """The decorator alone traces its view, joined to the caller's trace, and sees how it ends."""
    app = make_app()
    traced = FlaskTracing(tracing=tracing, trace_all=False)

    @app.route("/<what>")
    @traced.trace()
    def view(what):
        if what == "bad":
            raise ValueError(what)
        if what == "gone":
            flask.abort(410)
        return what

    app.test_client().get(path, headers={"uber-trace-id": "abc:12:0:1"})
    span = tracing.sink.take()
    assert (span.context.trace_id, span.parent.span_id) == (0xABC, 0x12)
    assert span.attributes.get("error.type") == error
    assert tracing.sink.open == 0


def test_a_callback_may_tag_and_may_fail(tracing, caplog):
    """start_span_cb gets span and request; when it raises, the request goes on."""
    app = make_app()

    def describe(span, request):
        span.set_attribute("rule", request.url_rule.rule)
        raise RuntimeError("callback")

    FlaskTracing(app, tracing, start_span_cb=describe)
    assert answer(app, "GET", "/pulls/bob")[0] == "200 OK"
    assert tracing.sink.take().attributes["rule"] == "/pulls/<user>"
    assert "goes on" in caplog.text
    with pytest.raises(ValueError, match="not callable"):
        FlaskTracing(start_span_cb="x")


def test_copied_contexts_carry_the_span(tracing):
    """copy_current_request_context takes what is current along, and leaves nothing behind."""
    app = make_app()
    tracer = tracing.tracer("app")
    left = []

    @app.route("/fan")
    def fan():
        @flask.copy_current_request_context
        def work():
            with tracer.start_as_current_span("work"):
                return flask.request.path

        def thread():
            work()
            left.append(trace.get_current_span())

        with tracer.start_as_current_span("outer"):
            copied = flask.copy_current_request_context(work)
        started = [threading.Thread(target=target) for target in (thread, copied)]
        for each in started:
            each.start()
            each.join()
        return "done"

    FlaskTracing(app, tracing)
    assert answer(app, "GET", "/fan")[0] == "200 OK"
    spans = tracing.sink.take_many(4)
    server = next(span for span in spans if span.name == "GET /fan")
    assert {span.context.trace_id for span in spans} == {server.context.trace_id}
    assert left == [trace.INVALID_SPAN]


def test_async_views_keep_the_parent(tracing):
    """Tasks gathered in an async view make children of the server span."""
    app = make_app()

    @app.route("/gather")
    async def gather():
        async def one(n):
            with tracing.tracer("app").start_as_current_span(f"task {n}"):
                await asyncio.sleep(0)

        await asyncio.gather(one(1), one(2))
        return ""

    FlaskTracing(app, tracing)
    answer(app, "GET", "/gather")
    *tasks, server = tracing.sink.take_many(3)
    assert {task.parent.span_id for task in tasks} == {server.context.span_id}


def test_routes_are_named_below_their_mount(tracing):
    """Blueprints, class-based views, host matching and a mounted application."""
    app = flask.Flask(__name__, static_folder=None, host_matching=True)
    blueprint = flask.Blueprint("api", __name__)

    class Things(MethodView):
        def get(self, name):
            return name

    blueprint.add_url_rule("/things/<name>", view_func=Things.as_view("things"), host="localhost")
    app.register_blueprint(blueprint, url_prefix="/v1")
    FlaskTracing(app, tracing)
    outer = make_app()
    outer.wsgi_app = DispatcherMiddleware(outer.wsgi_app, {"/api": app})
    FlaskTracing(outer, tracing)
    assert outer.test_client().get("/api/v1/things/a", buffered=True).data == b"a"
    span = tracing.sink.take()
    assert span.name == "GET /api/v1/things/<name>"
    assert span.attributes["http.route"] == "/api/v1/things/<name>"
    assert span.attributes["url.path"] == "/api/v1/things/a"
    tracing.sink.assert_empty()


@pytest.mark.parametrize("outside", [True, False])
def test_proxy_fix_tells_the_client(tracing, outside):
    """ProxyFix is respected on either side of the tracing."""
    app = make_app()
    if not outside:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_host=1)
    FlaskTracing(app, tracing)
    if outside:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_host=1)
    headers = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
    app.test_client().get("/pulls/bob", headers={**headers, "X-Forwarded-Host": "shop.example"})
    span = tracing.sink.take()
    assert span.attributes["client.address"] == "203.0.113.9"
    assert span.attributes["server.address"] == "shop.example"
    assert span.attributes["url.scheme"] == "https"


def test_mesh_headers_are_held_for_calls(tracing):
    """What Envoy needs forwarded is held in the context of the view and of the body."""
    app = make_app()

    @app.route("/out")
    def out():
        return (tracing.propagator.outgoing().forwarded["x-request-id"] for _ in range(1))

    FlaskTracing(app, tracing)
    response = app.test_client().get("/out", headers={"x-request-id": "r-1"}, buffered=True)
    assert response.data == b"r-1"


def test_an_operation_sampler_has_the_route(tracing):
    """Where the sampler decides by operation, it is asked for the route and not for ``GET``."""
    asked = []

    class Asked:
        def should_sample(self, context, trace_id, name, kind=None, attributes=None, links=None):
            asked.append(name)
            return sampler.should_sample(context, trace_id, name, kind, attributes, links)

        def get_description(self):
            return "asked"

    remote = tracekit.testing.tracing(sampler_type="remote", sampler_param=1)
    sampler = remote.provider.sampler
    remote.provider.sampler = Asked()
    app = trace_app(remote)
    answer(app, "GET", "/pulls/bob")
    answer(app, "GET", "/nowhere")
    app.test_client().get("/pulls/bob", headers={"uber-trace-id": "abc:12:0:1"}, buffered=True)
    remote.shutdown()
    assert asked[:2] == ["GET /pulls/<user>", "GET"]


def test_a_context_copy_is_a_context(tracing):
    """The class that carries the span is a request context by name, type and behaviour."""
    app = make_app()
    kinds = []

    @app.route("/kind")
    def kind():
        kinds.append(type(flask.globals.request_ctx._get_current_object()))
        return ""

    FlaskTracing(app, tracing)
    answer(app, "GET", "/kind")
    assert issubclass(kinds[0], flask.ctx.RequestContext)
    assert kinds[0].__name__ == "RequestContext"


class Observer:
    """Takes note of what it is told of each finished call."""

    def __init__(self):
        self.told = []

    def on_finish(self, call, error_type, labels):
        self.told.append((call.name, call.status, error_type))


@pytest.mark.parametrize("sampler", [0, 1])
def test_every_finished_request_is_observed(sampler):
    """Whoever counts requests learns operation, status and error, sampled or not."""

    class Observed(tracekit.testing.TestTracing):
        call_observer = Observer()

    settings = tracekit.Settings.resolve(
        environ={}, service_name="test", sampler_type="const", sampler_param=sampler
    )
    tracing = Observed(settings, tracekit.testing.MemoryTransport())
    app = trace_app(tracing)
    for path in ("/pulls/bob", "/raise/value", "/nowhere", "/health"):
        answer(app, "GET", path)
    tracing.shutdown()
    assert tracing.call_observer.told == [
        ("GET /pulls/<user>", 200, None),
        ("GET /raise/<kind>", 500, "ValueError"),
        ("GET", 404, None),
    ]


def test_an_unread_response_has_its_span(tracing):
    """Flask's test client neither exhausts nor closes a body that nobody asks it for."""
    app = make_app()
    tracekit.flask.init_app(app, tracing)
    response = app.test_client().get("/pulls/ann")
    span = tracing.sink.take(timeout_s=0)
    assert response.status_code == 200
    assert "response.aborted" not in span.attributes


class Code(int):
    """A status that an application has made more of, as ``http`` has of its own."""


class Coded(flask.Response):
    @property
    def status_code(self):
        return Code(super().status_code)


def test_one_requests_status_is_its_own(tracing):
    """What an application has for a number is on no span, least of all on those of others."""
    app = flask.Flask(__name__)
    view = FlaskTracing(tracing=tracing).trace()
    app.add_url_rule("/coded", view_func=view(lambda: Coded("text")), endpoint="coded")
    app.add_url_rule("/plain", view_func=view(lambda: flask.Response("text")), endpoint="plain")
    for path in ("/coded", "/plain"):
        assert app.test_client().get(path).data == b"text"
        status = tracing.sink.take().attributes["http.response.status_code"]
        assert (type(status), status) == (int, 200)


class Tenant:
    """Says who it is, not whether it is true, like SQLAlchemy's expressions and arrays."""

    def __bool__(self):
        raise TypeError("neither")

    def __str__(self):
        return "acme"


def test_what_has_no_truth_is_told(tracing):
    """An attribute of a request is left out where it is empty text, and asked nothing else."""

    class Request(flask.Request):
        tenant, nobody, empty, none = Tenant(), "", b"", 0

    app = flask.Flask(__name__)
    app.request_class = Request
    app.add_url_rule("/", view_func=lambda: "", endpoint="view")
    FlaskTracing(app, tracing, traced_attributes=["tenant", "nobody", "empty", "none"])
    app.test_client().get("/")
    found = tracing.sink.take().attributes
    assert (found["tenant"], found["none"]) == ("acme", "0")
    assert {"nobody", "empty"}.isdisjoint(found)
