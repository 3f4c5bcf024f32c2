"""Guards of the speed of extract and inject by what can be counted. No seconds in here."""

from __future__ import annotations

import pytest
from counts import held_to
from opentelemetry import trace

import tracekit
from tracekit.propagation import Propagator
from tracekit.testing import MemoryTransport

TRACE, SPAN = "80f198ee56343ba864fe8b2a57d3eff7", "e457b5a2e4d86bd1"
CARRIERS = {
    "jaeger": {"uber-trace-id": f"{TRACE}:{SPAN}:0:1"},
    "b3": {"x-b3-traceid": TRACE, "x-b3-spanid": SPAN, "x-b3-sampled": "1"},
    "b3single": {"b3": f"{TRACE}-{SPAN}-1"},
    "w3c": {"traceparent": f"00-{TRACE}-{SPAN}-01"},
}
# What CPython 3.11 counts, calls and byte codes, and a little. When each made a SpanContext,
# B3's extract took 19 and 227.
EXTRACT = {"jaeger": (13, 200), "b3": (13, 186), "b3single": (15, 194), "w3c": (18, 230)}
INJECT = {"jaeger": (6, 120), "b3": (8, 117), "b3single": (6, 115), "w3c": (8, 110)}


@pytest.fixture
def sampled():
    """Return a context in which a sampled root of ours is current."""
    tracing = tracekit.init(
        "costs",
        environ={},
        set_global=False,
        transport=MemoryTransport(),
        sampler_type="const",
        sampler_param=1.0,
        flush_s=3600,
    )
    yield trace.set_span_in_context(tracing.tracer("x").start_span("client"))
    tracing.shutdown()


@pytest.mark.parametrize("name", CARRIERS)
def test_what_an_extract_takes(name):
    """What most requests say is read in a few calls; nothing is made that nobody asks for."""
    propagator, carrier = Propagator((name,)), CARRIERS[name]
    held_to(EXTRACT[name], lambda: propagator.extract(carrier))


@pytest.mark.parametrize("name", CARRIERS)
def test_what_an_inject_takes(name, sampled):
    """A span of ours is read by its slots and written in one go."""
    propagator = Propagator((name,))
    held_to(INJECT[name], lambda: propagator.inject({}, sampled))
