"""Our Jaeger wires under a plain OpenTelemetry SDK."""

from __future__ import annotations

import base64
import contextlib
import http.server
import inspect
import os
import subprocess
import sys
import threading
import time

import pytest
from jaeger_client.thrift_gen.jaeger import ttypes as jaeger
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExportResult,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanContext, TraceFlags
from ports import free_port
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.transport.TTransport import TMemoryBuffer

from tracekit.exporter import JaegerExporter
from tracekit.testing import FakeAgent

SOON = 20.0
SUCCESS, FAILURE = SpanExportResult.SUCCESS, SpanExportResult.FAILURE


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("JAEGER_", "OTEL_", "TRACEKIT_")):
            monkeypatch.delenv(name)


@pytest.fixture
def agent():
    with FakeAgent() as running:
        yield running


@contextlib.contextmanager
def exporting(agent, **fields):
    exporter = JaegerExporter("127.0.0.1", agent.port, **fields)
    try:
        yield exporter
    finally:
        exporter.shutdown()


def spans_of(service, count=1, **attributes):
    memory = InMemorySpanExporter()
    provider = TracerProvider(
        ALWAYS_ON, Resource({"service.name": service}), shutdown_on_exit=False
    )
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("scope")
    for number in range(count):
        with tracer.start_as_current_span(f"{service} {number}", attributes=attributes) as span:
            span.add_event("event", attributes)
    return memory.get_finished_spans()


class Collector:
    """Takes Thrift batches over HTTP as Jaeger's collector does."""

    def __init__(self, port=0):
        collector = self
        self.batches = []
        self.authorization = None

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.authorization = self.headers["Authorization"]
                batch = jaeger.Batch()
                batch.read(TBinaryProtocol(TMemoryBuffer(body)))
                collector.batches.append(batch)
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.send_header("Connection", "close")
                self.end_headers()

            def log_message(self, *_details):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/api/traces"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_details):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(SOON)

    @property
    def operations(self):
        return [span.operationName for batch in self.batches for span in batch.spans]


def test_the_constructor_is_the_retired_ones():
    """Names, order and defaults of the arguments are the same, so only the import changes."""
    parameters = inspect.signature(JaegerExporter).parameters
    assert [(name, each.default) for name, each in parameters.items()] == [
        ("agent_host_name", None),
        ("agent_port", None),
        ("collector_endpoint", None),
        ("username", None),
        ("password", None),
        ("max_tag_value_length", None),
        ("udp_split_oversized_batches", None),
        ("timeout", None),
    ]


def test_a_plain_sdk_reports_to_an_agent(agent):
    """Under the SDK's own batch processor every span arrives, with ids, tags and its service."""
    with exporting(agent) as exporter:
        provider = TracerProvider(
            ALWAYS_ON, Resource({"service.name": "shop", "zone": "eu"}), shutdown_on_exit=False
        )
        provider.add_span_processor(BatchSpanProcessor(exporter))
        tracer = provider.get_tracer("scope", "1.2")
        with tracer.start_as_current_span("parent") as parent:
            for number in range(1500):
                tracer.start_span("child", attributes={"n": number}).end()
        assert provider.force_flush()
        found = agent.wait(1501)
        provider.shutdown()
    assert len(found) == 1501
    assert {span.trace_id for span in found} == {parent.get_span_context().trace_id}
    assert {span.service for span in found} == {"shop"}
    assert {span.process_tags["zone"] for span in found} == {"eu"}
    assert sorted(span.tags["n"] for span in found if span.operation == "child") == list(
        range(1500)
    )


def test_each_resource_keeps_its_service(agent):
    """One call may bring spans of several providers; each batch on the wire is of one process."""
    mixed = [
        span
        for pair in zip(spans_of("shop", 20), spans_of("stock", 20), strict=True)
        for span in pair
    ]
    with exporting(agent) as exporter:
        assert exporter.export(mixed) is SUCCESS
        found = agent.wait(40)
    assert {(span.service, span.operation.split()[0]) for span in found} == {
        ("shop", "shop"),
        ("stock", "stock"),
    }


@pytest.mark.parametrize("split", [None, False, True])
def test_batches_are_split_by_the_datagram(agent, split):
    """Whatever ``udp_split_oversized_batches`` says: only a span larger than any is lost."""
    with exporting(agent, udp_split_oversized_batches=split) as exporter:
        assert exporter.export(spans_of("shop", 300, text="x" * 1000)) is SUCCESS
        assert len(agent.wait(300)) == 300
        large = spans_of("shop", 1, text="x" * 70_000)
        assert exporter.export([*large, *spans_of("stock")]) is FAILURE
        assert len(agent.wait(301)) == 301
        assert exporter.stats().dropped["too_large"] == 1


def test_texts_are_cut_to_their_limit(agent):
    """``max_tag_value_length`` bounds the texts of spans and of events, not the numbers."""
    with exporting(agent, max_tag_value_length=3) as exporter:
        assert exporter.export(spans_of("shop", text="abcdef", number=123456)) is SUCCESS
        (span,) = agent.wait(1)
    assert (span.tags["text"], span.tags["number"]) == ("abc", 123456)
    assert span.logs[0].fields["text"] == "abc"


