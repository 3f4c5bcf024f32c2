"""Joining what arrived: the short way gives what starting a span in its context gives."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage, trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision, SamplingResult
from opentelemetry.trace import SpanKind

from tracekit._context import SPAN_KEY, RootHint, marks_of, with_root_hint
from tracekit._context import Decision as Upstream
from tracekit._protocols import PlainAttributes
from tracekit.propagation import Propagator
from tracekit.propagation._counters import Counters
from tracekit.propagation._extracted import enter
from tracekit.sampling import Const, ParentRule, from_type
from tracekit.tracing import DisabledTracerProvider, TracerProvider

T, S = "80f198ee56343ba864fe8b2a57d3eff7", "e457b5a2e4d86bd1"
VALUES = {
    "uber-trace-id": [f"{T}:{S}:0:{flags}" for flags in ("0", "1", "3", "8", "9")] + ["broken"],
    "uberctx-user": ["bob"],
    "jaeger-debug-id": ["look"],
    "traceparent": [f"00-{T}-{S}-{flags}" for flags in ("00", "01", "02", "03")],
    "tracestate": ["a=1,b=2", "??"],
    "b3": [f"{T}-{S}-0", f"{T}-{S}-1", f"{T}-{S}", "0", "1", "d"],
    "x-request-id": ["r1"],
}
arriving = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(texts) for name, texts in VALUES.items()}
)
propagator = Propagator(("jaeger", "w3c", "b3single"), counters=Counters(lambda: 0.0))


class RecordOnly:
    """A sampler of another's, that records what it does not sample."""

    def should_sample(self, *_, **__):
        return SamplingResult(Decision.RECORD_ONLY, {"why": "curious"})

    def get_description(self):
        return "record only"


SAMPLERS = [
    lambda: ParentRule(Const(True)),
    lambda: ParentRule(Const(False)),
    lambda: ParentRule(from_type("probabilistic", 1.0)),
    lambda: ALWAYS_ON,
    RecordOnly,
]
BASES = [
    Context(),
    baggage.set_baggage("mine", "yes", Context()),
    with_root_hint(RootHint(Upstream.DENY), Context()),
]


def provider(sampler, **options):
    return TracerProvider(sampler, None, Resource({}), traceid_128bit=True, **options)


def told(span):
    """Return what can be said of a span whose ids are its own."""
    held = span.get_span_context()
    known = held.trace_flags, dict(held.trace_state), marks_of(held), held.is_remote, type(span)
    if not span.is_recording():
        return known
    parent = span.parent
    above = parent and (tuple(parent), marks_of(parent))
    return (*known, above, span.name, span.kind, dict(span.attributes), span.resource)


@given(
    headers=arriving,
    sampler=st.sampled_from(SAMPLERS),
    base=st.sampled_from(BASES),
    found=st.sampled_from([None, {}, {"a": "b", "n": 1}, {"odd": (1, 2), "none": None}]),
)
def test_it_gives_what_begin_would_give(headers, sampler, base, found):
    """Same parent, decision, marks, state, attributes and counts, and what goes on with it."""
    short, long = provider(sampler()), provider(sampler())
    extracted = propagator.read_metadata(tuple(headers.items()))
    context = enter(extracted, base)
    given_start = None if found is None else dict(found)
    wanted = long.get_tracer("test").start_span("call", context, SpanKind.SERVER, given_start)
    span, inside = short.get_tracer("test").join(
        extracted, "call", SpanKind.SERVER, None if found is None else dict, base, subject=found
    )
    assert told(span) == told(wanted)
    if trace.get_current_span(context).get_span_context().is_valid:
        assert span.get_span_context().trace_id == wanted.get_span_context().trace_id
    assert span.get_span_context().span_id not in (0, int(S, 16))
    assert short.counts() == long.counts()
    beyond = {SPAN_KEY, "tracekit-marks"}
    assert {key: value for key, value in inside.items() if key not in beyond} == {
        key: value for key, value in context.items() if key not in beyond
    }
    assert trace.get_current_span(inside) is span
    span.end()
    wanted.end()


