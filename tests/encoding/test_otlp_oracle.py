"""Our OTLP bytes, read by OpenTelemetry's protobuf types, against OpenTelemetry's own encoder."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

import tracekit.testing
from tracekit._protocols import Loss
from tracekit.encoding import OtlpEncoder

SCOPES = [
    None,
    InstrumentationScope("scope", "1.2"),
    InstrumentationScope("scope", "1.2", "https://schema.example/1"),
    InstrumentationScope("other", None, None, {"zone": "eu", "n": 1}),
]


def sealed(encoder, spans, resource=None):
    process = encoder.process(spans[0].resource if resource is None else resource)
    return encoder.seal(process, [encoder.frame(span) for span in spans], 1, Loss())


def received(spans, encoder=None):
    return ExportTraceServiceRequest.FromString(sealed(encoder or OtlpEncoder(), spans).body)


def only_span(request):
    return request.resource_spans[0].scope_spans[0].spans[0]


def finished(**fields):
    context = SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(1))
    return ReadableSpan(
        **{
            "name": "x",
            "context": context,
            "resource": Resource({}),
            "start_time": 1,
            "end_time": 2,
            **fields,
        }
    )


def is_told(value):
    """Say whether this version of OpenTelemetry's encoder can tell such a value."""
    return len(only_span(encode_spans([finished(attributes={"k": value})])).attributes) == 1


def is_scope_told(scope):
    """Say whether this version tells all of a scope: the oldest lose schema and attributes."""
    (group,) = encode_spans([finished(instrumentation_scope=scope)]).resource_spans[0].scope_spans
    return scope is None or (
        group.schema_url == (scope.schema_url or "")
        and len(group.scope.attributes) == len(scope.attributes or ())
    )


TOLD_SCOPES = [scope for scope in SCOPES if is_scope_told(scope)]

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10)
scalars = st.one_of(
    text,
    st.text("ab", min_size=60, max_size=200),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-2, 2),
    st.floats(allow_nan=False, allow_infinity=False),  # the others: see test_readers.py
    st.binary(max_size=20),
)
values = st.recursive(
    scalars | st.none() if is_told(None) else scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)
attributes = st.dictionaries(keys, values, max_size=6)
times = st.integers(0, 2**64 - 1)
states = st.none() | st.just(TraceState([("vendor", "x"), ("b", "y=z")]))


def contexts(states=st.none()):  # noqa: B008 - a strategy is a value
    return st.builds(
        SpanContext,
        st.integers(1, 2**128 - 1),
        st.integers(1, 2**64 - 1),
        st.booleans(),
        st.sampled_from([TraceFlags(0), TraceFlags(1), TraceFlags(3)]),
        states,
    )


class Dropping(BoundedAttributes):
    """The SDK's attributes, but they keep what they are given."""

    def __init__(self, given, dropped):
        super().__init__()
        self._dict = dict(given)
        self.dropped = dropped


bags = st.builds(Dropping, attributes, st.sampled_from([0, 0, 3, 2**31]))


@st.composite
def spans(draw):
    """Draw a span that the SDK can read, every field of it."""
    events = BoundedList(3)
    for name in draw(st.lists(text, max_size=5)):
        events.append(Event(name, draw(bags), draw(times)))
    links = BoundedList(2)
    for context in draw(st.lists(contexts(), max_size=3)):
        links.append(Link(context, draw(bags)))
    start = draw(times)
    return ReadableSpan(
        name=draw(text),
        context=draw(contexts(states)),
        parent=draw(st.none() | contexts()),
        resource=Resource({}),
        attributes=draw(bags),
        events=events,
        links=links,
        kind=draw(st.sampled_from(SpanKind)),
        status=draw(
            st.sampled_from([Status(), Status(StatusCode.OK), Status(StatusCode.ERROR, "why ä")])
        ),
        start_time=start,
        end_time=draw(st.integers(start, 2**64 - 1)),
        instrumentation_scope=draw(st.sampled_from(TOLD_SCOPES)),
    )


ENCODER = OtlpEncoder()  # one for all examples: what it remembers must never show


@settings(max_examples=120)
@given(st.lists(spans(), min_size=1, max_size=4))
def test_spans_mean_what_opentelemetrys_mean(drawn):
    """Every field of every message is equal, and ours has no other fields."""
    assert received(drawn, ENCODER) == encode_spans(drawn)


steps = st.one_of(
    st.tuples(st.just("attribute"), keys, scalars | st.lists(text, max_size=3)),
    st.tuples(st.just("event"), text, st.dictionaries(keys, scalars, max_size=3)),
    st.tuples(st.just("link"), contexts(), st.dictionaries(keys, scalars, max_size=3)),
    st.tuples(st.just("status"), st.sampled_from([StatusCode.OK, StatusCode.ERROR]), text),
)


@pytest.fixture(scope="module")
def tracing():
    handle = tracekit.testing.tracing(max_attributes=3, max_events=2, max_links=2)
    yield handle
    handle.shutdown()


parents = st.none() | st.just("local") | contexts(states)


