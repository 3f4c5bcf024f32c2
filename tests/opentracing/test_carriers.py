"""The three carriers, through whatever formats the handle is configured with."""

from __future__ import annotations

import opentracing
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentracing import Format, InvalidCarrierException, UnsupportedFormatException

import tracekit.opentracing
import tracekit.testing
from tracekit.opentracing import SpanContext

FORMATS = ["jaeger", "b3", "b3single", "w3c", "jaeger,b3,w3c"]
ids = st.integers(1, (1 << 64) - 1)


@pytest.fixture(scope="module", params=FORMATS)
def tracer(request):
    tracing = tracekit.testing.tracing(propagation=request.param)
    yield tracekit.opentracing.tracer(tracing)
    tracing.shutdown()


def carried(tracer, context, form):
    carrier = bytearray() if form == Format.BINARY else {}
    tracer.inject(context, form, carrier)
    return tracer.extract(form, carrier)


@pytest.mark.parametrize("form", [Format.TEXT_MAP, Format.HTTP_HEADERS, Format.BINARY])
@given(trace_id=st.integers(1, (1 << 128) - 1), span_id=ids, sampled=st.booleans())
def test_ids_and_decision_come_back(tracer, form, trace_id, span_id, sampled):
    """In every format and carrier, of a context that has no span here."""
    back = carried(tracer, SpanContext(trace_id, span_id, None, int(sampled)), form)
    assert (back.trace_id, back.span_id, back.flags) == (trace_id, span_id, int(sampled))
    assert back.has_trace


@pytest.mark.parametrize("formats", ["jaeger", "b3"])
def test_what_is_passed_on_keeps_its_parent(formats):
    """A service that only forwards a context tells of it what it heard."""
    tracing = tracekit.testing.tracing(propagation=formats)
    tracer = tracekit.opentracing.tracer(tracing)
    made = SpanContext(1, 2, 3, 1)
    arrived = carried(tracer, made, Format.HTTP_HEADERS)
    assert arrived.parent_id == 3
    assert carried(tracer, arrived, Format.HTTP_HEADERS).parent_id == 3
    tracing.shutdown()


@given(st.dictionaries(st.from_regex(r"[a-z][a-z0-9-]{0,9}", fullmatch=True), st.text(max_size=20)))
def test_baggage_comes_back(items):
    """Keys in lower case, values of any text; as they are in text maps and binary carriers."""
    tracing = tracekit.testing.tracing()
    tracer = tracekit.opentracing.tracer(tracing)
    items = {key: value.encode("utf-8", "ignore").decode() for key, value in items.items()}
    context = SpanContext(1, 2, None, 1, items)
    for form in (Format.TEXT_MAP, Format.HTTP_HEADERS, Format.BINARY):
        assert dict(carried(tracer, context, form).baggage) == items
    text = {}
    tracer.inject(context, Format.TEXT_MAP, text)
    assert {key: text["uberctx-" + key] for key in items} == items
    tracing.shutdown()


def test_other_mappings_are_carriers_too(tracer):
    """A class of headers with any-case names, as frameworks have them."""

    class Headers:
        def __init__(self):
            self.pairs = {}

        def __setitem__(self, key, value):
            self.pairs[key.title()] = value

        def items(self):
            return self.pairs.items()

    headers = Headers()
    tracer.inject(SpanContext(1, 2, None, 1), Format.HTTP_HEADERS, headers)
    assert tracer.extract(Format.HTTP_HEADERS, headers).span_id == 2


def test_nothing_or_nonsense_is_no_parent(tracer):
    """It is counted where it is malformed; nothing is raised."""
    headers = {"uber-trace-id": "x", "b3": "x", "traceparent": "x", "x-b3-traceid": "x", "b": None}
    for form in (Format.TEXT_MAP, Format.HTTP_HEADERS):
        assert tracer.extract(form, {}) is None
        assert tracer.extract(form, {"accept": "*/*"}) is None
        found = tracer.extract(form, headers)
        assert found is None or not found.has_trace
    assert tracer.extract(Format.BINARY, bytearray()) is None
    assert tracer.extract(Format.BINARY, bytearray(b"too short")) is None
    with tracer.start_span("root", child_of=tracer.extract(Format.TEXT_MAP, headers)) as span:
        assert span.parent_id is None
    assert sum(tracer.tracing.propagator.counters.decode_errors.values()) >= 3


def test_wrong_carriers_are_named(tracer):
    """With OpenTracing's exceptions, in both directions."""
    context = SpanContext(1, 2, None, 1)
    for form, carrier, error in (
        ("telepathy", {}, UnsupportedFormatException),
        (object(), {}, UnsupportedFormatException),
        ([], {}, UnsupportedFormatException),
        (Format.BINARY, {}, InvalidCarrierException),
        (Format.BINARY, b"", InvalidCarrierException),
        (Format.TEXT_MAP, bytearray(), InvalidCarrierException),
        (Format.TEXT_MAP, None, InvalidCarrierException),
        (Format.HTTP_HEADERS, 5, InvalidCarrierException),
    ):
        with pytest.raises(error):
            tracer.inject(context, form, carrier)
        with pytest.raises(error):
            tracer.extract(form, carrier)


def test_what_is_no_span_writes_nothing(tracer):
    """Another library's span has no ids that we could pass on."""
    carrier = {}
    tracer.inject(opentracing.Tracer().start_span(), Format.HTTP_HEADERS, carrier)
    tracer.inject("a string", Format.TEXT_MAP, carrier)
    assert carrier == {}
