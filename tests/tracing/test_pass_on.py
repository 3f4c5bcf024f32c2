"""Passing on what arrived: the short way gives what starting a span below it gives."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from tracekit._context import SPAN_KEY, marks_of
from tracekit.propagation import Propagator
from tracekit.propagation._counters import Counters
from tracekit.propagation._extracted import enter
from tracekit.sampling import Const, ParentRule
from tracekit.tracing import TracerProvider

T, S = "80f198ee56343ba864fe8b2a57d3eff7", "e457b5a2e4d86bd1"
VALUES = {
    "uber-trace-id": [f"{T}:{S}:0:{flags}" for flags in ("0", "1", "3", "8", "9")] + ["broken"],
    "uberctx-user": ["bob"],
    "jaeger-debug-id": ["look"],
    "traceparent": [f"00-{T}-{S}-{flags}" for flags in ("00", "01", "02", "03")],
    "tracestate": ["a=1"],
    "b3": [f"{T}-{S}-0", f"{T}-{S}-1", f"{T}-{S}", "0"],
}


class Metadatum(NamedTuple):
    """What gRPC makes of a pair that it received."""

    key: str
    value: str


metadata = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(texts) for name, texts in VALUES.items()}
).map(lambda found: tuple(Metadatum(*pair) for pair in found.items()))
propagator = Propagator(("jaeger", "w3c", "b3single"), counters=Counters(lambda: 0.0))


def provider(sampler):
    return TracerProvider(sampler, None, Resource({}), traceid_128bit=True)


def told(span):
    held = span.get_span_context()
    return held.trace_id, held.trace_flags, dict(held.trace_state), marks_of(held), held.is_remote


@given(arriving=metadata)
def test_it_gives_the_unsampled_span(arriving):
    """Same trace, flags and state, an id of its own, and the same place in the counts."""
    short, long = provider(ParentRule(Const(False))), provider(ParentRule(Const(False)))
    arrival = propagator.read_metadata(arriving)
    started = long.get_tracer("test").start_span("call", enter(arrival, Context()))
    tracer = short.get_tracer("test")
    if not tracer.passes_on(arrival):
        return
    passed = tracer.pass_on(arrival)
    assert not passed.is_recording()
    assert type(passed) is type(started)
    assert told(passed) == told(started)
    assert passed.get_span_context().span_id not in (0, int(S, 16))
    assert short.counts() == long.counts()
    assert enter(arrival, Context(), passed) == {**enter(arrival, Context()), SPAN_KEY: passed}


@pytest.mark.parametrize("flags", ["0", "00"])
def test_it_is_for_unsampled_callers(flags):
    """That is what it is there for."""
    arrival = propagator.read_metadata((("uber-trace-id", f"{T}:{S}:0:{flags}"),))
    assert provider(ParentRule(Const(True))).get_tracer("test").passes_on(arrival)


def test_it_is_not_for_samplers_with_a_say():
    """A sampler that does not follow parents is asked about every call."""
    arrival = propagator.read_metadata((("uber-trace-id", f"{T}:{S}:0:0"),))
    assert not provider(ALWAYS_ON).get_tracer("test").passes_on(arrival)
