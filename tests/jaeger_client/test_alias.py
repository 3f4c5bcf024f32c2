"""Retired packages' names that mean ours, for libraries that nobody can edit."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

import grpc
import pytest

import tracekit.flask
import tracekit.grpc.opentracing
import tracekit.jaeger_client
from tracekit.jaeger_client import Config, ConstSampler, Tracer, alias
from tracekit.jaeger_client.reporter import InMemoryReporter


@pytest.fixture
def aliased():
    undo = alias()
    yield
    undo()


@pytest.mark.usefixtures("aliased")
def test_the_names_are_our_very_modules():
    """Classes too, so ``isinstance`` holds whoever imported them; and no module forgets its own."""
    assert import_module("jaeger_client") is tracekit.jaeger_client
    assert import_module("jaeger_client.config").Config is Config
    assert import_module("flask_opentracing.tracing").FlaskTracer is tracekit.flask.FlaskTracing
    assert import_module("grpc_opentracing") is tracekit.grpc.opentracing
    figures = import_module("jaeger_client.metrics.prometheus")
    assert figures.__spec__.name == figures.__name__ == "tracekit.jaeger_client.metrics.prometheus"


@pytest.mark.usefixtures("aliased")
def test_a_module_we_lack_says_what_to_do():
    """Rather than a copy of the retired one, half of it."""
    with pytest.raises(
        ModuleNotFoundError, match=r"nothing that stands in for jaeger_client\.TUDP"
    ):
        __import__("jaeger_client.TUDPTransport")


def test_it_is_undone_for_later_imports():
    """A second call is the first; what stood there before stands there again."""
    before = {name: module for name, module in sys.modules.items() if "jaeger_client" in name}
    undo = alias()
    assert alias() is undo
    assert __import__("jaeger_client") is tracekit.jaeger_client
    undo()
    undo()
    after = {name: module for name, module in sys.modules.items() if "jaeger_client" in name}
    assert after == before


def test_an_import_that_came_before_is_named():
    """Once, in the log; later imports are ours all the same."""
    code = """
import logging, sys, types
logging.basicConfig()
sys.modules["jaeger_client"] = types.ModuleType("jaeger_client")
import tracekit.jaeger_client
undo = tracekit.jaeger_client.alias()
import jaeger_client
assert jaeger_client is tracekit.jaeger_client
undo()
assert sys.modules["jaeger_client"] is not tracekit.jaeger_client
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("jaeger_client was imported before alias()") == 1


@pytest.mark.usefixtures("aliased")
def test_grpcio_opentracings_example_runs():
    """A span that is started and not active, a server that is there, a decorator."""
    old, grpcext = map(import_module, ("grpc_opentracing", "grpc_opentracing.grpcext"))

    reporter = InMemoryReporter()
    tracer = Tracer("orders", reporter, ConstSampler(True))

    class Fixed(old.ActiveSpanSource):
        active_span = None

        def get_active_span(self):
            return self.active_span

    heard, shown = [], []

    class Decorator(old.SpanDecorator):
        def __call__(self, span, rpc_info):
            heard.append(rpc_info)
            span.set_tag("decorated", rpc_info.full_method)

    def place(request, context):
        if request == b"nothing":
            context.abort(grpc.StatusCode.INTERNAL, "empty")
        shown.append(context.get_active_span())
        return b"placed " + request

    handler = grpc.unary_unary_rpc_method_handler(place)
    server = grpc.server(ThreadPoolExecutor(2))
    server = grpcext.intercept_server(server, old.open_tracing_server_interceptor(tracer))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("shop.Orders", {"Place": handler}),)
    )
    server.add_registered_method_handlers("shop.Orders", {"Place": handler})
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    source = Fixed()
    channel = grpcext.intercept_channel(
        grpc.insecure_channel(f"127.0.0.1:{port}"),
        old.open_tracing_client_interceptor(
            tracer, active_span_source=source, span_decorator=Decorator()
        ),
    )
    with channel:
        call = channel.unary_unary("/shop.Orders/Place")
        source.active_span = tracer.start_span("checkout")
        assert call(b"apples", timeout=10) == b"placed apples"
        with pytest.raises(grpc.RpcError):
            call(b"nothing", timeout=10)
        source.active_span.finish()
    server.stop(None).wait(10)
    assert not server.wait_for_termination(10)  # gRPC: False is "it has ended"

    names = {span.span_id: span.operation_name for span in reporter.get_spans()}
    kinds = {span.operation_name for span in reporter.get_spans()}
    assert kinds == {"checkout", "shop.Orders/Place"}
    calls = [span for span in reporter.get_spans() if span.operation_name != "checkout"]
    clients = [span for span in calls if span.is_rpc_client()]
    assert [names[span.parent_id] for span in clients] == ["checkout", "checkout"]
    servers = [span for span in calls if not span.is_rpc_client()]
    assert {span.parent_id for span in servers} == {span.span_id for span in clients}
    (first,) = shown
    assert first.span_id == servers[0].span_id
    assert [info.full_method for info in heard] == ["/shop.Orders/Place"] * 2
    assert (heard[0].request, heard[0].response, heard[0].error) == (
        *(b"apples", b"placed apples"),
        None,
    )
    assert heard[1].error is grpc.StatusCode.INTERNAL
    tags = [tag for span in clients for tag in span.tags if tag.key == "decorated"]
    assert [tag.vStr for tag in tags] == ["/shop.Orders/Place"] * 2


def test_grpcext_interceptors_are_refused():
    """With what to derive from."""

    class Old:
        def intercept_unary(self, request, context, info, handler):
            return handler(request, context)

    with pytest.raises(TypeError, match=r"Old was written for grpcext.*grpc\.ServerInterceptor"):
        tracekit.grpc.opentracing.grpcext.intercept_server(None, Old())
