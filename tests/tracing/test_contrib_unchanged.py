"""OpenTelemetry's own instrumentations and exporters, unchanged, on tracekit's provider."""

import asyncio
import io
import itertools
import json
import logging
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, HTTPServer

import grpc
import httpx
import pytest
import requests
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.zipkin.json import ZipkinExporter
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware as AsgiMiddleware
from opentelemetry.instrumentation.grpc import client_interceptor, server_interceptor
from opentelemetry.instrumentation.grpc.grpcext import intercept_channel
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.logging import LoggingInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware as WsgiMiddleware
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SimpleSpanProcessor,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tracekit.sampling import ParentRule
from tracekit.tracing import TracerProvider

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:opentelemetry")


@pytest.fixture(autouse=True)
def w3c_headers():
    """Instrumentations use the global propagator, which another test may have set."""
    before = propagate.get_global_textmap()
    propagate.set_global_textmap(TraceContextTextMapPropagator())
    yield
    propagate.set_global_textmap(before)


class Counting(IdGenerator):
    """Ids that two programs share if they make the same spans in the same order."""

    def __init__(self):
        self._next = itertools.count(1).__next__

    def generate_span_id(self):
        return self._next()

    def generate_trace_id(self):
        return self._next() << 64 | 1


def providers(**ids):
    """Return tracekit's provider and the SDK's, alike in all but the name."""
    resource = Resource({"service.name": "contrib"})
    id_generators = [{"id_generator": Counting()} if ids else {} for _ in range(2)]
    return (
        TracerProvider(ParentRule(ALWAYS_ON), None, resource, **id_generators[0]),
        sdk.TracerProvider(
            ParentBased(ALWAYS_ON), resource, shutdown_on_exit=False, **id_generators[1]
        ),
    )


def plain(span):
    """Return what an instrumentation put into a span, without ids, times and ports."""
    text = json.loads(span.to_json())
    for volatile in ("context", "parent_id", "start_time", "end_time"):
        del text[volatile]
    for event in text["events"]:
        event["timestamp"] = "now"
    return text | {
        "scope": (span.instrumentation_scope.name, span.instrumentation_scope.schema_url),
        "remote": span.parent is not None and span.parent.is_remote,
        "flags": int(span.context.trace_flags),
        "root": span.parent is None,
    }


def same_spans(program, count):
    """Run ``program`` on both providers and compare what it leaves behind."""
    seen = []
    for provider in providers():
        memory = InMemorySpanExporter()
        provider.add_span_processor(SimpleSpanProcessor(memory))
        answer = program(provider)
        spans = [plain(span) for span in memory.get_finished_spans()]
        assert len(spans) == count
        seen.append((answer, sorted(spans, key=lambda span: span["name"] + span["kind"])))
    assert seen[1] == seen[0]


