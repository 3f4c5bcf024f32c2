"""What programs pass although no type allows it: told as well as can be, or lost alone."""

from __future__ import annotations

import enum
import math
import uuid

import pytest
from jaeger_client.thrift_gen.jaeger import ttypes as jaeger
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans
from opentelemetry.trace import SpanContext
from thrift.protocol.TCompactProtocol import TCompactProtocol
from thrift.transport.TTransport import TMemoryBuffer

import tracekit.testing
from tracekit.encoding import OtlpEncoder, jaeger_compact


class Route(str, enum.Enum):
    SHOP = "/shop"


class Evil(int):
    """An integer that cannot be looked at."""

    def __le__(self, other):
        raise RuntimeError

    __ge__ = __lt__ = __gt__ = __le__


@pytest.fixture
def tracing():
    running = tracekit.testing.tracing()
    yield running
    running.shutdown(0.0)


def as_jaeger(span):
    told = jaeger.Span()
    told.read(TCompactProtocol(TMemoryBuffer(jaeger_compact().frame(span).data)))
    return told


def as_otlp(span):
    (told,) = ScopeSpans.FromString(OtlpEncoder().frame(span).data).spans
    return told


@pytest.mark.parametrize(
    ("name", "shown"),
    [(None, ""), (404, "404"), (b"raw", "b'raw'"), (Route.SHOP, "/shop"), ("\ud800", "?")],
)
def test_a_name_of_no_text_costs_no_span(tracing, name, shown):
    """Spans and events are told under what ``str`` makes of it, in both formats."""
    span = tracing.tracer("t").start_span(name)
    span.add_event(name)
    span.end()
    assert as_jaeger(span).operationName == shown
    assert as_otlp(span).name == as_otlp(span).events[0].name == shown


@pytest.mark.parametrize(
    "value",
    [
        *("a\ud800b", 2**64, -(2**63) - 1, math.nan, math.inf, b"raw", [1, ["a", {"b": b"c"}]]),
        *(None, [None, "a"], {"a": {"b": 1}}, {1: 2, None: 3}, [], {}, (), Route.SHOP, object()),
        *(uuid.UUID(int=1), {1, 2}, 1j, range(3), "x" * 100_000),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_of_any_kind_costs_no_span(tracing, value):
    """As an attribute of a span, an event or a link; what the SDK refuses is left out, at most."""
    span = tracing.tracer("t").start_span("span", attributes={"a": value})
    span.set_attribute("b", value)
    span.add_event("event", {"c": value})
    span.add_link(SpanContext(1, 2, is_remote=True), {"d": value})
    span.end()
    assert as_jaeger(span).operationName == as_otlp(span).name == "span"


def test_a_text_subclass_is_its_content(tracing):
    """A member of an enumeration of texts is the text, not the member's name."""
    span = tracing.tracer("t").start_span("span", attributes={"route": Route.SHOP})
    span.end()
    assert [tag.vStr for tag in as_jaeger(span).tags if tag.key == "route"] == ["/shop"]
    assert as_otlp(span).attributes[0].value.string_value == "/shop"


def test_an_incomparable_value_is_lost_alone(tracing):
    """A value whose comparison raises costs its span, counted, and no neighbour."""
    for value in (1, Evil(2), 3):
        tracing.tracer("t").start_span("span", attributes={"n": value}).end()
    assert tracing.flush(10.0)
    stats = tracing.stats()
    assert (stats.sent, stats.dropped["encode_failed"]) == (2, 1)
