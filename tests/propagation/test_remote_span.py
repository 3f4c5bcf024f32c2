"""The caller's span: OpenTelemetry's in all that can be seen, made when it is looked at."""

from __future__ import annotations

import copy
import pickle
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider

import tracekit
from tracekit._context import DEBUG, DEFER, FIREHOSE
from tracekit.propagation import Propagator, Remote, encode
from tracekit.testing import MemoryTransport

T, S, P = 0x80F198EE56343BA864FE8B2A57D3EFF7, 0xE457B5A2E4D86BD1, 0x05E3AC9A4F6E3B90
FORMATS = ("jaeger", "b3", "b3single", "w3c")


def arrived(headers, *formats):
    return trace.get_current_span(Propagator(formats or ("b3",)).extract(headers))


@pytest.mark.parametrize("name", FORMATS)
@given(
    trace_id=st.integers(1, (1 << 128) - 1),
    span_id=st.integers(1, (1 << 64) - 1),
    sampled=st.booleans(),
)
def test_it_is_a_span_with_what_arrived(name, trace_id, span_id, sampled):
    """Whoever looks sees what OpenTelemetry's own propagators would have put there."""
    span = arrived(encode(name, Remote(trace_id, span_id, sampled=sampled)), name)
    plain = trace.SpanContext(trace_id, span_id, True, trace.TraceFlags(sampled))
    assert isinstance(span, trace.NonRecordingSpan)
    assert span.get_span_context() == plain
    assert span.get_span_context().is_remote
    assert span.get_span_context() is span.get_span_context()
    assert not span.is_recording()
    assert repr(span) == repr(trace.NonRecordingSpan(plain))


@pytest.mark.parametrize(
    ("headers", "marks"),
    [
        ({"uber-trace-id": f"{T:x}:{S:x}:0:3"}, DEBUG),
        ({"uber-trace-id": f"{T:x}:{S:x}:0:9"}, FIREHOSE),
        ({"uber-trace-id": f"{T:x}:{S:x}:0:b"}, DEBUG | FIREHOSE),
        ({"b3": f"{T:x}-{S:x}"}, DEFER),
        ({"b3": f"{T:x}-{S:x}-d"}, DEBUG),
        ({"b3": f"{T:x}-{S:x}-1"}, 0),
    ],
)
def test_marks_are_there_when_asked_for(headers, marks):
    """What OpenTelemetry's flags cannot say stands on the context that is made late."""
    assert arrived(headers, "jaeger", "b3").get_span_context().marks == marks


@pytest.mark.parametrize("looked_at", [False, True])
@pytest.mark.parametrize("state", ["1", "0", "d"])
def test_copies_are_opentelemetrys_own(state, looked_at):
    """A process without tracekit could read them, and the parent's id is among what they say."""
    span = arrived({"b3": f"{T:x}-{S:x}-{state}-{P:016x}"})
    if looked_at:
        span.get_span_context()
    for again in (copy.copy(span), copy.deepcopy(span), pickle.loads(pickle.dumps(span))):
        assert type(again) is trace.NonRecordingSpan
        assert again.get_span_context() == span.get_span_context()
        assert again.parent_id == P


@pytest.mark.parametrize("name", FORMATS)
def test_it_passes_on_what_arrived(name):
    """Headers in are headers out, where nobody starts a span between."""
    propagator, headers = Propagator((name,)), encode(name, Remote(T, S, P, sampled=True))
    passed: dict[str, str] = {}
    propagator.inject(passed, propagator.extract(headers))
    assert passed == headers


def test_other_attributes_are_as_ever():
    """An object of somebody else's may ask for anything; the answer is Python's."""
    span = arrived({"b3": f"{T:x}-{S:x}-1"})
    assert not hasattr(span, "anything")
    span.anything = 1
    assert span.anything == 1


@pytest.mark.parametrize("sampled", [False, True])
def test_spans_start_below_it(sampled):
    """Ours and the SDK's have the caller as their parent, and follow its decision."""
    context = Propagator(("b3",)).extract({"b3": f"{T:x}-{S:x}-{sampled:d}"})
    tracing = tracekit.init("x", environ={}, set_global=False, transport=MemoryTransport())
    provider = TracerProvider(shutdown_on_exit=False)
    for tracer in (tracing.tracer("x"), provider.get_tracer("x")):
        span = tracer.start_span("x", context)
        assert span.get_span_context().trace_id == T
        assert span.is_recording() is sampled
        if sampled:
            assert span.parent == trace.get_current_span(context).get_span_context()
            assert span.parent.is_remote
    tracing.shutdown()
    provider.shutdown()


def test_threads_see_one_context():
    """Two that look at once may each make one; what they see is the same, and stays."""
    for _ in range(50):
        span = arrived({"b3": f"{T:x}-{S:x}-1"})
        start, seen = threading.Barrier(4), []

        def look(span=span, start=start, seen=seen):
            start.wait(10)
            seen.append(span.get_span_context())

        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert seen == [trace.SpanContext(T, S, True, trace.TraceFlags(1))] * 4
        assert span.get_span_context() is span.get_span_context()


def test_a_given_context_keeps_the_rest():
    """The span that was current before is not: the caller's is."""
    before = trace.set_span_in_context(trace.NonRecordingSpan(trace.SpanContext(1, 2, False)))
    context = Propagator(("b3",)).extract({"b3": f"{T:x}-{S:x}-1"}, Context({**before, "a": 1}))
    assert trace.get_current_span(context).get_span_context().trace_id == T
    assert context["a"] == 1
