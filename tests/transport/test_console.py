"""The transport ``console``: trees on standard output, each once, whatever order spans end in."""

from __future__ import annotations

import io

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import NonRecordingSpan, SpanContext, Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation import set_span_in_context

from tracekit.transport._console import ConsoleTreeExporter


def _provider(out):
    provider = TracerProvider(shutdown_on_exit=False)
    exporter = ConsoleTreeExporter(out)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, exporter


def test_a_tree_is_drawn_at_its_roots_end():
    """Children wait for the root of this process, which may have a parent elsewhere."""
    out = io.StringIO()
    provider, _ = _provider(out)
    tracer = provider.get_tracer("t")
    caller = NonRecordingSpan(SpanContext(7, 9, is_remote=True, trace_flags=TraceFlags(1)))
    root = tracer.start_span("root", set_span_in_context(caller))
    child = tracer.start_span("child", set_span_in_context(root))
    child.record_exception(ValueError("no car"))
    child.set_status(Status(StatusCode.ERROR, "ValueError: no car"))
    child.end()
    assert out.getvalue() == ""

    root.end()

    assert "trace 00000000000000000000000000000007  2 spans" in out.getvalue()
    assert "└─ unknown_service:python child" in out.getvalue()
    assert "✗ ValueError: no car" in out.getvalue()


def test_waiting_spans_are_drawn_at_the_end():
    """A flush draws spans whose root has not ended; then they are not drawn again."""
    out = io.StringIO()
    provider, exporter = _provider(out)
    tracer = provider.get_tracer("t")
    root = tracer.start_span("root")
    tracer.start_span("child", set_span_in_context(root)).end()

    assert exporter.force_flush()
    root.end()
    provider.shutdown()

    assert out.getvalue().count("child") == 1
    assert out.getvalue().count("root") == 1


def test_a_closed_output_is_only_a_failure():
    """The span counts as lost; the program goes on."""
    out = io.StringIO()
    provider, exporter = _provider(out)
    provider.get_tracer("t").start_span("waits", set_span_in_context(_parent())).end()
    out.close()

    assert exporter.force_flush() is False


def _parent():
    return NonRecordingSpan(SpanContext(7, 9, is_remote=False, trace_flags=TraceFlags(1)))
