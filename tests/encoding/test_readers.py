"""What a format could hold and its readers cannot take is told in another form, on every wire."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaeger_client.thrift_gen.jaeger import ttypes as jaeger
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, TraceFlags
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.protocol.TCompactProtocol import TCompactProtocol
from thrift.transport.TTransport import TMemoryBuffer

from tracekit._protocols import Loss
from tracekit.encoding import jaeger_binary, jaeger_compact, native_frames, otlp

NUMBERS = (math.nan, -math.nan, math.inf, -math.inf)
NAMES = {"NaN", "Infinity", "-Infinity"}
CONTEXT = SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(1))


class Numpy(float):
    """A class of its own, as numpy's numbers have."""


def span(attributes=None, *, start=10_000, end=20_000, event_at=15_000, scope=None, linked=False):
    attributes = attributes or {}
    return ReadableSpan(
        "x",
        CONTEXT,
        resource=Resource({}),
        attributes=attributes,
        events=[Event("event", attributes, event_at)],
        links=[Link(SpanContext(3, 4, is_remote=True), attributes)] if linked else [],
        start_time=start,
        end_time=end,
        instrumentation_scope=scope,
    )


def as_jaeger(make, protocol, given_span):
    told = jaeger.Span()
    told.read(protocol(TMemoryBuffer(make().frame(given_span).data)))
    return told


def as_otlp(given_span, resource=None):
    """Return the request as a reader of protobuf in Python, Java or C++ has it: nested 100 deep."""
    found = []
    for encoder in (otlp(), otlp(native=NATIVE)):
        process = encoder.process(resource or given_span.resource)
        body = encoder.seal(process, [encoder.frame(given_span)], 1, Loss()).body
        found.append(ExportTraceServiceRequest.FromString(body).resource_spans[0])
    assert found[0].SerializeToString() == found[1].SerializeToString()
    return found[0]


NATIVE = native_frames()
THRIFT = pytest.mark.parametrize(
    ("make", "protocol"),
    [
        (jaeger_compact, TCompactProtocol),
        (jaeger_binary, TBinaryProtocol),
        *([(lambda: jaeger_compact(native=NATIVE), TCompactProtocol)] if NATIVE else []),
    ],
    ids=["compact", "binary", *(["native"] if NATIVE else [])],
)


@THRIFT
@pytest.mark.parametrize("number", [*NUMBERS, Numpy("nan")])
def test_jaeger_is_sent_only_finite_numbers(make, protocol, number):
    """NaN and infinities are texts in tags, in logs and within lists, whose text stays JSON."""
    told = as_jaeger(make, protocol, span({"n": number, "list": [1.5, number]}, linked=True))
    tags = [*told.tags, *(field for log in told.logs for field in log.fields)]
    assert not [tag for tag in tags if tag.vDouble is not None]
    assert {tag.vStr for tag in tags if tag.key == "n"} < NAMES
    for tag in tags:
        if tag.key == "list":
            first, second = json.loads(tag.vStr, parse_constant=pytest.fail)
            assert (first, second in NAMES) == (1.5, True)


@THRIFT
def test_process_tags_are_no_such_numbers(make, protocol):
    """A process is read with each of its spans."""
    told = jaeger.Process()
    resource = Resource({"service.name": "shop", "load": math.nan})
    told.read(protocol(TMemoryBuffer(make().process(resource))))
    assert [tag.vStr for tag in told.tags if tag.key == "load"] == ["NaN"]


def doubles(message):
    """Return every double within a protobuf message."""
    for field, value in message.ListFields():
        many = (
            value if hasattr(value, "__len__") and not isinstance(value, str | bytes) else [value]
        )
        for each in many:
            if field.type == field.TYPE_DOUBLE:
                yield each
            elif field.type == field.TYPE_MESSAGE:
                yield from doubles(each)


def texts(message):
    for field, value in message.ListFields():
        if field.name == "string_value":
            yield value
        elif field.type == field.TYPE_MESSAGE:
            for each in value if hasattr(value, "__len__") else [value]:
                yield from texts(each)


@pytest.mark.parametrize("number", [*NUMBERS, Numpy("inf")])
def test_otlp_holds_only_finite_numbers(number):
    """None that Jaeger's query cannot answer: in spans, events, links, scopes, resources."""
    attributes = {"n": number, "ok": 2.5, "list": [number], "map": {"a": {"b": number}}}
    scope = InstrumentationScope("s", None, None, {"n": number})
    told = as_otlp(span(attributes, scope=scope, linked=True), Resource({"load": number}))
    assert set(doubles(told)) == {2.5}
    assert {text for text in texts(told) if text in NAMES}


