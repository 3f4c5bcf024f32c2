"""Every factory of an edge takes an OpenTracing tracer where it takes a handle; real calls."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from wsgiref.simple_server import WSGIRequestHandler, make_server

import flask
import grpc
import opentracing
import pytest
import requests
from opentracing.scope_managers import ThreadLocalScopeManager
from prometheus_client import CollectorRegistry

import tracekit.flask
import tracekit.grpc
import tracekit.grpc.aio
import tracekit.jaeger_client
import tracekit.logging
import tracekit.opentracing
import tracekit.prometheus
import tracekit.requests
import tracekit.wsgi
from tracekit.jaeger_client import ConstSampler

PATH = "/shop.Orders/Place"


def opentracing_tracer(tracing):
    return tracekit.opentracing.tracer(tracing)


def thread_local_tracer(tracing):
    return tracekit.opentracing.tracer(tracing, ThreadLocalScopeManager())


def jaeger_tracer(tracing):
    reporter = tracekit.jaeger_client.Reporter(tracing)
    return tracekit.jaeger_client.Tracer("shop", reporter, ConstSampler(True), tracing=tracing)


@pytest.fixture(params=[opentracing_tracer, thread_local_tracer, jaeger_tracer])
def tracer(request, tracing):
    return request.param(tracing)


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def serve():
    """Return a function that serves a WSGI application and returns its base URL."""
    with ExitStack() as stack:

        def start(application):
            server = stack.enter_context(
                make_server("127.0.0.1", 0, application, handler_class=Quiet)
            )
            thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
            thread.start()
            stack.callback(thread.join, 5)
            stack.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_port}"

        yield start


def is_below(span, parent):
    return span.parent is not None and span.parent.span_id == parent.context.span_id


def application(tracer):
    """Return an application that starts a child of whatever span is active."""

    def app(environ, start_response):
        with tracer.start_active_span("inner"):
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"hello"]

    return app


def get(url, **kwargs):
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, timeout=10, **kwargs)


def test_wsgi(tracing, tracer, serve):
    """``middleware(app, tracer)``: what the application starts is below the request."""
    url = serve(tracekit.wsgi.middleware(application(tracer), tracer))
    assert get(url).text == "hello"
    inner, server = tracing.sink.take_many(2)
    assert (inner.name, server.name) == ("inner", "GET")
    assert is_below(inner, server)


@pytest.mark.parametrize(
    ("form", "operation"),
    [
        (tracekit.flask.FlaskTracing, "GET /home"),
        (tracekit.flask.init_app, "GET /home"),
        (lambda app, tracer: tracekit.flask.FlaskTracing(tracer, True, app), "home"),
    ],
)
def test_flask(tracing, tracer, serve, form, operation):
    """In the new forms and in the old one, ``get_span()`` is a parent for OpenTracing."""
    app = flask.Flask(__name__)
    traced = form(app, tracer)

    @app.route("/home")
    def home():
        with tracer.start_span("inner", child_of=traced.get_span()):
            return "hello"

    assert get(f"{serve(app)}/home").text == "hello"
    inner, server = tracing.sink.take_many(2)
    assert server.name == operation
    assert is_below(inner, server)


def test_requests(tracing, tracer, serve):
    """``instrument(tracing=tracer)``: the call is below the active span, and names it."""
    seen = []

    def app(environ, start_response):
        seen.append(environ.get("HTTP_UBER_TRACE_ID"))
        start_response("200 OK", [])
        return [b""]

    url = serve(app)
    undo = tracekit.requests.instrument(tracing=tracer)
    try:
        with tracer.start_active_span("outer"):
            get(url)
    finally:
        undo()
    client, outer = tracing.sink.take_many(2)
    assert is_below(client, outer)
    assert seen[0].split(":")[1] == f"{client.context.span_id:016x}"


def method_of(tracer):
    def place(request, context):
        with tracer.start_active_span("inner"):
            return request

    method = grpc.unary_unary_rpc_method_handler(place)
    return grpc.method_handlers_generic_handler("shop.Orders", {"Place": method})


def check_trace(tracing):
    """Expect a call under ``outer`` that was traced on both sides, and ``inner`` in its handler."""
    spans = {(it.name, it.kind.name): it for it in tracing.sink.take_many(4)}
    client, server = (spans["shop.Orders/Place", kind] for kind in ("CLIENT", "SERVER"))
    assert is_below(client, spans["outer", "INTERNAL"])
    assert is_below(server, client)
    assert is_below(spans["inner", "INTERNAL"], server)


CHANNELS = {
    "interceptors": lambda channel, tracer: grpc.intercept_channel(
        channel, *tracekit.grpc.client_interceptors(tracer)
    ),
    "trace_channel": tracekit.grpc.trace_channel,
}


@pytest.mark.parametrize("form", CHANNELS)
def test_grpc(tracing, tracer, form):
    """``server_interceptor(tracer)``, ``client_interceptors(tracer)``, ``trace_channel``."""
    server = grpc.server(
        ThreadPoolExecutor(2),
        (method_of(tracer),),
        interceptors=[tracekit.grpc.server_interceptor(tracer)],
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with closing(grpc.insecure_channel(f"127.0.0.1:{port}")) as channel:
            traced = CHANNELS[form](channel, tracer)
            with tracer.start_active_span("outer"):
                assert traced.unary_unary(PATH)(b"apples", timeout=10) == b"apples"
        check_trace(tracing)
    finally:
        server.stop(0).wait(5)


@pytest.mark.parametrize("form", ["interceptors", "trace_channel"])
def test_grpc_aio(tracing, tracer, form):
    """The same three on asyncio."""

    async def call():
        server = grpc.aio.server(
            interceptors=[tracekit.grpc.aio.server_interceptor(tracer)],
        )
        server.add_generic_rpc_handlers((async_method_of(tracer),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        target = f"127.0.0.1:{port}"
        interceptors = tracekit.grpc.aio.client_interceptors(tracer)
        inner = grpc.aio.insecure_channel(
            target, interceptors=interceptors if form == "interceptors" else None
        )
        traced = inner
        if form == "trace_channel":
            traced = tracekit.grpc.aio.trace_channel(inner, tracer, target=target)
        with tracer.start_active_span("outer"):
            assert await traced.unary_unary(PATH)(b"apples", timeout=10) == b"apples"
        await inner.close()
        await server.stop(0)

    asyncio.run(asyncio.wait_for(call(), 20))
    check_trace(tracing)


def async_method_of(tracer):
    async def place(request, context):
        with tracer.start_active_span("inner"):
            return request

    method = grpc.unary_unary_rpc_method_handler(place)
    return grpc.method_handlers_generic_handler("shop.Orders", {"Place": method})


def test_grpc_instrument(tracing, tracer):
    """``instrument(tracer)`` traces what is constructed from then on."""
    undo = tracekit.grpc.instrument(tracer)
    try:
        server = grpc.server(ThreadPoolExecutor(2), (method_of(tracer),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with closing(grpc.insecure_channel(f"127.0.0.1:{port}")) as channel:
            with tracer.start_active_span("outer"):
                assert channel.unary_unary(PATH)(b"apples", timeout=10) == b"apples"
            check_trace(tracing)
        server.stop(0).wait(5)
    finally:
        undo()


def test_logging(tracer):
    """``install(tracing=tracer)``: a record has the ids of OpenTracing's active span."""
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logger = logging.getLogger("edge-takes-tracer")
    logger.addHandler(handler)
    undo = tracekit.logging.install(tracing=tracer)
    try:
        with tracer.start_active_span("op") as scope:
            logger.warning("here")
    finally:
        undo()
        logger.removeHandler(handler)
    assert records[0].span_id == f"{scope.span.span_id:016x}"