def test_lists_and_process_tags_are_cut_too(agent):
    """As in the retired package: what Jaeger shows as text is bounded, wherever it stands."""
    memory = InMemorySpanExporter()
    resource = Resource({"service.name": "a long name", "zone": "eu-west-1", "ports": [1, 2, 3]})
    provider = TracerProvider(ALWAYS_ON, resource, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    provider.get_tracer("t").start_span("span", attributes={"list": ["abc", "def"]}).end()
    with exporting(agent, max_tag_value_length=4) as exporter:
        assert exporter.export(memory.get_finished_spans()) is SUCCESS
        (span,) = agent.wait(1)
    assert span.tags["list"] == '["ab'
    assert (span.process_tags["zone"], span.process_tags["ports"]) == ("eu-w", "[1,2")
    assert span.service == "a long name"


def test_whatever_is_exported_is_sent(agent):
    """Whether a span is sampled is decided by whoever exports it (a tail sampler, a test)."""
    context = SpanContext(0xA, 0xB, is_remote=False, trace_flags=TraceFlags.DEFAULT)
    span = ReadableSpan(
        "unsampled", context, resource=Resource({"service.name": "shop"}), start_time=1, end_time=2
    )
    with exporting(agent) as exporter:
        assert exporter.export([span, span]) is SUCCESS
        assert [each.operation for each in agent.wait(2)] == ["unsampled"] * 2
        stats = exporter.stats()
    assert (stats.started, stats.open, stats.sent, stats.unsampled) == (2, 0, 2, 0)


def test_a_collector_beats_the_agent(agent):
    """Thrift over HTTP with basic authentication, as in the retired package."""
    with Collector() as collector:
        exporter = JaegerExporter(
            "127.0.0.1", agent.port, collector.url, username="user", password="pass"
        )
        assert exporter.export(spans_of("shop", 30)) is SUCCESS
        exporter.shutdown()
    token = base64.b64encode(b"user:pass").decode()
    assert collector.authorization == f"Basic {token}"
    assert sorted(collector.operations) == sorted(f"shop {number}" for number in range(30))
    assert agent.spans() == []


def test_unsent_spans_wait_for_the_next_call():
    """``timeout`` bounds an export; the spans go out once the collector is there."""
    port = free_port()
    exporter = JaegerExporter(collector_endpoint=f"http://127.0.0.1:{port}/api/traces", timeout=0.2)
    began = time.monotonic()
    assert exporter.export(spans_of("shop", 5)) is FAILURE
    assert time.monotonic() - began < SOON / 2
    assert (exporter.stats().sent, exporter.stats().dropped["send_failed"]) == (0, 0)
    with Collector(port) as collector:
        assert exporter.force_flush(int(SOON * 1000))
        assert exporter.export(spans_of("stock")) is SUCCESS
        assert len(collector.operations) == 6
        assert exporter.stats().sent == 6
    exporter.shutdown()
    exporter.shutdown()


def test_after_a_shutdown_spans_are_refused(agent):
    """A late span costs no exception."""
    with exporting(agent) as exporter:
        exporter.shutdown()
        assert exporter.export(spans_of("shop")) is FAILURE
        assert exporter.stats().dropped["shutdown"] == 1


def test_threads_may_export_at_once(agent):
    """Two processors may share one exporter; every span arrives once."""
    batches = [spans_of(f"service{number}", 100) for number in range(4)]
    with exporting(agent) as exporter:
        threads = [threading.Thread(target=exporter.export, args=(batch,)) for batch in batches]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SOON)
        assert exporter.force_flush()
        assert len({span.span_id for span in agent.wait(400)}) == 400
        assert exporter.stats().sent == 400


def test_defaults_come_from_the_environment(agent, monkeypatch):
    """The variables of Jaeger's clients say where the agent is; an argument wins over them."""
    monkeypatch.setenv("JAEGER_AGENT_HOST", "127.0.0.1")
    monkeypatch.setenv("JAEGER_AGENT_PORT", str(agent.port))
    # Metrics may go another way: an exporter of this name is for Jaeger's wires.
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    exporter = JaegerExporter()
    assert exporter.export(spans_of("shop")) is SUCCESS
    agent.wait(1)
    exporter.shutdown()
    monkeypatch.setenv("JAEGER_AGENT_PORT", "9")
    with exporting(agent) as exporter:
        assert exporter.export(spans_of("shop")) is SUCCESS
        agent.wait(2)


def test_the_retired_variables_still_count(agent, monkeypatch):
    """A deployment that told that package where the agent is need not change at once."""
    monkeypatch.setenv("OTEL_EXPORTER_JAEGER_AGENT_HOST", "127.0.0.1")
    monkeypatch.setenv("OTEL_EXPORTER_JAEGER_AGENT_PORT", str(agent.port))
    exporter = JaegerExporter()
    assert exporter.export(spans_of("shop")) is SUCCESS
    agent.wait(1)
    exporter.shutdown()


def test_otlp_variables_alone_do_not_move_it(agent, monkeypatch, caplog):
    """It keeps to the agent, and a value that cannot be used costs a warning, not the service."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("JAEGER_REPORTER_MAX_QUEUE_SIZE", "many")
    exporter = JaegerExporter(agent_port=agent.port, agent_host_name="127.0.0.1")
    assert exporter.export(spans_of("shop")) is SUCCESS
    agent.wait(1)
    exporter.shutdown()
    assert "JAEGER_REPORTER_MAX_QUEUE_SIZE" in caplog.text


@pytest.mark.integration
def test_an_sdk_finds_it_by_name(agent):
    """``OTEL_TRACES_EXPORTER=tracekit`` is all that a program needs."""
    program = (
        "from opentelemetry import trace\n"
        "from opentelemetry.sdk._configuration import _OTelSDKConfigurator\n"
        "_OTelSDKConfigurator().configure()\n"
        "trace.get_tracer('t').start_span('hello').end()\n"
    )
    environ = agent.environ | {
        "PATH": os.environ["PATH"],
        "OTEL_SERVICE_NAME": "shop",
        "OTEL_TRACES_EXPORTER": "tracekit",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environ,
        timeout=60,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (span,) = agent.wait(1)
    assert (span.service, span.operation) == ("shop", "hello")
    assert "tracekit" not in done.stderr  # not a word of complaint