nested = st.recursive(
    st.floats() | st.text(max_size=3) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
)


@settings(max_examples=100)
@given(st.dictionaries(st.text(min_size=1, max_size=3), nested, max_size=3))
def test_whatever_is_nested_in_whatever(attributes):
    """What arrives by any format is finite, and a list or mapping by Thrift is JSON."""
    told = as_otlp(span(attributes))
    assert all(map(math.isfinite, doubles(told)))
    thrift = as_jaeger(jaeger_binary, TBinaryProtocol, span(attributes))
    for tag in thrift.tags or ():
        assert tag.vDouble is None or math.isfinite(tag.vDouble)
        if tag.vStr and isinstance(attributes.get(tag.key), list | dict):
            json.loads(tag.vStr, parse_constant=pytest.fail)


def nest(levels, value):
    for _ in range(levels):
        value = {"k": value}
    return value


@pytest.mark.parametrize("levels", [2, 16, 17, 40, 200])
def test_deep_nesting_costs_no_neighbour(levels):
    """A reader that refuses more than 100 messages within each other takes the request."""
    told = as_otlp(span({"deep": nest(levels, "core"), "n": 1}))
    attributes = told.scope_spans[0].spans[0].attributes
    assert [each.key for each in attributes] == ["deep", "n"]
    assert "core" in str(attributes[0])


@THRIFT
def test_an_end_before_its_start_lasts_0(make, protocol):
    """A clock that was set back while a span was open makes its duration 0, never huge."""
    assert as_jaeger(make, protocol, span(start=20_000_000, end=10_000_000)).duration == 0
    (told,) = as_otlp(span(start=20_000, end=10_000)).scope_spans[0].spans
    assert told.end_time_unix_nano - told.start_time_unix_nano == 0
    assert told.start_time_unix_nano == 20_000


@THRIFT
def test_what_a_scope_says_arrives(make, protocol):
    """OTLP has a place for a scope's attributes; in Jaeger they are tags of its spans."""
    scope = InstrumentationScope("shop", "1", None, {"zone": "eu", "replicas": 3})
    told = as_jaeger(make, protocol, span(scope=scope))
    assert {tag.key: tag.vStr or tag.vLong for tag in told.tags} == {
        "otel.scope.name": "shop",
        "otel.library.name": "shop",
        "otel.scope.version": "1",
        "otel.library.version": "1",
        "otel.scope.zone": "eu",
        "otel.scope.replicas": 3,
    }
    told = as_otlp(span(scope=scope)).scope_spans[0].scope
    assert {each.key for each in told.attributes} == {"zone", "replicas"}


@THRIFT
def test_scopes_differ_by_attributes_alone(make, protocol):
    """Also by an encoder that remembers what it said of the other one."""
    encoder = make()
    for zone in ("eu", "us", "eu"):
        scope = InstrumentationScope("shop", None, None, {"zone": zone})
        told = jaeger.Span()
        told.read(protocol(TMemoryBuffer(encoder.frame(span(scope=scope)).data)))
        assert [tag.vStr for tag in told.tags if tag.key == "otel.scope.zone"] == [zone]


MAX_NS = 2**64 - 1
FAR_TIMES = (-(2**70), -(2**63), -1_000_000_000, -1, 0, 2**62, 2**63, MAX_NS, 2**64, 2**70)


@THRIFT
@pytest.mark.parametrize("start", FAR_TIMES)
@pytest.mark.parametrize("end", FAR_TIMES)
def test_an_unreadable_time_is_the_nearest(make, protocol, start, end):
    """Before 1970 or beyond 9999, Jaeger can neither pass a span on nor answer with it."""
    told = as_jaeger(make, protocol, span(start=start, end=end))
    first = min(max(0, start), MAX_NS)
    last = max(first, min(max(0, end), MAX_NS))
    assert told.startTime == first // 1000
    assert told.duration == (last - first) // 1000
    (told,) = as_otlp(span(start=start, end=end)).scope_spans[0].spans
    assert (told.start_time_unix_nano, told.end_time_unix_nano) == (first, last)


@THRIFT
@pytest.mark.parametrize("at", FAR_TIMES)
def test_an_event_out_of_time_costs_no_span(make, protocol, at):
    """Nor a search. Events have times of their own, which a program may take from anywhere."""
    given_span = span(event_at=at)
    near = min(max(0, at), MAX_NS)
    assert as_jaeger(make, protocol, given_span).logs[0].timestamp == near // 1000
    (told,) = as_otlp(given_span).scope_spans[0].spans
    assert told.events[0].time_unix_nano == near