def test_prometheus(tracer):
    """``collector(tracer)`` shows the tracer's spans."""
    registry = CollectorRegistry()
    registry.register(tracekit.prometheus.collector(tracer))
    tracer.start_span("op").finish()
    name = "jaeger_tracer_started_spans_total"
    assert registry.get_sample_value(name, {"sampled": "y"}) == 1


def test_other_tracers_share_the_pipeline(tracing, tracer):
    """``opentracing.tracer(tracer)`` and ``jaeger_client.Reporter(tracer)`` are on the same one."""
    other = tracekit.opentracing.tracer(tracer)
    with tracer.start_active_span("outer"), other.start_active_span("inner"):
        pass
    inner, outer = tracing.sink.take_many(2)
    assert is_below(inner, outer)
    assert tracekit.jaeger_client.Reporter(tracer).tracing is tracing


@pytest.mark.parametrize(
    "factory",
    [
        lambda it: tracekit.wsgi.middleware(application(it), it),
        tracekit.grpc.server_interceptor,
        tracekit.grpc.client_interceptors,
        tracekit.grpc.aio.server_interceptor,
        lambda it: tracekit.requests.instrument(requests.Session(), tracing=it),
        lambda it: tracekit.flask.FlaskTracing(flask.Flask(__name__), it),
        lambda it: tracekit.opentracing.tracer(it).start_span("op"),
    ],
)
def test_what_is_no_tracer_of_ours_is_named(factory):
    """OpenTracing's own, which does nothing, is taken for that; another one is refused."""

    class Theirs(opentracing.Tracer):
        pass

    factory(opentracing.Tracer())
    with pytest.raises(TypeError, match="not Theirs"):
        factory(Theirs())


def test_an_idle_tracer_lets_requests_pass(tracing, serve):
    """One that does nothing: they go on, and nothing is traced."""
    url = serve(tracekit.wsgi.middleware(application(opentracing.Tracer()), opentracing.Tracer()))
    assert get(url).text == "hello"
    tracing.sink.assert_empty()