def test_only_kept_attributes_are_asked_for():
    """Most requests are not sampled; for those nobody describes them."""
    asked = []
    describe = lambda: asked.append(1) or {}  # noqa: E731
    for on in (False, True):
        tracer = provider(ParentRule(Const(on))).get_tracer("test")
        tracer.join((None, ()), "call", SpanKind.SERVER, describe)
        assert len(asked) == on


def test_the_dictionary_becomes_the_spans():
    """It is taken over without a copy, and what is set later comes behind it."""
    span, _ = (
        provider(ParentRule(Const(True)))
        .get_tracer("t")
        .join((None, ()), "call", SpanKind.SERVER, lambda: PlainAttributes(a=1))
    )
    span.set_attribute("b", 2)
    assert list(span.attributes.items())[-2:] == [("a", 1), ("b", 2)]


def test_limits_hold():
    """A span takes no more attributes, and no longer ones, than its provider lets it."""
    limits = SpanLimits(max_span_attributes=2, max_span_attribute_length=3)
    tracer = provider(ParentRule(Const(True)), limits=limits).get_tracer("t")
    remote = propagator.read_metadata((("uber-trace-id", f"{T}:{S}:0:1"),))
    span, _ = tracer.join(remote, "call", SpanKind.SERVER, lambda: {"a": 1, "b": "long", "c": 3})
    assert dict(span.attributes) == {"b": "lon", "c": 3}
    assert span.dropped_attributes == 1


def test_processors_see_what_the_sdk_shows():
    """A processor that reads the caller's baggage or span finds both where the SDK shows them."""
    seen = []

    class Look(SpanProcessor):
        def on_start(self, span, parent_context=None):
            above = trace.get_current_span(parent_context).get_span_context()
            seen.append((above.span_id, baggage.get_all(parent_context), dict(span.attributes)))

    made = provider(ParentRule(Const(True)))
    made.add_span_processor(Look())
    extracted = propagator.read_metadata(
        (("uber-trace-id", f"{T}:{S}:0:1"), ("uberctx-user", "bob"))
    )
    made.get_tracer("t").join(extracted, "call", SpanKind.SERVER, lambda: {"a": 1})
    assert seen == [(int(S, 16), {"user": "bob"}, {"a": 1})]


@pytest.mark.parametrize("headers", [{}, {"uber-trace-id": f"{T}:{S}:0:1", "uberctx-user": "bob"}])
def test_a_disabled_tracer_passes_on(headers):
    """Without tracing the ids and the baggage go on as they came."""
    extracted = propagator.read_metadata(tuple(headers.items()))
    span, inside = DisabledTracerProvider().get_tracer("t").join(extracted, "call", SpanKind.SERVER)
    assert not span.is_recording()
    context = enter(extracted, Context())
    assert span.get_span_context() == trace.get_current_span(context).get_span_context()
    assert baggage.get_all(inside) == baggage.get_all(context)


@pytest.mark.parametrize(
    "header",
    [
        ("uber-trace-id", f"{T}:{S}:0:1"),
        ("traceparent", f"00-{T}-{S}-01"),
        ("traceparent", f"00-{T}-{S}-03"),
        ("b3", f"{T}-{S}-1"),
        ("uber-trace-id", f"{T}:{S}:0:0"),
    ],
)
def test_a_decided_trace_takes_the_short_way(header):
    """Of whatever format: without a context that nobody looks at, nor the tracer's other road."""
    tracer = provider(ParentRule(Const(True))).get_tracer("x")
    extracted = propagator.read_metadata((header,))
    called = []

    def profile(frame, event, _):
        if event == "call":
            called.append(frame.f_code.co_name)

    sys.setprofile(profile)
    try:
        tracer.join(extracted, "served", SpanKind.SERVER)
    finally:
        sys.setprofile(None)
    assert "start_span" not in called
