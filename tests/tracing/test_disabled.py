"""A disabled provider records nothing and breaks nothing on the way through."""

import asyncio

import pytest
from opentelemetry import baggage, trace
from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import NonRecordingSpan, NoOpTracer, SpanContext, TraceFlags

from tracekit._context import DEBUG
from tracekit._context import SpanContext as Marked
from tracekit.tracing import DisabledTracerProvider

REMOTE = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1))
PASSED = NonRecordingSpan(REMOTE)


def passes_parents_on():
    context = trace.set_span_in_context(PASSED, Context())
    with NoOpTracer().start_as_current_span("x", context) as span:
        return span.get_span_context() == REMOTE


@pytest.fixture
def disabled():
    return DisabledTracerProvider().get_tracer("x")


@pytest.mark.parametrize(
    "parent",
    [None, PASSED, NonRecordingSpan(trace.INVALID_SPAN_CONTEXT), "no span"],
)
@pytest.mark.parametrize("explicit", [True, False])
def test_behaves_as_opentelemetrys_noop(disabled, parent, explicit):
    """Spans and the context inside the block are those of OpenTelemetry's no-op tracer."""
    if parent is PASSED and not passes_parents_on():
        pytest.skip("the no-op tracer of this old API forgets its parent")
    seen = []
    for tracer in (disabled, NoOpTracer()):
        context = Context() if parent is None else trace.set_span_in_context(parent, Context())
        token = otel_context.attach(Context() if explicit else context)
        try:
            given = context if explicit else None
            with tracer.start_as_current_span("x", given) as span:
                span.set_attribute("a", 1)
                inside = trace.get_current_span().get_span_context()
                seen.append((span.get_span_context(), inside, span.is_recording()))
            alone = tracer.start_span("x", given)
            alone.end()
            seen[-1] += (alone.get_span_context(), otel_context.get_current())
        finally:
            otel_context.detach(token)
    assert seen[1] == seen[0]


def test_marks_pass_through(disabled):
    """A debug trace from the wire is still one behind a disabled tracer."""
    remote = Marked.marked(1, 2, is_remote=True, marks=DEBUG)
    context = trace.set_span_in_context(NonRecordingSpan(remote), Context())
    assert disabled.start_span("x", context).get_span_context() is remote


def test_below_anothers_recording_span(disabled, tracer):
    """What a disabled tracer starts below a live span shares its ids and ends nothing."""
    with tracer.start_as_current_span("live") as live:
        with disabled.start_as_current_span("off") as off:
            assert trace.get_current_span() is off
            assert not off.is_recording()
            assert off.get_span_context() == live.get_span_context()
        assert trace.get_current_span() is live
        assert live.is_recording()


def test_decorates_functions_of_both_kinds(disabled):
    """Decorated functions and coroutines run as bare, with the caller's baggage."""

    @disabled.start_as_current_span("x")
    def plain():
        return baggage.get_baggage("k")

    @disabled.start_as_current_span("x")
    async def later():
        return plain()

    token = otel_context.attach(baggage.set_baggage("k", "v"))
    try:
        assert (plain(), asyncio.run(later())) == ("v", "v")
    finally:
        otel_context.detach(token)


def test_it_takes_what_a_live_provider_takes():
    """Processors, flush and shutdown are accepted and do nothing."""
    provider = DisabledTracerProvider(Resource({"service.name": "off"}))
    provider.add_span_processor(SpanProcessor())
    assert provider.force_flush()
    provider.shutdown()
    assert provider.resource.attributes["service.name"] == "off"
