"""OpenTelemetry's meters show the same figures, and those that its conventions name."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import flask
import grpc
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Sum

import tracekit.flask
import tracekit.grpc
import tracekit.testing
from tracekit import metrics
from tracekit._calls.metrics import Distribution
from tracekit.transport import SendResult


class Meters:
    """A meter provider, and what is collected from it by name and attributes."""

    def __init__(self):
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)

    def collect(self):
        data = self.reader.get_metrics_data()
        return {
            metric.name: metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def points(self, name):
        return {
            frozenset(point.attributes.items()): point
            for point in self.collect()[name].data.data_points
        }

    def values(self, name, without=()):
        return {
            tuple(v for k, v in point.attributes.items() if not k.startswith(without)): point.value
            for point in self.points(name).values()
        }


@pytest.fixture
def meters():
    meters = Meters()
    yield meters
    meters.provider.shutdown()


@pytest.fixture
def tracing(meters):
    handle = tracekit.testing.tracing(rpc_metrics=True)
    handle.publish_metrics(meters.provider)
    yield handle
    handle.shutdown()


def test_every_figure_has_its_name(tracing, meters):
    """What a scrape shows, a metric reader collects: names, attributes, values."""
    tracer = tracing.tracer("test")
    with tracer.start_as_current_span("a"), tracer.start_as_current_span("b"):
        tracing.propagator.extract({"uber-trace-id": "nonsense"})
    tracing.flush()
    collected = meters.collect()
    for family in tracing.metrics():
        row = family.instrument
        points = {k: v for k, v in family.points.items() if not isinstance(v, Distribution)}
        if not points or row.unit == "s":  # nothing yet, or it has changed meanwhile
            continue
        found = collected[row.name]
        assert (found.unit, found.description) == (row.unit, row.help)
        assert {
            tuple(point.attributes[label] for label in row.labels): point.value
            for point in found.data.data_points
        } == points
        if row.kind == "counter":
            assert isinstance(found.data, Sum)
            assert found.data.is_monotonic


def test_self_observability_is_conventional():
    """Names, units and instruments are those of the installed semantic conventions."""
    conventions = pytest.importorskip(
        "opentelemetry.semconv._incubating.metrics.otel_metrics",
        reason="the installed conventions know no metrics of the SDK",
    )
    assert {row.name for row in metrics.SDK} | {"otel.sdk.exporter.operation.duration"} == {
        getattr(conventions, name)
        for name in (
            "OTEL_SDK_SPAN_STARTED",
            "OTEL_SDK_SPAN_LIVE",
            "OTEL_SDK_PROCESSOR_SPAN_QUEUE_SIZE",
            "OTEL_SDK_PROCESSOR_SPAN_QUEUE_CAPACITY",
            "OTEL_SDK_PROCESSOR_SPAN_PROCESSED",
            "OTEL_SDK_EXPORTER_SPAN_INFLIGHT",
            "OTEL_SDK_EXPORTER_SPAN_EXPORTED",
            "OTEL_SDK_EXPORTER_OPERATION_DURATION",
        )
    }


def test_starts_are_told_apart(meters):
    """No parent, a local one, a remote one; sampled or dropped."""
    for sampled in (0, 1):
        handle = tracekit.testing.tracing(sampler_param=sampled)
        meters = Meters()
        handle.publish_metrics(meters.provider)
        tracer = handle.tracer("test")
        remote = handle.propagator.extract({"uber-trace-id": f"a:b:0:{sampled}"})
        for _ in range(2):
            with tracer.start_as_current_span("root"):
                for _ in range(3):
                    tracer.start_span("child").end()
        tracer.start_span("joined", remote).end()
        chosen, other = ("RECORD_AND_SAMPLE", "DROP")[:: 1 if sampled else -1]
        assert meters.values("otel.sdk.span.started") == {
            ("none", chosen): 2,
            ("local", chosen): 6,
            ("remote", chosen): 1,
            **{(origin, other): 0 for origin in ("none", "local", "remote")},
        }
        handle.shutdown()


def test_every_ended_span_is_accounted_for(meters):
    """Processed is what was taken or lost before; exported is what was taken, by how it went."""
    answers = iter([SendResult.sent(rejected=1), SendResult.failed("no"), SendResult.sent()])
    transport = tracekit.testing.MemoryTransport(lambda payload: next(answers))
    handle = tracekit.testing.tracing(transport, flush_s=60)
    handle.publish_metrics(meters.provider)
    tracer = handle.tracer("test")
    for _ in range(2):
        for _ in range(3):
            tracer.start_span("x").end()
        handle.flush()
    held = [tracer.start_span("late") for _ in range(2)]
    tracer.start_span("queued").end()
    component = ("otel.component", "server.")
    assert meters.values("otel.sdk.span.live") == {("RECORD_AND_SAMPLE",): 2}
    assert meters.values("otel.sdk.processor.span.queue.size", component) == {(): 1}
    assert meters.values("otel.sdk.processor.span.queue.capacity", component) == {(): 10_000}
    assert meters.values("otel.sdk.exporter.span.inflight", component) == {(): 0}
    handle.flush()
    handle.shutdown()
    for span in held:
        span.end()
    processed = meters.values("otel.sdk.processor.span.processed", component)
    assert processed == {(): 7, ("queue_full",): 0, ("already_shutdown",): 2}
    assert meters.values("otel.sdk.exporter.span.exported", component) == {
        (): 3,
        ("rejected",): 1,
        ("send_failed",): 3,
        ("too_large",): 0,
        ("encode_failed",): 0,
        ("shutdown",): 0,
        ("no_exporter",): 0,
    }
    sends = meters.points("otel.sdk.exporter.operation.duration").values()
    assert sorted((p.attributes.get("error.type", ""), p.count) for p in sends) == [
        ("", 2),
        ("failed", 1),
    ]
    (kind,) = {point.attributes["otel.component.type"] for point in sends}
    assert kind == "tracekit.testing.MemoryTransport"


def test_the_receiver_is_an_attribute(meters):
    """An operator sees which collector is behind a figure; credentials are not in it."""
    handle = tracekit.init(
        environ={}, set_global=False, transport="http", endpoint="http://u:p@collector:14268/x"
    )
    handle.publish_metrics(meters.provider)
    (point,) = meters.points("otel.sdk.exporter.span.inflight").values()
    assert point.attributes["server.address"] == "collector"
    assert point.attributes["server.port"] == 14268
    assert not any("u:p" in str(value) for value in point.attributes.values())
    handle.shutdown()


def test_publishing_twice_observes_once(tracing, meters):
    """The same figures on the same meters are not doubled."""
    tracing.publish_metrics(meters.provider)
    tracing.tracer("test").start_span("x").end()
    assert meters.values("jaeger.tracer.started_spans") == {("y",): 1, ("n",): 0}


def test_http_durations_are_conventional(tracing, meters):
    """``http.server.request.duration`` by method, route, status and error, with its trace."""
    app = flask.Flask("shop")
    tracekit.flask.init_app(app, tracing)

    @app.get("/users/<int:number>")
    def users(number):
        if number:
            return "x"
        raise ValueError(number)

    client = app.test_client()
    client.get("/users/7").close()
    client.get("/users/0").close()
    client.get("/nowhere").close()
    points = meters.points("http.server.request.duration")
    common = {("http.request.method", "GET"), ("url.scheme", "http")}
    route = ("http.route", "/users/<int:number>")
    status = "http.response.status_code"
    assert set(points) == {
        frozenset({*common, route, (status, 200)}),
        frozenset({*common, route, (status, 500), ("error.type", "ValueError")}),
        frozenset({*common, (status, 404)}),
    }
    spans = {span.context.span_id for span in tracing.sink.take_many(3)}
    assert {each.span_id for point in points.values() for each in point.exemplars} == spans
    bounds = next(iter(points.values())).explicit_bounds
    assert bounds[:3] == (0.005, 0.01, 0.025)


def test_rpc_durations_are_conventional(tracing, meters):
    """``rpc.server.call.duration`` by method and final code."""

    def answer(request, context):
        if request == b"bad":
            context.abort(grpc.StatusCode.INTERNAL, "bad")
        return request

    handlers = {"Echo": grpc.unary_unary_rpc_method_handler(answer)}
    server = grpc.server(
        ThreadPoolExecutor(2),
        (grpc.method_handlers_generic_handler("shop.Orders", handlers),),
        [tracekit.grpc.server_interceptor(tracing)],
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        echo = channel.unary_unary("/shop.Orders/Echo")
        assert echo(b"x", timeout=5) == b"x"
        with pytest.raises(grpc.RpcError):
            echo(b"bad", timeout=5)
    spans = tracing.sink.take_many(2)
    server.stop(0).wait(5)
    points = meters.points("rpc.server.call.duration")
    common = {("rpc.system.name", "grpc"), ("rpc.method", "shop.Orders/Echo")}
    code = "rpc.response.status_code"
    assert set(points) == {
        frozenset({*common, (code, "OK")}),
        frozenset({*common, (code, "INTERNAL"), ("error.type", "INTERNAL")}),
    }
    measured = sorted(point.sum for point in points.values())
    lasted = sorted((span.end_time - span.start_time) / 1e9 for span in spans)
    assert measured == pytest.approx(lasted, abs=0.05)


def test_durations_of_calls_are_optional(meters):
    """Durations of calls are part of what ``rpc_metrics`` asks for."""
    handle = tracekit.testing.tracing()
    handle.publish_metrics(meters.provider)
    assert handle.call_observer is None
    assert "jaeger.rpc.requests" not in meters.collect()
    handle.shutdown()