@settings(max_examples=100)
@given(parents, st.sampled_from(SpanKind), st.lists(steps, max_size=12))
def test_own_spans_mean_what_sdk_spans_mean(tracing, parent, kind, done):
    """What our tracer tells at once equals what is read through the SDK's properties."""
    tracer = tracing.tracer("scope")
    context = None
    if parent == "local":
        context = set_span_in_context(tracer.start_span("parent"))
    elif parent is not None:
        sampled = SpanContext(*parent[:3], TraceFlags(1), parent.trace_state)
        context = set_span_in_context(NonRecordingSpan(sampled))
    span = tracer.start_span("name", context, kind)
    for what, first, second in done:
        if what == "attribute":
            span.set_attribute(first, second)
        elif what == "event":
            span.add_event(first, second)
        elif what == "link":
            span.add_link(first, second)
        else:
            span.set_status(first, second if first is StatusCode.ERROR else None)
    span.end()
    assert received([span], ENCODER) == encode_spans([span])


def test_the_bytes_are_those_of_protobuf():
    """Fields stand in the order of their numbers, so a plain request is identical to the byte."""
    tracer = sdk.TracerProvider(shutdown_on_exit=False).get_tracer("scope", "1")
    spans = []
    for number in range(20):
        with tracer.start_as_current_span("root", kind=SpanKind.SERVER) as span:
            span.set_attributes({"n": number, "text": "ä", "flag": True, "ratio": 0.5})
            span.add_event("event", {"key": "value"})
        spans.append(span)
    assert sealed(OtlpEncoder(), spans).body == encode_spans(spans).SerializeToString()


def test_spans_of_one_scope_stand_together():
    """Frames are grouped by scope and schema; each scope is told once, spans keep their order."""
    spans = [
        finished(name=str(number), instrumentation_scope=SCOPES[number % len(SCOPES)])
        for number in range(20)
    ]
    groups = received(spans).resource_spans[0].scope_spans
    assert [[span.name for span in group.spans] for group in groups] == [
        [str(number) for number in range(first, 20, 4)] for first in range(4)
    ]


@settings(max_examples=50)
@given(st.lists(spans(), min_size=1, max_size=4), attributes)
def test_a_payload_is_as_large_as_announced(drawn, tags):
    """The overhead is enough for any payload, and off by a few bytes a scope at most."""
    encoder = OtlpEncoder()
    process = encoder.process(Resource(tags, "https://schema.example"))
    frames = [encoder.frame(span) for span in drawn]
    scopes = {frame.scope for frame in frames}
    announced = encoder.overhead_bytes(process, len(frames), scopes, 1, Loss()) + sum(
        len(frame.data) for frame in frames
    )
    assert 0 <= announced - len(encoder.seal(process, frames, 1, Loss()).body) <= 6 * 5


def test_a_links_trace_state_is_kept():
    """OpenTelemetry's encoder leaves the trace state of links out; ours tells it."""
    context = SpanContext(1, 2, is_remote=True, trace_state=TraceState([("a", "b")]))
    (link,) = only_span(received([finished(links=[Link(context)])])).links
    assert (link.trace_state, link.flags) == ("a=b", 0x300)


def test_integers_beyond_64_bits_are_texts():
    """As OpenTelemetry's attribute mapping demands; its encoder drops such attributes."""
    span = finished(attributes={"big": 2**70, "low": -(2**63) - 1, "in": [2**63]})
    found = {item.key: item.value for item in only_span(received([span])).attributes}
    assert found["big"].string_value == str(2**70)
    assert found["low"].string_value == str(-(2**63) - 1)
    assert found["in"].array_value.values[0].string_value == str(2**63)


def test_lone_surrogates_cost_no_span():
    """A lone surrogate becomes a question mark, wherever it stands."""
    event = Event("e\ud800", {"k\ud800": "v\ud800"}, 1)
    span = only_span(received([finished(name="n\ud800", events=[event])]))
    assert (span.name, span.events[0].name) == ("n?", "e?")
    assert span.events[0].attributes[0].value.string_value == "v?"


def test_values_of_equal_numbers_stay_apart():
    """1, True and 1.0 under one key keep their types, also when seen before."""
    encoder = OtlpEncoder()
    for _ in range(2):
        for value, field in ((1, "int_value"), (True, "bool_value"), (1.0, "double_value")):
            span = only_span(received([finished(attributes={"k": value})], encoder))
            assert span.attributes[0].value.WhichOneof("value") == field


def test_names_beyond_the_memory_are_right():
    """A service that puts ids into names and values is slower, never wrong."""
    encoder = OtlpEncoder()
    spans = [finished(name=f"order {n}", attributes={"id": f"{n}"}) for n in range(10_000)]
    found = received(spans, encoder).resource_spans[0].scope_spans[0].spans
    assert [span.name for span in found] == [span.name for span in spans]
    assert [span.attributes[0].value.string_value for span in found] == [
        str(number) for number in range(10_000)
    ]


@pytest.mark.parametrize(
    ("fields", "error"),
    [({"end_time": None}, ValueError), ({"start_time": 1.5}, struct.error)],
    ids=["not ended", "no integer"],
)
def test_a_span_that_cannot_be_told_raises(fields, error):
    """The pipeline counts it and goes on with the others."""
    with pytest.raises(error):
        OtlpEncoder().frame(finished(**fields))