@pytest.fixture(scope="module")
def server():
    """Run a web server that remembers what was posted to it."""

    class Answer(BaseHTTPRequestHandler):
        posted = []  # noqa: RUF012 - one server, one list

        def do_GET(self):
            self.send_response(404 if "missing" in self.path else 200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def do_POST(self):
            self.posted.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.do_GET()

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        running.posted = Answer.posted
        running.url = f"http://127.0.0.1:{running.server_port}"
        yield running
        running.shutdown()
        thread.join(5)


def test_requests_instrumentation(server):
    """Client spans of ``requests``, good and bad answers alike, equal those made on the SDK."""

    def program(provider):
        instrumentor = RequestsInstrumentor()
        instrumentor.instrument(tracer_provider=provider)
        try:
            return [requests.get(server.url + path, timeout=5).text for path in ("/a", "/missing")]
        finally:
            instrumentor.uninstrument()

    same_spans(program, 2)


def test_httpx_instrumentation():
    """Client spans of ``httpx`` carry the traceparent that the SDK's would."""

    def program(provider):
        flags = []

        def answer(request):
            flags.append(request.headers["traceparent"][-2:])
            return httpx.Response(500)

        client = httpx.Client(transport=httpx.MockTransport(answer))
        HTTPXClientInstrumentor.instrument_client(client, tracer_provider=provider)
        client.get("http://shop.example/cart")
        client.close()
        return flags

    same_spans(program, 1)


def test_asgi_instrumentation():
    """The middleware's server, receive and send spans equal those made on the SDK."""

    async def app(scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b"no"})

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    def program(provider):
        sent = []

        async def send(message):
            sent.append(message["type"])

        scope = {
            "type": "http",
            "method": "GET",
            "path": "/cart",
            "raw_path": b"/cart",
            "query_string": b"",
            "headers": [(b"traceparent", b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01")],
            "server": ("shop.example", 80),
            "client": ("10.0.0.1", 1234),
            "scheme": "http",
            "http_version": "1.1",
        }
        middleware = AsgiMiddleware(app, tracer_provider=provider)
        asyncio.run(middleware(scope, receive, send))
        return sent

    same_spans(program, 4)


def test_wsgi_instrumentation():
    """The middleware's server span, with an unhandled error, equals the one made on the SDK."""

    def app(environ, start_response):
        raise LookupError("no cart")

    def program(provider):
        environ = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/cart",
            "SERVER_NAME": "shop.example",
            "SERVER_PORT": "80",
            "wsgi.url_scheme": "http",
            "HTTP_TRACEPARENT": "00-" + "1" * 32 + "-" + "2" * 16 + "-01",
        }
        with pytest.raises(LookupError):
            WsgiMiddleware(app, tracer_provider=provider)(environ, lambda *args: None)

    same_spans(program, 1)


def test_logging_instrumentation():
    """Log records inside a span carry its ids, service and sampling decision."""

    def program(provider):
        instrumentor = LoggingInstrumentor()
        instrumentor.instrument(tracer_provider=provider, inject_trace_context=True)
        try:
            with provider.get_tracer("x").start_as_current_span("work") as span:
                record = logging.getLogRecordFactory()("n", 20, "f", 1, "m", (), None)
                context = span.get_span_context()
                assert record.otelTraceID == trace.format_trace_id(context.trace_id)
                assert record.otelSpanID == trace.format_span_id(context.span_id)
                return record.otelTraceSampled, record.otelServiceName
        finally:
            instrumentor.uninstrument()

    same_spans(program, 1)


def test_grpc_instrumentation():
    """Client and server spans of one RPC are joined and equal those made on the SDK."""

    def program(provider):
        handler = grpc.unary_unary_rpc_method_handler(lambda request, context: request + b"!")
        generic = grpc.method_handlers_generic_handler("shop.Cart", {"Add": handler})
        serving = grpc.server(
            futures.ThreadPoolExecutor(1), interceptors=[server_interceptor(provider)]
        )
        serving.add_generic_rpc_handlers((generic,))
        port = serving.add_insecure_port("127.0.0.1:0")
        serving.start()
        try:
            with grpc.insecure_channel(f"127.0.0.1:{port}") as bare:
                channel = intercept_channel(bare, client_interceptor(provider))
                return channel.unary_unary("/shop.Cart/Add")(b"tea", timeout=5)
        finally:
            serving.stop(None).wait(5)

    same_spans_without_ports(program)


def same_spans_without_ports(program):
    """Compare as ``same_spans`` does, for spans that name an ephemeral port."""
    seen = []
    for provider in providers():
        memory = InMemorySpanExporter()
        provider.add_span_processor(SimpleSpanProcessor(memory))
        answer = program(provider)
        spans = [plain(span) for span in memory.get_finished_spans()]
        for span in spans:
            span["attributes"].pop("net.peer.port", None)
        seen.append((answer, sorted(spans, key=lambda span: span["kind"])))
        assert [span["kind"] for span in seen[-1][1]] == ["SpanKind.CLIENT", "SpanKind.SERVER"]
    assert seen[1] == seen[0]


def telling_spans(provider):
    """Make spans with everything that an exporter may want to write."""
    tracer = provider.get_tracer("shop", "1.0", "https://schema", {"scope": "attribute"})
    state = trace.TraceState([("vendor", "value")])
    remote = SpanContext(2**100, 7, is_remote=True, trace_flags=TraceFlags(1), trace_state=state)
    below = trace.set_span_in_context(trace.NonRecordingSpan(remote), Context())
    server = tracer.start_span(
        "serve",
        below,
        SpanKind.SERVER,
        {"text": "t", "yes": True, "count": 3, "share": 0.5, "many": [1, 2], "bytes": b"\x00"},
        [Link(SpanContext(5, 6, is_remote=True), {"why": "batch"})],
        start_time=1_700_000_000_000_000_000,
    )
    server.add_event("began", {"step": 1}, timestamp=1_700_000_000_000_000_500)
    child = tracer.start_span("query", trace.set_span_in_context(server, Context()), start_time=10)
    child.set_status(StatusCode.ERROR, "timeout")
    child.end(20)
    server.set_status(StatusCode.OK)
    server.end(1_700_000_001_000_000_000)
    return [child, server]


def on_both(export):
    """Return what ``export`` makes of the same spans of either provider."""
    return [export(provider) for provider in providers(counted=True)]


def test_console_exporter():
    """The console shows the same text."""

    def export(provider):
        out = io.StringIO()
        provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=out)))
        telling_spans(provider)
        return out.getvalue()

    ours, theirs = on_both(export)
    assert theirs == ours
    assert '"timeout"' in ours


def test_otlp_encoder():
    """OTLP's protobuf encoder makes the same bytes."""

    def export(provider):
        return encode_spans(telling_spans(provider)).SerializeToString()

    ours, theirs = on_both(export)
    assert theirs == ours


def test_otlp_http_exporter(server):
    """OTLP over HTTP, behind a batch processor, posts the same bytes."""

    def export(provider):
        server.posted.clear()
        exporter = OTLPSpanExporter(server.url, timeout=5)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        telling_spans(provider)
        assert provider.force_flush()
        provider.shutdown()
        return list(server.posted)

    ours, theirs = on_both(export)
    assert theirs == ours
    assert len(ours) == 1


def test_zipkin_exporter(server):
    """Zipkin's exporter posts the same JSON."""

    def export(provider):
        server.posted.clear()
        exporter = ZipkinExporter(endpoint=server.url, local_node_ipv4="127.0.0.1")
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        telling_spans(provider)
        provider.shutdown()
        return [json.loads(body) for body in server.posted]

    ours, theirs = on_both(export)
    assert theirs == ours
    assert len(ours) == 2
